"""`cloche inspect` and `cloche container inspect`: all there is to know, as JSON or through a template."""

from __future__ import annotations

import sys

from cloche.cli.format import documents
from cloche.cli.output import print_error
from cloche.engine import containers, volumes
from cloche.errors import ClocheError, NotFoundError, SpecError
from cloche.images import local
from cloche.images.describing import describe as describe_image
from cloche.images.store.layout import Layout, store_dir
from cloche.sandbox.inspecting import inspect_container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.cli.grammar import Parsed

    Document = dict[str, Any]

KINDS = ("container", "image", "volume")


def inspect(parsed: Parsed) -> int:
    """Carry out `inspect`: of a name the first that has it of a container, an image, a volume."""
    return inspect_kind(parsed, parsed.text("type"))


def inspect_kind(parsed: Parsed, kind: str | None) -> int:
    """The same for one kind, or None for any; goes on after a name that is nobody's, and says so at the end."""
    if kind is not None and kind not in KINDS:
        known = ", ".join(f'"{each}"' for each in KINDS)
        raise SpecError(f'unknown type: "{kind}": must be one of {known}')
    found: list[tuple[str, Document]] = []
    errors: list[ClocheError] = []
    for name in parsed.positionals:
        try:
            found.append(_find(name, kind, sizes=parsed.flag("size")))
        except ClocheError as error:
            errors.append(error)
    sys.stdout.write(documents(found, parsed.text("format") or ""))
    for one in errors:
        print_error(one)
    return 1 if errors else 0


def _find(name: str, kind: str | None, *, sizes: bool) -> tuple[str, Document]:
    """The kind and the document of what has this name."""
    if not name:
        raise SpecError("invalid container name or ID: value is empty")
    for each in KINDS if kind is None else (kind,):
        try:
            return each, _LOOK[each](name, sizes)
        except (NotFoundError, SpecError):  # what no volume can be called is none
            if kind is not None:
                raise
    raise NotFoundError(f"No such object: {name}", hint="cloche ps -a, cloche images and cloche volume ls list them")


def _container(name: str, sizes: bool) -> Document:
    return inspect_container(containers.settled(containers.find(name)), sizes=sizes)


def _image(name: str, sizes: bool) -> Document:
    layout = Layout(store_dir())
    found = local.find_entry(layout, name)
    if sizes:
        sys.stderr.write("WARNING: --size ignored for image\n")
    return describe_image(layout, found)


def _volume(name: str, sizes: bool) -> Document:
    found = volumes.find(name)
    if sizes:
        sys.stderr.write("WARNING: --size ignored for volume\n")
    return volumes.describe(found)


_LOOK = {"container": _container, "image": _image, "volume": _volume}
