"""`spec`: a config.json to start from."""

from __future__ import annotations

import os

from cloche.cli.table import FLAG, VALUE, Option, Verb
from cloche.errors import ConflictError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals

VERBS = {
    "spec": Verb(
        "spec",
        "write a config.json to start from",
        ("cloche-runtime spec [--rootless] [--bundle DIR]",),
        (
            "Write a config.json into the bundle; one that is there already is left alone. It runs a shell on a"
            " terminal, in the directory rootfs beside it, which is yours to fill.",
        ),
        (
            Option(("-b", "--bundle"), VALUE, "Options", "DIR", "where to write it", default=".", complete="<dir>"),
            Option(
                ("-f", "--file"),
                VALUE,
                "Options",
                "FILE",
                "what to call it, seen from the bundle",
                default="config.json",
                complete="<file>",
            ),
            Option(("--rootless",), FLAG, "Options", "", "for an ordinary user: a user namespace with one id"),
        ),
        examples=(
            ("cloche-runtime spec", "as root"),
            ("cloche-runtime spec --rootless", "as an ordinary user"),
        ),
        program="cloche-runtime",
    )
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `spec`."""
    import json

    from cloche.runtime.bundle import default_config

    del name, options
    path = os.path.join(os.path.abspath(given.text("bundle") or "."), given.text("file") or "config.json")
    config = default_config(rootless=given.flag("rootless"), uid=os.geteuid(), gid=os.getegid())
    try:
        with open(path, "x", encoding="utf-8") as file:
            json.dump(config, file, indent=2)
            file.write("\n")
    except FileExistsError:
        raise ConflictError(f"{path} is there already", hint="remove it first") from None
    return 0
