"""The root file system, mounts and id mappings (config.md "Root", "Mounts")."""

from __future__ import annotations

from cloche.spec.document import Document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.spec.shape import u32


class IDMapping(Document):
    """`size` ids from `containerID` up inside are those from `hostID` up outside."""

    containerID: u32
    hostID: u32
    size: u32


class Root(Document):
    """The container's root; a relative `path` starts at the bundle."""

    path: str
    readonly: bool = False


class Mount(Document):
    """One mount, in the order listed; a relative bind `source` starts at the bundle."""

    destination: str
    type: str | None = None
    source: str | None = None
    options: list[str] | None = None
    uidMappings: list[IDMapping] | None = None
    gidMappings: list[IDMapping] | None = None
