"""The right answers of lesson 02, from 02_ddim.ipynb; its tasks compare with them.

Written by `toolkit build`: edit the notebook.  What is computed there is not here: fewest, gaussian, ring,
shell.
"""

import math
import torch
from matplotlib.figure import Figure
from toolkit import Discrete, Mixture, grids, sample
from toolkit.ddim import ddim
from toolkit.ddpm import ddpm
from toolkit.sampling import exact_variance
import sympy
table = Discrete.linear(1000)  # DDPM's table: 1000 betas from 0.0001 to 0.02


def noise_size(alpha_t, alpha_s, eta):
    """Size c, the standard deviation, of the fresh noise that a DDIM step from t to s adds.

    alpha_t, alpha_s: signal levels, floats with 0 < alpha_t < alpha_s <= 1.  eta: float.
    Returns a float.
    """
    bar_t, bar_s = alpha_t**2, alpha_s**2
    return eta * math.sqrt((1 - bar_s) / (1 - bar_t)) * math.sqrt(1 - bar_t / bar_s)


def ddim_terms(x, eps, alpha_t, sigma_t, alpha_s, sigma_s, c, z):
    """The three terms (data, direction, fresh noise) whose sum is x_s.

    x: x_t, (B, d).  eps: the predicted noise, (B, d).  alpha_t, sigma_t, alpha_s, sigma_s: floats.
    c: the size of the fresh noise, a float from 0 to sigma_s.  z: standard normal, (B, d).
    """
    x0 = (x - sigma_t * eps) / alpha_t
    data_term = alpha_s * x0
    direction = math.sqrt(sigma_s**2 - c**2) * eps
    return data_term, direction, c * z


def subsequence(T, steps):
    """Whole numbers from T down to 0 that make `steps` steps: a list of ints."""
    return [round(T - T * i / steps) for i in range(steps + 1)]


def ddim_sample(predict, alpha_bar, x, grid):
    """DDIM with eta = 0 from x at grid[0] to grid[-1]; returns the last state, shaped like x.

    predict(x, n): the noise predicted in x_n, shaped like x.  alpha_bar: tensor (T + 1,).  x: (B, d).
    grid: list of ints, decreasing.
    """
    for now, then in zip(grid, grid[1:]):
        eps = predict(x, now)
        x0 = (x - (1 - alpha_bar[now]).sqrt() * eps) / alpha_bar[now].sqrt()
        x = alpha_bar[then].sqrt() * x0 + (1 - alpha_bar[then]).sqrt() * eps
    return x


def walk(predict, alpha_bar, x, steps, eta=0.0, noises=None):
    """DDIM from pure noise x at n = T to clean data at n = 0; returns (B, d).

    predict(x, n): predicted noise.  alpha_bar: (T + 1,).  x: (B, d).  steps: int.
    eta: 0 is deterministic.  noises: (steps, B, d), needed for eta > 0.
    """
    times = torch.linspace(len(alpha_bar) - 1, 0, steps + 1).round().long().tolist()
    for i, (now, then) in enumerate(zip(times, times[1:])):
        a, b = alpha_bar[now], alpha_bar[then]
        eps = predict(x, now)
        x0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
        c = eta * ((1 - b) / (1 - a) * (1 - a / b)).sqrt()
        x = b.sqrt() * x0 + (1 - b - c**2).sqrt() * eps
        if noises is not None:
            x = x + c * noises[i]
    return x


def short(denoise, betas, x_T, steps):
    """DDIM with eta = 0 and `steps` evenly spaced steps, from pure noise x_T to n = 0; returns (B, d).

    denoise(x, n): the predicted x_0.  betas: (T,), betas[0] is beta_1.  x_T: (B, d).
    """
    T = len(betas)
    levels = torch.cat([torch.ones(1, dtype=betas.dtype), torch.cumprod(1 - betas, 0)])
    grid = [round(T - T * i / steps) for i in range(steps + 1)]
    x = x_T
    for n, m in zip(grid, grid[1:]):
        x0 = denoise(x, n)
        eps = (x - levels[n].sqrt() * x0) / (1 - levels[n]).sqrt()
        x = levels[m].sqrt() * x0 + (1 - levels[m]).sqrt() * eps
    return x


a_t, s_t, a_s, s_s, c = sympy.symbols("a_t s_t a_s s_s c", positive=True)
slope = sympy.sqrt(s_s**2 - c**2) / a_s - s_t / a_t
eta_max = s_t / sympy.sqrt(s_t**2 - (a_t * s_s / a_s) ** 2)


def bundles(start, seeds):
    """Draw the two bundles; returns the Axes.  start: the float x_T.  seeds: list of ints."""
    model = Mixture([1, 1], [[-1.0], [1.0]], [0.2, 0.2]).model(table)
    times = grids.strided(table, 25)
    begin = torch.full((1, 1), start, dtype=torch.float64)
    ax = Figure(figsize=(6.4, 3.4), layout="constrained").add_subplot()
    for seed in seeds:
        for name, sampler, colour in (("DDPM", ddpm, "#D55E00"), ("DDIM", ddim, "#000000")):
            run = sample(sampler, model, begin, times, draws=seed, keep_path=True)
            ax.plot(run.times, run.path[:, 0, 0], color=colour, lw=1.2, label=name)
    ax.invert_xaxis()
    ax.set(xlabel="time t, from noise to data", ylabel="state x")
    ax.legend(handles=ax.get_lines()[:2], frameon=False)
    return ax


def draw(counts):
    """Error of the variance against the number of steps; returns the Axes.

    counts: increasing list of ints.
    """
    ax = Figure(figsize=(6.4, 3.4), layout="constrained").add_subplot()
    for label, eta, style in (("DDIM", 0.0, "o-"), ("eta = 1", 1.0, "s--")):
        variances = [exact_variance(ddim, table, grids.strided(table, n), eta=eta) for n in counts]
        ax.loglog(counts, [abs(variance - 0.25) for variance in variances], style, label=label)
    ax.set(xlabel="number of steps", ylabel="error of the variance")
    ax.legend(frameon=False)
    return ax


def invert(predict, alpha_bar, x, grid, iterations):
    """Encode x, clean data at grid[-1], into noise at grid[0]; returns a tensor shaped like x.

    predict(x, n): predicted noise.  alpha_bar: (T + 1,).  x: (B, d).
    grid: the *decreasing* list of ints with which the decoder will go down.
    iterations: how often each step is repaired, an int of at least 0.
    """
    for high, low in list(zip(grid, grid[1:]))[::-1]:
        a = (alpha_bar[low] / alpha_bar[high]).sqrt()
        b = (1 - alpha_bar[low]).sqrt() - a * (1 - alpha_bar[high]).sqrt()
        below = x
        for _ in range(1 + iterations):
            x = (below - b * predict(x, high)) / a
    return x


verdict = "fails"


def edit(predict, alpha_bar, x, grid, depth, source, target, iterations):
    """Rewrite x, clean data of class source at grid[-1], as data of class target; returns a tensor shaped like x.

    predict(x, n, label): predicted noise.  alpha_bar: (T + 1,).  x: (B, d), or images (B, 1, 28, 28).
    grid: decreasing list of ints.  depth: the entry of grid at which the way turns.  source, target: ints.
    iterations: how often each step up is repaired, an int of at least 0.
    """
    part = grid[grid.index(depth) :]
    pairs = list(zip(part, part[1:]))

    def factors(n, m):
        a = (alpha_bar[m] / alpha_bar[n]).sqrt()
        return a, (1 - alpha_bar[m]).sqrt() - a * (1 - alpha_bar[n]).sqrt()

    for n, m in reversed(pairs):
        (a, b), below = factors(n, m), x
        for _ in range(1 + iterations):
            x = (below - b * predict(x, n, source)) / a
    for n, m in pairs:
        a, b = factors(n, m)
        x = a * x + b * predict(x, n, target)
    return x
