"""A verb for several containers: each is done, and what went wrong is said of each."""

from __future__ import annotations

import sys

from cloche.errors import ClocheError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def for_each(words: list[str], work: Callable[[str], str | None]) -> int:
    """Do it for each, and print what it returns (None: nothing); returns 1 if one of them failed."""
    failed = 0
    for word in words:
        try:
            text = work(word)
        except ClocheError as error:
            from cloche.cli.output import print_error

            print_error(error)
            failed = 1
        else:
            if text is not None:
                sys.stdout.write(f"{text}\n")
                sys.stdout.flush()
    return failed
