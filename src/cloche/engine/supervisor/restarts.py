"""Whether a container that has ended is to run again, and when: docker's policies, and its back-off.

The first restart comes after a tenth of a second, each one after twice the time of the one before, a minute at most;
one that has run for ten seconds begins anew. Pure, but for the time.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIRST, LONGEST, LONG_ENOUGH = 0.1, 60.0, 10.0  # seconds


class Backoff:
    """The times between the starts of one container."""

    def __init__(self) -> None:
        self.seconds = FIRST
        self.began = 0.0  # when its command was executed last, CLOCK_MONOTONIC; 0: not yet

    def begin(self) -> None:
        """Its command runs."""
        self.began = time.monotonic()

    def next(self) -> float:
        """Seconds until the next start."""
        if self.began and time.monotonic() - self.began >= LONG_ENOUGH:
            self.seconds = FIRST
        found, self.seconds, self.began = self.seconds, min(self.seconds * 2, LONGEST), 0.0
        return found


def is_wanted(keep: dict[str, Any], state: dict[str, Any]) -> bool:
    """Whether one that ended like this is to run again; `keep` and `state` as they are written down."""
    policy, code, restarts = keep["restart"], state["exit_code"], state["restarts"]
    on_failure = keep.get("health_on_failure", "none")
    if state["by"] == "user" or (state["by"] == "health" and on_failure == "stop"):
        return False
    if state["by"] == "health" and on_failure == "restart":
        return True
    if state["status"] == "created" and not restarts:
        return False  # its first start has failed, which was somebody's to see
    if policy == "on-failure":
        return code != 0 and not (keep["restart_most"] and restarts >= keep["restart_most"])
    return policy in {"always", "unless-stopped"}
