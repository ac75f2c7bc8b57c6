"""The writer that belongs to a log driver, and whether what it has written can be read."""

from __future__ import annotations

from cloche.engine.logs.files import FileWriter
from cloche.engine.logs.options import IN_FILES, SENT, check_options, copy_options, is_copied
from cloche.engine.logs.writers import Copied, Nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.engine.logs.writers import Facts, Writer


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
