import gzip
import io
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.request import Request
from mtkit.decoding.translator import Translator

LINES = ["the dog runs", "", "a cat sees the man", "  ", "the red house and that"]
SUMMARY = re.compile(r"([\d,]+) lines, ([\d,]+) tokens in .* s \(.* tokens/s\); lines split: (\d+), .* length: (\d+)")
FAST = ["--device", "cpu", "--threads", "1", "--beam-size", "2"]


@pytest.fixture(scope="session")
def expected(model_folder):
    """Return a function that translates through the Python API."""

    def translate(lines, **settings):
        decoding = DecodingSection(beam_size=2, **settings)
        return list(Translator.load(model_folder, device="cpu", decoding=decoding).iter_translations(lines))

    return translate


@pytest.fixture
def translate(run, model_folder):
    """Return a function that runs `mtkit translate` in this process."""
    return lambda *arguments: run("translate", "--model", model_folder, *FAST, *arguments)


@pytest.fixture
def stdin(monkeypatch):
    """Return a function that gives bytes as standard input."""
    return lambda content: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.fixture
def started(start, model_folder):
    """Return a function that starts `mtkit translate` in a process of its own."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return lambda *arguments, **options: start(
        "translate", "--model", model_folder, *FAST, *arguments, env=env, **options
    )


def texts(translations):
    return "".join(f"{translation.text}\n" for translation in translations)


def test_lines_in_lines_out(translate, write, expected):
    result = translate(write("in.txt", LINES))
    assert (result.code, result.out) == (0, texts(expected(LINES)))
    lines, tokens, split, cut = SUMMARY.fullmatch(result.err.splitlines()[-1]).groups()
    translations = expected(LINES)
    assert (int(lines), int(tokens)) == (5, sum(t.num_tokens for t in translations))
    assert (int(split), int(cut)) == (0, sum(t.is_cut for t in translations))


def test_standard_input(translate, stdin, expected):
    stdin(b"\xef\xbb\xbfthe dog runs\r\n\na \xff cat\n\0\nthe end")
    result = translate()
    assert result.out == texts(expected(["the dog runs", "", "a \ufffd cat", "\0", "the end"]))
    assert result.err.startswith(
        "warning: standard input: lines with bytes that are not UTF-8: 1 (the first is line 3)"
    )
    assert "iconv -f ENCODING -t UTF-8" in result.err


def test_compressed_standard_input_is_refused(translate, stdin):
    stdin(gzip.compress(b"the dog\n"))
    result = translate()
    assert (result.code, result.out) == (3, "")
    assert "standard input" in result.err and "zcat FILE | mtkit" in result.err


def test_quiet_leaves_warnings_only(translate, stdin):
    stdin(b"the dog\n")
    assert translate("--quiet").err == ""
    stdin(b"\xff\n")
    assert translate("-q").err.count("\n") == 1


def test_no_input_no_output(translate, stdin):
    stdin(b"")
    result = translate()
    assert (result.code, result.out) == (0, "")


def test_output_file_and_compression(translate, write, tmp_path, expected):
    source = write("in.txt", LINES)
    zipped = tmp_path / "in.txt.gz"
    zipped.write_bytes(gzip.compress(source.read_bytes()))
    result = translate(zipped, "-o", tmp_path / "new" / "out.gz")
    assert (result.code, result.out) == (0, "")
    assert gzip.decompress((tmp_path / "new" / "out.gz").read_bytes()).decode() == texts(expected(LINES))


def test_a_dash_is_standard_input_and_output(translate, stdin, expected):
    stdin(b"the dog\n")
    assert translate("-", "-o", "-").out == texts(expected(["the dog"]))


def test_n_best(translate, write, expected):
    result = translate(write("in.txt", LINES[:3]), "--n-best", "2")
    lines = [line.split(" ||| ") for line in result.out.splitlines()]
    alternatives = [a for translation in expected(LINES[:3], n_best=2) for a in translation.alternatives]
    assert [int(index) for index, _, _ in lines] == [0, 0, 1, 1, 2, 2]
    assert [text for _, text, _ in lines] == [a.text for a in alternatives]
    assert [float(score) for _, _, score in lines] == pytest.approx([a.score for a in alternatives], abs=1e-5)


def test_scores(translate, write, tmp_path, expected):
    translate(write("in.txt", LINES), "--scores", tmp_path / "scores.tsv")
    header, *rows = (tmp_path / "scores.tsv").read_text(encoding="utf-8").splitlines()
    assert header == "score\tlog_prob\ttokens\tcut"
    for row, translation in zip(rows, expected(LINES), strict=True):
        score, log_prob, tokens, cut = row.split("\t")
        assert float(score) == pytest.approx(translation.score, abs=1e-5)
        assert float(log_prob) == pytest.approx(translation.log_prob, abs=1e-5)
        assert (int(tokens), int(cut)) == (translation.num_tokens, translation.is_cut)


def test_jsonl(translate, write, expected):
    lines = ['{"id": 1, "source": "the dog"}', "not JSON", '{"source": "a cat", "note": "ä"}']
    path = write("in.jsonl", lines)
    result = translate(path)
    dog, cat = (t.text for t in expected(["the dog", "a cat"]))
    first, second, third = map(json.loads, result.out.splitlines())
    assert first == {"id": 1, "source": "the dog", "translation": dog}
    assert second["translation"] == ""
    assert third == {"source": "a cat", "note": "ä", "translation": cat}
    assert result.code == 0
    assert f"warning: {path}:2: not JSON" in result.err


def test_table(translate, stdin, expected):
    stdin(b"id\tsource\n1\tthe dog\nmalformed\n2\ta cat\n")
    result = translate("--format", "tsv")
    dog, cat = (t.text for t in expected(["the dog", "a cat"]))
    assert result.out == f"id\tsource\ttranslation\n1\tthe dog\t{dog}\nmalformed\t\t\n2\ta cat\t{cat}\n"
    assert "warning: standard input:3: columns: 1, where the header has 2" in result.err


def test_a_table_of_a_header_alone(translate, stdin):
    stdin(b"source\n")
    assert translate("--format", "tsv").out == "source\ttranslation\n"


def test_a_long_line_is_split_and_counted(translate, write):
    path = write("in.txt", ["the dog runs. " * 20, "the dog"])
    result = translate(path, "--set", "decoding.max_source_tokens=20")
    assert result.out.count("\n") == 2
    assert "; lines split: 1, " in result.err


def test_tag(translate, stdin, expected):
    stdin(b"the dog\n")
    tagged = texts(expected(["the dog"], tag="<2de>"))
    assert translate("--tag", "<2de>").out == tagged
    stdin(b"the dog\n")
    assert translate("--set", "decoding.tag=<2de>").out == tagged
    stdin(b"the dog\n")
    result = translate("--tag", "<2fr>")
    assert result.code == 4
    assert "no piece of the model's source vocabulary" in result.err


def test_wishes_of_objects_and_tables(translate, write, expected):
    wishes = {"prefix": "the", "constraints": ["house", ["cat", "woman"]], "forbidden": ["over"], "tag": "<2de>"}
    request = Request("a man", "<2de>", "the", ["house", ["cat", "woman"]], ["over"])
    (wished,) = texts(expected([request])).splitlines()
    assert wished.startswith("the")
    assert "house" in wished
    result = translate(write("in.jsonl", [json.dumps({"source": "a man", **wishes})]))
    assert json.loads(result.out)["translation"] == wished
    assert "constraints met: 2 of 2" in result.err
    header, cells = "source\tprefix\tconstraints\tforbidden\ttag", "a man\tthe\thouse; cat | woman\tover\t<2de>"
    assert translate(write("in.tsv", [header, cells])).out.splitlines()[1] == f"{cells}\t{wished}"


def test_json(translate, write, expected):
    result = translate(write("in.txt", LINES), "--json", "--alignment", "--n-best", "2")
    answers = list(map(json.loads, result.out.splitlines()))
    assert len(answers) == len(LINES)
    for line, answer, translation in zip(LINES, answers, expected(LINES, n_best=2), strict=True):
        assert (answer["source"], answer["translation"]) == (line, translation.text)
        assert answer["score"] == pytest.approx(translation.score, abs=1e-5)
        assert answer["tokens"] == list(translation.alternatives[0].tokens)
        assert len(answer["token_log_probs"]) == len(answer["tokens"])
        assert (answer["cut"], answer["split"]) == (translation.is_cut, translation.num_parts)
        assert [a["translation"] for a in answer["alternatives"]] == [a.text for a in translation.alternatives]
        assert ("alignment" in answer) == bool(line.strip())


def test_glossary(translate, write):
    glossary = write("terms.tsv", ["dog\thouse", "man\tnowhere | street"])
    result = translate(write("in.txt", LINES), "--glossary", glossary, "--beam-size", "8")
    lines = result.out.splitlines()
    assert "house" in lines[0]
    assert "street" in lines[2] or "nowhere" in lines[2]
    assert "glossary terms kept: 2 of 2" in result.err


def test_sampling(translate, write, expected):
    source = write("in.txt", LINES)
    settings = {"temperature": 2, "top_k": 20, "top_p": 0.9, "n_best": 3, "seed": 5}
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    expected_texts = [a.text for t in expected(LINES, sampling=True, **settings) for a in t.alternatives]
    for batch_size in (1, 64):
        result = translate(source, "--sampling", *flags, "--batch-size", batch_size)
        assert [line.split(" ||| ")[1] for line in result.out.splitlines()] == expected_texts


def test_other_flags_of_the_search(translate, write, expected):
    source = write("in.txt", LINES)
    result = translate(source, "--min-length", "4", "--no-repeat-ngram", "1")
    assert result.out == texts(expected(LINES, min_length=4, no_repeat_ngram=1)) != texts(expected(LINES))
    result = translate(source, "--expand-prefix", "--n-best", "3")
    assert len(result.out.splitlines()) == 3 * len(LINES)
    assert translate(source, "--mbr", "chrf").out.count("\n") == len(LINES)
    assert translate(source, "--mbr", "bleu", "--sampling").out.count("\n") == len(LINES)


def test_an_ensemble(translate, write, expected, model_folder):
    assert translate(write("in.txt", LINES), "--model", model_folder).out == texts(expected(LINES))


def test_strict(translate, write, tmp_path, expected):
    path = write("in.jsonl", ['{"source": "the dog"}', '{"source": 1}', '{"source": "a cat"}'])
    result = translate(path, "--strict")
    assert result.code == 3
    assert f"   at: {path}:2" in result.err
    assert len(result.fixes) == 1
    assert [json.loads(line)["translation"] for line in result.out.splitlines()] == [expected(["the dog"])[0].text]
    result = translate(path, "--strict", "-o", tmp_path / "out.jsonl")
    assert result.code == 3
    assert [file.name for file in tmp_path.iterdir()] == ["in.jsonl"]


def test_settings_of_a_recipe(translate, write, stdin, expected):
    recipe = write("recipe.yaml", "decoding: {max_length_ratio: 0.1, max_length_extra: 1, batch_size: 1}\n")
    stdin(b"the dog runs and sees\n")
    result = translate("--recipe", recipe)
    assert result.out == texts(expected(["the dog runs and sees"], max_length_ratio=0.1, max_length_extra=1))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.txt"], 3, "no such file"),
        (["."], 3, "a folder"),
        (["in.txt", "-o", "in.txt"], 2, "the same file"),
        (["in.txt", "-o", "link.txt"], 2, "the same file"),
        (["in.txt", "-o", "out.txt", "--scores", "out.txt"], 2, "the same file"),
        (["in.txt", "-o", "."], 7, "cannot write"),
        (["in.txt", "-o", "in.txt/out.txt"], 7, "cannot write"),
        (["in.txt", "--model", "nowhere"], 4, "no such model folder"),
        (["in.txt", "--model", "."], 4, "not a model folder"),
        (["in.txt", "--n-best", "3"], 2, "n_best"),
        (["in.txt", "--beam-size", "0"], 2, "beam_size"),
        (["in.txt", "--alignment"], 2, "--alignment"),
        (["in.txt", "--glossary", "missing.tsv"], 3, "no such file"),
        (["in.txt", "--glossary", "bad.tsv"], 3, "1 column"),
        (["in.txt", "--glossary", "no_source.tsv", "-o", "no_source.tsv"], 2, "the same file"),
        (["in.txt", "--glossary", "no_source.tsv", "--sampling"], 2, "glossary"),
        (["in.txt", "--set", 'decoding.suppressed=["no piece"]'], 2, "'no piece'"),
        (["in.txt", "--top-p", "2"], 2, "top_p"),
        (["in.txt", "--top-p", "0.5"], 2, "--top-p is for samples"),
        (["in.txt", "--seed", "3"], 2, "--seed is for samples"),
        (["in.txt", "--model", "in.txt"], 4, "this is a file, not a model folder"),
        (["in.txt", "--length-penalty", "700"], 2, "less than or equal to 10"),
        (["in.txt", "--format", "xml"], 2, "xml"),
        (["in.txt", "--set", "decoding.beam=2"], 2, "unknown recipe key"),
        (["no_source.tsv"], 3, "no column"),
    ],
)
def test_mistakes(translate, write, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    text = write("in.txt", LINES)
    write("no_source.tsv", ["a\tb"])
    write("bad.tsv", ["one"])
    (tmp_path / "link.txt").symlink_to(text)
    result = translate(*arguments)
    assert result.code == code
    assert message in result.err
    assert len(result.fixes) == 1
    assert result.out == ""
    assert text.read_text(encoding="utf-8").split("\n") == [*LINES, ""]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_device(translate, write, started):
    path = write("in.txt", LINES)
    result = translate(path, "-o", "/dev/full")
    assert result.code == 7
    assert "No space left" in result.err
    with Path("/dev/full").open("wb") as full:
        process = started(path, stdout=full)
        error = process.stderr.read()
        assert process.wait() == 7
    assert error.count(b"\n") == 3


def test_a_program_can_talk_line_by_line(started):
    process = started("-q")
    for line in [b"the dog\n", b"\n", "die\u2028Katze\n".encode(), b"one\ntwo\n"]:
        process.stdin.write(line)
        process.stdin.flush()
        for _ in range(line.count(b"\n")):
            assert process.stdout.readline().endswith(b"\n")
    process.stdin.write(b"the rest")
    process.stdin.close()
    assert process.stdout.readline()
    assert process.stdout.read() == b""
    assert process.wait() == 0
    assert process.stderr.read() == b""


def test_a_reader_that_has_enough(started, tmp_path):
    endless = tmp_path / "long.txt"
    endless.write_bytes(b"the dog\n" * 200_000)
    with endless.open("rb") as stream:
        process = started("--batch-size", "4", stdin=stream)
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
@pytest.mark.parametrize("is_busy", [True, False])
def test_interrupted(started, tmp_path, is_busy):
    out = tmp_path / "out.txt"
    process = started("-q", *(["-o", out, "--batch-size", "1"] if is_busy else []))
    process.stdin.write(b"the dog\n" * (2000 if is_busy else 1))
    process.stdin.flush()
    if is_busy:
        while not list(tmp_path.glob(".*")):  # it has begun to write
            time.sleep(0.05)
    else:
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert b"Traceback" not in process.stderr.read()
    assert not list(tmp_path.iterdir())
