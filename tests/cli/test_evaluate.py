import gzip
import io
import json
import shutil

import pytest

import mtkit

REFERENCE = ["Der Hund läuft im Park.", "", "Die Katze schläft heute nicht.", "Ein Kind sieht den Hund."]
HYPOTHESIS = ["Der Hund läuft durch den Park.", "Nichts.", "Die Katze schläft nicht.", "Ein Kind sieht den Hund."]


@pytest.fixture
def files(write, monkeypatch, tmp_path):
    """Put a reference and two systems into the working directory."""
    write("ref", REFERENCE)
    write("good", HYPOTHESIS)
    write("bad", [line[::-1] for line in HYPOTHESIS])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_json_holds_the_scores_of_each_system_in_order(run, files):
    result = run("evaluate", "bad", "good", "--reference", "ref", "--json")
    assert result.code == 0
    report = json.loads(result.out)
    assert list(report) == ["systems", "comparisons"]
    assert report["comparisons"] == []
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
    report = json.loads(run("evaluate", "good", "bad", "good", "-r", "ref", "--json").out)
    assert [system["name"] for system in report["systems"]] == ["good", "bad", "good"]
    assert report["systems"][0] == report["systems"][2]


def test_several_references_count_together(run, files, write):
    write("other", HYPOTHESIS)
    report = json.loads(run("evaluate", "good", "-r", "ref", "-r", "other", "--json").out)
    assert report["systems"][0]["bleu"]["score"] == pytest.approx(100)
    assert "nrefs:2" in report["systems"][0]["bleu"]["signature"]


def test_compressed_files_and_foreign_line_ends_are_read(run, files):
    (files / "good.gz").write_bytes(gzip.compress("\r\n".join(HYPOTHESIS).encode()))
    result = run("evaluate", "good", "good.gz", "-r", "ref", "--json", "--save", "kept")
    systems = json.loads(result.out)["systems"]
    assert systems[0]["bleu"] == systems[1]["bleu"]
    kept = [path.read_bytes() for path in (files / "kept").iterdir()]
    assert kept == [(files / "good").read_bytes()] * 2


def test_a_line_separator_of_unicode_is_no_line_end(run, files, write):
    write("odd", ["Der Hund\u2028läuft\x85 im\x0b Park.", *HYPOTHESIS[1:]])
    assert run("evaluate", "odd", "-r", "ref").code == 0


def test_standard_input_is_a_system(run, files, monkeypatch):
    text = "\n".join(HYPOTHESIS) + "\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    systems = json.loads(run("evaluate", "-", "good", "-r", "ref", "--json").out)["systems"]
    assert systems[0]["name"] == "-"
    assert systems[0]["bleu"] == systems[1]["bleu"]


def test_settings_reach_sacrebleu(run, files):
    flags = ["--metric", "bleu", "--lowercase", "--tokenize", "char", "--set", "evaluation.bootstrap_samples=0"]
    (system,) = json.loads(run("evaluate", "good", "-r", "ref", "--json", *flags).out)["systems"]
    assert system.keys() == {"name", "bleu", "length_ratio"}
    assert system["bleu"]["interval"] is None
    assert "case:lc" in system["bleu"]["signature"]
    assert "tok:char" in system["bleu"]["signature"]


def test_a_recipe_gives_the_settings_and_flags_win(run, files, write):
    write("r.yaml", ["evaluation:", "  metrics: [bleu, ter]", "  tokenize: intl"])
    (system,) = json.loads(
        run("evaluate", "good", "-r", "ref", "--json", "--recipe", "r.yaml", "--metric", "bleu").out
    )["systems"]
    assert list(system) == ["name", "bleu", "length_ratio"]
    assert "tok:intl" in system["bleu"]["signature"]


def test_the_target_language_decides_the_tokenizer(run, files):
    result = run("evaluate", "good", "-r", "ref", "--target-language", "zh")
    assert "tok:zh" in result.out
    assert "TER counts words between spaces" in result.err


def test_a_model_translates_the_source(run, files, model_folder, write):
    write("src", ["the dog runs.", "", "a cat sees it.", "the man jumps over the house."])
    result = run("evaluate", model_folder, "good", "-r", "ref", "--source", "src", "--save", "kept", "--json")
    assert result.code == 0, result.err
    translator = mtkit.Translator.load(model_folder)
    hypotheses = translator.translate((files / "src").read_text().splitlines())
    first, second = json.loads(result.out)["systems"]
    assert first["bleu"]["score"] == mtkit.evaluate(hypotheses, REFERENCE)["bleu"].score
    kept = {path.name: path.read_text(encoding="utf-8").split("\n")[:-1] for path in (files / "kept").iterdir()}
    assert kept.pop("good.txt") == HYPOTHESIS
    assert list(kept.values()) == [hypotheses]
    assert (first["name"], second["name"]) == (str(model_folder), "good")


def test_systems_of_the_same_name_are_kept_apart(run, files, write):
    write("a/hyp", HYPOTHESIS)
    write("a_hyp", REFERENCE)
    assert run("evaluate", "a/hyp", "a_hyp", "-r", "ref", "--save", "kept").code == 0
    assert sorted(path.name for path in (files / "kept").iterdir()) == ["a_hyp-2.txt", "a_hyp.txt"]


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
        (["good", "-r", "ref", "--tokenize", "ja-mecab"], 3, "ja-mecab is not installed"),
    ],
)
def test_a_mistake_is_one_line_and_a_fix(run, files, write, model_folder, arguments, code, message):
    write("short", HYPOTHESIS[:2])
    write("nothing", "")
    write("blank", ["", "", ""])
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
