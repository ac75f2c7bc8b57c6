"""Step 6: a network of its own, and memory shared with nobody.

New: a network namespace is born with one interface, a loopback that is down; all it reaches is itself. The IPC
namespace does the same for System V shared memory, semaphores and message queues.
Look from outside:
    cat /proc/PID/net/dev               only lo
    ls -l /proc/PID/ns /proc/self/ns    net and ipc differ now as well
"""

import os
import sys

from cloche.linux import files, mount, namespaces, network, process

DEMONSTRATION = 'cat /proc/net/dev; echo "message queues:"; cat /proc/sysvipc/msg'

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
command = sys.argv[1:] or (["sh"] if sys.stdin.isatty() else ["sh", "-c", DEMONSTRATION])
os.execv("/usr/bin/env", ["env", *command])
