/* The beam, step by step. */

const STEPS = {
  slider: element("input", {
    type: "range", min: 1, max: Math.max(1, DATA.steps.length), step: 1, "aria-label": "Step",
    oninput: (event) => update({ step: Number(event.target.value) }),
  }),
  back: element("button", { type: "button", onclick: () => update({ step: STATE.step - 1 }) }, "← Back"),
  next: element("button", { type: "button", onclick: () => update({ step: STATE.step + 1 }) }, "Next →"),
  title: element("output", { role: "status" }),
  box: element("div", { class: "split-step" }),
};

function buildSteps() {
  if (!DATA.steps.length) return null;
  const beam = DATA.beam_size === 1 ? "one hypothesis" : `${DATA.beam_size} hypotheses`;
  return element("section", { id: "steps" }, element("h2", {}, "How the translation was written, step by step"),
    element("p", {}, "At each step the model says how likely each piece is as the next one. " + (DATA.is_forced
      ? "The translation was given: here are the likeliest pieces, and the one that was given."
      : `The beam extends what is written so far by each piece, and keeps the likeliest of all: ${beam}. One that ends ` +
        "with </s> is finished. A bar is a probability: of the piece, and of all that is written with it.")),
    element("div", { class: "stepper" }, STEPS.back, STEPS.slider, STEPS.next, STEPS.title), STEPS.box);
}

function bar(share, text) {
  return element("span", { class: "bar" },
    element("span", { class: "track" }, element("span", { style: `width: ${(100 * share).toFixed(2)}%` })),
    element("span", { class: "value" }, text));
}

function outcome(candidate) {
  if (DATA.is_forced) return candidate.kept || candidate.finished ? "given" : "–";
  return candidate.finished ? "finished" : candidate.kept ? "kept" : "dropped";
}

function renderSteps() {
  if (!DATA.steps.length) return;
  const { hypotheses, candidates } = DATA.steps[STATE.step - 1];
  STEPS.slider.value = STATE.step;
  STEPS.slider.setAttribute("aria-valuetext", `${STATE.step} of ${DATA.steps.length}`);
  STEPS.back.disabled = STATE.step === 1;
  STEPS.next.disabled = STATE.step === DATA.steps.length;
  STEPS.title.textContent = `Step ${STATE.step} of ${DATA.steps.length}`;
  const leads = (tokens) => tokens.every((token, i) => token === DATA.next_tokens[i]);
  const isOnTheWay = hypotheses.map(({ tokens }) => leads(tokens));
  const written = ({ tokens }) =>
    tokens.length ? element("bdi", {}, plain(tokens)) : element("span", { class: "faint" }, "nothing yet");
  const live = table("Hypotheses before the step",
    [{ title: "", isNumber: true }, { title: "Written so far" }, { title: "Log-probability", isNumber: true }],
    hypotheses.map((hypothesis, i) => [String(i + 1), written(hypothesis), signed(hypothesis.log_prob)]));
  const next = table("Candidates, likeliest first",
    [{ title: "From", isNumber: true }, { title: "Next piece" }, { title: "Its probability" },
      { title: "Log-probability with it" }, { title: "Outcome" }],
    candidates.map((candidate) => [String(candidate.parent + 1), showPiece(candidate.token),
      bar(Math.exp(candidate.log_prob), percent(Math.exp(candidate.log_prob))),
      bar(Math.exp(candidate.total), signed(candidate.total)), outcome(candidate)]));
  live.querySelectorAll("tbody tr").forEach((row, i) => row.classList.toggle("way", isOnTheWay[i]));
  next.querySelectorAll("tbody tr").forEach((row, i) => {
    const candidate = candidates[i];
    row.classList.add(outcome(candidate) === "–" ? "dropped" : outcome(candidate));
    const isOn = isOnTheWay[candidate.parent] && leads([...hypotheses[candidate.parent].tokens, candidate.token]);
    row.classList.toggle("way", isOn);
    if (isOn && !DATA.is_forced) row.lastElementChild.append(element("span", { class: "faint" }, ", in the translation"));
    const parent = live.querySelectorAll("tbody tr")[candidate.parent];
    row.addEventListener("pointerenter", () => parent?.classList.add("on"));
    row.addEventListener("pointerleave", () => parent?.classList.remove("on"));
  });
  STEPS.box.replaceChildren(live, next);
}
