"""The features document (features.md, features-linux.md): what a runtime can do, on any host."""

from __future__ import annotations

from cloche.spec.document import Document


class Enabled(Document):
    """A feature that is there or not."""

    enabled: bool | None = None


class CgroupFeatures(Document):
    """The cgroup drivers."""

    v1: bool | None = None
    v2: bool | None = None
    systemd: bool | None = None
    systemdUser: bool | None = None
    rdma: bool | None = None


class SeccompFeatures(Document):
    """The names the runtime recognises, and the flags it can also use here."""

    enabled: bool | None = None
    actions: list[str] | None = None
    operators: list[str] | None = None
    archs: list[str] | None = None
    knownFlags: list[str] | None = None
    supportedFlags: list[str] | None = None


class IntelRdtFeatures(Document):
    """Resctrl; `schemata` and `monitoring` came with 1.3."""

    enabled: bool | None = None
    schemata: bool | None = None
    monitoring: bool | None = None


class MemoryPolicyFeatures(Document):
    """The recognised modes and flags of linux.memoryPolicy (1.3)."""

    modes: list[str] | None = None
    flags: list[str] | None = None


class MountExtensions(Document):
    """What mounts can do beyond options."""

    idmap: Enabled | None = None


class LinuxFeatures(Document):
    """What only Linux has."""

    namespaces: list[str] | None = None
    capabilities: list[str] | None = None
    cgroup: CgroupFeatures | None = None
    seccomp: SeccompFeatures | None = None
    apparmor: Enabled | None = None
    selinux: Enabled | None = None
    intelRdt: IntelRdtFeatures | None = None
    memoryPolicy: MemoryPolicyFeatures | None = None
    mountExtensions: MountExtensions | None = None
    netDevices: Enabled | None = None


class Features(Document):
    """The whole document; what is None is not known, which is not the same as no."""

    ociVersionMin: str
    ociVersionMax: str
    hooks: list[str] | None = None
    mountOptions: list[str] | None = None
    annotations: dict[str, str] | None = None
    potentiallyUnsafeConfigAnnotations: list[str] | None = None
    linux: LinuxFeatures | None = None
