"""The choice of a step: which extensions of the live hypotheses are candidates to finish or to live on.

Beam search takes the most likely ones; sampling and lexical constraints choose in their own ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from mtkit.decoding.guidance import Guidance

# Columns of the log-probabilities whose largest is found first; see `find_largest`.
_GROUP = 64

# Up to so many numbers, one operation is faster than several that do less.
_FEW = 1 << 14


@dataclass(frozen=True)
class Step:
    """Where the search of a batch stands. Rows are sentence-major: sentence s has rows s * beam to s * beam + beam - 1.

    Attributes:
        number: Position of the token that is being chosen, from 1.
        written: `(rows, capacity)` int64, the target tokens that each hypothesis has so far, and room for more.
        beam: Hypotheses of a sentence.
        sentences: What each sentence of the batch is held to.
        max_lengths: Of each sentence, its longest target in tokens, EOS included.
    """

    number: int
    written: Tensor
    beam: int
    sentences: Sequence[Guidance]
    max_lengths: Sequence[int]

    @property
    def prefixes(self) -> Tensor:
        """The target tokens that each hypothesis has so far, `(rows, number - 1)` int64."""
        return self.written[:, : self.number - 1]


@dataclass(frozen=True)
class Candidates:
    """Extensions of each sentence's hypotheses, all `(batch, width)`, in the order in which they are to be kept.

    Attributes:
        log_probs: Of the whole hypothesis with the new token; -inf for what is no candidate.
        parents: Int64, which hypothesis of the sentence is extended: 0 to beam - 1.
        tokens: Int64, by which token.
        may_finish: Bool, True where the hypothesis is finished if the token is EOS; None where no token is EOS, and
            what is no candidate comes last.
        num_unmet: Int64, how many required phrases the hypothesis lacks; None if none has any to lack.
    """

    log_probs: Tensor
    parents: Tensor
    tokens: Tensor
    may_finish: Tensor | None
    num_unmet: Tensor | None = None


@dataclass(frozen=True)
class Observation:
    """A step of a batch as the search saw it; its tensors hold only while they are looked at.

    Attributes:
        step: Where the search stood.
        totals: `(batch, beam)` float32, log-probability of each hypothesis before the step; -inf for a dead one.
        log_probs: `(rows, vocab)` float32, of each next token; -inf for what was ruled out.
        candidates: What was chosen of them.
        is_kept: `(batch, width)` bool, True for the candidates that live on.
        is_finished: `(batch, width)` bool, True for those that ended and were collected.
    """

    step: Step
    totals: Tensor
    log_probs: Tensor
    candidates: Candidates
    is_kept: Tensor
    is_finished: Tensor


Observer = Callable[[Observation], None]


class Chooser(Protocol):
    """A way to choose candidates."""

    def choose(self, log_probs: Tensor, totals: Tensor, step: Step) -> Candidates:
        """Return candidates; the first `beam` of them that do not end in EOS live on.

        Args:
            log_probs: `(rows, vocab)` float32, of each next token; -inf for what is ruled out.
            totals: `(batch, beam)` float32, of the hypotheses so far; -inf for those that are dead.
            step: Where the search stands.
        """


class BeamChooser:
    """The best 2 x beam_size extensions of a sentence.

    A hypothesis finishes if its EOS is among the first beam_size of them, or if the beam holds every other candidate,
    so that nothing had to be pruned. A beam of one takes the best token, be it EOS or not.

    Args:
        eos_id: End of sentence.
    """

    def __init__(self, eos_id: int) -> None:
        self.eos_id = eos_id

    def choose(self, log_probs: Tensor, totals: Tensor, step: Step) -> Candidates:
        """Return the most likely extensions, best first; see `Chooser`."""
        batch, beam = totals.shape
        if beam == 1:
            best, tokens = find_largest(log_probs, 1)
            may_finish = torch.ones_like(tokens, dtype=torch.bool) if self._has_ends(tokens) else None
            return Candidates(best + totals, torch.zeros_like(tokens), tokens, may_finish)
        # One more than can become candidates, to see whether the beam holds all that is possible: at most `beam` end.
        vocab = log_probs.size(1)
        count = min(2 * beam + 1, vocab * beam)
        best, places = find_largest(log_probs.view(batch, -1), count, totals)  # (batch, count)
        parents, tokens = places.div(vocab, rounding_mode="floor"), places % vocab
        width = min(2 * beam, count)
        may_finish = None
        if self._has_ends(tokens):
            is_open = (best > -torch.inf) & (tokens != self.eos_id)
            nothing_pruned = is_open.sum(1, keepdim=True) <= beam  # (batch, 1)
            may_finish = nothing_pruned | (torch.arange(width, device=places.device) < beam)
        return Candidates(best[:, :width], parents[:, :width], tokens[:, :width], may_finish)

    def _has_ends(self, tokens: Tensor) -> bool:
        return bool((tokens == self.eos_id).any())


def find_largest(values: Tensor, count: int, added: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the `count` largest of each row and their columns, as `topk`; both `(rows, count)`.

    Where there is much to search, the largest of each group of columns are compared first: the largest `count` columns
    lie in the `count` groups with the largest maxima, so that only those are sorted.

    Args:
        values: `(rows, columns)`.
        count: At most `columns`.
        added: `(rows, parts)`: a row is so many parts of one length, and this is added to the values of each; None for
            nothing.
    """
    rows, columns = values.shape
    parts = 1 if added is None else added.size(1)
    length = columns // parts
    by_part = values.view(rows, parts, length)
    groups = math.ceil(length / _GROUP)
    if values.numel() <= _FEW or parts * groups < 2 * count:
        sums = (by_part if added is None else by_part + added.unsqueeze(-1)).flatten(1)
        return sums.max(1, keepdim=True) if count == 1 else sums.topk(count)
    padding = groups * _GROUP - length
    if padding:
        by_part = functional.pad(by_part, (0, padding), value=-torch.inf)
    by_group = by_part.view(rows, -1, _GROUP)  # (rows, parts * groups, group)
    maxima = by_group.amax(-1)
    if added is not None:
        added = added.repeat_interleave(groups, dim=1)  # (rows, parts * groups)
        maxima += added
    _, chosen = maxima.topk(count)
    found = by_group.gather(1, chosen.unsqueeze(-1).expand(-1, -1, _GROUP))  # (rows, count, group)
    if added is not None:
        found += added.gather(1, chosen).unsqueeze(-1)
    largest, order = found.flatten(1).topk(count)
    group = chosen.gather(1, order.div(_GROUP, rounding_mode="floor"))
    places = group * _GROUP + order % _GROUP
    if padding:  # of several -inf, some may be padding: their places are any
        places = (places - group.div(groups, rounding_mode="floor") * padding).clamp(max=columns - 1)
    return largest, places
