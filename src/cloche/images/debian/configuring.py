"""What runs in a container of the tree: scripts that packages bring, in the order dpkg has for them.

The tree is unpacked by us, so dpkg has not run the scripts that come before that (preinst); they are run first, as dpkg
would for a system that is new and where it would, since debconf looks there. After that it is dpkg's own work.
"""

from __future__ import annotations

from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NO_SERVICES = "usr/sbin/policy-rc.d", b"#!/bin/sh\nexit 101\n"  # nothing is started (invoke-rc.d(8))
# $1 is the package to configure first, the others are all packages, what others depend on first
SCRIPT = r"""set -e
exec 2>&1
cd /
first=$1; shift
architecture=$(/usr/bin/dpkg --print-architecture)
place=/var/lib/dpkg/tmp.ci
for name; do
    stem=/var/lib/dpkg/info/$name
    [ -e "$stem.list" ] || stem=$stem:$architecture
    if [ -x "$stem.preinst" ]; then
        mkdir -m 755 $place
        for part in preinst config templates; do
            [ ! -e "$stem.$part" ] || cp -p "$stem.$part" $place/$part
        done
        dpkg-query --status "$name" >$place/control
        DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE=$name \
            DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DPKG_MAINTSCRIPT_ARCH=$architecture $place/preinst install ||
            { echo "the preinst script of $name failed" >&2; exit 1; }
        rm -r $place
    fi
    if [ "$name" = "$first" ]; then /usr/bin/dpkg --force-depends --configure "$first"; fi
done
exec /usr/bin/dpkg --configure --pending
"""


@record
class Work:
    """A command to be run in a container whose root is a directory, which is to be changed."""

    directory: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]


def work_of(directory: str, names: list[str], first: str, date: int) -> Work:
    """What configures the packages of these names."""
    env = {
        "PATH": PATH,
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "DEBCONF_NONINTERACTIVE_SEEN": "true",
        "SOURCE_DATE_EPOCH": str(date),
        "container": "",
    }
    return Work(directory, ("/bin/sh", "-c", SCRIPT, "sh", first, *names), tuple(env.items()))


if TYPE_CHECKING:
    # what carries it out, where there is something that can: its exit code, and the last of what it wrote
    Configure = Callable[[Work], tuple[int, str]]
