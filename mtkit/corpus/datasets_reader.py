"""Parallel text out of Hugging Face data sets: from the hub, from a folder, whole or streaming."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtkit.config.corpus import TextSource
from mtkit.corpus.columns import find_columns
from mtkit.corpus.language_tags import Languages
from mtkit.corpus.reading import Lines, Reading
from mtkit.corpus.tables import iter_schema_leaves, read_column
from mtkit.errors import DataError, first_line

# In the text of what `datasets` raises where it asked the hub in vain.
_UNANSWERED = "LocalEntryNotFoundError"

# What the splits are called, by what they are for.
_SPLIT_NAMES = {"train": ("train",), "valid": ("validation", "valid", "dev"), "test": ("test",)}


def read_dataset(
    source: TextSource, role: str, languages: Languages, chunk_pairs: int, reading: Reading
) -> Iterator[Lines]:
    """Yield the pairs of a data set in chunks.

    Args:
        source: A source with `dataset`.
        role: `train`, `valid` or `test`: decides the split where the source names none.
        languages: Source and target language, to find the columns by.
        chunk_pairs: Pairs in a chunk.
        reading: Is told the share that has been read.

    Raises:
        DataError: The data set cannot be had, or lacks the split or the columns.
    """
    assert source.dataset is not None
    dataset = _load(source, role).with_format("arrow")
    total = getattr(dataset, "num_rows", None)
    done = 0
    names = None
    batches = iter(dataset.iter(batch_size=chunk_pairs))
    while (table := _next(batches, source.dataset)) is not None:
        names = names or find_columns(list(iter_schema_leaves(table.schema)), source.columns, languages, source.dataset)
        yield read_column(table, names[0], source.dataset), read_column(table, names[1], source.dataset)
        done += len(table)
        reading.report_share(done / total if total else 0.0)


def _load(source: TextSource, role: str) -> Any:
    """Return the data set of the split that is wanted."""
    import datasets

    assert source.dataset is not None
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    folder = Path(source.dataset)
    is_saved = (folder / "dataset_dict.json").exists() or (folder / "state.json").exists()
    if is_saved:
        _refuse_unused(source)
    try:
        if is_saved:
            loaded = datasets.load_from_disk(str(folder))
        else:
            loaded = datasets.load_dataset(
                source.dataset,
                source.config,
                split=source.split,
                revision=source.revision,
                data_files=source.data_files,
                streaming=source.streaming,
            )
    except Exception as exc:
        raise _explain(exc, source) from exc
    if isinstance(loaded, dict):
        return _choose_split(loaded, source, role)
    if is_saved and source.split not in (None, str(loaded.split)):
        raise DataError(
            "this folder holds one saved data set, without splits", at=source.dataset, fix="leave `split` out"
        )
    return loaded


def _refuse_unused(source: TextSource) -> None:
    """Refuse what chooses or fetches a part of a data set, where `save_to_disk` has written it as it is."""
    given = [field for field in ("config", "revision", "data_files", "streaming") if getattr(source, field)]
    if given:
        names = ", ".join(f"`{field}`" for field in given)
        raise DataError(
            f"this data set was saved with save_to_disk, which knows no {names}",
            at=source.dataset,
            fix=f"leave {names} out",
        )


def _choose_split(loaded: dict[str, Any], source: TextSource, role: str) -> Any:
    for name in (source.split,) if source.split else _SPLIT_NAMES[role]:
        if name in loaded:
            return loaded[name]
    missing = source.split or _SPLIT_NAMES[role][0]
    raise DataError(f"no split '{missing}'", at=source.dataset, fix=f"set `split` to one of: {', '.join(loaded)}")


def _next(batches: Iterator[Any], at: str) -> Any:
    """Return the next table, None at the end; a stream may break off at any of them."""
    try:
        return next(batches, None)
    except Exception as exc:
        raise DataError(
            f"reading the data set failed: {first_line(exc)}", at=at, fix="try again, or check the data set"
        ) from exc


def _explain(exc: Exception, source: TextSource) -> DataError:
    """Turn whatever `datasets` raised into one line with a remedy."""
    at = source.dataset
    assert at is not None
    message = f"cannot load the data set: {first_line(exc)}"
    if _is_missing_folder(at):
        return DataError("no such folder", at=at, fix="check the path, or give a name on the hub: owner/name")
    if refusal := _find_refusal(exc):
        return DataError(
            f"the hub answers with {refusal}",
            at=at,
            fix="try again later, check your access (hf auth login), or give a local folder as the data set",
        )
    if isinstance(exc, ConnectionError) or "offline" in str(exc).lower() or _UNANSWERED in str(exc):
        return DataError(
            f"cannot reach the data set '{at}' on the hub",
            at=at,
            fix="check the network; or give files for training, validation and test (--source, --valid-source, "
            "--test-source and their --…-target), or a local folder as the data set",
        )
    if isinstance(exc, FileNotFoundError):
        return DataError(message, at=at, fix="check the name of the data set, its revision and data_files")
    return DataError(message, at=at, fix="check config, split, revision and data_files of the data set")


def _is_missing_folder(name: str) -> bool:
    """Return whether a name can only be that of a folder here, and there is none."""
    is_path = name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1
    return is_path and "://" not in name and not Path(name).exists()


def _find_refusal(exc: Exception) -> str | None:
    """Return the HTTP status that the hub answered with, and its words; None where that is not what went wrong."""
    from huggingface_hub.errors import HfHubHTTPError

    cause: BaseException | None = exc
    if _UNANSWERED in str(exc):
        while cause is not None and not isinstance(cause, HfHubHTTPError):
            cause = cause.__cause__ or cause.__context__
    if not isinstance(cause, HfHubHTTPError):
        return None
    return f"HTTP status {cause.response.status_code}: {first_line(cause)}"
