"""Machines that exist only on paper, so that a plan for them is the same wherever it is computed.

Three kinds of caller (root, an ordinary user with one id, one with a range of ids) on three kinds of
machine (cgroup v1, v2, hybrid). The groups are directories of a test's own; everything else is a constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.images import host
from cloche.images.host import EMPTY, HostImage
from cloche.runtime import idmaps
from cloche.runtime.host import Groups, Host
from cloche.sandbox import config

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CALLERS = ("root", "user", "subuid")
GROUPS = ("v1", "v2", "hybrid")
CONTROLLERS = ("memory", "pids", "cpu", "cpuset", "blkio")
WHOLE = ((0, 0, 4294967295),)
IMAGE = HostImage(
    trees=(("/etc", ("shadow", "ssh/ssh_host_rsa_key")), ("/usr", ()), ("/var", ("lib/private",))),
    lent=("/opt/python",),
    directories=EMPTY,
    symlinks=(("/bin", "usr/bin"), ("/lib", "usr/lib")),
    path=("/opt/python/bin",),
)


def machine(caller: str, kind: str, top: Path) -> Host:
    """The facts of one machine; its cgroups are made below `top`."""
    privileged = caller == "root"
    uid = 0 if privileged else 1000
    return Host(
        uid=uid,
        gid=uid,
        privileged=privileged,
        kernel=(6, 1),
        machine="x86_64",
        id_map=WHOLE,
        groups=_v2(top) if kind == "v2" else _v1(kind, top, privileged=privileged),
        landlock=7,
    )


def _v1(kind: str, top: Path, *, privileged: bool) -> Groups:
    """One hierarchy for each controller; an ordinary user has none of them, as v1 cannot be delegated."""
    own, mounts = {}, {}
    for name in CONTROLLERS if privileged else ():
        place = top / "cgroup" / name
        place.mkdir(parents=True)
        mounts[name] = own[name] = str(place)
        if name == "cpuset":
            (place / "cpuset.cpus").write_text("0-1\n")
            (place / "cpuset.mems").write_text("0\n")
    v2 = str(top / "cgroup/unified") if kind == "hybrid" else ""
    return Groups(kind=kind, own=own, mounts=mounts, v2=v2, v2_mount=v2)


def _v2(top: Path) -> Groups:
    place = top / "cgroup"
    place.mkdir(parents=True)
    (place / "cgroup.subtree_control").write_text("cpu memory pids\n")
    every = dict.fromkeys(CONTROLLERS, str(place))
    return Groups(kind="v2", own=every, mounts=every, v2=str(place), v2_mount=str(place))


def settle(monkeypatch: pytest.MonkeyPatch, caller: str) -> None:
    """Everything planning asks of this very machine gets the answer of the one on paper."""
    ranges = [(100000, 65536)] if caller == "subuid" else []
    monkeypatch.setattr(idmaps, "subordinate", lambda *_: ranges)
    monkeypatch.setattr(idmaps, "_helper", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(idmaps, "own_name", lambda _: "ann")
    monkeypatch.setenv("CLOCHE_ROOT", "/golden/store")
    monkeypatch.setattr(host, "host_image", lambda _: IMAGE)
    monkeypatch.setattr(config, "mount_points", lambda: ["/", "/proc", "/sys", "/dev", "/var/data"])
    monkeypatch.setattr(config, "shared_memory", lambda: ["/dev/shm"])
    for name in ("LANG", "LC_ALL", "TZ", "CLOCHE_FAILPOINT"):
        monkeypatch.delenv(name, raising=False)
