"""Debian's control files: paragraphs of fields (deb822(5)).

Package: bash                  a name, which is compared in lower case
Description: the shell         a value, which goes on in lines that begin with a space
 more of it
"""

from __future__ import annotations

from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Fields = dict[str, str]

COMMENT = "#"
LONGEST = 1 << 20  # bytes of a file that has one paragraph; that of sid's Release has a fifth of it


def paragraphs(content: bytes) -> Iterator[Fields]:
    """The paragraphs of a file, each as its fields by name in lower case. Raises SpecError."""
    start = 0
    while start < len(content):
        end = content.find(b"\n\n", start)
        end = end if end >= 0 else len(content)
        found = fields(content[start:end].decode("utf-8", "surrogateescape"))
        start = end + 2
        if found:
            yield found


def fields(block: str) -> Fields:
    """The fields of one paragraph. Raises SpecError for a line that is none."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in block.split("\n"):
        if line[:1] in {" ", "\t"} and name:
            found[name].append(line)
        elif line.startswith(COMMENT) or not line.strip():
            continue
        else:
            name, colon, value = line.partition(":")
            name = name.lower()
            if not colon or not name or " " in name:
                raise SpecError(f"{line[:80]!r} is no field of a control file")
            if name in found:
                raise SpecError(f"the field {name[:80]!r} is there twice")
            found[name] = [value.strip()]
    return {name: "\n".join(lines) for name, lines in found.items()}


def the_paragraph(content: bytes) -> Fields:
    """The only paragraph of a file. Raises SpecError."""
    if len(content) > LONGEST:
        raise SpecError(f"is longer than {LONGEST} bytes")
    found = list(paragraphs(content))
    if len(found) != 1:
        raise SpecError(f"has {len(found)} paragraphs, and should have one")
    return found[0]
