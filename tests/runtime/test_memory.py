import os
from pathlib import Path

import pytest
import torch

from mtkit.runtime import memory
from mtkit.runtime.memory import _left_in_control_group, available_memory, is_out_of_memory

VERSION_2 = ("memory.max", "memory.current", "memory.stat", "inactive_file")
VERSION_1 = (
    "memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file",
)  # fmt: skip


def build_group(folder, version, limit, used, cached):
    """A control group's files; beside what merely caches files stand lines that only look like it."""
    limit_name, used_name, statistics, cache = version
    (folder / limit_name).parent.mkdir(parents=True, exist_ok=True)
    (folder / limit_name).write_text(f"{limit}\n")
    (folder / used_name).write_text(f"{used}\n")
    (folder / statistics).write_text(f"anon 7\nactive_file 8\n{cache} {cached}\nunevictable 9\n")


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2])
def test_what_a_control_group_leaves_is_its_limit_less_what_is_used_and_no_cache(tmp_path, version):
    build_group(tmp_path, version, 1000, 700, 150)
    assert _left_in_control_group(tmp_path) == 450


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2])
def test_a_group_over_its_limit_leaves_nothing(tmp_path, version):
    build_group(tmp_path, version, 1000, 1300, 150)
    assert _left_in_control_group(tmp_path) == 0


def test_a_group_without_a_limit_or_without_files_says_nothing(tmp_path):
    assert _left_in_control_group(tmp_path) is None
    build_group(tmp_path, VERSION_2, "max", 700, 150)
    assert _left_in_control_group(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("anon 7\n")  # an old kernel's
    assert _left_in_control_group(tmp_path) is None


def test_where_the_second_version_has_no_limit_the_first_is_asked(tmp_path):
    build_group(tmp_path, VERSION_2, "max", 700, 150)
    build_group(tmp_path, VERSION_1, 500, 100, 50)
    assert _left_in_control_group(tmp_path) == 450


@pytest.mark.parametrize(
    ("version", "line", "folder"), [(VERSION_1, "4:cpu,memory:/job/step", "memory"), (VERSION_2, "0::/job/step", "")]
)
def test_a_group_within_others_has_the_least_that_any_of_them_leaves(tmp_path, version, line, folder):
    """As of SLURM's jobs, and of users and services under systemd."""
    membership = tmp_path / "membership"
    membership.write_text(f"7:name=systemd:/job\n3:memoryless:/\n{line}\n")
    top = tmp_path / folder
    flat = tuple(name.removeprefix("memory/") for name in version)
    for group, limit in (("", 5000), ("job", 1000), ("job/step", 2000), ("other", 800)):
        build_group(top / group, flat, limit, 700, 150)
    assert _left_in_control_group(tmp_path, membership) == 450
    build_group(top / "job", flat, 3000, 700, 150)
    assert _left_in_control_group(tmp_path, membership) == 1450


def test_the_smaller_of_what_system_and_group_leave_counts(monkeypatch):
    assert 0 < available_memory() < 1 << 50
    for free, left, expected in ((100, 40, 40), (100, 1 << 62, 100), (100, None, 100), (None, 40, 40), (None,) * 3):
        monkeypatch.setattr(memory, "_free_memory", lambda free=free: free)
        monkeypatch.setattr(memory, "_left_in_control_group", lambda left=left: left)
        assert available_memory() == expected


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="this system has no such file")
def test_free_memory_is_told_in_bytes():
    assert memory._free_memory() > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") / 2


def test_what_a_person_says_of_the_kernel_caches_counts(monkeypatch):
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    memory.bound_kernel_caches()
    assert (os.environ["LRU_CACHE_CAPACITY"], os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) == ("7", "128")


def test_out_of_memory_has_many_names():
    refused = "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    for exc in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(refused)):
        assert is_out_of_memory(exc)
    for exc in (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("memory"), KeyboardInterrupt()):
        assert not is_out_of_memory(exc)
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
