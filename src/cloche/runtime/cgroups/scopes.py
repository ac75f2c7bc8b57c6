"""Scopes of systemd for containers: where they come to be, and what later commands do with them."""

from __future__ import annotations

from cloche.errors import ClocheError, StageError, UnsupportedError
from cloche.runtime.cgroups.containers import plan_cgroups
from cloche.runtime.cgroups.systemd import in_scope, limits_of_unit, properties_of, scope_of
from cloche.runtime.host import NAMED
from cloche.stage import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.cgroups.plan import GroupPlan
    from cloche.runtime.host import Groups
    from cloche.spec.resources import Resources


def plan_scope(
    resources: Resources | None,
    groups: Groups,
    path: str,
    container_id: str,
    annotations: dict[str, str],
    user: bool,
    owner: int,
) -> tuple[GroupPlan, list[object]]:
    """The groups of a container in a scope, and that scope as it is written down: [unit, whether it is the user's].

    Raises UnsupportedError where no systemd answers.
    """
    scope = scope_of(path, container_id, user=user)
    try:
        with units.Manager(user=user) as manager:
            above = manager.group()
    except ImportError:
        raise UnsupportedError(
            "--systemd-cgroup", needs="the library jeepney", hint="pip install 'cloche[systemd]'"
        ) from None
    except OSError as error:
        raise _no_systemd(error, user=user) from None
    whole = plan_cgroups(
        resources, groups, f"{above}{scope.group}", name="", rootless=user, by_others=True, owner=owner
    )
    places = whole.paths
    systemds = {places[key] for key in ("", NAMED) if key in places}
    told = properties_of(resources, scope, container_id, annotations, v2=groups.kind == "v2")
    return in_scope(whole, scope, told, systemds), [scope.unit, user]


def update_scope(scope: tuple[str, bool], resources: Resources, paths: dict[str, str]) -> None:
    """Tell systemd of other limits, or it would go back to those it knows when it reloads."""
    unit, user = scope
    properties = limits_of_unit(resources, v2=paths.keys() <= {""})
    if not properties:
        return
    try:
        with units.Manager(user=user) as manager:
            manager.set_properties(unit, properties)
    except units.Refused as error:
        raise StageError(f"{unit}: {error.strerror}", op="SetUnitProperties", errno=error.errno or 0) from None
    except OSError as error:
        raise _no_systemd(error, user=user) from None


def stop_scope(scope: tuple[str, bool]) -> None:
    """Let systemd forget a scope."""
    unit, user = scope
    try:
        with units.Manager(user=user) as manager:
            manager.stop(unit)
    except units.Refused as error:
        raise StageError(f"{unit}: {error.strerror}", op="StopUnit", errno=error.errno or 0) from None
    except OSError as error:
        raise _no_systemd(error, user=user) from None


def _no_systemd(error: OSError, *, user: bool) -> ClocheError:
    which = "your systemd (systemd --user)" if user else "systemd"
    place = f"{error.filename2 or error.filename}: " if error.filename else ""
    return UnsupportedError(
        "--systemd-cgroup",
        needs=f"{which} does not answer: {place}{error.strerror}",
        hint="leave it out, and let the runtime make the cgroups itself",
    )
