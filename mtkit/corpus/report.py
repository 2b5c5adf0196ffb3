"""What `mtkit prepare` and `mtkit info` show of a prepared corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtkit.corpus.manifest import Manifest
from mtkit.runtime import console

Rows = list[Sequence[object]]

# Of so many corpora each has a row; a recipe may name a folder of thousands of catalogs.
_MOST_CORPORA = 30


def show_corpus(manifest: Manifest) -> None:
    """Print the tables of a prepared corpus to stderr: what became of the training text, and what each split holds."""
    languages = f"{manifest.source_language or '?'} to {manifest.target_language or '?'}"
    console.show_table(f"Training text, {languages}", ["", "pairs", "share"], build_flow_rows(manifest))
    console.show_table("Prepared corpus, lengths in tokens", _SPLIT_COLUMNS, build_split_rows(manifest))
    if len(rows := build_corpus_rows(manifest)) > 1:
        console.show_table("Training text by corpus", ["", "tag", "pairs", "share"], rows)


def build_flow_rows(manifest: Manifest) -> Rows:
    """Return what became of the training pairs: read, dropped by reason, split off, kept; then what else was seen."""
    total = manifest.pairs_read
    split_off = {
        name: manifest.splits[name].pairs
        for name in ("valid", "test")
        if name in manifest.splits and manifest.corpus[name] is None
    }
    counts = [
        ("read", total),
        *((f"dropped: {reason}", count) for reason, count in manifest.dropped.items() if count),
        *((f"split off: {name}", count) for name, count in split_off.items()),
        ("kept for training", manifest.splits["train"].pairs),
        *((f"noted: {what}", count) for what, count in manifest.noted.items() if count),
    ]
    rows: Rows = [(what, count, f"{count / total:.2%}" if total else "") for what, count in counts]
    # Characters, on both sides and in the given sets too: no share of the pairs.
    rows += [(f"replaced: {what}", count, "") for what, count in manifest.repaired.items() if count]
    return rows


def build_corpus_rows(manifest: Manifest) -> Rows:
    """Return the tag and the training pairs of each corpus that has any; of many, of the largest, and of the rest."""
    corpora = {name: corpus for name, corpus in manifest.corpora.items() if corpus.pairs}
    total = sum(corpus.pairs for corpus in corpora.values())
    shown, rest = choose_corpora({name: corpus.pairs for name, corpus in corpora.items()})
    counts = [(name, corpora[name].tag or "", corpora[name].pairs) for name in shown]
    counts += [(name_rest(len(corpora)), "", rest)] if rest else []
    return [(name, tag, pairs, f"{pairs / total:.2%}") for name, tag, pairs in counts]


def choose_corpora(pairs: Mapping[str, int]) -> tuple[list[str], int]:
    """Return the corpora to show, all, or of many the largest, and the pairs of the others."""
    if len(pairs) <= _MOST_CORPORA:
        return list(pairs), 0
    shown = sorted(pairs, key=pairs.__getitem__, reverse=True)[:_MOST_CORPORA]
    return shown, sum(pairs.values()) - sum(pairs[name] for name in shown)


def name_rest(num_corpora: int) -> str:
    """Return what stands for the corpora that are not shown."""
    return f"{num_corpora - _MOST_CORPORA:,} more"


_SPLIT_COLUMNS = ("", "pairs", "tokens", "a word", "unknown", "50 %", "90 %", "99 %", "max")


def build_split_rows(manifest: Manifest) -> Rows:
    """Return the statistics of each split and side; lengths are in tokens."""
    rows: Rows = []
    for name, split in manifest.splits.items():
        for side, counts in (("source", split.source), ("target", split.target)):
            rows.append(
                (
                    f"{name} {side}",
                    split.pairs,
                    counts.tokens,
                    f"{counts.tokens / max(1, counts.words):.2f}",
                    f"{counts.unknown / max(1, counts.tokens):.2%}",
                    *counts.length_percentiles.values(),
                )
            )
    return rows
