/* The head view: queries on the left, keys on the right, a line for each weight; and maps of all heads. */

const HEADS = {
  controls: element("div", { class: "controls" }),
  text: element("p"),
  view: watch(element("div", { class: "columns" })),
  readout: element("p", { class: "readout", role: "status" }),
  multiplesTitle: element("h3"),
  multiples: element("div", { class: "multiples", role: "group" }),
  overview: element("div", { class: "overview", role: "group" }),
};
let weights = []; // [query][key] of the view
let pointed = null; // the unit under the mouse or the focus: {side, index}
let isDue = false; // whether it is to be drawn anew

function buildHeads() {
  return element("section", { id: "heads" },
    element("h2", {}, "What each head looks at"),
    element("div", { class: "split" },
      element("div", {}, HEADS.controls, HEADS.text,
        element("p", { class: "faint" }, "The stronger a line, the greater the weight. Point at a word, or go to " +
          "it with Tab and the arrow keys, to see only its weights; click or press Enter to pin it."),
        HEADS.readout, HEADS.view),
      element("aside", {},
        HEADS.multiplesTitle,
        element("p", { class: "faint" }, "A row is a word that looks, a column a word looked at; stronger is more. " +
          "Click a head to choose it."),
        HEADS.multiples,
        element("h3", {}, "All layers and heads"), HEADS.overview)),
    element("details", { open: true },
      element("summary", {}, "Where do the weights come from?"),
      formula(),
      element("p", {}, "Each head turns every word into three vectors of its own: a query (what the word looks for), a " +
        "key (what it can be found by) and a value (what it passes on), which are the rows of Q, K and V. A query is " +
        "compared with each key by their dot product, divided by √d", element("sub", {}, "k"), " (where d",
        element("sub", {}, "k"), " is the number of entries of a key) to keep it small. Softmax makes weights of these: " +
        "positive, of sum 1. In these proportions the word takes the values of all words."),
      element("p", {}, `Here each layer has ${DATA.num_heads} heads, and each learns to look for something else. What a ` +
        "head looks at is a hint of what the model does, not a proof: later layers mix what the heads collected.")));
}

function formula() {
  const math = (tag, ...children) =>
    fill(document.createElementNS("http://www.w3.org/1998/Math/MathML", tag), {}, children);
  const [mi, mo] = [(text) => math("mi", text), (text) => math("mo", text)];
  return element("p", { class: "formula" }, fill(
    math("math", mi("Attention"), mo("("), mi("Q"), mo(","), mi("K"), mo(","), mi("V"), mo(")"), mo("="), mi("softmax"),
      mo("("), math("mfrac", math("mrow", mi("Q"), math("msup", mi("K"), mi("T"))),
        math("msqrt", math("msub", mi("d"), mi("k")))), mo(")"), mi("V")),
    { displaystyle: "true", "aria-label": "Attention of Q, K and V: softmax of Q K transposed over root d k, times V" }, []));
}

function renderControls() {
  const numLayers = KINDS[STATE.kind].layers.length;
  const numbers = (n) => Array.from({ length: n }, (_, i) => [i + 1, String(i + 1)]);
  if (!HEADS.controls.children.length) {
    HEADS.controls.append(
      choice("Attention", "kind", Object.keys(KINDS).map((kind) => [kind, KINDS[kind].name]), (kind) => update({ kind })),
      element("div"),
      choice("Head", "head", [[0, "average"], ...numbers(DATA.num_heads)], (head) => update({ head })),
      choice("Show", "tokens", [["words", "words"], ["pieces", "pieces"]], (tokens) => update({ tokens })));
  }
  refill(HEADS.controls.children[1], numLayers, () =>
    [choice("Layer", "layer", numbers(numLayers), (layer) => update({ layer }))]);
  for (const input of HEADS.controls.querySelectorAll("input")) {
    input.checked = input.value === String(STATE[input.name]);
  }
}

function renderHeads() {
  const kind = KINDS[STATE.kind];
  renderControls();
  HEADS.text.textContent = kind.text + (STATE.tokens === "pieces" ? ""
    : " The weights of a word's pieces are summed where it is looked at, and averaged where it looks.");
  weights = joinedWeights(STATE.kind, STATE.layer, STATE.head);
  refill(HEADS.view, `${STATE.kind} ${STATE.tokens}`, () => buildColumns(kind));
  renderSelection();
  HEADS.multiplesTitle.textContent = `All heads of layer ${STATE.layer}`;
  const headButton = (layer, head, label) => element("button", {
    type: "button", class: "map", "data-layer": layer, "data-head": head, "aria-label": `Layer ${layer}, head ${head}`,
    onclick: () => update({ layer, head }),
  }, label, heatMap(joinedWeights(STATE.kind, layer, head)));
  const heads = Array.from({ length: DATA.num_heads }, (_, i) => i + 1);
  refill(HEADS.multiples, `${STATE.kind} ${STATE.tokens} ${STATE.layer}`, () =>
    heads.map((head) => headButton(STATE.layer, head, element("span", {}, `Head ${head}`))));
  refill(HEADS.overview, `${STATE.kind} ${STATE.tokens}`, () => {
    HEADS.overview.style.setProperty("--heads", DATA.num_heads);
    return [element("span"), ...heads.map((head) => element("span", { class: "head" }, String(head))),
      ...kind.layers.flatMap((_, i) => [element("span", { class: "layer" }, `Layer ${i + 1}`),
        ...heads.map((head) => headButton(i + 1, head, null))])];
  });
  for (const box of [HEADS.multiples, HEADS.overview]) {
    const buttons = [...box.querySelectorAll("button")];
    for (const button of buttons) {
      const isChosen = Number(button.dataset.layer) === STATE.layer && Number(button.dataset.head) === STATE.head;
      button.setAttribute("aria-pressed", String(isChosen));
    }
    if (box.roved !== box.key) {
      box.roved = box.key;
      const numLines = buttons.length / DATA.num_heads;
      rove(box, Array.from({ length: numLines }, (_, i) => buttons.slice(i * DATA.num_heads, (i + 1) * DATA.num_heads)));
    }
  }
  HEADS.overview.querySelectorAll(".layer").forEach((label, i) =>
    label.classList.toggle("chosen", i + 1 === STATE.layer));
  HEADS.multiples.setAttribute("aria-label", `All heads of layer ${STATE.layer}`);
  HEADS.overview.setAttribute("aria-label", "All layers and heads");
}

function buildColumns(kind) {
  pointed = null;
  const column = (side, units, title) => element("div", { class: `column ${side}` },
    element("h3", {}, title),
    element("ul", {}, units.map((unit, index) => {
      const button = element("button", { type: "button", class: "token", "data-side": side, "data-index": index,
        onclick: () => togglePin(side, unit, index) }, showUnit(unit));
      button.show = (isOn) => {
        pointed = isOn ? { side, index } : null;
        drawSoon();
      };
      const next = side === "query" && kind.queries === "target"
        ? element("span", { class: "next", title: "what comes next" }, " → ", showUnit(nextUnit(units, index))) : null;
      return element("li", {}, side === "query" ? element("span", { class: "weight" }) : null,
        element("span", { class: "cell" }, button, next), side === "key" ? element("span", { class: "weight" }) : null);
    })));
  const [queries, keys] = [unitsOf(kind.queries), unitsOf(kind.keys)];
  const columns = [column("query", queries, kind.columns[0]), column("key", keys, kind.columns[1])];
  const height = Math.max(queries.length, keys.length);
  const lines = svg("svg", {
    class: "lines", viewBox: `0 0 100 ${10 * height}`, preserveAspectRatio: "none", "aria-hidden": "true",
  });
  lines.style.setProperty("--rows", height);
  rove(HEADS.view, columns.map((one) => [...one.querySelectorAll("button")]), true);
  return [columns[0], element("div", {}, lines), columns[1]];
}

/** Return the unit behind another one of the translation; behind the last one it is </s>. */
function nextUnit(units, index) {
  const end = DATA.next_tokens.at(-1);
  return units[index + 1] ?? { text: end, piece: STATE.tokens === "words" ? null : end };
}

function togglePin(side, unit, index) {
  const units = unitsOf(KINDS[STATE.kind][side === "query" ? "queries" : "keys"]);
  const isPinned = STATE.pin?.side === side && unitAt(units, STATE.pin.token) === index;
  update({ pin: isPinned ? null : { side, token: unit.first } });
}

/** Draw once, however many words the mouse or the focus has left and reached. */
function drawSoon() {
  if (!isDue) queueMicrotask(() => { isDue = false; renderSelection(); });
  isDue = true;
}

/** Draw the lines and numbers of what is pointed at or pinned, or else the lines of all. */
function renderSelection() {
  const kind = KINDS[STATE.kind];
  const units = { query: unitsOf(kind.queries), key: unitsOf(kind.keys) };
  const pinned = STATE.pin && { side: STATE.pin.side, index: unitAt(units[STATE.pin.side], STATE.pin.token) };
  const shown = pointed ?? pinned;
  const weightAt = (side, index) => shown && shown.side !== side
    ? (side === "key" ? weights[shown.index][index] : weights[index][shown.index]) : null;
  for (const item of HEADS.view.querySelectorAll("li")) {
    const { side, index } = item.querySelector("button").dataset;
    const weight = weightAt(side, Number(index));
    const isShown = shown?.side === side && shown.index === Number(index);
    item.classList.toggle("shown", isShown);
    item.classList.toggle("aside", Boolean(shown) && shown.side === side && !isShown);
    item.style.setProperty("--weight", weight === null ? 0 : shade(weight));
    item.querySelector(".weight").textContent = weight === null ? "" : weight.toFixed(2);
    item.querySelector(".weight").classList.toggle("none", weight !== null && weight < 0.005);
    const isPinned = pinned?.side === side && pinned.index === Number(index);
    item.querySelector("button").setAttribute("aria-pressed", String(isPinned));
  }
  const paths = [];
  weights.forEach((row, q) => row.forEach((weight, k) => {
    if (weight < 0.01 || (shown && (shown.side === "query" ? shown.index !== q : shown.index !== k))) return;
    const [from, to] = [10 * q + 5, 10 * k + 5];
    paths.push(svg("path", {
      d: `M0 ${from}C50 ${from} 50 ${to} 100 ${to}`, "stroke-opacity": weight.toFixed(3),
      "stroke-width": (1 + 4 * weight).toFixed(2), "data-query": q, "data-key": k,
    }));
  }));
  HEADS.view.querySelector("svg").replaceChildren(...paths);
  const hint = `Layer ${STATE.layer}, ${STATE.head ? `head ${STATE.head}` : `average of ${DATA.num_heads} heads`}: all weights`;
  tell(HEADS.readout, shown ? describe(shown, units, weightAt) : null, hint);
}

/** Return in words and elements what a unit looks at most, or which units look at it most. */
function describe(shown, units, weightAt) {
  const other = shown.side === "query" ? "key" : "query";
  const largest = units[other].map((unit, i) => [weightAt(other, i), unit.text]).sort((a, b) => b[0] - a[0]).slice(0, 3)
    .filter(([weight]) => weight >= 0.005).map(([weight, text]) => [isolated(text), ` ${weight.toFixed(2)}`]);
  const word = isolated(units[shown.side][shown.index].text);
  if (shown.side === "key") return [word, " is looked at by: ", ...(largest.length ? listed(largest) : ["no word"])];
  const next = KINDS[STATE.kind].queries === "target" ? [" → ", isolated(nextUnit(units.query, shown.index).text)] : [];
  return [word, ...next, " looks at: ", ...listed(largest)];
}
