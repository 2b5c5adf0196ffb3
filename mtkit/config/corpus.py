"""Where parallel text comes from, and what is kept of it."""

from __future__ import annotations

from glob import glob, has_magic
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from mtkit.config.section import Section

# A BCP-47 tag such as `en`, `de-AT`, `zh-Hant` or `sr-Latn-RS`.
LANGUAGE_PATTERN = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$"

# A symbol such as `<bt>` or `<2de>`.
TAG_PATTERN = r"^<[^<>\s]+>$"


class TextSource(Section):
    """One place that parallel text comes from: two text files, one table, or a Hugging Face data set."""

    source: Path | None = Field(None, description="Text file of the source side, one sentence a line.")
    target: Path | None = Field(None, description="Text file of the target side, aligned with `source` line by line.")
    path: Path | None = Field(
        None,
        description="A .tsv, .jsonl or .parquet file that holds both sides, or a .po, .tmx or .xliff file. Of training "
        "text, wildcards (`*`, `?`, and `**` for any folders) stand for all files that match.",
    )
    dataset: str | None = Field(
        None, description="A Hugging Face data set: hub name or local folder.", json_schema_extra={"may_be_path": True}
    )
    config: str | None = Field(None, description="Configuration of the data set.")
    split: str | None = Field(None, description="Split of the data set, for example `train`.")
    revision: str | None = Field(None, description="Revision of the data set on the hub (commit, tag or branch).")
    data_files: str | list[str] | None = Field(
        None, description="Files of the data set to read.", json_schema_extra={"may_be_path": True}
    )
    streaming: bool = Field(False, description="Read the data set while it downloads instead of storing it first.")
    columns: tuple[str, str] | None = Field(
        None,
        description="Names of the source and target columns (TSV without a header: 1-based numbers). A dot reaches "
        "into nested values: `translation.en`. Default: found by the two languages, or `source` and `target`.",
    )
    name: str | None = Field(None, description="Name kept with each pair. Default: the file or data set name.")
    tag: str | None = Field(
        None,
        pattern=TAG_PATTERN,
        description="Symbol put before each source sentence of this corpus, such as <bt> (back-translated) or <2de> "
        "(translate into German).",
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _number_columns(cls, value: Any) -> Any:
        """Take the numbers of columns for their names."""
        return [str(v) if isinstance(v, int) else v for v in value] if isinstance(value, (list, tuple)) else value

    @model_validator(mode="after")
    def _one_kind(self) -> TextSource:
        kinds = [bool(self.source or self.target), bool(self.path), bool(self.dataset)]
        if sum(kinds) != 1:
            raise ValueError("give either `source` and `target`, or `path`, or `dataset`")
        if kinds[0] and not (self.source and self.target):
            raise ValueError("`source` and `target` go together: one is missing")
        if not self.dataset:
            for field in ("config", "split", "revision", "data_files"):
                if getattr(self, field) is not None:
                    raise ValueError(f"`{field}` goes with `dataset`")
            if self.streaming:
                raise ValueError("`streaming` goes with `dataset`")
        if self.columns and kinds[0]:
            raise ValueError("`columns` goes with `path` or `dataset`")
        return self

    @property
    def label(self) -> str:
        """The name kept with each pair."""
        if self.name:
            return self.name
        if self.dataset:
            return self.dataset if self.config is None else f"{self.dataset}:{self.config}"
        path = self.path or self.source
        assert path is not None
        return path.name


class ModelScoreSection(Section):
    """The filter by the scores of two models: dual conditional cross-entropy (Junczys-Dowmunt 2018)."""

    forward: Path | None = Field(None, description="Model or run folder, source to target.")
    backward: Path | None = Field(None, description="Model or run folder, target to source.")
    min_score: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Drop pairs with a lower score, exp(-(|f - b| + (f + b) / 2)), f and b the cross-entropies of the "
        "two models in nats a token.",
    )
    keep_share: float | None = Field(
        None, gt=0, le=1, description="In place of min_score: keep this share of the pairs, those of highest score."
    )
    forward_tag: str | None = Field(
        None,
        pattern=TAG_PATTERN,
        description="Symbol put before each source. Default: the tag of the corpus, where the model knows it.",
    )
    backward_tag: str | None = Field(
        None, pattern=TAG_PATTERN, description="Symbol put before each target for the backward model. Default: none."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> ModelScoreSection:
        if self.forward is None or self.backward is None:
            raise ValueError("`forward` and `backward` go together: one is missing")
        if (self.min_score is None) == (self.keep_share is None):
            raise ValueError("give either `min_score` or `keep_share`")
        return self


class FilterSection(Section):
    """Which training pairs are dropped; each pair is counted by the first filter that it fails."""

    max_characters: int | None = Field(1000, ge=1, description="Drop pairs with a longer side, in characters.")
    max_tokens: int | None = Field(256, ge=1, description="Drop pairs with a longer side, in SentencePiece tokens.")
    max_length_ratio: float | None = Field(
        6.0,
        gt=1,
        description="Drop pairs whose sides differ by more than this factor in characters, after 15 have been added to "
        "both: short ones differ by chance.",
    )
    duplicates: bool = Field(True, description="Drop all but the first of exactly equal pairs.")
    source_copy: bool = Field(False, description="Drop pairs whose target is a copy of the source.")
    max_targets_per_source: int | None = Field(None, ge=1, description="Keep at most so many targets of one source.")
    min_letter_share: float | None = Field(
        None, ge=0, le=1, description="Drop pairs with a side in which fewer of the non-blank characters are letters."
    )
    model_score: ModelScoreSection | None = None


class CorpusSection(Section):
    """The text: where it comes from, in which languages, and what is kept of it."""

    source_language: str | None = Field(
        None, pattern=LANGUAGE_PATTERN, description="Source language (BCP-47). Default: by file suffixes or columns."
    )
    target_language: str | None = Field(
        None, pattern=LANGUAGE_PATTERN, description="Target language (BCP-47). Default: by file suffixes or columns."
    )
    train: list[TextSource] = Field([], description="Training text, one or several sources.")
    valid: TextSource | None = Field(None, description="Validation text. Default: split off the training text.")
    test: TextSource | None = Field(None, description="Test text. Default: split off the training text.")
    valid_size: float = Field(
        0.01,
        ge=0,
        description="Without `valid`: pairs to split off, as a share below 1 (then at most 2,000 pairs) or "
        "as a number; 0 for none.",
    )
    test_size: float = Field(0.01, ge=0, description="The same for `test`.")
    leakage: Literal["source", "either", "off"] = Field(
        "source",
        description="Drop training pairs whose source (`source`), or whose source or target (`either`), stands in the "
        "validation or test set, compared after case folding and Unicode normalisation.",
    )
    filters: FilterSection = FilterSection()

    @field_validator("train")
    @classmethod
    def _expand_wildcards(cls, train: list[TextSource]) -> list[TextSource]:
        """Put the files that match in the place of a path with wildcards; one that matches none stays as it is."""
        expanded: list[TextSource] = []
        for source in train:
            path = source.path
            is_pattern = path is not None and has_magic(str(path)) and not path.exists()
            matches = glob(str(path), recursive=True) if is_pattern else []  # noqa: PTH207, the pattern may be absolute
            files = [Path(match) for match in sorted(matches) if Path(match).is_file()]
            expanded += [source.model_copy(update={"path": file}) for file in files] or [source]
        return expanded

    @model_validator(mode="after")
    def _sizes(self) -> CorpusSection:
        for field in ("valid_size", "test_size"):
            value = getattr(self, field)
            if value >= 1 and value != int(value):
                raise ValueError(f"`{field}` is a share below 1 or a whole number of pairs, not {value}")
        return self
