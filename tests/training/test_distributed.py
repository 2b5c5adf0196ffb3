"""Several processes of torchrun, with gloo on the CPU."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mtkit.checkpoint.run_folder import RunFolder
from mtkit.checkpoint.weights import read_tensors
from mtkit.config.loading import write_recipe
from mtkit.corpus.store import PreparedCorpus
from mtkit.runtime.distributed import Processes
from mtkit.training.run import train_model

sys.path.insert(0, str(Path(__file__).parent))
from worker import compute

WORKER = Path(__file__).with_name("worker.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def torchrun(count, *arguments, options=(), wait=True):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", *options]
    command += [str(argument) for argument in arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT, encoding="utf-8"
    )
    if not wait:
        return process
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


TOLERANCES = {"float32": 1e-5, "float64": 1e-12}


@pytest.mark.parametrize("count", [2, 4])
def test_the_gradient_does_not_depend_on_the_processes(corpus_path, make_recipe, tmp_path, count):
    recipe = make_recipe("model.dropout=0", "training.label_smoothing=0.1")
    write_recipe(recipe, tmp_path / "r.yaml")
    cases = [(dtype, parallel, micro) for dtype in TOLERANCES for parallel in ("ddp", "fsdp") for micro in (10_000, 60)]
    torchrun(count, WORKER, corpus_path, tmp_path / "r.yaml", tmp_path, json.dumps(cases))
    corpus = PreparedCorpus.load(corpus_path)
    for number, (dtype, parallel, micro) in enumerate(cases):
        _, tokens, alone = compute(corpus, recipe, Processes(), getattr(torch, dtype), 10_000)
        told = np.load(tmp_path / f"{number}.npz")
        assert (told["kind"], told["tokens"]) == (parallel, tokens)
        difference = np.linalg.norm(alone - told["gradient"]) / np.linalg.norm(alone)
        assert difference <= TOLERANCES[dtype], (dtype, parallel, micro)


def differing(run, other, step):
    """Names of the weights that differ by more than rounding.

    The gradient of a key's bias is zero but for rounding, which Adam makes steps of: it says nothing.
    """
    for name in ("model.safetensors", "average.safetensors"):
        ours, theirs = (read_tensors(r.checkpoint(step) / name) for r in (run, other))
        for key in ours:
            if not key.endswith(("qkv_proj.bias", "kv_proj.bias")) and not torch.allclose(
                ours[key], theirs[key], atol=2e-6
            ):
                yield key


def train_alone(corpus_path, recipe, output, **options):
    train_model(corpus_path, recipe, output, device="cpu", threads=1, **options)
    return RunFolder(output)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_processes_train_as_one_does(corpus_path, make_recipe, tmp_path, parallel):
    """The same validation scores, the same weights but for rounding; and a run goes on with another number of them."""
    # A schedule that does not look to the end, so that a longer run is the same up to here.
    fields = ["model.dropout=0", "training.ema_decay=0.5", "training.schedule=inverse_sqrt"]
    recipe = make_recipe(*fields, "training.max_steps=10")
    alone = train_alone(corpus_path, recipe, tmp_path / "alone")
    several = make_recipe(*fields, "training.max_steps=10", f"training.parallel={parallel}")
    write_recipe(several, tmp_path / "r.yaml")
    arguments = ["-m", "mtkit", "train", tmp_path / "r.yaml", "--corpus", corpus_path, "--threads", 1]
    said = torchrun(2, *arguments, "-o", tmp_path / "two")
    assert f"2 processes ({parallel})" in said
    assert said.count("training 1+1 layers") == 1  # one speaks for all
    two = RunFolder(tmp_path / "two")
    assert not list(differing(alone, two, 10))
    scores = [[r for r in run.read_metrics() if r["kind"] == "validation"][-1] for run in (alone, two)]
    assert scores[0]["loss"] == pytest.approx(scores[1]["loss"], abs=1e-4)
    assert scores[0]["bleu"] == pytest.approx(scores[1]["bleu"], abs=1e-4)
    trained = [[r for r in run.read_metrics() if r["kind"] == "train"] for run in (alone, two)]
    assert [r["loss"] for r in trained[0]] == pytest.approx([r["loss"] for r in trained[1]], abs=1e-4)

    extended = make_recipe(*fields, "training.max_steps=15", f"training.parallel={parallel}")
    run = train_alone(corpus_path, extended, two.path, extend=True)
    longer = make_recipe(*fields, "training.max_steps=15")
    expected = train_alone(corpus_path, longer, tmp_path / "longer")
    assert not list(differing(expected, run, 15))


def test_a_killed_process_is_started_again_and_the_run_goes_on(corpus_path, make_recipe, tmp_path):
    recipe = make_recipe("training.max_steps=60", "training.save_every_steps=5", "model.dropout=0.1")
    write_recipe(recipe, tmp_path / "r.yaml")
    arguments = ["-m", "mtkit", "train", tmp_path / "r.yaml", "--corpus", corpus_path, "--threads", 1]
    torchrun(2, *arguments, "-o", tmp_path / "whole")
    process = torchrun(
        2, *arguments, "-o", tmp_path / "killed", options=["--max-restarts=2", "--monitor-interval=0.1"], wait=False
    )
    run = RunFolder(tmp_path / "killed")
    while len(run.list_checkpoints()) < 2:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    killed_at = run.list_checkpoints()[-1].name
    kill_one_child(process.pid)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "resuming at step" in said, killed_at
    whole = RunFolder(tmp_path / "whole")
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (run.checkpoint(60) / name).read_bytes() == (whole.checkpoint(60) / name).read_bytes()


def kill_one_child(pid):
    """Kill a worker of torchrun other than the first."""
    children = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)


def test_a_signal_to_torchrun_saves_the_run(corpus_path, make_recipe, tmp_path):
    recipe = make_recipe(
        "training.max_steps=100000", "training.save_every_steps=100000", "training.validate_every_steps=100000"
    )
    write_recipe(recipe, tmp_path / "r.yaml")
    arguments = ["-m", "mtkit", "train", tmp_path / "r.yaml", "--corpus", corpus_path, "--threads", 1]
    process = torchrun(2, *arguments, "-o", tmp_path / "run", wait=False)
    run = RunFolder(tmp_path / "run")
    while len(run.read_metrics()) < 2:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    (checkpoint,) = run.list_checkpoints()
    assert run.read_state(checkpoint).step >= 10, said


def test_a_mistake_is_told_once(corpus_path, make_recipe, tmp_path):
    write_recipe(make_recipe(), tmp_path / "r.yaml")
    train_alone(corpus_path, make_recipe(), tmp_path / "run")
    arguments = ["-m", "mtkit", "train", tmp_path / "r.yaml", "--corpus", corpus_path, "--threads", 1]
    process = torchrun(2, *arguments, "--set", "training.seed=5", "-o", tmp_path / "run", wait=False)
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert said.count("training.seed (1 there, 5 now)") == 1
    assert "is gone" not in said
    assert "bug in mtkit" not in said


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_disk_that_is_full_for_the_first_process_is_told_once(corpus_path, make_recipe, tmp_path):
    import resource

    write_recipe(make_recipe("model.d_ff=8192"), tmp_path / "r.yaml")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        arguments = ["-m", "mtkit", "train", tmp_path / "r.yaml", "--corpus", corpus_path, "--threads", 1]
        process = torchrun(2, *arguments, "-o", tmp_path / "run", wait=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert said.count("error: cannot write: File too large") == 1
    assert "is gone" not in said
