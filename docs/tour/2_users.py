"""Step 2: root inside, and nobody special outside.

New: a user namespace has its own users, and a map says who they are outside. Without a map you are nobody (65534), as
in step 1. An ordinary user may map one id, its own, and must first give up setgroups(2): being thrown out of a group
would open the files that are closed to that group.

Look from outside:
    cat /proc/PID/uid_map               first id inside, first id outside, how many
    ps -o pid,user,group,args -p PID    it runs as you, whatever it is inside
"""

import os
import sys

from cloche.linux import namespaces, process

DEMONSTRATION = 'echo "inside:  user $(id -u), group $(id -g)"; echo "uid_map:" $(cat /proc/self/uid_map)'

ids = {"uid": os.getuid(), "gid": os.getgid()}
print(f"outside: user {ids['uid']}, group {ids['gid']}, process {os.getpid()}", flush=True)

namespaces.unshare(process.CLONE_NEWUSER | process.CLONE_NEWUTS)
namespaces.deny_setgroups(0)
for kind, outside in ids.items():
    namespaces.write_id_map(0, kind, [(0, outside, 1)])  # 0 inside is this one outside, and there is no other
namespaces.sethostname("greenhouse")

command = sys.argv[1:] or (["sh"] if sys.stdin.isatty() else ["sh", "-c", DEMONSTRATION])
os.execvp(command[0], command)
