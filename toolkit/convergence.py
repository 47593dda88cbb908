"""How fast a solver's error falls as its steps are refined, measured against what is known exactly.

A method of order p errs by about C h^p: on logarithmic axes a straight line, whose `slope` is p.
Deterministic samplers are compared state by state with the probability flow (`ode_errors`), stochastic ones
in their variance (`weak_errors`: the weak order) and path by path (`strong_errors`: the strong order).
Kloeden & Platen 1992, sec. 9.6 and 9.7, define the two.
"""

import math

import numpy as np
import torch

from toolkit import grids
from toolkit.mixtures import Mixture
from toolkit.noise import Brownian, Noise, Replay
from toolkit.sampling import check_times, sample, sample_last


def slope(steps, errors, floor: float = 1e-13) -> float:
    """The order that errors show: -d log(error) / d log(steps), by least squares.  Both (n,).

    Errors at or below floor times the largest are left out, an exact 0 among them: so far down float64
    rounds and the curve is flat, whatever the order.  A floor of another kind (a reference known to 1e-10,
    noise) is the caller's to cut off.  ValueError for an error that is negative or not finite, and unless
    two points or more are left.
    """
    steps, errors = np.asarray(steps, dtype=float), np.asarray(errors, dtype=float)
    if steps.shape != errors.shape or steps.ndim != 1 or len(steps) < 2:
        raise ValueError(
            "steps and errors must be two lists of equal length, at least 2; got shapes "
            f"{steps.shape} and {errors.shape}"
        )
    if not ((errors >= 0) & np.isfinite(errors)).all():
        raise ValueError(f"errors must be finite and not negative to have a slope, got {errors.tolist()}")
    seen = errors > floor * errors.max()
    if seen.sum() < 2:
        raise ValueError(
            f"errors must be above {floor:g} of the largest at two numbers of steps or more to have a slope; "
            f"got {errors.tolist()}"
        )
    return float(-np.polyfit(np.log(steps[seen]), np.log(errors[seen]), 1)[0])


# --- deterministic samplers -----------------------------------------------------------------------------


def reference(model, x, t: float, s: float, tolerance: float = 1e-12):
    """The probability flow's state at time s of the samples x (B, ...) that it has at time t, either way.

    By DOP853 (Hairer, Norsett & Wanner 1993, sec.  II.5) to a relative error of `tolerance` a step, in
    float64 and in dy/dlambda = -kappa eps(x, t), y = x / alpha, kappa = sigma / alpha.  Needs a model that
    is smooth and accurate to about the tolerance in float64, such as a Mixture's: with a float32 network
    the solver does not come to an end.  Returns a tensor shaped like x, float64.  ValueError if alpha or
    sigma is 0 at t or s.
    """
    schedule, x = model.schedule, x.double()
    ends = schedule.lam(float(t)), schedule.lam(float(s))
    if not all(map(math.isfinite, ends)):
        raise ValueError(
            f"lambda is {ends[0]:g} at t = {t:g} and {ends[1]:g} at s = {s:g}: both must be finite, "
            "so choose times where neither alpha nor sigma is 0"
        )
    from scipy.integrate import solve_ivp

    def slope_at(lam, y):
        now = schedule.t_of_lam(float(lam))
        state = schedule.alpha(now) * torch.from_numpy(y).reshape(x.shape).to(x.device)
        return (-math.exp(-lam) * model.eps(state, now)).cpu().numpy().reshape(-1)

    with torch.no_grad():
        start = (x / schedule.alpha(float(t))).cpu().numpy().reshape(-1)
        solution = solve_ivp(slope_at, ends, start, method="DOP853", rtol=tolerance, atol=tolerance / 10)
    if not solution.success:
        raise ValueError(f"the reference solution did not reach s = {s:g}: {solution.message}")
    return schedule.alpha(float(s)) * torch.from_numpy(solution.y[:, -1]).reshape(x.shape).to(x.device)


def exact_start(model, x, times, count: int):
    """(history, state): exact starting values for a multistep method, which has an order only if the values
    that it begins with are as good (Hairer, Norsett & Wanner 1993, sec. III.4).

    x: (B, ...) at times[0].  history: the probability flow's states from x at the first `count` times, as
    samplers take them, [(t, x_t), ...]; state (B, ...): the one at times[count], where the method begins.
    All float64, by `reference`.
    """
    states = [(float(times[0]), x)]
    for s in times[1 : count + 1]:
        t, last = states[-1]
        states.append((float(s), reference(model, last, t, s)))
    return states[:-1], states[-1][1]


def ode_errors(
    sampler,
    model,
    x,
    steps,
    grid=grids.uniform_lambda,
    start=None,
    end=None,
    want=None,
    exact: int = 0,
    **options,
) -> dict:
    """Errors of a deterministic sampler at the end of its run, for each number of steps.

    x: (B, ...) at time start (of an inversion: at time end).  steps: a list of ints.  grid: a function of
    `toolkit.grids`, between start and end (default: the schedule's).  want: the exact result (B, ...); by
    default `reference`, so that sigma must not be 0 at either end.  exact: so many first steps are not the
    sampler's; it gets them as its history (`exact_start`).  options go to the sampler.
    Returns {"steps", "nfe", "rmse", "median"}: lists as long as steps; nfe the model calls made, rmse the
    root mean square of the error's elements, median that of each sample's own root mean square, over the
    samples.
    """
    schedule = model.schedule
    start = schedule.start if start is None else float(start)
    end = schedule.end if end is None else float(end)
    if want is None:
        want = reference(model, x, *((end, start) if sampler.kind == "inversion" else (start, end)))
    errors = {"steps": list(steps), "nfe": [], "rmse": [], "median": []}
    for n in steps:
        times, begin = grid(schedule, n, start, end), x
        if exact:
            options["history"], begin = exact_start(model, x, times, exact)
        run = sample(sampler, model, begin, times[exact:], **options)
        squares = (run.x.double() - want).square().flatten(1).mean(1)
        errors["nfe"].append(run.nfe)
        errors["rmse"].append(float(squares.mean().sqrt()))
        errors["median"].append(float(squares.median().sqrt()))
    return errors


# --- stochastic samplers --------------------------------------------------------------------------------


def exact_variance(sampler, schedule, times, std: float = 0.5, **options):
    """The exact variance of a sampler's output when the data are N(0, std^2), without Monte Carlo.

    For Gaussian data every sampler here is linear in its start and its noises, so one run on the basis
    vectors gives all gains; the variance is sum_j gain_j^2, the start counted with the exact variance alpha^2
    std^2 + sigma^2 of x at times[0].
    Returns a float.  Needs a sampler whose steps do not depend on x.
    """
    times = check_times(times, schedule)
    steps = len(times) - 1
    basis = torch.eye(2 * steps + 1, dtype=torch.float64)  # the start, and up to two noises a step
    start = math.sqrt(schedule.alpha(times[0]) ** 2 * std**2 + schedule.sigma(times[0]) ** 2)
    if sampler.random:
        options["rng"] = Replay(basis[1:, None, :])
    model = Mixture.gaussian(2 * steps + 1, std).model(schedule)
    return float(sample_last(sampler(model, start * basis[:1], times, **options)).square().sum())


def weak_errors(
    sampler, schedule, steps, std: float = 0.5, grid=grids.uniform_lambda, start=None, end=None, **options
) -> list:
    """|variance of the output - the exact one| on data N(0, std^2), for each number of steps; no Monte Carlo.

    steps: a list of ints; grid, start, end as in `ode_errors`.  For a sampler whose steps do not depend on x:
    see `exact_variance`.  Returns a list of floats.
    """
    errors = []
    for n in steps:
        times = grid(schedule, n, start, end)
        last = float(times[-1])
        exact = (schedule.alpha(last) * std) ** 2 + schedule.sigma(last) ** 2
        errors.append(abs(exact_variance(sampler, schedule, times, std, **options) - exact))
    return errors


def strong_errors(sampler, model, x, steps, finest: int, seed=0, start=None, end=None, **options) -> list:
    """Root mean square distance, at the end, between runs with these numbers of steps and one with `finest`
    steps, all on the same Brownian paths.

    x: (B, ...) at time start.  steps: a list of ints, well below finest (the errors are relative to that run,
    which has its own).  The grid is `grids.uniform`.  For samplers that draw one normal a step.  Returns a
    list of floats, over the elements of all samples.  ValueError unless finest exceeds all steps.
    """
    if not all(n < finest for n in steps):
        raise ValueError(f"finest must exceed every number of steps, got {finest} and {list(steps)}")
    run = lambda n: (
        sample(
            sampler, model, x, grids.uniform(model.schedule, n, start, end), draws=Brownian(seed), **options
        ).x
    )
    want = run(finest)
    return [float((run(n) - want).double().square().mean().sqrt()) for n in steps]


def multiplicative_errors(
    steps, finest: int, paths: int = 2000, seed=0, drift: float = 0.2, spread: float = 0.5
) -> list:
    """Strong errors of Euler-Maruyama where the noise is *not* additive: geometric Brownian motion dX = drift
    X dt + spread X dw from X = 1, t = 0 to 1, whose solution exp((drift - spread^2 / 2) + spread w_1) is
    known (Kloeden & Platen 1992, sec. 10.2).  The slope is 1/2; a larger drift, whose own error is of order
    1, hides it until the steps are small.

    steps: a list of ints, each a divisor of finest, on whose grid the paths are drawn.  paths: their number.
    Returns the root mean square errors at t = 1, a list of floats.  ValueError for steps that do not divide.
    """
    if any(finest % n for n in steps):
        raise ValueError(f"every number of steps must divide finest = {finest}, got {list(steps)}")
    like = torch.empty(paths, 1, dtype=torch.float64)
    normals = Noise(seed).normals(like, range(finest + 1))
    w = torch.cat(list(normals), dim=1) / math.sqrt(finest)  # (paths, finest) increments
    exact = torch.exp(drift - spread**2 / 2 + spread * w.sum(1))
    errors = []
    for n in steps:
        factors = 1 + drift / n + spread * w.reshape(paths, n, finest // n).sum(2)
        errors.append(float((factors.prod(1) - exact).square().mean().sqrt()))
    return errors
