"""Files of a mirror: each as long as it may be, and what its hash says.

http, https, and file: or copy: for a directory of this machine. A user and a password of a URL are sent to its host and
shown to nobody. Packages are kept in the store, by their hash, so that what broke off goes on where it was.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, unquote, urlsplit

from cloche.errors import NotFoundError, RegistryError
from cloche.images.debian.sources import without_login
from cloche.images.documents import check_content
from cloche.images.store.incoming import Incoming
from cloche.images.unpack.compression import reader
from cloche.images.unpack.tar import BadArchive
from cloche.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche.images.debian.packages import Package
    from cloche.images.debian.release import Release
    from cloche.images.debian.sources import Source
    from cloche.images.registry.transport import Transport
    from cloche.images.store.layout import Layout

LARGEST_RELEASE = 1 << 20
LARGEST_PACKAGES = 1 << 30  # unfolded
PART = 1 << 18
AT_ONCE = 4
BROKEN = 5  # connections for one file


class Mirrors:
    """Files by the URL of a mirror and a path; for several threads."""

    def __init__(self) -> None:
        self._transport: Transport | None = None

    def parts(self, url: str, path: str, start: int = 0) -> Iterator[bytes]:
        """A file, in parts, from an offset on. Raises NotFoundError, RegistryError."""
        if url.startswith(("file:", "copy:")):
            return _local(f"{unquote(urlsplit(url).path)}/{path}", start)
        return self._remote(url, path, start)

    def _remote(self, url: str, path: str, start: int) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        from cloche.images.registry.transport import discard

        where = f"{without_login(url)}/{path}"
        # some servers take + for a space
        address = f"{without_login(url)}/{quote(path, safe='/~')}"
        answer = self._connections().request("GET", address, headers=_headers(url, start))
        if answer.status not in {200, 206}:
            discard(answer)
            if answer.status in {404, 410}:
                raise NotFoundError(f"{where} is not there", hint="the mirror is incomplete, or none of this suite")
            raise RegistryError(f"{where} cannot be had: the answer is {answer.status}")
        skipped = start if answer.status == 200 else 0  # some send all of it whatever is asked for
        try:
            while part := answer.read(PART):
                if skipped:
                    part, skipped = part[skipped:], max(0, skipped - len(part))
                yield part
            answer.release_conn()
        except HTTPError as error:
            raise Broken(f"{where} breaks off: {error}", hint="try again later") from None
        finally:
            answer.close()

    def _connections(self) -> Transport:
        if self._transport is None:
            from cloche.images.registry.transport import Transport

            self._transport = Transport()
        return self._transport

    def read(self, url: str, path: str, limit: int) -> bytes:
        """A whole file of at most `limit` bytes."""
        found, size = [], 0
        for part in self.parts(url, path):
            found.append(part)
            size += len(part)
            if size > limit:
                raise RegistryError(f"{without_login(url)}/{path} is longer than {limit} bytes")
        return b"".join(found)


class Broken(RegistryError):
    """A connection that ended in the middle."""


def _headers(url: str, start: int) -> dict[str, str]:
    found = {"Range": f"bytes={start}-"} if start else {}
    parts = urlsplit(url)
    if parts.username:
        import base64

        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        found["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    return found


def _local(path: str, start: int) -> Iterator[bytes]:
    try:
        with files.Fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as file:
            while part := os.pread(file.number, PART, start):
                start += len(part)
                yield part
    except FileNotFoundError:
        raise NotFoundError(f"{path} is not there", hint="the mirror is incomplete, or none of this suite") from None
    except OSError as error:
        raise RegistryError(f"{path} cannot be read: {error.strerror}") from None


def fetch_release(mirrors: Mirrors, source: Source) -> tuple[bytes, bytes | None]:
    """The Release of a suite as it was sent, and its signature unless that is in it."""
    base = f"dists/{source.suite}"
    try:
        return mirrors.read(source.url, f"{base}/InRelease", LARGEST_RELEASE), None
    except NotFoundError:
        content = mirrors.read(source.url, f"{base}/Release", LARGEST_RELEASE)
    try:
        return content, mirrors.read(source.url, f"{base}/Release.gpg", LARGEST_RELEASE)
    except NotFoundError:
        return content, None


def fetch_index(mirrors: Mirrors, source: Source, release: Release, ways: list[tuple[str, str, int]]) -> bytes:
    """What Packages says, by the first of the ways to get it that the mirror has. Raises RegistryError."""
    for path, digest, size in ways:
        folder = path.rpartition("/")[0]
        by_hash = [f"{folder}/by-hash/SHA256/{digest.partition(':')[2]}"] if release.by_hash else []
        for place in (*by_hash, path):
            try:
                content = mirrors.read(source.url, f"dists/{source.suite}/{place}", size)
            except NotFoundError:
                continue
            where = f"{source.shown}/dists/{source.suite}/{place}"
            return _unfolded(check_content(content, digest, where), where)
    raise NotFoundError(f"{source.shown} has no Packages of {source.suite}", hint="the mirror is incomplete")


def _unfolded(content: bytes, where: str) -> bytes:
    chunks = [content]
    found = bytearray()
    try:
        source = reader(lambda _: chunks.pop() if chunks else b"")
        while chunk := source():
            found += chunk
            if len(found) > LARGEST_PACKAGES:
                raise RegistryError(f"{where} unfolds to more than {LARGEST_PACKAGES} bytes")
    except BadArchive as error:
        raise RegistryError(f"{where} {error}") from None
    return bytes(found)


def fetch_packages(
    mirrors: Mirrors, layout: Layout, items: list[tuple[str, Package]], arrived: Callable[[Package], None]
) -> None:
    """Have packages in the store, each from the mirror with the URL in front. Raises RegistryError, NotFoundError."""
    with ThreadPoolExecutor(AT_ONCE, "fetch") as pool:
        waiting = [pool.submit(_fetch, mirrors, layout, url, package) for url, package in items]
        try:
            for (_, package), future in zip(items, waiting, strict=True):
                future.result()
                arrived(package)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch(mirrors: Mirrors, layout: Layout, url: str, package: Package) -> None:
    try:
        if not _arrives(mirrors, layout, url, package, again=True):
            _arrives(mirrors, layout, url, package, again=False)
    except NotFoundError:
        raise
    except RegistryError as error:
        raise RegistryError(f"{without_login(url)}/{package.filename}: {error}", hint=error.hint) from None


def _arrives(mirrors: Mirrors, layout: Layout, url: str, package: Package, *, again: bool) -> bool:
    """Have a package in the store; False where it was put together of two parts that do not fit, to try `again`."""
    with Incoming(layout, package.digest, package.size) as incoming:
        tries, whole = 0, incoming.size == 0
        while not incoming.done:
            try:
                if incoming.size < package.size:
                    for part in mirrors.parts(url, package.filename, incoming.size):
                        incoming.write(part)
                incoming.finish()
            except Broken:
                whole, tries = False, tries + 1
                if tries == BROKEN:
                    raise
            except NotFoundError:
                raise
            except RegistryError:
                incoming.restart()
                if whole or not again:
                    raise
                return False
    return True
