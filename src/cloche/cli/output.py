"""The only way for names, messages and tables to reach a terminal.

The name of a container, a file or a label comes from somebody else, and may hold escape codes that
recolour the screen, move the cursor, or make one word read as another. Everything that is not a
printable character is therefore shown as an escape. What a command inside prints does not pass
here: it is the command's own.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.receipt import Layer

LONGEST_NAME, LONGEST = 400, 3000  # characters, of a word in a message and of a whole one
NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def plain(text: str) -> str:
    """`text` on one line, with control, formatting and undecodable characters made visible."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def plain_lines(text: str) -> str:
    """`text` with all made visible that could steer a terminal, but for tabs and the ends of its lines."""
    return "\n".join("\t".join(map(plain, line.split("\t"))) for line in text.split("\n"))


def message(text: str) -> str:
    """`text` as one line to be read: plain, and without the middle of what is too long to be.

    A name comes from somebody else and may have a hundred thousand characters, which would hide what is wrong
    with it. Reasons are at the end of a message, and places at its beginning: both stay.
    """
    if len(text) > LONGEST_NAME:
        text = " ".join(_cut(word, LONGEST_NAME) for word in text.split(" "))
    return _cut(plain(text), LONGEST)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-length // 2 + 1 :]}"


def _escape(character: str) -> str:
    code = ord(character)
    if character in NAMED:
        return NAMED[character]
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8, as os.fsdecode keeps it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """How many columns of a terminal `text`, already plain, takes up."""
    if text.isascii() or text.replace("…", "").isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def columns(rows: list[list[str]], headings: list[str]) -> str:
    """A table with aligned columns and a line of headings, every cell made plain.

    Rows shorter than the headings are filled up with empty cells. The last line ends in a newline.
    """
    table = [[plain(cell) for cell in row] for row in [headings, *rows]]
    sizes = [[width(cell) for cell in row] for row in table]
    widest = [max((row[i] for row in sizes if i < len(row)), default=0) for i in range(len(headings))]
    lines = []
    for row, taken in zip(table, sizes, strict=True):
        cells = [cell + " " * (most - size) for cell, size, most in zip(row, taken, widest, strict=False)]
        lines.append("   ".join(cells).rstrip() + "\n")
    return "".join(lines)


def print_lacking(layers: tuple[Layer, ...]) -> None:
    """Say on standard error what was asked for and this machine cannot enforce."""
    for layer in layers:
        print(f"cloche: not enforced: {layer.name}: {plain(layer.detail)}", file=sys.stderr, flush=True)


def print_error(error: BaseException) -> None:
    """Say on standard error what failed, and on the next line what to do about it.

    Never fails itself: where standard error is closed or full, nothing is said.
    """
    lines = [f"cloche: {message(str(error) or type(error).__name__)}"]
    hint = getattr(error, "hint", "")
    if hint:
        lines.append(f"  hint: {message(str(hint))}")
    try:
        print("\n".join(lines), file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError):
        pass
