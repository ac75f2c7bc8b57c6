"""Step 1: a new host name.

New: unshare(2) takes this process out of a namespace it shares with others, into a new one. The UTS namespace holds
no more than the host name. The user namespace beside it is what lets you do this without being root: see step 2.

Look from outside, in a second terminal (the script prints PID):
    uname -n                            the name there has not changed
    ls -l /proc/PID/ns /proc/self/ns    two links differ: user and uts
    lsns -p PID                         the same in a table, with who made them
"""

import os
import sys

from cloche.linux import namespaces, process

DEMONSTRATION = 'echo "inside:  host name $(uname -n), user $(id -u)"'

print(f"outside: host name {os.uname().nodename}, user {os.getuid()}, process {os.getpid()}", flush=True)

namespaces.unshare(process.CLONE_NEWUSER | process.CLONE_NEWUTS)
namespaces.sethostname("greenhouse")

# what was given as arguments; or a shell to play with; or, where nobody can type, the demonstration
command = sys.argv[1:] or (["sh"] if sys.stdin.isatty() else ["sh", "-c", DEMONSTRATION])
os.execvp(command[0], command)
