"""The report of a run: records are thinned without losing what matters, and a browser shows them."""

import json
import math
import re

import pytest

from mtkit.pages.run_page import _thin, build_run_page

REFERENCE = "Der Hund läuft durch den Park."
MARKUP = "<script>document.title = 'broken'</script> & <b>"


def train(step, **values):
    record = {"kind": "train", "step": step, "loss": 2.0, "grad_norm": 1.0, "learning_rate": 1e-4}
    return {**record, "tokens_per_second": 4000.0, "elapsed_seconds": 3.0, **values}


def validation(step, **values):
    samples = [["The dog runs through the park.", f"Der Hund läuft {step // 50_000}.", REFERENCE]]
    return {
        "kind": "validation", "step": step, "loss": 2.0, "bleu": 30.0, "chrf": 50.0, "samples": samples, **values,
    }  # fmt: skip


def make_data(records, **values):
    return {
        "name": "a run",
        "records": records,
        "recipe": "training:\n  seed: 1\n",
        "facts": [("Device", "cpu, fp32")],
        "best_metric": "bleu",
        "best_step": None,
        "is_finished": False,
        "max_steps": None,
        "model_scores": None,
        **values,
    }


def embedded(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


@pytest.fixture(scope="module")
def long_run():
    """A run of 100,000 steps, a record each."""
    records = []
    for step in range(1, 100_001):
        records.append(train(step, loss=2 + 5 * math.exp(-step / 9000), learning_rate=1e-3 / step))
        if step % 100 == 0:
            bleu = 35.0 if step == 63_800 else 30 * (1 - math.exp(-step / 9000))
            records.append(validation(step, bleu=bleu))
        if step % 20_000 == 7:
            records.append({"kind": "spike", "step": step, "loss": 9.0, "usual": 3.0})
            records.append({"kind": "skipped", "step": step, "in_a_row": 1})
    return make_data(records, max_steps=100_000, best_step=63_800)


def test_a_long_run_is_thinned_to_a_small_page(long_run):
    text = build_run_page(long_run)
    assert len(text.encode()) < 300_000
    data = embedded(text)
    curves = data["training"]
    assert len({len(values) for values in curves.values()}) == 1
    assert 400 < len(curves["step"]) <= 800
    assert curves["step"][-1] == 100_000
    assert curves["learning_rate"][-1] == 1e-8
    kept = [records["step"] for records in data["validations"]]
    assert len(kept) == 400
    assert {kept[0], kept[-1], data["best_step"]} == {100, 100_000, 63_800}
    assert 63_800 in kept
    assert len(data["spikes"]) == len(data["skipped"]) == 5


def test_a_point_is_the_mean_of_its_records():
    records = [train(step, loss=float(step)) for step in range(1, 1601)]
    curves = embedded(build_run_page(make_data(records)))["training"]
    assert curves["step"] == list(range(2, 1601, 2))
    assert curves["loss"] == [step - 0.5 for step in range(2, 1601, 2)]


def test_what_is_shown_has_its_ends_and_the_one_to_keep_in_place_of_the_nearest():
    even = _thin(range(1000), 10)
    for kept in range(1000):
        shown = _thin(range(1000), 10, kept)
        assert len(shown) == 10
        assert {0, kept, 999} <= set(shown)
        assert all(abs(kept - gone) <= 111 for gone in set(even) - set(shown))


def test_of_many_events_some_are_shown_and_all_are_counted():
    records = [{"kind": "spike", "step": step, "loss": 9.0} for step in range(1, 501)]
    records += [{"kind": "skipped", "step": step} for step in range(1, 501)]
    data = embedded(build_run_page(make_data(records)))
    assert data["num_spikes"] == data["num_skipped"] == 500
    for steps in ([spike["step"] for spike in data["spikes"]], data["skipped"]):
        assert (len(steps), steps[0], steps[-1]) == (200, 1, 500)


def test_equal_translations_in_a_row_are_joined_and_long_ones_cut(long_run):
    sample = embedded(build_run_page(long_run))["samples"][0]
    assert [(last >= first, text) for first, last, text in sample["translations"]] == [
        (True, f"Der Hund läuft {i}.") for i in (0, 1, 2)
    ]
    assert sample["translations"][0][1] > 45_000
    record = validation(10, samples=[["x" * 10_000, "y" * 10_000, "z"]])
    assert len(build_run_page(make_data([record]))) < len(build_run_page(make_data([]))) + 2000


def test_numbers_that_are_not_finite_and_fields_of_older_runs_that_are_missing_leave_gaps():
    records = [train(1, loss=float("nan")), train(2), {"kind": "train", "step": 3, "loss": 1.0}]
    records += [validation(2, bleu=float("nan"), loss=float("inf")), {"kind": "validation", "step": 3, "bleu": 1.0}]
    scores = {"loss": float("inf"), "bleu": 1.0, "chrf": 2.0}
    data = embedded(build_run_page(make_data(records, model_scores=scores)))
    assert data["model_scores"] == scores | {"loss": None}
    assert data["training"]["loss"] == [None, 2.0, 1.0]
    assert data["training"]["grad_norm"] == [1.0, 1.0, None]
    assert [row["loss"] for row in data["validations"]] == [None, None]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_long_run_is_shown_on_a_phone(long_run, write, open_page, scheme):
    path = write("report.html", build_run_page(long_run))
    page = open_page(path, viewport={"width": 390, "height": 800}, color_scheme=scheme)
    assert page.locator(".chart h3").all_inner_texts() == [
        "Loss a token", "Translation of the validation set", "Learning rate", "Target tokens a second", "Gradient norm",
    ]  # fmt: skip
    page.locator(".curve").first.wait_for(state="attached")
    assert page.locator(".mark.spike").count() == page.locator(".mark.skip").count() == 5
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    facts = page.locator(".facts").inner_text()
    assert "100,000 of 100,000" in facts
    assert "step 63,800: BLEU 35.00" in facts
    assert "not finished" in facts


def test_values_are_read_by_pointer_and_keys(write, open_page):
    records = [train(100 * i, loss=8.0 - i) for i in range(1, 6)]
    records += [validation(300, loss=4.5, bleu=31.0), validation(500, loss=4.0)]
    page = open_page(write("report.html", build_run_page(make_data(records, is_finished=True, max_steps=500))))
    plot, readout = page.locator(".plot").first, page.locator(".readout").first
    plot.locator(".curve").first.wait_for(state="attached")
    plot.press("End")
    assert readout.inner_text() == "step 500: training 3.000, validation 4.000"
    plot.press("ArrowLeft")
    assert readout.inner_text() == "step 400: training 4.000"
    page.locator("h1").hover()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 48 + (box["width"] - 60) * 0.21, box["y"] + 60)
    assert readout.inner_text() == "step 100: training 7.000"
    row = page.locator("table", has_text="Perplexity").locator("tbody tr").last
    assert row.locator("td").all_inner_texts() == ["500", "4.000", "54.60", "30.00", "50.00", ""]


def test_texts_stay_texts_and_tables_are_named(write, open_page):
    records = [train(10), validation(10, samples=[[MARKUP, MARKUP, MARKUP], ["a", "", "مرحبا بك"]])]
    data = make_data(records, name=MARKUP, recipe=MARKUP, facts=[("Device", MARKUP)])
    page = open_page(write("report.html", build_run_page(data)))
    assert page.title() == f"Training run {MARKUP}"
    assert page.locator(".sample").first.locator(".text").all_inner_texts() == [MARKUP] * 3
    assert "empty" in page.locator(".sample").last.locator("td").inner_text()
    page.locator("summary").click()
    assert page.locator("pre").inner_text() == MARKUP
    assert page.locator("table:not(:has(> caption))").count() == 0
    assert page.locator("th:not([scope])").count() == 0


def test_a_run_that_has_recorded_nothing_yet_says_so(write, open_page):
    page = open_page(write("report.html", build_run_page(make_data([]))))
    text = page.locator("main").inner_text()
    assert "Nothing has been recorded yet." in text
    assert "There was no validation." in text
