import json
import re

import pytest

SENTENCE = "the big dog sees a cat."
FAST = ["--device", "cpu", "--threads", "1", "--beam-size", "2"]


@pytest.fixture
def explain(run, model_folder):
    """Return a function that runs `mtkit explain` in this process."""
    return lambda *arguments: run("explain", "--model", model_folder, *FAST, *arguments)


def test_text(explain):
    result = explain(SENTENCE, "--target", "the cat, it sees")
    lines = result.out.splitlines()
    assert (result.code, lines[0], lines[1]) == (0, f"source       {SENTENCE}", "translation  the cat, it sees")
    assert lines[2].startswith("log_prob     -")
    links = [link.split("-") for link in lines[3].split()[1:]]
    source, target = SENTENCE.split(), ["the", "cat,", "it", "sees"]
    named = [f"{source[int(i)]} = {target[int(j)]}" for i, j in links]
    assert lines[4].strip() == ", ".join(named)
    assert len(links) == 4
    rows = {line.split("  ")[0] for line in lines[7:]}
    assert rows == {"the", "cat,", "it", "sees", "</s>"}
    for line in lines[7:]:
        weights = [float(weight) for weight in re.findall(r" (\d\.\d\d)\b", line)]
        assert weights == sorted(weights, reverse=True)
        assert weights[0] >= 1 / 7  # of six words and the end
    # Of the encoder, rows are source words; pieces are shown if asked for.
    rows = [line.split()[0] for line in explain(SENTENCE, "--attention", "encoder", "--pieces").out.splitlines()[7:]]
    assert rows[0].startswith("▁")
    assert rows[-1] == "</s>"


def test_the_name_of_a_file_is_warned_of(explain, tmp_path):
    path = tmp_path / "text.en"
    path.write_text("the dog\n", encoding="utf-8")
    result = explain(path)
    assert result.code == 0
    assert f"warning: {path} is a file, and only its name is explained" in result.err
    assert "warning" not in explain(SENTENCE).err
    assert "the sentence is too long" in explain("the dog " * 600).err  # and so is the name of a file


def test_json_and_page(explain, tmp_path, open_page):
    result = explain(SENTENCE, "-o", tmp_path / "a.JSON")
    assert (result.code, result.out) == (0, "")
    data = json.loads((tmp_path / "a.JSON").read_text(encoding="utf-8"))
    assert (data["source"], data["is_forced"], data["beam_size"]) == (SENTENCE, False, 2)
    assert result.err == f"wrote {tmp_path / 'a.JSON'}: {data['translation']}\n"
    assert explain(SENTENCE, "-o", tmp_path / "a.html").code == 0
    page = open_page(tmp_path / "a.html")
    assert SENTENCE.split()[1] in page.inner_text("body")


def test_pictures(explain, tmp_path):
    picture = tmp_path / "new" / "a.png"
    result = explain(SENTENCE, "-o", picture, "--attention", "encoder", "--layer", "1", "--head", "2", "--word", "dog")
    assert (result.code, result.out) == (0, "")
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_each_flag_changes_the_picture(explain, tmp_path):
    choices = ["", "--attention decoder", "--layer 1", "--head 1", "--head 2", "--grid", "--word cat", "--pieces"]
    for number, flags in enumerate(choices):
        assert explain(SENTENCE, "--target", "the cat", "-o", tmp_path / f"{number}.svg", *flags.split()).code == 0
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == len(choices)


@pytest.mark.parametrize(
    ("arguments", "code", "message", "fix"),
    [
        ([""], 3, "empty", "in quotes"),
        ([SENTENCE, "--target", ""], 3, "target is empty", "leave --target out"),
        ([SENTENCE, "--layer", "7"], 2, "no layer 7: the model has 1", "from 1 to 1"),
        ([SENTENCE, "--head", "3"], 2, "no head 3: the model has 2", "from 1 to 2"),
        ([SENTENCE, "--set", "decoding.alignment_layer=3"], 2, "no decoder layer 3", "from 1 to 1"),
        ([SENTENCE, "-o", "x.gif"], 2, "'.gif'", ".png"),
        ([SENTENCE, "-o", "x"], 2, "the name must tell the format", ".html"),
        ([SENTENCE, "--grid"], 2, "--grid is for pictures", "-o picture.png"),
        ([SENTENCE, "--word", "dog", "-o", "x.json"], 2, "--word is for pictures", "-o picture.png"),
        ([SENTENCE, "--grid", "--word", "dog", "-o", "x.png"], 2, "exclude each other", "one of them"),
        ([SENTENCE, "--word", "horse", "-o", "x.png"], 3, "no word 'horse'", "give one of"),
        ([SENTENCE, "--tag", "<2fr>"], 4, "<2fr>", "or none"),
        ([SENTENCE, "--set", "decoding.sampling=true"], 2, "only a beam search", "turn it off"),
    ],
)
def test_a_mistake_is_told_in_one_line(explain, tmp_path, monkeypatch, arguments, code, message, fix):
    monkeypatch.chdir(tmp_path)
    result = explain(*arguments)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert len(result.fixes) == 1
    assert fix in result.fixes[0]
    assert not list(tmp_path.iterdir())
