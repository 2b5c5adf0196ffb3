"""The command `mtkit serve`."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtkit.cli.options import (
    MORE_OPTIONS,
    DecodingRecipeOption,
    DeviceOption,
    PrecisionOption,
    QuietOption,
    SetOption,
    ThreadsOption,
    gather,
    recipe_option,
)
from mtkit.config.decoding import DecodingSection
from mtkit.errors import ModelError, RecipeError
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName
from mtkit.runtime.extras import import_extra

if TYPE_CHECKING:
    from mtkit.decoding.request import Request
    from mtkit.decoding.translation import Translation
    from mtkit.documents.document import Document, Segment, TranslatedSegment
    from mtkit.serving.models import Models
    from mtkit.serving.service import TranslateLines

_LIMITS = "Limits"


def serve(
    model: Annotated[
        list[Path],
        typer.Option(
            "--model",
            "-m",
            help="Run or model folder; given several times, a model for each direction.",
            show_default=False,
        ),
    ],
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for all of this machine's.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes one that is free.")
    ] = 5000,
    api_keys: Annotated[
        Path | None,
        typer.Option("--api-keys", help="File with a key a line; requests need one of them. [default: open to all]"),
    ] = None,
    max_characters: Annotated[
        int,
        typer.Option("--max-characters", min=1, help="Characters of a request, at most.", rich_help_panel=_LIMITS),
    ] = 20_000,
    max_batch: Annotated[
        int, typer.Option("--max-batch", min=1, help="Texts of a request, at most.", rich_help_panel=_LIMITS)
    ] = 500,
    max_queue: Annotated[
        int,
        typer.Option("--max-queue", min=1, help="Lines of all requests that wait, at most.", rich_help_panel=_LIMITS),
    ] = 2_000,
    time_limit: Annotated[
        float, typer.Option("--time-limit", min=0.1, help="Seconds for a request, at most.", rich_help_panel=_LIMITS)
    ] = 60.0,
    beam_size: Annotated[int | None, recipe_option("decoding.beam_size", "--beam-size", panel=MORE_OPTIONS)] = None,
    tag: Annotated[str | None, recipe_option("decoding.tag", "--tag", panel=MORE_OPTIONS)] = None,
    batch_size: Annotated[int | None, recipe_option("decoding.batch_size", "--batch-size", panel=MORE_OPTIONS)] = None,
    precision: PrecisionOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    recipe: DecodingRecipeOption = None,
    set_values: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Serve translations over HTTP, with the API of LibreTranslate and a page for people.

    Example: `mtkit serve --model en-de --model de-en --port 5000`

    What arrives together is translated together; each result is that of `mtkit translate`. SIGTERM or Ctrl-C finishes
    what is in flight.
    """
    flags = {
        "decoding.beam_size": ("--beam-size", beam_size),
        "decoding.tag": ("--tag", tag),
        "decoding.batch_size": ("--batch-size", batch_size),
        "decoding.precision": ("--precision", precision),
    }
    decoding = gather(recipe, set_values, flags).decoding
    _check(decoding)
    for name in ("fastapi", "uvicorn"):
        import_extra(name, "serve", "the server", "mtkit serve")

    directions = _read_directions(model)

    from mtkit.serving.api_keys import read_api_keys
    from mtkit.serving.engine import Engine
    from mtkit.serving.limits import Limits
    from mtkit.serving.server import name_address, open_socket
    from mtkit.serving.server import serve as run_server
    from mtkit.serving.service import Server

    keys = None if api_keys is None else read_api_keys(api_keys)
    listener = open_socket(host, port)
    with listener:
        models = _load(model, directions, decoding, device, threads)
        limits = Limits(max_characters, max_batch, max_queue, time_limit)
        engine = Engine(models.translate, models.window_lines, models.window_characters, max_queue)
        names = ", ".join(f"{one.source}-{one.target} ({one.path})" for one in models.models)
        if keys is None and not _is_loopback(listener.getsockname()[0]):
            console.warn("whoever reaches this address may translate; --api-keys FILE asks for a key")
        console.say(f"serving {names} at {name_address(listener)}")
        run_server(Server(models, engine, limits, keys, translate_html), listener)


def _check(decoding: DecodingSection) -> None:
    """Refuse what does not fit a server.

    Raises:
        RecipeError: There is something.
    """
    for name, is_on in (("mbr", decoding.mbr is not None), ("expand_prefix", decoding.expand_prefix)):
        if is_on:
            raise RecipeError("the server cannot do this", at=f"decoding.{name}", fix="turn it off")


def _read_directions(paths: list[Path]) -> list[tuple[str, str]]:
    """Return source and target language of each model, before any weights are read.

    Raises:
        ModelError: There is no model, it does not tell its languages, or two have the same.
    """
    from mtkit.cli.models import read_config
    from mtkit.serving.models import check_directions

    directions = []
    for path in paths:
        config = read_config(path)
        source, target = config.source_language, config.target_language
        if not source or not target:
            raise ModelError(
                "the model does not tell its languages",
                at=path,
                fix='set "source_language" and "target_language" in its config.json',
            )
        directions.append((source, target))
    check_directions([(*direction, path) for direction, path in zip(directions, paths, strict=True)])
    return directions


def _load(
    paths: list[Path],
    directions: list[tuple[str, str]],
    decoding: DecodingSection,
    device: DeviceName,
    threads: int | None,
) -> Models:
    from mtkit.cli.models import load_translator, warn_of_missing_tag
    from mtkit.serving.models import Models, ServedModel

    served = []
    for (source, target), path in zip(directions, paths, strict=True):
        warn_of_missing_tag(path, decoding.tag)
        translator = load_translator([path], decoding, device, threads)
        translator.start_processes()
        served.append(ServedModel(source, target, path, translator))
    return Models(served)


@dataclass
class _Lines:
    """Translates the lines of a document as `mtkit.documents` asks for it."""

    translate: TranslateLines
    window_lines: int = 1 << 20  # all at once: the server makes the windows

    def translate_window(
        self, window: Sequence[str | Request], advance: Callable[[int], None] | None = None
    ) -> Iterator[Translation]:
        """Yield the translation of each line, in order."""
        from mtkit.decoding.request import to_request

        yield from self.translate([to_request(line) for line in window])


@dataclass
class _Texts:
    """Several documents as one, so that their lines are translated together."""

    documents: Sequence[Document]
    written: list[bytes] = field(default_factory=list)

    @property
    def segments(self) -> Sequence[Segment]:
        """What is to be translated, in order."""
        return [segment for document in self.documents for segment in document.segments]

    def render(self, translations: Sequence[TranslatedSegment | None]) -> bytes:
        """Write each document with its translations; see `mtkit.documents.document.Document`."""
        place = 0
        for document in self.documents:
            end = place + len(document.segments)
            self.written.append(document.render(translations[place:end]))
            place = end
        return b"".join(self.written)


def translate_html(texts: Sequence[str], language: str, translate: TranslateLines) -> list[str]:
    """Return the translations of HTML texts, whose lines `translate` translates.

    Raises:
        DataError: The package that cuts text into sentences is missing.
    """
    from mtkit.documents.html import read_html
    from mtkit.documents.pipeline import translate_document

    # The mark overrules what encoding a text may declare; it was decoded before.
    documents = _Texts([read_html(text.encode("utf-8-sig", "replace"), language) for text in texts])
    translate_document(documents, _Lines(translate))
    return [content.decode("utf-8-sig") for content in documents.written]


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback
