"""`cloche volume rm`: volumes are removed, with all that is in them."""

from __future__ import annotations

import sys

from cloche.cli.output import print_error
from cloche.engine.trees import Remover
from cloche.engine.volume_uses import remove, sweep
from cloche.errors import ClocheError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def volume_rm(parsed: Parsed) -> int:
    """Carry out `volume rm`; goes on after one that cannot be removed."""
    failed = 0
    with Remover() as remover:
        sweep(remover)
        for name in parsed.positionals:
            try:
                remove(name, remover)
            except NotFoundError as error:
                if not parsed.flag("force"):
                    failed = 1
                    print_error(error)
                    continue
            except ClocheError as error:
                failed = 1
                print_error(error)
                continue
            sys.stdout.write(f"{name}\n")
    return failed
