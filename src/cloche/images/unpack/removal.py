"""Removing a tree that somebody else has made: however deep it is, without recursion, and with few descriptors."""

from __future__ import annotations

import os

from cloche.linux import files


def remove_tree(parent: int, name: bytes) -> None:
    """Remove a directory with all in it, however deep: what is in one is moved up beside it, one level at a time."""
    waiting, number = [name], 0
    mine = os.urandom(8).hex().encode()  # whoever removes beside us can have the same pid, in another container
    while waiting:
        place = waiting.pop()
        try:
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except FileNotFoundError:
            continue
        with files.Fd(fd) as folder:
            for item in os.listdir(folder.number):
                below = os.fsencode(item)
                try:
                    os.unlink(below, dir_fd=folder.number)
                except FileNotFoundError:
                    continue  # another removes it as well
                except IsADirectoryError:
                    number += 1
                    above = b".gone-%s-%d" % (mine, number)
                    try:
                        os.rename(below, above, src_dir_fd=folder.number, dst_dir_fd=parent)
                    except FileNotFoundError:
                        continue
                    waiting.append(above)
        try:
            os.rmdir(place, dir_fd=parent)
        except FileNotFoundError:
            continue
