"""What the upper layers ask for: an OCI config, and what OCI has no words for.

`Root` says what the root is made of, `Request` holds it all together; `plan` in `planning` turns a
request into steps.
"""

from __future__ import annotations

from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.cgroups.plan import GroupPlan
    from cloche.runtime.idmaps import IdMaps
    from cloche.spec.config import Config
    from cloche.stage.hooks import Hook


@record
class Tree:
    """A directory of the host that becomes part of the root.

    `layered`: what is written goes to a throwaway layer above; otherwise it is the directory itself,
    read-only when `read_only`. `hidden` are paths in it, relative, that are not shown. With `layers`, paths below it,
    the lowest first, these on top of each other are what is shown; `shape` is the one whose mode and owner the
    directory has.
    """

    source: str
    target: str
    layered: bool = True
    read_only: bool = False
    hidden: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    shape: str = ""


@record
class Node:
    """A device: where it is on the host, where it appears, its mode with the type, numbers and owner inside."""

    source: str
    target: str
    mode: int
    major: int = 0
    minor: int = 0
    uid: int = 0
    gid: int = 0


@record
class Root:
    """The root: one tree at "/", or an empty directory in memory with trees in it."""

    trees: tuple[Tree, ...]
    directories: tuple[tuple[str, int], ...] = ()  # (path, mode)
    symlinks: tuple[tuple[str, str], ...] = ()  # (path, target)
    read_only: bool = False


@record
class Lifecycle:
    """What only a runtime's container has: it outlives the command that made it, and may wait to be started.

    `folder` is where its socket is made, `state` the JSON that hooks get, with "PID" for its pid.
    """

    folder: str
    state: str
    hooks: dict[str, tuple[Hook, ...]]
    groups: GroupPlan
    preserve: int = 0  # descriptors from 3 up that the command gets
    pivot: bool = True
    keyring: str = ""  # the name of its session keyring; "" to keep the caller's
    bundle: str = ""  # where hooks run that belong to the host's files
    waits: bool = True  # for `start`; else it begins as soon as it is written down


@record
class Kept:
    """What only a container of the engine's has that stays: it outlives its caller, and what it has written stays.

    `layer` is the directory for that, `place` the one for word of its end.
    """

    layer: str
    place: str


@record
class Request:
    """One container, as asked for."""

    config: Config
    root: Root
    ids: IdMaps
    name: str  # of its cgroups: cloche-…
    user: str = ""  # name or number, group; looked up in the container's files
    groups: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()  # (path, content): /etc/hosts and the like
    make_cwd: bool = False
    devices: tuple[Node, ...] = ()
    init: bool = False
    default_seccomp: bool = True
    watch_refusals: bool = True
    landlock: bool = False
    allow_unenforced: bool = False
    asked: tuple[str, ...] = ()  # limits the caller asked for, by receipt name
    timeout: float = 0.0
    joins: tuple[tuple[str, str], ...] = ()  # (kind, path of a namespace)
    processes: tuple[tuple[int, int, tuple[str, ...]], ...] = ()  # (pid, start time, kinds) to join
    terminal_size: tuple[int, int] | None = None  # rows, columns, when there is a terminal
    cgroup_parent: str = ""
    machine: str = "x86_64"
    landlock_abi: int = 0
    stage_says: str = ""  # how the interpreter that becomes the container's is protected
    trace: bool = False
    step: bool = False
    unlink: tuple[str, ...] = ()
    lifecycle: Lifecycle | None = None
    kept: Kept | None = None
    failpoint: tuple[str, str] | None = None
