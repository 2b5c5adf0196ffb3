"""What the search of one sentence is held to."""

from __future__ import annotations

from dataclasses import dataclass

Phrase = tuple[int, ...]

# Nodes of `Spellings`: where every hypothesis stands, where one stands that a new word may follow, and the end.
ANYWHERE, AT_WORD, END = 0, 1, -1


@dataclass(frozen=True)
class Spellings:
    """All ways to spell a text in tokens: the paths through a graph from `ANYWHERE` or `AT_WORD` to `END`.

    Attributes:
        edges: Of each, the node that it leaves, the token, and the node that it leads to; others are above `AT_WORD`.
        openers: The tokens behind which a hypothesis stands `AT_WORD`, as it does at its beginning.
    """

    edges: tuple[tuple[int, int, int], ...]
    openers: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Guidance:
    """Wishes for the translation of one sentence, in tokens of the target.

    Attributes:
        prefix: What every hypothesis begins with.
        required: What must appear: of each group, one of its phrases.
        forbidden: What must not appear: tokens in this order, or a text in any spelling.
        limited: What may appear only so often.
        seed: Of the sentence's own random numbers, when it is sampled.
    """

    prefix: Phrase = ()
    required: tuple[tuple[Phrase, ...], ...] = ()
    forbidden: tuple[Phrase | Spellings, ...] = ()
    limited: tuple[tuple[Spellings, int], ...] = ()
    seed: int = 0
