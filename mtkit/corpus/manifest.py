"""What a prepared corpus is made of, and how it came about: its `manifest.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mtkit.errors import DataError
from mtkit.runtime.files import read_json, write_json

FORMAT = "mtkit prepared corpus"
FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
# Patterns of what is at the top of a prepared corpus.
CORPUS_FILES = (
    MANIFEST_FILE, "train", "valid", "test", "valid.source.txt", "valid.target.txt", "test.source.txt",
    "test.target.txt", "*.spm", "*vocab.json",
)  # fmt: skip


class _Record(BaseModel):
    """A part of the manifest: frozen."""

    model_config = ConfigDict(frozen=True)


class SideStatistics(_Record):
    """How long one side of a split is."""

    tokens: int
    words: int
    unknown: int
    length_percentiles: dict[str, int]


class SplitStatistics(_Record):
    """What a split holds."""

    pairs: int
    source: SideStatistics
    target: SideStatistics


class CorpusStatistics(_Record):
    """One of the corpora that the pairs come from: its training pairs, and the tag before its sources."""

    pairs: int
    tag: str | None = None


class InputFile(_Record):
    """A file that the corpus was made from."""

    path: str
    bytes: int
    sha256: str


class Manifest(_Record):
    """A prepared corpus: what it holds, what it was made from, and what was dropped on the way.

    `request` says what was asked for: the settings, and the hash of every input in place of its path. `dropped` counts
    training pairs by reason, `repaired` lines of any split by what was replaced in them, and `noted` what was seen and
    kept. `warnings` are sentences for a person. `corpora` names every corpus that pairs come from, those of validation
    and test included. `file_hashes` are SHA-256; a corpus of an earlier version has none.
    """

    format: Literal["mtkit prepared corpus"] = "mtkit prepared corpus"
    format_version: int = FORMAT_VERSION
    mtkit_version: str
    fingerprint: str
    source_language: str | None
    target_language: str | None
    pairs_read: int
    dropped: dict[str, int]
    repaired: dict[str, int]
    noted: dict[str, int]
    warnings: list[str]
    splits: dict[str, SplitStatistics]
    corpora: dict[str, CorpusStatistics] = {}
    vocabulary_sizes: dict[str, int]
    inputs: list[InputFile]
    request: dict[str, Any]
    corpus: dict[str, Any]
    vocabulary: dict[str, Any]
    file_bytes: dict[str, int]
    file_hashes: dict[str, str] = {}


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a prepared corpus.

    Raises:
        DataError: The folder is missing, is no prepared corpus, is of a newer version, or its manifest is damaged.
    """
    fix = "give the folder that `mtkit prepare -o` wrote"
    if not folder.is_dir():
        raise DataError("no such prepared corpus", at=folder, fix=fix)
    path = folder / MANIFEST_FILE
    try:
        raw = read_json(path)
    except FileNotFoundError as exc:
        raise DataError("not a prepared corpus: it has no manifest.json", at=folder, fix=fix) from exc
    except (OSError, ValueError) as exc:
        raise DataError(f"cannot read the manifest: {exc}", at=path, fix="prepare the corpus again") from exc
    if raw.get("format") != FORMAT:
        raise DataError("not a prepared corpus: its manifest is another program's", at=folder, fix=fix)
    version = raw.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise DataError(
            f"the corpus has format version {version}, and this mtkit knows versions up to {FORMAT_VERSION}",
            at=path,
            fix="update mtkit, or prepare the corpus again with this one",
        )
    try:
        return Manifest.model_validate(raw)
    except ValidationError as exc:
        field = ".".join(map(str, exc.errors()[0]["loc"]))
        raise DataError(f"the manifest is damaged at '{field}'", at=path, fix="prepare the corpus again") from exc


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the manifest of a prepared corpus.

    Raises:
        OutputError: It cannot be written.
    """
    write_json(manifest.model_dump(mode="json"), folder / MANIFEST_FILE)


def is_prepared_corpus(folder: Path) -> bool:
    """Return whether a folder holds a manifest of ours, of whatever version."""
    try:
        return read_json(folder / MANIFEST_FILE).get("format") == FORMAT
    except (OSError, ValueError):
        return False
