import io
import json
import re
import sys

import numpy as np
import pytest

from mtkit.corpus.reading import Reading
from mtkit.corpus.tables import read_tsv
from mtkit.inspection.embedding import Embedder
from mtkit.inspection.mapping import learn_projections
from mtkit.inspection.neighbours import PairScorer
from mtkit.inspection.vectors import build_vectors

LINES = ["the dog runs.", "", "a cat sees the man.", "the red house and that", "it was quick."]
OTHER = ["a woman jumps.", "it was quick.", "the red house and that", "", "the dog runs."]
FAST = ["--device", "cpu", "--threads", "1"]


@pytest.fixture
def embed(run, model_folder):
    """Return a function that runs `mtkit embed` with the model in this process."""
    return lambda *arguments: run("embed", "--model", model_folder, *FAST, *arguments)


@pytest.fixture
def expected(model_folder):
    """Return a function that embeds through the Python API."""

    def expected(lines, tag=None, **options):
        return Embedder.load(model_folder, device="cpu", threads=1, **options).embed(lines, tag)

    return expected


@pytest.fixture
def files(write):
    return write("a.txt", LINES), write("b.txt", OTHER)


@pytest.fixture
def stdin(monkeypatch):
    """Return a function that gives bytes as standard input."""
    return lambda content: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def rows(result):
    header, *lines = [line.split("\t") for line in result.out.splitlines()]
    return [dict(zip(header, line, strict=True)) for line in lines]


def cosines(left, right):
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(1) / np.where(norms == 0, 1, norms)


def test_vectors_go_to_a_file(embed, files, expected, tmp_path):
    result = embed(files[0], "-o", tmp_path / "x.npy")
    assert (result.code, result.out) == (0, "")
    said = r": 5 lines, \d\d tokens; empty lines, with a vector of zeros: 1; lines embedded in parts: 0\n"
    assert re.fullmatch(re.escape(str(files[0])) + said, result.err)
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), expected(LINES), atol=1e-6)


def test_vectors_go_to_standard_output_as_json_lines(embed, stdin, expected):
    stdin(b"the dog runs.\n\na \xff cat")
    result = embed()
    found = [json.loads(line) for line in result.out.splitlines()]
    assert [row["text"] for row in found] == ["the dog runs.", "", "a \ufffd cat"]
    vectors = np.array([row["vector"] for row in found], np.float32)
    np.testing.assert_allclose(vectors, expected(["the dog runs.", "", "a \ufffd cat"]), atol=1e-6)
    assert "warning: standard input: lines with bytes that are not UTF-8: 1 (the first is line 3)" in result.err


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--pooling", "max"], {"pooling": "max"}),
        (["--pooling", "first", "--layer", "1"], {"pooling": "first", "layer": 1}),
        (["--tag", "<2de>"], {"tag": "<2de>"}),
        (["--batch-size", "1"], {}),
    ],
)
def test_the_options_arrive(embed, files, expected, tmp_path, arguments, options):
    assert embed(files[0], "-o", tmp_path / "x.npy", *arguments).code == 0
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), expected(LINES, **options), atol=1e-6)


def test_similarity_is_a_cosine_a_line(embed, files, expected, tmp_path):
    result = embed(files[0], "--similarity", files[1])
    found = [float(line) for line in result.out.splitlines()]
    np.testing.assert_allclose(found, cosines(expected(LINES), expected(OTHER)), atol=2e-6)
    assert found[1] == found[3] == 0
    assert result.err.splitlines()[-1].startswith("5 lines compared, 0.")
    assert embed(files[0], "--similarity", files[1], "-o", tmp_path / "x.txt").out == ""
    assert (tmp_path / "x.txt").read_text() == result.out


def test_each_side_has_its_tag(embed, files, expected):
    def similarity(*arguments):
        return [float(line) for line in embed(files[0], "--similarity", files[1], *arguments).out.splitlines()]

    tagged = expected(LINES, "<2de>"), expected(OTHER, "<2de>")
    both, other = similarity("--tag", "<2de>"), similarity("--other-tag", "<2de>")
    np.testing.assert_allclose(both, cosines(*tagged), atol=2e-6)
    np.testing.assert_allclose(other, cosines(expected(LINES), tagged[1]), atol=2e-6)


def test_centring_is_by_side(embed, files, expected):
    def centred(vectors):
        is_there = vectors.any(1, keepdims=True)
        return (vectors - vectors.sum(0) / is_there.sum()) * is_there

    result = embed(files[0], "--similarity", files[1], "--centre")
    found = [float(line) for line in result.out.splitlines()]
    np.testing.assert_allclose(found, cosines(centred(expected(LINES)), centred(expected(OTHER))), atol=1e-5)


def test_parallel_text_teaches_how_the_sides_relate(embed, files, write, expected, tmp_path):
    words = ["dog", "cat", "man", "woman", "street", "house"]
    lines = [f"the {a} sees a {b} over the {c}." for a in words for b in words[:3] for c in words[3:]]
    others = [f"{c} {b} {a} and it was" for a in words for b in words[:3] for c in words[3:]]
    pair = write("p.txt", lines), write("q.txt", others)
    result = embed(files[0], "--similarity", files[1], "--parallel", *pair, "--other-tag", "<2de>")
    sides = [build_vectors(expected(LINES)), build_vectors(expected(OTHER, "<2de>"))]
    maps = learn_projections(build_vectors(expected(lines)), build_vectors(expected(others, "<2de>")))
    projected = [one.apply(side) for one, side in zip(maps, sides, strict=True)]
    wanted = list(PairScorer(*projected, "absolute").score_lines())
    np.testing.assert_allclose([float(line) for line in result.out.splitlines()], wanted, atol=1e-4)
    plain = embed(files[0], "--similarity", files[1], "--other-tag", "<2de>")
    assert plain.out != result.out
    for path in (*pair, *files):
        assert embed(path, "-o", path.with_suffix(".npy")).code == 0
    made = [path.with_suffix(".npy") for path in (*pair, *files)]
    assert embed(files[0], "--similarity", made[3], "--parallel", *made[:2]).code == 0


def test_what_is_wrong_with_parallel_text_shows_before_the_rest_is_embedded(embed, files, write):
    short = write("short.txt", ["The dog runs."])
    result = embed(files[0], "--mine", files[1], "--parallel", files[0], short)
    assert result.code == 3
    assert "lines beside 1" in result.err
    assert f"{files[1]}: " not in result.err


def test_so_much_parallel_text_is_read(embed, files, write, monkeypatch):
    monkeypatch.setattr("mtkit.cli.embed.MAX_PARALLEL", 30)
    pair = [write(f"{count}.txt", [LINES[line % 5] or "a" for line in range(count)]) for count in (30, 40)]
    assert embed(files[0], "--similarity", files[1], "--parallel", *pair).code == 0
    monkeypatch.setattr("mtkit.cli.embed.MAX_PARALLEL", 10)
    assert "10 pairs of lines are too few" in embed(files[0], "--similarity", files[1], "--parallel", *pair).err


def test_neighbours_are_listed_best_first(embed, files):
    found = rows(embed(files[0], "--neighbours", files[1], "--k", "2", "--margin", "absolute"))
    assert [row["source_line"] for row in found] == ["1", "1", "3", "3", "4", "4", "5", "5"]
    assert [row["target_line"] for row in found][::2] == ["5", found[2]["target_line"], "3", "2"]
    assert [found[place]["target"] for place in (0, 4, 6)] == [LINES[0], LINES[3], LINES[4]]
    scores = [float(row["score"]) for row in found]
    assert all(first >= second for first, second in zip(scores[::2], scores[1::2], strict=True))
    assert [round(scores[place], 5) for place in (0, 4, 6)] == [1, 1, 1]


@pytest.mark.parametrize("margin", ["absolute", "distance", "ratio"])
def test_mining_finds_the_same_lines(embed, files, margin):
    result = embed(files[0], "--mine", files[1], "--margin", margin, "--direction", "intersection")
    found = {(row["source_line"], row["target_line"]): row for row in rows(result)}
    assert {("1", "5"), ("4", "3"), ("5", "2")} <= set(found)
    assert found["4", "3"]["source"] == found["4", "3"]["target"] == LINES[3]
    scores = [float(row["score"]) for row in rows(result)]
    assert scores == sorted(scores, reverse=True)
    assert result.err.splitlines()[-1] == f"{len(scores)} pairs of 5 and 5 lines"


def test_the_threshold_leaves_pairs_out(embed, files):
    arguments = ["--mine", files[1], "--margin", "absolute"]
    kept = rows(embed(files[0], *arguments, "--threshold", "0.9999"))
    assert [(row["source_line"], row["target_line"]) for row in kept] != []
    assert len(rows(embed(files[0], *arguments, "--threshold", "2"))) == 0
    assert len(kept) == 3


def test_tabs_and_odd_separators_stay_in_their_column(embed, write):
    text = write("a.txt", ["the\tdog\u2028runs", "a cat"])
    found = rows(embed(text, "--mine", text))
    assert {row["source"] for row in found} == {"the dog runs", "a cat"}


def test_what_is_mined_is_read_as_parallel_text(embed, files, tmp_path):
    assert embed(files[0], "--mine", files[1], "-o", tmp_path / "pairs.tsv").code == 0
    found = rows(embed(files[0], "--mine", files[1]))
    ((sources, targets),) = read_tsv(tmp_path / "pairs.tsv", None, ("en", "de"), 100, Reading())
    assert sources == [row["source"] for row in found]
    assert targets == [row["target"] for row in found]


def test_a_long_text_is_embedded_a_window_at_a_time(embed, write, monkeypatch, tmp_path):
    sizes = []
    embed_window = Embedder.embed_window

    def watch(self, lines, tag=None):
        sizes.append(len(lines))
        return embed_window(self, lines, tag)

    monkeypatch.setattr(Embedder, "embed_window", watch)
    text = write("long.txt", [f"the dog {number}" for number in range(150)])
    assert embed(text, "-o", tmp_path / "x.npy", "--batch-size", "4").code == 0
    assert sizes == [64, 64, 22]
    assert np.load(tmp_path / "x.npy").shape == (150, 16)


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".jsonl"])
def test_vectors_made_before_need_no_model(embed, run, files, tmp_path, suffix):
    for path in files:
        assert embed(path, "-o", path.with_suffix(suffix)).code == 0
    made = [path.with_suffix(suffix) for path in files]
    for flag in ("--similarity", "--neighbours", "--mine"):
        now = embed(files[0], flag, files[1])
        before = run("embed", made[0], flag, made[1])
        mixed = embed(files[0], flag, made[1])
        assert before.code == mixed.code == 0, before.err
        if flag == "--similarity" or suffix != ".npy":
            assert before.out == mixed.out == now.out
        else:
            cut = ["\t".join(line.split("\t")[:3]) for line in now.out.splitlines()]
            assert before.out.splitlines() == mixed.out.splitlines() == cut


def test_standard_input_can_be_the_first_text(embed, stdin, files):
    expected = embed(files[0], "--mine", files[1]).out
    stdin(files[0].read_bytes())
    assert embed("-", "--mine", files[1]).out == expected


@pytest.mark.parametrize(
    ("arguments", "message", "fix"),
    [
        (["missing.txt"], "no such file", "check the path"),
        (["missing.npy", "--mine", "a.txt"], "no such file", "check the path"),
        (["a.txt", "--mine", "missing.txt"], "no such file", "check the path"),
        (["a.txt", "-o", "x.txt"], "the suffix does not tell", "end the name in .npy"),
        (["a.txt", "-o", "a.txt"], "the input and -o are the same file", "give -o another name"),
        (["a.txt", "--mine", "b.txt", "-o", "b.txt"], "b.txt and -o are the same file", "give -o another name"),
        (["a.txt", "--mine", "b.txt", "--similarity", "b.txt"], "two comparisons", "give only --similarity"),
        (["a.txt", "--threshold", "1"], "--threshold is a part of --mine", "use --mine, or leave it out"),
        (["a.txt", "--margin", "ratio"], "there is nothing to compare", "add --similarity, --neighbours or --mine"),
        (["a.txt", "--other-tag", "x"], "there is nothing to compare", "add --similarity, --neighbours or --mine"),
        (["a.txt", "--centre"], "there is nothing to compare", "add --similarity, --neighbours or --mine"),
        (["a.txt", "--parallel", "a.txt", "b.txt"], "there is nothing to compare", "add --similarity"),
        (["a.txt", "--mine", "b.txt", "--parallel", "a.txt", "b.txt"], "3 pairs of lines are too few", "give a few"),
        (["a.txt", "--mine", "b.txt", "--parallel", "a.txt", "short.txt"], "5 lines beside 2", "give files that"),
        (["a.txt", "--mine", "b.txt", "--parallel", "a.txt", "b.txt", "--centre"], "--parallel centres", "leave it"),
        (["a.txt", "--mine", "b.txt", "--parallel", "a.txt"], "option '--parallel' requires 2 arguments", "see mtkit"),
        (["a.txt", "--neighbours", "b.txt", "--direction", "max"], "--direction is a part of --mine", "use --mine"),
        (["a.txt", "--mine", "b.txt", "--k", "2"], "--k is a part of --neighbours", "use --neighbours"),
        (["a.txt", "--similarity", "short.txt"], "5 lines beside 2", "give files that are aligned"),
        (["a.txt", "--mine", "blank.txt"], "no line with text in it", "give a file with one sentence"),
        (["a.txt", "--mine", "void.txt"], "no line with text in it", "give a file with one sentence"),
        (["a.txt", "--mine", "-"], "standard input can only be the first", "name a file"),
        (["a.txt", "--tag", "<2xx>"], "the tag '<2xx>' is no piece", "give a tag of the corpora"),
        (["a.txt", "--mine", "b.txt", "--other-tag", "<2xx>"], "the tag '<2xx>' is no piece", "give a tag"),
        (["a.txt", "--layer", "7"], "the encoder has no layer 7", "give a layer from 1 to 1"),
        (["a.npy"], "these are vectors already", "give text, or compare them"),
        (["a.npy", "--mine", "a.npy"], "vectors need no model", "leave it out"),
        (["a.txt", "--mine", "a.npy"], "vectors of 16 and of 3 dimensions", "embed all texts with the same"),
        (["a.txt", "--mine", "bad.npy"], "cannot read it as .npy", "embed the text again"),
        (["a.txt", "--pooling", "sum"], "invalid value for '--pooling'", "see mtkit embed --help"),
        (["a.txt", "--k", "0"], "invalid value for '--k'", "see mtkit embed --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_in_one_line(embed, files, write, tmp_path, monkeypatch, arguments, message, fix):
    monkeypatch.chdir(tmp_path)
    write("short.txt", ["a", "b"])
    write("blank.txt", ["", " "])
    write("void.txt", "")
    write("bad.npy", "text")
    np.save(tmp_path / "a.npy", np.ones((5, 3), np.float32))
    before = files[0].read_bytes()
    result = embed(*arguments)
    assert result.code in (2, 3, 4)
    assert result.out == ""
    problems = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(problems) == len(result.fixes) == 1, result.err
    assert problems[0].startswith(f"error: {message}")
    assert result.fixes[0].startswith(fix)
    assert files[0].read_bytes() == before


def test_unequal_line_counts_name_the_files(embed, files, write):
    short = write("short.txt", ["a", "b"])
    assert f"   at: {files[0]}, {short}\n" in embed(files[0], "--similarity", short).err


def test_text_without_a_model(run, files):
    result = run("embed", files[0])
    assert result.code == 2
    assert result.fixes == ["add --model RUN"]
    assert run("embed", files[0], "--model", files[0].parent).code == 4


@pytest.mark.parametrize(
    "option",
    [
        ["--pooling", "mean"],
        ["--layer", "2"],
        ["--tag", "<x>"],
        ["--other-tag", "<x>"],
        ["--batch-size", "2"],
        ["--precision", "bf16"],
        ["--set", "decoding.batch_size=2"],
    ],
    ids=lambda option: option[0],
)
def test_vectors_need_nothing_that_is_for_text(run, tmp_path, option):
    np.save(tmp_path / "a.npy", np.ones((5, 3), np.float32))
    arguments = ["embed", tmp_path / "a.npy", "--similarity", tmp_path / "a.npy"]
    assert run(*arguments).code == 0
    result = run(*arguments, *option)
    assert (result.code, result.out, result.fixes) == (2, "", ["leave it out"])
    assert f"vectors need no {option[0][2:]}\n" in result.err
