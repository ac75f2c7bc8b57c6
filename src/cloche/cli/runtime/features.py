"""`features`: what this runtime can do, as JSON (features.md)."""

from __future__ import annotations

from cloche.cli.table import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals

VERBS = {
    "features": Verb(
        "features",
        "say what this runtime can do, as JSON",
        ("cloche-runtime features",),
        (
            "Print the document that the runtime specification calls features: versions, hooks, mount options,"
            " namespaces, capabilities and so on that are known here, whatever this machine allows.",
        ),
        (),
        program="cloche-runtime",
    )
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `features`."""
    import json

    from cloche.cli.runtime.globals import say
    from cloche.runtime.features import features

    del name, given, options
    say(json.dumps(features(), indent=2) + "\n")
    return 0
