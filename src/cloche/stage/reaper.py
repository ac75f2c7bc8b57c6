"""A small init: process 1 of a container that was asked for `--init`.

    process 1 (this)                       the command
    ────────────────                       ───────────
    fork ────────────────────────────────▶ own process group, in the foreground; exec
    wait for signals:
      SIGCHLD: reap whoever ended ◀─────── exits: process 1 exits with the same code
      another: pass it on ───────────────▶

It is still the stage's interpreter, not dumpable, with the container's restrictions already on.
"""

from __future__ import annotations

import posix as os

from cloche.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import signal as _signal
    from collections.abc import Callable
else:
    import _signal

KILL, STOP, CHILD, TTOU, TTIN = 9, 19, 17, 22, 21


def run(channel: _socket.socket, become: Callable[[], None]) -> None:
    """Fork, let the child `become` the command, and be its init; never returns."""
    every = _signal.valid_signals()
    _signal.pthread_sigmask(_signal.SIG_BLOCK, every)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        try:
            os.tcsetpgrp(0, os.getpid())
        except OSError:
            pass  # stdin is no terminal
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        become()
        os._exit(125)
    try:
        process.set_name("cloche init")
    except OSError:
        pass  # a profile that refuses prctl
    channel.close()
    process.close_range(3)
    waitable = every - {KILL, STOP, TTOU, TTIN}
    while True:
        number = int(_signal.sigwait(waitable))
        if number != CHILD:
            _pass_on(child, number)
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                os._exit(125)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)


def _pass_on(child: int, number: int) -> None:
    try:
        os.kill(child, number)
    except ProcessLookupError:
        pass  # it has just ended; SIGCHLD follows
