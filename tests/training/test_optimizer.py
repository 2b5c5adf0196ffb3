import pytest
import torch

from mtkit.config.training import TrainingSection
from mtkit.training.optimizer import build_optimizer


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_every_setting_reaches_the_optimizer(make_random_model, name, kind):
    training = TrainingSection(
        optimizer=name, learning_rate=2e-3, adam_beta1=0.8, adam_beta2=0.9, adam_epsilon=1e-7, weight_decay=0.1
    )
    model = make_random_model()
    optimizer = build_optimizer(model, training)
    assert type(optimizer) is kind
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (2e-3, (0.8, 0.9), 1e-7)
    given = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(given) == len({id(parameter) for parameter in given}) == len(list(model.parameters()))


def test_weight_decay_leaves_out_biases_and_norms(make_random_model):
    model = make_random_model()
    optimizer = build_optimizer(model, TrainingSection(weight_decay=0.1))
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] > 0 for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in decayed) == (name.endswith("weight") and "norm" not in name), name
