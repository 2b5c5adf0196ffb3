"""Hands a model over to CTranslate2, through CTranslate2's own Python specification of a Transformer.

The folder holds what CTranslate2 reads (`model.bin`, `config.json`, the vocabularies), the SentencePiece files, a
README with an example, and `mtkit.json`, which says what it was made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtkit.checkpoint.model_folder import CARD_NAME, ModelParts, load_model, read_parts
from mtkit.checkpoint.run_folder import find_model
from mtkit.config.model import ModelConfig
from mtkit.corpus.tokenizer import SHARED_FILE, SOURCE_FILE, TARGET_FILE, Tokenizer, needs_two_files, save_tokenizers
from mtkit.interop.record import describe_origin, stands_there, write_record
from mtkit.model.positions import sinusoidal_positions
from mtkit.model.transformer import Transformer
from mtkit.runtime.extras import import_extra
from mtkit.runtime.files import atomic_folder
from mtkit.version import __version__

# CTranslate2 has no positions beyond its table, and by default takes sources of 1,024 tokens.
_MIN_SINUSOIDAL_POSITIONS = 2048


def export_model(path: Path, output: Path, quantization: str | None = None, *, overwrite: bool = False) -> bool:
    """Write a model as a CTranslate2 folder; return False if the same export stands there already.

    Args:
        path: A model folder, a run, or a checkpoint of one.
        output: The folder to write, whole or not at all.
        quantization: How CTranslate2 stores the weights, in its own words; None for fp32.
        overwrite: Replace an export that stands there. Anything else is never replaced.

    Raises:
        RecipeError: CTranslate2 is not installed, or another export stands at `output`.
        ModelError: There is no model, or it is damaged.
        OutputError: `output` is something else, or cannot be written.
    """
    _import_ctranslate2()
    folder, weights_path = find_model(path)
    parts = read_parts(folder)
    made_from = describe_origin(parts, weights_path, quantization=quantization or "float32")
    if stands_there(output, made_from, overwrite):
        return False
    model = load_model(weights_path.parent, torch.device("cpu")).model  # a run may have a better one by now
    with atomic_folder(output) as temporary:
        write_ctranslate2(model, parts.source_tokenizer, parts.target_tokenizer, temporary, quantization)
        (temporary / CARD_NAME).write_text(_build_card(parts, quantization), encoding="utf-8")
        write_record(temporary, parts, made_from, ctranslate2_version=_import_ctranslate2().__version__)
    return True


def write_ctranslate2(
    model: Transformer,
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    folder: Path,
    quantization: str | None = None,
) -> None:
    """Fill a folder with a model that `ctranslate2.Translator` loads, and its SentencePiece files.

    Args:
        model: Left as it is.
        source_tokenizer: Of the source side.
        target_tokenizer: Of the target side; often the same.
        folder: An empty folder.
        quantization: How CTranslate2 stores the weights, in its own words; None for fp32.

    Raises:
        RecipeError: CTranslate2 is not installed.
    """
    spec = build_spec(model, source_tokenizer, target_tokenizer)
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(folder))
    save_tokenizers(source_tokenizer, target_tokenizer, folder)


def build_spec(model: Transformer, source_tokenizer: Tokenizer, target_tokenizer: Tokenizer) -> Any:
    """Return CTranslate2's specification of a model, filled with copies of its weights.

    As in mtkit's own search, EOS ends the source, and the output never holds padding or begin of sentence: their
    output bias is minus infinity. The attention that `replace_unknowns` goes by is the middle decoder layer's.

    Raises:
        RecipeError: CTranslate2 is not installed.
    """
    specs = _import_ctranslate2().specs
    config = model.config
    activations = specs.common_spec.Activation
    spec = specs.TransformerSpec.from_config(
        (config.num_encoder_layers, config.num_decoder_layers),
        config.num_heads,
        pre_norm=config.norm == "pre",
        activation=activations.RELU if config.activation == "relu" else activations.SWISH,
        alignment_layer=(config.num_decoder_layers - 1) // 2,
        alignment_heads=config.num_heads,
    )
    # CTranslate2 quantizes in place.
    weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    _fill_encoder(spec.encoder, weights, config)
    _fill_decoder(spec.decoder, weights, config)
    source_tokens, target_tokens = _list_tokens(source_tokenizer, target_tokenizer, config)
    spec.register_source_vocabulary(source_tokens)
    spec.register_target_vocabulary(target_tokens)
    spec.config.unk_token = target_tokens[config.unk_id]
    spec.config.bos_token = target_tokens[config.bos_id]
    spec.config.eos_token = target_tokens[config.eos_id]
    spec.config.decoder_start_token = target_tokens[config.decoder_start_id]
    spec.config.add_source_bos = False
    spec.config.add_source_eos = True
    spec.config.layer_norm_epsilon = model.encoder_layers[0].feed_forward_residual.norm.eps  # type: ignore[union-attr]
    return spec


def _fill_encoder(spec: Any, weights: dict[str, Tensor], config: ModelConfig) -> None:
    spec.embeddings[0].weight = weights["source_embedding.weight"]
    spec.scale_embeddings = True
    spec.position_encodings.encodings = _position_table(weights, "source_positions.table", config)
    if config.norm == "pre":
        _fill_norm(spec.layer_norm, weights, "encoder_norm")
    for index, layer in enumerate(spec.layer):
        name = f"encoder_layers.{index}"
        _fill_self_attention(layer.self_attention, weights, name)
        _fill_feed_forward(layer.ffn, weights, name)


def _fill_decoder(spec: Any, weights: dict[str, Tensor], config: ModelConfig) -> None:
    spec.embeddings.weight = weights["target_embedding.weight"]
    spec.scale_embeddings = True
    spec.position_encodings.encodings = _position_table(weights, "target_positions.table", config)
    if config.norm == "pre":
        _fill_norm(spec.layer_norm, weights, "decoder_norm")
    for index, layer in enumerate(spec.layer):
        name = f"decoder_layers.{index}"
        _fill_self_attention(layer.self_attention, weights, name)
        attention = layer.attention
        _fill_linear(attention.linear[0], weights, f"{name}.cross_attention.q_proj")
        _fill_linear(attention.linear[1], weights, f"{name}.cross_attention.kv_proj")
        _fill_linear(attention.linear[2], weights, f"{name}.cross_attention.out_proj")
        _fill_norm(attention.layer_norm, weights, f"{name}.cross_attention_residual.norm")
        _fill_feed_forward(layer.ffn, weights, name)
    spec.projection.weight = weights["output_proj.weight"]
    bias = weights["output_proj.bias"] if config.output_bias else torch.zeros(config.tgt_vocab_size)
    bias[[config.pad_id, config.bos_id]] = -torch.inf
    spec.projection.bias = bias


def _fill_self_attention(spec: Any, weights: dict[str, Tensor], layer: str) -> None:
    _fill_linear(spec.linear[0], weights, f"{layer}.self_attention.qkv_proj")
    _fill_linear(spec.linear[1], weights, f"{layer}.self_attention.out_proj")
    _fill_norm(spec.layer_norm, weights, f"{layer}.self_attention_residual.norm")


def _fill_feed_forward(spec: Any, weights: dict[str, Tensor], layer: str) -> None:
    _fill_linear(spec.linear_0, weights, f"{layer}.feed_forward.inner")
    _fill_linear(spec.linear_1, weights, f"{layer}.feed_forward.outer")
    _fill_norm(spec.layer_norm, weights, f"{layer}.feed_forward_residual.norm")


def _fill_linear(spec: Any, weights: dict[str, Tensor], name: str) -> None:
    spec.weight = weights[f"{name}.weight"]
    spec.bias = weights[f"{name}.bias"]


def _fill_norm(spec: Any, weights: dict[str, Tensor], name: str) -> None:
    spec.gamma = weights[f"{name}.weight"]
    spec.beta = weights[f"{name}.bias"]


def _position_table(weights: dict[str, Tensor], name: str, config: ModelConfig) -> Tensor:
    """Return learned positions, or the sinusoidal ones: CTranslate2's own begin at another angle."""
    if config.positions == "learned":
        return weights[name]
    length = max(config.max_positions, _MIN_SINUSOIDAL_POSITIONS)
    return sinusoidal_positions(length, config.d_model, config.position_layout)


def _list_tokens(source: Tokenizer, target: Tokenizer, config: ModelConfig) -> tuple[list[str], list[str]]:
    """Return the pieces of source and target in the order of their ids; the special ones are spelled alike."""
    target_tokens = _list_pieces(target, config.tgt_vocab_size)
    source_tokens = _list_pieces(source, config.src_vocab_size)
    for token_id in (config.unk_id, config.bos_id, config.eos_id):
        source_tokens[token_id] = target_tokens[token_id]
    return source_tokens, target_tokens


def _list_pieces(tokenizer: Tokenizer, size: int) -> list[str]:
    pieces: Sequence[str] = tokenizer.pieces(range(min(size, len(tokenizer))))
    return [*pieces, *(f"<unused {token_id}>" for token_id in range(len(pieces), size))]


def _build_card(parts: ModelParts, quantization: str | None) -> str:
    """Return the README of an export."""
    config = parts.config.model
    languages = f"{parts.config.source_language or '?'}-{parts.config.target_language or '?'}"
    is_shared = not needs_two_files(parts.source_tokenizer, parts.target_tokenizer)
    source_file, target_file = (SHARED_FILE, SHARED_FILE) if is_shared else (SOURCE_FILE, TARGET_FILE)
    limit = ""
    if config.positions == "learned":
        limit = (
            f"Positions are learned up to {config.max_positions}: pass `max_input_length={config.max_positions - 1}` "
            f"and a `max_decoding_length` of at most {config.max_positions}.\n\n"
        )
    return f"""# Translation model {languages} for CTranslate2

Exported by mtkit {__version__}, weights in {quantization or "float32"}.

```python
import ctranslate2, sentencepiece

translator = ctranslate2.Translator("THIS_FOLDER", device="cpu")
source = sentencepiece.SentencePieceProcessor("THIS_FOLDER/{source_file}")
target = sentencepiece.SentencePieceProcessor("THIS_FOLDER/{target_file}")
results = translator.translate_batch(source.encode(["A sentence."], out_type=str), beam_size=5)
print(target.decode([result.hypotheses[0] for result in results]))
```

EOS is added to the source by itself. A tag is a token of its own before it:
`["<2de>", *source.encode("A sentence.", out_type=str)]`.

{limit}The search is mtkit's own with `length_penalty=0`, `min_decoding_length=0` and a `max_decoding_length` that is
not reached; CTranslate2's length penalties are others.
"""


def _import_ctranslate2() -> Any:
    return import_extra("ctranslate2", "ct2", "exporting to CTranslate2", "--to ctranslate2")
