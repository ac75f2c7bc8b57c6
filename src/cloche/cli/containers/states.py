"""How a container stands, in docker's words: `Up 5 minutes (healthy)`, `Exited (137) 2 minutes ago: out of memory`.

What does not belong here: finding out how it stands.
"""

from __future__ import annotations

from cloche.cli import human

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    State = dict[str, Any]

TELLING = 32  # characters: a longer kind of reason is not for a table
# kinds of reasons that an exit code says as well
SAID_BY_CODE = {"exited", "signal", "not executed", "unknown"}
BY = {"health": "unhealthy", "timeout": "timed out"}


def status_text(state: State, now: float) -> str:
    """The STATUS of `ps`; `state` as state.json has it, `now` in seconds since 1970."""
    status = state["status"]
    if status in {"running", "paused"}:
        text = f"Up {_since(state['started_at'], now)}"
        if status == "paused":
            return f"{text} (Paused)"
        health = health_text(state)
        return f"{text} ({health})" if health else text
    if status == "restarting":
        return f"Restarting ({_code(state)}) {_since(state['finished_at'], now)} ago"
    if status == "removing":
        return "Removal In Progress"
    if status == "dead":
        return "Dead"
    if status == "created":
        return "Created"
    when = f" {_since(state['finished_at'], now)} ago" if state["finished_at"] else ""
    why = short_reason(state)
    return f"Exited ({_code(state)}){when}{f': {why}' if why else ''}"


def short_reason(state: State) -> str:
    """Why it ended, in a few words, where its exit code does not say it; else ""."""
    kind = str((state["reason"] or {}).get("kind", ""))
    if kind and kind not in SAID_BY_CODE and len(kind) <= TELLING:
        return kind
    return BY.get(str(state["by"]), "") if state["exit_code"] else ""


def health_text(state: State) -> str:
    """What stands in brackets about its health; "" where nobody asks."""
    status = health_of(state)
    return {"starting": "health: starting", "none": ""}.get(status, status)


def health_of(state: State) -> str:
    """starting, healthy, unhealthy, or none."""
    return str((state["health"] or {}).get("status") or "none")


def _code(state: State) -> str:
    return "unknown" if state["exit_code"] is None else str(state["exit_code"])


def _since(then: str, now: float) -> str:
    begun = human.moment_of(then)
    return human.duration(now - begun) if begun is not None else "an unknown time"
