"""A copy of the interpreter that nobody can write through (CVE-2019-5736).

/proc/self/exe of the process that becomes a container's is the host's Python until execve. Where the
container's ids include one that may write that file, the stage runs from a sealed memory file instead.
"""

from __future__ import annotations

import posix as os
import sys

from cloche.linux import capabilities, files

CAP_FOWNER = 3
SEALS = files.F_SEAL_SEAL | files.F_SEAL_SHRINK | files.F_SEAL_GROW | files.F_SEAL_WRITE


def sealed_interpreter() -> int:
    """A descriptor of a sealed copy of this interpreter, to be executed as /proc/self/fd/N."""
    import fcntl

    with files.Fd(os.open("/proc/self/exe", os.O_RDONLY | os.O_CLOEXEC)) as source:
        copy = _memory_file()
        size = os.fstat(source.number).st_size
        offset = 0
        while offset < size:
            offset += os.sendfile(copy, source.number, offset, size - offset)
    os.fchmod(copy, 0o555)
    fcntl.fcntl(copy, files.F_ADD_SEALS, SEALS)
    return copy


def is_sealed() -> bool:
    """Whether this very process runs from such a copy; asked of the kernel, not remembered."""
    import fcntl

    with files.Fd(os.open("/proc/self/exe", os.O_RDONLY | os.O_CLOEXEC)) as exe:
        try:
            return fcntl.fcntl(exe.number, files.F_GET_SEALS) & SEALS == SEALS
        except OSError:
            return False


def is_out_of_reach() -> bool:
    """Whether nobody in this user namespace, or in one below it, can write this very process' interpreter.

    O_NOATIME is for the owner of a file, and for whoever has CAP_FOWNER over a file whose owner has an id in the
    namespace (open(2)): with the capability, being refused says that the owner has none.
    """
    if not capabilities.get()[0] >> CAP_FOWNER & 1:
        return False
    try:
        os.close(os.open("/proc/self/exe", os.O_RDONLY | os.O_CLOEXEC | os.O_NOATIME))
    except PermissionError:
        return os.stat("/proc/self/exe").st_mode & 0o022 == 0
    return False


def restart_sealed() -> None:
    """Execute this very command line again from a sealed copy; returns only when it is one already."""
    if is_sealed():
        return
    copy = sealed_interpreter()
    os.execve(f"/proc/self/fd/{copy}", [sys.executable, *sys.orig_argv[1:]], os.environ)


def _memory_file() -> int:
    flags = files.MFD_CLOEXEC | files.MFD_ALLOW_SEALING
    try:
        return files.memfd_create("cloche-stage", flags | files.MFD_EXEC)
    except OSError as error:
        if error.errno != 22:  # MFD_EXEC is of Linux 6.3
            raise
        return files.memfd_create("cloche-stage", flags)
