"""cloche.linux.seccomp: filters that refuse and kill, and calls answered by someone else."""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Callable

import pytest

from cloche.linux import capabilities, files, kernel, process, seccomp
from cloche.linux.seccomp import FLAG_NEW_LISTENER, RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS, RET_USER_NOTIF

from .forked import clone, ended, enter_namespaces, fails, in_child, status

GETPPID = kernel.number(110, 173)


def program(nr: int, action: int) -> bytes:
    """A filter that answers one system call of this machine's own ABI, and allows all others."""
    code = [
        (0x20, 0, 0, 4),  # load the ABI
        (0x15, 0, 3, seccomp.AUDIT_ARCH_NATIVE),
        (0x20, 0, 0, 0),  # load the number
        (0x15, 0, 1, nr),
        (0x06, 0, 0, action),
        (0x06, 0, 0, RET_ALLOW),
    ]
    return b"".join(op.to_bytes(2, "little") + bytes((yes, no)) + k.to_bytes(4, "little") for op, yes, no, k in code)


def getppid(*args: int) -> int:
    return kernel.call("getppid", GETPPID, *args)


def test_a_filter_refuses_with_its_errno() -> None:
    def child() -> tuple[int, int, str]:
        process.set_no_new_privs()
        before = seccomp.mode()
        assert seccomp.load(program(GETPPID, RET_ERRNO | errno.EXFULL)) == 0
        with fails(errno.EXFULL, "getppid(2)"):
            getppid()
        seccomp.load(program(GETPPID, RET_ERRNO | errno.EPERM), seccomp.FLAG_TSYNC | seccomp.FLAG_LOG)
        with fails(errno.EPERM, "getppid(2)"):  # the last filter's word, as the actions are alike
            getppid()
        return before, seccomp.mode(), status("Seccomp_filters")

    before, after, filters = in_child(child)
    assert (after, int(filters)) == (seccomp.MODE_FILTER, int(in_child(lambda: status("Seccomp_filters"))) + 2)
    assert before in (seccomp.MODE_DISABLED, seccomp.MODE_FILTER)


def test_a_filter_kills() -> None:
    def victim() -> int:
        process.set_no_new_privs()
        seccomp.load(program(GETPPID, RET_KILL_PROCESS))
        return getppid()

    code, number = in_child(lambda: ended(clone(0, victim)[1]))
    assert code in (process.CLD_KILLED, process.CLD_DUMPED)
    assert number == signal.SIGSYS


def test_loading_is_refused() -> None:
    def child() -> None:
        enter_namespaces()
        capabilities.set_(0, 0, 0)
        with fails(errno.EACCES, "seccomp(2)"):  # neither no_new_privs nor CAP_SYS_ADMIN
            seccomp.load(program(GETPPID, RET_ALLOW))
        process.set_no_new_privs()
        for nonsense in (b"", bytes(8), program(GETPPID, RET_ALLOW) * 700):
            with fails(errno.EINVAL, "seccomp(2)"):
                seccomp.load(nonsense)
        with pytest.raises(ValueError, match="eight bytes"):
            seccomp.load(b"123")

    in_child(child)


def test_actions() -> None:
    for action in (RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS, seccomp.RET_TRAP, seccomp.RET_LOG, RET_USER_NOTIF):
        assert seccomp.action_available(action)
    assert not seccomp.action_available(0x12340000)


def test_flags() -> None:
    def known() -> list[int]:
        return [flag for bit in range(31) if seccomp.flag_available(flag := 1 << bit)]

    def refused() -> list[int]:
        process.set_no_new_privs()
        seccomp.load(program(kernel.number(317, 277), RET_ERRNO | errno.EPERM))
        return known()

    flags = [seccomp.FLAG_TSYNC, seccomp.FLAG_LOG, seccomp.FLAG_SPEC_ALLOW, FLAG_NEW_LISTENER]
    found = in_child(known)
    assert found[:4] == flags
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert (seccomp.FLAG_WAIT_KILLABLE_RECV in found) == (release >= (5, 19))
    assert in_child(lambda: (known(), seccomp.mode())[1]) == seccomp.MODE_DISABLED
    assert in_child(refused) == []


def answering(caller: Callable[[], int], answer: Callable[[int, seccomp.Notification], object]) -> int:
    """Let a filtered child run `caller`, answer its getppid; returns what it exits with."""
    number, tell = os.pipe()

    def filtered() -> int:
        process.set_no_new_privs()
        fd = seccomp.load(program(GETPPID, RET_USER_NOTIF), FLAG_NEW_LISTENER)
        os.write(tell, bytes((fd, os.get_inheritable(fd))))
        return caller()

    pid, pidfd = clone(0, filtered)
    fd, inheritable = os.read(number, 2)
    assert not inheritable
    listener = process.pidfd_getfd(pidfd, fd)
    notification = seccomp.notify_receive(listener)
    assert (notification.pid, notification.nr) == (pid, GETPPID)
    assert (notification.arch, notification.flags) == (seccomp.AUDIT_ARCH_NATIVE, 0)
    assert seccomp.notify_id_valid(listener, notification.id)
    answer(listener, notification)
    code, result = ended(pidfd)
    assert code == process.CLD_EXITED
    assert not seccomp.notify_id_valid(listener, notification.id)
    with fails(errno.ENOENT, "SECCOMP_IOCTL_NOTIF_SEND"):
        seccomp.notify_respond(listener, notification.id)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    assert poll.poll(1000) == [(listener, select.POLLHUP)]  # nobody is left to notify
    if kernel.release() >= (6, 11):
        with fails(errno.ENOENT, "SECCOMP_IOCTL_NOTIF_RECV"):
            seccomp.notify_receive(listener)
    return result


def test_a_call_is_answered_with_a_value_and_its_arguments_are_seen() -> None:
    def child() -> tuple[int, tuple[int, ...]]:
        seen: list[int] = []

        def answer(listener: int, call: seccomp.Notification) -> None:
            seen.extend(call.args)
            seccomp.notify_respond(listener, call.id, value=4242)

        code = answering(lambda: 1 if getppid(1, 2**63 + 5, 3, 4, 5, -1) == 4242 else 2, answer)
        return code, tuple(seen)

    assert in_child(child) == (1, (1, 2**63 + 5, 3, 4, 5, 2**64 - 1))


def test_a_call_is_answered_with_an_errno() -> None:
    def caller() -> int:
        with fails(errno.EXDEV, "getppid(2)"):
            getppid()
        return 3

    def answer(listener: int, call: seccomp.Notification) -> None:
        seccomp.notify_respond(listener, call.id, error=errno.EXDEV)

    assert in_child(lambda: answering(caller, answer)) == 3


def test_a_call_is_carried_out_after_all() -> None:
    def child() -> int:
        me = os.getpid()

        def answer(listener: int, call: seccomp.Notification) -> None:
            seccomp.notify_respond(listener, call.id, flags=seccomp.NOTIFY_CONTINUE)

        return answering(lambda: 4 if getppid() == me else 5, answer)

    assert in_child(child) == 4


@pytest.mark.parametrize("target", [-1, 77])
@pytest.mark.parametrize("send", [False, True])
def test_a_descriptor_is_handed_over(target: int, send: bool) -> None:
    def caller() -> int:
        fd = getppid()
        exact = target in (-1, fd)
        return 6 if exact and os.pread(fd, 10, 0) == b"handed" and not os.get_inheritable(fd) else 7

    def answer(listener: int, call: seccomp.Notification) -> None:
        memory = files.memfd_create("bell")
        os.write(memory, b"handed")
        with fails(errno.EBADF, "SECCOMP_IOCTL_NOTIF_ADDFD"):
            seccomp.notify_addfd(listener, call.id, 9999)
        number = seccomp.notify_addfd(listener, call.id, memory, target=target, cloexec=True, send=send)
        if not send:
            seccomp.notify_respond(listener, call.id, value=number)

    assert in_child(lambda: answering(caller, answer)) == 6
