"""`cloche create`: a container that is not started yet."""

from __future__ import annotations

import sys

from cloche.cli.idfiles import IdFile, check_pidfile
from cloche.cli.keeping import keep_of
from cloche.cli.request import options_of
from cloche.cli.run import fetch_wanted
from cloche.engine.events import tell
from cloche.errors import BAD_OPTION, ClocheError, SpecError
from cloche.sandbox.keeping import create as make
from cloche.sandbox.words import check_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.engine.keeping import Keep
    from cloche.sandbox.options import Options


def create(parsed: Parsed) -> int:
    """Carry out `create`; returns the exit code."""
    options, keep = _asked(parsed)
    if fetch_wanted(options, quiet=parsed.flag("quiet")):
        return 1
    check_pidfile(options.pidfile)
    with IdFile(options.cidfile) as file:
        made = make(options, keep)
        file.write(made.container.id)
    tell(made.container, "create")
    if made.lacking and not parsed.flag("quiet"):
        from cloche.cli.output import print_lacking

        print_lacking(made.lacking)
    sys.stdout.write(f"{made.container.id}\n")
    return 0


def _asked(parsed: Parsed) -> tuple[Options, Keep]:
    """What the words ask for. Raises SpecError, with the code of options that mean nothing."""
    from cloche.cli.options import find

    try:
        options = options_of(find("create"), parsed)
        keep = keep_of(parsed, auto_remove=parsed.flag("rm"))
        check_words(options)
    except ClocheError as error:
        raise SpecError(str(error), hint=error.hint, code=BAD_OPTION) from None
    return options, keep
