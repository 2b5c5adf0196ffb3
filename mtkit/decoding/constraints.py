"""Lexically constrained beam search: phrases that a translation must contain.

Dynamic beam allocation (Post and Vilar 2018, arXiv:1804.06609) with tries of alternative phrases (Hu et al. 2019,
N19-1090). The candidates of a sentence are the best extensions of each live hypothesis, and each hypothesis by every
token that begins or continues a phrase that it lacks; `mtkit.decoding.banks` says which of them finish or live on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from mtkit.decoding.banks import Extension, share_beam
from mtkit.decoding.candidates import BeamChooser, Candidates, Step, find_largest
from mtkit.decoding.guidance import Phrase
from mtkit.decoding.phrase_tracker import PhraseTracker, Progress


def count_met(required: Sequence[Sequence[Phrase]], token_ids: Sequence[int]) -> int:
    """Return how many of the required groups a translation meets; see `PhraseTracker`.

    Args:
        required: Groups of alternative phrases.
        token_ids: Of the target, EOS left out.
    """
    return len(required) - PhraseTracker(required).follow(tuple(token_ids)).num_unmet


def find_met(required: Sequence[tuple[Phrase, ...]], token_ids: Sequence[int]) -> tuple[tuple[Phrase, ...], ...]:
    """Return the required groups that a translation meets; arguments are those of `count_met`.

    A group that is required twice is met twice, or once.
    """
    tracker = PhraseTracker(required)
    missing = tracker.count_missing(tracker.follow(tuple(token_ids)))
    met: list[tuple[Phrase, ...]] = []
    for group in reversed(required):
        if missing[frozenset(group)]:
            missing[frozenset(group)] -= 1
        else:
            met.append(group)
    return tuple(reversed(met))


@dataclass(frozen=True)
class _Live:
    """A live hypothesis of a constrained sentence.

    Attributes:
        parent: Its place in the beam.
        row: Its row among those of the batch.
        progress: Of its tokens.
        wished: Tokens that begin or continue a phrase that it lacks.
    """

    parent: int
    row: int
    progress: Progress
    wished: list[int]


class ConstrainedChooser:
    """Chooses candidates that meet the required phrases in the end.

    A hypothesis that lacks something finishes only where nothing but EOS can follow, as at the maximum length; the
    search ranks it behind those that lack less. Groups whose phrases are all longer than the maximum length are given
    up from the start and do not count in `num_unmet`.

    Sentences without required phrases get the candidates of `BeamChooser`.

    Args:
        eos_id: End of sentence.
    """

    def __init__(self, eos_id: int) -> None:
        self.eos_id = eos_id
        self.unconstrained = BeamChooser(eos_id)
        self._trackers: dict[tuple[tuple[tuple[Phrase, ...], ...], int], PhraseTracker] = {}

    def choose(self, log_probs: Tensor, totals: Tensor, step: Step) -> Candidates:
        """Return candidates; see `Chooser`."""
        plain = _widen(self.unconstrained.choose(log_probs, totals, step), 2 * step.beam)
        num_unmet = torch.zeros_like(plain.tokens)
        constrained = [place for place, sentence in enumerate(step.sentences) if sentence.required]
        if constrained:
            chosen = list(self._choose_for(constrained, log_probs, totals, step))
            self._replace(plain, num_unmet, constrained, chosen)
        return replace(plain, num_unmet=num_unmet)

    def _choose_for(
        self, places: Sequence[int], log_probs: Tensor, totals: Tensor, step: Step
    ) -> Iterator[tuple[list[Extension], list[Extension]]]:
        """Yield, for each of these sentences, the extensions that finish and those that live on."""
        live = self._find_live(places, totals, step)
        hypotheses = [hypothesis for of_one in live for hypothesis in of_one]
        rows = torch.tensor([h.row for h in hypotheses], dtype=torch.int64, device=totals.device)
        so_far = totals.flatten()[rows].unsqueeze(1)  # (live, 1)
        next_log_probs = log_probs[rows]  # (live, vocab)
        largest, tokens = find_largest(next_log_probs, min(2 * step.beam + 1, log_probs.size(1)))
        most = max((len(h.wished) for h in hypotheses), default=0)
        columns = [h.wished + [self.eos_id] * (most - len(h.wished)) for h in hypotheses]
        places_of_wished = torch.tensor(columns, dtype=torch.int64, device=rows.device).view(len(columns), most)
        wished = next_log_probs.gather(1, places_of_wished)
        found = zip((largest + so_far).tolist(), tokens.tolist(), (wished + so_far).tolist(), strict=True)
        for place, of_one in zip(places, live, strict=True):
            tracker = self._get_tracker(place, step)
            extensions: list[Extension] = []
            forced: list[Extension] = []
            for hypothesis in of_one:
                values, token_ids, wished_values = next(found)
                if token_ids[0] == self.eos_id and values[1] == -torch.inf and hypothesis.progress.num_unmet:
                    forced.append(Extension(values[0], hypothesis.parent, self.eos_id, hypothesis.progress))
                    continue
                extensions += _iter_wished(hypothesis, wished_values, tracker)
                extensions += self._iter_free(hypothesis, values, token_ids, tracker)
            room = step.max_lengths[place] - step.number - 1
            ends, kept = share_beam(extensions, step.beam, room, self.eos_id)
            yield ends + forced, kept

    def _find_live(self, places: Sequence[int], totals: Tensor, step: Step) -> list[list[_Live]]:
        """Return the live hypotheses of each of these sentences."""
        rows = torch.tensor(places, device=totals.device).unsqueeze(1) * step.beam
        rows = (rows + torch.arange(step.beam, device=totals.device)).flatten()
        prefixes = iter(step.prefixes[rows].tolist())
        live: list[list[_Live]] = []
        for place, so_far in zip(places, totals[list(places)].tolist(), strict=True):
            tracker = self._get_tracker(place, step)
            of_one = []
            for parent, (log_prob, prefix) in enumerate(
                zip(so_far, itertools.islice(prefixes, step.beam), strict=True)
            ):
                if log_prob > -torch.inf:
                    progress = tracker.follow(tuple(prefix))
                    wished = sorted(tracker.find_continuations(progress) - {self.eos_id})
                    of_one.append(_Live(parent, place * step.beam + parent, progress, wished))
            live.append(of_one)
        return live

    def _get_tracker(self, place: int, step: Step) -> PhraseTracker:
        """Return the tracker of a sentence. Sentences that are held to the same share one."""
        key = (step.sentences[place].required, step.max_lengths[place])
        if key not in self._trackers:
            self._trackers[key] = PhraseTracker(key[0], room=key[1] - 1)
        return self._trackers[key]

    def _iter_free(
        self, hypothesis: _Live, values: Sequence[float], token_ids: Sequence[int], tracker: PhraseTracker
    ) -> Iterator[Extension]:
        """Yield the extensions by the most likely tokens that are of no phrase, and by EOS if nothing is lacking."""
        progress = hypothesis.progress
        beyond = tracker.leave(progress)
        is_late = progress.num_unmet > 0 and token_ids[0] == self.eos_id
        skipped = {*hypothesis.wished, self.eos_id} if progress.num_unmet else ()
        for value, token in zip(values, token_ids, strict=True):
            if value > -torch.inf and token not in skipped:
                yield Extension(value, hypothesis.parent, token, beyond, is_late)

    @staticmethod
    def _replace(
        candidates: Candidates,
        num_unmet: Tensor,
        places: Sequence[int],
        chosen: Sequence[tuple[list[Extension], list[Extension]]],
    ) -> None:
        """Put extensions, those that finish and those that live on, in place of the candidates of these sentences."""
        width = candidates.tokens.size(1)  # at least twice the beam: no hypothesis finishes twice
        log_probs, numbers = [], []
        for ends, kept in chosen:
            padding = width - len(ends) - len(kept)
            log_probs.append([e.log_prob for e in ends + kept] + [-torch.inf] * padding)
            of_one = [[e.parent, e.token, int(i < len(ends)), e.progress.num_unmet] for i, e in enumerate(ends + kept)]
            numbers.append(of_one + [[0, 0, 0, 0]] * padding)
        rows = torch.tensor(places, device=num_unmet.device)
        candidates.log_probs[rows] = torch.tensor(log_probs, device=rows.device)
        parents, tokens, may_finish, unmet = torch.tensor(numbers, device=rows.device).unbind(-1)
        candidates.parents[rows] = parents
        candidates.tokens[rows] = tokens
        assert candidates.may_finish is not None
        candidates.may_finish[rows] = may_finish.bool()
        num_unmet[rows] = unmet


def _iter_wished(hypothesis: _Live, values: Sequence[float], tracker: PhraseTracker) -> Iterator[Extension]:
    """Yield the extensions by tokens of phrases; the values are padded behind."""
    for value, token in zip(values, hypothesis.wished, strict=False):
        if value > -torch.inf:
            yield Extension(value, hypothesis.parent, token, tracker.advance(hypothesis.progress, token))


def _widen(candidates: Candidates, width: int) -> Candidates:
    """Return candidates with columns of none behind them, so that a hypothesis can both end and live on."""
    may_finish = candidates.may_finish
    if may_finish is None:
        may_finish = torch.zeros_like(candidates.tokens, dtype=torch.bool)
    missing = max(0, width - candidates.tokens.size(1))
    return Candidates(
        functional.pad(candidates.log_probs, (0, missing), value=-torch.inf),
        functional.pad(candidates.parents, (0, missing)),
        functional.pad(candidates.tokens, (0, missing)),
        functional.pad(may_finish, (0, missing)),
    )
