import math

import pytest

from mtkit.decoding.n_best import interpolate, parse_candidate
from mtkit.errors import DataError


@pytest.mark.parametrize(
    "line", ["0 ||| a", "0", "", "x ||| a ||| 1", "0 ||| a ||| b", "-1 ||| a ||| 1", "0 ||| a ||| nan", "0|||a|||1"]
)
def test_malformed_lines_of_a_list_are_refused(line):
    with pytest.raises(DataError, match="not a line of an n-best list"):
        parse_candidate(line, "list:1")


@pytest.mark.parametrize("text", ["", "a", "a ||| b", "|||", " a "])
def test_a_line_of_a_list_reads_back(text):
    candidate = parse_candidate(f"3 ||| {text} ||| -1.500000", "")
    assert (candidate.index, candidate.text, candidate.score) == (3, text, -1.5)
    assert str(candidate) == f"3 ||| {text} ||| -1.500000"


def test_what_has_no_weight_may_be_infinite():
    assert interpolate(-1.0, -math.inf, 1.0) == -1.0
    assert interpolate(-math.inf, -1.0, 0.0) == -1.0
    assert interpolate(-1.0, -3.0, 0.25) == -2.5
