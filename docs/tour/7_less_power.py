"""Step 7: less power. From outside: grep -E "Cap|NoNewPrivs|Seccomp:" /proc/PID/status

New, for good: with an empty bounding set execve(2) gives root no capability, no_new_privs disarms set-user-ID programs,
and a seccomp filter, which the kernel runs before every system call, refuses unshare(2)."""

import os
import struct
import sys

from cloche.linux import capabilities, files, kernel, mount, namespaces, network, process, seccomp

# the filter's instructions: operation (0x20 load, 0x15 is equal, 0x35 is at least, 0x06 return), how far to jump, value
ARCHITECTURE = (0x20, 0, 0, 4), (0x15, 0, 3, seccomp.AUDIT_ARCH_NATIVE)  # not ours: three on, where it is refused
NUMBER = (0x20, 0, 0, 0), (0x35, 1, 0, seccomp.X32_SYSCALL_BIT), (0x15, 0, 1, kernel.number(272, 97))  # unshare(2)
ANSWER = (0x06, 0, 0, seccomp.RET_ERRNO | 1), (0x06, 0, 0, seccomp.RET_ALLOW)  # refuse with EPERM, or allow
ids = {"uid": os.getuid(), "gid": os.getgid()}
if process.clone3(sum(namespaces.NAMES[name] for name in ("user", "uts", "pid", "mnt", "net", "ipc")))[0]:
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
process.die_with_parent()
print(f"process {os.readlink('/proc/self')} outside is process {os.getpid()} inside", flush=True)
namespaces.deny_setgroups(0)
for kind, outside in ids.items():
    namespaces.write_id_map(0, kind, [(0, outside, 1)])
namespaces.sethostname("greenhouse")
network.bring_up("lo")
mount.move_mount(mount.new_filesystem("proc", {}), files.AT_FDCWD, "/proc")
mount.move_mount(mount.new_filesystem("tmpfs", {"mode": "755"}), files.AT_FDCWD, "/tmp")
os.chdir("/tmp")
for name in filter(os.path.isdir, ("/bin", "/lib", "/lib64", "/proc", "/usr")):
    tree = mount.open_tree(files.AT_FDCWD, name, recursive=True)
    mount.mount_setattr(tree, set_=mount.MOUNT_ATTR_RDONLY, propagation=mount.MS_PRIVATE, recursive=True)
    os.mkdir(name[1:])
    mount.move_mount(tree, files.AT_FDCWD, name[1:])
mount.pivot_root(".", ".")
mount.umount2(".", mount.MNT_DETACH)
capabilities.drop_bounding(0)
process.set_no_new_privs()
seccomp.load(b"".join(struct.pack("HBBI", *instruction) for instruction in (*ARCHITECTURE, *NUMBER, *ANSWER)))
command = sys.argv[1:] or (["sh"] if sys.stdin.isatty() else ["sh", "-c", "unshare -U || grep Cap /proc/self/status"])
os.execv("/usr/bin/env", ["env", *command])
