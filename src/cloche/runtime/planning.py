"""From a request to a plan: the whole order of steps, and the receipt for what they enforce.

    outside   groups ─ clone ─ id maps ─ joins groups ─ limits ─ trees ─ release
    inside    names, loopback, private mounts ─ (release) ─ root ─ mounts ─ masks ─ user found ─
              pivot ─ session ─ capabilities ─ user ─ no_new_privs ─ Landlock ─ seccomp ─ the command

Pure but for looking at which groups may be used. What is not decided here: values and defaults,
which whoever made the request has put into its config.
"""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.runtime import attributes, describing, identity
from cloche.runtime.cgroups.plan import GroupPlan
from cloche.runtime.cgroups.sandbox import plan_groups
from cloche.runtime.containers import START
from cloche.runtime.filesystem import plan_filesystem
from cloche.runtime.receipt import Receipt
from cloche.stage.operation import Plan
from cloche.stage.operations import command, groups, lifecycle, processes, roots
from cloche.stage.operations.identity import GiveStreams, SessionKeyring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.host import Host
    from cloche.runtime.request import Lifecycle, Request
    from cloche.spec.process import Process
    from cloche.stage.operation import Operation


# what `pause`, `stats` and `update` need of a container that stays, where these are of their own
KEPT_IN = ("freezer", "cpuacct", "blkio", "cpu", "cpuset")


def plan(request: Request, host: Host) -> tuple[Plan, Receipt]:
    """The plan and its receipt.

    Raises UnsupportedError for what was asked and cannot be enforced on this host, SpecError for
    what makes no sense.
    """
    receipt = Receipt()
    new, joined = describing.plan_namespaces(request, receipt)
    linux = request.config.linux
    made = (
        request.lifecycle.groups
        if request.lifecycle is not None
        else plan_groups(
            linux.resources if linux else None,
            host.groups,
            request.name,
            request.cgroup_parent,
            request.asked,
            request.allow_unenforced,
            receipt,
            privileged=host.privileged and host.initial,
            more=KEPT_IN if request.kept is not None else (),
        )
    )
    taken, inner = plan_filesystem(request, host, made, new, joined)
    outside = _outside(request, made, new, taken)
    inside = _inside(request, host, made, new, joined, inner, receipt)
    describing.describe_rest(request, receipt)
    steps = (*outside, *inside)
    return Plan(
        steps,
        timeout=request.timeout,
        trace=request.trace,
        step=request.step,
        own_pids="pid" in new,
        groups=made.directories,
        counters=made.counters,
        unlink=request.unlink,
        failpoint=request.failpoint,
        made_room=made.made_room,
        keeping=request.kept.place if request.kept is not None else "",
    ), receipt


def _outside(request: Request, made: GroupPlan, new: tuple[str, ...], taken: list[Operation]) -> list[Operation]:
    steps: list[Operation] = list(made.create)
    if request.lifecycle is not None and request.lifecycle.waits:
        steps.append(lifecycle.ListenForStart(request.lifecycle.folder, START))
    if request.joins:
        steps.append(processes.OpenNamespaces(request.joins))
    steps += [processes.OpenProcess(*held) for held in request.processes]
    at_birth = tuple(kind for kind in new if kind not in {"cgroup", "time"})
    steps.append(processes.Clone(at_birth, made.born_in))
    steps += made.adopt
    ids = request.ids
    if "user" in new:
        if ids.deny_setgroups:
            steps.append(processes.DenySetgroups())
        steps.append(processes.MapIds("uid", ids.uids, ids.uid_helper))
        steps.append(processes.MapIds("gid", ids.gids, ids.gid_helper))
    process = request.config.process
    if process is not None:
        if process.oomScoreAdj is not None:
            steps.append(groups.OomScore(process.oomScoreAdj))
        steps += [groups.RaiseRlimit(limit.type, limit.hard) for limit in process.rlimits or []]
    steps += attributes.outside_steps(request)
    steps.append(processes.Release())
    steps += taken
    steps.append(processes.HandTrees())
    return steps


def _inside(
    request: Request,
    host: Host,
    made: GroupPlan,
    new: tuple[str, ...],
    joined: set[str],
    inner: list[Operation],
    receipt: Receipt,
) -> list[Operation]:
    config, linux = request.config, request.config.linux
    steps: list[Operation] = [groups.EnterGroup(path) for path in made.join]
    if "uts" in new and (config.hostname or config.domainname):
        steps.append(command.SetHostName(config.hostname or "", config.domainname or ""))
    steps.append(attributes.cut_loose(request, by_stage=host.privileged))
    life = request.lifecycle
    if life is None or life.keyring:
        steps += attributes.keyring_steps(config.process) if config.process is not None else []
        steps.append(SessionKeyring(life.keyring if life is not None else ""))
        receipt.add("keyring", True, "an empty session keyring of its own")
    if "time" in new and linux is not None:
        offsets = linux.timeOffsets or {}
        nanoseconds = {name: value.secs * 10**9 + value.nanosecs for name, value in offsets.items()}
        steps.append(processes.OffsetClocks(nanoseconds.get("monotonic"), nanoseconds.get("boottime")))
    steps.append(processes.AwaitRelease("user" in new or "user" in joined, *request.ids.first()))
    if "cgroup" in new:
        steps.append(processes.UnshareGroup())
    steps += [*inner, *attributes.label_steps(config)]
    if "net" in new:
        # late, because it waits for the lock of all networks, which the end of another one may be holding
        steps.append(command.BringUp("lo"))
    if life is not None:
        steps.append(lifecycle.AskForHooks())
        if hooks := life.hooks.get("createContainer"):
            steps.append(lifecycle.ShowRoot(request.root.trees[0].source, life.bundle))
            steps.append(lifecycle.RunHooks("createContainer", hooks, life.state))
    steps.append(lifecycle.MoveRoot() if life is not None and not life.pivot else roots.PivotRoot())
    steps += attributes.root_steps(linux)
    receipt.add("root", True, "a root of its own; the host's is detached")
    process = config.process
    if process is None or not process.args:
        raise SpecError("there is no command", pointer="/process/args")
    steps.append(command.NewSession(process.terminal))
    receipt.add("session", True, "its own session" + (" and terminal" if process.terminal else ", no terminal"))
    if life is not None:
        steps.append(GiveStreams())
    if life is None:
        last = command.DieWithStage() if request.kept is None else command.Outlive()
        return steps + identity.plan_identity(request, host, process, receipt, 0, [last])
    return steps + identity.plan_identity(request, host, process, receipt, life.preserve, _wait(life, process))


def _wait(life: Lifecycle, process: Process) -> list[Operation]:
    """Created: wait for `start` if it is to come, and run the hooks of that moment."""
    wait = lifecycle.AwaitStart(life.preserve) if life.waits else command.Outlive()
    steps: list[Operation] = [find_command(process), wait]
    if hooks := life.hooks.get("startContainer"):
        steps.append(lifecycle.RunHooks("startContainer", hooks, life.state.replace('"creating"', '"created"', 1)))
    return steps


def find_command(process: Process) -> Operation:
    """The step that looks whether the command is there, by the PATH it will have."""
    path = next((item[5:] for item in reversed(process.env or []) if item.startswith("PATH=")), "")
    return lifecycle.FindCommand((process.args or [""])[0], path)
