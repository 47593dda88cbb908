"""The right answers of lesson 06, from 06_amed.ipynb; its tasks compare with them.

Written by `toolkit build`: edit the notebook.  What is computed there is not here: level, edm_left, vp_left,
off_line, error_itself, error_ratio, error_closed, safe_from, crossing, flattered, worse, teacher_2,
teacher_8, fixed_seen, fixed_true, informative, std_read, few, share_1, share_2, gain, total, forgotten, jump.
"""

import math
import sympy
import torch
from matplotlib.figure import Figure
d, a, b, m, s = sympy.symbols("d a b m s", positive=True)
mean = (sympy.sqrt(d**2 + a**2) - sympy.sqrt(d**2 + b**2)) / (a - b)


def best_share(d, a, b):
    """r of the level at which the slope is its mean over the step from level a to b; all floats."""
    m = (math.hypot(d, a) - math.hypot(d, b)) / (a - b)
    return math.log(m * d / math.sqrt(1 - m**2) / a) / math.log(b / a)


large, small = "geometric", "arithmetic"
w = sympy.symbols("w", positive=True)


def residual(velocity, a, b):
    """The smallest distance of the velocity from its mean over [a, b], a float.

    velocity: times (N,), float64 -> velocities (N, d).
    """
    t = torch.linspace(a, b, 2001, dtype=torch.float64)
    v = velocity(t)
    average = torch.trapezoid(v, t, dim=0) / (b - a)
    return (v - average).norm(dim=1).min().item()


arc_residual = 1 - 2 * sympy.sin(w / 2) / w
power = 2  # w^2 / 24 is the first term
velocity_1, velocity_2, velocity_3, velocity_4 = "holds", "fails", "fails", "holds"


def explained(path):
    """E_1, E_2, ... of each sample's trajectory.  path: (N + 1, B, d), N + 1 > d -> (B, d)."""
    points = path.transpose(0, 1)
    power = torch.linalg.svdvals(points - points.mean(dim=1, keepdim=True)).square()
    return power.cumsum(dim=1) / power.sum(dim=1, keepdim=True)


def first_step(x, s, r, mean, std):
    """The state at level r after one step from x at level s, without a call of the model.

    x: (B, d).  s > r: floats.  mean: (d,), std: a float, of the data.
    """
    eps = s * (x - mean) / (std**2 + s**2)
    return x + (r - s) * eps


true_of = "eps in VP"


def amed_step(eps, x, s, e, r, c):
    """The state at level e after one step of AMED-Solver, (B, d).

    eps(x, level): the direction (B, d); level a float or (B,).  x: (B, d) at s.  s > e: floats.  r, c: (B,).
    """
    m = s ** (1 - r) * e**r
    u = x + (m - s)[:, None] * eps(x, s)
    return x + c[:, None] * (e - s) * eps(u, m)


def plugin_step(eps, x, s, e, r, c):
    """The same with AMED-Plugin on DDIM."""
    m = s ** (1 - r) * e**r
    u = x + (m - s)[:, None] * eps(x, s)
    return u + (c * (e - m))[:, None] * eps(u, m)


def training_loss(eps, predict, x, levels, wanted):
    """L, a tensor without axes, which hangs on the predictor's parameters.

    eps(x, level): the frozen model, (B, d); level a float or (B,).  predict(x, s, e): the shares r, (B,).
    x: the noise (B, d) at levels[0].  levels: s_0 > ... > s_N, floats.  wanted: the list y_1, ..., y_N.
    """
    distances, state = [], x
    for s, e, y in zip(levels, levels[1:], wanted):
        state = state.detach()
        r = predict(state, s, e)
        m = s ** (1 - r) * e**r
        halfway = state + (m - s)[:, None] * eps(state, s)
        state = state + (e - s) * eps(halfway, m)
        distances.append((state - y).square().mean())
    return torch.stack(distances).mean()


def draw(one_call, two_calls, most):
    """Error against calls, two lines; returns the Axes.  most: an int."""
    ax = Figure(figsize=(6.4, 3.6), layout="constrained").add_subplot()
    steps = [2**k for k in range(1, 20) if 2**k <= most]
    ax.loglog(steps, [one_call(n) for n in steps], "o-", label="one call a step")
    steps = [n // 2 for n in steps]
    ax.loglog([2 * n for n in steps], [two_calls(n) for n in steps], "s--", label="two calls a step")
    ax.set(xlabel="calls of the model", ylabel="error")
    ax.legend(frameon=False)
    return ax


claim = "fails"


def amed_factor(d, s, e, r):
    """What a step of AMED-Solver from level s to e multiplies x by, with share r and c = 1."""
    m = s ** (1 - r) * e**r
    halfway = 1 + (m - s) * s / (d**2 + s**2)
    return 1 + (e - s) * halfway * m / (d**2 + m**2)


def heun_factor(d, s, e, substeps):
    """What so many substeps of Heun between the levels s > e multiply x by, a float."""
    top, bottom = s ** (1 / 7), e ** (1 / 7)
    levels = [(top + (bottom - top) * i / substeps) ** 7 for i in range(substeps + 1)]
    factor = 1.0
    for a, b in zip(levels, levels[1:]):
        k1 = a / (d**2 + a**2)
        k2 = (1 + (b - a) * k1) * b / (d**2 + b**2)
        factor *= 1 + (b - a) * (k1 + k2) / 2
    return factor


better, unfair = "fixed", "measure"


def solver_share(d, s, e):
    """The r in (0, 1) at which a step of AMED-Solver from level s to e is exact on N(0, d^2)."""
    exact, low, high = math.hypot(d, e) / math.hypot(d, s), 0.0, 1.0
    for _ in range(60):
        r = (low + high) / 2
        low, high = (r, high) if amed_factor(d, s, e, r) < exact else (low, r)
    return r


level_asked = 2.8 ** (1 - 0.370) * 0.2**0.370
solver_level = "above"  # its share is the smaller one, in each step
features = "cannot"  # every x wants the same r
h, g, u, v = sympy.symbols("h g u v")
now, before = 1 + h / (2 * g), -h / (2 * g)
left = -((u - v) ** 2) / 2
order = 1


def plugin_walk(eps, x, levels, shares, weights):
    """The state at levels[-1], (B, d).

    eps(x, level): the direction (B, d); level a float.  x: (B, d) at levels[0].  levels: s_0 > ... > s_N.
    shares: r_1, ..., r_N, floats.  weights(h, g): p and q for a step by h after one by g.
    """
    grid = [levels[0]]
    for s, e, r in zip(levels, levels[1:], shares):
        grid += [s ** (1 - r) * e**r, e]
    gap, old = None, None
    for s, e in zip(grid, grid[1:]):
        direction = eps(x, s)
        p, q = weights(e - s, gap) if gap else (1.0, 0.0)
        x = x + (e - s) * (p * direction + (q * old if gap else 0.0))
        gap, old = e - s, direction
    return x


x, a, b, d = sympy.symbols("x a b d", positive=True)
A, B = sympy.sqrt(d**2 + a**2), sympy.sqrt(d**2 + b**2)  # they come up again and again
average = x / A * (A - B) / (a - b)
by_noise = "same"  # the target is linear in it


def meanflow_target(u, direction, x, a, b):
    """The target for u at (x, a, b), (B, d), without gradients.

    u(x, a, b): (B, d).  direction: epsilon at (x, a), (B, d).  x: (B, d).  a > b: levels (B,).
    """
    _, change = torch.func.jvp(lambda x, a: u(x, a, b), (x, a), (direction, torch.ones_like(a)))
    return (direction - (a - b)[:, None] * change).detach()
