"""What the hot paths load: a fresh interpreter may load what is listed here, and nothing else.

The stage's list is also a matter of safety: it must have all it needs before it enters a root file system.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import SOURCE, system_python

if TYPE_CHECKING:
    from pathlib import Path

# beside what `python -I -S` has loaded before its first line
STAGE = set("__future__ _ctypes _signal _socket _stat _thread errno gc marshal select sys time".split())
# the command line, up to a plan that is ready; _json is the C scanner without the json package
RUN = STAGE | set("_json encodings.ascii fcntl".split())
# an ordinary user's name is looked up for /etc/subuid, before any container is there
RUN_AS_USER = RUN | {"pwd"}
SHOW = "\nprint(*sorted(set(sys.modules) - before))"
STAGE_ROOMS = ("cloche.stage", "cloche.linux", "cloche.records")
PREPARE = """
from cloche.cli import main
from cloche.cli.grammar import parse
from cloche.cli.options import CLOCHE, find
from cloche.cli.run import run
from cloche.cli.request import options_of
from cloche.sandbox.running import prepare
top = parse(CLOCHE, ["run", "-m", "64m", "--allow-unenforced", "-v", "/tmp:/x", "-e", "A=b", *IMAGE, "true"])
verb = find(top.positionals[0])
prepare(options_of(verb, parse(verb, top.positionals[1:]))).close()
"""


def loaded(code: str, state: str = "") -> tuple[set[str], set[str]]:
    """(cloche's modules, others) that running `code` loads in a fresh `python -I -S`."""
    start = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); before = set(sys.modules)\n"
    env = {"PATH": os.environ["PATH"], "CLOCHE_STATE": state}
    argv = [system_python(), "-I", "-S", "-B", "-c", start + code + SHOW]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, env=env)
    assert done.returncode == 0, done.stderr
    names = set(done.stdout.split())
    own = {name for name in names if name == "cloche" or name.startswith("cloche.")}
    return own, names - own


def test_the_stage_loads_what_it_may_and_no_more() -> None:
    own, others = loaded("import cloche.stage.main")
    assert others <= STAGE
    assert {name for name in own if not name.startswith(STAGE_ROOMS)} == {"cloche"}
    assert "cloche.stage.operations.roots" in own


def test_a_stage_has_everything_before_it_freezes() -> None:
    """Every module of the stage but the caller's end is there after start, so that none is looked for later."""
    own, _ = loaded("import cloche.stage.main")
    caller_only = {"cloche.stage.client", "cloche.stage.hearing", "cloche.stage.seal"}
    # what only a runtime's own process carries out, which imports what it needs before it forks
    caller_only |= {
        f"cloche.stage.{name}"
        for name in ("making", "hooks", "kept", "keeping", "units", "operations.lifecycle", "operations.scopes")
    }
    rooms = {f"cloche.stage.{path.stem}" for path in (SOURCE / "cloche/stage").glob("[a-z]*.py")}
    rooms |= {f"cloche.stage.operations.{p.stem}" for p in (SOURCE / "cloche/stage/operations").glob("[a-z]*.py")}
    assert rooms - own == caller_only


def test_the_package_itself_loads_nothing() -> None:
    own, others = loaded("import cloche")
    assert own == {"cloche"}
    assert others <= {"__future__"}


@pytest.mark.parametrize("image", ["host", "--rootfs"])
def test_run_up_to_a_plan_loads_what_it_may_and_no_more(image: str, tmp_path: Path) -> None:
    words = ["host"] if image == "host" else ["--rootfs", "/usr"]
    own, others = loaded(f"IMAGE = {words}\n{PREPARE}", str(tmp_path))
    assert others <= (RUN if os.geteuid() == 0 else RUN_AS_USER)
    assert "cloche.cli.explain" not in own
    assert "cloche.cli.options_other" not in own
    assert "cloche.sandbox.api" not in own
    assert "cloche.runtime.planning" in own


def test_exec_loads_what_it_may_and_no_more() -> None:
    """No stage that is sent plans, no seccomp compiler, nothing that makes a root."""
    own, others = loaded("""
from cloche.cli.main import BUNDLES
for names in BUNDLES["exec"]:
    for name in names:
        __import__(name)
""")
    assert others <= RUN
    left_out = "cloche.stage.server cloche.stage.client cloche.runtime.planning cloche.sandbox.config"
    assert not own & {*left_out.split(), "cloche.stage.operations.roots", "cloche.runtime.seccomp.compile"}
    assert "cloche.cli.containers.exec" in own


@pytest.mark.parametrize("verb", ["kept", "rm", "stop", "kill", "start"])
def test_what_is_typed_all_day_loads_what_it_may_and_no_more(verb: str) -> None:
    _, others = loaded(f"""
from cloche.cli.main import BUNDLES
for name in BUNDLES[{verb!r}][0]:
    __import__(name)
""")
    assert others <= RUN
    assert verb in {"kept", "start"} or "_ctypes" not in others


def test_ps_loads_what_it_may_and_no_more() -> None:
    """Neither what starts containers nor what a template or a filter alone needs."""
    own, others = loaded("""
from cloche.cli.main import BUNDLES
for names in BUNDLES["ps"]:
    for name in names:
        __import__(name)
""")
    assert others <= RUN | {"_signal"}
    rooms = {".".join(name.split(".")[:2]) for name in own}
    assert rooms <= {f"cloche.{room}" for room in "cli engine errors images linux records spec stage".split()} | {
        "cloche"
    }
    left_out = "cloche.cli.template cloche.cli.options_run cloche.images.listing cloche.engine.supervisor.client"
    assert not own & set(left_out.split())
    assert len(own) < 45


@pytest.mark.parametrize("bundle", ["runtime", "small"])
def test_a_command_of_the_runtime_loads_what_it_may_and_no_more(bundle: str) -> None:
    own, others = loaded(f"""
from cloche.cli.runtime.main import BUNDLES
for names in BUNDLES[{bundle!r}]:
    for name in names:
        __import__(name)
""")
    assert others <= {
        "__future__",
        "_ctypes",
        "_json",
        "_signal",
        "_socket",
        "_stat",
        "errno",
        "fcntl",
        "select",
        "time",
    }
    assert "cloche.runtime.containers" in own


def test_telling_of_an_event_costs_little() -> None:
    own, others = loaded("""
from cloche.engine.events import emit
emit("container", "start", "x", {"name": "web"})
""")
    assert others <= RUN
    assert not {name for name in own if "event_log" in name or "inotify" in name}


HEAVY = "asyncio collections dataclasses enum inspect json logging os pathlib re subprocess typing".split()


@pytest.mark.parametrize("name", HEAVY)
def test_a_heavy_import_would_be_noticed(name: str) -> None:
    _, others = loaded(f"import cloche.stage.main, {name}")
    assert name in others - RUN_AS_USER


def test_the_stage_needs_no_codec_that_would_have_to_be_loaded() -> None:
    """With imports frozen `open(…, encoding="ascii")` is a LookupError: only UTF-8 is there from the start."""
    files = [path for room in ("stage", "linux") for path in (SOURCE / "cloche" / room).rglob("*.py")]
    assert [path.name for path in files if 'encoding="' in path.read_text().replace('encoding="utf-8"', "")] == []
