"""Verbs that need a library which is not installed say so in a line."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.images.conftest import Registry

HIDDEN = "import sys; sys.modules['urllib3'] = None; "  # as if it could not be found


@pytest.mark.parametrize(("words", "code"), [("pull", 1), ("push", 1), ("run --pull always", 125)])
def test_what_is_missing_is_named(cli: Cli, filled: Registry, words: str, code: int) -> None:
    assert cli("pull", "-q", f"{filled.host}/box:1").returncode == 0
    argv = [*cli.argv[:-1], HIDDEN + cli.argv[-1], *words.split(), f"{filled.host}/box:1"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=cli._environment)
    assert done.returncode == code, done.stderr
    first, hint = done.stderr.splitlines()
    assert first.startswith("cloche: ")
    assert first.endswith("is not possible here: the Python library urllib3 is not installed")
    assert hint == "  hint: pip install urllib3"
    assert cli("rmi", f"{filled.host}/box:1").returncode == 0
