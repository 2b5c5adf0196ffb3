"""A run belongs to one training at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mtkit.errors import OutputError
from mtkit.runtime.locks import locked


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other trainings of this machine out of a run folder while a block runs.

    The system holds the claim, on the folder itself, and gives it up when the process ends, however it ends. Where a
    file system or a system (Windows) cannot tell, nobody is kept out.

    Raises:
        OutputError: Another training works there.
    """
    with ExitStack() as stack:
        try:
            is_there = stack.enter_context(locked(folder))
        except (BlockingIOError, FileNotFoundError) as exc:  # another one replaces it
            raise taken(folder) from exc
        if not is_there:
            raise taken(folder)
        yield


def taken(folder: Path) -> OutputError:
    """Return the error of a run that another training works on."""
    return OutputError(
        "another training works on this run", at=folder, fix="wait until it ends, or stop it; another -o trains beside"
    )
