"""All of it at once: what there is and what it takes up, as docker says it, and what goes when nobody misses it."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloche.engine.records import start_time
from cloche.linux.reading import boot_id
from tests.conftest import Cli, system_python
from tests.containers.boxes import member, take_in, write_box
from tests.containers.made import at
from tests.images.conftest import workshop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.containers.made import Store
    from tests.images.workshop import Workshop

__all__ = ["workshop"]
BIG = 300_000
SIZE = re.compile(r"([\d.]+)(B|kB|MB|GB)")
UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
PREPARE = """
ENGINE image inspect localhost/box:1 >/dev/null 2>&1 || ENGINE load -q -i box.tar
ENGINE image inspect above:1 >/dev/null 2>&1 || ENGINE load -q -i above.tar
ENGINE image inspect alone:1 >/dev/null 2>&1 || ENGINE import alone-tree.tar alone:1
"""


def bytes_of(text: str) -> float:
    found = SIZE.match(text)
    assert found, text
    return float(found[1]) * UNITS[found[2]]


@pytest.fixture(scope="module")
def filled(workshop: Workshop) -> Path:
    """docker and a store with the same images: two that share a layer, and one of its own."""
    workshop.sh(
        "mkdir -p alone/etc; head -c 123456 /dev/urandom >alone/etc/random; tar -cf alone-tree.tar -C alone .;"
        "docker run --network none --name sized localhost/box:1 sh -c 'head -c 77777 /dev/zero >/etc/zero';"
        "docker commit sized above:1; docker rm sized; docker save -o above.tar above:1"
    )
    store = workshop.store()
    for engine in ("docker", "cloche"):
        workshop.sh(PREPARE.replace("ENGINE", engine), store)
    return store


def test_images_are_sized_as_docker_has_them(workshop: Workshop, filled: Path) -> None:
    """Of each its own size, what it shares and what it does not, within what directories and links are counted as."""
    found = {}
    for engine in ("docker", "cloche"):
        whole = json.loads(workshop.sh(f"{engine} system df -v --format json", filled))
        assert list(whole) == ["Images", "Containers", "Volumes", "BuildCache"]
        found[engine] = {image["Repository"]: image for image in whole["Images"]}
    for name in ("localhost/box", "above", "alone"):
        ours, theirs = found["cloche"][name], found["docker"][name]
        assert list(ours) == list(theirs)
        for key in ("Size", "SharedSize", "UniqueSize"):
            assert bytes_of(ours[key]) == pytest.approx(bytes_of(theirs[key]), rel=0.02, abs=200), (name, key)
        assert ours["Containers"] == theirs["Containers"] == "0"
        assert ours["ID"] == theirs["ID"] or name == "alone"  # which has a time in it


@pytest.mark.parametrize("words", ["", "-v", "--format json", "-v --format '{{len .Images}}'", "--format '{{.Type}}'"])
def test_df_has_dockers_form(workshop: Workshop, filled: Path, words: str) -> None:
    """The same words in the same places, for all that is no number or name."""

    def form(text: str) -> list[list[str]]:
        words = [re.findall(r"[A-Za-z]{3,}", line) for line in text.splitlines()]
        return [[word for word in line if word.isupper() or word[0].isupper()] for line in words]

    ours, theirs = (form(workshop.sh(f"{engine} system df {words}", filled)) for engine in ("cloche", "docker"))
    if words == "-v":  # docker may have other images
        ours, theirs = ([line for line in lines if len(line) > 2] for lines in (ours, theirs))
    assert ours == theirs


def test_a_table_as_wished(workshop: Workshop, filled: Path) -> None:
    words = "system df --format 'table {{.Type}}\\t{{.TotalCount}}'"
    text = workshop.sh(f"cloche {words}", filled)
    assert [line.split() for line in text.splitlines()[:2]] == [["TYPE", "TOTAL"], ["Images", "3"]]


def test_info_has_dockers_members(workshop: Workshop, filled: Path) -> None:
    """What docker says too is of the same type, and of this machine the same."""
    ours, theirs = (json.loads(workshop.sh(f"{engine} info -f json", filled)) for engine in ("cloche", "docker"))
    own = {"StateDir", "UserMode", "UserNamespace", "UserIDs", "GroupIDs", "Supervisor"}
    assert set(ours) - set(theirs) == own
    for name in set(ours) - own:
        assert type(ours[name]) is type(theirs[name]), name
    machine = "KernelVersion OSType OSVersion Architecture NCPU MemTotal Name MemoryLimit SwapLimit CpuCfsQuota CPUSet"
    for name in [
        *machine.split(),
        "PidsLimit",
        "OomKillDisable",
        "CgroupVersion",
        "CgroupDriver",
        "LoggingDriver",
        "Driver",
    ]:
        assert ours[name] == theirs[name], name
    assert theirs["OperatingSystem"].startswith(ours["OperatingSystem"])
    assert ours["Images"] == 3
    assert ours["DockerRootDir"] == str(filled)


def test_info_in_words(workshop: Workshop, filled: Path) -> None:
    ours, theirs = (workshop.sh(f"{engine} info", filled).splitlines() for engine in ("cloche", "docker"))
    same = "Containers| Running| Paused| Stopped|OSType|Architecture|CPUs|Total Memory|Kernel Version|Cgroup Version"
    for heading in same.split("|"):
        line = next(line for line in theirs if line.startswith(f" {heading}: "))
        assert line.rpartition(" ")[0] in [line.rpartition(" ")[0] for line in ours]
    assert next(line for line in theirs if line.startswith(" Total Memory: ")) in ours


@pytest.mark.parametrize("form", ["{{.Driver}}", "{{json .SecurityOptions}}", "{{.ClientInfo.Version}}"])
def test_info_as_wished(form: str, cli: Cli, store: Store) -> None:
    for verb in (("info",), ("system", "info")):
        done = cli(*verb, "-f", form, env=store.env)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
    assert not store.root.exists()


def test_info_counts(cli: Cli, store: Store) -> None:
    alive = {"pid": os.getpid(), "start": start_time(os.getpid()), "boot": boot_id()}
    for name, status in (
        ("one", "exited"),
        ("two", "created"),
        ("three", "paused"),
        ("four", "running"),
        ("five", "x"),
    ):
        store.make(name, {"status": status, **alive} if status in {"paused", "running"} else {"status": "exited"})
    found = json.loads(cli("info", "--format", "json", env=store.env).stdout)
    assert [found[f"Containers{kind}"] for kind in ("", "Running", "Paused", "Stopped")] == [5, 1, 1, 3]
    assert cli("inspect", "-f", "{{.Driver}}", "one", env=store.env).stdout == f"{found['Driver']}\n"


def test_version_has_dockers_places(workshop: Workshop, filled: Path) -> None:
    ours, theirs = (json.loads(workshop.sh(f"{engine} version -f json", filled)) for engine in ("cloche", "docker"))
    for part in ("Client", "Server"):
        for name in ("Version", "Os", "Arch"):
            assert isinstance(ours[part][name], type(theirs[part][name]))
        assert (ours[part]["Os"], ours[part]["Arch"]) == (theirs[part]["Os"], theirs[part]["Arch"])
    assert ours["Server"]["KernelVersion"] == theirs["Server"]["KernelVersion"]
    form = "'{{.Server.Version}} {{.Client.Version}}'"
    assert workshop.sh(f"cloche version -f {form}", filled).split() == [ours["cloche"]] * 2


@pytest.fixture(params=["root", "user", "subuid"])
def someone(request: pytest.FixtureRequest, shared_dir: Path) -> Iterator[Cli]:
    """The command line as three kinds of user, each with a store of its own."""
    if os.geteuid() != 0 and request.param != "user":
        pytest.skip("needs root to become other users")
    cli = Cli(request.param, shared_dir / "src", system_python())
    yield cli
    for container in cli("ps", "-aq").stdout.split():
        assert cli("rm", "-f", "-v", container).returncode == 0
    shutil.rmtree(cli.root)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two images."""
    top = tmp_path_factory.mktemp("boxes")
    return [write_box(top / f"{name}.tar", member(f"etc/{name}", os.urandom(BIG))) for name in ("one", "two")]


def out(cli: Cli, *words: str, **more: Any) -> str:
    done = cli(*words, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def taken(cli: Cli) -> dict[str, dict[str, str]]:
    rows = [json.loads(line) for line in out(cli, "system", "df", "--format", "json").splitlines()]
    return {row["Type"]: row for row in rows}


def on_disk(cli: Cli, *folders: str) -> int:
    """Bytes of the files below some directories of the store."""
    paths = (path for folder in folders for path in Path(cli.root, folder).rglob("*"))
    return sum(path.lstat().st_size for path in paths if not path.is_dir() or path.is_symlink())


def test_what_is_taken_up_is_what_is_there(someone: Cli, boxes: list[Path]) -> None:
    assert [row["TotalCount"] for row in taken(someone).values()] == ["0"] * 4
    for name, box in zip(("one", "two"), boxes, strict=True):
        take_in(someone, box, f"{name}:1", "LABEL color=red")
    out(someone, "tag", "one:1", "again:1")
    found = taken(someone)["Images"]
    assert (found["TotalCount"], found["Active"]) == ("2", "0")
    assert bytes_of(found["Size"]) == pytest.approx(on_disk(someone, "blobs", "layers"), rel=0.01)
    assert found["Reclaimable"] == f"{found['Size']} (100%)"


def test_what_a_container_has_written(someone: Cli, boxes: list[Path]) -> None:
    take_in(someone, boxes[0], "one:1")
    take_in(someone, boxes[1], "two:1")
    out(someone, "run", "--name", "writer", "one:1", "sh", "-c", f"head -c {BIG} /dev/zero >/tmp/zeros")
    found = taken(someone)
    assert (found["Containers"]["TotalCount"], found["Containers"]["Active"]) == ("1", "0")
    assert bytes_of(found["Containers"]["Size"]) == BIG
    assert found["Containers"]["Reclaimable"] == "300kB (100%)"
    images = found["Images"]
    assert images["Active"] == "1"
    share = bytes_of(images["Reclaimable"]) / bytes_of(images["Size"])
    assert images["Reclaimable"].endswith("%)")
    assert 0.4 < share < 0.6  # the other image, which has as much
    lines = out(someone, "system", "df", "-v").splitlines()
    (row,) = [line for line in lines if line.endswith(" writer")]
    assert "300kB" in row
    assert "Exited (0)" in row


def test_what_nobody_needs_goes(someone: Cli, boxes: list[Path]) -> None:
    """What `df` says that can be had back is what `prune` gives back."""
    take_in(someone, boxes[0], "one:1")
    take_in(someone, boxes[1], "two:1")
    out(someone, "volume", "create", "named")
    out(someone, "volume", "create")
    out(someone, "run", "-d", "--name", "stays", "one:1", "sleep", "1000")
    ended = out(someone, "create", "one:1", "true").strip()
    reclaimable = bytes_of(taken(someone)["Images"]["Reclaimable"])
    before = time.time_ns()
    text = out(someone, "system", "prune", "-a", "-f", "--volumes")
    kinds = [line for line in text.splitlines() if line.endswith(":")]
    assert kinds == ["Deleted Containers:", "Deleted Volumes:", "Deleted Images:"]
    assert f"Deleted Containers:\n{ended}\n\n" in text
    assert "untagged: two:1\n" in text
    assert bytes_of(text.splitlines()[-1].removeprefix("Total reclaimed space: ")) == pytest.approx(
        reclaimable, rel=0.01
    )
    assert out(someone, "ps", "-a", "--format", "{{.Names}}") == "stays\n"
    assert out(someone, "images", "--format", "{{.Repository}}") == "one\n"
    assert out(someone, "volume", "ls", "-q") == "named\n"
    assert bytes_of(taken(someone)["Images"]["Reclaimable"]) == 0
    asked = ("events", "--since", f"{before / 1e9:.6f}", "--until", "0s", "--format", "{{.Type}} {{.Action}}")
    told = out(someone, *asked).splitlines()
    wanted = ["container destroy", "container prune", "volume destroy", "volume prune", "image untag", "image delete"]
    assert [line for line in told if line in {*wanted, "image prune"}] == [*wanted, "image prune"]
    out(someone, "rm", "-f", "stays")


@pytest.mark.parametrize("verb", ["system", "container"])
def test_only_what_is_meant(verb: str, cli: Cli, store: Store) -> None:
    for name, age, labels in (("old", 5000, {}), ("new", 0, {"keep": "yes"}), ("newer", 0, {"color": "red"})):
        store.make(name, {"status": "exited"}, created=at(age), labels=labels)

    def prune(*words: str) -> list[str]:
        before = out(cli, "ps", "-a", "--format", "{{.Names}}", env=store.env).split()
        out(cli, verb, "prune", *words, env=store.env, input="y\n")
        after = out(cli, "ps", "-a", "--format", "{{.Names}}", env=store.env).split()
        return sorted(set(before) - set(after))

    assert prune("-f", "--filter", "label=color=blue") == []
    assert prune("-f", "--filter", "label=nothing", "--filter", "until=1h") == []
    assert prune("--filter", "until=1h") == ["old"]
    assert prune("--filter", "label!=keep") == ["newer"]
    assert prune("-f") == ["new"]


@pytest.mark.parametrize("answer", ["n\n", "", "yes please\n", "\n"])
def test_it_asks_first(answer: str, cli: Cli, store: Store) -> None:
    store.make("ended", {"status": "exited"})
    text = out(cli, "system", "prune", "-a", "--volumes", "--filter", "label=a", env=store.env, input=answer)
    assert text == (
        "WARNING! This will remove:\n"
        "  - all stopped containers\n"
        "  - all anonymous volumes not used by at least one container\n"
        "  - all images without at least one container associated to them\n"
        "\n"
        "  Items to be pruned will be filtered with:\n"
        "  - label=a\n"
        "\n"
        "Are you sure you want to continue? [y/N] "
    )
    for verb, warning in (("container", "all stopped containers."), ("system", "all dangling images\n")):
        text = out(cli, verb, "prune", env=store.env, input=answer)
        assert warning in text
        assert text.endswith("Are you sure you want to continue? [y/N] ")
    assert out(cli, "ps", "-aq", env=store.env).split()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("system", "prune", "-f", "--volumes", "--filter", "until=1h"), 'The "until" filter is not supported with'),
        (("system", "prune", "-f", "--filter", "until=yesterday"), "'yesterday' is no time"),
        (("system", "prune", "-f", "--filter", "foo=1"), "invalid filter 'foo'"),
        (("container", "prune", "-f", "--filter", "until"), "bad format of filter (expected name=value): 'until'"),
        (("system", "df", "--format", "{{.Nothing}}"), "there is no .Nothing"),
        (("system", "prune", "more"), "does not know what to do with 'more'"),
        (("system", "df", "more"), "does not know what to do with 'more'"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], said: str, cli: Cli, store: Store) -> None:
    store.make("ended", {"status": "exited"})
    done = cli(*words, env=store.env)
    assert done.returncode == (125 if "bad format" in said else 1)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert out(cli, "ps", "-aq", env=store.env).split()


def test_one_that_runs_stays(cli: Cli, store: Store) -> None:
    alive = {"pid": os.getpid(), "start": start_time(os.getpid()), "boot": boot_id()}
    for status in ("running", "paused", "restarting"):
        store.make(status, {"status": status, **alive})
    out(cli, "system", "prune", "-a", "-f", "--volumes", env=store.env)
    assert len(out(cli, "ps", "-aq", env=store.env).split()) == 3
