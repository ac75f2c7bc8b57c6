"""Step 4: mounts of its own.

New: a mount namespace starts as a copy of all mounts, and what is mounted later is seen on one side only. Unless the
two copies propagate to each other, as systemd asks for: so everything is made private first. Then /tmp is covered
by an empty file system in memory, which the kernel throws away with the last process in here.

Look from outside:
    findmnt -N PID /tmp                 the tmpfs, in the namespace of PID
    findmnt /tmp; ls /tmp               what you have there, untouched
"""

import os
import sys

from cloche.linux import files, mount, namespaces, process

DEMONSTRATION = "grep ' /tmp ' /proc/mounts; echo hello > /tmp/note; ls -l /tmp"

ids = {"uid": os.getuid(), "gid": os.getgid()}
if process.clone3(sum(namespaces.NAMES[name] for name in ("user", "uts", "pid", "mnt")))[0]:
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
process.die_with_parent()
print(f"process {os.readlink('/proc/self')} outside is process {os.getpid()} inside", flush=True)
namespaces.deny_setgroups(0)
for kind, outside in ids.items():
    namespaces.write_id_map(0, kind, [(0, outside, 1)])
namespaces.sethostname("greenhouse")

mount.make_private()
mount.move_mount(mount.new_filesystem("proc", {}), files.AT_FDCWD, "/proc")
scratch = mount.new_filesystem("tmpfs", {"size": "16M"}, mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV)
mount.move_mount(scratch, files.AT_FDCWD, "/tmp")  # until now it was attached nowhere

command = sys.argv[1:] or (["sh"] if sys.stdin.isatty() else ["sh", "-c", DEMONSTRATION])
os.execvp(command[0], command)
