"""`cloche image unmount`: undo what `image mount` did."""

from __future__ import annotations

import sys

from cloche.cli.output import print_error
from cloche.errors import ClocheError, ConflictError, NotFoundError, SpecError
from cloche.images import local
from cloche.images.mounting import unmount_image
from cloche.images.store import uses
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def image_unmount(parsed: Parsed) -> int:
    """Carry out `image unmount`; goes on after one that cannot be."""
    layout = Layout(store_dir())
    given = parsed.positionals
    if bool(given) == parsed.flag("all"):
        raise SpecError("image unmount takes images, or --all", hint="cloche image mount lists what is mounted")
    failed = 0
    for text in given or uses.mounted(layout):
        try:
            image = _id_of(layout, text)
            unmount_image(layout, image, force=parsed.flag("force"))
            sys.stdout.write(f"{image.partition(':')[2]}\n")
        except ClocheError as error:
            failed = 1
            print_error(error)
    return failed


def _id_of(layout: Layout, text: str) -> str:
    """The ID of an image that is mounted, by its name or ID. Raises NotFoundError, ConflictError."""
    there = uses.mounted(layout)
    by_id = [each for each in there if each in {text, f"sha256:{text}"}]  # also of one that nothing else leads to
    if by_id:
        return by_id[0]
    try:
        image = local.id_of(layout, local.find_entry(layout, text))
    except NotFoundError:
        raise NotFoundError(f"no such image: {text}", hint="cloche image mount lists what is mounted") from None
    if image not in there:
        raise ConflictError(f"{text} is not mounted", hint="cloche image mount lists what is")
    return image
