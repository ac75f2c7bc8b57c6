"""`cloche search`: images in registries, by a part of their name."""

from __future__ import annotations

import sys

from cloche.cli.format import render
from cloche.cli.images.access import access_of
from cloche.errors import BAD_OPTION, SpecError
from cloche.images.fetching import search as look
from cloche.images.fetching import search_domains
from cloche.images.references import DEFAULT_DOMAIN, split_domain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.cli.grammar import Parsed
    from cloche.images.registry.searching import Found

MOST = 100
USUAL = 25
SHORT = 45  # characters of a description
COLUMNS = ("Name", "Description", "StarCount", "IsOfficial")
HEADINGS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}


def search(parsed: Parsed) -> int:
    """Carry out `search`."""
    domain, term = split_domain(parsed.positionals[0])
    if not term:
        raise SpecError("there is nothing to search for", hint="[REGISTRY/]TERM")
    limit = _limit(parsed.text("limit"))
    meant = _meant(parsed.all("filter"))
    access = access_of(parsed)
    rows = []
    registries = (domain,) if domain else search_domains()
    access = access if len(registries) == 1 else access.without_login
    for registry in registries:
        for found in look(registry, term, limit, access):
            if meant(found):
                rows.append(_shown(registry, found, full=parsed.flag("no_trunc")))
    sys.stdout.write(render(rows, COLUMNS, HEADINGS, parsed.text("format") or ""))
    return 0


def _limit(text: str | None) -> int:
    if text is None:
        return USUAL
    is_number = text.isascii() and text.isdecimal()
    if not (is_number and len(text) < 4 and 1 <= int(text) <= MOST):
        raise SpecError(f"--limit {text!r}: a number from 1 to {MOST}", code=0 if is_number else BAD_OPTION)
    return int(text)


def _meant(filters: list[str]) -> Callable[[Found], bool]:
    """Whether a repository is meant by all filters. Raises SpecError."""
    tests: list[Callable[[Found], bool]] = []
    for text in filters:
        key, _, value = text.partition("=")
        if key == "stars" and value.isascii() and value.isdecimal() and len(value) < 10:
            tests.append(lambda found, least=int(value): found.stars >= least)  # type: ignore[misc]
        elif key in {"is-official", "is-automated"} and value in {"true", "false", "1", "0"}:
            wanted = value in {"true", "1"}
            official = key == "is-official"
            tests.append(
                lambda found, wanted=wanted, official=official: (  # type: ignore[misc]
                    (found.official if official else found.automated) == wanted
                )
            )
        else:
            raise SpecError(f"--filter {text!r} is none", hint="stars=NUMBER or is-official=true|false")
    return lambda found: all(test(found) for test in tests)


def _shown(registry: str, found: Found, *, full: bool) -> dict[str, str]:
    """A row with docker's names and words."""
    text = " ".join(found.description.split())
    return {
        "Name": found.name if registry == DEFAULT_DOMAIN else f"{registry}/{found.name}",
        "Description": text if full or len(text) <= SHORT else text[: SHORT - 1] + "…",
        "StarCount": str(found.stars),
        "IsOfficial": "[OK]" if found.official else "",
        "IsAutomated": "[OK]" if found.automated else "",
    }
