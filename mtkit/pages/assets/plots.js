// What the plots of all pages share: scales, ticks, axes, symbols.

/** Return round numbers, about so many, that span the values from `low` to `high`. */
function roundTicks(low, high, about = 5) {
  if (!(high > low)) [low, high] = [low - (Math.abs(low) * 0.05 || 1), high + (Math.abs(high) * 0.05 || 1)];
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Return a function from values to pixels. */
function scale(low, high, from, to) {
  return (value) => from + ((value - low) / (high - low || 1)) * (to - from);
}

/** Return a short form of a number at an axis: 20000 is 20k. */
function shortNumber(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`;
  if (size >= 1e-3 || size === 0) return value.toLocaleString("en-US", { maximumFractionDigits: 4 });
  return value.toExponential(0).replace("e-", "e−");
}

/** Return the vertical lines of a plot and the numbers below them, with as many decimals as all need. */
function verticalGrid(ticks, x, height) {
  const digits = Math.max(...ticks.map((tick) => (String(tick).split(".")[1] ?? "").length));
  return ticks.flatMap((tick) => [
    svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 0, y2: height }),
    svg("text", { class: "tick", x: x(tick), y: height + 16, "text-anchor": "middle" }, tick.toFixed(digits)),
  ]);
}

/** Return an element that `draw(width)` fills, again whenever its width changes. */
function drawn(draw, attributes = {}) {
  const host = element("div", attributes);
  let width = 0;
  new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now > 0 && now !== width) host.replaceChildren(draw((width = now)));
  }).observe(host);
  return host;
}

/** Return a mark of one of the series: each has a shape and a colour of its own. */
function symbol(index, x, y, attributes = {}) {
  const size = 5;
  const paths = [
    `M${-size} 0a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0z`,
    `M${-size} ${-size}h${2 * size}v${2 * size}h${-2 * size}z`,
    `M0 ${-size - 1.5}L${size + 1.5} 0L0 ${size + 1.5}L${-size - 1.5} 0z`,
    `M0 ${-size - 1}L${size + 1} ${size - 0.5}H${-size - 1}z`,
    `M0 ${size + 1}L${size + 1} ${0.5 - size}H${-size - 1}z`,
    `M${-size} -2H-2V${-size}H2V-2H${size}V2H2V${size}H-2V2H${-size}z`,
  ];
  return svg("path", { d: paths[index % 6], transform: `translate(${x} ${y})`, class: `series-${index % 6}`, ...attributes });
}

/** Return what the marks of a plot mean, as text with the marks before it. */
function legend(names) {
  return element("ul", { class: "legend" }, names.map((name, i) =>
    element("li", {}, svg("svg", { width: 14, height: 14, "aria-hidden": "true" }, symbol(i, 7, 7)), element("span", { dir: "auto" }, name))));
}

/** Return a text cut in its middle so that it takes about `width` pixels in the small type of plots. */
function shorten(text, width) {
  const limit = Math.max(4, Math.floor(width / 6.6));
  if (text.length <= limit) return text;
  const half = Math.floor((limit - 1) / 2);
  return `${text.slice(0, half)}…${text.slice(-half)}`;
}
