"""What a check hands back, and how an attempt becomes one."""

from __future__ import annotations

from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.checks.attempt import Outcome

OK = "ok"
LIMITED = "limited"
MISSING = "missing"


@record
class Finding:
    """One means of isolation, tried.

    status    "ok", "limited" (there, but less than it could be) or "missing"
    detail    what was tried, and what the kernel said
    meaning   what that means for you
    fix       one command that changes it, "" where there is none or nothing to fix
    needed    whether `cloche run` cannot do without it here
    """

    name: str
    status: str
    detail: str
    meaning: str
    fix: str = ""
    needed: bool = False

    @property
    def fatal(self) -> bool:
        """Whether `cloche run` fails for want of this."""
        return self.needed and self.status == MISSING


def judge(
    name: str, outcome: Outcome, tried: str, *, good: str, bad: str, fix: str = "", needed: bool = False
) -> Finding:
    """The finding of an attempt that works or does not: `good` and `bad` are what either means.

    Where the attempt returned a text, that is what the kernel said.
    """
    detail = f"{tried}: {outcome.says}"
    if outcome.ok:
        return Finding(name, OK, detail, good, needed=needed)
    return Finding(name, MISSING, detail, bad, fix, needed)
