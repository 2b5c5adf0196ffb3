"""Alternatives at the position behind a prefix: each of the likeliest next tokens begins a search of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mtkit.decoding.candidates import Step, find_largest
from mtkit.decoding.filters import LogitFilter
from mtkit.decoding.guidance import Guidance, Phrase
from mtkit.decoding.search import Model


def next_tokens(
    model: Model,
    src_ids: Tensor,
    prefixes: Sequence[Phrase],
    count: int,
    filters: Sequence[LogitFilter] = (),
    guidance: Sequence[Guidance] | None = None,
) -> list[list[int]]:
    """Return, for each sentence, the most likely tokens behind its prefix, best first.

    Padding, BOS and EOS are never among them.

    Args:
        model: In evaluation mode; call this under `torch.inference_mode()`.
        src_ids: `(batch, src_len)` int64, EOS included, padded with `pad_id` behind.
        prefixes: Of each sentence, the target tokens before the position; may be empty.
        count: How many tokens; fewer come back where fewer are possible, none where the model's greatest length has no
            room for one.
        filters: What else rules tokens out: those of the search, as `build_filters` returns them.
        guidance: Of each sentence, for the filters.
    """
    config = model.config
    impossible = torch.tensor(sorted({config.pad_id, config.bos_id, config.eos_id}), device=src_ids.device)
    last_length = max(map(len, prefixes), default=0)
    if model.max_length is not None:
        last_length = min(last_length, model.max_length - 1)
    padded = [[*prefix, *[config.eos_id] * last_length][:last_length] for prefix in prefixes]
    fed = torch.tensor(padded, dtype=torch.int64, device=src_ids.device).view(len(prefixes), last_length)
    state = model.start_decoding(src_ids, 1)
    newest = torch.full((len(prefixes),), config.decoder_start_id, device=src_ids.device)
    sentences = [Guidance(prefix) for prefix in prefixes] if guidance is None else guidance
    # One position more than any prefix has, so that no filter takes the position for the last one.
    max_lengths = [last_length + 2] * len(prefixes)
    found: list[list[int]] = [[] for _ in prefixes]
    for length in range(last_length + 1):
        logits = model.decode_step(newest, state)
        ending = [place for place, prefix in enumerate(prefixes) if len(prefix) == length]
        if ending:
            log_probs = torch.log_softmax(logits.float(), -1)  # (batch, vocab)
            log_probs.index_fill_(1, impossible, -torch.inf)
            for rule_out in filters:
                rule_out(log_probs, Step(length + 1, fed[:, :length], 1, sentences, max_lengths))
            best, tokens = find_largest(log_probs[ending], min(count, log_probs.size(1)))
            for place, values, row in zip(ending, best.tolist(), tokens.tolist(), strict=True):
                found[place] = [token for token, value in zip(row, values, strict=True) if value > -torch.inf]
        if length < last_length:
            newest = fed[:, length]
    return found


def expand(guidance: Guidance, tokens: Sequence[int]) -> list[Guidance]:
    """Return what each of several searches of a sentence is held to: its prefix with one of the tokens behind.

    Args:
        guidance: What the sentence is held to.
        tokens: The alternatives, as `next_tokens` found them.
    """
    return [replace(guidance, prefix=(*guidance.prefix, token)) for token in tokens]
