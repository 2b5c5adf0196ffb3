"""Lines from a byte stream, read ahead by a thread, in windows that end when the stream pauses."""

from __future__ import annotations

import io
import os
import queue
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

from mtkit.corpus.text_files import open_bytes, refuse_foreign, standard_input
from mtkit.decoding.lines import WINDOW_CHARACTERS
from mtkit.errors import DataError, MtkitError
from mtkit.runtime import console

# A program that writes a line and waits for its translation gets it after a pause of this length.
PAUSE_SECONDS = 0.05

_CHUNK_BYTES = 1 << 16
_CHUNKS_AHEAD = 32
_END = b""
ByteStream = IO[bytes] | io.RawIOBase

# How long to wait in one piece: elsewhere than on POSIX, Ctrl-C is seen only between two waits.
_WAIT_SECONDS = 0.5


class LineStream:
    r"""The lines of a byte stream.

    Lines end with `\n` or `\r\n`; a byte order mark before the first vanishes. What is not UTF-8 becomes U+FFFD, and
    the lines that hold such bytes are counted; only a stream that begins as no text does, compressed or in UTF-16, is
    refused.

    Attributes:
        name: Of the file, for messages.
        num_lines: Lines given out so far.
        num_undecodable: Lines among them that held bytes that are not UTF-8.
        first_undecodable: Number of the first such line, from 1.
    """

    def __init__(
        self, opening: AbstractContextManager[ByteStream], name: str, pause_seconds: float | None = None
    ) -> None:
        """Prepare to read; that begins with the first window, in a thread of its own.

        Args:
            opening: Gives the stream, and closes it if need be. One that buffers must have `read1`, or its reading
                waits for more than there is.
            name: Of the file, for messages.
            pause_seconds: A window ends when no bytes came for so long; None for windows that are always full.
        """
        self.name = name
        self.num_lines = 0
        self.num_undecodable = 0
        self.first_undecodable: int | None = None
        self._opening = opening
        self._pause_seconds = pause_seconds
        self._chunks: queue.Queue[bytes | Exception] = queue.Queue(_CHUNKS_AHEAD)
        self._is_over = threading.Event()

    def iter_windows(self, max_lines: int) -> Iterator[list[str]]:
        """Yield the lines in lists of at most `max_lines` and about `WINDOW_CHARACTERS` bytes.

        Raises:
            DataError: The stream cannot be read, or is no text.
        """
        # A daemon: no wait for input that never comes may keep the process from ending.
        threading.Thread(target=self._pump, name=f"reading {self.name}", daemon=True).start()
        try:
            window: list[str] = []
            size = 0
            for line in self._iter_lines():
                if line is not None:
                    window.append(self._decode(line))
                    size += len(line)
                if window and (line is None or len(window) == max_lines or size >= WINDOW_CHARACTERS):
                    yield window
                    window, size = [], 0
            if window:
                yield window
        finally:
            self._is_over.set()

    def _iter_lines(self) -> Iterator[bytes | None]:
        """Yield each line without its line feed, and None whenever the stream pauses."""
        beginning: list[bytes] = []
        while (chunk := self._get(self._pause_seconds)) != _END:
            if chunk is None:
                yield None
                chunk = self._get(None)
                if chunk == _END:
                    break
            assert chunk is not None
            first, *others = chunk.split(b"\n")
            beginning.append(first)
            if others:
                yield b"".join(beginning)
                yield from others[:-1]
                beginning = [others[-1]]
        if last := b"".join(beginning):
            yield last

    def _decode(self, line: bytes) -> str:
        self.num_lines += 1
        if self.num_lines == 1:
            refuse_foreign(line, self.name)
            line = line.removeprefix(b"\xef\xbb\xbf")
        line = line.removesuffix(b"\r")
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.num_undecodable += 1
            self.first_undecodable = self.first_undecodable or self.num_lines
            return line.decode(errors="replace")

    def _get(self, patience_seconds: float | None) -> bytes | None:
        """Return the next chunk; None if there is none for so long."""
        while True:
            try:
                wait = _WAIT_SECONDS if patience_seconds is None else patience_seconds
                chunk = self._chunks.get(timeout=wait)
            except queue.Empty:
                if patience_seconds is not None:
                    return None
                continue
            match chunk:
                case MtkitError():
                    raise chunk
                case Exception():
                    reason = getattr(chunk, "strerror", None) or str(chunk)
                    raise DataError(f"cannot read: {reason}", at=self.name, fix="give a readable file") from chunk
            return chunk

    def _pump(self) -> None:
        """Read the stream to its end, in the thread."""
        try:
            with self._opening as stream:
                read = getattr(stream, "read1", stream.read)
                chunk: bytes | None = None
                while chunk != _END and not self._is_over.is_set():
                    chunk = read(_CHUNK_BYTES)
                    if chunk is None:  # the stream does not block, and has nothing now
                        time.sleep(PAUSE_SECONDS / 5)
                    else:
                        self._put(chunk)
        except Exception as exc:
            self._put(exc)

    def _put(self, item: bytes | Exception) -> None:
        while not self._is_over.is_set():
            with suppress(queue.Full):
                self._chunks.put(item, timeout=_WAIT_SECONDS)
                return


def open_standard_input() -> LineStream:
    """Return the lines of standard input.

    A line typed at a terminal is a window by itself. A pipe is read in windows that end when it pauses; a file, in
    full ones.

    Raises:
        DataError: Standard input is closed.
    """
    buffered = standard_input()
    # The raw stream: the buffered one holds a lock while it waits, which the interpreter cannot take when it exits.
    stream = getattr(buffered, "raw", buffered)
    pause_seconds: float | None = PAUSE_SECONDS
    if stream.isatty():
        pause_seconds = 0.0
    with suppress(OSError):  # a stream that is no file of the system, as in a test
        if stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode):
            pause_seconds = None
    return LineStream(nullcontext(stream), "standard input", pause_seconds)


def open_file(path: Path) -> LineStream:
    """Return the lines of a file, decompressed if its suffix says so; of XML it is warned.

    Raises:
        DataError: It is missing, a folder, or no text.
    """
    is_pipe = path.exists() and not path.is_file() and not path.is_dir()
    if not is_pipe:
        with open_bytes(path) as (stream, _):  # what is wrong shows now, not when a model has been loaded
            start = stream.read(16)
        refuse_foreign(start, path)
        if start.removeprefix(b"\xef\xbb\xbf").startswith(b"<?xml"):
            advice = "mtkit translate --format xliff, tmx or html reads it as a document"
            console.warn(f"{path}: this is XML, and its markup is read as lines of text; {advice}")
    return LineStream(_opened(path), str(path), PAUSE_SECONDS if is_pipe else None)


@contextmanager
def _opened(path: Path) -> Iterator[ByteStream]:
    with open_bytes(path) as (stream, _):
        yield stream


def count_lines(path: Path) -> int:
    """Return the number of lines of a file.

    Raises:
        DataError: It cannot be read.
    """
    count, last = 0, b""
    with open_bytes(path) as (stream, _):
        while chunk := stream.read(1 << 20):
            count += chunk.count(b"\n")
            last = chunk
    return count + (last[-1:] not in {b"", b"\n"})
