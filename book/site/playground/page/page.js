"use strict";
// The page: its form is the one place where the settings are; the address after # keeps them.

const form = document.getElementById("settings");
const at = (id) => document.getElementById(id);
const SIDES = ["a", "b"];
const MOST_POINTS = 300;
const DEFAULTS = {
  data: "ring", label: "turns", w: "1", n: "16", seed: "0", schedule: "vp", start: "", end: "", width: "0.15",
  points: "-1,0.6\n-0.6,0.9\n-0.2,0.6\n0,0\n0.2,-0.6\n0.6,-0.9\n1,-0.6", shown: "1", two: "1",
  "a": "dpmpp_2m", "a.grid": "uniform_lambda", "a.rho": "7", "a.calls": "10",
  "b": "ddim", "b.grid": "uniform_lambda", "b.rho": "7", "b.calls": "10",
};

// --- the form ---

function option(value, text) {
  return Object.assign(document.createElement("option"), { value, textContent: text });
}

/** A label around a control. */
function labelled(text, control, kind = "") {
  const label = Object.assign(document.createElement("label"), { className: kind });
  label.append(...(kind === "check" ? [control, text] : [`${text} `, control]));
  return label;
}

function select(name, entries) {
  const made = Object.assign(document.createElement("select"), { name });
  made.append(...entries.map(([value, text]) => option(value, text)));
  return made;
}

function numberField(name, more = {}) {
  return Object.assign(document.createElement("input"), { type: "number", name, step: "any", ...more });
}

function buildMenus() {
  const mixtures = Object.entries(BOOK.mixtures).map(([name, { title }]) => [name, title]);
  const menus = {
    data: [...mixtures, ["own", "Your own points"], ["digits", "Digits, by the book's network"]],
    label: [["turns", "0 to 9 in turn"], ...Array.from({ length: 10 }, (_, k) => [k, k]), ["none", "not told"]],
    schedule: Object.entries(BOOK.schedules),
  };
  for (const [name, entries] of Object.entries(menus)) {
    form.elements[name].append(...entries.map(([value, text]) => option(value, text)));
  }
  for (const side of SIDES) {
    const menu = select(side, []), groups = new Map();
    for (const [name, { group, title }] of Object.entries(BOOK.samplers)) {
      if (!groups.has(group)) {
        groups.set(group, menu.appendChild(Object.assign(document.createElement("optgroup"), { label: group })));
      }
      groups.get(group).append(option(name, title));
    }
    const options = Object.assign(document.createElement("div"), { className: "options" });
    form.querySelector(`fieldset[data-side=${side}]`).append(
      labelled("Sampler", menu),
      labelled("Grid", select(`${side}.grid`, Object.entries(BOOK.grids))),
      labelled("ρ of the grid", numberField(`${side}.rho`, { min: 0.1 })),
      labelled("Calls, at most", numberField(`${side}.calls`, { min: 1, max: MOST_STEPS, step: 1 })),
      options,
    );
  }
}

/** The controls of a sampler's own options, at their defaults. */
function buildOptions(side) {
  const { options } = BOOK.samplers[form.elements[side].value];
  const made = Object.entries(options).map(([name, about]) => {
    const key = `${side}.${name}`, said = name.replace("_", " ");
    if (typeof about.default === "boolean") {
      const box = Object.assign(document.createElement("input"), { type: "checkbox", name: key });
      box.checked = about.default;
      return labelled(said, box, "check");
    }
    if (about.choices) {
      const menu = select(key, about.choices.map((choice) => [choice, choice]));
      menu.value = about.default;
      return labelled(said, menu);
    }
    const value = about.default === null ? "" : Number(about.default.toPrecision(6)), [min, max] = about.range;
    return labelled(said, numberField(key, { value, min, max, placeholder: "its own" }));
  });
  form.querySelector(`fieldset[data-side=${side}] .options`).replaceChildren(...made);
}

/** The form as the address has it, setting by setting or by the name of a section: what is missing has its default. */
function load() {
  const said = location.hash.slice(1), section = document.getElementById(said)?.dataset.settings;
  const asked = Object.fromEntries(new URLSearchParams(section ?? said));
  for (const [name, value] of Object.entries(DEFAULTS)) fill(form.elements[name], asked[name] ?? value, value);
  for (const side of SIDES) {
    buildOptions(side);
    for (const [name, value] of Object.entries(asked)) {
      if (name.startsWith(`${side}.`) && !(name in DEFAULTS) && form.elements[name]) {
        fill(form.elements[name], value, form.elements[name].value);
      }
    }
  }
}

/** Set a control; a menu without this entry is set to the other value. */
function fill(control, value, otherwise) {
  if (control.type === "checkbox") control.checked = value === "1";
  else control.value = value;
  if (control.tagName === "SELECT" && control.selectedIndex < 0) control.value = otherwise;
}

const said = (control) => (control.type === "checkbox" ? String(Number(control.checked)) : control.value);

/** The settings as an address: what differs from the defaults, and the samplers always. */
function address() {
  const kept = new URLSearchParams();
  for (const control of form.elements) {
    if (!control.name || (control.name.startsWith("b") && !form.elements.two.checked)) continue;
    if (control.name.length === 1 && SIDES.includes(control.name)) kept.set(control.name, control.value);
    else if (said(control) !== defaultOf(control.name)) kept.set(control.name, said(control));
  }
  return `#${kept}`;
}

function defaultOf(name) {
  if (name in DEFAULTS) return DEFAULTS[name];
  const [side, key] = name.split("."), value = BOOK.samplers[form.elements[side].value].options[key].default;
  if (typeof value === "boolean") return String(Number(value));
  return value === null ? "" : String(typeof value === "number" ? Number(value.toPrecision(6)) : value);
}

/** A number of the form.  RangeError, in a sentence, for what is none. */
function numberOf(name, { whole = false } = {}) {
  const control = form.elements[name], value = Number(control.value);
  const [low, high] = [control.min === "" ? -Infinity : Number(control.min), control.max === "" ? Infinity : Number(control.max)];
  if (control.value !== "" && value >= low && value <= high && (!whole || Number.isInteger(value))) return value;
  const label = control.labels[0].firstChild.textContent.trim(), top = high === Infinity ? "" : ` to ${high}`;
  throw new RangeError(`${label}: a ${whole ? "whole " : ""}number from ${low}${top} is needed`);
}

const ownOr = (name) => (form.elements[name].value === "" ? null : numberOf(name));

function settings() {
  const { data, label, schedule } = Object.fromEntries(new FormData(form));
  const n = numberOf("n", { whole: true });
  const shown = Math.min(numberOf("shown", { whole: true }), n) - 1;
  const points = data === "own" ? pointsOf(form.elements.points.value) : [];
  if (data === "own" && !points.length) throw new RangeError("Your own data need one point at least: draw one");
  const sides = SIDES.filter((side) => side === "a" || form.elements.two.checked).map(sideOf);
  return {
    data, label, schedule, n, shown, points, sides, w: numberOf("w"), seed: numberOf("seed", { whole: true }),
    width: numberOf("width"), start: ownOr("start"), end: ownOr("end"),
  };
}

function sideOf(side) {
  const sampler = form.elements[side].value, options = {};
  for (const [name, about] of Object.entries(BOOK.samplers[sampler].options)) {
    options[name] = optionOf(`${side}.${name}`, about);
  }
  const rho = numberOf(`${side}.rho`), calls = numberOf(`${side}.calls`, { whole: true });
  return { side, sampler, grid: form.elements[`${side}.grid`].value, rho, calls, options };
}

function optionOf(key, about) {
  const control = form.elements[key];
  if (control.type === "checkbox") return control.checked;
  if (about.choices) return typeof about.default === "string" ? control.value : Number(control.value);
  const unchanged = control.value === defaultOf(key); // the field shows 0.333333 of 1/3
  return unchanged ? about.default : numberOf(key);
}

/** [[x, y], ...] of lines of two numbers. */
function pointsOf(text) {
  return text.split("\n").map((line) => line.trim()).filter(Boolean).slice(0, MOST_POINTS).map((line) => {
    const point = line.split(/[\s,;]+/).map(Number);
    if (point.length === 2 && point.every(Number.isFinite)) return point;
    throw new RangeError(`Points: a line holds two numbers, x and y; “${line}” does not`);
  });
}

/** Only the controls that mean something for these settings. */
function showWhatCounts() {
  const data = form.elements.data.value;
  for (const part of form.querySelectorAll("[data-for]")) part.hidden = part.dataset.for !== data;
  for (const side of SIDES) {
    const { adaptive } = BOOK.samplers[form.elements[side].value], away = side === "b" && !form.elements.two.checked;
    const hide = (name, hidden) => { form.elements[name].closest("label").hidden = hidden; };
    hide(side, away);
    hide(`${side}.grid`, away || adaptive);
    hide(`${side}.rho`, away || adaptive || form.elements[`${side}.grid`].value !== "karras");
    hide(`${side}.calls`, away || adaptive);
    form.querySelector(`fieldset[data-side=${side}] .options`).hidden = away;
  }
}

// --- runs ---

let results = []; // one a side: {side, model, path, calls, want, errors, estimates}
let asked = null; // the settings that they belong to
let current = 0; // the number of the latest update: an older one stops
let looked = 0; // the step that is looked at
const ends = new Map(); // exact ends, by what they depend on

const pause = () => new Promise((resolve) => setTimeout(resolve));

/** All states of a sampler, with the calls so far, leaving the page its turn now and then; null if it is no longer
 * wanted. */
async function collected(states, model, wanted) {
  const path = [];
  let turn = performance.now();
  for (const [t, x] of states) {
    path.push({ t, x, calls: model.calls });
    if (performance.now() - turn > 30) {
      await pause();
      if (!wanted()) return null;
      turn = performance.now();
    }
  }
  return path;
}

async function update() {
  const mine = ++current, wanted = () => mine === current;
  stop();
  showWhatCounts();
  at("refused").textContent = "";
  at("pictures").classList.remove("stale");
  try {
    const now = settings();
    history.replaceState(null, "", address());
    drawPad(at("pad"), now.points, crossAt);
    document.body.classList.add("busy");
    at("told").textContent = "Computing …";
    await pause();
    const fresh = [];
    for (const side of now.sides) fresh.push(await runOf(now, side, wanted));
    if (!wanted()) return;
    const atTheEnd = !results.length || looked === lastStep();
    [results, asked] = [fresh, now];
    document.body.classList.remove("busy");
    look(atTheEnd ? Infinity : looked);
    for (const result of results) await measure(now, result, wanted);
    if (!wanted()) return;
    look(looked);
    tell();
  } catch (problem) {
    if (!wanted()) return;
    if (!(problem instanceof RangeError)) throw problem;
    at("told").textContent = "";
    at("refused").textContent = problem.message;
    at("pictures").classList.add("stale");
  } finally {
    if (wanted()) document.body.classList.remove("busy");
  }
}

/** One side's run; null where it is no longer wanted. */
async function runOf(now, side, wanted) {
  const model = modelOf(now), { adaptive, inversion } = BOOK.samplers[side.sampler];
  const steps = stepsFor(side, model.schedule, now, callsEach(model));
  const times = gridOf(model.schedule, steps, adaptive ? { ...side, grid: "uniform" } : side, now);
  const [start, end] = [times[0], times.at(-1)];
  const noise = combine(model.schedule.sigma(start), initialNoise(now.n, model.d, now.seed));
  const begin = inversion ? await exactEnd(now, noise, start, end, wanted) : noise;
  const path = begin && await collected(SAMPLERS[side.sampler](model, begin, times, side.options), model, wanted);
  if (!path) return null;
  if (!path.at(-1).x.every(Number.isFinite)) {
    throw new RangeError(`Sampler ${side.side.toUpperCase()}: the sample is not finite; take more calls or another grid`);
  }
  return { ...side, model, noise, start, end, path, want: null, errors: null, estimates: estimatesOf(now, path) };
}

/** Add to a run where it should have led, and by how much each sample missed that. */
async function measure(now, result, wanted) {
  const { model, noise, start, end, path } = result, exact = await exactEnd(now, noise, start, end, wanted);
  if (!exact) return;
  result.want = BOOK.samplers[result.sampler].inversion ? { t: start, x: noise } : { t: end, x: exact };
  result.errors = sizes(combine(1, path.at(-1).x, -1, result.want.x), model.d);
}

/** Where the exact flow leads; kept, since most changes of the form leave it as it is. */
async function exactEnd(now, noise, start, end, wanted) {
  const { data, points, width, schedule, label, w, n, seed } = now;
  const own = data === "own" && [points, width], told = data === "digits" && [label, w];
  const key = JSON.stringify([data, own, schedule, told, n, seed, start, end]);
  if (!ends.has(key)) {
    const model = modelOf(now), way = await collected(exactWay(model, noise, start, end), model, wanted);
    if (!way) return null;
    if (ends.size > 40) ends.clear();
    ends.set(key, way.at(-1).x);
  }
  return ends.get(key);
}

/** What the model takes for the data of the sample shown, at each state; of digits only. */
function estimatesOf(now, path) {
  if (now.data !== "digits") return null;
  const model = modelOf(now).rows([now.shown]);
  return path.map(({ t, x }) => {
    const one = pick(x, [now.shown], 64);
    return model.schedule.sigma(t) ? model.x0(one, t) : one;
  });
}

// --- what is shown ---

const lastStep = () => Math.max(...results.map(({ path }) => path.length - 1));

/** Look at a step of all paths; a path that is shorter is at its end. */
function look(step) {
  if (!results.length) return;
  looked = Math.min(Math.max(step, 0), lastStep());
  at("cursor").max = lastStep();
  at("cursor").value = looked;
  at("cursor").setAttribute("aria-valuetext", `step ${looked} of ${lastStep()}`);
  at("first").disabled = at("back").disabled = looked === 0;
  at("step").disabled = looked === lastStep();
  for (const side of SIDES) drawSide(side, results.find((one) => one.side === side));
  fillErrors();
  fillNumbers();
  at("key").textContent = asked.data === "digits"
    ? "Above, all samples at this step. Below, along the path of the sample that is framed: its states, and what the model takes for its data; last, its exact end."
    : "Shaded, the density of the noisy data at this step, in units of √(α² + σ²). A: discs and whole lines; B: squares and broken lines. Crosses: the exact ends.";
}

function drawSide(side, result) {
  const figure = at("pictures").querySelector(`figure[data-side=${side}]`);
  figure.hidden = !result;
  if (!result) return;
  const { path, model, want, estimates } = result, now = Math.min(looked, path.length - 1), { t, calls } = path[now];
  const where = `step ${now} of ${path.length - 1}, t = ${short(t)}, ${calls} ${calls === 1 ? "call" : "calls"} so far`;
  figure.querySelector("figcaption").textContent = `${side.toUpperCase()}: ${titleOf(result)}, ${where}`;
  const canvas = figure.querySelector("canvas"), colour = side, dashed = side === "b";
  const seen = { model, path, at: now, shown: asked.shown, want, estimates, dashed, colour };
  if (asked.data === "digits") drawDigits(canvas, seen);
  else drawPlane(canvas, seen);
  canvas.setAttribute("aria-label", pictureSaid(result, now, where));
}

/** The picture in words. */
function pictureSaid(result, now, where) {
  const { model, path, want } = result, { t, x } = path[now], i = asked.shown;
  if (asked.data === "digits") {
    return `${asked.n} digits under ${titleOf(result)}, ${where}; the states and estimates of sample ${i + 1} in two rows.`;
  }
  const spot = (state, time) => [0, 1].map((j) => short(state[2 * i + j] / sizeAt(model.schedule, time))).join(", ");
  return `${asked.n} particles under ${titleOf(result)}, ${where}. Sample ${i + 1} is at (${spot(x, t)}); its exact end is ${want ? `(${spot(want.x, want.t)})` : "not known yet"}.`;
}

const titleOf = ({ sampler }) => BOOK.samplers[sampler].title;
const short = (v) => (v === 0 ? "0" : Math.abs(v) >= 0.001 && Math.abs(v) < 1e4 ? String(Number(v.toPrecision(3))) : v.toExponential(1));

/** An error as far down as the exact end is known. */
function errorSaid(error) {
  if (error === null) return "…";
  const floor = asked.data === "digits" ? 1e-5 : 1e-8;
  return error < floor ? `below ${floor.toExponential()}` : short(Number(error.toPrecision(2)));
}

const rmsOf = (errors) => Math.sqrt(errors.reduce((sum, e) => sum + e * e, 0) / errors.length);

function medianOf(errors) {
  const sorted = [...errors].sort((a, b) => a - b), half = (sorted.length - 1) / 2;
  return (sorted[Math.floor(half)] + sorted[Math.ceil(half)]) / 2;
}

/** The summary: what a look at both pictures and the table says, in a sentence a side. */
function tell() {
  if (results.some(({ errors }) => !errors)) return;
  const one = (result) => {
    const steps = result.path.length - 1, calls = result.path.at(-1).calls;
    return `${result.side.toUpperCase()}, ${titleOf(result)}: ${calls} ${calls === 1 ? "call" : "calls"} in ${steps} ${steps === 1 ? "step" : "steps"}, error ${errorSaid(rmsOf(result.errors))}.`;
  };
  const words = results.map(one);
  if (results.length === 2) words.push(compared(...results.map(({ errors }) => rmsOf(errors))));
  at("told").textContent = words.join(" ");
}

function compared(a, b) {
  if (errorSaid(a) === errorSaid(b)) return "Both err alike.";
  const [less, factor] = a < b ? ["A", b / a] : ["B", a / b];
  return `${less}'s error is the smaller, by a factor of ${short(Number(factor.toPrecision(2)))}.`;
}

function row(cells, head = "td") {
  const made = document.createElement("tr");
  made.append(...cells.map((cell, k) => {
    const one = document.createElement(k ? "td" : head);
    if (head === "th" && !k) one.scope = "row";
    one.textContent = cell;
    return one;
  }));
  return made;
}

function fillErrors() {
  at("errors").tBodies[0].replaceChildren(...results.map(({ side, sampler, path, errors }) => row([
    `${side.toUpperCase()}: ${titleOf({ sampler })}`, BOOK.samplers[sampler].order, path.length - 1, path.at(-1).calls,
    ...[rmsOf, medianOf, (each) => each[asked.shown]].map((of) => errorSaid(errors && of(errors))),
  ], "th")));
}

/** For each side a table of the steps: time, lambda, calls, and where the sample shown is. */
function fillNumbers() {
  if (!at("numbers").open) return;
  const tables = results.map((result) => {
    const table = document.createElement("table"), { d, schedule } = result.model;
    table.createCaption().textContent = `${result.side.toUpperCase()}: ${titleOf(result)}, sample ${asked.shown + 1}`;
    const heads = ["step", "t", "λ", "calls", ...(d === 2 ? ["x", "y"] : ["root mean square"])];
    const head = table.createTHead().insertRow();
    head.append(...heads.map((text) => Object.assign(document.createElement("th"), { scope: "col", textContent: text })));
    table.createTBody().append(...result.path.map(({ t, x, calls }, k) => {
      const one = pick(x, [asked.shown], d), lam = schedule.lam(t);
      const places = d === 2 ? [...one].map((v) => v.toFixed(5)) : [sizes(one, d)[0].toFixed(5)];
      const made = row([k, short(t), Number.isFinite(lam) ? lam.toFixed(3) : "∞", calls, ...places], "th");
      made.classList.toggle("now", k === Math.min(looked, result.path.length - 1));
      return made;
    }));
    return table;
  });
  at("numbers").querySelector(".scroll").replaceChildren(...tables);
}

// --- one step at a time ---

let running = null;

function stop() {
  clearInterval(running);
  running = null;
  at("run").textContent = "Run";
}

/** From the start to the end, a step at a time; at once for who wants no motion. */
function run() {
  if (running) return stop();
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return moveTo(lastStep());
  look(looked >= lastStep() ? 0 : looked);
  at("run").textContent = "Pause";
  running = setInterval(() => {
    look(looked + 1);
    if (looked === lastStep()) {
      stop();
      tell();
    }
  }, Math.max(60, Math.min(400, 6000 / lastStep())));
}

/** A step that the reader asked for: it is said, too. */
function moveTo(step) {
  stop();
  look(step);
  at("told").textContent = looked === lastStep() ? "" : results.map((result) => {
    const { path } = result, now = Math.min(looked, path.length - 1);
    return `${result.side.toUpperCase()}: step ${now} of ${path.length - 1}, ${path[now].calls} calls so far.`;
  }).join(" ");
  if (looked === lastStep()) tell();
}

// --- your own points ---

let crossAt = [0, 0]; // where the cross of the pad is

function setPoints(points) {
  form.elements.points.value = points.slice(0, MOST_POINTS).map((point) => point.join(",")).join("\n");
  drawPad(at("pad"), points, crossAt);
  at("cross").textContent = `The cross is at ${crossAt.join(", ")}; ${points.length} ${points.length === 1 ? "point" : "points"}.`;
}

/** The points that the form holds; those of lines that can be read. */
function pointsNow() {
  try {
    return pointsOf(form.elements.points.value);
  } catch {
    return [];
  }
}

function drawWithPointer(event) {
  if (event.type === "pointermove" && !event.buttons) return;
  const point = padPoint(at("pad"), event), points = pointsNow(), last = points.at(-1);
  if (event.type === "pointermove" && last && Math.hypot(point[0] - last[0], point[1] - last[1]) < 0.12) return;
  if (event.type === "pointerdown") at("pad").setPointerCapture(event.pointerId);
  crossAt = point;
  setPoints([...points, point]);
}

function drawWithKeys(event) {
  const by = event.shiftKey ? 0.5 : 0.1, [x, y] = crossAt, points = pointsNow();
  const inside = (v) => Math.min(Math.max(Math.round(v * 100) / 100, -PAD_REACH), PAD_REACH);
  const moves = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, by], ArrowDown: [0, -by] };
  if (event.key in moves) {
    crossAt = [inside(x + moves[event.key][0]), inside(y + moves[event.key][1])];
    setPoints(points);
  } else if (event.key === "Enter" || event.key === " ") {
    setPoints([...points, crossAt]);
    later();
  } else if (event.key === "Backspace" || event.key === "Delete") {
    setPoints(points.slice(0, -1));
    later();
  } else {
    return;
  }
  event.preventDefault();
}

// --- begin ---

let waiting = null;

/** Update soon, once for what follows closely. */
function later() {
  clearTimeout(waiting);
  waiting = setTimeout(update, 200);
}

function begin() {
  const theme = storedTheme();
  if (theme) document.body.dataset.theme = theme;
  at("live").hidden = false;
  buildMenus();
  load();
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("input", ({ target }) => {
    if (target.form !== form) return; // one of its controls stands below, with the result
    if (SIDES.includes(target.name)) buildOptions(target.name);
    later();
  });
  window.addEventListener("hashchange", () => { load(); update(); });
  at("first").addEventListener("click", () => moveTo(0));
  at("back").addEventListener("click", () => moveTo(looked - 1));
  at("step").addEventListener("click", () => moveTo(looked + 1));
  at("run").addEventListener("click", run);
  at("cursor").addEventListener("input", () => moveTo(Number(at("cursor").value)));
  at("numbers").addEventListener("toggle", fillNumbers);
  at("pad").addEventListener("pointerdown", drawWithPointer);
  at("pad").addEventListener("pointermove", drawWithPointer);
  at("pad").addEventListener("pointerup", later);
  at("pad").addEventListener("keydown", drawWithKeys);
  at("undo").addEventListener("click", () => { setPoints(pointsNow().slice(0, -1)); later(); });
  at("clear").addEventListener("click", () => { setPoints([]); later(); });
  const again = () => { look(looked); drawPad(at("pad"), pointsNow(), crossAt); };
  new ResizeObserver(again).observe(at("pictures"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new MutationObserver(again).observe(document.body, { attributeFilter: ["data-theme"] });
  update();
}

/** The theme that the book's pages keep, "light" or "dark"; none where there is no storage. */
function storedTheme() {
  try {
    return ["light", "dark"].find((theme) => theme === localStorage.getItem("theme"));
  } catch {
    return undefined;
  }
}

begin();
