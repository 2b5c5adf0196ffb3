import numpy as np
import pytest

from mtkit.errors import DataError
from mtkit.inspection import mapping
from mtkit.inspection.mapping import learn_projections
from mtkit.inspection.neighbours import PairScorer
from mtkit.inspection.vectors import build_vectors

SIZE = 24


def make_languages(count, noise=0.3, seed=1):
    """Vectors of the same meanings in two languages: each turned, moved, and with noise in directions of its own."""
    fixed = np.random.default_rng(7)
    maps = [np.linalg.qr(fixed.normal(size=(SIZE, SIZE)))[0] for _ in range(2)]
    offsets = fixed.normal(size=(2, SIZE)) * 5
    draw = np.random.default_rng(seed)
    meanings = draw.normal(size=(count, SIZE))
    return [
        ((meanings + noise * draw.normal(size=(count, SIZE))) @ turn + offset).astype(np.float32)
        for turn, offset in zip(maps, offsets, strict=True)
    ]


def find_share(left, right):
    nearest, _ = PairScorer(left, right, "absolute").find_nearest(1)
    return (nearest.lines[:, 0] == np.arange(len(left))).mean()


def test_translations_become_neighbours():
    taught = map(build_vectors, make_languages(400, seed=1))
    left, right = map(build_vectors, make_languages(100, seed=2))
    into_left, into_right = learn_projections(*taught)
    assert find_share(left, right) < 0.1
    assert find_share(into_left.apply(left), into_right.apply(right)) > 0.95


def test_the_scale_of_a_direction_means_nothing():
    taught, tested = make_languages(400, seed=1), make_languages(100, seed=2)
    scale = np.float32(1000)
    plain = learn_projections(*map(build_vectors, taught))[0].apply(build_vectors(tested[0]))
    scaled = learn_projections(build_vectors(taught[0] * scale), build_vectors(taught[1]))[0]
    other = scaled.apply(build_vectors(tested[0] * scale))
    cosines = (plain.unit_block(0, 100) * other.unit_block(0, 100)).sum(1).abs()
    np.testing.assert_allclose(cosines, 1, atol=1e-3)


def test_directions_that_agree_weigh_more():
    left, right = make_languages(2000, noise=0.1)
    left[:, 0] += 50 * np.random.default_rng(3).normal(size=2000).astype(np.float32)  # loud, and says nothing
    into_left, _ = learn_projections(build_vectors(left), build_vectors(right))
    weights = np.linalg.norm(into_left.weights * left.std(0)[:, None], axis=1)
    assert weights[0] < 3 * np.median(weights)
    assert into_left.weights.shape == (SIZE, SIZE)


def test_pairs_with_an_empty_line_teach_nothing(monkeypatch):
    monkeypatch.setattr(mapping, "_BLOCK_ROWS", 16)
    left, right = make_languages(60)
    expected = learn_projections(build_vectors(left), build_vectors(right))
    padded = [np.insert(side, [5, 20], np.full((2, SIZE), 9, np.float32), axis=0) for side in (left, right)]
    padded[0][5] = 0
    padded[1][21] = 0
    found = learn_projections(*map(build_vectors, padded))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.abs(one.weights), np.abs(other.weights), rtol=1e-2, atol=1e-3)
    vectors = found[0].apply(build_vectors(np.vstack([left[:2], np.zeros((1, SIZE), np.float32)])))
    assert not vectors.unit_block(2, 3).any()


def test_what_cannot_teach():
    left, right = map(build_vectors, make_languages(40))
    few = map(build_vectors, make_languages(19))
    with pytest.raises(DataError, match="19 pairs of lines are too few"):
        learn_projections(*few)
    learn_projections(*map(build_vectors, make_languages(20)))
    with pytest.raises(DataError, match="40 lines beside 30"):
        learn_projections(left, build_vectors(make_languages(30)[1]))
    narrow = build_vectors(np.ones((40, 3), np.float32))
    with pytest.raises(DataError, match="24 and of 3 dimensions"):
        learn_projections(left, narrow)
    projection, _ = learn_projections(left, right)
    with pytest.raises(DataError, match="3 and of 24 dimensions"):
        projection.apply(narrow)


def test_alike_vectors_give_finite_weights():
    vectors = build_vectors(np.ones((30, 4), np.float32))
    assert all(np.isfinite(projection.weights).all() for projection in learn_projections(vectors, vectors))


def test_few_pairs_help_too():
    """Of less than two pairs a dimension, directions agree by chance: without shrinkage the share is 0.79."""
    taught = map(build_vectors, make_languages(40, noise=0.6, seed=1))
    left, right = map(build_vectors, make_languages(100, seed=2))
    into_left, into_right = learn_projections(*taught)
    assert find_share(into_left.apply(left), into_right.apply(right)) > 0.84
