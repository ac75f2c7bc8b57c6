"""Seccomp: which system calls a container may make, from profile to BPF program, without libseccomp.

    default    our own profile, data                        docker     their format, resolved
                        └──────────────┬──────────────────────┘
                                       ▼ linux.seccomp of OCI
   conditions ◀─ rules ◀─ compile ─▶ graph ──▶ Filter.program ──▶ cloche.linux.seccomp.load
                   │         │
    vocabulary, syscalls, compat: words and numbers      describe: a profile in sentences
                                                         features: the words, for `features`

Everything here is pure, but for one question that `features` asks the kernel. Nothing is imported, so that
a caller pays only for what it uses.
"""
