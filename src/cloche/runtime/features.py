"""What this runtime can do, on any host (features.md, features-linux.md)."""

from __future__ import annotations

from cloche.linux import capabilities
from cloche.runtime.mounts import KNOWN_OPTIONS
from cloche.runtime.seccomp import features as seccomp
from cloche.spec import linux
from cloche.spec.config import OCI_VERSION, OCI_VERSION_MIN
from cloche.spec.hooks import HOOK_NAMES
from cloche.spec.shape import values


def features() -> dict[str, object]:
    """The features document."""
    enabled = {"enabled": True}
    return {
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION,
        "hooks": list(HOOK_NAMES),
        "mountOptions": sorted(KNOWN_OPTIONS),
        "linux": {
            "namespaces": sorted(values(linux.NamespaceType)),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": seccomp.features(),
            "apparmor": enabled,
            "selinux": enabled,
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "memoryPolicy": {
                "modes": list(values(linux.MemoryPolicyMode)),
                "flags": list(values(linux.MemoryPolicyFlag)),
            },
            "mountExtensions": {"idmap": enabled},
            "netDevices": enabled,
        },
        "annotations": {
            "org.opencontainers.runc.checkpoint.enabled": "false",
        },
        "potentiallyUnsafeConfigAnnotations": [],
    }
