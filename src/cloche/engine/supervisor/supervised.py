"""One container in the supervisor's hands: from its start to its end, and to its next start (long: one life).

start    pipes made, plan to the stage ─▶ "ready": written down ─▶ "go" ─▶ "executed": the command may go home
streams  what it writes goes to its log, and to the commands that are attached to it (`streams`)
end      the stage's report, or what can be found out without one ─▶ state.json ─▶ removed, restarted or left
"""

from __future__ import annotations

import os
import sys
import time

from cloche.engine import clock
from cloche.engine.containers import facts_of, load
from cloche.engine.events import emit, mounted, tell_all, unmounted, volumes_among
from cloche.engine.keeping import Keep
from cloche.engine.records import start_time, state_dir
from cloche.engine.signals import signal_number
from cloche.engine.supervisor import orphans, restarts, states
from cloche.engine.supervisor.holding import Holding
from cloche.engine.supervisor.streams import Streams
from cloche.errors import StageError
from cloche.linux import process
from cloche.linux.reading import boot_id
from cloche.stage.cleaning import end_groups
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.engine.supervisor import commands
    from cloche.engine.supervisor.connection import Connection
    from cloche.engine.supervisor.health import Checker
    from cloche.engine.supervisor.loop import Timer
    from cloche.engine.supervisor.main import Supervisor
    from cloche.stage.client import Run

    Ended = dict[str, Any]

KILL, NEVER = 9, -1.0
ENOSPC = 28


class Supervised:
    """A container. `settings` are what its start was told, see `answering.START`."""

    def __init__(self, supervisor: Supervisor, container_id: str, folder: str) -> None:
        self.supervisor, self.id, self.folder = supervisor, container_id, folder
        self.place = supervisor.place_of(container_id)
        self.state = states.fresh()
        self.settings: dict[str, Any] = {}
        self.run: Run | None = None
        self.pidfd = -1
        self.streams = Streams(supervisor.loop, self.place, self._close_input, self._has_lost)
        self.waiting: list[Connection] = []  # for its end
        self.starter: Connection | None = None
        self.holding = Holding(self)
        self.attaching = False  # the starter is to have all it writes, but first it hears that it runs
        self.executed = False
        self.unwanted = False  # it is removed when it has ended
        self.stays = False  # it is about to be started again, and not removed with its end
        self.unheard: list[int] = []  # signals of which the stage has not said yet that it has sent them
        self.killed = False  # what is sent to it now makes no difference any more, and is not told
        self.has_volumes = False  # those it is to have are mounted, which has been told
        self.concluding = False
        self.begun_here = 0.0  # when its command was executed; 0 where another supervisor has seen that
        self.checker: Checker | None = None
        self.unhealthy: dict[str, Any] | None = None  # the reason, where it was ended for its health
        self.patience: Timer | None = None  # with one that was asked to end
        self.next = restarts.NextStart(supervisor.loop, self._start_again, self._started_again)
        self.forsaken = False  # its directory is gone, and it was ended for that

    @property
    def busy(self) -> bool:
        """Whether there is something to wait for: it runs, or is to run again."""
        return self.is_there or self.next.is_coming or self.state["status"] == "restarting"

    @property
    def is_there(self) -> bool:
        """Whether it runs, is being started, or has ended and those who are to hear of it are waited for."""
        return self.run is not None or (self.pidfd >= 0 and not self.forsaken) or self.concluding

    # its start

    def start(self, starter: Connection, plan: Any, settings: dict[str, Any], held: list[int], attach: bool) -> None:
        """Have the plan carried out; `starter` hears "started" or "failed", and all that comes, if it is to attach.

        The descriptors `held`, of which the stage gets copies, are closed.
        """
        try:
            self._start(starter, plan, settings, held, attach)
        finally:
            for fd in held:
                os.close(fd)

    def _start(self, starter: Connection, plan: Any, settings: dict[str, Any], held: list[int], attach: bool) -> None:
        again = self.state["status"] == "restarting"
        self._end_patience()
        self.next.has_come()
        self.settings = settings
        was = states.before(self.id)
        self.state = states.fresh(
            restarts=self.state["restarts"] if again else 0,
            entry=settings["entry"],
            exit_code=self.state["exit_code"],
            was=was,
            lost=was["lost"],
            timeout=settings["timeout"],
        )
        self.starter, self.executed, self.killed, self.unwanted = starter, False, False, False
        self.unheard, self.stays = [], False
        self.streams.set_up(settings["keep"], f"{self.folder}/log", settings["facts"])
        self.attaching = attach
        try:
            self._make_place()
            if attach:
                self.streams.hold_for(starter)
            stdio, ends = self.streams.open(tty=settings["tty"], interactive=settings["interactive"])
        except OSError as error:
            self._fail(error.strerror or str(error))
            return
        try:
            point("supervisor-start")
            stage = self.supervisor.stage(sealed=settings["sealed"])
            self.run = stage.pass_on(plan, self.place, stdio, {**dict(zip(("lease",), held, strict=False)), **ends})
        except (StageError, OSError) as error:
            self._fail(str(error))
            return
        finally:
            for fd in {*stdio, *(fd for name, fd in ends.items() if name == "input")}:
                os.close(fd)
        self.supervisor.loop.watch(self.run.fileno(), lambda _events: self._news())

    def _make_place(self) -> None:
        os.makedirs(self.place, mode=0o700, exist_ok=True)
        with open(f"{self.place}/groups", "w", encoding="utf-8") as file:
            file.write("\n".join(self.settings["entry"]["groups"]))

    def _close_input(self) -> None:
        if self.run is not None:
            self.run.send("no more input")

    def resume(self, known: dict[str, Any], state: dict[str, Any], run: Run | None, console: int) -> None:
        """Take over one that another supervisor has started; without its stage there is no `run`."""
        options = known["options"]
        self.settings = _settings_of(known, state)
        self.state, self.run, self.executed, self.has_volumes = state, run, True, True
        self.next.backoff.begin()
        if run is not None:
            self.pidfd = run.pidfd
            self.supervisor.loop.watch(run.fileno(), lambda _events: self._news())
        else:
            self._watch_orphan()
        self.streams.set_up(self.settings["keep"], f"{self.folder}/log", self.settings["facts"])
        self.streams.take_begun()
        if console >= 0:
            self.streams.take_console(console)
        elif not options.get("tty"):
            self.streams.open_again(interactive=bool(options.get("interactive")))
        self.streams.wait_for_attached()
        self.holding.take_over()
        self._look_after_health()

    def find_ended(self, known: dict[str, Any], state: dict[str, Any], word: Ended | None) -> None:
        """One that was running, or was to run again, and does not: `word` is what its stage has written down."""
        self.settings = _settings_of(known, state)
        self.state, self.executed = state, True
        if state["status"] == "restarting":
            self.next.plan()
            return
        end_groups(orphans.groups_of(state))
        self.streams.set_up(self.settings["keep"], f"{self.folder}/log", self.settings["facts"])
        if word is not None and "never" in word:
            self.executed = False
            self._conclude(states.not_started(state, "the supervisor was killed"))
            return
        self.streams.wait_for_attached()
        self._conclude_with(lambda: self._take_rest(word))

    def _take_rest(self, word: Ended | None) -> None:
        self.streams.take_begun()
        self.streams.take_rest()
        self.has_volumes = True
        self._ended(word)

    def _conclude_with(self, work: Callable[[], None]) -> None:
        """It is over: say so as soon as all are there who are to hear of it."""
        self.concluding = True

        def conclude() -> None:
            self.concluding = False
            try:
                work()
            except OSError as error:
                self._fails(error)

        self.streams.when_complete(conclude)

    def _news(self) -> None:
        """A message of the stage about it."""
        try:
            self._take_news()
        except OSError as error:
            self._fails(error)

    def _fails(self, error: OSError) -> None:
        """Out here something cannot be had, such as another descriptor: that is the trouble of this container alone.

        One that was being started is ended. Of the end of another the next look finds what there is.
        """
        sys.stderr.write(f"{self.id}: {error}\n")
        self._tell("failed", (-1, error.errno or 0, error.strerror or str(error), "", []))
        if self.run is not None and not self.executed:
            self.run.send("kill")
            return
        self._let_go_of_all()
        for conn in {*self.streams.attached, *self.waiting}:
            conn.close()  # who asked asks again
        self.supervisor.look_again(self)

    def _let_go_of_all(self) -> None:
        """Who takes it again is to be the only one who reads, looks and writes."""
        self._end_patience()
        self._look_no_more()
        self.holding.drop()
        self.streams.drop()
        run, self.run = self.run, None
        if run is not None:
            self.supervisor.loop.forget(run.fileno())
            run.close()
        elif self.pidfd >= 0:
            self.supervisor.loop.forget(self.pidfd)
            os.close(self.pidfd)
        self.pidfd = -1

    def _take_news(self) -> None:
        assert self.run is not None
        try:
            message, fds = self.run.receive()
        except StageError:
            self._lost_stage()
            return
        kind = message[0]
        if kind == "console":
            self.streams.take_console(fds.pop())
        elif kind == "started":
            self.pidfd = self.run.pidfd
        elif kind == "signalled":
            del self.unheard[: message[1]]
        elif kind == "ready":
            self._written_down()
        elif kind == "executed":
            self._is_command(message[1], message[2])
        elif kind == "ended":
            point("end-heard")
            run, self.run = self.run, None
            self.supervisor.loop.forget(run.fileno())
            self._conclude_with(lambda: self._over(run, dict(message[1])))
        for fd in fds:
            os.close(fd)

    def _over(self, run: Run, ended: Ended) -> None:
        try:
            self.streams.end()
            run.send("taken")
        finally:  # who has not heard that it was taken leaves word of it
            run.close()
            self.pidfd = -1
        self._ended(ended)

    def _written_down(self) -> None:
        """It is all but the command: write down that it is there, and let it go on."""
        assert self.run is not None
        pid = self.run.pid
        entry = {**self.state["entry"], "pid": pid, "start": start_time(pid), "boot": boot_id()}
        self.state.update(
            status="running", pid=pid, start=entry["start"], boot=entry["boot"], started_at=clock.now(), entry=entry
        )
        point("before-state")
        if not states.write_state(self.folder, self.state, sync=False):
            self._tell(
                "failed", (-1, ENOSPC, "its disk is full or broken: state.json cannot be written", self.folder, [])
            )
            self.run.send("kill")
            return
        point("after-state")
        self.has_volumes = True
        tell_all(mounted(self.id, self.settings["volumes"]))
        self.run.send("go")

    def _is_command(self, attested: dict[str, str], notes: list[tuple[str, str]]) -> None:
        self.executed = True
        self.begun_here = time.monotonic()
        self.next.backoff.begin()
        self.emit("start")  # before anybody hears of it who may have more to tell
        self._look_after_health()
        starter, self.starter = self.starter, None
        if starter is not None:
            starter.send("started", self.state["pid"], attested, notes)
            if not self.attaching:
                starter.finish()
            elif starter.open:
                self.streams.attach(starter)
        self.streams.hold_no_more()

    def _fail(self, why: str) -> None:
        """It could not be made."""
        self.streams.end()
        self._tell("failed", (-1, 0, why, "", []))
        self._conclude(states.not_started(self.state, why))

    def let_go(self, conn: Connection) -> None:
        """A command is gone, or has enough."""
        self.streams.let_go(conn)
        if conn in self.waiting:
            self.waiting.remove(conn)
        if conn is self.starter:
            self.starter = None
        self.holding.let_go(conn)

    # its end

    def signal(self, number: int) -> None:
        """Send a signal to its first process."""
        if self.run is not None:
            self.unheard.append(number)
            self.run.send("signal", number)
        elif self.pidfd >= 0:
            self._signal_orphan(number)
        if self.state["status"] in {"running", "paused"} and not self.killed:
            self.emit("kill", signal=str(number))
        if number == KILL:
            self.killed = True
            self.holding.let_run()  # what cgroup v1 has frozen does not die

    def _signal_orphan(self, number: int) -> None:
        """As the stage does: what the first process has no handler for is its end."""
        if process.would_be_lost(self.state["pid"], number):
            number = KILL
        try:
            process.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass  # it has just ended, as we are about to hear
        if number == KILL:
            end_groups(orphans.groups_of(self.state))

    def stop(self, number: int, patience: float) -> None:
        """Ask it to end, and end everything inside when it has not within so many seconds; negative: never.

        Of several who ask the least patient decides: who came before is not to wait longer for who comes after.
        """
        self.next.cancel()
        self.signal(number)
        if patience >= 0 and (self.patience is None or self.patience.when > time.monotonic() + patience):
            self._end_patience()
            self.patience = self.supervisor.loop.after(patience, self._end_now)
        self.holding.let_run()

    def end_for_good(self) -> None:
        """End it at once for whoever removes it then: how it has ended need not outlive a power cut."""
        self.give_up()
        self.unwanted = True
        self.stop(KILL, NEVER)

    def _end_patience(self) -> None:
        if self.patience is not None:
            self.patience.cancel()
            self.patience = None

    def _end_now(self) -> None:
        self.patience = None
        self.signal(KILL)
        self.holding.let_run()  # somebody may have frozen it while it was waited for

    def forsake(self) -> None:
        """End it for good: its directory is gone. What its stage cannot tell of, or its groups, is not waited for."""
        self.give_up()
        self.forsaken = True
        if self.run is not None:
            self.run.send("kill")
            return
        if self.pidfd >= 0:
            self._signal_orphan(KILL)
        end_groups(orphans.groups_of(self.state))
        self._remove_place()

    def _has_lost(self, count: int, why: str) -> None:
        """So many bytes of what it said have found no place in its log: the log itself may have none for that word."""
        self.state["lost"] = states.more_lost(self.state["lost"], count, why)
        if self.state["pid"]:
            states.write_state(self.folder, self.state, sync=False)

    def _look_after_health(self) -> None:
        """From now on, where that is asked for; one that was taken over before its command began is looked after."""
        if self.settings["check"] and self.checker is None:
            from cloche.engine.supervisor.health import Checker

            self.checker = Checker(self, self.settings["check"])
            if self.state["status"] == "running":
                self.checker.go_on()

    def _look_no_more(self) -> None:
        if self.checker is not None:
            self.checker.end()
            self.checker = None

    def is_unhealthy(self, failing: int, output: str) -> None:
        """So many looks at its health have failed: do with it what --health-on-failure says."""
        wanted = self.settings["keep"].get("health_on_failure", "none")
        if wanted == "none":
            return
        self.state["by"], self.unhealthy = "health", states.unhealthy(failing, output)
        known = load(self.id)
        if wanted == "kill" or known is None:
            self.signal(KILL)
        else:
            self.stop(signal_number(known.known["stop_signal"]), float(known.known["stop_timeout"]))

    def _lost_stage(self) -> None:
        """The stage was killed: what is written down goes on without it, the rest has died with it."""
        run, self.run = self.run, None
        assert run is not None
        self.supervisor.loop.forget(run.fileno())
        run.pidfd, self.pidfd = -1, run.pidfd
        run.close()
        if self.state["status"] in {"running", "paused"}:
            if not self.executed:  # nobody will say whether its command has begun
                self._tell("failed", (-1, 0, "the stage was killed", "", []))
            self._watch_orphan()
            if self.forsaken:
                self.forsake()
            for number in self.unheard if self.pidfd >= 0 else ():
                self._signal_orphan(number)
            self.unheard = []
        else:
            if self.pidfd >= 0:
                os.close(self.pidfd)
                self.pidfd = -1
            end_groups(orphans.groups_of(self.state))
            self._fail("the stage was killed")

    def _watch_orphan(self) -> None:
        """Watch one whose stage is gone by a pidfd of our own."""
        if self.pidfd < 0:
            self.pidfd = orphans.find(self.state)
        if self.pidfd < 0:
            self.supervisor.loop.after(0, lambda: self._ended(None))
            return
        ranges = f"{state_dir()}/ranges"
        orphans.watch(self.supervisor.loop, self.pidfd, self.state, ranges, self._orphan_ended)

    def _orphan_ended(self, ended: Ended | None) -> None:
        self.pidfd = -1
        self._conclude_with(lambda: self._ended(ended))

    def _ended(self, ended: Ended | None) -> None:
        """It is over; `ended` is the stage's report, None where nobody has seen how."""
        self.streams.end()
        self._end_patience()
        self._look_no_more()
        if ended is not None and "failed" in ended:
            self._volumes_are_free()
            self._tell("failed", ended["failed"])
            self._conclude(states.not_started(self.state, str(ended["failed"][2]), exit_code=126))
            return
        how = states.unknown_end() if ended is None else states.how_it_ended(ended, self.settings["timeout"])
        if self.state["by"] == "health" and self.unhealthy is not None:
            how["reason"] = self.unhealthy
        if ended is not None and "not executed" in ended and not self.executed:
            self._volumes_are_free()
            self._tell("not executed", ended["not executed"])
            why = str(ended["not executed"][2])
            self._conclude({**how, **states.not_started(self.state, why, exit_code=how["exit_code"])})
            return
        if how["oom"]:
            self.emit("oom")
        lasted = {"execDuration": str(int(time.monotonic() - self.begun_here))} if self.begun_here else {}
        self.emit("die", exitCode="unknown" if how["exit_code"] is None else str(how["exit_code"]), **lasted)
        self._volumes_are_free()
        self._conclude({**how, "status": "exited", "finished_at": clock.now()})

    def _volumes_are_free(self) -> None:
        if self.has_volumes:
            self.has_volumes = False
            tell_all(unmounted(self.id, self.settings["volumes"]))

    def _tell(self, *message: Any) -> None:
        """Tell whoever has it started that it could not be."""
        starter, self.starter = self.starter, None
        if starter is not None:
            starter.send(*message)
            starter.finish()
        self.streams.hold_no_more()

    def _conclude(self, news: dict[str, Any]) -> None:
        """Write down where it stands now, tell everybody, and see to what comes next."""
        self.holding.end()
        self.state.update(news, pid=0, start=0)
        self.state.pop("was", None)
        # what somebody has started in vain is his to see
        again = (self.executed or self.state["restarts"]) and restarts.is_wanted(self.settings["keep"], self.state)
        if again:
            self.state.update(status="restarting", restarts=self.state["restarts"] + 1)
        keep = self.settings["keep"]
        if keep["auto_remove"] and self.state["status"] == "exited" and not self.stays:
            self.state["status"] = "removing"
        point("end-begun")
        states.write_state(self.folder, self.state, sync=not (keep["auto_remove"] or self.unwanted))
        point("end-written")
        self._remove_place()
        self._tell_end()
        if again:
            self.next.plan()
        elif self.state["status"] == "removing":
            self.supervisor.remove(self.id)
        self.supervisor.settle(self)

    def _tell_end(self) -> None:
        for conn in (*self.streams.attached, *self.waiting):
            conn.send("ended", self.state["exit_code"], self.state["reason"])
            conn.finish()
        self.streams.attached, self.waiting = [], []

    def _remove_place(self) -> None:
        self.streams.remove()
        for name in ("groups", "ended"):
            try:
                os.unlink(f"{self.place}/{name}")
            except FileNotFoundError:
                continue
        try:
            os.rmdir(self.place)
        except OSError:
            pass  # the next supervisor looks into what is left

    # its next start

    def _start_again(self, ended: commands.Ended) -> commands.Command:
        return self.supervisor.command("start", self.id, ended=ended)

    def _started_again(self, in_vain: str) -> None:
        if in_vain and self.state["status"] == "restarting":
            if load(self.id) is None:
                self.state["by"] = "user"  # who has removed it
            self._conclude(states.not_started(self.state, in_vain))
            return
        if not self.is_there:
            self._tell_end()  # to those who have come since somebody asked for its end
        self.supervisor.settle(self)

    def refuses(self, conn: Connection) -> bool:
        """Whether that is the command that was to start it again, and somebody has asked for its end meanwhile."""
        return self.next.is_by(conn) and self.state["status"] != "restarting"

    def resize(self, rows: int, columns: int) -> None:
        """Give its terminal another size."""
        if self.streams.console >= 0:
            self.streams.resize(rows, columns)
            self.emit("resize", height=str(rows), width=str(columns))

    def give_up(self) -> None:
        """Whoever asked for its end: it is not to run again."""
        self.state["by"] = "user"
        self._stay_down()

    def set_policy(self, restart: str, most: int) -> None:
        """When it is to run again from now on."""
        self.settings["keep"] = {**self.settings["keep"], "restart": restart, "restart_most": most}
        if restart == "no" or not restarts.is_wanted(self.settings["keep"], {**self.state, "status": "exited"}):
            self._stay_down()

    def _stay_down(self) -> None:
        if self.state["status"] == "restarting" and not self.is_there:
            self.next.cancel()
            self._conclude({"status": "exited"})

    def emit(self, action: str, **more: str) -> None:
        """Write down that something has happened to it."""
        facts, known = self.settings["facts"], load(self.id)
        name = facts["name"] if known is None else known.name  # whoever renames it does not tell us
        emit("container", action, self.id, {"image": facts["image"], "name": name, **facts["labels"], **more})


def _settings_of(known: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """What its start was told, as far as it is written down."""
    keep = {**vars(Keep()), **known["keep"]}
    facts = {"keep": keep, "check": known["check"], "facts": facts_of(known), "entry": state["entry"]}
    return {**facts, "volumes": volumes_among(known["mounts"]), "timeout": state["timeout"]}
