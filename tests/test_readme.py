"""The README's commands and its Python run, with the training cut to a few steps."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtkit.cli.main import main
from mtkit.config.loading import load_recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

SMALL = [
    "model.d_model=16", "model.d_ff=16", "model.num_heads=2", "model.num_encoder_layers=1",
    "model.num_decoder_layers=1", "training.max_steps=2", "training.max_minutes=null", "training.max_epochs=null",
    "training.warmup_steps=1", "training.validation_sentences=3", "training.precision=fp32",
    "decoding.max_length_ratio=0.5", "decoding.max_length_extra=2",
]  # fmt: skip


def blocks(language):
    """The code blocks of a language in the README, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands():
    """Every `mtkit` command of the README's shell blocks, in order."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("mtkit ")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the files that the README's commands name: some of the sample corpus, unpacked."""
    import gzip

    for split, count in (("train", 500), ("valid", 10), ("test", 10)):
        for side in ("en", "de"):
            with gzip.open(ROOT / "data" / f"{split}.{side}.gz", "rt", encoding="utf-8") as stream:
                lines = [next(stream) for _ in range(count)]
            (tmp_path / f"{split}.{side}").write_text("".join(lines), encoding="utf-8")
    for side in ("en", "de"):
        shutil.copy(tmp_path / f"valid.{side}", tmp_path / f"val.{side}")
    shutil.copy(tmp_path / "test.en", tmp_path / "input.txt")
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    (tmp_path / "my-recipe.yaml").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line):
    """Run one command of the README in this process, cut short where it trains."""
    arguments = shlex.split(line, comments=True)[1:]
    if arguments[0] in ("train", "run"):
        arguments = [a for a in arguments if not a.startswith("--max-")]
        arguments = [a for a in arguments if not re.fullmatch(r"\d+", a)]
        arguments += [part for setting in SMALL for part in ("--set", setting)]
    if arguments[0] in ("prepare", "run"):
        arguments = [a for a in arguments if a not in ("--vocab-size", "8000")]
        arguments += ["--set", "vocabulary.size=300"]
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 0, line


def test_the_commands_run_in_order(folder):
    ran = []
    for line in commands():
        name = line.split()[1]
        if name == "train" and "run" in ran:
            shutil.rmtree(folder / "run", ignore_errors=True)
        if name == "prepare":
            shutil.rmtree(folder / "corpus", ignore_errors=True)
        if name == "evaluate" and "other.hyp" in line:
            shutil.copy(folder / "test.de", folder / "other.hyp")
        if name == "train" and (folder / "run").exists():
            shutil.rmtree(folder / "run")
        run(line)
        ran.append(name)
    assert {"prepare", "train", "translate", "evaluate", "run"} <= set(ran)


def test_the_quickstart_is_the_first_command():
    assert "mtkit run quickstart -o quickstart" in blocks("sh")[0]
    assert "tests/run.py" in blocks("sh")[1]


def test_the_python_runs(folder):
    for line in commands():
        if line.split()[1] in ("prepare", "train"):
            run(line)
            if line.split()[1] == "train":
                break
    code = "\n".join(blocks("python"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "nrefs:1|" in done.stdout


def test_the_recipes_are_valid(tmp_path):
    texts = blocks("yaml")
    assert len(texts) >= 2
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        assert load_recipe(path).corpus.train


def test_the_commands_named_exist():
    names = set(re.findall(r"`mtkit ([a-z]+)", README)) | {line.split()[1] for line in commands()}
    from mtkit.cli.main import build_app

    known = {command.name for command in build_app().registered_commands}
    assert names <= known, names - known
