"""The verbs that only print: version, help, man, completion."""

from __future__ import annotations

import os
import platform
import sys

from cloche import __version__
from cloche.cli.options import CLOCHE, every, find, is_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.table import Verb


def call(verb: Verb, parsed: Parsed) -> int:
    """Carry out one of them; returns the exit code."""
    words = parsed.positionals
    if verb.name == "version":
        text = _version(parsed.text("format") or "text")
    elif verb.name == "help":
        return show(find(" ".join(words))) if words else overview()
    elif verb.name == "man":
        from cloche.cli.manual import render_man

        meant = " ".join(words)
        verbs = every() if not words or is_group(meant) else []
        text = render_man(find(meant) if words else CLOCHE, verbs)
    else:
        from cloche.cli.completion import render_completion

        text = render_completion(words[0], CLOCHE, every())
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    return 0


def show(verb: Verb) -> int:
    """`cloche VERB --help`."""
    if is_group(verb.name):
        return overview(verb)
    from cloche.cli.help import render_help

    sys.stdout.write(render_help(verb, width()))
    return 0


def overview(of: Verb = CLOCHE) -> int:
    """`cloche --help`, or that of a group of verbs."""
    from cloche.cli.help import render_overview

    sys.stdout.write(render_overview(of, every(), width()))
    return 0


def width() -> int:
    """How wide the terminal is, within reason; 80 without one."""
    try:
        return max(60, min(120, os.get_terminal_size(1).columns))
    except OSError:
        return 80


def _version(form: str) -> str:
    facts = {"cloche": __version__, "python": platform.python_version(), "kernel": platform.release()}
    if form == "text":
        return "\n".join(f"{name} {value}" for name, value in facts.items())
    from cloche.cli.format import is_json, unescaped
    from cloche.images.platforms import own_platform

    own = own_platform()
    machine = {"Os": own.os, "Arch": own.architecture, "KernelVersion": facts["kernel"]}
    # what docker has of its daemon, scripts ask here as well
    engine = {"Name": "Engine", "Version": __version__, "Details": {**machine, "PythonVersion": facts["python"]}}
    client = {"Version": __version__, "PythonVersion": facts["python"], **machine}
    whole = {**facts, "Client": client, "Server": {**client, "Components": [engine]}}
    if is_json(form):
        from cloche.spec.reader import write_json

        return write_json(whole)
    from cloche.cli.template import compile_template

    return compile_template(unescaped(form))(whole)
