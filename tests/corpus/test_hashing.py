import numpy as np
import pytest

from mtkit.corpus.hashing import hash_normalized, hash_pairs, is_among


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("½ a", "1⁄2  A"),
        (" a\u00a0b ", "a b"),
        ("ﬁx", "fix"),
        ("№ 5 costs 3 ㎅", "no 5 costs 3 kb"),
        ("e\u0301", "É"),
        ("πρωτεΐνη", "πρωτεΐνη".upper()),
        ("ǰ", "J\u030c"),
        ("a\tb", "a b"),
        ("", " \u3000"),
        ("", "\u200b \ufeff"),
        ("Silben\u00adtrennung", "silbentrennung"),
        ("क्\u200dष \u200b अ", "क्ष अ"),
        ("e\u200d\u0301", "e\u0301"),
    ],
)
def test_alike(one, other):
    hashes = hash_normalized(["first", one, other, "last"])
    assert hashes[1] == hashes[2]
    assert len(set(hashes.tolist())) == 3


def test_hashes_do_not_depend_on_the_company():
    lines = ["  a", "", "b  b ", "ÄÖ", " "]
    assert hash_normalized(lines).tolist() == [hash_normalized([line])[0] for line in lines]
    assert hash_pairs(lines, lines).tolist() == [hash_pairs([line], [line])[0] for line in lines]


def test_hashes_are_the_same_on_every_machine():
    assert hash_normalized(["The dog."]).tolist() == [PINNED]


def test_pairs_are_exact_and_ordered():
    hashes = hash_pairs(["a", "b", "A", "a", "ab"], ["b", "a", "b", "b", ""])
    assert hashes[0] == hashes[3]
    assert len(set(hashes.tolist())) == 4


def test_many_lines_do_not_collide():
    assert len(np.unique(hash_normalized([f"line {i}" for i in range(20_000)]))) == 20_000


def test_is_among():
    hashes = np.array([5, 1, 9, 2**63, 0], np.uint64)
    assert is_among(hashes, np.array([9, 5, 9], np.uint64)).tolist() == [True, False, True, False, False]
    assert not is_among(hashes, np.zeros(0, np.uint64)).any()
    assert is_among(np.zeros(0, np.uint64), hashes).tolist() == []


PINNED = 13864340549803832117
