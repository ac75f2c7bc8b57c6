"""Release: what a suite is, and the hashes of its files (Debian wiki, RepositoryFormat).

Suite: oldstable         SHA256:
Codename: bookworm        9f1b… 1483 main/binary-amd64/Packages.xz
Date: Sat, 10 Jan 2026 09:54:39 UTC
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from cloche.errors import RegistryError, SpecError
from cloche.images.debian.control import the_paragraph
from cloche.images.debian.suites import FRESH
from cloche.images.digests import check_digest
from cloche.records import record

LARGEST_FILE = 1 << 30
OLDEST = 400  # days; stable gets a point release every two months
NO_VALID_UNTIL = "--no-check-valid-until takes it all the same"


@record
class Release:
    """What a Release says. Times are in seconds since 1970, 0 for none."""

    origin: str
    suite: str
    codename: str
    version: str
    description: str
    date: int
    valid_until: int
    by_hash: bool
    components: tuple[str, ...]
    architectures: tuple[str, ...]
    files: dict[str, tuple[str, int]]  # path -> (digest, size)


def parse_release(content: bytes) -> Release:
    """What a Release says. Raises SpecError."""
    said = the_paragraph(content)
    files: dict[str, tuple[str, int]] = {}
    for line in said.get("sha256", "").split("\n"):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or not (words[1].isascii() and words[1].isdecimal() and len(words[1]) < 12):
            raise SpecError(f"{line[:80]!r} is no hash of a file")
        files[words[2]] = check_digest(f"sha256:{words[0]}"), int(words[1])
    if not files:
        raise SpecError("has no hashes of SHA256")
    return Release(
        said.get("origin", ""),
        said.get("suite", ""),
        said.get("codename", ""),
        said.get("version", ""),
        said.get("description", ""),
        _time(said.get("date", ""), "Date"),
        _time(said["valid-until"], "Valid-Until") if "valid-until" in said else 0,
        said.get("acquire-by-hash", "") == "yes",
        tuple(word.rpartition("/")[2] for word in said.get("components", "").split()),
        tuple(said.get("architectures", "").split()),
        files,
    )


def _time(text: str, what: str) -> int:
    try:
        said = parsedate_to_datetime(text)
        return int((said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError):
        raise SpecError(f"has {text[:80]!r} for its {what}") from None


def check_release(release: Release, suite: str, now: float, *, valid_until: bool, where: str) -> None:
    """Whether it is the suite that was asked for, still valid, and no older than its name allows. Raises RegistryError.

    A Release without a time it is valid until may be sent again for ever: what a name that moves has meant once.
    """
    if suite not in {release.suite, release.codename}:
        raise RegistryError(f"{where} is the Release of {release.codename or release.suite}, not of {suite}")
    if valid_until and 0 < release.valid_until < now:
        until = datetime.fromtimestamp(release.valid_until, UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise RegistryError(f"{where} was valid until {until}", hint=f"use a mirror that is kept up; {NO_VALID_UNTIL}")
    days = int(now - release.date) // 86400
    if valid_until and days > OLDEST and suite.partition("-")[0] in FRESH:
        hint = f"name the release itself, or use a mirror that is kept up; {NO_VALID_UNTIL}"
        raise RegistryError(f"{where} is {days} days old, by which {suite} should be something newer", hint=hint)


def index_files(release: Release, component: str, architecture: str) -> list[tuple[str, str, int]]:
    """The ways to get the packages of a component: (path, digest, size), the smallest first. Raises RegistryError."""
    base = f"{component}/binary-{architecture}/Packages"
    found = [(base + end, *release.files[base + end]) for end in (".xz", ".gz", "") if base + end in release.files]
    if not found:
        has = ", ".join(release.architectures)
        raise RegistryError(
            f"{release.codename or release.suite} has no packages of {component} for {architecture}",
            hint=f"it has the architectures {has[:200]}, and the components {', '.join(release.components)[:200]}",
        )
    if any(size > LARGEST_FILE for _, _, size in found):
        raise RegistryError(f"{base} is longer than {LARGEST_FILE} bytes")
    return found
