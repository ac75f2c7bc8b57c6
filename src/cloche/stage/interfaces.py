"""Network interfaces moved into a container's network namespace, and back where it is not to be.

What was up and had addresses has them again: a move takes both (config-linux.md, "Network Devices", asks for the
addresses of global scope that are permanent, and for the interface to be up).
"""

from __future__ import annotations

import posix as os

from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.linux.netlink import Address, Route


@record
class _Interface:
    here: str
    there: str
    up: bool
    addresses: tuple[Address, ...]


class Moved:
    """The interfaces moved to one namespace; owns its descriptor until it is undone or kept."""

    def __init__(self, namespace: int) -> None:
        self.namespace = namespace
        self.list: list[_Interface] = []

    def move(self, here: str, there: str) -> None:
        """Move an interface that is called `here` outside; it is up inside, and called `there`.

        Raises OSError with the interface's name: ENODEV, EEXIST, EPERM, EINVAL.
        """
        from cloche.linux import netlink

        try:
            with netlink.Route() as outside, netlink.open_in(self.namespace) as inside:
                link = outside.link(here)
                found = outside.addresses(link.index)
                permanent = [
                    a for a in found if a.scope == netlink.RT_SCOPE_UNIVERSE and a.flags & netlink.IFA_F_PERMANENT
                ]
                if _exists(inside, there):  # else it would be moved, and then not renamed
                    raise OSError(17, f"there is an interface {there} inside already")
                self.list.append(_Interface(here, there, bool(link.flags & netlink.IFF_UP), tuple(permanent)))
                outside.move(link.index, self.namespace, there)
                _set_up(inside, there, self.list[-1].addresses, up=True)
        except OSError as error:
            error.filename = here
            raise

    def undo(self) -> list[str]:
        """Move back all that were moved; returns what could not be done, in words."""
        from cloche.linux import netlink

        failures = []
        with netlink.Route() as outside, netlink.open_in(self.namespace) as inside:
            home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            for item in reversed(self.list):
                try:
                    name = item.there if _exists(inside, item.there) else item.here
                    inside.move(inside.link(name).index, home, item.here)
                    _set_up(outside, item.here, item.addresses, up=item.up)
                except OSError as error:
                    if not _exists(outside, item.here):
                        failures.append(f"interface {item.here} cannot be moved back: {error.strerror}")
            os.close(home)
        self.keep()
        return failures

    def keep(self) -> None:
        """They stay there: forget them."""
        if self.namespace >= 0:
            os.close(self.namespace)
        self.namespace, self.list = -1, []


def _set_up(route: Route, name: str, addresses: tuple[Address, ...], *, up: bool) -> None:
    index = route.link(name).index
    for address in addresses:
        route.add_address(index, address)
    if up:
        route.bring_up(index)


def _exists(route: Route, name: str) -> bool:
    try:
        route.link(name)
    except OSError as error:
        if error.errno != 19:
            raise
        return False
    return True
