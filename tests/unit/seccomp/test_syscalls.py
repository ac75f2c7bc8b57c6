"""cloche.runtime.seccomp.syscalls: the table against the headers and against libseccomp."""

from __future__ import annotations

import os
import re

import pytest

from cloche.runtime.seccomp import syscalls

# From Linux 6.5 on; older headers do not have them. Written out once more, by number.
NEWER = {
    451: "cachestat", 452: "fchmodat2", 453: "map_shadow_stack", 454: "futex_wake", 455: "futex_wait",
    456: "futex_requeue", 457: "statmount", 458: "listmount", 459: "lsm_get_self_attr",
    460: "lsm_set_self_attr", 461: "lsm_list_modules", 462: "mseal", 463: "setxattrat", 464: "getxattrat",
    465: "listxattrat", 466: "removexattrat", 467: "open_tree_attr", 468: "file_getattr",
    469: "file_setattr",
}  # fmt: skip
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
