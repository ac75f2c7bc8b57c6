"""The stage's event loop, by itself."""

from __future__ import annotations

import os

from cloche.stage import wire
from cloche.stage.server import Server


def test_what_has_only_hung_up_is_not_asked_again() -> None:
    # as a seccomp listener does when nobody is under its filter any longer, while the container still ends
    ours, theirs = wire.pair()
    server = Server(theirs)
    read, write = os.pipe()
    os.close(write)
    asked: list[int] = []
    server._watch(read, lambda: asked.append(read))
    ours.close()
    server.serve()
    assert asked == []
    os.close(read)
    theirs.close()
