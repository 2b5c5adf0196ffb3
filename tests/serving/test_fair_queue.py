import random

import pytest

from mtkit.decoding.request import Request
from mtkit.serving.fair_queue import FairQueue, Job, Kind

A, B = Kind(0), Kind(1)


@pytest.fixture
def queue():
    return FairQueue()


@pytest.fixture
def add(queue):
    """Return a function that adds a job of so many lines."""

    def add(client, lines, kind=A):
        job = Job(client, kind, [Request(f"{client}{n}") for n in range(lines)])
        queue.add(job)
        return job

    return add


def names(taken):
    return [job.lines[line].source for job, line in taken]


def test_clients_take_turns(queue, add):
    add("a", 100)
    add("b", 2)
    add("c", 1)
    assert names(queue.take(6, 1000)) == ["a0", "b0", "c0", "a1", "b1", "a2"]
    add("d", 1)
    assert names(queue.take(2, 1000)) == ["a3", "d0"]


def test_requests_of_a_client_take_turns(queue, add):
    add("a", 100)
    add("a", 2)
    add("b", 3)
    assert names(queue.take(7, 1000)) == ["a0", "b0", "a0", "b1", "a1", "b2", "a1"]


def test_another_kind_waits_in_front(queue, add):
    add("a", 3)
    add("b", 1, B)
    add("c", 3)
    assert names(queue.take(4, 1000)) == ["a0", "c0", "a1", "c1"]
    assert names(queue.take(4, 1000)) == ["b0"]
    assert names(queue.take(4, 1000)) == ["a2", "c2"]


def test_a_kind_is_never_starved(queue, add):
    for number in range(200):
        add(f"a{number}-", 50)
    add("b", 1, B)
    windows = [queue.take(64, 1000) for _ in range(8)]
    assert any(names(window) == ["b0"] for window in windows)


def test_characters_end_a_window(queue, add):
    add("a", 10)
    assert len(queue.take(10, 5)) == 3
    assert len(queue.take(10, 1)) == 1


def test_what_is_removed_does_not_come(queue, add):
    first, second = add("a", 5), add("a", 1)
    queue.take(1, 1000)
    queue.remove(first)
    queue.remove(first)
    assert (len(queue), queue.num_characters) == (1, 2)
    assert [job for job, _ in queue.take(10, 1000)] == [second]
    queue.remove(second)
    assert (len(queue), queue.num_characters, queue.take(10, 1000)) == (0, 0, [])


@pytest.mark.parametrize("seed", range(20))
def test_every_line_comes_once_and_in_order(queue, add, seed):
    draw = random.Random(seed)
    jobs = [add(draw.choice("abc"), draw.randint(0, 9), draw.choice([A, B])) for _ in range(30)]
    dropped = draw.sample(jobs, 5)
    for job in dropped:
        queue.remove(job)
    found = {id(job): [] for job in jobs}
    while window := queue.take(draw.randint(1, 20), draw.randint(1, 40)):
        assert len({job.kind for job, _ in window}) == 1
        for job, line in window:
            found[id(job)].append(line)
    for job in jobs:
        assert found[id(job)] == ([] if job in dropped else list(range(len(job.lines))))
    assert (len(queue), queue.num_characters) == (0, 0)
