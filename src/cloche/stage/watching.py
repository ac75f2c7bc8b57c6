"""The end of containers whose stage and caller were both killed: a watcher, one for each stage.

    stage ── fork ──▶ watcher: waits for the stage's end, then kills each container it was told of
      └─ pidfd of the first process, mount namespace ──▶ until that process has ended

The order to die with the stage (PR_SET_PDEATHSIG) is not enough: a command may take it back, and every
change of user does. Where a container has neither a pid namespace nor a group of its own, as for an
ordinary user without a cgroup who shares the former, its mount namespace tells its processes from others.
"""

from __future__ import annotations

import _socket
import os
import select
import time

from cloche.linux import files, process
from cloche.stage import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.operation import Plan


def wanted(plan: Plan) -> bool:
    """Whether its mount namespace is all that tells a container's processes from others."""
    own_mounts = any("mnt" in getattr(op, "kinds", ()) for op in plan.operations if type(op).__name__ == "Clone")
    return own_mounts and not plan.own_pids and not plan.groups


def pin_mounts(pid: int) -> int:
    """A descriptor of process `pid`'s mount namespace, or -1 where it may not be looked into (yet).

    The descriptor keeps the namespace's number from being used again.
    """
    try:
        return os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


class Watcher:
    """The stage's hold on its watcher, which is forked when there is a first container to watch."""

    def __init__(self) -> None:
        self.sock: _socket.socket | None = None
        self.pid = 0

    def watch(self, pidfd: int, mounts: int = -1) -> None:
        """Have a container ended with the stage: its first process, and what is in this mount namespace."""
        fds = [pidfd, mounts] if mounts >= 0 else [pidfd]
        for _ in range(2):
            if self.sock is None:
                self.sock, self.pid = _fork()
            try:
                wire.send(self.sock, (), fds)
            except OSError:  # it was killed
                self.end()
            else:
                return

    def end(self) -> None:
        """The last container has ended, or the watcher has: be rid of it."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)


def _fork() -> tuple[_socket.socket, int]:
    ours, theirs = wire.pair()
    with files.Fd(process.pidfd_open(os.getpid())) as parent:
        pid = os.fork()
        if pid == 0:
            _be_watcher(parent.number, theirs.fileno())
    theirs.close()
    return ours, pid


def _be_watcher(parent: int, control: int) -> None:
    """The watcher's own side; never returns."""
    try:
        process.set_name("cloche watcher")
        os.dup2(parent, 0)
        os.dup2(control, 1)
        process.close_range(2)
        sock = _socket.socket(fileno=1)
        watched: dict[int, int] = {}  # pidfd: mount namespace or -1
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(1, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if 0 in ready:
                break
            if 1 in ready:
                got = wire.receive(sock)
                if got is None:  # the stage has ended as it should, or is about to
                    poll.unregister(1)
                    continue
                _, (pidfd, *rest) = got
                watched[pidfd] = rest[0] if rest else -1
                poll.register(pidfd, select.POLLIN)
            for pidfd in ready & watched.keys():
                poll.unregister(pidfd)
                os.close(pidfd)
                mounts = watched.pop(pidfd)
                if mounts >= 0:
                    os.close(mounts)
        for pidfd, mounts in watched.items():
            try:
                process.pidfd_send_signal(pidfd, 9)
            except ProcessLookupError:
                pass  # it has ended by itself
            kill_sharing(mounts)
    finally:
        os._exit(0)


def kill_sharing(mounts: int) -> None:
    """SIGKILL everything in the mount namespace that `pin_mounts` returned, and close it."""
    if mounts < 0:
        return
    number = os.fstat(mounts).st_ino
    for _ in range(100):
        found = [pid for pid in os.listdir("/proc") if pid.isdecimal() and _kill_if_in(int(pid), number)]
        if not found:
            break
        time.sleep(0.001)
    os.close(mounts)


def _kill_if_in(pid: int, number: int) -> bool:
    try:
        if os.stat(f"/proc/{pid}/ns/mnt").st_ino != number:
            return False
        os.kill(pid, 9)
    except OSError:
        return False  # it has ended, or is somebody else's
    return True
