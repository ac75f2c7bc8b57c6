"""From TRANSPORT:PLACE, as skopeo and podman write it, to a source or a sink."""

from __future__ import annotations

from cloche.errors import SpecError, UnsupportedError
from cloche.images.sources.archive import ArchivePlace, DaemonPlace
from cloche.images.sources.layout import LayoutPlace, split_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.platforms import Wanted

REGISTRY = "docker"
TRANSPORTS = (REGISTRY, "oci", "oci-archive", "docker-archive", "docker-daemon")


def split_transport(text: str) -> tuple[str, str]:
    """(transport, the rest): "" for a name without one, which may have colons of its own."""
    transport, colon, rest = text.partition(":")
    if not colon or transport not in TRANSPORTS:
        return "", text
    if transport == REGISTRY:
        if not rest.startswith("//"):
            return "", text  # a repository called docker, and its tag
        rest = rest[2:]
    if not rest:
        raise SpecError(f"{text!r} names nothing", hint=f"{transport}:PLACE")
    return transport, rest


def open_place(transport: str, rest: str, platform: Wanted | None, incoming: str = "") -> tuple[LayoutPlace, str]:
    """The place, which is source and sink, and what to ask it for; of all transports but the registry's.

    `incoming` is that of the store which an image is taken into.
    """
    if transport == "oci":
        path, name = split_name(rest)
        return LayoutPlace(path), name
    if transport in {"oci-archive", "docker-archive"}:
        path, name = split_name(rest)
        return ArchivePlace(path, platform, incoming), name
    if transport == "docker-daemon":
        return DaemonPlace(rest, platform, incoming), ""
    raise UnsupportedError(f"the transport {transport}", needs=", ".join(TRANSPORTS))
