"""A new process before it is the command, as others see it in /proc/PID/stat (proc_pid_stat(5)).

Its flags are those of the kernel's sched.h: it has the first from the beginning of its end, before its descriptors are
closed; it loses the second in execve(2), also before that, and gets its new name after it.
"""

from __future__ import annotations

SETTING_UP = "cloche set-up"  # its name until it is the command, or an init
EXITING, NOT_EXECUTED = 0x4, 0x40  # PF_EXITING, PF_FORKNOEXEC


def has_ended(pid: int) -> bool:
    """Whether it ends, or is a zombie, and was never the command, which may call itself what it likes."""
    return _flags(pid) & (EXITING | NOT_EXECUTED) == EXITING | NOT_EXECUTED


def is_setting_up(pid: int) -> bool:
    """Whether it is not the command, and becomes it, or ends."""
    return bool(_flags(pid) & NOT_EXECUTED)


def _flags(pid: int) -> int:
    """Its flags, 0 where it is gone or has another name by now."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read(4096).decode(errors="replace")
    except OSError:
        return 0
    name, _, fields = text.partition("(")[2].rpartition(") ")
    return int(fields.split(" ")[6]) if name == SETTING_UP else 0
