"""Step 3: processes of its own.

New: a process keeps its number for life, so nobody can move into a pid namespace: one has to be born there. clone3(2)
is fork with new namespaces; the child is number 1, and when it ends, the kernel ends all others in there. `ps` reads
/proc, so /proc has to be mounted anew, which takes a mount namespace (step 4).

Look from outside:
    ps -o pid,ppid,args --ppid PID      what it starts has a number outside, too
    grep NSpid /proc/PID/status         both numbers of the same process
"""

import os
import sys

from cloche.linux import files, mount, namespaces, process

DEMONSTRATION = 'echo "inside, these are all processes:"; ps -e || ls -d /proc/[0-9]*'

ids = {"uid": os.getuid(), "gid": os.getgid()}
if process.clone3(sum(namespaces.NAMES[name] for name in ("user", "uts", "pid", "mnt")))[0]:
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))  # the parent waits, and ends as its child did

# from here on this is the child
process.die_with_parent()
print(f"process {os.readlink('/proc/self')} outside is process {os.getpid()} inside", flush=True)
namespaces.deny_setgroups(0)
for kind, outside in ids.items():
    namespaces.write_id_map(0, kind, [(0, outside, 1)])
namespaces.sethostname("greenhouse")
mount.move_mount(mount.new_filesystem("proc", {}), files.AT_FDCWD, "/proc")

command = sys.argv[1:] or (["sh"] if sys.stdin.isatty() else ["sh", "-c", DEMONSTRATION])
os.execvp(command[0], command)
