"""Tags: symbols before the source sentences of a corpus, such as `<bt>` (back-translated) or `<2de>` (into German)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mtkit.config.corpus import CorpusSection
from mtkit.config.vocabulary import RESERVED_SYMBOLS, VocabularySection
from mtkit.corpus.tokenizer import Tokenizer
from mtkit.errors import ModelError, RecipeError

Tags = Mapping[str, str | None]


def collect_tags(corpus: CorpusSection) -> dict[str, str | None]:
    """Return the tag of each corpus by the name that is kept with its pairs, in the order of the recipe.

    Raises:
        RecipeError: Two corpora have the same name and different tags, or a tag is a symbol that has another use.
    """
    sources = [(f"corpus.train.{index}", source) for index, source in enumerate(corpus.train)]
    sources += [
        (f"corpus.{name}", source) for name, source in (("valid", corpus.valid), ("test", corpus.test)) if source
    ]
    tags: dict[str, str | None] = {}
    places: dict[str, str] = {}
    for place, source in sources:
        if source.tag in RESERVED_SYMBOLS:
            raise RecipeError(
                f"'{source.tag}' is a special symbol of every vocabulary", at=f"{place}.tag", fix="choose another tag"
            )
        if tags.setdefault(source.label, source.tag) != source.tag:
            raise RecipeError(
                f"the corpus name '{source.label}' stands for two tags: {tags[source.label] or 'none'} in "
                f"{places[source.label]} and {source.tag or 'none'} here",
                at=f"{place}.tag",
                fix="give each of the two a name of its own: `name:`",
            )
        places.setdefault(source.label, place)
    return tags


def find_untagged(corpus: CorpusSection) -> list[str]:
    """Return a warning for a validation or test set without a tag where every training corpus has one."""
    if not all(source.tag for source in corpus.train):
        return []
    given = (("validation", "valid", corpus.valid), ("test", "test", corpus.test))
    return [
        f"every training corpus has a tag and the {what} set has none: set corpus.{field}.tag if its sources need one"
        for what, field, source in given
        if source is not None and source.tag is None
    ]


def add_tags(vocabulary: VocabularySection, tags: Tags) -> VocabularySection:
    """Return the section with every tag among its user-defined symbols, each once."""
    symbols = [*vocabulary.user_defined_symbols, *(tag for tag in tags.values() if tag is not None)]
    return vocabulary.model_copy(update={"user_defined_symbols": list(dict.fromkeys(symbols))})


def find_tag_ids(tags: Tags, tokenizer: Tokenizer, origin: Path | None) -> dict[str, int]:
    """Return the id of each corpus's tag, by the name of the corpus; those without a tag are left out.

    Args:
        tags: The tag of each corpus.
        tokenizer: Of the source side.
        origin: Where it was read from, for an error message.

    Raises:
        ModelError: A tag is no piece of the vocabulary.
    """
    found = {name: (tag, tokenizer.find_symbol(tag)) for name, tag in tags.items() if tag is not None}
    lacking = dict.fromkeys(tag for tag, token_id in found.values() if token_id is None)
    if lacking:
        raise ModelError(
            f"the vocabulary has no piece {' and no piece '.join(lacking)} for the tags of the corpora",
            at=origin,
            fix=f"train the SentencePiece model with --user_defined_symbols={','.join(lacking)}, let mtkit learn a "
            "vocabulary, or leave the tags out",
        )
    return {name: token_id for name, (_, token_id) in found.items() if token_id is not None}
