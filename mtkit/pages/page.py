"""Pages that people open in a browser: one file each, which holds its style, its script and its data.

A page asks for nothing from outside (a content security policy forbids it), opens from disk, and follows the light or
dark colours of the system. Its data is JSON in the page; the script turns it into elements and never into markup, so
that `<script>` in a sentence is text.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, Literal

from mtkit.version import __version__

PageName = Literal["evaluation", "run", "explain"]

# The assets of each page, in order: a style and a script each.
_PARTS: dict[PageName, tuple[str, ...]] = {
    "evaluation": ("base", "differences", "plots", "sentences", "evaluation"),
    "run": ("base", "differences", "plots", "run"),
    "explain": ("base", "explain_parts", "explain_heads", "explain_alignment", "explain_steps", "explain"),
}

_SHELL = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<meta name="generator" content="mtkit {version}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}
</style>
</head>
<body>
<main id="page">
<h1>{title}</h1>
<noscript><p>This page needs JavaScript, all of which is in it.</p></noscript>
</main>
<script type="application/json" id="data">{data}</script>
<script>
{script}
</script>
</body>
</html>
"""


def build_page(name: PageName, title: str, data: Mapping[str, Any]) -> str:
    """Return a page as text.

    Args:
        name: Which: its style and script are `assets/NAME.css` and `assets/NAME.js`, behind those that pages share.
        title: Its heading.
        data: What it shows: numbers, text, lists and mappings of these; no number that is not finite.

    Raises:
        ValueError: A number is not finite: JSON knows no such numbers.
    """
    return _SHELL.format(
        version=__version__,
        title=html.escape(title),
        style=_read_assets(name, "css"),
        script=_read_assets(name, "js"),
        data=_embed(data),
    )


def _read_assets(name: PageName, kind: str) -> str:
    folder = resources.files("mtkit.pages") / "assets"
    return "\n".join((folder / f"{part}.{kind}").read_text(encoding="utf-8").strip() for part in _PARTS[name])


def _embed(data: Mapping[str, Any]) -> str:
    """Return JSON that can stand in a script element: nothing in it ends the element, nor opens a comment."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
