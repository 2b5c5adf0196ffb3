import random
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest

from mtkit.cli.main import main
from mtkit.runtime import console


@dataclass
class Result:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def fixes(self):
        """The lines that say what to do."""
        return [line.removeprefix("  fix: ") for line in self.err.splitlines() if line.startswith("  fix: ")]


@pytest.fixture
def run(capsys):
    """Return a function that runs a command in this process, and restore the signals afterwards."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(list(map(str, arguments)))
        console.set_quiet(False)
        return Result(caught.value.code, *capsys.readouterr())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def start():
    """Return a function that starts a command in a process of its own, and kill what is left of it."""
    started = []

    def start(*arguments, **options):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = subprocess.Popen([sys.executable, "-m", "mtkit", *map(str, arguments)], **pipes | options)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


TINY_RUN = """\
corpus:
  source_language: en
  target_language: de
  train: [{source: train.en, target: train.de}]
  valid: {source: valid.en, target: valid.de}
  test: {source: test.en, target: test.de}
vocabulary: {size: 36}
model: {preset: tiny, d_model: 16, d_ff: 16, num_heads: 2, num_encoder_layers: 1, num_decoder_layers: 1}
training: {max_steps: 2, batch_tokens: 256, validate_every_steps: 2, save_every_steps: 2, precision: fp32}
decoding: {beam_size: 2, max_length_ratio: 1, max_length_extra: 2}
evaluation: {bootstrap_samples: 20}
"""


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory):
    """A recipe with text beside it, small enough to run in a second or two."""
    folder = tmp_path_factory.mktemp("tiny")
    words = {"dog": "Hund", "cat": "Katze", "man": "Mann", "runs": "läuft", "sees": "sieht", "here": "hier"}
    draw = random.Random(1)
    for name, count in (("train", 100), ("valid", 10), ("test", 10)):
        lines = [draw.choices(list(words), k=draw.randint(2, 5)) for _ in range(count)]
        lines += lines[:20] if name == "train" else []  # duplicates
        (folder / f"{name}.en").write_text("".join(f"{' '.join(line)}.\n" for line in lines), encoding="utf-8")
        translated = [" ".join(words[word] for word in line) for line in lines]
        (folder / f"{name}.de").write_text("".join(f"{line}.\n" for line in translated), encoding="utf-8")
    recipe = folder / "tiny.yaml"
    recipe.write_text(TINY_RUN, encoding="utf-8")
    return recipe


@pytest.fixture(scope="session")
def experiment_folder(tiny_recipe, tmp_path_factory):
    """What `mtkit run` made of the tiny recipe; to be copied by a test that changes it."""
    folder = tmp_path_factory.mktemp("experiment") / "tiny"
    subprocess.run(
        [sys.executable, "-m", "mtkit", "run", tiny_recipe, "-o", folder, "--device", "cpu", "--threads", "1"],
        check=True,
        capture_output=True,
    )
    return folder
