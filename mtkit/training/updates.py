"""What each update is made of: planned from the seed alone, read ahead of the training."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtkit.checkpoint.run_folder import RunRecord
from mtkit.config.training import TrainingSection
from mtkit.corpus.batching import Batch, Pairs, Rows, SpecialIds, collate, plan_batches, read_pairs
from mtkit.corpus.sampling import corpus_shares, draw_rows
from mtkit.corpus.store import CorpusSplit
from mtkit.corpus.subwords import SubwordSampler
from mtkit.runtime.distributed import Processes
from mtkit.runtime.seeds import derive_seed

# Updates read ahead.
_AHEAD = 4


@dataclass(frozen=True)
class Update:
    """One update, or this process's part of it.

    Attributes:
        step: 1-based.
        epoch: 0-based.
        index: Which batch of the epoch this is.
        rows: All pairs of the update, those of the other processes too.
        batches: This process's micro-batches; perhaps none, where there are fewer pairs than processes.
        num_tokens: Target tokens of this process, EOS included.
        padded_tokens: The same with padding.
        micro_batch_tokens: What the micro-batches were cut to.
    """

    step: int
    epoch: int
    index: int
    rows: Rows
    batches: list[Batch]
    num_tokens: int
    padded_tokens: int
    micro_batch_tokens: int


class UpdateReader:
    """Makes the updates of a run, in order, in a thread that is some updates ahead of the training.

    The batches of an epoch are a function of (seed, epoch). Of n processes each takes every n-th pair of a batch in
    order of length, so all have as much to do; no process holds more of the corpus than the updates that it reads
    ahead.

    Args:
        split: The training pairs.
        special: Special ids.
        training: Batches, seed, weights of corpora, subword sampling.
        processes: Who shares the work.
        record: Says how large micro-batches are from which step on; replaced when that changes.
        sampler: Segments the text anew, where that is asked for.
        pin: Put the batches where a GPU can fetch them by itself.
    """

    def __init__(
        self,
        split: CorpusSplit,
        special: SpecialIds,
        training: TrainingSection,
        processes: Processes,
        record: RunRecord,
        sampler: SubwordSampler | None = None,
        pin: bool = False,
    ) -> None:
        self.split = split
        self.special = special
        self.training = training
        self.processes = processes
        self.record = record
        self.sampler = sampler
        self.pin = pin
        self.shares = corpus_shares(training, split)
        self.longest: NDArray[np.int64] = np.maximum(split.source_lengths, split.target_lengths).astype(np.int64) + 1

    def plan(self, epoch: int) -> list[Rows]:
        """Return the batches of an epoch, each as the pairs that it holds."""
        seed = self.training.seed
        rows = None if self.shares is None else draw_rows(self.split.corpus_codes, self.shares, seed, epoch)
        return plan_batches(
            self.split.source_lengths, self.split.target_lengths, self.training.batch_tokens, seed, epoch, rows
        )

    def build(self, step: int, epoch: int, index: int, rows: Rows) -> Update:
        """Read one update."""
        micro_batch_tokens = self.record.micro_batch_tokens(step)
        # Micro-batches are cut of what was drawn, not of what is stored: drawn sentences are longer.
        seed = derive_seed(self.training.seed, "subwords", step)
        pairs = read_pairs(self.split, self._take_part(rows), self.sampler, seed)
        batches = [self._collate(part) for part in pairs.split(micro_batch_tokens)]
        num_tokens = sum(batch.num_tokens for batch in batches)
        padded_tokens = sum(batch.tgt_out_ids.numel() for batch in batches)
        return Update(step, epoch, index, rows, batches, num_tokens, padded_tokens, micro_batch_tokens)

    def build_idle(self, rows: Rows) -> Batch:
        """Read a pair of an update, for a pass that only keeps in step with the other processes."""
        return self._collate(read_pairs(self.split, rows[:1]))

    def _take_part(self, rows: Rows) -> Rows:
        """Return this process's pairs of an update."""
        rank, count = self.processes.rank, self.processes.count
        return rows if count == 1 else rows[np.argsort(self.longest[rows], kind="stable")][rank::count]

    def _collate(self, pairs: Pairs) -> Batch:
        batch = collate(pairs, self.special)
        return batch.pin() if self.pin else batch

    def read(self, step: int, epoch: int, index: int, max_steps: int | None) -> Generator[Update, None, None]:
        """Yield the updates after `step`, beginning with batch `index` of `epoch`, to the end of the run."""
        ahead: queue.Queue[Update | BaseException | None] = queue.Queue(_AHEAD)
        stop = threading.Event()

        def put(item: Update | BaseException | None) -> None:
            while not stop.is_set():
                with suppress(queue.Full):
                    ahead.put(item, timeout=0.1)
                    return

        def work() -> None:
            try:
                for at in self._iter_places(step, epoch, index, max_steps):
                    if stop.is_set():
                        return
                    put(self.build(*at))
                put(None)
            except BaseException as exc:
                put(exc)

        thread = threading.Thread(target=work, daemon=True, name="updates")
        thread.start()
        try:
            while (item := ahead.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()

    def _iter_places(
        self, step: int, epoch: int, first: int, max_steps: int | None
    ) -> Iterator[tuple[int, int, int, Rows]]:
        """Yield (step, epoch, index in the epoch, pairs of the batch); the next epoch is planned during this one."""
        last_epoch = self.training.max_epochs
        with ThreadPoolExecutor(1) as planner:
            upcoming: Future[Any] = planner.submit(self.plan, epoch)
            while last_epoch is None or epoch < last_epoch:
                batches = upcoming.result()
                upcoming = planner.submit(self.plan, epoch + 1)
                for index in range(first, len(batches)):
                    if max_steps is not None and step >= max_steps:
                        return
                    step += 1
                    yield step, epoch, index, batches[index]
                epoch, first = epoch + 1, 0
