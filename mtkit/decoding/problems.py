"""Lines that cannot be read or answered as they are: told in one way, whatever is done with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtkit.corpus.text_files import CONVERSION
from mtkit.decoding.output import Output
from mtkit.decoding.stream import LineStream
from mtkit.errors import DataError, MtkitError
from mtkit.runtime import console


@dataclass(frozen=True)
class ProblemHandler:
    """Warns of lines that cannot be answered as they ask, or stops at the first.

    Attributes:
        outcome: What becomes of such a line, for the warning: "answered with an empty result".
        lenient_outcome: The same, for the error: "such a line gives an empty result".
        is_strict: Whether to stop.
        outputs: What to flush before that.
    """

    outcome: str
    lenient_outcome: str
    is_strict: bool
    outputs: Sequence[Output]

    def check(self, place: str, malformed: str | None, refused: MtkitError | None) -> str | None:
        """Return what is wrong with a line, after a warning; None if nothing is.

        Args:
            place: The line, for messages.
            malformed: What was wrong when it was read.
            refused: Why it could not be answered.

        Raises:
            DataError: Something is wrong, and `is_strict`; what was written before is then flushed.
        """
        problem, fix = malformed, "correct the line"
        if problem is None and refused is not None:
            problem, fix = refused.message, refused.fix
        if problem is None:
            return None
        if self.is_strict:
            for output in self.outputs:
                output.flush()
            raise DataError(problem, at=place, fix=f"{fix}; without --strict {self.lenient_outcome}")
        console.warn(f"{place}: {problem}; {self.outcome}")
        return problem


def warn_unspaced(num_lines: int, advice: str) -> None:
    """Warn of lines without spaces, source or target, whose links say little.

    Args:
        num_lines: How many there are; of none it is not warned.
        advice: What links more.
    """
    if num_lines:
        console.warn(
            f"lines written without spaces: {num_lines:,}; links count what stands between spaces as one word: {advice}"
        )


def warn_undecodable(stream: LineStream, done: str) -> None:
    """Warn of the lines of a stream that are not UTF-8; `done` is what was done with them: "translated"."""
    if stream.num_undecodable:
        console.warn(
            f"{stream.name}: lines with bytes that are not UTF-8: {stream.num_undecodable:,} (the first is line "
            f"{stream.first_undecodable:,}); they were {done} with U+FFFD in place of those; convert text in another "
            f"encoding first ({CONVERSION})"
        )
