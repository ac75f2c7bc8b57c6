"""`cloche doctor`: what this machine can isolate for this user, tried out; what it means, and how to get the rest.

    checks one by one ─▶ a whole container ─▶ a report, or --json ─▶ 0 when `cloche run` works, else 1

The exit code is 0 exactly when nothing that `run` needs is missing, and the last of the checks is `run`
itself: it starts a container of this machine's own system, for the command `true`.
"""

from __future__ import annotations

import errno
import os
import sys
import time

from cloche.cli.output import plain, width
from cloche.engine.records import state_dir
from cloche.errors import ClocheError
from cloche.linux import process
from cloche.runtime.checks import run_checks
from cloche.runtime.checks.attempt import attempt
from cloche.runtime.checks.finding import LIMITED, MISSING, OK, Finding
from cloche.runtime.checks.groups import as_before
from cloche.runtime.checks.place import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed

MARKS = {OK: "ok", LIMITED: "LIMITED", MISSING: "MISSING"}
WIDTHS = (60, 140)  # of a report
COMMAND = ("true",)


def doctor(parsed: Parsed) -> int:
    """Carry out the verb; returns 0 when `cloche run` works for this user here, else 1."""
    _adopt_orphans()
    try:
        place = Place()
        findings = run_checks(place)
        findings.append(state(place))
        findings.append(container(place))
    finally:
        _reap()
    if parsed.flag("json"):
        from cloche.spec.reader import write_json

        sys.stdout.write(write_json(document(findings)) + "\n")
    else:
        sys.stdout.write(report(findings, _columns()))
    return 0 if works(findings) else 1


def works(findings: list[Finding]) -> bool:
    """Whether nothing that `cloche run` needs is missing."""
    return not any(finding.fatal for finding in findings)


def document(findings: list[Finding]) -> dict[str, object]:
    """For a program to read: {"works", "uid", "kernel", "machine", "fixes", "findings": [...]}."""
    system = os.uname()
    return {
        "works": works(findings),
        "uid": os.geteuid(),
        "kernel": system.release,
        "machine": system.machine,
        "fixes": fixes(findings),
        "findings": [{name: getattr(f, name) for name in FIELDS} for f in findings],
    }


FIELDS = ("name", "status", "needed", "detail", "meaning", "fix")


def fixes(findings: list[Finding]) -> list[str]:
    """The commands that get `cloche run` going, each once, in the order in which they were found."""
    return list(dict.fromkeys(f.fix for f in findings if f.fatal and f.fix))


def report(findings: list[Finding], columns: int) -> str:
    """For a person to read: what `run` needs first, then the rest, then the verdict."""
    system = os.uname()
    lines = [f"Linux {system.release}, {system.machine}, user {os.geteuid()}"]
    for heading, needed in (("What `cloche run` needs", True), ("What makes it better", False)):
        lines += ["", heading]
        for finding in findings:
            if finding.needed is needed:
                lines += _entry(finding, max(width(f.name) for f in findings), columns)
    lines += ["", *_verdict(findings)]
    return "\n".join(plain(line) for line in lines) + "\n"


def _entry(finding: Finding, widest: int, columns: int) -> list[str]:
    indent = " " * (2 + 9 + widest + 2)
    head = f"  {MARKS[finding.status]:<9}{finding.name:<{widest}}  "
    lines = _wrapped(head, indent, plain(finding.meaning), columns)
    if finding.status != OK:
        lines += _wrapped(indent, indent, f"({plain(finding.detail)})", columns)
    if finding.fix:
        lines.append(f"{indent}fix: {finding.fix}")  # never broken: it is there to be copied
    return lines


def _wrapped(first: str, rest: str, text: str, columns: int) -> list[str]:
    import textwrap

    return textwrap.wrap(
        text, columns, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _verdict(findings: list[Finding]) -> list[str]:
    if works(findings):
        return ["`cloche run` works here for you"]
    lines = ["`cloche run` does not work here for you"]
    return [*lines, *(f"  fix: {command}" for command in fixes(findings))]


def _columns() -> int:
    try:
        size = os.get_terminal_size(1).columns
    except OSError:
        size = 120
    return max(WIDTHS[0], min(WIDTHS[1], size))


def state(place: Place) -> Finding:
    """Something can be written where run-time state goes."""
    top = state_dir()
    folder = top
    while not os.path.exists(folder) and folder != "/":
        folder = os.path.dirname(folder)
    probe = f"{folder}/.cloche-doctor-{os.getpid()}"
    try:
        outcome = attempt(lambda: _write(folder, probe))
    finally:
        _remove(probe)
    detail = f"wrote something nobody sees to {folder}: {outcome.says}"
    needed = place.ids is not None and place.ids.kind == "range"  # which is leased by a file there
    if outcome.ok:
        return Finding("state", OK, detail, f"running containers are kept in {top}", needed=needed)
    meaning = f"no state can be kept in {top}, which containers with a name" + (" and all of root's" * needed) + " need"
    return Finding("state", MISSING, detail, meaning, 'export CLOCHE_STATE="$HOME/.cache/cloche"', needed)


def _write(folder: str, probe: str) -> None:
    """Make a file without a name, or where the file system has none, a directory for a moment."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}:
            raise
        os.mkdir(probe, 0o700)
        os.rmdir(probe)


def _remove(probe: str) -> None:
    try:
        os.rmdir(probe)
    except OSError:
        pass  # it is not there, as it should be


def container(place: Place) -> Finding:
    """`cloche run host true`: the whole of it."""
    with as_before(place.host.groups if place.host else None):
        outcome = attempt(_run, seconds=60)  # all of cloche, on a machine that may be slow
        _reap()  # what it left when it was cut short
    tried = f"cloche run host {' '.join(COMMAND)}"
    if not outcome.ok:
        return Finding("container", MISSING, f"{tried}: {outcome.says}", "no container can be started", "", True)
    failed, text, hint = outcome.value
    if failed:
        meaning = "no container can be started" + f": {hint}" * bool(hint)
        return Finding("container", MISSING, f"{tried}: {text}", meaning, "", True)
    meaning = "containers run" + f"; not in force: {hint}" * bool(hint)
    return Finding("container", OK, f"{tried}: {text}", meaning, "", True)


def _run() -> tuple[bool, str, str]:
    """(failed, what failed or how many layers are in force, what to do or which are not)."""
    from cloche.sandbox.options import Options
    from cloche.sandbox.results import conclude
    from cloche.sandbox.running import prepare
    from cloche.stage.client import fork_stage

    # where root has no directory of leased ranges yet none is made, and there is nobody to share one with
    dry = not os.path.exists(f"{state_dir()}/ranges")
    try:
        prepared = prepare(Options(image="host", command=COMMAND), dry=dry)
        stage = fork_stage()
        try:
            ended = {}
            for message, fds in stage.run(prepared.plan, [0, 1, 2]):
                for fd in fds:
                    os.close(fd)
                if message[0] == "ended":
                    ended = message[1]
            result = conclude(prepared, ended)
        finally:
            stage.close()
            prepared.close()
    except ClocheError as error:
        return True, str(error), error.hint
    if result.exit_code:
        return True, f"ended with {result.exit_code}: {result.reason}", ""
    receipt = result.receipt
    text = f"it ran, with {len(receipt.enforced)} of {len(list(receipt))} layers of isolation in force"
    return False, text, "; ".join(f"{n} ({receipt[n].detail})" for n in receipt.missing)


def _adopt_orphans() -> None:
    """Have what an interrupted check leaves behind become a child of this process, to be ended by it."""
    try:
        process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
    except OSError:
        pass  # a filter refuses it; then they go when their own parent's end is noticed


def _reap() -> None:
    """Wait for every child there still is, for two seconds, and then end them."""
    deadline = time.monotonic() + 2
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            continue
        late = time.monotonic() - deadline
        if late > 1:
            return  # asleep in the kernel, out of reach
        if late > 0:
            _kill_children()
        time.sleep(0.001)


def _kill_children() -> None:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            children = [int(word) for word in file.read().split()]
    except OSError:
        return
    for pid in children:
        os.kill(pid, 9)
