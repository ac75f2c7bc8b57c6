"""What people type every day who have `alias docker=cloche`: the same words, exit codes and output as docker's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from cloche.cli.options import CONTAINERS
from tests.engines.conftest import require
from tests.engines.daemons import Docker, Room, make_image, succeed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Cli

NAME = "docker.io/library/box:1"
# each line goes to sh, with docker on the one side and cloche on the other; `d` is the program
LINES = """
d run -d --name web --restart unless-stopped -e A=b -v data:/data -w /tmp --label tier=front -l x --stop-timeout 1 \
--network none box:1 sh -c 'echo ready; exec sleep 1000'
d run --rm --network none -w /etc -u ann -e B=c box:1 sh -c 'id -un; pwd; echo $B'
echo data | d run --rm -i --network none box:1 cat
d run --rm --network none box:1 sh -c 'exit 3'; d run --rm --network none box:1 /etc/plain; echo $?
d run --rm --network none -it=false --name=eq -e=A=b box:1 sh -c 'echo $A'
d run --network none --name web box:1 true
d run -d --rm --restart always box:1 true
d run --name 'bad name' box:1 true
d run --rm --log-driver bogus box:1 true
d run --rm --log-opt foo=bar box:1 true
d run --rm -l '' box:1 true
d ps; d ps -a --no-trunc; d ps -aq; d ps -s; d ps -l; d ps -n 1 -q; d container ls; d container ps -aq
d ps --format '{{.Names}}: {{.Status}} {{.Image}} {{.Command}} {{.Labels}} {{.Mounts}} {{.State}} {{.Networks}}'
d ps --format 'table {{.ID}}\\t{{.Names}}\\t{{.RunningFor}}'
d ps --format '{{.Names | upper}} {{printf "%.3s" .Image}}'
d ps -f name=web -f status=running -q; d ps --filter label=tier=front --format '{{.Label "tier"}}'; d ps -aqf exited=1
d ps --filter ancestor=box:1 --format '{{.Names}}'; d ps -f foo=bar; d ps -f status=foo
d logs web; d logs --tail 1 -t web; d logs -n0 web; d logs --since 1h --until 0s web; d logs nosuch
timeout 1 d logs -f web; echo $?
d exec web ls /; d exec -e X=y -w /etc -u ann web sh -c 'echo $X; pwd; id -un; echo err >&2; exit 7'
echo hello | d exec -i web cat; echo hello | d exec web cat; d exec -it web sh; d exec -d web true; d exec -- web echo x
d exec nosuch ls; d container exec web true
d cp web:/etc/passwd got; cat got; d cp got web:/tmp/put; d exec web cat /tmp/put; d cp web:/etc/passwd - | tar -t
d cp web:/etc/ . && cat etc/plain; d cp web:/nosuch .; d cp got web:/nosuch/x; d cp nosuch:/x .; d cp x y
d inspect -f '{{.State.Status}} {{.Config.Image}} {{.HostConfig.RestartPolicy.Name}} {{.Name}}' web nosuch
d inspect -f '{{json .Config.Env}} {{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}}{{end}}' web
d container inspect --format='{{index .Config.Labels "tier"}}' web; d inspect --type image -f '{{.Config.Cmd}}' box:1
d inspect --type container nosuch; d image inspect -f '{{.Config.Env}}' box:1
d top web | head -1; d top web -eo pid,comm | head -1; d stats --no-stream --format '{{.Name}} {{.PIDs}}' web
d rename web www; d rename www web; d rename nosuch x; d rename web web; d rename web 'bad name'
d update --restart no web; d update web; d update --restart bogus web
d pause web; d ps --format '{{.Status}}'; d exec web true; d pause web; d unpause web; d unpause web
d rm web; d start web; d stop -t 0 web nosuch; d stop web; d kill web; d exec web true; d top web; d attach web
d ps -a -f status=exited --format '{{.Names}} {{.State}}'; d start web; d restart -t 0 web
d kill -s KILL web; d wait web; d port web
d inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Running}}' web
d run --network none --name job box:1 sh -c 'echo kept; exit 5'; d wait job; d start -a job; echo $?; d logs job
d ps -a -f exited=5 --format '{{.Names}} {{.Status}}'; d commit -m msg -a me -c 'ENV Q=1' job job:2 | wc -c
d run --rm --network none job:2 sh -c 'echo $Q'; d image inspect -f '{{.Comment}} {{.Author}}' job:2
d export job | tar -t | grep -c bin/; d rm job; d rm -f nosuch; d rm nosuch; d rm -fv web
d create --network none --name made -v /anon box:1 sh -c 'echo x | tee /anon/f'; d start -a made; d rm -v made
d volume ls; d volume create v1; d volume create --label a=b v2; d volume ls -q -f label=a; d volume rm v1 v2 nosuch
d volume inspect -f '{{.Name}} {{.Driver}} {{.Scope}}' data; d volume create 'a b'; d volume ls -qf dangling=true
d system df --format '{{.Type}}'; d image ls; d images -q; d tag box:1 box:2; d rmi box:2; d rmi job:2 | head -1
d run -d --network none --cidfile cid --name one box:1 sleep 100; wc -c cid
d container run --rm --network container:one --pid container:one box:1 sh -c 'ps | grep -c "^ *1 .*sleep 100"'
d inspect -f '{{.Name}}' $(cut -c1-9 cid); d rm -f $(cat cid); d ps -aq
d -v >out; echo $?; d --version >out2; cmp out out2
"""


class Side:
    """One of the two programs, called `d` by the lines."""

    def __init__(self, argv: list[str], env: dict[str, str], desk: Path) -> None:
        self.env, self.desk = env, desk
        (desk / "bin").mkdir(parents=True)
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in argv)
        (desk / "bin/d").write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
        (desk / "bin/d").chmod(0o755)

    def __call__(self, line: str) -> tuple[str, int, bool]:
        """What it prints, without what is each side's own; the exit code; whether it complained."""
        env = {**self.env, "PATH": f"{self.desk}/bin:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.desk,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )
        return _common(done.stdout.decode()), done.returncode, bool(done.stderr)


def _common(text: str) -> str:
    text = re.sub(r"\b([0-9a-f]{64}|[0-9a-f]{12})\b", lambda found: "<" + str(len(found[1])) + ">", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.]+( \+0000 UTC|Z)", "<time>", text)
    text = re.sub(r"(\d+|Less than a|About a) (second|minute)s?( ago)?", "<age>", text)
    return re.sub(r" {2,}", "  ", text)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Iterator[tuple[Side, Side]]:
    """docker with a daemon of its own, and cloche, with the same image."""
    require("dockerd", "docker")
    top = tmp_path_factory.mktemp("alias")
    busybox = shutil.which("busybox")
    assert busybox
    make_image(top / "image.tar", busybox, name=NAME)
    with Room("alias") as room:
        docker = Docker(room, {}, "runc")
        docker.load(top / "image.tar")
        program = shutil.which("docker")
        assert program
        environment = {"HOME": str(top), "CLOCHE_ROOT": str(top / "store"), "CLOCHE_STATE": str(top / "state")}
        ours = Side(cli.argv, environment, top / "cloche")
        assert ours(f"d load -i {top}/image.tar")[1] == 0
        yield Side([program], docker.env, top / "docker"), ours
        ours("d rm -f $(d ps -aq)")
        succeed(docker("ps", "-q"))


def test_every_line_does_what_dockers_does(sides: tuple[Side, Side]) -> None:
    docker, ours = sides
    different = []
    for line in LINES.strip().replace("\\\n", "").splitlines():
        theirs, own = docker(line), ours(line)
        if theirs != own:
            different.append((line, theirs, own))
    assert not different, "\n".join(f"{line}\n  docker {theirs}\n  cloche {own}" for line, theirs, own in different)


def test_kept_containers_share_namespaces(anyone: Cli) -> None:
    first = well(anyone, "run", "-d", "--name", "first", "--network", "none", "host", "sleep", "1000").strip()
    try:
        look = ("readlink", "/proc/self/ns/net")
        inode = well(anyone, "exec", "first", *look)
        for word in ("first", first, first[:8]):
            assert well(anyone, "run", "--rm", "--network", f"container:{word}", "host", *look) == inode
        well(anyone, "run", "-d", "--name", "second", "--network", "container:first", "host", "sleep", "1000")
        assert well(anyone, "exec", "second", *look) == inode
        well(anyone, "stop", "-t", "0", "first")
        done = anyone("run", "--rm", "--network", "container:first", "host", "true")
        assert (done.returncode, done.stdout) == (125, "")
        assert done.stderr == f"cloche: container {first} is not running\n  hint: cloche start first\n"
    finally:
        anyone("rm", "-f", "first", "second")


def test_what_would_be_lost_is_refused(cli: Cli, rootfs: Path) -> None:
    for words, said in (
        (("--rm", "--restart", "always"), "cannot specify both --restart and --rm"),
        (("--restart", "always"), "--restart is for containers that stay"),
        (("--log-driver", "bogus"), "no log driver named 'bogus'"),
        (("--log-opt", "foo=bar"), "unknown log opt 'foo' for json-file log driver"),
        (("--label", "=x"), "invalid label '=x': empty name"),
    ):
        done = cli("run", *words, "--rootfs", str(rootfs), "echo", "never")
        assert (done.returncode, done.stdout) == (125, ""), done
        assert said in done.stderr
    done = cli("run", "--log-driver", "none", "--restart", "no", "--rootfs", str(rootfs), "echo", "once")
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n", "")


@pytest.mark.parametrize("verb", ["network", "compose", "buildx", "swarm", "plugin", "context"])
def test_what_is_not_here_is_said_so(cli: Cli, verb: str) -> None:
    done = cli(verb, "ls")
    assert (done.returncode, done.stdout) == (1, "")
    first, hint = done.stderr.splitlines()
    assert first == f"cloche: unknown verb '{verb}'"
    assert hint.startswith("  hint: ")
    assert "--help lists" not in hint


def test_container_in_front_of_every_verb(cli: Cli) -> None:
    for verb in CONTAINERS:
        done = cli("container", verb, "--help")
        assert (done.returncode, done.stdout[:24]) == (0, "Usage: cloche container "), verb
    done = cli("container", "run", "--rm", "host", "sh", "-c", "exit 7")
    assert done.returncode == 7
    assert cli("container", "run", "--nonsense").returncode == 125


def well(cli: Cli, *words: str) -> str:
    """What a command prints that has to succeed."""
    done = cli(*words)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout
