"""Real docker, real podman and a registry in one room, with cloche beside them: scripts in which all of them occur.

Everything is root's. The room's network is its own, and has nothing but the registry, at REGISTRY.
"""

from __future__ import annotations

import os
import shlex
import shutil
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines.daemons import Docker, Podman, Room, make_image, succeed

if TYPE_CHECKING:
    from tests.conftest import Cli

REGISTRY = "127.0.0.1:5000"
CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {top}/registry}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:5000"}}
"""
NUMBERS = count(1)
LIST = "--no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}'"


class Workshop:
    """The room, with `docker`, `podman` and `cloche` on the path of its scripts."""

    def __init__(self, room: Room, cli: Cli) -> None:
        self.room, self.folder = room, room.folder
        self._bin = self.folder / "bin"
        self._bin.mkdir()
        runc = shutil.which("runc")
        assert runc
        self.docker = Docker(room, {"ut": runc}, "ut")
        podman = Podman(room, runc)
        words = podman.words()
        self._script("podman", words[words.index("join") + 1 :], podman.env)
        self._script("cloche", cli.argv, {"HOME": "/"})
        (self.folder / "registry.yml").write_text(CONFIG.format(top=self.folder))
        room.start("registry.log", "docker-registry", "serve", str(self.folder / "registry.yml"))
        image = self.folder / "box.tar"
        busybox = shutil.which("busybox")
        assert busybox
        make_image(image, busybox)
        self.sh(f"docker load -i {image}; podman load -i {image}")

    def _script(self, name: str, words: list[str], env: dict[str, str]) -> None:
        lines = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in env.items())
        (self._bin / name).write_text(f'#!/bin/sh\n{lines}exec {shlex.join(words)} "$@"\n')
        (self._bin / name).chmod(0o755)

    def sh(self, script: str, store: Path | None = None) -> str:
        """What a script prints, each of whose commands must succeed; `store` is cloche's."""
        path = f"{self._bin}:{self.room.env['PATH']}:{os.environ['PATH']}"
        env = {"PATH": path, "DOCKER_HOST": f"unix://{self.docker.socket}", "CLOCHE_ROOT": str(store or self.store())}
        done = self.room.run("bash", "-o", "pipefail", "-ec", f"cd {self.folder}\n{script}", env=env)
        return succeed(done)

    def store(self) -> Path:
        """Where a new store may be made."""
        return self.folder / f"store-{next(NUMBERS)}"

    def docker_list(self) -> list[str]:
        """Names and IDs of what docker has."""
        return sorted(self.sh(f"docker images {LIST}").splitlines())

    def cloche_list(self, store: Path) -> list[str]:
        """Names and IDs of what cloche has."""
        lines = self.sh("cloche images --no-trunc", store).splitlines()[1:]
        return sorted("{}:{} {}".format(*line.split()[:3]) for line in lines)
