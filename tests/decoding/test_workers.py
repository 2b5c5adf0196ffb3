import contextlib
import threading
from concurrent.futures import CancelledError

import pytest
import torch

from mtkit.decoding.workers import Workers


@pytest.mark.parametrize("count", [0, 1, 3])
def test_results_come_in_order_with_what_they_were_made_of(count):
    with Workers(count) as workers:
        assert list(workers.map(lambda item: item * item, range(20))) == [(i, i * i) for i in range(20)]
        assert list(workers.map(str, [])) == []


@pytest.mark.parametrize(("count", "ahead"), [(1, 1), (3, 6)])
def test_items_are_taken_no_further_ahead_than_keeps_all_at_work(count, ahead):
    taken = []

    def draw():
        for item in range(20):
            taken.append(item)
            yield item

    with Workers(count) as workers:
        for number, _ in enumerate(workers.map(str, draw())):
            assert len(taken) <= number + ahead
        assert len(taken) == 20


def test_functions_run_side_by_side_and_share_the_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    barrier = threading.Barrier(2, timeout=10)

    def meet(item):
        barrier.wait()
        return torch.get_num_threads()

    try:
        with Workers(2) as workers:
            assert [found for _, found in workers.map(meet, range(4))] == [2] * 4
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("count", [1, 2])
def test_what_a_function_raises_comes_where_its_result_would(count):
    with Workers(count) as workers:
        results = workers.map(lambda item: 6 // item, [3, 2, 0, 1])
        assert [next(results), next(results)] == [(3, 2), (2, 3)]
        with pytest.raises(ZeroDivisionError):
            next(results)


@pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt])
def test_who_is_stopped_does_not_wait_for_what_is_at_work(stop):
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work(item):
        begun.set()
        may_end.wait(20)
        ended.set()

    def wait_for(results):
        with contextlib.suppress(CancelledError, RuntimeError):
            list(results)

    with pytest.raises(stop), Workers(2) as workers:
        threading.Thread(target=wait_for, args=(workers.map(work, range(9)),), daemon=True).start()
        begun.wait(20)
        raise stop
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(20)
