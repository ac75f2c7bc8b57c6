"""A machine with a pure cgroup v2 tree and Linux 6.1, in software: boots, runs one command, ends.

    this script                        the guest
    kernel, initramfs, disk ── qemu ─▶ /init: 9p share of / (read-only) ─ overlay ─ cgroup2 ─ command
    exit status ◀───────────── console: "guest exit N", then power off

The guest sees this machine's files, each change goes to its memory; its /tmp, /run and /home are its own.
Usage: python3 tests/vm/vm.py [--timeout SECONDS] [--systemd] [COMMAND…]; without one, tests/vm/inside.py is run.
With --systemd that is the machine's first process, and tests/vm/units.py what is run, as a service.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import selectors
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
sys.path.insert(0, str(PROJECT))
CACHE = PROJECT / ".cache/vm"
PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "modprobe": "kmod",
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "apparmor_parser": "apparmor",
    "/lib/systemd/systemd": "systemd",
    "dbus-daemon": "dbus",
    "containerd": "containerd",
}
MODULES = ("virtio_pci", "virtio_blk", "ext4", "9p", "9pnet_virtio", "overlay", "tun", "veth", "bridge", "nf_tables")
DISK = 64 << 20
PYTHON = "/usr/bin/python3"
LAST = """
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
cd /
sh /run/command </dev/null
echo "guest exit $?"
echo o >/proc/sysrq-trigger
while :; do :; done
"""
# what the first run of each command does, and cannot in the guest, to whom these files are read-only
BUNDLE = """
import sys
sys.path.insert(0, sys.argv[1])
from cloche.cli.bundling import write
if sys.argv[2] == "run":
    from cloche.cli.main import BUNDLES
    parts = BUNDLES["run"]
else:
    from cloche.cli.runtime.main import BUNDLES
    parts = BUNDLES[sys.argv[2]]
write(f"{sys.argv[1]}/cloche", sys.argv[2], *parts)
"""
HYBRID = "systemd.unified_cgroup_hierarchy=0"
LAST_OF_SYSTEMD = """
rm -f /.dockerenv  # or, where these are a container's files, it takes the machine for one, and reads no command line
umount /sys/fs/cgroup  # systemd mounts what it wants, with its own options
mount -t tmpfs none /usr/lib/systemd/system-generators
mkdir -p /run/systemd/system
cat >/run/systemd/system/checks.service <<'END'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sh /run/service
StandardOutput=file:/dev/console
StandardError=file:/dev/console
END
sed '1,/^exec/d' /run/last >/run/service
exec /lib/systemd/systemd --unit=checks.service --log-target=console --log-level=warning
"""
END = re.compile(rb"guest exit (\d+)")


def main() -> int:
    """Boot and run; the exit status is the command's, 124 when time was over, 125 when nothing came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timeout", type=float, default=1200.0, help="seconds until the machine is switched off")
    parser.add_argument("--systemd", action="store_true", help="with systemd as its first process")
    parser.add_argument("--v1", action="store_true", help="with --systemd: cgroup v1, and a v2 tree of systemd's own")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    _install_missing()
    CACHE.mkdir(parents=True, exist_ok=True)
    release, kernel, modules = _kernel()
    source = _source()
    checks = "units_v1.py" if given.v1 else "units.py" if given.systemd else "inside.py"
    command = given.command or [PYTHON, "-B", str(HERE / checks)]
    last = LAST_OF_SYSTEMD + LAST if given.systemd else LAST
    env = [f"CLOCHE_SOURCE={source}", f"CLOCHE_IMAGE={_image()}"]
    initramfs = _initramfs(release, modules, ["env", *env, *command], last)
    disk = CACHE / "disk.img"
    with disk.open("wb") as file:
        file.truncate(DISK)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", str(disk)], check=True)
    return _boot(kernel, initramfs, disk, given.timeout, HYBRID if given.v1 else "")


def _install_missing() -> None:
    missing = [package for command, package in PACKAGES.items() if shutil.which(command) is None]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"this needs: sudo apt-get install {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    words = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    # a daemon that a package brings is not started here: invoke-rc.d asks this file, and 101 is no
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    try:
        if ours:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        if subprocess.run(words, env=env, stdout=subprocess.DEVNULL, check=False).returncode:
            subprocess.run(["apt-get", "update", "-qq"], env=env, check=True)
            subprocess.run(words, env=env, stdout=subprocess.DEVNULL, check=True)
    finally:
        if ours:
            policy.unlink(missing_ok=True)


def _kernel() -> tuple[str, Path, Path]:
    """The newest 6.1 kernel of the distribution, unpacked once: (release, image, top of its modules)."""
    top = CACHE / "kernel"
    found = sorted(top.glob("boot/vmlinuz-6.1.*"))
    if not found:
        listed = subprocess.check_output(["apt-cache", "search", "--names-only", r"^linux-image-6\.1\.0-[0-9]+-amd64$"])
        names = [line.split()[0].decode() for line in listed.splitlines()]
        if not names:
            sys.exit("no package linux-image-6.1.0-*-amd64 is known: sudo apt-get update")
        newest = max(names, key=lambda name: int(name.split("-")[3]))
        subprocess.run(["apt-get", "download", "-qq", newest], cwd=CACHE, check=True)
        unpacked = CACHE / "unpacking"
        shutil.rmtree(unpacked, ignore_errors=True)
        subprocess.run(["dpkg", "-x", str(next(CACHE.glob(f"{newest}_*.deb"))), str(unpacked)], check=True)
        shutil.rmtree(top, ignore_errors=True)
        unpacked.rename(top)
        found = sorted(top.glob("boot/vmlinuz-6.1.*"))
    image = found[-1]
    release = image.name.partition("-")[2]
    if not (top / f"lib/modules/{release}/modules.dep.bin").exists():
        subprocess.run(["depmod", "-b", str(top), release], check=True)
    return release, image, top


def _source() -> Path:
    """A copy of the package and of what it may use, with bytecode, which would take the guest a minute to make."""
    copy = CACHE / "src"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(PROJECT / "src", copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    import jeepney

    shutil.copytree(Path(jeepney.__file__).parent, copy / "jeepney", ignore=shutil.ignore_patterns("__pycache__"))
    words = [PYTHON, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(copy)]
    subprocess.run(words, check=True)
    for name in ("run", "runtime", "small"):
        subprocess.run([PYTHON, "-I", "-S", "-c", BUNDLE, str(copy), name], check=True)
    return copy


def _image() -> Path:
    """An image of busybox that waits, for pods."""
    from tests.engines.daemons import make_image

    busybox = shutil.which("busybox")
    assert busybox is not None
    make_image(CACHE / "image.tar", busybox, command=("sleep", "100000"))
    return CACHE / "image.tar"


def _initramfs(release: str, top: Path, command: list[str], last: str) -> Path:
    """busybox, the modules in the order in which they load, /init and the command."""
    tree = CACHE / "initramfs"
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("bin", "modules", "proc", "sys", "dev", "host", "top", "root"):
        (tree / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, tree / "bin/busybox")
    order: dict[str, None] = {}
    for name in MODULES:
        words = ["modprobe", "-d", str(top), "-S", release, "--show-depends", name]
        for line in subprocess.check_output(words, text=True).splitlines():
            if line.startswith("insmod "):
                order[line.split()[1]] = None
    for path in order:
        shutil.copy(path, tree / "modules")
    (tree / "modules/order").write_text("".join(f"{Path(path).name}\n" for path in order))
    shutil.copy(HERE / "init.sh", tree / "init")
    (tree / "init").chmod(0o755)
    (tree / "command").write_text(shlex.join(command) + "\n")
    (tree / "last").write_text(last)
    (tree / "checkout").write_text(str(PROJECT))
    names = subprocess.check_output(["find", ".", "-print0"], cwd=tree)
    archive = subprocess.check_output(["cpio", "--quiet", "-0", "-o", "-H", "newc"], input=names, cwd=tree)
    packed = CACHE / "initramfs.gz"
    packed.write_bytes(gzip.compress(archive, 1))
    return packed


def _boot(kernel: Path, initramfs: Path, disk: Path, timeout: float, more: str) -> int:
    """Start the machine and pass on its console, until it is off or time is over."""
    machine = "-accel tcg,thread=multi -smp 2 -cpu max -m 3072 -nodefaults -no-user-config -display none"
    machine += " -serial stdio -no-reboot -M q35,i8042=off"
    share = "local,path={},mount_tag={},security_model=none,readonly=on,multidevs=remap"
    argv = ["qemu-system-x86_64", *machine.split(), "-kernel", str(kernel), "-initrd", str(initramfs)]
    argv += ["-virtfs", share.format("/", "host"), "-virtfs", share.format(PROJECT, "project")]
    argv += ["-drive", f"file={disk},if=virtio,format=raw,cache=unsafe"]
    argv += ["-append", f"console=ttyS0 quiet systemd.show_status=0 panic=-1 rdinit=/init {more}"]
    qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert qemu.stdout is not None
    deadline = time.monotonic() + timeout
    status, tail = 125, b""
    try:
        with selectors.DefaultSelector() as waiting:
            waiting.register(qemu.stdout, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0 or not waiting.select(left):
                    print(f"\nthe machine was still running after {timeout:g} s", file=sys.stderr)
                    return 124
                part = os.read(qemu.stdout.fileno(), 65536)
                if not part:
                    break
                sys.stdout.buffer.write(part.replace(b"\r\n", b"\n"))
                sys.stdout.flush()
                tail = (tail + part)[-4096:]
                if ends := END.findall(tail):
                    status = int(ends[-1])
    finally:
        qemu.kill()
        qemu.wait()
    return status


if __name__ == "__main__":
    sys.exit(main())
