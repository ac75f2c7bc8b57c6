"""The commands of the sections "Events" and "The system" of docs/containers.md, one after the other."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.images.conftest import filled, fresh, images, registry

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.images.conftest import Registry

__all__ = ["filled", "fresh", "images", "registry"]
DOCUMENT = Path(__file__).parents[2] / "docs/containers.md"


@pytest.mark.parametrize("section", ["Events", "The system"])
def test_the_commands_succeed(section: str, fresh: Cli, filled: Registry, tmp_path: Path) -> None:
    found = re.search(rf"^## {section}\n.*?^```sh\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    commands = found[1].replace("registry.example.com", filled.host).splitlines()
    assert len(commands) > 5
    (tmp_path / "cloche").write_text(f'#!/bin/sh\nexec {shlex.join(fresh.argv)} "$@"\n')
    (tmp_path / "cloche").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CLOCHE_ROOT": fresh.root, "CLOCHE_STATE": fresh.state}
    for command in commands:
        done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        assert done.stdout or command.startswith("cloche tag "), command
