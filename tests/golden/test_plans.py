"""The plan and receipt for a set of options, compared with what is kept in plans/.

`plain` is kept in full for each machine, the other sets of options as what they change in it. When a change
is meant: UPDATE_GOLDEN=1 writes the files anew, and the difference is read in review.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

import pytest

from cloche.cli.steps import describe
from cloche.errors import ClocheError
from cloche.runtime.planning import plan
from cloche.sandbox.config import build
from cloche.sandbox.options import Options
from tests.golden.machines import CALLERS, GROUPS, machine, settle

KEPT = Path(__file__).parent / "plans"
ID = "0123456789ab" * 6
SAME = (("root", "hybrid"), ("user", "v2"), ("subuid", "v2"))
EVERY = tuple((caller, kind) for caller in CALLERS for kind in GROUPS)
SETS: dict[str, tuple[dict[str, object], tuple[tuple[str, str], ...]]] = {
    "limits": (
        {
            "memory": "256m",
            "memory_swap": "512m",
            "memory_reservation": "128m",
            "cpus": 0.5,
            "cpu_shares": 512,
            "cpuset_cpus": "0",
            "pids_limit": 50,
            "blkio_weight": 500,
            "ulimit": ("nofile=64:128",),
            "oom_score_adj": 500,
        },
        EVERY,
    ),
    "unenforced": ({"memory": "256m", "io_weight": 50, "allow_unenforced": True}, (*SAME, ("user", "v1"))),
    "host": ({"image": "host", "rootfs": ""}, SAME),
    "host-read-only": ({"image": "host", "rootfs": "", "read_only": True}, SAME),
    "rootfs-rw": ({"rootfs": "ROOTFS:rw"}, SAME),
    "rootfs-ro": ({"rootfs": "ROOTFS:ro", "tmpfs": ("/run:size=1m", "/run/deep:exec,mode=755")}, SAME),
    "volumes": (
        {
            "volume": ("SHARED:/data", "SHARED:/data/inner:ro,bind", "SHARED/file:/etc/file:ro"),
            "mount": (
                "type=tmpfs,dst=/scratch,tmpfs-size=1m,ro",
                "type=bind,src=SHARED,dst=/m,bind-propagation=rslave",
            ),
            "device": ("/dev/full:/dev/brim:r",),
        },
        SAME,
    ),
    "named-volumes": (
        {
            "volume": ("golden-data:/data", "golden-data:/data/in:ro,nocopy", "/unnamed"),
            "mount": ("type=volume,src=golden-data,dst=/part,volume-subpath=a/b",),
        },
        SAME,
    ),
    "names": (
        {
            "hostname": "box",
            "domainname": "example.org",
            "add_host": ("db:10.0.0.5", "six=fd00::1"),
            "dns": ("10.0.0.1",),
            "dns_search": ("example.org",),
            "sysctl": ("kernel.msgmax=1000", "net.ipv4.ip_forward=1"),
            "time_offset": "monotonic=1h,boottime=-1.5",
        },
        SAME,
    ),
    "process": (
        {
            "user": "1000:100",
            "group_add": ("wheel",),
            "umask": "077",
            "workdir": "/work",
            "env": ("A=b", "C="),
            "entrypoint": "/bin/env",
            "init": True,
            "timeout": "1m30s",
            "shm_size": "1m",
        },
        SAME,
    ),
    "terminal": ({"tty": True, "interactive": True}, SAME),
    "shared": ({"network": "host", "ipc": "host", "uts": "host", "pid": "host", "cgroupns": "host"}, SAME),
    "joined": ({"network": "container:other", "ipc": "container:other"}, SAME),
    "bare": ({"cap_drop": ("ALL",), "security_opt": ("seccomp=unconfined", "systempaths=unconfined")}, SAME),
    "capable": ({"cap_add": ("NET_ADMIN", "SYS_PTRACE"), "security_opt": ("no-new-privileges=false",)}, SAME),
    "users": ({"userns": "keep-id"}, SAME),
    "given-ids": ({"uidmap": ("0:200000:1000",), "gidmap": ("0:300000:1000",)}, SAME),
    "no-users": ({"userns": "host"}, SAME),
}


def lines_of(given: dict[str, object], caller: str, kind: str, tmp_path: Path) -> list[str]:
    """The plan as `explain` tells it and the receipt, or the error; nothing of this machine in it."""
    places = {"ROOTFS": tmp_path / "rootfs", "SHARED": tmp_path / "shared"}
    for place in places.values():
        place.mkdir(exist_ok=True)
    (places["SHARED"] / "file").touch()
    options = Options(**{"image": "", "rootfs": "ROOTFS", "command": ("true",), **_replace(given, places)})  # type: ignore[arg-type]
    options = Options(**_replace(vars(options), places))  # type: ignore[arg-type]
    top = tmp_path / f"{caller}-{kind}-{len(list(tmp_path.iterdir()))}"
    host = machine(caller, kind, top)
    try:
        request = build(options, host, ID, lease=None, find=lambda _: (os.getpid(), 7), size=(24, 80))
        made, receipt = plan(request, host)
    except ClocheError as error:
        lines = [f"{type(error).__name__}: {error}", f"  hint: {error.hint}"]
    else:
        lines = []
        for index, op in enumerate(made.operations):
            step = describe(index, op)
            lines.append(f"{step['side']} {step['operation']}: {step['meaning']}")
            lines += [f"    {call}" for call in step["calls"]]  # type: ignore[attr-defined]
        rest = {name: value for name, value in vars(made).items() if name != "operations"}
        lines += ["", "plan:", *(f"    {name} = {value!r}" for name, value in rest.items())]
        lines += ["", "receipt:", *(f"    {line}" for line in str(receipt).splitlines())]
    return [_plain(line, {**places, "": top}) for line in lines if 'thermal_throttle"' not in line]


def _replace(given: dict[str, object], places: dict[str, Path]) -> dict[str, object]:
    def one(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(one(item) for item in value)
        if isinstance(value, str):
            for name, path in places.items():
                value = re.sub(rf"\b{name}\b", str(path), value)
        return value

    return {name: one(value) for name, value in given.items()}


def _plain(line: str, places: dict[str, Path]) -> str:
    for name, path in places.items():
        line = line.replace(str(path), name)
    line = re.sub(r", /sys/devices/system/cpu/cpu\d+/thermal_throttle", "", line)
    line = re.sub(r"\b\d+ covered", "N covered", line)
    line = re.sub(r"\b\d+ instructions", "N instructions", line)
    line = re.sub(rf"\b(process |pidfd_open\(){os.getpid()}\b", r"\1OTHER", line)
    line = re.sub(r"\bcloche-[0-9.]+-(?=0123456789ab)", "cloche-OWNER-", line)
    return line.rstrip()


def check(name: str, lines: list[str]) -> None:
    """Compare with the file of that name, or write it."""
    path, text = KEPT / f"{name}.txt", "\n".join(lines) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        KEPT.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.exists(), "never written: run once with UPDATE_GOLDEN=1"
    changed = list(
        difflib.unified_diff(path.read_text().splitlines(), text.splitlines(), "kept", "now", n=1, lineterm="")
    )
    assert not changed, "the plan has changed; if that is meant, UPDATE_GOLDEN=1:\n" + "\n".join(changed)


@pytest.mark.parametrize(("caller", "kind"), EVERY, ids=lambda word: word)
def test_a_plain_plan(caller: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch, caller)
    check(f"plain-{caller}-{kind}", lines_of({}, caller, kind, tmp_path))


CASES = [(name, caller, kind) for name, (_, machines) in SETS.items() for caller, kind in machines]


@pytest.mark.parametrize(("name", "caller", "kind"), CASES, ids=lambda word: word)
def test_what_options_change(
    name: str, caller: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch, caller)
    plain = lines_of({}, caller, kind, tmp_path)
    other = lines_of(SETS[name][0], caller, kind, tmp_path)
    if other[0].split(":")[0].endswith("Error"):
        changed = other
    else:
        diff = list(difflib.unified_diff(plain, other, n=0, lineterm=""))[2:]
        changed = [line for line in diff if not line.startswith("@@")]
    assert changed or (name, caller) == ("users", "root"), "the options change nothing"
    check(f"{name}-{caller}-{kind}", changed)


def test_no_file_is_kept_for_nothing() -> None:
    wanted = {f"plain-{caller}-{kind}.txt" for caller, kind in EVERY} | {"-".join(case) + ".txt" for case in CASES}
    assert {path.name for path in KEPT.iterdir()} == wanted


def test_plans_are_the_same_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch, "root")
    assert lines_of({}, "root", "v2", tmp_path) == lines_of({}, "root", "v2", tmp_path)


def test_nothing_of_this_machine_is_kept() -> None:
    kept = {path.name: path.read_text() for path in KEPT.iterdir()}
    words = [str(Path(__file__).parents[2]), "/tmp/pytest", "/pytest-of-"]
    assert [name for name, text in kept.items() if any(word in text for word in words)] == []
