"""containerd as a service of the guest's systemd, configured as docs/kubernetes.md has it, for systemd's groups.

    /etc/containerd/config.toml, /usr/bin/cloche-runtime    where the document has them: in the guest's own layer
    containerd.service                                      as Debian has it; its log is a file, as there is no journal

What does not belong here: what is expected of pods.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.cri import Kubelet
from tests.engines.documented import INSTALLED, block
from tests.vm.inside import DISK, RUNTIME, TOP

IMAGE = "localhost/box:1"  # made by vm.py; its own command does nothing, as a pause container's
SOCKET = Path("/run/containerd/containerd.sock")
LOG = Path("/run/containerd.log")


@contextmanager
def kubelet() -> Iterator[Kubelet]:
    """A kubelet whose driver is systemd, and the containerd it asks, from its start to its end."""
    Path(INSTALLED).write_text(f'#!/bin/sh\nexec {shlex.join(RUNTIME)} "$@"\n')
    os.chmod(INSTALLED, 0o755)
    shown = block("toml", "containerd.runtimes.cloche", INSTALLED)
    driven = shown.replace("SystemdCgroup = false", "SystemdCgroup = true")
    assert driven != shown, shown
    place = Path("/etc/containerd")
    place.mkdir(exist_ok=True)
    # an overlay cannot have its upper layer in the guest's root, which is one
    (place / "config.toml").write_text(
        f'version = 2\nroot = "{DISK}/containerd"\n'
        f'[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "{IMAGE}"\n{driven}'
    )
    more = Path("/run/systemd/system/containerd.service.d")
    more.mkdir(parents=True)
    (more / "log.conf").write_text(f"[Service]\nStandardOutput=file:{LOG}\nStandardError=file:{LOG}\n")
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "start", "--job-mode=ignore-dependencies", "containerd.service"], check=True)
    try:
        subprocess.run(["ctr", "-n", "k8s.io", "image", "import", os.environ["CLOCHE_IMAGE"]], check=True)
        yield Kubelet(SOCKET, lambda: "\n".join(LOG.read_text().splitlines()[-6:]))
    finally:
        subprocess.run(["systemctl", "stop", "containerd.service"], check=False)
        if (left := TOP / "kubepods.slice").exists():
            (left / "cgroup.kill").write_text("1")  # a stop waits for what does not hear SIGTERM
            subprocess.run(["systemctl", "stop", left.name], check=False)
