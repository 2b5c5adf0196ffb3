import gzip
import io
import json
import random
import re
import shutil
from pathlib import Path

import pytest

import mtkit
from mtkit.cli.evaluate import _iter_target_chunks
from mtkit.cli.evaluate_tables import show_scores
from mtkit.evaluation.metrics import Evaluator
from mtkit.evaluation.significance import Measure, compare_systems

REFERENCE = ["Der Hund läuft im Park.", "", "Die Katze schläft heute nicht.", "Ein Kind sieht den Hund."]
HYPOTHESIS = ["Der Hund läuft durch den Park.", "Nichts.", "Die Katze schläft nicht.", "Ein Kind sieht den Hund."]
TRIALS = ["--set", "evaluation.randomization_trials=100"]
FAST = ["--set", "evaluation.bootstrap_samples=100", "--set", "evaluation.randomization_trials=100"]
NO_TESTS = ["--set", "evaluation.bootstrap_samples=0", "--set", "evaluation.randomization_trials=0"]
DRAW = random.Random(1)
MANY = [
    " ".join(DRAW.choices(["der", "ein", "Hund", "Katze", "läuft", "im", "Park"], k=DRAW.randint(4, 12)))
    for _ in range(60)
]
GOOD = [line if DRAW.random() < 0.8 else line.replace("Hund", "Wal") for line in MANY]


@pytest.fixture
def many(write, monkeypatch, tmp_path):
    """Put 60 lines of a source, a reference, and three systems into the working directory."""
    write("src", [line.upper()[::-1] for line in MANY])
    write("ref", MANY)
    write("good", GOOD)
    write("bad", [" ".join(line.split()[::2]) for line in MANY])
    shutil.copy(tmp_path / "good", tmp_path / "same")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def files(write, monkeypatch, tmp_path):
    """Put a reference and two systems into the working directory."""
    write("ref", REFERENCE)
    write("good", HYPOTHESIS)
    write("bad", [line[::-1] for line in HYPOTHESIS])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_json_holds_the_scores_of_each_system_in_order(run, files):
    result = run("evaluate", "bad", "good", "--reference", "ref", "--json", *TRIALS)
    assert result.code == 0
    report = json.loads(result.out)
    assert list(report) == [
        "systems",
        "tests",
        "comparisons",
        "breakdowns",
        "changes",
        "reference_count",
        "sentence_count",
    ]
    assert [system["name"] for system in report["systems"]] == ["bad", "good"]
    expected = mtkit.evaluate(HYPOTHESIS, REFERENCE)
    good = report["systems"][1]
    for metric in ("bleu", "chrf", "ter"):
        score = expected[metric]
        assert good[metric] == {
            "score": score.score,
            "signature": score.signature,
            "interval": list(score.interval),
        }
    assert good["length_ratio"] == expected.length_ratio


def test_the_table_shows_scores_intervals_and_signatures(run, files):
    result = run("evaluate", "good", "-r", "ref")
    score = mtkit.evaluate(HYPOTHESIS, REFERENCE)["bleu"]
    assert f"{score.score:.2f} [{score.interval[0]:.2f}, {score.interval[1]:.2f}]" in result.out
    assert f"BLEU: {score.signature}" in result.out
    assert "TER (lower is better): nrefs:1|" in result.out
    assert result.err == "warning: 1 of 4 references are empty\n"


def test_a_system_may_be_given_twice(run, files):
    report = json.loads(run("evaluate", "good", "bad", "good", "-r", "ref", "--json", *FAST).out)
    assert [system["name"] for system in report["systems"]] == ["good", "bad", "good"]
    assert report["systems"][0] == report["systems"][2]


def test_the_comparisons_are_those_of_the_library(run, files):
    flags = ["--set", "evaluation.randomization_trials=100", "--set", "evaluation.seed=3"]
    report = json.loads(run("evaluate", "bad", "good", "-r", "ref", "--json", *flags).out)
    evaluator = Evaluator([REFERENCE])
    counts = [evaluator.count([line[::-1] for line in HYPOTHESIS]), evaluator.count(HYPOTHESIS)]
    measures = [Measure(m, evaluator.scorer(m), [c[m] for c in counts]) for m in ("bleu", "chrf", "ter")]
    expected = compare_systems(measures, randomization_trials=100, seed=3)
    assert report["tests"] == {"bootstrap_samples": 1000, "randomization_trials": 100, "seed": 3}
    assert [(row["metric"], row["bootstrap_p"], row["randomization_p"]) for row in report["comparisons"]] == [
        (c.metric, c.bootstrap_p, c.randomization_p) for c in expected
    ]


def test_the_table_marks_what_differs_significantly(run, many):
    result = run("evaluate", "good", "bad", "same", "-r", "ref", *FAST)
    assert result.code == 0
    bad, same = (line for line in result.out.split("Difference to good\n")[1].splitlines()[1:3])
    assert bad.startswith("bad ")
    assert bad.count("* (0.0") == 3
    assert same.split() == ["same", *["+0.00", "(1.0000,", "1.0000)"] * 3]
    assert "p by paired bootstrap (100 resamples) and paired approximate randomisation (100 trials)" in result.out
    assert "* significant: p < 0.05 in both tests\n" in result.out
    assert "warning: good and same hold the same translations" in result.err


def test_a_difference_is_marked_only_if_both_tests_find_it():
    score = {"score": 20.0, "signature": "s", "interval": None}
    systems = [{"name": name, "bleu": score, "length_ratio": 1.0} for name in "ab"]
    tests = {"bootstrap_samples": 1000, "randomization_trials": 10_000, "seed": 1}
    for p_values, mark in (
        ((0.04, 0.06), ""),
        ((0.06, 0.04), ""),
        ((0.04, 0.04), "*"),
        ((None, 0.04), "*"),
        ((None, None), ""),
    ):
        compared = dict(zip(("bootstrap_p", "randomization_p"), p_values, strict=True)) | {"difference": 1.5}
        (_, differences, _) = show_scores({"systems": systems, "comparisons": [compared], "tests": tests})
        assert differences.rows[0][1].partition(" ")[0] == f"+1.50{mark}"


def test_one_test_or_none(run, many):
    one = run("evaluate", "good", "bad", "-r", "ref", *FAST, "--set", "evaluation.bootstrap_samples=0").out
    assert "p by paired approximate randomisation (100 trials), seed 12345\n" in one
    assert "p < 0.05 in this test\n" in one
    bootstrap = run("evaluate", "good", "bad", "-r", "ref", *FAST, "--set", "evaluation.randomization_trials=0").out
    assert "p < 0.05 in this test, as in about one of ten pairs of equally good systems\n" in bootstrap
    none = run("evaluate", "good", "bad", "-r", "ref", *NO_TESTS).out
    assert "no test of significance" in none
    assert "*" not in none


def test_markdown_is_a_table_with_signatures(run, many, write):
    write("_b_[x](y).txt", ["a | b *c* d_e <b> &amp; `f`", *GOOD[1:]])
    result = run("evaluate", "good", "_b_[x](y).txt", "-r", "ref", "--markdown", "--analysis", *FAST)
    lines = result.out.splitlines()
    assert lines[:2] == ["| system | BLEU | chrF2++ | TER | length ratio |", "| --- | --- | --- | --- | --- |"]
    assert lines[3].startswith(r"| \_b\_[x]\(y).txt | ")
    assert any(line.startswith("- BLEU: nrefs:1|bs:100|") for line in lines)
    assert r"- \* significant: p < 0.05 in both tests" in lines
    assert any(line.endswith(r" | a \| b \*c\* d_e \<b> \&amp; \`f\` |") for line in lines)
    tables = re.split(r"\n(?!\|)", result.out)
    widths = [{len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().splitlines()} for table in tables]
    assert all(len(width) == 1 for width in widths if width)


def test_the_analysis_shows_where_the_errors_are(run, many, write):
    write("labels", ["web ", "news", "web"] * 20)
    write("train", [*(line for line in MANY if "Katze" not in line), "selten"])
    flags = ["--analysis", "--train", "train", "--labels", "labels", "--source", "src"]
    report = json.loads(run("evaluate", "good", "bad", "-r", "ref", *flags, "--json", *FAST).out)
    lost = report["changes"][0]["lost"]
    for form in ([], ["--markdown"]):
        out = run("evaluate", "good", "bad", "-r", "ref", *flags, *form, *FAST).out
        titles = [
            "Odd lines, of 60",
            "By source length: words of the source",
            "By rare words: times that",
            "By label: ",
        ]
        places = [out.index(title) for title in titles]
        assert places == sorted(places)
        assert re.search(r"\bnews\W+20\W+good\W+\d", out)
        assert re.search(r"\bweb\W+40\W+good\W+\d", out)
        assert "bad: sentences that lost most against good, in sentence chrF2++" in out
        shown = [int(line) for line in re.findall(r"(?m)^\W*(\d+)\W+source ", out)]
        assert shown[-5:] == [row + 1 for row in lost[:5]]
    assert "--source FILE" in run("evaluate", "good", "-r", "ref", "--analysis", *FAST).out


def test_rare_words_are_counted_in_a_prepared_corpus_too(run, many, write, monkeypatch):
    lines = [f"der {a} {b} {number}" for a in ("Hund", "Aal") for b in ("Wal", "Bär", "Wolf") for number in range(15)]
    write("train.en", [line[::-1] for line in lines])
    write("train.de", lines)
    texts = ["--source", "train.en", "--target", "train.de"]
    assert run("prepare", *texts, "--vocab-size", 50, "-o", "corpus").code == 0
    write("three", ["Aal Katze.", "Aal", "Hund 3"])
    flags = ["--train", "corpus", "--metric", "bleu", "--json", *FAST]
    (_, rare) = json.loads(run("evaluate", "three", "-r", "three", *flags).out)["breakdowns"]
    assert [(group["label"], group["sentences"]) for group in rare["groups"]] == [("0", 1), ("1-9", 1), ("10-99", 1)]
    monkeypatch.setattr("mtkit.cli.evaluate._CHUNK_LINES", 7)
    counted = [line for chunk in _iter_target_chunks(Path("corpus")) for line in chunk]
    assert counted == mtkit.PreparedCorpus.load("corpus").train.target_lines()


def test_every_line_of_a_training_text_is_counted(run, many, write):
    write("two", ["Aal Hund", "Wal"])
    write("train", ["Aal", "Hund", "Hund", "Wal"])
    flags = ["--train", "train", "--metric", "bleu", "--json", *FAST]
    (_, rare) = json.loads(run("evaluate", "two", "-r", "two", *flags).out)["breakdowns"]
    assert [(group["label"], group["sentences"]) for group in rare["groups"]] == [("1-9", 2)]


def test_without_the_training_text_nothing_is_said_of_rare_words(run, many):
    report = json.loads(run("evaluate", "good", "-r", "ref", "--json", *FAST).out)
    assert [breakdown["by"] for breakdown in report["breakdowns"]] == ["reference length"]
    assert report["systems"][0]["oddities"]["untranslated"] is None


def test_other_metrics_are_shown_beside_ours(run, many, write):
    write("comet.tsv", ["bad\tgood", *(f"{0.1 + row / 1000}\t{0.9 + row / 1000}" for row in range(60))])
    write("big.tsv", ["bad\tgood", *["10\t90"] * 60])
    flags = ["--scores", "comet.tsv", "--scores", "x=big.tsv", "--metric", "bleu", *FAST]
    result = run("evaluate", "good", "bad", "-r", "ref", *flags)
    assert re.search(r"system\s+BLEU\s+comet\s+x\s+length ratio", result.out)
    assert re.search(r"0\.9295 \[0\.92\d\d, 0\.93\d\d\]\s+90\.00 \[90\.00, 90\.00\]", result.out)
    assert re.search(r"-0\.8000\* \(0\.0099, 0\.0099\)\s+-80\.00\* ", result.out)
    assert "comet: mean of the values given" in result.out
    report = json.loads(run("evaluate", "good", "bad", "-r", "ref", "--json", *flags).out)
    assert report["systems"][1]["external"]["comet"]["score"] == pytest.approx(0.1295)
    assert [row["metric"] for row in report["comparisons"]] == ["bleu", "comet", "x"]


def test_the_report_is_a_page_with_all_sentences(run, many):
    result = run("evaluate", "good", "bad", "-r", "ref", "--source", "src", "--report", "pages/out.html", *FAST)
    assert result.code == 0
    assert result.err == "the report is pages/out.html\n"
    assert "Difference to good" in result.out
    page = (many / "pages" / "out.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    printed = json.loads(run("evaluate", "good", "bad", "-r", "ref", "--source", "src", "--json", *FAST).out)
    assert {key: data[key] for key in printed} == printed
    assert [sentence["hypotheses"][0] for sentence in data["sentences"]] == GOOD


def test_mixed_up_texts_are_told(run, many):
    flags = ["--source", "src", *FAST]
    assert "good is given more than once" in run("evaluate", "good", "good", "-r", "ref", *flags).err
    assert (
        "ref holds the lines of the reference ref: its scores say nothing"
        in run("evaluate", "ref", "-r", "ref", *flags).err
    )
    assert "60 of 60 lines of src are those of the source" in run("evaluate", "src", "-r", "ref", *flags).err
    assert "the reference ref is given more than once" in run("evaluate", "good", "-r", "ref", "-r", "ref", *flags).err


def test_several_references_count_together(run, files, write):
    write("other", HYPOTHESIS)
    report = json.loads(run("evaluate", "good", "-r", "ref", "-r", "other", "--json").out)
    assert report["systems"][0]["bleu"]["score"] == pytest.approx(100)
    assert "nrefs:2" in report["systems"][0]["bleu"]["signature"]


def test_compressed_files_and_foreign_line_ends_are_read(run, files):
    (files / "good.gz").write_bytes(gzip.compress("\r\n".join(HYPOTHESIS).encode()))
    result = run("evaluate", "good", "good.gz", "-r", "ref", "--json", "--save", "kept", *FAST)
    systems = json.loads(result.out)["systems"]
    assert systems[0]["bleu"] == systems[1]["bleu"]
    kept = [path.read_bytes() for path in (files / "kept").iterdir()]
    assert kept == [(files / "good").read_bytes()] * 2


def test_a_line_separator_of_unicode_is_no_line_end(run, files, write):
    write("odd", ["Der Hund\u2028läuft\x85 im\x0b Park.", *HYPOTHESIS[1:]])
    assert run("evaluate", "odd", "-r", "ref").code == 0


def test_standard_input_is_a_system(run, files, write, monkeypatch):
    text = "\r\n".join(HYPOTHESIS).replace("läuft", "läuft\u2028\x85") + "\n"  # which end no line
    write("good", [HYPOTHESIS[0].replace("läuft", "läuft\u2028\x85"), *HYPOTHESIS[1:]])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    systems = json.loads(run("evaluate", "-", "good", "-r", "ref", "--json", *FAST).out)["systems"]
    assert systems[0]["name"] == "-"
    assert systems[0]["bleu"] == systems[1]["bleu"]


def test_settings_reach_sacrebleu(run, files):
    flags = ["--metric", "bleu", "--lowercase", "--tokenize", "char", "--set", "evaluation.bootstrap_samples=0"]
    (system,) = json.loads(run("evaluate", "good", "-r", "ref", "--json", *flags).out)["systems"]
    assert system.keys() == {"name", "bleu", "length_ratio", "external", "oddities"}
    assert system["bleu"]["interval"] is None
    assert "case:lc" in system["bleu"]["signature"]
    assert "tok:char" in system["bleu"]["signature"]


def test_a_recipe_gives_the_settings_and_flags_win(run, files, write):
    write("r.yaml", ["evaluation:", "  metrics: [bleu, ter]", "  tokenize: intl"])
    (system,) = json.loads(
        run("evaluate", "good", "-r", "ref", "--json", "--recipe", "r.yaml", "--metric", "bleu").out
    )["systems"]
    assert list(system)[:3] == ["name", "bleu", "length_ratio"]
    assert "tok:intl" in system["bleu"]["signature"]


def test_the_target_language_decides_the_tokenizer(run, files):
    result = run("evaluate", "good", "-r", "ref", "--target-language", "zh")
    assert "tok:zh" in result.out
    assert "TER counts words between spaces" in result.err


def test_a_model_translates_the_source(run, files, model_folder, write):
    write("src", ["the dog runs.", "", "a cat sees it.", "the man jumps over the house."])
    result = run("evaluate", model_folder, "good", "-r", "ref", "--source", "src", "--save", "kept", "--json", *FAST)
    assert result.code == 0, result.err
    translator = mtkit.Translator.load(model_folder)
    hypotheses = translator.translate((files / "src").read_text().splitlines())
    first, second = json.loads(result.out)["systems"]
    assert first["bleu"]["score"] == mtkit.evaluate(hypotheses, REFERENCE)["bleu"].score
    kept = {path.name: path.read_text(encoding="utf-8").split("\n")[:-1] for path in (files / "kept").iterdir()}
    assert kept.pop("good.txt") == HYPOTHESIS
    assert list(kept.values()) == [hypotheses]
    assert (first["name"], second["name"]) == (str(model_folder), "good")


def test_a_training_text_that_is_missing_is_told_before_a_model_translates(
    run, files, model_folder, monkeypatch, write
):
    write("src", ["a", "b", "c", "d"])
    monkeypatch.setattr("mtkit.cli.systems.translate_lines", None)
    result = run("evaluate", model_folder, "-r", "ref", "--source", "src", "--train", "missing", "--json")
    assert (result.code, "at: missing" in result.err) == (3, True)


def test_mixed_up_texts_are_told_before_a_model_translates(run, files, model_folder, monkeypatch):
    monkeypatch.setattr("mtkit.cli.systems.translate_lines", None)
    result = run("evaluate", model_folder, "-r", "ref", "--source", "ref")
    assert (result.code, "the reference is the source" in result.err) == (3, True)


@pytest.mark.parametrize(("given", "tokenizer"), [([], "zh"), (["--target-language", "de"], "13a")])
def test_a_target_language_that_is_given_counts_more_than_that_of_a_model(
    run, files, model_folder, write, tmp_path, given, tokenizer
):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {"target_language": "zh"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    write("src", ["the dog runs.", "", "a cat sees it.", "the man jumps."])
    flags = ["--source", "src", "--metric", "bleu", "--json", *given, *NO_TESTS]
    (system,) = json.loads(run("evaluate", folder, "-r", "ref", *flags).out)["systems"]
    assert f"tok:{tokenizer}" in system["bleu"]["signature"]


def test_systems_of_the_same_name_are_kept_apart(run, files, write):
    for place, name in enumerate(("a/hyp", "a_hyp", "a hyp")):
        write(name, [f"{place}"] * 4)
    assert run("evaluate", "a/hyp", "a_hyp", "a hyp", "-r", "ref", "--save", "kept", *FAST).code == 0
    kept = {path.name: path.read_text(encoding="utf-8")[0] for path in (files / "kept").iterdir()}
    assert kept == {"a_hyp.txt": "0", "a_hyp-2.txt": "1", "a_hyp-3.txt": "2"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["short", "-r", "ref"], 3, "short has 2 lines, the reference 4"),
        (["good", "-r", "ref", "-r", "short"], 3, "different line counts: 2 and 4"),
        (["missing", "-r", "ref"], 3, "no such file"),
        (["good", "-r", "missing"], 3, "no such file"),
        (["nothing", "-r", "ref"], 3, "the file is empty"),
        (["good", "-r", "nothing"], 3, "the file is empty"),
        (["blank", "-r", "blank"], 3, "the reference holds no text"),
        (["binary", "-r", "ref"], 3, "NUL byte"),
        (["latin", "-r", "ref"], 3, "not UTF-8"),
        (["folder", "-r", "ref"], 4, "not a model folder"),
        (["MODEL", "-r", "ref"], 3, "a model needs text to translate"),
        (["good", "-r", "ref", "--metric", "meteor"], 2, "must be 'bleu', 'chrf' or 'ter', not 'meteor'"),
        (["good", "-r", "ref", "--set", "evaluation.seed=x"], 2, "'evaluation.seed' must be a valid integer"),
        (["good", "-r", "ref", "--save", "good"], 7, "cannot write"),
        (["good", "-r", "ref", "--tokenize", "ja-mecab"], 2, "ja-mecab is not installed"),
        (["good", "-r", "ref", "--json", "--markdown"], 2, "--json and --markdown exclude each other"),
        (["good", "-r", "ref", "--source", "ref"], 3, "the reference is the source"),
        (["good", "-r", "ref", "--source", "short"], 3, "the source has 2 lines, the reference 4"),
        (["good", "-r", "ref", "--labels", "short", "--analysis"], 3, "2 labels, the reference has 4 lines"),
        (["good", "-r", "ref", "--labels", "columns", "--analysis"], 3, "several columns"),
        (["good", "-r", "ref", "--report", "folder"], 7, "a folder, not a file"),
        (["good", "-r", "ref", "--report", "good"], 2, "the report is a page"),
        (["page.html", "-r", "ref", "--report", "page.html"], 2, "page.html and --report are the same file"),
        (["good", "-r", "page.html", "--report", "page.html"], 2, "page.html and --report are the same file"),
        (["good", "-r", "ref", "--train", "ref"], 2, "--train is for the analysis of errors"),
        (["good", "-r", "ref", "--labels", "ref", "--markdown"], 2, "--labels is for the analysis of errors"),
        (["missing", "-r", "ref", "--train", "void", "--json"], 3, "no such file"),
        (["good", "-r", "ref", "--train", "folder", "--json"], 3, "not a prepared corpus"),
        (["good", "-r", "ref", "--scores", "missing.tsv"], 3, "no such file"),
        (["good", "-r", "ref", "--scores", "short"], 3, "is none of the systems"),
        (["good", "-r", "ref", "--scores", "bleu=short"], 2, "'bleu' is no name for another metric"),
        (["good", "-r", "ref", "--scores", "x=a", "--scores", "x=b"], 2, "two metrics are called x"),
    ],
)
def test_a_mistake_is_one_line_and_a_fix(run, files, write, model_folder, arguments, code, message):
    write("short", HYPOTHESIS[:2])
    write("nothing", "")
    write("blank", ["", "", ""])
    write("columns", ["a\tb"] * 4)
    write("page.html", HYPOTHESIS)
    (files / "binary").write_bytes(b"a\0b\n")
    (files / "latin").write_bytes("läuft\n".encode("latin-1"))
    (files / "folder").mkdir()
    if "ja-mecab" in arguments and shutil.which("mecab-config"):
        pytest.skip("MeCab is installed here")
    result = run("evaluate", *(str(model_folder) if name == "MODEL" else name for name in arguments))
    assert (result.code, result.out) == (code, "")
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(result.fixes) == 1
    assert message in errors[0]


def test_a_line_that_cannot_be_decoded_is_named(run, files):
    (files / "latin").write_bytes(b"gut\n\nl\xe4uft\n")
    assert "   at: latin:3\n" in run("evaluate", "latin", "-r", "ref").err


def test_empty_translations_are_scored_with_a_warning(run, files, write):
    write("empty", ["", "", "", ""])
    result = run("evaluate", "empty", "-r", "ref", "--json")
    assert json.loads(result.out)["systems"][0]["bleu"]["score"] == 0
    assert "warning: empty: all hypotheses are empty" in result.err


def test_the_page_is_there_though_nobody_reads_the_scores(many, run, monkeypatch):
    def fail(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("mtkit.cli.evaluate_tables.print_blocks", fail)
    assert run("evaluate", "good", "-r", "ref", "--report", "out.html", *NO_TESTS).code == 0
    assert (many / "out.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_scores_show_though_the_page_cannot_be_written(many, run):
    (many / "file").write_text("", encoding="utf-8")
    result = run("evaluate", "good", "-r", "ref", "--report", "file/out.html", *NO_TESTS)
    assert result.code == 7
    assert "BLEU" in result.out
