"""Fixtures of the engine tests: each module has engines of its own, with the runtime of --oci-runtime.

`engine` is docker, podman as root and podman as an ordinary user in turn; `rootful` leaves the last one out.
"""

from __future__ import annotations

import os
import shutil
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines.daemons import Containerd, Docker, Engine, Podman, Room, make_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEEDED = {"docker": ("dockerd", "docker"), "podman": ("podman", "conmon"), "rootless": ("podman", "newuidmap")}
NUMBERS = count(1)


def require(*commands: str) -> None:
    """Skip where engines cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("needs root to start an engine")
    for command in (*commands, "busybox", "nsenter", "setpriv"):
        if shutil.which(command) is None:
            pytest.skip(f"needs {command}: sh tests/packages.sh")


@pytest.fixture(scope="session")
def oci_runtime(pytestconfig: pytest.Config) -> str:
    """The path of the runtime under test."""
    given = str(pytestconfig.getoption("--oci-runtime"))
    if not given:
        return str(Path(sys.executable).parent / "cloche-runtime")
    found = given if "/" in given else shutil.which(given)
    assert found, f"there is no {given} on PATH"
    return os.path.abspath(found)


@pytest.fixture
def unless_runc(oci_runtime: str) -> Callable[[str], None]:
    """Skip with a fact about runc that is none about the runtime under test."""

    def decide(fact: str) -> None:
        if Path(oci_runtime).name == "runc":
            pytest.skip(fact)

    return decide


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image as a file."""
    path = tmp_path_factory.mktemp("image") / "image.tar"
    busybox = shutil.which("busybox")
    assert busybox
    make_image(path, busybox)
    return path


def open_engine(kind: str, room: Room, oci_runtime: str, archive: Path) -> Engine:
    """An engine with the image in it."""
    # a file every user may read
    copy = room.folder / "image.tar"
    shutil.copy(archive, copy)
    engine: Engine
    if kind == "docker":
        engine = Docker(room, {"ut": oci_runtime}, "ut")
    else:
        engine = Podman(room, oci_runtime, rootless=kind == "rootless")
    engine.load(copy)
    return engine


@pytest.fixture(scope="module", params=["docker", "podman", "rootless"])
def engine(request: pytest.FixtureRequest, oci_runtime: str, archive: Path) -> Iterator[Engine]:
    """Each engine in turn."""
    require(*NEEDED[request.param])
    with Room(request.param) as room:
        yield open_engine(request.param, room, oci_runtime, archive)


@pytest.fixture(scope="module", params=["docker", "podman"])
def rootful(request: pytest.FixtureRequest, oci_runtime: str, archive: Path) -> Iterator[Engine]:
    """Each engine that runs as root: rootless podman sets no limits on cgroup v1, and has no network here."""
    require(*NEEDED[request.param])
    with Room(request.param) as room:
        yield open_engine(request.param, room, oci_runtime, archive)


@pytest.fixture(scope="module")
def podman(oci_runtime: str, archive: Path) -> Iterator[Engine]:
    """podman as root."""
    require(*NEEDED["podman"])
    with Room("podman") as room:
        yield open_engine("podman", room, oci_runtime, archive)


@pytest.fixture(scope="module")
def rootless(oci_runtime: str, archive: Path) -> Iterator[Engine]:
    """podman as an ordinary user."""
    require(*NEEDED["rootless"])
    with Room("rootless") as room:
        yield open_engine("rootless", room, oci_runtime, archive)


@pytest.fixture(scope="module")
def containerd(oci_runtime: str, archive: Path) -> Iterator[Containerd]:
    """containerd with the image in it."""
    require("containerd", "ctr")
    with Room("containerd") as room:
        found = Containerd(room, oci_runtime)
        found.load(archive)
        yield found


@pytest.fixture
def name() -> str:
    """A name that no other container has. Containers are removed with their room."""
    return f"box{next(NUMBERS)}"
