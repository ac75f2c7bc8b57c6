"""What is wrong on a command line ends with docker's exit code: 125 for options, 1 for verbs and operands."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.containers.ground import ROUNDS
from tests.containers.made import Store
from tests.engines.conftest import require

if TYPE_CHECKING:
    from pathlib import Path

    from tests.images.forks import Forks

# an option that is not there, one without its value, a value that means nothing
OPTIONS = """
--nosuch ps|-x|--root|--debug=maybe ps|run --nosuch box|run -y box|run --rm=maybe box|run -m abc box|run -m|run -e
run --pids-limit abc box|run --restart bogus box|run --health-interval abc box|run -v a:b:c:d box|run --mount abc box
run --label-file /nosuch box|run --env-file /nosuch box|run --cpu-shares abc box
container run --nosuch box|create --nosuch box|create -m abc box|create --cpus abc box|start -z c|start --attach=maybe c
stop --nosuch c|stop -t abc c|stop -t|stop -s|restart -t abc c|kill --nosuch c|kill -s|rm --nosuch c|rm -f=x c|rm -z c
container rm --nosuch c|wait --nosuch c|attach --nosuch c|pause --nosuch c|unpause --nosuch|rename --nosuch a b|ps -y
ps --nosuch|ps -n abc|ps -f abc|ps --all=maybe|container ls --nosuch|inspect --nosuch c|inspect -f|logs --nosuch c
logs -f=x c|logs --tail|top --nosuch|stats --nosuch|stats --no-stream=x|port --nosuch c|update --nosuch c
update -m abc c|update --cpus abc c|update --restart|cp --nosuch a b|diff --nosuch c|commit --nosuch c|commit -c
commit -p=x c|export --nosuch c|exec --nosuch c x|exec -e|exec --privileged=x c y|events --nosuch|events -f abc
info --nosuch|version --nosuch|images --nosuch|images -f abc|pull --nosuch a|push --nosuch a|rmi --nosuch a
tag --nosuch a b|save --nosuch a|load --nosuch|history --nosuch a|search --nosuch a|search --limit abc x|login --nosuch
logout --nosuch|volume create --nosuch|volume create --label|volume ls --nosuch|volume ls -f abc|volume rm --nosuch a
volume prune --filter abc -f|image ls --nosuch|image prune --filter abc -f|container prune --filter abc -f
container prune --nosuch|system df --nosuch|system prune --nosuch|system events --nosuch
update -m '' c|update --memory '' --restart no c|update --cpus '' c|update --cpu-period '' c|update --cpu-shares '' c
update --pids-limit '' c|update --cpu-period abc c|run --cpu-period abc box|run --cpu-period '' --cpu-quota 5000 box
run --health-cmd x --health-retries '' box|run --health-interval '' box|run --health-timeout '' box|run -e '' box
run --health-start-period '' box|run --network '' box|run --expose '' box|run --expose 90-80 box|run --expose 80:90 box
run -l 'a b=c' box|ps -n ''|search --limit '' x|exec -e '' c x|exec -e =x c x|volume create --label ''
volume create --label 'a b=c'|create -l =x box|create -a foo box|create --mount abc box|create --mount '' box
create --health-cmd x --health-retries x box|create --label-file /nosuch box|create --env-file /nosuch box
create -e =x box|create --rm --restart always box|create --no-healthcheck --health-cmd x box|create --pid foo box
create --restart on-failure:x box|create --uts foo box|create --userns foo box|create --cgroupns foo box
create --security-opt foo box|create --security-opt seccomp=/nosuch box|create --sysctl foo=1 box|create -v '' box
create --ulimit foo=1 box|create --ulimit nofile=5:3 box|create --ulimit nofile=a box|create --dns foo box
create --dns-search '' box|create --add-host foo box|create --expose foo box|create --device-read-bps foo box
create --cpu-period abc box|create --stop-timeout abc box|create --shm-size abc box|create --oom-score-adj abc box
"""
# a verb that is not there, an operand that is missing, one too many
WORDS = """
rn|container nosuch|image nosuch|volume nosuch|system nosuch|help nosuch|run|container run|create|start|stop|restart
kill|rm|wait|attach|attach a b|pause|unpause|rename|rename a|rename a b c|ps x|container ls x|inspect|logs
top|port|update|cp|cp a|cp a b c|diff|commit|commit a b c|export|export a b|exec|exec c|container exec c|events x|info x
version x|images a b|pull|push|rmi|tag|tag a|tag a b c|load x|import|history|history a b|search|search a b|login a b
logout a b|volume create a b|volume ls x|volume inspect|volume rm|volume prune x|image inspect|image rm|image prune x
container prune x|system df x|system prune x|start -a a b|stop --time 1|exec -i
"""


def lines(table: str) -> list[str]:
    return table.strip().replace("\n", "|").split("|")


@pytest.mark.parametrize(("table", "code"), [(OPTIONS, 125), (WORDS, 1)])
def test_the_code_and_one_line(table: str, code: int, quick: Forks) -> None:
    for line in lines(table):
        done = quick(*shlex.split(line))
        assert (done.returncode, done.stdout) == (code, ""), line + done.stderr
        assert done.stderr.startswith("cloche: "), line
        assert done.stderr.count("\n") <= 2, line


def test_docker_has_them(tmp_path: os.PathLike[str]) -> None:
    """Its client alone: none of these gets as far as its daemon. All of them where CLOCHE_SOAK is set."""
    require("docker")
    ours = {"--root", "--debug=maybe ps"}  # it has other ones
    options, words = [
        [line for line in lines(table) if line not in ours][:: 1 if ROUNDS else 4] for table in (OPTIONS, WORDS)
    ]
    script = "".join(f"docker {line} >&2; echo $?\n" for line in (*options, *words))
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_HOST": "unix:///nosuch.sock"}
    done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["125"] * len(options) + ["1"] * len(words), done.stderr


# numbers of more digits than Python makes one of (sys.set_int_max_str_digits), each with the code it ends with
LONG = """
125 ps --last #|125 ps --last -#|1 ps --filter publish=#|1 ps --filter expose=80-#/udp|1 port web #|1 port web #/tcp
125 run --pids-limit # box|125 run --user=1 --restart on-failure:# box|125 stop -t # web|1 logs -n # web
1 search --limit # x|1 search --filter stars=# x|1 images --filter until=#|1 images --filter until=#h
1 image prune -f --filter until=#|1 container prune -f --filter until=#|1 events --since #|1 kill -s # web
1 import -c STOPSIGNAL~# /nosuch|1 import -c HEALTHCHECK~--retries=1#~CMD~x /nosuch|1 import -c EXPOSE~# /nosuch
1 inspect -f {{index~.Args~#}} web|1 inspect -f {{printf~"%#d"~1}} web
"""


def test_a_number_that_is_too_long_to_be_one(quick: Forks, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.make("web")
    for line in lines(LONG):
        code, *words = (word.replace("~", " ").replace("#", "9" * 5000) for word in line.split())
        done = quick(*words, env=store.env)
        found = done.returncode, done.stdout, done.stderr[:8], done.stderr.count("\n") <= 2
        assert found == (int(code), "", "cloche: ", True), line + done.stderr[-500:]
