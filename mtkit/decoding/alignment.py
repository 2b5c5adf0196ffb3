"""Which source token a target token belongs to, by the decoder's attention; and unknown words, copied by it.

A target token is aligned to the source token that its decoder layer attends to most, the heads averaged, in the step in
which the token is the decoder's input (Chen et al. 2020, arXiv:2004.14837, SHIFT-ATT): by then the model knows which
token it translated, whereas in the step before it was still choosing one.

Links are pairs (source, target) that count from 0, as in the Pharaoh format `0-0 1-2`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mtkit.config.model import ModelConfig
from mtkit.corpus.spm_file import ModelKind, SpmFile
from mtkit.corpus.tokenizer import Tokenizer
from mtkit.decoding.splitting import UNSPACED
from mtkit.errors import RecipeError

Links = list[tuple[int, int]]

_SPACES = "▁ "


class Attentive(Protocol):
    """What alignment asks of a model: a Transformer, or an ensemble, which answers for its first one."""

    @property
    def config(self) -> ModelConfig:
        """Its special ids and its number of decoder layers count."""

    def encode(self, src_ids: Tensor) -> tuple[Tensor, Tensor]:
        """See `Transformer.encode`."""

    def attend_source(self, tgt_ids: Tensor, memory: Tensor, memory_mask: Tensor, layer: int) -> Tensor:
        """See `Transformer.attend_source`."""


def default_layer(num_decoder_layers: int) -> int:
    """Return the decoder layer, from 1, that aligns best: the middle one, of six the third (Chen et al. 2020)."""
    return (num_decoder_layers + 1) // 2


def choose_layer(alignment_layer: int | None, num_decoder_layers: int) -> int:
    """Return the decoder layer, from 1, that `decoding.alignment_layer` means.

    Raises:
        RecipeError: The model has no such layer.
    """
    if alignment_layer is None:
        return default_layer(num_decoder_layers)
    if alignment_layer > num_decoder_layers:
        raise RecipeError(
            f"there is no decoder layer {alignment_layer}: the model has {num_decoder_layers}",
            at="decoding.alignment_layer",
            fix=f"give a layer from 1 to {num_decoder_layers}, or leave it to the default",
        )
    return alignment_layer


def align(
    model: Attentive,
    src_ids: Tensor,
    targets: Sequence[Sequence[int]],
    layer: int,
    num_tags: Sequence[int] | None = None,
) -> list[Links]:
    """Return the links of each sentence: one for each target token, to the source token of greatest weight.

    Arguments are those of `weigh`. A source without tokens of its own has no links.
    """
    links: list[Links] = []
    for weights in weigh(model, src_ids, targets, layer, num_tags):
        chosen = weights.argmax(1).tolist() if weights.numel() else []
        links.append([(source, target) for target, source in enumerate(chosen)])
    return links


def weigh(
    model: Attentive,
    src_ids: Tensor,
    targets: Sequence[Sequence[int]],
    layer: int,
    num_tags: Sequence[int] | None = None,
) -> list[Tensor]:
    """Return how much each target token attends to each source token, EOS and tags left out.

    Args:
        model: In evaluation mode; call this under `torch.inference_mode()`.
        src_ids: `(batch, src_len)` int64, EOS included, padded with `pad_id` behind.
        targets: The target tokens of each sentence, without EOS.
        layer: Of the decoder, from 1.
        num_tags: Of each source, how many tokens in front are a tag; None for none. The first token behind is token 0.

    Returns:
        For each sentence `(len(target), src_len)` float32 with its own source length. What EOS and the tags get is
        missing, so that a row has at most the sum one.
    """
    config = model.config
    num_tags = [0] * len(src_ids) if num_tags is None else num_tags
    inputs = [torch.tensor([config.decoder_start_id, *target], dtype=torch.int64) for target in targets]
    tgt_ids = pad_sequence(inputs, batch_first=True, padding_value=config.pad_id).to(src_ids.device)
    weights = model.attend_source(
        tgt_ids, *model.encode(src_ids), layer - 1
    )  # (batch, num_heads, 1 + tgt_len, src_len)
    mean = weights.float().mean(1)
    ends = ((src_ids != config.pad_id).sum(1) - 1).tolist()  # of each source, where its EOS stands
    return [
        of_one[1 : 1 + len(target), start:end]
        for of_one, target, start, end in zip(mean, targets, num_tags, ends, strict=True)
    ]


def join_words(links: Links, source_pieces: Sequence[str], target_pieces: Sequence[str]) -> Links:
    """Return the links between words, which spaces part, from links between their pieces; sorted, each once.

    Args:
        links: Between pieces.
        source_pieces: As `Tokenizer.pieces` returns them: U+2581 stands for a space. Text in place of pieces will do.
        target_pieces: Likewise.
    """
    source_words, target_words = _find_words(source_pieces), _find_words(target_pieces)
    return sorted({(source_words[source], target_words[target]) for source, target in links})


def _find_words(pieces: Sequence[str]) -> list[int]:
    """Return the word, from 0, that each piece belongs to: of several its first, and of a mere space the next one."""
    words: list[int] = []
    word = -1
    is_inside = False
    for piece in pieces:
        own = None
        for character in piece:
            if character not in _SPACES:
                word += not is_inside
                own = word if own is None else own
            is_inside = character not in _SPACES
        words.append(word + (not is_inside) if own is None else own)
    return [min(place, max(word, 0)) for place in words]


def find_replacements(
    token_ids: Sequence[int], links: Links, surfaces: Sequence[str], source_ids: Sequence[int], unk_id: int
) -> dict[int, str]:
    """Return what to put in the place of unknown target tokens, by their positions; an unknown one may stay.

    If the aligned source token is unknown too, it is copied. Else the whole source word is, without the punctuation
    around it; in text that is written without spaces, the token alone. Unknown tokens in a row that belong to the same
    source get it once.

    Args:
        token_ids: The target tokens.
        links: From `align`.
        surfaces: Of each source token, the text that it stands for, with the space before it.
        source_ids: The source tokens, without tag and EOS.
        unk_id: The unknown token; the same id on both sides.
    """
    words = _find_words(surfaces)
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
