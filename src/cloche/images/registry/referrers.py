"""What refers to an image: signatures, lists of parts and the like, whose manifests name it as their `subject`.

    GET /v2/NAME/referrers/DIGEST[?artifactType=T]     an index of them, where the registry keeps account (1.1)
    the tag sha256-HEX of the repository               an index that clients keep, where it does not

(distribution-spec, "Listing Referrers", "Unavailable Referrers API", "Referrers Tag Schema"). Two clients that change
the tag at the same moment can lose one of their entries: the specification has no lock, and neither have we.
"""

from __future__ import annotations

from urllib.parse import quote

from cloche.errors import NotFoundError, RegistryError, SpecError
from cloche.images.digests import check_digest, sha256
from cloche.images.documents import LARGEST, check_descriptor, read_manifest
from cloche.images.registry.pages import MOST, pages
from cloche.spec.image import OCI_INDEX, Descriptor, Index
from cloche.spec.reader import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.images.registry.client import Repository
    from cloche.images.registry.session import Session

LONGEST_ALGORITHM, LONGEST_TAG = 32, 64  # characters of a digest's parts in a tag


def fallback_tag(digest: str) -> str:
    """The tag whose index lists what refers to `digest`, where the registry keeps no list itself."""
    algorithm, _, digits = check_digest(digest).partition(":")
    return f"{algorithm[:LONGEST_ALGORITHM]}-{digits[:LONGEST_TAG]}"


def is_fallback_tag(tag: str) -> bool:
    """Whether a tag is one of these, or begins with one, as signatures' do: it stands for no image to run."""
    algorithm, _, digits = tag.partition("-")
    digits = digits.partition(".")[0]
    return algorithm in {"sha256", "sha512"} and len(digits) == LONGEST_TAG and set(digits) <= set("0123456789abcdef")


def listed(session: Session, path: str, digest: str, kind: str, scope: str) -> list[Descriptor] | None:
    """What the registry's own list has, None where it keeps none; of one artifact type with `kind`.

    Raises ForbiddenError, RegistryError.
    """
    what = f"the list of what refers to {session.host}/{path}@{digest}"
    words = f"?artifactType={quote(kind, safe='')}" if kind else ""
    found: list[Descriptor] = []
    try:
        place = f"/v2/{path}/referrers/{check_digest(digest)}{words}"
        for raw, answer in pages(session, place, what, scope, headers={"Accept": OCI_INDEX}):
            said = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if said != OCI_INDEX and not found:
                return None  # a page for people, of a registry that has none of this
            items = _descriptors(raw, what)
            applied = answer.headers.get("OCI-Filters-Applied", "").replace(" ", "").split(",")
            found += items if "artifactType" in applied else of_kind(items, kind)
            if len(found) > MOST:
                raise RegistryError(f"{what} has more than {MOST} entries")
    except NotFoundError:
        return None
    return found


def of_kind(items: list[Descriptor], kind: str) -> list[Descriptor]:
    """Those of an artifact type; all of them for ""."""
    return [item for item in items if not kind or item.artifactType == kind]


def _descriptors(raw: dict[str, Any], what: str) -> list[Descriptor]:
    try:
        items = Index.parse(raw).manifests
        for item in items:
            check_descriptor(item)
    except SpecError as error:
        raise RegistryError(f"{what} is none: {error}") from None
    return items


def tagged(repository: Repository, digest: str) -> list[dict[str, Any]]:
    """The entries of the index that clients keep, as they are there; none where there is no such index.

    Raises ForbiddenError, RegistryError; the latter also for a tag that stands for something else.
    """
    tag = fallback_tag(digest)
    try:
        answer = repository.manifest(tag)
    except NotFoundError:
        return []
    what = f"{repository.name}:{tag}"
    found = read_manifest(answer.content, answer.media_type, what)
    if not isinstance(found, Index):
        raise RegistryError(f"{what}, where what refers to {digest} is listed, is no index")
    raw = read_json(answer.content)
    assert isinstance(raw, dict)
    return list(raw["manifests"])


def add(repository: Repository, subject: str, content: bytes, media_type: str) -> None:
    """Note in the index that clients keep that the manifest `content` refers to `subject`.

    Raises ForbiddenError, RegistryError.
    """
    before = tagged(repository, subject)
    digest = sha256(content)
    if any(item.get("digest") == digest for item in before):
        return
    raw = read_json(content)
    assert isinstance(raw, dict)
    new: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": len(content)}
    kind = raw.get("artifactType") or (raw.get("config") or {}).get("mediaType")
    new |= {"artifactType": kind} if kind else {}
    new |= {"annotations": raw["annotations"]} if raw.get("annotations") else {}
    _write(repository, subject, [*before, new])


def remove(repository: Repository, subject: str, digest: str) -> None:
    """Take a manifest that is gone out of the index that clients keep.

    Raises ForbiddenError, RegistryError.
    """
    before = tagged(repository, subject)
    after = [item for item in before if item.get("digest") != digest]
    if after != before:
        _write(repository, subject, after)


def _write(repository: Repository, subject: str, items: list[dict[str, Any]]) -> None:
    content = write_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": items}).encode()
    if len(content) > LARGEST:
        raise RegistryError(f"more refers to {repository.name}@{subject} than an index has room for")
    repository.push_manifest(fallback_tag(subject), content, OCI_INDEX)
