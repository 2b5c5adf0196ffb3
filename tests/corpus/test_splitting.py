import numpy as np
import pytest

from mtkit.config.corpus import CorpusSection, FilterSection
from mtkit.corpus.splitting import MAX_SHARE_PAIRS, PairHashes, assign_pairs, find_copies, find_small_sets
from mtkit.errors import DataError

NO_SPLIT = {"valid_size": 0, "test_size": 0}


def assign(pairs, given=None, **corpus):
    given = {name: PairHashes.of(*map(list, zip(*lines, strict=True))) for name, lines in (given or {}).items()}
    return assign_pairs(PairHashes.of(*map(list, zip(*pairs, strict=True))), given, CorpusSection(**corpus))


def make_tangle(count, seed=1):
    """Pairs in which sources have several targets and targets several sources."""
    random = np.random.default_rng(seed)
    return [(f"source {s}", f"target {t}") for s, t in random.zipf(1.3, (count, 2)).clip(1, 3000).tolist()]


def test_duplicates_keep_the_first():
    result = assign([("a", "b"), ("a", "c"), ("a", "b"), ("A", "b")], **NO_SPLIT)
    assert result.train.tolist() == [True, True, False, True]
    assert result.dropped == {"duplicate": 1}
    off = assign([("a", "b"), ("a", "b")], filters=FilterSection(duplicates=False), **NO_SPLIT)
    assert off.train.all()


def test_targets_per_source():
    pairs = [("a", "1"), ("b", "1"), ("a", "2"), ("a", "2"), ("a", "3"), ("a", "4")]
    result = assign(pairs, filters=FilterSection(max_targets_per_source=2), **NO_SPLIT)
    assert result.train.tolist() == [True, True, True, False, False, False]
    assert result.dropped == {"duplicate": 1, "too many targets": 2}


def test_with_another_tag_a_pair_is_another():
    parts = [PairHashes.of(["a", "b"], ["1", "1"], tag) for tag in ("<2ja>", "<2th>", "<2th>")]
    filters = FilterSection(max_targets_per_source=1)
    result = assign_pairs(PairHashes.concatenate(parts), {}, CorpusSection(filters=filters, **NO_SPLIT))
    assert result.train.tolist() == [True, True, True, True, False, False]
    assert result.dropped == {"duplicate": 2, "too many targets": 0}


def test_targets_that_are_their_sources_are_noted_and_many_of_them_warned_of():
    result = assign([("a", "a"), ("B", "b"), ("c", "3")], **NO_SPLIT)
    assert result.noted == {"target copies source, kept": 2}
    assert "2 targets are their sources" in find_copies(result)[0]
    assert find_copies(assign([("a", "a"), ("b", "1"), ("c", "3")], **NO_SPLIT)) == []
    assert assign([("a", "a"), ("a", "a"), ("c", "3")], **NO_SPLIT).noted == {"target copies source, kept": 1}


LEAKY = [("SEEN  source", "t1"), ("s2", "Seen Target"), ("s3", "t3"), ("seen source", "seen target")]
GIVEN = {"test": [("seen source", "seen target")]}


@pytest.mark.parametrize(
    ("leakage", "kept"),
    [("source", [False, True, True, False]), ("either", [False, False, True, False]), ("off", [True] * 4)],
)
def test_leakage(leakage, kept):
    result = assign(LEAKY, GIVEN, leakage=leakage, **NO_SPLIT)
    assert result.train.tolist() == kept
    if leakage == "source":
        assert result.dropped["source in the test set"] == 2
        assert result.noted["only the target in the test set, kept"] == 1
    if leakage == "either":
        assert result.dropped["target in the test set"] == 1
    if leakage == "off":
        assert sum(result.noted.values()) == 3


def sides(pairs, rows):
    return {pairs[row][0] for row in rows}, {pairs[row][1] for row in rows}


@pytest.mark.parametrize("seed", range(5))
def test_no_sentence_stands_on_two_sides(seed):
    pairs = make_tangle(4000, seed)
    result = assign(pairs, valid_size=0.05, test_size=100)
    parts = [sides(pairs, rows) for rows in (np.flatnonzero(result.train), *result.held_out.values())]
    for i, (sources, targets) in enumerate(parts):
        for other_sources, other_targets in parts[i + 1 :]:
            assert not sources & other_sources
            assert not targets & other_targets
    split_off = sum(map(len, result.held_out.values()))
    assert result.train.sum() + split_off + sum(result.dropped.values()) == len(pairs)


def test_all_translations_of_a_sentence_stay_together():
    pairs = [(f"s{i}", f"t{i}-{k}") for i in range(200) for k in range(3)]
    result = assign(pairs, valid_size=30, test_size=30)
    for rows in result.held_out.values():
        assert len(rows) == 30
        assert len(sides(pairs, rows)[0]) == 10


@pytest.mark.parametrize("prefix", ["s", "x", "y"])
def test_sentences_with_very_many_translations_are_passed_over(prefix):
    few = [(f"{prefix}{i}", f"t{i}") for i in range(100)]
    many = [(f"{prefix}-{i}", f"u{i}-{k}") for i in range(100) for k in range(40)]
    assert len(assign(few + many, valid_size=30, test_size=0).held_out["valid"]) == 30
    assert len(assign(many, valid_size=30, test_size=0).held_out["valid"]) == 40
    assert len(assign(many, valid_size=100, test_size=0).held_out["valid"]) == 80
    some = [(f"{prefix}+{i}", f"v{i}-{k}") for i in range(8) for k in range(5)]
    assert len(assign(some + many, valid_size=30, test_size=0).held_out["valid"]) == 30


def test_the_split_does_not_depend_on_the_order():
    tangle = make_tangle(3000)
    pairs = list(dict.fromkeys(tangle + [(source.upper(), target) for source, target in tangle]))
    shuffled = [pairs[i] for i in np.random.default_rng(9).permutation(len(pairs))]
    one, other = assign(pairs), assign(shuffled)
    for name in ("valid", "test"):
        expected = [pairs[row] for row in one.held_out[name]]
        assert expected
        assert [shuffled[row] for row in other.held_out[name]] == expected


def test_sizes():
    pairs = [(f"s{i}", f"t{i}") for i in range(1000)]
    result = assign(pairs, valid_size=0.0126, test_size=7)
    assert {name: len(rows) for name, rows in result.held_out.items()} == {"valid": 13, "test": 7}
    assert len(assign(pairs, valid_size=1, test_size=0).held_out["valid"]) == 1
    assert assign(pairs, **NO_SPLIT).held_out == {}


def test_a_share_is_of_the_pairs_that_it_is_split_off():
    """Of corpora without a tag, where there are such."""
    parts = [
        ([f"{name}{i}" for i in range(n)], [f"t{name}{i}" for i in range(n)]) for name, n in (("a", 100), ("b", 900))
    ]
    hashes = [PairHashes.of(*part, tag) for part, tag in zip(parts, (None, "<bt>"), strict=True)]
    result = assign_pairs(PairHashes.concatenate(hashes), {}, CorpusSection(valid_size=0.1, test_size=0))
    assert len(result.held_out["valid"]) == 10


def test_a_share_is_bounded():
    pairs = [(f"s{i}", f"t{i}") for i in range(2 * MAX_SHARE_PAIRS + 100)]
    result = assign(pairs, valid_size=0.5, test_size=0)
    assert len(result.held_out["valid"]) == MAX_SHARE_PAIRS


def test_a_split_keeps_away_from_a_given_set():
    pairs = [(f"s{i}", f"t{i}") for i in range(100)] + [(f"s{i}", "seen") for i in range(100, 200)]
    result = assign(pairs, {"test": [("x", "seen")]}, valid_size=90)
    assert len(result.held_out["valid"]) == 90
    assert result.held_out["valid"].max() < 100
    assert result.train[100:].all()


@pytest.mark.parametrize("size", [0.01, 5, 60])
def test_too_few_pairs(size):
    count = 100 if size == 60 else 9
    with pytest.raises(DataError, match="too few clean training pairs") as caught:
        assign([(f"s{i}", f"t{i}") for i in range(count)], valid_size=size)
    assert "corpus.valid_size=0" in caught.value.fix
    assert ("set corpus.valid_size to at most 50, " in caught.value.fix) == (size == 60)


def test_sets_too_small_to_score_are_warned_of_where_a_share_makes_them():
    def warnings(count, **sizes):
        corpus = CorpusSection(**sizes)
        return find_small_sets(assign([(f"s{i}", f"t{i}") for i in range(count)], **sizes), corpus)

    [warning] = warnings(2404)
    assert "24 for valid and 24 for test" in warning
    assert "corpus.valid_size and corpus.test_size to 100" in warning
    assert "1 for valid, " in warnings(40, test_size=0)[0]
    assert warnings(10_000) == warnings(50, valid_size=20, test_size=10) == warnings(50, **NO_SPLIT) == []
    assert "50 for test, " in warnings(1000, valid_size=0.1, test_size=0.05)[0]


def test_nothing_to_split_off():
    pairs = [(f"s{i}", "seen") for i in range(100)]
    with pytest.raises(DataError, match="no training pair is left to split off"):
        assign(pairs, {"test": [("x", "seen")]})


def test_a_duplicate_does_not_take_the_place_of_another_target():
    pairs = [("a", "1"), ("a", "1"), ("a", "2"), ("a", "3")]
    result = assign(pairs, filters=FilterSection(max_targets_per_source=2), **NO_SPLIT)
    assert result.train.tolist() == [True, False, True, False]
    assert result.dropped == {"duplicate": 1, "too many targets": 1}
