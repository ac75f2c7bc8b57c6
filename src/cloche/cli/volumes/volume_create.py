"""`cloche volume create`: a volume, and its name printed."""

from __future__ import annotations

import sys

from cloche.cli.request import label_of
from cloche.engine import volumes
from cloche.engine.volume_uses import create
from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def volume_create(parsed: Parsed) -> int:
    """Carry out `volume create`."""
    name = parsed.positionals[0] if parsed.positionals else ""
    labels = dict(label_of(text) for text in parsed.all("label"))
    options = dict(_pair(text) for text in parsed.all("opt"))
    volume = create(name, labels, options, driver=parsed.text("driver") or volumes.DRIVER)
    sys.stdout.write(f"{volume.name}\n")
    return 0


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key:
        raise SpecError(f"--opt {text!r} has no name", hint="KEY=VALUE")
    return key, value
