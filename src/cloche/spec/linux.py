"""The linux section (config-linux.md): namespaces, devices, cgroups, seccomp and the like."""

from __future__ import annotations

from cloche.spec.document import Document
from cloche.spec.mounts import IDMapping
from cloche.spec.resources import Resources
from cloche.spec.seccomp import Seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    from cloche.spec.shape import i64, u32

NamespaceType: TypeAlias = """Literal[
    "pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time",
]"""
# The specification knows four; docker writes the recursive ones, which runc and crun take too.
Propagation: TypeAlias = """Literal[
    "", "shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable",
]"""
# set_mempolicy(2)
MemoryPolicyMode: TypeAlias = """Literal[
    "MPOL_DEFAULT", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY", "MPOL_LOCAL",
]"""
MemoryPolicyFlag: TypeAlias = """Literal[
    "MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES",
]"""


class Namespace(Document):
    """A namespace to make, or with `path` to join."""

    type: NamespaceType
    path: str | None = None


class Device(Document):
    """A device node to make available; `major` and `minor` are not for type `p`."""

    type: Literal["c", "b", "u", "p"]
    path: str
    major: i64 | None = None
    minor: i64 | None = None
    fileMode: u32 | None = None
    uid: u32 | None = None
    gid: u32 | None = None


class TimeOffset(Document):
    """How far a clock is ahead inside."""

    secs: i64 = 0
    nanosecs: u32 = 0


class NetDevice(Document):
    """A host interface to move inside, there called `name` (1.3)."""

    name: str | None = None


class IntelRdt(Document):
    """A group of resctrl and what it is given; enableMonitoring (1.3) replaces enableCMT and enableMBM."""

    closID: str | None = None
    schemata: list[str] | None = None
    l3CacheSchema: str | None = None
    memBwSchema: str | None = None
    enableMonitoring: bool | None = None
    enableCMT: bool | None = None
    enableMBM: bool | None = None


class MemoryPolicy(Document):
    """What set_mempolicy(2) is given (1.3); `nodes` is a list such as `0-3,7`."""

    mode: MemoryPolicyMode
    nodes: str | None = None
    flags: list[MemoryPolicyFlag] | None = None


class Personality(Document):
    """What personality(2) is given."""

    domain: Literal["LINUX", "LINUX32"]
    flags: list[str] | None = None


class Linux(Document):
    """What only Linux has."""

    namespaces: list[Namespace] | None = None
    uidMappings: list[IDMapping] | None = None
    gidMappings: list[IDMapping] | None = None
    timeOffsets: dict[str, TimeOffset] | None = None
    devices: list[Device] | None = None
    netDevices: dict[str, NetDevice] | None = None
    cgroupsPath: str | None = None
    resources: Resources | None = None
    intelRdt: IntelRdt | None = None
    memoryPolicy: MemoryPolicy | None = None
    sysctl: dict[str, str] | None = None
    seccomp: Seccomp | None = None
    rootfsPropagation: Propagation | None = None
    maskedPaths: list[str] | None = None
    readonlyPaths: list[str] | None = None
    mountLabel: str | None = None
    personality: Personality | None = None

    def namespace(self, kind: NamespaceType) -> Namespace | None:
        """The namespace of a type, or None where the container shares the runtime's."""
        for namespace in self.namespaces or ():
            if namespace.type == kind:
                return namespace
        return None
