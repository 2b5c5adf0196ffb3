import pytest
import torch

from mtkit.decoding.candidates import find_largest


@pytest.mark.parametrize("columns", [5, 128, 640, 1000, 1023])  # without groups, with whole ones, and with a rest
@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_largest_are_those_of_topk(columns, count):
    torch.manual_seed(columns)
    values = torch.stack([torch.randperm(columns) for _ in range(50)]).float()  # no two are equal
    values[:10] = values[:10].sort(1).values  # the largest come last
    values[10:20] = -values[:10]  # first
    largest, places = find_largest(values, count)
    wanted = values.topk(count)
    assert torch.equal(largest, wanted.values)
    assert torch.equal(places, wanted.indices)
