"""`features`: what the runtime can do, as JSON (features.md)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.looking import CAPABILITIES, only_cloche, told

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeBundle, Runtime


@pytest.fixture
def features(runtime: Runtime) -> dict[str, Any]:
    runtime.not_like("crun", because="1.8 does not know `features`")
    found: dict[str, Any] = json.loads(runtime.ok("features"))
    return found


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.partition("-")[0].split("."))


def test_the_versions(features: dict[str, Any]) -> None:
    assert version(features["ociVersionMin"]) == (1, 0, 0)
    assert (1, 0, 0) < version(features["ociVersionMax"]) < (2, 0, 0)


def test_the_hooks_are_those_that_there_are(features: dict[str, Any]) -> None:
    kinds = {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}
    assert set(features["hooks"]) == kinds


def test_mount_options_that_engines_use(features: dict[str, Any]) -> None:
    assert {"ro", "rw", "bind", "rbind", "nosuid", "nodev", "noexec", "rprivate", "rslave"} <= set(
        features["mountOptions"]
    )


def test_the_namespaces_of_linux(features: dict[str, Any]) -> None:
    assert {"cgroup", "ipc", "mount", "network", "pid", "user", "uts"} <= set(features["linux"]["namespaces"])


def test_what_is_told_of_linux(features: dict[str, Any]) -> None:
    linux = features["linux"]
    assert "CAP_SYS_ADMIN" in linux["capabilities"]
    assert linux["cgroup"]["v1"] is True
    assert linux["cgroup"]["v2"] is True
    assert linux["seccomp"]["enabled"] is True
    assert {"SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW"} <= set(linux["seccomp"]["actions"])
    assert "SCMP_CMP_EQ" in linux["seccomp"]["operators"]
    assert "enabled" in linux["apparmor"]
    assert "enabled" in linux["selinux"]


# config.md of 1.3, "Linux mount options", without those that are the file system's own
OPTIONS = (
    "async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud noatime nodev nodiratime noexec "
    "noiversion nolazytime norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime "
    "remount rexec ridmap rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro "
    "rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave "
    "strictatime suid symfollow sync tmpcopyup unbindable"
).split()


def test_all_of_the_specification_is_told(runtime: Runtime, features: dict[str, Any]) -> None:
    only_cloche(runtime, "what 1.3 has, and its whole")
    assert set(OPTIONS) <= set(features["mountOptions"])
    linux = features["linux"]
    assert set(linux["namespaces"]) == {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}
    assert linux["capabilities"] == [f"CAP_{name}" for name in CAPABILITIES]
    assert linux["cgroup"] == dict.fromkeys(("v1", "v2", "systemd", "systemdUser", "rdma"), True)
    for name in ("apparmor", "selinux", "intelRdt", "netDevices"):
        assert linux[name]["enabled"] is True, name
    assert linux["mountExtensions"] == {"idmap": {"enabled": True}}
    seccomp = linux["seccomp"]
    kinds = "ALLOW ERRNO KILL KILL_PROCESS KILL_THREAD LOG NOTIFY TRACE TRAP".split()
    assert set(seccomp["actions"]) == {f"SCMP_ACT_{kind}" for kind in kinds}
    assert set(seccomp["operators"]) == {f"SCMP_CMP_{kind}" for kind in "NE LT LE EQ GE GT MASKED_EQ".split()}
    flags = {f"SECCOMP_FILTER_FLAG_{name}" for name in "TSYNC LOG SPEC_ALLOW WAIT_KILLABLE_RECV".split()}
    assert set(seccomp["knownFlags"]) == flags >= set(seccomp["supportedFlags"])
    modes = "DEFAULT BIND INTERLEAVE WEIGHTED_INTERLEAVE PREFERRED PREFERRED_MANY LOCAL".split()
    assert set(linux["memoryPolicy"]["modes"]) == {f"MPOL_{mode}" for mode in modes}
    assert features["annotations"]["org.opencontainers.runc.checkpoint.enabled"] == "false"


def test_what_is_told_of_seccomp_is_taken(runtime: Runtime, bundle: MakeBundle, features: dict[str, Any]) -> None:
    only_cloche(runtime, "the others ask a library that does not know all of it")
    seccomp = features["linux"]["seccomp"]
    argument = {"index": 0, "value": 1, "valueTwo": 1}
    rules = [{"names": ["lookup_dcookie"], "action": each} for each in seccomp["actions"] if each != "SCMP_ACT_NOTIFY"]
    rules += [
        {"names": ["sysfs"], "action": "SCMP_ACT_ERRNO", "args": [{**argument, "op": operator}]}
        for operator in seccomp["operators"]
    ]
    nothing: list[str] = []
    for flags in (nothing, seccomp["supportedFlags"]):
        made = bundle("grep", "^Seccomp:", "/proc/self/status")
        made.linux["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": seccomp["archs"],
            "flags": flags,
            "syscalls": rules,
        }
        assert told(runtime, made).split()[-1] == "2"


def test_what_is_told_of_memory_is_taken(runtime: Runtime, bundle: MakeBundle, features: dict[str, Any]) -> None:
    only_cloche(runtime, "older versions of the specification do not have it")
    for mode in features["linux"]["memoryPolicy"]["modes"]:
        made = bundle("true")
        nodes = {} if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") else {"nodes": "0"}
        made.linux["memoryPolicy"] = {"mode": mode, **nodes}
        told(runtime, made)
