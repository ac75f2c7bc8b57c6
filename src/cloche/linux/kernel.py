"""The one door to the kernel: syscall(2), called through the C library that is already loaded.

Everything in `cloche.linux` goes through `call()`. It takes a system call's number and integers,
bytes or buffers, and returns what the kernel returned, or raises OSError with a note that names
the call. No policy, no retry (except EINTR where Python itself would retry), no logging.

    call("mount_setattr", 442, dirfd, b"", AT_EMPTY_PATH, attr, len(attr))
      -> int, or OSError(errno) with the note "mount_setattr(2)"

`_ctypes` is used without the `ctypes` package around it, because that package costs 3 ms of
start-up and we need two of its types. Where `_ctypes` is missing or has changed, `ctypes` serves.
It is loaded by the first call, as commands that make none do without it; whoever changes its root
does so by one.

What does not belong here: constants and structs of one subsystem; they live in its own module.
"""

from __future__ import annotations

import errno
import posix as os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Library:
    """The C library: syscall(2) for 0 to 6 arguments, the byte type that buffers are arrays of, and what else it takes.

    Without `syscalls` it is not loaded yet.
    """

    def __init__(self) -> None:
        self.syscalls: list[Any] = []
        self.byte: Any = None
        self.get_errno: Any = None
        self.addressof: Any = None


_library = _Library()


def _load() -> list[Any]:
    """Load it, and return `syscalls`."""
    found = _find()
    _library.byte, _library.get_errno, _library.addressof = found[1:]
    _library.syscalls = found[0]
    return found[0]


def _find() -> tuple[list[Any], Any, Any, Any]:
    try:
        import _ctypes as c
    except ImportError:  # pragma: no cover - a Python without the private module
        import ctypes

        functions: list[Any] = []
        for count in range(7):
            library = ctypes.CDLL(None, use_errno=True)
            library.syscall.restype = ctypes.c_long
            library.syscall.argtypes = [ctypes.c_long] + [ctypes.c_void_p] * count
            functions.append(library.syscall)
        return functions, ctypes.c_char, ctypes.get_errno, ctypes.addressof
    simple: Any = c._SimpleCData
    long, pointer, byte = (type(kind, (simple,), {"_type_": kind}) for kind in "lPc")
    flags = {"_flags_": c.FUNCFLAG_CDECL | c.FUNCFLAG_USE_ERRNO, "_restype_": long}
    prototype: Any = type("_Syscall", (c.CFuncPtr,), flags)
    here: Any = None  # dlopen(NULL): what is already loaded, whatever the C library is called
    entry = c.dlsym(c.dlopen(here, 2), "syscall")
    functions = []
    for count in range(7):
        function = prototype(entry)
        function.argtypes = [long] + [pointer] * count
        functions.append(function)
    return functions, byte, c.get_errno, c.addressof


MACHINE = os.uname().machine
# personality(2) shows i686 and armv8l to 64-bit programs too
_COLUMNS = {"x86_64": 0, "i686": 0, "aarch64": 1, "armv8l": 1}


if MACHINE not in _COLUMNS or sys.maxsize <= 2**32:  # pragma: no cover
    raise ImportError(f"cloche knows the system calls of 64-bit x86_64 and aarch64, this is {MACHINE}")


def number(x86_64: int, aarch64: int) -> int:
    """Pick a system call's number for this machine.

    Calls from 424 up have one number everywhere and need no choice; the older ones differ.
    """
    return (x86_64, aarch64)[_COLUMNS[MACHINE]]


_IOCTL_NR = number(16, 29)


def call(name: str, nr: int, *args: Any) -> int:
    """Make system call `nr` with up to six arguments; return its result.

    Arguments are ints, bytes (passed as a pointer to them) or what `buffer()` made.
    Raises OSError with a note `name(2)` when the kernel says no.
    """
    result: int = (_library.syscalls or _load())[len(args)](nr, *args)
    if result == -1:
        raise _failure(f"{name}(2)")
    return result


def ioctl(request: str, fd: int, nr: int, argument: Any = 0) -> int:
    """ioctl(2): make request `nr` of `fd`; the argument is an int, bytes or what `buffer()` made.

    Raises OSError with a note `ioctl(2) REQUEST`.
    """
    result: int = (_library.syscalls or _load())[3](_IOCTL_NR, fd, nr, argument)
    if result == -1:
        raise _failure(f"ioctl(2) {request}")
    return result


def _failure(note: str) -> OSError:
    """The error of the call just made, with a note that names it."""
    code = _library.get_errno()
    error = OSError(code, os.strerror(code))
    error.add_note(note)
    return error


def buffer(storage: bytearray) -> Any:
    """Let the kernel write into `storage`: pass the result to `call()` where a pointer is due."""
    if not _library.syscalls:
        _load()
    return (_library.byte * len(storage)).from_buffer(storage)


def address(storage: Any) -> int:
    """The address of what `buffer()` returned, for structs that hold pointers."""
    return int(_library.addressof(storage))


def path_bytes(path: str | bytes) -> bytes:
    """A path as the kernel wants it: bytes, ended by NUL, with none inside.

    Raises ValueError for an embedded NUL, which the kernel would silently cut at.
    """
    raw = path if isinstance(path, bytes) else path.encode(errors="surrogateescape")
    if b"\0" in raw:
        raise ValueError(f"embedded null byte in {path!r}")
    return raw + b"\0"


def supported(probe: Callable[[], object]) -> bool:
    """Run a probe that makes one call; False when the kernel does not know the call (ENOSYS)."""
    try:
        probe()
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True


def release() -> tuple[int, int]:
    """The running kernel's version as (major, minor)."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or "0")
