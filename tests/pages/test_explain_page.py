"""The page of `mtkit explain`: what it shows is what the data says, by mouse, by keyboard and from its address."""

import json
import math
import random
import re

import pytest

from mtkit.pages.explain_page import build_explain_page

SOURCE = ["▁The", "▁ani", "mal", "▁was", "▁tired", ".", "</s>"]
TARGET = ["<s>", "▁Das", "▁Tier", "▁war", "▁mü", "de", "."]
SOURCE_WORDS = [[0, 0], [1, 2], [3, 3], [4, 5], [6, 6]]
TARGET_WORDS = [[0, 0], [1, 1], [2, 2], [3, 3], [4, 6]]
NASTY = ["<script>document.title='x'</script>", "▁a&amp;b", "▁مرحبا", "<b>", "▁</main>", "\\", "</s>"]


def draw_rows(generator, num_queries, num_keys, is_masked=False):
    """Return weights [query][key] of 4 decimals, rows of sum one."""
    rows = []
    for query in range(num_queries):
        width = query + 1 if is_masked else num_keys
        drawn = [generator.random() ** 4 + 0.001 for _ in range(width)]
        row = [round(weight / sum(drawn), 4) for weight in drawn]
        row[0] = round(row[0] + 1 - sum(row), 4)
        rows.append(row + [0.0] * (num_keys - width))
    return rows


def draw_candidates(generator, token, num):
    tokens = [token, *(f"▁other{i}" for i in range(num - 1))]
    made = [
        {"parent": 0, "token": token, "log_prob": -0.2 - i - generator.random(), "total": -0.5 - i}
        for i, token in enumerate(tokens)
    ]
    return [{**one, "kept": i < 2 and one["token"] != "</s>", "finished": False} for i, one in enumerate(made)]


def make_data(source=SOURCE, target=TARGET, spans=(SOURCE_WORDS, TARGET_WORDS), heads=2, layers=(2, 3), **changes):
    generator = random.Random(1)
    following = [*target[1:], "</s>"]
    rows = {"encoder": (source, source), "decoder": (target, target), "cross": (target, source)}
    weights = {
        kind: [
            [draw_rows(generator, len(queries), len(keys), kind == "decoder") for _ in range(heads)]
            for _ in range(layers[kind != "encoder"])
        ]
        for kind, (queries, keys) in rows.items()
    }
    steps = []
    for n, token in enumerate(following):
        hypotheses = [{"tokens": following[:n], "log_prob": -0.1 * n}]
        hypotheses += [{"tokens": ["▁Ein", *following[1:n]], "log_prob": -1.0}] if n else []
        steps.append({"hypotheses": hypotheses, "candidates": draw_candidates(generator, token, 5)})
    steps[-1]["candidates"][0].update(finished=True)
    return {
        "model": "run/model",
        "source": "The animal was tired.",
        "translation": "Das Tier war müde.",
        "is_forced": False,
        "source_tokens": source,
        "target_tokens": target,
        "next_tokens": following,
        "source_words": spans[0],
        "target_words": spans[1],
        "num_heads": heads,
        "num_encoder_layers": layers[0],
        "num_decoder_layers": layers[1],
        **weights,
        "alignment": {
            "layer": 2,
            "matrix": [row[:-1] for row in draw_rows(generator, len(target) - 1, len(source))],
            "links": [[0, 0], [1, 1], [2, 2], [3, 3]],
        },
        "beam_size": 2,
        "steps": steps,
        **changes,
    }


def average(heads):
    return [[sum(cells) / len(heads) for cells in zip(*rows, strict=True)] for rows in zip(*heads, strict=True)]


def join(matrix, queries, keys):
    """Sum over the pieces of a key, mean over those of a query."""
    return [
        [sum(matrix[q][k] for q in range(q0, q1 + 1) for k in range(k0, k1 + 1)) / (q1 - q0 + 1) for k0, k1 in keys]
        for q0, q1 in queries
    ]


@pytest.fixture
def show(open_page, tmp_path):
    """Return a function that opens the page of some data, at an address, with the options of a context."""

    def show(data, address="", **options):
        path = tmp_path / "page.html"
        path.write_text(build_explain_page(data), encoding="utf-8")
        page = open_page(path, **options)
        if address:
            go_to(page, address)
        return page

    return show


def go_to(page, address):
    """Go to a view; the page's own listener has run before this returns."""
    page.evaluate(
        "hash => new Promise((done) => { addEventListener('hashchange', done, { once: true }); location.hash = hash; })"
        ".then(() => null)",
        address,
    )


def choose(page, name, text):
    page.locator(f"label:has(input[name={name}])", has_text=re.compile(f"^{text}$")).click()


def token(page, side, index):
    return page.locator(f".{side} .token").nth(index)


def numbers(page, side):
    return [float(text) if text else None for text in page.locator(f".{side} .weight").all_text_contents()]


def drawn(page):
    """Return the lines as {(query, key): opacity}."""
    lines = page.eval_on_selector_all(
        ".lines path", "all => all.map((p) => [+p.dataset.query, +p.dataset.key, +p.getAttribute('stroke-opacity')])"
    )
    return {(query, key): opacity for query, key, opacity in lines}


def assert_drawn(page, matrix):
    lines = drawn(page)
    for query, row in enumerate(matrix):
        for key, weight in enumerate(row):
            assert lines.get((query, key), 0) == pytest.approx(weight, abs=0.0101 if weight < 0.0101 else 0.0011)


def assert_numbers(shown, weights):
    assert shown == pytest.approx(weights, abs=0.0051)


def test_the_weights_are_in_the_page_as_whole_numbers():
    data = make_data()
    page = json.loads(re.search(r'id="data">(.*?)</script>', build_explain_page(data), re.S)[1])
    assert page["scale"] == 10_000
    for kind in ("encoder", "decoder", "cross"):
        found = [[[[weight / 10_000 for weight in row] for row in head] for head in layer] for layer in page[kind]]
        assert found == data[kind]
    assert isinstance(data["cross"][0][0][0][0], float)  # the caller's data is left alone


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_follows_the_wishes_of_its_reader(show, scheme):
    target = ["<s>", "▁Das", "▁Rindfleischetikettierungsüberwachungsaufgabengesetz", *TARGET[3:]]
    page = show(make_data(target=target), color_scheme=scheme, viewport={"width": 390, "height": 800})
    for kind in ("Encoder", "Decoder, masked", "Encoder–decoder"):
        choose(page, "kind", kind)
        choose(page, "tokens", "pieces")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 18, 20)"}[scheme]
    moving = "getComputedStyle(document.querySelector('.token')).transitionDuration"
    assert page.evaluate(moving) == "0.1s"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == "0s"
    before = page.evaluate("document.querySelector('canvas').toDataURL()")
    page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
    page.wait_for_function("before => document.querySelector('canvas').toDataURL() !== before", arg=before)


@pytest.mark.parametrize("width", [390, 500])
def test_a_narrow_page_shows_the_word_behind_the_arrow(show, width):
    page = show(make_data(), viewport={"width": width, "height": 800})
    for kind in ("Decoder, masked", "Encoder–decoder"):
        choose(page, "kind", kind)
        following = page.locator(".query .next")
        assert following.count() == len(TARGET_WORDS)
        assert following.evaluate_all(
            "all => all.every((one) => one.clientWidth && one.scrollWidth <= one.clientWidth)"
        )


def test_the_controls_choose_the_weights(show):
    data = make_data()
    page = show(data)
    assert_drawn(page, join(average(data["cross"][1]), TARGET_WORDS, SOURCE_WORDS))  # at first, the alignment's layer
    choose(page, "tokens", "pieces")
    assert page.locator(".query .token").all_text_contents() == TARGET
    assert page.locator(".key .token").all_text_contents() == SOURCE
    assert page.locator(".query .next").all_text_contents() == [f" → {piece}" for piece in data["next_tokens"]]
    assert page.locator(".key .next").count() == 0
    assert_drawn(page, average(data["cross"][1]))
    choose(page, "layer", "3")
    choose(page, "head", "2")
    assert_drawn(page, data["cross"][2][1])
    choose(page, "kind", "Decoder, masked")
    assert page.locator(".key .token").all_text_contents() == TARGET
    assert_drawn(page, data["decoder"][2][1])
    assert not [place for place in drawn(page) if place[1] > place[0]]
    choose(page, "kind", "Encoder")  # which has two layers only
    assert page.locator(".query .token").all_text_contents() == SOURCE
    assert page.locator("input[name=layer]").count() == 2
    assert_drawn(page, data["encoder"][1][1])
    choose(page, "head", "average")
    assert_drawn(page, average(data["encoder"][1]))
    page.locator("input[name=layer]").nth(1).focus()
    page.keyboard.press("ArrowLeft")
    assert_drawn(page, average(data["encoder"][0]))


def test_pieces_are_joined_to_words(show):
    data = make_data()
    page = show(data, "kind=cross&layer=1&head=1")
    words = [["<s>", "Das", "Tier", "war", "müde."], ["The", "animal", "was", "tired.", "</s>"]]
    assert [page.locator(f".{side} .token").all_text_contents() for side in ("query", "key")] == words
    joined = join(data["cross"][0][0], TARGET_WORDS, SOURCE_WORDS)
    token(page, "query", 4).hover()
    assert_numbers(numbers(page, "key"), joined[4])
    assert page.locator(".query .next").all_text_contents() == [" → Das", " → Tier", " → war", " → müde.", " → </s>"]
    assert page.locator("#heads .readout").text_content().startswith("müde. → </s> looks at: ")
    assert sum(joined[4]) == pytest.approx(1, abs=0.001)
    assert_drawn(page, [row if query == 4 else [0] * 5 for query, row in enumerate(joined)])


def test_a_word_is_pointed_at_with_the_mouse(show):
    data = make_data()
    page = show(data, "kind=encoder&layer=2&head=1&tokens=pieces")
    weights = data["encoder"][1][0]
    assert numbers(page, "key") == [None] * 7
    token(page, "query", 2).hover()
    assert_numbers(numbers(page, "key"), weights[2])
    assert numbers(page, "query") == [None] * 7
    assert_drawn(page, [row if query == 2 else [0] * 7 for query, row in enumerate(weights)])
    best = max(range(7), key=lambda key: weights[2][key])
    expected = f"mal looks at: {SOURCE[best].strip('▁')} {weights[2][best]:.2f}"
    assert page.locator("#heads .readout").text_content().startswith(expected)
    token(page, "key", 5).hover()
    assert_numbers(numbers(page, "query"), [row[5] for row in weights])
    assert page.locator("#heads .readout").text_content().startswith(". is looked at by: ")
    page.mouse.move(0, 0)
    assert numbers(page, "query") == [None] * 7
    assert len(drawn(page)) > 10


def test_a_word_is_pointed_at_with_the_keyboard(show):
    data = make_data()
    page = show(data, "kind=cross&layer=1&head=2&tokens=pieces")
    weights = data["cross"][0][1]
    page.locator("input[name=tokens]:checked").focus()
    page.keyboard.press("Tab")
    assert_numbers(numbers(page, "key"), weights[0])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert_numbers(numbers(page, "key"), weights[2])
    page.keyboard.press("ArrowRight")
    assert_numbers(numbers(page, "query"), [row[2] for row in weights])
    page.keyboard.press("End")
    assert_numbers(numbers(page, "query"), [row[6] for row in weights])
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")  # there is nothing above
    assert_numbers(numbers(page, "key"), weights[0])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert token(page, "query", 1).get_attribute("aria-pressed") == "true"
    assert_numbers(numbers(page, "key"), weights[1])


def test_a_click_pins_a_word(show):
    data = make_data()
    page = show(data, "kind=decoder&layer=1&head=1&tokens=pieces")
    token(page, "query", 4).click()
    page.mouse.move(0, 0)
    assert_numbers(numbers(page, "key"), data["decoder"][0][0][4])
    assert "pin=query-4" in page.url
    token(page, "query", 6).hover()  # a look at another one
    assert_numbers(numbers(page, "key"), data["decoder"][0][0][6])
    page.mouse.move(0, 0)
    choose(page, "head", "2")
    assert_numbers(numbers(page, "key"), data["decoder"][0][1][4])
    choose(page, "tokens", "words")  # the word that the piece is in
    assert token(page, "query", 4).get_attribute("aria-pressed") == "true"
    assert_numbers(numbers(page, "key"), join(data["decoder"][0][1], TARGET_WORDS, TARGET_WORDS)[4])
    choose(page, "kind", "Encoder–decoder")  # the same word looks
    assert "pin=query-4" in page.url
    choose(page, "kind", "Encoder")  # another text looks
    assert "&pin" not in page.url
    token(page, "key", 0).click()
    token(page, "key", 0).click()
    page.mouse.move(0, 0)
    assert "&pin" not in page.url
    assert numbers(page, "query") == [None] * 5


def test_the_maps_show_the_heads_and_choose_one(show):
    data = make_data()
    page = show(data, "kind=cross&layer=2&head=0&tokens=pieces")
    assert page.locator(".multiples button").all_text_contents() == ["Head 1", "Head 2"]
    assert page.locator(".overview button").count() == 6
    pixels = """canvas => {
        const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [image.width, image.height, Array.from(image.data).filter((_, i) => i % 4 === 3)];
    }"""
    for box, (layer, head) in (("multiples", (1, 0)), ("multiples", (1, 1)), ("overview", (2, 0))):
        button = page.locator(f".{box} button[data-layer='{layer + 1}'][data-head='{head + 1}'] canvas")
        width, height, alphas = button.evaluate(pixels)
        matrix = data["cross"][layer][head]
        assert (width, height) == (7, 7)
        assert alphas == pytest.approx([255 * weight**0.7 for row in matrix for weight in row], abs=2)
    page.locator(".multiples button").nth(1).click()
    assert_drawn(page, data["cross"][1][1])
    assert page.locator(".multiples [aria-pressed=true]").text_content() == "Head 2"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert_drawn(page, data["cross"][1][0])
    page.get_by_label("Layer 3, head 2").last.click()
    assert_drawn(page, data["cross"][2][1])
    assert page.locator("#heads h3").nth(2).text_content() == "All heads of layer 3"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert_drawn(page, data["cross"][1][1])


def test_the_sentence_shows_the_word_alignment(show):
    links = [[0, 0], [1, 1], [3, 1], [3, 3]]
    data = make_data()
    page = show({**data, "alignment": {**data["alignment"], "links": links}})
    source, target = page.locator(".sentence").nth(0), page.locator(".sentence").nth(1)
    assert source.locator(".word").all_text_contents() == ["The", "animal", "was", "tired."]
    assert target.locator(".word").all_text_contents() == ["Das", "Tier", "war", "müde."]
    source.locator(".word").nth(3).hover()
    assert target.locator(".on").all_text_contents() == ["Tier", "müde."]
    readout = page.locator("#sentence .readout")
    assert readout.text_content() == "tired. – Tier, müde."
    source.locator(".word").nth(2).hover()
    assert target.locator(".on").count() == 0
    assert readout.text_content() == "was – aligned to no word"
    source.locator(".word").nth(0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert readout.text_content() == "Tier – animal, tired."
    assert source.locator(".on").all_text_contents() == ["animal", "tired."]


def test_a_tap_does_what_pointing_does(show):
    data = make_data()
    page = show(data, has_touch=True, viewport={"width": 390, "height": 800})
    readout = page.locator("#sentence .readout")
    page.locator(".word").nth(1).tap()
    assert readout.text_content() == "animal – Tier"
    page.locator(".word").nth(1).tap()
    assert "Point" in readout.text_content()
    page.locator(".matrix tbody td").nth(1).tap()
    assert page.locator("#alignment .readout").text_content().startswith("Das ← animal: ")
    joined = join(average(data["cross"][1]), TARGET_WORDS, SOURCE_WORDS)
    for query in (1, 2):
        token(page, "query", query).tap()
        assert_numbers(numbers(page, "key"), joined[query])
    token(page, "query", 2).tap()
    assert numbers(page, "key") == [None] * 5


def test_a_tag_is_no_word_of_the_sentence(show):
    source = ["<2de>", *SOURCE]
    words = [[0, 0], *([first + 1, last + 1] for first, last in SOURCE_WORDS)]
    data = make_data(source, spans=(words, TARGET_WORDS))
    data["alignment"]["matrix"] = [row[:-1] for row in draw_rows(random.Random(2), 6, 7)]
    page = show(data)
    assert page.locator(".sentence").first.locator(".word").all_text_contents() == ["The", "animal", "was", "tired."]
    assert page.locator(".key .token").all_text_contents()[0] == "<2de>"
    cells = page.locator(".matrix tbody tr").first.locator("td").all_text_contents()
    first = [row[1:] for row in join(data["alignment"]["matrix"], [[0, 0]], [[0, 0], [0, 0], [1, 2], [3, 3], [4, 5]])]
    assert_numbers([float(cell) for cell in cells], first[0])


def test_the_soft_alignment(show):
    data = make_data()
    matrix = data["alignment"]["matrix"]
    page = show(data, "tokens=pieces")
    said = page.locator("#alignment p").first.text_content()
    assert "when it has just written each word" in said
    assert "the mean of the heads of decoder layer 2." in said
    rows = page.locator(".matrix tbody tr")
    assert rows.locator("th").all_text_contents() == TARGET[1:]
    assert page.locator(".matrix thead th").all_text_contents() == SOURCE[:-1]
    for row, weights in enumerate(matrix):
        assert_numbers([float(cell) for cell in rows.nth(row).locator("td").all_text_contents()], weights)
    linked = page.eval_on_selector_all(
        ".matrix .linked", "all => all.map((td) => [td.parentNode.rowIndex - 1, td.cellIndex - 1])"
    )
    block = [[row, column] for row in (3, 4, 5) for column in (4, 5)]
    assert linked == [[0, 0], [1, 1], [1, 2], [2, 3], *block]
    assert rows.nth(3).locator("td").nth(4).get_attribute("class") == "linked top left"  # one frame around a block
    assert rows.nth(5).locator("td").nth(5).get_attribute("class") == "linked bottom right"
    rows.nth(1).locator("td").nth(2).hover()
    assert page.locator("#alignment .readout").text_content() == f"Tier ← mal: {matrix[1][2]:.2f}, aligned"
    choose(page, "tokens", "words")
    spans = [[0, 0], [1, 1], [2, 2], [3, 5]], [[0, 0], [1, 2], [3, 3], [4, 5]]
    joined = join(matrix, *spans)
    for row, weights in enumerate(joined):
        assert_numbers([float(cell) for cell in rows.nth(row).locator("td").all_text_contents()], weights)
    page.mouse.move(0, 0)
    rows.first.locator("td").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    readout = page.locator("#alignment .readout")
    assert readout.text_content() == f"Tier ← tired.: {joined[1][3]:.2f}"
    rows.first.locator("td").first.hover()
    assert "Tier ← tired." not in readout.text_content()
    page.mouse.move(0, 0)  # what the focus is on shows again
    assert readout.text_content() == f"Tier ← tired.: {joined[1][3]:.2f}"


def test_it_says_what_aligned(show):
    data = make_data()
    alignment = {**data["alignment"], "is_mean": True, "step": "output"}
    said = show({**data, "alignment": alignment}).locator("#alignment p").first.text_content()
    assert "when it writes each word" in said
    assert "the mean of all heads of all decoder layers." in said


def test_the_beam_step_by_step(show):
    data = make_data()
    page = show(data)
    hypotheses, candidates = page.locator("#steps table").nth(0), page.locator("#steps table").nth(1)
    assert page.locator("#steps output").text_content() == "Step 1 of 7"
    assert hypotheses.locator("tbody tr").all_text_contents() == ["1nothing yet0.00"]
    page.get_by_role("button", name="Next").click()
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#steps output").text_content() == "Step 3 of 7"
    assert "step=3" in page.url
    assert hypotheses.locator("tbody tr").all_text_contents() == ["1Das Tier−0.20", "2Ein Tier−1.00"]
    for row, candidate in enumerate(data["steps"][2]["candidates"]):
        cells = candidates.locator("tbody tr").nth(row).locator("td").all_text_contents()
        outcome = ["kept, in the translation", "kept", "dropped", "dropped", "dropped"][row]
        share = 100 * math.exp(candidate["log_prob"])
        assert cells == ["1", candidate["token"], f"{share:.1f} %", f"−{-candidate['total']:.2f}", outcome]
        bars = candidates.locator("tbody tr").nth(row).locator(".track span")
        widths = bars.evaluate_all("all => all.map((bar) => parseFloat(bar.style.width))")
        assert widths == pytest.approx([share, 100 * math.exp(candidate["total"])], abs=0.01)
    page.keyboard.press("End")
    assert candidates.locator("tbody tr").first.locator("td").last.text_content() == "finished, in the translation"
    assert page.get_by_role("button", name="Next").is_disabled()
    page.get_by_role("button", name="Back").click()
    assert page.locator("#steps output").text_content() == "Step 6 of 7"


def test_a_given_translation(show):
    data = make_data(is_forced=True, beam_size=1)
    for step in data["steps"]:
        del step["hypotheses"][1:]
        for place, candidate in enumerate(reversed(step["candidates"])):
            candidate.update(kept=place == 0, finished=False)
    page = show(data)
    assert page.locator(".label").nth(1).text_content() == "Translation, as given"
    last = page.locator("#steps table").nth(1).locator("td:last-child").all_text_contents()
    assert last == ["–", "–", "–", "–", "given"]


def test_markup_and_right_to_left_text_are_text(show):
    spans = [[i, i] for i in range(7)]
    data = make_data(NASTY, ["<s>", *NASTY[:-1]], (spans, spans), model="<i>m</i>")
    data["steps"][1]["candidates"][0]["token"] = "<img src=x>"
    page = show(data, "kind=encoder&tokens=pieces&step=2")
    assert page.title() == "What the model looks at"
    assert page.locator(".key .token").all_text_contents() == NASTY
    assert page.locator(".matrix tbody th").all_text_contents() == NASTY[:-1]
    assert page.locator("#steps tbody").nth(1).locator("td").nth(1).text_content() == "<img src=x>"
    assert page.locator(".word").nth(0).text_content() == NASTY[0]
    assert page.locator("main b, main i, main img").count() == 0
    arabic = token(page, "key", 2).locator("bdi")
    assert arabic.evaluate("one => getComputedStyle(one).direction") == "rtl"
    assert token(page, "key", 2).locator(".space").text_content() == "▁"


def test_a_right_to_left_sentence_runs_from_right_to_left(show):
    source, target = ["▁ذهب", "▁الولد", "▁12", "</s>"], ["<s>", "▁הילד", "▁הלך", "▁12"]
    spans = [[i, i] for i in range(4)]
    page = show(make_data(source, target, (spans, spans)))
    for side in (0, 1):
        lefts = [word.bounding_box()["x"] for word in page.locator(".sentence").nth(side).locator(".word").all()]
        assert lefts == sorted(lefts, reverse=True)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.textContent") == "الولد"
    # In the English lines that tell what is pointed at, the words stand from left to right, as the arrow means.
    pointed = {"#sentence": page.locator(".word").nth(1), "#alignment": page.locator("#alignment tbody td").nth(4)}
    for section, item in (pointed | {"#heads": token(page, "query", 1)}).items():
        item.hover()
        words = page.locator(f"{section} .readout bdi")
        assert words.count() > 1
        lefts = [word.bounding_box()["x"] for word in words.all()]
        assert lefts == sorted(lefts)


def test_the_address_holds_the_view(show):
    data = make_data()
    page = show(data)
    choose(page, "kind", "Decoder, masked")
    choose(page, "layer", "3")
    choose(page, "head", "1")
    choose(page, "tokens", "pieces")
    token(page, "key", 3).click()
    page.get_by_role("button", name="Next").click()
    address = page.url.split("#")[1]
    page.mouse.move(0, 0)
    before = drawn(page), numbers(page, "query")
    page.reload()
    assert (drawn(page), numbers(page, "query")) == before
    assert page.locator("#steps output").text_content() == "Step 2 of 7"
    go_to(page, "kind=encoder&layer=1&head=2&tokens=pieces")
    assert_drawn(page, data["encoder"][0][1])
    go_to(page, address)
    assert (drawn(page), numbers(page, "query")) == before
    go_to(page, "kind=toString&layer=99&head=x&pin=key-99&step=-1")  # of a longer sentence, or made up
    assert_drawn(page, join(average(data["cross"][2]), TARGET_WORDS, SOURCE_WORDS))


def test_a_large_model_and_a_long_sentence_open_in_time(show):
    tokens = [f"▁piece{i}" for i in range(39)]
    spans = [[i, i] for i in range(40)]
    data = make_data([*tokens, "</s>"], ["<s>", *tokens], (spans, spans), heads=8, layers=(6, 6))
    assert len(build_explain_page(data).encode()) < 2_000_000
    page = show(data)
    assert page.locator(".overview button").count() == 48
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.reload()  # counted from here, in seconds of processor time, which other processes do not change
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    assert 0 < metrics["ThreadTime"] < 1.5
