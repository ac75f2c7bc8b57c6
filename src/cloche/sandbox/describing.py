"""What there is to know of a container, as `docker inspect` prints it: what was asked, and how it stands.

    describe(container, facts) ─▶ docker's members, in docker's order, and three of our own:
        "Receipt"   each layer of isolation, enforced or not, and why
        "Reason"    what ended it and what to do about it
        "LogLost"   how much of what it said is not in its log, and why; null where all is

Pure: what has to be looked up is in the `Facts`. HostConfig is in `describing_host`.
"""

from __future__ import annotations

from cloche.engine.containers import ALIVE
from cloche.engine.keeping import Keep
from cloche.records import record
from cloche.sandbox.describing_host import host_config, resolve
from cloche.sandbox.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.engine.containers import Container

    Document = dict[str, Any]

NEVER = "0001-01-01T00:00:00Z"  # Go's time that is none
ENDPOINT: Document = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "DriverOpts": None,
    "NetworkID": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "MacAddress": "",
    "DNSNames": None,
}
NETWORK: Document = {
    "Bridge": "",
    "SandboxID": "",
    "SandboxKey": "",
    "Ports": {},
    "HairpinMode": False,
    "LinkLocalIPv6Address": "",
    "LinkLocalIPv6PrefixLen": 0,
    "SecondaryIPAddresses": None,
    "SecondaryIPv6Addresses": None,
    "EndpointID": "",
    "Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "MacAddress": "",
}


@record
class Facts:
    """What is not in the container's own documents.

    `image` is the `config` of its image, `layers` the directories of that, the highest first; `receipt` its
    receipt.json; `sizes` bytes it has written and bytes with the image, None where nobody asked; `execs` the ids of
    what `exec` runs in it.
    """

    image: Document
    layers: tuple[str, ...]
    receipt: Document
    networks: tuple[str, ...]
    sizes: tuple[int, int] | None = None
    execs: tuple[str, ...] = ()


def describe(container: Container, facts: Facts) -> Document:
    """All of it."""
    known, options = container.known, resolve(container.known["options"], Options)
    keep = resolve(known["keep"], Keep)
    command = [str(word) for word in known["command"]]
    found: Document = {
        "Id": container.id,
        "Created": str(known["created"]),
        "Path": command[0] if command else "",
        "Args": command[1:],
        "State": _state(container),
        "Image": str(known["image_id"]),
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": f"{container.folder}/log/{container.id}-json.log"
        if container.kept and keep["log_driver"] == "json-file"
        else "",
        "Name": f"/{container.name}",
        "RestartCount": container.state["restarts"],
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": list(facts.execs) or None,
        "HostConfig": host_config(options, keep),
        "GraphDriver": {"Data": _layers(container, facts), "Name": "overlay2"},
    }
    if facts.sizes is not None:
        found |= {"SizeRw": facts.sizes[0], "SizeRootFs": facts.sizes[1]}
    return found | {
        "Mounts": container.mounts,
        "Config": _config(container, options, keep, facts.image),
        "NetworkSettings": _network(container, facts.networks),
        "Receipt": facts.receipt or None,
        "Reason": _reason(container.state),
        "LogLost": _lost(container.state),
    }


def _state(container: Container) -> Document:
    state, status = container.state, container.status
    found = {
        "Status": status,
        "Running": status in ALIVE,
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": state["oom"],
        "Dead": status == "dead",
        "Pid": container.pid,
        "ExitCode": state["exit_code"],  # null: nobody has seen it, which is no 0
        "Error": state["error"],
        "StartedAt": state["started_at"] or NEVER,
        "FinishedAt": state["finished_at"] or NEVER,
    }
    health = state["health"]
    if health and health.get("status", "none") != "none":
        log = health.get("log")
        found["Health"] = {
            "Status": str(health["status"]),
            "FailingStreak": health.get("failing", 0),
            "Log": [_probe(entry) for entry in log if isinstance(entry, dict)] if isinstance(log, list) else [],
        }
    return found


def _probe(entry: Document) -> Document:
    """One health check."""
    return {
        "Start": entry.get("start", NEVER),
        "End": entry.get("end", NEVER),
        "ExitCode": entry.get("exit_code", 0),
        "Output": entry.get("output", ""),
    }


def _reason(state: Document) -> Document | None:
    reason = state["reason"]
    if not reason:
        return None
    return {
        "Kind": reason.get("kind", ""),
        "Text": reason.get("text", ""),
        "Hint": reason.get("hint", ""),
        "Blocked": reason.get("blocked", []),
        "By": state["by"],
    }


def _lost(state: Document) -> Document | None:
    lost = state["lost"]
    return {"Bytes": lost.get("bytes", 0), "Why": lost.get("why", "")} if lost else None


def _layers(container: Container, facts: Facts) -> Document:
    found = {"ID": container.id, "LowerDir": ":".join(facts.layers)} if facts.layers else {"ID": container.id}
    if container.pid:
        found["MergedDir"] = f"/proc/{container.pid}/root"
    if container.kept:
        found |= {"UpperDir": f"{container.folder}/layer/upper", "WorkDir": f"{container.folder}/layer/work"}
    return found


def _config(container: Container, options: Document, keep: Document, image: Document) -> Document:
    known = container.known
    entrypoint, command = options["entrypoint"], list(options["command"])
    if entrypoint is None:
        cmd, program = command or image.get("Cmd"), image.get("Entrypoint")
    else:
        cmd, program = command or None, [entrypoint] if entrypoint else None
    interactive = bool(options["interactive"])
    found: Document = {
        "Hostname": options["hostname"] or container.id[:12],
        "Domainname": options["domainname"],
        "User": options["user"] or image.get("User") or "",
        "AttachStdin": "stdin" in keep["attached"],
        "AttachStdout": "stdout" in keep["attached"],
        "AttachStderr": "stderr" in keep["attached"],
        "ExposedPorts": {text if "/" in text else f"{text}/tcp": {} for text in map(str, known["exposed"])},
        "Tty": bool(options["tty"]),
        "OpenStdin": interactive,
        "StdinOnce": bool(keep["stdin_once"]),
        "Env": _variables(options["env"], image.get("Env") or []),
        "Cmd": cmd,
        "Healthcheck": _healthcheck(keep, image.get("Healthcheck")),
        "Image": str(known["image"]),
        "Volumes": image.get("Volumes"),
        "WorkingDir": options["workdir"] or image.get("WorkingDir") or "",
        "Entrypoint": program,
        "OnBuild": None,
        "Labels": known["labels"],
        "StopSignal": options["stop_signal"] or image.get("StopSignal") or "",
        "StopTimeout": None if options["stop_timeout"] is None else _seconds(known["stop_timeout"]),
    }
    unsaid = ("ExposedPorts", "Healthcheck", "StopSignal", "StopTimeout")
    return {key: value for key, value in found.items() if value or key not in unsaid}


def _seconds(number: float) -> float:
    """docker has none but whole ones, which have no point."""
    return int(number) if float(number).is_integer() else number


def _variables(given: tuple[str, ...], image: list[str]) -> list[str]:
    """Those asked for, and those of the image that nobody gave another value."""
    names = {text.partition("=")[0] for text in given}
    return [*given, *(text for text in image if text.partition("=")[0] not in names)]


def _healthcheck(keep: Document, image: Document | None) -> Document | None:
    """What is asked of its health, times in nanoseconds as docker has them."""
    if keep["no_healthcheck"]:
        return {"Test": ["NONE"]}
    found = dict(image or {})
    if keep["health_cmd"]:
        found["Test"] = ["CMD-SHELL", keep["health_cmd"]]
    for member, field in (
        ("Interval", "health_interval"),
        ("Timeout", "health_timeout"),
        ("StartPeriod", "health_start_period"),
        ("StartInterval", "health_start_interval"),
    ):
        if keep[field]:
            found[member] = round(keep[field] * 1e9)
    if keep["health_retries"]:
        found["Retries"] = keep["health_retries"]
    return found or None


def _network(container: Container, networks: tuple[str, ...]) -> Document:
    pid = container.pid
    key = f"/proc/{pid}/ns/net" if pid else ""
    return {**NETWORK, "SandboxKey": key, "Networks": {name: dict(ENDPOINT) for name in networks}}
