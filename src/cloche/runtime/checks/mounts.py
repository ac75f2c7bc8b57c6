"""File systems: those a container is put together from, mounted where and as whom it would mount them."""

from __future__ import annotations

import errno
import os
import time

from cloche.linux import files, mount, process, terminal
from cloche.runtime.checks.attempt import Outcome, attempt
from cloche.runtime.checks.finding import LIMITED, MISSING, Finding, judge
from cloche.runtime.checks.making import in_new
from cloche.runtime.idmaps import IdMaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.runtime.checks.place import Place

UNMASK = "docker run --security-opt systempaths=unconfined …"
IN_USERNS = process.CLONE_NEWUSER | process.CLONE_NEWNS
SOURCE = "/usr"  # a directory every machine has, on the file system most have it on


def tree_copy(place: Place) -> Finding:
    """A mount of this machine can be copied, by who would do it: root himself, or root inside."""
    copy = lambda: os.close(mount.open_tree(files.AT_FDCWD, SOURCE))  # noqa: E731
    outcome = attempt(copy if place.privileged else lambda: in_new(IN_USERNS, copy))
    # root of a user namespace who has not made a mount namespace in it
    foreign = place.privileged and outcome.code == errno.EPERM and not place.filtered
    return judge(
        "mount-copy",
        outcome,
        f"copied the mount of {SOURCE}",
        good="directories of this machine can be shown in a container",
        bad="no container can be started" + (": these mounts belong to a user namespace outside of this" * foreign),
        fix="unshare --mount cloche run …" if foreign else place.fix_inside(outcome),
        needed=True,
    )


def _layer(lower: int = -1, *, user_attributes: bool = True) -> None:
    """Lay a throwaway layer over a tree, change something, and see that the tree did not."""
    mount.make_private()
    scratch = mount.new_filesystem("tmpfs", {"mode": "0755"})
    mount.move_mount(scratch, files.AT_FDCWD, "/proc")
    os.fchdir(scratch)
    for name in "luw":
        os.mkdir(name, 0o755)
    if lower >= 0:
        mount.move_mount(lower, scratch, "l")
    else:
        os.mkdir("l/bin")
    options: dict[str, str | None] = {"source": "overlay", "lowerdir": "l", "upperdir": "u", "workdir": "w"}
    if user_attributes:
        options["userxattr"] = None
    top = mount.new_filesystem("overlay", options)
    name = f"cloche-doctor-{time.monotonic_ns()}"
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=top))
    os.stat("bin", dir_fd=top)
    if not os.path.exists(f"u/{name}") or os.path.exists(f"l/{name}"):
        raise OSError(errno.EPROTO, "what was written did not go to the upper layer")


def overlay(place: Place) -> Finding:
    """An overlay can be mounted in a user namespace."""
    outcome = attempt(lambda: in_new(IN_USERNS, _layer))
    fix = place.as_root("modprobe overlay") if outcome.code == errno.ENODEV else ""
    return judge(
        "overlay",
        outcome,
        "mounted one in a user namespace and wrote to it",
        good="what a container writes goes to a layer of its own, and your files stay as they are",
        bad="no container can be started: its root is made of overlays",
        fix=place.fix_inside(outcome, fix),
        needed=True,
    )


def _mapped_tree(ids: IdMaps) -> int:
    """A copy of the mount at /usr, with its owners shown as the users of a new user namespace."""
    opened: list[int] = []
    # the namespace lives on by the descriptor
    in_new(process.CLONE_NEWUSER, lambda: None, ids, prepare=lambda pid: opened.append(_namespace_of(pid)))
    tree = mount.open_tree(files.AT_FDCWD, SOURCE)
    mount.mount_setattr(tree, set_=mount.MOUNT_ATTR_IDMAP, userns=opened[0])
    before, after = os.stat(SOURCE).st_uid, os.fstat(tree).st_uid
    if after != ids.outside(before):
        raise OSError(errno.EPROTO, f"owner {before} is shown as {after}")
    return tree


def _namespace_of(pid: int) -> int:
    return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def _with_range(place: Place) -> IdMaps | None:
    """The map of root's containers, where it differs from what there is: else nothing is to be shifted."""
    return place.ids if place.privileged and place.ids and place.ids.kind == "range" else None


def idmapped_bind(place: Place) -> Finding | None:
    """The file system of / takes an id map on a bind mount; only root may set one."""
    ids = _with_range(place)
    if ids is None:
        return None
    outcome = attempt(lambda: os.close(_mapped_tree(ids)))
    found = judge(
        "idmapped-mount",
        outcome,
        f"copied the mount of {SOURCE} and shifted its owners",
        good="files of this machine belong to the right users in a container, and nothing is copied for it",
        bad="files of this machine belong to nobody in a container",
        fix=place.fix_inside(outcome),
    )
    return _weaker(found)


def idmapped_overlay(place: Place) -> Finding | None:
    """An overlay in a user namespace takes a lower tree with an id map."""
    ids = _with_range(place)
    if ids is None:
        return None

    def stack() -> None:
        tree = _mapped_tree(ids)
        in_new(IN_USERNS, lambda: _layer(tree), ids)

    outcome = attempt(stack)
    found = judge(
        "idmapped-overlay",
        outcome,
        f"laid one over an id-mapped copy of {SOURCE}, in a user namespace",
        good="root's containers may change files in the system they see, with the owners these have",
        bad="root's containers find files of this machine owned by nobody, and cannot change them",
        fix=place.fix_inside(outcome),
    )
    return _weaker(found)


def _weaker(found: Finding) -> Finding:
    """The same, as something containers can do without."""
    if found.status == MISSING:
        return Finding(found.name, LIMITED, found.detail, found.meaning, found.fix)
    return found


def _new(kind: str, options: dict[str, str | None] | None = None) -> Callable[[], None]:
    return lambda: os.close(mount.new_filesystem(kind, {"source": kind, **(options or {})}))


def _masked(place: Place, outcome: Outcome) -> str:
    """The fix for a file system that is refused because the one here is partly covered."""
    return place.fix_inside(outcome, UNMASK if outcome.code == errno.EPERM else "")


def proc(place: Place) -> Finding:
    """A new proc may be mounted: refused where the one here has parts covered (mount_too_revealing)."""
    outcome = attempt(lambda: in_new(IN_USERNS | process.CLONE_NEWPID, _new("proc")))
    bad = "no container can be started"
    if place.userns.ok and outcome.code == errno.EPERM:
        bad += ": parts of /proc are covered here, as in another container, so that the kernel allows no new one"
    return judge(
        "proc",
        outcome,
        "mounted a new one in a user and pid namespace",
        good="/proc in a container shows its own processes",
        bad=bad,
        fix=_masked(place, outcome),
        needed=True,
    )


def sysfs(place: Place) -> Finding:
    """A new sysfs may be mounted, in a network namespace of one's own."""
    outcome = attempt(lambda: in_new(IN_USERNS | process.CLONE_NEWNET, _new("sysfs")))
    return judge(
        "sysfs",
        outcome,
        "mounted a new one in a user and network namespace",
        good="/sys in a container shows its own network",
        bad="no container with a network of its own can be started",
        fix=_masked(place, outcome),
        needed=True,
    )


def mqueue(place: Place) -> Finding:
    """A new mqueue may be mounted, in an IPC namespace of one's own."""
    outcome = attempt(lambda: in_new(IN_USERNS | process.CLONE_NEWIPC, _new("mqueue")))
    return judge(
        "mqueue",
        outcome,
        "mounted a new one in a user and ipc namespace",
        good="message queues of a container are its own",
        bad="no container can be started: /dev/mqueue is part of every one",
        fix=place.fix_inside(outcome),
        needed=True,
    )


def _open_terminal() -> str:
    options: dict[str, str | None] = {"newinstance": None, "ptmxmode": "0666", "mode": "0620"}
    with files.Fd(mount.new_filesystem("devpts", {"source": "devpts", **options})) as instance:
        master, slave = terminal.open_pty(instance.number)
        number = terminal.pty_number(master)
        terminal.set_window_size(master, 24, 80)
        if terminal.window_size(slave) != (24, 80):
            raise OSError(errno.EPROTO, "the two ends do not belong together")
        os.close(master)
        os.close(slave)
    return f"got terminal {number} of it"


def devpts(place: Place) -> Finding:
    """A devpts of its own may be mounted, and gives terminals."""
    outcome = attempt(lambda: in_new(IN_USERNS, _open_terminal))
    return judge(
        "terminal",
        outcome,
        "mounted a new devpts in a user namespace and opened a terminal",
        good="--tty gives a container a terminal of its own, out of reach of yours",
        bad="no container can be started: /dev/pts is part of every one",
        fix=place.fix_inside(outcome),
        needed=True,
    )
