"use strict";
// The exponential integrator (Lu et al. 2022a, 2022b): from (s, lambda_s) to (t, lambda_t), h = lambda_t - lambda_s,
//   x_t = alpha_t / alpha_s x_s - sigma_t int e^(lambda_t - lambda) eps dlambda      noise prediction, "eps"
//   x_t = sigma_t / sigma_s x_s + alpha_t int e^(lambda - lambda_t) x0 dlambda       data prediction, "x0"
// with the polynomial through the last predictions, in lambda, t or sigma / alpha, in the place of the prediction.

/** phi_k(z) = int_0^1 e^((1 - u) z) u^(k - 1) / (k - 1)! du, phi_0 = e^z; near 0 by its series. */
function phi(k, z) {
  if (Math.abs(z) < 2) {
    let series = 0;
    for (let n = 31; n >= 0; n--) series = series * z + 1 / factorial(n + k);
    return series;
  }
  let value = Math.exp(z);
  for (let j = 0; j < k; j++) value = (value - 1 / factorial(j)) / z;
  return value;
}

const factorial = (n) => (n < 2 ? 1 : n * factorial(n - 1));

/** (a, b, rate) of a step: x_t = a x_s + b int_0^1 e^(-rate h (1 - u)) prediction du, u from lambda_s to lambda_t.
 * Where sigma_t = 0 the integral is to be read as the prediction at s: the step is a jump to x_0. */
function carry(schedule, s, t, prediction, rate) {
  const gain = schedule.alpha(t) / schedule.alpha(s), clean = schedule.sigma(t) === 0;
  const h = clean ? 0 : schedule.lam(t) - schedule.lam(s);
  if (rate !== null) {
    const share = (1 + rate) / 2, [from, to] = [s, t].map((time) => schedule.kappa(time));
    const a = gain * (clean ? 1 - share : (to / from) ** share);
    return { a, b: schedule.alpha(t) * (clean ? from ** (1 - share) : h * to ** (1 - share)), rate };
  }
  if (prediction === "eps") {
    return { a: gain, b: clean ? -gain * schedule.sigma(s) : -schedule.sigma(t) * h, rate: -1 };
  }
  return { a: schedule.sigma(t) / schedule.sigma(s), b: schedule.alpha(t) * (clean ? 1 : h), rate: 1 };
}

/** The prediction that goes with a linear part of this rate: kappa^(q - 1) (x0 - (1 - q) x / alpha), q = (1 + rate) / 2;
 * rate 1 is x0, rate -1 is -eps. */
function blended(model, rate) {
  const share = (1 + rate) / 2, { schedule } = model;
  return (x, t) => {
    const factor = schedule.kappa(t) ** (share - 1);
    return combine(factor, model.x0(x, t), -factor * (1 - share) / schedule.alpha(t), x);
  };
}

/** Nodes and weights of Gauss and Legendre on [0, 1]: Newton's method on the polynomial. */
function gaussLegendre(n) {
  return Array.from({ length: n }, (_, i) => {
    let x = Math.cos(Math.PI * (i + 0.75) / (n + 0.5)), slope = 0;
    for (let round = 0; round < 50; round++) {
      let before = 1, now = x;
      for (let k = 2; k <= n; k++) [before, now] = [now, ((2 * k - 1) * x * now - (k - 1) * before) / k];
      slope = n * (x * now - before) / (x * x - 1);
      const change = now / slope;
      x -= change;
      if (Math.abs(change) < 1e-16) break;
    }
    return { node: (1 + x) / 2, weight: 1 / ((1 - x * x) * slope * slope) };
  });
}

const GAUSS = gaussLegendre(48);

/** The value of the variable at a time: "lam", "t", or "sigma" for sigma / alpha. */
function position(schedule, t, variable) {
  if (variable === "t") return t;
  return variable === "lam" ? schedule.lam(t) : Math.exp(-schedule.lam(t));
}

/** int_0^1 e^(-rate h (1 - u)) v^m du for m < count; v is the variable, 0 at s and 1 at t. */
function moments(schedule, s, t, count, rate, variable) {
  const lam = schedule.lam(s), h = schedule.lam(t) - lam, powers = Array.from({ length: count }, (_, m) => m);
  if (variable === "lam") return powers.map((m) => factorial(m) * phi(m + 1, -rate * h));
  const low = position(schedule, s, variable), high = position(schedule, t, variable);
  const points = GAUSS.map(({ node, weight }) => {
    const inner = lam + h * node, place = variable === "sigma" ? Math.exp(-inner) : schedule.tOfLam(inner);
    return { v: (place - low) / (high - low), kernel: weight * Math.exp(-rate * h * (1 - node)) };
  });
  return powers.map((m) => points.reduce((sum, { v, kernel }) => sum + kernel * v ** m, 0));
}

/** The weights with which the predictions at `nodes`, times, enter that integral: exact for polynomials. */
function interpolationWeights(schedule, nodes, s, t, rate, variable) {
  const low = position(schedule, s, variable), high = position(schedule, t, variable);
  const v = nodes.map((node) => (position(schedule, node, variable) - low) / (high - low));
  const powers = v.flatMap((_, m) => v.map((place) => place ** m));
  return Array.from(solve(powers, moments(schedule, s, t, v.length, rate, variable)));
}

/** How many predictions each step uses: as many as there are, up to `order`; one in a step to sigma = 0, and with
 * `lowerLast` in the last step in any case. */
function ordersOfSteps(schedule, times, order, lowerLast) {
  const counts = times.slice(1).map((_, i) => Math.min(order, i + 1));
  if (lowerLast || endsClean(schedule, times)) counts[counts.length - 1] = 1;
  return counts;
}

/** {a, weights} for each step x' = a x + sum_j weights[j] m_j, m_0 the newest prediction: the exponential method of
 * Adams and Bashforth; implicit, of Adams and Moulton: m_0 is then the prediction at the step's end. */
function adamsTable(schedule, times, order, options = {}) {
  const { prediction = "x0", variable = "lam", lowerLast = false, implicit = false, rate = null } = options;
  return ordersOfSteps(schedule, times, order, lowerLast).map((count, i) => {
    const [s, t] = [times[i], times[i + 1]], step = carry(schedule, s, t, prediction, rate);
    if (schedule.sigma(t) === 0) return { a: step.a, weights: [step.b] };
    const first = i + (implicit ? 1 : 0);
    const nodes = Array.from({ length: count + (implicit ? 1 : 0) }, (_, j) => times[first - j]);
    const weights = interpolationWeights(schedule, nodes, s, t, step.rate, variable);
    return { a: step.a, weights: weights.map((w) => step.b * w) };
  });
}
