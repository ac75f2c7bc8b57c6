"""--cap-add, --cap-drop, --security-opt and --privileged: which protections a container gets."""

from __future__ import annotations

from cloche.errors import ForbiddenError, NotFoundError, SpecError
from cloche.linux.capabilities import NAMES
from cloche.linux.reading import read
from cloche.records import record
from cloche.runtime.defaults import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.sandbox.options import Options


@record
class Security:
    """The decision: capability names, the seccomp profile, and what is switched off."""

    capabilities: tuple[str, ...]
    seccomp: str  # "default", "unconfined", or the path of a profile
    no_new_privileges: bool
    landlock: bool
    masks: bool
    watch_refusals: bool


def decide(options: Options) -> Security:
    """Put the options together. Raises SpecError for words that mean nothing, ForbiddenError for what cannot be."""
    seccomp = "unconfined" if options.privileged else "default"
    no_new_privileges = not options.privileged
    landlock = options.image == "host" and not options.rootfs and not options.privileged
    masks = not options.privileged
    watch = True
    for word in options.security_opt:
        key, equals, value = word.partition("=") if "=" in word else word.partition(":")
        if key == "seccomp" and value:
            seccomp = value
        elif key in {"no-new-privileges", "no_new_privs"}:
            no_new_privileges = _boolean(value or "true", word)
        elif key == "landlock" and equals:
            landlock = _boolean(value, word)
        elif key == "seccomp-log" and equals:
            watch = _boolean(value, word)
        elif word in {"systempaths=unconfined", "unmask=ALL", "unmask=all"}:
            masks = False
        elif (key, value) in {("apparmor", "unconfined"), ("label", "disable")}:
            check_unconfined(word, _own_label(key))
        elif key in {"label", "apparmor"}:
            raise SpecError(
                f"--security-opt {word}: this kernel is not asked for {key} yet",
                hint="leave it out; apparmor=unconfined and label=disable are what is so",
            )
        else:
            raise SpecError(
                f"--security-opt {word!r} is not known",
                hint="seccomp=FILE|unconfined, no-new-privileges[=false], landlock=off, systempaths=unconfined",
            )
    names = capability_set(options.cap_add, options.cap_drop, privileged=options.privileged)
    return Security(names, seccomp, no_new_privileges, landlock, masks, watch)


def check_unconfined(word: str, label: str) -> None:
    """See that a process with this label (proc_pid_attr(5)) starts others as unconfined as apparmor= or label= asks.

    Neither AppArmor nor SELinux is asked to confine a container; but what confines this process does so with all that
    it starts. Raises ForbiddenError where that is so.
    """
    label = label.rstrip("\n\0")
    if label.endswith(")"):  # AppArmor's: PROFILE (MODE)
        confined = word.startswith("apparmor") and not label.endswith(("(unconfined)", "(complain)"))
    else:  # SELinux's: USER:ROLE:TYPE[:LEVEL]
        parts = label.split(":")
        confined = word.startswith("label") and len(parts) > 2 and parts[2] not in _UNCONFINED_TYPES
    if confined:
        raise ForbiddenError(
            f"--security-opt {word}: this process is confined itself, as {label}, and so is what it starts",
            hint="leave it out, or run this from elsewhere",
        )


# types that SELinux's reference policy confines in nothing
_UNCONFINED_TYPES = {"unconfined_t", "unconfined_service_t", "spc_t", "kernel_t"}


def _own_label(key: str) -> str:
    """What this process is confined by, "" where the kernel has no such module."""
    own = read("/proc/self/attr/apparmor/current") if key == "apparmor" else ""
    return own or read("/proc/self/attr/current")


def capability_set(add: tuple[str, ...], drop: tuple[str, ...], *, privileged: bool) -> tuple[str, ...]:
    """docker's rule: start from the default, or from all; drop ALL starts from nothing."""
    added, dropped = [_capability(name) for name in add], [_capability(name) for name in drop]
    names = set(NAMES) if privileged or "ALL" in added else set(CAPABILITIES)
    if "ALL" in dropped:
        names = set(NAMES) if "ALL" in added else set()
    names |= {name for name in added if name != "ALL"}
    names -= {name for name in dropped if name != "ALL"}
    return tuple(name for name in NAMES if name in names)


def _capability(text: str) -> str:
    name = text.upper()
    if name == "ALL":
        return name
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in NAMES:
        raise SpecError(f"{text!r} is not a capability", hint="such as NET_ADMIN, SYS_PTRACE or ALL; capabilities(7)")
    return name


def _boolean(value: str, word: str) -> bool:
    if value in {"true", "on", "1"}:
        return True
    if value in {"false", "off", "0"}:
        return False
    raise SpecError(f"--security-opt {word!r}: {value!r} is neither on nor off")


def read_profile(path: str) -> object:
    """The JSON of a seccomp profile."""
    from cloche.spec.reader import read_json

    try:
        with open(path, "rb") as file:
            return read_json(file.read(4 << 20))
    except OSError as error:
        raise NotFoundError(
            f"the seccomp profile {path} cannot be read: {error.strerror}", hint="seccomp=FILE or seccomp=unconfined"
        ) from None
