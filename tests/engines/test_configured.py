"""Configurations and commands of docs/kubernetes.md and README.md are given to the engines as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines.conftest import require
from tests.engines.cri import CriError, call, decode, encode
from tests.engines.daemons import IMAGE, Containerd, Docker, Podman, Room, make_image, succeed

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/kubernetes.md"
README = DOCUMENT.parents[1] / "README.md"
INSTALLED = "/usr/bin/cloche-runtime"
PAUSE = "localhost/pause:1"
MIB = 1 << 20
RUNNING, EXITED = 1, 2
# the pod is in the network of the machine: there are no CNI plugins
NODE = 2


def block(language: str, having: str, runtime: str) -> str:
    """The one block in this language that holds a word, for the runtime under test."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    (text,) = [each for each in found if having in each]
    assert INSTALLED in text
    return str(text).replace(INSTALLED, runtime)


class Kubelet:
    """What a kubelet would do: calls of the CRI service of a containerd."""

    def __init__(self, containerd: Containerd) -> None:
        self.containerd = containerd

    def ask(self, method: str, *fields: tuple[int, int | str | bytes]) -> dict[int, list[int | bytes]]:
        """One call; an error shows the end of containerd's log."""
        try:
            return call(self.containerd.socket, "RuntimeService", method, encode(*fields))
        except CriError as error:
            raise AssertionError(f"{error}; containerd's log ends in:\n{self.containerd.daemon.said(6)}") from error

    def text(self, method: str, *fields: tuple[int, int | str | bytes]) -> str:
        """The first field of an answer, which is text."""
        (value,) = self.ask(method, *fields)[1]
        assert isinstance(value, bytes)
        return value.decode()


@pytest.fixture(scope="module")
def kubelet(oci_runtime: str, archive: Path) -> Iterator[Kubelet]:
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
        yield Kubelet(containerd)


def test_containerd_takes_the_configuration(kubelet: Kubelet, oci_runtime: str) -> None:
    containerd = kubelet.containerd
    dump = succeed(containerd.room.run("containerd", "--config", str(containerd.config), "config", "dump"))
    assert "containerd.runtimes.cloche]" in dump
    assert f'BinaryName = "{oci_runtime}"' in dump
    rows = [line.split() for line in succeed(containerd("plugins", "ls")).splitlines()]
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


def pod(name: str) -> bytes:
    """A PodSandboxConfig in the machine's network."""
    metadata = encode((1, name), (2, f"uid-{name}"), (3, "default"))
    linux = encode((2, encode((1, encode((1, NODE))))))
    return encode((1, metadata), (8, linux))


def container(name: str, *command: str) -> bytes:
    """A ContainerConfig with 64 MiB."""
    linux = encode((1, encode((4, 64 * MIB))), (2, encode((3, encode((1, NODE))))))
    words = [(3, word) for word in command]
    return encode((1, encode((1, name))), (2, encode((1, IMAGE))), *words, (15, linux))


def state(kubelet: Kubelet, identity: str) -> tuple[int, int]:
    """The state and the exit code of a container."""
    (status,) = kubelet.ask("ContainerStatus", (1, identity))[1]
    assert isinstance(status, bytes)
    fields = decode(status)
    return int(fields.get(3, [0])[0]), int(fields.get(7, [0])[0])


def test_a_pod(kubelet: Kubelet) -> None:
    sandbox = kubelet.text("RunPodSandbox", (1, pod("one")), (2, "cloche"))
    made = container("box", "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.05; done")
    identity = kubelet.text("CreateContainer", (1, sandbox), (2, made), (3, pod("one")))
    kubelet.ask("StartContainer", (1, identity))
    assert state(kubelet, identity) == (RUNNING, 0)
    answer = kubelet.ask(
        "ExecSync", (1, identity), (2, "sh"), (2, "-c"), (2, "echo hello; echo no >&2; exit 3"), (3, 20)
    )
    assert (answer[1], answer[2], answer[3]) == ([b"hello\n"], [b"no\n"], [3])
    room = kubelet.containerd.room
    assert room.limit(identity, "memory.limit_in_bytes", "memory.max") == str(64 * MIB)
    # the two share what a pod shares
    kinds = "for each in ipc net uts; do readlink /proc/{}/ns/$each; done"
    inside = kubelet.ask("ExecSync", (1, identity), (2, "sh"), (2, "-c"), (2, kinds.format("self")), (3, 20))[1]
    rows = [line.split() for line in succeed(kubelet.containerd("task", "ls")).splitlines()]
    (pid,) = [row[1] for row in rows if row[0] == sandbox]
    assert [succeed(room.run("sh", "-c", kinds.format(pid))).encode() + b"\n"] == inside
    kubelet.ask("UpdateContainerResources", (1, identity), (2, encode((4, 48 * MIB))))
    assert room.limit(identity, "memory.limit_in_bytes", "memory.max") == str(48 * MIB)
    kubelet.ask("StopContainer", (1, identity), (2, 30))
    assert state(kubelet, identity) == (EXITED, 5)
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
