"""JSON objects, one a line: read, so that they can be written again; and written, without what is told anew."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from mtkit.decoding.wishes import MalformedError

# What `--json` tells of a translation; `log_prob` shows that it does.
_TOLD = (
    *("score", "log_prob", "mean_log_prob", "tokens", "token_log_probs", "cut", "split", "alignment", "alternatives"),
    *("constraints_met", "constraints_required", "terms_kept", "terms_found"),
)

# Python reads and writes JSON only so deep as its stack has room (1,000 calls and levels): a line with so many brackets
# is read with some levels more, so that it can be written where more of the stack is taken.
_MANY_BRACKETS = 500
_DEPTH_TO_SPARE = 20


def load_object(line: str) -> dict[str, Any]:
    """Return the object that a line of JSON holds, if JSON can say it again.

    Raises:
        MalformedError: It is no JSON, no object, or one that cannot be written again.
    """
    try:
        value = json.loads(line, parse_float=_read_float, parse_constant=_refuse_constant)
        if line.count("[") + line.count("{") > _MANY_BRACKETS:
            json.loads("[" * _DEPTH_TO_SPARE + line + "]" * _DEPTH_TO_SPARE)
    except MalformedError:
        raise
    except (ValueError, RecursionError) as exc:
        raise MalformedError(_explain(exc)) from exc
    if not isinstance(value, dict):
        raise MalformedError("not a JSON object")
    return value


def dump_json(value: dict[str, Any]) -> str:
    """Return an object as one line of JSON that UTF-8 can write."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        # What is passed through may hold half of a surrogate pair, which only JSON's own escapes can write.
        return json.dumps(value)
    return text


def leave_out_answer(fields: Mapping[str, Any], told: Collection[str] = _TOLD) -> dict[str, Any]:
    """Return what a line held, without what an earlier answer of mtkit's told of a translation, or why there was none.

    A person's own score, say, is no such answer: it stays where there is no `log_prob` beside it.

    Args:
        fields: What the line held, by name.
        told: What is told anew.
    """
    left_out: set[str] = set()
    if "log_prob" in fields:
        left_out = {*told, "error"}
    elif fields.get("translation") == "":
        left_out = {"error"}
    return {name: value for name, value in fields.items() if name not in left_out}


def _explain(exc: ValueError | RecursionError) -> str:
    """Return why Python's reader refused a line."""
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    if isinstance(exc, json.JSONDecodeError):
        return "not JSON: a byte order mark" if exc.doc.startswith("\ufeff") else f"not JSON: {exc.msg}"
    return "a number has too many digits"  # Python reads whole numbers of up to 4,300


def _read_float(text: str) -> float:
    """Return a number that JSON can write again.

    Raises:
        MalformedError: It is too large for one.
    """
    value = float(text)
    if math.isinf(value):
        raise MalformedError(f"the number {text} is too large")
    return value


def _refuse_constant(name: str) -> None:
    """Refuse what Python reads and writes as a number, but no other reader of JSON.

    Raises:
        MalformedError: Always.
    """
    raise MalformedError(f"not JSON: {name} is no value")
