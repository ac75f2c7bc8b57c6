"""Archives of images, and the docker daemon, which gives and takes them, as sources and sinks.

An archive is read once, into an image layout in a directory of its own that goes with the object: parts of it are asked
for in any order, and a pipe or a daemon tells them in one. Who takes an image into the store has that directory in the
store's incoming/, locked: where somebody is killed, the next rmi removes it.
"""

from __future__ import annotations

import http.client
import os
import socket
import tempfile
from contextlib import closing, contextmanager, suppress
from urllib.parse import quote

from cloche.errors import ForbiddenError, NotFoundError, RegistryError, UnsupportedError
from cloche.images import archives, saving
from cloche.images.documents import LARGEST
from cloche.images.platforms import Wanted, own_platform
from cloche.images.references import parse_reference
from cloche.images.sources.layout import LayoutPlace
from cloche.images.store import names
from cloche.images.store.appearing import appearing
from cloche.images.store.layout import unique
from cloche.images.store.locks import lock
from cloche.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from cloche.images.documents import Answer
    from cloche.images.sources.source import Image

SOCKET = "/var/run/docker.sock"
VERSION = "v1.40"  # of docker's API: 19.03, and everything since
PART = 1 << 18


class ArchivePlace(LayoutPlace):
    """An archive that docker, podman, skopeo or cloche has written, compressed or not."""

    def __init__(self, path: str, platform: Wanted | None = None, incoming: str = "") -> None:
        super().__init__(_own_directory(self, incoming))
        self.path, self.platform = path, platform or own_platform()
        self._is_read = False

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"archive:{self.path}"

    def manifest(self, selector: str) -> Answer:
        """What has this name or digest in the archive; with "" the only one there is."""
        if not self._is_read:
            try:
                with files.Fd(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)) as file:
                    self.take_in(lambda size: os.read(file.number, size))
            except OSError as error:
                raise NotFoundError(f"{self.path} cannot be read: {error.strerror}") from None
        known = {entry.name for entry in names.entries(self.layout)}
        return super().manifest(selector if selector in known or not selector else _full(selector))

    def take_in(self, read: Callable[[int], bytes]) -> None:
        """Read an archive, of which `read` gives up to so many bytes."""
        self.layout.make()
        for entry in archives.take_in(self.layout, read, self.platform):
            names.put(self.layout, entry)
        self._is_read = True

    def write(self, out: IO[bytes]) -> None:
        """Write all that was put into it as an archive."""
        saving.save(self.layout, names.entries(self.layout), out)

    def push_manifest(self, selector: str, content: bytes, media_type: str) -> str:
        """Take a manifest in, and write the archive, which appears when it is whole."""
        digest = super().push_manifest(_full(selector), content, media_type)
        try:
            with appearing(self.path) as file:
                self.write(file)
        except OSError as error:
            raise ForbiddenError(f"{self.path} cannot be written: {error.strerror}") from None
        return digest


class DaemonPlace(ArchivePlace):
    """The images of a docker daemon (docker's Engine API, "Export an image", "Import images")."""

    def __init__(self, image: str, platform: Wanted | None = None, incoming: str = "") -> None:
        host = os.environ.get("DOCKER_HOST", "")
        if host and not host.startswith("unix://"):
            raise UnsupportedError(f"DOCKER_HOST={host}", needs="a socket with a path", hint="DOCKER_HOST=unix://PATH")
        super().__init__(host.removeprefix("unix://") or SOCKET, platform, incoming)
        self.image = image

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"docker-daemon:{self.image}"

    def manifest(self, selector: str) -> Answer:
        """The image of this name in the daemon."""
        if not self._is_read:
            with self._ask("GET", f"/images/{quote(self.image, safe='')}/get", None) as answer:
                self.take_in(self._reader(answer))
        return super().manifest(selector)

    def push_manifest(self, selector: str, content: bytes, media_type: str) -> str:
        """Take a manifest in, and give it to the daemon with all that belongs to it."""
        digest = LayoutPlace.push_manifest(self, _full(selector or self.image), content, media_type)
        with tempfile.TemporaryFile() as file:
            self.write(file)
            file.seek(0)
            with self._ask("POST", "/images/load?quiet=1", file) as answer:
                said = self._reader(answer)(LARGEST)
        if b'"error"' in said:
            raise RegistryError(f"{self.name} does not take it: {said.decode(errors='replace')[:200]}")
        return digest

    def name_of(self, image: Image) -> str:
        """What the image is called in the daemon."""
        del image
        return self.image

    def _reader(self, answer: http.client.HTTPResponse) -> Callable[[int], bytes]:
        def read(size: int) -> bytes:
            try:
                part = answer.read(size)
                if not part and answer.length:
                    raise http.client.IncompleteRead(b"", answer.length)
            except (OSError, http.client.HTTPException) as error:
                raise RegistryError(f"the docker daemon breaks off in {self.image}: {error}") from None
            return part

        return read

    @contextmanager
    def _ask(self, method: str, place: str, body: IO[bytes] | None) -> Iterator[http.client.HTTPResponse]:
        connection = _Connection(self.path)
        headers = {"Content-Type": "application/x-tar"} if body is not None else {}
        try:
            connection.request(method, f"/{VERSION}{place}", body, headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise NotFoundError(
                f"no docker daemon answers at {self.path}: {getattr(error, 'strerror', None) or error}",
                hint="start it, or say where it is: DOCKER_HOST=unix://PATH",
            ) from None
        with closing(connection), answer:
            if answer.status == 404:
                raise NotFoundError(f"the docker daemon has no image {self.image}", hint="see docker images")
            if answer.status != 200:
                raise RegistryError(f"the docker daemon answers {answer.status} for {self.image}")
            yield answer


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket with a path."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


def _own_directory(place: object, incoming: str) -> str:
    """A directory that is removed when `place` is not needed any more; in incoming/ of a store if that is given."""
    import weakref

    if not incoming:
        made = tempfile.mkdtemp(prefix="cloche-")
        weakref.finalize(place, _remove, made)
        return made
    made = unique(f"{incoming}/archive")
    held = lock(f"{made}.lock")  # before it is there: what nobody holds is removed by others
    os.mkdir(made, 0o700)
    weakref.finalize(place, _remove, made, held)
    return made


def _remove(made: str, held: files.Fd | None = None) -> None:
    import shutil

    shutil.rmtree(made, ignore_errors=True)
    if held is not None:
        with suppress(FileNotFoundError):  # the store may be gone as well
            os.unlink(f"{made}.lock")
        held.close()


def _full(text: str) -> str:
    return str(parse_reference(text)) if text and not text.startswith(("sha256:", "sha512:")) else text
