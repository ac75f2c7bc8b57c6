"""`delete`: give back what a stopped container holds."""

from __future__ import annotations

from cloche.cli.table import FLAG, Operand, Option, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals

VERBS = {
    "delete": Verb(
        "delete",
        "remove a stopped container",
        ("cloche-runtime delete [--force] ID",),
        (),
        (Option(("-f", "--force"), FLAG, "Options", "", "end it first if it runs; no error if there is none"),),
        operands=(Operand("ID", "the container", required=True),),
        program="cloche-runtime",
    )
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `delete`."""
    from cloche.cli.runtime.globals import warn
    from cloche.errors import NotFoundError, SpecError
    from cloche.ids import check_id
    from cloche.runtime.changing import damaged, delete
    from cloche.runtime.containers import load

    del name
    container_id, force = check_id(given.positionals[0]), given.flag("force")
    try:
        try:
            container = load(options.root, container_id)
        except SpecError:
            if not force:
                raise
            container = damaged(options.root, container_id)
        warnings = delete(container.lock(), force=force)
    except NotFoundError:
        if force:
            return 0
        raise
    for text in warnings:
        warn(text, options)
    return 0
