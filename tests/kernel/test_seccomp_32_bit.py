"""32-bit programs under a seccomp profile, in the running kernel: let in with their own numbers, or killed.

The program is a small ELF file made here: it calls mkdir(2) by i386's number,
39, which is getpid(2) to x86_64, and exits with the errno it got.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import struct
from pathlib import Path
from typing import Any

import pytest

from cloche.linux import kernel, process, seccomp
from cloche.runtime.seccomp.compile import compile_filter

from .forked import clone, ended, in_child

pytestmark = pytest.mark.skipif(kernel.MACHINE != "x86_64", reason="i386 is x86_64's sibling")

MKDIR = bytes.fromhex(
    "b827000000"  # mov eax, 39: mkdir
    "31db"  #       xor ebx, ebx: a path at address 0, so that it fails where it is allowed
    "31c9"  #       xor ecx, ecx
    "cd80"  #       int 0x80
    "f7d8"  #       neg eax
    "89c3"  #       mov ebx, eax
    "b801000000"  # mov eax, 1: exit
    "cd80"  #       int 0x80
)


def elf32(code: bytes) -> bytes:
    """A static executable for i386: ELF header, one segment, code."""
    base, headers = 0x08048000, 52 + 32
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    # ET_EXEC, EM_386, EV_CURRENT, entry, phoff, shoff, flags, ehsize, phentsize, phnum, shentsize, shnum, shstrndx
    header = ident + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + headers, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    size = headers + len(code)
    # PT_LOAD, offset, vaddr, paddr, filesz, memsz, PF_R | PF_X, align
    return header + struct.pack("<IIIIIIII", 1, 0, base, base, size, size, 5, 0x1000) + code


@pytest.fixture
def program(tmp_path: Path) -> str:
    """The program's path; skips where the kernel cannot run it."""
    path = tmp_path / "mkdir32"
    path.write_bytes(elf32(MKDIR))
    path.chmod(0o755)
    if under(None, str(path)) == (os.CLD_EXITED, 99):
        pytest.skip("this kernel runs no 32-bit programs (CONFIG_IA32_EMULATION)")
    return str(path)


def under(profile: dict[str, Any] | None, path: str) -> tuple[int, int]:
    """How the program ends under a profile: (CLD_* code, status); 99 when it could not be started."""

    def child() -> int:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if profile is not None:
            compiled = compile_filter(profile)
            process.set_no_new_privs()
            seccomp.load(compiled.program, compiled.flags)
        try:
            os.execv(path, [path])
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                os._exit(99)
            raise

    return in_child(lambda: ended(clone(0, child)[1]))


def refusing(**rule: Any) -> dict[str, Any]:
    rules = [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, **rule}]
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}


def test_it_runs_without_a_filter(program: str) -> None:
    assert under(None, program) == (os.CLD_EXITED, errno.EFAULT)


def test_it_is_killed_where_its_abi_is_not_listed(program: str) -> None:
    for profile in (refusing(), {**refusing(), "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]}):
        assert under(profile, program) == (os.CLD_KILLED, signal.SIGSYS)


def test_its_own_numbers_count_where_it_is_listed(program: str) -> None:
    listed = {"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]}
    assert under({**refusing(), **listed}, program) == (os.CLD_EXITED, 77)
    other = {**refusing(names=["getpid"]), **listed}
    assert under(other, program) == (os.CLD_EXITED, errno.EFAULT)


def test_arguments_are_compared_on_32_bits(program: str) -> None:
    for value, status in ((0x1_0000_0000, 77), (1, errno.EFAULT)):
        condition = {"index": 0, "op": "SCMP_CMP_EQ", "value": value}
        profile = {**refusing(args=[condition]), "architectures": ["SCMP_ARCH_X86"]}
        assert under(profile, program) == (os.CLD_EXITED, status)


def test_a_newer_call_is_not_there(program: str) -> None:
    def ends(*names: str) -> tuple[int, int]:
        rules = [{"names": ["execve", "exit", *names], "action": "SCMP_ACT_ALLOW"}]
        default = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 77}
        return under({**default, "architectures": ["SCMP_ARCH_X86"], "syscalls": rules}, program)

    # On i386 mkdir, which is called, comes after access and before rmdir.
    assert ends("rmdir") == (os.CLD_EXITED, 77)
    assert ends("access") == (os.CLD_EXITED, errno.ENOSYS)
