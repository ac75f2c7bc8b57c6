"""`cloche push`: send an image to a registry."""

from __future__ import annotations

import sys

from cloche.cli.images.access import access_of
from cloche.cli.images.progress import of_push
from cloche.cli.images.pull import check_no_tag
from cloche.errors import NotFoundError
from cloche.images import pushing
from cloche.images.references import parse_reference
from cloche.images.store import names, uses
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.images.references import Reference


def push(parsed: Parsed) -> int:
    """Carry out `push`."""
    layout = Layout(store_dir())
    layout.make()
    text, all_tags = parsed.positionals[0], parsed.flag("all_tags")
    if all_tags:
        check_no_tag(text)
    reference = parse_reference(text, tagged=not all_tags)
    entries, held = uses.keeping(layout, lambda: (_tagged if all_tags else _named)(layout, reference))
    with held:
        _send(layout, entries, parsed)
    return 0


def _send(layout: Layout, entries: list[names.Entry], parsed: Parsed) -> None:
    text = parsed.positionals[0]
    quiet = parsed.flag("quiet")
    access = access_of(parsed)
    for entry in entries:
        reference = parse_reference(entry.name if parsed.flag("all_tags") else text)
        progress = pushing.Progress() if quiet else of_push(reference.name)
        digest, size = pushing.send(layout, entry, str(reference), access, progress)
        sys.stdout.write(f"{reference.name}\n" if quiet else f"{reference.tag}: digest: {digest} size: {size}\n")


def _named(layout: Layout, reference: Reference) -> list[names.Entry]:
    """What is here under a name."""
    entry = names.named(layout, str(reference))
    if entry is None:
        raise NotFoundError(f"no such image: {reference.familiar}", hint="cloche images lists what is here")
    return [entry]


def _tagged(layout: Layout, repository: Reference) -> list[names.Entry]:
    """What is here of a repository, by tag."""
    found = [entry for entry in names.entries(layout) if entry.name.startswith(f"{repository.name}:")]
    if not found:
        raise NotFoundError(f"no image of {repository.familiar} is here", hint="cloche images lists what is")
    return sorted(found, key=lambda entry: entry.name)
