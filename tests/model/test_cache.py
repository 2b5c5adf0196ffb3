import pytest
import torch

from mtkit.model import cache as cache_module
from mtkit.model.cache import SLOT_GROUP, KVCache, count_visible

LAYERS, GROUPS, HEADS, SIZE = 2, 2, 4, 5


def make_cache(groups=GROUPS, width=1):
    return KVCache(torch.empty(LAYERS, 2, 1, HEADS, 7, SIZE), groups, width)


def append(cache, steps, groups=GROUPS):
    """Write positions, and return what attention sees after the last: `(layers, 2, groups, heads, slots, size)`."""
    for step in steps:
        rooms = cache.extend()
        for room, written in zip(rooms, step, strict=True):
            room.newest.copy_(written)
    parts = [torch.stack([room.keys.mT, room.values]) for room in rooms]
    return torch.stack(parts).view(LAYERS, 2, groups, HEADS, -1, SIZE)


def make_steps(count, groups=GROUPS, width=1):
    return [torch.randn(LAYERS, 2, groups, HEADS, width, SIZE) for _ in range(count)]


@pytest.mark.parametrize("width", [1, 3])
def test_returns_all_that_was_appended_across_growth(width):
    cache = make_cache(width=width)
    steps = make_steps(40, width=width)
    for count, step in enumerate(steps, 1):
        seen = append(cache, [step])
        assert cache.num_slots == count * width
        assert cache.num_visible == seen.size(4) == count_visible(count * width)
        assert torch.equal(seen[..., : count * width, :], torch.cat(steps[:count], dim=4))
        assert not seen[..., count * width :, :].any()  # nothing that could make a product of it no number


def test_keeping_takes_groups_along_and_may_repeat_or_drop_them():
    cache = make_cache(groups=3, width=3)
    (first,), (second,), (third,) = (make_steps(1, groups, 3) for groups in (3, 4, 2))
    append(cache, [first], groups=3)
    groups = torch.tensor([2, 2, 0, 1])
    cache.keep_groups(groups)
    seen = append(cache, [second], groups=4)
    kept = torch.cat([first[:, :, groups], second], dim=4)
    assert torch.equal(seen[..., :6, :], kept)
    cache.keep_groups(torch.tensor([3, 0]))
    seen = append(cache, [third])
    assert torch.equal(seen[..., :9, :], torch.cat([kept[:, :, [3, 0]], third], dim=4))
    assert not seen[..., 9:, :].any()


def test_groups_of_the_same_number_change_places_in_memory():
    cache = make_cache()
    (first,), (second,) = make_steps(1), make_steps(1)
    append(cache, [first])
    cache.keep_groups(torch.tensor([1, 0]))
    assert torch.equal(append(cache, [second])[..., :2, :], torch.cat([first[:, :, [1, 0]], second], dim=4))


def test_keeping_slots_takes_those_of_each_group():
    cache = make_cache(width=3)
    first, second, third = make_steps(3, width=3)
    append(cache, [first, second])
    slots = torch.tensor([[2, 0, 5], [1, 4, 2]])
    cache.keep_slots(slots)
    assert cache.num_slots == 3
    seen = append(cache, [third])
    written = torch.cat([first, second], dim=4)
    kept = torch.stack([written[:, :, group, :, chosen] for group, chosen in enumerate(slots)], dim=2)
    assert torch.equal(seen[..., :6, :], torch.cat([kept, third], dim=4))


def test_what_attention_sees_is_a_number_after_slots_were_dropped_and_others_came():
    cache = make_cache(width=3)
    append(cache, make_steps(12, width=3))
    cache.keep_slots(torch.arange(6).repeat(2, 1))
    assert cache.num_visible == SLOT_GROUP
    seen = append(cache, make_steps(12, width=3))
    assert seen.size(4) == cache.num_visible == 3 * SLOT_GROUP
    assert seen.isfinite().all()


def test_tells_its_size():
    assert make_cache(width=3).cache_bytes == LAYERS * 2 * GROUPS * HEADS * 16 * 3 * SIZE * 4


def test_a_layer_gets_its_new_buffer_when_those_before_it_have_theirs(monkeypatch):
    cache = make_cache(groups=4)
    append(cache, make_steps(1, groups=4), groups=4)
    sizes, build = [], cache_module._LayerBuffer

    def observe(*args):
        sizes.append(cache.cache_bytes)
        return build(*args)

    monkeypatch.setattr(cache_module, "_LayerBuffer", observe)
    whole = cache.cache_bytes
    cache.keep_groups(torch.tensor([0]))
    assert sizes == [whole, whole - 3 * whole // (4 * LAYERS)]
