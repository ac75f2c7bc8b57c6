"""The commands of the part on volumes of docs/containers.md, one after the other."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.containers.boxes import member, take_in, write_box

if TYPE_CHECKING:
    from tests.conftest import Cli

DOCUMENT = Path(__file__).parents[2] / "docs/containers.md"


def test_its_commands_succeed(anyone: Cli, tmp_path: Path, shared_dir: Path) -> None:
    found = re.search(r"^## Volumes\n\n```sh\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    commands = found[1].splitlines()
    assert len(commands) > 5
    take_in(anyone, write_box(tmp_path / "app.tar", member("data/"), member("data/seed", b"x")), "app:1")
    desk = shared_dir / f"volumes-{anyone.kind}"
    desk.mkdir()
    (desk / "cloche").write_text(f'#!/bin/sh\nexec {shlex.join(anyone.argv)} "$@"\n')
    (desk / "cloche").chmod(0o755)
    desk.chmod(0o755)
    env = {"PATH": f"{desk}:{os.environ['PATH']}", "CLOCHE_ROOT": anyone.root, "CLOCHE_STATE": anyone.state}
    said = []
    for command in commands:
        done = subprocess.run(
            ["sh", "-c", command], cwd=desk, env={**env, "HOME": "/"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        said.append(done.stdout)
    assert said[2] == "hello\n"
    assert said[3].split() == ["file", "seed"]
    assert said[-1] == "Total reclaimed space: 0B\n"
    shutil.rmtree(anyone.root)
