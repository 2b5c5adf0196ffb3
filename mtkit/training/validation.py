"""How good a model is on the validation set: loss a token, and BLEU of real translations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtkit.checkpoint.run_folder import Validation
from mtkit.config.decoding import DecodingSection
from mtkit.config.training import TrainingSection
from mtkit.corpus.batching import SpecialIds, collate, plan_batches
from mtkit.corpus.store import CorpusSplit, PreparedCorpus
from mtkit.decoding.translator import Translator
from mtkit.evaluation.metrics import evaluate
from mtkit.model.transformer import Transformer
from mtkit.training.loss import smoothed_cross_entropy


@dataclass(frozen=True)
class ValidationResult:
    """Scores, and (source, hypothesis, reference) of a few sentences."""

    scores: Validation
    samples: list[tuple[str, str, str]]


class Validator:
    """Validates a model that is being trained.

    Translations are greedy and in the run's precision, so that a validation stays cheap; the final score of a model is
    the matter of `mtkit evaluate`.
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
    ) -> None:
        self.corpus = corpus
        self.split = split
        self.training = training
        self.device = device
        self.special = special
        self.precision = precision
        greedy = {"beam_size": 1, "n_best": 1, "precision": precision}
        self.decoding = decoding.model_copy(update=greedy)
        self.batches = plan_batches(split.source_lengths, split.target_lengths, training.batch_tokens, 0, 0)
        limit = training.validation_sentences or len(split)
        # Evenly spaced, for validation sets are often sorted by topic or length.
        chosen = np.unique(np.linspace(0, len(split) - 1, min(limit, len(split))).astype(np.int64))
        pairs = [split[int(row)] for row in chosen]
        self.sources = [pair.source for pair in pairs]
        self.references = [pair.target for pair in pairs]
        self.sample_rows = sorted({len(pairs) // 3, 2 * len(pairs) // 3})

    def validate(self, model: Transformer, step: int) -> ValidationResult:
        """Return the scores of `model`; it is left in evaluation mode."""
        model.eval()
        loss = self._loss(model)
        translator = Translator(
            model, self.corpus.source_tokenizer, self.corpus.target_tokenizer, self.decoding, self.device
        )
        hypotheses = translator.translate(self.sources)
        scores = evaluate(
            hypotheses,
            self.references,
            metrics=("bleu", "chrf"),
            bootstrap_samples=0,
            target_language=self.corpus.target_language,
        )
        samples = [(self.sources[i], hypotheses[i], self.references[i]) for i in self.sample_rows]
        validation = Validation(step=step, loss=loss, bleu=scores["bleu"].score, chrf=scores["chrf"].score)
        return ValidationResult(validation, samples)

    @torch.inference_mode()
    def _loss(self, model: Transformer) -> float:
        """Return the unsmoothed cross-entropy of the whole set, in nats a target token, EOS included."""
        total = 0.0
        num_tokens = 0
        for rows in self.batches:
            batch = collate(self.split, rows, self.special)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                logits, targets = forward_tokens(
                    model,
                    batch.src_ids.to(self.device),
                    batch.tgt_in_ids.to(self.device),
                    batch.tgt_out_ids.to(self.device),
                )
            total += float(smoothed_cross_entropy(logits, targets, 0.0)[1])
            num_tokens += batch.num_tokens
        return total / num_tokens


def forward_tokens(
    model: Transformer, src_ids: Tensor, tgt_in_ids: Tensor, tgt_out_ids: Tensor
) -> tuple[Tensor, Tensor]:
    """Return logits and wanted ids of the real target tokens alone: `(tokens, vocab)` and `(tokens,)`.

    Padding is taken out before the output projection, the largest product of a small model.
    """
    memory, mask = model.encode(src_ids)
    states = model.decode(tgt_in_ids, memory, mask)
    is_real = tgt_out_ids != model.config.pad_id
    return model.project(states[is_real]), tgt_out_ids[is_real]
