"""The shell of all pages: data is text, whatever is in it, and nothing is asked for from outside."""

import json
import re
from importlib import resources

import pytest

from mtkit.pages import page as page_module
from mtkit.pages.page import build_page

NASTY = [
    "</script><script>document.title = 'broken'</script>",
    "<!-- <script>",
    "a & b &lt; c",
    "\u2028\u2029",
    "مرحبا",
]


@pytest.fixture
def assets(monkeypatch):
    """Let the page have the assets of all pages, and a script that lists the texts of its data."""
    folder = resources.files("mtkit.pages") / "assets"
    own = {"js": 'PAGE.append(element("ul", {}, DATA.texts.map((text) => element("li", {}, text))));', "css": ""}
    monkeypatch.setattr(
        page_module,
        "_read_assets",
        lambda _, kind: (folder / f"base.{kind}").read_text(encoding="utf-8") + own[kind],
    )


def test_data_survives_as_text(assets):
    text = build_page("run", "A <title> & more", {"texts": NASTY})
    embedded = re.search(r'id="data">(.*?)</script>', text, re.S)[1]
    assert json.loads(embedded) == {"texts": NASTY}
    assert "<title>A &lt;title&gt; &amp; more</title>" in text


def test_numbers_that_json_does_not_know_are_refused(assets):
    with pytest.raises(ValueError, match="JSON"):
        build_page("run", "x", {"texts": [], "loss": float("nan")})


def test_a_browser_shows_markup_as_text(assets, open_page, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(build_page("run", "Texts", {"texts": NASTY}), encoding="utf-8")
    page = open_page(path)
    assert page.title() == "Texts"
    assert page.locator("li").all_text_contents() == NASTY


def test_paper_is_white_and_has_the_colours_of_bars_and_cells(assets, open_page, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(build_page("run", "Texts", {"texts": NASTY}), encoding="utf-8")
    page = open_page(path, color_scheme="dark")
    style = "(() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.printColorAdjust]; })()"
    assert page.evaluate(style) == ["rgb(17, 18, 20)", "economy"]
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(style) == ["rgb(255, 255, 255)", "exact"]
