"""`cloche volume ls`: what volumes there are."""

from __future__ import annotations

import sys

from cloche.cli.format import render
from cloche.cli.human import UNKNOWN
from cloche.engine import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.engine.volumes import Volume

HEADINGS = {"Driver": "DRIVER", "Name": "VOLUME NAME", "Availability": "AVAILABILITY", "Group": "GROUP"}


def volume_ls(parsed: Parsed) -> int:
    """Carry out `volume ls`."""
    found = volumes.every()
    if parsed.all("filter"):
        from cloche.engine.volume_filters import make_test

        test = make_test(parsed.all("filter"))
        found = [volume for volume in found if test(volume)]
    if parsed.flag("quiet") and not parsed.text("format"):
        sys.stdout.write("".join(f"{volume.name}\n" for volume in found))
        return 0
    rows = [_shown(volume) for volume in found]
    sys.stdout.write(render(rows, ("Driver", "Name"), HEADINGS, parsed.text("format") or ""))
    return 0


def _shown(volume: Volume) -> dict[str, str]:
    """A row with docker's names and words."""
    return {
        "Availability": UNKNOWN,
        "Driver": volumes.DRIVER,
        "Group": UNKNOWN,
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(volume.labels.items())),
        "Links": UNKNOWN,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Scope": "local",
        "Size": UNKNOWN,
        "Status": UNKNOWN,
    }
