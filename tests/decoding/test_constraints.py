"""The promises of constrained search, on random models: every phrase appears, and the scores are the model's own."""

import random
import sys
import weakref
from collections import Counter
from dataclasses import replace

import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.banks import Extension, share_beam
from mtkit.decoding.candidates import BeamChooser, Step
from mtkit.decoding.constraints import ConstrainedChooser, count_met, find_met
from mtkit.decoding.guidance import ANYWHERE, END, Guidance, Spellings
from mtkit.decoding.lengths import length_penalty
from mtkit.decoding.open_phrases import leave_out_stopped
from mtkit.decoding.phrase_tracker import PhraseTracker, Progress
from mtkit.decoding.search import search
from mtkit.decoding.spellings import SpellingTracker
from mtkit.errors import ModelError

PAD, UNK, BOS, EOS = range(4)


def make_sources(count, seed=1):
    draw = random.Random(seed)
    return [[*(draw.randrange(4, 20) for _ in range(draw.randint(1, 11))), EOS] for _ in range(count)]


def make_required(draw, vocab, groups):
    """Groups of one or two phrases of one to three tokens."""
    return tuple(
        tuple(tuple(draw.randrange(4, vocab) for _ in range(draw.randint(1, 3))) for _ in range(draw.randint(1, 2)))
        for _ in range(groups)
    )


def contains(token_ids, required):
    """Whether each group is met, at as many places as it is required: by looking for its phrases everywhere."""
    return all(
        len({i for i in range(len(token_ids) + 1) for p in group if i >= len(p) and token_ids[i - len(p) : i] == p})
        >= times
        for group, times in Counter(map(frozenset, required)).items()
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beam_size", [1, 2, 5, 10])
def test_every_phrase_appears(make_model, run, rescore, beam_size, seed):
    draw = random.Random(seed)
    model, sources = make_model(40, seed), make_sources(6, seed)
    guidance = [Guidance(required=make_required(draw, 40, draw.randint(1, 6))) for _ in sources]
    n_best = min(2, beam_size)
    found = run(model, sources, guidance, beam_size=beam_size, n_best=n_best, max_length_extra=20)
    for source, held_to, hypotheses in zip(sources, guidance, found, strict=True):
        assert len(hypotheses) == n_best
        for hypothesis in hypotheses:
            assert contains(hypothesis.token_ids, held_to.required)
            assert count_met(held_to.required, hypothesis.token_ids) == len(held_to.required)
            assert hypothesis.log_prob == pytest.approx(sum(rescore(model, source, hypothesis.token_ids)), abs=1e-3)
            assert sum(hypothesis.token_log_probs) == pytest.approx(hypothesis.log_prob, abs=1e-3)
            assert hypothesis.score == pytest.approx(
                hypothesis.log_prob / length_penalty(hypothesis.num_tokens, DecodingSection())
            )


@pytest.mark.parametrize("seed", range(3))
def test_early_stopping_waits_for_the_phrases(make_model, run, seed):
    draw = random.Random(seed)
    model, sources = make_model(40, seed), make_sources(6, seed)
    guidance = [Guidance(required=make_required(draw, 40, draw.randint(1, 6))) for _ in sources]
    found = run(model, sources, guidance, beam_size=3, early_stopping=True, max_length_extra=20)
    for held_to, (best,) in zip(guidance, found, strict=True):
        assert contains(best.token_ids, held_to.required)


@pytest.mark.parametrize("beam_size", [1, 5])
def test_phrases_without_room_to_spare_appear(make_model, run, beam_size):
    model = make_model(40)
    required = (((7, 8, 9),), ((20, 21),), ((11,),), ((7, 5),))
    ((best,),) = run(
        model,
        [[5, 6, EOS]],
        [Guidance(required=required)],
        beam_size=beam_size,
        max_length_ratio=0.1,
        max_length_extra=8,
    )
    assert contains(best.token_ids, required)
    assert best.num_tokens == 9


REQUIRED = {
    "a word": (((4,),),),
    "a phrase": (((4, 5),),),
    "either": (((4, 4), (5, 4)),),
    "two": (((4,),), ((1, 5),)),
    "a shared beginning": (((4, 5),), ((4, 1),)),
    "overlapping": (((4, 5),), ((5, 1),)),
    "one inside the other": (((4, 5),), ((5,),)),
    "one that contains itself": (((4, 4, 5),),),
    "twice": (((4,),), ((4,),)),
    "twice, overlapping itself": (((4, 4),), ((4, 4),)),
    "with a longer alternative": (((4, 5, 1), (4, 4)), ((5,),)),
}


@pytest.mark.parametrize("required", REQUIRED.values(), ids=REQUIRED.keys())
@pytest.mark.parametrize("alpha", [0, 1])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_beam_that_is_wide_enough_finds_the_best_of_all_that_contain_the_phrases(
    make_model, score_all, seed, alpha, required
):
    steps, words = 5, [UNK, 4, 5]
    model, source = make_model(6, seed, sharpness=4), [7, 8, EOS]
    settings = DecodingSection(
        beam_size=len(words) ** (steps - 1),
        n_best=5,
        length_penalty=alpha,
        max_length_ratio=0.1,
        max_length_extra=steps - 1,
    )
    every = score_all(model, source, words, settings, lambda token_ids: contains(token_ids, required))
    best = list(every)[:5]
    with torch.inference_mode():
        (found,) = search(model, torch.tensor([source]), settings, [Guidance(required=required)])
    assert best
    complete = found[: len(best)]  # where fewer than five contain the phrases, others follow
    assert [hypothesis.token_ids for hypothesis in complete] == best
    assert [hypothesis.score for hypothesis in complete] == pytest.approx([every[ids] for ids in best], abs=1e-5)
    assert not any(contains(hypothesis.token_ids, required) for hypothesis in found[len(best) :])


@pytest.mark.parametrize("beam_size", [1, 4])
def test_what_stands_in_the_batch_makes_no_difference(make_model, run, beam_size):
    draw = random.Random(3)
    model, sources = make_model(30), make_sources(10)
    guidance = [Guidance(required=make_required(draw, 30, i % 4)) for i in range(len(sources))]
    together = run(model, sources, guidance, beam_size=beam_size)
    backwards = run(model, sources[::-1], guidance[::-1], beam_size=beam_size)[::-1]
    alone = [run(model, [s], [g], beam_size=beam_size)[0] for s, g in zip(sources, guidance, strict=True)]
    plain = run(model, sources, None, beam_size=beam_size)
    for i, (best,) in enumerate(together):
        for (other,) in [backwards[i], alone[i], *([] if guidance[i].required else [plain[i]])]:
            assert best.token_ids == other.token_ids
            assert best.score == pytest.approx(other.score, abs=1e-4)


@pytest.mark.parametrize("beam_size", [1, 4, 9])
def test_the_only_sentence_with_a_wish_is_done_before_the_others(make_model, run, beam_size):
    """It stays in the batch for a while, without a hypothesis that lives."""
    model, sources = make_model(30), [[7, EOS], *([*range(4, 19), EOS] for _ in range(6))]
    guidance = [Guidance(required=(((5,),),)), *(Guidance(prefix=tuple(range(4, 19))) for _ in sources[1:])]
    settings = {"beam_size": beam_size, "max_length_ratio": 1.0, "max_length_extra": 3}
    together = run(model, sources, guidance, **settings)
    alone = [run(model, [source], [one], **settings)[0] for source, one in zip(sources, guidance, strict=True)]
    assert [best.token_ids for (best,) in together] == [best.token_ids for (best,) in alone]
    assert 5 in together[0][0].token_ids


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_model_whose_probabilities_are_no_numbers_is_an_error(make_model, run, beam_size):
    model = make_model(30)
    with torch.no_grad():
        model.output_proj.weight[9] = torch.nan
    with pytest.raises(ModelError, match="not numbers"):
        run(model, [[7, 8, EOS]] * 2, [Guidance(required=(((5,),),))] * 2, beam_size=beam_size)


def test_the_same_wish_in_two_sentences(make_model, run):
    model, sources = make_model(30), make_sources(6)
    wish = Guidance(required=(((5, 6),), ((7,), (8, 9))))
    together = run(model, sources, [wish] * 6, beam_size=3)
    assert [best.token_ids for (best,) in together] == [
        run(model, [source], [wish], beam_size=3)[0][0].token_ids for source in sources
    ]


@pytest.mark.parametrize("has_ends", [False, True])
def test_sentences_without_wishes_get_the_candidates_of_beam_search(has_ends):
    torch.manual_seed(1)
    log_probs, totals = torch.randn(9, 50).log_softmax(-1), -torch.rand(3, 3)
    log_probs[:, EOS] = log_probs.amax(1) if has_ends else -9
    step = Step(2, torch.randint(4, 50, (9, 1)), 3, [Guidance(), Guidance(required=(((7,),),)), Guidance()], [9] * 3)
    plain, ours = (
        BeamChooser(EOS).choose(log_probs, totals, step),
        ConstrainedChooser(EOS).choose(log_probs, totals, step),
    )
    for name in ("log_probs", "parents", "tokens"):
        assert torch.equal(getattr(ours, name)[[0, 2]], getattr(plain, name)[[0, 2]])
    if has_ends:
        assert torch.equal(ours.may_finish[[0, 2]], plain.may_finish[[0, 2]])
    else:
        assert plain.may_finish is None
        assert not ours.may_finish[[0, 2]].any()
    assert ours.num_unmet[[0, 2]].sum() == 0
    assert ours.num_unmet[1].sum() > 0


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_phrase_without_room_does_not_keep_the_others_out(make_model, run, beam_size):
    model = make_model(30)
    required = ((tuple(range(10, 30)),), ((5, 6),))
    settings = {"beam_size": beam_size, "max_length_ratio": 0.1, "max_length_extra": 9}
    ((best,),) = run(model, [[7, 8, EOS]], [Guidance(required=required)], **settings)
    assert count_met(required, best.token_ids) == 1
    ((possible,),) = run(model, [[7, 8, EOS]], [Guidance(required=required[1:])], **settings)
    assert best == possible


@pytest.mark.parametrize("beam_size", [1, 4])
def test_phrases_that_fit_one_by_one_but_not_together(make_model, run, beam_size):
    required = tuple((((token,) * 3),) for token in range(5, 12))
    settings = {"beam_size": beam_size, "max_length_ratio": 0.1, "max_length_extra": 10}
    ((best,),) = run(make_model(30), [[7, 8, EOS]], [Guidance(required=required)], **settings)
    assert best.num_tokens == 11
    assert best.is_cut
    assert count_met(required, best.token_ids) >= 2


@pytest.mark.parametrize("by", ["forbidden", "limited", "suppressed"])
@pytest.mark.parametrize("beam_size", [1, 5])
def test_where_one_phrase_is_stopped_another_appears(make_model, pad, beam_size, by):
    model, sources = make_model(40), make_sources(6)
    required = (((5,), (7, 8, 9, 10)), ((5, 11), (12, 13, 14)), ((5,),))
    spellings = Spellings(((ANYWHERE, 5, END),))
    guidance = {"forbidden": Guidance(forbidden=(spellings,)), "limited": Guidance(limited=((spellings, 0),))}
    held_to = replace(guidance.get(by, Guidance()), required=required)
    settings = DecodingSection(beam_size=beam_size, max_length_ratio=0.1, max_length_extra=9)
    with torch.inference_mode():
        suppressed = (5,) if by == "suppressed" else ()
        found = search(model, pad(sources), settings, [held_to] * len(sources), suppressed)
    for best, *_ in found:
        assert contains(best.token_ids, required[:2])
        assert 5 not in best.token_ids


def test_phrases_that_cannot_appear():
    def keep(*phrases, **wishes):
        return leave_out_stopped(Guidance(required=(phrases, ((5,),)), **wishes), suppressed_ids=[6]).required[0]

    forbidden = ((5,), (7, 8))
    assert keep((5,), (9,), (6, 9), (4, 7, 8, 4), (7, 9, 8), forbidden=forbidden) == ((9,), (7, 9, 8))
    assert keep((5,), (6,), forbidden=forbidden) == ((5,), (6,))  # the group stays, and is not met
    twice = ((Spellings(((ANYWHERE, 5, END),)), 1),)
    assert keep((5,), (5, 5), (4,), limited=twice) == ((5,), (4,))
    # What the prefix has is not stopped.
    assert keep((4, 5), (9,), (5, 6), (5, 9), (7, 8), forbidden=forbidden, prefix=(7, 8, 4, 5)) == (
        (4, 5),
        (9,),
        (5, 9),
        (7, 8),
    )


def test_a_phrase_in_what_is_there_already_counts():
    tracker = PhraseTracker((((5, 6),), ((7,),)))
    assert tracker.follow((4, 5, 6)).missing == (0, 1)
    assert tracker.find_continuations(tracker.follow((4, 5, 6))) == {7}


@pytest.mark.parametrize("seed", range(15))
def test_progress_is_what_a_search_for_the_phrases_gives(seed):
    draw = random.Random(seed)
    required = make_required(draw, 7, 4)
    tracker = PhraseTracker(required)
    tokens = ()
    while len(tokens) < 40:
        progress = tracker.follow(tokens)
        assert (progress.num_needed == 0) == (progress.num_unmet == 0) == contains(tokens, required)
        # There is always a token that leads on.
        needs = [tracker.advance(progress, token).num_needed for token in tracker.find_continuations(progress)]
        assert not needs or min(needs) < progress.num_needed
        assert progress.num_unmet == 0 or needs
        others = set(range(7)) - tracker.find_continuations(progress)
        assert all(tracker.advance(progress, token) == tracker.leave(progress) for token in others)
        tokens += (draw.randrange(4, 7),)
    assert tracker.follow(tokens) == PhraseTracker(required).follow(tokens)


def test_a_failed_match_goes_on_from_its_longest_end():
    assert count_met((((4, 4, 5),),), (4, 4, 4, 5)) == 1
    assert count_met((((4, 5, 4, 6),),), (4, 5, 4, 5, 4, 6)) == 1


def test_count_met():
    required = (((4,),), ((4,),), ((5, 6), (7,)), ((8,),))
    assert count_met(required, (4, 5, 6)) == 2
    assert count_met(required, (4, 7, 4)) == 3
    assert count_met(required, ()) == 0
    assert count_met((), (4,)) == 0
    assert count_met(((), ((), (5,))), ()) == 2
    assert find_met(required, (4, 5, 6)) == (((4,),), ((5, 6), (7,)))
    assert find_met(required, (4, 7, 4)) == required[:3]
    assert find_met(required, ()) == ()


@pytest.mark.parametrize("seed", range(15))
def test_groups_that_are_met_are_those_that_can_be_met_together(seed):
    draw = random.Random(seed)
    required = tuple(draw.choices(make_required(draw, 7, 5), k=8))
    tokens = tuple(draw.choices(range(4, 7), k=20))
    met = []
    for group in required:
        if count_met([*met, group], tokens) > len(met):
            met.append(group)
    assert find_met(required, tokens) == tuple(met)


def count_lines(function):
    """Return how many lines of Python are run."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def test_the_work_for_a_token_does_not_grow_with_the_phrases():
    work = []
    for size in (10, 100):
        tracker = PhraseTracker([((token,),) for token in range(4, 4 + size)])
        work.append(count_lines(lambda tracker=tracker: tracker.advance(tracker.start, 4)))
    assert work[0] == work[1]


def test_one_pass_finds_what_is_met(monkeypatch):
    advance, calls = PhraseTracker.advance, []
    monkeypatch.setattr(PhraseTracker, "advance", lambda *arguments: calls.append(1) or advance(*arguments))
    find_met([((token,),) for token in range(4, 54)], range(4, 34))
    assert len(calls) == 30


def test_memory_of_prefixes_is_bounded():
    tracker = PhraseTracker((((5, 6),),))
    for length in range(50):
        for last in range(10):
            tracker.follow((*[4] * length, last)[:length])
    assert len(tracker.memory) <= 20


def test_trackers_go_with_their_sentence(without_collector):
    required, forbidden = PhraseTracker((((5, 6),),)), SpellingTracker([(5, 6)])
    required.follow((5,))
    forbidden.find_last((5,))
    left = [weakref.ref(required), weakref.ref(forbidden)]
    del required, forbidden
    assert [one() for one in left] == [None, None]


def extend(log_prob, token, needed=0, is_late=False):
    return Extension(log_prob, 0, token, Progress((needed,), (), needed), is_late)


def test_banks_share_the_beam_and_unused_places_go_to_others():
    low, high = [extend(-i / 10, 10 + i, needed=2) for i in range(6)], [extend(-5, 30)]
    _, kept = share_beam([*low, *high], beam=4, room=20, eos_id=EOS)
    assert {e.token for e in kept} == {30, 10, 11, 12}
    _, kept = share_beam([*low, extend(-5, 30), extend(-6, 31), extend(-7, 32)], beam=4, room=20, eos_id=EOS)
    assert {e.token for e in kept} == {30, 31, 10, 11}


def test_hypotheses_without_room_and_late_ones_come_last():
    doomed, late, poor = extend(-0.1, 10, needed=2), extend(-1, 11, needed=1, is_late=True), extend(-90, 12)
    assert share_beam([doomed, late, poor], beam=3, room=1, eos_id=EOS)[1] == [poor, late, doomed]


def test_an_end_is_ranked_in_its_own_bank():
    better = [extend(-i / 10, 10 + i, needed=1) for i in range(6)]
    end = extend(-4, EOS)
    assert share_beam([*better, extend(-3, 20), end], beam=2, room=9, eos_id=EOS)[0] == [end]
    assert share_beam([*better, extend(-3, 20), extend(-2, 21), end], beam=2, room=9, eos_id=EOS)[0] == []
    assert share_beam([extend(-3, 20), extend(-2, 21), end], beam=2, room=9, eos_id=EOS)[0] == [end]


def test_a_token_that_is_ruled_out_is_no_candidate():
    log_probs = torch.zeros(2, 20).log_softmax(-1)
    log_probs[:, 7] = -torch.inf
    step = Step(1, torch.empty(2, 0, dtype=torch.int64), 2, [Guidance(required=(((7,), (8, 9)),))], [9])
    found = ConstrainedChooser(EOS).choose(log_probs, torch.tensor([[0.0, -torch.inf]]), step)
    tokens = found.tokens[found.log_probs > -torch.inf].tolist()
    assert len(tokens) == 2
    assert not {7, EOS} & set(tokens)


@pytest.mark.parametrize("beam", [1, 2])
def test_where_the_model_would_end_a_phrase_is_due(beam):
    log_probs = torch.full((beam, 20), -30.0)
    log_probs[:, EOS], log_probs[:, 9], log_probs[:, 10] = -0.1, -3, -4
    totals = torch.full((1, beam), -torch.inf)
    totals[:, 0] = 0
    step = Step(1, torch.empty(beam, 0, dtype=torch.int64), beam, [Guidance(required=(((7,),),))], [9])
    found = ConstrainedChooser(EOS).choose(log_probs, totals, step)
    assert found.tokens[found.log_probs > -torch.inf].tolist() == [7, 9][:beam]
    assert found.num_unmet[0, :beam].tolist() == [0, 1][:beam]
    assert not (found.may_finish & (found.tokens == EOS)).any()


def test_a_hypothesis_that_can_only_end_finishes_with_what_it_lacks():
    log_probs = torch.full((2, 20), -torch.inf)
    log_probs[:, EOS] = -1
    step = Step(3, torch.full((2, 2), 5), 2, [Guidance(required=(((7,),), ((5, 5),)))], [9])
    found = ConstrainedChooser(EOS).choose(log_probs, torch.zeros(1, 2), step)
    ends = found.log_probs > -torch.inf
    assert ends.sum() == 2
    assert found.may_finish[ends].all()
    assert found.num_unmet[ends].tolist() == [1, 1]
