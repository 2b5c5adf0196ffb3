"""The run folder: everything that one training run wrote, and what resuming it needs.

```
recipe.yaml          the resolved recipe
run.json             what it was started with and what it chose by itself
config.json, *.spm   the model but for its weights
checkpoints/         step-00000500/: model.safetensors, optimizer.safetensors, state.json; average.safetensors where a
                     moving average of the weights is kept
metrics.jsonl        a record every few steps and at each validation
log.txt              what was said
tensorboard/         the same for TensorBoard, where it is installed
report.html          the same as a page for the browser
diverged.txt         the sentences of the batch at which training diverged
model/               the finished model
```
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from mtkit.checkpoint.model_folder import CONFIG_NAME, WEIGHTS_NAME, no_model_folder
from mtkit.config.loading import load_recipe
from mtkit.config.recipe import Recipe
from mtkit.config.section import Section
from mtkit.errors import ModelError, RecipeError
from mtkit.runtime import console
from mtkit.runtime.files import read_json, write_json

RUN_FORMAT_VERSION = 3
RUN_NAME = "run.json"
RECIPE_NAME = "recipe.yaml"
METRICS_NAME = "metrics.jsonl"
LOG_NAME = "log.txt"
REPORT_NAME = "report.html"
STATE_NAME = "state.json"
OPTIMIZER_NAME = "optimizer.safetensors"
AVERAGE_NAME = "average.safetensors"
DIVERGED_NAME = "diverged.txt"
# Patterns of what is at the top of a run folder.
RUN_FILES = (
    RUN_NAME, RECIPE_NAME, METRICS_NAME, LOG_NAME, REPORT_NAME, DIVERGED_NAME, CONFIG_NAME, "*.spm", "*vocab.json",
    "checkpoints", "tensorboard", "model",
)  # fmt: skip
_FIX_RECORD = "restore it from a copy; another -o with training.init_from starts from a checkpoint beside it"
_FIX_STATE = "delete the folder it stands in; earlier ones stay"
_HASH = "sha256"  # of a state, within it
_CHECKPOINT = re.compile(r"step-\d{8,}")
_LEFTOVER = re.compile(r"step-\d{8,}|\.step-\d{8,}\.(partial|replaced)")


class MicroBatch(Section):
    """How many tokens one device computes at once, from a step on; `reason` says why."""

    from_step: int
    tokens: int
    reason: str


class Extension(Section):
    """A run was told to go on beyond its end: from which step, and to which number of steps where it is known."""

    from_step: int
    max_steps: int | None


class RunRecord(Section):
    """What a run was started with, and what it chose by itself: kept by every resume."""

    format_version: int = Field(RUN_FORMAT_VERSION, ge=1)
    mtkit_version: str
    torch_version: str
    device: str
    processor: str
    threads: int
    processes: int
    corpus: str
    corpus_fingerprint: str
    init_fingerprint: str | None = Field(None, description="SHA-256 of the weights that training started from.")
    precision: str
    max_steps: int | None = None
    warmup_steps: int | None = Field(None, description="Of a run that was extended: the warm-up that it began with.")
    micro_batches: list[MicroBatch] = Field([])
    extensions: list[Extension] = Field([])
    is_finished: bool = False

    def micro_batch_tokens(self, step: int) -> int:
        """Return how many tokens one device computes at once in update `step`."""
        return [entry.tokens for entry in self.micro_batches if entry.from_step <= step][-1]


class Validation(Section):
    """The scores of one validation: loss in nats a token, unsmoothed; BLEU and chrF2++ of greedy translations."""

    step: int
    loss: float
    bleu: float
    chrf: float

    def rank(self, metric: str) -> tuple[float, float]:
        """Return what it is compared by, higher is better: `bleu`, `chrf` or `loss`; among equals, as 0 BLEU, loss."""
        return (-self.loss if metric == "loss" else getattr(self, metric), -self.loss)


class Tally(Section):
    """What was done since the last line of metrics: sums over updates."""

    loss: float = 0.0
    nll: float = 0.0
    num_tokens: int = 0
    padded_tokens: int = 0
    grad_norm: float = 0.0
    num_steps: int = 0

    def add(self, other: Tally) -> Tally:
        """Return the sums of both."""
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in Tally.model_fields})


# A loss is a spike where it lies so many standard deviations, and so large a share, above what is usual; and how far
# back "usual" looks.
_SPIKE_DEVIATIONS = 6.0
_SPIKE_SHARE = 0.1
_WATCH_DECAY = 0.98
_WATCH_WARMUP = 50


class LossWatch(Section):
    """What loss is usual: an exponential mean and variance of the updates' losses a token."""

    mean: float = 0.0
    variance: float = 0.0
    count: int = 0

    @property
    def _limit(self) -> float:
        return self.mean + max(_SPIKE_DEVIATIONS * math.sqrt(self.variance), _SPIKE_SHARE * abs(self.mean))

    def is_spike(self, loss: float) -> bool:
        """Return whether `loss` lies far above what is usual."""
        return self.count >= _WATCH_WARMUP and loss > self._limit

    def add(self, loss: float) -> LossWatch:
        """Return the watch after one more update; a spike counts as the largest loss that is none."""
        if self.count == 0:
            return LossWatch(mean=loss, variance=0.0, count=1)
        if self.is_spike(loss):
            loss = self._limit
        weight = 1 - min(_WATCH_DECAY, self.count / (self.count + 1))
        difference = loss - self.mean
        return LossWatch(
            mean=self.mean + weight * difference,
            variance=(1 - weight) * (self.variance + weight * difference**2),
            count=self.count + 1,
        )


class CheckpointState(Section):
    """Where a run stands: with the weights and the optimizer, all that resuming needs."""

    format_version: int = Field(RUN_FORMAT_VERSION, ge=1)
    step: int = 0
    epoch: int = 0
    batch_index: int = 0
    skipped_updates: int = 0
    skipped_in_a_row: int = 0
    loss_spikes: int = 0
    tally: Tally = Tally()
    watch: LossWatch = LossWatch()
    validation: Validation | None = None
    is_validation_due: bool = Field(False, description="Whether this step's validation was given up, to stop.")
    is_extra: bool = Field(False, description="Whether only a signal asked for the checkpoint.")
    hashes: dict[str, str] = Field({}, description="SHA-256 of the checkpoint's other files.")


class RunFolder:
    """The paths and records of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self._told: set[Path] = set()

    @property
    def is_run(self) -> bool:
        """Whether a run stands here."""
        return (self.path / RUN_NAME).is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the run has its final model, and was not told to go on since."""
        return (self.model / CONFIG_NAME).is_file() and self.read_record().is_finished

    def read_record(self) -> RunRecord:
        """Read `run.json`.

        Raises:
            ModelError: It is damaged, or of a newer format.
        """
        return _read_section(RunRecord, self.path / RUN_NAME, _FIX_RECORD)  # type: ignore[no-any-return]

    def write_record(self, record: RunRecord) -> None:
        """Write `run.json`.

        Raises:
            OutputError: It cannot be written.
        """
        write_json(record.model_dump(mode="json"), self.path / RUN_NAME)

    def checkpoint(self, step: int) -> Path:
        """Return the folder of the checkpoint at `step`."""
        return self.checkpoints / f"step-{step:08d}"

    @staticmethod
    def step_of(checkpoint: Path) -> int:
        """Return the step of a checkpoint, by the name of its folder."""
        return int(checkpoint.name.rpartition("-")[2])

    def list_checkpoints(self) -> list[Path]:
        """Return the checkpoints that stand, oldest first; copies under names of their own are none."""
        folders = (path.parent for path in self.checkpoints.glob(f"step-*/{STATE_NAME}"))
        return sorted(folder for folder in folders if _CHECKPOINT.fullmatch(folder.name))

    def list_planned(self) -> list[Path]:
        """Return the checkpoints that a run without signals would have as well, and the newest, oldest first.

        One whose state is damaged is told, and left out.
        """
        states = self.read_states()
        newest = next(reversed(states), None)
        return [path for path, state in states.items() if path == newest or not state.is_extra]

    def list_leftovers(self) -> list[Path]:
        """Return what a kill left behind of checkpoints that were being written or deleted."""
        names = (path for path in self.checkpoints.glob("*") if _LEFTOVER.fullmatch(path.name))
        return sorted(path for path in names if path.name.startswith(".") or not (path / STATE_NAME).exists())

    def read_state(self, checkpoint: Path) -> CheckpointState:
        """Read `state.json` of a checkpoint.

        Raises:
            ModelError: It is damaged, another step's, or of a newer format.
        """
        path = checkpoint / STATE_NAME
        state: CheckpointState = _read_section(CheckpointState, path, _FIX_STATE)
        if _CHECKPOINT.fullmatch(checkpoint.name) and self.step_of(checkpoint) != state.step:
            raise ModelError(f"the file is that of step {state.step:,}", at=path, fix=_FIX_STATE)
        return state

    def read_states(self) -> dict[Path, CheckpointState]:
        """Return the states of the checkpoints that stand, oldest first; one that is damaged is told, and left out."""
        states = {}
        for checkpoint in self.list_checkpoints():
            try:
                states[checkpoint] = self.read_state(checkpoint)
            except ModelError as exc:
                if checkpoint not in self._told:
                    console.warn(f"checkpoint {checkpoint.name} is left out: {exc.message} ({exc.at})")
                self._told.add(checkpoint)
        return states

    @staticmethod
    def write_state(state: CheckpointState, checkpoint: Path) -> None:
        """Write `state.json` of a checkpoint, with a hash of what it holds.

        Raises:
            OutputError: It cannot be written.
        """
        fields = state.model_dump(mode="json")
        write_json({**fields, _HASH: _hash_fields(fields)}, checkpoint / STATE_NAME)

    def read_recipe(self) -> Recipe:
        """Read the resolved recipe.

        Raises:
            ModelError: It is missing or damaged.
        """
        path = self.path / RECIPE_NAME
        problem = "the run's recipe is damaged" if path.is_file() else "the run has no recipe"
        damaged = ModelError(problem, at=path, fix="restore it from a copy, or start anew with another -o")
        try:
            recipe = load_recipe(path)
        except RecipeError as exc:
            raise damaged from exc
        if not recipe.model_fields_set:  # every section is written, in one that is whole
            raise damaged
        return recipe

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the records of `metrics.jsonl`; a line that a kill or a full disk cut short is left out."""
        path = self.path / METRICS_NAME
        # Bytes: the cut may go through a character. And only a line feed ends a line: translations hold what they hold.
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
        return [record for record in map(_parse_record, lines) if record is not None]


def find_weights(checkpoint: Path) -> Path:
    """Return the file of a checkpoint's weights: of their moving average, where one is kept."""
    average = checkpoint / AVERAGE_NAME
    return average if average.is_file() else checkpoint / WEIGHTS_NAME


def _parse_record(line: bytes) -> dict[str, Any] | None:
    """Return a line of `metrics.jsonl`, or None if it was cut short or is no record."""
    try:
        record = json.loads(line)
        if not (isinstance(record, dict) and isinstance(record["kind"], str) and isinstance(record["step"], int)):
            return None
        list_validations([record])  # it has all of its scores, if it is one
    except (ValueError, KeyError):
        return None
    return record


def list_validations(records: Iterable[Mapping[str, Any]]) -> list[Validation]:
    """Return the validations among the records of `metrics.jsonl`, in order."""
    found = [record for record in records if record["kind"] == "validation"]
    return [Validation(**{name: record[name] for name in Validation.model_fields}) for record in found]


def find_best(validations: Sequence[Validation], metric: str) -> Validation | None:
    """Return the first of the best validations, see `Validation.rank`; None where there is none."""
    return max(validations, key=lambda validation: validation.rank(metric), default=None)


def rank_checkpoints(run: RunFolder, metric: str) -> list[Path]:
    """Return the validated checkpoints of a run, best first; see `Validation.rank`. Of equals the first comes first.

    One whose state is damaged is told, and left out.
    """
    scored = []
    for path, state in run.read_states().items():
        if state.validation is not None:
            scored.append((state.validation.rank(metric), -state.step, path))
    return [path for _, _, path in sorted(scored, reverse=True)]


def find_config_folder(path: Path) -> Path:
    """Return the folder with the `config.json` of a model, a run, or a checkpoint of a run; `path` if it is none."""
    run = RunFolder(path)
    if run.is_finished:
        return run.model
    is_checkpoint = (path / STATE_NAME).is_file() and RunFolder(path.resolve().parents[1]).is_run
    return path.resolve().parents[1] if is_checkpoint else path


def find_model(path: Path) -> tuple[Path, Path]:
    """Return the folder with a model's `config.json`, and the file of its weights.

    Args:
        path: A model folder; or a run, which stands for its finished model or, before the end, for its best
            checkpoint (the last one where none was validated), said on stderr; or one checkpoint of a run.

    Raises:
        ModelError: There is neither.
    """
    run, folder = RunFolder(path), find_config_folder(path)
    if run.is_run and not run.is_finished:
        ranked = rank_checkpoints(run, run.read_recipe().training.best_metric) or run.list_checkpoints()[::-1]
        if not ranked:
            raise ModelError("the run has no checkpoint yet", at=path, fix="wait for its first checkpoint")
        console.say(f"{path} is not finished: using its checkpoint {ranked[0].name}")
        return path, find_weights(ranked[0])
    if not path.is_dir():
        raise no_model_folder(path)
    return folder, find_weights(path) if (path / STATE_NAME).is_file() else folder / WEIGHTS_NAME


def _read_section(kind: type[Any], path: Path, fix: str) -> Any:
    try:
        raw = read_json(path)
        version = raw.get("format_version")
        if isinstance(version, int) and version != RUN_FORMAT_VERSION:
            is_newer = version > RUN_FORMAT_VERSION
            raise ModelError(
                f"the run has format {version}, and this mtkit knows format {RUN_FORMAT_VERSION}",
                at=path,
                fix="update mtkit" if is_newer else "use the finished model in its folder `model`, or --restart it",
            )
        if _HASH in raw and raw.pop(_HASH) != _hash_fields(raw):  # which states of earlier versions do not have
            raise ModelError("the file is damaged: its hash is another", at=path, fix=fix)
        return kind.model_validate(raw)
    except OSError as exc:
        raise ModelError(f"the file cannot be read: {exc.strerror or exc}", at=path, fix=fix) from exc
    except ValueError as exc:
        raise ModelError("the file is damaged", at=path, fix=fix) from exc


def _hash_fields(fields: dict[str, Any]) -> str:
    """Return the SHA-256 of a JSON object, in hexadecimal."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
