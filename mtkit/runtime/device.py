"""Which device computes, in which precision, on how many threads."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

from mtkit.errors import DeviceError
from mtkit.runtime.processors import processor_limit

if TYPE_CHECKING:
    import torch

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]
InferencePrecision = Literal["fp32", "bf16", "int8"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def resolve_device(name: DeviceName = "auto", local_rank: int = 0) -> torch.device:
    """Return the device that `name` stands for; `auto` takes CUDA, else Apple's GPU, else the CPU.

    Args:
        name: Kind of device.
        local_rank: Number of this process on its machine: of several GPUs it takes that one.

    Raises:
        DeviceError: The device is absent.
    """
    import torch

    if name not in ("auto", "cpu", "cuda", "mps"):
        raise DeviceError(f"no device '{name}'", at=f"--device {name}", fix="use auto, cpu, cuda or mps")
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if present["cuda"] else "mps" if present["mps"] else "cpu"
    if not present[name]:
        raise DeviceError(
            f"no {name} device here",
            at=f"--device {name}",
            fix="use --device cpu, or --device auto to take what is there",
        )
    if name != "cuda" or local_rank == 0:
        return torch.device(name)
    if local_rank >= torch.cuda.device_count():
        raise DeviceError(
            f"process {local_rank} of this machine has no GPU: there are {torch.cuda.device_count()}",
            at="torchrun --nproc-per-node",
            fix="start as many processes as there are GPUs",
        )
    torch.cuda.set_device(local_rank)
    return torch.device(name, local_rank)


def name_processor(device: torch.device) -> str:
    """Return the name of the hardware that computes, as far as the system tells it."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def resolve_precision(name: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """Return the arithmetic that `name` stands for on `device`.

    `auto` is bf16 where the hardware multiplies it natively: CUDA from compute capability 8.0, and CPUs with
    AVX512-BF16 or AMX. Elsewhere bf16 is emulated and slower than fp32. The rule looks at the processor only, never at
    a timing, so that the same machine always decides alike.
    """
    if name != "auto":
        return name
    return "bf16" if _has_native_bf16(device) else "fp32"


def resolve_inference_precision(name: Literal["auto"] | InferencePrecision, device: torch.device) -> InferencePrecision:
    """Return the arithmetic of translation that `name` stands for on `device`; `auto` as in `resolve_precision`.

    Raises:
        DeviceError: int8 is asked for where the processor cannot add its products without overflow.
    """
    if name != "int8":
        return resolve_precision(name, device)
    if not has_int8(device):
        raise DeviceError(
            "int8 needs a CPU with AVX512-VNNI",
            at=f"decoding.precision, on {name_processor(device)}",
            fix="use --precision bf16 or fp32",
        )
    return "int8"


def has_int8(device: torch.device) -> bool:
    """Return whether the device multiplies 8-bit integers: a CPU with AVX512-VNNI, and torch built with oneDNN."""
    import torch

    has_vnni = getattr(torch.cpu, "_is_vnni_supported", lambda: False)()
    if device.type != "cpu" or not has_vnni or not hasattr(torch.ops.onednn, "qlinear_pointwise"):
        return False
    return _sums_int8_exactly()


@cache
def _sums_int8_exactly() -> bool:
    """Return whether oneDNN uses what the processor has: ONEDNN_MAX_CPU_ISA may keep it to sums that saturate."""
    import torch

    width = 64
    weight = torch.ops.onednn.qlinear_prepack(torch.full((width, width), 127, dtype=torch.int8), None)
    scales, zero_points = torch.ones(width), torch.zeros(width, dtype=torch.int64)
    largest = torch.full((1, width), 255, dtype=torch.uint8)
    sums = torch.ops.onednn.qlinear_pointwise.default(
        largest, 1.0, 0, weight, scales, zero_points, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return bool((sums == 255 * 127 * width).all())


def _has_native_bf16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        has_avx512_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
        return bool(has_avx512_bf16 or has_amx)
    return False


def set_threads(count: int | None) -> None:
    """Compute on `count` threads of the CPU.

    None leaves torch's choice, the number of cores or what OMP_NUM_THREADS says, but takes no more than a container's
    limit of processor time allows: threads beyond it would wait for each other.
    """
    import torch

    if count is None and "OMP_NUM_THREADS" not in os.environ:
        limit = processor_limit()
        count = limit if limit is not None and limit < torch.get_num_threads() else None
    if count is not None:
        torch.set_num_threads(count)


def call_in_thread(function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Return what a function returns, called in a thread that ends with it, as do the helpers that it needs to compute.

    Helpers of OpenMP stay, idle, with the thread that started them. Where another one computes later, as in a server,
    GNU OpenMP counts both sets, finds more threads than processors, and lets all of them sleep between any two
    operations: one sentence at a time then takes three times as long.
    """
    with ThreadPoolExecutor(1, "computing") as executor:
        return executor.submit(function, *args, **kwargs).result()
