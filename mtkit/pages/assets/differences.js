// Words that differ between two texts.

// Scripts that write no spaces between words: each character is a word here.
const UNSPACED = ["Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar"].map((name) => `\\p{Script=${name}}`).join("");
const LETTERS = `(?:(?![${UNSPACED}])[\\p{L}\\p{M}\\p{N}])+`;
// A word, with what a hyphen or an apostrophe joins to it, or any other single character.
const WORD = new RegExp(`[${UNSPACED}]\\p{M}*|${LETTERS}(?:[-'’]${LETTERS})*|[^\\s]`, "gu");

// Above so many cells the table of common words would take too long: what lies between is one replacement.
const MAX_CELLS = 4e6;

/** Return the words of a text as {text, space}: the white space before each; the first could follow something too. */
function splitWords(text) {
  const words = [];
  let end = 0;
  for (const match of text.matchAll(WORD)) {
    words.push({ text: match[0], space: end === 0 ? " " : text.slice(end, match.index) });
    end = match.index + match[0].length;
  }
  return words;
}

/** Return the steps from one list of words to another, as {kind, word}: "same", "deleted" or "inserted".
 * Longest common subsequence; at a replacement, what is deleted comes first. */
function compareWords(before, after) {
  let start = 0;
  let endBefore = before.length;
  let endAfter = after.length;
  while (start < endBefore && start < endAfter && before[start].text === after[start].text) start++;
  while (endBefore > start && endAfter > start && before[endBefore - 1].text === after[endAfter - 1].text) {
    endBefore--;
    endAfter--;
  }
  const same = (words) => words.map((word) => ({ kind: "same", word }));
  return [
    ...same(after.slice(0, start)),
    ...compareMiddle(before.slice(start, endBefore), after.slice(start, endAfter)),
    ...same(after.slice(endAfter)),
  ];
}

function compareMiddle(before, after) {
  const rows = before.length;
  const columns = after.length;
  const steps = [];
  let i = 0;
  let j = 0;
  if (rows > 0 && columns > 0 && rows * columns <= MAX_CELLS) {
    // common[i * width + j]: the length of the longest common subsequence of before[i..] and after[j..].
    const width = columns + 1;
    const common = new Uint16Array((rows + 1) * width);
    for (let r = rows - 1; r >= 0; r--) {
      for (let c = columns - 1; c >= 0; c--) {
        common[r * width + c] = before[r].text === after[c].text
          ? common[(r + 1) * width + c + 1] + 1
          : Math.max(common[(r + 1) * width + c], common[r * width + c + 1]);
      }
    }
    while (i < rows && j < columns) {
      if (before[i].text === after[j].text) {
        steps.push({ kind: "same", word: after[j++] });
        i++;
      } else if (common[(i + 1) * width + j] >= common[i * width + j + 1]) steps.push({ kind: "deleted", word: before[i++] });
      else steps.push({ kind: "inserted", word: after[j++] });
    }
  }
  while (i < rows) steps.push({ kind: "deleted", word: before[i++] });
  while (j < columns) steps.push({ kind: "inserted", word: after[j++] });
  return steps;
}

/** Return how many words two texts have in common, in order. */
function countCommonWords(before, after) {
  return compareWords(splitWords(before), splitWords(after)).filter((step) => step.kind === "same").length;
}

/** Return the text `after` as nodes: what it has more than `before` in <ins>, what it lacks in <del>. */
function differenceNodes(before, after) {
  const steps = compareWords(splitWords(before), splitWords(after));
  const nodes = [];
  for (let start = 0; start < steps.length;) {
    const isSame = steps[start].kind === "same";
    let end = start;
    while (end < steps.length && (steps[end].kind === "same") === isSame) end++;
    const group = steps.slice(start, end);
    const deleted = group.filter((step) => step.kind === "deleted");
    const inserted = group.filter((step) => step.kind === "inserted");
    nodes.push(start > 0 ? group[0].word.space : "");
    if (isSame) nodes.push(joinWords(group));
    if (deleted.length) nodes.push(element("del", {}, spoken("missing: "), joinWords(deleted)));
    if (deleted.length && inserted.length) nodes.push(inserted[0].word.space);
    if (inserted.length) nodes.push(element("ins", {}, spoken(deleted.length ? "in its place: " : "added: "), joinWords(inserted)));
    start = end;
  }
  return nodes;
}

function joinWords(steps) {
  return steps.map((step, i) => (i > 0 ? step.word.space : "") + step.word.text).join("");
}

/** Return words for those who hear the page; of a direction of their own, so that they do not set that of the text. */
function spoken(text) {
  return element("span", { class: "hidden-visually", dir: "ltr" }, text);
}

/** Return a text in the direction of its own script; an empty one is told to be so. */
function textBlock(tag, text, before = null) {
  if (text.trim() === "") return element(tag, { class: "text faint" }, element("em", {}, "empty"), before ? spoken(`; missing: ${before}`) : null);
  return element(tag, { class: "text", dir: "auto" }, before === null ? text : differenceNodes(before, text));
}
