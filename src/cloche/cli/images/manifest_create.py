"""`cloche manifest create`: a list of images for several platforms."""

from __future__ import annotations

import sys

from cloche.cli.images.access import access_of
from cloche.errors import ConflictError
from cloche.images.fetching import Access
from cloche.images.gathering import gather
from cloche.images.lists import create
from cloche.images.references import parse_reference
from cloche.images.store import uses
from cloche.images.store.layout import Layout, store_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.images.lists import Item


def manifest_create(parsed: Parsed) -> int:
    """Carry out `manifest create`."""
    layout = Layout(store_dir())
    layout.make()
    text, *images = parsed.positionals
    reference = parse_reference(text)
    with uses.undisturbed(layout, lambda: uses.hold(layout, uses.FETCHING)):
        create(layout, str(reference), gathered(layout, parsed, images), amend=parsed.flag("amend"))
    sys.stdout.write(f"Created manifest list {reference.familiar}\n")
    return 0


def gathered(layout: Layout, parsed: Parsed, images: list[str]) -> list[Item]:
    """What is to be put into a list, in the order it was named."""
    access, everything = access_to_lists(parsed), parsed.flag("all")
    return [item for text in images for item in gather(layout, text, access, everything=everything)]


def access_to_lists(parsed: Parsed) -> Access:
    """How registries are spoken to; --insecure is docker's word for --tls-verify=false. Raises ConflictError."""
    access = access_of(parsed)
    if not parsed.flag("insecure"):
        return access
    if access.tls_verify:
        raise ConflictError("--insecure and --tls-verify=true contradict each other", hint="give one of them")
    return Access(False, access.login, access.cert_dir)
