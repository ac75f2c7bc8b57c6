"""config.json: `root`, `linux.rootfsPropagation`, masked and read-only paths, devices and the rules about them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.runtime.looking import (
    capable,
    mount,
    mount_at,
    mounted,
    only_cloche,
    private,
    refused,
    sh,
    since,
    told,
    user_namespace,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.conftest import Bundle, MakeBundle, Runtime

DEFAULT_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}

# root


@pytest.mark.parametrize(("readonly", "shown"), [(True, "ro"), (False, "rw"), (None, "rw")])
def test_root_readonly(runtime: Runtime, bundle: MakeBundle, readonly: bool | None, shown: str) -> None:
    made = capable(bundle())
    made.config["root"] = {"path": "rootfs"} if readonly is None else {"path": "rootfs", "readonly": readonly}
    out = sh(runtime, made, "cat /proc/self/mountinfo; touch /new 2>/dev/null && echo WRITTEN || true")
    assert shown in mount_at(out, "/").options
    assert ("WRITTEN" in out) is (made.rootfs / "new").exists() is (shown == "rw")


def test_an_absolute_root(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("true")
    made.config["root"]["path"] = str(made.rootfs)
    told(runtime, made)


@pytest.mark.parametrize("path", ["absent", "/does/not/exist", "config.json"])
def test_a_root_that_is_no_directory_is_refused(runtime: Runtime, bundle: MakeBundle, path: str) -> None:
    """ "A directory MUST exist at the path declared by the field." """
    made = bundle("true")
    made.config["root"]["path"] = path
    refused(runtime, made, path)


def test_no_root_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("true")
    del made.config["root"]
    refused(runtime, made, "/root")


def test_other_mounts_of_a_read_only_root_stay_writable(runtime: Runtime, bundle: MakeBundle) -> None:
    made = mount(bundle(), "/mnt", "tmpfs")
    assert sh(runtime, made, "touch /mnt/x /dev/x /dev/shm/x && echo written").strip() == "written"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("private", set()),
        ("slave", {"master"}),
        ("shared", {"shared"}),
        ("unbindable", {"unbindable"}),
        ("rprivate", set()),
        ("rslave", {"master"}),
        ("rshared", {"shared"}),
        ("", set()),
    ],
)
def test_root_propagation(runtime: Runtime, bundle: MakeBundle, place: Path, value: str, expected: set[str]) -> None:
    """ "shared: the rootfs mount belongs to a new peer group", "slave: the rootfs mount receives propagation events
    from the host" and so on. The r* forms are what engines write."""
    if value in ("unbindable", "shared", "rshared"):
        since(runtime, runc="1.2")
    wrapped = private(runtime, f"mount --bind {place} {place}; mount --make-rshared /;", "--propagation", "slave")
    made = bundle()
    made.linux["rootfsPropagation"] = value
    found = mounted(wrapped, made, "/").propagation
    if "shared" in expected:
        assert "shared" in found
    elif "slave" in value or value == "":
        assert "shared" not in found
    else:
        assert found == expected


@pytest.mark.parametrize("value", ["private", "slave", "shared", ""])
def test_what_is_mounted_inside_does_not_come_out(
    runtime: Runtime, bundle: MakeBundle, place: Path, value: str
) -> None:
    """ "Note this does not mean that it's shared with the host." """
    wrapped = private(runtime, f"mount --bind {place} {place}; mount --make-rshared /;", "--propagation", "slave")
    watch = '"$@"; code=$?; grep -c /marker /proc/self/mountinfo; exit $code'
    wrapped.prefix = [*wrapped.prefix, "sh", "-c", watch, "sh"]
    made = capable(bundle())
    (made.rootfs / "marker").mkdir()
    if value:
        made.linux["rootfsPropagation"] = value
    script = "mount -t tmpfs x /marker; grep -c ' /marker ' /proc/self/mountinfo"
    done = wrapped.run(made.command("sh", "-c", script))
    assert done.stdout.split() == ["1", "0"], done.stderr


def test_an_unknown_propagation_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("crun", because="takes an unknown word for none")
    made = bundle("true")
    made.linux["rootfsPropagation"] = "sideways"
    refused(runtime, made, "/linux/rootfsPropagation")


# masked and read-only paths


def test_masked_paths(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "will mask over the provided paths inside the container so that they cannot be read" """
    made = capable(bundle())
    for name in ("etc/secret", "var/dir/inner"):
        (made.rootfs / name).parent.mkdir(parents=True, exist_ok=True)
        (made.rootfs / name).write_text("secret\n")
    made.linux["maskedPaths"] = ["/etc/secret", "/var/dir", "/proc/kcore", "/sys/firmware", "/no/such/path"]
    out = sh(
        runtime,
        made,
        "cat /etc/secret; head -c 10 /proc/kcore; ls -A /var/dir; ls -A /sys/firmware;"
        "touch /var/dir/x 2>/dev/null && echo WRITTEN; cat /proc/self/mountinfo",
    )
    assert "secret\n" not in out
    assert out[0].isdigit()  # nothing was printed before mountinfo
    assert "ro" in mount_at(out, "/var/dir").options
    assert mount_at(out, "/etc/secret").path


def test_a_masked_file_stays_masked_for_writers(runtime: Runtime, bundle: MakeBundle) -> None:
    made = capable(bundle()).writable()
    (made.rootfs / "etc/secret").write_text("secret\n")
    made.linux["maskedPaths"] = ["/etc/secret"]
    sh(runtime, made, "echo changed >/etc/secret; cat /etc/secret; rm -f /etc/secret; true")
    assert (made.rootfs / "etc/secret").read_text() == "secret\n"


def test_readonly_paths(runtime: Runtime, bundle: MakeBundle) -> None:
    made = capable(bundle()).writable()
    (made.rootfs / "var/dir").mkdir()
    (made.rootfs / "var/file").write_text("content\n")
    made.linux["readonlyPaths"] = ["/proc/sys", "/var/dir", "/var/file", "/no/such/path"]
    out = sh(
        runtime,
        made,
        "cat /proc/self/mountinfo /var/file; for f in /var/dir/x /var/file /proc/sys/kernel/hostname; do"
        " (echo x >$f) 2>/dev/null && echo WROTE $f; done; true",
    )
    assert "WROTE" not in out
    assert "content" in out
    for path in ("/proc/sys", "/var/dir", "/var/file"):
        assert "ro" in mount_at(out, path).options


def test_read_only_paths_keep_the_flags_they_had(runtime: Runtime, bundle: MakeBundle) -> None:
    since(runtime, crun="1.9")
    made = mount(bundle(), "/mnt", "tmpfs", "nosuid", "nodev", "noexec")
    made.linux["readonlyPaths"] = ["/mnt"]
    assert mounted(runtime, made, "/mnt").options >= {"ro", "nosuid", "nodev", "noexec"}


@pytest.mark.parametrize("name", ["maskedPaths", "readonlyPaths"])
def test_relative_paths_are_refused(runtime: Runtime, bundle: MakeBundle, name: str) -> None:
    """ "The values MUST be absolute paths in the container namespace." """
    only_cloche(runtime, "runc and crun take them from the current directory")
    made = bundle("true")
    made.linux[name] = ["proc/kcore"]
    refused(runtime, made, f"/linux/{name}/0")


# devices


def listed(runtime: Runtime, made: Bundle, *paths: str) -> list[list[str]]:
    """Type, mode, major, minor (hexadecimal), uid, gid of each path."""
    return [
        line.split("|") for line in sh(runtime, made, f"stat -c '%F|%a|%t|%T|%u|%g' {' '.join(paths)}").splitlines()
    ]


def test_default_devices(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "In addition to any devices configured with this setting, the runtime MUST also supply" """
    names = list(DEFAULT_DEVICES)
    out = listed(runtime, bundle(), *[f"/dev/{name}" for name in names])
    for name, found in zip(names, out, strict=True):
        assert found[:4] == ["character special file", "666", *(f"{n:x}" for n in DEFAULT_DEVICES[name])], name


@pytest.mark.parametrize("apart", [False, True])
def test_default_devices_work(runtime: Runtime, bundle: MakeBundle, apart: bool) -> None:
    made = user_namespace(bundle()) if apart else bundle()
    script = (
        "echo x >/dev/null; head -c 3 /dev/zero | wc -c; (echo x >/dev/full) 2>/dev/null || echo full;"
        "head -c 5 /dev/random | wc -c; head -c 5 /dev/urandom | wc -c"
    )
    assert sh(runtime, made, script).split() == ["3", "full", "5", "5"]


def test_default_links(runtime: Runtime, bundle: MakeBundle) -> None:
    """runtime-linux.md: "the runtime MUST create the following symlinks if the source file exists" """
    script = "cd /dev; for f in fd stdin stdout stderr; do ls -l $f; done; ls -lL ptmx; cat /proc/self/mountinfo"
    out = sh(runtime, bundle(), script).splitlines()
    targets = [line.rpartition(" -> ")[2] for line in out[:4]]
    assert targets == ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"]
    assert "5,   2" in out[4]


def test_nothing_else_is_in_dev(runtime: Runtime, bundle: MakeBundle) -> None:
    found = set(sh(runtime, bundle(), "ls /dev").split())
    expected = {*DEFAULT_DEVICES, "fd", "stdin", "stdout", "stderr", "ptmx", "pts", "shm", "mqueue", "core"}
    assert found - {"core", "console"} == expected - {"core"}


@pytest.mark.parametrize("apart", [False, True])
def test_devices(runtime: Runtime, bundle: MakeBundle, apart: bool) -> None:
    made = bundle()
    made.linux["devices"] = [
        {"path": "/dev/ours", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6},
        {"path": "/dev/deep/er/block", "type": "b", "major": 7, "minor": 1, "fileMode": 0o600},
        {"path": "/dev/zero2", "type": "c", "major": 1, "minor": 5},
        {"path": "/opt/dev/out", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666, "uid": 0, "gid": 0},
    ]
    if apart:
        runtime.not_like("runc", because="binds what the host has at the same path")
    if apart:  # made by bind mounts of the host's, whose owner nothing can change
        user_namespace(made)
        (made.rootfs / "opt/dev").mkdir(parents=True)
        (made.rootfs / "opt/dev").chmod(0o777)
        made.linux["devices"] = [{"path": "/opt/dev/out", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666}]
        assert listed(runtime, made, "/opt/dev/out")[0][2:4] == ["1", "5"]
        return
    ours, block, zero, out = listed(runtime, made, "/dev/ours", "/dev/deep/er/block", "/dev/zero2", "/opt/dev/out")
    assert ours == ["character special file", "640", "1", "3", "5", "6"]
    assert block == ["block special file", "600", "7", "1", "0", "0"]
    assert zero[:4] == ["character special file", zero[1], "1", "5"]
    assert out == ["character special file", "666", "1", "5", "0", "0"]


def test_an_unbuffered_device_is_a_character_one(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "type of device: c, b, u or p" """
    made = bundle()
    made.linux["devices"] = [{"path": "/dev/ours", "type": "u", "major": 1, "minor": 3, "fileMode": 0o666}]
    assert listed(runtime, made, "/dev/ours")[0][:4] == ["character special file", "666", "1", "3"]


def test_a_fifo_is_a_device_without_numbers(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["devices"] = [{"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 1, "gid": 2}]
    found = listed(runtime, made, "/dev/pipe")[0]
    assert (found[0], found[1], found[4:]) == ("fifo", "622", ["1", "2"])


def test_the_umask_does_not_narrow_a_device(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.process["user"]["umask"] = 0o077
    made.linux["devices"] = [{"path": "/dev/ours", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]
    wrapped = private(runtime, "umask 077;")
    assert [entry[1] for entry in listed(wrapped, made, "/dev/ours", "/dev/null")] == ["666", "666"]


def test_another_file_at_a_devices_path_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "If a file already exists at path that does not match the requested device, the runtime MUST generate an
    error." """
    runtime.not_like("runc", "crun", because="config-linux.md, devices: takes what is there, or mounts over it")
    made = bundle("true")
    (made.rootfs / "opt").mkdir()
    (made.rootfs / "opt/dev").write_text("a file\n")
    made.linux["devices"] = [{"path": "/opt/dev", "type": "c", "major": 1, "minor": 3}]
    refused(runtime, made, "/opt/dev")


@pytest.mark.parametrize(
    "device",
    [
        {"path": "/dev/x", "type": "c"},
        {"path": "/dev/x", "type": "z", "major": 1, "minor": 3},
        {"path": "dev/x", "type": "c", "major": -1, "minor": 3},
    ],
)
def test_devices_that_mean_nothing_are_refused(runtime: Runtime, bundle: MakeBundle, device: dict[str, object]) -> None:
    only_cloche(runtime, "runc and crun take zero for what is absent")
    made = bundle("true")
    made.linux["devices"] = [device]
    refused(runtime, made, "/linux/devices/0")


# rules about devices

DENY = {"allow": False, "access": "rwm"}


def rules(made: Bundle, *entries: dict[str, object]) -> Bundle:
    made.linux["resources"]["devices"] = [dict(entry) for entry in entries]
    return made


def allow(kind: str, major: int | None, minor: int | None, access: str, *, allowed: bool = True) -> dict[str, object]:
    entry: dict[str, object] = {"allow": allowed, "type": kind, "access": access}
    if major is not None:
        entry["major"] = major
    if minor is not None:
        entry["minor"] = minor
    return entry


TRY = (
    "cd /tmp; t() {{ mknod $1 $2 $3 $4 2>/dev/null && echo m$1; rm -f $1; }}; {lines}"
    " for d in $(ls /opt 2>/dev/null); do (: </opt/$d) 2>/dev/null && echo r$d;"
    " (: >/opt/$d) 2>/dev/null && echo w$d; done; true"
)


def tries(runtime: Runtime, made: Bundle, *nodes: tuple[str, str, int, int]) -> set[str]:
    """What the container may do with nodes (name, type, major, minor): mNAME make, rNAME read, wNAME write."""
    capable(made)
    mount(made, "/tmp", "tmpfs")
    (made.rootfs / "opt").mkdir(exist_ok=True)
    for name, kind, major, minor in nodes:
        os.mknod(made.rootfs / "opt" / name, {"c": 0o020666, "b": 0o060666}[kind], os.makedev(major, minor))
    lines = " ".join(f"t {name} {kind} {major} {minor};" for name, kind, major, minor in nodes)
    return set(sh(runtime, made, TRY.format(lines=lines)).split())


KMSG, HWRNG, LOOP, LOOP1 = ("kmsg", "c", 1, 11), ("rtc", "c", 10, 183), ("loop", "b", 7, 0), ("loop1", "b", 7, 1)


def test_what_is_denied_cannot_be_opened(runtime: Runtime, bundle: MakeBundle) -> None:
    """Making nodes of any type is what runc and crun allow besides, as opening is what counts."""
    found = tries(runtime, rules(bundle(), DENY), KMSG, LOOP)
    assert not {item for item in found if item[0] in "rw"}


def test_what_is_allowed_can(runtime: Runtime, bundle: MakeBundle) -> None:
    found = tries(runtime, rules(bundle(), DENY, allow("c", 1, 11, "rw"), allow("b", 7, 0, "r")), KMSG, LOOP, LOOP1)
    assert {item for item in found if item[0] in "rw"} == {"rkmsg", "wkmsg", "rloop"}


def test_a_whole_major_number(runtime: Runtime, bundle: MakeBundle) -> None:
    found = tries(runtime, rules(bundle(), DENY, allow("b", 7, None, "rwm")), KMSG, LOOP, LOOP1)
    assert {item for item in found if item[0] in "rw"} == {"rloop", "wloop", "rloop1", "wloop1"}


def test_minus_one_is_any_number(runtime: Runtime, bundle: MakeBundle) -> None:
    """What engines write where the specification says "unset"."""
    since(runtime, crun="never")
    found = tries(runtime, rules(bundle(), DENY, allow("b", 7, -1, "r")), LOOP, LOOP1)
    assert {item for item in found if item[0] in "rw"} == {"rloop", "rloop1"}


def test_everything_is_allowed(runtime: Runtime, bundle: MakeBundle) -> None:
    found = tries(runtime, rules(bundle(), {"allow": True, "access": "rwm"}), KMSG, LOOP)
    assert found >= {"mkmsg", "rkmsg", "wkmsg", "mloop", "rloop"}


def test_rules_apply_in_order(runtime: Runtime, bundle: MakeBundle) -> None:
    """ "The runtime MUST apply entries in the listed order." """
    narrow = allow("b", 7, 0, "rwm", allowed=False)
    first = rules(bundle(), DENY, allow("b", 7, 0, "r"), narrow)
    assert "rloop" not in tries(runtime, first, LOOP)
    second = rules(bundle(), DENY, narrow, allow("b", 7, 0, "r"))
    assert "rloop" in tries(runtime, second, LOOP)


def test_a_listed_device_may_be_used_as_the_rules_say(runtime: Runtime, bundle: MakeBundle) -> None:
    """Listing a node in `devices` gives no permission by itself where `resources.devices` denies."""
    made = rules(bundle(), DENY)
    made.linux["devices"] = [{"path": "/dev/loop", "type": "b", "major": 7, "minor": 0, "fileMode": 0o666}]
    assert sh(runtime, capable(made), "(: </dev/loop) 2>/dev/null && echo opened || echo denied").strip() == "denied"
    made = rules(bundle(), DENY, allow("b", 7, 0, "r"))
    made.linux["devices"] = [{"path": "/dev/loop", "type": "b", "major": 7, "minor": 0, "fileMode": 0o666}]
    assert sh(runtime, capable(made), "(: </dev/loop) 2>/dev/null && echo opened || echo denied").strip() == "opened"


def test_the_default_devices_are_always_allowed(runtime: Runtime, bundle: MakeBundle) -> None:
    made = rules(capable(bundle()), DENY)
    script = "for d in null zero full random urandom tty; do (: </dev/$d) 2>/dev/null && echo $d; done; true"
    assert set(sh(runtime, made, script).split()) >= {"null", "zero", "full", "random", "urandom"}


def test_terminals_are_always_allowed(runtime: Runtime, bundle: MakeBundle) -> None:
    made = rules(capable(bundle()), DENY)
    assert sh(runtime, made, "(: </dev/ptmx) && echo opened").strip() == "opened"
