"""What a process is given beside its identity.

When it runs, where its memory comes from, what it seems to run on, which security module's profile it has, which
cache it may fill, which interfaces are its own, and what its root passes on.
What needs power over the machine (`by_stage`) is done to the process from outside where it has a user namespace.
"""

from __future__ import annotations

import posix as os

from cloche.linux import files, mount, scheduling
from cloche.linux.places import basename, dirname, isdir
from cloche.records import record
from cloche.stage import interfaces
from cloche.stage.operation import INSIDE, OUTSIDE, InsideOperation, Operation, OutsideOperation
from cloche.stage.paths import check_proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.stage.scene import Inside, Outside

_RESOLVE = files.RESOLVE_BENEATH | files.RESOLVE_NO_XDEV | files.RESOLVE_NO_MAGICLINKS
_PROPAGATION = {
    mount.MS_PRIVATE: ("MS_PRIVATE", "mounts made in the container appear nowhere else"),
    mount.MS_SLAVE: ("MS_SLAVE", "mounts made on the host below the root appear in here, not the other way round"),
    mount.MS_SHARED: ("MS_SHARED", "mounts made in here appear in what is cloned from here"),
    mount.MS_UNBINDABLE: ("MS_UNBINDABLE", "the root cannot be bound to another place"),
}


@record
class _OnProcess(Operation):
    """A step on one process, by itself or by the stage."""

    by_stage: bool

    @property
    def side(self) -> str:  # type: ignore[override]
        """Who does it."""
        return OUTSIDE if self.by_stage else INSIDE

    def pid(self, scene: Outside | Inside) -> int:
        """The process as system calls want it: 0 is who calls."""
        return scene.pid if self.side == OUTSIDE else 0  # type: ignore[union-attr]


@record
class Schedule(_OnProcess):
    """Choose the scheduler."""

    by_stage: bool
    name: str  # SCHED_…
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0  # nanoseconds, as the two below
    deadline: int = 0
    period: int = 0

    def execute(self, scene: Outside | Inside) -> None:
        flags = sum(scheduling.FLAGS[name] for name in self.flags)
        times = self.runtime, self.deadline, self.period
        policy = scheduling.POLICIES[self.name]
        scheduling.sched_setattr(policy, self.nice, self.priority, flags, *times, pid=self.pid(scene))

    def calls(self) -> list[str]:
        words = [f"policy={self.name}", f"nice={self.nice}", f"priority={self.priority}"]
        words += [f"flags={'|'.join(self.flags)}"] if self.flags else []
        words += [f"{name}={getattr(self, name)}" for name in ("runtime", "deadline", "period") if self.runtime]
        return [f"sched_setattr({{{', '.join(words)}}})"]

    def meaning(self) -> str:
        return f"the kernel gives it the processor as {self.name} says"

    def hint(self, code: int) -> str:
        if code == 1:
            return "it needs CAP_SYS_NICE outside of any user namespace, and a cgroup that has real-time runtime"
        if code == 16:
            return "the machine cannot promise that much time any more"
        return "the kernel does not take these values together, see sched(7)" if code == 22 else ""


@record
class PrioritizeIo(_OnProcess):
    """Choose the class and level of disk access."""

    by_stage: bool
    name: str  # IOPRIO_CLASS_…
    level: int

    def execute(self, scene: Outside | Inside) -> None:
        scheduling.set_io_priority(scheduling.IO_CLASSES[self.name], self.level, pid=self.pid(scene))

    def calls(self) -> list[str]:
        return [f"ioprio_set(IOPRIO_WHO_PROCESS, {self.name}, {self.level})"]

    def meaning(self) -> str:
        return f"its disk accesses queue as {self.name}, level {self.level}"

    def hint(self, code: int) -> str:
        return f"{self.name} needs CAP_SYS_NICE outside of any user namespace" if code == 1 else ""


@record
class Affinity(OutsideOperation):
    """Choose the processors: of the stage before there is a process, which inherits them, else of the process."""

    cpus: tuple[int, ...]  # none: all that its cgroup has

    def execute(self, scene: Outside) -> None:
        pid = max(scene.pid, 0)
        cpus: Iterable[int] = self.cpus or range(os.sysconf("SC_NPROCESSORS_CONF"))
        scheduling.set_affinity(cpus, pid=pid)

    def calls(self) -> list[str]:
        return [f"sched_setaffinity({{{', '.join(map(str, self.cpus)) or 'all'}}})"]

    def meaning(self) -> str:
        return f"runs on processors {', '.join(map(str, self.cpus)) or 'of its cgroup'} only"

    def hint(self, code: int) -> str:
        return "none of these processors is there, or in the container's cgroup" if code == 22 else ""


@record
class MemoryPolicy(InsideOperation):
    """Say from which nodes memory is taken."""

    mode: str
    flags: tuple[str, ...]
    nodes: tuple[int, ...]

    def execute(self, scene: Inside) -> None:
        del scene
        mode = scheduling.MEMORY_MODES[self.mode]
        for name in self.flags:
            mode |= scheduling.MEMORY_FLAGS[name]
        scheduling.set_memory_policy(mode, self.nodes)

    def calls(self) -> list[str]:
        return [f"set_mempolicy({'|'.join((self.mode, *self.flags))}, {{{', '.join(map(str, self.nodes))}}})"]

    def meaning(self) -> str:
        return f"memory comes from where {self.mode} says"

    def hint(self, code: int) -> str:
        return "none of these nodes is there, or this kernel does not know the mode or a flag" if code == 22 else ""


@record
class Personality(InsideOperation):
    """Choose the execution domain."""

    name: str
    domain: int

    def execute(self, scene: Inside) -> None:
        del scene
        scheduling.personality(self.domain)

    def calls(self) -> list[str]:
        return [f"personality(PER_{self.name})"]

    def meaning(self) -> str:
        return "uname tells of a 32-bit machine" if self.name == "LINUX32" else "the usual execution domain"


@record
class SecurityAttribute(InsideOperation):
    """Tell a security module what the next program, or a new key, is to be confined by."""

    names: tuple[str, ...]  # in /proc/thread-self/attr, the first of them that is there
    value: str
    says: str

    def execute(self, scene: Inside) -> None:
        del scene
        with files.Fd(_own_proc()) as proc:
            write_own(proc.number, [f"attr/{name}" for name in self.names], self.value)

    def calls(self) -> list[str]:
        return [f'write("/proc/thread-self/attr/{self.names[0]}", "{self.value}")']

    def meaning(self) -> str:
        return self.says

    def hint(self, code: int) -> str:
        if code == 2:
            return "the kernel does not know this profile: load it first"
        return "the kernel does not take this label" if code == 22 else ""


def write_own(proc: int, names: list[str], value: str) -> None:
    """Write a file of our own thread's, certainly of procfs and of no other file system (CVE-2019-16884).

    `proc` is the root of a procfs, `names` are tried in their order. Raises OSError.
    """
    for index, name in enumerate(names):
        path = f"thread-self/{name}"
        try:
            found = files.openat2(proc, path, os.O_WRONLY, resolve=_RESOLVE)
        except FileNotFoundError:
            if index + 1 == len(names):
                raise
            continue
        with files.Fd(found):
            if files.filesystem_type(found) != files.PROC_SUPER_MAGIC:
                raise OSError(5, "is not of procfs", path)
            try:
                os.write(found, value.encode())
            except OSError as error:
                error.filename = f"/proc/{path}"
                error.add_note("write(2)")
                raise
            return


def _own_proc() -> int:
    """The root of a procfs that nobody else has: nothing can be mounted over its files.

    Where a new one is refused, in a user namespace whose /proc is masked, the container's own, if it is one.
    """
    try:
        return mount.new_filesystem("proc", {"subset": "pid"})
    except PermissionError:
        return check_proc(os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))


@record
class LabelFile(InsideOperation):
    """Give a directory a label of SELinux, where its file system takes none when it is mounted."""

    path: str
    label: str

    def execute(self, scene: Inside) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY
        with files.Fd(files.open_in_root(scene.root, self.path, flags)) as place:
            os.setxattr(place.number, "security.selinux", self.label.encode() + b"\0")

    def calls(self) -> list[str]:
        return [f'fsetxattr("{self.path}", "security.selinux", "{self.label}")']

    def meaning(self) -> str:
        return f"SELinux takes {self.path} for the container's"


@record
class CutUpwards(InsideOperation):
    """Let mounts of the host come in, and none go out."""

    def execute(self, scene: Inside) -> None:
        del scene
        mount.mount_setattr(files.AT_FDCWD, "/", propagation=mount.MS_SLAVE, recursive=True)

    def calls(self) -> list[str]:
        return ['mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, {propagation=MS_SLAVE})']

    def meaning(self) -> str:
        return "nothing mounted in here appears outside"


@record
class PropagateRoot(InsideOperation):
    """Say where mounts made below the root appear as well, now that it is the root."""

    propagation: int  # MS_…
    recursive: bool

    def execute(self, scene: Inside) -> None:
        del scene
        mount.mount_setattr(files.AT_FDCWD, "/", propagation=self.propagation, recursive=self.recursive)

    def calls(self) -> list[str]:
        deep = "AT_RECURSIVE, " if self.recursive else ""
        return [f'mount_setattr(AT_FDCWD, "/", {deep}{{propagation={_PROPAGATION[self.propagation][0]}}})']

    def meaning(self) -> str:
        return _PROPAGATION[self.propagation][1]


@record
class EnterResctrl(OutsideOperation):
    """Put the process into a group of resctrl, made if need be, and into a monitoring group of its own.

    Written in the order of the kernel's documentation (filesystems/resctrl.rst): the schemata first, so that
    the process has nothing else at any time.
    """

    path: str
    make: bool  # where it is not there
    schemata: tuple[str, ...]
    monitoring: str = ""  # directory of the monitoring group, "" for none

    def execute(self, scene: Outside) -> None:
        if isdir(self.path):
            if self.schemata:
                self._compare()
        elif self.make:
            os.mkdir(self.path, 0o755)
            if self.schemata:
                files.write_value(f"{self.path}/schemata", "".join(f"{line}\n" for line in self.schemata))
        else:
            raise OSError(2, "there is no such class of service", self.path)
        files.write_value(f"{self.path}/tasks", str(scene.pid))
        if self.monitoring:
            os.mkdir(self.monitoring, 0o755)
            files.write_value(f"{self.monitoring}/tasks", str(scene.pid))

    def _compare(self) -> None:
        """A class that is there already has others in it: it has to be as asked, it is not changed."""
        with open(f"{self.path}/schemata", "rb") as file:
            there = parse_schemata(file.read().decode().splitlines())
        for key, value in parse_schemata(self.schemata).items():
            if there.get(key) != value:
                raise OSError(17, f"is there with another {key[0]} schema for cache {key[1]}", self.path)

    def calls(self) -> list[str]:
        lines = [f'mkdir("{self.path}")'] if self.make else []
        lines += [f'write("{self.path}/schemata", "{line}")' for line in self.schemata]
        lines.append(f'write("{self.path}/tasks", pid)')
        return [*lines, *([f'mkdir("{self.monitoring}")'] if self.monitoring else [])]

    def meaning(self) -> str:
        return f"its share of caches and memory bandwidth is that of {basename(self.path)}"

    def hint(self, code: int) -> str:
        if code in {22, 28}:
            try:
                with open(f"{dirname(self.path)}/info/last_cmd_status", encoding="utf-8") as file:
                    return f"resctrl says: {file.read().strip()}"
            except OSError:
                return "see /sys/fs/resctrl/info for what this machine can do"
        return "make the class first, or give its schemata" if code == 2 else ""


def parse_schemata(lines: Iterable[str]) -> dict[tuple[str, str], int]:
    """Lines such as `L3:0=7f0;1=1f` as {(resource, domain): value}; bit masks are hexadecimal."""
    found = {}
    for line in lines:
        resource, _, rest = line.strip().partition(":")
        for item in filter(None, rest.split(";")):
            domain, _, value = item.partition("=")
            base = 10 if resource.strip() in {"MB", "SMBA"} else 16
            found[resource.strip(), domain.strip()] = int(value.strip(), base)
    return found


@record
class MoveInterfaces(OutsideOperation):
    """Move network interfaces into the container's network namespace."""

    names: tuple[tuple[str, str], ...]  # (here, inside)

    def execute(self, scene: Outside) -> None:
        inside = os.open(f"/proc/{scene.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        moved = interfaces.Moved(inside)
        scene.undo.append(moved)
        for here, there in self.names:
            moved.move(here, there)

    def calls(self) -> list[str]:
        return [
            f'sendto(rtnetlink, RTM_NEWLINK {{"{here}", IFLA_NET_NS_FD=PID, IFLA_IFNAME="{there}", IFF_UP}})'
            for here, there in self.names
        ]

    def meaning(self) -> str:
        return "the host's interfaces " + ", ".join(here for here, _ in self.names) + " are the container's now"

    def hint(self, code: int) -> str:
        if code == 1:
            return "it needs CAP_NET_ADMIN over the namespace the interface is in"
        return "this kind of interface cannot leave its namespace" if code == 22 else ""
