"""The commands of docs/images.md, one after the other, with the registry of the tests in place of the example's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.images.conftest import Registry

DOCUMENT = Path(__file__).parents[2] / "docs/images.md"


def test_its_commands_succeed(fresh: Cli, filled: Registry, shared_dir: Path) -> None:
    block = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)[0]
    commands = block.replace("registry.example.com", filled.host).splitlines()
    assert len(commands) > 5
    desk = shared_dir / f"images-{fresh.kind}"
    desk.mkdir()
    desk.chmod(0o777)
    (desk / "cloche").write_text(f'#!/bin/sh\nexec {shlex.join(fresh.argv)} "$@"\n')
    (desk / "cloche").chmod(0o755)
    env = {"PATH": f"{desk}:{os.environ['PATH']}", "CLOCHE_ROOT": fresh.root, "CLOCHE_STATE": fresh.state, "HOME": "/"}
    for command in commands:
        done = subprocess.run(["sh", "-c", command], cwd=desk, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
