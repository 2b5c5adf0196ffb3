import pytest
import torch

from mtkit.checkpoint.run_folder import RunFolder
from mtkit.config.model import build_model_config
from mtkit.corpus.store import PreparedCorpus
from mtkit.errors import TrainingError
from mtkit.model.transformer import build_model
from mtkit.training.trainer import Trainer, _Tally, measure_seconds_per_step


@pytest.fixture
def make_trainer(corpus_path, make_recipe, tmp_path):
    def make(*settings, dtype=torch.float32):
        recipe = make_recipe(*settings)
        corpus = PreparedCorpus.load(corpus_path)
        torch.manual_seed(1)
        size = len(corpus.source_tokenizer)
        return Trainer(
            run=RunFolder(tmp_path / "run"),
            model=build_model(build_model_config(recipe.model, size, size)).to(dtype),
            split=corpus.train,
            validator=None,
            training=recipe.training,
            max_steps=20,
            precision="fp32",
            device=torch.device("cpu"),
        )

    return make


def gradient(trainer):
    trainer.compute_gradients(1, trainer._plan(0)[0], _Tally())
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("micro_batch_tokens", [100, 66, 20])
def test_one_batch_equals_its_split(make_trainer, dtype, tolerance, micro_batch_tokens):
    settings = ["model.dropout=0", "training.batch_tokens=200", "training.label_smoothing=0.1"]
    whole = gradient(make_trainer(*settings, dtype=dtype))
    split_trainer = make_trainer(*settings, f"training.micro_batch_tokens={micro_batch_tokens}", dtype=dtype)
    split = gradient(split_trainer)
    assert (whole - split).norm() / whole.norm() <= tolerance


def test_the_gradient_is_that_of_the_mean_over_target_tokens(make_trainer):
    trainer = make_trainer("model.dropout=0", "training.label_smoothing=0", dtype=torch.float64)
    ours = gradient(trainer)
    trainer.optimizer.zero_grad()
    rows = trainer._plan(0)[0]
    sources, targets = trainer.split.token_ids(rows)
    losses = []
    for source, target in zip(sources, targets, strict=True):  # each sentence alone, without any padding
        src_ids = torch.tensor([[*source, 3]])
        logits = trainer.model(src_ids, torch.tensor([[2, *target]]))[0]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor([*target, 3]), reduction="none"))
    torch.cat(losses).mean().backward()
    expected = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
    assert (ours - expected).norm() / expected.norm() < 1e-12


def test_dropout_is_a_function_of_seed_and_step(make_trainer):
    first, again = gradient(make_trainer("model.dropout=0.5")), gradient(make_trainer("model.dropout=0.5"))
    other_seed = gradient(make_trainer("model.dropout=0.5", "training.seed=9"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other_seed)


def test_a_gradient_that_is_not_finite_is_skipped_and_counted(make_trainer):
    trainer = make_trainer()
    before = {name: p.clone() for name, p in trainer.model.named_parameters()}
    honest = trainer._losses
    trainer._losses = lambda batch: tuple(loss * float("nan") for loss in honest(batch))
    rows = trainer._plan(0)[0]
    for step in range(1, 10):
        trainer.update(step, rows, _Tally())
    assert trainer.state.skipped_updates == 9
    assert all(torch.equal(before[name], p) for name, p in trainer.model.named_parameters())
    with pytest.raises(TrainingError, match="10 updates in a row, up to step 10"):
        trainer.update(10, rows, _Tally())


def test_one_good_update_forgives_the_bad_ones_before(make_trainer):
    trainer = make_trainer()
    honest = trainer._losses
    rows = trainer._plan(0)[0]
    for step in range(1, 30):
        trainer._losses = honest if step % 5 == 0 else lambda b: tuple(loss * float("inf") for loss in honest(b))
        trainer.update(step, rows, _Tally())
    assert trainer.state.skipped_updates == 24


def test_measuring_the_rate_changes_nothing(make_trainer):
    trainer = make_trainer()
    before = [p.clone() for p in trainer.model.parameters()]
    assert 0 < measure_seconds_per_step(trainer) < 10
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    assert not trainer.optimizer.state
    assert all(p.grad is None for p in trainer.model.parameters())


def test_the_gradient_is_clipped(make_trainer):
    trainer = make_trainer("training.clip_norm=0.001")
    tally = _Tally()
    trainer.update(1, trainer._plan(0)[0], tally)
    total = torch.cat([p.grad.flatten() for p in trainer.model.parameters()]).norm()
    assert total <= 0.001001
    assert tally.grad_norm > 0.001
