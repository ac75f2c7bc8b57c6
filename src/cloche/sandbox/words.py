"""What is wrong with options themselves, whatever image they are for: said before something is fetched for them."""

from __future__ import annotations

from cloche.network.names import hosts_file, resolver_file
from cloche.sandbox import values
from cloche.sandbox.config import check, modes, rlimits, sysctl_namespace, without_zeros
from cloche.sandbox.limits import resources
from cloche.sandbox.security import decide, read_profile
from cloche.sandbox.volumes import here, tmpfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.sandbox.options import Options


def check_words(options: Options) -> None:
    """Raise ClocheError for a value that means nothing, or contradicts another one."""
    options = without_zeros(options)
    check(options)
    security = decide(options)
    if security.seccomp not in {"default", "unconfined"}:
        read_profile(security.seccomp)
    modes(options)
    resources(options)
    rlimits(options)
    values.positive_size(options.shm_size, "--shm-size")
    if options.oom_score_adj is not None:
        values.whole(options.oom_score_adj, "--oom-score-adj", -1000, 1000)
    for text in options.volume:
        values.volume(text, here())
    for text in options.mount:
        values.mount_words(text)
    for text in options.tmpfs:
        tmpfs(text)
    for text in options.sysctl:
        sysctl_namespace(values.key_value(text, "--sysctl")[0])
    hosts_file("", list(options.add_host))
    resolver_file(list(options.dns), list(options.dns_search), list(options.dns_option))
