"""What is known about hypotheses by their tokens, found from what is known about the hypotheses that they extend."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Generic, TypeVar

from mtkit.decoding.guidance import Phrase

Known = TypeVar("Known")


class PrefixMemory(Generic[Known]):
    """Remembers the hypotheses of one length and of the length before.

    What is remembered stays small: hypotheses of one length are asked for, then those one token longer. It does not
    hold the owner of `advance`, which would then outlive its use until the garbage collector finds the two.

    Args:
        start: What is known about the hypothesis without tokens.
    """

    def __init__(self, start: Known) -> None:
        self.start = start
        self._old: dict[Phrase, Known] = {}
        self._new: dict[Phrase, Known] = {(): start}

    def __len__(self) -> int:
        return len(self._old) + len(self._new)

    def follow(self, prefix: Phrase, advance: Callable[[Known, int], Known]) -> Known:
        """Return what is known about a hypothesis.

        Args:
            prefix: Its tokens.
            advance: Makes of what is known about a hypothesis, and one more token, what is known about the longer one.
        """
        if prefix not in self._new:
            if self._new and len(prefix) != len(next(iter(self._new))):
                self._old, self._new = self._new, {}
            if prefix and (parent := self._old.get(prefix[:-1])) is not None:
                self._new[prefix] = advance(parent, prefix[-1])
            else:
                self._new[prefix] = reduce(advance, prefix, self.start)
        return self._new[prefix]
