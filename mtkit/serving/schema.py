"""What the API takes and gives, for its description (OpenAPI); bodies are read by `mtkit.serving.parameters`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class TranslateBody(BaseModel):
    """What `/translate` takes."""

    q: str | list[str] = Field(description="Text to translate, or a list of texts.", examples=["A dog runs."])
    source: str = Field(
        description="Language code of the source; `auto` where the target leaves only one.", examples=["en"]
    )
    target: str = Field(description="Language code of the translation.", examples=["de"])
    format: Literal["text", "html"] = Field("text", description="Whether `q` is plain text or HTML.")
    alternatives: int = Field(0, ge=0, description="Alternatives wanted beside the best translation; HTML has none.")
    alignment: bool = Field(False, description="Whether to link the words of source and translation; not of HTML.")
    api_key: str | None = Field(None, description="Where the server asks for one; or `Authorization: Bearer KEY`.")


class DetectBody(BaseModel):
    """What `/detect` takes."""

    q: str = Field(description="Any text.", examples=["A dog runs."])
    api_key: str | None = Field(None, description="Where the server asks for one.")


class DetectedLanguage(BaseModel):
    """A language that a text may be in."""

    confidence: float = Field(description="From 0 to 100.")
    language: str = Field(description="Language code.")


class TranslateResult(BaseModel):
    """What `/translate` gives; lists of all this where `q` is a list."""

    translatedText: str | list[str] = Field(description="The best translation.")  # noqa: N815 - the API's name
    alternatives: list[str] | list[list[str]] | None = Field(None, description="Other translations, best first.")
    detectedLanguage: DetectedLanguage | list[DetectedLanguage] | None = Field(  # noqa: N815
        None, description="The source, where `auto` was asked for."
    )
    alignment: list[Any] | None = Field(
        None,
        description="Pairs of words [source, translation] that belong together, from 0; words are what stands between "
        "spaces and line ends.",
    )
    alternativeAlignments: list[Any] | None = Field(None, description="The same of each alternative.")  # noqa: N815


class Language(BaseModel):
    """A language."""

    code: str
    name: str = Field(description="In English.")
    targets: list[str] = Field(description="Codes of the languages that it can be translated into.")


class Health(BaseModel):
    """Whether the server takes requests."""

    status: Literal["ok", "stopping"]


class NamedLanguage(BaseModel):
    """A language by code and name."""

    code: str
    name: str


class LanguagePair(BaseModel):
    """What a page shows first."""

    source: NamedLanguage
    target: NamedLanguage


class Settings(BaseModel):
    """What pages need to know."""

    apiKeys: bool = Field(description="Whether the server knows API keys.")  # noqa: N815
    keyRequired: bool = Field(description="Whether one is needed.")  # noqa: N815
    charLimit: int = Field(description="Characters of a request, at most.")  # noqa: N815
    batchLimit: int = Field(description="Texts of a request, at most.")  # noqa: N815
    alternativesLimit: int = Field(description="Alternatives, at most.")  # noqa: N815
    frontendTimeout: int = Field(description="Milliseconds to wait after a key was pressed.")  # noqa: N815
    filesTranslation: bool = Field(description="Whether files are translated.")  # noqa: N815
    supportedFilesFormat: list[str] = Field(description="Suffixes of files.")  # noqa: N815
    suggestions: bool = Field(description="Whether suggestions are taken.")
    language: LanguagePair


class ErrorResult(BaseModel):
    """Why a request was refused."""

    error: str


def describe_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the part of the description that says what a request's body is: JSON or a form."""
    schema = model.model_json_schema()
    types = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema} for kind in types}}}


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResult, "description": "A parameter is missing or wrong; or the API key is missing."},
    403: {"model": ErrorResult, "description": "The API key is wrong."},
    413: {"model": ErrorResult, "description": "Too many characters or texts."},
    429: {"model": ErrorResult, "description": "Too much is waiting: try again after `Retry-After` seconds."},
    500: {"model": ErrorResult, "description": "The translation failed."},
    503: {"model": ErrorResult, "description": "The server is shutting down."},
    504: {"model": ErrorResult, "description": "It took too long."},
}
