"""A run belongs to one training at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mtkit.errors import OutputError


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other trainings of this machine out of a run folder while a block runs.

    The system holds the claim, on the folder itself, and gives it up when the process ends, however it ends. Where a
    file system or a system (Windows) cannot tell, nobody is kept out.

    Raises:
        OutputError: Another training works there.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise taken(folder) from exc
        yield
    finally:
        os.close(descriptor)


def taken(folder: Path) -> OutputError:
    """Return the error of a run that another training works on."""
    return OutputError(
        "another training works on this run", at=folder, fix="wait until it ends, or stop it; another -o trains beside"
    )
