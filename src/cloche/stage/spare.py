"""A process made in advance: in new namespaces already, waiting to be told which container it is.

    stage                                  spare
    ─────                                  ─────
    clone3, while a container is built ──▶ loopback up, mounts private; waits
    … the next plan for the same kinds
    adopt: plan, stdin/out/err ──────────▶ the plan's inside steps, as if it had just been made

Making namespaces is a good third of the time to a container, and none of it depends on the plan. The
memory it shares with the stage is made its own meanwhile, too, so that nothing has to be copied page by
page later. Only a privileged stage keeps a spare: an
ordinary user's container opens the host's trees in its own copy of the mounts, which must be new.
"""

from __future__ import annotations

import os
import select

from cloche.linux import keyring, memory, mount, namespaces, network, process
from cloche.stage import inside, wire
from cloche.stage.operation import decode
from cloche.stage.operations import CLASSES
from cloche.stage.scene import Outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any


DONE = frozenset({"BringUp", "MakePrivate", "SessionKeyring"})


class Spare:
    """The stage's hold on it."""

    def __init__(self, kinds: tuple[str, ...], pid: int, pidfd: int, channel: _socket.socket) -> None:
        self.kinds, self.pid, self.pidfd, self.channel = kinds, pid, pidfd, channel

    def alive(self) -> bool:
        """Whether it still waits; a pidfd is readable once its process has ended."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return not poll.poll(0)

    def adopt(self, message: tuple[Any, ...], scene: Outside) -> None:
        """Make it the process of this plan."""
        wire.send(self.channel, ("adopt", message), scene.stdio)
        scene.pid, scene.pidfd, scene.channel = self.pid, self.pidfd, self.channel

    def discard(self) -> None:
        """Let go of one that has ended."""
        process.wait_pidfd(self.pidfd)
        os.close(self.pidfd)
        self.channel.close()


def make(kinds: tuple[str, ...]) -> Spare | None:
    """A new spare with these kinds of namespace, or None where the kernel has none to give now."""
    flags = 0
    for kind in kinds:
        flags |= namespaces.NAMES[kind]
    stage = os.getpid()
    ours, theirs = wire.pair()
    try:
        pid, pidfd = process.clone3(flags)
    except OSError:
        pid, pidfd = -1, -1  # the next container asks again, and its error is told
    if pid == 0:
        if os.getpid() != stage:
            _wait(theirs, kinds)
        os._exit(125)
    theirs.close()
    if pid < 0:
        ours.close()
        return None
    return Spare(kinds, pid, pidfd, ours)


def _wait(channel: _socket.socket, kinds: tuple[str, ...]) -> None:
    """The spare's own side; never returns."""
    fd = channel.fileno()
    process.close_range(3, fd - 1)
    process.close_range(fd + 1)
    try:
        process.die_with_parent()
        if "net" in kinds:
            network.bring_up("lo")
        mount.make_private("/")
        keyring.join_session_keyring()
    except OSError:
        os._exit(125)  # the plan's own step will fail the same way, and tell
    memory.unshare_pages()
    got = wire.receive(channel)
    if got is None:
        os._exit(125)
    (_, message), stdio = got
    scene = Outside(stdio)
    scene.channel = channel
    inside.run(decode(message, CLASSES), scene, DONE)
