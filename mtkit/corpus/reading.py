"""What a reader of parallel text yields, and what it tells while it reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

# Source lines and as many target lines.
Lines = tuple[list[str], list[str]]


@dataclass
class Reading:
    """The state of reading one source.

    Attributes:
        share: What has been read of it.
        repaired: How much was repaired in it, by kind.
        left_out: Pairs of it that are no training text, such as untranslated entries, by reason.
    """

    share: float = 0.0
    repaired: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def report_share(self, share: float) -> None:
        """Note that this share of the source has been read."""
        self.share = share
