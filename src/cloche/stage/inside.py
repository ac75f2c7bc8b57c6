"""The new process: carry out the inside steps of a plan, one by one, and become the command.

Everything is imported before this starts; nothing here may import. A step that fails is told to the
stage as data, and the process ends: a half-made container is never left.
"""

from __future__ import annotations

import posix as os
import time

from cloche.linux import mount, process, scheduling
from cloche.stage import early, wire
from cloche.stage.operation import INSIDE
from cloche.stage.points import reach
from cloche.stage.scene import Inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from cloche.stage.operation import Operation, Plan
    from cloche.stage.scene import Outside
else:
    import _signal

SET_UP_FAILED = 125

NOFILE = 7  # RLIMIT_NOFILE
_limit: list[int] = []  # the soft and hard limit the stage was started with


def raise_limit() -> None:
    """Let this stage open as many files as it may: each container takes a handful; commands get the old limit."""
    _limit[:] = scheduling.get_rlimit(NOFILE)
    scheduling.set_rlimit(NOFILE, _limit[1], _limit[1])


def default_signals() -> None:
    """Every signal at its default, as containers are to inherit them: Python ignores SIGPIPE and SIGXFSZ,
    whoever started us may ignore others (nohup; the C library's posix_spawn ignores its own two), and ignored
    ones survive execve."""
    for number in _signal.valid_signals():
        if _signal.getsignal(number) != _signal.SIG_DFL:
            _signal.signal(number, _signal.SIG_DFL)
    process.default_internal_signals()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def run(plan: Plan, outside: Outside) -> None:
    """Carry out the plan's inside steps in this process; never returns."""
    assert outside.channel is not None
    process.set_name(early.SETTING_UP)
    process.die_with_parent()  # a change of ids takes it back: `AwaitRelease` and `DieWithStage` say it again
    scene = Inside(outside.channel, outside.stdio)
    scene.trees, scene.starting = outside.trees, outside.starting
    index = -1
    if _limit:
        scheduling.set_rlimit(NOFILE, *_limit)
    os.umask(0)  # modes are meant as written; the command's own umask is set with its user
    try:
        for index, op in enumerate(plan.operations):
            if op.side != INSIDE:
                continue
            if plan.step:
                _wait_for_caller(scene, index)
            reach(plan.failpoint, type(op).__name__)
            start = time.monotonic_ns()
            _finish_notes(scene, op)
            if plan.trace and type(op).__name__ == "Execute":
                wire.send(scene.channel, ("step", index, -1))  # it does not come back to tell
            op.execute(scene)
            if plan.trace:
                wire.send(scene.channel, ("step", index, time.monotonic_ns() - start))
    except OSError as error:
        _give_back(scene)
        _tell(scene, index, error)
    except Exception as error:  # a defect of ours: told in one line, like everything else
        _give_back(scene)
        _tell(scene, index, OSError(0, f"{type(error).__name__}: {error}"))
    finally:
        os._exit(SET_UP_FAILED)  # whatever happens: who called us goes on as the stage, which this process is not


def _give_back(scene: Inside) -> None:
    """Unmount the half-made root: a mount namespace that was joined does not end with this process."""
    # once entered, and no longer known here, it is whole; the root is elsewhere when hooks were shown it
    for made in (scene.scratch, scene.root):
        if made < 0:
            continue
        try:
            os.fchdir(made)
            mount.umount2(".", mount.MNT_DETACH)
        except OSError:
            continue  # the reason why it failed is what counts


def _finish_notes(scene: Inside, op: Operation) -> None:
    """Before the last step, tell what came out weaker than planned."""
    if type(op).__name__ == "LoadSeccomp" or type(op).__name__ == "Execute":
        for layer, text in scene.notes:
            wire.send(scene.channel, ("note", layer, text))
        scene.notes = []


def _tell(scene: Inside, index: int, error: OSError) -> None:
    notes = getattr(error, "__notes__", [])
    culprit = error.filename if isinstance(error.filename, str) else ""
    text = error.strerror or str(error)
    try:
        wire.send(scene.channel, ("failed", index, error.errno or 0, text, culprit, notes))
    except OSError:
        pass  # the stage is gone, and nobody is left to tell


def _wait_for_caller(scene: Inside, index: int) -> None:
    """`--step`: say which step is next, and wait; the caller may ask for a shell as things stand."""
    while True:
        wire.send(scene.channel, ("next", index))
        got = wire.receive(scene.channel)
        while got is not None and got[0][0] not in {"continue", "shell"}:
            scene.early.append(got)
            got = wire.receive(scene.channel)
        if got is None:
            os._exit(SET_UP_FAILED)
        if got[0][0] == "continue":
            return
        pid = os.fork()
        if pid == 0:
            try:
                os.execve(
                    "/bin/sh",
                    ["sh", "-i"],
                    {"PS1": "(as it stands) # ", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                )
            finally:
                os._exit(127)
        os.waitpid(pid, 0)
