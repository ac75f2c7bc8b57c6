"""Removing images: a name is taken away, and what no name leads to any more is removed.

index.json ──▶ manifest ──▶ config ──▶ layers/DIFFID        what can be reached stays,
      ├──▶ the index it was chosen from                     and what a container uses
      └──▶ a list ──▶ the manifest of each of its images
"""

from __future__ import annotations

import fcntl
import os

from cloche.errors import ClocheError
from cloche.images.documents import LARGEST, LARGEST_CONFIG, read_config, read_manifest
from cloche.images.lists import DEEPEST
from cloche.images.store import names, uses
from cloche.images.store.layers import layer_path
from cloche.linux import files
from cloche.spec.image import Index
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.images.store.layout import Layout
    from cloche.spec.image import Descriptor, ImageConfig


def collect(layout: Layout, remove: Callable[[str], None]) -> int:
    """Remove what nothing leads to and nobody uses; returns how many bytes of blobs.

    `remove` removes the directory of a layer below incoming/, whose files may be those of other ids. While something
    is being fetched nothing is removed: its blobs have no name yet.
    """
    with files.Fd(os.open(f"{layout.path}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)) as lock:
        fcntl.flock(lock.number, fcntl.LOCK_EX)
        in_use = uses.used(layout)
        if uses.FETCHING in in_use:
            return 0
        point("collect-begun")
        blobs, layers = reachable(layout)
        for image in in_use:
            config = _config(layout, image)
            blobs.add(image)
            layers |= set(config.rootfs.diff_ids) if config is not None else set()
        freed, gone = _remove_blobs(layout, blobs), _remove_incoming(layout)
        kept = {layer_path(layout, diff_id) for diff_id in layers}
        for digits in os.listdir(f"{layout.path}/layers/sha256"):
            path = f"{layout.path}/layers/sha256/{digits}"
            if path not in kept:
                # gone at once for everybody who looks, whatever becomes of us
                gone.append(_out_of_the_way(layout, path, len(gone)))
    for path in gone:
        point("collect-removing")
        remove(path)
    return freed


def discard(layout: Layout, digests: set[str]) -> None:
    """Remove those of these blobs that nothing leads to, unless somebody fetches, who may count on them."""
    with files.Fd(os.open(f"{layout.path}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)) as lock:
        fcntl.flock(lock.number, fcntl.LOCK_EX)
        in_use = uses.used(layout)
        if uses.FETCHING in in_use:
            return
        for digest in digests - reachable(layout)[0] - in_use:
            if layout.has(digest):
                os.unlink(layout.blob(digest))


def _remove_blobs(layout: Layout, kept: set[str]) -> int:
    freed = 0
    for algorithm in os.listdir(f"{layout.path}/blobs"):
        for digits in os.listdir(f"{layout.path}/blobs/{algorithm}"):
            if f"{algorithm}:{digits}" not in kept:
                path = f"{layout.path}/blobs/{algorithm}/{digits}"
                freed += os.stat(path).st_size
                os.unlink(path)
                point("collect-unlinked")
    return freed


def _out_of_the_way(layout: Layout, path: str, number: int) -> str:
    place = f"{layout.path}/incoming/{os.path.basename(path)[:64]}.{os.getpid()}-{number}.gone"
    os.rename(path, place)
    point("collect-moved")
    return place


def _remove_incoming(layout: Layout) -> list[str]:
    """Remove what was on its way when somebody was killed: nobody fetches now; returns the directories."""
    folders: list[str] = []
    for name in os.listdir(f"{layout.path}/incoming"):
        path = f"{layout.path}/incoming/{name}"
        if os.path.isdir(path):
            # another may make one of this name as soon as the lock is gone
            folders.append(_out_of_the_way(layout, path, len(folders)))
        else:
            os.unlink(path)
    return folders


def _config(layout: Layout, digest: str) -> ImageConfig | None:
    try:
        return read_config(layout.read(digest, LARGEST_CONFIG), digest)
    except ClocheError:
        return None


def reachable(layout: Layout) -> tuple[set[str], set[str]]:
    """(blobs, layers): the digests and diffIDs of everything the index leads to."""
    blobs: set[str] = set()
    layers: set[str] = set()
    seen: set[str] = set()
    for entry in names.entries(layout):
        if entry.source:
            blobs.add(entry.source.partition("@")[2])
        _follow(layout, entry.manifest, blobs, layers, seen)
    return blobs, layers


def _follow(
    layout: Layout, item: Descriptor, blobs: set[str], layers: set[str], seen: set[str], depth: int = 0
) -> None:
    """Add what a manifest, or all those of a list, lead to; what is damaged leads nowhere."""
    blobs.add(item.digest)
    if item.digest in seen or depth > DEEPEST:
        return
    seen.add(item.digest)
    try:
        found = read_manifest(layout.read(item.digest, LARGEST), item.mediaType, item.digest)
        if isinstance(found, Index):
            for part in found.manifests:
                _follow(layout, part, blobs, layers, seen, depth + 1)
            return
        blobs |= {found.config.digest, *(part.digest for part in found.layers)}
        config = read_config(layout.read(found.config.digest, LARGEST_CONFIG), item.digest)
        layers |= set(config.rootfs.diff_ids)
    except ClocheError:
        return
