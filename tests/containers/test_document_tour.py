"""The commands of the section "One minute" of docs/containers.md, one after the other; and that it names every verb."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloche.cli.options import CONTAINERS
from tests.documents import DOCS, block, follow
from tests.images.conftest import filled, fresh, images, registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli
    from tests.images.conftest import Registry

__all__ = ["filled", "fresh", "images", "registry"]


def test_the_commands_succeed(fresh: Cli, filled: Registry, shared_dir: Path) -> None:
    desk = shared_dir / f"tour-{fresh.kind}"
    desk.mkdir()
    desk.chmod(0o777)
    said = follow(fresh, block("containers.md", "One minute").replace("registry.example.com", filled.host), desk)
    assert all(printed or command.startswith("cloche cp ") for command, printed in said), said


def test_every_verb_is_named() -> None:
    text = (DOCS / "containers.md").read_text()
    table = text[text.index("## Verbs") :].split("\n\n")[1]
    named = set(re.findall(r"`([a-z]+)`", table))
    assert set(CONTAINERS) | {"run", "ps", "why", "events", "enter", "info", "version"} == named
