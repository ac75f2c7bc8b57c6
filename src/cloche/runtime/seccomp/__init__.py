"""Seccomp: which system calls a container may make, from profile to BPF program, without libseccomp.

    default    our own profile, data                        docker     their format, resolved
                        └──────────────┬──────────────────────┘
                                       ▼ linux.seccomp of OCI
    conditions ◀── compile ──▶ graph ──▶ Filter.program ──▶ cloche.linux.seccomp.load
                       │
    vocabulary, syscalls: words and numbers      describe: a profile in sentences

Everything here is pure. Nothing is imported, so that a caller pays only for what it uses.
"""
