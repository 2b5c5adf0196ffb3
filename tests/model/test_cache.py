import pytest
import torch

from mtkit.model.cache import KVCache


def make_steps(count, groups=2, width=3):
    return [torch.randn(groups, width, 2, 4, 5) for _ in range(count)]  # (groups, width, 2, num_heads, head_dim)


@pytest.mark.parametrize("width", [1, 3])
def test_returns_all_that_was_appended_across_growth(width):
    cache = KVCache(width)
    steps = make_steps(40, width=width)
    for count, step in enumerate(steps, 1):
        keys, values = cache.append(step)
        expected = torch.cat(steps[:count], dim=1).permute(2, 0, 3, 1, 4)
        assert torch.equal(torch.stack([keys, values]), expected)


def test_keeping_takes_groups_along_and_may_repeat_or_drop_them():
    cache = KVCache(3)
    (first,), (second,) = make_steps(1, groups=3), make_steps(1, groups=4)
    cache.append(first)
    groups = torch.tensor([2, 2, 0, 1])
    cache.keep_groups(groups)
    keys, _ = cache.append(second)
    assert torch.equal(keys, torch.cat([first[groups], second], dim=1).permute(2, 0, 3, 1, 4)[0])


def test_keeping_slots_takes_those_of_each_group():
    cache = KVCache(3)
    first, second = make_steps(2)
    cache.append(first)
    slots = torch.tensor([[2, 0], [1, 2]])
    cache.keep_slots(slots)
    assert cache.num_slots == 2
    keys, values = cache.append(second)
    kept = torch.stack([first[group, chosen] for group, chosen in enumerate(slots)])
    assert torch.equal(torch.stack([keys, values]), torch.cat([kept, second], dim=1).permute(2, 0, 3, 1, 4))


def test_tells_its_size():
    cache = KVCache(3)
    assert cache.cache_bytes == 0
    cache.append(make_steps(1)[0])
    assert cache.cache_bytes == 2 * (2 * 4 * 16 * 3 * 5) * 4
