"""Removing images: a name is taken away, and what no name leads to any more is removed.

index.json ──▶ manifest ──▶ config ──▶ layers/DIFFID        what can be reached stays,
      ├──▶ the index it was chosen from                     and what a container uses
      └──▶ a list ──▶ the manifest of each of its images
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from cloche.errors import ClocheError, ConflictError, StageError
from cloche.images import local
from cloche.images.documents import LARGEST, LARGEST_CONFIG, read_config, read_manifest
from cloche.images.listing import layer_size
from cloche.images.lists import DEEPEST
from cloche.images.references import parse_reference
from cloche.images.store import names, room, uses
from cloche.images.store.layers import layer_path, remove_tree
from cloche.images.store.layout import unique
from cloche.images.store.locks import is_locked
from cloche.images.store.stacks import stack_path
from cloche.images.telling import tell
from cloche.records import record
from cloche.spec.image import Index
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche.images.store.layout import Layout
    from cloche.images.unpack.worker import Worker
    from cloche.spec.image import Descriptor, ImageConfig


@record
class Taken:
    """What was taken out of the index: names of the image `id`, and the IDs of images that have none any more."""

    id: str
    names: tuple[str, ...]
    images: tuple[str, ...]


def take_out(layout: Layout, text: str, *, force: bool = False) -> Taken:
    """Take a name out of the index, or an image by its ID, with `force` if it has several names.

    With `force` one that a container uses stays without a name, unless it is meant by its ID and the container runs.
    Raises NotFoundError, and ConflictError for an image that a container uses, and for several names.
    """
    taken: list[Taken] = []

    def choose(entries: list[names.Entry]) -> tuple[set[int], bool]:
        meant = local.find_entry(layout, text)
        image = local.id_or_digest(layout, meant)
        by_name = bool(meant.name) and meant.name == _full(text)
        same = {index: entry.name for index, entry in enumerate(entries) if local.id_or_digest(layout, entry) == image}
        if not by_name and len(set(same.values())) > 1 and not force:
            raise ConflictError(f"{text} has {len(same)} names", hint="name one of them, or --force for all")
        gone = {index for index, name in same.items() if not by_name or name == meant.name}
        found = tuple(same[index] for index in sorted(gone) if same[index])
        stays = len(gone) == len(same) and _is_in_use(layout, text, image, untag=force and bool(found), running=by_name)
        taken.append(Taken(image, found, (image,) if len(gone) == len(same) and not stays else ()))
        return gone, stays

    names.drop(layout, choose)
    for _ in taken[0].names:
        tell(layout, "untag", taken[0].id)
    for image in taken[0].images:
        tell(layout, "delete", image)
    return taken[0]


def _is_in_use(layout: Layout, text: str, image: str, *, untag: bool, running: bool) -> bool:
    """Whether a container needs the image; `untag` if it may lose its name then, `running` also of one that runs.

    Raises ConflictError where it may not.
    """
    if image in uses.mounted(layout):
        raise ConflictError(f"{text} is mounted", hint=f"cloche image unmount {text}, or --force")
    runs = uses.is_held(layout, image)
    owner = uses.pinned(layout).get(image, "")[:12]
    if runs and not (untag and running):
        hint = f"end what cloche ps --filter ancestor={text} shows"
        raise ConflictError(f"{text} is in use by a running container", hint=hint)
    if owner and not untag:
        raise ConflictError(f"{text} is in use by container {owner}", hint=f"cloche rm {owner} first")
    return runs or bool(owner)


def _full(text: str) -> str:
    try:
        return str(parse_reference(text))
    except ClocheError:
        return ""


def clear(layout: Layout, make_worker: Callable[[], Worker]) -> int | None:
    """The same as `collect`, with a worker for the directories of layers where there are any to be removed."""
    workers: list[Worker] = []

    def remove(path: str) -> None:
        if not workers:
            workers.append(make_worker())
        remove_tree(path, workers[0])

    try:
        return collect(layout, remove)
    finally:
        for worker in workers:
            worker.close()


@contextmanager
def filling(layout: Layout, make_worker: Callable[[], Worker]) -> Iterator[None]:
    """Fetch or take in something that has no name yet: nothing is removed meanwhile.

    Where the disk is full, what has come of it is removed again. Raises StageError, which names the store.
    """
    try:
        with room.Named(layout), uses.undisturbed(layout, lambda: uses.hold(layout, uses.FETCHING)):
            yield
    except StageError as error:
        if room.is_full(error):
            clear(layout, make_worker)
        raise


def collect(layout: Layout, remove: Callable[[str], None]) -> int | None:
    """Remove what nothing leads to and nobody uses; returns how many bytes of blobs and unpacked layers.

    `remove` removes the directory of a layer below incoming/, whose files may be those of other ids. While something
    is being fetched nothing is removed, and None returned: its blobs have no name yet.
    """
    with layout.locked():
        in_use = uses.used(layout)
        if uses.FETCHING in in_use:
            return None
        point("collect-begun")
        blobs, layers = reachable(layout)
        for image in in_use:
            config = _config(layout, image)
            blobs.add(image)
            layers |= set(config.rootfs.diff_ids) if config is not None else set()
        freed, gone = _remove_blobs(layout, blobs), _remove_incoming(layout)
        kept = {layer_path(layout, diff_id) for diff_id in layers} | {stack_path(layout, image) for image in blobs}
        for digits in os.listdir(f"{layout.path}/layers/sha256"):
            path = f"{layout.path}/layers/sha256/{digits}"
            if path not in kept:
                freed += layer_size(layout, f"sha256:{digits}")
                # gone at once for everybody who looks, whatever becomes of us
                gone.append(_out_of_the_way(layout, path))
    for path in gone:
        point("collect-removing")
        remove(path)
    layout.keep_spare()
    return freed


def discard(layout: Layout, digests: set[str]) -> None:
    """Remove those of these blobs that nothing leads to, unless somebody fetches, who may count on them."""
    with layout.locked():
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


def _out_of_the_way(layout: Layout, path: str) -> str:
    place = unique(f"{layout.path}/incoming/{os.path.basename(path)[:64]}")
    os.rename(path, place)
    point("collect-moved")
    return place


def _remove_incoming(layout: Layout) -> list[str]:
    """Remove what was on its way when somebody was killed: nobody fetches now; returns the directories."""
    folders: list[str] = []
    for name in os.listdir(f"{layout.path}/incoming"):
        path = f"{layout.path}/incoming/{name}"
        if is_locked(f"{path.removesuffix('.lock')}.lock"):
            continue  # by a worker whose caller was killed, and who is about to end
        if os.path.isdir(path):
            # another may make one of this name as soon as the lock is gone
            folders.append(_out_of_the_way(layout, path))
        else:
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue  # a list of summaries that has its name now, for which nobody holds the lock
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
        _enter(layout, entry, blobs, layers, seen)
    return blobs, layers


def led_to(layout: Layout, entry: names.Entry) -> tuple[set[str], set[str]]:
    """The same of one entry of the index."""
    blobs: set[str] = set()
    layers: set[str] = set()
    _enter(layout, entry, blobs, layers, set())
    return blobs, layers


def _enter(layout: Layout, entry: names.Entry, blobs: set[str], layers: set[str], seen: set[str]) -> None:
    if entry.source:
        blobs.add(entry.source.partition("@")[2])
    _follow(layout, entry.manifest, blobs, layers, seen)


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
