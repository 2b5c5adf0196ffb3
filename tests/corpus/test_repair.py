from collections import Counter

import pytest

from mtkit.corpus.repair import CRLF, LINE_FEED, SEPARATORS, repair_lines


def test_clean_lines_are_untouched():
    lines = ["", "a b", "é\u00a0½ \t x", ""]
    counts = Counter()
    assert repair_lines(lines, counts) == lines
    assert not counts


@pytest.mark.parametrize("separator", SEPARATORS)
def test_separators_inside_become_a_space(separator):
    counts = Counter()
    assert repair_lines([f"a{separator}b", "c"], counts) == ["a b", "c"]
    assert counts == {SEPARATORS[separator]: 1}


def test_every_character_that_splits_lines_is_covered():
    everything = "x".join(map(chr, range(0x110000)))
    breaking = {line[-1] for line in everything.splitlines(keepends=True)[:-1]}
    assert breaking - set(SEPARATORS) == {"\n"}


def test_carriage_return_at_the_end_vanishes():
    counts = Counter()
    assert repair_lines(["a\r", "b\r", "c\rd\r"], counts) == ["a", "b", "c d"]
    assert counts == {CRLF: 3, "carriage return": 1}


def test_line_feeds_in_fields():
    counts = Counter()
    assert repair_lines(["a\nb\n", "c\r\nd"], counts) == ["a b ", "c  d"]
    assert counts[LINE_FEED] == 3


def test_nul_and_space_mark():
    counts = Counter()
    assert repair_lines(["a\0b▁c"], counts) == ["a b c"]
    assert sum(counts.values()) == 2


def test_no_lines():
    assert repair_lines([], Counter()) == []
