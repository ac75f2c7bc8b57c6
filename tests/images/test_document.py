"""The commands of docs/images.md, one after the other, with the registry of the tests in place of the example's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche import images
from tests.documents import block, follow

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.conftest import Cli
    from tests.images.conftest import Registry


def of(language: str, registry: Registry) -> str:
    """The first block of a language, with a registry that is there."""
    return block("images.md", language=language).replace("registry.example.com", registry.host)


def test_its_commands_succeed(fresh: Cli, filled: Registry, shared_dir: Path) -> None:
    desk = shared_dir / f"images-{fresh.kind}"
    desk.mkdir()
    desk.chmod(0o777)
    follow(fresh, of("sh", filled), desk)


def test_its_program_runs(filled: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOCHE_ROOT", str(tmp_path / "store"))
    exec(compile(of("python", filled), "docs/images.md", "exec"), {})
    assert (tmp_path / "rootfs/bin/busybox").exists()
    assert (tmp_path / "layout/index.json").exists()
    names = {row.name for row in images.list_images()}
    assert names == {f"{filled.host}/box:1", "docker.io/library/random:1"}
