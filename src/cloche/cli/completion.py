"""The tables as completion scripts: what all three shells share, and the way to each.

A script holds everything it needs: completing a word does not start cloche. It offers the options
of the verb, the words an option takes, files, directories, users and the like, and past the place
where a verb's options end, commands and files. Options that are only known to be absent, and hidden
spellings, are not offered.

A `complete` of the table is words ("text json"), words that join with commas ("net,pid"), or one of
the classes in `CLASSES`, which every shell answers in its own way or, for `WORDS`, from here.
"""

from __future__ import annotations

from cloche.cli.table import FLAG, Operand, Option, Verb

CAPABILITIES = (  # linux/capability.h, in its order, without CAP_
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE"
    " NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO"
    " SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME"
    " SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG"
    " WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
WORDS = {
    "<capability>": f"ALL {CAPABILITIES}",
    "<signal>": "SIGTERM SIGINT SIGQUIT SIGHUP SIGUSR1 SIGUSR2 SIGKILL SIGWINCH SIGCONT SIGSTOP",
    "<ulimit>": "core= cpu= data= fsize= locks= memlock= msgqueue= nice= nofile= nproc= rss= rtprio="
    " rttime= sigpending= stack=",
    "<sysctl>": "net.ipv4.ip_forward= net.ipv4.ip_unprivileged_port_start= net.ipv4.ping_group_range="
    " net.core.somaxconn= kernel.msgmax= kernel.shmmax= fs.mqueue.msg_max=",
}
CLASSES = tuple(
    f"<{word}>"
    for word in "file dir user group variable command process container kept image volume verb".split()
    + "runnable mount network place".split()  # an image or the host, a volume or a file, -v, cp's CONTAINER: or a file
)
# the names in the index of a store, as docker shows them: what follows is to be the store, in every shell's words
IMAGES = (
    """sed 's/"org.opencontainers.image.ref.name":"/\\n&/g' @store@/index.json 2>/dev/null"""
    """ | sed -n 's/^"org[^:]*:"\\([^"]*\\)".*/\\1/p' | sed 's#^docker.io/##; s#^library/##'"""
)
SHELLS = ("bash", "zsh", "fish")


def render_completion(shell: str, cloche: Verb, verbs: list[Verb]) -> str:
    """The script for one of `SHELLS`; `cloche` is the table of the options before the verb.

    The templates call their functions `_cloche…` and the command `@program@`: two commands' scripts may be loaded
    into the same shell.
    """
    if shell == "bash":
        from cloche.cli import completion_bash

        script = completion_bash.render(cloche, verbs)
    elif shell == "zsh":
        from cloche.cli import completion_zsh

        script = completion_zsh.render(cloche, verbs)
    else:
        from cloche.cli import completion_fish

        script = completion_fish.render(cloche, verbs)
    name = cloche.program.replace("-", "_")
    return script.replace("_cloche", f"_{name}").replace("@program@", cloche.program)


def takes_value(option: Option) -> bool:
    """Whether the word after this option belongs to it."""
    return option.kind != FLAG


def valued(verb: Verb) -> str:
    """A regular expression for the words that need the next one: `--env`, `-e`, a cluster `-ite`.

    Nothing where the verb has no such option.
    """
    options = verb.shown()
    long = [n for o in options if takes_value(o) for n in (*o.names, *o.aliases) if len(n) > 2]
    letters = "".join(n[1] for o in options if takes_value(o) for n in o.names if len(n) == 2)
    flags = "".join(n[1] for o in options if not takes_value(o) for n in o.names if len(n) == 2)
    if letters:
        long.append(f"-[{flags}]*[{letters}]" if flags else f"-[{letters}]")
    return f"^({'|'.join(long)})$" if long else ""


def alike(verbs: list[Verb]) -> list[list[Verb]]:
    """The verbs in groups that have the very same options, so that a script lists these once."""
    found: dict[tuple[Option, ...], list[Verb]] = {}
    for verb in verbs:
        found.setdefault(verb.options, []).append(verb)
    return list(found.values())


def words(complete: str, verbs: list[Verb]) -> str:
    """The fixed words of a `complete`, with spaces between, or nothing for what a shell looks up."""
    if complete == "<verb>":
        return " ".join(verb.name for verb in verbs if not verb.group)
    if complete in WORDS:
        return WORDS[complete]
    return "" if complete in CLASSES else complete


def group_names(verbs: list[Verb]) -> list[str]:
    """The first words of verbs that have two."""
    return list(dict.fromkeys(verb.group for verb in verbs if verb.group))


def repeats(operand: Operand) -> bool:
    """Whether more of the same are offered after the first; what a command takes is not what it is."""
    return operand.many and operand.complete != "<command>"


def joined(complete: str) -> list[str]:
    """The words of a `complete` that are joined with commas, or nothing for any other."""
    return complete.split(",") if "," in complete and " " not in complete else []
