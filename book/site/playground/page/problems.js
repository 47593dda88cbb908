"use strict";
// From the page's settings to a run: the model, the start, the grid that fits a number of calls, the exact end.

const NO_LABEL = 10;
const MOST_STEPS = 400;
let digitsNetwork = null; // made once, when the digits are first asked for

/** The labels of n digits: the same for all, "turns" for 0, 1, ..., 9, 0, ... in turn, or "none". */
function labelsOf(label, n) {
  const one = (i) => (label === "none" ? NO_LABEL : label === "turns" ? i % 10 : Number(label));
  return Array.from({ length: n }, (_, i) => one(i));
}

/** The model that the settings describe, with a count of calls of its own. */
function modelOf({ data, points, width, schedule, label, w, n }) {
  const clock = SCHEDULES[schedule]();
  if (data === "own") return new MixtureModel(kernelMixture(points, width), clock);
  if (data !== "digits") return new MixtureModel(BOOK.mixtures[data], clock);
  digitsNetwork ??= new DigitsNetwork(tensorsOf(WEIGHTS));
  const labelled = (one) => new NetworkModel(digitsNetwork, clock, labelsOf(one, n), WEIGHTS.sigmaData);
  if (label === "none" || w === 1) return labelled(label);
  return new Guided(labelled(label), labelled("none"), w);
}

/** The grid of a side with so many steps. */
function gridOf(schedule, steps, side, { start, end }) {
  return GRIDS[side.grid](schedule, steps, { start: start ?? undefined, end: end ?? undefined, rho: side.rho });
}

/** The most steps that a side's sampler makes with at most side.calls calls, and one at least: found by running it on
 * a model that only counts.  A sampler that chooses its own steps is given the ends alone. */
function stepsFor(side, schedule, ends, callsEach) {
  if (BOOK.samplers[side.sampler].adaptive) return 1;
  const cost = (steps) => {
    const counter = new CountingModel(schedule), times = gridOf(schedule, steps, side, ends);
    for (const _ of SAMPLERS[side.sampler](counter, new Float64Array(1), times, side.options));
    return callsEach * counter.calls;
  };
  let low = 1, high = Math.min(MOST_STEPS, side.calls) + 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (cost(middle) <= side.calls) low = middle;
    else high = middle;
  }
  return low;
}

/** A model that predicts 0 and counts how often it is asked. */
class CountingModel {
  d = 1;
  calls = 0;

  constructor(schedule) { this.schedule = schedule; }
  eps(x) { this.calls++; return new Float64Array(x.length); }
  x0(x) { return this.eps(x); }
  jacobian(x) { return { eps: this.eps(x), jacobian: new Float64Array(x.length) }; }
}

/** The calls of the network that one question to the model costs: two under guidance. */
const callsEach = (model) => (model instanceof Guided ? 2 : 1);

/** The states on the exact way from x at time t to time s, the last of them the end: in closed form where there is
 * one, else by Dormand and Prince's method in lambda, to a small tolerance. */
function* exactWay(model, x, t, s) {
  const end = model.flow(x, t, s), tolerance = model instanceof MixtureModel ? 1e-10 : 1e-6;
  if (end) yield [s, end];
  else yield* rk45(model, x, [t, s], { variable: "lam", rtol: tolerance, atol: tolerance });
}
