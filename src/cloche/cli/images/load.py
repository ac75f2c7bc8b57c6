"""`cloche load`: images from a file made by save, of cloche, docker, podman or skopeo."""

from __future__ import annotations

import os
import sys

from cloche.cli.images.files import reading
from cloche.cli.images.leftout import say_what_is_left_out
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
    given = parsed.text("platform")
    wanted = parse_platform(given) if given else None
    with reading(parsed.text("input") or "-", "--input") as fd:
        who = unpacking()
        found = take(
            Layout(store_dir()), lambda size: os.read(fd.number, size), wanted, lambda: Worker(who.users), who.powers
        )
    if not parsed.flag("quiet"):
        for item in found:
            named = f"Loaded image: {parse_reference(item.name).familiar}" if item.name else ""
            sys.stdout.write((named or f"Loaded image ID: {item.id}") + "\n")
    say_what_is_left_out([item.id for item in found])
    return 0
