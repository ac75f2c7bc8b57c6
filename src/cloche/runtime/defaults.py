"""What a container gets when nothing else is said: capabilities, mounts, masked and read-only paths."""

from __future__ import annotations

# podman's eleven; docker adds MKNOD, NET_RAW and AUDIT_WRITE
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
)
PIDS_LIMIT = 2048
MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
    "/sys/fs/selinux",
    "/sys/devices/virtual/powercap",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 0"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GROUP_VIEW = "/sys/fs/cgroup"
DEV = ["nosuid", "noexec", "strictatime", "mode=0755", "size=65536k"]
DEVPTS = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
SHM = ["nosuid", "noexec", "nodev", "mode=1777"]
QUIET = ["nosuid", "noexec", "nodev"]
