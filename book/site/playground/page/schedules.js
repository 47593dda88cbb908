"use strict";
// Noise schedules: x_t = alpha(t) x_0 + sigma(t) eps, with lambda = log(alpha / sigma) and kappa = sigma / alpha.
// The forward SDE dx = f x dt + g dw has f = dlog(alpha)/dt and g^2 = dsigma^2/dt - 2 f sigma^2.

class Schedule {
  start = 1;
  end = 1e-3;

  alpha(t) { return Math.exp(this.logAlpha(t)); }
  lam(t) { return this.logAlpha(t) - Math.log(this.sigma(t)); }
  kappa(t) { return this.sigma(t) / this.alpha(t); }
  latest() { return Math.max(1, this.start); }
}

/** VP and sub-VP: log(alpha) falls at the rate beta(t) / 2, beta(t) = 0.1 + 19.9 t (Song et al. 2021, eq. 33). */
class VarianceRate extends Schedule {
  first = 0.1;
  spread = 19.9;

  logAlpha(t) { return -0.25 * t ** 2 * this.spread - 0.5 * t * this.first; }
  f(t) { return -0.5 * (this.first + t * this.spread); }

  tOfLogAlpha(logAlpha) {
    const power = -2 * logAlpha; // the root of a quadratic, without cancellation
    return 2 * power / (this.first + Math.sqrt(this.first ** 2 + 2 * this.spread * power));
  }
}

/** sigma^2 = 1 - alpha^2. */
class VP extends VarianceRate {
  sigma(t) { return Math.sqrt(-Math.expm1(2 * this.logAlpha(t))); }
  g2(t) { return -2 * this.f(t); }
  tOfLam(lam) { return this.tOfLogAlpha(-0.5 * softplus(-2 * lam)); }
}

/** sigma = 1 - alpha^2 (Song et al. 2021, eq. 29). */
class SubVP extends VarianceRate {
  sigma(t) { return -Math.expm1(2 * this.logAlpha(t)); }
  g2(t) { return 2 * this.f(t) * Math.expm1(4 * this.logAlpha(t)); }
  tOfLam(lam) { return this.tOfLogAlpha(-Math.asinh(0.5 * Math.exp(-lam))); }
}

/** alpha = cos(u(t)) / cos(u(0)), u = (t + s) / (1 + s) pi / 2 (Nichol & Dhariwal 2021, eq. 17). */
class VPCosine extends Schedule {
  start = 0.9946;
  s = 0.008;

  angle(t) { return (t + this.s) / (1 + this.s) * (Math.PI / 2); }
  rest(t) { return (1 - t) / (1 + this.s) * (Math.PI / 2); } // pi / 2 - u
  logAlpha(t) { return Math.log(Math.sin(this.rest(t))) - Math.log(Math.cos(this.angle(0))); }
  f(t) { return -0.5 * Math.PI / (1 + this.s) / Math.tan(this.rest(t)); }
  g2(t) { return -2 * this.f(t); }

  sigma(t) {
    const u = this.angle(t), first = this.angle(0); // cos(a)^2 - cos(b)^2 = sin(b - a) sin(b + a)
    return Math.sqrt(Math.sin(u - first) * Math.sin(u + first)) / Math.cos(first);
  }

  tOfLam(lam) {
    const first = this.angle(0);
    const tangent = Math.sqrt(Math.exp(-2 * lam) + Math.sin(first) ** 2) / Math.cos(first);
    return Math.atan(tangent) * (1 + this.s) * (2 / Math.PI) - this.s;
  }
}

/** alpha = 1, sigma = 0.01 · 5000^t (Song et al. 2021, eq. 9). */
class VE extends Schedule {
  end = 0;
  least = 0.01;
  growth = Math.log(50 / 0.01);

  alpha() { return 1; }
  logAlpha() { return 0; }
  sigma(t) { return this.least * Math.exp(t * this.growth); }
  f() { return 0; }
  g2(t) { return 2 * this.growth * this.sigma(t) ** 2; }
  tOfLam(lam) { return -(lam + Math.log(this.least)) / this.growth; }
}

/** alpha = 1, sigma = t (Karras et al. 2022, sec. 4). */
class EDM extends Schedule {
  start = 80;
  end = 0.002;

  latest() { return Infinity; }
  alpha() { return 1; }
  logAlpha() { return 0; }
  sigma(t) { return t; }
  f() { return 0; }
  g2(t) { return 2 * t; }
  tOfLam(lam) { return Math.exp(-lam); }
}

/** alpha = 1 - t, sigma = t: straight paths (Lipman et al. 2023; Liu et al. 2023). */
class Flow extends Schedule {
  start = 0.999;

  logAlpha(t) { return Math.log1p(-t); }
  sigma(t) { return t; }
  f(t) { return -1 / (1 - t); }
  g2(t) { return 2 * t / (1 - t); }
  tOfLam(lam) { return 1 / (1 + Math.exp(lam)); }
}

/** A table of T betas, alpha^2 = prod (1 - beta), step n at time n / T (Ho et al. 2020, eq. 4); log(alpha) is
 * interpolated between the steps (Lu et al. 2022, app. D.2). */
class Discrete extends Schedule {
  end = 0;

  constructor(betas) {
    super();
    this.T = betas.length;
    this.logs = [0];
    for (const [n, beta] of betas.entries()) this.logs.push(this.logs[n] + 0.5 * Math.log1p(-beta));
    this.knots = this.logs.map((_, n) => n / this.T);
    this.powers = this.logs.map((log) => -log); // they rise with n
  }

  logAlpha(t) { return interpolated(t, this.knots, this.logs); }
  sigma(t) { return Math.sqrt(-Math.expm1(2 * this.logAlpha(t))); }
  g2(t) { return -2 * this.f(t); }
  tOfLam(lam) { return interpolated(0.5 * softplus(-2 * lam), this.powers, this.knots); }

  f(t) {
    const n = Math.min(Math.max(Math.ceil(t * this.T - 1e-9) - 1, 0), this.T - 1);
    return (this.logs[n + 1] - this.logs[n]) * this.T;
  }

  static linear() {
    return new Discrete(ramp(999).map((share) => 1e-4 + share * (0.02 - 1e-4)));
  }

  static quadratic() {
    const [first, last] = [Math.sqrt(1e-4), Math.sqrt(0.02)];
    return new Discrete(ramp(999).map((share) => (first + share * (last - first)) ** 2));
  }

  static sigmoid() {
    return new Discrete(ramp(999).map((share) => 1e-4 + (0.02 - 1e-4) / (1 + Math.exp(6 - 12 * share))));
  }

  static cosine() {
    const bar = ramp(1000).map((share) => Math.cos((share + 0.008) / 1.008 * Math.PI / 2) ** 2);
    return new Discrete(bar.slice(1).map((next, n) => Math.min(1 - next / bar[n], 0.999)));
  }
}

/** log(1 + e^x) without overflow. */
function softplus(x) {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

/** Piecewise linear interpolation at rising knots; the end cells are continued. */
function interpolated(x, knots, values) {
  let low = 0, high = knots.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (knots[middle] < x) low = middle;
    else high = middle;
  }
  const share = (x - knots[low]) / (knots[low + 1] - knots[low]);
  return values[low] * (1 - share) + values[low + 1] * share;
}

/** 0, 1 / steps, ..., 1, rounded from both ends. */
function ramp(steps) {
  const count = steps + 1, step = 1 / steps;
  return Array.from({ length: count }, (_, i) => (i < count >> 1 ? step * i : 1 - step * (steps - i)));
}

const SCHEDULES = {
  vp: () => new VP(),
  vp_cosine: () => new VPCosine(),
  sub_vp: () => new SubVP(),
  ve: () => new VE(),
  edm: () => new EDM(),
  flow: () => new Flow(),
  linear: () => Discrete.linear(),
  quadratic: () => Discrete.quadratic(),
  sigmoid: () => Discrete.sigmoid(),
  cosine: () => Discrete.cosine(),
};
