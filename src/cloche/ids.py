"""Identifiers: what containers are called."""

from __future__ import annotations

from posix import urandom

from cloche.errors import SpecError


def new_id() -> str:
    """A new container id: 64 hexadecimal digits, as docker's."""
    return urandom(32).hex()


def check_name(name: str) -> str:
    """docker's grammar of names: [a-zA-Z0-9][a-zA-Z0-9_.-]+. Returns it, or raises SpecError."""
    first, rest = name[:1], name[1:]
    good = name.isascii() and first.isalnum() and rest and all(c.isalnum() or c in "_.-" for c in rest)
    if not good or len(name) > 255:
        hint = "two characters at least, and 255 at most"
        raise SpecError(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", hint=hint)
    return name


def check_id(text: str) -> str:
    """The grammar runtimes share for container ids: letters, digits, _ + - and dot, not only dots."""
    good = text.isascii() and bool(text.strip(".")) and all(c.isalnum() or c in "_+-." for c in text)
    if not good or len(text) > 1024:
        raise SpecError(f"{text!r} is not a container id", hint="letters, digits, _ + - and .")
    return text
