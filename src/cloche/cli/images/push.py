"""`cloche push`: send an image to a registry."""

from __future__ import annotations

import sys

from cloche.cli.images.access import access_of
from cloche.errors import NotFoundError
from cloche.images import pushing
from cloche.images.fetching import push_to
from cloche.images.references import parse_reference
from cloche.images.store import names, uses
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.images.references import Reference
    from cloche.images.registry.client import Repository
    from cloche.spec.image import Descriptor

WORDS = {"exists": "Layer already exists", "mounted": "Mounted from another repository", "pushed": "Pushed"}


def push(parsed: Parsed) -> int:
    """Carry out `push`."""
    layout = Layout(store_dir())
    layout.make()
    reference = parse_reference(parsed.positionals[0])
    entry = names.named(layout, str(reference))
    if entry is None:
        raise NotFoundError(f"no such image: {reference.familiar}", hint="cloche images lists what is here")
    quiet = parsed.flag("quiet")
    progress = pushing.Progress() if quiet else Lines(reference.name)

    def send(reference: Reference, repository: Repository) -> tuple[str, int]:
        return pushing.push(layout, entry, repository, reference.tag, progress)

    with uses.hold(layout, uses.FETCHING):  # what is sent is not removed meanwhile
        digest, size = push_to(parsed.positionals[0], access_of(parsed), send)
    sys.stdout.write(f"{reference.name}\n" if quiet else f"{reference.tag}: digest: {digest} size: {size}\n")
    return 0


class Lines(pushing.Progress):
    """A line for each layer, as docker has it in a log."""

    def __init__(self, name: str) -> None:
        self._name = name

    def layers(self, items: list[Descriptor]) -> None:
        del items
        _say(f"The push refers to repository [{self._name}]")

    def done(self, item: Descriptor, how: str) -> None:
        _say(f"{item.digest.partition(':')[2][:12]}: {WORDS[how]}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
