"""What a prepared corpus was asked to be: the settings, and the content of each input in place of its path."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from stat import S_ISFIFO
from typing import Any

from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.config.loading import is_beside_bundled
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.manifest import InputFile
from mtkit.errors import DataError
from mtkit.runtime.files import hash_file


@dataclass(frozen=True)
class Request:
    """Settings by their dotted names, with the hashes of inputs for their paths; and the inputs themselves.

    Data sets of the hub stand by name, configuration, split and revision: pin `revision` to notice that they changed.
    """

    settings: dict[str, Any]
    inputs: list[InputFile]


def build_request(
    corpus: CorpusSection, vocabulary: VocabularySection, models: Mapping[str, Sequence[Path]] | None = None
) -> Request:
    """Return what is asked for. Every file is read once, for its hash.

    Args:
        corpus: Where the text comes from and what is kept.
        vocabulary: The vocabulary to learn or take.
        models: By the fields that name models, the files of each.

    Raises:
        DataError: A file cannot be read.
    """
    describe = cache(_describe)  # several corpora may share a text
    inputs: list[InputFile] = []
    settings = dict(_flatten(corpus.model_dump(mode="json"), "corpus"))
    for prefix, source in _iter_sources(corpus):
        settings[f"{prefix}.name"] = source.label
        for name in ("source", "target", "path", "dataset"):
            _hash_setting(settings, f"{prefix}.{name}", inputs, describe)
        data_files = [source.data_files] if isinstance(source.data_files, str) else source.data_files or []
        for index in range(len(data_files)):
            _hash_setting(settings, f"{prefix}.data_files.{index}", inputs, describe)
    settings.update(_flatten(vocabulary.model_dump(mode="json"), "vocabulary"))
    for name in ("source_model", "target_model"):
        _hash_setting(settings, f"vocabulary.{name}", inputs, describe)
    for name, files in (models or {}).items():
        described = [describe(file) for file in files]
        settings[name] = _hash_files({Path(file.path).name: file for file in described})
        inputs += described
    return Request(settings, inputs)


def find_differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return what differs between the settings of an existing corpus and those asked for, in words."""
    differences = []
    for name in sorted({*there, *asked}):
        old, new = there.get(name), asked.get(name)
        if old != new:
            hashed = str(old).startswith("sha256:") and str(new).startswith("sha256:")
            differences.append(f"{name} (its content)" if hashed else f"{name} ({_show(old)} there, {_show(new)} now)")
    return differences


def _show(value: Any) -> str:
    return "none" if value is None else str(value).partition(":")[0] if "sha256:" in str(value) else repr(value)


def _iter_sources(corpus: CorpusSection) -> Iterator[tuple[str, TextSource]]:
    for index, source in enumerate(corpus.train):
        yield f"corpus.train.{index}", source
    if corpus.valid:
        yield "corpus.valid", corpus.valid
    if corpus.test:
        yield "corpus.test", corpus.test


def _flatten(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested settings by their dotted names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(inner, f"{name}.{key}")
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _flatten(inner, f"{name}.{index}")
    else:
        yield name, value


def _hash_setting(
    settings: dict[str, Any], name: str, inputs: list[InputFile], describe: Callable[[Path], InputFile]
) -> None:
    """Put the hash of a file or folder in the place of its path; a name that is no path stays."""
    value = settings.get(name)
    if value is None:
        return
    path = Path(value)
    may_be_name = name.endswith(".dataset") or ".data_files." in name
    if may_be_name and not path.exists():
        return
    if path.is_dir():
        files = [describe(file) for file in sorted(path.rglob("*")) if file.is_file()]
        settings[name] = _hash_files({Path(file.path).relative_to(path).as_posix(): file for file in files})
        inputs += files
    else:
        file = describe(path)
        settings[name] = f"sha256:{file.sha256}"
        inputs.append(file)


def _hash_files(files: Mapping[str, InputFile]) -> str:
    """Return the hash of several files, by their names."""
    content = "".join(f"{name} {file.sha256}\n" for name, file in files.items())
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def _describe(path: Path) -> InputFile:
    try:
        status = path.stat()
        if S_ISFIFO(status.st_mode):
            raise DataError("a pipe, and the text is read twice", at=path, fix="write it to a file first")
        return InputFile(path=str(path), bytes=status.st_size, sha256=hash_file(path))
    except FileNotFoundError as exc:
        fix = "check the path"
        if is_beside_bundled(path):
            fix = "this recipe wants files of yours: --source and --target, or as its first lines say"
        raise DataError("no such file", at=path, fix=fix) from exc
    except OSError as exc:
        raise DataError(f"cannot read the file: {exc.strerror}", at=path, fix="check the file") from exc
