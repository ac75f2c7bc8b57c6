"""Events of a store, from the side of whoever does something: `emit`, and `tell` of a container.

It is on the way of every container.

They are written below, where images are handled too (images/store/events.py), in the form of docker's API; whoever
wants to know of them reads with `event_log`.
"""

from __future__ import annotations

import time

from cloche.images.store.events import emit, emit_all, line_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.engine.containers import Container

    Told = tuple[str, str, str, dict[str, str]]  # type, action, id, attributes

__all__ = ["emit", "tell", "tell_all"]
DRIVER = "local"


def tell(container: Container, action: str, **more: str) -> None:
    """Write down what happens to a container, with what docker's events say of it: labels, image, name, and more."""
    known = container.known
    facts = {**known["labels"], "image": str(known.get("image", "")), "name": container.name}
    emit("container", action, container.id, {**facts, **more})


def tell_all(events: list[Told], *, store: str = "") -> None:
    """Write down several events that happen now, in this order and with one write."""
    if events:
        emit_all([line_of(*event, time.time_ns()) for event in events], store=store)


def volumes_among(mounts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of a container's mounts, as `inspect` shows them, that are volumes of the store, as docker orders them."""
    return sorted(
        (m for m in mounts if m.get("Type") == "volume" and m.get("Name")), key=lambda m: str(m["Destination"])
    )


def mounted(container_id: str, volumes: list[dict[str, Any]]) -> list[Told]:
    """Volumes (`volumes_among`) have become a container's."""
    found: list[Told] = []
    for volume in volumes:
        about = {"container": container_id, "destination": str(volume["Destination"]), "driver": DRIVER}
        about |= {"propagation": "", "read/write": "true" if volume["RW"] else "false"}
        found.append(("volume", "mount", str(volume["Name"]), about))
    return found


def unmounted(container_id: str, volumes: list[dict[str, Any]]) -> list[Told]:
    """A container has ended that had volumes (`volumes_among`)."""
    about = {"container": container_id, "driver": DRIVER}
    return [("volume", "unmount", str(volume["Name"]), about) for volume in volumes]
