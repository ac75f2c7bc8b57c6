"""`start`, `kill`, `delete`: what happens to a container after it was created."""

from __future__ import annotations

import posix as os

from cloche.errors import ClocheError, ConflictError, NotFoundError, SpecError, StageError
from cloche.linux import files
from cloche.runtime.containers import START, own_groups, point, unlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any

    from cloche.runtime.containers import Container
    from cloche.spec.resources import Resources
    from cloche.stage.hooks import Hook
else:
    import _signal

PATIENCE = 10.0  # seconds that `delete --force` waits for the first process to be gone
KILL, CONT = 9, 18


def start(container: Container) -> None:
    """Let a created container's process become the command; runs the hooks poststart.

    Raises ClocheError where it cannot: the container has ended then. A hook that fails also has it deleted
    (runtime.md of 1.3, "Lifecycle": "stop the container, and continue the lifecycle at step 12"). runc 1.1 runs
    poststart at the end of `create`, which fails then; after a failing startContainer its `start` succeeds, and the
    container is there as stopped.
    """
    status = container.status()
    if status != "created":
        raise ConflictError(f"cannot start a container that is not created: {container.id} is {status}")
    failed = _release(container)
    point("released")
    unlink(f"{container.folder}/{START}")
    settle(container, failed)


def settle(container: Container, failed: tuple[int, str, str] | None) -> None:
    """What follows when a container's process has become the command, or has not: (errno, what, hint)."""
    if failed is not None:
        code, text, hint = failed
        raise (
            _ended(container, text, code)
            if text.startswith("startContainer hook ")
            else StageError(text, errno=code, hint=hint)
        )
    _run_after_start(container)


def _ended(container: Container, text: str, code: int) -> StageError:
    """End and delete a container one of whose hooks failed; returns the error to raise."""
    more = "".join(f"; {warning}" for warning in delete(container, force=True))
    return StageError(f"{text}; the container was ended and deleted{more}", errno=code)


def _release(container: Container) -> tuple[int, str, str] | None:
    import _socket

    from cloche.stage import wire
    from cloche.stage.hearing import hear_execution

    pidfd = os.pidfd_open(container.pid)
    fd = os.open(container.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{fd}/{START}")
        wire.send(sock, ("start",))
        return hear_execution(sock, container.pid, pidfd, _AtStart(container))
    except OSError as error:
        raise ConflictError(f"container {container.id} has ended: {error.strerror}") from error
    finally:
        sock.close()
        os.close(fd)
        os.close(pidfd)


class _AtStart:
    """What is asked for between `start` and the command (stage.making.Callbacks)."""

    def __init__(self, container: Container) -> None:
        self.container = container

    def listener(self, fd: int, pid: int) -> None:
        """The listener of its seccomp filter, for an agent."""
        from cloche.runtime.agents import tell_agent
        from cloche.spec.config import Config
        from cloche.spec.reader import read_json

        linux = Config.parse(read_json(self.container.config_text())).linux
        tell_agent(linux.seccomp if linux is not None else None, _state(self.container, "creating"), pid, fd)


def _run_after_start(container: Container) -> None:
    text = container.config_text()
    if b'"poststart"' not in text:
        return
    from cloche.stage.hooks import run_hooks_in

    hooks = _hooks(text).get("poststart", ())
    try:
        run_hooks_in(container.known["bundle"], "poststart", hooks, _state(container, "running"))
    except OSError as error:
        raise _ended(container, f"{error.filename}: {error.strerror}", error.errno or 0) from error


def _hooks(text: bytes) -> dict[str, tuple[Hook, ...]]:
    from cloche.runtime.creating import hooks_of
    from cloche.spec.config import Config
    from cloche.spec.reader import read_json

    return hooks_of(Config.parse(read_json(text)).hooks)


def _state(container: Container, status: str) -> bytes:
    from cloche.runtime.creating import state_for_hooks
    from cloche.stage.hooks import with_pid

    return with_pid(state_for_hooks(container, status), container.pid)


def kill(container: Container, number: int, *, everything: bool = False) -> None:
    """Send a signal to the first process, or with `everything` to all in its groups."""
    if not everything and container.status() not in {"created", "running", "paused"}:
        raise ConflictError(f"container not running: {container.id} is {container.status()}")
    if everything:
        kill_all(container, number)
        return
    try:
        pidfd = os.pidfd_open(container.pid)
    except ProcessLookupError:
        raise ConflictError(f"container not running: {container.id}") from None
    try:
        if not container.alive():
            raise ConflictError(f"container not running: {container.id}")
        _signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        raise ConflictError(f"container not running: {container.id}") from None
    finally:
        os.close(pidfd)
    if number == KILL:
        if not container.known.get("own_pids", True):
            kill_all(container, KILL)
        _thaw(container.groups, frozen=container.is_frozen())


def _thaw(groups: dict[str, str], *, frozen: bool) -> None:
    """On v1 nothing dies before it is thawed, also what froze itself in a group below the container's."""
    if frozen:
        from cloche.runtime.cgroups.freezing import thaw

        thaw(groups)
    try:
        below = "freezer" in groups and os.stat(groups["freezer"]).st_nlink > 2
    except FileNotFoundError:
        return
    if below:
        from cloche.stage.cleaning import thaw_nested

        thaw_nested(groups["freezer"])


def kill_all(container: Container, number: int) -> None:
    """Signal every process in the container's groups."""
    from cloche.stage.cleaning import kill_groups, pids_of

    groups, _ = own_groups(container, container.directories)
    if number == KILL:
        kill_groups(groups)
        return
    for pid in pids_of(groups):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def processes(container: Container) -> list[int]:
    """The pids in the container's groups, sorted."""
    from cloche.stage.cleaning import pids_of

    return sorted(pids_of(container.directories))


def pause(container: Container) -> None:
    """Stop all its processes (cgroup freezer)."""
    from cloche.runtime.cgroups.freezing import freeze

    status = container.status()
    if status not in {"created", "running"}:
        raise ConflictError(f"container not running or created: {container.id} is {status}")
    if not container.groups:
        raise NotFoundError("the container has no control groups", hint="it was made without the right to have any")
    freeze(container.groups)


def resume(container: Container) -> None:
    """Let a paused container go on."""
    from cloche.runtime.cgroups.freezing import thaw

    status = container.status()
    if status != "paused":
        raise ConflictError(f"container not paused: {container.id} is {status}")
    thaw(container.groups)


def update(container: Container, asked: Resources, schemata: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Change the limits of a container; what is not in `asked` stays. Returns what could not be had, and why.

    `schemata` are lines for its group in resctrl. Raises ConflictError for one that is stopped.
    """
    from cloche.runtime.cgroups.update import merged, update_limits
    from cloche.runtime.containers import RECEIPT
    from cloche.runtime.receipt import Receipt
    from cloche.spec.reader import read_json, write_json
    from cloche.spec.resources import Resources

    status = container.status()
    if status == "stopped":
        raise ConflictError(f"container not running: {container.id} is {status}")
    config: Any = read_json(container.config_text())
    linux = config.setdefault("linux", {})
    if schemata:
        from cloche.runtime.attributes import update_resctrl
        from cloche.spec.linux import IntelRdt

        rdt = linux.get("intelRdt")
        update_resctrl(IntelRdt.parse(rdt, "/linux/intelRdt") if rdt else None, container.id, schemata)
    have = Resources.parse(linux["resources"], "/linux/resources") if linux.get("resources") else None
    whole = merged(have, asked)
    if scope := container.known.get("scope"):
        from cloche.runtime.cgroups.scopes import update_scope

        update_scope(scope, whole, container.groups, devices=asked.devices is not None)
    kept: Any = read_json(container.receipt_text() or b"{}")
    receipt = Receipt.of(kept)
    notes = update_limits(whole, container.groups, receipt)
    linux["resources"] = whole.to_dict()
    files.write_atomically(f"{container.folder}/config.json", write_json(config).encode())
    files.write_atomically(f"{container.folder}/{RECEIPT}", write_json(receipt.to_dict()).encode())
    return notes


def delete(container: Container, *, force: bool = False) -> list[str]:
    """Give back everything a stopped container holds; returns warnings.

    A created one is ended first, with `force` any. Raises ConflictError for one that runs.
    """
    from cloche.stage.cleaning import end_groups, kill_groups, remove_empty

    status = container.status()
    if status not in {"stopped", "created"} and not force:
        raise ConflictError(
            f"cannot delete container {container.id} that is not stopped: {status}", hint="kill it first, or --force"
        )
    if container.alive():
        _end(container)
    warnings: list[str] = []
    point("ended")
    if scope := container.known.get("scope"):
        from cloche.runtime.cgroups.scopes import stop_scope

        kill_groups(container.directories)
        warnings += stop_scope(scope)
    if busy := remove_empty(container.directories):
        busy, others = own_groups(container, busy)
        warnings += [f"a cgroup stays as it is: container {other} is in there" for other in others]
    if left := end_groups(busy):
        raise ClocheError(f"the cgroup {left[0]} cannot be removed: it is busy", hint="something in it cannot be ended")
    if resctrl := container.known.get("resctrl"):
        from cloche.runtime.attributes import remove_resctrl

        remove_resctrl(resctrl)
    text = container.config_text()
    point("groups removed")
    if b'"poststop"' in text:
        from cloche.runtime.creating import run_poststop

        warnings += run_poststop(container, _hooks(text))
    container.remove()
    return warnings


def damaged(root: str, container_id: str) -> Container:
    """A container whose state.json cannot be read, to be deleted: with the groups that it has unless told otherwise.

    Its groups are where config.json, if that can be read, or its id puts them.
    """
    from cloche.runtime.cgroups.containers import find_places
    from cloche.runtime.containers import unknown
    from cloche.runtime.host import probe_host
    from cloche.spec.config import Config
    from cloche.spec.reader import read_json

    container = unknown(root, container_id, damaged=True)
    path = ""
    try:
        linux = Config.parse(read_json(container.config_text())).linux
        path = (linux.cgroupsPath if linux is not None else "") or ""
    except SpecError:
        pass  # as it was before it said anything
    host = probe_host()
    if path.count(":") == 2:
        from cloche.runtime.cgroups.scopes import lost_scope

        user = not (host.privileged and host.initial)
        container.known["scope"], places = lost_scope(path, container_id, host.groups, user=user)
    else:
        places = find_places(host.groups, path, container_id)
    container.known["groups"] = {name: place for name, place in places.items() if _is_there(place)}
    return container


def _is_there(path: str) -> bool:
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def _end(container: Container) -> None:
    try:
        pidfd = os.pidfd_open(container.pid)
    except ProcessLookupError:
        return
    try:
        if not container.alive():
            return
        _signal.pidfd_send_signal(pidfd, KILL)
        kill_all(container, KILL)
        import select

        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(PATIENCE * 1000):
            raise ClocheError(
                f"container {container.id}: its first process cannot be ended", hint="it hangs in the kernel"
            )
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)
