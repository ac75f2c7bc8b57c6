"""`cloche export`: an image's files as one tar."""

from __future__ import annotations

import os
import sys

from cloche.cli.images.files import writing
from cloche.cli.output import message
from cloche.errors import StageError
from cloche.images import local
from cloche.images.exporting import NO_ROOT
from cloche.images.listing import layer_facts
from cloche.images.store import uses
from cloche.images.store.layout import Layout, store_dir
from cloche.images.unpack.worker import Worker
from cloche.linux.files import Fd
from cloche.sandbox.image import unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from cloche.cli.grammar import Parsed
    from cloche.images.local import Image


def export(parsed: Parsed) -> int:
    """Carry out `export`."""
    layout = Layout(store_dir())
    entry, held = uses.keeping(layout, lambda: local.find_entry(layout, parsed.positionals[0]))
    with held:
        image = local.load(layout, entry)
        with writing(parsed.text("output") or "") as out:
            _export(layout, image, out)
    return 0


def _export(layout: Layout, image: Image, out: IO[bytes]) -> None:
    # of a layer that comes again the highest counts
    places = [os.path.relpath(place, f"{layout.path}/layers") for place in dict.fromkeys(reversed(image.layers))]
    facts = [layer_facts(layout, place.replace("/", ":")) for place in places]
    root = next((index for index, found in enumerate(facts) if found.get("root")), NO_ROOT)
    names = tuple(f"{place}/fs" for place in places)
    who = unpacking()
    out.flush()
    worker = Worker(who.users)
    try:
        with Fd(os.open(f"{layout.path}/layers", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as store:
            worker.export(store.number, names, root, who.powers, out.fileno())
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StageError(f"{image.name or image.id} cannot be exported: {error.strerror}") from None
    finally:
        worker.close()
    _tell_what_is_missing([found.get("left_out") or {} for found in facts])


def _tell_what_is_missing(left_out: list[dict[str, int]]) -> None:
    """What could not be made when the layers were unpacked: owners are written down all the same."""
    kinds = dict.fromkeys(kind for layer in left_out for kind in layer if kind != "owners")
    counts = [f"{kind} ({sum(layer.get(kind, 0) for layer in left_out)})" for kind in kinds]
    if counts:
        text = message(f"not in the export, as they could not be made for this user: {', '.join(counts)}")
        sys.stderr.write(f"cloche: {text}\n")
