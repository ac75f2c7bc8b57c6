"""cloche.runtime.seccomp.compile: what compiled programs decide, and what profiles are refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.amounts import some

from cloche.errors import SpecError
from cloche.linux import seccomp
from cloche.runtime.seccomp import compat, syscalls, vocabulary
from cloche.runtime.seccomp.compile import compile_filter

from .bpf import ABIS, ARM, AUDIT_ARCH, EDGES, ERRNO, I386, KILL_PROCESS, X32_BIT, decode, run, unreached, verdict
from .strategies import ARCHITECTURES, arguments, arguments_near, compat_profiles, profiles, values

ALLOW, USER_NOTIF, TRAP = 0x7FFF0000, 0x7FC00000, 0x00030000
EPERM, ENOSYS = ERRNO | 1, ERRNO | 38


def rule(name: str, action: str = "ALLOW", *args: tuple[int, str, int, int], **more: Any) -> dict[str, Any]:
    conditions = [
        {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": second}
        for index, op, value, second in args
    ]
    return {"names": name.split(), "action": f"SCMP_ACT_{action}", "args": conditions, **more}


def profile(*rules: dict[str, Any], default: str = "ERRNO", **more: Any) -> dict[str, Any]:
    return {"defaultAction": f"SCMP_ACT_{default}", "syscalls": list(rules), **more}


def decide(document: dict[str, Any], nr: int, *args: int, **how: Any) -> int:
    return run(decode(compile_filter(document, **how).program), nr, args)


@settings(deadline=None, max_examples=some(250))
@given(profiles, st.sampled_from(("x86_64", "aarch64")), st.lists(arguments, max_size=3))
def test_a_program_decides_what_the_profile_says(
    document: dict[str, Any], arch: str, somewhere: list[tuple[int, ...]]
) -> None:
    code = decode(compile_filter(document, arch).program)
    assert not unreached(code)
    named = [syscalls.numbers(arch).get(name, -1) for entry in document["syscalls"] for name in entry["names"]]
    numbers = {at + step for at in (0, 469, *named) for step in (-1, 0, 1)}
    numbers |= {336, 423, 1000, 0x3FFFFFFF, 0x40000000, 0x40000001, -2}
    lists = [(), *somewhere, *arguments_near(document)]
    for nr in numbers:
        for args in lists:
            got = run(code, nr, args, AUDIT_ARCH[arch])
            assert got == verdict(document, nr, args, arch), (nr, args)
    assert run(code, 0, (), I386) == KILL_PROCESS


@settings(deadline=None, max_examples=some(200))
@given(st.sampled_from(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")), values, values, values)
def test_every_comparison_on_64_bits(op: str, value: int, second: int, have: int) -> None:
    document = profile(rule("read", "ALLOW", (3, op, value, second)))
    code = decode(compile_filter(document).program)
    near = {(base + step) % 2**64 for base in (have, value, second & value) for step in (-1, 0, 1, 1 << 32)}
    for argument in near | set(EDGES):
        assert run(code, 0, (0, 0, 0, argument)) == verdict(document, 0, (0, 0, 0, argument))


def test_another_abi_is_killed_and_so_is_x32() -> None:
    code = decode(compile_filter(profile(default="ALLOW")).program)
    assert run(code, 1) == ALLOW
    assert run(code, 1, (), I386) == KILL_PROCESS
    assert run(code, 1, (), AUDIT_ARCH["aarch64"]) == KILL_PROCESS
    assert run(code, X32_BIT - 1) == ALLOW
    assert run(code, X32_BIT) == run(code, X32_BIT + 1) == run(code, -2) == KILL_PROCESS
    assert run(code, -1) == ALLOW  # how a tracer skips a call
    hidden = decode(compile_filter(profile(default="ALLOW"), hide_x32=True).program)
    assert (run(hidden, 1), run(hidden, X32_BIT + 1), run(hidden, -1)) == (ALLOW, ENOSYS, ENOSYS)


@settings(deadline=None, max_examples=some(80))
@given(st.data(), st.lists(arguments, max_size=2), st.booleans())
@pytest.mark.parametrize("arch", syscalls.ARCHITECTURES)
def test_every_abi_decides_by_its_own_numbers(
    arch: str, data: st.DataObject, somewhere: list[tuple[int, ...]], hide_x32: bool
) -> None:
    document = data.draw(compat_profiles(arch))
    compiled = compile_filter(document, arch, hide_x32=hide_x32)
    code = decode(compiled.program)
    assert not unreached(code)
    lists = {(), *somewhere, *arguments_near(document), *((at,) for at in (1, 5, 12, 20, 23, 0x10001))}
    for abi, audit_arch in [(arch, AUDIT_ARCH[arch]), *ABIS.values()]:
        table = syscalls.numbers(arch) if abi == arch else compat.numbers(abi)
        named = [table.get(name, -1) for entry in document["syscalls"] for name in entry["names"]]
        numbers = {at + step for at in (0, 469, *named) for step in (0, 1)} | {102, 117}
        for nr in numbers | {0xF0000, 0xF0005, 0xF0007, X32_BIT - 1, X32_BIT, X32_BIT + 600, -2}:
            for args in lists:
                want = verdict(document, nr, args, arch, audit_arch, hide_x32=hide_x32)
                assert run(code, nr, args, audit_arch) == want, (abi, nr, args)


def test_32_bit_programs_are_let_in_where_the_profile_says_so() -> None:
    document = profile(rule("getpid chown32 rt_sigaction"), default="KILL", architectures=[*ARCHITECTURES["x86_64"]])
    code = decode(compile_filter(document).program)
    wanted = {39: ALLOW, 20: 0, 212: ENOSYS, 13: ALLOW, 174: ENOSYS}
    wanted |= {X32_BIT + 39: ALLOW, X32_BIT + 13: 0, X32_BIT + 512: ALLOW, X32_BIT + 513: ENOSYS, 0xFFFFFFFF: ENOSYS}
    assert {nr: run(code, nr) for nr in wanted} == wanted
    assert [run(code, nr, (), I386) for nr in (20, 212, 174, 39, 213)] == [ALLOW, ALLOW, ALLOW, 0, ENOSYS]
    document["architectures"] = ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    code = decode(compile_filter(document, "aarch64").program)
    assert [run(code, nr, (), ARM) for nr in (20, 212, 174, 39)] == [ALLOW, ALLOW, ALLOW, 0]
    assert run(code, 20, (), I386) == KILL_PROCESS


def test_architectures_of_other_machines_are_no_mistake() -> None:
    plain = compile_filter(profile(default="ALLOW"))
    given = compile_filter(profile(default="ALLOW", architectures=["SCMP_ARCH_ARM", "SCMP_ARCH_S390X"]))
    assert (given.program, given.warnings) == (plain.program, [])


def test_values_are_cut_to_what_a_32_bit_register_holds() -> None:
    document = profile(
        rule("read", "ALLOW", (0, "EQ", 0x1_0000_0005, 0)), rule("write", "ALLOW", (1, "GT", 0xF_0000_0007, 0)),
        rule("open", "ALLOW", (2, "MASKED_EQ", 0xFF_0000_00F0, 0xAB_0000_0050)),
        architectures=["SCMP_ARCH_X86"],
    )  # fmt: skip
    code = decode(compile_filter(document).program)
    assert run(code, 3, (5,), I386) == run(code, 4, (0, 8), I386) == run(code, 5, (0, 0, 0x35F), I386) == ALLOW
    assert run(code, 3, (6,), I386) == run(code, 4, (0, 7), I386) == run(code, 5, (0, 0, 0x36F), I386) == EPERM
    assert run(code, 0, (5,)) == run(code, 1, (0, 8)) == run(code, 2, (0, 0, 0x50)) == EPERM
    assert run(code, 0, (0x1_0000_0005,)) == ALLOW


def test_sockets_and_ipc_through_one_call() -> None:
    allowed = profile(rule("socket", "ALLOW", (0, "NE", 40, 0)), rule("shmget accept"), architectures=["SCMP_ARCH_X86"])
    compiled = compile_filter(allowed)
    code = decode(compiled.program)
    assert [run(code, 102, (at,), I386) for at in (1, 2, 5)] == [ALLOW, EPERM, ALLOW]
    assert [run(code, 117, (at,), I386) for at in (23, 24, 0x10017)] == [ALLOW, EPERM, ALLOW]
    assert [run(code, 359, (at,), I386) for at in (39, 40)] == [ALLOW, EPERM]
    assert compiled.warnings == [
        "the seccomp profile's conditions for socket do not hold for 32-bit programs that call it through socketcall, "
        "where its arguments cannot be seen"
    ]
    for closed in (rule("socketcall", "ERRNO", errnoRet=38), rule("socketcall")):
        both = {**allowed, "syscalls": [*allowed["syscalls"], closed]}
        compiled = compile_filter(both)
        assert run(decode(compiled.program), 102, (1,), I386) in {ENOSYS, ALLOW}
        assert run(decode(compiled.program), 102, (1,), I386) == run(decode(compiled.program), 102, (9,), I386)
        assert not compiled.warnings


def test_the_stricter_of_two_rules_counts_where_their_difference_cannot_be_seen() -> None:
    rules = [rule("socket", "ALLOW", (0, "NE", 40, 0)), rule("socket", "ERRNO", (0, "EQ", 40, 0), errnoRet=22)]
    for order in (rules, rules[::-1]):
        code = decode(compile_filter(profile(*order, default="LOG", architectures=["SCMP_ARCH_X86"])).program)
        assert run(code, 102, (1,), I386) == ERRNO | 22


def test_arms_own_calls_say_nothing_about_newer_ones() -> None:
    document = profile(rule("set_tls"), rule("read", "LOG"), architectures=["SCMP_ARCH_ARM"])
    code = decode(compile_filter(document, "aarch64").program)
    assert [run(code, nr, (), ARM) for nr in (3, 2, 4, 0xF0004, 0xF0005, 0xF0006)] == [
        0x7FFC0000, EPERM, ENOSYS, ENOSYS, ALLOW, ENOSYS,
    ]  # fmt: skip


def test_unknown_names_are_left_out_and_told_and_foreign_ones_are_neither() -> None:
    compiled = compile_filter(profile(rule("read not_a_call socketcall"), rule("umount2 nor_this", "KILL")))
    assert compiled.unknown == ["not_a_call", "nor_this"]
    assert run(decode(compiled.program), 0) == ALLOW


def test_an_unconditional_rule_swallows_the_others_wherever_it_stands() -> None:
    narrow = rule("read", "TRAP", (0, "EQ", 5, 0))
    for order in ((narrow, rule("read")), (rule("read"), narrow), (rule("read"), rule("read", "KILL"))):
        assert decide(profile(*order), 0, 5) == ALLOW


def test_a_rule_with_the_default_action_is_no_rule() -> None:
    document = profile(rule("read", "ERRNO"), rule("read", "ALLOW", (0, "EQ", 5, 0)))
    assert (decide(document, 0, 5), decide(document, 0, 6)) == (ALLOW, EPERM)


def test_an_argument_named_twice_makes_two_rules() -> None:
    document = profile(rule("write", "ALLOW", (0, "GE", 10, 0), (0, "LE", 5, 0), (1, "EQ", 7, 0)))
    results = [decide(document, 1, first, second) for first, second in ((3, 0), (12, 0), (7, 0), (7, 7))]
    assert results == [ALLOW, ALLOW, EPERM, ALLOW]


def test_bits_outside_the_mask_are_not_compared() -> None:
    assert decide(profile(rule("read", "ALLOW", (0, "MASKED_EQ", 0xF0, 0xFF))), 0, 0x1F3) == ALLOW


@pytest.mark.parametrize(
    ("default", "errno", "hole", "above"),
    [("ERRNO", None, EPERM, ENOSYS), ("ERRNO", 38, ENOSYS, ENOSYS), ("ERRNO", 13, ERRNO | 13, ENOSYS),
     ("TRAP", None, TRAP, ENOSYS), ("KILL_PROCESS", None, KILL_PROCESS, ENOSYS), ("KILL", None, 0, ENOSYS),
     ("ALLOW", None, ALLOW, ALLOW), ("LOG", None, 0x7FFC0000, 0x7FFC0000), ("TRACE", 7, 0x7FF00007, 0x7FF00007)],
)  # fmt: skip
def test_numbers_the_author_could_not_know_are_not_there(
    default: str, errno: int | None, hole: int, above: int
) -> None:
    more = {} if errno is None else {"defaultErrnoRet": errno}
    document = profile(rule("read", "LOG"), rule("clone3", "TRACE"), default=default, **more)
    assert (decide(document, 2), decide(document, 400), decide(document, 434)) == (hole, hole, hole)
    assert (decide(document, 436), decide(document, 5000)) == (above, above)


def test_no_rules_at_all_mean_the_default_everywhere() -> None:
    assert decide(profile(default="ERRNO"), 500) == EPERM
    compiled = compile_filter({"defaultAction": "SCMP_ACT_ALLOW"}, "aarch64")
    assert compiled.instructions == 4


def test_jumps_further_than_255_instructions() -> None:
    names = [name for name, nr in syscalls.numbers("x86_64").items() if nr >= 0][:340]
    rules = [
        rule(name, "ERRNO", (at % 6, "EQ", at << 20, 0), (5 - at % 6, "GT", at, 0), errnoRet=at % 50)
        for at, name in enumerate(names)
    ]
    document = profile(*rules, default="ALLOW")
    compiled = compile_filter(document)
    code = decode(compiled.program)
    assert 2000 < compiled.instructions <= 4096
    for at, name in enumerate(names):
        args = [0] * 6
        args[at % 6], args[5 - at % 6] = at << 20, at + 1
        nr = syscalls.number(name, "x86_64")
        for probe in (tuple(args), (1 << 40,) * 6):
            assert run(code, nr, probe) == verdict(document, nr, probe)


def test_one_call_with_very_many_values() -> None:
    document = profile(*(rule("ioctl", "ALLOW", (1, "EQ", 3 * at, 0)) for at in range(700)))
    code = decode(compile_filter(document).program)
    assert all(run(code, 16, (0, at)) == verdict(document, 16, (0, at)) for at in (*range(9), *range(9, 2110, 53)))


def test_a_program_that_is_too_long_for_the_kernel() -> None:
    document = profile(*(rule("ioctl", "ALLOW", (1, "EQ", 3 * at << 32, 0)) for at in range(2500)))
    with pytest.raises(SpecError, match="4096"):
        compile_filter(document)


def test_refusals_can_be_handed_to_a_supervisor() -> None:
    document = profile(
        rule("read write"),
        rule("mount", "ERRNO"),
        rule("clone3", "ERRNO", errnoRet=38),
        rule("ioctl", "ERRNO", (1, "EQ", 5, 0), errnoRet=1),
        rule("ioctl", "ALLOW", (1, "GE", 0, 0)),
        rule("socket", "ERRNO", errnoRet=22),
        rule("file_setattr"),
        defaultErrnoRet=38,
    )
    compiled = compile_filter(document, notify_denied=True)
    code = decode(compiled.program)
    assert compiled.refusals == {165: 1, 16: 1}
    assert compiled.listener
    assert compiled.flags & vocabulary.FLAG_NEW_LISTENER
    assert [run(code, nr) for nr in (0, 165, 435, 41, 400, 16)] == [
        ALLOW, USER_NOTIF, ENOSYS, ERRNO | 22, ENOSYS, ALLOW,
    ]  # fmt: skip
    assert run(code, 16, (0, 5)) == USER_NOTIF
    plain = compile_filter(document)
    assert not plain.refusals
    assert not plain.listener


def test_a_default_of_eperm_is_reported_for_calls_that_exist() -> None:
    compiled = compile_filter(profile(rule("read"), rule("clone3", "LOG")), notify_denied=True)
    code = decode(compiled.program)
    assert [run(code, nr) for nr in (0, 1, 400, 435, 436)] == [ALLOW, USER_NOTIF, EPERM, 0x7FFC0000, ENOSYS]
    assert compiled.refusals[165] == 1
    assert 400 not in compiled.refusals


def test_a_profile_with_its_own_listener() -> None:
    document = profile(rule("mkdir", "NOTIFY"), rule("mount", "ERRNO"), default="ALLOW", listenerPath="/run/s")
    compiled = compile_filter(document, notify_denied=True)
    assert compiled.listener
    assert not compiled.refusals
    assert len(compiled.warnings) == 1
    code = decode(compiled.program)
    assert (run(code, 83), run(code, 165)) == (USER_NOTIF, EPERM)


def test_a_listener_that_cannot_be_sent_goes_by_its_number() -> None:
    def by_number(*rules: dict[str, Any], default: str = "ERRNO") -> bool:
        return compile_filter(profile(rule("mkdir", "NOTIFY"), *rules, default=default, listenerPath="/s")).by_number

    assert not by_number(default="ALLOW")
    assert not by_number(rule("sendmsg", "LOG"))
    assert by_number(rule("write"))
    assert by_number(rule("sendmsg", "NOTIFY"), default="ALLOW")
    assert by_number(rule("sendmsg", "KILL", (0, "EQ", 7, 0)), default="ALLOW")
    assert not compile_filter(profile(rule("write"))).by_number


def test_flags() -> None:
    def flags(*names: str) -> int:
        given = ["SECCOMP_FILTER_FLAG_" + name for name in names]
        return compile_filter(profile(default="ALLOW", flags=given)).flags

    assert compile_filter(profile(default="ALLOW")).flags == seccomp.FLAG_SPEC_ALLOW
    assert flags() == 0
    assert flags("TSYNC", "LOG", "SPEC_ALLOW") == seccomp.FLAG_LOG | seccomp.FLAG_SPEC_ALLOW
    assert flags("WAIT_KILLABLE_RECV") == 0  # EINVAL without a listener
    listening = profile(rule("mkdir", "NOTIFY"), default="ALLOW", listenerPath="/run/s")
    listening["flags"] = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
    assert compile_filter(listening).flags == seccomp.FLAG_WAIT_KILLABLE_RECV | seccomp.FLAG_NEW_LISTENER


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({}, "/defaultAction"),
        (profile(default="MAYBE"), "/defaultAction"),
        (profile(default="NOTIFY"), "/defaultAction"),
        (profile(default="ALLOW", defaultErrnoRet=1), "/defaultErrnoRet"),
        (profile(rule("read", "ALLOW", errnoRet=1)), "/syscalls/0/errnoRet"),
        (profile(rule("read", "KILL", errnoRet=0)), "/syscalls/0/errnoRet"),
        (profile(rule("read", "ERRNO", errnoRet=4096)), "/syscalls/0/errnoRet"),
        (profile(rule("read", "ERRNO", errnoRet=-1)), "/syscalls/0/errnoRet"),
        (profile(rule("read", "ERRNO", errnoRet=True)), "/syscalls/0/errnoRet"),
        (profile(rule("read", "TRACE", errnoRet=65536)), "/syscalls/0/errnoRet"),
        (profile(rule("read"), rule("")), "/syscalls/1/names"),
        (profile({"names": ["read"]}), "/syscalls/0/action"),
        (profile({"names": ["read", ""], "action": "SCMP_ACT_LOG"}), "/syscalls/0/names"),
        (profile({"names": [["read"]], "action": "SCMP_ACT_LOG"}), "/syscalls/0/names"),
        (profile(rule("read", "ALLOW", (6, "EQ", 0, 0))), "/syscalls/0/args/0/index"),
        (profile(rule("read", "ALLOW", (0, "EQ", 0, 0), (1, "EQ", -1, 0))), "/syscalls/0/args/1/value"),
        (profile(rule("read", "ALLOW", (0, "EQ", 0, 1 << 64))), "/syscalls/0/args/0/valueTwo"),
        (profile(rule("read", "ALLOW", (0, "LIKE", 0, 0))), "/syscalls/0/args/0/op"),
        (profile({"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"op": []}]}), "/syscalls/0/args/0/op"),
        (profile({"names": ["read"], "action": "SCMP_ACT_LOG", "args": {"index": 0}}), "/syscalls/0/args"),
        (profile({"names": ["read"], "action": "SCMP_ACT_LOG", "args": ["x"]}), "/syscalls/0/args/0"),
        (profile(rule("read", includes={"caps": ["CAP_CHOWN"]})), "/syscalls/0"),
        (profile(archMap=[]), "/archMap"),
        ({"defaultAction": "SCMP_ACT_LOG", "syscalls": "read"}, "/syscalls"),
        (profile("read"), "/syscalls/0"),  # type: ignore[arg-type]
        (profile(architectures=["SCMP_ARCH_VAX"]), "/architectures"),
        (profile(architectures=[1]), "/architectures"),
        (profile(flags=["SECCOMP_FILTER_FLAG_FAST"]), "/flags"),
        (profile(rule("mkdir", "NOTIFY")), "/listenerPath"),
        (profile(rule("write", "NOTIFY"), listenerPath="/s"), "/syscalls"),
        (profile(rule("write", "NOTIFY", (0, "EQ", 1, 0)), listenerPath="/s"), "/syscalls"),
        (profile(rule("mkdir", "NOTIFY"), rule("read"), listenerPath="/s"), "/syscalls"),
        (profile(rule("sendmsg", "NOTIFY"), rule("write", "LOG", (0, "EQ", 1, 0)), listenerPath="/s"), "/syscalls"),
        (profile(listenerMetadata="x"), "/listenerMetadata"),
    ],
)
def test_what_is_refused(document: dict[str, Any], pointer: str) -> None:
    with pytest.raises(SpecError) as caught:
        compile_filter(document)
    assert caught.value.pointer == f"/linux/seccomp{pointer}"


def test_an_architecture_without_numbers() -> None:
    with pytest.raises(SpecError, match="riscv64"):
        compile_filter(profile(), "riscv64")


def test_the_constants_are_the_kernels() -> None:
    for name in ("KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "USER_NOTIF", "TRACE", "LOG", "ALLOW"):
        assert getattr(vocabulary, name) == getattr(seccomp, f"RET_{name}")
    assert vocabulary.FLAG_NEW_LISTENER == seccomp.FLAG_NEW_LISTENER
    assert vocabulary.AUDIT_ARCH == {"x86_64": seccomp.AUDIT_ARCH_X86_64, "aarch64": seccomp.AUDIT_ARCH_AARCH64}
    assert vocabulary.COMPAT_AUDIT_ARCH == {"i386": seccomp.AUDIT_ARCH_I386, "arm": seccomp.AUDIT_ARCH_ARM}
    assert vocabulary.X32_BIT == compat.X32_BIT == seccomp.X32_SYSCALL_BIT
