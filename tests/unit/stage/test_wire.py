"""Messages and descriptors arrive as they were sent, whatever the kernel cuts them into."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.stage import wire

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


@settings(deadline=None)
@given(st.lists(st.tuples(plain, st.integers(0, 5)), min_size=1, max_size=4))
def test_messages_arrive_whole_in_order_with_their_descriptors(messages: list[tuple[Any, int]]) -> None:
    ours, theirs = wire.pair()
    opened = [os.memfd_create(f"m{index}") for index in range(5)]
    try:
        for message, count in messages:
            wire.send(ours, message, opened[:count])
        for message, count in messages:
            got = wire.receive(theirs)
            assert got is not None
            received, fds = got
            try:
                assert received == message
                assert [identity(fd) for fd in fds] == [identity(fd) for fd in opened[:count]]
                assert not any(os.get_inheritable(fd) for fd in fds)
            finally:
                for fd in fds:
                    os.close(fd)
    finally:
        for fd in opened:
            os.close(fd)
        ours.close()
        theirs.close()


def test_a_message_larger_than_the_socket_holds() -> None:
    ours, theirs = wire.pair()
    message = ("run", "x" * (8 << 20))
    thread = threading.Thread(target=wire.send, args=(ours, message, [0]))
    thread.start()
    got = wire.receive(theirs)
    thread.join(10)
    assert got is not None
    for fd in got[1]:
        os.close(fd)
    assert got[0] == message
    assert len(got[1]) == 1
    ours.close()
    theirs.close()


def test_as_many_descriptors_as_the_kernel_takes() -> None:
    ours, theirs = wire.pair()
    wire.send(ours, "many", [0] * wire.MAX_FDS)
    got = wire.receive(theirs)
    assert got is not None
    for fd in got[1]:
        os.close(fd)
    assert len(got[1]) == wire.MAX_FDS
    ours.close()
    theirs.close()


def test_the_end_of_the_stream_is_none() -> None:
    ours, theirs = wire.pair()
    wire.send(ours, 1)
    ours.close()
    assert wire.receive(theirs) == (1, [])
    assert wire.receive(theirs) is None
    theirs.close()


@pytest.mark.parametrize("cut", [1, 3, 4, 7])
def test_half_a_message_is_the_end_and_leaks_nothing(cut: int) -> None:
    ours, theirs = wire.pair()
    frame = b"\x20\0\0\0" + b"x" * 32
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket(fileno=os.dup(ours.fileno())) as sock:
        socket.send_fds(sock, [frame[:cut]], [0, 1])
    ours.close()
    assert wire.receive(theirs) is None
    assert len(os.listdir("/proc/self/fd")) == before - 1
    theirs.close()


def test_nobody_there_is_a_broken_pipe_and_no_signal() -> None:
    ours, theirs = wire.pair()
    theirs.close()
    with pytest.raises(BrokenPipeError):
        wire.send(ours, "x" * 100_000)
    ours.close()
