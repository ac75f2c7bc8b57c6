"""Hooks (runtime-spec config.md, "POSIX-platform Hooks"): a program, the state on its stdin, a time limit.

Used on both sides: the runtime runs those of its own namespaces, the new process those of the container's.
"""

from __future__ import annotations

import posix as os
import select
import time

from cloche.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    Hook = tuple[str, tuple[str, ...], tuple[str, ...], int]  # path, args, env (KEY=value), timeout in s or 0
else:
    import _signal

KEPT = 4096  # how much of what a failing hook said is passed on
LONGEST = 1 << 30  # milliseconds, that poll(2) can wait at once
ETIMEDOUT = 110


def with_pid(state: str, pid: int) -> bytes:
    """The state that hooks get, in which "PID" stands where the pid belongs; what comes later is anybody's text."""
    return state.replace('"PID"', str(pid), 1).encode()


def run_hooks_in(folder: str, kind: str, hooks: tuple[Hook, ...], state: bytes, first: int = 0) -> None:
    """`run_hooks` in the directory `folder`, or at the root where that is gone: the bundle, as with runc and crun."""
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.chdir(folder or "/")
        except OSError:
            os.chdir("/")
        run_hooks(kind, hooks, state, first)
    finally:
        os.fchdir(here)
        os.close(here)


def run_hooks(kind: str, hooks: tuple[Hook, ...], state: bytes, first: int = 0) -> None:
    """Run `hooks` one after the other; OSError names the first that failed, and what it said.

    `first` is the place of the first one in config.json.
    """
    for index, (path, args, env, timeout) in enumerate(hooks, first):
        name = f"{kind} hook {index} ({path})"
        try:
            _run(name, path, args or (path,), env, timeout, state)
        except OSError as error:
            if error.filename == name:
                raise
            raise OSError(error.errno or 5, error.strerror or str(error), name) from error


def _run(name: str, path: str, args: tuple[str, ...], env: tuple[str, ...], timeout: int, state: bytes) -> None:
    fd = os.memfd_create("state")
    os.write(fd, state)
    os.lseek(fd, 0, 0)
    read, write = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    try:
        pid = _start(path, args, dict(item.partition("=")[::2] for item in env), (fd, null, write))
    except OSError:
        os.close(read)
        raise
    finally:
        for number in (fd, null, write):
            os.close(number)
    pidfd = process.pidfd_open(pid)
    said, ended = _listen(read, pidfd, time.monotonic() + timeout if timeout else 0.0)
    if not ended:
        process.pidfd_send_signal(pidfd, 9)
    status = os.waitpid(pid, 0)[1]
    os.close(read)
    os.close(pidfd)
    words = said.decode(errors="replace").strip()
    more = f": {words}" if words else ""
    if not ended:
        raise OSError(ETIMEDOUT, f"did not end within {timeout} s{more}", name)
    code = os.waitstatus_to_exitcode(status)
    if code:
        how = f"exited with {code}" if code > 0 else f"was killed by signal {-code}"
        raise OSError(5, f"{how}{more}", name)


def _start(path: str, args: tuple[str, ...], env: dict[str, str], stdio: tuple[int, int, int]) -> int:
    """Start a hook that ends with us: what it prepares is for a container that there will not be without us.

    Not posix_spawn(3), which cannot say that. Returns its pid; OSError says why it could not be executed.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(write)
        said = os.read(read, 16)
        os.close(read)
        if said:
            os.waitpid(pid, 0)
            code = int(said)
            raise OSError(code, os.strerror(code))
        return pid
    try:
        process.die_with_parent()
        if os.getppid() == parent:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
            held = [os.dup(fd) for fd in stdio]  # one may have the number of another's place
            for number, fd in enumerate(held):
                os.dup2(fd, number)
            os.execve(path, args, env)
    except OSError as error:
        os.write(write, str(error.errno or 5).encode())
    finally:
        os._exit(127)


def _listen(read: int, pidfd: int, deadline: float) -> tuple[bytes, bool]:
    """What it said on stderr until it ended or its time was over; and whether it ended."""
    poll = select.poll()
    poll.register(read, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    os.set_blocking(read, False)
    said = b""
    while True:
        left = max(0.0, deadline - time.monotonic()) * 1000 if deadline else None
        ready = {fd for fd, _ in poll.poll(left if left is None else min(left, LONGEST))}
        if not ready and deadline and time.monotonic() >= deadline:
            return said, False
        if read in ready:
            part = _read(read)
            said = (said + part)[:KEPT]
            if not part:
                poll.unregister(read)
        if pidfd in ready:
            while part := _read(read):
                said = (said + part)[:KEPT]
            return said, True


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return b""
