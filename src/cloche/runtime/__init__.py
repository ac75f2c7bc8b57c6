"""From a container's specification to a plan: what to mount, drop, limit and filter, decided purely.

Packages here compute; they make no system call. The kernel's functions are in `cloche.linux`, and
the process that carries a plan out is in `cloche.stage`.
"""
