"""Events of a store: written by whoever does something (`emit`), read by whoever wants to know, from now on or before.

They are written below, where images are handled too (images/store/events.py).
"""

from __future__ import annotations

from cloche.images.store.events import emit

__all__ = ["emit"]
