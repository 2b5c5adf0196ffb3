"""The page of `mtkit explain`: what each attention head looks at, the word alignment, and the beam step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mtkit.pages.page import build_page

_SCALE = 10_000


def build_explain_page(data: Mapping[str, Any]) -> str:
    """Return the page as text: one HTML file that asks for nothing from outside.

    Its address holds the view (`#kind=cross&layer=3&head=1`), so that a view can be linked.

    Args:
        data: What `mtkit explain -o FILE.json` writes. The weights under `encoder`, `decoder` and `cross` are
            `[layer][head][query][key]`, from 0 to 1; the page gets them as whole ten-thousandths, a third of the size.

    Raises:
        ValueError: A number is not finite.
    """
    weights = {kind: _scale(data[kind]) for kind in ("encoder", "decoder", "cross")}
    return build_page("explain", "What the model looks at", {**data, **weights, "scale": _SCALE})


def _scale(layers: Sequence[Sequence[Sequence[Sequence[float]]]]) -> list[list[list[list[int]]]]:
    return [[[[round(weight * _SCALE) for weight in row] for row in head] for head in layer] for layer in layers]
