"""Why a command could not be executed: read what the kernel would have read, and say it.

Runs in the new process, inside the container, after execve failed; opens files only to read their
first bytes.
"""

from __future__ import annotations

import posix as os

from cloche.linux.kernel import MACHINE
from cloche.linux.places import exists

_MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64", 21: "ppc64", 22: "s390x"}
NOT_FOUND, NOT_EXECUTABLE = 127, 126


def why_not_executed(path: str, code: int, *, searched: bool) -> tuple[int, str, str]:
    """The exit code (126 or 127), what is wrong, and what to do about it."""
    if searched and code in {2, 20}:
        return (
            NOT_FOUND,
            f"{path}: command not found in the container",
            "check the name and PATH in the container",
        )
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in {2, 20}:
            return (
                NOT_FOUND,
                f"{path}: no such file in the container",
                "check the path; it is looked up inside",
            )
        return NOT_EXECUTABLE, f"{path}: {error.strerror}", ""
    if status.st_mode & 0o170000 == 0o040000:
        return NOT_EXECUTABLE, f"{path}: is a directory", "give the path of a program"
    if not status.st_mode & 0o111:
        return NOT_EXECUTABLE, f"{path}: is not executable", f"chmod +x {path}"
    return _from_content(path, code)


def _from_content(path: str, code: int) -> tuple[int, str, str]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        head = os.read(fd, 4096)
        os.close(fd)
    except OSError as error:
        return NOT_EXECUTABLE, f"{path}: {os.strerror(code)}, and cannot be read: {error.strerror}", ""
    if head[:2] == b"#!":
        words = head[2:].split(b"\n", 1)[0].split()
        interpreter = words[0].decode(errors="replace") if words else ""
        if code in {2, 20} or not exists(interpreter):
            text = f"{path}: its interpreter {interpreter or '(none)'} is missing in the container"
            return (
                NOT_FOUND,
                text,
                "a carriage return at the line's end counts too" if "\r" in interpreter else "",
            )
    if head[:4] == b"\x7fELF":
        order = "little" if head[5:6] == b"\x01" else "big"
        machine = int.from_bytes(head[18:20], "little" if order == "little" else "big")
        name = _MACHINES.get(machine, f"machine {machine}")
        if code == 8 and name != MACHINE:
            return NOT_EXECUTABLE, f"{path}: is a program for {name}, this machine is {MACHINE}", ""
        loader = _elf_interpreter(head)
        if loader and not exists(loader):
            text = f"{path}: its loader {loader} is missing in the container"
            return NOT_FOUND, text, "the program was built for another C library, or is not static"
    if code == 8:
        return (
            NOT_EXECUTABLE,
            f"{path}: is neither a program nor a script with #!",
            "name the interpreter: sh FILE",
        )
    return NOT_EXECUTABLE, f"{path}: {os.strerror(code)}", ""


def _elf_interpreter(head: bytes) -> str:
    """PT_INTERP of a 64-bit little-endian ELF header, if the first page holds it."""
    if head[4:6] != b"\x02\x01":
        return ""
    offset, size, count = (int.from_bytes(head[a:b], "little") for a, b in ((32, 40), (54, 56), (56, 58)))
    for index in range(min(count, 64)):
        entry = head[offset + index * size : offset + (index + 1) * size]
        if entry[:4] == b"\x03\0\0\0":
            start, length = int.from_bytes(entry[8:16], "little"), int.from_bytes(entry[32:40], "little")
            return head[start : start + length].split(b"\0")[0].decode(errors="replace")
    return ""
