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
GUARDED = "127.0.0.1:5001"
CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {top}/{name}}}, delete: {{enabled: true}}}}
http: {{addr: "{address}"{tls}}}
{auth}
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
        self._script("cloche", cli.argv, {"XDG_RUNTIME_DIR": podman.env["XDG_RUNTIME_DIR"]})  # where its logins are
        self._serve("registry", REGISTRY)
        image = self.folder / "box.tar"
        busybox = shutil.which("busybox")
        assert busybox
        make_image(image, busybox)
        self.sh(f"docker load -i {image}; podman load -i {image}")

    def _serve(self, name: str, address: str, tls: str = "", auth: str = "") -> None:
        config = self.folder / f"{name}.yml"
        config.write_text(CONFIG.format(top=self.folder, name=name, address=address, tls=tls, auth=auth))
        self.room.start(f"{name}.log", "docker-registry", "serve", str(config))
        host, _, port = address.partition(":")
        answers = f"until (exec 3<>/dev/tcp/{host}/{port}) 2>/dev/null; do sleep 0.05; done"
        succeed(self.room.run("bash", "-c", answers))

    def guard(self, users: str) -> None:
        """Start a registry at GUARDED that lets these users in, with TLS by a certificate that the room trusts."""
        top = self.folder
        (top / "users").write_text(users)
        self.sh(
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
            f" -keyout tls.key -out tls.crt; mkdir -p /etc/docker/certs.d/{GUARDED};"
            f"cp tls.crt /etc/docker/certs.d/{GUARDED}/ca.crt"
        )
        self._serve(
            "guarded",
            GUARDED,
            f", tls: {{certificate: {top}/tls.crt, key: {top}/tls.key}}",
            f"auth: {{htpasswd: {{realm: test, path: {top}/users}}}}",
        )

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

    def docker_list(self, *names: str) -> list[str]:
        """Names and IDs of what docker has, of these names or of all."""
        return sorted(
            line for line in self.sh(f"docker images {LIST}").splitlines() if not names or line.split()[0] in names
        )

    def cloche_list(self, store: Path) -> list[str]:
        """Names and IDs of what cloche has."""
        lines = self.sh("cloche images --no-trunc", store).splitlines()[1:]
        return sorted("{}:{} {}".format(*line.split()[:3]) for line in lines)
