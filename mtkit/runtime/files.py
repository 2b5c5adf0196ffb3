"""Folders and files that appear whole or not at all, and fingerprints of files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from mtkit.errors import OutputError, writing
from mtkit.runtime.distributed import read_processes
from mtkit.runtime.locks import locked

_ATTEMPTS = 5


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path` to fill; when the block ends well, it takes the place of `path`.

    All files are flushed to the disk before the rename. If the block fails, nothing is left behind and what stood at
    `path` is untouched. What a kill left is removed, an older folder only when a new one stands.

    Raises:
        OutputError: The folder cannot be written, this process works in it, or another one is writing it.
    """
    path = path.resolve()  # of a link, what it leads to
    if _works_in(path):
        raise OutputError("the folder that you are in cannot be replaced", at=path, fix="name a new one inside it")
    temporary = _place_beside(path, "partial")
    with ExitStack() as stack:
        with writing(path):
            _claim(temporary, path, stack, _make_folder)
        try:
            with writing(path):
                yield temporary
                _sync_tree(temporary)
                _swap(temporary, path)
        except BaseException as exc:
            if isinstance(exc, OutputError) and exc.at is not None:
                exc.at = exc.at.replace(str(temporary), str(path))  # where it would have stood
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def remove_leftovers(path: Path) -> None:
    """Remove what a kill left beside a folder that `atomic_folder` wrote; only where nobody else writes it now."""
    path = path.resolve()
    for kind in ("partial", "replaced"):
        leftover = _place_beside(path, kind)
        with suppress(OSError), locked(leftover):
            shutil.rmtree(leftover, ignore_errors=True)


def _place_beside(path: Path, kind: str) -> Path:
    """Return where what is to take the place of `path`, or what it took that of, stands meanwhile."""
    return path.with_name(f".{path.name}.{kind}")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write; when the block ends well, it takes the place of `path`.

    Each of the processes that torchrun started has a temporary path of its own: several of them may write at once. It
    is always the same one, so that what a kill leaves is written over.

    Raises:
        OutputError: The file cannot be written, or another process is writing it.
    """
    rank = read_processes().rank
    temporary = _place_beside(path, f"{rank}.partial" if rank else "partial")
    with ExitStack() as stack:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _claim(temporary, path, stack, Path.touch)
        try:
            with writing(path):
                yield temporary
                _sync(temporary)
                temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def _claim(temporary: Path, path: Path, stack: ExitStack, make: Callable[[Path], None]) -> None:
    """Make a place for what is to stand at `path`, and lock it until the stack is closed.

    Raises:
        OutputError: Another process writes there.
    """
    for _ in range(_ATTEMPTS):  # somebody who ends meanwhile takes it away
        try:
            make(temporary)
            if stack.enter_context(locked(temporary)):
                return
        except BlockingIOError:
            break
        except FileNotFoundError:
            if not temporary.parent.is_dir():
                raise
    raise OutputError("another mtkit command is writing this", at=path, fix="wait until it ends, or choose another -o")


def _make_folder(path: Path) -> None:
    """Make an empty folder, in place of one that a kill left."""
    if path.exists():
        with locked(path) as is_there:
            if is_there:
                shutil.rmtree(path)
    path.mkdir(parents=True, exist_ok=True)


def write_json(value: Any, path: Path) -> None:
    """Write `value` as readable JSON, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds something else.
    """
    value = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(value, dict):
        return value
    raise ValueError("not a JSON object")


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _works_in(folder: Path) -> bool:
    try:
        return Path.cwd().is_relative_to(folder)
    except FileNotFoundError:  # where this process worked is gone
        return False


def _swap(new: Path, path: Path) -> None:
    """Put the folder `new` in the place of `path`, which may hold an older one."""
    old = _place_beside(path, "replaced")
    try:
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        new.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
    _sync(path.parent)


def _sync_tree(folder: Path) -> None:
    for item in sorted(folder.rglob("*")):
        _sync(item)
    _sync(folder)


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk; Windows has no way to do so for a folder."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
