"""Where the supervisor starts, and what it holds: its socket, its stages, its containers.

    python -I -S -c 'from cloche.engine.supervisor.main import main; main(3)'    3: closed when it listens

One at a time: whoever holds supervisor.lock in the place of the store (`sockets`). It goes a second after the last
container and command have gone; what it needs in memory is for what runs, the rest is on the disk.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import sys

from cloche.engine import sockets
from cloche.engine.containers import folder_of
from cloche.engine.supervisor import adopting, answering, whereabouts
from cloche.engine.supervisor.commands import Command
from cloche.engine.supervisor.connection import Connection
from cloche.engine.supervisor.footing import Footing
from cloche.engine.supervisor.loop import READ, Loop
from cloche.engine.supervisor.supervised import Supervised
from cloche.linux import process, scheduling
from cloche.linux.reading import boot_id
from cloche.stage import wire
from cloche.stage.client import Adopted, Stage, spawn_stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from cloche.engine.supervisor.commands import Ended, Said
else:
    import _signal

LOCK = "supervisor.lock"
IDLE, AGAIN = 1.0, 0.5  # seconds
SOON = 0.1  # seconds, until it is tried again to take a connection for which there was no room
REMOVALS = 5  # how often it is tried to remove what goes with its end, a second after each other
SPARE = 4  # descriptors without which it does not begin
NOFILE = 7  # RLIMIT_NOFILE
TERM, HUP, INT, CHLD = 15, 1, 2, 17
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


class Supervisor:
    """Everything there is one of."""

    def __init__(self, state: str, nofile: int) -> None:
        self.state, self.nofile = state, nofile  # the soft limit of open files that all get which we start
        self.places = f"{state}/run"
        self.loop = Loop()
        self.items: dict[str, Supervised] = {}
        self.stages: dict[bool, Stage] = {}
        self.connections: set[Connection] = set()
        self.listener: _socket.socket | None = None
        self.footing: Footing | None = None
        self.commands: set[Command] = set()
        self.unread: dict[str, Adopted | None] = {}  # by id, what cannot be looked at now; what its stage says of it
        self.removals: set[str] = set()  # ids of what is being removed, or to be removed once more
        self.going = False
        self.resting = False  # it goes soon, unless somebody needs it then

    def place_of(self, container_id: str) -> str:
        """The directory of a container's pipes while it runs."""
        return f"{self.places}/{container_id}"

    def open(self) -> None:
        """Listen for commands. Raises OSError, also where there would be no room for any."""
        path = f"{self.state}/{sockets.SUPERVISOR}"
        self.listener = self._listen(path)
        self.loop.watch(self.listener.fileno(), lambda _events: self._accept())
        self.footing = Footing(self, path, f"{self.state}/{LOCK}")
        for fd in [os.dup(self.listener.fileno()) for _ in range(SPARE)]:
            os.close(fd)

    def _listen(self, path: str) -> _socket.socket:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        mask = os.umask(0o177)
        try:
            sockets.bind(sock, path)
        finally:
            os.umask(mask)
        sock.listen(4096)
        sock.setblocking(False)
        return sock

    def _accept(self) -> None:
        assert self.listener is not None
        try:
            fd, _ = self.listener._accept()  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no room for one more: it waits, and so do we
            self.loop.change(self.listener.fileno(), 0)
            self.loop.after(SOON, self._accept_again)
            return
        sock = _socket.socket(fileno=fd)
        if not wire.is_ours(sock):
            sock.close()
            return
        conn = Connection(sock, self.loop, self._heard, self._gone, wire.peer(sock)[0])
        self.connections.add(conn)
        conn.send("hello")

    def _accept_again(self) -> None:
        if self.listener is not None and self.listener.fileno() >= 0:
            self.loop.change(self.listener.fileno(), READ)

    def _heard(self, conn: Connection, message: tuple[object, ...], fds: list[int]) -> None:
        try:
            answering.answer(self, conn, message, fds)
        except BaseException:
            conn.close()  # who asked, perhaps for what another version of this has, is not to wait for ever
            raise

    def _gone(self, conn: Connection) -> None:
        self.connections.discard(conn)
        for item in conn.concerns:
            item.let_go(conn)

    # stages

    def stage(self, *, sealed: bool) -> Stage:
        """The stage that makes containers, started when there is none."""
        found = self.stages.get(sealed)
        if found is None or not found.alive():
            if found is not None:
                found.control.close()
            listener = self._listen(self._stage_path(sealed=sealed))
            found = self.stages[sealed] = spawn_stage(sealed=sealed, listener=listener, nofile=self.nofile)
            listener.close()
        return found

    def where(self, *, sealed: bool) -> tuple[dict[str, tuple[int, int]], int]:
        """The namespaces in which containers are made, and a process that is in them; a stage may be older than us."""
        stage = self.stages.get(sealed)
        if stage is not None and stage.alive():
            try:
                return whereabouts.of(stage.pid), stage.pid
            except OSError:
                pass  # it has just ended
        return whereabouts.of(whereabouts.SELF), os.getpid()

    def _stage_path(self, *, sealed: bool) -> str:
        return f"{self.state}/stage{'-sealed' if sealed else ''}.sock"

    def take_over(self) -> None:
        """What another supervisor has left."""
        adopted: dict[str, Adopted] = {}
        for sealed in (False, True):
            found = adopting.reach_stage(self._stage_path(sealed=sealed))
            if found is not None:
                self.stages[sealed] = found[0]
                adopted.update({item.run.plan.keeping.rpartition("/")[2]: item for item in found[1]})
        adopting.take_over(self, adopted)

    # commands that it starts

    def command(self, *words: str, ended: Ended | None = None) -> Command:
        """Start a command of ours, and hear of its exit code and of what it said."""

        def over(code: int, said: Said) -> None:
            self.commands.discard(command)
            if ended is not None:
                ended(code, said)
            elif code:
                sys.stderr.write(said.text())
            self.reap()

        command = Command(self.loop, words, over, self.nofile)
        self.commands.add(command)
        return command

    def reap(self) -> None:
        """Wait for those that have lost their parent and are ours now, such as a health check that was killed.

        One that nobody waits for keeps its container from ending. Whoever has a pidfd waits for itself.
        """
        try:
            with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
                children = {int(word) for word in file.read().split()}
        except OSError:
            return  # a kernel without CONFIG_PROC_CHILDREN
        strange = children - {command.pid for command in self.commands} - {stage.pid for stage in self.stages.values()}
        for pid in strange and strange - {int(item.state["pid"]) for item in self.items.values()}:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue

    def remove(self, container_id: str, tries: int = REMOVALS) -> None:
        """Have one removed that goes with its end; once more, where that was killed or found no room."""
        self.removals.add(container_id)

        def over(code: int, _said: Said) -> None:
            if code and tries > 1 and os.path.exists(folder_of(container_id)):
                self.loop.after(IDLE, lambda: self.remove(container_id, tries - 1))
            else:
                self.removals.discard(container_id)

        self.command("rm", "-v", "-f", container_id, ended=over)

    # its own end

    def settle(self, item: Supervised) -> None:
        """A container has ended: nothing of it is kept in mind unless it is to run again."""
        if not item.busy and self.items.get(item.id) is item:
            del self.items[item.id]

    def look_again(self, item: Supervised) -> None:
        """Forget what is known of a container, and shortly look at what is written down of it, as another would."""
        if self.items.get(item.id) is item:
            del self.items[item.id]
        self.look_later(item.id, None)

    def look_later(self, container_id: str, found: Adopted | None) -> None:
        """Look at one that cannot be looked at now, of which its stage may have told us; until then we are needed."""

        def look() -> None:
            adopting.take_again(self, container_id)

        self.unread[container_id] = found
        self.loop.after(AGAIN, look)

    def _rest(self) -> None:
        """Go, if nobody needs us for a while; whatever else has failed."""
        if not self.resting and not self.needed:
            self.resting = True
            self.loop.after(IDLE, self._perhaps_go)

    @property
    def needed(self) -> bool:
        """Whether there is anything to wait for."""
        busy = self.connections or self.commands or self.removals or self.unread
        return bool(busy or any(item.busy for item in self.items.values()))

    def _perhaps_go(self) -> None:
        self.resting = False
        if not self.needed:
            self.going = True

    def hear_signals(self) -> None:
        """SIGTERM and SIGINT end it, containers go on; SIGCHLD may be of somebody that nobody waits for."""
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.signal(HUP, _signal.SIG_IGN)
        for number in (TERM, INT):
            _signal.signal(number, lambda *_: setattr(self, "going", True))
        _signal.signal(CHLD, lambda *_: None)
        _signal.set_wakeup_fd(write, warn_on_full_buffer=False)

        def heard(_events: int) -> None:
            os.read(read, 4096)
            self.reap()

        self.loop.watch(read, heard)

    def serve(self) -> None:
        """Until nobody needs us."""
        while not self.going:
            self._rest()
            self.loop.turn()
        assert self.listener is not None
        assert self.footing is not None
        is_there = self.footing.is_there  # else what is there is another's
        # whoever has connected by now and was not greeted finds out, and starts another
        if is_there:
            self._unlink(sockets.SUPERVISOR)
        self.listener.close()
        if self.unread or any(item.busy for item in self.items.values()):
            return  # we were asked to go: the next one finds the stages, and what runs in them
        for path in sockets.STAGES if is_there else ():
            self._unlink(path)
        for stage in self.stages.values():
            stage.close()

    def _unlink(self, name: str) -> None:
        try:
            os.unlink(f"{self.state}/{name}")
        except FileNotFoundError:
            pass


def main(ready: int) -> None:
    """Be the supervisor, unless there is one; never returns."""
    process.close_range(ready + 1)  # what the command's own caller has left open is not to stay open for months
    os.umask(0o077)
    os.chdir("/")
    os.set_inheritable(ready, False)
    try:
        supervisor = _begin(sockets.place())
    except OSError as error:
        os.write(ready, (error.strerror or str(error)).encode())
        os._exit(1)  # what runs is as it was, for the next one
    os.close(ready)
    supervisor.serve()
    os._exit(0)


def _begin(state: str) -> Supervisor:
    """Be in charge, of what there is as well, and listen. Raises OSError."""
    lock = os.open(f"{state}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os._exit(0)  # there is one, or one is going: the command looks again
    process.set_name("cloche supervis")
    process.prctl(SUBREAPER, 1)  # containers whose stage was killed become our children: we see how they end
    soft, hard = scheduling.get_rlimit(NOFILE)
    scheduling.set_rlimit(NOFILE, hard, hard)
    supervisor = Supervisor(state, soft)
    supervisor.hear_signals()
    boot_id()  # kept from now on, whatever there is room for later
    supervisor.take_over()
    supervisor.open()
    return supervisor
