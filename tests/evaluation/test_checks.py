import pytest

from mtkit.errors import DataError
from mtkit.evaluation.checks import check_texts

SOURCE = ["The dog runs.", "A cat.", "Yes."]
REFERENCE = ["Der Hund läuft.", "Eine Katze.", "Ja."]
SYSTEM = ["Ein Hund läuft.", "Die Katze.", "Ja."]


def test_good_texts_pass():
    assert check_texts([("a", SYSTEM), ("b", SYSTEM[::-1])], [("ref", REFERENCE)], SOURCE) == []
    assert check_texts([("a", SYSTEM)], [("ref", REFERENCE)]) == []


def test_a_reference_that_is_the_source_is_refused():
    with pytest.raises(DataError, match="the reference is the source") as caught:
        check_texts([], [("ref", REFERENCE), ("src", [f"{line} " for line in SOURCE])], SOURCE)
    assert caught.value.at == "src"


def test_a_source_of_another_length_is_refused():
    with pytest.raises(DataError, match="the source has 2 lines, the reference 3"):
        check_texts([], [("ref", REFERENCE)], SOURCE[:2])


@pytest.mark.parametrize(
    ("systems", "references", "notes"),
    [
        ([("a", REFERENCE)], [("ref", REFERENCE)], ["a holds the lines of the reference ref: its scores say nothing"]),
        ([("a", SOURCE)], [("ref", REFERENCE)], ["3 of 3 lines of a are those of the source"]),
        ([("a", [*SOURCE[:2], "x"])], [("ref", REFERENCE)], ["2 of 3 lines of a are those of the source"]),
        ([("a", [*SYSTEM[:2], " "])], [("r", REFERENCE)], ["1 of 3 lines of a are empty, where the reference is not"]),
        ([("a", [*SYSTEM[:2], ""])], [("ref", [*REFERENCE[:2], ""])], []),
        ([("a", SYSTEM), ("a", SYSTEM)], [("ref", REFERENCE)], ["a is given more than once"]),
        ([("a", SYSTEM), ("b", list(SYSTEM))], [("ref", REFERENCE)], ["a and b hold the same translations"]),
        ([("a", [""] * 3), ("b", [""] * 3)], [("ref", REFERENCE)], []),
        ([("a", SYSTEM)], [("r", REFERENCE), ("r", REFERENCE)], ["the reference r is given more than once"]),
        ([("a", SYSTEM)], [("r", REFERENCE), ("s", REFERENCE)], ["the references r and s are the same"]),
        ([("a", SYSTEM)], [("r", [*SOURCE[:2], "Ja."])], ["2 of 3 lines of r are those of the source"]),
    ],
)
def test_what_looks_mixed_up_is_told(systems, references, notes):
    assert check_texts(systems, references, SOURCE) == notes


def test_another_unicode_form_than_the_reference_is_told():
    composed, decomposed = ["Äpfel", "b"], ["A\u0308pfel", "b"]
    (warning,) = check_texts([("mine", decomposed)], [("ref", composed)])
    assert "1 of 2 lines of mine" in warning
    assert "NFC" in warning
    assert check_texts([("mine", ["Öl", "b"])], [("ref", composed)]) == []
    assert check_texts([("mine", ["O\u0308l", "b"])], [("ref", decomposed)]) == []
