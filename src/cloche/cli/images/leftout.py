"""What of an image could not be made here, said once it is there: nothing is silently less than it was."""

from __future__ import annotations

import sys

from cloche.cli.output import message
from cloche.images.documents import LARGEST_CONFIG, read_config
from cloche.images.listing import layer_facts
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

OWNERS = "owners"


def say_what_is_left_out(ids: Iterable[str]) -> None:
    """Say on standard error how many files of images belong to somebody else than they should, or are not there."""
    layout = Layout(store_dir())
    counts: dict[str, int] = {}
    configs = [read_config(layout.read(digest, LARGEST_CONFIG), digest) for digest in ids]
    for diff_id in {diff_id for config in configs for diff_id in config.rootfs.diff_ids}:
        for what, count in layer_facts(layout, diff_id).get("left_out", {}).items():
            counts[what] = counts.get(what, 0) + count
    owned = counts.pop(OWNERS, 0)
    lines = []
    if owned:
        lines.append(
            f"{owned} files belong to you and not to their owners, as you have one id: a range in /etc/subuid, and"
            " newuidmap, would give you more"
        )
    if counts:
        listed = ", ".join(f"{what} ({count})" for what, count in sorted(counts.items()))
        lines.append(f"left out, as only root or another file system can have it: {listed}")
    sys.stderr.write("".join(f"note: {message(line)}\n" for line in lines))
