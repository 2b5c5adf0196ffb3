"""Which pair goes where: duplicates, leakage, and validation and test sets split off the training text.

All is decided on hashes of the lines alone (see `mtkit.corpus.hashing`): 32 bytes a pair, whatever the text weighs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mtkit.config.corpus import CorpusSection
from mtkit.corpus.hashing import Hashes, hash_normalized, hash_pairs, hash_tag, is_among
from mtkit.corpus.store import HELD_OUT, HeldOutName
from mtkit.errors import DataError

Mask = npt.NDArray[np.bool_]

# Given which pairs are left, `(pairs,)`, which of them are dropped, by reason.
Judge = Callable[[Mask], Mapping[str, Mask]]

# A share of a large corpus makes more validation text than anybody needs.
MAX_SHARE_PAIRS = 2000
MIN_PAIRS_TO_SPLIT = 10

# Scores of fewer pairs than these say little.
MIN_PAIRS_TO_SCORE = 100

# What is noted of the pairs whose two sides are one text.
COPIES = "target copies source, kept"


@dataclass(frozen=True)
class PairHashes:
    """Hashes of pairs, each `(pairs,)` uint64.

    Attributes:
        pair: Of the exact pair and its tag.
        source: Of the normalised source.
        target: Of the normalised target.
        tag: Of the tag before the source: with another tag a source asks for something else.
    """

    pair: Hashes
    source: Hashes
    target: Hashes
    tag: Hashes

    @classmethod
    def of(cls, sources: list[str], targets: list[str], tag: str | None = None) -> PairHashes:
        """Return the hashes of pairs of lines that have one tag, or none."""
        tags = np.full(len(sources), hash_tag(tag), np.uint64)
        return cls(hash_pairs(sources, targets) ^ tags, hash_normalized(sources), hash_normalized(targets), tags)

    @classmethod
    def concatenate(cls, parts: list[PairHashes]) -> PairHashes:
        """Return the hashes of several chunks as one."""
        empty = [np.zeros(0, np.uint64)]
        return cls(
            np.concatenate(empty + [part.pair for part in parts]),
            np.concatenate(empty + [part.source for part in parts]),
            np.concatenate(empty + [part.target for part in parts]),
            np.concatenate(empty + [part.tag for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.pair)


@dataclass
class Assignment:
    """What becomes of each training pair.

    Attributes:
        train: True where a pair stays in the training set.
        held_out: For `valid` and `test`, where they are split off, the rows in their order.
        dropped: How many pairs were dropped, by reason.
        noted: What was seen and kept.
    """

    train: Mask
    held_out: dict[HeldOutName, npt.NDArray[np.int64]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str, fails: Mask) -> None:
        """Drop pairs that are still in the training set, and count them."""
        self.dropped[reason] = int(np.count_nonzero(self.train & fails))
        self.train &= ~fails


def assign_pairs(
    hashes: PairHashes,
    given: Mapping[HeldOutName, PairHashes],
    corpus: CorpusSection,
    judge: Judge | None = None,
) -> Assignment:
    """Decide which pairs are trained on, which are held out, and which are dropped.

    Validation and test sets that are not given are split off by the hash of the normalised source: whole groups of
    equal sources, in the order of their hashes, so that the same pairs are chosen whatever the order of the files.
    Where some corpora have a tag and some have none, they come from the latter.
    Every other pair that shares a source or a target with them leaves the training text.

    Args:
        hashes: The cleaned training pairs.
        given: The validation and test sets that are given, by `valid` and `test`.
        corpus: Filters, leakage and sizes.
        judge: A last filter of the pairs that all others leave, before any are split off.

    Raises:
        DataError: There are too few pairs to split off what is wanted.
    """
    result = Assignment(train=np.ones(len(hashes), np.bool_))
    if corpus.filters.duplicates:
        result.drop("duplicate", _find_duplicates(hashes.pair))
    if corpus.filters.max_targets_per_source is not None:
        surplus = _find_surplus(hashes.source ^ hashes.tag, result.train, corpus.filters.max_targets_per_source)
        result.drop("too many targets", surplus)
    touches_given = _remove_leakage(hashes, given, corpus, result)
    if judge is not None:
        for reason, fails in judge(result.train.copy()).items():
            result.drop(reason, fails)
    if not corpus.filters.source_copy:
        result.noted[COPIES] = int(np.count_nonzero(result.train & (hashes.source == hashes.target)))
    is_plain = np.ones(len(hashes), np.bool_)
    if (hashes.tag == 0).any():  # a tag beside corpora without one marks what is special: translated back, or noisy
        is_plain = hashes.tag == 0
    clean_pairs = int(np.count_nonzero(result.train & is_plain))
    for name in HELD_OUT:
        size = corpus.valid_size if name == "valid" else corpus.test_size
        if name in given or size == 0:
            continue
        room = _count_room(name, size, clean_pairs, result.dropped)
        rows = _choose_rows(hashes, result.train & is_plain & ~touches_given, room)
        if len(rows) == 0:
            raise DataError(
                f"no training pair is left to split off for corpus.{name}_size",
                fix=f"give --{name}-source and --{name}-target",
            )
        result.held_out[name] = rows
        result.train[rows] = False
        shares = is_among(hashes.source, hashes.source[rows]) | is_among(hashes.target, hashes.target[rows])
        result.drop(f"shares a sentence with {name}", shares)
    return result


def find_copies(assignment: Assignment) -> list[str]:
    """Return a warning where so many targets are their sources that the text may be the wrong one."""
    copies, pairs = assignment.noted.get(COPIES, 0), int(np.count_nonzero(assignment.train))
    if copies * 3 <= pairs:
        return []
    return [f"{copies:,} targets are their sources: are these the right files? (corpus.filters.source_copy drops them)"]


def find_small_sets(assignment: Assignment, corpus: CorpusSection) -> list[str]:
    """Return a warning where a share of the training text makes a validation or test set of few pairs."""
    sizes = {"valid": corpus.valid_size, "test": corpus.test_size}
    counts = {name: len(rows) for name, rows in assignment.held_out.items() if sizes[name] < 1}
    small = {name: count for name, count in counts.items() if count < MIN_PAIRS_TO_SCORE}
    if not small:
        return []
    shown = " and ".join(f"{count} for {name}" for name, count in small.items())
    fields = " and ".join(f"corpus.{name}_size" for name in small)
    has_room = int(assignment.train.sum()) >= 4 * MIN_PAIRS_TO_SCORE
    larger = f"set {fields} to {MIN_PAIRS_TO_SCORE} or more, or " if has_room else ""
    return [f"few pairs were split off, {shown}, and scores of so few say little: {larger}give files of your own"]


def _find_duplicates(pair: Hashes) -> Mask:
    """Return which pairs have been seen before."""
    repeated = np.ones(len(pair), np.bool_)
    repeated[np.unique(pair, return_index=True)[1]] = False
    return repeated


def _find_surplus(source: Hashes, alive: Mask, most: int) -> Mask:
    """Return which pairs come after `most` others with the same source."""
    rows = np.flatnonzero(alive)
    order = rows[np.argsort(source[rows], kind="stable")]
    ordered = source[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(order) else order
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    surplus = np.zeros(len(source), np.bool_)
    surplus[order[rank >= most]] = True
    return surplus


def _remove_leakage(
    hashes: PairHashes, given: Mapping[HeldOutName, PairHashes], corpus: CorpusSection, result: Assignment
) -> Mask:
    """Drop training pairs that stand in the given sets; return which pairs share a sentence with them at all."""
    touches = np.zeros(len(hashes), np.bool_)
    for name, held_out in given.items():
        in_source = is_among(hashes.source, held_out.source)
        in_target = is_among(hashes.target, held_out.target)
        touches |= in_source | in_target
        if corpus.leakage == "off":
            result.noted[f"in the {name} set too, kept (leakage: off)"] = int(
                np.count_nonzero(result.train & (in_source | in_target))
            )
            continue
        result.drop(f"source in the {name} set", in_source)
        if corpus.leakage == "either":
            result.drop(f"target in the {name} set", in_target)
        else:
            result.noted[f"only the target in the {name} set, kept"] = int(np.count_nonzero(result.train & in_target))
    return touches


def _count_room(name: str, size: float, clean_pairs: int, dropped: Mapping[str, int]) -> int:
    """Return how many pairs to split off."""
    room = min(MAX_SHARE_PAIRS, max(1, round(size * clean_pairs))) if size < 1 else int(size)
    if clean_pairs < MIN_PAIRS_TO_SPLIT or room > clean_pairs // 2:
        lost = "".join(f"; {count:,} {reason}" for reason, count in dropped.items() if count)
        smaller = f"set corpus.{name}_size to at most {clean_pairs // 2:,}, "
        raise DataError(
            f"too few clean training pairs, {clean_pairs:,}, to split off {room:,} for corpus.{name}_size{lost}",
            fix=f"{smaller if clean_pairs >= MIN_PAIRS_TO_SPLIT else ''}give more text, or name validation and test "
            "files, or do without them: --set corpus.valid_size=0 --set corpus.test_size=0",
        )
    return room


def _choose_rows(hashes: PairHashes, candidates: Mask, room: int) -> npt.NDArray[np.int64]:
    """Return the rows of whole groups of equal sources, about `room` rows, in the order of their hashes.

    Sentences with very many translations are passed over as long as there are enough others: one that takes more than
    a tenth of the room would leave little for others, or not fit.
    """
    rows = np.flatnonzero(candidates)
    sources, sizes = np.unique(hashes.source[rows], return_counts=True)
    for limit in (max(1, room // 10), room, len(rows)):
        eligible = sizes <= limit
        if sizes[eligible].sum() >= room:
            break
    sources, sizes = sources[eligible], sizes[eligible]
    count = max(1, int(np.searchsorted(np.cumsum(sizes), room, side="right")))
    rows = rows[is_among(hashes.source[rows], sources[:count])]
    return rows[np.lexsort((hashes.pair[rows], hashes.target[rows], hashes.source[rows]))]
