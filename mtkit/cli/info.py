"""The command `mtkit info`: what a prepared corpus, a run or a model holds. Reads no weights and needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer

from mtkit.errors import DataError
from mtkit.runtime import console


def info(
    path: Annotated[Path, typer.Argument(help="A prepared corpus, a run, or a model folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what a prepared corpus, a run or a model folder holds.

    Example: `mtkit info run`
    """
    described = describe(path)
    if as_json:
        print(json.dumps(described, ensure_ascii=False, indent=2))  # noqa: T201
    else:
        _show(_fold_corpora(described))


def describe(path: Path) -> dict[str, Any]:
    """Return what a folder that mtkit made holds.

    Raises:
        DataError: It is not such a folder, or a corpus that is damaged.
        ModelError: It is a run or a model that is damaged.
    """
    from mtkit.checkpoint.model_folder import CONFIG_NAME, RUN_FOLDER
    from mtkit.checkpoint.run_folder import STATE_NAME, RunFolder
    from mtkit.corpus.manifest import is_prepared_corpus

    if is_prepared_corpus(path):
        return _describe_corpus(path)
    if RunFolder(path).is_run:
        return _describe_run(RunFolder(path))
    if (path / CONFIG_NAME).is_file():
        return _describe_model(path, path)
    if (path / STATE_NAME).is_file():
        fix = f"look at its run: mtkit info {path.resolve().parents[1]}"
        raise DataError("this is a checkpoint of a run", at=path, fix=fix)
    if not path.exists():
        raise DataError("no such folder", at=path, fix="check the path")
    inside = [part for part in (RUN_FOLDER, "corpus") if (path / part).is_dir()]
    fix = f"look at {path / inside[0]}" if inside else "give what mtkit prepare, train or run made"
    raise DataError("neither a prepared corpus, nor a run, nor a model", at=path, fix=fix)


def _describe_corpus(path: Path) -> dict[str, Any]:
    from mtkit.corpus.manifest import read_manifest

    manifest = read_manifest(path)
    return {
        "kind": "prepared corpus",
        "path": str(path),
        "format_version": manifest.format_version,
        "made_by": f"mtkit {manifest.mtkit_version}",
        "languages": _name_languages(manifest.source_language, manifest.target_language),
        "fingerprint": manifest.fingerprint,
        "bytes": sum(manifest.file_bytes.values()),
        "vocabulary": manifest.vocabulary_sizes,
        "pairs_read": manifest.pairs_read,
        "dropped": manifest.dropped,
        "repaired": manifest.repaired,
        "noted": manifest.noted,
        "corpora": {
            name: {"pairs": corpus.pairs, "tag": corpus.tag or "none"}
            for name, corpus in manifest.corpora.items()
            if corpus.pairs
        },
        "splits": {
            name: {
                "pairs": split.pairs,
                "source_tokens": split.source.tokens,
                "target_tokens": split.target.tokens,
                "source_words": split.source.words,
                "target_words": split.target.words,
                "unknown": split.source.unknown + split.target.unknown,
            }
            for name, split in manifest.splits.items()
        },
    }


def _describe_run(run: Any) -> dict[str, Any]:
    from mtkit.checkpoint.run_folder import rank_checkpoints

    record = run.read_record()
    training = run.read_recipe().training
    checkpoints = run.list_checkpoints()
    ranked = rank_checkpoints(run, training.best_metric)
    best = run.read_state(ranked[0]).validation if ranked else None
    described = {
        "kind": "run",
        "path": str(run.path),
        "state": "finished" if run.is_finished else "not finished",
        "steps_done": run.step_of(checkpoints[-1]) if checkpoints else 0,
        "steps_to_do": record.max_steps,
        "checkpoints": len(checkpoints),
        "best_by": training.best_metric,
        "best": None if best is None else best.model_dump(),
        "corpus": record.corpus,
        "device": record.device,
        "processor": record.processor,
        "processes": record.processes,
        "threads": record.threads,
        "precision": record.precision,
        "micro_batch_tokens": record.micro_batches[-1].tokens if record.micro_batches else None,
        "torch": record.torch_version,
        "run_format_version": record.format_version,
    }
    weights = run.model if run.is_finished else (ranked or checkpoints[::-1] or [None])[0]
    model = _describe_model(run.model if run.is_finished else run.path, weights)
    return described | {name: value for name, value in model.items() if name not in ("kind", "path")}


def _describe_model(folder: Path, weights: Path | None) -> dict[str, Any]:
    """Describe the model of a folder, with the size of the weights in another, where there are any yet."""
    from mtkit.checkpoint.model_folder import WEIGHTS_NAME, read_model_config
    from mtkit.checkpoint.weights import read_shapes

    config = read_model_config(folder)
    model = config.model
    described = {
        "kind": "model",
        "path": str(folder),
        "format_version": config.format_version,
        "made_by": f"mtkit {config.mtkit_version}",
        "languages": _name_languages(config.source_language, config.target_language),
        "tags": ", ".join(tag or "none" for tag in config.tags) or None,
        "parameters": None if weights is None else sum(map(prod, read_shapes(weights / WEIGHTS_NAME).values())),
        "layers": f"{model.num_encoder_layers}+{model.num_decoder_layers}",
        "width": model.d_model,
        "inner_width": model.d_ff,
        "heads": model.num_heads,
        "norm": model.norm,
        "positions": model.positions,
        "tied_embeddings": model.tied_embeddings,
    }
    sizes = {"source": model.src_vocab_size, "target": model.tgt_vocab_size}
    return described | {"vocabulary": sizes}


def _name_languages(source: str | None, target: str | None) -> str | None:
    return None if source is None and target is None else f"{source or '?'}-{target or '?'}"


def _fold_corpora(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """Keep of many corpora the largest, and the pairs of the rest."""
    from mtkit.corpus.report import choose_corpora, name_rest

    corpora = described.get("corpora", {})
    shown, rest = choose_corpora({name: corpus["pairs"] for name, corpus in corpora.items()})
    if not rest:
        return described
    folded = {name: corpora[name] for name in shown} | {name_rest(len(corpora)): {"pairs": rest, "tag": ""}}
    return {**described, "corpora": folded}


def _show(described: Mapping[str, Any]) -> None:
    """Print what was described: single values first, then a table for each group."""
    groups = {name: value for name, value in described.items() if isinstance(value, dict)}
    single = [[_spell(name), _show_value(value)] for name, value in described.items() if name not in groups]
    console.print_table(None, [single[0][0], single[0][1]], single[1:])
    for name, group in groups.items():
        if group:
            print()  # noqa: T201
            console.print_table(None, *_as_table(name, group))


def _as_table(name: str, group: Mapping[str, Any]) -> tuple[Sequence[str], list[list[object]]]:
    """Return headings and rows: one row an entry, whose values are columns where they have names themselves."""
    first = next(iter(group.values()))
    if isinstance(first, dict):
        return [name, *map(_spell, first)], [[key, *value.values()] for key, value in group.items()]
    return [name, ""], [[_spell(key), value] for key, value in group.items()]


def _spell(key: str) -> str:
    return key.replace("_", " ")


def _show_value(value: object) -> str:
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else str(value)
