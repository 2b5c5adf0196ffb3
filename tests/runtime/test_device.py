import os
import subprocess
import sys

import pytest
import torch

from mtkit.errors import DeviceError
from mtkit.runtime import device
from mtkit.runtime.device import (
    has_int8,
    resolve_device,
    resolve_inference_precision,
    resolve_precision,
    set_threads,
)


@pytest.fixture
def present(monkeypatch):
    """Return a function that decides which GPUs seem to be there."""

    def present(*, cuda=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return present


@pytest.mark.parametrize(
    ("there", "chosen"),
    [({}, "cpu"), ({"mps": True}, "mps"), ({"cuda": True}, "cuda"), ({"cuda": True, "mps": True}, "cuda")],
)
def test_auto_takes_the_fastest_device_there_is(present, there, chosen):
    present(**there)
    assert resolve_device("auto").type == chosen


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_an_absent_device_is_an_error_with_a_fix(present, name):
    present()
    with pytest.raises(DeviceError, match=f"no {name} device here") as caught:
        resolve_device(name)
    assert "--device cpu" in caught.value.fix


def test_each_process_of_a_machine_takes_the_gpu_of_its_number(present, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    present(cuda=True)
    assert [resolve_device("auto", rank) for rank in range(3)] == [
        torch.device(name) for name in ("cuda", "cuda:1", "cuda:2")
    ]
    assert chosen == [1, 2]
    with pytest.raises(DeviceError, match="process 3 of this machine has no GPU: there are 3"):
        resolve_device("cuda", 3)
    assert resolve_device("cpu", 5) == torch.device("cpu")


def test_the_cpu_is_always_there(present):
    present(cuda=True)
    assert resolve_device("cpu").type == "cpu"


@pytest.mark.parametrize("native", [True, False])
def test_auto_precision_follows_the_processor(monkeypatch, native):
    monkeypatch.setattr(device, "_has_native_bf16", lambda _: native)
    assert resolve_precision("auto", torch.device("cpu")) == ("bf16" if native else "fp32")


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_a_precision_asked_for_is_taken(monkeypatch, name):
    monkeypatch.setattr(device, "_has_native_bf16", lambda _: name == "fp32")
    assert resolve_precision(name, torch.device("cpu")) == name


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_cuda_has_bf16_from_capability_8(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert resolve_precision("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize("name", ["auto", "fp32", "bf16"])
@pytest.mark.parametrize("native", [True, False])
def test_translation_has_the_precisions_of_training(monkeypatch, name, native):
    monkeypatch.setattr(device, "_has_native_bf16", lambda _: native)
    cpu = torch.device("cpu")
    assert resolve_inference_precision(name, cpu) == resolve_precision(name, cpu)


@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_int8_needs_a_cpu_that_has_it(monkeypatch, place):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: place == "cuda", raising=False)
    monkeypatch.setattr(device, "name_processor", lambda _: "a processor")
    assert not has_int8(torch.device(place))
    with pytest.raises(DeviceError, match="int8 needs a CPU with AVX512-VNNI") as caught:
        resolve_inference_precision("int8", torch.device(place))
    assert "--precision bf16 or fp32" in caught.value.fix


def test_int8_is_refused_where_onednn_was_told_to_pass_over_vnni():
    """Sums of products saturate there, and translations would be wrong."""
    code = "import torch; from mtkit.runtime.device import has_int8; print(has_int8(torch.device('cpu')))"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert said.stdout == "False\n"


def test_int8_is_taken_where_it_is_there(monkeypatch):
    monkeypatch.setattr(device, "has_int8", lambda _: True)
    assert resolve_inference_precision("int8", torch.device("cpu")) == "int8"


def test_threads_are_set_and_left_alone():
    before = torch.get_num_threads()
    try:
        set_threads(1)
        assert torch.get_num_threads() == 1
        set_threads(None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("limit", "given", "wished", "expected"),
    [(2, None, None, 2), (8, None, None, 4), (None, None, None, 4), (2, "4", None, 4), (2, None, 3, 3)],
)
def test_a_containers_limit_bounds_the_threads_that_nobody_chose(monkeypatch, limit, given, wished, expected):
    monkeypatch.setattr(device, "processor_limit", lambda: limit)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        set_threads(wished)
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads as Linux tells them")
def test_helpers_of_a_thread_end_with_it():
    code = """
import os, time
import torch
from mtkit.runtime.device import call_in_thread

def count():
    return len(os.listdir("/proc/self/task"))

def work():
    torch.ones(1 << 22).exp()
    return count()

torch.set_num_threads(2)
before = count()
print(call_in_thread(work) - before)  # the thread, and a helper
deadline = time.monotonic() + 20
while count() > before and time.monotonic() < deadline:
    time.sleep(0.01)
print(count() - before, work() - before)
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.splitlines() == ["2", "0 1"]
