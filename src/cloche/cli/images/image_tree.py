"""`cloche image tree`: an image's layers, and which images stand on each."""

from __future__ import annotations

import sys

from cloche.cli import human
from cloche.cli.images.images import shown_id
from cloche.cli.output import plain
from cloche.images import local
from cloche.images.describing import describe, parts_of, standing_on
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def image_tree(parsed: Parsed) -> int:
    """Carry out `image tree`."""
    layout = Layout(store_dir())
    entry = local.find_entry(layout, parsed.positionals[0])
    config = parts_of(layout, entry).config
    told = describe(layout, entry)
    lines = [
        f"Image ID: {shown_id(told['Id'])}",
        f"Tags:     [{' '.join(told['RepoTags'])}]",
        f"Size:     {human.size(told['Size'])}",
        "Image Layers" if told["Unpacked"] else "No Image Layers",
    ]
    for count, layer in enumerate(told["Unpacked"], 1):
        branch = "└──" if count == len(told["Unpacked"]) else "├──"
        tops = standing_on(layout, count, config)
        ending = f" Top Layer of: [{' '.join(tops)}]" if tops else ""
        lines.append(f"{branch} ID: {shown_id(layer['DiffID'])} Size: {human.size(layer['Size'])}{ending}")
    sys.stdout.write("".join(plain(line) + "\n" for line in lines))
    return 0
