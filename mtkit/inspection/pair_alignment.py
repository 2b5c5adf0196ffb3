"""Word alignment of translations that are given: forced decoding, and the attention of each layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mtkit.checkpoint.model_folder import LoadedModel
from mtkit.config.decoding import DecodingSection
from mtkit.decoding.alignment import AlignmentStep, Links, link_words, take_step
from mtkit.decoding.batches import Batcher
from mtkit.decoding.lines import clean_source
from mtkit.decoding.sources import SourceReader
from mtkit.errors import DataError
from mtkit.inspection.attention import record_attention
from mtkit.inspection.links import GoldLinks, LinkScore, score_agreement, score_links
from mtkit.inspection.words import WordKind, find_words_of

_WINDOW_PAIRS = 1024

STEPS: tuple[AlignmentStep, ...] = ("output", "input")


@dataclass(frozen=True)
class Setting:
    """What aligns: a decoder layer from 1, or the mean of all (None), and the step whose weights are taken."""

    layer: int | None = None
    step: AlignmentStep = "output"


@dataclass(frozen=True)
class PairWeights:
    """The attention from a given translation to its source.

    Attributes:
        by_layer: `(layers, 1 + num_target, num_source)`, the mean of the heads, without tag and EOS of the source.
        source_words: Of each source token, its word.
        target_words: Of each target token, its word.
    """

    by_layer: Tensor
    source_words: list[int]
    target_words: list[int]

    def link(self, setting: Setting) -> Links:
        """Return the links between words, sorted."""
        weights = self.by_layer.mean(0) if setting.layer is None else self.by_layer[setting.layer - 1]
        return link_words(
            take_step(weights, len(self.target_words), setting.step), self.source_words, self.target_words
        )


def list_settings(num_decoder_layers: int) -> list[Setting]:
    """Return all that a model of so many layers can align by."""
    return [Setting(layer, step) for step in STEPS for layer in (*range(1, num_decoder_layers + 1), None)]


def align_pairs(
    loaded: LoadedModel,
    pairs: Sequence[tuple[str, str]],
    settings: Sequence[Setting],
    decoding: DecodingSection | None = None,
    words: WordKind = "spaces",
) -> dict[Setting, list[Links]]:
    """Return the word links of each pair, by each of several settings, from one pass of the model.

    Args:
        loaded: The model.
        pairs: Lines of source and target text. A pair with an empty side has no links.
        settings: What to align by.
        decoding: The tag, and how many sentences are computed at once.
        words: What links count; see `split_words`.

    Raises:
        DataError: A line is longer than the model can take; its place is its number from 1.
        ModelError: A tag is no piece of the vocabulary.
        DeviceError: The device's memory does not suffice for a single pair.
    """
    links: dict[Setting, list[Links]] = {setting: [] for setting in settings}
    for weights in iter_weights(loaded, pairs, decoding, words):
        for setting, of_setting in links.items():
            of_setting.append([] if weights is None else weights.link(setting))
    return links


def iter_weights(
    loaded: LoadedModel,
    pairs: Sequence[tuple[str, str]],
    decoding: DecodingSection | None = None,
    words: WordKind = "spaces",
) -> Iterator[PairWeights | None]:
    """Yield the attention of each pair, in order; None for one with an empty side. Arguments as in `align_pairs`."""
    decoding = decoding or DecodingSection()
    reader = SourceReader(loaded.source_tokenizer, decoding, loaded.model.max_length)
    batcher = Batcher[_Pair](
        decoding,
        loaded.model.device,
        lambda pair: (len(pair.source), len(pair.target) + 1),
        name="pair",
        fix="leave such long lines out, or use --device cpu",
    )
    for first in range(0, len(pairs), _WINDOW_PAIRS):
        window = pairs[first : first + _WINDOW_PAIRS]
        sources = reader.read([source for source, _ in window])
        texts = [clean_source(target) for _, target in window]
        targets = loaded.target_tokenizer.encode(texts, threads=torch.get_num_threads())
        ready = []
        for place, (source, target) in enumerate(zip(sources, targets, strict=True)):
            if source.token_ids and target:
                head = reader.find_head(source)
                ready.append(_Pair(place, reader.close(head, source.token_ids), target, len(head)))
                _check_length(loaded, max(len(ready[-1].source), len(target) + 1), first + place + 1)
        found: list[PairWeights | None] = [None] * len(window)
        for batch in batcher.cut(ready):
            for pair, weights in zip(batch, batcher.run(partial(_weigh, loaded), batch), strict=True):
                source_text, target_text = sources[pair.place].text, texts[pair.place]
                found[pair.place] = PairWeights(
                    weights,
                    find_words_of(source_text, loaded.source_tokenizer.surfaces(source_text), words),
                    find_words_of(target_text, loaded.target_tokenizer.surfaces(target_text), words),
                )
        yield from found


@dataclass(frozen=True)
class _Pair:
    """A pair in its window: the source with `num_head` tokens before it and EOS, the target without EOS."""

    place: int
    source: list[int]
    target: list[int]
    num_head: int


@torch.inference_mode()
def _weigh(loaded: LoadedModel, pairs: Sequence[_Pair]) -> list[Tensor]:
    """Return the mean of the heads for each pair, without tag and EOS: `(layers, 1 + num_target, num_source)`."""
    start = loaded.model.config.decoder_start_id
    attention = record_attention(
        loaded.model, [pair.source for pair in pairs], [[start, *pair.target] for pair in pairs]
    )
    return [of_pair.cross.mean(1)[:, :, pair.num_head : -1] for pair, of_pair in zip(pairs, attention, strict=True)]


def _check_length(loaded: LoadedModel, length: int, line: int) -> None:
    longest = loaded.model.max_length
    if longest is not None and length > longest:
        raise DataError(
            f"a side of the pair has {length:,} tokens, and the model takes {longest:,}",
            at=f"line {line}",
            fix="leave the pair out, or split it",
        )


def score_settings(links: dict[Setting, list[Links]], gold: Sequence[GoldLinks]) -> dict[Setting, LinkScore]:
    """Return how well the links of each setting agree with gold ones."""
    return {setting: score_links(found, gold) for setting, found in links.items()}


def find_agreement(
    links: dict[Setting, list[Links]], reverse: dict[Setting, list[Links]]
) -> dict[Setting, tuple[Setting, float]]:
    """Return for each setting the setting of a model of the other direction that agrees with it best, and its F1.

    Chen et al. 2020 (arXiv:2004.14837) choose a layer so, without gold links.

    Args:
        links: By each setting, of each pair.
        reverse: Those of the other model, of each pair with its sides exchanged.
    """
    return {
        setting: max(
            ((other, score_agreement(found, turned)) for other, turned in reverse.items()), key=lambda item: item[1]
        )
        for setting, found in links.items()
    }
