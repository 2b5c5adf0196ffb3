"""The speed of `mtkit train` beside eole and fairseq, on a CPU with all its cores:

    MTKIT_TEST_CORPORA=FOLDER pytest -m benchmark -s tests/benchmarks/test_training_speed.py

The job is Multi30k en-de: a joint BPE vocabulary of 8,000 pieces, 6+6 layers, tied embeddings, batches of 4,096 tokens
counted as rows x longest side, Adam, dropout and label smoothing of 0.1. The text of the peers is that of our prepared
corpus in its pieces, so that all see the same tokens; preparing it is not timed. A round is mtkit and eole in bf16
(where the processor has it), mtkit and eole in fp32, mtkit and fairseq in fp32, one after the other.

Environment variables, with their defaults:
    MTKIT_PEERS                    folder in which the peers' virtual environments are made and kept
                                   (~/.cache/mtkit-peers)
    MTKIT_BENCHMARK_ROUNDS         runs of each peer, of which the median is taken (3)
    MTKIT_BENCHMARK_UPDATES        updates of a run (30)
    MTKIT_BENCHMARK_PRESET         small (256 wide) or base (512)
    MTKIT_BENCHMARK_BATCH_TOKENS   4096

All three report target tokens a second in the same way, and the last report of a run is read, that of its last 10
updates; with fewer than 20 updates that is the first one, with the warming up in it. As found in the sources:
    mtkit           tokens of the target with its EOS, without padding and BOS; time for reading included, for
                    validation and checkpoints not (there is none before the last report)
    eole 0.6.4      the same: `n_tokens` counts what is not padding in the target behind its start symbol, EOS included;
                    the time is that since the report before. In bf16 it autocasts over fp32 weights, as mtkit does
    fairseq-fixed   the same: `ntokens` sums the lengths of the targets, EOS included, and `wps` of `train_inner` starts
    0.12.3.1        anew at each report
What differs between them: eole counts the target's start symbol towards the size of a batch, but no EOS of the source,
and leaves out a source that its batch has already; fairseq makes batches of a multiple of 8 rows. eole's batches are so
a little smaller. The peers' vocabularies hold only the pieces that the text uses: 7,786 of 8,000. eole has by default
dropout of 0.1 in attention too, where mtkit and fairseq have none. eole and the preset `small` are pre-norm, fairseq
and `base` post-norm.
"""

import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from mtkit.config.model import PRESETS
from mtkit.corpus.store import PreparedCorpus
from mtkit.runtime.device import resolve_precision

MIN_RATIOS = {"bf16": 1.7, "fp32": 1.2}
PEERS = {"eole": ("eole", "aiohttp"), "fairseq": ("fairseq-fixed", "sentencepiece")}
REPORT_STEPS = 10
HAS_BF16 = resolve_precision("auto", torch.device("cpu")) == "bf16"
PAIRINGS = [("eole", "bf16")] * HAS_BF16 + [("eole", "fp32"), ("fairseq", "fp32")]


@dataclass(frozen=True)
class Job:
    """What everyone is to do.

    Attributes:
        corpus: The prepared corpus.
        folder: Holds the same text in pieces, and all that the runs write.
        preset: `small` or `base`.
        batch_tokens: Rows x longest side of an update.
        updates: Updates of a run.
    """

    corpus: Path
    folder: Path
    preset: str
    batch_tokens: int
    updates: int

    @property
    def report_steps(self):
        return min(REPORT_STEPS, self.updates)

    @property
    def shape(self):
        """Return width, inner width and number of heads."""
        return tuple(PRESETS[self.preset][name] for name in ("d_model", "d_ff", "num_heads"))


class Rates(NamedTuple):
    """What runs beside each other reached, in target tokens a second."""

    ours: list[float]
    theirs: list[float]


def call(command, log, folder=None):
    """Run a command without a GPU; what it says goes to a file and comes back."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    log.write_text(done.stdout, encoding="utf-8")
    assert done.returncode == 0, f"{log.stem} ended with {done.returncode}:\n{done.stdout[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def peers():
    """The programs of each peer's own virtual environment, which is made where it is not there."""
    root = Path(os.environ.get("MTKIT_PEERS") or "~/.cache/mtkit-peers").expanduser()
    torch_version = importlib.metadata.version("torch").split("+")[0]
    for name, packages in PEERS.items():
        folder = root / name
        wanted = " ".join([f"torch=={torch_version}", *packages])
        mark = folder / "installed.txt"
        if not mark.is_file() or mark.read_text(encoding="utf-8") != wanted:
            print(f"\ninstalling {wanted} into {folder}", flush=True)
            folder.mkdir(parents=True, exist_ok=True)
            call([sys.executable, "-m", "venv", folder], folder / "venv.log")
            pip = [program(folder, "python"), "-m", "pip", "install", "-q"]
            call([*pip, f"torch=={torch_version}"], folder / "torch.log")  # first, or a peer chooses another
            call([*pip, *packages], folder / "packages.log")
            mark.write_text(wanted, encoding="utf-8")
    return {name: root / name for name in PEERS}


def program(environment, name):
    return environment / ("Scripts" if os.name == "nt" else "bin") / name


@pytest.fixture(scope="module")
def job(shared_corpora, tmp_path_factory):
    """Multi30k as a prepared corpus, and its text in pieces; no validation, which would only take time."""
    folder = tmp_path_factory.mktemp("speed")
    text = shared_corpora / "multi30k"
    sides = ["--source", text / "train.en.gz", "--target", text / "train.de.gz"]
    sizes = ["--vocab-size", 8000, "--set", "corpus.valid_size=0", "--set", "corpus.test_size=0"]
    command = [sys.executable, "-m", "mtkit", "prepare", *sides, *sizes, "-o", folder / "corpus"]
    call(command, folder / "prepare.log")
    write_pieces(PreparedCorpus.load(folder / "corpus"), folder)
    return Job(
        corpus=folder / "corpus",
        folder=folder,
        preset=os.environ.get("MTKIT_BENCHMARK_PRESET") or "small",
        batch_tokens=int(os.environ.get("MTKIT_BENCHMARK_BATCH_TOKENS") or 4096),
        updates=int(os.environ.get("MTKIT_BENCHMARK_UPDATES") or 30),
    )


def write_pieces(corpus, folder):
    """Write the training text in pieces, and the first of it as the validation text that the peers ask for."""
    for side, tokenizer in (("source", corpus.source_tokenizer), ("target", corpus.target_tokenizer)):
        lines = []
        for pair in corpus.train:
            token_ids = getattr(pair, f"{side}_ids")
            # A peer would split a piece at a space of another kind, such as U+00A0.
            lines.append(" ".join(re.sub(r"\s", "_", piece) for piece in tokenizer.pieces(token_ids)))
            assert len(lines[-1].split()) == len(token_ids)
        for name, count in (("train", len(lines)), ("valid", 100)):
            content = "".join(f"{line}\n" for line in lines[:count])
            (folder / f"{name}.{side}").write_text(content, encoding="utf-8", newline="\n")


def train_mtkit(job, precision):
    """Return the rate of one run of `mtkit train`, by its metrics."""
    run = job.folder / "mtkit" / f"run-{time.time_ns()}"
    settings = {
        "training.precision": precision, "training.batch_tokens": job.batch_tokens,
        "training.log_every_steps": job.report_steps, "training.save_every_steps": job.updates,
        "training.validate_every_steps": job.updates, "training.optimizer": "adam", "training.learning_rate": 1e-3,
        "training.label_smoothing": 0.1, "model.dropout": 0.1, "model.tied_embeddings": "all",
    }  # fmt: skip
    sets = [argument for name, value in settings.items() for argument in ("--set", f"{name}={value}")]
    options = ["--corpus", job.corpus, "--preset", job.preset, "--max-steps", job.updates, "--device", "cpu", *sets]
    call([sys.executable, "-m", "mtkit", "train", *options, "-o", run], job.folder / f"mtkit-{precision}.log")
    records = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [record["tokens_per_second"] for record in records if record["kind"] == "train"][-1]


def train_eole(job, precision, environment):
    """Return the rate of one run of eole, by its log: `SOURCE/TARGET tok/s`."""
    eole = program(environment, "eole")
    config = job.folder / f"eole-{precision}.yaml"
    config.write_text(json.dumps(configure_eole(job, precision)), encoding="utf-8")  # JSON is YAML
    if not (job.folder / "eole" / "vocab.shared").exists():
        call([eole, "build_vocab", "-c", config, "--n_sample", -1], job.folder / "eole-vocab.log", job.folder)
    said = call([eole, "train", "-c", config], job.folder / f"eole-{precision}.log", job.folder)
    return float(re.findall(r"/ *(\d+) tok/s", said)[-1])


def configure_eole(job, precision):
    d_model, d_ff, num_heads = job.shape
    vocabulary = str(job.folder / "eole" / "vocab.shared")
    return {
        "data": {
            "corpus_1": {"path_src": "train.source", "path_tgt": "train.target"},
            "valid": {"path_src": "valid.source", "path_tgt": "valid.target"},
        },
        "save_data": "eole", "src_vocab": vocabulary, "tgt_vocab": vocabulary, "share_vocab": True, "overwrite": True,
        "n_sample": 0, "seed": 1, "report_every": job.report_steps,
        "training": {
            "model_path": "eole-model", "compute_dtype": precision, "batch_type": "tokens",
            "batch_size": job.batch_tokens, "batch_size_multiple": 1, "bucket_size": 29000, "num_workers": 0,
            "accum_count": [1], "optim": "adam", "adam_beta2": 0.98, "learning_rate": 0.001, "warmup_steps": 1000,
            "decay_method": "rsqrt", "label_smoothing": 0.1, "dropout": [0.1], "train_steps": job.updates,
            "valid_steps": 100_000, "save_checkpoint_steps": 100_000,
        },
        "model": {
            "architecture": "transformer", "layers": 6, "heads": num_heads, "hidden_size": d_model,
            "transformer_ff": d_ff, "share_embeddings": True, "share_decoder_embeddings": True,
            "embeddings": {"word_vec_size": d_model, "position_encoding_type": "SinusoidalInterleaved"},
        },
    }  # fmt: skip


def train_fairseq(job, precision, environment):
    """Return the rate of one run of fairseq, by its log: `wps=`."""
    assert precision == "fp32", "fairseq trains in fp32 on a CPU"
    data = job.folder / "fairseq"
    if not (data / "dict.source.txt").exists():
        options = {
            "source-lang": "source", "target-lang": "target", "trainpref": job.folder / "train",
            "validpref": job.folder / "valid", "destdir": data, "workers": 2,
        }  # fmt: skip
        command = [program(environment, "fairseq-preprocess"), "--joined-dictionary", *flags(options)]
        call(command, job.folder / "fairseq-preprocess.log", job.folder)
    d_model, d_ff, num_heads = job.shape
    options = {
        "arch": "transformer", "encoder-layers": 6, "decoder-layers": 6,
        "encoder-embed-dim": d_model, "decoder-embed-dim": d_model, "encoder-ffn-embed-dim": d_ff,
        "decoder-ffn-embed-dim": d_ff, "encoder-attention-heads": num_heads, "decoder-attention-heads": num_heads,
        "optimizer": "adam", "adam-betas": "(0.9,0.98)", "lr": 1e-3, "lr-scheduler": "inverse_sqrt",
        "warmup-updates": 1000, "dropout": 0.1, "criterion": "label_smoothed_cross_entropy", "label-smoothing": 0.1,
        "max-tokens": job.batch_tokens, "max-update": job.updates, "log-interval": job.report_steps,
        "log-format": "simple", "num-workers": 1,
    }  # fmt: skip
    switches = ["--cpu", "--share-all-embeddings", "--no-save", "--disable-validation"]
    command = [program(environment, "fairseq-train"), data, *switches, *flags(options)]
    said = call(command, job.folder / "fairseq-fp32.log", job.folder)
    return float(re.findall(r"wps=([\d.]+)", said)[-1])


def flags(options):
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def train_peer(job, name, precision, environment):
    match name:
        case "eole":
            return train_eole(job, precision, environment)
        case _:
            return train_fairseq(job, precision, environment)


def show(measured):
    """Print medians: each peer, mtkit beside it in the same precision, and, where the processor has it, in bf16."""
    heading = f"{'':14} {'peer':>8} {'mtkit':>8} {'ratio':>6}"
    bf16 = statistics.median(measured["eole", "bf16"].ours) if HAS_BF16 else None
    print(f"\n{heading}{' in bf16  ratio' if bf16 else ''}   target tokens a second, medians")
    for (name, precision), rates in measured.items():
        ours, theirs = statistics.median(rates.ours), statistics.median(rates.theirs)
        line = f"{name + ' ' + precision:14} {theirs:>8,.0f} {ours:>8,.0f} {ours / theirs:>6.2f}"
        print(line + (f" {bf16:>7,.0f} {bf16 / theirs:>6.2f}" if bf16 else ""))


def compare(measured):
    """Return (precision, ratio, peer, its precision): bf16 to the fastest peer of all, fp32 to the fastest in fp32."""
    found = []
    for precision in ("bf16", "fp32")[not HAS_BF16 :]:
        candidates = [pairing for pairing in measured if precision == "bf16" or pairing[1] == precision]
        fastest = max(candidates, key=lambda pairing: statistics.median(measured[pairing].theirs))
        beside = measured[fastest if fastest[1] == precision else ("eole", precision)]
        ratio = statistics.median(beside.ours) / statistics.median(measured[fastest].theirs)
        found.append((precision, ratio, *fastest))
    return found


def versions(peers):
    """Return the peers with their versions."""
    script = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    said = []
    for name, environment in peers.items():
        package = PEERS[name][0]
        command = [program(environment, "python"), "-c", script, package]
        version = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        said.append(f"{package} {version}")
    return ", ".join(said)


@pytest.mark.benchmark
@pytest.mark.timeout(4 * 3600)
def test_speed(job, peers):
    rounds = int(os.environ.get("MTKIT_BENCHMARK_ROUNDS") or 3)
    print(
        f"\n{job.preset}, {job.batch_tokens:,} tokens a batch, {job.updates} updates, {rounds} rounds; "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, {versions(peers)}"
    )
    measured = {pairing: Rates([], []) for pairing in PAIRINGS}
    for number in range(1, rounds + 1):
        for (name, precision), rates in measured.items():
            rates.ours.append(train_mtkit(job, precision))
            rates.theirs.append(train_peer(job, name, precision, peers[name]))
            print(
                f"round {number}, {precision}: mtkit {rates.ours[-1]:,.0f}, {name} {rates.theirs[-1]:,.0f}", flush=True
            )
    show(measured)
    found = compare(measured)
    for precision, ratio, name, its_precision in found:
        which = "the fastest peer" if precision == "bf16" else f"the fastest peer in {precision}"
        print(f"{precision}: {ratio:.2f} times {name} {its_precision} ({which})")
    assert all(ratio >= MIN_RATIOS[precision] for precision, ratio, *_ in found)
