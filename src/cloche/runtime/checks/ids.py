"""Users and groups of a container: the range this user has, and the helper that maps it."""

from __future__ import annotations

from cloche.linux import process
from cloche.runtime.checks.attempt import Outcome, attempt
from cloche.runtime.checks.finding import LIMITED, MISSING, OK, Finding, judge
from cloche.runtime.checks.making import in_new, output_of
from cloche.runtime.idmaps import FOLDERS, SIZE, own_name, subordinate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.checks.place import Place

FILES = ("/etc/subuid", "/etc/subgid")
HELPERS = ("newuidmap", "newgidmap")
FIRST = 100_000


def subordinate_ids(place: Place) -> Finding | None:
    """The files that give this user further ids do so."""
    if place.ids is None:
        return None
    if place.privileged:
        return Finding("subordinate-ids", OK, place.ids.says, "every container of root's gets users of its own")
    name = own_name(place.uid)
    given = {file: subordinate(file, (name,), place.uid) for file in FILES}
    counts = {file: sum(count for _, count in ranges) for file, ranges in given.items()}
    detail = "; ".join(f"{file} gives {count or 'no'} ids to {name or place.uid}" for file, count in counts.items())
    if all(counts.values()):
        enough = min(counts.values()) >= SIZE - 1
        meaning = "containers have users beside root" + ("" if enough else f", though fewer than {SIZE}")
        return Finding("subordinate-ids", OK if enough else LIMITED, detail, meaning, "" if enough else _give(name))
    meaning = "containers have one user only, root, who is you: what changes to another user fails in them"
    if name:
        return Finding("subordinate-ids", LIMITED, detail, meaning, _give(name))
    fix = place.as_root(f"useradd --uid {place.uid} user{place.uid}")
    return Finding("subordinate-ids", LIMITED, f"{detail}, who has no name either", meaning, fix)


def _give(name: str) -> str:
    start = _free_start()
    span = f"{start}-{start + SIZE - 1}"
    return f"sudo usermod --add-subuids {span} --add-subgids {span} {name}"


def _free_start() -> int:
    """The first range of ids after all those given away already."""
    end = FIRST
    for path in FILES:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = [line.strip().split(":") for line in file]
        except OSError:
            continue
        ends = [int(f[1]) + int(f[2]) for f in lines if len(f) == 3 and (f[1] + f[2]).isdecimal()]
        end = max([end, *ends])
    return end


def id_map(place: Place) -> Finding | None:
    """The map that containers of this user get can be written, by the helpers where it takes those."""
    ids = place.ids
    if ids is None:
        return None
    outcome = attempt(lambda: in_new(process.CLONE_NEWUSER, _count, ids))
    tried = f"wrote the map containers get ({ids.kind}: {ids.says})"
    if ids.kind == "subuid":
        tried += f", by {ids.uid_helper} and {ids.gid_helper}"
    fix = "" if ids.kind != "subuid" else _repair(place, outcome)
    found = judge(
        "id-map",
        outcome,
        tried,
        good="containers have the users they ask for",
        bad="no container can be started: its users cannot be given to it",
        fix=place.fix_inside(outcome, fix),
        needed=True,
    )
    if found.status == OK and ids.kind == "single":
        return Finding("id-map", LIMITED, found.detail, "containers have one user only", _why_single(place), True)
    return found


def _count() -> str:
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return f"{sum(int(line.split()[2]) for line in file)} ids inside"


def _why_single(place: Place) -> str:
    found = subordinate_ids(place)
    return found.fix if found is not None else ""


def _repair(place: Place, outcome: Outcome) -> str:
    """The helpers are there and refuse: they have lost their privilege, or know another range."""
    name = own_name(place.uid)
    if not name:
        return f"sudo useradd --uid {place.uid} user{place.uid}"
    if "range" in outcome.says or "allowed" in outcome.says:
        return _give(name)
    return "sudo apt install --reinstall uidmap"


def helpers(place: Place) -> Finding | None:
    """newuidmap and newgidmap are there and run; whether they give anything is `id-map`'s to say."""
    if place.privileged or place.ids is None:
        return None
    said = {name: _usage(name) for name in HELPERS}
    lost = [name for name in HELPERS if not said[name]]
    detail = "ran both: " + "; ".join(f"{name}: {text or 'not there, or does not run'}" for name, text in said.items())
    if not lost:
        return Finding("newuidmap", OK, detail, "an ordinary user can be given further ids")
    meaning = f"without {' and '.join(lost)}, containers have one user only"
    return Finding("newuidmap", MISSING, detail, meaning, "sudo apt install uidmap")


def _usage(name: str) -> str:
    """What a helper says when it is asked for nothing."""
    for folder in FOLDERS:
        outcome = attempt(lambda path=f"{folder}/{name}": output_of([path])[1])  # type: ignore[misc]
        if outcome.ok:
            return outcome.says
    return ""
