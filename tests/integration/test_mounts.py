"""A tree of its own: the root and what becomes of it, volumes, tmpfs, and who owns what is written."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.background import Elsewhere, refused, running, uid_of
from tests.integration.trees import give, look

if TYPE_CHECKING:
    from tests.conftest import Cli

READ_ONLY = os.strerror(errno.EROFS)
# everything a person with root's power would do to a root file system
RANSACK = (
    "echo new >/new; echo changed >>/etc/passwd; rm /etc/group; rm -r /var; mkdir /var; mkdir -p /a/b/c; "
    "ln -s /etc /link; chmod 700 /root; chmod 4755 /bin/busybox; chown 5:5 /etc/passwd; touch /bin; sync"
)


def mounts(pid: int | str) -> list[list[str]]:
    """The lines of /proc/PID/mountinfo, in fields."""
    return [line.split(" ") for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]


def test_the_tree_is_its_own_and_the_old_root_is_gone(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        found = mounts(inside.pid)
        assert inside.namespace("mnt") != os.stat("/proc/self/ns/mnt").st_ino
    places = [fields[4] for fields in found]
    assert places.count("/") == 1
    tops = {"/" + place.split("/")[1] for place in places}
    assert tops == {"/", "/proc", "/sys", "/dev", "/etc"}
    numbers = {fields[0] for fields in found}
    outside = [fields for fields in found if fields[1] not in numbers]
    assert [fields[4] for fields in outside] == ["/"]  # nothing hangs on a mount that is not shown
    assert not any(word.startswith(("shared:", "master:")) for fields in found for word in fields[6:])


def test_there_is_no_way_back_to_the_host(root: Cli, place: Path) -> None:
    """The classic escape: keep a directory open, change the root below it, walk up."""
    program = (
        "import os; os.mkdir('/tmp/a'); fd = os.open('/', os.O_RDONLY); os.chroot('/tmp/a'); os.fchdir(fd)\n"
        "for _ in range(64): os.chdir('..')\n"
        f"os.chroot('.'); print(os.path.exists('{place}'), os.path.exists('/tmp/a'))"
    )
    weaker = ("--cap-add", "SYS_ADMIN", "--security-opt", "landlock=off")
    done = root("run", *weaker, "host", "/usr/bin/python3", "-c", program)
    assert done.stdout == "False True\n", done.stderr


def test_mounts_made_inside_stay_inside(root: Cli, rootfs: Path, place: Path) -> None:
    script = "mount -t tmpfs none /v && touch /v/inside && grep -c ' /v ' /proc/mounts"
    words = ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")
    with running(root, *words, "-v", f"{place}:/v", "--rootfs", str(rootfs), script=script) as inside:
        assert inside.said == ["2"]
        assert not any(str(place) in fields[4] for fields in mounts("self"))
        assert not (place / "inside").exists()


@pytest.mark.parametrize(("option", "visible"), [("", False), (":rprivate", False), (":rslave", True)])
def test_mounts_made_outside_appear_only_where_asked(
    root: Cli, rootfs: Path, place: Path, option: str, visible: bool
) -> None:
    """A machine whose mounts are all shared, as systemd makes them."""
    (place / "sub").mkdir()
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c"]
    script = (
        'mount --bind "$1" "$1"; mount --make-shared "$1"; echo $$; read go; '
        'mount -t tmpfs none "$1/sub"; touch "$1/sub/later"; echo done; cat'
    )
    with subprocess.Popen(
        [*words, script, "sh", str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        pid = other.stdout.readline().strip()
        there = Beside(root, pid)
        with running(there, "-v", f"{place}:/v{option}", "--rootfs", str(rootfs)) as inside:
            other.stdin.write("go\n")
            other.stdin.flush()
            assert other.stdout.readline() == "done\n"
            assert Path(f"/proc/{inside.pid}/root/v/sub/later").exists() == visible
        other.stdin.close()


class Beside(Elsewhere):
    """A command line in the mount namespace of a process."""

    @property
    def argv(self) -> list[str]:
        """The words before cloche's own; `script` is the process."""
        return ["nsenter", "-t", self.script, "-m", *super(Elsewhere, self).argv]


def test_the_throwaway_layer_leaves_the_directory_alone(anyone: Cli, own_rootfs: Path) -> None:
    give(own_rootfs, anyone)
    before = look(own_rootfs)
    done = anyone("run", "--rootfs", str(own_rootfs), "sh", "-c", f"{RANSACK}; cat /new; ls -d /etc/group /a/b/c")
    assert done.stdout == "new\n/a/b/c\n", done.stderr
    assert look(own_rootfs) == before
    assert anyone("run", "--rootfs", str(own_rootfs), "ls", "/new").returncode == 1


def test_a_directory_can_be_changed_for_good(anyone: Cli, own_rootfs: Path) -> None:
    give(own_rootfs, anyone)
    done = anyone("run", "--rootfs", f"{own_rootfs}:rw", "sh", "-c", "echo new >/new; rm /etc/group; mkdir -p /a/b")
    assert (done.returncode, done.stderr) == (0, "")
    assert (own_rootfs / "new").read_text() == "new\n"
    assert (own_rootfs / "new").stat().st_uid == uid_of(anyone)
    assert not (own_rootfs / "etc/group").exists()
    assert anyone("run", "--rootfs", f"{own_rootfs}:rw", "ls", "/new", "/a").returncode == 0


@pytest.mark.parametrize("how", ["ro", "read-only"])
def test_a_root_can_be_read_only(anyone: Cli, own_rootfs: Path, how: str) -> None:
    give(own_rootfs, anyone)
    (own_rootfs / "v").mkdir()
    before = look(own_rootfs)
    words = ("--rootfs", f"{own_rootfs}:ro") if how == "ro" else ("--read-only", "--rootfs", str(own_rootfs))
    script = "for p in / /etc /var /tmp /bin; do touch $p/new; done; touch /t/new /dev/shm/new && echo could"
    done = anyone("run", "--tmpfs", "/t", *words, "sh", "-c", script)
    assert done.stderr.count(READ_ONLY) == 5, done.stderr
    assert done.stdout == "could\n"
    assert look(own_rootfs) == before


def test_the_host_can_be_read_only(anyone: Cli, place: Path) -> None:
    script = "for p in / /usr /etc /var /opt /home /root; do touch $p/new; done; touch /t/new /v/new && echo could"
    done = anyone("run", "--read-only", "--tmpfs", "/t", "-v", f"{place}:/v", "host", "sh", "-c", script)
    assert done.stderr.count("touch:") == 7, done.stderr
    assert done.stdout == "could\n"
    assert (place / "new").exists()


@pytest.mark.parametrize("option", ["", ":rw", ":z", ":Z,rw", ":rbind"])
def test_a_volume_is_the_directory_itself(anyone: Cli, rootfs: Path, place: Path, option: str) -> None:
    (place / "there").write_text("from outside\n")
    script = "cat /v/there; echo 'from inside' >/v/new; mkdir /v/d; rm /v/there"
    done = anyone("run", "-v", f"{place}:/v{option}", "--rootfs", str(rootfs), "sh", "-c", script)
    assert done.stdout == "from outside\n", done.stderr
    assert (place / "new").read_text() == "from inside\n"
    assert sorted(os.listdir(place)) == ["d", "new"]


@pytest.mark.parametrize("spelling", ["-v", "--mount", "--mount-readonly"])
def test_a_volume_can_be_read_only(anyone: Cli, rootfs: Path, place: Path, spelling: str) -> None:
    (place / "there").write_text("from outside\n")
    give(place, anyone)
    before = look(place)
    options = {
        "-v": ("-v", f"{place}:/v:ro"),
        "--mount": ("--mount", f"type=bind,src={place},dst=/v,ro"),
        "--mount-readonly": ("--mount", f"type=bind,source={place},target=/v,readonly=true"),
    }[spelling]
    script = "cat /v/there; touch /v/new; rm /v/there; chmod 777 /v; echo x >>/v/there"
    done = anyone("run", *options, "--rootfs", str(rootfs), "sh", "-c", script)
    assert done.stdout == "from outside\n"
    assert done.stderr.count(READ_ONLY) == 4, done.stderr
    assert look(place) == before


def test_what_is_mounted_below_a_volume(root: Cli, rootfs: Path, place: Path) -> None:
    """Recursive by default, read-only then all the way down; not recursive when asked."""
    (place / "sub").mkdir()
    (place / "sub/below").touch()
    there = Elsewhere(root, f"mount -t tmpfs none {place}/sub; touch {place}/sub/mounted")
    words = ("--rootfs", str(rootfs), "sh", "-c", "ls /v/sub; touch /v/sub/new 2>&1")
    assert there("run", "-v", f"{place}:/v", *words).stdout == "mounted\n"
    read_only = there("run", "-v", f"{place}:/v:ro", *words)
    assert read_only.stdout.startswith("mounted\n")
    assert READ_ONLY in read_only.stdout
    for option in (("-v", f"{place}:/v:bind"), ("--mount", f"type=bind,src={place},dst=/v,bind-recursive=disabled")):
        assert there("run", *option, "--rootfs", str(rootfs), "ls", "/v/sub").stdout == "below\n"


def test_a_user_gets_what_is_mounted_below_a_volume(user: Cli, rootfs: Path, place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")
    (place / "sub").mkdir()
    there = Elsewhere(user, f"mount -t tmpfs -o mode=777 none {place}/sub; touch {place}/sub/mounted")
    done = there("run", "-v", f"{place}:/v:ro", "--rootfs", str(rootfs), "sh", "-c", "ls /v/sub; touch /v/sub/new")
    assert (done.stdout, READ_ONLY in done.stderr) == ("mounted\n", True), done.stderr


def test_a_relative_source_starts_here(anyone: Cli, rootfs: Path, place: Path) -> None:
    (place / "here").mkdir()
    (place / "here/file").write_text("found\n")
    options = ("-v", "./here:/a", "--mount", "type=bind,src=here,dst=/b", "-v", ".:/c")
    done = anyone("run", *options, "--rootfs", str(rootfs), "cat", "/a/file", "/b/file", "/c/here/file", cwd=place)
    assert done.stdout == "found\n" * 3, done.stderr


def test_a_file_can_be_a_volume(anyone: Cli, rootfs: Path, place: Path) -> None:
    (place / "file").write_text("one\n")
    (place / "file").chmod(0o666)
    options = ("-v", f"{place}/file:/etc/passwd", "-v", f"{place}/file:/new/deep/file:ro")
    script = "cat /etc/passwd; echo two >>/etc/passwd; cat /new/deep/file; echo three >>/new/deep/file"
    done = anyone("run", *options, "--rootfs", str(rootfs), "sh", "-c", script)
    assert done.stdout == "one\none\ntwo\n", done.stderr
    assert READ_ONLY in done.stderr
    assert (place / "file").read_text() == "one\ntwo\n"
    assert refused(anyone("run", "-v", f"{place}/file:/etc", "--rootfs", str(rootfs), "true"), "/etc")
    assert refused(anyone("run", "-v", f"{place}:/etc/passwd", "--rootfs", str(rootfs), "true"), "/etc/passwd")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("-v", "/nowhere/at/all:/v"), "/nowhere/at/all is not there"),
        (("-v", "./nowhere:/v"), "nowhere is not there"),
        (("--mount", "type=bind,src=/nowhere/at/all,dst=/v"), "/nowhere/at/all is not there"),
        (("-v", "x:/v"), "volume name is too short"),
        (("-v", "/tmp:v"), "must be an absolute path"),
        (("-v", "/tmp:/v/../../w"), "must be an absolute path"),
        (("-v", "/tmp:/"), "the root itself"),
        (("-v", "/tmp:/v:sideways"), "sideways"),
        (("-v", "/tmp:/v:ro,rw"), "ro contradicts rw"),
        (("-v", "/tmp:/v:U"), "leave U out"),
        (("--mount", "type=tmpfs,src=/tmp,dst=/v"), "source means nothing with type=tmpfs"),
        (("-v", "/tmp:/v", "-v", "/usr:/v/"), "two mounts at /v"),
        (("-v", "/tmp:/v", "--tmpfs", "/v"), "two mounts at /v"),
        (("--mount", "type=bind,dst=/v"), "has no source"),
        (("--mount", "type=bind,src=/tmp"), "has no target"),
        (("--mount", "type=npipe,src=x,dst=/v"), "npipe"),
        (("--mount", "type=bind,src=/tmp,dst=/v,colour=red"), "colour"),
        (("--mount", "type=bind,src=/tmp,dst=/v,ro=maybe"), "maybe"),
        (("--mount", "type=tmpfs,dst=/v,tmpfs-size=lots"), "lots"),
        (("--tmpfs", "v"), "not an absolute path"),
        (("--tmpfs", "/"), "not an absolute path"),
        (("--tmpfs", "/v:size=lots"), "lots"),
        (("--tmpfs", "/v:sideways"), "sideways"),
        (("--rootfs", "/nowhere/at/all"), "/nowhere/at/all is not there"),
        (("--rootfs", "/etc/passwd"), "is not a directory"),
    ],
)
def test_what_makes_no_sense_is_refused(cli: Cli, rootfs: Path, options: tuple[str, ...], says: str) -> None:
    image = () if "--rootfs" in options else ("--rootfs", str(rootfs))
    assert refused(cli("run", *options, *image, "true"), says)


def test_a_tmpfs_is_empty_writable_and_gone(anyone: Cli, own_rootfs: Path) -> None:
    give(own_rootfs, anyone)
    (own_rootfs / "var/there").touch()
    script = "ls /var /new/deep; echo x >/var/file && echo x >/new/deep/file && cat /var/file"
    words = ("--tmpfs", "/var", "--tmpfs", "/new/deep", "--rootfs", f"{own_rootfs}:rw", "sh", "-c", script)
    done = anyone("run", *words)
    assert sorted(done.stdout.split()) == ["/new/deep:", "/var:", "x"], done.stderr
    assert os.listdir(own_rootfs / "var") == ["there"]
    assert os.listdir(own_rootfs / "new/deep") == []


def test_options_of_a_tmpfs(anyone: Cli, rootfs: Path) -> None:
    script = (
        "stat -c '%a' /a /b /c; dd if=/dev/zero of=/a/f bs=1024 count=100 2>&1 | grep -c 'No space'; "
        "for d in a b c; do cp /bin/busybox /$d/sh 2>/dev/null; ln /$d/sh /$d/echo; /$d/echo $d ran; done; "
        "touch /d/x || echo /d refused"
    )
    options = ("--tmpfs", "/a:size=64k,mode=700", "--tmpfs", "/b", "--tmpfs", "/c:exec,mode=0750", "--tmpfs", "/d:ro")
    done = anyone("run", *options, "--rootfs", str(rootfs), "/bin/busybox", "sh", "-c", script)
    assert done.stdout.splitlines() == ["700", "1777", "750", "1", "c ran", "/d refused"], done.stderr


def test_a_tmpfs_spelt_out(anyone: Cli, rootfs: Path) -> None:
    spelt = ("type=tmpfs,dst=/a,tmpfs-size=64k,tmpfs-mode=711", "type=tmpfs,destination=/b,readonly")
    script = "stat -c %a /a; dd if=/dev/zero of=/a/f bs=1024 count=100 2>&1 | grep -c 'No space'; touch /b/x || echo no"
    done = anyone("run", "--mount", spelt[0], "--mount", spelt[1], "--rootfs", str(rootfs), "sh", "-c", script)
    assert done.stdout.splitlines() == ["711", "1", "no"], done.stderr


def test_mounts_within_mounts_come_in_order(anyone: Cli, rootfs: Path, place: Path) -> None:
    (place / "inner").mkdir()
    give(place, anyone)
    options = ("-v", f"{place}/inner:/t/a/b", "--tmpfs", "/t/a", "-v", f"{place}:/t:rw")
    done = anyone("run", *options, "--rootfs", str(rootfs), "sh", "-c", "touch /t/outer /t/a/middle /t/a/b/inmost")
    assert done.returncode == 0, done.stderr
    assert (place / "outer").exists()
    assert (place / "inner/inmost").exists()
    assert not (place / "a/middle").exists()


def test_files_belong_to_whom_one_expects(anyone: Cli, rootfs: Path, place: Path) -> None:
    """What the container's root writes is the caller's; the caller's files are its root's."""
    (place / "there").touch()
    give(place, anyone)
    own = uid_of(anyone)
    script = "stat -c '%u %g' /v /v/there; touch /v/new; mkdir /v/dir; ln -s x /v/link; echo x >>/v/there"
    done = anyone("run", "-v", f"{place}:/v", "--rootfs", str(rootfs), "sh", "-c", script)
    assert done.stdout == "0 0\n0 0\n", done.stderr
    for name in ("new", "dir", "link"):
        status = (place / name).lstat()
        assert (status.st_uid, status.st_gid) == (own, own), name


@pytest.mark.parametrize(("kind", "outside"), [("root", 1000), ("subuid", 300999)])
def test_files_of_another_user_inside(root: Cli, rootfs: Path, place: Path, kind: str, outside: int) -> None:
    """For root a number is the same inside and outside; for a user it is one of the range."""
    cli = type(root)(kind, root.source, root.python)
    (place / "there").touch()
    os.chown(place / "there", outside, outside)
    script = "stat -c '%u %g' /v/there; touch /v/new; chmod 600 /v/there && echo mine"
    done = cli("run", "--user", "ann", "-v", f"{place}:/v", "--rootfs", str(rootfs), "sh", "-c", script)
    assert done.stdout == "1000 1000\nmine\n", done.stderr
    status = (place / "new").stat()
    assert (status.st_uid, status.st_gid) == (outside, outside)


def test_a_root_file_system_that_holds_mounts(root: Cli, user: Cli, own_rootfs: Path) -> None:
    (own_rootfs / "sub").mkdir()
    (own_rootfs / "sub/below").touch()
    mounting = f"mount -t tmpfs none {own_rootfs}/sub; touch {own_rootfs}/sub/mounted"
    words = ("ls", "/sub")
    assert Elsewhere(root, mounting)("run", "--rootfs", str(own_rootfs), *words).stdout == "below\n"
    assert Elsewhere(root, mounting)("run", "--rootfs", f"{own_rootfs}:rw", *words).stdout == "mounted\n"
    give(own_rootfs, user)
    assert refused(Elsewhere(user, mounting)("run", "--rootfs", str(own_rootfs), *words), "holds other mounts")
    assert Elsewhere(user, mounting)("run", "--rootfs", f"{own_rootfs}:rw", *words).stdout == "mounted\n"


def test_set_uid_programs_and_devices_of_a_volume_have_no_power(root: Cli, rootfs: Path, place: Path) -> None:
    shutil.copy(rootfs / "bin/busybox", place / "id")
    (place / "id").chmod(0o4755)
    os.mknod(place / "zero", 0o20666, os.makedev(1, 5))
    script = "/v/id -u; head -c 1 /v/zero || echo refused"
    options = ("--user", "ann", "--security-opt", "no-new-privileges=false", "-v", f"{place}:/v")
    done = root("run", *options, "--rootfs", str(rootfs), "sh", "-c", script)
    assert done.stdout == "1000\nrefused\n", done.stderr


def test_a_read_only_etc_without_the_files_it_needs(root: Cli, rootfs: Path, tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir(mode=0o755)
    done = root("run", "--rootfs", str(rootfs), "-v", f"{etc}:/etc:ro", "true")
    assert refused(done, "hostname: read-only file system", "/etc/hostname is not there and cannot be made")
    assert list(etc.iterdir()) == []
