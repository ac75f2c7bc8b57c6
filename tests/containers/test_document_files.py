"""The commands of the section "Files of a container" of docs/containers.md, one after the other."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.containers.filed import BOX, box, create, succeed

if TYPE_CHECKING:
    from tests.conftest import Cli

DOCUMENT = Path(__file__).parents[2] / "docs/containers.md"


def test_its_commands_succeed(cli: Cli, tmp_path: Path) -> None:
    found = re.search(
        r"^## Files of a container\n.*?^```sh\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found
    commands = found[1].splitlines()
    assert len(commands) > 5
    busybox = shutil.which("busybox")
    assert busybox
    box(cli, busybox, tmp_path)
    create(cli, "web", image=BOX)
    (tmp_path / "app.conf").write_text("x")
    (tmp_path / "cloche").write_text(f'#!/bin/sh\nexec {shlex.join(cli.argv)} "$@"\n')
    (tmp_path / "cloche").chmod(0o755)
    env = {**cli._environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    try:
        for command in commands:
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, env=env, capture_output=True, check=False
            )
            assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
        assert (tmp_path / "etc/app.conf").read_text() == "x"
        assert (tmp_path / "web.tar").stat().st_size > 1 << 20
    finally:
        succeed(cli, "rm", "web")
