"""`cloche doctor` where something is lacking: it says what, why, and what to do, and so does its exit code.

The machine lacks things for the command alone: by a filter, a namespace or a mount that was there first.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cloche.linux import files, kernel, mount, namespaces, process, seccomp
from cloche.runtime.checks.confinement import program
from tests.conftest import ORDINARY, Cli
from tests.integration.diagnosing import diagnose, diagnose_lacking, lacking, leaving_nothing

LANDLOCK_CREATE_RULESET, OPENAT2, CLONE3 = 444, 437, 435
KEYCTL, MEMFD_CREATE = kernel.number(250, 219), kernel.number(319, 279)


def refuse(*numbers: int, with_: int) -> Callable[[], None]:
    """A set-up that makes the kernel refuse these calls with an errno, or kill for them (0)."""

    def setup() -> None:
        process.set_no_new_privs()
        for number in numbers:
            seccomp.load(program(number, seccomp.RET_ERRNO | with_ if with_ else seccomp.RET_KILL_PROCESS))

    return setup


def no_user_namespaces(inside: int) -> Callable[[], None]:
    """A set-up: a user namespace in which no further one may be made, as user `inside` of it."""

    def setup() -> None:
        uid, gid = os.geteuid(), os.getegid()
        namespaces.unshare(process.CLONE_NEWUSER)
        namespaces.deny_setgroups(0)
        namespaces.write_id_map(0, "uid", [(inside, uid, 1)])
        namespaces.write_id_map(0, "gid", [(inside, gid, 1)])
        files.write_value("/proc/sys/user/max_user_namespaces", "0")

    return setup


def test_without_user_namespaces_it_names_the_limit(cli: Cli) -> None:
    setup = no_user_namespaces(0)
    found = diagnose_lacking(cli, setup)
    assert (found.code, found.status("user-namespace")) == (1, "missing")
    assert "ENOSPC" in found["user-namespace"]["detail"]
    assert "max_user_namespaces is 0" in found["user-namespace"]["meaning"]
    assert found["user-namespace"]["fix"] == "sysctl -w user.max_user_namespaces=28633"
    assert found["user-namespace"]["fix"] in found.document["fixes"]
    for name in ("overlay", "proc", "id-map", "container"):
        assert found.status(name) == "missing", name
    for name in ("clone3", "openat2", "seccomp"):
        assert found.status(name) == "ok", name
    assert lacking(cli, setup, "run", "host", "true")[0] == 125


def test_an_ordinary_user_is_told_to_use_sudo(user: Cli) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    # uid 1500 of a namespace has no more rights in it than any ordinary user, once it has executed something
    setup = no_user_namespaces(ORDINARY)
    plain = Cli("root", user.source, user.python)
    found = diagnose_lacking(plain, setup)
    assert (found.code, found.document["uid"]) == (1, ORDINARY)
    fix = "sudo sysctl -w user.max_user_namespaces=28633"
    assert found["user-namespace"]["fix"] == fix
    assert found["net-namespace"]["status"] == "missing"
    assert found["net-namespace"]["fix"] == fix
    assert found.document["fixes"] == [fix]
    code, out, _ = lacking(plain, setup, "doctor")
    assert code == 1
    assert out.endswith(f"`cloche run` does not work here for you\n  fix: {fix}\n")


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_a_filter_that_refuses_landlock_and_keys_is_seen(cli: Cli, code: int) -> None:
    setup = refuse(LANDLOCK_CREATE_RULESET, KEYCTL, with_=code)
    found = diagnose_lacking(cli, setup)
    for name in ("landlock", "keyring"):
        assert found.status(name) == "missing"
        assert errno.errorcode[code] in found[name]["detail"]
        assert "seccomp=unconfined" in found[name]["fix"]
        assert not found[name]["needed"]
    ran, _, _ = lacking(cli, setup, "run", "host", "true")
    assert found.code == (0 if ran == 0 else 1)


def test_a_filter_that_hides_clone3_is_seen(cli: Cli) -> None:
    found = diagnose_lacking(cli, refuse(CLONE3, with_=errno.ENOSYS))
    assert found.code == 1
    assert found.status("clone3") == "missing"
    assert "seccomp filter" in found["clone3"]["meaning"]
    assert found.document["fixes"] == ["docker run --security-opt seccomp=unconfined …"]


def test_a_check_that_is_killed_is_a_finding(cli: Cli) -> None:
    found = diagnose_lacking(cli, refuse(OPENAT2, with_=0))
    assert (found.code, found.status("openat2")) == (1, "missing")
    assert "SIGSYS" in found["openat2"]["detail"]
    assert found.status("close_range") == "ok"


def test_a_check_that_hangs_is_a_finding(cli: Cli) -> None:
    def setup() -> None:  # a filter hands the call over to somebody who never answers
        process.set_no_new_privs()
        listener = seccomp.load(program(MEMFD_CREATE, seccomp.RET_USER_NOTIF), seccomp.FLAG_NEW_LISTENER)
        os.set_inheritable(listener, True)

    start = time.monotonic()
    with leaving_nothing():
        found = diagnose_lacking(cli, setup)
    assert time.monotonic() - start < 9
    assert "no answer within 5 s" in found["sealed-memory"]["detail"]
    assert found.status("keyring") == "ok"
    # a process has room for one listener among its filters, and this one has it already
    assert found.status("seccomp-notify") == "missing"
    assert found["seccomp-notify"]["fix"] == "cloche run --security-opt seccomp-log=off …"
    assert found.code == 1


def test_a_covered_proc_is_told(root: Cli) -> None:
    def setup() -> None:
        namespaces.unshare(process.CLONE_NEWNS)
        mount.make_private()
        cover = mount.new_filesystem("tmpfs", {"size": "4k"})
        mount.move_mount(cover, files.AT_FDCWD, "/proc/bus")

    found = diagnose_lacking(root, setup)
    assert (found.code, found.status("proc")) == (1, "missing")
    assert "covered" in found["proc"]["meaning"]
    assert found.document["fixes"] == ["docker run --security-opt systempaths=unconfined …"]


def test_a_state_directory_nobody_can_make_is_told(root: Cli) -> None:
    found = diagnose(root, env={"CLOCHE_STATE": "/proc/nowhere"})
    assert (found.code, found.status("state")) == (1, "missing")
    assert "CLOCHE_STATE" in found["state"]["fix"]
    assert root("run", "host", "true", env={"CLOCHE_STATE": "/proc/nowhere"}).returncode == 125


def test_a_helper_that_refuses_is_heard(user: Cli, tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("newuidmap"):
        pytest.skip("needs root and uidmap")
    ids = tmp_path / "ids"
    ids.write_text(f"{ORDINARY}:300000:65536\n")  # a range for a number that is nobody's

    def setup() -> None:
        namespaces.unshare(process.CLONE_NEWNS)
        mount.make_private()
        for path in ("/etc/subuid", "/etc/subgid"):
            mount.move_mount(mount.open_tree(files.AT_FDCWD, str(ids)), files.AT_FDCWD, path)

    found = diagnose_lacking(user, setup)
    assert (found.code, found.status("id-map")) == (1, "missing")
    assert "newuidmap" in found["id-map"]["detail"]
    assert found["id-map"]["fix"].startswith("sudo useradd")
    assert lacking(user, setup, "run", "host", "true")[0] == 125
