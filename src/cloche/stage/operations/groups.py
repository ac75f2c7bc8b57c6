"""Control groups and per-process limits, set by the stage from outside."""

from __future__ import annotations

import os

from cloche.linux import files, scheduling
from cloche.records import record
from cloche.stage import delegation, limits
from cloche.stage.operation import InsideOperation, OutsideOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.scene import Inside, Outside


@record
class CreateGroup(OutsideOperation):
    """Make a cgroup directory for the container."""

    path: str

    def execute(self, scene: Outside) -> None:
        del scene
        os.mkdir(self.path, 0o755)

    def calls(self) -> list[str]:
        return [f'mkdir("{self.path}", 0755)']

    def meaning(self) -> str:
        return "the container gets a control group of its own, to be counted, limited and ended as a whole"

    def hint(self, code: int) -> str:
        return "a group of that name is there already; remove it with rmdir" if code == 17 else ""


@record
class CreateGroupBelow(OutsideOperation):
    """Make a cgroup v2 directory in a group that may hold processes, such as our own."""

    above: str
    path: str
    controllers: tuple[str, ...]
    own: bool  # the processes in `above` are ours to move

    def execute(self, scene: Outside) -> None:
        del scene
        delegation.make_below(self.above, self.path, self.controllers, own=self.own)

    def calls(self) -> list[str]:
        aside = f"{self.above}/{delegation.ASIDE}"
        words = " ".join(f"+{name}" for name in self.controllers)
        moves = [f'mkdir("{aside}", 0755)', f'write("{aside}/cgroup.procs", each pid in there)'] if self.own else []
        return [*moves, f'write("{self.above}/cgroup.subtree_control", "{words}")', f'mkdir("{self.path}", 0755)']

    def meaning(self) -> str:
        text = "the container gets a control group of its own within yours"
        return f"{text}; what is in yours goes one level down meanwhile, to make room" if self.own else text

    def hint(self, code: int) -> str:
        if code == 16:
            return f"{self.above} holds processes; give a group without: --cgroup-parent"
        if code == 13:
            return "to have a group handed to you: systemd-run --user --scope -p Delegate=yes cloche …"
        return ""


@record
class WriteGroup(OutsideOperation):
    """Write one limit into a cgroup file."""

    path: str
    value: str
    says: str
    layer: str = ""  # whose receipt line says so when it fails and was not required
    required: bool = True
    instead: tuple[tuple[str, str], ...] = ()  # other files and their values, where this one is not there

    def execute(self, scene: Outside) -> None:
        try:
            limits.write_first(((self.path, self.value), *self.instead))
        except OSError as error:
            if self.required:
                raise
            scene.notes.append((self.layer, f"the kernel refused {self.path}: {error.strerror}"))

    def calls(self) -> list[str]:
        calls = [f'write("{path}", "{value}")' for path, value in ((self.path, self.value), *self.instead)]
        return [" || ".join(calls)]

    def meaning(self) -> str:
        return self.says

    def hint(self, code: int) -> str:
        if code in {2, 13}:  # a file that is not there cannot be created either: EACCES
            return "this kernel has no such limit; to go on without it: --allow-unenforced"
        if code in {22, 34}:
            return f"the kernel does not take {self.value!r} for this; to go on without it: --allow-unenforced"
        return ""


@record
class EnterGroup(InsideOperation):
    """Enter a group of cgroup v1, by the new process itself (on v2 it is born there).

    A thread that moves itself, through `tasks`, needs no lock on all thread groups; a move from outside
    waits for one, which costs an RCU grace period of some 10 ms (Linux 5.4, cgroup_procs_write_start).
    """

    path: str

    def execute(self, scene: Inside) -> None:
        del scene
        files.write_value(f"{self.path}/tasks", "0")

    def calls(self) -> list[str]:
        return [f'write("{self.path}/tasks", "0")']

    def meaning(self) -> str:
        return "everything the command starts is counted and limited together"


@record
class JoinGroup(OutsideOperation):
    """Move the new process into a group from outside: it cannot see the group from where it is."""

    path: str

    def execute(self, scene: Outside) -> None:
        files.write_value(f"{self.path}/cgroup.procs", str(scene.pid))

    def calls(self) -> list[str]:
        return [f'write("{self.path}/cgroup.procs", pid)']

    def meaning(self) -> str:
        return "everything the command starts is counted and limited together"


@record
class OomScore(OutsideOperation):
    """Say how eagerly the kernel takes this process when memory runs out."""

    value: int

    def execute(self, scene: Outside) -> None:
        files.write_value(f"/proc/{scene.pid}/oom_score_adj", str(self.value))

    def calls(self) -> list[str]:
        return [f'write("/proc/PID/oom_score_adj", "{self.value}")']

    def meaning(self) -> str:
        return "how eagerly the kernel picks this container when the machine runs out of memory"

    def hint(self, code: int) -> str:
        return "only root may lower it below the caller's own" if code in {1, 13} else ""


@record
class RaiseRlimit(OutsideOperation):
    """Raise a hard limit of the new process where it is too low, from outside, where that may be allowed."""

    name: str  # RLIMIT_NOFILE …
    hard: int

    def execute(self, scene: Outside) -> None:
        resource = scheduling.RLIMITS[self.name]
        soft, hard = scheduling.get_rlimit(resource, pid=scene.pid)
        if hard < self.hard:
            scheduling.set_rlimit(resource, soft, self.hard, pid=scene.pid)

    def calls(self) -> list[str]:
        return [f"prlimit64(PID, {self.name}, {{…, {self.hard}}})"]

    def meaning(self) -> str:
        return f"the hard limit of {self.name[7:].lower()} is at least {self.hard}"

    def hint(self, code: int) -> str:
        return f"only root may raise {self.name} above the caller's own hard limit" if code == 1 else ""


@record
class Rlimit(InsideOperation):
    """Set one resource limit, last of all: setting up may need more than the command is to have."""

    name: str  # RLIMIT_NOFILE …
    soft: int
    hard: int

    def execute(self, scene: Inside) -> None:
        del scene
        scheduling.set_rlimit(scheduling.RLIMITS[self.name], self.soft, self.hard)

    def calls(self) -> list[str]:
        return [f"prlimit64(0, {self.name}, {{{self.soft}, {self.hard}}})"]

    def meaning(self) -> str:
        return f"a limit for each process: {self.name[7:].lower()} at most {self.soft}, raisable to {self.hard}"
