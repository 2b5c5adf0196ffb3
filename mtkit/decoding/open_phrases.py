"""Which phrases of a required group can still appear, where other wishes stop some of them.

A search allots its beam by how many tokens a hypothesis lacks, and counts the shortest phrase of each group; one that
can never appear would make it give up the longer ones too early.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from mtkit.decoding.guidance import Guidance, Phrase
from mtkit.decoding.spellings import SpellingTracker

_ANY_TOKEN = -1  # one that no spelling has


def leave_out_stopped(held_to: Guidance, suppressed_ids: Collection[int] = ()) -> Guidance:
    """Return wishes without the required phrases that cannot appear, where another one of their group can.

    Args:
        held_to: Of a sentence.
        suppressed_ids: Tokens that are never produced.
    """
    may_stop = suppressed_ids or held_to.forbidden or held_to.limited
    if not may_stop or all(len(group) < 2 for group in held_to.required):
        return held_to
    trackers = [SpellingTracker(held_to.forbidden)]
    trackers += [SpellingTracker([spellings], allowed) for spellings, allowed in held_to.limited]

    def may_follow(phrase: Phrase, place: int) -> bool:
        """Return whether the token of a phrase at this place may follow those before it."""
        before = (_ANY_TOKEN, *phrase[:place])
        return phrase[place] not in suppressed_ids and not any(phrase[place] in t.find_last(before) for t in trackers)

    def is_open(phrase: Phrase) -> bool:
        free = _find_free(phrase, held_to.prefix)
        return any(all(may_follow(phrase, place) for place in places) for places in free)

    required = tuple(tuple(filter(is_open, group)) or group for group in held_to.required)
    return replace(held_to, required=required)


def _find_free(phrase: Phrase, prefix: Phrase) -> Sequence[range]:
    """Return which tokens of a phrase may stand behind the prefix: all, or fewer where the prefix has the others."""
    begun = (prefix[first:][: len(phrase)] for first in range(len(prefix) + 1))
    return [range(len(one), len(phrase)) for one in begun if phrase[: len(one)] == one]
