"""Joining what runs already: `cloche enter`, and namespaces shared with another container."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.background import gone, members, refused, running

if TYPE_CHECKING:
    from tests.conftest import Cli

ALL = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
LIST = "for n in cgroup ipc mnt net pid user uts; do stat -L -c %i /proc/self/ns/$n; done"
STATUS = "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):'"
CODES = (
    (("sh", "-c", "exit 7"), 7),
    (("true",), 0),
    (("no-such-command",), 127),
    (("/etc/passwd",), 126),
    (("sh", "-c", "kill -9 $$"), 137),
    (("sh", "-c", "kill -15 $$"), 143),
)


def own(kind: str) -> int:
    """The host's namespace of a kind."""
    return os.stat(f"/proc/self/ns/{kind}").st_ino


@pytest.mark.parametrize("by", ["name", "pid"])
def test_entering_joins_every_namespace(anyone: Cli, rootfs: Path, by: str) -> None:
    script = "echo mine >/dev/shm/file"
    with running(anyone, "--hostname", "walnut", "--rootfs", str(rootfs), script=script) as inside:
        target = inside.name if by == "name" else str(inside.pid)
        done = anyone("enter", target, "sh", "-c", f"hostname; cat /dev/shm/file; id -u; {LIST}")
        name, file, uid, *inodes = done.stdout.splitlines()
        assert (name, file, uid) == ("walnut", "mine", "0"), done.stderr
        theirs = [inside.namespace(kind) for kind in ALL]
        assert list(map(int, inodes)) == theirs
        assert not {own(kind) for kind in ALL} & set(theirs)
        assert inside.answers()


def test_what_enters_is_seen_by_the_container_and_sees_it(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        done = anyone("enter", inside.name, "sh", "-c", "echo $$ $PPID; cat /proc/1/comm; kill -0 1 && echo reached")
        numbers, first, reached = done.stdout.splitlines()
        assert numbers.split()[1] == "0"  # its parent is outside
        assert int(numbers.split()[0]) > 1
        assert (first, reached) == ("cat", "reached")


@pytest.mark.parametrize("dashes", [(), ("--",)])
def test_only_some_namespaces_can_be_joined(root: Cli, rootfs: Path, dashes: tuple[str, ...]) -> None:
    with running(root, "--hostname", "walnut", "--rootfs", str(rootfs)) as inside:
        words = ("sh", "-c", f"hostname; {LIST}")
        done = root("enter", inside.name, "--only", "net,uts", *dashes, *words)
        name, *inodes = done.stdout.splitlines()
        found = dict(zip(ALL, map(int, inodes), strict=True))
        assert name == "walnut", done.stderr
        for kind in ALL:
            assert found[kind] == (inside.namespace(kind) if kind in {"net", "uts"} else own(kind)), kind
        before = root("enter", "--only", "mount", inside.name, *dashes, "ls", "/")
        assert set(before.stdout.split()) == set(os.listdir(rootfs))
        assert root("enter", "--only", "net", inside.name, *dashes, "hostname").stdout == f"{socket.gethostname()}\n"


def test_a_user_can_join_some_namespaces(user: Cli, rootfs: Path) -> None:
    with running(user, "--hostname", "walnut", "--rootfs", str(rootfs)) as inside:
        done = user("enter", inside.name, "--only", "uts", "sh", "-c", f"hostname; {LIST}")
        name, *inodes = done.stdout.splitlines()
        found = dict(zip(ALL, map(int, inodes), strict=True))
        assert name == "walnut", done.stderr
        for kind in ALL:
            assert found[kind] == (inside.namespace(kind) if kind in {"user", "uts"} else own(kind)), kind


def test_dashes_end_the_options(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        for words in (("--", "echo", "--only", "-x"), ("echo", "--only", "-x")):
            done = anyone("enter", inside.name, *words)
            assert done.stdout == "--only -x\n", done.stderr


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--cap-drop", "ALL"),
        ("--cap-add", "SYS_ADMIN"),
        ("--security-opt", "seccomp=unconfined"),
        ("--user", "ann"),
        ("--privileged",),
    ],
)
@pytest.mark.parametrize("kind", ["root", "subuid"])
def test_what_enters_has_no_more_power_than_the_container(
    root: Cli, rootfs: Path, kind: str, options: tuple[str, ...]
) -> None:
    cli = type(root)(kind, root.source, root.python)
    look = f"{STATUS} /proc/self/status; id; cat /proc/self/cgroup"
    with running(cli, *options, "--rootfs", str(rootfs), script=look) as inside:
        done = cli("enter", inside.name, "sh", "-c", look)
        assert done.stdout.splitlines() == inside.said, done.stderr
    assert f"Seccomp:\t{0 if {'seccomp=unconfined', '--privileged'} & set(options) else 2}" in inside.said


def test_what_enters_has_the_containers_own_filter(root: Cli, rootfs: Path, place: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    (place / "profile.json").write_text(json.dumps(profile))
    options = ("--security-opt", f"seccomp={place}/profile.json", "--rootfs", str(rootfs))
    with running(root, *options, script="mkdir /tmp/a 2>/dev/null || echo refused") as inside:
        assert inside.said == ["refused"]
        done = root("enter", inside.name, "mkdir", "/tmp/b")
        assert (done.returncode, "not permitted" in done.stderr) == (1, True), done.stderr


def test_what_enters_is_in_the_containers_groups(root: Cli, rootfs: Path) -> None:
    """A limit of the container holds for what enters it."""
    with running(root, "--pids-limit", "2", "--rootfs", str(rootfs)) as inside:
        done = root("enter", inside.name, "sh", "-c", "true; (true); echo went on")
        assert "went on" not in done.stdout
        assert "fork" in done.stderr
        assert Path(f"/proc/{inside.pid}/cgroup").read_text().count("cloche-") > 0


def test_exit_codes_are_passed_on(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        for command, code in CODES:
            assert anyone("enter", inside.name, *command).returncode == code, command
        assert inside.answers()


def test_options_of_enter(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "-e", "A=container", "-w", "/tmp", "--rootfs", str(rootfs)) as inside:
        done = anyone("enter", "-e", "B=entered", inside.name, "sh", "-c", "echo $A $B; pwd")
        assert done.stdout == "container entered\n/tmp\n", done.stderr
        done = anyone("enter", "-i", "-w", "/etc", inside.name, "sh", "-c", "cat; pwd", input="typed\n")
        assert done.stdout == "typed\n/etc\n", done.stderr
        assert refused(anyone("enter", "-w", "/absent", inside.name, "true"), "/absent")
        assert refused(anyone("enter", "-u", "nobody-here", inside.name, "true"), "nobody-here")


def test_entering_ends_with_the_container(anyone: Cli, rootfs: Path) -> None:
    import subprocess

    with running(anyone, "--rootfs", str(rootfs)) as inside:
        entered = anyone.popen("enter", inside.name, "sh", "-c", "echo in; sleep 600", stdout=subprocess.PIPE)
        assert entered.stdout is not None
        with entered.stdout:
            assert entered.stdout.readline() == b"in\n"
            assert inside.front.stdin is not None
            inside.front.stdin.close()
            assert inside.front.wait(20) == 0
            assert entered.wait(20) == 137


def test_what_is_not_there_cannot_be_entered(anyone: Cli, rootfs: Path) -> None:
    assert refused(anyone("enter", "nobody-here", "true"), "nobody-here")
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        assert anyone("enter", inside.name, "true").returncode == 0
    assert refused(anyone("enter", inside.name, "true"), inside.name)
    assert refused(anyone("enter", str(2**22 + 1), "true"), str(2**22 + 1))
    assert refused(anyone("enter", "--only", "net,time-machine", str(os.getpid()), "true"), "time-machine")


def test_a_user_cannot_enter_what_belongs_to_root(root: Cli, user: Cli, rootfs: Path) -> None:
    with running(root, "--rootfs", str(rootfs)) as inside:
        assert refused(user("enter", inside.name, "true"), inside.name)
        assert refused(user("enter", str(inside.pid), "true"), str(inside.pid))


def test_root_can_enter_what_belongs_to_a_user(root: Cli, user: Cli, rootfs: Path) -> None:
    with running(user, "--hostname", "walnut", "--rootfs", str(rootfs)) as inside:
        done = root("enter", str(inside.pid), "sh", "-c", "hostname; cat /proc/self/uid_map")
        assert done.stdout.split() == ["walnut", "0", "1500", "1"], done.stderr


def test_a_record_of_another_process_with_the_same_number_is_not_believed(root: Cli, rootfs: Path) -> None:
    """Numbers are used again: what counts is the number, the time the process started, and the boot."""
    with running(root, "--rootfs", str(rootfs)) as inside:
        folder = Path(root.state, "containers")
        records = (json.loads(path.read_text()) for path in folder.glob("*.json"))
        record = next(r for r in records if r["name"] == inside.name) | {"groups": [], "stage_start": None}
        for wrong in ({}, {"start": record["start"] - 1}, {"boot": "another"}):
            ghost = record | {"id": "f" * len(record["id"]), "name": "ghost"} | wrong
            path = folder / f"{ghost['id']}.json"
            path.write_text(json.dumps(ghost))
            if wrong:
                assert refused(root("enter", "ghost", "true"), "ghost")
                assert refused(root("run", "--network", "container:ghost", "--rootfs", str(rootfs), "true"), "ghost")
                assert not path.exists()
            else:
                assert root("enter", "ghost", "true").returncode == 0
                path.unlink()
        assert inside.answers()


@pytest.mark.parametrize(
    ("option", "kind"), [("--network", "net"), ("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts")]
)
def test_a_namespace_can_be_shared_with_a_container(anyone: Cli, rootfs: Path, option: str, kind: str) -> None:
    words = ("--rootfs", str(rootfs))
    shareable = ("--ipc", "shareable") if kind == "ipc" else ()  # docker's word, that each is here
    with running(anyone, *shareable, *words) as first:
        with running(anyone, option, f"container:{first.name}", *words) as second:
            for other in ("cgroup", "ipc", "mnt", "net", "pid", "uts"):
                same = first.namespace(other) == second.namespace(other)
                assert same == (other == kind), other
            # what belongs to a namespace can be used only by the users of its owner
            assert first.namespace("user") == second.namespace("user")
        assert first.answers()


def test_processes_can_be_seen_across_containers(anyone: Cli, rootfs: Path) -> None:
    words = ("--rootfs", str(rootfs))
    with running(anyone, *words) as first:
        shared = ("--pid", f"container:{first.name}", *words)
        done = anyone("run", *shared, "sh", "-c", "cat /proc/1/comm; echo $PPID; [ $$ != 1 ] && echo another")
        assert done.stdout == "cat\n0\nanother\n", done.stderr
        assert first.answers()


@pytest.mark.parametrize("kind", ["root", "user"])
def test_nothing_of_a_container_stays_in_a_shared_pid_namespace(root: Cli, rootfs: Path, kind: str) -> None:
    cli = type(root)(kind, root.source, root.python)
    words = ("--rootfs", str(rootfs))
    with running(cli, *words) as first:
        shared = ("--pid", f"container:{first.name}", *words)
        before = members(first.namespace("pid"))
        with running(cli, *shared, script="(sleep 600 </dev/null >/dev/null 2>&1 &)") as second:
            orphans = members(first.namespace("pid")) - before - {second.pid}
        assert len(orphans) == 1
        assert first.answers()
        try:
            assert gone(orphans.pop(), patience=10)
        finally:
            for pid in members(first.namespace("pid")) - before:
                os.kill(pid, 9)


def test_names_and_memory_can_be_shared(anyone: Cli, rootfs: Path) -> None:
    words = ("--rootfs", str(rootfs))
    with running(anyone, "--hostname", "walnut", *words) as first:
        done = anyone("run", "--uts", f"container:{first.name}", *words, "hostname")
        assert done.stdout == "walnut\n", done.stderr


@pytest.mark.parametrize("option", ["--network", "--pid", "--ipc", "--uts"])
def test_a_container_that_is_not_there_cannot_be_shared_with(cli: Cli, rootfs: Path, option: str) -> None:
    assert refused(cli("run", option, "container:nobody-here", "--rootfs", str(rootfs), "true"), "nobody-here")


def test_a_container_with_an_init_is_entered_with_its_restrictions(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--init", "--hostname", "glass", "--rootfs", str(rootfs)) as inside:
        done = anyone(
            "enter", inside.name, "sh", "-c", "hostname; grep -E '^(Seccomp|NoNewPrivs|CapBnd):' /proc/self/status"
        )
    assert done.returncode == 0, done.stderr
    name, *status = done.stdout.split("\n")
    assert name == "glass"
    assert [line.split()[1] for line in sorted(status) if line] == ["00000000800405fb", "1", "2"]
