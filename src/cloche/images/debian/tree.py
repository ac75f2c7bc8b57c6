"""Packages unpacked into one tree, with what dpkg has to know of them (dpkg's own "unpacked", before "configured").

    /bin → usr/bin …                   the links of a merged /usr; names of packages that go through them are led on
    var/lib/dpkg/status                a paragraph for each, "install ok unpacked"
    var/lib/dpkg/info/NAME.list        what it has, NAME.postinst … what its control.tar has
    var/lib/dpkg/triggers/             who is interested in what (deb-triggers(5))

Packages come one after the other; a file of two of them is an error, unless one says that it replaces the other.
"""

from __future__ import annotations

import hashlib
import os
import stat

from cloche.errors import SpecError
from cloche.images.debian import naming
from cloche.images.debian.ar import parse_deb
from cloche.images.debian.control import the_paragraph
from cloche.images.debian.relations import is_name, parse_relations
from cloche.images.unpack.apply import MAKE, WHITEOUT, Unpacker
from cloche.images.unpack.compression import reader
from cloche.images.unpack.naming import shown, split
from cloche.images.unpack.tar import DEVICES, DIRECTORY, FILE, HARD_LINK, Archive, BadArchive, Entry, Stream
from cloche.linux import files
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.images.debian.ar import Part
    from cloche.images.debian.control import Fields
    from cloche.images.unpack.apply import Powers

MERGED = (b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libo32", b"libx32")
DATABASE = "var/lib/dpkg"
MOST_CONTROL = 16 << 20  # bytes of a control.tar
MOST_DATA = 16 << 30
MOST_CONFIGURATION = 256 << 20  # of one file, which is hashed
DIRECTORIES = ("info", "updates", "triggers", "parts", "alternatives")


@record
class Owner:
    """Whose a file is: the package, which others it replaces, and the name by which it lists the file."""

    package: str
    replaces: frozenset[str]
    listed: bytes


class Tree:
    """The tree below the directory `root`, a descriptor, for one architecture."""

    def __init__(self, root: int, powers: Powers) -> None:
        self.root, self.powers = root, powers
        self.owners: dict[bytes, Owner] = {}
        self.lists: dict[str, tuple[str, list[bytes]]] = {}  # package -> (the file of its list, what is in it)
        self._interests: dict[str, list[str]] = {}  # trigger -> packages, as dpkg writes them
        self._status: list[str] = []  # a paragraph for each package

    def begin(self, merged: tuple[str, ...]) -> None:
        """Make what must be there before the first package."""
        for name in merged:
            self._directory(f"usr/{name}")
            os.symlink(f"usr/{name}", name, dir_fd=self.root)
        for name in DIRECTORIES:
            self._directory(f"{DATABASE}/{name}")
        self.write(f"{DATABASE}/info/format", b"1\n")

    def add(self, deb: int) -> str:
        """Unpack a package; returns its name. Raises BadArchive, OSError."""
        control, data = parse_deb(lambda size, offset: os.pread(deb, size, offset), os.fstat(deb).st_size)
        found = _control(deb, control)
        try:
            said = the_paragraph(found.get("control", (0, b""))[1])
            name = said.get("package", "")
            if not is_name(name) or not is_name(said.get("architecture", "")):
                raise SpecError(f"is called {name[:80]!r}")
            replaced = parse_relations(said.get("replaces", ""), said["architecture"])
        except SpecError as error:
            raise BadArchive(f"has a control file that is none: {error}") from None
        archive = _Data(
            Stream(_piece(deb, data, MOST_DATA)), self, name, frozenset(r.name for c in replaced for r in c)
        )
        unpacker = Unpacker(self.root, self.powers)
        unpacker.run(archive)
        self._register(name, said, found, archive.listed)
        return name

    def _register(self, name: str, said: Fields, found: dict[str, tuple[int, bytes]], listed: list[bytes]) -> None:
        multiple = said.get("multi-arch", "") == "same"
        stem = f"{DATABASE}/info/{name}:{said['architecture']}" if multiple else f"{DATABASE}/info/{name}"
        for kind, (mode, content) in found.items():
            if kind != "control":
                self.write(f"{stem}.{kind}", content, mode)
        self.lists[name] = f"{stem}.list", listed
        self._write_list(name)
        paragraph = ["Package: " + said["package"], "Status: install ok unpacked"]
        paragraph += [f"{key.title()}: {value}" for key, value in said.items() if key != "package"]
        conffiles = found.get("conffiles", (0, b""))[1].decode(errors="surrogateescape").split("\n")
        kept = [line for line in conffiles if line.startswith("/")]  # others are to be removed: there is nothing yet
        if kept:
            paragraph += ["Conffiles:", *(f" {path} {self._md5(path)}" for path in kept)]
        self._status.append("\n".join(paragraph) + "\n\n")
        self._note_interests(f"{name}:{said['architecture']}" if multiple else name, found.get("triggers", (0, b""))[1])

    def _write_list(self, package: str) -> None:
        place, listed = self.lists[package]
        self.write(place, b"".join(path + b"\n" for path in listed))

    def take_over(self, path: bytes, new: Owner) -> None:
        """A file is another package's now, and so that of the one before no longer has it."""
        old = self.owners[path]
        self.lists[old.package][1].remove(old.listed)
        self._write_list(old.package)
        self.owners[path] = new

    def _md5(self, path: str) -> str:
        try:
            with files.Fd(files.open_in_root(self.root, path.lstrip("/"), os.O_RDONLY | os.O_NONBLOCK)) as file:
                status = os.fstat(file.number)
                if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_CONFIGURATION:
                    raise BadArchive(f"has {path[:80]!r} for configuration, which is no file, or too large")
                summed = hashlib.md5(usedforsecurity=False)
                while chunk := os.read(file.number, 1 << 20):
                    summed.update(chunk)
                return summed.hexdigest()
        except OSError:
            raise BadArchive(f"has no {path[:80]!r}, and says it is a file of configuration") from None

    def _note_interests(self, package: str, triggers: bytes) -> None:
        for line in triggers.decode(errors="replace").split("\n"):
            words = line.partition("#")[0].split()
            if len(words) == 2 and words[0].startswith("interest"):
                ending = "/noawait" if words[0].endswith("-noawait") else ""
                self._interests.setdefault(words[1], []).append(package + ending)

    def end(self) -> None:
        """Write what there is, and who is interested in what."""
        self.write(f"{DATABASE}/status", "".join(self._status).encode(errors="surrogateescape"))
        paths = [
            f"{name} {package}\n"
            for name, packages in self._interests.items()
            for package in packages
            if name[0] == "/"
        ]
        self.write(f"{DATABASE}/triggers/File", "".join(sorted(paths)).encode())
        self.write(f"{DATABASE}/triggers/Unincorp", b"")
        for name, packages in self._interests.items():
            if "/" not in name and not name.startswith("."):
                self.write(f"{DATABASE}/triggers/{name}", "".join(f"{package}\n" for package in packages).encode())

    def _directory(self, path: str) -> None:
        done = ""
        for part in path.split("/"):
            done = f"{done}/{part}" if done else part
            try:
                os.mkdir(done, 0o755, dir_fd=self.root)
            except FileExistsError:
                pass

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Put a new file in the place of whatever is there, through the links of the tree but never out of it."""
        folder, _, name = path.rpartition("/")
        made = f".{os.urandom(8).hex()}.new"
        with (
            naming.on(path),
            files.Fd(files.open_in_root(self.root, folder or ".", os.O_PATH | os.O_DIRECTORY)) as parent,
        ):
            with files.Fd(os.open(made, MAKE, mode & 0o777, dir_fd=parent.number)) as file:
                os.fchmod(file.number, mode & 0o777)
                files.write_all(file.number, content)
            os.rename(made, name, src_dir_fd=parent.number, dst_dir_fd=parent.number)


def _piece(fd: int, part: Part, limit: int) -> Callable[[], bytes]:
    """The chunks of a member of a .deb, decompressed, and no more than `limit` bytes of them."""
    at, end = part.offset, part.offset + part.size

    def read(size: int) -> bytes:
        nonlocal at
        chunk = os.pread(fd, min(size, end - at), at)
        at += len(chunk)
        return chunk

    source, left = reader(read), limit

    def next_chunk() -> bytes:
        nonlocal left
        chunk = source()
        left -= len(chunk)
        if left < 0:
            raise BadArchive(f"unfolds to more than {limit} bytes")
        return chunk

    return next_chunk


def _control(deb: int, part: Part) -> dict[str, tuple[int, bytes]]:
    """The files of control.tar: name -> (mode, content)."""
    archive = Archive(Stream(_piece(deb, part, MOST_CONTROL)))
    found: dict[str, tuple[int, bytes]] = {}
    while (entry := archive.next()) is not None:
        parts = split(entry.name)
        if not parts and entry.kind == DIRECTORY:
            continue
        name = os.fsdecode(parts[0]) if len(parts) == 1 else ""
        if entry.kind != FILE or entry.pieces is not None or not name.isascii() or not name.isalnum():
            raise BadArchive(f"has {shown(entry.name)} among what is for dpkg")
        found[name] = (0o755 if entry.mode & 0o100 else 0o644), b"".join(bytes(piece) for piece in archive.content())
    return found


class _Data(Archive):
    """The entries of data.tar as they are to be applied: led through the links of a merged /usr."""

    def __init__(self, stream: Stream, tree: Tree, package: str, replaces: frozenset[str]) -> None:
        super().__init__(stream)
        self.tree, self.package, self.replaces = tree, package, replaces
        self.listed: list[bytes] = []  # as dpkg lists them

    def next(self) -> Entry | None:
        while (entry := super().next()) is not None:
            parts = split(entry.name)
            if any(part.startswith(WHITEOUT) for part in parts):
                raise BadArchive(f"has {shown(entry.name)}, which would hide something")
            if entry.kind in DEVICES:
                raise BadArchive(f"has {shown(entry.name)}, a device, which no package of Debian has")
            if any(b"\n" in part for part in parts):
                raise BadArchive(f"has {shown(entry.name)}, whose name no list can have")
            self.listed.append(b"/" + b"/".join(parts) if parts else b"/.")
            place = led(parts, self._is_link)
            if entry.kind == DIRECTORY and (not parts or self._is_directory(place)):
                continue  # as it is: of a directory that several have, the first says what it is like
            if entry.kind != DIRECTORY and not self._is_ours(b"/".join(place), self.listed[-1]):
                self.listed.pop()
                continue
            link = b"/".join(led(split(entry.link), self._is_link)) if entry.kind == HARD_LINK else entry.link
            changed = {"name": b"/".join(place), "link": link}
            return Entry(**{**vars(entry), **changed})
        return None

    def _is_link(self, name: bytes) -> bool:
        try:
            return os.readlink(name, dir_fd=self.tree.root) == b"usr/" + name
        except OSError:
            return False

    def _is_directory(self, parts: list[bytes]) -> bool:
        """Whether a directory, or a link to one, is there."""
        try:
            with files.Fd(files.open_in_root(self.tree.root, b"/".join(parts), os.O_PATH | os.O_DIRECTORY)):
                return True
        except OSError:
            return False

    def _is_ours(self, path: bytes, listed: bytes) -> bool:
        """Whether what several packages have is that of this one. Raises BadArchive."""
        own = Owner(self.package, self.replaces, listed)
        other = self.tree.owners.setdefault(path, own)
        if other.package == self.package:
            return True
        if other.package in self.replaces:
            self.tree.take_over(path, own)
            return True
        if self.package in other.replaces:
            return False
        raise BadArchive(f"has {shown(path)}, which {other.package} has as well")


def led(parts: list[bytes], is_link: Callable[[bytes], bool]) -> list[bytes]:
    """The parts of a name behind the links of a merged /usr: bin/sh is usr/bin/sh."""
    return [b"usr", *parts] if len(parts) > 1 and parts[0] in MERGED and is_link(parts[0]) else parts
