"""The filter by model score, with functions in place of models."""

import itertools
import math

import numpy as np
import pytest

from mtkit.config.corpus import CorpusSection, FilterSection, ModelScoreSection, TextSource
from mtkit.corpus.model_filter import (
    LOW_SCORE,
    NOT_SCORED,
    PairModels,
    choose,
    find_dual_cross_entropy,
)
from mtkit.corpus.prepare import is_up_to_date, prepare_corpus
from mtkit.corpus.report import build_flow_rows
from mtkit.errors import RecipeError


@pytest.fixture
def judged(write):
    """Return a function that makes models which find a pair the less likely the longer its source is."""
    forward, backward = write("forward/model.safetensors", "f"), write("backward/model.safetensors", "b")
    calls = []

    def make(entropies=lambda source, target, tag: (len(source) / 10, len(source) / 10)):
        def score(sources, targets, tag):
            calls.append((list(sources), list(targets), tag))
            found = [entropies(source, target, tag) for source, target in zip(sources, targets, strict=True)]
            return tuple(np.array(column, np.float32) for column in zip(*found, strict=True))

        return PairModels({"forward": [forward], "backward": [backward]}, lambda languages: score)

    make.calls = calls
    return make


def with_filter(corpus, **settings):
    section = ModelScoreSection(forward="forward", backward="backward", **settings)
    return corpus.model_copy(update={"filters": corpus.filters.model_copy(update={"model_score": section})})


def pairs_of(prepared):
    return {(pair.source, pair.target) for split in (prepared.train, prepared.valid, prepared.test) for pair in split}


def test_the_formula():
    forward, backward = np.array([1, 2, 0.5], np.float32), np.array([1, 1, 2], np.float32)
    assert find_dual_cross_entropy(forward, backward).tolist() == [1.0, 2.5, 2.75]


def test_a_share_is_met_exactly_and_the_first_of_equals_stay():
    scores = np.array([0.1, 0.5, 0.5, 0.9, 0.5, 0.0], np.float32)
    kept = [
        choose(scores, ModelScoreSection(forward="f", backward="b", keep_share=n / 6)).tolist() for n in (1, 2, 3, 5)
    ]
    assert kept == [[3], [1, 3], [1, 2, 3], [0, 1, 2, 3, 4]]
    assert choose(scores, ModelScoreSection(forward="f", backward="b", keep_share=1)).tolist() == [0, 1, 2, 3, 4, 5]
    assert choose(scores, ModelScoreSection(forward="f", backward="b", keep_share=0.01)).tolist() == []
    assert choose(scores, ModelScoreSection(forward="f", backward="b", min_score=0.5)).tolist() == [1, 2, 3, 4]


def test_a_share_keeps_the_highest_of_any_scores():
    scores = np.random.default_rng(1).random(1000).astype(np.float32)
    kept = choose(scores, ModelScoreSection(forward="f", backward="b", keep_share=0.3))
    assert sorted(kept, key=lambda row: -scores[row]) == np.argsort(-scores)[:300].tolist()


def test_pairs_below_the_lowest_score_are_dropped_and_counted(corpus, pairs, vocabulary, tmp_path, judged):
    asked = with_filter(corpus, min_score=math.exp(-3.95))
    models = judged(lambda source, target, tag: (len(source) / 10, len(source) / 10 + 1))
    prepared = prepare_corpus(asked, vocabulary, tmp_path / "out", models=models)
    # |f - b| + (f + b) / 2 = 1 + length / 10 + 1 / 2
    expected = {pair for pair in pairs if 1.5 + len(pair[0]) / 10 <= 3.95}
    assert 0 < len(expected) < len(pairs)
    assert pairs_of(prepared) <= expected
    assert prepared.manifest.dropped[LOW_SCORE] == len(pairs) - len(expected)
    assert prepared.manifest.dropped[NOT_SCORED] == 0
    left = sum(split.pairs for split in prepared.manifest.splits.values())
    assert left + sum(prepared.manifest.dropped.values()) == prepared.manifest.pairs_read
    assert (f"dropped: {LOW_SCORE}", len(pairs) - len(expected)) in [
        row[:2] for row in build_flow_rows(prepared.manifest)
    ]


def test_a_share_is_of_what_the_other_filters_leave(corpus, files, pairs, vocabulary, tmp_path, judged):
    twice = corpus.model_copy(update={"train": [files, files], "filters": FilterSection(max_characters=25)})
    prepared = prepare_corpus(with_filter(twice, keep_share=0.5), vocabulary, tmp_path / "out", models=judged())
    short = [pair for pair in pairs if max(map(len, pair)) <= 25]
    assert 0 < len(short) < len(pairs)
    seen = [pair for sources, targets, _ in judged.calls for pair in zip(sources, targets, strict=True)]
    assert sorted(seen) == sorted(short)  # each once: neither duplicates nor what is too long is scored
    assert prepared.manifest.dropped[LOW_SCORE] == len(short) - round(len(short) / 2)
    kept = pairs_of(prepared)
    assert max(len(source) for source, _ in kept) <= sorted(len(source) for source, _ in short)[len(short) // 2]


def test_what_is_split_off_has_passed_the_filter_and_what_is_given_is_not_judged(
    corpus, pairs, write, vocabulary, tmp_path, judged
):
    asked = with_filter(corpus, keep_share=0.5)
    prepared = prepare_corpus(asked, vocabulary, tmp_path / "one", models=judged())
    longest = sorted(len(source) for source, _ in pairs)[len(pairs) // 2]
    assert len(prepared.valid) == len(prepared.test) == 30
    assert all(len(pair.source) <= longest for split in (prepared.valid, prepared.test) for pair in split)
    judged.calls.clear()
    odd = [("x" * 500, "y" * 500), ("", "")]
    given = TextSource(source=write("v.en", [s for s, _ in odd]), target=write("v.de", [t for _, t in odd]))
    prepared = prepare_corpus(
        asked.model_copy(update={"valid": given, "test": given}), vocabulary, tmp_path / "two", models=judged()
    )
    assert [(pair.source, pair.target) for pair in prepared.valid] == odd
    assert not any("x" * 500 in sources for sources, _, _ in judged.calls)


def test_pairs_that_the_models_cannot_take_are_dropped_under_their_own_name(
    corpus, pairs, vocabulary, tmp_path, judged
):
    models = judged(lambda source, target, tag: (math.nan if "moon" in source else 1.0, 1.0))
    prepared = prepare_corpus(with_filter(corpus, keep_share=1), vocabulary, tmp_path / "out", models=models)
    moons = sum("moon" in source for source, _ in pairs)
    assert prepared.manifest.dropped[NOT_SCORED] == moons > 0
    assert prepared.manifest.dropped[LOW_SCORE] == 0


def test_each_corpus_is_scored_with_its_tag(write, pairs, vocabulary, tmp_path, judged):
    train = []
    for name, part, tag in (("one", pairs[:100], "<bt>"), ("two", pairs[100:], None)):
        source, target = (write(f"{name}.{side}", [pair[i] for pair in part]) for i, side in enumerate(("en", "de")))
        train.append(TextSource(source=source, target=target, tag=tag))
    corpus = with_filter(CorpusSection(train=train, valid_size=0, test_size=0), min_score=0)
    prepare_corpus(corpus, vocabulary, tmp_path / "out", models=judged())
    found = {tag: sources for sources, _, tag in judged.calls}
    assert found == {"<bt>": [source for source, _ in pairs[:100]], None: [source for source, _ in pairs[100:]]}


def test_nothing_is_left(corpus, vocabulary, tmp_path, judged):
    with pytest.raises(Exception, match="too few clean training pairs, 0"):
        prepare_corpus(with_filter(corpus, min_score=1), vocabulary, tmp_path / "out", models=judged())
    assert not (tmp_path / "out").exists()


def test_other_settings_and_other_models_are_noticed(corpus, vocabulary, tmp_path, judged):
    asked, models = with_filter(corpus, keep_share=0.5), judged()
    prepared = prepare_corpus(asked, vocabulary, tmp_path / "out", models=models)
    assert is_up_to_date(asked, vocabulary, tmp_path / "out", models)
    assert {path.rpartition("/")[2] for path in (file.path for file in prepared.manifest.inputs)} >= {
        "model.safetensors"
    }
    for other in (corpus, with_filter(corpus, keep_share=0.6), with_filter(corpus, min_score=0.5)):
        with pytest.raises(RecipeError, match=r"corpus\.filters\.model_score"):
            is_up_to_date(other, vocabulary, tmp_path / "out", models)
    moved = with_filter(corpus, keep_share=0.5)
    moved = moved.model_copy(
        update={
            "filters": moved.filters.model_copy(
                update={"model_score": moved.filters.model_score.model_copy(update={"forward": tmp_path / "elsewhere"})}
            )
        }
    )
    assert is_up_to_date(moved, vocabulary, tmp_path / "out", models)  # the content counts, not the place
    models.files["backward"][0].write_text("another")
    with pytest.raises(RecipeError, match=r"corpus\.filters\.model_score\.backward \(its content\)"):
        is_up_to_date(asked, vocabulary, tmp_path / "out", models)


def test_models_are_loaded_only_if_they_are_needed(corpus, vocabulary, tmp_path, judged):
    asked, models = with_filter(corpus, keep_share=0.5), judged()
    prepare_corpus(asked, vocabulary, tmp_path / "out", models=models)
    unloadable = PairModels(models.files, None)
    prepare_corpus(asked, vocabulary, tmp_path / "out", models=unloadable)
    prepare_corpus(corpus, vocabulary, tmp_path / "plain", models=None)


def test_a_filter_without_models_is_refused(corpus, vocabulary, tmp_path):
    with pytest.raises(RecipeError, match="has no models"):
        prepare_corpus(with_filter(corpus, keep_share=0.5), vocabulary, tmp_path / "out")


def test_the_spread_of_the_scores_is_told(corpus, pairs, vocabulary, tmp_path, judged, capsys):
    prepare_corpus(with_filter(corpus, keep_share=0.5), vocabulary, tmp_path / "out", models=judged())
    assert f"model scores of {len(pairs):,} pairs: 10 % up to" in capsys.readouterr().err


@pytest.mark.parametrize(
    "settings",
    [
        {"forward": "f", "min_score": 0.1},
        {"backward": "f", "min_score": 0.1},
        {"forward": "f", "backward": "b"},
        {"forward": "f", "backward": "b", "min_score": 0.1, "keep_share": 0.1},
        {"forward": "f", "backward": "b", "min_score": 1.1},
        {"forward": "f", "backward": "b", "keep_share": 0},
    ],
)
def test_half_a_filter_is_refused(settings):
    with pytest.raises(ValueError, match=r"go together|min_score|keep_share"):
        ModelScoreSection(**settings)


def test_many_chunks_are_one_text(corpus, pairs, vocabulary, tmp_path, judged, monkeypatch):
    from mtkit.corpus import readers

    asked = with_filter(corpus, keep_share=0.4)
    whole = prepare_corpus(asked, vocabulary, tmp_path / "whole", models=judged())
    judged.calls.clear()
    original = readers.iter_pairs

    def small(*arguments):
        for sources, targets in original(*arguments):
            for first in range(0, len(sources), 7):
                yield sources[first : first + 7], targets[first : first + 7]

    monkeypatch.setattr("mtkit.corpus.pipeline.iter_pairs", small)
    parts = prepare_corpus(asked, vocabulary, tmp_path / "parts", models=judged())
    assert len(judged.calls) == math.ceil(len(pairs) / 7)
    assert list(itertools.chain(*(sources for sources, _, _ in judged.calls))) == [source for source, _ in pairs]
    assert pairs_of(parts) == pairs_of(whole)
