"""Processes that translate beside the one that was asked: the same translations, whatever becomes of them."""

import os
import pickle
import signal
import subprocess
import sys

import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.decoding import translator as translator_module
from mtkit.decoding.planning import Planner
from mtkit.decoding.processes import Loading, WorkerProcess
from mtkit.decoding.translator import Translator

LINES = [f"the {size} {animal} runs over the {place}" for size in ("big", "red") for animal in ("dog", "cat", "man")
         for place in ("street", "house", "street and the red house")]  # fmt: skip


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    """Two threads, and texts that are long with two batches."""
    monkeypatch.setattr(translator_module, "PROCESSES_FROM_BATCHES", 2)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def load(model_folder):
    """Return a function that loads a translator of small batches."""

    def load(batch_size=3, threads=2, **options):
        section = DecodingSection(batch_size=batch_size, beam_size=2, max_length_extra=5)
        return Translator.load(model_folder, device="cpu", decoding=section, threads=threads, **options)

    return load


def texts_and_scores(translator):
    return [(one.text, one.score) for one in translator.iter_translations(LINES)]


def test_translations_are_those_of_a_single_process(load):
    alone = texts_and_scores(load(threads=1))
    translator = load()
    translator.start_processes()
    (process,) = translator._pool._free
    answers = []
    call = process.call
    process.call = lambda batch: answers.append(call(batch)) or answers[-1]
    found = texts_and_scores(translator)
    assert [text for text, _ in found] == [text for text, _ in alone]
    assert [score for _, score in found] == pytest.approx([score for _, score in alone], abs=1e-5)
    assert answers
    assert None not in answers


def test_many_threads_read_further_ahead_so_that_few_wait_at_the_end_of_a_window(load):
    """With 16 batches for 32 threads, half of them would have none."""
    assert [load(threads=threads).window_lines // 3 for threads in (1, 2, 4, 32)] == [16, 16, 32, 256]


def test_a_long_text_starts_them_and_a_short_one_does_not(load):
    translator = load(batch_size=64)
    texts_and_scores(translator)
    assert not translator._pool.is_started
    translator = load(threads=1)
    texts_and_scores(translator)
    assert not translator._pool._free
    translator = load()
    texts_and_scores(translator)
    assert translator._pool.is_started
    translator._pool.wait()
    assert len(translator._pool._free) == 1


def test_what_a_lost_process_had_is_done_again(load, capsys):
    expected = [text for text, _ in texts_and_scores(load(threads=1))]
    translator = load()
    translator.start_processes()
    os.kill(translator._pool._free[0]._process.pid, signal.SIGKILL)
    assert [text for text, _ in texts_and_scores(translator)] == expected
    assert capsys.readouterr().err.count("was lost; its work is done again here") == 1
    assert translator._pool._free == []


def test_one_that_cannot_start_is_done_without(load, tmp_path, capsys):
    translator = load()
    translator._pool.loading = Loading([tmp_path / "missing"], DecodingSection(), None, False)
    translator.start_processes()
    assert "did not start; going on without it" in capsys.readouterr().err
    assert [text for text, _ in texts_and_scores(translator)] == [text for text, _ in texts_and_scores(load(threads=1))]


def test_an_utility_without_a_name_cannot_be_sent(load, capsys):
    translator = load(utility=lambda hypotheses, references: None)
    translator.start_processes()
    assert "did not start" in capsys.readouterr().err


def test_a_batch_that_it_cannot_translate_is_left_to_others(model_folder):
    process = WorkerProcess()
    section = DecodingSection(beam_size=1)
    assert process.load(Loading([model_folder], section, None, False))
    assert process.call("no batch of segments") is None
    assert not process.is_lost
    translator = Translator.load(model_folder, device="cpu", decoding=section)
    planner = Planner(translator.source_tokenizer, translator.target_tokenizer, section)
    (plan,) = planner.plan([translator_module.to_request("the dog")])
    assert process.call(plan.segments)[0][0].text == translator.translate(["the dog"])[0]


def test_modules_are_not_looked_for_where_a_person_works(model_folder, tmp_path, monkeypatch):
    (tmp_path / "queue.py").write_text("raise SystemExit('a file of the working directory was run')\n")
    monkeypatch.chdir(tmp_path)
    assert WorkerProcess().load(Loading([model_folder], DecodingSection(), None, False))


def test_they_end_with_the_process_that_started_them(model_folder):
    code = (
        "import os, signal, sys\n"
        "from mtkit.decoding.translator import Translator\n"
        "translator = Translator.load(sys.argv[1], device='cpu', threads=2)\n"
        "translator.start_processes()\n"
        "assert len(translator._pool._free) == 1\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # It holds the pipe of standard error too, so that this would wait for it.
    done = subprocess.run([sys.executable, "-c", code, model_folder], stderr=subprocess.PIPE, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_the_end_of_the_program_does_not_wait_for_them(model_folder):
    code = (
        "import sys\n"
        "from mtkit.decoding.translator import Translator\n"
        "translator = Translator.load(sys.argv[1], device='cpu', threads=2)\n"
        "translator._start_processes()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, model_folder], stderr=subprocess.PIPE, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


# Its worker is busy for some time: it unpickles a wait.
BUSY = """
import os, signal, sys, threading, time
from mtkit.config.decoding import DecodingSection
from mtkit.decoding.processes import Loading, WorkerProcess
from mtkit.runtime.signals import exit_at_once

class Wait:
    def __reduce__(self):
        return time.sleep, (float(sys.argv[2]),)

process = WorkerProcess()
assert process.load(Loading([sys.argv[1]], DecodingSection(), None, False))
threading.Thread(target=process.call, args=(Wait(),), daemon=True).start()
time.sleep(0.2)
"""


@pytest.mark.parametrize(
    ("end", "seconds", "code"),
    [("exit_at_once(143)", 100, 143), ("os.kill(os.getpid(), signal.SIGKILL)", 1, -signal.SIGKILL)],
)
def test_one_that_is_busy_ends_quietly_too(model_folder, end, seconds, code):
    command = [sys.executable, "-c", BUSY + end, model_folder, str(seconds)]
    # It holds the pipe of standard error too, so that this waits for it.
    done = subprocess.run(command, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (code, b"")


@pytest.mark.parametrize("received", [b"", pickle.dumps("a request")[:-4]])
def test_one_whose_request_breaks_off_ends_quietly(received):
    command = [sys.executable, "-c", "from mtkit.decoding.processes import main; main()"]
    done = subprocess.run(command, input=received, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
