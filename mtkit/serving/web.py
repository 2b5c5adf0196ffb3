"""The pages of a server: the translator at `/`, and the description of the API at `/docs`.

They ask nobody but this server for anything; a content security policy forbids it.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException

from mtkit.serving.reference import build_reference

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

# Assets by the name under which they are served: package and file. base.css is what all of mtkit's pages share.
_ASSETS = {
    "base.css": "mtkit.pages",
    "translate.css": "mtkit.serving",
    "translate.js": "mtkit.serving",
    "reference.css": "mtkit.serving",
}
_TYPES = {"css": "text/css", "js": "text/javascript"}


def add_pages(app: FastAPI) -> None:
    """Add the routes of the pages to an application."""

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return _build_response(read_asset("mtkit.serving", "translate.html"), "text/html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return _build_response(build_reference(app.openapi()), "text/html")

    @app.get("/assets/{name}", include_in_schema=False)
    async def assets(name: str) -> Response:
        if name not in _ASSETS:
            raise HTTPException(404, "Not Found")
        return _build_response(read_asset(_ASSETS[name], name), _TYPES[name.rpartition(".")[2]])


@cache
def read_asset(package: str, name: str) -> str:
    """Return the text of a file of a package's `assets`."""
    return (resources.files(package) / "assets" / name).read_text(encoding="utf-8")


def _build_response(text: str, kind: str) -> Response:
    return Response(text, media_type=kind, headers=_HEADERS)
