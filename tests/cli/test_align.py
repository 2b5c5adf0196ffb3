import json
import re
import shutil

import pytest
import torch

from mtkit.checkpoint.model_folder import load_model
from mtkit.config.decoding import DecodingSection
from mtkit.inspection import pair_alignment
from mtkit.inspection.pair_alignment import align_pairs, find_agreement, list_settings

SOURCE = ["the big dog runs.", "", "a cat sees the man"]
TARGET = ["the dog, it runs.", "a man", "the cat sees"]


@pytest.fixture
def align(run, model_folder):
    """Return a function that runs `mtkit align` in this process."""
    return lambda *arguments: run("align", "--model", model_folder, "--device", "cpu", "--threads", "1", *arguments)


@pytest.fixture
def texts(write):
    return write("a.en", SOURCE), write("a.de", TARGET)


def test_links_of_each_pair(align, texts, tmp_path):
    result = align(*texts)
    assert result.code == 0
    lines = result.out.split("\n")
    assert [len(line.split()) for line in lines] == [4, 0, 3, 0]
    for line, source in zip(lines, SOURCE, strict=False):
        pairs = [tuple(map(int, link.split("-"))) for link in line.split()]
        assert pairs == sorted(pairs)
        assert all(i < len(source.split()) for i, _ in pairs)
    assert result.err == "3 pairs, 7 links\n"
    assert align(*texts, "-o", tmp_path / "links").out == ""
    assert (tmp_path / "links").read_text(encoding="utf-8") == result.out
    signs = align(*texts, "--words", "signs", "--layer", "1", "--step", "input")
    assert [len(line.split()) for line in signs.out.split("\n")] == [6, 0, 3, 0]


def test_links_before_a_line_that_is_too_long_are_written(align, texts, tmp_path, monkeypatch):
    complete = align(*texts).out.splitlines()
    monkeypatch.setattr(pair_alignment, "MAX_TOKENS", 40)
    monkeypatch.setattr(pair_alignment, "_WINDOW_PAIRS", 2)
    (tmp_path / "a.de").write_text("\n".join([*TARGET[:2], "the cat " * 30, ""]), encoding="utf-8")
    result = align(*texts)
    assert (result.code, result.out.splitlines()) == (3, complete[:2])
    assert re.search(r"side of the pair has \d+ tokens, and at most 40 can be aligned\n +at: line 3\n", result.err)
    assert align(*texts, "-o", tmp_path / "links").code == 3
    assert not (tmp_path / "links").exists()


def test_own_links_are_right_and_their_setting_is_the_best(align, texts, write):
    gold = write("gold", align(*texts, "--step", "input").out)
    result = align(*texts, "--gold", gold)
    header, *rows = [line.split() for line in result.out.splitlines()]
    assert header == ["layer", "step", "precision", "recall", "F1", "AER"]
    assert [row[-5:-4] for row in rows] == [["output"], ["output"], ["input"], ["input"]]
    assert rows[2] == ["1", "input", "1.000", "1.000", "1.000", "0.000"]
    assert "best F1: layer 1, step input; --set decoding.alignment_layer=1" in result.err
    assert "--set decoding.alignment_step=input" in result.err
    only = align(*texts, "--gold", gold, "--layer", "1", "--step", "output")
    assert len(only.out.splitlines()) == 2
    assert only.err == ""
    assert align(*texts, "--gold", gold, "--set", "decoding.alignment_step=output").out.splitlines()[1:] == [
        line for line in result.out.splitlines() if line.split()[:4] == ["mean", "of", "all", "output"]
    ]


def test_agreement_with_the_other_direction(align, texts, model_folder):
    result = align(*texts, "--reverse-model", model_folder, "--reverse-tag", "<2de>")
    header, *rows = result.out.splitlines()
    assert header.split("  ")[0] == "layer"
    assert "F1 between both" in header
    assert len(rows) == 4
    assert "best F1 between both" in result.err
    loaded = load_model(model_folder, torch.device("cpu"))
    settings, pairs = list_settings(1), list(zip(SOURCE, TARGET, strict=True))
    decoding = DecodingSection(tag="<2de>")
    links = align_pairs(loaded, pairs, settings)
    reverse = align_pairs(loaded, [pair[::-1] for pair in pairs], settings, decoding)
    expected = [f"{agreement:.3f}" for _, agreement in find_agreement(links, reverse).values()]
    assert [re.findall(r"\d\.\d{3}", row)[0] for row in rows] == expected


def test_a_second_model_of_the_same_direction_is_refused(run, texts, model_folder, tmp_path):
    folders = {}
    for languages in (("en", "de"), ("de", "en"), ("fr", "en")):
        folder = folders["-".join(languages)] = tmp_path / "-".join(languages)
        shutil.copytree(model_folder, folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config |= dict(zip(("source_language", "target_language"), languages, strict=True))
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def align(*arguments):
        return run("align", "-m", folders["en-de"], "--threads", "1", *texts, "--reverse-model", *arguments)

    for other in ("en-de", "fr-en"):
        result = align(folders[other])
        assert (result.code, result.out) == (4, "")
        assert f"it translates {other.replace('-', ' to ')}" in result.err
        assert "other direction" in result.fixes[0]
    assert align(folders["en-de"], "--reverse-tag", "<2de>").code == 0
    assert align(folders["de-en"]).code == align(model_folder).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message", "fix"),
    [
        (["a.en", "none.de"], 3, "no", "check"),
        (["a.en", "short"], 3, "a.en has 3 lines, and short has 1", "as many lines"),
        (["a.en", "a.de", "--gold", "short"], 3, "a.en has 3 lines, and short has 1", "as many lines"),
        (["a.en", "a.de", "--gold", "outside"], 3, "the link 0-4 is outside a pair of 4 and 4 words", "--words signs"),
        (["a.en", "a.de", "--gold", "a.en"], 3, "'the' is no word link", "0-0 1-2"),
        (["a.en", "a.de", "--layer", "2"], 2, "no decoder layer 2", "from 1 to 1"),
        (["a.en", "a.de", "--tag", "<2fr>"], 4, "<2fr>", "or none"),
        (["a.en", "a.de", "--gold", "outside", "-o", "x"], 2, "print a table", "one, then the other"),
        (["a.en", "a.de", "--gold", "outside", "--reverse-model", "m"], 2, "exclude each other", "one of them"),
        (["a.en", "a.de", "-o", "a.en"], 2, "the source and -o are the same file", "another name"),
        (["a.en", "a.de", "--reverse-tag", "<2de>"], 2, "--reverse-tag is for", "add --reverse-model"),
    ],
)
def test_a_mistake_is_told_in_one_line(align, texts, write, tmp_path, monkeypatch, arguments, code, message, fix):
    monkeypatch.chdir(tmp_path)
    write("short", ["0-0"])
    write("outside", ["0-4", "", ""])
    result = align(*arguments)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert len(result.fixes) == 1
    assert fix in result.fixes[0]


def test_translate_writes_links_beside_any_format(run, model_folder, write, tmp_path):
    import json

    source = write("in.txt", ["the dog runs", "", "a cat sees the man"])
    arguments = ["translate", "--model", model_folder, "--device", "cpu", "--threads", "1", "--beam-size", "2", source]
    plain = run(*arguments)
    result = run(*arguments, "--n-best", "2", "--alignment-file", tmp_path / "links")
    lines = (tmp_path / "links").read_text(encoding="utf-8").split("\n")[:-1]
    assert len(lines) == len(result.out.splitlines()) == 6
    answers = [json.loads(line) for line in run(*arguments, "--json", "--alignment").out.splitlines()]
    expected = [
        " ".join(f"{i}-{j}" for i, j in answer["alignment"] or []) if "alignment" in answer else ""
        for answer in answers
    ]
    assert lines[::2] == expected
    assert any(lines)
    assert [answer["translation"] for answer in answers] == plain.out.splitlines()
    refused = run(*arguments, "-o", tmp_path / "x", "--alignment-file", tmp_path / "x")
    assert (refused.code, "same file" in refused.err) == (2, True)


def test_characters_of_scripts_without_spaces_are_linked_on_demand(align, run, model_folder, write, tmp_path):
    spaced = write("spaced", ["犬 が 走り ます 。", "a cat"])
    source, target = write("ja", ["ab犬が走ります。とても速い。", "a cat"]), write("en", ["the dog runs", "a cat"])
    assert "warning" not in align(spaced, target).err
    result = align(target, source)
    warning = "warning: lines written without spaces: 1; links count what stands between spaces as one word: "
    assert f"{warning}--words signs" in result.err
    assert {link.split("-")[1] for link in result.out.split("\n")[0].split()} == {"0"}
    signs = align(target, source, "--words", "signs")
    assert "warning" not in signs.err
    assert {int(link.split("-")[1]) for link in signs.out.split("\n")[0].split()} == set(range(14))
    gold = write("gold", ["0-13", ""])
    assert align(target, source, "--gold", gold).code == 3
    assert align(target, source, "--gold", gold, "--words", "signs").code == 0
    arguments = ["translate", "--model", model_folder, "--device", "cpu", "--threads", "1", "--beam-size", "1", source]
    assert f"{warning}mtkit align --words signs" in run(*arguments, "--json", "--alignment").err
    assert f"{warning}mtkit align --words signs" in run(*arguments, "--alignment-file", tmp_path / "links").err
    assert "without spaces" not in run(*arguments).err
