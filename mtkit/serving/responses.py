"""Responses as JSON."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Response

from mtkit.serving.refusal import RefusedError

# Pages of other origins may ask, as with LibreTranslate; no cookie or password goes along.
OPEN = {"Access-Control-Allow-Origin": "*"}


def as_json(content: Any, status: int = 200) -> Response:
    """Return a JSON response, whatever characters the content has."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    body = text.encode("utf-8", "replace")  # a lone surrogate has no bytes
    return Response(body, status, OPEN, "application/json")


def refuse(refusal: RefusedError) -> Response:
    """Return the response that tells why a request is refused."""
    response = as_json({"error": refusal.message}, refusal.status)
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response
