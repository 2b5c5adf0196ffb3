"""BLEU, chrF2++ and TER through sacreBLEU: its numbers, its signatures, its bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from pydantic import ValidationError

from mtkit.config.evaluation import EvaluationSection, MetricName, TokenizerName
from mtkit.errors import DataError, RecipeError
from mtkit.evaluation.tokenizers import choose_tokenizer, is_unspaced

if TYPE_CHECKING:
    from mtkit.evaluation.intervals import Table

    Counts: TypeAlias = Mapping[MetricName, Table]

METRICS: tuple[MetricName, ...] = get_args(MetricName)
_NAMES = {"bleu": "BLEU", "chrf": "chrF2++", "ter": "TER"}


@dataclass(frozen=True)
class Score:
    """One metric of one system.

    Attributes:
        name: As sacreBLEU writes it: `BLEU`, `chrF2++`, `TER`.
        score: 0 to 100; higher is better, except for TER, which counts edits.
        signature: How it was computed. Two scores can be compared only if their signatures are equal.
        interval: The 95 % bootstrap interval, sacreBLEU's mean minus and plus its half width; None if not asked for.
    """

    name: str
    score: float
    signature: str
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        spread = "" if self.interval is None else f" [{self.interval[0]:.2f}, {self.interval[1]:.2f}]"
        return f"{self.name}|{self.signature} = {self.score:.2f}{spread}"

    def to_json(self) -> dict[str, Any]:
        """Return the score as `mtkit evaluate --json` writes it."""
        interval = None if self.interval is None else list(self.interval)
        return {"score": self.score, "signature": self.signature, "interval": interval}

    @classmethod
    def from_json(cls, name: str, values: Mapping[str, Any]) -> Score:
        """Return the score that `to_json` gave."""
        interval = values["interval"]
        return cls(name, values["score"], values["signature"], interval and (interval[0], interval[1]))


@dataclass(frozen=True)
class Scores:
    """All metrics of one system, by name: `scores["bleu"].score`.

    Attributes:
        by_metric: Metric name (`bleu`, `chrf`, `ter`) to score, in the order asked for.
        length_ratio: Length of the hypotheses relative to the references, in BLEU's tokens; of several references
            the closest in length counts.
        notes: What a person should know of these numbers, one sentence each.
    """

    by_metric: Mapping[str, Score]
    length_ratio: float
    notes: tuple[str, ...] = ()

    def __getitem__(self, metric: MetricName) -> Score:
        return self.by_metric[metric]

    def __str__(self) -> str:
        return "\n".join([*map(str, self.by_metric.values()), f"length ratio = {self.length_ratio:.3f}"])

    def to_json(self) -> dict[str, Any]:
        """Return the scores as `mtkit evaluate --json` writes them."""
        return {name: score.to_json() for name, score in self.by_metric.items()} | {"length_ratio": self.length_ratio}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Scores:
        """Return the scores that `to_json` gave; the notes are lost."""
        by_metric = {
            metric: Score.from_json(name, values[metric]) for metric, name in _NAMES.items() if metric in values
        }
        return cls(by_metric, values["length_ratio"])


def evaluate(
    hypotheses: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    *,
    metrics: Sequence[MetricName] = METRICS,
    tokenize: TokenizerName | None = None,
    lowercase: bool = False,
    bootstrap_samples: int = 1000,
    seed: int = 12345,
    target_language: str | None = None,
) -> Scores:
    """Score translations against one or several references.

    The numbers, signatures and intervals are those of the command `sacrebleu --metrics bleu chrf ter
    --chrf-word-order 2 --confidence`.

    Args:
        hypotheses: One translation a line, detokenised.
        references: One reference a line, or a list of such lists where there are several references.
        metrics: Which of `bleu`, `chrf` (chrF2++) and `ter`.
        tokenize: BLEU's tokeniser; by default the one that the target language needs, 13a if nothing is known.
        lowercase: Ignore case in BLEU and chrF; TER, as sacreBLEU defines it, always does.
        bootstrap_samples: Resamples for the 95 % interval; 0 for none.
        seed: Seed of the resampling.
        target_language: BCP-47 tag.

    Raises:
        DataError: The line counts differ, there is nothing to score, or the tokeniser cannot be downloaded.
        RecipeError: A setting cannot be, or the tokeniser needs a package that is missing.
        TypeError: `hypotheses` is a single str.
    """
    if isinstance(hypotheses, str) or isinstance(references, str):
        raise TypeError("give lines, such as a list of str: a single str would be taken for lines of one character")
    if unknown := [name for name in metrics if name not in METRICS]:
        raise RecipeError(f"no metric '{unknown[0]}'", fix=f"choose from {', '.join(METRICS)}")
    settings = {"metrics": list(metrics), "tokenize": tokenize, "lowercase": lowercase, "seed": seed}
    try:
        section = EvaluationSection.model_validate({**settings, "bootstrap_samples": bootstrap_samples})
    except ValidationError as exc:
        problem = exc.errors()[0]
        raise RecipeError(
            f"{problem['loc'][0]}: {problem['msg']}", fix="see `mtkit options evaluation` for what it may be"
        ) from exc
    return Evaluator(references, section, target_language=target_language).score(hypotheses)


class Evaluator:
    """Scores several systems against the same references, whose n-grams are counted once.

    Args:
        references: One reference a line, or a list of such lists where there are several references.
        section: Metrics and their settings.
        target_language: BCP-47 tag.
        counted: Metrics whose counts are wanted, though not their scores.
    """

    def __init__(
        self,
        references: Sequence[str] | Sequence[Sequence[str]],
        section: EvaluationSection | None = None,
        *,
        target_language: str | None = None,
        counted: Sequence[MetricName] = (),
    ) -> None:
        section = section or EvaluationSection()
        streams = _as_streams(references)
        self.size = len(streams[0])
        self.tokenize, notes = choose_tokenizer(section.tokenize, target_language, streams[0])
        if "ter" in section.metrics and is_unspaced(target_language):
            notes = (*notes, f"TER counts words between spaces, which {target_language} does not write")
        if empty := sum(not any(map(str.strip, lines)) for lines in zip(*streams, strict=True)):
            notes = (*notes, f"{empty:,} of {self.size:,} references are empty")
        if lacking := sum(len({not line.strip() for line in lines}) > 1 for lines in zip(*streams, strict=True)):
            notes = (
                *notes,
                f"{lacking:,} of {self.size:,} lines are empty in one reference and not in another: sacreBLEU takes an "
                "empty one for a reference of no words, which makes TER too high and changes BLEU a little",
            )
        self.notes = notes
        self.bootstrap_samples = section.bootstrap_samples
        self.seed = section.seed
        # BLEU is always there: its tokens measure the length ratio.
        wanted: list[MetricName] = list(dict.fromkeys([*section.metrics, "bleu", *counted]))
        self._metrics = {name: _build_metric(name, self.tokenize, section.lowercase, streams) for name in wanted}
        self.shown = list(dict.fromkeys(section.metrics))

    def count(self, hypotheses: Sequence[str], name: str = "the system") -> Counts:
        """Return what each metric counts in each sentence: all that scores, intervals and tests are made from.

        Args:
            hypotheses: One translation a line.
            name: What to call the system in an error.

        Raises:
            DataError: There are not as many hypotheses as references.
        """
        import numpy as np

        if len(hypotheses) != self.size:
            raise DataError(
                f"{name} has {len(hypotheses):,} lines, the reference {self.size:,}",
                fix="give the translations of exactly this reference's source, one a line",
            )
        return {
            metric_name: np.array(metric._extract_corpus_statistics(hypotheses, None), dtype=np.float64)
            for metric_name, metric in self._metrics.items()
        }

    def score(self, hypotheses: Sequence[str], name: str = "the system", counts: Counts | None = None) -> Scores:
        """Return the scores of one system.

        Args:
            hypotheses: One translation a line.
            name: What to call the system in an error.
            counts: What `count` gave for these hypotheses, if it was called before.

        Raises:
            DataError: There are not as many hypotheses as references.
        """
        import numpy as np

        from mtkit.evaluation.intervals import bootstrap_interval

        counts = self.count(hypotheses, name) if counts is None else counts
        scores: dict[str, Score] = {}
        for metric_name in self.shown:
            metric, table = self._metrics[metric_name], counts[metric_name]
            result = metric._aggregate_and_compute(table.tolist())
            interval = None
            if self.bootstrap_samples > 1:
                # The signature names the resampling; sacreBLEU resamples in float32.
                metric.n_bootstrap, metric.seed = self.bootstrap_samples, str(self.seed)
                interval = bootstrap_interval(
                    table.astype(np.float32), self.scorer(metric_name), self.bootstrap_samples, self.seed
                )
            scores[metric_name] = Score(result.name, float(result.score), metric.get_signature().format(), interval)
        notes = (*self.notes, *_find_oddities(hypotheses))
        return Scores(scores, self.length_ratio(counts), notes)

    def scorer(self, metric: MetricName) -> Callable[[Any], float]:
        """Return the function that makes a score of what the metric counted, summed over sentences or of one."""
        compute = self._metrics[metric]._compute_score_from_stats
        return lambda sums: float(compute(sums).score)

    def length_ratio(self, counts: Counts, rows: Sequence[int] | slice = slice(None)) -> float:
        """Return the length of the hypotheses of some rows relative to the references, in BLEU's tokens."""
        hypothesis, reference = counts["bleu"][rows, :2].sum(axis=0).tolist()
        return float(hypothesis / reference) if reference else 0.0

    def split_words(self, text: str) -> list[str]:
        """Return the words of a text, case folded, as BLEU's tokeniser splits them, without punctuation."""
        tokens = self._metrics["bleu"].tokenizer(text.rstrip()).split()
        return [token.casefold() for token in tokens if any(map(str.isalnum, token))]


def _as_streams(references: Sequence[str] | Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Return the references as a list of streams, each of one line a sentence.

    Raises:
        DataError: There are none, they hold no text, or their line counts differ.
    """
    streams: list[Any] = [references] if references and isinstance(references[0], str) else list(references)
    counts = sorted({len(stream) for stream in streams})
    if len(counts) > 1:
        raise DataError(
            f"the references have different line counts: {' and '.join(f'{count:,}' for count in counts)}",
            fix="give references of the same text, one sentence a line",
        )
    if not any(line.strip() for stream in streams for line in stream):
        raise DataError("the reference holds no text", fix="give the correct translations, one a line")
    return streams


def _build_metric(name: MetricName, tokenize: str, lowercase: bool, streams: list[Sequence[str]]) -> Any:
    """Return sacreBLEU's metric with the references counted."""
    from sacrebleu.metrics import BLEU, CHRF, TER

    match name:
        case "bleu":
            try:
                return BLEU(lowercase=lowercase, tokenize=tokenize, force=True, references=streams)
            except OSError as exc:
                raise DataError(
                    f"the tokeniser {tokenize} cannot be downloaded: {getattr(exc, 'reason', exc)}",
                    fix="connect to the internet once, or choose another with --tokenize",
                ) from exc
            except (RuntimeError, ImportError) as exc:
                extra = tokenize.partition("-")[0]
                raise RecipeError(
                    f"the tokeniser {tokenize} is not installed", fix=f'install it: pip install "sacrebleu[{extra}]"'
                ) from exc
        case "chrf":
            return CHRF(word_order=2, lowercase=lowercase, references=streams)
        case "ter":
            return TER(references=streams)


def _find_oddities(hypotheses: Sequence[str]) -> tuple[str, ...]:
    """Return what looks wrong in a system's output as a whole."""
    if not any(map(str.strip, hypotheses)):
        return ("all hypotheses are empty",)
    tokenized = sum(line.rstrip().endswith(" .") for line in hypotheses)
    if tokenized >= 100 or tokenized * 2 > len(hypotheses):
        return (f"{tokenized:,} hypotheses end in ' .': BLEU is defined on detokenised text",)
    return ()
