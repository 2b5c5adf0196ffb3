"""Word alignment of translations that are given: forced decoding, and the attention of each layer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mtkit.checkpoint.model_folder import LoadedModel
from mtkit.config.decoding import DecodingSection
from mtkit.decoding.alignment import AlignmentStep, Links, link_words, take_step
from mtkit.decoding.batches import Batcher
from mtkit.decoding.inference import pad_ids
from mtkit.decoding.lines import clean_source
from mtkit.decoding.scoring import MAX_TOKENS
from mtkit.decoding.sources import SourceReader
from mtkit.errors import DataError
from mtkit.inspection.links import GoldLinks, LinkScore, score_agreement, score_links
from mtkit.inspection.words import WordKind, find_words_of
from mtkit.model.transformer import AttentionKind, Transformer

_WINDOW_PAIRS = 1024

STEPS: tuple[AlignmentStep, ...] = ("output", "input")


@dataclass(frozen=True)
class Setting:
    """What aligns: a decoder layer from 1, or the mean of all (None), and the step whose weights are taken."""

    layer: int | None = None
    step: AlignmentStep = "output"


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
        DataError: A side has more than `MAX_TOKENS` tokens, or more than the model takes; its place is its line's
            number from 1.
        ModelError: A tag is no piece of the vocabulary.
        DeviceError: The device's memory does not suffice for a single pair.
    """
    rows = list(iter_links(loaded, pairs, settings, decoding, words))
    return {setting: [row[setting] for row in rows] for setting in settings}


def iter_links(
    loaded: LoadedModel,
    pairs: Sequence[tuple[str, str]],
    settings: Sequence[Setting],
    decoding: DecodingSection | None = None,
    words: WordKind = "spaces",
) -> Iterator[dict[Setting, Links]]:
    """Yield the word links of each pair, in order, by each setting; arguments and errors are those of `align_pairs`.

    Pairs are read and linked in windows: one that is too long ends it before the first of its own window.
    """
    decoding = decoding or DecodingSection()
    reader = SourceReader(loaded.source_tokenizer, decoding, loaded.model.max_length)
    batcher = Batcher[_Pair](
        decoding,
        loaded.model.device,
        lambda pair: (len(pair.source), len(pair.target) + 1),
        name="pair",
        fix="leave such long lines out, or use --device cpu",
    )
    link = partial(_link, loaded, settings, words)
    for first in range(0, len(pairs), _WINDOW_PAIRS):
        window = pairs[first : first + _WINDOW_PAIRS]
        sources = reader.read([source for source, _ in window])
        texts = [clean_source(target) for _, target in window]
        targets = loaded.target_tokenizer.encode(texts, threads=torch.get_num_threads())
        ready = []
        for place, (source, text, target) in enumerate(zip(sources, texts, targets, strict=True)):
            if source.token_ids and target:
                head = reader.find_head(source)
                ids = reader.close(head, source.token_ids)
                ready.append(_Pair(place, source.text, ids, len(head), text, target))
                _check_length(loaded, max(len(ids), len(target) + 1), first + place + 1)
        found: list[dict[Setting, Links]] = [{setting: [] for setting in settings} for _ in window]
        for batch in batcher.cut(ready):
            for pair, links in zip(batch, batcher.run(link, batch), strict=True):
                found[pair.place] = links
        yield from found


@dataclass(frozen=True)
class _Pair:
    """A pair in its window: the source with `num_head` tokens before it and EOS, the target without EOS."""

    place: int
    source_text: str
    source: list[int]
    num_head: int
    target_text: str
    target: list[int]


def _link(
    loaded: LoadedModel, settings: Sequence[Setting], words: WordKind, pairs: Sequence[_Pair]
) -> list[dict[Setting, Links]]:
    """Return the links of each pair of a batch."""
    weights = _weigh(loaded.model, {setting.layer for setting in settings}, pairs)
    found = []
    for place, pair in enumerate(pairs):
        ends = slice(pair.num_head, len(pair.source) - 1)  # without tag and EOS
        source_words = find_words_of(pair.source_text, loaded.source_tokenizer.surfaces(pair.source_text), words)
        target_words = find_words_of(pair.target_text, loaded.target_tokenizer.surfaces(pair.target_text), words)
        found.append(
            {
                setting: _link_words(
                    take_step(weights[setting.layer][place, :, ends], len(pair.target), setting.step),
                    source_words,
                    target_words,
                )
                for setting in settings
            }
        )
    return found


def _link_words(weights: Tensor, source_words: Sequence[range], target_words: Sequence[range]) -> Links:
    """Return the links between words; those of a token of several words are the links of all of them."""
    links = link_words(weights, [words.start for words in source_words], [words.start for words in target_words])
    sources, targets = (
        {words.start: words for words in sorted(side, key=len)} for side in (source_words, target_words)
    )
    return sorted({(i, j) for source, target in links for i in sources.get(source, (source,)) for j in targets[target]})


@torch.inference_mode()
def _weigh(model: Transformer, layers: Collection[int | None], pairs: Sequence[_Pair]) -> dict[int | None, Tensor]:
    """Return the attention to the source in each of some layers, the mean of the heads; None for the mean of all.

    Nothing else is kept: all weights of a long pair take gigabytes.

    Returns:
        By layer, `(batch, longest target + 1, longest source)` float32, on the CPU.
    """
    found: dict[int | None, Tensor] = {}

    def record(kind: AttentionKind, number: int, weights: Tensor) -> None:
        if kind == "cross":
            mean = weights.float().mean(1).cpu()
            if number + 1 in layers:
                found[number + 1] = mean
            if None in layers:
                found[None] = found[None] + mean if number else mean

    config = model.config
    src_ids = pad_ids([pair.source for pair in pairs], config.pad_id, model.device)
    tgt_ids = pad_ids([[config.decoder_start_id, *pair.target] for pair in pairs], config.pad_id, model.device)
    model.decode(tgt_ids, *model.encode(src_ids), record)
    if None in found:
        found[None] = found[None] / model.config.num_decoder_layers
    return found


def _check_length(loaded: LoadedModel, length: int, line: int) -> None:
    longest = min(MAX_TOKENS, loaded.model.max_length or MAX_TOKENS)
    if length > longest:
        raise DataError(
            f"a side of the pair has {length:,} tokens, and at most {longest:,} can be aligned",
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
