import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from mtkit.decoding.minimum_bayes_risk import choose_by_risk
from mtkit.errors import RecipeError
from mtkit.evaluation import utility
from mtkit.evaluation.utility import bleu_utility, chrf_utility, find_utility

ODD = [
    "",
    " ",
    "a",
    "ab",
    "a b",
    "the the the the the",
    "the the",
    "aaaaaaaaaa",
    "aaaa aaaa",
    "«Škoda», 5 %",
    "犬が走る。",
]


def make_texts(count=25, seed=1):
    generator = random.Random(seed)
    words = ["the", "a", "dog", "cat", "runs", "sees", "over", "(big)", "street,", "house.", "can't", "läuft"]
    texts = [" ".join(generator.choices(words, k=generator.randint(1, 12))) for _ in range(count)]
    return [*texts, *ODD, texts[0]]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (chrf_utility, CHRF()),
        (bleu_utility, BLEU(effective_order=True)),
        (find_utility("bleu", "zh"), BLEU(effective_order=True, tokenize="zh")),
    ],
    ids=["chrf", "bleu", "bleu-zh"],
)
def test_values_are_those_of_sacrebleu(ours, theirs, monkeypatch):
    hypotheses, references = make_texts(), [*make_texts(10, seed=2), *make_texts(3)]
    expected = np.array([[theirs.sentence_score(h, [r]).score for r in references] for h in hypotheses])
    found = ours(hypotheses, references)
    assert found.dtype == np.float64
    assert found.max() > 99
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    monkeypatch.setattr(utility, "_BLOCK_SIZE", 200)  # products in many blocks
    np.testing.assert_array_equal(ours(hypotheses, references), found)


@pytest.mark.parametrize("name", ["chrf", "bleu"])
def test_texts_without_anything(name):
    assert find_utility(name)(["", ""], ["", " "]).tolist() == [[0, 0], [0, 0]]
    assert find_utility(name)(["a"], []).shape == (1, 0)


@pytest.mark.parametrize("name", ["chrf", "bleu"])
def test_minimum_bayes_risk_takes_the_candidate_most_like_the_others(name):
    texts = [
        "rain is expected over the northern valley tomorrow",
        "yesterday a small dog ran through the old town",
        "recently a small dog ran through the old town",
        "yesterday a small dog ran through the old village",
        "yesterday a small cat ran through the old town",
    ]
    order, expected = choose_by_risk(texts, find_utility(name))
    assert order[0] == 1
    assert order[-1] == 0
    assert max(expected) == expected[1] <= 100


def test_a_name_that_is_none():
    with pytest.raises(RecipeError, match="choose from chrf, bleu"):
        find_utility("comet")
