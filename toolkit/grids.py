"""Where to step: every grid is NAME(schedule, steps, start=None, end=None) and returns steps + 1 decreasing
float64 times.

The first entry is `start`, the last `end`; both default to the schedule's own.  The names say in which
variable the steps are equal.
"""

import math

import numpy as np
import torch

from toolkit.options import real_number, whole_number


def _ends(schedule, steps, start, end):
    start = schedule.start if start is None else float(start)
    end = schedule.end if end is None else float(end)
    steps = whole_number("steps", steps)
    if not math.inf > start > end >= 0:
        raise ValueError(
            f"a grid runs from a finite start down to end >= 0, got start = {start:g}, end = {end:g}"
        )
    return steps, schedule.within(start), schedule.within(end)


def _grid(times, start, end):
    """Pin the ends exactly (round-off in t_of_lam must not move them)."""
    times = times.double().clone()
    times[0], times[-1] = start, end
    return times


def _ramp(steps):
    return torch.linspace(0, 1, steps + 1, dtype=torch.float64)


def uniform(schedule, steps, start=None, end=None):
    """Equal steps in t."""
    steps, start, end = _ends(schedule, steps, start, end)
    return _grid(start + _ramp(steps) * (end - start), start, end)


def quadratic(schedule, steps, start=None, end=None):
    """Equal steps in sqrt(t), so that steps shrink towards the data (Song, Meng & Ermon 2021, app. D.2:
    'quadratic').
    """
    steps, start, end = _ends(schedule, steps, start, end)
    return _grid((math.sqrt(start) + _ramp(steps) * (math.sqrt(end) - math.sqrt(start))) ** 2, start, end)


def _finite_lam(schedule, name, t):
    lam = schedule.lam(t)
    if not math.isfinite(lam):
        raise ValueError(
            f"{name} = {t:g} has lambda = {lam:g}; this grid needs a finite lambda: "
            f"choose {name} inside the interval"
        )
    return lam


def uniform_lambda(schedule, steps, start=None, end=None):
    """Equal steps in lambda, half the log-SNR (Lu et al. 2022, sec. 3.4).  ValueError where lambda is
    infinite.
    """
    steps, start, end = _ends(schedule, steps, start, end)
    first, last = _finite_lam(schedule, "start", start), _finite_lam(schedule, "end", end)
    return _grid(schedule.t_of_lam(first + _ramp(steps) * (last - first)), start, end)


def karras(schedule, steps, start=None, end=None, rho: float = 7.0):
    """Equal steps in (sigma / alpha)^(1 / rho) (Karras et al. 2022, eq. 5); rho = 7 is theirs, rho -> inf is
    uniform_lambda.  ValueError unless rho is positive.
    """
    if not 0 < real_number("rho", rho) < math.inf:
        raise ValueError(f"rho must be positive and finite, got {rho}")
    steps, start, end = _ends(schedule, steps, start, end)
    first = math.exp(-_finite_lam(schedule, "start", start) / rho)
    last = math.exp(-_finite_lam(schedule, "end", end) / rho)
    return _grid(schedule.t_of_lam(-rho * torch.log(first + _ramp(steps) * (last - first))), start, end)


def truncated(schedule, steps, start=None, end=None, snr_start: float = 1e-3, snr_end: float = 1e4):
    """uniform_lambda over the part that matters: from signal-to-noise alpha^2 / sigma^2 = snr_start up to
    snr_end.

    A given `start` or `end` replaces that end; neither reaches beyond the schedule's own.  What is skipped at
    the start holds almost no signal, at the end almost no noise.
    """
    if not (real_number("snr_start", snr_start) > 0 and real_number("snr_end", snr_end) > 0):
        raise ValueError(f"snr_start and snr_end must be positive, got {snr_start} and {snr_end}")
    if start is None:
        start = min(schedule.start, schedule.t_of_lam(0.5 * math.log(snr_start)))
    if end is None:
        end = max(schedule.end, schedule.t_of_lam(0.5 * math.log(snr_end)))
    return uniform_lambda(schedule, steps, start, end)


def strided(schedule, steps, start=None, end=None):
    """A sub-sequence of a Discrete schedule's steps: times n / T for whole n, from T down to 0 as evenly as
    can be.

    The last step ends at n = 0, where alpha-bar = 1 (Song, Meng & Ermon 2021, sec. 4.2, with the ends
    included).
    ValueError for a schedule without T, or for more steps than it has.
    """
    if not hasattr(schedule, "T"):
        raise ValueError("strided needs a Discrete schedule; use uniform for a continuous one")
    steps, start, end = _ends(schedule, steps, start, end)
    first, last = round(start * schedule.T), round(end * schedule.T)
    if steps > first - last:
        raise ValueError(
            f"steps must be at most {first - last}, the steps that the schedule has here; got {steps}"
        )
    return torch.round(first + _ramp(steps) * (last - first)) / schedule.T


# --- grids that are computed ------------------------------------------------------------------------------


def cheapest(costs, steps):
    """The indices 0 = i_0 < i_1 < ... < i_steps = n - 1 with the smallest sum of costs[i_k, i_(k+1)], by
    dynamic programming (Bellman).

    costs: float array (n, n), costs[i, j] what one step from i to j > i costs.  Returns a list of steps + 1
    ints.  ValueError unless 1 <= steps < n.
    """
    costs = np.asarray(costs, dtype=float)
    steps = whole_number("steps", steps)
    if not steps < len(costs):
        raise ValueError(f"steps must be below the number of nodes, {len(costs)}; got {steps}")
    allowed = np.where(np.triu(np.ones_like(costs), 1) > 0, costs, np.inf)
    total, came = np.where(np.arange(len(costs)) == 0, 0.0, np.inf), []
    for _ in range(steps):
        sums = total[:, None] + allowed  # [i, j]: the best way to i, and the step from i to j
        came.append(sums.argmin(0))
        total = sums.min(0)
    path = [len(costs) - 1]
    for best in reversed(came):
        path.append(int(best[path[-1]]))
    return path[::-1]


def local_costs(model, path, times):
    """costs[i, j], float64 (n, n): by how much one DDIM step from time i to time j misses the path, the mean
    over samples of its root mean square; with `cheapest`, the grid of GITS (Chen et al. 2024, sec. 4).

    path: (n, B, ...), the states of an accurate run at times (n,); one call of the model for each.
    """
    times = torch.as_tensor(times, dtype=torch.float64)
    alpha, sigma = (torch.as_tensor(level(times)) for level in (model.schedule.alpha, model.schedule.sigma))
    costs, like = torch.zeros(len(times), len(times), dtype=torch.float64), (-1, *[1] * (path.ndim - 1))
    for i, t in enumerate(times.tolist()[:-1]):
        gain = (alpha[i + 1 :] / alpha[i]).reshape(like)
        eps = model.eps(path[i], t)
        step = gain * path[i] + (sigma[i + 1 :].reshape(like) - gain * sigma[i]) * eps
        costs[i, i + 1 :] = (step - path[i + 1 :]).double().square().flatten(2).mean(2).sqrt().mean(1)
    return costs.numpy()


GRIDS = {f.__name__: f for f in (uniform, quadratic, uniform_lambda, karras, truncated, strided)}
