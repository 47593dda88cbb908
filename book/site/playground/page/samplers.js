"use strict";
// The samplers.  Each is the loop of its paper, as in the toolkit: a generator that yields [t, x], the start first.
//   model   see models.js        x      a batch at times[0] (see arrays.js); for the two inversions, at the last time
//   times   decreasing           the options are the toolkit's, with its names and defaults
// s and t are the times at which a step begins and ends, h = lambda_t - lambda_s, kappa = sigma / alpha.
// A last step to sigma = 0 is a jump to the predicted x_0.

/** The steps of a grid: [s, t] for each. */
const stepsOf = (times) => times.slice(1).map((t, i) => [times[i], t]);

/** The same without a last step to sigma = 0. */
const noisySteps = (schedule, times) => stepsOf(times).filter(([, t]) => schedule.sigma(t) > 0);

/** [a, b] of DDIM's step, x_t = a x_s + b eps. */
function ddimStep(schedule, s, t) {
  const a = schedule.alpha(t) / schedule.alpha(s); // alpha_t / alpha_s
  return [a, schedule.sigma(t) - a * schedule.sigma(s)]; // sigma_t - a sigma_s = -sigma_t (e^h - 1)
}

/** [a, b] of the same step by the data, x_t = a x_s + b x0. */
function dataStep(schedule, s, t) {
  const h = schedule.lam(t) - schedule.lam(s);
  return [schedule.sigma(t) / schedule.sigma(s), -schedule.alpha(t) * Math.expm1(-h)]; // alpha_t (1 - e^-h)
}

/** The time at lambda_s + share (lambda_t - lambda_s). */
function between(schedule, s, t, share) {
  const lam = schedule.lam(s);
  return schedule.tOfLam(lam + share * (schedule.lam(t) - lam));
}

/** The last step, where it ends at sigma = 0. */
function* lastJump(model, x, times) {
  if (endsClean(model.schedule, times)) yield [times.at(-1), jump(model, x, times.at(-2), times.at(-1))];
}

// --- chapter 2: DDIM (Song, Meng & Ermon 2021) ---

/** x_t = alpha_t x0 + sigma_t eps, without noise of its own (eta = 0). */
function* ddim(model, x, times) {
  yield [times[0], x];
  for (const [s, t] of stepsOf(times)) {
    const [a, b] = ddimStep(model.schedule, s, t);
    x = combine(a, x, b, model.eps(x, s));
    yield [t, x];
  }
}

/** Data into noise: DDIM's steps undone from the last time up, x_s = (x_t - b eps(x_s, s)) / a, where x_t stands in
 * for the unknown x_s at first; each iteration asks again. */
function* ddim_invert(model, x, times, { iterations = 0 } = {}) {
  yield [times.at(-1), x];
  for (const [s, t] of stepsOf(times).reverse()) {
    const [a, b] = ddimStep(model.schedule, s, t), known = x;
    for (let k = 0; k <= iterations; k++) x = combine(1 / a, known, -b / a, model.eps(x, s));
    yield [s, x];
  }
}

/** DDIM that chooses its steps: were eps a line in lambda with the slope of the last two calls, a step h would err by
 * kappa (1 - (1 + h) e^-h) |slope| in x / alpha, and h is solved for.  extrapolate adds that estimate. */
function* ddim_adaptive(model, x, times, { tol = 0.01, extrapolate = false } = {}) {
  const { schedule, d } = model, end = times.at(-1);
  let t = times[0], eps = model.eps(x, t), slope = combine(0, x), size = 1, h = Infinity;
  yield [t, x];
  while (t > end) {
    const lam = schedule.lam(t), kappa = Math.exp(-lam);
    h = Math.min(stepFor(tol * Math.hypot(1, kappa) / (kappa * Math.max(size, 1e-12))), 1.5 * h);
    const s = kappa <= tol || lam + h >= schedule.lam(end) ? end : schedule.tOfLam(lam + h);
    h = schedule.lam(s) - lam;
    const [a, b] = ddimStep(schedule, t, s);
    x = combine(a, x, b, eps);
    if (extrapolate) x = combine(1, x, -schedule.alpha(s) * kappa * stepError(h), slope);
    yield [s, x];
    if (s > end) {
      const fresh = model.eps(x, s);
      slope = combine(1 / h, fresh, -1 / h, eps);
      size = Math.max(...sizes(slope, d));
      eps = fresh;
    }
    t = s;
  }
}

/** 1 - (1 + h) e^-h: what DDIM's step misses in x / sigma for eps of slope 1 in lambda. */
function stepError(h) {
  return h === Infinity ? 1 : -Math.expm1(-h) - h * Math.exp(-h);
}

/** The h with that error, by Newton's method; infinite from 1 on. */
function stepFor(error) {
  if (error >= 1) return Infinity;
  if (error <= 1e-6) return Math.sqrt(2 * error);
  let h = Math.sqrt(2 * error) + error; // below the root, or not far above: the iteration then stays positive
  for (let round = 0; round < 60; round++) {
    const change = (stepError(h) - error) / (h * Math.exp(-h));
    h = Math.max(h - change, h / 2);
    if (Math.abs(change) < 1e-15 * h) break;
  }
  return h;
}

// --- chapter 3: solvers of the ODE in a variable (equation.js) ---

/** y' = y + h slope(y). */
function* euler(model, x, times, { variable = "t" } = {}) {
  const flow = new ProbabilityFlow(model, times, variable);
  let y = flow.start(x);
  yield [times[0], x];
  for (let i = 0; i < flow.steps; i++) {
    y = combine(1, y, flow.u[i + 1] - flow.u[i], flow.slope(y, i));
    yield [times[i + 1], flow.state(y, i + 1)];
  }
  yield* flow.toClean(y);
}

/** y' = y + h / 2 (slope(y) + slope(y + h slope(y))). */
function* heun(model, x, times, { variable = "t" } = {}) {
  const flow = new ProbabilityFlow(model, times, variable);
  let y = flow.start(x);
  yield [times[0], x];
  for (let i = 0; i < flow.steps; i++) {
    const h = flow.u[i + 1] - flow.u[i], slope = flow.slope(y, i);
    y = combine(1, y, h / 2, slope, h / 2, flow.slope(combine(1, y, h, slope), i + 1));
    yield [times[i + 1], flow.state(y, i + 1)];
  }
  yield* flow.toClean(y);
}

/** EDM's sampler (Karras et al. 2022, Algorithm 1): Heun's method in kappa. */
function* edm_heun(model, x, times) {
  yield* heun(model, x, times, { variable: "sigma" });
}

/** y' = y + h slope(y + (u_m - u) slope(y)), u_m the middle. */
function* midpoint(model, x, times, { variable = "t", mean = "arithmetic" } = {}) {
  const flow = new ProbabilityFlow(model, withMiddles(model.schedule, times, variable, mean), variable);
  let y = flow.start(x);
  yield [times[0], x];
  for (let i = 0; i < flow.steps; i += 2) {
    const halfway = combine(1, y, flow.u[i + 1] - flow.u[i], flow.slope(y, i));
    y = combine(1, y, flow.u[i + 2] - flow.u[i], flow.slope(halfway, i + 1));
    yield [flow.times[i + 2], flow.state(y, i + 2)];
  }
  yield* flow.toClean(y);
}

/** y' = y + h / 6 (k_1 + 2 k_2 + 2 k_3 + k_4), the classical Runge-Kutta method. */
function* rk4(model, x, times, { variable = "t" } = {}) {
  const flow = new ProbabilityFlow(model, withMiddles(model.schedule, times, variable), variable);
  let y = flow.start(x);
  yield [times[0], x];
  for (let i = 0; i < flow.steps; i += 2) {
    y = rungeKutta(flow, y, i, i + 1, i + 2);
    yield [flow.times[i + 2], flow.state(y, i + 2)];
  }
  yield* flow.toClean(y);
}

/** The same from the last time up to the first: data into noise. */
function* rk4_invert(model, x, times, { variable = "t" } = {}) {
  const flow = new ProbabilityFlow(model, withMiddles(model.schedule, times, variable), variable);
  const { schedule } = model, last = flow.steps;
  yield [times.at(-1), x];
  if (flow.clean !== null) { // from sigma = 0: Euler in kappa, its slope asked of x where it stands
    const t = flow.times[last];
    x = combine(schedule.alpha(t) / schedule.alpha(flow.clean), x);
    x = combine(1, x, schedule.sigma(t), model.eps(x, t));
    yield [t, x];
  }
  let y = flow.start(x, last);
  for (let i = last; i > 0; i -= 2) {
    y = rungeKutta(flow, y, i, i - 1, i - 2);
    yield [flow.times[i - 2], flow.state(y, i - 2)];
  }
}

/** One step of RK4 between two stages by the one in the middle. */
function rungeKutta(flow, y, start, middle, end) {
  const h = flow.u[end] - flow.u[start];
  const k1 = flow.slope(y, start);
  const k2 = flow.slope(combine(1, y, h / 2, k1), middle);
  const k3 = flow.slope(combine(1, y, h / 2, k2), middle);
  const k4 = flow.slope(combine(1, y, h, k3), end);
  return combine(1, y, h / 6, k1, h / 3, k2, h / 3, k3, h / 6, k4);
}

// Dormand & Prince 1980: the nodes, the stages, and the weights of the estimated error.
const DP_NODES = [1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1];
const DP_STAGES = [
  [1 / 5],
  [3 / 40, 9 / 40],
  [44 / 45, -56 / 15, 32 / 9],
  [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
  [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
  [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
];
const DP_ERROR = [71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40];

/** Dormand and Prince's 5(4), which chooses its steps: one is accepted if its estimated error, measured against
 * atol + rtol |y|, is at most 1; accepted or not, the next is h (1 / error)^(1/5) with a safety factor. */
function* rk45(model, x, times, { rtol = 1e-4, atol = 1e-4, variable = "t" } = {}) {
  const { schedule, d } = model, clean = endsClean(schedule, times);
  const end = clean ? schedule.tOfLam(-Math.log(atol)) : times.at(-1);
  yield [times[0], x];
  if (end >= times[0]) { // the start is as clean as asked for
    yield [times.at(-1), jump(model, x, times[0], times.at(-1))];
    return;
  }
  const flow = new ProbabilityFlow(model, [times[0], end], variable), stop = flow.u[1];
  let y = flow.start(x), u = flow.u[0], slope = flow.slope(y, 0), h = (stop - u) / 100;
  while (u !== stop) {
    const last = Math.abs(h) >= Math.abs(stop - u);
    if (last) h = stop - u;
    const stages = DP_NODES.map((c) => timeAt(schedule, u + h * c, variable))
      .map((t) => Math.min(Math.max(t, end), times[0]));
    if (last) stages[4] = stages[5] = end;
    const inner = new ProbabilityFlow(model, stages, variable), slopes = [slope];
    let fresh = y;
    DP_STAGES.forEach((weights, i) => {
      fresh = weighted(y, weights.map((w) => h * w), slopes);
      slopes.push(inner.slope(fresh, i));
    });
    const wrong = weighted(combine(0, y), DP_ERROR.map((w) => h * w), slopes);
    const error = sizeOfError(wrong.map((e, i) => e / (atol + rtol * Math.max(Math.abs(y[i]), Math.abs(fresh[i])))), d);
    if (error <= 1) {
      [y, slope, u] = [fresh, slopes[6], last ? stop : u + h];
      x = inner.state(y, 5);
      yield [stages[5], x];
    }
    h *= Math.min(5, Math.max(0.2, 0.9 * Math.max(error, 1e-12) ** (-1 / 5)));
  }
  if (clean) yield [times.at(-1), jump(model, x, end, times.at(-1))];
}

/** The largest of the samples' sizes. */
function sizeOfError(wrong, d) {
  const error = Math.max(...sizes(wrong, d));
  if (Number.isFinite(error)) return error;
  throw new RangeError("the error of a step is not finite");
}

/** y' = y + h slope(y'): backward Euler, each step solved by Newton's method with one Jacobian a step. */
function* implicit_euler(model, x, times, { variable = "t", iterations = 2 } = {}) {
  yield* thetaMethod(model, x, times, 1, variable, iterations);
}

/** y' = y + h / 2 (slope(y) + slope(y')): the trapezoidal rule. */
function* trapezoid(model, x, times, { variable = "t", iterations = 2 } = {}) {
  yield* thetaMethod(model, x, times, 0.5, variable, iterations);
}

/** y' = y + h ((1 - theta) slope(y) + theta slope(y')) (Hairer & Wanner 1996, sec. IV.3 and IV.8). */
function* thetaMethod(model, x, times, theta, variable, iterations) {
  const flow = new ProbabilityFlow(model, times, variable);
  let y = flow.start(x);
  yield [times[0], x];
  for (let i = 0; i < flow.steps; i++) {
    const h = flow.u[i + 1] - flow.u[i];
    const known = theta === 1 ? y : combine(1, y, (1 - theta) * h, flow.slope(y, i));
    let { slope, jacobian } = flow.slopeAndJacobian(y, i + 1);
    for (let k = 0; k < iterations; k++) {
      if (k) slope = flow.slope(y, i + 1);
      const residual = combine(1, y, -1, known, -theta * h, slope); // y - known - theta h slope(y)
      y = combine(1, y, -1, newtonStep(jacobian, theta * h, residual, model.d));
    }
    yield [times[i + 1], flow.state(y, i + 1)];
  }
  yield* flow.toClean(y);
}

/** (1 - h J)^-1 residual, sample by sample. */
function newtonStep(jacobian, h, residual, d) {
  const step = new Float64Array(residual.length);
  for (let first = 0; first < residual.length; first += d) {
    const matrix = jacobian.subarray(first * d, (first + d) * d).map((v, k) => (k % (d + 1) ? 0 : 1) - h * v);
    step.set(solve(matrix, residual.subarray(first, first + d)), first);
  }
  return step;
}

// --- chapter 4: DPM-Solver (Lu et al. 2022a) ---

/** x_t = alpha_t / alpha_s x_s - sigma_t (e^h - 1) eps: it is DDIM. */
function* dpm_solver_1(model, x, times) {
  yield* ddim(model, x, times);
}

/** u the step of first order to m, at lambda_s + r1 h, and
 * x_t = alpha_t / alpha_s x_s - sigma_t (e^h - 1) (eps + (eps(u, m) - eps) / (2 r1))   (Algorithm 1). */
function* dpm_solver_2(model, x, times, { r1 = 0.5 } = {}) {
  checkShares(r1);
  yield [times[0], x];
  for (const [s, t] of noisySteps(model.schedule, times)) {
    x = secondOrder(model, x, s, t, r1, model.eps(x, s)).second;
    yield [t, x];
  }
  yield* lastJump(model, x, times);
}

/** u_2 a step like DPM-Solver-2's to m_2, at lambda_s + r2 h, and D_2 = eps(u_2, m_2) - eps:
 * x_t = alpha_t / alpha_s x_s - sigma_t (e^h - 1) eps - sigma_t h phi_2(h) / r2 D_2   (Algorithm 2). */
function* dpm_solver_3(model, x, times, { r1 = 1 / 3, r2 = 2 / 3 } = {}) {
  checkShares(r1, r2);
  yield [times[0], x];
  for (const [s, t] of noisySteps(model.schedule, times)) {
    x = thirdOrder(model, x, s, t, r1, r2, model.eps(x, s)).third;
    yield [t, x];
  }
  yield* lastJump(model, x, times);
}

/** The results of DPM-Solver-1 and -2 of one step, and D_1 = eps(u_1, m_1) - eps; one call. */
function secondOrder(model, x, s, t, r1, eps) {
  const m = between(model.schedule, s, t, r1);
  const [am, bm] = ddimStep(model.schedule, s, m), [a, b] = ddimStep(model.schedule, s, t);
  const change = combine(1, model.eps(combine(am, x, bm, eps), m), -1, eps); // D_1
  const first = combine(a, x, b, eps);
  return { first, second: combine(1, first, b / (2 * r1), change), change };
}

/** The results of DPM-Solver-2 and -3 of one step; two calls. */
function thirdOrder(model, x, s, t, r1, r2, eps) {
  const { schedule } = model, { first, second, change } = secondOrder(model, x, s, t, r1, eps);
  const m = between(schedule, s, t, r2), h = schedule.lam(t) - schedule.lam(s), [am, bm] = ddimStep(schedule, s, m);
  const lift = -schedule.sigma(m) * r2 / r1 * r2 * h * phi(2, r2 * h);
  const u = combine(am, x, bm, eps, lift, change); // u_2
  const last = combine(1, model.eps(u, m), -1, eps); // D_2
  return { second, third: combine(1, first, -schedule.sigma(t) * h / r2 * phi(2, h), last) };
}

function checkShares(...shares) {
  if ([0, ...shares].every((share, i, all) => i === 0 || all[i - 1] < share) && shares.at(-1) <= 1) return;
  throw new RangeError("r1 and r2 must satisfy 0 < r1 < r2 ≤ 1");
}

/** Steps of third order, and at the end one of second order, or one of second and one of first, such that they make
 * nfe calls in all; by default as many as the steps can hold. */
function* dpm_solver_fast(model, x, times, { nfe = null } = {}) {
  const calls = nfe ?? 3 * (times.length - 1) - 1, threes = Math.floor(calls / 3), rest = calls % 3;
  const orders = rest ? [...Array(threes).fill(3), rest] : [...Array(threes - 1).fill(3), 2, 1];
  if (orders.length !== times.length - 1) throw new RangeError(`${nfe} calls need ${orders.length} steps`);
  yield [times[0], x];
  const solvers = { 1: dpm_solver_1, 2: dpm_solver_2, 3: dpm_solver_3 };
  for (const [i, [s, t]] of stepsOf(times).entries()) {
    [, [, x]] = solvers[orders[i]](model, x, [s, t]); // the state after the start
    yield [t, x];
  }
}

/** DPM-Solver-12 (order 2) and -23 (order 3): two orders at once, E the size of their difference over
 * max(atol, rtol |x|); a step is accepted if E <= 1, and the next is h' = safety h E^(-1 / order). */
function* dpm_solver_adaptive(model, x, times, options = {}) {
  const { order = 3, rtol = 0.05, atol = 0.0078, first = 0.05, safety = 0.9 } = options;
  const { schedule, d } = model, clean = endsClean(schedule, times);
  const end = clean ? schedule.tOfLam(-Math.log(1e-3 * atol)) : times.at(-1);
  let t = times[0], h = first, previous = x, eps = null;
  yield [t, x];
  while (t > end) {
    const lam = schedule.lam(t), s = lam + h >= schedule.lam(end) ? end : schedule.tOfLam(lam + h);
    h = schedule.lam(s) - lam;
    eps ??= model.eps(x, t);
    const [low, high] = (order === 2 ? orders1And2 : orders2And3)(model, x, t, s, eps);
    const allowed = (i) => Math.max(atol, rtol * Math.max(Math.abs(low[i]), Math.abs(previous[i])));
    const error = sizeOfError(high.map((v, i) => (v - low[i]) / allowed(i)), d);
    h = safety * h * Math.max(error, 1e-8) ** (-1 / order);
    if (error <= 1) {
      [previous, x, t, eps] = [low, high, s, null];
      yield [t, x];
    }
  }
  if (clean) yield [times.at(-1), jump(model, x, t, times.at(-1))];
}

function orders1And2(model, x, s, t, eps) {
  const { first, second } = secondOrder(model, x, s, t, 1 / 2, eps);
  return [first, second];
}

function orders2And3(model, x, s, t, eps) {
  const { second, third } = thirdOrder(model, x, s, t, 1 / 3, 2 / 3, eps);
  return [second, third];
}

// --- chapter 4: DPM-Solver++ (Lu et al. 2022b), which predicts the data ---

/** x_t = sigma_t / sigma_s x_s + alpha_t (1 - e^-h) ((1 - 1 / (2 r1)) x0 + 1 / (2 r1) x0(u, m)), u the step of first
 * order to m, at lambda_s + r1 h   (Algorithm 1). */
function* dpmpp_2s(model, x, times, { r1 = 0.5 } = {}) {
  checkShares(r1);
  yield [times[0], x];
  for (const [s, t] of noisySteps(model.schedule, times)) {
    const m = between(model.schedule, s, t, r1), data = model.x0(x, s);
    const [am, bm] = dataStep(model.schedule, s, m), [a, b] = dataStep(model.schedule, s, t);
    const ahead = model.x0(combine(am, x, bm, data), m); // x0(u, m)
    x = combine(a, x, b * (1 - 1 / (2 * r1)), data, b / (2 * r1), ahead);
    yield [t, x];
  }
  yield* lastJump(model, x, times);
}

/** x_t = sigma_t / sigma_s x_s + alpha_t (1 - e^-h) D, D = (1 + 1 / (2 r)) m_0 - 1 / (2 r) m_1, r = h_(i-1) / h_i,
 * with m_0 the data predicted now and m_1 a step before   (Algorithm 2).  "exact" integrates the line through both. */
function* dpmpp_2m(model, x, times, { form = "midpoint", lower_last = false } = {}) {
  if (form === "exact") {
    yield* exponential_ab(model, x, times, { order: 2, lower_last });
    return;
  }
  const { schedule } = model, counts = ordersOfSteps(schedule, times, 2, lower_last);
  let before = null; // m_1
  yield [times[0], x];
  for (const [i, [s, t]] of stepsOf(times).entries()) {
    const [a, b] = dataStep(schedule, s, t), data = model.x0(x, s); // m_0
    if (counts[i] === 2) {
      const half = (schedule.lam(t) - schedule.lam(s)) / (schedule.lam(s) - schedule.lam(times[i - 1])) / 2;
      x = combine(a, x, b * (1 + half), data, -b * half, before); // half is 1 / (2 r)
    } else {
      x = combine(a, x, b, data);
    }
    before = data;
    yield [t, x];
  }
}

/** x_t = sigma_t / sigma_s x_s + alpha_t (h phi_1 m_0 + h^2 phi_2 D_1 + h^3 phi_3 D_2), phi_k = phi_k(-h): the
 * parabola through the last three predictions, integrated exactly. */
function* dpmpp_3m(model, x, times, { lower_last = false } = {}) {
  yield* exponential_ab(model, x, times, { order: 3, lower_last });
}

/** The same as libraries have it: half of the last term, a divided difference where a derivative belongs. */
function* dpmpp_3m_divided(model, x, times, { lower_last = false } = {}) {
  const { schedule } = model, lam = times.map((t) => schedule.lam(t));
  const table = adamsTable(schedule, times, 3, { lowerLast: lower_last });
  const lines = adamsTable(schedule, times, 1);
  for (const [i, count] of ordersOfSteps(schedule, times, 3, lower_last).entries()) {
    const h = lam[i + 1] - lam[i], near = lam[i] - lam[i - 1], far = lam[i] - lam[i - 2];
    if (count === 2) { // as dpmpp_2m
      const [whole] = lines[i].weights, half = h / near / 2;
      table[i].weights = [whole * (1 + half), -whole * half];
    } else if (count === 3) {
      const difference = [1 / (near * far), -1 / (near * (far - near)), 1 / (far * (far - near))];
      const excess = schedule.alpha(times[i + 1]) * h ** 3 * phi(3, -h); // alpha_t h^3 phi_3, half of what belongs
      table[i].weights = table[i].weights.map((w, j) => w - excess * difference[j]);
    }
  }
  yield* runTable(model, x, times, table, (state, t) => model.x0(state, t));
}

// --- chapter 4: multistep solvers with a memory ---

/** The general exponential method of Adams and Bashforth: the polynomial through the last predictions, integrated
 * exactly, x' = a x + sum_j w_j m_j.  rate: the linear part's own, in place of the prediction's. */
function* exponential_ab(model, x, times, options = {}) {
  const { order = 2, prediction = "x0", variable = "lam", lower_last = false, rate = null } = options;
  const table = adamsTable(model.schedule, times, order, { prediction, variable, rate, lowerLast: lower_last });
  const predict = rate === null ? (state, t) => model[prediction](state, t) : blended(model, rate);
  yield* runTable(model, x, times, table, predict);
}

/** The loop of every multistep method: call the model, remember, combine. */
function* runTable(model, x, times, table, predict) {
  const most = Math.max(...table.map((row) => row.weights.length));
  let values = []; // m_0, m_1, ...: the newest prediction first
  yield [times[0], x];
  for (const [i, [s, t]] of stepsOf(times).entries()) {
    values = [predict(x, s), ...values.slice(0, most)];
    x = weighted(combine(table[i].a, x), table[i].weights, values);
    yield [t, x];
  }
}

/** DEIS (Zhang & Chen 2023): the polynomial through the last eps, in t ("tab") or in kappa ("rhoab"). */
function* deis(model, x, times, { order = 3, variant = "tab", lower_last = false } = {}) {
  const variable = variant === "tab" ? "t" : "sigma";
  yield* exponential_ab(model, x, times, { order, prediction: "eps", variable, lower_last });
}

// Adams-Bashforth with equal steps, the newest prediction's weight first.
const EQUAL_STEPS = {
  1: [1],
  2: [3 / 2, -1 / 2],
  3: [23 / 12, -16 / 12, 5 / 12],
  4: [55 / 24, -59 / 24, 37 / 24, -9 / 24],
};

/** iPNDM (Zhang & Chen 2023): DDIM's step with (55 eps_0 - 59 eps_1 + 37 eps_2 - 9 eps_3) / 24 as its eps, begun with
 * lower orders; variable_step takes the weights of the actual steps. */
function* ipndm(model, x, times, { order = 4, variable_step = false, lower_last = false } = {}) {
  if (variable_step) {
    yield* exponential_ab(model, x, times, { order, prediction: "eps", variable: "sigma", lower_last });
    return;
  }
  const table = equalStepsTable(model.schedule, times, order, lower_last);
  yield* runTable(model, x, times, table, (state, t) => model.eps(state, t));
}

function equalStepsTable(schedule, times, order, lowerLast) {
  return ordersOfSteps(schedule, times, order, lowerLast).map((count, i) => {
    const [a, b] = ddimStep(schedule, times[i], times[i + 1]);
    return { a, weights: EQUAL_STEPS[count].map((w) => b * w) };
  });
}

/** PNDM (Liu et al. 2022): three pseudo Runge-Kutta steps of four calls, then the same mean of four eps. */
function* pndm(model, x, times) {
  const { schedule } = model, table = equalStepsTable(schedule, times, 4, false);
  let eps = [];
  yield [times[0], x];
  for (const [i, [s, t]] of stepsOf(times).entries()) {
    eps = [model.eps(x, s), ...eps.slice(0, 3)]; // eps_0, eps_1, eps_2, eps_3
    x = i < 3 && schedule.sigma(t) > 0
      ? pseudoRungeKutta(model, x, s, t, eps[0]) // eq. 13, PRK
      : weighted(combine(table[i].a, x), table[i].weights, eps); // eq. 12, PLMS
    yield [t, x];
  }
}

function pseudoRungeKutta(model, x, s, t, e1) {
  const m = (s + t) / 2, [am, bm] = ddimStep(model.schedule, s, m), [a, b] = ddimStep(model.schedule, s, t);
  const e2 = model.eps(combine(am, x, bm, e1), m);
  const e3 = model.eps(combine(am, x, bm, e2), m);
  const e4 = model.eps(combine(a, x, b, e3), t);
  return combine(a, x, b / 6, e1, b / 3, e2, b / 3, e3, b / 6, e4);
}

/** UniPC (Zhao et al. 2023): the predictor UniP, and the corrector UniC, which makes the last state again once the
 * next step's prediction is known, and so costs no call. */
function* unipc(model, x, times, options = {}) {
  const { order = 3, form = "bh2", corrector = true, lower_last = false } = options;
  const steps = unipcSteps(model.schedule, times, order, form, lower_last);
  let data = [], moved = x;
  yield [times[0], x];
  for (const [i, [s, t]] of stepsOf(times).entries()) {
    data = [model.x0(x, s), ...data.slice(0, order)];
    if (corrector && i) x = weighted(moved, steps[i - 1].correct, data); // UniC: the state at s, corrected
    moved = combine(steps[i].a, x); // sigma_t / sigma_s x_s
    x = weighted(moved, steps[i].predict, data); // UniP
    yield [t, x];
  }
}

/** {a, predict, correct} for each step: the polynomials' weights, but for UniP-2 and UniC-1, where the paper takes
 * rho = 1/2, with B(h) = h ("bh1") or 1 - e^-h ("bh2"). */
function unipcSteps(schedule, times, order, form, lowerLast) {
  const explicit = adamsTable(schedule, times, order, { lowerLast });
  const implicit = adamsTable(schedule, times, order, { lowerLast, implicit: true });
  const lam = times.map((t) => schedule.lam(t));
  return ordersOfSteps(schedule, times, order, lowerLast).map((count, i) => {
    const step = { a: explicit[i].a, predict: explicit[i].weights, correct: implicit[i].weights };
    const h = lam[i + 1] - lam[i], total = -schedule.alpha(times[i + 1]) * Math.expm1(-h);
    if (count > 2 || !Number.isFinite(h)) return step;
    const half = form === "bh1" ? schedule.alpha(times[i + 1]) * h / 2 : total / 2; // alpha_t B(h) rho
    if (count === 1) return { ...step, correct: [half, total - half] };
    const bend = half * h / (lam[i] - lam[i - 1]);
    return { ...step, predict: [total + bend, -bend] };
  });
}

// --- chapter 8: steps for each sample by itself ---

/** ddim_adaptive with extrapolate for each sample alone, which has its own time and its own step, and leaves the batch
 * at the end; each round asks the model once for those that are still on the way. */
function* adaptive_per_sample(model, x, times, { tol = 0.03 } = {}) {
  const { schedule, d } = model, end = times.at(-1), n = x.length / d;
  const now = Array(n).fill(times[0]), h = Array(n).fill(Infinity), known = new Float64Array(x.length);
  yield [times[0], x];
  while (now.some((t) => t > end)) {
    const rows = [...now.keys()].filter((row) => now[row] > end), at = rows.map((row) => now[row]);
    const fresh = model.rows(rows).eps(pick(x, rows, d), at);
    const slope = fresh.map((v, j) => (v - known[rows[Math.floor(j / d)] * d + j % d]) / h[rows[Math.floor(j / d)]]);
    const size = sizes(slope, d);
    x = Float64Array.from(x);
    rows.forEach((row, k) => {
      const t = now[row], kappa = Math.exp(-schedule.lam(t)), first = h[row] === Infinity;
      const wanted = stepFor(tol * Math.hypot(1, kappa) / (kappa * Math.max(first ? 1 : size[k], 1e-12)));
      const lam = schedule.lam(t) + Math.min(wanted, 1.5 * h[row]);
      const s = kappa <= tol || !(lam < schedule.lam(end)) ? end : schedule.tOfLam(lam);
      h[row] = schedule.lam(s) - schedule.lam(t);
      const direct = kappa * Math.expm1(-h[row]), second = -kappa * stepError(h[row]);
      for (let j = 0; j < d; j++) {
        const y = x[row * d + j] / schedule.alpha(t) + direct * fresh[k * d + j] + second * slope[k * d + j];
        x[row * d + j] = schedule.alpha(s) * y;
        known[row * d + j] = fresh[k * d + j];
      }
      now[row] = s;
    });
    yield [Math.max(...now), x];
  }
}

const SAMPLERS = {
  ddim, ddim_invert, ddim_adaptive,
  euler, heun, edm_heun, midpoint, rk4, rk4_invert, rk45, implicit_euler, trapezoid,
  dpm_solver_1, dpm_solver_2, dpm_solver_3, dpm_solver_fast, dpm_solver_adaptive,
  dpmpp_2s, dpmpp_2m, dpmpp_3m, dpmpp_3m_divided,
  exponential_ab, deis, ipndm, pndm, unipc,
  adaptive_per_sample,
};
