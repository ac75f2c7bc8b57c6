#!/bin/sh
# Debian packages that tests use: installed when we are root, named in one line when we are not.
#   command:package
wanted="busybox:busybox-static crun:crun runc:runc bwrap:bubblewrap newuidmap:uidmap tmux:tmux strace:strace
man:man-db setpriv:util-linux ip:iproute2 ps:procps make:make gcc:gcc
dockerd:docker.io docker:docker.io containerd:containerd podman:podman conmon:conmon catatonit:catatonit
/lib/systemd/systemd-journald:systemd /usr/lib/podman/netavark:netavark /usr/lib/podman/aardvark-dns:aardvark-dns iptables:iptables
zsh:zsh fish:fish mandoc:mandoc skopeo:skopeo umoci:umoci gpg:gpg dpkg:dpkg docker-registry:docker-registry openssl:openssl"
missing=""
for pair in $wanted; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair##*:}"
done
python3=/usr/bin/python3
[ -x "$python3" ] && "$python3" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
[ -e /usr/arm-linux-gnueabihf/include/asm/unistd-eabi.h ] || missing="$missing linux-libc-dev-armhf-cross"
ls /usr/lib/*/libseccomp.so.2 >/dev/null 2>&1 || missing="$missing libseccomp2"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    # a daemon that a package brings is not started: tests start their own (invoke-rc.d asks this file; 101 is no)
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 1' INT TERM HUP
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null && exit 0
fi
echo "some tests will be skipped; they need: sudo apt-get install$missing"
