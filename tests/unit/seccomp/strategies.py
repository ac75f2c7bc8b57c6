"""Random seccomp profiles, small enough to shrink well and near enough to the edges to matter."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from .bpf import EDGES

# Neighbours (0 to 4), a stretch, the last ones, holes around, names of nobody and of others.
NAMES = ("read", "write", "open", "close", "stat", "ioctl", "clone", "socket", "personality", "keyctl",
         "statx", "io_pgetevents", "rseq", "uretprobe", "pidfd_send_signal", "clone3", "file_setattr",
         "socketcall", "no_such_call")  # fmt: skip
# Other numbers on other ABIs, or no number there, or one call for many.
COMPAT_NAMES = (*NAMES, "chown32", "mmap2", "rt_sigaction", "preadv2", "bind", "accept", "recv", "sendmmsg", "ipc",
                "shmget", "semop", "msgrcv", "set_tls", "arm_fadvise64_64", "clock_gettime64", "umount", "uselib",
                "restart_syscall", "io_setup")  # fmt: skip
ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")

values = st.sampled_from(EDGES) | st.integers(0, 2**64 - 1)


def actions(key: str, errno_key: str) -> st.SearchStrategy[dict[str, Any]]:
    names = ("ALLOW", "LOG", "TRAP", "KILL", "KILL_PROCESS", "KILL_THREAD")
    plain = st.sampled_from(names).map(lambda name: {key: f"SCMP_ACT_{name}"})
    numbered = st.builds(
        lambda name, errno: {key: f"SCMP_ACT_{name}", errno_key: errno},
        st.sampled_from(("ERRNO", "TRACE")),
        st.sampled_from((0, 1, 38, 4095)),
    )
    return plain | numbered


conditions = st.builds(
    lambda index, op, value, second: {
        "index": index,
        "op": f"SCMP_CMP_{op}",
        "value": value,
        "valueTwo": second,
    },
    st.integers(0, 2) | st.just(5),
    st.sampled_from(OPERATORS),
    values,
    values,
)
rules = st.builds(
    lambda names, action, args: {"names": names, **action, "args": args},
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=5),
    actions("action", "errnoRet"),
    st.lists(conditions, max_size=3),
)
profiles = st.builds(
    lambda default, entries: {**default, "syscalls": entries},
    actions("defaultAction", "defaultErrnoRet"),
    st.lists(rules, max_size=8),
)
compat_rules = st.builds(
    lambda names, action, args: {"names": names, **action, "args": args},
    st.lists(st.sampled_from(COMPAT_NAMES), min_size=1, max_size=6),
    actions("action", "errnoRet"),
    st.lists(conditions, max_size=3),
)


def compat_profiles(arch: str) -> st.SearchStrategy[dict[str, Any]]:
    """Profiles that let some of the ABIs of `arch` in, and some of others."""
    foreign = ("SCMP_ARCH_S390X", "SCMP_ARCH_ARM" if arch == "x86_64" else "SCMP_ARCH_X86")
    return st.builds(
        lambda default, entries, listed: {**default, "syscalls": entries, "architectures": listed},
        actions("defaultAction", "defaultErrnoRet"),
        st.lists(compat_rules, max_size=8),
        st.lists(st.sampled_from((*ARCHITECTURES[arch], *foreign))),
    )


arguments = st.tuples(*[st.sampled_from(EDGES)] * 6)


def arguments_near(profile: dict[str, Any]) -> list[tuple[int, ...]]:
    """Argument lists on and beside the values the profile compares with."""
    near = []
    for rule in profile["syscalls"]:
        exact = [0] * 6
        for condition in rule.get("args", ()):
            value = condition["value"]
            if condition["op"] == "SCMP_CMP_MASKED_EQ":
                value &= condition["valueTwo"]
            exact[condition["index"]] = value
        for step in (0, 1, -1, 1 << 32, -(1 << 32)):
            near.append(tuple((value + step) % 2**64 for value in exact))
            near.append((near[-1][0], *exact[1:]))
    return near
