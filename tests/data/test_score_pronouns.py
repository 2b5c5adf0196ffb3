"""The scorer of the pronoun test."""

import gzip
import json

import pytest
from score_pronouns import find_pronoun, main, read_items, score_baselines


@pytest.fixture
def references(data_folder) -> list[str]:
    return gzip.decompress((data_folder / "pronouns.test.de.gz").read_bytes()).decode().splitlines()


def run(tmp_path, capsys, lines, *options) -> dict[str, dict[str, float]]:
    path = tmp_path / "hypotheses"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert main([str(path), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_references_are_right(tmp_path, capsys, references):
    assert run(tmp_path, capsys, references)["translation"] == {"pairs": 100, "sentences": 100}


def test_one_wrong_sentence_costs_its_pair(tmp_path, capsys, references):
    references[0] = references[1]
    translation = run(tmp_path, capsys, references)["translation"]
    pairs = len(references) // 2
    assert translation["pairs"] == pytest.approx(100 * (pairs - 1) / pairs)
    assert translation["sentences"] == pytest.approx(100 * (2 * pairs - 1) / (2 * pairs))


def test_empty_lines_are_wrong(tmp_path, capsys, references):
    assert run(tmp_path, capsys, [""] * len(references))["translation"] == {"pairs": 0, "sentences": 0}


@pytest.mark.parametrize("name", ["test", "valid"])
def test_baselines_stay_under_five_percent(name):
    scores = score_baselines(read_items(name))
    assert set(scores) == {"nearest noun", "subject", "majority"}
    assert all(score.pairs < 5 for score in scores.values())
    assert scores["subject"].sentences == scores["nearest noun"].sentences == 50


@pytest.mark.parametrize(
    ("hypothesis", "expected"),
    [
        ("Das Tier überquerte die Straße nicht, weil sie zu breit war.", "sie"),
        ("Die Pizza kam aus dem Ofen und sie schmeckte gut.", "sie"),
        ("Die Pizza kam aus dem Ofen, aber er war kaputt.", "er"),
        ("Weil es müde war, überquerte das Tier die Straße nicht.", "es"),
        ("Er überquerte die Straße nicht.", None),
        ("Das Tier überquerte die Straße nicht, weil die Straße zu breit war.", None),
        ("", None),
        ("weil", None),
    ],
)
def test_the_pronoun_of_the_deciding_clause(hypothesis, expected):
    assert find_pronoun(hypothesis) == expected


def test_another_number_of_lines_is_one_line_of_error(tmp_path, capsys, references):
    path = tmp_path / "hypotheses"
    path.write_text("er\n", encoding="utf-8")
    assert main([str(path)]) == 3
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert main([str(tmp_path / "absent")]) == 3
