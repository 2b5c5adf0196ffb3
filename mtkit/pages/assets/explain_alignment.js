/* The sentence with its word alignment, and the soft alignment. */


function buildSentence() {
  const readout = element("p", { class: "readout", role: "status" });
  const words = { source: ordinaryWords("source"), target: ordinaryWords("target") };
  const items = {};
  const linksOf = (side, i) => DATA.alignment.links.filter((link) => link[side === "source" ? 0 : 1] === i);
  const show = (side, i, isOn) => {
    const links = isOn ? linksOf(side, i) : [];
    items.source.forEach((item, s) => item.classList.toggle("on", links.some((link) => link[0] === s)));
    items.target.forEach((item, t) => item.classList.toggle("on", links.some((link) => link[1] === t)));
    items[side][i].classList.toggle("on", isOn);
    const [other, at] = side === "source" ? ["target", 1] : ["source", 0];
    const texts = [...new Set(links.map((link) => link[at]))].map((o) => words[other][o]?.text).filter(Boolean);
    const found = texts.length ? listed(texts.map(isolated)) : ["aligned to no word"];
    tell(readout, isOn ? [isolated(words[side][i].text), " – ", ...found] : null, hint);
  };
  const hint = "Point at a word to see what it is aligned to.";
  tell(readout, null, hint);
  for (const side of ["source", "target"]) {
    items[side] = words[side].map((word, i) => {
      const item = element("span", { class: "word" }, word.text); // no <bdi>, which dir="auto" does not look into
      item.show = (isOn) => show(side, i, isOn);
      return item;
    });
  }
  const line = (side) => element("p", { class: "sentence", dir: "auto" }, items[side].flatMap((item) => [item, " "]));
  const box = element("div", { class: "sentences" },
    element("h2", { class: "label" }, "Source"), line("source"),
    element("h2", { class: "label" }, DATA.is_forced ? "Translation, as given" : "Translation"), line("target"));
  rove(watch(box), [items.source, items.target]);
  return element("section", { id: "sentence", "aria-label": "Sentence and translation" }, box, readout);
}


const ALIGNMENT = {
  box: watch(element("div", { class: "scroll" })),
  readout: element("p", { class: "readout", role: "status" }),
};

function buildAlignment() {
  if (!NUM_ROWS || SIDES.source.ordinary[0] > SIDES.source.ordinary[1]) return null;
  const { layer, is_mean: isMean, step } = DATA.alignment;
  return element("section", { id: "alignment" }, element("h2", {}, "Which word was translated from which"),
    element("p", {}, "How much the model looks at each word of the source (a column) " +
      (step === "output" ? "when it writes each word of the translation (a row): "
        : "when it has just written each word of the translation (a row), and knows which one it translated: ") +
      (isMean ? "the mean of all heads of all decoder layers. " : `the mean of the heads of decoder layer ${layer}. `) +
      "Framed: the word alignment that follows from it."),
    ALIGNMENT.readout, ALIGNMENT.box);
}

function renderAlignment() {
  refill(ALIGNMENT.box, STATE.tokens, () => {
    const [columns, rows] = [alignedUnits("source"), alignedUnits("target")];
    const soft = joinPieces(DATA.alignment.matrix, rows.map((row) => fromFirst(row, "target")),
      columns.map((column) => fromFirst(column, "source")));
    const linked = new Set(DATA.alignment.links.map(String));
    const linkAt = (r, c) => {
      const link = rows[r] && columns[c] ? `${columns[c].word},${rows[r].word}` : "";
      return linked.has(link) ? link : null;
    };
    const hint = "Point at a cell to read it.";
    const heads = columns.map((unit) => element("th", { scope: "col" }, element("span", {}, showUnit(unit))));
    const body = rows.map((row, r) => {
      const head = element("th", { scope: "row" }, showUnit(row));
      const cells = columns.map((column, c) => {
        const weight = soft[r][c];
        const link = linkAt(r, c);
        const cell = element("td", { class: link && frame(link, r, c, linkAt), style: `--weight: ${shade(weight).toFixed(3)}` },
          element("span", { class: weight < 0.095 ? "small" : null }, weight.toFixed(2)));
        cell.show = (isOn) => {
          for (const one of [cell, head, heads[c]]) one.classList.toggle("on", isOn);
          const parts = [isolated(row.text), " ← ", isolated(column.text), `: ${weight.toFixed(2)}${link ? ", aligned" : ""}`];
          tell(ALIGNMENT.readout, isOn ? parts : null, hint);
        };
        return cell;
      });
      return { head, cells };
    });
    tell(ALIGNMENT.readout, null, hint);
    rove(ALIGNMENT.box, body.map(({ cells }) => cells));
    return [element("table", { class: "matrix" },
      element("caption", { class: "hidden-visually" }, "Soft alignment: rows are the translation, columns the source"),
      element("thead", {}, element("tr", {}, element("td"), heads)),
      element("tbody", {}, body.map(({ head, cells }) => element("tr", {}, head, cells))))];
  });
}

/** Return the units of a side without special tokens, each with the number of its word. */
function alignedUnits(side) {
  const words = ordinaryWords(side);
  const [first, last] = SIDES[side].ordinary;
  return unitsOf(side).filter((unit) => unit.first >= first && unit.last <= last)
    .map((unit) => ({ ...unit, word: unitAt(words, unit.first) }));
}

/** Return the span of a unit in the rows or columns of the matrix, which leaves special tokens out. */
function fromFirst(unit, side) {
  const [first] = SIDES[side].ordinary;
  return { first: unit.first - first, last: unit.last - first };
}

/** Return the classes of a cell of two aligned words: the sides on which their frame ends. */
function frame(link, r, c, linkAt) {
  const sides = { top: [r - 1, c], bottom: [r + 1, c], left: [r, c - 1], right: [r, c + 1] };
  return ["linked", ...Object.keys(sides).filter((side) => linkAt(...sides[side]) !== link)].join(" ");
}
