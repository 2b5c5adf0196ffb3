"""Dynamic beam allocation: a beam shared among hypotheses that have met more and fewer of the required phrases.

Extensions are sorted into banks by the number of constraint tokens met (Post and Vilar 2018, arXiv:1804.06609). The
places of the beam are dealt out in rounds, one to each bank that has an extension left; so the unused places of a bank
go to others. In a round, and so where there are more banks than places, banks come in the order of

    log-probability of the bank's next extension + worth * number of constraint tokens met.

Post and Vilar fill the banks from the highest down. With few places that puts all phrases at the beginning of the
translation; the worth of a token instead lets a phrase wait until the model finds it likely enough. Two rules see to
it that it does not wait for ever. Where the model would end a hypothesis that lacks something, extensions of it by
anything else than a token of a phrase come behind all others. And extensions with too little room left for what they
lack come last. So every phrase is met at every beam size, if there is room for them side by side and no filter
forbids it.

A beam of one is greedy, with these rules: the most likely token, but a phrase's token if it is at most `worth` behind,
or if the model would end, or if there is just enough room left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from mtkit.decoding.phrase_tracker import Progress

_WORTH = 4.0  # of a constraint token, in nats


class Extension(NamedTuple):
    """A live hypothesis with one more token.

    Attributes:
        log_prob: Of the whole.
        parent: The place of the hypothesis in the beam.
        token: The new token.
        progress: With the new token; EOS changes nothing.
        is_late: The model would end here, something is lacking, and the token is of no phrase.
    """

    log_prob: float
    parent: int
    token: int
    progress: Progress
    is_late: bool = False


def share_beam(
    extensions: Sequence[Extension], beam: int, room: int, eos_id: int
) -> tuple[list[Extension], list[Extension]]:
    """Choose the extensions of a sentence that finish, and those that live on.

    A hypothesis that meets all finishes if its EOS is among the first `beam` extensions of its bank, the highest, or if
    the beam holds every other extension. Banks compete for places, not for the end: in its bank the search is plain
    beam search, with the plain rule; ranked among all banks, an end would be held against hypotheses that may not end.

    Args:
        extensions: By EOS only of hypotheses that meet all. Of each bank, the best `beam` + 1 that are open, if it has
            so many.
        beam: Places.
        room: Tokens that may still follow the new one, EOS left out.
        eos_id: End of sentence.

    Returns:
        Those that finish; at most `beam` others, in the order in which they are to be kept.
    """
    ranked = sorted(extensions, key=lambda e: (-e.log_prob, e.parent, e.token))
    nothing_pruned = sum(e.token != eos_id for e in ranked) <= beam
    ends = []
    places: list[tuple[tuple[int, bool, int, float], Extension]] = []
    in_bank: Counter[int] = Counter()
    rounds: Counter[tuple[int, bool, int]] = Counter()
    for extension in ranked:
        log_prob, _, token, progress, is_late = extension
        rank = in_bank[progress.num_needed]
        in_bank[progress.num_needed] += 1
        if token == eos_id:
            if nothing_pruned or rank < beam:
                ends.append(extension)
            continue
        bank = (max(0, progress.num_needed - room), is_late, progress.num_needed)
        places.append(((*bank[:2], rounds[bank], _WORTH * progress.num_needed - log_prob), extension))
        rounds[bank] += 1
    places.sort(key=lambda place: place[0])
    return ends, [extension for _, extension in places[:beam]]
