import threading

import pytest
import torch

from mtkit.decoding import inference
from mtkit.decoding.inference import load_for_inference
from mtkit.errors import ModelError


def test_loading_leaves_no_helpers_to_the_thread_that_loads(model_folder, monkeypatch):
    threads = []
    for name in ("load_model", "prepare_for_inference"):
        original = getattr(inference, name)

        def observe(*args, original=original):
            threads.append((threading.current_thread(), torch.get_num_threads()))
            return original(*args)

        monkeypatch.setattr(inference, name, observe)
    load_for_inference(model_folder, "cpu", "fp32", threads=3)
    (thread, count), other = threads
    assert (thread, count) == other
    assert count == 3
    assert not thread.is_alive()


def test_an_error_of_loading_is_raised(tmp_path):
    with pytest.raises(ModelError):
        load_for_inference(tmp_path, "cpu", "fp32", threads=None)
