"""The tables of `cloche manifest VERB`: docker's and podman's."""

from __future__ import annotations

from cloche.cli.options_images import OPTIONS, REGISTRY
from cloche.cli.table import FLAG, LIST, VALUE, Operand, Option, Verb

NAME = Operand("LIST", "its name", required=True, complete="<image>")
ALL = Option(("--all",), FLAG, OPTIONS, "", "of an image for several platforms, take all, not only this machine's")
DESCRIBING = (
    Option(
        ("--arch",), VALUE, OPTIONS, "ARCH", "the architecture it is for, in Go's words", complete="amd64 arm64 arm"
    ),
    Option(("--os",), VALUE, OPTIONS, "OS", "the operating system it is for", complete="linux windows"),
    Option(("--variant",), VALUE, OPTIONS, "VARIANT", "which kind of the architecture", complete="v6 v7 v8"),
    Option(("--os-version",), VALUE, OPTIONS, "VERSION", "which version of the operating system"),
    Option(("--os-features",), LIST, OPTIONS, "FEATURE", "what of the operating system it needs"),
    Option(("--annotation",), LIST, OPTIONS, "KEY=VALUE", "a note on the image in the list"),
)
INSECURE = Option(("--insecure",), FLAG, OPTIONS, "", "docker's word for --tls-verify=false")

MANIFEST_INSPECT = Verb(
    "manifest inspect",
    "print a manifest or a list",
    ("cloche manifest inspect [OPTIONS] NAME",),
    ("That of a list in the store, or else of what a registry has; with docker:// in front, always of the registry.",),
    (
        Option(
            ("-v", "--verbose"), FLAG, OPTIONS, "", "each manifest of a list, with its descriptor, as docker has it"
        ),
        INSECURE,
        *REGISTRY,
    ),
    operands=(Operand("NAME", "a list, or an image of a registry", required=True, complete="<image>"),),
    examples=(("cloche manifest inspect debian:12", "for which platforms there are images"),),
)

MANIFEST_CREATE = Verb(
    "manifest create",
    "make a list of images for several platforms",
    ("cloche manifest create [OPTIONS] LIST [IMAGE...]",),
    (
        "Images are taken from the store, or else from registries, which keep their layers until the list is pushed."
        " What they are for is read from them.",
    ),
    (
        Option(("-a", "--amend"), FLAG, OPTIONS, "", "add to a list that is there already"),
        ALL,
        INSECURE,
        *REGISTRY,
    ),
    operands=(
        Operand("LIST", "the name the list is to have", required=True),
        Operand("IMAGE", "by name or ID", many=True, complete="<image>"),
    ),
    examples=(
        ("cloche manifest create registry.example.com/app:1 app:amd64 app:arm64", "a list of two that are here"),
        ("cloche manifest push registry.example.com/app:1", "it goes to the registry, with what it lists"),
    ),
)

MANIFEST_ADD = Verb(
    "manifest add",
    "put images into a list",
    ("cloche manifest add [OPTIONS] LIST IMAGE...",),
    ("What they are for is read from them, where it is not said.",),
    (ALL, *DESCRIBING, INSECURE, *REGISTRY),
    operands=(NAME, Operand("IMAGE", "by name or ID", required=True, many=True, complete="<image>")),
    examples=(("cloche manifest add --variant v7 app:1 app:arm", "one more, with something it does not say itself"),),
)

MANIFEST_ANNOTATE = Verb(
    "manifest annotate",
    "say for what an image of a list is",
    ("cloche manifest annotate [OPTIONS] LIST IMAGE",),
    (),
    DESCRIBING,
    operands=(NAME, Operand("IMAGE", "its digest, or the name it was added by", required=True, complete="<image>")),
    examples=(("cloche manifest annotate --arch arm64 --variant v8 app:1 app:arm64", "its platform"),),
)

MANIFEST_REMOVE = Verb(
    "manifest remove",
    "take an image out of a list",
    ("cloche manifest remove LIST IMAGE",),
    (),
    (),
    operands=(NAME, Operand("IMAGE", "its digest, or the name it was added by", required=True, complete="<image>")),
    examples=(("cloche manifest remove app:1 app:arm64", "the list has one image less"),),
)

MANIFEST_EXISTS = Verb(
    "manifest exists",
    "say by the exit code whether a list is here",
    ("cloche manifest exists LIST",),
    ("0 if it is, 1 if it is not; nothing is printed.",),
    (),
    operands=(NAME,),
    examples=(("cloche manifest exists app:1 || cloche manifest create app:1", "in a script"),),
)

MANIFEST_PUSH = Verb(
    "manifest push",
    "send a list to a registry, with the images it lists",
    ("cloche manifest push [OPTIONS] LIST [NAME]",),
    (
        "What the registry has is not sent again; what another of its repositories has is taken from there, and what"
        " only another registry has is fetched first. The digest of the list is printed.",
    ),
    (
        Option(("-p", "--purge"), FLAG, OPTIONS, "", "remove the list here when it has arrived", aliases=("--rm",)),
        Option(("--all",), FLAG, OPTIONS, "", "accepted for podman's sake: all images are always sent"),
        Option(("-q", "--quiet"), FLAG, OPTIONS, "", "print nothing but the digest"),
        INSECURE,
        *REGISTRY,
    ),
    operands=(NAME, Operand("NAME", "what it is to be called there, if not LIST")),
    examples=(("cloche manifest push -p registry.example.com/app:1", "the list, which is then no longer here"),),
)

MANIFEST_RM = Verb(
    "manifest rm",
    "remove lists from the store",
    ("cloche manifest rm LIST...",),
    ("The images of a list stay if they have names; what a registry has stays there.",),
    (),
    operands=(Operand("LIST", "its name", required=True, many=True, complete="<image>"),),
    examples=(("cloche manifest rm registry.example.com/app:1", "one of them"),),
)
