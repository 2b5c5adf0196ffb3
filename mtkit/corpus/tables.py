"""Parallel text in tables: TSV, JSON lines, Parquet, and what Arrow holds in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtkit.corpus.columns import Columns, find_columns, get_leaf, iter_leaves
from mtkit.corpus.language_tags import Languages
from mtkit.corpus.reading import Lines, Reading
from mtkit.corpus.repair import repair_lines
from mtkit.corpus.text_files import iter_line_chunks
from mtkit.errors import DataError, RecipeError, first_line


def read_tsv(
    path: Path, columns: Columns | None, languages: Languages, chunk_pairs: int, reading: Reading
) -> Iterator[Lines]:
    """Yield the pairs of a TSV file in chunks. Fields are split at tabs; quotes mean nothing.

    The first row names the columns, unless `columns` are numbers, counted from 1. A row that has more columns than the
    first holds a tab in a text: what would be read of it are two halves of that text, or a wrong pair.

    Raises:
        DataError: A row lacks a column or has one too many, or the file cannot be read.
        RecipeError: A column number is 0.
    """
    first = 1
    width = 0
    places: tuple[int, int] | None = None
    if columns and all(name.isdigit() for name in columns):
        places = (int(columns[0]) - 1, int(columns[1]) - 1)
        if min(places) < 0:
            raise RecipeError("there is no column 0", at=path, fix="count columns from 1")
    for chunk in iter_line_chunks(path, chunk_pairs, reading.report_share):
        lines = repair_lines(chunk, reading.repaired)
        if places is None:
            header = lines.pop(0).split("\t")
            hint = "; without a header row, to their numbers: [1, 2]"
            names = find_columns(header, columns, languages, f"{path}:1", hint)
            places = (header.index(names[0]), header.index(names[1]))
            width = len(header)
            first = 2
        rows = [line.split("\t") for line in lines]
        width = width or len(rows[0])
        long = next((index for index, row in enumerate(rows) if len(row) > width and any(row[width:])), None)
        if long is not None:
            raise DataError(
                f"{len(rows[long])} columns where the first row has {width}: a tab stands in a text",
                at=f"{path}:{first + long}",
                fix="remove the tab, or the line",
            )
        try:
            yield [row[places[0]] for row in rows], [row[places[1]] for row in rows]
        except IndexError as exc:
            wanted = max(places) + 1
            short = next(index for index, row in enumerate(rows) if len(row) < wanted)
            raise DataError(
                f"{len(rows[short])} columns, and column {wanted} is needed",
                at=f"{path}:{first + short}",
                fix="correct the line",
            ) from exc
        first += len(rows)


def read_jsonl(
    path: Path, columns: Columns | None, languages: Languages, chunk_pairs: int, reading: Reading
) -> Iterator[Lines]:
    """Yield the pairs of a file with one JSON object a line, in chunks; null is an empty text, blank lines are skipped.

    Raises:
        DataError: A line is no JSON object, lacks a column, or holds something else than text.
    """
    first = 1
    for lines in iter_line_chunks(path, chunk_pairs, reading.report_share):
        sources, targets = [], []
        for number, line in enumerate(lines, start=first):
            if not line.strip():
                continue
            row = _parse_object(line, f"{path}:{number}")
            columns = columns or find_columns(list(iter_leaves(row)), None, languages, f"{path}:{number}")
            sources.append(_get_text(row, columns[0], f"{path}:{number}"))
            targets.append(_get_text(row, columns[1], f"{path}:{number}"))
        yield sources, targets
        first += len(lines)


def _parse_object(line: str, at: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as exc:
        raise DataError(f"not valid JSON: {exc}", at=at, fix="correct the line") from exc
    if not isinstance(row, dict):
        raise DataError("not a JSON object", at=at, fix='write {"source": "…", "target": "…"}')
    return row


def _get_text(row: dict[str, Any], name: str, at: str) -> str:
    try:
        value = get_leaf(row, name)
    except KeyError as exc:
        shown = ", ".join(iter_leaves(row)) or "nothing"
        raise DataError(f"no '{name}' in this line", at=at, fix=f"it has: {shown}") from exc
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"'{name}' holds no text but {value!r:.40}", at=at, fix="name a column of texts")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise DataError(f"'{name}' holds half of a surrogate pair", at=at, fix="correct the escape in the line")
    return value


def read_parquet(
    path: Path, columns: Columns | None, languages: Languages, chunk_pairs: int, reading: Reading
) -> Iterator[Lines]:
    """Yield the pairs of a Parquet file in chunks.

    Raises:
        DataError: The file is missing or damaged, or lacks the columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = find_columns(list(iter_schema_leaves(file.schema_arrow)), columns, languages, path)
            done = 0
            for batch in file.iter_batches(batch_size=chunk_pairs, columns=list(names)):
                table = pa.Table.from_batches([batch])
                yield read_column(table, names[0], path), read_column(table, names[1], path)
                done += len(batch)
                reading.report_share(done / file.metadata.num_rows)
    except FileNotFoundError as exc:
        raise DataError("no such file", at=path, fix="check the path") from exc
    except (pa.ArrowException, OSError) as exc:
        raise DataError(f"cannot read it as Parquet: {first_line(exc)}", at=path, fix="check the file") from exc


def iter_schema_leaves(schema: Any, prefix: str = "") -> Iterator[str]:
    """Yield the column names of an Arrow schema or struct, nested ones with dots."""
    import pyarrow as pa

    for field in schema:
        if pa.types.is_struct(field.type):
            yield from iter_schema_leaves(field.type, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def read_column(table: Any, name: str, at: str | Path) -> list[str]:
    """Return a column of texts of an Arrow table by its dotted name; null is an empty text.

    Raises:
        DataError: The column holds something else than text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    first, *inner = [name] if name in table.column_names else name.split(".")
    column = table[first]
    if inner:
        column = pc.struct_field(column, inner)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise DataError(f"column '{name}' holds no text but {column.type}", at=at, fix="name a column of texts")
    if column.null_count:
        column = column.fill_null("")
    return column.to_pylist()  # type: ignore[no-any-return]
