"""The commands of docs/images.md, one after the other, with the registry of the tests in place of the example's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche import images

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.images.conftest import Registry

DOCUMENT = Path(__file__).parents[2] / "docs/images.md"


def block(language: str, host: str) -> str:
    """The first block of a language, with a registry that is there."""
    found = re.search(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found[1].replace("registry.example.com", host)


def test_its_commands_succeed(fresh: Cli, filled: Registry, shared_dir: Path) -> None:
    commands = block("sh", filled.host).splitlines()
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


def test_its_program_runs(filled: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOCHE_ROOT", str(tmp_path / "store"))
    exec(compile(block("python", filled.host), "docs/images.md", "exec"), {})
    assert (tmp_path / "rootfs/bin/busybox").exists()
    assert (tmp_path / "layout/index.json").exists()
    names = {row.name for row in images.list_images()}
    assert names == {f"{filled.host}/box:1", "docker.io/library/random:1"}
