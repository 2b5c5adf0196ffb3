"""The choice of a step: which extensions of the live hypotheses are candidates to finish or to live on.

Beam search takes the most likely ones; sampling and lexical constraints choose in their own ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mtkit.decoding.guidance import Guidance

# Columns of the log-probabilities whose largest is found first; see `find_largest`.
_GROUP = 64


@dataclass(frozen=True)
class Step:
    """Where the search of a batch stands. Rows are sentence-major: sentence s has rows s * beam to s * beam + beam - 1.

    Attributes:
        number: Position of the token that is being chosen, from 1.
        prefixes: `(rows, number - 1)` int64, the target tokens that each hypothesis has so far.
        beam: Hypotheses of a sentence.
        sentences: What each sentence of the batch is held to.
        max_lengths: Of each sentence, its longest target in tokens, EOS included.
    """

    number: int
    prefixes: Tensor
    beam: int
    sentences: Sequence[Guidance]
    max_lengths: Sequence[int]


@dataclass(frozen=True)
class Candidates:
    """Extensions of each sentence's hypotheses, all `(batch, width)`, in the order in which they are to be kept.

    Attributes:
        log_probs: Of the whole hypothesis with the new token; -inf for what is no candidate.
        parents: Int64, which hypothesis of the sentence is extended: 0 to beam - 1.
        tokens: Int64, by which token.
        may_finish: Bool, True where the hypothesis is finished if the token is EOS.
        num_unmet: Int64, how many required phrases the hypothesis lacks; None if none has any to lack.
    """

    log_probs: Tensor
    parents: Tensor
    tokens: Tensor
    may_finish: Tensor
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
            best, tokens = log_probs.max(1, keepdim=True)
            return Candidates(
                best + totals, torch.zeros_like(tokens), tokens, torch.ones_like(tokens, dtype=torch.bool)
            )
        # One more than can become candidates, to see whether the beam holds all that is possible.
        width = min(2 * beam + 1, log_probs.size(-1))
        top, tokens = find_largest(log_probs, width)  # (rows, width)
        extended = top.view(batch, beam, width) + totals.unsqueeze(-1)
        is_open = (extended > -torch.inf) & (tokens.view_as(extended) != self.eos_id)
        nothing_pruned = is_open.flatten(1).sum(1, keepdim=True) <= beam  # (batch, 1)
        best, places = extended.flatten(1).topk(min(2 * beam, beam * width))  # (batch, 2 * beam)
        may_finish = nothing_pruned.expand_as(best).clone()
        may_finish[:, :beam] = True
        return Candidates(
            best, places.div(width, rounding_mode="floor"), tokens.view(batch, -1).gather(1, places), may_finish
        )


def find_largest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` largest of each row and their columns, as `topk`; both `(rows, count)`.

    Where a row is long, the largest of each group of columns are compared first: the largest `count` columns lie in the
    `count` groups with the largest maxima, so that only those are sorted.

    Args:
        values: `(rows, columns)`.
        count: At most `columns`.
    """
    rows, columns = values.shape
    groups = columns // _GROUP
    if groups < 2 * count:
        return values.topk(count)
    whole = values[:, : groups * _GROUP].view(rows, groups, _GROUP)  # (rows, groups, group)
    _, chosen = whole.amax(-1).topk(count)  # (rows, count)
    kept = whole.gather(1, chosen.unsqueeze(-1).expand(-1, -1, _GROUP)).flatten(1)  # (rows, count * group)
    rest = values[:, groups * _GROUP :]
    largest, places = torch.cat([kept, rest], 1).topk(count)  # (rows, count)
    group = chosen.gather(1, (places // _GROUP).clamp(max=count - 1))
    column = torch.where(
        places < kept.size(1), group * _GROUP + places % _GROUP, groups * _GROUP + places - kept.size(1)
    )
    return largest, column
