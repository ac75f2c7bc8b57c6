"""A Debian system made of packages: what debootstrap does, in Python, and the same again each time.

    sources ──▶ Release ── signature, date ──▶ Packages ── sha256 ──▶ .debs ── sha256 ──▶ a tree, unpacked
                                                   └── dependencies ──┘                     │ its own dpkg configures
                                                                                            ▼ it, in a container
                                                       layer, config, manifest ◀── a tree, cleaned

Who signed a Release is looked at before anything in it; each file after that is known by the hash of the one before.
What comes out depends on nothing but these files: no clock, no name of this machine, no order of a directory.

What does not belong here: running the container, which layers above do.
"""
