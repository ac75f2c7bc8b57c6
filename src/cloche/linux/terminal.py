"""Terminals: pseudo-terminals of a given devpts, window size, raw mode, who is in the foreground; what waits in pipes.

The attributes are kept as the kernel's bytes: the `termios` module would raise an error class of
its own, and a stage has no need to load it.

    struct ktermios { u32 c_iflag, c_oflag, c_cflag, c_lflag; u8 c_line; u8 c_cc[19]; }

What does not belong here: copying between terminals.
"""

from __future__ import annotations

import posix as os

from cloche.linux import kernel

# asm-generic/ioctls.h
TCGETS, TCSETS = 0x5401, 0x5402
TIOCSCTTY = 0x540E
FIONREAD = 0x541B
TIOCGPGRP, TIOCSPGRP = 0x540F, 0x5410
TIOCGWINSZ, TIOCSWINSZ = 0x5413, 0x5414
TIOCSPTLCK = 0x40045431
TIOCGPTN = 0x80045430
TIOCGPTPEER = 0x5441

# asm-generic/termbits.h
_IFLAG_COOKED = 0o1 | 0o2 | 0o10 | 0o40 | 0o100 | 0o200 | 0o400 | 0o2000
# IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON
_OPOST = 0o1
_CSIZE, _CS8, _PARENB = 0o60, 0o60, 0o400
_LFLAG_COOKED = 0o1 | 0o2 | 0o10 | 0o100 | 0o100000  # ISIG | ICANON | ECHO | ECHONL | IEXTEN
_VTIME, _VMIN = 17 + 5, 17 + 6
_KTERMIOS_SIZE = 36


def open_pty(devpts: int) -> tuple[int, int]:
    """pty(7): open "ptmx" in a devpts instance's directory; returns (master, slave), closed on exec.

    The slave comes from TIOCGPTPEER (Linux 4.13), not from a path, so nothing mounted over the
    directory can put another device in its place.
    """
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    master = os.open("ptmx", flags, dir_fd=devpts)
    try:
        kernel.ioctl("TIOCSPTLCK", master, TIOCSPTLCK, bytes(4))
        return master, kernel.ioctl("TIOCGPTPEER", master, TIOCGPTPEER, flags)
    except BaseException:
        os.close(master)
        raise


def pty_number(master: int) -> int:
    """ioctl_tty(2) TIOCGPTN: the slave's name in its devpts instance, a number."""
    return int.from_bytes(_read("TIOCGPTN", master, TIOCGPTN, 4), "little")


def bytes_waiting(fd: int) -> int:
    """FIONREAD (pipe(7)): how many bytes there are to read now, of a pipe."""
    return int.from_bytes(_read("FIONREAD", fd, FIONREAD, 4), "little")


def window_size(fd: int) -> tuple[int, int]:
    """ioctl_tty(2) TIOCGWINSZ: the terminal's (rows, columns).

    struct winsize { unsigned short ws_row, ws_col, ws_xpixel, ws_ypixel; }
    """
    out = _read("TIOCGWINSZ", fd, TIOCGWINSZ, 8)
    return int.from_bytes(out[0:2], "little"), int.from_bytes(out[2:4], "little")


def new_size() -> tuple[int, int]:
    """Rows and columns that a new terminal gets: those of ours, or (24, 80)."""
    return own_size() or (24, 80)


def own_size() -> tuple[int, int] | None:
    """Rows and columns of our terminal; None where there is none, or none that knows them."""
    for fd in (1, 0, 2):
        try:
            rows, columns = window_size(fd)
        except OSError:
            continue
        if rows and columns:
            return rows, columns
    return None


def set_window_size(fd: int, rows: int, columns: int) -> None:
    """ioctl_tty(2) TIOCSWINSZ: set the size; who is in the foreground gets SIGWINCH."""
    size = rows.to_bytes(2, "little") + columns.to_bytes(2, "little") + bytes(4)
    kernel.ioctl("TIOCSWINSZ", fd, TIOCSWINSZ, size)


def make_controlling(fd: int) -> None:
    """ioctl_tty(2) TIOCSCTTY: make this the controlling terminal of the session the caller leads."""
    kernel.ioctl("TIOCSCTTY", fd, TIOCSCTTY, 0)


def foreground(fd: int) -> int:
    """ioctl_tty(2) TIOCGPGRP: the process group in the foreground, 0 when it is out of sight."""
    return int.from_bytes(_read("TIOCGPGRP", fd, TIOCGPGRP, 4), "little", signed=True)


def set_foreground(fd: int, group: int) -> None:
    """ioctl_tty(2) TIOCSPGRP: bring a process group of the caller's session to the foreground."""
    kernel.ioctl("TIOCSPGRP", fd, TIOCSPGRP, group.to_bytes(4, "little"))


def raw_mode(fd: int) -> bytes:
    """ioctl_tty(2) TCGETS and TCSETS: pass every byte as it is, like cfmakeraw(3).

    Returns the attributes there were, for `restore`.
    """
    saved = _read("TCGETS", fd, TCGETS, _KTERMIOS_SIZE)
    raw = bytearray(saved)
    flags = memoryview(raw)[:16].cast("I")
    flags[0] &= ~_IFLAG_COOKED
    flags[1] &= ~_OPOST
    flags[2] = flags[2] & ~(_CSIZE | _PARENB) | _CS8
    flags[3] &= ~_LFLAG_COOKED
    raw[_VMIN], raw[_VTIME] = 1, 0
    restore(fd, bytes(raw))
    return saved


def restore(fd: int, saved: bytes) -> None:
    """ioctl_tty(2) TCSETS: set attributes that `raw_mode` returned, at once."""
    kernel.ioctl("TCSETS", fd, TCSETS, saved)


def _read(request: str, fd: int, nr: int, size: int) -> bytes:
    out = bytearray(size)
    kernel.ioctl(request, fd, nr, kernel.buffer(out))
    return bytes(out)
