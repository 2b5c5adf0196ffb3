import errno
import os
import pickle

import pytest
import torch

from mtkit.checkpoint.averaging import average_weights
from mtkit.checkpoint.weights import load_weights, read_shapes, read_tensors, write_tensors
from mtkit.errors import ModelError, OutputError
from mtkit.runtime.files import atomic_folder


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.safetensors"
    write_tensors({"weight": torch.arange(6.0).view(2, 3), "bias": torch.zeros(2)}, path)
    return path


def test_are_read_back_equal(weights):
    tensors = read_tensors(weights)
    assert torch.equal(tensors["weight"], torch.arange(6.0).view(2, 3))
    assert read_shapes(weights) == {"weight": [2, 3], "bias": [2]}


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_who_may_read_weights_is_what_the_umask_says(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_tensors({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
        (tmp_path / "b").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_of_a_refusal_of_the_system_one_learns_what_to_do(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(OutputError) as refused, atomic_folder(tmp_path / "made") as folder:
            write_tensors({"a": torch.zeros(1 << 19)}, folder / "a.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refused.value.message == f"cannot write: {os.strerror(errno.EFBIG)}"
    assert refused.value.fix.startswith("free space there")
    assert refused.value.at == str(tmp_path / "made" / "a.safetensors")


def test_truncated_weights_are_told(weights):
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(ModelError, match="truncated"):
        read_tensors(weights)


def test_a_pickle_is_refused_without_running_it(weights, tmp_path):
    torch.save({"weight": torch.zeros(2)}, weights)
    with pytest.raises(ModelError, match="pickle"):
        read_tensors(weights)
    weights.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelError, match="pickle"):
        read_tensors(weights)


def test_missing_weights_are_told(tmp_path):
    with pytest.raises(ModelError, match="no weights"):
        read_tensors(tmp_path / "none")
    with pytest.raises(ModelError, match="no weights"):
        read_shapes(tmp_path / "none")


def test_weights_of_another_model_are_refused(weights):
    with pytest.raises(ModelError, match="'weight' is \\[2, 3\\], not \\[2, 4\\]"):
        load_weights(torch.nn.Linear(4, 2), read_tensors(weights), weights)
    with pytest.raises(ModelError, match="has 'bias'"):
        load_weights(torch.nn.Linear(3, 2, bias=False), read_tensors(weights), weights)
    with pytest.raises(ModelError, match="lacks"):
        load_weights(torch.nn.Bilinear(3, 3, 2), {}, weights)


def test_an_unwritable_place_is_an_output_error(tmp_path):
    with pytest.raises(OutputError):
        write_tensors({"a": torch.zeros(2)}, tmp_path / "none" / "model.safetensors")


def test_averages_are_the_mean(tmp_path):
    paths = [tmp_path / f"{i}.safetensors" for i in range(3)]
    values = [torch.randn(4, 5) for _ in paths]
    for path, value in zip(paths, values, strict=True):
        write_tensors({"a": value}, path)
    assert torch.allclose(average_weights(paths)["a"], sum(values) / 3)
    write_tensors({"b": values[0]}, paths[1])
    with pytest.raises(ModelError, match="different models"):
        average_weights(paths)
