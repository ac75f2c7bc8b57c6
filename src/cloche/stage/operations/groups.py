"""Control groups and per-process limits, set by the stage from outside."""

from __future__ import annotations

import posix as os

from cloche.linux import files, scheduling
from cloche.linux.reading import read
from cloche.records import record
from cloche.stage import deciding, delegation, limits
from cloche.stage.operation import InsideOperation, OutsideOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.scene import Inside, Outside


TRIES = 10


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
class MakeGroup(OutsideOperation):
    """Make a cgroup directory with all above it up to the top of its hierarchy; one that is there is used."""

    path: str
    top: str
    cpuset: bool = False  # of v1: processors and memory nodes come from above, or nothing can join it
    controllers: tuple[str, ...] = ()  # of v2: handed down to it

    def execute(self, scene: Outside) -> None:
        del scene
        for _ in range(TRIES):
            try:
                self._make()
                return
            except FileNotFoundError as error:  # whose `create` has failed takes back what it had made above
                gone = error
        raise gone

    def _make(self) -> None:
        above = self.top
        for name in self.path[len(self.top) :].strip("/").split("/"):
            if self.controllers:
                limits.hand_down(above, self.controllers)
            path = f"{above}/{name}"
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                pass
            if self.cpuset:
                limits.inherit_cpuset(above, path)
            above = path

    def calls(self) -> list[str]:
        calls = [f'mkdir("{self.path}", 0755) and what is missing above it']
        if self.controllers:
            words = " ".join(f"+{name}" for name in self.controllers)
            calls.insert(0, f'write("…/cgroup.subtree_control", "{words}") in each group above it')
        if self.cpuset:
            calls.append('write("…/cpuset.cpus", …), write("…/cpuset.mems", …) as the group above has it')
        return calls

    def meaning(self) -> str:
        return "the container gets a control group of its own, to be counted, limited and ended as a whole"

    def hint(self, code: int) -> str:
        if code == 13:
            return "leave out linux.cgroupsPath and limits, or have a group handed to you"
        return "the tree of control groups is mounted read-only" if code == 30 else ""


@record
class WriteLimits(OutsideOperation):
    """Write the limits of one group, in an order that its present ones allow."""

    path: str
    # (file, value, name in the receipt, "always", "present" or "never", other files with their values)
    writes: tuple[tuple[str, str, str, str, tuple[tuple[str, str], ...]], ...]
    says: tuple[str, ...] = ()

    def execute(self, scene: Outside) -> None:
        scene.notes += limits.write_limits(self.path, self.writes)

    def calls(self) -> list[str]:
        return [f'write("{self.path}/{file}", "{value}")' for file, value, *_ in self.writes]

    def meaning(self) -> str:
        return "; ".join(dict.fromkeys(self.says))

    def hint(self, code: int) -> str:
        if code == 2:
            return "this kernel has no such limit, or the group above does not hand its controller down"
        if code == 16:
            return "more is in use, and could not be given back"
        return "the kernel does not take this value here" if code in {22, 34} else ""


@record
class LimitDevices(OutsideOperation):
    """Have a program decide which devices a v2 group may open and make."""

    path: str
    program: bytes
    required: bool = True

    def execute(self, scene: Outside) -> None:
        try:
            deciding.attach_devices(self.path, self.program)
        except OSError as error:
            if self.required or error.errno != 1:
                raise
            scene.notes.append(("devices", "only root may load a program that decides about devices"))

    def calls(self) -> list[str]:
        size = len(self.program) // 8
        return [
            f"bpf(BPF_PROG_LOAD, {{BPF_PROG_TYPE_CGROUP_DEVICE, {size} instructions}})",
            f'bpf(BPF_PROG_ATTACH, {{open("{self.path}"), BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI}})',
        ]

    def meaning(self) -> str:
        return "no other device can be opened, whatever node is made for it"

    def hint(self, code: int) -> str:
        return "it takes CAP_SYS_ADMIN or CAP_BPF outside every user namespace" if code == 1 else ""


@record
class GiveGroup(OutsideOperation):
    """Give a v2 group to the container's root, who may then make groups in it (config-linux.md "Cgroup ownership")."""

    path: str
    uid: int  # on the host

    def execute(self, scene: Outside) -> None:
        del scene
        # what is safe to give is what the kernel lists: Linux 4.15
        names = read("/sys/kernel/cgroup/delegate").split() or limits.DELEGATED
        os.chown(self.path, self.uid, -1)
        for name in names:
            try:
                os.chown(f"{self.path}/{name}", self.uid, -1)
            except FileNotFoundError:
                continue  # of a controller that is not handed down

    def calls(self) -> list[str]:
        return [f'chown("{self.path}", {self.uid}, -1)', f'chown("{self.path}/cgroup.procs", {self.uid}, -1) …']

    def meaning(self) -> str:
        return "its root may make groups of its own within its limits"


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
