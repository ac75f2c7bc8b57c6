"""What containers say, kept: written by the supervisor as it comes from their pipes, read by `cloche logs`.

    pipe ── chunks ──► Writer ──► log/ID-json.log, .1, .2.gz ──► reading.Log ──► time, stream, bytes
                              ├─► journald, syslog, and a copy in such a file
                              └─► nowhere

    options       which drivers there are, what may be said to them
    records       one record of a file: bytes to JSON and back, pure
    files         the writer of a file and its rotation; compressing: the process that makes .gz of what was rotated
    datagrams     the writers to the journal and to syslog
    reading       from the files back to what was said; following: what is said from now on

The writers live in a process that has a thousand of them and no time: they load next to nothing, hold one descriptor
each while something is said, never wait for a disk or a reader longer than a write takes, and never fail: what a full
disk does not take is counted, and told in the log when there is room again.
"""

from __future__ import annotations

from cloche.engine.logs.files import FileWriter
from cloche.engine.logs.options import DEFAULT, IN_FILES, SENT, check_options, copy_options, is_copied
from cloche.engine.logs.writers import Copied, Facts, Nothing, Writer

__all__ = ["DEFAULT", "Facts", "Writer", "check_options", "open_writer", "readable"]


def open_writer(driver: str, options: dict[str, str], folder: str, container: Facts) -> Writer:
    """The writer for one container; `folder` is its own for logs, made when something is said.

    Raises SpecError for a driver or option that `check_options` would not take; else nothing, whatever the disk does.
    """
    check_options(driver, options)
    if driver == "none":
        return Nothing()
    if driver in SENT:
        from cloche.engine.logs.datagrams import Datagrams

        sent = Datagrams(driver, options, container)
        if not is_copied(driver, options):
            return sent
        return Copied(sent, FileWriter("local", copy_options(options), folder, container))
    return FileWriter(driver, options, folder, container)


def readable(driver: str, options: dict[str, str]) -> bool:
    """Whether `reading.Log` can give back what was said to it. Raises SpecError for what was never checked."""
    return driver in IN_FILES or is_copied(driver, options)
