import errno
import json
import shutil
import threading
import time
from pathlib import Path

import pytest
import torch

from mtkit.checkpoint import checkpoint
from mtkit.checkpoint.checkpoint import (
    CheckpointWriter,
    Snapshot,
    find_last_checkpoint,
    find_whole_weights,
    read_snapshot,
    rotate_checkpoints,
    save_checkpoint,
)
from mtkit.checkpoint.run_folder import (
    CheckpointState,
    RunFolder,
    Validation,
    find_best,
    find_config_folder,
    find_model,
    rank_checkpoints,
)
from mtkit.errors import ModelError, OutputError, writing


def snapshot(step=0, has_average=True):
    weights = {"layer.weight": torch.arange(6.0).view(2, 3) + step, "layer.bias": torch.ones(2)}
    moments = {f"{key}/{name}": w / 2 for name, w in weights.items() for key in ("exp_avg", "exp_avg_sq")}
    return Snapshot(weights, moments, {name: w / 3 for name, w in weights.items()} if has_average else {})


def state(step, bleu=None, loss=1.0):
    validation = None if bleu is None else Validation(step=step, loss=loss, bleu=bleu, chrf=100 - bleu)
    return CheckpointState(step=step, epoch=1, batch_index=2, skipped_in_a_row=3, validation=validation)


def steps(run):
    return [run.read_state(folder).step for folder in run.list_checkpoints()]


def leftovers(run):
    """What stands among the checkpoints and is none."""
    return [path.name for path in run.checkpoints.iterdir() if path not in run.list_checkpoints()]


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    return RunFolder(tmp_path / "run")


@pytest.fixture
def writer(run):
    writer = CheckpointWriter(run, 2, "bleu")
    yield writer
    writer.close()


@pytest.fixture
def slow(monkeypatch):
    """Nothing is written before this event is set."""
    event, honest = threading.Event(), checkpoint.write_tensors

    def write_tensors(tensors, path, metadata=None):
        assert event.wait(60)
        honest(tensors, path, metadata)

    monkeypatch.setattr(checkpoint, "write_tensors", write_tensors)
    yield event
    event.set()


@pytest.fixture
def full_disk(monkeypatch):
    """Weights are written, the optimizer finds no room."""
    honest = checkpoint.write_tensors

    def write_tensors(tensors, path, metadata=None):
        if path.name == "optimizer.safetensors":
            with writing(path):
                raise OSError(errno.ENOSPC, "No space left on device")
        honest(tensors, path, metadata)

    monkeypatch.setattr(checkpoint, "write_tensors", write_tensors)


@pytest.mark.parametrize("has_average", [True, False])
def test_what_was_saved_is_read_back(run, has_average):
    saved = snapshot(5, has_average)
    folder = save_checkpoint(run, saved, state(5, bleu=10.0))
    assert (folder / "average.safetensors").exists() == has_average
    back = read_snapshot(folder)
    for kind in ("weights", "optimizer", "average"):
        ours, theirs = getattr(saved, kind), getattr(back, kind)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    read = run.read_state(folder)
    assert read.model_copy(update={"hashes": {}}) == state(5, bleu=10.0)
    assert read.hashes.keys() == {path.name for path in folder.glob("*.safetensors")}
    assert find_last_checkpoint(run) == folder


def test_a_checkpoint_without_moments_can_be_resumed(run):
    """Such as one of a run whose every update so far was skipped, where the optimizer is not asked then (FSDP, mps)."""
    folder = save_checkpoint(run, Snapshot(snapshot().weights, {}), state(2))
    assert read_snapshot(folder).optimizer == {}


def test_training_goes_on_while_a_checkpoint_is_written(run, writer, slow):
    taken = []

    def take(step):
        taken.append((step, threading.current_thread()))
        return snapshot(step)

    writer.write(lambda: take(5), state(5))
    writer.check()
    assert taken == [(5, threading.main_thread())]  # the weights are copied before anything can change them
    assert steps(run) == []
    second = threading.Thread(target=lambda: writer.write(lambda: take(10), state(10)))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    assert len(taken) == 1, "two snapshots are held at once"
    slow.set()
    second.join(60)
    writer.wait()
    assert [step for step, _ in taken] == [5, 10]
    assert steps(run) == [5, 10]
    assert torch.equal(read_snapshot(run.checkpoint(10)).weights["layer.weight"], snapshot(10).weights["layer.weight"])
    assert leftovers(run) == []


def test_closing_waits_for_what_is_being_written(run, slow):
    writer = CheckpointWriter(run, 2, "bleu")
    writer.write(snapshot, state(5))
    threading.Timer(0.1, slow.set).start()
    writer.close()
    assert steps(run) == [5]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("checkpoint")]


@pytest.mark.parametrize("ask", ["check", "wait", "write"])
def test_an_error_in_the_background_is_told_at_the_next_occasion(run, writer, ask, request):
    writer.write(snapshot, state(5))
    writer.wait()
    request.getfixturevalue("full_disk")
    writer.write(snapshot, state(10))
    with pytest.raises(OutputError, match="No space left"):
        match ask:
            case "check":
                for _ in range(1000):
                    writer.check()
                    time.sleep(0.01)
            case "wait":
                writer.wait()
            case "write":
                writer.write(lambda: pytest.fail("a snapshot was taken"), state(15))
    writer.check()  # told once
    writer.wait()
    assert steps(run) == [5]
    assert leftovers(run) == []


def test_after_an_error_the_next_checkpoint_can_be_written(run, writer, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_tensors", lambda *_: 1 / 0)
        writer.write(snapshot, state(5))
        with pytest.raises(ZeroDivisionError):
            writer.wait()
    writer.write(snapshot, state(10))
    writer.wait()
    assert steps(run) == [10]


def test_the_last_and_the_best_are_kept(run):
    writer = CheckpointWriter(run, 3, "bleu")
    for step, bleu in enumerate([9, 3, 8, 7, 1, 2, 4], 1):
        writer.write(snapshot, state(step, bleu))
    writer.write(snapshot, state(8))
    writer.close()
    assert steps(run) == [1, 3, 4, 6, 7, 8]
    resumable = [step for step in steps(run) if (run.checkpoint(step) / "optimizer.safetensors").exists()]
    assert resumable == [7, 8]
    assert leftovers(run) == []


@pytest.mark.parametrize(("metric", "best"), [("bleu", [1, 3]), ("chrf", [2, 5]), ("loss", [2, 4])])
def test_best_is_what_the_metric_says(run, metric, best):
    for step, (bleu, loss) in enumerate([(9, 3.0), (3, 1.0), (8, 4.0), (7, 2.0), (1, 5.0), (6, 6.0)], 1):
        save_checkpoint(run, snapshot(), state(step, bleu, loss))
    rotate_checkpoints(run, 2, metric)
    assert steps(run) == sorted({*best, 5, 6})


def test_rotation_takes_what_kills_left_behind_and_nothing_else(run):
    for step in (1, 2, 3):
        save_checkpoint(run, snapshot(), state(step))
    shutil.copytree(run.checkpoint(1), run.checkpoints / "step-00000001.kept")
    (run.checkpoints / ".step-00000004.partial").mkdir()
    (run.checkpoint(2) / "state.json").unlink()  # rotation took it, and was interrupted
    (run.checkpoints / "notes").mkdir()
    rotate_checkpoints(run, 1, "bleu")
    assert steps(run) == [3]
    assert sorted(leftovers(run)) == ["notes", "step-00000001.kept"]


def test_what_a_kill_interrupts_the_rotation_of_is_no_checkpoint_any_more(run, monkeypatch):
    for step in (1, 2, 3):
        save_checkpoint(run, snapshot(), state(step))

    def rmtree(folder, **_):
        (folder / "model.safetensors").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(checkpoint.shutil, "rmtree", rmtree)
        rotate_checkpoints(run, 1, "bleu")
    assert steps(run) == [3]
    rotate_checkpoints(run, 1, "bleu")
    assert leftovers(run) == []


def test_what_only_a_signal_asked_for_takes_no_place_among_the_last(run):
    for step, is_extra in ((1, False), (2, True), (3, False), (4, True), (5, False), (6, True)):
        save_checkpoint(run, snapshot(), state(step).model_copy(update={"is_extra": is_extra}))
    assert [path.name for path in run.list_planned()] == [run.checkpoint(step).name for step in (1, 3, 5, 6)]
    rotate_checkpoints(run, 3, "bleu")
    assert steps(run) == [3, 4, 5, 6]
    save_checkpoint(run, snapshot(), state(7))
    rotate_checkpoints(run, 2, "bleu")
    assert steps(run) == [5, 6, 7]


def test_of_equally_good_ones_the_earlier_is_the_better(run):
    for step in range(1, 7):
        save_checkpoint(run, snapshot(), state(step, 5))
    rotate_checkpoints(run, 1, "bleu")
    assert steps(run) == [1, 6]


def test_without_checkpoints_there_is_no_last(run):
    assert find_last_checkpoint(run) is None
    (run.checkpoints / ".step-00000005.partial").mkdir()
    (run.checkpoint(6)).mkdir()  # rotation took its state, and was interrupted
    assert find_last_checkpoint(run) is None


def flip(path):
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)


@pytest.mark.parametrize("name", ["model", "optimizer", "average"])
@pytest.mark.parametrize("harm", ["flip", "unlink"])
def test_a_damaged_checkpoint_is_passed_over_and_removed(run, capfd, name, harm):
    for step in (1, 2, 3):
        save_checkpoint(run, snapshot(), state(step))
    path = run.checkpoint(3) / f"{name}.safetensors"
    path.unlink() if harm == "unlink" else flip(path)
    assert find_last_checkpoint(run) == run.checkpoint(2)
    said = capfd.readouterr().err
    assert "checkpoint step-00000003 cannot be used" in said
    assert str(path) in said
    assert steps(run) == [1, 2]
    assert find_last_checkpoint(run) == run.checkpoint(2)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("has_average", [True, False])
@pytest.mark.parametrize("harm", ["flip", "unlink"])
def test_damaged_weights_make_no_model(run, has_average, harm):
    folder = save_checkpoint(run, snapshot(1, has_average), state(1))
    path = folder / ("average.safetensors" if has_average else "model.safetensors")
    assert find_whole_weights(run, folder) == path
    path.unlink() if harm == "unlink" else flip(path)
    with pytest.raises(ModelError, match="damaged" if harm == "flip" else "missing") as refused:
        find_whole_weights(run, folder)
    assert refused.value.at == str(path)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", json.dumps({"format_version": 2, "step": "many"})])
def test_a_damaged_state_is_passed_over(run, content):
    for step in (1, 2):
        save_checkpoint(run, snapshot(), state(step))
    (run.checkpoint(2) / "state.json").write_text(content)
    assert find_last_checkpoint(run) == run.checkpoint(1)


def change(folder, **fields):
    """Change numbers of a state in place, as a flipped bit does."""
    path = folder / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    "fields",
    [{"batch_index": 0}, {"validation": {"step": 2, "loss": 1.0, "bleu": 90.0, "chrf": 10.0}}, {"sha256": "0"}],
)
def test_a_number_that_changed_in_a_state_is_noticed(run, capfd, fields):
    for step in (1, 2):
        save_checkpoint(run, snapshot(), state(step))
    change(run.checkpoint(2), **fields)
    assert find_last_checkpoint(run) == run.checkpoint(1)
    assert "step-00000002 cannot be used: the file is damaged: its hash is another" in capfd.readouterr().err


def test_a_state_of_an_earlier_version_has_no_hash_of_its_own(run):
    for step in (1, 2):
        path = save_checkpoint(run, snapshot(), state(step, bleu=5.0)) / "state.json"
        path.write_text(json.dumps({name: v for name, v in json.loads(path.read_text()).items() if name != "sha256"}))
    assert find_last_checkpoint(run) == run.checkpoint(2)
    assert run.read_state(run.checkpoint(2)).validation == state(2, bleu=5.0).validation
    change(run.checkpoint(2), step=3)
    with pytest.raises(ModelError, match="the file is that of step 3"):
        run.read_state(run.checkpoint(2))


def test_an_older_checkpoint_that_is_damaged_stops_nothing_and_is_told_once(run, capfd):
    for step, bleu in enumerate([9, 8, 1, 2, 3], 1):
        save_checkpoint(run, snapshot(), state(step, bleu))
    change(run.checkpoint(1), epoch=7)
    change(run.checkpoint(4), epoch=7)
    assert find_last_checkpoint(run) == run.checkpoint(5)
    for _ in range(2):
        rotate_checkpoints(run, 2, "bleu")
    assert [path.name[-1] for path in run.list_checkpoints()] == ["2", "3", "4", "5"]
    assert rank_checkpoints(run, "bleu") == [run.checkpoint(step) for step in (2, 5, 3)]
    assert run.list_planned() == [run.checkpoint(step) for step in (2, 3, 5)]
    said = capfd.readouterr().err
    for step in (1, 4):
        assert said.count(f"checkpoint step-{step:08} is left out: the file is damaged") == 1


def test_a_damaged_record_costs_nobody_a_run(run):
    path = run.path / "run.json"
    path.write_text("{")
    with pytest.raises(ModelError, match="the file is damaged") as refused:
        run.read_record()
    assert "restore it from a copy" in refused.value.fix
    path.unlink()
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        run.read_record()


@pytest.mark.parametrize(("content", "problem"), [(None, "has no recipe"), ("training: [", "recipe is damaged")])
def test_a_run_without_its_recipe_says_so(run, content, problem):
    if content is not None:
        (run.path / "recipe.yaml").write_text(content)
    with pytest.raises(ModelError, match=problem) as refused:
        run.read_recipe()
    assert refused.value.at == str(run.path / "recipe.yaml")


def test_a_checkpoint_may_be_named_from_where_one_stands(run, monkeypatch):
    folder = save_checkpoint(run, snapshot(), state(1))
    for name in ("run.json", "recipe.yaml", "config.json"):
        (run.path / name).touch()
    for place, name in ((run.checkpoints, folder.name), (folder, ".")):
        monkeypatch.chdir(place)
        found, weights = find_model(Path(name))
        assert find_config_folder(Path(name)) == found
        assert (found, weights.resolve().parent) == (run.path.resolve(), folder.resolve())


def test_where_no_checkpoint_is_whole_the_run_is_not_begun_anew(run):
    for step in (1, 2):
        flip(save_checkpoint(run, snapshot(), state(step)) / "model.safetensors")
    with pytest.raises(ModelError, match="no checkpoint of the run can be restored"):
        find_last_checkpoint(run)
    assert steps(run) == [1, 2]


@pytest.mark.parametrize(
    ("metric", "ranked"), [("bleu", [3, 5, 2, 1, 4]), ("chrf", [2, 1, 4, 3, 5]), ("loss", [2, 3, 5, 1, 4])]
)
def test_the_best_come_first_and_among_equals_those_of_the_lower_loss(run, metric, ranked):
    scores = {1: (0.0, 3.0), 2: (0.0, 1.0), 3: (0.5, 2.0), 4: (0.0, 4.0), 5: (0.5, 2.0)}
    for step, (bleu, loss) in scores.items():
        save_checkpoint(run, snapshot(), state(step, bleu, loss))
    assert [run.read_state(folder).step for folder in rank_checkpoints(run, metric)] == ranked


@pytest.mark.parametrize(("metric", "best"), [("bleu", 3), ("loss", 2)])
def test_the_best_validation_is_the_first_best_by_the_metric_then_by_the_loss(metric, best):
    scores = [(10.0, 3.0), (30.0, 2.5), (20.0, 2.0), (30.0, 2.25), (30.0, 2.25), (10.0, 2.0)]
    validations = [Validation(step=n, loss=loss, bleu=bleu, chrf=1.0) for n, (bleu, loss) in enumerate(scores)]
    assert find_best(validations, metric).step == best
    assert find_best([], metric) is None
