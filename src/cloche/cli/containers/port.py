"""`cloche port`: which ports of a container are published, and where; without networks of its own, none."""

from __future__ import annotations

import sys

from cloche.engine import containers
from cloche.errors import NotFoundError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed

WHY = "nothing is published: networks of containers are not here yet"
MOST = 65535


def port(parsed: Parsed) -> int:
    """Carry out `port`."""
    word, *rest = parsed.positionals
    containers.find(word)
    if not rest:
        if sys.stderr.isatty():
            sys.stderr.write(f"{WHY}\n")
        return 0
    number = rest[0].partition("/")[0]
    if not number.isascii() or not number.isdecimal() or len(number) > 9 or int(number) > MOST:
        raise SpecError(
            f"invalid port ({number[:80]})", hint="a number up to 65535, with /udp or /sctp behind it perhaps"
        )
    raise NotFoundError(f"No public port '{rest[0]}' published for {word}", hint=WHY)
