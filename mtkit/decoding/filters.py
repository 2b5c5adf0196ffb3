"""Logit filters: what a hypothesis may not be extended by.

A batch builds only those that it needs, so that a plain search pays for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from mtkit.config.decoding import DecodingSection
from mtkit.config.model import ModelConfig
from mtkit.decoding.candidates import Step
from mtkit.decoding.guidance import Guidance
from mtkit.decoding.spellings import SpellingTracker


class LogitFilter(Protocol):
    """Rules tokens out."""

    def __call__(self, log_probs: Tensor, step: Step) -> None:
        """Put -inf, in place, where a token may not follow.

        Args:
            log_probs: `(rows, vocab)` float32, of each next token. Other values stay: they make up the scores.
            step: Where the search stands.
        """


def build_filters(
    decoding: DecodingSection, config: ModelConfig, guidance: Sequence[Guidance], suppressed_ids: Sequence[int] = ()
) -> list[LogitFilter]:
    """Return the filters that a batch needs.

    Args:
        decoding: Minimum length, n-grams that may not repeat.
        config: Of the model: its special ids.
        guidance: Of each sentence of the batch.
        suppressed_ids: Tokens that are never produced: the ids of `decoding.suppressed`.
    """
    filters: list[LogitFilter] = []
    if suppressed_ids:
        filters.append(SuppressedTokens(suppressed_ids))
    if decoding.min_length > 0:
        filters.append(MinLength(decoding.min_length, config.eos_id))
    if decoding.no_repeat_ngram is not None:
        filters.append(NoRepeatNgram(decoding.no_repeat_ngram))
    if any(held_to.forbidden or held_to.limited for held_to in guidance):
        filters.append(ForbiddenPhrases())
    if any(held_to.prefix for held_to in guidance):
        return [ForcedPrefix(filters)]
    return filters


class SuppressedTokens:
    """Tokens that are never produced.

    Args:
        token_ids: Which.
    """

    def __init__(self, token_ids: Sequence[int]) -> None:
        self.token_ids = sorted(set(token_ids))

    def __call__(self, log_probs: Tensor, step: Step) -> None:
        """Rule the tokens out; see `LogitFilter`."""
        log_probs.index_fill_(1, torch.tensor(self.token_ids, device=log_probs.device), -torch.inf)


class MinLength:
    """No EOS before a number of tokens, or before the sentence's maximum length if that is less.

    Args:
        min_length: Number of tokens, EOS not counted.
        eos_id: End of sentence.
    """

    def __init__(self, min_length: int, eos_id: int) -> None:
        self.min_length = min_length
        self.eos_id = eos_id

    def __call__(self, log_probs: Tensor, step: Step) -> None:
        """Rule EOS out while a hypothesis is too short; see `LogitFilter`."""
        if step.number > self.min_length:
            return
        may_go_on = torch.tensor([step.number < longest for longest in step.max_lengths], device=log_probs.device)
        log_probs[may_go_on.repeat_interleave(step.beam), self.eos_id] = -torch.inf


class NoRepeatNgram:
    """No n-gram appears twice in a hypothesis.

    Args:
        size: Its tokens, >= 1.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, log_probs: Tensor, step: Step) -> None:
        """Rule out what followed each earlier appearance of the last size - 1 tokens; see `LogitFilter`."""
        if step.number <= self.size:
            return
        ngrams = step.prefixes.unfold(1, self.size, 1)  # (rows, number - size, size)
        newest = step.prefixes[:, step.number - self.size :]  # (rows, size - 1)
        is_repeated = (ngrams[:, :, :-1] == newest.unsqueeze(1)).all(-1)  # (rows, number - size)
        rows, places = is_repeated.nonzero(as_tuple=True)
        log_probs[rows, ngrams[rows, places, -1]] = -torch.inf


class ForbiddenPhrases:
    """No forbidden phrase of a sentence, and a limited one only so often.

    What would end it is ruled out where the rest was just produced.
    """

    def __init__(self) -> None:
        self._sentences: list[Guidance] | None = None
        self._trackers: dict[Any, list[SpellingTracker]] = {}
        self._held: list[tuple[int, list[SpellingTracker]]] = []  # places in the batch

    def __call__(self, log_probs: Tensor, step: Step) -> None:
        """Rule the ends of phrases out; see `LogitFilter`."""
        sentences = list(step.sentences)
        if sentences != self._sentences:  # at first, and when some left the batch
            self._sentences = sentences
            self._held = [
                (place, self._get_trackers(one)) for place, one in enumerate(sentences) if one.forbidden or one.limited
            ]
        rows = [place * step.beam + i for place, _ in self._held for i in range(step.beam)]
        prefixes = step.prefixes[torch.tensor(rows, dtype=torch.int64, device=log_probs.device)].tolist()
        trackers = (of_one for _, of_one in self._held for _ in range(step.beam))
        out = [
            (row, token_id)
            for row, prefix, of_one in zip(rows, prefixes, trackers, strict=True)
            for tracker in of_one
            for token_id in tracker.find_last(tuple(prefix))
        ]
        places, tokens = torch.tensor(out, dtype=torch.int64, device=log_probs.device).view(-1, 2).unbind(1)
        log_probs[places, tokens] = -torch.inf

    def _get_trackers(self, held_to: Guidance) -> list[SpellingTracker]:
        """Return the trackers of a sentence. Sentences with the same phrases share them."""
        key = held_to.forbidden, held_to.limited
        if key not in self._trackers:
            limited = [SpellingTracker([spellings], allowed) for spellings, allowed in held_to.limited]
            self._trackers[key] = [SpellingTracker(held_to.forbidden), *limited]
        return self._trackers[key]


class ForcedPrefix:
    """The tokens of a sentence's prefix, one after the other, whatever other filters say.

    Their log-probabilities stay the model's own.

    Args:
        others: Filters that hold outside the prefix; its tokens count as those of the hypothesis.
    """

    def __init__(self, others: Sequence[LogitFilter]) -> None:
        self.others = others

    def __call__(self, log_probs: Tensor, step: Step) -> None:
        """Rule out all but the prefix's token, for the sentences that have one here; see `LogitFilter`."""
        forced = [
            (place, held_to.prefix[step.number - 1])
            for place, held_to in enumerate(step.sentences)
            if len(held_to.prefix) >= step.number
        ]
        places, tokens = torch.tensor(forced, dtype=torch.int64, device=log_probs.device).view(-1, 2).unbind(1)
        rows = places.unsqueeze(1) * step.beam + torch.arange(step.beam, device=log_probs.device)
        columns = tokens.unsqueeze(1)
        own = log_probs[rows, columns]  # (sentences, beam)
        for rule_out in self.others:
            rule_out(log_probs, step)
        log_probs[rows] = -torch.inf
        log_probs[rows, columns] = own
