"""This process' own memory.

What does not belong here: memory files (`files`), limits on memory (`scheduling`, and cgroups).
"""

from __future__ import annotations

from cloche.linux import kernel

MADV_POPULATE_WRITE = 23  # asm-generic/mman-common.h, Linux 5.14


def populate_write(start: int, length: int) -> None:
    """madvise(2) MADV_POPULATE_WRITE, Linux 5.14: fault a range in, writable, as if each page were written."""
    kernel.call("madvise", kernel.number(28, 233), start, length, MADV_POPULATE_WRITE)


def unshare_pages() -> None:
    """After a fork: copy every private writable page now rather than one by one at the first write.

    Does as much as the kernel lets it: this changes when the copying is done, and nothing else.
    """
    with open("/proc/self/maps", "rb") as file:
        ranges = [line.split(b" ", 2)[0] for line in file if b" rw-p " in line[:40]]
    for span in ranges:
        start, end = (int(edge, 16) for edge in span.split(b"-"))
        try:
            populate_write(start, end - start)
        except OSError:
            continue
