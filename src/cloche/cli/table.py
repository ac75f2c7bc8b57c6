"""What a table of the command line is made of: `Verb`, `Option`, `Operand`, all data, no behaviour.

The parser (`grammar`), `--help`, the manual pages and the completion scripts all read the same
tables, so they cannot disagree. What a value means is decided by whoever carries the verb out.
"""

from __future__ import annotations

FLAG = "flag"
VALUE = "value"
LIST = "list"
NEVER = 1 << 30


class Option:
    """One option of a verb.

    `names` are as typed, short before long ("-e", "--env"); `aliases` work too but are not shown.
    `dest` is the key in `Parsed.values`, the long name unless told. `help` is one sentence in lower
    case; `default` is what is shown as the default, and a flag with default "true" starts as True, with "auto" as None.
    `complete` is what a shell offers: words ("text json"), words that join with commas
    ("net,pid"), or a class ("<file>", "<dir>", "<capability>"); `closed` allows only these words.
    """

    __slots__ = (
        "aliases",
        "closed",
        "complete",
        "default",
        "dest",
        "group",
        "help",
        "kind",
        "metavar",
        "names",
    )

    def __init__(
        self,
        names: tuple[str, ...],
        kind: str,
        group: str,
        metavar: str,
        help: str,
        *,
        dest: str = "",
        default: str = "",
        aliases: tuple[str, ...] = (),
        complete: str = "",
        closed: bool = False,
    ) -> None:
        self.names, self.kind, self.group, self.metavar, self.help = names, kind, group, metavar, help
        self.dest = dest or names[-1][2:].replace("-", "_")
        self.default, self.aliases, self.complete = default, aliases, complete
        self.closed = closed


class Operand:
    """One word, or with `many` all further words, that is not an option.

    `complete` is as for an option; `closed` allows only those words.
    An operand with `unless` is not asked for when that option (a dest) was given: its place goes
    to the next one.
    """

    __slots__ = ("closed", "complete", "help", "many", "name", "required", "unless")

    def __init__(
        self,
        name: str,
        help: str,
        *,
        required: bool = False,
        many: bool = False,
        unless: str = "",
        complete: str = "",
        closed: bool = False,
    ) -> None:
        self.name, self.help, self.required, self.many = name, help, required, many
        self.unless, self.complete, self.closed = unless, complete, closed


class Verb:
    """One verb of the command, or with an empty name the command itself; two words are a verb of a group.

    `usage` are whole lines, `description` paragraphs, `examples` pairs of a command line and what
    it does. `stop` is the number of operands after which nothing is an option any more. `preset`
    gives options another value to start from, by dest. `program` is the command it is a verb of.
    """

    __slots__ = (
        "_index",
        "description",
        "examples",
        "name",
        "operands",
        "options",
        "preset",
        "program",
        "stop",
        "summary",
        "usage",
    )

    def __init__(
        self,
        name: str,
        summary: str,
        usage: tuple[str, ...],
        description: tuple[str, ...],
        options: tuple[Option, ...],
        *,
        operands: tuple[Operand, ...] = (),
        examples: tuple[tuple[str, str], ...] = (),
        stop: int = NEVER,
        preset: dict[str, bool | str] | None = None,
        program: str = "cloche",
    ) -> None:
        self.name, self.summary, self.usage, self.description = name, summary, usage, description
        self.options, self.operands, self.examples = options, operands, examples
        self.stop, self.preset, self.program = stop, preset, program
        self._index: dict[str, Option] | None = None

    @property
    def group(self) -> str:
        """Of a verb of two words the first, or ""."""
        return self.name.rpartition(" ")[0]

    @property
    def title(self) -> str:
        """What is typed to get here: `cloche run`, or `cloche`."""
        return f"{self.program} {self.name}" if self.name else self.program

    def index(self) -> dict[str, Option]:
        """Every spelling of every option, `--help` included; `-h` where it means nothing else."""
        if self._index is None:
            self._index = index = dict.fromkeys((*HELP.names, *HELP.aliases), HELP)
            for option in self.options:
                for name in option.names:
                    index[name] = option
                for name in option.aliases:
                    index[name] = option
        return self._index

    def shown(self) -> list[Option]:
        """The options to show to a person, in the table's order, `--help` last."""
        names = HELP.names if self.index()["-h"] is HELP else HELP.names[1:]
        return [*self.options, Option(names, FLAG, "Help", "", HELP.help)]


def renamed(verb: Verb, name: str) -> Verb:
    """The same verb under another name."""
    old, new = verb.title, f"{verb.program} {name}"
    return Verb(
        name,
        verb.summary,
        tuple(line.replace(old, new, 1) for line in verb.usage),
        verb.description,
        verb.options,
        operands=verb.operands,
        examples=tuple((line.replace(old, new, 1), what) for line, what in verb.examples),
        stop=verb.stop,
        preset=verb.preset,
        program=verb.program,
    )


HELP = Option(("-h", "--help"), FLAG, "Help", "", "show this help", aliases=("-?", "--usage"))  # these are crun's
