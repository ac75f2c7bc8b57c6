"""Which manifest of an index is for this machine, or the one asked for.

A platform is OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, in Go's names, as docker's --platform takes it; also
ARCHITECTURE alone. An ARM of v7 runs programs for v6 and v5 as well; of what fits as well as another, the first wins.
"""

from __future__ import annotations

import posix as os

from cloche.errors import NotFoundError, SpecError
from cloche.records import record
from cloche.spec.image import Descriptor, Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# uname(2)'s word for a machine -> Go's
MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""),
    "mips64": ("mips64le", ""),
}
ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm", "i386": "386"}
ALIAS_VARIANTS = {"armhf": "v7", "armel": "v6"}
DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7"}
MOST_ASKED = 16  # manifests of an index that are fetched to see what they are for
ARM = ("v8", "v7", "v6", "v5")


@record
class Wanted:
    """A platform to look for; `given` is whether somebody asked for it, and it is not just this machine's."""

    os: str
    architecture: str
    variant: str = ""
    given: bool = False

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def own_platform() -> Wanted:
    """This machine's."""
    architecture, variant = MACHINES.get(os.uname().machine, (os.uname().machine, ""))
    return Wanted("linux", architecture, variant)


def parse_platform(text: str) -> Wanted:
    """What --platform says; "" is this machine's. Raises SpecError."""
    if not text:
        return own_platform()
    words = text.lower().split("/")
    if not all(word and word.isascii() and word.replace("-", "").replace("_", "").isalnum() for word in words):
        raise SpecError(f"{text!r} is not a platform", hint="OS/ARCHITECTURE[/VARIANT], such as linux/arm64")
    if len(words) == 1:
        if words[0] in {"linux", "windows", "darwin", "freebsd"}:
            own = own_platform()
            return Wanted(words[0], own.architecture, own.variant, given=True)
        words.insert(0, "linux")
    if len(words) > 3:
        raise SpecError(f"{text!r} is not a platform", hint="OS/ARCHITECTURE[/VARIANT], such as linux/arm64")
    architecture = ALIASES.get(words[1], words[1])
    variant = words[2] if len(words) == 3 else ALIAS_VARIANTS.get(words[1], DEFAULT_VARIANTS.get(architecture, ""))
    return Wanted(words[0], architecture, variant, given=True)


def choose(manifests: list[Descriptor], wanted: Wanted, what: str) -> Descriptor:
    """The one of an index for this platform; NotFoundError names those there are."""
    found = [(rank, item) for item in manifests if (rank := _rank(item, wanted)) is not None]
    if found:
        return min(found, key=lambda pair: pair[0])[1]
    there = sorted({_name(item) for item in manifests if item.platform is not None} - {"unknown/unknown"})
    raise NotFoundError(
        f"{what} has nothing for the platform {wanted}",
        hint=f"there is {', '.join(there[:12])}: give one with --platform" if there else "it names no platforms",
    )


def choose_asking(
    manifests: list[Descriptor], wanted: Wanted, what: str, ask: Callable[[Descriptor], Platform | None]
) -> Descriptor:
    """The same, of an index that may not say what its manifests are for: then `ask` does, of the first few."""
    try:
        return choose(manifests, wanted, what)
    except NotFoundError:
        silent = [item for item in manifests if item.platform is None][:MOST_ASKED]
        if not silent:
            raise
    told = [
        Descriptor(mediaType=item.mediaType, digest=item.digest, size=item.size, platform=item.platform or ask(item))
        for item in manifests
        if item.platform is not None or item in silent
    ]
    return choose(told, wanted, what)


def suits(platform: Platform, wanted: Wanted) -> bool:
    """Whether what is for one platform is for another as well; what does not say is for all."""
    if not platform.os or not platform.architecture:
        return True
    return _rank(Descriptor(mediaType="", digest="", size=0, platform=platform), wanted) is not None


def shown(platform: Platform) -> str:
    """A platform as one writes it."""
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))


def _rank(item: Descriptor, wanted: Wanted) -> int | None:
    """How well a manifest fits, 0 the best; None where it does not."""
    platform = item.platform
    if platform is None or (platform.os, platform.architecture) != (wanted.os, wanted.architecture):
        return None
    has = platform.variant or DEFAULT_VARIANTS.get(platform.architecture, "")
    if has == wanted.variant:
        return 0
    if wanted.architecture == "arm" and wanted.variant in ARM:
        runs = ARM[ARM.index(wanted.variant) :]
        return runs.index(has) if has in runs else None
    # levels of amd64 (v2, v3) and the like: what asks for none runs everywhere
    return 1 if not has else None


def _name(item: Descriptor) -> str:
    assert item.platform is not None
    return shown(item.platform)
