from pathlib import Path

import pytest

from mtkit.cli.places import check_places, without_standard
from mtkit.errors import RecipeError


def test_a_dash_stands_for_the_standard_stream():
    assert without_standard(Path("-")) is None
    assert without_standard(None) is None
    assert without_standard(Path("./-x")) == Path("-x")


@pytest.mark.parametrize(
    ("read", "written", "names"),
    [
        ({"the input": "a"}, {"-o": "a"}, "the input and -o"),
        ({"the input": "a"}, {"-o": "link"}, "the input and -o"),
        ({"the input": "a", "--glossary": "b"}, {"-o": "c", "--scores": "folder/../b"}, "--glossary and --scores"),
        ({}, {"-o": "new", "--scores": "new"}, "-o and --scores"),
    ],
)
def test_no_place_is_for_two_things(tmp_path, read, written, names):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    read, written = ({name: tmp_path / path for name, path in places.items()} for places in (read, written))
    with pytest.raises(RecipeError, match=f"{names} are the same file") as caught:
        check_places(read, written)
    assert caught.value.fix == f"give {names.split()[-1]} another name"


def test_places_that_go_together(tmp_path):
    same = tmp_path / "a"
    check_places({"one": same, "other": same, "none": None}, {"-o": tmp_path / "b", "--scores": None})
    check_places({"the input": Path("/dev/null")}, {"-o": Path("/dev/null"), "--scores": Path("/dev/null")})
