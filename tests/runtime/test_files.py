import errno
import hashlib
import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from mtkit.errors import OutputError
from mtkit.runtime.files import atomic_file, atomic_folder, hash_file, read_json, remove_leftovers, write_json
from mtkit.runtime.locks import locked


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_its_block_ends(tmp_path):
    with atomic_folder(tmp_path / "made") as temporary:
        (temporary / "file").write_text("text")
        assert not (tmp_path / "made").exists()
    assert (tmp_path / "made" / "file").read_text() == "text"
    assert names(tmp_path) == ["made"]


def test_a_folder_replaces_an_older_one_whole(tmp_path):
    old = tmp_path / "made"
    old.mkdir()
    (old / "stale").write_text("old")
    with atomic_folder(old) as temporary:
        (temporary / "file").write_text("new")
    assert names(old) == ["file"]
    assert names(tmp_path) == ["made"]


@pytest.mark.parametrize("name", [".", ".."])
def test_the_folder_that_one_is_in_is_not_replaced(tmp_path, monkeypatch, name):
    inside = tmp_path / "here" / "inside"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    with pytest.raises(OutputError, match="folder that you are in"), atomic_folder(Path(name)):
        pass
    assert names(tmp_path / "here") == ["inside"]


def test_a_folder_can_be_written_from_one_that_is_gone(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with atomic_folder(tmp_path / "made"):
        pass
    assert names(tmp_path) == ["made"]


def test_a_link_to_a_folder_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real", target_is_directory=True)
    with atomic_folder(link) as temporary:
        (temporary / "file").write_text("text")
    assert link.is_symlink()
    assert names(tmp_path / "real") == ["file"]
    assert names(tmp_path) == ["link", "real"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path, failure):
    old = tmp_path / "made"
    old.mkdir()
    (old / "file").write_text("old")
    with pytest.raises(failure), atomic_folder(old) as temporary:
        (temporary / "file").write_text("half")
        raise failure
    assert (old / "file").read_text() == "old"
    assert names(tmp_path) == ["made"]


def test_a_folder_left_by_a_kill_is_no_obstacle(tmp_path):
    (tmp_path / ".made.partial").mkdir()
    (tmp_path / ".made.partial" / "junk").write_text("half")
    with atomic_folder(tmp_path / "made") as temporary:
        (temporary / "file").write_text("text")
    assert names(tmp_path / "made") == ["file"]


def test_a_file_appears_when_its_block_ends(tmp_path):
    with atomic_file(tmp_path / "new" / "file") as temporary:
        temporary.write_text("text")
        assert not (tmp_path / "new" / "file").exists()
    assert (tmp_path / "new" / "file").read_text() == "text"
    assert names(tmp_path / "new") == ["file"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ValueError, match="half"), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise ValueError("half")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_several_processes_write_a_file_at_once(tmp_path, monkeypatch):
    path = tmp_path / "file"
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with atomic_file(path) as first:
        first.write_text("first")
        monkeypatch.setenv("RANK", "1")
        with atomic_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_file_left_by_a_kill_is_written_over(tmp_path, monkeypatch, rank):
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "RANK": rank}.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        with atomic_file(tmp_path / "file") as temporary:
            temporary.write_text("text")
            assert names(tmp_path) in ([temporary.name], [temporary.name, "file"])
        temporary.write_text("left by a kill")


def test_an_output_below_a_file_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError), atomic_folder(tmp_path / "file" / "made"):
        pass
    with pytest.raises(OutputError), atomic_file(tmp_path / "file" / "made"):
        pass


def test_json_keeps_other_scripts_readable(tmp_path):
    write_json({"text": "Grüße 你好"}, tmp_path / "file.json")
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert "Grüße 你好" in text
    assert json.loads(text) == read_json(tmp_path / "file.json") == {"text": "Grüße 你好"}


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"a": 1', b"\xff{}"])
def test_what_is_no_json_object_is_a_value_error(tmp_path, content):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(ValueError):
        read_json(tmp_path / "file.json")


def test_a_hash_is_that_of_the_bytes(tmp_path):
    content = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(content)
    assert hash_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_file_that_cannot_even_be_removed_says_why_it_cannot_be_written(tmp_path, monkeypatch):
    """As on a file system that is read-only: what stands there cannot be unlinked, whether it exists or not."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OutputError, match="Read-only file system"), atomic_file(tmp_path / "out"):
        refuse()


def test_a_folder_left_by_a_kill_while_it_was_replaced_is_no_obstacle(tmp_path):
    for name in ("made", ".made.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("old")
    with atomic_folder(tmp_path / "made") as temporary:
        (temporary / "file").write_text("new")
    assert (tmp_path / "made" / "file").read_text() == "new"
    assert names(tmp_path) == ["made"]


def test_until_the_new_folder_stands_the_old_one_is_there(tmp_path, monkeypatch):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "file").write_text("old")
    rename = Path.rename

    def fail(self, target):
        if self.name == ".made.partial":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError), atomic_folder(tmp_path / "made") as temporary:
        (temporary / "file").write_text("new")
    assert [path.read_text() for path in tmp_path.glob("*/file")] == ["old"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no way to flush a folder")
def test_all_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    """What was renamed but not flushed may be empty after a crash."""
    flushed, fsync = [], os.fsync

    def watch(descriptor):
        flushed.append((os.fstat(descriptor).st_ino, (tmp_path / "made").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    with atomic_folder(tmp_path / "made") as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "file").write_text("text")
    made = tmp_path / "made"
    inside = {(path.stat().st_ino, False) for path in (made, made / "inner", made / "inner" / "file")}
    assert inside <= set(flushed)
    assert flushed[-1] == (tmp_path.stat().st_ino, True)  # the new name itself
    with atomic_file(tmp_path / "file") as temporary:
        temporary.write_text("text")
    assert (tmp_path / "file").stat().st_ino in dict(flushed)


# Several that write at once.

needs_locks = pytest.mark.skipif(os.name == "nt", reason="nobody is kept out there")


@needs_locks
@pytest.mark.parametrize("write", [atomic_folder, atomic_file])
def test_what_is_being_written_is_left_alone(tmp_path, write):
    path = tmp_path / "made"
    with write(path) as first:
        place = first / "file" if first.is_dir() else first
        place.write_text("first")
        with pytest.raises(OutputError, match="another mtkit command is writing this") as refused, write(path):
            pass
        assert refused.value.at == str(path)
        assert place.read_text() == "first"
    with write(path) as second:  # who is done is in nobody's way
        place = second / "file" if second.is_dir() else second
        place.write_text("second")
    assert (path / "file" if path.is_dir() else path).read_text() == "second"
    assert names(tmp_path) == ["made"]


@needs_locks
def test_leftovers_of_one_who_still_writes_stay(tmp_path):
    (tmp_path / ".made.replaced").mkdir()
    with atomic_folder(tmp_path / "made") as temporary:
        remove_leftovers(tmp_path / "made")
        assert temporary.is_dir()
        assert not (tmp_path / ".made.replaced").exists()


@needs_locks
@pytest.mark.parametrize("write", [atomic_folder, atomic_file])
def test_one_who_is_done_while_another_waits_for_the_lock(tmp_path, monkeypatch, write):
    """What was locked is no longer where it was: the other one begins anew."""
    path = tmp_path / "made"
    fstat = os.fstat

    def finish(descriptor):
        monkeypatch.undo()
        (tmp_path / ".made.partial").rename(path)  # the other one
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", finish)
    with write(path) as temporary:
        assert path.exists()
        (temporary / "file" if temporary.is_dir() else temporary).write_text("text")
    assert names(tmp_path) == ["made"]
    assert (path / "file" if path.is_dir() else path).read_text() == "text"


@needs_locks
def test_of_two_who_find_what_a_kill_left_one_writes(tmp_path, monkeypatch):
    """What was locked to be removed is no longer there: what stands there now is the other one's."""
    partial = tmp_path / ".made.partial"
    partial.mkdir()
    fstat = os.fstat

    def overtake(descriptor):
        monkeypatch.undo()
        partial.rename(tmp_path / "old")
        partial.mkdir()
        (partial / "file").write_text("theirs")
        stack.enter_context(locked(partial))
        return fstat(descriptor)

    with ExitStack() as stack:
        monkeypatch.setattr(os, "fstat", overtake)
        with pytest.raises(OutputError, match="another mtkit command"), atomic_folder(tmp_path / "made"):
            pass
        assert (partial / "file").read_text() == "theirs"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_a_failure_while_folders_change_places_leaves_the_old_one(tmp_path, monkeypatch, failure):
    path = tmp_path / "made"
    path.mkdir()
    (path / "file").write_text("old")
    rename = Path.rename

    def fail(self, target):
        rename(self, target)
        if self.name == "made":
            raise failure

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises((KeyboardInterrupt, OutputError)), atomic_folder(path) as temporary:
        (temporary / "file").write_text("new")
    assert names(tmp_path) == ["made"]
    assert (path / "file").read_text() == "old"


@needs_locks
def test_a_lock_tells_whether_its_file_is_still_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.touch()
    fstat = os.fstat
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", lambda descriptor: path.rename(tmp_path / "moved") and fstat(descriptor))
        with locked(path) as is_there:
            assert not is_there
    path.touch()
    with locked(path) as is_there, pytest.raises(BlockingIOError), locked(path):
        pass
    assert is_there
    with pytest.raises(FileNotFoundError), locked(tmp_path / "none"):
        pass
