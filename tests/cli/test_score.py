import io
import itertools
import json
import math
import sys

import pytest

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.lengths import length_penalty
from mtkit.decoding.n_best import parse_candidate
from mtkit.decoding.request import Request
from mtkit.decoding.scoring import Scorer

SOURCES = ["the dog runs", "", "a cat sees the man", "the red house", "it was quick"]
TARGETS = ["a dog jumps", "the", "", "house red the", "that street"]
LINES = [*SOURCES, *(" ".join(words) for words in itertools.permutations(["the", "dog", "runs", "quick"], 3))]
FAST = ["--device", "cpu", "--threads", "1"]


@pytest.fixture(scope="session")
def expected(model_folder):
    """Return a function that scores through the Python API."""
    return lambda pairs, **settings: Scorer.load(
        model_folder, device="cpu", decoding=DecodingSection(**settings)
    ).score(pairs)


@pytest.fixture
def score(run, model_folder):
    """Return a function that runs `mtkit score` in this process."""
    return lambda *arguments: run("score", "--model", model_folder, *FAST, *arguments)


@pytest.fixture
def files(write):
    return write("in.en", SOURCES), write("in.de", TARGETS)


@pytest.fixture
def n_best(run, model_folder, write):
    """The three best translations of each line, as `mtkit translate` writes them; and its JSON answers."""
    translate = ("translate", "--model", model_folder, *FAST, "--beam-size", 3, "--n-best", 3, "--quiet")
    source = write("lines.en", LINES)
    answers = [json.loads(line) for line in run(*translate, source, "--json").out.splitlines()]
    return source, write("in.nbest", run(*translate, source).out), answers


@pytest.fixture
def stdin(monkeypatch):
    """Return a function that gives text as standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def numbers(text):
    return [float(line) for line in text.splitlines()]


def test_a_number_for_each_pair(score, files, expected, tmp_path):
    found = expected(zip(SOURCES, TARGETS, strict=True))
    result = score(*files)
    assert result.code == 0
    assert numbers(result.out) == pytest.approx([s.log_prob for s in found], abs=2e-6)
    assert numbers(score(*files, "--normalize", "mean").out) == pytest.approx(
        [s.mean_log_prob for s in found], abs=2e-6
    )
    assert numbers(score(*files, "--normalize", "penalty").out) == pytest.approx([s.score for s in found], abs=2e-6)
    assert "5 pairs, " in result.err
    assert "with an empty side: 2" in result.err
    assert score(*files, "-o", tmp_path / "out").out == ""
    assert (tmp_path / "out").read_text(encoding="utf-8") == result.out


def test_the_length_penalty_is_that_of_decoding(score, files, expected):
    plain = expected(zip(SOURCES, TARGETS, strict=True))
    decoding = DecodingSection(length_penalty=0.5, length_penalty_type="length")
    result = score(*files, "--length-penalty", 0.5, "--set", "decoding.length_penalty_type=length")
    assert numbers(result.out) == pytest.approx(
        [s.log_prob / length_penalty(s.num_tokens, decoding) for s in plain], abs=2e-6
    )


def test_an_ensemble_of_a_model_with_itself_is_the_model(score, files, model_folder):
    assert numbers(score(*files, "--model", model_folder).out) == pytest.approx(numbers(score(*files).out), abs=1e-4)


def test_tokens_and_their_log_probs(score, files):
    for line in score(*files, "--tokens").out.splitlines():
        total, pieces, log_probs = line.split("\t")
        assert len(pieces.split(" ")) == len(log_probs.split(" "))
        assert pieces.endswith("</s>")
        assert math.fsum(map(float, log_probs.split(" "))) == pytest.approx(float(total), abs=1e-5)


def test_json_tells_all(score, files, expected):
    answers = [json.loads(line) for line in score(*files, "--json").out.splitlines()]
    for answer, found, source, target in zip(
        answers, expected(zip(SOURCES, TARGETS, strict=True)), SOURCES, TARGETS, strict=True
    ):
        assert (answer["source"], answer["target"]) == (source, target)
        assert answer["tokens"] == list(found.tokens)
        for name in ("log_prob", "mean_log_prob", "score", "token_log_probs"):
            assert answer[name] == pytest.approx(getattr(found, name), abs=2e-6)


@pytest.mark.parametrize("kind", ["tsv", "jsonl"])
def test_what_translate_answers_can_be_scored(run, score, model_folder, write, kind):
    texts = [source for source in SOURCES if source]
    text = "source\tid\n" + "".join(f"{line}\t7\n" for line in texts)
    if kind == "jsonl":
        text = "".join(json.dumps({"source": line, "id": 7}) + "\n" for line in texts)
    translated = run("translate", "--model", model_folder, *FAST, write(f"in.{kind}", text)).out
    result = score(write(f"out.{kind}", translated))
    assert result.code == 0
    if kind == "jsonl":
        rows = [json.loads(line) for line in result.out.splitlines()]
        assert [row["source"] for row in rows] == texts
        assert all(row["id"] == 7 and row["log_prob"] < 0 for row in rows)
        assert "token_log_probs" not in rows[0]
        return
    header, *rows = (line.split("\t") for line in result.out.splitlines())
    assert header == ["source", "id", "translation", "log_prob"]
    assert [row[0] for row in rows] == texts
    assert all(float(row[3]) < 0 for row in rows)


def test_numbers_of_another_model_do_not_stand_beside_ours(score, write):
    others = {"source": "a dog", "target": "a cat", "score": 5, "log_prob": 7, "tokens": ["x"], "id": 1}
    judged = {"source": "a dog", "target": "a cat", "score": 5}  # a person's score, say
    refused = {"source": "a dog", "translation": "", "error": "the tag is no text"}
    rows = [json.dumps(row) for row in (others, judged, refused)]
    result = score(write("a.jsonl", rows), "--normalize", "mean")
    first, second, third = (json.loads(line) for line in result.out.splitlines())
    assert list(first) == ["source", "target", "id", "mean_log_prob"]
    assert list(second) == ["source", "target", "score", "mean_log_prob"]
    assert list(third) == ["source", "translation", "mean_log_prob"]  # an `error` stands where there is no number


def test_columns_of_that_name_are_replaced(score, write):
    table = write("a.tsv", "log_prob\tsource\ttarget\n7\ta dog\ta cat\n")
    header, row = score(table, "--tokens").out.splitlines()
    assert header == "log_prob\tsource\ttarget\ttokens\ttoken_log_probs"
    assert float(row.split("\t")[0]) < 0


def test_standard_input_holds_both_sides_or_one(score, files, stdin):
    plain = score(*files).out
    rows = [json.dumps({"source": s, "target": t}) for s, t in zip(SOURCES, TARGETS, strict=True)]
    stdin("\n".join(rows))
    answers = [json.loads(line)["log_prob"] for line in score("--format", "jsonl").out.splitlines()]
    assert answers == numbers(plain)
    stdin("\n".join(TARGETS))
    assert score(files[0], "-").out == plain
    stdin("\n".join(SOURCES))
    assert score("-", files[1]).out == plain


def test_a_tag_of_the_line_or_of_all(score, write, expected):
    table = write("a.tsv", "source\ttarget\ttag\na dog\ta cat\t<2de>\na dog\ta cat\t\n")
    tagged, plain = (float(row.split("\t")[-1]) for row in score(table).out.splitlines()[1:])
    found = expected([(Request("a dog", "<2de>"), "a cat"), ("a dog", "a cat")])
    assert [tagged, plain] == pytest.approx([s.log_prob for s in found], abs=2e-6)
    everywhere = [float(row.split("\t")[-1]) for row in score(table, "--tag", "<2de>").out.splitlines()[1:]]
    assert everywhere == pytest.approx([tagged, tagged], abs=2e-6)


def test_the_summary_compares_vocabularies(score, files, expected):
    result = score(*files, "--summary")
    found = expected(zip(SOURCES, TARGETS, strict=True))
    total = sum(s.log_prob for s in found)
    for unit, count in (
        ("token", sum(s.num_tokens for s in found)),
        ("word", sum(len(target.split()) for target in TARGETS)),
        ("character", sum(map(len, TARGETS))),
    ):
        (row,) = (line.split() for line in result.err.splitlines() if line.startswith(unit))
        assert int(row[-3]) == count
        assert float(row[-2].replace(",", "")) == pytest.approx(math.exp(-total / count), rel=1e-3)
        assert float(row[-1]) == pytest.approx(-total / count / math.log(2), abs=1e-3)


def test_long_lines_and_unknown_pieces_are_told(score, write):
    line = "the dog sees the cat and " * 100
    result = score(write("a.en", [line]), write("a.de", [line]))
    assert "scored whole: 1" in result.err
    assert "unknown tokens" not in result.err


def test_bytes_that_are_no_text_are_told_of_either_side(score, write, tmp_path):
    (tmp_path / "b.de").write_bytes(b"the \xff dog\n")
    result = score(write("a.en", ["the dog"]), tmp_path / "b.de")
    assert result.code == 0
    assert "b.de" in result.err


def test_empty_files_give_nothing(score, write):
    for arguments in ((write("a.en", ""), write("a.de", "")), (write("a.tsv", ""),), (write("a.jsonl", ""),)):
        result = score(*arguments, "--summary")
        assert (result.code, result.out) == (0, "")
        assert "nan" not in result.err


def test_pairs_without_a_score_keep_their_place(score, write):
    rows = [
        '{"source": "a dog", "target": "a cat"}',
        '{"source": "a dog"}',
        "no",
        '{"source": "a", "target": "b", "tag": "<x>"}',
    ]
    path = write("a.jsonl", rows)
    result = score(path)
    answers = [json.loads(line) for line in result.out.splitlines()]
    assert [answer["log_prob"] is None for answer in answers] == [False, True, True, True]
    assert "no text under 'target' or 'translation'" in answers[1]["error"]
    assert f"{path}:4: the tag '<x>' is no piece of the model's source vocabulary; answered without" in result.err
    assert "pairs without a score: 3" in result.err
    stopped = score(path, "--strict")
    assert (stopped.code, len(stopped.out.splitlines())) == (3, 1)
    assert f"at: {path}:2" in stopped.err
    too_long = score(write("a.en", ["a", "b"]), write("a.de", ["dog " * 5000, "b"]))
    assert too_long.out.splitlines()[0] == ""
    assert "a.de:1: the target has 20,001 tokens, and at most 4,096 can be scored; answered" in too_long.err


def test_an_n_best_list_gets_the_scores_that_it_has(score, n_best, expected):
    source, path, answers = n_best
    result = score(source, "--n-best", path)
    assert result.code == 0
    old, new = ([parse_candidate(line, "") for line in text.splitlines()] for text in (path.read_text(), result.out))
    assert sorted((c.index, c.text) for c in old) == sorted((c.index, c.text) for c in new)
    assert [c.index for c in new] == sorted(c.index for c in old)
    for i in range(len(LINES)):
        of_one = [c.score for c in new if c.index == i]
        assert of_one == sorted(of_one, reverse=True)
    # Where a hypothesis has the pieces that its text has by itself, the score is that of the search.
    texts = {(i, a["translation"]): a for i, answer in enumerate(answers) if LINES[i] for a in answer["alternatives"]}
    scored = expected([(LINES[i], text) for i, text in texts])
    same = {key for (key, a), s in zip(texts.items(), scored, strict=True) if a["tokens"] == list(s.tokens)}
    assert len(same) >= 4
    for candidate in new:
        if (key := (candidate.index, candidate.text)) in same:
            close = 1e-4 * len(texts[key]["tokens"])
            assert candidate.score == pytest.approx(texts[key]["score"], abs=close)


def test_weights_run_from_the_old_score_to_the_new(score, write):
    source = write("a.en", ["the dog", "the cat"])
    lines = ["0 ||| a dog ||| -1.000000", "0 ||| the street ||| -2.000000", "1 ||| a ||| b ||| -0.500000"]
    path = write("a.nbest", lines)
    assert score(source, "--n-best", path, "--weight", 0).out.splitlines() == lines
    new = {c.text: c.score for c in (parse_candidate(x, "") for x in score(source, "--n-best", path).out.splitlines())}
    half = score(source, "--n-best", path, "--weight", 0.5).out.splitlines()
    assert {c.text: c.score for c in (parse_candidate(x, "") for x in half)} == pytest.approx(
        {
            "a dog": (new["a dog"] - 1) / 2,
            "the street": (new["the street"] - 2) / 2,
            "a ||| b": (new["a ||| b"] - 0.5) / 2,
        },
        abs=2e-6,
    )


def test_reranking_writes_the_best_text_of_each_source(score, write):
    source = write("a.en", ["the dog", "nothing", "the cat"])
    path = write("a.nbest", ["0 ||| a ||| -9", "0 ||| dog ||| -1", "2 ||| x ||| -1", "2 ||| y ||| -0.5"])
    result = score(source, "--n-best", path, "--rerank", "--weight", 0)
    assert result.out.splitlines() == ["dog", "", "y"]
    assert "without a candidate in the list: 1, answered with an empty line" in result.err
    best = score(source, "--n-best", path).out.splitlines()
    firsts = [parse_candidate(line, "").text for line in (best[0], best[2])]
    reranked = score(source, "--n-best", path, "--rerank", "--quiet").out.splitlines()
    assert [reranked[0], reranked[2]] == firsts


def test_what_cannot_be_scored_comes_last(score, write):
    path = write("a.nbest", ["0 ||| " + "dog " * 5000 + "||| 5", "0 ||| dog ||| -1"])
    result = score(write("a.en", ["the dog"]), "--n-best", path)
    assert [parse_candidate(line, "").score > -math.inf for line in result.out.splitlines()] == [True, False]
    assert "it comes last" in result.err
    assert score(write("a.en", ["the dog"]), "--n-best", path, "--strict").code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message", "fix"),
    [
        (["in.en"], 2, "plain text needs two files", "give TARGET or --n-best"),
        ([], 2, "plain text needs two files", "--format tsv or jsonl"),
        (["in.en", "short.de"], 3, "short.de has 2 lines and in.en has 5", "line i belongs to line i"),
        (["short.de", "in.en"], 3, "short.de has 2 lines and in.en has 5", "line i belongs to line i"),
        (["in.en", "-"], 3, "standard input has 1 line and in.en has more", "line i belongs to line i"),
        (["in.en", "none.de"], 3, "no such file", "check the path"),
        (["-", "-"], 2, "both inputs are standard input", "give a file for one of them"),
        (["in.en", "in.de", "--rerank"], 2, "--rerank is of n-best lists", "give the list with --n-best"),
        (["in.en", "in.de", "--weight", "0.5"], 2, "--weight is of n-best lists", "give the list with --n-best"),
        (["in.en", "--n-best", "in.de"], 3, "not a line of an n-best list", "sentence from 0 ||| text ||| score"),
        (["in.en", "--n-best", "late.nb"], 3, "sentence 9 is not there", "the source that the list was made from"),
        (["in.en", "--n-best", "mixed.nb"], 3, "sentence 0 comes after sentence 1", "sort -s -n -k 1,1"),
        (["in.en", "--n-best", "late.nb", "--json"], 2, "--json does not go with --n-best", "leave one of them out"),
        (
            ["in.en", "--n-best", "late.nb", "--tokens"],
            2,
            "--tokens does not go with --n-best",
            "leave one of them out",
        ),
        (["in.en", "in.de", "--n-best", "late.nb"], 2, "TARGET does not go with --n-best", "leave one of them out"),
        (["in.en", "in.de", "--format", "tsv"], 2, "--format is of one file", "leave out TARGET or --format"),
        (["in.en", "in.de", "-o", "in.de"], 2, "TARGET and -o are the same file", "another name"),
        (["no.tsv"], 3, "no column is named 'target' or 'translation'", "'target'"),
        (["in.en", "in.de", "--tag", "<x>"], 4, "the tag '<x>' is no piece", "give a tag"),
    ],
)
def test_mistakes_get_one_line_and_a_fix(
    score, files, write, stdin, tmp_path, monkeypatch, arguments, code, message, fix
):
    monkeypatch.chdir(tmp_path)
    write("short.de", ["a", "b"])
    write("late.nb", ["9 ||| a ||| -1"])
    write("mixed.nb", ["1 ||| a ||| -1", "0 ||| a ||| -1"])
    write("no.tsv", ["source\ttext", "a\tb"])
    stdin("a dog\n")
    result = score(*arguments)
    assert result.code == code
    assert message in result.err
    assert fix in result.fixes[0]
    assert "Traceback" not in result.err
