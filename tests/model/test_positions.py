import math

import pytest
import torch

from mtkit.model.positions import PositionEncoding, sinusoidal_positions


def test_follows_the_published_formula():
    table = sinusoidal_positions(50, 8)
    for position in (0, 1, 7, 49):
        for i in range(4):
            angle = position / 10000 ** (2 * i / 8)
            assert table[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_the_split_layout_holds_the_same_values_elsewhere():
    interleaved, split = sinusoidal_positions(9, 8), sinusoidal_positions(9, 8, "split")
    assert torch.equal(split, torch.cat([interleaved[:, 0::2], interleaved[:, 1::2]], dim=1))


def test_sinusoids_grow_with_the_sequence(make_model):
    encoding = make_model(max_positions=4).source_positions
    x = torch.zeros(1, 50, 16, dtype=torch.float64)
    assert torch.allclose(encoding(x)[0], sinusoidal_positions(50, 16).double(), atol=1e-6)
    assert encoding.max_length is None


def test_the_split_layout_outlasts_the_growth(make_model):
    encoding = make_model(max_positions=4, position_layout="split").source_positions
    x = torch.zeros(1, 50, 16, dtype=torch.float64)
    assert torch.allclose(encoding(x)[0], sinusoidal_positions(50, 16, "split").double(), atol=1e-6)


def test_a_later_start_shifts_the_positions(make_model):
    encoding = make_model().source_positions
    x = torch.zeros(1, 6, 16, dtype=torch.float64)
    assert torch.equal(encoding(x)[0, 4:], encoding.find(4, 6))


def test_learned_positions_are_weights_with_a_limit(make_model):
    model = make_model(positions="learned", max_positions=12)
    assert isinstance(model.source_positions, PositionEncoding)
    assert model.max_length == 12
    assert "source_positions.table" in dict(model.named_parameters())
    assert "source_positions.table" not in make_model().state_dict()
