import torch

from mtkit.model.cache import KVCache


def test_returns_all_that_was_appended_across_growth():
    cache = KVCache()
    steps = [torch.randn(2, 3, 1, 4) for _ in range(40)]
    for count, step in enumerate(steps, 1):
        keys, values = cache.append(step, -step)
        assert torch.equal(keys, torch.cat(steps[:count], dim=2))
        assert torch.equal(values, -keys)


def test_reordering_takes_rows_along_and_may_repeat_or_drop_them():
    cache = KVCache()
    first, second = torch.randn(3, 2, 1, 4), torch.randn(4, 2, 1, 4)
    cache.append(first, first)
    rows = torch.tensor([2, 2, 0, 1])
    cache.reorder(rows)
    keys, _ = cache.append(second, second)
    assert torch.equal(keys, torch.cat([first[rows], second], dim=2))


def test_tells_its_size():
    cache = KVCache()
    assert cache.cache_bytes == 0
    cache.append(torch.zeros(2, 3, 1, 4), torch.zeros(2, 3, 1, 4))
    assert cache.cache_bytes == 2 * (2 * 3 * 16 * 4) * 4
