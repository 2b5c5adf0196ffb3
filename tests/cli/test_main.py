import errno
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mtkit.cli import main as boundary
from mtkit.errors import DataError, TrainingError
from mtkit.runtime.memory import BATCH_KERNELS
from mtkit.version import __version__

COMMANDS = [command.name for command in boundary.build_app().registered_commands]
HEAVY = {"torch", "numpy", "sacrebleu", "datasets", "pyarrow", "sentencepiece", "safetensors"}
FULL = Path("/dev/full")


def test_help_names_every_command(run):
    result = run("--help")
    assert result.code == 0
    assert all(f" {command} " in result.out for command in COMMANDS)


def test_without_arguments_the_help_is_shown(run):
    assert run() == run("--help")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run, command):
    result = run(command, "--help")
    assert result.code == 0
    assert f"Example: mtkit {command}" in " ".join(result.out.split())
    assert run(command, "-h") == result


def test_version(run):
    assert run("--version").out == f"mtkit {__version__}\n"


def test_help_is_fast_and_imports_nothing_heavy():
    code = (
        "import sys, mtkit.cli.main as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1.5  # seconds; on an idle machine 0.4


@pytest.mark.parametrize(
    ("arguments", "message", "fix"),
    [
        (["evalute"], "no such command 'evalute'", "did you mean 'evaluate'?"),
        (["--versio"], "no such option: --versio", "did you mean --version?"),
        (["--quiet"], "missing command", "see mtkit --help"),
        (["options", "--jsn"], "no such option: --jsn", "did you mean --json?"),
        (["options", "a", "b"], "unexpected extra argument", "see mtkit options --help"),
        (["evaluate", "hyp"], "missing option '--reference'", "see mtkit evaluate --help"),
        (
            ["evaluate", "hyp", "-r", "ref", "--tokenize", "x"],
            "invalid value for '--tokenize': 'x'",
            "see mtkit evalua",
        ),
        (["info"], "missing argument", "see mtkit info --help"),
    ],
)
def test_a_usage_error_is_one_line_and_a_fix(run, arguments, message, fix):
    result = run(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert message in result.err.splitlines()[0]
    assert result.fixes[0].startswith(fix)
    assert len(result.err.splitlines()) == 3


@pytest.fixture
def failing(monkeypatch, run):
    """Return a function that runs a command that raises."""

    def failing(exc):
        def fail(**_):
            raise exc

        monkeypatch.setattr(boundary, "build_app", lambda _: fail)
        return run("anything")

    return failing


def system_exit_out_of(exc):
    """Return the exit that Typer makes of a broken pipe."""
    try:
        try:
            raise exc
        except OSError:
            sys.exit(1)
    except SystemExit as exit_:
        return exit_


@pytest.mark.parametrize(
    ("exc", "code", "said"),
    [
        (DataError("bad text", at="x:3", fix="mend it"), 3, "error: bad text\n   at: x:3\n  fix: mend it\n"),
        (TrainingError("diverged", fix="lower the rate"), 6, "error: diverged\n  fix: lower the rate\n"),
        (SystemExit(130), 130, "interrupted\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (SystemExit(143), 143, "terminated\n"),
        (SystemExit(9), 9, ""),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 0, ""),
        (system_exit_out_of(BrokenPipeError(errno.EPIPE, "Broken pipe")), 0, ""),
        (OSError(errno.ENOSPC, "No space left on device", "out"), 7, "error: cannot write: No space left on device\n"),
        (OSError(errno.EFBIG, "File too large"), 7, "error: cannot write: File too large\n   at: standard output\n"),
        (MemoryError(), 5, "error: out of memory\n"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 5, "error: out of memory\n"),
        (ZeroDivisionError("oh"), 1, "Traceback"),
    ],
    ids=repr,
)
def test_each_kind_of_end_has_its_exit_code(failing, exc, code, said):
    result = failing(exc)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(said)
    assert ("Traceback" in result.err) == ("this is a bug in mtkit" in result.err) == (code == 1)


@pytest.mark.parametrize("command", [[], ["average"]])
def test_a_switch_has_no_type_in_the_help(run, command):
    help_text = run(*command, "--help").out
    (line,) = [line for line in help_text.splitlines() if "--quiet" in line]
    assert line.split()[1:5] == ["--quiet", "-q", "Print", "only"]


def test_every_command_stands_under_a_heading(run):
    lines = run("--help").out.splitlines()
    named = {line.split()[1] for line in lines if re.match(r"│ [a-z]", line)}
    assert named == set(COMMANDS)
    assert not any("─ Commands ─" in line for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [["evaluate", "-", "--reference", "lines"], ["translate"], ["translate", "--format", "markdown"]],
    ids=" ".join,
)
def test_a_closed_standard_input_is_told(run, model_folder, write, monkeypatch, tmp_path, arguments):
    write("lines", ["the dog"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", None)
    model = ["--model", model_folder, "--device", "cpu"] if arguments[0] == "translate" else []
    result = run(*arguments, *model)
    assert (result.code, result.fixes) == (3, ["name a file, or redirect standard input"])


@pytest.mark.parametrize("arguments", [["options"], ["options", "--json"], ["--help"], ["--version"]])
def test_a_closed_pipe_ends_quietly(start, arguments):
    process = start(*arguments)
    process.stdout.close()
    _, err = process.stdin.close(), process.stderr.read()
    assert (process.wait(30), err) == (0, b"")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["options"], ["options", "--json"], ["--version"]])
def test_a_full_disk_is_an_output_error(start, arguments):
    with FULL.open("wb") as full:
        process = start(*arguments, stdout=full)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 7
    assert err.splitlines()[0] == b"error: cannot write: No space left on device"
    assert b"Traceback" not in err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(("sent", "code", "said"), [("SIGINT", 130, b"interrupted"), ("SIGTERM", 143, b"terminated")])
def test_a_signal_ends_a_command_with_one_line(start, tmp_path, sent, code, said):
    os.mkfifo(tmp_path / "ref")
    process = start("evaluate", "-", "-r", tmp_path / "ref")
    with (tmp_path / "ref").open("wb"):  # waits until the command reads, which then waits for us
        process.send_signal(getattr(signal, sent))
        _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err.strip() == said


def test_results_are_utf_8_whatever_the_locale_says(start):
    process = start("options", "decoding", env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "…" in out.decode("utf-8")


def test_quiet_stands_before_or_behind_the_command(run, write):
    write("ref", ["a b c d e", "f g h i j"])
    path = write("hyp", ["a b c d e", "f g h i k"])
    results = [
        run(*order, "-r", path.parent / "ref")
        for order in (["evaluate", path], ["--quiet", "evaluate", path], ["evaluate", path, "-q"])
    ]
    assert [result.code for result in results] == [0, 0, 0]
    assert len({result.out for result in results}) == 1


@pytest.mark.parametrize(("rank", "is_told"), [("0", True), ("1", False)])
def test_of_several_processes_the_first_of_a_machine_tells_what_is_wrong_with_a_recipe(run, monkeypatch, rank, is_told):
    monkeypatch.setenv("LOCAL_RANK", rank)
    result = run("train", "--corpus", "corpus", "-o", "run", "--set", "model.presett=tiny")
    assert (result.code, "presett" in result.err) == (2, is_told)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such shell")
def test_with_a_closed_standard_error_results_stay_alone_and_errors_have_their_code(model_folder, tmp_path):
    (tmp_path / "in.txt").write_bytes(b"the \xff dog\n")  # which is warned of
    for model, code, lines in ((model_folder, 0, 1), ("nowhere", 4, 0)):
        command = f"{sys.executable} -m mtkit translate --device cpu --threads 1 --model {model} in.txt 2>&-"
        done = subprocess.run(["sh", "-c", command], check=False, cwd=tmp_path, stdout=subprocess.PIPE, timeout=60)
        assert (done.returncode, done.stdout.count(b"\n")) == (code, lines)


@pytest.mark.parametrize("command", ["score", "embed", "align"])
def test_commands_that_compute_whole_batches_keep_few_kernels(run, model_folder, write, monkeypatch, command):
    names = ["ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"]
    for name in names:
        monkeypatch.setenv(name, "")  # to be as before after the test
        monkeypatch.delenv(name)
    texts = [write("a.en", ["the dog"]), write("a.de", ["a cat"])][: 1 if command == "embed" else 2]
    assert run(command, "--model", model_folder, "--device", "cpu", "--threads", "1", *texts).code == 0
    assert {int(os.environ[name]) for name in names} == {BATCH_KERNELS}


@pytest.mark.parametrize("count", [1, 2])
def test_one_of_several_processes_ends_at_once(count):
    """While Python ended, one that had done everything well was seen to abort, which torchrun takes for a failure."""
    code = (
        "import atexit, sys\n"
        "from mtkit.__main__ import main\n"
        "atexit.register(print, 'the end of Python')\n"
        "sys.argv[1:] = ['--version']\n"
        "main()\n"
    )
    environment = os.environ | {"RANK": "0", "WORLD_SIZE": str(count), "MASTER_ADDR": "localhost"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.startswith("mtkit ")
    assert ("the end of Python" in done.stdout) == (count == 1)
