import os
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")

PREAMBLE = """
import os, signal, sys, time
from mtkit.runtime.signals import ignore_signals, unwind_on_signals
"""
# A module that stands for packages whose code runs into a signal while they load.
MEETS = "import os, signal, time\nos.kill(os.getpid(), signal.{})\ntime.sleep(0.2)\nprint('loaded')\n"
# In the place of the first package that the command line needs: meets the signal, then loads the real one.
REAL_TYPER = "import sys\nsys.path.remove(__file__.rpartition(os.sep)[0])\ndel sys.modules['typer']\nimport typer\n"


@pytest.fixture
def execute(tmp_path):
    """Return a function that runs Python code, with modules given, and returns its exit code, stdout and seconds."""

    def execute(code, **modules):
        for name, content in modules.items():
            (tmp_path / f"{name}.py").write_text(content, encoding="utf-8")
        started = time.monotonic()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        command = [sys.executable, "-c", PREAMBLE + code]
        done = subprocess.run(command, capture_output=True, env=environment, timeout=30, check=False, encoding="utf-8")
        return done.returncode, done.stdout.split(), done.stderr, time.monotonic() - started

    return execute


@pytest.mark.parametrize(("sent", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_unwinds_the_stack(execute, sent, code):
    work = "try:\n    os.kill(os.getpid(), signal.{})\n    time.sleep(20)\nfinally:\n    print('clean')"
    assert execute("unwind_on_signals()\n" + work.format(sent))[:3] == (code, ["clean"], "")


def test_a_signal_waits_until_the_module_is_loaded(execute):
    work = "unwind_on_signals()\nimport meets\ntime.sleep(25)\nprint('on')"
    code, said, err, seconds = execute(work, meets=MEETS.format("SIGINT"))
    assert (code, said, err) == (130, ["loaded"], "")
    assert seconds < 20


def test_before_its_end_a_process_is_left_in_peace(execute):
    code = "unwind_on_signals()\nignore_signals()\nfor sent in (signal.SIGINT, signal.SIGTERM):"
    assert execute(f"{code}\n    os.kill(os.getpid(), sent)\nprint('on')")[:3] == (0, ["on"], "")


def test_what_is_ignored_stays_ignored(execute):
    code = "signal.signal(signal.SIGINT, signal.SIG_IGN)\nunwind_on_signals()\nos.kill(os.getpid(), signal.SIGINT)"
    assert execute(f"{code}\nprint('on')")[:3] == (0, ["on"], "")


def test_a_program_that_runs_the_command_line_as_it_is_imported_can_be_interrupted(execute, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    program = f"""
import os, signal, sys, threading
from mtkit.__main__ import main
sys.argv = ["mtkit", "evaluate", "-", "-r", {str(tmp_path / "pipe")!r}]
def send():
    with open(sys.argv[-1], "wb"):  # waits until the command reads
        os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=send, daemon=True).start()
main()
"""
    code, said, err, seconds = execute("import program", program=program)
    assert (code, said, err) == (130, [], "interrupted\n")
    assert seconds < 25


@pytest.mark.parametrize(("sent", "code", "said"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_the_command_line_can_be_interrupted_while_it_loads(execute, sent, code, said):
    run = "sys.argv = ['mtkit', '--help']\nfrom mtkit.__main__ import main\nmain()"
    found = execute(run, typer=MEETS.format(sent) + REAL_TYPER)
    assert found[:3] == (code, ["loaded"], f"{said}\n")


@pytest.mark.parametrize("command", ["train", "run"])
def test_a_request_to_save_ends_no_command_that_trains_while_it_loads(execute, command):
    run = f"sys.argv = ['mtkit', {command!r}, '--help']\nfrom mtkit.__main__ import main\nmain()"
    code, said, err, _ = execute(run, typer=MEETS.format("SIGUSR1") + REAL_TYPER)
    assert (code, said[0], err) == (0, "loaded", "")


def test_after_a_training_requests_to_save_are_ignored_still(execute):
    work = """
from mtkit.runtime.signals import ignore_save_requests
from mtkit.training.interrupts import StopRequest, tolerate_save_requests
ignore_save_requests()
with tolerate_save_requests(), StopRequest() as stop:
    os.kill(os.getpid(), signal.SIGUSR1)
    print(stop.take_save())
os.kill(os.getpid(), signal.SIGUSR1)
print("on")
"""
    assert execute(work)[:3] == (0, ["True", "on"], "")


def test_what_helps_a_command_ends_with_it(execute):
    helper = "import subprocess\nfrom mtkit.runtime.signals import kill_at_exit\n"
    helper += "kill_at_exit(helper := subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(25)']))\n"
    run = "sys.argv = ['mtkit', '--help']\nfrom mtkit.__main__ import main\nmain()"
    code, _, err, seconds = execute(helper + run, typer=MEETS.format("SIGTERM") + REAL_TYPER)
    assert (code, err) == (143, "terminated\n")
    assert seconds < 20  # the helper holds the pipes too


@pytest.mark.parametrize("name", ["distributed", "signals"])
def test_an_interruption_before_the_command_line_hears_it_is_no_traceback(execute, name):
    interrupt = f"""
class Interrupting:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == "mtkit.runtime.{name}":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(20)
sys.meta_path.insert(0, Interrupting)
sys.modules.pop("mtkit.runtime.{name}", None)
import mtkit.__main__
print("on")
"""
    assert execute(interrupt)[:3] == (130, [], "")
