"""How much is tried by chance: a part with each run of the tests, all of it by `make soak` (CLOCHE_SOAK)."""

from __future__ import annotations

import os

PART = 3


def some(count: int) -> int:
    """So many tries, or examples, or seconds of them."""
    return count if os.environ.get("CLOCHE_SOAK") else max(1, count // PART)
