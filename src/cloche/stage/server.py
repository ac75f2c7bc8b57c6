"""The stage's event loop: takes plans from its control socket, keeps every container it made.

    control socket ── ("run", plan) + [caller's socket, stdin, stdout, stderr]
    each container: its pidfd, its channel until exec, its seccomp listener, its caller's socket

One thread, epoll, no timeout but the nearest deadline. When the control socket closes, the program
that owns this stage is gone: every container is ended, its groups are removed, and the stage exits.

A stage that listens for another owner ends only what is not to outlive the first (`Plan.keeping`), and waits with
the rest. The next owner connects, and is told of each container, with a socket for it.
"""

from __future__ import annotations

import _socket
import gc
import posix as os
import select
import time

from cloche.linux import process
from cloche.stage import inside, wire
from cloche.stage.container import Container
from cloche.stage.operation import decode
from cloche.stage.operations.classes import CLASSES
from cloche.stage.watching import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Left = Callable[[dict[str, Any]], None]


PATIENCE = 1000  # milliseconds


class Server:
    """Containers by the descriptors that tell about them."""

    def __init__(
        self, control: _socket.socket, listener: _socket.socket | None = None, left: Left | None = None
    ) -> None:
        self.control, self.listener, self.left = control, listener, left
        self.poll = select.epoll()
        self.handlers: dict[int, tuple[Container | None, Callable[[], None]]] = {}
        self.containers: set[Container] = set()
        self.timed: set[Container] = set()  # those of them that have a deadline
        self.leaving: set[Container] = set()  # they have ended, and their owner is taking what is left
        self.open = True
        self.watcher = Watcher()
        self._watch(control.fileno(), self._on_control)
        if listener is not None:
            self._watch(listener.fileno(), self._on_owner)

    def _watch(self, fd: int, handler: Callable[[], None], container: Container | None = None) -> None:
        self.handlers[fd] = container, handler
        self.poll.register(fd, select.EPOLLIN)

    def _forget(self, fd: int) -> None:
        if self.handlers.pop(fd, None) is not None:
            self.poll.unregister(fd)

    def _on_control(self) -> None:
        got = wire.receive(self.control)
        if got is None:
            self.open = False
            self._forget(self.control.fileno())
            self.control.close()
            for container in self.containers:
                if not container.kept:
                    container.kill()
            return
        (kind, message, names), fds = got
        assert kind == "run"
        if len(fds) < 4:  # no room for descriptors here: the caller sees that nobody took its plan
            _close(fds)
            return
        try:
            plan, held = decode(message, CLASSES), dict(zip(names, fds[4:], strict=True))
        except (KeyError, TypeError, ValueError, IndexError):  # no plan: likewise, and the others go on
            _close(fds)
            return
        self.add(Container(plan, _socket.socket(fileno=fds[0]), fds[1:4], held, self.left))

    def _on_owner(self) -> None:
        """Somebody comes to own this stage; whoever owned it before does not any more."""
        assert self.listener is not None
        control = _socket.socket(fileno=self.listener._accept()[0])  # type: ignore[attr-defined]
        if not wire.is_ours(control):
            control.close()
            return
        control.setblocking(True)
        if self.open:
            self._forget(self.control.fileno())
            self.control.close()
        for container in self.leaving:
            self._forget(container.caller.fileno())
            container.let_go()
        self.leaving.clear()
        self.control, self.open = control, True
        self._watch(control.fileno(), self._on_control)
        for container in list(self.containers):
            if not container.kept:
                self._end_now(container)
                continue
            self._forget(container.caller.fileno())
            ours, theirs = wire.pair()
            news = ("adopted", container.plan.keeping, container.scene.pid)
            _tell(control, news, [theirs.fileno(), *container.take_over(ours)])
            theirs.close()
            self._hear(container)
        _tell(control, ("all", os.getpid()))  # SO_PEERCRED is of who has listened: our first owner

    def _end_now(self, container: Container) -> None:
        """End one that nobody has told to go on, and leave word of that before anybody takes it for one that runs.

        What does not die, as a process that waits for a disk, ends when it does.
        """
        container.kill()
        poll = select.poll()
        poll.register(container.scene.pidfd, select.POLLIN)
        if poll.poll(PATIENCE):
            self._on_end(container)

    def _hear(self, container: Container) -> None:
        self._watch(container.caller.fileno(), lambda: self._on_caller(container), container)

    def add(self, container: Container) -> None:
        """Start a container and watch it."""
        if not container.start():
            return
        if not container.plan.keeping:
            self.watcher.begin()  # now, while the new process is still ours, which does die with the stage
        self.containers.add(container)
        self._mind(container)
        channel = container.scene.channel
        assert channel is not None
        self._watch(channel.fileno(), lambda: self._on_channel(container), container)
        self._hear(container)
        self._watch(container.scene.pidfd, lambda: self._on_end(container), container)

    def _on_channel(self, container: Container) -> None:
        assert container.scene.channel is not None
        fd = container.scene.channel.fileno()
        before = container.listener
        if not container.on_channel():
            self._forget(fd)
            container.channel_closed()
        if container.listener != before:
            self._watch(container.listener, lambda: self._on_refusal(container), container)

    def _on_refusal(self, container: Container) -> None:
        fd = container.listener
        if not container.on_refusal():
            self._forget(fd)
            container.close_listener()

    def _on_caller(self, container: Container) -> None:
        fd = container.caller.fileno()
        if not container.on_caller():
            self._forget(fd)

    def _on_end(self, container: Container) -> None:
        channel = container.scene.channel
        while channel is not None and channel.fileno() in self.handlers:
            self._on_channel(container)
        ended = process.wait_pidfd(container.scene.pidfd)
        for fd in (container.scene.pidfd, container.listener, container.caller.fileno()):
            self._forget(fd)
        self.containers.discard(container)
        self.timed.discard(container)
        if container.finish(ended):
            self.leaving.add(container)
            self._watch(container.caller.fileno(), lambda: self._on_leaving(container), container)

    def _on_leaving(self, container: Container) -> None:
        if container.on_taken():
            return
        self._forget(container.caller.fileno())
        self.leaving.discard(container)
        container.let_go()

    def _mind(self, container: Container) -> None:
        """Know of its deadline, which what it was told may have changed: all the others are not asked at every turn."""
        if container.deadline and container in self.containers:
            self.timed.add(container)
        else:
            self.timed.discard(container)

    def _wait(self) -> float:
        first = min((container.deadline for container in self.timed), default=0.0)
        return max(0.0, first - time.monotonic()) if first else -1.0

    def _handle(self, fd: int, container: Container | None, handler: Callable[[], None]) -> None:
        """Let one container's trouble be its own: it is ended, and the others go on."""
        try:
            handler()
        except Exception as error:
            if container is None or container.scene.pidfd == fd:
                raise
            container.result["failed"] = (-1, 0, f"{type(error).__name__}: {error}", "", [])
            self._forget(fd)
            container.kill()
        if container is not None:
            self._mind(container)

    def serve(self) -> None:
        """Until the owner is gone and the last container has ended."""
        while self.open or self.containers or self.leaving:
            ready = [(fd, self.handlers.get(fd), events) for fd, events in self.poll.poll(self._wait())]
            for fd, entry, events in ready:
                # an earlier handler of this round may have closed fd, and another opened it anew
                if entry is not None and self.handlers.get(fd) is entry:
                    if events == select.EPOLLHUP:
                        self._forget(fd)  # a listener whose filter nobody is under any longer
                    else:
                        self._handle(fd, *entry)
            now = time.monotonic()
            for container in [container for container in self.timed if container.deadline <= now]:
                container.time_out()
                self._mind(container)


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _tell(owner: _socket.socket, message: tuple[object, ...], fds: list[int] | None = None) -> None:
    try:
        wire.send(owner, message, fds or [])
    except OSError:
        pass  # it was killed meanwhile, as the end of its stream is going to say


def serve(control: _socket.socket, listener: _socket.socket | None = None, left: Left | None = None) -> None:
    """Be a stage until `control` closes, and what outlives its owner has ended; never returns.

    `left` is called with the report of a container whose caller is gone, and which was not to outlive it.
    """
    gc.disable()
    gc.freeze()
    inside.default_signals()
    inside.raise_limit()
    os.setsid()
    server = Server(control, listener, left)
    server.serve()
    server.watcher.end()
    os._exit(0)
