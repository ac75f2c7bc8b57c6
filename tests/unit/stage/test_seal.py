"""Whether a copy of the interpreter is needed: asked of the kernel, in real user namespaces."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.conftest import ORDINARY, system_python

CODE = "import sys; sys.path.insert(0, {!r}); from cloche.stage.seal import is_out_of_reach; print(is_out_of_reach())"
BECOME = ("setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups")
NEW = ("unshare", "--user", "--map-root-user")
LESS = ("setpriv", "--bounding-set=-fowner", "--inh-caps=-all", "sh", "-c", 'exec "$@"', "sh")


@pytest.fixture(autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become others")


def said(shared_dir: Path, *before: str, python: str = "") -> str:
    """What a process says that is started through these words."""
    words = [*before, python or system_python(), "-I", "-S", "-B", "-c", CODE.format(str(shared_dir / "src"))]
    return subprocess.run(words, check=True, capture_output=True, text=True, cwd="/").stdout.strip()


def test_roots_interpreter_in_an_ordinary_users_namespace(shared_dir: Path) -> None:
    assert said(shared_dir, *BECOME, *NEW) == "True"


@pytest.mark.parametrize("before", [(), NEW, BECOME, (*BECOME, *NEW, *LESS)], ids=["root", "mapped", "user", "less"])
def test_where_it_may_be_written_or_nothing_is_known(shared_dir: Path, before: tuple[str, ...]) -> None:
    assert said(shared_dir, *before) == "False"


def test_an_interpreter_of_the_users_own(shared_dir: Path) -> None:
    own = shared_dir / "bin/python3"
    own.parent.mkdir()
    # a copy finds its library by the link
    (shared_dir / "lib").symlink_to("/usr/lib")
    own.write_bytes(Path(system_python()).read_bytes())
    own.chmod(0o755)
    assert said(shared_dir, *BECOME, *NEW, python=str(own)) == "True"
    own.chmod(0o757)
    assert said(shared_dir, *BECOME, *NEW, python=str(own)) == "False"
    own.chmod(0o755)
    os.chown(own, ORDINARY, ORDINARY)
    assert said(shared_dir, *BECOME, *NEW, python=str(own)) == "False"
