"""The filter by model score through `mtkit prepare` and `mtkit run`, with real models of random weights."""

from pathlib import Path

import pytest

from mtkit.cli import model_filter
from mtkit.corpus.store import PreparedCorpus
from mtkit.decoding.request import Request
from mtkit.decoding.scoring import Scorer


@pytest.fixture
def noisy(write, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = ["dog", "cat", "man", "house", "street", "woman"]
    lines = [f"the {a} sees the {b} and the {c}" for a in words for b in words for c in words[:3]]
    write("train.en", lines)
    write("train.de", lines[::-1])
    sizes = ["--set=corpus.valid_size=1", "--set=corpus.test_size=1"]
    return [
        "prepare",
        "--source",
        "train.en",
        "--target",
        "train.de",
        "--vocab-size",
        40,
        *sizes,
        "-o",
        "out",
        "--quiet",
    ]


def filter_by(forward, backward, **settings):
    values = {"forward": forward, "backward": backward, **settings}
    return [f"--set=corpus.filters.model_score.{name}={value}" for name, value in values.items()]


def test_prepare_filters_by_the_scores_of_two_models(run, noisy, model_folder):
    asked = [*noisy, *filter_by(model_folder, model_folder, keep_share=0.5, backward_tag="<2de>")]
    result = run(*asked)
    assert (result.code, result.err) == (0, "")
    prepared = PreparedCorpus.load("out")
    assert prepared.manifest.dropped["low model score"] == 54
    splits = (prepared.train, prepared.valid, prepared.test)
    kept = [(pair.source, pair.target) for split in splits if split for pair in split]
    pairs = list(zip(*(Path(name).read_text().splitlines() for name in ("train.en", "train.de")), strict=True))
    scorer = Scorer.load(model_folder, device="cpu")
    forward = [-s.mean_log_prob for s in scorer.score(pairs)]
    backward = [-s.mean_log_prob for s in scorer.score([(Request(t, "<2de>"), s) for s, t in pairs])]
    dual = {p: abs(f - b) + (f + b) / 2 for p, f, b in zip(pairs, forward, backward, strict=True)}
    edge = sorted(dual.values())[len(pairs) // 2]
    assert all(dual[pair] <= edge + 1e-4 for pair in kept)
    assert "is up to date" in run(*[a for a in asked if a != "--quiet"]).err
    other = run(*noisy, *filter_by(model_folder, model_folder, keep_share=0.25))
    assert other.code == 2
    assert "corpus.filters.model_score.keep_share (0.5 there, 0.25 now)" in other.err


def test_the_corpus_tag_goes_before_the_source_where_the_model_knows_it(run, noisy, model_folder, monkeypatch):
    heads = []
    genuine = model_filter._find_entropies

    def note(scorer, sources, targets, tag):
        heads.append(tag)
        return genuine(scorer, sources, targets, tag)

    monkeypatch.setattr(model_filter, "_find_entropies", note)
    for tag in ("<2de>", "<bt>"):
        settings = [
            *filter_by(model_folder, model_folder, min_score=0),
            f"--set=corpus.train.0.tag={tag}",
            "--overwrite",
        ]
        assert run(*noisy, *settings).code == 0
    assert heads == ["<2de>", None, None, None]


def test_models_of_another_direction_are_refused(run, noisy, experiment_folder):
    model = experiment_folder / "run"
    result = run(*noisy, *filter_by(model, model, keep_share=0.5))
    assert result.code == 4
    assert "the model translates en to de, and the filter needs de to en" in result.err
    assert result.fixes == ["give a model of that direction; are the two swapped?"]
    assert run(*noisy, *filter_by(model, model, keep_share=0.5, backward_tag="<2en>")).code == 4  # no such piece


def test_half_a_filter_and_a_missing_model_are_refused(run, noisy, model_folder):
    half = run(*noisy, f"--set=corpus.filters.model_score.forward={model_folder}")
    assert half.code == 2
    assert "one is missing" in half.err
    missing = run(*noisy, *filter_by(model_folder, "nowhere", keep_share=0.5))
    assert missing.code == 4
    assert "no such model folder" in missing.err
    assert not Path("out").exists()


def test_run_takes_the_filter_too(run, tiny_recipe, model_folder, tmp_path):
    arguments = [
        "run",
        tiny_recipe,
        "-o",
        tmp_path / "x",
        "--device",
        "cpu",
        "--threads",
        1,
        *filter_by(model_folder, model_folder, keep_share=0.5),
    ]
    assert run(*arguments).code == 0
    manifest = PreparedCorpus.load(tmp_path / "x" / "corpus").manifest
    assert manifest.dropped["low model score"] > 0
    again = run(*arguments)
    assert again.code == 0
    assert "corpus is up to date" in again.err
