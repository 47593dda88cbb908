"""Chapter 3: the probability-flow ODE and its solvers.

The ODE whose solutions have the marginals p_t of the diffusion, in three variables (u, y), with
kappa = sigma / alpha and lambda = -log kappa:

    u = t        y = x          dx/dt = f x - g^2 / 2 score = f x + g^2 / (2 sigma) eps     "t"
    u = kappa    y = x / alpha  dy/dkappa = eps                                             "sigma"
    u = lambda   y = x / alpha  dy/dlambda = -kappa eps                                     "lam"

The first is eq. 13 of Song et al. (ICLR 2021; arXiv 2011.13456), the second eq. 14 of Song, Meng & Ermon
(ICLR 2021; arXiv 2010.02502) and, where alpha = 1, eq. 1 of Karras et al. (NeurIPS 2022; arXiv 2206.00364).
The solutions are the same curves; a solver's error is not.

A last step to sigma = 0, where the slope does not exist, every solver here takes as EDM's does: by Euler in
kappa, which is a jump to the predicted x_0.
"""

import math

import numpy as np
import torch

from toolkit.models import clock_dtype, without_autocast
from toolkit.options import whole_number
from toolkit.sampling import gradient_mode, largest_rms, sampler
from toolkit.schedules import check_signal

VARIABLES = ("t", "sigma", "lam")

# --- the equation ---------------------------------------------------------------------------------------


def flow_coefficients(schedule, times, variable="t"):
    """(u, scale, p, q), float64 arrays shaped like times, such that with y = x / scale the probability-flow
    ODE is

        dy/du = p y + q eps(x, t).

    variable: "t", "sigma" or "lam", the u of the module's table.  ValueError for another, and where alpha
    is 0: x / alpha does not exist there, and f is infinite.
    """
    times = np.asarray(times, dtype=np.float64)
    if variable not in VARIABLES:
        raise ValueError(f"variable must be one of {', '.join(VARIABLES)}; got {variable!r}")
    alpha = schedule.alpha(times)
    check_signal(alpha, times)
    if variable == "t":
        f, g2, sigma = schedule.f(times), schedule.g2(times), schedule.sigma(times)
        return times, np.ones_like(times), f, g2 / (2 * sigma)
    lam = schedule.lam(times)
    kappa = np.exp(-lam)
    u, slope = (kappa, np.ones_like(kappa)) if variable == "sigma" else (lam, -kappa)
    return u, alpha, np.zeros_like(u), slope


def time_of(schedule, u, variable="t"):
    """The times at which the variable u has these values: the inverse of `flow_coefficients`' u."""
    if variable == "t":
        return np.asarray(u, dtype=np.float64)
    return schedule.t_of_lam(np.asarray(u) if variable == "lam" else -np.log(u))


class ProbabilityFlow:
    """dy/du = p y + q eps at stages known beforehand: what a solver's loop needs, as floats.

    times: the stages, decreasing floats; a last one at sigma = 0 is set aside for `to_clean`.  `u` (list of
    floats) is the variable at each stage; `slope(y, i)` is dy/du at stage i, one call of the model.
    """

    def __init__(self, model, times, variable="t"):
        self.model = model
        self.clean = times[-1] if model.schedule.sigma(float(times[-1])) == 0 else None
        self.times = list(times if self.clean is None else times[:-1])
        coefficients = flow_coefficients(model.schedule, self.times, variable)
        self.u, self.scale, self.p, self.q = (c.tolist() for c in coefficients)
        self.steps = len(self.times) - 1

    def state(self, y, i):
        """x = scale y at stage i."""
        return self.scale[i] * y

    def slope(self, y, i):
        """dy/du at stage i."""
        return self.p[i] * y + self.q[i] * self.model.eps(self.scale[i] * y, self.times[i])

    def to_clean(self, y, i=-1):
        """The step from stage i to sigma = 0, if the grid ends there: yields (t, alpha x_0), or nothing."""
        if self.clean is not None:
            alpha = self.model.schedule.alpha(self.clean)
            yield self.clean, alpha * self.model.x0(self.scale[i] * y, self.times[i])


def with_middles(schedule, times, variable="t", mean="arithmetic"):
    """The grid with a stage between any two times: t_0, m_0, t_1, m_1, ..., t_n (a step to sigma = 0 gets
    none).

    mean: of the variable u at both ends, "arithmetic" or "geometric" (which needs u > 0).  ValueError
    otherwise.
    """
    times = np.asarray(times, dtype=np.float64)
    clean = times[-1:] if schedule.sigma(float(times[-1])) == 0 else times[:0]
    times = times[: len(times) - len(clean)]
    u = flow_coefficients(schedule, times, variable)[0]
    if mean == "arithmetic":
        middles = (u[:-1] + u[1:]) / 2
    elif mean == "geometric" and variable != "lam" and (u > 0).all():
        middles = np.sqrt(u[:-1] * u[1:])
    else:
        raise ValueError(
            "mean must be arithmetic, or geometric where the variable is positive throughout; "
            f"got {mean!r} for variable {variable!r}"
        )
    stages = np.empty(2 * len(times) - 1)
    stages[::2], stages[1::2] = times, time_of(schedule, middles, variable)
    return [*stages.tolist(), *clean.tolist()]


# --- explicit solvers -----------------------------------------------------------------------------------


@sampler(order=1, nfe=lambda steps: steps, kind="ode", cite="hairer1993")
def euler(model, x, times, variable="t"):
    """Euler's method in `variable` ("t", "sigma" or "lam"): y' = y + h slope(y).  In "sigma" it is DDIM.

    x: (B, ...) at times[0].
    """
    flow = ProbabilityFlow(model, times, variable)
    y = x / flow.scale[0]
    yield times[0], x
    for i in range(flow.steps):
        y = y + (flow.u[i + 1] - flow.u[i]) * flow.slope(y, i)
        yield times[i + 1], flow.state(y, i + 1)
    yield from flow.to_clean(y)


@sampler(order=2, nfe=lambda steps: 2 * steps, kind="ode", cite="hairer1993")
def heun(model, x, times, variable="t"):
    """Heun's method, the explicit trapezoidal rule, in `variable`: the mean of the slopes at both ends, the
    second one taken where Euler's step leads, y' = y + h / 2 (slope(y) + slope(y + h slope(y))).  In "sigma"
    it is `edm_heun`.

    x: (B, ...) at times[0].  A last step to sigma = 0 costs one call, not two.
    """
    flow = ProbabilityFlow(model, times, variable)
    y = x / flow.scale[0]
    yield times[0], x
    for i in range(flow.steps):
        h = flow.u[i + 1] - flow.u[i]
        slope = flow.slope(y, i)
        y = y + h / 2 * (slope + flow.slope(y + h * slope, i + 1))
        yield times[i + 1], flow.state(y, i + 1)
    yield from flow.to_clean(y)


@sampler(order=2, nfe=lambda steps: 2 * steps, kind="ode", cite="karras2022edm")
def edm_heun(model, x, times):
    """EDM's deterministic sampler (Karras et al. 2022, Algorithm 1): `heun` in sigma / alpha,
    y' = y + h / 2 (eps(y) + eps(y + h eps(y))) for y = x / alpha.

    x: (B, ...) at times[0].  2 n calls; with the end at sigma = 0, as the paper has it, 2 n - 1.
    """
    yield from heun(model, x, times, variable="sigma")


@sampler(order=2, nfe=lambda steps: 2 * steps, kind="ode", cite="hairer1993")
def midpoint(model, x, times, variable="t", mean="arithmetic"):
    """The explicit midpoint method in `variable`: the slope in the middle, where half an Euler step leads,
    y' = y + h slope(y + (u_m - u) slope(y)).

    x: (B, ...) at times[0].  mean: what the middle is, "arithmetic" or "geometric".  In "sigma", "geometric"
    is the middle in lambda, and the method is DPM-Solver-2 (Lu et al. 2022, Algorithm 1, r_1 = 1/2).
    """
    flow = ProbabilityFlow(model, with_middles(model.schedule, times, variable, mean), variable)
    y = x / flow.scale[0]
    yield times[0], x
    for i in range(0, flow.steps, 2):
        start, middle, end = flow.u[i : i + 3]
        halfway = y + (middle - start) * flow.slope(y, i)
        y = y + (end - start) * flow.slope(halfway, i + 1)
        yield flow.times[i + 2], flow.state(y, i + 2)
    yield from flow.to_clean(y)


@sampler(order=4, nfe=lambda steps: 4 * steps, kind="ode", cite="hairer1993")
def rk4(model, x, times, variable="t"):
    """The classical Runge-Kutta method of order 4 in `variable`; four calls a step,
    y' = y + h / 6 (k_1 + 2 k_2 + 2 k_3 + k_4).

    x: (B, ...) at times[0].
    """
    flow = ProbabilityFlow(model, with_middles(model.schedule, times, variable), variable)
    y = x / flow.scale[0]
    yield times[0], x
    for i in range(0, flow.steps, 2):
        y = _rk4_step(flow.slope, y, (i, i + 1, i + 2), flow.u[i + 2] - flow.u[i])
        yield flow.times[i + 2], flow.state(y, i + 2)
    yield from flow.to_clean(y)


@sampler(order=4, nfe=lambda steps: 4 * steps, kind="inversion", cite="hairer1993")
def rk4_invert(model, x, times, variable="t"):
    """`rk4` in the other direction, y' = y + h / 6 (k_1 + 2 k_2 + 2 k_3 + k_4) with h < 0 in lambda: encode
    data x, at times[-1], into noise at times[0].

    times: the *decreasing* grid that decoding will use.  A first step from sigma = 0 is Euler's in kappa, its
    slope asked of x where it stands, as `ddim_invert` does: one call.
    """
    flow = ProbabilityFlow(model, with_middles(model.schedule, times, variable), variable)
    last = flow.steps
    yield times[-1], x
    if flow.clean is not None:
        schedule, t = model.schedule, flow.times[last]
        x = schedule.alpha(t) / schedule.alpha(flow.clean) * x
        x = x + schedule.sigma(t) * model.eps(x, t)
        yield t, x
    y = x / flow.scale[last]
    for i in range(last, 0, -2):
        y = _rk4_step(flow.slope, y, (i, i - 1, i - 2), flow.u[i - 2] - flow.u[i])
        yield flow.times[i - 2], flow.state(y, i - 2)


def _rk4_step(slope, y, stages, h):
    """One step of size h; stages: numbers of the start, the middle and the end."""
    start, middle, end = stages
    k1 = slope(y, start)
    k2 = slope(y + h / 2 * k1, middle)
    k3 = slope(y + h / 2 * k2, middle)
    k4 = slope(y + h * k3, end)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


# --- adaptive steps -------------------------------------------------------------------------------------

# Dormand & Prince 1980, RK5(4)7M: nodes, stages, and (order 5 - order 4) weights for the error
_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def next_step(h: float, error: float, order: int, safety: float = 0.9) -> float:
    """h (1 / error)^(1 / (order + 1)) with a safety factor, and at most 5 times up or down.

    error: the estimate divided by the tolerance.  order: that of the *lower* member of the pair, whose local
    error is of order + 1 (Hairer, Norsett & Wanner 1993, eq. II.4.13).
    """
    return h * min(5.0, max(0.2, safety * max(error, 1e-12) ** (-1 / (order + 1))))


def check_tolerances(rtol, atol, log=None):
    """ValueError unless both are positive, and log None or a list."""
    if not (log is None or hasattr(log, "append")):
        raise ValueError(f"log must be a list, to which the tries are appended, got {log!r:.60}")
    if not (rtol > 0 and atol > 0):
        raise ValueError(f"rtol and atol must be positive, got rtol = {rtol}, atol = {atol}")


def size_of_error(wrong, t):
    """The error of a step from time t, relative to what is allowed: root mean square of each sample of wrong
    (B, ...), the largest of the batch.  ValueError if it is not finite.
    """
    error = largest_rms(wrong)
    if not math.isfinite(error):
        what = "NaN" if math.isnan(error) else "infinite"
        raise ValueError(f"the error of a step at t = {t:g} is {what}: check the model's output")
    return error


def tries_until(end):
    """Counts the tries of an adaptive solver on its way to the time end; ValueError after 100,000."""
    yield from range(100_000)
    raise ValueError(f"100000 tries did not reach t = {end:g}: raise rtol or atol, or end earlier")


@sampler(order=5, nfe=None, kind="ode", cite="dormand1980")
def rk45(model, x, times, rtol=1e-4, atol=1e-4, variable="t", log=None):
    """Dormand-Prince 5(4), y' = y + h sum_i b_i k_i, with step-size control, from times[0] to times[-1]; the
    times between are ignored.

    x: (B, ...) at times[0].  A step is accepted if its estimated error, measured against atol + rtol |y|
    (root mean square of a sample, largest of the batch), is at most 1; accepted or not, `next_step` sets the
    next one (which may grow right after a refusal: no memory is kept).  Six calls a step: the last slope is
    the next step's first.  To sigma = 0 the ODE is followed down to sigma / alpha = atol, then a jump to the
    predicted x_0, one more call.
    log: a list to which (t, s, error, accepted) of each try is appended.  The batch shares its steps, so
    results depend on how it is cut.  ValueError if the error is NaN or 100,000 tries do not reach the end.
    """
    check_tolerances(rtol, atol, log)
    clean = model.schedule.sigma(times[-1]) == 0
    end = float(model.schedule.t_of_lam(-math.log(atol))) if clean else times[-1]
    if end >= times[0]:  # the start is as clean as asked for
        return (yield from _jump(model, x, times[0], times[-1]))
    flow, tries = ProbabilityFlow(model, [times[0], end], variable), tries_until(end)
    y, u, stop = x / flow.scale[0], flow.u[0], flow.u[1]
    slope, h = flow.slope(y, 0), (stop - u) / 100
    yield times[0], x
    while u != stop:
        next(tries)
        last = abs(h) >= abs(stop - u)
        h = stop - u if last else h
        now, stages = _stages(model, u, h, variable, (times[0], end), last)
        new, slopes = _dormand_prince(stages, y, slope, h)
        scale = atol + rtol * torch.maximum(y.abs(), new.abs())
        error = size_of_error(sum(e * k for e, k in zip(_ERROR, slopes)) * h / scale, now)
        if log is not None:
            log.append((now, stages.times[-1], error, error <= 1))
        if error <= 1:
            y, slope, u = new, slopes[-1], stop if last else u + h
            yield stages.times[-1], stages.state(y, -1)
        h = next_step(h, error, order=4)
    if clean:
        yield times[-1], model.schedule.alpha(times[-1]) * model.x0(stages.state(y, -1), end)


def _jump(model, x, t, s):
    """The start, and the predicted x_0 at the time s, where sigma = 0."""
    yield t, x
    yield s, model.schedule.alpha(s) * model.x0(x, t)


def _stages(model, u, h, variable, ends, last):
    """(time at u, the flow at the pair's nodes u + c h), kept within the ends, and at the end in the last
    step, against round-off.
    """
    nodes = u + h * np.array([0.0, *_NODES])
    times = np.clip(time_of(model.schedule, nodes, variable), ends[1], ends[0])
    if last:
        times[-2:] = ends[1]  # both nodes with c = 1
    return float(times[0]), ProbabilityFlow(model, times[1:].tolist(), variable)


def _dormand_prince(flow, y, slope, h):
    """(the fifth-order result, the seven slopes) of one step from y, whose slope is known."""
    slopes = [slope]
    for i, weights in enumerate(_STAGES):
        new = y + h * sum(w * k for w, k in zip(weights, slopes) if w)
        slopes.append(flow.slope(new, i))
    return new, slopes


# --- implicit solvers -----------------------------------------------------------------------------------


@sampler(order=1, nfe=lambda steps, iterations: steps * iterations, kind="ode", cite="hairer1996")
def implicit_euler(model, x, times, variable="t", iterations=2):
    """Implicit (backward) Euler in `variable`, y' = y + h slope(y'): stable on a decaying mode at any step,
    and first order.

    x: (B, ...) at times[0].  Each step solves its equation by `iterations` rounds of Newton's method
    with one Jacobian a step (d backward passes through the model for samples of d elements, not counted as
    calls).
    """
    yield from _theta_method(model, x, times, 1.0, variable, iterations)


@sampler(order=2, nfe=lambda steps, iterations: steps * (iterations + 1), kind="ode", cite="hairer1996")
def trapezoid(model, x, times, variable="t", iterations=2):
    """The implicit trapezoidal rule in `variable`, y' = y + h / 2 (slope(y) + slope(y')): second order, and
    no decaying mode grows at any step.

    x: (B, ...) at times[0].  iterations: as in `implicit_euler`, and one call more a step.
    """
    yield from _theta_method(model, x, times, 0.5, variable, iterations)


def _theta_method(model, x, times, theta, variable, iterations):
    """y' = y + h ((1 - theta) slope(y) + theta slope(y')) (Hairer & Wanner 1996, sec. IV.3 and IV.8)."""
    iterations = whole_number("iterations", iterations)
    flow = ProbabilityFlow(model, times, variable)
    y = x / flow.scale[0]
    yield times[0], x
    for i in range(flow.steps):
        h = flow.u[i + 1] - flow.u[i]
        known = y if theta == 1 else y + (1 - theta) * h * flow.slope(y, i)
        slope, jacobian = _slope_and_jacobian(flow, y, i + 1)
        newton = _factored(theta * h * jacobian)
        for k in range(iterations):
            if k:
                slope = flow.slope(y, i + 1)
            residual = y - known - theta * h * slope
            step = torch.linalg.lu_solve(*newton, residual.flatten(1)[..., None].to(newton[0]))
            y = y - step.reshape(y.shape).to(y.dtype)
        yield times[i + 1], flow.state(y, i + 1)
    yield from flow.to_clean(y)


def _factored(change):
    """The LU factors of 1 - change (B, d, d), in single precision at least."""
    identity = torch.eye(change.shape[-1], dtype=clock_dtype(change), device=change.device)
    return torch.linalg.lu_factor(identity - change)


def _slope_and_jacobian(flow, y, i):
    """slope (B, ...) and its Jacobian in y, (B, d, d), at stage i, from one call."""

    def jacobian(slope, y, **graph):
        return torch.stack(list(_rows(slope.flatten(1), y, **graph)), dim=1)

    return _slope_and(jacobian, flow, y, i)


def _slope_and(derivative, flow, y, i):
    """slope and derivative(slope, y, **graph) at stage i.  Where gradients are wanted and either can carry
    them, both do.
    """
    wanted = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        y = y.clone() if y.is_inference() else y
        y = y if wanted and y.requires_grad else y.detach().requires_grad_()
        slope = flow.slope(y, i)
        wanted = wanted and (not y.is_leaf or _leaves(slope) - {y})
        with without_autocast(y):
            found = derivative(slope, y, retain_graph=True, create_graph=bool(wanted))
    return (slope, found) if wanted else (slope.detach(), found)


def _leaves(output):
    """The tensors without history that output depends on and that ask for gradients."""
    seen, waiting, found = set(), [output.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
            found |= {node.variable} if hasattr(node, "variable") else set()
    return found


def _rows(output, y, **graph):
    """The rows of the Jacobian of output (B, d) in y: each (B, d)."""
    for j in range(output.shape[1]):
        (row,) = torch.autograd.grad(output[:, j].sum(), y, **graph)
        yield row.flatten(1)


# --- likelihood -----------------------------------------------------------------------------------------


def log_likelihood(
    model, x, times, divergence="exact", probes=1, seed=0, variable="sigma", prior=None, gradients=False
):
    """log p of data x at times[-1], by the instantaneous change of variables (Chen et al. 2018, Theorem 1;
    Song et al. 2021, eq. 39), in nats.

    x: (B, ...).  times: decreasing; the ODE and log p are carried from times[-1] up to times[0] by RK4.
    divergence: "exact", d backward passes a call for samples of d elements; or "hutchinson", an unbiased
    estimate of it from `probes` random signs (Hutchinson 1989; Grathwohl et al. 2019), fixed by the seed.
    prior: a function from states (B, ...) at times[0] to their log density (B,); by default N(0, sigma^2 I).
    gradients: keep the graph, for derivatives of log p in x and in the model's parameters.
    Returns (log p (B,), the state at times[0] (B, ...)).  ValueError for another divergence, and for a grid
    that ends at sigma = 0.
    """
    if divergence not in ("exact", "hutchinson"):
        raise ValueError(f"divergence must be exact or hutchinson, got {divergence!r}")
    flow = ProbabilityFlow(model, with_middles(model.schedule, times, variable), variable)
    if flow.clean is not None:
        raise ValueError(
            f"the grid must end where sigma > 0, and sigma({flow.clean:g}) = 0: x has no density there that "
            "the ODE could carry"
        )
    signs = None if divergence == "exact" else _signs(x, probes, seed)
    last, d = flow.steps, math.prod(x.shape[1:])

    def slope(state, stage):  # d(y, log p)/du, side by side (B, d + 1)
        dy, divergence = _slope_and_trace(flow, state[:, :d].reshape(x.shape), stage, signs)
        return torch.cat([dy.flatten(1), divergence[:, None]], dim=1)

    with gradient_mode(gradients):
        x = x.clone() if gradients and x.is_inference() else x
        state = torch.cat([(x / flow.scale[last]).flatten(1), x.new_zeros(len(x), 1)], dim=1)
        for i in range(last, 0, -2):
            state = _rk4_step(slope, state, (i, i - 1, i - 2), flow.u[i - 2] - flow.u[i])
        noise, change = flow.state(state[:, :d].reshape(x.shape), 0), state[:, d]
        start = _gaussian_log_prob(noise, model.schedule.sigma(times[0])) if prior is None else prior(noise)
        return start + change + d * math.log(flow.scale[0] / flow.scale[last]), noise


def _signs(x, probes, seed):
    probes = whole_number("probes", probes)
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(2, (probes, *x.shape), generator=generator) * 2 - 1).to(x)


def _slope_and_trace(flow, y, i, signs):
    """slope (B, ...) and its divergence (B,) at stage i: exact, or the mean of signs . J signs."""

    def trace(slope, y, **graph):
        if signs is None:
            return sum(row[:, j] for j, row in enumerate(_rows(slope.flatten(1), y, **graph)))
        products = (torch.autograd.grad(slope, y, e, **graph)[0] * e for e in signs)
        return sum(product.flatten(1).sum(1) for product in products) / len(signs)

    return _slope_and(trace, flow, y, i)


def _gaussian_log_prob(x, std):
    flat = x.flatten(1) / std
    return -0.5 * flat.square().sum(1) - flat.shape[1] * (math.log(std) + 0.5 * math.log(2 * math.pi))


# --- stability ------------------------------------------------------------------------------------------

# What one step does to y' = z y / h: y becomes R(z) y.  Stable where |R| <= 1.
STABILITY = {
    "euler": lambda z: 1 + z,
    "heun": lambda z: 1 + z + z**2 / 2,
    "midpoint": lambda z: 1 + z + z**2 / 2,
    "rk4": lambda z: 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24,
    "implicit_euler": lambda z: 1 / (1 - z),
    "trapezoid": lambda z: (1 + z / 2) / (1 - z / 2),
}


def stiffness(schedule, times, std: float, variable="t", at="start"):
    """h times the slope of the ODE along one Gaussian of this standard deviation: the z of `STABILITY` (n,),
    negative where the flow contracts.

    For data N(0, std^2) eps = sigma x / (alpha^2 std^2 + sigma^2), so the ODE is linear in each variable,
    with a rate that changes within a step.  at: "start" or "end" of each step.  Explicit Euler sees the first
    alone; Heun, RK4 and the implicit methods ask at the second too.  ValueError for another.
    """
    if at not in ("start", "end"):
        raise ValueError(f"at must be start or end, got {at!r}")
    u, scale, p, q = flow_coefficients(schedule, times, variable)
    alpha, sigma = schedule.alpha(np.asarray(times)), schedule.sigma(np.asarray(times))
    rate = p + q * scale * sigma / (alpha**2 * std**2 + sigma**2)
    return np.diff(u) * (rate[:-1] if at == "start" else rate[1:])
