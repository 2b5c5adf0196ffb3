"""How far and how fast a run is: what a line of metrics holds, and the live line."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from mtkit.checkpoint.run_folder import CheckpointState, Tally


@dataclass
class Clock:
    """Where the time since the last line of metrics went: seconds, and target tokens of all processes."""

    started: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    validated: float = 0.0
    saved: float = 0.0
    tokens: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Target tokens a second of training: validation and saving left out."""
        seconds = time.perf_counter() - self.started - self.validated - self.saved
        return self.tokens / max(1e-9, seconds)


class Progress:
    """Measures a run from one line of metrics to the next.

    Attributes:
        clock: Of the line that is begun; whoever trains adds to it.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self._last = (math.nan, math.nan)

    def begin_line(self) -> None:
        """Start the clock anew."""
        self.clock = Clock()

    def loss_and_speed(self, tally: Tally) -> tuple[float, float]:
        """Return the loss a token and the tokens a second since the last line of metrics, or of that line."""
        if not tally.num_tokens:
            return self._last
        return tally.loss / tally.num_tokens, self.clock.tokens_per_second

    def end_line(self, state: CheckpointState, learning_rate: float) -> dict[str, float]:
        """Return what a line of metrics holds, and begin the next; there was a step since the last one."""
        tally, clock = state.tally, self.clock
        loss, speed = self._last = self.loss_and_speed(tally)
        values = {
            "epoch": state.epoch,
            "loss": loss,
            "nll": tally.nll / tally.num_tokens,
            "grad_norm": tally.grad_norm / tally.num_steps,
            "learning_rate": learning_rate,
            "padding_share": 1 - tally.num_tokens / tally.padded_tokens,
            "skipped_updates": state.skipped_updates,
            "loss_spikes": state.loss_spikes,
            "tokens_per_second": speed,
            "data_wait_seconds": clock.waited,
            "validation_seconds": clock.validated,
            "saving_seconds": clock.saved,
            "elapsed_seconds": time.perf_counter() - clock.started,
        }
        self.begin_line()
        return values

    def describe(
        self, state: CheckpointState, learning_rate: float, max_steps: int | None, seconds_per_step: float
    ) -> str:
        """Return the live line."""
        left = total = ""
        if max_steps is not None:
            seconds = int((max_steps - state.step) * seconds_per_step)
            left = f"  {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"
            total = f"/{max_steps:,}"
        loss, speed = self.loss_and_speed(state.tally)
        done = "" if math.isnan(loss) else f"  loss {loss:.3f}  {speed:,.0f} tok/s"  # not known in the first steps
        return f"step {state.step:,}{total}  epoch {state.epoch}{done}  lr {learning_rate:.2e}{left}"
