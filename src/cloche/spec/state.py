"""What a runtime says about a container (runtime.md "State"), and what a seccomp agent receives."""

from __future__ import annotations

from cloche.spec.document import Document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    from cloche.spec.shape import i64

Status: TypeAlias = "Literal['creating', 'created', 'running', 'stopped']"


class State(Document):
    """The answer to `state`, and what every hook reads on its standard input."""

    ociVersion: str
    id: str
    status: Status
    bundle: str
    pid: i64 | None = None
    annotations: dict[str, str] | None = None


class ContainerProcessState(Document):
    """What goes to `listenerPath` with the descriptors that `fds` names (config-linux.md "Seccomp")."""

    ociVersion: str
    pid: i64
    state: State
    fds: list[str] | None = None
    metadata: str | None = None
