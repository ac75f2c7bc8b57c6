"""cloche.linux.landlock: files, ports and scopes refused, and what the kernel's age allows."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from cloche.linux import capabilities, landlock, process
from cloche.linux.files import Fd

from .forked import clone, ended, enter_namespaces, fails, in_child
from .mounts import outcome

ABI = landlock.abi()
WRITE = landlock.FS_WRITE_FILE | landlock.FS_MAKE_REG | landlock.FS_REMOVE_FILE

needs_landlock = pytest.mark.skipif(ABI == 0, reason="landlock is absent or off in this kernel")
needs_ports = pytest.mark.skipif(ABI < 4, reason="landlock ABI 4 (Linux 6.7) brings TCP ports")
needs_scopes = pytest.mark.skipif(ABI < 6, reason="landlock ABI 6 (Linux 6.12) brings scopes")


def restrict(handled_fs: int, handled_net: int = 0, scoped: int = 0, *, allow: Path | None = None) -> None:
    process.set_no_new_privs()
    with Fd(landlock.create_ruleset(handled_fs, handled_net, scoped, abi=ABI)) as rules:
        if allow is not None:
            with Fd(os.open(allow, os.O_PATH)) as place:
                landlock.add_path_rule(rules.number, handled_fs, place.number)
        landlock.restrict_self(rules.number)


def test_rights_by_abi() -> None:
    bits = [landlock.handled(abi).bit_count() for abi in range(9)]
    assert bits == [0, 13, 14, 15, 15, 16, 16, 16, 16]
    assert [landlock.handled_net(abi) for abi in (0, 3, 4, 7)] == [0, 0, 3, 3]
    assert [landlock.handled_scopes(abi) for abi in (0, 5, 6, 7)] == [0, 0, 3, 3]
    assert landlock.handled(1) | landlock.FS_REFER == landlock.handled(2)


@needs_landlock
def test_a_write_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "file").write_text("kept")

    def child() -> list[str]:
        restrict(WRITE, allow=tmp_path / "open")
        (tmp_path / "open" / "new").write_text("allowed")
        return [
            outcome(lambda: (tmp_path / "file").write_text("lost")),
            outcome(lambda: (tmp_path / "new").write_text("lost")),
            outcome((tmp_path / "file").unlink),
            outcome((tmp_path / "file").read_text),
        ]

    assert in_child(child) == ["EACCES", "EACCES", "EACCES", "done"]
    assert (tmp_path / "file").read_text() == "kept"
    assert (tmp_path / "open" / "new").read_text() == "allowed"


@needs_landlock
def test_everything_this_abi_handles_can_be_handled(tmp_path: Path) -> None:
    def child() -> list[str]:
        restrict(landlock.handled(ABI), landlock.handled_net(ABI), landlock.handled_scopes(ABI), allow=tmp_path)
        return [outcome(lambda: os.listdir("/etc")), outcome(lambda: os.listdir(tmp_path))]

    assert in_child(child) == ["EACCES", "done"]


@needs_landlock
def test_rule_sets_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with fails(errno.ENOMSG, "landlock_create_ruleset(2)"):
        landlock.create_ruleset(0, abi=ABI)
    with fails(errno.EINVAL, "landlock_create_ruleset(2)"):
        landlock.create_ruleset(1 << 60, abi=ABI)
    for abi, net, scope in ((3, 1, 0), (5, 0, 1)):
        with pytest.raises(ValueError, match=f"ABI {abi}"):
            landlock.create_ruleset(1, net, scope, abi=abi)
    with Fd(landlock.create_ruleset(WRITE, abi=1)) as rules:
        assert not os.get_inheritable(rules.number)
        with Fd(os.open(tmp_path / "file", os.O_PATH)) as file:
            with fails(errno.EINVAL, "landlock_add_rule(2)"):  # a right of directories
                landlock.add_path_rule(rules.number, WRITE, file.number)
            landlock.add_path_rule(rules.number, WRITE & landlock.FS_OF_A_FILE, file.number)
            with fails(errno.EINVAL, "landlock_add_rule(2)"):  # not handled by this set
                landlock.add_path_rule(rules.number, landlock.FS_READ_FILE, file.number)

    def child() -> None:
        process.set_no_new_privs()
        with fails(errno.EBADF, "landlock_restrict_self(2)"):
            landlock.restrict_self(-1)

    in_child(child)


@needs_landlock
def test_without_no_new_privs_it_takes_privilege() -> None:
    def child() -> None:
        enter_namespaces()
        capabilities.set_(0, 0, 0)
        with Fd(landlock.create_ruleset(WRITE, abi=1)) as rules, fails(errno.EPERM, "landlock_restrict_self(2)"):
            landlock.restrict_self(rules.number)

    in_child(child)


@needs_ports
def test_ports_are_refused_but_the_allowed_one() -> None:
    def bind(port: int) -> str:
        with socket.socket() as sock:
            return outcome(lambda: sock.bind(("127.0.0.1", port)))

    def child() -> list[str]:
        enter_namespaces(process.CLONE_NEWNET)
        process.set_no_new_privs()
        with Fd(landlock.create_ruleset(0, landlock.NET_BIND_TCP, abi=4)) as rules:
            landlock.add_port_rule(rules.number, landlock.NET_BIND_TCP, 8080)
            with fails(errno.EINVAL, "landlock_add_rule(2)"):
                landlock.add_port_rule(rules.number, landlock.NET_BIND_TCP, 65536)
            landlock.restrict_self(rules.number)
        return [bind(8080), bind(8081)]

    allowed, refused = in_child(child)
    assert allowed != "EACCES"
    assert refused == "EACCES"


@needs_scopes
def test_a_signal_does_not_leave_the_scope() -> None:
    def child() -> tuple[int, int]:
        outside = os.getpid()

        def restricted() -> int:
            restrict(0, 0, landlock.SCOPE_SIGNAL)
            return 1 if outcome(lambda: os.kill(outside, 0)) == "EPERM" else 2

        return ended(clone(0, restricted)[1])

    assert in_child(child) == (process.CLD_EXITED, 1)
