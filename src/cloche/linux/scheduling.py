"""What a process may use and when it runs: rlimits, oom score, affinity, scheduler, I/O priority.

`pid` is 0 for the caller everywhere.

What does not belong here: cgroups, which limit groups of processes.
"""

from __future__ import annotations

from cloche.linux import files, kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# asm-generic/resource.h
RLIMITS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
RLIM_INFINITY = 2**64 - 1

# linux/sched.h
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,  # reserved, never implemented
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}

# linux/ioprio.h
IO_CLASSES = {"IOPRIO_CLASS_NONE": 0, "IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
IOPRIO_CLASS_SHIFT = 13
IOPRIO_WHO_PROCESS = 1

# linux/personality.h
PER_LINUX = 0x0000
PER_LINUX32 = 0x0008
ADDR_NO_RANDOMIZE = 0x0040000
PERSONALITY_QUERY = 0xFFFFFFFF

# linux/mempolicy.h
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,  # Linux 5.15
    "MPOL_WEIGHTED_INTERLEAVE": 6,  # Linux 6.9
}
MEMORY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,  # Linux 5.12
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}
_NODES = 1024  # more than any kernel's MAX_NUMNODES: get_mempolicy(2) insists on room for all


def set_rlimit(resource: int, soft: int, hard: int, *, pid: int = 0) -> None:
    """prlimit(2): set both limits of a resource (RLIMITS); -1 is RLIM_INFINITY as well.

    struct rlimit64 { u64 rlim_cur, rlim_max; }
    """
    limits = b"".join((value & RLIM_INFINITY).to_bytes(8, "little") for value in (soft, hard))
    kernel.call("prlimit64", kernel.number(302, 261), pid, resource, limits, 0)


def get_rlimit(resource: int, *, pid: int = 0) -> tuple[int, int]:
    """prlimit(2): the (soft, hard) limits of a resource; unlimited is RLIM_INFINITY."""
    out = bytearray(16)
    kernel.call("prlimit64", kernel.number(302, 261), pid, resource, 0, kernel.buffer(out))
    return int.from_bytes(out[:8], "little"), int.from_bytes(out[8:], "little")


def set_oom_score_adj(value: int, *, pid: int = 0) -> None:
    """proc_pid_oom_score_adj(5): -1000 (never) to 1000 (first); lowering it needs CAP_SYS_RESOURCE."""
    files.write_value(f"/proc/{pid or 'self'}/oom_score_adj", str(value))


def set_affinity(cpus: Iterable[int], *, pid: int = 0) -> None:
    """sched_setaffinity(2): run on these CPUs only; EINVAL when none of them is there."""
    mask = 0
    for cpu in cpus:
        mask |= 1 << cpu
    words = mask.to_bytes((mask.bit_length() // 64 + 1) * 8, "little")
    kernel.call("sched_setaffinity", kernel.number(203, 122), pid, len(words), words)


def sched_setattr(
    policy: int,
    nice: int = 0,
    priority: int = 0,
    flags: int = 0,
    runtime: int = 0,
    deadline: int = 0,
    period: int = 0,
    *,
    pid: int = 0,
) -> None:
    """sched_setattr(2), Linux 3.14: policy and its parameters; the last three in nanoseconds.

    `nice` counts for SCHED_OTHER and SCHED_BATCH, `priority` for SCHED_FIFO and SCHED_RR.
    struct sched_attr { u32 size, policy; u64 flags; s32 nice; u32 priority;
                        u64 runtime, deadline, period; }
    """
    attr = b"".join((
        (48).to_bytes(4, "little"),
        policy.to_bytes(4, "little"),
        flags.to_bytes(8, "little"),
        nice.to_bytes(4, "little", signed=True),
        priority.to_bytes(4, "little"),
        *(value.to_bytes(8, "little") for value in (runtime, deadline, period)),
    ))  # fmt: skip
    kernel.call("sched_setattr", kernel.number(314, 274), pid, attr, 0)


def set_io_priority(class_: int, value: int, *, pid: int = 0) -> None:
    """ioprio_set(2): I/O scheduling class (IO_CLASSES) and level, 0 highest to 7."""
    nr = kernel.number(251, 30)
    kernel.call("ioprio_set", nr, IOPRIO_WHO_PROCESS, pid, class_ << IOPRIO_CLASS_SHIFT | value)


def get_io_priority(*, pid: int = 0) -> tuple[int, int]:
    """ioprio_get(2): the (class, level) of a process."""
    value = kernel.call("ioprio_get", kernel.number(252, 31), IOPRIO_WHO_PROCESS, pid)
    return value >> IOPRIO_CLASS_SHIFT, value & ((1 << IOPRIO_CLASS_SHIFT) - 1)


def personality(persona: int = PERSONALITY_QUERY) -> int:
    """personality(2): set the execution domain (PER_*, ADDR_*); returns the one before."""
    return kernel.call("personality", kernel.number(135, 92), persona)


def set_memory_policy(mode: int, nodes: Iterable[int] = ()) -> None:
    """set_mempolicy(2): from which nodes memory is taken from now on; `mode` with its flags or-ed to it.

    EINVAL for a mode or flag that the kernel does not know, and where none of the nodes is there or allowed.
    """
    mask = 0
    for node in nodes:
        mask |= 1 << node
    words = mask.to_bytes((mask.bit_length() // 64 + 1) * 8, "little")
    # the kernel looks at one bit less than it is told of
    kernel.call("set_mempolicy", kernel.number(238, 237), mode, words if mask else 0, len(words) * 8 + 1 if mask else 0)


def get_memory_policy() -> tuple[int, set[int]]:
    """get_mempolicy(2): the caller's mode, with its flags, and its nodes.

    Writes a C int for the mode.
    """
    mode, nodes = bytearray(4), bytearray(_NODES // 8)
    nr = kernel.number(239, 236)
    kernel.call("get_mempolicy", nr, kernel.buffer(mode), kernel.buffer(nodes), _NODES, 0, 0)
    mask = int.from_bytes(nodes, "little")
    return int.from_bytes(mode, "little"), {node for node in range(_NODES) if mask >> node & 1}
