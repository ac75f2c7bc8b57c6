"""From a layer as it was sent to a directory that overlayfs can take as a lower one.

    blob ── decompress ──▶ chunks ──▶ tar ──▶ entries ──▶ apply ──▶ files, below one descriptor
                             └─ sha256 ─▶ diffID

Everything in an archive is hostile: names, links, sizes, counts. Nothing here opens a path of it as a string of its
own: a parent directory is resolved below the layer's (openat2, RESOLVE_IN_ROOT), and the last name in it is one name.
"""
