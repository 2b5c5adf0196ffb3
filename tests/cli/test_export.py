import json
import shutil
import sys
from typing import get_args

import pytest

from mtkit.checkpoint.weights import read_tensors, write_tensors
from mtkit.cli.export import Quantization
from mtkit.config.decoding import DecodingSection
from mtkit.decoding.translator import Translator

LINES = ["the dog sees a cat.", "a big man runs.", "it was red"]


def translate(model):
    return Translator.load(model, device="cpu", decoding=DecodingSection(max_length_extra=5)).translate(LINES)


def read_files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def ctranslate2():
    return pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: pip install 'mtkit[ct2]'")


@pytest.fixture
def run_folder(experiment_folder, tmp_path):
    """A finished run, to be changed."""
    return shutil.copytree(experiment_folder / "run", tmp_path / "run")


def unfinish(run_folder):
    record = json.loads((run_folder / "run.json").read_text())
    (run_folder / "run.json").write_text(json.dumps(record | {"is_finished": False}))
    shutil.rmtree(run_folder / "model")


def test_help_has_an_example_and_few_flags(run):
    result = run("export", "--help")
    assert "Example: mtkit export" in " ".join(result.out.split())
    assert sum(line.count(" --") for line in result.out.splitlines() if line.startswith("│")) <= 8


def test_to_ctranslate2(run, ctranslate2, model_folder, tmp_path):
    result = run("export", model_folder, "-o", tmp_path / "out", "--to", "ctranslate2")
    assert (result.code, result.out) == (0, "")
    assert f"{model_folder} exported to {tmp_path / 'out'}: ctranslate2" in result.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md", "config.json", "model.bin", "mtkit.json", "shared.spm", "shared_vocabulary.json",
    }  # fmt: skip
    assert (tmp_path / "out" / "shared.spm").read_bytes() == (model_folder / "shared.spm").read_bytes()
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["unk_token"], config["bos_token"], config["eos_token"]) == ("<unk>", "<s>", "</s>")
    assert (config["decoder_start_token"], config["add_source_bos"], config["add_source_eos"]) == ("<s>", False, True)
    assert ctranslate2.Translator(str(tmp_path / "out")).translate_batch([["▁the"]])[0].hypotheses
    for command in (["translate", "--model", tmp_path / "out"], ["import", tmp_path / "out", "-o", tmp_path / "model"]):
        refused = run(*command)
        assert refused.code == 4
        assert "this is a model for CTranslate2" in refused.err


def test_the_same_export_is_up_to_date_and_another_is_refused(run, ctranslate2, model_folder, tmp_path):
    command = ["export", model_folder, "-o", tmp_path / "out", "--to", "ctranslate2", "--quantization"]
    assert run(*command, "int8").code == 0
    before = read_files(tmp_path / "out")
    again = run(*command, "int8")
    assert again.code == 0
    assert "up to date" in again.err
    other = run(*command, "int16")
    assert other.code == 2
    assert other.fixes == ["add --overwrite to replace it, or choose another folder with -o"]
    assert read_files(tmp_path / "out") == before
    assert run(*command, "int16", "--overwrite").code == 0
    assert json.loads((tmp_path / "out" / "mtkit.json").read_text())["made_from"]["quantization"] == "int16"
    assert read_files(tmp_path / "out") != before


def test_another_language_makes_another_export(run, ctranslate2, model_folder, tmp_path):
    model = shutil.copytree(model_folder, tmp_path / "model")
    command = ["export", model, "-o", tmp_path / "out", "--to", "ctranslate2"]
    assert run(*command).code == 0
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"target_language": "de-AT"}))
    assert run(*command).code == 2
    assert run(*command, "--overwrite").code == 0
    assert json.loads((tmp_path / "out" / "mtkit.json").read_text())["target_language"] == "de-AT"


@pytest.mark.parametrize("to", ["ctranslate2", "safetensors"])
@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_what_mtkit_did_not_make_is_left_alone(run, ctranslate2, model_folder, tmp_path, to, overwrite):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.bin").write_text("mine")
    (tmp_path / "out" / "config.json").write_text("{}")
    result = run("export", model_folder, "-o", tmp_path / "out", "--to", to, *overwrite)
    assert result.code == 7
    assert len(result.err.splitlines()) == 3
    assert read_files(tmp_path / "out") == {"model.bin": b"mine", "config.json": b"{}"}


@pytest.mark.parametrize("place", ["", "checkpoints", "checkpoints/step-00000002"])
def test_a_run_is_not_written_over(run, run_folder, model_folder, place):
    before = sorted(run_folder.rglob("*"))
    result = run("export", model_folder, "-o", run_folder / place, "--to", "safetensors", "--overwrite")
    assert result.code == 7
    assert sorted(run_folder.rglob("*")) == before


def test_the_model_itself_is_not_written_over_by_an_export(run, ctranslate2, model_folder, tmp_path):
    model = shutil.copytree(model_folder, tmp_path / "model")
    before = read_files(model)
    result = run("export", model, "-o", model, "--to", "ctranslate2", "--overwrite")
    assert result.code == 7
    assert read_files(model) == before


def test_without_the_package_the_extra_is_named(run, model_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    result = run("export", model_folder, "-o", tmp_path / "out", "--to", "ctranslate2")
    assert result.code == 2
    assert result.fixes == ['install it: pip install "mtkit[ct2]"']
    assert not (tmp_path / "out").exists()


def test_only_ctranslate2_quantizes(run, model_folder, tmp_path):
    result = run("export", model_folder, "-o", tmp_path / "out", "--to", "safetensors", "--quantization", "int8")
    assert result.code == 2
    assert result.err.splitlines()[1] == "   at: --quantization"


def test_an_unknown_quantization_is_refused(run, model_folder, tmp_path):
    result = run("export", model_folder, "-o", tmp_path / "out", "--to", "ctranslate2", "--quantization", "int4")
    assert result.code == 2
    assert "bfloat16" in result.err
    assert "int8_bfloat16" in get_args(Quantization)


def test_what_is_no_model_is_refused(run, ctranslate2, tmp_path):
    for to in ("ctranslate2", "safetensors"):
        result = run("export", tmp_path / "missing", "-o", tmp_path / "out", "--to", to)
        assert (result.code, result.out) == (4, "")
        assert not (tmp_path / "out").exists()


def test_weights_of_another_model_are_refused(run, model_folder, tmp_path):
    model = shutil.copytree(model_folder, tmp_path / "model")
    weights = read_tensors(model / "model.safetensors")
    name = next(iter(weights))
    write_tensors(weights | {name: weights[name][:-1]}, model / "model.safetensors")
    assert run("export", model, "-o", tmp_path / "out", "--to", "safetensors").code == 4
    assert not (tmp_path / "out").exists()


def test_a_model_needs_no_card(run, model_folder, tmp_path):
    model = shutil.copytree(model_folder, tmp_path / "model")
    (model / "README.md").unlink()
    assert run("export", model, "-o", tmp_path / "out", "--to", "safetensors").code == 0
    assert translate(tmp_path / "out") == translate(model_folder)


def test_the_finished_model_of_a_run(run, run_folder, tmp_path):
    result = run("export", run_folder, "-o", tmp_path / "out", "--to", "safetensors")
    assert result.code == 0, result.err
    assert translate(tmp_path / "out") == translate(run_folder)
    assert read_files(tmp_path / "out") == read_files(run_folder / "model")
    again = run("export", run_folder, "-o", tmp_path / "out", "--to", "safetensors")
    assert "up to date" in again.err


def test_before_the_end_of_a_run_its_best_checkpoint(run, run_folder, tmp_path):
    unfinish(run_folder)
    result = run("export", run_folder, "-o", tmp_path / "out", "--to", "safetensors")
    assert result.code == 0, result.err
    assert result.err.count("using its checkpoint step-00000002") == 1
    assert translate(tmp_path / "out") == translate(run_folder / "checkpoints" / "step-00000002")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "Weights: step-00000002." in card
    assert "BLEU" in card


def test_another_model_is_refused_unless_told(run, run_folder, model_folder, tmp_path):
    command = ["-o", tmp_path / "out", "--to", "safetensors"]
    assert run("export", run_folder, *command).code == 0
    refused = run("export", model_folder, *command)
    assert refused.code == 2
    assert translate(tmp_path / "out") == translate(run_folder)
    assert run("export", model_folder, *command, "--overwrite").code == 0
    assert translate(tmp_path / "out") == translate(model_folder)
