"""Archives as files or pipes: what a verb reads or writes, wherever it is."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager

from cloche.errors import ConflictError, ForbiddenError, NotFoundError
from cloche.images.store.appearing import appearing
from cloche.linux.files import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO


def reading(path: str, what: str) -> Fd:
    """A file to read from; "-" is the input. `what` names the option in errors. Raises NotFoundError, ConflictError."""
    if path == "-":
        if os.isatty(0):
            raise ConflictError("an archive is not typed at a terminal", hint=f"{what} FILE, or a pipe")
        return Fd(os.dup(0))
    try:
        fd = Fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise NotFoundError(f"{what} {path} cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(os.fstat(fd.number).st_mode):
        fd.close()
        raise NotFoundError(f"{what} {path} is a directory, not an archive", hint=f"tar -cC {path} . | cloche …")
    return fd


@contextmanager
def writing(path: str) -> Iterator[IO[bytes]]:
    """A file to write to, which appears when it is whole; "" is the output. Raises ForbiddenError, ConflictError."""
    if not path:
        if os.isatty(1):
            raise ConflictError("an archive is not for a terminal", hint="--output FILE, or a pipe")
        yield sys.stdout.buffer
        return
    path = os.path.realpath(path)
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a device, a fifo: to be written, not to be replaced
            with open(path, "wb") as file:
                yield file
            return
        with appearing(path) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ForbiddenError(f"--output {path} cannot be written: {error.strerror}") from None
