"""How good a model is on the validation set: loss a token, and BLEU of real translations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtkit.checkpoint.run_folder import Validation
from mtkit.checkpoint.weights import unique_weights
from mtkit.config.decoding import DecodingSection
from mtkit.config.evaluation import EvaluationSection
from mtkit.config.training import TrainingSection
from mtkit.corpus.batching import Rows, SpecialIds, collate, plan_batches, read_pairs
from mtkit.corpus.store import CorpusSplit, PreparedCorpus
from mtkit.decoding.request import Request
from mtkit.decoding.translator import Translator
from mtkit.errors import DataError, TrainingError
from mtkit.evaluation.metrics import Evaluator
from mtkit.evaluation.tokenizers import guess_language
from mtkit.model.transformer import Transformer, build_model
from mtkit.runtime import console
from mtkit.runtime.distributed import Processes
from mtkit.runtime.memory import is_out_of_memory
from mtkit.training.batch_loss import BatchLoss

# How many sentences are shown with their translations.
_MAX_SAMPLES = 4


class _StoppedError(Exception):
    """Leaves a translation that is no longer wanted."""


@dataclass(frozen=True)
class ValidationResult:
    """Scores, and (source, hypothesis, reference) of a few sentences.

    `num_halved` is the number of batches that this process computed in halves, for want of memory.
    """

    scores: Validation
    samples: list[tuple[str, str, str]]
    num_halved: int = 0


class Validator:
    """Validates a model that is being trained; of several processes each does a part.

    Translations are greedy and in the run's precision, so that a validation stays cheap; the final score of a model is
    the matter of `mtkit evaluate`.

    Raises:
        DataError: Of the sentences to translate none has a reference.
    """

    def __init__(
        self,
        *,
        corpus: PreparedCorpus,
        split: CorpusSplit,
        training: TrainingSection,
        decoding: DecodingSection,
        precision: str,
        device: torch.device,
        special: SpecialIds,
        processes: Processes,
    ) -> None:
        self.corpus = corpus
        self.split = split
        self.training = training
        self.device = device
        self.special = special
        self.precision = precision
        self.processes = processes
        self._num_halved = 0
        greedy = {"beam_size": 1, "n_best": 1, "sampling": False, "expand_prefix": False, "mbr": None}
        cheap = {**greedy, "replace_unknown": False, "precision": precision}
        self.decoding = decoding.model_copy(update=cheap)
        limit = training.validation_sentences or len(split)
        # Evenly spaced, for validation sets are often sorted by topic or length.
        chosen = np.unique(np.linspace(0, len(split) - 1, min(limit, len(split))).astype(np.int64))
        pairs = [split[int(row)] for row in chosen]
        self.sources = [pair.source for pair in pairs]
        self.requests = [Request(pair.source, corpus.tag_of(pair.corpus)) for pair in pairs]
        self.references = [pair.target for pair in pairs]
        if not any(reference.strip() for reference in self.references):
            raise DataError(
                "the validation set holds no target text",
                at=corpus.path,
                fix="prepare the corpus with sentences that are translated",
            )
        # A language that nobody told is guessed: words without spaces between them would all count as wrong.
        self._evaluator = Evaluator(
            self.references,
            EvaluationSection(metrics=["bleu", "chrf"], bootstrap_samples=0),
            target_language=corpus.target_language or guess_language(self.references),
        )
        for note in self._evaluator.notes:
            console.warn(f"validation: {note}")
        self.sample_rows = sorted({part * len(pairs) // (_MAX_SAMPLES + 1) for part in range(1, _MAX_SAMPLES + 1)})

    def validate(
        self,
        model: Transformer,
        step: int,
        batch_tokens: int,
        weights: dict[str, Tensor] | None = None,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> ValidationResult | None:
        """Return the scores of a model; all processes take part and get them.

        Args:
            model: Left in evaluation mode where it is what is validated.
            step: Noted with the scores.
            batch_tokens: What the loss is computed of at once: what training computes at once fits into memory. What
                does not is computed in halves.
            weights: What to validate in place of the model's own weights; None for these.
            is_stopping: Asked between batches whether this process was told to stop: a validation may take longer
                than whoever says so waits.

        Returns:
            None, in all processes, if one of them was told to stop before it had done its part.

        Raises:
            TrainingError: The loss is not finite.
        """
        if weights is not None:
            model = build_model(model.config, is_drawn=False).to(self.device)
            with torch.no_grad():
                for name, parameter in unique_weights(model).items():
                    parameter.copy_(weights[name])
        model.eval()
        self._num_halved = 0
        loss = self._loss(model, batch_tokens, is_stopping)
        if not math.isfinite(loss):
            raise TrainingError(
                "the validation loss is not finite",
                at=f"step {step:,}",
                fix="lower training.learning_rate, or use training.precision=fp32; earlier checkpoints stay",
            )
        hypotheses = self._translate(model, is_stopping)
        if hypotheses is None:
            return None
        scores = self.processes.share(self._score(hypotheses, loss, step) if self.processes.is_main else None)
        assert scores is not None
        samples = [(self.sources[i], hypotheses[i], self.references[i]) for i in self.sample_rows]
        return ValidationResult(scores, samples, self._num_halved)

    def _score(self, hypotheses: list[str], loss: float, step: int) -> Validation:
        scores = self._evaluator.score(hypotheses)
        return Validation(step=step, loss=loss, bleu=scores["bleu"].score, chrf=scores["chrf"].score)

    def _translate(self, model: Transformer, is_stopping: Callable[[], bool]) -> list[str] | None:
        """Return the translations of all sentences, in order; each process makes every n-th of them."""

        def go_on(num_done: int) -> None:
            if is_stopping():
                raise _StoppedError

        translator = Translator(model, self.corpus.source_tokenizer, self.corpus.target_tokenizer, self.decoding)
        mine = slice(self.processes.rank, None, self.processes.count)
        try:
            go_on(0)  # what was told during the loss counts for a process without sentences, too
            own = [translation.text for translation in translator.iter_translations(self.requests[mine], go_on)]
        except _StoppedError:
            own = None
        hypotheses = [""] * len(self.sources)
        for rank, part in enumerate(self.processes.gather(own)):
            if part is None:
                return None
            hypotheses[rank :: self.processes.count] = part
        return hypotheses

    @torch.inference_mode()
    def _loss(self, model: Transformer, batch_tokens: int, is_stopping: Callable[[], bool]) -> float:
        """Return the unsmoothed cross-entropy of the whole set, in nats a target token, EOS included.

        It means nothing where a process is told to stop.
        """
        total = 0.0
        num_tokens = 0
        batches = plan_batches(self.split.source_lengths, self.split.target_lengths, batch_tokens, 0, 0)
        for rows in batches[self.processes.rank :: self.processes.count]:
            nll, num = self._sum_loss(model, rows)
            total += nll
            num_tokens += num
            if is_stopping():
                break
        total, count = self.processes.sum([total, num_tokens])
        return total / count

    def _sum_loss(self, model: Transformer, rows: Rows) -> tuple[float, int]:
        """Return the summed loss of some pairs and their target tokens; in halves where memory runs out."""
        batch = collate(read_pairs(self.split, rows), self.special)
        try:
            tensors = (tensor.to(self.device) for tensor in batch.tensors)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                nll = BatchLoss(model)(*tensors)[1]
            return float(nll), batch.num_tokens
        except (RuntimeError, MemoryError) as exc:
            if len(rows) == 1 or not is_out_of_memory(exc):
                raise
        # Out of the block above, so that what was computed is free.
        self._num_halved += 1
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        parts = [self._sum_loss(model, part) for part in np.array_split(rows, 2)]
        return sum(nll for nll, _ in parts), sum(count for _, count in parts)
