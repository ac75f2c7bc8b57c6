"""A blob on its way into the store.

    incoming/sha256-HEX   what has arrived so far; locked (flock) by the one who fetches it
    incoming/WHAT.RANDOM  what has its digest only when it is whole; nobody else's

Two who want the same blob do the work once: the second waits for the lock and finds the blob. What was left by one
who was killed is hashed again and gone on with, since it may end in the middle of anything.
"""

from __future__ import annotations

import os

from cloche.errors import RegistryError
from cloche.images.digests import hasher
from cloche.images.store.layout import create, sync_directory, unique
from cloche.images.store.locks import lock
from cloche.linux import files
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from cloche.images.digests import Hash
    from cloche.images.store.layout import Layout

CHUNK = 1 << 20


class Incoming:
    """The one who writes a blob; a context manager.

    `done` is whether somebody else has stored it meanwhile, `size` how much has arrived.
    """

    def __init__(self, layout: Layout, digest: str, length: int) -> None:
        self.layout, self.digest, self.length = layout, digest, length
        self.path = f"{layout.path}/incoming/{digest.replace(':', '-')}"
        self.size = 0
        self.done = False
        self._file = files.Fd(-1)
        self._hash: Hash = hasher(digest)

    def __enter__(self) -> Self:
        if not self.layout.has(self.digest):
            self._file = lock(self.path)
            point("blob-begun")
        self.done = self.layout.has(self.digest)  # who had the lock before may have finished it
        if self.done and self._file.number >= 0:
            os.unlink(self.path)  # made by us
        elif not self.done:
            self._take_in_what_is_there()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _take_in_what_is_there(self) -> None:
        while chunk := os.pread(self._file.number, CHUNK, self.size):
            self._hash.update(chunk)
            self.size += len(chunk)
        if self.size > self.length:
            self.restart()

    def restart(self) -> None:
        """Forget what has arrived."""
        os.ftruncate(self._file.number, 0)
        self.size, self._hash = 0, hasher(self.digest)

    def write(self, data: bytes) -> None:
        """Take in more. Raises RegistryError when it is more than there should be."""
        if self.size + len(data) > self.length:
            raise RegistryError(f"{self.digest} is longer than the {self.length} bytes it should have")
        self._hash.update(data)
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file.number, view, self.size)
            self.size += written
            view = view[written:]
        point("blob-part")

    def finish(self) -> None:
        """Check it and give it its name. Raises RegistryError, and forgets it, when it is something else."""
        found = f"{self.digest.partition(':')[0]}:{self._hash.hexdigest()}"
        if self.size != self.length or found != self.digest:
            os.unlink(self.path)
            raise RegistryError(
                f"what arrived is not {self.digest}: {self.size} of {self.length} bytes with the digest {found}"
            )
        point("blob-arrived")
        os.fsync(self._file.number)
        point("blob-synced")
        os.rename(self.path, self.layout.blob(self.digest))
        point("blob-renamed")
        sync_directory(os.path.dirname(self.layout.blob(self.digest)))
        self.done = True


class Unnamed:
    """A blob whose digest is known when all of it is there; a context manager that leaves nothing else behind."""

    def __init__(self, layout: Layout, what: str) -> None:
        self.layout = layout
        self.path = unique(f"{layout.path}/incoming/{what}")
        self.file = files.Fd(-1)

    def __enter__(self) -> Self:
        self.file = create(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def write(self, data: bytes | memoryview) -> None:
        """Take in more."""
        files.write_all(self.file.number, data)

    def keep(self, digest: str) -> None:
        """Store it under its digest; a blob that is there stays as it is."""
        os.fsync(self.file.number)
        point("load-synced")
        blob = self.layout.blob(digest)
        if not self.layout.has(digest):
            os.rename(self.path, blob)
        point("load-renamed")
        sync_directory(os.path.dirname(blob))
