"""The steps that take power away, in the order in which each still has the power it needs."""

from __future__ import annotations

from cloche.linux import capabilities
from cloche.runtime.attributes import inside_steps
from cloche.runtime.mounts import NAMED, VOLUME
from cloche.runtime.seccomp.default import default_program
from cloche.stage import seccomp_agent
from cloche.stage.operations import command
from cloche.stage.operations.groups import Rlimit
from cloche.stage.operations.identity import (
    DropBounding,
    Landlock,
    LoadSeccomp,
    NoNewPrivileges,
    SetCapabilities,
    SetUser,
    names,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.host import Host
    from cloche.runtime.receipt import Receipt
    from cloche.runtime.request import Request
    from cloche.spec.process import Process
    from cloche.stage.operation import Operation


def plan_identity(
    request: Request, host: Host, process: Process, receipt: Receipt, preserve: int, last: list[Operation]
) -> list[Operation]:
    """From the working directory to the command, which gets `preserve` descriptors more; before it, `last`."""
    sets = process.capabilities
    bounding = mask(sets.bounding if sets else None)
    effective = mask(sets.effective if sets else None)
    permitted = mask(sets.permitted if sets else None)
    inheritable = mask(sets.inheritable if sets else None)
    ambient = mask(sets.ambient if sets else None)
    every = (1 << (capabilities.last_cap() + 1)) - 1
    missing = bounding & every & ~host.capabilities if request.ids.kind == "host" else 0
    bounding &= ~missing
    own_users = request.ids.kind != "host"
    steps: list[Operation] = inside_steps(request.config.linux, process, own_users=own_users)
    seccomp = _seccomp(request, receipt)
    if not process.noNewPrivileges:
        steps += [*_landlock(request, receipt), *seccomp]  # need CAP_SYS_ADMIN, which is about to go
    if bounding & every != every:
        steps.append(DropBounding(every & ~bounding))
    umask = process.user.umask
    if request.ids.deny_setgroups and process.user.additionalGids:
        receipt.add("groups", False, "setgroups is denied in this user namespace: the caller's own are kept")
    steps.append(SetUser(0o022 if umask is None else umask, request.ids.deny_setgroups))
    steps.append(command.WorkingDirectory(process.cwd))
    given = every & ~missing
    ambient &= permitted & inheritable  # the kernel raises no other (capabilities(7)); `validate` warns of them
    steps.append(SetCapabilities(effective & given, permitted & given, inheritable & given, ambient & given))
    dropped = bounding & every != every
    lacking = f"; cloche does not have {names(missing)} itself" if missing else ""
    receipt.add("capabilities", dropped, (names(bounding & every) if dropped else "all of them are kept") + lacking)
    if process.noNewPrivileges:
        steps.append(NoNewPrivileges())
        receipt.add("no_new_privs", True, "set-uid programs give nothing")
    else:
        receipt.add("no_new_privs", False, "not asked for: set-uid programs work, within the capabilities above")
    if process.noNewPrivileges:
        steps += _landlock(request, receipt)
    steps.append(command.CloseDescriptors(preserve))
    receipt.add(
        "descriptors", True, f"stdin, stdout and stderr, {f'{preserve} given ones' if preserve else 'no other'}"
    )
    steps += last
    limits = [Rlimit(limit.type, limit.soft, limit.hard) for limit in process.rlimits or []]
    final = seccomp if process.noNewPrivileges else []
    # loading our filter needs a descriptor more than the command may have; another filter may refuse setrlimit
    steps += [*final, *limits] if request.default_seccomp else [*limits, *final]
    steps.append(command.Execute(tuple(process.args or ()), tuple(process.env or ()), request.init))
    return steps


def _seccomp(request: Request, receipt: Receipt) -> list[Operation]:
    linux, process = request.config.linux, request.config.process
    if request.default_seccomp:
        sets = process.capabilities if process else None
        held = frozenset((sets.bounding if sets else None) or ())
        program, flags = default_program(held, request.machine, notify_denied=request.watch_refusals)
        says = (
            f"the default profile: an allow-list in {len(program) // 8} instructions; "
            "what containers have no use for is refused, what is unknown does not exist",
        )
        watched = ", refusals are reported" if request.watch_refusals else ""
        receipt.add("seccomp", True, f"the default profile{watched}")
        return [LoadSeccomp(program, flags, request.watch_refusals, says)]
    if linux is None or linux.seccomp is None:
        receipt.add("seccomp", False, "switched off: every system call of the kernel can be reached")
        return []
    from cloche.runtime.seccomp.compile import compile_filter

    made = compile_filter(linux.seccomp.to_dict(), request.machine)
    says = (f"the profile as given, in {made.instructions} instructions",)
    unknown = [f"{len(made.unknown)} names unknown here"] if made.unknown else []
    receipt.add("seccomp", True, "; ".join(["the profile as given", *unknown, *made.warnings]))
    agent = (seccomp_agent.BY_NUMBER if made.by_number else seccomp_agent.SEND) if made.listener else ""
    return [LoadSeccomp(made.program, made.flags, False, says, agent)]


def _landlock(request: Request, receipt: Receipt) -> list[Operation]:
    if not request.landlock:
        receipt.add("landlock", False, "not used here: it is an additional layer for the image `host`")
        return []
    bounding = request.config.process and request.config.process.capabilities
    if "CAP_SYS_ADMIN" in ((bounding and bounding.bounding) or ()):
        receipt.add("landlock", False, "left out: it forbids mounting, which CAP_SYS_ADMIN is for")
        return []
    if request.landlock_abi < 1:
        receipt.add("landlock", False, "this kernel has no Landlock, or it is switched off")
        return []
    # mq_open goes by a mount of the kernel's own, of which only the root is also at /dev/mqueue
    writable = ["/proc", "/dev", "/dev/mqueue", "/tmp", "/run"]
    writable += [tree.target for tree in request.root.trees if not tree.read_only]
    writable += [path for path, _ in request.root.directories if path in {"/root", "/home"}]
    for item in request.config.mounts or []:
        if not {"ro", "rro"} & set(item.options or ()) and item.type in {"bind", "tmpfs", VOLUME, NAMED}:
            writable.append(item.destination)
    scopes = request.landlock_abi >= 6
    receipt.add(
        "landlock",
        True,
        f"ABI {request.landlock_abi}: writing works only in {len(set(writable))} places"
        + ("; signals and abstract sockets stay inside" if scopes else ""),
    )
    return [Landlock(("/",), tuple(dict.fromkeys(writable)), min(request.landlock_abi, 7), scopes)]


def mask(given: list[str] | None) -> int:
    """A list of CAP_* names as a set; unknown ones, of a newer kernel, are left out."""
    return capabilities.mask([name for name in given or [] if name in capabilities.NAMES])
