// The same container as `cloche run --rootfs DIR true` makes for root, in straight C: namespaces, id maps, control
// groups, an overlay, /dev, proc, sysfs, masks, capabilities, the same seccomp filter with its listener, counters.
// Prints the nanoseconds of each round; with ROUNDS below 0, makes as many, idle, prints a line and stays.
//     cc -O2 -o same same.c && ./same ROOTFS ROUNDS FILTER GROUP GROUP
// FILTER is a file with the program, the GROUPs are directories of cgroup v1 (memory, pids) or v2.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#define MNT_DETACH 2
static void check(int bad, const char *what) { if (bad) { perror(what); _exit(125); } }
static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    check(fd < 0 || write(fd, text, strlen(text)) < 0, path);
    close(fd);
}
static int at(int root, const char *path, int flags) {
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return syscall(SYS_openat2, root, path, &how, sizeof how);
}
static int newfs(const char *kind, const char **opts, int attrs) {
    int c = syscall(SYS_fsopen, kind, 1);
    check(c < 0, kind);
    for (; *opts; opts += 2)
        check(syscall(SYS_fsconfig, c, opts[1] ? 1 : 0, opts[0], opts[1], 0), opts[0]);
    check(syscall(SYS_fsconfig, c, 6, 0, 0, 0), "create");
    int m = syscall(SYS_fsmount, c, 1, attrs);
    check(m < 0, "fsmount");
    close(c);
    return m;
}
#define FS(kind, attrs, ...) newfs(kind, (const char *[]){"source", kind, ##__VA_ARGS__, 0, 0}, attrs)
static void set(int fd, uint64_t attrs, uint64_t prop, int userns, int rec) {
    struct mount_attr a = {attrs, 0, prop, userns};
    check(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | (rec ? AT_RECURSIVE : 0), &a, sizeof a), "setattr");
}
static int tree(int dir, const char *path, int rec) {
    int fd = syscall(SYS_open_tree, dir, path, 1 | O_CLOEXEC | (*path ? 0 : AT_EMPTY_PATH) | (rec ? AT_RECURSIVE : 0));
    check(fd < 0, "open_tree");
    return fd;
}
static void attach(int m, int root, const char *path) {
    int place = at(root, path, O_PATH);
    check(place < 0, path);
    check(syscall(SYS_move_mount, m, "", place, "", 0x44), "move_mount");
    close(place);
}
static void fdsend(int s, int *fds, int n) {
    char byte = 1, buf[CMSG_SPACE(64)];
    struct iovec io = {&byte, 1};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
    if (n) {
        m.msg_control = buf; m.msg_controllen = CMSG_SPACE(n * 4);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET; c->cmsg_type = SCM_RIGHTS; c->cmsg_len = CMSG_LEN(n * 4);
        memcpy(CMSG_DATA(c), fds, n * 4);
    }
    check(sendmsg(s, &m, 0) < 0, "send");
}
static int fdrecv(int s, int *fds) {
    char byte, buf[CMSG_SPACE(64)];
    struct iovec io = {&byte, 1};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof buf};
    if (recvmsg(s, &m, MSG_CMSG_CLOEXEC) <= 0) return -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c) memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
    return 0;
}
static const char *rootfs;
static char groups[2][200];
static struct sock_fprog filter;
static int idle;
static void inside(int s) {
    char path[300]; int got[8];
    prctl(PR_SET_NAME, "floor"); prctl(PR_SET_PDEATHSIG, 9); umask(0);
    for (int i = 0; i < 2; i++) {
        snprintf(path, 300, "%s/tasks", groups[i]);
        if (access(path, F_OK)) snprintf(path, 300, "%s/cgroup.procs", groups[i]);
        put(path, "0");
    }
    sethostname("floor", 5);
    struct mount_attr priv = {0, 0, MS_PRIVATE, 0};
    check(syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &priv, sizeof priv), "private");
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
    fdrecv(s, got);
    check(setresgid(0, 0, 0) || setresuid(0, 0, 0), "ids");
    prctl(PR_SET_DUMPABLE, 0); prctl(PR_SET_PDEATHSIG, 9);
    check(unshare(CLONE_NEWCGROUP), "cgroup");
    int scratch = FS("tmpfs", 0, "mode", "0755");
    check(syscall(SYS_move_mount, scratch, "", AT_FDCWD, "/proc", 4), "scratch");
    fchdir(scratch);
    mkdir("l", 0755); mkdir("u", 0755); mkdir("w", 0755); mkdir("f", 0755); mkdir("r", 0755); mkdir("e", 0555);
    fdrecv(s, got); int root0 = got[0], dev = got[1], g1 = got[2], g2 = got[3];
    mkdir("l/0", 0755); mkdir("u/0", 0755); mkdir("w/0", 0755);
    mkdir("u/0/etc", 0755);
    close(open("u/0/etc/hostname", O_CREAT | O_WRONLY, 0644));
    close(open("u/0/etc/hosts", O_CREAT | O_WRONLY, 0644));
    check(syscall(SYS_move_mount, root0, "", scratch, "l/0", 4), "lower"); close(root0);
    int r = FS("overlay", MOUNT_ATTR_NODEV, "lowerdir", "l/0", "upperdir", "u/0", "workdir", "w/0", "userxattr", 0);
    check(syscall(SYS_move_mount, r, "", scratch, "r", 4), "root");
    int m = FS("proc", 14); attach(m, r, "/proc");
    int f = at(r, "/proc/sys/net/ipv4/ip_unprivileged_port_start", O_WRONLY); write(f, "0", 1); close(f);
    f = at(r, "/proc/sys/net/ipv4/ping_group_range", O_WRONLY); write(f, "0 0", 3); close(f);
    int sys = FS("sysfs", 15); attach(sys, r, "/sys");
    attach(dev, r, "/dev"); close(dev);
    int x1 = FS("devpts", 10, "newinstance", 0, "ptmxmode", "0666", "mode", "0620", "gid", "5");
    attach(x1, r, "/dev/pts");
    int x2 = FS("tmpfs", 14, "mode", "1777", "size", "67108864"); attach(x2, r, "/dev/shm");
    int x3 = FS("mqueue", 14); attach(x3, r, "/dev/mqueue");
    int x4 = FS("tmpfs", 14, "mode", "0755", "size", "64k"); attach(x4, r, "/sys/fs/cgroup");
    mkdirat(x4, "memory", 0755); mkdirat(x4, "pids", 0755);
    attach(g1, r, "/sys/fs/cgroup/memory"); attach(g2, r, "/sys/fs/cgroup/pids"); close(g1); close(g2);
    const char *names[] = {"/etc/hostname", "/etc/hosts"};
    for (int i = 0; i < 2; i++) {
        const char *n = i ? "f/b" : "f/a";
        f = open(n, O_CREAT | O_EXCL | O_WRONLY, 0644); fchmod(f, 0644); write(f, "floor\n", 6); close(f);
        int t = tree(scratch, n, 0); attach(t, r, names[i]); close(t);
    }
    const char *masks[] = {"/proc/acpi", "/proc/interrupts", "/proc/keys", "/proc/timer_list", "/sys/firmware"};
    int null = at(r, "/dev/null", O_PATH); struct stat st; fstat(null, &st);
    for (int i = 0; i < 5; i++) {
        int place = at(r, masks[i], O_PATH); if (place < 0) continue;
        fstat(place, &st); int t;
        if (S_ISDIR(st.st_mode)) { t = tree(scratch, "e", 0); set(t, MOUNT_ATTR_RDONLY, 0, 0, 0); }
        else t = tree(null, "", 0);
        check(syscall(SYS_move_mount, t, "", place, "", 0x44), "mask"); close(t); close(place);
    }
    const char *ro[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
    for (int i = 0; i < 5; i++) {
        int place = at(r, ro[i], O_PATH); if (place < 0) continue;
        int t = tree(place, "", 1); set(t, MOUNT_ATTR_RDONLY, 0, 0, 1);
        check(syscall(SYS_move_mount, t, "", place, "", 0x44), "ro"); close(t); close(place);
    }
    char buf[4096];
    f = at(r, "/etc/passwd", O_RDONLY); if (f >= 0) { fstat(f, &st); read(f, buf, 4096); close(f); }
    f = at(r, "/etc/group", O_RDONLY); if (f >= 0) close(f);
    f = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); struct ifreq q = {.ifr_name = "lo"};
    ioctl(f, SIOCGIFFLAGS, &q); q.ifr_flags |= IFF_UP; check(ioctl(f, SIOCSIFFLAGS, &q), "lo"); close(f);
    fchdir(r);
    check(syscall(SYS_pivot_root, ".", ".") || syscall(SYS_umount2, ".", MNT_DETACH) || chdir("/"), "pivot_root");
    setsid();
    uint64_t keep = 0x800405fb;
    for (int c = 0; c <= 40; c++) if (!(keep >> c & 1)) prctl(PR_CAPBSET_DROP, c);
    umask(022);
    gid_t own = 0;
    check(syscall(SYS_setgroups, 1, &own) || setresgid(0, 0, 0) || setresuid(0, 0, 0) || chdir("/"), "user");
    check(!getcwd(buf, sizeof buf), "getcwd");
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{keep, keep, 0}, {0, 0, 0}};
    check(syscall(SYS_capset, &h, d), "capset");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    close_range(3, ~0, CLOSE_RANGE_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, 9);
    int l = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | 4, &filter);
    check(l < 0, "seccomp"); fdsend(s, &l, 1); close(l);
    if (idle) execl("/bin/sleep", "sleep", "1000", (char *)0);
    execl("/bin/true", "true", (char *)0);
    check(1, "exec");
}
static void one(int i, char **parents) {
    const char *dirs[] = {"pts", "shm", "mqueue"}, *links[] = {"fd", "stdin", "stdout", "stderr", "ptmx"};
    const char *nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
    const int minors[] = {3, 5, 7, 8, 9, 0};
    const char *counters[] = {"memory.max_usage_in_bytes", "memory.oom_control", "memory.failcnt", "pids.events"};
    char path[300], buf[4096];
    int s[2], status, pidfd, t[4], l;
    for (int k = 0; k < 2; k++) {
        snprintf(groups[k], sizeof groups[k], "%s/same-%d-%d-%d", parents[k], getpid(), i, k);
        check(mkdir(groups[k], 0755), groups[k]);
    }
    snprintf(path, 300, "%s/pids.max", groups[1]);
    put(path, "2048");
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s);
    struct clone_args args = {.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                                       CLONE_NEWUTS | CLONE_PIDFD, .pidfd = (uint64_t)&pidfd, .exit_signal = SIGCHLD};
    pid_t pid = syscall(SYS_clone3, &args, sizeof args);
    check(pid < 0, "clone3");
    if (!pid) { close(s[0]); inside(s[1]); }
    close(s[1]);
    snprintf(path, 300, "/proc/%d/uid_map", pid); put(path, "0 524288 65536");
    snprintf(path, 300, "/proc/%d/gid_map", pid); put(path, "0 524288 65536");
    fdsend(s[0], 0, 0);
    t[0] = tree(AT_FDCWD, rootfs, 0); set(t[0], 4, MS_PRIVATE, 0, 0);
    snprintf(path, 300, "/proc/%d/ns/user", pid);
    int users = open(path, O_RDONLY | O_CLOEXEC); set(t[0], MOUNT_ATTR_IDMAP, 0, users, 0); close(users);
    t[1] = FS("tmpfs", 10, "mode", "0755", "uid", "524288", "gid", "524288", "size", "64k");
    for (int k = 0; k < 3; k++) { mkdirat(t[1], dirs[k], 0755); fchownat(t[1], dirs[k], 524288, 524288, 0); }
    for (int k = 0; k < 6; k++) {
        mknodat(t[1], nodes[k], S_IFCHR | 0666, makedev(k == 5 ? 5 : 1, minors[k]));
        fchownat(t[1], nodes[k], 524288, 524288, 0);
    }
    for (int k = 0; k < 5; k++) {
        symlinkat("/proc/self/fd", t[1], links[k]);
        fchownat(t[1], links[k], 524288, 524288, AT_SYMLINK_NOFOLLOW);
    }
    for (int k = 0; k < 2; k++) { t[2 + k] = tree(AT_FDCWD, groups[k], 0); set(t[2 + k], 15, MS_PRIVATE, 0, 0); }
    fdsend(s[0], t, 4);
    for (int k = 0; k < 4; k++) close(t[k]);
    check(fdrecv(s[0], &l), "the container");
    close(s[0]);
    if (idle) return;
    check(waitpid(pid, &status, 0) < 0 || status, "wait");
    for (int k = 0; k < 4; k++) {
        snprintf(path, 300, "%s/%s", groups[k == 3], counters[k]);
        int f = open(path, O_RDONLY);
        if (f >= 0) { check(read(f, buf, 4096) < 0, path); close(f); }
    }
    check(rmdir(groups[0]) || rmdir(groups[1]), "rmdir");
    close(l); close(pidfd);
}
int main(int argc, char **argv) {
    static char program[65536];
    int rounds = atoi(argv[2]), fd = open(argv[3], O_RDONLY);
    rootfs = argv[1]; idle = rounds < 0;
    filter.len = read(fd, program, sizeof program) / 8; filter.filter = (void *)program;
    close(fd);
    check(argc != 6 || !filter.len, "same ROOTFS ROUNDS FILTER GROUP GROUP");
    for (int i = 0; i < abs(rounds); i++) {
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        one(i, argv + 4);
        clock_gettime(CLOCK_MONOTONIC, &b);
        if (!idle) printf("%ld\n", (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec);
    }
    if (idle) { puts("idle"); fflush(stdout); getchar(); }
    return 0;
}
