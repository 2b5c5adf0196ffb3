import re
import shutil
import signal
from types import SimpleNamespace

import pytest
import torch

from mtkit.checkpoint.run_folder import RunFolder, RunRecord
from mtkit.checkpoint.weights import read_tensors
from mtkit.config.model import build_model_config
from mtkit.corpus.batching import SpecialIds
from mtkit.corpus.store import PreparedCorpus
from mtkit.errors import DeviceError, RecipeError
from mtkit.model.transformer import build_model
from mtkit.runtime.distributed import Processes
from mtkit.training import micro_batch
from mtkit.training.micro_batch import (
    _kept_bytes,
    _longest_batch,
    _padded_tokens,
    _try_sizes,
    bytes_per_token,
    fit_micro_batch,
)
from mtkit.training.parallel import TrainedModel
from mtkit.training.run import train_model
from mtkit.training.trainer import Trainer
from mtkit.training.updates import UpdateReader


def train(corpus_path, recipe, output, **options):
    return train_model(corpus_path, recipe, output, device="cpu", threads=1, **options)


@pytest.fixture
def make(corpus_path, make_recipe):
    """Return a function that gives model and reader as a training has them."""

    def make(*settings, processes=Processes()):
        recipe, corpus = make_recipe(*settings), PreparedCorpus.load(corpus_path)
        size = len(corpus.source_tokenizer)
        model = build_model(build_model_config(recipe.model, size, size))
        record = RunRecord(
            mtkit_version="0", torch_version="0", device="cpu", processor="any", threads=1, processes=1, corpus="c",
            corpus_fingerprint="f", precision="fp32",
        )  # fmt: skip
        special = SpecialIds(model.config.pad_id, model.config.eos_id, model.config.decoder_start_id)
        trained = TrainedModel(model, recipe.training, Processes(), "fp32", torch.device("cpu"))
        trained.processes = processes
        return trained, UpdateReader(corpus.train, special, recipe.training, processes, record)

    return make


@pytest.fixture
def leave(monkeypatch):
    """Return a function that says how much memory is free."""
    return lambda free: monkeypatch.setattr(micro_batch, "available_memory", lambda: free)


@pytest.mark.parametrize(
    "settings",
    [(), ("training.r_drop=1", "model.dropout=0.2"), ("training.activation_checkpointing=true", "model.dropout=0.2")],
)
def test_the_estimate_tells_what_a_batch_of_another_size_keeps(make, settings):
    trained, reader = make(*settings)
    batch = _longest_batch(reader, 2500)
    assert _padded_tokens(batch) > 2000
    estimate = bytes_per_token(trained, reader) * _padded_tokens(batch)
    assert estimate == pytest.approx(_kept_bytes(trained, batch), rel=0.25)
    assert estimate == pytest.approx(allocated_bytes(trained, batch), rel=0.25)


def allocated_bytes(trained, batch):
    """What torch allocates in a forward pass and does not free before the backward pass."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True, acc_events=True) as profile:
        loss = trained.compute_loss(batch)[0]
    assert loss.requires_grad
    return sum(event.self_cpu_memory_usage for event in profile.key_averages())


def test_the_estimate_knows_what_takes_and_what_saves_memory(make):
    plain = bytes_per_token(*make())
    assert bytes_per_token(*make("training.r_drop=1")) == pytest.approx(2 * plain, rel=0.2)
    deep = ["model.num_encoder_layers=3", "model.num_decoder_layers=3"]
    saved = bytes_per_token(*make(*deep, "training.activation_checkpointing=true"))
    assert saved < 0.5 * bytes_per_token(*make(*deep))
    assert bytes_per_token(*make(*deep)) > 2 * plain


def test_of_a_few_pairs_the_estimate_is_what_they_keep(make):
    trained, reader = make()
    reader.longest = reader.longest[:5]
    batch = _longest_batch(reader, 1000)
    assert bytes_per_token(trained, reader) == pytest.approx(_kept_bytes(trained, batch) / _padded_tokens(batch))


def test_the_estimate_leaves_no_gradient(make):
    trained, reader = make()
    bytes_per_token(trained, reader)
    assert all(p.grad is None for p in trained.parameters)


def test_sizes_are_halved_until_half_of_what_is_free_will_do(make, leave):
    trained, reader = make("training.batch_tokens=1000")
    per_token = bytes_per_token(trained, reader)
    for tokens_that_fit, expected in ((1001, 1000), (999, 500), (300, 250), (130, 125)):
        leave(int(2 * per_token * tokens_that_fit))
        tokens, reason = fit_micro_batch(trained, reader)
        assert tokens == expected
        assert "GB free" in reason
    leave(None)
    assert fit_micro_batch(trained, reader) == (1000, "the whole update: how much memory is free cannot be told")


def test_a_process_needs_room_for_its_share_only(make, leave):
    leave(1 << 40)
    trained, reader = make("training.batch_tokens=1000", processes=Processes(0, 4, 0))
    tokens, _ = fit_micro_batch(trained, reader)
    assert 250 <= tokens <= 250 + reader.longest.max()


@pytest.fixture
def gpu(monkeypatch):
    """Return a function that lets the CPU stand for a GPU with room for so many tokens at once."""

    def gpu(room):
        def backward(self, batch, *, is_last, weight=1.0):
            assert not is_last, "a sum over processes that breaks off cannot be begun again"
            if batch.tgt_out_ids.numel() > room:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            for parameter in self.parameters:
                parameter.grad = torch.ones_like(parameter)

        monkeypatch.setattr(TrainedModel, "backward", backward)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=1000))
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    return gpu


def test_on_a_gpu_sizes_are_tried(make, gpu):
    trained, reader = make()
    longest = int(reader.longest.max())
    for room, tokens, expected in ((1000, 1000, 1000), (999, 1000, 500), (longest, 8 * longest, longest)):
        gpu(room)
        assert _try_sizes(trained, reader, tokens) == expected
        assert all(p.grad is None for p in trained.parameters)
    gpu(longest)
    assert _try_sizes(trained, reader, longest - 1) == longest - 1  # a pair longer than an update is one of its own
    gpu(longest - 1)
    with pytest.raises(DeviceError, match=rf"not even one pair of {longest} tokens"):
        _try_sizes(trained, reader, 1000)


@pytest.mark.parametrize(("settings", "copies"), [((), 2), (("training.ema_decay=0.9",), 3)])
def test_sizes_are_tried_beside_what_the_optimizer_keeps_and_some_room(make, gpu, monkeypatch, settings, copies):
    gpu(1000)
    trained, reader = make(*settings)
    reserved = []
    for name in ("empty", "empty_like"):
        honest = getattr(torch, name)
        monkeypatch.setattr(
            torch, name, lambda *given, honest=honest, **options: reserved.append(honest(*given, **options))
        )
    _try_sizes(trained, reader, 100)
    a_tenth = 100
    assert sum(t.numel() for t in reserved) == copies * sum(p.numel() for p in trained.parameters) + a_tenth


def test_parts_of_a_model_on_a_gpu_are_fitted_to_what_is_free(make, monkeypatch):
    """A size that is tried and too large would leave the other processes waiting."""
    trained, reader = make("training.batch_tokens=1000")
    trained.device, trained.kind = torch.device("cuda"), "fsdp"
    monkeypatch.setattr(micro_batch, "bytes_per_token", lambda *_: 1e6)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2 * 300 * 10**6, 10**12))
    assert fit_micro_batch(trained, reader)[0] == 250


def test_where_not_even_one_pair_fits_nothing_is_trained(make, leave):
    trained, reader = make()
    longest = int(reader.longest.max())
    leave(int(2 * bytes_per_token(trained, reader) * (longest - 1)))
    with pytest.raises(DeviceError, match=rf"not even one pair of {longest} tokens") as caught:
        fit_micro_batch(trained, reader)
    assert caught.value.at == "training.micro_batch_tokens"


@pytest.mark.parametrize(
    "error", [RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), MemoryError()]
)
def test_a_pair_so_long_that_the_estimate_runs_out_of_memory_is_told(make, leave, monkeypatch, error):
    trained, reader = make()
    leave(10**9)

    def compute_loss(self, batch):
        raise error

    monkeypatch.setattr(TrainedModel, "compute_loss", compute_loss)
    with pytest.raises(DeviceError, match=rf"not even one pair of {reader.longest.max()} tokens.*1\.0 GB are free"):
        fit_micro_batch(trained, reader)


def test_what_was_chosen_is_kept_by_every_resume(make, leave, corpus_path, make_recipe, tmp_path, monkeypatch, capfd):
    leave(int(2 * bytes_per_token(*make()) * 60))
    honest = Trainer.compute_gradients
    sizes = []

    def compute_gradients(self, update):
        sizes.extend(batch.tgt_out_ids.numel() for batch in update.batches if len(batch.rows) > 1)
        if update.step == 3:
            signal.raise_signal(signal.SIGTERM)
        return honest(self, update)

    recipe = make_recipe("training.max_steps=6")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "compute_gradients", compute_gradients)
        assert train(corpus_path, recipe, tmp_path / "run").exit_code == 143
    assert "micro-batches of 50 tokens: estimated at" in capfd.readouterr().err
    chosen = RunFolder(tmp_path / "run").read_record().micro_batches
    assert [(entry.from_step, entry.tokens) for entry in chosen] == [(1, 50)]
    assert chosen[0].reason.startswith("estimated at")
    leave(1 << 40)
    train(corpus_path, recipe, tmp_path / "run")
    assert RunFolder(tmp_path / "run").read_record().micro_batches == chosen
    assert "micro-batches of" not in capfd.readouterr().err
    train(corpus_path, make_recipe("training.max_steps=6", "training.micro_batch_tokens=50"), tmp_path / "set")
    assert max(sizes) <= 50
    ours, theirs = (read_tensors(tmp_path / name / "model" / "model.safetensors") for name in ("run", "set"))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_choosing_changes_nothing_else(corpus_path, make_recipe, tmp_path, leave):
    leave(1 << 40)
    for name, size in (("auto", "auto"), ("set", 200)):
        recipe = make_recipe(f"training.micro_batch_tokens={size}", "training.max_steps=3", "model.dropout=0.2")
        train(corpus_path, recipe, tmp_path / name)
    ours, theirs = (read_tensors(tmp_path / name / "model" / "model.safetensors") for name in ("auto", "set"))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    reasons = [RunFolder(tmp_path / name).read_record().micro_batches[0].reason for name in ("auto", "set")]
    assert reasons[0].startswith("estimated at")
    assert reasons[1] == "as the recipe says"


def run_out_of_memory(*_):
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")


def read_told(run):
    """The metrics without times, the log without dates, and what the report says of micro-batches."""
    records = [{k: v for k, v in r.items() if not k.endswith(("_second", "_seconds"))} for r in run.read_metrics()]
    lines = (run.path / "log.txt").read_text(encoding="utf-8").splitlines()
    return records, [line[20:] for line in lines], re.findall(r"\d+ tokens from step \d+", read_report(run))


def read_report(run):
    return (run.path / "report.html").read_text(encoding="utf-8")


def test_memory_that_ran_out_is_told_with_its_step_and_again_by_a_run_that_makes_it_again(
    corpus_path, make_recipe, tmp_path, monkeypatch
):
    honest, calls, run = TrainedModel.backward, [], RunFolder(tmp_path / "run")

    def backward(self, batch, **options):
        calls.append(batch)
        if len(calls) > 7 and batch.tgt_out_ids.numel() > 100:
            run_out_of_memory()
        return honest(self, batch, **options)

    recipe = make_recipe("training.max_steps=10", "training.micro_batch_tokens=200")
    with monkeypatch.context() as patch:
        patch.setattr(TrainedModel, "backward", backward)
        train(corpus_path, recipe, run.path)
    halved = run.read_record().micro_batches[1:]
    assert halved
    assert {entry.from_step for entry in halved} == {8}
    records, lines, shown = read_told(run)
    assert [r["tokens"] for r in records if r["kind"] == "micro_batches"] == [entry.tokens for entry in halved]
    assert [r["step"] for r in records if r["kind"] == "micro_batches"] == [8] * len(halved)
    assert sum("step 8: micro-batches of" in line for line in lines) == len(halved)
    assert shown == [f"{entry.tokens} tokens from step 8" for entry in halved]
    shutil.rmtree(run.model)  # as if a kill had come before the second checkpoint
    shutil.rmtree(run.checkpoint(10))
    run.write_record(run.read_record().model_copy(update={"is_finished": False}))
    train(corpus_path, recipe, run.path)
    assert read_told(run)[0] == records


@pytest.mark.parametrize(("name", "step"), [("step", 7), ("take_snapshot", 10), ("evaluated_weights", 10)])
def test_memory_that_runs_out_elsewhere_is_told_with_its_step_and_the_run_may_go_on_with_less(
    corpus_path, make_recipe, tmp_path, monkeypatch, name, step
):
    honest, calls, run = getattr(TrainedModel, name), [], RunFolder(tmp_path / "run")

    def method(self, *arguments):
        calls.append(arguments)
        if len(calls) == {"step": 8, "take_snapshot": 2, "evaluated_weights": 1}[name]:
            run_out_of_memory()
        return honest(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TrainedModel, name, method)
        with pytest.raises(
            DeviceError, match=f"error: out of memory after step {step}: .*can't allocate memory"
        ) as caught:
            train(corpus_path, make_recipe("training.max_steps=10"), run.path)
    assert [path.name for path in run.list_checkpoints()] == ["step-00000005"]
    for field in ("training.activation_checkpointing=true", "training.micro_batch_tokens"):
        assert field in caught.value.fix
    less = ("training.activation_checkpointing=true", "training.micro_batch_tokens=50")
    sizes = []
    honest_loss = TrainedModel.compute_loss

    def compute_loss(self, batch):
        sizes.append((self.model.recompute_layers, batch.tgt_out_ids.numel()))
        return honest_loss(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(TrainedModel, "compute_loss", compute_loss)
        train(corpus_path, make_recipe("training.max_steps=10", *less), run.path)
    assert all(is_recomputed and size <= 50 for is_recomputed, size in sizes)
    assert [(entry.from_step, entry.tokens) for entry in run.read_record().micro_batches[1:]] == [(6, 50)]
    assert run.read_recipe().training.micro_batch_tokens == 50
    assert [(r["step"], r["tokens"]) for r in run.read_metrics() if r["kind"] == "micro_batches"] == [(6, 50)]


def test_micro_batches_and_an_end_may_change_together(corpus_path, make_recipe, tmp_path):
    run = RunFolder(tmp_path / "run")
    train(corpus_path, make_recipe("training.max_steps=5"), run.path)
    settings = ("training.max_steps=7", "training.micro_batch_tokens=50")
    before = run.read_record()
    train(corpus_path, make_recipe("training.max_steps=5", "training.micro_batch_tokens=50"), run.path)
    assert run.read_record() == before  # a finished run has nothing left to compute
    with pytest.raises(RecipeError, match=r"another training\.max_steps \(5 there, 7 now\)\n"):
        train(corpus_path, make_recipe(*settings), run.path)
    train(corpus_path, make_recipe(*settings), run.path, extend=True)
    assert [(entry.from_step, entry.tokens) for entry in run.read_record().micro_batches[1:]] == [(6, 50)]
    assert run.checkpoint(7).exists()
