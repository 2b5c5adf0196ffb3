import math

import numpy as np
import pytest

from mtkit.decoding.minimum_bayes_risk import choose_by_risk, weigh_by_log_probs


def match_exactly(hypotheses, references):
    return np.array([[float(h == r) for r in references] for h in hypotheses])


def look_up(table):
    """A utility whose values are written down: of each hypothesis, by reference."""
    return lambda hypotheses, references: np.array([[table[h][r] for r in references] for h in hypotheses])


def test_with_exact_matches_the_most_frequent_sample_wins():
    order, expected = choose_by_risk(["a", "b", "c", "b", "a", "b"], match_exactly)
    assert order == [1, 0, 2, 3, 5, 4]  # each text once, then what has been there
    assert expected == pytest.approx([2 / 6, 3 / 6, 1 / 6, 3 / 6, 2 / 6, 3 / 6])


def test_the_text_between_all_others_wins():
    def closeness(hypotheses, references):
        return np.array([[-abs(int(h) - int(r)) for r in references] for h in hypotheses], float)

    order, expected = choose_by_risk(["1", "9", "4", "5"], closeness)
    assert order == [2, 3, 0, 1]
    assert expected == pytest.approx([-15 / 4, -17 / 4, -9 / 4, -9 / 4])


def test_hypotheses_are_rows_and_references_columns():
    table = {"a": {"a": 0, "b": 3}, "b": {"a": 1, "b": 0}}
    assert choose_by_risk(["a", "b"], look_up(table))[1] == pytest.approx([1.5, 0.5])
    assert choose_by_risk(["a", "b"], look_up(table), [0.9, 0.1])[1] == pytest.approx([0.3, 0.9])


def test_symmetrical_candidates_tie_in_the_order_given():
    values = [0.1, 0.2, 0.3, 0.7, 1.1]  # of which the floating-point sum depends on the order

    def circular(hypotheses, references):
        return np.array([[values[(int(h) - int(r)) % 5] for r in references] for h in hypotheses])

    for texts in (["0", "1", "2", "3", "4"], ["3", "1", "4", "0", "2"]):
        order, expected = choose_by_risk(texts, circular)
        assert order == [0, 1, 2, 3, 4]
        assert len(set(expected)) == 1


def test_weights_decide():
    texts = ["a", "b", "a"]
    assert choose_by_risk(texts, match_exactly, [1, 3, 1])[0][0] == 1
    order, expected = choose_by_risk(texts, match_exactly, [2, 3, 2])
    assert order == [0, 1, 2]
    assert expected == pytest.approx([4 / 7, 3 / 7, 4 / 7])


def test_each_distinct_text_is_compared_once():
    calls = []

    def utility(hypotheses, references):
        calls.append((list(hypotheses), list(references)))
        return match_exactly(hypotheses, references)

    choose_by_risk(["b", "a", "b", "b"], utility)
    assert calls == [(["b", "a"], ["b", "a"])]


def test_weights_of_an_n_best_list():
    weights = weigh_by_log_probs([-1000.0, -1000.0 + math.log(3), -2000.0])
    assert weights == pytest.approx([0.25, 0.75, 0.0])
    assert sum(weights) == pytest.approx(1)
