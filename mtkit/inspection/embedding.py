"""Sentence vectors: the states of a model's encoder, pooled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtkit.config.decoding import DecodingSection
from mtkit.corpus.tokenizer import Tokenizer
from mtkit.decoding.batches import WINDOW_BATCHES, Batcher
from mtkit.decoding.inference import load_for_inference, pad_ids
from mtkit.decoding.sources import SourceReader
from mtkit.errors import RecipeError
from mtkit.model.transformer import Transformer
from mtkit.runtime.device import DeviceName

Pooling = Literal["mean", "max", "first"]
Matrix = npt.NDArray[np.float32]


@dataclass
class Counts:
    """What was embedded.

    Attributes:
        num_lines: All lines.
        num_empty: Lines without a token; their vectors are zero.
        num_split: Lines too long for the model, embedded in parts.
        num_tokens: Tokens of the text, tags and EOS left out.
    """

    num_lines: int = 0
    num_empty: int = 0
    num_split: int = 0
    num_tokens: int = 0

    def __str__(self) -> str:
        return (
            f"{self.num_lines:,} lines, {self.num_tokens:,} tokens; empty lines, with a vector of zeros: "
            f"{self.num_empty:,}; lines embedded in parts: {self.num_split:,}"
        )


@dataclass(frozen=True)
class _Segment:
    """A line or a part of one, as token ids with tag and EOS."""

    line: int
    token_ids: list[int]
    num_tags: int

    @property
    def num_tokens(self) -> int:
        """Tokens of the text."""
        return len(self.token_ids) - self.num_tags - 1


class Embedder:
    """Turns lines of text into vectors.

    ```python
    embedder = Embedder.load("run")
    vectors = embedder.embed(["A dog runs.", "A cat sleeps."])  # (2, d_model) float32
    ```

    Pooled are the states of the text's own tokens: the tag and EOS are the same for each sentence, and what a model
    writes to their places differs with the language asked for. A line without a token gets a vector of zeros. One too
    long for the model is cut into parts: of these the maximum is taken (`max`), or the mean weighted by their tokens.

    Args:
        model: In evaluation mode.
        tokenizer: Of the source side.
        decoding: Tag, batching and the longest part; the rest is not looked at.
        pooling: `mean` of the states, `max` in each dimension, or the `first` token's state.
        layer: Encoder layer, from 1, whose states are pooled after the encoder's last norm; None for the last. The
            layers above are removed from `model`.

    Raises:
        RecipeError: The model has no such layer.
        ModelError: `decoding.tag` is no piece of the vocabulary.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        decoding: DecodingSection | None = None,
        *,
        pooling: Pooling = "mean",
        layer: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.decoding = decoding or DecodingSection()
        self.pooling = pooling
        self.model = model
        self.counts = Counts()
        self._cut_layers(layer)
        self._reader = SourceReader(tokenizer, self.decoding, model.max_length)
        self._batcher = Batcher[_Segment](
            self.decoding,
            model.device,
            lambda segment: (len(segment.token_ids),),
            name="sentence",
            fix="lower decoding.max_source_tokens, or use --device cpu",
        )

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: DeviceName = "auto",
        decoding: DecodingSection | None = None,
        threads: int | None = None,
        pooling: Pooling = "mean",
        layer: int | None = None,
    ) -> Embedder:
        """Load a model folder, or the best model so far of a run folder.

        Args:
            path: The folder.
            device: Where to compute; `auto` takes a GPU if there is one.
            decoding: Tag, batching, precision and the longest part.
            threads: CPU threads; None for all cores.
            pooling: See `Embedder`.
            layer: See `Embedder`.

        Raises:
            ModelError: There is no model, it is damaged, or `decoding.tag` is no piece of its source vocabulary.
            RecipeError: The model has no such layer.
            DeviceError: The device is absent.
        """
        decoding = decoding or DecodingSection()
        loaded = load_for_inference(path, device, decoding.precision, threads)
        return cls(loaded.model, loaded.source_tokenizer, decoding, pooling=pooling, layer=layer)

    @property
    def num_dimensions(self) -> int:
        """Length of a vector."""
        return self.model.config.d_model

    @property
    def window_lines(self) -> int:
        """Number of lines that are best given at once: they are sorted by length, and batched."""
        return WINDOW_BATCHES * self.decoding.batch_size

    def embed(self, lines: Iterable[str], tag: str | None = None) -> Matrix:
        """Return the vectors of lines, `(lines, d_model)` float32, in order.

        Args:
            lines: Lines of text.
            tag: In place of `decoding.tag`, and of tags at the beginning of lines.

        Raises:
            ModelError: The tag is no piece of the source vocabulary.
            DeviceError: The device's memory does not suffice for a single sentence.
        """
        lines = list(lines)
        starts = range(0, len(lines), self.window_lines)
        windows = [self.embed_window(lines[start : start + self.window_lines], tag) for start in starts]
        return np.concatenate([np.zeros((0, self.num_dimensions), np.float32), *windows])

    def embed_window(self, lines: Sequence[str], tag: str | None = None) -> Matrix:
        """Return the vectors of the lines of a window, as `embed` does; `counts` grows by them."""
        vectors = torch.zeros(len(lines), self.num_dimensions)
        num_tokens, num_parts = torch.zeros(len(lines), 1), [0] * len(lines)
        for segment, vector in self._iter_pooled(self._plan(lines, tag)):
            line, weight = segment.line, segment.num_tokens
            if self.pooling == "max":
                vectors[line] = torch.maximum(vectors[line], vector) if num_parts[line] else vector
            else:
                vectors[line] += weight * vector
            num_tokens[line] += weight
            num_parts[line] += 1
        if self.pooling != "max":
            vectors /= num_tokens.clamp_min(1)
        self.counts.num_lines += len(lines)
        self.counts.num_empty += num_parts.count(0)
        self.counts.num_split += sum(count > 1 for count in num_parts)
        self.counts.num_tokens += int(num_tokens.sum())
        return vectors.numpy()

    def take_counts(self) -> Counts:
        """Return what was embedded since the last call."""
        counts, self.counts = self.counts, Counts()
        return counts

    def _cut_layers(self, layer: int | None) -> None:
        """Remove the layers above `layer`, so that what the encoder gives are its states.

        Raises:
            RecipeError: There is no such layer.
        """
        count = len(self.model.encoder_layers)
        if layer is None:
            return
        if not 1 <= layer <= count:
            raise RecipeError(
                f"the encoder has no layer {layer:,}", at="--layer", fix=f"give a layer from 1 to {count}"
            )
        self.model.encoder_layers = self.model.encoder_layers[:layer]

    def _plan(self, lines: Sequence[str], tag: str | None) -> list[_Segment]:
        """Return the lines that are not empty, cut into parts that fit the model."""
        segments = []
        for number, line in enumerate(self._reader.read(lines)):
            head = self._reader.find_head(line, tag)
            parts = self._reader.cut(line, head)
            segments += [_Segment(number, ids, len(head)) for _, ids in parts if len(ids) > len(head) + 1]
        return segments

    def _iter_pooled(self, segments: Sequence[_Segment]) -> Iterator[tuple[_Segment, Tensor]]:
        """Yield segments and their vectors, in batches, the longest first."""
        for batch in self._batcher.cut(segments):
            yield from zip(batch, self._batcher.run(self._pool, batch), strict=True)

    @torch.inference_mode()
    def _pool(self, batch: Sequence[_Segment]) -> list[Tensor]:
        """Return the vectors of a batch of segments: each `(d_model,)` float32, on the CPU."""
        src_ids = pad_ids([segment.token_ids for segment in batch], self.tokenizer.pad_id, self.model.device)
        states, _ = self.model.encode(src_ids)
        states = states.float()  # (batch, src_len, d_model)
        first = torch.tensor([segment.num_tags for segment in batch], device=self.model.device)
        lengths = torch.tensor([segment.num_tokens for segment in batch], device=self.model.device)
        place = torch.arange(states.size(1), device=self.model.device) - first[:, None]  # (batch, src_len), in the text
        is_token = ((place >= 0) & (place < lengths[:, None])).unsqueeze(-1)
        match self.pooling:
            case "mean":
                pooled = (states * is_token).sum(1) / lengths[:, None]
            case "max":
                pooled = states.masked_fill(~is_token, -torch.inf).amax(1)
            case "first":
                pooled = states[torch.arange(len(batch), device=self.model.device), first]
        return list(pooled.cpu())
