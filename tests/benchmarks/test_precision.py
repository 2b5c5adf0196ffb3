"""How close training in bf16 comes to training in fp32:

    MTKIT_TEST_CORPORA=FOLDER pytest -m benchmark -s tests/benchmarks/test_precision.py

Trains the Multi30k recipe (English to German) for some updates in both, and compares the validation losses, unsmoothed.
MTKIT_BENCHMARK_UPDATES says how many updates (400), MTKIT_BENCHMARK_THREADS on how many threads (all).
"""

import json
import os
import subprocess
import sys

import pytest

UPDATES = int(os.environ.get("MTKIT_BENCHMARK_UPDATES", "400"))


def run(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "mtkit", *map(str, arguments)], stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.benchmark
@pytest.mark.timeout(7200)
def test_bf16_learns_what_fp32_learns(shared_corpora, tmp_path):
    text = shared_corpora / "multi30k"
    texts = [
        f"--{prefix}{side}={text / f'{name}.{language}.gz'}"
        for prefix, name in (("", "train"), ("valid-", "val"), ("test-", "test_2016_flickr"))
        for side, language in (("source", "en"), ("target", "de"))
    ]
    run("prepare", "multi30k-en-de", *texts, "-o", tmp_path / "corpus")
    threads = os.environ.get("MTKIT_BENCHMARK_THREADS")
    settings = [f"training.validate_every_steps={UPDATES // 4}", "training.validation_sentences=20"]
    arguments = ["--preset", "small", "--max-steps", UPDATES, *(f"--set={setting}" for setting in settings)]
    arguments += ["--threads", threads] if threads else []
    losses = {}
    for precision in ("fp32", "bf16"):
        output = tmp_path / precision
        arguments_of_run = [*arguments, f"--set=training.precision={precision}", "--corpus", tmp_path / "corpus"]
        run("train", "multi30k-en-de", *arguments_of_run, "-o", output)
        records = map(json.loads, (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        losses[precision] = {r["step"]: r["loss"] for r in records if r["kind"] == "validation"}
    for step, loss in losses["fp32"].items():
        ratio = losses["bf16"][step] / loss
        print(f"step {step:,}: validation loss {loss:.4f} in fp32, {losses['bf16'][step]:.4f} in bf16, {ratio:.4f}")
    assert abs(ratio - 1) <= 0.01
