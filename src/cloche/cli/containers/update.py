"""`cloche update`: other limits, or another restart policy, for containers."""

from __future__ import annotations

from cloche.cli.containers.each import for_each
from cloche.engine import containers
from cloche.engine.keeping import restart_of
from cloche.errors import SpecError
from cloche.sandbox import updating

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed

LISTS = {"cpuset_cpus", "cpuset_mems"}  # of which an empty one stands for the one it has, as in docker


def update(parsed: Parsed) -> int:
    """Carry out `update`; prints the names of those that were changed."""
    given = {name: text for name in updating.LIMITS if (text := parsed.text(name)) is not None}
    limits = {name: text for name, text in given.items() if text or name not in LISTS}
    updating.check(limits)
    policy = parsed.text("restart")
    restart = restart_of(policy) if policy is not None else None
    if not given and restart is None:
        raise SpecError("you must provide one or more flags when using this command", hint="such as --memory 512m")

    def work(word: str) -> str:
        updating.update(containers.find(word), limits, restart)
        return word

    return for_each(parsed.positionals, work)
