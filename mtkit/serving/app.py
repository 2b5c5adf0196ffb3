"""The HTTP API, compatible with LibreTranslate's, and the pages."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from mtkit.runtime import console
from mtkit.serving.responses import OPEN, as_json
from mtkit.serving.schema import (
    ERRORS,
    DetectBody,
    DetectedLanguage,
    Health,
    Language,
    Settings,
    TranslateBody,
    TranslateResult,
    describe_body,
)
from mtkit.serving.service import Server
from mtkit.serving.web import add_pages
from mtkit.version import __version__


def build_app(server: Server) -> FastAPI:
    """Return the application: the API, its description at `/openapi.json` and `/docs`, and the page at `/`."""
    app = FastAPI(
        title="mtkit",
        version=__version__,
        description="Translation, compatible with the API of LibreTranslate.",
        docs_url=None,  # it would load its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )

    @app.post(
        "/translate",
        summary="Translate text",
        response_model=TranslateResult,
        responses=ERRORS,
        openapi_extra=describe_body(TranslateBody),
    )
    async def translate(request: Request) -> Response:
        return await server.answer(request, server.translate)

    @app.post(
        "/detect",
        summary="List the languages that a text may be in",
        response_model=list[DetectedLanguage],
        responses={code: ERRORS[code] for code in (400, 403, 413)},
        openapi_extra=describe_body(DetectBody),
    )
    async def detect(request: Request) -> Response:
        return await server.answer(request, server.detect)

    @app.get("/languages", summary="List the languages", response_model=list[Language])
    async def languages() -> Response:
        return as_json(server.models.describe())

    @app.get("/frontend/settings", summary="Tell what a page needs to know", response_model=Settings)
    async def frontend_settings() -> Response:
        return as_json(server.describe_settings())

    @app.get(
        "/health",
        summary="Tell whether the server takes requests",
        response_model=Health,
        responses={503: {"model": Health, "description": "The server is shutting down."}},
    )
    async def health() -> Response:
        if server.is_stopping:
            return as_json({"status": "stopping"}, 503)
        return as_json({"status": "ok"})

    add_pages(app)
    for route in list(app.routes):  # by HTTP, where there is GET there is HEAD; watchdogs ask so
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            app.head(route.path, include_in_schema=False)(route.endpoint)

    @app.exception_handler(HTTPException)
    async def refuse_request(request: Request, exc: HTTPException) -> Response:
        response = as_json({"error": str(exc.detail)}, exc.status_code)
        response.headers.update(exc.headers or {})
        return response

    @app.exception_handler(Exception)
    async def report_bug(request: Request, exc: Exception) -> Response:
        console.warn(f"{request.method} {request.url.path} failed: {type(exc).__name__}: {exc}")
        return as_json({"error": "internal error"}, 500)

    async def allow_origin() -> Response:
        headers = {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Max-Age": "86400"}
        headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
        return Response(status_code=204, headers=OPEN | headers)

    for path in ("/translate", "/detect", "/languages", "/frontend/settings", "/health"):
        app.options(path, include_in_schema=False)(allow_origin)

    return app
