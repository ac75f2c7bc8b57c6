"""`cloche image inspect`: all there is to know of images, as JSON or through a template."""

from __future__ import annotations

import sys

from cloche.cli.format import documents
from cloche.cli.output import print_error
from cloche.errors import ClocheError
from cloche.images import local
from cloche.images.describing import describe
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.cli.grammar import Parsed


def image_inspect(parsed: Parsed) -> int:
    """Carry out `image inspect`; goes on after one that is not there."""
    layout = Layout(store_dir())
    form = parsed.text("format") or ""
    found: list[tuple[str, dict[str, Any]]] = []
    failed = 0
    for text in parsed.positionals:
        try:
            found.append(("image", describe(layout, local.find_entry(layout, text))))
        except ClocheError as error:
            failed = 1
            print_error(error)
    sys.stdout.write(documents(found, form))
    return failed
