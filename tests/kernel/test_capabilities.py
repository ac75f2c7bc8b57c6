"""cloche.linux.capabilities: the sets as /proc shows them, and what can no longer be done."""

from __future__ import annotations

import errno
import os

import pytest

from cloche.linux import capabilities, namespaces, process

from .forked import enter_namespaces, fails, in_child, needs_root, status

CHOWN, KILL = capabilities.mask(["CAP_CHOWN"]), capabilities.mask(["CAP_KILL"])


def shown(*fields: str) -> list[int]:
    return [int(status(field), 16) for field in fields]


def test_names_and_masks() -> None:
    assert len(capabilities.NAMES) == 41
    assert capabilities.NAMES.index("CAP_SYS_ADMIN") == 21
    assert capabilities.NAMES.index("CAP_AUDIT_READ") == 37
    assert capabilities.mask(["CAP_CHECKPOINT_RESTORE", "CAP_CHOWN"]) == 1 << 40 | 1
    assert capabilities.names(1 << 40 | 1) == ["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"]
    assert capabilities.names(1 << 50) == ["CAP_50"]
    assert capabilities.names(0) == []
    with pytest.raises(ValueError, match="'CAP_BELL'"):
        capabilities.mask(["CAP_CHOWN", "CAP_BELL"])


def test_what_the_kernel_says_is_what_proc_shows() -> None:
    assert list(capabilities.get()) == shown("CapEff", "CapPrm", "CapInh")
    assert [capabilities.bounding(), capabilities.ambient()] == shown("CapBnd", "CapAmb")
    with open("/proc/sys/kernel/cap_last_cap") as file:
        assert capabilities.last_cap() == int(file.read())


def test_dropping_shows_in_proc_and_cannot_be_undone() -> None:
    def child() -> list[int]:
        enter_namespaces()
        capabilities.drop_bounding(CHOWN | KILL)
        capabilities.set_(CHOWN, CHOWN | KILL, KILL)
        found = shown("CapBnd", "CapEff", "CapPrm", "CapInh")
        with fails(errno.EPERM, "capset(2)"):
            capabilities.set_(CHOWN, (1 << 41) - 1, KILL)
        with fails(errno.EPERM, "prctl(2)"):  # CAP_SETPCAP has gone
            capabilities.drop_bounding(0)
        capabilities.drop_bounding(CHOWN | KILL)  # nothing left to do, so nothing to refuse
        with fails(errno.EPERM, "unshare(2)"):
            namespaces.unshare(process.CLONE_NEWUTS)
        return found

    assert in_child(child) == [CHOWN | KILL, CHOWN, CHOWN | KILL, KILL]


def test_the_high_half_is_set_too() -> None:
    high = capabilities.mask(["CAP_BPF", "CAP_SYSLOG"])

    def child() -> list[int]:
        enter_namespaces()
        capabilities.set_(high, high | CHOWN, high)
        return [*capabilities.get(), *shown("CapEff", "CapPrm", "CapInh")]

    assert in_child(child) == [high, high | CHOWN, high] * 2


def test_ambient_capabilities_survive_exec() -> None:
    def child() -> tuple[int, int, str]:
        enter_namespaces()
        capabilities.set_(*(capabilities.mask(capabilities.NAMES),) * 2, CHOWN | KILL)
        capabilities.set_securebits(capabilities.SECBIT_NOROOT)
        with fails(errno.EPERM, "prctl(2)"):
            capabilities.ambient_raise(1 << 21)  # not inheritable
        capabilities.ambient_raise(CHOWN | KILL)
        raised = capabilities.ambient()
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.dup2(writing, 1)
            os.execv("/bin/grep", ["grep", "CapEff", "/proc/self/status"])
        os.wait()
        capabilities.ambient_clear()
        return raised, capabilities.ambient(), os.read(reading, 100).decode().split()[1]

    raised, cleared, after_exec = in_child(child)
    assert (raised, cleared) == (CHOWN | KILL, 0)
    assert int(after_exec, 16) == CHOWN | KILL


def test_securebits_and_their_locks() -> None:
    def child() -> int:
        enter_namespaces()
        locked = capabilities.SECBIT_NOROOT | capabilities.SECBIT_NOROOT << 1
        capabilities.set_securebits(locked)
        with fails(errno.EPERM, "prctl(2)"):
            capabilities.set_securebits(0)
        return capabilities.securebits() ^ locked

    assert in_child(child) == 0


@needs_root
@pytest.mark.parametrize("keep", [True, False])
def test_keeping_capabilities_over_setuid(keep: bool) -> None:
    def child() -> list[int]:
        capabilities.keep_on_setuid(keep)
        os.setresuid(65534, 65534, 65534)
        return shown("CapPrm", "CapEff")

    permitted, effective = in_child(child)
    assert bool(permitted) is keep
    assert effective == 0
