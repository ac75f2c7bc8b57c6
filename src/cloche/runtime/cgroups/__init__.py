"""The cgroup side of a container: which groups it gets, what is written there, and what later commands do to them.

    limits, blocks   linux.resources as cgroup files and values, v1 and v2; pure
    devices          device rules as lines for v1 and as a program for v2; pure
    sandbox          the groups of `cloche run`: what can be had, in the place of its own
    containers       the groups of an OCI container: linux.cgroupsPath, every hierarchy
    freezing         stopping everything in there, and letting it go on
    update           other limits for a living container
    stats, oom       what the groups count, and when memory ran out

A container's groups are known by a plain dictionary, which is kept with its state and is what runc calls
`cgroup_paths`: {controller: directory}, with "" for the directory in the v2 tree. Ending and removing
groups belongs to `cloche.stage`, which has to do it too.
"""
