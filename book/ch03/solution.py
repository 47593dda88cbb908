"""The right answers of lesson 03, from 03_sde_ode.ipynb; its tasks compare with them.

Written by `toolkit build`: edit the notebook.  What is computed there is not here: euler_calls, thin_slope,
heun_from, rk4_from, fewest, early, everywhere, late, turning.
"""

import math
import sympy
import torch
from matplotlib.figure import Figure
from toolkit import VP, grids, sample
from toolkit.ode import euler, heun, rk4
schedule = VP()  # f(t) = -beta(t)/2, g(t)^2 = beta(t), beta from 0.1 to 20
f, g2 = schedule.f, schedule.g2  # functions of t; floats in, floats out


def width(t, std=0.5):
    """Variance of x_t when the data are N(0, std^2)."""
    return schedule.alpha(t) ** 2 * std**2 + schedule.sigma(t) ** 2


def even(steps, start=1.0, end=0.0):
    """steps + 1 equally spaced times from start down to end, a list."""
    return torch.linspace(start, end, steps + 1, dtype=torch.float64).tolist()


x, s, f_, g, l, sigma = sympy.symbols("x s f g l sigma")  # f_ is the symbol f; the name f is taken above
backward = f_ * x - (1 + l**2) / 2 * g**2 * s
forward = f_ * x - (1 - l**2) / 2 * g**2 * s
slope = (1 + l**2) / 2 * g**2 / sigma


def family(score, f, g2, x, times, level, noises):
    """Euler–Maruyama for the family of this level, from x at times[0] to times[-1].

    score(x, t): gradient of log p_t.  f(t), g2(t): f and g^2, floats.  x: (B, d).
    times: decreasing list of floats.  level: float >= 0.  noises: (steps, B, d), standard normal.
    Returns x at times[-1], (B, d): noisy there, unless it is 0.
    """
    for i, (t, s) in enumerate(zip(times, times[1:])):
        dt = s - t
        share = (1 + level**2) / 2
        x = x + (f(t) * x - share * g2(t) * score(x, t)) * dt
        if s > 0:
            x = x + level * math.sqrt(g2(t) * -dt) * noises[i]
    return x


def ve_sample(score, sigma_min, sigma_max, z, times, noises):
    """Euler–Maruyama for the reversed VE diffusion, from the prior at times[0] = 1; returns x at times[-1].

    score(x, sigma): gradient of log p.  z: standard normal (B, d), the source of the prior's sample.
    times: decreasing list of floats.  noises: (steps, B, d), standard normal.
    """
    log_ratio = math.log(sigma_max / sigma_min)
    x = sigma_max * z
    for i, (t, s) in enumerate(zip(times, times[1:])):
        sigma_t = sigma_min * math.exp(log_ratio * t)
        g = sigma_t * math.sqrt(2 * log_ratio)
        x = x + g**2 * score(x, sigma_t) * (t - s) + g * math.sqrt(t - s) * noises[i]
    return x


def euler_step(slope, y, u, h):
    """y at u + h by Euler's method.  slope(y, u): dy/du, shaped like y.  u, h: floats."""
    return y + h * slope(y, u)


def heun_step(slope, y, u, h):
    """y at u + h by Heun's method; the same arguments."""
    here = slope(y, u)
    there = slope(y + h * here, u + h)
    return y + h * (here + there) / 2


def rk4_step(slope, y, u, h):
    """y at u + h by the classical Runge–Kutta method; the same arguments."""
    start = slope(y, u)
    middle = slope(y + h / 2 * start, u + h / 2)
    again = slope(y + h / 2 * middle, u + h / 2)
    end = slope(y + h * again, u + h)
    return y + h * (start + 2 * middle + 2 * again + end) / 6


def solve(step, slope, y, grid):
    """y at grid[-1], from y at grid[0]: one call of step(slope, y, u, h) for each pair of neighbours.

    grid: list of floats, not evenly spaced.
    """
    for now, then in zip(grid, grid[1:]):
        y = step(slope, y, now, then - now)
    return y


def draw(counts, std):
    """Error at t = 0.001 against calls, for the three solvers; returns the Axes.

    counts: increasing list of ints, numbers of steps.  std: the deviation of the data, a float.
    """
    def flow(x, t):
        return (f(t) + g2(t) / (2 * width(t, std))) * x

    end = 0.001
    exact = math.sqrt(width(end, std) / width(1.0, std))
    ax = Figure(figsize=(6.4, 3.6), layout="constrained").add_subplot()
    for label, step, calls, style in (
        ("Euler", euler_step, 1, "o-"),
        ("Heun", heun_step, 2, "s--"),
        ("RK4", rk4_step, 4, "^:"),
    ):
        errors = [abs(solve(step, flow, 1.0, even(n, 1.0, end)) - exact) for n in counts]
        ax.loglog([n * calls for n in counts], errors, style, label=label)
    ax.set(xlabel="calls of the slope", ylabel="error at t = 0.001")
    ax.legend(frameon=False)
    return ax


def errors(model, noise, fine, budget):
    """{solver's name: root mean square error} with at most `budget` calls a picture.

    model: what the solvers ask.  noise, fine: (B, ...), the start and the finer result.  budget: int >= 4.
    """
    found = {}
    for name, solver, calls in (("Euler", euler, 1), ("Heun", heun, 2), ("RK4", rk4, 4)):
        run = sample(solver, model, noise, grids.quadratic(model.schedule, budget // calls))
        found[name] = (run.x - fine).square().mean().sqrt().item()
    return found


def next_step(h, error, order, safety=0.9, least=0.2, most=5.0):
    """The size of the next try.

    h: the size tried, may be negative.  error: >= 0, 1 is the tolerance.  order: p, that of the lower method.
    """
    if error == 0:
        return h * most
    wish = safety / error ** (1 / (order + 1))
    return h * min(most, max(least, wish))


def adaptive(slope, y, start, end, tolerance, h):
    """Heun's method with step control from u = start to u = end; returns (y, tries).

    slope(y, u): dy/du.  y: (B, d).  tolerance: float.  h: the first try's size, negative if end < start.
    tries: a list of (u, h, error, accepted), one for each try: where it started, the size tried.
    """
    u, tries = start, []
    while u != end:
        left = end - u
        h = left if abs(h) >= abs(left) else h
        here = slope(y, u)
        euler_point = y + h * here
        heun_point = y + h / 2 * (here + slope(euler_point, u + h))
        error = (heun_point - euler_point).square().mean().sqrt().item() / tolerance
        tries.append((u, h, error, error <= 1))
        if error <= 1:
            y = heun_point
            u = end if h == left else u + h
        h = next_step(h, error, order=1)
    return y, tries


def implicit_step(slope, derivative, y, u, h, rounds):
    """y at u + h by implicit Euler; shaped like y.

    slope(y, u): dy/du, entry by entry.  derivative(y, u): d slope / d y, entry by entry, shaped like y.
    """
    new = y
    for _ in range(rounds):
        residual = new - y - h * slope(new, u + h)
        new = new - residual / (1 - h * derivative(new, u + h))
    return new


largest = 2 * (0.05**2 + 0.1**2) / 0.1**2


def heun_sde(drift, g, x, times, noises):
    """Stochastic Heun from x at times[0] down to times[-1]; returns (B, d).

    drift(x, t): the drift b of the reversed equation.  g(t): float.  x: (B, d).
    times: decreasing list of floats.  noises: (steps, B, d), standard normal.
    """
    for i, (t, s) in enumerate(zip(times, times[1:])):
        h = s - t
        root = math.sqrt(t - s)
        here = drift(x, t)
        ahead = x + h * here + g(t) * root * noises[i]
        there = drift(ahead, s)
        x = x + h / 2 * (here + there) + (g(t) + g(s)) / 2 * root * noises[i]
    return x


def snr_step(score, z, snr):
    """The Langevin step e of each sample, (B, 1).  score, z: (B, d).  snr: float."""
    width_of_p = z.norm(dim=1, keepdim=True) / score.norm(dim=1, keepdim=True)
    return 2 * (snr * width_of_p) ** 2


def predictor_corrector(score, f, g2, x, times, noises, snr):
    """Predictor–corrector sampling from x at times[0] to times[-1]; returns (B, d).

    score(x, t), f(t), g2(t): as in 3.2.  x: (B, d).  times: decreasing list of floats.
    noises: (steps, 2, B, d), standard normal.  snr: float.
    """
    for (t, s), (first, second) in zip(zip(times, times[1:]), noises):
        x = x + (f(t) * x - g2(t) * score(x, t)) * (s - t)
        if s > 0:
            x = x + math.sqrt(g2(t) * (t - s)) * first
            pull = score(x, s)
            e = snr_step(pull, second, snr)
            x = x + e * pull + (2 * e).sqrt() * second
    return x


def end_variance(level, believed, low, high):
    """Variance at t = 0 of the family of this level, with a model that is wrong for low < t < high.

    level: float >= 0.  believed: variance of the data in the model's score there, a float.
    """
    cuts = [1.0, *sorted({cut for cut in (low, high) if 0 < cut < 1}, reverse=True), 0.0]
    v = width(1.0)
    for a, b in zip(cuts, cuts[1:]):
        data = believed if low < (a + b) / 2 < high else 0.25

        def rate(v, t, data=data):
            believes = schedule.alpha(t) ** 2 * data + schedule.sigma(t) ** 2
            return (2 * f(t) + (1 + level**2) * g2(t) / believes) * v - level**2 * g2(t)

        v = solve(rk4_step, rate, v, even(100, a, b))
    return v


repairs = "fails"
n = sympy.symbols("n")


def simulate(score, f, g2, x, end, steps, draw):
    """Euler–Maruyama for Anderson's reversal, from x at t = 1 to t = end in equal steps; returns x at end.

    score(x, t), f(t), g2(t): as in 3.2.  x: (B, d).  end: float > 0.  steps: int.
    draw(): standard normal, shaped like x, another one in every call.
    """
    times = even(steps, 1.0, end)
    for t, s in zip(times, times[1:]):
        drift = f(t) * x - g2(t) * score(x, t)
        x = x + drift * (s - t) + math.sqrt(g2(t) * (t - s)) * draw()
    return x


kurtosis = 3 + 6 / n
