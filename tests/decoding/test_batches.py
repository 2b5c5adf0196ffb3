import itertools
import random

import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.batches import Batcher
from mtkit.errors import DeviceError

CPU = torch.device("cpu")


def make_batcher(batch_size=8, batch_tokens=100):
    decoding = DecodingSection(batch_size=batch_size, batch_tokens=batch_tokens)
    return Batcher(decoding, CPU, lambda item: item, name="pair", fix="leave it out")


def draw_pairs(count=60, longest=30):
    draw = random.Random(1)
    return [(draw.randint(1, longest), draw.randint(1, longest)) for _ in range(count)]


def count_tokens(batch):
    return len(batch) * max(map(max, batch))


class Memory:
    """Computes batches of so many tokens at most, and notes those that it was given."""

    def __init__(self, max_tokens, error=RuntimeError("CUDA out of memory")):
        self.max_tokens = max_tokens
        self.error = error
        self.tried = []

    def __call__(self, batch):
        self.tried.append(list(batch))
        if count_tokens(batch) > self.max_tokens:
            raise self.error
        return [sum(item) for item in batch]


def test_batches_hold_each_item_once_within_both_limits():
    items = draw_pairs()
    batches = make_batcher().cut(items)
    assert sorted(item for batch in batches for item in batch) == sorted(items)
    assert all(len(batch) <= 8 and (len(batch) == 1 or count_tokens(batch) <= 100) for batch in batches)
    # They are as large as they may be: the first item of the next would not have fitted.
    for batch, following in itertools.pairwise(batches):
        assert len(batch) == 8 or count_tokens([*batch, following[0]]) > 100


def test_the_longest_come_first_by_the_last_side():
    cut = [item for batch in make_batcher().cut(draw_pairs()) for item in batch]
    assert cut == sorted(cut, key=lambda item: (item[1], item[0]), reverse=True)


def test_items_longer_than_a_batch_are_batches_of_their_own():
    assert make_batcher(batch_tokens=16).cut([(40,), (3,), (30,), (2,)]) == [[(40,)], [(30,)], [(3,), (2,)]]
    assert make_batcher().cut([]) == []


def test_a_batch_that_fits_is_computed_whole():
    memory = Memory(100)
    assert make_batcher().run(memory, [(3,), (2,), (1,)]) == [3, 2, 1]
    assert len(memory.tried) == 1


@pytest.mark.parametrize("max_tokens", [30, 31, 47, 64, 99])
def test_what_does_not_fit_is_computed_in_halves_and_what_comes_later_cut_smaller(max_tokens):
    batcher, items = make_batcher(), draw_pairs()
    memory = Memory(max_tokens)
    found = [(item, value) for b in batcher.cut(items) for item, value in zip(b, batcher.run(memory, b), strict=True)]
    assert all(value == sum(item) for item, value in found)
    assert len(found) == len(items)
    num_failed = sum(count_tokens(batch) > max_tokens for batch in memory.tried)
    assert 1 <= num_failed <= 2  # 100 tokens, and 50
    assert all(count_tokens(batch) <= max_tokens for batch in batcher.cut(items) if len(batch) > 1)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_a_single_item_that_does_not_fit(error):
    with pytest.raises(DeviceError, match="out of memory with a single pair of 1,200 and 7 tokens") as caught:
        make_batcher(batch_tokens=5000).run(Memory(40, error), [(2, 2), (1200, 7)])
    assert (caught.value.at, caught.value.fix) == ("cpu", "leave it out")


def test_other_errors_are_passed_on():
    memory = Memory(5, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        make_batcher().run(memory, [(3,), (3,)])
    assert len(memory.tried) == 1
