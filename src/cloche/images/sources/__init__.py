"""Where an image can be, beside the store: each place is a `Source` to read from, and most a `Sink` to write to.

    docker://NAME          a registry (images/registry)         oci:DIR[:NAME]            an image layout
    docker-daemon:NAME     a docker daemon, over its socket     oci-archive:FILE[:NAME]   one in a tar
    NAME                   the store of this machine            docker-archive:FILE[:NAME]

    source    the interfaces, and `Image` and `Layer` over any source
    copying   from any source to any sink, checked on the way

A source of one's own has two methods, `manifest` and `blob`. What it gives is not trusted: digests are checked by
whoever reads.
"""
