"""Samples: drawn by the probabilities, and the same in any batch."""

import itertools
import math
from collections import Counter
from functools import partial

import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.candidates import Step
from mtkit.decoding.guidance import Guidance
from mtkit.decoding.sampling import Sampler, draw, keep_top_k, keep_top_p

PAD, UNK, BOS, EOS = range(4)


@pytest.fixture
def make_model(make_model):
    """The shared function, for models of one decoder layer that are as unsure as a fresh one."""
    return partial(make_model, sharpness=1, num_decoder_layers=1)


@pytest.fixture
def run(run):
    """The shared function, for four samples a sentence, each sentence with its own seed."""

    def sample(model, sources, guidance=None, **settings):
        guidance = guidance or [Guidance(seed=place) for place in range(len(sources))]
        return run(model, sources, guidance, **{"sampling": True, "n_best": 4, "max_length_extra": 4, **settings})

    return sample


def token_ids(found):
    return [[hypothesis.token_ids for hypothesis in hypotheses] for hypotheses in found]


def choose(log_probs, beam=8_000, number=1, totals=None, sentence_seed=0, **settings):
    """Return the candidates of one sentence whose hypotheses all have these log-probabilities next."""
    step = Step(number, torch.zeros(beam, number - 1), beam, [Guidance(seed=sentence_seed)], [99])
    totals = torch.zeros(1, beam) if totals is None else totals
    sampler = Sampler(DecodingSection(sampling=True, **settings))
    return sampler.choose(log_probs.expand(beam, -1).clone(), totals, step)


def make_log_probs(vocab=300, seed=1, deviation=2.0):
    torch.manual_seed(seed)
    return (torch.randn(vocab) * deviation).log_softmax(-1)


def assert_drawn_from(tokens, probabilities):
    """Compare by Pearson's chi-square, tokens that are expected less than five times taken as one."""
    count = tokens.numel()
    seen = torch.bincount(tokens.flatten(), minlength=len(probabilities)).double()
    expected = probabilities.double() * count
    assert not seen[probabilities == 0].any()
    rare = expected < 5
    seen = torch.cat([seen[~rare], seen[rare].sum()[None]])
    expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    if expected[-1] == 0:
        seen, expected = seen[:-1], expected[:-1]
    degrees = len(expected) - 1
    statistic = float(((seen - expected) ** 2 / expected).sum())
    assert statistic < degrees + 4 * math.sqrt(2 * degrees), (statistic, degrees)


@pytest.mark.parametrize("vocab", [5, 128, 300, 1000])
def test_tokens_are_drawn_by_their_probabilities(vocab):
    log_probs = make_log_probs(vocab)
    assert_drawn_from(choose(log_probs).tokens, log_probs.exp())
    assert_drawn_from(choose(log_probs, number=7).tokens, log_probs.exp())


@pytest.mark.parametrize("temperature", [0.5, 2])
def test_temperature(temperature):
    log_probs = make_log_probs()
    tokens = choose(log_probs, temperature=temperature).tokens
    assert_drawn_from(tokens, (log_probs / temperature).softmax(-1))


@pytest.mark.parametrize("temperature", [1e-4, 1e-30, 1e-300])
def test_a_temperature_near_zero_is_greedy(make_model, make_sources, run, temperature):
    log_probs = make_log_probs()
    for settings in ({}, {"top_k": 3}, {"top_p": 0.9}):
        tokens = choose(log_probs, 100, temperature=temperature, **settings).tokens
        assert set(tokens.flatten().tolist()) == {int(log_probs.argmax())}
    model, sources = make_model(), make_sources()
    greedy = run(model, sources, sampling=False, beam_size=1, n_best=1)
    assert token_ids(run(model, sources, n_best=1, temperature=temperature)) == token_ids(greedy)


def test_an_endless_temperature_draws_what_may_follow_alike():
    log_probs = make_log_probs()
    log_probs[7] = -torch.inf
    expected = torch.full_like(log_probs, 1 / (len(log_probs) - 1)).masked_fill(log_probs == -torch.inf, 0)
    assert_drawn_from(choose(log_probs, temperature=1e300).tokens, expected)


def test_top_k():
    log_probs = make_log_probs()
    best = log_probs.topk(7).indices
    expected = torch.zeros(300)
    expected[best] = (log_probs[best] / 1.5).softmax(-1)
    assert_drawn_from(choose(log_probs, top_k=7, temperature=1.5).tokens, expected)


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.999])
def test_top_p(top_p):
    log_probs = make_log_probs()
    values, order = log_probs.exp().sort(descending=True)
    count = 1 + int((values.cumsum(0) < top_p).sum())
    expected = torch.zeros(300)
    expected[order[:count]] = values[:count] / values[:count].sum()
    assert_drawn_from(choose(log_probs, top_p=top_p).tokens, expected)


def test_top_p_counts_what_temperature_and_top_k_leave():
    # 0.4 0.3 0.2 0.1; at temperature 1/2 16 : 9 : 4 : 1; of the first three, 16 / 29 = 0.55 and 9 / 29 = 0.31.
    log_probs = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()
    tokens = choose(log_probs, temperature=0.5, top_k=3, top_p=0.85).tokens
    assert_drawn_from(tokens, torch.tensor([0, 16 / 25, 0, 9 / 25]))


@pytest.mark.parametrize("vocab", [5, 60, 1000])
def test_the_nucleus_is_the_smallest_set_that_reaches_the_probability(vocab):
    torch.manual_seed(1)
    scores = torch.randn(20, vocab) * torch.rand(20, 1) * 4
    for top_p in (1e-9, 0.2, 0.7, 0.95, 1 - 1e-6):
        kept = keep_top_p(scores, top_p) > -torch.inf
        probabilities = scores.double().softmax(-1)
        for row, is_kept in zip(probabilities, kept, strict=True):
            inside = row[is_kept]
            assert inside.min() > row[~is_kept].max() if is_kept.sum() < vocab else True
            assert inside.sum() > top_p - 1e-6
            assert inside.sum() - inside.min() < top_p + 1e-6


@pytest.mark.parametrize("vocab", [10, 1000])
def test_of_equal_tokens_the_first_are_kept(vocab):
    scores = torch.zeros(2, vocab)
    scores[1, 5] = -torch.inf
    for kept in (keep_top_k(scores, 6), keep_top_p(scores, 5.8 / vocab)):
        assert [row.nonzero().flatten().tolist() for row in kept > -torch.inf] == [
            [0, 1, 2, 3, 4, 5],
            [0, 1, 2, 3, 4, 6],
        ]
    assert torch.equal(keep_top_k(scores, vocab), scores)


def test_a_nucleus_of_any_size_among_equal_tokens():
    for count in (1, 63, 64, 65, 256, 999, 1000):
        kept = keep_top_p(torch.zeros(1, 1000), (count - 0.5) / 1000)[0] > -torch.inf
        assert kept.nonzero().flatten().tolist() == list(range(count))


def test_what_is_ruled_out_is_never_drawn():
    log_probs = make_log_probs(300)
    log_probs[torch.arange(300) % 3 > 0] = -torch.inf
    for settings in ({}, {"top_k": 250}, {"top_p": 0.9999999}, {"temperature": 1e-5}, {"temperature": 100}):
        assert not (choose(log_probs, 3000, **settings).tokens % 3).any()
    log_probs = torch.full((300,), -torch.inf)
    log_probs[299] = -20
    assert set(choose(log_probs, 100).tokens.flatten().tolist()) == {299}


def test_candidates():
    log_probs = make_log_probs()
    totals = torch.tensor([[-1.0, -2.0, -torch.inf, -4.0]])
    found = choose(log_probs, 4, totals=totals, temperature=3.0, top_k=50)
    assert torch.equal(found.log_probs, totals + log_probs[found.tokens])
    assert found.parents.tolist() == [[0, 1, 2, 3]]
    assert found.may_finish.all()
    assert found.log_probs[0, 2] == -torch.inf


def test_noise_depends_on_all_that_it_is_derived_from():
    log_probs = torch.zeros(1000)
    draws = [
        choose(log_probs, 50, **settings).tokens.flatten().tolist()
        for settings in ({}, {"number": 2}, {"sentence_seed": 1}, {"seed": 2}, {"seed": 3})
    ]
    assert len(set(draws[0])) > 40  # each hypothesis draws its own
    for one, other in itertools.combinations(draws, 2):
        assert sum(a == b for a, b in zip(one, other, strict=True)) < 5
    assert choose(log_probs, 50).tokens.flatten().tolist() == draws[0]


def test_rounding_does_not_change_what_is_drawn():
    torch.manual_seed(1)
    scores = (torch.randn(3000, 2000) * 2).log_softmax(-1)
    rounded = scores + torch.randn_like(scores) * 1e-6
    assert (draw(scores, range(3000)) != draw(rounded, range(3000))).sum() <= 1


def test_translations_are_drawn_by_their_probabilities(make_model, run):
    model, source, count = make_model(vocab=6), [7, 8, EOS], 3000
    (found,) = run(model, [source], n_best=count, max_length_ratio=0.1, max_length_extra=2)
    seen = Counter(hypothesis.token_ids for hypothesis in found)
    assert len(found) == count
    words = [UNK, 4, 5]
    every = [ids for length in range(3) for ids in itertools.product(words, repeat=length)]
    with torch.inference_mode():
        probabilities = []
        for ids in every:
            logits = model(torch.tensor([source]), torch.tensor([[BOS, *ids]]))[0]
            logits[:, [PAD, BOS]] = -torch.inf
            logits[2:, [UNK, 4, 5]] = -torch.inf  # the third token is the last
            log_probs = logits.log_softmax(-1)
            probabilities.append(math.exp(sum(float(log_probs[i, t]) for i, t in enumerate([*ids, EOS]))))
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert_drawn_from(torch.tensor([every.index(ids) for ids in seen.elements()]), torch.tensor(probabilities))


@pytest.mark.parametrize("settings", [{}, {"top_k": 5, "temperature": 1.3}, {"top_p": 0.8}])
def test_a_sentence_has_the_same_samples_in_any_batch(make_model, make_sources, run, settings):
    model, sources = make_model(), make_sources(12)
    guidance = [Guidance(seed=100 + place) for place in range(12)]
    together = run(model, sources, guidance, **settings)
    padded = run(model, sources, guidance, extra_padding=7, **settings)
    backwards = run(model, sources[::-1], guidance[::-1], **settings)[::-1]
    alone = [run(model, [s], [g], **settings)[0] for s, g in zip(sources, guidance, strict=True)]
    for other in (padded, backwards, alone):
        assert token_ids(other) == token_ids(together)
    assert all(len(set(samples)) > 1 for samples in token_ids(together))


def test_other_seeds_give_other_samples(make_model, run):
    model, sources = make_model(), [[5, 6, 7, 8, EOS]] * 2
    first, second = token_ids(run(model, sources))
    assert first != second  # the same source, but another sentence
    assert token_ids(run(model, sources)) == [first, second]
    assert first not in token_ids(run(model, sources, seed=2))
    same = [Guidance(seed=3)] * 2
    assert len({tuple(samples) for samples in token_ids(run(model, sources, same))}) == 1


def test_more_samples_begin_with_the_same_ones(make_model, make_sources, run):
    model, sources = make_model(), make_sources()
    few, many = token_ids(run(model, sources, n_best=3)), token_ids(run(model, sources, n_best=8))
    for some, others in zip(few, many, strict=True):
        assert len(others) == 8
        assert not Counter(some) - Counter(others)


def test_scores_are_the_models_own(make_model, make_sources, run, rescore):
    model, sources = make_model(), make_sources()
    settings = {"temperature": 0.7, "top_k": 6, "top_p": 0.9, "length_penalty": 0.6}
    for source, hypotheses in zip(sources, run(model, sources, **settings), strict=True):
        assert len(hypotheses) == 4
        scores = [hypothesis.score for hypothesis in hypotheses]
        assert scores == sorted(scores, reverse=True)
        for hypothesis in hypotheses:
            expected = rescore(model, source, hypothesis.token_ids)
            assert hypothesis.token_log_probs == pytest.approx(expected, abs=1e-4)
            assert hypothesis.log_prob == pytest.approx(sum(expected), abs=1e-4)
            assert hypothesis.score == pytest.approx(hypothesis.log_prob / ((5 + len(expected)) / 6) ** 0.6)


def test_samples_are_held_to_filters_and_guidance(make_model, make_sources, run):
    model, sources = make_model(), make_sources()
    guidance = [Guidance(prefix=(4, 5), forbidden=((6,), (7, 8)), seed=place) for place in range(9)]
    found = token_ids(run(model, sources, guidance, min_length=3, no_repeat_ngram=1, n_best=20))
    lengths = set()
    for source, samples in zip(sources, found, strict=True):
        for ids in samples:
            assert ids[:2] == (4, 5)
            assert 3 <= len(ids) < 2 * len(source) + 4
            assert len(set(ids)) == len(ids)
            assert 6 not in ids
            assert (7, 8) not in itertools.pairwise(ids)
            lengths.add(len(ids))
    assert len(lengths) > 2
