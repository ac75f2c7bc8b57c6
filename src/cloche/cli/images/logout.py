"""`cloche logout`: what `login` has written is removed."""

from __future__ import annotations

import sys

from cloche.cli.images.login import registry_of
from cloche.errors import NotFoundError
from cloche.images.fetching import login_name
from cloche.images.registry.logins import forget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def logout(parsed: Parsed) -> int:
    """Carry out `logout`."""
    domain = registry_of(parsed)
    gone = {forget(name) for name in {domain, login_name(domain)}}
    if True not in gone:
        raise NotFoundError(f"not logged in to {domain}", hint="docker's and podman's own logins are theirs to remove")
    sys.stdout.write(f"Removed the login for {domain}\n")
    return 0
