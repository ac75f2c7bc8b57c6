"""`cloche manifest rm`: lists that nobody needs any more."""

from __future__ import annotations

import sys

from cloche.cli.output import print_error
from cloche.errors import ClocheError
from cloche.images.lists import find_list
from cloche.images.references import parse_reference
from cloche.images.removing import clear
from cloche.images.store import names
from cloche.images.store.layout import Layout, store_dir
from cloche.images.unpack.worker import Worker
from cloche.sandbox.image import unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def manifest_rm(parsed: Parsed) -> int:
    """Carry out `manifest rm`; goes on after one that cannot be removed."""
    layout = Layout(store_dir())
    layout.make()
    failed = 0
    there = []
    for text in parsed.positionals:
        try:
            find_list(layout, text)
            there.append(text)
        except ClocheError as error:
            failed = 1
            print_error(error)
    for text in there:
        sys.stdout.write(f"Untagged: {parse_reference(text).familiar}\n")
    remove(layout, there)
    return failed


def remove(layout: Layout, texts: list[str]) -> None:
    """Take the names of lists away, and remove what nothing else leads to."""
    for text in texts:
        names.take(layout, str(parse_reference(text)))
    clear(layout, lambda: Worker(unpacking().users))
