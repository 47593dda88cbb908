"""Chapter 4: the exponential integrator, and the weights of every multistep method that is built on it.

Variation of constants turns the probability-flow ODE into an integral of the prediction alone (Lu et al.
2022a, Proposition 3.1, and 2022b, Proposition 4.1).  From (s, lambda_s) to (t, lambda_t), h = lambda_t -
lambda_s:

    x_t = alpha_t / alpha_s x_s - sigma_t int e^(lambda_t - lambda) eps dlambda          noise prediction
    x_t = sigma_t / sigma_s x_s + alpha_t int e^(lambda - lambda_t) x0 dlambda           data prediction

and, for the reverse SDE of level tau, constant over the step (Xue et al. 2023),

    x_t = sigma_t / sigma_s e^(-tau^2 h) x_s + sigma_t sqrt(1 - e^(-2 tau^2 h)) z
          + (1 + tau^2) alpha_t int e^((1 + tau^2)(lambda - lambda_t)) x0 dlambda.

Replace the prediction by the polynomial through its last values, in lambda, in t or in sigma / alpha, and
integrate that exactly: an exponential Adams-Bashforth method.  DPM-Solver++, DEIS, iPNDM, UniP and SA-Solver
are choices of the prediction, of the variable, of the order and of tau.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from toolkit.ode import VARIABLES
from toolkit.options import at_each_time, check_choice, whole_number
from toolkit.sampling import kept

PREDICTIONS = ("eps", "x0")


def phi(k: int, z):
    """phi_k(z) = int_0^1 e^((1 - u) z) u^(k-1) / (k-1)! du, phi_0 = e^z (Hochbruck & Ostermann 2010).

    z: a number or float64 array, -inf included.  The recursion phi_(k+1) = (phi_k - 1/k!) / z cancels at
    small z: below |z| = 2 the Taylor series is summed instead.  Relative error below 2e-14 for k up to 7.
    """
    z = np.asarray(z, dtype=np.float64)
    series = np.zeros_like(z)
    small = np.where(np.abs(z) < 2, z, 0.0)
    for n in reversed(range(32)):
        series = series * small + 1 / math.factorial(n + k)
    large = np.where(np.abs(z) < 2, 2.0, z)
    value = np.exp(large)
    for j in range(k):
        value = (value - 1 / math.factorial(j)) / large
    result = np.where(np.abs(z) < 2, series, value)
    return result if result.ndim else float(result)


def carry(schedule, times, prediction="x0", tau=0.0, rate=None):
    """(a, b, c, rate), float64 (n,): a step is x_t = a x_s + b P + c z, with P = int_0^1 e^(-rate h (1 - u))
    prediction du and u running over [lambda_s, lambda_t].

    times: (n + 1,).  tau: a number or one for each step.  rate = 1 + tau^2 for "x0", -1 for "eps"; a number
    given is the rate itself, and the prediction `blended`'s.  Where sigma_t = 0 and h is infinite, P is to be
    read as the prediction at s: the step is a jump to x_0.
    """
    alpha, sigma = schedule.alpha(np.asarray(times)), schedule.sigma(np.asarray(times))
    h, clean = np.diff(schedule.lam(np.asarray(times))), sigma[1:] == 0
    h = np.where(clean, 0.0, h)
    gain = alpha[1:] / alpha[:-1]
    if rate is not None:
        share, kappa = (1 + rate) / 2, sigma / alpha
        a = gain * np.where(clean, 1 - share, (kappa[1:] / kappa[:-1]) ** share)
        b = alpha[1:] * np.where(clean, kappa[:-1] ** (1 - share), h * kappa[1:] ** (1 - share))
        return a, b, np.zeros_like(h), np.full_like(h, rate)
    if prediction == "eps":
        b = np.where(clean, -gain * sigma[:-1], -sigma[1:] * h)
        return gain, b, np.zeros_like(h), np.full_like(h, -1.0)
    squared = np.broadcast_to(np.asarray(tau, dtype=float), h.shape) ** 2
    a = np.where(clean, 0.0, sigma[1:] / sigma[:-1] * np.exp(-squared * h))
    b = np.where(clean, alpha[1:], (1 + squared) * alpha[1:] * h)
    return a, b, sigma[1:] * np.sqrt(-np.expm1(-2 * squared * h)), 1 + squared


def blended(model, rate):
    """The prediction q(x, t) that goes with a linear part of this rate:
    q = kappa^(s - 1) (x0 - (1 - s) x / alpha),  s = (1 + rate) / 2,  kappa = sigma / alpha,
    since d(kappa^-s x / alpha) / dlambda = e^(rate lambda) q along the flow.  Rate 1 is x0, rate -1 is -eps.
    """
    share, schedule = (1 + rate) / 2, model.schedule

    def predict(x, t):
        alpha, kappa = schedule.alpha(t), schedule.sigma(t) / schedule.alpha(t)
        return kappa ** (share - 1) * (model.x0(x, t) - (1 - share) / alpha * x)

    return predict


_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(48)[i] / 2 + (i == 0) / 2 for i in (0, 1))


def moments(schedule, s, t, count, rate, variable="lam"):
    """int_0^1 e^(-rate h (1 - u)) v^m du for m < count, float64 (n, count); v, 0 at s and 1 at t, is the
    variable that polynomials are written in, u runs over [lambda_s, lambda_t].

    s, t, rate: (n,).  In lambda they are m! phi_(m+1)(-rate h); in t and sigma Gauss-Legendre is used.
    """
    lam = schedule.lam(s)
    h = schedule.lam(t) - lam
    if variable == "lam":
        return np.stack([math.factorial(m) * phi(m + 1, -rate * h) for m in range(count)], axis=1)
    inner = lam[:, None] + h[:, None] * _NODES
    v = np.exp(-inner) if variable == "sigma" else schedule.t_of_lam(inner)
    low, high = position(schedule, s, variable)[:, None], position(schedule, t, variable)[:, None]
    kernel = _WEIGHTS * np.exp(-(rate * h)[:, None] * (1 - _NODES))
    return np.stack([(kernel * ((v - low) / (high - low)) ** m).sum(1) for m in range(count)], axis=1)


def position(schedule, times, variable):
    """The values of the variable, "lam", "t" or "sigma" (sigma / alpha), at these times."""
    if variable == "t":
        return np.asarray(times, dtype=float)
    lam = schedule.lam(np.asarray(times))
    return lam if variable == "lam" else np.exp(-lam)


def interpolation_weights(schedule, nodes, s, t, rate, variable="lam"):
    """Weights (n, k) with which a prediction's values at `nodes` (n, k), times, enter int_0^1 e^(-rate h (1 -
    u)) P du, P the polynomial through them: exact for polynomials of degree below k.  s, t, rate: (n,).
    """
    low, high = position(schedule, s, variable)[:, None], position(schedule, t, variable)[:, None]
    v = (position(schedule, nodes, variable) - low) / (high - low)
    powers = v[:, None, :] ** np.arange(v.shape[1])[:, None]
    return np.linalg.solve(powers, moments(schedule, s, t, v.shape[1], rate, variable)[..., None])[..., 0]


# --- tables: one row a step -----------------------------------------------------------------------------


class Row(NamedTuple):
    """A step  x' = a x + sum_j weights[j] m_j + c z:  m_0 is the newest prediction, z fresh noise."""

    a: float
    weights: tuple[float, ...]
    c: float


def orders_of_steps(schedule, times, order, lower_last=False):
    """How many predictions each step uses: min(order, i + 1), and 1 in a step to sigma = 0, where lambda is
    infinite and no polynomial in it can be followed.  lower_last: 1 in the last step in any case.
    """
    order = whole_number("order", order)
    counts = [min(order, i + 1) for i in range(len(times) - 1)]
    if lower_last or schedule.sigma(float(times[-1])) == 0:
        counts[-1] = 1
    return counts


@kept
def adams_table(
    schedule, times, order, prediction="x0", variable="lam", tau=0.0, lower_last=False, implicit=False,
    rate=None,
):  # fmt: skip
    """A `Row` for each step: the exponential Adams-Bashforth method of this order.  implicit: Adams-Moulton,
    m_0 the prediction at the step's end; a step to sigma = 0 has none.

    Steps use `orders_of_steps` predictions (implicit: one more, the newest).  tau: a number, a function of t
    or one number for each of times, taken at each step's start.  rate: a number for the linear part's own
    (`blended`).  ValueError for an unknown prediction or variable, an order below 1, an infinite lambda at
    the start, or tau with eps.
    """
    check_choice("prediction", prediction, PREDICTIONS)
    check_choice("variable", variable, VARIABLES)
    check_start(schedule, times)
    times = np.asarray(times, dtype=float)
    tau = np.array(at_each_time("tau", tau, times)[:-1])
    if tau.any() and prediction == "eps":
        raise ValueError("tau > 0 needs prediction='x0'")
    a, b, c, rate = carry(schedule, times, prediction, tau, rate)
    counts = np.array(orders_of_steps(schedule, times, order, lower_last))
    weights = [None] * len(counts)
    clean = schedule.sigma(times[-1]) == 0
    for k in set(counts.tolist()):
        steps = np.flatnonzero(counts == k)
        steps = steps[:-1] if clean and steps[-1] == len(counts) - 1 else steps
        if len(steps):
            nodes = times[steps[:, None] + implicit - np.arange(k + implicit)]
            ends = times[steps], times[steps + 1]
            rows = interpolation_weights(schedule, nodes, *ends, rate[steps], variable)
            for i, row in zip(steps, (b[steps, None] * rows).tolist()):
                weights[i] = tuple(row)
    if clean:
        weights[-1] = (float(b[-1]),)
    return tuple(map(Row, a.tolist(), weights, c.tolist()))


def check_start(schedule, times):
    """ValueError if lambda is infinite at the start."""
    if not math.isfinite(schedule.lam(times[0])):
        raise ValueError(
            f"lambda is {schedule.lam(times[0]):g} at the start t = {times[0]:g}: start the grid where both "
            "alpha and sigma are positive"
        )


def after(history, predict, x, times, most):
    """(grid, predictions): what a multistep method that goes on from earlier states begins with.

    history: a list of (t, x) as samplers yield them, x (B, ...) at a time before times[0], the oldest first;
    the last `most` are used.  predict: model.x0 or model.eps; it is called once for each of them.
    grid: their times and then `times`, a list.  predictions: a list, the newest first.  ValueError where the
    times do not decrease throughout or a state is not shaped like x (B, ...).
    """
    pairs = isinstance(history, (list, tuple)) and all(isinstance(pair, (list, tuple)) for pair in history)
    if not pairs or not all(len(pair) == 2 and isinstance(pair[1], torch.Tensor) for pair in history):
        raise ValueError(f"history must be a list of (t, x), as samplers yield them; got {history!r:.60}")
    newest = list(reversed(history))[:most]
    grid = [*(float(t) for t, _ in reversed(newest)), *times]
    if newest and not all(t > s for t, s in zip(grid, grid[1 : len(newest) + 1])):
        raise ValueError(
            f"history must hold (t, x) at times that decrease to times[0] = {times[0]:g}, the oldest first; "
            f"got t = {', '.join(f'{t:g}' for t in grid[: len(newest)])}"
        )
    for t, state in newest:
        if state.shape != x.shape:
            raise ValueError(
                f"history must hold states shaped like x, {tuple(x.shape)}; got {tuple(state.shape)} "
                f"at t = {t:g}"
            )
    return grid, [predict(state.to(x), float(t)) for t, state in newest]


def run_table(model, x, times, table, prediction="x0", noises=None, corrector=None, past=()):
    """The loop of every multistep method: call the model, remember, combine.  Yields (t, x).

    table: a row for each step, with the fields of `Row`.  prediction: "x0", "eps" or a function of
    (x, t).  corrector: a second table, implicit; then the state
    at each time but the last is made again once its prediction is known (with the same noise), and the
    prediction is kept as it was.  past: earlier predictions, the newest first (`after`).
    """
    predict = prediction if callable(prediction) else model.x0 if prediction == "x0" else model.eps
    most, values, moved = max(len(row.weights) for row in table), list(past), x
    yield times[0], x
    for i, row in enumerate(table):
        values = [predict(x, times[i]), *values[:most]]
        if corrector and i:
            x = combine(moved, corrector[i - 1].weights, values)  # PEC: x is not asked about again
        moved = row.a * x + row.c * next(noises) if noises else row.a * x
        x = combine(moved, row.weights, values)
        yield times[i + 1], x


def combine(x, weights, values):
    """x + sum_j weights[j] values[j]."""
    for w, m in zip(weights, values):
        x = x + w * m
    return x
