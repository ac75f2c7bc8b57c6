"""`cloche volume create`: a volume, and its name printed."""

from __future__ import annotations

import sys

from cloche.engine import volumes
from cloche.engine.trees import Remover
from cloche.engine.volume_uses import sweep
from cloche.errors import ConflictError, SpecError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def volume_create(parsed: Parsed) -> int:
    """Carry out `volume create`."""
    driver = parsed.text("driver") or volumes.DRIVER
    if driver != volumes.DRIVER:
        raise UnsupportedError(f"the volume driver {driver}", needs="a plugin of docker's; the driver here is local")
    name = parsed.positionals[0] if parsed.positionals else ""
    labels = dict(_pair(text, "--label") for text in parsed.all("label"))
    options = dict(_pair(text, "--opt") for text in parsed.all("opt"))
    with Remover() as remover:
        sweep(remover)
    volume, made = volumes.make(name, labels, options)
    if not made and options and options != volume.options:
        raise ConflictError(
            f"create {name}: there is a volume of this name with other options",
            hint=f"cloche volume inspect {name} shows them; volume rm takes it away",
        )
    sys.stdout.write(f"{volume.name}\n")
    return 0


def _pair(text: str, option: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key:
        raise SpecError(f"{option} {text!r} has no name", hint="KEY=VALUE")
    return key, value
