"""One checkpoint: weights, optimizer and step, written whole or not at all, verified when read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mtkit.checkpoint.model_folder import WEIGHTS_NAME
from mtkit.checkpoint.run_folder import (
    AVERAGE_NAME,
    OPTIMIZER_NAME,
    STATE_NAME,
    CheckpointState,
    RunFolder,
    rank_checkpoints,
)
from mtkit.checkpoint.weights import read_tensors, write_tensors
from mtkit.errors import ModelError, writing
from mtkit.runtime import console
from mtkit.runtime.files import atomic_folder, hash_file

if TYPE_CHECKING:
    from torch import Tensor

# Checkpoints that keep their optimizer: the last, and the one before it in case the last is damaged.
_RESUMABLE = 2


@dataclass
class Snapshot:
    """The tensors of a run at one step, in main memory, each whole.

    Attributes:
        weights: By parameter name.
        optimizer: By `key/parameter name`.
        average: The moving average of the weights; empty where none is kept.
    """

    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    average: dict[str, Tensor] = field(default_factory=dict)

    def to_files(self) -> dict[str, dict[str, Tensor]]:
        """Return the tensors by the name of the file that holds them."""
        files = {WEIGHTS_NAME: self.weights, OPTIMIZER_NAME: self.optimizer, AVERAGE_NAME: self.average}
        return {name: tensors for name, tensors in files.items() if tensors}


class CheckpointWriter:
    """Writes checkpoints in the background while training goes on, one at a time, and rotates them.

    Args:
        run: The run.
        keep: How many of the last checkpoints to keep, and of the best.
        metric: What the best are best in: `bleu`, `chrf` or `loss`.
    """

    def __init__(self, run: RunFolder, keep: int, metric: str) -> None:
        self._run = run
        self._keep = keep
        self._metric = metric
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def write(self, make_snapshot: Callable[[], Snapshot], state: CheckpointState) -> None:
        """Write a checkpoint; returns when the snapshot is taken, after the checkpoint before it has been written.

        Raises:
            OutputError: This or the checkpoint before cannot be written; earlier ones stay whole.
        """
        self.wait()  # first: two snapshots need not be held at once
        self._pending = self._thread.submit(self._write, make_snapshot(), state)

    def check(self) -> None:
        """Raise what went wrong in the background, if anything did by now.

        Raises:
            OutputError: The checkpoint cannot be written; earlier ones stay whole.
        """
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Wait until nothing is left to write.

        Raises:
            OutputError: The checkpoint cannot be written; earlier ones stay whole.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for what is being written, whatever becomes of it, and end the thread."""
        self._thread.shutdown(wait=True)

    def _write(self, snapshot: Snapshot, state: CheckpointState) -> None:
        save_checkpoint(self._run, snapshot, state)
        rotate_checkpoints(self._run, self._keep, self._metric)


def save_checkpoint(run: RunFolder, snapshot: Snapshot, state: CheckpointState) -> Path:
    """Write a checkpoint and return its folder.

    Raises:
        OutputError: It cannot be written; earlier checkpoints stay whole.
    """
    folder = run.checkpoint(state.step)
    with atomic_folder(folder) as temporary:
        hashes = {}
        for name, tensors in snapshot.to_files().items():
            write_tensors(tensors, temporary / name)
            hashes[name] = hash_file(temporary / name)
        run.write_state(state.model_copy(update={"hashes": hashes}), temporary)
    return folder


def find_last_checkpoint(run: RunFolder) -> Path | None:
    """Return the last checkpoint that is whole; damaged ones after it are reported, and removed.

    Returns:
        Its folder, or None where the run has no checkpoint.

    Raises:
        ModelError: There are checkpoints, and none of them can be restored.
    """
    problems = []
    for folder in reversed(run.list_checkpoints()):
        try:
            _verify(run, folder)
        except ModelError as exc:
            problems.append(exc)
            console.warn(f"checkpoint {folder.name} cannot be used: {exc.message} ({exc.at}); trying the one before it")
            continue
        for later in run.list_checkpoints():
            if later > folder:
                shutil.rmtree(later, ignore_errors=True)
        return folder
    if problems:
        raise ModelError(
            "no checkpoint of the run can be restored",
            at=run.checkpoints,
            fix="start anew with another -o; training.init_from takes the weights of one that still has them "
            "(--restart would delete them all)",
        ) from problems[0]
    return None


def find_whole_weights(run: RunFolder, folder: Path) -> Path:
    """Return the file of a checkpoint's weights, of their moving average where one is kept, once its hash is right.

    Raises:
        ModelError: It is missing or damaged.
    """
    hashes = run.read_state(folder).hashes
    name = AVERAGE_NAME if AVERAGE_NAME in hashes else WEIGHTS_NAME
    _compare(folder / name, hashes[name])
    return folder / name


def read_snapshot(folder: Path) -> Snapshot:
    """Read the tensors of a checkpoint.

    Raises:
        ModelError: A file is missing or damaged.
    """
    optimizer, average = (
        read_tensors(folder / name) if (folder / name).is_file() else {} for name in (OPTIMIZER_NAME, AVERAGE_NAME)
    )
    return Snapshot(read_tensors(folder / WEIGHTS_NAME), optimizer, average)


def rotate_checkpoints(run: RunFolder, keep: int, metric: str) -> None:
    """Delete all checkpoints but the last `keep` and the `keep` best; older ones give up their optimizer state.

    What only a signal asked for does not count, and stays as long as what was written before it. What a kill left
    behind of others goes too.

    Raises:
        OutputError: They cannot be deleted.
    """
    everything = run.list_checkpoints()
    last = run.list_planned()[-keep:]
    kept = {*(folder for folder in everything if not last or folder >= last[0]), *rank_checkpoints(run, metric)[:keep]}
    with writing(run.checkpoints):
        for folder in everything:
            if folder not in kept:
                # The state goes first: without it the folder is no checkpoint, whatever interrupts the rest.
                (folder / STATE_NAME).unlink()
        for folder in run.list_leftovers():
            shutil.rmtree(folder, ignore_errors=True)
        for folder in everything[:-_RESUMABLE]:
            (folder / OPTIMIZER_NAME).unlink(missing_ok=True)


def _verify(run: RunFolder, folder: Path) -> None:
    """Compare the files of a checkpoint with the hashes that were noted when it was written."""
    for name, wanted in run.read_state(folder).hashes.items():
        _compare(folder / name, wanted)


def _compare(path: Path, wanted: str) -> None:
    if not path.is_file():
        raise ModelError("the file is missing", at=path, fix="use an earlier checkpoint")
    try:
        found = hash_file(path)
    except OSError as exc:
        reason = f"the file cannot be read: {exc.strerror or exc}"
        raise ModelError(reason, at=path, fix="use an earlier checkpoint") from exc
    if found != wanted:
        raise ModelError("the file is damaged: its hash is another", at=path, fix="use an earlier checkpoint")
