"""A step that failed while a container was made, as an error that a person and an engine can read.

What does not belong here: what a step can say about its own failure (`Operation.hint`), and failures of what is not
a step of a plan.
"""

from __future__ import annotations

from cloche.errors import ClocheError, StageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.making import StepFailed
    from cloche.stage.operation import Operation, Plan


def explain(plan: Plan, failure: StepFailed) -> ClocheError:
    """A failed step in words: where in config.json, what, on what, why, and what to do."""
    _, code, text, culprit, _ = failure.failed
    step = _step(plan, failure)
    name = type(step).__name__ if step is not None else ""
    if name in {"FindCommand", "AwaitStart", "RunHooks", "AskForHooks"}:
        return StageError(f"{culprit}: {text}" if culprit else text, op=name, errno=code)
    return explain_step(plan, failure, _pointer(step, culprit))


def explain_step(plan: Plan, failure: StepFailed, where: str = "") -> StageError:
    """The same without the place, for a plan that is not made of a config.json."""
    _, code, text, culprit, notes = failure.failed
    step = _step(plan, failure)
    name = type(step).__name__ if step is not None else ""
    words = where + "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip() or "setting up"
    what = f" ({', '.join(notes)})" if notes else ""
    about = f" {culprit}" if culprit else ""
    hint = step.hint(code) if step is not None else ""
    first = step.calls()[:1] if step is not None and not hint and not culprit else []
    return StageError(
        f"{words}{about}: {text[:1].lower() + text[1:]}{what}",
        op=name,
        errno=code,
        hint=hint or "".join(f"the step was: {call}" for call in first),
    )


def _step(plan: Plan, failure: StepFailed) -> Operation | None:
    index = failure.failed[0]
    return plan.operations[index] if 0 <= index < len(plan.operations) else None


POINTERS = {
    "Affinity": "/process/execCPUAffinity",
    "Attach": "/mounts",
    "BindConsole": "/process/terminal",
    "Clone": "/linux/namespaces",
    "CreateGroup": "/linux/cgroupsPath",
    "Directory": "/process/cwd",
    "DropBounding": "/process/capabilities/bounding",
    "EnterGroup": "/linux/cgroupsPath",
    "EnterResctrl": "/linux/intelRdt",
    "Filesystem": "/mounts",
    "GiveGroup": "/linux/cgroupsPath",
    "GroupViews": "/mounts",
    "LabelFile": "/linux/mountLabel",
    "LimitDevices": "/linux/resources/devices",
    "LoadSeccomp": "/linux/seccomp",
    "MakeDev": "/linux/devices",
    "MakeGroup": "/linux/cgroupsPath",
    "MakeNode": "/linux/devices",
    "MapIds": "/linux/uidMappings",
    "Mask": "/linux/maskedPaths",
    "MemoryPolicy": "/linux/memoryPolicy",
    "MoveInterfaces": "/linux/netDevices",
    "OffsetClocks": "/linux/timeOffsets",
    "OomScore": "/process/oomScoreAdj",
    "OpenNamespaces": "/linux/namespaces",
    "OpenTerminal": "/process/terminal",
    "OpenTree": "/mounts",
    "Personality": "/linux/personality",
    "PrioritizeIo": "/process/ioPriority",
    "Propagate": "/mounts",
    "PropagateRoot": "/linux/rootfsPropagation",
    "RaiseRlimit": "/process/rlimits",
    "ReadOnly": "/linux/readonlyPaths",
    "Remount": "/mounts",
    "Rlimit": "/process/rlimits",
    "Schedule": "/process/scheduler",
    "SetCapabilities": "/process/capabilities",
    "SetHostName": "/hostname",
    "TakeUser": "/process/user",
    "SetUser": "/process/user",
    "ShowRoot": "/root/path",
    "Sysctl": "/linux/sysctl",
    "TreeRoot": "/root/path",
    "WorkingDirectory": "/process/cwd",
}
SECTIONS = {
    "hugetlb": "hugepageLimits",
    "memory": "memory",
    "cpu": "cpu",
    "cpuset": "cpu",
    "pids": "pids",
    "rdma": "rdma",
}


def _pointer(step: Operation | None, culprit: str) -> str:
    """Where in config.json a step comes from, followed by a colon; empty where it is from no single place."""
    if step is None:
        return ""
    name = type(step).__name__
    tree = str(getattr(step, "name" if name == "OpenTree" else "tree", ""))
    if tree.startswith("tree "):
        return "/root/path: "
    if tree.startswith("mount "):
        return f"/mounts/{tree[6:]}: "
    if name != "WriteLimits":
        return f"{POINTERS[name]}: " if name in POINTERS else ""
    file = culprit.rpartition("/")[2]
    if any(write[0] == write[2] == file for write in getattr(step, "writes", ())):
        return f"/linux/resources/unified/{file}: "
    section = SECTIONS.get(file.partition(".")[0], "blockIO" if file[:2] in {"io", "bl"} else "")
    return f"/linux/resources/{section}: "
