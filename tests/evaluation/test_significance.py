import inspect
import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from sacrebleu.significance import PairedTest

from mtkit.config.evaluation import EvaluationSection
from mtkit.evaluation.metrics import METRICS, Evaluator
from mtkit.evaluation.significance import Measure, compare_systems

# The command, whose JSON cannot hold a float32 that one of its own tests gives.
SACREBLEU = """
import json
from sacrebleu.sacrebleu import main
json.JSONEncoder.default = lambda _, value: float(value)
main()
"""
NAMES = {"bleu": "BLEU", "chrf": "chrF2++", "ter": "TER"}


def compare(references, systems, metrics=METRICS, **options):
    evaluator = Evaluator(references, EvaluationSection(metrics=metrics))
    counts = [evaluator.count(system) for system in systems]
    measures = [Measure(metric, evaluator.scorer(metric), [c[metric] for c in counts]) for metric in metrics]
    return compare_systems(measures, **options)


def run_sacrebleu(folder, references, systems, *arguments):
    """Return what the command says of each system but the baseline."""
    files = []
    for index, lines in enumerate([*references, *systems]):
        path = folder / f"{index}.txt"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        files.append(str(path))
    command = [sys.executable, "-c", SACREBLEU, *files[: len(references)], "-i", *files[len(references) :]]
    command += ["-m", "bleu", "chrf", "ter", "--chrf-word-order", "2", "-f", "json", *arguments]
    environment = os.environ | {"PYTHONUTF8": "1"}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, env=environment)
    return json.loads(done.stdout)[1:]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("arguments", "field"),
    [(["--paired-bs"], "bootstrap_p"), (["--paired-ar", "--paired-ar-n", "1000"], "randomization_p")],
)
def test_p_values_are_those_of_the_sacrebleu_command(tmp_path, spoiled, count, arguments, field):
    reference, (other, *systems) = spoiled(0.05, 0.2, 0.22, 0.27, 0.2)
    references = [reference, other][:count]
    theirs = run_sacrebleu(tmp_path, references, systems, *arguments)
    ours = compare(references, systems, randomization_trials=1000)
    assert [(c.system, c.metric) for c in ours] == [(system, m) for system in (1, 2, 3) for m in METRICS]
    for comparison in ours:
        expected = theirs[comparison.system - 1][NAMES[comparison.metric]]["p_value"]
        if (field, comparison.metric) == (
            "randomization_p",
            "ter",
        ):  # whole edits: some trials give the very difference
            assert expected <= getattr(comparison, field) < expected + 0.15
        else:
            assert getattr(comparison, field) == expected
    assert len({getattr(comparison, field) for comparison in ours}) > 4


def test_sacrebleus_own_tests_give_the_same_numbers(spoiled):
    """Of a number of sentences that no block of trials divides; TER's whole edits give ties, which count here alone."""
    reference, systems = spoiled(0.2, 0.21, 0.23, size=301)
    evaluator = Evaluator([reference])
    named = [(str(place), system) for place, system in enumerate(systems)]
    theirs = {}
    for kind, samples in (("bs", 1000), ("ar", 2000)):
        metrics = {name: evaluator._metrics[name] for name in METRICS}
        _, theirs[kind] = PairedTest(named, metrics, None, kind, samples)()
    for comparison in compare([reference], systems, randomization_trials=2000):
        by_test = {kind: found[NAMES[comparison.metric]][comparison.system] for kind, found in theirs.items()}
        assert comparison.bootstrap_p == by_test["bs"].p_value
        if comparison.metric != "ter":
            assert comparison.randomization_p == by_test["ar"].p_value
    for place, system in enumerate(systems):
        for metric in METRICS:
            found = theirs["bs"][NAMES[metric]][place]
            expected = (found.mean - found.ci, found.mean + found.ci)
            assert evaluator.score(system)[metric].interval == pytest.approx(expected, rel=1e-6)  # TER there is float32


def test_memory_is_some_resamples_and_not_all_of_them():
    size = 2000
    tables = [np.random.default_rng(seed).random((size, 24)) for seed in range(2)]
    measure = Measure("mean", lambda sums: float(sums[0]) / size, tables)
    tracemalloc.start()
    compare_systems([measure], randomization_trials=1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4000 * size  # the numbers of a sentence are 384 bytes


@pytest.mark.parametrize(("num_changed", "exact"), [(1, 1.0), (2, 0.5), (3, 0.25), (6, 0.03125)])
def test_a_trial_that_gives_the_very_difference_counts(num_changed, exact):
    """Of n sentences that differ, all in one direction, 2 of 2^n exchanges differ as much."""
    reference = [f"line {number} of this text is here to be seen" for number in range(30)]
    before = [line.replace("here", "there") for line in reference]
    after = [*reference[:num_changed], *before[num_changed:]]
    for comparison in compare([reference], [before, after], bootstrap_samples=0, randomization_trials=4000):
        assert comparison.randomization_p == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1 / 3, 2 / 3), (0.81, 0.87)])
def test_randomisation_of_sentences_that_are_right_or_wrong_is_the_sign_test(low, high):
    """Of ten that differ, eight are better and two worse: 2 * (1 + 10 + 45) / 1024, whatever rounding does to sums."""
    draw = np.random.default_rng(3)
    common = draw.random((40, 1))
    tables = [np.concatenate([common, np.array([[one]] * 8 + [[two]] * 2)]) for one, two in ((low, high), (high, low))]
    measure = Measure("mean", lambda sums: float(sums[0]) / 50, tables)
    (found,) = compare_systems([measure], bootstrap_samples=0, randomization_trials=4000)
    assert found.randomization_p == pytest.approx(112 / 1024, abs=0.02)


def test_one_sentence_shows_nothing():
    for comparison in compare([["A dog runs home."]], [["A cat runs home."], ["A dog walks."]]):
        assert (comparison.bootstrap_p, comparison.randomization_p) == (1, 1)


def test_resamples_and_trials_are_as_many_as_sacrebleus():
    section = EvaluationSection()
    expected = PairedTest._DEFAULT_SAMPLES
    assert (section.bootstrap_samples, section.randomization_trials) == (expected["bs"], expected["ar"])
    defaults = {name: value.default for name, value in inspect.signature(compare_systems).parameters.items()}
    assert (defaults["bootstrap_samples"], defaults["randomization_trials"]) == (expected["bs"], expected["ar"])
    assert defaults["seed"] == section.seed == PairedTest([("a", ["a"])], {}, None)._seed


def test_the_difference_is_that_of_the_scores(spoiled):
    reference, systems = spoiled(0.3, 0.1)
    evaluator = Evaluator([reference])
    before, after = map(evaluator.score, systems)
    for comparison in compare([reference], systems, randomization_trials=1000):
        expected = after[comparison.metric].score - before[comparison.metric].score
        assert comparison.difference == pytest.approx(expected)
        assert (comparison.difference > 0) == (comparison.metric != "ter")
        assert comparison.bootstrap_p < 0.01
        assert comparison.randomization_p < 0.01


def test_a_system_beside_itself_does_not_differ(spoiled):
    reference, (system,) = spoiled(0.2)
    for comparison in compare([reference], [system, list(system)], randomization_trials=100):
        assert (comparison.difference, comparison.bootstrap_p, comparison.randomization_p) == (0, 1, 1)


def test_the_order_of_two_systems_does_not_matter(spoiled):
    reference, (first, second) = spoiled(0.2, 0.24)
    there = compare([reference], [first, second], randomization_trials=500)
    back = compare([reference], [second, first], randomization_trials=500)
    for a, b in zip(there, back, strict=True):
        assert a.difference == pytest.approx(-b.difference)
        assert (a.bootstrap_p, a.randomization_p) == (b.bootstrap_p, b.randomization_p)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_seed_decides_whatever_the_environment_says(spoiled, monkeypatch, seed):
    reference, systems = spoiled(0.2, 0.22)
    options = {"metrics": ["chrf"], "randomization_trials": 500, "seed": seed}
    monkeypatch.setenv("SACREBLEU_SEED", "99")
    first = compare([reference], systems, **options)
    monkeypatch.setenv("SACREBLEU_SEED", "none")
    assert compare([reference], systems, **options) == first
    assert compare([reference], systems, **{**options, "seed": 1}) != first


def test_only_what_is_asked_for_is_tested(spoiled):
    reference, systems = spoiled(0.2, 0.22)
    (only,) = compare([reference], systems, ["bleu"], bootstrap_samples=0, randomization_trials=50)
    assert only.bootstrap_p is None
    assert only.randomization_p >= 1 / 51
    (neither,) = compare([reference], systems, ["bleu"], bootstrap_samples=0, randomization_trials=0)
    assert neither.bootstrap_p is neither.randomization_p is None
    assert neither.difference == only.difference
    assert compare([reference], systems[:1]) == []


def test_of_many_pairs_of_equal_systems_few_differ_significantly():
    """Both systems draw from the same distribution: about 5 % may fall below 0.05."""
    draw = np.random.default_rng(1)
    tables = draw.normal(size=(60, 2, 50, 1))
    measures = (Measure("mean", lambda sums: float(sums[0]) / 50, list(pair)) for pair in tables)
    found = [c for m in measures for c in compare_systems([m], bootstrap_samples=100, randomization_trials=200)]
    assert sum(comparison.bootstrap_p < 0.05 for comparison in found) <= 9
    assert sum(comparison.randomization_p < 0.05 for comparison in found) <= 9
    assert 0.35 < np.mean([comparison.randomization_p for comparison in found]) < 0.65
