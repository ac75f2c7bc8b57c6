"""Detach keys: what is typed to leave a terminal whose command goes on; pure.

docker's grammar: keys with commas between, each one character, `ctrl-` and a letter or one of @ [ \\ ] ^ _, or DEL.
Without an answer from here nothing is lost: keys that begin the sequence and do not end it are passed on.
"""

from __future__ import annotations

from cloche.errors import SpecError

DEFAULT = "ctrl-p,ctrl-q"
NAMED = {f"ctrl-{chr(code + 0x60)}": code for code in range(1, 27)}
NAMED |= {f"ctrl-{character}": code for character, code in (("@", 0), ("[", 27), ("\\", 28), ("]", 29))}
NAMED |= {"ctrl-^": 30, "ctrl-_": 31, "DEL": 127}


def parse_keys(text: str) -> bytes:
    """The bytes that a terminal sends for these keys; those of DEFAULT for "". Raises SpecError."""
    keys = b""
    for word in (text or DEFAULT).split(","):
        if word in NAMED:
            keys += bytes([NAMED[word]])
        elif len(word) == 1 and word.isascii():
            keys += word.encode()
        else:
            raise SpecError(
                f"--detach-keys {text}: {word!r} is not a key",
                hint="ctrl-p,ctrl-q: each a character, ctrl- with a-z or one of @ [ \\ ] ^ _, or DEL",
            )
    return keys


class Matcher:
    """Finds the keys in what is typed, however it arrives in parts."""

    def __init__(self, keys: bytes) -> None:
        self.keys = keys
        self.held = b""  # what is the beginning of the keys, and may become all of them

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what to pass on, whether the keys were there); what was typed after them is nobody's."""
        typed = self.held + data
        place = typed.find(self.keys)
        if place >= 0:
            self.held = b""
            return typed[:place], True
        kept = min(len(self.keys) - 1, len(typed))
        while kept and not typed.endswith(self.keys[:kept]):
            kept -= 1
        self.held = typed[len(typed) - kept :]
        return typed[: len(typed) - kept], False

    def end(self) -> bytes:
        """Nothing more is typed: what was held back."""
        held, self.held = self.held, b""
        return held
