"""The commands of sections of docs/containers.md, one after the other, in a store of their own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Cli

DOCUMENT = Path(__file__).parents[2] / "docs/containers.md"


def block(section: str) -> list[str]:
    """The commands of a section's first block."""
    found = re.search(rf"^## {re.escape(section)}\n\n```sh\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found, section
    return found[1].splitlines()


SECTIONS = ["Exec", "Watching: top and stats", "A container's life", "Health", "Restarts"]


@pytest.mark.parametrize("section", SECTIONS)
def test_its_commands_succeed(anyone: Cli, place: Path, section: str) -> None:
    commands = block(section)
    assert len(commands) > 4
    (place / "cloche").write_text(f'#!/bin/sh\nexec {shlex.join(anyone.argv)} "$@"\n')
    (place / "cloche").chmod(0o755)
    own = {"CLOCHE_ROOT": anyone.root, "CLOCHE_STATE": anyone.state}
    env = {"PATH": f"{place}:{os.environ['PATH']}", "HOME": "/", **own}
    try:
        for command in commands:
            done = subprocess.run(
                ["sh", "-c", command], cwd=place, env=env, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    finally:
        anyone("rm", "-f", "-v", *anyone("ps", "-aq").stdout.split(), "none", env=own)
