"""What containers say, kept: written by the supervisor as it comes from their pipes, read by `cloche logs`.

    pipe ── chunks ──► Writer ──► log/ID-json.log, .1, .2.gz ──► reading.Log ──► time, stream, bytes
                              ├─► journald, syslog, and a copy in such a file
                              └─► nowhere

    options       which drivers there are, what may be said to them
    drivers       the writer of each
    records       one record of a file: bytes to JSON and back, pure
    files         the writer of a file and its rotation; compressing: the process that makes .gz of what was rotated
    datagrams     the writers to the journal and to syslog
    reading       from the files back to what was said; following: what is said from now on

The writers live in a process that has a thousand of them and no time: they load next to nothing, hold one descriptor
each while something is said, never wait for a disk or a reader longer than a write takes, and never fail: what a full
disk does not take is counted, and told in the log when there is room again.
"""
