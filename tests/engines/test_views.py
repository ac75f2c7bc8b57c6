"""Where a container is: its file systems, its names, its network, and the namespaces it shares or has of its own."""

from __future__ import annotations

import time

import pytest

from tests.engines.daemons import IMAGE, Engine, succeed

KINDS = ("mnt", "net", "pid", "ipc", "uts", "user", "cgroup")


def namespaces(engine: Engine, *options: str) -> dict[str, str]:
    """The namespaces of a new container's process."""
    script = f"for each in {' '.join(KINDS)}; do readlink /proc/self/ns/$each; done"
    return dict(zip(KINDS, engine.sh(script, *options).splitlines(), strict=True))


def outside(engine: Engine) -> dict[str, str]:
    """The namespaces of the room, which is the host to the engine."""
    links = [f"/proc/1/ns/{kind}" for kind in KINDS]
    return dict(zip(KINDS, succeed(engine.room.run("readlink", *links)).splitlines(), strict=True))


def test_namespaces_are_its_own(engine: Engine) -> None:
    host, found = outside(engine), namespaces(engine)
    own = {kind for kind in KINDS if found[kind] != host[kind]}
    # engines share the cgroup namespace on cgroup v1 and have one each on v2
    expected = {"mnt", "net", "pid", "ipc", "uts"} | ({"user"} if engine.kind == "rootless" else set())
    assert own - {"cgroup"} == expected


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "net"])
def test_a_namespace_of_the_host(engine: Engine, kind: str) -> None:
    option = {"net": "--network"}.get(kind, f"--{kind}")
    host, found = outside(engine), namespaces(engine, option, "host")
    assert found[kind] == host[kind]
    assert found["mnt"] != host["mnt"]


def test_the_hosts_processes(rootful: Engine) -> None:
    init = succeed(rootful.room.run("cat", "/proc/1/cmdline"))
    assert rootful.sh("cat /proc/1/cmdline", "--pid", "host") == init


@pytest.mark.parametrize("kind", ["pid", "ipc", "net"])
def test_a_namespace_of_another_container(engine: Engine, name: str, kind: str) -> None:
    succeed(engine("run", "-d", "--ipc", "shareable", "--name", name, IMAGE, "sleep", "1000"))
    option = {"net": "--network"}.get(kind, f"--{kind}")
    other = succeed(engine("exec", name, "readlink", f"/proc/1/ns/{kind}"))
    assert namespaces(engine, option, f"container:{name}")[kind] == other


def test_processes_of_another_container_are_seen_and_live_on(engine: Engine, name: str) -> None:
    succeed(engine("run", "-d", "--name", name, IMAGE, "sleep", "4323"))
    assert "4323" in engine.sh("cat /proc/1/cmdline", "--pid", f"container:{name}")
    assert engine.inspect(name, "{{.State.Status}}") == "running"


def test_the_host_name(engine: Engine) -> None:
    assert engine.sh("hostname; cat /etc/hostname", "--hostname", "bell").split() == ["bell", "bell"]


def test_a_root_that_cannot_be_written(engine: Engine) -> None:
    script = "touch /t/x && ls /t; df -k /t | tail -1; touch /x"
    done = engine.run("--read-only", "--tmpfs", "/t:size=1m", IMAGE, "sh", "-c", script)
    assert done.stdout.split()[0] == "x"
    assert done.stdout.split()[2] == "1024"
    assert "Read-only file system" in done.stderr


def test_the_options_of_a_tmpfs(engine: Engine) -> None:
    shown = engine.sh(
        "grep ' /new ' /proc/mounts; stat -c %a /new", "--tmpfs", "/new:size=64k,mode=1770,noexec,nosuid,nodev"
    )
    options, mode = shown.split()[3].split(","), shown.split()[-1]
    assert {"noexec", "nosuid", "nodev", "size=64k"} <= set(options)
    assert mode == "1770"


def test_a_folder_of_the_host(engine: Engine, name: str) -> None:
    place = engine.room.folder / "home" / name
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    (place / "given").write_text("by the host")
    assert engine.sh("cat /data/given; echo of the container >/data/made", "-v", f"{place}:/data") == "by the host"
    assert (place / "made").read_text() == "of the container\n"
    done = engine.run("-v", f"{place}:/data:ro", IMAGE, "sh", "-c", "cat /data/given; echo no >/data/given")
    assert done.stdout == "by the host"
    assert "Read-only file system" in done.stderr
    assert (place / "given").read_text() == "by the host"


def test_a_file_of_the_host(engine: Engine, name: str) -> None:
    file = engine.room.folder / "home" / name
    file.write_text("a file")
    file.chmod(0o644)
    assert engine.sh("cat /etc/given", "-v", f"{file}:/etc/given:ro") == "a file"


def test_what_the_host_mounts_later_is_seen_when_asked_for(rootful: Engine, name: str) -> None:
    place = rootful.room.folder / "home" / name
    (place / "later").mkdir(parents=True)
    for sort, seen in (("rslave", "seen"), ("rprivate", "")):
        each = f"{name}{sort}"
        succeed(rootful("run", "-d", "--name", each, "-v", f"{place}:/data:{sort}", IMAGE, "sleep", "1000"))
        succeed(rootful.room.run("mount", "-t", "tmpfs", "x", str(place / "later")))
        succeed(rootful.room.run("touch", str(place / "later/seen")))
        assert succeed(rootful("exec", each, "ls", "/data/later")) == seen
        succeed(rootful.room.run("umount", str(place / "later")))


def test_a_volume_keeps_what_is_in_it(engine: Engine, name: str) -> None:
    engine.sh("echo kept >/data/file", "-v", f"{name}:/data")
    assert engine.sh("cat /data/file", "-v", f"{name}:/data") == "kept"


def test_a_mount_of_memory(engine: Engine) -> None:
    assert engine.sh("stat -f -c %T /m", "--mount", "type=tmpfs,destination=/m") == "tmpfs"


def test_the_usual_file_systems(engine: Engine) -> None:
    script = 'for each in /proc /sys /dev /dev/pts /dev/shm /dev/mqueue; do grep " $each " /proc/mounts; done'
    sorts = [line.split()[2] for line in engine.sh(script).splitlines()]
    assert sorts[:4] == ["proc", "sysfs", "tmpfs", "devpts"]
    assert set(sorts[4:]) == {"tmpfs", "mqueue"}
    assert engine.sh("ls -l /dev/fd /dev/ptmx | grep -o '[^ ]* -> .*'").splitlines() == [
        "/dev/fd -> /proc/self/fd",
        "/dev/ptmx -> pts/ptmx",
    ]
    assert engine.sh("echo x >/dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c") == "3\n5"


def test_kernel_settings(engine: Engine) -> None:
    options = ("--sysctl", "net.ipv4.ip_default_ttl=77", "--sysctl", "kernel.msgmax=1234")
    shown = engine.sh("cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax", *options)
    assert shown.split() == ["77", "1234"]


def test_no_network(engine: Engine) -> None:
    assert engine.sh("ls /sys/class/net", "--network", "none") == "lo"
    assert "UP" in engine.sh("ip -o link show lo", "--network", "none")


def test_a_bridge(rootful: Engine, name: str) -> None:
    succeed(
        rootful(
            "run", "-d", "--name", name, "--network", "bridge", IMAGE, "nc", "-l", "-p", "80", "-e", "echo", "hello"
        )
    )
    address = rootful.inspect(name, "{{.NetworkSettings.IPAddress}}")
    assert address in succeed(rootful("exec", name, "ip", "-4", "addr", "show", "eth0"))
    deadline = time.monotonic() + 20
    while (said := rootful.room.run("busybox", "nc", address, "80").stdout) != "hello\n":
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def test_a_published_port(rootful: Engine, name: str) -> None:
    words = ("--network", "bridge", "-p", "18080:80")
    succeed(rootful("run", "-d", "--name", name, *words, IMAGE, "nc", "-l", "-p", "80", "-e", "echo", "hello"))
    gateway = rootful.inspect(name, "{{.NetworkSettings.Gateway}}")
    deadline = time.monotonic() + 20
    while (said := rootful.room.run("busybox", "nc", gateway, "18080").stdout) != "hello\n":
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
