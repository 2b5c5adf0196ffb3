import numpy as np
import pytest

from mtkit.corpus.batching import Pairs, SpecialIds, collate, plan_batches, read_pairs, split_batch


@pytest.fixture
def lengths():
    generator = np.random.default_rng(0)
    return generator.integers(1, 60, 500).astype(np.int32), generator.integers(1, 60, 500).astype(np.int32)


def padded_tokens(rows, lengths):
    return len(rows) * (max(lengths[0][rows].max(), lengths[1][rows].max()) + 1)


def test_every_pair_is_in_one_batch_and_none_is_too_large(lengths):
    batches = plan_batches(*lengths, batch_tokens=600, seed=1, epoch=0)
    assert sorted(np.concatenate(batches)) == list(range(500))
    assert max(padded_tokens(rows, lengths) for rows in batches) <= 600


def test_batches_are_full(lengths):
    batches = plan_batches(*lengths, batch_tokens=600, seed=1, epoch=0)
    longest = np.maximum(*lengths) + 1
    for rows in batches:  # one more row of the same length would not fit, save in the last batch of the sorted corpus
        if longest[rows].max() < longest.max():
            assert (len(rows) + 1) * longest[rows].max() > 600 - 2 * longest[rows].max()


def test_a_batch_that_just_fits_is_one():
    lengths = np.full(9, 4, np.int32)  # 5 with EOS
    batches = plan_batches(lengths, lengths, batch_tokens=15, seed=1, epoch=0)
    assert [len(rows) for rows in batches] == [3, 3, 3]


def test_the_order_is_a_function_of_seed_and_epoch(lengths):
    def order(seed, epoch):
        return [rows.tolist() for rows in plan_batches(*lengths, batch_tokens=600, seed=seed, epoch=epoch)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_other_pairs_meet_in_each_epoch():
    generator = np.random.default_rng(0)
    lengths = [generator.integers(5, 20, 2000).astype(np.int32) for _ in range(2)]
    epochs = [plan_batches(*lengths, batch_tokens=600, seed=1, epoch=epoch) for epoch in range(4)]
    pairs = [{(a, b) for rows in batches for a in rows for b in rows if a < b} for batches in epochs]
    shared = [len(pairs[0] & others) / len(pairs[0]) for others in pairs[1:]]
    assert max(shared) < 0.8
    assert min(shared) < 0.65


def test_little_of_a_batch_is_padding(lengths):
    lengths = lengths[0], np.minimum(lengths[0] + 2, 59).astype(np.int32)
    batches = plan_batches(*lengths, batch_tokens=1000, seed=1, epoch=0)
    real = (lengths[1] + 1).sum()
    assert real / sum(padded_tokens(rows, lengths) for rows in batches) > 0.9


def test_little_of_the_shorter_side_is_padding_whichever_that_is():
    generator = np.random.default_rng(0)
    source = generator.integers(8, 24, 8000)
    target = source + generator.integers(-6, 7, 8000)
    batches = plan_batches(source.astype(np.int32), target.astype(np.int32), batch_tokens=1000, seed=1, epoch=0)
    padded = sum(len(rows) * (side[rows].max() + 1) for rows in batches for side in (source, target))
    assert 1 - (source + target + 2).sum() / padded < 0.05  # sorted by the length of the shorter side alone: 0.08


def test_a_pair_longer_than_the_batch_is_alone():
    lengths = np.array([5, 99, 5], dtype=np.int32)
    batches = plan_batches(lengths, lengths, batch_tokens=30, seed=1, epoch=0)
    assert sorted(sorted(rows.tolist()) for rows in batches) == [[0, 2], [1]]


def test_micro_batches_hold_all_rows_within_the_limit(lengths):
    rows = np.arange(40)
    longest = (np.maximum(*lengths) + 1).astype(np.int64)
    pieces = split_batch(rows, longest[rows], 300)
    assert sorted(np.concatenate(pieces)) == list(range(40))
    assert len(pieces) > 1
    assert max(len(piece) * longest[piece].max() for piece in pieces) <= 300
    assert len(split_batch(rows, longest[rows], None)) == 1


class FakeSplit:
    def token_ids(self, rows):
        source = [np.array([5, 6, 7], dtype=np.int32), np.array([8], dtype=np.int32)]
        target = [np.array([9], dtype=np.int32), np.array([10, 11], dtype=np.int32)]
        return [source[row] for row in rows], [target[row] for row in rows]


def test_collate_adds_the_special_ids_and_pads_behind():
    batch = collate(read_pairs(FakeSplit(), np.array([0, 1])), SpecialIds(pad_id=0, eos_id=3, decoder_start_id=2))
    assert batch.src_ids.tolist() == [[5, 6, 7, 3], [8, 3, 0, 0]]
    assert batch.tgt_in_ids.tolist() == [[2, 9, 0], [2, 10, 11]]
    assert batch.tgt_out_ids.tolist() == [[9, 3, 0], [10, 11, 3]]
    assert batch.tgt_places.tolist() == [0, 1, 3, 4, 5]
    assert batch.num_tokens == 5
    assert batch.rows.tolist() == [0, 1]


def test_chosen_rows_alone_are_batched_as_often_as_they_stand(lengths):
    rows = np.array([3, 3, 3, 499, 17, 250, 17, *range(100, 300)])
    batches = plan_batches(*lengths, batch_tokens=600, seed=1, epoch=0, rows=rows)
    assert sorted(np.concatenate(batches)) == sorted(rows)
    assert max(padded_tokens(batch, lengths) for batch in batches) <= 600


def test_all_rows_in_order_are_batched_as_none_named(lengths):
    named = plan_batches(*lengths, batch_tokens=600, seed=1, epoch=2, rows=np.arange(500))
    unnamed = plan_batches(*lengths, batch_tokens=600, seed=1, epoch=2)
    assert [batch.tolist() for batch in named] == [batch.tolist() for batch in unnamed]


def test_batches_do_not_come_in_the_order_of_length(lengths):
    longest = np.maximum(*lengths)
    batches = plan_batches(*lengths, batch_tokens=300, seed=1, epoch=0)
    places = np.corrcoef(np.arange(len(batches)), [longest[rows].mean() for rows in batches])
    assert abs(places[0, 1]) < 0.5


def test_pairs_are_split_into_parts_that_fit_and_know_their_rows():
    generator = np.random.default_rng(1)
    sources, targets = ([np.arange(n, dtype=np.int32) for n in generator.integers(1, 30, 40)] for _ in range(2))
    rows = generator.permutation(1000)[:40]
    parts = Pairs(rows, sources, targets).split(100)
    special = SpecialIds(pad_id=0, eos_id=3, decoder_start_id=2)
    assert max(batch.numel() for part in parts for batch in collate(part, special).tensors[:3]) <= 100
    places = {row: place for place, row in enumerate(rows.tolist())}
    found = [
        (row, source, target)
        for part in parts
        for row, source, target in zip(part.rows.tolist(), part.sources, part.targets, strict=True)
    ]
    assert sorted(row for row, _, _ in found) == sorted(rows.tolist())
    assert all(source is sources[places[row]] and target is targets[places[row]] for row, source, target in found)


@pytest.mark.parametrize("micro_batch_tokens", [None, 100])
def test_no_pairs_are_split_into_no_parts(micro_batch_tokens):
    """As of a process for which an update has no pair left."""
    assert Pairs(np.zeros(0, np.int64), [], []).split(micro_batch_tokens) == []
