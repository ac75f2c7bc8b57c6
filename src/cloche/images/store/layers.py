"""Layers unpacked once, for all images that have them.

    layers/sha256/HEX/fs            the files, by the digest of the layer's tar (diffID)
                     /layer.json    what was found: {"entries", "bytes", "left_out", "root", "hides"}
                     /implied       directories that it has and says nothing about, if there are any

A layer is unpacked below incoming/ and appears whole by rename, after everything in it was written to the disk. Two
who want it do the work once (flock). Its digest is compared with the one the image's config names before anybody can
see it.
"""

from __future__ import annotations

import posix as os

from cloche.errors import RegistryError, StageError, UnsupportedError
from cloche.images.digests import check_digest
from cloche.images.store.layout import sync_directory, write_once
from cloche.images.store.locks import lock
from cloche.linux import files, places
from cloche.spec.reader import write_json
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.store.layout import Layout
    from cloche.images.unpack.apply import Powers
    from cloche.images.unpack.worker import Worker


def layer_path(layout: Layout, diff_id: str) -> str:
    """The directory of an unpacked layer, whether it is there or not."""
    algorithm, _, digits = check_digest(diff_id).partition(":")
    return f"{layout.path}/layers/{algorithm}/{digits}"


def has_layer(layout: Layout, diff_id: str) -> bool:
    """Whether it is there, which means: whole and checked."""
    return places.exists(layer_path(layout, diff_id))


def unpack_layer(layout: Layout, digest: str, diff_id: str, worker: Worker, powers: Powers) -> None:
    """Unpack the blob `digest` as the layer `diff_id`, unless it is there.

    Raises RegistryError for a layer that is no good, OSError for what is wrong here (ENOSPC).
    """
    place = layer_path(layout, diff_id)
    made = f"{layout.path}/incoming/{diff_id.replace(':', '-')}.d"
    with lock(f"{made}.lock") as held:
        try:
            if places.exists(place):
                return
            remove_tree(made, worker)  # of one who was killed
            places.makedirs(f"{made}/fs", mode=0o755)
            point("unpack")
            _fill(layout, digest, diff_id, made, worker, powers, held.number)
            point("layer-whole")
            os.rename(made, place)
            point("layer-renamed")
            sync_directory(places.dirname(place))
        except BaseException:
            try:
                remove_tree(made, worker)
            except (OSError, StageError):
                pass  # the worker is gone as well: what is left is the next one's to remove
            raise
        finally:
            os.unlink(f"{made}.lock")


def _fill(layout: Layout, digest: str, diff_id: str, made: str, worker: Worker, powers: Powers, held: int) -> None:
    from cloche.images.unpack.tar import BadArchive

    with (
        files.Fd(os.open(layout.blob(digest), os.O_RDONLY | os.O_CLOEXEC)) as blob,
        files.Fd(os.open(f"{made}/fs", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as directory,
    ):
        try:
            found, facts = worker.unpack(blob.number, directory.number, powers, held)
        except BadArchive as error:
            raise RegistryError(f"the layer {digest} {error}") from None
        if found != diff_id:
            raise RegistryError(f"the layer {digest} is not what the image's config says: {found}, not {diff_id}")
        point("layer-filled")
        files.syncfs(directory.number)
        point("layer-synced")
    implied = facts.pop("implied")
    if implied:
        write_once(f"{made}/implied", b"\0".join(implied))
    write_once(f"{made}/layer.json", write_json(facts).encode())


def remove_tree(path: str, worker: Worker) -> None:
    """Remove what a worker has made, which only it may: the files can be those of ids that are not ours."""
    folder, _, name = path.rpartition("/")
    with files.Fd(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as place:
        worker.remove(place.number, name)


def check_layers(config: list[str], layers: int) -> None:
    """Whether an image has as many layers as its config says, and names them as here. Raises RegistryError."""
    if len(config) != layers:
        raise RegistryError(f"the image has {layers} layers, and its config says {len(config)}")
    for diff_id in config:
        if not diff_id.startswith("sha256:"):
            raise UnsupportedError(f"the layer {diff_id[:80]}", needs="layers that the image's config names by sha256")
