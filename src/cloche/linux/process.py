"""Processes: clone3, pidfds, waiting, prctl and descriptors at exec.

`clone3` here forks: it returns twice, like os.fork, and the child goes on in Python. It is for
single-threaded processes only (the stage); the interpreter's locks are not reinitialised.

What does not belong here: namespaces (see `namespaces`), privileges (see `capabilities`).
"""

from __future__ import annotations

import posix as os

from cloche.linux import kernel

# linux/sched.h
CLONE_NEWTIME = 0x80
CLONE_VM = 0x100
CLONE_FILES = 0x400
CLONE_CHILD_SETTID = 0x01000000
CLONE_PIDFD = 0x1000
CLONE_PARENT = 0x8000
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_GET_SECCOMP = 21

# linux/wait.h and asm-generic/siginfo.h
P_PIDFD = 3
PIDFD_GET_INFO, PIDFD_INFO_EXIT = 0xC040FF0B, 1 << 3  # _IOWR(0xFF, 11, 64 bytes); linux/pidfd.h
SIGTIMEDWAIT = frozenset({b"%d" % kernel.number(128, 137), b"177", b"421"})  # the latter of 32 bits
ENDING = frozenset({1, 2, 3, 10, 12, 13, 14, 15, 16, 26, 27, 29, 30})  # signals that end who does nothing about them
CLD_EXITED, CLD_KILLED, CLD_DUMPED = 1, 2, 3

# linux/close_range.h
CLOSE_RANGE_UNSHARE = 2
CLOSE_RANGE_CLOEXEC = 4

_RT_SIGACTION_NR = kernel.number(13, 134)
_PR_NR = kernel.number(157, 167)


class Exit:
    """How a process ended: pid, CLD_* code, exit status or signal, and what it used.

    Times are in seconds, `max_rss` in bytes; both count the child and all that it waited for.
    """

    __slots__ = ("code", "max_rss", "pid", "status", "system_time", "user_time")

    def __init__(self, pid: int, code: int, status: int, user: float, system: float, rss: int) -> None:
        self.pid, self.code, self.status = pid, code, status
        self.user_time, self.system_time, self.max_rss = user, system, rss


def clone3(flags: int, *, cgroup: int = -1, exit_signal: int = 17) -> tuple[int, int]:
    """clone3(2), Linux 5.3: fork with namespaces; returns (pid, pidfd), or (0, -1) in the child.

    `flags` are CLONE_NEW* and CLONE_PARENT; `cgroup` a descriptor of a cgroup v2 directory to be
    born in (CLONE_INTO_CGROUP, Linux 5.7). CLONE_PIDFD is always added, and the pidfd is closed
    on exec. With CLONE_PARENT the kernel takes the parent's exit signal. Raises OSError ENOSYS where a
    filter around us answers with 0 and there is no new process.

    struct clone_args { u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size,
                        tls, set_tid, set_tid_size, cgroup; }
    """
    out, born = bytearray(4), bytearray(4)
    pointer = kernel.buffer(out)
    flags |= CLONE_PIDFD | CLONE_CHILD_SETTID
    if flags & CLONE_PARENT:
        exit_signal = 0
    if cgroup >= 0:
        flags |= CLONE_INTO_CGROUP
    child = kernel.buffer(born)
    fields = (flags, kernel.address(pointer), kernel.address(child), 0, exit_signal, 0, 0, 0, 0, 0, max(cgroup, 0))
    args = b"".join(field.to_bytes(8, "little") for field in fields)
    pid = kernel.call("clone3", 435, args, len(args))
    if pid == 0:
        if not any(born):
            raise OSError(38, "clone3 made no process")
        return 0, -1
    return pid, int.from_bytes(out, "little")


def pidfd_open(pid: int) -> int:
    """pidfd_open(2), Linux 5.3: a descriptor for process `pid`, closed on exec."""
    return kernel.call("pidfd_open", 434, pid, 0)


def pidfd_getfd(pidfd: int, target: int) -> int:
    """pidfd_getfd(2), Linux 5.6: a copy of another process' descriptor `target`."""
    return kernel.call("pidfd_getfd", 438, pidfd, target, 0)


def would_be_lost(pid: int, number: int) -> bool:
    """Whether a signal that ends other processes does nothing to this one, which is the first of a pid namespace.

    That only gets what it has a handler for from outside, but for SIGKILL and SIGSTOP (pid_namespaces(7)); what it
    ignores, blocks or waits for it has made up its mind about (proc_pid_status(5)).
    """
    if number not in ENDING or _waits_for_signals(pid):
        return False
    fields = dict(line.partition(b":")[::2] for line in _of_process(pid, "status").splitlines())
    pids = fields.get(b"NSpid", b"").split()
    masks = [int(fields[name], 16) for name in (b"SigCgt", b"SigIgn", b"SigBlk") if name in fields]
    minded = any(mask >> (number - 1) & 1 for mask in masks)
    return len(pids) > 1 and pids[-1] == b"1" and not minded and not _waits_for_signals(pid)


def _waits_for_signals(pid: int) -> bool:
    """Whether it stands in sigtimedwait(2), as tini and dumb-init do, or cannot be looked at.

    Meanwhile the kernel shows signals as not blocked that are: those which are waited for.
    """
    place = _of_process(pid, "wchan")
    if place not in {b"", b"0"}:
        return b"sigtimedwait" in place
    number = _of_process(pid, "syscall").partition(b" ")[0].strip()
    return not number or number in SIGTIMEDWAIT


def _of_process(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.read(8192)
    except OSError:
        return b""


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """pidfd_send_signal(2), Linux 5.1: signal exactly the process the descriptor stands for."""
    kernel.call("pidfd_send_signal", 424, pidfd, signal, 0, 0)


def wait_pidfd(pidfd: int, *, options: int = os.WEXITED) -> Exit | None:
    """waitid(2) with P_PIDFD, Linux 5.4, and the rusage the plain wrapper leaves out.

    Returns how the child ended, or None when `options` has WNOHANG and it still runs. max_rss is
    in KiB, the times in seconds, for the child and all that it waited for.

    siginfo_t: si_signo@0 si_errno@4 si_code@8 si_pid@16 si_uid@20 si_status@24
    struct rusage: timeval utime@0, stime@16; long maxrss@32
    """
    info, usage = bytearray(128), bytearray(144)
    nr = kernel.number(247, 95)
    buffers = kernel.buffer(info), kernel.buffer(usage)
    kernel.call("waitid", nr, P_PIDFD, pidfd, buffers[0], options, buffers[1])
    word, longs = memoryview(info).cast("i"), memoryview(usage).cast("q")
    if word[4] == 0:
        return None
    user, system = longs[0] + longs[1] / 1e6, longs[2] + longs[3] / 1e6
    return Exit(word[4], word[2], word[6], user, system, longs[4] * 1024)


def exit_status(pidfd: int) -> int | None:
    """PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15: the wait status of a process that somebody else has reaped.

    None where it was not reaped yet. Raises OSError on kernels that do not keep it.

    struct pidfd_info: u64 mask@0, cgroupid@8; u32 pid@16 … fsgid@56; s32 exit_code@60
    """
    info = bytearray(PIDFD_INFO_EXIT.to_bytes(64, "little"))
    kernel.ioctl("PIDFD_GET_INFO", pidfd, PIDFD_GET_INFO, kernel.buffer(info))
    if not int.from_bytes(info[:8], "little") & PIDFD_INFO_EXIT:
        return None
    return int.from_bytes(info[60:64], "little", signed=True)


def prctl(option: int, *args: int) -> int:
    """prctl(2) with up to four integer arguments."""
    return kernel.call("prctl", _PR_NR, option, *args, *(0,) * (4 - len(args)))  # some insist on zeros


def default_internal_signals() -> None:
    """rt_sigaction(2): the C library's own signals at their default, which signal(7) says it hides: 32 and 33.

    struct kernel_sigaction { handler; unsigned long flags; restorer; sigset_t mask; }
    """
    for number in (32, 33):
        kernel.call("rt_sigaction", _RT_SIGACTION_NR, number, bytes(32), 0, 8)


def close_range(first: int, last: int = 0x7FFFFFFF, *, flags: int = 0) -> None:
    """close_range(2), Linux 5.9: close descriptors first..last, or mark them closed on exec.

    `flags`: CLOSE_RANGE_CLOEXEC (Linux 5.11), CLOSE_RANGE_UNSHARE.
    """
    kernel.call("close_range", 436, first, last, flags)


def working_directory() -> bytes:
    """getcwd(2) as the kernel has it: beginning with "(unreachable)" for a directory that is not below the root.

    The C library's getcwd(3) then looks for itself, by way of "..", and takes a directory of the host for one inside
    where a file system is mounted in both: it only compares inodes.
    """
    out = bytearray(4096)
    size = kernel.call("getcwd", kernel.number(79, 17), kernel.buffer(out), len(out))
    return bytes(out[: size - 1])


def set_no_new_privs() -> None:
    """prctl(PR_SET_NO_NEW_PRIVS), Linux 3.5: execve grants nothing any more, for good."""
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def set_dumpable(value: bool) -> None:
    """prctl(PR_SET_DUMPABLE): whether others of the same uid may look into this process."""
    prctl(PR_SET_DUMPABLE, int(value))


def set_name(name: str) -> None:
    """prctl(PR_SET_NAME): what ps shows until the next execve, at most 15 bytes."""
    kernel.call("prctl", _PR_NR, PR_SET_NAME, name.encode() + b"\0")


def die_with_parent(signal: int = 9) -> None:
    """prctl(PR_SET_PDEATHSIG): get `signal` when the parent thread ends.

    Cleared by a change of credentials, so it is set after those.
    """
    prctl(PR_SET_PDEATHSIG, signal)
