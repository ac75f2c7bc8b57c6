"""Removing a tree that somebody else has made: however deep it is, without recursion, and with few descriptors."""

from __future__ import annotations

import posix as os

from cloche.linux import files


def remove_tree(parent: int, name: str | bytes) -> None:
    """Remove a directory with all in it, however deep: what is in one is moved up beside it, one level at a time."""
    waiting: list[str | bytes] = [name]
    number, mine = 0, os.urandom(8).hex()  # whoever removes beside us can have the same pid, in another container
    while waiting:
        place = waiting.pop()
        try:
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except FileNotFoundError:
            continue
        with files.Fd(fd) as folder:
            for below in os.listdir(folder.number):
                try:
                    os.unlink(below, dir_fd=folder.number)
                except FileNotFoundError:
                    continue  # another removes it as well
                except IsADirectoryError:
                    number += 1
                    above = f".gone-{mine}-{number}"
                    try:
                        os.rename(below, above, src_dir_fd=folder.number, dst_dir_fd=parent)
                    except FileNotFoundError:
                        continue
                    waiting.append(above)
        try:
            os.rmdir(place, dir_fd=parent)
        except FileNotFoundError:
            continue


def empty(folder: int, *, but: str = "") -> None:
    """Remove all that is in a directory, a descriptor to read from, `but` what is called so."""
    for name in os.listdir(folder):
        if name == but:
            continue
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            remove_tree(folder, name)
        except FileNotFoundError:
            continue
