"""What the API does: parameters in, translations or a refusal out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from mtkit.decoding.request import Request as LineRequest
from mtkit.decoding.translation import Translation
from mtkit.errors import MtkitError
from mtkit.serving.api_keys import ApiKeys
from mtkit.serving.engine import Engine
from mtkit.serving.fair_queue import Kind
from mtkit.serving.language_names import name_language
from mtkit.serving.limits import Limits
from mtkit.serving.models import Models
from mtkit.serving.parameters import TranslateParameters, parse_body, read_key, read_texts, read_translate
from mtkit.serving.refusal import RefusedError
from mtkit.serving.responses import as_json, refuse
from mtkit.serving.session import HungUpError, Session
from mtkit.serving.texts import Answer, Text

# Translates lines, with links between words, in order.
TranslateLines = Callable[[Sequence[LineRequest]], list[Translation]]
# Translates HTML texts of a language by translating the lines of all of them.
TranslateHtml = Callable[[Sequence[str], str, TranslateLines], list[str]]

# Milliseconds that a page waits after a key was pressed.
_TYPING_PAUSE = 300
_CERTAIN = 100.0


@dataclass
class Server:
    """What the routes share.

    Attributes:
        models: One for each direction.
        engine: Translates.
        limits: Of requests.
        keys: One of which each request needs; None for a server that is open.
        translate_html: None where HTML is refused.
        num_open: Requests that are being answered.
        is_stopping: Whether new ones are refused.
    """

    models: Models
    engine: Engine
    limits: Limits
    keys: ApiKeys | None = None
    translate_html: TranslateHtml | None = None
    num_open: int = 0
    is_stopping: bool = False

    @property
    def max_alternatives(self) -> int:
        """Alternatives that every model can give."""
        return min(model.max_alternatives for model in self.models.models)

    async def answer(self, request: Request, work: Callable[[dict[str, Any], Session], Awaitable[Any]]) -> Response:
        """Return the answer to a request: what `work` makes of its parameters, or why it is refused."""
        if self.is_stopping:
            return refuse(RefusedError(503, "the server is shutting down", 5))
        self.num_open += 1
        try:
            session = Session(
                self.engine, request.client.host if request.client else "", self.limits.time_limit_seconds
            )
            try:
                body = await asyncio.wait_for(self._read_body(request), session.seconds_left)
            except TimeoutError as exc:
                raise RefusedError(408, "the request did not arrive in time") from exc
            parameters = parse_body(body, request.headers.get("content-type", ""), request.url.query)
            self._check_key(parameters, request, session)
            return as_json(await session.run(work(parameters, session), lambda: _wait_until_gone(request)))
        except RefusedError as refusal:
            return refuse(refusal)
        except (HungUpError, ClientDisconnect):
            return Response(status_code=499)
        finally:
            self.num_open -= 1

    async def _read_body(self, request: Request) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self.limits.max_body_bytes:
                raise RefusedError(
                    413, f"Invalid request: the body exceeds the limit ({self.limits.max_body_bytes} bytes)"
                )
        return bytes(body)

    def _check_key(self, parameters: dict[str, Any], request: Request, session: Session) -> None:
        """Refuse a request without a valid key, with LibreTranslate's status codes; clients are told apart by it."""
        if self.keys is None:
            return
        key = read_key(parameters, request.headers.get("authorization", ""))
        if key is None:
            raise RefusedError(400, "Please contact the server operator to get an API key")
        if key not in self.keys:
            raise RefusedError(403, "Invalid API key")
        session.client = f"key {key}"

    async def translate(self, raw: dict[str, Any], session: Session) -> dict[str, Any]:
        """Return the answer of `/translate`."""
        wanted = read_translate(raw, self.limits)
        number = self.models.find(wanted.source, wanted.target)
        model = self.models.models[number]
        if wanted.num_alternatives > model.max_alternatives:
            raise RefusedError(
                400,
                f"Invalid request: alternatives ({wanted.num_alternatives}) exceed limit ({model.max_alternatives})",
            )
        if wanted.is_html:
            found = await self._translate_html(wanted, number, session)
            result = _describe(wanted, [[Answer(text)] for text in found])  # of HTML there are no alternatives
        else:
            result = _describe(wanted, await self._translate_text(wanted, number, session))
        if wanted.source == "auto":
            result["detectedLanguage"] = [{"confidence": _CERTAIN, "language": model.source} for _ in wanted.texts]
        return result if wanted.is_list else {name: of_each[0] for name, of_each in result.items()}

    async def _translate_text(self, wanted: TranslateParameters, number: int, session: Session) -> list[list[Answer]]:
        texts = [Text(text) for text in wanted.texts]
        kind = Kind(number, 1 + wanted.num_alternatives, wanted.align)
        found = await session.translate(kind, [request for text in texts for request in text.requests])
        answers = []
        for text in texts:
            answers.append(text.join(found[: len(text.requests)]))
            del found[: len(text.requests)]
        return answers

    async def _translate_html(self, wanted: TranslateParameters, number: int, session: Session) -> list[str]:
        if self.translate_html is None:
            raise RefusedError(400, "html format is not supported")

        model = self.models.models[number]
        # As `mtkit translate` does: of the other hypotheses one may have kept a placeholder that the best one lost.
        kind = Kind(number, 1 + model.max_alternatives, align=True)

        def translate_lines(lines: Sequence[LineRequest]) -> list[Translation]:
            return session.translate_here(kind, lines)

        try:
            return await asyncio.to_thread(self.translate_html, wanted.texts, model.source, translate_lines)
        except MtkitError as exc:
            raise RefusedError(400, f"Cannot translate text: {exc.message}") from exc

    async def detect(self, raw: dict[str, Any], session: Session) -> list[dict[str, Any]]:
        """Return the answer of `/detect`: the languages that this server translates from, none likelier."""
        read_texts(raw, self.limits)
        sources = self.models.sources
        return [{"confidence": round(_CERTAIN / len(sources), 1), "language": code} for code in sources]

    def describe_settings(self) -> dict[str, Any]:
        """Return the answer of `/frontend/settings`."""
        first = self.models.models[0]
        return {
            "apiKeys": self.keys is not None,
            "keyRequired": self.keys is not None,
            "charLimit": self.limits.max_characters,
            "batchLimit": self.limits.max_batch,
            "alternativesLimit": self.max_alternatives,
            "frontendTimeout": _TYPING_PAUSE,
            "filesTranslation": False,
            "supportedFilesFormat": [],
            "suggestions": False,
            "language": {
                side: {"code": code, "name": name_language(code)}
                for side, code in (("source", first.source), ("target", first.target))
            },
        }


def _describe(wanted: TranslateParameters, answers: Sequence[Sequence[Answer]]) -> dict[str, Any]:
    """Return the translations as lists, an entry for each text."""
    result: dict[str, Any] = {"translatedText": [best.text for best, *_ in answers]}
    if wanted.num_alternatives:
        result["alternatives"] = [[other.text for other in others] for _, *others in answers]
    if wanted.align:
        result["alignment"] = [best.alignment for best, *_ in answers]
        if wanted.num_alternatives:
            result["alternativeAlignments"] = [[other.alignment for other in others] for _, *others in answers]
    return result


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
