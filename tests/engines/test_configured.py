"""Configurations and commands of docs/kubernetes.md and README.md are given to the engines as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.engines.conftest import require
from tests.engines.cri import EXITED, MEMORY, RUNNING, Kubelet, container, encode, pod
from tests.engines.daemons import IMAGE, Containerd, Docker, Podman, Room, make_image, succeed
from tests.engines.documented import DOCUMENT, INSTALLED, block

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

README = DOCUMENT.parents[1] / "README.md"
PAUSE = "localhost/pause:1"
MIB = 1 << 20


@pytest.fixture(scope="module")
def node(oci_runtime: str, archive: Path) -> Iterator[Containerd]:
    """containerd as docs/kubernetes.md configures it, with the image and a pause image."""
    require("containerd", "ctr")
    with Room("cri") as room:
        shown = block("toml", "containerd.runtimes.cloche", oci_runtime)
        more = f'[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "{PAUSE}"\nrestrict_oom_score_adj = true\n'
        containerd = Containerd(room, oci_runtime, more + shown, namespace="k8s.io")
        containerd.load(archive)
        busybox = shutil.which("busybox")
        assert busybox
        make_image(room.folder / "pause.tar", busybox, PAUSE, ("sleep", "100000"))
        containerd.load(room.folder / "pause.tar")
        yield containerd


@pytest.fixture(scope="module")
def kubelet(node: Containerd) -> Kubelet:
    """Who asks it for pods."""
    return Kubelet(node.socket, lambda: node.daemon.said(6))


def test_containerd_takes_the_configuration(node: Containerd, kubelet: Kubelet, oci_runtime: str) -> None:
    dump = succeed(node.room.run("containerd", "--config", str(node.config), "config", "dump"))
    assert "containerd.runtimes.cloche]" in dump
    assert f'BinaryName = "{oci_runtime}"' in dump
    rows = [line.split() for line in succeed(node("plugins", "ls")).splitlines()]
    assert [row[-1] for row in rows if row[:2] == ["io.containerd.grpc.v1", "cri"]] == ["ok"]
    assert kubelet.ask("Version")[2] == [b"containerd"]
    told = kubelet.ask("Status", (1, 1))[2]
    assert any(oci_runtime.encode() in value for value in told if isinstance(value, bytes))


def test_the_runtime_class_names_a_table_of_containerd() -> None:
    (handler,) = re.findall(r"^handler: (\S+)$", DOCUMENT.read_text(), re.MULTILINE)
    assert f"containerd.runtimes.{handler}.options]" in block("toml", "containerd.runtimes.cloche", INSTALLED)


def test_an_unknown_handler_is_refused(kubelet: Kubelet) -> None:
    with pytest.raises(AssertionError, match=r'no runtime for \\+"nothing'):
        kubelet.ask("RunPodSandbox", (1, pod("unknown")), (2, "nothing"))


def test_a_pod(node: Containerd, kubelet: Kubelet) -> None:
    sandbox = kubelet.text("RunPodSandbox", (1, pod("one")), (2, "cloche"))
    script = "trap 'exit 5' TERM; while :; do sleep 0.05; done"
    made = container("box", IMAGE, "sh", "-c", script, limits=((MEMORY, 64 * MIB),))
    identity = kubelet.text("CreateContainer", (1, sandbox), (2, made), (3, pod("one")))
    kubelet.ask("StartContainer", (1, identity))
    assert kubelet.state(identity) == (RUNNING, 0)
    answer = kubelet.ask(
        "ExecSync", (1, identity), (2, "sh"), (2, "-c"), (2, "echo hello; echo no >&2; exit 3"), (3, 20)
    )
    assert (answer[1], answer[2], answer[3]) == ([b"hello\n"], [b"no\n"], [3])
    room = node.room
    assert room.limit(identity, "memory.limit_in_bytes", "memory.max") == str(64 * MIB)
    # the two share what a pod shares
    kinds = "for each in ipc net uts; do readlink /proc/{}/ns/$each; done"
    inside = kubelet.ask("ExecSync", (1, identity), (2, "sh"), (2, "-c"), (2, kinds.format("self")), (3, 20))[1]
    rows = [line.split() for line in succeed(node("task", "ls")).splitlines()]
    (pid,) = [row[1] for row in rows if row[0] == sandbox]
    assert [succeed(room.run("sh", "-c", kinds.format(pid))).encode() + b"\n"] == inside
    kubelet.ask("UpdateContainerResources", (1, identity), (2, encode((MEMORY, 48 * MIB))))
    assert room.limit(identity, "memory.limit_in_bytes", "memory.max") == str(48 * MIB)
    kubelet.ask("StopContainer", (1, identity), (2, 30))
    assert kubelet.state(identity) == (EXITED, 5)
    kubelet.ask("RemoveContainer", (1, identity))
    kubelet.ask("StopPodSandbox", (1, sandbox))
    kubelet.ask("RemovePodSandbox", (1, sandbox))
    assert room.groups(identity) == room.groups(sandbox) == []


def test_docker_takes_the_configuration(oci_runtime: str, archive: Path) -> None:
    require("dockerd", "docker")
    with Room("docker") as room:
        docker = Docker(room, {}, "runc", config=block("json", '"runtimes"', oci_runtime))
        docker.load(archive)
        assert succeed(docker("run", "--rm", "--runtime", "cloche", IMAGE, "echo", "hello")) == "hello"


def test_podman_takes_the_configuration(oci_runtime: str, archive: Path) -> None:
    require("podman", "conmon")
    with Room("podman") as room:
        podman = Podman(room, "", more=block("toml", "[engine.runtimes]", oci_runtime))
        podman.load(archive)
        assert podman.sh("echo hello") == "hello"
        assert oci_runtime in succeed(podman("info", "--format", "{{.Host.OCIRuntime.Path}}"))
        group = "cat /proc/self/cgroup"
        assert "/libpod-" in podman.sh(group, "--cgroupns", "host")
        assert "/libpod-" not in podman.sh(group, "--cgroupns", "host", "--cgroups", "disabled")


def shown(program: str, runtime: str) -> list[list[str]]:
    """The commands of README.md that begin with a program's name, without it, for our runtime and image."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line, comments=True) for each in blocks for line in each.splitlines()]
    names = {"busybox": IMAGE}
    return [
        [names.get(word, word).replace(INSTALLED, runtime) for word in words[1:]]
        for words in lines
        if words[:1] == [program]
    ]


def test_docker_as_the_readme_has_it(oci_runtime: str, archive: Path) -> None:
    require("dockerd", "docker")
    ((option, runtime),) = shown("dockerd", oci_runtime)
    assert option == "--add-runtime"
    name, _, path = runtime.partition("=")
    (words,) = shown("docker", oci_runtime)
    with Room("docker") as room:
        docker = Docker(room, {name: path}, "runc")
        docker.load(archive)
        assert succeed(docker(*words)) == "hello"


def test_podman_as_the_readme_has_it(oci_runtime: str, archive: Path) -> None:
    require("podman", "conmon")
    (words,) = shown("podman", oci_runtime)
    with Room("podman") as room:
        podman = Podman(room, "")
        podman.load(archive)
        assert succeed(podman(*words)) == "hello"
