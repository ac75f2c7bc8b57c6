"""What a config may say beyond its shape: the specification's MUSTs, and what no kernel can do.

`validate` looks only at the document: whether a path exists, a namespace can be joined or a limit
can be enforced is found out by those who do it. This room has the sections every platform shares;
the linux section is next door in `validate_linux`.
"""

from __future__ import annotations

from cloche.spec.checks import check_absolute, check_cpu_list, check_id_mappings, fail
from cloche.spec.hooks import HOOK_NAMES
from cloche.spec.process import CAPABILITIES
from cloche.spec.shape import shown
from cloche.spec.validate_linux import check_linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.spec.config import Config
    from cloche.spec.hooks import Hooks
    from cloche.spec.mounts import Mount
    from cloche.spec.process import Capabilities, Process, Rlimit, Scheduler

LARGEST_ID = 2**32 - 2
MOST_GROUPS = 65536  # linux/limits.h, NGROUPS_MAX
_KNOWN_CAPABILITIES = frozenset(CAPABILITIES)
HOST_NAME_MAX = 64  # linux/utsname.h, __NEW_UTS_LEN


def validate(config: Config) -> list[str]:
    """Check that `config` makes sense; returns what is odd but allowed, each with its pointer.

    Raises SpecError at the first thing that is forbidden or impossible.
    """
    warnings: list[str] = []
    check_version(config.ociVersion, "/ociVersion")
    if config.root is None:
        fail("/root", "is required")
    if not config.root.path:
        fail("/root/path", "must not be empty")
    if config.process is not None:
        check_process(config.process, "/process", warnings)
    if config.hooks is not None:
        _check_hooks(config.hooks, warnings)
    for i, mount in enumerate(config.mounts or ()):
        _check_mount(mount, f"/mounts/{i}", config, warnings)
    for name in ("hostname", "domainname"):
        value = getattr(config, name)
        if value and (config.linux is None or config.linux.namespace("uts") is None):
            fail(f"/{name}", "needs a uts namespace, or the host itself would be renamed")
        if value and len(value.encode(errors="surrogateescape")) > HOST_NAME_MAX:
            fail(f"/{name}", f"is longer than the kernel's {HOST_NAME_MAX} bytes")
    if config.annotations and "" in config.annotations:
        fail("/annotations/", "an annotation's key must not be empty")
    if config.linux is not None:
        check_linux(config.linux, warnings)
    if config.vm is not None:
        warnings.append("/vm: is for runtimes that start virtual machines and is not looked at")
    return warnings


def check_version(version: str, pointer: str) -> None:
    """Any 1.x in semantic versioning: minor versions are compatible both ways (config.md)."""
    core, _, build = version.partition("+")
    core, dash, pre = core.partition("-")
    numbers = core.split(".")
    well_formed = len(numbers) == 3 and all(_is_number(number) for number in numbers)
    if dash:
        parts = pre.split(".")
        well_formed &= all(_is_identifier(part) and (not part.isdigit() or _is_number(part)) for part in parts)
    if "+" in version:
        well_formed &= all(_is_identifier(part) for part in build.split("."))
    if not well_formed:
        fail(pointer, f"must be a semantic version such as 1.2.0, not {shown(version)}")
    if numbers[0] != "1":
        fail(pointer, f"must be 1.x, the version implemented here, not {shown(version)}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


def _is_identifier(text: str) -> bool:
    return text.isascii() and text.replace("-", "a").isalnum()


def check_process(process: Process, pointer: str, warnings: list[str]) -> None:
    """Check a process section, also one that `exec` was given."""
    check_absolute(process.cwd, f"{pointer}/cwd")
    if not process.args:
        fail(f"{pointer}/args", "must name at least the program to run")
    if not process.args[0]:
        fail(f"{pointer}/args/0", "must name the program to run")
    _check_env(process.env, f"{pointer}/env", warnings)
    user = process.user
    if len(user.additionalGids or ()) > MOST_GROUPS:
        fail(f"{pointer}/user/additionalGids", f"has {len(user.additionalGids or ())}; the kernel takes {MOST_GROUPS}")
    listed = [(f"additionalGids/{i}", gid) for i, gid in enumerate(user.additionalGids or ())]
    for name, number in (("uid", user.uid), ("gid", user.gid), *listed):
        if number > LARGEST_ID:
            fail(f"{pointer}/user/{name}", f"must be at most {LARGEST_ID}, not {number}")  # the next means "as it is"
    size = process.consoleSize
    if size is not None and process.terminal and max(size.height, size.width) > 0xFFFF:
        fail(f"{pointer}/consoleSize", "is larger than a terminal can be (65535)")
    if process.capabilities is not None:
        _check_capabilities(process.capabilities, f"{pointer}/capabilities", warnings)
    if process.rlimits:
        _check_rlimits(process.rlimits, f"{pointer}/rlimits")
    if process.oomScoreAdj is not None and not -1000 <= process.oomScoreAdj <= 1000:
        fail(f"{pointer}/oomScoreAdj", f"must be from -1000 to 1000, not {process.oomScoreAdj}")
    if process.scheduler is not None:
        _check_scheduler(process.scheduler, f"{pointer}/scheduler", warnings)
    if process.ioPriority is not None and not 0 <= process.ioPriority.priority <= 7:
        fail(f"{pointer}/ioPriority/priority", f"must be from 0 to 7, not {process.ioPriority.priority}")
    affinity = process.execCPUAffinity
    if affinity is not None:
        check_cpu_list(affinity.initial, f"{pointer}/execCPUAffinity/initial")
        check_cpu_list(affinity.final, f"{pointer}/execCPUAffinity/final")


def _check_env(env: list[str] | None, pointer: str, warnings: list[str]) -> None:
    for i, item in enumerate(env or ()):
        if item[:1] in {"", "="}:
            fail(f"{pointer}/{i}", f"{shown(item)} has no name")
        if "=" not in item:
            warnings.append(f"{pointer}/{i}: {shown(item)} is not of the form NAME=value")


def _check_capabilities(capabilities: Capabilities, pointer: str, warnings: list[str]) -> None:
    for name, members in vars(capabilities).items():
        for i, capability in enumerate(members or ()):
            if capability not in _KNOWN_CAPABILITIES:
                warnings.append(f"{pointer}/{name}/{i}: {shown(capability)} is no capability known here")
    # One line for all: the template `runc spec` writes is like this.
    raisable = set(capabilities.permitted or ()) & set(capabilities.inheritable or ())
    if stuck := [capability for capability in capabilities.ambient or () if capability not in raisable]:
        text = f"not both permitted and inheritable, so never ambient: {' '.join(stuck)}"
        warnings.append(f"{pointer}/ambient: {text}")


def _check_rlimits(rlimits: list[Rlimit], pointer: str) -> None:
    seen = set()
    for i, rlimit in enumerate(rlimits):
        if rlimit.type in seen:
            fail(f"{pointer}/{i}/type", f"{rlimit.type} is there twice")
        seen.add(rlimit.type)
        if rlimit.soft > rlimit.hard:
            fail(f"{pointer}/{i}/soft", f"the soft limit {rlimit.soft} is above the hard one {rlimit.hard}")


def _check_scheduler(scheduler: Scheduler, pointer: str, warnings: list[str]) -> None:
    policy = scheduler.policy
    if policy == "SCHED_ISO":
        fail(f"{pointer}/policy", "SCHED_ISO is a name that no kernel implements")
    if scheduler.nice is not None and not -20 <= scheduler.nice <= 19:
        fail(f"{pointer}/nice", f"must be from -20 to 19, not {scheduler.nice}")
    if scheduler.nice and policy not in ("SCHED_OTHER", "SCHED_BATCH"):
        warnings.append(f"{pointer}/nice: means nothing to {policy}")
    realtime = policy in ("SCHED_FIFO", "SCHED_RR")
    if realtime and not 1 <= (scheduler.priority or 0) <= 99:
        where = f"{pointer}/priority" if scheduler.priority is not None else pointer
        fail(where, f"{policy} needs a priority from 1 to 99, not {scheduler.priority or 0}")
    if scheduler.priority and not realtime:
        fail(f"{pointer}/priority", f"{policy} has no priority; only SCHED_FIFO and SCHED_RR have one")
    times = scheduler.runtime or 0, scheduler.deadline or 0, scheduler.period or 0
    if policy != "SCHED_DEADLINE":
        for name, value in zip(("runtime", "deadline", "period"), times, strict=True):
            if value:
                fail(f"{pointer}/{name}", f"is for SCHED_DEADLINE, not {policy}")
        return
    runtime, deadline, period = times
    # sched(7): runtime <= deadline <= period, where no period is the deadline; 1024 ns at least, 63 bits
    if not 1024 <= runtime <= deadline <= (period or deadline) < 1 << 63:
        fail(pointer, "SCHED_DEADLINE needs 1024 ns <= runtime <= deadline <= period")


def _check_hooks(hooks: Hooks, warnings: list[str]) -> None:
    for name in HOOK_NAMES:
        for i, hook in enumerate(getattr(hooks, name) or ()):
            pointer = f"/hooks/{name}/{i}"
            check_absolute(hook.path, f"{pointer}/path")
            if hook.timeout is not None and hook.timeout <= 0:
                fail(f"{pointer}/timeout", f"must be more than 0 seconds, not {hook.timeout}")
            _check_env(hook.env, f"{pointer}/env", warnings)


def _check_mount(mount: Mount, pointer: str, config: Config, warnings: list[str]) -> None:
    if not mount.destination:
        fail(f"{pointer}/destination", "must not be empty")
    if mount.destination[0] != "/":
        text = f"{shown(mount.destination)} is not absolute; taken from the container's root"
        warnings.append(f"{pointer}/destination: {text}")
    if not mount.destination.replace("/.", "").strip("/"):
        fail(f"{pointer}/destination", "is the root itself, which /root/path gives")
    if mount.uidMappings or mount.gidMappings:
        for name in ("uidMappings", "gidMappings"):
            mappings = getattr(mount, name)
            if not mappings:
                fail(pointer, f"needs {name} as well: the files' other ids would have no meaning")
            check_id_mappings(mappings, f"{pointer}/{name}")
        return
    for i, option in enumerate(mount.options or ()):
        if option in ("idmap", "ridmap") and (config.linux is None or config.linux.namespace("user") is None):
            fail(f"{pointer}/options/{i}", f"{option} needs mappings, the mount's or a user namespace's")
