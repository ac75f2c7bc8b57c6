"""One repository of a registry (OCI distribution-spec 1.1, and docker's registry API, which it came from)."""

from __future__ import annotations

from urllib.parse import quote

from cloche.errors import ClocheError, NotFoundError, RegistryError, SpecError, UnsupportedError
from cloche.images.digests import check_digest, sha256
from cloche.images.documents import LARGEST, Answer, check_content, read_manifest
from cloche.images.references import is_tag
from cloche.images.registry import referrers, uploads
from cloche.images.registry.pages import PAGE, strings
from cloche.images.registry.reading import read_whole
from cloche.images.registry.session import Session, StatusError
from cloche.images.registry.transport import discard
from cloche.spec import image
from cloche.spec.image import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

    from urllib3.response import BaseHTTPResponse

    from cloche.images.registry.auth import Login
    from cloche.images.registry.transport import Transport

ACCEPT = ", ".join((*image.INDEXES, *image.MANIFESTS))
PULL, PUSH, DELETE = "pull", "pull,push", "pull,push,delete"  # what a token is asked for


class Repository:
    """A repository at one place: `base` is the registry's origin, `path` the name below it; for several threads.

    Every function raises NotFoundError for what is not there, ForbiddenError where we are not let in, and RegistryError
    for what a registry says that is not true, or is no answer.
    """

    def __init__(self, transport: Transport, base: str, path: str, login: Login | None = None) -> None:
        self.session = Session(transport, base, login)
        self.host, self.path = self.session.host, path

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.host}/{self.path}"

    def manifest(self, selector: str) -> Answer:
        """The manifest or index with this tag or digest, checked against a digest ("Pulling manifests")."""
        what = self._called(selector)
        answer = self._ask("GET", _manifest(selector), what, accept=ACCEPT)
        content = read_whole(answer, LARGEST, what)
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

    def describe(self, selector: str) -> Descriptor:
        """What a tag or digest stands for, as the registry says: HEAD ("Checking if content exists in the registry").

        Nothing is checked but the form of the digest: it has to be asked for by that digest to be believed. Where the
        answer lacks one, the manifest is fetched.
        """
        what = self._called(selector)
        answer = self._ask("HEAD", _manifest(selector), what, accept=ACCEPT)
        answer.drain_conn()
        said, size = answer.headers.get("Docker-Content-Digest", ""), answer.headers.get("Content-Length", "")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not said or not (size.isascii() and size.isdecimal() and len(size) < 19):
            found = self.manifest(selector)
            return Descriptor(mediaType=found.media_type, digest=found.digest, size=len(found.content))
        try:
            return Descriptor(mediaType=kind, digest=check_digest(said), size=int(size))
        except SpecError as error:
            raise RegistryError(f"{what}: {error}") from None

    def blob(self, digest: str, offset: int = 0) -> tuple[BaseHTTPResponse, int]:
        """A blob's content from `offset` on, to be read by the caller; with where it really starts: `offset` or 0.

        ("Pulling blobs"; the caller checks the digest.)
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        what = f"{self.name}@{digest}"
        answer = self._ask("GET", f"blobs/{digest}", what, headers=headers, wanted=(200, 206))
        if answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            return answer, offset
        return answer, 0

    def has_blob(self, digest: str) -> bool:
        """Whether the repository has a blob ("Checking if content exists in the registry")."""
        try:
            answer = self._ask("HEAD", f"blobs/{digest}", f"{self.name}@{digest}", actions=PUSH)
        except NotFoundError:
            return False
        answer.drain_conn()
        return True

    def push_blob(self, digest: str, size: int, body: IO[bytes], sources: Iterable[str] = (), *, chunk: int = 0) -> str:
        """Have a blob in the repository; returns "exists", "mounted" from one of `sources`, or "pushed".

        `body` can seek and has `size` bytes; `sources` are other repositories of the registry that have it. It goes in
        one request, and in parts where that is refused or breaks off, or from the start, of `chunk` bytes ("Pushing a
        blob monolithically", "Pushing a blob in chunks", "Mounting a blob from another repository").
        """
        if self.has_blob(digest):
            return "exists"
        target = uploads.Target(f"/v2/{self.path}/blobs/uploads/", self._scope(PUSH))
        return uploads.send(self.session, target, digest, size, body, next(iter(sources), ""), chunk)

    def mount_blob(self, digest: str, sources: Iterable[str]) -> str:
        """Have a blob that is not here to be sent: "exists", "mounted" from one of `sources`, or "" for neither.

        ("Mounting a blob from another repository".)
        """
        if self.has_blob(digest):
            return "exists"
        target = uploads.Target(f"/v2/{self.path}/blobs/uploads/", self._scope(PUSH))
        return "mounted" if any(uploads.mount(self.session, target, digest, source) for source in sources) else ""

    def push_manifest(self, selector: str, content: bytes, media_type: str) -> str:
        """Store a manifest under a tag or its digest; returns the digest ("Pushing Manifests").

        Where it has a `subject`, and the registry keeps no account of that, the index that clients keep is changed.
        """
        what = self._called(selector)
        answer = self._ask(
            "PUT",
            _manifest(selector),
            what,
            headers={"Content-Type": media_type},
            wanted=(200, 201, 202),
            actions=PUSH,
            body=content,
        )
        discard(answer)
        subject = _subject(content, media_type)
        if subject and not answer.headers.get("OCI-Subject"):
            referrers.add(self, subject, content, media_type)
        return sha256(content)

    def tags(self) -> list[str]:
        """All tags, sorted ("Listing Tags"), from as many pages as it takes."""
        what = f"the list of tags of {self.name}"
        place = f"/v2/{self.path}/tags/list?n={PAGE}"
        return sorted(set(strings(self.session, place, "tags", what, self._scope(PULL), is_tag)))

    def referrers(self, digest: str, kind: str = "") -> list[Descriptor]:
        """What has the manifest with this digest as its subject ("Listing Referrers"), of one artifact type if given.

        Where the registry has no such list, that of the tag which clients keep ("Unavailable Referrers API").
        """
        found = referrers.listed(self.session, self.path, digest, kind, self._scope(PULL))
        if found is None:
            items = [Descriptor.parse(item) for item in referrers.tagged(self, digest)]
            found = referrers.of_kind(items, kind)
        return found

    def delete_manifest(self, digest: str) -> None:
        """Delete a manifest or index, with all its tags ("Deleting Manifests"); UnsupportedError where nobody may.

        One with a subject is taken out of the index that clients keep, where the registry has no list of its own.
        """
        answer = self.manifest(check_digest(digest))
        subject = _subject(answer.content, answer.media_type)
        self._delete(f"manifests/{digest}", self._called(digest))
        if subject and referrers.listed(self.session, self.path, subject, "", self._scope(PULL)) is None:
            referrers.remove(self, subject, digest)

    def delete_tag(self, tag: str) -> None:
        """Delete a tag, and nothing else ("Deleting tags"); UnsupportedError where that cannot be done."""
        self._delete(_manifest(tag), self._called(tag), "the manifest can be deleted by its digest, with all its tags")

    def delete_blob(self, digest: str) -> None:
        """Delete a blob ("Deleting Blobs"); UnsupportedError where nobody may."""
        self._delete(f"blobs/{check_digest(digest)}", f"{self.name}@{digest}")

    def _delete(self, below: str, what: str, hint: str = "") -> None:
        try:
            discard(self._ask("DELETE", below, what, wanted=(200, 202, 204), actions=DELETE))
        except StatusError as error:
            if error.status not in {400, 405}:
                raise
            raise UnsupportedError(f"deleting {what}", needs=f"{self.host} allows no such thing", hint=hint) from None

    def _called(self, selector: str) -> str:
        return f"{self.name}{'@' if ':' in selector else ':'}{selector}"

    def _scope(self, actions: str) -> str:
        return f"repository:{self.path}:{actions}"

    def _ask(
        self,
        method: str,
        below: str,
        what: str,
        *,
        headers: dict[str, str] | None = None,
        accept: str = "",
        wanted: tuple[int, ...] = (200,),
        actions: str = PULL,
        body: bytes | None = None,
    ) -> BaseHTTPResponse:
        """Ask for something below the repository."""
        given = {**(headers or {}), **({"Accept": accept} if accept else {})}
        place = f"/v2/{self.path}/{below}"
        return self.session.ask(
            method, place, what, scope=self._scope(actions), headers=given, wanted=wanted, body=body
        )


def _manifest(selector: str) -> str:
    return f"manifests/{quote(selector, safe=':')}"


def _subject(content: bytes, media_type: str) -> str:
    """The digest of what a manifest refers to, "" for nothing, and for what is no manifest that we know."""
    try:
        found = read_manifest(content, media_type, "")
    except ClocheError:
        return ""
    return found.subject.digest if found.subject is not None else ""
