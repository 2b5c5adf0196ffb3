"""What a model looked at when it translated a sentence: attention, alignment, and the steps of the search."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import category

import torch
from torch import Tensor

from mtkit.checkpoint.model_folder import LoadedModel
from mtkit.config.decoding import DecodingSection
from mtkit.decoding.alignment import Links, check_layer, find_words, join_weights, link_words, spell, take_step
from mtkit.decoding.lines import clean_source, make_one_line
from mtkit.decoding.planning import Planner, Segment
from mtkit.decoding.request import Request
from mtkit.decoding.search import search
from mtkit.decoding.segments import find_pieces
from mtkit.decoding.splitting import UNSPACED
from mtkit.errors import DataError, RecipeError
from mtkit.inspection.attention import Attention, record_attention, select
from mtkit.inspection.steps import StepWriter, describe_forced
from mtkit.model.transformer import AttentionKind

_DIGITS = 4
_BYTES = re.compile(r"(?:<0x[0-9A-F]{2}>)+")

Words = list[tuple[int, int]]


@dataclass(frozen=True)
class Explanation:
    """A translation, and what the model looked at.

    Attributes:
        model: Its name.
        source: The sentence, as the model read it.
        translation: What it made of it, or the target that was given.
        is_forced: Whether the target was given.
        log_prob: Of the translation, natural, EOS included.
        source_tokens: Pieces, with U+2581 for a space, tag and EOS included.
        target_tokens: What the decoder was given: the start symbol, then the target.
        next_tokens: What it was to produce at each: the target, then EOS.
        source_words: The spans of tokens, first and last, that are a word; symbols, and tokens of scripts that are
            written without spaces, are words of their own.
        target_words: Likewise, of `target_tokens`.
        attention: All weights.
        alignment: `(target, source)` between tokens of the texts, without symbols; rows have at most the sum 1.
        links: Between words of the texts, which white space parts.
        layer: Of the decoder, from 1, that aligned; None for the mean of all.
        step: Whose weights align a target token; see `decoding.alignment_step`.
        beam_size: Of the search.
        steps: Of the search; see `mtkit.inspection.steps`.
    """

    model: str
    source: str
    translation: str
    is_forced: bool
    log_prob: float
    source_tokens: list[str]
    target_tokens: list[str]
    next_tokens: list[str]
    source_words: Words
    target_words: Words
    attention: Attention
    alignment: Tensor
    links: Links
    layer: int | None
    step: str
    beam_size: int
    steps: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain data, weights rounded to four decimals.

        Where the mean of all layers aligned, `is_mean` says so, and `layer` names one in the upper middle to look at.
        """
        encoder, decoder, cross = (_round(self.attention.of(kind)) for kind in ("encoder", "decoder", "cross"))
        return {
            "model": self.model,
            "source": self.source,
            "translation": self.translation,
            "is_forced": self.is_forced,
            "log_prob": round(self.log_prob, 6),
            "source_tokens": self.source_tokens,
            "target_tokens": self.target_tokens,
            "next_tokens": self.next_tokens,
            "source_words": [list(span) for span in self.source_words],
            "target_words": [list(span) for span in self.target_words],
            "num_heads": self.attention.encoder.size(1),
            "num_encoder_layers": len(self.attention.encoder),
            "num_decoder_layers": len(self.attention.decoder),
            "encoder": encoder,
            "decoder": decoder,
            "cross": cross,
            "alignment": {
                "layer": self.layer or len(self.attention.decoder) // 2 + 1,
                "is_mean": self.layer is None,
                "step": self.step,
                "matrix": _round(self.alignment),
                "links": [list(pair) for pair in self.links],
            },
            "beam_size": self.beam_size,
            "steps": self.steps,
        }

    def view(
        self, kind: AttentionKind, layer: int | None = None, head: int | None = None, *, by_word: bool = True
    ) -> tuple[Tensor, list[str], list[str]]:
        """Return weights to look at, with the labels of their queries and keys.

        Joined to words, the weights of a word's pieces are added over keys and averaged over queries, so that rows keep
        the sum 1. The queries of `cross` are called by what the decoder is to produce there, or, where the step
        `input` aligns, by what it is given.

        Args:
            kind: Of attention.
            layer: From 1; None for the mean of all.
            head: Likewise.
            by_word: Join pieces to words.

        Raises:
            RecipeError: The model has no such layer or head.
        """
        weights = self.attention.of(kind)
        for name, number, count in (("layer", layer, len(weights)), ("head", head, weights.size(1))):
            if number is not None and not 1 <= number <= count:
                raise RecipeError(
                    f"there is no {name} {number}: the model has {count}",
                    at=f"--{name}",
                    fix=f"give a {name} from 1 to {count}",
                )
        chosen = select(weights, layer, head)
        source, target = (self.source_tokens, self.source_words), (self.target_tokens, self.target_words)
        query_side = source if kind == "encoder" else target
        key_side = target if kind == "decoder" else source
        if kind == "cross" and self.step == "output":
            end = len(self.next_tokens) - 1
            query_side = (self.next_tokens, [*((a - 1, b - 1) for a, b in self.target_words[1:]), (end, end)])
        if not by_word:
            return chosen, query_side[0], key_side[0]
        queries, keys = _number_words(query_side[1]), _number_words(key_side[1])
        return join_weights(chosen, keys, queries), _spell_words(*query_side), _spell_words(*key_side)


def _number_words(words: Words) -> list[int]:
    return [number for number, (first, last) in enumerate(words) for _ in range(first, last + 1)]


def _spell_words(tokens: Sequence[str], words: Words) -> list[str]:
    spelled = [_BYTES.sub(_spell_bytes, "".join(tokens[first : last + 1])) for first, last in words]
    return [word.replace("▁", " ").strip() or "▁" for word in spelled]


def _spell_bytes(pieces: re.Match[str]) -> str:
    return bytes.fromhex(pieces[0].replace("<0x", "").replace(">", "")).decode(errors="replace")


def _round(weights: Tensor) -> Any:
    # Through decimals, not float32: 0.1 is to be written as 0.1.
    return [_round(part) for part in weights] if weights.dim() > 1 else [round(x, _DIGITS) for x in weights.tolist()]


def explain(
    loaded: LoadedModel, sentence: str, decoding: DecodingSection | None = None, target: str | None = None
) -> Explanation:
    """Translate a sentence, or take a translation that is given, and tell what the model looked at.

    The sentence is read and searched as by `mtkit translate`.

    Args:
        loaded: The model.
        sentence: One line of text.
        decoding: Search, tag, and what aligns words.
        target: The translation to look at, in place of the model's own.

    Raises:
        DataError: The sentence or the target is empty, or too long.
        ModelError: The tag is no piece of the vocabulary.
        RecipeError: `decoding` asks for samples or minimum Bayes risk, or for a layer that the model does not have.
    """
    decoding = decoding or DecodingSection()
    if decoding.sampling or decoding.mbr is not None or decoding.expand_prefix:
        name = "sampling" if decoding.sampling else "mbr" if decoding.mbr is not None else "expand_prefix"
        raise RecipeError("only a beam search can be explained", at=f"decoding.{name}", fix="turn it off")
    model, tokenizer = loaded.model, loaded.target_tokenizer
    check_layer(decoding.alignment_layer, model.config.num_decoder_layers)
    segment = _plan(loaded, sentence, decoding)
    with torch.inference_mode():
        if target is None:
            observer = StepWriter(tokenizer)
            src_ids = torch.tensor([segment.token_ids], device=model.device)
            suppressed = find_pieces(decoding.suppressed, tokenizer)
            best = search(model, src_ids, decoding, [segment.guidance], suppressed, observer)[0][0]
            token_ids, log_prob, steps = list(best.token_ids), best.log_prob, observer.steps
            translation = make_one_line(tokenizer.decode(token_ids))
        else:
            translation = clean_source(target)
            token_ids = _encode_target(translation, loaded)
            decoding = decoding.model_copy(update={"beam_size": 1, "n_best": 1})
            inputs = torch.tensor([[model.config.decoder_start_id, *token_ids]], device=model.device)
            logits = model(torch.tensor([segment.token_ids], device=model.device), inputs)[0].cpu()
            steps = describe_forced(logits, token_ids, tokenizer, model.config)
            log_prob = next(c["total"] for c in steps[-1]["candidates"] if c["kept"])
        inputs_ids = [model.config.decoder_start_id, *token_ids]
        (attention,) = record_attention(model, [segment.token_ids], [inputs_ids])
    return _assemble(loaded, segment, token_ids, attention, decoding, translation, target is not None, log_prob, steps)


def _plan(loaded: LoadedModel, sentence: str, decoding: DecodingSection) -> Segment:
    """Return the sentence as the model reads it.

    Raises:
        DataError: It is empty, or too long.
        ModelError: The tag is no piece of the vocabulary.
    """
    planner = Planner(loaded.source_tokenizer, loaded.target_tokenizer, decoding, loaded.model.max_length)
    (plan,) = planner.plan([Request(sentence)])
    if plan.problem is not None:
        raise plan.problem
    if not plan.segments:
        raise DataError(
            "the sentence is empty", at="SENTENCE", fix='give one, in quotes: mtkit explain --model run "A dog runs."'
        )
    if len(plan.segments) > 1:
        raise DataError(
            f"the sentence is too long to be translated at once: it would be cut into {len(plan.segments)} parts",
            at="SENTENCE",
            fix="give a shorter one, or raise decoding.max_source_tokens",
        )
    return plan.segments[0]


def _encode_target(target: str, loaded: LoadedModel) -> list[int]:
    """Return the tokens of a given target, without EOS.

    Raises:
        DataError: It is empty, or longer than the model can take.
    """
    token_ids = loaded.target_tokenizer.encode([target], threads=1)[0]
    if not token_ids:
        raise DataError("the target is empty", at="--target", fix="give a translation, or leave --target out")
    longest = loaded.model.max_length
    if longest is not None and len(token_ids) >= longest:
        raise DataError(
            f"the target has {len(token_ids):,} tokens, and the model takes {longest - 1:,}",
            at="--target",
            fix="give a shorter one",
        )
    return token_ids


def _assemble(
    loaded: LoadedModel,
    segment: Segment,
    token_ids: list[int],
    attention: Attention,
    decoding: DecodingSection,
    translation: str,
    is_forced: bool,
    log_prob: float,
    steps: list[dict[str, Any]],
) -> Explanation:
    source_pieces = loaded.source_tokenizer.pieces(segment.token_ids)
    target_pieces = loaded.target_tokenizer.pieces(token_ids)
    start, end = segment.num_tags, len(source_pieces) - 1
    source_texts = spell(loaded.source_tokenizer, segment.token_ids[start:end])
    target_texts = spell(loaded.target_tokenizer, token_ids)
    source_words = find_words(loaded.source_tokenizer.surfaces(segment.text))
    target_words = find_words(target_texts)
    layer = decoding.alignment_layer
    weights = take_step(select(attention.cross, layer), len(token_ids), decoding.alignment_step)[:, start:end]
    tags = [(place, place) for place in range(start)]
    return Explanation(
        model=str(loaded.path),
        source=segment.text,
        translation=translation,
        is_forced=is_forced,
        log_prob=log_prob,
        source_tokens=source_pieces,
        target_tokens=[*loaded.target_tokenizer.pieces([loaded.model.config.decoder_start_id]), *target_pieces],
        next_tokens=[*target_pieces, *loaded.target_tokenizer.pieces([loaded.model.config.eos_id])],
        source_words=[*tags, *_find_spans(source_words, source_texts, start), (end, end)],
        target_words=[(0, 0), *_find_spans(target_words, target_texts, 1)],
        attention=attention,
        alignment=weights,
        links=link_words(weights, source_words, target_words),
        layer=layer,
        step=decoding.alignment_step,
        beam_size=decoding.beam_size,
        steps=steps,
    )


def _find_spans(words: Sequence[int], texts: Sequence[str], start: int) -> Words:
    """Return the first and last token of each word, tokens counted from `start`.

    Of a script that is written without spaces, tokens stay apart.
    """
    spans: Words = []
    left = ""
    for place, (word, text) in enumerate(zip(words, texts, strict=True)):
        if place and words[place - 1] == word and not _is_seam(left, text):
            spans[-1] = (spans[-1][0], start + place)
        else:
            spans.append((start + place, start + place))
        left = text or left  # the other bytes of a character have no text
    return spans


def _is_seam(left: str, right: str) -> bool:
    """Return whether two tokens of a word stay apart: a character of a script without spaces is there, and no mark."""
    beside = left.strip("▁ ")[-1:] + right[:1]
    return len(beside) == 2 and UNSPACED.search(beside) is not None and not category(right[0]).startswith("M")
