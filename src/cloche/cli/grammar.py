"""The parser of the command line: the words after a verb, read by the verb's table.

It follows pflag, which docker and podman use, so what people know by heart works here:

    -it                 flags may share a dash          -p80:80  -p 80:80  -p=80:80
    --memory 1g         the next word is the value,     --memory=1g
                        whatever it looks like
    --rm  --rm=false    a flag takes a value only       1 t T true True TRUE, 0 f F false False FALSE
                        after an equals sign
    --                  ends the options
    -                   alone is an operand

The options of `run` also end at its first operand: what follows belongs to the command. `stop` says
how many operands it takes until that happens. Of a single value given twice the last one counts.

What a value means (a size, a mount) is not decided here. This module is on the way of every
`cloche run`, so it imports next to nothing; looking for a similar name loads difflib only then.
"""

from __future__ import annotations

from cloche.cli.table import FLAG, HELP, LIST, NEVER, VALUE, Operand, Option, Verb
from cloche.errors import BAD_OPTION, BAD_WORD, SpecError

__all__ = ["FLAG", "LIST", "NEVER", "VALUE", "Operand", "Option", "Parsed", "Verb", "parse"]

Value = bool | str | list[str] | None
Words = list[str] | tuple[str, ...]
TRUE = ("1", "t", "T", "true", "True", "TRUE")
FALSE = ("0", "f", "F", "false", "False", "FALSE")


class Parsed:
    """What a command line said: a value for every option of the verb, by dest, and the operands.

    A flag is True or False, a single value a string or None, a list possibly empty. With `help`
    set, the person asked for help and nothing after that was looked at.
    """

    __slots__ = ("help", "positionals", "values")

    def __init__(self, values: dict[str, Value], positionals: list[str], *, help: bool = False) -> None:
        self.values, self.positionals, self.help = values, positionals, help

    def flag(self, dest: str) -> bool:
        """Whether the flag `dest` is on."""
        return self.values[dest] is True

    def text(self, dest: str) -> str | None:
        """The single value `dest`, or None where it was not given."""
        value = self.values[dest]
        return value if isinstance(value, str) else None

    def all(self, dest: str) -> list[str]:
        """Every value of the repeatable option `dest`, in the order given."""
        value = self.values[dest]
        return value if isinstance(value, list) else []


def parse(verb: Verb, argv: Words) -> Parsed:
    """Read the words after the verb.

    Raises SpecError, and nothing else, for what is not in the grammar: an unknown option, a
    missing value, a value outside a closed choice, too many or too few operands, a NUL byte.
    """
    index = verb.index()
    values, lists = _initial(verb)
    positionals: list[str] = []
    at, end = 0, len(argv)
    while at < end:
        word = argv[at]
        at += 1
        if len(word) < 2 or word[0] != "-":
            positionals.append(word)
            if len(positionals) >= verb.stop:
                break
            continue
        if word == "--":
            break
        long = word[1] == "-"
        rest = word[1:]
        while rest:  # once for a long option, once per letter for short ones
            if long:
                name, equals, value = word.partition("=")
                attached, rest = bool(equals), ""
            else:
                name, rest = "-" + rest[0], rest[1:]
                attached = len(rest) > 1 and rest[0] == "="  # `-e=` alone has the value "="
                value = rest[1:] if attached else rest
            option = index.get(name)
            if option is None:
                raise _refused(verb, name, word)
            if option.kind == FLAG and not attached:
                value = "true"
            elif attached or rest:
                rest = ""
            elif at < end:
                value = argv[at]
                at += 1
            else:
                raise _wrong(verb, f"{name} needs a value: {option.metavar}")
            _check_value(verb, option, name, value)
            if option is HELP:
                if value in TRUE:
                    return Parsed(values, positionals, help=True)
            elif option.kind == LIST:
                lists[option.dest].append(value)
            else:
                values[option.dest] = value if option.kind == VALUE else value in TRUE
    positionals.extend(argv[at:])
    _check_operands(verb, values, positionals)
    return Parsed(values, positionals)


def _initial(verb: Verb) -> tuple[dict[str, Value], dict[str, list[str]]]:
    """The values before the first word, and the lists among them, to append to."""
    values: dict[str, Value] = {}
    lists: dict[str, list[str]] = {}
    for option in verb.options:
        if option.kind == LIST:
            values[option.dest] = lists[option.dest] = []
        elif option.kind == FLAG:
            values[option.dest] = None if option.default == "auto" else option.default == "true"
        elif option.kind == VALUE:
            values[option.dest] = None
    if verb.preset:
        values.update(verb.preset)
    return values, lists


def _check_value(verb: Verb, option: Option, name: str, value: str) -> None:
    if "\0" in value:
        raise _wrong(verb, f"the value of {name} has a NUL byte in it, which nothing can be named by")
    if option.kind == FLAG and value not in TRUE and value not in FALSE:
        raise _wrong(verb, f"{name} is true or false, not {value!r}")
    if option.closed and value not in option.complete.split():
        raise _wrong(verb, f"{name} is {_either(option.complete)}, not {value!r}")


def _check_operands(verb: Verb, values: dict[str, Value], words: list[str]) -> None:
    operands = [o for o in verb.operands if not (o.unless and values[o.unless])]
    for word in words:
        if "\0" in word:
            raise _wrong(verb, "an argument has a NUL byte in it, which no command can be given", BAD_WORD)
    for operand, word in zip(operands, words, strict=False):
        if operand.complete and operand.closed and word not in operand.complete.split():
            raise _wrong(verb, f"{operand.name} is {_either(operand.complete)}, not {word!r}", BAD_WORD)
    if len(words) < len(operands) and operands[len(words)].required:
        raise _wrong(verb, f"{verb.title} needs {operands[len(words)].name}", BAD_WORD)
    if len(words) > len(operands) and not (operands and operands[-1].many):
        raise _wrong(verb, f"{verb.title} does not know what to do with {words[len(operands)]!r}", BAD_WORD)


def _wrong(verb: Verb, message: str, code: int = BAD_OPTION) -> SpecError:
    return SpecError(message, hint=f"{verb.title} --help shows how it is written", code=code)


def _either(words: str) -> str:
    return " or ".join(words.split())


def _refused(verb: Verb, name: str, word: str) -> SpecError:
    """The error for an option that is not there, with the name that was probably meant."""
    from cloche.cli.absent import absent

    if told := absent(verb, name):
        return SpecError(f"{name}: {told[0]}", hint=told[1], code=BAD_OPTION)
    if word[:2] == "--" and (len(name) == 2 or name[2] == "-"):
        return _wrong(verb, f"{word!r} is not how an option is written")
    known = list(verb.index())
    if word[:2] == "--":
        similar = nearest(name, known)
    else:  # `-name`: a long option with one dash
        long = "-" + word.partition("=")[0]
        similar = long if long in known else ""
    where = "" if name == word else f" in {word!r}"
    asked = f", did you mean {similar}?" if similar else ""
    hint = f"{verb.title} --help lists every option"
    return SpecError(f"unknown option {name}{where}{asked}", hint=hint, code=BAD_OPTION)


def nearest(name: str, names: Words) -> str:
    """The name in `names` most like `name`, or the empty string when none is close."""
    import difflib

    return next(iter(difflib.get_close_matches(name, names, 1, 0.6)), "")
