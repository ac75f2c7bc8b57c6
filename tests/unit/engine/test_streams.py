"""Output that is held back for somebody who is to have all of it."""

from __future__ import annotations

import gc
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from cloche.engine.supervisor.loop import Loop
from cloche.engine.supervisor.streams import Streams


class Listener:
    """A command that is attached."""

    relieved: Any = None
    pid = os.getpid()

    def has_room(self) -> bool:
        return True

    def __init__(self) -> None:
        self.heard = b""
        self.taken = 0

    def send(self, word: str, *rest: Any) -> None:
        if word == "taken":
            self.taken += 1
        else:
            self.heard += rest[1]


class Gone(Listener):
    """One that has ended, as is found when something is sent to it (`connection.Connection.close`)."""

    def __init__(self, streams: Streams) -> None:
        super().__init__()
        self.streams = streams

    def send(self, word: str, *rest: Any) -> None:
        del word, rest
        self.streams.let_go(self)  # type: ignore[arg-type]


def test_what_is_held_back_is_not_taken_though_its_writers_have_gone(tmp_path: Path) -> None:
    loop = Loop()
    streams = Streams(loop, str(tmp_path), lambda: None, lambda *_: None)
    listener = Listener()
    streams.hold_for(listener)  # type: ignore[arg-type]
    theirs, _ = streams.open(tty=False, interactive=False)
    os.write(theirs[1], b"said and gone")
    for fd in theirs:
        os.close(fd)
    loop.after(0.02, lambda: None)
    loop.turn()
    streams.attach(listener)  # type: ignore[arg-type]
    streams.go_on()
    loop.turn()
    assert listener.heard == b"said and gone"
    streams.end()


def test_who_has_gone_takes_nothing_from_the_next_who_is_attached(tmp_path: Path) -> None:
    streams = Streams(Loop(), str(tmp_path), lambda: None, lambda *_: None)
    theirs, _ = streams.open(tty=False, interactive=False)
    listener = Listener()
    for conn in (Gone(streams), listener):
        streams.attach(conn)  # type: ignore[arg-type]
    os.write(theirs[1], b"for all")
    streams.loop.turn()
    assert listener.heard == b"for all"
    for fd in theirs:
        os.close(fd)
    streams.end()


def test_who_has_gone_does_not_keep_the_next_who_types_waiting(tmp_path: Path) -> None:
    streams = Streams(Loop(), str(tmp_path), lambda: None, lambda *_: None)
    theirs, ends = streams.open(tty=False, interactive=True)
    typist = Listener()
    full = b"x" * (1 << 17)  # more than a pipe holds
    streams.type(Gone(streams), full)  # type: ignore[arg-type]
    streams.type(typist, b"last")  # type: ignore[arg-type]
    while streams.typed:
        os.read(theirs[0], len(full))
        streams.loop.turn()
    assert typist.taken == 1
    for fd in (*theirs, ends["input"]):
        os.close(fd)
    streams.end()


def test_whoever_goes_takes_nothing_from_who_is_to_have_all_of_it(tmp_path: Path) -> None:
    """Nor does the end of patience with those who were to come back, if it comes before that one is attached."""
    streams = Streams(Loop(), str(tmp_path), lambda: None, lambda *_: None)
    first, other = Listener(), Listener()
    streams.hold_for(first)  # type: ignore[arg-type]
    theirs, _ = streams.open(tty=False, interactive=False)
    os.write(theirs[1], b"first words")
    streams.let_go(other)  # type: ignore[arg-type]
    streams._give_them_up()
    streams.loop.after(0, lambda: None)
    streams.loop.turn()
    assert first.heard == b""
    streams.attach(first)  # type: ignore[arg-type]
    streams.loop.after(0, lambda: None)
    streams.hold_no_more()
    streams.loop.turn()
    assert first.heard == b"first words"
    for fd in theirs:
        os.close(fd)
    streams.end()


def test_what_cannot_be_ended_is_closed_all_the_same(tmp_path: Path) -> None:
    streams = Streams(Loop(), str(tmp_path), lambda: None, lambda *_: None)
    theirs, ends = streams.open(tty=False, interactive=True)
    (tmp_path / "in").unlink()
    (tmp_path / "in").mkdir()
    os.write(theirs[1], b"no end of the line")
    streams.loop.turn()
    with pytest.raises(IsADirectoryError):
        streams.end()
    streams.drop()
    assert (streams.loop.handlers, streams.outputs, streams.input) == ({}, {}, -1)
    for fd in (*theirs, ends["input"]):
        os.close(fd)


def test_pipes_for_which_there_is_no_room_are_opened_later(tmp_path: Path) -> None:
    first = Streams(Loop(), str(tmp_path), lambda: None, lambda *_: None)
    theirs, _ = first.open(tty=False, interactive=False)
    loop = Loop()
    streams = Streams(loop, str(tmp_path), lambda: None, lambda *_: None)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()  # now, and not when it makes room for another one
    spare = os.dup(0)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, before[1]))  # one of the two finds room
    try:
        streams.open_again(interactive=False)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(streams.outputs) == 1
    loop.after(5.0, lambda: None)
    loop.turn()
    assert sorted(streams.outputs.values()) == [1, 2]
    for each in (first, streams):
        each.end()
    for fd in theirs:
        os.close(fd)
