"""Words that do not belong in the project's files: places of one machine, reminders, prints to debug with."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# what may print: the command line, whose work that is
PRINTERS = ("src/cloche/cli/",)
# written in two parts so that this file is no exception to itself
REMINDERS = re.compile("|".join(rf"\b{a}{b}\b" for a, b in (("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK"))))
DEBUGGING = {"breakpoint", "print"}
# homes and hosts that stand for any
HOMES = {"ann", "user", "me", "you"}
HOSTS = re.compile(
    r"127\.0\.0\.1|localhost|\[::1\]|(.+\.)?example(\.(com|org|net))?|(.+\.)?invalid|github\.com|(.+\.)?kernel\.org"
    r"|(.+\.)?apache\.org|man7\.org|(.+\.)?python\.org|systemd\.io|json-schema\.org|pypi\.org|(.+\.)?opencontainers\.org"
    r"|(.+\.)?debian\.org|(.+\.)?freedesktop\.org|lwn\.net|(.+\.)?docker\.io|\{\w+(\.\w+)?|auth…|HOST|ana"
)


def project_files() -> list[Path]:
    """What git keeps or would keep; every file where there is no git."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listing, cwd=ROOT, capture_output=True, check=False, timeout=30)
        names = done.stdout.decode().split("\0") if done.returncode == 0 else []
    except FileNotFoundError:
        names = []
    hidden = {".git", ".venv", ".cache", ".hypothesis", "__pycache__"}
    found = [ROOT / name for name in names if name] or [
        path for path in ROOT.rglob("*") if not hidden & set(path.parts) and not path.parent.name.startswith(".")
    ]
    return sorted(path for path in found if path.is_file())


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


FILES = {str(path.relative_to(ROOT)): text_of(path) for path in project_files()}


def lines_with(pattern: re.Pattern[str], prefix: str = "") -> list[str]:
    """Where a pattern occurs, as file:line: text."""
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in FILES.items()
        if name.startswith(prefix)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_the_files_are_found() -> None:
    assert {"pyproject.toml", "src/cloche/__init__.py", "tests/repo/test_words.py"} <= set(FILES)


def test_no_file_names_the_place_it_was_built_at() -> None:
    places = {str(ROOT), str(ROOT.parent), str(Path.home())}
    places = {place for place in places if place.count("/") > 1}
    assert [line for place in places for line in lines_with(re.compile(re.escape(place) + r"\b"))] == []


def test_no_file_names_somebodys_home() -> None:
    found = lines_with(re.compile(r"(?<![\w.~}])/(home|Users)/(?!(" + "|".join(HOMES) + r")\b)\w+/\w"))
    assert found == []


def test_addresses_are_public_ones() -> None:
    pattern = re.compile(r"https?://([^/\s\"'<>)\]}:,]+)")
    found = {
        (name, host) for name, text in FILES.items() for host in pattern.findall(text) if not HOSTS.fullmatch(host)
    }
    assert found == {item for item in found if item[0] == "tests/repo/test_words.py"}


def test_nothing_reminds_of_work_to_do() -> None:
    assert lines_with(REMINDERS) == []


def debugging(source: str) -> list[int]:
    """Lines of calls to print or breakpoint, and of imports of a debugger."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in DEBUGGING) or (
            isinstance(node, ast.Import) and any(alias.name in {"pdb", "pprint"} for alias in node.names)
        ):
            found.append(node.lineno)
    return sorted(found)


def test_nothing_in_the_package_prints_but_the_command_line() -> None:
    sources = {n: t for n, t in FILES.items() if n.startswith("src/") and n.endswith(".py")}
    found = [f"{n}:{line}" for n, t in sources.items() if not n.startswith(PRINTERS) for line in debugging(t)]
    assert found == []


def test_nothing_left_from_debugging_in_the_command_line() -> None:
    assert lines_with(re.compile(r"\bbreakpoint\(|\bimport pdb\b|\bset_trace\("), "src/") == []


def test_lines_end_as_they_should() -> None:
    sources = {n: t for n, t in FILES.items() if n.endswith((".py", ".md", ".toml", ".sh")) and t}
    assert [name for name, text in sources.items() if "\r" in text or not text.endswith("\n")] == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("print(1)\n", [1]),
        ("def f():\n    breakpoint()\n", [2]),
        ("import os, pdb\n", [1]),
        ("class A:\n    def print(self): ...\nA().print()\n", []),
    ],
)
def test_debugging_would_be_noticed(source: str, lines: list[int]) -> None:
    assert debugging(source) == lines


def test_a_reminder_would_be_noticed() -> None:
    assert REMINDERS.search("# TO" + "DO: later")
    assert not REMINDERS.search("what is to do about it; a hacksaw")
