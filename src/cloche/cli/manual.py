"""The tables as manual pages, in the roff of man(7), for `man -l` or an installed page.

`cloche man run | man -l -` reads one without installing anything. The words are the table's; only
what is true of the whole command (exit statuses, environment, files) is written here.
"""

from __future__ import annotations

from cloche import __version__
from cloche.cli.help import groups, sentence
from cloche.cli.table import Option, Verb

EXIT_STATUS = (
    ("0", "The command ended well."),
    ("1 to 123", "The command's own status."),
    ("124", "The time given with --timeout ran out."),
    ("125", "cloche itself failed, or an option is not there or means nothing; the message says why."),
    ("126", "The command was found but cannot be run."),
    ("127", "The command was not found."),
    ("128+n", "The command was ended by signal n, so 137 for SIGKILL."),
)
ENVIRONMENT = (
    ("CLOCHE_ROOT", "Where images and containers are kept, as --root says it."),
    ("CLOCHE_STATE", "Where what is only true until the next boot is kept, as --state-dir says it."),
    ("NO_COLOR", "When set to anything, nothing is printed in colour."),
    (
        "CLOCHE_FAILPOINT",
        "For testing cloche: fail on purpose at a named point, as NAME:kill, NAME:errno or NAME:sleep.",
    ),
)
FILES = (
    ("/run/cloche", "What is only true until the next boot, when run by root."),
    ("$XDG_RUNTIME_DIR/cloche", "The same for anybody else; /tmp/cloche-UID where that is not set."),
)

RUNTIME_STATUS = (
    ("0", "It is done; with run and exec, the process ended well."),
    ("1 to 254", "With run and exec in the foreground, the status of the process; 128+n when signal n ended it."),
    ("1", "With all others, and with run, cloche-runtime itself failed; the message says why."),
    ("255", "With exec, the process could not be run."),
)
RUNTIME_ENVIRONMENT = (
    ("XDG_RUNTIME_DIR", "Where an ordinary user's containers are kept, in cloche-runtime below it."),
    ("LISTEN_FDS, LISTEN_FDNAMES", "Sockets to pass on to the container, as systemd gives them to a service."),
    ("NOTIFY_SOCKET", "A socket for sd_notify, to be bound into the container."),
    ENVIRONMENT[-1],
)
RUNTIME_FILES = (
    ("/run/cloche-runtime", "The state of containers, when run by root."),
    ("$XDG_RUNTIME_DIR/cloche-runtime", "The same for anybody else; /tmp/cloche-runtime-UID where that is not set."),
    ("/run/cloche/interpreters", "Copies of Python that nobody can write to, from which root's containers are made."),
)
# by command: section of the manual, exit statuses, environment, files
WHOLE = {
    "cloche": ("1", EXIT_STATUS, ENVIRONMENT, FILES),
    "cloche-runtime": ("8", RUNTIME_STATUS, RUNTIME_ENVIRONMENT, RUNTIME_FILES),
}


def render_man(verb: Verb, verbs: tuple[Verb, ...] | list[Verb] = ()) -> str:
    """The page of the command, cloche(1) or cloche-runtime(8), when `verb` is that, or of its verb, in roff.

    `verbs` are all there are, for the page of the command or of a group, which lists its own.
    """
    name = verb.title.replace(" ", "-")
    section = WHOLE[verb.program][0]
    lines = [
        f'.TH "{escape(name.upper())}" "{section}" "" "cloche {__version__}" "cloche manual"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{escape(name)} \\- {escape(verb.summary)}",
        ".SH SYNOPSIS",
    ]
    for usage in verb.usage:
        lines += [*([".br"] if usage is not verb.usage[0] else []), *_usage(verb, usage)]
    lines.append(".SH DESCRIPTION")
    for i, paragraph in enumerate(verb.description):
        lines += [*([".PP"] if i else []), *text(paragraph)]
    if verb.operands and verb.name:
        lines += [".SH ARGUMENTS", *_tagged([(o.name, full(o.help)) for o in verb.operands], font="I")]
    own = [other for other in verbs if other.group == verb.name]
    if own:
        words = [(other.name.removeprefix(f"{verb.name} "), full(other.summary)) for other in own]
        lines += [".SH VERBS", *_tagged(words, font="B")]
    lines += _options(verb)
    lines += _ending(verb, own if verb.name else verbs)
    return "\n".join(lines) + "\n"


def escape(words: str) -> str:
    """Plain words as roff that prints exactly them, in one line of input."""
    words = " ".join(words.replace("\\", "\\e").split())
    for plain, roff in (("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("~", "\\(ti"), ("^", "\\(ha")):
        words = words.replace(plain, roff)
    words = words.replace('"', "\\(dq")
    return "\\&" + words if words[:1] == "." else words


def full(words: str) -> str:
    """A sentence of the tables as a sentence of prose."""
    if words.startswith(("cloche", "type=")):
        return f"{words}."
    return f"{words[:1].upper()}{words[1:]}."


def text(paragraph: str) -> list[str]:
    """A paragraph, one line for each sentence, as roff wants it."""
    return [escape(line) for line in paragraph.replace(". ", ".\n").split("\n")]


def _usage(verb: Verb, usage: str) -> list[str]:
    return [f".B {escape(verb.title)}", escape(usage.removeprefix(verb.title).strip())]


def _tagged(pairs: list[tuple[str, str]], *, font: str) -> list[str]:
    lines = []
    for name, words in pairs:
        lines += [".TP", f"\\f{font}{escape(name)}\\fR", *text(words)]
    return lines


def _options(verb: Verb) -> list[str]:
    lines = [".SH OPTIONS"]
    headed = groups(verb)
    for group, options in headed.items():
        if group != "Options" and len(headed) > 2:
            lines.append(f".SS {escape(group)}")
        for option in options:
            lines += [".TP", _names(option), *text(_prose(option))]
    return lines


def _names(option: Option) -> str:
    names = ", ".join(f"\\fB{escape(name)}\\fR" for name in option.names)
    return f"{names} \\fI{escape(option.metavar)}\\fR" if option.metavar else names


def _prose(option: Option) -> str:
    words = sentence(option.help, option)
    note = words.removeprefix(option.help).strip(" ()")
    notes = "".join(f" {full(part)}" for part in note.split(", ") if part)
    return full(option.help) + notes.replace("Repeatable.", "May be given more than once.").replace(
        "Default ", "The default is "
    )


def _ending(verb: Verb, verbs: tuple[Verb, ...] | list[Verb]) -> list[str]:
    lines: list[str] = []
    section, statuses, environment, places = WHOLE[verb.program]
    runs = verb.name == "run" or any(operand.name == "COMMAND" for operand in verb.operands)
    if runs or not verb.name:
        lines += [".SH EXIT STATUS", *_tagged(list(statuses), font="B")]
    if not verb.name:
        lines += [".SH ENVIRONMENT", *_tagged(list(environment), font="B")]
        lines += [".SH FILES", *_tagged(list(places), font="I")]
    if verb.examples:
        lines.append(".SH EXAMPLES")
        for i, (line, what) in enumerate(verb.examples):
            lines += [*([".PP"] if i else []), *text(full(what))]
            lines += [".PP", ".RS 4", ".nf", escape(line), ".fi", ".RE"]
    others = [other.title.replace(" ", "-") for other in verbs] if verbs else [verb.program]
    seen = [f"\\fB{escape(name)}\\fR({section})" for name in others]
    lines += [".SH SEE ALSO", *(f"{name}," for name in seen[:-1]), seen[-1]]
    return lines
