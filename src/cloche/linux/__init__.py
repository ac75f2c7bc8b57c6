"""The kernel as typed functions, with no policy.

Each module is one subject of the manual pages. A function here makes one system call (or the few
that only make sense together), takes and returns plain ints, bytes, strings and small classes, and
raises OSError with a note that names the call. Deciding what to call belongs to the layers above.

    kernel        syscall(2), the one door all others go through
    process       clone3, pidfds, waitid, prctl, close_range, capabilities live beside it
    namespaces    unshare, setns, sethostname, id maps, time offsets, namespace ioctls
    mount         the mount API of Linux 5.2+, mount_setattr, pivot_root, umount2
    files         openat2, memfd and seals, statfs
    inotify       waiting for changes of files
    capabilities  capget, capset, the bounding and ambient sets
    seccomp       loading filters, user notification
    landlock      rule sets on files, ports and scopes
    bpf           programs that decide about devices for a cgroup
    keyring       session keyrings
    scheduling    rlimits, oom score, affinity, scheduler, I/O priority, memory policy, personality
    terminal      pseudo-terminals, window size, raw mode
    network       interfaces by ioctl
    netlink       interfaces and addresses, moving them to another namespace

Nothing is imported here, so that a caller pays only for what it uses.
"""
