"""The completion script for bash (4.4 and newer), which needs no other package.

bash cuts words at `=` and `:` before a completion function sees them, so the script first puts
`--network=host` and `/a:/b` together again, and in the end gives back only what comes after the cut.
File names are left to bash itself, which knows how to quote them.
"""

from __future__ import annotations

from cloche.cli.completion import IMAGES, alike, group_names, joined, repeats, takes_value, valued, words
from cloche.cli.table import Verb

ACTIONS = {
    "<file>": "return",
    "<dir>": "_cloche_only -o dirnames",
    "<user>": "_cloche_offer -u",
    "<group>": "_cloche_offer -g",
    "<variable>": "_cloche_offer -e",
    "<command>": "_cloche_offer -c",
    "<process>": "_cloche_processes",
    "<container>": "_cloche_containers",
    "<kept>": "_cloche_kept",
    "<image>": "_cloche_images",
    "<volume>": "_cloche_volumes",
    "<runnable>": "_cloche_runnable",
    "<mount>": "_cloche_mounts",
    "<network>": "_cloche_networks",
    "<place>": "_cloche_places",
}
FILES = {ACTIONS[name] for name in ("<file>", "<dir>", "<mount>")}  # bash offers files where nothing else is found

START = r"""# bash completion for @program@: source this file, or put it where bash-completion looks for it

# in these: $whole is the word being completed, $cut what bash has cut off it, $lead and $cur what
# stands before and after the equals sign of --option=value

_cloche_only() {
    compopt +o default +o bashdefault "$@" 2>/dev/null
}

_cloche_give() {
    local word
    for word; do
        word=$lead$word
        COMPREPLY+=("${word#"$cut"}")
        [[ $word == *[=:] ]] && compopt -o nospace 2>/dev/null
    done
}

_cloche_offer() {
    local found
    mapfile -t found < <(compgen "$@" -- "$cur")
    _cloche_give "${found[@]}"
}

# words that join with commas: the last of them is being typed
_cloche_joined() {
    local before="" found
    [[ $cur == *,* ]] && before=${cur%,*},
    mapfile -t found < <(compgen -P "$before" -W "$1" -- "${cur##*,}")
    compopt -o nospace 2>/dev/null
    _cloche_give "${found[@]}"
}

_cloche_processes() {
    _cloche_offer -W "$(cd /proc && echo [1-9]*)"
}

# what has a directory below --root
_cloche_containers() {
    local i root=/run/cloche-runtime
    [[ $EUID -eq 0 ]] || root=${XDG_RUNTIME_DIR:-/tmp}/cloche-runtime
    [[ $EUID -eq 0 || -n $XDG_RUNTIME_DIR ]] || root+=-$EUID
    for ((i = 0; i < ${#words[@]}; i++)); do
        case ${words[i]} in
            --root) root=${words[i + 1]} ;;
            --root=*) root=${words[i]#*=} ;;
        esac
    done
    _cloche_offer -W "$(command ls -- "$root" 2>/dev/null)"
}

# the directory that is the store
_cloche_store() {
    local i
    store=${CLOCHE_ROOT:-/var/lib/cloche}
    [[ $EUID -eq 0 || -n $CLOCHE_ROOT ]] || store=${XDG_DATA_HOME:-$HOME/.local/share}/cloche
    for ((i = 0; i < ${#words[@]}; i++)); do
        case ${words[i]} in
            --root) store=${words[i + 1]} ;;
            --root=*) store=${words[i]#*=} ;;
        esac
    done
}

# what the index of the store names
_cloche_images() {
    local store
    _cloche_store
    _cloche_offer -W "$(@images@)"
}

_cloche_runnable() {
    local store
    _cloche_store
    _cloche_offer -W "host $(@images@)"
}

# what has a name there, with $1 before it and $2 behind; no name has a space
_cloche_names() {
    local store
    _cloche_store
    command ls -- "$store/names" 2>/dev/null | sed "s/.*/$1&$2/"
}

_cloche_kept() {
    _cloche_offer -W "$(_cloche_names)"
}

_cloche_networks() {
    _cloche_offer -W "none host $(_cloche_names container:)"
}

_cloche_places() {
    _cloche_offer -W "$(_cloche_names "" :)"
}

# what has a directory there
_cloche_volumes() {
    local store
    _cloche_store
    _cloche_offer -W "$(command ls -- "$store/volumes" 2>/dev/null)"
}

_cloche_mounts() {
    [[ $cur == *:* ]] || _cloche_volumes
}
"""

END = r"""
_cloche() {
    local words=() word glue="" i whole cut="" lead="" cur verb="" stop=1 operands=0 option="" ended=""
    COMPREPLY=()
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ ${#words[@]} -gt 0 && ( -n $glue || $word == [=:]* ) ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
        glue=""
        [[ $word == [=:]* ]] && glue=yes
    done
    whole=${words[-1]}
    cur=$whole
    unset 'words[-1]'
    if [[ -n $glue ]]; then
        cut=$whole
    else
        cut=${whole%"${COMP_WORDS[COMP_CWORD]}"}
    fi

    for word in "${words[@]}"; do
        if [[ -n $option ]]; then
            option=""
        elif [[ -n $ended || $word == - || $word != -* ]]; then
            if [[ -z $verb ]] || _cloche_is_group "$verb"; then
                verb=${verb:+$verb }$word
                ended=""
                stop=$(_cloche_stop "$verb")
            else
                operands=$((operands + 1))
                [[ $operands -ge $stop ]] && ended=yes
            fi
        elif [[ $word == -- ]]; then
            ended=yes
        elif _cloche_takes_value "$verb" "$word"; then
            option=$word
        fi
    done

    if [[ -z $option && -z $ended && $cur == --*=* ]]; then
        option=${cur%%=*}
        lead=$option=
        cur=${cur#*=}
    fi
    if [[ -n $option ]]; then
        [[ $option == --* ]] || option=-${option: -1}
        _cloche_value "$verb" "$option"
    elif [[ -z $ended && $cur == -* ]]; then
        _cloche_offer -W "$(_cloche_options "$verb")"
    else
        _cloche_operand "$verb" "$operands"
    fi
}

complete -o bashdefault -o default -F _cloche @program@
"""


def render(cloche: Verb, verbs: list[Verb]) -> str:
    """The whole script."""
    stops, options, takes, values, operands = [], [], [], [], []
    for verb in verbs:
        if verb.operands:
            stops.append(f"{_word(verb)}) echo {verb.stop} ;;")
    for group in alike([cloche, *verbs]):
        names = "|".join(_word(verb) for verb in group)
        options.append(f"{names}) echo '{_spellings(group[0])}' ;;")
        if pattern := valued(group[0]):
            takes.append(f"{names}) [[ $2 =~ {pattern} ]] ;;")
            values += [f"{names})", *_values(group[0], verbs), "    ;;"]
    for verb in [cloche, *verbs]:
        for i, operand in enumerate(verb.operands):
            if action := _action(operand.complete, verbs):
                place = f'"{verb.name} "[0-9]*' if repeats(operand) else f'"{verb.name} {i}"'
                operands.append(f"{place}) {action} ;;")
    return (
        START.replace("@images@", IMAGES.replace("@store@", '"$store"'))
        + _function("_cloche_is_group", "$1", [f"{'|'.join(group_names(verbs)) or '-'}) ;;", "*) return 1 ;;"])
        + _function("_cloche_stop", "$1", stops)
        + _function("_cloche_options", "$1", options)
        + _function("_cloche_takes_value", "$1", [*takes, "*) return 1 ;;"])
        + _function("_cloche_value", "$1", values)
        + _function("_cloche_operand", "$1 $2", operands)
        + END
    )


def _function(name: str, subject: str, cases: list[str]) -> str:
    lines = [f"\n{name}() {{", f'    case "{subject}" in', *("        " + case for case in cases)]
    return "\n".join([*lines, "    esac", "}", ""])


def _word(verb: Verb) -> str:
    """A verb as one word of bash."""
    return verb.name if verb.name and not verb.group else f'"{verb.name}"'


def _spellings(verb: Verb) -> str:
    return " ".join(name for option in verb.shown() for name in option.names)


def _action(complete: str, verbs: list[Verb]) -> str:
    if complete in ACTIONS:
        return ACTIONS[complete]
    if joined(complete):
        return f"_cloche_joined '{' '.join(joined(complete))}'"
    listed = words(complete, verbs)
    return f"_cloche_offer -W '{listed}'" if listed else ""


def _values(verb: Verb, verbs: list[Verb]) -> list[str]:
    """The inner case of `_cloche_value`: what to offer after each option, nothing by default."""
    actions: dict[str, list[str]] = {}
    for option in verb.shown():
        if takes_value(option) and (action := _action(option.complete, verbs)):
            actions.setdefault(action, []).extend((*option.names, *option.aliases))
    lines = ['    case "$2" in']
    for action, names in actions.items():
        only = "" if action in FILES else "_cloche_only; "
        lines.append(f"        {'|'.join(names)}) {only}{action} ;;")
    return [*lines, "        *) _cloche_only ;;", "    esac"]
