"""`cloche system prune`: containers that have ended, and images and volumes that nobody misses, are removed."""

from __future__ import annotations

import sys

from cloche.cli import human
from cloche.cli.asking import agreed
from cloche.cli.images.image_prune import prune_images
from cloche.cli.output import plain
from cloche.cli.times import SECOND, time_of
from cloche.engine import volume_uses
from cloche.engine.pruning import OF_PRUNING, make_test, prune
from cloche.engine.volume_filters import make_prune_test
from cloche.errors import SpecError
from cloche.images import filtering
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed

    Filters = list[tuple[str, str]]

CONTAINERS = "all stopped containers"
VOLUMES = "all anonymous volumes not used by at least one container"
IMAGES = {False: "all dangling images", True: "all images without at least one container associated to them"}


def system_prune(parsed: Parsed) -> int:
    """Carry out `system prune`. Everything that was asked for is checked before anything is removed."""
    everything, volumes = parsed.flag("all"), parsed.flag("volumes")
    filters = filtering.parse_filters(parsed.all("filter"), OF_PRUNING)
    if volumes and any(key == "until" for key, _ in filters):
        raise SpecError('The "until" filter is not supported with "--volumes"', hint="leave one of them out")
    meant = make_test(filters, time_of)
    of_images = filtering.make_test(_with_moments(filters), str)
    of_volumes = make_prune_test([f"{key}={value}" for key, value in filters if key != "until"], everything=False)
    if not parsed.flag("force") and not agreed(_warning(filters, everything=everything, volumes=volumes)):
        return 0
    gone, freed = prune(meant)
    _say("Containers", gone)
    if volumes:
        names, size = volume_uses.prune(of_volumes)
        _say("Volumes", names)
        freed += size
    layout = Layout(store_dir())
    layout.make()
    lines, size = prune_images(layout, of_images, everything=everything)
    _say("Images", lines)
    sys.stdout.write(f"Total reclaimed space: {human.size(freed + size, 4)}\n")
    return 0


def _warning(filters: Filters, *, everything: bool, volumes: bool) -> str:
    items = [CONTAINERS, *([VOLUMES] if volumes else []), IMAGES[everything]]
    text = "WARNING! This will remove:\n" + "".join(f"  - {item}\n" for item in items)
    if filters:
        text += "\n  Items to be pruned will be filtered with:\n"
        text += "".join(f"  - {key}={plain(value)}\n" for key, value in sorted(filters))
    return text


def _with_moments(filters: Filters) -> Filters:
    """Times as seconds since 1970, which who asks images understands too."""
    return [(key, f"{time_of(value) / SECOND:.6f}" if key == "until" else value) for key, value in filters]


def _say(kind: str, lines: list[str]) -> None:
    if lines:
        sys.stdout.write(f"Deleted {kind}:\n" + "".join(f"{line}\n" for line in lines) + "\n")
