"""`cloche cp`: files between a container and this machine."""

from __future__ import annotations

import os
import sys

from cloche.cli.human import size
from cloche.cli.output import message
from cloche.engine import containers, copying
from cloche.engine.copying import STREAM, Asked, Copied, Place
from cloche.errors import ConflictError, StageError
from cloche.sandbox.image import unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.engine.containers import Container


def cp(parsed: Parsed) -> int:
    """Carry out `cp`."""
    source, target = copying.parse_places(*parsed.positionals)
    asked = Asked(archive=parsed.flag("archive"), follow=parsed.flag("follow_link"))
    container = containers.find(source.container or target.container)
    try:
        copied = _copy(container, source, target, asked)
    except BrokenPipeError:
        raise
    except OSError as error:
        what = f"{message(os.fsdecode(error.filename))}: " if error.filename else ""
        raise StageError(f"{what}{error.strerror or error}", hint="what was copied before stays") from None
    if copied.left_out:
        counts = ", ".join(f"{what} ({often})" for what, often in sorted(copied.left_out.items()))
        sys.stderr.write(f"cloche: {message(f'not copied: {counts}')}\n")
    if not parsed.flag("quiet") and os.isatty(1) and STREAM not in parsed.positionals:
        sys.stderr.write(f"Successfully copied {size(copied.bytes)} to {message(parsed.positionals[1])}\n")
    return 0


def _copy(container: Container, source: Place, target: Place, asked: Asked) -> Copied:
    if source.container:
        if target.path != STREAM:
            return copying.copy_out(container, source.path, target.path, asked, unpacking())
        if os.isatty(1):
            raise ConflictError("an archive is not for a terminal", hint=f"cloche cp {source.container}:… - | tar -t")
        return copying.stream_out(container, source.path, asked, unpacking(), 1)
    if source.path != STREAM:
        return copying.copy_in(container, source.path, target.path, asked, unpacking())
    if os.isatty(0):
        raise ConflictError("an archive is not typed at a terminal", hint="tar -c FILE | cloche cp - CONTAINER:DIR")
    return copying.stream_in(container, 0, target.path, unpacking())
