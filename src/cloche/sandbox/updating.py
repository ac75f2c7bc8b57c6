"""Other limits, or another restart policy, for a kept container (docker container update).

what it has, what is asked ─▶ `changed` ─▶ checked as for a start ─▶ its groups, if it runs ─▶ container.json

Who runs while limits are changed has the old ones or the new ones afterwards, and its container.json says which.
"""

from __future__ import annotations

from errno import EBUSY, EINVAL

from cloche.engine import making
from cloche.engine.containers import ALIVE, Container, settled
from cloche.engine.events import tell
from cloche.engine.supervisor import client
from cloche.errors import ClocheError, ConflictError, SpecError, UnsupportedError
from cloche.linux import files
from cloche.linux.reading import read_bytes
from cloche.runtime.cgroups.update import update_limits
from cloche.runtime.receipt import Receipt
from cloche.sandbox.keeping import options_of
from cloche.sandbox.limits import resources
from cloche.sandbox.options import Options
from cloche.sandbox.running import prepare
from cloche.spec.reader import read_json, write_json
from cloche.spec.resources import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# fields of Options, and what the receipt calls them
LIMITS = {
    "blkio_weight": "io-weight",
    "cpu_period": "cpu",
    "cpu_quota": "cpu",
    "cpu_shares": "cpu-shares",
    "cpus": "cpu",
    "cpuset_cpus": "cpuset",
    "cpuset_mems": "cpuset-mems",
    "memory": "memory",
    "memory_reservation": "memory-reservation",
    "memory_swap": "memory-swap",
    "pids_limit": "pids",
}
RUNNING = {"running", "paused"}  # those that have groups


def check(limits: dict[str, str]) -> None:
    """Raise SpecError for what no container can have, each limit by itself."""
    for name, text in limits.items():
        asked: dict[str, Any] = {name: text}
        try:
            resources(Options(**asked))
        except ConflictError:
            continue  # one that needs another one, which it may have


def update(container: Container, limits: dict[str, str], restart: tuple[str, int] | None) -> None:
    """Change its limits (fields of Options as text) and, unless None, its restart policy (its name, and how often).

    Raises ConflictError, SpecError for what it cannot have, UnsupportedError for what this machine cannot enforce;
    then nothing has changed.
    """
    if not container.kept:
        raise ConflictError(
            f"container {container.name or container.id[:12]} is not kept: it ends with what it was started with",
            hint="cloche run without --rm makes one that is",
        )
    with making.lock(container):
        settled(container)
        if restart is not None and container.known["keep"].get("auto_remove"):
            raise ConflictError(
                f"Cannot update container {container.id}: Restart policy cannot be updated because AutoRemove is"
                " enabled for the container"
            )
        before = options_of(container)
        after = changed(before, limits, container.id)
        if limits:
            _enforce(container, before, after, {LIMITS[name] for name in limits})
        container.known["options"] |= {name: getattr(after, name) for name in limits}
        if restart is not None:
            container.known["keep"] |= {"restart": restart[0], "restart_most": restart[1]}
        making.write_known(container)
    if restart is not None and container.status in ALIVE:
        client.ask_surely("policy", container.id, *restart)
    tell(container, "update")


def changed(before: Options, limits: dict[str, str], container_id: str) -> Options:
    """The options with these limits. Raises ConflictError for those that contradict each other, with docker's words."""
    if "cpus" in limits and {"cpu_quota", "cpu_period"} & set(limits):
        raise ConflictError("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    for given, had, name, other in (
        ("cpus", before.cpu_quota, "Nano CPUs", "CPU Quota"),
        ("cpu_quota", before.cpus, "CPU Quota", "NanoCPUs"),
        ("cpu_period", before.cpus, "CPU Period", "NanoCPUs"),
    ):
        if given in limits and had is not None:
            raise ConflictError(
                f"Cannot update container {container_id}: Conflicting options: {name} cannot be updated as {other} has"
                " already been set"
            )
    after = Options(**{**vars(before), **limits})
    try:
        resources(after)
    except ConflictError as error:
        if "memory" in limits and "memory_swap" not in limits and before.memory_swap is not None:
            raise ConflictError(
                f"Cannot update container {container_id}: Memory limit should be smaller than already set memoryswap"
                " limit, update the memoryswap at the same time",
                hint="--memory-swap SIZE, or -1 for as much as there is",
            ) from None
        raise ConflictError(f"Cannot update container {container_id}: {error}", hint=error.hint) from None
    return after


def _enforce(container: Container, before: Options, after: Options, asked: set[str]) -> None:
    """Hold one that runs to its new limits, with all of them or none; of one that does not, see that it can be held."""
    if container.status not in RUNNING:
        prepare(after, dry=True).close()
        return
    receipt = Receipt.of(_receipt(container))
    paths = {str(key): str(path) for key, path in container.entry.get("paths", {}).items()}
    try:
        notes = update_limits(_limits(after), paths, receipt)
        if lacking := [f"{name}: {why}" for name, why in notes if name in asked]:
            raise ConflictError(f"Cannot update container {container.id}: {'; '.join(lacking)}")
    except (ClocheError, OSError) as error:
        _take_back(before, paths)
        raise _refused(container, error) from None
    files.write_atomically(f"{container.folder}/receipt.json", write_json(receipt.to_dict()).encode())


def _limits(options: Options) -> Resources:
    """Its limits, without the rules for devices, which stay; memory that is in use is not taken away."""
    found, _ = resources(options)
    found.devices = None
    if found.memory is not None:
        found.memory.checkBeforeUpdate = True
    return found


def _take_back(before: Options, paths: dict[str, str]) -> None:
    try:
        update_limits(_limits(before), paths)
    except (ClocheError, OSError):
        pass  # what it was held to before is what it was held to until now


def _refused(container: Container, error: ClocheError | OSError) -> ClocheError:
    what = f"Cannot update container {container.id}"
    if isinstance(error, OSError):
        busy = error.errno in {EBUSY, EINVAL}
        hint = "more than that is in use, or it contradicts another limit" if busy else ""
        return ConflictError(f"{what}: {error.filename}: {error.strerror}", hint=hint)
    if "checkBeforeUpdate" in error.hint:
        return ConflictError(f"{what}: {error}", hint="stop it first, or give it more")
    if isinstance(error, UnsupportedError):  # of v2 it has the controllers that it was started with
        return UnsupportedError(error.feature, needs=error.needs, hint="cloche stop, update and start may have it")
    return error


def _receipt(container: Container) -> dict[str, Any]:
    try:
        raw = read_json(read_bytes(f"{container.folder}/receipt.json"))
    except SpecError:
        return {}
    return raw if isinstance(raw, dict) else {}
