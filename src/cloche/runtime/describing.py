"""The receipt's part that follows from the request alone: namespaces, and what has no step of its own."""

from __future__ import annotations

from cloche.runtime.mounts import is_writable_bind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.receipt import Receipt
    from cloche.runtime.request import Request

KINDS = {
    "user": "user",
    "mount": "mnt",
    "pid": "pid",
    "network": "net",
    "ipc": "ipc",
    "uts": "uts",
    "cgroup": "cgroup",
    "time": "time",
}
SHARED = {
    "user": "no user namespace: root inside is root outside",
    "mnt": "the host's mounts",
    "pid": "the host's processes can be seen, and signalled where ids allow",
    "net": "the host's network: its interfaces, ports and abstract sockets",
    "ipc": "the host's shared memory and message queues",
    "uts": "the host's name",
    "cgroup": "the host's cgroup tree can be seen",
    "time": "the host's clocks",
}


def plan_namespaces(request: Request, receipt: Receipt) -> tuple[tuple[str, ...], set[str]]:
    """The kinds to make anew, in the kernel's order, and the kinds to join; both into the receipt."""
    linux = request.config.linux
    listed = {KINDS[item.type]: item.path for item in (linux.namespaces if linux else None) or []}
    joined = {kind for kind, _ in request.joins} | {kind for held in request.processes for kind in held[2]}
    new = tuple(kind for kind in KINDS.values() if kind in listed and kind not in joined)
    for kind in KINDS.values():
        name = {"mnt": "mount", "net": "network", "cgroup": "cgroup view"}.get(kind, kind)
        if kind in joined:
            rest = "; /dev/shm is its own" if kind == "ipc" else ""
            receipt.add(name, True, f"shared with the container or process it joined{rest}")
        elif kind in new:
            receipt.add(name, True, request.ids.says if kind == "user" else "its own")
        else:
            receipt.add(name, False, SHARED[kind])
    return new, joined


def describe_rest(request: Request, receipt: Receipt) -> None:
    """Masks, devices and the stage's own protection."""
    linux = request.config.linux
    masked = (linux.maskedPaths if linux else None) or []
    frozen = (linux.readonlyPaths if linux else None) or []
    receipt.add("masked paths", bool(masked), f"{len(masked)} covered" if masked else "nothing of /proc is covered")
    receipt.add("read-only paths", bool(frozen), f"{len(frozen)} read-only" if frozen else "/proc/sys can be written")
    layered = bool(request.root.trees) and all(t.layered or t.read_only for t in request.root.trees)
    kept = [] if layered or request.root.read_only else ["/"]
    kept += [item.destination for item in request.config.mounts or [] if is_writable_bind(item)]
    if kept:
        receipt.add("host files", False, f"what is written below {', '.join(kept)} is written for good")
    else:
        receipt.add("host files", True, "never changed: writes go to memory, and are gone at the end")
    receipt.add("stage", True, request.stage_says)
