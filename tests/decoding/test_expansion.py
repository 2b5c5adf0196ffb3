"""Alternatives at a position, held against the full forward pass."""

import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.expansion import expand, next_tokens
from mtkit.decoding.filters import build_filters
from mtkit.decoding.guidance import Guidance

PAD, UNK, BOS, EOS = range(4)
SOURCES = [[5, 6, EOS], [7, EOS], [8, 9, 10, 11, EOS], [5, 12, 7, EOS]]
PREFIXES = [(4, 5), (), (6, 7, 4, 4), (9,)]


@pytest.fixture(params=["sinusoidal", "learned"])
def model(request, make_model):
    return make_model(vocab=200, sharpness=1, positions=request.param, max_positions=12)


@pytest.fixture
def find(pad):
    """Return a function that finds the tokens that may follow each of the prefixes."""

    @torch.inference_mode()
    def find(model, prefixes=PREFIXES, count=5, **held_to):
        return next_tokens(model, pad(SOURCES), prefixes, count, **held_to)

    return find


@torch.inference_mode()
def rank(model, source, prefix):
    """Return all tokens that may follow, best first, through the full forward pass."""
    order = model(torch.tensor([source]), torch.tensor([[BOS, *prefix]]))[0, -1].argsort(descending=True).tolist()
    return [token for token in order if token not in (PAD, BOS, EOS)]


def test_the_most_likely_tokens_behind_prefixes_of_different_lengths(find, model):
    ranked = [rank(model, source, prefix) for source, prefix in zip(SOURCES, PREFIXES, strict=True)]
    assert find(model) == [tokens[:5] for tokens in ranked]
    assert find(model, count=500) == ranked


def test_filters_hold_at_the_position(find, model):
    plain = find(model, count=8)
    guidance = [
        Guidance(prefix, forbidden=((*prefix[-1:], tokens[1]),)) for prefix, tokens in zip(PREFIXES, plain, strict=True)
    ]
    decoding = DecodingSection(no_repeat_ngram=1, min_length=3)
    filters = build_filters(decoding, model.config, guidance, [plain[1][0]])
    found = find(model, count=4, filters=filters, guidance=guidance)
    for prefix, tokens, ours in zip(PREFIXES, plain, found, strict=True):
        assert ours == [t for t in tokens if t not in (plain[1][0], tokens[1], *prefix)][:4]


def test_only_decoding_steps_are_asked_of_a_model(find, model):
    class Ensemble:
        config, max_length = model.config, model.max_length
        start_decoding, decode_step = model.start_decoding, model.decode_step

    assert find(Ensemble()) == find(model)


def test_no_alternative_where_there_is_no_room(find, model):
    longest = tuple(range(4, 4 + 11))  # with the start symbol, all positions of the learned ones
    found = find(model, [(), (*longest, 5), longest, (4,)])
    has_room = [True, model.max_length is None, True, True]
    assert [len(tokens) == 5 for tokens in found] == has_room
    assert [not tokens for tokens in found] == [not room for room in has_room]
    assert found[0] == rank(model, SOURCES[0], ())[:5]
    assert found[2] == rank(model, SOURCES[2], longest)[:5]


def test_each_alternative_is_held_to_its_token():
    guidance = Guidance(prefix=(4,), forbidden=((7, 8),), seed=3)
    assert expand(guidance, [9, 5]) == [
        Guidance(prefix=(4, 9), forbidden=((7, 8),), seed=3),
        Guidance(prefix=(4, 5), forbidden=((7, 8),), seed=3),
    ]
    assert expand(guidance, []) == []


@torch.inference_mode()
def test_a_search_from_each_alternative_differs_behind_the_prefix(run, model):
    (tokens,) = next_tokens(model, torch.tensor(SOURCES[:1]), [(4, 5)], 3)
    alternatives = expand(Guidance((4, 5)), tokens)
    found = run(model, SOURCES[:1] * 3, alternatives, beam_size=2)
    assert [best.token_ids[:3] for (best,) in found] == [(4, 5, token) for token in tokens]
