"""cloche.runtime.seccomp: profiles, the compiler, and what its programs decide, without a kernel."""
