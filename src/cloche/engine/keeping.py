"""What is asked of a container that is kept, besides what its plan says: restarts, logs, health, its end."""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.records import record

RESTARTS = ("no", "always", "unless-stopped", "on-failure")
ON_FAILURE = ("none", "kill", "restart", "stop")
STREAMS = ("stdin", "stdout", "stderr")
STOP_TIMEOUT = 10.0  # seconds, as docker's


@record
class Keep:
    """The part of `run` and `create` that is the engine's; names and meanings are docker's.

    auto_remove     --rm: removed at its end
    restart         --restart: no, always, unless-stopped, on-failure
    restart_most    of on-failure:N; 0 for no limit
    log_driver      json-file, local, journald, syslog, none
    log_options     max-size, max-file, compress, …
    health_*        --health-cmd and the like, times in seconds; "" and 0 for what the image says, or docker's defaults
    health_on_failure  what is done with one that is not well any more: none, kill, restart, stop (podman's)
    no_healthcheck  none, whatever the image says
    attached        the streams that are those of the command that makes it: stdin, stdout, stderr
    stdin_once      its stdin ends when that of a command does that is attached to it: it was not made with --detach
    detach_keys     the keys that leave a terminal, as docker writes them: ctrl-p,ctrl-q
    """

    auto_remove: bool = False
    restart: str = "no"
    restart_most: int = 0
    log_driver: str = "json-file"
    log_options: dict[str, str] = {}  # noqa: RUF012 - never changed, as the whole record
    health_cmd: str = ""
    health_interval: float = 0.0
    health_timeout: float = 0.0
    health_retries: int = 0
    health_start_period: float = 0.0
    health_start_interval: float = 0.0
    health_on_failure: str = "none"
    no_healthcheck: bool = False
    attached: tuple[str, ...] = ()
    stdin_once: bool = False
    detach_keys: str = ""


def restart_of(text: str) -> tuple[str, int]:
    """A restart policy and how often at most, 0 for always: on-failure:3. Raises SpecError."""
    policy, colon, times = text.partition(":")
    if policy not in RESTARTS or (colon and policy != "on-failure"):
        raise SpecError(f"invalid restart policy {text!r}", hint="no, always, unless-stopped, on-failure[:TIMES]")
    return policy, whole(times, "--restart on-failure:") if colon else 0


def on_failure(word: str, what: str) -> str:
    """What is to be done with one that is not well. Raises SpecError, which says of `what` it is none of these."""
    if word not in ON_FAILURE:
        raise SpecError(f"{what} {word!r} is unknown", hint=f"there are {', '.join(ON_FAILURE)}")
    return word


def whole(text: str, what: str) -> int:
    """A whole number of at most nine digits. Raises SpecError, which says of `what` it is none."""
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise SpecError(f"{what} {text!r} is not a number")
    return int(text)
