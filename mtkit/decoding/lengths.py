"""How long a translation may be, and what its length counts for."""

from __future__ import annotations

import math

from mtkit.config.decoding import DecodingSection


def length_penalty(length: int, decoding: DecodingSection) -> float:
    """Return the divisor applied to the log-probability of a hypothesis of `length` tokens, EOS included.

    `wu` is Wu et al. 2016 (arXiv:1609.08144), section 7: ((5 + n) / 6) ** alpha; `length` is n ** alpha.
    """
    if decoding.length_penalty_type == "wu":
        return float(((5 + length) / 6) ** decoding.length_penalty)
    return float(length**decoding.length_penalty)


def max_target_length(src_len: int, decoding: DecodingSection, limit: int | None = None) -> int:
    """Return how many tokens, EOS included, the translation of `src_len` source tokens (EOS excluded) may have."""
    length = math.ceil(decoding.max_length_ratio * src_len) + decoding.max_length_extra
    return length if limit is None else min(length, limit)
