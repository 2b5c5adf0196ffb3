"""Validation in languages that BLEU needs to know of, and of a process that is told to stop."""

import json

import pytest
import torch

from mtkit.checkpoint.run_folder import RunFolder
from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.prepare import prepare_corpus
from mtkit.errors import TrainingError
from mtkit.training.batch_loss import BatchLoss
from mtkit.training.run import train_model
from mtkit.training.validation import Validator

# Words of one character each, so that a model learns to translate them in no time.
WORDS = {"dog": "い", "cat": "ね", "man": "お", "red": "あ", "big": "だ", "tree": "き"}


@pytest.mark.parametrize("language", [None, "jpn"])
def test_words_without_spaces_between_them_are_counted(tmp_path, make_recipe, capfd, language):
    sources = [f"{one} {two} {three} {one}" for one in WORDS for two in WORDS for three in WORDS]
    for side, lines in (
        ("source", sources),
        ("target", ["".join(WORDS[word] for word in line.split()) for line in sources]),
    ):
        (tmp_path / side).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    section = CorpusSection(
        source_language="en",
        target_language=language,
        train=[TextSource(source=tmp_path / "source", target=tmp_path / "target")],
        valid_size=16,
        test_size=0,
    )
    corpus = prepare_corpus(section, VocabularySection(size=40), tmp_path / "corpus").path
    recipe = make_recipe("training.max_steps=150", "training.validate_every_steps=150", "training.learning_rate=0.01")
    train_model(corpus, recipe, tmp_path / "run", device="cpu", threads=1)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    (bleu,) = [record["bleu"] for record in records if record["kind"] == "validation"]
    assert bleu > 5  # with 13a, for which a line is one word, 0 unless the line is right
    assert "validation: BLEU counts characters" in capfd.readouterr().err


def test_a_process_without_sentences_gives_up_too(corpus_path, make_recipe, tmp_path, monkeypatch):
    honest, given_up = Validator._translate, []

    def without_sentences(self, model, is_stopping):
        self.requests = []
        given_up.append(honest(self, model, lambda: True) is None)
        raise KeyboardInterrupt

    monkeypatch.setattr(Validator, "_translate", without_sentences)
    with pytest.raises(KeyboardInterrupt):
        train_model(corpus_path, make_recipe("training.max_steps=1"), tmp_path / "run", device="cpu", threads=1)
    assert given_up == [True]


def test_a_model_that_diverged_ends_the_run_as_such(corpus_path, make_recipe, tmp_path, monkeypatch):
    honest = Validator.validate

    def diverged(self, model, step, *arguments):
        if step == 4:
            torch.nn.init.constant_(model.output_proj.weight, torch.nan)
        return honest(self, model, step, *arguments)

    monkeypatch.setattr(Validator, "validate", diverged)
    recipe = make_recipe("training.max_steps=6", "training.validate_every_steps=2")
    with pytest.raises(TrainingError, match="the validation loss is not finite") as told:
        train_model(corpus_path, recipe, tmp_path / "run", device="cpu", threads=1)
    assert told.value.at == "step 4"
    assert [path.name for path in RunFolder(tmp_path / "run").list_checkpoints()] == ["step-00000002"]


def test_the_loss_is_computed_of_no_more_at_once_than_training_computes(
    corpus_path, make_recipe, tmp_path, monkeypatch
):
    """What does not fit into memory in training does not in validation."""
    honest, sizes = BatchLoss.forward, []

    def forward(self, src_ids, tgt_in_ids, *others):
        if not torch.is_grad_enabled():
            sizes.append((len(src_ids), src_ids.numel(), tgt_in_ids.numel()))
        return honest(self, src_ids, tgt_in_ids, *others)

    monkeypatch.setattr(BatchLoss, "forward", forward)
    settings = ["training.max_steps=2", "training.micro_batch_tokens=40"]
    train_model(corpus_path, make_recipe(*settings), tmp_path / "run", device="cpu", threads=1)
    assert len(sizes) > 4
    assert all(max(tokens) <= 40 or rows == 1 for rows, *tokens in sizes)


def test_a_validation_for_which_memory_is_too_small_is_made_in_smaller_batches(
    corpus_path, make_recipe, tmp_path, monkeypatch, capfd
):
    recipe = make_recipe("training.max_steps=2", "training.validate_every_steps=2")
    train_model(corpus_path, recipe, tmp_path / "whole", device="cpu", threads=1)
    honest, sizes = BatchLoss.forward, []

    def forward(self, src_ids, *others):
        if not torch.is_grad_enabled():
            sizes.append(len(src_ids))
            if len(src_ids) > 2:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return honest(self, src_ids, *others)

    monkeypatch.setattr(BatchLoss, "forward", forward)
    train_model(corpus_path, recipe, tmp_path / "run", device="cpu", threads=1)
    assert max(sizes) > 2
    assert "step 2: out of memory in the validation; batches halved: " in (tmp_path / "run" / "log.txt").read_text()
    ours, theirs = (
        [record for record in RunFolder(tmp_path / name).read_metrics() if record["kind"] == "validation"]
        for name in ("run", "whole")
    )
    assert [record["loss"] for record in ours] == pytest.approx([record["loss"] for record in theirs], rel=1e-6)
    assert [record["samples"] for record in ours] == [record["samples"] for record in theirs]
