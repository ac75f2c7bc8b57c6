"""The stage: the airlock between a caller and a container. It carries out plans and nothing else.

    caller            stage                         new process
    ──────            ─────                         ───────────
    plan ───────────▶ outside steps: groups
                      clone3 ─────────────────────▶ steps that need no ids
                      id maps, mount trees ─ fds ─▶ steps with ids: root, mounts, identity
    ◀─ started(pidfd)                               exec ─▶ the command
                      waits: pidfd, refusals, deadline
    ◀─ ended ──────── counters, groups removed

A stage is single-threaded, imports little and nothing late, and serves one container after another.
If the caller dies, the stage ends its containers and removes their groups; if the stage dies, its
containers die with it (PR_SET_PDEATHSIG) and the caller removes the groups.

What does not belong here: any decision. A plan says what to do (`cloche.runtime` makes plans).
"""
