"""The table of `cloche image bootstrap`."""

from __future__ import annotations

from cloche.cli.options_images import OPTIONS
from cloche.cli.table import FLAG, LIST, VALUE, Operand, Option, Verb

IMAGE_BOOTSTRAP = Verb(
    "image bootstrap",
    "make a base image of Debian from its packages",
    ("cloche image bootstrap [OPTIONS] debian:RELEASE [NAME[:TAG]]",),
    (
        "For a machine that reaches a mirror of packages and no registry. The packages come from where this machine's"
        " apt has them, or from Debian's own mirror; their signatures are checked with Debian's keys. The same state"
        " of a mirror gives the same image, to the digest. It is called debian:RELEASE, unless a NAME is given.",
    ),
    (
        Option(("--mirror",), VALUE, OPTIONS, "URL", "take the packages from there: http://, https:// or file:///"),
        Option(("--include",), LIST, OPTIONS, "PACKAGE,...", "more packages, with what they depend on"),
        Option(
            ("--variant",),
            VALUE,
            OPTIONS,
            "VARIANT",
            "minbase: what is required, and apt; apt: what is essential, and apt; essential: only that",
            default="minbase",
            complete="minbase apt essential",
            closed=True,
        ),
        Option(("--platform",), VALUE, OPTIONS, "OS/ARCH[/VARIANT]", "for this platform, in place of this machine's"),
        Option(("--keyring",), VALUE, OPTIONS, "FILE", "the keys that count, in place of Debian's", complete="<file>"),
        Option(("--no-check-gpg",), FLAG, OPTIONS, "", "do not check signatures; the image says so"),
        Option(("--no-check-valid-until",), FLAG, OPTIONS, "", "take a mirror however old what it says is"),
        Option(("-q", "--quiet"), FLAG, OPTIONS, "", "print nothing but the image's name"),
        Option(("-v", "--verbose"), FLAG, OPTIONS, "", "print what the packages' scripts say"),
    ),
    operands=(
        Operand("RELEASE", "such as debian:12, debian:bookworm, debian:sid", required=True),
        Operand("NAME", "what to call the image"),
    ),
    examples=(
        ("cloche image bootstrap debian:12", "the image debian:12"),
        ("cloche image bootstrap --include git,make debian:12 tools:1", "one with more in it"),
        ("cloche image bootstrap --mirror http://mirror.example.com/debian debian:13", "from a mirror nearby"),
    ),
)
