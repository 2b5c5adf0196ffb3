import json
import os
import shutil

import pytest

import mtkit
from mtkit.config.loading import load_recipe
from mtkit.corpus.store import PreparedCorpus
from mtkit.decoding.request import Request

HERE = ["--device", "cpu", "--threads", "1"]
STEPS = ["corpus", "run", "test.hyp", "scores.json"]


@pytest.fixture
def folder(experiment_folder, tmp_path):
    """A finished folder of `mtkit run` to change."""
    return shutil.copytree(experiment_folder, tmp_path / "tiny")


@pytest.fixture
def again(run, tiny_recipe, folder):
    """Return a function that runs the tiny recipe on the folder once more."""
    return lambda *arguments: run("run", tiny_recipe, "-o", folder, *HERE, *arguments)


def skipped(result, folder):
    """Return the steps that were said to be up to date."""
    return [step for step in STEPS if f"{folder / step} is up to date (" in result.err]


def test_it_makes_corpus_run_translations_and_scores(experiment_folder, tiny_recipe):
    assert sorted(path.name for path in experiment_folder.iterdir()) == sorted(STEPS)
    hypotheses = (experiment_folder / "test.hyp").read_text(encoding="utf-8").split("\n")[:-1]
    sources = (tiny_recipe.parent / "test.en").read_text(encoding="utf-8").splitlines()
    references = (tiny_recipe.parent / "test.de").read_text(encoding="utf-8").splitlines()
    decoding = load_recipe(tiny_recipe).decoding
    translator = mtkit.Translator.load(experiment_folder / "run", device="cpu", decoding=decoding)
    assert hypotheses == translator.translate(sources)
    report = json.loads((experiment_folder / "scores.json").read_text(encoding="utf-8"))
    expected = mtkit.evaluate(hypotheses, references, bootstrap_samples=20)
    assert report["systems"] == [{"name": "run", **expected.to_json()}]
    assert report["comparisons"] == []


def test_again_it_makes_nothing_and_says_why(again, folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    result = again()
    assert result.code == 0
    assert skipped(result, folder) == STEPS
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    report = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert report["systems"][0]["chrf"]["signature"] in result.out
    assert f"{report['systems'][0]['chrf']['score']:.2f}" in result.out


def test_other_metrics_only_score_again(again, folder):
    result = again("--set", "evaluation.lowercase=true")
    assert skipped(result, folder) == STEPS[:3]
    assert "case:lc" in result.out
    assert skipped(again("--set", "evaluation.lowercase=true"), folder) == STEPS


def test_another_search_translates_and_scores_again(again, folder):
    assert skipped(again("--set", "decoding.beam_size=1"), folder) == STEPS[:2]


@pytest.mark.parametrize("damage", ["edited", "missing", "forgotten", "nonsense"])
def test_translations_that_are_not_the_models_are_made_again(again, folder, damage):
    before = (folder / "test.hyp").read_bytes(), (folder / "scores.json").read_bytes()
    match damage:
        case "edited":
            (folder / "test.hyp").write_text("cheating\n" * 10)
        case "missing":
            (folder / "test.hyp").unlink()
        case "forgotten":
            (folder / "scores.json").unlink()
        case "nonsense":
            (folder / "scores.json").write_text("[1")
    assert skipped(again(), folder) == STEPS[:2]
    assert ((folder / "test.hyp").read_bytes(), (folder / "scores.json").read_bytes()) == before


def test_another_model_translates_again(again, folder):
    config = folder / "run" / "model" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert skipped(again(), folder) == STEPS[:2]


def test_translations_without_scores_are_not_made_again(again, folder):
    """What a kill between translating and scoring leaves."""
    path = folder / "scores.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({"made_from": {"translation": whole["made_from"]["translation"]}}))
    assert skipped(again(), folder) == STEPS[:3]
    assert json.loads(path.read_text()) == whole


@pytest.mark.parametrize(
    ("flags", "place"), [(["--vocab-size", "34"], "corpus"), (["--set", "training.seed=2"], "run")]
)
def test_other_settings_are_refused_until_overwrite_is_given(again, folder, flags, place):
    result = again(*flags)
    assert result.code == 2
    assert f"at: {folder / place}" in result.err
    assert "--overwrite" in result.fixes[0]
    result = again(*flags, "--overwrite")
    assert result.code == 0, result.err
    assert skipped(result, folder) == []


@pytest.mark.parametrize("place", ["corpus", "run", "run/model"])
def test_a_part_is_not_taken_for_the_folder_around_it(run, tiny_recipe, folder, place):
    before = sorted(folder.rglob("*"))
    result = run("run", tiny_recipe, "-o", folder / place, *HERE)
    assert result.code == 7
    assert "mtkit run makes a folder around" in result.err
    assert sorted(folder.rglob("*")) == before


def test_flags_stand_in_place_of_the_recipe(run, tiny_recipe, tmp_path):
    text = tiny_recipe.parent
    swapped = ["--source", text / "train.de", "--target", text / "train.en"]
    swapped += ["--valid-source", text / "valid.de", "--valid-target", text / "valid.en"]
    swapped += ["--test-source", text / "test.de", "--test-target", text / "test.en"]
    languages = ["--source-language", "de", "--target-language", "en"]
    result = run(
        "run", tiny_recipe, "-o", tmp_path / "x", *swapped, *languages, "--max-steps", "1", "--vocab-size", "34", *HERE
    )
    assert result.code == 0, result.err
    described = json.loads(run("info", tmp_path / "x" / "run", "--json").out)
    assert (described["languages"], described["steps_done"]) == ("de-en", 1)
    assert described["vocabulary"] == {"source": 34, "target": 34}


def test_without_a_test_set_nothing_is_scored(run, tiny_recipe, tmp_path):
    result = run(
        "run", tiny_recipe, "-o", tmp_path / "x", "--set", "corpus.test=null", "--set", "corpus.test_size=0", *HERE
    )
    assert (result.code, result.out) == (0, "")
    assert "no test set" in result.err
    assert not (tmp_path / "x" / "scores.json").exists()


def test_quiet_leaves_the_result_only(again):
    result = again("--quiet")
    assert result.err == ""
    assert "chrF2++" in result.out


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_that_cannot_be_written_is_an_output_error(run, tiny_recipe, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert run("run", tiny_recipe, "-o", tmp_path / "locked" / "x").code == 7


def test_an_output_below_a_file_is_an_output_error(run, tiny_recipe, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("run", tiny_recipe, "-o", tmp_path / "file")
    assert result.code == 7
    assert (tmp_path / "file").read_text() == ""


def test_the_test_set_is_translated_with_the_tags_of_its_corpora(run, write, tiny_recipe, tmp_path):
    folder = tiny_recipe.parent
    recipe = write("tagged.yaml", tiny_recipe.read_text(encoding="utf-8").partition("\n")[2])
    corpora = [f"{{source: {folder}/train.en, target: {folder}/train.de, name: plain, tag: <hu>}}"]
    corpora += [f"{{source: {folder}/valid.en, target: {folder}/valid.de, name: back, tag: <bt>}}"]
    corpora = f"corpus: {{source_language: en, target_language: de, train: [{', '.join(corpora)}], test_size: 40}}\n"
    rest = recipe.read_text(encoding="utf-8").partition("vocabulary:")
    recipe = write("tagged.yaml", corpora + rest[1] + rest[2].replace("size: 36", "size: 42"))
    result = run("run", recipe, "-o", tmp_path / "x", *HERE)
    assert result.code == 0, result.err
    corpus = PreparedCorpus.load(tmp_path / "x" / "corpus")
    tags = [corpus.tag_of(pair.corpus) for pair in corpus.test]
    assert set(tags) == {"<hu>", "<bt>"}
    translator = mtkit.Translator.load(
        tmp_path / "x" / "run", device="cpu", decoding=load_recipe(recipe).decoding, threads=1
    )
    hypotheses = (tmp_path / "x" / "test.hyp").read_text(encoding="utf-8").split("\n")[:-1]
    requests = [Request(line, tag) for line, tag in zip(corpus.test.source_lines(), tags, strict=True)]
    assert hypotheses == translator.translate(requests)
    assert skipped(run("run", recipe, "-o", tmp_path / "x", *HERE), tmp_path / "x") == STEPS


@pytest.mark.parametrize("command", ["run", "train"])
def test_a_training_stopped_at_once_says_how_it_goes_on(run, tiny_recipe, folder, monkeypatch, command):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("mtkit.training.run.train_model", interrupt)
    corpus = ["--corpus", folder / "corpus", "-o", folder / "run"] if command == "train" else ["-o", folder]
    result = run(command, tiny_recipe, *corpus, *HERE)
    assert result.code == 130
    assert result.err.endswith("warning: stopped at once; the same command goes on from the last checkpoint\n")


@pytest.mark.parametrize("recipe", ["multi30k-en-fr", "software-localisation"])
def test_a_bundled_recipe_without_text_asks_for_it(run, recipe, tmp_path):
    result = run("run", recipe, "-o", tmp_path / "out")
    assert result.code == 3
    assert result.fixes == ["this recipe wants files of yours: --source and --target, or as its first lines say"]


@pytest.mark.parametrize("command", ["run", "prepare"])
@pytest.mark.parametrize("rank", ["0", "1"])
def test_several_processes_are_refused_in_one_line(run, tiny_recipe, tmp_path, monkeypatch, command, rank):
    for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    result = run(command, tiny_recipe, "-o", tmp_path / "out", *HERE)
    assert result.code == 2
    assert ("torchrun … -m mtkit train" in result.err) == (rank == "0")
    assert not (tmp_path / "out").exists()
