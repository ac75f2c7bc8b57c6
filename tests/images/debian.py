"""A mirror of a Debian that is very small: packages of busybox and shell scripts, signed with a key of these tests.

What is in it is a real system as far as packages go: a merged /usr, users from base-passwd, a dpkg that configures,
scripts that run before and after. Its dpkg is a script, so that all of it takes a second.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import lzma
import os
import shutil
import subprocess
import tarfile
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from cloche.images.debian.suites import architecture_of
from cloche.images.platforms import own_platform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

ARCHITECTURE = architecture_of(own_platform())
PACKED = 1_600_000_000  # when the packages were made
RELEASED = 1_700_000_000
DPKG = r"""#!/bin/sh
case "$*" in
    --print-architecture) echo @ARCHITECTURE@; exit ;;
    --force-depends*) all=$3 ;;
    *) all=$(sed -n 's/^Package: //p' /var/lib/dpkg/status) ;;
esac
for name in $all; do
    [ ! -e "/run/done.$name" ] || continue
    script=/var/lib/dpkg/info/$name.postinst
    if [ -x "$script" ]; then "$script" configure || { echo "the postinst script of $name failed" >&2; exit 1; }; fi
    : >"/run/done.$name"
done
sed -i 's/^Status: install ok unpacked/Status: install ok installed/' /var/lib/dpkg/status
date >/var/log/dpkg.log
cp /var/lib/dpkg/status /var/lib/dpkg/status-old
"""
QUERY = '#!/bin/sh\nsed -n "/^Package: $2\\$/,/^\\$/p" /var/lib/dpkg/status\n'
BASH = b'#!/usr/bin/sh\nexec /usr/bin/sh "$@"\n'
PASSWD = "root:x:0:0:root:/root:/bin/sh\nana:x:33:33::/home/ana:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"


def member(name: str, content: bytes | None = b"", mode: int = 0o644, **more: object) -> tuple[tarfile.TarInfo, bytes]:
    """An entry of a tar: a file, or a directory where there is no content."""
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = mode, PACKED
    if content is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    info.size = len(content or b"")
    for key, value in more.items():
        setattr(info, key, value)
    return info, content or b""


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as made:
        for info, content in members:
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def ar_of(*parts: tuple[str, bytes]) -> bytes:
    found = b"!<arch>\n"
    for name, content in parts:
        found += f"{name:<16}{PACKED:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        found += b"\n" * (len(content) % 2)
    return found


@dataclass
class Made:
    """A package, and what Packages is to say of it where that is not so."""

    name: str
    members: list[tuple[tarfile.TarInfo, bytes]] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    control: dict[str, str] = field(default_factory=dict)  # postinst, conffiles and the like
    said: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""  # the whole .deb, in place of what it would be
    version: str = "1.0-1"
    compress: Callable[[bytes], bytes] = lambda content: lzma.compress(content, preset=0)
    ending: str = ".xz"

    def control_file(self) -> str:
        own = {"Package": self.name, "Version": self.version, "Architecture": ARCHITECTURE, "Maintainer": "none"}
        return "".join(f"{key}: {value}\n" for key, value in {**own, **self.fields, "Description": "small"}.items())

    @functools.cached_property
    def deb(self) -> bytes:
        """The package as it is on the mirror."""
        if self.raw:
            return self.raw
        files = {"control": self.control_file(), **self.control}
        scripts = {"preinst", "postinst", "prerm", "postrm"}
        control = [member("./", None)]
        control += [member(f"./{n}", c.encode(), 0o755 if n in scripts else 0o644) for n, c in files.items()]
        data = tar_of([member("./", None), *self.members])
        return ar_of(
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", gzip.compress(tar_of(control), mtime=0)),
            (f"data.tar{self.ending}", self.compress(data)),
        )


@functools.cache
def small_system() -> tuple[Made, ...]:
    """The packages of a system that runs; not to be changed."""
    found = shutil.which("busybox")
    assert found is not None
    applets = "sh sed cat ls id date cp rm mkdir chown chmod touch stat echo true grep find sort head".split()
    links = [member(f"./usr/bin/{name}", b"", type=tarfile.SYMTYPE, linkname="busybox") for name in applets]
    folders = "dev etc proc run sys root usr usr/bin var tmp var/log var/lib var/cache".split()
    links.append(member("./usr/bin/bash", BASH, 0o755))
    tree = [member(f"./{name}/", None) for name in folders]
    base = {"Essential": "yes", "Priority": "required"}
    passwd = "#!/bin/sh\n[ \"$1\" = install ] || exit 1\ncat >/etc/passwd <<'END'\n" + PASSWD + "END\n"
    return (
        Made("base-files", tree, base),
        Made("base-passwd", [], base, {"preinst": passwd, "postinst": "#!/bin/sh\ncp /etc/passwd /etc/passwd-\n"}),
        Made(
            "busybox",
            [member("./bin/", None), member("./bin/busybox", Path(found).read_bytes(), 0o755)],
            base,
            compress=lambda content: content,
            ending="",
        ),
        Made(
            "applets",
            [*links, member("./usr/bin/bash", BASH, 0o755)],
            {**base, "Depends": "busybox (>= 1.0), base-files | nothing-else"},
        ),
        Made(
            "dpkg",
            [
                member("./usr/bin/dpkg", DPKG.replace("@ARCHITECTURE@", ARCHITECTURE).encode(), 0o755),
                member("./usr/bin/dpkg-query", QUERY.encode(), 0o755),
            ],
            {**base, "Pre-Depends": "applets"},
        ),
        Made(
            "apt",
            [member("./etc/apt/", None), member("./etc/apt/sources.list.d/", None), member("./var/lib/apt/", None)],
            {"Depends": "a-loop"},
        ),
        Made(
            "a-loop",
            [member("./srv/", None), member("./srv/mine", b"mine", 0o4750, uid=33, gid=33)],
            {"Depends": "b-loop", "Priority": "optional"},
            {"postinst": "#!/bin/sh\nset -e\ntouch /srv/made\nchown ana /srv/made\n"},
        ),
        Made("b-loop", [member("./srv/", None), member("./srv/b", b"b")], {"Depends": "a-loop", "Provides": "thing"}),
        Made("extra", [member("./opt/", None), member("./opt/extra", b"extra")], {"Depends": "thing"}),
    )


class Key:
    """A key that signs, in a GnuPG home of its own."""

    def __init__(self, home: Path, name: str) -> None:
        self.home, self.name = home, name
        home.mkdir(mode=0o700)
        self._gpg("--quick-generate-key", name, "ed25519", "sign", "never")
        self.ring = home / "ring.gpg"
        self.ring.write_bytes(self._gpg("--export"))

    def _gpg(self, *words: str, content: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--passphrase", "", "--no-tty", *words]
        return subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout

    def clear_sign(self, content: bytes) -> bytes:
        return self._gpg("--clearsign", content=content)

    def detached(self, content: bytes) -> bytes:
        return self._gpg("--armor", "--detach-sign", content=content)

    def close(self) -> None:
        """End the agent that gpg has started."""
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False)


class Mirror:
    """A mirror in a directory, of one suite with one component."""

    def __init__(self, top: Path, key: Key, packages: Sequence[Made], suite: str = "bookworm", **release: str) -> None:
        self.top, self.key, self.suite = top, key, suite
        self.release = {
            "Origin": "Debian",
            "Suite": f"old{suite}",
            "Codename": suite,
            "Version": "12.99",
            "Date": formatdate(RELEASED, usegmt=True),
            "Architectures": ARCHITECTURE,
            "Components": "main",
            "Description": "Debian of these tests",
            **release,
        }
        self.put(packages)

    @property
    def url(self) -> str:
        return f"file://{self.top}"

    @property
    def place(self) -> Path:
        return self.top / "dists" / self.suite

    def put(self, packages: Sequence[Made], *, endings: tuple[str, ...] = (".xz", ".gz", "")) -> None:
        """Write all of it: packages, Packages, Release."""
        (self.top / "pool").mkdir(parents=True, exist_ok=True)
        text = ""
        for package in packages:
            deb = package.deb
            path = f"pool/{package.name}_{package.version}_{ARCHITECTURE}.deb"
            (self.top / path).write_bytes(deb)
            own = {"Filename": path, "Size": str(len(deb)), "SHA256": hashlib.sha256(deb).hexdigest(), **package.said}
            text += package.control_file() + "".join(f"{key}: {value}\n" for key, value in own.items()) + "\n"
        content = text.encode()
        made = {"": content, ".gz": gzip.compress(content, mtime=0), ".xz": lzma.compress(content)}
        self.put_indexes({ending: made[ending] for ending in endings})

    def put_indexes(self, made: dict[str, bytes]) -> None:
        """Write Packages in these forms, and a Release that knows them."""
        folder = self.place / f"main/binary-{ARCHITECTURE}"
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for ending, content in made.items():
            (folder / f"Packages{ending}").write_bytes(content)
            path = f"main/binary-{ARCHITECTURE}/Packages{ending}"
            lines.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {path}\n")
        self.hashes = "SHA256:\n" + "".join(lines)
        self.put_release()

    def put_release(self, **changed: str) -> None:
        """Write the Release, signed, with some fields changed for good."""
        self.release.update({key.replace("_", "-"): value for key, value in changed.items()})
        (self.place / "InRelease").write_bytes(self.key.clear_sign(self.text()))

    def text(self) -> bytes:
        return ("".join(f"{key}: {value}\n" for key, value in self.release.items()) + self.hashes).encode()


class Handler(BaseHTTPRequestHandler):
    """One request; what it is answered is the directory's file, unless somebody wants another answer."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Served = self.server  # type: ignore[assignment]
        server.asked.append((self.path, self.headers.get("Authorization", ""), self.headers.get("Range", "")))
        reply = next((reply for end, reply in server.replies.items() if self.path.endswith(end)), None)
        if reply is not None:
            reply(self)
            return
        path = server.top / self.path.lstrip("/").replace("%2B", "+")
        if path.is_file():
            self.give(path.read_bytes())
        else:
            self.give(b"", 404)

    def give(self, content: bytes, status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        pass


class Served(ThreadingHTTPServer):
    """A mirror on a loopback address."""

    daemon_threads = True

    def __init__(self, top: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.top = top
        self.asked: list[tuple[str, str, str]] = []
        self.replies: dict[str, Callable[[Handler], None]] = {}
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        del request, client_address  # whoever asked has gone away

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


def endless(handler: Handler) -> None:
    """Bytes without end, for as long as somebody reads."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        handler.wfile.write(bytes(1 << 16))


def listing(root: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """What a tree has, but for times."""
    found = {}
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(folder, name)
            status = path.lstat()
            content = os.fsencode(os.readlink(path)) if path.is_symlink() else b""
            if path.is_file() and not path.is_symlink():
                content = hashlib.sha256(path.read_bytes()).digest()
            found[str(path.relative_to(root))] = status.st_mode, status.st_uid, status.st_gid, content
    return found
