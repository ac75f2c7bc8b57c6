"""The completion script for fish."""

from __future__ import annotations

from cloche.cli.completion import IMAGES, alike, group_names, joined, repeats, takes_value, valued, words
from cloche.cli.table import Option, Verb

ACTIONS = {
    "<dir>": "(__fish_complete_directories)",
    "<user>": "(__fish_complete_users)",
    "<group>": "(__fish_complete_groups)",
    "<variable>": "(set --names --export)",
    "<command>": "(__fish_complete_command)",
    "<process>": "(__fish_complete_pids)",
    "<container>": "(__cloche_containers)",
    "<kept>": "(__cloche_kept)",
    "<image>": "(__cloche_images)",
    "<volume>": "(__cloche_volumes)",
    "<runnable>": "host (__cloche_images)",
    "<mount>": "(__cloche_volumes)",
    "<network>": "none host container:(__cloche_kept)",
    "<place>": "(__cloche_kept):",
}
FILES = ("<file>", "<mount>", "<place>")  # beside which there are files

START = r"""# fish completion for @program@: put this file in ~/.config/fish/completions, as @program@.fish

# prints the verb, how many operands stand after it, and whether options have ended
function __cloche_place
    set -l verb ""
    set -l operands 0
    set -l ended no
    set -l value no
    for word in (commandline -opc)[2..-1]
        if test $value = yes
            set value no
        else if test $ended = yes; or not string match -qr -- '^-.' $word
            if test -z "$verb"; or contains -- "$verb" @groups@
                set verb (string trim "$verb $word")
                set ended no
            else
                set operands (math $operands + 1)
                test $operands -ge (__cloche_stop "$verb"); and set ended yes
            end
        else if test x$word = x--
            set ended yes
        else if __cloche_takes_value "$verb" $word
            set value yes
        end
    end
    printf '%s\n' "$verb" $operands $ended
end

# whether options of one of these verbs may stand here
function __cloche_on
    set -l place (__cloche_place)
    test $place[3] = no; and contains -- "$place[1]" $argv
end

# whether this operand of this verb, or with a third word one like it, is next
function __cloche_operand
    set -l place (__cloche_place)
    test "$place[1]" = "$argv[1]"; and test $place[2] (test -n "$argv[3]"; and echo -ge; or echo =) $argv[2]
end

# what has a directory below --root
function __cloche_containers
    set -l user (id -u)
    set -l root /run/cloche-runtime
    if test $user != 0
        set root /tmp/cloche-runtime-$user
        set -q XDG_RUNTIME_DIR; and set root $XDG_RUNTIME_DIR/cloche-runtime
    end
    set -l next no
    for word in (commandline -opc)
        test $next = yes; and set root $word
        set next no
        test x$word = x--root; and set next yes
        string match -q -- '--root=*' $word; and set root (string replace -- --root= '' $word)
    end
    command ls -- $root 2>/dev/null
end

# the directory that is the store
function __cloche_store
    set -l store /var/lib/cloche
    if test (id -u) != 0
        set store $HOME/.local/share/cloche
        set -q XDG_DATA_HOME; and set store $XDG_DATA_HOME/cloche
    end
    set -q CLOCHE_ROOT; and set store $CLOCHE_ROOT
    set -l next no
    for word in (commandline -opc)
        test $next = yes; and set store $word
        set next no
        test x$word = x--root; and set next yes
        string match -q -- '--root=*' $word; and set store (string replace -- --root= '' $word)
    end
    echo $store
end

# what the index of the store names
function __cloche_images
    set -l store (__cloche_store)
    @images@
end

# what has a name there
function __cloche_kept
    command ls -- (__cloche_store)/names 2>/dev/null
end

# what has a directory there
function __cloche_volumes
    command ls -- (__cloche_store)/volumes 2>/dev/null
end

# words that join with commas: the last of them is being typed
function __cloche_joined
    set -l before (commandline -ct | string match -r -- '^(?:[^=]*=)?(.*,)')
    printf '%s\n' "$before[2]"$argv
end
"""


def render(cloche: Verb, verbs: list[Verb]) -> str:
    """The whole script."""
    stops, takes, lines = [], [], []
    for verb in verbs:
        if verb.operands:
            stops.append(f"case {_word(verb)}\n            echo {verb.stop}")
    for group in alike([cloche, *verbs]):
        names = " ".join(_word(verb) for verb in group)
        if pattern := valued(group[0]):
            takes.append(f"case {names}\n            string match -qr -- {quoted(pattern)} $argv[2]")
        lines += [_option(f"__cloche_on {names}", option, verbs) for option in group[0].shown()]
    for verb in verbs:
        first = quoted(f"__cloche_operand '{verb.group}' 0")
        last = verb.name.rpartition(" ")[2]
        lines.append(f"complete -c @program@ -f -n {first} -a {last} -d {quoted(verb.summary)}")
        for i, operand in enumerate(verb.operands if verb.name not in group_names(verbs) else ()):
            if action := _action(operand.complete, verbs):
                where = quoted(f"__cloche_operand {_word(verb)} {i}{' more' if repeats(operand) else ''}")
                files = "-F" if operand.complete in FILES else "-f"
                lines.append(f"complete -c @program@ {files} -n {where} -a {quoted(action)}")
    stops.append("case '*'\n            echo 1")
    takes.append("case '*'\n            return 1")
    return (
        START.replace("@images@", IMAGES.replace("@store@", "$store")).replace("@groups@", " ".join(group_names(verbs)))
        + _function("__cloche_stop", stops)
        + _function("__cloche_takes_value", takes)
        + "\n"
        + "\n".join(lines)
        + "\n"
    )


def quoted(text: str) -> str:
    """`text` as one word of fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _word(verb: Verb) -> str:
    """A verb as one word of fish."""
    return verb.name if verb.name and not verb.group else f"'{verb.name}'"


def _function(name: str, cases: list[str]) -> str:
    lines = "".join(f"        {case}\n" for case in cases)
    return f'\nfunction {name}\n    switch "$argv[1]"\n{lines}    end\nend\n'


def _option(condition: str, option: Option, verbs: list[Verb]) -> str:
    parts = [f"complete -c @program@ -n {quoted(condition)}"]
    parts += [f"-s {name[1]}" if len(name) == 2 else f"-l {name[2:]}" for name in option.names]
    if takes_value(option):
        parts.append("-r -F" if option.complete in FILES else "-x")
        if action := _action(option.complete, verbs):
            parts.append(f"-a {quoted(action)}")
    return " ".join([*parts, f"-d {quoted(option.help)}"])


def _action(complete: str, verbs: list[Verb]) -> str:
    if complete in ACTIONS or complete == "<file>":
        return ACTIONS.get(complete, "")
    if joined(complete):
        return f"(__cloche_joined {' '.join(joined(complete))})"
    return words(complete, verbs)
