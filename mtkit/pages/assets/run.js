// The report of a training run.

const METRICS = { loss: "validation loss", bleu: "BLEU", chrf: "chrF2++" };
const CHART_HEIGHT = 190;
const MARGIN = { left: 48, right: 12, top: 12, bottom: 24 };

const rateText = (value) => (value === null ? "–" : value.toExponential(2).replace("e-", "e−").replace("e+", "e"));
const perplexity = (loss) => (loss === null ? null : Math.exp(Math.min(loss, 50)));
const timeText = (seconds) => {
  const minutes = Math.round(seconds / 60);
  if (minutes < 1) return `${Math.round(seconds)} s`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};

function summary() {
  const best = DATA.validations.find(({ step }) => step === DATA.best_step);
  const total = DATA.max_steps === null ? "" : ` of ${count(DATA.max_steps)}`;
  const facts = [
    ["State", DATA.is_finished ? "finished" : "not finished"],
    ["Steps", `${count(DATA.step)}${total}`],
    DATA.elapsed_seconds ? ["Time", timeText(DATA.elapsed_seconds)] : null,
    best ? ["Best validation", `step ${count(best.step)}: ${METRICS[DATA.best_metric]} ${decimal(best[DATA.best_metric], DATA.best_metric === "loss" ? 3 : 2)}`] : null,
    DATA.model_scores ? ["Finished model", `BLEU ${decimal(DATA.model_scores.bleu)}, chrF2++ ${decimal(DATA.model_scores.chrf)}, loss ${decimal(DATA.model_scores.loss, 3)}`] : null,
    ["Skipped updates", count(DATA.num_skipped)],
    ["Loss spikes", count(DATA.num_spikes)],
    ...DATA.facts,
  ];
  return element("dl", { class: "facts" }, facts.filter((fact) => fact !== null).map(([label, text]) =>
    element("div", {}, element("dt", {}, label), element("dd", { dir: "auto" }, text))));
}

/** Return a chart over steps, or nothing where no value is known.
 * Series: {name, steps, values, hasDots}. Marks: {step, name, kind}, drawn at the lower edge. Under the pointer, and with
 * the arrow keys, it tells the numbers of a step. */
function chart({ title, series, format, tickFormat = shortNumber, marks = [] }) {
  const known = series.filter(({ values }) => values.some((value) => value !== null));
  if (!known.length) return null;
  const all = known.flatMap(({ values }) => values.filter((value) => value !== null));
  const steps = [...new Set(known.flatMap((one) => one.steps))].sort((a, b) => a - b);
  const ticks = roundTicks(all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b)), 4);
  const readout = element("output", { class: "readout" });
  let cursor = null; // index in `steps`
  let move = () => {};

  const draw = (width) => {
    const [left, right, top, bottom] = [MARGIN.left, width - MARGIN.right, MARGIN.top, CHART_HEIGHT - MARGIN.bottom];
    const stepTicks = roundTicks(0, DATA.step, Math.max(2, Math.min(6, Math.floor(width / 90)))).filter((tick) => tick <= DATA.step);
    const x = scale(0, DATA.step, left, right);
    const y = scale(ticks[0], ticks.at(-1), bottom, top);
    const line = svg("line", { class: "cursor", y1: top, y2: bottom, visibility: "hidden" });
    const dots = svg("g", {});
    const made = svg("svg", { width, height: CHART_HEIGHT, "aria-hidden": "true" },
      ticks.flatMap((tick) => [
        svg("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }),
        svg("text", { class: "tick", x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, tickFormat(tick)),
      ]),
      stepTicks.map((tick) => svg("text", { class: "tick", x: x(tick), y: CHART_HEIGHT - 6, "text-anchor": "middle" }, shortNumber(tick))),
      known.flatMap((one) => drawSeries(one, x, y)),
      marks.map(({ step, name, kind }) => svg("path", { class: `mark ${kind}`, d: kind === "spike" ? "M-5 0L0 -9L5 0z" : "M-4 -8l8 8m0 -8l-8 8", transform: `translate(${x(step)} ${bottom})` },
        svg("title", {}, `${name}, step ${count(step)}`))),
      line, dots);
    move = (index) => {
      cursor = index;
      line.setAttribute("visibility", index === null ? "hidden" : "visible");
      dots.replaceChildren();
      if (index === null) return readout.replaceChildren();
      const step = steps[index];
      for (const side of ["x1", "x2"]) line.setAttribute(side, x(step));
      const values = known.map((one) => [one, one.values[one.steps.indexOf(step)] ?? null]).filter(([, value]) => value !== null);
      dots.append(...values.map(([one, value]) => symbol(one.index, x(step), y(value))));
      return readout.replaceChildren(`step ${count(step)}: ${values.map(([one, value]) => `${one.name} ${format(value)}`).join(", ")}`);
    };
    made.addEventListener("pointermove", (event) => {
      const wanted = ((event.offsetX - left) / (right - left)) * DATA.step;
      move(nearest(steps, wanted));
    });
    made.addEventListener("pointerleave", () => move(null));
    return made;
  };
  const press = (event) => {
    const moves = { ArrowLeft: (cursor ?? steps.length) - 1, ArrowRight: (cursor ?? -1) + 1, Home: 0, End: steps.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    move(Math.min(Math.max(0, moves[event.key]), steps.length - 1));
  };
  const last = known.map((one) => `${one.name} ${format(one.values.findLast((value) => value !== null))}`).join(", ");
  return element("section", { class: "panel chart" }, element("h3", {}, title), known.length > 1 ? curveLegend(known) : null,
    drawn(draw, { class: "plot", tabindex: 0, role: "group", "aria-label": `${title} over steps; at the end ${last}. The arrow keys read the values.`, onkeydown: press, onblur: () => move(null) }),
    readout);
}

/** Return the index of the value nearest to the one wanted, in a sorted list. */
function nearest(values, wanted) {
  let low = 0;
  let high = values.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle;
    else high = middle;
  }
  return wanted - values[low] < values[high] - wanted ? low : high;
}

/** Return the line of a series, parted where values are missing; few points get dots too. */
function drawSeries({ index, steps, values, hasDots }, x, y) {
  let path = "";
  let isDown = false;
  steps.forEach((step, i) => {
    if (values[i] !== null) path += `${isDown ? "L" : "M"}${x(step).toFixed(1)} ${y(values[i]).toFixed(1)}`;
    isDown = values[i] !== null;
  });
  const dots = hasDots && steps.length <= 60 ? steps.map((step, i) => (values[i] === null ? null : symbol(index, x(step), y(values[i]), { class: `series-${index} small` }))) : [];
  return [svg("path", { class: `curve series-${index}${steps.length > 200 ? " fine" : ""}`, d: path }), ...dots.filter((dot) => dot !== null)];
}

function curveLegend(series) {
  return element("ul", { class: "legend" }, series.map(({ name, index, hasDots }) => element("li", {},
    svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, svg("path", { class: `curve series-${index}`, d: "M0 6H26" }), hasDots ? symbol(index, 13, 6) : null), name)));
}

function charts() {
  const { step: steps } = DATA.training;
  const validated = DATA.validations.map(({ step }) => step);
  const ofTraining = (name, title, index = 0) => ({ name: title, index, steps, values: DATA.training[name], hasDots: false });
  const ofValidation = (name, title, index) => ({ name: title, index, steps: validated, values: DATA.validations.map((row) => row[name]), hasDots: true });
  const marks = [
    ...DATA.spikes.map(({ step, loss }) => ({ step, kind: "spike", name: `loss spike of ${decimal(loss, 3)}` })),
    ...DATA.skipped.map((step) => ({ step, kind: "skip", name: "update skipped" })),
  ];
  const whole = (value) => count(Math.round(value));
  const made = [
    chart({ title: "Loss a token", series: [ofTraining("loss", "training"), ofValidation("loss", "validation", 1)], format: (value) => decimal(value, 3), marks }),
    chart({ title: "Translation of the validation set", series: [ofValidation("bleu", "BLEU", 1), ofValidation("chrf", "chrF2++", 2)], format: (value) => decimal(value) }),
    chart({ title: "Learning rate", series: [ofTraining("learning_rate", "learning rate")], format: rateText, tickFormat: (value) => (value === 0 ? "0" : value.toExponential().replace("e-", "e−").replace("e+", "e")) }),
    chart({ title: "Target tokens a second", series: [ofTraining("tokens_per_second", "tokens a second")], format: whole }),
    chart({ title: "Gradient norm", series: [ofTraining("grad_norm", "gradient norm")], format: (value) => decimal(value, 3) }),
  ].filter((one) => one !== null);
  if (!made.length) return element("p", {}, "Nothing has been recorded yet.");
  const perPoint = Math.ceil(DATA.num_records / Math.max(1, steps.length));
  const notes = [
    perPoint > 1 ? `A point is the mean of ${perPoint} records.` : null,
    DATA.num_spikes ? "▲ marks a spike of the loss." : null,
    DATA.num_skipped ? "× marks an update that was skipped, its gradient not being finite." : null,
    DATA.num_spikes + DATA.num_skipped > marks.length ? "Of these marks only some are drawn." : null,
  ].filter((note) => note !== null);
  return element("section", {}, element("h2", {}, "Curves"), element("p", { class: "faint" }, "Over steps. Pointing at a curve, or the arrow keys, read its values. ", notes.join(" ")),
    element("div", { class: "panels curves" }, made));
}

function validations() {
  if (!DATA.validations.length) return element("section", {}, element("h2", {}, "Validations"), element("p", {}, "There was no validation."));
  const columns = [{ title: "Step", isNumber: true }, ...["Loss", "Perplexity", "BLEU", "chrF2++"].map((title) => ({ title, isNumber: true })), { title: "Best" }];
  const rows = DATA.validations.map((row) => [count(row.step), decimal(row.loss, 3), decimal(perplexity(row.loss)), decimal(row.bleu), decimal(row.chrf),
    row.step === DATA.best_step ? element("strong", {}, METRICS[DATA.best_metric]) : ""]);
  const omitted = DATA.num_validations > rows.length ? `; ${count(rows.length)} of ${count(DATA.num_validations)}` : "";
  const made = table(`Scores of greedy translations of the validation set${omitted}`, columns, rows);
  made.setAttribute("tabindex", "0");
  made.classList.add("tall");
  return element("section", {}, element("h2", {}, "Validations"), made);
}

function samples() {
  if (!DATA.samples.length) return null;
  return element("section", {}, element("h2", {}, "Translations over time"),
    element("p", { class: "faint" }, "Compared with the reference: ", element("ins", {}, "underlined"), " words are only in the translation, ", element("del", {}, "struck through"), " ones only in the reference."),
    DATA.samples.map(sample));
}

function sample({ source, reference, translations }) {
  const steps = ([first, last]) => (first === last ? count(first) : `${count(first)} to ${count(last)}`);
  const body = translations.map((row) => element("tr", {}, element("th", { scope: "row", class: "number" }, steps(row)), element("td", {}, textBlock("p", row[2], reference))));
  return element("article", { class: "sample" },
    element("dl", {}, element("dt", {}, "source"), element("dd", {}, textBlock("p", source)), element("dt", {}, "reference"), element("dd", {}, textBlock("p", reference))),
    element("div", { class: "tall", tabindex: 0, role: "group", "aria-label": "Translations" },
      element("table", {}, element("caption", { class: "hidden-visually" }, "Translations by step"),
        element("thead", {}, element("tr", {}, element("th", { scope: "col", class: "number" }, "Step"), element("th", { scope: "col" }, "Translation"))), element("tbody", {}, body))));
}

function recipe() {
  return element("section", {}, element("h2", {}, "Recipe"), element("details", {}, element("summary", {}, "All fields, as the run used them"),
    element("pre", { tabindex: 0, role: "group", "aria-label": "Recipe" }, DATA.recipe)));
}

PAGE.append(...[summary(), charts(), samples(), validations(), recipe()].filter((made) => made !== null));
performance.mark("shown");
