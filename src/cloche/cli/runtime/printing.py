"""The verbs that only print what the tables say: help, man, completion."""

from __future__ import annotations

from cloche.cli.runtime.globals import COMMAND, say
from cloche.cli.table import Operand, Verb
from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals

_VERB = Operand("VERB", "the verb to read about", complete="<verb>")
VERBS = {
    "completion": Verb(
        "completion",
        "print the script that completes these words in a shell",
        ("cloche-runtime completion bash|zsh|fish",),
        ("Print a script for the shell to read. The examples load it for every new shell.",),
        (),
        operands=(
            Operand("SHELL", "the shell the script is for", required=True, complete="bash zsh fish", closed=True),
        ),
        examples=(
            ("cloche-runtime completion bash > ~/.local/share/bash-completion/completions/cloche-runtime", "bash"),
            ('cloche-runtime completion zsh > "${fpath[1]}/_cloche-runtime"', "zsh"),
            ("cloche-runtime completion fish > ~/.config/fish/completions/cloche-runtime.fish", "fish"),
        ),
        program="cloche-runtime",
    ),
    "help": Verb(
        "help",
        "show what there is, or how one verb is used",
        ("cloche-runtime help [VERB]",),
        ("Without a VERB, the overview. With one, the same as cloche-runtime VERB --help.",),
        (),
        operands=(_VERB,),
        examples=(("cloche-runtime help exec", "the options of exec"),),
        program="cloche-runtime",
    ),
    "man": Verb(
        "man",
        "print a manual page",
        ("cloche-runtime man [VERB]",),
        ("Print the manual page of cloche-runtime, or of one verb, in roff for man to read.",),
        (),
        operands=(_VERB,),
        examples=(("cloche-runtime man run | man -l -", "read the page of run"),),
        program="cloche-runtime",
    ),
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out one of them."""
    del options
    words = given.positionals
    if name == "help":
        return show(find(words[0])) if words else overview()
    if name == "man":
        from cloche.cli.manual import render_man

        say(render_man(find(words[0])) if words else render_man(COMMAND, every()))
        return 0
    from cloche.cli.completion import render_completion

    say(render_completion(words[0], COMMAND, every()))
    return 0


def find(name: str) -> Verb:
    """The table of one verb. Raises SpecError when there is no such verb, with the name that was probably meant."""
    from cloche.cli.runtime.main import ROOMS, load_room

    if name not in ROOMS:
        from cloche.cli.grammar import nearest

        similar = nearest(name, tuple(ROOMS))
        asked = f", did you mean {similar}?" if similar else ""
        raise SpecError(f"unknown verb {name!r}{asked}", hint="cloche-runtime --help lists what there is")
    verb = load_room(ROOMS[name]).VERBS[name]
    assert isinstance(verb, Verb)
    return verb


def every() -> list[Verb]:
    """All verbs, in the order of the overview."""
    from cloche.cli.runtime.main import ROOMS

    return [find(name) for name in ROOMS]


def show(verb: Verb) -> int:
    """`cloche-runtime VERB --help`."""
    from cloche.cli.help import render_help
    from cloche.cli.small import width

    say(render_help(verb, width()))
    return 0


def overview() -> int:
    """`cloche-runtime --help`."""
    from cloche.cli.help import render_overview
    from cloche.cli.small import width

    say(render_overview(COMMAND, every(), width()))
    return 0
