"""What a recipe's training section and the flags of `mtkit train` promise, each on a run of a second."""

import gc
import hashlib
import json
import math
import re
import shutil
import signal
import threading

import numpy as np
import pytest
import torch

from mtkit.checkpoint.model_folder import load_model, read_model_config
from mtkit.checkpoint.run_folder import RunFolder, rank_checkpoints
from mtkit.checkpoint.weights import read_tensors, write_tensors
from mtkit.cli.main import main
from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.config.loading import write_recipe
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.batching import SpecialIds
from mtkit.corpus.prepare import prepare_corpus
from mtkit.corpus.store import PreparedCorpus
from mtkit.decoding.translator import Translator
from mtkit.errors import DeviceError, ModelError, RecipeError, TrainingError
from mtkit.runtime.distributed import Processes
from mtkit.training import micro_batch
from mtkit.training.run import train_model
from mtkit.training.trainer import Trainer
from mtkit.training.updates import UpdateReader


def train(corpus_path, recipe, output, **options):
    return train_model(corpus_path, recipe, output, device="cpu", **{"threads": 1, **options})


def digest(run, step):
    """What must not depend on interruptions: all of the checkpoint at `step`, the final model, and what was told."""
    files = [*run.checkpoint(step).glob("*.safetensors"), run.model / "model.safetensors"]
    assert len(files) >= 3
    hashes = {str(p.relative_to(run.path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    records = [{k: v for k, v in r.items() if not k.endswith(("_second", "_seconds"))} for r in run.read_metrics()]
    return hashes, records


def final_weights(run):
    return read_tensors(run.model / "model.safetensors")


def same(ours, theirs, **tolerance):
    is_same = torch.equal if not tolerance else lambda a, b: torch.allclose(a, b, **tolerance)
    return ours.keys() == theirs.keys() and all(is_same(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.fixture(scope="module")
def finished_runs():
    return {}


@pytest.fixture
def finish(make_recipe, corpus_path, tmp_path_factory, finished_runs):
    """Return a function that gives the finished run of a recipe: made once, and left as it is by the tests."""

    def finish(*settings, corpus=corpus_path):
        if (corpus, settings) not in finished_runs:
            path = tmp_path_factory.mktemp("finished") / "run"
            train(corpus, make_recipe(*settings), path)
            finished_runs[corpus, settings] = RunFolder(path)
        return finished_runs[corpus, settings]

    return finish


@pytest.fixture
def copy(finish, tmp_path):
    """Return a function that gives a copy of such a run, for a test to change."""
    return lambda *settings: RunFolder(shutil.copytree(finish(*settings).path, tmp_path / "copy"))


@pytest.fixture
def at_step(monkeypatch):
    """Return a function that lets something happen while the gradients of a step are computed."""

    def at_step(wanted, happen):
        honest = Trainer.compute_gradients

        def compute_gradients(self, update):
            if wanted in (update.step, "any"):
                happen()
            return honest(self, update)

        monkeypatch.setattr(Trainer, "compute_gradients", compute_gradients)

    return at_step


@pytest.fixture
def interrupted(at_step, monkeypatch, make_recipe, corpus_path, tmp_path):
    """Return a function that trains, with a SIGTERM on the way, and then once more to the end."""

    def interrupted(*settings, corpus=corpus_path):
        run = RunFolder(tmp_path / "interrupted")
        at_step(8, lambda: signal.raise_signal(signal.SIGTERM))
        assert train(corpus, make_recipe(*settings), run.path).exit_code == 143
        assert run.read_state(run.list_checkpoints()[-1]).step in (8, 9)
        assert not run.is_finished
        monkeypatch.undo()
        assert train(corpus, make_recipe(*settings), run.path).model == run.model
        return run

    return interrupted


@pytest.fixture
def mtkit(capsys):
    """Return a function that runs a command in this process and gives its exit code and stderr."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def mtkit(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(list(map(str, arguments)))
        return caught.value.code, capsys.readouterr().err

    yield mtkit
    for number, handler in handlers.items():
        signal.signal(number, handler)


# Options that change what an update does.

R_DROP = ("training.r_drop=2", "model.dropout=0.2")
SUBWORDS = ("training.subword_sampling=0.2",)
EMA = ("training.ema_decay=0.9", "training.average=off")
DROPOUT = ("model.dropout=0.2",)
RECOMPUTED = ("training.activation_checkpointing=true", "model.dropout=0.2")


@pytest.mark.parametrize("settings", [R_DROP, SUBWORDS, EMA, RECOMPUTED], ids=lambda settings: settings[0])
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(finish, interrupted, settings):
    assert digest(interrupted(*settings), 20) == digest(finish(*settings), 20)


@pytest.mark.parametrize(("settings", "without"), [(R_DROP, DROPOUT), (SUBWORDS, ())])
def test_the_option_counts_and_the_model_learns(finish, settings, without):
    losses = [r["nll"] for r in finish(*settings).read_metrics() if r["kind"] == "train"]
    assert losses[-1] < losses[0] - 0.1
    assert not same(final_weights(finish(*settings)), final_weights(finish(*without)))


def test_layers_computed_again_give_the_same_weights_bit_for_bit(finish):
    assert digest(finish(*RECOMPUTED), 20) == digest(finish(*DROPOUT), 20)


def test_the_moving_average_is_kept_validated_and_made_the_model(finish, corpus_path):
    run = finish(*EMA)
    assert all((folder / "average.safetensors").is_file() for folder in run.list_checkpoints())
    assert same(final_weights(run), read_tensors(rank_checkpoints(run, "bleu")[0] / "average.safetensors"))
    for step in (10, 20):
        folder = run.checkpoint(step)
        weights, average = (read_tensors(folder / f"{name}.safetensors") for name in ("model", "average"))
        assert not same(weights, average, atol=1e-4)
        validation = run.read_state(folder).validation
        assert validation.loss == pytest.approx(validation_loss(average, run, corpus_path), rel=1e-5)
        assert validation.loss != pytest.approx(validation_loss(weights, run, corpus_path), rel=1e-3)


def validation_loss(weights, run, corpus_path):
    """The loss a token of the validation set, each sentence by itself."""
    loaded = load_model(run.path, torch.device("cpu")).model
    loaded.load_state_dict(weights, strict=False)  # a tied matrix stands there once
    losses = []
    for pair in PreparedCorpus.load(corpus_path).valid:
        tgt_out_ids = torch.tensor([*pair.target_ids, 3])
        with torch.no_grad():
            logits = loaded(torch.tensor([[*pair.source_ids, 3]]), torch.tensor([[2, *pair.target_ids]]))[0]
        losses.append(torch.nn.functional.cross_entropy(logits, tgt_out_ids, reduction="none"))
    return float(torch.cat(losses).mean())


# Initial weights.

FIRST = ("training.learning_rate=0.02", "training.best_metric=loss", "training.average=off")
STILL = ("training.max_steps=1", "training.learning_rate=1e-12", "training.average=off")


def validation_losses(run):
    return [r["loss"] for r in run.read_metrics() if r["kind"] == "validation"]


def test_training_starts_from_the_weights_of_another_run(finish, corpus_path, make_recipe, tmp_path, capfd):
    first = finish(*FIRST)
    for name, path in (("of_run", first.path), ("of_model", first.model)):
        train(corpus_path, make_recipe(*STILL, f"training.init_from={path}"), tmp_path / name)
        said = capfd.readouterr().err
        line = f"starting from {path}: 60 of 60 source pieces carried over, 60 of 60 target pieces"
        assert line in said
        assert line in (tmp_path / name / "log.txt").read_text()
        second = RunFolder(tmp_path / name)
        assert same(final_weights(second), final_weights(first), atol=1e-10)
        best = min(validation_losses(first))
        assert validation_losses(second)[0] == pytest.approx(best, rel=1e-4)
        assert validation_losses(finish(*STILL))[0] > best + 0.5


def test_pieces_of_another_vocabulary_are_carried_over(finish, corpus_path, make_recipe, tmp_path, capfd):
    text = corpus_path.parent
    section = CorpusSection(
        train=[TextSource(source=text / "train.en", target=text / "train.de")],
        valid=TextSource(source=text / "valid.en", target=text / "valid.de"),
        test_size=0,
    )
    prepare_corpus(section, VocabularySection(size=50), tmp_path / "corpus")
    corpora = [PreparedCorpus.load(path) for path in (corpus_path, tmp_path / "corpus")]
    theirs, ours = (set(c.source_tokenizer.pieces(range(len(c.source_tokenizer)))) for c in corpora)
    recipe = make_recipe("training.max_steps=10", f"training.init_from={finish(*FIRST).path}")
    train(tmp_path / "corpus", recipe, tmp_path / "run")
    assert f"{len(ours & theirs)} of 50 source pieces carried over" in capfd.readouterr().err
    run = RunFolder(tmp_path / "run")
    assert run.is_finished
    assert len(final_weights(run)["source_embedding.weight"]) == 50
    first_loss = next(r["nll"] for r in run.read_metrics() if r["kind"] == "train")
    assert first_loss < next(r["nll"] for r in finish().read_metrics() if r["kind"] == "train") - 0.3


@pytest.fixture
def killed_at_once(corpus_path, make_recipe, finish, at_step, monkeypatch, tmp_path):
    """A run with initial weights that was killed before its first checkpoint, its recipe, and a model's weights."""
    shutil.copytree(finish(*FIRST).model, tmp_path / "initial")
    recipe = make_recipe(f"training.init_from={tmp_path / 'initial'}")
    run = RunFolder(tmp_path / "run")

    def stop_at_once():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    at_step(3, stop_at_once)
    with pytest.raises(KeyboardInterrupt):
        train(corpus_path, recipe, run.path)
    assert run.list_checkpoints() == []
    monkeypatch.undo()
    return run, recipe, tmp_path / "initial" / "model.safetensors"


def test_killed_before_the_first_checkpoint_it_starts_from_the_same_weights(
    killed_at_once, corpus_path, at_step, monkeypatch, tmp_path
):
    run, recipe, weights_path = killed_at_once
    weights = read_tensors(weights_path)
    write_tensors({name: tensor + 0.01 for name, tensor in weights.items()}, weights_path)
    with pytest.raises(ModelError, match="the model that the run starts from has changed since"):
        train(corpus_path, recipe, run.path)
    write_tensors(weights, weights_path)
    train(corpus_path, recipe, tmp_path / "whole")
    at_step(8, lambda: signal.raise_signal(signal.SIGTERM))
    assert train(corpus_path, recipe, run.path).exit_code == 143
    monkeypatch.undo()
    shutil.rmtree(weights_path.parent)  # with a checkpoint, the other model is needed no more
    train(corpus_path, recipe, run.path)
    assert digest(run, 20) == digest(RunFolder(tmp_path / "whole"), 20)


@pytest.mark.parametrize("what", ["nothing", "corpus", "file"])
def test_to_start_from_what_is_no_model_is_refused(corpus_path, make_recipe, tmp_path, what):
    path = {"nothing": tmp_path / "none", "corpus": corpus_path, "file": corpus_path / "manifest.json"}[what]
    with pytest.raises(ModelError) as refused:
        train(corpus_path, make_recipe(f"training.init_from={path}"), tmp_path / "run")
    assert str(path) in refused.value.at
    assert not (tmp_path / "run").exists()


def test_the_path_of_the_other_model_may_be_spelled_otherwise(finish, corpus_path, make_recipe, tmp_path, monkeypatch):
    shutil.copytree(finish(*FIRST).model, tmp_path / "initial")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    train(corpus_path, make_recipe(*STILL, "training.init_from=initial"), tmp_path / "run")
    assert train(corpus_path, make_recipe(*STILL, "training.init_from=initial"), tmp_path / "run").was_up_to_date
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert train(corpus_path, make_recipe(*STILL, "training.init_from=../initial"), tmp_path / "run").was_up_to_date


@pytest.mark.parametrize("initial", ["itself", "nothing"])
def test_what_cannot_start_anew_does_not_cost_the_old_run(copy, corpus_path, make_recipe, tmp_path, initial):
    run = copy(*FIRST)
    before = final_weights(run)
    path = {"itself": run.path, "nothing": tmp_path / "none"}[initial]
    try:
        train(corpus_path, make_recipe(*STILL, f"training.init_from={path}"), run.path, restart=True)
    except (ModelError, RecipeError):
        assert run.is_finished
    assert same(final_weights(run), before, atol=1e-10)


# Corpora by weight.


@pytest.fixture(scope="module")
def two_corpora(corpus_path, tmp_path_factory):
    """A prepared corpus of 140 pairs `human` and 60 pairs `back`, these with a tag."""
    return prepare_two(corpus_path, tmp_path_factory.mktemp("two"), (None, "<bt>"))


def prepare_two(corpus_path, folder, tags):
    for side in ("en", "de"):
        lines = (corpus_path.parent / f"train.{side}").read_text(encoding="utf-8").splitlines(keepends=True)
        for name, part in (("human", lines[:140]), ("back", lines[140:])):
            (folder / f"{name}.{side}").write_text("".join(part), encoding="utf-8")
    sources = [
        TextSource(source=folder / f"{name}.en", target=folder / f"{name}.de", name=name, tag=tag)
        for name, tag in zip(("human", "back"), tags, strict=True)
    ]
    section = CorpusSection(source_language="en", target_language="de", train=sources, valid_size=20, test_size=0)
    prepare_corpus(section, VocabularySection(size=50, type="unigram"), folder / "corpus")
    return folder / "corpus"


def draw(corpus, training):
    """How often each pair stands in the first two epochs: `(2, rows)`."""
    reader = UpdateReader(corpus.train, SpecialIds(0, 3, 2), training, Processes(), None)
    return np.stack([np.bincount(np.concatenate(reader.plan(e)), minlength=len(corpus.train)) for e in (0, 1)])


@pytest.mark.parametrize(
    ("setting", "share"),
    [
        ("training.corpus_weights={back: 3, human: 1}", lambda back, human: 0.75),
        ("training.corpus_weights={back: 4}", lambda back, human: 0.8),
        ("training.corpus_temperature=5", lambda back, human: back**0.2 / (back**0.2 + human**0.2)),
        ("training.corpus_temperature=1", lambda back, human: back / (back + human)),
        ("training.corpus_temperature=null", lambda back, human: back / (back + human)),
    ],
)
def test_corpora_are_drawn_in_their_shares(two_corpora, make_recipe, setting, share):
    corpus = PreparedCorpus.load(two_corpora)
    is_back = np.array([pair.corpus == "back" for pair in corpus.train])
    counts = draw(corpus, make_recipe(setting).training)
    total = len(corpus.train)
    assert counts.sum(1).tolist() == [total, total]
    wanted = total * share(is_back.sum(), (~is_back).sum())
    assert counts[:, is_back].sum(1) == pytest.approx([wanted, wanted], abs=1)
    for part in (is_back, ~is_back):  # all pairs of a corpus equally often, up to the pass that is under way
        drawn = counts.sum(0)[part]
        assert drawn.max() - drawn.min() <= 1


def test_a_corpus_that_does_not_exist_is_refused_with_the_near_one(two_corpora, make_recipe, tmp_path):
    with pytest.raises(RecipeError, match="no corpus 'humen' in the training text") as refused:
        train(two_corpora, make_recipe("training.corpus_weights={humen: 2}"), tmp_path / "run")
    assert refused.value.fix == "did you mean 'human'?"


@pytest.fixture(scope="module")
def without_validation(corpus_path, tmp_path_factory):
    folder, text = tmp_path_factory.mktemp("without"), corpus_path.parent
    sources = [TextSource(source=text / "train.en", target=text / "train.de")]
    prepare_corpus(
        CorpusSection(train=sources, valid_size=0, test_size=0), VocabularySection(size=50), folder / "corpus"
    )
    return folder / "corpus"


@pytest.mark.parametrize(
    ("corpus", "mistake", "correction"),
    [
        ("two_corpora", "training.corpus_weights={humen: 2}", "training.corpus_weights={human: 2}"),
        ("without_validation", "training.patience=2", "training.patience=null"),
        ("corpus_path", "training.activation_checkpointing=false", "training.activation_checkpointing=true"),
    ],
)
def test_a_run_starts_after_a_mistake_is_corrected_as_told(
    corpus, mistake, correction, make_recipe, tmp_path, request, monkeypatch
):
    path = request.getfixturevalue(corpus)
    with monkeypatch.context() as patch:
        if "activation" in mistake:
            patch.setattr(micro_batch, "available_memory", lambda: 1000)
        with pytest.raises((RecipeError, DeviceError)):
            train(path, make_recipe("training.max_steps=1", mistake), tmp_path / "run")
    train(path, make_recipe("training.max_steps=1", correction), tmp_path / "run")


def test_without_validations_the_last_checkpoint_is_the_best_one(without_validation, make_recipe, tmp_path):
    train(without_validation, make_recipe("training.max_steps=10", "training.average=off"), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    last = read_tensors(run.checkpoint(10) / "model.safetensors")
    assert all(last[name].equal(tensor) for name, tensor in read_tensors(run.model / "model.safetensors").items())


def test_a_training_that_fails_leaves_no_thread(corpus_path, make_recipe, tmp_path, at_step):
    before = threading.active_count()
    at_step(7, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(corpus_path, make_recipe(), tmp_path / "run")
    gc.collect()
    assert threading.active_count() == before
    assert [p.name for p in RunFolder(tmp_path / "run").list_checkpoints()] == ["step-00000005"]


WEIGHTED = (
    "training.corpus_weights={back: 2}", "training.subword_sampling=0.2", "training.batch_tokens=400",
    "model.dropout=0.2",
)  # fmt: skip


def test_weighted_and_sampled_corpora_are_resumed_bit_for_bit(finish, interrupted, two_corpora):
    whole = finish(*WEIGHTED, corpus=two_corpora)
    assert whole.read_state(whole.checkpoint(20)).epoch >= 1
    assert digest(interrupted(*WEIGHTED, corpus=two_corpora), 20) == digest(whole, 20)
    plain = finish(*WEIGHTED[2:], corpus=two_corpora)
    assert not same(final_weights(plain), final_weights(whole))


def test_validation_text_is_translated_with_its_tags(corpus_path, make_recipe, tmp_path, monkeypatch):
    corpus = prepare_two(corpus_path, tmp_path, ("<hu>", "<bt>"))
    translated = []
    honest = Translator.iter_translations

    def iter_translations(self, requests, advance):
        translated.extend((request.source, request.tag) for request in requests)
        return honest(self, requests, advance)

    monkeypatch.setattr(Translator, "iter_translations", iter_translations)
    settings = ["training.max_steps=1", "training.validation_sentences=null"]
    train(corpus, make_recipe(*settings), tmp_path / "run")
    expected = [(p.source, {"back": "<bt>", "human": "<hu>"}[p.corpus]) for p in PreparedCorpus.load(corpus).valid]
    assert {tag for _, tag in expected} == {"<bt>", "<hu>"}
    assert translated == expected * 2  # at the last step, and with the final model


@pytest.mark.parametrize(
    ("tags", "flag"), [(("<hu>", "<bt>"), " --tag '<hu>'"), ((None, "<bt>"), ""), ((None, None), "")]
)
def test_the_model_tells_the_tags_that_it_was_trained_with(corpus_path, make_recipe, tmp_path, tags, flag):
    recipe = make_recipe("training.max_steps=1", "model.num_encoder_layers=2")
    train(prepare_two(corpus_path, tmp_path, tags), recipe, tmp_path / "run")
    model = tmp_path / "run" / "model"
    assert "2 encoder and 1 decoder layers" in (model / "README.md").read_text()
    assert read_model_config(model).tags == list(dict.fromkeys(tags))
    assert f"mtkit translate --model THIS_FOLDER{flag} input.txt" in (model / "README.md").read_text()


# A run that stands there: --restart and --extend.


def test_a_restarted_run_is_a_fresh_one(copy, finish, corpus_path, make_recipe):
    run = copy("training.max_steps=30")
    (run.path / "diverged.txt").write_text("of the old run")
    train(corpus_path, make_recipe(), run.path, restart=True)
    assert digest(run, 20) == digest(finish(), 20)
    assert not run.checkpoint(30).exists()
    assert not (run.path / "diverged.txt").exists()


def test_an_extended_run_equals_one_of_that_length(copy, finish, mtkit, make_recipe, corpus_path, tmp_path):
    """Through the command: refused without --extend, and with contradicting flags."""
    schedule = "training.schedule=inverse_sqrt"  # which does not look to the end
    run, whole = copy(schedule), finish(schedule, "training.max_steps=30")
    write_recipe(make_recipe(schedule), tmp_path / "recipe.yaml")
    command = ["train", tmp_path / "recipe.yaml", "--corpus", corpus_path, "-o", run.path, "--max-steps", 30]
    command += ["--device", "cpu", "--threads", 1]
    code, said = mtkit(*command)
    assert code == RecipeError.exit_code
    assert "training.max_steps (20 there, 30 now)" in said
    assert "--extend" in said
    code, said = mtkit(*command, "--extend", "--restart")
    assert code == RecipeError.exit_code
    assert "--restart and --extend contradict each other" in said
    assert digest(run, 20) == digest(finish(schedule), 20)
    code, said = mtkit(*command, "--extend")
    assert (code, "extending the run from step 20" in said) == (0, True)
    assert [p.name for p in run.list_checkpoints()] == [p.name for p in whole.list_checkpoints()]
    assert digest(run, 30) == digest(whole, 30)
    record = run.read_record()
    assert [(e.from_step, e.max_steps) for e in record.extensions] == [(20, 30)]
    assert (record.max_steps, record.is_finished) == (30, True)
    code, said = mtkit(*command, "--extend")
    assert (code, "finished and up to date" in said) == (0, True)
    assert run.read_record() == record


def test_an_extended_run_keeps_the_warm_up_that_it_began_with(corpus_path, make_recipe, tmp_path):
    fields = ["training.warmup_steps=null", "training.log_every_steps=1", "training.schedule=inverse_sqrt"]
    for steps in (20, 30, 50):
        train(corpus_path, make_recipe(*fields, f"training.max_steps={steps}"), tmp_path / "run", extend=steps > 20)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    rates = {record["step"]: record["learning_rate"] for record in records if record["kind"] == "train"}
    assert rates == {step: pytest.approx(1e-3 * min(step / 2, (2 / step) ** 0.5)) for step in range(1, 51)}


@pytest.mark.parametrize(("schedule", "is_told"), [("linear", True), ("cosine", True), ("inverse_sqrt", False)])
def test_a_learning_rate_that_rises_again_for_the_new_end_is_told(
    corpus_path, make_recipe, tmp_path, capfd, schedule, is_told
):
    for steps in (6, 8):
        recipe = make_recipe(f"training.schedule={schedule}", f"training.max_steps={steps}")
        train(corpus_path, recipe, tmp_path / "run", extend=steps > 6)
    assert ("the learning rate had come down, and rises to" in capfd.readouterr().err) == is_told


def test_a_run_without_a_known_end_falls_to_zero_once_it_has_one(corpus_path, make_recipe, tmp_path, capfd):
    """By default: the inverse square root of the step, then a line to the end."""
    ends = (["training.max_epochs=1"], ["training.max_epochs=null", "training.max_steps=90"])
    for number, end in enumerate(ends):
        fields = ["training.max_steps=null", "training.warmup_steps=4", "training.log_every_steps=1", *end]
        train(corpus_path, make_recipe(*fields), tmp_path / "run", extend=number > 0)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    rates = {record["step"]: record["learning_rate"] for record in records if record["kind"] == "train"}
    first = RunFolder(tmp_path / "run").read_record().extensions[0].from_step
    assert 9 <= first < 80
    for step, rate in rates.items():
        share = (4 / step) ** 0.5 if step <= first else 1 - (step - 4) / 87
        assert rate == pytest.approx(1e-3 * min(step / 4, share))
    assert "the learning rate had come down, and rises to" in capfd.readouterr().err


def test_a_warm_up_as_long_as_the_run_is_told(corpus_path, make_recipe, tmp_path, capfd):
    train(corpus_path, make_recipe("training.max_steps=3", "training.warmup_steps=3"), tmp_path / "run")
    assert "the warm-up takes 3 updates, the run 3:" in " ".join(capfd.readouterr().err.split())


def test_an_end_that_comes_nearer_or_is_still_to_be_measured_raises_nothing(corpus_path, make_recipe, tmp_path, capfd):
    run = RunFolder(tmp_path / "run")
    train(corpus_path, make_recipe("training.schedule=linear", "training.max_steps=6"), run.path)
    run.write_record(run.read_record().model_copy(update={"max_steps": None}))  # as after a kill while it is measured
    train(corpus_path, make_recipe("training.schedule=linear", "training.max_steps=8"), run.path, extend=True)
    assert "for the new end" not in capfd.readouterr().err


def test_a_finished_run_that_is_extended_takes_other_decoding(copy, corpus_path, make_recipe, at_step, monkeypatch):
    run, recipe = copy(), make_recipe("training.max_steps=30", "decoding.max_length_ratio=2")
    at_step(24, lambda: signal.raise_signal(signal.SIGTERM))
    assert train(corpus_path, recipe, run.path, extend=True).exit_code == 143
    monkeypatch.undo()
    train(corpus_path, recipe, run.path)  # the same command goes on
    assert run.read_recipe().decoding.max_length_ratio == 2


def test_an_unfinished_run_keeps_its_decoding(copy, corpus_path, make_recipe):
    """It decides the scores of validations, and with them which checkpoint is best."""
    run, other = copy(), make_recipe("decoding.max_length_ratio=2")
    assert train(corpus_path, other, run.path).was_up_to_date  # a finished one is translated with as one likes
    run.write_record(run.read_record().model_copy(update={"is_finished": False}))
    with pytest.raises(RecipeError, match=r"decoding.max_length_ratio \(1.0 there, 2.0 now\)"):
        train(corpus_path, other, run.path)


def test_a_run_that_is_being_extended_is_not_finished(
    copy, finish, corpus_path, make_recipe, at_step, monkeypatch, capfd
):
    schedule = "training.schedule=inverse_sqrt"  # which does not look to the end
    run, recipe = copy(schedule), make_recipe(schedule, "training.max_steps=30")
    at_step(24, lambda: signal.raise_signal(signal.SIGTERM))
    assert train(corpus_path, recipe, run.path, extend=True).exit_code == 143
    assert (run.model / "config.json").exists()
    assert not run.is_finished
    capfd.readouterr()
    load_model(run.path, torch.device("cpu"))
    assert "is not finished: using its checkpoint" in capfd.readouterr().err
    monkeypatch.undo()
    train(corpus_path, recipe, run.path)  # --extend is needed once
    assert digest(run, 30) == digest(finish(schedule, "training.max_steps=30"), 30)
    assert len(run.read_record().extensions) == 1


ENDLESS = ("training.max_steps=1000", "training.learning_rate=1e-12")


@pytest.mark.parametrize(
    ("settings", "before", "after", "steps"),
    [
        (("training.max_steps=null",), "training.max_epochs=1", "training.max_epochs=2", (21, 42)),
        (ENDLESS, "training.patience=1", "training.patience=2", (20, 30)),
    ],
)
def test_an_end_may_be_another_one(copy, corpus_path, make_recipe, settings, before, after, steps):
    run = copy(*settings, before)
    assert run.list_checkpoints()[-1] == run.checkpoint(steps[0])
    train(corpus_path, make_recipe(*settings, after), run.path, extend=True)
    assert run.list_checkpoints()[-1] == run.checkpoint(steps[1])
    assert [e.from_step for e in run.read_record().extensions] == [steps[0]]


def test_another_end_than_the_minutes_leaves_the_steps_that_were_measured(copy, corpus_path, make_recipe):
    minutes = ("training.max_steps=null", "training.max_minutes=0.02")
    run = copy(*minutes, "training.patience=1", "training.learning_rate=1e-12")
    run.write_record(run.read_record().model_copy(update={"max_steps": 12345}))
    recipe = make_recipe(*minutes, "training.patience=2", "training.learning_rate=1e-12")
    train(corpus_path, recipe, run.path, extend=True)
    assert run.read_record().max_steps == 12345


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (["training.max_steps=15"], "the run has made 20 updates already, and max_steps=15 is fewer"),
        (["training.max_steps=30", "training.seed=5"], r"another training\.seed \(1 there, 5 now\)$"),
        (["training.max_steps=30", "model.d_ff=64"], r"another model\.d_ff \(32 there, 64 now\)$"),
    ],
)
def test_what_is_no_extension_is_refused_and_changes_nothing(
    copy, finish, corpus_path, make_recipe, settings, match, tmp_path
):
    run = copy()
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(RecipeError) as refused:
        train(corpus_path, make_recipe(*settings), run.path, extend=True)
    assert re.search(match, refused.value.message)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_an_extension_is_not_advised_where_it_would_be_refused(copy, corpus_path, make_recipe):
    run = copy()
    with pytest.raises(RecipeError, match="max_steps=15 is fewer"):
        train(corpus_path, make_recipe("training.max_steps=15"), run.path)


def test_an_extension_of_nothing_is_told(corpus_path, make_recipe, tmp_path, capfd):
    train(corpus_path, make_recipe("training.max_steps=1"), tmp_path / "rum", extend=True)
    assert "no run stands at" in capfd.readouterr().err


def test_killed_between_recipe_and_record_an_extension_is_not_lost(copy, corpus_path, make_recipe, monkeypatch):
    run, recipe = copy(), make_recipe("training.max_steps=21")
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(corpus_path, recipe, run.path, extend=True)
    assert not train(corpus_path, recipe, run.path, extend=True).was_up_to_date
    assert run.checkpoint(21).exists()


# Signals, early stopping, updates that are skipped.


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no SIGUSR1")
def test_sigusr1_saves_and_the_run_goes_on(finish, corpus_path, make_recipe, at_step, tmp_path):
    at_step(7, lambda: signal.raise_signal(signal.SIGUSR1))
    before = signal.getsignal(signal.SIGUSR1)
    assert train(corpus_path, make_recipe(), tmp_path / "run").exit_code is None
    assert signal.getsignal(signal.SIGUSR1) == before
    run = RunFolder(tmp_path / "run")
    steps = [run.read_state(folder).step for folder in run.list_checkpoints()]
    assert steps in ([5, 7, 10, 15, 20], [5, 8, 10, 15, 20])
    assert digest(run, 20) == digest(finish(), 20)
    weights, expected = (read_tensors(one.model / "model.safetensors") for one in (run, finish()))
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())  # what is averaged is the same


def test_a_run_killed_after_its_early_stop_makes_no_further_update(copy, at_step, corpus_path, make_recipe):
    settings = ("training.learning_rate=1e-12", "training.patience=1", "training.max_steps=1000")
    run = copy(*settings)
    assert run.list_checkpoints()[-1] == run.checkpoint(20)
    before = digest(run, 20)
    shutil.rmtree(run.model)
    run.write_record(run.read_record().model_copy(update={"is_finished": False}))
    at_step("any", lambda: pytest.fail("an update was made"))
    assert train(corpus_path, make_recipe(*settings), run.path).model == run.model
    assert digest(run, 20) == before


def test_updates_skipped_in_a_row_are_counted_over_a_resume(corpus_path, make_recipe, tmp_path, monkeypatch, at_step):
    honest = Trainer.compute_gradients

    def compute_gradients(self, update):
        loss, nll = honest(self, update)
        if update.step > 3:
            for parameter in self.trained.parameters:
                parameter.grad.fill_(float("nan"))
        return loss, nll

    monkeypatch.setattr(Trainer, "compute_gradients", compute_gradients)
    run = RunFolder(tmp_path / "run")
    at_step(8, lambda: signal.raise_signal(signal.SIGTERM))
    assert train(corpus_path, make_recipe(), run.path).exit_code == 143
    state = run.read_state(run.list_checkpoints()[-1])
    assert state.skipped_in_a_row == state.skipped_updates == state.step - 3 > 3
    monkeypatch.setattr(Trainer, "compute_gradients", compute_gradients)
    with pytest.raises(TrainingError, match="10 updates in a row, up to step 13"):
        train(corpus_path, make_recipe(), run.path)


# What a run tells.


def test_metrics_say_where_the_time_went(finish):
    records = [r for r in finish().read_metrics() if r["kind"] == "train"]
    assert [r["step"] for r in records] == [5, 10, 15, 20]
    seconds = ["data_wait_seconds", "validation_seconds", "saving_seconds", "elapsed_seconds"]
    for record in records:
        assert all(math.isfinite(value) for value in record.values() if isinstance(value, (int, float)))
        assert 0 < record["padding_share"] < 0.5
        assert record["tokens_per_second"] > 0
        assert all(record[name] >= 0 for name in seconds)
        assert sum(record[name] for name in seconds[:3]) <= record["elapsed_seconds"]
    # A line is written before the validation and the checkpoint of its step.
    assert [r["validation_seconds"] > 0 for r in records] == [False, False, True, False]
    assert [r["saving_seconds"] > 0 for r in records] == [False, True, True, True]


def test_the_padding_share_is_that_of_the_targets(finish, corpus_path, make_recipe):
    corpus = PreparedCorpus.load(corpus_path)
    reader = UpdateReader(corpus.train, SpecialIds(0, 3, 2), make_recipe().training, Processes(), None)
    lengths = [corpus.train.target_lengths[rows] + 1 for rows in reader.plan(0)[:5]]
    expected = 1 - sum(n.sum() for n in lengths) / sum(n.max() * len(n) for n in lengths)
    assert finish().read_metrics()[0]["padding_share"] == pytest.approx(expected)


def test_the_run_says_where_it_was_trained(finish):
    record = json.loads((finish().path / "run.json").read_text(encoding="utf-8"))
    assert (record["processes"], record["threads"], record["device"], record["precision"]) == (1, 1, "cpu", "fp32")
    assert record["processor"]
    (entry,) = record["micro_batches"]
    assert (entry["from_step"], entry["tokens"]) == (1, 200)
    assert entry["reason"]


def test_another_number_of_threads_is_announced(copy, corpus_path, make_recipe, capfd):
    run = copy()
    shutil.rmtree(run.model)
    run.write_record(run.read_record().model_copy(update={"is_finished": False}))
    train(corpus_path, make_recipe(), run.path)
    assert "started with" not in capfd.readouterr().err
    run.write_record(run.read_record().model_copy(update={"is_finished": False}))
    try:
        train(corpus_path, make_recipe(), run.path, threads=2)
    finally:
        torch.set_num_threads(1)
    assert "the run was started with threads 1, now 2: results may differ by rounding" in capfd.readouterr().err
