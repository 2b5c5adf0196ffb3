import pytest
import torch

from mtkit.config.model import ModelConfig
from mtkit.model.transformer import build_model


@pytest.fixture
def make_model():
    """Return a function that builds a small float64 model in evaluation mode, with the fields given."""

    def make(**fields):
        values = {
            "src_vocab_size": 23, "tgt_vocab_size": 23, "d_model": 16, "d_ff": 32, "num_heads": 4,
            "num_encoder_layers": 2, "num_decoder_layers": 3, "norm": "pre", "positions": "sinusoidal",
            "max_positions": 32, "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
            "tied_embeddings": "all",
        }  # fmt: skip
        torch.manual_seed(5)
        model = build_model(ModelConfig(**{**values, **fields}))
        with torch.no_grad():
            for parameter in model.parameters():  # norms and biases too, so that nothing is trivially one or zero
                parameter.add_(torch.randn_like(parameter) * 0.05)
        return model.double().eval()

    return make


@pytest.fixture
def batch():
    """Sources `(3, 7)` and decoder inputs `(3, 5)`, of different lengths, padded with 0."""
    src_ids = torch.tensor([[5, 6, 7, 8, 9, 10, 3], [11, 12, 3, 0, 0, 0, 0], [13, 14, 15, 16, 3, 0, 0]])
    tgt_ids = torch.tensor([[2, 5, 6, 7, 8], [2, 9, 0, 0, 0], [2, 10, 11, 12, 0]])
    return src_ids, tgt_ids
