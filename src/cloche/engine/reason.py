"""Why a command ended: from what the kernel counted and the stage saw, in one word and one sentence."""

from __future__ import annotations

from cloche.engine.signals import signal_name
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXITED = "exited"
SIGNAL = "signal"
TIMEOUT = "timeout"
OUT_OF_MEMORY = "out of memory"
PIDS_LIMIT = "pids limit"
BLOCKED = "blocked syscall"
NOT_EXECUTED = "not executed"
CLD_EXITED = 1
SIGSYS = 31
UNLIMITED = 1 << 62  # of v1, whose number for that is a little less than 1 << 63; v2 says max
# calls that libraries try and do without when refused: alone they do not explain a failure
PROBES = {"get_mempolicy", "io_uring_setup", "perf_event_open", "userfaultfd"}


@record
class Reason:
    """What acted: `kind` is one of the words above, `text` a sentence, `hint` what to do about it.

    `blocked` are the names of system calls that the seccomp filter refused, `signal` the number of
    the signal that ended the command, 0 if none did.
    """

    kind: str
    text: str
    hint: str = ""
    blocked: tuple[str, ...] = ()
    signal: int = 0

    def __str__(self) -> str:
        return self.text


@record
class Usage:
    """What it used: processor seconds (user, system), peak memory in bytes, wall-clock seconds.

    `peak_memory` is the cgroup's peak where there is one, else the largest process' resident size.
    """

    cpu: float
    user: float
    system: float
    peak_memory: int
    wall: float


def usage_of(ended: dict[str, Any]) -> Usage:
    """Usage from the stage's report."""
    user, system = ended.get("cpu", (0.0, 0.0))
    peak = ended["counters"].get("peak", "").strip()
    memory = int(peak) if peak.isdecimal() else int(ended.get("max_rss", 0))
    return Usage(user + system, user, system, memory, ended["wall"])


def exit_code_of(ended: dict[str, Any]) -> int:
    """124 for a time-out, 126 and 127 as the shell has them, 128+n for signal n, else the command's own."""
    if ended["timed_out"]:
        return 124
    if "not executed" in ended:
        return int(ended["not executed"][0])
    if ended["code"] == CLD_EXITED:
        return int(ended["status"])
    return 128 + int(ended["status"])


def reason_of(ended: dict[str, Any], names: tuple[str, ...], timeout: float) -> Reason:
    """Say why it ended. `names` are the refused calls."""
    code = exit_code_of(ended)
    killed = 0 if ended.get("code", CLD_EXITED) == CLD_EXITED else int(ended["status"])
    refused = ", ".join(names)
    if ended["timed_out"]:
        text = f"timed out after {timeout:g} s; everything inside was killed"
        return Reason(TIMEOUT, text, "give it more time: --timeout", names, killed)
    if "not executed" in ended:
        _, _, text, hint = ended["not executed"]
        return Reason(NOT_EXECUTED, text, hint, names)
    ends = f"killed by {signal_name(killed)}" if killed else f"exited with {code}"
    if code and oom_kills(ended["counters"]):
        memory = _memory_limit(ended["counters"])
        limit = f" of {memory >> 20} MiB" if memory else ""
        text = f"{ends}: out of memory, the limit{limit} was reached and the kernel killed a process"
        return Reason(OUT_OF_MEMORY, text, "give it more: --memory", names, killed)
    if code and _count(ended["counters"].get("pids", ""), "max"):
        text = f"{ends}: the limit on processes was reached and the kernel refused to make another"
        return Reason(PIDS_LIMIT, text, "allow more: --pids-limit", names, killed)
    if killed == SIGSYS:
        which = f": {refused}" if refused else ""
        return Reason(BLOCKED, f"killed by the seccomp filter for a refused system call{which}", _ALLOW, names, killed)
    culprits = [name for name in names if name not in PROBES]
    if code and culprits:
        refused = ", ".join(culprits)
        text = f"{ends}, after the seccomp filter refused {refused}"
        return Reason(BLOCKED, text, _ALLOW, names, killed)
    if killed:
        return Reason(SIGNAL, ends, "", names, killed)
    return Reason(EXITED, ends, "", names)


_ALLOW = "if it needs that: --cap-add for the capability behind it, or --security-opt seccomp=FILE"


def oom_kills(counters: dict[str, str]) -> int:
    """How many processes were killed for memory: v1's memory.oom_control, v2's memory.events."""
    return _count(counters.get("oom", "") + "\n" + counters.get("events", ""), "oom_kill")


def _memory_limit(counters: dict[str, str]) -> int:
    """The limit that was in force at the end, in bytes, whoever had set it; 0 for none."""
    text = counters.get("limit", "").strip()
    return int(text) if text.isdecimal() and int(text) < UNLIMITED else 0


def _count(text: str, key: str) -> int:
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == key and words[1].isdecimal():
            return int(words[1])
    return 0
