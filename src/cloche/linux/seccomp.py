"""Seccomp: loading a filter, and answering the calls that a filter hands over.

A filter is a classic BPF program, an array of eight-byte instructions:
struct sock_filter { u16 code; u8 jt, jf; u32 k; }

    the filtered process          the kernel               who holds the listener
    mkdir("/x") ──────────▶ RET_USER_NOTIF ──────────▶ notify_receive ─▶ id, nr, args
                                                        (look, act, then notify_id_valid)
    0, -1 or as it was ◀─────────────────────────────── notify_respond

Pointers among the arguments belong to the other process, which can change what they point to:
nothing read through them may decide whether a call goes on (seccomp_unotify(2)).

What does not belong here: compiling filters from rules.
"""

from __future__ import annotations

import errno
import posix as os

from cloche.linux import kernel, process

# linux/seccomp.h
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_ACTION_AVAIL = 2
FLAG_TSYNC = 0x01
FLAG_LOG = 0x02
FLAG_SPEC_ALLOW = 0x04
FLAG_NEW_LISTENER = 0x08
FLAG_TSYNC_ESRCH = 0x10
FLAG_WAIT_KILLABLE_RECV = 0x20  # Linux 5.19
RET = 0x06  # BPF_RET | BPF_K
RET_KILL_PROCESS = 0x80000000
RET_KILL_THREAD = 0x00000000
RET_TRAP = 0x00030000
RET_ERRNO = 0x00050000
RET_USER_NOTIF = 0x7FC00000
RET_TRACE = 0x7FF00000
RET_LOG = 0x7FFC0000
RET_ALLOW = 0x7FFF0000
RET_DATA = 0x0000FFFF  # the bits of an action that carry its errno or data
MODE_DISABLED, MODE_STRICT, MODE_FILTER = 0, 1, 2
NOTIFY_CONTINUE = 1
ADDFD_SETFD = 1
ADDFD_SEND = 2
SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101
SECCOMP_IOCTL_NOTIF_ID_VALID = 0x40082102
SECCOMP_IOCTL_NOTIF_ADDFD = 0x40182103

# linux/audit.h
AUDIT_ARCH_I386 = 0x40000003
AUDIT_ARCH_X86_64 = 0xC000003E  # x32 too: its numbers have X32_SYSCALL_BIT
AUDIT_ARCH_ARM = 0x40000028
AUDIT_ARCH_AARCH64 = 0xC00000B7
AUDIT_ARCH_NATIVE = kernel.number(AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64)
X32_SYSCALL_BIT = 0x40000000

_NR = kernel.number(317, 277)


class Notification:
    """One call that waits for an answer: who (`pid`, 0 if out of sight), on which ABI, what.

    `nr` is the system call's number, `args` its six arguments as unsigned integers.
    """

    __slots__ = ("arch", "args", "flags", "id", "nr", "pid")

    def __init__(self, id_: int, pid: int, flags: int, nr: int, arch: int, args: tuple[int, ...]) -> None:
        self.id, self.pid, self.flags = id_, pid, flags
        self.nr, self.arch, self.args = nr, arch, args


def refusing(program: bytes) -> bytes:
    """A program that refuses (EPERM) where this one asks a listener, for a process that has none.

    struct sock_filter { u16 code; u8 jt, jf; u32 k; }
    """
    asking = RET.to_bytes(4, "little") + RET_USER_NOTIF.to_bytes(4, "little")
    answer = RET.to_bytes(4, "little") + (RET_ERRNO | 1).to_bytes(4, "little")
    steps = (program[at : at + 8] for at in range(0, len(program), 8))
    return b"".join(answer if step == asking else step for step in steps)


def load(program: bytes, flags: int = 0) -> int:
    """seccomp(2) SECCOMP_SET_MODE_FILTER, Linux 3.17: add a filter, for good.

    Returns 0, or with FLAG_NEW_LISTENER (Linux 5.0) the listener, closed on exec. EACCES without
    no_new_privs or CAP_SYS_ADMIN. With FLAG_TSYNC a thread that cannot follow is ESRCH (Linux 5.7).
    struct sock_fprog { unsigned short len; struct sock_filter *filter; }
    """
    if len(program) % 8:
        raise ValueError(f"a filter is made of eight bytes each, this one has {len(program)}")
    if flags & FLAG_TSYNC:
        flags |= FLAG_TSYNC_ESRCH  # else the thread's id would come back as if it were success
    storage = kernel.buffer(bytearray(program or b"\0"))
    head = (len(program) // 8).to_bytes(8, "little") + kernel.address(storage).to_bytes(8, "little")
    return kernel.call("seccomp", _NR, SECCOMP_SET_MODE_FILTER, flags, head)


def mode() -> int:
    """prctl(PR_GET_SECCOMP): MODE_DISABLED or MODE_FILTER; MODE_STRICT kills who asks."""
    return process.prctl(process.PR_GET_SECCOMP)


def action_available(action: int) -> bool:
    """seccomp(2) SECCOMP_GET_ACTION_AVAIL, Linux 4.14: whether the kernel knows a RET_* action."""
    try:
        kernel.call("seccomp", _NR, SECCOMP_GET_ACTION_AVAIL, 0, action.to_bytes(4, "little"))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return False
    return True


def flag_available(flag: int) -> bool:
    """seccomp(2) SECCOMP_SET_MODE_FILTER without a filter: whether the kernel knows a FLAG_*.

    Flags are looked at first, so EFAULT says yes and EINVAL no; nothing is loaded. Where seccomp(2) is
    not there or not allowed (ENOSYS, EPERM, EACCES) no flag is.
    """
    if flag & FLAG_WAIT_KILLABLE_RECV:
        flag |= FLAG_NEW_LISTENER  # alone it is EINVAL
    try:
        kernel.call("seccomp", _NR, SECCOMP_SET_MODE_FILTER, flag, 0)
    except OSError as error:
        if error.errno not in {errno.EFAULT, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES}:
            raise
        return error.errno == errno.EFAULT
    raise AssertionError("a filter that is not there was loaded")


def notify_receive(fd: int) -> Notification:
    """seccomp_unotify(2), Linux 5.0: wait for a call on the listener `fd`.

    ENOENT when the caller died before it was read, and (Linux 6.11) when no process with the filter
    is left; before that this would wait forever, so poll(2) first and stop at POLLHUP.
    struct seccomp_notif { u64 id; u32 pid, flags; struct seccomp_data data; }
    struct seccomp_data { int nr; u32 arch; u64 instruction_pointer; u64 args[6]; }
    """
    out = bytearray(80)
    kernel.ioctl("SECCOMP_IOCTL_NOTIF_RECV", fd, SECCOMP_IOCTL_NOTIF_RECV, kernel.buffer(out))
    word, long = memoryview(out).cast("I"), memoryview(out).cast("Q")
    nr = int.from_bytes(out[16:20], "little", signed=True)
    return Notification(long[0], word[2], word[3], nr, word[5], tuple(long[4:10]))


def notify_respond(fd: int, id_: int, *, value: int = 0, error: int = 0, flags: int = 0) -> None:
    """seccomp_unotify(2), Linux 5.0: the call `id_` returns `value`, or fails with errno `error`.

    With flags=NOTIFY_CONTINUE (Linux 5.5) it is carried out as it stands. ENOENT when it is gone.
    struct seccomp_notif_resp { u64 id; s64 val; s32 error; u32 flags; }
    """
    answer = b"".join((
        id_.to_bytes(8, "little"),
        value.to_bytes(8, "little", signed=True),
        (-error).to_bytes(4, "little", signed=True),
        flags.to_bytes(4, "little"),
    ))  # fmt: skip
    kernel.ioctl("SECCOMP_IOCTL_NOTIF_SEND", fd, SECCOMP_IOCTL_NOTIF_SEND, answer)


def notify_id_valid(fd: int, id_: int) -> bool:
    """seccomp_unotify(2), Linux 5.0: whether the call still waits, so its pid is still its own."""
    try:
        number = id_.to_bytes(8, "little")
        kernel.ioctl("SECCOMP_IOCTL_NOTIF_ID_VALID", fd, SECCOMP_IOCTL_NOTIF_ID_VALID, number)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return False
    return True


def notify_addfd(fd: int, id_: int, source: int, *, target: int = -1, cloexec: bool = False, send: bool = False) -> int:
    """seccomp_unotify(2), Linux 5.9: copy descriptor `source` into the waiting process.

    It becomes `target` there, or the lowest free number, which is returned; with `send` (Linux
    5.14) that number is also the answer to the call, in one step.
    struct seccomp_notif_addfd { u64 id; u32 flags, srcfd, newfd, newfd_flags; }
    """
    flags = (ADDFD_SETFD if target >= 0 else 0) | (ADDFD_SEND if send else 0)
    words = (flags, source, max(target, 0), os.O_CLOEXEC if cloexec else 0)
    request = id_.to_bytes(8, "little") + b"".join(word.to_bytes(4, "little") for word in words)
    return kernel.ioctl("SECCOMP_IOCTL_NOTIF_ADDFD", fd, SECCOMP_IOCTL_NOTIF_ADDFD, request)
