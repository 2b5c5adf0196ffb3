"""Fetches a Marian model from the Hugging Face hub, or from the cache of what was fetched before."""

from __future__ import annotations

import re
from pathlib import Path

from mtkit.checkpoint.model_folder import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME
from mtkit.corpus.tokenizer import SOURCE_FILE, TARGET_FILE
from mtkit.corpus.vocab_tokenizer import TABLE_FILE, TARGET_TABLE_FILE
from mtkit.errors import ModelError
from mtkit.interop.marian_config import GENERATION_NAME
from mtkit.interop.marian_export import TOKENIZER_NAME
from mtkit.interop.marian_import import PICKLE_NAME, refuse_pickle

_FILES = (
    CONFIG_NAME, GENERATION_NAME, TOKENIZER_NAME, SOURCE_FILE, TARGET_FILE, TABLE_FILE, TARGET_TABLE_FILE, CARD_NAME,
    WEIGHTS_NAME,
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
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(_FILES)))
        if not (folder / WEIGHTS_NAME).is_file():
            if not allow_pickle:
                raise refuse_pickle(name)
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=[*_FILES, PICKLE_NAME]))
    except GatedRepoError as exc:
        raise ModelError(
            "its owner must grant you access first", at=name, fix="ask there, then: hf auth login"
        ) from exc
    except RevisionNotFoundError as exc:
        raise ModelError(f"the model has no revision '{revision}'", at=name, fix="leave --revision out") from exc
    except (RepositoryNotFoundError, HFValidationError) as exc:
        raise ModelError(
            "neither a folder here nor a model of the hub",
            at=name,
            fix="check the name; a private model needs: hf auth login",
        ) from exc
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as exc:
        raise ModelError(
            "the hub cannot be reached, and the model is not in its cache",
            at=name,
            fix="try again later, or copy the model's files here and give the folder",
        ) from exc
    return folder
