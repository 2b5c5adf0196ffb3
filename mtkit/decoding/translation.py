"""What a translator returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtkit.decoding.splitting import Part, join_translations


@dataclass(frozen=True)
class Alternative:
    """One of the n best translations of a line.

    Attributes:
        text: A single line.
        score: Log-probability after the length penalty; higher is better. Of a line translated in parts, the sum.
        log_prob: Natural log-probability, <= 0, EOS included.
        num_tokens: Target tokens, EOS included.
        is_cut: True if the maximum length ended it.
    """

    text: str = ""
    score: float = 0.0
    log_prob: float = 0.0
    num_tokens: int = 0
    is_cut: bool = False


@dataclass(frozen=True)
class Translation:
    """The translation of one line: the best one, and the alternatives to it.

    Attributes:
        source: The line as it was given.
        alternatives: The n best translations, best first, so that the first is the translation itself. An empty line
            has as many, all empty.
        num_parts: Parts that the line was translated in: 0 for an empty line, above 1 for one too long for the model.
    """

    source: str
    alternatives: tuple[Alternative, ...]
    num_parts: int

    @property
    def text(self) -> str:
        """The best translation; a single line."""
        return self.alternatives[0].text

    @property
    def score(self) -> float:
        """Log-probability after the length penalty; higher is better."""
        return self.alternatives[0].score

    @property
    def log_prob(self) -> float:
        """Natural log-probability, <= 0, EOS included."""
        return self.alternatives[0].log_prob

    @property
    def num_tokens(self) -> int:
        """Target tokens, EOS included."""
        return self.alternatives[0].num_tokens

    @property
    def is_cut(self) -> bool:
        """True if the maximum length ended the translation, or one of its parts."""
        return self.alternatives[0].is_cut


def combine_parts(parts: Sequence[Part], found: Sequence[Sequence[Alternative]]) -> tuple[Alternative, ...]:
    """Return the alternatives of a line that was translated in parts.

    The i-th alternative puts the i-th of each part together; of a part that has fewer, its last.

    Args:
        parts: The parts of the line.
        found: The alternatives of each part, best first.
    """
    combined = []
    for rank in range(max(map(len, found))):
        chosen = [alternatives[min(rank, len(alternatives) - 1)] for alternatives in found]
        combined.append(
            Alternative(
                text=join_translations([a.text for a in chosen], parts),
                score=sum(a.score for a in chosen),
                log_prob=sum(a.log_prob for a in chosen),
                num_tokens=sum(a.num_tokens for a in chosen),
                is_cut=any(a.is_cut for a in chosen),
            )
        )
    return tuple(combined)
