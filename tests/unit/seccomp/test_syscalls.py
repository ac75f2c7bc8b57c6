"""cloche.runtime.seccomp.syscalls and compat: the tables against the headers and against libseccomp."""

from __future__ import annotations

import os
import re

import pytest

from cloche.runtime.seccomp import compat, syscalls

from .bpf import MULTIPLEXED, X32_BIT

# From Linux 6.5 on; older headers do not have them. Written out once more, by number.
NEWER = {
    451: "cachestat", 452: "fchmodat2", 453: "map_shadow_stack", 454: "futex_wake", 455: "futex_wait",
    456: "futex_requeue", 457: "statmount", 458: "listmount", 459: "lsm_get_self_attr",
    460: "lsm_set_self_attr", 461: "lsm_list_modules", 462: "mseal", 463: "setxattrat", 464: "getxattrat",
    465: "listxattrat", 466: "removexattrat", 467: "open_tree_attr", 468: "file_getattr",
    469: "file_setattr",
}  # fmt: skip
COMPAT_HEADERS = {
    "i386": ("unistd_32.h", r"#define __NR_(\w+) (\d+)\n"),
    "x32": ("unistd_x32.h", r"#define __NR_(\w+) \(__X32_SYSCALL_BIT \+ (\d+)\)\n"),
    "arm": ("unistd-eabi.h", r"#define __NR_(\w+) \(__NR_SYSCALL_BASE \+ (\d+)\)\n"),
}
INCLUDES = ("/usr/include/x86_64-linux-gnu/asm", "/usr/include/asm", "/usr/arm-linux-gnueabihf/include/asm")
X86_HEADERS = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h")
GENERIC_HEADER = "/usr/include/asm-generic/unistd.h"


def existing(arch: str) -> dict[str, int]:
    return {name: nr for name, nr in syscalls.numbers(arch).items() if nr >= 0}


@pytest.mark.parametrize("arch", syscalls.ARCHITECTURES)
def test_every_number_has_one_name(arch: str) -> None:
    table = existing(arch)
    assert len(set(table.values())) == len(table)
    assert all(syscalls.name(nr, arch) == name for name, nr in table.items())
    assert max(table.values()) == 469


@pytest.mark.parametrize("arch", syscalls.ARCHITECTURES)
def test_calls_since_linux_5_1_have_one_number_everywhere(arch: str) -> None:
    for nr, name in NEWER.items():
        assert syscalls.name(nr, arch) == name
    for name, nr in existing("x86_64").items():
        if nr >= 424:
            assert syscalls.number(name, arch) == nr


def test_some_numbers() -> None:
    wanted = {"read": (0, 63), "newfstatat": (262, 79), "lseek": (8, 62), "fcntl": (72, 25), "open": (2, -1),
              "kexec_file_load": (320, 294), "uretprobe": (335, -1), "uprobe": (336, -1), "chown32": (-1, -1),
              "sync_file_range": (277, 84), "renameat": (264, 38), "umount2": (166, 39)}  # fmt: skip
    for name, numbers in wanted.items():
        assert tuple(syscalls.number(name, arch) for arch in syscalls.ARCHITECTURES) == numbers
    with pytest.raises(KeyError):
        syscalls.number("no_such_call", "x86_64")
    with pytest.raises(KeyError):
        syscalls.numbers("vax")
    assert syscalls.name(400, "x86_64") is None


def test_the_header_of_x86_64() -> None:
    header = next(filter(os.path.exists, X86_HEADERS), None)
    if header is None:
        pytest.skip("needs the kernel's headers for x86_64 (linux-libc-dev)")
    with open(header) as file:
        defined = re.findall(r"#define __NR_(\w+) (\d+)\n", file.read())
    assert len(defined) > 300
    for name, nr in defined:
        # A header newer than the table may know more.
        assert int(nr) > 469 or syscalls.numbers("x86_64").get(name) == int(nr), name


def test_the_generic_header() -> None:
    if not os.path.exists(GENERIC_HEADER):
        pytest.skip("needs the kernel's generic headers (linux-libc-dev)")
    with open(GENERIC_HEADER) as file:
        lines = re.sub(r"\\\n", "", file.read())
    only_32_bits = re.search(r"#if [^\n]*__BITS_PER_LONG == 32\n#define __NR_clock_gettime64.*?#endif", lines, re.S)
    if only_32_bits:
        lines = lines.replace(only_32_bits[0], "")
    defined: dict[str, str] = dict(re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)\n", lines))
    aliases = {"fstatat": "newfstatat", "sync_file_range2": "sync_file_range"}
    for name, nr in defined.items():
        if name not in ("syscalls", "arch_specific_syscall") and int(nr) <= 469:
            known = aliases.get(name, name)
            assert syscalls.number(known, "aarch64") == int(nr), name


@pytest.mark.parametrize("arch", syscalls.ARCHITECTURES)
def test_libseccomp_has_the_same_numbers(arch: str) -> None:
    pyseccomp = pytest.importorskip("pyseccomp", reason="needs pyseccomp and libseccomp2", exc_type=ImportError)
    audit_arch = {"x86_64": pyseccomp.Arch.X86_64, "aarch64": pyseccomp.Arch.AARCH64}[arch]
    compared = 0
    for name, nr in existing(arch).items():
        theirs = pyseccomp.resolve_syscall(audit_arch, name)
        if theirs >= 0:  # else newer than this libseccomp
            assert theirs == nr, name
            compared += 1
    assert compared > 300


def test_names_from_elsewhere_are_not_here() -> None:
    for arch in syscalls.ARCHITECTURES:
        numbers = syscalls.numbers(arch)
        assert numbers["socketcall"] == numbers["_llseek"] == numbers["s390_pci_mmio_read"] == -1


@pytest.mark.parametrize("abi", compat.ABIS)
def test_the_headers_of_32_bit_abis(abi: str) -> None:
    file_name, pattern = COMPAT_HEADERS[abi]
    path = next(filter(os.path.exists, (f"{directory}/{file_name}" for directory in INCLUDES)), None)
    if path is None:
        pytest.skip(f"needs the kernel's {file_name} (linux-libc-dev, for arm linux-libc-dev-armhf-cross)")
    with open(path) as file:
        defined = {name: int(nr) for name, nr in re.findall(pattern, file.read())}
    assert len(defined) > 350
    bit = X32_BIT if abi == "x32" else 0
    table = compat.numbers(abi)
    for name, nr in defined.items():
        assert 469 < nr < 512 or table.get(name) == nr | bit, name
    newer = {name for name, nr in table.items() if nr & ~X32_BIT > max(nr for nr in defined.values() if nr < 512)}
    aside = {"breakpoint", "cacheflush", "usr26", "usr32", "set_tls", "get_tls", "sync_file_range2"}
    assert set(table) - set(defined) <= newer | (aside if abi == "arm" else set())


@pytest.mark.parametrize("abi", compat.ABIS)
def test_libseccomp_has_the_same_numbers_for_32_bit_abis(abi: str) -> None:
    pyseccomp = pytest.importorskip("pyseccomp", reason="needs pyseccomp and libseccomp2", exc_type=ImportError)
    token = {"i386": pyseccomp.Arch.X86, "x32": pyseccomp.Arch.X32, "arm": pyseccomp.Arch.ARM}[abi]
    table = compat.numbers(abi)
    through = {name for calls in MULTIPLEXED.values() for name in calls.values()}
    compared = 0
    names = {*table, *syscalls.numbers("x86_64")} - {"sync_file_range2"}  # an alias that libseccomp leaves out
    for name in names:
        theirs = pyseccomp.resolve_syscall(token, name)
        if abi == "i386" and name in through:
            assert theirs < 0  # a pseudo-number, from which its rules are made
        elif theirs != -1 or name not in table:  # else newer than this libseccomp
            assert table.get(name, -1) == max(theirs, -1), name
            compared += name in table
    assert compared > 350


def test_names_of_32_bit_abis_are_known() -> None:
    known = set(syscalls.numbers("x86_64"))
    for abi in compat.ABIS:
        assert set(compat.numbers(abi)) <= known
    assert compat.numbers("arm")["set_tls"] > compat.ARM_PRIVATE > compat.numbers("arm")["file_setattr"] == 469
    with pytest.raises(KeyError):
        compat.numbers("mips")


def test_what_i386_makes_through_one_call() -> None:
    wanted = {name: (nr, at) for nr, calls in MULTIPLEXED.items() for at, name in calls.items()}
    assert compat.multiplexed() == wanted
    assert compat.numbers("i386")["socketcall"] == 102
    assert compat.numbers("i386")["ipc"] == 117
