"""The tables as `--help`: what a person reads to use a verb.

Everything here is pure; whoever prints knows the width of the terminal. Words are wrapped, options
are aligned per group, and what belongs in a shell (usage, examples) is never broken.
"""

from __future__ import annotations

from cloche.cli.table import LIST, Option, Verb

INDENT = "  "
WIDEST = 30  # an option longer than this puts its sentence on the next line
NARROWEST = 40


def render_help(verb: Verb, width: int = 80) -> str:
    """The help for one verb, at most `width` columns wide (but see the module), ending in a newline."""
    width = max(width, NARROWEST)
    parts = [_usage(verb), *_summary(verb, width)]
    if verb.operands:
        pairs = [(operand.name, sentence(operand.help)) for operand in verb.operands]
        parts.append("Arguments:\n" + _aligned(pairs, width))
    for group, options in groups(verb).items():
        pairs = [(spelling(option), sentence(option.help, option)) for option in options]
        parts.append(f"{group}:\n" + _aligned(pairs, width))
    if verb.examples:
        parts.append("Examples:\n" + _examples(verb, width))
    return "\n".join(parts)


def render_overview(cloche: Verb, verbs: list[Verb], width: int = 80) -> str:
    """What `cloche --help` prints, or `cloche image --help`: its verbs, the options before them, where to read on."""
    width = max(width, NARROWEST)
    pairs = [(verb.name.removeprefix(f"{cloche.name} "), verb.summary) for verb in verbs if verb.group == cloche.name]
    parts = [_usage(cloche), *_summary(cloche, width), "Verbs:\n" + _aligned(pairs, width)]
    pairs = [(spelling(option), sentence(option.help, option)) for option in cloche.shown()]
    parts.append("Options:\n" + _aligned(pairs, width))
    parts.append("Examples:\n" + _examples(cloche, width))
    name, page = cloche.title, f"{cloche.program} man {cloche.name}".rstrip()
    further = f"{name} VERB --help shows how a verb is used, {page} VERB | man -l - its manual."
    parts.append("\n".join(wrap(further, width)) + "\n")
    return "\n".join(parts)


def groups(verb: Verb) -> dict[str, list[Option]]:
    """The options a person is shown, by heading, in the table's order."""
    found: dict[str, list[Option]] = {}
    for option in verb.shown():
        found.setdefault(option.group, []).append(option)
    return found


def spelling(option: Option) -> str:
    """How an option is typed: `-m, --memory SIZE`; long names are aligned under each other."""
    short = "" if len(option.names[0]) == 2 else "    "
    value = f" {option.metavar}" if option.metavar else ""
    return short + ", ".join(option.names) + value


def sentence(text: str, option: Option | None = None) -> str:
    """An option's sentence with what the table knows besides: that it repeats, its default."""
    notes = []
    if option is not None and option.kind == LIST:
        notes.append("repeatable")
    if option is not None and option.default not in {"", "auto"}:
        notes.append(f"default {option.default}")
    return f"{text} ({', '.join(notes)})" if notes else text


def wrap(text: str, width: int) -> list[str]:
    """Break `text` at spaces into lines of at most `width` columns; a longer word stands alone."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


def _usage(verb: Verb) -> str:
    lines = [("Usage: " if not i else "       ") + line for i, line in enumerate(verb.usage)]
    return "\n".join(lines) + "\n"


def _summary(verb: Verb, width: int) -> list[str]:
    summary = verb.summary[0].upper() + verb.summary[1:] + "."
    return ["\n".join(wrap(text, width)) + "\n" for text in (summary, *verb.description)]


def _aligned(pairs: list[tuple[str, str]], width: int) -> str:
    """Two columns: names to the left, sentences wrapped to the right."""
    left = min(max(len(name) for name, _ in pairs), WIDEST, width // 2 - 4)
    right = width - left - 2 * len(INDENT)
    margin = INDENT + " " * left + INDENT
    lines = []
    for name, text in pairs:
        first, *rest = wrap(text, right)
        if len(name) > left:
            lines += [INDENT + name, margin + first]
        else:
            lines.append(f"{INDENT}{name:<{left}}{INDENT}{first}")
        lines += [margin + line for line in rest]
    return "\n".join(lines) + "\n"


def _examples(verb: Verb, width: int) -> str:
    """Command lines whole, what they do beside them where there is room, else above."""
    left = max(len(line) for line, _ in verb.examples)
    if all(len(INDENT) + left + 4 + len(what) <= width for _, what in verb.examples):
        return "".join(f"{INDENT}{line:<{left}}  # {what}\n" for line, what in verb.examples)
    return "".join(f"{INDENT}# {what}\n{INDENT}{line}\n" for line, what in verb.examples)
