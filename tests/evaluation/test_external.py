import numpy as np
import pytest

from mtkit.errors import DataError, RecipeError
from mtkit.evaluation.external import parse_scores_option, read_external_scores
from mtkit.evaluation.significance import compare_systems

SYSTEMS = ["out/a.hyp.gz", "b.hyp"]
ROWS = ["b\ta", "0.5\t0.25", "-1e-2\t0.75", "0.81\t0"]


def test_columns_find_their_systems(write):
    scores = read_external_scores("comet", write("comet.tsv", ROWS), SYSTEMS, 3)
    assert scores.tables["b.hyp"].tolist() == [[0.5], [-0.01], [0.81]]
    assert scores.tables["out/a.hyp.gz"].tolist() == [[0.25], [0.75], [0]]
    assert scores.score("out/a.hyp.gz") == pytest.approx(1 / 3)


@pytest.mark.parametrize("header", ["out/a.hyp.gz\tb.hyp", "a.hyp.gz\tb", "a.hyp\t b.hyp ", "a\tb"])
def test_a_system_goes_by_its_name_or_that_of_its_file(write, header):
    path = write("x.tsv", f"{header}\r\n1\t2\r\n")
    assert read_external_scores("x", path, SYSTEMS, 1).score("out/a.hyp.gz") == 1


def test_the_interval_holds_the_mean_and_narrows_with_more_sentences(write):
    values = np.random.default_rng(1).normal(size=400)
    widths = []
    for size in (50, 400):
        path = write("x.tsv", ["a", *map(str, values[:size])])
        scores = read_external_scores("x", path, ["a"], size)
        low, high = scores.interval("a", 1000, 12345)
        assert low < scores.score("a") < high
        assert high - low == pytest.approx(2 * 1.96 * values[:size].std() / size**0.5, rel=0.15)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
    assert scores.interval("a", 0, 12345) is None


def test_systems_are_compared_by_the_mean(write):
    scores = read_external_scores("comet", write("comet.tsv", ROWS), SYSTEMS, 3)
    (comparison,) = compare_systems([scores.measure(SYSTEMS)], randomization_trials=100)
    assert comparison.metric == "comet"
    assert comparison.difference == pytest.approx(1.3 / 3 - 1 / 3)
    assert 0.3 < comparison.randomization_p <= 1


@pytest.mark.parametrize(
    ("rows", "message", "at"),
    [
        (ROWS[:-1], "2 lines of scores, the reference has 3 lines", ""),
        ([*ROWS, "1\t1"], "4 lines of scores, the reference has 3 lines", ""),
        (["a\tc", *ROWS[1:]], "'c' is none of the systems", ":1"),
        (ROWS[1:], "'0.5' is none of the systems", ":1"),
        (["a", "1", "2", "3"], "no column of scores for b.hyp", ":1"),
        (["a\tb\ta", "1\t1\t1", "1\t1\t1", "1\t1\t1"], "two columns of scores for out/a.hyp.gz", ":1"),
        ([*ROWS[:3], "0.1\tnan"], "'nan' is no finite number", ":4"),
        ([*ROWS[:3], "inf\t1"], "'inf' is no finite number", ":4"),
        ([*ROWS[:2], "0,5\t1", "1\t1"], "'0,5' is no finite number", ":3"),
        ([*ROWS[:2], "\t1", "1\t1"], "'' is no finite number", ":3"),
        ([*ROWS[:2], "1", "1\t1"], "1 columns, the first line 2", ":3"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(write, rows, message, at):
    path = write("comet.tsv", rows)
    with pytest.raises(DataError) as caught:
        read_external_scores("comet", path, SYSTEMS, 3)
    assert message in caught.value.message
    assert caught.value.at == f"{path}{at}"
    assert "\n" not in caught.value.message


def test_a_name_that_several_systems_have_is_refused(write):
    path = write("x.tsv", ["hyp", "1"])
    with pytest.raises(DataError, match="'hyp' could be several systems"):
        read_external_scores("x", path, ["one/hyp.txt", "two/hyp.txt"], 1)


def test_the_option_names_the_metric(write, monkeypatch, tmp_path):
    assert parse_scores_option("out/comet.tsv.gz")[0] == "comet"
    name, path = parse_scores_option("MetricX=some/file.tsv")
    assert (name, path.as_posix()) == ("MetricX", "some/file.tsv")
    monkeypatch.chdir(tmp_path)
    write("a=b.tsv", ROWS)
    assert parse_scores_option("a=b.tsv")[0] == "a=b"
    for text in ("bleu.tsv", "TER=x.tsv", "=x.tsv", "x="):
        with pytest.raises(RecipeError, match="name") as caught:
            parse_scores_option(text)
        assert "NAME=FILE" in caught.value.fix
