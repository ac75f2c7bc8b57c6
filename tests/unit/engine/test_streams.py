"""Output that is held back for somebody who is to have all of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cloche.engine.supervisor.loop import Loop
from cloche.engine.supervisor.streams import Streams


class Listener:
    """A command that is attached."""

    full = False
    relieved: Any = None

    def __init__(self) -> None:
        self.heard = b""

    def send(self, _word: str, _number: int, data: bytes) -> None:
        self.heard += data


def test_what_is_held_back_is_not_taken_though_its_writers_have_gone(tmp_path: Path) -> None:
    loop = Loop()
    streams = Streams(loop, str(tmp_path), lambda: None)
    streams.hold()
    theirs, _ = streams.open(tty=False, interactive=False)
    os.write(theirs[1], b"said and gone")
    for fd in theirs:
        os.close(fd)
    loop.after(0.02, lambda: None)
    loop.turn()
    listener = Listener()
    streams.attach(listener)  # type: ignore[arg-type]
    streams.go_on()
    loop.turn()
    assert listener.heard == b"said and gone"
    streams.end()
