"""images, image inspect|ls|history|tree|exists|prune and bars, on images that umoci made."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Cli, system_python
from tests.images.conftest import quietly
from tests.integration.terminal import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.images.conftest import Images, Registry

ID = re.compile(r"[0-9a-f]{12}")


@pytest.fixture(scope="module")
def stocked(shared_dir: Path, images: Images) -> Iterator[Cli]:
    """A store with box:1, team/box:2 (the same), and changed:1 with labels on top of it."""
    cli = Cli("root", shared_dir / "src", system_python())
    top = images.top / "look"
    for base, name, *words in (("box", "early", "2001"), ("changed", "late", "2002", "--config.label", "tier=web")):
        words[0] = f"--created={words[0]}-01-01T00:00:00Z"
        quietly("umoci", "config", "--image", f"{images.layout}:{base}", "--tag", name, *words)
    for tag, name in (("early", "box"), ("late", "labelled")):
        archive = f"{top}-{name}.tar"
        quietly("skopeo", "copy", "-q", f"oci:{images.layout}:{tag}", f"oci-archive:{archive}:x.example/{name}:1")
        assert cli("load", "-i", archive).returncode == 0
    assert cli("tag", "x.example/box:1", "x.example/team/box:2").returncode == 0
    yield cli
    shutil.rmtree(cli.root, ignore_errors=True)


def lines(cli: Cli, *words: str) -> list[str]:
    """What is printed, a line each."""
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), {"x.example/box:1", "x.example/team/box:2", "x.example/labelled:1"}),
        (("x.example/box",), {"x.example/box:1"}),
        (("x.example/team/box:2",), {"x.example/team/box:2"}),
        (("x.example/*",), {"x.example/box:1", "x.example/labelled:1"}),
        (("*",), set()),
        (("-f", "reference=x.example/*/*"), {"x.example/team/box:2"}),
        (("-f", "reference=x.example/box", "-f", "reference=*/labelled"), {"x.example/box:1", "x.example/labelled:1"}),
        (("-f", "label=tier"), {"x.example/labelled:1"}),
        (("-f", "label=tier=web"), {"x.example/labelled:1"}),
        (("-f", "label=tier=db"), set()),
        (("-f", "label=tier", "-f", "reference=x.example/box"), set()),
        (("-f", "dangling=true"), set()),
        (("-f", "dangling=false", "-f", "reference=x.example/box"), {"x.example/box:1"}),
        (("-f", "before=x.example/labelled:1"), {"x.example/box:1", "x.example/team/box:2"}),
        (("-f", "since=x.example/box:1"), {"x.example/labelled:1"}),
        (("-f", "until=2001-06-30"), {"x.example/box:1", "x.example/team/box:2"}),
        (("-f", "until=0s"), {"x.example/box:1", "x.example/team/box:2", "x.example/labelled:1"}),
    ],
)
def test_which_are_listed(stocked: Cli, words: tuple[str, ...], expected: set[str]) -> None:
    for verb in (("images",), ("image", "ls")):
        assert set(lines(stocked, *verb, "--format", "{{.Repository}}:{{.Tag}}", *words)) == expected


def test_forms_of_the_list(stocked: Cli) -> None:
    heading, *rows = lines(stocked, "images", "--format", "table {{.ID}}\\t{{.Tag}}")
    assert heading.split() == ["IMAGE", "ID", "TAG"]
    assert all(ID.fullmatch(row.split()[0]) for row in rows)
    found = [json.loads(line) for line in lines(stocked, "images", "--format", "json")]
    assert {row["Repository"] for row in found} == {"x.example/box", "x.example/labelled", "x.example/team/box"}
    assert {"ID", "Tag", "Digest", "CreatedAt", "CreatedSince", "Size", "Containers"} <= set(found[0])
    assert lines(stocked, "images", "--format", "{{json .}}") == lines(stocked, "images", "--format", "json")


def test_inspect(stocked: Cli, images: Images) -> None:
    done = stocked("image", "inspect", "x.example/box:1", "nope", "x.example/labelled:1")
    assert done.returncode == 1
    assert done.stderr.startswith("cloche: no such image: nope")
    box, labelled = json.loads(done.stdout)
    index = json.loads((images.layout / "index.json").read_text())
    names = {item["annotations"]["org.opencontainers.image.ref.name"]: item["digest"] for item in index["manifests"]}
    manifest = json.loads((images.layout / "blobs/sha256" / names["early"].partition(":")[2]).read_text())
    assert box["Id"] == manifest["config"]["digest"]
    assert box["Descriptor"]["digest"] == names["early"]
    assert sorted(box["RepoTags"]) == ["x.example/box:1", "x.example/team/box:2"]
    assert box["Config"]["Cmd"] == ["/bin/sh"]
    assert box["Config"]["User"] == ""
    assert labelled["Config"]["Labels"] == {"tier": "web"}
    assert labelled["RootFS"]["Layers"][0] == box["RootFS"]["Layers"][0]
    assert labelled["Size"] > 0
    one = "{{.Config.Cmd}} {{index .Config.Labels `tier`}} {{json .Config.Env}} {{len .RootFS.Layers}}"
    assert lines(stocked, "image", "inspect", "-f", one, "x.example/labelled:1") == ['[/bin/sh] web ["WHO=box"] 2']
    nil = "{{.Config.Labels.foo}} {{json .Config.Shell}} {{.Config.OnBuild}} {{.OsVersion}}|{{.Descriptor.Size}}"
    (line,) = lines(stocked, "image", "inspect", "-f", nil, "x.example/labelled:1")
    assert line == f"<no value> null [] |{labelled['Descriptor']['size']}"
    both = "x.example/box:1", "x.example/labelled:1"
    for verb in (("inspect",), ("image", "inspect")):
        (line,) = lines(stocked, *verb, "-f", "json", *both)
        assert json.loads(line) == [box, labelled]
        assert [json.loads(line) for line in lines(stocked, *verb, "-f", "{{json .}}", *both)] == [box, labelled]
    done = stocked("image", "inspect", "-f", "{{.Nope}}", "x.example/box:1")
    assert done.returncode == 1
    assert "there is no .Nope" in done.stderr
    assert "RepoTags" in done.stderr


def test_what_an_image_says_of_itself_steers_no_terminal(stocked: Cli, images: Images, tmp_path: Path) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07red"
    quietly("umoci", "config", "--image", f"{images.layout}:box", "--tag", "evil", "--config.label", f"a={evil}")
    quietly("umoci", "config", "--image", f"{images.layout}:evil", "--history.comment", evil, "--author", evil)
    quietly("skopeo", "copy", "-q", f"oci:{images.layout}:evil", f"oci-archive:{tmp_path}/evil.tar:x.example/evil:1")
    env = {"CLOCHE_ROOT": str(tmp_path / "store")}
    assert stocked("load", "-i", f"{tmp_path}/evil.tar", env=env).returncode == 0
    for words in (
        ["history", "--no-trunc", "x.example/evil:1"],
        ["image", "inspect", "x.example/evil:1"],
        ["image", "inspect", "-f", "{{.Config.Labels}} {{.Author}}", "x.example/evil:1"],
        ["images", "--format", "{{.Labels}}"],
        ["images", "--format", "json"],
    ):
        done = stocked(*words, env=env)
        assert done.returncode == 0, done.stderr
        assert "red" in done.stdout
        assert "\x1b" not in done.stdout, words
        assert "\x07" not in done.stdout


def test_history_and_tree(stocked: Cli) -> None:
    heading, first, *rest = lines(stocked, "history", "x.example/labelled:1")
    assert heading.split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert ID.match(first)
    assert all(line.startswith("<missing>") for line in rest)
    assert len(rest) + 1 == len(lines(stocked, "image", "history", "-q", "x.example/labelled:1"))
    assert "umoci" in first
    sizes = [
        line.split()[-1] for line in lines(stocked, "history", "-H=false", "--format", "{{.Size}}", "x.example/box:1")
    ]
    assert any(int(size) > 100_000 for size in sizes)
    tree = lines(stocked, "image", "tree", "x.example/labelled:1")
    assert tree[1] == "Tags:     [x.example/labelled:1]"
    assert tree[4].startswith("├── ID: ")
    assert tree[4].endswith(" Top Layer of: [x.example/box:1 x.example/team/box:2]")
    assert tree[5].startswith("└── ID: ")
    assert tree[5].endswith(" Top Layer of: [x.example/labelled:1]")


def test_exists(stocked: Cli) -> None:
    assert stocked("image", "exists", "x.example/box:1").returncode == 0
    done = stocked("image", "exists", "x.example/nope")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_prune(stocked: Cli, images: Images, tmp_path: Path) -> None:
    env = {"CLOCHE_ROOT": str(tmp_path / "store")}
    archive = f"{images.top}/look-"
    for name in ("box", "labelled"):
        assert stocked("load", "-i", f"{archive}{name}.tar", env=env).returncode == 0
    assert stocked("tag", "x.example/labelled:1", "x.example/box:1", env=env).returncode == 0  # box has no name now
    listed = stocked("images", "-f", "dangling=true", "-q", env=env).stdout.split()
    assert len(listed) == 1
    asked = stocked("image", "prune", input="n\n", env=env)
    assert "This will remove all dangling images" in asked.stdout
    assert stocked("images", "-f", "dangling=true", "-q", env=env).stdout.split() == listed
    done = stocked("image", "prune", input="y\n", env=env)
    assert f"deleted: sha256:{listed[0]}" in done.stdout
    assert "Total reclaimed space: " in done.stdout
    assert stocked("images", "-f", "dangling=true", "-q", env=env).stdout == ""
    assert stocked("image", "prune", "-af", "--filter", "label=tier=db", env=env).returncode == 0
    assert stocked("images", "-q", env=env).stdout
    done = stocked("image", "prune", "-af", "--filter", "label!=tier=db", env=env)
    assert "untagged: x.example/labelled:1" in done.stdout
    assert done.stdout.count("deleted: ") == 1  # of two names
    assert stocked("images", "-q", env=env).stdout == ""
    assert not list((tmp_path / "store/layers/sha256").iterdir())
    assert stocked("image", "prune", "--filter", "nope=1", env=env).returncode == 1


def test_bars_on_a_terminal_and_lines_in_a_log(cli: Cli, filled: Registry, tmp_path: Path) -> None:
    name = f"{filled.host}/changed:1"
    env = {"CLOCHE_ROOT": str(tmp_path / "store")}
    with Emulator.of(cli, "pull", name, size=(24, 120), **env) as terminal:
        assert terminal.ended() == 0
        shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.seen.decode())
    assert f"1: Pulling from {filled.host}/changed" in shown
    assert re.search(r"total\s+━+", shown)
    assert re.search(r"[0-9a-f]{12} ━+ .* done", shown)
    assert f"Status: Downloaded newer image for {name}" in shown
    assert cli("rmi", name, env=env).returncode == 0
    done = cli("pull", name, env=env)
    assert "━" not in done.stdout
    assert done.stdout.count(": Pull complete\n") == 2
    to = f"{filled.host}/bars:1"
    assert cli("tag", name, to, env=env).returncode == 0
    with Emulator.of(cli, "push", to, size=(24, 120), **env) as terminal:
        assert terminal.ended() == 0
        shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.seen.decode())
    assert re.search(r"[0-9a-f]{12} ━+ .* (pushed|mounted from another repository)", shown)
