"""Forced decoding against the search's own numbers, and against full forward passes."""

import math
import random

import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.decoding import scoring
from mtkit.decoding.ensemble import Ensemble
from mtkit.decoding.lengths import length_penalty
from mtkit.decoding.request import Request
from mtkit.decoding.score_pipeline import ScoreSummary
from mtkit.decoding.scoring import Score, Scorer, force
from mtkit.decoding.translator import Translator
from mtkit.errors import DataError, DeviceError, ModelError

PAD, UNK, BOS, EOS = range(4)
WORDS = ["the", "a", "dog", "cat", "man", "woman", "runs", "sees", "jumps", "over", "under", "street"]


@pytest.fixture(scope="module")
def load(model_folder):
    """Return a function that loads the model with other settings of decoding."""

    def load(paths=model_folder, **decoding):
        return Scorer(Translator.load(paths, device="cpu", decoding=DecodingSection(**decoding)))

    return load


def make_lines(count, longest=12, seed=1):
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(1, longest))) for _ in range(count)]


def make_pairs(count):
    return list(zip(make_lines(count), make_lines(count, seed=2), strict=True))


@pytest.mark.parametrize("settings", [{}, {"norm": "post"}, {"positions": "learned"}, {"tied_embeddings": "target"}])
def test_hypotheses_get_the_scores_of_the_search(make_model, make_sources, pad, run, settings):
    model, sources = make_model(**settings), make_sources()
    found = run(model, sources, beam_size=4, n_best=4, max_length_extra=5)
    pairs = [(source, hypothesis) for source, n_best in zip(sources, found, strict=True) for hypothesis in n_best]
    with torch.inference_mode():
        forced = force(model, pad([source for source, _ in pairs]), [h.token_ids for _, h in pairs])
    assert len(forced) == 4 * len(sources)
    for (_, hypothesis), log_probs in zip(pairs, forced, strict=True):
        assert log_probs == pytest.approx(hypothesis.token_log_probs, abs=1e-4)
        assert sum(log_probs) == pytest.approx(hypothesis.log_prob, abs=1e-4 * len(log_probs))


@pytest.mark.parametrize("mode", ["log_probs", "probs"])
def test_an_ensemble_scores_as_it_searches(make_model, make_sources, pad, run, mode):
    ensemble = Ensemble([make_model(seed=1), make_model(seed=2, d_model=24, num_heads=3, norm="post")], mode).eval()
    sources = make_sources()
    found = run(ensemble, sources, beam_size=3, max_length_extra=5)
    with torch.inference_mode():
        forced = force(ensemble, pad(sources), [n_best[0].token_ids for n_best in found])
    for (hypothesis,), log_probs in zip(found, forced, strict=True):
        assert log_probs == pytest.approx(hypothesis.token_log_probs, abs=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_translations_get_the_scores_of_the_translator(load, precision):
    scorer = load(beam_size=4, n_best=4, precision=precision)
    translator = Translator(scorer.model, scorer.source_tokenizer, scorer.target_tokenizer, scorer.decoding)
    translations = list(translator.iter_translations(make_lines(20)))
    pairs = [(translation.source, a) for translation in translations for a in translation.alternatives]
    scores = scorer.score([(source, a.text) for source, a in pairs])
    # Some translations are spelled in other pieces than their text has by itself: those differ, rightly.
    same = [(a, score) for (_, a), score in zip(pairs, scores, strict=True) if a.tokens == score.tokens]
    assert len(same) >= len(pairs) // 10
    close = 1e-4 if precision == "fp32" else 0.05
    for a, score in same:
        assert score.token_log_probs == pytest.approx(a.token_log_probs, abs=close)
        assert score.score == pytest.approx(a.score, abs=close * a.num_tokens)
        assert score.num_tokens == a.num_tokens


def test_a_pair_has_the_same_score_in_any_company(load):
    pairs = make_pairs(60)
    single = load(batch_size=1)
    alone = [single.score([pair])[0] for pair in pairs]
    for settings in ({}, {"batch_size": 7}, {"batch_tokens": 40}):
        together = load(**settings).score(pairs)
        assert [s.tokens for s in together] == [s.tokens for s in alone]
        for ours, theirs in zip(together, alone, strict=True):
            assert ours.token_log_probs == pytest.approx(theirs.token_log_probs, abs=1e-5)


def test_batches_keep_their_bounds_and_long_pairs_come_first(load, monkeypatch):
    shapes = []

    def note(model, src_ids, targets):
        shapes.append((len(targets), max(src_ids.size(1), *(len(target) + 1 for target in targets))))
        return [[0.0] * (len(target) + 1) for target in targets]

    monkeypatch.setattr(scoring, "force", note)
    load(batch_size=8, batch_tokens=64).score(make_pairs(100))
    assert all(rows <= 8 and (rows == 1 or rows * longest <= 64) for rows, longest in shapes)
    assert sum(rows for rows, _ in shapes) == 100
    assert max(rows for rows, _ in shapes) > 1
    assert shapes[0][1] >= shapes[-1][1]


def test_logits_in_parts_are_the_logits_at_once(load, monkeypatch):
    pairs = make_pairs(9)
    whole = load().score(pairs)
    monkeypatch.setattr(scoring, "_MAX_LOGITS", 1)
    assert [s.token_log_probs for s in load().score(pairs)] == [
        pytest.approx(s.token_log_probs, abs=1e-5) for s in whole
    ]


def test_probabilities_of_all_next_tokens_sum_to_one(make_model, pad):
    model = make_model(vocab=9)
    with torch.inference_mode():
        forced = force(model, pad([[5, 6, EOS]] * 9), [[token] for token in range(9)])
    assert math.fsum(math.exp(log_probs[0]) for log_probs in forced) == pytest.approx(1, abs=1e-5)


def test_empty_sides(load):
    scorer = load()
    empty, blank, no_source, neither = scorer.score([("a dog", ""), ("a dog", " \t"), ("", "a dog"), ("", "")])
    assert empty.tokens == ("</s>",)
    assert blank == empty
    assert empty.num_tokens == neither.num_tokens == 1
    assert empty.log_prob != neither.log_prob
    assert no_source.num_source_tokens == 1
    assert no_source.log_prob != scorer.score([("a dog", "a dog")])[0].log_prob
    (ids,) = scorer.score_ids([[scorer.source_tokenizer.eos_id]], [[]])
    assert neither.token_log_probs == pytest.approx(ids, abs=1e-6)


def test_white_space_and_line_breaks_do_not_count(load):
    plain, odd = load().score([("a dog runs", "a cat"), (" a\u2028dog runs\n", "\ta\x00cat ")])
    assert odd.tokens == plain.tokens
    assert odd.log_prob == pytest.approx(plain.log_prob, abs=1e-5)


def test_score_is_after_the_length_penalty_and_the_mean_is_a_token(load):
    for settings in ({"length_penalty": 0}, {"length_penalty": 0.7}, {"length_penalty_type": "length"}):
        score = load(**settings).score([("a dog", "the cat sees a man")])[0]
        assert score.num_tokens > 5
        assert score.score == pytest.approx(
            score.log_prob / length_penalty(score.num_tokens, DecodingSection(**settings))
        )
        assert score.mean_log_prob == pytest.approx(score.log_prob / score.num_tokens)
        assert score.log_prob == pytest.approx(sum(score.token_log_probs))


def test_a_tag_stands_before_the_source(load):
    plain, own = load().score([("a dog", "a cat"), (Request("a dog", "<2de>"), "a cat")])
    everywhere = load(tag="<2de>").score([("a dog", "a cat")])[0]
    assert own.log_prob == pytest.approx(everywhere.log_prob, abs=1e-5)
    assert own.num_source_tokens == plain.num_source_tokens + 1
    assert own.log_prob != pytest.approx(plain.log_prob, abs=1e-4)


def test_a_pair_that_cannot_be_scored_comes_with_its_problem(load):
    scorer = load()
    window = [("a dog", "a cat"), (Request("a dog", "<2fr>"), "a cat"), ("a", "dog " * 5000), ("a dog", "a cat")]
    first, foreign, long, last = scorer.score_window(window)
    assert isinstance(foreign.problem, ModelError)
    assert "<2fr>" in foreign.problem.message
    assert isinstance(long.problem, DataError)
    assert "at most 4,096" in long.problem.message
    assert math.isnan(long.log_prob)
    assert math.isnan(long.score)
    assert math.isnan(long.mean_log_prob)
    assert first.log_prob == pytest.approx(last.log_prob)
    with pytest.raises(ModelError, match="2fr"):
        scorer.score(window)


def test_learned_positions_take_what_they_have_and_no_more(make_model, load):
    scorer = load()
    size = len(scorer.source_tokenizer)
    model = make_model(src_vocab_size=size, vocab=size, positions="learned", max_positions=10)
    limited = Scorer(Translator(model, scorer.source_tokenizer, scorer.target_tokenizer))
    lines = ["dog" + " dog" * more for more in range(12)]
    lengths = [len(ids) + 1 for ids in scorer.source_tokenizer.encode(lines)]
    for pairs in ([(line, "a") for line in lines], [("a", line) for line in lines]):
        scores = limited.score_window(pairs)
        assert [score.problem is None for score in scores] == [length <= 10 for length in lengths]


def test_a_tag_at_the_beginning_of_a_line_takes_the_place_of_the_default(load):
    expected = load().score([(Request("the dog", tag="<2de>"), "a cat")])
    scorer = load(tag="<2de>")
    # As the vocabularies of OPUS-MT do.
    scorer.source_tokenizer.split_tag = lambda line: (line[:5], line[5:]) if line.startswith("<2de>") else (None, line)
    assert scorer.score([("<2de> the dog", "a cat")]) == expected
    assert scorer.score([("the dog", "a cat")]) == expected


def test_long_lines_are_scored_whole(load):
    line = " ".join(make_lines(80))
    (score,) = load(max_source_tokens=20).score([(line, line)])
    assert score.problem is None
    assert score.num_source_tokens > 250
    assert score.num_tokens > 250


def test_too_large_a_batch_is_halved(load, monkeypatch):
    pairs = make_pairs(16)
    expected = load().score(pairs)
    genuine, rows = scoring.force, []

    def refuse(model, src_ids, targets):
        rows.append(len(targets))
        if len(targets) > 4:
            raise RuntimeError("CUDA out of memory")
        return genuine(model, src_ids, targets)

    monkeypatch.setattr(scoring, "force", refuse)
    found = load().score(pairs)
    # What did not fit is not tried again with the other half.
    assert rows == [16, 8, 4, 4, 4, 4]
    assert [s.log_prob for s in found] == pytest.approx([s.log_prob for s in expected], abs=1e-5)


def test_a_single_pair_that_does_not_fit_is_an_error(load, monkeypatch):
    def refuse(model, src_ids, targets):
        raise MemoryError

    monkeypatch.setattr(scoring, "force", refuse)
    with pytest.raises(DeviceError, match="a single pair"):
        load().score(make_pairs(3))


def test_numbers_that_are_none_are_an_error(make_model, pad):
    model = make_model()
    with torch.no_grad():
        model.output_proj.weight.fill_(math.nan)
    with torch.inference_mode(), pytest.raises(ModelError, match="not numbers"):
        force(model, pad([[5, EOS]]), [[4]])


def test_a_model_in_training_is_scored_without_dropout_and_goes_on_training(make_model, load):
    scorer = load()
    size = len(scorer.source_tokenizer)
    model = make_model(src_vocab_size=size, vocab=size)
    judge = Scorer(Translator(model, scorer.source_tokenizer, scorer.target_tokenizer))
    expected = judge.score(make_pairs(3))
    model.train()
    found = judge.score(make_pairs(3))
    assert model.training
    assert [s.log_prob for s in found] == pytest.approx([s.log_prob for s in expected])


def test_reading_ahead_is_bounded(load):
    read = []
    scorer = load(batch_size=2)
    next(scorer.iter_scores(read.append(1) or ("a", "b") for _ in range(1000)))
    assert len(read) == scorer.window_lines == 32


@pytest.mark.parametrize(
    ("targets", "has_words"),
    [
        (["犬が走ります。とても速い。", "はい。"], False),
        (["犬 が 走り ます 。 とても 速い 。", "はい 。"], True),
        (["the dog runs, 犬が走ります。", "a cat", ""], True),
        ([""], True),
    ],
)
def test_perplexity_a_word_needs_words(targets, has_words):
    summary = ScoreSummary()
    for target in targets:
        score = Score(target, ("y", "</s>"), (-1.0, -1.0), num_source_tokens=3)
        summary.add("x", score, max_source_tokens=10)
    names = ["token, end of sentence included", *["word"] * has_words, "character"]
    assert [row[0] for row in summary.build_rows()] == names


def test_a_pair_is_long_where_translation_would_split_it():
    for num_source_tokens, is_long in ((10, False), (11, False), (12, True)):  # EOS does not count
        summary = ScoreSummary()
        score = Score("y", ("y", "</s>"), (-1.0, -1.0), num_source_tokens=num_source_tokens)
        summary.add("x", score, max_source_tokens=10)
        assert summary.num_long == is_long
