"""The commands of documents, which tests follow as a reader would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Cli

DOCS = Path(__file__).parents[1] / "docs"


def block(document: str, section: str = "", language: str = "sh") -> str:
    """The first block of a language in a document, or in one of its sections."""
    text = (DOCS / document).read_text()
    if section:
        _, heading, text = text.partition(f"\n## {section}\n")
        assert heading, section
        text = text.partition("\n## ")[0]
    found = re.search(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, (document, section)
    return found[1]


def follow(cli: Cli, text: str, desk: Path, *shell: str) -> list[tuple[str, str]]:
    """Run the lines of a block in a directory, one after the other; all have to succeed. Each with what it printed."""
    commands = text.splitlines()
    assert len(commands) > 4
    (desk / "cloche").write_text(f'#!/bin/sh\nexec {shlex.join(cli.argv)} "$@"\n')
    (desk / "cloche").chmod(0o755)
    env = {"PATH": f"{desk}:{os.environ['PATH']}", "HOME": "/", "CLOCHE_ROOT": cli.root, "CLOCHE_STATE": cli.state}
    said = []
    for command in commands:
        done = subprocess.run(
            [*(shell or ("sh",)), "-c", command],
            cwd=desk,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        said.append((command, done.stdout))
    return said
