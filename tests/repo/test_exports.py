"""What the package says it offers is there, documented and typed; no room of the code is too big."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path

import pytest

import cloche
from cloche import errors
from tests.conftest import SOURCE

TOP = SOURCE / "cloche"
MODULES = sorted(TOP.rglob("*.py"))
LARGE = 400


def name_of(path: Path) -> str:
    return str(path.relative_to(TOP))


def type_checking_names() -> set[str]:
    """The names cloche/__init__.py imports for the type checker."""
    tree = ast.parse((TOP / "__init__.py").read_text())
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    return {
        alias.name
        for block in blocks
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_all_is_sorted_as_ruff_sorts_it_and_has_no_twins() -> None:
    assert len(cloche.__all__) == len(set(cloche.__all__))


@pytest.mark.parametrize("name", cloche.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(cloche, name) is not None
    assert name in dir(cloche)


def test_what_is_exported_is_what_the_type_checker_sees() -> None:
    assert set(cloche.__all__) == type_checking_names()


def test_a_name_that_is_not_exported_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Stage'"):
        cloche.Stage  # noqa: B018


def test_every_error_somebody_can_meet_is_exported() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    used = "\n".join(path.read_text() for path in MODULES if path.name != "errors.py")
    raised = {name for name in defined if re.search(rf"\braise {name}\(|= {name}\(|return {name}\(", used)}
    assert raised
    assert raised <= set(cloche.__all__)


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = {line.split()[0] for line in (errors.__doc__ or "").splitlines() if re.match(r"    +[A-Z]\w+Error ", line)}
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert drawn == defined


@pytest.mark.parametrize("name", [name for name in cloche.__all__ if not name.isupper()])
def test_every_exported_name_has_a_docstring_of_its_own(name: str) -> None:
    value = getattr(cloche, name)
    assert vars(value).get("__doc__") if isinstance(value, type) else value.__doc__, name
    members = inspect.getmembers(value) if isinstance(value, type) else []
    public = [m for n, m in members if not n.startswith("_") and n in vars(value)]
    undocumented = [m for m in public if callable(m) or isinstance(m, property)]
    assert not [m for m in undocumented if not m.__doc__]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    doc = ast.get_docstring(tree)
    assert doc is not None
    assert doc.splitlines()[0].strip()[-1] in ".:;", "the first line is a sentence"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_public_functions_and_classes_have_docstrings(path: Path) -> None:
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    missing = [node.name for node in tree.body if isinstance(node, kinds) if not ast.get_docstring(node)]
    assert [name for name in missing if not name.startswith("_")] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_is_large_without_saying_why(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= LARGE or says_why(lines[0]), f"{len(lines)} lines: split it, or say why on the first line"


def says_why(first: str) -> bool:
    """Whether a file's first line gives the reason for its size."""
    return bool(re.match(r"#\s*(large|long): \S+", first) or re.match(r'"""[^"]*\((large|long): \S', first))


def test_a_large_file_would_be_noticed() -> None:
    assert not says_why('"""The options of everything."""')
    assert says_why("# long: one table, which reads better in one piece")
    assert says_why('"""The options of everything (long: one table of data)."""')


def test_the_package_is_marked_as_typed() -> None:
    assert (TOP / "py.typed").is_file()


def test_the_commands_and_the_version_are_where_the_project_says() -> None:
    project = tomllib.loads((SOURCE.parent / "pyproject.toml").read_text())
    assert project["project"]["version"] == cloche.__version__
    assert project["project"]["requires-python"] == ">=3.11"
    # what only images need: a container of the host's own files, or a bundle, needs none of them
    names = {re.split("[^a-z0-9-]", item)[0] for item in project["project"]["dependencies"]}
    assert names == {"urllib3", "isal", "backports-zstd", "rich"}
    scripts = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-scripts"]
    assert set(scripts.values()) == {"cloche", "cloche-runtime"}
    assert all((SOURCE.parent / script).is_file() for script in scripts)
