"""Text files, plain or compressed: UTF-8, one sentence a line, a chunk of lines at a time."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from mtkit.errors import DataError
from mtkit.runtime.extras import import_extra

_BLOCK_BYTES = 4 << 20
_MAX_LINE_BYTES = 64 << 20

# What to do with text in another encoding.
CONVERSION = "iconv -f ENCODING -t UTF-8, with its own, such as CP1252, SHIFT_JIS or GB18030"

# So many lines are decoded at once.
_CHUNK_LINES = 10_000

_FOREIGN_MARKS = {
    b"\xff\xfe\0\0": ("UTF-32", "convert it: iconv -f UTF-32 -t UTF-8"),
    b"\0\0\xfe\xff": ("UTF-32", "convert it: iconv -f UTF-32 -t UTF-8"),
    b"\xff\xfe": ("UTF-16", "convert it: iconv -f UTF-16 -t UTF-8"),
    b"\xfe\xff": ("UTF-16", "convert it: iconv -f UTF-16 -t UTF-8"),
    b"\x1f\x8b": ("compressed with gzip", "give it as a file named .gz, or pipe what it holds: zcat FILE | mtkit …"),
    b"BZh91AY&SY": (
        "compressed with bzip2",
        "give it as a file named .bz2, or pipe what it holds: bzcat FILE | mtkit …",
    ),
    b"\xfd7zXZ": ("compressed with xz", "give it as a file named .xz, or pipe what it holds: xzcat FILE | mtkit …"),
    b"\x28\xb5\x2f\xfd": (
        "compressed with zstd",
        "give it as a file named .zst, or pipe what it holds: zstdcat FILE | mtkit …",
    ),
    b"PK\x03\x04": (
        "a zip archive",
        "unpack it and give the file inside; turn an office file (.docx, .odt) into HTML or Markdown (pandoc)",
    ),
    b"%PDF-": ("a PDF document", "give its text"),
    b"PAR1": ("a Parquet file", "give it to mtkit prepare as corpus.train.0.path, with the suffix .parquet"),
}


def strip_compression(path: Path) -> Path:
    """Return a path without the suffix of a compression."""
    return path.with_suffix("") if path.suffix.lower() in (".gz", ".bz2", ".xz", ".zst") else path


def standard_input() -> BinaryIO:
    """Return standard input, as bytes.

    Raises:
        DataError: It is closed.
    """
    if sys.stdin is None:
        raise DataError("standard input is closed", fix="name a file, or redirect standard input")
    return sys.stdin.buffer


def read_lines(path: Path | None) -> list[str]:
    """Read a text file, plain or compressed, into memory; only a line feed ends a line, CR LF counts as one.

    None is standard input.

    Raises:
        DataError: The file is missing, empty, damaged, binary, or not UTF-8; with its line.
    """
    return [line.removesuffix("\r") for chunk in iter_line_chunks(path, _CHUNK_LINES) for line in chunk]


def iter_line_chunks(
    path: Path | None,
    chunk_lines: int,
    report_share: Callable[[float], None] = lambda share: None,
    content: str = "one sentence a line",
) -> Iterator[list[str]]:
    """Yield the lines of a text file in lists of `chunk_lines`, the last one shorter; only a line feed ends a line.

    Args:
        path: The file; `.gz`, `.bz2`, `.xz` and `.zst` are decompressed. None for standard input.
        chunk_lines: Lines in a chunk.
        report_share: Is told what share of the file has been read; of a pipe, 0.
        content: What the file should hold, said of an empty one.

    Raises:
        DataError: The file is missing, empty, damaged, binary, or not UTF-8; with its line.
    """
    name = _name(path)
    lines: list[str] = []
    done = 0
    for block in _iter_blocks(path, report_share):
        lines += _decode(block, name, done + len(lines)).split("\n")[:-1]
        first = 0
        while len(lines) - first >= chunk_lines:
            yield lines[first : first + chunk_lines]
            first += chunk_lines
        done += first
        del lines[:first]
    if lines:
        yield lines
    elif done == 0:
        raise DataError("the file is empty", at=name, fix=f"give a file with {content}")


def _name(path: Path | None) -> str:
    return "standard input" if path is None else str(path)


def _iter_blocks(path: Path | None, report_share: Callable[[float], None]) -> Iterator[bytes]:
    """Yield the bytes of a file in blocks that end with a line feed; one is added where the file has none."""
    with open_bytes(path) as (stream, find_share):
        rest = b""
        first = True
        while block := stream.read(_BLOCK_BYTES):
            if first:
                first = False
                refuse_foreign(block, _name(path))
                block = block.removeprefix(b"\xef\xbb\xbf")
            whole, feed, tail = block.rpartition(b"\n")
            if feed:
                yield rest + whole + feed
                rest = tail
            else:
                rest += block
            if len(rest) > _MAX_LINE_BYTES:
                raise DataError(
                    f"a line of more than {_MAX_LINE_BYTES >> 20} MB", at=_name(path), fix="give one sentence a line"
                )
            report_share(find_share())
        if rest:
            yield rest + b"\n"


@contextmanager
def open_bytes(path: Path | None) -> Iterator[tuple[IO[bytes], Callable[[], float]]]:
    """Open a file for reading, with a function that tells what share of it has been read: of a pipe, 0.

    Args:
        path: The file; `.gz`, `.bz2`, `.xz` and `.zst` are decompressed. None for standard input, which stays open.

    Raises:
        DataError: The file is missing or damaged, or reading it fails inside the block.
    """
    name = _name(path)
    try:
        if path is None:
            yield standard_input(), lambda: 0.0
            return
        with path.open("rb") as raw, _decompressed(raw, path) as stream:
            size = max(1, path.stat().st_size)
            yield stream, (lambda: raw.tell() / size) if raw.seekable() else lambda: 0.0
    except FileNotFoundError as exc:
        raise DataError("no such file", at=name, fix="check the path") from exc
    except IsADirectoryError as exc:
        raise DataError("a folder, not a file", at=name, fix="give a file") from exc
    except _damage() as exc:
        raise DataError(f"the compressed file is damaged: {exc}", at=name, fix="fetch or compress it again") from exc
    except OSError as exc:
        raise DataError(f"cannot read the file: {exc.strerror or exc}", at=name, fix="check the file") from exc


def _decompressed(raw: IO[bytes], path: Path) -> Any:
    match path.suffix.lower():
        case ".gz":
            return gzip.GzipFile(fileobj=raw)
        case ".bz2":
            return bz2.BZ2File(raw)
        case ".xz":
            return lzma.LZMAFile(raw)
        case ".zst":
            return _ZstdReader(raw, path)
        case _:
            return raw


class _ZstdReader:
    """Reads zstd frames, and notices when the last one is cut: zstandard's own reader takes that for the end."""

    def __init__(self, raw: IO[bytes], path: Path) -> None:
        zstandard = import_extra("zstandard", "zstd", "reading .zst", path)
        self._raw = raw
        self._decompressor = zstandard.ZstdDecompressor()
        self._frame: Any = None
        self._rest = b""

    def __enter__(self) -> _ZstdReader:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the file to whom it belongs."""

    def read(self, size: int) -> bytes:
        """Return the next bytes, about `size`; none at the end."""
        while packed := self._rest or self._raw.read(max(1, size // 32)):
            if self._frame is None or self._frame.eof:
                self._frame = self._decompressor.decompressobj()
            content: bytes = self._frame.decompress(packed)
            self._rest = self._frame.unused_data
            if content:
                return content
        if self._frame is None or not self._frame.eof:
            raise EOFError("it ends in the middle of a zstd frame")
        return b""


def _damage() -> tuple[type[Exception], ...]:
    """Return what the decompressors raise when a file is damaged."""
    known = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile)
    module = sys.modules.get("zstandard")
    return known if module is None else (*known, module.ZstdError)


def refuse_foreign(block: bytes, name: str | Path) -> None:
    """Refuse a file whose first bytes say that it is no text.

    Raises:
        DataError: It is in UTF-16, compressed, an archive, or a document.
    """
    for mark, (kind, fix) in _FOREIGN_MARKS.items():
        if block.startswith(mark):
            raise DataError(f"not UTF-8 text but {kind}", at=name, fix=fix)


def _decode(block: bytes, name: str, lines_before: int) -> str:
    """Decode a block, or say which line cannot be."""
    if (position := block.find(b"\0")) >= 0:
        line = lines_before + block.count(b"\n", 0, position) + 1
        raise DataError("a NUL byte: this is a binary file, or text in UTF-16", at=f"{name}:{line}", fix="give UTF-8")
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = lines_before + block.count(b"\n", 0, exc.start) + 1
        raise DataError(
            f"not UTF-8: byte 0x{block[exc.start]:02x}",
            at=f"{name}:{line}",
            fix=f"convert the file ({CONVERSION}), or remove the line from both sides",
        ) from exc
