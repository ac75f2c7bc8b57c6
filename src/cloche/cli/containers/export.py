"""`cloche export`: the files of a container, or of an image, as one tar."""

from __future__ import annotations

import sys

from cloche.cli.images.files import writing
from cloche.cli.output import message
from cloche.engine import containers
from cloche.errors import NotFoundError
from cloche.sandbox import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def export(parsed: Parsed) -> int:
    """Carry out `export`: a container of this name comes first, as docker has no others; then an image."""
    word = parsed.positionals[0]
    try:
        container = containers.find(word)
    except NotFoundError as missing:
        from cloche.cli.images.export import export as export_image

        try:
            return export_image(parsed)
        except NotFoundError:
            raise NotFoundError(str(missing), hint="cloche ps -a and cloche images list what there is") from None
    with writing(parsed.text("output") or "") as out:
        out.flush()
        skipped = files.export(container, out.fileno())
    if skipped:
        counts = ", ".join(f"{what} ({often})" for what, often in sorted(skipped.items()))
        sys.stderr.write(f"cloche: {message(f'not in the export: {counts}')}\n")
    return 0
