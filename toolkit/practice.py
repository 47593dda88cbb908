"""Chapter 8, first part: choosing a sampler, composing several, and steps that follow the sample.

In y = x / alpha and kappa = sigma / alpha the flow is dy/dkappa = eps, whatever the schedule.  A DDIM step by
h in lambda = -log kappa, and the same of second order with the slope of eps in lambda from the call before:

    y_1 = y - kappa (1 - e^-h) eps
    y_2 = y_1 - kappa (1 - (1 + h) e^-h) d eps / d lambda

Their disagreement |y_2 - y_1| costs no call.  `difficulty` adds it up along a run, `adaptive_per_sample`
holds it to a tolerance, sample by sample; `allocate` deals out a budget.  `relay` composes samplers."""

import math
from itertools import islice

import numpy as np
import torch

from toolkit.ddim import step_error, step_for
from toolkit.noise import noise_of
from toolkit.ode import check_tolerances, tries_until
from toolkit.options import real_number, whole_number
from toolkit.sampling import Sampler, sampler
from toolkit.sde import langevin_step, level_step

# --- what a choice costs ----------------------------------------------------------------------------------


def break_even(training: float, slow: float, fast: float) -> float:
    """How many samples a training must serve before it has paid: n with training + n fast = n slow.

    training: seconds once.  slow, fast: seconds a sample without and with it.  Infinite unless fast < slow.
    """
    return training / (slow - fast) if fast < slow else math.inf


def frontier(points) -> list:
    """The names that no other one matches or betters in both numbers (Pareto), in order of the first.

    points: dict name -> (cost, error), the smaller the better.
    """
    best, found = math.inf, []
    for name, (_, error) in sorted(points.items(), key=lambda item: item[1]):
        if error < best:
            best = error
            found.append(name)
    return found


# --- compositions -----------------------------------------------------------------------------------------


def correct(model, x, t, noises, corrections=1, snr=0.16):
    """`corrections` steps of Langevin dynamics at time t, x' = x + step score + sqrt(2 step) z with step =
    2 (snr sigma)^2 (Song et al. 2021, Algorithm 4; `sde.level_step`), a call each.

    x: (B, ...).  noises: an iterator over standard normals (B, ...).
    """
    step = level_step(float(model.schedule.sigma(t)), snr)
    for _ in range(whole_number("corrections", corrections)):
        x = langevin_step(x, model.score(x, t), step, next(noises))
    return x


def relay(*legs) -> Sampler:
    """Samplers one after the other, on one grid: a `Sampler` for `sample`, which hands each leg the state
    that the one before ended with.

    legs: (sampler, steps) or (sampler, steps, options); (correct, n) stays where it is and makes n Langevin
    steps.  The steps add up to those of the grid.  A sampler may draw one noise a step at most (ddpm, ddim,
    euler_maruyama, sde_dpmpp_2m); all legs draw from the run's one stream.  A multistep leg starts anew, so
    its first step has order 1.
    ValueError for another form and for a grid of another length."""
    legs = [_leg(*leg) for leg in legs]
    steps = sum(count for one, count, _ in legs if one is not correct)
    draws = sum(count for _, count, _ in legs)

    def loop(model, x, times, rng=0):
        if len(times) != steps + 1:
            raise ValueError(f"the legs make {steps} steps and the grid has {len(times) - 1}")
        noises, at = noise_of(rng, x, range(draws + 1)), 0
        yield times[0], x
        for one, count, options in legs:
            if one is correct:
                x = correct(model, x, times[at], noises, count, **options)
                yield times[at], x
                continue
            drawn = {"rng": _Rest(noises)} if one.random else {}
            states = one(model, x, times[at : at + count + 1], **options, **drawn)
            for t, x in islice(states, 1, None):
                yield t, x
            at += count

    calls = lambda steps: sum(n if one is correct else one.nfe(n, **o) for one, n, o in legs)  # noqa: E731
    noisy = any(one is correct or one.random for one, *_ in legs)
    return Sampler(loop, nfe=calls, kind="sde" if noisy else "ode")


def _leg(one, count=0, options=None):
    """(sampler or `correct`, steps, options).  ValueError for anything else."""
    if one is not correct and not (isinstance(one, Sampler) and one.nfe):
        raise ValueError(f"a leg is (sampler, steps) or (correct, steps), got {one!r:.80}")
    return one, whole_number("steps", count), options or {}


class _Rest:
    """What is left of a run's noise, for one leg."""

    def __init__(self, noises):
        self._noises = noises

    def normals(self, x, times):
        return islice(self._noises, len(times) - 1)


# --- difficulty -------------------------------------------------------------------------------------------


def _size(x):
    """The root mean square of each sample of x (B, ...): float64 (B,), on the host."""
    return x.detach().double().square().flatten(1).mean(1).sqrt().cpu().numpy()


def _column(values, x):
    """One number a sample, (B,), as a factor of x."""
    return torch.as_tensor(values, dtype=x.dtype, device=x.device).reshape(-1, *[1] * (x.ndim - 1))


@torch.no_grad()
def difficulty(model, x, times):
    """How far two orders part on the way, for each sample: the sum over the steps of the grid of the size of
    kappa (1 - (1 + h) e^-h) d eps / d lambda, by which DDIM's step and the second-order one differ, in
    x / alpha (root mean square over a sample's elements).

    x: (B, ...) at times[0], where lambda is finite.  A run of second order, one call a step.  Returns (B,).
    """
    schedule, times = model.schedule, np.asarray(times, dtype=float)
    alpha, lam = schedule.alpha(times), schedule.lam(times)
    y, eps, second, total = x / float(alpha[0]), None, 0.0, np.zeros(len(x))
    for i, h in enumerate(np.diff(lam).tolist()):
        kappa, fresh = math.exp(-lam[i]), model.eps(float(alpha[i]) * y, float(times[i]))
        if i:
            second = kappa * float(step_error(h)) / float(lam[i] - lam[i - 1]) * (fresh - eps)
            total += _size(second)
        y, eps = y + kappa * math.expm1(-h) * fresh - second, fresh
    return total


def calls_of(log, n: int):
    """The calls that each of n samples took, int (n,), from the log of `adaptive_per_sample`."""
    return np.bincount(np.concatenate([rows for rows, *_ in log]), minlength=n)


def allocate(difficulty, mean: float, order: int = 2, least: int = 2):
    """Steps for each sample, int (B,), of the given mean at most: n_b in proportion to d_b^(2 / (2p + 1)),
    which makes sum (d_b / n_b^p)^2 least, rounded down and at least `least`.

    difficulty: (B,), not negative.  order: p, how the error falls with the steps.
    ValueError unless mean is at least `least`.
    """
    least = whole_number("least", least)
    if not real_number("mean", mean) >= least:
        raise ValueError(f"mean must be at least {least}, the least steps of a sample; got {mean}")
    share = np.asarray(difficulty, dtype=float) ** (2 / (2 * order + 1)) + 1e-12
    low, steps = np.zeros(len(share), dtype=bool), mean * share / share.mean()
    while (steps < least).any():  # those stay at the least, and the others divide what is left
        low |= steps < least
        left = mean * len(share) - least * low.sum()
        steps = np.where(low, least, left * share / share[~low].sum())
    return np.floor(steps + 1e-9).astype(int)


def most_to_gain(difficulty, order: int = 2) -> float:
    """The root mean square error of equal steps over that of the best division, at equal calls in all and
    errors d_b / n_b^p: (mean d^2)^(1/2) / (mean d^(2 / (2p + 1)))^(p + 1/2).  1 where all are alike.
    """
    d = np.asarray(difficulty, dtype=float)
    return float(np.sqrt((d**2).mean()) / (d ** (2 / (2 * order + 1))).mean() ** (order + 0.5))


# --- steps that follow the sample -------------------------------------------------------------------------


@sampler(order=2, nfe=None, kind="ode", cite="song2021ddim")
def adaptive_per_sample(model, x, times, tol=0.03, log=None):
    """`ddim_adaptive` with extrapolate=True for each sample by itself: every one has its own time and its own
    step, y' = y - kappa ((1 - e^-h) eps + (1 - (1 + h) e^-h) d eps / d lambda), and leaves the batch at
    times[-1]; the times between are ignored.

    x: (B, ...) at times[0].  tol: what two orders may disagree at a step, in x / alpha and relative to
    sqrt(1 + kappa^2); no step is refused, and none is more than 1.5 times the one before.
    Each round calls the model once, for those that are still on the way, and yields the latest time among
    them with the state of all; `Run.nfe` counts rounds, and the calls of a sample are in the log
    (`calls_of`).  The result does not depend on how the batch is cut.
    log: a list to which (rows, t, s, disagreement), arrays, is appended each round.
    ValueError unless 0 < tol < 1 and lambda is finite at the start.
    """
    if not 0 < tol < 1:
        raise ValueError(f"tol must lie between 0 and 1, got {tol}")
    check_tolerances(tol, tol, log)
    schedule, end = model.schedule, times[-1]
    if not math.isfinite(schedule.lam(times[0])):
        raise ValueError(f"lambda is {schedule.lam(times[0]):g} at the start t = {times[0]:g}: start later")
    t, h, eps = np.full(len(x), times[0]), np.full(len(x), np.inf), torch.zeros_like(x)
    yield times[0], x
    for _ in tries_until(end):
        if not (rows := np.flatnonzero(t > end)).size:
            return
        at, now = torch.as_tensor(rows, device=x.device), t[rows]
        fresh = _of_rows(model, rows, len(x)).eps(x[at], _clock(now, x))
        slope = (fresh - eps[at]) / _column(h[rows], x)  # 0 at first: no step was made yet
        size = np.where(np.isinf(h[rows]), 1.0, _size(slope))
        s = _next_times(schedule, now, end, size, tol, 1.5 * h[rows])
        new, second = _step(schedule, x[at], now, s, fresh, slope)
        x, eps = x.index_copy(0, at, new), eps.index_copy(0, at, fresh)
        h[rows], t[rows] = schedule.lam(s) - schedule.lam(now), s
        if log is not None:
            log.append((rows, now, s, _size(second)))
        yield float(t.max()), x


def _step(schedule, x, t, s, eps, slope):
    """The second-order step of x (B, ...) from times t (B,) to s (B,), and its part with the slope."""
    kappa, h = np.exp(-schedule.lam(t)), schedule.lam(s) - schedule.lam(t)
    second = _column(-kappa * step_error(h), x) * slope
    y = x / _column(schedule.alpha(t), x) + _column(kappa * np.expm1(-h), x) * eps + second
    return _column(schedule.alpha(s), x) * y, second


def _next_times(schedule, t, end, size, tol, most):
    """Where the steps from t (B,) lead: (B,)."""
    kappa = np.exp(-schedule.lam(t))
    h = np.minimum(step_for(tol * np.hypot(1, kappa) / (kappa * np.maximum(size, 1e-12))), most)
    lam = schedule.lam(t) + h
    last = (kappa <= tol) | ~(lam < schedule.lam(end))
    return np.where(last, end, schedule.t_of_lam(np.where(last, schedule.lam(t), lam)))


def _clock(t, x):
    """Times as the model takes them, one a sample; one number where they are all the same."""
    return float(t[0]) if (t == t[0]).all() else torch.as_tensor(t, device=x.device)


def _of_rows(model, rows, n):
    """The model for some samples of a batch of n; ValueError for conditions that cannot be cut by number."""
    if len(rows) == n or not any(c.ndim and len(c) == n for c in model.conditions()):
        return model
    label = getattr(model, "label", None)
    if not isinstance(label, torch.Tensor):
        raise ValueError("where samples finish apart, conditions given per sample must be one label tensor")
    return model.with_label(label[torch.as_tensor(rows, device=label.device)])
