"""From a stream of lines to a stream of translations: what `mtkit translate` does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mtkit.decoding.formats import Format, Record
from mtkit.decoding.output import Output
from mtkit.decoding.problems import ProblemHandler, warn_undecodable, warn_unspaced
from mtkit.decoding.splitting import is_unspaced
from mtkit.decoding.stream import LineStream
from mtkit.decoding.translation import Kept, Translation, format_links
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
        num_malformed: Lines that were answered with an empty result because they could not be answered as they asked.
        constraints: Required phrases that appear in the best translations.
        terms: Terms of the glossary whose translation does.
        elapsed_seconds: Time taken, waiting for input included.
    """

    num_lines: int = 0
    num_tokens: int = 0
    num_split: int = 0
    num_cut: int = 0
    num_malformed: int = 0
    constraints: Kept = field(default_factory=Kept)
    terms: Kept = field(default_factory=Kept)
    elapsed_seconds: float = 0.0

    def add(self, record: Record, translation: Translation) -> None:
        """Count one line."""
        self.num_lines += 1
        self.num_tokens += translation.num_tokens
        self.num_split += translation.num_parts > 1
        self.num_cut += translation.is_cut
        self.num_malformed += record.problem is not None
        self.constraints += translation.alternatives[0].constraints
        self.terms += translation.alternatives[0].terms

    def __str__(self) -> str:
        rate = self.num_tokens / max(self.elapsed_seconds, 1e-9)
        counts = [f"lines split: {self.num_split:,}", f"translations cut at the maximum length: {self.num_cut:,}"]
        if self.num_malformed:
            counts.append(f"lines malformed: {self.num_malformed:,}")
        if self.constraints.wanted:
            counts.append(f"constraints met: {self.constraints}")
        if self.terms.wanted:
            counts.append(f"glossary terms kept: {self.terms}")
        return (
            f"{console.count(self.num_lines, 'line')}, {console.count(self.num_tokens, 'token')} "
            f"in {self.elapsed_seconds:.1f} s ({rate:,.0f} tokens/s); {', '.join(counts)}"
        )


def translate_stream(
    translator: Translator,
    stream: LineStream,
    line_format: Format,
    output: Output,
    *,
    scores: Output | None = None,
    links: Output | None = None,
    strict: bool = False,
    advance: Callable[[int], None] | None = None,
) -> Summary:
    """Translate the lines of a stream, in order, and write the answer to each as soon as it is known.

    Every line is answered: a malformed one with an empty result, and a warning that names its place.

    Args:
        translator: Translates the lines, a window of them at a time.
        stream: The input.
        line_format: How a line of the input is read, and its answer written.
        output: Takes the answers; flushed after each window.
        scores: Takes a row for each translation, n-best ones included, under a header.
        links: Takes a line for each translation, n-best ones included: its word links in Pharaoh format, if it has any.
        strict: Stop at a malformed line, when those before it are written.
        advance: Called with the number of lines done, now and then.

    Raises:
        DataError: The input cannot be read, or lacks the header that its format needs; or, if `strict`, a line is
            malformed.
        DeviceError: The device's memory does not suffice for a single sentence.
        OutputError: The results cannot be written.
    """
    summary = Summary()
    started = time.monotonic()
    outputs = [one for one in (output, scores, links) if one is not None]
    handler = ProblemHandler("answered with an empty result", "such a line gives an empty result", strict, outputs)
    if scores is not None:
        scores.write_line(SCORES_HEADER)
    has_begun = False
    num_unspaced = 0
    for window in stream.iter_windows(translator.window_lines):
        if not has_begun and line_format.has_header:
            header = line_format.take_header(window.pop(0), stream.name)
            if header is not None:
                output.write_line(header)
        has_begun = True
        records = [line_format.read(line) for line in window]
        first_number = stream.num_lines - len(records) + 1
        translations = translator.translate_window([record.request for record in records], advance)
        for number, (record, translation) in enumerate(zip(records, translations, strict=True), first_number):
            problem = handler.check(f"{stream.name}:{number}", record.problem, translation.problem)
            checked = record if problem is None else replace(record, problem=problem)
            output.write_line(line_format.write(checked, translation, summary.num_lines))
            if scores is not None:
                _write_scores(scores, translation)
            if links is not None:
                _write_links(links, translation)
            summary.add(checked, translation)
            best = translation.alternatives[0]
            num_unspaced += best.alignment is not None and (is_unspaced(record.source) or is_unspaced(best.text))
        for one in outputs:
            one.flush()
    warn_undecodable(stream, done="translated")
    warn_unspaced(num_unspaced, "mtkit align --words signs links characters of such scripts")
    summary.elapsed_seconds = time.monotonic() - started
    return summary


def _write_scores(scores: Output, translation: Translation) -> None:
    for a in translation.alternatives:
        scores.write_line(f"{a.score:.6f}\t{a.log_prob:.6f}\t{a.num_tokens}\t{int(a.is_cut)}")


def _write_links(links: Output, translation: Translation) -> None:
    for alternative in translation.alternatives:
        links.write_line(format_links(alternative.alignment or ()))
