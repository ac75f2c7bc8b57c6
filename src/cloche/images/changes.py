"""Instructions of a Dockerfile that say how an image is run, applied to its config: what `import --change` takes.

    CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR

As docker has them (Dockerfile reference): a command is a JSON array, or text for a shell; variables are those of ENV.
"""

from __future__ import annotations

import posixpath
import signal

from cloche.errors import SpecError
from cloche.images.local import volume_place
from cloche.images.words import SPACE, expand, split
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Config = dict[str, Any]

SHELL = ["/bin/sh", "-c"]
PROTOCOLS = ("tcp", "udp", "sctp")
LAST_PORT = 65535
NOT_LATER = ("ONBUILD", "FROM", "MAINTAINER")
UNITS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
SHORTEST = 10**6  # nanoseconds between health checks


def apply_changes(config: Config, changes: list[str]) -> Config:
    """The config after these instructions, one or several lines each. Raises SpecError that names the one at fault."""
    work = _Work({**config})
    for line in (line.strip() for text in changes for line in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        word, rest = _first(line)
        known = KNOWN.get(word.upper())
        if known is None:
            raise SpecError(f"{line!r} is no change that can be made", hint=f"there are {' '.join(KNOWN)}")
        try:
            known(work, rest)
        except SpecError as error:
            raise SpecError(f"{line!r}: {error}", hint=error.hint) from None
    return work.config


def _first(text: str) -> tuple[str, str]:
    """The first word, and the rest."""
    word = text.split(None, 1)[0] if text.strip() else ""
    return word, text.strip()[len(word) :].strip(SPACE)


class _Work:
    """The config that is being changed, and whether CMD was: ENTRYPOINT takes away one from before."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.has_command = False

    def variables(self) -> dict[str, str]:
        pairs = (entry.partition("=") for entry in self.config.get("Env") or ())
        return {name: value for name, _, value in pairs}

    def expand(self, text: str) -> str:
        return expand(text, self.variables())


def _command(text: str) -> tuple[list[str], bool]:
    """A command, and whether it was a JSON array."""
    if text.startswith("["):
        try:
            found = read_json(text)
        except SpecError:
            found = None  # for a shell, where [ is a command
        if isinstance(found, list):
            if not all(isinstance(word, str) for word in found):
                raise SpecError("an array of words has something else in it", hint='["program", "argument"]')
            return found, True
    return ([*SHELL, text] if text else []), False


def _cmd(work: _Work, text: str) -> None:
    work.config["Cmd"], _ = _command(text)
    work.has_command = bool(work.config["Cmd"])


def _entrypoint(work: _Work, text: str) -> None:
    work.config["Entrypoint"], _ = _command(text)
    if not work.has_command:
        work.config.pop("Cmd", None)


def _pairs(work: _Work, text: str) -> list[tuple[str, str]]:
    """NAME=VALUE …, or in the old way NAME and a value that is all the rest."""
    words = split(text)
    if not words:
        raise SpecError("needs NAME=VALUE")
    if "=" not in words[0]:
        name, rest = _first(text)
        if not rest:
            raise SpecError(f"{name} has no value", hint="NAME=VALUE")
        return [(work.expand(name), work.expand(rest))]
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise SpecError(f"{word} is not NAME=VALUE", hint="put quotes around a value with spaces")
        found.append((work.expand(name), work.expand(value)))
    return found


def _env(work: _Work, text: str) -> None:
    known = dict.fromkeys(work.config.get("Env") or ())
    entries = {entry.partition("=")[0]: entry for entry in known}
    entries.update({name: f"{name}={value}" for name, value in _pairs(work, text)})
    work.config["Env"] = list(entries.values())


def _label(work: _Work, text: str) -> None:
    work.config["Labels"] = {**(work.config.get("Labels") or {}), **dict(_pairs(work, text))}


def _expose(work: _Work, text: str) -> None:
    ports = dict(work.config.get("ExposedPorts") or {})
    for word in _some(text.split()):
        numbers, slash, protocol = work.expand(word).partition("/")
        first, _, last = numbers.partition("-")
        protocol = protocol.lower() if slash else "tcp"
        good = all(part.isascii() and part.isdecimal() and len(part) <= 5 for part in (first, last or first))
        if not good or not int(first) <= int(last or first) <= LAST_PORT or protocol not in PROTOCOLS:
            raise SpecError(f"{word} is not a port", hint="PORT[-PORT][/tcp|udp|sctp]")
        ports.update({f"{port}/{protocol}": {} for port in range(int(first), int(last or first) + 1)})
    work.config["ExposedPorts"] = dict(sorted(ports.items()))


def _volume(work: _Work, text: str) -> None:
    words, is_json = _command(text)
    places = [work.expand(word) for word in _some(words if is_json else text.split())]
    if "" in places:
        raise SpecError("an empty name is no place")
    for place in places:
        if not volume_place(place):  # no container could be made of that image
            raise SpecError(f"{place} cannot be a volume", hint="it is the container's own")
    work.config["Volumes"] = {**(work.config.get("Volumes") or {}), **{place: {} for place in places}}


def _some(words: list[str]) -> list[str]:
    if not words:
        raise SpecError("needs a value")
    return words


def _one(work: _Work, text: str) -> str:
    if not text:
        raise SpecError("needs a value")
    return work.expand(text)


def _user(work: _Work, text: str) -> None:
    work.config["User"] = _one(work, text)


def _workdir(work: _Work, text: str) -> None:
    before = work.config.get("WorkingDir") or "/"
    work.config["WorkingDir"] = "/" + posixpath.normpath(posixpath.join("/", before, _one(work, text))).lstrip("/")


def _stop_signal(work: _Work, text: str) -> None:
    given = _one(work, text)
    name = given.upper()
    number = int(given) if given.isascii() and given.isdecimal() and len(given) < 10 else 0
    start, _, offset = name.removeprefix("SIG").partition("+" if "+" in name else "-")
    real_time = start in {"RTMIN", "RTMAX"} and (not offset or offset.isdecimal())
    if not (
        0 < number <= signal.SIGRTMAX or real_time or "SIG" + name.removeprefix("SIG") in signal.Signals.__members__
    ):
        raise SpecError(f"{given} is not a signal", hint="a number, or a name such as SIGTERM")
    work.config["StopSignal"] = given


def _onbuild(work: _Work, text: str) -> None:
    word = _first(text)[0].upper()
    if not word or word in NOT_LATER:
        raise SpecError(
            f"{word or 'nothing'} cannot be done later", hint="ONBUILD INSTRUCTION, such as ONBUILD RUN make"
        )
    work.config["OnBuild"] = [*(work.config.get("OnBuild") or ()), text]


def _healthcheck(work: _Work, text: str) -> None:
    found: Config = {}
    word, rest = _first(text)
    while word.startswith("--"):
        name, _, value = word[2:].partition("=")
        if name not in TIMES and name != "retries":
            raise SpecError(
                f"--{name} is unknown", hint=f"there are {' '.join('--' + known for known in TIMES)} --retries"
            )
        found[TIMES.get(name, "Retries")] = _retries(value) if name == "retries" else nanoseconds(value)
        word, rest = _first(rest)
    kind = word.upper()
    if kind == "NONE" and not rest and not found:
        found["Test"] = ["NONE"]
    elif kind == "CMD" and rest:
        command, is_json = _command(rest)
        found["Test"] = ["CMD", *command] if is_json else ["CMD-SHELL", rest]
    else:
        raise SpecError("is neither NONE nor CMD with a command")
    work.config["Healthcheck"] = found


TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}


def _retries(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 11 and 0 < int(text) < 1 << 31):
        raise SpecError(f"--retries {text[:80]} is no number above 0")
    return int(text)


def nanoseconds(text: str) -> int:
    """A duration in Go's way, 1m30s or 1.5h; 0 or at least a millisecond. Raises SpecError."""
    total, rest = 0, text
    while rest and rest != "0":
        digits = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        unit = rest[len(digits) :]
        unit = unit[: len(unit) - len(unit.lstrip("hmsuµn"))]
        whole, _, fraction = digits.partition(".")
        good = unit in UNITS and (whole or fraction) and "." not in fraction and len(digits) <= 18
        if not good:
            raise SpecError(f"{text!r} is not a time", hint="30s, 1m30s, 1.5h")
        scale = UNITS[unit]
        total += int(whole or 0) * scale + int(fraction or 0) * scale // 10 ** len(fraction)
        rest = rest[len(digits) + len(unit) :]
    if not text or 0 < total < SHORTEST:
        raise SpecError(f"{text!r} is shorter than a millisecond" if text else "has a time that is empty")
    return total


KNOWN: dict[str, Callable[[_Work, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
