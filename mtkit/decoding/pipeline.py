"""From a stream of lines to a stream of translations: what `mtkit translate` does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mtkit.decoding.formats import Format, Record
from mtkit.decoding.output import Output
from mtkit.decoding.stream import LineStream
from mtkit.decoding.translation import Translation
from mtkit.decoding.translator import Translator
from mtkit.runtime import console

SCORES_HEADER = "score\tlog_prob\ttokens\tcut"


@dataclass
class Summary:
    """What was translated.

    Attributes:
        num_lines: Lines, a header left out.
        num_tokens: Tokens of the best translations, EOS included.
        num_split: Lines that were translated in parts.
        num_cut: Lines whose translation the maximum length ended.
        num_malformed: Lines that were answered with an empty result because they could not be read.
        elapsed_seconds: Time taken, waiting for input included.
    """

    num_lines: int = 0
    num_tokens: int = 0
    num_split: int = 0
    num_cut: int = 0
    num_malformed: int = 0
    elapsed_seconds: float = 0.0

    def add(self, record: Record, translation: Translation) -> None:
        """Count one line."""
        self.num_lines += 1
        self.num_tokens += translation.num_tokens
        self.num_split += translation.num_parts > 1
        self.num_cut += translation.is_cut
        self.num_malformed += record.problem is not None

    def __str__(self) -> str:
        rate = self.num_tokens / max(self.elapsed_seconds, 1e-9)
        return (
            f"{self.num_lines:,} lines, {self.num_tokens:,} tokens in {self.elapsed_seconds:.1f} s ({rate:,.0f} "
            f"tokens/s); lines split: {self.num_split:,}, translations cut at the maximum length: {self.num_cut:,}"
        )


def translate_stream(
    translator: Translator,
    stream: LineStream,
    line_format: Format,
    output: Output,
    *,
    scores: Output | None = None,
    advance: Callable[[int], None] | None = None,
) -> Summary:
    """Translate the lines of a stream, in order, and write the answer to each as soon as it is known.

    Every line is answered: a malformed one with an empty result, and a warning that names its place.

    Args:
        translator: Translates the lines, a window of them at a time.
        stream: The input.
        line_format: How a line of the input is read, and its answer written.
        output: Takes the answers; flushed after each window.
        scores: Takes a row for each translation, under a header.
        advance: Called with the number of lines done, now and then.

    Raises:
        DataError: The input cannot be read, or lacks the header that its format needs.
        DeviceError: The device's memory does not suffice for a single sentence.
        OutputError: The results cannot be written.
    """
    summary = Summary()
    started = time.monotonic()
    if scores is not None:
        scores.write_line(SCORES_HEADER)
    has_begun = False
    for window in stream.iter_windows(translator.window_lines):
        if not has_begun and (header := line_format.take_header(window[0], stream.name)) is not None:
            output.write_line(header)
            del window[0]
        has_begun = True
        records = _read_records(window, line_format, stream)
        translations = translator.translate_window([record.source for record in records], advance)
        for record, translation in zip(records, translations, strict=True):
            output.write_line(line_format.write(record, translation, summary.num_lines))
            if scores is not None:
                _write_scores(scores, translation)
            summary.add(record, translation)
        output.flush()
        if scores is not None:
            scores.flush()
    if stream.num_undecodable:
        console.warn(
            f"{stream.name}: lines with bytes that are not UTF-8: {stream.num_undecodable:,} (the first is line "
            f"{stream.first_undecodable:,}); they were translated with U+FFFD in place of those"
        )
    summary.elapsed_seconds = time.monotonic() - started
    return summary


def _read_records(window: Sequence[str], line_format: Format, stream: LineStream) -> list[Record]:
    """Return what the newest lines of the stream hold, with a warning for each that is malformed."""
    records = [line_format.read(line) for line in window]
    for number, record in enumerate(records, stream.num_lines - len(records) + 1):
        if record.problem is not None:
            console.warn(f"{stream.name}:{number}: {record.problem}; answered with an empty result")
    return records


def _write_scores(scores: Output, translation: Translation) -> None:
    for a in translation.alternatives:
        scores.write_line(f"{a.score:.6f}\t{a.log_prob:.6f}\t{a.num_tokens}\t{int(a.is_cut)}")
