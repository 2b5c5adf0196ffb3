import json

import pytest

from mtkit.decoding.formats import build_format
from mtkit.decoding.json_output import FullJson
from mtkit.decoding.request import Request
from mtkit.decoding.translation import Alternative, Kept, Translation
from mtkit.errors import DataError


def read_json(**values):
    return build_format("jsonl").read(json.dumps({"source": "a", **values}))


def test_wishes_of_an_object():
    record = read_json(prefix="Der", constraints=["Hund", ["Katze", "Kater"]], forbidden=["Tier"], tag="<2de>")
    assert record.problem is None
    assert record.request.groups == (("Hund",), ("Katze", "Kater"))
    assert record.request == Request("a", "<2de>", "Der", (("Hund",), ("Katze", "Kater")), ("Tier",))
    assert read_json(prefix=None, constraints=None, forbidden=None, tag=None).request == Request("a")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"prefix": 1}, "'prefix' is no text"),
        ({"tag": ["<2de>"]}, "'tag' is no text"),
        ({"constraints": "Hund"}, "'constraints' is no list"),
        ({"constraints": [1]}, "'constraints' is no text"),
        ({"constraints": [[]]}, "list in 'constraints' is empty"),
        ({"constraints": [["Hund", [""]]]}, "'constraints' is no text"),
        ({"constraints": [" "]}, "'constraints' is empty"),
        ({"forbidden": [["Hund"]]}, "'forbidden' is no text"),
        ({"forbidden": {"Hund": 1}}, "'forbidden' is no list"),
    ],
)
def test_malformed_wishes(values, problem):
    record = read_json(**values)
    assert problem in record.problem
    assert record.source == ""
    written = json.loads(build_format("jsonl").write(record, Translation("", (Alternative(),), 0), 0))
    assert written == {"source": "a", **values, "translation": "", "error": record.problem}


def test_wishes_of_a_row():
    table = build_format("tsv")
    table.take_header("tag\tconstraints\tsource\tforbidden\tprefix\tid", "file")
    request = table.read("<2de>\tHund; Katze | Kater ;\ta\tTier; Vieh\tDer \t1").request
    assert request == Request("a", "<2de>", "Der", (("Hund",), ("Katze", "Kater")), ("Tier", "Vieh"))
    assert table.read("\t\ta\t\t \t1").request == Request("a")


def test_a_column_may_stand_but_once():
    with pytest.raises(DataError, match="two columns are named 'prefix'"):
        build_format("tsv").take_header("prefix\tsource\tprefix", "file")


ALTERNATIVES = (
    Alternative(
        "A B", -1.0, -2.0, 3, False, ("▁A", "▁B", "</s>"), (-0.5, -0.5, -1.0), ((0, 0),), Kept(1, 2), Kept(0, 1)
    ),
    Alternative("A", -2.0, -4.0, 2, True, ("▁A", "</s>"), (-2.0, -2.0), (), Kept(0, 2), Kept(1, 1)),
)


@pytest.mark.parametrize(
    ("name", "lines", "fields"),
    [
        ("lines", ["a"], {"source": "a"}),
        ("jsonl", ['{"source": "a", "id": 1}'], {"source": "a", "id": 1}),
        ("tsv", ["id\tsource", "1\ta"], {"source": "a", "id": "1"}),
    ],
)
def test_full_json_of_any_format(name, lines, fields):
    line_format = FullJson(build_format(name, 2), 2)
    assert line_format.has_header == (name == "tsv")
    if line_format.has_header:
        assert line_format.take_header(lines.pop(0), "file") is None
    written = json.loads(line_format.write(line_format.read(lines[0]), Translation("a", ALTERNATIVES, 1), 0))
    best = {
        "translation": "A B",
        "score": -1.0,
        "log_prob": -2.0,
        "tokens": ["▁A", "▁B", "</s>"],
        "token_log_probs": [-0.5, -0.5, -1.0],
        "cut": False,
        "alignment": [[0, 0]],
        "constraints_met": 1,
        "constraints_required": 2,
        "terms_kept": 0,
        "terms_found": 1,
    }
    first, second = written.pop("alternatives")
    assert written == {**fields, **best, "split": 1}
    assert first == best
    assert (second["translation"], second["cut"], second["alignment"]) == ("A", True, [])


def test_full_json_without_what_was_not_asked_for():
    line_format = FullJson(build_format("lines"), 1)
    written = json.loads(line_format.write(line_format.read("a"), Translation("a", (Alternative(),), 0), 0))
    assert set(written) == {"source", "translation", "score", "log_prob", "tokens", "token_log_probs", "cut", "split"}


def test_full_json_of_a_malformed_line():
    line_format = FullJson(build_format("jsonl"), 1)
    written = json.loads(line_format.write(line_format.read("{"), Translation("", (Alternative(),), 0), 0))
    assert written["source"] == written["translation"] == ""
    assert "not JSON" in written["error"]
