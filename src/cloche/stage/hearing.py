"""What a process says between the word that lets it go on and its command's execve: `create`, `exec` and `start` hear.

On the way of every `start`: imports next to nothing.
"""

from __future__ import annotations

from posix import close

from cloche.stage import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import signal as _signal
    from typing import Protocol

    class HasListener(Protocol):
        """What `hear_execution` needs of its callbacks."""

        def listener(self, fd: int, pid: int) -> None:
            """The listener of a seccomp filter, for an agent."""

else:
    import _signal


def hear_execution(
    channel: _socket.socket, pid: int, pidfd: int, callbacks: HasListener
) -> tuple[int, str, str] | None:
    """Until the other end is closed by execve: None, or (errno, what failed, hint)."""
    while (got := wire.receive(channel)) is not None:
        (kind, *rest), fds = got
        try:
            if kind == "agent":
                from cloche.stage import seccomp_agent

                seccomp_agent.collect(channel, pidfd, rest[0], fds)
                callbacks.listener(fds[0], pid)
        except OSError as error:
            _signal.pidfd_send_signal(pidfd, 9)
            return error.errno or 5, f"the seccomp agent: {error.filename or ''} {error.strerror}", ""
        finally:
            for fd in fds:
                close(fd)
        if kind == "not executed":
            return rest[1], rest[2], rest[3]
        if kind == "failed":
            return rest[1], ": ".join(filter(None, (rest[3], rest[2]))), ""
    return None
