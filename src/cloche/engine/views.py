"""How the files of a container are seen from outside, by a process of its own (see `fileworker`).

    live     /proc/PID/root of one that runs, in its user namespace: its own mounts, and its own ids
    whole    of a kept one that does not: its layers with the one it writes to, its volumes and binds, in a mount
             namespace that ends with the process
    layers   the same without mounts, and not to be written to: what it is itself, whether it runs or not
    nothing  but what is in its own layer, on the disk

What is to be seen is decided by the caller, as a tuple that can be sent; it is opened by the worker, which is root, or
in a user namespace of its own, or in that of the container. Every path in here is the engine's or the caller's own:
what is in the container is reached from the descriptor of its root alone.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from cloche.engine import records, volumes
from cloche.errors import ConflictError, NotFoundError, UnsupportedError
from cloche.images import local
from cloche.images.mounting import overlay
from cloche.images.store.layout import Layout, store_dir
from cloche.linux import files, mount, namespaces, process
from cloche.stage.paths import make_directory, make_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.engine.containers import Container

    # where it comes from, where it goes, whether it can be written to, and which part of it is meant, "" for all
    Bind = tuple[str, str, bool, str]

LOOK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
BENEATH = files.RESOLVE_BENEATH | files.RESOLVE_NO_MAGICLINKS
BINDS = {"bind", "volume"}


def is_image(container: Container) -> bool:
    """Whether its root is made of an image's layers."""
    return bool(container.known.get("image_id"))


def live_view(container: Container) -> tuple[Any, ...]:
    """What a running one sees itself."""
    return "live", records.within_reach(container.pid), container.pid, int(container.state["start"])


def whole_view(container: Container) -> tuple[Any, ...]:
    """What one that does not run would see, but for what the kernel makes. Raises UnsupportedError, NotFoundError."""
    mounts = container.known.get("mounts") or ()
    binds = [bind for item in mounts if item.get("Type") in BINDS and item.get("Source") and (bind := _bind_of(item))]
    read_only = bool((container.known.get("options") or {}).get("read_only"))
    return "whole", *_stack(container), read_only, sorted(binds, key=lambda item: item[1].count("/"))


def _bind_of(item: dict[str, Any]) -> Bind | None:
    """A mount as the start makes it; the Source of a volume is its place in the store, wherever its data is.

    None for a volume in memory: it is another one at each start.
    """
    source, writable = str(item["Source"]), bool(item.get("RW", True))
    if item["Type"] == "volume" and (volume := volumes.load(str(item.get("Name", "")))) is not None:
        if volume.in_memory:
            return None
        source, writable = volume.data, writable and "ro" not in volume.words
    return source, str(item["Destination"]), writable, str(item.get(volumes.SUBPATH, ""))


def layers_view(container: Container) -> tuple[Any, ...]:
    """What it is made of, without mounts. Raises UnsupportedError, NotFoundError."""
    return "layers", *_stack(container)


def view_of(container: Container) -> tuple[Any, ...]:
    """The one that `cp` works on: with mounts, and as alive as the container is."""
    return live_view(container) if container.running else whole_view(container)


def layers_of(container: Container) -> tuple[str, ...]:
    """The directories of its image, the lowest first. Raises UnsupportedError, NotFoundError."""
    return _once(_image_of(container))


def _once(image: local.Image) -> tuple[str, ...]:
    """overlayfs takes a directory once; of a layer that comes again the highest counts."""
    return tuple(f"{layer}/fs" for layer in dict.fromkeys(reversed(image.layers)))[::-1]


def _image_of(container: Container) -> local.Image:
    called = container.name or container.id[:12]
    if not container.folder:
        raise UnsupportedError(
            f"looking at the layer of {called}", needs="it takes a container that is kept", hint="start it without --rm"
        )
    if not is_image(container):
        raise UnsupportedError(
            f"looking at the files of {called}",
            needs="it takes a container of an image",
            hint="of the host's own files and of a --rootfs, cp and export take what it sees, while it runs",
        )
    try:
        return local.find(Layout(store_dir()), str(container.known["image_id"]))
    except NotFoundError:
        raise NotFoundError(
            f"the image of {called} is not here any more: {container.known['image_id']}",
            hint=f"cloche pull {container.known.get('image') or 'IMAGE'}",
        ) from None


def _stack(container: Container) -> tuple[tuple[str, ...], str, str]:
    """Its layers, the highest first; the directory that says what the root is like; that of its own layer."""
    image = _image_of(container)
    return _once(image)[::-1], f"{image.root}/fs" if image.root else "", f"{container.folder}/layer"


def open_view(view: tuple[Any, ...]) -> int:
    """Open the root of a view; in the worker, whose namespaces it changes. Raises OSError, ConflictError."""
    kind, *given = view
    if kind == "nothing":
        return -1
    if kind == "live":
        return _join(*given)
    namespaces.unshare(process.CLONE_NEWNS)
    mount.make_private("/")
    layers, shape, layer, *more = given
    read_only, binds = more or (False, None)
    return _assemble(layers, shape, layer, binds, read_only=read_only)


def _join(pid: int, first: int, start: int) -> int:
    """The root of a process, in whose user namespace we are from then on."""
    with files.Fd(process.pidfd_open(pid)) as held:
        if start and records.start_time(first) != start:
            raise ConflictError("the container has just ended", hint="it is not running any more: try again")
        root = -1
        try:
            root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            pass  # only those in its user namespace may
        if os.stat("/proc/self/ns/user").st_ino != os.stat(f"/proc/{pid}/ns/user").st_ino:
            process.set_dumpable(False)  # with the host's pids in it, it could look at us from then on
            namespaces.setns(held.number, process.CLONE_NEWUSER)
            process.die_with_parent()  # new powers take that away
            _become_root()
    return root if root >= 0 else os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _become_root() -> None:
    """Be the container's root, as whom files are made; where it has none, whoever we are there."""
    with suppress(OSError):  # denied to a user with one id
        os.setgroups([])
    with suppress(OSError):  # there is no such id
        os.setresgid(0, 0, 0)
    with suppress(OSError):
        os.setresuid(0, 0, 0)
    process.die_with_parent()


def _assemble(layers: tuple[str, ...], shape: str, layer: str, binds: list[Bind] | None, *, read_only: bool) -> int:
    """Mount layers over each other in a directory of ours, which nobody else sees."""
    began = os.path.isdir(f"{layer}/work")
    if binds is not None and not began:
        furnish(shape, layer)
    own = [f"{layer}/upper", f"{layer}/work"] if binds is not None else [f"{layer}/upper"] if began else []
    opened = [os.open(path, LOOK) for path in (*own, *layers)]
    trees = [_tree(*bind) for bind in binds or ()]
    scratch = mount.new_filesystem("tmpfs", {"source": "cloche", "mode": "0700", "size": "1m"})
    mount.move_mount(scratch, files.AT_FDCWD, layer)
    os.fchdir(scratch)
    for name in ("r", "top", "e"):  # it takes two at least
        os.mkdir(name, 0o755)
    for number, fd in enumerate(opened):
        os.symlink(f"/proc/self/fd/{fd}", str(number))
    names = [str(number) for number in range(len(opened))]
    if binds is not None:
        overlay([*names[2:], "e"], "r", upper="0", work="1")
    else:
        if not began and shape:
            _copy_attributes(shape, "top")
        overlay([*([] if began else ["top"]), *names, "e"], "r")
    for fd in opened:
        os.close(fd)
    root = os.open("r", LOOK)
    for tree, destination in trees:
        with files.Fd(tree):
            _attach(tree, root, destination)
    if read_only:
        mount.mount_setattr(root, set_=mount.MOUNT_ATTR_RDONLY)
    return root


def furnish(shape: str, layer: str) -> None:
    """Begin the layer of a container that was never started, as its start would (stage.operations.overlays)."""
    try:
        os.mkdir(f"{layer}/upper", 0o755)
    except FileExistsError:
        pass  # who began was killed
    if shape:
        _copy_attributes(shape, f"{layer}/upper")
    os.mkdir(f"{layer}/work", 0o755)  # last: whoever finds it has all of it


def _copy_attributes(source: str, path: str) -> None:
    status = os.stat(source)
    os.chown(path, status.st_uid, status.st_gid)
    os.chmod(path, stat.S_IMODE(status.st_mode))


def _tree(source: str, destination: str, writable: bool, below: str) -> tuple[int, str]:
    tree = _part(source, below) if below else mount.open_tree(files.AT_FDCWD, source, recursive=True)
    if not writable:
        mount.mount_setattr(tree, set_=mount.MOUNT_ATTR_RDONLY, recursive=True)
    return tree, destination


def _part(source: str, below: str) -> int:
    """A part of a volume, whose links are the container's: they lead nowhere else."""
    try:
        with (
            files.Fd(os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as top,
            files.Fd(files.openat2(top.number, below, os.O_PATH | os.O_CLOEXEC, resolve=BENEATH)) as found,
        ):
            return mount.open_tree(found.number, b"", recursive=True)
    except OSError as error:
        why = "it leads out of it" if error.errno == errno.EXDEV else error.strerror
        raise ConflictError(f"{below} of the volume {source} cannot be mounted: {why}") from None


def _attach(tree: int, root: int, destination: str) -> None:
    """Put a mount where the container has it, made as its start would; its links lead nowhere else."""
    directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    place = make_directory(root, destination) if directory else make_file(root, destination)
    with files.Fd(place):
        mount.move_mount(tree, place)
