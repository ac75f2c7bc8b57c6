"""`cloche doctor` on this machine as it is: what it finds is so, and it leaves nothing behind.

What is so is observed by other means: util-linux, raw system calls, and `cloche run` itself.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ORDINARY, Cli
from tests.integration.diagnosing import diagnose, leaving_nothing

LANDLOCK_CREATE_RULESET = 444
FIELDS = {"name": str, "status": str, "needed": bool, "detail": str, "meaning": str, "fix": str}
AS_ORDINARY = ["setpriv", "--reuid", str(ORDINARY), "--regid", str(ORDINARY), "--clear-groups"]
UNSHARE = ["unshare", "--user", "--map-root-user"]
OVERLAY = (
    "mount -t tmpfs t /tmp && cd /tmp && mkdir l u w m && "
    "mount -t overlay -o lowerdir=l,upperdir=u,workdir=w,userxattr o m && touch m/file && test -e u/file"
)
REALITY = {
    "user-namespace": [*UNSHARE, "true"],
    "mnt-namespace": [*UNSHARE, "--mount", "true"],
    "pid-namespace": [*UNSHARE, "--pid", "--fork", "true"],
    "net-namespace": [*UNSHARE, "--net", "true"],
    "ipc-namespace": [*UNSHARE, "--ipc", "true"],
    "uts-namespace": [*UNSHARE, "--uts", "hostname", "elsewhere"],
    "cgroup-namespace": [*UNSHARE, "--cgroup", "true"],
    "time-namespace": [*UNSHARE, "--time", "--fork", "--monotonic", "100", "true"],
    "proc": [*UNSHARE, "--mount", "--pid", "--fork", "mount", "-t", "proc", "proc", "/proc"],
    "sysfs": [*UNSHARE, "--mount", "--net", "mount", "-t", "sysfs", "sysfs", "/sys"],
    "mqueue": [*UNSHARE, "--mount", "--ipc", "mount", "-t", "mqueue", "mqueue", "/tmp"],
    "terminal": [*UNSHARE, "--mount", "mount", "-t", "devpts", "-o", "newinstance", "devpts", "/tmp"],
    "overlay": [*UNSHARE, "--mount", "sh", "-c", OVERLAY],
    "fuse": ["sh", "-c", ": <> /dev/fuse"],
}


def test_it_says_works_exactly_when_run_works(anyone: Cli) -> None:
    found = diagnose(anyone)
    ran = anyone("run", "host", "true")
    assert found.code == (0 if ran.returncode == 0 else 1), (found.document, ran.stderr)
    assert found.document["works"] is (found.code == 0)
    assert found.document["uid"] == (os.geteuid() if anyone.kind == "root" else ORDINARY)
    assert found.err == ""


def test_the_document_has_its_shape(anyone: Cli) -> None:
    found = diagnose(anyone)
    assert set(found.document) == {"works", "uid", "kernel", "machine", "fixes", "findings"}
    assert found.document["kernel"] == os.uname().release
    assert len(found.findings) == len(found.document["findings"]) > 30
    for finding in found.findings.values():
        assert {name: type(value) for name, value in finding.items()} == FIELDS
        assert finding["status"] in {"ok", "limited", "missing"}
        assert finding["detail"]
        assert finding["meaning"]
        assert "check itself failed" not in finding["detail"]
        assert "\n" not in finding["fix"]
        assert finding["status"] != "ok" or not finding["fix"]
    fatal = [f for f in found.findings.values() if f["needed"] and f["status"] == "missing"]
    assert found.document["works"] is not bool(fatal)


def test_the_report_names_everything_once_and_aligned(anyone: Cli) -> None:
    names = [finding["name"] for finding in diagnose(anyone).document["findings"]]
    done = anyone("doctor")
    lines = [line for line in done.stdout.splitlines() if line[2:9].strip() in {"ok", "LIMITED", "MISSING"}]
    assert sorted(line[11:].split()[0] for line in lines) == sorted(names)
    column = 11 + max(map(len, names)) + 2
    assert all(line[column - 1] == " " and line[column] != " " for line in lines)
    assert done.stdout.splitlines()[-1] == "`cloche run` works here for you"
    assert done.stderr == ""


@pytest.mark.parametrize("kind", ["root", "user"])
def test_findings_agree_with_what_others_can_do(kind: str, request: pytest.FixtureRequest) -> None:
    cli: Cli = request.getfixturevalue(kind)
    found = diagnose(cli)
    become = AS_ORDINARY if kind == "user" and os.geteuid() == 0 else []
    for name, command in REALITY.items():
        done = subprocess.run([*become, *command], capture_output=True, text=True, check=False)
        assert (found.status(name) == "ok") is (done.returncode == 0), (found[name], done.stderr)


def test_landlock_is_what_the_kernel_says(cli: Cli) -> None:
    abi = ctypes.CDLL(None).syscall(LANDLOCK_CREATE_RULESET, None, 0, 1)
    finding = diagnose(cli)["landlock"]
    assert finding["status"] == ("ok" if abi >= 6 else "limited" if abi > 0 else "missing")
    assert abi <= 0 or finding["detail"].endswith(f"ABI {abi}")


def test_programs_for_networks_are_found(cli: Cli) -> None:
    installed = shutil.which("pasta") or shutil.which("slirp4netns")
    finding = diagnose(cli)["user-network"]
    assert (finding["status"] == "ok") is bool(installed)
    assert not finding["needed"]


@pytest.mark.parametrize("kind", ["root", "user"])
def test_groups_are_usable_exactly_where_a_directory_can_be_made(kind: str, request: pytest.FixtureRequest) -> None:
    cli: Cli = request.getfixturevalue(kind)
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    own = next((path for _, names, path in lines if names == "pids"), None)
    if own is None or not os.path.isdir("/sys/fs/cgroup/pids"):
        pytest.skip("needs a cgroup v1 host")
    script = f"mkdir /sys/fs/cgroup/pids{own}/by-hand && rmdir /sys/fs/cgroup/pids{own}/by-hand"
    become = AS_ORDINARY if kind == "user" and os.geteuid() == 0 else []
    made = subprocess.run([*become, "sh", "-c", script], capture_output=True, check=False).returncode == 0
    finding = diagnose(cli)["cgroup"]
    assert ("limits work" in finding["meaning"]) is made
    assert not finding["needed"]
    assert finding["fix"] == ("" if made else "sudo cloche run …")


def test_further_ids_come_from_the_helpers(user: Cli) -> None:
    if os.geteuid() != 0 or not shutil.which("newuidmap"):
        pytest.skip("needs root and uidmap")
    found = diagnose(Cli("subuid", user.source, user.python))
    assert found.code == 0
    assert [found.status(name) for name in ("subordinate-ids", "newuidmap", "id-map")] == ["ok"] * 3
    assert found["id-map"]["detail"].endswith("65537 ids inside")
    single = diagnose(user)
    assert [single.status(name) for name in ("subordinate-ids", "newuidmap", "id-map")] == ["limited", "ok", "limited"]
    assert single["id-map"]["fix"] == f"sudo useradd --uid {ORDINARY} user{ORDINARY}"


def test_it_leaves_nothing_and_makes_nothing(anyone: Cli) -> None:
    state = Path(f"{anyone.state}/none/such")
    etc = sorted(os.listdir("/etc"))
    with leaving_nothing():
        for words in (["doctor"], ["doctor", "--json"]):
            assert anyone(*words, env={"CLOCHE_STATE": str(state)}).returncode == 0
    assert not state.exists()
    assert not state.parent.exists()
    assert sorted(os.listdir("/etc")) == etc
