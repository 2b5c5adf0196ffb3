import math

import pytest

from mtkit.config.training import TrainingSection
from mtkit.training.schedule import averaging, is_saving_step, learning_rate_at, validation_interval, warmup_steps


def rate(step, schedule, max_steps=None, warmup=100):
    training = TrainingSection(schedule=schedule, warmup_steps=warmup, learning_rate=1e-3)
    return learning_rate_at(step, training, max_steps)


@pytest.mark.parametrize("schedule", ["inverse_sqrt", "linear", "cosine", "constant"])
def test_rises_in_a_line_to_the_peak(schedule):
    assert rate(1, schedule, 1000) == pytest.approx(1e-5)
    assert rate(50, schedule, 1000) == pytest.approx(5e-4)
    assert rate(100, schedule, 1000) == pytest.approx(1e-3)


def test_inverse_sqrt_is_the_papers():
    """Vaswani et al. 2017, section 5.3, for base: d_model^-0.5 * min(step^-0.5, step * warmup^-1.5)."""
    peak = 512**-0.5 * 4000**-0.5
    training = TrainingSection(schedule="inverse_sqrt", warmup_steps=4000, learning_rate=peak)
    for step in (1, 100, 4000, 4001, 50_000):
        papers = 512**-0.5 * min(step**-0.5, step * 4000**-1.5)
        assert learning_rate_at(step, training, None) == pytest.approx(papers)


def test_inverse_sqrt_falls_from_the_peak_where_the_warmup_was_cut():
    assert rate(200, "inverse_sqrt", 2000, warmup=None) == pytest.approx(1e-3)
    assert rate(800, "inverse_sqrt", 2000, warmup=None) == pytest.approx(5e-4)


def test_linear_and_cosine_fall_to_zero_behind_the_last_step():
    assert rate(551, "linear", 1001) == pytest.approx(1e-3 * (1 - 451 / 902))
    assert rate(1002, "linear", 1001) == 0
    assert 0 < rate(1001, "linear", 1001) < 2e-6
    assert rate(1002, "cosine", 1001) == pytest.approx(0, abs=1e-12)
    assert rate(551, "cosine", 1001) == pytest.approx(1e-3 * 0.5 * (1 + math.cos(math.pi * 451 / 902)))


@pytest.mark.parametrize(
    ("fields", "max_steps", "schedule"),
    [
        ({}, 1000, "linear"),
        ({}, None, "inverse_sqrt"),
        ({"patience": 3}, 1000, "inverse_sqrt"),
        ({"max_epochs": 3}, 1000, "inverse_sqrt"),
        ({"schedule": "constant"}, 1000, "constant"),
    ],
)
def test_the_schedule_falls_to_zero_where_the_end_is_known(fields, max_steps, schedule):
    training = TrainingSection(warmup_steps=100, **fields)
    for step in (1, 100, 101, 700, 999):
        assert learning_rate_at(step, training, max_steps) == rate(step, schedule, max_steps)


def test_constant_stays():
    assert rate(5000, "constant") == 1e-3


def test_the_warmup_is_what_was_asked_for_or_at_most_a_tenth_of_the_run():
    training = TrainingSection()
    assert [warmup_steps(training, steps) for steps in (None, 200_000, 2000, 5)] == [1000, 1000, 200, 0]
    assert learning_rate_at(1, training, 5) > 0
    asked = TrainingSection(warmup_steps=400)
    assert [warmup_steps(asked, steps) for steps in (None, 2000, 100)] == [400, 400, 400]
    assert learning_rate_at(100, asked, 100) == pytest.approx(asked.learning_rate / 4)


def test_a_run_is_validated_ten_times_or_every_thousand_steps():
    training = TrainingSection()
    assert [validation_interval(training, steps) for steps in (None, 5, 999, 200_000)] == [500, 1, 100, 1000]
    assert validation_interval(TrainingSection(validate_every_steps=7), 200_000) == 7


def saved_steps(max_steps, **fields):
    return [step for step in range(1, 1001) if is_saving_step(step, TrainingSection(**fields), max_steps)]


def test_what_is_averaged_is_saved_close_to_a_known_end():
    tenths = list(range(100, 1001, 100))
    assert saved_steps(1000) == sorted([*tenths, 920, 940, 960, 980])
    assert saved_steps(1000, average_count=2) == sorted([*tenths, 950])
    assert saved_steps(1000, average_count=1) == tenths
    assert saved_steps(20)[:11] == [*range(2, 20, 2), 19, 20]
    assert saved_steps(None) == [500, 1000]
    assert (
        saved_steps(1000, average="best") == saved_steps(1000, patience=3) == saved_steps(1000, max_epochs=9) == tenths
    )
    assert saved_steps(1000, save_every_steps=300) == [300, 600, 900]


def test_what_makes_the_model_suits_the_end_of_the_run():
    assert averaging(TrainingSection(), 1000) == "last"
    assert averaging(TrainingSection(), None) == "best"
    assert averaging(TrainingSection(patience=3), 1000) == "best"
    assert averaging(TrainingSection(ema_decay=0.9), 1000) == "off"
    assert averaging(TrainingSection(ema_decay=0.9, average="best"), 1000) == "best"
