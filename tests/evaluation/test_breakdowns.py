import random
from itertools import pairwise

import pytest

from mtkit.config.evaluation import EvaluationSection
from mtkit.evaluation.breakdowns import (
    break_down_by_label,
    break_down_by_length,
    break_down_by_rare_words,
    count_words,
)
from mtkit.evaluation.metrics import Evaluator


def rows_of(breakdown):
    return [row for rows in breakdown.groups.values() for row in rows]


def test_each_sentence_is_in_one_group_of_its_length():
    draw = random.Random(1)
    sources = [" ".join(["xy"] * draw.randint(0, 40)) for _ in range(500)]
    breakdown = break_down_by_length(sources, ["y"] * 500)
    assert (breakdown.by, breakdown.unit) == ("source length", "words of the source")
    assert sorted(rows_of(breakdown)) == list(range(500))
    bounds = [tuple(map(int, label.split("-"))) for label in breakdown.groups]
    for (first, last), rows in zip(bounds, breakdown.groups.values(), strict=True):
        assert all(first <= len(sources[row].split()) <= last for row in rows)
        assert 60 <= len(rows) <= 140
    assert len(bounds) == 5
    assert all(end + 1 == start for (_, end), (start, _) in pairwise(bounds))


def test_without_a_source_the_reference_is_measured_and_told():
    breakdown = break_down_by_length(None, ["a", "a b", "a b c"])
    assert (breakdown.by, breakdown.unit) == ("reference length", "words of the reference")
    assert breakdown.groups == {"1": [0], "2": [1], "3": [2]}


@pytest.mark.parametrize("lines", [["a b"] * 9, ["a b"]])
def test_one_length_is_one_group(lines):
    assert list(break_down_by_length(lines, lines).groups) == ["2"]


def test_text_without_spaces_is_measured_in_characters():
    breakdown = break_down_by_length(["我喜欢吃苹果。", "你好！"], ["a", "b"])
    assert breakdown.unit == "characters of the source"
    assert breakdown.groups == {"3-6": [1], "7": [0]}


def test_the_rarest_word_decides():
    split = Evaluator(["x"]).split_words
    training = ["Der Hund."] * 1000 + ["die Katze"] * 10 + ["Ein Aal, der schwimmt"]
    counts = count_words(training, split)
    assert (counts["der"], counts["hund"], counts["katze"], counts["aal"]) == (1001, 1000, 10, 1)
    assert "." not in counts
    references = ["der Hund!", "Der Aal", "Die Katze", "Der Wal", "!?", "", "HUND der der"]
    breakdown = break_down_by_rare_words(references, counts, split)
    assert breakdown.by == "rare words"
    assert breakdown.groups == {"0": [3], "1-9": [1], "10-99": [2], "1,000 or more": [0, 6], "no words": [4, 5]}


def test_words_are_split_as_bleu_splits_them():
    split = Evaluator(["我"], EvaluationSection(tokenize="zh")).split_words
    assert split("我喜欢 Apple。") == ["我", "喜", "欢", "apple"]


def test_labels_keep_their_order():
    breakdown = break_down_by_label(["web", "", "news", "web"])
    assert breakdown.groups == {"web": [0, 3], "(no label)": [1], "news": [2]}
