"""The way of the text through `mtkit prepare`: read and clean, decide, learn the vocabulary, encode, write."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mtkit.config.corpus import CorpusSection
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.cleaning import clean_chunk
from mtkit.corpus.encoding import Encoder
from mtkit.corpus.held_out import HeldOut, find_overlap, read_held_out
from mtkit.corpus.language_tags import Languages
from mtkit.corpus.languages import check_catalogs, find_languages
from mtkit.corpus.manifest import CorpusStatistics, Manifest, write_manifest
from mtkit.corpus.model_filter import PairModels, build_judge
from mtkit.corpus.readers import CHUNK_PAIRS, iter_pairs
from mtkit.corpus.reading import Reading
from mtkit.corpus.repair import SEPARATORS
from mtkit.corpus.request import Request
from mtkit.corpus.splitting import Assignment, PairHashes, assign_pairs, find_copies, find_small_sets
from mtkit.corpus.spool import Spool
from mtkit.corpus.store import HELD_OUT, HeldOutName
from mtkit.corpus.tags import Tags, add_tags, collect_tags, find_tag_ids, find_untagged
from mtkit.corpus.tokenizer import (
    Tokenizer,
    VocabularySizeError,
    learn_tokenizer,
    load_given_tokenizers,
    save_tokenizers,
)
from mtkit.corpus.vocabulary_size import explain_size
from mtkit.corpus.writer import SplitWriter
from mtkit.errors import DataError, ModelError
from mtkit.runtime import console
from mtkit.runtime.files import hash_file
from mtkit.version import __version__


@dataclass
class Findings:
    """What was counted on the way; see `Manifest`."""

    pairs_read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)


def fill_folder(
    folder: Path,
    corpus: CorpusSection,
    vocabulary: VocabularySection,
    request: Request,
    threads: int | None,
    models: PairModels | None = None,
) -> None:
    """Write a prepared corpus into an empty folder; see `mtkit.corpus.prepare.prepare_corpus`."""
    findings = Findings()
    tags = collect_tags(corpus)
    languages = find_languages(corpus)
    if None in languages:
        findings.warnings.append("the languages are not known: name them with --source-language and --target-language")
    findings.warnings += check_catalogs(corpus, languages)
    held_out = read_held_out(corpus, languages, findings.repaired, findings.warnings)
    given = {name: PairHashes.of(lines.sources, lines.targets) for name, lines in held_out.items()}
    findings.warnings += find_overlap(given) + find_untagged(corpus)
    with Spool(folder / "text.spool") as spool:
        judge = build_judge(corpus.filters.model_score, models, spool, tags, languages)
        hashes = _read_training(corpus, languages, spool, findings)
        if len(hashes) == 0:
            raise _nothing_left(findings)
        assignment = assign_pairs(hashes, given, corpus, judge)
        del hashes
        findings.dropped.update(assignment.dropped)
        findings.noted.update(assignment.noted)
        findings.warnings += find_copies(assignment) + find_small_sets(assignment, corpus)
        if not assignment.train.any():
            raise _nothing_left(findings)
        source, target = _build_tokenizers(vocabulary, tags, spool, assignment.train)
        encoder = Encoder(source, target, threads, find_tag_ids(tags, source, vocabulary.source_model))
        writers = {"train": SplitWriter(folder / "train", source.unk_id, target.unk_id)}
        with writers["train"]:
            held_out |= _write_training(encoder, writers["train"], spool, assignment, corpus, findings)
    if writers["train"].pairs == 0:
        raise _nothing_left(findings)
    for name in HELD_OUT:
        if name in held_out:
            writers[name] = SplitWriter(folder / name, source.unk_id, target.unk_id)
            _write_held_out(encoder, writers[name], held_out[name])
            held_out[name].write_text(folder, name)
    save_tokenizers(source, target, folder)
    _write_manifest(folder, corpus, vocabulary, languages, tags, request, findings, writers, (source, target))


def _write_manifest(
    folder: Path,
    corpus: CorpusSection,
    vocabulary: VocabularySection,
    languages: Languages,
    tags: Tags,
    request: Request,
    findings: Findings,
    writers: Mapping[str, SplitWriter],
    tokenizers: tuple[Tokenizer, Tokenizer],
) -> None:
    """Describe what stands in the folder."""
    files = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    resolved = corpus.model_copy(update={"source_language": languages[0], "target_language": languages[1]})
    hashes = {name: hash_file(folder / name) for name in files}
    manifest = Manifest(
        mtkit_version=__version__,
        fingerprint=_fingerprint(hashes),
        source_language=languages[0],
        target_language=languages[1],
        pairs_read=findings.pairs_read,
        dropped=findings.dropped,
        repaired=findings.repaired,
        noted=findings.noted,
        warnings=findings.warnings,
        splits={name: writer.statistics() for name, writer in writers.items()},
        corpora={name: CorpusStatistics(pairs=writers["train"].corpora[name], tag=tag) for name, tag in tags.items()},
        vocabulary_sizes={"source": len(tokenizers[0]), "target": len(tokenizers[1])},
        inputs=request.inputs,
        request=request.settings,
        corpus=resolved.model_dump(mode="json"),
        vocabulary=vocabulary.model_dump(mode="json"),
        file_bytes={name: (folder / name).stat().st_size for name in files},
        file_hashes=hashes,
    )
    write_manifest(manifest, folder)


def _read_training(corpus: CorpusSection, languages: Languages, spool: Spool, findings: Findings) -> PairHashes:
    """Read and clean the training text; put what is left into the spool, and return its hashes."""
    parts: list[PairHashes] = []
    for index, section in enumerate(corpus.train):
        reading = Reading()
        read = 0
        label = "reading" if len(corpus.train) == 1 else f"reading {index + 1} of {len(corpus.train)}"
        with console.progress(label) as advance:
            for sources, targets in iter_pairs(section, "train", languages, reading):
                read += len(sources)
                advance(len(sources), total=round(read / reading.share) if reading.share else None)
                kept_sources, kept_targets, dropped = clean_chunk(sources, targets, corpus.filters)
                findings.dropped.update(dropped)
                spool.write(kept_sources, kept_targets, section.label)
                parts.append(PairHashes.of(kept_sources, kept_targets, section.tag))
        findings.pairs_read += read + reading.left_out.total()
        findings.dropped.update(reading.left_out)
        findings.repaired.update(reading.repaired)
    spool.finish()
    return PairHashes.concatenate(parts)


def _nothing_left(findings: Findings) -> DataError:
    """Return the error of a training text of which nothing is left."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in findings.dropped.most_common() if count)
    breaks = {name: count for name in SEPARATORS.values() if (count := findings.repaired[name]) > findings.pairs_read}
    if breaks:
        name = max(breaks, key=lambda name: breaks[name])
        return DataError(
            f"no training pair is left of {findings.pairs_read:,}, which hold {breaks[name]:,} times a {name}",
            at="corpus.train",
            fix="if that ends the lines, put line feeds in its place: nothing else ends a line here",
        )
    return DataError(
        f"no training pair is left of {findings.pairs_read:,}: {reasons}",
        at="corpus.filters",
        fix="check that the files are the right ones, or relax the filters with --set corpus.filters.…",
    )


def _build_tokenizers(
    vocabulary: VocabularySection, tags: Tags, spool: Spool, train: npt.NDArray[np.bool_]
) -> tuple[Tokenizer, Tokenizer]:
    """Return the tokenizers of source and target: those that are given, or learned from the training text.

    A tag is a symbol of the vocabulary that encodes the source: a target vocabulary of its own has no use for it.
    """
    if vocabulary.source_model:
        source, target = load_given_tokenizers(vocabulary.source_model, vocabulary.target_model)
        if source.special_ids != target.special_ids:
            raise ModelError(
                f"the two SentencePiece models differ in their special symbols: {source.special_ids} "
                f"and {target.special_ids}",
                at=vocabulary.target_model,
                fix="train both with the same --pad_id, --unk_id, --bos_id and --eos_id",
            )
        return source, target
    sides = ("source", "target") if vocabulary.separate else ("both",)
    rows = _sample(train, vocabulary.sample_sentences // (1 if vocabulary.separate else 2))

    def learn(side: str, section: VocabularySection) -> Tokenizer:
        section = section if side == "target" else add_tags(section, tags)
        return learn_tokenizer(spool.iter_lines(side, rows), section)

    learners = {side: partial(learn, side) for side in sides}
    with console.progress("learning the vocabulary", unit="lines"):
        try:
            learned = [learn_side(vocabulary) for learn_side in learners.values()]
        except VocabularySizeError as exc:
            raise explain_size(vocabulary, learners) from exc
    return learned[0], learned[-1]


def _sample(rows: npt.NDArray[np.bool_], most: int) -> npt.NDArray[np.bool_]:
    """Return a mask of at most `most` of the rows that are True, spread evenly over them."""
    chosen = np.flatnonzero(rows)
    if len(chosen) <= most:
        return rows
    sample = np.zeros(len(rows), np.bool_)
    sample[chosen[np.arange(max(1, most)) * len(chosen) // max(1, most)]] = True
    return sample


def _write_training(
    encoder: Encoder,
    writer: SplitWriter,
    spool: Spool,
    assignment: Assignment,
    corpus: CorpusSection,
    findings: Findings,
) -> dict[HeldOutName, HeldOut]:
    """Encode and write the training pairs; return the pairs that are split off for validation and test."""
    wanted = np.zeros(len(assignment.train), np.bool_)
    for rows in assignment.held_out.values():
        wanted[rows] = True
    split_off: dict[int, tuple[str, ...]] = {}
    too_long = 0
    with console.progress("encoding", total=int(np.count_nonzero(assignment.train))) as advance:
        for first, batch in spool.iter_chunks():
            last = first + len(batch)
            rows = np.flatnonzero(wanted[first:last])
            for row, pair in zip(rows.tolist(), batch.take(pa.array(rows)).to_pylist(), strict=True):
                split_off[first + row] = tuple(pair.values())
            kept = batch.filter(pa.array(assignment.train[first:last]))
            too_long += encoder.write(writer, kept, corpus.filters.max_tokens)
            advance(len(kept))
    if corpus.filters.max_tokens is not None:
        findings.dropped["too long (tokens)"] = too_long
    held_out: dict[HeldOutName, HeldOut] = {}
    for name, rows in assignment.held_out.items():
        pairs = [split_off[row] for row in rows.tolist()]
        held_out[name] = HeldOut(*(list(column) for column in zip(*pairs, strict=True)))
    return held_out


def _write_held_out(encoder: Encoder, writer: SplitWriter, held_out: HeldOut) -> None:
    """Encode and write a validation or test set, in its order."""
    with writer:
        columns = {"source": held_out.sources, "target": held_out.targets, "corpus": held_out.labels}
        batch = pa.RecordBatch.from_pydict(columns)
        for first in range(0, len(batch), CHUNK_PAIRS):
            encoder.write(writer, batch.slice(first, CHUNK_PAIRS))


def _fingerprint(hashes: Mapping[str, str]) -> str:
    """Return a hash of all files, by theirs."""
    return hashlib.sha256("".join(f"{name} {value}\n" for name, value in hashes.items()).encode()).hexdigest()
