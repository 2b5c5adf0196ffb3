"""The table of training arms for the Multi30k en-de recipe, each given the minutes of a small Transformer:

    MTKIT_TEST_CORPORA=FOLDER MTKIT_ARMS=FOLDER pytest -m benchmark -s tests/benchmarks/test_arms.py

Takes a working day on two cores. Every arm is one `mtkit run multi30k-en-de -o FOLDER/ARM` with settings of its own, on
the files of MTKIT_TEST_CORPORA/multi30k. The same command goes on with a table that was stopped. What the commands say
is in FOLDER/ARM.log.

Environment variables:
    MTKIT_ARMS        folder of the table, made where it is not there
    MTKIT_ARMS_ONLY   names of arms, parted by commas; the baseline, which decides the minutes, is always among them
    MTKIT_ARMS_STEPS  steps of the baseline, to try the table out
With one of the last two set, the table is shown and nothing is asserted of it.

Equal minutes are given as steps: the baseline trains first, and its median seconds a step times its steps are the
minutes. A trial of some steps finds the seconds a step of each other arm, unless one before it does the same work, and
with that its steps; a schedule that falls to zero does so at its last step. The seconds a step are those of updates
alone; the minutes that the table shows, the sum of `elapsed_seconds` in metrics.jsonl, have validations and checkpoints
in them. FOLDER/arms.json keeps steps and seconds. The machine should have nothing else to do.

The best arm is the one with the highest BLEU of the whole validation set, translated as the recipe translates the test
set. The curves are those of training: greedy, on the recipe's `training.validation_sentences`.

The secondary measure makes the score comparable with the literature on Multi30k: both sides lower-cased and tokenised
by Moses, then BLEU without a tokeniser. So prepared, the German reference has the 12,103 words that
github.com/multi30k/dataset counts. It needs `pip install sacremoses`.
"""

import itertools
import json
import math
import os
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from sacrebleu.metrics import BLEU

from mtkit.runtime.files import write_json

try:
    from sacremoses import MosesTokenizer
except ImportError:
    MosesTokenizer = None

RECIPE = "multi30k-en-de"
BASELINE = "baseline"
BASELINE_STEPS = 3600
SHARED = {"model.preset": "small"}  # what the baseline has instead of the recipe, and each arm that has nothing else
SEEDS = (BASELINE, "seed-2", "seed-3")
ARMS = {
    BASELINE: {},
    "seed-2": {"training.seed": 2},
    "seed-3": {"training.seed": 3},
    "dropout-0.2": {"model.dropout": 0.2},
    "dropout-0.4": {"model.dropout": 0.4},
    "width-384": {"model.d_model": 384, "model.d_ff": 1536, "model.num_heads": 6},
    "width-128": {"model.preset": "tiny", "model.dropout": 0.3},
    "width-128-dropout-0.2": {"model.preset": "tiny", "model.dropout": 0.2},
    "width-128-r-drop": {"model.preset": "tiny", "model.dropout": 0.2, "training.r_drop": 3},
    "bpe": {"vocabulary.type": "bpe"},
    "bpe-dropout": {"vocabulary.type": "bpe", "training.subword_sampling": 0.1},
    "unigram-sampling": {"training.subword_sampling": 0.2},
    "r-drop": {"training.r_drop": 5},
    "bpe-dropout-r-drop": {"vocabulary.type": "bpe", "training.subword_sampling": 0.1, "training.r_drop": 5},
    "ema": {"training.ema_decay": 0.999, "training.average": "off"},
    "deep-encoder": {"model.num_encoder_layers": 10, "model.num_decoder_layers": 3},
}
SAME_WORK = {"training.seed", "model.dropout"}  # fields that do not change what a step costs
TRIAL_STEPS = 60
# The text-only Transformer-Tiny of Wu et al. 2021, "Good for Misconceived Reasons: An Empirical Revisiting on the Need
# for Visual Context in Multimodal Machine Translation" (arXiv:2105.14462), on test_2016_flickr.
CITED = 41.02
NO_MOSES = "the secondary measure is left out: pip install sacremoses"


@dataclass(frozen=True)
class Result:
    """What an arm reached.

    Attributes:
        name: The arm.
        steps: Updates made.
        minutes: Time that training took, with its validations.
        tokens_per_second: Median of target tokens a second.
        valid_loss: Of the final model, in nats a token.
        valid_bleu: Of the final model, on the whole validation set, decoded as the recipe says.
        greedy_bleu: Of the final model, on the validation sentences of the curve.
        test_bleu: Cased, detokenised.
        secondary: Of the test set: lower-cased, tokenised by Moses; None without sacremoses.
        curve: Step and greedy validation BLEU.
        signatures: By what they are the signature of.
    """

    name: str
    steps: int
    minutes: float
    tokens_per_second: float
    valid_loss: float
    valid_bleu: float
    greedy_bleu: float
    test_bleu: float
    secondary: float | None
    curve: list[tuple[int, float]]
    signatures: dict[str, str]


class Table:
    """The arms of one folder.

    Args:
        folder: Holds a folder and a log for each arm, and `arms.json`.
        text: The folder of Multi30k.
        baseline_steps: Steps of the baseline.
    """

    def __init__(self, folder, text, baseline_steps):
        self.folder = folder
        self.texts = [
            f"--{prefix}{side}={text / f'{name}.{language}.gz'}"
            for prefix, name in (("", "train"), ("valid-", "val"), ("test-", "test_2016_flickr"))
            for side, language in (("source", "en"), ("target", "de"))
        ]
        self.path = folder / "arms.json"
        self.plan = {"steps": {BASELINE: baseline_steps}, "seconds_per_step": {}}
        if self.path.is_file():
            self.plan = json.loads(self.path.read_text(encoding="utf-8"))
        kept = self.plan["steps"][BASELINE]
        assert kept == baseline_steps, f"the table in {folder} has a baseline of {kept:,} steps: choose another folder"
        write_json(self.plan, self.path)

    def train(self, name, trial):
        """Bring an arm to its end; its trial, if it needs one, goes to the folder `trial`."""
        if name not in self.plan["steps"]:
            self._plan_steps(name, trial)
        steps = self.plan["steps"][name]
        self._call(name, "run", RECIPE, *self.texts, *self._settings(name, steps), "-o", self.folder / name)
        if name == BASELINE and name not in self.plan["seconds_per_step"]:
            self.plan["seconds_per_step"][name] = read_pace(self.folder / name / "run")[1]
            write_json(self.plan, self.path)
        self._validate(name)

    def _plan_steps(self, name, trial):
        """Note how many steps the arm makes in the minutes of the baseline: as many as one that does the same work."""
        alike = [other for other in self.plan["steps"] if find_work(other) == find_work(name)]
        if alike:
            steps = self.plan["steps"][alike[0]]
        else:
            seconds = self._try(name, trial)
            self.plan["seconds_per_step"][name] = seconds
            steps = max(1, round(self.plan["steps"][BASELINE] * self.plan["seconds_per_step"][BASELINE] / seconds))
        self.plan["steps"][name] = steps
        write_json(self.plan, self.path)

    def _try(self, name, trial):
        """Return an arm's seconds a step, by a short run on its corpus, which stays for the long one."""
        corpus = self.folder / name / "corpus"
        vocabulary = [
            f"--set={field}={value}" for field, value in ARMS[name].items() if field.startswith("vocabulary.")
        ]
        self._call(name, "prepare", RECIPE, *self.texts, *vocabulary, "-o", corpus)
        steps = min(TRIAL_STEPS, self.plan["steps"][BASELINE])
        # Validation cannot be left out; it comes once, at the end, and is made short.
        short = {"validate_every_steps": steps, "save_every_steps": steps, "validation_sentences": 1, "average": "off"}
        settings = self._settings(name, steps, 10, {f"training.{field}": value for field, value in short.items()})
        self._call(name, "train", RECIPE, "--corpus", corpus, *settings, "-o", trial)
        return read_pace(trial)[1]

    def _settings(self, name, steps, log_every=50, more=None):
        # At least three records, of which the first is left out of the pace.
        values = {"training.max_steps": steps, "training.log_every_steps": max(1, min(log_every, steps // 3))}
        values["training.warmup_steps"] = min(400, steps // 10)  # the recipe's, in arms that are shorter
        return [f"--set={field}={value}" for field, value in {**SHARED, **ARMS[name], **values, **(more or {})}.items()]

    def _validate(self, name):
        """Translate and score the whole validation set, unless that was done with this model."""
        arm = self.folder / name
        path, model = arm / "valid.json", arm / "run" / "model"
        if path.is_file() and path.stat().st_mtime_ns > (model / "model.safetensors").stat().st_mtime_ns:
            return
        texts = ["--source", arm / "corpus" / "valid.source.txt", "--reference", arm / "corpus" / "valid.target.txt"]
        options = ["--recipe", RECIPE, "--metric", "bleu", "--set=evaluation.bootstrap_samples=0", "--json"]
        write_json(json.loads(self._call(name, "evaluate", model, *texts, *options)), path)

    def _call(self, name, *arguments):
        """Run a command of mtkit, and return its standard output."""
        log = self.folder / f"{name}.log"
        with log.open("a", encoding="utf-8") as stream:
            command = [sys.executable, "-m", "mtkit", *map(str, arguments)]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stream, encoding="utf-8", check=False)
        said = log.read_text(encoding="utf-8")[-2000:]
        assert done.returncode == 0, f"{name}: mtkit {arguments[0]} ended with {done.returncode}:\n{said}"
        return done.stdout

    def read(self, name):
        """Return what a finished arm reached."""
        arm = self.folder / name
        records = read_records(arm / "run")
        valid, test = (read_bleu(arm / file) for file in ("valid.json", "scores.json"))
        card = (arm / "run" / "model" / "README.md").read_text(encoding="utf-8")
        greedy_bleu, perplexity = map(float, re.search(r"BLEU ([\d.]+), .*perplexity ([\d.]+)\.", card).groups())
        secondary = measure_as_cited(read_lines(arm / "test.hyp"), read_lines(arm / "corpus" / "test.target.txt"))
        return Result(
            name=name,
            steps=self.plan["steps"][name],
            minutes=sum(record["elapsed_seconds"] for record in records if record["kind"] == "train") / 60,
            tokens_per_second=read_pace(arm / "run")[0],
            valid_loss=math.log(perplexity),
            valid_bleu=valid["score"],
            greedy_bleu=greedy_bleu,
            test_bleu=test["score"],
            secondary=secondary and secondary[0],
            curve=[(record["step"], record["bleu"]) for record in records if record["kind"] == "validation"],
            signatures={
                "validation": valid["signature"],
                "test": test["signature"],
                **({"secondary (lower-cased, tokenised by Moses before)": secondary[1]} if secondary else {}),
            },
        )

    def describe_machine(self):
        record = json.loads((self.folder / BASELINE / "run" / "run.json").read_text(encoding="utf-8"))
        where = (
            f"{record['processor']}, {record['threads']} threads" if record["device"] == "cpu" else record["processor"]
        )
        return f"{where}, {record['precision']}, torch {record['torch_version']}, mtkit {record['mtkit_version']}"


def find_work(arm):
    """Return the settings of an arm that decide what a step costs."""
    return {field: value for field, value in ARMS[arm].items() if field not in SAME_WORK}


def read_records(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def read_pace(run):
    """Return the medians of target tokens a second and of seconds a step, the first record left out."""
    records = [record for record in read_records(run) if record["kind"] == "train"]
    seconds = [
        (now["elapsed_seconds"] - now["validation_seconds"] - now["saving_seconds"]) / (now["step"] - before["step"])
        for before, now in itertools.pairwise(records)
    ]
    return statistics.median(record["tokens_per_second"] for record in records[1:]), statistics.median(seconds)


def read_bleu(path):
    """Return score and signature of BLEU from what `mtkit run` or `mtkit evaluate --json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))["systems"][0]["bleu"]


def read_lines(path):
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def measure_as_cited(hypotheses, references):
    """Return the secondary measure and its signature; None without sacremoses."""
    if MosesTokenizer is None:
        return None
    moses = MosesTokenizer(lang="de")

    def tokenize(lines):
        return [moses.tokenize(line.lower(), return_str=True, escape=False) for line in lines]

    bleu = BLEU(tokenize="none", lowercase=True, force=True)
    return bleu.corpus_score(tokenize(hypotheses), [tokenize(references)]).score, bleu.get_signature().format()


def choose_arms():
    only = [name for name in os.environ.get("MTKIT_ARMS_ONLY", "").split(",") if name]
    unknown = set(only) - set(ARMS)
    assert not unknown, f"MTKIT_ARMS_ONLY: no arm {', '.join(sorted(unknown))}; there are {', '.join(ARMS)}"
    return [name for name in ARMS if not only or name in {BASELINE, *only}]


def find_best(results):
    return max(results, key=lambda result: result.valid_bleu)


def show(results, machine):
    best = find_best(results)
    width = max(len(result.name) for result in results)
    print(f"\n{RECIPE}, equal minutes; {machine}\n")
    print(f"  {'arm':{width}}   steps  minutes    tok/s | validation loss   BLEU | test BLEU  secondary")
    for r in results:
        mark = "*" if r is best else " "
        secondary = "" if r.secondary is None else f"{r.secondary:.2f}"
        print(
            f"{mark} {r.name:{width}} {r.steps:>7,} {r.minutes:>8.1f} {r.tokens_per_second:>8,.0f} | "
            f"{r.valid_loss:>15.3f} {r.valid_bleu:>6.2f} | {r.test_bleu:>9.2f} {secondary:>10}"
        )
    print("\n* best by validation BLEU")
    for measure, signature in results[0].signatures.items():
        print(f"{measure}: BLEU|{signature}")
    if MosesTokenizer is None:
        print(NO_MOSES)
    show_spread([result for result in results if result.name in SEEDS])
    print(f"\n{'':{width}}  greedy validation BLEU by step, of the final model last")
    for r in results:
        points = "  ".join(f"{step}: {bleu:.1f}" for step, bleu in r.curve)
        print(f"{r.name:{width}}  {points}  model: {r.greedy_bleu:.1f}")


def show_spread(results):
    """Print how far the seeds of the baseline lie from each other: a smaller difference between arms says nothing."""
    if len(results) < 2:
        return
    said = []
    for name in ("valid_bleu", "test_bleu", "secondary"):
        values = [getattr(result, name) for result in results]
        if None not in values:
            mean, deviation = statistics.mean(values), statistics.stdev(values)
            said.append(f"{name} {mean:.2f}, deviation {deviation:.2f}, {min(values):.2f} to {max(values):.2f}")
    print(f"{len(results)} seeds of the baseline: " + "; ".join(said))


@pytest.mark.benchmark
@pytest.mark.timeout(0)  # stopped, it goes on where it was
def test_arms(shared_corpora, tmp_path):
    if not os.environ.get("MTKIT_ARMS"):
        pytest.skip("MTKIT_ARMS is not set: the folder of the table")
    folder = Path(os.environ["MTKIT_ARMS"])
    folder.mkdir(parents=True, exist_ok=True)
    steps = os.environ.get("MTKIT_ARMS_STEPS")
    table = Table(folder, shared_corpora / "multi30k", int(steps or BASELINE_STEPS))
    if MosesTokenizer is None:
        print(f"\n{NO_MOSES}")
    results = []
    for name in choose_arms():
        table.train(name, tmp_path / name)
        results.append(table.read(name))
        r = results[-1]
        print(
            f"\n{name}: {r.steps:,} steps, {r.minutes:.1f} minutes, validation {r.valid_bleu:.2f}", end="", flush=True
        )
    print()
    show(results, table.describe_machine())
    if steps or len(results) < len(ARMS):
        return
    if MosesTokenizer is None:
        pytest.skip(NO_MOSES)
    best = find_best(results)
    assert best.secondary > CITED, f"{best.name}, the best on the validation set, has {best.secondary:.2f}"
