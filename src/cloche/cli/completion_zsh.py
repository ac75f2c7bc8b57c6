"""The completion script for zsh, in the words of its `_arguments`."""

from __future__ import annotations

from cloche.cli.completion import IMAGES, group_names, joined, takes_value, words
from cloche.cli.table import LIST, Operand, Option, Verb

ACTIONS = {
    "<file>": "_files",
    "<dir>": "_files -/",
    "<user>": "_users",
    "<group>": "_groups",
    "<variable>": "_parameters -g '*export*'",
    "<command>": "_normal",
    "<process>": "_pids",
    "<container>": "_cloche_containers",
    "<kept>": "_cloche_kept",
    "<image>": "_cloche_images",
    "<volume>": "_cloche_volumes",
    "<runnable>": "_cloche_runnable",
    "<mount>": "_cloche_mounts",
    "<network>": "_cloche_networks",
    "<place>": "_cloche_places",
}

END = r"""
# what has a directory below --root
_cloche_containers() {
    local root=/run/cloche-runtime
    (( EUID )) && root=${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/cloche-runtime}
    [[ -n $before_verb ]] && root=$before_verb
    compadd -- ${root:-/tmp/cloche-runtime-$EUID}/*(N/:t)
}

# the directory that is the store
_cloche_store() {
    store=${XDG_DATA_HOME:-$HOME/.local/share}/cloche
    (( EUID )) || store=/var/lib/cloche
    store=${CLOCHE_ROOT:-$store}
    [[ -z $before_verb ]] || store=$before_verb
}

# what the index of the store names
_cloche_images() {
    local store
    _cloche_store
    local -a found=(${(f)"$(@images@)"})
    compadd -- $found
}

_cloche_runnable() {
    compadd -- host
    _cloche_images
}

# what has a name there
_cloche_names() {
    local store
    _cloche_store
    names=($store/names/*(N@:t))
}

_cloche_kept() {
    local -a names
    _cloche_names
    compadd -- $names
}

_cloche_networks() {
    local -a names
    _cloche_names
    compadd -- none host container:$^names
}

_cloche_places() {
    local -a names
    _cloche_names
    compadd -S '' -- $^names:
    _files
}

# what has a directory there
_cloche_volumes() {
    local store
    _cloche_store
    compadd -- $store/volumes/*(N/:t)
}

_cloche_mounts() {
    _cloche_volumes
    _files
}

if [[ $funcstack[1] == (_cloche|_@program@) ]]; then  # the file itself is the function, by its name
    _cloche "$@"
else
    compdef _cloche @program@
fi
"""


def render(cloche: Verb, verbs: list[Verb]) -> str:
    """The whole script."""
    lines = [
        "#compdef @program@",
        "# zsh completion for @program@: put this file in a directory of $fpath, as _@program@",
        "",
        "_cloche() {",
        '    local curcontext="$curcontext" state line before_verb="" ret=1',
        "    local -A opt_args",
        "    local -a verbs",
        "    verbs=(",
        *(f"        {quoted(f'{verb.name}:{verb.summary}')}" for verb in verbs if not verb.group),
        "    )",
        "    _arguments -C -s -S -A '-*' : \\",
        *(f"        {spec} \\" for option in cloche.shown() for spec in _specs(option, verbs)),
        "        '1:verb:->verb' '*::argument:->argument' && ret=0",
        "    case $state in",
        "        verb) _describe -t verbs verb verbs && ret=0 ;;",
        "        argument)",
        "            before_verb=${(Q)opt_args[--root]}",
        '            curcontext="${curcontext%:*:*}:@program@-$line[1]:"',
        '            local verb="$line[1]"',
        f"            if [[ $verb == ({'|'.join(group_names(verbs)) or '-'}) ]] && (( CURRENT > 2 )); then",
        '                verb+=" $words[2]"',
        '                words=("$verb" "${(@)words[3,-1]}")',
        "                (( CURRENT-- ))",
        "            fi",
        "            case $verb in",
    ]
    for verb in verbs:
        strict = " -A '-*'" if verb.stop == 1 else ""
        word = quoted(verb.name) if verb.group else verb.name
        lines += [f"                {word})", f"                    _arguments -s -S{strict} : \\"]
        specs = [spec for option in verb.shown() for spec in _specs(option, verbs)]
        specs += [_operand(i, operand, verbs) for i, operand in enumerate(_until_command(verb.operands), 1)]
        lines += [f"                        {spec} \\" for spec in specs]
        lines += ["                        && ret=0", "                    ;;"]
    return "\n".join(
        [
            *lines,
            "            esac",
            "            ;;",
            "    esac",
            "    return ret",
            "}",
            END.replace("@images@", IMAGES.replace("@store@", "$store")),
        ]
    )


def quoted(text: str) -> str:
    """`text` as one word of zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _escaped(text: str) -> str:
    """`text` where `_arguments` gives a meaning to brackets and colons."""
    for character in "\\[]:":
        text = text.replace(character, "\\" + character)
    return text


def _specs(option: Option, verbs: list[Verb]) -> list[str]:
    """One word for `_arguments` for each spelling of an option."""
    specs = []
    for name in option.names:
        value = before = ""
        if takes_value(option):
            before = "+" if len(name) == 2 else "="
            value = f":{_escaped(option.metavar)}:{_action(option.complete, verbs)}"
        repeat = "*" if option.kind == LIST else f"({' '.join(option.names)})"
        specs.append(quoted(f"{repeat}{name}{before}[{_escaped(option.help)}]{value}"))
    return specs


def _until_command(operands: tuple[Operand, ...]) -> tuple[Operand, ...]:
    """Those that are not a command's own: it knows better what it takes."""
    commands = [i for i, operand in enumerate(operands, 1) if operand.complete == "<command>"]
    return operands[: commands[0]] if commands else operands


def _operand(place: int, operand: Operand, verbs: list[Verb]) -> str:
    action = _action(operand.complete, verbs)
    # three colons: a command is to be seen without what stands before it
    which = "*:::" if operand.many or operand.complete == "<command>" else f"{place}:"
    return quoted(f"{which}{_escaped(operand.name)}:{action}")


def _action(complete: str, verbs: list[Verb]) -> str:
    if complete in ACTIONS:
        return ACTIONS[complete]
    if joined(complete):
        return f"_values -s , value {' '.join(quoted(word) for word in joined(complete))}"
    listed = words(complete, verbs)
    return f"({listed})" if listed else " "
