"""What the search of one sentence is held to."""

from __future__ import annotations

from dataclasses import dataclass

Phrase = tuple[int, ...]


@dataclass(frozen=True)
class Guidance:
    """Wishes for the translation of one sentence, in tokens of the target.

    Attributes:
        prefix: What every hypothesis begins with.
        required: What must appear: of each group, one of its phrases.
        forbidden: Phrases that must not appear.
        seed: Of the sentence's own random numbers, when it is sampled.
    """

    prefix: Phrase = ()
    required: tuple[tuple[Phrase, ...], ...] = ()
    forbidden: tuple[Phrase, ...] = ()
    seed: int = 0
