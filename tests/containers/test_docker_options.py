"""Every option that docker's client lists is one of cloche's, of the same kind, or known to be absent."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from cloche.cli.absent import _ABSENT, absent
from cloche.cli.grammar import parse
from cloche.cli.options import CLOCHE, MODULES, every, find, is_group
from cloche.cli.table import FLAG
from cloche.errors import SpecError
from tests.containers.ground import ROUNDS
from tests.engines.conftest import require

if TYPE_CHECKING:
    from pathlib import Path

    from cloche.cli.table import Verb

LINE = re.compile(r"^  +(?:(-\w), )?(--[\w-]+)(?: (\w+))?(?:  |\n)", re.MULTILINE)
OURS = "shell explain enter why image container manifest doctor completion help man healthcheck".split()
OFTEN = ["", *"run create update exec ps rm pull push rmi login".split()]


def verb_of(name: str) -> Verb:
    return find(name) if name else CLOCHE


def test_all_that_docker_lists(tmp_path: Path) -> None:
    """Of all verbs where CLOCHE_SOAK is set."""
    require("docker")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_HOST": "unix:///nosuch.sock"}
    verbs = [verb for verb in MODULES if verb.split()[0] not in OURS and not is_group(verb)]
    verbs = ["", *verbs, "image inspect", "image prune", "container prune"] if ROUNDS else OFTEN
    script = "".join(f"echo '@ {verb}'; docker {verb} --help\n" for verb in verbs)
    done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False)
    seen = 0
    for part in done.stdout.split("@ ")[1:]:
        name, _, text = part.partition("\n")
        index = verb_of(name).index()
        for short, long, value in LINE.findall(text):
            seen += 1
            for option in filter(None, (short, long)):
                assert (option in index) != bool(absent(verb_of(name), option)), f"{name} {option}"
            if long in index:
                assert (index[long].kind == FLAG) == (not value), f"{name} {long}"
                assert not short or index[short] is index[long], f"{name} {short}"
    assert seen > 200


def test_what_is_said_of_the_absent_ones() -> None:
    """It names the option, and a hint does not name what is not there."""
    known = {name for verb in (CLOCHE, *every()) for name in verb.index()}
    for name, words in _ABSENT.items():
        verb = verb_of(name)
        for option in words:
            with pytest.raises(SpecError) as caught:
                parse(verb, [option, "x", "y"])
            assert str(caught.value).startswith(f"{option}: ")
            assert caught.value.code == 125
            assert caught.value.hint
            assert set(re.findall(r"--[\w-]+", caught.value.hint)) <= known
            for named in re.findall(r"cloche ((?:image |manifest |volume )?[\w-]+)", caught.value.hint):
                assert named in MODULES
    for other in ("container create", "create", "shell"):
        assert absent(find(other), "--gpus")
    assert absent(find("image rm"), "--platform")
    assert absent(find("container rm"), "-l")
    assert not absent(find("run"), "--nosuch")


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("run --disable-content-trust --volume-driver local box", ""),
        ("pull --disable-content-trust=true box", ""),
        ("rmi --no-prune box", ""),
        ("create --disable-content-trust=false box", "--disable-content-trust is true, not 'false'"),
        ("push --disable-content-trust=0 box", "--disable-content-trust is true, not '0'"),
        ("run --volume-driver nfs box", "--volume-driver is local, not 'nfs'"),
    ],
)
def test_what_changes_nothing_here(words: str, wrong: str) -> None:
    """And is refused where it would."""
    verb, *rest = words.split()
    if not wrong:
        assert parse(find(verb), rest).positionals == ["box"]
        return
    with pytest.raises(SpecError) as caught:
        parse(find(verb), rest)
    assert str(caught.value) == wrong
