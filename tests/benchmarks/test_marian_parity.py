"""Whether transformers generates what mtkit does, on 200 real sentences:

    pytest -m benchmark -s tests/benchmarks/test_marian_parity.py

A post-norm model of the quickstart's corpus is exported with `mtkit export --to transformers`. Its `generate`, greedy
and with a beam of 5 (`early_stopping="never"`, length normalisation), and mtkit's search translate 200 sentences of the
test set. Lines with another text must be ties: the scores of both, from one uncached pass in float64, differ by at most
1e-5.

Environment variables, with their defaults:
    MTKIT_BENCHMARK_POST_NORM_MODEL  run or model folder, English-German (one of 3+3 layers is trained for 800
                                     updates: some ten minutes of one CPU core)
"""

import gzip
import itertools
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch

from mtkit.checkpoint.model_folder import load_model
from mtkit.config.decoding import DecodingSection
from mtkit.decoding.translator import Translator
from mtkit.interop.marian_export import export_transformers

ROOT = Path(__file__).parents[2]
SENTENCES = 200
MAX_TOKENS = 100
TIE = 1e-5
SETTINGS = {
    "model.norm": "post", "model.num_encoder_layers": 3, "model.num_decoder_layers": 3, "training.learning_rate": 1e-3,
    "training.max_steps": 800, "training.warmup_steps": 80, "training.validate_every_steps": 200,
    "training.schedule": "inverse_sqrt",
}  # fmt: skip

pytestmark = pytest.mark.benchmark


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    if given := os.environ.get("MTKIT_BENCHMARK_POST_NORM_MODEL"):
        return Path(given).expanduser().resolve()
    folder = tmp_path_factory.mktemp("post") / "post"
    print(f"\ntraining: {folder}", flush=True)
    sets = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    subprocess.run([sys.executable, "-m", "mtkit", "run", "quickstart", *sets, "-o", folder], check=True)
    return folder / "run"


@torch.inference_mode()
def rescore(loaded, source, text):
    """Return the log-probability a token of a translation."""
    config, model = loaded.model.config, loaded.model.double()
    source_ids = torch.tensor([[*loaded.source_tokenizer.encode([source])[0], config.eos_id]])
    target = [*loaded.target_tokenizer.encode([text])[0], config.eos_id]
    logits = model(source_ids, torch.tensor([[config.decoder_start_id, *target[:-1]]]))
    log_probs = logits.log_softmax(-1)[0]
    return sum(float(log_probs[i, token]) for i, token in enumerate(target)) / len(target)


@pytest.mark.parametrize("beam_size", [1, 5])
def test_generation_is_ours(model, beam_size, tmp_path):
    transformers = pytest.importorskip("transformers")
    export_transformers(model, tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = transformers.MarianTokenizer.from_pretrained(tmp_path / "out")
    theirs = transformers.MarianMTModel.from_pretrained(tmp_path / "out").eval()
    with gzip.open(ROOT / "data" / "test.en.gz", "rt", encoding="utf-8") as stream:
        lines = [line.rstrip("\n") for line in itertools.islice(stream, SENTENCES)]
    decoding = DecodingSection(
        beam_size=beam_size, length_penalty=1, length_penalty_type="length", max_length_ratio=1e-6,
        max_length_extra=MAX_TOKENS - 1,
    )  # fmt: skip
    translator = Translator.load(model, device="cpu", decoding=decoding, threads=1)
    start = time.perf_counter()
    ours = translator.translate(lines)
    seconds_here, start = time.perf_counter() - start, time.perf_counter()
    search = {"early_stopping": "never", "length_penalty": 1.0} if beam_size > 1 else {"early_stopping": False}
    texts = []
    for first in range(0, len(lines), 50):
        batch = tokenizer(lines[first : first + 50], return_tensors="pt", padding=True)
        found = theirs.generate(**batch, num_beams=beam_size, max_new_tokens=MAX_TOKENS, max_length=None, **search)
        texts += tokenizer.batch_decode(found, skip_special_tokens=True)
    seconds_there = time.perf_counter() - start
    loaded = load_model(model, torch.device("cpu"))
    differing = [(line, a, b) for line, a, b in zip(lines, ours, texts, strict=True) if a != b]
    gaps = [abs(rescore(loaded, line, a) - rescore(loaded, line, b)) for line, a, b in differing]
    print(
        f"\nbeam {beam_size}: {len(lines) - len(differing)} of {len(lines)} alike, {len(differing)} ties; "
        f"{seconds_here:.1f} s here, {seconds_there:.1f} s in transformers {transformers.__version__}, one thread"
    )
    assert all(gap <= TIE for gap in gaps), list(zip(differing, gaps, strict=True))
