"""Sampling: translations drawn at random, by the model's probabilities.

A token is drawn by the Gumbel-max trick: it is the one for which log-probability + noise is largest, with independent
noise from the standard Gumbel distribution for each (Maddison et al. 2014, arXiv:1411.0030). Every noise is a function
of the seed, the sentence, the hypothesis, the step and the token alone, so a sample does not depend on the batch. Nor
do roundings that differ with the batch change it: two tokens would have to be as close as the rounding itself, where
an inverted cumulative sum over a whole vocabulary shifts at thousands of bounds at once.

To need less noise than one number a token, a group of `_GROUP` tokens is drawn first, then a token of the group; the
probabilities are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.candidates import Candidates, Step, find_largest
from mtkit.runtime.seeds import derive_seed

# Tokens that are drawn together first. Samples depend on it.
_GROUP = 128
# Among so many tokens the nucleus is looked for first.
_NUCLEUS = 64
# Below the first, a temperature leaves only the most likely token; above the second, all are equally likely. float32
# holds what lies between.
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 1e-30, 1e30


class Sampler:
    """Draws the next token of each hypothesis from softmax(log_probs / temperature), limited to top_k, then top_p.

    Args:
        decoding: Temperature, top_k, top_p and the seed.
    """

    def __init__(self, decoding: DecodingSection) -> None:
        self.decoding = decoding

    def choose(self, log_probs: Tensor, totals: Tensor, step: Step) -> Candidates:
        """Return one extension of each hypothesis, which may finish if it is EOS; see `Chooser`."""
        batch, beam = totals.shape
        scores = log_probs / min(max(self.decoding.temperature, _MIN_TEMPERATURE), _MAX_TEMPERATURE)
        if self.decoding.top_k is not None:
            scores = keep_top_k(scores, self.decoding.top_k)
        if self.decoding.top_p < 1:
            scores = keep_top_p(scores, self.decoding.top_p)
        seeds = [
            derive_seed(self.decoding.seed, "sampling", held_to.seed, index, step.number)
            for held_to in step.sentences
            for index in range(beam)
        ]
        tokens = draw(scores, seeds)
        own = log_probs.gather(1, tokens.unsqueeze(1)).view(batch, beam)
        return Candidates(
            log_probs=totals + own,
            parents=torch.arange(beam, device=totals.device).expand(batch, beam),
            tokens=tokens.view(batch, beam),
            may_finish=torch.ones_like(totals, dtype=torch.bool),
        )


def keep_top_k(scores: Tensor, count: int) -> Tensor:
    """Return scores `(rows, vocab)` with -inf for all but the `count` largest of each row; of equal ones, the first."""
    if count >= scores.size(1):
        return scores
    top, _ = find_largest(scores, count + 1)
    return _keep(scores, top, torch.full((len(scores), 1), count, device=scores.device))


def keep_top_p(scores: Tensor, probability: float) -> Tensor:
    """Return scores with -inf outside the nucleus (Holtzman et al. 2020, arXiv:1904.09751).

    It is the smallest set of most likely tokens that together reach the probability, and never empty; of equally
    likely tokens, the first are in it.

    Args:
        scores: `(rows, vocab)` float32, of which softmax makes probabilities.
        probability: In (0, 1].
    """
    total = scores.logsumexp(1, keepdim=True)
    width = min(_NUCLEUS, scores.size(1))
    while True:
        top, _ = find_largest(scores, width)
        reached = (top - total).exp().cumsum(1)  # (rows, width)
        if width == scores.size(1) or bool((reached[:, -2] >= probability).all()):
            break
        width = min(4 * width, scores.size(1))
    counts = 1 + (reached[:, :-1] < probability).sum(1, keepdim=True)
    return _keep(scores, top, counts)


def _keep(scores: Tensor, top: Tensor, counts: Tensor) -> Tensor:
    """Return scores with -inf for all but some of the largest of each row; of equal ones, the first are kept.

    Args:
        scores: `(rows, vocab)`.
        top: `(rows, width)`, the largest, sorted: all that are kept, and one more if there are more.
        counts: `(rows, 1)` int64, how many are kept, >= 1.
    """
    smallest = top.gather(1, counts - 1)
    left_out = top.gather(1, counts.clamp(max=top.size(1) - 1))
    if not bool(((left_out == smallest) & (smallest > -torch.inf) & (counts < top.size(1))).any()):
        return scores.masked_fill(scores < smallest, -torch.inf)
    is_above, is_equal = scores > smallest, scores == smallest
    room = counts - is_above.sum(1, keepdim=True)
    is_kept = is_above | (is_equal & (is_equal.cumsum(1) <= room))
    return scores.masked_fill(~is_kept, -torch.inf)


def draw(scores: Tensor, seeds: Sequence[int]) -> Tensor:
    """Return a token of each row, drawn from softmax(scores): `(rows,)` int64.

    Args:
        scores: `(rows, vocab)` float32; -inf for what has probability zero.
        seeds: Of each row: the token is a function of its scores and seed.
    """
    rows, vocab = scores.shape
    padded = torch.nn.functional.pad(scores, (0, -vocab % _GROUP), value=-torch.inf)
    groups = padded.view(rows, -1, _GROUP)
    num_groups = groups.size(1)
    noise = _draw_gumbel(seeds, num_groups + _GROUP).to(scores.device)
    group = (groups.logsumexp(2) + noise[:, :num_groups]).argmax(1)  # (rows,)
    within = groups[torch.arange(rows, device=scores.device), group]  # (rows, _GROUP)
    token: Tensor = (within + noise[:, num_groups:]).argmax(1)
    return group * _GROUP + token


def _draw_gumbel(seeds: Sequence[int], count: int) -> Tensor:
    """Return `count` numbers from the standard Gumbel distribution for each seed, `(seeds, count)` float32.

    They are functions of their seed and place alone: SplitMix64 (Steele et al. 2014), computed on the CPU in float64,
    so that they are the same on every device.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    bits = np.array(seeds, dtype=np.uint64)[:, None] + np.arange(1, count + 1, dtype=np.uint64) * golden
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52  # strictly between 0 and 1
    return torch.from_numpy((-np.log(-np.log(uniform))).astype(np.float32))
