"use strict";
// The page's state lies in its address, as in #seed=3&psi=0.5&d0=2&z12=-3. Every control writes it, every picture is
// asked for by it. One request is on its way at a time; while it is, only the newest state waits.

const at = (id) => document.getElementById(id);
const page = String(Math.random());
const FEW = 6, MANY = 16;
let about = null, state = null, asked = false, busy = false, speaking = 0;

const fresh = () => ({ seed: 0, label: null, psi: 1, mix: 1, start: null, along: "pca", moves: {}, dims: {} });

// The address

function written(s) {
  const plain = fresh(), parts = [["seed", s.seed]];
  for (const key of ["label", "psi", "start", "along"]) if (s[key] !== plain[key]) parts.push([key, s[key]]);
  if (s.start !== null || s.mix !== plain.mix) parts.push(["mix", s.mix]);
  for (const [key, short] of [["moves", "d"], ["dims", "z"]])
    for (const [number, delta] of Object.entries(s[key])) parts.push([short + number, delta]);
  return "#" + new URLSearchParams(parts);
}

function read(text) {
  const s = fresh();
  for (const [key, value] of new URLSearchParams(text.slice(1))) {
    const number = Number(value), short = /^([dz])(\d{1,6})$/.exec(key);
    if (key === "along") s.along = value;
    else if (value.trim() === "" || !Number.isFinite(number)) continue;
    else if (short) s[short[1] === "d" ? "moves" : "dims"][Number(short[2])] = number;
    else if (["seed", "label", "psi", "mix", "start"].includes(key)) s[key] = number;
  }
  return s;
}

// Pictures

function changed() {
  history.replaceState(null, "", written(state));
  ask();
}

async function ask() {
  asked = true;
  if (busy) return;
  busy = true;
  at("now").setAttribute("aria-busy", "true");
  while (asked) {
    asked = false;
    await once(JSON.stringify({ page, state }));
  }
  at("now").setAttribute("aria-busy", "false");
  busy = false;
}

async function once(body) {
  try {
    const answer = await fetch("picture", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    const told = await answer.json();
    if (answer.ok) show(told);
    else if (answer.status !== 409) complain([told.error, told.hint].filter(Boolean).join(". "));
  } catch {
    complain("genvet explore does not answer. Is it still running?");
  }
}

function complain(words) {
  at("alert").textContent = words;
  at("alert").hidden = !words;
}

function show(told) {
  complain("");
  for (const name of ["picture", "untouched", "difference"]) at(name).src = "data:image/png;base64," + told[name];
  const percent = told.change === null ? "–" : (100 * told.change).toFixed(2) + " %";
  at("change").textContent = percent;
  at("picture").alt = `Picture of seed ${state.seed}, ${percent} changed`;
  at("untouched").alt = `Untouched picture of seed ${state.seed}`;
  at("difference").alt = "Where the two differ; white is the largest difference";
  at("scale").textContent = told.largest > 0 ? `Difference; white is ${(100 * told.largest).toFixed(0)} %` : "Difference: none";
  at("clock").textContent = `${told.milliseconds} ms`;
  at("save").href = at("picture").src;
  at("save").download = `${about.title.replace(/[^\w.-]+/g, "_")}-seed-${state.seed}.png`;
  at("readings").hidden = !told.readings.length;
  at("factors").replaceChildren(...told.readings.map(reading));
  clearTimeout(speaking); // said once the hand rests, and not at every step of a slider
  speaking = setTimeout(() => { at("said").textContent = `Seed ${state.seed}, mean change ${percent}`; }, 700);
}

function reading({ name, meaning, before, now }) {
  const told = (x) => (x === null ? "–" : x.toFixed(3).replace("-", "−")), row = document.createElement("tr");
  const head = made("th", { scope: "row", title: meaning }, name);
  const delta = before === null || now === null ? null : now - before;
  const sign = delta === null ? "–" : Math.abs(delta) < 0.0005 ? "0" : (delta > 0 ? "+" : "−") + Math.abs(delta).toFixed(3);
  row.append(head, ...[told(before), told(now), sign].map((text) => made("td", { class: "n" }, text)));
  return row;
}

// Controls

function made(tag, attributes, text = "") {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

// The part of a slider between where it rests and where it is.
function filled(slider, rest) {
  const share = (x) => 100 * (Math.max(slider.min, Math.min(slider.max, x)) - slider.min) / (slider.max - slider.min);
  const ends = [share(rest), share(Number(slider.value))].sort((a, b) => a - b);
  slider.style.setProperty("--from", `${ends[0]}%`);
  slider.style.setProperty("--to", `${ends[1]}%`);
}

// A slider and a field for the same number: the field takes what lies beyond the slider's ends.
function row(id, name, share, side, most, rest, get, set) {
  const box = made("div", { class: "row", id: `${id}-row` });
  const label = made("label", { for: id }, name);
  if (share) label.append(made("span", { class: "share" }, share));
  const [low, high] = side, step = { psi: 0.05 }[id] ?? 0.1;
  const slider = made("input", { type: "range", id, min: low, max: high, step });
  const field = made("input", { type: "number", id: `${id}-field`, min: -most, max: most, step: "any", "aria-label": `${name}, value` });
  const put = (from) => {
    const value = Number(from.value);
    if (from.value.trim() === "" || !Number.isFinite(value)) return;
    set(Math.max(-most, Math.min(most, value)));
    changed();
    render(from);
  };
  slider.addEventListener("input", () => put(slider));
  field.addEventListener("input", () => put(field));
  box.append(label, slider, field);
  box.render = (from) => {
    const value = get();
    if (from !== slider) slider.value = value;
    if (from !== field) field.value = value;
    field.classList.toggle("moved", value !== rest);
    filled(slider, rest);
  };
  return box;
}

function delta(group, number) {
  const short = { moves: "d", dims: "z" }[group], share = about.directions[state.along]?.[number];
  const told = group === "moves" ? `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %` : "";
  const name = group === "moves" ? `Direction ${number}` : `z[${number}]`, side = [-about.side[group], about.side[group]];
  const set = (value) => { if (value) state[group][number] = value; else delete state[group][number]; };
  return row(short + number, name, told, side, about.most[group], 0, () => state[group][number] ?? 0, set);
}

function rows(group, wanted) {
  const box = at(group), ids = wanted.map((n) => `${{ moves: "d", dims: "z" }[group]}${n}-row`);
  if (ids.join() === [...box.children].map((child) => child.id).join() && box.dataset.along === state.along) return;
  box.dataset.along = state.along;
  box.replaceChildren(...wanted.map((number) => delta(group, number)));
}

let added = new Set();

function render(from = null) {
  const shown = about.layers ? FEW : MANY, ours = (s) => Object.keys(s).map(Number);
  const dims = new Set([...Array(Math.min(shown, about.latents)).keys(), ...added, ...ours(state.dims)]);
  rows("dims", [...dims].filter((n) => n < about.latents).sort((a, b) => a - b));
  rows("moves", about.directions[state.along] ? about.directions[state.along].map((_, i) => i) : []);
  for (const box of document.querySelectorAll(".row")) box.render?.(from);
  for (const id of ["seed", "mix"]) if (from !== at(id)) at(id).value = state[id];
  at("label").value = state.label === null ? "" : state.label;
  const start = state.start ?? about.layers;
  at("start").value = start;
  filled(at("start"), about.layers);
  at("start-told").textContent = start < about.layers ? `layer ${start}` : "off";
  at("start").setAttribute("aria-valuetext", start < about.layers ? `from layer ${start} of ${about.layers}` : "off");
  for (const radio of document.querySelectorAll("[name=along]")) radio.checked = radio.value === state.along;
  at("share-of").textContent = state.along === "pca" ? "the variance of w" : "the styles' weights";
}

function whole(id) {
  at(id).max = about.most.seed;
  at(id).addEventListener("input", () => {
    const value = Number(at(id).value);
    if (at(id).value.trim() === "" || !Number.isInteger(value) || value < 0 || value > about.most.seed) return;
    state[id] = value;
    changed();
    render(at(id));
  });
}

function does(id, what) {
  at(id).addEventListener("click", () => { what(); changed(); render(); });
}

function lay() {
  const [channels, height, width] = about.shape;
  document.title = `Explore ${about.title} – GenVet`;
  at("title").textContent = about.title;
  at("facts").textContent = `${about.net}, ${width}×${height}, ${channels} ${channels === 1 ? "channel" : "channels"}`;
  for (const image of document.querySelectorAll("img")) {
    image.style.setProperty("aspect-ratio", `${width} / ${height}`);
    image.classList.toggle("smooth", width > 256);
  }
  for (const part of document.querySelectorAll(".style")) part.hidden = !about.layers;
  at("labels").hidden = !about.classes;
  at("label").append(made("option", { value: "" }, "by the seed"));
  for (let i = 0; i < about.classes; i++) at("label").append(made("option", { value: i }, `class ${i}`));
  at("latent-note").textContent = `Of ${about.latents}, numbered from 0; the delta is added to z.` +
    (about.normalised ? " z is normalised afterwards, so a large delta leaves one picture of all seeds." : "");
  at("dim").max = about.latents - 1;
  at("start").max = about.layers;
  at("psi-row").replaceWith(row("psi", "ψ (psi)", "", [-1, 1.5], about.most.psi, 1, () => state.psi, (v) => { state.psi = v; }));
}

function wire() {
  whole("seed");
  whole("mix");
  const any = () => Math.floor(Math.random() * 100000);
  does("another", () => { state.seed = any(); });
  does("another-mix", () => { state.mix = any(); });
  does("reset", () => { added = new Set(); state = { ...fresh(), seed: state.seed }; });
  does("reset-moves", () => { state.moves = {}; });
  does("reset-dims", () => { state.dims = {}; });
  does("add", () => { const n = Number(at("dim").value); if (at("dim").value && Number.isInteger(n) && n >= 0 && n < about.latents) added.add(n); });
  at("label").addEventListener("change", () => { state.label = at("label").value === "" ? null : Number(at("label").value); changed(); });
  at("start").addEventListener("input", () => {
    const value = Number(at("start").value);
    state.start = value < about.layers ? value : null;
    changed();
    render();
  });
  for (const radio of document.querySelectorAll("[name=along]"))
    radio.addEventListener("change", () => { state.along = radio.value; state.moves = {}; changed(); render(); });
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => { state = read(location.hash); render(); ask(); });
}

async function begin() {
  const answer = await fetch("about");
  about = await answer.json();
  state = read(location.hash);
  lay();
  wire();
  render();
  changed();
}

if (matchMedia("(max-width: 52rem)").matches) at("readings").open = false;
begin().catch(() => complain("genvet explore does not answer. Is it still running?"));
