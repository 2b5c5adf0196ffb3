"""Where translations are written, lines or a document: standard output, or a file that appears whole."""

from __future__ import annotations

import gzip
import io
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mtkit.errors import OutputError, writing
from mtkit.runtime.files import atomic_file

_BUFFER_BYTES = 1 << 16


class Output:
    """Takes bytes, and lines of UTF-8; they are written when flushed or when enough have come.

    It writes to a raw stream: nothing stays in a buffer of Python's own, to fail once more when the process ends.
    """

    def __init__(self, stream: IO[bytes] | io.RawIOBase, name: str | Path) -> None:
        self._stream = stream
        self._name = name
        self._buffer = bytearray()

    @property
    def is_terminal(self) -> bool:
        """Whether a person watches the lines come."""
        return self._stream.isatty()

    def write_line(self, line: str) -> None:
        """Write a line and its line feed.

        Raises:
            OutputError: The place cannot take it.
        """
        self.write(line.encode() + b"\n")

    def write(self, content: bytes) -> None:
        """Write bytes.

        Raises:
            OutputError: The place cannot take them.
        """
        self._buffer += content
        if len(self._buffer) >= _BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what has come so far.

        Raises:
            OutputError: The place cannot take it.
        """
        data, self._buffer = memoryview(bytes(self._buffer)), bytearray()
        with writing(self._name):
            while data:
                written = self._stream.write(data)
                if written is None:  # the stream does not block, and can take nothing now
                    time.sleep(0.01)
                data = data[written or 0 :]


@contextmanager
def open_output(path: Path | None) -> Iterator[Output]:
    """Open a place to write to.

    Args:
        path: A file, gzipped if its name ends in `.gz`: it is written beside and takes its place at the end of the
            block. What is no file, such as a device or a pipe, is written to at once. None for standard output.

    Raises:
        OutputError: The place cannot be written.
    """
    if path is None and sys.stdout is None:
        raise OutputError("standard output is closed", fix="redirect it, or name a file with -o")
    if path is None:
        output = Output(getattr(sys.stdout.buffer, "raw", sys.stdout.buffer), "standard output")
        yield output
        output.flush()
    elif path.exists() and not path.is_file():
        with writing(path), path.open("wb", buffering=0) as stream:
            output = Output(stream, path)
            yield output
            output.flush()
    else:
        # A link stays one: the file that it leads to is replaced.
        with atomic_file(path.resolve()) as temporary, _open_file(temporary, is_gzip=path.suffix == ".gz") as stream:
            output = Output(stream, path)
            yield output
            output.flush()


@contextmanager
def _open_file(path: Path, is_gzip: bool) -> Iterator[IO[bytes]]:
    with path.open("wb", buffering=0) as raw:
        if is_gzip:
            # No name and no time: the same translations give the same bytes.
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as zipped:
                yield zipped  # type: ignore[misc]  # it is one in all but name
        else:
            yield raw
