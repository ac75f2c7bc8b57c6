"""A root file system as a tar becomes an image, and an image's files a tar: nothing of it is lost on the way."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloche.images.merged import walk
from cloche.images.platforms import parse_platform
from tests.images.liar import digest_of, tar_of
from tests.images.rich import rich
from tests.images.test_engines_archives import blobs, config_of

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.images.forks import Forks
    from tests.images.workshop import Workshop

EPOCH = {"SOURCE_DATE_EPOCH": "1600000000"}
CHANGES = (
    'CMD ["a", "b c"]',
    "ENTRYPOINT run $me",
    "ENV A=1 B='x y' C=\"$A\"",
    "ENV D $A-${B:-none} e",
    "EXPOSE 80 90/udp",
    "HEALTHCHECK --interval=1m30s --retries=2 CMD test -e /x",
    'LABEL one=1 "two words"="$A"',
    "ONBUILD RUN make",
    "USER 5:6",
    'VOLUME ["/v", "/w x"]',
    "WORKDIR a",
    "WORKDIR ../b",
)
MISSING = "cloche: not in the export, as they could not be made for this user:"
Member = tuple[object, ...]
WEB = "http:" + "//"


def members(archive: bytes) -> dict[str, Member]:
    """What a tar says of each name; links under the name they lead to first in it."""
    found: dict[str, Member] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), encoding="utf-8", errors="surrogateescape") as made:
        for item in made:
            file = made.extractfile(item) if item.isreg() else None
            content = hashlib.sha256(file.read()).hexdigest() if file else ""
            xattrs = {key: value for key, value in item.pax_headers.items() if key.startswith("SCHILY.xattr.")}
            numbers = (
                item.mode if not item.issym() else 0,
                item.uid,
                item.gid,
                item.size,
                item.devmajor,
                item.devminor,
            )
            time = item.pax_headers.get("mtime", str(int(item.mtime)))
            found[item.name] = (item.type, *numbers, time, item.linkname, xattrs, content)
    return found


def export(who: Cli, name: str, told: str = "") -> bytes:
    """The tar of an image; `told` is what is said on the side."""
    argv = [*who.argv, "export", name]
    env = {"PATH": os.environ["PATH"], "CLOCHE_ROOT": who.root, "HOME": "/"}
    done = subprocess.run(argv, capture_output=True, check=False, env=env, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.decode() == told
    return done.stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("rich") / "rich.tar"
    rich(path, far=False)
    return path.read_bytes()


def test_there_and_back(fresh: Cli, archive: bytes) -> None:
    """Byte by byte from the second time on; what an ordinary user could not make is said, and nothing else missing."""
    done = fresh("import", "-", "one:1", input=archive)
    assert done.returncode == 0, done.stderr
    told = {
        "root": "",
        "user": f"{MISSING} device nodes (2), the attribute system.posix_acl_access (1)\n",
        "subuid": f"{MISSING} device nodes (2)\n",
    }
    first = export(fresh, "one:1", told[fresh.kind])
    assert export(fresh, "one:1", told[fresh.kind]) == first
    before, after = members(archive), members(first)
    missing = {name for name in before if name not in after}
    assert missing == (set() if fresh.kind == "root" else {"null", "disk"})
    assert set(after) <= set(before)
    changed = {name for name in after if after[name] != before[name]}
    # an owner can be written down for files and directories
    assert changed == ({"owned-link", "listed"} if fresh.kind == "user" else set())
    again = fresh("import", "-", "two:1", input=first)
    assert again.returncode == 0, again.stderr
    assert export(fresh, "two:1") == first


def layered() -> bytes:
    """An archive with an image of three layers, of which each hides something of those below."""

    def layer(*names: str) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
            for name in names:
                info = tarfile.TarInfo(name.rstrip("/"))
                info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                info.mode, info.uid, info.mtime = 0o750, 7, 1_600_000_000
                made.addfile(info)
        return out.getvalue()

    layers = [
        layer(
            "./",
            "a/",
            "a/low",
            "a/hidden",
            "b/",
            "b/x",
            "c",
            "d/",
            "d/deep/",
            "d/deep/er",
            "e/",
            "e/f",
            "implied/in/it",
        ),
        layer("a/", "a/.wh.hidden", "a/middle", "b/", "b/.wh..wh..opq", "b/y", ".wh.c", ".wh.d", "e"),
        layer("a/", "a/hidden", "d/", "d/new", ".wh.e", "b/z"),
    ]
    listed = [{"Config": "c", "RepoTags": ["layered:1"], "Layers": ["0", "1", "2"]}]
    contents = {str(index): content for index, content in enumerate(layers)}
    return tar_of(**{"c": config_of(*layers), **contents, "manifest.json": json.dumps(listed).encode()})


def test_layers_become_one(fresh: Cli) -> None:
    assert fresh("load", input=layered()).returncode == 0
    made = export(fresh, "layered:1")
    whole = ". a a/hidden a/low a/middle b b/y b/z d d/new implied implied/in implied/in/it"
    assert sorted(members(made)) == whole.split()
    assert {name: item[2] for name, item in members(made).items() if item[2] != 7} == {"implied": 0, "implied/in": 0}
    fresh("import", "-", "flat:1", input=made)
    assert export(fresh, "flat:1") == made
    # what no entry speaks of does not depend on when it was made
    assert members(made)["implied/in"][7] == "0"


@pytest.mark.parametrize("seed", range(3))
def test_the_same_as_overlayfs(seed: int, tmp_path: Path) -> None:
    """Directories made at random, seen by us and by the kernel."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")
    chance = random.Random(seed)
    layers = [tmp_path / f"layer{index}" for index in range(6)]
    for layer in layers:
        layer.mkdir()
        grow(layer, chance, 3)
    fds = [os.open(layer, os.O_RDONLY) for layer in layers]
    try:
        ours = sorted(
            f"{os.fsdecode(node.path)} {node.status.st_mode:o} {node.layer if node.name != b'.' else ''}"
            for node in walk(fds, "user.overlay.opaque")
        )
    finally:
        for fd in fds:
            os.close(fd)
    whole = tmp_path / "whole"
    whole.mkdir()
    looked = (
        "import os, sys\n"
        "for folder, names, others in os.walk('.'):\n"
        "    for name in ['', *names, *others] if folder == '.' else names + others:\n"
        "        path = os.path.normpath(os.path.join(folder, name))\n"
        # a whiteout in a directory of one layer is listed, and is not there
        "        if not os.path.lexists(path): continue\n"
        "        status = os.lstat(path)\n"
        "        kind = '' if status.st_mode & 0o170000 == 0o040000 else int(status.st_mtime)\n"
        "        print('' if path == '.' else path, f'{status.st_mode:o}', kind)\n"
    )
    lower = ":".join(str(layer) for layer in layers)
    script = 'mount -t overlay overlay -o "userxattr,lowerdir=$1" "$2" && cd "$2" && exec "$3" -c "$4"'
    argv = ["unshare", "-m", "sh", "-ec", script, "sh", lower, str(whole), sys.executable, looked]
    theirs = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert theirs.returncode == 0, theirs.stderr
    assert len(ours) > 10
    assert ours == sorted(theirs.stdout.splitlines())


def grow(folder: Path, chance: random.Random, depth: int) -> None:
    """Fill a layer's directory; the time of a file is the number of its layer."""
    number = int(next(part for part in folder.parts if part.startswith("layer")).removeprefix("layer"))
    for name in "abcd":
        place = folder / name
        kind = chance.choice("nothing directory directory opaque file whiteout link".split())
        if kind in {"directory", "opaque"} and depth:
            place.mkdir(mode=chance.choice((0o755, 0o700, 0o1777)))
            if kind == "opaque":
                os.setxattr(place, "user.overlay.opaque", b"y")
            grow(place, chance, depth - 1)
        elif kind == "file":
            place.touch()
        elif kind == "link":
            place.symlink_to(chance.choice(("..", "/", "a", "nowhere")))
        elif kind == "whiteout":
            os.mknod(place, 0o020000, 0)
        else:
            continue
        if kind in {"file", "link"}:
            os.utime(place, (number, number), follow_symlinks=False)


def test_docker_imports_the_same(workshop: Workshop, archive: bytes) -> None:
    """Its config but for who made it, its layer, and what it says of where it comes from."""
    store = workshop.store()
    (workshop.folder / "in.tar").write_bytes(archive)
    changes = " ".join(f"-c {quoted(change)}" for change in CHANGES)
    script = f"PROGRAM import {changes} -m 'by hand' in.tar made:1; PROGRAM image inspect made:1"
    found = []
    for program in ("docker", "cloche"):
        made, _, told = workshop.sh(script.replace("PROGRAM", program), store).partition("\n")
        found.append(json.loads(told)[0])
        assert found[-1]["Id"] == made
    theirs, ours = found
    assert said(ours["Config"]) == said(theirs["Config"])
    assert len(said(ours["Config"])) == 10
    for member in ("RootFS", "Architecture", "Os", "Comment", "Parent", "Author"):
        assert ours[member] == theirs[member], member


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def said(config: dict[str, Any]) -> dict[str, Any]:
    """What is not empty."""
    return {key: value for key, value in config.items() if value not in (None, "", [], {}, False)}


def test_docker_imports_what_was_exported(workshop: Workshop, archive: bytes) -> None:
    store = workshop.store()
    (workshop.folder / "in.tar").write_bytes(archive)
    script = (
        "cloche import in.tar there:1 >&2; cloche export there:1 | docker import - there:2 >&2;"
        "docker save there:2 | cloche load >&2; cloche export there:1 | sha256sum; cloche export there:2 | sha256sum"
    )
    one, two = workshop.sh(script, store).splitlines()
    assert one == two


def test_the_same_tar_gives_the_same_image(quick: Forks, archive: bytes, tmp_path: Path) -> None:
    """However it is compressed, by whichever store; the time is what differs, unless that is said."""
    path = tmp_path / "root.tar"
    path.write_bytes(archive)
    found = []
    for index, program in enumerate(("cat", "zstd", "xz")):
        packed = subprocess.run([program], input=archive, capture_output=True, check=True).stdout
        env = {"CLOCHE_ROOT": str(tmp_path / f"store{index}"), **EPOCH}
        done = quick.fed("import", "-", "a:1", input=packed, env=env)
        assert done.returncode == 0, done.stderr
        found.append((done.stdout, sorted(blobs(tmp_path / f"store{index}"))))
    assert all(item == found[0] for item in found)
    assert len(found[0][1]) == 3
    env = {"CLOCHE_ROOT": str(tmp_path / "store0")}
    made = quick("import", str(path), env=env | EPOCH)
    assert made.stdout == found[0][0]
    assert quick("import", str(path), env=env).stdout != made.stdout
    told = json.loads(quick("image", "inspect", "a:1", env=env).stdout)[0]
    assert told["Created"] == "2020-09-13T12:26:40Z"
    assert told["RootFS"]["Layers"] == [digest_of(archive)]
    assert told["Architecture"] == parse_platform("").architecture
    for item in (tmp_path / f"store{index}" for index in range(3)):
        shutil.rmtree(item)


def test_what_is_said_of_it(quick: Forks, tmp_path: Path) -> None:
    env = {"CLOCHE_ROOT": str(tmp_path)}
    words = ("-m", "by hand", "--platform", "linux/arm/v6", "-c", 'CMD ["/x"]')
    done = quick.fed("import", *words, "-", "a:1", input=tar_of(x=b"1"), env=env)
    assert done.returncode == 0, done.stderr
    told = json.loads(quick("image", "inspect", "a:1", env=env).stdout)[0]
    assert (told["Comment"], told["Architecture"], told["Variant"]) == ("by hand", "arm", "v6")
    assert told["Config"]["Cmd"] == ["/x"]
    assert "by hand" in quick("history", "a:1", env=env).stdout
    # without a name it is there all the same
    image = quick.fed("import", "-", input=tar_of(y=b"1"), env=env).stdout.strip()
    assert (
        quick("image", "inspect", "-f", "{{.Comment}} {{.RepoTags}}", image[7:], env=env).stdout
        == "Imported from - []\n"
    )


class Web(BaseHTTPRequestHandler):
    """A place on the web with an archive at /root.tar, half of it at /half, and a way there at /moved."""

    content = tar_of(x=b"1")

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/root.tar")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path in {"/root.tar", "/half"}:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.content)))
            self.end_headers()
            self.wfile.write(self.content[: 600 if self.path == "/half" else None])
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Silence."""


def test_from_the_web(quick: Forks, tmp_path: Path) -> None:
    env = {"CLOCHE_ROOT": str(tmp_path), **EPOCH}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    top, someone = f"127.0.0.1:{server.server_port}", "ana:secret@"
    try:
        done = quick("import", "http://" + someone + top + "/moved", "a:1", env=env)
        assert done.returncode == 0, done.stderr
        comment = quick("image", "inspect", "-f", "{{.Comment}}", "a:1", env=env).stdout
        assert comment == "Imported from http://" + top + "/moved\n"
        for path, says in (("none", "answers with 404"), ("half", "breaks off")):
            done = quick("import", "http://" + top + "/" + path, "b:1", env=env)
            assert done.returncode == 1
            assert says in done.stderr
            assert len(done.stderr.splitlines()) <= 2
    finally:
        server.shutdown()
        server.server_close()
    assert len(blobs(tmp_path)) == 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"this is no tar" * 100, "the archive is no tar"),
        (b"\x1f\x8b" + b"x" * 100, "the archive is no good gzip"),
        (tar_of(x=b"1" * 5000)[:3000], "the archive ends in the middle"),
        (tar_of(**{"../x": b"1"}), "the archive has '../x', which leads out of it"),
        (tar_of(**{".wh...": b"1"}), "a whiteout of"),
    ],
)
def test_what_is_no_good_leaves_nothing(quick: Forks, content: bytes, says: str, tmp_path: Path) -> None:
    env = {"CLOCHE_ROOT": str(tmp_path)}
    done = quick.fed("import", "-", "a:1", input=content, env=env)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "index.json",
        "oci-layout",
        "lock",
        "spare",
    }
    assert quick("images", "-q", env=env).stdout == ""


def test_mistakes(quick: Forks, tmp_path: Path) -> None:
    env = {"CLOCHE_ROOT": str(tmp_path / "store")}
    good = tar_of(x=b"1")
    digest = "sha256:" + "0" * 64
    for words, says in (
        (("import", "-", f"a@{digest}"), "has a digest, which is not given but found"),
        (("import", "-", "A:1"), "capital letters"),
        (("import", "-c", "RUN make", "-"), "'RUN make' is no change that can be made"),
        (("import", "--platform", "a/b/c/d", "-"), "is not a platform"),
        (("import", str(tmp_path / "none")), "none cannot be read: No such file"),
        (("import", str(tmp_path)), "is a directory, not an archive"),
        (("export", "none:1"), "No such container: none:1"),
    ):
        done = quick.fed(*words, input=good, env=env)
        assert done.returncode == 1, words
        assert says in done.stderr
        assert len(done.stderr.splitlines()) <= 2
    done = quick.fed("import", "-", input=good, env=env | {"SOURCE_DATE_EPOCH": "today"})
    assert "SOURCE_DATE_EPOCH=today is no time" in done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("127.0.0.1:1/x", WEB + "127.0.0.1:1 cannot be reached"),
        ("127.0.0.1:99999/x", WEB + "127.0.0.1:99999/x is no address"),
        ("[::1/x", WEB + "[::1/x is no address"),
        ("/x", WEB + "/x is no address"),
        ("", WEB + " is no address"),
        ("host:port", WEB + "host:port is no address"),
    ],
)
def test_an_address_is_named_without_its_password(quick: Forks, tmp_path: Path, where: str, says: str) -> None:
    env = {"CLOCHE_ROOT": str(tmp_path)}
    for someone in ("", "ana:secret@", "ana:sec/ret@", "ana@secret@"):
        done = quick("import", *(("-m", "told") if someone else ()), f"{WEB}{someone}{where}?token=secret", env=env)
        assert done.returncode == 1
        assert says in done.stderr or "/" in someone
        assert "sec" not in done.stderr
        assert len(done.stderr.splitlines()) <= 2


def test_where_an_export_goes(cli: Cli, tmp_path: Path) -> None:
    env = {"CLOCHE_ROOT": str(tmp_path / "store")}
    assert cli("import", "-", "a:1", input=tar_of(x=b"1" * 3_000_000), env=env).returncode == 0
    assert cli("export", "-o", str(tmp_path / "out.tar"), "a:1", env=env).returncode == 0
    assert list(members((tmp_path / "out.tar").read_bytes())) == ["x"]
    done = cli("export", "-o", str(tmp_path / "none/out.tar"), "a:1", env=env)
    assert "cannot be written: No such file or directory" in done.stderr
    done = cli("export", "-o", "/dev/full", "a:1", env=env)
    assert "a:1 cannot be exported: No space left on device" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["out.tar", "store"]
    with cli.popen("export", "a:1", stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 141
