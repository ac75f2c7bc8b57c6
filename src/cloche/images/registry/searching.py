"""Images found by a word: docker's search of version 1 where a registry offers it, else its catalog, as podman does.

GET /v1/search?q=TERM&n=25  ── {"results": [{"name", "description", "star_count", "is_official", "is_automated"}]}
GET /v2/_catalog            ── {"repositories": […]}, of which those are meant that have the word in their name
"""

from __future__ import annotations

from urllib.parse import urlencode

from cloche.errors import NotFoundError, RegistryError, SpecError, UnsupportedError
from cloche.images.registry.pages import LARGEST, catalog
from cloche.images.registry.reading import read_whole
from cloche.images.registry.session import StatusError
from cloche.records import record
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.registry.session import Session


@record
class Found:
    """A repository: its name below the registry, and what people say of it, where the registry knows."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False
    automated: bool = False


def find(session: Session, term: str, limit: int) -> list[Found]:
    """What a registry finds for a word, `limit` at most.

    Raises UnsupportedError where it offers no search, ForbiddenError, RegistryError.
    """
    found = _by_search(session, term, limit)
    if found is not None:
        return found
    names: list[Found] = []
    try:
        for name in catalog(session):
            if term in name:
                names.append(Found(name))
            if len(names) == limit:
                break
    except (NotFoundError, StatusError):
        raise UnsupportedError(
            f"a search in {session.host}", needs="a registry that offers one, or a catalog"
        ) from None
    return names


def _by_search(session: Session, term: str, limit: int) -> list[Found] | None:
    """What docker's search finds, None where there is none."""
    what = f"a search in {session.host}"
    try:
        answer = session.ask("GET", f"/v1/search?{urlencode({'q': term, 'n': limit})}", what, scope="")
    except (NotFoundError, StatusError):
        return None
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    content = read_whole(answer, LARGEST, what)
    if kind == "text/html":
        return None  # a page for people, of a registry that has none of this
    try:
        raw = read_json(content)
    except SpecError as error:
        raise RegistryError(f"{what}: the answer is none: {error}") from None
    results = raw.get("results") if isinstance(raw, dict) else None
    if not isinstance(results, list) or not all(isinstance(item, dict) for item in results):
        raise RegistryError(f"{what}: the answer has no list of results")
    return [_found(item) for item in results[:limit]]


def _found(item: dict[str, object]) -> Found:
    stars = item.get("star_count")
    return Found(
        str(item.get("name") or ""),
        str(item.get("description") or ""),
        stars if isinstance(stars, int) else 0,
        item.get("is_official") is True,
        item.get("is_automated") is True,
    )
