"""The processes of a container, read from /proc (proc(5)), and what can be shown of each, in the words of ps(1).

    pids_in(container)        from its groups; without any, by its namespaces
    read_process(pid)         one process as it is now
    COLUMNS["pid"]            heading, and the cell for a process

Users and groups are those of the machine, by name where it has one. Those inside are numbers: the names are in files
of the container's, which nobody trusts.

What does not belong here: which columns are wanted, and how a table is laid out.
"""

from __future__ import annotations

import os
import time

from cloche.engine.containers import not_running
from cloche.linux.capabilities import NAMES, names
from cloche.linux.reading import read, read_bytes
from cloche.records import record
from cloche.runtime.idmaps import joined
from cloche.stage import passwd
from cloche.stage.cleaning import pids_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.engine.containers import Container
    from cloche.runtime.idmaps import IdMaps, Map

DAY = 86400
ALL = (1 << len(NAMES)) - 1
SECCOMP = {"0": "disabled", "1": "strict", "2": "filter"}


@record
class Machine:
    """What processes are measured by: seconds since 1970 and since boot, pages, memory in KiB, names of users."""

    now: float
    up: float
    tick: int
    page: int
    memory: int
    users: dict[str, str]
    groups: dict[str, str]
    inside: IdMaps  # of the container


@record
class Process:
    """One process: `fields` are those of /proc/PID/stat from the state on, `status` the lines of its namesake."""

    pid: int
    comm: str
    fields: tuple[str, ...]
    status: dict[str, str]
    argv: tuple[str, ...]

    @property
    def ticks(self) -> int:
        """The processor time it has used."""
        return int(self.fields[11]) + int(self.fields[12])

    @property
    def ids(self) -> tuple[str, str, str, str]:
        """Real user, user, real group, group, as numbers of the machine."""
        users, groups = self.status["Uid"].split(), self.status["Gid"].split()
        return users[0], users[1], groups[0], groups[1]


def machine(container: Container) -> Machine:
    """This machine, now, and the users of a container. Raises ConflictError where that has ended."""
    try:
        inside = joined(container.pid)
    except OSError:
        raise not_running(container) from None
    memory = next((line.split()[1] for line in read("/proc/meminfo").splitlines() if line.startswith("MemTotal:")), "0")
    return Machine(
        now=time.time(),
        up=float((read("/proc/uptime").split() or ["0"])[0]),
        tick=os.sysconf("SC_CLK_TCK"),
        page=os.sysconf("SC_PAGE_SIZE"),
        memory=int(memory),
        users={fields[2]: fields[0] for fields in reversed(passwd.parse(read("/etc/passwd")))},
        groups={fields[2]: fields[0] for fields in reversed(passwd.parse(read("/etc/group")))},
        inside=inside,
    )


def pids_in(container: Container) -> list[int]:
    """Its processes, sorted.

    Without a group, as a user's container may be, those in its pid namespace, or, where that is the machine's, in
    its mount namespace; those of others cannot be looked into, and none of them is in it.
    """
    if found := pids_of(tuple(container.entry.get("groups", ()))):
        return sorted(found)
    for kind in ("pid", "mnt"):
        space, own = _namespace(container.pid, kind), _namespace(os.getpid(), kind)
        if space and space != own:
            every = (int(name) for name in os.listdir("/proc") if name.isdecimal())
            return sorted({container.pid, *(pid for pid in every if _namespace(pid, kind) == space)})
    return [container.pid]


def _namespace(pid: int, kind: str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except PermissionError:  # our own init lets nobody of its user look; what it runs does
        children = read(f"/proc/{pid}/task/{pid}/children").split()
        try:
            return os.stat(f"/proc/{children[0]}/ns/{kind}").st_ino if children else 0
        except OSError:
            return 0
    except OSError:
        return 0


def read_process(pid: int) -> Process | None:
    """One process; None where it has ended."""
    head, bracket, rest = read(f"/proc/{pid}/stat").rpartition(") ")
    if not bracket:
        return None
    lines = (line.partition(":")[::2] for line in read(f"/proc/{pid}/status").splitlines())
    status = {key: value.strip() for key, value in lines}
    if rest[0] == "X" or "Uid" not in status:
        return None  # it is just ending, and belongs to nobody any more
    words = read_bytes(f"/proc/{pid}/cmdline").decode(errors="replace").rstrip("\0").split("\0")
    argv = tuple(word for word in words if word) and tuple(words)
    return Process(pid, head.partition("(")[2], tuple(rest.split()), status, argv)


def user_name(number: str, known: dict[str, str]) -> str:
    """A user or group by its name, where it has one."""
    return known.get(number, number)


def number_inside(number: str, maps: Map) -> str:
    """A user or group of the machine by its number in the container, `root` for the first, ? where it has none."""
    for inside, outside, count in maps:
        if outside <= int(number) < outside + count:
            found = inside + int(number) - outside
            return str(found) if found else "root"
    return "?"


def terminal_name(number: int) -> str:
    """The terminal with this device number: pts/0, tty1, ttyS0; ? for none (proc_pid_stat(5) tty_nr)."""
    major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    if 136 <= major <= 143:
        return f"pts/{minor + (major - 136) * 256}"
    if major == 4:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    return "console" if (major, minor) == (5, 1) else "?"


def clock(seconds: int) -> str:
    """[DD-]HH:MM:SS."""
    days, rest = divmod(seconds, DAY)
    text = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{text}" if days else text


def elapsed(seconds: int) -> str:
    """[[DD-]HH:]MM:SS."""
    return clock(seconds) if seconds >= 3600 else f"{seconds // 60:02}:{seconds % 60:02}"


def started(then: float, now: float) -> str:
    """The time of a day, of another day its date, of another year that."""
    begun, today = time.localtime(then), time.localtime(now)
    if begun.tm_year != today.tm_year:
        return time.strftime("%Y", begun)
    return time.strftime("%H:%M" if begun.tm_yday == today.tm_yday else "%b%d", begun)


def _alive(process: Process, on: Machine) -> float:
    return max(on.up - int(process.fields[19]) / on.tick, 0.0)


def _percent(process: Process, on: Machine) -> float:
    seconds = _alive(process, on)
    return process.ticks / on.tick / seconds * 100 if seconds else 0.0


def _state(process: Process) -> str:
    """ps' STAT: the state, and < N L s l + for nice, locked memory, session leader, threads, foreground."""
    fields = process.fields
    nice, group = int(fields[16]), fields[2]
    locked = process.status.get("VmLck", "0").split()[0] != "0"
    marks = (
        (nice < 0, "<"),
        (nice > 0, "N"),
        (locked, "L"),
        (fields[3] == str(process.pid), "s"),
        (int(fields[17]) > 1, "l"),
        (fields[5] == group, "+"),
    )
    return fields[0] + "".join(mark for is_so, mark in marks if is_so)


def _command(process: Process) -> str:
    name = f"[{process.comm}]" + (" <defunct>" if process.fields[0] == "Z" else "")
    return " ".join(process.argv) if process.argv else name


def _in_pid(process: Process) -> str:
    return (process.status.get("NSpid", "").split() or [str(process.pid)])[-1]


def _capabilities(kind: str) -> Callable[[Process, Machine], str]:
    def cell(process: Process, on: Machine) -> str:
        del on
        held = int(process.status.get(f"Cap{kind}", "0"), 16)
        if held & ALL == ALL:
            return "full"
        return ",".join(name.removeprefix("CAP_") for name in names(held)) or "none"

    return cell


def _bsd_time(process: Process, on: Machine) -> str:
    seconds = process.ticks // on.tick
    return f"{seconds // 60}:{seconds % 60:02}"


Cell = tuple[str, "Callable[[Process, Machine], str]"]
# ps(1), STANDARD FORMAT SPECIFIERS; the last ones are podman's
COLUMNS: dict[str, Cell] = {
    "uid": ("UID", lambda p, _: p.ids[1]),
    "user": ("USER", lambda p, on: user_name(p.ids[1], on.users)),
    "ruser": ("RUSER", lambda p, on: user_name(p.ids[0], on.users)),
    "gid": ("GID", lambda p, _: p.ids[3]),
    "group": ("GROUP", lambda p, on: user_name(p.ids[3], on.groups)),
    "rgroup": ("RGROUP", lambda p, on: user_name(p.ids[2], on.groups)),
    "pid": ("PID", lambda p, _: str(p.pid)),
    "ppid": ("PPID", lambda p, _: p.fields[1]),
    "pgid": ("PGID", lambda p, _: p.fields[2]),
    "sid": ("SID", lambda p, _: p.fields[3]),
    "c": ("C", lambda p, on: str(min(int(_percent(p, on)), 99))),
    "pcpu": ("%CPU", lambda p, on: f"{_percent(p, on):.1f}"),
    "pmem": ("%MEM", lambda p, on: f"{int(p.fields[21]) * on.page / 1024 / (on.memory or 1) * 100:.1f}"),
    "vsz": ("VSZ", lambda p, _: str(int(p.fields[20]) // 1024)),
    "rss": ("RSS", lambda p, on: str(int(p.fields[21]) * on.page // 1024)),
    "tty": ("TTY", lambda p, _: terminal_name(int(p.fields[4]))),
    "stat": ("STAT", lambda p, _: _state(p)),
    "s": ("S", lambda p, _: p.fields[0]),
    "stime": ("STIME", lambda p, on: started(on.now - _alive(p, on), on.now)),
    "start": ("START", lambda p, on: started(on.now - _alive(p, on), on.now)),
    "lstart": ("STARTED", lambda p, on: time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(on.now - _alive(p, on)))),
    "etime": ("ELAPSED", lambda p, on: elapsed(int(_alive(p, on)))),
    "etimes": ("ELAPSED", lambda p, on: str(int(_alive(p, on)))),
    "time": ("TIME", lambda p, on: clock(p.ticks // on.tick)),
    "bsdtime": ("TIME", _bsd_time),
    "ni": ("NI", lambda p, _: p.fields[16]),
    "pri": ("PRI", lambda p, _: str(39 - int(p.fields[15]))),
    "nlwp": ("NLWP", lambda p, _: p.fields[17]),
    "comm": ("COMMAND", lambda p, _: p.comm + (" <defunct>" if p.fields[0] == "Z" else "")),
    "args": ("COMMAND", lambda p, _: _command(p)),
    "cmd": ("CMD", lambda p, _: _command(p)),
    "seccomp": ("SECCOMP", lambda p, _: SECCOMP.get(p.status.get("Seccomp", ""), "?")),
    "nsuser": ("USER", lambda p, on: number_inside(p.ids[1], on.inside.uids)),
    "nsruser": ("RUSER", lambda p, on: number_inside(p.ids[0], on.inside.uids)),
    "nsgroup": ("GROUP", lambda p, on: number_inside(p.ids[3], on.inside.gids)),
    "nsrgroup": ("RGROUP", lambda p, on: number_inside(p.ids[2], on.inside.gids)),
    "nspid": ("NSPID", lambda p, _: _in_pid(p)),
    "capamb": ("AMBIENT CAPS", _capabilities("Amb")),
    "capbnd": ("BOUNDING CAPS", _capabilities("Bnd")),
    "capeff": ("EFFECTIVE CAPS", _capabilities("Eff")),
    "capinh": ("INHERITED CAPS", _capabilities("Inh")),
    "capprm": ("PERMITTED CAPS", _capabilities("Prm")),
}
SAME = {
    "%cpu": "pcpu", "%mem": "pmem", "euser": "user", "uname": "user", "euid": "uid", "egid": "gid", "egroup": "group",
    "vsize": "vsz", "rssize": "rss", "rsz": "rss", "tname": "tty", "tt": "tty", "state": "s", "start_time": "stime",
    "bsdstart": "start", "cputime": "time", "nice": "ni", "thcount": "nlwp", "ucmd": "comm", "ucomm": "comm",
    "command": "args", "pgrp": "pgid", "sess": "sid", "session": "sid", "cp": "c",
}  # fmt: skip
