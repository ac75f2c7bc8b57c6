"""Names of images, by docker's grammar (github.com/distribution/reference):

    reference  := name [":" tag] ["@" digest]
    name       := [domain "/"] component {"/" component}
    domain     := host [":" port], known by a dot, a colon, a capital letter, or as localhost
    component  := letters and digits, lower case, with "_" "." "__" or hyphens between them

What has no domain is docker.io's, and there what has one component is below library/. Without tag and digest the tag
is latest. A name nobody gave a domain may mean something else where registries.conf has aliases for it.
"""

from __future__ import annotations

from cloche.errors import RegistryError, SpecError
from cloche.images.digests import check_digest
from cloche.records import record

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
OFFICIAL = "library/"  # where docker.io has what has no owner
LONGEST_NAME, LONGEST_TAG = 255, 128
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_LETTERS = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEXADECIMAL = frozenset("0123456789abcdef")


@record
class Reference:
    """One image, or with only a name all of a repository's.

    `short` is whether it was given without a domain, so that another registry than docker.io may be meant.
    """

    domain: str
    path: str
    tag: str = ""
    digest: str = ""
    short: bool = False

    @property
    def name(self) -> str:
        """The repository, in full: docker.io/library/debian."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as docker shows it: debian."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        below = self.path.removeprefix(OFFICIAL)
        return self.path if "/" in below else below

    @property
    def familiar(self) -> str:
        """The whole as docker shows it: debian:12."""
        return self.familiar_name + self._ending()

    @property
    def selector(self) -> str:
        """What to ask a registry for: the digest if there is one, else the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        return self.name + self._ending()

    def _ending(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str, *, tagged: bool = True) -> Reference:
    """The reference that was written; with `tagged` one without tag and digest gets the tag latest.

    Raises SpecError.
    """
    name, at, digest = text.partition("@")
    if at:
        check_digest(digest)
    last = name.rfind("/") + 1
    name_end, colon, tag = name[last:].partition(":")
    # a colon in the first of several components is a port
    name = name[:last] + name_end
    if colon:
        _check_tag(tag, text)
    if not name:
        raise _wrong(text, "has no name", "such as debian:12")
    domain, path, short = _split(name)
    if len(path) == 64 and short and _HEXADECIMAL.issuperset(path):
        raise _wrong(text, "looks like an image ID, which is no name", "give the first digits of the ID, or a name")
    if not _is_domain(domain):
        raise _wrong(text, f"has {domain!r} for a registry", "HOST or HOST:PORT")
    for component in path.split("/"):
        _check_component(component, text)
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = OFFICIAL + path
    if len(f"{domain}/{path}") > LONGEST_NAME:
        raise _wrong(text, f"has a name of more than {LONGEST_NAME} characters")
    if tagged and not tag and not digest:
        tag = DEFAULT_TAG
    return Reference(domain, path, tag, digest, short)


def claimed_name(text: str, *digests: str) -> str:
    """The name in full that an image comes with; "" for none, and for one with a digest that is none of its own.

    Whoever made the image may lie. Raises RegistryError.
    """
    if not text:
        return ""
    try:
        reference = parse_reference(text)
    except SpecError as error:
        raise RegistryError(f"the image has a name that is none: {error}") from None
    return str(reference) if reference.digest in {"", *digests} else ""


def split_domain(text: str) -> tuple[str, str]:
    """The registry that a text begins with, "" for none, and the rest. Raises SpecError for one that cannot be."""
    domain, rest, short = _split(text)
    if short:
        return "", text
    if not _is_domain(domain):
        raise _wrong(text, f"has {domain!r} for a registry", "HOST or HOST:PORT")
    return domain, rest


def is_tag(text: str) -> bool:
    """Whether a text can be a tag."""
    return bool(text) and len(text) <= LONGEST_TAG and text[0] not in ".-" and set(text) <= _LETTERS | set("_.-")


def is_path(text: str) -> bool:
    """Whether a text can be the name of a repository below its registry."""
    if not 0 < len(text) <= LONGEST_NAME:
        return False
    try:
        for component in text.split("/"):
            _check_component(component, text)
    except SpecError:
        return False
    return True


def _split(name: str) -> tuple[str, str, bool]:
    """The domain, what is below it, and whether no domain was given."""
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return ("docker.io" if first == "index.docker.io" else first), rest, False
    return DEFAULT_DOMAIN, name, True


def _is_domain(domain: str) -> bool:
    if domain.startswith("["):  # an IPv6 address
        host, bracket, port = domain[1:].partition("]")
        good = bool(bracket and host) and set(host) <= _HEXADECIMAL | set("ABCDEF:.")
        port, colon = port.removeprefix(":"), port.startswith(":")
        if port and not colon:
            return False
    else:
        host, colon_text, port = domain.partition(":")
        colon = bool(colon_text)
        good = all(
            part and _LETTERS | {"-"} >= set(part) and part[0] != "-" and part[-1] != "-" for part in host.split(".")
        )
    return good and (not colon or (port.isascii() and port.isdecimal() and len(port) <= 5))


def _check_component(component: str, text: str) -> None:
    """Lower-case letters and digits, with one dot, one or two underscores, or any number of hyphens between them."""
    if component and _LOWER.issuperset(component):
        return
    if component != component.lower():
        raise _wrong(text, "has capital letters in it", f"did you mean {text.lower()}?")
    runs: list[str] = []
    for character in component:
        if character in _LOWER:
            runs.append("")
        elif character not in "._-" or not runs:
            raise _wrong(text, f"has {component!r} in its name", "lower-case letters and digits, with . _ - between")
        else:
            runs[-1] += character
    good = bool(runs) and not runs[-1]
    if not good or any(run not in {"", ".", "_", "__"} and run.strip("-") for run in runs):
        raise _wrong(text, f"has {component!r} in its name", "lower-case letters and digits, with . _ - between")


def _check_tag(tag: str, text: str) -> None:
    if not is_tag(tag):
        raise _wrong(text, f"has {tag[:LONGEST_TAG]!r} for a tag", "up to 128 letters, digits, _ . and -")


def _wrong(text: str, what: str, hint: str = "") -> SpecError:
    shown = text if len(text) <= 120 else text[:117] + "…"
    return SpecError(f"invalid reference format: {shown!r} {what}", hint=hint)
