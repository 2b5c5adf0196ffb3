"""Pictures of attention for papers, as PNG, SVG or PDF, through matplotlib."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mtkit.errors import DataError
from mtkit.inspection.explanation import Explanation
from mtkit.model.transformer import AttentionKind
from mtkit.runtime import console
from mtkit.runtime.extras import import_extra
from mtkit.runtime.files import atomic_file

_CELL_INCHES = 0.3
_SMALL_CELL_INCHES = 0.12
_DPI = 200
# From this version of matplotlib on, letters are ordered and joined as their script wants it.
_SHAPING_VERSION = (3, 11)
# The first has Latin, Greek, Cyrillic, Hebrew and Arabic; the others are taken where they are installed.
_FONTS = (
    "DejaVu Sans",
    "Noto Sans",
    *(f"Noto Sans CJK {region}" for region in ("JP", "SC", "TC", "KR")),
    *(
        f"Noto Sans {script}"
        for script in (
            "Arabic", "Hebrew", "Devanagari", "Bengali", "Gujarati", "Gurmukhi", "Kannada", "Malayalam", "Oriya",
            "Sinhala", "Tamil", "Telugu", "Thai", "Lao", "Khmer", "Myanmar", "Ethiopic", "Armenian", "Georgian",
        )
    ),
    "Noto Serif Tibetan",
)  # fmt: skip
_TITLES: dict[AttentionKind, str] = {
    "encoder": "encoder self-attention",
    "decoder": "decoder self-attention",
    "cross": "encoder-decoder attention",
}


def draw(
    explanation: Explanation,
    path: Path,
    kind: AttentionKind = "cross",
    layer: int | None = None,
    head: int | None = None,
    *,
    by_word: bool = True,
    is_grid: bool = False,
    word: str | None = None,
) -> None:
    """Draw attention weights to a file: a matrix, small matrices of many heads, or the lines of one word.

    Rows are queries, columns are keys; the darker, the more weight.

    Args:
        explanation: What to draw.
        path: Its suffix tells the format, `.png`, `.svg` or `.pdf`.
        kind: Of attention.
        layer: From 1; None for the mean of all.
        head: Likewise.
        by_word: Join pieces to words.
        is_grid: A small matrix for each layer and head that is not chosen, in place of their mean.
        word: Draw lines from this query alone to all keys.

    Raises:
        RecipeError: matplotlib is not installed, or the model has no such layer or head.
        DataError: The sentence has no such word.
        OutputError: The file cannot be written.
    """
    matplotlib = import_extra("matplotlib", "plot", "a picture (.html does without)", path)
    with matplotlib.rc_context(_style()), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if word is not None:
            weights, queries, keys = explanation.view(kind, layer, head, by_word=by_word)
            figure = _draw_lines(weights, queries, keys, _find_query(word, queries))
        elif is_grid:
            figure = _draw_grid(explanation, kind, layer, head, by_word)
        else:
            figure = _draw_matrix(*explanation.view(kind, layer, head, by_word=by_word))
        if word is None:
            figure.suptitle(_describe(kind, layer, head, is_grid), fontsize=9)
        metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
        with atomic_file(path) as temporary:
            figure.savefig(
                temporary,
                format=path.suffix[1:].lower(),
                dpi=_DPI,
                metadata=metadata,
                bbox_inches="tight",
                facecolor="white",
            )
    if any("Glyph" in str(warning.message) for warning in caught):
        console.warn(f"{path}: no font of this machine has all characters of the text; install Google's Noto fonts")
    tokens = explanation.source_tokens + explanation.target_tokens
    if tuple(map(int, matplotlib.__version__.split(".")[:2])) < _SHAPING_VERSION and any(map(_needs_shaping, tokens)):
        console.warn(
            f"{path}: matplotlib {matplotlib.__version__} writes right-to-left and Indic words wrongly, 3.11 rightly; "
            "or write .html"
        )


def _needs_shaping(text: str) -> bool:
    """Return whether letters stand in another order than they are typed in: in right-to-left and in Indic scripts."""
    return any(unicodedata.bidirectional(one) in ("R", "AL") or unicodedata.category(one) == "Mc" for one in text)


def _style() -> dict[str, Any]:
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return {
        "font.family": [name for name in _FONTS if name in installed] or ["sans-serif"],
        "font.size": 8,
        "svg.hashsalt": "mtkit",
    }


def _build_figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _describe(kind: AttentionKind, layer: int | None, head: int | None, is_grid: bool) -> str:
    parts = [_TITLES[kind]]
    for name, number in (("layer", layer), ("head", head)):
        if number is not None:
            parts.append(f"{name} {number}")
        elif not is_grid:
            parts.append(f"mean of all {name}s")
    return ", ".join(parts)


def _draw_matrix(weights: Tensor, queries: Sequence[str], keys: Sequence[str]) -> Any:
    figure = _build_figure(1.5 + _CELL_INCHES * len(keys), 1.2 + _CELL_INCHES * len(queries))
    axes = figure.add_subplot()
    image = axes.imshow(weights.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.set_xticks(range(len(keys)), [_escape(key) for key in keys], rotation=90)
    axes.set_yticks(range(len(queries)), [_escape(query) for query in queries])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for (row, column), weight in _iter_cells(weights):
        if weight >= 0.1:
            color = "white" if weight > 0.6 else "black"
            axes.text(column, row, f"{weight:.1f}".lstrip("0"), ha="center", va="center", fontsize=5, color=color)
    figure.colorbar(image, ax=axes, shrink=0.6, label="weight")
    return figure


def _iter_cells(weights: Tensor) -> Any:
    return (
        ((row, column), weight) for row, of_row in enumerate(weights.tolist()) for column, weight in enumerate(of_row)
    )


def _draw_grid(
    explanation: Explanation, kind: AttentionKind, layer: int | None, head: int | None, by_word: bool
) -> Any:
    num_layers, num_heads = explanation.attention.of(kind).shape[:2]
    layers = range(1, num_layers + 1) if layer is None else [layer]
    heads = range(1, num_heads + 1) if head is None else [head]
    _, queries, keys = explanation.view(kind, layers[0], heads[0], by_word=by_word)
    cell = _CELL_INCHES if len(layers) == 1 and len(heads) <= 4 else _SMALL_CELL_INCHES
    has_labels = cell == _CELL_INCHES
    margin = 0.9 if has_labels else 0.3
    figure = _build_figure(len(heads) * (margin + cell * len(keys)), len(layers) * (margin + cell * len(queries)) + 0.3)
    grid = figure.subplots(len(layers), len(heads), squeeze=False)
    for row, one_layer in enumerate(layers):
        for column, one_head in enumerate(heads):
            axes = grid[row][column]
            weights, _, _ = explanation.view(kind, one_layer, one_head, by_word=by_word)
            axes.imshow(weights.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="equal")
            axes.set_title(f"layer {one_layer}, head {one_head}", fontsize=7)
            axes.tick_params(length=0)
            if has_labels:
                axes.set_xticks(range(len(keys)), [_escape(key) for key in keys], rotation=90)
                axes.set_yticks(range(len(queries)), [_escape(query) for query in queries])
            else:
                axes.set_xticks([])
                axes.set_yticks([])
    return figure


def _find_query(word: str, queries: Sequence[str]) -> int:
    """Return which query a word is: the first that is spelled so, punctuation around it aside.

    Raises:
        DataError: None is.
    """
    for strip in ("", ".,;:!?\"'()[]«»„“”¿¡▁ "):
        for place, query in enumerate(queries):
            if query.strip(strip or None).casefold() == word.casefold():
                return place
    raise DataError(f"no word '{word}' attends here", at="--word", fix=f"give one of: {' '.join(queries)}")


def _draw_lines(weights: Tensor, queries: Sequence[str], keys: Sequence[str], query: int) -> Any:
    """Draw two rows of words, and lines from one query above to the keys below, the thicker the more weight."""
    # A column is as wide as the longest label that stands in it, in points of the font.
    count = max(len(queries), len(keys))
    widths = [
        max(len(queries[place]) if place < len(queries) else 0, len(keys[place]) if place < len(keys) else 0) + 2
        for place in range(count)
    ]
    centers = [sum(widths[:place]) + widths[place] / 2 for place in range(count)]
    figure = _build_figure(sum(widths) * 0.095, 1.5)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(0, sum(widths))
    axes.set_ylim(-0.25, 1.25)
    for place, weight in enumerate(weights[query].tolist()):
        axes.plot(
            [centers[query], centers[place]],
            [0.85, 0.15],
            color="#1f5fa8",
            linewidth=0.5 + 5 * weight,
            alpha=min(1.0, 0.08 + weight),
            solid_capstyle="butt",
        )
        if weight >= 0.05:
            axes.text(centers[place], -0.2, f"{weight:.2f}", ha="center", va="center", fontsize=7, color="#1f5fa8")
        key_color = "black" if weight >= 0.05 else "#666666"
        axes.text(centers[place], 0, _escape(keys[place]), ha="center", va="center", fontsize=10, color=key_color)
    for place, label in enumerate(queries):
        style = {"color": "#1f5fa8", "fontweight": "bold"} if place == query else {"color": "#666666"}
        axes.text(centers[place], 1, _escape(label), ha="center", va="center", fontsize=10, **style)
    return figure


def _escape(label: str) -> str:
    """Return a label in which no dollar begins a formula."""
    return label.replace("$", r"\$")
