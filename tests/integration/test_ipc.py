"""System V objects, message queues and /dev/shm of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.background import refused, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli

PYTHON = "/usr/bin/python3"
# argument 1: the key; makes a segment, a semaphore and a message queue with it
MAKE_OBJECTS = (
    "import ctypes, sys; libc = ctypes.CDLL(None); key = int(sys.argv[1]); "
    "print(min(libc.shmget(key, 4096, 0o1600), libc.semget(key, 1, 0o1600), libc.msgget(key, 0o1600)) >= 0)"
)
REMOVE_OBJECTS = (
    "import ctypes, sys; libc = ctypes.CDLL(None); key = int(sys.argv[1]); "
    "libc.shmctl(libc.shmget(key, 0, 0), 0, 0); libc.semctl(libc.semget(key, 0, 0), 0, 0, 0); "
    "libc.msgctl(libc.msgget(key, 0), 0, 0)"
)
# arguments: name, open flags; -1 where there is no such queue
OPEN_QUEUE = (
    "import ctypes, sys; libc = ctypes.CDLL('librt.so.1', use_errno=True); "
    "print(libc.mq_open(sys.argv[1].encode(), int(sys.argv[2]), 0o600, None) >= 0)"
)
TABLES = ("shm", "sem", "msg")


def keys(table: str) -> set[int]:
    """The keys in the text of /proc/sysvipc/*."""
    return {int(line.split()[0]) for line in table.splitlines() if not line.lstrip().startswith("key")}


def host_keys(kind: str) -> set[int]:
    """The host's."""
    return keys(Path(f"/proc/sysvipc/{kind}").read_text())


@pytest.fixture
def key() -> Iterator[int]:
    """A key with a segment, a semaphore and a queue on the host."""
    key = int.from_bytes(os.urandom(3), "little") | 1 << 24
    made = subprocess.run([sys.executable, "-c", MAKE_OBJECTS, str(key)], capture_output=True, text=True, check=True)
    assert made.stdout == "True\n"
    yield key
    subprocess.run([sys.executable, "-c", REMOVE_OBJECTS, str(key)], check=True)


def test_objects_of_the_host_do_not_exist_inside(anyone: Cli, rootfs: Path, key: int) -> None:
    assert all(key in host_keys(kind) for kind in TABLES)
    for kind in TABLES:
        done = anyone("run", "--rootfs", str(rootfs), "cat", f"/proc/sysvipc/{kind}")
        assert "key" in done.stdout
        assert keys(done.stdout) == set()


def test_the_hosts_objects_can_be_shared(anyone: Cli, rootfs: Path, key: int) -> None:
    done = anyone("run", "--ipc", "host", "--rootfs", str(rootfs), "cat", "/proc/sysvipc/shm")
    assert key in keys(done.stdout)


def test_objects_made_inside_stay_inside(anyone: Cli) -> None:
    key = int.from_bytes(os.urandom(3), "little") | 1 << 25
    script = f'{PYTHON} -c "{MAKE_OBJECTS}" {key}; cat /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg'
    with running(anyone, "host", script=script) as inside:
        assert inside.said[0] == "True"
        assert sum(str(key) in line.split() for line in inside.said) == 3
        assert all(key not in host_keys(kind) for kind in TABLES)
        assert inside.namespace("ipc") != os.stat("/proc/self/ns/ipc").st_ino


def test_message_queues_are_its_own(anyone: Cli) -> None:
    name = f"/cloche-{os.urandom(4).hex()}"
    opening = f'{PYTHON} -c "{OPEN_QUEUE}" {name}'
    script = f"{opening} {os.O_RDWR | os.O_CREAT}; ls /dev/mqueue"
    with running(anyone, "host", script=script) as inside:
        assert inside.said == ["True", name[1:]]
        assert subprocess.check_output(f"{opening} {os.O_RDWR}", shell=True) == b"False\n"


def test_shared_memory_is_its_own(anyone: Cli, rootfs: Path) -> None:
    name = f"cloche-{os.urandom(4).hex()}"
    here = Path("/dev/shm", name)
    here.write_text("the host's")
    here.chmod(0o644)
    try:
        listing = ("ls", "/dev/shm")
        assert anyone("run", "--rootfs", str(rootfs), *listing).stdout == ""
        assert name in anyone("run", "--ipc", "host", "--rootfs", str(rootfs), *listing).stdout
        with running(
            anyone, "--rootfs", str(rootfs), script=f"echo inside >/dev/shm/{name}; cat /dev/shm/{name}"
        ) as it:
            assert it.said == ["inside"]
            assert here.read_text() == "the host's"
    finally:
        here.unlink()


def test_shared_memory_has_a_size(anyone: Cli, rootfs: Path) -> None:
    fill = "dd if=/dev/zero of=/dev/shm/a bs=1024 count=1500 2>&1; wc -c </dev/shm/a"
    small = anyone("run", "--shm-size", "1m", "--rootfs", str(rootfs), "sh", "-c", fill)
    assert "No space left" in small.stdout
    assert small.stdout.splitlines()[-1].strip() == str(1 << 20)
    large = anyone("run", "--rootfs", str(rootfs), "sh", "-c", f"{fill}; grep ' /dev/shm ' /proc/mounts")
    assert "No space left" not in large.stdout
    assert "size=65536k" in large.stdout


@pytest.mark.parametrize("size", ["0", "-1", "lots", ""])
def test_nonsense_sizes_are_refused(cli: Cli, rootfs: Path, size: str) -> None:
    assert refused(cli("run", f"--shm-size={size}", "--rootfs", str(rootfs), "true"), "--shm-size")


def test_an_unknown_mode_is_refused(cli: Cli, rootfs: Path) -> None:
    assert refused(cli("run", "--ipc", "sometimes", "--rootfs", str(rootfs), "true"), "--ipc=sometimes")
