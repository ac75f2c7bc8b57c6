"""Debian's releases by name and number, its architectures, and where it is when nobody says."""

from __future__ import annotations

from cloche.errors import NotFoundError, SpecError
from cloche.images.debian.sources import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.platforms import Wanted

NUMBERS = {"11": "bullseye", "12": "bookworm", "13": "trixie", "14": "forky"}
MOVING = ("stable", "oldstable", "oldoldstable", "testing", "unstable", "sid")
FRESH = ("stable", "oldstable", "testing", "unstable", "sid")  # which change at least every year; oldoldstable may not
ENDLESS = ("unstable", "sid")  # which have neither updates nor fixes beside them
MIRROR, SECURITY = "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"
KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg")
ORIGIN = "Debian"
# Go's words -> dpkg's
ARCHITECTURES = {
    "amd64": "amd64",
    "arm64": "arm64",
    "arm/v7": "armhf",
    "arm/v6": "armel",
    "arm/v5": "armel",
    "386": "i386",
    "ppc64le": "ppc64el",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loong64": "loong64",
    "mips64le": "mips64el",
}


def parse_suite(text: str) -> tuple[str, str]:
    """DISTRIBUTION:SUITE as (what was said after the colon, the suite's name on a mirror). Raises SpecError."""
    distribution, colon, said = text.partition(":")
    known = ", ".join(f"debian:{number}" for number in NUMBERS)
    if distribution != "debian":
        raise SpecError(f"{text!r} is not a system that can be made here", hint=f"{known}, debian:sid")
    if not colon:
        said = "stable"
    suite = NUMBERS.get(said, said)
    if suite not in NUMBERS.values() and suite not in MOVING:
        raise NotFoundError(f"{text!r} is no release of Debian that is known here", hint=f"{known}, debian:sid")
    return said, suite


def architecture_of(wanted: Wanted) -> str:
    """dpkg's word for a platform. Raises NotFoundError."""
    name = f"{wanted.architecture}/{wanted.variant}" if wanted.architecture == "arm" else wanted.architecture
    if wanted.os != "linux" or name not in ARCHITECTURES:
        raise NotFoundError(f"Debian has nothing for the platform {wanted}", hint=f"such as {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def suites_of(suite: str) -> tuple[str, ...]:
    """The suite, and those beside it that fix it."""
    return (suite,) if suite in ENDLESS else (suite, f"{suite}-updates", f"{suite}-security")


def default_sources(suite: str) -> list[Source]:
    """Where Debian is."""
    main, *beside = suites_of(suite)
    found = [Source(MIRROR, name, ("main",)) for name in (main, *beside[:1])]
    return [*found, *(Source(SECURITY, name, ("main",)) for name in beside[1:])]
