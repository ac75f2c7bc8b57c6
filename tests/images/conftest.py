"""A registry of Debian's on this machine, and images that umoci and skopeo have made."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import APPLETS, Cli, system_python
from tests.engines.conftest import require
from tests.engines.daemons import Room
from tests.images.forks import Forks
from tests.images.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {top}/data}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"{tls}}}
{auth}
"""


class Registry:
    """A docker-registry, from its start to its end."""

    def __init__(self, top: Path, *, tls: str = "", auth: str = "") -> None:
        self.top = top
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        (top / "config.yml").write_text(CONFIG.format(top=top, port=self.port, tls=tls, auth=auth))
        with (top / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", str(top / "config.yml")], stdout=log, stderr=log, cwd=top
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self.top / "log").read_text()
                time.sleep(0.05)

    def digest(self, name: str, tag: str) -> str:
        """What a tag stands for."""
        kinds = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
        asked = urllib.request.Request(
            f"http://{self.host}/v2/{name}/manifests/{tag}", headers={"Accept": kinds}, method="HEAD"
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return str(answer.headers["Docker-Content-Digest"])

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    made = Registry(tmp_path_factory.mktemp("registry"))
    yield made
    made.close()


SECRET = "ana:$2b$05$m4MM0nqdStK9HjeZkUSLW.UQiH9rcyqrygwfliH1Y63qwgmhW0weW\n"  # secret, by bcrypt


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory, images: Images) -> Iterator[Registry]:
    """A registry with TLS, by a certificate of its own, that lets ana in, whose password is secret; it has box:1."""
    top = tmp_path_factory.mktemp("guarded")
    (top / "users").write_text(SECRET)
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{top}/tls.key", "-out", f"{top}/tls.crt"]
    quietly(*made)
    registry = Registry(
        top,
        tls=f", tls: {{certificate: {top}/tls.crt, key: {top}/tls.key}}",
        auth=f"auth: {{htpasswd: {{realm: test, path: {top}/users}}}}",
    )
    (top / "certs").mkdir()
    shutil.copy(top / "tls.crt", top / "certs/ca.crt")
    where = f"docker://{registry.host}/box:1"
    quietly("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds=ana:secret", f"oci:{images.layout}:box", where)
    yield registry
    registry.close()


def quietly(*words: object) -> None:
    """Run one of the tools that make images."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"


class Images:
    """Images made by umoci in a layout of its own, layer by layer."""

    def __init__(self, top: Path) -> None:
        self.top, self.layout = top, top / "layout"
        quietly("umoci", "init", "--layout", self.layout)

    def make(self, name: str, *changes: Callable[[Path], None], config: tuple[str, ...] = (), base: str = "") -> str:
        """An image with a layer for each change of its tree; returns where skopeo finds it."""
        image = f"{self.layout}:{name}"
        if base:
            quietly("umoci", "tag", "--image", f"{self.layout}:{base}", name)
        else:
            quietly("umoci", "new", "--image", image)
        for index, change in enumerate(changes):
            bundle = self.top / f"{name}-{index}"
            quietly("umoci", "unpack", "--image", image, bundle)
            change(bundle / "rootfs")
            quietly("umoci", "repack", "--image", image, bundle)
            shutil.rmtree(bundle)
        if config:
            quietly("umoci", "config", "--image", image, *config)
        return f"oci:{image}"

    def tree(self, name: str) -> Path:
        """The whole as umoci unpacks it."""
        bundle = self.top / f"{name}-tree"
        if not bundle.exists():
            quietly("umoci", "unpack", "--image", f"{self.layout}:{name}", bundle)
        return bundle / "rootfs"


def busybox(root: Path) -> None:
    """A small system."""
    for name in ("bin", "etc", "tmp", "proc", "sys", "dev", "root"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    found = shutil.which("busybox")
    assert found
    shutil.copy(found, root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nana:x:1000:1000::/home/ana:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nana:x:1000:\n")


def changed(root: Path) -> None:
    """What a later layer may do: remove, replace, add to."""
    (root / "bin/nc").unlink()
    shutil.rmtree(root / "root")
    (root / "root").mkdir()
    (root / "root/new").write_text("new")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "opt/deep/er").mkdir(parents=True)
    os.link(root / "etc/group", root / "opt/deep/er/linked")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    made = Images(tmp_path_factory.mktemp("images"))
    made.make("box", busybox, config=("--config.cmd", "/bin/sh", "--config.env", "WHO=box"))
    made.make("changed", changed, base="box")
    return made


@pytest.fixture(scope="session")
def filled(registry: Registry, images: Images) -> Registry:
    """The registry with box:1 and changed:1 in it."""
    for name in ("box", "changed"):
        quietly(
            "skopeo",
            "copy",
            "--dest-tls-verify=false",
            f"oci:{images.layout}:{name}",
            f"docker://{registry.host}/{name}:1",
        )
    return registry


@pytest.fixture(params=["root", "user", "subuid"])
def fresh(request: pytest.FixtureRequest, shared_dir: Path) -> Iterator[Cli]:
    """The command line as three kinds of user, each with an empty store."""
    if os.geteuid() != 0 and request.param != "user":
        pytest.skip("needs root to become other users")
    made = Cli(request.param, shared_dir / "src", system_python())
    yield made
    shutil.rmtree(made.root)


@pytest.fixture(scope="session")
def workshop(cli: Cli) -> Iterator[Workshop]:
    """docker, podman, a registry and cloche in one room, for all tests that compare them."""
    require("dockerd", "docker", "podman", "conmon", "docker-registry", "runc")
    with Room("images") as room:
        yield Workshop(room, cli)


@pytest.fixture(scope="session")
def quick(cli: Cli) -> Iterator[Forks]:
    """The command line as whoever runs the tests, loaded once."""
    with Forks(cli) as run:
        yield run
