import gzip
import io
import sys
from pathlib import Path

import pytest

from mtkit.decoding.output import Output, open_output
from mtkit.errors import OutputError


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "out.txt"
    with open_output(path) as output:
        output.write_line("ä\u2028b")
        output.flush()
        assert not path.exists()
    assert path.read_bytes() == "ä\u2028b\n".encode()


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail():
        with open_output(path) as output:
            output.write_line("new" * 100_000)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_gzip_is_written_by_suffix_and_always_alike(tmp_path):
    for name in ("a.gz", "b.gz"):
        with open_output(tmp_path / name) as output:
            output.write_line("a")
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"a\n"
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_stays_one(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    with open_output(link) as output:
        output.write_line("a")
    assert link.is_symlink()
    assert (tmp_path / "file").read_text() == "a\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_device_is_an_output_error():
    with pytest.raises(OutputError, match="No space"), open_output(Path("/dev/full")) as output:
        output.write_line("a")
    assert Path("/dev/full").is_char_device()


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(OutputError), open_output(tmp_path):
        pass


def test_partial_writes_are_finished():
    class Slow(io.RawIOBase):
        taken = b""
        blocks = True

        def write(self, data):
            self.blocks = not self.blocks
            if self.blocks:
                return None
            self.taken += bytes(data[:3])
            return min(3, len(data))

    slow = Slow()
    output = Output(slow, "slow")
    output.write_line("abcdefgh")
    output.flush()
    output.flush()
    assert slow.taken == b"abcdefgh\n"
