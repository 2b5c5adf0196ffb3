"""What a request asks for: JSON, a form or a query, as LibreTranslate takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl

from mtkit.serving.limits import Limits
from mtkit.serving.refusal import RefusedError

_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off", ""}
_MAX_FIELDS = 100


@dataclass(frozen=True)
class TranslateParameters:
    """What `/translate` is asked.

    Attributes:
        texts: To translate.
        is_list: Whether `q` was a list, so that the answer is one.
        source: Language code or `auto`.
        target: Language code.
        is_html: Whether the texts are HTML.
        num_alternatives: Alternatives wanted beside the best translation.
        align: Whether words are to be linked.
    """

    texts: tuple[str, ...]
    is_list: bool
    source: str
    target: str
    is_html: bool = False
    num_alternatives: int = 0
    align: bool = False


def parse_body(body: bytes, content_type: str, query: str) -> dict[str, Any]:
    """Return the parameters of a request by name: those of the query, and over them those of the body.

    Args:
        body: As it came.
        content_type: The header, or "".
        query: What stands behind the `?`, or "".

    Raises:
        RefusedError: 400 if the body is not what its type says.
    """
    kind = content_type.partition(";")[0].strip().lower()
    parameters: dict[str, Any] = _parse_form(query)
    try:
        if kind == "application/json" or kind.endswith("+json"):
            parameters |= _parse_json(body)
        elif kind == _FORM:
            parameters |= _normalize_ends(_parse_form(body.decode()))
        elif kind == _MULTIPART:
            parameters |= _normalize_ends(_parse_multipart(body, content_type))
    except UnicodeDecodeError as exc:
        raise RefusedError(400, "Invalid request: the body is not UTF-8") from exc
    return parameters


def _parse_json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body.decode())
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError) as exc:
        raise RefusedError(400, "Invalid JSON format") from exc
    if not isinstance(found, dict):
        raise RefusedError(400, "Invalid JSON format")
    return found


def _parse_form(text: str) -> dict[str, Any]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as exc:
        raise RefusedError(400, "Invalid request: not a form") from exc
    return dict(reversed(pairs))  # of a name given twice, the first counts


def _parse_multipart(body: bytes, content_type: str) -> dict[str, Any]:
    header = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    parts = message_from_bytes(header + body).get_payload()
    if not isinstance(parts, list):
        raise RefusedError(400, "Invalid request: not a form")
    parameters: dict[str, Any] = {}
    for part in parts[:_MAX_FIELDS]:
        if not isinstance(part, Message):
            continue
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(value, bytes):
            parameters.setdefault(name, value.decode())
    return parameters


def _normalize_ends(parameters: dict[str, Any]) -> dict[str, Any]:
    r"""Return the parameters of a form, whose line ends are \r\n by its standard, with plain ones."""
    return {name: value.replace("\r\n", "\n") for name, value in parameters.items()}


def read_key(parameters: Mapping[str, Any], authorization: str) -> str | None:
    """Return the API key of a request: its parameter `api_key`, else the header `Authorization: Bearer KEY`."""
    key = parameters.get("api_key")
    if isinstance(key, str) and key:
        return key
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def read_texts(parameters: Mapping[str, Any], limits: Limits) -> tuple[tuple[str, ...], bool]:
    """Return the texts of `q`, and whether it is a list.

    Raises:
        RefusedError: 400 if there is none, 413 if there is too much.
    """
    q = parameters.get("q")
    if not q:
        raise RefusedError(400, "Invalid request: missing q parameter")
    texts = tuple(q) if isinstance(q, list) else (q,)
    if not all(isinstance(text, str) for text in texts):
        raise RefusedError(400, "Invalid request: q must be a string or a list of strings")
    if len(texts) > limits.max_batch:
        raise RefusedError(
            413, f"Invalid request: request ({len(texts)} texts) exceeds text limit ({limits.max_batch})"
        )
    num_characters = sum(map(len, texts))
    if num_characters > limits.max_characters:
        raise RefusedError(
            413, f"Invalid request: request ({num_characters} characters) exceeds text limit ({limits.max_characters})"
        )
    return texts, isinstance(q, list)


def read_translate(parameters: Mapping[str, Any], limits: Limits) -> TranslateParameters:
    """Return what `/translate` is asked.

    Raises:
        RefusedError: 400 if a parameter is missing or wrong, 413 if there is too much text.
    """
    texts, is_list = read_texts(parameters, limits)
    text_format = _read_string(parameters, "format", "text")
    if text_format not in ("text", "html"):
        raise RefusedError(400, f"{text_format} format is not supported")
    return TranslateParameters(
        texts,
        is_list,
        _read_string(parameters, "source"),
        _read_string(parameters, "target"),
        text_format == "html",
        _read_count(parameters, "alternatives"),
        _read_switch(parameters, "alignment"),
    )


def _read_string(parameters: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = parameters.get(name)
    if not value and default is not None:
        return default
    if not value:
        raise RefusedError(400, f"Invalid request: missing {name} parameter")
    if not isinstance(value, str):
        raise RefusedError(400, f"Invalid request: {name} must be a string")
    return value


def _read_count(parameters: Mapping[str, Any], name: str) -> int:
    value = parameters.get(name)
    if value is None or value == "":
        return 0
    text = str(value)
    if isinstance(value, bool) or len(text) > 9 or not (text.isascii() and text.isdigit()):
        raise RefusedError(400, f"Invalid request: {name} must be a number from 0")
    return int(text)


def _read_switch(parameters: Mapping[str, Any], name: str) -> bool:
    value = parameters.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise RefusedError(400, f"Invalid request: {name} must be true or false")
