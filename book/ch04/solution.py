"""The right answers of lesson 04, from 04_dpm_solver.ipynb; its tasks compare with them.

Written by `toolkit build`: edit the notebook.  What is computed there is not here: two_from, three_from,
latent_sd, gain_plain, gain_guided, gain_plain_48, gain_guided_48, grid_ratio, weak_order.
"""

import math
import sympy
import torch
from matplotlib.figure import Figure
from toolkit import VP, grids
schedule = VP()


def rms(d):
    """Root mean square over all entries, a float."""
    return d.square().mean().sqrt().item()


def lambda_grid(steps, start=1.0, end=0.01):
    """steps + 1 times, equally spaced in lambda, a list of floats."""
    return grids.uniform_lambda(schedule, steps, start, end).tolist()


def walk(step, model, x, times):
    """x at times[-1]: one call of step(model, x, s, t) for each pair of neighbours in times."""
    for s, t in zip(times, times[1:]):
        x = step(model, x, s, t)
    return x


def phi(k, z):
    """phi_k(z), a float.  k: int, at least 1.  z: float."""
    if abs(z) < 2:
        return sum(z**n / math.factorial(n + k) for n in range(30))
    value = math.exp(z)
    for j in range(k):
        value = (value - 1 / math.factorial(j)) / z
    return value


def exact_step(x, derivatives, alpha_s, sigma_s, alpha_t, sigma_t):
    """x_t, shaped like x.

    x: (B, d) at s.  derivatives: a list of (B, d): eps, its first derivative in lambda, its second, …, at s.
    alpha_s, sigma_s, alpha_t, sigma_t: floats.
    """
    h = math.log(alpha_t / sigma_t) - math.log(alpha_s / sigma_s)
    integral = 0.0
    for k, derivative in enumerate(derivatives):
        integral = integral + h ** (k + 1) * phi(k + 1, h) * derivative
    return alpha_t / alpha_s * x - sigma_t * integral


def move(schedule, x, e, s, t):
    """M(x, e; s -> t), shaped like x.  e: the prediction that is frozen."""
    h = schedule.lam(t) - schedule.lam(s)
    return schedule.alpha(t) / schedule.alpha(s) * x - schedule.sigma(t) * math.expm1(h) * e


def between(schedule, s, t, share):
    """The time that lies a share of the way from s to t, in lambda."""
    return schedule.t_of_lam((1 - share) * schedule.lam(s) + share * schedule.lam(t))


def dpm1_step(model, x, s, t):
    """x at t by DPM-Solver-1, from x (B, d) at s."""
    return move(model.schedule, x, model.eps(x, s), s, t)


def dpm2_step(model, x, s, t):
    """x at t by DPM-Solver-2; the same arguments."""
    schedule = model.schedule
    m = between(schedule, s, t, 0.5)
    e = model.eps(x, s)
    u = move(schedule, x, e, s, m)
    middle = model.eps(u, m)
    return move(schedule, x, middle, s, t)


def dpm3_step(model, x, s, t):
    """x at t by DPM-Solver-3; the same arguments."""
    schedule, r1, r2 = model.schedule, 1 / 3, 2 / 3
    h = schedule.lam(t) - schedule.lam(s)
    m1, m2 = between(schedule, s, t, r1), between(schedule, s, t, r2)
    e = model.eps(x, s)
    d1 = model.eps(move(schedule, x, e, s, m1), m1) - e
    u2 = move(schedule, x, e, s, m2) - schedule.sigma(m2) * r2 / r1 * r2 * h * phi(2, r2 * h) * d1
    d2 = model.eps(u2, m2) - e
    return move(schedule, x, e, s, t) - schedule.sigma(t) / r2 * h * phi(2, h) * d2


def draw(model, x, exact, counts):
    """Error against calls for the three solvers; returns the Axes.

    x: (B, d) at t = 1.  exact: (B, d), the flow's x at t = 0.01.  counts: increasing list of ints.
    """
    ax = Figure(figsize=(6.4, 3.6), layout="constrained").add_subplot()
    for calls, step, style in ((1, dpm1_step, "o-"), (2, dpm2_step, "s--"), (3, dpm3_step, "^:")):
        errors = [rms(walk(step, model, x, lambda_grid(n)) - exact) for n in counts]
        ax.loglog([n * calls for n in counts], errors, style, label=f"DPM-Solver-{calls}")
    ax.set(xlabel="calls of the model", ylabel="root mean square error at t = 0.01")
    ax.legend(frameon=False)
    return ax


sigma, h, d1, d2, mu = sympy.symbols("sigma h d1 d2 mu", positive=True)
local_1 = -sigma * d1 * h**2 / 2
local_2 = sigma * h**3 * (2 * d1 - d2) / 24
growth = sympy.exp(h) - (sympy.exp(h) - 1) * mu * (mu + (1 - mu) * sympy.exp(h / 2))
limit_noise = 2 * math.log((3 + 1) / 3)
limit_data = 2 * math.log(3 / (3 - 1))


def two_m(model, x, times):
    """DPM-Solver++(2M) from x (B, d) at times[0] to times[-1].  times: decreasing list of floats."""
    schedule, old, before = model.schedule, None, None
    for s, t in zip(times, times[1:]):
        h = schedule.lam(t) - schedule.lam(s)
        m = model.x0(x, s)
        r = 1.0 if before is None else before / h
        data = m if old is None else m + (m - old) / (2 * r)
        x = schedule.sigma(t) / schedule.sigma(s) * x - schedule.alpha(t) * math.expm1(-h) * data
        old, before = m, h
    return x


def third_update(x, m0, m1, m2, h, h1, h2, alpha_t, gain):
    """x at the end of a step, from x (B, d) at its start.

    m0, m1, m2: (B, d), predictions at the start, one step earlier and two steps earlier.
    h: the step in lambda; h1, h2: the last step and the one before it.  alpha_t, gain: floats.
    """
    r0, r1 = h1 / h, h2 / h
    near, far = (m0 - m1) / r0, (m1 - m2) / r1
    d1 = near + r0 / (r0 + r1) * (near - far)
    d2 = 2 * (near - far) / (r0 + r1)
    e = math.expm1(-h)
    return gain * x - alpha_t * (e * m0 - (e / h + 1) * d1 + ((e + h) / h**2 - 0.5) * d2)


def dpm2_on_steps(net, schedule, x, times, total):
    """DPM-Solver-2 from x (B, d) at times[0] to times[-1].

    net(x, n): eps at t = n / total.  times: decreasing list of floats.  total: int.
    """
    def move(x, e, s, to):
        growth = math.exp(math.log(schedule.alpha(to)) - math.log(schedule.alpha(s)))
        h = schedule.lam(to) - schedule.lam(s)
        return growth * x - schedule.sigma(to) * math.expm1(h) * e

    for s, t in zip(times, times[1:]):
        m = schedule.t_of_lam((schedule.lam(s) + schedule.lam(t)) / 2)
        u = move(x, net(x, s * total), s, m)
        x = move(x, net(u, m * total), s, t)
    return x


def estimate(low, high, before, atol, rtol):
    """E, a float.  low, high, before: (B, d).  atol, rtol: floats."""
    scale = (rtol * torch.maximum(low.abs(), before.abs())).clamp(min=atol)
    return ((high - low) / scale).square().mean().sqrt().item()


def next_h(h, error, p, safety=0.9):
    """The next step in lambda.  h: the step tried.  error: E > 0.  p: order of the lower member."""
    return safety * h / error ** (1 / (p + 1))


def dpm12(model, x, start, end, h, atol, rtol):
    """DPM-Solver-12 from x (B, ...) at time start to time end < start; returns (x, tries).

    h: the first try's step in lambda.  tries: a list of (t, s, error, accepted), one for each try from t to s.
    """
    schedule, t, tries, e = model.schedule, start, [], None

    def move(e, to):
        step = schedule.lam(to) - schedule.lam(t)
        return schedule.alpha(to) / schedule.alpha(t) * x - schedule.sigma(to) * math.expm1(step) * e

    while t != end:
        left = schedule.lam(end) - schedule.lam(t)
        h = min(h, left)
        s = end if h == left else schedule.t_of_lam(schedule.lam(t) + h)
        m = schedule.t_of_lam((schedule.lam(t) + schedule.lam(s)) / 2)
        e = model.eps(x, t) if e is None else e
        low, high = move(e, s), move(model.eps(move(e, m), m), s)
        error = estimate(low, high, x, atol, rtol)
        tries.append((t, s, error, error <= 1))
        if error <= 1:
            x, t, e = high, s, None
        h = next_h(h, error, p=1)
    return x, tries


p_23 = 2


def threshold(x0, quantile, limit):
    """x0 (B, ...) after dynamic thresholding.  quantile: in (0, 1).  limit: float > 0."""
    s = torch.quantile(x0.abs().flatten(1), quantile, dim=1).clamp(min=limit)
    s = s.reshape(-1, *[1] * (x0.ndim - 1))
    return x0.clamp(-s, s) / s * limit


only_guidance, always, nodes = "fails", "fails", "fails"
alpha_s, sigma_s, alpha_t, sigma_t = sympy.symbols("alpha_s sigma_s alpha_t sigma_t", positive=True)
tau, h = sympy.symbols("tau h", positive=True)
forget = alpha_s * sigma_t / (alpha_t * sigma_s)  # e^(-h)
x_part = sigma_t / sigma_s * forget
data_part = alpha_t * (1 - forget**2)
noise_part = sigma_t * sympy.sqrt(1 - forget**2)
eta = sympy.sqrt((1 - sympy.exp(-2 * tau**2 * h)) / (1 - sympy.exp(-2 * h)))
s = sympy.symbols("s", positive=True)


def flow_euler(v, x, steps, shift):
    """Euler's method along shifted times from x (B, d) at t = 1 to t = 0, with `steps` calls of v.

    v(x, t): the velocity, shaped like x.  shift: float, at least 1; 1 leaves equal steps.
    """
    def shifted(t):
        return shift * t / (1 + (shift - 1) * t)

    times = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64).tolist()
    times = [shifted(t) for t in times]
    for t, s in zip(times, times[1:]):
        x = x + (s - t) * v(x, t)
    return x


moved = -sympy.log(s)
