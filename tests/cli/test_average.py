import json
import shutil

import pytest
import torch

from mtkit.checkpoint.weights import read_tensors, write_tensors
from mtkit.runtime.files import hash_file

STEPS = [1, 2, 3]


@pytest.fixture
def run_folder(experiment_folder, tmp_path):
    """A run with three checkpoints of different weights; the second has the best BLEU, then the first."""
    folder = shutil.copytree(experiment_folder / "run", tmp_path / "run")
    original = folder / "checkpoints" / "step-00000002"
    weights = read_tensors(original / "model.safetensors")
    state = json.loads((original / "state.json").read_text())
    del state["sha256"]
    for step, bleu in zip(STEPS, (20.0, 30.0, 10.0), strict=True):
        checkpoint = folder / "checkpoints" / f"step-{step:08d}"
        checkpoint.mkdir(exist_ok=True)
        validation = {"step": step, "loss": 2.0, "bleu": bleu, "chrf": 40.0}
        noted = state | {"step": step, "validation": validation, "hashes": {}}
        (checkpoint / "state.json").write_text(json.dumps(noted))
        put({name: tensor + step for name, tensor in weights.items()}, checkpoint / "model.safetensors")
    return folder


def put(tensors, path):
    """Write tensors into a checkpoint, and their hash with them."""
    write_tensors(tensors, path)
    state = json.loads((path.parent / "state.json").read_text())
    state["hashes"][path.name] = hash_file(path)
    (path.parent / "state.json").write_text(json.dumps(state))


def checkpoint(run_folder, step):
    return run_folder / "checkpoints" / f"step-{step:08d}"


def assert_is_mean(folder, run_folder, steps):
    wanted = [read_tensors(checkpoint(run_folder, step) / "model.safetensors") for step in steps]
    found = read_tensors(folder / "model.safetensors")
    assert found.keys() == wanted[0].keys()
    for name, tensor in found.items():
        mean = sum(weights[name].double() for weights in wanted) / len(wanted)
        torch.testing.assert_close(tensor.double(), mean, atol=1e-6, rtol=1e-6)


def test_help_has_an_example(run):
    assert "Example: mtkit average" in " ".join(run("average", "--help").out.split())


def test_chosen_checkpoints(run, run_folder, tmp_path):
    result = run("average", checkpoint(run_folder, 1), checkpoint(run_folder, 3), "-o", tmp_path / "out")
    assert (result.code, result.out) == (0, "")
    assert result.err == f"the mean of step-00000001, step-00000003: {tmp_path / 'out'}\n"
    assert_is_mean(tmp_path / "out", run_folder, [1, 3])
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "Weights: mean of step-00000001, step-00000003." in card
    assert "BLEU" not in card  # of the mean nothing is known


@pytest.mark.parametrize(("flag", "count", "steps"), [("--last", 2, [2, 3]), ("--best", 2, [1, 2]), ("--best", 1, [2])])
def test_of_a_run_the_last_or_the_best(run, run_folder, tmp_path, flag, count, steps):
    result = run("average", run_folder, flag, count, "-o", tmp_path / "out")
    assert result.code == 0, result.err
    assert_is_mean(tmp_path / "out", run_folder, steps)


def test_of_one_checkpoint_the_card_tells_the_scores(run, run_folder, tmp_path):
    run("average", run_folder, "--best", 1, "-o", tmp_path / "out")
    assert "BLEU 30.00" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_the_mean_translates(run, run_folder, tmp_path, write):
    run("average", run_folder, "--last", 2, "-o", tmp_path / "out")
    result = run("translate", "--model", tmp_path / "out", write("in.txt", ["dog runs.", "cat"]), "--device", "cpu")
    assert result.code == 0
    assert len(result.out.splitlines()) == 2
    assert json.loads(run("info", tmp_path / "out", "--json").out)["languages"] == "en-de"


def test_the_moving_average_counts_where_one_is_kept(run, run_folder, tmp_path):
    for step in (1, 2):
        weights = read_tensors(checkpoint(run_folder, step) / "model.safetensors")
        moving = {name: tensor - 7 for name, tensor in weights.items()}
        put(moving, checkpoint(run_folder, step) / "average.safetensors")
    run("average", checkpoint(run_folder, 1), checkpoint(run_folder, 2), "-o", tmp_path / "out")
    name, tensor = next(iter(read_tensors(tmp_path / "out" / "model.safetensors").items()))
    wanted = read_tensors(checkpoint(run_folder, 1) / "model.safetensors")[name] + 0.5 - 7
    torch.testing.assert_close(tensor, wanted, atol=1e-5, rtol=1e-5)


def test_again_it_is_up_to_date_and_another_mean_is_refused(run, run_folder, tmp_path):
    assert run("average", run_folder, "--last", 2, "-o", tmp_path / "out").code == 0
    assert "up to date" in run("average", run_folder, "--last", 2, "-o", tmp_path / "out").err
    other = run("average", run_folder, "--last", 3, "-o", tmp_path / "out")
    assert other.code == 2
    assert other.fixes == ["add --overwrite to replace it, or choose another folder with -o"]
    assert_is_mean(tmp_path / "out", run_folder, [2, 3])
    (tmp_path / "out" / "notes.txt").write_text("mine")
    mixed = run("average", run_folder, "--last", 3, "-o", tmp_path / "out", "--overwrite")
    assert mixed.code == 7
    assert "would be lost: notes.txt" in mixed.err
    (tmp_path / "out" / "notes.txt").unlink()
    assert run("average", run_folder, "--last", 3, "-o", tmp_path / "out", "--overwrite").code == 0
    assert_is_mean(tmp_path / "out", run_folder, [1, 2, 3])


@pytest.mark.parametrize("place", ["", "checkpoints/step-00000002"])
def test_a_run_is_not_written_over(run, run_folder, place):
    before = sorted(run_folder.rglob("*"))
    result = run("average", run_folder, "--last", 2, "-o", run_folder / place, "--overwrite")
    assert result.code == 7
    assert sorted(run_folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "code", "fix"),
    [
        (["run"], 2, "add --last 5, or --best 5"),
        (["run", "--last", 2, "--best", 2], 2, "add --last 5, or --best 5"),
        (["run", "--last", 4], 2, "give --last 3"),
        (["run", "--best", 4], 2, "give --best 3"),
        (["run", "run/checkpoints/step-00000001"], 2, "give one run, or checkpoints of one"),
        (["run/checkpoints/step-00000001", "--last", 1], 2, "give the run, or neither flag"),
        (["run/checkpoints/step-00000001", "run/checkpoints/../checkpoints/step-00000001"], 2, "name each once"),
        (["run/checkpoints/step-00000001", "other/checkpoints/step-00000002"], 4, "name checkpoints of one run"),
        (["run/model"], 4, "give folders such as run/checkpoints/step-00001000"),
        (["missing"], 4, "give folders such as run/checkpoints/step-00001000"),
        (
            ["lone/step-00000001"],
            4,
            "name the checkpoint where its run keeps it",
        ),
    ],
)
def test_what_cannot_be_averaged(run, run_folder, tmp_path, monkeypatch, arguments, code, fix):
    shutil.copytree(run_folder, tmp_path / "other")
    shutil.copytree(checkpoint(run_folder, 1), tmp_path / "lone" / "step-00000001")
    monkeypatch.chdir(tmp_path)
    result = run("average", *arguments, "-o", "out")
    assert result.code == code
    assert result.fixes == [fix]
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_may_be_named_from_within_its_folder(run, run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(run_folder / "checkpoints")
    assert run("average", "step-00000001", "step-00000002", "-o", tmp_path / "out").code == 0
    assert_is_mean(tmp_path / "out", run_folder, [1, 2])


def test_weights_of_another_model_are_refused(run, run_folder, tmp_path):
    path = checkpoint(run_folder, 2) / "model.safetensors"
    weights = read_tensors(path)
    name = next(iter(weights))
    put(weights | {name: weights[name][:-1]}, path)
    result = run("average", run_folder, "--last", 2, "-o", tmp_path / "out")
    assert result.code == 4
    assert "weights of different models" in result.err
    assert run("average", checkpoint(run_folder, 2), "-o", tmp_path / "out").code == 4
    assert not (tmp_path / "out").exists()


def test_damaged_weights_are_refused(run, run_folder, tmp_path):
    path = checkpoint(run_folder, 2) / "model.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-2] ^= 1
    path.write_bytes(damaged)
    result = run("average", run_folder, "--last", 2, "-o", tmp_path / "out")
    assert result.code == 4
    assert "the file is damaged" in result.err
    assert not (tmp_path / "out").exists()


def test_of_a_run_without_validations_there_is_no_best(run, run_folder, tmp_path):
    for path in run_folder.glob("checkpoints/*/state.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"validation": None}))
    result = run("average", run_folder, "--best", 2, "-o", tmp_path / "out")
    assert result.code == 2
    assert result.fixes == ["choose by --last, or name checkpoints: none was validated"]
