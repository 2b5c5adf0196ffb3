"use strict";

const element = (id) => document.getElementById(id);
const source = element("source");
const mirror = element("mirror");
const translation = element("translation");
const from = element("source-language");
const into = element("target-language");

const MAX_ALTERNATIVES = 3;
const SLOW = 400; // milliseconds until it is told that a translation is under way

let languages = [];
let settings = { charLimit: -1, alternativesLimit: 0, frontendTimeout: 300, keyRequired: false };
let candidates = []; // of the translation shown: {text, links}, the shown one first
let asking = null; // what stops the request under way
let timer = 0;
let place = -1; // of the word that the arrow keys have reached
let translated = ""; // the text that the translation shown is of

function make(tag, text, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Words as the server counts them: what stands between spaces and line breaks of any kind, the edges of a line left out.
function writeWords(parent, text) {
  parent.replaceChildren();
  for (const line of text.split(/(\n)/)) {
    const body = line.trim();
    const start = line.indexOf(body);
    parent.append(line.slice(0, start));
    body.split(/([ \0\v\f\r\x1c-\x1e\x85\u2028\u2029]+)/).forEach((piece, index) => {
      parent.append(index % 2 || !piece ? piece : make("span", piece, { className: "word" }));
    });
    parent.append(line.slice(start + body.length));
  }
}

const wordsOf = (parent) => [...parent.querySelectorAll(".word")];

function clearMarks() {
  for (const word of document.querySelectorAll(".word.linked, .word.pointed")) word.className = "word";
}

// Marks a word and those that it is linked to; returns the texts of these.
function mark(side, index) {
  clearMarks();
  if (!candidates.length || index < 0 || translated !== source.value) return [];
  const sides = [wordsOf(mirror), wordsOf(translation)];
  const linked = candidates[0].links.filter((link) => link[side] === index).map((link) => sides[1 - side][link[1 - side]]);
  sides[side][index]?.classList.add("pointed");
  for (const word of linked) word?.classList.add("linked");
  return linked.filter(Boolean).map((word) => word.textContent);
}

function show() {
  const [best, ...others] = candidates;
  place = -1;
  writeWords(translation, best ? best.text : "");
  translation.classList.remove("stale");
  element("copy").hidden = !best || !best.text;
  element("hint").hidden = !best || !best.links.length;
  const known = new Set(best ? best.text.split(/\s+/) : []);
  element("alternatives").replaceChildren(...others.map((other, index) => {
    const button = make("button", undefined, { type: "button", lang: into.value, dir: "auto" });
    for (const piece of other.text.split(/(\s+)/)) {
      button.append(piece.trim() && !known.has(piece) ? make("b", piece) : piece);
    }
    button.addEventListener("click", () => choose(index + 1));
    const item = make("li");
    item.append(button);
    return item;
  }));
  element("more").hidden = !others.length;
}

function choose(index) {
  candidates.unshift(...candidates.splice(index, 1));
  show();
  translation.focus();
}

function tell(problem) {
  element("problem").textContent = problem;
  element("problem").hidden = !problem;
}

function setState(text) {
  element("state").textContent = text;
}

function describeText() {
  const length = source.value.length;
  const limit = settings.charLimit;
  const count = element("count");
  count.textContent = limit < 0 ? length.toLocaleString("en") : `${length.toLocaleString("en")} / ${limit.toLocaleString("en")}`;
  count.classList.toggle("over", limit >= 0 && length > limit);
  element("clear").hidden = !length;
  writeWords(mirror, source.value);
  mirror.append("\u200b"); // gives the last line its height
}

// Asks anew when typing pauses; what is under way is stopped, and its answer never shown.
function plan(pause) {
  describeText();
  clearMarks();
  clearTimeout(timer);
  asking?.abort();
  setState("");
  tell("");
  if (!source.value.trim()) {
    candidates = [];
    show();
    return;
  }
  translation.classList.toggle("stale", candidates.length > 0);
  timer = setTimeout(translate, pause);
}

async function translate() {
  const own = asking = new AbortController();
  const text = source.value;
  const slow = setTimeout(() => setState("Translating …"), SLOW);
  const wanted = {
    q: text, source: from.value, target: into.value, alignment: true,
    alternatives: Math.min(MAX_ALTERNATIVES, settings.alternativesLimit),
  };
  if (element("key").value) wanted.api_key = element("key").value;
  try {
    const response = await fetch("translate", {
      method: "POST", signal: own.signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify(wanted),
    });
    const answer = await response.json();
    if (own !== asking || own.signal.aborted) return;
    if (response.ok) {
      candidates = [{ text: answer.translatedText, links: answer.alignment }];
      (answer.alternatives ?? []).forEach((other, index) => {
        candidates.push({ text: other, links: answer.alternativeAlignments[index] });
      });
      translated = text;
      setState("");
      show();
      return;
    }
    const seconds = Number(response.headers.get("Retry-After"));
    if (response.status === 429 && seconds) {
      setState(`The server is busy; trying again in ${seconds} s`);
      timer = setTimeout(translate, 1000 * seconds);
      return;
    }
    tell(answer.error);
  } catch (error) {
    if (own !== asking || own.signal.aborted) return;
    tell("The server does not answer.");
  } finally {
    clearTimeout(slow);
    if (own === asking && element("state").textContent.startsWith("Translating")) setState("");
  }
}

function nameOf(code) {
  return languages.find((language) => language.code === code)?.name ?? code;
}

function fill(select, codes, wanted) {
  select.replaceChildren(...codes.map((code) => make("option", nameOf(code), { value: code })));
  if (codes.includes(wanted)) select.value = wanted;
  select.disabled = codes.length < 2;
}

const targetsOf = (code) => languages.find((language) => language.code === code)?.targets ?? [];

function setLanguages(sourceCode, targetCode) {
  fill(from, languages.filter((language) => language.targets.length).map((language) => language.code), sourceCode);
  fill(into, targetsOf(from.value), targetCode);
  source.lang = from.value;
  translation.lang = into.value;
  element("swap").disabled = !targetsOf(into.value).includes(from.value);
  candidates = [];
  show();
  plan(0);
}

function swap() {
  const text = candidates[0]?.text;
  if (text && translated === source.value) source.value = text;
  setLanguages(into.value, from.value);
}

// The word of the text under the pointer: the text lies in a field, whose words are drawn behind it.
function findWord(event) {
  return wordsOf(mirror).findIndex((word) => [...word.getClientRects()].some((box) => (
    event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom
  )));
}

// The word of the text that the caret stands in or at.
function findWordAt(place) {
  let index = 0;
  let start = 0;
  for (const node of mirror.childNodes) {
    const isWord = node.nodeType === Node.ELEMENT_NODE;
    const end = start + node.textContent.length;
    if (isWord && start <= place && place <= end) return index;
    index += isWord;
    start = end;
  }
  return -1;
}

function moveInTranslation(event) {
  const words = wordsOf(translation);
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  if (!words.length || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in steps) place = Math.min(words.length - 1, Math.max(0, place + steps[event.key]));
  else if (event.key === "Home") place = 0;
  else if (event.key === "End") place = words.length - 1;
  else return;
  event.preventDefault();
  const linked = mark(1, place);
  words[place].scrollIntoView({ block: "nearest" });
  element("linked").textContent = `${words[place].textContent}: ${linked.join(" ") || "nothing"}`;
}

async function copy() {
  try {
    await navigator.clipboard.writeText(candidates[0].text);
    setState("Copied");
  } catch {
    getSelection().selectAllChildren(translation);
    setState("Selected: press Ctrl+C");
  }
}

source.addEventListener("input", () => plan(settings.frontendTimeout));
source.addEventListener("mousemove", (event) => mark(0, findWord(event)));
source.addEventListener("mouseleave", clearMarks);
document.addEventListener("selectionchange", () => {
  if (document.activeElement !== source || source.selectionStart !== source.selectionEnd || !candidates.length) return;
  mark(0, findWordAt(source.selectionStart));
});
translation.addEventListener("mouseover", (event) => mark(1, wordsOf(translation).indexOf(event.target)));
translation.addEventListener("mouseleave", clearMarks);
translation.addEventListener("keydown", moveInTranslation);
translation.addEventListener("blur", () => { place = -1; clearMarks(); });
from.addEventListener("change", () => setLanguages(from.value, into.value));
into.addEventListener("change", () => setLanguages(from.value, into.value));
element("swap").addEventListener("click", swap);
element("clear").addEventListener("click", () => { source.value = ""; plan(0); source.focus(); });
element("copy").addEventListener("click", copy);
element("key").addEventListener("change", () => { sessionStorage.setItem("key", element("key").value); plan(0); });

async function start() {
  try {
    const found = await Promise.all(["languages", "frontend/settings"].map((path) => fetch(path)));
    [languages, settings] = await Promise.all(found.map((response) => response.json()));
  } catch {
    tell("The server does not answer. Reload the page to try again.");
    return;
  }
  element("key-field").hidden = !settings.keyRequired;
  element("key").value = sessionStorage.getItem("key") ?? "";
  setLanguages(settings.language.source.code, settings.language.target.code);
}

start();
