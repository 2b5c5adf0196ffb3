"""What the filters rule out, each by itself and in a search, held against all translations there are."""

from functools import partial

import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.decoding import search as search_module
from mtkit.decoding.candidates import Step
from mtkit.decoding.filters import (
    ForbiddenPhrases,
    ForcedPrefix,
    MinLength,
    NoRepeatNgram,
    SuppressedTokens,
    build_filters,
)
from mtkit.decoding.guidance import Guidance
from mtkit.decoding.search import search

PAD, UNK, BOS, EOS = range(4)
A, B, C = 4, 5, 6


@pytest.fixture
def make_model(make_model):
    """The shared function, for models of three words and one decoder layer."""
    return partial(make_model, vocab=7, num_decoder_layers=1)


def make_step(prefixes, beam=1, guidance=None, max_length=99):
    batch = len(prefixes) // beam
    prefixes = torch.tensor(prefixes, dtype=torch.int64).view(len(prefixes), -1)
    return Step(prefixes.size(1) + 1, prefixes, beam, guidance or [Guidance()] * batch, [max_length] * batch)


def find_ruled_out(rule_out, step, vocab=10):
    """Return the tokens that may not follow, of each row."""
    before = torch.randn(len(step.prefixes), vocab).log_softmax(-1)
    after = before.clone()
    rule_out(after, step)
    is_out = after == -torch.inf
    assert torch.equal(after[~is_out], before[~is_out])
    return [set(row.nonzero().flatten().tolist()) for row in is_out]


def is_free_of_repeats(tokens, size):
    ngrams = [tokens[i : i + size] for i in range(len(tokens) - size + 1)]
    return len(set(ngrams)) == len(ngrams)


def contains(tokens, phrase):
    return any(tokens[i : i + len(phrase)] == phrase for i in range(len(tokens)))


PHRASES = ((A, B), (C,), (B, B, A), ())

CASES = {
    "min_length": ({"min_length": 2}, Guidance(), lambda t: len(t) >= 2),
    "min_length beyond the maximum": ({"min_length": 9}, Guidance(), lambda t: len(t) == 3),
    "unigrams": ({"no_repeat_ngram": 1}, Guidance(), lambda t: is_free_of_repeats(t, 1)),
    "bigrams": ({"no_repeat_ngram": 2}, Guidance(), lambda t: is_free_of_repeats(t, 2)),
    "prefix": ({}, Guidance(prefix=(B, A)), lambda t: t[:2] == (B, A)),
    "prefix with a repeat": (
        {"no_repeat_ngram": 1},
        Guidance(prefix=(B, B)),
        lambda t: t[:2] == (B, B) and len(set(t)) >= len(t) - 1 and B not in t[2:],
    ),
    "forbidden": ({}, Guidance(forbidden=PHRASES), lambda t: not any(contains(t, p) for p in PHRASES if p)),
    "prefix that is forbidden": (
        {},
        Guidance(prefix=(A, B), forbidden=((A, B), (B, B))),
        lambda t: t[:2] == (A, B) and not contains(t[1:], (A, B)) and not contains(t, (B, B)),
    ),
    "phrase that the prefix begins": (
        {"min_length": 2},
        Guidance(prefix=(A,), forbidden=((A, B),)),
        lambda t: t[:1] == (A,) and len(t) >= 2 and not contains(t, (A, B)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wide_beam_finds_exactly_what_is_allowed(make_model, score_all, case):
    settings, guidance, is_allowed = CASES[case]
    model, source = make_model(), [7, 8, EOS]
    words, steps = [UNK, A, B, C], 4
    decoding = DecodingSection(
        beam_size=len(words) ** (steps - 1),
        n_best=len(words) ** (steps - 1),
        max_length_ratio=0.1,
        max_length_extra=steps - 1,
        **settings,
    )
    every = score_all(model, source, words, decoding, is_allowed)
    best = list(every)[: decoding.n_best]
    assert len(every) > 1
    with torch.inference_mode():
        (found,) = search(model, torch.tensor([source]), decoding, [guidance])
    assert [hypothesis.token_ids for hypothesis in found] == best
    assert [hypothesis.score for hypothesis in found] == pytest.approx([every[ids] for ids in best], abs=1e-5)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_sentence_is_held_to_its_own_guidance_in_any_batch(make_model, run, rescore, beam_size):
    # Sources of many lengths: some are done and dropped while others go on.
    model = make_model(vocab=12, seed=2)
    generator = torch.Generator().manual_seed(1)
    sources = [[*torch.randint(4, 20, (n,), generator=generator).tolist(), EOS] for n in (1, 9, 3, 11, 2, 6, 5, 12)]
    plain = run(model, sources, beam_size=beam_size, max_length_extra=2)
    guidance = [
        Guidance(
            prefix=tuple(range(4, 4 + place % 4)) if place % 2 else (),
            # The ends of what comes out of a plain search.
            forbidden=(best.token_ids[-2:], best.token_ids[:1]) if place % 3 else (),
        )
        for place, (best,) in enumerate(plain)
    ]
    settings = {"beam_size": beam_size, "no_repeat_ngram": 3, "min_length": 3, "max_length_extra": 2}
    together = run(model, sources, guidance, **settings)
    assert [best.token_ids for (best,) in together] != [best.token_ids for (best,) in plain]
    assert len({best.num_tokens for (best,) in together}) > 2
    for source, held_to, (best,) in zip(sources, guidance, together, strict=True):
        ((alone,),) = run(model, [source], [held_to], **settings)
        assert best.token_ids == alone.token_ids
        assert best.token_ids[: len(held_to.prefix)] == held_to.prefix
        assert len(best.token_ids) >= 3
        behind = best.token_ids[len(held_to.prefix) :]
        assert not any(contains(behind, phrase) for phrase in held_to.forbidden if phrase)
        assert best.log_prob == pytest.approx(sum(rescore(model, source, best.token_ids)), abs=1e-4)


def test_a_prefix_longer_than_the_maximum_is_cut(make_model, run):
    ((best,),) = run(make_model(), [[7, EOS]], [Guidance(prefix=(A,) * 9)], max_length_ratio=0.1, max_length_extra=3)
    assert best.token_ids == (A,) * 3


def test_a_search_ends_where_nothing_is_left(make_model, run):
    # All words are suppressed but one, and that may not repeat: after it, even a minimum length gives way.
    model = make_model()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            search_module,
            "build_filters",
            lambda decoding, config, guidance, *_: build_filters(decoding, config, guidance, [UNK, A, B]),
        )
        ((best,),) = run(model, [[7, 8, EOS]], no_repeat_ngram=1, min_length=5)
    assert best.token_ids == (C,)


def test_suppressed_tokens():
    assert find_ruled_out(SuppressedTokens([7, 2, 7]), make_step([[4], [5]])) == [{2, 7}] * 2


def test_min_length_counts_tokens_without_eos():
    rule_out = MinLength(2, EOS)
    assert find_ruled_out(rule_out, make_step([[]])) == [{EOS}]
    assert find_ruled_out(rule_out, make_step([[A]])) == [{EOS}]
    assert find_ruled_out(rule_out, make_step([[A, A]])) == [set()]


def test_min_length_gives_way_to_the_maximum():
    prefixes = torch.full((4, 2), A)
    step = Step(3, prefixes, 2, [Guidance()] * 2, [3, 4])
    assert find_ruled_out(MinLength(5, EOS), step) == [set(), set(), {EOS}, {EOS}]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [0, 1, 2, 4, 9, 30])
def test_no_repeat_ngram(size, length):
    torch.manual_seed(1)
    prefixes = torch.randint(0, 4, (20, length)).tolist()
    ruled_out = find_ruled_out(NoRepeatNgram(size), make_step(prefixes))
    for prefix, tokens in zip(prefixes, ruled_out, strict=True):
        ngrams = [tuple(prefix[i : i + size]) for i in range(length - size + 1)]
        newest = tuple(prefix[length - size + 1 :]) if length >= size - 1 else None
        assert tokens == {token for *beginning, token in ngrams if tuple(beginning) == newest}


@pytest.mark.parametrize("length", [0, 1, 3, 8])
def test_forbidden_phrases(length):
    torch.manual_seed(1)
    beam = 3
    guidance = [Guidance(forbidden=((A,), (B, A), (A, B), (C, C, B, A))), Guidance(), Guidance(forbidden=((B, C),))]
    prefixes = torch.randint(A, C + 1, (3 * beam, length)).tolist()
    rule_out = ForbiddenPhrases()
    for kept in ([0, 1, 2], [0, 1, 2], [1, 2], [1], [2, 0]):  # as sentences leave the batch
        rows = [tuple(prefixes[place * beam + b]) for place in kept for b in range(beam)]
        step = make_step(rows, beam, [guidance[place] for place in kept])
        for row, tokens in enumerate(find_ruled_out(rule_out, step)):
            phrases = guidance[kept[row // beam]].forbidden
            is_begun = [rows[row][length - len(p) + 1 :] == p[:-1] and len(p) <= length + 1 for p in phrases]
            assert tokens == {p[-1] for p, begun in zip(phrases, is_begun, strict=True) if begun}


def test_a_forced_token_keeps_its_log_probability_whatever_is_ruled_out():
    guidance = [Guidance(prefix=(A, B)), Guidance(), Guidance(prefix=(C,))]
    rule_out = ForcedPrefix([SuppressedTokens([A, B, UNK]), NoRepeatNgram(1)])
    assert find_ruled_out(rule_out, make_step([[]] * 6, 2, guidance), 7) == [
        *[{PAD, UNK, BOS, EOS, B, C}] * 2,
        *[{UNK, A, B}] * 2,
        *[{PAD, UNK, BOS, EOS, A, B}] * 2,
    ]
    assert find_ruled_out(rule_out, make_step([[A], [UNK], [C]], 1, guidance), 7) == [
        {PAD, UNK, BOS, EOS, A, C},
        {UNK, A, B},
        {UNK, A, B, C},
    ]


def test_only_what_is_needed_is_built(make_model):
    config = make_model().config
    plain = [Guidance()] * 3

    def build(guidance=plain, suppressed_ids=(), **settings):
        return build_filters(DecodingSection(**settings), config, guidance, suppressed_ids)

    assert build() == []
    assert [type(f) for f in build(suppressed_ids=[5])] == [SuppressedTokens]
    assert [type(f) for f in build(min_length=1)] == [MinLength]
    assert [type(f) for f in build(no_repeat_ngram=2)] == [NoRepeatNgram]
    assert [type(f) for f in build([*plain, Guidance(forbidden=((4,),))])] == [ForbiddenPhrases]
    (outermost,) = build([*plain, Guidance(prefix=(4,))], min_length=1)
    assert isinstance(outermost, ForcedPrefix)
    assert [type(f) for f in outermost.others] == [MinLength]
