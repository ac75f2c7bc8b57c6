"""Namespaces: whether each kind can be made by this user, and if not, what stands in the way."""

from __future__ import annotations

import errno
import os

from cloche.linux import namespaces, process
from cloche.runtime.checks.attempt import Outcome, attempt
from cloche.runtime.checks.finding import MISSING, OK, Finding, judge
from cloche.runtime.checks.making import in_new
from cloche.runtime.checks.place import OUTER, read
from cloche.runtime.host import read_mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.runtime.checks.place import Place

APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
DEBIAN = "/proc/sys/kernel/unprivileged_userns_clone"
MOST = "/proc/sys/user/max_{}_namespaces"

WITHOUT = {
    "mnt": "no container can be started: it would share this machine's mounts",
    "pid": "containers cannot hide this machine's processes",
    "net": "containers cannot be cut off from the network",
    "ipc": "containers cannot have shared memory of their own",
    "uts": "containers cannot have a name of their own",
    "cgroup": "containers would see the cgroups of this machine",
    "time": "--time-offset does not work; everything else does",
}
WITH = {
    "mnt": "what a container mounts stays in it",
    "pid": "a container sees no processes but its own, and all of them end with it",
    "net": "a container has a network of its own, empty unless asked for more",
    "ipc": "a container has shared memory and message queues of its own",
    "uts": "a container has a host name of its own",
    "cgroup": "a container sees its own cgroup as the top one",
    "time": "--time-offset works",
}


def _use_new_powers() -> None:
    """Capabilities in the new namespace count for something: not so where a policy takes them away."""
    namespaces.unshare(process.CLONE_NEWUTS)
    namespaces.sethostname("doctor")


def user_namespace(place: Place) -> Finding:
    """A user namespace can be made, mapped, and its root may act as root in it."""
    outcome = attempt(lambda: in_new(process.CLONE_NEWUSER, _use_new_powers))
    place.userns = outcome
    tried = "made one, mapped root to you, and named a host in it"
    good = "root in a container is nobody of importance outside, and no real root is needed to start one"
    if outcome.ok:
        return judge("user-namespace", outcome, tried, good=good, bad="", needed=True)
    why, place.userns_fix = why_not(place, outcome)
    return Finding("user-namespace", MISSING, f"{tried}: {outcome.says}", why, place.userns_fix, True)


def why_not(place: Place, outcome: Outcome) -> tuple[str, str]:
    """What refused a user namespace, as far as the machine lets on, and the command that changes it."""
    limit = MOST.format("user")
    if outcome.code == errno.ENOSPC:
        shown = read(limit)
        if shown == "0":
            why = "containers cannot be started: user.max_user_namespaces is 0 here"
        else:
            why = (
                f"containers cannot be started: there are too many already ({limit} says {shown}), or 32 in one another"
            )
        return why, place.as_root("sysctl -w user.max_user_namespaces=28633")
    if outcome.code == errno.EINVAL or not os.path.exists("/proc/self/ns/user"):
        return "containers cannot be started: this kernel is built without user namespaces (CONFIG_USER_NS)", ""
    if read(DEBIAN) == "0" and not place.privileged:
        return (
            "containers cannot be started by ordinary users: kernel.unprivileged_userns_clone is 0",
            place.as_root("sysctl -w kernel.unprivileged_userns_clone=1"),
        )
    if read(APPARMOR) == "1" and not place.privileged:
        return (
            "containers cannot be started by ordinary users: AppArmor takes all power from their user namespaces",
            place.as_root("sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
        )
    if place.by_filter(outcome):
        return (
            "containers cannot be started: the container or service this runs in refuses it by a seccomp filter",
            OUTER,
        )
    if outcome.code == errno.EPERM and not any(point == "/" for point, *_ in read_mounts()):
        return "containers cannot be started: the kernel allows no user namespace in a chroot; leave it", ""
    return "containers cannot be started", ""


def apparmor_restriction(place: Place) -> Finding:
    """Whether AppArmor's rule against user namespaces of ordinary users is in the way."""
    value = read(APPARMOR)
    name = "apparmor-restriction"
    if not value or value == "0":
        detail = f"{APPARMOR} is {value or 'not there'}; {_went(place.userns)}"
        return Finding(name, OK, detail, "AppArmor does not stand in the way of user namespaces")
    detail = f"{APPARMOR} is {value}; {_went(place.userns)}"
    if place.userns.ok:
        return Finding(name, OK, detail, "in force, but not for you: you are root, or a profile exempts this Python")
    return Finding(name, MISSING, detail, "user namespaces of ordinary users are powerless", place.userns_fix)


def _went(outcome: Outcome) -> str:
    return f"making a user namespace {'worked' if outcome.ok else 'failed'}"


def namespace(kind: str) -> Callable[[Place], Finding]:
    """The check of one kind of namespace."""

    def check(place: Place) -> Finding:
        flag = process.CLONE_NEWTIME if kind == "time" else namespaces.NAMES[kind]
        before = _identity(kind)
        inside = _shift_clock if kind == "time" else lambda: _identity(kind)
        # a time namespace is entered by unshare, as its clocks are set before anybody is in it
        birth = place.flags if kind == "time" else place.flags | flag
        outcome = attempt(lambda: _differs(in_new(birth, inside), before))
        limit = place.as_root(f"sysctl -w user.max_{kind}_namespaces=28633") if outcome.code == errno.ENOSPC else ""
        return judge(
            f"{kind}-namespace",
            outcome,
            "made one" + ("" if place.privileged else " within a user namespace"),
            good=WITH[kind],
            bad=WITHOUT[kind],
            fix=(place.fix if place.privileged else place.fix_inside)(outcome, limit),
            needed=kind != "time",
        )

    check.__name__ = f"{kind}_namespace"
    return check


def _identity(kind: str) -> int:
    return os.stat(f"/proc/self/ns/{kind}").st_ino if os.path.exists(f"/proc/self/ns/{kind}") else 0


def _shift_clock() -> int:
    namespaces.unshare(process.CLONE_NEWTIME)
    namespaces.set_time_offsets(10**9, None)
    return os.stat("/proc/self/ns/time_for_children").st_ino


def _differs(after: int, before: int) -> None:
    if after == before:
        raise OSError(errno.EPROTO, "the namespace is the one there was")
