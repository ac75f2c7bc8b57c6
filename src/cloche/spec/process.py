"""The process section (config.md, "Process"): who runs, what, where, with which limits."""

from __future__ import annotations

from cloche.spec.document import Document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    from cloche.spec.shape import i32, i64, u32, u64

# getrlimit(2); the kernel has had these sixteen since 2.6.25
RlimitType: TypeAlias = """Literal[
    "RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_NOFILE", "RLIMIT_NPROC",
    "RLIMIT_RSS", "RLIMIT_RTPRIO", "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_STACK",
]"""
SchedulerPolicy: TypeAlias = """Literal[
    "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE",
]"""
SchedulerFlag: TypeAlias = """Literal[
    "SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_KEEP_POLICY",
    "SCHED_FLAG_KEEP_PARAMS", "SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX",
]"""
IOPriorityClass: TypeAlias = "Literal['IOPRIO_CLASS_RT', 'IOPRIO_CLASS_BE', 'IOPRIO_CLASS_IDLE']"

_CAPABILITY_NAMES = """
    CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID
    CAP_SETPCAP CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW
    CAP_IPC_LOCK CAP_IPC_OWNER CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT
    CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD
    CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG
    CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF CAP_CHECKPOINT_RESTORE
"""
# linux/capability.h: a capability's number is its place; the last came with Linux 5.9
CAPABILITIES = tuple(_CAPABILITY_NAMES.split())


class ConsoleSize(Document):
    """The terminal's size in characters."""

    height: u64
    width: u64


class User(Document):
    """The ids the process runs with, as the container sees them."""

    uid: u32 = 0
    gid: u32 = 0
    umask: u32 | None = None
    additionalGids: list[u32] | None = None
    username: str | None = None  # Windows only; kept


class Capabilities(Document):
    """The five sets of capabilities(7), each a list of CAP_* names."""

    bounding: list[str] | None = None
    effective: list[str] | None = None
    inheritable: list[str] | None = None
    permitted: list[str] | None = None
    ambient: list[str] | None = None


class Rlimit(Document):
    """One limit of setrlimit(2); 2^64-1 is no limit."""

    type: RlimitType
    soft: u64
    hard: u64


class Scheduler(Document):
    """What sched_setattr(2) is given; runtime, deadline and period are nanoseconds."""

    policy: SchedulerPolicy
    nice: i32 | None = None
    priority: i32 | None = None
    flags: list[SchedulerFlag] | None = None
    runtime: u64 | None = None
    deadline: u64 | None = None
    period: u64 | None = None


class IOPriority(Document):
    """What ioprio_set(2) is given; `class_` is `class` in JSON."""

    class_: IOPriorityClass
    priority: i32 = 0


class ExecCPUAffinity(Document):
    """CPU lists for `exec`: while it enters the container's cgroup, and after."""

    initial: str | None = None
    final: str | None = None


class Process(Document):
    """What runs in the container."""

    cwd: str
    user: User
    args: list[str] | None = None
    env: list[str] | None = None
    terminal: bool = False
    consoleSize: ConsoleSize | None = None
    commandLine: str | None = None  # Windows only; kept
    capabilities: Capabilities | None = None
    rlimits: list[Rlimit] | None = None
    noNewPrivileges: bool = False
    apparmorProfile: str | None = None
    selinuxLabel: str | None = None
    oomScoreAdj: i64 | None = None
    scheduler: Scheduler | None = None
    ioPriority: IOPriority | None = None
    execCPUAffinity: ExecCPUAffinity | None = None
