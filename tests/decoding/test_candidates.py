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


@pytest.mark.parametrize("length", [5, 640, 1000, 20_000])
@pytest.mark.parametrize("count", [1, 7])
def test_the_largest_of_several_parts_are_those_of_the_sums(length, count):
    torch.manual_seed(length)
    rows, parts = 20, 3
    values = torch.stack([torch.randperm(parts * length) for _ in range(rows)]).float()
    added = torch.tensor([0.25, -0.5 * length, 0.5 * length]).expand(rows, -1).clone()
    added[0, 1] = -torch.inf
    sums = (values.view(rows, parts, length) + added.unsqueeze(-1)).flatten(1)
    largest, places = find_largest(values, count, added)
    assert torch.equal(largest, sums.topk(count).values)
    assert torch.equal(sums.gather(1, places), largest)


@pytest.mark.parametrize("parts", [None, 3])
@pytest.mark.parametrize("count", [1, 7])
def test_of_no_rows_there_are_no_largest(count, parts):
    values = torch.empty(0, 30)
    largest, places = find_largest(values, count, None if parts is None else torch.empty(0, parts))
    assert largest.shape == places.shape == (0, count)


@pytest.mark.parametrize("length", [8000, 8001])
def test_places_of_what_is_ruled_out_are_places(length):
    values = torch.full((3, 4 * length), -torch.inf)
    values[:, length + 5] = -1.0
    largest, places = find_largest(values, 9, torch.zeros(3, 4))
    assert largest[:, 0].tolist() == [-1.0] * 3
    assert places[:, 0].tolist() == [length + 5] * 3
    assert (largest[:, 1:] == -torch.inf).all()
    assert ((places >= 0) & (places < 4 * length)).all()
