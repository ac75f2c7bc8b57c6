"""`cloche why`: the story of a container in three lines.

what it runs, and how it was started
what ended it, and which layer acted; or how it goes
what to do about it
"""

from __future__ import annotations

import sys
import time

from cloche.cli import human
from cloche.cli.containers.states import health_of
from cloche.cli.output import message
from cloche.engine import containers, event_log
from cloche.linux.reading import boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.cli.grammar import Parsed
    from cloche.engine.containers import Container

    Event = dict[str, Any]

# who acted, by the kind of a reason
ACTED = {
    "out of memory": "the memory limit of its control group",
    "pids limit": "the limit on processes of its control group",
    "timeout": "its time-out",
    "blocked syscall": "the seccomp filter",
    "not executed": "the kernel, which could not execute the command",
    "exited": "the command itself",
    "signal": "a signal that cloche did not send",
    "unknown": "nobody knows: no supervisor was there",
}
MORE = {"out of memory": "--memory SIZE", "pids limit": "--pids-limit NUMBER"}  # what helps, of what can be updated
LIMITS = ("memory", "cpus", "pids_limit", "timeout", "cpu_quota", "memory_swap")
LONGEST = 60  # characters of a command


def why(parsed: Parsed) -> int:
    """Carry out `why`."""
    container = containers.settled(containers.find(parsed.positionals[0]))
    told = list(event_log.read(0, is_meant=lambda event: event["Actor"]["ID"] == container.id))
    for line in story(container, told, time.time()):
        sys.stdout.write(f"{message(line)}\n")
    return 0


def story(container: Container, told: list[Event], now: float) -> tuple[str, str, str]:
    """The three lines; `told` are its events, the oldest first, `now` is in seconds since 1970."""
    first = _what(container, now)
    if container.status in containers.ALIVE:
        return first, _how_it_goes(container, told, now) + _lost(container), _advice(container)
    if not container.state["started_at"] or container.status == "created":
        return first, _not_started(container), _advice(container)
    return first, _end(container, told, now) + _lost(container), _advice(container)


def _what(container: Container, now: float) -> str:
    known, options = container.known, container.known["options"]
    words = " ".join(map(str, known["command"]))
    command = words if len(words) <= LONGEST else f"{words[:LONGEST]}…"
    limits = " ".join(f"--{name.replace('_', '-')} {options[name]}" for name in LIMITS if options.get(name))
    image = str(known["image"] or options.get("rootfs") or "no image")
    started = container.state["started_at"]
    when = f"started {_ago(started, now)}" if started else f"made {_ago(str(known['created']), now)}, never started"
    how = [when, f"with {limits}" if limits else "", _policy(container)]
    return f"{_name(container)}: `{command}` of {image}, {', '.join(filter(None, how))}"


def _policy(container: Container) -> str:
    keep, restarts = container.known["keep"], container.state["restarts"]
    policy, most = str(keep.get("restart", "no")), keep.get("restart_most")
    if policy == "no" and not restarts:
        return "--rm" if keep.get("auto_remove") else ""
    text = f"--restart {policy}{f':{most}' if most else ''}"
    return f"{text}, started again {restarts} {'time' if restarts == 1 else 'times'}" if restarts else text


def _not_started(container: Container) -> str:
    error = str(container.state["error"])
    return f"it could not be started: {error}" if error else "it has not been started"


def _end(container: Container, told: list[Event], now: float) -> str:
    state = container.state
    code = "an exit code that nobody has seen" if state["exit_code"] is None else f"exit code {state['exit_code']}"
    start, end = human.moment_of(state["started_at"]), human.moment_of(state["finished_at"])
    length = f", after {human.duration(end - start).lower()}" if start is not None and end is not None else ""
    when = f" {_ago(state['finished_at'], now)}" if end is not None else ""
    reason = state["reason"] or {}
    text = str(reason.get("text", ""))
    said = "" if not text or text == f"exited with {state['exit_code']}" else f": {text}"
    return f"it ended{when}{length} with {code}{said}; what acted: {_who(container, told)}"


def _lost(container: Container) -> str:
    """What its log lacks."""
    lost = container.state["lost"]
    return f"; {lost.get('bytes')} bytes of what it said are lost: {lost.get('why')}" if lost else ""


def _who(container: Container, told: list[Event]) -> str:
    """The layer that ended it."""
    state = container.state
    kind = str((state["reason"] or {}).get("kind", ""))
    if state["by"] == "health":
        return "its health checks, which failed"
    if state["by"] == "timeout":
        return ACTED["timeout"]
    if kind in {"signal", "exited"} and state["by"] == "user":
        asked = [event["Action"] for event in told if event["Action"] in {"stop", "kill"}]
        return f"cloche {asked[-1]}" if asked else "somebody who asked cloche for its end"
    if not kind and state["boot"] and state["boot"] != boot_id():
        return "the machine, which was started anew"
    return ACTED.get(kind, kind or ACTED["unknown"])


def _how_it_goes(container: Container, told: list[Event], now: float) -> str:
    state, status = container.state, container.status
    if status == "restarting":
        text = f"it ended {_ago(state['finished_at'], now)} and is about to be started again"
    else:
        begun = human.moment_of(state["started_at"])
        length = f" for {human.duration(now - begun).lower()}" if begun is not None else ""
        text = "it stands still" if status == "paused" else f"it has been running{length}"
    if health_of(state) != "none":
        failing = (state["health"] or {}).get("failing")
        text += f", {health_of(state)}" + (f" ({failing} failed in a row)" if failing else "")
    died = [event for event in told if event["Action"] == "die"]
    if died:
        last = died[-1]
        code = last["Actor"]["Attributes"].get("exitCode", "unknown")
        text += f"; the last time it ended was {human.duration(now - last['timeNano'] / 1e9).lower()} ago, with {code}"
    return text


def _advice(container: Container) -> str:
    name, state = _name(container), container.state
    reason = state["reason"] or {}
    option, hint = MORE.get(str(reason.get("kind")), ""), str(reason.get("hint", ""))
    if container.status == "restarting":
        return f"to have it stay down: cloche update --restart no {name}"
    if container.status == "paused":
        return f"to let it go on: cloche unpause {name}"
    if container.running:
        return _probed(container) or f"nothing to do; to end it: cloche stop {name}"
    if option:
        return f"give it more: cloche update {option} {name}; then: cloche start {name}"
    if hint:
        return f"{hint}; then: cloche start {name}"
    if state["exit_code"] == 0 and container.status == "exited":
        return f"nothing to do; to run it again: cloche start {name}"
    return f"to run it again: cloche start {name}"


def _probed(container: Container) -> str:
    """What the last health check of one that is not well had to say."""
    health = container.state["health"] or {}
    log = health.get("log")
    if health_of(container.state) != "unhealthy" or not isinstance(log, list) or not log:
        return ""
    last = log[-1] if isinstance(log[-1], dict) else {}
    return f"its last health check ended with {last.get('exit_code')}: {str(last.get('output', '')).strip()}"


def _name(container: Container) -> str:
    return container.name or container.id[:12]


def _ago(then: str, now: float) -> str:
    return human.ago(then, now).lower()
