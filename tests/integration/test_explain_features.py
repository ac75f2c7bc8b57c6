"""`cloche explain` says what each option brings, as an operation that can be read by a program."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.background import running

if TYPE_CHECKING:
    from tests.conftest import Cli


def plan(cli: Cli, rootfs: Path, *options: str) -> tuple[list[dict[str, object]], dict[str, dict[str, object]]]:
    """The steps and the receipt for these options."""
    done = cli("explain", "--format", "json", *options, "--rootfs", str(rootfs), "true")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    return document["steps"], document["receipt"]


@pytest.mark.parametrize(
    ("options", "operation", "text"),
    [
        (("--hostname", "walnut"), "SetHostName", 'sethostname("walnut")'),
        (("--domainname", "orchard"), "SetHostName", 'setdomainname("orchard")'),
        (("-v", "/usr:/walnut:ro"), "OpenTree", '"/usr"'),
        (("-v", "/usr:/walnut:ro"), "Attach", '"/walnut"'),
        (("--mount", "type=bind,src=/usr,dst=/walnut"), "Attach", '"/walnut"'),
        (("--tmpfs", "/walnut:size=64k"), "Filesystem", "size=65536"),
        (("--read-only",), "SealRoot", "MOUNT_ATTR_RDONLY"),
        (("--shm-size", "123k"), "", "size=125952"),
        (("--init",), "Execute", "fork()"),
        (("--add-host", "walnut:10.0.0.5"), "File", "/etc/hosts"),
        (("--dns", "10.0.0.53"), "File", "/etc/resolv.conf"),
        (("--user", "walnut"), "FindUser", "walnut"),
        (("--group-add", "walnut"), "FindUser", "/etc/group"),
        (("--uidmap", "0:700000:77"), "MapIds", "0 700000 77"),
        (("--gidmap", "0:700000:77"), "MapIds", "0 700000 77"),
        (("--time-offset", "monotonic=77"), "OffsetClocks", "monotonic 77 0"),
        (("-w", "/walnut"), "WorkingDirectory", 'chdir("/walnut")'),
        (("--network", "ns:/proc/self/ns/net"), "OpenNamespaces", "/proc/self/ns/net"),
    ],
)
def test_each_option_is_a_step(root: Cli, rootfs: Path, options: tuple[str, ...], operation: str, text: str) -> None:
    def says(step: dict[str, object]) -> str:
        return f"{step['calls']} {step['meaning']}".replace("\\\\n", "\n")

    def found(steps: list[dict[str, object]]) -> bool:
        return any(operation in {"", step["operation"]} and text in says(step) for step in steps)

    with_option, _ = plan(root, rootfs, *options)
    assert found(with_option)
    if "--group-add" not in options:
        without, _ = plan(root, rootfs)
        assert not found(without) or operation == "File"


@pytest.mark.parametrize(
    ("option", "kind", "flag", "layer"),
    [
        ("--uts", "uts", "CLONE_NEWUTS", "uts"),
        ("--ipc", "ipc", "CLONE_NEWIPC", "ipc"),
        ("--pid", "pid", "CLONE_NEWPID", "pid"),
        ("--network", "net", "CLONE_NEWNET", "network"),
        ("--userns", "user", "CLONE_NEWUSER", "user"),
    ],
)
def test_each_namespace_is_in_the_plan_and_in_the_receipt(
    root: Cli, rootfs: Path, option: str, kind: str, flag: str, layer: str
) -> None:
    steps, receipt = plan(root, rootfs)
    clone = next(s for s in steps if s["operation"] == "Clone")
    assert flag in str(clone["calls"])
    assert receipt[layer]["enforced"] is True
    steps, receipt = plan(root, rootfs, option, "host")
    clone = next(s for s in steps if s["operation"] == "Clone")
    assert flag not in str(clone["calls"])
    assert receipt[layer]["enforced"] is False
    if kind != "user":
        with running(root, "--rootfs", str(rootfs)) as other:
            steps, receipt = plan(root, rootfs, option, f"container:{other.name}")
            held = next(s for s in steps if s["operation"] == "OpenProcess")
            assert f"pidfd_open({other.pid})" in str(held["calls"])
            assert flag in str(held["calls"])


def test_each_kind_of_user_is_told_its_ids(anyone: Cli, rootfs: Path) -> None:
    _, receipt = plan(anyone, rootfs)
    says = {"root": "a range of its own", "user": "one id", "subuid": "further ids come from /etc/subuid"}
    assert says[anyone.kind] in str(receipt["user"]["detail"])


def test_explaining_changes_nothing(anyone: Cli, rootfs: Path, place: Path) -> None:
    options = ("--name", "walnut", "--cidfile", str(place / "id"), "--pidfile", str(place / "pid"))
    plan(anyone, rootfs, *options, "-v", f"{place}:/new/place")
    assert os.listdir(place) == []
    assert not (rootfs / "new").exists()
    assert not any("walnut" in path.read_text() for path in Path(anyone.state).glob("containers/*.json"))


def test_every_step_says_what_it_means(root: Cli, rootfs: Path) -> None:
    steps, _ = plan(root, rootfs)
    assert [s["step"] for s in steps] == list(range(1, len(steps) + 1))
    assert all(s["calls"] and s["meaning"] and s["side"] in {"outside", "inside"} for s in steps)
