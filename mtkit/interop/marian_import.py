"""Makes a model folder of mtkit from a Marian model of transformers, such as those of OPUS-MT."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from mtkit.checkpoint.model_folder import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME, ModelParts
from mtkit.checkpoint.weights import check_weights, read_tensors
from mtkit.config.model import ModelConfig
from mtkit.config.model_folder import ModelFolderConfig
from mtkit.corpus.tokenizer import SOURCE_FILE, TARGET_FILE, Tokenizer
from mtkit.corpus.vocab_tokenizer import TABLE_FILE, VocabTokenizer
from mtkit.errors import ModelError, OutputError
from mtkit.interop.marian_config import MarianConfig, build_imported_config, read_marian_config
from mtkit.interop.marian_export import TOKENIZER_NAME
from mtkit.interop.marian_restore import restore, restore_tags
from mtkit.interop.marian_weights import from_marian
from mtkit.interop.output import write_plain_model
from mtkit.interop.restricted_weights import read_pickled_tensors
from mtkit.model.transformer import build_model
from mtkit.runtime.files import read_json
from mtkit.version import __version__

PICKLE_NAME = "pytorch_model.bin"

_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


@dataclass(frozen=True)
class Imported:
    """What became of a Marian model.

    Attributes:
        is_new: False where the same model stood there already.
        config: What the model folder says.
        tags: Those of the source vocabulary, such as `>>deu<<`.
        never: Pieces that the model's files forbid to produce, and mtkit does not by itself.
    """

    is_new: bool
    config: ModelFolderConfig
    tags: list[str]
    never: list[str]


def import_marian(
    folder: Path,
    output: Path,
    name: str,
    *,
    allow_pickle: bool = False,
    source_language: str | None = None,
    target_language: str | None = None,
    overwrite: bool = False,
) -> Imported:
    """Write a Marian model of transformers as a model folder of mtkit.

    Args:
        folder: What `save_pretrained` wrote, or the hub holds.
        output: The folder to write, whole or not at all.
        name: What to call the model in its card.
        allow_pickle: Read `pytorch_model.bin`, through torch's restricted loader, where there is nothing else.
        source_language: BCP-47; None for what `tokenizer_config.json` says.
        target_language: The same of the target.
        overwrite: Replace a model folder of mtkit that stands at `output`. Anything else is never replaced.

    Raises:
        ModelError: It is no such model, is damaged, holds only a pickle, or has what mtkit lacks.
        RecipeError: Another model stands at `output`.
        OutputError: `output` is something else, or cannot be written.
    """
    _refuse_foreign_model(output)
    marian = read_marian_config(folder)
    tokenizers = _read_tokenizers(folder, marian)
    config = build_imported_config(marian, tokenizers[0].unk_id, folder / CONFIG_NAME)
    _check_tokenizers(tokenizers, config, folder)
    path = _find_weights(folder, allow_pickle)
    tensors = read_tensors(path) if path.name == WEIGHTS_NAME else read_pickled_tensors(path)
    weights = from_marian(tensors, config, path)
    check_weights(build_model(config, is_drawn=False), weights, path)
    config, weights, tokenizers = restore(folder, config, weights, tokenizers)
    languages = _find_languages(folder)
    folder_config = ModelFolderConfig(
        mtkit_version=__version__,
        source_language=source_language or languages[0],
        target_language=target_language or languages[1],
        tags=restore_tags(folder, tokenizers[0]),
        model=config,
    )
    parts = ModelParts(folder_config, *tokenizers)
    is_new = write_plain_model(output, parts, weights, _build_card(folder, name, parts), overwrite=overwrite)
    return Imported(is_new, folder_config, _list_tags(tokenizers[0]), _find_forbidden(marian, config, tokenizers[1]))


def _refuse_foreign_model(output: Path) -> None:
    """Refuse to write over a model that mtkit did not make: its folder has files of the same names."""
    path = output / CONFIG_NAME
    try:
        is_ours = not path.exists() or "mtkit_version" in read_json(path)
    except (OSError, ValueError):
        is_ours = False
    if not is_ours:
        raise OutputError(
            "a model that mtkit did not make stands there, and is left alone",
            at=output,
            fix="choose another folder with -o",
        )


def _find_weights(folder: Path, allow_pickle: bool) -> Path:
    """Return the file of a folder's weights."""
    path, pickled = folder / WEIGHTS_NAME, folder / PICKLE_NAME
    if path.is_file():
        return path
    if pickled.is_file():
        if not allow_pickle:
            raise refuse_pickle(pickled)
        return pickled
    if shards := sorted(folder.glob("*.index.json")):
        raise ModelError(
            "the weights lie in several files",
            at=shards[0],
            fix="make one of them with transformers: model.save_pretrained(folder, max_shard_size='100GB')",
        )
    raise ModelError(f"no {WEIGHTS_NAME} here", at=folder, fix="copy the model again, whole")


def refuse_pickle(path: Path | str) -> ModelError:
    """Return the error of a model whose weights are a pickle alone; it says why mtkit asks before reading it."""
    return ModelError(
        f"there is no {WEIGHTS_NAME}, only {PICKLE_NAME}: a pickle, which can hold code that runs when it is opened",
        at=path,
        fix="add --allow-bin to convert it through torch's restricted loader, which makes tensors and nothing else",
    )


def _read_tokenizers(folder: Path, marian: MarianConfig) -> tuple[Tokenizer, Tokenizer]:
    for name in (SOURCE_FILE, TARGET_FILE, TABLE_FILE):
        if not (folder / name).is_file():
            raise ModelError(f"no {name} here", at=folder, fix="copy the model again, whole")
    source, target = Tokenizer.load(folder / SOURCE_FILE), Tokenizer.load(folder / TARGET_FILE)
    if marian.share_encoder_decoder_embeddings and not source.shares_ids(target):
        raise ModelError(
            "one matrix of embeddings serves both sides, and they have two tables of ids",
            at=folder,
            fix="use the files of one model",
        )
    return source, target


def _check_tokenizers(tokenizers: tuple[Tokenizer, Tokenizer], config: ModelConfig, folder: Path) -> None:
    """Refuse tables of ids that are not those of the model."""
    for side, tokenizer, size in zip(
        ("source", "target"), tokenizers, (config.src_vocab_size, config.tgt_vocab_size), strict=True
    ):
        if not tokenizer.fits(size):
            raise ModelError(
                f"the table of ids of the {side} goes up to {len(tokenizer) - 1:,}, and the model to {size - 1:,}",
                at=folder,
                fix="use the files of one model",
            )
        wanted = {"pad": config.pad_id, "unk": config.unk_id, "eos": config.eos_id}
        differing = [name for name, value in wanted.items() if tokenizer.special_ids[name] != value]
        if differing:
            raise ModelError(
                f"{' and '.join(differing)} of the {side} have other ids in the table than in config.json",
                at=folder,
                fix="use the files of one model",
            )


def _find_languages(folder: Path) -> tuple[str | None, str | None]:
    """Return the languages that `tokenizer_config.json` names."""
    try:
        raw = read_json(folder / TOKENIZER_NAME)
    except (OSError, ValueError):
        return None, None
    source, target = (raw.get(name) for name in ("source_lang", "target_lang"))
    return (source if isinstance(source, str) else None, target if isinstance(target, str) else None)


def _list_tags(tokenizer: Tokenizer) -> list[str]:
    return tokenizer.list_tags() if isinstance(tokenizer, VocabTokenizer) else []


def _find_forbidden(marian: MarianConfig, config: ModelConfig, tokenizer: Tokenizer) -> list[str]:
    """Return the pieces that the model's files forbid, but for those that mtkit never produces."""
    forbidden = marian.forbidden_ids - {config.pad_id, config.bos_id}
    return tokenizer.pieces(sorted(token_id for token_id in forbidden if token_id < len(tokenizer)))


def _build_card(folder: Path, name: str, parts: ModelParts) -> str:
    """Return the README of an imported model, with the licence of the original, if its README names one."""
    config = parts.config.model
    licence = _read_licence(folder / CARD_NAME)
    lines = [
        f"# Translation model {parts.config.source_language or '?'}-{parts.config.target_language or '?'}",
        "",
        f"Imported from {name} by mtkit {__version__}: a Transformer of the Marian family with "
        f"{config.num_encoder_layers} encoder and {config.num_decoder_layers} decoder layers, {config.d_model} wide, "
        f"feed-forward {config.d_ff}, {config.num_heads} heads, vocabulary {config.tgt_vocab_size:,}.",
        f"Licence: {licence or 'see the original'}.",
        "",
        "```",
        "mtkit translate --model THIS_FOLDER input.txt",
        "```",
        "",
    ]
    return "\n".join(lines)


def _read_licence(card: Path) -> str | None:
    """Return the licence that the front matter of a model card names."""
    try:
        found = _FRONT_MATTER.match(card.read_text(encoding="utf-8"))
        front = yaml.safe_load(found[1]) if found else None
    except (OSError, ValueError, yaml.YAMLError):
        return None
    licence = front.get("license") if isinstance(front, dict) else None
    return licence if isinstance(licence, str) else None
