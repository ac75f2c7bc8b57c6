"""The tables of the verbs about the files of a container: cp, diff, commit, export."""

from __future__ import annotations

from cloche.cli.table import FLAG, LIST, VALUE, Operand, Option, Verb

OPTIONS = "Options"
CONTAINER = Operand("CONTAINER", "its name, its id, or the beginning of its id", required=True, complete="<kept>")

CP = Verb(
    "cp",
    "copy files between a container and this machine",
    ("cloche cp [OPTIONS] CONTAINER:SRC DST|-", "cloche cp [OPTIONS] SRC|- CONTAINER:DST"),
    (
        "Works whether the container runs or not, through its volumes and mounts too. A directory is copied with all"
        " that is in it: into DST where that is a directory, else under that name; of SRC/. what is in it alone."
        " A path here that has a colon begins with ./ or /.",
        "- in place of DST writes a tar to the output, in place of SRC takes one from the input. What is copied into a"
        " container belongs to its root, and what is copied out of it to you; set-uid, set-gid and file capabilities"
        " go with another owner. -a keeps all that, as far as you may give files away. Devices and sockets stay where"
        " they are.",
    ),
    (
        Option(("-a", "--archive"), FLAG, OPTIONS, "", "keep owners, and the powers of programs"),
        Option(("-L", "--follow-link"), FLAG, OPTIONS, "", "of a SRC that is a link, copy what it leads to"),
        Option(("-q", "--quiet"), FLAG, OPTIONS, "", "do not say that it is done; only a terminal is told"),
    ),
    operands=(
        Operand("SRC", "CONTAINER:PATH, a path here, or - for the input", required=True, complete="<place>"),
        Operand("DST", "CONTAINER:PATH, a path here, or - for the output", required=True, complete="<place>"),
    ),
    examples=(
        ("cloche cp web:/etc/app.conf .", "a file out of a container"),
        ("cloche cp site/. web:/srv/www", "what is in a directory into one"),
        ("cloche cp web:/var/log - | tar -t", "a look at what is there"),
    ),
)

DIFF = Verb(
    "diff",
    "show what a container has changed in the files of its image",
    ("cloche diff CONTAINER",),
    (
        "A line for each: A is added, C changed, D deleted. A directory is changed if anything in it is. What is"
        " mounted in the container is not looked at.",
    ),
    (),
    operands=(CONTAINER,),
    examples=(("cloche diff web", "since it was created"),),
)

COMMIT = Verb(
    "commit",
    "make an image of a container",
    ("cloche commit [OPTIONS] CONTAINER [NAME[:TAG]]",),
    (
        "What the container has changed becomes a layer on top of its image's; what is in its volumes and mounts does"
        " not. The image starts as the container did, with its command, variables, labels and so on, and with what the"
        " changes say. Prints the image's ID. The same files give the same layer; SOURCE_DATE_EPOCH, where it is set,"
        " says when the image was made.",
        "Changes are instructions of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD,"
        " STOPSIGNAL, USER, VOLUME and WORKDIR.",
    ),
    (
        Option(("-a", "--author"), VALUE, OPTIONS, "TEXT", "who has made it"),
        Option(("-c", "--change"), LIST, OPTIONS, "CHANGE", "what the image says about how it is run"),
        Option(("-m", "--message"), VALUE, OPTIONS, "TEXT", "what its history says"),
        Option(
            ("-p", "--pause"),
            FLAG,
            OPTIONS,
            "",
            "have the container stand still meanwhile; --pause=false takes its files as they are",
            default="true",
        ),
    ),
    operands=(CONTAINER, Operand("NAME", "what it is to be called")),
    examples=(("cloche commit -c 'CMD [\"httpd\"]' web web:2", "with another command"),),
)

EXPORT = Verb(
    "export",
    "write the files of a container or of an image as one tar",
    ("cloche export [OPTIONS] CONTAINER|IMAGE",),
    (
        "The files with owners, times, links and attributes, without what is in volumes and mounts. A container of"
        " that name comes first; of an image it is what a container of it finds, and the same image always gives the"
        " same tar.",
    ),
    (Option(("-o", "--output"), VALUE, OPTIONS, "FILE", "write it there, in place of the output", complete="<file>"),),
    operands=(Operand("CONTAINER", "a container or an image, by its name or id", required=True, complete="<kept>"),),
    examples=(
        ("cloche export -o web.tar web", "into a file"),
        ("cloche export box:1 | tar -t", "what files an image has"),
        ("cloche export web | cloche import - web:flat", "an image with one layer in place of many"),
    ),
)
