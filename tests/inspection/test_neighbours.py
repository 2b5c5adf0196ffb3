import numpy as np
import pytest

from mtkit.errors import DataError
from mtkit.inspection import neighbours
from mtkit.inspection.neighbours import PairScorer, mine
from mtkit.inspection.vectors import TextFile, VectorStore, build_vectors

MARGINS = ["absolute", "distance", "ratio"]
EMPTY = {"left": [3, 11], "right": [0, 7, 8]}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Let a few lines be many blocks."""
    monkeypatch.setattr(neighbours, "_QUERY_ROWS", 4)
    monkeypatch.setattr(neighbours, "_BASE_ROWS", 5)


def draw(count, dimensions=6, seed=1, offset=1.0):
    """Vectors that have something in common, as those of a language have."""
    return (np.random.default_rng(seed).normal(size=(count, dimensions)) + offset).astype(np.float32)


@pytest.fixture
def sides():
    left, right = draw(17, seed=1), draw(13, seed=2)
    left[EMPTY["left"]] = 0
    right[EMPTY["right"]] = 0
    return left, right


def brute_force(left, right, margin, k):
    """All scores by the definition, -inf with empty lines: `(left, right)` float64."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    empty = ~left.any(1)[:, None] | ~right.any(1)
    norms = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)
    cosines = np.where(empty, -np.inf, left @ right.T / np.where(norms == 0, 1, norms))
    if margin == "absolute":
        return cosines

    def near(rows):
        kept = [np.sort(row[np.isfinite(row)])[::-1][:k] for row in rows]
        return np.array([row.mean() if len(row) else 0 for row in kept])

    means = (near(cosines)[:, None] + near(cosines.T)) / 2
    return cosines - means if margin == "distance" else cosines / np.maximum(means, 1e-3)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("k", [1, 4, 100])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_the_nearest_are_those_of_the_definition(sides, margin, k, count):
    expected = brute_force(*sides, margin, k)
    scorer = PairScorer(*map(build_vectors, sides), margin, k)
    for found, scores in zip(scorer.find_nearest(count), (expected, expected.T), strict=True):
        best = -np.sort(-scores, axis=1)[:, :count]
        np.testing.assert_allclose(found.scores, best, rtol=1e-5, atol=1e-6)
        is_there = np.isfinite(best)
        assert (found.lines[~is_there] == -1).all()
        rows, places = np.nonzero(is_there)
        np.testing.assert_allclose(scores[rows, found.lines[rows, places]], best[is_there], rtol=1e-5, atol=1e-6)
        assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in found.lines)


def test_a_ratio_to_a_mean_of_nothing_or_less_stays_in_order():
    left, right = draw(17, seed=3, offset=0), draw(13, seed=4, offset=0)
    expected = brute_force(left, right, "ratio", 100)
    found, _ = PairScorer(build_vectors(left), build_vectors(right), "ratio", 100).find_nearest(1)
    assert expected.max() > 100  # some means are at the floor
    np.testing.assert_allclose(found.scores[:, 0], expected.max(1), rtol=1e-4)


@pytest.mark.parametrize("margin", MARGINS)
def test_line_by_line_is_the_diagonal(sides, margin):
    left, right = sides[0][:13], sides[1]
    expected = np.diag(brute_force(left, right, margin, 4))
    scores = list(PairScorer(build_vectors(left), build_vectors(right), margin).score_lines())
    np.testing.assert_allclose(scores, np.where(np.isfinite(expected), expected, 0), rtol=1e-5, atol=1e-6)
    assert scores[0] == scores[3] == 0.0


def test_a_line_is_its_own_neighbour():
    vectors = build_vectors(draw(20))
    nearest, _ = PairScorer(vectors, vectors, "absolute").find_nearest(1)
    assert nearest.lines[:, 0].tolist() == list(range(20))
    np.testing.assert_allclose(nearest.scores, 1, atol=1e-6)


def test_products_are_computed_a_block_at_a_time(sides, monkeypatch):
    sizes = []
    score_block = PairScorer._score_block

    def watch(self, products, *arguments):
        sizes.append(tuple(products.shape))
        return score_block(self, products, *arguments)

    monkeypatch.setattr(PairScorer, "_score_block", watch)
    PairScorer(*map(build_vectors, sides), "absolute").find_nearest(2)
    assert (max(rows for rows, _ in sizes), max(columns for _, columns in sizes)) == (4, 5)
    assert sum(rows * columns for rows, columns in sizes) == 17 * 13


@pytest.fixture
def shuffled():
    """Vectors, the same in another order and a little changed, and where each went."""
    left = draw(40, dimensions=16, offset=0.5)
    order = np.random.default_rng(3).permutation(40)
    right = np.empty_like(left)
    right[order] = left + 0.1 * draw(40, 16, seed=4, offset=0)
    return left, right, order


@pytest.mark.parametrize("direction", ["forward", "backward", "intersection", "max"])
@pytest.mark.parametrize("margin", MARGINS)
def test_shuffled_lines_find_each_other(shuffled, direction, margin):
    left, right, order = shuffled
    pairs = mine(PairScorer(build_vectors(left), build_vectors(right), margin), direction)
    assert sorted((pair.left, pair.right) for pair in pairs) == list(enumerate(order))
    assert [pair.score for pair in pairs] == sorted((pair.score for pair in pairs), reverse=True)


@pytest.mark.parametrize("margin", MARGINS)
def test_the_directions(sides, margin):
    scores = brute_force(*sides, margin, 4)
    there = {(i, int(row.argmax())) for i, row in enumerate(scores) if np.isfinite(row).any()}
    back = {(int(column.argmax()), j) for j, column in enumerate(scores.T) if np.isfinite(column).any()}
    scorer = PairScorer(*map(build_vectors, sides), margin)
    found = {
        direction: {(pair.left, pair.right) for pair in mine(scorer, direction)}
        for direction in ("forward", "backward", "intersection", "max")
    }
    assert found["forward"] == there
    assert found["backward"] == back
    assert found["intersection"] == there & back
    best_first = sorted(there | back, key=lambda pair: -scores[pair])
    used, kept = set(), set()
    for i, j in best_first:
        if not {("left", i), ("right", j)} & used:
            used |= {("left", i), ("right", j)}
            kept.add((i, j))
    assert found["max"] == kept
    assert there & back <= kept
    assert kept < there | back  # of this text some line is in two pairs


def test_the_threshold_is_a_floor(sides):
    scorer = PairScorer(*map(build_vectors, sides))
    pairs = mine(scorer)
    floor = pairs[2].score
    assert mine(scorer, threshold=floor) == pairs[:3]


@pytest.mark.parametrize("margin", ["distance", "ratio"])
def test_a_margin_sees_through_a_line_that_is_near_to_all(margin):
    left = draw(30, dimensions=64, offset=1)
    right = left + 1.5 * draw(30, 64, seed=5, offset=0)
    right[-1] = left.mean(0)  # which says nothing

    def first(margin):
        nearest, _ = PairScorer(build_vectors(left), build_vectors(right), margin).find_nearest(1)
        return nearest.lines[:-1, 0]

    assert (first("absolute") == 29).sum() > 10
    assert first(margin).tolist() == list(range(29))


def test_centring_takes_away_what_a_side_has_in_common(shuffled):
    left, right, _ = shuffled
    shift = np.full(16, 30, np.float32)

    def scores(right, centred):
        both = (build_vectors(side, centred=centred) for side in (left, right))
        return PairScorer(*both, "absolute").find_nearest(5)[0].scores

    np.testing.assert_allclose(scores(right + shift, True), scores(right, True), atol=1e-5)
    assert np.abs(scores(right + shift, False) - scores(right, False)).max() > 0.1


def test_empty_lines_do_not_move_the_mean():
    matrix = draw(6)
    padded = np.vstack([matrix, np.zeros((4, 6), np.float32)])
    np.testing.assert_allclose(build_vectors(padded, centred=True).mean, matrix.mean(0), rtol=1e-5)
    vectors = build_vectors(padded, centred=True)
    assert not vectors.unit_block(6, 10).any()
    np.testing.assert_allclose(vectors.unit_block(0, 6).norm(dim=1), 1, rtol=1e-5)


def test_sides_that_do_not_fit(sides):
    left, right = map(build_vectors, sides)
    with pytest.raises(DataError, match="17 lines beside 13"):
        list(PairScorer(left, right, "absolute").score_lines())
    with pytest.raises(DataError, match="6 and of 5 dimensions"):
        PairScorer(left, build_vectors(draw(4, dimensions=5)))


def test_a_store_gives_back_what_came_in_pieces():
    matrix = draw(5)
    lines = ["a", "", "ü\u2028b", "d" * 5000, "e"]
    with VectorStore() as store:
        vectors = store.add([(lines[:2], matrix[:2]), (lines[2:], matrix[2:])], "x")
        other = store.add([(None, matrix)], "y")
        np.testing.assert_array_equal(vectors.matrix, matrix)
        assert [vectors.texts[i] for i in (4, 0, 2, 3, 1)] == ["e", "a", "ü\u2028b", "d" * 5000, ""]
        assert other.texts is None
        with pytest.raises(DataError, match="no line with text"):
            store.add([(["", ""], np.zeros((2, 6), np.float32))], "z")
        with pytest.raises(DataError, match="no line with text"):
            store.add([], "z")


def test_a_text_file_grows_after_it_was_read(tmp_path):
    texts = TextFile(tmp_path / "x")
    texts.append(["one", "more"])
    assert texts[0] == "one"
    texts.append(["two"])
    assert (texts[2], texts[1], texts[0], len(texts)) == ("two", "more", "one", 3)
    texts.close()
