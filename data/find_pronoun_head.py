"""Find the attention head that knows what "it" means: `python data/find_pronoun_head.py MODEL`.

Of each sentence of the pronoun test, the row of weights of the pronoun is looked at: encoder self-attention of "it",
or, with `--attention cross`, the attention to the source in the step that writes the German pronoun of the reference.
A head is right where its strongest attention falls on the antecedent: of all units of the sentence, which are its
words, signs and, as one unit each, its two nouns and the end of sentence. The head that is right most often on the
validation pairs is reported on the test pairs.

Beside it stand chance (a unit drawn at random) and the nearest noun, which is right in one sentence of each pair by
construction; and, between the two nouns alone, how often the head gives the antecedent more (chance: one half). With
`--look-for adjective` a head is right where it looks at the adjective that decides, in place of the antecedent.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fragment_lexicon import read_lexicon
from fragment_words import split_words
from score_pronouns import CONNECTIVES, PRONOUNS

FOLDER = Path(__file__).parent
DEFAULT_BATCH = 64


@dataclass(frozen=True)
class Item:
    """A sentence of the pronoun test, words counted as the links of the corpus count them.

    Attributes:
        pair: Its number; two sentences have the same.
        english: The sentence.
        german: Its translation.
        pronoun: The word of the English pronoun.
        german_pronoun: The word of the German one.
        antecedent: The first and last word of the right noun.
        other: Those of the other noun.
        adjective: Those of the adjective that decides.
        is_nearest: Whether the antecedent is the noun before the pronoun.
    """

    pair: str
    english: str
    german: str
    pronoun: int
    german_pronoun: int
    antecedent: tuple[int, int]
    other: tuple[int, int]
    adjective: tuple[int, int]
    is_nearest: bool


@dataclass(frozen=True)
class Rates:
    """How often a head is right, from 0 to 1.

    Attributes:
        sentences: Its strongest attention is on the antecedent.
        pairs: It is so in both sentences of a pair.
        between_nouns: The antecedent gets more than the other noun.
    """

    sentences: float
    pairs: float
    between_nouns: float


def read_items(name: str) -> list[Item]:
    """Read the pairs of a set, `valid` or `test`, and find their nouns in the English sentences."""
    english_of: dict[str, set[str]] = {}
    for noun in read_lexicon().nouns:
        english_of.setdefault(noun.german, set()).add(noun.english)
    header, *rows = (line.split("\t") for line in _read(f"pronouns.{name}.tsv.gz"))
    items = []
    for row, english, german in zip(
        rows, _read(f"pronouns.{name}.en.gz"), _read(f"pronouns.{name}.de.gz"), strict=True
    ):
        fields = dict(zip(header, row, strict=True))
        words = [word.lower() for word in split_words(english)]
        pronoun = len(words) - 1 - words[::-1].index("it")
        nouns = [_find_noun(words[:pronoun], english_of[fields[side]]) for side in ("subject", "object")]
        antecedent, other = nouns if fields["position"] == "subject" else reversed(nouns)
        german_pronoun = _find_german_pronoun(german, fields["pronoun"])
        adjective = _find_noun(words, {fields["deciding"]}, pronoun)
        nearest = antecedent > other
        items.append(
            Item(fields["pair"], english, german, pronoun, german_pronoun, antecedent, other, adjective, nearest)
        )
    return items


def _read(name: str) -> list[str]:
    with gzip.open(FOLDER / name, "rt", encoding="utf-8", newline="") as file:
        return file.read().splitlines()


def _find_noun(words: Sequence[str], spellings: set[str], start: int = 0) -> tuple[int, int]:
    """Return the first and last word of the one noun (or adjective) of these spellings; of several, the longest."""
    found = []
    for spelling in spellings:
        parts = [part.lower() for part in split_words(spelling)]
        starts = range(start, len(words) - len(parts) + 1)
        found += [(i, i + len(parts) - 1) for i in starts if list(words[i : i + len(parts)]) == parts]
    longest = max((last - first for first, last in found), default=-1)
    spans = [span for span in found if span[1] - span[0] == longest]
    if len(spans) != 1:
        raise ValueError(f"{len(spans)} places for {spellings} in: {' '.join(words)}")
    return spans[0]


def _find_german_pronoun(german: str, pronoun: str) -> int:
    """Return the first personal pronoun of the deciding clause, as `score_pronouns` finds it."""
    words = [word.lower() for word in split_words(german)]
    start = max(i for i, word in enumerate(words[:-1]) if word in CONNECTIVES and words[i + 1][0].isalpha())
    place = next(i for i, word in enumerate(words) if i > start and word in PRONOUNS)
    if words[place] != pronoun:
        raise ValueError(f"the pronoun is not {pronoun}: {german}")
    return place


def build_units(item: Item) -> list[int]:
    """Return the unit of each English word: a noun of two words is one unit."""
    units: list[int] = []
    unit = -1
    for word in range(len(split_words(item.english))):
        is_inside = any(first < word <= last for first, last in (item.antecedent, item.other))
        unit += not is_inside
        units.append(unit)
    return units


def weigh(model: Path, items: Sequence[Item], attention: str) -> list[list[list[list[float]]]]:
    """Return the weights of each item's pronoun over its units and EOS: `[item][layer][head][unit]`."""
    import torch  # noqa: PLC0415

    from mtkit.checkpoint.model_folder import load_model  # noqa: PLC0415
    from mtkit.decoding.alignment import join_weights  # noqa: PLC0415
    from mtkit.inspection.attention import record_attention  # noqa: PLC0415
    from mtkit.inspection.words import find_words_of  # noqa: PLC0415

    torch.set_num_threads(1)
    loaded = load_model(model, torch.device("cpu"))
    config = loaded.model.config
    found = []
    for first in range(0, len(items), DEFAULT_BATCH):
        batch = items[first : first + DEFAULT_BATCH]
        sources = loaded.source_tokenizer.encode([item.english for item in batch])
        targets = loaded.target_tokenizer.encode([item.german for item in batch])
        with torch.inference_mode():
            recorded = record_attention(
                loaded.model,
                [[*ids, config.eos_id] for ids in sources],
                [[config.decoder_start_id, *ids] for ids in targets],
            )
            for item, of_item in zip(batch, recorded, strict=True):
                units = build_units(item)
                words = find_words_of(item.english, loaded.source_tokenizer.surfaces(item.english), "signs")
                keys = [*(units[word.start] for word in words), units[-1] + 1]
                if attention == "encoder":
                    weights, queries, query = of_item.encoder, keys, units[item.pronoun]
                else:  # row t is the step that produces token t; the last row produces EOS
                    weights = of_item.cross
                    surfaces = loaded.target_tokenizer.surfaces(item.german)
                    queries = [word.start for word in find_words_of(item.german, surfaces, "signs")]
                    queries = [*queries, queries[-1] + 1]
                    query = item.german_pronoun
                found.append(join_weights(weights, keys, queries)[:, :, query].tolist())
    return found


def rate(items: Sequence[Item], rows: Sequence[Sequence[float]], look_for: str = "antecedent") -> Rates:
    """Return how often rows of weights, `[item][unit]`, are right; `look_for` is `antecedent` or `adjective`."""
    hits, preferences = [], []
    for item, row in zip(items, rows, strict=True):
        units = build_units(item)
        right, wrong = units[item.antecedent[0]], units[item.other[0]]
        wanted = right if look_for == "antecedent" else units[item.adjective[0]]
        hits.append(max(range(len(row)), key=lambda unit: row[unit]) == wanted)
        preferences.append(row[right] > row[wrong])
    pairs: dict[str, bool] = {}
    for item, hit in zip(items, hits, strict=True):
        pairs[item.pair] = pairs.get(item.pair, True) and hit
    return Rates(_share(hits), _share(list(pairs.values())), _share(preferences))


def rate_baselines(items: Sequence[Item]) -> dict[str, Rates]:
    """Return the rates of a unit drawn at random, and of the noun nearest to the pronoun."""
    inverse = [1 / (build_units(item)[-1] + 2) for item in items]  # the units, and EOS
    both = [inverse[i] * inverse[i + 1] for i in range(0, len(inverse) - 1, 2)]
    nearest = _share([item.is_nearest for item in items])
    pairs: dict[str, bool] = {}
    for item in items:
        pairs[item.pair] = pairs.get(item.pair, True) and item.is_nearest
    return {
        "chance": Rates(sum(inverse) / len(inverse), sum(both) / len(both), 0.5),
        "nearest noun": Rates(nearest, _share(list(pairs.values())), nearest),
    }


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values)


def find_head(
    items: Sequence[Item], weights: Sequence[Sequence[Sequence[Sequence[float]]]], look_for: str = "antecedent"
) -> tuple[int, int]:
    """Return the layer and head, from 0, that are right most often; of equals, the one that prefers the right noun."""
    heads = [(layer, head) for layer in range(len(weights[0])) for head in range(len(weights[0][0]))]

    def worth(place: tuple[int, int]) -> tuple[float, float]:
        rates = rate(items, [of_item[place[0]][place[1]] for of_item in weights], look_for)
        return rates.sentences, rates.between_nouns

    return max(heads, key=worth)


def report(model: Path, attention: str, look_for: str = "antecedent") -> dict[str, object]:
    """Choose a head on the validation pairs, and rate it on both sets."""
    sets = {name: read_items(name) for name in ("valid", "test")}
    weights = {name: weigh(model, items, attention) for name, items in sets.items()}
    layer, head = find_head(sets["valid"], weights["valid"], look_for)
    found: dict[str, object] = {"attention": attention, "look_for": look_for, "layer": layer + 1, "head": head + 1}
    for name, items in sets.items():
        rows = [of_item[layer][head] for of_item in weights[name]]
        rates = {"head": rate(items, rows, look_for), **rate_baselines(items)}
        if look_for == "adjective":
            del rates["nearest noun"]
        found[name] = {label: vars(of_label) for label, of_label in rates.items()}
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    from mtkit.errors import MtkitError  # noqa: PLC0415

    parser = argparse.ArgumentParser(description='Find the attention head that looks from "it" to its antecedent.')
    parser.add_argument("model", type=Path, help="a run or model folder that translates English to German")
    parser.add_argument(
        "--attention",
        choices=("encoder", "cross"),
        default="encoder",
        help='encoder: from "it" (default); cross: from the step that writes its German pronoun',
    )
    parser.add_argument(
        "--look-for", choices=("antecedent", "adjective"), default="antecedent", help="what the head is to look at"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        found = report(options.model, options.attention, options.look_for)
    except MtkitError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(found))
        return 0
    place = f"layer {found['layer']}, head {found['head']}"
    print(f"{found['attention']} attention to the {found['look_for']}, chosen on valid: {place}")
    print(f"{'':<22}{'sentences':>10}{'pairs':>8}{'between the nouns':>19}")
    for name in ("valid", "test"):
        of_set = found[name]
        assert isinstance(of_set, dict)
        for label, rates in of_set.items():
            print(
                f"{name:<6}{label:<16}{100 * rates['sentences']:>8.1f} %{100 * rates['pairs']:>6.1f} %"
                f"{100 * rates['between_nouns']:>17.1f} %"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
