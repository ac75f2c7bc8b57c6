"""The compiler against libseccomp: the same profile through both, compared by executing the programs.

Where they are meant to differ is not compared: other ABIs (libseccomp kills the thread), x32, and
numbers above the highest one named, which get ENOSYS from a default of EPERM.
"""

from __future__ import annotations

import tempfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.runtime.seccomp import default, syscalls
from cloche.runtime.seccomp.compile import compile_filter
from cloche.runtime.seccomp.default import default_profile

from .bpf import AUDIT_ARCH, EDGES, Instruction, action, decode, run
from .strategies import NAMES, arguments, arguments_near, conditions

pyseccomp = pytest.importorskip("pyseccomp", reason="needs pyseccomp and libseccomp2", exc_type=ImportError)

ADMIN = frozenset({"CAP_SYS_ADMIN", "CAP_SYS_CHROOT"})
HIGH = 1 << 32


def too_new(name: str, arch: str) -> bool:
    """Whether libseccomp does not know a call. For its own machine it takes the number all the same."""
    return bool(pyseccomp.resolve_syscall(AUDIT_ARCH[arch], name) < 0)


def theirs(document: dict[str, Any], arch: str) -> list[Instruction]:
    """What libseccomp makes of a profile, given to it the way runc does it."""
    fallback = action(document, "defaultAction", "defaultErrnoRet")
    native = AUDIT_ARCH[arch]
    made = pyseccomp.SyscallFilter(fallback)
    if made.exist_arch(native) is False:
        made.add_arch(native)
    for entry in document["syscalls"]:
        if action(entry) == fallback:
            continue
        comparisons = [
            pyseccomp.Arg(
                condition["index"],
                getattr(pyseccomp, condition["op"].removeprefix("SCMP_CMP_")),
                condition["value"],
                condition.get("valueTwo", 0),
            )
            for condition in entry.get("args", ())
        ]
        for name in entry["names"]:
            nr = syscalls.numbers("x86_64").get(name, -1)
            if nr < 0 or (arch != "x86_64" and too_new(name, arch)):
                continue
            if len({condition["index"] for condition in entry.get("args", ())}) < len(comparisons):
                for comparison in comparisons:
                    made.add_rule(action(entry), nr, comparison)
            else:
                made.add_rule(action(entry), nr, *comparisons)
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return decode(file.read())


@pytest.mark.parametrize("arch", syscalls.ARCHITECTURES)
@pytest.mark.parametrize("capabilities", [frozenset(), ADMIN, default._MATTER], ids=["none", "admin", "all"])
def test_the_default_profile_means_the_same_to_libseccomp(arch: str, capabilities: frozenset[str]) -> None:
    document = default_profile(capabilities, arch)
    our_code = decode(compile_filter(document, arch).program)
    their_code = theirs(document, arch)
    values = (*EDGES, 8, 9, 16, 38, 39, 40, 0x5412, 0x541C, 0x20000, 0x20008, 0x10000000, HIGH + 38, HIGH + 0x5412)
    lists = [(first, second, third) for first in values for second in values for third in (0, 9, HIGH + 9)]
    conditional = {syscalls.number(name, arch) for name in default.CONDITIONAL}
    compared = 0
    for nr in range(600):
        name = syscalls.name(nr, arch)
        if arch != "x86_64" and name and too_new(name, arch):
            continue
        compared += 1
        for args in lists if nr in conditional else [(), (HIGH, 1, 2)]:
            assert run(our_code, nr, args, AUDIT_ARCH[arch]) == run(their_code, nr, args, AUDIT_ARCH[arch]), (nr, args)
    assert compared > 550
    assert len(our_code) < len(their_code)


def once_each(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rules, each call in the first that names it: libseccomp gets some merged ones wrong."""
    seen: set[str] = set()
    kept = []
    for entry in rules:
        names = [name for name in dict.fromkeys(entry["names"]) if name not in seen]
        seen.update(names)
        kept.append({**entry, "names": names or ["no_such_call"]})
    return kept


def allowing(args: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    rule = st.builds(
        lambda names, args: {"names": names, "action": "SCMP_ACT_ALLOW", "args": args},
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=4),
        st.lists(args, max_size=3, unique_by=lambda condition: condition["index"]),
    )
    return st.lists(rule, min_size=1, max_size=6)


equalities = conditions.filter(lambda condition: condition["op"] in ("SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"))


@settings(deadline=None, max_examples=150)
@given(allowing(conditions).map(once_each) | allowing(equalities), st.lists(arguments, max_size=3))
def test_random_profiles(rules: list[dict[str, Any]], somewhere: list[tuple[int, ...]]) -> None:
    document = {"defaultAction": "SCMP_ACT_TRAP", "syscalls": rules}
    our_code = decode(compile_filter(document).program)
    their_code = theirs(document, "x86_64")
    for name in {name for rule in rules for name in rule["names"]}:
        nr = max(syscalls.numbers("x86_64").get(name, 400), 0)
        for args in [(), *somewhere, *arguments_near(document)]:
            assert run(our_code, nr, args) == run(their_code, nr, args), (name, args)


def conflict(*rules: tuple[str, int, str, int, int]) -> dict[str, Any]:
    entries = [
        {"names": ["ioctl"], "action": f"SCMP_ACT_{action}",
         "args": [{"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": second}]}
        for action, index, op, value, second in rules
    ]  # fmt: skip
    return {"defaultAction": "SCMP_ACT_LOG", "syscalls": entries}


@pytest.mark.parametrize(
    "document",
    [
        conflict(("ALLOW", 0, "EQ", 5, 0), ("TRAP", 1, "EQ", 5, 0)),
        conflict(("ALLOW", 1, "EQ", 5, 0), ("TRAP", 0, "EQ", 5, 0)),
        conflict(("ALLOW", 1, "GE", 0, 0), ("TRAP", 1, "MASKED_EQ", 0xFFFFFFFF, 5)),
        conflict(("ALLOW", 1, "GE", 3, 0), ("TRAP", 1, "GT", 5, 0)),
        conflict(("ALLOW", 1, "LE", 9, 0), ("TRAP", 1, "MASKED_EQ", 0xFFFFFFFF, 5)),
        conflict(("ALLOW", 1, "NE", 7, 0), ("TRAP", 1, "EQ", 5, 0)),
        conflict(("ALLOW", 1, "GE", 3, 0), ("TRAP", 1, "GE", 5, 0)),
    ],
)
def test_rules_that_disagree(document: dict[str, Any]) -> None:
    both = (document, {**document, "syscalls": document["syscalls"][::-1]})
    programs = [decode(compile_filter(order).program) for order in both]
    programs += [theirs(order, "x86_64") for order in both]
    for first in range(8):
        for second in (*range(8), HIGH + 5):
            assert len({run(code, 16, (first, second)) for code in programs}) == 1, (first, second)
