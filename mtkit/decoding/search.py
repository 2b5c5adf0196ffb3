"""Beam search. Greedy search is a beam of one, and sampling shares the path.

At each step every live hypothesis is extended by every token, and the best 2 x beam_size extensions of a sentence are
its candidates (`mtkit.decoding.candidates`). A candidate that ends in EOS is finished if it is among the first
beam_size of them (or if the beam holds every other candidate, so that nothing had to be pruned). The best beam_size
others live on. At the maximum length EOS is the only extension.

A sentence is done when it has n_best finished hypotheses that no live one can overtake: a log-probability never rises,
and the length penalty is largest at the maximum length, so `log_prob / penalty(maximum length)` bounds what a live
hypothesis can still reach. A beam of one has nothing to compare and is done at its first EOS. Samples are all finished.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from mtkit.config.decoding import DecodingSection
from mtkit.config.model import ModelConfig
from mtkit.decoding.candidates import BeamChooser, Candidates, Chooser, Observation, Observer, Step
from mtkit.decoding.constraints import ConstrainedChooser
from mtkit.decoding.filters import build_filters
from mtkit.decoding.guidance import Guidance
from mtkit.decoding.hypothesis import Hypothesis
from mtkit.decoding.lengths import length_penalty, max_target_length
from mtkit.decoding.open_phrases import leave_out_stopped
from mtkit.decoding.sampling import Sampler
from mtkit.errors import ModelError

# Sentences that are done leave the batch when so large a share of it is: dropping rows copies all others.
_DROP_SHARE = 0.25


class State(Protocol):
    """What a model remembers of a batch between steps."""

    def reorder(self, rows: Tensor) -> None:
        """Let hypotheses continue from others of the same sentence: `(rows,)` int64 indices of rows."""

    def keep_sentences(self, sentences: Tensor) -> None:
        """Drop all but some sentences, `(new_batch,)` int64 indices, with all their rows."""


class Model(Protocol):
    """What the search asks of a model: a Transformer, or an ensemble of several."""

    @property
    def config(self) -> ModelConfig:
        """Its special ids count."""

    @property
    def max_length(self) -> int | None:
        """Longest source and target in tokens, EOS included; None for no limit."""

    def start_decoding(self, src_ids: Tensor, beam: int) -> State:
        """Return the state before the first target token of `beam` hypotheses of each source, `(batch, src_len)`."""

    def decode_step(self, token_ids: Tensor, state: Any) -> Tensor:
        """Return the logits of the next token, `(rows, vocab)`, and extend the state by `(rows,)` newest tokens."""


def search(
    model: Model,
    src_ids: Tensor,
    decoding: DecodingSection,
    guidance: Sequence[Guidance] | None = None,
    suppressed_ids: Sequence[int] = (),
    observe: Observer | None = None,
) -> list[list[Hypothesis]]:
    """Translate a batch.

    Args:
        model: In evaluation mode; call this under `torch.inference_mode()`.
        src_ids: `(batch, src_len)` int64, EOS included, padded with `pad_id` behind.
        decoding: Beam size, length penalty, n_best, maximum length, and what rules tokens out.
        guidance: What each sentence is held to; None for nothing.
        suppressed_ids: Tokens that are never produced.
        observe: Is told of each step.

    Returns:
        For each sentence its `n_best` hypotheses, best first; fewer where there are no more.

    Raises:
        ModelError: The model's log-probabilities are not numbers.
    """
    source_lengths = (src_ids != model.config.pad_id).sum(1).tolist()
    guidance = [leave_out_stopped(one, suppressed_ids) for one in guidance or [Guidance()] * len(src_ids)]
    sentences = [
        _Sentence(place, held_to, max_target_length(length - 1, decoding, model.max_length))
        for place, (length, held_to) in enumerate(zip(source_lengths, guidance, strict=True))
    ]
    return _Search(model, src_ids, decoding, sentences, suppressed_ids, observe).run()


def build_chooser(decoding: DecodingSection, config: ModelConfig, guidance: Sequence[Guidance]) -> Chooser:
    """Return the way in which a batch chooses its candidates."""
    if decoding.sampling:
        return Sampler(decoding)
    if any(held_to.required for held_to in guidance):
        return ConstrainedChooser(config.eos_id)
    return BeamChooser(config.eos_id)


@dataclass
class _Sentence:
    """The search of one sentence: its limits, and its best finished hypotheses, worst first.

    Attributes:
        place: In the batch that was given.
        guidance: What it is held to.
        max_length: Longest target in tokens, EOS included.
        finished: Hypotheses by (number of required phrases met, score).
        num_finished: How many ever finished with all required phrases, kept or not.
        is_done: Whether its result stands.
    """

    place: int
    guidance: Guidance
    max_length: int
    finished: list[tuple[tuple[int, float], Hypothesis]] = field(default_factory=list)
    num_finished: int = 0
    is_done: bool = False

    def add(self, hypothesis: Hypothesis, num_unmet: int, n_best: int) -> None:
        self.num_finished += num_unmet == 0
        entry = ((-num_unmet, hypothesis.score), hypothesis)
        bisect.insort(self.finished, entry, key=lambda entry: entry[0])
        if len(self.finished) > n_best:
            self.finished.pop(0)

    def can_end(self, best_live: float, decoding: DecodingSection) -> bool:
        """Return whether no live hypothesis, the best of them at `best_live`, can still change the result."""
        if best_live == -math.inf:
            return True
        if len(self.finished) < decoding.n_best or decoding.sampling:
            return False
        if decoding.beam_size == 1 or (decoding.early_stopping and self.num_finished >= decoding.beam_size):
            return True
        (negative_unmet, score), _ = self.finished[0]
        return negative_unmet == 0 and best_live / length_penalty(self.max_length, decoding) <= score


class _Search:
    """The search of a batch. Rows are sentence-major: sentence s has rows s * beam to s * beam + beam - 1.

    Attributes:
        live: The sentences in the batch; those that are done stay until enough are, with rows that are dead.
        totals: `(batch, beam)` float32, log-probability of each hypothesis; -inf for a dead one.
        prefixes: `(rows, capacity)` int64, its tokens.
        token_log_probs: `(rows, capacity)` float32, the log-probability of each of its tokens.
        newest: `(rows,)` int64, its last token.
    """

    def __init__(
        self,
        model: Model,
        src_ids: Tensor,
        decoding: DecodingSection,
        sentences: list[_Sentence],
        suppressed_ids: Sequence[int],
        observe: Observer | None,
    ) -> None:
        self.model = model
        self.observe = observe
        self.decoding = decoding
        self.eos_id = model.config.eos_id
        self.sentences = sentences
        self.live = list(sentences)
        guidance = [sentence.guidance for sentence in sentences]
        self.filters = build_filters(decoding, model.config, guidance, suppressed_ids)
        self.chooser = build_chooser(decoding, model.config, guidance)
        self.beam = beam = decoding.num_hypotheses
        device = src_ids.device
        self.impossible = torch.tensor(sorted({model.config.pad_id, model.config.bos_id}), device=device)
        self.state = model.start_decoding(src_ids, beam)
        self.totals = torch.zeros(len(sentences), beam, device=device)
        if not decoding.sampling:  # at the first step all rows of a sentence are alike: all but one are ruled out
            self.totals[:, 1:] = -torch.inf
        rows = len(sentences) * beam
        self.prefixes = torch.empty(rows, 16, dtype=torch.int64, device=device)
        self.token_log_probs = torch.empty(rows, 16, device=device)
        self.newest = torch.full((rows,), model.config.decoder_start_id, device=device)
        self._place_rows()

    def run(self) -> list[list[Hypothesis]]:
        number = 0
        while self.live:
            number += 1
            self._advance(number)
        return [[hypothesis for _, hypothesis in reversed(s.finished)] for s in self.sentences]

    def _place_rows(self) -> None:
        """Note where the rows of each sentence begin: `(batch, 1)`."""
        self.first_rows = torch.arange(0, len(self.newest), self.beam, device=self.newest.device).unsqueeze(1)

    def _advance(self, number: int) -> None:
        """Decode one token of every live hypothesis, collect what finished, and choose what lives on."""
        step = Step(
            number,
            self.prefixes,
            self.beam,
            [sentence.guidance for sentence in self.live],
            [sentence.max_length for sentence in self.live],
        )
        logits = self.model.decode_step(self.newest, self.state)
        log_probs = torch.log_softmax(logits.float(), -1)  # (rows, vocab)
        at_limit = [place for place, s in enumerate(self.live) if number >= s.max_length and not s.is_done]
        log_probs.index_fill_(1, self.impossible, -torch.inf)
        wants_eos = self._filter(log_probs, step, at_limit)
        candidates = self.chooser.choose(log_probs, self.totals, step)
        is_eos = None if candidates.may_finish is None else candidates.tokens == self.eos_id
        if self.observe is not None:
            self.observe(self._describe(step, log_probs, candidates, is_eos))
        if is_eos is not None:
            self._collect(candidates, is_eos, log_probs, wants_eos, number)
        self._select(candidates, is_eos, log_probs, number)

    def _describe(self, step: Step, log_probs: Tensor, candidates: Candidates, is_eos: Tensor | None) -> Observation:
        """Return the step for an observer."""
        if is_eos is None:
            is_eos = torch.zeros_like(candidates.tokens, dtype=torch.bool)
        is_open = ~is_eos & (candidates.log_probs > -torch.inf)
        return Observation(
            step,
            self.totals,
            log_probs,
            candidates,
            is_kept=is_open & (is_open.cumsum(1) <= self.beam),
            is_finished=_find_finishing(candidates, is_eos),
        )

    def _rows_of(self, places: Sequence[int]) -> Tensor:
        """Return the rows of some sentences, `(places * beam,)`."""
        first = torch.tensor(places, device=self.newest.device).unsqueeze(1) * self.beam
        return (first + torch.arange(self.beam, device=self.newest.device)).flatten()

    def _filter(self, log_probs: Tensor, step: Step, at_limit: Sequence[int]) -> set[int]:
        """Rule out what the filters say, and all but EOS at the maximum length; a row never stays without a token.

        Returns:
            The rows at their maximum length that would have ended by themselves.
        """
        if not self.filters and not at_limit:
            return set()
        eos = log_probs[:, self.eos_id].clone()
        for rule_out in self.filters:
            rule_out(log_probs, step)
        own_ends: set[int] = set()
        if at_limit:
            rows = self._rows_of(at_limit)
            best, tokens = log_probs[rows].max(-1)
            own_ends = set(rows[(tokens == self.eos_id) & (best > -torch.inf)].tolist())
            log_probs[rows] = -torch.inf
        stuck = log_probs.amax(-1) == -torch.inf
        log_probs[:, self.eos_id] = torch.where(stuck, eos, log_probs[:, self.eos_id])
        return own_ends

    def _collect(
        self, candidates: Candidates, is_eos: Tensor, log_probs: Tensor, wants_eos: set[int], number: int
    ) -> None:
        """Keep the candidates that end in EOS and may finish."""
        if not bool(is_eos.any()):
            return
        places, ranks = _find_finishing(candidates, is_eos).nonzero(as_tuple=True)
        rows = self.first_rows[places, 0] + candidates.parents[places, ranks]
        unmet = torch.zeros_like(places) if candidates.num_unmet is None else candidates.num_unmet[places, ranks]
        per_token = torch.cat([self.token_log_probs[rows, : number - 1], log_probs[rows, self.eos_id].unsqueeze(1)], 1)
        tensors = (
            places,
            rows,
            unmet,
            candidates.log_probs[places, ranks],
            self.prefixes[rows, : number - 1],
            per_token,
        )
        penalty = length_penalty(number, self.decoding)
        for place, row, num_unmet, log_prob, token_ids, token_log_probs in zip(
            *(tensor.tolist() for tensor in tensors), strict=True
        ):
            sentence = self.live[place]
            hypothesis = Hypothesis(
                token_ids=tuple(token_ids),
                log_prob=log_prob,
                score=log_prob / penalty,
                is_cut=number >= sentence.max_length and row not in wants_eos,
                token_log_probs=tuple(token_log_probs),
            )
            sentence.add(hypothesis, num_unmet, self.decoding.n_best)

    def _select(self, candidates: Candidates, is_eos: Tensor | None, log_probs: Tensor, number: int) -> None:
        """Let the first candidates that did not end live on, and drop the sentences that are done."""
        beam = self.beam
        totals, parents, tokens = candidates.log_probs, candidates.parents, candidates.tokens
        if totals.size(1) > beam:
            if is_eos is None:
                totals, parents, tokens = (x[:, :beam] for x in (totals, parents, tokens))
            else:
                is_closed = is_eos | (totals == -torch.inf)
                _, order = is_closed.to(torch.uint8).sort(dim=1, stable=True)
                kept = order[:, :beam]  # (batch, beam)
                totals, parents, tokens, is_eos = (x.gather(1, kept) for x in (totals, parents, tokens, is_eos))
        self.totals = totals if is_eos is None else totals.masked_fill(is_eos, -torch.inf)
        rows = (self.first_rows + parents).flatten()
        self.newest = tokens.flatten()
        num_done = self._end_sentences()
        if num_done == len(self.live):
            self.live = []
            return
        if beam > 1 and not self.decoding.sampling:  # a sample goes on from itself
            self.state.reorder(rows)
            self.prefixes = self.prefixes.index_select(0, rows)
            self.token_log_probs = self.token_log_probs.index_select(0, rows)
        self._write(number - 1, self.newest, log_probs[rows, self.newest])
        if num_done and num_done >= _DROP_SHARE * len(self.live):
            self._drop_done()

    def _write(self, position: int, tokens: Tensor, log_probs: Tensor) -> None:
        """Extend the hypotheses by their newest tokens."""
        if position == self.prefixes.size(1):
            self.prefixes = torch.cat([self.prefixes, torch.empty_like(self.prefixes)], 1)
            self.token_log_probs = torch.cat([self.token_log_probs, torch.empty_like(self.token_log_probs)], 1)
        self.prefixes[:, position] = tokens
        self.token_log_probs[:, position] = log_probs

    def _end_sentences(self) -> int:
        """Mark the sentences whose result stands, kill what lives of them, and return how many they are.

        Raises:
            ModelError: The model's log-probabilities are not numbers.
        """
        ended = []
        for place, (sentence, best) in enumerate(zip(self.live, self.totals.amax(1).tolist(), strict=True)):
            # Where phrases are required, what is no number is no candidate, so that none may be left.
            if math.isnan(best) or (best == -math.inf and not sentence.is_done and not sentence.finished):
                raise ModelError(
                    "the model gives probabilities that are not numbers",
                    at="the search",
                    fix="its training diverged, or its file is damaged: use an earlier checkpoint",
                )
            if sentence.is_done or sentence.can_end(best, self.decoding):
                ended.append(place)
                sentence.is_done = True
        if ended:
            self.totals[ended] = -torch.inf
        return len(ended)

    def _drop_done(self) -> None:
        """Drop the sentences that are done from the batch."""
        staying = [place for place, sentence in enumerate(self.live) if not sentence.is_done]
        self.live = [self.live[place] for place in staying]
        rows = self._rows_of(staying)
        kept = torch.tensor(staying, device=rows.device)
        self.totals, self.newest = self.totals[kept], self.newest[rows]
        self.prefixes, self.token_log_probs = self.prefixes[rows], self.token_log_probs[rows]
        self.state.keep_sentences(kept)
        self._place_rows()


def _find_finishing(candidates: Candidates, is_eos: Tensor) -> Tensor:
    """Return where candidates end in EOS and may finish: `(batch, width)` bool."""
    if candidates.may_finish is None:
        return is_eos
    return is_eos & candidates.may_finish & (candidates.log_probs > -torch.inf)
