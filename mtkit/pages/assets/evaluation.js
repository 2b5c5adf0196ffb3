// The report of an evaluation.

const METRICS = { bleu: "BLEU", chrf: "chrF2++", ter: "TER" };
const SIGNIFICANT = 0.05;

const metricTitle = (name) => METRICS[name] ?? name;
const isLowerBetter = (name) => name === "ter";
/** Return how many decimals a metric is told with: metrics of 0 to 1 need more. */
function scoreDigits(metric) {
  return DATA.systems.every((system) => Math.abs(scoreOf(system, metric)?.score ?? 0) <= 2) ? 4 : 2;
}
const scoreOf = (system, metric) => system[metric] ?? system.external[metric] ?? null;
const metricNames = () => {
  const own = Object.keys(METRICS).filter((name) => DATA.systems.some((system) => system[name]));
  return [...own, ...new Set(DATA.systems.flatMap((system) => Object.keys(system.external)))];
};

/** Return a name as text in the direction of its own script. */
function named(text) {
  return element("span", { dir: "auto", class: "name" }, text);
}

function part(title, ...children) {
  return element("section", {}, element("h2", {}, title), ...children);
}

function summary() {
  const references = DATA.reference_count === 1 ? "one reference" : `${count(DATA.reference_count)} references`;
  const baseline = DATA.systems.length > 1 ? ["; the baseline is ", named(DATA.systems[0].name)] : [];
  return element("p", { class: "faint" }, `${count(DATA.sentence_count)} ${DATA.sentence_count === 1 ? "sentence" : "sentences"}, ${references}`, baseline, ".");
}

function scores() {
  const metrics = metricNames();
  const hasIntervals = DATA.systems.some((system) => metrics.some((name) => scoreOf(system, name)?.interval));
  const columns = [{ title: "System" }, ...metrics.map((name) => ({ title: metricTitle(name), isNumber: true })), { title: "Length ratio", isNumber: true }];
  const rows = DATA.systems.map((system) => [named(system.name), ...metrics.map((name) => scoreCell(scoreOf(system, name), scoreDigits(name))), decimal(system.length_ratio, 3)]);
  const intervals = hasIntervals ? ", with 95 % bootstrap intervals" : "";
  return part("Scores",
    element("div", { class: "panels" }, metrics.map(scorePanel)),
    table(`Corpus scores${intervals}; length ratio: words of the translations per word of the references`, columns, rows));
}

function scoreCell(score, digits) {
  if (score === null) return "–";
  return [decimal(score.score, digits), score.interval && element("div", { class: "faint" }, intervalText(score.interval, digits))];
}

const intervalText = ([low, high], digits) => `${decimal(low, digits)} to ${decimal(high, digits)}`;

/** Return the plot of one metric: a line a system, a dot at its score, a bar over its interval. */
function scorePanel(metric) {
  const rows = DATA.systems.map((system, i) => ({ name: system.name, index: i, ...scoreOf(system, metric) })).filter((row) => row.score !== undefined);
  const values = rows.flatMap((row) => [row.score, ...(row.interval ?? [])]);
  const ticks = roundTicks(Math.min(...values), Math.max(...values), 4);
  const digits = scoreDigits(metric);
  const described = rows.map((row) => `${row.name}: ${decimal(row.score, digits)}${row.interval ? ` (${intervalText(row.interval, digits)})` : ""}`).join("; ");
  const direction = isLowerBetter(metric) ? "lower is better" : "higher is better";
  const draw = (width) => {
    const height = rows.length * 40;
    const x = scale(ticks[0], ticks.at(-1), 10, width - 10);
    const marks = rows.map((row, i) => {
      const y = i * 40 + 28;
      const bar = row.interval && svg("path", { class: `interval series-${row.index % 6}`, d: `M${x(row.interval[0])} ${y}H${x(row.interval[1])}m0 -4v8M${x(row.interval[0])} ${y - 4}v8` });
      return [
        svg("text", { class: "backed", x: 0, y: y - 12 }, svg("title", {}, row.name), shorten(row.name, width - 60)),
        svg("text", { class: "backed value", x: width, y: y - 12, "text-anchor": "end" }, decimal(row.score, digits)),
        bar, symbol(row.index, x(row.score), y),
      ];
    });
    return svg("svg", { width, height: height + 22, role: "img", "aria-label": `${metricTitle(metric)}, ${direction}. ${described}` }, verticalGrid(ticks, x, height), marks.flat());
  };
  return element("div", { class: "panel" }, element("h3", {}, metricTitle(metric), " ", element("small", { class: "faint" }, direction)), drawn(draw));
}

function significance() {
  if (!DATA.comparisons.length) return null;
  const columns = [{ title: "System" }, { title: "Metric" }, { title: "Difference", isNumber: true }, { title: "p, bootstrap", isNumber: true },
    { title: "p, randomisation", isNumber: true }, { title: "In words" }];
  const rows = DATA.comparisons.map((row) => [named(row.system), named(metricTitle(row.metric)), signed(row.difference, scoreDigits(row.metric)), chance(row.bootstrap_p), chance(row.randomization_p), inWords(row)]);
  return part("Is the difference real?",
    element("p", {}, `p is how often chance alone would make a difference at least as large, were both systems equally good; that of the bootstrap is about half of it, as sacreBLEU computes it. Here a difference counts as significant where every test that was made, of paired bootstrap and paired approximate randomisation, gives less than ${SIGNIFICANT}. Of many comparisons, some fall below it by chance.`),
    table(["Each system against the baseline, ", named(DATA.systems[0].name)], columns, rows));
}

const chance = (p) => (p === null ? "not tested" : p < 0.0001 ? "< 0.0001" : decimal(p, 4));

function inWords({ metric, difference, bootstrap_p: bootstrap, randomization_p: randomization }) {
  const tests = [bootstrap, randomization].filter((p) => p !== null);
  const agreeing = tests.filter((p) => p < SIGNIFICANT).length;
  if (difference === 0) return "the same score";
  if (!tests.length) return "not tested";
  if (agreeing === 0) return "may well be chance";
  if (agreeing < tests.length) return "uncertain: the tests disagree";
  const isBetter = difference > 0 !== isLowerBetter(metric);
  return element("strong", { class: isBetter ? "better" : "worse" }, isBetter ? "significantly better" : "significantly worse");
}

const GROUP_SCORES = [["bleu", "BLEU", 1], ["chrf", "chrF2++", 1], ["length_ratio", "length ratio", 3]];

function breakdowns() {
  if (!DATA.breakdowns.length) return null;
  return part("Where the errors are", DATA.systems.length > 1 ? legend(DATA.systems.map((system) => system.name)) : null,
    element("div", { class: "panels wide" }, DATA.breakdowns.map(breakdown)));
}

function breakdown({ by, unit, groups }) {
  const scores = GROUP_SCORES.filter(([key]) => groups.some((group) => group.systems.some((system) => isKnown(system[key]))));
  if (!scores.length) return null;
  const described = unit.charAt(0).toUpperCase() + unit.slice(1);
  const plot = element("div");
  const numbers = element("div");
  const buttons = scores.map(([key, title]) => element("button", { type: "button", "aria-pressed": "false", onclick: () => choose(key) }, title));
  const choose = (key) => {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(scores[i][0] === key)));
    const [, title, digits] = scores.find(([name]) => name === key);
    plot.replaceChildren(drawn((width) => groupPlot(groups, key, title, digits, width)));
    const columns = [{ title: `By ${by}` }, { title: "Sentences", isNumber: true }, ...DATA.systems.map(({ name }) => ({ title: named(name), isNumber: true }))];
    const rows = groups.map((group) => [named(group.label), count(group.sentences), ...group.systems.map((system) => decimal(system[key], digits))]);
    numbers.replaceChildren(table(`${title}. ${described}`, columns, rows));
  };
  choose(scores[0][0]);
  return element("div", { class: "panel" }, element("h3", {}, `By ${by}`), element("p", { class: "faint unit" }, described),
    element("div", { class: "buttons", role: "group", "aria-label": "Score that is shown" }, buttons), plot,
    element("details", {}, element("summary", {}, "As a table"), numbers));
}

/** Return a plot with a line a group and a mark a system; labels stand beside the marks where there is room. */
function groupPlot(groups, key, title, digits, width) {
  const valueTexts = groups.map((group) => group.systems.map((system) => decimal(system[key], digits)).join(" · "));
  const labels = groups.map((group) => `${group.label} (${count(group.sentences)})`);
  const right = Math.max(...valueTexts.map((text) => text.length)) * 6.8 + 16;
  const left = Math.min(180, Math.max(...labels.map((text) => text.length)) * 6.6 + 20);
  const isWide = width - left - right > 160;
  const row = isWide ? 28 : 40;
  const values = groups.flatMap((group) => group.systems.map((system) => system[key])).filter(isKnown);
  const ticks = roundTicks(Math.min(...values), Math.max(...values), 4);
  const height = groups.length * row;
  const x = isWide ? scale(ticks[0], ticks.at(-1), left, width - right) : scale(ticks[0], ticks.at(-1), 10, width - 10);
  const marks = groups.map((group, i) => {
    const y = (i + 1) * row - (isWide ? row / 2 : 12);
    const textY = isWide ? y + 4 : y - 12;
    const known = group.systems.map((system, s) => [system[key], s]).filter(([value]) => isKnown(value));
    const ends = known.map(([value]) => x(value));
    return [
      svg("text", { class: "backed", x: 0, y: textY }, svg("title", {}, group.label), shorten(labels[i], isWide ? left - 16 : width - right)),
      svg("text", { class: "backed value", x: width, y: textY, "text-anchor": "end" }, valueTexts[i]),
      ends.length > 1 ? svg("line", { class: "span", x1: Math.min(...ends), x2: Math.max(...ends), y1: y, y2: y }) : null,
      ...known.map(([value, s]) => symbol(s, x(value), y)),
    ];
  });
  const described = groups.map((group, i) => `${group.label}: ${valueTexts[i]}`).join("; ");
  return svg("svg", { width, height: height + 22, role: "img", "aria-label": `${title}. ${described}` }, verticalGrid(ticks, x, height), marks.flat());
}

const isKnown = (value) => value !== null && value !== undefined;

function oddities() {
  const kinds = ["empty", "untranslated", "repeated"];
  const rows = DATA.systems.map((system) => [named(system.name), ...kinds.map((kind) => (system.oddities[kind] === null ? "–" : count(system.oddities[kind])))]);
  const columns = [{ title: "System" }, { title: "Empty", isNumber: true }, { title: "Untranslated", isNumber: true }, { title: "Repeated", isNumber: true }];
  const note = DATA.systems.some((system) => system.oddities.untranslated === null) ? "; what is untranslated is known only where the source is given" : "";
  return part("Odd output", table(`Lines of odd output, out of ${count(DATA.sentence_count)}${note}`, columns, rows));
}

const FIRST_SHOWN = 5;

function changes() {
  if (!DATA.changes.length) return null;
  return part("What changed most", element("p", { class: "faint" }, "The sentences that gained and lost most, by sentence chrF. Marked is what differs from the baseline: ",
    element("ins", {}, "underlined"), " what is new, ", element("del", {}, "struck through"), " what went."), DATA.changes.map(change));
}

function change({ system, baseline, gained, lost }) {
  const [after, before] = [system, baseline].map((name) => DATA.systems.findIndex((candidate) => candidate.name === name));
  const list = (title, rows) => {
    const items = element("ol", { class: "changed" });
    const button = element("button", { type: "button", onclick: () => fillList(rows.length) }, `Show all ${rows.length}`);
    const fillList = (shown) => {
      items.replaceChildren(...rows.slice(0, shown).map((row) => changedItem(row, before, after)));
      button.hidden = shown >= rows.length;
    };
    const fillOnce = () => items.childElementCount || fillList(FIRST_SHOWN);
    return element("details", { ontoggle: fillOnce }, element("summary", {}, title, element("span", { class: "faint" }, ` ${rows.length} sentences`)), rows.length ? items : element("p", {}, "None."), button);
  };
  return element("div", {}, element("h3", {}, named(system), " against ", named(baseline)), list("Gained most:", gained), list("Lost most:", lost));
}

function changedItem(row, before, after) {
  const { chrf } = DATA.sentences[row];
  return element("li", {}, element("p", { class: "faint" }, `Line ${count(row + 1)}: chrF ${decimal(chrf[before], 1)} to ${decimal(chrf[after], 1)} (${signed(chrf[after] - chrf[before], 1)})`),
    sentenceTexts(DATA.sentences[row], [before, after], "baseline"));
}

function signatures() {
  const known = Object.keys(METRICS).filter((name) => DATA.systems.some((system) => system[name]));
  const rows = known.flatMap((name) => {
    const found = DATA.systems.map((system) => [system.name, system[name]?.signature]).filter(([, signature]) => signature);
    const isOne = new Set(found.map(([, signature]) => signature)).size === 1;
    return (isOne ? found.slice(0, 1) : found).map(([system, signature]) =>
      [isOne ? metricTitle(name) : [metricTitle(name), ", ", named(system)], element("code", {}, signature)]);
  });
  return rows.length ? part("Signatures", table("What the scores were computed with, as sacreBLEU says it", [{ title: "Metric" }, { title: "Signature" }], rows)) : null;
}

PAGE.append(...[summary(), scores(), significance(), breakdowns(), oddities(), changes(), sentenceList(), signatures()].filter((made) => made !== null));
performance.mark("shown");
