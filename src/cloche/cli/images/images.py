"""`cloche images`: what is in the store."""

from __future__ import annotations

import sys
import time

from cloche.cli.output import columns
from cloche.images.listing import Row, rows
from cloche.images.references import parse_reference
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed

UNITS = ("B", "kB", "MB", "GB", "TB")
SHORT = 12


def images(parsed: Parsed) -> int:
    """Carry out `images`."""
    found = rows(Layout(store_dir()))
    if parsed.positionals:
        found = [row for row in found if _is_called(row, parsed.positionals[0])]
    full = parsed.flag("no_trunc")
    if parsed.flag("quiet"):
        for text in dict.fromkeys(shown_id(row.id, full=full) for row in found):
            sys.stdout.write(text + "\n")
        return 0
    digests = parsed.flag("digests")
    table = []
    for row in found:
        cells = [row.repository, row.tag, *([row.digest] if digests else []), shown_id(row.id, full=full)]
        table.append([*cells, ago(row.created), size(row.size)])
    headings = ["REPOSITORY", "TAG", *(["DIGEST"] if digests else []), "IMAGE ID", "CREATED", "SIZE"]
    sys.stdout.write(columns(table, headings))
    return 0


def _is_called(row: Row, text: str) -> bool:
    reference = parse_reference(text, tagged=False)
    return row.repository == reference.familiar_name and reference.tag in {"", row.tag}


def shown_id(digest: str, *, full: bool = False) -> str:
    """An image's ID as docker shows it."""
    return digest if full else digest.partition(":")[2][:SHORT]


def size(count: float) -> str:
    """Bytes as docker shows them: three digits, in units of 1000."""
    unit = 0
    while count >= 999.5 and unit < len(UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.3g}{UNITS[unit]}"


def ago(created: str) -> str:
    """How long ago a time of RFC 3339 was, in docker's words; "N/A" for none."""
    from datetime import datetime

    try:
        seconds = time.time() - datetime.fromisoformat(created).timestamp()
    except ValueError:
        return "N/A"
    for limit, divisor, unit in (
        (1, 1, "Less than a second ago"),
        (60, 1, "seconds"),
        (120, 60, "About a minute ago"),
        (3600, 60, "minutes"),
        (7200, 3600, "About an hour ago"),
        (172800, 3600, "hours"),
        (1209600, 86400, "days"),
        (5184000, 604800, "weeks"),
        (63072000, 2592000, "months"),
    ):
        if seconds < limit:
            return unit if unit.endswith("ago") else f"{int(seconds / divisor)} {unit} ago"
    return f"{int(seconds / 31536000)} years ago"
