"""Locks of files and folders. The system gives them up when a process ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of a file or folder while a block runs.

    Where a file system or a system (Windows) knows no locks, nobody is kept out.

    Yields:
        Whether `path` is still what was locked; False if it was removed or replaced meanwhile.

    Raises:
        BlockingIOError: Somebody else holds it.
        OSError: There is nothing at `path`, or it cannot be read.
    """
    try:
        import fcntl
    except ImportError:
        yield True
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            yield True
            return
        yield stands_at(path, os.fstat(descriptor))
    finally:
        os.close(descriptor)


def stands_at(path: Path, found: os.stat_result) -> bool:
    """Return whether the file or folder that was found once is what stands at `path`."""
    try:
        return os.path.samestat(path.stat(), found)
    except FileNotFoundError:
        return False
