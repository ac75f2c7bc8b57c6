"""Events of a store, from the side of whoever does something: `emit`. It is on the way of every container.

They are written below, where images are handled too (images/store/events.py), in the form of docker's API; whoever
wants to know of them reads with `event_log`.
"""

from __future__ import annotations

from cloche.images.store.events import emit

__all__ = ["emit"]
