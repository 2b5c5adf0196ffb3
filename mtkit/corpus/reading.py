"""What a reader of parallel text yields, and what it tells while it reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

# Source lines and as many target lines.
Lines = tuple[list[str], list[str]]


@dataclass
class Reading:
    """The state of reading one source: the share that has been read, and what was repaired in it, by kind."""

    share: float = 0.0
    repaired: Counter[str] = field(default_factory=Counter)

    def report_share(self, share: float) -> None:
        """Note that this share of the source has been read."""
        self.share = share
