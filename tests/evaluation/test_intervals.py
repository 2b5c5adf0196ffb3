import numpy as np
import pytest

from mtkit.evaluation.intervals import bootstrap_interval


def test_the_interval_of_a_mean_is_that_of_statistics():
    values = np.random.default_rng(1).normal(3, 2, size=(500, 1))
    low, high = bootstrap_interval(values, lambda sums: float(sums[0]) / 500, 2000, 7)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.01)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 500**0.5, rel=0.08)


def test_what_does_not_vary_has_no_width():
    assert bootstrap_interval(np.ones((5, 1)), lambda sums: float(sums[0]) / 5, 100, 1) == (1, 1)


@pytest.mark.parametrize("samples", [0, 1])
def test_without_resamples_there_is_none(samples):
    assert bootstrap_interval(np.ones((5, 1)), float, samples, 1) is None
