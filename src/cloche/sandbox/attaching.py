"""Volumes that options ask for: found or made, held while a container has them, and told of as docker does.

    settle      -v NAME:/a, -v /a, --mount type=volume, --volumes-from, and an image's volumes become names of the store
    named_mount one of these as a mount of the plan
    describe    all mounts as `inspect` shows them

A container that is kept has volumes without a name of their own in the store, as in docker. One that is gone when it
ends has them in memory, where all that it writes is: nobody could ever find them again.
"""

from __future__ import annotations

from cloche.engine import containers, volume_uses, volumes
from cloche.engine.volumes import SUBPATH
from cloche.errors import ConflictError, NotFoundError, SpecError
from cloche.linux.places import exists, normpath
from cloche.records import record
from cloche.runtime.mounts import NAMED
from cloche.sandbox import values
from cloche.sandbox.image_config import image_volumes
from cloche.sandbox.volumes import here, spelt_volume
from cloche.spec.mounts import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.images.local import Image
    from cloche.sandbox.options import Options

MODES = {"ro", "rw", "z", "Z", "nocopy"}


@record
class Settled:
    """What came of it: options in which every volume has a name, the names of those made for this container alone,
    and what holds all of them until it is closed."""

    options: Options
    anonymous: tuple[str, ...]
    holds: tuple[volume_uses.Hold, ...]

    def close(self) -> None:
        """Let go of the volumes."""
        for held in self.holds:
            held.close()

    def take_back(self) -> None:
        """Let go, and remove those that were made for this container: it is not there."""
        self.close()
        if self.anonymous:
            from cloche.engine.trees import Remover

            with Remover() as remover:
                for path in volume_uses.discard(list(self.anonymous)):
                    remover(path)


def settle(
    options: Options, image: Image | None, container_id: str, *, kept: bool = False, dry: bool = False
) -> Settled:
    """Have the volumes there that a container asks for, and hold them: nobody removes one meanwhile.

    To be held until a kept container's container.json names them, or another one has ended. `dry` makes nothing. Raises
    ClocheError.
    """
    options = _with_others(options)
    if dry:
        return Settled(options, (), ())
    anonymous: list[str] = []
    holds: list[volume_uses.Hold] = []
    try:
        with volumes.locked(shared=True):
            if kept:
                options = _named(options, image, anonymous)
            for name, labels, driver_options in _asked(options):
                volume, _ = volumes.make_with_lock(name, labels, driver_options)
                _check_there(volume)
                holds.append(volume_uses.hold(volume, container_id))
    except BaseException:
        Settled(options, tuple(anonymous), tuple(holds)).take_back()
        raise
    return Settled(options, tuple(anonymous), tuple(holds))


def _check_there(volume: volumes.Volume) -> None:
    if volume.is_bound and not exists(volume.data):
        hint = "make it, or mount what belongs there"
        raise NotFoundError(f"the directory {volume.data} of the volume {volume.name} is not there", hint=hint)


def _asked(options: Options) -> list[tuple[str, dict[str, str], dict[str, str]]]:
    """The volumes by name, each once, with labels and driver options it is to have if it is made now."""
    found: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    base = here()
    for text in options.volume:
        if name := values.volume(text, base).name:
            found.setdefault(volumes.check_name(name), ({}, {}))
    for text in options.mount:
        words = values.mount_words(text)
        if words["type"] != "volume" or not (name := spelt_volume(text, words, base).name):
            continue
        labels, driver_options = found.setdefault(volumes.check_name(name), ({}, {}))
        labels.update(_pair(pair) for pair in values.repeated(words, "volume-label"))
        driver_options.update(_pair(pair) for pair in values.repeated(words, "volume-opt"))
        volumes.check_options(driver_options, name)
    return [(name, *pair) for name, pair in found.items()]


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _named(options: Options, image: Image | None, made: list[str]) -> Options:
    """The options with a new volume's name wherever none was given, and the image's volumes among them."""
    _asked(options)  # what is wrong is said before anything is made
    base = here()

    def new() -> str:
        made.append(volumes.make_with_lock()[0].name)
        return made[-1]

    texts = [_with_name(text, base, new) for text in options.volume]
    spelt = [_spelt_with_name(text, base, new) for text in options.mount]
    if image is not None:
        covered = _places(options)
        own = [item.destination for item in image_volumes(image) if item.destination not in covered]
        texts += [f"{new()}:{place}" for place in own if ":" not in place]
        spelt += [_spell("volume", new(), place) for place in own if ":" in place]
    return type(options)(**{**vars(options), "volume": tuple(texts), "mount": tuple(spelt)})


def _with_name(text: str, base: str, new: Callable[[], str]) -> str:
    """A -v with the name of a new volume where it has none, and an absolute source: who starts it may be elsewhere."""
    item = values.volume(text, base)
    if item.name:
        return text
    return ":".join((item.source, *text.split(":")[1:])) if item.source else f"{new()}:{item.target}"


def _spelt_with_name(text: str, base: str, new: Callable[[], str]) -> str:
    """The same of a --mount."""
    words = values.mount_words(text)
    if words["type"] == "tmpfs":
        return text
    item = spelt_volume(text, words, base)
    others = [field for field in values.fields(text) if field.partition("=")[0] not in {"src", "source"}]
    source = item.source or item.name or new()
    return ",".join(map(values.quoted, (*others, f"source={source}")))


def _places(options: Options) -> set[str]:
    """Where something is mounted that was asked for."""
    base = here()
    found = [values.volume(text, base).target for text in options.volume]
    found += [values.mount_words(text)["target"] for text in options.mount]
    found += [text.partition(":")[0] for text in options.tmpfs]
    return {normpath(place) for place in found}


def _spell(kind: str, source: str, target: str, *words: str) -> str:
    fields = [f"type={kind}", *([f"source={source}"] if source else []), f"target={target}", *filter(None, words)]
    return ",".join(map(values.quoted, fields))


def _with_others(options: Options) -> Options:
    """The options with the mounts of the containers that --volumes-from names, where none was asked for."""
    if not options.volumes_from:
        return options
    found: dict[str, str] = {}
    for text in options.volumes_from:
        name, _, words = text.partition(":")
        modes = set(words.split(",")) if words else set()
        if not name or modes - MODES or {"ro", "rw"} <= modes:
            raise SpecError(f"--volumes-from {text}: invalid mode: {words}", hint="CONTAINER, CONTAINER:ro")
        container = containers.find(name)
        for item in container.known.get("mounts") or ():
            found[normpath(item["Destination"])] = _taken(item, name, read_only="ro" in modes)
    own = _places(options)
    texts = tuple(text for place, text in found.items() if place not in own)
    return type(options)(**{**vars(options), "mount": (*options.mount, *texts), "volumes_from": ()})


def _taken(item: dict[str, Any], whose: str, *, read_only: bool) -> str:
    kind, place = item["Type"], item["Destination"]
    frozen = "readonly" if read_only or not item["RW"] else ""
    if kind == "volume" and not item["Name"]:
        hint = f"give it a name where {whose} is run: -v NAME:{place}"
        raise ConflictError(f"the volume at {place} of {whose} is in memory, and its alone", hint=hint)
    if kind == "volume":
        below = item.get(SUBPATH, "")
        return _spell(kind, item["Name"], place, frozen, f"volume-subpath={below}" if below else "")
    if kind == "tmpfs":
        return _spell(kind, "", place, frozen)
    propagation = item["Propagation"]
    return _spell(kind, item["Source"], place, frozen, f"bind-propagation={propagation}" if propagation else "")


def named_mount(item: values.Volume, *, copy: bool) -> Mount:
    """A volume of the store as a mount, with `copy` filled at its first use.

    One that is not there, which only a dry run has, is as it would be.
    """
    name = volumes.check_name(item.name)
    volume = volumes.load(name) or volumes.Volume(name, f"{volumes.volumes_dir()}/{name}", {}, {}, "", False)
    if volume.in_memory:
        words = [word for word in volume.words if word not in {"ro", "rw"}]
        words += ["nosuid", "nodev", *(["tmpcopyup"] if copy else [])]
        words += ["ro"] if item.read_only or "ro" in volume.words else []
        return Mount(destination=item.target, type="tmpfs", source="tmpfs", options=words)
    words = [f"first={volume.folder}/{volumes.FIRST}"]
    words += [word for word in volume.words if word in volumes.BINDS]
    words += ["ro"] if item.read_only or "ro" in volume.words else []
    words += [] if copy else ["nocopy"]
    words += [f"below={item.below}"] if item.below else []
    return Mount(destination=item.target, type=NAMED, source=volume.data, options=words)


def mounts_for_inspect(options: Options, image: Image | None) -> list[dict[str, object]]:
    """The mounts of a container with these options, settled, in docker's shape (Docker Engine API, MountPoint).

    A volume in memory, of a container that is gone when it ends, has no name. One of which only a part is mounted has a
    member more, that part.
    """
    base = here()
    found = []
    for text in options.volume:
        mode = text.split(":")[2] if text.count(":") > 1 else ""
        found.append(_shown(values.volume(text, base), mode, ""))
    for text in options.mount:
        words = values.mount_words(text)
        if words["type"] == "tmpfs":
            frozen = values.truth(words.get("readonly", "false"), "readonly")
            found.append(_point("tmpfs", "", words["target"], "", writable=not frozen))
        else:
            found.append(_shown(spelt_volume(text, words, base), "", "z"))
    covered = _places(options)
    own = () if image is None else image_volumes(image)
    found += [_point("volume", "", item.destination, "") for item in own if item.destination not in covered]
    return found


def _shown(item: values.Volume, mode: str, unnamed: str) -> dict[str, object]:
    """`unnamed` is the mode docker shows of a volume that was asked for without a name."""
    writable = not item.read_only
    if item.source:
        propagation = item.propagation or "rprivate"
        return _point("bind", item.source, item.target, mode, writable=writable, propagation=propagation)
    if not item.name:
        return _point("volume", "", item.target, mode, writable=writable)
    volume = volumes.load(item.name)
    source = f"{volumes.volumes_dir()}/{item.name}/{volumes.DATA}" if volume is None else volume.mountpoint
    mode = mode or (unnamed if volume is not None and volume.anonymous else "z")
    point = _point("volume", source, item.target, mode, writable=writable, name=item.name)
    return {**point, SUBPATH: item.below} if item.below else point


def _point(
    kind: str, source: str, target: str, mode: str, *, writable: bool = True, propagation: str = "", name: str = ""
) -> dict[str, object]:
    named = {"Name": name, "Source": source, "Destination": target, "Driver": volumes.DRIVER}
    plain = {"Source": source, "Destination": target}
    place = named if kind == "volume" else plain
    return {"Type": kind, **place, "Mode": mode, "RW": writable, "Propagation": propagation}
