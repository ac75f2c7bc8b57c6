"""The way of a seccomp listener to the agent outside that answers for a container (`listenerPath`).

    the new process           the stage                   the runtime             the agent
    load ▶ listener
      "agent" + listener ───▶ collect ──"agent" + fd ───▶ send_listener ────────▶ state + fd, one message
    or, by its number
      write "agent", 5 ─────▶ collect: pidfd_getfd
      read, close ◀─ "taken" ─┘

From the moment the filter is loaded every system call of the new process may be one that waits for
the agent, which does not have the listener yet. Two ways are left: a profile that leaves sendmsg(2)
alone lets the listener itself be sent; any other only its number, by write(2), which is why that one
cannot be notified of (as with runc). The stage then fetches it, which takes CAP_SYS_PTRACE over a
process that is not dumpable. What follows, read and close, may wait for the agent.

What does not belong here: what the state says (config-linux.md "Seccomp": ContainerProcessState).
"""

from __future__ import annotations

import _socket
import errno
import marshal
import posix as os

from cloche.linux import files, process
from cloche.stage import wire

SEND, BY_NUMBER = "send", "by number"  # the ways
PATIENCE = 10.0  # seconds for the agent to take the connection and the message


def hand_over(channel: _socket.socket, listener: int, way: str) -> None:
    """In the new process: get the listener to the stage, and let go of it."""
    if way == SEND:
        wire.send(channel, ("agent", -1), [listener])
    else:
        body = marshal.dumps(("agent", listener))
        files.write_all(channel.fileno(), len(body).to_bytes(4, "little") + body)
        size = int.from_bytes(_read(channel.fileno(), 4), "little")
        _read(channel.fileno(), size)  # "taken": there is nothing else that could come
    os.close(listener)


def collect(channel: _socket.socket, pidfd: int, number: int, fds: list[int]) -> None:
    """In the stage, at ("agent", number) of the process `pidfd`: see to it that `fds` has the listener.

    Raises OSError with a note naming the call where the descriptor could not be fetched.
    """
    if number < 0:
        return
    fds.append(process.pidfd_getfd(pidfd, number))
    wire.send(channel, ("taken",))


def send_listener(path: str, state: bytes, listener: int) -> None:
    """In the runtime: send the agent at `path` the state, JSON, with the listener, in one message.

    The socket may be one of streams (what runc connects to) or of packets. Raises OSError with the
    path: nobody listens there (ENOENT, ECONNREFUSED), it is no socket for this (EPROTOTYPE), a packet
    is too long for it (EMSGSIZE); TimeoutError when the agent does not take it.
    """
    for kind in (_socket.SOCK_STREAM, _socket.SOCK_SEQPACKET):
        sock = _socket.socket(_socket.AF_UNIX, kind | _socket.SOCK_CLOEXEC)
        try:
            sock.settimeout(PATIENCE)
            sock.connect(path)
            rights = (wire.SOL_SOCKET, wire.SCM_RIGHTS, listener.to_bytes(4, "little"))
            sent = sock.sendmsg([state], [rights], wire.MSG_NOSIGNAL)
            while sent < len(state):
                sent += sock.send(state[sent:], wire.MSG_NOSIGNAL)
            return
        except TimeoutError as error:
            raise TimeoutError(errno.ETIMEDOUT, "the seccomp agent does not answer", path) from error
        except OSError as error:
            if error.errno != errno.EPROTOTYPE or kind == _socket.SOCK_SEQPACKET:
                raise OSError(error.errno or errno.EINVAL, error.strerror or str(error), path) from error
        finally:
            sock.close()


def _read(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(fd, size - len(data))
        if not part:
            raise OSError(errno.EPIPE, "the stage has not taken the seccomp listener")
        data += part
    return data
