"""-v, --mount, --tmpfs, --device: what of the host, of the store, or of memory, is mounted inside."""

from __future__ import annotations

import _stat as stat
import posix as os

from cloche.errors import ConflictError, NotFoundError, SpecError, UnsupportedError
from cloche.linux import places
from cloche.runtime.mounts import VOLUME
from cloche.sandbox import values
from cloche.sandbox.image import HOST
from cloche.sandbox.image_config import image_volumes
from cloche.spec.mounts import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.local import Image
    from cloche.sandbox.options import Options


def mounts_of(options: Options, volumes: tuple[Mount, ...] = ()) -> list[Mount]:
    """The mounts asked for, in the order in which outer ones come before inner ones.

    Among them the volumes of an image, but for those where something else was asked for.
    """
    base = here()
    copy = options.image != HOST  # no image: what is there is the host's, and much
    mounts = [_mount(values.volume(text, base), copy=copy) for text in options.volume]
    mounts += [_spelt(text, base, copy=copy) for text in options.mount]
    mounts += [tmpfs(text) for text in options.tmpfs]
    seen: set[str] = set()
    for item in mounts:
        place = places.normpath(item.destination)
        if place in seen:
            raise SpecError(f"two mounts at {place}", hint="leave one of them out")
        seen.add(place)
    mounts += [item for item in volumes if places.normpath(item.destination) not in seen]
    mounts.sort(key=lambda item: item.destination.rstrip("/").count("/"))
    return mounts


def asks_for_volumes(options: Options, image: Image | None, *, kept: bool) -> bool:
    """Whether there is to be a volume of the store: by its name, that of a container that has it, or without one.

    A container that is gone when it ends has those without a name in memory.
    """
    return bool(
        options.volumes_from
        or any(not text.startswith(("/", ".", "~")) for text in options.volume)
        or any("type=bind" not in text and "type=tmpfs" not in text for text in options.mount)
        or (kept and (any(":" not in text for text in options.volume) or (image is not None and image_volumes(image))))
    )


def here() -> str:
    """The caller's directory, "" where it was deleted: only relative paths need it."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _mount(volume: values.Volume, *, copy: bool) -> Mount:
    if volume.source:
        return _bind(volume)
    if volume.name:
        from cloche.sandbox.attaching import named_mount

        return named_mount(volume, copy=copy and volume.copy)
    return Mount(destination=volume.target, type=VOLUME, source=VOLUME)


def _bind(volume: values.Volume) -> Mount:
    if not places.lexists(volume.source):
        raise NotFoundError(f"volume source {volume.source} is not there", hint="make it first: mkdir -p")
    words = ["rbind" if volume.recursive else "bind", "rro" if volume.read_only else "rw", "rnosuid", "rnodev", "idmap"]
    if volume.propagation:
        words.append(volume.propagation)
    return Mount(destination=volume.target, type="bind", source=volume.source, options=words)


def _spelt(text: str, base: str, *, copy: bool) -> Mount:
    words = values.mount_words(text)
    kind, target = words["type"], words["target"]
    read_only = values.truth(words.get("readonly", "false"), "readonly")
    if kind == "tmpfs":
        mode = values.octal_mode(words.get("tmpfs-mode", "1777"), "tmpfs-mode")
        options = ["nosuid", "nodev", f"mode={mode}"]
        if "tmpfs-size" in words:
            options.append(f"size={values.positive_size(words['tmpfs-size'], 'tmpfs-size')}")
        if read_only:
            options.append("ro")
        return Mount(destination=target, type="tmpfs", source="tmpfs", options=options)
    return _mount(spelt_volume(text, words, base), copy=copy)


def spelt_volume(text: str, words: dict[str, str], base: str) -> values.Volume:
    """What `mount_words` says of type=bind or type=volume."""
    kind, target, source = words["type"], words["target"], words.get("source", "")
    read_only = values.truth(words.get("readonly", "false"), "readonly")
    if kind == "volume":
        if words.get("volume-driver", "local") != "local":
            raise UnsupportedError(f"the volume driver {words['volume-driver']}", needs="a plugin of docker's")
        copy = not values.truth(words.get("volume-nocopy", "false"), "volume-nocopy")
        below = words.get("volume-subpath", "")
        if below.startswith("/") or ".." in below.split("/"):
            raise SpecError(f"volume-subpath={below} is not a path in the volume", hint="such as volume-subpath=a/b")
        if below and not source:
            raise SpecError(f"--mount {text!r}: volume-subpath needs a volume with a name", hint="add src=NAME")
        return values.Volume("", target, read_only, name=source, copy=copy and not below, below=below)
    if kind != "bind":
        raise SpecError(f"--mount type={kind} is not here", hint="type=volume, type=bind or type=tmpfs")
    if not source:
        raise SpecError(f"--mount {text!r} has no source", hint="add src=DIR")
    propagation = words.get("bind-propagation", "")
    if "bind-propagation" in words and propagation not in values.PROPAGATIONS:
        raise SpecError(f"bind-propagation={propagation} is not a propagation", hint=", ".join(values.PROPAGATIONS))
    recursive = _is_recursive(words, read_only=read_only)
    return values.Volume(values.absolute(source, base), target, read_only, recursive, propagation)


def _is_recursive(words: dict[str, str], *, read_only: bool) -> bool:
    """What bind-recursive, or its older name bind-nonrecursive, says; a read-only one is so all the way down."""
    depth = words.get("bind-recursive", "enabled")
    if depth not in {"enabled", "disabled", "readonly"}:
        raise SpecError(f"bind-recursive={depth} is not a depth", hint="enabled, disabled, or readonly with ro")
    if depth == "readonly" and not read_only:
        raise ConflictError("bind-recursive=readonly needs ro", hint="add ro, or leave it out")
    if "bind-nonrecursive" not in words:
        return depth != "disabled"
    recursive = not values.truth(words["bind-nonrecursive"], "bind-nonrecursive")
    if "bind-recursive" in words and recursive == (depth == "disabled"):
        raise ConflictError("bind-recursive contradicts bind-nonrecursive", hint="leave the second out: it is older")
    return recursive


def tmpfs(text: str) -> Mount:
    """DIR[:OPTIONS] of --tmpfs. Raises SpecError, ConflictError."""
    target, _, words = text.partition(":")
    if not target.startswith("/") or ".." in target.split("/") or not places.normpath(target).strip("/"):
        raise SpecError(f"--tmpfs {text!r} is not an absolute path inside", hint="such as /scratch:size=64m")
    options = ["nosuid", "nodev", "noexec", "mode=1777"]
    values.check_alternatives(words.split(","), f"--tmpfs {text!r}")
    for word in filter(None, words.split(",")):
        key, equals, value = word.partition("=")
        if key == "size" and equals:
            options.append(f"size={values.positive_size(value, '--tmpfs size')}")
        elif key == "mode":
            options = [o for o in options if not o.startswith("mode=")]
            options.append(f"mode={values.octal_mode(value, '--tmpfs mode')}")
        elif key in {"uid", "gid", "nr_inodes"} and value.isascii() and value.isdecimal():
            options = [o for o in options if not o.startswith(f"{key}=")] + [word]
        elif word in {"exec", "suid", "dev", "rw"}:
            options = [o for o in options if o != f"no{word}"]
        elif word in {"ro", "noexec", "nosuid", "nodev", "noatime"}:
            options.append(word)
        else:
            raise SpecError(f"--tmpfs {text!r}: {word!r} is not an option", hint="size=64m, mode=1777, exec, ro")
    return Mount(destination=target, type="tmpfs", source="tmpfs", options=options)


def _devices(options: Options) -> list[str]:
    if not options.privileged:
        return list(options.device)
    skipped = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"}
    with os.scandir("/dev") as entries:
        every = [e.path for e in entries if e.name not in skipped and _is_device(e.stat(follow_symlinks=False).st_mode)]
    return [*options.device, *sorted(every)]


def devices_of(options: Options) -> tuple[tuple[str, str, int, int, int, str], ...]:
    """--device and --privileged: (source, target, mode with type, major, minor, access) for each."""
    return tuple(_device(text) for text in _devices(options))


def _device(text: str) -> tuple[str, str, int, int, int, str]:
    parts = text.split(":")
    source = parts[0]
    target, access = source, "rwm"
    if len(parts) == 2:
        target, access = (source, parts[1]) if set(parts[1]) <= set("rwm") else (parts[1], access)
    elif len(parts) == 3:
        target, access = parts[1], parts[2]
    if len(parts) > 3 or not target.startswith("/") or not access or not set(access) <= set("rwm"):
        raise SpecError(f"--device {text!r} is not DEVICE[:TARGET[:rwm]]", hint="such as /dev/fuse")
    try:
        status = os.stat(source)
    except OSError as error:
        raise NotFoundError(f"--device {source} cannot be used: {error.strerror}") from None
    if not target.startswith("/dev/") or ".." in target.split("/"):
        raise SpecError(f"--device {text!r}: the target has to lie below /dev", hint="such as /dev/fuse")
    if not _is_device(status.st_mode):
        raise SpecError(f"--device {source} is not a device", hint="for a file or directory use -v")
    bits = (0o444 if "r" in access else 0) | (0o222 if "w" in access else 0)
    mode = status.st_mode & ~0o7777 | (status.st_mode & bits)
    return (
        source,
        target,
        mode,
        os.major(status.st_rdev),
        os.minor(status.st_rdev),
        "".join(sorted(access, key="rwm".find)),
    )


def _is_device(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
