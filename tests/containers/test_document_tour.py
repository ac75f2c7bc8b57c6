"""The commands of the section "One minute" of docs/containers.md, one after the other; and that it names every verb."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from cloche.cli.options import CONTAINERS
from tests.images.conftest import filled, fresh, images, registry

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.images.conftest import Registry

__all__ = ["filled", "fresh", "images", "registry"]
DOCUMENT = (Path(__file__).parents[2] / "docs/containers.md").read_text()


def test_the_commands_succeed(fresh: Cli, filled: Registry, shared_dir: Path) -> None:
    found = re.search(r"^## One minute\n.*?^```sh\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found
    commands = found[1].replace("registry.example.com", filled.host).splitlines()
    assert len(commands) > 5
    desk = shared_dir / f"tour-{fresh.kind}"
    desk.mkdir()
    desk.chmod(0o777)
    (desk / "cloche").write_text(f'#!/bin/sh\nexec {shlex.join(fresh.argv)} "$@"\n')
    (desk / "cloche").chmod(0o755)
    env = {"PATH": f"{desk}:{os.environ['PATH']}", "CLOCHE_ROOT": fresh.root, "CLOCHE_STATE": fresh.state, "HOME": "/"}
    for command in commands:
        done = subprocess.run(["sh", "-c", command], cwd=desk, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        assert done.stdout or command.startswith("cloche cp "), command


def test_every_verb_is_named() -> None:
    table = DOCUMENT[DOCUMENT.index("## Verbs") :].split("\n\n")[1]
    named = set(re.findall(r"`([a-z]+)`", table))
    assert set(CONTAINERS) | {"run", "ps", "why", "events", "enter", "info", "version"} == named
