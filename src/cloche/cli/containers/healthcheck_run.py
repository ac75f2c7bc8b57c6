"""`cloche healthcheck run`: one look at the health of a container, now."""

from __future__ import annotations

import sys

from cloche.engine import containers
from cloche.engine.supervisor import client
from cloche.errors import ConflictError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def healthcheck_run(parsed: Parsed) -> int:
    """Carry out `healthcheck run`; returns 0 where the look succeeds, 1 where it fails, as podman's."""
    container = containers.running(parsed.positionals[0])
    if container.status == "paused":
        raise ConflictError(f"container {container.name} is paused", hint=f"cloche unpause {container.name}")
    word, *rest = client.ask_surely("check", container.id) if container.kept else ("no check",)
    if word == "no check":
        raise ConflictError(
            f"container {container.name} has no health check", hint="give it one: cloche run --health-cmd COMMAND"
        )
    if word != "looked":
        raise ConflictError(f"container {container.id} is not running")
    if rest[0] == 0:
        return 0
    sys.stdout.write("unhealthy\n")
    return 1
