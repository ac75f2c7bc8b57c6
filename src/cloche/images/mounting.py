"""An image's files in a directory of this machine, read-only and counted: each who asked for it has to let go.

    mounts/lock        held by whoever mounts or unmounts
    mounts/HEX/fs      where the image with that ID is mounted
               /top    a directory with the mode and owner its root has, the highest of the layers
               /N      links to the layers, the highest 0, as their paths would be too long
               /count  how often it was asked for

Whether it is mounted is what the kernel says (`uses.mounted`); the count of an earlier boot means nothing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat

from cloche.errors import ConflictError, ForbiddenError, StageError
from cloche.images import local
from cloche.images.store import uses
from cloche.images.store.layout import write_once
from cloche.linux import files, mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from cloche.images.local import Image
    from cloche.images.store.layout import Layout

    T = TypeVar("T")

EINVAL, EBUSY = 22, 16
LONGEST_OPTION = 255  # of fsconfig(2)
SAFE = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV
SAFE_FLAGS = 1 | 2 | 4  # the same for mount(2)


def mount_image(layout: Layout, text: str) -> tuple[str, str]:
    """Mount the image of this name or ID, or count once more that it is; returns its ID, and where it is.

    Raises NotFoundError; ForbiddenError for who may not mount.
    """
    if os.geteuid() != 0:
        raise ForbiddenError(
            "an ordinary user cannot mount: it would be seen in a namespace of its own alone",
            hint=f"look into it with: cloche run {text}; or take it out: cloche export {text}",
        )

    def begin() -> tuple[str, str]:
        image = local.find(layout, text)
        folder = _folder(layout, image.id)
        if image.id in uses.mounted(layout):
            _write_count(folder, _count(folder) + 1)
        else:
            _mount(image, folder)
        return image.id, uses.mounted(layout)[image.id]

    return _alone(layout, lambda: uses.undisturbed(layout, begin))


def unmount_image(layout: Layout, image: str, *, force: bool = False) -> bool:
    """Let go of the mounted image with this ID; whether nobody else has it, and it is gone.

    `force` lets go for all who have asked for it, and whatever is open in there. Raises ConflictError.
    """

    def end() -> bool:
        place, folder = uses.mounted(layout).get(image), _folder(layout, image)
        if place is None:
            raise ConflictError(f"{image} is not mounted", hint="cloche image mount lists what is")
        left = 0 if force else _count(folder) - 1
        if left > 0:
            _write_count(folder, left)
            return False
        try:
            mount.umount2(place, mount.UMOUNT_NOFOLLOW | (mount.MNT_DETACH if force else 0))
        except OSError as error:
            if error.errno != EBUSY:
                raise
            raise ConflictError(f"{image} is in use at {place}", hint="leave it, or --force") from None
        shutil.rmtree(folder)
        return True

    return _alone(layout, end)


def _alone(layout: Layout, work: Callable[[], T]) -> T:
    """Do something while nobody else mounts or unmounts."""
    os.makedirs(f"{layout.path}/mounts", mode=0o700, exist_ok=True)
    with files.Fd(os.open(f"{layout.path}/mounts/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)) as lock:
        fcntl.flock(lock.number, fcntl.LOCK_EX)
        return work()


def _folder(layout: Layout, image: str) -> str:
    return f"{layout.path}/mounts/{image.partition(':')[2]}"


def _count(folder: str) -> int:
    try:
        with open(f"{folder}/count", encoding="ascii") as file:
            return int(file.read())
    except (FileNotFoundError, ValueError):
        return 1


def _write_count(folder: str, count: int) -> None:
    write_once(f"{folder}/count", str(count).encode())


def _mount(image: Image, folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier boot
    for name in ("fs", "top"):
        os.makedirs(f"{folder}/{name}", mode=0o700)
    _write_count(folder, 1)
    if image.root:
        status = os.stat(f"{image.root}/fs")
        os.chown(f"{folder}/top", status.st_uid, status.st_gid)
        os.chmod(f"{folder}/top", stat.S_IMODE(status.st_mode))
    # overlayfs takes a directory once; of a layer that comes again the highest counts
    layers = list(dict.fromkeys(reversed(image.layers)))
    for number, layer in enumerate(layers):
        os.symlink(f"{layer}/fs", f"{folder}/{number}")
    os.mkdir(f"{folder}/{len(layers)}")  # it takes two at least
    before = os.getcwd()
    os.chdir(folder)
    try:
        overlay(["top", *map(str, range(len(layers) + 1))], "fs")
    except OSError as error:
        shutil.rmtree(folder)
        why = ": ".join([error.strerror or "", *getattr(error, "__notes__", [])])
        raise StageError(f"{image.name or image.id} cannot be mounted: {why}") from None
    finally:
        os.chdir(before)


def overlay(lowers: list[str], place: str, *, upper: str = "", work: str = "") -> None:
    """Mount directories over each other at `place`, the highest first; without `upper` to be read only.

    With it, what is written goes there, and `work` is an empty directory beside it.
    """
    together = ":".join(lowers)
    short = len(together) <= LONGEST_OPTION
    options = [("lowerdir", together)] if short else [("lowerdir+", lower) for lower in lowers]
    own = [("upperdir", upper), ("workdir", work)] if upper else []
    safe, flags = (SAFE & ~1, SAFE_FLAGS & ~1) if upper else (SAFE, SAFE_FLAGS)
    try:
        made = mount.new_filesystem("overlay", [("source", "cloche"), ("userxattr", None), *options, *own], safe)
    except OSError as error:
        if short or error.errno != EINVAL:
            raise
        # before 6.7 only mount(2) takes as many, in one line
        rest = "".join(f",{key}={value}" for key, value in own)
        mount.mount_with_data("overlay", place, flags, f"userxattr,lowerdir={together}{rest}")
        return
    with files.Fd(made):
        mount.move_mount(made, files.AT_FDCWD, place)
