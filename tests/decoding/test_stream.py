import bz2
import gzip
import io
import lzma
import os
import threading
import time
from contextlib import nullcontext

import pytest

from mtkit.decoding.lines import WINDOW_CHARACTERS
from mtkit.decoding.stream import PAUSE_SECONDS, LineStream, count_lines, open_file
from mtkit.errors import DataError


def read(content, max_lines=100):
    stream = LineStream(nullcontext(io.BytesIO(content)), "test")
    return list(stream.iter_windows(max_lines)), stream


@pytest.fixture
def pipe():
    """A stream of lines from a pipe, and a function that writes to it; None closes it."""
    reading, writing = os.pipe()
    is_open = True

    def write(content):
        nonlocal is_open
        if content is None:
            is_open = False
            os.close(writing)
        else:
            os.write(writing, content)

    yield LineStream(io.FileIO(reading), "pipe", PAUSE_SECONDS), write
    if is_open:
        os.close(writing)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"\n\na\n\n", ["", "", "a", ""]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", ["a", "\ufeffb"]),
        (b"a\r\nb\rc\r\n", ["a", "b\rc"]),
        (b"a\0b\n", ["a\0b"]),
        ("a\u2028b\x0bc\x85d\n".encode(), ["a\u2028b\x0bc\x85d"]),
        ("ä€😀\n".encode() * 50_000, ["ä€😀"] * 50_000),
    ],
)
def test_only_line_feeds_end_lines(content, lines):
    windows, stream = read(content)
    assert [line for window in windows for line in window] == lines
    assert (stream.num_lines, stream.num_undecodable) == (len(lines), 0)


def test_undecodable_bytes_are_replaced_and_counted():
    windows, stream = read(b"a\n\xff\xfeb\nc\n\xc3\n")
    assert windows == [["a", "\ufffd\ufffdb", "c", "\ufffd"]]
    assert (stream.num_undecodable, stream.first_undecodable) == (2, 2)


def test_windows_are_bounded_in_lines_and_size():
    windows, _ = read(b"a\n" * 25, max_lines=10)
    assert [len(window) for window in windows] == [10, 10, 5]
    half = b"a" * (WINDOW_CHARACTERS // 2) + b"\n"
    windows, _ = read(half * 5)
    assert [len(window) for window in windows] == [2, 2, 1]


def test_a_giant_line_is_read_whole():
    windows, _ = read(b"a" * 5_000_000 + b"\nb\n")
    assert [len(line) for window in windows for line in window] == [5_000_000, 1]


def test_a_pause_ends_a_window(pipe):
    stream, write = pipe
    windows = stream.iter_windows(100)
    write(b"one\ntwo\nthr")
    assert next(windows) == ["one", "two"]
    write(b"ee\n")
    started = time.monotonic()
    assert next(windows) == ["three"]
    assert time.monotonic() - started < 1
    write(b"last")
    write(None)
    assert list(windows) == [["last"]]


def test_without_a_pause_windows_are_full(pipe):
    _, write = pipe
    stream, _ = pipe
    stream._pause_seconds = None
    windows = stream.iter_windows(2)

    def write_slowly():
        for line in (b"1\n", b"2\n", b"3\n"):
            write(line)
            time.sleep(2 * PAUSE_SECONDS)
        write(None)

    writer = threading.Thread(target=write_slowly)
    writer.start()
    assert list(windows) == [["1", "2"], ["3"]]
    writer.join()


def test_an_endless_stream_is_not_read_far_ahead():
    taken = 0

    class Endless(io.RawIOBase):
        def read(self, size=-1):
            nonlocal taken
            taken += size
            return b"a line\n" * (size // 7)

    windows = LineStream(nullcontext(Endless()), "endless").iter_windows(1000)
    for _ in range(3):
        assert len(next(windows)) == 1000
        time.sleep(0.05)
    assert taken < 4_000_000
    windows.close()
    time.sleep(0.1)
    before = taken
    time.sleep(0.1)
    assert taken == before


def test_a_stream_that_fails_is_an_error_in_the_data():
    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(DataError, match="Input/output error"):
        list(LineStream(nullcontext(Broken()), "broken").iter_windows(10))


def test_compressed_files_are_read_by_suffix(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"a\nb\n"))
    assert list(open_file(path).iter_windows(10)) == [["a", "b"]]
    assert count_lines(path) == 2


def test_a_damaged_archive_is_an_error_in_the_data(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(os.urandom(100_000))[:50_000])
    with pytest.raises(DataError, match="damaged"):
        list(open_file(path).iter_windows(10))


@pytest.mark.parametrize("name", ["missing", "."])
def test_missing_files_are_refused_at_once(tmp_path, name):
    with pytest.raises(DataError):
        open_file(tmp_path / name)


@pytest.mark.parametrize(("content", "count"), [("", 0), ("a", 1), ("a\n", 1), ("a\n\nb", 3)])
def test_count_lines(write, content, count):
    assert count_lines(write("a.txt", content)) == count


@pytest.mark.parametrize(
    ("content", "kind"),
    [("one".encode("utf-16"), "UTF-16"), (b"PK\x03\x04 and more", "zip archive"), (b"%PDF-1.7", "PDF document")],
)
def test_a_file_that_is_no_text_is_refused_at_once(tmp_path, content, kind):
    path = tmp_path / "text.en"
    path.write_bytes(content)
    with pytest.raises(DataError, match=kind):
        open_file(path)


@pytest.mark.parametrize(("start", "warned"), [("<?xml ", True), ("\ufeff<?xml ", True), ("<b>", False), ("", False)])
def test_xml_among_lines_is_warned_of(write, capsys, start, warned):
    open_file(write("a.txt", f"{start}the dog\n"))
    assert ("this is XML" in capsys.readouterr().err) == warned


def test_office_files_are_told_what_to_do(write):
    with pytest.raises(DataError) as caught:
        open_file(write("a.docx", "PK\x03\x04 and more"))
    assert "pandoc" in caught.value.fix


@pytest.mark.parametrize(
    ("content", "problem", "fix"),
    [
        (gzip.compress(b"a\nb\n"), "compressed with gzip", "zcat FILE | mtkit"),
        (bz2.compress(b"a\nb\n"), "compressed with bzip2", "bzcat FILE | mtkit"),
        (lzma.compress(b"a\nb\n"), "compressed with xz", "xzcat FILE | mtkit"),
        (b"\x28\xb5\x2f\xfd\x24", "compressed with zstd", "zstdcat FILE | mtkit"),
        ("a\nb\n".encode("utf-16"), "UTF-16", "iconv -f UTF-16"),
    ],
    ids=["gzip", "bzip2", "xz", "zstd", "UTF-16"],
)
def test_a_stream_that_begins_as_no_text_does_is_refused(content, problem, fix):
    with pytest.raises(DataError, match=problem) as caught:
        read(content)
    assert caught.value.at == "test"
    assert fix in caught.value.fix
    assert read(b"a\n" + content)[0][0][0] == "a"


def test_the_look_at_the_beginning_waits_for_no_more_than_a_line(pipe):
    stream, write = pipe
    windows = stream.iter_windows(100)
    write(b"P\n")
    assert next(windows) == ["P"]
    write(b"K\n")
    assert next(windows) == ["K"]
