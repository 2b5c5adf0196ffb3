import json
import sys
from pathlib import Path

import pytest

from mtkit.decoding.formats import build_format, find_format
from mtkit.decoding.json_output import FullJson
from mtkit.decoding.translation import Alternative, Translation
from mtkit.errors import DataError


def translate(*texts):
    return Translation("a", tuple(Alternative(text, -1.5 * rank) for rank, text in enumerate(texts, 1)), 1)


def answer(line_format, line, *texts, index=0):
    return line_format.write(line_format.read(line), translate(*texts), index)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (None, "lines"),
        ("a.en", "lines"),
        ("a", "lines"),
        ("a.jsonl", "jsonl"),
        ("a.tsv", "tsv"),
        ("a.TSV.gz", "tsv"),
        ("a.gz", "lines"),
    ],
)
def test_format_by_suffix(path, name):
    assert find_format(None if path is None else Path(path)) == name


def test_lines():
    lines = build_format("lines")
    assert lines.take_header("a", "file") is None
    assert lines.read("a\tb").source == "a\tb"
    assert answer(lines, "a", "A") == "A"


def test_n_best_lines():
    assert answer(build_format("lines", 2), "a", "A", "B", index=7) == "7 ||| A ||| -1.500000\n7 ||| B ||| -3.000000"


def test_jsonl_passes_other_keys_through():
    written = answer(build_format("jsonl"), '{"id": 1, "source": "ä\\nb", "x": [null]}', "Ä")
    assert json.loads(written) == {"id": 1, "source": "ä\nb", "x": [None], "translation": "Ä"}
    assert "\n" not in written
    assert "Ä" in written


def test_n_best_jsonl():
    written = json.loads(answer(build_format("jsonl", 2), '{"source": "a"}', "A", "B"))
    assert written["translation"] == "A"
    assert written["translations"] == [{"text": "A", "score": -1.5}, {"text": "B", "score": -3.0}]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("NaN", "not JSON: NaN is no value"),
        ("-Infinity", "not JSON: -Infinity is no value"),
        ("1e999", "the number 1e999 is too large"),
        ('[{"a": -1e400}]', "the number -1e400 is too large"),
    ],
)
def test_a_number_that_json_cannot_write_is_malformed(number, reason):
    jsonl = build_format("jsonl")
    record = jsonl.read(f'{{"source": "a", "x": {number}}}')
    assert (record.source, record.problem) == ("", reason)
    written = jsonl.write(record, Translation("", (Alternative(),), 0), 0)
    assert json.loads(written, parse_constant=pytest.fail) == {"translation": "", "error": reason}
    assert jsonl.read('{"source": "a", "x": [1e300, -0.5]}').problem is None


def call_deeper(calls, function, *args):
    return call_deeper(calls - 1, function, *args) if calls else function(*args)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_what_can_be_read_can_be_written(opening, closing):
    jsonl, problems = build_format("jsonl"), []
    for depth in (*range(100, 700, 100), *range(700, 1000)):  # as deep as Python's own stack has room, or nearly
        record = jsonl.read(f'{{"source": "a", "x": {opening * depth}1{closing * depth}}}')
        written = call_deeper(9, jsonl.write, record, Translation("a", (Alternative("A"),), 1), 0)
        assert '"translation": "A"' in written
        problems.append(record.problem)
    assert problems[0] is None
    if sys.version_info < (3, 12):
        assert problems[-1] == "nested too deeply"


@pytest.mark.parametrize(
    "line",
    ["", "{", "1", '["source"]', "{}", '{"source": 1}', '{"source": null}', "[" * 100_000, '{"source": ' + "9" * 5000],
)
def test_malformed_jsonl(line):
    jsonl = build_format("jsonl")
    record = jsonl.read(line)
    assert record.problem
    assert record.source == ""
    written = json.loads(answer(jsonl, line, ""))
    assert written["translation"] == ""
    assert written["error"] == record.problem


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"source": "a", "x": %s}' % ("9" * 5000), "a number has too many digits"),
        ('\ufeff{"source": "a"}', "not JSON: a byte order mark"),
        ('{"source": "a"', "not JSON: Expecting ',' delimiter"),
    ],
)
def test_reasons_do_not_speak_of_python(line, reason):
    assert build_format("jsonl").read(line).problem == reason


def test_what_an_earlier_answer_told_does_not_stand_beside_ours():
    jsonl, best = build_format("jsonl"), build_format("jsonl", 2)
    told = json.loads(FullJson(best, 2).write(best.read('{"id": 1, "source": "a"}'), translate("B", "C"), 0))
    assert json.loads(answer(jsonl, json.dumps(told), "A")) == {"id": 1, "source": "a", "translation": "A"}
    assert "alternatives" not in json.loads(FullJson(jsonl, 1).write(jsonl.read(json.dumps(told)), translate("A"), 0))
    listed = answer(best, '{"source": "a"}', "B", "C")
    assert json.loads(answer(jsonl, listed, "A")) == {"source": "a", "translation": "A"}
    refused = answer(jsonl, '{"source": "a", "tag": 1}', "")
    assert "error" in json.loads(refused)
    mended = refused.replace('"tag": 1', '"tag": null')
    assert json.loads(answer(jsonl, mended, "A")) == {"source": "a", "tag": None, "translation": "A"}


def test_what_others_told_stays():
    own = {"source": "a", "score": 5, "error": "a typo", "translations": ["x"], "cut": 1}
    assert json.loads(answer(build_format("jsonl"), json.dumps(own), "A")) == {**own, "translation": "A"}


def test_jsonl_keeps_half_a_surrogate_pair():
    written = answer(build_format("jsonl"), '{"source": "a", "x": "\\ud800"}', "Ä")
    assert json.loads(written) == {"source": "a", "x": "\ud800", "translation": "Ä"}
    written.encode()


def test_table():
    table = build_format("tsv")
    assert table.take_header("id\tsource\tnote", "file") == "id\tsource\tnote\ttranslation"
    assert table.read("1\ta b\t").source == "a b"
    assert answer(table, "1\ta b\t", "A\tB") == "1\ta b\t\tA B"


def test_table_replaces_a_translation():
    table = build_format("tsv", 2)
    assert table.take_header("translation\tsource", "file") == "translation\tsource\ttranslation_2"
    assert answer(table, "old\ta", "A", "B") == "A\ta\tB"


@pytest.mark.parametrize("row", ["", "1", "1\ta\tb\tc"])
def test_malformed_row(row):
    table = build_format("tsv")
    table.take_header("id\tsource\tnote", "file")
    record = table.read(row)
    assert "columns" in record.problem
    assert record.source == ""
    assert answer(table, row, "").count("\t") == 3


@pytest.mark.parametrize("header", ["", "id\ttext", "source\tsource"])
def test_table_without_a_source_column(header):
    with pytest.raises(DataError) as caught:
        build_format("tsv").take_header(header, "file.tsv")
    assert caught.value.at == "file.tsv:1"
