"""Trying out what this machine can isolate, for this user: every check is a real attempt.

    Place(): who asks, where ─▶ run_checks ─▶ check(place) … ─▶ Finding: name, status, detail, meaning, fix
                                                 └─ attempt(f): a forked child, at most 5 s

The user namespace is tried first, because what an ordinary user fails at afterwards mostly fails for
want of it. Nothing is changed: what is made (groups, mounts, namespaces) is gone before a check returns,
or with its child. What does not belong here: how findings are shown, and starting a whole container.
"""

from __future__ import annotations

from cloche.runtime.checks import calls, confinement, groups, ids, mounts, programs, spaces
from cloche.runtime.checks.finding import MISSING, Finding
from cloche.runtime.checks.place import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[Place], Finding | None]

CHECKS: tuple[Check, ...] = (
    calls.kernel_version,
    spaces.user_namespace,
    spaces.apparmor_restriction,
    *(spaces.namespace(kind) for kind in ("mnt", "pid", "net", "ipc", "uts", "cgroup", "time")),
    ids.subordinate_ids,
    ids.helpers,
    ids.id_map,
    calls.clone3,
    calls.pidfd,
    calls.openat2,
    calls.close_range,
    calls.mount_api,
    mounts.tree_copy,
    mounts.overlay,
    mounts.idmapped_bind,
    mounts.idmapped_overlay,
    mounts.proc,
    mounts.sysfs,
    mounts.mqueue,
    mounts.devpts,
    groups.groups,
    groups.birth,
    confinement.filters,
    confinement.notification,
    confinement.files,
    confinement.keys,
    confinement.modules,
    programs.sealed_program,
    programs.user_network,
    programs.packet_filter,
    programs.fuse,
)


def run_checks(place: Place) -> list[Finding]:
    """Carry out every check that applies to this user, in order; the caller is single-threaded."""
    found = (_carry_out(check, place) for check in CHECKS)
    return [finding for finding in found if finding is not None]


def _carry_out(check: Check, place: Place) -> Finding | None:
    """One check; where it fails itself, that is a finding too."""
    try:
        return check(place)
    except Exception as error:
        name = getattr(check, "__name__", "check").replace("_", "-")
        detail = f"the check itself failed, {type(error).__name__}: {error}"
        return Finding(name, MISSING, detail, "it is not known whether this works here")
