/* The state of the view, its address, and the page as a whole. */

/** Bring what was asked for into bounds. */
function settle(wanted) {
  const whole = (value, least, most) => Math.min(Math.max(Math.trunc(Number(value)) || least, least), most);
  const kind = Object.hasOwn(KINDS, wanted.kind) ? wanted.kind : DEFAULT.kind;
  const numKeys = (side) => SIDES[KINDS[kind][side === "query" ? "queries" : "keys"]].tokens.length;
  const pin = wanted.pin && wanted.pin.token < numKeys(wanted.pin.side) ? wanted.pin : null;
  return {
    kind, pin,
    layer: whole(wanted.layer, 1, KINDS[kind].layers.length),
    head: whole(wanted.head, 0, DATA.num_heads),
    tokens: wanted.tokens === "pieces" ? "pieces" : "words",
    step: whole(wanted.step, 1, Math.max(1, DATA.steps.length)),
  };
}

/** Change the view, and the page's address with it. */
function update(changes) {
  const old = { ...STATE };
  Object.assign(STATE, settle({ ...STATE, ...changes }));
  const side = (state, pin) => KINDS[state.kind][pin.side === "query" ? "queries" : "keys"];
  const isOfOther = STATE.pin && side(old, STATE.pin) !== side(STATE, STATE.pin); // a word of the other text
  if (isOfOther && !("pin" in changes)) STATE.pin = null;
  render();
  const pin = STATE.pin ? `&pin=${STATE.pin.side}-${STATE.pin.token}` : "";
  const { kind, layer, head, tokens, step } = STATE;
  history.replaceState(null, "", `#kind=${kind}&layer=${layer}&head=${head}&tokens=${tokens}&step=${step}${pin}`);
}

function readAddress() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const pin = /^(query|key)-(\d+)$/.exec(given.pin ?? "");
  Object.assign(STATE, settle({ ...DEFAULT, ...given, pin: pin && { side: pin[1], token: Number(pin[2]) } }));
}

function render() {
  renderHeads();
  renderAlignment();
  renderSteps();
}

readAddress();
PAGE.append(
  element("p", { class: "faint" }, `${DATA.model}: ${DATA.num_encoder_layers} encoder and ${DATA.num_decoder_layers} ` +
    `decoder layers of ${DATA.num_heads} heads`),
  ...[buildSentence(), buildHeads(), buildAlignment(), buildSteps()].filter(Boolean));
render();
addEventListener("hashchange", () => { readAddress(); render(); });
matchMedia("screen and (prefers-color-scheme: dark)").addEventListener("change", () =>
  document.querySelectorAll("canvas").forEach(paint));
