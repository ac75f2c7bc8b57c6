"""The tables of the verbs beside `run`: enter, doctor, completion, help, man, version."""

from __future__ import annotations

from cloche.cli.table import FLAG, LIST, VALUE, Operand, Option, Verb

OPTIONS = "Options"
VERB = Operand("VERB", "the verb to read about, of one word or two", many=True, complete="<verb>")

ENTER = Verb(
    "enter",
    "run a command inside a container, or any process's namespaces",
    (
        "cloche enter [OPTIONS] PID|NAME [COMMAND [ARG...]]",
        "cloche enter PID|NAME --only net,pid [-- COMMAND [ARG...]]",
    ),
    (
        "Join the namespaces of a running process and start a command there, a shell if none is named."
        " The process is given by its number or by the name of its container; it need not have been"
        " started by cloche.",
        "With --only, join these namespaces alone and keep the rest of this machine: the network of a"
        " container, say, with the tools it does not have.",
    ),
    (
        Option(
            ("--only",),
            VALUE,
            OPTIONS,
            "NAMESPACE,...",
            "join these namespaces alone: cgroup, ipc, mnt, net, pid, time, user, uts",
            complete="cgroup,ipc,mnt,net,pid,time,user,uts",
        ),
        Option(
            ("-i", "--interactive"),
            FLAG,
            OPTIONS,
            "",
            "keep standard input open, so that the command reads what you type or pipe in",
        ),
        Option(
            ("-t", "--tty"),
            FLAG,
            OPTIONS,
            "",
            "give the command a terminal, as shells and editors want",
        ),
        Option(
            ("-e", "--env"),
            LIST,
            OPTIONS,
            "KEY[=VALUE]",
            "set an environment variable; without =VALUE, pass on the value it has here",
            complete="<variable>",
        ),
        Option(("-w", "--workdir"), VALUE, OPTIONS, "DIR", "start the command in this directory"),
        Option(
            ("-u", "--user"),
            VALUE,
            OPTIONS,
            "USER[:GROUP]",
            "run the command as this user, by name or number",
            complete="<user>",
        ),
    ),
    operands=(
        Operand(
            "PID|NAME",
            "a process number, or the name of a container",
            required=True,
            complete="<process>",
        ),
        Operand("COMMAND", "what to run, and its arguments", many=True, complete="<command>"),
    ),
    examples=(
        ("cloche enter -it web", "a shell in the container web"),
        ("cloche enter web --only net -- ip address", "this machine's ip on the network of web"),
        ("cloche enter 4711 ps ax", "what process 4711 sees of other processes"),
    ),
    stop=2,
)

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
