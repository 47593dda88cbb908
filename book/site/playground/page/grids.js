"use strict";
// Where to step: a grid is NAME(schedule, steps, {start, end, ...}) and gives steps + 1 decreasing times.
// The names say in which variable the steps are equal.

const GRIDS = {
  /** Equal steps in t. */
  uniform(schedule, steps, ends) {
    const [start, end] = endsOf(schedule, ends);
    return pinned(ramp(steps).map((u) => start + u * (end - start)), start, end);
  },

  /** Equal steps in the square root of t. */
  quadratic(schedule, steps, ends) {
    const [start, end] = endsOf(schedule, ends), [first, last] = [Math.sqrt(start), Math.sqrt(end)];
    return pinned(ramp(steps).map((u) => (first + u * (last - first)) ** 2), start, end);
  },

  /** Equal steps in lambda, half the log signal-to-noise ratio. */
  uniform_lambda(schedule, steps, ends) {
    const [start, end] = endsOf(schedule, ends);
    const first = finiteLam(schedule, start), last = finiteLam(schedule, end);
    return pinned(ramp(steps).map((u) => schedule.tOfLam(first + u * (last - first))), start, end);
  },

  /** Equal steps in kappa^(1 / rho), kappa = sigma / alpha (Karras et al. 2022, eq. 5). */
  karras(schedule, steps, ends) {
    const [start, end] = endsOf(schedule, ends), rho = ends.rho ?? 7;
    if (!(rho > 0)) throw new RangeError("rho must be positive");
    const first = Math.exp(-finiteLam(schedule, start) / rho);
    const last = Math.exp(-finiteLam(schedule, end) / rho);
    const at = (u) => schedule.tOfLam(-rho * Math.log(first + u * (last - first)));
    return pinned(ramp(steps).map(at), start, end);
  },

  /** uniform_lambda between the signal-to-noise ratios 1e-3 and 1e4, or between the given ends. */
  truncated(schedule, steps, ends) {
    const start = ends.start ?? Math.min(schedule.start, schedule.tOfLam(0.5 * Math.log(1e-3)));
    const end = ends.end ?? Math.max(schedule.end, schedule.tOfLam(0.5 * Math.log(1e4)));
    return GRIDS.uniform_lambda(schedule, steps, { start, end });
  },

  /** Whole steps of a table, as evenly as can be. */
  strided(schedule, steps, ends) {
    if (!schedule.T) throw new RangeError("the grid of whole steps needs one of DDPM's tables as its schedule");
    const [start, end] = endsOf(schedule, ends);
    const first = evenRound(start * schedule.T), last = evenRound(end * schedule.T);
    if (steps > first - last) throw new RangeError(`the table has ${first - last} steps here, not ${steps}`);
    return ramp(steps).map((u) => evenRound(first + u * (last - first)) / schedule.T);
  },
};

function endsOf(schedule, { start, end }) {
  start ??= schedule.start;
  end ??= schedule.end;
  if (!(schedule.latest() >= start && start > end && end >= 0)) {
    const latest = Number.isFinite(schedule.latest()) ? `at most ${schedule.latest()}` : "finite";
    throw new RangeError(`a grid runs from a first time, ${latest}, down to a last one of 0 or more`);
  }
  if (!(schedule.alpha(start) > 1e-12)) throw new RangeError("no signal is left at the first time: start later");
  return [start, end];
}

function finiteLam(schedule, t) {
  const lam = schedule.lam(t);
  if (Number.isFinite(lam)) return lam;
  throw new RangeError(`this grid needs a finite lambda, and at t = ${t} sigma is 0: end a little earlier, such as at 0.001`);
}

/** The times with their ends exact, whatever was rounded. */
function pinned(times, start, end) {
  times[0] = start;
  times[times.length - 1] = end;
  return times;
}

/** To the nearest whole number, halves to the even one. */
function evenRound(x) {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 ? low + 1 : low;
}
