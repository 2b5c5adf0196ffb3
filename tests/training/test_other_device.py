"""Whatever a run is made of, it is computed where the model lies."""

import json

import pytest

from mtkit.training.run import train_model

# On the CPU, dropout has masks of its own.
SETTINGS = [
    "model.dropout=0", "training.max_steps=4", "training.validate_every_steps=2", "training.log_every_steps=1",
    "training.validation_sentences=2",
]  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        ["training.ema_decay=0.9", "training.optimizer=adamw", "training.weight_decay=0.1", "model.norm=post"],
        ["training.r_drop=1", "training.subword_sampling=0.1", "training.micro_batch_tokens=60"],
        ["training.activation_checkpointing=true", "model.positions=learned", "model.tied_embeddings=none"],
    ],
    ids=lambda settings: settings[0],
)
def test_a_run_trains_and_goes_on_as_on_the_cpu(corpus_path, make_recipe, on_other_device, tmp_path, more):
    recipe, longer = make_recipe(*SETTINGS, *more), make_recipe(*SETTINGS, *more, "training.max_steps=6")
    here, there = tmp_path / "here", tmp_path / "there"
    train_model(corpus_path, recipe, here, device="cpu")
    train_model(corpus_path, longer, here, device="cpu", extend=True)
    with on_other_device():
        train_model(corpus_path, recipe, there)
        train_model(corpus_path, longer, there, extend=True)
    assert (there / "model" / "model.safetensors").is_file()
    assert read_losses(there) == pytest.approx(read_losses(here), rel=1e-4)


def read_losses(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {f"{record['kind']} {record['step']}": record["loss"] for record in records}
