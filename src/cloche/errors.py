"""Every error a caller of cloche can see.

    ClocheError                  what failed, on what; `.hint` says what to do about it
      SpecError                  a document or an option is wrong; `.pointer` says where (JSON pointer)
      NotFoundError              a directory, image, container or command that is not there
      ConflictError              a name in use, options that exclude each other
      ForbiddenError             the kernel or the machine's owner does not allow it
      UnsupportedError           the kernel or machine cannot; `.feature`, `.needs`
      RegistryError              a registry said no, or something that is not true
      StageError                 a step failed while a container was set up; `.op`, `.errno`
        NotExecutedError         the command is not there, or cannot be executed; `.code` is 127 or 126
      RunError                   a command ended badly and the caller asked for an exception

A message is one line in lower case without a full stop that names the thing; the hint is the next
line. `cloche.linux` raises plain OSError; the layer that knows what it was for translates, once.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Result = Any  # cloche.sandbox.results.Result, which lies above

# what a command line is told with that has a bad option or value of one, or a bad verb or operand; docker's
BAD_OPTION, BAD_WORD = 125, 1


class ClocheError(Exception):
    """Anything cloche refuses or fails to do.

    `hint` is what the person can do about it, one line, or the empty string.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SpecError(ClocheError):
    """A document or an option does not mean anything; `pointer` is an RFC 6901 JSON pointer.

    `code` is what a command ends with that was given this, 0: the same as its other failures.
    """

    def __init__(self, message: str, *, pointer: str = "", hint: str = "", code: int = 0) -> None:
        super().__init__(f"{pointer}: {message}" if pointer else message, hint=hint)
        self.pointer, self.code = pointer, code


class NotFoundError(ClocheError):
    """A thing that was named is not there."""


class ConflictError(ClocheError):
    """What was asked for contradicts itself, or what is already there."""


class ForbiddenError(ClocheError):
    """The kernel or the machine's owner does not allow it."""


class UnsupportedError(ClocheError):
    """This kernel or machine cannot do it: `feature` is what, `needs` what it would take."""

    def __init__(self, feature: str, *, needs: str = "", hint: str = "") -> None:
        super().__init__(f"{feature} is not possible here" + (f": {needs}" if needs else ""), hint=hint)
        self.feature, self.needs = feature, needs


class RegistryError(ClocheError):
    """A registry refused, or what it sent is not what was asked for."""


class StageError(ClocheError):
    """A step of setting up a container failed: `op` is the step, `errno` the kernel's answer."""

    def __init__(self, message: str, *, op: str = "", errno: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.op, self.errno = op, errno


class NotExecutedError(StageError):
    """The container's command is not there, or cannot be executed: `code` is 127 or 126, as shells have it."""

    def __init__(self, message: str, code: int, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class RunError(ClocheError):
    """A command ended with another exit code than 0 and the caller had said `check=True`.

    `result` is everything that is known about it.
    """

    def __init__(self, message: str, result: Result, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.result = result
