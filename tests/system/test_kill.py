"""A run that is killed at any moment, and started again by the same command, ends as one that was never killed.

The short form is part of the one test command. The long one, 20 kills in each precision, takes minutes:
`pytest -m benchmark -s tests/system/test_kill.py`. Both print their seed and where every kill landed; MTKIT_KILL_SEED
draws the same moments again, though the machine decides what the run does then.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import time

import pytest

WORDS = {
    "the": "der", "a": "ein", "dog": "Hund", "cat": "Kater", "man": "Mann", "sees": "sieht", "hears": "hört",
    "big": "große", "old": "alte", "red": "rote", "and": "und", "tree": "Baum", "chair": "Stuhl", "today": "heute",
}  # fmt: skip

# Metrics, saves and validations at steps that differ, so that a kill finds each of them done and another not.
SETTINGS = {
    "model.d_model": 32, "model.d_ff": 64, "model.num_heads": 2, "model.num_encoder_layers": 1,
    "model.num_decoder_layers": 1, "model.dropout": 0.2, "training.batch_tokens": 300, "training.warmup_steps": 10,
    "training.log_every_steps": 4, "training.save_every_steps": 3, "training.validation_sentences": 8,
    "decoding.max_length_ratio": 1, "decoding.max_length_extra": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Some 400 pairs, word for word: about ten batches an epoch."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = random.Random(4)
    arguments = []
    for split, prefix, count in (("train", "", 400), ("valid", "valid-", 12), ("test", "test-", 12)):
        lines = [generator.choices(list(WORDS), k=generator.randint(2, 9)) for _ in range(count)]
        for side, words in (("source", str), ("target", WORDS.get)):
            path = folder / f"{split}.{side}"
            path.write_text("".join(" ".join(map(words, line)) + "\n" for line in lines), encoding="utf-8")
            arguments += [f"--{prefix}{side}", str(path)]
    output = folder / "corpus"
    command = [sys.executable, "-m", "mtkit", "prepare", *arguments, "--vocab-size", "60", "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output


class Command:
    """`mtkit train` into a folder, to be started again and again.

    Args:
        corpus: The prepared corpus.
        run: The run folder; beside it stands what the command said.
        settings: Recipe fields.
    """

    def __init__(self, corpus, run, settings):
        sets = [argument for name, value in settings.items() for argument in ("--set", f"{name}={value}")]
        options = ["--corpus", str(corpus), "--preset", "tiny", "--device", "cpu", "--threads", "1", *sets]
        self.arguments = [sys.executable, "-m", "mtkit", "train", *options, "-o", str(run)]
        self.run = run
        self.said = run.with_name(f"{run.name}.said")

    def start(self, seconds=None):
        """Start the command, and kill it `seconds` after it began to train, if it has not ended by then.

        Returns:
            Whether it was killed, and the seconds that it trained for.
        """
        before = self._signs_of_training()
        with self.said.open("ab") as said:
            # Without a shell or another process between, and in a session of its own: the kill reaches it alone.
            process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        late = False
        try:
            while process.poll() is None and self._signs_of_training() == before:
                time.sleep(0.005)
            began = time.perf_counter()
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            process.kill()
            process.wait()
        trained = time.perf_counter() - began
        assert late or process.returncode == 0, self.said.read_text(encoding="utf-8")
        return process.returncode != 0, trained

    def _signs_of_training(self):
        """Return what changes when a run starts or resumes: its metrics are opened, or written anew."""
        try:
            status = (self.run / "metrics.jsonl").stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    def describe(self):
        """Say where the run stands: to the last step that was written of, and whether a folder is half written."""
        steps = [int(path.name.split("-")[-1]) for path in self.run.glob("checkpoints/step-*")]
        steps += [record["step"] for record in read_metrics(self.run)]
        partial = [path.name for path in leftovers(self.run.parent)]
        return f"step {max(steps, default=0)}" + (f", writing {', '.join(partial)}" if partial else "")


def read_metrics(run):
    """Return the records of a run but for times and rates; a line that was cut short is left out."""
    records = []
    path = run / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        records.append({name: value for name, value in record.items() if not is_time(name)})
    return records


def is_time(name):
    return name.endswith("_seconds") or name in {"tokens_per_second", "data_wait_share", "validation_share"}


def leftovers(folder):
    return sorted(path for path in folder.rglob(".*") if path.name.endswith((".partial", ".replaced")))


def digest(run):
    """Return the hash of every file of weights or optimizer, and the content of every state."""
    files = [run / "model" / "model.safetensors", *run.glob("checkpoints/step-*/*.safetensors")]
    digests = {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    states = run.glob("checkpoints/step-*/state.json")
    return digests | {str(p.relative_to(run)): json.loads(p.read_text(encoding="utf-8")) for p in states}


def kill_and_compare(corpus, folder, kills, settings):
    """Train once undisturbed, then with so many kills, and compare what stands there at the end."""
    seed = int(os.environ.get("MTKIT_KILL_SEED") or random.SystemRandom().randrange(2**32))
    print(f"\nMTKIT_KILL_SEED={seed}")
    draw = random.Random(seed)
    settings = {**SETTINGS, **settings}
    whole = folder / "whole" / "run"
    whole.parent.mkdir()
    _, duration = Command(corpus, whole, settings).start()
    print(f"undisturbed: {duration:.1f} s of training, {max(r['step'] for r in read_metrics(whole))} steps")
    landed = attempts = 0
    while landed < kills:  # once, unless the run is so much faster now that it ends before the last kill
        attempts += 1
        run = folder / f"killed-{attempts}" / "run"
        run.parent.mkdir()
        moments = sorted(draw.uniform(0, duration) for _ in range(kills - landed))
        more, trained = train_with_kills(Command(corpus, run, settings), moments)
        compare(run, whole)
        print(f"ended after {trained:.1f} s of training as if there had been no kill")
        landed, duration = landed + more, min(duration, trained)


def train_with_kills(command, moments):
    """Train to the end with kills at moments of the time spent on training, in seconds.

    Returns:
        How many kills landed, and how long all the starts trained.
    """
    whole = 0.0
    for landed, (before, moment) in enumerate(zip([0.0, *moments], moments, strict=False)):
        is_killed, trained = command.start(moment - before)
        whole += trained
        if not is_killed:
            return landed, whole
        print(f"kill {landed + 1}: {trained:.2f} s after the start of training, {command.describe()}", flush=True)
    return len(moments), whole + command.start()[1]


def compare(run, whole):
    """Assert that both runs ended alike, to the bit.

    A kill after the last save but before the rotation leaves a checkpoint more than the undisturbed run has.
    """
    expected, found = digest(whole), digest(run)
    assert "model/model.safetensors" in expected
    assert sum(name.endswith("optimizer.safetensors") for name in expected) >= 1
    assert sum(name.endswith("state.json") for name in expected) >= 2
    assert {name: found.get(name) for name in expected} == expected
    assert read_metrics(run) == read_metrics(whole)
    assert len((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == len(read_metrics(run))
    assert not leftovers(run.parent)


@pytest.mark.system
@pytest.mark.timeout(300)
def test_three_kills_change_nothing(corpus, tmp_path):
    settings = {"training.precision": "fp32", "training.max_steps": 120, "training.validate_every_steps": 25}
    kill_and_compare(corpus, tmp_path, 3, settings)


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_twenty_kills_change_nothing(corpus, tmp_path, precision):
    settings = {"training.precision": precision, "training.max_steps": 3000, "training.validate_every_steps": 200}
    kill_and_compare(corpus, tmp_path, 20, settings)
