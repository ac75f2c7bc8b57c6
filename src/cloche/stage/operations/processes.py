"""Groups, namespaces and ids: what the stage does around the moment the new process appears."""

from __future__ import annotations

import posix as os

from cloche.linux import files, namespaces, process
from cloche.records import record
from cloche.stage import wire
from cloche.stage.operation import InsideOperation, OutsideOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.scene import Inside, Outside

SEES = {
    "user": "its own users: root in here is somebody harmless outside",
    "mnt": "its own tree of mounts: mounting and unmounting in here changes nothing outside",
    "pid": "its own process numbers: it is process 1 and sees nobody else's processes",
    "net": "its own network: no interface, address, port or abstract socket of the host",
    "ipc": "its own System V objects, message queues and shared memory",
    "uts": "its own host name and domain name",
    "cgroup": "its own view of the cgroup tree, with its own group at the top",
    "time": "its own monotonic and boot clocks",
}


@record
class OpenNamespaces(OutsideOperation):
    """Open namespaces of other processes or bound to files, to be joined at birth."""

    entries: tuple[tuple[str, str], ...]  # (kind, path)

    def execute(self, scene: Outside) -> None:
        for kind, path in self.entries:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            flag = namespaces.NAMES[kind]
            scene.joins.append((flag, fd))
            if namespaces.namespace_type(fd) != flag:
                raise OSError(22, f"is not a {kind} namespace", path)

    def calls(self) -> list[str]:
        return [f'setns(open("{path}"), {_flag_name(kind)})' for kind, path in self.entries]

    def meaning(self) -> str:
        return "shares with another container: " + ", ".join(kind for kind, _ in self.entries)


@record
class OpenProcess(OutsideOperation):
    """Take hold of a running process, to join some of its namespaces at birth."""

    pid: int
    started: int  # proc_pid_stat(5) starttime: it must still be the same process
    kinds: tuple[str, ...]

    def execute(self, scene: Outside) -> None:
        flags = 0
        for kind in self.kinds:
            flags |= namespaces.NAMES[kind]
        groups = flags & namespaces.NAMES["cgroup"]
        if flags != groups:
            scene.joins.append((flags ^ groups, process.pidfd_open(self.pid)))
        if groups:  # by itself, as it is joined later, when the process may be out of reach
            scene.joins.append((groups, os.open(f"/proc/{self.pid}/ns/cgroup", os.O_RDONLY | os.O_CLOEXEC)))
        with open(f"/proc/{self.pid}/stat", "rb", buffering=0) as file:
            if int(file.read(1024).rpartition(b")")[2].split()[19]) != self.started:
                raise ProcessLookupError(3, "has ended meanwhile", str(self.pid))

    def calls(self) -> list[str]:
        flags = "|".join(_flag_name(kind) for kind in self.kinds)
        return [f"pidfd_open({self.pid})", f"setns(pidfd, {flags})"]

    def meaning(self) -> str:
        return f"process {self.pid}'s namespaces are shared: " + ", ".join(self.kinds)

    def hint(self, code: int) -> str:
        if code == 1:
            return "joining needs power over that process' user namespace: be the same user, or root"
        return "it has ended" if code == 3 else ""


@record
class Clone(OutsideOperation):
    """Make the new process in its new namespaces."""

    kinds: tuple[str, ...]
    group: str = ""  # cgroup v2 directory to be born in
    enter: tuple[str, ...] = ()  # cgroup v1 directories to be born in, where namespaces are joined

    def execute(self, scene: Outside) -> None:
        flags = 0
        for kind in self.kinds:
            flags |= namespaces.NAMES[kind]
        ours, theirs = wire.pair()
        group = os.open(self.group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if self.group else -1
        try:
            if scene.joins:
                scene.pid, scene.pidfd = _clone_joined(flags, group, self.enter, scene.joins)
            else:
                scene.pid, scene.pidfd = process.clone3(flags, cgroup=group)
        finally:
            if group >= 0:
                os.close(group)
        keep, drop = (theirs, ours) if scene.in_child else (ours, theirs)
        drop.close()
        scene.channel = keep

    def calls(self) -> list[str]:
        flags = "|".join(_flag_name(kind) for kind in self.kinds) or "0"
        if self.group:
            return [f'clone3({{flags={flags}|CLONE_PIDFD|CLONE_INTO_CGROUP, cgroup=open("{self.group}")}})']
        return [f"clone3({{flags={flags}|CLONE_PIDFD}})"]

    def meaning(self) -> str:
        return "a new process with " + "; ".join(SEES[kind] for kind in self.kinds)

    def hint(self, code: int) -> str:
        if code == 1:
            return "this machine forbids new namespaces; `cloche doctor` says which and how to allow them"
        if code == 28:
            return "too many namespaces: raise /proc/sys/user/max_*_namespaces"
        return ""


def _clone_joined(flags: int, group: int, enter: tuple[str, ...], joins: list[tuple[int, int]]) -> tuple[int, int]:
    """clone3 by way of a short-lived process that joins namespaces first, so the stage need not.

    stage ── fork ──▶ middle: setns… ── clone3(CLONE_PARENT) ──▶ new process, the stage's child: setns(cgroup)
      ◀─ pid ───────── _exit

    A cgroup namespace comes last: from within, a group above its root cannot be left (cgroup_namespaces(7), where
    the tree is mounted with nsdelegate), so nobody could be born into the container's. The group that counts
    processes is entered by the new one alone: where there may be one more, two would be too many.
    """
    groups = namespaces.NAMES["cgroup"]
    first = [(flag, fd) for flag, fd in joins if flag != groups]
    last = [(flag, fd) for flag, fd in joins if flag == groups]
    read, write = os.pipe2(os.O_CLOEXEC)
    middle = os.fork()
    if middle == 0:
        os.close(read)
        answer = b""
        try:
            if not flags & process.CLONE_NEWUSER:  # else its maps could not be written (CVE-2016-9962)
                process.set_dumpable(False)
            counting = [path for path in enter if os.access(f"{path}/pids.current", os.F_OK)]
            for path in enter:
                if path not in counting:
                    files.write_value(f"{path}/tasks", "0")  # where the new process inherits it; see EnterGroup
            # their names are out of sight once the namespaces are joined
            counts = [os.open(f"{path}/tasks", os.O_WRONLY | os.O_CLOEXEC) for path in counting]
            for flag, fd in first:
                namespaces.setns(fd, flag)
            pid, _ = process.clone3(flags | process.CLONE_PARENT, cgroup=group)
            if pid == 0:
                for fd in counts:
                    os.write(fd, b"0")
                    os.close(fd)
                for flag, fd in last:
                    namespaces.setns(fd, flag)
                os.close(write)
                return 0, -1
            answer = b"p%d\n" % pid
        except OSError as error:
            answer = b"e%d %s\n" % (error.errno or 5, " ".join(getattr(error, "__notes__", [])).encode())
        os.write(write, answer)
        os._exit(0)
    os.close(write)
    answer = b""
    while part := os.read(read, 200):  # until both have let go of it
        answer += part
    os.close(read)
    os.waitpid(middle, 0)
    lines = answer.decode().splitlines()
    pid = next((int(line[1:]) for line in lines if line[0] == "p"), 0)
    failed = [line[1:].partition(" ") for line in lines if line[0] == "e"]
    if failed or not pid:
        if pid:
            os.waitpid(pid, 0)
        code, _, note = failed[0] if failed else ("5", "", "")
        failure = OSError(int(code), os.strerror(int(code)))
        failure.add_note(note)
        raise failure
    return pid, process.pidfd_open(pid)


def write_map(pid: int, kind: str, entries: tuple[tuple[int, int, int], ...], helper: str) -> None:
    """Write the uid or gid map of process `pid`, by newuidmap or newgidmap where there is a `helper`."""
    if not helper:
        namespaces.write_id_map(pid, kind, entries)
        return
    words = [str(number) for entry in entries for number in entry]
    child = os.posix_spawn(helper, [helper, str(pid), *words], {})
    if os.waitpid(child, 0)[1] != 0:
        raise PermissionError(1, "refused the map", helper)


@record
class MapIds(OutsideOperation):
    """Say which users outside stand behind the users inside."""

    kind: str  # uid or gid
    entries: tuple[tuple[int, int, int], ...]  # (inside, outside, count)
    helper: str = ""  # newuidmap or newgidmap, where an ordinary user needs it

    def execute(self, scene: Outside) -> None:
        write_map(scene.pid, self.kind, self.entries, self.helper)

    def calls(self) -> list[str]:
        lines = "\\n".join(" ".join(str(number) for number in entry) for entry in self.entries)
        if self.helper:
            return [f'execve("{self.helper}", [pid, {lines.replace(chr(92) + "n", " ")}])']
        return [f'write("/proc/PID/{self.kind}_map", "{lines}")']

    def meaning(self) -> str:
        parts = []
        for inside, outside, count in self.entries:
            inner = f"{inside}" if count == 1 else f"{inside}…{inside + count - 1}"
            outer = f"{outside}" if count == 1 else f"{outside}…{outside + count - 1}"
            parts.append(f"{self.kind} {inner} inside is {outer} outside")
        return "; ".join(parts)

    def hint(self, code: int) -> str:
        if self.helper:
            return "check that /etc/subuid and /etc/subgid give your user this range"
        if code == 22:
            return "ranges may not overlap, and ids outside must exist in this user namespace"
        return "the kernel refuses this map for this caller; try without --uidmap/--gidmap" if code == 1 else ""


@record
class DenySetgroups(OutsideOperation):
    """Give up setgroups, which an unprivileged gid map requires."""

    def execute(self, scene: Outside) -> None:
        namespaces.deny_setgroups(scene.pid)

    def calls(self) -> list[str]:
        return ['write("/proc/PID/setgroups", "deny")']

    def meaning(self) -> str:
        return "supplementary groups stay as they are, so that dropping one cannot open a door (CVE-2014-8989)"


@record
class Release(OutsideOperation):
    """Tell the new process that its ids are mapped."""

    def execute(self, scene: Outside) -> None:
        assert scene.channel is not None
        wire.send(scene.channel, ("release",))

    def calls(self) -> list[str]:
        return ["sendmsg(channel, release)"]

    def meaning(self) -> str:
        return "the new process goes on, now that its users exist"


@record
class HandTrees(OutsideOperation):
    """Hand the new process the trees that were taken for it."""

    def execute(self, scene: Outside) -> None:
        assert scene.channel is not None
        names, fds = list(scene.trees), list(scene.trees.values())
        for start in range(0, max(len(fds), 1), wire.MAX_FDS):
            more = start + wire.MAX_FDS < len(fds)
            part = slice(start, start + wire.MAX_FDS)
            wire.send(scene.channel, ("trees", names[part], more), fds[part])

    def calls(self) -> list[str]:
        return ["sendmsg(channel, trees, SCM_RIGHTS)"]

    def meaning(self) -> str:
        return "what it may see of the host is handed over as descriptors; it looks nothing up by itself"


@record
class AwaitRelease(InsideOperation):
    """Wait for the stage; become the container's root; stop being inspectable."""

    change_ids: bool
    uid: int = 0  # another where the map has no 0
    gid: int = 0

    def execute(self, scene: Inside) -> None:
        if scene.receive() is None:
            os._exit(125)
        if self.change_ids:
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)
        process.set_dumpable(False)
        process.die_with_parent()

    def calls(self) -> list[str]:
        ids = (("setresgid", self.gid), ("setresuid", self.uid))
        become = [f"{call}({number}, {number}, {number})" for call, number in ids] if self.change_ids else []
        return ["recvmsg(channel)", *become, "prctl(PR_SET_DUMPABLE, 0)", "prctl(PR_SET_PDEATHSIG, SIGKILL)"]

    def meaning(self) -> str:
        return "the process is now the container's root; nobody may look into it while it sets up"


@record
class AwaitTrees(InsideOperation):
    """Take the trees from the stage, which has opened them meanwhile."""

    def execute(self, scene: Inside) -> None:
        more = True
        while more:
            got = scene.receive()
            if got is None:
                os._exit(125)
            (_, names, more), fds = got
            scene.trees.update(zip(names, fds, strict=True))

    def calls(self) -> list[str]:
        return ["recvmsg(channel, SCM_RIGHTS)"]

    def meaning(self) -> str:
        return "from here on nothing of the host is opened any more"


@record
class KeepRoot(InsideOperation):
    """Take the root directory as it is: that of the namespace just joined."""

    def execute(self, scene: Inside) -> None:
        scene.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def calls(self) -> list[str]:
        return ['open("/", O_PATH)']

    def meaning(self) -> str:
        return "the root directory is that of the mount namespace it is in"


@record
class UnshareGroup(InsideOperation):
    """Make the group the process is in the top of the cgroup tree it sees."""

    def execute(self, scene: Inside) -> None:
        del scene
        namespaces.unshare(process.CLONE_NEWCGROUP)

    def calls(self) -> list[str]:
        return ["unshare(CLONE_NEWCGROUP)"]

    def meaning(self) -> str:
        return SEES["cgroup"]


@record
class OffsetClocks(InsideOperation):
    """Enter a time namespace whose clocks are shifted."""

    monotonic: int | None  # nanoseconds
    boottime: int | None

    def execute(self, scene: Inside) -> None:
        del scene
        namespaces.unshare(process.CLONE_NEWTIME)
        namespaces.set_time_offsets(self.monotonic, self.boottime)
        with files.Fd(os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)) as fd:
            namespaces.setns(fd.number, process.CLONE_NEWTIME)

    def calls(self) -> list[str]:
        pairs = (("monotonic", self.monotonic), ("boottime", self.boottime))
        lines = [f"{name} {ns // 10**9} {ns % 10**9}" for name, ns in pairs if ns is not None]
        text = "\\n".join(lines)
        write = f'write("/proc/self/timens_offsets", "{text}")'
        return ["unshare(CLONE_NEWTIME)", write, "setns(time_for_children, CLONE_NEWTIME)"]

    def meaning(self) -> str:
        return "the monotonic and boot clocks run with an offset; the date is the host's"


def _flag_name(kind: str) -> str:
    return "CLONE_NEWNS" if kind == "mnt" else f"CLONE_NEW{kind.upper()}"
