"""cloche.linux.kernel: errors, buffers, paths, and what importing the layer costs."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cloche.linux
from cloche.linux import kernel

from .forked import fails

SOURCE = Path(next(iter(cloche.linux.__path__)))
GETPID = kernel.number(39, 172)
DUP = kernel.number(32, 23)
HEAVY = {"collections", "ctypes", "dataclasses", "enum", "re", "socket", "struct", "subprocess", "typing"}


def test_call_returns_what_the_kernel_returns() -> None:
    assert kernel.call("getpid", GETPID) == os.getpid()


def test_a_refusal_is_an_oserror_with_errno_and_a_note() -> None:
    with fails(errno.EBADF, "dup(2)"):
        kernel.call("dup", DUP, -1)


def test_an_errno_with_a_class_of_its_own_gets_it() -> None:
    with pytest.raises(FileNotFoundError):
        kernel.call("open_tree", 428, -100, b"/nowhere\0", 0)


def test_ioctl_names_the_request() -> None:
    with fails(errno.EBADF, "ioctl(2) TCGETS"):
        kernel.ioctl("TCGETS", -1, 0x5401)


def test_the_kernel_writes_into_a_buffer() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"bell")
    storage = bytearray(4)
    assert kernel.call("read", kernel.number(0, 63), reading, kernel.buffer(storage), 4) == 4
    assert storage == b"bell"
    os.close(reading)
    os.close(writing)


def test_address_points_to_the_storage() -> None:
    reading, writing = os.pipe()
    pointer = kernel.buffer(bytearray(b"glass"))
    kernel.call("write", kernel.number(1, 64), writing, kernel.address(pointer), 5)
    assert os.read(reading, 10) == b"glass"
    os.close(reading)
    os.close(writing)


def test_paths_end_with_nul_and_have_none_inside() -> None:
    assert kernel.path_bytes("/etc") == b"/etc\0"
    assert kernel.path_bytes(os.fsdecode(b"/\xff")) == b"/\xff\0"
    with pytest.raises(ValueError, match="embedded null byte"):
        kernel.path_bytes("/etc\0/shadow")


def test_supported_tells_an_unknown_call_from_a_failing_one() -> None:
    assert not kernel.supported(lambda: kernel.call("no_such_call", 4000))
    assert kernel.supported(lambda: kernel.call("dup", DUP, -1))
    assert kernel.supported(lambda: kernel.call("getpid", GETPID))


def test_release_is_two_numbers() -> None:
    major, minor = kernel.release()
    assert os.uname().release.startswith(f"{major}.{minor}")


def test_importing_everything_loads_nothing_heavy() -> None:
    modules = sorted(file.stem for file in SOURCE.glob("*.py") if file.stem != "__init__")
    program = (
        f"import sys; sys.path.insert(0, {str(SOURCE.parents[1])!r}); before = set(sys.modules)\n"
        + "".join(f"import cloche.linux.{name}\n" for name in modules)
        + "print(*(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, check=True)
    loaded = set(run.stdout.decode().split())
    assert len([name for name in loaded if name.startswith("cloche.linux.")]) == len(modules)
    assert not loaded & HEAVY


def test_every_file_is_a_room() -> None:
    for file in SOURCE.glob("*.py"):
        assert len(file.read_text().splitlines()) < 250, file.name
