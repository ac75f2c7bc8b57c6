"""Who connects to the supervisor and says what is no message, or nothing: it stays, and stays small."""

from __future__ import annotations

import array
import contextlib
import marshal
import os
import random
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Cli, system_python
from tests.containers.ground import ROUNDS, Ground

if TYPE_CHECKING:
    from collections.abc import Iterator

SILENT = 4000 if ROUNDS else 1000
EACH = 2000 if ROUNDS else 200
MOST = 8 << 10  # KiB that it may have grown by
ZERO = dict.fromkeys(("tty", "interactive", "sealed", "keep", "check", "facts", "volumes", "timeout", "entry"), 0)
KEEP = {"auto_remove": False, "restart": "no", "log_driver": "json-file", "log_options": {}}
FACTS = {"id": "x" * 64, "name": "x", "image": "x", "image_id": "", "labels": {}, "env": []}
SETTINGS = {**dict.fromkeys(ZERO, False), "keep": KEEP, "check": {}, "facts": FACTS, "volumes": [], "timeout": 0.0}
SETTINGS["entry"] = {"groups": []}


class Door:
    """The supervisor of a ground, from outside."""

    def __init__(self, ground: Ground) -> None:
        self.path = str(ground.state / "supervisor.sock")
        with self.open() as sock:
            self.pid = int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")

    def open(self) -> socket.socket:
        """A connection; it greets whoever comes."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        sock.connect(self.path)
        assert sock.recv(64)
        return sock

    def say(self, data: bytes, fds: int = 0) -> None:
        """Send this with so many descriptors on a connection of its own, and wait for the end of that."""
        null = os.open(os.devnull, os.O_RDONLY)
        with self.open() as sock, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * fds))] if fds else []
            sock.sendmsg([data], rights)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
        os.close(null)

    def held(self) -> list[str]:
        """What it has open, but for connections that are about to go."""
        found = []
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"/proc/{self.pid}/fd/{name}"))
        return found

    def memory(self) -> int:
        """KiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

    def settles(self, before: int) -> None:
        """Nothing of those who came is left open."""
        deadline = time.monotonic() + 20
        while len(self.held()) > before:
            assert time.monotonic() < deadline, self.held()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def ground(shared_dir: Path) -> Iterator[Ground]:
    if os.geteuid() != 0:
        pytest.skip("needs root to see who listens")
    top = Path(tempfile.mkdtemp(dir="/tmp"))
    made = Ground(Cli("root", shared_dir / "src", system_python()), top)
    made.run("web")
    yield made
    made.clear()
    assert made.log() == ""
    shutil.rmtree(top)


@pytest.fixture
def door(ground: Ground) -> Iterator[Door]:
    """The supervisor is the same afterwards, as large, with what it had open, and so is its container."""
    made = Door(ground)
    held, memory, word = len(made.held()), made.memory(), ground.of("web")
    yield made
    made.settles(held)
    assert made.memory() - memory < MOST
    assert ground.of("web") == word
    assert ground.well("exec", "web", "echo", "well") == "well\n"
    assert ground.truth() == {"web": ("running", 0)}
    assert Door(ground).pid == made.pid


def frame(message: Any) -> bytes:
    body = marshal.dumps(message)
    return len(body).to_bytes(4, "little") + body


def messages(web: str) -> list[tuple[object, ...]]:
    return [
        (),
        ("nosuch",),
        ("nosuch", web),
        ("wait",),
        ("wait", web, web),
        ("wait", 7),
        ("wait", [web]),
        ("signal", web, "TERM", True),
        ("signal", web),
        ("stop", web, 15, "soon"),
        ("stop", web, None, 0),
        ("policy", web, 5, "always"),
        ("in", "text"),
        ("resize", "a", "b"),
        ("resize", 1 << 40, -1),
        ("where",),
        ("where", "sealed"),
        ("start",),
        ("start", web),
        ("start", web, "/nosuch", (), {}, False),
        ("start", "x" * 64, "/nosuch", (), SETTINGS, False, 1),
        ("start", "x" * 64, "/nosuch", (), ZERO, False),
        *(("start", "x" * 64, "/nosuch", plan, SETTINGS, False) for plan in ((), ([("Nothing", ())], 1), (5,))),
        ("start", web, "/nosuch", (), SETTINGS, True),
    ]


def test_words_that_take_something_else(ground: Ground, door: Door) -> None:
    """Descriptors that come with them are closed; the stage has nothing of it, either."""
    for message in messages(os.readlink(ground.store / "names/web")):
        for fds in (0, 1, 5):
            door.say(frame(message), fds)


def test_noise(door: Door) -> None:
    source = random.Random(os.environ.get("CLOCHE_SOAK", "0"))
    good = frame(("nosuch", "a" * 64, 15, 0.5))
    for _ in range(EACH):
        noise = source.randbytes(source.randrange(1, 200))
        for data in (noise, len(noise).to_bytes(4, "little") + noise, good[: source.randrange(1, len(good))]):
            door.say(data, source.choice((0, 0, 3)))


BODIES = (
    b"",
    b"(\xff\xff\xff\x7f",  # a tuple that would have 16 GiB
    b"[\xff\xff\xff\x7f",
    b")\x01(\xff\xff\xff\x7f",
    b")\x02z\x04wait",
    b"z\x04wait",
    b"[\x01\x00\x00\x00z\x04wait",
    b")\x01" * 5000 + b"N",
)


def test_what_marshal_is_not_given(door: Door) -> None:
    for body in BODIES:
        door.say(len(body).to_bytes(4, "little") + body, 2)
        door.say(b"\xff\xff\xff\xff" + body, 2)


def test_descriptors_alone(door: Door) -> None:
    """With the beginning of a message of which nothing more comes; more than any message has are not waited for."""
    door.say(b"\x08", 200)
    null = os.open(os.devnull, os.O_RDONLY)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 200))]
    before = len(door.held())
    with door.open() as sock:
        for _ in range(100):
            try:
                sock.sendmsg([b"\x08"], rights)
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(0.01)
        assert len(door.held()) < before + 1000
    os.close(null)


def test_many_who_say_nothing(ground: Ground, door: Door) -> None:
    """All are greeted, and others are served meanwhile."""
    with contextlib.ExitStack() as stack:
        for _ in range(SILENT):
            stack.enter_context(door.open())
        assert len(door.held()) >= SILENT
        ground.well("pause", "web")
        ground.well("unpause", "web")
        assert Door(ground).pid == door.pid


def test_no_room_for_one_more(ground: Ground) -> None:
    """Who comes when it has as much open as it may waits, and it does not run in circles meanwhile."""
    import resource

    door = Door(ground)
    limits = resource.prlimit(door.pid, resource.RLIMIT_NOFILE)
    time.sleep(0.2)  # until it has closed its end of our first connection
    taken = {int(name) for name in os.listdir(f"/proc/{door.pid}/fd")}
    free = next(number for number in range(len(taken) + 1) if number not in taken)
    resource.prlimit(door.pid, resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(door.path)
            before, log = cpu(door.pid), len(ground.log())
            time.sleep(0.5)
            assert cpu(door.pid) - before < 0.2
            assert len(ground.log()) - log < 1000
            resource.prlimit(door.pid, resource.RLIMIT_NOFILE, limits)
            sock.settimeout(20)
            assert sock.recv(64)
    finally:
        resource.prlimit(door.pid, resource.RLIMIT_NOFILE, limits)
    assert ground.truth() == {"web": ("running", 0)}


def cpu(pid: int) -> float:
    """Seconds that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
