import pytest

from mtkit.config.corpus import FilterSection
from mtkit.corpus.cleaning import clean_chunk, letter_share

OFF = {"max_characters": None, "max_length_ratio": None}


def clean(pairs, **filters):
    sources, targets, dropped = clean_chunk(*map(list, zip(*pairs, strict=True)), FilterSection(**filters))
    return list(zip(sources, targets, strict=True)), {reason: count for reason, count in dropped.items() if count}


def test_clean_text_passes():
    pairs = [("a b", "c d"), ("Yes.", "Ja, natürlich.")]
    assert clean(pairs) == (pairs, {})


@pytest.mark.parametrize("blank", ["", "  ", "\u00a0\t\u3000", "\ufeff", "\u200b \u00ad"])
def test_empty(blank):
    assert clean([("a", blank), (blank, "b"), ("a", "b")]) == ([("a", "b")], {"empty": 2})


def test_too_long():
    pairs = [("a" * 20, "b" * 20), ("a" * 21, "b"), ("a", "ü" * 21)]
    assert clean(pairs, max_characters=20, max_length_ratio=None) == (pairs[:1], {"too long (characters)": 2})


def test_length_ratio_is_lenient_with_short_ones():
    pairs = [("a" * 2, "b" * 87), ("a" * 2, "b" * 88), ("a" * 88, "b" * 2), ("a" * 100, "b" * 600)]
    assert clean(pairs, max_length_ratio=6) == ([pairs[0], pairs[3]], {"length ratio": 2})


def test_source_copy():
    pairs = [("same", "same "), ("Same", "same")]
    assert clean(pairs) == (pairs, {})
    assert clean(pairs, source_copy=True) == (pairs[1:], {"target copies source": 1})


def test_letter_share():
    pairs = [("abc", "1 2 3 a"), ("a1", "b2")]
    assert clean(pairs, min_letter_share=0.5) == (pairs[1:], {"too few letters": 1})
    assert letter_share("हिन्दी") == 1
    assert letter_share(" ... ") == 0
    assert letter_share("ab 1 ") == pytest.approx(2 / 3)
    assert letter_share("a\u200b1\u00ad") == 0.5


def test_a_pair_is_counted_once():
    pairs = [("", "x" * 2000)]
    assert clean(pairs, min_letter_share=0.5) == ([], {"empty": 1})


def test_filters_can_be_turned_off():
    pairs = [("a", "b" * 5000)]
    assert clean(pairs, **OFF) == (pairs, {})


def test_no_pairs():
    assert clean_chunk([], [], FilterSection(min_letter_share=0.5, source_copy=True))[:2] == ([], [])
