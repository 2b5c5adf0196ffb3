import time

import pytest

from mtkit.decoding.request import Request
from mtkit.serving.engine import Engine
from mtkit.serving.fair_queue import Kind
from mtkit.serving.refusal import RefusedError

A, B = Kind(0), Kind(1)


@pytest.fixture
def make_engine(gate):
    """Return a function that makes and starts an engine whose translation is the gate's."""
    engines = []

    def make(window_lines=4, max_queue=100, company_seconds=0.01):
        engines.append(Engine(gate, window_lines, 10_000, max_queue, company_seconds))
        engines[-1].start()
        return engines[-1]

    yield make
    gate.opened.set()
    for engine in engines:
        engine.stop()


def lines(*texts):
    return [Request(text) for text in texts]


def texts(job):
    return [translation.text for translation in job.answer.result(10)]


def test_what_waits_is_translated_together(make_engine, gate, wait_until):
    engine = make_engine()
    first = engine.submit("a", A, lines("1"))
    wait_until(lambda: gate.windows)  # alone, and at once
    others = [engine.submit(client, A, lines(f"{client}1", f"{client}2")) for client in "bc"]
    gate.opened.set()
    assert [texts(job) for job in (first, *others)] == [["0:1"], ["0:b1", "0:b2"], ["0:c1", "0:c2"]]
    assert gate.windows == [["1"], ["b1", "c1", "b2", "c2"]]


def test_a_long_request_does_not_hold_up_a_short_one(make_engine, gate, wait_until):
    engine = make_engine(window_lines=4)
    long = engine.submit("a", A, lines(*map(str, range(40))))
    wait_until(lambda: gate.windows)
    short = engine.submit("b", A, lines("short"))
    gate.opened.set()
    assert texts(short) == ["0:short"]
    assert texts(long) == [f"0:{n}" for n in range(40)]
    assert "short" in gate.windows[1]


def test_after_company_a_window_waits_a_moment_for_company(make_engine, gate, wait_until):
    gate.opened.set()
    engine = make_engine(window_lines=3, company_seconds=5)
    texts(engine.submit("a", A, lines("1")))
    texts(engine.submit("a", A, lines("2")))
    gate.opened.clear()
    blocking = engine.submit("a", A, lines("3"))
    wait_until(lambda: len(gate.windows) == 3)
    pair = [engine.submit(client, A, lines(client)) for client in "bc"]
    gate.opened.set()
    texts(blocking)
    for job in pair:
        texts(job)
    early = engine.submit("d", A, lines("d"))
    time.sleep(0.05)
    late = engine.submit("e", A, lines("e1", "e2"))
    assert (texts(early), texts(late)) == (["0:d"], ["0:e1", "0:e2"])
    assert gate.windows == [["1"], ["2"], ["3"], ["b", "c"], ["d", "e1", "e2"]]


def test_kinds_are_not_mixed(make_engine, gate, wait_until):
    engine = make_engine()
    jobs = [engine.submit("a", A, lines("1"))]
    wait_until(lambda: gate.windows)
    jobs += [engine.submit(client, kind, lines("x")) for client, kind in (("b", B), ("c", A), ("d", B))]
    gate.opened.set()
    assert [texts(job) for job in jobs] == [["0:1"], ["1:x"], ["0:x"], ["1:x"]]
    assert [len(window) for window in gate.windows] == [1, 2, 1]


def test_too_much_is_refused(make_engine, gate, wait_until):
    engine = make_engine(max_queue=3)
    engine.submit("a", A, lines("1"))
    wait_until(lambda: gate.windows)
    job = engine.submit("a", A, lines("2", "3"))
    with pytest.raises(RefusedError) as caught:
        engine.submit("b", A, lines("4", "5"))
    assert (caught.value.status, caught.value.retry_after) == (429, 1)
    with pytest.raises(RefusedError) as caught:
        engine.submit("b", A, lines(*"1234"))
    assert (caught.value.status, caught.value.retry_after) == (413, None)
    engine.drop(job)
    assert engine.num_waiting == 0
    engine.submit("b", A, lines(*"123"))


def test_what_is_dropped_is_not_translated(make_engine, gate, wait_until):
    engine = make_engine()
    engine.submit("a", A, lines("1"))
    wait_until(lambda: gate.windows)
    dropped = engine.submit("b", A, lines(*(f"dropped{n}" for n in range(50))))
    kept = engine.submit("c", A, lines("kept"))
    engine.drop(dropped)
    gate.opened.set()
    assert texts(kept) == ["0:kept"]
    assert gate.windows == [["1"], ["kept"]]
    with pytest.raises(RefusedError):
        dropped.answer.result(0)


def test_a_window_that_nobody_waits_for_is_given_up(make_engine, gate, wait_until):
    done = []

    def translate(kind, requests):
        for translation in gate(kind, requests):
            yield translation
            done.append(translation.text)

    engine = make_engine()
    engine._translate = translate
    job = engine.submit("a", A, lines("1", "2", "3"))
    wait_until(lambda: gate.windows)
    engine.drop(job)
    gate.opened.set()
    texts(engine.submit("a", A, lines("4")))
    assert done == []


def test_a_failure_is_told_and_the_others_go_on(make_engine, gate, capsys, wait_until):
    engine = make_engine()
    first = engine.submit("a", A, lines("1"))
    wait_until(lambda: gate.windows)
    bad = engine.submit("b", A, lines("fail", "2", "3", "4", "5", "6"))
    gate.opened.set()
    texts(first)
    with pytest.raises(RefusedError, match="on purpose") as caught:
        bad.answer.result(10)
    assert caught.value.status == 500
    assert texts(engine.submit("c", A, lines("7"))) == ["0:7"]
    assert capsys.readouterr().err == "warning: a translation failed: ValueError: on purpose\n"
    assert engine.num_waiting == 0


def test_stopping_refuses_what_waits(make_engine, gate, wait_until):
    engine = make_engine()
    first = engine.submit("a", A, lines("1"))
    wait_until(lambda: gate.windows)
    waiting = engine.submit("b", B, lines("2"))
    engine.stop(timeout_seconds=0)
    gate.opened.set()
    assert texts(first) == ["0:1"]
    with pytest.raises(RefusedError):
        waiting.answer.result(10)
    with pytest.raises(RefusedError) as caught:
        engine.submit("c", A, lines("3"))
    assert caught.value.status == 503


def test_how_long_to_wait_is_estimated_from_the_speed(make_engine, gate, wait_until):
    engine = make_engine(max_queue=3)
    job = engine.submit("a", A, lines("x" * 100))
    wait_until(lambda: gate.windows)
    engine.submit("a", A, lines(*["y" * 50] * 3))
    for speed, seconds in ((10.0, 15), (1.0, 60), (1e6, 1)):
        engine._characters_a_second = speed
        with pytest.raises(RefusedError) as caught:
            engine.submit("b", A, lines("4"))
        assert (caught.value.status, caught.value.retry_after) == (429, seconds)
    engine._characters_a_second = None
    engine._measure([(job, 0)], 2.0)
    assert engine._characters_a_second == pytest.approx(50)
    engine._measure([(job, 0)], 1.0)
    assert engine._characters_a_second == pytest.approx(60)  # a fifth of the newest


def test_a_line_that_nobody_waits_for_does_not_spoil_its_window(make_engine, gate, wait_until):
    engine = make_engine()
    engine.submit("a", A, lines("1"))
    wait_until(lambda: gate.windows)
    dropped, kept = (engine.submit(client, A, lines(client)) for client in "bc")

    def translate(kind, requests):
        engine.drop(dropped)
        yield from gate(kind, requests)

    engine._translate = translate
    gate.opened.set()
    assert texts(kept) == ["0:c"]
    assert gate.windows[1] == ["b", "c"]
