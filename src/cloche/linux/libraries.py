"""Other people's libraries, which the launchers leave out (-S): looked for when a command needs one."""

from __future__ import annotations

import os
import sys


def reach() -> None:
    """Have `import` find what is installed beside this command, and for the whole system.

    Root's runtime runs from a copy of the interpreter that has no libraries (stage/kept.py), hence beside the command.
    """
    import site

    above = os.path.dirname(os.path.dirname(os.path.realpath(sys.argv[0])))
    beside = f"{above}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    if beside not in sys.path:
        sys.path.append(beside)
        site.main()
