"""Scopes of systemd for containers: where they come to be, and what later commands do with them."""

from __future__ import annotations

from cloche.errors import SpecError, StageError, UnsupportedError
from cloche.runtime.cgroups.containers import find_places, plan_cgroups
from cloche.runtime.cgroups.systemd import devices_of_unit, in_scope, limits_of_unit, properties_of, scope_of
from cloche.runtime.host import NAMED
from cloche.stage import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.cgroups.plan import GroupPlan
    from cloche.runtime.host import Groups
    from cloche.runtime.receipt import Receipt
    from cloche.spec.resources import Resources

SYSTEMD = "/run/systemd/system"  # there where systemd is the first process (sd_booted(3))


def plan_scope(
    resources: Resources | None,
    groups: Groups,
    path: str,
    container_id: str,
    annotations: dict[str, str],
    user: bool,
    owner: int,
    receipt: Receipt,
) -> tuple[GroupPlan, list[object]]:
    """The groups of a container in a scope, and that scope as it is written down: [unit, whether it is the user's].

    Raises UnsupportedError where no systemd answers.
    """
    scope = scope_of(path, container_id, user=user)
    try:
        with _manager(user=user) as manager:
            above = manager.group()
            version = _version(manager, resources)
    except OSError as error:
        raise _silent(error, user=user) from None
    place = f"{above}{scope.group}"
    whole = plan_cgroups(resources, groups, place, name="", rootless=user, by_others=True, owner=owner, receipt=receipt)
    places = whole.paths
    systemds = {places[key] for key in ("", NAMED) if key in places}
    told = properties_of(resources, scope, container_id, annotations, v2=groups.kind == "v2", version=version)
    return in_scope(whole, scope, told, systemds), [scope.unit, user]


def lost_scope(path: str, container_id: str, groups: Groups, *, user: bool) -> tuple[list[object], dict[str, str]]:
    """The scope that linux.cgroupsPath names, as it is written down, and where its groups are."""
    try:
        scope = scope_of(path, container_id, user=user)
    except SpecError:
        return [], {}
    try:
        with _manager(user=user) as manager:
            above = manager.group()
    except (UnsupportedError, OSError):
        above = ""  # as that of the system's is; what is not found is not removed
    return [scope.unit, user], find_places(groups, f"{above}{scope.group}", "")


def update_scope(scope: tuple[str, bool], resources: Resources, paths: dict[str, str], *, devices: bool) -> None:
    """Tell systemd of other limits, or it would go back to those it knows when it reloads.

    `devices` says that they are others, too: a list of v1 that is written anew refuses everything for a moment.
    """
    unit, user = scope
    v2 = paths.keys() <= {""}
    try:
        with _manager(user=user) as manager:
            properties = limits_of_unit(resources, v2=v2, version=_version(manager, resources))
            if devices and not user:
                properties += devices_of_unit(resources, v2=v2)
            if properties:
                manager.set_properties(unit, properties)
    except units.Refused as error:
        raise StageError(f"{unit}: {error.strerror}", op="SetUnitProperties", errno=error.errno or 0) from None
    except OSError as error:
        raise _silent(error, user=user) from None


def stop_scope(scope: tuple[str, bool]) -> list[str]:
    """Let systemd forget a scope; returns what it could not be told, which it will find out: nobody is in it."""
    unit, user = scope
    try:
        with _manager(user=user) as manager:
            manager.stop(unit)
    except (UnsupportedError, OSError) as error:
        return [f"{unit} could not be stopped: {error}"]
    return []


def _manager(*, user: bool) -> units.Manager:
    """A connection to who makes scopes. Raises UnsupportedError."""
    import os

    if not os.path.isdir(SYSTEMD):
        raise UnsupportedError(
            "the systemd cgroup driver (--systemd-cgroup)",
            needs=f"systemd does not run (there is no {SYSTEMD})",
            hint="leave the option out, and let the runtime make the cgroups itself",
        )
    try:
        return units.Manager(user=user)
    except ImportError:
        raise UnsupportedError(
            "the systemd cgroup driver (--systemd-cgroup)",
            needs="the Python library jeepney is not installed",
            hint="pip install 'cloche[systemd]'",
        ) from None


def _version(manager: units.Manager, resources: Resources | None) -> int:
    """systemd's version, where what it is told depends on that; else 0."""
    cpu = resources.cpu if resources is not None else None
    return manager.version() if cpu is not None and cpu.idle else 0


def _silent(error: OSError, *, user: bool) -> UnsupportedError:
    which = "your systemd (systemd --user)" if user else "systemd"
    place = f"{error.filename2 or error.filename}: " if error.filename else ""
    hint = "log in with a session of your own (pam_systemd), or set XDG_RUNTIME_DIR" if user else "see systemctl status"
    return UnsupportedError(
        "the systemd cgroup driver (--systemd-cgroup)",
        needs=f"{which} does not answer: {place}{error.strerror}",
        hint=f"{hint}; or leave the option out, and let the runtime make the cgroups itself",
    )
