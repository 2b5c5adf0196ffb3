"""How much of the required phrases a hypothesis has met: a pure function of its tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

from mtkit.decoding.guidance import Phrase
from mtkit.decoding.prefix_memory import PrefixMemory


@dataclass(frozen=True)
class Progress:
    """Where a hypothesis stands.

    Attributes:
        missing: At how many more places each of the tracker's groups must be met.
        matched: The longest end of the hypothesis that begins a phrase of a group still missing; a trie's node.
        num_missing: Tokens that suffice to meet everything, if nothing overlaps and no phrase is begun.
        num_begun: How many of these a phrase that is begun saves.
    """

    missing: tuple[int, ...]
    matched: Phrase
    num_missing: int
    num_begun: int = 0

    @property
    def num_needed(self) -> int:
        """Tokens that suffice to meet everything, if nothing overlaps."""
        return self.num_missing - self.num_begun

    @property
    def num_unmet(self) -> int:
        """Required groups that are not met."""
        return sum(self.missing)


class PhraseTracker:
    """Follows the required phrases through a hypothesis.

    A group is met where one of its phrases ends. Phrases may overlap, and different groups may be met at one place; a
    group that is required twice must be met at two places. Where a partial match fails, the search goes on from the
    longest end of it that begins a phrase (Aho and Corasick 1975), so that no occurrence is missed; Hu et al. 2019
    (N19-1090) restart from the root of their trie, and miss some. A group without phrases, or with an
    empty one, is always met.

    Args:
        required: Groups of alternative phrases, each phrase a tuple of token ids.
        room: Longest phrase that there is room for, in tokens: groups with longer ones only are not followed. None for
            no limit.
    """

    def __init__(self, required: Sequence[Sequence[Phrase]], room: int | None = None) -> None:
        groups = [frozenset(group) for group in required if group and all(group)]
        wanted = Counter(g for g in groups if room is None or min(map(len, g)) <= room)
        self._groups = tuple(wanted)
        self._lengths = tuple(min(map(len, group)) for group in wanted)
        self._ended: dict[Phrase, list[int]] = {}  # groups that are met where this phrase ends
        # Of each proper beginning of a phrase: the groups it may lead to, the next token, and the tokens still to come.
        self._begun: dict[Phrase, list[tuple[int, int, int]]] = {}
        for group, phrases in enumerate(wanted):
            for phrase in sorted(phrases):
                self._ended.setdefault(phrase, []).append(group)
                for size in range(len(phrase)):
                    self._begun.setdefault(phrase[:size], []).append((group, phrase[size], len(phrase) - size))
        self.start = Progress(tuple(wanted.values()), (), sum(map(mul, wanted.values(), self._lengths)))
        self.memory = PrefixMemory(self.start)

    def advance(self, progress: Progress, token_id: int) -> Progress:
        """Return where the hypothesis stands after one more token."""
        tail = (*progress.matched, token_id)
        met = {group for end in _list_ends(tail) for group in self._ended.get(end, ()) if progress.missing[group]}
        if not met:
            return self._place(progress.missing, progress.num_missing, tail)
        missing = list(progress.missing)
        for group in met:
            missing[group] -= 1
        return self._place(tuple(missing), progress.num_missing - sum(self._lengths[group] for group in met), tail)

    def find_continuations(self, progress: Progress) -> set[int]:
        """Return the tokens that begin or continue a phrase of a group still missing."""
        return {
            token_id
            for end in (*_list_ends(progress.matched), ())
            for group, token_id, _ in self._begun.get(end, ())
            if progress.missing[group]
        }

    def count_missing(self, progress: Progress) -> Counter[frozenset[Phrase]]:
        """Return at how many more places each group must be met."""
        return Counter(dict(zip(self._groups, progress.missing, strict=True)))

    def leave(self, progress: Progress) -> Progress:
        """Return where the hypothesis stands after any token that is no continuation."""
        return self._place(progress.missing, progress.num_missing, ())

    def follow(self, prefix: Phrase) -> Progress:
        """Return where a hypothesis stands; see `PrefixMemory`."""
        return self.memory.follow(prefix, self.advance)

    def _place(self, missing: tuple[int, ...], num_missing: int, tail: Phrase) -> Progress:
        """Return the progress of a hypothesis that misses so much and has this end."""
        matched: Phrase = ()
        num_begun = 0  # tokens of the group that is nearest to its end
        for end in _list_ends(tail):
            for group, _, to_come in self._begun.get(end, ()):
                if missing[group]:
                    matched = matched or end
                    num_begun = max(num_begun, self._lengths[group] - to_come)
        return Progress(missing, matched, num_missing, num_begun)


def _list_ends(tokens: Phrase) -> list[Phrase]:
    """Return the ends of a sequence, the whole first, without the empty one."""
    return [tokens[first:] for first in range(len(tokens))]
