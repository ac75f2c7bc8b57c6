"""One repository of a registry (OCI distribution-spec 1.1, and docker's registry API, which it came from)."""

from __future__ import annotations

from urllib.parse import quote, urlencode, urljoin, urlsplit

from cloche.errors import ForbiddenError, NotFoundError, RegistryError, SpecError
from cloche.images.digests import check_digest, sha256
from cloche.images.documents import LARGEST, check_content
from cloche.images.registry.auth import Authority, Login
from cloche.images.registry.transport import discard
from cloche.records import record
from cloche.spec import image
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import IO

    from urllib3.response import BaseHTTPResponse

    from cloche.images.registry.transport import Transport

ACCEPT = ", ".join((*image.INDEXES, *image.MANIFESTS))
LARGEST_ERROR = 64 << 10
PART = 1 << 16
MOST_CHALLENGES = 3  # of one request: who we are, and once more where a token was too old
PULL, PUSH = "pull", "pull,push"  # what a token is asked for


@record
class Answer:
    """A manifest as it came: its bytes, what it was said to be, and the digest of the bytes."""

    content: bytes
    media_type: str
    digest: str


class Repository:
    """A repository at one place: `base` is the registry's origin, `path` the name below it; for several threads."""

    def __init__(self, transport: Transport, base: str, path: str, login: Login | None = None) -> None:
        self.transport, self.base, self.path = transport, base, path
        self.host = urlsplit(base).netloc
        self._authority = Authority(transport, base, login or Login())

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.host}/{self.path}"

    def manifest(self, selector: str) -> Answer:
        """The manifest or index with this tag or digest, checked against a digest.

        Raises NotFoundError, ForbiddenError, RegistryError.
        """
        what = f"{self.name}{'@' if ':' in selector else ':'}{selector}"
        answer = self._ask("GET", f"manifests/{quote(selector, safe=':')}", what, headers={"Accept": ACCEPT})
        content = _read(answer, LARGEST, what)
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if ":" in selector:
            return Answer(check_content(content, selector, what), kind, selector)
        said = answer.headers.get("Docker-Content-Digest", "")
        if said:
            try:
                check_content(content, check_digest(said), what)
            except SpecError as error:
                raise RegistryError(f"{what}: {error}") from None
        return Answer(content, kind, said if said.startswith("sha256:") else sha256(content))

    def blob(self, digest: str, offset: int = 0) -> tuple[BaseHTTPResponse, int]:
        """A blob's content from `offset` on, to be read by the caller; with where it really starts: `offset` or 0."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        what = f"{self.name}@{digest}"
        answer = self._ask("GET", f"blobs/{digest}", what, headers=headers, wanted=(200, 206))
        if answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            return answer, offset
        return answer, 0

    def has_blob(self, digest: str) -> bool:
        """Whether the repository has a blob."""
        try:
            answer = self._ask("HEAD", f"blobs/{digest}", f"{self.name}@{digest}", headers={}, actions=PUSH)
        except NotFoundError:
            return False
        answer.release_conn()
        return True

    def push_blob(self, digest: str, size: int, body: IO[bytes], sources: Iterable[str] = ()) -> str:
        """Have a blob in the repository; returns "exists", "mounted" from one of `sources`, or "pushed".

        `sources` are other repositories of the registry that have it (distribution-spec, "Mounting a blob").
        """
        if self.has_blob(digest):
            return "exists"
        what = f"{self.name}@{digest}"
        source = next(iter(sources), "")
        words = {"mount": digest, "from": source} if source else {}
        answer = self._ask(
            "POST",
            f"blobs/uploads/{'?' + urlencode(words) if words else ''}",
            what,
            headers={"Content-Length": "0"},
            wanted=(201, 202),
            actions=PUSH,
            more=(f"repository:{source}:pull",) if source else (),
        )
        discard(answer)
        if answer.status == 201:
            return "mounted"
        place = self._upload_place(answer.headers.get("Location", ""))
        place += f"{'&' if urlsplit(place).query else '?'}{urlencode({'digest': digest})}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        answer = self._ask("PUT", place, what, headers=headers, wanted=(201,), actions=PUSH, body=body)
        discard(answer)
        return "pushed"

    def _upload_place(self, location: str) -> str:
        """Where a blob is to be sent. Raises RegistryError for a place without TLS that a registry with TLS names."""
        try:
            place = urljoin(f"{self.base}/", location)
            scheme = urlsplit(place).scheme
        except ValueError:
            scheme = ""
        if scheme not in {"http", "https"} or (self.base.startswith("https:") and scheme == "http"):
            raise RegistryError(f"{self.host} wants the content sent to {location[:80]!r}", hint="check its set-up")
        return place

    def push_manifest(self, selector: str, content: bytes, media_type: str) -> str:
        """Store a manifest under a tag or its digest; returns the digest."""
        what = f"{self.name}{'@' if ':' in selector else ':'}{selector}"
        headers = {"Content-Type": media_type}
        below = f"manifests/{quote(selector, safe=':')}"
        answer = self._ask("PUT", below, what, headers=headers, wanted=(200, 201, 202), actions=PUSH, body=content)
        discard(answer)
        return sha256(content)

    def _ask(
        self,
        method: str,
        below: str,
        what: str,
        *,
        headers: Mapping[str, str],
        wanted: tuple[int, ...] = (200,),
        actions: str = PULL,
        more: tuple[str, ...] = (),
        body: bytes | IO[bytes] | None = None,
    ) -> BaseHTTPResponse:
        """Ask for something below the repository, or at a whole address; with whom we are, if that is wanted."""
        scope = " ".join((f"repository:{self.path}:{actions}", *more))
        url = below if "://" in below else f"{self.base}/v2/{self.path}/{below}"
        for _ in range(MOST_CHALLENGES):
            # an upload may be somewhere else, where nobody is told who we are
            ours = _origin(url) == self.base
            own = {**headers, **(self._authority.header(scope) if ours else {})}
            answer = self.transport.request(method, url, headers=own, body=body, wanted=wanted)
            if answer.status in wanted:
                return answer
            if answer.status == 401:
                challenge = answer.headers.get("WWW-Authenticate", "")
                if self._authority.challenged(challenge, scope):
                    discard(answer)
                    if body is not None and not isinstance(body, bytes):
                        body.seek(0)
                    continue
            raise self._refusal(answer, what)
        raise RegistryError(f"{self.host} asks again and again who we are")

    def _refusal(self, answer: BaseHTTPResponse, what: str) -> ForbiddenError | NotFoundError | RegistryError:
        """What a registry's error means (distribution-spec, "Error Codes")."""
        said = _message(answer)
        status = answer.status
        if status == 404:
            return NotFoundError(f"{what} is not in the registry{said}", hint="check the name and the tag")
        if status in {401, 403}:
            return ForbiddenError(
                f"{self.host} does not let us have {what}{said}",
                hint=f"cloche login {self.host}, if it is there at all",
            )
        return RegistryError(f"{self.host} answers {status} for {what}{said}")


def check_login(transport: Transport, base: str, login: Login) -> None:
    """See whether a registry lets this user in. Raises ForbiddenError, RegistryError."""
    authority = Authority(transport, base, login)
    host = urlsplit(base).netloc
    for _ in range(MOST_CHALLENGES):
        answer = transport.request("GET", f"{base}/v2/", headers=authority.header(""))
        discard(answer)
        if answer.status == 200:
            return
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.status != 401 or not authority.challenged(challenge, ""):
            break
    if answer.status in {401, 403}:
        raise ForbiddenError(f"{host} does not let {login.user} in", hint="check the user's name and the password")
    raise RegistryError(f"{host} answers {answer.status}: it is no registry", hint="HOST[:PORT]")


def _read(answer: BaseHTTPResponse, limit: int, what: str) -> bytes:
    from urllib3.exceptions import HTTPError

    content = b""
    try:
        while len(content) <= limit and (part := answer.read(PART)):
            content += part
    except HTTPError as error:
        raise RegistryError(f"{what} broke off: {error}") from None
    if len(content) > limit:
        answer.close()
        raise RegistryError(f"{what} is longer than {limit} bytes")
    answer.release_conn()
    return content


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _message(answer: BaseHTTPResponse) -> str:
    """What the registry says itself, for people; "" where it says nothing that can be understood."""
    from urllib3.exceptions import HTTPError

    try:
        content = answer.read(LARGEST_ERROR)
        answer.close()
        raw = read_json(content)
    except (HTTPError, SpecError):
        return ""
    errors = raw.get("errors") if isinstance(raw, dict) else None
    if not isinstance(errors, list) or not errors or not isinstance(errors[0], dict):
        return ""
    text = str(errors[0].get("message") or errors[0].get("code") or "")
    return f": {text[:200]}" if text else ""
