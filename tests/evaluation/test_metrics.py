import json
import os
import random
import subprocess
import sys

import pytest

import mtkit
from mtkit.errors import DataError, RecipeError
from mtkit.evaluation.metrics import Evaluator, Scores, evaluate

SENTENCE = "der die ein Hund Katze läuft schläft, sieht: den im Park (heute) nicht schnell."


def make_lines(seed, count=60):
    """Return lines of words drawn at random, some of them empty, some with punctuation and capitals."""
    draw = random.Random(seed)
    lines = [" ".join(draw.choices(SENTENCE.split(), k=draw.randint(1, 12))) for _ in range(count)]
    return [line.capitalize() if draw.random() < 0.5 else line for line in lines]


def spoil(lines, seed, rate=0.2):
    """Return lines with words dropped, doubled and swapped."""
    draw = random.Random(seed)
    spoiled = []
    for line in lines:
        words = [w for w in line.split() if draw.random() > rate]
        if len(words) > 2 and draw.random() < 0.5:
            words[0], words[-1] = words[-1], words[0]
        spoiled.append(" ".join(words))
    return spoiled


def run_sacrebleu(tmp_path, hypotheses, references, *arguments, confidence=True):
    """Return what the `sacrebleu` command prints as JSON, by metric name."""
    files = []
    for index, lines in enumerate([hypotheses, *references]):
        path = tmp_path / f"{index}.txt"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        files.append(str(path))
    command = [sys.executable, "-m", "sacrebleu", *files[1:], "-i", files[0]]
    command += ["-m", "bleu", "chrf", "ter", "--chrf-word-order", "2", "-w", "6", *arguments]
    command += ["--confidence"] if confidence else []
    environment = os.environ | {"PYTHONUTF8": "1"}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, env=environment)
    return {score["name"]: score for score in json.loads(done.stdout)}


REFERENCES = make_lines(1)
HYPOTHESES = spoil(REFERENCES, 2)
CHINESE = ["我喜欢吃苹果。", "他昨天去了北京, 看见 3 只狗。", "你好！"] * 5
CASES = {
    "one reference": ([REFERENCES], HYPOTHESES, {}, []),
    "three references": ([REFERENCES, spoil(REFERENCES, 3), make_lines(4)], HYPOTHESES, {}, []),
    "lowercase": ([REFERENCES], HYPOTHESES, {"lowercase": True}, ["-lc", "--chrf-lowercase"]),
    "intl": ([REFERENCES], HYPOTHESES, {"tokenize": "intl"}, ["-tok", "intl"]),
    "char": ([REFERENCES], HYPOTHESES, {"tokenize": "char"}, ["-tok", "char"]),
    "none": ([REFERENCES], HYPOTHESES, {"tokenize": "none"}, ["-tok", "none"]),
    "Chinese": ([CHINESE], ["".join(line[::2]) for line in CHINESE], {"target_language": "zh"}, ["-tok", "zh"]),
    "fewer samples": ([REFERENCES], HYPOTHESES, {"bootstrap_samples": 200}, ["-cin", "200"]),
    "empty hypotheses": ([REFERENCES], ["", "  ", *HYPOTHESES[2:]], {}, []),
    "an empty reference": ([["", *REFERENCES[1:]]], HYPOTHESES, {}, []),
}


@pytest.mark.parametrize("case", CASES)
def test_scores_signatures_and_intervals_are_those_of_the_sacrebleu_command(tmp_path, case):
    references, hypotheses, options, arguments = CASES[case]
    theirs = run_sacrebleu(tmp_path, hypotheses, references, *arguments)
    ours = evaluate(hypotheses, references if len(references) > 1 else references[0], **options)
    assert {score.name for score in ours.by_metric.values()} == theirs.keys() == {"BLEU", "chrF2++", "TER"}
    for score in ours.by_metric.values():
        expected = theirs[score.name]
        low, high = score.interval
        assert round(score.score, 6) == expected["score"]
        assert score.signature == expected["signature"]
        assert (low + high) / 2 == pytest.approx(expected["confidence_mean"], abs=1e-5)
        assert (high - low) / 2 == pytest.approx(expected["confidence_var"], abs=1e-5)
    assert f"ratio = {ours.length_ratio:.3f}" in theirs["BLEU"]["verbose_score"]


def test_without_resampling_the_signature_names_none(tmp_path):
    theirs = run_sacrebleu(tmp_path, HYPOTHESES, [REFERENCES], confidence=False)
    ours = evaluate(HYPOTHESES, REFERENCES, bootstrap_samples=0)
    assert ours["bleu"].interval is None
    for score in ours.by_metric.values():
        assert (round(score.score, 6), score.signature) == (
            theirs[score.name]["score"],
            theirs[score.name]["signature"],
        )


def test_the_seed_decides_the_interval():
    first, again, other = (evaluate(HYPOTHESES, REFERENCES, seed=seed, metrics=["bleu"]) for seed in (1, 1, 2))
    assert first == again
    assert first["bleu"].interval != other["bleu"].interval
    assert "seed:2" in other["bleu"].signature


def test_the_public_name_is_this_function():
    assert mtkit.evaluate is evaluate


def test_only_the_metrics_asked_for_are_there_in_their_order():
    scores = evaluate(HYPOTHESES, REFERENCES, metrics=["ter", "chrf"], bootstrap_samples=0)
    assert list(scores.by_metric) == ["ter", "chrf"]
    assert 0 < scores.length_ratio < 1


def test_a_perfect_translation_scores_100():
    scores = evaluate(REFERENCES, REFERENCES)
    assert [round(score.score, 9) for score in scores.by_metric.values()] == [100, 100, 0]
    assert scores.length_ratio == 1
    assert scores.notes == ()


def test_one_evaluator_scores_several_systems_as_evaluate_does():
    evaluator = Evaluator(REFERENCES)
    for hypotheses in (HYPOTHESES, REFERENCES, HYPOTHESES):
        assert evaluator.score(hypotheses) == evaluate(hypotheses, REFERENCES)


def test_scores_survive_json():
    for samples in (0, 10):
        scores = evaluate(HYPOTHESES, REFERENCES, bootstrap_samples=samples, metrics=["bleu", "ter"])
        assert Scores.from_json(json.loads(json.dumps(scores.to_json()))) == scores


def test_a_score_prints_with_its_signature():
    printed = str(evaluate(HYPOTHESES, REFERENCES))
    assert "BLEU|nrefs:1|bs:1000|seed:12345|" in printed
    assert "length ratio = 0." in printed


@pytest.mark.parametrize("count", [59, 61, 0])
def test_unequal_lengths_name_both_counts(count):
    with pytest.raises(DataError, match=f"{count} lines, the reference 60"):
        evaluate(make_lines(5, count), REFERENCES)


def test_references_of_unequal_lengths_name_both_counts():
    with pytest.raises(DataError, match="59 and 60"):
        evaluate(HYPOTHESES, [REFERENCES, REFERENCES[1:]])


@pytest.mark.parametrize("references", [[], [[]], ["", " "], [["", ""], ["", ""]]])
def test_references_without_text_are_refused(references):
    with pytest.raises(DataError, match="holds no text"):
        evaluate(["a", "b"], references)


def test_a_handful_of_sentences_has_an_interval_too():
    """Some resamples match nothing, over which sacreBLEU's own interval stumbles."""
    low, high = evaluate(["ein Hund", "xyz", "abc"], ["ein Hund", "läuft", "im Park"])["chrf"].interval
    assert low < high


def test_an_unknown_metric_is_refused():
    with pytest.raises(RecipeError, match="no metric 'comet'"):
        evaluate(HYPOTHESES, REFERENCES, metrics=["comet"])


def test_what_looks_wrong_is_noted():
    assert evaluate([""] * 60, REFERENCES).notes == ("all hypotheses are empty",)
    assert "end in ' .'" in evaluate([f"{line} ." for line in HYPOTHESES], REFERENCES).notes[0]
    few = [f"{line} ." for line in HYPOTHESES] * 2 + HYPOTHESES * 4  # less than half, and more than happens by chance
    assert "end in ' .'" in evaluate(few, REFERENCES * 6, bootstrap_samples=0, metrics=["bleu"]).notes[0]
    assert evaluate(HYPOTHESES, ["", *REFERENCES[1:]]).notes == ("1 of 60 references are empty",)
    (note,) = evaluate(HYPOTHESES, [REFERENCES, [" ", *REFERENCES[1:]]]).notes
    assert note.startswith("1 of 60 lines are empty in one reference and not in another")
    assert "TER counts words" in evaluate(CHINESE, CHINESE, target_language="zh").notes[0]


def test_a_tokenizer_that_cannot_be_downloaded_is_one_line(monkeypatch, tmp_path):
    import urllib.request

    import sacrebleu.tokenizers.tokenizer_spm as spm

    def refuse(*_):
        raise urllib.request.URLError("no network")

    monkeypatch.setattr(spm, "download_file", refuse)
    monkeypatch.setattr(spm, "SACREBLEU_DIR", str(tmp_path))
    with pytest.raises(DataError, match="flores200 cannot be downloaded: no network") as caught:
        evaluate(HYPOTHESES, REFERENCES, tokenize="flores200")
    assert "--tokenize" in caught.value.fix


@pytest.mark.parametrize("texts", [("abc", ["abc"]), (["abc"], "abc")])
def test_a_single_text_is_no_list_of_lines(texts):
    with pytest.raises(TypeError, match="a single str"):
        evaluate(*texts)


@pytest.mark.parametrize("setting", [{"metrics": []}, {"bootstrap_samples": -1}, {"tokenize": "foo"}])
def test_a_setting_that_cannot_be_is_told(setting):
    with pytest.raises(RecipeError, match=next(iter(setting))):
        evaluate(HYPOTHESES, REFERENCES, **setting)
