"""Registries that lie, fail or stall: a line that says so, nothing half-done in the store, and the next pull works."""

from __future__ import annotations

import gzip
import json
import os
import re
import select
import shutil
import signal
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloche.images.unpack.worker import Worker
from cloche.linux import files
from tests.images.liar import INDEX, MANIFEST, Handler, Liar, digest_of, tar_of
from tests.integration.terminal import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Cli

    Lie = Callable[[Liar], None]

HTTP = "http:" + "//"
MANIFEST_PATH = "/v2/app/manifests/1"


@pytest.fixture
def store(cli: Cli) -> Iterator[Path]:
    yield Path(cli.root)
    shutil.rmtree(cli.root)


def says(**changes: Any) -> Lie:
    """The manifest with other members."""

    def lie(liar: Liar) -> None:
        content = json.dumps({**liar.document, **changes}).encode()
        liar.replies[MANIFEST_PATH] = lambda request: request.give(200, content)

    return lie


def sends(path: str, content: bytes, status: int = 200, **headers: str) -> Lie:
    """Something else for a path; "" is the layer's."""

    def lie(liar: Liar) -> None:
        liar.replies[path or liar.layer_path] = lambda request: request.give(status, content, **headers)

    return lie


def breaks_off(request: Handler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "100000")
    request.end_headers()
    request.wfile.write(b"x" * 50)
    request.close_connection = True


def without_end(request: Handler) -> None:
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(b" " * 65536)
    except OSError:
        pass
    request.close_connection = True


def replies(path: str, reply: Callable[[Handler], None]) -> Lie:
    def lie(liar: Liar) -> None:
        liar.replies[path or liar.layer_path] = reply

    return lie


def layer_of(**changes: Any) -> Lie:
    """The layer's descriptor with other members."""

    def lie(liar: Liar) -> None:
        liar.document["layers"] = [{**liar.document["layers"][0], **changes}]

    return lie


def index_of(digest: str | None = None) -> Lie:
    def lie(liar: Liar) -> None:
        item = {
            "mediaType": INDEX,
            "digest": digest or digest_of(b"x"),
            "size": 1,
            "platform": {"os": "linux", "architecture": "amd64"},
        }
        content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [item]}).encode()
        liar.replies["*"] = lambda request: request.give(200, content)

    return lie


def in_circles(request: Handler) -> None:
    request.give(302, Location=request.path)


def further(request: Handler) -> None:
    number = int(request.path.rpartition("?")[2] or 0) if "?" in request.path else 0
    request.give(302, Location=f"{request.path.partition('?')[0]}?{number + 1}")


def trickling(request: Handler) -> None:
    request.send_response(302)
    request.send_header("Location", request.path)
    request.end_headers()
    try:
        while True:
            request.wfile.write(b" ")
            time.sleep(0.1)
    except OSError:
        pass
    request.close_connection = True


def stalls(request: Handler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "100000")
    request.end_headers()
    while not select.select([request.connection], [], [], 1)[0]:
        pass
    request.close_connection = True


def drips(request: Handler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "100000")
    request.end_headers()
    try:
        while True:
            request.wfile.write(b"x")
            time.sleep(0.1)
    except OSError:
        pass
    request.close_connection = True


def challenging(liar: Liar) -> None:
    realm = f"http://{liar.host}/token"
    liar.replies["/token"] = lambda request: request.give(200, b'{"token": "x"}')
    liar.replies[MANIFEST_PATH] = lambda request: request.give(
        401, WWW_Authenticate=f'Bearer realm="{realm}?{time.monotonic()}"'
    )


LIES: dict[str, tuple[Lie, str]] = {
    "another blob": (sends("", b"something else"), "not sha256:"),
    "a blob that is too short": (sends("", b""), "not sha256:"),
    "a blob that is too long": (layer_of(size=10), "longer than the 10 bytes"),
    "a blob that breaks off": (replies("", breaks_off), "breaks off|not sha256:|longer than"),
    "a blob without end": (replies("", without_end), "longer than"),
    "no blob": (sends("", b"{}", 404), "is not in the registry"),
    "a blob nobody may have": (sends("", b'{"errors":[{"message":"no, \\u001b[31mno"}]}', 403), "does not let us"),
    "HTML for a manifest": (
        sends(MANIFEST_PATH, b"<html>hello</html>", Content_Type="text/html"),
        "manifest that is none",
    ),
    "nothing for a manifest": (sends(MANIFEST_PATH, b""), "manifest that is none"),
    "a list for a manifest": (sends(MANIFEST_PATH, b"[]"), "is no object"),
    "a manifest without end": (replies(MANIFEST_PATH, without_end), "longer than"),
    "a manifest that breaks off": (replies(MANIFEST_PATH, breaks_off), "broke off"),
    "a manifest with another digest": (
        sends(MANIFEST_PATH, b"{}", Docker_Content_Digest=digest_of(b"x")),
        "not what was asked for",
    ),
    "a manifest with no digest": (sends(MANIFEST_PATH, b"{}", Docker_Content_Digest="../../x"), "digest"),
    "a manifest that is an index as well": (says(manifests=[]), "manifest and an index at once"),
    "a manifest sent as an index": (
        lambda liar: sends(MANIFEST_PATH, liar.manifest, Content_Type=INDEX)(liar),
        "was sent as",
    ),
    "a manifest of schema 1": (says(schemaVersion=1), "schema 1"),
    "a manifest of schema 3": (says(schemaVersion=3), "must be 2"),
    "a manifest without layers' digests": (says(layers=[{"mediaType": "x", "size": 1}]), "digest"),
    "a digest that leads elsewhere": (layer_of(digest="sha256:../../../../etc/passwd"), "is not a digest"),
    "a digest nobody can check": (layer_of(digest="md5:" + "0" * 32), "digest"),
    "a size below 0": (layer_of(size=-1), "below 0"),
    "a size that is no number": (layer_of(size="10"), "number"),
    "a thousand layers too many": (
        lambda liar: says(layers=liar.document["layers"] * 1001)(liar),
        "1000 is the most",
    ),
    "more layers than the config has": (lambda liar: says(layers=liar.document["layers"] * 2)(liar), "2 layers"),
    "a config that is too large": (
        lambda liar: says(config={**liar.document["config"], "size": 1 << 40})(liar),
        "is the most",
    ),
    "an index that holds itself": (index_of(), "not what was asked for"),
    "an index for others": (
        sends(
            MANIFEST_PATH,
            json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": INDEX,
                    "manifests": [
                        {
                            "mediaType": MANIFEST,
                            "digest": digest_of(b""),
                            "size": 1,
                            "platform": {"os": "plan9", "architecture": "vax"},
                        }
                    ],
                }
            ).encode(),
        ),
        "nothing for the platform",
    ),
    "a redirect that is no address": (sends(MANIFEST_PATH, b"", 302, Location=f"{HTTP}[bad/"), "no address"),
    "a redirect with a body without end": (replies(MANIFEST_PATH, trickling), "in a circle"),
    "a challenge that is no address": (
        sends(MANIFEST_PATH, b"", 401, WWW_Authenticate=f'Bearer realm="{HTTP}[x/"'),
        "no place on the web",
    ),
    "another challenge each time": (challenging, "again and again"),
    "a time to come back that is none": (
        sends(MANIFEST_PATH, b"", 429, Retry_After="Mon, 01 Jan 99999999999999999999 00:00:00 GMT"),
        "come back later",
    ),
    "redirects in a circle": (replies(MANIFEST_PATH, in_circles), "in a circle"),
    "redirects without end": (replies(MANIFEST_PATH, further), "more than 10 times"),
    "a redirect to a file": (sends(MANIFEST_PATH, b"", 302, Location="file:///etc/passwd"), "no place on the web"),
    "a challenge with no place": (
        sends(MANIFEST_PATH, b"", 401, WWW_Authenticate='Bearer realm="file:///etc/passwd"'),
        "no place on the web",
    ),
    "a challenge nobody knows": (sends(MANIFEST_PATH, b"", 401, WWW_Authenticate="Negotiate"), "does not let us"),
    "a challenge without end": (
        sends(MANIFEST_PATH, b"", 401, WWW_Authenticate='Bearer realm="' + "x" * 2000),
        "no place on the web",
    ),
    "too many requests, for an hour": (sends(MANIFEST_PATH, b"", 429, Retry_After="3600"), "come back later"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie(cli: Cli, store: Path, name: str) -> None:
    lie, expected = LIES[name]
    with Liar() as liar:
        before = json.dumps(liar.document)
        lie(liar)
        done = cli("pull", liar.name, timeout=60)
        assert done.returncode == 1, done.stdout
        first, *rest = done.stderr.splitlines()
        assert first.startswith("cloche: ")
        assert re.search(expected, first), first
        assert all(line.startswith("  hint: ") for line in rest), done.stderr
        assert "\x1b" not in done.stderr
        assert json.loads((store / "index.json").read_text())["manifests"] == []
        assert not list((store / "layers/sha256").iterdir())
        liar.replies.clear()
        liar.document = json.loads(before)
        done = cli("pull", "-q", liar.name)
        assert done.returncode == 0, done.stderr
        assert (store / "layers/sha256" / next(iter(os.listdir(store / "layers/sha256"))) / "fs/file").exists()


def bad_layers() -> dict[str, tuple[bytes, str]]:
    tar = tar_of(file=b"content" * 5000)
    packed = gzip.compress(tar, mtime=0)
    bomb = zlib.compressobj(9, wbits=31)
    return {
        "another tar": (gzip.compress(tar_of(other=b"x")), "not what the image's config says"),
        "no tar": (gzip.compress(b"hello" * 500), "is no tar|number"),
        "broken gzip": (packed[:40] + b"\0\0\0\0" + packed[44:], "gzip"),
        "half a gzip": (packed[: len(packed) // 2], "middle"),
        "half a tar": (gzip.compress(tar[:1000]), "middle"),
        "nothing": (b"", "not what the image's config says"),
        "zeros without end": (bomb.compress(bytes(64 << 20)) + bomb.flush(), "not what the image's config says"),
        "a name that leads out": (gzip.compress(tar_of(**{"../../x": b""})), "leads out"),
    }


@pytest.mark.parametrize("name", bad_layers())
def test_a_layer_that_is_none(cli: Cli, store: Path, name: str) -> None:
    layer, expected = bad_layers()[name]
    with Liar(layer=layer) as liar:
        done = cli("pull", liar.name)
        assert done.returncode == 1, done.stdout
        assert re.search(expected, done.stderr), done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert json.loads((store / "index.json").read_text())["manifests"] == []
        assert not list((store / "layers/sha256").iterdir())
        assert [path.name for path in (store / "incoming").iterdir()] == []


def test_a_download_that_breaks_off_goes_on(cli: Cli, store: Path) -> None:
    with Liar() as liar:
        times = []

        def half(request: Handler) -> None:
            times.append(request.headers.get("Range"))
            start = int((request.headers.get("Range") or "bytes=0-")[6:-1])
            if len(times) < 3:
                request.send_response(206 if start else 200)
                if start:
                    request.send_header("Content-Range", f"bytes {start}-{len(liar.layer) - 1}/{len(liar.layer)}")
                request.send_header("Content-Length", str(len(liar.layer) - start))
                request.end_headers()
                request.wfile.write(liar.layer[start : start + 50])
                request.close_connection = True
            else:
                whole = f"bytes {start}-{len(liar.layer) - 1}/{len(liar.layer)}"
                request.give(206, liar.layer[start:], Content_Range=whole)

        liar.replies[liar.layer_path] = half
        assert cli("pull", "-q", liar.name).returncode == 0
        assert times == [None, "bytes=50-", "bytes=100-"]
        assert store.exists()


def test_a_storm_that_passes(cli: Cli, store: Path) -> None:
    with Liar() as liar:
        times: list[float] = []

        def later(request: Handler) -> None:
            times.append(time.monotonic())
            if len(times) == 1:
                request.give(503)
            elif len(times) == 2:
                request.give(429, Retry_After="1")
            else:
                request.give(200, liar.manifest)

        liar.replies[MANIFEST_PATH] = later
        assert cli("pull", "-q", liar.name).returncode == 0
        assert len(times) == 3
        assert times[2] - times[1] >= 1
        assert store.exists()


def test_a_password_is_not_told_to_others(cli: Cli, store: Path, tmp_path: Path) -> None:
    """A redirect elsewhere is followed without it (SECURITY: credentials on redirect)."""
    with Liar() as other, Liar() as liar:
        (tmp_path / "auth.json").write_text(json.dumps({"auths": {liar.host: {"auth": "YW5hOnNlY3JldA=="}}}))

        def asks(request: Handler) -> None:
            if request.headers.get("Authorization") != "Basic YW5hOnNlY3JldA==":
                request.give(401, WWW_Authenticate='Basic realm="x"')
            else:
                request.give(200, liar.manifest)

        liar.replies[MANIFEST_PATH] = asks
        liar.replies[liar.layer_path] = lambda request: request.give(307, Location=f"http://{other.host}{request.path}")
        env = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
        done = cli("pull", "-q", liar.name, env=env)
        assert done.returncode == 0, done.stderr
        assert other.asked
        assert not any("Authorization" in headers for _, headers in other.asked)
        assert any(headers.get("Authorization") for _, headers in liar.asked)
        assert store.exists()


def test_two_pulls_do_the_work_once(cli: Cli, store: Path) -> None:
    with Liar() as liar:

        def slowly(request: Handler) -> None:
            time.sleep(1)
            request.give(200, liar.layer)

        liar.replies[liar.layer_path] = slowly
        both = [cli.popen("pull", "-q", liar.name) for _ in range(2)]
        assert [child.wait(60) for child in both] == [0, 0]
        assert [path for path, _ in liar.asked].count(liar.layer_path) == 1
        assert store.exists()


def two_platforms(liar: Liar) -> dict[str, str]:
    """Have the liar send an index that names no platforms; returns the digests of its manifests by architecture."""
    found, items = {}, []
    for architecture in ("arm64", "amd64"):
        config = json.dumps({**json.loads(liar.config), "architecture": architecture}).encode()
        part = {**liar.document["config"], "digest": digest_of(config), "size": len(config)}
        content = json.dumps({**liar.document, "config": part}).encode()
        found[architecture] = digest_of(content)
        items.append({"mediaType": MANIFEST, "digest": digest_of(content), "size": len(content)})
        sends(f"/v2/app/manifests/{digest_of(content)}", content)(liar)
        sends(f"/v2/app/blobs/{digest_of(config)}", config)(liar)
    sends(MANIFEST_PATH, json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": items}).encode())(liar)
    return found


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_an_index_that_names_no_platforms(cli: Cli, store: Path, architecture: str) -> None:
    """What its images are for is in their configs, as containerd has it."""
    with Liar() as liar:
        manifests = two_platforms(liar)
        done = cli("pull", "-q", "--platform", f"linux/{architecture}", liar.name)
        assert done.returncode == 0, done.stderr
        assert json.loads((store / "index.json").read_text())["manifests"][0]["digest"] == manifests[architecture]
        done = cli("pull", "-q", "--platform", "linux/s390x", liar.name)
        assert done.returncode == 1
        assert "hint: there is linux/amd64, linux/arm64/v8" in done.stderr.replace("arm64:", "arm64/v8:")


def test_an_index_without_platforms_or_end(cli: Cli, store: Path) -> None:
    with Liar() as liar:
        items = [{"mediaType": MANIFEST, "digest": digest_of(b"%d" % i), "size": 1} for i in range(1000)]
        sends(MANIFEST_PATH, json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": items}).encode())(liar)
        done = cli("pull", "-q", liar.name)
        assert done.returncode == 1
        assert "nothing for the platform" in done.stderr
        assert len(liar.asked) < 30
        assert store.exists()


def test_an_image_of_another_platform(cli: Cli, store: Path) -> None:
    """One that was asked for and is not there is an error; one that is all there is, a warning."""
    with Liar(config={"architecture": "s390x"}) as liar:
        done = cli("pull", "-q", "--platform", "linux/arm64", liar.name)
        assert done.returncode == 1
        assert "nothing for the platform linux/arm64/v8: its image is for linux/s390x" in done.stderr
        assert liar.layer_path not in [path for path, _ in liar.asked]
        assert json.loads((store / "index.json").read_text())["manifests"] == []
        done = cli("pull", "-q", liar.name)
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith(f"cloche: {liar.name} is for linux/s390x, this machine is linux/")


def test_a_layer_named_by_sha512(cli: Cli, store: Path) -> None:
    rootfs = {"type": "layers", "diff_ids": ["sha512:" + "0" * 128]}
    with Liar(config={"rootfs": rootfs}) as liar:
        done = cli("pull", liar.name)
        assert done.returncode == 1
        assert "layers that the image's config names by sha256" in done.stderr
        assert json.loads((store / "index.json").read_text())["manifests"] == []


@pytest.mark.parametrize("slow", [stalls, drips])
def test_ctrl_c(cli: Cli, store: Path, slow: Callable[[Handler], None]) -> None:
    """While layers are on their way, and workers wait for them: all of it ends at once, and says nothing of it."""
    with Liar() as liar:
        liar.replies[liar.layer_path] = slow
        with Emulator.of(
            cli, "pull", liar.name, CLOCHE_ROOT=cli.root, CONTAINERS_REGISTRIES_CONF="/dev/null"
        ) as terminal:
            terminal.until("Pulling from")
            while liar.layer_path not in [path for path, _ in liar.asked]:
                time.sleep(0.01)
            terminal.type("\x03")
            assert terminal.ended() == 130
            shown = terminal.seen.decode()
            session = terminal.pid
        assert "Traceback" not in shown
        assert "KeyboardInterrupt" not in shown
        assert not [pid for pid in filter(str.isdecimal, os.listdir("/proc")) if session_of(pid) == session]
        del liar.replies[liar.layer_path]
        assert cli("pull", liar.name).returncode == 0
    assert store.exists()


def test_a_worker_hears_of_no_ctrl_c(tmp_path: Path) -> None:
    """From its first moment: its caller hears, and ends it."""
    (tmp_path / "tree/in/it").mkdir(parents=True)
    for pause in (0, 0.02, 0.2):
        worker = Worker()
        time.sleep(pause)
        os.kill(worker._process.pid, signal.SIGINT)
        with files.Fd(os.open(tmp_path, os.O_RDONLY)) as place:
            worker.remove(place.number, "tree")
        worker.close()
    assert not (tmp_path / "tree").exists()


def session_of(pid: str) -> int:
    """The session that a process is in, 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0
    return int(fields[3])
