"""What a training refuses at its start, rather than lose work, or what it made, later."""

import errno
import shutil
import sys
from pathlib import Path

import pytest

from mtkit.checkpoint.run_folder import RunFolder
from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.prepare import prepare_corpus
from mtkit.errors import DataError, ModelError, OutputError, RecipeError
from mtkit.training.exclusive import claimed
from mtkit.training.run import train_model
from mtkit.training.trainer import Trainer


def train(corpus_path, recipe, output, **options):
    train_model(corpus_path, recipe, output, device="cpu", threads=1, **options)
    return RunFolder(output)


@pytest.fixture
def run(corpus_path, make_recipe, tmp_path):
    return train(corpus_path, make_recipe("training.max_steps=5"), tmp_path / "run")


def unfinish(run):
    shutil.rmtree(run.model)
    run.write_record(run.read_record().model_copy(update={"is_finished": False}))


def test_a_finished_run_without_checkpoints_is_not_extended_but_kept(run, corpus_path, make_recipe):
    shutil.rmtree(run.checkpoints)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(ModelError, match="no checkpoint to go on from") as refused:
        train(corpus_path, make_recipe("training.max_steps=10"), run.path, extend=True)
    assert f"training.init_from={run.model}" in refused.value.fix
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_a_run_with_an_empty_recipe_is_damaged(run, corpus_path, make_recipe):
    (run.path / "recipe.yaml").write_text("")
    with pytest.raises(ModelError, match="the run's recipe is damaged"):
        train(corpus_path, make_recipe("training.max_steps=5"), run.path)


# Two trainings in one folder.


@pytest.mark.skipif(sys.platform == "win32", reason="nobody is kept out there")
@pytest.mark.parametrize("options", [{}, {"restart": True}, {"extend": True}])
def test_two_trainings_do_not_work_on_one_run(run, corpus_path, make_recipe, options):
    unfinish(run)
    recipe = make_recipe("training.max_steps=10" if options.get("extend") else "training.max_steps=5")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with claimed(run.path), pytest.raises(OutputError, match="another training works on this run") as refused:
        train(corpus_path, recipe, run.path, **options)
    assert refused.value.at == str(run.path)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    train(corpus_path, recipe, run.path, **options)
    assert run.is_finished


@pytest.mark.skipif(sys.platform == "win32", reason="nobody is kept out there")
@pytest.mark.parametrize("kind", ["new", "restarted"])
def test_a_run_is_claimed_from_its_first_step_to_its_last(run, corpus_path, make_recipe, tmp_path, monkeypatch, kind):
    path = tmp_path / "new" if kind == "new" else run.path
    honest = Trainer.train

    def attempt(self, told):
        with pytest.raises(OutputError, match="another training"), claimed(path):
            pass
        return honest(self, told)

    monkeypatch.setattr(Trainer, "train", attempt)
    train(corpus_path, make_recipe("training.max_steps=5"), path, restart=kind == "restarted")
    with claimed(path):
        assert RunFolder(path).is_finished


def read_all(folder):
    """Return what a run holds, but for its report, which is made of the rest."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "report.html"]
    return {path.relative_to(folder): path.read_bytes() for path in files}


@pytest.mark.parametrize("restart", [False, True])
def test_a_run_that_began_meanwhile_is_not_replaced(run, corpus_path, make_recipe, tmp_path, monkeypatch, restart):
    import mtkit.training.run as starting

    honest = starting.choose
    monkeypatch.setattr(starting, "choose", lambda trainer: shutil.copytree(run.path, path) and honest(trainer))
    path = tmp_path / "other"
    with pytest.raises(OutputError, match="another training"):
        train(corpus_path, make_recipe("training.max_steps=5"), path, restart=restart)
    assert RunFolder(path).checkpoint(5).is_dir()


@pytest.mark.parametrize("moment", ["_save", "check_place"])
@pytest.mark.parametrize("is_taken", [False, True])
def test_a_run_that_is_moved_while_it_trains_stops(
    run, corpus_path, make_recipe, tmp_path, monkeypatch, moment, is_taken
):
    honest = getattr(Trainer, moment)
    path, elsewhere = tmp_path / "here", tmp_path / "elsewhere"

    def move(self, *arguments):
        is_end = moment == "_save" or (path / "checkpoints" / "step-00000005").is_dir()
        if self.state.step == 5 and is_end and not elsewhere.exists():
            path.rename(elsewhere)
            if is_taken:
                shutil.copytree(run.path, path)
        honest(self, *arguments)

    monkeypatch.setattr(Trainer, moment, move)
    recipe = make_recipe("training.max_steps=5", "training.save_every_steps=2")
    with pytest.raises(OutputError, match="was moved or removed"):
        train(corpus_path, recipe, path)
    assert path.exists() == is_taken
    if is_taken:
        assert read_all(path) == read_all(run.path)
    monkeypatch.undo()
    assert train(corpus_path, recipe, elsewhere).is_finished


# To start anew.


@pytest.mark.parametrize(
    ("place", "kind"),
    [("test.hyp", "a run"), ("checkpoints/best", "the checkpoints of a run"), ("model/notes.txt", "a model folder")],
)
def test_a_run_with_other_things_in_it_is_not_replaced(run, corpus_path, make_recipe, place, kind):
    (run.path / place).write_text("mine")
    recipe = make_recipe("training.max_steps=5")
    with pytest.raises(OutputError, match=rf"not of {kind} .* would be lost: {Path(place).name}"):
        train(corpus_path, recipe, run.path, restart=True)
    assert run.is_finished
    (run.path / place).unlink()
    train(corpus_path, recipe, run.path, restart=True)


def test_started_again_by_torchrun_a_run_is_not_replaced_once_more(run, corpus_path, make_recipe, monkeypatch, capfd):
    unfinish(run)
    mark = run.path / "tensorboard" / "mark"
    mark.parent.mkdir(exist_ok=True)
    mark.touch()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    train(corpus_path, make_recipe("training.max_steps=5"), run.path, restart=True)
    assert mark.exists()
    assert "resuming at step 5" in capfd.readouterr().err
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    train(corpus_path, make_recipe("training.max_steps=5"), run.path, restart=True)
    assert not mark.exists()


@pytest.mark.parametrize("place", ["", "model", "checkpoints/step-00000005"])
def test_a_run_is_not_replaced_by_one_that_starts_from_it(run, corpus_path, make_recipe, place):
    recipe = make_recipe(f"training.init_from={run.path / place}")
    with pytest.raises(RecipeError, match="cannot start from the run that it replaces"):
        train(corpus_path, recipe, run.path, restart=True)
    assert run.is_finished


@pytest.mark.parametrize("is_finished", [True, False])
def test_what_a_kill_left_of_a_run_that_was_replaced_goes_with_the_next_start(
    run, corpus_path, make_recipe, is_finished
):
    if not is_finished:
        unfinish(run)
    beside = sorted(run.path.parent.iterdir())
    for kind in ("replaced", "partial"):
        shutil.copytree(run.path, run.path.with_name(f".{run.path.name}.{kind}"))
    train(corpus_path, make_recipe("training.max_steps=5"), run.path)
    assert sorted(run.path.parent.iterdir()) == beside
    assert run.is_finished


# Where it ends.


@pytest.mark.parametrize(("minutes", "steps"), [(0.00001, 1), (60, 5)])
def test_of_steps_and_minutes_the_fewer_updates_count(corpus_path, make_recipe, tmp_path, minutes, steps):
    recipe = make_recipe("training.max_steps=5", f"training.max_minutes={minutes}")
    run = train(corpus_path, recipe, tmp_path / "run")
    assert (run.read_record().max_steps, run.step_of(run.list_checkpoints()[-1])) == (steps, steps)
    longer = make_recipe("training.max_steps=7", "training.max_minutes=60")
    train(corpus_path, longer, run.path, extend=True)
    assert (run.read_record().max_steps, run.step_of(run.list_checkpoints()[-1])) == (7, 7)


# Text that would stop it later.


def test_minutes_that_are_over_extend_nothing(run, corpus_path, make_recipe):
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    recipe = make_recipe("training.max_steps=null", "training.max_minutes=0.000001")
    with pytest.raises(RecipeError, match="made 5 updates already, and 1e-06 minutes, from its beginning, are 1 here"):
        train(corpus_path, recipe, run.path, extend=True)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    assert run.is_finished
    assert train(corpus_path, recipe, run.path, restart=True).read_record().max_steps == 1


@pytest.mark.parametrize("name", ["train/data-00000.arrow", "shared.spm", "valid.source.txt"])
def test_text_that_was_changed_in_place_is_refused(run, corpus_path, make_recipe, tmp_path, name):
    corpus = shutil.copytree(corpus_path, tmp_path / "corpus")
    path = corpus / name
    content = path.read_bytes()
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 16
    path.write_bytes(changed)
    unfinish(run)
    for output in (run.path, tmp_path / "new"):
        with pytest.raises(DataError, match="has changed since it was written") as refused:
            train(corpus, make_recipe("training.max_steps=5"), output)
        assert refused.value.at == str(path)
    path.write_bytes(content)
    assert train(corpus, make_recipe("training.max_steps=5"), run.path).is_finished


def test_validation_text_without_translations_is_refused(corpus_path, make_recipe, tmp_path):
    folder = corpus_path.parent
    for side in ("en", "de"):
        (tmp_path / f"valid.{side}").write_text("a dog\na cat\n" if side == "en" else "\n\n", encoding="utf-8")
    section = CorpusSection(
        train=[TextSource(source=folder / "train.en", target=folder / "train.de")],
        valid=TextSource(source=tmp_path / "valid.en", target=tmp_path / "valid.de"),
        test_size=0,
    )
    prepare_corpus(section, VocabularySection(size=60), tmp_path / "corpus")
    with pytest.raises(DataError, match="the validation set holds no target text") as refused:
        train(tmp_path / "corpus", make_recipe(), tmp_path / "run")
    assert refused.value.at == str(tmp_path / "corpus")
    assert not (tmp_path / "run").exists()


def test_pairs_longer_than_the_positions_that_are_learned_are_refused(corpus_path, make_recipe, tmp_path):
    learned = ("model.positions=learned", "training.micro_batch_tokens=200", "training.max_steps=1")
    with pytest.raises(RecipeError, match=r"a training pair has \d+ tokens, .* learns 12 positions") as refused:
        train(corpus_path, make_recipe(*learned, "model.max_positions=12"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    settings = refused.value.fix.split()[2].rstrip(",")
    train(corpus_path, make_recipe(*learned, settings), tmp_path / "run")
    enough = int(settings.partition("=")[2])
    with pytest.raises(RecipeError):
        train(corpus_path, make_recipe(*learned, f"model.max_positions={enough - 1}"), tmp_path / "other")


@pytest.mark.skipif(sys.platform == "win32", reason="nobody is kept out there")
def test_where_the_file_system_cannot_tell_nobody_is_kept_out(tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with claimed(tmp_path), claimed(tmp_path):
        pass
