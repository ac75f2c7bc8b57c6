"""The system calls a container may make when nobody says otherwise. Data, and what picks from it.

The spirit is that of docker's and podman's default profiles: an allow-list wide enough for nearly
everything that runs in a container, with the kernel's dangerous corners left out. Three answers:

    allowed          the call is made
    EPERM            the call is known and refused; a capability may open it (`GRANTS`)
    ENOSYS           anything else, so that programs fall back as on an older kernel

Capabilities here are those the container gets (its bounding set). They are named CAP_*.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.runtime.seccomp.compile import Filter

EPERM, ENOSYS = 1, 38

ALLOWED = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 close close_range dup dup2 dup3
open openat openat2 creat lseek fcntl flock pipe pipe2 select pselect6 poll ppoll
sendfile splice tee vmsplice copy_file_range readahead fadvise64 fallocate truncate ftruncate
fsync fdatasync sync syncfs sync_file_range
epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2
eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime timerfd_gettime
inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark
io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents

stat lstat fstat newfstatat statx statfs fstatfs access faccessat faccessat2 getdents getdents64
readlink readlinkat link linkat symlink symlinkat unlink unlinkat rename renameat renameat2
mkdir mkdirat rmdir mknod mknodat chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat umask
utime utimes futimesat utimensat chdir fchdir getcwd name_to_handle_at file_getattr file_setattr
getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr listxattr llistxattr flistxattr
removexattr lremovexattr fremovexattr getxattrat setxattrat listxattrat removexattrat

mmap munmap mremap mprotect msync madvise mincore brk remap_file_pages mseal cachestat
mlock mlock2 mlockall munlock munlockall memfd_create memfd_secret membarrier
pkey_alloc pkey_free pkey_mprotect map_shadow_stack
shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl
mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr

fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill
pidfd_open pidfd_send_signal process_mrelease
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo
rt_sigsuspend sigaltstack pause restart_syscall
futex futex_waitv futex_wake futex_wait futex_requeue set_robust_list get_robust_list
set_tid_address set_thread_area get_thread_area arch_prctl modify_ldt rseq prctl
getpid getppid gettid getpgid getpgrp setpgid getsid setsid
getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid
setresuid setresgid setfsuid setfsgid setgroups capget capset
getrlimit setrlimit prlimit64 getrusage getpriority setpriority ioprio_get ioprio_set
sched_yield sched_getparam sched_setparam sched_getscheduler sched_setscheduler sched_getattr
sched_setattr sched_getaffinity sched_setaffinity sched_get_priority_max sched_get_priority_min
sched_rr_get_interval getcpu

socketpair bind listen accept accept4 connect getsockname getpeername getsockopt setsockopt
sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown

time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep times alarm getitimer setitimer
timer_create timer_settime timer_gettime timer_getoverrun timer_delete adjtimex clock_adjtime
uname sysinfo getrandom

seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
lsm_get_self_attr lsm_list_modules
"""

# Reading other processes: Linux asks for ptrace access itself, and no longer lets a tracer around a
# filter (that was before 4.8). Debuggers and sanitizers need it.
ALLOWED_TRACING = "ptrace process_vm_readv process_vm_writev"

# Made by the kernel's own trampolines where a host traces the program: refusing them would crash it.
ALLOWED_PROBES = "uretprobe uprobe"

# What a capability opens. Without it the kernel would mostly refuse as well; but in a user namespace
# of its own a program has every capability, and these calls are then where it meets the kernel bugs.
GRANTS = (
    (
        "CAP_SYS_ADMIN",
        "mount umount2 pivot_root fsopen fsconfig fsmount fspick open_tree open_tree_attr move_mount"
        " mount_setattr statmount listmount unshare setns sethostname setdomainname quotactl quotactl_fd"
        " fanotify_init lookup_dcookie bpf perf_event_open syslog",
    ),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_MODULE", "init_module finit_module delete_module"),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_TIME", "settimeofday clock_settime"),
    ("CAP_SYS_NICE", "mbind get_mempolicy set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),  # opens any inode of the file system (shocker)
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
)

# Refused whatever the capabilities; a profile of one's own can open them.
REFUSED = (
    # A second way to make most calls that no filter sees, and a long row of root exploits.
    "io_uring_setup io_uring_enter io_uring_register",
    # Stops the kernel in the middle of a copy, for as long as an exploit needs.
    "userfaultfd",
    # Keyrings belong to the user, not to the container (CVE-2014-9529, CVE-2016-0728).
    "keyctl add_key request_key",
    # The whole machine: another kernel, swap, pages of other processes on other nodes.
    "kexec_load kexec_file_load swapon swapoff migrate_pages move_pages",
    # A process choosing its own security label.
    "lsm_set_self_attr",
    # Long gone, or never there.
    "uselib ustat sysfs _sysctl create_module query_module get_kernel_syms nfsservctl"
    " getpmsg putpmsg afs_syscall tuxcall security vserver",
)

_LOW_32 = 0xFFFFFFFF
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (linux/sched.h)
_CLONE_NEW = 0x7E020000
# PER_LINUX, PER_LINUX32, UNAME26, both, and "tell me" (linux/personality.h). The others turn off
# address randomisation or make the zero page readable.
_PERSONALITIES = (0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
# Typing into one's terminal, and pasting on a virtual console: a way out to the shell that started
# the container (CVE-2017-5226, CVE-2023-28100).
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# The kernel's crypto over sockets, a steady source of bugs, and the hypervisor's own channel, which
# has no namespace. With NETLINK_AUDIT a login program insists on writing to the host's audit log,
# and takes EINVAL for a kernel without one.
_AF_NETLINK, _AF_ALG, _AF_VSOCK, _NETLINK_AUDIT = 16, 38, 40, 9

CONDITIONAL = ("clone", "clone3", "personality", "ioctl", "socket")

# The capabilities that make a difference, and the compiled profile for each combination seen: the program
# and its flags. `cloche.bundle` keeps them with the code they were made by, so that a command need not compile.
_MATTER = frozenset(capability for capability, _ in GRANTS) | {"CAP_AUDIT_WRITE"}
REMEMBERED: dict[tuple[frozenset[str], str, bool], tuple[bytes, int]] = {}


def default_profile(capabilities: frozenset[str], arch: str = "x86_64") -> dict[str, Any]:
    """The default profile for a container with these capabilities, as `linux.seccomp` of OCI.

    It means the same to libseccomp: conditions that have to be asked first stand first, compare
    masked, and the rest of a call's values is caught by `>= 0` on the same argument, not by an
    unconditional rule, which would swallow them.
    """
    admin = "CAP_SYS_ADMIN" in capabilities
    allowed = f"{ALLOWED} {ALLOWED_TRACING} {ALLOWED_PROBES}".split()
    refused = " ".join(REFUSED).split()
    for capability, names in GRANTS:
        (allowed if capability in capabilities else refused).extend(names.split())
    if admin:
        allowed += ["clone", "clone3"]  # clone3 is ENOSYS without: its flags lie in memory, out of sight
    opened = frozenset(allowed)
    rules = [
        _rule("ALLOW", allowed),
        _rule("ERRNO", [name for name in dict.fromkeys(refused) if name not in opened]),
    ]
    if not admin:
        rules.append(_rule("ALLOW", ["clone"], _masked(0, _CLONE_NEW, 0)))
        rules.append(_rule("ERRNO", ["clone"], _any(0)))
    rules += [_rule("ALLOW", ["personality"], _masked(0, _LOW_32, value)) for value in _PERSONALITIES]
    rules.append(_rule("ERRNO", ["personality"], _any(0)))
    rules += [_rule("ERRNO", ["ioctl"], _masked(1, _LOW_32, value)) for value in (_TIOCSTI, _TIOCLINUX)]
    rules.append(_rule("ALLOW", ["ioctl"], _any(1)))
    rules += [_rule("ERRNO", ["socket"], _masked(0, _LOW_32, value)) for value in (_AF_ALG, _AF_VSOCK)]
    if "CAP_AUDIT_WRITE" not in capabilities:
        audit = (_masked(0, _LOW_32, _AF_NETLINK), _masked(2, _LOW_32, _NETLINK_AUDIT))
        rules.append({**_rule("ERRNO", ["socket"], *audit), "errnoRet": 22})
    rules.append(_rule("ALLOW", ["socket"], _any(0)))
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "architectures": ["SCMP_ARCH_" + arch.upper()],
        "syscalls": rules,
    }


def default_filter(capabilities: frozenset[str], arch: str = "x86_64", *, notify_denied: bool = False) -> Filter:
    """The default profile compiled. A program that tries whether there is x32 is told that there is not."""
    from cloche.runtime.seccomp.compile import compile_filter

    return compile_filter(default_profile(capabilities, arch), arch, notify_denied=notify_denied, hide_x32=True)


def default_program(capabilities: frozenset[str], arch: str, *, notify_denied: bool = False) -> tuple[bytes, int]:
    """What seccomp(2) takes for the default profile, and the flags to load it with; compiled once."""
    key = (capabilities & _MATTER, arch, notify_denied)
    found = REMEMBERED.get(key)
    if found is None:
        made = default_filter(capabilities, arch, notify_denied=notify_denied)
        found = REMEMBERED[key] = made.program, made.flags
    return found


def _rule(action: str, names: list[str], *args: dict[str, Any]) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": names, "action": "SCMP_ACT_" + action}
    if action == "ERRNO":
        rule["errnoRet"] = EPERM
    if args:
        rule["args"] = list(args)
    return rule


def _masked(index: int, mask: int, value: int) -> dict[str, Any]:
    return {"index": index, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": value}


def _any(index: int) -> dict[str, Any]:
    return {"index": index, "op": "SCMP_CMP_GE", "value": 0}
