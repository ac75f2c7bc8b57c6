"""What is asked of a container's health: of --health-… and of the image's HEALTHCHECK, as docker puts them together.

Pure. The command line goes before the image, member by member; what neither says is docker's: every 30 seconds, 30
seconds long at most, three failures in a row, no period of grace, and every 5 seconds in one. An image may ask for
less than LEAST between two looks, and does not get it: each look is a process of ours, outside of its limits.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.engine.keeping import Keep
    from cloche.spec.image import Execution

    Check = dict[str, Any]

SHELL = ["/bin/sh", "-c"]
INTERVAL, TIMEOUT, START_INTERVAL, RETRIES = 30.0, 30.0, 5.0, 3
LEAST = 0.1  # seconds
NANO = 1e-9


def check_of(keep: Keep, image: Execution | None) -> Check:
    """{"argv", "interval", "timeout", "start_period", "start_interval" in seconds, "retries"}; {} for none."""
    theirs = image.Healthcheck if image is not None else None
    test = ["CMD-SHELL", keep.health_cmd] if keep.health_cmd else list((theirs and theirs.Test) or ())
    argv = _argv(test, list((image and image.Shell) or SHELL))
    if keep.no_healthcheck or not argv:
        return {}

    def seconds(own: float, member: str, usual: float) -> float:
        said = getattr(theirs, member) if theirs is not None else None
        return own or (said * NANO if said and said > 0 else usual)

    said = theirs.Retries if theirs is not None and theirs.Retries else 0
    return {
        "argv": argv,
        "interval": max(LEAST, seconds(keep.health_interval, "Interval", INTERVAL)),
        "timeout": seconds(keep.health_timeout, "Timeout", TIMEOUT),
        "start_period": seconds(keep.health_start_period, "StartPeriod", 0.0),
        "start_interval": max(LEAST, seconds(keep.health_start_interval, "StartInterval", START_INTERVAL)),
        "retries": keep.health_retries or (said if said > 0 else RETRIES),
    }


def _argv(test: list[str], shell: list[str]) -> list[str]:
    """The command of a Test; [] for none, and for a kind that nobody knows."""
    kind, *words = test or ["NONE"]
    if kind == "CMD":
        return words
    return [*shell, " ".join(words)] if kind == "CMD-SHELL" and words else []


def go_duration(seconds: float) -> str:
    """A time as Go prints it: 1s, 1m30s, 500ms, 1h0m0s."""
    if seconds < 1:
        return f"{seconds * 1000:.6f}".rstrip("0").rstrip(".") + "ms" if seconds else "0s"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours:.0f}h{minutes:.0f}m{text}"
    return f"{minutes:.0f}m{text}" if minutes else text
