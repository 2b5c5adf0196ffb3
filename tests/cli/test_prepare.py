import os

import pytest

from mtkit.corpus.store import PreparedCorpus

WORDS = ["dog", "cat", "bird", "bear", "fish", "wolf"]


@pytest.fixture
def texts(write, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    lines = [f"the {a} and the {b} see {n}" for a in WORDS for b in WORDS for n in range(5)]
    write("train.en", lines)
    write("train.de", [line.replace("the", "der").replace("see", "sehen") for line in lines])
    write("more.en", ["another small sentence"])
    write("more.de", ["noch ein kleiner Satz"])


def test_flags_alone(run, texts):
    result = run("prepare", "--source", "train.en", "--target", "train.de", "--vocab-size", 30, "-o", "out")
    assert (result.code, result.out) == (0, "")
    assert "Training text, en to de" in result.err
    assert "split off: valid" in result.err
    prepared = PreparedCorpus.load("out")
    assert prepared.manifest.pairs_read == 180
    assert len(prepared.source_tokenizer) == 30
    again = run("prepare", "--source", "train.en", "--target", "train.de", "--vocab-size", 30, "-o", "out")
    assert (again.code, again.out) == (0, "")
    assert "out is up to date" in again.err


def test_several_files_and_given_sets(run, texts):
    arguments = ["prepare", "--vocab-size", 30, "-o", "out"]
    for side, suffix in (("source", "en"), ("target", "de")):
        arguments += [f"--{side}", f"train.{suffix}", f"--{side}", f"more.{suffix}"]
        arguments += [
            f"--valid-{side}",
            f"more.{suffix}",
            f"--test-{side}",
            f"more.{suffix}",
            f"--{side}-language",
            "fr",
        ]
    result = run(*arguments)
    assert result.code == 0
    assert "dropped: source in the valid set" in result.err
    assert "warning: 1 sources of the test set also stand in the validation set" in result.err
    prepared = PreparedCorpus.load("out")
    assert prepared.manifest.pairs_read == 181
    assert prepared.source_language == "fr"
    assert prepared.valid.source_lines() == prepared.test.source_lines() == ["another small sentence"]


def test_recipe_and_settings(run, texts, write):
    write("r.yaml", "corpus: {train: [{source: none.en, target: none.de}], test_size: 0}\nvocabulary: {size: 50}\n")
    flags = ["--source", "train.en", "--target", "train.de", "--set", "vocabulary.type=bpe"]
    assert run("prepare", "r.yaml", *flags, "-o", "out").code == 0
    prepared = PreparedCorpus.load("out")
    assert prepared.manifest.vocabulary["type"] == "bpe"
    assert prepared.test is None
    assert len(prepared.source_tokenizer) == 50


def test_quiet_leaves_warnings_only(run, texts):
    command = ["prepare", "--source", "train.en", "--target", "train.de", "--vocab-size", 30, "-q", "-o"]
    sizes = ["--set", "corpus.valid_size=2", "--set", "corpus.test_size=2"]
    assert run(*command, "out", *sizes).err == run(*command, "out", *sizes).err == ""
    assert run(*command, "small").err.startswith("warning: few pairs were split off, 2 for valid and 2 for test")


def test_another_corpus_stands_there(run, texts):
    arguments = ["prepare", "--source", "train.en", "--target", "train.de", "-o", "out", "--vocab-size"]
    assert run(*arguments, 30).code == 0
    refused = run(*arguments, 29)
    assert refused.code == 2
    assert "vocabulary.size (30 there, 29 now)" in refused.err
    assert run(*arguments, 29, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--source", "train.en"], 2, "one is missing"),
        ([], 2, "no training text"),
        (["--source", "train.en", "--target", "none.de"], 3, "no such file"),
        (["--source", "train.en", "--target", "more.de"], 3, "not aligned: 180 lines and 1 lines"),
        (["--source", "more.en", "--target", "more.de"], 3, "too few"),
        (["--source", "train.en", "--target", "train.de"], 2, "is the most"),
        (["--source", "train.en", "--target", "train.de", "--set", "corpus.leakage=maybe"], 2, "corpus.leakage"),
        (
            ["--source", "train.en", "--target", "train.de", "--set", "vocabulary.source_model=train.en"],
            4,
            "SentencePiece",
        ),
        (
            ["--source", "train.en", "--target", "train.de", "--set", "vocabulary.source_model=x", "--vocab-size", 30],
            2,
            "--vocab-size is for a vocabulary that is learned",
        ),
    ],
)
def test_mistakes(run, texts, arguments, code, message, tmp_path):
    result = run("prepare", *arguments, "-o", "out")
    assert result.code == code
    assert result.out == ""
    assert message in result.err
    assert len(result.fixes) == 1
    assert "Traceback" not in result.err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="a process cannot be asked to end there")
def test_the_work_is_done_though_nobody_reads_of_it(start, texts):
    process = start("prepare", "--source", "train.en", "--target", "train.de", "--vocab-size", 30, "-o", "out")
    process.stderr.close()
    assert process.wait(60) == 0
    assert PreparedCorpus.load("out").manifest.pairs_read == 180


def test_the_folder_that_one_is_in_is_no_output(run, texts, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = run("prepare", "--source", "../train.en", "--target", "../train.de", "--vocab-size", 30, "-o", ".")
    assert result.code == 7
    assert "error: the folder that you are in cannot be replaced" in result.err


def test_a_terminated_process_leaves_nothing(start, texts, tmp_path, write):
    """SentencePiece learns for seconds, without a look at signals; a person does not wait for it."""
    import random
    import time

    draw = random.Random(1)
    lines = ["".join(draw.choices("abcdefghij ", k=300)) for _ in range(6000)]
    write("long.en", lines)
    write("long.de", lines)
    process = start(
        "prepare", "--source", "long.en", "--target", "long.de", "--set", "vocabulary.type=unigram", "-o", "out",
        cwd=tmp_path,
    )  # fmt: skip
    spool = tmp_path / ".out.partial" / "text.spool"
    deadline = time.monotonic() + 60
    while not (spool.exists() and spool.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.terminate()
    assert process.wait(timeout=60) == 143
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / ".out.partial").exists()
