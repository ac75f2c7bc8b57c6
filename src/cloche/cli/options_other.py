"""The tables of the verbs beside `run`: doctor, completion, help, man, version."""

from __future__ import annotations

from cloche.cli.table import FLAG, VALUE, Operand, Option, Verb

OPTIONS = "Options"
VERB = Operand("VERB", "the verb to read about, of one word or two", many=True, complete="<verb>")

DOCTOR = Verb(
    "doctor",
    "say what this machine can isolate, and how to get the rest",
    ("cloche doctor [--json]",),
    (
        "Try out, without changing anything, each means of isolation that cloche uses: what works,"
        " what does not and why, and what to do about it.",
    ),
    (Option(("--json",), FLAG, OPTIONS, "", "write the findings for a program to read"),),
    examples=(("cloche doctor", "look at this machine"),),
)

COMPLETION = Verb(
    "completion",
    "print the script that completes cloche's words in a shell",
    ("cloche completion bash|zsh|fish",),
    ("Print a script for the shell to read. The examples load it for every new shell.",),
    (),
    operands=(
        Operand(
            "SHELL",
            "the shell the script is for",
            required=True,
            complete="bash zsh fish",
            closed=True,
        ),
    ),
    examples=(
        ("cloche completion bash > ~/.local/share/bash-completion/completions/cloche", "bash"),
        ('cloche completion zsh > "${fpath[1]}/_cloche"', "zsh"),
        ("cloche completion fish > ~/.config/fish/completions/cloche.fish", "fish"),
    ),
)

HELP = Verb(
    "help",
    "show what there is, or how one verb is used",
    ("cloche help [VERB...]",),
    ("Without a VERB, the overview. With one, the same as cloche VERB --help.",),
    (),
    operands=(VERB,),
    examples=(("cloche help run", "the options of run"),),
)

MAN = Verb(
    "man",
    "print a manual page",
    ("cloche man [VERB...]",),
    ("Print the manual page of cloche, or of one verb, in roff for man to read.",),
    (),
    operands=(VERB,),
    examples=(("cloche man run | man -l -", "read the page of run"),),
)

VERSION = Verb(
    "version",
    "show which version this is",
    ("cloche version [--format FORMAT]",),
    (
        "Print the version of cloche, of Python and of the kernel it runs on. For programs it is there under docker's"
        " names too, Client and Server, which are the same here.",
    ),
    (
        Option(
            ("-f", "--format"),
            VALUE,
            OPTIONS,
            "FORMAT",
            "text for people, json for programs, or a template such as '{{.Server.Version}}'",
            default="text",
            complete="text json",
        ),
    ),
    examples=(("cloche version", "show it"), ("cloche version -f '{{.Client.Version}}'", "nothing but the number")),
)
