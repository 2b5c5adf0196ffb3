"""Forced decoding: the probability that a model gives to translations that are there already."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.batches import WINDOW_BATCHES, Batcher
from mtkit.decoding.ensemble import Ensemble
from mtkit.decoding.inference import inferring, pad_ids
from mtkit.decoding.lengths import length_penalty
from mtkit.decoding.lines import clean_source
from mtkit.decoding.request import Request, to_request
from mtkit.decoding.sources import SourceReader
from mtkit.decoding.translator import Translator
from mtkit.errors import DataError, ModelError, MtkitError
from mtkit.model.transformer import Transformer
from mtkit.runtime.device import DeviceName, resolve_inference_precision

# A longer side is not scored: the memory of attention grows with the square of the length.
MAX_TOKENS = 4096

# Logits that are held at once, so that memory does not grow with the vocabulary.
_MAX_LOGITS = 1 << 24

Pair = tuple[str | Request, str]


@dataclass(frozen=True)
class Score:
    """What a model thinks of one translation.

    Attributes:
        target: The translation as it was scored: one line, no white space around it.
        tokens: Its pieces, EOS included: the vocabulary's own segmentation of the text.
        token_log_probs: Of each of these pieces, natural. Their sum is `log_prob`.
        score: `log_prob` after the length penalty, as that of a hypothesis; higher is better.
        num_unknown: Pieces that the vocabulary does not know.
        num_source_tokens: Tokens of the source, tag and EOS included.
        problem: Why the pair could not be scored; its numbers are then NaN.
    """

    target: str
    tokens: tuple[str, ...] = ()
    token_log_probs: tuple[float, ...] = ()
    score: float = math.nan
    num_unknown: int = 0
    num_source_tokens: int = 0
    problem: MtkitError | None = None

    @property
    def num_tokens(self) -> int:
        """Target tokens, EOS included."""
        return len(self.token_log_probs)

    @property
    def log_prob(self) -> float:
        """Natural log-probability of the translation, EOS included, <= 0."""
        return math.fsum(self.token_log_probs) if self.token_log_probs else math.nan

    @property
    def mean_log_prob(self) -> float:
        """Log-probability a token, EOS included; negated, the cross-entropy in nats a token."""
        return self.log_prob / self.num_tokens if self.token_log_probs else math.nan


class _Ids(NamedTuple):
    """A pair as tokens: the source with tag and EOS, the target without EOS; and its place among those given."""

    place: int
    source: Sequence[int]
    target: Sequence[int]


class Scorer:
    """Scores translations with the model of a translator.

    ```python
    scorer = Scorer.load("run")
    scorer.score([("A dog runs.", "Ein Hund läuft.")])[0].log_prob
    ```

    A pair is always scored whole: lines that translation would split (`decoding.max_source_tokens`) are not. An empty
    target has the log-probability of EOS; an empty source is that of its tag, if there is one, and EOS.

    Args:
        translator: Gives model, vocabularies, device, tag, precision, batching and length penalty.
    """

    def __init__(self, translator: Translator) -> None:
        self.model = translator.model
        self.source_tokenizer = translator.source_tokenizer
        self.target_tokenizer = translator.target_tokenizer
        self.decoding = translator.decoding
        self._precision = resolve_inference_precision(self.decoding.precision, self.model.device)
        self._batcher = Batcher[_Ids](
            self.decoding,
            self.model.device,
            lambda pair: (len(pair.source), len(pair.target) + 1),
            name="pair",
            fix="leave such long lines out, or use --device cpu",
        )
        limit = self.model.max_length
        self._reader = SourceReader(self.source_tokenizer, self.decoding, limit)
        self.max_tokens = MAX_TOKENS if limit is None else min(MAX_TOKENS, limit)

    @classmethod
    def load(
        cls,
        path: str | Path | Sequence[str | Path],
        *,
        device: DeviceName = "auto",
        decoding: DecodingSection | None = None,
        threads: int | None = None,
    ) -> Scorer:
        """Load a model folder or the best model of a run; arguments and errors are those of `Translator.load`."""
        return cls(Translator.load(path, device=device, decoding=decoding, threads=threads))

    @property
    def window_lines(self) -> int:
        """Number of pairs that are best read ahead and scored together."""
        return WINDOW_BATCHES * self.decoding.batch_size

    def score(self, pairs: Iterable[Pair]) -> list[Score]:
        """Return the score of each pair, in order; arguments and errors are those of `iter_scores`."""
        return list(self.iter_scores(pairs))

    def iter_scores(self, pairs: Iterable[Pair]) -> Iterator[Score]:
        """Yield the score of each pair, in order, reading ahead by a bounded window.

        Args:
            pairs: Sources, as lines or as requests with a tag, and targets.

        Raises:
            DataError: A side is too long for the model.
            ModelError: A tag is no piece of the source vocabulary, or the model's probabilities are not numbers.
            DeviceError: The device's memory does not suffice for a single pair.
        """
        rest = iter(pairs)
        while window := list(islice(rest, self.window_lines)):
            for score in self.score_window(window):
                if score.problem is not None:
                    raise score.problem
                yield score

    def score_window(self, window: Sequence[Pair]) -> list[Score]:
        """Return the score of each pair of a window, in order; a pair that cannot be scored comes with its problem.

        Args:
            window: Pairs to score together: sorted by length, in batches.

        Raises:
            ModelError: The model's probabilities are not numbers.
            DeviceError: The device's memory does not suffice for a single pair.
        """
        requests = [to_request(source) for source, _ in window]
        texts = [clean_source(target) for _, target in window]
        sources = self._reader.read([request.source for request in requests])
        targets = self.target_tokenizer.encode(texts, threads=torch.get_num_threads())
        ready: dict[int, list[int]] = {}
        scores: dict[int, Score] = {}
        for place, (request, source, target) in enumerate(zip(requests, sources, targets, strict=True)):
            try:
                ids = self._reader.close(self._reader.find_head(source, request.tag), source.token_ids)
                self._check_lengths(len(ids), len(target) + 1)
                ready[place] = ids
            except MtkitError as problem:
                scores[place] = Score(texts[place], problem=problem)
        found = self.score_ids(list(ready.values()), [targets[place] for place in ready])
        for (place, ids), log_probs in zip(ready.items(), found, strict=True):
            scores[place] = self._describe(texts[place], len(ids), targets[place], log_probs)
        return [scores[place] for place in range(len(window))]

    def score_ids(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the log-probability of each target token, and of EOS, given the tokens before it.

        These are the numbers that the search gives to its hypotheses (`Hypothesis.token_log_probs`).

        Args:
            sources: Source tokens of each pair, the tag and EOS included.
            targets: Target tokens of each pair, without EOS.

        Raises:
            ModelError: The model's probabilities are not numbers.
            DeviceError: The device's memory does not suffice for a single pair.
        """
        pairs = [
            _Ids(place, source, target) for place, (source, target) in enumerate(zip(sources, targets, strict=True))
        ]
        found: list[list[float]] = [[] for _ in pairs]
        for batch in self._batcher.cut(pairs):
            for pair, log_probs in zip(batch, self._batcher.run(self._force, batch), strict=True):
                found[pair.place] = log_probs
        return found

    def _force(self, batch: Sequence[_Ids]) -> list[list[float]]:
        """Return the log-probabilities of the targets of a batch."""
        src_ids = pad_ids([pair.source for pair in batch], self.model.config.pad_id, self.model.device)
        with inferring(self.model, self._precision):
            return force(self.model, src_ids, [pair.target for pair in batch])

    def _check_lengths(self, src_len: int, tgt_len: int) -> None:
        """Refuse a pair that is too long; lengths are in tokens, EOS included.

        Raises:
            DataError: It is.
        """
        for side, length in (("source", src_len), ("target", tgt_len)):
            if length > self.max_tokens:
                raise DataError(
                    f"the {side} has {length:,} tokens, and at most {self.max_tokens:,} can be scored",
                    fix="split the line",
                )

    def _describe(self, text: str, src_len: int, target: Sequence[int], log_probs: Sequence[float]) -> Score:
        tokenizer = self.target_tokenizer
        return Score(
            target=text,
            tokens=tuple(tokenizer.pieces([*target, tokenizer.eos_id])),
            token_log_probs=tuple(log_probs),
            score=math.fsum(log_probs) / length_penalty(len(log_probs), self.decoding),
            num_unknown=list(target).count(tokenizer.unk_id),
            num_source_tokens=src_len,
        )


def force(model: Transformer | Ensemble, src_ids: Tensor, targets: Sequence[Sequence[int]]) -> list[list[float]]:
    """Return the log-probabilities of each target's tokens and EOS, in one pass.

    Args:
        model: In evaluation mode; call this under `torch.inference_mode()`.
        src_ids: `(batch, src_len)` int64, EOS included, padded with `pad_id` behind.
        targets: The target tokens of each sentence, without EOS.

    Raises:
        ModelError: The model's probabilities are not numbers.
    """
    config = model.config
    rows = [[config.decoder_start_id, *target, config.eos_id] for target in targets]
    tgt_ids = pad_ids(rows, config.pad_id, src_ids.device)
    lengths = torch.tensor([len(target) + 1 for target in targets], device=src_ids.device)
    is_real = torch.arange(tgt_ids.size(1) - 1, device=src_ids.device) < lengths.unsqueeze(1)  # (batch, tgt_len)
    labels = tgt_ids[:, 1:][is_real]
    models = model.models if isinstance(model, Ensemble) else [model]
    states = [one.decode(tgt_ids[:, :-1], *one.encode(src_ids))[is_real] for one in models]  # each (tokens, d_model)
    step = max(1, _MAX_LOGITS // config.tgt_vocab_size)
    found = []
    for first in range(0, len(labels), step):
        part = slice(first, first + step)
        logits = [one.project(of_one[part]).float() for one, of_one in zip(models, states, strict=True)]
        mixed = model.combine(logits) if isinstance(model, Ensemble) else logits[0]  # (step, vocab)
        found.append(mixed.gather(1, labels[part].unsqueeze(1)).squeeze(1) - mixed.logsumexp(1))
    log_probs = torch.cat(found)
    if log_probs.isnan().any():
        raise ModelError(
            "the model gives probabilities that are not numbers",
            fix="its training diverged, or its file is damaged: use an earlier checkpoint",
        )
    return [of_one.tolist() for of_one in torch.split(log_probs, lengths.tolist())]
