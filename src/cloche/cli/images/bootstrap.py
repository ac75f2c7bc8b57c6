"""`cloche image bootstrap`: an image of Debian made of packages, and what its making is like."""

from __future__ import annotations

import os
import sys

from cloche.cli.human import size
from cloche.cli.output import message, plain
from cloche.errors import SpecError
from cloche.images.debian.building import Progress, Recipe
from cloche.images.debian.building import bootstrap as make
from cloche.images.debian.sources import parse_mirror
from cloche.images.debian.suites import parse_suite
from cloche.images.platforms import parse_platform
from cloche.images.references import parse_reference
from cloche.images.store.layout import Layout, store_dir
from cloche.sandbox.image import unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.images.debian.configuring import Configure, Work
    from cloche.images.debian.packages import Package
    from cloche.images.debian.release import Release
    from cloche.images.debian.sources import Source

LONGEST = 1 << 20  # bytes that are kept of what scripts say
HOSTNAME = "localhost"  # scripts write it into files
EPOCH = "SOURCE_DATE_EPOCH"  # reproducible-builds.org/docs/source-date-epoch


def bootstrap(parsed: Parsed) -> int:
    """Carry out `image bootstrap`."""
    recipe = _recipe(parsed)
    quiet = parsed.flag("quiet")
    progress = Notes() if quiet else Lines()
    descriptor = make(Layout(store_dir()), recipe, unpacking(), _configure(verbose=parsed.flag("verbose")), progress)
    if not quiet:
        print(f"Digest: {descriptor.digest}")
    print(recipe.name)
    return 0


def _recipe(parsed: Parsed) -> Recipe:
    text, *rest = parsed.positionals
    said, suite = parse_suite(text)
    mirror, include = parsed.text("mirror"), parsed.all("include")
    return Recipe(
        said,
        suite,
        str(_name(rest[0] if rest else f"debian:{said}")),
        parse_platform(parsed.text("platform") or ""),
        parse_mirror(mirror) if mirror is not None else "",
        parsed.text("keyring") or "",
        parsed.text("variant") or "minbase",
        tuple(word for text in include for word in text.replace(",", " ").split()),
        check_signature=not parsed.flag("no_check_gpg"),
        check_valid_until=not parsed.flag("no_check_valid_until"),
        date=_date(os.environ.get(EPOCH, "")),
    )


def _name(text: str) -> object:
    reference = parse_reference(text)
    if reference.digest:
        raise SpecError(f"{text!r} has a digest, which an image has by itself", hint="NAME[:TAG]")
    return reference


def _date(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 11):
        raise SpecError(f"{EPOCH} is {text[:80]!r}, and should be seconds since 1970")
    return int(text)


def _configure(*, verbose: bool) -> Configure:
    """What runs the packages' scripts: a container without a network, whose root is the new system."""

    def configure(work: Work) -> tuple[int, str]:
        from cloche.sandbox.api import run

        said = bytearray()

        def heard(part: bytes) -> None:
            if verbose:
                sys.stderr.buffer.write(part)
                sys.stderr.buffer.flush()
            said.extend(part)
            del said[:-LONGEST]

        result = run(
            work.command,
            rootfs=f"{work.directory}:rw",
            env=dict(work.env),
            stdout=heard,
            stderr=heard,
            network="none",
            hostname=HOSTNAME,
        )
        return result.exit_code, said.decode("utf-8", "replace")

    return configure


class Notes(Progress):
    """What is told even to those who want to hear nothing."""

    def left_out(self, source: Source, release: Release) -> None:
        origin = release.origin or "nobody who says so"
        note = f"{source.shown} {source.suite} is left out: it is of {origin[:80]}, not of Debian"
        sys.stderr.write(f"note: {message(note)}\n")


class Lines(Notes):
    """A line for each step."""

    def release(self, source: Source, release: Release, signers: tuple[str, ...]) -> None:
        signed = f"signed by {', '.join(name[-16:].upper() for name in signers)}" if signers else "NOT CHECKED"
        version = f" {release.version}" if release.version else ""
        _say(f"{source.shown} {source.suite}{version}: {signed}")

    def chosen(self, packages: list[Package]) -> None:
        _say(f"Fetching {len(packages)} packages, {size(sum(package.size for package in packages))}")

    def unpacking(self) -> None:
        _say("Unpacking")

    def configuring(self) -> None:
        _say("Configuring")

    def packing(self) -> None:
        _say("Writing the layer")


def _say(line: str) -> None:
    sys.stdout.write(plain(line) + "\n")
    sys.stdout.flush()
