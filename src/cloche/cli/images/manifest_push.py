"""`cloche manifest push`: a list into a registry, with all that it lists."""

from __future__ import annotations

import sys

from cloche.cli.images.manifest_create import access_to_lists
from cloche.cli.images.manifest_rm import remove
from cloche.cli.output import plain
from cloche.images import pushing
from cloche.images.gathering import REGISTRY
from cloche.images.lists import find_list
from cloche.images.platforms import shown
from cloche.images.store import uses
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.spec.image import Descriptor

WORDS = {"exists": "Already exists", "pushed": "Pushed"}


def manifest_push(parsed: Parsed) -> int:
    """Carry out `manifest push`."""
    layout = Layout(store_dir())
    text, to = parsed.positionals[0], parsed.positionals[-1].removeprefix(REGISTRY)
    progress = pushing.Progress() if parsed.flag("quiet") else Lines()
    entry, held = uses.keeping(layout, lambda: find_list(layout, text))
    with held:
        digest, _ = pushing.send(layout, entry, to, access_to_lists(parsed), progress)
    sys.stdout.write(f"{digest}\n")
    if parsed.flag("purge"):
        remove(layout, [text])
    return 0


class Lines(pushing.Progress):
    """A line for each image of the list."""

    def done(self, item: Descriptor, how: str) -> None:
        name = f" ({shown(item.platform)})" if item.platform else ""
        sys.stderr.write(plain(f"{item.digest}{name}: {WORDS[how]}") + "\n")
        sys.stderr.flush()
