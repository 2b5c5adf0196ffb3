"""The errors that a person can cause or must know of.

```
MtkitError            exit code
├── RecipeError       2    a recipe, a flag or an argument
├── DataError         3    text that is given to mtkit
├── ModelError        4    a checkpoint, a run or a model folder
├── DeviceError       5    a device that is absent, or its memory
├── TrainingError     6    training that diverged
└── OutputError       7    a result that cannot be written
```

Library code raises these; `mtkit.cli` alone prints them and exits. Anything else that reaches a person is a bug
(exit code 1).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

EXIT_BUG = 1
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class MtkitError(Exception):
    """An error with a place and a remedy.

    Args:
        message: What is wrong, in one line.
        at: Where it is: `file`, `file:line` or a recipe field.
        fix: What the person can do about it, in one line.
        also: Further problems of the same kind found in the same pass, so that all are reported at once.
    """

    exit_code: int = EXIT_BUG
    is_of_all: bool = False  # whether all processes that work together raise it

    def __init__(
        self, message: str, *, fix: str, at: str | Path | None = None, also: tuple[MtkitError, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.at = None if at is None else str(at)
        self.fix = fix
        self.also = also

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), fix=self.fix, at=self.at, also=self.also), (self.message,)

    def __str__(self) -> str:
        lines = [f"error: {self.message}"]
        if self.at is not None:
            lines.append(f"   at: {self.at}")
        lines.append(f"  fix: {self.fix}")
        return "\n".join([*lines, *map(str, self.also)])


class RecipeError(MtkitError):
    """A recipe, a flag or an argument is wrong."""

    exit_code = 2
    is_of_all = True


class DataError(MtkitError):
    """Text or a corpus that was given cannot be used."""

    exit_code = 3


class ModelError(MtkitError):
    """A checkpoint, run or model folder is missing, damaged or does not fit."""

    exit_code = 4


class DeviceError(MtkitError):
    """A device is absent or its memory is too small."""

    exit_code = 5


class TrainingError(MtkitError):
    """Training diverged."""

    exit_code = 6


class OutputError(MtkitError):
    """A result cannot be written."""

    exit_code = 7


def first_line(exc: BaseException) -> str:
    """Return what an exception says, its first line; its name where it says nothing."""
    return str(exc).strip().partition("\n")[0] or type(exc).__name__


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn an operating system's refusal to write `path` into an `OutputError`.

    Raises:
        OutputError: The disk is full, the place is read-only or missing, or the file may not grow that large. A
            broken pipe is passed on as it is: it means that the reader has enough.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        if isinstance(exc, IsADirectoryError):
            raise OutputError("cannot write: it is a folder", at=path, fix="name a file") from exc
        reason = exc.strerror or str(exc)
        is_full = exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        fix = "free space there, or choose another place" if is_full else "choose another place"
        raise OutputError(f"cannot write: {reason}", at=path, fix=fix) from exc
