"""The parent that containers need which outlive the command line: one for each store, started when it is needed.

    commands ── STATE/supervisor.sock ──▶ supervisor ── STATE/stage.sock ──▶ stage ──▶ containers
                                          logs, ends, restarts               forks, and writes down each end

    client       a command's side: finds the supervisor, or starts one
    main         where it starts: one at a time, takes over what the last one left, goes when nothing is left
    loop         descriptors and moments to wait for
    connection   messages from and to commands, without ever waiting for one of them
    answering    what commands may ask
    supervised   one container: from its start to its end, and to its next start
    adopting     what is found when one supervisor follows another: what runs, what has ended meanwhile

It may be killed at any moment. What runs goes on; what it writes waits in named pipes that the container holds open
itself; how it ended is written down by the stage. The next command starts another supervisor. It reads little, keeps
little, and forks for the compression of logs alone: restarts, removals, health checks are commands that it starts.
"""
