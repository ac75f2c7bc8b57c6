"""Files that tell others of a container: --cidfile, which must not be there before, and --pidfile."""

from __future__ import annotations

import posix as os

from cloche.errors import ConflictError, ForbiddenError
from cloche.linux import places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class IdFile:
    """The file for a container's id; "" for none. It is made on entering and goes where nothing was written to it.

    Raises ConflictError where there is one, and ForbiddenError where there can be none, before anything else is made.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1
        self.written = False

    def __enter__(self) -> Self:
        if not self.path:
            return self
        try:
            self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise ConflictError(
                f"container ID file found, make sure the other container isn't running or delete {self.path}"
            ) from None
        except OSError as error:
            raise ForbiddenError(f"--cidfile {self.path} cannot be written: {error.strerror}") from None
        return self

    def write(self, container_id: str) -> None:
        """Now there is a container."""
        if self.fd >= 0:
            os.write(self.fd, container_id.encode())
            self.written = True

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            if not self.written:
                os.unlink(self.path)


def check_pidfile(path: str) -> None:
    """Before anything is started: whether it can be written, "" for none; it stays as it is. Raises ForbiddenError."""
    if not path:
        return
    folder = places.dirname(places.abspath(path))
    place = path if places.exists(path) else folder
    if not os.access(place, os.W_OK):
        why = "it may not be written" if places.exists(place) else f"{folder} is not there"
        raise ForbiddenError(f"--pidfile {path} cannot be written: {why}")
