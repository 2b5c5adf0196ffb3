"""What one of several processes does in test_distributed.py; torchrun starts it."""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from mtkit.checkpoint.run_folder import MicroBatch, RunFolder, RunRecord
from mtkit.config.loading import load_recipe, parse_set
from mtkit.config.model import build_model_config
from mtkit.corpus.batching import SpecialIds
from mtkit.corpus.store import PreparedCorpus
from mtkit.model.transformer import build_model
from mtkit.runtime.distributed import joined, read_processes
from mtkit.training.parallel import TrainedModel
from mtkit.training.trainer import Trainer
from mtkit.training.updates import UpdateReader


def write_gradients(corpus_path, recipe_path, folder, variants):
    """Write the gradients of one update, normalised, as the optimizer would see them, once for each variant.

    `variants` is JSON: a list of [dtype, parallel, micro_batch_tokens].
    """
    corpus = PreparedCorpus.load(corpus_path)
    processes = read_processes()
    torch.set_num_threads(1)
    with joined(processes, "cpu"):
        for number, (dtype, parallel, micro_batch_tokens) in enumerate(json.loads(variants)):
            recipe = load_recipe(recipe_path, [parse_set(f"training.parallel={parallel}")])
            kind, tokens, gradient = compute(corpus, recipe, processes, getattr(torch, dtype), micro_batch_tokens)
            if processes.is_main:
                np.savez(Path(folder) / f"{number}.npz", kind=kind, tokens=tokens, gradient=gradient)


def compute(corpus, recipe, processes, dtype, micro_batch_tokens):
    """Return how the model is held, the target tokens of the update, and its gradient a token, in one line."""
    torch.manual_seed(1)
    size = len(corpus.source_tokenizer)
    model = build_model(build_model_config(recipe.model, size, size)).to(dtype)
    config = model.config
    record = RunRecord(
        mtkit_version="0", torch_version="0", device="cpu", processor="any", threads=1, processes=processes.count,
        corpus="c", corpus_fingerprint="f", precision="fp32",
        micro_batches=[MicroBatch(from_step=1, tokens=micro_batch_tokens, reason="test")],
    )  # fmt: skip
    special = SpecialIds(config.pad_id, config.eos_id, config.decoder_start_id)
    trainer = Trainer(
        run=RunFolder(Path("none")),
        trained=TrainedModel(model, recipe.training, processes, "fp32", torch.device("cpu")),
        reader=UpdateReader(corpus.train, special, recipe.training, processes, record),
        validator=None,
        training=recipe.training,
        max_steps=10,
        processes=processes,
    )
    update = trainer.reader.build(1, 0, 0, np.arange(24))
    trainer.compute_gradients(update)
    (tokens,) = processes.sum([update.num_tokens])
    whole = {}
    for name, parameter in trainer.trained.weights.items():
        whole[name] = parameter.grad.full_tensor() if trainer.trained.kind == "fsdp" else parameter.grad
    flat = torch.cat([whole[name].flatten() for name in sorted(whole)]) / tokens
    return trainer.trained.kind, tokens, flat.double().numpy()


if __name__ == "__main__":
    write_gradients(*sys.argv[1:])
