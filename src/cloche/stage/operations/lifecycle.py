"""What `create` and `start` add: hooks at their moments, and a process that waits to be started.

create                         the new process                       start
ListenForStart ─ Clone ─ …     AskForHooks ─▶ (prestart, createRuntime run outside)
                               RunHooks(createContainer) ─ pivot ─ …
state written ◀─── ready ───── AwaitStart
exits ─────────── keep ──────▶ (no longer dies with create)
                               accept ◀────────────────────────────── connect, "start"
                               RunHooks(startContainer) ─ Execute ──▶ end of stream, or what failed
"""

from __future__ import annotations

import _socket
import posix as os

from cloche.linux import files, mount, process
from cloche.linux.places import exists, isdir
from cloche.records import record
from cloche.stage import wire
from cloche.stage.diagnosis import why_not_executed
from cloche.stage.hooks import run_hooks, with_pid
from cloche.stage.operation import InsideOperation, OutsideOperation
from cloche.stage.operations.command import candidates, outlive

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from cloche.stage.hooks import Hook
    from cloche.stage.scene import Inside, Outside
else:
    import _signal

ENDING = (1, 2, 3, 10, 12, 14, 15)  # HUP INT QUIT USR1 USR2 ALRM TERM end a process that waits to be started


@record
class ListenForStart(OutsideOperation):
    """Open the socket through which `start` will find the new process."""

    folder: str
    name: str

    def execute(self, scene: Outside) -> None:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        # a path of any length: a socket's address has only 108 bytes
        fd = os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mask = os.umask(0o177)
        try:
            sock.bind(f"/proc/self/fd/{fd}/{self.name}")
        finally:
            os.umask(mask)
            os.close(fd)
        sock.listen(8)
        scene.starting = sock

    def calls(self) -> list[str]:
        return [f'bind("{self.folder}/{self.name}")', "listen()"]

    def meaning(self) -> str:
        return "the container waits here for `start`"


@record
class AskForHooks(InsideOperation):
    """Let the runtime run the hooks that belong to its own namespaces."""

    def execute(self, scene: Inside) -> None:
        wire.send(scene.channel, ("hooks",))
        got = scene.receive()
        if got is None:
            os._exit(125)
        scene.outside_pid = got[0][1]

    def calls(self) -> list[str]:
        return ["sendmsg(channel, hooks)", "recvmsg(channel)"]

    def meaning(self) -> str:
        return "the hooks prestart and createRuntime have run, outside"


@record
class ShowRoot(InsideOperation):
    """Put the new root where hooks look for it, and give them the host's /proc back."""

    path: str
    bundle: str  # where they run

    def execute(self, scene: Inside) -> None:
        mount.move_mount(scene.root, files.AT_FDCWD, self.path)
        os.chdir(self.bundle)
        mount.umount2("/proc", mount.MNT_DETACH)  # where the scratch is

    def calls(self) -> list[str]:
        return [f'move_mount(root, "{self.path}")', f'chdir("{self.bundle}")', 'umount2("/proc", MNT_DETACH)']

    def meaning(self) -> str:
        return "hooks that run before the pivot see the container's mounts below its root"


@record
class RunHooks(InsideOperation):
    """Run hooks in the container's namespaces."""

    kind: str
    hooks: tuple[Hook, ...]
    state: str  # the JSON of the state, with PID where the pid belongs

    def execute(self, scene: Inside) -> None:
        mask = os.umask(0o022)  # setting up has none
        try:
            run_hooks(self.kind, self.hooks, with_pid(self.state, scene.outside_pid))
        finally:
            os.umask(mask)

    def calls(self) -> list[str]:
        return [f'execve("{path}") < state' for path, *_ in self.hooks]

    def meaning(self) -> str:
        return f"{len(self.hooks)} {self.kind} hooks run in the container's namespaces"


@record
class FindCommand(InsideOperation):
    """See whether there is such a command, in words that engines look for."""

    name: str
    path: str  # PATH of its environment

    def execute(self, scene: Inside) -> None:
        del scene
        name = self.name
        if "/" not in name:
            found = [place for place in candidates(name, self.path) if exists(place)]
            if not found:
                raise OSError(2, "executable file not found in $PATH", f'exec: "{name}"')
            name = found[0]
        code, text, _ = (0, "", "") if _can_be_executed(name) else why_not_executed(name, 13, searched=False)
        if code == 127:
            raise OSError(2, "no such file or directory", f'exec: "{name}": stat {name}')
        if code:
            raise OSError(13, f"permission denied ({text.partition(': ')[2]})", f'exec: "{name}"')

    def calls(self) -> list[str]:
        return [f'faccessat("{self.name}", X_OK)']

    def meaning(self) -> str:
        return "there is such a command; better to know it now than at `start`"


@record
class AwaitStart(InsideOperation):
    """Be created: let go of `create` and of all it had open, and wait for `start`."""

    preserve: int = 0  # how many descriptors after 2 stay

    def execute(self, scene: Inside) -> None:
        outlive(scene)
        scene.channel.close()
        assert scene.starting is not None
        listening = scene.starting.fileno()
        if listening > 3 + self.preserve:
            process.close_range(3 + self.preserve, listening - 1)
        process.close_range(listening + 1)
        # the first process of a pid namespace only gets signals that it has a handler for (pid_namespaces(7))
        for number in ENDING:
            _signal.signal(number, lambda number, _frame: os._exit(128 + number))
        while True:
            conn = _socket.socket(fileno=scene.starting._accept()[0])  # type: ignore[attr-defined]
            if wire.receive(conn) is not None:
                break
            conn.close()  # somebody who looked whether we wait
        scene.starting.close()
        scene.channel = conn
        for number in ENDING:
            _signal.signal(number, _signal.SIG_DFL)

    def calls(self) -> list[str]:
        return ["prctl(PR_SET_PDEATHSIG, 0)", "accept(start)"]

    def meaning(self) -> str:
        return "the container is created, and does nothing until it is started"


def _can_be_executed(path: str) -> bool:
    return os.access(path, os.X_OK, effective_ids=True) and not isdir(path)


@record
class MoveRoot(InsideOperation):
    """Make the new tree the root without pivot_root, which an initramfs does not allow."""

    def execute(self, scene: Inside) -> None:
        os.fchdir(scene.root)
        mount.move_mount(scene.root, files.AT_FDCWD, "/")
        os.chroot(".")
        os.chdir("/")
        os.close(scene.scratch)
        os.close(scene.root)
        scene.scratch = scene.root = -1

    def calls(self) -> list[str]:
        return ['move_mount(root, "/")', 'chroot(".")', 'chdir("/")']

    def meaning(self) -> str:
        return "the new tree covers the host's files; --no-pivot is weaker: they are still mounted below"
