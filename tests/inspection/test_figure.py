"""Pictures: what is in them, and what is told where they cannot be made."""

import html
import struct
import sys
from dataclasses import replace

import pytest

from mtkit.config.decoding import DecodingSection
from mtkit.errors import DataError, RecipeError
from mtkit.inspection.explanation import explain
from mtkit.inspection.figure import draw


@pytest.fixture(scope="module")
def explanation(loaded):
    return explain(loaded, "the big dog sees a cat.", DecodingSection(beam_size=2), "Das große $Tier$ läuft über.")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kind": "encoder", "layer": 1, "head": 2},
        {"kind": "decoder", "is_grid": True},
        {"kind": "encoder", "word": "CAT"},
    ],
)
def test_pictures(explanation, tmp_path, options, capsys):
    draw(explanation, tmp_path / "a.png", **options)
    content = (tmp_path / "a.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    assert 200 < width < 6000
    assert 200 < height < 6000
    assert capsys.readouterr().err == ""


def test_vector_pictures_are_the_same_each_time(explanation, tmp_path):
    for name in ("a.svg", "b.svg", "a.pdf"):
        draw(explanation, tmp_path / name, "cross", 1)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.pdf").read_bytes()[:5] == b"%PDF-"
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "<svg" in text
    # Text is drawn as shapes, so that no font is asked for; the comments name it.
    for word in ("große", "läuft", "cat.", "</s>", "encoder-decoder attention, layer 1"):
        assert html.escape(word) in text


def test_a_word_that_is_not_there(explanation, tmp_path):
    with pytest.raises(DataError, match="no word 'horse'") as caught:
        draw(explanation, tmp_path / "a.png", "encoder", word="horse")
    assert "the big dog" in caught.value.fix
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_extra_is_named(explanation, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RecipeError, match="matplotlib") as caught:
        draw(explanation, tmp_path / "a.png")
    assert "mtkit[plot]" in caught.value.fix


@pytest.mark.parametrize(("script", "text"), [("Thai", "สวัสดี"), ("Hebrew", "שלום"), ("Tamil", "தமிழ்")])
def test_scripts_whose_font_is_installed(explanation, tmp_path, capsys, script, text):
    from matplotlib import font_manager

    if f"Noto Sans {script}" not in {font.name for font in font_manager.fontManager.ttflist}:
        pytest.skip(f"the font Noto Sans {script} is not installed")
    named = replace(explanation, source_tokens=[f"▁{text}"] * len(explanation.source_tokens))
    draw(named, tmp_path / "a.png")
    assert "no font" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["שלום", "كتاب", "हिन्दी"])
def test_an_old_matplotlib_that_orders_letters_wrongly_is_told_of(explanation, tmp_path, capsys, monkeypatch, text):
    import matplotlib as mpl

    named = replace(explanation, source_tokens=[f"▁{text}"] * len(explanation.source_tokens))
    message = "writes right-to-left and Indic words wrongly"
    for version, shown, is_told in (("3.11.0", named, False), ("3.10.8", explanation, False), ("3.10.8", named, True)):
        monkeypatch.setattr(mpl, "__version__", version)
        draw(shown, tmp_path / "a.svg")
        assert (message in capsys.readouterr().err) == is_told


def test_characters_that_no_font_has(loaded, tmp_path, capsys):
    draw(explain(loaded, "the dog \U00012000", None, "a \U00012000 cat"), tmp_path / "a.png")
    assert "no font of this machine" in capsys.readouterr().err
