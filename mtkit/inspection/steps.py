"""Decoding step by step: the hypotheses before each step, and the extensions among which the search chose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mtkit.config.model import ModelConfig
from mtkit.corpus.tokenizer import Tokenizer
from mtkit.decoding.candidates import Observation

# At a narrow beam, so many extensions are shown nevertheless.
LEAST_CANDIDATES = 5

_DIGITS = 6


class StepWriter:
    """Observes the search of a single sentence, and keeps each step as data.

    A step has `hypotheses`, the live ones before it, best first; and `candidates`, what they can be extended by, as the
    beam ranked it: `parent` counts the hypotheses, `log_prob` is the token's and `total` the hypothesis' with it (both
    natural), `kept` candidates live on, and `finished` ones ended and were collected.

    Args:
        tokenizer: Of the target side.

    Attributes:
        steps: The steps so far.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.steps: list[dict[str, Any]] = []
        self._tokenizer = tokenizer

    def __call__(self, seen: Observation) -> None:
        """Keep a step."""
        totals = seen.totals[0]
        # Those that live on stand first, best first: a row is the number of its hypothesis.
        rows = [row for row in range(len(totals)) if totals[row] > -torch.inf]
        hypotheses = [
            {"tokens": self._tokenizer.pieces(seen.step.prefixes[row].tolist()), "log_prob": _round(totals[row])}
            for row in rows
        ]
        marks = {
            (int(parent), int(token)): (bool(kept), bool(finished))
            for parent, token, kept, finished in zip(
                seen.candidates.parents[0],
                seen.candidates.tokens[0],
                seen.is_kept[0],
                seen.is_finished[0],
                strict=True,
            )
        }
        extended = seen.log_probs + totals.unsqueeze(1)  # (beam, vocab)
        count = min(max(LEAST_CANDIDATES, 2 * len(totals)), extended.numel())
        best, flat = extended.flatten().topk(count)
        pairs = [divmod(place, extended.size(1)) for place in flat[best > -torch.inf].tolist()]
        # What the beam chose comes first, in its order; then what it would have looked at next.
        ranked = [pair for pair in marks if extended[pair] > -torch.inf]
        ranked += [pair for pair in pairs if pair not in marks]
        candidates = [
            self._describe(
                row,
                token,
                seen.log_probs[row, token],
                extended[row, token],
                *marks.get((row, token), (False, False)),
            )
            for row, token in ranked[:count]
        ]
        self.steps.append({"hypotheses": hypotheses, "candidates": candidates})

    def _describe(
        self, parent: int, token: int, log_prob: Tensor, total: Tensor, is_kept: bool, is_finished: bool
    ) -> dict[str, Any]:
        return {
            "parent": parent,
            "token": self._tokenizer.pieces([token])[0],
            "log_prob": _round(log_prob),
            "total": _round(total),
            "kept": is_kept,
            "finished": is_finished,
        }


def describe_forced(
    logits: Tensor, target: Sequence[int], tokenizer: Tokenizer, config: ModelConfig
) -> list[dict[str, Any]]:
    """Return the steps of a target that was given: the likeliest next tokens of each, and the one that was forced.

    Args:
        logits: `(len(target) + 1, vocab)`, of each next token.
        target: Without EOS.
        tokenizer: Of the target side.
        config: Of the model.
    """
    log_probs = torch.log_softmax(logits.float(), -1)
    forced = [*target, config.eos_id]
    totals = log_probs[torch.arange(len(forced)), torch.tensor(forced)].double().cumsum(0).tolist()
    impossible = [token for token in {config.pad_id, config.bos_id} if token not in forced]
    ranked = log_probs.clone()
    ranked[:, impossible] = -torch.inf
    steps = []
    for place, token in enumerate(forced):
        before = totals[place - 1] if place else 0.0
        tokens = ranked[place].topk(min(LEAST_CANDIDATES, ranked.size(1))).indices.tolist()
        tokens = tokens if token in tokens else [*tokens, token]
        candidates = [
            {
                "parent": 0,
                "token": tokenizer.pieces([other])[0],
                "log_prob": _round(log_probs[place, other]),
                "total": round(before + float(log_probs[place, other]), _DIGITS),
                "kept": other == token,
                "finished": other == token == config.eos_id,
            }
            for other in tokens
        ]
        hypothesis = {"tokens": tokenizer.pieces(forced[:place]), "log_prob": round(before, _DIGITS)}
        steps.append({"hypotheses": [hypothesis], "candidates": candidates})
    return steps


def _round(value: Tensor) -> float:
    return round(float(value), _DIGITS)
