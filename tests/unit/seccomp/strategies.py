"""Random seccomp profiles, small enough to shrink well and near enough to the edges to matter."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from .bpf import EDGES

# Neighbours (0 to 4), a stretch, the last ones, holes around, names of nobody and of others.
NAMES = ("read", "write", "open", "close", "stat", "ioctl", "clone", "socket", "personality", "keyctl",
         "statx", "io_pgetevents", "rseq", "uretprobe", "pidfd_send_signal", "clone3", "file_setattr",
         "socketcall", "no_such_call")  # fmt: skip
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
