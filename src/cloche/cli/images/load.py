"""`cloche load`: images from a file made by save, of cloche, docker, podman or skopeo."""

from __future__ import annotations

import os
import sys

from cloche.errors import ConflictError, NotFoundError
from cloche.images.archives import load as take
from cloche.images.platforms import parse_platform
from cloche.images.references import parse_reference
from cloche.images.store.layout import Layout, store_dir
from cloche.images.unpack.worker import Worker
from cloche.sandbox.image import unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def load(parsed: Parsed) -> int:
    """Carry out `load`."""
    path = parsed.text("input")
    if not path and os.isatty(0):
        raise ConflictError("an archive is not typed at a terminal", hint="--input FILE, or a pipe")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path else os.dup(0)
    except OSError as error:
        raise NotFoundError(f"--input {path} cannot be read: {error.strerror}") from None
    who = unpacking()
    wanted = parse_platform(parsed.text("platform") or "")
    try:
        found = take(Layout(store_dir()), lambda size: os.read(fd, size), wanted, lambda: Worker(who.users), who.powers)
    finally:
        os.close(fd)
    if not parsed.flag("quiet"):
        for entry in found:
            named = f"Loaded image: {parse_reference(entry.name).familiar}" if entry.name else ""
            sys.stdout.write((named or f"Loaded image ID: {entry.manifest.digest}") + "\n")
    return 0
