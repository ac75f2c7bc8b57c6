"""Step 8: all together, with limits. From outside: cat /proc/PID/cgroup GROUP/pids.current; cat /proc/PID/limits

New: a control group counts what all processes in it use together, and bounds it; children stay where their parent is.
So a child enters a group made beside our own, and starts step 7 there. Who may not make a group gets an rlimit."""

import os
import signal
import sys
from pathlib import Path

from cloche.linux import files, process, scheduling

VERSION_1 = ("memory", "memory.limit_in_bytes", "64M"), ("pids", "pids.max", "16")  # each controller has a tree
VERSION_2 = ("", "memory.max", "64M"), ("", "pids.max", "16")  # one tree, without a name
HUNGRY = ["sh", "-c", "sh -c 'a=$(printf %100000000d 1)' || echo 100 million characters: ended with $?"]
own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
groups = set()
try:
    for controller, name, value in VERSION_1 if "memory" in own else VERSION_2:
        group = Path(f"/sys/fs/cgroup/{controller}{os.path.dirname(own[controller])}/tour-{os.getpid()}")
        group.mkdir(exist_ok=True)
        groups.add(group)
        files.write_value(f"{group}/{name}", value)
        print(f"together: {group}/{name} is {value}", flush=True)
except (OSError, KeyError) as error:
    scheduling.set_rlimit(scheduling.RLIMITS["RLIMIT_AS"], 64 << 20, 64 << 20)
    print(f"no control group ({error}): 64M for each process, and any number of them", flush=True)
if child := os.fork():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the child
    status = os.waitpid(child, 0)[1]
    for group in groups:
        while (group / "cgroup.procs").read_text():
            os.sched_yield()  # interrupted, and the last one is still on its way out
        group.rmdir()
    sys.exit(os.waitstatus_to_exitcode(status))
process.die_with_parent()
for group in groups:
    files.write_value(f"{group}/cgroup.procs", "0")  # 0 is who writes it
command = sys.argv[1:] or ([] if sys.stdin.isatty() else HUNGRY)
os.execv(sys.executable, [sys.executable, str(Path(__file__).with_name("7_less_power.py")), *command])
