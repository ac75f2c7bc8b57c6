"""`inspect` and `ps` beside docker's, of containers that the same command lines have made: key by key, cell by cell."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.containers.made import NIL
from tests.engines.conftest import require
from tests.engines.daemons import IMAGE, Docker, Room, make_image, succeed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Cli

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

FULL = (
    "--network none -m 64m --cpus 0.5 --pids-limit 50 --restart on-failure:3 -e A=b -l x=y -l k=1 -v data:/v:ro"
    " -v /tmp:/t --mount type=tmpfs,dst=/mt --tmpfs /tm:size=1m --cap-add NET_ADMIN --cap-drop CHOWN --dns 1.2.3.4"
    " --dns-search example.com --dns-option ndots:1 --health-cmd true --health-interval 1s --health-retries 2 -u 1000"
    " -w /tmp --hostname hh --domainname dd --stop-signal INT --stop-timeout 3 --read-only --init"
    " --ulimit nofile=10:20 --log-opt max-size=1m --group-add 5 --add-host a:1.2.3.4 --expose 80"
    " --device /dev/null:/dev/x --security-opt no-new-privileges --shm-size 1m --oom-score-adj 5 -t -i"
    " --sysctl net.ipv4.ip_forward=1 --cpu-shares 12 --cpuset-cpus 0 --memory-reservation 32m --memory-swap 100m"
)
LINES = {
    "plain": ("--network none", "sh -c exit"),
    "full": (FULL, "sh"),
    "program": ("--network none --entrypoint sh", "-c true"),
    "bare": ("--network none", ""),
}
# keys of docker's that are not here, and why
LACKING = {
    "HostConfig.KernelMemory": "docker itself has given it up",
    "HostConfig.KernelMemoryTCP": "the same",
    "GraphDriver.Data.MergedDir": "nothing is mounted on the host: it is below /proc while the container runs",
}
# keys whose values are others, and why
OTHERS = {
    "Id": "each has its own",
    "Created": "each has its own",
    "Image": "docker 20.10 has the config as it was loaded, written anew",
    "State.Pid": "each has its own",
    "State.StartedAt": "each has its own",
    "State.FinishedAt": "each has its own",
    "State.Error": "each has its own words",
    "LogPath": "each has its own; docker's is there from the first start on",
    "ResolvConfPath": "such files are in the container's memory, and have no place on the host",
    "HostnamePath": "the same",
    "HostsPath": "the same",
    "HostConfig.Runtime": "docker's is called what it was started with",
    "HostConfig.CgroupnsMode": "docker's default depends on the version of cgroup",
    "HostConfig.MaskedPaths": "ours are more",
    "HostConfig.OomKillDisable": "docker's null is false where cgroup v1 has it",
    "GraphDriver.Data.MergedDir": "below /proc: nothing is mounted on the host",
    "GraphDriver.Data.LowerDir": "each has its own",
    "GraphDriver.Data.UpperDir": "each has its own",
    "GraphDriver.Data.WorkDir": "each has its own",
    "Mounts[].Source": "each has its own",
    "Mounts[].Propagation": "docker's is rslave for a directory that its own is in",
    "Config.Hostname": "the beginning of the id, if none was given",
    "NetworkSettings.SandboxID": "networks are not here yet",
    "NetworkSettings.SandboxKey": "the same",
    "NetworkSettings.Networks.none.NetworkID": "the same",
    "NetworkSettings.Networks.none.EndpointID": "the same",
}


class Both:
    """dockerd in a room, and cloche with a store, that have the same image."""

    def __init__(self, room: Room, cli: Cli, top: Path) -> None:
        runc = shutil.which("runc")
        busybox = shutil.which("busybox")
        assert runc
        assert busybox
        self.docker = Docker(room, {"ut": runc}, "ut")
        self.cli, self.env = cli, {"CLOCHE_ROOT": str(top / "store"), "CLOCHE_STATE": str(top / "state")}
        make_image(top / "box.tar", busybox)
        self.docker.load(top / "box.tar")
        self.cloche("load", "-i", str(top / "box.tar"))
        for name, (options, command) in LINES.items():
            self.each("create", "--name", name, *options.split(), IMAGE, *command.split())
        self.each("run", "--name", "ended", "--network", "none", IMAGE, "sh", "-c", "exit 3", code=3)
        self.each("run", "-d", "--name", "running", "--network", "none", IMAGE, "sleep", "1000")

    def each(self, *words: str, code: int = 0) -> tuple[str, str]:
        """What docker prints, and what cloche does."""
        done = self.docker(*words)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout, self.cloche(*words, code=code)

    def cloche(self, *words: str, code: int = 0) -> str:
        done = self.cli(*words, env=self.env)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def end(self) -> None:
        succeed(self.docker("kill", "running"))
        self.cloche("rm", "-f", *self.cloche("ps", "-aq").split())


@pytest.fixture(scope="module")
def both(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    require("dockerd", "docker", "runc")
    with Room("looks") as room:
        made = Both(room, cli, tmp_path_factory.mktemp("looks"))
        yield made
        made.end()


def differences(theirs: Any, ours: Any, path: str = "") -> list[str]:
    """What docker says and cloche does not, or otherwise."""
    if path in OTHERS:
        return []
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = []
        for key, value in theirs.items():
            inner = f"{path}.{key}".removeprefix(".")
            if key not in ours:
                found += [] if inner in LACKING else [f"{inner} is not there, docker has {value!r}"]
            else:
                found += differences(value, ours[key], inner)
        return found
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return [line for one, other in zip(theirs, ours, strict=True) for line in differences(one, other, f"{path}[]")]
    return [] if theirs == ours else [f"{path} is {ours!r}, docker has {theirs!r}"]


@pytest.mark.parametrize("name", [*LINES, "ended", "running"])
def test_every_key_of_dockers_is_there(both: Both, name: str) -> None:
    theirs, ours = (json.loads(text)[0] for text in both.each("inspect", name))
    for found in (theirs, ours):  # docker's mounts come in any order
        found["Mounts"].sort(key=lambda mount: mount["Destination"])
        found["HostConfig"]["Binds"] = sorted(found["HostConfig"]["Binds"] or [])
    assert differences(theirs, ours) == []
    more = set(ours) - set(theirs)
    assert more == {"Receipt", "Reason", "LogLost"}


STREAMS = "{{with .Config}}{{.AttachStdin}} {{.AttachStdout}} {{.AttachStderr}} {{.OpenStdin}} {{.StdinOnce}}{{end}}"


@pytest.mark.parametrize(
    "words",
    [
        *("run", "run -i", "run -d", "run -di", "create", "create -i", "create -t", "create -a stdout"),
        *("create -ia STDERR", "create -a stdin", "run -a stdout", "run -a stderr -a stdout", "run -ia stdin"),
    ],
)
def test_whose_streams_it_has_and_what_is_seen_of_them(both: Both, words: str) -> None:
    command = ("sh", "-c", "echo out; echo err >&2; exit 3")
    code = 3 if words.startswith("run") and "-d" not in words else 0
    line = (*words.split(), "--network", "none", "--name", "streams", IMAGE, *command)
    theirs, ours = both.docker(*line), both.cli(*line, env=both.env)
    assert (theirs.returncode, ours.returncode) == (code, code)
    if code:
        assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr)
    found = both.each("inspect", "-f", STREAMS, "streams")
    both.each("rm", "-f", "streams")
    assert found[0] == found[1]


def test_streams_of_what_is_gone_when_it_ends(both: Both) -> None:
    line = ("run", "--rm", "-i", "--network", "none", "--name", "streams", IMAGE, "sh", "-c", "echo; sleep 1000")
    with both.cli.popen(*line, env=both.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as front:
        assert front.stdout
        front.stdout.readline()
        try:
            assert both.cloche("inspect", "-f", STREAMS, "streams") == "true true true true true\n"
        finally:
            both.cloche("kill", "streams")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-d -a stdout", "cannot specify both --attach and --detach"),
        ("-a out", "valid streams are STDIN, STDOUT and STDERR"),
        ("-a stdout,stderr", "valid streams are STDIN, STDOUT and STDERR"),
    ],
)
def test_streams_that_cannot_be_meant(both: Both, words: str, said: str) -> None:
    for engine in (both.docker, lambda *line: both.cli(*line, env=both.env)):
        done = engine("run", *words.split(), "--network", "none", IMAGE, "true")
        assert done.returncode
        assert said in done.stderr


def test_sizes(both: Both) -> None:
    theirs, ours = (json.loads(text)[0] for text in both.each("inspect", "-s", "plain"))
    assert theirs["SizeRw"] == ours["SizeRw"] == 0
    # docker counts the text of links as well, of a layer as it came
    assert abs(theirs["SizeRootFs"] - ours["SizeRootFs"]) < theirs["SizeRootFs"] / 100


def test_differences_would_be_noticed() -> None:
    assert differences({"A": {"B": 1}}, {"A": {}}) == ["A.B is not there, docker has 1"]
    assert differences({"A": [{"B": 1}]}, {"A": [{"B": "1"}]}) == ["A[].B is '1', docker has 1"]
    assert differences({"A": [1]}, {"A": [1, 2]}) == ["A is [1, 2], docker has [1]"]
    assert differences({"Id": 1}, {"Id": 2}) == []


def cells(text: str) -> list[list[str]]:
    """A table without ids, and without times, which two commands do not start at the same moment."""
    rows = []
    for line in text.splitlines():
        timeless = re.sub(r"\b(Less than a second|1 second|\d+ seconds|About a minute|\d+ minutes)\b", "TIME", line)
        rows.append(re.split(r" {2,}", timeless.strip())[1:])
    return rows


@pytest.mark.parametrize(
    "words",
    [
        "",
        "-a",
        "-a --no-trunc",
        "-as",
        "-n 2",
        "-l",
        "-a --filter name=^/?pl",
        "--filter status=created",
        "-a --filter exited=3",
        "-a --filter label=x=y",
        "-a --filter before=program",
        "-a --filter since=program",
        "-a --filter volume=data",
        "-a --filter volume=/tmp",
        f"-a --filter ancestor={IMAGE}",
        "-a --filter health=none",
    ],
)
def test_tables(both: Both, words: str) -> None:
    theirs, ours = both.each("ps", *words.split())
    assert cells(ours) == cells(theirs)


@pytest.mark.parametrize(
    "key", ["Command", "Image", "Names", "State", "Labels", "LocalVolumes", "Mounts", "Networks", "Ports"]
)
def test_templates(both: Both, key: str) -> None:
    theirs, ours = both.each("ps", "-a", "--format", f'{{{{.Label "x"}}}}|{{{{.{key}}}}}')
    if key != "Mounts":
        assert ours == theirs
        return
    for line, other in zip(theirs.splitlines(), ours.splitlines(), strict=True):  # docker's come in any order
        assert sorted(line.partition("|")[2].split(",")) == other.partition("|")[2].split(",")


@pytest.mark.parametrize("name", ["plain", "full"])
def test_templates_of_what_is_nil(both: Both, name: str) -> None:
    found = both.each("inspect", "-f", "\n".join(NIL), name)
    # docker's mounts and binds come in any order
    theirs, ours = ([sorted(re.split(r"[| \[\]]", line)) for line in text.splitlines()] for text in found)
    assert dict(zip(NIL, ours, strict=True)) == dict(zip(NIL, theirs, strict=True))


def test_what_nil_does_not_have(both: Both) -> None:
    words = ("inspect", "-f", "{{.State.Health.Status}}", "plain")
    assert both.docker(*words).returncode == both.cli(*words, env=both.env).returncode == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("inspect", "nope"), 1),
        (("inspect", "--type", "container", "nope"), 1),
        (("inspect", "-f", "{{.Name}}", "nope", "plain"), 1),
        (("container", "inspect", "nope"), 1),
        (("inspect", ""), 1),
        (("ps", "--filter", "status=foo"), 1),
        (("ps", "--filter", "x=y"), 1),
        (("ps", "web"), 1),
        (("port", "nope"), 1),
        (("port", "plain", "80"), 1),
        (("update", "plain"), 1),
        (("update", "--restart", "no", "nope"), 1),
        (("update", "--restart", "foo", "plain"), 1),
    ],
)
def test_what_fails_ends_alike(both: Both, words: tuple[str, ...], code: int) -> None:
    """With the same exit code, the same output, and an error in docker's words."""
    theirs = both.docker(*words)
    ours = both.cli(*words, env=both.env)
    assert (theirs.returncode, ours.returncode) == (code, code)
    assert ours.stdout == theirs.stdout
    said = theirs.stderr.strip().splitlines()[0]
    sentence = re.sub(r"^(Error response from daemon|Error|docker): ", "", said)
    if words[0] != "ps" or "foo" in words[-1]:
        assert sentence.lower() in ours.stderr.lower()
