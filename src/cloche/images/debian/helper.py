"""The process that works on the tree: it has the powers that takes, and is told no path of this machine.

    caller ── ("begin", links, own, opaque), [tree, lock]    ──▶ helper
           ── ("add",), [package]                            ──▶          ◀── ("done", name)
           ── ("write", path, content, mode)                 ──▶
           ── ("end",)  ── a container configures the tree ──
           ── ("settle",)
           ── ("pack", newest), [file]                       ──▶          ◀── ("done", diffID, digest, size)

and `remove` as any worker (see unpack.worker), whose process and messages it shares.
"""

from __future__ import annotations

import os

from cloche.images.debian.layering import Packed, pack
from cloche.images.debian.settling import settle
from cloche.images.debian.tree import Tree
from cloche.images.unpack import worker
from cloche.images.unpack.apply import Powers
from cloche.images.unpack.worker import Users, Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Helper(Worker):
    """The caller's end; for one thread."""

    def __init__(self, users: Users | None) -> None:
        super().__init__(users, "cloche.images.debian.helper")

    def begin(self, tree: int, merged: tuple[str, ...], powers: Powers, lock: int) -> None:
        """Begin a tree in an empty directory; `lock` is held on it for as long as somebody may write there."""
        self.ask(("begin", merged, powers.own, powers.opaque), (tree, lock))

    def add(self, deb: int) -> str:
        """Unpack a package; returns its name. Raises BadArchive for what is wrong with it, OSError else."""
        return str(self.ask(("add",), (deb,))[1])

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file of the tree."""
        self.ask(("write", path, content, mode))

    def end(self) -> None:
        """No more packages."""
        self.ask(("end",))

    def settle(self) -> None:
        """Remove what is not part of the system."""
        self.ask(("settle",))

    def pack(self, out: int, newest: int) -> Packed:
        """Write the tree into a file, as a layer."""
        _, diff_id, digest, size = self.ask(("pack", newest), (out,))
        return Packed(diff_id, digest, size)


_trees: list[Tree] = []
_locks: list[int] = []


def main() -> None:
    """The helper."""
    worker.main(_answer)


def _answer(message: tuple[Any, ...], fds: list[int]) -> tuple[Any, ...]:
    what, *given = message
    if what == "begin":
        merged, own, opaque = given
        _locks.append(os.dup(fds[1]))
        tree = Tree(os.dup(fds[0]), Powers(own, nodes=False, opaque=opaque))
        tree.begin(merged)
        _trees[:] = [tree]
    elif what == "add":
        return "done", _trees[0].add(fds[0])
    elif what == "write":
        _trees[0].write(*given)
    elif what == "end":
        _trees[0].end()
    elif what == "settle":
        settle(_trees[0].root)
    elif what == "pack":
        packed = pack(_trees[0].root, fds[0], given[0])
        return "done", packed.diff_id, packed.digest, packed.size
    else:
        return worker.answer(message, fds)
    return ("done",)
