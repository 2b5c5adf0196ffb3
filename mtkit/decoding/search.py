"""Beam search. Greedy search is a beam of one.

At each step every live hypothesis is extended by every token, and the best 2 x beam_size extensions of a sentence are
its candidates. A candidate that ends in EOS is finished if it is among the first beam_size of them (or if the beam
holds every other candidate, so that nothing had to be pruned). The best beam_size others live on. At the maximum length
EOS is the only extension.

A sentence is done when it has n_best finished hypotheses that no live one can overtake: a log-probability never rises,
and the length penalty is largest at the maximum length, so `log_prob / penalty(maximum length)` bounds what a live
hypothesis can still reach. A beam of one has nothing to compare and is done at its first EOS.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.hypothesis import Hypothesis
from mtkit.model.transformer import Transformer


def length_penalty(length: int, decoding: DecodingSection) -> float:
    """Return the divisor applied to the log-probability of a hypothesis of `length` tokens, EOS included.

    `wu` is Wu et al. 2016 (arXiv:1609.08144), section 7: ((5 + n) / 6) ** alpha; `length` is n ** alpha.
    """
    if decoding.length_penalty_type == "wu":
        return float(((5 + length) / 6) ** decoding.length_penalty)
    return float(length**decoding.length_penalty)


def max_target_length(src_len: int, decoding: DecodingSection, limit: int | None = None) -> int:
    """Return how many tokens, EOS included, the translation of `src_len` source tokens (EOS excluded) may have."""
    length = math.ceil(decoding.max_length_ratio * src_len) + decoding.max_length_extra
    return length if limit is None else min(length, limit)


@dataclass
class _Sentence:
    """The search of one sentence: its place in the batch, its limit, and its best finished hypotheses, worst first."""

    index: int
    max_length: int
    finished: list[tuple[float, Hypothesis]] = field(default_factory=list)

    def add(self, hypothesis: Hypothesis, n_best: int) -> None:
        bisect.insort(self.finished, (hypothesis.score, hypothesis), key=lambda entry: entry[0])
        if len(self.finished) > n_best:
            self.finished.pop(0)

    def is_done(self, best_live: float, decoding: DecodingSection) -> bool:
        if len(self.finished) < decoding.n_best:
            return best_live == -math.inf
        return decoding.beam_size == 1 or best_live / length_penalty(self.max_length, decoding) <= self.finished[0][0]


def search(model: Transformer, src_ids: Tensor, decoding: DecodingSection) -> list[list[Hypothesis]]:
    """Translate a batch.

    Args:
        model: In evaluation mode; call this under `torch.inference_mode()`.
        src_ids: `(batch, src_len)` int64, EOS included, padded with `pad_id` behind.
        decoding: Beam size, length penalty, n_best and maximum length.

    Returns:
        For each sentence its `n_best` hypotheses, best first.
    """
    source_lengths = (src_ids != model.config.pad_id).sum(1).tolist()
    sentences = [
        _Sentence(i, max_target_length(length - 1, decoding, model.max_length))
        for i, length in enumerate(source_lengths)
    ]
    return _Search(model, src_ids, decoding, sentences).run()


class _Search:
    """The search of a batch. Rows are sentence-major: sentence s has rows s * beam to s * beam + beam - 1."""

    def __init__(
        self, model: Transformer, src_ids: Tensor, decoding: DecodingSection, sentences: list[_Sentence]
    ) -> None:
        self.model = model
        self.decoding = decoding
        self.beam = decoding.beam_size
        self.sentences = sentences
        self.live = list(sentences)
        device = src_ids.device
        self.state = model.start_decoding(src_ids)
        # At the first step all rows of a sentence are alike: all but one are ruled out.
        self.log_probs = torch.full((len(sentences), self.beam), -torch.inf, device=device)
        self.log_probs[:, 0] = 0
        self.history = torch.empty(len(sentences) * self.beam, 0, dtype=torch.int64, device=device)
        self.newest = torch.full((len(self.history),), model.config.decoder_start_id, device=device)

    def run(self) -> list[list[Hypothesis]]:
        step = 0
        while self.live:
            step += 1
            self._advance(step)
        return [[hypothesis for _, hypothesis in reversed(s.finished)] for s in self.sentences]

    def _advance(self, step: int) -> None:
        """Decode one token of every live hypothesis, collect what finished, and choose what lives on."""
        config, beam = self.model.config, self.beam
        logits = self.model.decode_step(self.newest, self.state).float()  # (rows, vocab)
        log_total = logits.logsumexp(-1, keepdim=True)
        best_token = logits.argmax(-1)
        logits[:, [config.pad_id, config.bos_id]] = -torch.inf
        self._force_eos(logits, step)
        # One more than can become candidates, to see whether the beam holds all that is possible.
        width = min(2 * beam + 1, logits.size(-1))
        top, tokens = logits.topk(width)  # (rows, width)
        totals = (top - log_total).view(len(self.live), beam, width) + self.log_probs.unsqueeze(-1)
        is_open = (totals > -torch.inf) & (tokens.view_as(totals) != config.eos_id)
        nothing_pruned = is_open.flatten(1).sum(1, keepdim=True) <= beam  # (batch, 1)
        candidates, places = totals.flatten(1).topk(min(2 * beam, beam * width))  # (batch, 2 * beam)
        parents = places.div(width, rounding_mode="floor")  # (batch, 2 * beam), which hypothesis was extended
        tokens = tokens.view(len(self.live), -1).gather(1, places)
        is_eos = tokens == config.eos_id
        is_finishing = is_eos & (candidates > -torch.inf)
        is_finishing[:, beam:] &= nothing_pruned
        self._collect(candidates, parents, is_finishing, best_token, step)
        self._select(candidates, parents, tokens, is_eos)

    def _force_eos(self, logits: Tensor, step: int) -> None:
        """Leave EOS as the only extension of the sentences that have reached their maximum length."""
        at_limit = [place for place, sentence in enumerate(self.live) if step >= sentence.max_length]
        if at_limit:
            rows = torch.tensor(at_limit, device=logits.device).unsqueeze(1) * self.beam
            rows = (rows + torch.arange(self.beam, device=logits.device)).flatten()
            eos = logits[rows, self.model.config.eos_id]
            logits[rows] = -torch.inf
            logits[rows, self.model.config.eos_id] = eos

    def _collect(
        self, candidates: Tensor, parents: Tensor, is_finishing: Tensor, best_token: Tensor, step: int
    ) -> None:
        """Keep the candidates that end in EOS and rank high enough."""
        penalty = length_penalty(step, self.decoding)
        for place, rank in is_finishing.nonzero().tolist():
            sentence = self.live[place]
            row = place * self.beam + int(parents[place, rank])
            log_prob = float(candidates[place, rank])
            is_cut = step >= sentence.max_length and int(best_token[row]) != self.model.config.eos_id
            token_ids = tuple(self.history[row].tolist())
            sentence.add(Hypothesis(token_ids, log_prob, log_prob / penalty, is_cut), self.decoding.n_best)

    def _select(self, candidates: Tensor, parents: Tensor, tokens: Tensor, is_eos: Tensor) -> None:
        """Let the best candidates that did not end live on, and drop the sentences that are done."""
        beam, device = self.beam, candidates.device
        open_candidates = candidates.masked_fill(is_eos, -torch.inf)
        self.log_probs, ranks = open_candidates.topk(beam)  # (batch, beam)
        parents, tokens = parents.gather(1, ranks), tokens.gather(1, ranks)
        best_live = self.log_probs[:, 0].tolist()
        staying = [
            place
            for place, (sentence, best) in enumerate(zip(self.live, best_live, strict=True))
            if not sentence.is_done(best, self.decoding)
        ]
        first_rows = torch.arange(len(self.live), device=device).unsqueeze(1) * beam
        rows = (first_rows + parents).flatten()
        is_smaller = len(staying) < len(self.live)
        if is_smaller:
            kept = torch.tensor(staying, dtype=torch.int64, device=device)
            rows = rows.view(-1, beam)[kept].flatten()
            self.log_probs, tokens = self.log_probs[kept], tokens[kept]
            self.live = [self.live[place] for place in staying]
            if staying:
                self.state.keep_sentences(kept, rows)
        elif beam > 1:
            self.state.reorder(rows)
        self.newest = tokens.flatten()
        self.history = torch.cat([self.history[rows], self.newest.unsqueeze(1)], dim=1)
