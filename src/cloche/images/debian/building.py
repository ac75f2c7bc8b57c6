"""An image of Debian, from its name and a mirror: all steps, in their order.

What there is to know of its making is in the image: where the packages are from, who signed for them, or that nobody
looked. Its time is that of the newest Release, or SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager

from cloche.errors import RegistryError, SpecError, StageError, UnsupportedError
from cloche.images.debian import configuring, suites
from cloche.images.debian.fetching import Mirrors, fetch_index, fetch_packages, fetch_release
from cloche.images.debian.helper import Helper
from cloche.images.debian.packages import Archive, parse_packages
from cloche.images.debian.release import check_release, index_files, parse_release
from cloche.images.debian.resolving import FIRST, first_choice, resolve
from cloche.images.debian.signature import keyring_of, unchecked
from cloche.images.debian.sources import Source, read_sources
from cloche.images.debian.storing import About, name_image, store_image
from cloche.images.removing import filling
from cloche.images.store.locks import lock
from cloche.images.unpack.tar import BadArchive
from cloche.images.unpack.worker import Worker
from cloche.linux import files
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.images.debian.configuring import Configure
    from cloche.images.debian.packages import Package
    from cloche.images.debian.release import Release
    from cloche.images.platforms import Wanted
    from cloche.images.store.layout import Layout
    from cloche.images.unpack.worker import Unpacking
    from cloche.spec.image import Descriptor

EXEC_FORMAT = 126  # what a container says of a program that is none here
LINKS = {"amd64": ("lib64",), "ppc64el": ("lib64",), "loong64": ("lib64",), "mips64el": ("lib64",)}


@record
class Recipe:
    """What is to be made.

    `said` is the release as it was named, `suite` as mirrors have it; `mirror` "" is what this machine's apt has, or
    Debian's own; `keyring` "" is what is usual; `date` is in seconds since 1970, None for that of the newest Release.
    """

    said: str
    suite: str
    name: str
    platform: Wanted
    mirror: str = ""
    keyring: str = ""
    variant: str = "minbase"
    include: tuple[str, ...] = ()
    check_signature: bool = True
    check_valid_until: bool = True
    date: int | None = None


class Progress:
    """What is told while it goes on; this one tells nobody."""

    def release(self, source: Source, release: Release, signers: tuple[str, ...]) -> None:
        """A Release was read, and was signed by these; nobody looked where there are none."""

    def left_out(self, source: Source, release: Release) -> None:
        """A Release is not Debian's, so that it does not count."""

    def chosen(self, packages: list[Package]) -> None:
        """It is known what the system is made of."""

    def arrived(self, package: Package) -> None:
        """A package is here."""

    def unpacking(self) -> None:
        """All packages are here."""

    def configuring(self) -> None:
        """All packages are unpacked."""

    def packing(self) -> None:
        """All packages are configured."""


@record
class Suite:
    """A Release that was looked at, and who signed it."""

    source: Source
    release: Release
    signers: tuple[str, ...]


def bootstrap(
    layout: Layout, recipe: Recipe, unpacking: Unpacking, configure: Configure, progress: Progress
) -> Descriptor:
    """Make an image and give it its name. Raises ClocheError, OSError."""
    if not unpacking.powers.own:
        raise UnsupportedError(
            "making a system of packages",
            needs="more than one id: its files belong to several users, and dpkg gives them away",
            hint="sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER; and newuidmap (uidmap)",
        )
    layout.make()
    with filling(layout, lambda: Worker(unpacking.users)):
        return _bootstrap(layout, recipe, unpacking, configure, progress)


def _bootstrap(
    layout: Layout, recipe: Recipe, unpacking: Unpacking, configure: Configure, progress: Progress
) -> Descriptor:
    architecture = suites.architecture_of(recipe.platform)
    mirrors = Mirrors()
    known = _suites(mirrors, recipe, architecture, progress)
    archive = Archive(_packages(mirrors, known, architecture), architecture)
    chosen = resolve(archive, first_choice(archive, recipe.variant, recipe.include))
    progress.chosen(chosen)
    fetch_packages(mirrors, layout, [(known[item.source].source.url, item) for item in chosen], progress.arrived)
    progress.unpacking()
    date = recipe.date if recipe.date is not None else max(suite.release.date for suite in known)
    about = About(known[0], known, recipe, chosen, date)
    with _place(layout, Helper(unpacking.users)) as (folder, held, helper):
        with files.Fd(os.open(f"{folder}/fs", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
            merged = ("bin", "sbin", "lib", *LINKS.get(architecture, ()))
            helper.begin(root.number, merged, unpacking.powers, held)
        names = [_unpack(layout, helper, item) for item in chosen]
        helper.end()
        helper.write(*configuring.NO_SERVICES, 0o755)
        progress.configuring()
        _configure(configure, configuring.work_of(f"{folder}/fs", names, FIRST, date), recipe)
        progress.packing()
        helper.settle()
        for path, content in about.files():
            helper.write(path, content)
        descriptor, layer = store_image(layout, about, lambda out: helper.pack(out, date))
    return name_image(layout, recipe.name, descriptor, layer, unpacking)


@contextmanager
def _place(layout: Layout, helper: Helper) -> Iterator[tuple[str, int, Helper]]:
    """A directory with a directory fs in it, this run's alone, and the lock on it; both are gone in the end.

    A process id does not tell two runs apart: they may be in namespaces of their own, or one have been killed before.
    """
    folder = f"{layout.path}/incoming/debian-{os.getpid()}-{os.urandom(8).hex()}.d"
    try:
        with lock(f"{folder}.lock") as held:
            try:
                for path in (folder, f"{folder}/fs"):
                    os.mkdir(path)
                    os.chmod(path, 0o755)
                yield folder, held.number, helper
            finally:
                _remove(layout, folder, helper)
                os.unlink(f"{folder}.lock")
    finally:
        helper.close()


def _suites(mirrors: Mirrors, recipe: Recipe, architecture: str, progress: Progress) -> list[Suite]:
    """The Releases of all suites that count, each looked at before it is read; the main one first."""
    wanted = suites.suites_of(recipe.suite)
    if recipe.mirror:
        return [_looked_at(mirrors, recipe, Source(recipe.mirror, recipe.suite, ("main",)), progress)]
    own = read_sources(architecture, wanted)
    sources = sorted(own or suites.default_sources(recipe.suite), key=lambda source: wanted.index(source.suite))
    found = []
    for source in sources:
        suite = _looked_at(mirrors, recipe, source, progress)
        if suite.release.origin == suites.ORIGIN:
            found.append(suite)
        elif not own:
            raise RegistryError(f"{_where(source)} is of {suite.release.origin[:80]!r}, not of {suites.ORIGIN}")
    there = {suite.source.suite for suite in found}
    # what fixes a release is part of it: without that it would be weaker than what was asked for
    needed = {wanted[0], wanted[-1], *(source.suite for source in sources)}
    for name in wanted:
        if name in needed - there:
            hint = "add it to apt's sources; --mirror URL takes the release alone"
            raise RegistryError(f"no source of this machine's apt has Debian's {name}", hint=hint)
    return found


def _where(source: Source) -> str:
    return f"{source.shown} {source.suite}"


def _looked_at(mirrors: Mirrors, recipe: Recipe, source: Source, progress: Progress) -> Suite:
    """The Release of a source: its signature, and whether it is the suite. Raises ForbiddenError, RegistryError."""
    keyring = keyring_of(source.signed_by, recipe.keyring, suites.KEYRINGS) if recipe.check_signature else None
    content, signature = fetch_release(mirrors, source)
    signed = keyring.verify(content, signature, _where(source)) if keyring is not None else unchecked(content)
    try:
        release = parse_release(signed.content)
    except SpecError as error:
        raise RegistryError(f"{_where(source)} has a Release that is none: {error}") from None
    # before its origin counts: one of another suite, by the same key, is not somebody else's but a lie
    check_release(release, source.suite, time.time(), valid_until=recipe.check_valid_until, where=_where(source))
    if recipe.mirror or release.origin == suites.ORIGIN:
        progress.release(source, release, signed.signers)
    else:
        progress.left_out(source, release)
    return Suite(source, release, signed.signers)


def _packages(mirrors: Mirrors, known: list[Suite], architecture: str) -> list[Package]:
    found = []
    for number, suite in enumerate(known):
        for component in suite.source.components:
            ways = index_files(suite.release, component, architecture)
            content = fetch_index(mirrors, suite.source, suite.release, ways)
            try:
                found += parse_packages(content, architecture, number)
            except SpecError as error:
                raise RegistryError(f"{_where(suite.source)}: Packages of {component}: {error}") from None
    return found


def _unpack(layout: Layout, helper: Helper, package: Package) -> str:
    with files.Fd(os.open(layout.blob(package.digest), os.O_RDONLY | os.O_CLOEXEC)) as deb:
        try:
            name = helper.add(deb.number)
        except BadArchive as error:
            raise RegistryError(f"the package {package.filename} {error}") from None
    if name != package.name:
        raise RegistryError(f"the package {package.filename} is {name}, not {package.name}")
    return name


def _configure(configure: Configure, work: configuring.Work, recipe: Recipe) -> None:
    code, said = configure(work)
    if code == EXEC_FORMAT:
        raise UnsupportedError(
            f"configuring packages for {recipe.platform}",
            needs="a machine that runs its programs",
            hint="leave out --platform, or have an emulator registered with binfmt_misc: apt install qemu-user-static",
        )
    if code:
        last = next((line for line in reversed(said.split("\n")) if line.strip()), "it said nothing")
        raise StageError(f"configuring the packages failed ({code}): {last.strip()}", hint="--verbose shows all of it")


def _remove(layout: Layout, folder: str, helper: Helper) -> None:
    try:
        with files.Fd(os.open(f"{layout.path}/incoming", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as incoming:
            helper.remove(incoming.number, os.path.basename(folder))
    except (OSError, StageError):
        pass  # what is left is removed by the next rmi
