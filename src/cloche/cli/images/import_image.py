"""`cloche import`: an image of one layer, from a tar of a root file system.

`import` is a word of Python, so that this module has another name.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

from cloche.cli.images.files import reading
from cloche.errors import RegistryError, SpecError
from cloche.images.changes import apply_changes
from cloche.images.importing import Description, import_tar, now
from cloche.images.platforms import parse_platform
from cloche.images.references import parse_reference
from cloche.images.store.layout import Layout, store_dir
from cloche.images.unpack.worker import Worker
from cloche.sandbox.image import unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche.cli.grammar import Parsed

    Read = Callable[[int], bytes]

WEB = ("http://", "https://")


def import_image(parsed: Parsed) -> int:
    """Carry out `import`."""
    place, *rest = parsed.positionals
    name = ""
    if rest:
        reference = parse_reference(rest[0])
        if reference.digest:
            raise SpecError(f"{rest[0]!r} has a digest, which is not given but found", hint="NAME[:TAG]")
        name = str(reference)
    shown = _shown(place)
    description = Description(
        apply_changes({}, parsed.all("change")),
        parse_platform(parsed.text("platform") or ""),
        parsed.text("message") or f"Imported from {shown}",
        now(),
    )
    who = unpacking()
    with _source(place) as read:
        made = import_tar(Layout(store_dir()), read, description, name, lambda: Worker(who.users), who.powers)
    sys.stdout.write(made + "\n")
    return 0


def _shown(place: str) -> str:
    """Where it came from, for the image's history: docker says - for a file too, and nobody's password is shown.

    Raises SpecError for what is no address.
    """
    if not place.startswith(WEB):
        return "-"
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(place)
        if not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:
        from cloche.images.registry.transport import bare

        raise SpecError(f"{bare(place)} is no address", hint=f"{WEB[0]}HOST[:PORT]/PATH, or a file") from None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


@contextmanager
def _source(place: str) -> Iterator[Read]:
    if not place.startswith(WEB):
        with reading(place, "the archive") as fd:
            yield lambda size: os.read(fd.number, size)
        return
    from urllib3.exceptions import HTTPError

    from cloche.images.registry.transport import Transport

    answer = Transport().request("GET", place)
    try:
        if answer.status != 200:
            raise RegistryError(f"{_shown(place)} answers with {answer.status} {answer.reason or ''}".rstrip())
        yield answer.read
    except HTTPError as error:
        raise RegistryError(f"{_shown(place)} breaks off: {error}", hint="try again later") from None
    finally:
        answer.close()
