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
        ("cloche-runtime delete [--force] [--regex] ID",),
        (
            "End what is left of its processes, run its poststop hooks, remove its cgroups and what is known of it."
            " A container that still runs is refused without --force; the bundle is never touched.",
        ),
        (
            Option(("-f", "--force"), FLAG, "Options", "", "end it first if it runs; no error if there is none"),
            Option(("-r", "--regex"), FLAG, "Options", "", "ID is a regular expression: all in whose id it is"),
        ),
        operands=(Operand("ID", "the container", required=True, complete="<container>"),),
        examples=(
            ("cloche-runtime delete demo", "the stopped container demo"),
            ("cloche-runtime delete --force demo", "the same if it still runs"),
        ),
        program="cloche-runtime",
    )
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `delete`."""
    from cloche.cli.runtime.globals import warn

    del name
    wanted, force = given.positionals[0], given.flag("force")
    if given.flag("regex"):
        from cloche.cli.runtime.kill import matching

        ids = [container.id for container in matching(options, wanted)]
    else:
        ids = [wanted]
    for container_id in ids:
        for text in _delete(options.root, container_id, force=force):
            warn(text, options)
    return 0


def _delete(root: str, container_id: str, *, force: bool) -> list[str]:
    """Delete one; returns warnings."""
    from cloche.errors import NotFoundError, SpecError
    from cloche.ids import check_id
    from cloche.runtime.changing import damaged, delete
    from cloche.runtime.containers import load

    check_id(container_id)
    try:
        try:
            container = load(root, container_id)
        except SpecError:
            if not force:
                raise
            container = damaged(root, container_id)
        return delete(container.lock(), force=force)
    except NotFoundError:
        if not force:
            raise
        return []
