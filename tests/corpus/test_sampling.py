import numpy as np
import pytest

from mtkit.config.training import TrainingSection
from mtkit.corpus.sampling import corpus_shares, draw_rows
from mtkit.errors import RecipeError

SIZES = [1000, 100, 10]


class FakeSplit:
    corpus_names = ("news", "talks", "manuals")
    corpus_codes = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], SIZES).astype(np.uint8))


CODES = FakeSplit.corpus_codes


def shares(**settings):
    return corpus_shares(TrainingSection(**settings), FakeSplit())


def counts(rows):
    return np.bincount(CODES[rows], minlength=3).tolist()


def test_weights_are_shares():
    assert shares(corpus_weights={"news": 2, "manuals": 0.5}) == pytest.approx([2 / 3.5, 1 / 3.5, 0.5 / 3.5])


def test_temperature_evens_out():
    assert shares(corpus_temperature=2) == pytest.approx(np.sqrt(SIZES) / np.sqrt(SIZES).sum())
    assert shares(corpus_temperature=1e6) == pytest.approx([1 / 3] * 3, abs=1e-4)


def test_nothing_asked_for_is_nothing_done():
    assert shares() is None
    assert shares(corpus_temperature=1) is None

    class Single(FakeSplit):
        corpus_names = ("news",)

    assert corpus_shares(TrainingSection(corpus_weights={"news": 3}), Single()) is None


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match="no corpus 'new'") as caught:
        shares(corpus_weights={"talks": 1, "new": 2})
    assert caught.value.at == "training.corpus_weights.new"
    assert caught.value.fix == "did you mean 'news'?"
    with pytest.raises(RecipeError) as caught:
        shares(corpus_weights={"zzz": 2})
    assert caught.value.fix == "name one of: news, talks, manuals"


@pytest.mark.parametrize(
    ("wanted", "drawn"),
    [
        ([1 / 3] * 3, [370] * 3),
        ([0.5, 0.3, 0.2], [555, 333, 222]),
        ([0.3339, 0.3331, 0.333], [370, 370, 370]),
        ([1 - 2e-9, 1e-9, 1e-9], [1108, 1, 1]),
    ],
)
def test_an_epoch_has_as_many_pairs_and_of_each_corpus_its_share(wanted, drawn):
    rows = draw_rows(CODES, np.array(wanted), seed=1, epoch=0)
    assert counts(rows) == drawn
    assert rows.dtype == np.int64


def test_shares_as_they_are_give_every_row_once():
    rows = draw_rows(CODES, np.array(SIZES) / sum(SIZES), seed=1, epoch=3)
    assert sorted(rows) == list(range(len(CODES)))


def test_a_small_corpus_repeats_evenly():
    rows = draw_rows(CODES, np.array([1 / 3] * 3), seed=1, epoch=0)
    assert set(np.bincount(rows, minlength=len(CODES))[CODES == 2]) == {37}
    rows = draw_rows(CODES, np.array([0.4, 0.4, 0.2]), seed=1, epoch=0)  # 444 of the 100 talks
    assert set(np.bincount(rows, minlength=len(CODES))[CODES == 1]) == {4, 5}


def test_a_large_corpus_is_seen_whole_over_epochs():
    # 370 of the 1000 an epoch: after 2 epochs none twice, after 27 epochs each 9 or 10 times
    seen = [draw_rows(CODES, np.array([1 / 3] * 3), seed=1, epoch=epoch) for epoch in range(27)]
    news = [rows[CODES[rows] == 0] for rows in seen]
    assert np.bincount(np.concatenate(news[:2])).max() == 1
    assert set(np.bincount(np.concatenate(news[:3]), minlength=len(CODES))[CODES == 0]) == {1, 2}
    assert set(np.bincount(np.concatenate(news), minlength=len(CODES))[CODES == 0]) == {9, 10}


def test_an_epoch_is_a_function_of_seed_and_epoch():
    def draw(seed, epoch):
        return draw_rows(CODES, np.array([0.5, 0.3, 0.2]), seed, epoch).tolist()

    assert draw(1, 5) == draw(1, 5)
    assert draw(1, 5) != draw(1, 6)
    assert draw(1, 5) != draw(2, 5)


def test_each_pass_over_a_corpus_has_an_order_of_its_own():
    rows = draw_rows(CODES, np.array([1 / 3] * 3), seed=1, epoch=0)
    passes = rows[CODES[rows] == 2].reshape(37, 10)
    assert all(set(one) == set(passes[0]) for one in passes)
    assert len({tuple(one) for one in passes.tolist()}) == 37
