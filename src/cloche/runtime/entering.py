"""The plan of `enter`: one more process in namespaces that are there already.

A container of ours is entered with its own restrictions, from its record: group, capabilities,
no_new_privs, the default seccomp filter. Of any other process only the namespaces are joined, with the
powers the caller has there, as nsenter(1) does.
"""

from __future__ import annotations

import os

from cloche.linux import capabilities, files
from cloche.records import record
from cloche.runtime.identity import mask
from cloche.runtime.receipt import Receipt
from cloche.runtime.seccomp.default import default_program
from cloche.stage.operation import Plan
from cloche.stage.operations import command, filesystems, groups, identity, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.operation import Operation


@record
class Entry:
    """What to enter and what to run there.

    `restrictions` is None for a process that is no container of ours; else its capability names.
    """

    pid: int
    started: int
    kinds: tuple[str, ...]
    argv: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str
    machine: str
    restrictions: tuple[str, ...] | None = None
    no_new_privs: bool = False
    seccomp: bool = False
    profile: tuple[bytes, int] | None = None  # a filter of the container's own: program, flags
    landlock: tuple[tuple[object, ...], ...] = ()  # the container's own rules
    groups: tuple[str, ...] = ()
    terminal_size: tuple[int, int] | None = None
    first: tuple[int, int] = (0, 0)  # uid and gid there that set up: root, where there is one
    keep_groups: bool = False  # its user namespace denies setgroups


def plan_entry(entry: Entry) -> tuple[Plan, Receipt]:
    """The steps and the receipt."""
    receipt = Receipt()
    for kind in entry.kinds:
        receipt.add({"mnt": "mount", "net": "network"}.get(kind, kind), True, f"that of process {entry.pid}")
    v2 = [path for path in entry.groups if _is_v2(path)]
    born_in = v2[0] if v2 else ""
    steps: list[Operation] = []
    if entry.kinds:
        steps.append(processes.OpenProcess(entry.pid, entry.started, entry.kinds))
    steps.append(processes.Clone((), born_in))
    steps += [groups.JoinGroup(path) for path in entry.groups if path != born_in]
    steps.append(processes.Release())
    steps.append(processes.AwaitRelease("user" in entry.kinds, *entry.first))
    steps.append(processes.KeepRoot())
    steps.append(identity.FindUser(entry.user))
    if entry.terminal_size is not None:
        steps.append(filesystems.OpenTerminal(*entry.terminal_size))
    steps.append(command.NewSession(entry.terminal_size is not None))
    filters = []
    if entry.restrictions is not None and entry.seccomp:
        filters = [identity.LoadSeccomp(*default_program(frozenset(entry.restrictions), entry.machine), False)]
        receipt.add("seccomp", True, "the default profile, as its container has it")
    elif entry.profile is not None:
        filters = [identity.LoadSeccomp(*entry.profile, False)]
        receipt.add("seccomp", True, "the profile as given to its container")
    # signals may go to the container's own processes, so its rules count here without their scopes
    walls = [identity.Landlock(*rules[:3], False) for rules in entry.landlock]  # type: ignore[arg-type, call-arg]
    if walls:
        receipt.add("landlock", True, "as its container has it")
    if not entry.no_new_privs:
        steps += [*filters, *walls]
    if entry.restrictions is not None:
        every = (1 << (capabilities.last_cap() + 1)) - 1
        keep = mask(list(entry.restrictions)) & every
        steps.append(identity.DropBounding(every & ~keep))
        steps.append(identity.SetUser(0o022, entry.keep_groups))
        steps.append(command.WorkingDirectory(entry.cwd))
        steps.append(identity.SetCapabilities(keep, keep, 0, 0))
        receipt.add("capabilities", True, identity.names(keep))
    else:
        if entry.user:
            steps.append(identity.SetUser(0o022, entry.keep_groups))
        steps.append(command.WorkingDirectory(entry.cwd))
        receipt.add("capabilities", False, "those the caller has there: it is not a container of ours")
    if entry.no_new_privs:
        steps += [identity.NoNewPrivileges(), *walls, *filters]
    steps.append(command.CloseDescriptors())
    steps.append(command.DieWithStage())
    steps.append(command.Execute(entry.argv, entry.env))
    return Plan(tuple(steps), own_pids=False), receipt


def _is_v2(path: str) -> bool:

    with files.Fd(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
        return files.filesystem_type(fd.number) == files.CGROUP2_SUPER_MAGIC
