"""A model learns a task from raw text to score, through the commands alone."""

import json
import random
import subprocess
import sys

import pytest

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def mtkit(*arguments, stdin=None):
    command = [sys.executable, "-m", "mtkit", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Numbers spelled out, to be written as digits in reverse order."""
    folder = tmp_path_factory.mktemp("task")
    generator = random.Random(8)
    numbers = {tuple(generator.choices(range(10), k=generator.randint(2, 6))) for _ in range(4000)}
    numbers = sorted(numbers, key=lambda number: generator.random())
    for name, part in (("test", numbers[:100]), ("valid", numbers[100:150]), ("train", numbers[150:])):
        source = [" ".join(DIGITS[d] for d in number) for number in part]
        target = [" ".join(str(d) for d in reversed(number)) for number in part]
        (folder / f"{name}.src").write_text("\n".join(source) + "\n", encoding="utf-8")
        (folder / f"{name}.tgt").write_text("\n".join(target) + "\n", encoding="utf-8")
    return folder


@pytest.mark.system
@pytest.mark.timeout(600)
def test_learns_to_reverse_numbers(task):
    texts = [
        argument
        for name, prefix in (("train", ""), ("valid", "valid-"), ("test", "test-"))
        for side, suffix in (("source", "src"), ("target", "tgt"))
        for argument in (f"--{prefix}{side}", task / f"{name}.{suffix}")
    ]
    mtkit("prepare", *texts, "--vocab-size", 50, "-o", task / "corpus")
    settings = {
        "model.d_model": 64, "model.d_ff": 128, "model.num_encoder_layers": 2, "model.num_decoder_layers": 2,
        "model.dropout": 0.0, "training.learning_rate": 3e-3, "training.schedule": "linear",
        "training.batch_tokens": 1000, "training.validate_every_steps": 300, "training.save_every_steps": 300,
    }  # fmt: skip
    sets = [argument for name, value in settings.items() for argument in ("--set", f"{name}={value}")]
    train = ["train", "--corpus", task / "corpus", "--preset", "tiny", "--max-steps", 900, "--threads", 1, *sets]
    mtkit(*train, "-o", task / "run")

    out = mtkit("translate", "--model", task / "run", "--threads", 1, task / "test.src", "-o", task / "test.hyp")
    assert not out.stdout
    hypotheses = (task / "test.hyp").read_text(encoding="utf-8").splitlines()
    references = (task / "test.tgt").read_text(encoding="utf-8").splitlines()
    right = sum(map(str.__eq__, hypotheses, references))
    assert len(hypotheses) == 100
    assert right >= 90

    answered = mtkit("translate", "--model", task / "run", "--threads", 1, stdin="four two\n\nseven nine one\n")
    assert answered.stdout == "2 4\n\n1 9 7\n"

    scored = mtkit("evaluate", task / "test.hyp", "--reference", task / "test.tgt", "--json", "--metric", "chrf")
    assert json.loads(scored.stdout)["systems"][0]["chrf"]["score"] > 90
