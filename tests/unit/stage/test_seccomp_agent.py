"""cloche.stage.seccomp_agent: the listener on its way from a filtered process to an agent, for real."""

from __future__ import annotations

import errno
import json
import os
import re
import select
import socket
from typing import TYPE_CHECKING, Any

import pytest

from cloche.linux import kernel, process, seccomp
from cloche.runtime.seccomp.compile import Filter, compile_filter
from cloche.stage import seccomp_agent, wire
from cloche.stage.operations.identity import LoadSeccomp
from cloche.stage.scene import Inside

if TYPE_CHECKING:
    from pathlib import Path

STATE = json.dumps({"ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": 7, "state": {"id": "a" * 300_000}}).encode()
KINDS = {"stream": socket.SOCK_STREAM, "packets": socket.SOCK_SEQPACKET}
MKDIRAT = kernel.number(258, 34)


def agent_at(path: str, kind: socket.SocketKind) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, kind)
    listening.bind(path)
    listening.listen()
    return listening


@pytest.mark.parametrize("kind", KINDS)
def test_the_agent_gets_the_state_with_the_descriptor(tmp_path: Path, kind: str) -> None:
    state = STATE if kind == "stream" else STATE[:1000]
    reading, writing = os.pipe()
    pid = -1
    with agent_at(str(tmp_path / "agent"), KINDS[kind]) as listening:
        pid = os.fork()
        if pid == 0:
            try:
                seccomp_agent.send_listener(str(tmp_path / "agent"), state, writing)
                os._exit(0)
            finally:
                os._exit(1)
        taken = listening.accept()[0]
        with taken:
            taken.settimeout(10)
            data, fds, _, _ = socket.recv_fds(taken, 1 << 20, 5)
            assert len(fds) == 1  # with the first byte
            while kind == "stream" and (more := taken.recv(1 << 20)):
                data += more
    assert os.waitpid(pid, 0)[1] == 0
    assert data == state
    os.write(fds[0], b"the same pipe")
    assert os.read(reading, 100) == b"the same pipe"
    for fd in (reading, writing, fds[0]):
        os.close(fd)


def test_an_agent_that_is_not_there(tmp_path: Path) -> None:
    def fails(path: str, state: bytes = b"{}") -> tuple[int | None, str]:
        with pytest.raises(OSError, match=re.escape(path)) as caught:
            seccomp_agent.send_listener(path, state, 0)
        return caught.value.errno, caught.value.filename

    path = str(tmp_path / "agent")
    assert fails(path) == (errno.ENOENT, path)
    agent_at(path, socket.SOCK_STREAM).close()
    assert fails(path) == (errno.ECONNREFUSED, path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as packets:
        packets.bind(path + "2")
        assert fails(path + "2") == (errno.EPROTOTYPE, path + "2")
    with agent_at(path + "3", socket.SOCK_SEQPACKET):
        assert fails(path + "3", bytes(1 << 24)) == (errno.EMSGSIZE, path + "3")
    assert fails("/" + "x" * 200)[1] == "/" + "x" * 200


def test_an_agent_that_does_not_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp_agent, "PATIENCE", 0.1)
    with agent_at(str(tmp_path / "agent"), socket.SOCK_STREAM), pytest.raises(TimeoutError, match="does not answer"):
        seccomp_agent.send_listener(str(tmp_path / "agent"), bytes(1 << 24), 0)


def compiled(*notified: str) -> Filter:
    rule = {"names": list(notified), "action": "SCMP_ACT_NOTIFY"}
    profile: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": "/run/agent"}
    return compile_filter(profile, kernel.MACHINE)


@pytest.mark.parametrize(
    ("notified", "way"),
    [
        (("mkdirat",), seccomp_agent.SEND),
        (("mkdirat", "sendmsg", "sendto"), seccomp_agent.BY_NUMBER),
        (("mkdirat", "sendmsg", "read", "close"), seccomp_agent.BY_NUMBER),
    ],
)
def test_it_gets_out_of_a_filtered_process(notified: tuple[str, ...], way: str) -> None:
    made = compiled(*notified)
    assert (seccomp_agent.BY_NUMBER if made.by_number else seccomp_agent.SEND) == way
    ours, theirs = wire.pair()
    pid = os.fork()
    if pid == 0:
        try:
            process.die_with_parent()
            process.set_no_new_privs()
            LoadSeccomp(made.program, made.flags, False, agent=way).execute(Inside(theirs, []))
            try:
                kernel.call("mkdirat", MKDIRAT, -1, 0, 0)
            except OSError as error:
                os._exit(error.errno or 0)
        finally:
            os._exit(99)
    theirs.close()
    pidfd = process.pidfd_open(pid)
    assert select.select([ours], [], [], 10)[0]
    received = wire.receive(ours)
    assert received is not None
    (kind, number), fds = received
    assert (kind, number >= 0) == ("agent", way == seccomp_agent.BY_NUMBER)
    seccomp_agent.collect(ours, pidfd, number, fds)
    (listener,) = fds
    seen = []
    while MKDIRAT not in seen:
        assert select.select([listener], [], [], 10)[0]
        event = seccomp.notify_receive(listener)
        assert event.pid == pid
        seen.append(event.nr)
        if event.nr == MKDIRAT:
            seccomp.notify_respond(listener, event.id, error=77)
        else:
            seccomp.notify_respond(listener, event.id, flags=seccomp.NOTIFY_CONTINUE)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 77
    assert len(seen) >= (3 if "read" in notified else 1)
    for fd in (listener, pidfd):
        os.close(fd)
    ours.close()
