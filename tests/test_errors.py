import errno

import pytest

from mtkit import errors
from mtkit.errors import DataError, MtkitError, OutputError, RecipeError, first_line, writing


def test_exit_codes_are_those_of_the_design():
    kinds = ["RecipeError", "DataError", "ModelError", "DeviceError", "TrainingError", "OutputError"]
    assert {name: getattr(errors, name).exit_code for name in kinds} == dict(zip(kinds, range(2, 8), strict=True))
    assert MtkitError.exit_code == errors.EXIT_BUG == 1


def test_an_error_says_what_where_and_how_to_fix_it():
    error = DataError("line is not UTF-8", at="train.de:7", fix="convert the file")
    assert str(error) == "error: line is not UTF-8\n   at: train.de:7\n  fix: convert the file"


def test_an_error_without_a_place_has_no_empty_line():
    assert str(DataError("nothing there", fix="give text")) == "error: nothing there\n  fix: give text"


def test_further_problems_are_listed_too():
    error = RecipeError("one", fix="a", also=(RecipeError("two", fix="b"), RecipeError("three", fix="c")))
    assert [line for line in str(error).splitlines() if line.startswith("error")] == [
        "error: one",
        "error: two",
        "error: three",
    ]


def test_a_fix_is_required():
    with pytest.raises(TypeError):
        DataError("no remedy")


def test_writing_translates_what_the_system_refuses(tmp_path):
    path = tmp_path / "missing" / "file"
    with pytest.raises(OutputError, match="No such file") as caught, writing(path):
        path.write_text("text")
    assert caught.value.at == str(path)


def test_a_folder_cannot_be_written_as_a_file(tmp_path):
    with pytest.raises(OutputError, match="it is a folder") as caught, writing(tmp_path):
        tmp_path.write_text("text")
    assert caught.value.fix == "name a file"


def test_writing_passes_a_broken_pipe_on(tmp_path):
    with pytest.raises(BrokenPipeError), writing(tmp_path):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_writing_leaves_our_own_errors_alone(tmp_path):
    with pytest.raises(DataError), writing(tmp_path):
        raise DataError("other", fix="other")


def test_the_first_line_of_an_exception_that_says_nothing_is_its_name():
    assert first_line(ValueError("\n  one\ntwo\n")) == "one"
    assert first_line(MemoryError()) == "MemoryError"


@pytest.mark.parametrize(
    ("reason", "advises_space"), [(errno.EROFS, False), (errno.EACCES, False), (errno.ENOSPC, True)]
)
def test_free_space_is_advised_only_where_it_would_help(reason, advises_space):
    with pytest.raises(OutputError) as caught, writing("place"):
        raise OSError(reason, "no")
    assert ("free space" in caught.value.fix) == advises_space
