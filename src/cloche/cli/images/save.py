"""`cloche save`: images into a file, for `load` of cloche, docker or podman."""

from __future__ import annotations

import os
import sys

from cloche.errors import ConflictError, ForbiddenError
from cloche.images import local
from cloche.images.archives import save as write
from cloche.images.store import uses
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def save(parsed: Parsed) -> int:
    """Carry out `save`. A file appears when it is whole."""
    layout = Layout(store_dir())
    with uses.hold(layout, uses.FETCHING):  # what is written is not removed meanwhile
        return _save(layout, parsed)


def _save(layout: Layout, parsed: Parsed) -> int:
    entries = [local.find_entry(layout, text) for text in parsed.positionals]
    path = parsed.text("output")
    if not path:
        if os.isatty(1):
            raise ConflictError("an archive is not for a terminal", hint="--output FILE, or a pipe")
        write(layout, entries, sys.stdout.buffer)
        return 0
    path = os.path.realpath(path)
    temporary = f"{path}.{os.getpid()}.new"
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a device, a fifo: to be written, not to be replaced
            with open(path, "wb") as file:
                write(layout, entries, file)
            return 0
        with open(temporary, "xb") as file:
            write(layout, entries, file)
        os.replace(temporary, path)
    except OSError as error:
        raise ForbiddenError(f"--output {path} cannot be written: {error.strerror}") from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    return 0
