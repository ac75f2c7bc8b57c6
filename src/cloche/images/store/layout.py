"""The directory of a store: blobs by digest (image-spec, image-layout.md)."""

from __future__ import annotations

import _thread
import fcntl
import posix as os
from errno import ENOSPC, EROFS

from cloche.errors import ClocheError, ForbiddenError, NotFoundError, UnsupportedError
from cloche.images.digests import check_digest, sha256
from cloche.images.store.room import full, is_full
from cloche.linux import files, places
from cloche.spec.reader import read_json
from cloche.stage.points import point

LAYOUT = b'{"imageLayoutVersion": "1.0.0"}'
EMPTY = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
FIRST = {"index.json": EMPTY, "oci-layout": LAYOUT}  # in this order: the last one says that all is there
FOLDERS = ("blobs/sha256", "blobs/sha512", "incoming", "layers/sha256")
SPARE = 1 << 16
# file systems with one journal: what is synced has all changes of names before it on the disk, at no further cost
IN_ORDER = {files.EXT4_SUPER_MAGIC, files.XFS_SUPER_MAGIC}


_own = _thread._local()


def use_store(path: str) -> str:
    """Have another store in this thread, "" for the usual one; returns which one it had."""
    before: str = getattr(_own, "path", "")
    _own.path = path
    return before


def store_dir() -> str:
    """Where the store is: this thread's own (`use_store`), CLOCHE_ROOT, /var/lib/cloche, or $XDG_DATA_HOME/cloche."""
    given: str = getattr(_own, "path", "") or places.environment("CLOCHE_ROOT")
    if given:
        return places.abspath(given)
    if os.geteuid() == 0:
        return "/var/lib/cloche"
    if data := places.environment("XDG_DATA_HOME"):
        return f"{data}/cloche"
    home = places.environment("HOME") or _home()
    return f"{home.rstrip('/')}/.local/share/cloche"


def _home() -> str:
    from os.path import expanduser

    return expanduser("~")


class Layout:
    """An OCI image layout. Opening one makes it where there is none."""

    def __init__(self, path: str) -> None:
        self.path = path

    def make(self) -> None:
        """Make the directory and what every layout has. Raises ForbiddenError, UnsupportedError."""
        try:
            places.makedirs(self.path, mode=0o700)
            if not all(places.exists(f"{self.path}/{name}") for name in (*FOLDERS, *FIRST)):
                with self.locked():
                    self._furnish()
            for name in ("incoming", "layers"):
                # set-uid programs of any image are in there (CVE-2021-41103)
                if os.stat(f"{self.path}/{name}").st_mode & 0o077:
                    os.chmod(f"{self.path}/{name}", 0o700)
            self.keep_spare()
        except OSError as error:
            if is_full(error):
                raise full(self.path) from None
            raise ForbiddenError(
                f"the store {self.path} cannot be used: {error.strerror}", hint="give another: --root, or CLOCHE_ROOT"
            ) from None
        self._check_version()

    def locked(self, *, shared: bool = False) -> files.Fd:
        """Hold the lock of the store until the descriptor is closed: whoever changes a name, or removes anything.

        A share of it can be had of a store that is read-only, too.
        """
        path = f"{self.path}/lock"
        try:
            held = files.Fd(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            if not shared or error.errno != EROFS:
                raise
            held = files.Fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        fcntl.flock(held.number, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        return held

    def _furnish(self) -> None:
        for name in FOLDERS:
            places.makedirs(f"{self.path}/{name}")
        for name in ("blobs", "layers"):
            sync_directory(f"{self.path}/{name}")
        for name, content in FIRST.items():
            if not places.exists(f"{self.path}/{name}"):
                write_once(f"{self.path}/{name}", content, f"{self.path}/incoming")

    def keep_spare(self) -> None:
        """Keep room for an index.json with less in it, so that a name can be taken away where the disk is full."""
        wanted = max(SPARE, 2 * os.stat(f"{self.path}/index.json").st_size)
        if places.exists(self.spare) and os.stat(self.spare).st_size >= wanted:
            return
        try:
            with self.locked():
                write_once(self.spare, bytes(wanted), f"{self.path}/incoming")
        except OSError as error:
            if not is_full(error):
                raise

    @property
    def spare(self) -> str:
        """A file whose blocks can be written to when there are no others."""
        return f"{self.path}/spare"

    def _check_version(self) -> None:
        with open(f"{self.path}/oci-layout", "rb") as file:
            raw = read_json(file.read(4096))
        version = str(raw.get("imageLayoutVersion", "")) if isinstance(raw, dict) else ""
        if version.partition(".")[0] != "1":
            raise UnsupportedError(f"the store {self.path}", needs=f"image layout 1, not {version or 'an unknown one'}")

    def blob(self, digest: str) -> str:
        """The file of a blob, whether it is there or not."""
        algorithm, _, digits = check_digest(digest).partition(":")
        return f"{self.path}/blobs/{algorithm}/{digits}"

    def has(self, digest: str) -> bool:
        """Whether a blob is there, which means: whole and checked."""
        return places.exists(self.blob(digest))

    def read(self, digest: str, limit: int) -> bytes:
        """The content of a blob of at most `limit` bytes. Raises NotFoundError."""
        try:
            with open(self.blob(digest), "rb") as file:
                content = file.read(limit + 1)
        except FileNotFoundError:
            raise NotFoundError(
                f"the content {digest} is not in the store {self.path}", hint="pull the image again"
            ) from None
        if len(content) > limit:
            raise ClocheError(f"the content {digest} is longer than {limit} bytes")
        return content

    def add(self, content: bytes) -> str:
        """Store some bytes; returns their digest."""
        digest = sha256(content)
        if not self.has(digest):
            write_once(self.blob(digest), content, f"{self.path}/incoming")
        return digest


def unique(path: str) -> str:
    """PATH with an end that nobody else comes to: in containers that share a store, two can have the same pid."""
    return f"{path}.{os.urandom(8).hex()}"


def create(path: str, mode: int = 0o644) -> files.Fd:
    """Make a file that was not there, to be written to. Raises FileExistsError."""
    return files.Fd(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))


def write_once(path: str, content: bytes, beside: str = "", *, after: tuple[str, ...] = ()) -> None:
    """Write a file that appears whole, and is there after a power cut; made in the directory `beside`.

    What is in the directories `after` is on the disk before.
    """
    folder = places.dirname(path)
    temporary = unique(f"{beside or folder}/{places.basename(path)}")
    try:
        with create(temporary) as file:
            point("write-begun")
            files.write_all(file.number, content)
            point("write-written")
            os.fsync(file.number)
            for other in after if files.filesystem_type(file.number) not in IN_ORDER else ():
                sync_directory(other)
        point("write-synced")
        os.rename(temporary, path)
        point("write-renamed")
    except OSError:
        if places.exists(temporary):
            os.unlink(temporary)
        raise
    sync_directory(folder)


def write_over(spare: str, path: str, content: bytes) -> None:
    """Have the content appear whole in place of a file, in the blocks of a third one. Raises OSError."""
    with files.Fd(os.open(spare, os.O_RDWR | os.O_CLOEXEC)) as file:
        if os.fstat(file.number).st_size < len(content):
            raise OSError(ENOSPC, os.strerror(ENOSPC), path)
        at = 0
        while at < len(content):
            at += os.pwrite(file.number, content[at:], at)
        os.ftruncate(file.number, len(content))
        os.fsync(file.number)
    os.rename(spare, path)
    sync_directory(places.dirname(path))


def sync_directory(path: str) -> None:
    """Make sure that the names in a directory are there after a power cut."""
    with files.Fd(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as folder:
        os.fsync(folder.number)
