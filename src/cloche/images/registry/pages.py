"""Lists that a registry gives page by page: tags, repositories, referrers (distribution-spec, "Content Discovery").

GET /v2/…?n=1000  ── 200, Link: </v2/…?n=1000&last=z>; rel="next"  ── and so on, until an answer has no Link

A list is hostile as all else: it may have no end, lead in a circle, or to another registry.
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from cloche.errors import RegistryError, SpecError
from cloche.images.references import is_path
from cloche.images.registry.reading import read_whole
from cloche.images.registry.session import origin
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from urllib3.response import BaseHTTPResponse

    from cloche.images.registry.session import Session

PAGE = 1000  # entries that are asked for at once
MOST_PAGES, MOST = 1000, 200_000  # of one list
LARGEST, LARGEST_LIST = 4 << 20, 32 << 20  # bytes of a page, and of all pages
CATALOG = "registry:catalog:*"  # the scope of a token, as docker's registry has it


def catalog(session: Session) -> Iterator[str]:
    """The repositories of a registry: docker's `GET /v2/_catalog`, which the specification leaves to registries.

    Raises NotFoundError or StatusError where there is none, ForbiddenError where it is not for everybody, RegistryError
    for a list that is none; while it is iterated over.
    """
    what = f"the catalog of {session.host}"
    yield from strings(session, f"/v2/_catalog?n={PAGE}", "repositories", what, CATALOG, is_path)


def strings(
    session: Session, place: str, key: str, what: str, scope: str, is_good: Callable[[str], bool]
) -> Iterator[str]:
    """The words of a list whose pages have it as the member `key`. Raises as `Session.ask`, and RegistryError."""
    count = 0
    for raw, _ in pages(session, place, what, scope):
        found = raw.get(key) or []
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise RegistryError(f"{what} is none: {key} is no list of names")
        if odd := [item for item in found if not is_good(item)]:
            raise RegistryError(f"{what} has {odd[0][:80]!r}, which can be no name there")
        count += len(found)
        if count > MOST:
            raise RegistryError(f"{what} has more than {MOST} entries")
        yield from found


def pages(
    session: Session, place: str, what: str, scope: str, headers: Mapping[str, str] | None = None
) -> Iterator[tuple[dict[str, Any], BaseHTTPResponse]]:
    """Each page, an object, with the answer it came in. Raises as `Session.ask`, and RegistryError."""
    seen: set[str] = set()
    left = LARGEST_LIST
    while place:
        seen.add(place)
        if len(seen) > MOST_PAGES:
            raise RegistryError(f"{what} has more than {MOST_PAGES} pages")
        answer = session.ask("GET", place, what, scope=scope, headers=headers)
        try:
            content = read_whole(answer, LARGEST, what)
            raw = read_json(content)
        except SpecError as error:
            raise RegistryError(f"{what} is none: {error}") from None
        left -= len(content)
        if left < 0:
            raise RegistryError(f"{what} has more than {LARGEST_LIST} bytes")
        if not isinstance(raw, dict):
            raise RegistryError(f"{what} is none: it is no object")
        yield raw, answer
        place = _next(session, place, answer.headers.get("Link", ""), what)
        if place in seen:
            raise RegistryError(f"{what} leads in a circle")


def _next(session: Session, place: str, link: str, what: str) -> str:
    """Where the next page is, "" for nowhere: Link (RFC 8288) with rel=next, at the same registry."""
    target = next_of(link)
    if not target:
        return ""
    try:
        found = urljoin(place if "://" in place else session.base + place, target)
        same = origin(found) == session.base and urlsplit(found).path.startswith("/v2/")
    except ValueError:
        same = False
    if not same:
        raise RegistryError(f"{what} goes on at {target[:80]!r}, which is not {session.host}")
    return found


def next_of(header: str) -> str:
    """The target of a Link header's part whose relation is next, "" if there is none."""
    rest = header
    while (start := rest.find("<")) >= 0:
        target, closed, rest = rest[start + 1 :].partition(">")
        words, _, rest = rest.partition(",<") if ",<" in rest else rest.partition(", <")
        rest = f"<{rest}" if rest else ""
        for word in words.split(";"):
            key, _, value = word.strip().partition("=")
            if closed and key.strip().lower() == "rel" and "next" in value.strip().strip('"').lower().split():
                return target
    return ""
