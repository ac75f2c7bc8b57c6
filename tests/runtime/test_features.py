"""`features`: what the runtime can do, as JSON (features.md)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.runtime.conftest import Runtime


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
