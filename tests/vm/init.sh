#!/bin/busybox sh
# The first process of the guest: this machine's files under a layer in memory, a pure cgroup v2 tree, the command.
set -u
b=/bin/busybox
# it mounts over everything and moves the root: never anywhere but in a machine of its own
if [ $$ != 1 ] || [ ! -f /modules/order ]; then
    echo "this is the first process of the test machine, and nothing else" >&2
    exit 1
fi
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "/modules/$module" || echo "no module $module"; done </modules/order
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=500000,cache=loose,ro host /host
$b mount -t tmpfs top /top
$b mkdir /top/upper /top/work
$b mount -t overlay -o lowerdir=/host,upperdir=/top/upper,workdir=/top/work root /root
r=/root
$b mount -t proc proc $r/proc
$b mount -t sysfs sys $r/sys
$b mount -t cgroup2 cgroup2 $r/sys/fs/cgroup
$b mount -t devtmpfs dev $r/dev
$b mkdir -p $r/dev/pts $r/dev/shm
$b mount -t devpts -o mode=0620,ptmxmode=0666 devpts $r/dev/pts
$b ln -sf pts/ptmx $r/dev/ptmx
for link in fd: stdin:/0 stdout:/1 stderr:/2; do $b ln -sf "/proc/self/fd${link#*:}" "$r/dev/${link%:*}"; done
$b mount -t tmpfs -o mode=1777 shm $r/dev/shm
for place in run tmp home; do $b mount -t tmpfs $place $r/$place; done
$b chmod 1777 $r/tmp
# the project itself, which may be in one of these
project=$($b cat /checkout)
$b mkdir -p "$r$project"
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=500000,cache=loose,ro project "$r$project"
$b hostname guest
$b ip link set lo up
$b cp /command /last $r/run/
# not chroot: a process in one may not make user namespaces
exec $b switch_root $r /bin/sh /run/last >/dev/console 2>&1
