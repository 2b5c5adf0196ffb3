import bz2
import gzip
import io
import lzma
import os
import sys
import threading

import pytest
import zstandard

from mtkit.corpus import text_files
from mtkit.corpus.text_files import iter_line_chunks, read_lines
from mtkit.errors import DataError, RecipeError

LINES = ["eins", "zwei äöü", "", "vier\u2028x", "fünf\x85y\x0bz", "sechs\r"]


def read(path, chunk=1000):
    return [line for lines in iter_line_chunks(path, chunk) for line in lines]


@pytest.mark.parametrize("end", ["\n", ""])
def test_only_line_feeds_end_a_line(write, end):
    assert read(write("x.txt", "\n".join(LINES) + end)) == LINES


def test_a_last_line_of_spaces_counts_though_nothing_ends_it(write):
    assert read(write("x.txt", "eins\n ")) == ["eins", " "]


def test_a_file_of_empty_lines(write):
    assert read(write("x.txt", "\n\n\n")) == ["", "", ""]


def test_byte_order_mark(write):
    assert read(write("x.txt", "\ufeffeins\nzwei\n")) == ["eins", "zwei"]


@pytest.mark.parametrize("block_bytes", [1, 2, 7, 4096])
@pytest.mark.parametrize("chunk", [1, 2, 6, 100])
def test_chunks_do_not_depend_on_blocks(write, monkeypatch, block_bytes, chunk):
    monkeypatch.setattr(text_files, "_BLOCK_BYTES", block_bytes)
    path = write("x.txt", LINES)
    chunks = list(iter_line_chunks(path, chunk))
    assert [line for lines in chunks for line in lines] == LINES
    assert all(len(lines) == chunk for lines in chunks[:-1])
    assert len(chunks[-1]) <= chunk


COMPRESSORS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard.compress}


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed(tmp_path, suffix):
    path = tmp_path / f"x.en{suffix}"
    content = ("\n".join(LINES) + "\n").encode()
    # Two streams one behind the other are one file: pigz and `cat` make such.
    path.write_bytes(COMPRESSORS[suffix](content) * 2)
    shares = []
    assert [line for chunk in iter_line_chunks(path, 4, shares.append) for line in chunk] == LINES * 2
    assert shares[-1] == 1


@pytest.mark.parametrize("suffix", ["", *COMPRESSORS])
def test_a_pipe(tmp_path, suffix):
    path = tmp_path / f"x.en{suffix}"
    os.mkfifo(path)
    content = ("\n".join(LINES) + "\n").encode()
    writer = threading.Thread(target=path.write_bytes, args=[COMPRESSORS.get(suffix, bytes)(content)], daemon=True)
    writer.start()
    shares = []
    assert [line for chunk in iter_line_chunks(path, 4, shares.append) for line in chunk] == LINES
    assert set(shares) == {0}
    writer.join()


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfone\r\ntwo",
        "\n".join(LINES).encode(),
        b"",
        b"a\nb\0c\n",
        b"a\nb\ncaf\xe9\n",
        gzip.compress(b"a\n"),
    ],
)
def test_standard_input_is_read_as_a_file_is(tmp_path, monkeypatch, content):
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    outcomes = []
    for place in (path, None):
        try:
            outcomes.append(read_lines(place))
        except DataError as exc:
            outcomes.append(str(exc).replace(str(path), "standard input"))
    assert outcomes[0] == outcomes[1]
    assert not sys.stdin.closed


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_truncated(tmp_path, suffix):
    path = tmp_path / f"x.en{suffix}"
    content = "".join(f"line {i * i}\n" for i in range(5000)).encode()
    packed = COMPRESSORS[suffix](content)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match="damaged"):
        read(path)


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_damaged_within(tmp_path, suffix):
    path = tmp_path / f"x.en{suffix}"
    packed = bytearray(COMPRESSORS[suffix]("".join(f"line {i * i}\n" for i in range(5000)).encode()))
    packed[20:40] = b"\xff" * 20
    path.write_bytes(packed)
    with pytest.raises(DataError, match=r"damaged|cannot read"):
        read(path)


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_not_compressed_at_all(tmp_path, suffix):
    path = tmp_path / f"x.en{suffix}"
    path.write_text("plain text that is not packed\n")
    with pytest.raises(DataError, match=r"damaged|cannot read"):
        read(path)


def test_zstd_names_its_extra(tmp_path, monkeypatch):
    path = tmp_path / "x.zst"
    path.write_bytes(zstandard.compress(b"x\n"))
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(RecipeError) as caught:
        read(path)
    assert "mtkit[zstd]" in caught.value.fix


def test_undecodable_bytes_name_the_line(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "_BLOCK_BYTES", 16)
    path = tmp_path / "x.txt"
    path.write_bytes(b"good line\n" * 41 + b"caf\xe9\n" + b"good line\n")
    with pytest.raises(DataError, match="not UTF-8: byte 0xe9") as caught:
        read(path, 10)
    assert caught.value.at == f"{path}:42"


def test_nul_bytes_name_the_line(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"a\nb\0c\n")
    with pytest.raises(DataError, match="NUL") as caught:
        read(path)
    assert caught.value.at == f"{path}:2"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("ab\n".encode("utf-16"), "UTF-16"),
        ("ab\n".encode("utf-32"), "UTF-32"),
        (gzip.compress(b"a\n"), "gzip"),
        (bz2.compress(b"a\n"), "bzip2"),
        (b"PK\x03\x04...", "zip"),
    ],
)
def test_foreign_formats_are_named(tmp_path, content, kind):
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=kind):
        read(path)


def test_text_that_begins_as_a_format_does_is_text(write):
    assert read(write("x.txt", "BZh is no word\n")) == ["BZh is no word"]


def test_empty_missing_and_folder(tmp_path, write):
    with pytest.raises(DataError, match="empty"):
        read(write("empty.txt", ""))
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "none.txt")
    with pytest.raises(DataError, match=r"folder|cannot read"):
        read(tmp_path)


def test_an_endless_line_is_refused(write, monkeypatch):
    monkeypatch.setattr(text_files, "_BLOCK_BYTES", 10)
    monkeypatch.setattr(text_files, "_MAX_LINE_BYTES", 100)
    with pytest.raises(DataError, match="a line of more than"):
        read(write("x.txt", "x" * 1000))
