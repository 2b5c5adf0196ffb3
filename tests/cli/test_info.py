import json
import re
import shutil

import pytest

from mtkit.checkpoint.run_folder import MicroBatch, RunFolder
from mtkit.corpus.manifest import read_manifest
from mtkit.corpus.report import build_corpus_rows
from mtkit.corpus.store import PreparedCorpus


def table(result):
    """Return the two-column rows of the first table that `mtkit info` printed."""
    rows = (line.split("  ", 1) for line in result.out.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, value in rows}


@pytest.fixture(scope="module")
def experiment(experiment_folder):
    return experiment_folder


def test_a_model(run, model_folder):
    described = json.loads(run("info", model_folder, "--json").out)
    assert described["kind"] == "model"
    assert described["format_version"] == 1
    assert (described["layers"], described["width"], described["heads"]) == ("1+1", 16, 2)
    shown = table(run("info", model_folder))
    assert shown["kind"] == "model"
    assert shown["parameters"] == f"{described['parameters']:,}"


def test_the_parameters_are_those_of_the_model(run, model_folder):
    import torch

    from mtkit.checkpoint.model_folder import load_model

    model = load_model(model_folder, torch.device("cpu")).model
    described = json.loads(run("info", model_folder, "--json").out)
    assert described["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_a_corpus(run, experiment):
    described = json.loads(run("info", experiment / "corpus", "--json").out)
    assert described["kind"] == "prepared corpus"
    assert described["languages"] == "en-de"
    assert described["pairs_read"] == 120
    assert described["dropped"]["duplicate"] > 0
    assert described["splits"]["test"]["pairs"] == 10
    assert described["vocabulary"] == {"source": 36, "target": 36}
    assert [corpus["tag"] for corpus in described["corpora"].values()] == ["none"]
    files = [path for path in (experiment / "corpus").rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert described["bytes"] == sum(path.stat().st_size for path in files)
    corpus = PreparedCorpus.load(experiment / "corpus")
    for name, split in described["splits"].items():
        pairs = list(getattr(corpus, name))
        for side in ("source", "target"):
            assert split[f"{side}_tokens"] == sum(len(getattr(pair, f"{side}_ids")) for pair in pairs)
            assert split[f"{side}_words"] == sum(len(getattr(pair, side).split()) for pair in pairs)
        ids = [token_id for pair in pairs for token_id in (*pair.source_ids, *pair.target_ids)]
        assert split["unknown"] == ids.count(corpus.source_tokenizer.unk_id)
    shown = run("info", experiment / "corpus")
    assert table(shown)["pairs read"] == "120"
    assert "duplicate" in shown.out


def test_of_many_corpora_the_largest_are_shown(run, experiment, tmp_path):
    folder = shutil.copytree(experiment / "corpus", tmp_path / "corpus")
    record = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for count in (30, 1200):
        sizes = {f"c{number}.po": 1 + number * 7 % count for number in range(count)}
        record["corpora"] = {name: {"pairs": pairs, "tag": None} for name, pairs in sizes.items()}
        (folder / "manifest.json").write_text(json.dumps(record), encoding="utf-8")
        described = json.loads(run("info", folder, "--json").out)["corpora"]
        assert {name: corpus["pairs"] for name, corpus in described.items()} == sizes
        rows = build_corpus_rows(read_manifest(folder))
        largest = list(sizes) if count == 30 else sorted(sizes, key=sizes.get, reverse=True)[:30]
        assert [row[0] for row in rows] == largest + ["1,170 more"] * (count == 1200)
        assert sum(row[2] for row in rows) == sum(sizes.values())
        table = next(part for part in run("info", folder).out.split("\n\n") if part.startswith("corpora"))
        shown = [re.split(" {2,}", line)[:2] for line in table.splitlines()[1:]]
        assert shown == [[row[0], f"{row[2]:,}"] for row in rows]


def test_a_run(run, experiment):
    described = json.loads(run("info", experiment / "run", "--json").out)
    assert (described["kind"], described["state"]) == ("run", "finished")
    assert described["steps_done"] == described["steps_to_do"] == 2
    assert described["best"]["step"] == 2
    assert described["languages"] == "en-de"
    assert described["parameters"] > 0
    assert table(run("info", experiment / "run"))["steps done"] == "2"


def test_a_run_that_is_not_finished(run, experiment, tmp_path):
    import shutil

    folder = RunFolder(shutil.copytree(experiment / "run", tmp_path / "run"))
    finished = json.loads(run("info", folder.path, "--json").out)
    shutil.rmtree(folder.model)
    folder.write_record(folder.read_record().model_copy(update={"is_finished": False}))
    result = run("info", folder.path, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out) == finished | {"state": "not finished"}


def test_of_several_checkpoints_the_best_one_and_what_holds_last(run, experiment, tmp_path):
    folder = RunFolder(shutil.copytree(experiment / "run", tmp_path / "run"))
    shutil.copytree(folder.checkpoint(2), folder.checkpoint(1))
    state = folder.read_state(folder.checkpoint(2))
    better = state.validation.model_copy(update={"step": 1, "loss": 0.0, "bleu": 100.0, "chrf": 100.0})
    state = state.model_copy(update={"step": 1, "validation": better})
    folder.write_state(state, folder.checkpoint(1))
    sizes = [MicroBatch(from_step=step, tokens=tokens, reason="memory") for step, tokens in ((1, 64), (2, 32))]
    folder.write_record(folder.read_record().model_copy(update={"micro_batches": sizes}))
    described = json.loads(run("info", folder.path, "--json").out)
    assert (described["best"]["step"], described["steps_done"], described["checkpoints"]) == (1, 2, 2)
    assert described["micro_batch_tokens"] == 32


def test_a_run_without_a_checkpoint_yet(run, experiment, tmp_path):
    folder = RunFolder(shutil.copytree(experiment / "run", tmp_path / "run"))
    shutil.rmtree(folder.model)
    shutil.rmtree(folder.checkpoints)
    folder.write_record(folder.read_record().model_copy(update={"is_finished": False}))
    described = json.loads(run("info", folder.path, "--json").out)
    assert (described["steps_done"], described["best"], described["parameters"]) == (0, None, None)


def test_the_vocabularies_of_a_model_are_those_of_its_sides(run, model_folder, tmp_path):
    import shutil

    folder = shutil.copytree(model_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["model"] |= {"src_vocab_size": 123, "tied_embeddings": "none"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    described = json.loads(run("info", folder, "--json").out)
    assert described["vocabulary"] == {"source": 123, "target": config["model"]["tgt_vocab_size"]}


def test_a_folder_of_mtkit_run_points_to_its_parts(run, experiment, tmp_path):
    (tmp_path / "corpus").mkdir()
    for folder, part in ((experiment, "run"), (tmp_path, "corpus")):
        result = run("info", folder)
        assert result.code == 3
        assert result.fixes == [f"look at {folder / part}"]


def test_a_folder_of_mtkit_run_in_place_of_a_model_points_to_its_run(run, experiment):
    result = run("export", experiment, "-o", "model", "--to", "safetensors")
    assert (result.code, result.fixes) == (4, [f"give {experiment / 'run'}"])


def test_a_checkpoint_points_to_its_run(run, experiment):
    checkpoint = RunFolder(experiment / "run").list_checkpoints()[0]
    result = run("info", checkpoint)
    assert (result.code, "a checkpoint of a run" in result.err) == (3, True)
    assert result.fixes == [f"look at its run: mtkit info {experiment / 'run'}"]


@pytest.mark.parametrize("name", ["folder", "file", "missing"])
def test_what_is_not_mtkits_is_refused(run, tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    result = run("info", tmp_path / name)
    assert (result.code, result.out) == (3, "")
    assert len(result.err.splitlines()) == 3


def test_a_newer_format_is_refused(run, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format_version": 99}))
    result = run("info", folder)
    assert result.code == 4
    assert "format 99" in result.err
    assert result.fixes == ["update mtkit"]


def test_truncated_weights_are_refused(run, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"\x80\x02junk")
    result = run("info", folder)
    assert result.code == 4
    assert "Traceback" not in result.err


def test_it_needs_no_torch(start, model_folder):
    import subprocess
    import sys

    code = (
        "import sys, mtkit.cli.main as m\n"
        f"try: m.main(['info', {str(model_folder)!r}])\n"
        "except SystemExit as e: assert e.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
