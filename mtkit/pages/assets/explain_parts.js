/* What is shown: a kind of attention, a layer and a head (from 1; head 0 is the average), words or pieces, the pinned
 * token of a side ("query" or "key", counted in pieces, whatever the view), and a step of the beam. */
const KINDS = {
  encoder: {
    name: "Encoder", queries: "source", keys: "source", layers: DATA.encoder,
    columns: ["source, looking (queries)", "source, looked at (keys)"],
    text: "Encoder self-attention: each word of the source looks at all words of the source, and takes from each of " +
      "them as much as its weight says. So a word such as “it” can collect what it stands for.",
  },
  decoder: {
    name: "Decoder, masked", queries: "target", keys: "target", layers: DATA.decoder,
    columns: ["translation, looking (queries)", "translation, looked at (keys)"],
    text: "Masked decoder self-attention: each word of the translation looks at itself and at the words before it. " +
      "Those behind it are masked, with weight 0: when the model translates, they do not exist yet.",
  },
  cross: {
    name: "Encoder–decoder", queries: "target", keys: "source", layers: DATA.cross,
    columns: ["translation, looking (queries)", "source, looked at (keys)"],
    text: "Encoder–decoder attention: the word of the translation that was written last looks at the source, for the " +
      "word that comes next (behind the arrow): often it looks at the word that is about to be translated.",
  },
};

const SIDES = {
  source: { tokens: DATA.source_tokens, words: DATA.source_words, name: "source" },
  target: { tokens: DATA.target_tokens, words: DATA.target_words, name: "translation" },
};
const NUM_ROWS = DATA.alignment.matrix.length;
const NUM_TAGS = NUM_ROWS ? DATA.source_tokens.length - 1 - DATA.alignment.matrix[0].length : 0;
SIDES.source.ordinary = [NUM_TAGS, DATA.source_tokens.length - 2]; // without tags and </s>
SIDES.target.ordinary = [1, DATA.target_tokens.length - 1]; // without the start symbol

const DEFAULT = { kind: "cross", layer: DATA.alignment.layer, head: 0, tokens: "words", pin: null, step: 1 };
const STATE = { ...DEFAULT };

// ---- Text and numbers

/** Return the text of pieces, U+2581 turned into a space. */
function plain(pieces) {
  return pieces.join("").replaceAll("▁", " ").trim();
}

/** Return a piece as it is, its space marks set off. */
function showPiece(piece) {
  return element("bdi", {}, piece.split(/(▁)/).filter(Boolean).map((part) =>
    part === "▁" ? element("span", { class: "space" }, part) : part));
}

/** Return the units of a side in the chosen view: {first, last, text}, counted in pieces. */
function unitsOf(side, view = STATE.tokens) {
  const { tokens, words } = SIDES[side];
  const spans = view === "words" ? words : tokens.map((_, i) => [i, i]);
  return spans.map(([first, last]) => {
    const pieces = tokens.slice(first, last + 1);
    return { first, last, text: plain(pieces) || pieces.join(""), piece: view === "words" ? null : pieces[0] };
  });
}

/** Return the words of a side between which the links are: those of the text, without special tokens. */
function ordinaryWords(side) {
  const [first, last] = SIDES[side].ordinary;
  return unitsOf(side, "words").filter((unit) => unit.first >= first && unit.last <= last);
}

function showUnit(unit) {
  return unit.piece === null ? element("bdi", {}, unit.text) : showPiece(unit.piece);
}

function unitAt(units, token) {
  return units.findIndex((unit) => unit.first <= token && token <= unit.last);
}

function signed(value) {
  return value.toFixed(2).replace(/^-0\.00$/, "0.00").replace("-", "−");
}

function percent(p) {
  return p < 0.001 ? "< 0.1 %" : `${(100 * p).toFixed(1)} %`;
}

// ---- Weights

/** Return [query][key] in 0..1 between pieces: of a head, or of all heads on average (head 0). */
function weightsOf(kind, layer, head) {
  const heads = KINDS[kind].layers[layer - 1];
  const chosen = head ? [heads[head - 1]] : heads;
  return chosen[0].map((row, q) =>
    row.map((_, k) => chosen.reduce((sum, one) => sum + one[q][k], 0) / chosen.length / DATA.scale));
}

/** Return the weights between units: those of the key's pieces summed, those of the query's pieces averaged. */
function joinPieces(matrix, queries, keys) {
  return queries.map((query) => keys.map((key) => {
    let sum = 0;
    for (let q = query.first; q <= query.last; q++) for (let k = key.first; k <= key.last; k++) sum += matrix[q][k];
    return sum / (query.last - query.first + 1);
  }));
}

function joinedWeights(kind, layer, head) {
  const { queries, keys } = KINDS[kind];
  return joinPieces(weightsOf(kind, layer, head), unitsOf(queries), unitsOf(keys));
}

// ---- Elements of more than one view

/** Let the arrow keys move the focus among elements of which one is reached by Tab. They stand in lines; `isDown` says
 * that a line goes down. */
function rove(container, lines, isDown = false) {
  let current = null;
  const reach = (chosen) => {
    if (current) current.tabIndex = -1;
    current = chosen;
    if (current) current.tabIndex = 0;
  };
  lines.forEach((line, l) => line.forEach((item, i) => {
    item.setAttribute("tabindex", -1);
    item.place = [l, i];
  }));
  container.reach = (item) => item.place && reach(item);
  if (!container.onkeydown) container.addEventListener("focusin", (event) => container.reach(event.target));
  reach(lines.flat().find((item) => item.getAttribute("aria-pressed") === "true") ?? lines.flat()[0] ?? null);
  const along = isDown ? ["ArrowUp", "ArrowDown"] : ["ArrowLeft", "ArrowRight"];
  const across = isDown ? ["ArrowLeft", "ArrowRight"] : ["ArrowUp", "ArrowDown"];
  container.onkeydown = (event) => {
    const place = event.target.place;
    if (!place || event.ctrlKey || event.altKey || event.metaKey) return;
    let [l, i] = place;
    const isReversed = !isDown && getComputedStyle(event.target).direction === "rtl";
    if (along.includes(event.key)) i += (event.key === along[0]) === isReversed ? 1 : -1;
    else if (across.includes(event.key)) l += event.key === across[0] ? -1 : 1;
    else if (event.key === "Home") i = 0;
    else if (event.key === "End") i = lines[l].length - 1;
    else return;
    event.preventDefault();
    const line = lines[Math.min(Math.max(l, 0), lines.length - 1)];
    line[Math.min(Math.max(i, 0), line.length - 1)]?.focus();
  };
}

/** Call the `show` of an item in the container with true while the mouse is on it or, where it is on none, the keyboard's
 * focus is, and with false after; on a touch screen, a tap begins and another ends it. One set of listeners serves
 * thousands of items. */
function watch(container) {
  let shown = null;
  const findFocused = () => {
    const focused = document.activeElement;
    return container.contains(focused) && focused.matches(":focus-visible") ? findItem(container, focused) : null;
  };
  const change = (target) => {
    const item = (target && findItem(container, target)) ?? findFocused();
    if (item === shown) return;
    shown?.show(false);
    shown = item;
    shown?.show(true);
  };
  container.addEventListener("pointerover", (event) => event.pointerType === "mouse" && change(event.target));
  container.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && change(null));
  container.addEventListener("click", (event) => {
    const isTap = event.pointerType && event.pointerType !== "mouse";
    if (isTap) change(findItem(container, event.target) === shown ? null : event.target);
  });
  container.addEventListener("focusin", (event) => event.target.matches(":focus-visible") && change(event.target));
  container.addEventListener("focusout", () => change(null));
  return container;
}

function findItem(container, target) {
  let item = target;
  while (item !== container && !item.show) item = item.parentElement;
  return item === container ? null : item;
}

/** Return a set of radio buttons. Choices: [value, text]. */
function choice(title, name, choices, change) {
  return element("fieldset", { class: "choice" }, element("legend", {}, title),
    element("div", {}, choices.map(([value, text]) => element("label", {},
      element("input", { type: "radio", name, value, checked: String(STATE[name]) === String(value),
        onchange: () => change(value) }),
      element("span", {}, text)))));
}

/** Return a heat map of one pixel a weight, which style sheets enlarge; rows are queries. */
function heatMap(matrix) {
  const canvas = element("canvas", { width: matrix[0].length, height: matrix.length, "aria-hidden": "true" });
  canvas.matrix = matrix;
  return paint(canvas);
}

function paint(canvas) {
  const color = getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
  const rgb = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  const image = new ImageData(canvas.width, canvas.height);
  const { data } = image;
  let place = 0;
  for (const row of canvas.matrix) {
    for (const weight of row) {
      data[place++] = rgb[0];
      data[place++] = rgb[1];
      data[place++] = rgb[2];
      data[place++] = 255 * shade(weight);
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Return how strongly a weight is drawn, 0..1: small ones stay visible. */
function shade(weight) {
  return Math.min(1, weight) ** 0.7;
}

/** Fill a container anew, unless it holds what belongs to the key already: so focus stays where it is. */
function refill(container, key, make) {
  if (container.key === key) return;
  container.key = key;
  container.replaceChildren(...make());
}

/** Return a word in the direction of its own script, whatever stands beside it. */
function isolated(text) {
  return element("bdi", {}, text);
}

/** Return parts with a comma between them. */
function listed(parts) {
  return parts.flatMap((part, i) => (i ? [", ", part] : [part])).flat();
}

/** Tell what is pointed at (text and elements), in a line that stays as high as it is; without any, the hint. */
function tell(readout, parts, hint) {
  readout.replaceChildren(...(parts ?? [hint]));
  readout.classList.toggle("faint", parts === null);
}
