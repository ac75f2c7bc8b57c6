"""`cloche history`: how an image came about."""

from __future__ import annotations

import sys

from cloche.cli import human
from cloche.cli.format import render
from cloche.cli.images.images import shown_id
from cloche.images import local
from cloche.images.describing import MISSING, parts_of
from cloche.images.describing import history as steps_of
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed

LONGEST = 45  # characters of a command in a table, as docker has it
HEADINGS = {"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT"}


def history(parsed: Parsed) -> int:
    """Carry out `history`."""
    layout = Layout(store_dir())
    parts = parts_of(layout, local.find_entry(layout, parsed.positionals[0]))
    full, readable = parsed.flag("no_trunc"), parsed.flag("human")
    rows = []
    for index, step in enumerate(steps_of(layout, parts.config)):
        command = step.created_by.replace("\t", " ")
        rows.append(
            {
                "ID": MISSING if index else shown_id(parts.manifest.config.digest, full=full),
                "CreatedAt": step.created or human.UNKNOWN,
                "CreatedSince": human.ago(step.created) if readable else step.created or human.UNKNOWN,
                "CreatedBy": command if full or len(command) <= LONGEST else f"{command[: LONGEST - 1]}…",
                "Size": human.size(step.size) if readable else str(step.size),
                "Comment": step.comment,
            }
        )
    if parsed.flag("quiet"):
        sys.stdout.write("".join(f"{row['ID']}\n" for row in rows))
        return 0
    sys.stdout.write(render(rows, tuple(HEADINGS), HEADINGS, parsed.text("format") or ""))
    return 0
