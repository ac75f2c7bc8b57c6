"""What a process gives up for good: seccomp, Landlock, keys; and the modules an administrator may have."""

from __future__ import annotations

import errno
import os

from cloche.linux import kernel, keyring, landlock, process, seccomp
from cloche.runtime.checks.attempt import attempt
from cloche.runtime.checks.finding import LIMITED, MISSING, OK, Finding, judge
from cloche.runtime.checks.place import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.checks.place import Place

GETPPID = kernel.number(110, 173)
ANSWER = 4711


def program(nr: int, action: int) -> bytes:
    """A filter that answers one system call of this machine's own ABI, and allows all others."""
    code = (
        (0x20, 0, 0, 4),  # load the ABI
        (0x15, 0, 3, seccomp.AUDIT_ARCH_NATIVE),
        (0x20, 0, 0, 0),  # load the number
        (0x15, 0, 1, nr),
        (0x06, 0, 0, action),
        (0x06, 0, 0, seccomp.RET_ALLOW),
    )
    return b"".join(op.to_bytes(2, "little") + bytes((yes, no)) + k.to_bytes(4, "little") for op, yes, no, k in code)


def _refuse_one_call() -> str:
    process.set_no_new_privs()
    seccomp.load(program(GETPPID, seccomp.RET_ERRNO | errno.EXFULL))
    try:
        kernel.call("getppid", GETPPID)
    except OSError as error:
        if error.errno != errno.EXFULL:
            raise
        return "the call was refused"
    raise OSError(errno.EPROTO, "the call was not refused")


def filters(place: Place) -> Finding:
    """A seccomp filter can be loaded, and refuses."""
    outcome = attempt(_refuse_one_call)
    return judge(
        "seccomp",
        outcome,
        "loaded a filter that refuses getppid",
        good="containers reach only the part of the kernel they need",
        bad="no container can be started: the kernel is built without filters (CONFIG_SECCOMP_FILTER), or forbids them",
        fix=place.fix(outcome),
        needed=True,
    )


def _answer_one_call() -> str:
    process.set_no_new_privs()
    listener = seccomp.load(program(GETPPID, seccomp.RET_USER_NOTIF), seccomp.FLAG_NEW_LISTENER)
    pid = os.fork()
    if pid == 0:
        process.die_with_parent()
        os._exit(0 if kernel.call("getppid", GETPPID) == ANSWER else 1)
    event = seccomp.notify_receive(listener)
    seccomp.notify_respond(listener, event.id, value=ANSWER)
    if os.waitpid(pid, 0)[1]:
        raise OSError(errno.EPROTO, "the answer did not arrive")
    return "a call was seen and answered"


def notification(place: Place) -> Finding:
    """A filter can hand calls over; a listener of an outer container is in the way of another (EBUSY)."""
    outcome = attempt(_answer_one_call)
    busy = outcome.code == errno.EBUSY
    return judge(
        "seccomp-notify",
        outcome,
        "loaded a filter that hands getppid over",
        good="`cloche run` names the system calls that a command was refused",
        bad="containers start only with --security-opt seccomp-log=off: "
        + ("the container this runs in listens itself, and one in another cannot" if busy else "calls are not seen"),
        fix=place.fix(outcome, "cloche run --security-opt seccomp-log=off …"),
        needed=True,
    )


def _enforce_rule() -> int:
    # as landlock.abi() asks, but the errno tells a kernel without it, one started without it, and a filter apart
    abi = kernel.call("landlock_create_ruleset", 444, 0, 0, landlock.LANDLOCK_CREATE_RULESET_VERSION)
    process.set_no_new_privs()
    rules = landlock.create_ruleset(landlock.FS_READ_DIR, abi=abi)
    allowed = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
    landlock.add_path_rule(rules, landlock.FS_READ_DIR, allowed)
    landlock.restrict_self(rules)
    os.listdir("/proc/self/ns")
    try:
        os.listdir("/")
    except PermissionError:
        return abi
    raise OSError(errno.EPROTO, "the rule is not enforced")


def files(place: Place) -> Finding:
    """A Landlock rule is enforced."""
    outcome = attempt(_enforce_rule)
    tried = "allowed a process to list /proc and nothing else"
    if not outcome.ok:
        why = "the kernel has no Landlock, or was not started with it (lsm=landlock,… on its command line)"
        if place.by_filter(outcome):
            why = "a seccomp filter that was here before refuses it"
        bad = f"file access in containers rests on mounts and users alone: {why}"
        return judge("landlock", outcome, tried, good="", bad=bad, fix=place.fix(outcome))
    abi = int(outcome.value)
    if abi >= 6:
        return Finding(
            "landlock", OK, f"{tried}: enforced, ABI {abi}", "a second wall around files, and around signals"
        )
    meaning = "a second wall around files; around signals and abstract sockets from Linux 6.12 on"
    return Finding("landlock", LIMITED, f"{tried}: enforced, ABI {abi}", meaning)


def _change_keyring() -> str:
    before = _session()
    after = keyring.join_session_keyring()
    if after == before:
        raise OSError(errno.EPROTO, "the keyring is the one there was")
    return "another one was joined"


def _session() -> int:
    try:
        return keyring.session_keyring_id()
    except OSError as error:
        if error.errno in {errno.ENOKEY, errno.EKEYREVOKED, errno.EKEYEXPIRED}:
            return 0
        raise


def keys(place: Place) -> Finding:
    """A session keyring can be left for a new one."""
    outcome = attempt(_change_keyring)
    full = "sysctl -w kernel.keys.maxkeys=2000"
    return judge(
        "keyring",
        outcome,
        "joined a new session keyring",
        good="keys of your session, such as Kerberos tickets, stay out of containers",
        bad="containers keep your session keyring; they are kept from it by their seccomp filter only",
        fix=place.fix(outcome, place.as_root(full) if outcome.code == errno.EDQUOT else ""),
    )


def modules(place: Place) -> Finding:
    """Which of AppArmor and SELinux confines this very process."""
    del place
    label = read("/proc/self/attr/apparmor/current") or read("/proc/self/attr/current")
    if os.path.isdir("/sys/fs/selinux") and (mode := read("/sys/fs/selinux/enforce")):
        found = f"SELinux, {'enforcing' if mode == '1' else 'permissive'}; this process is {label}"
    elif read("/sys/module/apparmor/parameters/enabled") == "Y":
        found = f"AppArmor; this process is {label or 'not told what it is'}"
    else:
        detail = "asked for the label of this process: neither AppArmor nor SELinux gave one"
        return Finding("security-module", MISSING, detail, "a further wall that cloche does not rely on")
    return Finding("security-module", OK, f"asked for the label of this process: {found}", "a further wall around all")
