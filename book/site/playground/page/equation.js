"use strict";
// The probability-flow ODE in three variables (u, y), with kappa = sigma / alpha and lambda = -log(kappa):
//   u = t        y = x          dx/dt       = f x + g^2 / (2 sigma) eps      "t"      (Song et al. 2021, eq. 13)
//   u = kappa    y = x / alpha  dy/dkappa   = eps                            "sigma"  (Song, Meng & Ermon 2021, eq. 14)
//   u = lambda   y = x / alpha  dy/dlambda  = -kappa eps                     "lam"
// A last step to sigma = 0, where the slope does not exist, is a jump to the predicted x_0.

/** (u, scale, p, q) at a time: with y = x / scale, dy/du = p y + q eps(x, t). */
function flowCoefficients(schedule, t, variable) {
  if (variable === "t") {
    return { u: t, scale: 1, p: schedule.f(t), q: schedule.g2(t) / (2 * schedule.sigma(t)) };
  }
  const lam = schedule.lam(t), kappa = Math.exp(-lam), scale = schedule.alpha(t);
  return variable === "sigma" ? { u: kappa, scale, p: 0, q: 1 } : { u: lam, scale, p: 0, q: -kappa };
}

/** The time at which the variable has the value u. */
function timeAt(schedule, u, variable) {
  if (variable === "t") return u;
  return schedule.tOfLam(variable === "lam" ? u : -Math.log(u));
}

/** dy/du at stages that are known beforehand: `stages[i]` is the time and the coefficients of stage i; a last time
 * at sigma = 0 is set aside. */
class ProbabilityFlow {
  constructor(model, times, variable) {
    this.model = model;
    this.clean = endsClean(model.schedule, times) ? times.at(-1) : null;
    this.times = this.clean === null ? times : times.slice(0, -1);
    this.stages = this.times.map((t) => flowCoefficients(model.schedule, t, variable));
    this.u = this.stages.map((stage) => stage.u);
    this.steps = this.times.length - 1;
  }

  start(x, i = 0) { return combine(1 / this.stages[i].scale, x); }
  state(y, i) { return combine(this.stages[i].scale, y); }

  slope(y, i) {
    const { scale, p, q } = this.stages[i], eps = this.model.eps(combine(scale, y), this.times[i]);
    return p ? combine(p, y, q, eps) : combine(q, eps);
  }

  /** The slope, and its derivative in y: p I + q scale d eps / dx, one matrix a sample. */
  slopeAndJacobian(y, i) {
    const { scale, p, q } = this.stages[i], { d } = this.model;
    const { eps, jacobian } = this.model.jacobian(combine(scale, y), this.times[i]);
    const change = combine(q * scale, jacobian);
    for (let k = 0; k < change.length; k++) if ((k % (d * d)) % (d + 1) === 0) change[k] += p;
    return { slope: combine(p, y, q, eps), jacobian: change };
  }

  /** The step to sigma = 0, if the grid ends there. */
  *toClean(y) {
    if (this.clean === null) return;
    const x = this.state(y, this.steps);
    yield [this.clean, jump(this.model, x, this.times[this.steps], this.clean)];
  }
}

const endsClean = (schedule, times) => schedule.sigma(times.at(-1)) === 0;

/** The predicted x_0 of x at time s, as the state at time t, where sigma = 0. */
function jump(model, x, s, t) {
  return combine(model.schedule.alpha(t), model.x0(x, s));
}

/** The grid with a stage between any two times, in the middle of the variable; a step to sigma = 0 gets none. */
function withMiddles(schedule, times, variable, mean = "arithmetic") {
  const clean = endsClean(schedule, times), noisy = clean ? times.slice(0, -1) : times, stages = [noisy[0]];
  if (mean === "geometric" && variable === "lam") {
    throw new RangeError("the geometric middle is for variables that are positive: choose t or sigma");
  }
  for (let i = 1; i < noisy.length; i++) {
    const [a, b] = [noisy[i - 1], noisy[i]].map((t) => flowCoefficients(schedule, t, variable).u);
    const middle = mean === "geometric" ? Math.sqrt(a * b) : (a + b) / 2;
    stages.push(timeAt(schedule, middle, variable), noisy[i]);
  }
  return clean ? [...stages, times.at(-1)] : stages;
}
