"""The compiler against libseccomp: the same profile through both, compared by executing the programs.

Where they are meant to differ is not compared: numbers above the highest one named, which get ENOSYS
from a default that refuses (runc puts that before libseccomp's program), and the version in the upper
half of ipc(2)'s first argument. Where libseccomp kills the thread for its ABI, we kill the process.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.amounts import some

from cloche.runtime.seccomp import compat, default, syscalls
from cloche.runtime.seccomp.compile import compile_filter
from cloche.runtime.seccomp.default import default_profile
from cloche.runtime.seccomp.docker import resolve_docker_profile

from .bpf import ABIS, ARM, AUDIT_ARCH, EDGES, I386, KILL_PROCESS, X32_BIT, Instruction, action, decode, run
from .strategies import ARCHITECTURES, COMPAT_NAMES, NAMES, arguments, arguments_near, conditions

pyseccomp = pytest.importorskip("pyseccomp", reason="needs pyseccomp and libseccomp2", exc_type=ImportError)

ADMIN = frozenset({"CAP_SYS_ADMIN", "CAP_SYS_CHROOT"})
HIGH = 1 << 32
OPTIMIZE = 8  # SCMP_FLTATR_CTL_OPTIMIZE: a binary tree


def too_new(name: str, arch: str) -> bool:
    """Whether libseccomp does not know a call. For its own machine it takes the number all the same."""
    return bool(pyseccomp.resolve_syscall(AUDIT_ARCH[arch], name) < 0)


def nobodys(name: str) -> bool:
    """Whether libseccomp knows no architecture with such a call."""
    return bool(pyseccomp.resolve_syscall(AUDIT_ARCH["x86_64"], name) == -1)


def theirs(document: dict[str, Any], arch: str) -> list[Instruction]:
    """What libseccomp makes of a profile, given to it the way runc does it."""
    fallback = action(document, "defaultAction", "defaultErrnoRet")
    native = AUDIT_ARCH[arch]
    made = pyseccomp.SyscallFilter(fallback)
    if made.exist_arch(native) is False:
        made.add_arch(native)
        made.remove_arch(AUDIT_ARCH["x86_64"])
    tokens = {"SCMP_ARCH_X86": I386, "SCMP_ARCH_X32": pyseccomp.Arch.X32, "SCMP_ARCH_ARM": ARM}
    listed = {tokens[name] for name in document.get("architectures", ()) if name in ABIS}
    for token in listed:
        made.add_arch(token)
    if listed:
        # As runc does it for long profiles. Without, libseccomp 2.5 forgets to load the number where the
        # first rule is about a call that only another ABI has.
        made.set_attr(OPTIMIZE, 2)
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
            if listed:  # by what libseccomp calls it, which may be a pseudo-number
                if nobodys(name):
                    continue
                nr = pyseccomp.resolve_syscall(AUDIT_ARCH["x86_64"], name)
            elif nr < 0 or (arch != "x86_64" and too_new(name, arch)):
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


@settings(deadline=None, max_examples=some(150))
@given(allowing(conditions).map(once_each) | allowing(equalities), st.lists(arguments, max_size=3))
def test_random_profiles(rules: list[dict[str, Any]], somewhere: list[tuple[int, ...]]) -> None:
    document = {"defaultAction": "SCMP_ACT_LOG", "syscalls": rules}
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


@pytest.mark.parametrize(
    "document",
    [
        conflict(("ALLOW", 1, "GT", HIGH + 3, 0), ("TRAP", 1, "GT", 5, 0)),
        conflict(("ALLOW", 1, "NE", 4, 0), ("TRAP", 1, "MASKED_EQ", 0xFFFFFFFF, 5)),
        conflict(("ALLOW", 1, "GE", HIGH, 0), ("TRAP", 1, "MASKED_EQ", HIGH + 6, HIGH + 6)),
    ],
)
def test_rules_that_disagree_on_32_bits(document: dict[str, Any]) -> None:
    document = {**document, "architectures": ["SCMP_ARCH_X86"]}
    both = (document, {**document, "syscalls": document["syscalls"][::-1]})
    programs = [decode(compile_filter(order).program) for order in both]
    programs += [theirs(order, "x86_64") for order in both]
    for value in (*range(8), HIGH + 5):
        assert len({run(code, 54, (0, value), I386) for code in programs}) == 1, value


def abis(document: dict[str, Any], arch: str) -> Iterator[tuple[str, int, dict[str, int]]]:
    """The ABIs that a profile lets in: name, AUDIT_ARCH, numbers."""
    yield arch, AUDIT_ARCH[arch], {name: nr for name, nr in syscalls.numbers(arch).items() if nr >= 0}
    for listed in document["architectures"]:
        if listed in ABIS:
            abi, audit_arch = ABIS[listed]
            yield abi, audit_arch, compat.numbers(abi)


def same(ours: int, libseccomps: int) -> bool:
    """Whether two actions are the same; a call through an ABI that is not let in kills either way."""
    return ours == libseccomps or (ours, libseccomps) == (KILL_PROCESS, 0)


# Not those that are newer than libseccomp, and not those that others are made through: where a rule for
# one of them meets what is made through it, libseccomp merges the two. write cannot be notified of.
KNOWN = [
    name
    for name in COMPAT_NAMES
    if name not in {"socketcall", "ipc", "write"} and not nobodys(name)
]  # fmt: skip


@settings(deadline=None, max_examples=some(120))
@given(st.data(), st.sampled_from(("SCMP_ACT_LOG", "SCMP_ACT_TRACE")), st.lists(arguments, max_size=2))
@pytest.mark.parametrize("arch", syscalls.ARCHITECTURES)
def test_every_number_of_every_abi(
    arch: str, data: st.DataObject, fallback: str, somewhere: list[tuple[int, ...]]
) -> None:
    some = st.builds(
        lambda names, action, args: {"names": names, "action": f"SCMP_ACT_{action}", "args": args},
        st.lists(st.sampled_from(KNOWN), min_size=1, max_size=6),
        st.sampled_from(("ALLOW", "ERRNO", "TRAP", "KILL_PROCESS", "KILL_THREAD", "NOTIFY")),
        st.lists(conditions, max_size=3, unique_by=lambda condition: condition["index"]),
    )
    rules = once_each(data.draw(st.lists(some, min_size=1, max_size=6)))
    document: dict[str, Any] = {
        "defaultAction": fallback,
        "syscalls": [*rules, {"names": ["write"], "action": "SCMP_ACT_ALLOW"}],
        "architectures": data.draw(st.lists(st.sampled_from(ARCHITECTURES[arch]), unique=True)),
        "listenerPath": "/run/agent",
    }
    our_code, their_code = decode(compile_filter(document, arch).program), theirs(document, arch)
    lists = [(), *somewhere, *arguments_near(document), *((at,) for at in (1, 5, 12, 20, 23))]
    for name, audit_arch, table in abis(document, arch):
        named = {table[call] for rule in rules for call in rule["names"] if call in table}
        bit = X32_BIT if name == "x32" else 0
        for nr in {*range(bit, bit + 600), 0xF0001, 0xF0005, 0xF0006, X32_BIT - 1, *named}:
            for args in lists if nr in {*named, 102, 117} else [()]:
                if audit_arch == I386 and nr == 117 and args and (args[0] & 0xFFFFFFFF) >> 16:
                    continue
                ours, libseccomps = run(our_code, nr, args, audit_arch), run(their_code, nr, args, audit_arch)
                assert same(ours, libseccomps), (name, nr, args)
    for audit_arch in {*AUDIT_ARCH.values(), I386, ARM}:
        for nr in (3, X32_BIT + 3, 0xFFFFFFFF, 0xFFFFFFFE):
            assert same(run(our_code, nr, (), audit_arch), run(their_code, nr, (), audit_arch)), (audit_arch, nr)


PODMANS = "/usr/share/containers/seccomp.json"


@pytest.mark.skipif(not os.path.exists(PODMANS), reason="needs podman's default profile (containers-common)")
@pytest.mark.parametrize("capabilities", [frozenset(), ADMIN], ids=["none", "admin"])
@pytest.mark.parametrize("arch", syscalls.ARCHITECTURES)
def test_podmans_default_profile(arch: str, capabilities: frozenset[str]) -> None:
    with open(PODMANS) as file:
        document = resolve_docker_profile(json.load(file), capabilities, arch, (6, 1))
    assert set(ARCHITECTURES[arch]) <= set(document["architectures"])
    compiled = compile_filter(document, arch)
    assert not compiled.warnings
    our_code, their_code = decode(compiled.program), theirs(document, arch)
    assert len(our_code) < len(their_code)
    conditional = {name for rule in document["syscalls"] if rule.get("args") for name in rule["names"]}
    values = (0, 1, 2, 9, 16, 17, 38, 40, 0x20000, 0x20008, 0x10000000, 0xFFFFFFFF, HIGH, HIGH + 16, HIGH + 40)
    lists = [(first, second, third) for first in values for second in (0, HIGH) for third in (0, 9, HIGH + 9)]
    for name, audit_arch, table in abis(document, arch):
        new = {nr for call, nr in table.items() if nobodys(call)}
        new |= {table["sync_file_range2"]} if name == "arm" else set()  # the same as arm_sync_file_range
        special = {table[call] for call in conditional if call in table}
        bit = X32_BIT if name == "x32" else 0
        compared = 0
        for nr in {*range(bit, bit + 600), *table.values()} - new:
            for args in lists if nr in special else [(), (HIGH, 1, 2)]:
                assert run(our_code, nr, args, audit_arch) == run(their_code, nr, args, audit_arch), (name, nr, args)
                compared += 1
        assert compared > 1000
