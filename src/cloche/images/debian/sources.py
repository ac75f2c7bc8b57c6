"""apt's sources (sources.list(5)): one line each, or paragraphs of deb822.

deb [signed-by=FILE] http://deb.debian.org/debian bookworm main
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit, urlunsplit

from cloche.errors import SpecError
from cloche.images.debian.control import paragraphs
from cloche.records import record

PLACE = "/etc/apt"
SCHEMES = ("http", "https", "file", "copy")
ARMOR = "-----BEGIN PGP"


@record
class Source:
    """A suite of a mirror. `signed_by` is as apt has it: files, fingerprints, or a key itself; "" for Debian's own."""

    url: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    @property
    def shown(self) -> str:
        """The mirror's URL without user and password."""
        return without_login(self.url)


def without_login(url: str) -> str:
    """A URL without user and password."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def parse_mirror(text: str) -> str:
    """The URL of a mirror, without a slash at its end. Raises SpecError."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in SCHEMES and (
            bool(parts.hostname) if parts.scheme.startswith("http") else bool(parts.path)
        )
        _ = parts.port
    except ValueError:
        good = False
    if not good or not text.isprintable() or " " in text:
        # without what may be a password, wherever it ends
        hint = "http://, https:// or file:/// and a directory that has dists/ and pool/"
        raise SpecError(f"{text.rpartition('@')[2][:200]!r} is not the URL of a mirror", hint=hint)
    return text.rstrip("/")


def parse_list(text: str, architecture: str) -> list[Source]:
    """The sources of packages in a file of lines; what makes no sense is left out, as it is apt's to complain."""
    found = []
    for line in text.split("\n"):
        kind, _, rest = line.partition("#")[0].strip().partition(" ")
        if kind != "deb":
            continue
        said: dict[str, str] = {}
        rest = rest.strip()
        if rest.startswith("["):
            inside, _, rest = rest[1:].partition("]")
            said = dict(word.partition("=")[::2] for word in inside.split())
        words = rest.split()
        if len(words) < 3 or not _is_for(said.get("arch", "").replace(",", " "), architecture):
            continue
        found += _made([words[0]], [words[1]], words[2:], said.get("signed-by", "").replace(",", " "))
    return found


def parse_sources(content: bytes, architecture: str) -> list[Source]:
    """The sources of packages in a file of paragraphs."""
    found: list[Source] = []
    for said in paragraphs(content):
        if "deb" not in said.get("types", "").split() or said.get("enabled", "yes").lower() in {"no", "false", "0"}:
            continue
        if _is_for(said.get("architectures", ""), architecture):
            urls, suites, components = (said.get(key, "").split() for key in ("uris", "suites", "components"))
            found += _made(urls, suites, components, _key(said.get("signed-by", "")))
    return found


def _key(text: str) -> str:
    """Signed-By; where it is a key itself, its lines as they were."""
    if ARMOR not in text:
        return text.strip()
    lines = [line.strip() for line in text.strip().split("\n")]
    return "\n".join("" if line == "." else line for line in lines) + "\n"


def _is_for(text: str, architecture: str) -> bool:
    return not text.split() or architecture in text.split()


def _made(urls: list[str], suites: list[str], components: list[str], signed_by: str) -> list[Source]:
    found = []
    for url in urls:
        try:
            good = parse_mirror(url)
        except SpecError:
            continue  # cdrom:, tor+http: and what else apt has methods for
        found += [Source(good, suite, tuple(components), signed_by) for suite in suites]
    return found


def read_sources(architecture: str, suites: tuple[str, ...], place: str = PLACE) -> list[Source]:
    """What this machine's apt has of these suites; nothing unless the first of them is there."""
    found: list[Source] = []
    for path in _files(place):
        try:
            with open(path, "rb") as file:
                content = file.read()
            if path.endswith(".sources"):
                found += parse_sources(content, architecture)
            else:
                found += parse_list(content.decode(errors="replace"), architecture)
        except (OSError, SpecError):
            continue
    # others have suites of the same names, but none of their components is Debian's main
    own = [source for source in found if source.suite in suites and "main" in source.components]
    once = [source for number, source in enumerate(own) if source not in own[:number]]
    return once if any(source.suite == suites[0] for source in once) else []


def _files(place: str) -> list[str]:
    folder = f"{place}/sources.list.d"
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    beside = [f"{folder}/{name}" for name in names if name.endswith((".list", ".sources"))]
    return [path for path in (f"{place}/sources.list", *beside) if os.path.isfile(path)]
