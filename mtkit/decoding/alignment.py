"""Which source token a target token belongs to, by the decoder's attention; and unknown words, copied by it.

The weights are those of a decoder layer over the source, or of all layers, the heads averaged: in the step that
produces the target token, or in the one after it, in which the token is the decoder's input (Chen et al. 2020,
arXiv:2004.14837, SHIFT-ATT). Which layer and step align best is a trait of the model; `mtkit align --gold` measures it.

A target word is linked to the source word of which it has the largest share: its weight, divided by what all target
words together give to that source word. Without the division, words that all others attend to (a final full stop, the
end of a phrase) get links that are not theirs.

Links are pairs (source, target) that count from 0, as in the Pharaoh format `0-0 1-2`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Literal, Protocol

import torch
from torch import Tensor

from mtkit.config.model import ModelConfig
from mtkit.corpus.spm_file import ModelKind, SpmFile
from mtkit.corpus.tokenizer import Tokenizer
from mtkit.decoding.inference import pad_ids
from mtkit.decoding.splitting import UNSPACED
from mtkit.errors import RecipeError

AlignmentStep = Literal["output", "input"]
Links = list[tuple[int, int]]

_BYTE = re.compile("<0x[0-9A-F]{2}>")

# Added to what a source word gets from all target words, so that a word that hardly anything attends to is nobody's
# largest share by accident.
_LEAST_ATTENTION = 0.1


class Attentive(Protocol):
    """What alignment asks of a model: a Transformer, or an ensemble, which answers for its first one."""

    @property
    def config(self) -> ModelConfig:
        """Its special ids and its number of decoder layers count."""

    def encode(self, src_ids: Tensor) -> tuple[Tensor, Tensor]:
        """See `Transformer.encode`."""

    def attend_source(self, tgt_ids: Tensor, memory: Tensor, memory_mask: Tensor, layer: int | None) -> Tensor:
        """See `Transformer.attend_source`."""


def check_layer(alignment_layer: int | None, num_decoder_layers: int) -> None:
    """Refuse a `decoding.alignment_layer` that the model does not have.

    Raises:
        RecipeError: The model has no such layer.
    """
    if alignment_layer is not None and alignment_layer > num_decoder_layers:
        raise RecipeError(
            f"there is no decoder layer {alignment_layer}: the model has {num_decoder_layers}",
            at="decoding.alignment_layer",
            fix=f"give a layer from 1 to {num_decoder_layers}, or leave it to the default",
        )


def weigh(
    model: Attentive,
    src_ids: Tensor,
    targets: Sequence[Sequence[int]],
    layer: int | None = None,
    num_tags: Sequence[int] | None = None,
    step: AlignmentStep = "output",
) -> list[Tensor]:
    """Return how much each target token attends to each source token, EOS and tags left out.

    Args:
        model: In evaluation mode; call this under `torch.inference_mode()`.
        src_ids: `(batch, src_len)` int64, EOS included, padded with `pad_id` behind.
        targets: The target tokens of each sentence, without EOS.
        layer: Of the decoder, from 1; None for the mean of all.
        num_tags: Of each source, how many tokens in front are a tag; None for none. The first token behind is token 0.
        step: Whose weights are a target token's: of the step that produces it, or that has it as input.

    Returns:
        For each sentence `(len(target), src_len)` float32 with its own source length. What EOS and the tags get is
        missing, so that a row has at most the sum one.
    """
    config = model.config
    num_tags = [0] * len(src_ids) if num_tags is None else num_tags
    tgt_ids = pad_ids([[config.decoder_start_id, *target] for target in targets], config.pad_id, src_ids.device)
    # (batch, num_heads, 1 + tgt_len, src_len)
    weights = model.attend_source(tgt_ids, *model.encode(src_ids), None if layer is None else layer - 1)
    mean = weights.float().mean(1)
    ends = ((src_ids != config.pad_id).sum(1) - 1).tolist()  # of each source, where its EOS stands
    return [
        take_step(of_one, len(target), step)[:, start:end]
        for of_one, target, start, end in zip(mean, targets, num_tags, ends, strict=True)
    ]


def take_step(weights: Tensor, num_tokens: int, step: AlignmentStep) -> Tensor:
    """Return the rows that are the target tokens'.

    Args:
        weights: `(…, at least 1 + num_tokens, src_len)`: a row for each input of the decoder, the start id first.
        num_tokens: Of the target, without EOS.
        step: See `weigh`.

    Returns:
        `(…, num_tokens, src_len)`.
    """
    first = 1 if step == "input" else 0
    return weights[..., first : first + num_tokens, :]


def link(weights: Tensor) -> Links:
    """Return the link of each target token, or word: to the source of which it has the largest share.

    Args:
        weights: `(num_target, num_source)` float32, as `weigh` or `join_weights` returns them; without sources, no
            links.
    """
    if not weights.numel():
        return []
    shares = weights / (weights.sum(0) + _LEAST_ATTENTION)
    return [(source, target) for target, source in enumerate(shares.argmax(1).tolist())]


def join_weights(weights: Tensor, source_words: Sequence[int], target_words: Sequence[int]) -> Tensor:
    """Return the weights between words, from those between their tokens: the sum over keys, the mean over queries.

    Args:
        weights: `(…, num_target, num_source)`.
        source_words: Of each source token, its word, from 0, as `find_words` returns them.
        target_words: Likewise.

    Returns:
        `(…, target words, source words)`; rows have the sums that they had. A word without tokens has zeros.
    """
    by_source = _build_membership(source_words, weights)  # (source words, num_source)
    by_target = _build_membership(target_words, weights)
    sizes = by_target.sum(1, keepdim=True).clamp_min(1)
    return (by_target / sizes) @ weights @ by_source.T


def _build_membership(words: Sequence[int], like: Tensor) -> Tensor:
    membership = like.new_zeros(max(words, default=-1) + 1, len(words))
    if words:
        membership[torch.tensor(words, device=like.device), torch.arange(len(words), device=like.device)] = 1
    return membership


def link_words(weights: Tensor, source_words: Sequence[int], target_words: Sequence[int]) -> Links:
    """Return the links between words, in the order of source and target; arguments are those of `join_weights`.

    Each target word that has tokens gets one link.
    """
    links = link(join_weights(weights, source_words, target_words))
    present = set(target_words)
    return sorted((source, target) for source, target in links if target in present)


def find_words(pieces: Sequence[str]) -> list[int]:
    """Return the word, from 0, that each piece belongs to: of several its first, and of a mere space the next one.

    Words are what stands between white space of any kind, as `str.split` finds them.

    Args:
        pieces: As `Tokenizer.pieces` returns them: U+2581 stands for a space. Text in place of pieces will do.
    """
    words: list[int] = []
    word = -1
    is_inside = False
    for piece in pieces:
        own = None
        for character in piece:
            is_space = character == "▁" or character.isspace()
            if not is_space:
                word += not is_inside
                own = word if own is None else own
            is_inside = not is_space
        words.append(word + (not is_inside) if own is None else own)
    return [min(place, max(word, 0)) for place in words]


def spell(tokenizer: Tokenizer, token_ids: Sequence[int], replacements: Mapping[int, str] | None = None) -> list[str]:
    """Return what each target token stands for in the translation, for `find_words`.

    Of the tokens that spell a character in bytes, the first stands for it. An unknown one stands for its replacement,
    else for its mark, a word of its own.

    Args:
        tokenizer: Of the target side.
        token_ids: The target tokens.
        replacements: Of unknown tokens, as `decode_with_replacements` takes them.
    """
    space = " " if _knows_words(tokenizer.serialized) else ""
    known = {place: space + text for place, text in (replacements or {}).items()}
    texts: list[str] = []
    pieces = enumerate(tokenizer.pieces(token_ids))
    for is_bytes, run in groupby(pieces, lambda item: _BYTE.fullmatch(item[1]) is not None):
        if is_bytes:
            for character in bytes(int(piece[3:5], 16) for _, piece in run).decode(errors="surrogateescape"):
                texts += [character, *[""] * (len(character.encode(errors="surrogateescape")) - 1)]
            continue
        for place, piece in run:
            is_unknown = token_ids[place] == tokenizer.unk_id
            texts.append(known.get(place, tokenizer.decode([tokenizer.unk_id])) if is_unknown else piece)
    return texts


def find_replacements(
    token_ids: Sequence[int], links: Links, surfaces: Sequence[str], source_ids: Sequence[int], unk_id: int
) -> dict[int, str]:
    """Return what to put in the place of unknown target tokens, by their positions; an unknown one may stay.

    If the aligned source token is unknown too, it is copied. Else the whole source word is, without the punctuation
    around it; in text that is written without spaces, the token alone. Unknown tokens in a row that belong to the same
    source get it once.

    Args:
        token_ids: The target tokens.
        links: Between tokens, from `link`.
        surfaces: Of each source token, the text that it stands for, with the space before it.
        source_ids: The source tokens, without tag and EOS.
        unk_id: The unknown token; the same id on both sides.
    """
    words = find_words(surfaces)
    aligned = {target: source for source, target in links}
    replacements: dict[int, str] = {}
    last: tuple[int, list[int]] | None = None  # the last unknown token, and what was copied for it
    for place, token_id in enumerate(token_ids):
        if token_id != unk_id or place not in aligned:
            continue
        source = aligned[place]
        if source_ids[source] == unk_id or UNSPACED.search(surfaces[source]):
            members = [source]
            text = surfaces[source].strip()
        else:
            members = [other for other, word in enumerate(words) if word == words[source]]
            text = _strip_punctuation("".join(surfaces[member] for member in members).strip())
        if text:
            replacements[place] = "" if last == (place - 1, members) else text
            last = (place, members)
    return replacements


def decode_with_replacements(tokenizer: Tokenizer, token_ids: Sequence[int], replacements: Mapping[int, str]) -> str:
    """Return the text of target tokens, some unknown ones replaced; a single line, if the replacements are.

    Args:
        tokenizer: Of the target side, without byte fallback: there, nothing is unknown.
        token_ids: The target tokens.
        replacements: What to put in place of unknown tokens, by their positions, without spaces around it.
    """
    places = sorted(replacements)
    # Each piece adds to the text of those before it: so it shows where the marks of the unknown ones stand.
    *beginnings, whole, mark = tokenizer.decode_batch(
        [*(token_ids[: place + 1] for place in places), token_ids, [tokenizer.unk_id]]
    )
    knows_words = _knows_words(tokenizer.serialized)
    text, end = "", 0
    for place, beginning in zip(places, beginnings, strict=True):
        text += beginning[end : len(beginning) - len(mark)]
        end = len(beginning)
        if knows_words and text and not text.endswith(" "):
            text += " "  # it was part of the unknown word; else the space is a token, or part of a known one
        text += replacements[place]
    return text + whole[end:]


@lru_cache(maxsize=4)
def _knows_words(serialized: bytes) -> bool:
    """Return whether the pieces of a SentencePiece model are whole words, each with the space before it."""
    return SpmFile.parse(serialized).kind == ModelKind.WORD


def _strip_punctuation(word: str) -> str:
    """Return a word without the punctuation around it; if it is nothing else, as it is."""
    inner = [place for place, character in enumerate(word) if not unicodedata.category(character).startswith("P")]
    return word[inner[0] : inner[-1] + 1] if inner else word
