"""The tables of `cloche image VERB`: those that are verbs by themselves too, and what only an image is asked."""

from __future__ import annotations

from cloche.cli import options_images as images
from cloche.cli.options_images import OPTIONS
from cloche.cli.table import FLAG, LIST, VALUE, Operand, Option, Verb, renamed

IMAGE = Operand("IMAGE", "by name or ID", required=True, complete="<image>")

IMAGE_LS = renamed(images.IMAGES, "image ls")
IMAGE_RM = renamed(images.RMI, "image rm")
IMAGE_PULL = renamed(images.PULL, "image pull")
IMAGE_PUSH = renamed(images.PUSH, "image push")
IMAGE_SAVE = renamed(images.SAVE, "image save")
IMAGE_LOAD = renamed(images.LOAD, "image load")
IMAGE_IMPORT = renamed(images.IMPORT, "image import")
IMAGE_TAG = renamed(images.TAG, "image tag")
IMAGE_HISTORY = renamed(images.HISTORY, "image history")

IMAGE_INSPECT = Verb(
    "image inspect",
    "print all there is to know of images",
    ("cloche image inspect [OPTIONS] IMAGE...",),
    ("JSON with docker's members, or what a template makes of it.",),
    (Option(("-f", "--format"), VALUE, OPTIONS, "FORMAT", "json, or a template such as '{{.Id}}'", complete="json"),),
    operands=(Operand("IMAGE", "by name or ID", required=True, many=True, complete="<image>"),),
    examples=(
        ("cloche image inspect debian:12", "everything"),
        ("cloche image inspect -f '{{.Config.Cmd}}' debian:12", "one thing"),
        ("cloche image inspect -f '{{json .Config.Env}}' debian:12", "one thing, as JSON"),
    ),
)

IMAGE_TREE = Verb(
    "image tree",
    "show an image's layers, and which images share them",
    ("cloche image tree IMAGE",),
    ("The lowest layer first, with its size and the other images that stand on it.",),
    (),
    operands=(IMAGE,),
    examples=(("cloche image tree debian:12", "its layers"),),
)

JSON = Option(("--format",), VALUE, OPTIONS, "json", "as JSON", complete="json", closed=True)

IMAGE_DIFF = Verb(
    "image diff",
    "show what an image changes in the one below it, or in another",
    ("cloche image diff [OPTIONS] IMAGE [OTHER]",),
    (
        "A line for each: A is added, C changed, D deleted. Without OTHER, that is what the top layer does; with it,"
        " what IMAGE has, and OTHER has not.",
    ),
    (JSON,),
    operands=(IMAGE, Operand("OTHER", "what it is compared with", complete="<image>")),
    examples=(
        ("cloche image diff app:2", "what its last layer changed"),
        ("cloche image diff app:2 app:1", "what is new since app:1"),
    ),
)

IMAGE_MOUNT = Verb(
    "image mount",
    "show an image's files in a directory of this machine, for root",
    ("cloche image mount [OPTIONS] [IMAGE...]",),
    (
        "They cannot be changed there, and a mounted image is not removed. Prints where that is; without an IMAGE,"
        " which images are mounted. An image that is mounted twice has to be unmounted twice.",
    ),
    (Option(("-a", "--all"), FLAG, OPTIONS, "", "mount all images"), JSON),
    operands=(Operand("IMAGE", "by name or ID", many=True, complete="<image>"),),
    examples=(
        ('ls "$(cloche image mount debian:12)"', "look into an image"),
        ("cloche image mount", "what is mounted"),
    ),
)

IMAGE_UNMOUNT = Verb(
    "image unmount",
    "undo what image mount did",
    ("cloche image unmount [OPTIONS] IMAGE...", "cloche image unmount --all"),
    (),
    (
        Option(("-a", "--all"), FLAG, OPTIONS, "", "unmount all images"),
        Option(("-f", "--force"), FLAG, OPTIONS, "", "however often it was mounted, and whoever has a file in it open"),
    ),
    operands=(Operand("IMAGE", "by name or ID", many=True, complete="<image>"),),
    examples=(("cloche image unmount debian:12", "one of them"),),
)

IMAGE_EXISTS = Verb(
    "image exists",
    "say by the exit code whether an image is here",
    ("cloche image exists IMAGE",),
    ("0 if it is, 1 if it is not; nothing is printed.",),
    (),
    operands=(IMAGE,),
    examples=(("cloche image exists debian:12 || cloche pull debian:12", "in a script"),),
)

IMAGE_PRUNE = Verb(
    "image prune",
    "remove images that have no name, or with -a all that no container uses",
    ("cloche image prune [OPTIONS]",),
    ("Asks before it does. Filters are until=TIME, label=KEY[=VALUE] and label!=KEY[=VALUE].",),
    (
        Option(("-a", "--all"), FLAG, OPTIONS, "", "also those that have a name, unless a running container uses them"),
        Option(("-f", "--force"), FLAG, OPTIONS, "", "do not ask"),
        Option(("--filter",), LIST, OPTIONS, "KEY=VALUE", "only images of which this is true"),
    ),
    examples=(("cloche image prune -f --filter until=240h", "those older than ten days"),),
)
