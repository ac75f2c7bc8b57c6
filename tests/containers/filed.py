"""Containers of a store whose files tests look at, and the images that they are of."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.conftest import Cli
from tests.engines.daemons import make_image

BOX = "localhost/box:1"


class InStore(Cli):
    """A command line with another store."""

    def __init__(self, cli: Cli, store: Path) -> None:
        super().__init__(cli.kind, cli.source, cli.python)
        self._store = store

    @property
    def root(self) -> str:
        """That store."""
        return str(self._store)

    @property
    def state(self) -> str:
        """A state directory beside it."""
        return f"{self._store}-state"


def succeed(cli: Cli, *words: str, input: bytes = b"") -> str:
    """What a command prints, which has to end with 0."""
    done = cli(*words, input=input)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def box(cli: Cli, place: Path) -> str:
    """Have an image of busybox in this user's store; returns its name."""
    if cli("image", "exists", BOX).returncode:
        if not (place / "box.tar").exists():
            busybox = shutil.which("busybox")
            assert busybox
            make_image(place / "box.tar", busybox)
        succeed(cli, "load", "-q", input=(place / "box.tar").read_bytes())
    return BOX


def create(cli: Cli, name: str, *options: str, image: str = BOX, command: tuple[str, ...] = ("sh",)) -> str:
    """A container that was created and not started; returns its id."""
    return succeed(cli, "create", "--name", name, *options, image, *command).strip()


def raw(cli: Cli, *words: str) -> bytes:
    """The output as bytes."""
    done = subprocess.run([*cli.argv, *words], capture_output=True, check=False, env=cli._environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def members(archive: bytes) -> dict[str, tarfile.TarInfo]:
    """What is in a tar, by name."""
    with tarfile.open(fileobj=io.BytesIO(archive), encoding="utf-8", errors="surrogateescape") as made:
        return {item.name: item for item in made}
