"""`update`: change the limits of a container that is there."""

from __future__ import annotations

from cloche.cli.table import VALUE, Operand, Option, Verb
from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.cli.grammar import Parsed
    from cloche.cli.runtime.globals import Globals

# option, where it goes in linux.resources, kind of value, help
LIMITS = (
    ("--blkio-weight", "blockIO/weight", "number", "weight of block I/O, 10 to 1000"),
    ("--cpu-period", "cpu/period", "number", "period of the quota in microseconds"),
    ("--cpu-quota", "cpu/quota", "number", "microseconds of processor time in each period; -1 for no limit"),
    ("--cpu-burst", "cpu/burst", "number", "microseconds that may be saved up"),
    ("--cpu-share", "cpu/shares", "number", "share of processor time against others"),
    ("--cpu-rt-period", "cpu/realtimePeriod", "number", "period of the real-time limit in microseconds"),
    ("--cpu-rt-runtime", "cpu/realtimeRuntime", "number", "microseconds of real-time in each period"),
    ("--cpu-idle", "cpu/idle", "number", "1: only what nobody else wants"),
    ("--cpuset-cpus", "cpu/cpus", "text", "processors to run on, such as 0-3,7"),
    ("--cpuset-mems", "cpu/mems", "text", "memory nodes to use"),
    ("--memory", "memory/limit", "bytes", "limit of memory"),
    ("--memory-reservation", "memory/reservation", "bytes", "memory that is left to it when it is short"),
    ("--memory-swap", "memory/swap", "bytes", "limit of memory and swap together; -1 for no limit"),
    ("--kernel-memory", "memory/kernel", "bytes", "limit of kernel memory, where the kernel still has it"),
    ("--kernel-memory-tcp", "memory/kernelTCP", "bytes", "limit of memory for TCP buffers"),
    ("--pids-limit", "pids/limit", "number", "most processes; -1 for no limit"),
)
UNITS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}

VERBS = {
    "update": Verb(
        "update",
        "change the limits of a container",
        ("cloche-runtime update [OPTIONS] ID",),
        ("What is not given stays as it is. Bytes may have a unit: 64m, 1.5g.",),
        (
            Option(
                ("-r", "--resources"),
                VALUE,
                "Options",
                "FILE",
                "linux.resources as JSON; - for standard input",
                complete="<file>",
            ),
            *(
                Option((name,), VALUE, "Options", "N" if kind != "text" else "LIST", text)
                for name, _, kind, text in LIMITS
            ),
            Option(("--l3-cache-schema",), VALUE, "Options", "LINE", "its share of caches in resctrl"),
            Option(("--mem-bw-schema",), VALUE, "Options", "LINE", "its share of memory bandwidth in resctrl"),
        ),
        operands=(Operand("ID", "the container", required=True, complete="<container>"),),
        examples=(
            ("cloche-runtime update --memory 512m --pids-limit 100 demo", "other limits"),
            ("cloche-runtime update --resources limits.json demo", "all that a config.json can say"),
        ),
        program="cloche-runtime",
    )
}


def run(name: str, given: Parsed, options: Globals) -> int:
    """Carry out `update`."""
    from cloche.cli.runtime.globals import warn
    from cloche.runtime.changing import update
    from cloche.runtime.containers import load
    from cloche.spec.resources import Resources
    from cloche.spec.validate_resources import check_resources

    del name
    container = load(options.root, given.positionals[0]).lock()
    resources = Resources.parse(document(given))
    check_resources(resources)
    schemata = tuple(filter(None, (given.text("l3_cache_schema"), given.text("mem_bw_schema"))))
    for layer, text in update(container, resources, schemata):
        warn(f"{layer}: {text}", options)
    return 0


def document(given: Parsed) -> dict[str, Any]:
    """The linux.resources that the options say, those of --resources first."""
    found: Any = {}
    if path := given.text("resources"):
        from cloche.runtime.bundle import read_document
        from cloche.spec.reader import read_json
        from cloche.spec.resources import Resources
        from cloche.spec.validate_resources import check_resources

        document = read_document("--resources", path, stdin=path == "-")
        try:
            found = read_json(document)
            check_resources(Resources.parse(found))
        except SpecError as error:
            raise SpecError(f"--resources {path}: {error}", hint=error.hint) from None
    for name, place, kind, _ in LIMITS:
        text = given.text(name[2:].replace("-", "_"))
        if text:
            section, _, member = place.partition("/")
            found[section] = {**(found.get(section) or {}), member: _value(name, kind, text)}
    return dict(found)


def _value(name: str, kind: str, text: str) -> int | str:
    if kind == "text":
        return text
    digits, shift = text.removeprefix("-"), 0
    if kind == "bytes" and digits:
        digits = digits.lower().removesuffix("ib") if len(digits) > 2 else digits.lower()
        if digits.endswith("b") and len(digits) > 1 and digits[-2:-1].isalpha():
            digits = digits[:-1]
        unit = "" if digits[-1:].isdecimal() else digits[-1:]
        digits, shift = digits.removesuffix(unit) if unit else digits, UNITS.get(unit, -1)
    whole, point, part = digits.partition(".")
    if point and (kind != "bytes" or not part or not whole):
        shift = -1  # as of something that is counted there is no half
    digits = whole + part
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 19 or shift < 0:
        raise SpecError(f"{name} {text}: a number is needed", hint="bytes may have a unit: 64m")
    value = (int(digits) << shift) // int("1" + "0" * len(part))
    return -value if text.startswith("-") else value
