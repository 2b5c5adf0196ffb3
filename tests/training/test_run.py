import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from mtkit.checkpoint.checkpoint import CheckpointWriter, find_last_checkpoint
from mtkit.checkpoint.model_folder import load_model
from mtkit.checkpoint.run_folder import RunFolder, rank_checkpoints
from mtkit.checkpoint.weights import read_tensors
from mtkit.errors import ModelError, OutputError, RecipeError
from mtkit.training.board import Board
from mtkit.training.finishing import _find_better
from mtkit.training.log import TrainingLog
from mtkit.training.parallel import TrainedModel
from mtkit.training.run import train_model
from mtkit.training.trainer import Trainer
from mtkit.training.validation import Validator


def train(corpus_path, recipe, output, **options):
    return train_model(corpus_path, recipe, output, device="cpu", threads=1, **options)


def digest(run):
    """Everything of a run that must not depend on interruptions."""
    files = sorted(p for p in run.rglob("*.safetensors"))
    hashes = {str(p.relative_to(run)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return hashes, [{k: v for k, v in r.items() if not k.endswith(("_second", "_seconds"))} for r in records]


@pytest.fixture
def run(corpus_path, make_recipe, tmp_path):
    train(corpus_path, make_recipe(), tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_writes_what_it_promises(run):
    names = {p.name for p in run.path.iterdir()}
    assert {"recipe.yaml", "run.json", "config.json", "checkpoints", "metrics.jsonl", "log.txt", "model"} <= names
    assert "report.html" in names
    assert not [name for name in names if name.startswith(".")]
    assert {p.name for p in run.model.iterdir()} == {"config.json", "model.safetensors", "shared.spm", "README.md"}
    assert [p.name for p in run.list_checkpoints()] == [f"step-{n:08d}" for n in (5, 10, 15, 20)]
    kinds = [(r["kind"], r["step"]) for r in run.read_metrics()]
    assert kinds == [("train", 5), ("train", 10), ("validation", 10), ("train", 15), ("train", 20), ("validation", 20)]
    card = (run.model / "README.md").read_text()
    assert "BLEU" in card
    assert "for 20 updates of 200 tokens" in card
    assert f"{sum(t.numel() for t in read_tensors(run.model / 'model.safetensors').values()):,} parameters" in card
    assert (run.path / "tensorboard").is_dir()


def test_the_loss_falls(run):
    losses = [r["nll"] for r in run.read_metrics() if r["kind"] == "train"]
    assert losses[-1] < losses[0] - 0.2  # in 20 updates


def test_only_the_last_two_checkpoints_keep_their_optimizer(run):
    kept = [p.name for p in run.list_checkpoints() if (p / "optimizer.safetensors").exists()]
    assert kept == ["step-00000015", "step-00000020"]


@pytest.mark.parametrize(
    ("setting", "steps"),
    [
        ("average=null", (5, 10, 15, 20)),
        ("average_count=2", (15, 20)),
        ("average=best", (10, 20)),
        ("average=off", (20,)),
    ],
)
def test_the_model_is_the_average_of_checkpoints(corpus_path, make_recipe, tmp_path, monkeypatch, setting, steps):
    monkeypatch.setattr("mtkit.training.finishing._TOLERATED", 100)
    train(corpus_path, make_recipe(f"training.{setting}", "training.best_metric=loss"), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert load_model(run.path, torch.device("cpu")).path == run.model
    parts = [read_tensors(run.checkpoint(step) / "model.safetensors") for step in steps]
    for name, tensor in read_tensors(run.model / "model.safetensors").items():
        torch.testing.assert_close(tensor, sum(part[name] for part in parts) / len(parts))


def test_the_same_command_again_has_nothing_to_do(run, corpus_path, make_recipe):
    before = digest(run.path)
    assert train(corpus_path, make_recipe(), run.path).was_up_to_date
    assert digest(run.path) == before


def test_a_finished_run_of_another_recipe_is_refused_naming_the_fields(run, corpus_path, make_recipe):
    with pytest.raises(RecipeError, match=r"training\.seed \(1 there, 7 now\)"):
        train(corpus_path, make_recipe("training.seed=7"), run.path)
    assert not train(corpus_path, make_recipe("training.seed=7"), run.path, restart=True).was_up_to_date


def test_a_folder_that_is_no_run_is_never_replaced(corpus_path, make_recipe, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    for restart in (False, True):
        with pytest.raises(OutputError, match="something else"):
            train(corpus_path, make_recipe(), tmp_path / "other", restart=restart)
    assert (tmp_path / "other" / "thesis.tex").exists()


def test_before_the_end_a_run_stands_for_its_best_checkpoint(run, capfd):
    shutil.rmtree(run.model)
    model = load_model(run.path, torch.device("cpu"))
    best = rank_checkpoints(run, "bleu")[0]
    assert f"using its checkpoint {best.name}" in capfd.readouterr().err
    weights = read_tensors(best / "model.safetensors")
    assert torch.equal(model.model.source_embedding.weight, weights["source_embedding.weight"])


COMMAND = """
import sys
from pathlib import Path
from mtkit.config.loading import load_recipe
from mtkit.training.run import train_model
train_model(Path(sys.argv[1]), load_recipe(sys.argv[2]), Path(sys.argv[3]), device="cpu", threads=1)
"""


def start(corpus_path, recipe_path, output):
    arguments = [sys.executable, "-c", COMMAND, str(corpus_path), str(recipe_path), str(output)]
    return subprocess.Popen(arguments, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(corpus_path, make_recipe, tmp_path, precision):
    from mtkit.config.loading import write_recipe

    recipe_path = tmp_path / "recipe.yaml"
    settings = ["training.max_steps=60", "training.save_every_steps=3", f"training.precision={precision}"]
    write_recipe(make_recipe(*settings, "model.dropout=0.2"), recipe_path)
    assert start(corpus_path, recipe_path, tmp_path / "whole").wait() == 0
    killed = tmp_path / "killed"
    for _ in range(2):
        process = start(corpus_path, recipe_path, killed)
        before = RunFolder(killed).list_checkpoints()
        while RunFolder(killed).list_checkpoints()[-1:] in ([], before[-1:]) and process.poll() is None:
            time.sleep(0.002)
        process.kill()
        process.wait()
    assert not RunFolder(killed).is_finished, "the run was too quick to be killed"
    assert start(corpus_path, recipe_path, killed).wait() == 0
    assert digest(killed) == digest(tmp_path / "whole")


def test_a_signal_saves_and_the_run_goes_on_from_there(corpus_path, make_recipe, tmp_path, monkeypatch):
    recipe = make_recipe("training.save_every_steps=1000", "training.validate_every_steps=1000")
    train(corpus_path, recipe, tmp_path / "whole")
    honest = Trainer.compute_gradients

    def compute_gradients(self, update):
        if update.step == 8:
            signal.raise_signal(signal.SIGTERM)
        return honest(self, update)

    monkeypatch.setattr(Trainer, "compute_gradients", compute_gradients)
    outcome = train(corpus_path, recipe, tmp_path / "run")
    assert (outcome.exit_code, outcome.model) == (143, None)
    run = RunFolder(tmp_path / "run")
    assert run.read_state(run.list_checkpoints()[-1]).step in (8, 9)
    monkeypatch.undo()
    train(corpus_path, recipe, run.path)
    assert read_hash(run) == read_hash(RunFolder(tmp_path / "whole"))


@pytest.mark.parametrize("step", [10, 20])
@pytest.mark.parametrize("place", ["update", "loss", "translation"])
def test_a_validation_is_given_up_for_a_signal_and_made_up_for(
    corpus_path, make_recipe, tmp_path, monkeypatch, capfd, step, place
):
    recipe = make_recipe("training.save_every_steps=1000")
    train(corpus_path, recipe, tmp_path / "whole")
    kind, name = {
        "update": (Trainer, "compute_gradients"),
        "loss": (Validator, "_loss"),
        "translation": (Validator, "_translate"),
    }[place]
    honest, calls = getattr(kind, name), []

    def signalling(self, *arguments):
        calls.append(arguments)
        if len(calls) == (step if place == "update" else step // 10):
            signal.raise_signal(signal.SIGTERM)
        return honest(self, *arguments)

    monkeypatch.setattr(kind, name, signalling)
    run = RunFolder(tmp_path / "run")
    assert train(corpus_path, recipe, run.path).exit_code == 143
    state = run.read_state(run.list_checkpoints()[-1])
    monkeypatch.undo()
    assert (state.step, state.validation) in ((step, None), (step + 1, None))
    assert state.is_validation_due == (state.step == step)
    capfd.readouterr()
    train(corpus_path, recipe, run.path)
    assert digest(run.path) == digest(tmp_path / "whole")
    assert not re.search(r"\bnan\b", capfd.readouterr().err)


def test_a_validation_that_was_made_up_for_is_recorded_once_though_a_kill_came_before_the_save(
    corpus_path, make_recipe, tmp_path, monkeypatch
):
    """A second record would count as one more validation without a better score."""
    recipe = make_recipe("training.save_every_steps=1000")
    train(corpus_path, recipe, tmp_path / "whole")
    honest, run = Validator._loss, RunFolder(tmp_path / "run")

    def signalling(self, *arguments):
        signal.raise_signal(signal.SIGTERM)
        return honest(self, *arguments)

    def killed(self, take, state):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Validator, "_loss", signalling)
        assert train(corpus_path, recipe, run.path).exit_code == 143
    assert run.read_state(run.list_checkpoints()[-1]).is_validation_due
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointWriter, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            train(corpus_path, recipe, run.path)
    assert [r["step"] for r in run.read_metrics() if r["kind"] == "validation"] == [10]
    train(corpus_path, recipe, run.path)
    assert [r["step"] for r in run.read_metrics() if r["kind"] == "validation"] == [10, 20]
    assert digest(run.path) == digest(tmp_path / "whole")


def read_hash(run):
    return hashlib.sha256((run.checkpoint(20) / "model.safetensors").read_bytes()).hexdigest()


def test_a_second_ctrl_c_stops_at_once(corpus_path, make_recipe, tmp_path, monkeypatch):
    def compute_gradients(self, update):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "compute_gradients", compute_gradients)
    with pytest.raises(KeyboardInterrupt):
        train(corpus_path, make_recipe(), tmp_path / "run")


def test_a_damaged_last_checkpoint_is_reported_and_the_one_before_used(run, capfd):
    path = run.checkpoint(20) / "model.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    assert find_last_checkpoint(run) == run.checkpoint(15)
    assert "step-00000020 cannot be used: the file is damaged" in capfd.readouterr().err
    assert not run.checkpoint(20).exists()
    (run.checkpoint(15) / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no checkpoint of the run can be restored"):
        find_last_checkpoint(run)


def test_damaged_checkpoints_make_no_model(run, corpus_path, make_recipe, capfd):
    before = read_tensors(run.checkpoint(20) / "model.safetensors")
    path = run.checkpoint(10) / "model.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    run.write_record(run.read_record().model_copy(update={"is_finished": False}))
    train(corpus_path, make_recipe(), run.path)
    said = capfd.readouterr().err
    assert "checkpoint step-00000010 cannot be used: the file is damaged" in said
    assert "the model is step-00000020" in said
    after = read_tensors(run.model / "model.safetensors")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_one_damaged_checkpoint_stops_neither_a_resume_nor_the_end(run, corpus_path, make_recipe, capfd):
    (run.checkpoint(10) / "state.json").write_text("{")
    run.write_record(run.read_record().model_copy(update={"is_finished": False}))
    assert train(corpus_path, make_recipe("training.max_steps=30"), run.path, extend=True).model == run.model
    said = capfd.readouterr().err
    assert said.count("checkpoint step-00000010 is left out: the file is damaged") == 1
    card = (run.model / "README.md").read_text()
    assert "step-00000010" not in card


@pytest.mark.parametrize("name", ["config.json", "shared.spm"])
def test_what_is_damaged_beside_the_checkpoints_does_not_get_into_the_model(run, corpus_path, make_recipe, name):
    before = (run.model / name).read_bytes()
    damaged = bytearray(before)
    damaged[len(damaged) // 2] ^= 16
    (run.path / name).write_bytes(damaged)
    run.write_record(run.read_record().model_copy(update={"is_finished": False}))
    train(corpus_path, make_recipe(), run.path)
    assert (run.model / name).read_bytes() == before


def test_an_average_that_is_clearly_worse_than_a_checkpoint_is_not_taken(corpus_path, make_recipe, tmp_path, capfd):
    """Of a training that is still falling steeply the early weights are no help."""
    steep = ["training.learning_rate=0.02", "training.validate_every_steps=4", "training.keep_checkpoints=5"]
    recipe = make_recipe(*steep, "training.average=best", "training.best_metric=loss")
    train(corpus_path, recipe, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    said = capfd.readouterr().err
    losses = {r["step"]: r["loss"] for r in run.read_metrics() if r["kind"] == "validation"}
    best = min(losses, key=losses.get)
    assert f"step-{best:08} alone one of {losses[best]:.3f}: the average is not taken" in said
    assert f"the model is step-{best:08}; validation loss {losses[best]:.3f}" in said
    expected = read_tensors(run.checkpoint(best) / "model.safetensors")
    found = read_tensors(run.model / "model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_an_average_gives_way_to_a_whole_checkpoint_only(run):
    best = rank_checkpoints(run, "loss")[0]
    chosen = [run.checkpoint(5), run.checkpoint(10)]
    worse = run.read_state(best).validation.model_copy(update={"loss": 99.0})
    assert _find_better(run, chosen, worse) == best / "model.safetensors"
    (best / "model.safetensors").write_bytes(b"")
    assert _find_better(run, chosen, worse) is None


def test_a_stop_during_the_last_update_is_obeyed(corpus_path, make_recipe, tmp_path, monkeypatch):
    recipe = make_recipe()
    train(corpus_path, recipe, tmp_path / "whole")
    honest = Trainer._save

    def save(self, writer):
        if self.state.step == 20:
            signal.raise_signal(signal.SIGINT)
        honest(self, writer)

    monkeypatch.setattr(Trainer, "_save", save)
    run = RunFolder(tmp_path / "run")
    outcome = train(corpus_path, recipe, run.path)
    assert (outcome.exit_code, run.is_finished) == (130, False)
    monkeypatch.undo()
    train(corpus_path, recipe, run.path)
    assert digest(run.path) == digest(tmp_path / "whole")


@pytest.mark.parametrize(
    "line", ["[]", "5", "{}", '{"kind": "validation", "step": 3}', '{"kind": "train", "step": "3"}']
)
def test_lines_of_metrics_that_are_no_records_stop_nothing(run, corpus_path, make_recipe, line):
    before = run.read_metrics()
    path = run.path / "metrics.jsonl"
    path.write_text(f"{line}\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    run.write_record(run.read_record().model_copy(update={"is_finished": False}))
    train(corpus_path, make_recipe(), run.path)
    assert run.read_metrics() == before


def test_a_rotation_that_a_kill_cut_short_is_made_up_for(run, corpus_path, make_recipe):
    before = sorted(run.checkpoints.rglob("*"))
    shutil.copy(run.checkpoint(20) / "optimizer.safetensors", run.checkpoint(5))
    (run.checkpoints / ".step-00000015.partial").mkdir()
    run.write_record(run.read_record().model_copy(update={"is_finished": False}))
    train(corpus_path, make_recipe(), run.path)
    assert sorted(run.checkpoints.rglob("*")) == before


def test_minutes_become_steps_once(corpus_path, make_recipe, tmp_path):
    recipe = make_recipe("training.max_steps=null", "training.max_minutes=0.02")
    train(corpus_path, recipe, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    steps = run.read_record().max_steps
    assert steps >= 1
    assert run.read_state(run.list_checkpoints()[-1]).step == steps


def test_early_stopping_ends_a_run_that_gets_no_better(corpus_path, make_recipe, tmp_path):
    settings = ["training.learning_rate=1e-12", "training.patience=2", "training.max_steps=1000"]
    train(corpus_path, make_recipe(*settings), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.is_finished
    assert run.read_state(run.list_checkpoints()[-1]).step == 30


def test_max_epochs_ends_a_run(corpus_path, make_recipe, tmp_path):
    train(corpus_path, make_recipe("training.max_steps=null", "training.max_epochs=2"), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    state = run.read_state(run.list_checkpoints()[-1])
    assert state.epoch == 1
    assert state.step == 2 * state.batch_index or abs(state.step - 2 * state.batch_index) <= 2


def test_contradictions_are_refused_before_anything_is_written(corpus_path, make_recipe, tmp_path):
    for settings, match in (
        (["model.num_heads=3"], "num_heads"),
        (["training.max_steps=null", "training.max_epochs=1", "training.schedule=cosine"], "where the run ends"),
    ):
        with pytest.raises(RecipeError, match=match):
            train(corpus_path, make_recipe(*settings), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_an_existing_vocabulary_with_other_special_ids_is_trained_and_translates(corpus_path, make_recipe, tmp_path):
    import sentencepiece

    from mtkit import Translator
    from mtkit.config.corpus import CorpusSection, TextSource
    from mtkit.config.vocabulary import VocabularySection
    from mtkit.corpus.prepare import prepare_corpus

    text = corpus_path.parent
    ids = {"unk_id": 0, "eos_id": 1, "pad_id": 2, "bos_id": 3}
    sentencepiece.SentencePieceTrainer.train(
        input=[str(text / "train.en"), str(text / "train.de")],
        model_prefix=str(tmp_path / "theirs"),
        vocab_size=50,
        minloglevel=2,
        **ids,
    )
    section = CorpusSection(train=[TextSource(source=text / "train.en", target=text / "train.de")], test_size=0)
    prepare_corpus(section, VocabularySection(source_model=tmp_path / "theirs.model"), tmp_path / "corpus")
    train(tmp_path / "corpus", make_recipe("training.max_steps=3"), tmp_path / "run")
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())["model"]
    assert {name: config[name] for name in ids} == ids
    assert config["decoder_start_id"] == 3
    assert len(Translator.load(tmp_path / "run", device="cpu").translate(["the dog", "a man sees the cat"])) == 2


def test_separate_vocabularies_need_matrices_of_their_own(corpus_path, make_recipe, tmp_path):
    from mtkit import Translator
    from mtkit.config.corpus import CorpusSection, TextSource
    from mtkit.config.vocabulary import VocabularySection
    from mtkit.corpus.prepare import prepare_corpus

    text = corpus_path.parent
    section = CorpusSection(train=[TextSource(source=text / "train.en", target=text / "train.de")], test_size=0)
    prepare_corpus(section, VocabularySection(size=40, separate=True), tmp_path / "corpus")
    with pytest.raises(RecipeError, match="vocabularies of their own"):
        train(tmp_path / "corpus", make_recipe(), tmp_path / "run")
    train(tmp_path / "corpus", make_recipe("training.max_steps=3", "model.tied_embeddings=target"), tmp_path / "run")
    assert len(Translator.load(tmp_path / "run", device="cpu").translate(["the dog"])) == 1


def test_a_full_disk_stops_the_run_and_leaves_earlier_checkpoints_whole(
    corpus_path, make_recipe, tmp_path, monkeypatch
):
    from mtkit.checkpoint import checkpoint
    from mtkit.errors import writing

    honest = checkpoint.write_tensors

    def write_tensors(tensors, path, metadata=None):
        if "step-00000015" in str(path) and path.name == "optimizer.safetensors":
            with writing(path):
                raise OSError(errno.ENOSPC, "No space left on device")
        honest(tensors, path, metadata)

    monkeypatch.setattr(checkpoint, "write_tensors", write_tensors)
    run = RunFolder(tmp_path / "run")
    with pytest.raises(OutputError, match="No space left"):
        train(corpus_path, make_recipe(), run.path)
    assert sorted(p.name for p in run.checkpoints.iterdir()) == ["step-00000005", "step-00000010"]
    monkeypatch.undo()
    train(corpus_path, make_recipe(), run.path)
    assert run.is_finished


def test_a_line_of_metrics_that_a_kill_cut_short_is_left_out(run):
    path = run.path / "metrics.jsonl"
    whole = run.read_metrics()
    path.write_text(path.read_text() + '{"kind": "train", "step": 25, "samples": {"a": 1}', encoding="utf-8")
    assert run.read_metrics() == whole
    honest = path.read_bytes()
    path.write_bytes(honest + '{"kind": "train", "samples": ["hö'.encode()[:-1])  # within a character
    assert run.read_metrics() == whole


def test_a_line_of_metrics_ends_with_a_line_feed_only(run):
    odd = {"kind": "train", "step": 20, "samples": ["a\u2028b\x85c"]}
    with (run.path / "metrics.jsonl").open("a", encoding="utf-8", newline="") as stream:
        stream.write(json.dumps(odd, ensure_ascii=False) + "\n")
    assert run.read_metrics()[-1] == odd


def test_tensorboard_shows_what_is_recorded_and_forgets_what_a_resumed_run_makes_again(run, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    records = [record for record in run.read_metrics() if record["kind"] == "train"]
    told = RunFolder(tmp_path)
    for step, part in ((0, records), (10, records[2:])):
        board = Board(told, step)
        for record in part:
            board.record("train", record["step"], record)
        board.close()
    for path in (run.path, tmp_path):
        events = accumulator.EventAccumulator(str(path / "tensorboard"))
        events.Reload()
        shown = [(event.step, event.value) for event in events.Scalars("train/loss")]
        assert shown == [(record["step"], pytest.approx(record["loss"])) for record in records]


def test_what_tensorboard_cannot_write_is_told_once_and_stops_nothing(
    corpus_path, make_recipe, tmp_path, monkeypatch, capfd
):
    record_writer = pytest.importorskip("tensorboard.summary.writer.record_writer").RecordWriter
    written = []

    def write(self, data):
        written.append(data)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record_writer, "write", write)
    outcome = train(corpus_path, make_recipe(), tmp_path / "run")
    assert outcome.model is not None
    assert [r["step"] for r in RunFolder(tmp_path / "run").read_metrics() if r["kind"] == "train"] == [5, 10, 15, 20]
    said = capfd.readouterr().err
    assert said.count("warning: no more is written for TensorBoard: No space left on device") == 1
    assert "Traceback" not in said


def test_metrics_that_cannot_be_written_are_told_with_their_place(corpus_path, make_recipe, tmp_path, monkeypatch):
    class Full:
        """A file on a full disk: whatever is written stays in its buffer."""

        def __init__(self, file):
            self.file = file

        def write(self, text):
            return len(text)

        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            self.file.close()
            self.flush()

    honest = TrainingLog.__init__

    def init(self, *arguments, **options):
        honest(self, *arguments, **options)
        self._metrics = Full(self._metrics)

    monkeypatch.setattr(TrainingLog, "__init__", init)
    with pytest.raises(OutputError, match="No space left") as caught:
        train(corpus_path, make_recipe(), tmp_path / "run")
    assert caught.value.at == str(tmp_path / "run" / "metrics.jsonl")


def test_skipped_updates_leave_metrics_and_checkpoints_finite(corpus_path, make_recipe, tmp_path, monkeypatch):
    honest = TrainedModel.compute_loss
    calls = []

    def compute_loss(self, batch):
        calls.append(batch)
        bad = len(calls) in (3, 6, 7, 8, 9, 10)  # one of the first five updates, all of the next five
        return tuple(loss * float("nan") if bad else loss for loss in honest(self, batch))

    monkeypatch.setattr(TrainedModel, "compute_loss", compute_loss)
    train(corpus_path, make_recipe("training.save_every_steps=3", "training.micro_batch_tokens=200"), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert "NaN" not in (run.path / "metrics.jsonl").read_text()
    assert [r["step"] for r in run.read_metrics() if r["kind"] == "train"] == [5, 15, 20]
    assert run.read_state(run.list_checkpoints()[-1]).skipped_updates == 6


def read_report(run):
    text = (run.path / "report.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def test_the_report_shows_the_run_in_a_browser(run, open_page):
    page = open_page(run.path / "report.html")
    assert page.title() == f"Training run {run.path.parent.name}/run"
    last = [r for r in run.read_metrics() if r["kind"] == "validation"][-1]
    row = page.locator("table", has_text="Perplexity").locator("tbody tr").last
    assert row.locator("td").first.inner_text() == "20"
    assert row.inner_text().split()[1:2] == [f"{last['loss']:.3f}"]
    assert [s["translations"][-1][2] for s in read_report(run)["samples"]] == [s[1] for s in last["samples"]]
    facts = page.locator(".facts").inner_text()
    assert "State\nfinished" in facts
    assert "en to de" in facts
    assert "cpu, fp32, 1 thread\n" in facts
    page.locator("summary").click()
    assert page.locator("pre").text_content() == (run.path / "recipe.yaml").read_text(encoding="utf-8")


def test_a_run_that_goes_on_keeps_the_translations_of_before(run, corpus_path, make_recipe):
    before = read_report(run)
    assert (before["is_finished"], before["max_steps"]) == (True, 20)
    assert before["model_scores"]["bleu"] >= 0
    train(corpus_path, make_recipe("training.max_steps=40"), run.path, extend=True)
    after = read_report(run)
    assert [row["step"] for row in after["validations"]] == [10, 20, 30, 40]
    assert after["validations"][:2] == before["validations"]
    assert len(after["samples"]) == len(before["samples"]) == 4
    assert {(s["translations"][0][0], s["translations"][-1][1]) for s in after["samples"]} == {(10, 40)}


def test_the_report_is_brought_up_to_date_at_each_validation(corpus_path, make_recipe, tmp_path, monkeypatch):
    seen = []
    honest = Trainer.make_update

    def make_update(self, update, *rest):
        if self.run.path.joinpath("report.html").exists():
            seen.append((update.step, [row["step"] for row in read_report(self.run)["validations"]]))
        return honest(self, update, *rest)

    monkeypatch.setattr(Trainer, "make_update", make_update)
    train(corpus_path, make_recipe("training.max_steps=25"), tmp_path / "run")
    assert seen == [(step, [10] if step <= 20 else [10, 20]) for step in range(11, 26)]


@pytest.mark.parametrize("failing", ["atomic_file", "build_run_page"])
def test_a_report_that_cannot_be_written_stops_nothing(corpus_path, make_recipe, tmp_path, monkeypatch, capfd, failing):
    from mtkit.errors import writing

    def refuse(given):
        if failing == "build_run_page":
            raise KeyError("step")
        with writing(given):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"mtkit.training.report.{failing}", refuse)
    outcome = train(corpus_path, make_recipe(), tmp_path / "run")
    assert outcome.model is not None
    assert not (tmp_path / "run" / "report.html").exists()
    said = capfd.readouterr().err
    reason = "KeyError: 'step'" if failing == "build_run_page" else "cannot write: No space left on device"
    assert f"warning: the report is not up to date: {reason}" in said
    assert "how the training went" not in said
