"""What a seccomp profile means, in sentences for people. Pure."""

from __future__ import annotations

import errno

from cloche.runtime.seccomp import syscalls
from cloche.runtime.seccomp.vocabulary import compat_abis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_VERBS = {
    "SCMP_ACT_ALLOW": "allowed",
    "SCMP_ACT_LOG": "allowed and logged",
    "SCMP_ACT_ERRNO": "refused",
    "SCMP_ACT_NOTIFY": "handed to the listener",
    "SCMP_ACT_TRACE": "handed to the tracer",
    "SCMP_ACT_TRAP": "answered with SIGSYS",
    "SCMP_ACT_KILL": "answered by killing the thread",
    "SCMP_ACT_KILL_THREAD": "answered by killing the thread",
    "SCMP_ACT_KILL_PROCESS": "answered by killing the process",
}
_SHOWN = 8


def explain(profile: Mapping[str, Any], arch: str = "x86_64") -> list[str]:
    """Two to a few plain sentences: how many calls get which answer, which depend on arguments, for whom.

    `profile` is in OCI's shape and valid (`compile_filter` took it).
    """
    existing = {name for name, nr in syscalls.numbers(arch).items() if nr >= 0}
    answers: dict[str, list[str]] = {}
    decided: set[str] = set()
    depends: list[str] = []
    for rule in profile.get("syscalls") or ():
        for name in dict.fromkeys(rule["names"]):
            if name not in existing or name in decided:
                continue
            if rule.get("args"):
                depends.append(name)
            else:
                decided.add(name)
                answers.setdefault(_verb(rule, "action", "errnoRet"), []).append(name)
    depends = [name for name in dict.fromkeys(depends) if name not in decided]
    sentences = [f"{_calls(len(names))} {verb}: {_some(names)}." for verb, names in answers.items()]
    if depends:
        sentences.append(f"It depends on the arguments for {', '.join(depends)}.")
    sentences.append(f"Anything else is {_verb(profile, 'defaultAction', 'defaultErrnoRet')}.")
    abis = compat_abis(profile, arch)
    if abis:
        sentences.append(f"The same goes for 32-bit programs ({', '.join(abis)}), by the numbers they have for these.")
    return sentences


def _calls(count: int) -> str:
    return "1 system call is" if count == 1 else f"{count} system calls are"


def _verb(entry: Mapping[str, Any], key: str, errno_key: str) -> str:
    verb = _VERBS[entry[key]]
    if entry[key] == "SCMP_ACT_ERRNO":
        number = entry.get(errno_key)
        number = 1 if number is None else number
        verb += f" with {errno.errorcode.get(number, f'errno {number}')}"
    return verb


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
