import io
import json
from contextlib import nullcontext

import pytest

from mtkit.config.decoding import DecodingSection
from mtkit.decoding import segments as segments_module
from mtkit.decoding.formats import build_format
from mtkit.decoding.hypothesis import Hypothesis
from mtkit.decoding.json_output import FullJson
from mtkit.decoding.output import Output
from mtkit.decoding.pipeline import translate_stream
from mtkit.decoding.stream import LineStream
from mtkit.decoding.translator import Translator
from mtkit.errors import DataError


@pytest.fixture(scope="module")
def load(model_folder):
    def load(**decoding):
        settings = {"beam_size": 1, "max_length_ratio": 0.1, "max_length_extra": 3, **decoding}
        return Translator.load(model_folder, device="cpu", decoding=DecodingSection(**settings))

    return load


@pytest.fixture
def copying(monkeypatch):
    """Let the search answer with the source."""

    def echo(model, src_ids, decoding, guidance, suppressed_ids):
        rows = [[i for i in ids if i != model.config.pad_id][:-1] for ids in src_ids.tolist()]
        return [[Hypothesis(tuple(row), -1.0, -0.5, False)] for row in rows]

    monkeypatch.setattr(segments_module, "search", echo)


def run(translator, content, line_format="lines", strict=False):
    """Return the lines of the output, the summary, and the error that stopped it."""
    stream = LineStream(nullcontext(io.BytesIO(content)), "in.txt")
    written = io.BytesIO()
    if isinstance(line_format, str):
        line_format = build_format(line_format)
    summary = error = None
    try:
        summary = translate_stream(translator, stream, line_format, Output(written, "out"), strict=strict)
    except DataError as exc:
        error = exc
    return written.getvalue().decode().split("\n")[:-1], summary, error


def make_odd_stream(count):
    """Lines of every kind; the giant ones stand far apart."""
    odd = [
        b"", b" ", b"\xff\xfe\x00\x80\xc3", bytes(range(1, 10)) + bytes(range(11, 256)), "כלב רץ ברחוב".encode(),
        "\u202ethe dog\u202c שלום".encode(), b"the dog runs\r", "e\u0301\u200d\U0001f468\u200d\U0001f469".encode(),
        b"\0\0the\0dog", "a\u2028b\u0085c".encode(), b"<2de> </s> <unk>", b"the dog. " * 3,
    ]  # fmt: skip
    lines = [odd[i % len(odd)] for i in range(count)]
    for place, giant in ((count // 3, b"x" * 3_000), (count // 2, b"the dog runs " * 500)):
        lines[place] = giant
    return lines


def check_odd_stream(translator, count):
    lines = make_odd_stream(count)
    out, summary, _ = run(translator, b"\n".join(lines) + b"\n")
    assert len(out) == summary.num_lines == count
    assert all(len(line.splitlines()) <= 1 for line in out)
    assert all(not answer for line, answer in zip(lines, out, strict=True) if not line.strip())
    assert summary.num_split >= 2


def test_every_line_of_an_odd_stream_is_answered(load):
    check_odd_stream(load(), 1_500)


@pytest.mark.benchmark
def test_every_line_of_a_long_odd_stream_is_answered(load):
    check_odd_stream(load(), 100_000)


def test_a_paragraph_without_a_full_stop_comes_back_whole(load, copying):
    words = [f"{word}{i % 10}" for i, word in enumerate(["the", "dog", "runs", "over", "street"] * 1000)]
    paragraph = " ".join(words)
    out, summary, _ = run(load(), f"the dog\n{paragraph}\na cat\n".encode())
    assert out == ["the dog", paragraph, "a cat"]
    assert summary.num_split == 1


BAD_LINES = [
    ('{"source": "a"', "not JSON"),
    ('["a"]', "not a JSON object"),
    ('{"text": "a"}', "no text under 'source'"),
    ('{"source": "a", "constraints": "dog"}', "no list of phrases"),
    ('{"source": "a", "tag": "<2fr>"}', "'<2fr>' is no piece"),
    ('{"source": "a", "prefix": "' + "dog " * 50 + '"}', "the prefix has"),
]


@pytest.mark.parametrize("is_full", [False, True])
def test_malformed_lines_are_answered_with_empty_results(load, capsys, is_full):
    lines = [line for bad, _ in BAD_LINES for line in (bad, '{"source": "the dog"}')]
    line_format = FullJson(build_format("jsonl"), 1) if is_full else build_format("jsonl")
    out, summary, _ = run(load(), "\n".join(lines).encode(), line_format)
    answers = list(map(json.loads, out))
    assert len(answers) == len(lines)
    assert summary.num_malformed == len(BAD_LINES)
    warnings = capsys.readouterr().err.splitlines()
    for number, (_, problem) in enumerate(BAD_LINES):
        assert problem in answers[2 * number]["error"]
        assert answers[2 * number]["translation"] == ""
        assert warnings[number].startswith(f"warning: in.txt:{2 * number + 1}: ")
        assert problem in warnings[number]
    expected = load().translate(["the dog"])[0]
    assert [answer["translation"] for answer in answers[1::2]] == [expected] * len(BAD_LINES)
    assert all("error" not in answer for answer in answers[1::2])
    assert f"lines malformed: {len(BAD_LINES)}" in str(summary)


@pytest.mark.parametrize(("bad", "problem"), BAD_LINES)
def test_strict_stops_at_a_malformed_line(load, bad, problem):
    lines = ['{"source": "the dog"}', '{"source": ""}', bad, '{"source": "the dog"}']
    out, summary, error = run(load(), "\n".join(lines).encode(), "jsonl", strict=True)
    assert summary is None
    assert error.at == "in.txt:3"
    assert problem in error.message
    assert [json.loads(line)["source"] for line in out] == ["the dog", ""]


def test_strict_of_a_table(load):
    out, _, error = run(load(), b"id\tsource\n1\tthe dog\n2\n3\ta cat\n", "tsv", strict=True)
    assert error.at == "in.txt:3"
    assert [line.split("\t")[0] for line in out] == ["id", "1"]


def test_strict_leaves_the_scores_and_links_of_what_was_translated(model_folder):
    translator = Translator.load(model_folder, device="cpu", align=True)
    stream = LineStream(nullcontext(io.BytesIO(b'{"source": "the dog"}\n{}\n')), "in.txt")
    answers, scores, links = (io.BytesIO() for _ in range(3))
    outputs = [Output(written, "out") for written in (answers, scores, links)]
    with pytest.raises(DataError):
        translate_stream(
            translator, stream, build_format("jsonl"), outputs[0], scores=outputs[1], links=outputs[2], strict=True
        )
    assert [written.getvalue().count(b"\n") for written in (answers, scores, links)] == [1, 2, 1]


def test_strict_has_nothing_against_odd_lines(load):
    assert len(run(load(), b"\n".join(make_odd_stream(20)), strict=True)[0]) == 20


def test_what_was_asked_for_is_counted(load, copying):
    lines = [
        '{"source": "the dog runs", "constraints": ["dog", ["cat", "runs"], "man"]}',
        '{"source": "", "constraints": ["a"]}',
    ]
    out, summary, _ = run(load(), "\n".join(lines).encode(), FullJson(build_format("jsonl"), 1))
    first = json.loads(out[0])
    assert (first["constraints_met"], first["constraints_required"]) == (2, 3)
    assert first["constraints"] == ["dog", ["cat", "runs"], "man"]
    assert "constraints met: 2 of 4" in str(summary)
    assert "glossary" not in str(summary)
