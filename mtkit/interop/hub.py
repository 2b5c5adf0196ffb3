"""Fetches a Marian model from the Hugging Face hub, or from the cache of what was fetched before."""

from __future__ import annotations

import re
from pathlib import Path

from mtkit.checkpoint.model_folder import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME
from mtkit.corpus.tokenizer import SOURCE_FILE, TARGET_FILE
from mtkit.corpus.vocab_tokenizer import TABLE_FILE, TARGET_TABLE_FILE
from mtkit.errors import ModelError, first_line
from mtkit.interop.marian_config import GENERATION_NAME
from mtkit.interop.marian_export import TOKENIZER_NAME
from mtkit.interop.marian_import import PICKLE_NAME, refuse_pickle

_FILES = (
    CONFIG_NAME, GENERATION_NAME, TOKENIZER_NAME, SOURCE_FILE, TARGET_FILE, TABLE_FILE, TARGET_TABLE_FILE, CARD_NAME,
    WEIGHTS_NAME, "*.index.json",
)  # fmt: skip


def is_hub_name(model: str) -> bool:
    """Return whether `model` has the form of a name on the hub: `owner/name`."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", model) is not None


def fetch_model(name: str, revision: str | None = None, *, allow_pickle: bool = False) -> Path:
    """Return a folder with the files of a model of the hub.

    Args:
        name: `owner/name`.
        revision: Branch, tag or commit; None for the main branch.
        allow_pickle: Fetch `pytorch_model.bin` where there is no `model.safetensors`.

    Raises:
        ModelError: There is no such model, it cannot be fetched, or its weights are a pickle alone.
    """
    try:
        return _download(name, revision, allow_pickle)
    except ModelError:
        raise
    except Exception as exc:
        raise _explain(exc, name, revision) from exc


def _download(name: str, revision: str | None, allow_pickle: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(_FILES)))
    if (folder / WEIGHTS_NAME).is_file():
        return folder
    if allow_pickle:
        return Path(snapshot_download(name, revision=revision, allow_patterns=[*_FILES, PICKLE_NAME]))
    if PICKLE_NAME in HfApi().list_repo_files(name, revision=revision):
        raise refuse_pickle(name)
    return folder


def _explain(exc: Exception, name: str, revision: str | None) -> ModelError:
    """Turn whatever `huggingface_hub` raised into one line with a remedy."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    instead = "or copy the model's files here and give the folder"
    refusal = exc.__cause__ if isinstance(exc, LocalEntryNotFoundError) else exc
    match exc:
        case GatedRepoError():
            message, fix = "its owner must grant you access first", "ask there, then: hf auth login"
        case RevisionNotFoundError():
            message, fix = f"the model has no revision '{revision}'", "leave --revision out"
        case RepositoryNotFoundError() | HFValidationError():
            message = "neither a folder here nor a model of the hub"
            fix = "check the name; a private model needs: hf auth login"
        case _ if isinstance(refusal, HfHubHTTPError):
            message = f"the hub answers with HTTP status {refusal.response.status_code}: {first_line(refusal)}"
            fix = f"try again later, check your access (hf auth login), {instead}"
        case LocalEntryNotFoundError() | ConnectionError():
            message = "the hub cannot be reached, and the model is not in its cache"
            fix = f"try again later, {instead}"
        case ValueError() | TypeError():
            message = f"the hub's answer is not what it should be: {first_line(exc)}"
            fix = f"see whether a proxy or a login page answers in its place, {instead}"
        case _:
            message = f"the model cannot be fetched: {first_line(exc)}"
            fix = f"check the network and the cache of the hub (HF_HOME), {instead}"
    return ModelError(message, at=name, fix=fix)
