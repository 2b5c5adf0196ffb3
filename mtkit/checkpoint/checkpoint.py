"""One checkpoint: weights, optimizer and step, written whole or not at all, verified when read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtkit.checkpoint.model_folder import WEIGHTS_NAME
from mtkit.checkpoint.run_folder import OPTIMIZER_NAME, STATE_NAME, CheckpointState, RunFolder, rank_checkpoints
from mtkit.checkpoint.weights import load_weights, read_tensors, unique_weights, write_tensors
from mtkit.errors import ModelError
from mtkit.runtime import console
from mtkit.runtime.files import atomic_folder, hash_file, write_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# Checkpoints that keep their optimizer: the last, and the one before it in case the last is damaged.
_RESUMABLE = 2


def save_checkpoint(run: RunFolder, model: nn.Module, optimizer: torch.optim.Optimizer, state: CheckpointState) -> Path:
    """Write a checkpoint and return its folder.

    Raises:
        OutputError: It cannot be written; earlier checkpoints stay whole.
    """
    folder = run.checkpoint(state.step)
    with atomic_folder(folder) as temporary:
        write_tensors(unique_weights(model), temporary / WEIGHTS_NAME)
        write_tensors(_optimizer_tensors(model, optimizer), temporary / OPTIMIZER_NAME)
        hashes = {name: hash_file(temporary / name) for name in (WEIGHTS_NAME, OPTIMIZER_NAME)}
        write_json(state.model_copy(update={"hashes": hashes}).model_dump(mode="json"), temporary / STATE_NAME)
    return folder


def load_checkpoint(run: RunFolder, model: nn.Module, optimizer: torch.optim.Optimizer) -> CheckpointState | None:
    """Restore the last checkpoint that is whole; a damaged one is reported and the one before it taken.

    Returns:
        The state restored, or None where the run has no checkpoint.

    Raises:
        ModelError: There are checkpoints, and none of them can be restored.
    """
    problems = []
    for folder in reversed(run.list_checkpoints()):
        try:
            state = _restore(run, folder, model, optimizer)
        except ModelError as exc:
            problems.append(exc)
            console.warn(f"checkpoint {folder.name} cannot be used: {exc.message} ({exc.at}); trying the one before it")
            continue
        for later in run.list_checkpoints():
            if later > folder:
                shutil.rmtree(later, ignore_errors=True)
        return state
    if problems:
        raise ModelError(
            "no checkpoint of the run can be restored", at=run.checkpoints, fix="start anew with --overwrite"
        ) from problems[0]
    return None


def rotate_checkpoints(run: RunFolder, keep: int, metric: str) -> None:
    """Delete all checkpoints but the last `keep` and the `keep` best; older ones give up their optimizer state."""
    everything = run.list_checkpoints()
    kept = {*everything[-keep:], *rank_checkpoints(run, metric)[:keep]}
    for folder in everything:
        if folder not in kept:
            # The state goes first: without it the folder is no checkpoint, whatever interrupts the rest.
            (folder / STATE_NAME).unlink()
            shutil.rmtree(folder, ignore_errors=True)
    for folder in everything[:-_RESUMABLE]:
        (folder / OPTIMIZER_NAME).unlink(missing_ok=True)


def _restore(run: RunFolder, folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> CheckpointState:
    state = run.read_state(folder)
    for name, wanted in state.hashes.items():
        path = folder / name
        if not path.is_file():
            raise ModelError("the file is missing", at=path, fix="use an earlier checkpoint")
        if hash_file(path) != wanted:
            raise ModelError("the file is damaged: its hash is another", at=path, fix="use an earlier checkpoint")
    load_weights(model, read_tensors(folder / WEIGHTS_NAME), folder / WEIGHTS_NAME)
    _restore_optimizer(model, optimizer, read_tensors(folder / OPTIMIZER_NAME))
    return state


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as `key/parameter name` tensors."""
    return {
        f"{key}/{name}": value
        for name, parameter in unique_weights(model).items()
        for key, value in optimizer.state[parameter].items()
    }


def _restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    states: dict[str, dict[str, Any]] = {}
    for full_name, tensor in tensors.items():
        key, _, name = full_name.partition("/")
        states.setdefault(name, {})[key] = tensor
    for name, parameter in unique_weights(model).items():
        optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in states.get(name, {}).items()}
