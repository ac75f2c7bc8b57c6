"""The tables of the verbs about images."""

from __future__ import annotations

from cloche.cli.options import make_group
from cloche.cli.table import FLAG, LIST, VALUE, Operand, Option, Verb

OPTIONS = "Options"
FORMAT = Option(
    ("--format",), VALUE, OPTIONS, "FORMAT", "json, table, or a template such as '{{.ID}}'", complete="json table"
)
FILTER = Option(("-f", "--filter"), LIST, OPTIONS, "KEY=VALUE", "only images of which this is true")
PLATFORM = Option(
    ("--platform",), VALUE, OPTIONS, "OS/ARCH[/VARIANT]", "the image for this platform, in place of this machine's"
)
REGISTRY = (
    Option(
        ("--tls-verify",),
        VALUE,
        OPTIONS,
        "true|false",
        "false: without TLS, or with a certificate that is not trusted",
        complete="true false",
        closed=True,
    ),
    Option(("--creds",), VALUE, OPTIONS, "USER[:PASSWORD]", "log in as this user, for this once"),
    Option(("--cert-dir",), VALUE, OPTIONS, "DIR", "certificates: *.crt to trust, NAME.cert and NAME.key to show"),
)
CONTENT_TRUST = Option(
    ("--disable-content-trust",),
    FLAG,
    OPTIONS,
    "",
    "do without docker's signatures, as is always done here",
    default="true",
    complete="true",
    closed=True,
)

PULL = Verb(
    "pull",
    "fetch an image from a registry",
    ("cloche pull [OPTIONS] NAME[:TAG|@DIGEST]",),
    (
        "Without a registry in front, NAME is docker.io's, unless registries.conf says otherwise; without a tag,"
        " latest is meant. What is here already is not fetched again.",
        "NAME may also be docker-daemon:NAME, oci:DIR[:NAME], oci-archive:FILE[:NAME] or docker-archive:FILE[:NAME].",
    ),
    (
        Option(("-a", "--all-tags"), FLAG, OPTIONS, "", "all images of the repository NAME"),
        PLATFORM,
        Option(("-q", "--quiet"), FLAG, OPTIONS, "", "print nothing but the image's name"),
        CONTENT_TRUST,
        *REGISTRY,
    ),
    operands=(Operand("NAME", "the image", required=True),),
    examples=(
        ("cloche pull debian:12", "an image of docker.io"),
        ("cloche pull --tls-verify=false localhost:5000/app", "one of a registry without TLS"),
    ),
)

PUSH = Verb(
    "push",
    "send an image to a registry",
    ("cloche push [OPTIONS] NAME[:TAG]",),
    (
        "What the registry has already is not sent again, or taken from another of its repositories. Of a list, all"
        " images are sent.",
    ),
    (
        Option(("-a", "--all-tags"), FLAG, OPTIONS, "", "all images here of the repository NAME"),
        Option(("-q", "--quiet"), FLAG, OPTIONS, "", "print nothing but the image's name"),
        CONTENT_TRUST,
        *REGISTRY,
    ),
    operands=(Operand("NAME", "the image", required=True, complete="<image>"),),
    examples=(("cloche push registry.example.com/team/app:1", "an image to the registry that its name begins with"),),
)

TAG = Verb(
    "tag",
    "give an image one more name",
    ("cloche tag IMAGE NAME[:TAG]",),
    (),
    (),
    operands=(
        Operand("IMAGE", "by name or ID", required=True, complete="<image>"),
        Operand("NAME", "the new name", required=True),
    ),
    examples=(("cloche tag debian:12 registry.example.com/team/base:1", "the same image under another name"),),
)

SAVE = Verb(
    "save",
    "write images into a file",
    ("cloche save [OPTIONS] IMAGE...",),
    (
        "The file is an OCI archive and docker's at once; cloche, docker, podman and skopeo read it. The same images"
        " always give the same file. One that is given by its ID is saved without its name.",
    ),
    (
        Option(("-o", "--output"), VALUE, OPTIONS, "FILE", "write it there, in place of the output", complete="<file>"),
        Option(
            ("--format",),
            VALUE,
            OPTIONS,
            "FORMAT",
            "oci-archive or docker-archive alone, for what reads no other; layers are not compressed in docker's",
            complete="oci-archive docker-archive",
            closed=True,
        ),
        Option(
            ("-m", "--multi-image-archive"), FLAG, OPTIONS, "", "accepted for podman's sake: it may always be several"
        ),
    ),
    operands=(Operand("IMAGE", "by name or ID", required=True, many=True, complete="<image>"),),
    examples=(("cloche save -o debian.tar debian:12", "an image to take along"),),
)

LOAD = Verb(
    "load",
    "take images from a file",
    ("cloche load [OPTIONS]",),
    ("Reads what save has written, of cloche, docker, podman or skopeo, compressed or not.",),
    (
        Option(
            ("-i", "--input"), VALUE, OPTIONS, "FILE", "read it from there, in place of the input", complete="<file>"
        ),
        Option(("-q", "--quiet"), FLAG, OPTIONS, "", "print nothing"),
        PLATFORM,
    ),
    examples=(("cloche load -i debian.tar", "the images in a file"),),
)

IMPORT = Verb(
    "import",
    "make an image of a root file system",
    ("cloche import [OPTIONS] FILE|URL|- [NAME[:TAG]]",),
    (
        "A tar, compressed or not, becomes an image of one layer. The same tar gives the same image, but for the time"
        " it was made at, which SOURCE_DATE_EPOCH says where it is set. Prints the image's ID.",
        "Changes are instructions of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD,"
        " STOPSIGNAL, USER, VOLUME and WORKDIR.",
    ),
    (
        Option(("-c", "--change"), LIST, OPTIONS, "CHANGE", "what the image says about how it is run"),
        Option(("-m", "--message"), VALUE, OPTIONS, "TEXT", "what its history says"),
        Option(("--platform",), VALUE, OPTIONS, "OS/ARCH[/VARIANT]", "what it is for, in place of this machine"),
    ),
    operands=(
        Operand(
            "FILE", "a file, an address that begins with http, or - for the input", required=True, complete="<file>"
        ),
        Operand("NAME", "what it is to be called"),
    ),
    examples=(
        ("cloche import -c 'CMD [\"/bin/sh\"]' root.tar.gz box:1", "with what it runs"),
        ("tar -C tree -c . | cloche import - tree:1", "of a directory"),
    ),
)

LOGIN = Verb(
    "login",
    "remember a user and a password for a registry",
    ("cloche login [OPTIONS] [REGISTRY]",),
    (
        "Without a registry, docker.io is meant. The password is asked for, or read with --password-stdin;"
        " it is never given on a command line, where everybody on this machine could read it. It is kept until the next"
        " boot, in a file that is yours alone, which podman reads as well.",
    ),
    (
        Option(("-u", "--username"), VALUE, OPTIONS, "USER", "the user's name; asked for otherwise"),
        Option(("--password-stdin",), FLAG, OPTIONS, "", "read the password from the input"),
        *(option for option in REGISTRY if option.dest != "creds"),
    ),
    operands=(Operand("REGISTRY", "HOST[:PORT]"),),
    examples=(("cloche login -u ana registry.example.com", "asks for the password"),),
)

LOGOUT = Verb(
    "logout",
    "forget a login",
    ("cloche logout [REGISTRY]",),
    ("What docker or a helper keeps is theirs, and stays.",),
    (),
    operands=(Operand("REGISTRY", "HOST[:PORT]; docker.io otherwise"),),
    examples=(("cloche logout registry.example.com", "the opposite of login"),),
)

SEARCH = Verb(
    "search",
    "find images in a registry",
    ("cloche search [OPTIONS] [REGISTRY/]TERM",),
    (
        "Without a registry, docker.io is searched, or those that registries.conf names for short names. One that"
        " offers no search is asked for its catalog. Filters are stars=NUMBER, for at least so many, and"
        " is-official=true|false.",
    ),
    (
        Option(("--limit",), VALUE, OPTIONS, "NUMBER", "at most so many of each registry, 1 to 100", default="25"),
        Option(("-f", "--filter"), LIST, OPTIONS, "KEY=VALUE", "only repositories of which this is true"),
        FORMAT,
        Option(("--no-trunc",), FLAG, OPTIONS, "", "show descriptions in full"),
        *REGISTRY,
    ),
    operands=(Operand("TERM", "a part of the name", required=True),),
    examples=(
        ("cloche search --filter is-official=true debian", "in docker.io"),
        ("cloche search registry.example.com/team", "in another registry"),
    ),
)

IMAGES = Verb(
    "images",
    "list the images that are here",
    ("cloche images [OPTIONS] [NAME[:TAG]]",),
    (
        "NAME may be a pattern: '*/team/*'. Filters are dangling=true|false, label=KEY[=VALUE],"
        " before=IMAGE, since=IMAGE, until=TIME and reference=PATTERN.",
    ),
    (
        Option(("-a", "--all"), FLAG, OPTIONS, "", "as docker has it: there are no others here"),
        Option(("--digests",), FLAG, OPTIONS, "", "show digests as well"),
        FILTER,
        FORMAT,
        Option(("--no-trunc",), FLAG, OPTIONS, "", "show IDs in full"),
        Option(("-q", "--quiet"), FLAG, OPTIONS, "", "print nothing but the IDs"),
    ),
    operands=(Operand("NAME", "only images of this name", complete="<image>"),),
    examples=(("cloche images", "what is here"),),
)

RMI = Verb(
    "rmi",
    "remove images",
    ("cloche rmi [OPTIONS] IMAGE...",),
    ("Takes the name away, and removes what no other name and no container needs.",),
    (
        Option(
            ("-f", "--force"),
            FLAG,
            OPTIONS,
            "",
            "also one with several names, that containers have, or that is not there",
        ),
        Option(("--no-prune",), FLAG, OPTIONS, "", "keep parents without a name: no image has one here"),
    ),
    operands=(Operand("IMAGE", "by name or ID", required=True, many=True, complete="<image>"),),
    examples=(("cloche rmi debian:12", "one of them"),),
)

HISTORY = Verb(
    "history",
    "show how an image came about",
    ("cloche history [OPTIONS] IMAGE",),
    ("The steps of its build, the last first, as the image's config tells them.",),
    (
        Option(("--no-trunc",), FLAG, OPTIONS, "", "show commands in full"),
        Option(("-q", "--quiet"), FLAG, OPTIONS, "", "print nothing but IDs"),
        Option(("-H", "--human"), FLAG, OPTIONS, "", "sizes and dates for people", default="true"),
        FORMAT,
    ),
    operands=(Operand("IMAGE", "by name or ID", required=True, complete="<image>"),),
    examples=(("cloche history debian:12", "what its layers are"),),
)

MANIFEST = make_group(
    "manifest",
    "look at manifests in registries, and make lists of images for several platforms",
    ("A list is made in the store, of images here or in registries, and sent to a registry under one name.",),
)

IMAGE = make_group(
    "image",
    "look into images, and everything else about them",
    ("Some of these are verbs by themselves too: cloche pull is cloche image pull, images is image ls.",),
)
