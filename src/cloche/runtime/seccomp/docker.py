"""Docker's and podman's profile format, resolved into `linux.seccomp` of OCI. Pure.

Their files say more than a runtime can know: `archMap` in place of `architectures`, and for each
entry `includes` and `excludes` by capability, architecture and kernel. Podman adds errno names
(`"errno": "ENOSYS"`), old docker files a single `name`. An OCI profile passes through unchanged.

What does not belong here: whether the rules make sense; `compile` checks that.
"""

from __future__ import annotations

import errno

from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_GO_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}
_KEPT = ("defaultAction", "defaultErrnoRet", "architectures", "flags", "listenerPath", "listenerMetadata")


def resolve_docker_profile(
    raw: Mapping[str, Any], capabilities: frozenset[str], arch: str, kernel: tuple[int, int]
) -> dict[str, Any]:
    """The OCI profile that `raw` means for a container with these capabilities on this machine.

    `capabilities` is the container's bounding set (CAP_*), `arch` "x86_64" or "aarch64", `kernel`
    the version as (major, minor). Raises SpecError.
    """
    profile = {key: raw[key] for key in _KEPT if raw.get(key) is not None}
    if raw.get("archMap"):
        if raw.get("architectures"):
            raise SpecError("archMap and architectures exclude each other", pointer="/archMap")
        profile["architectures"] = _architectures(raw["archMap"], arch)
    _errno(raw, profile, "defaultErrno", "defaultErrnoRet", "")
    profile["syscalls"] = syscalls = []
    for index, entry in enumerate(_objects(raw, "syscalls")):
        pointer = f"/syscalls/{index}"
        includes, excludes = (_conditions(entry, key, pointer) for key in ("includes", "excludes"))
        held = _holds(includes, capabilities, arch, kernel, pointer + "/includes")
        spared = _holds(excludes, capabilities, arch, kernel, pointer + "/excludes")
        if not all(held) or any(spared):
            continue
        if entry.get("name") and entry.get("names"):
            raise SpecError("name and names exclude each other", pointer=f"{pointer}/name")
        names = [entry["name"]] if entry.get("name") else entry.get("names")
        rule = {"names": names, "action": entry.get("action")}
        rule.update({key: entry[key] for key in ("args", "errnoRet") if entry.get(key) is not None})
        _errno(entry, rule, "errno", "errnoRet", pointer)
        syscalls.append(rule)
    return profile


def _holds(
    wanted: Mapping[str, Any],
    capabilities: frozenset[str],
    arch: str,
    kernel: tuple[int, int],
    pointer: str,
) -> list[bool]:
    """For each single condition, whether it is true here; capabilities count one by one."""
    results = [capability in capabilities for capability in _strings(wanted, "caps", pointer)]
    arches = _strings(wanted, "arches", pointer)
    if arches:
        results.append(_GO_ARCH.get(arch, arch) in arches or arch in arches)
    if wanted.get("minKernel"):
        results.append(kernel >= _version(wanted["minKernel"], f"{pointer}/minKernel"))
    return results


def _version(text: object, pointer: str) -> tuple[int, int]:
    parts = text.split(".") if isinstance(text, str) else []
    if len(parts) < 2 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        raise SpecError(f"{text!r} is not a kernel version", pointer=pointer)
    return int(parts[0]), int(parts[1])


def _errno(source: Mapping[str, Any], target: dict[str, Any], name_key: str, key: str, pointer: str) -> None:
    """Put the number of an errno that is given by name into `target`; the name wins, as in podman."""
    name = source.get(name_key)
    if not name:
        return
    number = getattr(errno, name, None) if isinstance(name, str) and name.startswith("E") else None
    if not isinstance(number, int):
        raise SpecError(f"{name!r} is not an errno", pointer=f"{pointer}/{name_key}")
    target[key] = number


def _architectures(arch_map: Any, arch: str) -> list[Any]:
    native = "SCMP_ARCH_" + arch.upper()
    for entry in _objects({"archMap": arch_map}, "archMap"):
        if entry.get("architecture") == native:
            return [native, *(entry.get("subArchitectures") or ())]
    return []


def _objects(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    values = document.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise SpecError("not a list of objects", pointer=f"/{key}")
    return values


def _conditions(entry: Mapping[str, Any], key: str, pointer: str) -> dict[str, Any]:
    value = entry.get(key) or {}
    if not isinstance(value, dict):
        raise SpecError("not an object", pointer=f"{pointer}/{key}")
    return value


def _strings(wanted: Mapping[str, Any], key: str, pointer: str) -> list[str]:
    values = wanted.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise SpecError("not a list of strings", pointer=f"{pointer}/{key}")
    return values
