"""What podman alone asks of a runtime: maps of ids, pods, hooks, and more, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from tests.engines.daemons import IMAGE, USER, Engine, succeed

MAP = "cat /proc/self/uid_map"


def numbers(text: str) -> list[list[int]]:
    """An id map as rows of numbers."""
    return [[int(word) for word in line.split()] for line in text.splitlines()]


def test_the_runtime_is_known(podman: Engine, oci_runtime: str, name: str) -> None:
    assert succeed(podman("info", "--format", "{{.Host.OCIRuntime.Path}}")) == oci_runtime
    assert succeed(podman("info", "--format", "{{.Host.OCIRuntime.Version}}"))
    succeed(podman("create", "--name", name, IMAGE))
    assert podman.inspect(name, "{{.OCIRuntime}}") == oci_runtime


def test_a_map_of_ids(podman: Engine) -> None:
    maps = ("--uidmap", "0:300000:1000", "--gidmap", "0:300000:1000")
    shown = podman.sh(f"{MAP}; touch /made; stat -c '%u %g' /made /bin/sh", *maps)
    assert numbers(shown) == [[0, 300000, 1000], [0, 0], [0, 0]]


def test_a_map_chosen_by_podman(podman: Engine, name: str) -> None:
    succeed(podman("run", "-d", "--name", name, "--userns", "auto:size=2048", IMAGE, "sleep", "1000"))
    ((inside, outside, size),) = numbers(succeed(podman("exec", name, "cat", "/proc/self/uid_map")))
    assert (inside, size) == (0, 2048)
    assert outside >= 400000  # of the range of "containers" in the room's /etc/subuid
    pid = podman.inspect(name, "{{.State.Pid}}")
    assert succeed(podman.room.run("stat", "-c", "%u", f"/proc/{pid}")) == str(outside)


def test_a_mapped_container_has_its_limits_and_file_systems(podman: Engine) -> None:
    options = ("--uidmap", "0:300000:1000", "--memory", "64m", "--read-only", "--tmpfs", "/t", "--cap-drop", "ALL")
    assert podman.sh("touch /t/x && ls /t; grep CapEff /proc/self/status", *options).split() == [
        "x",
        "CapEff:",
        "0" * 16,
    ]


def test_an_ordinary_users_map(rootless: Engine) -> None:
    first, second = numbers(rootless.sh(MAP))
    assert first == [0, USER, 1]
    assert second == [1, 300000, 65536]


def test_an_ordinary_user_keeps_the_id(rootless: Engine, name: str) -> None:
    place = rootless.room.folder / "home" / name
    place.mkdir()
    place.chmod(0o777)
    assert rootless.sh("id -u; touch /data/mine", "--userns", "keep-id", "-v", f"{place}:/data") == str(USER)
    assert (place / "mine").stat().st_uid == USER


def test_an_ordinary_users_root_owns_what_is_made_by_the_user(rootless: Engine, name: str) -> None:
    place = rootless.room.folder / "home" / name
    place.mkdir()
    place.chmod(0o777)
    rootless.sh("touch /data/roots; su ann -s /bin/sh -c 'touch /data/anns'", "-v", f"{place}:/data")
    assert (place / "roots").stat().st_uid == USER
    assert (place / "anns").stat().st_uid == 300000 + 1000 - 1


def a_pod_shares(engine: Engine, name: str) -> None:
    """Two containers of a pod are in the same namespaces, but for the file system and the processes."""
    succeed(engine("pod", "create", "--name", name, "--hostname", "bell"))
    script = "hostname; for each in net ipc uts mnt pid; do readlink /proc/self/ns/$each; done"
    succeed(engine("run", "-d", "--pod", name, "--name", f"{name}-1", IMAGE, "sleep", "1000"))
    first = succeed(engine("exec", f"{name}-1", "sh", "-c", script)).split()
    second = succeed(engine("run", "--rm", "--pod", name, IMAGE, "sh", "-c", script)).split()
    assert first[0] == "bell"
    assert first[:4] == second[:4]
    assert not set(first[4:]) & set(second[4:])
    succeed(engine("pod", "stop", "-t", "0", name))
    succeed(engine("pod", "rm", name))


def test_a_pod(podman: Engine, name: str) -> None:
    a_pod_shares(podman, name)


def test_a_pod_of_an_ordinary_user(rootless: Engine, name: str) -> None:
    a_pod_shares(rootless, name)


def test_hooks_are_run(podman: Engine, name: str) -> None:
    folder = podman.room.folder / f"hooks-{name}"
    folder.mkdir()
    for stage in ("prestart", "poststop"):
        script = f'cat >>{folder}/{stage}.state; echo "$0 $1 $A" >{folder}/{stage}.words'
        hook = {
            "path": "/bin/sh",
            "args": ["sh", "-c", script, "zero", "one"],
            "env": ["A=given", "PATH=/usr/bin:/bin"],
        }
        document = {"version": "1.0.0", "hook": hook, "when": {"always": True}, "stages": [stage]}
        (folder / f"{stage}.json").write_text(json.dumps(document))
    succeed(podman("--hooks-dir", str(folder), "run", "--name", name, IMAGE, "true"))
    identity = podman.identity(name)
    for stage, status in (("prestart", "creat"), ("poststop", "stopped")):
        state = json.loads((folder / f"{stage}.state").read_text())
        assert state["id"] == identity
        assert state["status"].startswith(status)
        assert (folder / f"{stage}.words").read_text() == "zero one given\n"


def test_a_hook_that_fails_is_told(podman: Engine, name: str) -> None:
    folder = podman.room.folder / f"hooks-{name}"
    folder.mkdir()
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo the reason >&2; exit 3"]}
    document = {"version": "1.0.0", "hook": hook, "when": {"always": True}, "stages": ["prestart"]}
    (folder / "fails.json").write_text(json.dumps(document))
    done = podman("--hooks-dir", str(folder), "run", "--name", name, IMAGE, "true")
    assert done.returncode == 126
    assert "hook" in done.stderr
    assert podman.room.groups(podman.identity(name)) == []


def test_the_file_mode_mask(podman: Engine) -> None:
    assert podman.sh("umask; touch /tmp/x; stat -c %a /tmp/x", "--umask", "0077").split() == ["0077", "600"]


def test_descriptors_are_passed_on(podman: Engine) -> None:
    words = podman.words("run", "--rm", "--preserve-fds", "1", IMAGE, "sh", "-c", "cat <&3")
    done = podman.room.run(
        "sh", "-c", 'exec "$@" 3</etc/debian_version', "sh", *words[words.index("join") + 1 :], env=podman.env
    )
    assert succeed(done) == succeed(podman.room.run("cat", "/etc/debian_version"))


def test_an_unmasked_path(podman: Engine) -> None:
    assert podman.sh("grep -c ' /proc/keys ' /proc/mounts; :") == "1"
    assert podman.sh("grep -c ' /proc/keys ' /proc/mounts; :", "--security-opt", "unmask=/proc/keys") == "0"


def test_a_root_file_system_without_an_image(podman: Engine, name: str) -> None:
    place = podman.room.folder / f"rootfs-{name}"
    identity = succeed(podman("create", "--name", name, IMAGE))
    succeed(podman.room.run("sh", "-c", 'mkdir "$1" && cp -a "$2/." "$1"', "sh", str(place), mounted(podman, identity)))
    assert succeed(podman("run", "--rm", "--rootfs", str(place), "sh", "-c", "echo hello; touch /made")) == "hello"
    assert (place / "made").exists()


def mounted(podman: Engine, identity: str) -> str:
    """Where podman mounts a container's root file system for us."""
    return succeed(podman("mount", identity))


def test_the_processes_of_the_host(rootless: Engine) -> None:
    init = succeed(rootless.room.run("cat", "/proc/1/cmdline"))
    assert rootless.sh("cat /proc/1/cmdline", "--pid", "host") == init


def run_bundle(
    rootless: Engine, runtime: str, name: str, *, limits: dict[str, object], path: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a bundle as podman does for an ordinary user: by root of the namespace that podman made for the user."""
    place = rootless.room.folder / "home" / name
    for each in ("bin", "dev", "proc", "sys"):
        (place / "rootfs" / each).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", place / "rootfs/bin/busybox")
    for top in (place, *place.rglob("*")):
        os.chown(top, USER, USER)
    succeed(rootless("unshare", runtime, "spec", "--bundle", str(place)))
    config = json.loads((place / "config.json").read_text())
    config["process"]["terminal"] = False
    config["process"]["args"] = ["/bin/busybox", "cat", "/proc/self/cgroup"]
    config["process"].pop("rlimits", None)
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] not in {"cgroup", "mqueue"}]
    linux = config["linux"]
    linux["namespaces"] = [each for each in linux["namespaces"] if each["type"] != "cgroup"]
    linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}], **limits}
    if path:
        linux["cgroupsPath"] = path
    (place / "config.json").write_text(json.dumps(config))
    return rootless("unshare", runtime, "--root", str(place / "state"), "run", "--bundle", str(place), name)


def test_a_container_without_a_group_stays_in_the_callers(rootless: Engine, oci_runtime: str, name: str) -> None:
    found = succeed(run_bundle(rootless, oci_runtime, name, limits={}))
    assert found == succeed(rootless("unshare", "cat", "/proc/self/cgroup"))


@pytest.mark.parametrize(("limits", "path"), [({"pids": {"limit": 7}}, ""), ({}, "/mine")])
def test_a_group_that_was_asked_for_is_not_left_out(
    rootless: Engine, oci_runtime: str, name: str, limits: dict[str, object], path: str
) -> None:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        pytest.skip("needs controllers of cgroup v1, which this host has not")
    done = run_bundle(rootless, oci_runtime, name, limits=limits, path=path)
    assert done.returncode != 0
    assert (path or "pids") in done.stderr
    assert done.stdout == ""
    assert not os.listdir(rootless.room.folder / "home" / name / "state")


def test_all_is_removed_at_once(podman: Engine, name: str) -> None:
    names = [f"{name}-{number}" for number in range(3)]
    for each in names:
        succeed(podman("run", "-d", "--name", each, IMAGE, "sleep", "1000"))
    identities = [podman.identity(each) for each in names]
    succeed(podman("rm", "-f", "-t", "0", *names))
    assert [group for identity in identities for group in podman.room.groups(identity)] == []
