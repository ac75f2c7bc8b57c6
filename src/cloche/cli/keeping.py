"""From a parsed `run` or `create` to what the engine is to do with the container besides running it."""

from __future__ import annotations

from cloche.engine.keeping import STREAMS, Keep, on_failure, restart_of, whole
from cloche.errors import ConflictError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.cli.grammar import Parsed

TIMES = ("interval", "timeout", "start_period", "start_interval")
SHORTEST = 0.001  # seconds


def keep_of(parsed: Parsed, *, auto_remove: bool) -> Keep:
    """The Keep that a command line asks for. Raises SpecError, ConflictError."""
    from cloche.engine.logs.options import check_options

    restart, most = restart_of(parsed.text("restart") or "no")
    if auto_remove and restart != "no":
        if parsed.flag("rm"):
            raise contradiction()
        raise ConflictError("--restart is for containers that stay", hint="add -d, or --rm=false")
    driver = parsed.text("log_driver") or "json-file"
    options = dict(_key_value(text) for text in parsed.all("log_opt"))
    check_options(driver, options)
    return Keep(
        auto_remove=auto_remove,
        restart=restart,
        restart_most=most,
        log_driver=driver,
        log_options=options,
        attached=attached_of(parsed),
        stdin_once=parsed.flag("interactive") and parsed.values.get("detach") is not True,
        detach_keys=checked_keys(parsed.text("detach_keys")),
        **_health_of(parsed),
    )


def attached_of(parsed: Parsed) -> tuple[str, ...]:
    """The streams that are those of whoever makes it, as docker has it. Raises SpecError, ConflictError."""
    given = [word.lower() for word in parsed.all("attach")]
    if wrong := [word for word in given if word not in STREAMS]:
        raise SpecError(f"--attach {wrong[0]!r} is no stream", hint="valid streams are STDIN, STDOUT and STDERR")
    if parsed.values.get("detach") is True:
        if given:
            raise ConflictError(
                "conflicting options: cannot specify both --attach and --detach", hint="leave one of them out"
            )
        return ()
    wanted = {*(given or ("stdout", "stderr")), *(("stdin",) if parsed.flag("interactive") else ())}
    return tuple(name for name in STREAMS if name in wanted)


def _health_of(parsed: Parsed) -> dict[str, Any]:
    """What is asked of its health. Raises SpecError, ConflictError."""
    off = parsed.flag("no_healthcheck")
    if off and (
        parsed.text("health_cmd") or any(parsed.text(f"health_{name}") is not None for name in ("retries", *TIMES))
    ):
        raise ConflictError("--no-healthcheck conflicts with --health-* options", hint="leave one of them out")
    retries = parsed.text("health_retries")
    return {
        "health_cmd": parsed.text("health_cmd") or "",
        "health_retries": 0 if retries is None else whole(retries, "--health-retries"),
        **{f"health_{name}": _duration(parsed, f"health_{name}") for name in TIMES},
        "health_on_failure": on_failure(parsed.text("health_on_failure") or "none", "--health-on-failure"),
        "no_healthcheck": off,
    }


def contradiction() -> ConflictError:
    """What is removed at its end cannot be started again; docker's sentence."""
    return ConflictError("conflicting options: cannot specify both --restart and --rm", hint="leave one of them out")


def checked_keys(text: str | None) -> str:
    """Detach keys as they were given, "" for those that are usual. Raises SpecError."""
    if text:
        from cloche.cli.detaching import parse_keys

        parse_keys(text)
    return text or ""


def _key_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise SpecError(f"--log-opt {text!r} is not KEY=VALUE", hint="such as max-size=10m")
    return key, value


def _duration(parsed: Parsed, dest: str) -> float:
    from cloche.sandbox.values import duration

    text, what = parsed.text(dest), f"--{dest.replace('_', '-')}"
    found = duration(text, what) if text is not None else 0.0
    if 0 < found < SHORTEST:
        raise SpecError(f"{what} {text} is too short", hint="1ms is the least, as docker has it")
    return found
