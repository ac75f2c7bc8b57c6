"""`cloche rmi`: take names away, and what they alone led to."""

from __future__ import annotations

import sys

from cloche.cli.output import print_error
from cloche.errors import ClocheError, ConflictError, NotFoundError
from cloche.images import local
from cloche.images.references import parse_reference
from cloche.images.removing import collect
from cloche.images.store import names, uses
from cloche.images.store.layout import Layout, store_dir
from cloche.sandbox.images import remover

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def rmi(parsed: Parsed) -> int:
    """Carry out `rmi`; goes on after one that cannot be removed."""
    layout = Layout(store_dir())
    layout.make()
    failed = 0
    for text in parsed.positionals:
        try:
            _remove(layout, text, force=parsed.flag("force"))
        except NotFoundError as error:
            if not parsed.flag("force"):
                failed = 1
                print_error(error)
        except ClocheError as error:
            failed = 1
            print_error(error)
    with remover() as remove:
        collect(layout, remove)
    return failed


def _remove(layout: Layout, text: str, *, force: bool) -> None:
    entries = names.entries(layout)
    meant = local.find_entry(layout, text)
    image = local.id_of(layout, meant)
    by_name = bool(meant.name) and meant.name == _full(text)
    same = [entry for entry in entries if _id_of(layout, entry) == image]
    if not by_name and len({entry.name for entry in same}) > 1 and not force:
        raise ConflictError(f"{text} has {len(same)} names", hint="name one of them, or --force for all")
    if uses.is_used(layout, image) and (not by_name or len(same) == 1):
        raise ConflictError(f"{text} is in use by a running container", hint="end it first")
    if by_name:
        names.take(layout, meant.name)
        sys.stdout.write(f"Untagged: {parse_reference(meant.name).familiar}\n")
        if len(same) > 1:
            return
    else:
        for entry in same:
            names.forget(layout, entry.manifest.digest)
            if entry.name:
                sys.stdout.write(f"Untagged: {parse_reference(entry.name).familiar}\n")
    sys.stdout.write(f"Deleted: {image}\n")


def _full(text: str) -> str:
    try:
        return str(parse_reference(text))
    except ClocheError:
        return ""


def _id_of(layout: Layout, entry: names.Entry) -> str:
    try:
        return local.id_of(layout, entry)
    except ClocheError:
        return ""
