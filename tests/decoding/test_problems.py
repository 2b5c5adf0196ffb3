import io

import pytest

from mtkit.decoding.output import Output
from mtkit.decoding.problems import ProblemHandler
from mtkit.errors import DataError, ModelError

REFUSED = ModelError("no such tag", fix="give another")


@pytest.fixture
def make_handler():
    """Return a function that gives a handler and the stream that it flushes."""

    def make(is_strict):
        stream = io.BytesIO()
        output = Output(stream, "out")
        output.write_line("before")
        return ProblemHandler("left empty", "it is left empty", is_strict, [output]), stream

    return make


@pytest.mark.parametrize("is_strict", [False, True])
def test_a_line_without_a_problem_is_not_spoken_of(make_handler, capsys, is_strict):
    assert make_handler(is_strict)[0].check("in:3", None, None) is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("malformed", "refused", "problem", "fix"),
    [
        ("not JSON", None, "not JSON", "correct the line"),
        (None, REFUSED, "no such tag", "give another"),
        ("not JSON", REFUSED, "not JSON", "correct the line"),
    ],
)
def test_a_problem_is_warned_of_or_the_end(make_handler, capsys, malformed, refused, problem, fix):
    handler, stream = make_handler(False)
    assert handler.check("in:3", malformed, refused) == problem
    assert f"in:3: {problem}; left empty" in " ".join(capsys.readouterr().err.split())
    assert stream.getvalue() == b""
    handler, stream = make_handler(True)
    with pytest.raises(DataError) as caught:
        handler.check("in:3", malformed, refused)
    told = caught.value.message, caught.value.at, caught.value.fix
    assert told == (problem, "in:3", f"{fix}; without --strict it is left empty")
    assert stream.getvalue() == b"before\n"
