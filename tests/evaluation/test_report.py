import json
from collections import Counter

import numpy as np
import pytest
from sacrebleu.metrics import CHRF

from mtkit.config.evaluation import EvaluationSection
from mtkit.evaluation.external import ExternalScores
from mtkit.evaluation.metrics import Evaluator, evaluate
from mtkit.evaluation.report import Texts, build_evaluation_report, score_system


@pytest.fixture(scope="module")
def texts(spoiled):
    reference, systems = spoiled(0.3, 0.15, 0.5)
    systems[2][7] = "Hund Hund Hund"
    systems[1][9] = ""
    return reference, systems


def build(reference, systems, metrics=("bleu", "chrf", "ter"), bootstrap_samples=50, seed=12345, **known):
    section = EvaluationSection(metrics=metrics, bootstrap_samples=bootstrap_samples, seed=seed)
    evaluator = Evaluator([reference], section, counted=["chrf"])
    scored = [score_system(evaluator, f"s{n}", lines, f"s{n}") for n, lines in enumerate(systems)]
    return build_evaluation_report(evaluator, scored, Texts([reference], **known), randomization_trials=50)


def test_it_is_json_with_the_scores_of_each_system(texts):
    reference, systems = texts
    report = build(reference, systems)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["tests"] == {"bootstrap_samples": 50, "randomization_trials": 50, "seed": 12345}
    assert (report["reference_count"], report["sentence_count"]) == (1, 80)
    for name, lines, found in zip(("s0", "s1", "s2"), systems, report["systems"], strict=True):
        assert found["name"] == name
        expected = evaluate(lines, reference, bootstrap_samples=50).to_json()
        assert {key: found[key] for key in expected} == expected
        assert found["external"] == {}
        assert found["oddities"].keys() == {"empty", "untranslated", "repeated"}
        assert found["oddities"]["untranslated"] is None


def test_each_system_is_compared_with_the_first_by_each_metric(texts):
    report = build(*texts)
    places = [(row["system"], row["baseline"], row["metric"]) for row in report["comparisons"]]
    assert places == [(system, "s0", metric) for system in ("s1", "s2") for metric in ("bleu", "chrf", "ter")]
    for row in report["comparisons"]:
        scores = {system["name"]: system[row["metric"]]["score"] for system in report["systems"]}
        assert row["difference"] == pytest.approx(scores[row["system"]] - scores["s0"])
        assert 1 / 51 <= row["bootstrap_p"] <= 1
        assert 1 / 51 <= row["randomization_p"] <= 1


def test_a_group_is_scored_as_if_it_were_all_there_is(texts):
    reference, systems = texts
    corpora = ["web" if row % 3 else "news" for row in range(80)]
    counts = Counter(word.casefold() for line in reference for word in line.split())
    report = build(reference, systems, labels=corpora, word_counts=counts)
    assert [breakdown["by"] for breakdown in report["breakdowns"]] == ["reference length", "rare words", "label"]
    for breakdown in report["breakdowns"]:
        assert sum(group["sentences"] for group in breakdown["groups"]) == 80
    news = report["breakdowns"][2]["groups"][0]
    assert (news["label"], news["sentences"]) == ("news", 27)
    for lines, found in zip(systems, news["systems"], strict=True):
        expected = evaluate(lines[::3], reference[::3], bootstrap_samples=0)
        assert found["bleu"] == pytest.approx(expected["bleu"].score)
        assert found["chrf"] == pytest.approx(expected["chrf"].score)
        assert found["length_ratio"] == pytest.approx(expected.length_ratio)


def test_sentences_hold_their_texts_scores_and_flags(texts):
    reference, systems = texts
    report = build(reference, systems, source=systems[0])
    metric = CHRF(word_order=2)
    for row, sentence in enumerate(report["sentences"]):
        assert sentence["source"] == systems[0][row]
        assert sentence["references"] == [reference[row]]
        assert sentence["hypotheses"] == [lines[row] for lines in systems]
        for lines, found in zip(systems, sentence["chrf"], strict=True):
            assert found == pytest.approx(metric.sentence_score(lines[row], [reference[row]]).score, abs=0.006)
    assert "repeated" in report["sentences"][7]["flags"][2]
    assert "empty" in report["sentences"][9]["flags"][1]
    for place, system in enumerate(report["systems"]):
        for flag, count in system["oddities"].items():
            assert count == sum(flag in sentence["flags"][place] for sentence in report["sentences"])
    assert report["systems"][0]["oddities"]["untranslated"] > 10


def test_the_sentences_that_changed_most(texts):
    report = build(*texts)
    for place, change in enumerate(report["changes"], start=1):
        assert (change["system"], change["baseline"]) == (f"s{place}", "s0")
        gains = [sentence["chrf"][place] - sentence["chrf"][0] for sentence in report["sentences"]]
        for rows, sign in ((change["gained"], 1), (change["lost"], -1)):
            assert 0 < len(rows) <= 20
            values = [sign * gains[row] for row in rows]
            assert min(values) > 0
            assert values == pytest.approx(sorted(values, reverse=True), abs=0.03)
            assert values[-1] >= max((sign * g for row, g in enumerate(gains) if row not in rows), default=0) - 0.03


def test_a_single_system_has_nothing_to_be_compared_with(texts):
    reference, systems = texts
    report = build(reference, systems[:1], metrics=["ter"])
    assert report["comparisons"] == report["changes"] == []
    assert report["systems"][0].keys() == {"name", "ter", "length_ratio", "external", "oddities"}
    assert report["breakdowns"][0]["groups"][0]["systems"][0].keys() == {"bleu", "chrf", "length_ratio"}


def test_other_metrics_stand_beside_ours(texts):
    reference, systems = texts
    draw = np.random.default_rng(1)
    tables = {f"s{n}": draw.normal(n, 0.1, size=(80, 1)) for n in range(3)}
    report = build(reference, systems, metrics=["bleu"], external=[ExternalScores("comet", tables)])
    for n, system in enumerate(report["systems"]):
        low, high = system["external"]["comet"]["interval"]
        assert low < system["external"]["comet"]["score"] < high
        assert system["external"]["comet"]["score"] == pytest.approx(n, abs=0.05)
    assert [row["metric"] for row in report["comparisons"]] == ["bleu", "comet"] * 2
    assert report["comparisons"][3]["difference"] == pytest.approx(2, abs=0.1)
    assert report["comparisons"][3]["bootstrap_p"] == pytest.approx(1 / 51)


def test_the_seed_of_the_recipe_decides(texts):
    reference, (first, second, _) = texts
    close = [first, [*second[:10], *first[10:]]]
    found = [build(reference, close, ["chrf"], seed=seed)["comparisons"] for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_a_single_resample_gives_neither_intervals_nor_tests(texts):
    external = ExternalScores("comet", {f"s{n}": np.arange(80.0)[:, None] for n in range(3)})
    report = build(*texts, ["bleu"], bootstrap_samples=1, external=[external])
    assert report["tests"]["bootstrap_samples"] == 0
    assert all(system["external"]["comet"]["interval"] is None for system in report["systems"])
    assert all(row["bootstrap_p"] is None for row in report["comparisons"])
