"""What is left of making a system, and is not part of it: logs, caches, backups, whatever has a time or a name in it.

Also what a container brings itself: /dev, /run, the name of the host and its resolver.
"""

from __future__ import annotations

import errno
import os
import stat

from cloche.images.debian import naming
from cloche.linux import files
from cloche.stage.removal import remove_tree

REMOVED = (
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/hostname",
    "etc/hosts",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "usr/sbin/policy-rc.d",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/passwords.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/available-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/triggers/Lock",
    "var/log/alternatives.log",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
)
EMPTIED = ("dev", "proc", "run", "sys", "tmp", "var/log/apt", "var/tmp")
CACHES = ("var/cache/apt", "var/lib/apt/lists")  # whose directories are a package's
BLANK = "etc/machine-id"  # empty is what is made new at the first start (machine-id(5))


def settle(root: int) -> None:
    """Remove it from the tree below the directory `root`."""
    for path in REMOVED:
        folder, _, name = path.rpartition("/")
        with naming.on(path), _open(root, folder) as parent:
            if parent.number >= 0:
                _unlink(parent.number, name)
    for path in EMPTIED:
        with naming.on(path), _open(root, path) as place:
            if place.number >= 0:
                _empty(place.number)
    for path in CACHES:
        with naming.on(path), _open(root, path) as place:
            if place.number >= 0:
                _remove_files(place.number)
    with naming.on(BLANK), _open(root, "etc") as parent:
        if parent.number >= 0 and _unlink(parent.number, os.path.basename(BLANK)):
            made = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(os.path.basename(BLANK), made, 0o444, dir_fd=parent.number))


def _open(root: int, path: str) -> files.Fd:
    """A directory of the tree; -1 where there is none."""
    try:
        return files.Fd(files.open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            raise
        return files.Fd(-1)


def _unlink(parent: int, name: str) -> bool:
    """Whether it was there."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    return True


def _empty(folder: int) -> None:
    for name in os.listdir(folder):
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            remove_tree(folder, os.fsencode(name))
        else:
            os.unlink(name, dir_fd=folder)


def _remove_files(folder: int) -> None:
    """Remove files, and keep directories, which belong to packages; however deep."""
    waiting = ["."]
    while waiting:
        path = waiting.pop()
        with files.Fd(files.open_in_root(folder, path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as place:
            for name in os.listdir(place.number):
                if stat.S_ISDIR(os.stat(name, dir_fd=place.number, follow_symlinks=False).st_mode):
                    waiting.append(f"{path}/{name}")
                else:
                    os.unlink(name, dir_fd=place.number)
