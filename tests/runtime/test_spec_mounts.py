"""config.json: `mounts` and what each of their options does, as mountinfo inside tells and as the kernel acts."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.looking import (
    any_device,
    capable,
    mount,
    mount_at,
    mounted,
    mounts,
    namespace,
    private,
    python,
    refused,
    sh,
    since,
    told,
    user_namespace,
)

if TYPE_CHECKING:
    from tests.runtime.conftest import Bundle, MakeBundle, Runtime

# options, what mountinfo shows, what it does not
FLAGS = [
    ("", "rw", "ro"),
    ("ro", "ro", "rw"),
    ("rw", "rw", "ro"),
    ("ro rw", "rw", "ro"),
    ("rw ro", "ro", "rw"),
    ("nosuid", "nosuid", ""),
    ("nosuid suid", "", "nosuid"),
    ("nodev", "nodev", ""),
    ("nodev dev", "", "nodev"),
    ("noexec", "noexec", ""),
    ("noexec exec", "", "noexec"),
    ("noatime", "noatime", "relatime"),
    ("relatime", "relatime", "noatime"),
    ("noatime atime", "", "noatime"),
    ("strictatime", "", "relatime noatime"),
    ("nodiratime", "nodiratime", ""),
    ("nodiratime diratime", "", "nodiratime"),
    ("strictatime nostrictatime", "relatime", ""),
    ("norelatime", "relatime", "noatime"),
    ("ro nosuid nodev noexec", "ro nosuid nodev noexec", "rw"),
]
RECURSIVE = [
    ("rro", "ro"),
    ("rnosuid", "nosuid"),
    ("rnodev", "nodev"),
    ("rnoexec", "noexec"),
    ("rnoatime", "noatime"),
    ("rnodiratime", "nodiratime"),
    ("rnosymfollow", "nosymfollow"),
]


def words(text: str) -> set[str]:
    return set(text.split())


@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
@pytest.mark.parametrize(("options", "there", "absent"), FLAGS)
def test_options(
    runtime: Runtime, bundle: MakeBundle, place: Path, kind: str, options: str, there: str, absent: str
) -> None:
    if len(options.split()) == 2:
        runtime.not_like("crun", because="does not take back an option that came before")
    (place / "source").mkdir()
    made = bundle()
    if kind == "bind":
        mount(made, "/mnt", "bind", "bind", *options.split(), source=str(place / "source"))
    else:
        mount(made, "/mnt", "tmpfs", *options.split())
    found = mounted(runtime, made, "/mnt")
    assert found.options >= words(there)
    assert not found.options & words(absent)
    assert found.type == ("tmpfs" if kind == "tmpfs" else found.type)


@pytest.mark.parametrize(("option", "negated"), [("sync", "async"), ("dirsync", ""), ("lazytime", "nolazytime")])
def test_options_of_the_file_system(runtime: Runtime, bundle: MakeBundle, option: str, negated: str) -> None:
    runtime.not_like("crun", because="does not take back an option that came before")
    if option == "lazytime":
        since(runtime, runc="1.2", crun="never")
    assert option in mounted(runtime, mount(bundle(), "/mnt", "tmpfs", option), "/mnt").data
    if negated:
        assert option not in mounted(runtime, mount(bundle(), "/mnt", "tmpfs", option, negated), "/mnt").data


def test_nosymfollow(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    since(runtime, runc="1.2", crun="never")
    (place / "source").mkdir()
    (place / "source/link").symlink_to("/etc/passwd")
    made = bundle().bind(place / "source", "/mnt", "nosymfollow")
    out = sh(runtime, made, "cat /proc/self/mountinfo; cat /mnt/link && echo FOLLOWED || true")
    assert "nosymfollow" in mount_at(out, "/mnt").options
    assert "FOLLOWED" not in out


# those that stand for something else than themselves: beside an option they belong to, or only for what has ids
ELSEWHERE = {"idmap", "ridmap", "remount"}


@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_every_option_that_features_tells_is_taken(
    runtime: Runtime, bundle: MakeBundle, place: Path, kind: str
) -> None:
    """features.md: "mountOptions: recognized mount options"; none of them is a word for the file system, as it was told
    a word it does not know would be refused (see test_unknown_data_is_refused)."""
    runtime.not_like("runc", "crun", because="1.8 does not know `features`, and what 1.1 tells differs by file system")
    (place / "source").mkdir()
    options = set(json.loads(runtime.ok("features"))["mountOptions"]) - ELSEWHERE
    if kind == "tmpfs":
        options -= {"bind", "rbind"}
    made = bundle()
    for option in options:
        mount(made, f"/mnt/{option}", kind, *(["bind"] if kind == "bind" else []), option, source=str(place / "source"))
    found = {entry.path: entry for entry in mounts(sh(runtime, made, "cat /proc/self/mountinfo"))}
    assert {f"/mnt/{option}" for option in options} <= set(found)
    for plain in ("ro", "nosuid", "nodev", "noexec", "nosymfollow"):
        assert plain in found[f"/mnt/{plain}"].options
        assert plain in found[f"/mnt/r{plain}"].options
        opposite = {"ro": "rw"}.get(plain, plain[2:])
        assert plain not in found[f"/mnt/{opposite}"].options | found[f"/mnt/r{opposite}"].options


def test_symbolic_links_are_followed_again(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    since(runtime, runc="1.2", crun="never")
    (place / "source").mkdir()
    (place / "source/link").symlink_to("/etc/passwd")
    made = bundle().bind(place / "source", "/mnt", "nosymfollow", "symfollow")
    assert "root:" in sh(runtime, made, "cat /mnt/link")


def test_read_only_is_enforced(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    (place / "source").mkdir()
    made = capable(bundle()).bind(place / "source", "/mnt", "ro")
    assert "Read-only file system" in sh(runtime, made, "touch /mnt/x 2>&1 && echo written || true")
    assert list((place / "source").iterdir()) == []


def test_noexec_is_enforced(runtime: Runtime, bundle: MakeBundle) -> None:
    made = mount(bundle(), "/mnt", "tmpfs", "noexec", "mode=755")
    script = "cp=/mnt/t; cat /bin/busybox >$cp; chmod 755 $cp; $cp true 2>/dev/null; echo $?"
    assert sh(runtime, made, script).strip() == "126"


def test_nodev_is_enforced(runtime: Runtime, bundle: MakeBundle) -> None:
    made = any_device(capable(mount(mount(bundle(), "/mnt", "tmpfs", "nodev"), "/tmp", "tmpfs")))
    script = "for d in /mnt /tmp; do mknod $d/null c 1 3; cat $d/null 2>/dev/null && echo opened || echo denied; done"
    assert sh(runtime, made, script).split() == ["denied", "opened"]


def test_nosuid_is_enforced(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """A set-uid file that runs as its owner without the option, and as who called it with it."""
    tree = place / "source"
    tree.mkdir()
    (tree / "id").write_bytes(Path("/usr/bin/id").read_bytes())
    (tree / "id").chmod(0o4755)
    for options, uid in ((["nosuid"], "1000"), ([], "0")):
        made = python(bundle(), "").bind(tree, "/mnt", *options).command("/mnt/id", "-u")
        made.process["user"] = {"uid": 1000, "gid": 1000}
        made.process["noNewPrivileges"] = False
        assert told(runtime, made).strip() == uid


@pytest.mark.parametrize(("option", "shown"), RECURSIVE)
def test_recursive_options_reach_what_is_below(
    runtime: Runtime, bundle: MakeBundle, place: Path, option: str, shown: str
) -> None:
    """ "rro: Recursively mount read-only" and so on, by mount_setattr(2) with AT_RECURSIVE."""
    if "atime" in shown or "diratime" in shown:
        runtime.not_like("crun", because="does not tell the kernel which time option it replaces, mount_setattr(2)")
    if option == "rnosymfollow":
        since(runtime, runc="1.2", crun="never")
    (place / "source/sub").mkdir(parents=True)
    wrapped = private(runtime, f"mount -t tmpfs inner {place}/source/sub;")
    out = sh(wrapped, bundle().bind(place / "source", "/mnt", "rbind", option), "cat /proc/self/mountinfo")
    assert shown in mount_at(out, "/mnt").options
    assert shown in mount_at(out, "/mnt/sub").options


@pytest.mark.parametrize(
    ("option", "gone"),
    [
        ("rrw", "ro"),
        ("rsuid", "nosuid"),
        ("rdev", "nodev"),
        ("rexec", "noexec"),
        ("ratime", "noatime"),
        ("rdiratime", "nodiratime"),
        ("rsymfollow", "nosymfollow"),
    ],
)
def test_recursive_options_clear_as_well(
    runtime: Runtime, bundle: MakeBundle, place: Path, option: str, gone: str
) -> None:
    if option in ("ratime", "rdiratime", "rsymfollow"):
        since(runtime, runc="1.2", crun="never")
    (place / "source/sub").mkdir(parents=True)
    wrapped = private(runtime, f"mount -t tmpfs -o {gone} inner {place}/source/sub;")
    out = sh(wrapped, bundle().bind(place / "source", "/mnt", "rbind", option), "cat /proc/self/mountinfo")
    assert gone not in mount_at(out, "/mnt/sub").options


@pytest.mark.parametrize(
    ("option", "shown"),
    [("rstrictatime", ""), ("rrelatime", "relatime"), ("rnostrictatime", "relatime"), ("rnorelatime", "relatime")],
)
def test_recursive_times(runtime: Runtime, bundle: MakeBundle, place: Path, option: str, shown: str) -> None:
    since(runtime, runc="1.2", crun="never")
    (place / "source/sub").mkdir(parents=True)
    wrapped = private(runtime, f"mount -t tmpfs -o noatime inner {place}/source/sub;")
    out = sh(wrapped, bundle().bind(place / "source", "/mnt", "rbind", option), "cat /proc/self/mountinfo")
    assert {"relatime", "noatime"} & mount_at(out, "/mnt/sub").options == words(shown)


def test_plain_options_stay_at_the_top(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    (place / "source/sub").mkdir(parents=True)
    wrapped = private(runtime, f"mount -t tmpfs inner {place}/source/sub;")
    out = sh(wrapped, bundle().bind(place / "source", "/mnt", "rbind", "ro", "nosuid"), "cat /proc/self/mountinfo")
    assert mount_at(out, "/mnt").options >= {"ro", "nosuid"}
    assert not mount_at(out, "/mnt/sub").options & {"ro", "nosuid"}


def test_a_plain_option_beside_a_recursive_one(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """The top takes both, what is below takes the recursive one."""
    (place / "source/sub").mkdir(parents=True)
    wrapped = private(runtime, f"mount -t tmpfs inner {place}/source/sub;")
    out = sh(wrapped, bundle().bind(place / "source", "/mnt", "rbind", "nosuid", "rnodev"), "cat /proc/self/mountinfo")
    assert mount_at(out, "/mnt").options >= {"nosuid", "nodev"}
    assert mount_at(out, "/mnt/sub").options & {"nosuid", "nodev"} == {"nodev"}


@pytest.mark.parametrize(("option", "below"), [("bind", False), ("rbind", True)])
def test_bind_and_rbind(runtime: Runtime, bundle: MakeBundle, place: Path, option: str, below: bool) -> None:
    (place / "source/sub").mkdir(parents=True)
    wrapped = private(runtime, f"mount -t tmpfs inner {place}/source/sub; touch {place}/source/sub/file;")
    made = mount(bundle(), "/mnt", "none", option, source=str(place / "source"))
    assert ("file" in sh(wrapped, made, "ls /mnt/sub")) is below


def test_bind_keeps_what_the_source_forbids(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """A read-only source does not become writable in a user namespace: the flags are locked, mount_namespaces(7)."""
    runtime.not_like("crun", because="opens the source with the rights of the host")
    (place / "source").mkdir()
    wrapped = private(runtime, f"mount -t tmpfs -o ro,nosuid,nodev,noexec inner {place}/source; chmod 755 {place};")
    made = user_namespace(bundle()).bind(place / "source", "/mnt")
    done = wrapped.run(made.command("cat", "/proc/self/mountinfo"))
    if done.returncode == 0:
        assert mount_at(done.stdout, "/mnt").options >= {"ro", "nosuid", "nodev", "noexec"}
    else:
        assert "/mnt" in done.stderr


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("private", set()),
        ("rprivate", set()),
        ("shared", {"shared"}),
        ("rshared", {"shared"}),
        ("slave", {"master"}),
        ("rslave", {"master"}),
        ("unbindable", {"unbindable"}),
        ("runbindable", {"unbindable"}),
    ],
)
@pytest.mark.parametrize("how", ["bind", "rbind"])
def test_propagation(
    runtime: Runtime, bundle: MakeBundle, place: Path, how: str, option: str, expected: set[str]
) -> None:
    """From a source that is shared, so that every other state has to be made."""
    if "slave" in option or "unbindable" in option:
        runtime.not_like("crun", because="makes every mount what the root is, at the end")
    (place / "source/sub").mkdir(parents=True)
    script = (
        f"mount --bind {place}/source {place}/source; mount -t tmpfs inner {place}/source/sub;"
        f"mount --make-rshared {place}/source;"
    )
    wrapped = private(runtime, script, "--propagation", "slave")
    made = bundle().bind(place / "source", "/mnt", option)
    made.config["mounts"][-1]["options"][0] = how
    if expected - {"unbindable"}:  # crun lets the root decide for all
        made.linux["rootfsPropagation"] = option.removeprefix("r")
    out = sh(wrapped, made, "cat /proc/self/mountinfo")
    below = ["/mnt/sub"] if how == "rbind" and option.startswith("r") else []
    for path in ["/mnt", *below]:  # what is shared inside may follow the host as well
        assert mount_at(out, path).propagation - ({"master"} if "shared" in option else set()) == expected


def test_mounts_of_the_container_do_not_reach_the_host(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """Whatever is shared on the host: without propagation asked for, nothing goes out."""
    (place / "source/sub").mkdir(parents=True)
    script = f"mount --bind {place}/source {place}/source; mount --make-shared {place}/source;"
    wrapped = private(runtime, script, "--propagation", "slave")
    wrapped.prefix[-len(runtime.prefix) or len(wrapped.prefix) :] = runtime.prefix
    watch = f'"$@"; code=$?; grep -c " {place}/source/sub " /proc/self/mountinfo; exit $code'
    wrapped.prefix = [*wrapped.prefix, "sh", "-c", watch, "sh"]
    made = capable(bundle()).bind(place / "source", "/mnt", "rslave")
    done = wrapped.run(made.command("sh", "-c", "mount -t tmpfs x /mnt/sub; grep -c ' /mnt/sub ' /proc/self/mountinfo"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "0"]


def test_remount(runtime: Runtime, bundle: MakeBundle) -> None:
    made = mount(bundle(), "/mnt", "tmpfs", "nosuid", "size=1m")
    mount(made, "/mnt", "tmpfs", "remount", "ro", "noexec", "size=1m")
    found = mounted(runtime, made, "/mnt")
    assert found.options >= {"ro", "noexec"}


def test_tmpcopyup(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.2")  # modes of set-id bits
    made = capable(bundle())
    tree = made.rootfs / "var/data"
    (tree / "deep/er").mkdir(parents=True)
    (tree / "file").write_text("content\n")
    (tree / "deep/link").symlink_to("../file")
    (tree / "deep/er").chmod(0o2751)
    (tree / "file").chmod(0o640)
    os.chown(tree / "file", 7, 8)
    mount(made, "/var/data", "tmpfs", "tmpcopyup", "rw")
    out = sh(
        runtime,
        made,
        "cd /var/data; cat file; readlink deep/link 2>/dev/null || ls -l deep/link; stat -c '%a %u %g' file;"
        "stat -c %a deep/er; touch new; cat /proc/self/mountinfo",
    )
    assert out.startswith("content\n")
    assert "../file" in out.splitlines()[1]
    assert out.splitlines()[2:4] == ["640 7 8", "2751"]
    assert mount_at(out, "/var/data").type == "tmpfs"
    assert not (tree / "new").exists()


def test_a_tmpfs_has_the_mode_of_what_it_covers(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    (made.rootfs / "covered").mkdir(mode=0o711)
    mount(made, "/covered", "tmpfs", "size=64k")
    mount(made, "/missing", "tmpfs", "size=64k")
    assert sh(runtime, made, "stat -c %a /covered /missing").split() == ["711", "1777"]


def test_a_given_mode_and_owner_count_for_tmpcopyup(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.2")  # the mode of the directory counted
    made = capable(bundle())
    for name in ("plain", "given"):
        (made.rootfs / name).mkdir(mode=0o711)
        (made.rootfs / name / "file").touch()
    mount(made, "/plain", "tmpfs", "size=64k", "tmpcopyup")
    mount(made, "/given", "tmpfs", "size=64k", "tmpcopyup", "mode=1770", "uid=5", "gid=6")
    mount(made, "/new", "tmpfs", "size=64k", "tmpcopyup", "mode=1700")
    shown = sh(runtime, made, "cd /; stat -c '%a %u %g' plain given new; ls given").splitlines()
    assert shown == ["711 0 0", "1770 5 6", "1700 0 0", "file"]


def test_relative_destinations_are_the_roots(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "For compatibility with old runtimes and configurations, a relative path MAY be taken as relative to /." """
    assert mounted(runtime, mount(bundle(), "mnt", "tmpfs", "size=1m"), "/mnt").type == "tmpfs"
    assert mounted(runtime, mount(bundle(), "var/a/b", "tmpfs", "size=1m"), "/var/a/b").type == "tmpfs"


def test_a_file_on_a_missing_file(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    (place / "file").write_text("bound\n")
    made = bundle().bind(place / "file", "/etc/new/file", "ro").bind(place / "file", "/etc/passwd")
    assert sh(runtime, made, "cat /etc/new/file /etc/passwd") == "bound\nbound\n"
    target = (made.rootfs / "etc/new/file").lstat()
    assert stat.S_ISREG(target.st_mode)
    assert target.st_size == 0


def test_missing_directories_are_made(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """ "If the destination does not exist, the runtime MUST create" it; what is made belongs to root and is no wider
    than 0755."""
    (place / "source").mkdir()
    made = mount(bundle(), "/a/b/c", "tmpfs", "size=1m").bind(place / "source", "/d/e/f")
    out = sh(runtime, made, "cat /proc/self/mountinfo")
    assert mount_at(out, "/a/b/c").type == "tmpfs"
    assert mount_at(out, "/d/e/f").path
    for name in ("a", "a/b", "d", "d/e"):
        status = (made.rootfs / name).stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, 0, 0o755)


def test_data_options(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, runc="1.2")  # overwrites the mode
    made = mount(bundle(), "/mnt", "tmpfs", "size=64k", "mode=0710", "uid=3", "gid=4", "nr_inodes=77", "nosuid")
    out = sh(runtime, made, "stat -c '%a %u %g' /mnt; cat /proc/self/mountinfo")
    assert out.splitlines()[0] == "710 3 4"
    assert mount_at(out, "/mnt").data >= {"size=64k", "nr_inodes=77", "mode=710"}


def test_unknown_data_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    refused(runtime, mount(bundle("true"), "/mnt", "tmpfs", "colour=blue"), "/mnt")


def test_an_unknown_type_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    refused(runtime, mount(bundle("true"), "/mnt", "fogfs"), "/mnt")


@pytest.mark.parametrize("option", ["bind", "rbind"])
def test_a_missing_source_is_refused(runtime: Runtime, bundle: MakeBundle, place: Path, option: str) -> None:
    refused(runtime, mount(bundle("true"), "/mnt", "none", option, source=f"{place}/absent"), f"{place}/absent")


def test_a_directory_on_a_file_is_refused(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    (place / "source").mkdir()
    refused(runtime, bundle("true").bind(place / "source", "/etc/passwd"), "/etc/passwd")


def test_a_relative_source_is_the_bundles(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "If the value is a relative path, it is relative to the bundle's directory" (bind mounts)."""
    made = bundle().bind("here", "/mnt")
    (made.path / "here").mkdir()
    (made.path / "here/file").touch()
    assert sh(runtime, made, "ls /mnt").split() == ["file"]


def test_mounts_are_made_in_order(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "The runtime MUST mount entries in the listed order." """
    made = mount(mount(bundle(), "/mnt", "tmpfs", "size=64k"), "/mnt/sub", "tmpfs", "size=128k")
    mount(made, "/mnt/sub", "tmpfs", "size=256k")
    found = [entry for entry in mounts(sh(runtime, made, "cat /proc/self/mountinfo")) if entry.path.startswith("/mnt")]
    sizes = [next(word for word in entry.data if word.startswith("size=")) for entry in found]
    assert sizes == ["size=64k", "size=128k", "size=256k"]


def test_paths_with_spaces(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    (place / "a source\t").mkdir()
    made = bundle().bind(place / "a source\t", "/mnt/a place\\ü")
    assert mounted(runtime, made, "/mnt/a place\\ü")


@pytest.mark.parametrize(
    ("path", "kind"), [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/mqueue", "mqueue"), ("/dev/pts", "devpts")]
)
def test_the_kernels_own_file_systems(runtime: Runtime, bundle: MakeBundle, path: str, kind: str) -> None:
    found = mounted(runtime, bundle(), path)
    assert found.type == kind
    if kind == "devpts":
        assert found.data >= {"mode=620", "ptmxmode=666", "gid=5"}
    if kind == "sysfs":
        assert found.options >= {"ro", "nosuid", "nodev", "noexec"}


def test_mqueue_is_the_containers_own(runtime: Runtime, bundle: MakeBundle) -> None:
    assert sh(runtime, bundle(), "touch /dev/mqueue/queue; ls /dev/mqueue").split() == ["queue"]
    assert sh(runtime, bundle(), "ls /dev/mqueue").split() == []


@pytest.mark.parametrize("apart", [True, False])
def test_the_cgroup_view(runtime: Runtime, bundle: MakeBundle, apart: bool) -> None:
    """Read-only, with what the host has, and the container's own group at the top of every controller: by a cgroup
    namespace, or by bind mounts as before there were any."""
    made = bundle()
    if apart:
        namespace(made, "cgroup")
    out = sh(runtime, made, "cat /proc/self/mountinfo; ls /sys/fs/cgroup; cat /sys/fs/cgroup/pids/cgroup.procs")
    below = {entry.path: entry for entry in mounts(out) if entry.path.startswith("/sys/fs/cgroup")}
    assert below["/sys/fs/cgroup/pids"].type == "cgroup"
    if runtime.name == "cloche-runtime":  # the others leave the directory above them writable
        assert "ro" in below["/sys/fs/cgroup"].options
    assert "ro" in below["/sys/fs/cgroup/pids"].options
    assert out.splitlines()[-1] in ("1", "2")
    for controller in ("pids", "memory", "devices", "cpu"):
        assert controller in out


def test_the_cgroup_view_cannot_be_written(runtime: Runtime, bundle: MakeBundle) -> None:
    top = "." if runtime.name == "cloche-runtime" else ""
    made = capable(namespace(bundle(), "cgroup"))
    script = (
        f"cd /sys/fs/cgroup; for d in {top} *; do mkdir $d/x 2>/dev/null && echo made $d; done;"
        "for f in memory/memory.limit_in_bytes pids/pids.max devices/devices.allow; do"
        "  (echo 1 >$f) 2>/dev/null && echo wrote $f; done; true"
    )
    assert sh(runtime, made, script) == ""


# id-mapped mounts

MAPS = [{"containerID": 0, "hostID": 5000, "size": 1000}]
OTHER = [{"containerID": 0, "hostID": 7000, "size": 500}, {"containerID": 500, "hostID": 0, "size": 1}]


def owned(place: Path) -> Path:
    """A directory with files of the ids 0, 7 and 5000."""
    tree = place / "source"
    (tree / "sub").mkdir(parents=True)
    for owner in (0, 7, 5000):
        (tree / f"of{owner}").touch()
        os.chown(tree / f"of{owner}", owner, owner)
    tree.chmod(0o777)
    return tree


LIST = "cd /mnt; stat -c '%n %u %g' of0 of7 of5000"


def idmapped(made: Bundle, tree: Path, *options: str, maps: object = None) -> Bundle:
    """The tree at /mnt with these mappings and options."""
    more = {} if maps is None else {"uidMappings": maps, "gidMappings": maps}
    return mount(made, "/mnt", "none", *(options or ("bind",)), source=str(tree), **more)


def test_mappings_of_a_mount(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """config.md: "uidMappings … the mapping to convert UIDs from the source file system to the destination mount
    point": what is containerID on disk shows as hostID, as in mount_setattr(2)."""
    since(runtime, runc="1.2")
    tree = owned(place)
    made = idmapped(capable(bundle()), tree, maps=MAPS)
    out = sh(runtime, made, LIST + "; touch new 2>/dev/null; chown 5003:5004 of5000 2>/dev/null || true").splitlines()
    assert out == ["of0 5000 5000", "of7 5007 5007", "of5000 65534 65534"]
    assert (tree / "of0").stat().st_uid == 0


def test_files_made_through_a_mapping_go_back(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    since(runtime, runc="1.2")
    tree = owned(place)
    made = idmapped(bundle(), tree, maps=MAPS)
    made.process["user"] = {"uid": 5005, "gid": 5006}
    sh(runtime, made, "touch /mnt/new")
    assert ((tree / "new").stat().st_uid, (tree / "new").stat().st_gid) == (5, 6)


def test_mappings_inside_a_user_namespace(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """The mount's own mapping is to ids of the host: what they are inside, the user namespace says."""
    since(runtime, runc="1.2", crun="1.9")
    tree = owned(place)
    maps = [{"containerID": 0, "hostID": 300000, "size": 1000}]
    made = user_namespace(idmapped(bundle(), tree, maps=maps), 300000)
    assert sh(runtime, made, LIST).splitlines() == ["of0 0 0", "of7 7 7", "of5000 65534 65534"]


def test_several_extents(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    since(runtime, runc="1.2")
    tree = owned(place)
    maps = [{"containerID": 0, "hostID": 8000, "size": 2}, {"containerID": 7, "hostID": 70, "size": 1}]
    out = sh(runtime, idmapped(bundle(), tree, maps=maps), LIST)
    assert out.splitlines() == ["of0 8000 8000", "of7 70 70", "of5000 65534 65534"]


@pytest.mark.parametrize("option", ["idmap", "ridmap"])
def test_idmap_without_mappings_takes_the_containers(
    runtime: Runtime, bundle: MakeBundle, place: Path, option: str
) -> None:
    """config.md: "idmap: … If the mount has no mappings, … the mapping of the container's user namespace"."""
    since(runtime, runc="1.2", crun="1.9")
    tree = owned(place)
    made = user_namespace(idmapped(bundle(), tree, "rbind", option))
    out = sh(runtime, made, LIST + "; touch new; stat -c %u new")
    assert out.splitlines() == ["of0 0 0", "of7 7 7", "of5000 5000 5000", "0"]
    assert (tree / "new").stat().st_uid == 0


@pytest.mark.parametrize(("option", "reached"), [("idmap", False), ("ridmap", True)])
def test_ridmap_reaches_what_is_below(
    runtime: Runtime, bundle: MakeBundle, place: Path, option: str, reached: bool
) -> None:
    since(runtime, runc="1.2", crun="1.9")
    tree = owned(place)
    wrapped = private(runtime, f"mount -t tmpfs inner {tree}/sub; touch {tree}/sub/file")
    made = idmapped(capable(bundle()), tree, "rbind", option, maps=MAPS)
    expected = "5000 5000" if reached else "0 0"
    assert sh(wrapped, made, "stat -c '%u %g' /mnt /mnt/sub/file").splitlines() == ["5000 5000", expected]


def test_two_mounts_with_two_mappings(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    since(runtime, runc="1.2")
    tree = owned(place)
    made = idmapped(bundle(), tree, maps=MAPS)
    mount(made, "/tmp", "none", "bind", source=str(tree), uidMappings=OTHER, gidMappings=OTHER)
    out = sh(runtime, made, "stat -c %u /mnt/of7 /tmp/of7")
    assert out.split() == ["5007", "7007"]


def test_idmap_without_any_mappings_is_refused(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    since(runtime, runc="1.2")
    refused(runtime, idmapped(bundle("true"), owned(place), "bind", "idmap"), "/mounts/7")


@pytest.mark.parametrize("kind", ["tmpfs", "proc"])
def test_mappings_of_what_cannot_be_mapped_are_refused(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    """Never ignored: the ids would be others than those asked for."""
    since(runtime, runc="1.2", crun="never")
    refused(runtime, mount(bundle("true"), "/mnt", kind, uidMappings=MAPS, gidMappings=MAPS), "/mnt")


def test_half_a_mapping_is_refused(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    since(runtime, runc="1.2", crun="never")
    made = mount(bundle("true"), "/mnt", "none", "bind", source=str(owned(place)), uidMappings=MAPS)
    refused(runtime, made, "/mounts/7")


@pytest.mark.parametrize("destination", ["/", "/./", "/..", "/made/..", "/link", "/made/link"])
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_nothing_is_mounted_over_the_root(
    runtime: Runtime, bundle: MakeBundle, place: Path, kind: str, destination: str
) -> None:
    """Nobody would see it; and where it is seen, it is the whole root that is not what was asked for."""
    made = bundle("true").writable()
    (made.rootfs / "made").mkdir()
    (made.rootfs / "link").symlink_to("/")
    (made.rootfs / "made/link").symlink_to("../../..")
    made.config["mounts"].append({"destination": destination, "type": kind, "source": str(place), "options": []})
    if kind == "bind":
        made.config["mounts"][-1]["options"].append("bind")
    done = runtime.run(made)
    assert done.returncode == 1, done.stdout
    if runtime.name == "cloche-runtime":
        assert "is the root itself" in done.stderr
