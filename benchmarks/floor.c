// The honest limit: clone3 with seven namespaces, id maps, six mounts, pivot_root, exec of `true`, wait.
// No seccomp, no cgroup, no capabilities, no masks, no devices. Prints the nanoseconds of each round.
//     cc -O2 -o floor floor.c && ./floor ROOTFS ROUNDS
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void check(int bad, const char *what) {
    if (bad) { perror(what); _exit(125); }
}

static void put(pid_t pid, const char *file, const char *text) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int fd = open(path, O_WRONLY);
    check(fd < 0 || write(fd, text, strlen(text)) < 0, path);
    close(fd);
}

static void inside(const char *root, int go) {
    char byte;
    check(read(go, &byte, 1) != 1, "read");
    check(setresgid(0, 0, 0) || setresuid(0, 0, 0), "setuid");
    check(mount(0, "/", 0, MS_REC | MS_PRIVATE, 0), "private");
    check(mount(root, root, 0, MS_BIND, 0) || chdir(root), "bind");
    check(mount("proc", "proc", "proc", 0, 0), "proc");
    check(mount("sysfs", "sys", "sysfs", 0, 0), "sysfs");
    check(mount("tmpfs", "dev", "tmpfs", 0, "mode=755"), "dev");
    check(mkdir("dev/pts", 0755) || mkdir("dev/shm", 0755) || mkdir("dev/mqueue", 0755), "mkdir");
    check(mount("devpts", "dev/pts", "devpts", 0, "newinstance,ptmxmode=0666"), "devpts");
    check(mount("shm", "dev/shm", "tmpfs", 0, "mode=1777"), "shm");
    check(mount("mqueue", "dev/mqueue", "mqueue", 0, 0), "mqueue");
    check(syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"), "pivot_root");
    execl("/bin/true", "true", (char *)0);
    check(1, "exec");
}

int main(int argc, char **argv) {
    int rounds = argc > 2 ? atoi(argv[2]) : 1;
    for (int i = 0; i < rounds; i++) {
        struct timespec a, b;
        int go[2], status;
        clock_gettime(CLOCK_MONOTONIC, &a);
        check(pipe2(go, O_CLOEXEC), "pipe");
        struct clone_args args = {.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                                           CLONE_NEWUTS | CLONE_NEWCGROUP, .exit_signal = SIGCHLD};
        pid_t pid = syscall(SYS_clone3, &args, sizeof args);
        check(pid < 0, "clone3");
        if (pid == 0) inside(argv[1], go[0]);
        put(pid, "uid_map", "0 0 65536");
        put(pid, "gid_map", "0 0 65536");
        check(write(go[1], "x", 1) != 1, "write");
        check(waitpid(pid, &status, 0) < 0 || status, "wait");
        clock_gettime(CLOCK_MONOTONIC, &b);
        close(go[0]);
        close(go[1]);
        printf("%ld\n", (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec);
    }
}
