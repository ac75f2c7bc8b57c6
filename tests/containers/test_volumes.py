"""Volumes by name: made, listed, looked at, used and removed, as root, as a user with one id, as one with a range."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Cli, system_python
from tests.containers.boxes import take_in, write_box

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_MAKING = ("volume-begun", "volume-written", "volume-synced", "volume-renamed")
IN_REMOVING = ("volume-removing", "volume-gone", "tree-removing")


@pytest.fixture(params=["root", "user", "subuid"])
def someone(request: pytest.FixtureRequest, shared_dir: Path) -> Iterator[Cli]:
    """The command line as three kinds of user, each with a store without volumes."""
    if os.geteuid() != 0 and request.param != "user":
        pytest.skip("needs root to become other users")
    cli = Cli(request.param, shared_dir / "src", system_python())
    yield cli
    shutil.rmtree(f"{cli.root}/volumes", ignore_errors=True)


# what is decided by words alone is the same for all users
IN_WORDS = pytest.mark.parametrize("someone", ["user"], indirect=True)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_box(tmp_path_factory.mktemp("box") / "box.tar")


def out(cli: Cli, *words: str, **more: object) -> str:
    """What is printed by a command that succeeds."""
    done = cli(*words, **more)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    return done.stdout


def _log(cli: Cli) -> str:
    try:
        return Path(f"{cli.root}/events.log").read_text()
    except FileNotFoundError:
        return ""


def left(cli: Cli) -> list[str]:
    """What there is in the directory of volumes, hidden or not, but for the lock."""
    return sorted(name for name in os.listdir(f"{cli.root}/volumes") if name != ".lock")


def test_a_life(someone: Cli) -> None:
    assert out(someone, "volume", "create", "data", "--label", "tier=db", "--label", "bare") == "data\n"
    assert out(someone, "volume", "create", "data") == "data\n"
    nameless = out(someone, "volume", "create").strip()
    assert len(nameless) == 64
    assert set(nameless) <= set("0123456789abcdef")
    assert out(someone, "volume", "ls", "-q").split() == sorted([nameless, "data"])
    (found,) = json.loads(out(someone, "volume", "inspect", "data"))
    assert found.pop("CreatedAt")[-1] == "Z"
    assert found == {
        "Driver": "local",
        "Labels": {"tier": "db", "bare": ""},
        "Mountpoint": f"{someone.root}/volumes/data/_data",
        "Name": "data",
        "Options": None,
        "Scope": "local",
    }
    assert someone("volume", "exists", "data").returncode == 0
    assert out(someone, "run", "--rm", "-v", "data:/d", "host", "sh", "-c", "echo one >/d/file") == ""
    assert out(someone, "run", "--rm", "-v", "data:/e:ro", "host", "cat", "/e/file") == "one\n"
    assert out(someone, "volume", "rm", "data", nameless) == f"data\n{nameless}\n"
    assert someone("volume", "exists", "data").returncode == 1
    assert left(someone) == []


def test_what_is_written_belongs_to_whom_it_belongs_inside(someone: Cli, box: Path) -> None:
    take_in(someone, box, "box:1")
    owner = "0:0" if someone.kind == "user" else "7:8"
    # one whose files only its owner may remove, who for a user is somebody else
    script = f"mkdir /d/dir; touch /d/file /d/dir/file && chown -R {owner} /d/file /d/dir && chmod 700 /d/dir"
    out(someone, "run", "--rm", "-v", "data:/d", "box:1", "sh", "-c", script)
    again = out(someone, "run", "--rm", "-v", "data:/x", "box:1", "stat", "-c", "%u:%g", "/x/file")
    assert again.strip() == owner
    found = os.stat(f"{someone.root}/volumes/data/_data/file")
    # an engine of root's has the numbers of inside on its disk; a user's are in the user's range
    assert (found.st_uid, found.st_gid) == {"root": (7, 8), "user": (1500, 1500), "subuid": (300006, 300007)}[
        someone.kind
    ]
    assert someone("volume", "rm", "data").returncode == 0
    assert left(someone) == []


def test_read_only_is_read_only(someone: Cli) -> None:
    for words in (("-v", "data:/d:ro"), ("--mount", "type=volume,src=data,dst=/d,readonly")):
        done = someone("run", "--rm", *words, "host", "touch", "/d/file")
        assert "Read-only file system" in done.stderr, done.stderr
    assert os.listdir(f"{someone.root}/volumes/data/_data") == []


def test_one_that_is_used_is_not_removed(someone: Cli) -> None:
    with someone.popen("run", "--rm", "-i", "-v", "data:/d", "host", "cat", stdin=subprocess.PIPE) as process:
        deadline = time.monotonic() + 20
        users = Path(f"{someone.root}/volumes/data/users")
        while not (users.exists() and os.listdir(users)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (user,) = os.listdir(users)
        done = someone("volume", "rm", "data", "-f")
        assert done.returncode == 1
        assert f"remove data: volume is in use - [{user}]" in done.stderr
        assert "data" not in out(someone, "volume", "prune", "-af")
        assert out(someone, "volume", "ls", "-q", "-f", "dangling=true") == ""
        assert out(someone, "volume", "ls", "-q", "-f", "dangling=false") == "data\n"
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0
    assert os.listdir(users) == []
    assert out(someone, "volume", "rm", "data") == "data\n"


def test_what_is_killed_uses_nothing_any_more(someone: Cli) -> None:
    with someone.popen("run", "--rm", "-i", "-v", "data:/d", "host", "cat", stdin=subprocess.PIPE) as process:
        users = Path(f"{someone.root}/volumes/data/users")
        deadline = time.monotonic() + 20
        while not (users.exists() and os.listdir(users)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 5
    while someone("volume", "rm", "data").returncode:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert left(someone) == []


@pytest.mark.parametrize("point", IN_MAKING)
@pytest.mark.parametrize("action", ["kill", "errno", "full"])
def test_one_that_is_half_made_is_not_there(someone: Cli, point: str, action: str) -> None:
    done = someone("volume", "create", "data", env={"CLOCHE_FAILPOINT": f"{point}:{action}"})
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    there = point == "volume-renamed"
    assert out(someone, "volume", "ls", "-q") == ("data\n" if there else "")
    assert out(someone, "volume", "create", "data") == "data\n"
    assert left(someone) == ["data"]


@pytest.mark.parametrize("point", IN_REMOVING)
def test_one_that_is_half_removed_is_there_or_gone(someone: Cli, point: str) -> None:
    out(someone, "volume", "create", "data")
    out(someone, "run", "--rm", "-v", "data:/d", "host", "touch", "/d/file")
    done = someone("volume", "rm", "data", env={"CLOCHE_FAILPOINT": f"{point}:kill"})
    assert done.returncode == -signal.SIGKILL
    there = point == "volume-removing"
    assert out(someone, "volume", "ls", "-q") == ("data\n" if there else "")
    assert os.path.exists(f"{someone.root}/volumes/data/_data/file") == there
    out(someone, "volume", "create", "other")
    assert left(someone) == (["data", "other"] if there else ["other"])


def test_many_at_once_make_it_once(someone: Cli) -> None:
    before = _log(someone).count('"Action":"create","Actor":{"ID":"data"')
    many = [someone.popen("volume", "create", "data", stdout=subprocess.PIPE) for _ in range(8)]
    many += [someone.popen("volume", "rm", "-f", "none", stdout=subprocess.PIPE) for _ in range(2)]
    for process in many:
        with process:
            assert process.wait(60) == 0
    assert left(someone) == ["data"]
    made = [line for line in _log(someone).splitlines() if '"create"' in line and '"ID":"data"' in line]
    assert len(made) == before + 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "x"), "create x: volume name is too short, names should be at least two alphanumeric characters"),
        (("create", "a/b"), 'create a/b: "a/b" includes invalid characters for a local volume name, only'),
        (("create", ".."), "includes invalid characters"),
        (("create", ".new.1"), "includes invalid characters"),
        (("create", "-x"), "unknown option"),
        (("create", "umläut"), "includes invalid characters"),
        (("create", "a\x1bb"), "create a\\x1bb:"),
        (("create", "a" * 256), "255 characters"),
        (("create", "-d", "glusterfs", "data"), "glusterfs"),
        (("create", "-o", "type=none", "data"), 'create data: missing required option: "device"'),
        (("create", "-o", "foo=bar", "data"), 'create data: invalid option: "foo"'),
        (("create", "-o", "type=nfs", "-o", "device=:/x", "-o", "o=addr=192.0.2.1", "data"), "type nfs"),
        (("create", "-o", "type=none", "-o", "device=x", "-o", "o=bind", "data"), "not an absolute path"),
        (("create", "-o", "type=none", "-o", "device=/", "-o", "o=bind,loud", "data"), "o=loud"),
        (("create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=huge", "data"), "o=huge"),
        (("create", "--label", "=x", "data"), "empty name"),
        (("inspect", "none"), "get none: no such volume"),
        (("rm", "none"), "get none: no such volume"),
        (("rm", ".lock"), "get .lock: no such volume"),
        (("rm", "../volumes"), "get ../volumes: no such volume"),
        (("ls", "-f", "dangling=perhaps"), "invalid filter 'dangling=[perhaps]'"),
        (("ls", "-f", "size=1"), "invalid filter 'size'"),
        (("prune", "-a", "-f", "--filter", "all=1"), "cannot specify both --all and --filter all=1"),
    ],
)
@IN_WORDS
def test_what_cannot_be(someone: Cli, words: tuple[str, ...], said: str) -> None:
    done = someone("volume", *words)
    assert done.returncode == (125 if said in {"unknown option", "empty name"} else 1)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert out(someone, "volume", "ls", "-q") == ""


@pytest.mark.parametrize("name", ["lock", "new", "0a", "a" * 255, "A-._", "data.", "f" * 64])
@IN_WORDS
def test_odd_names(someone: Cli, name: str) -> None:
    out(someone, "volume", "create", name)
    out(someone, "run", "--rm", "-v", f"{name}:/d", "host", "touch", "/d/file")
    assert os.listdir(f"{someone.root}/volumes/{name}/_data") == ["file"]
    assert out(someone, "volume", "rm", name) == f"{name}\n"


def test_going_on_after_one_that_is_not_there(someone: Cli) -> None:
    out(someone, "volume", "create", "data")
    done = someone("volume", "inspect", "none", "data", "-f", "{{.Name}} {{json .Labels}}")
    assert (done.returncode, done.stdout) == (1, "data null\n")
    nil = "{{.Labels.foo}} {{.Options}} {{.Status}} {{.UsageData}}"
    assert out(someone, "volume", "inspect", "data", "-f", nil) == "<no value> map[] map[] <nil>\n"
    array = out(someone, "volume", "inspect", "data", "-f", "json")
    assert (array.count("\n"), [found["Name"] for found in json.loads(array)]) == (1, ["data"])
    done = someone("volume", "rm", "none", "data")
    assert (done.returncode, done.stdout) == (1, "data\n")
    assert out(someone, "volume", "rm", "-f", "none") == "none\n"


def test_filters_and_formats(someone: Cli) -> None:
    for name, *labels in (("db", "tier=db", "keep"), ("web", "tier=web"), ("other",)):
        out(someone, "volume", "create", name, *(f"--label={label}" for label in labels))
    nameless = out(someone, "volume", "create").strip()

    def names(*filters: str) -> list[str]:
        return out(someone, "volume", "ls", "-q", *(f"--filter={text}" for text in filters)).split()

    assert names("label=tier") == ["db", "web"]
    assert names("label=tier", "label=keep") == ["db"]
    assert names("label=tier=web") == ["web"]
    assert names("name=e") == sorted([*(["other", "web"]), *([nameless] if "e" in nameless else [])])
    assert names("name=^we", "name=^ot") == ["other", "web"]
    assert names("name=(") == []
    assert names("driver=local") == sorted([nameless, "db", "other", "web"])
    assert names("driver=nfs") == []
    assert names("label=com.docker.volume.anonymous") == [nameless]
    assert out(someone, "volume", "ls", "-f", "label=keep").splitlines()[0].split() == ["DRIVER", "VOLUME", "NAME"]
    template = "{{.Name}}|{{.Driver}}|{{.Scope}}|{{.Labels}}|{{.Size}}"
    assert out(someone, "volume", "ls", "-f", "name=^db$", "--format", template) == "db|local|local|keep=,tier=db|N/A\n"
    row = json.loads(out(someone, "volume", "ls", "-f", "name=^db$", "--format", "json"))
    assert row["Mountpoint"] == f"{someone.root}/volumes/db/_data"


def test_pruning(someone: Cli) -> None:
    out(someone, "volume", "create", "data", "--label", "keep")
    out(someone, "volume", "create", "other")
    nameless = out(someone, "volume", "create").strip()
    Path(f"{someone.root}/volumes/{nameless}/_data/file").write_bytes(b"x" * 2000)
    asked = someone("volume", "prune", input="n\n")
    assert asked.stdout == (
        "WARNING! This will remove anonymous local volumes not used by at least one container.\n"
        "Are you sure you want to continue? [y/N] "
    )
    assert nameless in out(someone, "volume", "ls", "-q")
    done = out(someone, "volume", "prune", input="y\n")
    assert done.endswith(f"Deleted Volumes:\n{nameless}\n\nTotal reclaimed space: 2kB\n")
    assert '"Action":"prune","Actor":{"ID":"","Attributes":{"reclaimed":"2000"}}' in _log(someone)
    assert out(someone, "volume", "prune", "-f") == "Total reclaimed space: 0B\n"
    gone = out(someone, "volume", "prune", "-af", "--filter", "label!=keep")
    assert gone == "Deleted Volumes:\nother\n\nTotal reclaimed space: 0B\n"
    assert left(someone) == ["data"]


def test_a_directory_of_the_host_by_a_name(someone: Cli, shared_dir: Path) -> None:
    place = Path(subprocess.check_output(["mktemp", "-d", f"{shared_dir}/bound-XXXX"], text=True).strip())
    place.chmod(0o777)
    (place / "file").write_text("of the host\n")
    (place / "file").chmod(0o666)
    words = ("-o", "type=none", "-o", "o=bind", "-o", f"device={place}")
    out(someone, "volume", "create", *words, "data")
    assert out(someone, "run", "--rm", "-v", "data:/d", "host", "cat", "/d/file") == "of the host\n"
    changed = someone("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/etc", "data")
    assert "with other options" in changed.stderr
    assert out(someone, "volume", "create", *words, "data") == "data\n"
    out(someone, "volume", "create", *words, "-o", "o=bind,ro", "-o", "type=none", "frozen")
    assert "Read-only" in someone("run", "--rm", "-v", "frozen:/d", "host", "touch", "/d/x").stderr
    out(someone, "volume", "rm", "data")
    assert (place / "file").exists()
    out(someone, "volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/not-there", "data")
    done = someone("run", "--rm", "-v", "data:/d", "host", "true")
    assert done.returncode == 125
    assert "the directory /not-there of the volume data is not there" in done.stderr


def test_a_volume_in_memory(someone: Cli) -> None:
    out(someone, "volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,mode=0700", "fast")
    script = "touch /d/file; grep ' /d ' /proc/mounts; stat -c %a /d"
    mounted, mode = out(someone, "run", "--rm", "-v", "fast:/d", "host", "sh", "-c", script).splitlines()
    assert mounted.split()[2] == "tmpfs"
    assert "size=1024k" in mounted
    assert mode == "700"
    assert out(someone, "run", "--rm", "-v", "fast:/d", "host", "ls", "/d") == ""


def test_a_part_of_a_volume(someone: Cli) -> None:
    script = "mkdir -p /d/a/b; echo b >/d/a/b/file; ln -s a/b /d/in; ln -s /etc /d/out; ln -s ../.. /d/up"
    out(someone, "run", "--rm", "-v", "data:/d", "host", "sh", "-c", script)

    def look(below: str) -> subprocess.CompletedProcess[str]:
        mount = f"type=volume,src=data,dst=/x,volume-subpath={below}"
        return someone("run", "--rm", "--mount", mount, "host", "cat", "/x/file")

    assert look("a/b").stdout == "b\n"
    assert look("in").stdout == "b\n"
    for below in ("out", "up", "up/etc", "out/passwd"):
        assert f"{below} leads out of the volume" in look(below).stderr, below
    assert "none is not there" in look("none").stderr
    for below in ("../a", "/a", "a/.."):
        assert "is not a path in the volume" in look(below).stderr


def test_two_places_and_one_in_the_other(someone: Cli) -> None:
    script = "mkdir -p /d/in; echo x >/d/in/file; cat /e/in/file; ls /d/other"
    words = ("-v", "data:/d", "-v", "data:/e", "-v", "other:/d/other")
    assert out(someone, "run", "--rm", *words, "host", "sh", "-c", script) == "x\n"


def test_a_dry_run_makes_nothing(someone: Cli) -> None:
    text = out(someone, "explain", "-v", "data:/d:ro", "host", "true")
    assert f'open_tree(AT_FDCWD, "{someone.root}/volumes/data/_data"' in text
    assert "the volume can be read at /d" in text
    assert not os.path.exists(f"{someone.root}/volumes")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-v", "a/b:/d"), 'create a/b: "a/b" includes invalid characters for a local volume name'),
        (("-v", "x:/d"), "create x: volume name is too short"),
        (("-v", "data:d"), "must be an absolute path"),
        (("-v", "data:/"), "the root itself cannot be mounted over"),
        (("-v", "data:/d:rslave"), "rslave means nothing for a volume"),
        (("-v", "data:/d", "-v", "other:/d"), "two mounts at /d"),
        (("--mount", "type=volume,src=data,dst=/d,volume-driver=nfs"), "the volume driver nfs"),
        (("--mount", "type=volume,dst=/d,volume-subpath=a"), "volume-subpath needs a volume with a name"),
        (("--mount", "type=bind,src=/etc,dst=/d,volume-nocopy"), "volume-nocopy means nothing with type=bind"),
        (("--mount", "type=volume,src=data,dst=/d,volume-opt=a=b"), 'invalid option: "a"'),
        (("--mount", 'type=volume,src=data,"dst=/d'), "a quote that is not closed"),
        (("--volumes-from", "nobody"), "No such container: nobody"),
        (("--volumes-from", "nobody:zz"), "invalid mode: zz"),
    ],
)
@IN_WORDS
def test_what_cannot_be_run(someone: Cli, words: tuple[str, ...], said: str) -> None:
    done = someone("run", "--rm", *words, "host", "true")
    assert done.returncode == 125
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_labels_and_a_place_with_a_comma(someone: Cli) -> None:
    mount = '"dst=/a,b",type=volume,src=data,volume-label=k=v,volume-label=bare'
    assert out(someone, "run", "--rm", "--mount", mount, "host", "ls", "/a,b") == ""
    found = out(someone, "volume", "inspect", "-f", "{{json .Labels}}", "data")
    assert json.loads(found) == {"k": "v", "bare": ""}


def test_a_volume_whose_labels_are_spoilt_is_still_there(someone: Cli) -> None:
    out(someone, "volume", "create", "data")
    Path(f"{someone.root}/volumes/data/volume.json").write_bytes(b'{"version"')
    assert out(someone, "volume", "ls", "-q") == "data\n"
    assert out(someone, "volume", "prune", "-f") == "Total reclaimed space: 0B\n"
    assert out(someone, "run", "--rm", "-v", "data:/d", "host", "ls", "/d") == ""
