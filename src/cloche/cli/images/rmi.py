"""`cloche rmi`: take names away, and what they alone led to."""

from __future__ import annotations

import sys

from cloche.cli.output import print_error
from cloche.errors import ClocheError, NotFoundError
from cloche.images import local
from cloche.images.mounting import unmount_image
from cloche.images.references import parse_reference
from cloche.images.removing import clear, take_out
from cloche.images.store import uses
from cloche.images.store.layout import Layout, store_dir
from cloche.images.unpack.worker import Worker
from cloche.sandbox.image import unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed

LATER = "cloche: something is being fetched: the content of {} goes with the next rmi\n"


def rmi(parsed: Parsed) -> int:
    """Carry out `rmi`; goes on after one that cannot be removed."""
    layout = Layout(store_dir())
    layout.make()
    failed = 0
    unnamed: list[str] = []
    for text in parsed.positionals:
        try:
            if parsed.flag("force"):
                _unmount(layout, text)
            taken = take_out(layout, text, force=parsed.flag("force"))
        except NotFoundError as error:
            if not parsed.flag("force"):
                failed = 1
                print_error(error)
        except ClocheError as error:
            failed = 1
            print_error(error)
        else:
            unnamed += taken.images
            for name in taken.names:
                sys.stdout.write(f"Untagged: {parse_reference(name).familiar}\n")
    done = clear(layout, lambda: Worker(unpacking().users)) is not None
    for image in unnamed:
        if done:
            sys.stdout.write(f"Deleted: {image}\n")
        else:
            sys.stderr.write(LATER.format(image))
    return failed


def _unmount(layout: Layout, text: str) -> None:
    """Let go of an image's files, if they are mounted."""
    image = local.id_of(layout, local.find_entry(layout, text))
    if image in uses.mounted(layout):
        unmount_image(layout, image, force=True)
