"""From keywords, as a Python program gives them, to the records of what is asked: Options, and Keep.

Names are those of `cloche run`, with underscores; a few are what a program would rather have:

    env={"A": "1"}     labels={"a": "b"}     volumes=["/srv:/srv:ro"]     pids=100     log_options={"max-size": "1m"}
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from cloche.engine.keeping import Keep, on_failure, restart_of
from cloche.engine.logs.options import check_options
from cloche.errors import ConflictError, SpecError
from cloche.sandbox.options import Options
from cloche.sandbox.values import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any

# what `options_of` is given in another way, and what only a command line has
NOT_KEYWORDS = frozenset("command image step trace cidfile pidfile".split())
RENAMED = {"pids": "pids_limit"}  # as keyword: as option
SHELL = ("/bin/sh", "-c")
LENGTHS = ("health_interval", "health_timeout", "health_start_period", "health_start_interval")
KINDS: dict[str, tuple[type, str]] = {
    "restart": (str, "a str, such as on-failure:3"),
    "log_driver": (str, "a str"),
    "log_options": (dict, "a dict of str"),
    "health_cmd": (str, "a str"),
    "health_retries": (int, "a number"),
    "health_on_failure": (str, "a str"),
    "no_healthcheck": (bool, "True or False"),
}
KEPT = frozenset((*LENGTHS, *KINDS))


def command_of(args: Sequence[str] | str) -> tuple[str, ...]:
    """The words of a command; a str is one for `sh -c`. Raises SpecError."""
    command = (*SHELL, args) if isinstance(args, str) else tuple(os.fspath(word) for word in args)
    if not all(isinstance(word, str) for word in command):
        raise SpecError("every argument of the command has to be a str")
    if any("\0" in word for word in command):
        raise SpecError("an argument of the command has a zero byte in it", hint="no program can be given that")
    return command


def options_of(
    function: str,
    command: tuple[str, ...],
    image: str,
    given: Mapping[str, Any],
    *,
    without: Collection[str] = (),
) -> Options:
    """The Options that the keywords of a function ask for; None stands for what was not given.

    Raises TypeError for a keyword it does not have, or that is one of `without`, and SpecError for what is wrong with
    another one.
    """
    values: dict[str, Any] = {"command": command, "image": "" if given.get("rootfs") else image}
    known = Options.__annotations__
    for name, value in given.items():
        if name in _OWN:
            continue
        if name not in known or name in NOT_KEYWORDS or name in without:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
        if value is not None:
            values[name] = _several(value, name) if str(known[name]).startswith("tuple") else value
    if given.get("rootfs"):
        values["rootfs"] = os.fspath(given["rootfs"])
    else:
        values.pop("rootfs", None)
    if given.get("user") is not None:
        values["user"] = str(given["user"])
    if values.get("workdir") is not None:
        values["workdir"] = _path(values["workdir"], "workdir")
    for name, option in RENAMED.items():
        if given.get(name) is not None:
            values[option] = given[name]
    values["env"] = _pairs(given.get("env"), "env")
    values["label"] = (*values.get("label", ()), *_pairs(given.get("labels"), "labels"))
    values["volume"] = (*values.get("volume", ()), *_volumes(given.get("volumes")))
    for name, value in values.items():
        _check(name, value, str(known[name]))
    return Options(**values)


def _check(name: str, value: object, kind: str) -> None:
    """Raise SpecError for what is of another kind than the Option, whose annotation that is."""
    if kind.startswith("tuple"):
        return
    kinds = tuple(KINDS_OF[word] for word in kind.split(" | "))
    wanted = (*kinds, int) if float in kinds else kinds
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in kinds):
        raise SpecError(f"{name} {value!r} is not {' or '.join(NAMES[each] for each in kinds if each in NAMES)}")
    if isinstance(value, str) and "\0" in value:
        raise SpecError(f"{name} {value!r} has a zero byte in it")


KINDS_OF: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool, "None": type(None)}
NAMES = {str: "a str", int: "an int", float: "a number", bool: "True or False"}


def _path(value: object, name: str) -> str:
    if not isinstance(value, str | os.PathLike):
        raise SpecError(f"{name} {value!r} is no path")
    return str(os.fspath(value))


def _pairs(given: object, name: str) -> tuple[str, ...]:
    if not isinstance(given, Mapping | None):
        raise SpecError(f"{name} {given!r} is not a dict of str")
    return tuple(_pair(key, value, name) for key, value in (given or {}).items())


def _volumes(given: object) -> tuple[str, ...]:
    """Words as those of -v; or, as docker's SDK has it, {SOURCE: {"bind": PLACE, "mode": "ro"}}."""
    if not isinstance(given, Mapping):
        return _several(given or (), "volumes")
    found = []
    for source, place in given.items():
        words = [place.get("bind"), place.get("mode", "rw")] if isinstance(place, Mapping) else [place]
        if not isinstance(source, str | os.PathLike) or not all(isinstance(word, str) and word for word in words):
            raise SpecError(
                f"volumes: {source!r}: {place!r} is no mount", hint='such as {"/srv": {"bind": "/data", "mode": "ro"}}'
            )
        found.append(":".join((str(os.fspath(source)), *words)))
    return tuple(found)


_OWN = frozenset({"rootfs", "user", "env", "labels", "volumes", *RENAMED})


def keep_of(given: Mapping[str, Any], *, auto_remove: bool = False) -> Keep:
    """The Keep that keywords ask for, of those in KEPT. Raises SpecError, ConflictError."""
    values = {name: value for name, value in given.items() if value is not None}
    for name, (kind, text) in KINDS.items():
        if name in values and (not isinstance(values[name], kind) or (kind is int and values[name] is True)):
            raise SpecError(f"{name} {values[name]!r} is not {text}")
    on_failure(values.get("health_on_failure", "none"), "health_on_failure")
    for key, value in values.get("log_options", {}).items():
        _pair(key, value, "log_options")
    policy, most = restart_of(values.pop("restart", "no"))
    if auto_remove and policy != "no":
        raise ConflictError("remove=True contradicts restart", hint="leave one of them out")
    for name in LENGTHS:
        if name in values:
            values[name] = duration(values[name], name)
    keep = Keep(auto_remove=auto_remove, restart=policy, restart_most=most, **values)
    check_options(keep.log_driver, keep.log_options)
    return keep


def _several(value: Any, name: str) -> tuple[str, ...]:
    """The items of a list; a str is one item."""
    try:
        items = (value,) if isinstance(value, str) else tuple(value)
    except TypeError:
        raise SpecError(f"{name} {value!r} is not a list of str") from None
    for item in items:
        if not isinstance(item, str):
            raise SpecError(f"{name}: {item!r} is not a str")
    return items


def _pair(key: object, value: object, what: str) -> str:
    if not isinstance(key, str) or not isinstance(value, str):
        raise SpecError(f"{what}: {key!r}: {value!r} is not a str with a str", hint="leave out what is not to be set")
    if not key or "=" in key:
        thing = "a variable's name" if what == "env" else "a label's name"
        raise SpecError(f"{what}: {key!r} is not {thing}", hint="one character at least, and no =")
    return f"{key}={value}"
