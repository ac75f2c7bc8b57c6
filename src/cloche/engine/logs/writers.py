"""What every writer of a log can do, and what it knows of its container."""

from __future__ import annotations

from cloche.records import record


@record
class Facts:
    """What a log may say of the container: `labels` and `env` are all it has, of which options choose."""

    id: str
    name: str = ""
    image: str = ""
    image_id: str = ""
    labels: dict[str, str] = {}  # noqa: RUF012 - never changed, as the whole record
    env: tuple[str, ...] = ()


class Writer:
    """Where the output of one container goes. None of these raises; times are in nanoseconds since 1970."""

    __slots__ = ()

    def write(self, stream: str, data: bytes, now_ns: int) -> None:
        """Take what was read from "stdout" or "stderr", in any pieces."""
        raise NotImplementedError

    def unfinished(self, stream: str) -> bytes:
        """What was written to a stream and waits for the end of its line."""
        raise NotImplementedError

    def flush(self, now_ns: int) -> None:
        """Write lines that have no end yet as far as they are there: at the end, or when nothing came for a while."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what it holds; what was not flushed is not written."""
        raise NotImplementedError

    def losses(self) -> int:
        """How many bytes of what was said have found no place, since it was made."""
        return 0

    def cause(self) -> str:
        """Why the last of them did not, "" for none."""
        return ""


class Nothing(Writer):
    """The driver `none`: what is said is not kept."""

    __slots__ = ()

    def write(self, stream: str, data: bytes, now_ns: int) -> None:
        """Keep nothing."""

    def unfinished(self, _stream: str) -> bytes:
        """Nothing is waiting."""
        return b""

    def flush(self, now_ns: int) -> None:
        """Nothing is waiting."""

    def close(self) -> None:
        """Nothing is held."""


class Copied(Writer):
    """A writer that sends away, and one of a file, which `cloche logs` reads; neither knows how the other fares."""

    __slots__ = ("copy", "sent")

    def __init__(self, sent: Writer, copy: Writer) -> None:
        self.sent, self.copy = sent, copy

    def write(self, stream: str, data: bytes, now_ns: int) -> None:
        """Keep it first, as whoever it is sent to may be waited for."""
        self.copy.write(stream, data, now_ns)
        self.sent.write(stream, data, now_ns)

    def unfinished(self, stream: str) -> bytes:
        """That of the copy, which is that of both."""
        return self.copy.unfinished(stream)

    def flush(self, now_ns: int) -> None:
        """Both."""
        self.copy.flush(now_ns)
        self.sent.flush(now_ns)

    def close(self) -> None:
        """Both."""
        self.copy.close()
        self.sent.close()

    def losses(self) -> int:
        """Of the copy; where it was sent to, a note says so."""
        return self.copy.losses()

    def cause(self) -> str:
        """That of the copy."""
        return self.copy.cause()
