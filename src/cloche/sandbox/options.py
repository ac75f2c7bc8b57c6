"""Everything `run` can be asked, in docker's words: one record for the command line and for Python."""

from __future__ import annotations

from cloche.records import record


@record
class Options:
    """The options of `cloche run`; names and meanings are docker's, values as people write them.

    `image` is "host", an image's name or ID, or "" with `rootfs` given; `pull` is always, missing, newer or never.
    Sizes are bytes or text ("256m"), durations seconds or text ("1m30s"). `environment` is the complete list of
    variables asked for, KEY=VALUE. Without a `stop_signal` it is the image's, or SIGTERM.
    """

    command: tuple[str, ...] = ()
    image: str = "host"
    rootfs: str = ""
    pull: str = "missing"
    platform: str = ""
    entrypoint: str | None = None
    interactive: bool = False
    tty: bool = False
    env: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    group_add: tuple[str, ...] = ()
    umask: str | int = "0022"
    init: bool = False
    stop_signal: str | int | None = None
    stop_timeout: float | str | None = None
    timeout: float | str = 0
    name: str = ""
    cidfile: str = ""
    pidfile: str = ""
    label: tuple[str, ...] = ()
    annotation: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    volume: tuple[str, ...] = ()
    volumes_from: tuple[str, ...] = ()
    mount: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()
    read_only: bool = False
    shm_size: str | int = "64m"
    device: tuple[str, ...] = ()
    network: str = "none"
    hostname: str = ""
    domainname: str = ""
    add_host: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_option: tuple[str, ...] = ()
    memory: str | int | None = None
    memory_swap: str | int | None = None
    memory_reservation: str | int | None = None
    oom_score_adj: str | int | None = None
    cpus: str | float | None = None
    cpu_shares: str | int | None = None
    cpu_period: str | int | None = None
    cpu_quota: str | int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    pids_limit: str | int | None = None
    ulimit: tuple[str, ...] = ()
    blkio_weight: str | int | None = None
    io_weight: str | int | None = None
    device_read_bps: tuple[str, ...] = ()
    device_write_bps: tuple[str, ...] = ()
    device_read_iops: tuple[str, ...] = ()
    device_write_iops: tuple[str, ...] = ()
    io_max: tuple[str, ...] = ()
    cgroup_parent: str = ""
    allow_unenforced: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    privileged: bool = False
    sysctl: tuple[str, ...] = ()
    userns: str = ""
    uidmap: tuple[str, ...] = ()
    gidmap: tuple[str, ...] = ()
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroupns: str = ""
    time_offset: str = ""
    trace: bool = False
    step: bool = False
