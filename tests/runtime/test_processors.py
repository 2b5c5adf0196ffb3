import os
import subprocess
import sys

import pytest

from mtkit.runtime.processors import processor_limit, wait_awake_briefly


def set_limit(folder, version, quota, period=100_000):
    folder = folder if version == 2 else folder / "cpu"
    folder.mkdir(exist_ok=True)
    if version == 2:
        (folder / "cpu.max").write_text(f"{quota} {period}\n")
    else:
        (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu.cfs_period_us").write_text(f"{period}\n")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("quota", "expected"), [(400_000, 4), (250_000, 3), (100_000, 1), (1_000, 1)])
def test_a_limit_of_processor_time_is_a_number_of_processors(tmp_path, version, quota, expected):
    set_limit(tmp_path, version, quota)
    assert processor_limit(tmp_path) == expected


def test_no_limit_is_none(tmp_path):
    assert processor_limit(tmp_path) is None
    set_limit(tmp_path, 1, -1)
    set_limit(tmp_path, 2, "max")
    assert processor_limit(tmp_path) is None


def test_of_the_groups_that_a_process_stands_in_the_smallest_limit_holds(tmp_path):
    membership = tmp_path / "membership"
    membership.write_text("0::/job/step\n")
    for group, quota in (("", 800_000), ("job", 200_000), ("job/step", 300_000), ("other", 100_000)):
        set_limit(tmp_path / group, 2, quota)
    assert processor_limit(tmp_path, membership) == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, True), ({"GOMP_SPINCOUNT": "77"}, False), ({"OMP_WAIT_POLICY": "active"}, False)],
)
def test_threads_wait_awake_briefly_unless_the_environment_says_how(monkeypatch, given, expected):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    wait_awake_briefly()
    assert ("GOMP_SPINCOUNT" in os.environ.keys() - before.keys()) == expected
    assert before.items() <= os.environ.items()
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)


def test_the_command_line_sets_it_before_torch_is_there():
    code = """
import os, sys
from mtkit import __main__
sys.argv = ["mtkit", "--version"]
try:
    __main__.main()
except SystemExit:
    print("GOMP_SPINCOUNT" in os.environ, "torch" in sys.modules)
"""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    }
    said = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert said.stdout.splitlines()[-1] == "True False"
