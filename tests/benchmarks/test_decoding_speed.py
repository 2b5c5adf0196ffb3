"""The speed of translation beside CTranslate2, on a CPU, with the same weights and the same search:

    MTKIT_TEST_CORPORA=FOLDER pytest -m benchmark -s tests/benchmarks/test_decoding_speed.py

A Multi30k en-de model is exported to CTranslate2, in fp32 and in int8, and both engines translate test_2016_flickr:
text in, text out, SentencePiece included, loading and a first batch not. Every measurement is a process of its own;
those of a round alternate between the engines. mtkit goes through `Translator`, loaded as `mtkit translate` does. Both
get all sentences at once and cut them into batches of so many sentences; batch 1: the first 100 sentences, each given
alone. Length penalty 0, one hypothesis, at most 100 tokens: there both searches are alike. CTranslate2 is shown with
the better of inter_threads x intra_threads = 1 x N and N x 1.

The second test measures latency: two processes stay, and translate the same 40 sentences in turn, each sentence alone
(`-k latency`).

Environment variables, with their defaults:
    MTKIT_BENCHMARK_MODEL        folder of a Multi30k en-de model (one is trained by the recipe)
    MTKIT_BENCHMARK_TRAIN_STEPS  updates of that training (1000)
    MTKIT_BENCHMARK_ROUNDS       measurements of each, of which the median is taken (3)
    MTKIT_BENCHMARK_TURNS        turns of each process where latency is measured (16)
    MTKIT_BENCHMARK_THREADS      threads of each engine (the cores that this process may use)
    MTKIT_BENCHMARK_SENTENCES    the first so many (all 1,000)
    MTKIT_BENCHMARK_QUICK        1: 256 sentences, one round, and only beam 1 x 32 and 4 x 128 sentences

Tokens are those of the target, EOS included; memory is the peak of the process (VmHWM), the weights and the programs
included, torch with mtkit; BLEU is sacrebleu's default. A decoder step is one of a sentence: a batch counts as many as
there are sentences in it, those that are done but not yet dropped included. CTranslate2 does not tell its steps.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import ctranslate2
import pytest
import torch
from sacrebleu.metrics import BLEU

from mtkit.runtime.device import has_int8, name_processor, resolve_precision

CPU = torch.device("cpu")
PRECISIONS = ["fp32"]
PRECISIONS += ["bf16"] if resolve_precision("auto", CPU) == "bf16" else []
PRECISIONS += ["int8"] if has_int8(CPU) else []
MAX_LENGTH = 100
LATENCY_SENTENCES = 100
TURN_SENTENCES = 40
QUICK_SENTENCES = 256
POINTS = [(beam, batch) for beam in (1, 4) for batch in (1, 32, 128)]
QUICK_POINTS = [(1, 32), (4, 128)]

MIN_RATIOS = {("fp32", 4, 128): 1.0, ("fp32", 1, 32): 0.95, ("bf16", 4, 128): 1.15}
MAX_LATENCY_RATIO = 1.8
MAX_BLEU_DIFFERENCE = 0.2


@dataclass(frozen=True)
class Job:
    """One measurement; see measure_decoding.py.

    Attributes:
        engine: `mtkit` or `ctranslate2`.
        precision: In the engine's own words.
        model: Folder.
        lines: File of sources.
        warm_up: File of other sources, which go before, unmeasured.
        count: Lines to translate.
        beam: Hypotheses of a sentence.
        batch: Sentences of a batch; 1 gives one at a time.
        threads: In all.
        inter_threads: CTranslate2: batches side by side.
        intra_threads: CTranslate2: threads of each.
        length_penalty: Each engine's own.
        max_length: In tokens.
        counts_steps: Whether to count decoder steps, which takes a little time.
        early_stopping: mtkit's; CTranslate2 always stops early.
        takes_turns: Whether the process stays, and translates the lines whenever it is told to.
    """

    engine: str
    precision: str
    model: str
    lines: str
    warm_up: str
    count: int
    beam: int
    batch: int
    threads: int
    inter_threads: int = 1
    intra_threads: int = 1
    length_penalty: float = 0.0
    max_length: int = MAX_LENGTH
    counts_steps: bool = False
    early_stopping: bool = False
    takes_turns: bool = False

    @property
    def kind(self):
        """Return what is compared: engine and precision."""
        return self.engine, {"float32": "fp32"}.get(self.precision, self.precision)

    @property
    def layout(self):
        """Return the threads as CTranslate2 counts them."""
        return f"{self.inter_threads} x {self.intra_threads}" if self.engine == "ctranslate2" else str(self.threads)


@dataclass(frozen=True)
class Result:
    """Medians over the rounds of a job, and what never changes."""

    job: Job
    rate: float
    mb: float
    tokens: int
    seconds: float
    steps: int | None
    bleu: float

    @property
    def ms_per_sentence(self):
        """Return the time of a sentence."""
        return 1000 * self.seconds / self.job.count


def start(job, **options):
    """Start the process of a job."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(job.threads), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(Path(__file__).with_name("measure_decoding.py")), json.dumps(asdict(job))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes, **options)


def measure(job):
    """Return what the process of a job says."""
    process = start(job)
    output, errors = process.communicate()
    assert process.returncode == 0, f"{job}:\n{errors[-4000:]}"
    return json.loads(output.splitlines()[-1])


def measure_rounds(jobs, rounds, references):
    """Run all jobs once a round, one after the other, and return their results."""
    found = {job: [] for job in jobs}
    for number in range(1, rounds + 1):
        for job in jobs:
            measured = measure(job)
            found[job].append(measured)
            print(
                f"round {number}, load average {os.getloadavg()[0]:.1f}: beam {job.beam}, batch {job.batch}, "
                f"{' '.join(job.kind)} on {job.layout}: {measured['tokens'] / measured['seconds']:,.0f} tokens/s",
                flush=True,
            )
    return [summarize(job, measured, references) for job, measured in found.items()]


def summarize(job, measured, references):
    seconds = statistics.median(one["seconds"] for one in measured)
    tokens = measured[0]["tokens"]
    return Result(
        job=job,
        rate=tokens / seconds,
        mb=statistics.median(one["mb"] for one in measured),
        tokens=tokens,
        seconds=seconds,
        steps=measured[0]["steps"],
        bleu=BLEU().corpus_score(measured[0]["texts"], [references[: job.count]]).score,
    )


def choose_layouts(results):
    """Return the fastest result of each engine, precision, beam and batch, by these."""
    best = {}
    for result in results:
        key = (*result.job.kind, result.job.beam, result.job.batch)
        if key not in best or result.rate > best[key].rate:
            best[key] = result
    return best


def show(best, points):
    """Print a line for each engine, precision, beam and batch."""
    print(
        f"\n{'beam':>4} {'batch':>5}  {'engine':<16} {'threads':>7} {'tokens/s':>8} {'/ CT2 fp32':>10} "
        f"{'ms/sentence':>11} {'ms/token':>8} {'MB':>6} {'BLEU':>6}"
    )
    for beam, batch in points:
        peer = best["ctranslate2", "fp32", beam, batch]
        for (engine, precision, *point), result in best.items():
            if point == [beam, batch]:
                bleu = f"{result.bleu:6.2f}" if batch > 1 else ""
                print(
                    f"{beam:>4} {batch:>5}  {engine + ' ' + precision:<16} {result.job.layout:>7} {result.rate:>8,.0f} "
                    f"{result.rate / peer.rate:>10.2f} {result.ms_per_sentence:>11.2f} "
                    f"{1000 * result.seconds / result.tokens:>8.3f} {result.mb:>6,.0f} {bleu}"
                )


def show_default_penalty(results):
    print("\nbeam 4, batch 128, default penalty: ours 1.0 (wu), CTranslate2's 1 (length)")
    print(f"{'engine':<22} {'tokens/s':>8} {'steps/sentence':>14} {'tokens/sentence':>15} {'BLEU':>6}")
    for result in results:
        steps = "not told" if result.steps is None else f"{result.steps / result.job.count:.1f}"
        name = " ".join([*result.job.kind, *["early"] * result.job.early_stopping])
        print(
            f"{name:<22} {result.rate:>8,.0f} {steps:>14} {result.tokens / result.job.count:>15.1f} {result.bleu:>6.2f}"
        )


class Requirements:
    """What is compared, said line by line, and what of it falls short."""

    def __init__(self):
        self.failed = []

    def check(self, text, is_met):
        text = f"{text}{'' if is_met else ': NOT MET'}"
        print(text)
        if not is_met:
            self.failed.append(text)


def compare(best, points):
    """Print the ratios that are required, and return those that fall short."""
    required = Requirements()
    for beam, batch in points:
        if batch == 1:
            continue
        peer = best["ctranslate2", "fp32", beam, batch]
        for precision in PRECISIONS:
            difference = best["mtkit", precision, beam, batch].bleu - peer.bleu
            text = f"BLEU, beam {beam}, batch {batch}: {precision} {difference:+.2f} beside CTranslate2 fp32"
            if precision == "int8":  # what it costs is told, not required
                print(text)
            else:
                required.check(f"{text} (within {MAX_BLEU_DIFFERENCE})", abs(difference) <= MAX_BLEU_DIFFERENCE)
    for (precision, beam, batch), wanted in MIN_RATIOS.items():
        if precision in PRECISIONS:
            peers = [best["ctranslate2", kind, beam, batch] for kind in ("fp32", "int8")[: 1 + (precision != "fp32")]]
            peer = max(peers, key=lambda result: result.rate)
            ratio = best["mtkit", precision, beam, batch].rate / peer.rate
            required.check(
                f"{precision}, beam {beam}, batch {batch}: {ratio:.2f} times CTranslate2 {peer.job.kind[1]} "
                f"(at least {wanted})",
                ratio >= wanted,
            )
    return required.failed


def take_turns(jobs, turns):
    """Return what each job takes for a sentence at each of its turns, in milliseconds."""
    processes = [start(replace(job, takes_turns=True), stdin=subprocess.PIPE) for job in jobs]
    found = [[] for _ in jobs]
    try:
        for process in processes:
            assert process.stdout.readline() == "\n", process.stderr.read()
        for _ in range(turns):
            for process, taken in zip(processes, found, strict=True):
                process.stdin.write("\n")
                process.stdin.flush()
                taken.append(float(process.stdout.readline()))
    finally:
        for process in processes:
            process.communicate()  # its input ends
    return found


def export(model, folder):
    """Export the model for CTranslate2 in fp32 and in int8; return the folders by precision."""
    folders = {}
    for precision in ("float32", "int8"):
        folders[precision] = folder / f"ct2-{precision}"
        command = [sys.executable, "-m", "mtkit", "export", model, "-o", folders[precision], "--to", "ctranslate2"]
        command += ["--quantization", precision, "-q"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folders


@pytest.fixture
def make_jobs(multi30k_model, tmp_path, sources, read_multi30k):
    """Return a function that gives the jobs of a beam and batch, the engines in turn."""
    exported = export(multi30k_model, tmp_path)
    lines = tmp_path / "lines.txt"
    lines.write_text("".join(f"{line}\n" for line in sources), encoding="utf-8")
    warm_up = tmp_path / "warm-up.txt"
    warm_up.write_text("".join(f"{line}\n" for line in read_multi30k("val.en")), encoding="utf-8")
    threads = int(os.environ.get("MTKIT_BENCHMARK_THREADS") or len(os.sched_getaffinity(0)))
    layouts = sorted({(1, threads), (threads, 1)})

    def make_jobs(beam, batch, **settings):
        count = min(LATENCY_SENTENCES, len(sources)) if batch == 1 else len(sources)
        files = {"lines": str(lines), "warm_up": str(warm_up)}
        shape = {**files, "count": count, "beam": beam, "batch": batch, "threads": threads, **settings}
        ours = [Job("mtkit", precision, str(multi30k_model), **shape) for precision in PRECISIONS]
        theirs = [
            Job("ctranslate2", precision, str(folder), inter_threads=inter, intra_threads=intra, **shape)
            for precision, folder in exported.items()
            for inter, intra in layouts
        ]
        return [job for pair in itertools.zip_longest(ours, theirs) for job in pair if job is not None]

    return make_jobs


@pytest.fixture
def is_quick():
    return bool(int(os.environ.get("MTKIT_BENCHMARK_QUICK") or 0))


@pytest.fixture
def sources(read_multi30k, is_quick):
    count = os.environ.get("MTKIT_BENCHMARK_SENTENCES") or (QUICK_SENTENCES if is_quick else 1000)
    return read_multi30k("test_2016_flickr.en", int(count))


@pytest.mark.benchmark
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="reads /proc")
@pytest.mark.timeout(4 * 3600)
def test_speed(make_jobs, sources, read_multi30k, is_quick):
    references = read_multi30k("test_2016_flickr.de", len(sources))
    rounds = 1 if is_quick else int(os.environ.get("MTKIT_BENCHMARK_ROUNDS") or 3)
    points = QUICK_POINTS if is_quick else POINTS
    jobs = [job for point in points for job in make_jobs(*point)]
    print(
        f"\n{len(sources):,} sentences, {rounds} rounds, {jobs[0].threads} threads of {name_processor(CPU)}; torch "
        f"{torch.__version__}, CTranslate2 {ctranslate2.__version__}; load average "
        f"{os.getloadavg()[0]:.1f} at the start"
    )
    best = choose_layouts(measure_rounds(jobs, rounds, references))
    defaults = [replace(job, counts_steps=True) for job in make_jobs(4, 128, length_penalty=1.0)]
    defaults += [replace(job, early_stopping=True) for job in defaults if job.engine == "mtkit"]
    with_penalty = measure_rounds(defaults, rounds, references)
    ours = [result for result in with_penalty if result.job.engine == "mtkit"]
    show_default_penalty([*ours, *choose_layouts([one for one in with_penalty if one not in ours]).values()])
    show(best, points)
    print()
    failed = compare(best, points)
    assert not failed


@pytest.mark.benchmark
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="reads /proc")
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("beam", [1, 4])
def test_latency(make_jobs, beam):
    turns = int(os.environ.get("MTKIT_BENCHMARK_TURNS") or 16)
    every = [replace(job, count=TURN_SENTENCES) for job in make_jobs(beam, 1)]
    ours = next(job for job in every if job.kind == ("mtkit", "fp32"))
    theirs = next(job for job in every if job.kind == ("ctranslate2", "fp32") and job.inter_threads == 1)
    our_times, their_times = take_turns([ours, theirs], turns)
    ratios = [one / other for one, other in zip(our_times, their_times, strict=True)]
    low, ratio, high = statistics.quantiles(ratios, n=4)
    print(
        f"\nlatency, beam {beam}, {ours.threads} threads, load average {os.getloadavg()[0]:.1f}: "
        f"{statistics.median(our_times):.1f} ms a sentence beside {statistics.median(their_times):.1f}"
    )
    required = Requirements()
    required.check(
        f"latency, beam {beam}: {ratio:.2f} times CTranslate2 fp32, quartiles {low:.2f} and {high:.2f} of {turns} "
        f"turns (at most {MAX_LATENCY_RATIO})",
        ratio <= MAX_LATENCY_RATIO,
    )
    assert not required.failed
