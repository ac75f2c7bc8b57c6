"""Sending a blob to a registry (distribution-spec, "Pushing Blobs").

    POST …/uploads/?mount=D&from=NAME   201: taken from another repository   202: send it to Location
    PUT Location?digest=D               all of it in one request (monolithic), or
    PATCH Location                      parts of it, Content-Range: START-END, each with a Location for the next,
    PUT Location?digest=D               and an end

One request is what every registry takes, streams, and costs a single round trip: it is tried first. Parts are for what
stands in its way: a proxy that takes no more than so many bytes (413), or a connection that breaks off. A part that
broke off is gone on with where the registry says it stands (GET Location); one that does not know begins anew.
"""

from __future__ import annotations

import time
from urllib.parse import urlencode, urljoin, urlsplit

from cloche.errors import ClocheError, NotFoundError, RegistryError
from cloche.images.registry.session import StatusError
from cloche.images.registry.transport import UnreachableError, discard
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from urllib3.response import BaseHTTPResponse

    from cloche.images.registry.session import Session

CHUNK, LEAST_CHUNK = 16 << 20, 64 << 10  # bytes of a part: at first, and where a proxy takes even less
LARGEST_CHUNK = 1 << 40  # a least length above this is no length
TRIES, WAIT = 5, 0.25  # of a part until so much has arrived, and seconds before the second try; then twice as many
MOST_PARTS = 100_000  # that are sent of one blob
BYTES = "application/octet-stream"


@record
class Target:
    """Where blobs go: the path of their repository's uploads, and what a token is asked for."""

    uploads: str  # /v2/NAME/blobs/uploads/
    scope: str


@record
class _Place:
    """An upload that was begun: where its next bytes go, and how many a part has at least."""

    url: str
    least: int = 0


def send(session: Session, target: Target, digest: str, size: int, body: IO[bytes], source: str, chunk: int) -> str:
    """Have a blob in a repository; returns "mounted", if `source` had it, or "pushed".

    `body` can seek, and has `size` bytes. With `chunk` it is sent in parts of so many bytes from the start.
    Raises ForbiddenError, RegistryError.
    """
    what = f"the upload of {digest} to {session.host}"
    place = _begin(session, target, what, digest, source)
    if place is None:
        return "mounted"
    if not chunk:
        try:
            _finish(session, target, place, what, digest, _Part(body, 0, size))
            return "pushed"
        except UnreachableError:
            place = None
        except StatusError as error:
            if error.status != 413:
                raise
            place = None
    _Chunked(session, target, what, digest, size, body, chunk or CHUNK).send(place)
    return "pushed"


def mount(session: Session, target: Target, digest: str, source: str) -> bool:
    """Whether a blob could be taken from another repository of the registry. Raises ForbiddenError, RegistryError."""
    what = f"the upload of {digest} to {session.host}"
    place = _begin(session, target, what, digest, source)
    if place is None:
        return True
    try:  # an upload was begun instead ("Cancel a blob upload"); it ends by itself where that cannot be said
        discard(session.ask("DELETE", place.url, what, scope=target.scope, wanted=(200, 202, 204)))
    except ClocheError:
        pass
    return False


class _Chunked:
    """One blob sent in parts."""

    def __init__(
        self, session: Session, target: Target, what: str, digest: str, size: int, body: IO[bytes], chunk: int
    ) -> None:
        self.session, self.target, self.what, self.digest = session, target, what, digest
        self.size, self.body, self.chunk = size, body, chunk

    def send(self, place: _Place | None) -> None:
        """Send all of it: to an upload that was begun, or to one that is."""
        offset = best = tries = count = 0
        while True:
            try:
                if place is None:
                    offset, place = 0, _begin(self.session, self.target, self.what)
                    if place is None:
                        return  # it says that it has the blob after all
                while offset < self.size:
                    count += 1
                    whole = min(offset + self.chunk, self.size)
                    offset, place = self._send_part(place, offset)
                    if offset - best >= self.chunk:
                        tries, best = 0, offset
                    tries += offset < whole  # a few bytes of it are no success
                    if tries == TRIES or count == MOST_PARTS:
                        raise RegistryError(
                            f"{self.what} gets nowhere: {offset} bytes of {self.size} after {count} parts"
                        )
                _finish(self.session, self.target, place, self.what, self.digest, _Part(self.body, 0, 0))
                return
            except (UnreachableError, StatusError, NotFoundError) as error:
                if not self._made_smaller(error, place):
                    tries += 1
                    if tries == TRIES or not _may_go_on(error, begun=place is not None):
                        raise
            if tries > 1:
                time.sleep(WAIT * float(1 << tries))
            offset, place = self._standing(place)

    def _send_part(self, place: _Place, offset: int) -> tuple[int, _Place]:
        """Send the next part; returns how much the registry has now, and where the rest goes."""
        length = min(max(self.chunk, place.least), self.size - offset)
        headers = {"Content-Type": BYTES, "Content-Length": str(length)}
        headers["Content-Range"] = f"{offset}-{offset + length - 1}"
        part = _Part(self.body, offset, length)
        answer = self.session.ask(
            "PATCH", place.url, self.what, scope=self.target.scope, headers=headers, wanted=(202,), body=part
        )
        discard(answer)
        has = _end(answer)
        if has is None or not offset < has <= offset + length:
            has = offset + length  # it took the part, and says nothing that makes sense
        return has, _place(self.session, answer, place)

    def _made_smaller(self, error: ClocheError, place: _Place | None) -> bool:
        """Whether a part was refused for its size, and smaller ones may be sent."""
        if not isinstance(error, StatusError) or error.status != 413:
            return False
        smaller = self.chunk // 2
        if smaller < max(LEAST_CHUNK, place.least if place is not None else 0):
            return False
        self.chunk = smaller
        return True

    def _standing(self, place: _Place | None) -> tuple[int, _Place | None]:
        """How much the registry has of an upload, and where it goes on; (0, None) where it has to begin anew."""
        if place is None:
            return 0, None
        try:
            answer = self.session.ask("GET", place.url, self.what, scope=self.target.scope, wanted=(204,))
        except (UnreachableError, StatusError, NotFoundError):
            return 0, None
        discard(answer)
        has = _end(answer)
        if has is None or has > self.size:
            return 0, None
        return has, _place(self.session, answer, place)


def _may_go_on(error: ClocheError, *, begun: bool) -> bool:
    """Whether another try can do better, after asking how far it got, or from the start."""
    if isinstance(error, StatusError):
        return error.status == 416
    return begun or isinstance(error, UnreachableError)


class _Part:
    """Some bytes of a file as a file of its own, as far as HTTP clients read one."""

    def __init__(self, file: IO[bytes], start: int, length: int) -> None:
        self._file, self._start, self.length = file, start, length
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the part."""
        left = self.length - self._at
        self._file.seek(self._start + self._at)
        found = self._file.read(left if size < 0 else min(size, left))
        self._at += len(found)
        return found

    def seek(self, offset: int, _whence: int = 0) -> int:
        """Read from this place of the part on."""
        self._at = offset
        return offset

    def tell(self) -> int:
        """How much of the part was read."""
        return self._at


def _begin(session: Session, target: Target, what: str, digest: str = "", source: str = "") -> _Place | None:
    """Begin an upload; None where the blob was mounted from `source`, another repository of the registry."""
    words = {"mount": digest, "from": source} if source else {}
    answer = session.ask(
        "POST",
        f"{target.uploads}{'?' + urlencode(words) if words else ''}",
        what,
        scope=target.scope + (f" repository:{source}:pull" if source else ""),
        headers={"Content-Length": "0"},
        wanted=(201, 202),
    )
    discard(answer)
    return None if answer.status == 201 else _place(session, answer, None)


def _finish(session: Session, target: Target, place: _Place, what: str, digest: str, rest: _Part) -> None:
    """End an upload with the bytes that are missing."""
    url = f"{place.url}{'&' if urlsplit(place.url).query else '?'}{urlencode({'digest': digest})}"
    headers = {"Content-Type": BYTES, "Content-Length": str(rest.length)}
    body = rest if rest.length else None
    discard(session.ask("PUT", url, what, scope=target.scope, headers=headers, wanted=(201,), body=body))


def _place(session: Session, answer: BaseHTTPResponse, before: _Place | None) -> _Place:
    """Where the next bytes go. Raises RegistryError for a place without TLS that a registry with TLS names."""
    location = answer.headers.get("Location", "")
    least = answer.headers.get("OCI-Chunk-Min-Length", "")
    known = before.least if before is not None else 0
    given = int(least) if least.isascii() and least.isdecimal() and len(least) < 20 else 0
    if not location and before is not None:
        return before
    try:
        place = urljoin(f"{session.base}/" if before is None else before.url, location)
        scheme = urlsplit(place).scheme
    except ValueError:
        scheme = ""
    if scheme not in {"http", "https"} or (session.base.startswith("https:") and scheme == "http"):
        raise RegistryError(f"{session.host} wants the content sent to {location[:80]!r}", hint="check its set-up")
    return _Place(place, given if 0 < given < LARGEST_CHUNK else known)


def _end(answer: BaseHTTPResponse) -> int | None:
    """How many bytes a registry has, as its Range says: 0-9 is ten of them; 0-0 is none, as docker's registry says."""
    start, dash, end = answer.headers.get("Range", "").removeprefix("bytes=").partition("-")
    if start != "0" or not dash or not (end.isascii() and end.isdecimal()) or len(end) > 18:
        return None
    return int(end) + 1 if int(end) else 0
