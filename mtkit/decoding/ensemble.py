"""Several models that translate as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn

from mtkit.checkpoint.model_folder import LoadedModel
from mtkit.config.model import ModelConfig
from mtkit.errors import ModelError
from mtkit.model.cache import DecoderState
from mtkit.model.transformer import Transformer

EnsembleMode = Literal["log_probs", "probs"]

_ID_NAMES = ("pad_id", "unk_id", "bos_id", "eos_id", "decoder_start_id")


@dataclass
class EnsembleState:
    """The states of all models; what happens to one happens to each."""

    states: list[DecoderState]

    def reorder(self, rows: Tensor) -> None:
        """Let hypotheses continue from others of the same sentence: `(rows,)` int64 indices of rows."""
        for state in self.states:
            state.reorder(rows)

    def keep_sentences(self, sentences: Tensor) -> None:
        """Drop all but some sentences, `(new_batch,)` int64 indices, with all their rows."""
        for state in self.states:
            state.keep_sentences(sentences)


class Ensemble(nn.Module):
    """Models with one vocabulary, averaged at each token; the search takes it for a single model.

    The models may differ in all else: depth, width, norm, positions, precision. Whatever is asked of one model alone,
    its configuration and the attention to the source that aligns words, is that of the first.

    Args:
        models: At least one, all on one device.
        mode: `log_probs` multiplies the models' probabilities (their geometric mean, normalised again), so that every
            model can veto a token; `probs` adds them, so that one sure model suffices.
    """

    def __init__(self, models: Sequence[Transformer], mode: EnsembleMode = "log_probs") -> None:
        super().__init__()
        self.models: Sequence[Transformer] = nn.ModuleList(models)  # type: ignore[assignment]
        self.mode = mode

    @property
    def config(self) -> ModelConfig:
        """Of the first model; the special ids are those of all."""
        return self.models[0].config

    @property
    def device(self) -> torch.device:
        """Where the models lie."""
        return self.models[0].device

    @property
    def is_prepared(self) -> bool:
        """Whether the models are laid out for inference."""
        return all(model.is_prepared for model in self.models)

    @property
    def max_length(self) -> int | None:
        """Longest source and target in tokens, EOS included, that all models can take; None for no limit."""
        return min((model.max_length for model in self.models if model.max_length is not None), default=None)

    def start_decoding(self, src_ids: Tensor, beam: int = 1) -> EnsembleState:
        """Return the state before the first target token of `beam` hypotheses of each source, `(batch, src_len)`."""
        return EnsembleState([model.start_decoding(src_ids, beam) for model in self.models])

    def decode_step(self, token_ids: Tensor, state: EnsembleState) -> Tensor:
        """Return the logits of the next token of each row, and extend `state` by one position.

        They are not normalised: their log-softmax, which the search takes, is the ensemble's log-probability.

        Args:
            token_ids: `(rows,)` int64, the newest token of each hypothesis; rows = batch x beam, sentence-major.
            state: Updated in place.

        Returns:
            `(rows, vocab)` float32.
        """
        steps = zip(self.models, state.states, strict=True)
        return self.combine([model.decode_step(token_ids, own).float() for model, own in steps])

    def combine(self, logits: Sequence[Tensor]) -> Tensor:
        """Return the logits of all models, `(rows, vocab)` float32 each, as one, up to a number a row."""
        match self.mode:
            case "log_probs":
                # Logits differ from log-probabilities by one number a row and model, and so do their means, which the
                # log-softmax takes away.
                return reduce(torch.add, logits) / len(logits)
            case "probs":
                # Of the sum, not the mean: again one number a row.
                return reduce(torch.logaddexp, (torch.log_softmax(of_one, -1) for of_one in logits))

    def encode(self, src_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first model's memory and mask, for `attend_source`; see `Transformer.encode`."""
        return self.models[0].encode(src_ids)

    def attend_source(self, tgt_ids: Tensor, memory: Tensor, memory_mask: Tensor, layer: int | None) -> Tensor:
        """Return the attention weights of a decoder layer of the first model; see `Transformer.attend_source`."""
        return self.models[0].attend_source(tgt_ids, memory, memory_mask, layer)


def build_ensemble(models: Sequence[LoadedModel], mode: EnsembleMode = "log_probs") -> Ensemble:
    """Return the ensemble of loaded models.

    Args:
        models: At least one, all on one device.
        mode: See `Ensemble`.

    Raises:
        ModelError: A model has another vocabulary, or other special ids, than the first.
    """
    errors = [
        ModelError(
            f"the models cannot be combined: they differ in {' and '.join(differing)}",
            at=f"{models[0].path} and {other.path}",
            fix="give models that were trained from one prepared corpus, or with vocabulary.source_model",
        )
        for other in models[1:]
        if (differing := _find_differences(models[0], other))
    ]
    if errors:
        errors[0].also = tuple(errors[1:])
        raise errors[0]
    return Ensemble([loaded.model for loaded in models], mode)


def _find_differences(one: LoadedModel, other: LoadedModel) -> list[str]:
    """Return in what two models differ that an ensemble must share."""
    ours, theirs = one.model.config, other.model.config
    same = {
        "the source vocabulary": one.source_tokenizer.fingerprint == other.source_tokenizer.fingerprint
        and ours.src_vocab_size == theirs.src_vocab_size,
        "the target vocabulary": one.target_tokenizer.fingerprint == other.target_tokenizer.fingerprint
        and ours.tgt_vocab_size == theirs.tgt_vocab_size,
        "the special ids": all(getattr(ours, name) == getattr(theirs, name) for name in _ID_NAMES),
    }
    return [name for name, is_same in same.items() if not is_same]
