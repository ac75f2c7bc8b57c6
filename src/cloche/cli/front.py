"""The front of a running container: streams, terminal and signals between a person and the command."""

from __future__ import annotations

import posix as os
import select

from cloche.linux import places, terminal
from cloche.linux.files import only_conveys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import Any, Protocol, Self

    from cloche.cli.detaching import Matcher
    from cloche.engine.passing import Passing
    from cloche.sandbox.results import Result
    from cloche.stage.operation import Plan

    class Relayed(Protocol):
        """What runs at the other end: `stage.client.Run` and its like."""

        def fileno(self) -> int:
            """Readable when there is news."""

        def receive(self) -> tuple[tuple[Any, ...], list[int]]:
            """The next message and its descriptors."""

        def send(self, kind: str, *rest: Any, fds: tuple[int, ...] | list[int] = ()) -> None:
            """Tell it something."""

        def close(self) -> None:
            """Let go."""

else:
    import _signal

TERM, TSTP, CONT, STOP, WINCH = 15, 20, 18, 19, 28
PASSED = (1, 2, 3, 10, 12, 14, 15, 30)  # HUP INT QUIT USR1 USR2 ALRM TERM PWR
CHUNK = 65536
GONE = {5, 9, 32}  # EIO EBADF EPIPE: the window was closed, there was none, nobody reads it any more
HUP, PATIENCE = 1, 2.0  # what is told when the terminal is gone, and how long it is waited for


class Observer:
    """Hears of each step; this one does nothing (`explain.Narrator` prints)."""

    def step(self, index: int, nanoseconds: int) -> None:
        """Step `index` of the plan has been carried out."""

    def before(self, run: Relayed, index: int) -> None:
        """The stage waits for leave to take step `index`."""
        del index
        run.send("continue")

    def receipt(self, result: Result) -> None:
        """It is over."""


class Streams:
    """The command's stdin, stdout and stderr, and what is relayed between them and ours.

    Pipes and sockets of ours are given to it. A pipe stands between it and anything else, which would be a way for it
    to our terminal or our file. With `patient`, what comes from those that it leaves behind goes into our file, too.

    With a `matcher` its keys end it: whoever is at the other end of `run` stays with the command.
    """

    def __init__(self, *, interactive: bool, tty: bool, patient: bool = False, matcher: Matcher | None = None) -> None:
        self.tty, self.interactive, self.patient, self.matcher = tty, interactive, patient, matcher
        self.left = False
        self.ended = False  # the command: only what others write is waited for
        self.resized: Callable[[int, int], None] = lambda _rows, _columns: None  # is told the size of its terminal
        self.relays: dict[int, int] = {}  # read here, write there
        self.master = -1
        self.poll = select.poll()
        self.input = -1  # where what is typed at our terminal goes
        self.typed = b""  # what the command has not taken yet
        self._close: list[int] = []
        null = -1
        if tty or not interactive:
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            self._close.append(null)
        if tty:
            self.theirs = [null, null, null]
            return
        out = self._output(1)
        # one pipe for both keeps what is written to them in its order
        error = out if out != 1 and places.sameopenfile(1, 2) else self._output(2)
        self.theirs = [self._keyboard() if interactive else null, out, error]

    def _keyboard(self) -> int:
        """Our own stdin, or a pipe."""
        if only_conveys(0):
            return 0
        read, self.input = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.input, False)
        self._close.append(read)
        return read

    def _output(self, fd: int) -> int:
        """Our own descriptor, or a pipe."""
        if only_conveys(fd):
            return fd
        read, write = os.pipe2(os.O_CLOEXEC)
        self.relays[read] = fd
        self._close.append(write)
        return write

    def handed_over(self) -> None:
        """The stage has its copies: let go of ours, so that end of file can be seen."""
        for fd in self._close:
            os.close(fd)
        self._close = []

    def relay(
        self,
        run: Relayed,
        observer: Observer,
        started: Callable[[int], None],
        executed: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Until the container has ended and all it wrote has been passed on; returns the report."""
        poll = self.poll
        for fd in (run.fileno(), *self.relays, *([0] if self.input >= 0 else [])):
            poll.register(fd, select.POLLIN)
        ended: dict[str, Any] | None = None
        with RawTerminal(run) if self.tty and self.interactive else _Nothing():
            while ended is None or self.relays:
                if self.left:
                    run.send("leave")
                    ended = {"exit_code": 0, "left": True}
                    break
                # after the end, what is left in a pipe is taken, but nobody is waited for at a terminal
                ready = poll.poll(None if ended is None else 50)
                if ended is not None and not ready and not self._awaits_others():
                    break
                for fd, events in ready:
                    if fd == run.fileno():
                        ended = self._news(run, observer, started, executed)
                        if ended is not None:
                            self.ended = True
                            poll.unregister(fd)
                            self._no_more_keys()
                    elif fd == 0 and self.input >= 0:
                        self._type(run)
                    elif fd == self.input != self.master and events & select.POLLERR:
                        self._no_more_keys()  # nobody will read it any more
                    elif fd == self.input and events & select.POLLOUT:
                        self._feed()
                    elif fd in self.relays and not _copy(fd, self.relays[fd]):
                        poll.unregister(fd)
                        self._end_of(fd)
        self._no_more_keys()
        for fd in list(self.relays):
            self._end_of(fd)
        run.close()
        return ended if ended is not None else {}

    def _awaits_others(self) -> bool:
        return self.patient and any(not os.isatty(target) for target in self.relays.values())

    def _type(self, run: Relayed) -> None:
        """Take what was typed; nothing more of it before the command has taken that."""
        try:
            data = os.read(0, CHUNK)
        except OSError:
            data = b""  # EIO: the window was closed
        if data and self.matcher is not None:
            data, left = self.matcher.feed(data)
            self.left = left
            if not data:
                return  # the keys, or perhaps their beginning
        if data:
            self.typed = data
            self.poll.unregister(0)
            self._feed()
            return
        self._no_more_keys()
        if self.tty:  # a raw terminal has no other end than that its window was closed
            run.send("stop", HUP, PATIENCE)

    def _feed(self) -> None:
        """Pass on what was typed as far as it is taken, and see to it that we hear when there is room."""
        try:
            self.typed = self.typed[os.write(self.input, self.typed) :]
        except BlockingIOError:
            pass
        except OSError:
            self._no_more_keys()  # nobody will read it any more
            return
        reading = select.POLLIN if self.input == self.master else 0
        self.poll.register(self.input, reading | (select.POLLOUT if self.typed else 0))
        if not self.typed:
            self.poll.register(0, select.POLLIN)

    def _no_more_keys(self) -> None:
        """Stop listening to the keyboard; a pipe is closed, so that its end can be seen."""
        if self.input < 0:
            return
        for fd in (0, self.input):
            try:
                self.poll.unregister(fd)
            except KeyError:
                pass
        if self.input == self.master:
            self.poll.register(self.master, select.POLLIN)
        else:
            os.close(self.input)
        self.input, self.typed = -1, b""

    def _news(
        self, run: Relayed, observer: Observer, started: Callable[[int], None], executed: Callable[[], None]
    ) -> dict[str, Any] | None:
        message, fds = run.receive()
        kind = message[0]
        if kind == "ended":
            return dict(message[1])
        if kind == "started":
            started(message[1])
        elif kind == "executed":
            executed()
        elif kind == "step":
            observer.step(message[1], message[2])
        elif kind == "next":
            observer.before(run, message[1])
        elif kind == "console":
            self.connect(fds.pop())
        return None

    def connect(self, master: int) -> None:
        """The command's terminal is there."""
        self.master = master
        self.relays[self.master] = 1
        self.poll.register(self.master, select.POLLIN)
        if self.interactive:
            os.set_blocking(self.master, False)
            self.input = self.master
            self.poll.register(0, select.POLLIN)
        self.resize()

    def resize(self) -> None:
        """Give the command's terminal the size of ours."""
        if self.master >= 0:
            rows, columns = terminal.new_size()
            terminal.set_window_size(self.master, rows, columns)
            self.resized(rows, columns)

    def _end_of(self, fd: int) -> None:
        if fd == self.master:
            if self.input == fd:
                self._no_more_keys()
                self.poll.unregister(fd)
            self.master = -1
        del self.relays[fd]
        os.close(fd)


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


class RawTerminal:
    """Our terminal in raw mode, so that every key reaches the command; put back whatever happens.

    The stage is told how it was, and puts it back if we are killed.
    """

    def __init__(self, run: Relayed) -> None:
        self.run = run
        self.saved = b""

    def __enter__(self) -> Self:
        self.saved = terminal.raw_mode(0)
        self.run.send("terminal", self.saved, fds=[0])
        return self

    def __exit__(self, *_: object) -> None:
        terminal.restore(0, self.saved)


class passing_signals:
    """While inside, signals to us go to the command; a stop from the keyboard stops both."""

    def __init__(
        self, run: Relayed, streams: Streams, *, tty: bool, stop_signal: int = TERM, patience: float | None = None
    ) -> None:
        self.run, self.streams, self.tty = run, streams, tty
        self.stop_signal, self.patience = stop_signal, patience
        self.windows = [fd for fd in range(3) if os.isatty(fd)]
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in PASSED:
            if number == HUP and _signal.getsignal(HUP) is _signal.SIG_IGN:
                continue  # started with nohup(1)
            self.before[number] = _signal.signal(number, self._pass_on)
        self.before[TSTP] = _signal.signal(TSTP, self._stop)
        if self.tty:
            self.before[WINCH] = _signal.signal(WINCH, lambda *_: self.streams.resize())
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            _signal.signal(number, handler)

    def _pass_on(self, number: int, _frame: object) -> None:
        if self.streams.ended:
            self.streams.patient = False  # whoever else is waited for is not ours to end
            return
        if number == HUP and self.windows and not any(os.isatty(fd) for fd in self.windows):
            # a first process ignores what it has no handler for, and nobody is there to end it any more
            self.run.send("stop", HUP, PATIENCE)
            return
        if number == TERM:
            number = self.stop_signal
            if self.patience is not None:
                self.run.send("stop", number, self.patience)
                return
        self.run.send("signal", number)

    def _stop(self, *_: object) -> None:
        """Ctrl-Z without a terminal of the command's own: stop it, then ourselves, then go on."""
        self.run.send("signal", STOP)
        os.kill(os.getpid(), STOP)
        self.run.send("signal", CONT)


def drive(
    plan: Plan,
    *,
    interactive: bool,
    tty: bool,
    told: Passing,
    observer: Observer | None = None,
    started: Callable[[int, int], None],
    stop_signal: int = TERM,
    patience: float | None = None,
) -> dict[str, Any]:
    """Have a plan carried out by a stage forked from here, between our streams; returns the stage's report.

    `started` is called with the pids of the first process and of the stage, `told` hears what becomes of it then, and
    its end if we are killed; the rest as for `passing_signals`.
    """
    from cloche.stage.client import fork_stage

    stage = fork_stage(told.left)
    try:
        streams = Streams(interactive=interactive, tty=tty)
        streams.resized = told.resized
        run = stage.run(plan, streams.theirs)
        streams.handed_over()
        with passing_signals(run, streams, tty=tty, stop_signal=stop_signal, patience=patience):
            return streams.relay(run, observer or Observer(), lambda pid: started(pid, stage.pid), told.executed)
    finally:
        stage.close()


def _copy(source: int, target: int) -> bool:
    """Pass on what there is to read; False at the end of the stream, or when nobody takes it. Raises OSError."""
    try:
        data = os.read(source, CHUNK)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno == 5:  # EIO: the last process on the terminal is gone
            return False
        raise
    while data:
        try:
            data = data[os.write(target, data) :]
        except BlockingIOError:
            select.select([], [target], [])
        except OSError as error:
            if error.errno in GONE:
                return False
            raise OSError(error.errno, error.strerror, f"standard {'output' if target == 1 else 'error'}") from None
        if not data:
            return True
    return False
