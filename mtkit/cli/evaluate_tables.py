"""How `mtkit evaluate` shows its report: tables for the terminal, and in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtkit.runtime import console

_NAMES = {"bleu": "BLEU", "chrf": "chrF2++", "ter": "TER"}
_LEVEL = 0.05
_BAR = "\\|"
# What Markdown would take for a mark of its own: an underscore within a word and a lone bracket are none.
_MARK = re.compile(r"[\\*`]|(?<!\w)_|_(?!\w)|<(?=[A-Za-z/!?])|&(?=#?\w+;)|~(?=~)|(?<=\])\(")
# Of the sentences that gained and lost most, how many are printed.
_SHOWN_CHANGES = 5


@dataclass(frozen=True)
class Block:
    """A table, with the lines that explain it; either may be missing."""

    title: str | None = None
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    lines: Sequence[str] = ()


def print_blocks(blocks: Sequence[Block], *, as_markdown: bool = False) -> None:
    """Print tables to stdout, with a blank line between them."""
    for index, block in enumerate(blocks):
        if index:
            print()  # noqa: T201
        if as_markdown:
            print("\n".join(_iter_markdown(block)))  # noqa: T201
            continue
        if block.title is not None:
            print(block.title)  # noqa: T201
        if block.columns:
            console.print_table(None, block.columns, block.rows)
        for line in block.lines:
            print(line)  # noqa: T201


def _iter_markdown(block: Block) -> Iterator[str]:
    if block.title is not None:
        yield from (f"**{_escape(block.title)}**", "")
    if block.columns:
        yield _join(block.columns)
        yield _join(["---"] * len(block.columns))
        yield from map(_join, block.rows)
    if block.columns and block.lines:
        yield ""
    yield from (f"- {_escape(line)}" for line in block.lines)


def _join(cells: Sequence[object]) -> str:
    shown = [_escape(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in cells]
    return f"| {' | '.join(cell.replace('|', _BAR) for cell in shown)} |"


def _escape(text: str) -> str:
    """Return text in which Markdown finds no emphasis, no code, no link and no markup."""
    return _MARK.sub(r"\\\g<0>", " ".join(text.split()))


def show_scores(report: Mapping[str, Any]) -> list[Block]:
    """Return the table of scores, that of the differences, and the signatures that scores are worth nothing without."""
    systems = report["systems"]
    own = [metric for metric in _NAMES if metric in systems[0]]
    external = list(systems[0].get("external", {}))
    columns = ["system", *(_NAMES[metric] for metric in own), *external, "length ratio"]
    rows = [
        [
            system["name"],
            *(_show_score(system[metric]) for metric in own),
            *(_show_score(system["external"][name], _digits(report, name)) for name in external),
            f"{system['length_ratio']:.3f}",
        ]
        for system in systems
    ]
    signatures = [
        f"{_NAMES[metric]}{' (lower is better)' if metric == 'ter' else ''}: {systems[0][metric]['signature']}"
        for metric in own
    ]
    signatures += [f"{name}: mean of the values given" for name in external]
    blocks = [Block(None, columns, rows), Block(lines=signatures)]
    if report["comparisons"]:
        blocks.insert(1, _show_comparisons(report, [*own, *external]))
    return blocks


def _digits(report: Mapping[str, Any], metric: str) -> int:
    """Return the decimals that a metric is shown with: ours are out of 100, others may be out of 1."""
    scores = [system["external"][metric]["score"] for system in report["systems"] if metric not in _NAMES]
    return 4 if scores and max(map(abs, scores)) < 10 else 2


def _show_score(values: Mapping[str, Any], digits: int = 2) -> str:
    interval = values["interval"]
    spread = "" if interval is None else f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"
    return f"{values['score']:.{digits}f}{spread}"


def _show_comparisons(report: Mapping[str, Any], metrics: Sequence[str]) -> Block:
    baseline, *others = report["systems"]
    comparisons = report["comparisons"]
    # A system that is given twice has its comparisons twice, in the order of the systems.
    digits = [_digits(report, metric) for metric in metrics]
    rows = [
        [system["name"], *map(_show_difference, comparisons[start : start + len(metrics)], digits)]
        for system, start in zip(others, range(0, len(comparisons), len(metrics)), strict=True)
    ]
    columns = ["system", *(_NAMES.get(metric, metric) for metric in metrics)]
    return Block(f"Difference to {baseline['name']}", columns, rows, _explain(report["tests"]))


def _show_difference(comparison: Mapping[str, Any], digits: int) -> str:
    p_values = [p for p in (comparison["bootstrap_p"], comparison["randomization_p"]) if p is not None]
    mark = "*" if p_values and max(p_values) < _LEVEL else ""
    shown = f" ({', '.join(f'{p:.4f}' for p in p_values)})" if p_values else ""
    return f"{comparison['difference']:+.{digits}f}{mark}{shown}"


def _explain(tests: Mapping[str, int]) -> list[str]:
    """Return what the numbers in brackets and the mark mean."""
    names = []
    if tests["bootstrap_samples"]:
        names.append(f"paired bootstrap ({tests['bootstrap_samples']:,} resamples)")
    if tests["randomization_trials"]:
        names.append(f"paired approximate randomisation ({tests['randomization_trials']:,} trials)")
    if not names:
        return ["no test of significance was asked for"]
    if len(names) == 2:
        where = "both tests"
    elif tests["bootstrap_samples"]:
        where = "this test, as in about one of ten pairs of equally good systems"
    else:
        where = "this test"
    return [
        f"in brackets: p by {' and '.join(names)}, seed {tests['seed']}",
        f"* significant: p < {_LEVEL} in {where}",
    ]


def show_analysis(report: Mapping[str, Any]) -> list[Block]:
    """Return the tables that show where the errors are."""
    return [
        _show_oddities(report),
        *(_show_breakdown(breakdown, report) for breakdown in report["breakdowns"]),
        *(block for change in report["changes"] for block in _show_changes(change, report)),
    ]


def _show_oddities(report: Mapping[str, Any]) -> Block:
    rows = [
        [system["name"], *("?" if count is None else count for count in system["oddities"].values())]
        for system in report["systems"]
    ]
    is_unknown = any("?" in row for row in rows)
    lines = ["untranslated lines are found with --source FILE"] if is_unknown else []
    return Block(
        f"Odd lines, of {report['sentence_count']:,}", ["system", *report["systems"][0]["oddities"]], rows, lines
    )


def _show_breakdown(breakdown: Mapping[str, Any], report: Mapping[str, Any]) -> Block:
    rows = []
    for group in breakdown["groups"]:
        label, count = group["label"], f"{group['sentences']:,}"
        for system, scores in zip(report["systems"], group["systems"], strict=True):
            numbers = [f"{scores['bleu']:.2f}", f"{scores['chrf']:.2f}", f"{scores['length_ratio']:.3f}"]
            rows.append([label, count, system["name"], *numbers])
            label = count = ""
    title = f"By {breakdown['by']}: {breakdown['unit']}"
    return Block(title, [breakdown["by"], "sentences", "system", "BLEU", "chrF2++", "length ratio"], rows)


def _show_changes(change: Mapping[str, Any], report: Mapping[str, Any]) -> Iterator[Block]:
    names = [system["name"] for system in report["systems"]]
    place, baseline = names.index(change["system"]), 0
    for kind in ("gained", "lost"):
        rows = [
            row for number in change[kind][:_SHOWN_CHANGES] for row in _show_sentence(report, number, (baseline, place))
        ]
        title = f"{change['system']}: sentences that {kind} most against {change['baseline']}, in sentence chrF2++"
        if rows:
            yield Block(title, ["line", "", "text"], rows)


def _show_sentence(report: Mapping[str, Any], number: int, places: tuple[int, int]) -> Iterator[list[str]]:
    sentence = report["sentences"][number]
    texts = [] if sentence["source"] is None else [("source", sentence["source"])]
    texts += [("reference", reference) for reference in sentence["references"]]
    for place in places:
        name = report["systems"][place]["name"]
        texts.append((f"{name} {sentence['chrf'][place]:.1f}", sentence["hypotheses"][place]))
    for index, (what, text) in enumerate(texts):
        yield ["" if index else f"{number + 1}", what, text]
