"""Waiting for a process in the foreground: signals go to it, its terminal is relayed, its exit code is ours."""

from __future__ import annotations

import posix as os
import select

from cloche.linux import files, process, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

CHUNK = 65536
WINCH = 28
END_OF_INPUT = b"\x04"  # what a terminal makes an end of input of, as long as nobody has told it otherwise (termios(3))
KEPT = {9, 17, 18, 19, 20, 21, 22, 23, 28}  # KILL CHLD CONT STOP TSTP TTIN TTOU URG WINCH are not passed on
PASSED_ON = [number for number in _signal.valid_signals() if number not in KEPT and number < 32]


def hold_signals() -> None:
    """Keep what is to be passed on until `wait` can do so: to be called before the process is let go."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, PASSED_ON)


def wait(pidfd: int, master: int) -> int:
    """Until the process has ended; returns its exit code, 128+n where signal n ended it."""

    def pass_on(number: int, _frame: object) -> None:
        try:
            process.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            pass  # it has just ended

    for number in PASSED_ON:
        _signal.signal(number, pass_on)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    saved = b""
    if master >= 0 and os.isatty(0):
        _resize(master)
        _signal.signal(WINCH, lambda *_: _resize(master))
        saved = terminal.raw_mode(0)
    try:
        ended = _relay(pidfd, master)
    finally:
        if saved:
            terminal.restore(0, saved)
    return ended.status if ended.code == process.CLD_EXITED else 128 + ended.status


def _resize(master: int) -> None:
    rows, columns = terminal.window_size(0)
    terminal.set_window_size(master, rows, columns)


def _relay(pidfd: int, master: int) -> process.Exit:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if master >= 0:
        os.set_blocking(master, False)
        poll.register(master, select.POLLIN)
        poll.register(0, select.POLLIN)
    typed, ended_input = b"", False
    while True:
        for fd, events in poll.poll():
            if fd == pidfd:
                if master >= 0:
                    while _copy(master) > 0:
                        pass
                ended = process.wait_pidfd(pidfd)
                assert ended is not None
                return ended
            if fd == 0:
                typed = _read(0)
                poll.unregister(0)  # until that is written
                ended_input = not typed
                typed = typed or END_OF_INPUT
                poll.modify(master, select.POLLIN | select.POLLOUT)
            elif events & ~select.POLLOUT and _copy(master) < 0:  # what was typed and not read is nobody's any more
                poll = select.poll()
                poll.register(pidfd, select.POLLIN)
                typed = b""
                break
        if typed:
            typed = typed[_write(master, typed) :]
            if not typed:
                poll.modify(master, select.POLLIN)
                if not ended_input:
                    poll.register(0, select.POLLIN)


def _copy(master: int) -> int:
    """Pass on what the terminal has: how much that was, 0 for nothing just now, -1 at its end."""
    try:
        data = os.read(master, CHUNK)
    except BlockingIOError:
        return 0
    except OSError:
        return -1  # EIO: the last process on it is gone
    files.write_all(1, data)
    return len(data) or -1


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, CHUNK)
    except OSError:
        return b""


def _write(fd: int, data: bytes) -> int:
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
