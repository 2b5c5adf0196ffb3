import gzip
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = "multi30k-en-de"


def call(*command):
    done = subprocess.run(
        [sys.executable, "-m", "mtkit", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.fixture(scope="session")
def multi30k_model(request, tmp_path_factory):
    """An English-German model: MTKIT_BENCHMARK_MODEL, or a small one that the recipe trains.

    It does so for MTKIT_BENCHMARK_TRAIN_STEPS.
    """
    given = os.environ.get("MTKIT_BENCHMARK_MODEL")
    if given:
        return Path(given).expanduser().resolve()
    corpora = request.getfixturevalue("shared_corpora") / "multi30k"
    steps = int(os.environ.get("MTKIT_BENCHMARK_TRAIN_STEPS") or 1000)
    threads = os.environ.get("MTKIT_BENCHMARK_THREADS")
    texts = [
        f"--{prefix}{side}={corpora / f'{name}.{language}.gz'}"
        for prefix, name in (("", "train"), ("valid-", "val"), ("test-", "test_2016_flickr"))
        for side, language in (("source", "en"), ("target", "de"))
    ]
    run = tmp_path_factory.mktemp("multi30k") / "run"
    settings = {
        "model.preset": "small",
        "training.max_steps": steps,
        "training.warmup_steps": max(1, min(400, steps // 10)),
        "training.validate_every_steps": steps,
        "training.save_every_steps": max(1, steps // 20),
    }
    print(f"\ntraining {steps:,} steps: {run}", flush=True)
    sets = [f"--set={name}={value}" for name, value in settings.items()]
    call("run", RECIPE, *texts, *sets, *(["--threads", threads] if threads else []), "-o", run)
    return run / "model"


@pytest.fixture(scope="session")
def read_multi30k(shared_corpora):
    """Return a function that reads the first lines of a file, such as `val.en`; all of them without a count."""

    def read(name, count=None):
        with gzip.open(shared_corpora / "multi30k" / f"{name}.gz", "rt", encoding="utf-8") as stream:
            return [line.rstrip("\n") for line in itertools.islice(stream, count)]

    return read
