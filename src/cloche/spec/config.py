"""config.json: the document that describes one container (config.md)."""

from __future__ import annotations

from cloche.spec.document import Document
from cloche.spec.hooks import Hooks
from cloche.spec.linux import Linux
from cloche.spec.mounts import Mount, Root
from cloche.spec.process import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.spec.shape import Json

OCI_VERSION_MIN = "1.0.0"
OCI_VERSION = "1.3.0"


class Config(Document):
    """One container. `freebsd`, `solaris`, `windows` and `zos` are left out, `vm` is kept unread."""

    ociVersion: str
    root: Root | None = None
    process: Process | None = None
    hostname: str | None = None
    domainname: str | None = None
    mounts: list[Mount] | None = None
    hooks: Hooks | None = None
    annotations: dict[str, str] | None = None
    linux: Linux | None = None
    vm: Json | None = None
