import pytest
import torch


@pytest.fixture(scope="session")
def loaded(model_folder):
    """The shared model of random weights, loaded."""
    from mtkit.checkpoint.model_folder import load_model

    return load_model(model_folder, torch.device("cpu"))
