"""`create`: everything is set up, and nothing of the user's has run (runtime.md, Create)."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.conftest import OURS, SLEEP, alive, groups_of, processes_of, wait_until
from tests.runtime.looking import only_cloche

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.conftest import Bundle, MakeBundle, Runtime


def nothing_is_left(runtime: Runtime, id: str) -> None:
    """No record, no process, no cgroup."""
    assert runtime.status(id) == ""
    assert id not in runtime.ok("list", "--quiet").split()
    assert [p.name for p in runtime.root.glob("*")] == []
    wait_until(lambda: not processes_of(id), f"{id} leaves {processes_of(id)}")
    assert groups_of(id) == []


def test_the_program_has_not_run(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("touch", "/ran").writable()
    id = runtime.create(made)
    assert runtime.status(id) == "created"
    time.sleep(0.1)
    assert not (made.rootfs / "ran").exists()
    runtime.start(id)
    runtime.wait(id)
    assert (made.rootfs / "ran").exists()


def test_the_namespaces_are_there_before_start(runtime: Runtime, bundle: MakeBundle) -> None:
    pid = runtime.pid(runtime.create(bundle(*SLEEP)))
    for kind in ("pid", "net", "ipc", "uts", "mnt"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), kind


def test_an_id_that_is_taken_is_refused_and_its_container_goes_on(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle(*SLEEP))
    before = runtime.state(id)
    done = runtime.try_create(bundle("true"), id=id)
    assert done.returncode != 0
    assert "exist" in done.stderr
    assert runtime.state(id) == before
    assert alive(before["pid"])
    assert runtime.exec(id, "true").returncode == 0


def test_an_id_is_free_again_after_delete(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("true")
    id = runtime.running(made)
    runtime.wait(id)
    runtime.delete(id)
    runtime.create(made, id=id)
    assert runtime.status(id) == "created"


@pytest.mark.parametrize("id", ["a", "A", "0", "_", "cloche.test", "Cloche_test+1-2.3", "cloche-t" + "x" * 120])
def test_ids_may_have_letters_digits_and_some_signs(runtime: Runtime, bundle: MakeBundle, id: str) -> None:
    made = bundle(*SLEEP)
    made.linux["cgroupsPath"] = f"/{OURS}id"
    runtime.create(made, id=runtime.keep(id))
    assert runtime.state(id)["id"] == id
    assert runtime.ok("list", "--quiet").split() == [id]


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "/a", "../a", "a b", "a\nb", "a:b", "ü", "a@b"])
def test_other_ids_are_refused(runtime: Runtime, bundle: MakeBundle, id: str) -> None:
    if id not in {"", ".."}:
        runtime.not_like("crun", because="takes any id that is a file name")
    done = runtime("create", "--bundle", str(bundle("true").write().path), id, stdin=None)
    assert done.returncode != 0
    assert done.stderr
    assert [path.name for path in runtime.root.glob("*")] == []
    assert not (runtime.root.parent / "a").exists()


def test_the_bundle_is_the_current_directory_unless_told(runtime: Runtime, bundle: MakeBundle) -> None:
    made, id = bundle("true").write(), runtime.new_id()
    done = runtime.detached("create", id, name=id, cwd=made.path)
    assert done.returncode == 0, done.stderr
    assert runtime.state(id)["bundle"] == str(made.path)


@pytest.mark.parametrize("flag", ["-b", "--bundle", "--bundle="])
def test_the_bundle_may_be_relative(runtime: Runtime, bundle: MakeBundle, flag: str) -> None:
    made, id = bundle("true").write(), runtime.new_id()
    words = [f"{flag}{made.path.name}"] if flag.endswith("=") else [flag, made.path.name]
    done = runtime.detached("create", *words, id, name=id, cwd=made.path.parent)
    assert done.returncode == 0, done.stderr
    assert runtime.state(id)["bundle"] == str(made.path)


def test_the_pid_file_is_relative_to_the_caller(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    runtime.not_like("crun", because="1.8 goes to the bundle first, against runc-create(8) and what engines expect")
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    id = runtime.create(bundle(*SLEEP), "--pid-file", "pid", cwd=elsewhere)
    assert (elsewhere / "pid").read_text() == str(runtime.pid(id))
    assert os.listdir(elsewhere) == ["pid"]


def test_a_pid_file_that_cannot_be_written_is_an_error(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    id = runtime.new_id()
    done = runtime.try_create(bundle("true"), "--pid-file", str(place / "none/pid"), id=id)
    assert done.returncode != 0
    assert "none" in done.stderr
    nothing_is_left(runtime, id)


@pytest.mark.parametrize("name", ["none/pid", "directory", "directory/", ""])
def test_a_pid_file_that_cannot_be_is_named(runtime: Runtime, bundle: MakeBundle, place: Path, name: str) -> None:
    only_cloche(runtime, "others name what they would have written first")
    (place / "directory").mkdir()
    id, before = runtime.new_id(), sorted(os.listdir(place))
    done = runtime.try_create(bundle("true"), "--pid-file", f"{place}/{name}", id=id)
    assert done.stderr.startswith(f"cloche-runtime: --pid-file {place}/{name}: ")
    assert [file for file in os.listdir(place) if file not in before and file.startswith(".")] == []
    assert os.listdir(place / "directory") == []
    nothing_is_left(runtime, id)


def test_a_pid_file_is_never_written_through_somebody_elses_link(
    runtime: Runtime, bundle: MakeBundle, place: Path
) -> None:
    # in a directory that others may write to, where they guess what the new file is called before it gets its name
    (place / "victim").write_text("as it was")
    (place / ".pid").symlink_to(place / "victim")
    id = runtime.new_id()
    done = runtime.try_create(bundle(*SLEEP), "--pid-file", str(place / "pid"), id=id)
    assert (place / "victim").read_text() == "as it was"
    if done.returncode == 0:
        assert (place / "pid").read_text() == str(runtime.pid(id))
    assert sorted(p.name for p in place.glob("*pid*")) == ([".pid", "pid"] if done.returncode == 0 else [".pid"])


def test_a_config_changed_afterwards_has_no_effect(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("sh", "-c", "hostname; echo $WHICH")
    made.process["env"].append("WHICH=first")
    id = runtime.create(made)
    made.command("echo", "changed").config["hostname"] = "changed"
    made.config["annotations"] = {"changed": "yes"}
    made.write()
    assert "changed" not in runtime.state(id).get("annotations", {})
    runtime.start(id)
    assert runtime.finish(id) == "inside\nfirst\n"


def test_a_config_removed_afterwards_is_not_missed(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("sh", "-c", "echo here")
    id = runtime.create(made)
    (made.path / "config.json").unlink()
    runtime.start(id)
    assert runtime.finish(id) == "here\n"
    runtime.delete(id)


def no_config(bundle: Bundle) -> None:
    shutil.rmtree(bundle.path)
    bundle.path.mkdir()


def no_rootfs(bundle: Bundle) -> None:
    shutil.rmtree(bundle.rootfs)


def no_program(bundle: Bundle) -> None:
    bundle.command("/nowhere/program")


def not_in_path(bundle: Bundle) -> None:
    bundle.command("nosuchprogram")


def not_executable(bundle: Bundle) -> None:
    bundle.command("/etc/passwd")


def no_source(bundle: Bundle) -> None:
    bundle.bind("/nowhere/source", "/mnt")


def no_namespace(bundle: Bundle) -> None:
    bundle.linux["namespaces"][1]["path"] = "/nowhere/ns"


def no_such_sysctl(bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {"net.nowhere": "1"}


def no_such_file_system(bundle: Bundle) -> None:
    bundle.config["mounts"].append({"destination": "/mnt", "type": "nofs", "source": "nofs"})


def failing_hook(bundle: Bundle) -> None:
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}


def bad_limit(bundle: Bundle) -> None:
    bundle.linux["resources"]["cpu"] = {"cpus": "4000-5000"}


def bad_rlimit(bundle: Bundle) -> None:
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOWHERE", "hard": 1, "soft": 1}]


FAILURES: list[Callable[[Bundle], None]] = [
    no_config,
    no_rootfs,
    no_program,
    not_in_path,
    not_executable,
    no_source,
    no_namespace,
    no_such_sysctl,
    no_such_file_system,
    failing_hook,
    bad_limit,
    bad_rlimit,
]


@pytest.mark.parametrize("spoil", FAILURES)
def test_a_create_that_fails_leaves_nothing(
    runtime: Runtime, bundle: MakeBundle, place: Path, spoil: Callable[[Bundle], None]
) -> None:
    if spoil is bad_limit:
        runtime.not_like("crun", because="leaves the cgroup")
    made, id = bundle(*SLEEP).write(), runtime.new_id()
    spoil(made)
    if spoil is not no_config:
        made.write()
    done = runtime.detached("create", "--pid-file", str(place / "pid"), "-b", str(made.path), id, name=id)
    assert done.returncode not in (0, None)
    assert done.stderr.strip()
    nothing_is_left(runtime, id)
    runtime.create(bundle(*SLEEP), id=id)
    assert runtime.status(id) == "created"


@pytest.mark.parametrize("fault", ["a command that is not there", "a hook that fails", "a name that no group can have"])
def test_a_create_that_fails_leaves_no_group_above_its_own(runtime: Runtime, bundle: MakeBundle, fault: str) -> None:
    runtime.not_like("runc", "crun", because="leaves the groups above the container's")
    id, above, there = runtime.new_id(), runtime.new_id(), runtime.new_id()
    other = bundle(*SLEEP)
    other.linux["cgroupsPath"] = f"/{there}/other"
    keeper = runtime.create(other, id=runtime.new_id())
    made = bundle("nosuchprogram" if "command" in fault else "true")
    made.linux["cgroupsPath"] = f"/{there}/{above}/below/{id}" + ("\n" if "name" in fault else "")
    if "hook" in fault:
        made.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    assert runtime.try_create(made, id=id).returncode == 1
    assert groups_of(above) == []
    assert groups_of(there)  # which somebody else has made
    runtime.delete(keeper, "--force")
    for group in groups_of(there):
        os.rmdir(group)


def test_a_group_above_goes_away_before_its_own_is_made(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """As when somebody else's `create`, which has made it, fails at this moment."""
    only_cloche(runtime, "others leave the groups above theirs")
    id, above = runtime.new_id(), runtime.new_id()
    made = bundle(*SLEEP)
    made.linux["cgroupsPath"] = f"/{above}/{id}"
    group = groups_of(runtime.create(made, id=id))[0]
    runtime.delete(id, "--force")
    for each in groups_of(above):
        os.rmdir(each)
    runtime.prefix = ["strace", "-qq", "-o", str(place / "seen"), "-P", group]
    runtime.prefix += ["-e", "inject=?mkdir,mkdirat:error=ENOENT:when=1"]
    runtime.create(made, id=id)
    runtime.prefix = []
    assert "INJECTED" in (place / "seen").read_text()
    assert group in groups_of(id)
    runtime.delete(id, "--force")
    for each in groups_of(above):
        os.rmdir(each)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "{]}", '{"ociVersion": 1}', "\0"])
def test_a_config_that_is_no_configuration_is_refused(runtime: Runtime, bundle: MakeBundle, text: str) -> None:
    made, id = bundle("true"), runtime.new_id()
    (made.path / "config.json").write_text(text)
    done = runtime.detached("create", "-b", str(made.path), id, name=id)
    assert done.returncode not in (0, 139)
    assert done.stderr.strip()
    nothing_is_left(runtime, id)


@pytest.mark.parametrize("version", ["1.0.0", "1.0.0-rc5", "1.0.2-dev", "1.1.0", "1.2.1", "1.3.0", "1.9.9"])
def test_every_version_one_is_accepted(runtime: Runtime, bundle: MakeBundle, version: str) -> None:
    # semver.org: a minor version adds functionality in a backward compatible manner
    if version > "1.2":
        runtime.not_like("crun", because="1.8 knows the versions of its time only")
    made = bundle("true")
    made.config["ociVersion"] = version
    id = runtime.create(made)
    assert runtime.state(id)["ociVersion"]


@pytest.mark.parametrize("version", ["2.0.0", "0.9.0", "", "one", None])
def test_other_versions_are_refused(runtime: Runtime, bundle: MakeBundle, version: str | None) -> None:
    # config.md: ociVersion "MUST be in SemVer v2.0.0 format"; runc of 1.1 looks only for the empty string
    runtime.not_like("runc", "crun", because="does not look at the version (config.md, Specification version)")
    made, id = bundle("true"), runtime.new_id()
    made.config["ociVersion"] = version
    if version is None:
        del made.config["ociVersion"]
    done = runtime.try_create(made, id=id)
    assert done.returncode != 0
    assert "ociVersion" in done.stderr or "version" in done.stderr
    nothing_is_left(runtime, id)


def test_members_that_nobody_knows_are_ignored(runtime: Runtime, bundle: MakeBundle) -> None:
    # config.md, Extensibility: "Runtimes ... MUST NOT generate an error if they encounter an unknown property"
    made = bundle("echo", "fine")
    made.config["org.example.unknown"] = {"a": [1, None]}
    made.process["unknown"] = made.linux["unknown"] = {"b": 2}
    assert runtime.run(made).stdout == "fine\n"


def test_no_descriptor_of_the_caller_reaches_the_container(runtime: Runtime, bundle: MakeBundle) -> None:
    read, write = os.pipe()
    try:
        id = runtime.running(bundle("sh", "-c", "for f in /proc/self/fd/*; do readlink $f; done; ls /proc/self/fd"),
                             pass_fds=(read, write))  # fmt: skip
        assert f"pipe:[{os.fstat(read).st_ino}]" not in runtime.finish(id)
    finally:
        os.close(read)
        os.close(write)


def listing(count: int) -> tuple[str, ...]:
    """A command that tells what the descriptors from 3 on are, and the variables about them."""
    return ("sh", "-c", f"for n in $(seq 3 {2 + count}); do cat <&$n; done; "
            "echo LISTEN_FDS=$LISTEN_FDS LISTEN_PID=$LISTEN_PID; ls /proc/self/fd | wc -l")  # fmt: skip


class Files:
    """Open files with known contents as descriptors 3, 4 and so on of a child."""

    def __init__(self, place: Path, count: int) -> None:
        for n in range(count):
            (place / f"file{n}").write_text(f"content {n}\n")
        self.opening = " ".join(f"{3 + n}<{place}/file{n}" for n in range(count))

    def around(self, argv: list[str], *, before: str = "") -> list[str]:
        """The command, called by a shell that opens them."""
        return ["sh", "-c", f'{before} exec "$@" {self.opening}', "sh", *argv]


def test_preserve_fds_hands_down_that_many(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    made, id, files = bundle(*listing(2)).write(), runtime.new_id(), Files(place, 3)
    runtime.prefix = files.around([])
    done = runtime.detached("create", "--preserve-fds", "2", "-b", str(made.path), id, name=id)
    runtime.prefix = []
    assert done.returncode == 0, done.stderr
    runtime.start(id)
    # three standard ones, two, and the one that ls has the directory open with
    assert runtime.finish(id) == "content 0\ncontent 1\nLISTEN_FDS= LISTEN_PID=\n6\n"


def test_listening_descriptors_are_handed_down_before_preserved_ones(
    runtime: Runtime, bundle: MakeBundle, place: Path
) -> None:
    runtime.not_like("crun", because="1.8 does not pass LISTEN_FDS on")
    # runc-create(8): "stdio + $LISTEN_FDS + N in total"; sd_listen_fds(3): LISTEN_PID names the process that is meant
    made, id, files = bundle(*listing(2)).write(), runtime.new_id(), Files(place, 3)
    runtime.prefix = files.around([], before="export LISTEN_FDS=1 LISTEN_PID=$$;")
    done = runtime.detached("create", "--preserve-fds", "1", "-b", str(made.path), id, name=id)
    runtime.prefix = []
    assert done.returncode == 0, done.stderr
    runtime.start(id)
    assert runtime.finish(id) == "content 0\ncontent 1\nLISTEN_FDS=1 LISTEN_PID=1\n6\n"


def test_what_is_left_of_another_services_environment(runtime: Runtime, bundle: MakeBundle) -> None:
    # an engine that a service manager started hands its environment on, but neither the descriptors nor the socket
    script = "echo ${LISTEN_FDS-none} ${LISTEN_PID-none} ${NOTIFY_SOCKET-none}"
    for env in (
        {"LISTEN_FDS": "2", "LISTEN_PID": "4"},
        {"LISTEN_FDS": "x", "LISTEN_PID": "4"},
        {"NOTIFY_SOCKET": "/nowhere/notify"},
    ):
        if "LISTEN_FDS" in env:
            runtime.not_like("crun", because="1.8 passes LISTEN_PID on")
        done = runtime.run(bundle("sh", "-c", script), env=env)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[:2] == ["none", "none"]
        if runtime.name == "cloche-runtime":
            assert done.stdout.split()[2] == "none"
            assert ("/nowhere/notify is not there" in done.stderr) is ("NOTIFY_SOCKET" in env)


def test_preserving_descriptors_that_are_not_open_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("crun", because="does not look at them")
    id = runtime.new_id()
    assert runtime.try_create(bundle("true"), "--preserve-fds", "40", id=id).returncode != 0
    nothing_is_left(runtime, id)


def test_the_root_can_be_entered_without_pivot_root(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle("sh", "-c", "ls -d /bin/busybox; ls /; test -d /proc/self && echo proc"), "--no-pivot")
    words = runtime.finish(id).split()
    assert words[0] == "/bin/busybox"
    assert words[-1] == "proc"
    assert "tmp" in words
    assert "boot" not in words


def keys(runtime: Runtime, bundle: MakeBundle, *flags: str) -> tuple[str, str]:
    made = bundle("cat", "/proc/keys")
    made.linux["maskedPaths"].remove("/proc/keys")
    id = runtime.running(made, *flags)
    return id, runtime.finish(id)


def test_there_is_a_session_keyring_of_the_containers_own(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("crun", because="names it after a hash")
    id, text = keys(runtime, bundle)
    assert f"_ses.{id}" in text


def test_the_callers_session_keyring_can_be_kept(runtime: Runtime, bundle: MakeBundle) -> None:
    id, text = keys(runtime, bundle, "--no-new-keyring")
    assert f"_ses.{id}" not in text


def test_a_create_that_was_killed_can_be_deleted_by_force(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    # runc-delete(8): "delete any resources held by the container"
    runtime.not_like("runc", "crun", because="writes nothing down until the hooks have run, and leaves the cgroups")
    made, id = bundle(*SLEEP), runtime.new_id()
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >{place}/seen; exec sleep 1000"]}
    made.config["hooks"] = {"createRuntime": [hook]}
    made.write()
    with (place / "err").open("w") as err:
        creating = runtime.popen("create", "-b", str(made.path), id, stdout=err, stderr=err)
    wait_until(lambda: (place / "seen").exists() and (place / "seen").read_text(), "the hook does not run")
    pid = json.loads((place / "seen").read_text())["pid"]
    assert alive(pid)

    def hooks() -> list[int]:
        children = Path(f"/proc/{creating.pid}/task/{creating.pid}/children").read_text().split()
        return [int(child) for child in children if b"sleep\0" in Path(f"/proc/{child}/cmdline").read_bytes()]

    wait_until(lambda: len(hooks()) == 1, "the hook is not what it is to become")
    (hook_pid,) = hooks()
    creating.kill()
    creating.wait()
    wait_until(lambda: not alive(hook_pid), "the hook goes on")
    wait_until(lambda: not alive(pid), "the first process goes on")
    runtime.delete(id, "--force")
    nothing_is_left(runtime, id)


def test_another_configuration(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", because="--config is crun's")
    made = bundle("echo", "it is used")
    made.write()
    (made.path / "config.json").rename(made.path / "other.json")
    done = runtime("run", "--bundle", str(made.path), "--config", str(made.path / "other.json"), runtime.new_id())
    assert (done.returncode, done.stdout) == (0, "it is used\n"), done.stderr


def test_what_is_in_force_is_written_down(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", "crun", because="keeps no receipt")
    made = bundle(*SLEEP)
    made.linux["resources"] = {"pids": {"limit": 50}}
    id = runtime.create(made)
    receipt = json.loads((runtime.root / id / "receipt.json").read_text())
    assert receipt["pids"]["enforced"] is True, receipt
    assert receipt["no_new_privs"]["enforced"] is made.process["noNewPrivileges"]
    assert receipt["seccomp"]["enforced"] is False


def test_what_crun_documents_is_accepted(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.not_like("runc", because="both are crun's")
    assert runtime.ok("-V") == runtime.ok("--version")
    runtime.create(bundle(*SLEEP), "--no-subreaper")
