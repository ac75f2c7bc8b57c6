"""`cloche ps`: columns, formats, filters; what is damaged, hostile or not true any more."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.engine import records
from tests.containers.boxes import write_box
from tests.containers.conftest import Alive
from tests.containers.made import IMAGE_ID, Store, at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\nx\ty"


def ps(cli: Cli, store: Store, *words: str) -> str:
    done = cli("ps", *words, env=store.env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def names(cli: Cli, store: Store, *words: str) -> list[str]:
    return ps(cli, store, "--format", "{{.Names}}", *words).split()


def cells(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip())


@pytest.fixture
def several(store: Store) -> Store:
    store.run("web", 3700, {"health": {"status": "healthy"}}, labels={"tier": "front", "x": ""}, exposed=["80"])
    store.end("job", 3, 150)
    store.run("stopped", 8000, {"status": "paused"}, options={"network": "container:web"})
    store.make("fresh", image="other:1", image_id="sha256:" + "3d" * 32)
    volume = {"Type": "volume", "Name": "data", "Source": "/x/_data", "Destination": "/var/data", "Driver": "local"}
    store.end("hungry", 137, 150, reason={"kind": "out of memory", "text": "killed by SIGKILL: out of memory"})
    store.run("db", 90, mounts=[volume, {"Type": "bind", "Source": "/srv", "Destination": "/s", "Driver": ""}])
    return store


def test_nothing(cli: Cli, store: Store) -> None:
    headings = "CONTAINER ID   IMAGE   COMMAND   CREATED   STATUS   PORTS   NAMES\n"
    assert ps(cli, store) == ps(cli, store, "-a") == headings
    assert ps(cli, store, "-q") == ps(cli, store, "-aq") == ps(cli, store, "--format", "json") == ""
    assert not store.root.exists()


def test_a_table(cli: Cli, several: Store) -> None:
    lines = [cells(line) for line in ps(cli, several, "-a").splitlines()]
    assert lines[0] == ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert [line[-1] for line in lines[1:]] == ["db", "hungry", "fresh", "stopped", "job", "web"]
    assert [line[4] for line in lines[1:]] == [
        "Up About a minute",
        "Exited (137) 2 minutes ago: out of memory",
        "Created",
        "Up 2 hours (Paused)",
        "Exited (3) 2 minutes ago",
        "Up About an hour (healthy)",
    ]
    assert lines[1][1:4] == ["box:1", '"sleep 100"', "16 minutes ago"]
    assert all(re.fullmatch("[0-9a-f]{12}", line[0]) for line in lines[1:])
    assert names(cli, several) == ["db", "stopped", "web"]


def test_the_last_ones(cli: Cli, several: Store) -> None:
    assert names(cli, several, "-l") == names(cli, several, "-n", "1") == names(cli, several, "-n1", "-a") == ["db"]
    assert names(cli, several, "--last", "3") == ["db", "hungry", "fresh"]
    assert names(cli, several, "-n", "0") == names(cli, several, "-n-1") == ["db", "stopped", "web"]
    assert len(names(cli, several, "-n", "100")) == 6
    done = cli("ps", "-n", "x", env=several.env)
    assert done.returncode == 125
    assert "--last 'x' is not a number" in done.stderr


def test_ids(cli: Cli, several: Store) -> None:
    short, full = ps(cli, several, "-aq").split(), ps(cli, several, "-aq", "--no-trunc").split()
    assert [text[:12] for text in full] == short
    assert sorted(full) == sorted(os.listdir(several.root / "containers"))
    assert ps(cli, several, "-aq", "--format", "{{.Names}}").split() == short


def test_everything_a_template_has(cli: Cli, several: Store) -> None:
    (line,) = ps(cli, several, "-a", "--filter", "name=^db$", "--format", "json").splitlines()
    row = json.loads(line)
    assert list(row) == sorted(row)
    assert {key: row[key] for key in row if key not in {"ID", "CreatedAt", "Platform"}} == {
        "Command": '"sleep 100"',
        "HealthStatus": "none",
        "Image": "box:1",
        "Labels": "",
        "LocalVolumes": "1",
        "Mounts": "/srv,data",
        "Names": "db",
        "Networks": "none",
        "Ports": "",
        "Reason": "",
        "RunningFor": "16 minutes ago",
        "Size": "0B",
        "State": "running",
        "Status": "Up About a minute",
    }
    assert row["Platform"].startswith("linux/")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC", row["CreatedAt"])
    template = '{{.Reason}}|{{.Networks}}|{{.HealthStatus}}|{{.Label "tier"}}|{{.Labels}}|{{.Label "none"}}'
    assert ps(cli, several, "-a", "--format", template).splitlines() == [
        "|none|none|||",
        "killed by SIGKILL: out of memory|none|none|||",
        "|none|none|||",
        "||none|||",
        "|none|none|||",
        "|none|healthy|front|tier=front,x=|",
    ]


def test_headings_of_templates(cli: Cli, several: Store) -> None:
    form = r'table {{.ID}}\t{{.Label "com.example.my-tier"}}\t{{.LocalVolumes}}\t{{.CreatedAt}}\t{{.State}}'
    heading = ps(cli, several, "--format", form).splitlines()[0]
    assert cells(heading) == ["CONTAINER ID", "my tier", "LOCAL VOLUMES", "CREATED AT", "STATE"]


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("{{.Nope}}", "there is no .Nope"),
        ("{{.Names", "without }}"),
        ("{{.Label}}{{.Label 1 2}}", "a method cannot work with what it is given"),
        ('{{.Names "x"}}', "behind what is no function"),
    ],
)
def test_a_template_that_is_none(cli: Cli, several: Store, form: str, says: str) -> None:
    done = cli("ps", "--format", form, env=several.env)
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr


def test_commands(cli: Cli, store: Store) -> None:
    store.run("short", command=["sh", "-c", "exit 3"])
    store.run("long", command=["sh", "-c", 'echo "hello" world'])
    store.run("wide", command=["\u6f22\u5b57" * 20])
    store.run("none", command=[])
    store.run("odd", command=["a\\b", '"', "\n"])
    shown = ps(cli, store, "--format", "{{.Command}}").splitlines()
    wide = "\u6f22\u5b57" * 4 + "\u6f22"
    assert shown == [r'"a\\b \" \n"', '""', f'"{wide}…"', '"sh -c \'echo \\"hello\\"…"', "\"sh -c 'exit 3'\""]
    full = ps(cli, store, "--no-trunc", "--format", "{{.Command}}").splitlines()
    assert full[3] == '"sh -c \'echo \\"hello\\" world\'"'


def test_images(cli: Cli, store: Store) -> None:
    digest = "@sha256:" + "ab" * 32
    for name, image in (("a", "docker.io/library/box:1"), ("b", f"box:1{digest}"), ("c", IMAGE_ID), ("d", "")):
        store.run(name, image=image, options={"rootfs": ""})
    store.run("e", image="", options={"rootfs": "/srv/root"})
    shown = ps(cli, store, "--format", "{{.Image}}").splitlines()
    assert shown == ["/srv/root", "<no image>", "1d" * 6, "box:1", "box:1"]
    assert ps(cli, store, "--no-trunc", "--format", "{{.Image}}").splitlines()[2:4] == [IMAGE_ID, f"box:1{digest}"]


def test_a_name_that_stands_for_another_image_by_now(alive: Alive, tmp_path: Path) -> None:
    """As docker has it: then it is the ID that says what a container is made of."""
    box = write_box(tmp_path / "box.tar")
    for name, image in (("first", "box"), ("second", "box"), ("third", "other:2")):
        done = alive.cli("import", "-c", f"LABEL n={name}", "-", image, input=box.read_bytes(), env=alive.env)
        assert done.returncode == 0, done.stderr
        alive("create", "--name", name, image, "true")
    alive("tag", "other:2", "spare:1")
    alive("rmi", "other:2")
    rows = dict(line.split() for line in alive("ps", "-a", "--format", "{{.Names}} {{.Image}}").splitlines())
    assert rows["second"] == "box"
    for name in ("first", "third"):
        assert alive("inspect", "-f", "{{.Image}}", name).startswith(f"sha256:{rows[name]}")
    full = alive("ps", "-a", "--no-trunc", "--filter", "name=first", "--format", "{{.Image}}").strip()
    assert full == alive("inspect", "-f", "{{.Image}}", "first").strip()


def test_sizes(cli: Cli, store: Store) -> None:
    folder = store.run("web")
    upper = folder / "layer/upper"
    (upper / "dir").mkdir()
    (upper / "dir/file").write_bytes(bytes(1500))
    os.link(upper / "dir/file", upper / "again")
    os.symlink("x" * 100, upper / "link")
    assert ps(cli, store, "-s").splitlines()[1].endswith("1.6kB (virtual 1.6kB)")
    assert ps(cli, store, "--format", "{{.Size}}") == "1.6kB (virtual 1.6kB)\n"
    assert cells(ps(cli, store, "-s").splitlines()[0])[-1] == "SIZE"


FILTERS = [
    (("name=^/?d",), ["db"]),
    (("name=e",), ["web", "stopped", "fresh"]),
    (("name=[",), []),
    (("name=job", "name=db"), ["job", "db"]),
    (("id=z",), []),
    (("label=x",), ["web"]),
    (("label=tier=front", "label=x"), ["web"]),
    (("label=tier=back",), []),
    (("exited=3",), ["job"]),
    (("exited=3", "exited=137"), ["job", "hungry"]),
    (("exited=0",), []),
    (("status=created",), ["fresh"]),
    (("status=exited", "status=paused"), ["job", "stopped", "hungry"]),
    (("health=healthy",), ["web"]),
    (("health=none",), ["job", "stopped", "fresh", "hungry", "db"]),
    (("before=fresh",), ["web", "job", "stopped"]),
    (("since=fresh",), ["hungry", "db"]),
    (("since=job", "before=hungry"), ["stopped", "fresh"]),
    (("volume=data",), ["db"]),
    (("volume=/var/data",), ["db"]),
    (("volume=/srv",), ["db"]),
    (("volume=/x/_data",), []),
    (("network=none",), ["web", "job", "fresh", "hungry", "db"]),
    (("expose=80",), ["web"]),
    (("expose=70-90/tcp",), ["web"]),
    (("expose=80/udp",), []),
    (("publish=80",), []),
    (("is-task=false",), ["web", "job", "stopped", "fresh", "hungry", "db"]),
    (("is-task=true",), []),
    (("ancestor=other:1",), ["fresh"]),
    (("ancestor=nope",), []),
    ((f"ancestor={IMAGE_ID}",), ["web", "job", "stopped", "hungry", "db"]),
    (("Status=created", ""), ["fresh"]),
]


@pytest.mark.parametrize(("filters", "meant"), FILTERS, ids=lambda value: " ".join(value)[:30])
def test_filters(cli: Cli, several: Store, filters: tuple[str, ...], meant: list[str]) -> None:
    words = [word for text in filters for word in ("--filter", text)]
    assert sorted(names(cli, several, "-a", *words)) == sorted(meant)


def test_who_does_not_run_is_meant_where_a_status_is(cli: Cli, several: Store) -> None:
    assert names(cli, several, "-f", "status=exited") == ["hungry", "job"]
    assert names(cli, several, "-f", "exited=3") == []
    assert names(cli, several, "-f", "name=.", "-n", "2") == ["db", "hungry"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "bad format of filter (expected name=value)"),
        ("x=y", "Invalid filter 'x'"),
        ("status=foo", "Invalid filter 'status=foo'"),
        ("status=Exited", "Invalid filter 'status=Exited'"),
        ("health=foo", "Invalid filter 'health=foo'"),
        ("exited=x", "Invalid filter 'exited=x'"),
        ("exited=\u0663", "Invalid filter"),
        ("is-task=foo", "Invalid filter 'is-task=foo'"),
        ("publish=x", "Invalid filter 'publish=x'"),
        ("expose=90-80", "Invalid filter 'expose=90-80'"),
        ("expose=65536", "Invalid filter"),
        ("since=nope", "No such container: nope"),
    ],
)
def test_a_filter_that_is_none(cli: Cli, several: Store, text: str, says: str) -> None:
    done = cli("ps", "-a", "--filter", text, env=several.env)
    assert (done.returncode, done.stdout) == (1 if "=" in text else 125, "")
    assert done.stderr.startswith(f"cloche: {says}")
    assert "  hint: " in done.stderr


def test_a_filter_by_nobody(cli: Cli, several: Store) -> None:
    done = cli("ps", "-a", "--filter", "before=", env=several.env)
    assert (done.returncode, done.stderr) == (1, "cloche: invalid container name or ID: value is empty\n")


@pytest.mark.parametrize("words", [[], ["--no-trunc"], ["-s"], ["--format", '{{.Labels}} {{.Label "a"}} {{.Mounts}}']])
def test_evil_words(cli: Cli, store: Store, words: list[str]) -> None:
    """Whatever an image, a label or a path says of itself."""
    store.end(
        "evil",
        1,
        reason={"kind": f"odd{EVIL}", "text": EVIL},
        health={"status": EVIL},
    )
    mount = {"Type": "bind", "Source": EVIL, "Destination": EVIL}
    store.run("web", image=EVIL, command=[EVIL, EVIL], labels={"a": EVIL, EVIL: EVIL}, mounts=[mount])
    out = ps(cli, store, "-a", *words)
    assert out.isascii() or "…" in out
    assert all(line.isprintable() for line in out.splitlines())
    assert len(out.splitlines()) == (2 if "--format" in words else 3)
    for line in ps(cli, store, "-a", "--format", "json").splitlines():
        assert line.isascii()
        json.loads(line)


STATES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"status": 5, "pid": "x", "health": "y", "reason": [1], "exit_code": "0", "entry": null}',
    b'{"status": "exited", "finished_at": 5, "exit_code": 1.5, "by": null}',
    b'{"status": "unheard of"}',
    b'{"status": "exited"}\n{"groups": [',
    b"\xff\xfe",
]


@pytest.mark.parametrize("content", STATES)
def test_a_state_that_is_damaged(cli: Cli, store: Store, content: bytes) -> None:
    folder = store.run("web")
    (folder / "state.json").write_bytes(content)
    store.run("db")
    assert names(cli, store, "-a") == ["db", "web"]
    assert len(ps(cli, store, "-as").splitlines()) == 3
    assert len(ps(cli, store, "-a", "--format", "json").splitlines()) == 2
    assert names(cli, store) == ["db"]


@pytest.mark.parametrize(
    ("content", "there"),
    [
        (b"", False),
        (b"{", False),
        (b"[]", False),
        (b"{}", True),
        (b'{"created": 5, "labels": [], "options": "x", "mounts": [1, {}], "command": null, "name": {}}', True),
        (b'{"command": [1, null], "labels": {"a": 1}, "exposed": [{}], "image": 7}', True),
    ],
)
def test_a_document_that_is_damaged(cli: Cli, store: Store, content: bytes, there: bool) -> None:
    folder = store.run("web")
    (folder / "container.json").write_bytes(content)
    store.run("db")
    shown = ps(cli, store, "-a", "-s").splitlines()
    assert len(shown) == (3 if there else 2)
    for form in ("json", "{{.Labels}}{{.Mounts}}{{.Image}}"):
        assert len(ps(cli, store, "-a", "--format", form).splitlines()) == len(shown) - 1
    for text in ("label=x", "expose=80", "volume=x", "network=none", "ancestor=x", "exited=1"):
        ps(cli, store, "-a", "-f", text)


def test_what_does_not_run_any_more_is_not_said_to(cli: Cli, store: Store) -> None:
    """The machine was started anew, or the process has another's number; and there is no supervisor."""
    store.run("web")
    for name, lie in (
        ("boot", {"boot": "another"}),
        ("pid", {"pid": 4194304, "start": 5}),
        ("start", {"start": 1}),
    ):
        store.run(name, state=lie)
    assert names(cli, store) == ["web"]
    said = dict(line.split(" ", 1) for line in ps(cli, store, "-a", "--format", "{{.Names}} {{.Status}}").splitlines())
    assert said.pop("web") == "Up 5 minutes"
    assert said.keys() == {"boot", "pid", "start"}
    assert {text.partition(")")[0] for text in said.values()} == {"Exited (unknown"}


def test_one_that_waits_for_its_next_start(cli: Cli, store: Store) -> None:
    again = {"status": "restarting", "exit_code": 1, "finished_at": at(5)}
    folder = store.run("web", state=again)
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "pid": 0}))
    assert re.fullmatch(r"Restarting \(1\) \d+ seconds ago\n", ps(cli, store, "--format", "{{.Status}}"))


def test_other_names(cli: Cli, several: Store) -> None:
    for words in (("container", "ls"), ("container", "list"), ("container", "ps")):
        done = cli(*words, "-q", env=several.env)
        assert (done.returncode, done.stdout) == (0, ps(cli, several, "-q"))


def test_no_arguments(cli: Cli, store: Store) -> None:
    done = cli("ps", "web", env=store.env)
    assert done.returncode == 1
    assert done.stdout == ""


def test_many(cli: Cli, store: Store) -> None:
    for number in range(200):
        (store.run if number % 2 else store.end)(f"c{number}")
    assert len(ps(cli, store, "-a").splitlines()) == 201
    assert len(names(cli, store)) == 100


def test_a_container_that_was_killed_with_its_supervisor(alive: Alive) -> None:
    """Whoever looks has another supervisor find out how it ended, and what runs goes on."""
    alive("run", "-d", "--name", "gone", "host", "sleep", "1000")
    alive("run", "-d", "--name", "web", "host", "sleep", "1000")
    pids = [int(alive("inspect", "-f", "{{.State.Pid}}", name)) for name in ("gone", "web")]
    for process in of_state(alive.env["CLOCHE_STATE"]):
        os.kill(process, signal.SIGKILL)
    os.kill(pids[0], signal.SIGKILL)
    while records.start_time(pids[0]) is not None:
        time.sleep(0.01)
    lines = dict(line.split(" ", 1) for line in alive("ps", "-a", "--format", "{{.Names}} {{.Status}}").splitlines())
    assert lines["web"].startswith("Up ")
    assert lines["gone"].startswith("Exited (")
    assert int(alive("inspect", "-f", "{{.State.Pid}}", "web")) == pids[1]


def of_state(state: str) -> list[int]:
    """The processes of cloche that were told of a state directory: the supervisor."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                environment = Path(f"/proc/{name}/environ").read_bytes()
                words = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if f"CLOCHE_STATE={state}".encode() in environment.split(b"\0") and b"supervisor.main" in words:
                found.append(int(name))
    return found


@pytest.fixture
def someones(anyone: Cli, shared_dir: Path) -> Iterator[Alive]:
    """Real containers, as three kinds of user."""
    top = shared_dir / f"looks-{anyone.kind}"
    top.mkdir()
    top.chmod(0o777)
    made = Alive(anyone, top)
    yield made
    made.end()


def test_three_kinds_of_user(someones: Alive) -> None:
    someones("run", "-d", "--name", "web", "-l", "a=b", "host", "sh", "-c", "echo x >/tmp/file; exec sleep 1000")
    assert someones("ps", "--format", '{{.Names}} {{.Image}} {{.State}} {{.Label "a"}}') == "web host running b\n"
    assert re.search(r"\d+B|kB", someones("ps", "-s").splitlines()[1])
    found = someones.document("web")
    assert found["State"]["Running"] is True
    assert found["Receipt"]["user"]["detail"]
    assert someones("why", "web").startswith("web: `sh -c ")
    assert someones("container", "ls", "-aq").strip() == found["Id"][:12]
