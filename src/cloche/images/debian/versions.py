"""Versions of Debian's packages and their order (deb-version(7)): [EPOCH:]UPSTREAM[-REVISION].

Runs of letters and runs of digits are compared in turn: digits as numbers, letters before all other characters, and
"~" before everything, even the end.
"""

from __future__ import annotations

from cloche.errors import SpecError

DIGITS = frozenset("0123456789")
KNOWN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.+-~:")
Key = tuple[int, list[tuple[list[int], int]], list[tuple[list[int], int]]]


def key(version: str) -> Key:
    """What versions are sorted by. Raises SpecError for what is none."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, hyphen, revision = rest.rpartition("-")
    if not hyphen:
        upstream, revision = rest, "0"
    if not upstream or not set(version) <= KNOWN or not set(epoch) <= DIGITS or not epoch or len(version) > 500:
        raise SpecError(f"{version[:80]!r} is not a version of a package")
    return int(epoch), _runs(upstream), _runs(revision or "0")


def _runs(text: str) -> list[tuple[list[int], int]]:
    """(other characters by their weight, number), again and again; the weight of the end is 0."""
    found = []
    at = 0
    while at < len(text):
        start = at
        while at < len(text) and text[at] not in DIGITS:
            at += 1
        letters = [*(_weight(character) for character in text[start:at]), 0]
        start = at
        while at < len(text) and text[at] in DIGITS:
            at += 1
        found.append((letters, int(text[start:at] or 0)))
    return [*found, ([0], 0)]


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def satisfies(version: str, relation: str, wanted: str) -> bool:
    """Whether a version is what (RELATION WANTED) asks for; any is, where relation is ""."""
    if not relation:
        return True
    have, want = key(version), key(wanted)
    if relation == "=":
        return have == want
    if relation in {"<<", "<="}:
        return have < want or (relation == "<=" and have == want)
    return have > want or (relation == ">=" and have == want)
