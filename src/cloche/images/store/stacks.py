"""What an image needs besides its layers, where they do not lie on each other as they are.

    layers/sha256/ID/fs            directories that lie above all layers (see `unpack.shapes`)
                    /layer.json    {"lowest", "directories"}: the layer below which nothing is seen, counted from 0,
                                   and how many directories are in fs

ID is that of the image, which says what its layers are. Most images have no such thing. It is made like a layer:
whole, before the image has a name.
"""

from __future__ import annotations

import posix as os

from cloche.errors import RegistryError
from cloche.images.store.layers import layer_path, remove_tree
from cloche.images.store.layout import sync_directory, write_once
from cloche.images.store.locks import lock
from cloche.linux import files, places
from cloche.linux.reading import read_bytes
from cloche.spec.reader import read_json, write_json
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.images.store.layout import Layout
    from cloche.images.unpack.apply import Powers
    from cloche.images.unpack.worker import Worker

DIGITS = 64
MOST_IMPLIED = 32 << 20  # bytes of names, of one image, of directories that its layers say nothing about
NAME = 32  # bytes that each is counted with besides


def stack_path(layout: Layout, image: str) -> str:
    """Where it is, whether it is there or not."""
    return f"{layout.path}/layers/sha256/{image.partition(':')[2][:DIGITS]}"


def stack(layout: Layout, image: str, diff_ids: list[str], make_worker: Callable[[], Worker], powers: Powers) -> None:
    """Make what the image with this ID needs, unless it is there. Raises RegistryError, OSError."""
    place = stack_path(layout, image)
    if places.exists(place):
        return
    paths = [layer_path(layout, diff_id) for diff_id in diff_ids]
    lowest = max((index for index, path in enumerate(paths) if _hides(path)), default=0)
    paths = _once(paths[lowest:])
    implied = _implied(paths, image)
    if not lowest and not any(implied[1:]):
        return
    worker = make_worker()
    made = f"{layout.path}/incoming/{places.basename(place)}.d"
    try:
        with lock(f"{made}.lock"):
            try:
                if not places.exists(place):
                    remove_tree(made, worker)
                    places.makedirs(f"{made}/fs", mode=0o755)
                    point("stack-begun")
                    names = [places.basename(path) for path in paths]
                    count = _fill(layout, image, made, names, implied, worker, powers)
                    facts = {"lowest": lowest, "directories": count}
                    write_once(f"{made}/layer.json", write_json(facts).encode())
                    point("stack-whole")
                    os.rename(made, place)
                    sync_directory(places.dirname(place))
            except RegistryError:
                remove_tree(made, worker)
                raise
            finally:
                os.unlink(f"{made}.lock")
    finally:
        worker.close()


def _once(paths: list[str]) -> list[str]:
    """Each layer where it lies highest: what it says there, it need not say again."""
    return list(dict.fromkeys(reversed(paths)))[::-1]


def _implied(paths: list[str], image: str) -> list[list[bytes]]:
    """For each layer the directories that it says nothing about. Raises RegistryError."""
    found, left = list[list[bytes]](), MOST_IMPLIED
    for path in paths if len(paths) > 1 else ():  # one alone has nothing below it that could say more
        try:
            with open(f"{path}/implied", "rb") as file:
                names = file.read(left + 1)
        except FileNotFoundError:
            names = b""
        left -= len(names) + NAME * names.count(b"\0")
        if left < 0:
            raise RegistryError(f"the image {image} has too many directories that nothing is said about")
        found.append(names.split(b"\0") if names else [])
    return found or [[]]


def _hides(path: str) -> bool:
    facts = read_json(read_bytes(f"{path}/layer.json"))
    return isinstance(facts, dict) and bool(facts.get("hides"))


def _fill(
    layout: Layout,
    image: str,
    made: str,
    names: list[str],
    implied: list[list[bytes]],
    worker: Worker,
    powers: Powers,
) -> int:
    from cloche.images.unpack.tar import BadArchive

    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    with (
        files.Fd(os.open(f"{layout.path}/layers/sha256", flags)) as layers,
        files.Fd(os.open(f"{made}/fs", flags)) as target,
    ):
        try:
            count = worker.shape(layers.number, names, implied, target.number, powers)
        except BadArchive as error:
            raise RegistryError(f"the image {image} {error}") from None
        files.syncfs(target.number)
        return count


def stacked(layout: Layout, image: str, layers: tuple[str, ...]) -> tuple[str, ...]:
    """The directories of an image, the lowest first, with its own and without those that are not seen."""
    place = stack_path(layout, image)
    text = read_bytes(f"{place}/layer.json")
    if not text:
        return layers
    facts = read_json(text)
    if not isinstance(facts, dict):
        return layers
    seen = layers[int(facts.get("lowest", 0)) :]
    return (*seen, place) if facts.get("directories") else seen
