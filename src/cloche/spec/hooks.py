"""Hooks (config.md "POSIX-platform Hooks"): programs run at points of a container's life."""

from __future__ import annotations

from cloche.spec.document import Document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.spec.shape import i64


class Hook(Document):
    """A program; `timeout` is in seconds, `args` includes argv[0]."""

    path: str
    args: list[str] | None = None
    env: list[str] | None = None
    timeout: i64 | None = None


class Hooks(Document):
    """Hooks by the moment they run at, each list in its order.

    prestart, createRuntime, poststart and poststop run in the runtime's namespaces, the first two
    before pivot_root; createContainer and startContainer in the container's, the latter after it.
    """

    prestart: list[Hook] | None = None
    createRuntime: list[Hook] | None = None
    createContainer: list[Hook] | None = None
    startContainer: list[Hook] | None = None
    poststart: list[Hook] | None = None
    poststop: list[Hook] | None = None


HOOK_NAMES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
