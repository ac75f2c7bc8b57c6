"""Which verbs there are, and the options that stand before the verb.

A verb's table lives in one of the modules named here and is imported when it is asked for, so that
`cloche run` loads the table of `run` and no other. The order is the order in the overview. A name of two words is a
verb of a group, `cloche image ls`.
"""

from __future__ import annotations

import sys

from cloche.cli.table import FLAG, VALUE, Operand, Option, Verb, renamed
from cloche.errors import BAD_WORD, SpecError

IMAGES, IMAGE = "cloche.cli.options_images", "cloche.cli.options_image"
LISTS = "cloche.cli.options_image_lists"
SYSTEM = "cloche.cli.options_system"
VOLUMES = "cloche.cli.options_volumes"
EXECS = "cloche.cli.options_exec"
LIFE, LOOKS = "cloche.cli.options_containers", "cloche.cli.options_looks"
FILES = "cloche.cli.options_files"
MODULES = {
    "run": "cloche.cli.options_run",
    "shell": "cloche.cli.options_run",
    "explain": "cloche.cli.options_run",
    **dict.fromkeys(("exec", "top", "stats"), EXECS),
    **dict.fromkeys("create start".split(), "cloche.cli.options_create"),
    **dict.fromkeys("stop restart kill rm wait".split(), LIFE),
    "attach": "cloche.cli.options_create",
    **dict.fromkeys("pause unpause rename".split(), LIFE),
    **dict.fromkeys("ps inspect why port container".split(), LOOKS),
    "update": "cloche.cli.options_update",
    **dict.fromkeys(("healthcheck", "healthcheck run"), LIFE),
    "enter": EXECS,
    **dict.fromkeys("cp diff commit export".split(), FILES),
    **dict.fromkeys("pull images rmi push save load import tag".split(), IMAGES),
    **dict.fromkeys("history search login logout image manifest".split(), IMAGES),
    **dict.fromkeys((f"image {verb}" for verb in "ls inspect history tree diff exists rm prune".split()), IMAGE),
    **dict.fromkeys(("image mount", "image unmount"), IMAGE),
    **dict.fromkeys((f"image {verb}" for verb in "pull push save load import tag".split()), IMAGE),
    **dict.fromkeys(
        (f"manifest {verb}" for verb in "inspect create add annotate remove push rm exists".split()), LISTS
    ),
    "volume": VOLUMES,
    **dict.fromkeys((f"volume {verb}" for verb in "create ls inspect rm prune exists".split()), VOLUMES),
    "image bootstrap": "cloche.cli.options_image_bootstrap",
    "logs": "cloche.cli.options_logs",
    **dict.fromkeys(("events", "info", "system", "container prune"), SYSTEM),
    **dict.fromkeys((f"system {verb}" for verb in "df info prune events".split()), SYSTEM),
    "doctor": "cloche.cli.options_other",
    "completion": "cloche.cli.options_other",
    "help": "cloche.cli.options_other",
    "man": "cloche.cli.options_other",
    "version": "cloche.cli.options_other",
}
# docker's other names for verbs about containers
CONTAINERS = (
    "run create start stop restart kill rm wait attach pause unpause rename inspect exec top stats logs".split()
)
CONTAINERS += "why port update cp diff commit export".split()
MODULES |= {f"container {verb}": MODULES[verb] for verb in CONTAINERS} | {"container ls": LOOKS}

CLOCHE = Verb(
    "",
    "containers you can see through",
    ("cloche [OPTIONS] VERB [ARG...]",),
    (
        "cloche runs commands in containers: isolated from the rest of the machine by the kernel's own"
        " means, without a daemon and without being root. It shows every step it takes, and does not"
        " quietly do less than it was asked to.",
    ),
    (
        Option(
            ("--root",),
            VALUE,
            "Options",
            "DIR",
            "where images, containers, volumes and the events of all are kept",
            complete="<dir>",
        ),
        Option(
            ("--state-dir",),
            VALUE,
            "Options",
            "DIR",
            "keep what is only true until the next boot in this directory",
            complete="<dir>",
        ),
        Option(("-D", "--debug"), FLAG, "Options", "", "show where in the program an error came from"),
        Option(("-v", "--version"), FLAG, "Options", "", "show which version this is"),
    ),
    operands=(
        Operand("VERB", "what to do", complete="<verb>"),
        Operand("ARG", "what the verb takes", many=True),
    ),
    examples=(
        ("cloche shell", "a shell whose changes are thrown away"),
        ("cloche run -m 512m host make test", "a command, with limits"),
        ("cloche explain host true", "what that would do, step by step"),
    ),
    stop=1,
)


ALIASES = {  # docker's, not shown
    "image list": "image ls",
    "image remove": "image rm",
    "image umount": "image unmount",
    "volume list": "volume ls",
    "volume remove": "volume rm",
    "container list": "container ls",
    "container ps": "container ls",
}
HINT = "cloche --help lists what there is"
KNOWN_ELSEWHERE = dict.fromkeys(
    ("build", "buildx", "builder"), "images are made by others here: cloche pull, load, import, commit"
)
KNOWN_ELSEWHERE |= {
    "network": "networks of containers are not here yet: --network none, host, ns:PATH or container:NAME",
    "compose": "each container by itself: cloche run -d; --network container:NAME has two share one network",
    "context": "there is no daemon to choose: --root and --state-dir say where containers and images are",
    "plugin": "there are no plugins: volumes and logs have the drivers that cloche run --help names",
    "checkpoint": "a container can stand still: cloche pause",
    **dict.fromkeys("swarm node service stack secret config".split(), "containers of this machine alone"),
}


def find(name: str) -> Verb:
    """The table of one verb.

    Raises SpecError when there is no such verb, with the name that was probably meant.
    """
    name = ALIASES.get(name, name)
    module = MODULES.get(name)
    if module is None:
        from cloche.cli.grammar import nearest

        similar = "" if name in KNOWN_ELSEWHERE else nearest(name, list(MODULES))
        asked = f", did you mean {similar}?" if similar else ""
        group, space, _ = name.partition(" ")
        hint = f"cloche {group} --help lists what there is" if space else KNOWN_ELSEWHERE.get(name, HINT)
        raise SpecError(f"unknown verb {name!r}{asked}", hint=hint, code=BAD_WORD)
    __import__(module)
    table = getattr(sys.modules[module], name.upper().replace(" ", "_"), None)
    if table is None and name.startswith("container "):
        return renamed(find(name.removeprefix("container ")), name)
    assert isinstance(table, Verb)
    return table


def is_group(name: str) -> bool:
    """Whether it is the first of two words."""
    return any(other.startswith(f"{name} ") for other in MODULES)


def make_group(name: str, summary: str, description: tuple[str, ...]) -> Verb:
    """The table of the first of two words."""
    verbs = [other.removeprefix(f"{name} ") for other in MODULES if other.startswith(f"{name} ")]
    return Verb(
        name,
        summary,
        (f"cloche {name} VERB [ARG...]",),
        description,
        (),
        operands=(
            Operand("VERB", "what to do", complete=" ".join(verbs)),
            Operand("ARG", "what the verb takes", many=True),
        ),
        examples=((f"cloche {name} {verbs[0]} --help", "how that is used"),),
        stop=1,
    )


def every() -> list[Verb]:
    """All verbs, in the order of the overview."""
    return [find(name) for name in MODULES]
