"""The processes that train together: those that torchrun started, or this one alone."""

from __future__ import annotations

import os
import pickle
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from mtkit.errors import DeviceError, MtkitError, first_line

T = TypeVar("T")

# How long a process waits for the others before it takes them for dead: longer than any of them works alone between
# two meetings (planning the batches of an epoch, writing a checkpoint).
_LONGEST_WAIT = timedelta(minutes=30)
_POLL_SECONDS = 0.02
_ERROR = "mtkit/error"  # where the main process leaves what ended it, for the others


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: 0-based number of this process; 0 is the one that writes and speaks.
        count: Number of processes.
        local_rank: Number of this process on its machine; with GPUs, the GPU that it computes on.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def start_sum(self, values: Sequence[float]) -> Callable[[], list[float]]:
        """Begin to add up `values` over all processes; the function returned waits for the sums."""
        if self.count == 1:
            return lambda: list(values)
        import torch
        from torch import distributed

        tensor = torch.tensor(values, dtype=torch.float64)
        work = distributed.all_reduce(tensor, async_op=True)

        def wait() -> list[float]:
            work.wait()
            return tensor.tolist()

        return wait

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sums of `values` over all processes."""
        return self.start_sum(values)()

    def share(self, value: T) -> T:
        """Return the main process's value in all processes."""
        if self.count == 1:
            return value
        from torch import distributed

        values = [value]
        distributed.broadcast_object_list(values, src=0, device=_cpu())
        return values[0]

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, by rank, in all of them."""
        if self.count == 1:
            return [value]
        from torch import distributed

        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.sum([0.0])


def read_processes() -> Processes:
    """Return this process's place among those that torchrun started, by the environment that it sets."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ or "MASTER_ADDR" not in os.environ:
        return Processes()
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return Processes(rank, count, int(os.environ.get("LOCAL_RANK", rank)))


@contextmanager
def joined(processes: Processes, device_type: str) -> Iterator[None]:
    """Connect the processes while a block runs: gloo for what lies in main memory, NCCL between GPUs.

    Raises:
        MtkitError: That of the main process, in those that thereby lost it.
        DeviceError: Another process is gone, or cannot be reached.
    """
    if processes.count == 1:
        yield
        return
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    store: Any = None
    backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
    try:
        store, rank, count = next(rendezvous("env://", timeout=_LONGEST_WAIT))
        store = distributed.PrefixStore(_meet(store, processes), store)  # type: ignore[attr-defined]
        distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=_LONGEST_WAIT)
        yield
    except MtkitError as exc:
        if processes.is_main:
            with suppress(RuntimeError):  # the launcher, who keeps the store, may be gone
                store.set(_ERROR, pickle.dumps(exc))
        raise
    except (RuntimeError, ConnectionError) as exc:
        if not _is_loss_of_a_process(exc):
            raise
        error = _read_error(store)
        if error is not None:
            raise error from exc
        raise DeviceError(
            f"another of the {processes.count} processes is gone: {first_line(exc)[:200]}",
            at=f"process {processes.rank}",
            fix="see what it said; the same command goes on from the last checkpoint, and torchrun --max-restarts by "
            "itself",
        ) from exc
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _read_error(store: Any) -> MtkitError | None:
    """Return the error that ended the main process, where it left one."""
    with suppress(RuntimeError):
        if store is not None and store.check([_ERROR]):
            error: MtkitError = pickle.loads(store.get(_ERROR))
            error.is_of_all = True
            return error
    return None


def _meet(store: Any, processes: Processes) -> str:
    """Return a name for this meeting of the processes, the same in all of them and new each time.

    When torchrun starts the processes again it hands them the store of before, in which the addresses of the dead
    still stand (torch 2.13). So the first process names each meeting; another one signs up under the name that it
    finds, and takes it once the first has confirmed that very signature.
    """
    deadline = time.monotonic() + _LONGEST_WAIT.total_seconds()
    if processes.is_main:
        name = uuid.uuid4().hex
        store.set("mtkit/meeting", name)
        keys = [f"mtkit/{name}/{rank}" for rank in range(1, processes.count)]
        while not store.check(keys):
            _pause(deadline)
        store.set(f"mtkit/{name}/all", b" ".join(store.get(key) for key in keys))
        return name
    signature = uuid.uuid4().hex
    name = ""
    while not (name and store.check([f"mtkit/{name}/all"]) and signature in store.get(f"mtkit/{name}/all").decode()):
        if name:
            _pause(deadline)
        name = store.get("mtkit/meeting").decode()  # waits for the first process
        store.set(f"mtkit/{name}/{processes.rank}", signature)
    return name


def _pause(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise ConnectionError("not all of them came")
    time.sleep(_POLL_SECONDS)


def _is_loss_of_a_process(exc: BaseException) -> bool:
    from torch import distributed

    text = str(exc).lower()
    return isinstance(exc, (distributed.DistError, ConnectionError)) or "gloo" in text or "connection" in text


def _cpu() -> Any:
    import torch

    return torch.device("cpu")
