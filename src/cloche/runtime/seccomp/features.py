"""What `features` says of seccomp (features-linux.md "Seccomp"): the words that are understood, sorted.

They are the same on every host, but for `supported_flags`, which asks the running kernel.
"""

from __future__ import annotations

from cloche.runtime.seccomp.conditions import OPERATORS
from cloche.runtime.seccomp.vocabulary import ACTIONS, ARCHITECTURES, FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def features() -> dict[str, Any]:
    """The `linux.seccomp` of a features document."""
    return {
        "enabled": True,
        "actions": sorted(ACTIONS),
        "operators": sorted(OPERATORS),
        "archs": sorted(ARCHITECTURES),
        "knownFlags": sorted(FLAGS),
        "supportedFlags": supported_flags(),
    }


def supported_flags() -> list[str]:
    """The flags a profile may have that the running kernel takes; nothing is loaded to find out."""
    from cloche.linux import seccomp

    bits = {**FLAGS, "SECCOMP_FILTER_FLAG_TSYNC": seccomp.FLAG_TSYNC}
    return [name for name in sorted(bits) if seccomp.flag_available(bits[name])]
