"""`cloche image diff`: what an image has changed in the one below it, or in another."""

from __future__ import annotations

import os
import sys

from cloche.cli.output import plain
from cloche.images import local
from cloche.images.differences import ADDED, CHANGED, DELETED
from cloche.images.store import uses
from cloche.images.store.layout import Layout, store_dir
from cloche.images.unpack.worker import Worker
from cloche.linux import files
from cloche.sandbox.image import unpacking
from cloche.spec.reader import write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.cli.grammar import Parsed

WORDS = {CHANGED: "changed", ADDED: "added", DELETED: "deleted"}  # podman's


def image_diff(parsed: Parsed) -> int:
    """Carry out `image diff`."""
    layout = Layout(store_dir())
    images, held = uses.keeping(layout, lambda: [local.find(layout, text) for text in parsed.positionals])
    new = images[0].layers
    base = images[1].layers if len(images) == 2 else new[:-1]
    with held:
        _tell(differences(layout, new, base), as_json=parsed.text("format") == "json")
    return 0


def _tell(found: Iterator[tuple[str, str]], *, as_json: bool) -> None:
    if as_json:
        told: dict[str, list[str]] = {}
        for kind, path in found:
            told.setdefault(WORDS[kind], []).append(path)
        print(write_json({word: told[word] for word in WORDS.values() if word in told}))
        return
    for kind, path in found:
        sys.stdout.write(f"{kind} {plain(path)}\n")


def differences(layout: Layout, new: tuple[str, ...], base: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """A, C or D, and a path, for each; read by whoever has unpacked the layers."""
    top = f"{layout.path}/layers"
    told = unpacking()
    worker = Worker(told.users)
    try:
        with (
            files.Fd(os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as store,
            open(os.memfd_create("differences", os.MFD_CLOEXEC), "rb") as out,
        ):
            worker.compare(store.number, _below(top, new), _below(top, base), told.powers, out.fileno())
            out.seek(0)
            left = b""
            while part := out.read(1 << 20):
                *whole, left = (left + part).split(b"\0")
                for item in whole:
                    yield item[:1].decode(), os.fsdecode(item[1:])
    finally:
        worker.close()


def _below(top: str, layers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{place[len(top) + 1 :]}/fs" for place in layers)
