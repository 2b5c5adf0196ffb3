"""The promises of the search, on random models and on models whose every probability is written down."""

import math
from types import SimpleNamespace

import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.search import search
from mtkit.errors import ModelError

PAD, UNK, BOS, EOS = range(4)


@torch.inference_mode()
def decode_greedily(model, source, max_length):
    tokens = []
    while len(tokens) < max_length - 1:
        logits = model(torch.tensor([source]), torch.tensor([[BOS, *tokens]]))[0, -1]
        logits[[PAD, BOS]] = -torch.inf
        token = int(logits.argmax())
        if token == EOS:
            break
        tokens.append(token)
    return tuple(tokens)


def test_a_beam_of_one_is_greedy(make_model, make_sources, run):
    model, sources = make_model(12), make_sources(20)
    lengths = set()
    for source, (hypothesis,) in zip(sources, run(model, sources, beam_size=1, max_length_extra=4), strict=True):
        max_length = 2 * (len(source) - 1) + 4
        assert hypothesis.token_ids == decode_greedily(model, source, max_length)
        lengths.add(max_length - hypothesis.num_tokens)
    assert 0 in lengths
    assert len(lengths) > 2


@pytest.mark.parametrize("kind", ["wu", "length"])
@pytest.mark.parametrize("alpha", [0, 0.6, 1, 2])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_beam_that_is_wide_enough_is_exhaustive(make_model, score_all, alpha, kind, seed):
    steps, words = 4, [UNK, 4, 5]  # three words and EOS
    model, source = make_model(6, seed), [7, 8, EOS]
    settings = DecodingSection(
        beam_size=len(words) ** (steps - 1),
        n_best=len(words) ** (steps - 1),
        length_penalty=alpha,
        length_penalty_type=kind,
        max_length_ratio=0.1,
        max_length_extra=steps - 1,
    )
    every = score_all(model, source, words, settings)
    best = list(every)[: settings.n_best]
    with torch.inference_mode():
        (found,) = search(model, torch.tensor([source]), settings)
    assert [hypothesis.token_ids for hypothesis in found] == best
    assert [hypothesis.score for hypothesis in found] == pytest.approx([every[ids] for ids in best], abs=1e-5)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
@pytest.mark.parametrize("beam_size", [1, 2, 5])
def test_scores_are_those_of_the_model_without_a_cache(make_model, make_sources, run, rescore, beam_size, positions):
    model, sources = make_model(12, positions=positions), make_sources()
    settings = {"beam_size": beam_size, "n_best": beam_size, "length_penalty": 0.6}
    for source, hypotheses in zip(sources, run(model, sources, **settings), strict=True):
        assert len(hypotheses) == beam_size
        for hypothesis in hypotheses:
            penalty = ((5 + len(hypothesis.token_ids) + 1) / 6) ** 0.6
            assert hypothesis.log_prob == pytest.approx(sum(rescore(model, source, hypothesis.token_ids)), abs=1e-4)
            assert hypothesis.score == pytest.approx(hypothesis.log_prob / penalty)


def test_n_best_is_sorted_and_distinct(make_model, make_sources, run):
    for hypotheses in run(make_model(12), make_sources(), beam_size=6, n_best=6):
        scores = [hypothesis.score for hypothesis in hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert len({hypothesis.token_ids for hypothesis in hypotheses}) == 6


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_sentence_alone_is_the_sentence_in_a_batch(make_model, make_sources, run, beam_size):
    model, sources = make_model(12), make_sources(15)
    settings = {"beam_size": beam_size, "n_best": min(2, beam_size)}
    together = run(model, sources, **settings)
    padded = run(model, sources, extra_padding=7, **settings)
    backwards = run(model, sources[::-1], **settings)[::-1]
    alone = [run(model, [source], **settings)[0] for source in sources]
    for other in (padded, backwards, alone):
        for ours, theirs in zip(together, other, strict=True):
            assert [h.token_ids for h in ours] == [h.token_ids for h in theirs]
            assert [h.score for h in ours] == pytest.approx([h.score for h in theirs], abs=1e-4)


def test_special_symbols_are_never_produced(make_model, make_sources, run):
    for hypotheses in run(make_model(8), make_sources(), beam_size=5, n_best=5):
        for hypothesis in hypotheses:
            assert not {PAD, BOS, EOS} & set(hypothesis.token_ids)


def test_maximum_length(make_model, make_sources, run):
    model, sources = make_model(12), make_sources(20)
    cuts = set()
    for source, (best,) in zip(sources, run(model, sources, max_length_ratio=0.5, max_length_extra=2), strict=True):
        longest = math.ceil(0.5 * (len(source) - 1)) + 2
        assert best.num_tokens <= longest
        assert not best.is_cut or best.num_tokens == longest
        cuts.add(best.is_cut)
    assert cuts == {True, False}


def test_a_translation_that_ends_by_itself_in_the_last_place_is_not_cut(make_model, make_sources, run):
    model, num_ended = make_model(12), 0
    for source in make_sources(20):
        ((free,),) = run(model, [source], beam_size=1, max_length_extra=12)
        if free.is_cut or free.num_tokens < 3:
            continue
        num_ended += 1
        for room, is_cut in ((1, False), (2, True)):  # the ratio gives one token, for EOS
            ((best,),) = run(
                model, [source], beam_size=1, max_length_ratio=0.01, max_length_extra=free.num_tokens - room
            )
            assert (best.num_tokens, best.is_cut) == (free.num_tokens + 1 - room, is_cut)
    assert num_ended > 2


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_model_that_gives_no_numbers_is_refused(make_model, make_sources, run, beam_size):
    model = make_model(12)
    with torch.no_grad():
        model.output_proj.weight[7] = torch.nan
    with pytest.raises(ModelError, match="not numbers"):
        run(model, make_sources(), beam_size=beam_size)


def test_learned_positions_bound_the_target(make_model, run):
    model = make_model(12, positions="learned")
    with torch.no_grad():
        model.output_proj.weight[EOS] = 0
    ((best,),) = run(model, [[5] * 35 + [EOS]], beam_size=2)
    assert best.num_tokens <= 40


# Models whose probabilities are written down: after each prefix, those of the next tokens.

A, B, C, D, E, F = range(4, 10)


class Script:
    """A model that answers with given probabilities; what is not given has next to none. It counts its steps."""

    config = SimpleNamespace(pad_id=PAD, bos_id=BOS, eos_id=EOS, decoder_start_id=BOS)
    max_length = None

    def __init__(self, script):
        self.script = script
        self.num_steps = 0

    def start_decoding(self, src_ids, beam):
        return Prefixes()

    def decode_step(self, token_ids, state):
        self.num_steps += 1
        state.extend(token_ids.tolist())
        logits = torch.full((len(token_ids), 10), 1e-30)
        for row, prefix in enumerate(state.prefixes):
            for token, probability in self.script(prefix).items():
                logits[row, token] = probability
        return logits.log()


class CountedModel:
    """A model whose steps are counted."""

    def __init__(self, model):
        self.model = model
        self.config, self.max_length = model.config, model.max_length
        self.num_steps = 0

    def start_decoding(self, src_ids, beam):
        return self.model.start_decoding(src_ids, beam)

    def decode_step(self, token_ids, state):
        self.num_steps += 1
        return self.model.decode_step(token_ids, state)


class Prefixes:
    prefixes = None

    def extend(self, token_ids):
        if self.prefixes is None:  # the start symbol
            self.prefixes = [()] * len(token_ids)
        else:
            self.prefixes = [(*prefix, token) for prefix, token in zip(self.prefixes, token_ids, strict=True)]

    def reorder(self, rows):
        self.prefixes = [self.prefixes[row] for row in rows.tolist()]

    def keep_sentences(self, sentences):
        assert len(sentences) == 0  # of one sentence, none is ever dropped


def follow(script, max_length=8, **settings):
    model = Script(script)
    decoding = DecodingSection(max_length_ratio=0.1, max_length_extra=max_length - 1, **settings)
    with torch.inference_mode():
        (found,) = search(model, torch.tensor([[5, EOS]]), decoding)
    return found, model.num_steps


def patient(prefix):
    """EOS is half as likely as not at first; then five certain words, and the end."""
    if not prefix:
        return {EOS: 0.5, A: 0.4, B: 0.1}
    return {A: 0.98, B: 0.02} if len(prefix) < 5 else {EOS: 0.98, A: 0.02}


def lingering(prefix):
    """The same, but the second likeliest beginning ends at once."""
    if not prefix:
        return {EOS: 0.4, A: 0.35, B: 0.25}
    if prefix == (B,):
        return {EOS: 0.9, A: 0.1}
    return {A: 0.98, B: 0.02} if len(prefix) < 5 else {EOS: 0.98, A: 0.02}


def test_the_search_goes_on_while_a_longer_hypothesis_can_still_win():
    # At the second step the empty hypothesis, at -0.69, leads by far over a live one at -0.94; but divided by a length
    # of six, that one wins.
    (best,), _ = follow(patient, beam_size=2, length_penalty=1, length_penalty_type="length")
    assert best.token_ids == (A,) * 5
    assert best.log_prob == pytest.approx(math.log(0.4 * 0.98**5), abs=1e-5)
    assert best.score == pytest.approx(best.log_prob / 6, abs=1e-5)


def test_the_search_ends_once_no_live_hypothesis_can_win():
    # Without a penalty no extension of a hypothesis is more likely than itself.
    (best,), num_steps = follow(patient, beam_size=2, length_penalty=0)
    assert best.token_ids == ()
    assert num_steps == 1
    _, num_steps = follow(patient, beam_size=2, length_penalty=0, n_best=2)
    assert num_steps > 5


def test_early_stopping_ends_at_as_many_finished_hypotheses_as_the_beam_holds():
    # The empty hypothesis finishes first, the one that would win needs six steps; of those between only few may finish.
    settings = {"beam_size": 2, "length_penalty": 1, "length_penalty_type": "length"}
    (certain,), all_steps = follow(lingering, **settings)
    (early,), fewer_steps = follow(lingering, early_stopping=True, **settings)
    assert certain.token_ids == (A,) * 5
    assert early.token_ids == (B,)  # the better of () and (B,), which finished first
    assert fewer_steps == 2 < all_steps
    assert early.score < certain.score


@pytest.mark.parametrize("n_best", [1, 3])
def test_early_stopping_never_finds_a_better_score_nor_takes_more_steps(make_model, make_sources, n_best):
    sources, settings = make_sources(20), {"beam_size": 3, "n_best": n_best, "max_length_extra": 10}
    counts = []
    for early_stopping in (False, True):
        counter = CountedModel(make_model(12))
        decoding = DecodingSection(early_stopping=early_stopping, **settings)
        with torch.inference_mode():
            found = [search(counter, torch.tensor([source]), decoding)[0] for source in sources]
        counts.append((counter.num_steps, found))
    (certain_steps, certain), (early_steps, early) = counts
    assert early_steps < certain_steps
    assert [len(hypotheses) for hypotheses in early] == [len(hypotheses) for hypotheses in certain] == [n_best] * 20
    pairs = [pair for both in zip(certain, early, strict=True) for pair in zip(*both, strict=True)]
    assert all(theirs.score <= ours.score + 1e-5 for ours, theirs in pairs)


def hidden(prefix):
    """EOS is the third most likely beginning; all else gets less and less likely."""
    if not prefix:
        return {A: 0.4, B: 0.35, EOS: 0.25}
    return {A: 0.3, B: 0.3, C: 0.2, EOS: 0.2}


def test_a_hypothesis_finishes_only_if_its_end_is_among_the_best_candidates():
    found, _ = follow(hidden, beam_size=2, n_best=2, length_penalty=0)
    assert () not in [hypothesis.token_ids for hypothesis in found]
    found, _ = follow(hidden, beam_size=3, n_best=3, length_penalty=0)
    assert found[0].token_ids == ()


def deceptive(prefix):
    """The second best beginning has the two best second words, and then nothing that is likely."""
    script = {
        (): {A: 0.5, B: 0.4, C: 0.1},
        (A,): {C: 0.36, D: 0.32, E: 0.32},
        (B,): {D: 0.5, E: 0.5},
        (A, C): {EOS: 1.0},
    }
    return script.get(prefix, dict.fromkeys((A, B, C, D, E, F, EOS, UNK), 0.125))


def test_a_wider_beam_may_find_less():
    (greedy,), _ = follow(deceptive, beam_size=1, length_penalty=0)
    (wider,), _ = follow(deceptive, beam_size=2, length_penalty=0)
    (widest,), _ = follow(deceptive, beam_size=5, length_penalty=0)
    assert greedy.token_ids == widest.token_ids == (A, C)
    assert greedy.log_prob == pytest.approx(math.log(0.5 * 0.36), abs=1e-5)
    assert wider.log_prob < greedy.log_prob - 1
