"""Lines that wait to be translated, in fair order: nobody waits until somebody else's long text is done.

Each turn gives out one line: clients take turns, the requests of a client take turns, and the lines of a request come
in their order. Lines that are translated together must be of one kind (a model and what is asked of it); those of
another kind keep their place in front, and come with the next window.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from mtkit.decoding.request import Request
from mtkit.decoding.translation import Translation


@dataclass(frozen=True)
class Kind:
    """What lines have in common that are translated together.

    Attributes:
        model: Number of the model.
        n_best: Translations of each line.
        align: Whether words are linked.
    """

    model: int
    n_best: int = 1
    align: bool = False


@dataclass(eq=False)
class Job:
    """Lines of one request.

    Attributes:
        client: Who asks.
        kind: With what they can be translated together.
        lines: To translate.
        answer: Gets the translations, in order, when all are there.
    """

    client: str
    kind: Kind
    lines: Sequence[Request]
    answer: Future[list[Translation]] = field(default_factory=Future)
    pending: deque[int] = field(init=False)
    found: dict[int, Translation] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.pending = deque(range(len(self.lines)))
        self.answer.set_running_or_notify_cancel()  # from now on, nobody but the engine ends it


class FairQueue:
    """The jobs of all clients. Not safe for threads by itself."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, deque[Job]] = OrderedDict()
        self._num_lines = 0
        self._num_characters = 0

    def __len__(self) -> int:
        """Return how many lines wait."""
        return self._num_lines

    @property
    def num_characters(self) -> int:
        """Characters of the lines that wait."""
        return self._num_characters

    def add(self, job: Job) -> None:
        """Let a job wait, behind those of its client; a client who had none waits behind the others."""
        if not job.pending:
            return
        self._clients.setdefault(job.client, deque()).append(job)
        self._num_lines += len(job.pending)
        self._num_characters += _count_pending(job)

    def remove(self, job: Job) -> None:
        """Drop what still waits of a job."""
        jobs = self._clients.get(job.client)
        if jobs is None or job not in jobs:
            return
        jobs.remove(job)
        if not jobs:
            del self._clients[job.client]
        self._num_lines -= len(job.pending)
        self._num_characters -= _count_pending(job)
        job.pending.clear()

    def take(self, max_lines: int, max_characters: int) -> list[tuple[Job, int]]:
        """Remove the lines whose turn it is, all of one kind, and return them: each a job and the line's number in it.

        Args:
            max_lines: At most so many.
            max_characters: No further line once there are so many.
        """
        taken: list[tuple[Job, int]] = []
        set_aside: list[tuple[str, deque[Job]]] = []
        size = 0
        while self._clients and len(taken) < max_lines and size < max_characters:
            client, jobs = self._clients.popitem(last=False)
            job = next((job for job in jobs if not taken or job.kind == taken[0][0].kind), None)
            if job is None:
                set_aside.append((client, jobs))
                continue
            line = job.pending.popleft()
            jobs.remove(job)
            if job.pending:
                jobs.append(job)
            if jobs:
                self._clients[client] = jobs  # behind the others
            taken.append((job, line))
            size += len(job.lines[line].source)
        for client, jobs in reversed(set_aside):
            self._clients[client] = jobs
            self._clients.move_to_end(client, last=False)
        self._num_lines -= len(taken)
        self._num_characters -= size
        return taken


def _count_pending(job: Job) -> int:
    return sum(len(job.lines[line].source) for line in job.pending)
