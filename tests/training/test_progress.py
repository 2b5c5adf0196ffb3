import math

import pytest

from mtkit.checkpoint.run_folder import CheckpointState, Tally
from mtkit.training import progress as module
from mtkit.training.progress import Clock, Progress


@pytest.fixture
def clock(monkeypatch):
    """The time, as a list of one number of seconds."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(module, "Clock", lambda: Clock(started=now[0]))
    return now


def make_state(step=5, **tally):
    return CheckpointState(step=step, epoch=1, tally=Tally(**tally))


def test_speed_leaves_validation_and_saving_out(clock):
    progress = Progress()
    progress.clock.tokens, progress.clock.waited, progress.clock.validated, progress.clock.saved = 600, 1, 3, 2
    clock[0] += 11
    state = make_state(loss=30, nll=20, num_tokens=10, padded_tokens=40, grad_norm=6, num_steps=3)
    values = progress.end_line(state, 0.5)
    assert (values["loss"], values["nll"], values["grad_norm"], values["padding_share"]) == (3, 2, 2, 0.75)
    assert (values["tokens_per_second"], values["elapsed_seconds"], values["data_wait_seconds"]) == (100, 11, 1)
    assert progress.clock.tokens == 0


def test_between_two_lines_the_last_one_holds_until_there_is_more(clock):
    progress = Progress()
    assert all(map(math.isnan, progress.loss_and_speed(Tally())))
    progress.clock.tokens = 50
    clock[0] += 5
    progress.end_line(make_state(loss=8, num_tokens=4, padded_tokens=4, num_steps=1), 0.5)
    assert progress.loss_and_speed(Tally()) == (2, 10)
    progress.clock.tokens = 9
    clock[0] += 3
    assert progress.loss_and_speed(Tally(loss=5, num_tokens=5)) == (1, 3)


def test_the_live_line_tells_what_is_left(clock):
    state = make_state(step=1000, loss=8, num_tokens=4)
    line = Progress().describe(state, 5e-4, 2000, 3.7)
    assert line.startswith("step 1,000/2,000  epoch 1  loss 2.000")
    assert line.endswith("lr 5.00e-04  1:01:40 left")
    assert "left" not in Progress().describe(state, 5e-4, None, 3.7)
    # Results of an update come with the next one: of the first step there are none yet.
    assert Progress().describe(make_state(step=1), 5e-4, None, 1.0) == "step 1  epoch 1  lr 5.00e-04"
