import dataclasses
import threading
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from mtkit.checkpoint.run_folder import MicroBatch, RunRecord
from mtkit.corpus.batching import SpecialIds
from mtkit.corpus.store import PreparedCorpus
from mtkit.corpus.subwords import SubwordSampler
from mtkit.errors import DataError
from mtkit.runtime.distributed import Processes
from mtkit.training.updates import UpdateReader

STEPS = 50  # more than two epochs


@pytest.fixture
def make_reader(corpus_path, make_recipe):
    corpus = PreparedCorpus.load(corpus_path)

    def make(*settings, processes=Processes(), micro_batch_tokens=10_000, strength=0.0):
        sizes = micro_batch_tokens if isinstance(micro_batch_tokens, dict) else {1: micro_batch_tokens}
        record = RunRecord(
            mtkit_version="0", torch_version="0", device="cpu", processor="any", threads=1, processes=processes.count,
            corpus="c", corpus_fingerprint="f", precision="fp32",
            micro_batches=[MicroBatch(from_step=step, tokens=size, reason="test") for step, size in sizes.items()],
        )  # fmt: skip
        sampler = SubwordSampler.of(corpus, strength) if strength else None
        training = make_recipe(*settings).training
        return UpdateReader(corpus.train, SpecialIds(0, 3, 2), training, processes, record, sampler)

    return make


def build_all(reader, max_steps):
    """The updates of a run in order, built one after the other."""
    updates, epoch = [], 0
    while len(updates) < max_steps:
        plan = reader.plan(epoch)
        updates += [reader.build(len(updates) + 1 + i, epoch, i, rows) for i, rows in enumerate(plan)]
        epoch += 1
    return updates[:max_steps]


def is_equal(ours, theirs):
    """Whether two updates hold the same."""
    for field in dataclasses.fields(ours):
        mine, other = getattr(ours, field.name), getattr(theirs, field.name)
        if field.name == "batches":
            same = len(mine) == len(other) and all(map(is_equal, mine, other))
        elif isinstance(mine, torch.Tensor):
            same = torch.equal(mine, other)
        else:
            same = np.array_equal(mine, other)
        if not same:
            return False
    return True


def threads():
    """Threads that read or plan updates."""
    return [t.name for t in threading.enumerate() if t.name == "updates" or t.name.startswith("ThreadPoolExecutor")]


@pytest.mark.parametrize("micro_batch_tokens", [10_000, 60])
def test_updates_read_ahead_are_those_built_one_by_one(make_reader, micro_batch_tokens):
    reader = make_reader(micro_batch_tokens=micro_batch_tokens)
    expected = build_all(reader, STEPS)
    assert expected[-1].epoch >= 2
    read = list(reader.read(0, 0, 0, STEPS))
    assert [u.step for u in read] == list(range(1, STEPS + 1))
    assert all(map(is_equal, read, expected))
    assert not is_equal(read[0], read[1])
    assert threads() == []


def test_reading_goes_on_anywhere(make_reader):
    reader = make_reader()
    whole = build_all(reader, STEPS)
    for last in (whole[0], whole[9], *(u for u, v in pairwise(whole) if u.epoch != v.epoch)):
        read = list(reader.read(last.step, last.epoch, last.index + 1, STEPS))
        assert len(read) == STEPS - last.step
        assert all(map(is_equal, read, whole[last.step :]))


def test_an_epoch_holds_every_pair_once(make_reader):
    reader = make_reader("training.max_epochs=2")
    updates = list(reader.read(0, 0, 0, None))
    assert {u.epoch for u in updates} == {0, 1}
    for epoch in (0, 1):
        rows = np.concatenate([u.rows for u in updates if u.epoch == epoch])
        assert sorted(rows) == list(range(len(reader.split)))
    assert [u.index for u in updates] == [*range(len(reader.plan(0))), *range(len(reader.plan(1)))]


def test_a_run_that_is_at_its_end_has_no_updates(make_reader):
    assert list(make_reader().read(STEPS, 2, 3, STEPS)) == []
    assert list(make_reader("training.max_epochs=2").read(STEPS, 2, 0, None)) == []
    assert threads() == []


@pytest.mark.parametrize("taken", [0, 1, 15])
def test_closing_early_leaves_no_thread(make_reader, taken):
    updates = make_reader().read(0, 0, 0, None)
    for _ in range(taken):
        next(updates)
    assert (threads() == []) == (taken == 0)
    updates.close()
    assert threads() == []


def test_reading_stays_a_few_updates_ahead(make_reader, monkeypatch):
    reader = make_reader()
    built, honest = [], reader.build
    monkeypatch.setattr(reader, "build", lambda *args: built.append(args[0]) or honest(*args))
    updates = reader.read(0, 0, 0, None)
    next(updates)
    threading.Event().wait(0.3)
    updates.close()
    assert 1 < len(built) < 10


@pytest.mark.parametrize("method", ["build", "plan"])
def test_an_error_while_reading_reaches_the_caller(make_reader, monkeypatch, method):
    reader = make_reader()
    honest = getattr(reader, method)

    def fail(*args):
        if args[0] == (3 if method == "build" else 1):  # step 3, or epoch 1
            raise DataError("the corpus is gone", at="here", fix="bring it back")
        return honest(*args)

    monkeypatch.setattr(reader, method, fail)
    read = []
    with pytest.raises(DataError, match="the corpus is gone"):
        read.extend(u.step for u in reader.read(0, 0, 0, None))
    assert threads() == []
    updates = reader.read(0, 0, 0, None)
    good = 2 if method == "build" else len(reader.plan(0))
    assert [next(updates).step for _ in range(good)] == list(range(1, good + 1))
    with pytest.raises(DataError):
        next(updates)


def test_the_record_says_how_updates_are_cut_from_which_step_on(make_reader):
    reader = make_reader(micro_batch_tokens={1: 10_000, 4: 60})
    updates = list(reader.read(0, 0, 0, 6))
    assert [u.micro_batch_tokens for u in updates] == [10_000] * 3 + [60] * 3
    for update in updates:
        assert (len(update.batches) == 1) == (update.step < 4)
        assert all(len(b.rows) == 1 or b.tgt_out_ids.numel() <= update.micro_batch_tokens for b in update.batches)
        assert sorted(np.concatenate([b.rows for b in update.batches])) == sorted(update.rows)


def test_tokens_are_counted_with_and_without_padding(make_reader):
    for update in build_all(make_reader(micro_batch_tokens=60), 10):
        assert update.num_tokens == sum(int((b.tgt_out_ids != 0).sum()) for b in update.batches)
        assert update.padded_tokens == sum(b.tgt_out_ids.numel() for b in update.batches)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_micro_batches_are_cut_of_the_segmentation_that_was_drawn(make_reader, parallel):
    make = partial(make_reader, f"training.parallel={parallel}", strength=0.5)
    stored, drawn = make_reader(micro_batch_tokens=120), make(micro_batch_tokens=120)
    whole = make(micro_batch_tokens=10_000)
    shares = [make(processes=Processes(rank, 2, rank), micro_batch_tokens=120) for rank in range(2)]
    num_pieces = 0
    for step, rows in enumerate(drawn.plan(0), 1):
        update = drawn.build(step, 0, 0, rows)
        num_pieces += len(update.batches) - len(stored.build(step, 0, 0, rows).batches)
        for batch in update.batches:
            assert len(batch.rows) == 1 or max(batch.src_ids.numel(), batch.tgt_out_ids.numel()) <= 120
        parts = [share.build(step, 0, 0, rows) for share in shares]
        assert update.num_tokens == whole.build(step, 0, 0, rows).num_tokens == sum(part.num_tokens for part in parts)
    assert num_pieces > 0, "what was drawn is no longer than what is stored"


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_the_parts_of_the_processes_are_the_whole_update(make_reader, parallel, count):
    settings = [f"training.parallel={parallel}"]
    whole = build_all(make_reader(*settings, micro_batch_tokens=60), STEPS)
    readers = [
        make_reader(*settings, processes=Processes(rank, count, rank), micro_batch_tokens=60) for rank in range(count)
    ]
    parts = [list(reader.read(0, 0, 0, STEPS)) for reader in readers]
    for update, *shares in zip(whole, *parts, strict=True):
        assert all(np.array_equal(share.rows, update.rows) for share in shares)
        assert sorted(np.concatenate([b.rows for share in shares for b in share.batches])) == sorted(update.rows)
        sizes = [share.num_tokens for share in shares]
        assert sum(sizes) == update.num_tokens
        assert max(sizes) - min(sizes) < 0.5 * max(sizes) or len(update.rows) < 3 * count


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_process_reads_its_own_pairs_only(make_reader, monkeypatch, parallel):
    read, honest = [], SubwordSampler.sample
    monkeypatch.setattr(
        SubwordSampler, "sample", lambda self, split, rows, seed: read.extend(rows) or honest(self, split, rows, seed)
    )
    for rank in range(3):
        make_reader(f"training.parallel={parallel}", processes=Processes(rank, 3, rank), strength=0.5).build(
            1, 0, 0, np.arange(24)
        )
    assert sorted(read) == list(range(24))


def test_with_fewer_pairs_than_processes_some_have_none(make_reader):
    rows = np.array([17])
    alone = make_reader().build(1, 0, 0, rows)
    for rank in range(3):
        reader = make_reader(processes=Processes(rank, 3, rank))
        update = reader.build(1, 0, 0, rows)
        assert [list(b.rows) for b in update.batches] == ([[17]] if rank == 0 else [])
        assert update.num_tokens == (alone.num_tokens if rank == 0 else 0)
        assert update.padded_tokens == (alone.padded_tokens if rank == 0 else 0)
        assert list(reader.build_idle(rows).rows) == [17]


def test_the_same_pairs_are_segmented_anew_in_each_update(make_reader):
    reader = make_reader(strength=0.3)
    first, second, again = (reader.build(step, 0, 0, np.arange(20)) for step in (1, 2, 1))
    assert is_equal(first, again)
    for ours, theirs in zip(first.batches[0].tensors[:3], second.batches[0].tensors[:3], strict=True):
        assert not torch.equal(ours, theirs)
