"""The plan of `exec` and `enter`: one more process in namespaces that are there already.

A container of ours is entered with its own restrictions, from what is known of it: groups, limits, capabilities,
no_new_privs, seccomp, Landlock. Of any other process only the namespaces are joined, with the powers the caller has
there, as nsenter(1) does.

Nothing of what runs in there already is asked what it may: a container's first process may have given something up,
or taken another root, and that would be no reason for the new one.
"""

from __future__ import annotations

import posix as os

from cloche.linux import capabilities
from cloche.linux.places import environment
from cloche.linux.reading import read
from cloche.records import record
from cloche.stage.operation import Plan
from cloche.stage.operations import command, groups, identity, processes
from cloche.stage.points import from_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.operation import Operation


@record
class Confinement:
    """What a container's processes are held by, and so what one more of them gets.

    capabilities  their names: bounding, effective and permitted
    program       of the seccomp filter and its flags; None for none
    landlock      the arguments of each `Landlock` step
    groups        cgroup directories to be in
    rlimits       (RLIMIT_NOFILE …, soft, hard)
    oom_score_adj of who makes it, which it inherits: nobody but root can write that of a process which has joined
    """

    capabilities: tuple[str, ...] = ()
    no_new_privs: bool = True
    program: tuple[bytes, int] | None = None
    landlock: tuple[tuple[object, ...], ...] = ()
    groups: tuple[str, ...] = ()
    rlimits: tuple[tuple[str, int, int], ...] = ()
    umask: int = 0o022
    oom_score_adj: int | None = None


@record
class Entry:
    """What to enter and what to run there; `confinement` is None for a process that is no container of ours.

    first         uid and gid there that set up: root, where there is one
    keep_groups   its user namespace denies setgroups
    extra_groups  supplementary ones, by name or number, beside those of the user
    stays         it goes on when the process that has made it has ended
    """

    pid: int
    started: int
    kinds: tuple[str, ...]
    argv: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str
    confinement: Confinement | None = None
    extra_groups: tuple[str, ...] = ()
    terminal_size: tuple[int, int] | None = None
    first: tuple[int, int] = (0, 0)
    keep_groups: bool = False
    stays: bool = False


def plan_entry(entry: Entry) -> Plan:
    """The steps."""
    confinement = entry.confinement
    born_in, enter = _places(confinement.groups, entry.pid) if confinement is not None else ("", ())
    steps: list[Operation] = []
    if entry.kinds:
        steps.append(processes.OpenProcess(entry.pid, entry.started, entry.kinds))
    steps.append(processes.Clone((), born_in, enter))
    if not entry.kinds:  # nobody comes between who could be in the groups first
        steps += [groups.JoinGroup(path) for path in enter]
    if confinement is not None:
        steps += [groups.RaiseRlimit(name, hard) for name, _, hard in confinement.rlimits]
    steps.append(processes.Release())
    steps.append(processes.AwaitRelease("user" in entry.kinds, *entry.first))
    steps.append(processes.KeepRoot())
    if confinement is not None:
        steps.append(identity.SessionKeyring())
    steps.append(identity.FindUser(entry.user, entry.extra_groups))
    if entry.terminal_size is not None:
        from cloche.stage.operations import filesystems

        steps.append(filesystems.OpenTerminal(*entry.terminal_size))
    steps.append(command.NewSession(entry.terminal_size is not None))
    steps += _with_powers(entry) if confinement is None else _confined(entry, confinement)
    failpoint = from_environment(environment("CLOCHE_FAILPOINT"))
    return Plan(tuple(steps), own_pids=False, failpoint=failpoint)


def _with_powers(entry: Entry) -> list[Operation]:
    steps: list[Operation] = [identity.SetUser(0o022, entry.keep_groups)] if entry.user else []
    steps.append(command.WorkingDirectory(entry.cwd))
    return [*steps, *_last(entry), command.Execute(entry.argv, entry.env)]


def _confined(entry: Entry, confinement: Confinement) -> list[Operation]:
    """In the order of `identity.plan_identity`: each step while it still has the power that it needs."""
    every = (1 << (capabilities.last_cap() + 1)) - 1
    # in a user namespace that is joined there are all of them, without one nobody can give what we have not
    ours = every if "user" in entry.kinds else capabilities.get()[1]
    keep = capabilities.mask([name for name in confinement.capabilities if name in capabilities.NAMES]) & every & ours
    filters = [] if confinement.program is None else [identity.LoadSeccomp(*confinement.program, False)]
    # signals may go to the container's own processes, so its rules count here without their scopes
    walls = [identity.Landlock(*rules[:3], False) for rules in confinement.landlock]  # type: ignore[arg-type, call-arg]
    steps: list[Operation] = []
    if not confinement.no_new_privs:
        steps += [*walls, *filters]
    if every & ~keep:
        steps.append(identity.DropBounding(every & ~keep))
    steps.append(identity.SetUser(confinement.umask, entry.keep_groups))
    steps.append(command.WorkingDirectory(entry.cwd))
    steps.append(identity.SetCapabilities(keep, keep, 0, 0))
    if confinement.no_new_privs:
        steps += [identity.NoNewPrivileges(), *walls]
    steps += _last(entry)
    limits = [groups.Rlimit(*limit) for limit in confinement.rlimits]
    # the filter needs a descriptor more than the command may have
    steps += [*(filters if confinement.no_new_privs else ()), *limits]
    return [*steps, command.Execute(entry.argv, entry.env)]


def _last(entry: Entry) -> list[Operation]:
    ends = [] if entry.stays else [command.DieWithStage()]
    return [command.CloseDescriptors(), command.Outlive(), *ends]


def _places(paths: tuple[str, ...], init: int) -> tuple[str, tuple[str, ...]]:
    """The v2 group to be born in, "" for none, and the v1 groups.

    A v2 group that hands controllers down can hold no processes: a container that manages groups itself, as one with
    systemd does, has moved its first process further down, and the new one goes there too.
    """
    v2 = [path for path in paths if os.access(f"{path}/cgroup.controllers", os.F_OK)]
    v1 = tuple(path for path in paths if path not in v2)
    if not v2 or not read(f"{v2[0]}/cgroup.subtree_control").split():
        return "".join(v2[:1]), v1
    lines = read(f"/proc/{init}/cgroup").splitlines()
    inner = next((line[3:] for line in lines if line.startswith("0::")), "")
    name = "/" + v2[0].rpartition("/")[2]
    below = inner.partition(f"{name}/")[2]
    return f"{v2[0]}/{below}" if below else v2[0], v1
