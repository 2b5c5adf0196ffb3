"""Hands a model over to transformers: a folder that its `MarianMTModel` and `MarianTokenizer` load.

The folder holds what transformers reads, a model card fit for the hub, and `mtkit.json`, which says what it was made
from and lets `mtkit import` give back the very model.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from mtkit.checkpoint.model_folder import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME, ModelParts, read_parts
from mtkit.checkpoint.run_folder import find_model
from mtkit.checkpoint.weights import check_weights, read_tensors, write_tensors
from mtkit.corpus.spm_file import PieceKind, SpmFile
from mtkit.corpus.tokenizer import SOURCE_FILE, TARGET_FILE, Tokenizer
from mtkit.corpus.vocab_tokenizer import TABLE_FILE, TARGET_TABLE_FILE, VocabTokenizer, is_tag
from mtkit.interop.marian_config import GENERATION_NAME, build_marian_config
from mtkit.interop.marian_weights import to_marian
from mtkit.interop.record import describe_origin, stands_there, write_record
from mtkit.model.transformer import build_model
from mtkit.runtime.files import atomic_folder, write_json
from mtkit.version import __version__

TOKENIZER_NAME = "tokenizer_config.json"

_SHOWN_TAGS = 8
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def export_transformers(path: Path, output: Path, card: str = "", *, overwrite: bool = False) -> bool:
    """Write a model as a folder for transformers; return False if the same export stands there already.

    Args:
        path: A model folder, a run, or a checkpoint of one.
        output: The folder to write, whole or not at all.
        card: The README of the model, which becomes a part of the new one.
        overwrite: Replace an export that stands there. Anything else is never replaced.

    Raises:
        RecipeError: Another export stands at `output`.
        ModelError: There is no model, it is damaged, or transformers cannot compute it.
        OutputError: `output` is something else, or cannot be written.
    """
    folder, weights_path = find_model(path)
    parts = read_parts(folder)
    config = parts.config.model
    model, generation = build_marian_config(config)
    made_from = describe_origin(parts, weights_path, format="transformers")
    if stands_there(output, made_from, overwrite):
        return False
    weights = read_tensors(weights_path)
    check_weights(build_model(config, is_drawn=False), weights, weights_path)
    with atomic_folder(output) as temporary:
        write_json(model, temporary / CONFIG_NAME)
        write_json(generation, temporary / GENERATION_NAME)
        _write_tokenizer(parts, temporary)
        write_tensors(to_marian(weights, config), temporary / WEIGHTS_NAME, {"format": "pt"})
        (temporary / CARD_NAME).write_text(build_hub_card(parts, card), encoding="utf-8")
        write_record(temporary, parts, made_from)
    return True


def _write_tokenizer(parts: ModelParts, folder: Path) -> None:
    """Write what `MarianTokenizer` reads."""
    source, target = parts.source_tokenizer, parts.target_tokenizer
    (folder / SOURCE_FILE).write_bytes(source.serialized)
    (folder / TARGET_FILE).write_bytes(target.serialized)
    _write_table(source, folder / TABLE_FILE)
    if not source.shares_ids(target):
        _write_table(target, folder / TARGET_TABLE_FILE)
    write_json(_build_tokenizer_config(parts), folder / TOKENIZER_NAME)


def _write_table(tokenizer: Tokenizer, path: Path) -> None:
    if isinstance(tokenizer, VocabTokenizer):
        path.write_bytes(tokenizer.table)
    else:
        write_json(build_table(tokenizer), path)


def build_table(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the ids of all pieces of a SentencePiece model.

    A symbol that the user defined, such as the tag `<2de>`, stands in it twice: as itself, and as `>><2de><<`, which
    `MarianTokenizer` takes for one symbol at the beginning of a text, as mtkit does with a tag.
    """
    model = SpmFile.parse(tokenizer.serialized)
    pieces = {piece.text: token_id for token_id, piece in enumerate(model.pieces)}
    symbols = [piece.text for piece in model.pieces if piece.kind is PieceKind.USER_DEFINED]
    # transformers reads the piece of an id from the last of its entries.
    return {write_tag(symbol): pieces[symbol] for symbol in symbols if write_tag(symbol) not in pieces} | pieces


def write_tag(symbol: str) -> str:
    """Return a tag as `MarianTokenizer` wants it at the beginning of a text."""
    return f">>{symbol}<<"


def _build_tokenizer_config(parts: ModelParts) -> dict[str, Any]:
    config, source = parts.config.model, parts.source_tokenizer
    pad, unk, eos = source.pieces([config.pad_id, config.unk_id, config.eos_id])
    return {
        "tokenizer_class": "MarianTokenizer",
        "source_lang": parts.config.source_language,
        "target_lang": parts.config.target_language,
        "pad_token": pad,
        "unk_token": unk,
        "eos_token": eos,
        "model_max_length": config.max_positions,
        "separate_vocabs": not source.shares_ids(parts.target_tokenizer),
        "clean_up_tokenization_spaces": False,
    }


def build_hub_card(parts: ModelParts, card: str = "") -> str:
    """Return a model card for the hub: front matter, what the model is, how to use it, and what is known of it.

    Args:
        parts: Configuration and vocabularies.
        card: The README of the model folder.
    """
    config = parts.config.model
    languages = [parts.config.source_language, parts.config.target_language]
    known = list(dict.fromkeys(language for language in languages if language))
    front: dict[str, Any] = {"language": known} if known else {}
    front |= {"library_name": "transformers", "pipeline_tag": "translation", "tags": ["translation", "marian", "mtkit"]}
    name = "-".join(language or "?" for language in languages)
    own = _FRONT_MATTER.sub("", card).strip()
    about = f"\n## From its model folder\n\n{_lower_headings(own)}\n" if own else ""
    return f"""---
{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---

# Translation model {name}

A Transformer of the Marian family: {config.num_encoder_layers} encoder and {config.num_decoder_layers} decoder layers,
{config.d_model} wide, feed-forward {config.d_ff}, {config.num_heads} heads, vocabulary {config.tgt_vocab_size:,}.
Exported by mtkit {__version__}.

```python
from transformers import MarianMTModel, MarianTokenizer

tokenizer = MarianTokenizer.from_pretrained("THIS_FOLDER")
model = MarianMTModel.from_pretrained("THIS_FOLDER")
batch = tokenizer(["A sentence."], return_tensors="pt", padding=True)
print(tokenizer.batch_decode(model.generate(**batch), skip_special_tokens=True))
```

{_describe_tags(parts.source_tokenizer)}Text is not normalised: no punctuation is changed before the model reads it.
{about}"""


def _describe_tags(tokenizer: Tokenizer) -> str:
    table = tokenizer if isinstance(tokenizer, VocabTokenizer) else build_table(tokenizer)
    tags = table.list_tags() if isinstance(table, VocabTokenizer) else [piece for piece in table if is_tag(piece)]
    if not tags:
        return ""
    shown = ", ".join(f"`{tag}`" for tag in tags[:_SHOWN_TAGS]) + (", …" if len(tags) > _SHOWN_TAGS else "")
    return f"Tags that a text may begin with, as in `{tags[0]} A sentence.`: {shown}.\n\n"


def _lower_headings(card: str) -> str:
    return re.sub(r"^(#+ )", r"##\1", card, flags=re.MULTILINE)
