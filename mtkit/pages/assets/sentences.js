// The list of all sentences: searched, filtered, sorted, a page at a time.

const PAGE_SIZE = 25;

/** Return the texts of one sentence: source, references, and the hypotheses of the systems shown.
 * @param marks "reference": words that differ from the nearest reference; "baseline": from the first system shown. */
function sentenceTexts(sentence, shown, marks) {
  const lines = [];
  const add = (label, block, tags = []) =>
    lines.push(element("div", { class: "line" },
      element("dt", { dir: "auto" }, label, tags.map((tag) => element("span", { class: "tag" }, tag))), element("dd", {}, block)));
  if (sentence.source !== null) add("source", textBlock("p", sentence.source));
  sentence.references.forEach((text, i) =>
    add(sentence.references.length > 1 ? `reference ${i + 1}` : "reference", textBlock("p", text)));
  shown.forEach((system, position) => {
    const text = sentence.hypotheses[system];
    let before = null;
    if (marks === "reference") before = nearestText(sentence.references, text);
    if (marks === "baseline" && position > 0) before = sentence.hypotheses[shown[0]];
    add(DATA.systems[system].name, textBlock("p", text, before), sentence.flags[system]);
  });
  return element("dl", { class: "texts" }, lines);
}

/** Return the text with which another has most words in common. */
function nearestText(texts, other) {
  if (texts.length < 2) return texts[0] ?? null;
  const counts = texts.map((text) => countCommonWords(text, other));
  return texts[counts.indexOf(Math.max(...counts))];
}

/** Return a labelled choice. Options: [value, text]. */
function choice(label, options, onchange) {
  const select = element("select", { onchange: () => onchange(select.value) },
    options.map(([value, text]) => element("option", { value }, text)));
  return element("label", { class: "control" }, element("span", {}, label), select);
}

/** Return the list of all sentences with its controls. */
function sentenceList() {
  const sentences = DATA.sentences;
  const systems = DATA.systems;
  const lengths = sentences.map((s) => splitWords(s.references[0] ?? s.hypotheses[0]).length);
  const state = { search: "", flag: "", label: "", shown: systems.length > 1 ? [0, 1] : [0], marks: "reference", key: "line", descending: false, page: 0 };
  let texts = null; // in lower case, made at the first search
  let found = [];

  const status = element("p", { role: "status", "aria-live": "polite", class: "faint status" });
  const head = element("tr", { role: "row" });
  const body = element("tbody", { role: "rowgroup" });
  const pages = element("nav", { "aria-label": "Pages of the list", class: "pages" });

  const columns = () => {
    const [first, second] = state.shown;
    const chrf = (system) => ({ key: `chrf-${system}`, title: `chrF of ${systems[system].name}`, value: (i) => sentences[i].chrf[system] });
    const made = [{ key: "line", title: "Line", value: (i) => i }, { key: "text", title: "Texts" },
      { key: "length", title: "Words", value: (i) => lengths[i] }, chrf(first)];
    if (second !== undefined) {
      made.push(chrf(second));
      made.push({ key: "difference", title: "Difference", value: (i) => sentences[i].chrf[second] - sentences[i].chrf[first] });
    }
    return made;
  };

  const search = () => {
    const wanted = state.search.toLowerCase();
    if (wanted && !texts) {
      texts = sentences.map((s) => [s.source ?? "", ...s.references, ...s.hypotheses].join("\n").toLowerCase());
    }
    found = [];
    for (let i = 0; i < sentences.length; i++) {
      const sentence = sentences[i];
      if (state.label && sentence.label !== state.label) continue;
      if (state.flag && !state.shown.some((system) => matches(sentence.flags[system]))) continue;
      if (wanted && !texts[i].includes(wanted)) continue;
      found.push(i);
    }
    sort();
  };
  const matches = (flags) => (state.flag === "any" ? flags.length > 0 : flags.includes(state.flag));

  const sort = () => {
    const column = columns().find(({ key }) => key === state.key) ?? columns()[0];
    state.key = column.key;
    const values = new Map(found.map((i) => [i, column.value(i)]));
    const sign = state.descending ? -1 : 1;
    found.sort((a, b) => sign * (values.get(a) - values.get(b)) || a - b);
    state.page = 0;
    show();
  };

  const show = () => {
    const count_ = Math.max(1, Math.ceil(found.length / PAGE_SIZE));
    state.page = Math.min(Math.max(0, state.page), count_ - 1);
    const first = state.page * PAGE_SIZE;
    const made = columns();
    showHead(made);
    body.replaceChildren(...found.slice(first, first + PAGE_SIZE).map((i) => showRow(i, made)));
    const last = Math.min(found.length, first + PAGE_SIZE);
    const which = found.length === sentences.length ? "sentences" : `of ${count(sentences.length)} sentences`;
    status.textContent = found.length === 0 ? "No sentence matches."
      : `${count(found.length)} ${which}; shown: ${count(first + 1)} to ${count(last)}.`;
    showPages(count_);
  };

  const showHead = (made) => {
    const kept = document.activeElement?.dataset?.key;
    head.replaceChildren(...made.map(({ key, title, value }) => {
      const isSorted = key === state.key;
      const order = isSorted ? (state.descending ? "descending" : "ascending") : null;
      const sortBy = () => {
        state.descending = isSorted ? !state.descending : key === "length";
        state.key = key;
        sort();
      };
      const arrow = element("span", { "aria-hidden": "true", class: "arrow" }, isSorted ? (state.descending ? "↓" : "↑") : "↕");
      return element("th", { scope: "col", role: "columnheader", class: `column-${key.replace(/-.*/, "")}`, "aria-sort": order },
        value ? element("button", { type: "button", class: "sort", "data-key": key, onclick: sortBy },
          element("span", { dir: "auto" }, title), arrow) : title);
    }));
    if (kept) head.querySelector(`[data-key="${kept}"]`)?.focus();
  };

  const showRow = (i, made) => {
    const sentence = sentences[i];
    return element("tr", { role: "row" }, made.map(({ key, title, value }) => {
      if (key === "line") {
        return element("th", { scope: "row", role: "rowheader", class: "number column-line" }, element("span", { class: "key" }, "Line "), count(i + 1),
          sentence.label === null ? null : element("div", { class: "label", dir: "auto" }, sentence.label));
      }
      if (key === "text") return element("td", { role: "cell", class: "column-text" }, sentenceTexts(sentence, state.shown, state.marks));
      const number = value(i);
      const text = key === "length" ? count(number) : key === "difference" ? signed(number, 1) : decimal(number, 1);
      return element("td", { role: "cell", class: "number" }, element("span", { class: "key", dir: "auto" }, `${title} `), text);
    }));
  };

  const showPages = (total) => {
    const go = (page) => () => {
      state.page = page;
      show();
      section.scrollIntoView();
    };
    const number = element("input", { type: "number", min: 1, max: total, value: state.page + 1, "aria-label": `Page, of ${count(total)}`,
      onchange: () => go((Number.parseInt(number.value, 10) || 1) - 1)() });
    const button = (text, page) => element("button", { type: "button", onclick: go(page), disabled: page < 0 || page >= total }, text);
    pages.hidden = total === 1;
    pages.replaceChildren(button("Previous", state.page - 1), element("span", {}, "Page "), number, element("span", {}, ` of ${count(total)}`),
      button("Next", state.page + 1));
  };

  const change = (name, after) => (value) => {
    state[name] = value;
    after();
  };
  const input = element("input", { type: "search", placeholder: "in all texts", autocomplete: "off", oninput: () => change("search", search)(input.value) });
  const controls = [element("label", { class: "control wide" }, element("span", {}, "Search"), input)];
  const names = systems.map((system, i) => [String(i), system.name]);
  if (systems.length > 1) {
    if (systems.length > 2) {
      const show_ = (position) => (value) => {
        state.shown = state.shown.with(position, Number(value));
        search();
      };
      const second = choice("with", names, show_(1));
      second.querySelector("select").value = "1";
      controls.push(choice("Compare", names, show_(0)), second);
    }
    controls.push(choice("Mark words that differ", [["reference", "from the reference"], ["baseline", "between the systems"], ["none", "not at all"]], change("marks", show)));
  }
  const flags = ["empty", "untranslated", "repeated"].filter((flag) => sentences.some((s) => s.flags.some((own) => own.includes(flag))));
  if (flags.length) controls.push(choice("Output", [["", "all"], ["any", "any oddity"], ...flags.map((flag) => [flag, flag])], change("flag", search)));
  const labels = [...new Set(sentences.map((s) => s.label).filter((name) => name !== null))].sort();
  if (labels.length) controls.push(choice("Label", [["", "all"], ...labels.map((name) => [name, name])], change("label", search)));

  const section = element("section", { id: "sentences", "aria-labelledby": "sentences-title" },
    element("h2", { id: "sentences-title" }, "Sentences"),
    element("div", { class: "controls", role: "search" }, controls),
    element("p", { class: "faint key-line" }, element("ins", {}, "underlined"), ": only in this translation; ", element("del", {}, "struck through"),
      ": only in the text that it is compared with."),
    status,
    element("table", { role: "table", class: "sentences" }, element("caption", { class: "hidden-visually" }, "Sentences; the buttons of the head sort"),
      element("thead", { role: "rowgroup" }, head), body),
    pages);
  search();
  return section;
}

/** Return a number with its sign. */
function signed(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : `${value < 0 ? "−" : "+"}${text}`;
}
