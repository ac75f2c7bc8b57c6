"""Step 5: a root of its own.

New: an empty tmpfs gets the programs of the host, read-only and private; pivot_root(2) makes it the root and puts the
old root on top of it, from where it is unmounted. Unlike chroot(2), nothing of the old tree is left to climb to.

Look from outside:
    ls -l /proc/PID/root/               its root, as it sees it
    findmnt -N PID                      all its mounts: the host's are gone
"""

import os
import sys

from cloche.linux import files, mount, namespaces, process

DEMONSTRATION = "ls -l /; touch /usr/mine; echo hello > /mine && cat /mine"

ids = {"uid": os.getuid(), "gid": os.getgid()}
if process.clone3(sum(namespaces.NAMES[name] for name in ("user", "uts", "pid", "mnt")))[0]:
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
process.die_with_parent()
print(f"process {os.readlink('/proc/self')} outside is process {os.getpid()} inside", flush=True)
namespaces.deny_setgroups(0)
for kind, outside in ids.items():
    namespaces.write_id_map(0, kind, [(0, outside, 1)])
namespaces.sethostname("greenhouse")

mount.move_mount(mount.new_filesystem("proc", {}), files.AT_FDCWD, "/proc")
mount.move_mount(mount.new_filesystem("tmpfs", {"mode": "755"}), files.AT_FDCWD, "/tmp")
os.chdir("/tmp")
for name in filter(os.path.isdir, ("/bin", "/lib", "/lib64", "/proc", "/usr")):
    tree = mount.open_tree(files.AT_FDCWD, name, recursive=True)
    mount.mount_setattr(tree, set_=mount.MOUNT_ATTR_RDONLY, propagation=mount.MS_PRIVATE, recursive=True)
    os.mkdir(name[1:])
    mount.move_mount(tree, files.AT_FDCWD, name[1:])  # from /usr to usr: out there to in here
mount.pivot_root(".", ".")  # the tmpfs is the root now, and the old root is mounted on top of it
mount.umount2(".", mount.MNT_DETACH)  # so it is what goes

command = sys.argv[1:] or (["sh"] if sys.stdin.isatty() else ["sh", "-c", DEMONSTRATION])
os.execv("/usr/bin/env", ["env", *command])  # looks in PATH; os.execvp imports a module first, which is gone
