"""Letting a program decide about a v2 group's devices, and putting another in its place without a gap.

    attach_devices: a group without one of ours ─▶ attach; with one ─▶ replace it in one step
    detach_devices: take ours away, others' stay

Programs of others (systemd has its own) are left alone: what they refuse stays refused.
"""

from __future__ import annotations

import posix as os

from cloche.linux import bpf
from cloche.linux.files import Fd

NAME = "cloche_devices"


def attach_devices(path: str, code: bytes) -> None:
    """Have the program `code` decide about devices in the v2 group `path`, in place of the one we had there."""
    with Fd(_group(path)) as group, Fd(bpf.load_device_program(code, NAME)) as program:
        ours = _ours(group.number)
        try:
            bpf.attach(group.number, program.number, instead=ours[0] if ours else -1)
            for surplus in ours[1:]:
                bpf.detach(group.number, surplus)
        finally:
            for fd in ours:
                os.close(fd)


def detach_devices(path: str) -> None:
    """Take our program away from the v2 group `path`."""
    with Fd(_group(path)) as group:
        for fd in _ours(group.number):
            with Fd(fd):
                bpf.detach(group.number, fd)


def _group(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _ours(group: int) -> list[int]:
    """Descriptors of our programs on a group."""
    found = []
    for number in bpf.attached(group):
        try:
            program = bpf.program_by_id(number)
        except (FileNotFoundError, PermissionError):
            continue  # gone meanwhile, or behind a security label: not ours
        if bpf.program_name(program) == NAME:
            found.append(program)
        else:
            os.close(program)
    return found
