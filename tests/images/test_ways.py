"""By which way a registry is reached, and what comes that way: proxies, certificates, limits, kinds of layers."""

from __future__ import annotations

import io
import json
import os
import shutil
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.images.registry.transport import proxy_for
from tests.images.conftest import Images, Registry, busybox, quietly
from tests.images.liar import Liar, digest_of
from tests.images.modern import Modern
from tests.images.relay import Relay
from tests.images.test_registry_api import at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli
    from tests.images.liar import Handler

HTTP = "http:" + "//"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A store, logins and registries.conf of the test's own."""
    (tmp_path / "registries.conf").write_text("")
    return {
        "CLOCHE_ROOT": str(tmp_path / "store"),
        "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json"),
        "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf"),
    }


def through(relay: Relay) -> dict[str, str]:
    return {"http_proxy": HTTP + relay.host, "https_proxy": HTTP + relay.host}


def test_a_proxy(cli: Cli, filled: Registry, env: dict[str, str]) -> None:
    """Asked with whole addresses for what is plain; what is fetched and sent arrives."""
    with Relay(filled.host) as relay:
        more = {**env, **through(relay)}
        name = "registry.invalid/box:1"
        done = cli("pull", "-q", "--tls-verify=false", name, env=more)
        assert done.returncode == 0, done.stderr
        assert relay.seen[0] == ("CONNECT", "registry.invalid:443")  # whether it speaks TLS
        assert ("GET", "registry.invalid") in relay.seen
        new = f"registry.invalid/relayed/{os.getpid()}:1"
        assert cli("tag", name, new, env=env).returncode == 0
        assert cli("push", "-q", "--tls-verify=false", new, env=more).returncode == 0
        assert ("PUT", "registry.invalid") in relay.seen
        seen = len(relay.seen)
        for no_proxy in (".invalid", "registry.invalid"):
            direct = cli("pull", "--tls-verify=false", name, env={**more, "no_proxy": no_proxy})
            assert "registry.invalid cannot be reached" in direct.stderr
        assert len(relay.seen) == seen


def test_a_tunnel(cli: Cli, guarded: Registry, env: dict[str, str]) -> None:
    """The password goes through it where nobody sees it; this machine is not asked by way of a proxy."""
    words = ("pull", "-q", "--tls-verify=false", "--creds", "ana:secret")
    with Relay(guarded.host) as relay:
        assert cli(*words, "registry.invalid/box:1", env={**env, **through(relay)}).returncode == 0
        assert {method for method, _ in relay.seen} == {"CONNECT"}
        relay.seen.clear()
        assert cli(*words, f"{guarded.host}/box:1", env={**env, **through(relay)}).returncode == 0
        assert relay.seen == []


def test_a_proxy_with_a_password(cli: Cli, filled: Registry, guarded: Registry, env: dict[str, str]) -> None:
    """It is for the proxy, and not shown where that refuses it."""
    words = ("pull", "-q", "--tls-verify=false", "--creds", "ana:secret", "registry.invalid/box:1")
    for target in (filled.host, guarded.host):
        with Relay(target, "ana:hunter@2") as relay:
            address = f"{HTTP}ana:hunter%402@{relay.host}"
            assert cli(*words, env={**env, "http_proxy": address, "https_proxy": address}).returncode == 0
            done = cli(*words, env={**env, **through(relay)})
            assert done.returncode == 1
            assert "407" in done.stderr
            done = cli(*words, env={**env, "https_proxy": f"{HTTP}ana:hunter3@{relay.host}"})
            assert done.returncode == 1
            assert "hunter3" not in done.stderr


def test_a_proxy_that_is_not_there(cli: Cli, env: dict[str, str]) -> None:
    done = cli("pull", "registry.invalid/box:1", env={**env, "https_proxy": HTTP + "localhost:1"})
    assert done.returncode == 1
    first, hint = done.stderr.splitlines()
    assert "https://registry.invalid cannot be reached through the proxy" in first
    assert "https_proxy" in hint


@pytest.mark.parametrize(
    ("netloc", "no_proxy", "expected"),
    [
        ("example.com", "", HTTP + "proxy.example.com:3128"),
        ("example.com", "other.com", HTTP + "proxy.example.com:3128"),
        ("example.com", "example.com", ""),
        ("a.example.com", "other, .example.com", ""),
        ("example.com:5000", "example.com:5000", ""),
        ("example.com:5000", "example.com:5001", HTTP + "proxy.example.com:3128"),
        ("10.1.2.3:5000", "192.168.0.0/16,10.0.0.0/8", ""),
        ("11.1.2.3:5000", "10.0.0.0/8, /, x/y", HTTP + "proxy.example.com:3128"),
        ("example.com", "*", ""),
        ("localhost:5000", "", ""),
        ("127.0.0.2:5000", "", ""),
    ],
)
def test_who_is_asked_directly(netloc: str, no_proxy: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "proxy.example.com:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert proxy_for("https", netloc, netloc.partition(":")[0]) == expected
    assert proxy_for("http", netloc, netloc.partition(":")[0]) == ""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, images: Images) -> Iterator[Registry]:
    """A registry that lets in who shows a certificate of its authority; it has box:1, and certs/ what it takes."""
    top = tmp_path_factory.mktemp("strict")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    for name, subject in (("tls", "127.0.0.1"), ("ana", "ana")):
        files = ["-subj", f"/CN={subject}", "-keyout", f"{top}/{name}.key", "-out", f"{top}/{name}.crt"]
        quietly(*made, *files, "-addext", "subjectAltName=IP:127.0.0.1")
    tls = f", tls: {{certificate: {top}/tls.crt, key: {top}/tls.key, clientcas: [{top}/ana.crt]}}"
    registry = Registry(top, tls=tls)
    (top / "certs").mkdir()
    shutil.copy(top / "tls.crt", top / "certs/ca.crt")
    shutil.copy(top / "ana.crt", top / "certs/client.cert")
    shutil.copy(top / "ana.key", top / "certs/client.key")
    where = f"docker://{registry.host}/box:1"
    quietly("skopeo", "copy", f"--dest-cert-dir={top}/certs", f"oci:{images.layout}:box", where)
    yield registry
    registry.close()


def test_who_we_are_by_a_certificate(cli: Cli, strict: Registry, env: dict[str, str], tmp_path: Path) -> None:
    name = f"{strict.host}/box:1"
    words = ("--tls-verify=true", "--cert-dir", str(strict.top / "certs"))
    assert cli("pull", "-q", *words, name, env=env).returncode == 0
    assert cli("tag", name, f"{strict.host}/new:1", env=env).returncode == 0
    assert cli("push", "-q", *words, f"{strict.host}/new:1", env=env).returncode == 0
    shutil.copytree(strict.top / "certs", tmp_path / "certs")
    words = ("--tls-verify=true", "--cert-dir", str(tmp_path / "certs"))
    (tmp_path / "certs/client.key").unlink()
    done = cli("pull", *words, name, env=env)
    assert f"the certificate {tmp_path}/certs/client.cert cannot be used" in done.stderr
    (tmp_path / "certs/client.cert").unlink()
    done = cli("pull", *words, name, env=env)
    assert done.returncode == 1
    first, hint = done.stderr.splitlines()
    assert "wants to know by a certificate who we are" in first
    assert ".cert" in hint


def test_a_limit_that_passes(modern: Modern) -> None:
    """Both ways to say when to come back, for what is sent as well."""
    times: list[str] = []

    def later(request: Handler) -> None:
        request.body()
        times.append(request.command)
        del modern.replies[request.path.partition("?")[0]]
        when = formatdate(usegmt=True) if len(times) % 2 else "0"
        request.give(429, Retry_After=when)

    content = os.urandom(5000)
    for path in ("/v2/app/blobs/uploads/", "/v2/app/blobs/uploads/1", "/v2/app/manifests/1", "/v2/app/tags/list"):
        modern.replies[path] = later
    repository = at(modern.host, "app")
    assert repository.push_blob(digest_of(content), len(content), io.BytesIO(content)) == "pushed"
    assert modern.blobs["app", digest_of(content)] == content
    document = json.dumps(
        {"schemaVersion": 2, "config": {"mediaType": "x", "digest": digest_of(content), "size": 5000}}
    )
    repository.push_manifest("1", json.dumps({**json.loads(document), "layers": []}).encode(), "application/json")
    assert repository.tags() == ["1"]
    assert times == ["POST", "PUT", "PUT", "GET"]  # each refused once


@pytest.fixture
def modern() -> Iterator[Modern]:
    with Modern() as made:
        yield made


def small(root: Path) -> None:
    """A system that no registry has yet: skopeo would take its layer from there, as it is compressed there."""
    busybox(root)
    (root / "unique").write_bytes(os.urandom(8))


def test_layers_of_zstd(cli: Cli, filled: Registry, images: Images, env: dict[str, str], tmp_path: Path) -> None:
    name = f"{filled.host}/zstd/{os.getpid()}:1"
    quietly("skopeo", "copy", "--dest-decompress", images.make("small", small), f"dir:{tmp_path}/plain")
    compress = ("--dest-compress-format", "zstd", "--dest-tls-verify=false")
    quietly("skopeo", "copy", *compress, f"dir:{tmp_path}/plain", f"docker://{name}")
    kinds = {layer["mediaType"] for layer in json.loads(cli("manifest", "inspect", name, env=env).stdout)["layers"]}
    assert kinds == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    assert cli("pull", "-q", name, env=env).returncode == 0
    assert cli("run", "--rm", name, "/bin/busybox", "echo", "here", env=env).stdout == "here\n"


def test_a_foreign_layer(cli: Cli, modern: Modern, env: dict[str, str]) -> None:
    """Taken from the registry where it has it; its own address is never asked, and it is not given away."""
    with Liar() as liar, Liar() as elsewhere:
        address = f"{HTTP}{elsewhere.host}/layer"
        liar.document["layers"] = [{**liar.document["layers"][0], "mediaType": FOREIGN, "urls": [address]}]
        liar.replies[liar.layer_path] = lambda request: request.give(404)
        done = cli("pull", liar.name, env=env)
        assert done.returncode == 1
        first, hint = done.stderr.splitlines()
        assert f"the layer {digest_of(liar.layer)} of {liar.host}/app is foreign" in first
        assert address in first
        assert "hint: have it pushed with all its layers" in hint
        liar.replies.clear()
        assert cli("pull", "-q", liar.name, env=env).returncode == 0
        assert elsewhere.asked == []
        assert cli("tag", liar.name, f"{modern.host}/app:1", env=env).returncode == 0
        assert cli("push", "-q", f"{modern.host}/app:1", env=env).returncode == 0
        assert set(modern.blobs) == {("app", digest_of(liar.config))}
        del liar.document["layers"][0]["urls"]
        assert cli("pull", "-q", liar.name, env=env).returncode == 0
        assert cli("tag", liar.name, f"{modern.host}/app:2", env=env).returncode == 0
        assert cli("push", "-q", f"{modern.host}/app:2", env=env).returncode == 0
        assert ("app", digest_of(liar.layer)) in modern.blobs
