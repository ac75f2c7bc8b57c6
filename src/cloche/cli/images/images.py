"""`cloche images`: what is in the store."""

from __future__ import annotations

import sys

from cloche.cli import human
from cloche.cli.format import render
from cloche.images import local
from cloche.images.listing import rows
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.images.listing import Row

SHORT = 12
HEADINGS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
}


def images(parsed: Parsed) -> int:
    """Carry out `images`."""
    layout = Layout(store_dir())
    found = rows(layout)
    patterns = [f"reference={word}" for word in parsed.positionals]
    if patterns or parsed.all("filter"):
        found = _filtered(layout, found, [*parsed.all("filter"), *patterns])
    full = parsed.flag("no_trunc")
    if parsed.flag("quiet"):
        for text in dict.fromkeys(shown_id(row.id, full=full) for row in found):
            sys.stdout.write(text + "\n")
        return 0
    names = ("Repository", "Tag", *(["Digest"] if parsed.flag("digests") else []), "ID", "CreatedSince", "Size")
    shown = [_shown(row, full=full) for row in found]
    sys.stdout.write(render(shown, names, HEADINGS, parsed.text("format") or ""))
    return 0


def _filtered(layout: Layout, found: list[Row], texts: list[str]) -> list[Row]:
    from cloche.images.filtering import OF_LISTS, make_test, parse_filters

    test = make_test(parse_filters(texts, OF_LISTS), lambda text: local.find(layout, text).config.created or "")
    return [row for row in found if test(row)]


def _shown(row: Row, *, full: bool) -> dict[str, str]:
    """A row with docker's names and words."""
    size = human.size(row.size)
    return {
        "Containers": human.UNKNOWN,
        "CreatedAt": human.date(row.created),
        "CreatedSince": human.ago(row.created),
        "Digest": row.digest,
        "ID": shown_id(row.id, full=full),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(row.labels.items())),
        "Repository": row.repository,
        "SharedSize": human.UNKNOWN,
        "Size": size,
        "Tag": row.tag,
        "UniqueSize": human.UNKNOWN,
        "VirtualSize": size,
    }


def shown_id(digest: str, *, full: bool = False) -> str:
    """An image's ID as docker shows it."""
    return digest if full else digest.partition(":")[2][:SHORT]
