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
# Modules that stand for packages whose code runs into a signal while they load.
LOSES = "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    pass\n"
MEETS = "import os, signal\nos.kill(os.getpid(), signal.{})\n"


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


def test_a_signal_that_is_lost_while_a_module_loads_comes_again(execute):
    code, said, _, seconds = execute("unwind_on_signals()\nimport loses\nprint('on')\ntime.sleep(25)", loses=LOSES)
    assert (code, said) == (130, ["on"])
    assert seconds < 20


def test_a_signal_comes_again_until_it_is_ignored(execute):
    code = """
unwind_on_signals()
try:
    import meets
except SystemExit as exc:
    ignore_signals()
    time.sleep(0.5)
    print(exc.code)
"""
    assert execute(code, meets=MEETS.format("SIGTERM"))[:3] == (0, ["143"], "")


def test_what_is_ignored_stays_ignored(execute):
    code = "signal.signal(signal.SIGINT, signal.SIG_IGN)\nunwind_on_signals()\nos.kill(os.getpid(), signal.SIGINT)"
    assert execute(f"{code}\nprint('on')")[:3] == (0, ["on"], "")


@pytest.mark.parametrize(("sent", "code", "said"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_the_command_line_can_be_interrupted_while_it_loads(execute, sent, code, said):
    # The first module that it needs of others is in the place of the real one.
    run = "sys.argv = ['mtkit', '--help']\nfrom mtkit.__main__ import main\nmain()"
    found = execute(run, typer=MEETS.format(sent))
    assert found[:3] == (code, [], f"{said}\n")
