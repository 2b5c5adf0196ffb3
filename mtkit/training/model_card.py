"""The README of a model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from mtkit.checkpoint.run_folder import RunFolder, Validation
from mtkit.config.model_folder import ModelFolderConfig
from mtkit.config.recipe import Recipe
from mtkit.training.log import perplexity


def build_model_card(
    run: RunFolder,
    recipe: Recipe,
    folder_config: ModelFolderConfig,
    weights: Mapping[str, Tensor],
    checkpoints: Sequence[Path],
    scores: Validation | None,
) -> str:
    """Return a model card: what the model is, what it was trained on, how good it is, and how to use it."""
    record = run.read_record()
    config = folder_config.model
    languages = [folder_config.source_language or "?", folder_config.target_language or "?"]
    sizes = f"{config.num_encoder_layers} encoder and {config.num_decoder_layers} decoder layers"
    lines = [
        f"# Translation model {languages[0]}-{languages[1]}",
        "",
        f"A Transformer with {sizes}, {config.d_model} wide, feed-forward {config.d_ff}, {config.num_heads} heads, "
        f"{config.norm}-norm, vocabulary {config.tgt_vocab_size:,}; "
        f"{sum(tensor.numel() for tensor in weights.values()):,} parameters.",
        "",
        f"Trained with mtkit {record.mtkit_version} (torch {record.torch_version}, {record.device}, "
        f"{record.precision}) for {run.step_of(run.list_checkpoints()[-1]):,} updates of "
        f"{recipe.training.batch_tokens:,} tokens; seed {recipe.training.seed}.",
        f"Weights: {'mean of ' if len(checkpoints) > 1 else ''}{', '.join(sorted(p.name for p in checkpoints))}.",
        "",
    ]
    if scores is not None:
        lines += [
            "Validation set, greedy search: "
            f"BLEU {scores.bleu:.2f}, chrF2++ {scores.chrf:.2f}, perplexity {perplexity(scores.loss):.2f}.",
            "",
        ]
    tags = folder_config.needed_tags
    if tags:
        shown = ", ".join(f"`{tag}`" for tag in tags)
        lines += [f"Every source that it was trained on began with a tag, so it needs one: {shown}.", ""]
    flag = f" --tag '{tags[0]}'" if tags else ""
    lines += ["```", f"mtkit translate --model THIS_FOLDER{flag} input.txt", "```", ""]
    return "\n".join(lines)
