"""Options of docker's that are not here: what is said of each, and what to do instead.

    verb, -x or --long ──▶ why it is not here, a hint

Looked up once a command line has failed, so that no other one pays for it. Those of docker's options that are here are
in the tables of the verbs; tests compare both with what docker's client lists.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.table import Verb

    Words = dict[str, tuple[str, str]]  # an option as it is typed: (why, hint)

# other names of verbs, and those that share their options
SAME = {"create": "run", "shell": "run", "explain": "run", "image rm": "rmi", "image ls": "images"}


def absent(verb: Verb, name: str) -> tuple[str, str] | None:
    """(why, hint) for an option of docker's that this verb does not have; None for all others."""
    if verb.program != "cloche":
        return None
    group, _, last = verb.name.rpartition(" ")
    own = last if group in {"container", "image"} and verb.name not in {*SAME, *_ABSENT} else verb.name
    return _ABSENT.get(SAME.get(own, own), {}).get(name)


_REAL_TIME = ("real-time scheduling is not limited here", "--cpus and --cpu-shares limit the others")
_WINDOWS = "only containers of Windows have it"
_PORTS = ("published ports are not here yet", "--network host shares this machine's ports")
_NETWORKS = "networks of containers are not here yet"
_OWN_ADDRESS = (_NETWORKS, "--network ns:PATH takes one that has been set up")
_DAEMON = ("there is no daemon to talk to", "--root and --state-dir say where containers and images are")
_ONE_OF_SEVERAL = "of several images under one name none is taken by itself yet"
_PLATFORM = (_ONE_OF_SEVERAL, "cloche pull --platform gives the name to the image for that platform")
_SWARM = ("volumes of clusters are docker swarm's", "leave it out: volumes are this machine's")
_CHECKPOINT = ("checkpoints are not here", "a container can stand still: cloche pause")

_ABSENT: dict[str, Words] = {
    "": {
        **dict.fromkeys(("-H", "--host", "-c", "--context", "--tls", "--tlscacert", "--tlscert", "--tlskey"), _DAEMON),
        "--tlsverify": _DAEMON,
        "--config": ("there is no directory of settings", "DOCKER_CONFIG says where docker keeps logins"),
        **dict.fromkeys(("-l", "--log-level"), ("there is one level", "--debug shows where an error came from")),
    },
    "run": {
        **dict.fromkeys(("-p", "--publish", "-P", "--publish-all"), _PORTS),
        "--no-landlock": ("it is spelt differently here", "--security-opt landlock=off"),
        "--blkio-weight-device": (
            "there is one weight for all disks",
            "--blkio-weight, or --device-read-bps and --device-write-bps for one disk",
        ),
        "--cpu-rt-period": _REAL_TIME,
        "--cpu-rt-runtime": _REAL_TIME,
        "--device-cgroup-rule": ("devices are allowed one by one", "--device DEVICE[:TARGET[:rwm]]"),
        "--gpus": ("GPUs are not looked for", "--device for what is in /dev, -v for the driver's libraries"),
        "--ip": _OWN_ADDRESS,
        "--ip6": _OWN_ADDRESS,
        "--link-local-ip": _OWN_ADDRESS,
        "--mac-address": _OWN_ADDRESS,
        "--link": (_NETWORKS, "--network container:NAME has two share one network"),
        "--network-alias": (_NETWORKS, "--add-host NAME:ADDRESS gives an address a name"),
        "--kernel-memory": ("the kernel has no such limit any more", "--memory limits what the kernel uses for it too"),
        "--memory-swappiness": (
            "how readily it swaps is not set for one container here",
            "--memory-swap limits swap; the same as --memory means none",
        ),
        "--oom-kill-disable": (
            "who has no memory left does not wait for more",
            "--oom-score-adj -500 has others killed first",
        ),
        "--runtime": ("containers are run by cloche itself", "leave it out"),
        "--storage-opt": (
            "what a container writes to its own layer has no limit",
            "--read-only, with --tmpfs DIR:size=64m where it writes",
        ),
        "--use-api-socket": ("there is no daemon whose socket it could be", "-v SOCKET:SOCKET for another one's"),
        "--cpu-count": (_WINDOWS, "--cpus"),
        "--cpu-percent": (_WINDOWS, "--cpus"),
        "--io-maxbandwidth": (_WINDOWS, "--device-read-bps and --device-write-bps"),
        "--io-maxiops": (_WINDOWS, "--device-read-iops and --device-write-iops"),
        "--isolation": (_WINDOWS, "leave it out; cloche doctor shows what isolates here"),
    },
    "update": {
        "--cpu-rt-period": _REAL_TIME,
        "--cpu-rt-runtime": _REAL_TIME,
    },
    "start": {"--checkpoint": _CHECKPOINT, "--checkpoint-dir": _CHECKPOINT},
    "rm": dict.fromkeys(("-l", "--link"), ("there are no links between containers", "leave it out: cloche rm NAME")),
    "images": {"--tree": ("images are listed by name", "cloche image tree IMAGE shows what one is made of")},
    "rmi": {"--platform": (_ONE_OF_SEVERAL, "cloche manifest remove takes one out of a list")},
    "push": {"--platform": (_ONE_OF_SEVERAL, "cloche push sends all of them; cloche tag gives one a name of its own")},
    "save": {"--platform": _PLATFORM},
    "history": {"--platform": _PLATFORM},
    "image inspect": {"--platform": _PLATFORM},
    "login": dict.fromkeys(
        ("-p", "--password"), ("everybody on this machine can read a command line", "--password-stdin")
    ),
    "volume create": dict.fromkeys(
        (
            *("--availability", "--group", "--limit-bytes", "--required-bytes", "--scope", "--secret", "--sharing"),
            *("--topology-preferred", "--topology-required", "--type"),
        ),
        _SWARM,
    ),
    "volume ls": {"--cluster": _SWARM},
}
