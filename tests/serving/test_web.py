import json

import pytest
from playwright.sync_api import expect

from mtkit.serving.api_keys import ApiKeys
from mtkit.serving.limits import Limits

SENTENCES = ["the dog runs.", "a man sees the big red house and the cat."]


@pytest.fixture
def open_server(browser):
    """Return a function that opens a path of a server; any script error or request to elsewhere fails the test."""
    problems, contexts = [], []

    def open_server(client, path="/", **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on(
            "console",
            # A refused request, which the page tells of, is noted by the browser too.
            lambda message: None if "status of 4" in message.text else problems.append(f"console: {message.text}"),
        )
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((client.url, "data:")) else problems.append(f"asks: {request.url}")
            ),
        )
        page.goto(client.url + path)
        if path == "/":
            expect(page.locator("#source")).to_have_attribute("lang", "en")
        return page

    yield open_server
    for context in contexts:
        context.close()
    assert not problems


def type_text(page, text):
    """Put a text into the field, and wait for its translation."""
    with page.expect_response("**/translate") as response:
        page.fill("#source", text)
    answer = response.value.json()
    expect(page.locator("#translation")).to_have_text(answer["translatedText"], timeout=10_000)
    return answer


def test_it_translates_as_you_type(client, open_server, translator):
    page = open_server(client)
    assert page.locator("#source").evaluate("field => field === document.activeElement")
    text = "\n\n".join(SENTENCES)
    type_text(page, text)
    assert page.inner_text("#translation").split("\n\n") == translator.translate(SENTENCES)
    assert page.inner_text("#count") == f"{len(text)} / 20,000"
    assert page.get_attribute("#source", "lang") == "en"
    assert page.get_attribute("#translation", "lang") == "de"
    page.click("#clear")
    assert (page.inner_text("#translation"), page.input_value("#source")) == ("", "")
    assert not page.locator("#more").is_visible()


def test_the_policy_forbids_requests_to_elsewhere(client):
    policy = client.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "unsafe" not in policy


def test_stale_answers_are_ignored(make_server, run_server, gate, open_server):
    client = run_server(make_server(gate))
    page = open_server(client)
    page.evaluate(
        """() => {
          window.shown = [];
          const translation = document.getElementById("translation");
          const observer = new MutationObserver(() => window.shown.push(translation.textContent));
          observer.observe(translation, { childList: true });
        }"""
    )
    page.fill("#source", "old")
    expect(page.locator("#state")).to_have_text("Translating …")
    assert gate.windows == [["old"]]
    page.fill("#source", "new")
    gate.opened.set()
    expect(page.locator("#translation")).to_have_text("0:new")
    assert page.inner_text("#state") == ""
    assert set(page.evaluate("window.shown")) == {"0:new"}


def test_typing_waits_for_a_pause(make_server, run_server, gate, open_server):
    gate.opened.set()
    page = open_server(run_server(make_server(gate)))
    page.locator("#source").press_sequentially("several letters", delay=5)
    expect(page.locator("#translation")).to_have_text("0:several letters")
    assert gate.windows == [["several letters"]]


def test_words_that_belong_together_are_marked(client, open_server):
    page = open_server(client)
    answer = type_text(page, "\n".join(SENTENCES))
    source_words = " ".join(SENTENCES).split(" ")
    target_words = answer["translatedText"].replace("\n", " ").split(" ")
    index = len(target_words) - 1  # on the second line
    page.locator("#translation .word").nth(index).hover()
    marked = page.locator("#mirror .word.linked").all_inner_texts()
    assert marked == [source_words[i] for i, j in answer["alignment"] if j == index]
    assert page.locator(".word.pointed").all_inner_texts() == [target_words[index]]
    # From the text, in whose field words are drawn behind.
    box = page.locator("#mirror .word").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    linked = [target_words[j] for i, j in answer["alignment"] if i == 1]
    assert page.locator("#translation .word.linked").all_inner_texts() == linked
    page.mouse.move(5, 5)
    assert page.locator(".word.pointed, .word.linked").count() == 0
    # From the place of the caret.
    page.locator("#source").focus()
    page.locator("#source").press("Control+Home")
    page.locator("#source").press("ArrowRight")
    expect(page.locator("#mirror .word.pointed")).to_have_text(["the"])


def test_words_are_counted_as_the_server_counts_them(client, open_server):
    page = open_server(client)
    answer = type_text(page, " \u00a0the \u00a0 dog\u2028runs. \t\na \t man\u00a0sees the cat.")
    words = [["the", "\u00a0", "dog", "runs."], ["a", "\t", "man\u00a0sees", "the", "cat."]]
    words = [word for line in words for word in line]
    assert page.locator("#mirror .word").all_text_contents() == words
    index, linked = next((i, j) for i, j in answer["alignment"] if i >= 5)
    page.locator("#source").evaluate("field => field.setSelectionRange(0, 0)")
    text = page.input_value("#source")
    place = text.index(words[index], text.index("\n"))
    page.locator("#source").evaluate("(field, place) => field.setSelectionRange(place, place)", place)
    expect(page.locator("#mirror .word.pointed")).to_have_text(words[index])
    target_words = answer["translatedText"].replace("\n", " ").split(" ")
    assert target_words[linked] in page.locator("#translation .word.linked").all_text_contents()


def test_the_keyboard_reaches_everything(client, open_server):
    page = open_server(client)
    answer = type_text(page, SENTENCES[0])
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"clear", "translation", "copy", answer["alternatives"][0], "API", "source-language", "swap"} <= set(reached)
    page.locator("#translation").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Home")
    word = answer["translatedText"].split(" ")[0]
    linked = [SENTENCES[0].split()[i] for i, j in answer["alignment"] if j == 0]
    assert page.locator(".word.pointed").all_inner_texts() == [word]
    assert page.inner_text("#linked") == f"{word}: {' '.join(linked) or 'nothing'}"


def test_alternatives_can_be_chosen(client, open_server):
    page = open_server(client)
    answer = type_text(page, SENTENCES[1])
    shown = page.locator("#alternatives button").all_inner_texts()
    assert shown == answer["alternatives"]
    page.locator("#alternatives button").nth(1).click()
    assert page.inner_text("#translation") == shown[1]
    assert page.locator("#alternatives button").all_inner_texts()[0] == answer["translatedText"]


def test_languages_can_be_chosen_and_exchanged(client, open_server):
    page = open_server(client)
    options = page.locator("#source-language option").all_inner_texts()
    assert options == ["English", "German", "Polish"]
    answer = type_text(page, SENTENCES[0])
    with page.expect_request("**/translate") as request:
        page.click("#swap")
    asked = json.loads(request.value.post_data)
    assert (asked["q"], asked["source"], asked["target"]) == (answer["translatedText"], "de", "en")
    page.select_option("#source-language", "pl")
    assert page.locator("#target-language option").all_inner_texts() == ["English"]
    assert not page.locator("#swap").is_visible()


def test_what_is_wrong_is_told(make_server, run_server, open_server):
    client = run_server(make_server(limits=Limits(max_characters=20), keys=ApiKeys(["secret"])))
    page = open_server(client)
    page.fill("#source", "the dog")
    page.wait_for_selector("#problem:visible")
    assert page.inner_text("#problem") == "Please contact the server operator to get an API key"
    page.fill("#key", "secret")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#translation")).not_to_be_empty()
    assert not page.locator("#problem").is_visible()
    page.fill("#source", "the dog " * 3)
    page.wait_for_selector("#problem:visible")
    assert "exceeds text limit (20)" in page.inner_text("#problem")
    assert page.get_attribute("#count", "class") == "faint over"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_it_fits_the_window_and_follows_the_colours(make_server, run_server, gate, open_server, scheme, width):
    gate.opened.set()
    page = open_server(run_server(make_server(gate)), color_scheme=scheme, viewport={"width": width, "height": 800})
    text = " ".join(SENTENCES * 8)
    page.fill("#source", text)
    expect(page.locator("#translation")).to_have_text(f"0:{text}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # The field is as high as its text: nothing scrolls in it.
    assert page.evaluate("(f => f.scrollHeight <= f.clientHeight)(document.getElementById('source'))")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_the_field_for_a_key_leaves_room_for_the_title(make_server, run_server, open_server):
    client = run_server(make_server(keys=ApiKeys(["secret"])))
    page = open_server(client, viewport={"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    expect(page.locator("#key")).to_be_visible()
    title = page.locator("h1")
    line = title.evaluate("title => parseFloat(getComputedStyle(title).lineHeight)")
    assert title.bounding_box()["height"] < 1.5 * line


def test_markup_in_a_text_is_text(make_server, run_server, gate, open_server):
    gate.opened.set()
    page = open_server(run_server(make_server(gate)))
    text = "<img src=x onerror=alert(1)> <b>bold</b>"
    page.fill("#source", text)
    expect(page.locator("#translation")).to_have_text(f"0:{text}")
    assert page.locator("#translation img, #mirror img").count() == 0


def test_the_description_of_the_api_opens(client, open_server):
    page = open_server(client, "/docs")
    assert page.locator("h2").all_inner_texts()[0] == "POST /translate"
    page.click("text=Translate >> nth=0")
    page.wait_for_selector("#source")
