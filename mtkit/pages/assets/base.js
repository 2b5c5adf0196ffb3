"use strict";

/** The data that the page shows. */
const DATA = JSON.parse(document.getElementById("data").textContent);

/** The element that everything goes into. */
const PAGE = document.getElementById("page");

const SVG = "http://www.w3.org/2000/svg";

/** Return an element. Attributes: a function is a listener (`onclick`), true an empty value, null or false none.
 * Children are elements or text, which is never read as markup. */
function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Return an SVG element; see `element`. */
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.replace(/^on/, ""), value);
    else if (value !== null && value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** Return a table that can be scrolled sideways. Columns: {title, isNumber}; a cell is text or an element. */
function table(caption, columns, rows) {
  const head = columns.map((c) => element("th", { scope: "col", class: c.isNumber ? "number" : null }, c.title));
  const body = rows.map((row) =>
    element("tr", {}, row.map((cell, i) =>
      i === 0 && !columns[i].isNumber ? element("th", { scope: "row" }, cell)
        : element("td", { class: columns[i].isNumber ? "number" : null }, cell))));
  return element("div", { class: "scroll" },
    element("table", {}, element("caption", {}, element("span", { class: "caption" }, caption)),
      element("thead", {}, element("tr", {}, head)), element("tbody", {}, body)));
}

/** Return a number with a fixed count of decimals, or a dash where there is none. */
function decimal(value, digits = 2) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

/** Return a whole number with its thousands parted. */
function count(value) {
  return value.toLocaleString("en-US");
}
