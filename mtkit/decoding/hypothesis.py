"""What a search returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One translation as token ids.

    Attributes:
        token_ids: The target tokens, EOS left out.
        log_prob: Natural log-probability of the tokens and EOS, <= 0.
        score: `log_prob` after the length penalty; higher is better.
        is_cut: True if the maximum length ended it: EOS was not the model's own choice there.
        token_log_probs: Of each token and EOS, as the model gives it; their sum is `log_prob`, up to rounding.
    """

    token_ids: tuple[int, ...]
    log_prob: float
    score: float
    is_cut: bool
    token_log_probs: tuple[float, ...] = ()

    @property
    def num_tokens(self) -> int:
        """Number of tokens, EOS included."""
        return len(self.token_ids) + 1
