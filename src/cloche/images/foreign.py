"""Images for other machines: whether their programs can run here, by an interpreter that binfmt_misc knows.

Its files in /proc/sys/fs/binfmt_misc each say with which bytes a program begins and who is to run it
(Documentation/admin-guide/binfmt-misc.rst). What is asked of them is the beginning of an ELF file (elf(5)).
"""

from __future__ import annotations

import os

from cloche.images.platforms import ALIASES, Wanted, own_platform

FOLDER = "/proc/sys/fs/binfmt_misc"
ALSO_RUNS = {"amd64": ("386",), "arm64": ("arm",)}  # by the processor itself
# Go's name -> (word size 1: 32 or 2: 64, byte order 1: little or 2: big, e_machine)
MACHINES = {
    "386": (1, 1, 3),
    "amd64": (2, 1, 62),
    "arm": (1, 1, 40),
    "arm64": (2, 1, 183),
    "loong64": (2, 1, 258),
    "mips64le": (2, 1, 8),
    "ppc64le": (2, 1, 21),
    "riscv64": (2, 1, 243),
    "s390x": (2, 2, 22),
}


def why_not(wanted: Wanted) -> str:
    """Why programs for a platform cannot be run here; "" if they can."""
    own = own_platform()
    if wanted.os != own.os:
        return f"this machine runs programs for {own.os}"
    architecture = ALIASES.get(wanted.architecture, wanted.architecture)
    if architecture in {"", own.architecture, *ALSO_RUNS.get(own.architecture, ())}:
        return ""
    return without_interpreter(architecture, _registered())


def without_interpreter(architecture: str, registered: list[str]) -> str:
    """Why no interpreter among these files of binfmt_misc runs programs for an architecture; "" if one does."""
    start = beginning(architecture)
    for text in registered:
        lines = text.splitlines()
        facts = dict(line.split(" ", 1) for line in lines if " " in line)
        if "enabled" not in lines or not start or not _begins(start, facts):
            continue
        if "F" in facts.get("flags:", ""):
            return ""
        return f"its interpreter {facts.get('interpreter')} is not in the image: binfmt_misc has it without the flag F"
    return "binfmt_misc has no interpreter for it"


def beginning(architecture: str) -> bytes:
    """How a program for an architecture begins: 20 bytes of ELF; none for an unknown one."""
    if architecture not in MACHINES:
        return b""
    size, order, machine = MACHINES[architecture]
    word = "little" if order == 1 else "big"
    identity = bytes((0x7F, *b"ELF", size, order, 1, *bytes(9)))
    return identity + (2).to_bytes(2, word) + machine.to_bytes(2, word)  # type: ignore[arg-type]


def _begins(start: bytes, facts: dict[str, str]) -> bool:
    if facts.get("offset") != "0":
        return False
    try:
        magic = bytes.fromhex(facts.get("magic", ""))
        mask = bytes.fromhex(facts.get("mask", "ff" * len(magic)))
    except ValueError:
        return False
    if not magic or len(magic) > len(start):
        return False
    return all(byte & cover == wanted & cover for byte, cover, wanted in zip(start, mask, magic, strict=False))


def _registered() -> list[str]:
    found = []
    for name in os.listdir(FOLDER) if os.path.isdir(FOLDER) else ():
        if name not in {"register", "status"}:
            with open(f"{FOLDER}/{name}", encoding="utf-8", errors="replace") as file:
                found.append(file.read())
    return found
