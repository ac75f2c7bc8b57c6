"""Asking a person whether it is meant, before something is removed that cannot be had back."""

from __future__ import annotations

import sys


def agreed(warning: str) -> bool:
    """Say what is going to happen, and whether the answer is yes."""
    sys.stdout.write(f"{warning}\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
