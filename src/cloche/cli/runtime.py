"""`cloche-runtime`: bundles, as OCI runtimes take them. So far `run`, `spec`, `features` and `--version`.

The verbs that engines drive a runtime with (create, start, kill, delete, …) are refused by name.
"""

from __future__ import annotations

import os
import sys

from cloche import __version__
from cloche.cli.grammar import parse
from cloche.cli.table import FLAG, VALUE, Operand, Option, Verb
from cloche.errors import ClocheError, ConflictError, SpecError, UnsupportedError

RUN = Verb(
    "run",
    "run the container of a bundle and wait for its end",
    ("cloche-runtime run [--bundle DIR] ID",),
    ("Carry out the config.json of a bundle in the foreground and end with the command's exit status.",),
    (Option(("-b", "--bundle"), VALUE, "Options", "DIR", "the bundle: a directory with a config.json", default="."),),
    operands=(Operand("ID", "what to call the container", required=True),),
)
SPEC = Verb(
    "spec",
    "write a config.json to start from",
    ("cloche-runtime spec [--rootless] [--bundle DIR]",),
    ("Write a config.json into the bundle; one that is there already is left alone.",),
    (
        Option(("-b", "--bundle"), VALUE, "Options", "DIR", "where to write it", default="."),
        Option(("--rootless",), FLAG, "Options", "", "for an ordinary user: a user namespace with one id"),
    ),
)
FEATURES = Verb("features", "say what this runtime can do, as JSON", ("cloche-runtime features",), (), ())
LATER = "create start state kill delete exec ps list pause resume update events checkpoint restore".split()


def main(argv: list[str]) -> int:
    """Run a command line; returns the exit code."""
    try:
        if argv[:1] in (["--version"], ["-v"]):
            print(f"cloche-runtime version {__version__}\nspec: 1.2.0")
            return 0
        if not argv or argv[0] in {"-h", "--help"}:
            return _help()
        name, words = argv[0], argv[1:]
        if name in LATER:
            raise UnsupportedError(f"`cloche-runtime {name}`", needs="this version runs bundles in the foreground only")
        if name not in {"run", "spec", "features"}:
            raise SpecError(f"{name!r} is not a command", hint="run, spec, features")
        verb = {"run": RUN, "spec": SPEC, "features": FEATURES}[name]
        parsed = parse(verb, words)
        if parsed.help:
            from cloche.cli.help import render_help

            sys.stdout.write(render_help(verb))
            return 0
        bundle = os.path.abspath(parsed.text("bundle") or ".") if name != "features" else ""
        if name == "run":
            return _run(bundle, parsed.positionals[0])
        if name == "spec":
            return _spec(bundle, rootless=parsed.flag("rootless"))
        return _features()
    except ClocheError as error:
        from cloche.cli.output import print_error

        print_error(error)
        return 1
    except OSError as error:
        from cloche.cli.output import print_error

        print_error(ClocheError(f"{error.filename or ''}: {error.strerror}"))
        return 1


def _run(bundle: str, container_id: str) -> int:
    from cloche.cli import front
    from cloche.ids import check_id
    from cloche.linux.files import hold_standard_descriptors
    from cloche.runtime.bundle import read_config, request_of
    from cloche.runtime.host import probe_host
    from cloche.runtime.planning import plan
    from cloche.sandbox.reason import exit_code_of
    from cloche.sandbox.running import set_up_error
    from cloche.stage.seal import restart_sealed

    hold_standard_descriptors()
    check_id(container_id)
    config = read_config(bundle)
    tty = config.process is not None and config.process.terminal
    if tty and not os.isatty(0):
        raise ConflictError("/process/terminal is true and stdin is not a terminal", hint="set it to false")
    restart_sealed()
    request = request_of(config, bundle, container_id, probe_host(), front.terminal_size() if tty else (0, 0))
    steps, _ = plan(request, probe_host())
    ended = front.drive(steps, interactive=True, tty=tty)
    if "failed" in ended:
        raise set_up_error(steps, ended["failed"])
    if "not executed" in ended:
        raise ClocheError(ended["not executed"][2], hint=ended["not executed"][3])
    return exit_code_of(ended)


def _spec(bundle: str, *, rootless: bool) -> int:
    import json

    from cloche.runtime.bundle import default_config

    path = f"{bundle}/config.json"
    try:
        with open(path, "x", encoding="utf-8") as file:
            json.dump(default_config(rootless=rootless, uid=os.geteuid(), gid=os.getegid()), file, indent=2)
            file.write("\n")
    except FileExistsError:
        raise ConflictError(f"{path} is there already", hint="remove it first") from None
    return 0


def _features() -> int:
    import json

    from cloche.linux import capabilities
    from cloche.runtime.describing import KINDS
    from cloche.spec.config import OCI_VERSION, OCI_VERSION_MIN

    document = {
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION,
        "hooks": [],
        "mountOptions": sorted("bind dev exec idmap nodev noexec nosuid nosymfollow rbind ro rro rw suid".split()),
        "linux": {
            "namespaces": sorted(KINDS),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": False},
            "seccomp": {"enabled": True, "archs": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_X86_64"]},
            "apparmor": {"enabled": False},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": False},
        },
        "annotations": {},
    }
    print(json.dumps(document, indent=2))
    return 0


def _help() -> int:
    lines = [f"  {verb.name:<10} {verb.summary}" for verb in (RUN, SPEC, FEATURES)]
    print("usage: cloche-runtime COMMAND\n\n" + "\n".join(lines))
    return 0


def entry() -> None:
    """What the installed command calls."""
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
