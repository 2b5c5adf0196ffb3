"""The report of an evaluation, looked at in a browser: its numbers, its list of 5,000 sentences, and any text in it."""

import json
import random
import re

import pytest

from mtkit.pages.evaluation_page import build_evaluation_page

MARKUP = "<script>document.title = 'broken'</script> & <b>bold</b> &lt;"
ARABIC = "كلب أحمر يجري في الشارع"
LONG = "Donaudampfschifffahrt" * 40
WORDS = re.findall(r"\S+", "der ein Hund Kater Mann sieht hört große alte rote und Baum Stuhl heute nicht weil , .")


def make_sentences(count):
    generator = random.Random(3)
    special = {10: MARKUP, 20: ARABIC, 30: LONG}
    sentences = []
    for row in range(count):
        reference = special.get(row) or " ".join(generator.choices(WORDS, k=generator.randint(3, 40)))
        words = reference.split()
        hypotheses = []
        for _ in range(2):
            changed = [generator.choice(WORDS) if generator.random() < 0.2 else word for word in words]
            hypotheses.append(" ".join(changed) if row not in special else reference)
        flags = [[], []]
        if row % 100 == 40:
            hypotheses[1], flags[1] = "", ["empty"]
        sentences.append(
            {
                "source": f"Line number {row} of the source",
                "references": [reference],
                "label": ("news", "talks")[row % 2],
                "hypotheses": hypotheses,
                "chrf": [generator.uniform(0, 100) for _ in range(2)],
                "flags": flags,
            }
        )
    return sentences


def make_report(count, names=("small", "large")):
    metric = {"score": 30.0, "signature": "nrefs:1|version:2.6.0", "interval": [28.5, 31.5]}
    group = {"bleu": 30.0, "chrf": 55.0, "length_ratio": 0.98}
    comparison = {"system": names[1], "baseline": names[0], "bootstrap_p": 0.001, "randomization_p": 0.002}
    systems = [
        {
            "name": name,
            "bleu": {**metric, "score": 30.0 + i},
            "ter": {**metric, "score": 50.0 - i, "interval": None},
            "length_ratio": 0.981,
            "external": {"COMET": {"score": 0.8123 + i / 100, "interval": [0.8, 0.83]}},
            "oddities": {"empty": 2 * i, "untranslated": None, "repeated": 1},
        }
        for i, name in enumerate(names)
    ]
    return {
        "systems": systems,
        "comparisons": [
            {**comparison, "metric": "bleu", "difference": 1.0},
            {**comparison, "metric": "ter", "difference": -1.0},
            {**comparison, "metric": "bleu", "difference": 0.1, "randomization_p": 0.2},
            {**comparison, "metric": "COMET", "difference": 0.01, "bootstrap_p": 0.4, "randomization_p": 0.5},
        ],
        "breakdowns": [
            {
                "by": "source length",
                "unit": "Words of the source",
                "groups": [
                    {"label": label, "sentences": 5, "systems": [group] * 2} for label in ("1 to 9", "10 to 19")
                ],
            }
        ],
        "changes": [{"system": names[1], "baseline": names[0], "gained": list(range(20)), "lost": [10]}],
        "reference_count": 1,
        "sentence_count": count,
        "sentences": make_sentences(count),
    }


@pytest.fixture(scope="module")
def report():
    return make_report(5000)


@pytest.fixture(scope="module")
def path(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(build_evaluation_page(report), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def small_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(build_evaluation_page(make_report(100)), encoding="utf-8")
    return path


class Clock:
    """Measures the processor time of a page's main thread: what else the machine does has no part in it."""

    def __init__(self, page):
        self.page = page
        self.session = page.context.new_cdp_session(page)
        self.session.send("Performance.enable")

    def open(self):
        """Return the seconds that the page takes to open: what is counted begins anew with it."""
        self.page.reload()
        return self._now()

    def seconds(self, act):
        before = self._now()
        act()
        return self._now() - before

    def _now(self):
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        metrics = self.session.send("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in metrics if metric["name"] == "ThreadTime")


def shown_lines(page):
    return [
        int(re.search(r"[\d,]+", text)[0].replace(",", ""))
        for text in page.locator(".sentences tbody th").all_inner_texts()
    ]


def status(page):
    return page.locator(".status").inner_text()


def test_5000_sentences_open_sort_filter_and_search_in_time(path, report, open_page):
    page = open_page(path)
    clock = Clock(page)
    times = {"open": clock.open()}
    assert status(page) == "5,000 sentences; shown: 1 to 25."
    assert shown_lines(page) == list(range(1, 26))

    differences = [s["chrf"][1] - s["chrf"][0] for s in report["sentences"]]
    button = page.get_by_role("button", name="Difference")
    times["sort"] = clock.seconds(button.click)
    ascending = sorted(range(5000), key=lambda i: round(differences[i], 2))
    assert shown_lines(page)[:5] == [i + 1 for i in ascending[:5]]
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Difference")
    button.press("Enter")  # the focus stays on it
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Difference")
    assert shown_lines(page)[:5] == [i + 1 for i in ascending[:-6:-1]]

    times["search"] = clock.seconds(lambda: page.get_by_label("Search").fill("NUMBER 49"))
    assert status(page) == "111 of 5,000 sentences; shown: 1 to 25."
    page.get_by_label("Search").fill("nowhere to be found")
    assert status(page) == "No sentence matches."
    page.get_by_label("Search").fill("")

    times["filter"] = clock.seconds(lambda: page.get_by_label("Output").select_option("empty"))
    assert status(page) == "50 of 5,000 sentences; shown: 1 to 25."
    page.get_by_label("Label").select_option("talks")
    assert status(page) == "No sentence matches."  # these lines are all of the other
    print(times)
    assert 0 < times.pop("open") < 2
    assert 0 < max(times.values()) < 0.3


def test_pages_of_the_list_lead_to_each_sentence(path, open_page):
    page = open_page(path)
    page.get_by_role("button", name="Next").click()
    assert shown_lines(page) == list(range(26, 51))
    page.get_by_label("Page, of 200").fill("200")
    page.get_by_label("Page, of 200").press("Enter")
    assert shown_lines(page) == list(range(4976, 5001))
    assert page.get_by_role("button", name="Next").is_disabled()
    page.get_by_role("button", name="Previous").click()
    assert shown_lines(page)[0] == 4951


def test_text_stays_text_in_its_own_direction(small_path, open_page):
    page = open_page(small_path)
    texts = page.locator(".sentences tbody dd .text")
    page.get_by_label("Search").fill("<script>")
    assert texts.all_inner_texts()[1:] == [MARKUP] * 3
    assert page.title() == "Evaluation of small and large"
    page.get_by_label("Search").fill(ARABIC)
    directions = texts.evaluate_all("(all) => all.map((one) => getComputedStyle(one).direction)")
    assert directions == ["ltr", "rtl", "rtl", "rtl"]
    page.get_by_label("Search").fill("number 40 ")
    assert "empty" in texts.last.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_follows_the_colours(small_path, open_page, scheme):
    page = open_page(small_path, viewport={"width": 390, "height": 800}, color_scheme=scheme)
    for summary in page.locator("summary").all():
        summary.click()
    page.get_by_label("Search").fill(LONG)
    assert status(page).startswith("1 of")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert color == {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 18, 20)"}[scheme]


def test_numbers_and_significance_are_told_in_words(small_path, open_page):
    page = open_page(small_path)
    scores = page.locator("table", has_text="Corpus scores").locator("tbody tr")
    row = " ".join(scores.first.inner_text().split())
    assert row == "small 30.00 28.50 to 31.50 50.00 0.8123 0.8000 to 0.8300 0.981"
    plot = page.get_by_role("img", name="BLEU, higher is better. small: 30.00 (28.50 to 31.50); large: 31.00")
    assert plot.count() == 1
    assert page.get_by_role("img", name="TER, lower is better").count() == 1
    words = page.locator("table", has_text="p, bootstrap").locator("tbody tr td:last-child").all_inner_texts()
    assert "that of the bootstrap is about half of it" in page.locator("main").inner_text()
    better = "significantly better"
    assert words == [better, better, "uncertain: the tests disagree", "may well be chance"]
    page.get_by_text("Gained most").click()
    assert page.locator(".changed:visible > li").count() == 5
    page.get_by_role("button", name="Show all 20").click()
    assert page.locator(".changed:visible > li").count() == 20


def test_a_breakdown_shows_one_score_at_a_time(small_path, open_page):
    page = open_page(small_path)
    part = page.locator(".panel", has=page.get_by_role("heading", name="By source length"))
    assert part.get_by_role("img", name="BLEU. 1 to 9: 30.0 · 30.0; 10 to 19").count() == 1
    part.get_by_role("button", name="length ratio").click()
    assert part.get_by_role("button", pressed=True).all_inner_texts() == ["length ratio"]
    assert part.get_by_role("img", name="length ratio. 1 to 9: 0.980").count() == 1
    part.get_by_text("As a table").click()
    assert part.locator("tbody tr").last.inner_text().split() == ["10", "to", "19", "5", "0.980", "0.980"]


def test_tables_and_plots_are_named_for_those_who_hear_them(small_path, open_page):
    page = open_page(small_path)
    assert page.locator("table:not(:has(> caption))").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("svg:not([role=img][aria-label]):not([aria-hidden=true])").count() == 0
    assert page.locator("select:not(label select), input:not(label input):not([aria-label])").count() == 0


def test_one_system_without_source_and_three_systems(write, open_page):
    report = make_report(30, names=("only", "other"))
    report["systems"] = report["systems"][:1]
    report.update(comparisons=[], changes=[], breakdowns=[])
    for sentence in report["sentences"]:
        sentence.update(source=None, corpus=None, hypotheses=sentence["hypotheses"][:1], chrf=[50.0], flags=[[]])
    page = open_page(write("one.html", build_evaluation_page(report)))
    assert page.locator("h1").inner_text() == "Evaluation of only"
    assert page.locator("h2").all_inner_texts() == ["Scores", "Odd output", "Sentences", "Signatures"]
    assert page.get_by_role("button", name="Difference").count() == 0

    report = make_report(30)
    report["systems"].append({**report["systems"][1], "name": "third"})
    report["breakdowns"] = []
    for sentence in report["sentences"]:
        sentence["hypotheses"].append("der dritte Satz")
        sentence["chrf"].append(1.0)
        sentence["flags"].append([])
    page = open_page(write("three.html", build_evaluation_page(report)))
    page.get_by_label("with").select_option("third")
    assert "der dritte Satz" in page.locator(".sentences tbody tr").first.inner_text().replace("missing: ", "")
    assert page.get_by_role("button", name="chrF of third").count() == 1


def test_a_number_that_is_not_finite_is_refused():
    report = make_report(2)
    report["systems"][0]["length_ratio"] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        build_evaluation_page(report)


COMPARE = """(pairs) => pairs.map(([before, after]) => {
  const made = element("p", {}, differenceNodes(before, after));
  for (const hidden of made.querySelectorAll(".hidden-visually")) hidden.remove();
  const without = (tag) => {
    const copy = made.cloneNode(true);
    for (const one of copy.querySelectorAll(tag)) one.remove();
    return copy.textContent;
  };
  const same = made.cloneNode(true);
  for (const one of same.querySelectorAll("ins, del")) one.remove();
  return [without("ins"), without("del"), splitWords(same.textContent).length];
})"""


def longest_common_subsequence(before, after):
    lengths = [0] * (len(after) + 1)
    for word in before:
        diagonal = 0
        for j, other in enumerate(after):
            diagonal, lengths[j + 1] = lengths[j + 1], diagonal + 1 if word == other else max(lengths[j : j + 2])
    return lengths[-1]


def test_differences_hold_both_texts_and_the_most_common_words(small_path, open_page):
    generator = random.Random(5)
    pairs = [[" ".join(generator.choices("abcd", k=generator.randint(0, 12))) for _ in range(2)] for _ in range(200)]
    made = open_page(small_path).evaluate(COMPARE, pairs)
    for (before, after), (found_before, found_after, common) in zip(pairs, made, strict=True):
        assert (found_before.split(), found_after.split()) == (before.split(), after.split())
        assert common == longest_common_subsequence(before.split(), after.split())


def test_differences_part_words_as_their_script_does(small_path, open_page):
    page = open_page(small_path)
    split = "(text) => splitWords(text).map((word) => word.text)"
    assert page.evaluate(split, "Don't stop, well-known!") == ["Don't", "stop", ",", "well-known", "!"]
    assert page.evaluate(split, "我喜欢猫。") == list("我喜欢猫。")
    assert page.evaluate(split, ARABIC) == ARABIC.split()
    before, after = "a long way . " * 1500, "one other text " * 1500  # too long a table: one replacement
    kinds = "([b, a]) => differenceNodes(b, a).filter((one) => one.tagName).map((one) => one.tagName)"
    assert page.evaluate(kinds, [before, after]) == ["DEL", "INS"]


def test_scores_of_sentences_are_embedded_with_the_digits_that_are_shown(report):
    text = build_evaluation_page(report)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert data["sentences"][7]["chrf"] == [round(score, 2) for score in report["sentences"][7]["chrf"]]
    assert data["sentences"][10]["references"] == [MARKUP]
