"""Claims of chapter 7: the mean direction itself, learned, and solvers that are learned.

Flow maps live on `Flow`, x_t = (1 - t) x_0 + t eps, and jump from t to s by the mean velocity u(x, t, s).
Exact where the model is: on Gaussians in closed form, on mixtures by the trajectory to twelve digits.  What
takes minutes comes from the recorded studies, such as `recorded("flow_maps")`.
"""

import math
from functools import cache, partial

import numpy as np
import torch
from scipy import special
from torch import nn

from book.ch06 import experiments as amed_chapter
from book.claims import claim, recorded, tried_on
from book.problems import rms, two_peaks
from toolkit import AFS, Flow, Mixture, grids, initial_noise, sample
from toolkit.convergence import reference
from toolkit.distilled import mixture
from toolkit.flow_maps import (
    MeanVelocity,
    flow_map,
    lagrangian_loss,
    mean_and_rate,
    mean_velocity,
    meanflow_loss,
    meanflow_target,
    shortcut_loss,
)
from toolkit.learned import Solver
from toolkit.networks import pretrained
from toolkit.ode import heun, rk4

# --- flow maps ------------------------------------------------------------------------------------------

DOUBLE = {"dtype": torch.float64}
FLOW = Flow()
PLANE = {"triangle": Mixture.ring(3, std=0.15), "ring": mixture("ring")}  # chapter 6's, chapter 5's
TRIANGLE = PLANE["triangle"].model(FLOW)
CALLS = (1, 2, 4, 16)
STD = 0.5  # of the one Gaussian on which everything is known
METHODS = {"meanflow": "MeanFlow", "lagrangian": "Lagrangian", "shortcut": "shortcut"}
SHORT = {name: f"{label}, short" for name, label in METHODS.items()}  # 1,000 steps
LABELS = {  # what the flow maps of a setting are called; of the digits' one had 2,900 steps
    "triangle": METHODS,
    "ring": {"meanflow": METHODS["meanflow"]},
    "digits": SHORT | {"meanflow": METHODS["meanflow"], "meanflow-short": SHORT["meanflow"]},
}


class PlaneNetwork(nn.Module):
    """A small network of two times for points in the plane: x (B, 2), t and gap = t - s (B,), and a few sines
    of both, through three layers."""

    def __init__(self, width=128):
        super().__init__()
        sizes = (8, width, width, width)
        layers = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), nn.SiLU())]
        self.body = nn.Sequential(*layers, nn.Linear(width, 2))

    def forward(self, x, t, label=None, gap=0.0):
        """The mean velocity (B, 2); labels are not looked at."""
        told = [f for time in (t, gap) for f in (time, (3 * time).sin(), (3 * time).cos())]
        return self.body(torch.cat([x, torch.stack(told, 1)], 1))


def jump(model, noise, calls=1):
    """Samples (n, ...) of a flow map from noise (n, ...) at time 1, in so many equal steps, a call each."""
    return sample(flow_map, model, noise, grids.uniform(FLOW, calls, 1.0, 0.0)).x


def astray(x, on="triangle"):
    """Share of points (n, 2) that lie further than three deviations from every mode: 1 % of the data."""
    data = PLANE[on]
    return float((torch.cdist(x.double(), data.means).amin(1) > 3 * data.stds[0]).double().mean())


def plane_data(on="triangle", n=20_000):
    """Points (n, 2) of the triangle or the ring, for training."""
    return PLANE[on].sample(n, 1).float()


@cache
def trained(name="flow-map-meanflow"):
    """A flow map of the digits that ships."""
    return MeanVelocity(pretrained(name))


# The mean of a step, in a picture


def line_step(t=0.95, s=0.1, points=200):
    """One step of the flow of the two peaks: times, states and velocities along the trajectory, the mean
    velocity, and as a guess of it the velocity where Euler and the midpoint look: label -> (time, velocity).
    """
    model = two_peaks().model(FLOW)
    x = torch.tensor([[-0.1]], **DOUBLE)
    times = np.linspace(t, s, points)
    states = torch.cat([x, *(reference(model, x, t, float(now)) for now in times[1:])])
    speeds = torch.cat([model.flow(state[None], float(now)) for state, now in zip(states, times)])
    middle, first = (t + s) / 2, model.flow(x, t)
    mean = float(mean_velocity(model, x, t, s))
    guesses = {
        "Euler": (t, float(first)),
        "midpoint": (middle, float(model.flow(x - (t - middle) * first, middle))),
    }
    at = np.flatnonzero(np.diff(np.sign(speeds[:, 0].numpy() - mean)))
    return {
        "times": times,
        "states": states[:, 0].numpy(),
        "speeds": speeds[:, 0].numpy(),
        "mean": mean,
        "guesses": guesses,
        "where": [float(times[i]) for i in at],
    }


def starts(t, n, seed=0):
    """n states (n, 2) float64 of the triangle's data at time t."""
    x = TRIANGLE.mixture.sample(n, seed)
    return (1 - t) * x + t * initial_noise(*x.shape, seed + 1, **DOUBLE)


def one_jump(model, t, s, seed):
    """One start of the triangle's flow at time t and its jump to s, for the widget: by the exact mean
    velocity, by the velocity at the start, and by that of `model`, a flow map: label -> (velocity, end)."""
    x = starts(t, 1, seed)
    times = np.linspace(t, s, 25).tolist()  # to 1e-5, and ten times as fast as `reference`
    run = sample(rk4, TRIANGLE, x, times, keep_path=True)
    with torch.no_grad():
        mean = model.mean(x.float(), t, s).double()
    found = {
        "exact mean": (x - run.x) / (t - s),
        "velocity at the start": TRIANGLE.flow(x, t),
        "network": mean,
    }
    return {
        "times": (t, s),
        "path": run.path[:, 0],
        "data": plane_data()[:400],
        "jumps": {name: (u[0], (x - (t - s) * u)[0]) for name, u in found.items()},
    }


# What a loss has as its minimiser, on one Gaussian


def gaussian_rates(t, std=STD):
    """Of data N(0, std^2) on `Flow` at times t: the variance of x_t, the slope of the velocity in x, and the
    variance of a random pair's velocity given x_t."""
    variance = (1 - t) ** 2 * std**2 + t**2
    slope = (t - (1 - t) * std**2) / variance
    return variance, slope, 1 + std**2 - slope**2 * variance


def open_map(std=STD, noise=1.0, cells=2000):
    """(t, A), both (cells + 1,): the map X(x, t, 0) = A(t) x, A(0) = 1, at which MeanFlow's loss *without*
    stop-gradient is least on N(0, std^2); A(1) is the deviation of one-call samples.

    u - (v - t du/dt) = -(A' x + A v): the loss at t is (A' + slope A)^2 E x_t^2 + A^2 Var(v | x_t), a
    quadratic form in A, here on `cells` equal steps of t.  noise: a factor of the variance; 0 is the exact
    velocity."""
    edges = np.linspace(0, 1, cells + 1)
    size, slope, spread = gaussian_rates((edges[1:] + edges[:-1]) / 2, std)
    after, before = cells + slope / 2, -cells + slope / 2  # A' + slope A of a cell, in A at its two ends
    main, side = np.zeros(cells + 1), size * after * before + noise * spread / 4
    main[1:] += size * after**2 + noise * spread / 4
    main[:-1] += size * before**2 + noise * spread / 4
    matrix = np.diag(main) + np.diag(side, 1) + np.diag(side, -1)
    wanted = np.zeros(cells)
    wanted[0] = -side[0]  # A(0) = 1 is given
    return edges, np.concatenate([[1.0], np.linalg.solve(matrix[1:, 1:], wanted)])


def slopes() -> dict:
    """The slope A(t) of the map from t to the data N(0, 1/4), with the stop-gradient, where it is exact, and
    without: label -> (times, slopes)."""
    times, shrunk = open_map()
    exact = STD / np.sqrt(gaussian_rates(times)[0])
    return {"with stop-gradient": (times, exact), "without": (times, shrunk)}


@claim(
    "MF1",
    source="Geng et al. 2025, on the loss: stop-gradient avoids a second derivative",
    says="The stop-gradient in MeanFlow's loss spares work; without it the loss would have the same minimum.",
    holds=lambda r: abs(r["exact velocity, deviation"] - STD) < 0.005,
    fails=lambda r: abs(r["pairs, deviation"] - STD) > 0.05,
    verdict="holds if",
    finding="If the velocity is exact, or a teacher's: 0.5, the data's deviation. With that of random pairs "
    "the minimum has 0.24: the loss then holds the map's slope times the velocity's noise, and a flatter "
    "map pays less.",
)
@tried_on({"data of deviation 0.8": {"STD": 0.8, "open_map": partial(open_map, 0.8)}})
def without_stop_gradient() -> dict:
    """The deviation of one-call samples at the minimum of the loss without stop-gradient, on N(0, 1/4), with
    the exact velocity and with that of random pairs."""
    return {
        "exact velocity, deviation": float(open_map(noise=0.0)[1][-1]),
        "pairs, deviation": float(open_map()[1][-1]),
        "the data, deviation": STD,
    }


class GaussianMap(MeanVelocity):
    """The exact flow map of N(0, STD^2), its mean velocity times `scale`, a number that may ask for a
    gradient."""

    def __init__(self, scale=1.0):
        super().__init__(lambda x, t, label, gap: scale * self.exact(x, t, t - gap))

    @staticmethod
    def exact(x, t, s):
        """u = (1 - c_s / c_t) x / (t - s), c the deviation of x_t, with t - s divided out."""
        deviation = lambda t: gaussian_rates(t)[0].sqrt()  # noqa: E731
        fall = (t + s) - (2 - t - s) * STD**2  # (c_t^2 - c_s^2) / (t - s)
        return x * (fall / (deviation(t) * (deviation(t) + deviation(s))))[:, None]


def _losses(scale, n, seed):
    """Each loss (n,) of the map `scale` times the exact one, on pairs drawn from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    x0, eps = torch.randn(2, n, 1, generator=generator, **DOUBLE)
    t, s = (both := torch.rand(2, n, generator=generator, **DOUBLE)).amax(0), both.amin(0)
    x0, model = STD * x0, GaussianMap(scale)
    x, pair = (1 - t[:, None]) * x0 + t[:, None] * eps, eps - x0
    exact = GaussianMap.exact(x, t, t)

    def open_loss(v):
        u, rate = mean_and_rate(model, x, v, t, s)
        return (u - meanflow_target(v, rate, t, s)).square().mean(1)

    return {
        "MeanFlow, exact velocity": meanflow_loss(model, x, exact, t, s),
        "MeanFlow, pairs": meanflow_loss(model, x, pair, t, s),
        "without stop-gradient, exact velocity": open_loss(exact),
        "without stop-gradient, pairs": open_loss(pair),
        "Lagrangian": lagrangian_loss(model, x, t, s),
        "shortcut": shortcut_loss(model, x, t, s),
    }


def at_the_exact_map(n=100_000, seed=0) -> dict:
    """The losses on N(0, 1/4) at the exact flow map, and their slopes when its mean velocity is scaled."""
    scale = torch.ones((), **DOUBLE, requires_grad=True)
    result = {}
    for name, loss in _losses(scale, n, seed).items():
        (slope,) = torch.autograd.grad(loss.mean(), scale, retain_graph=True)
        result[f"{name} | loss"] = float(loss.detach().mean())
        result[f"{name} | slope"] = round(float(slope), 2) + 0.0
    return result


def perfect_shortcut(finest=(8, 32, 128)) -> dict:
    """The deviation of the samples of N(0, 1/4) by a shortcut model that fits perfectly: each of its steps is
    two of half the length, and the finest are Euler's."""
    result = {}
    for steps in finest:
        t = 1 - np.arange(steps) / steps
        result[f"finest step 1/{steps}"] = float(np.prod(1 - gaussian_rates(t)[1] / steps))
    return result


# The noise of the target


def _turned(model, x, v, t, s, h=1e-4):
    """The exact map's derivative from t to s in the direction v, (n, d)."""
    return (reference(model, x + h * v, t, s) - reference(model, x - h * v, t, s)) / (2 * h)


@claim(
    "MF2",
    source="Geng et al. 2025b, on the tangent of the derivative",
    says="The derivative along the network's own velocity has less noise than along that of the pair.",
    holds=lambda r: r["from 0.3 to 0.01 | exact, 1 in 100"] < r["from 0.3 to 0.01 | pair's, 1 in 100"] / 1.5,
    fails=lambda r: r["from 0.3 to 0.01 | exact, median"] > 1.5 * r["from 0.3 to 0.01 | pair's, median"],
    verdict="holds if",
    finding="If the rare samples count. From 0.3 to 0.01 one sample in a hundred has more than 7.5 of it "
    "along the pair's velocity and 4.7 along the exact one. The median has 0.30 and 0.63, the other way "
    "round. With the ring the median is the larger one along the exact velocity too, but by a third only.",
    elsewhere={"0.3": "a time", "0.01": "a time"},
)
@tried_on({"the ring": {"TRIANGLE": PLANE["ring"].model(FLOW)}})
@cache
def target_noise(n=1000, seed=0) -> dict:
    """The length of the noise in MeanFlow's target at the triangle's exact map, median and what one in a
    hundred exceeds, by the velocity along which the derivative goes: the pair's, where the map's derivative
    turns the noise, or the exact one, which a good network has."""
    result = {}
    for t, s in ((0.99, 0.01), (0.8, 0.2), (0.5, 0.1), (0.3, 0.01)):
        x0, eps = TRIANGLE.mixture.sample(n, seed), initial_noise(n, 2, seed + 1, **DOUBLE)
        x = (1 - t) * x0 + t * eps
        off = eps - x0 - TRIANGLE.flow(x, t)
        for name, noise in (("pair's", _turned(TRIANGLE, x, off, t, s)), ("exact", off)):
            length = noise.norm(dim=1)
            result[f"from {t:g} to {s:g} | {name}, median"] = float(length.median())
            result[f"from {t:g} to {s:g} | {name}, 1 in 100"] = float(length.quantile(0.99))
    return result


# What was trained


def study(on="digits"):
    """The recorded rows of a setting, "digits" or "ring": name -> a row for each seed."""
    return recorded("flow_maps")[on]


def spread(rows, calls, key, places=2, scale=1):
    """Mean and half the range of a figure over the seeds, as a table tells them; one seed as it is."""
    found = [scale * row[str(calls)][key] for row in rows]
    if len(found) == 1:
        return f"{found[0]:.{places}f}"
    return f"{sum(found) / len(found):.{places}f} ± {(max(found) - min(found)) / 2:.{places}f}"


def maps_of(on):
    """The rows of the flow maps and of chapter 5's consistency model: label -> rows."""
    found = study(on)
    ways = {label: found[name] for name, label in LABELS[on].items()}
    return ways | {f"consistency, {way}": rows for way, rows in found.get("consistency", {}).items()}


def digits_table(key="no label") -> dict:
    """Fréchet distance without labels, or with, by calls: mean ± half the range of three seeds."""
    return {
        f"{label} | {calls}": spread(rows, calls, key)
        for label, rows in maps_of("digits").items()
        for calls in CALLS
        if str(calls) in rows[0]
    }


def cost_table() -> dict:
    """Seconds of one core for a training, and the share of near copies in one call, in %."""
    result, found = {}, study("digits")
    for name, label in LABELS["digits"].items():
        rows = found[name]
        result[f"{label} | seconds"] = round(sum(row["seconds"] for row in rows) / len(rows))
        result[f"{label} | copies, %"] = spread(rows, 1, "copies", scale=100)
        result[f"{label} | read right, %"] = spread(rows, 1, "read right", 1, 100)
    return result


def ingredients() -> dict:
    """Fréchet distance in one call and in four, without labels and with: what ships, and two trainings that
    differ from it in one thing each."""
    names = {
        "as it ships": "meanflow",
        "derivative along the pair": "meanflow-pairs",
        "errors not weighed": "meanflow-unweighed",
    }
    return {
        f"{label} | {key}, {calls}": spread(study("digits")[name], calls, key)
        for label, name in names.items()
        for key in ("no label", "label")
        for calls in (1, 4)
    }


def plane_table(on="triangle") -> dict:
    """By calls: sliced W2 to the data, and the share further than three deviations from every mode in %."""
    result = {}
    for label, rows in maps_of(on).items():
        for calls in CALLS:
            if str(calls) in rows[0]:
                result[f"{label} | W2, {calls}"] = spread(rows, calls, "W2", 3)
        for calls in CALLS:
            if str(calls) in rows[0]:
                result[f"{label} | astray, {calls}"] = spread(rows, calls, "astray", 0, 100)
    return result


def digits_panels() -> dict:
    """Fréchet distance by calls, without labels and with: title -> label -> (calls, lists of the seeds')."""
    panels = {"without labels": {}, "with labels": {}}
    for panel, key in zip(panels.values(), ("no label", "label")):
        for label, rows in maps_of("digits").items():
            calls = [n for n in CALLS if str(n) in rows[0]]
            panel[label] = calls, [[row[str(n)][key] for n in calls] for row in rows]
    return panels


def _mean(rows, calls, key):
    found = [row[str(calls)][key] for row in rows]
    return sum(found) / len(found)


@claim(
    "MF3",
    source="Kim et al. 2024, on consistency models with several calls",
    says="A consistency model gets worse with more calls, a flow map does not.",
    holds=lambda r: (
        r["digits, label: consistency, no noise | 16"] > 2 * r["digits, label: consistency, no noise | 1"]
        and r["digits, label: MeanFlow | 16"] < r["digits, label: MeanFlow | 1"]
        and r["ring, W2: consistency, no noise | 16"] > 2 * r["ring, W2: consistency, no noise | 1"]
    ),
    fails=lambda r: (
        r["digits, label: consistency, fresh noise | 16"] < r["digits, label: consistency, fresh noise | 1"]
    ),
    verdict="holds if",
    finding="If the calls are deterministic and many: with labels, a consistency model that keeps its noise "
    "has 0.26 in one, 0.14 in two, 1.29 in 16 (without labels 0.77 in four, then 1.68). With fresh noise it "
    "gets better, 0.13. MeanFlow is better in 16 calls than in one; after a short training, with labels, "
    "it goes from 0.67 to 1.03, which is about what its own flow has. All are means of three trainings.",
)
def many_calls() -> dict:
    """Distances to the data with 1, 2, 4 and 16 calls, means over the trainings there are: a consistency
    model that puts fresh noise back at Karras's levels, one that puts back the noise it has (DDIM), and flow
    maps, one of them after a short training.
    """
    rows = {
        "digits, no label": ("digits", "no label"),
        "digits, label": ("digits", "label"),
        "ring, W2": ("ring", "W2"),
    }
    return {
        f"{title}: {label} | {calls}": _mean(found, calls, key)
        for title, (on, key) in rows.items()
        for label, found in maps_of(on).items()
        if label in ("MeanFlow", "MeanFlow, short", "consistency, fresh noise", "consistency, no noise")
        for calls in CALLS
    }


@claim(
    "MF4",
    source="Boffi et al. 2025, on their experiments",
    says="The Lagrangian loss makes better flow maps than the Eulerian one (MeanFlow) and than the shortcut.",
    holds=lambda r: all(
        r[f"triangle, astray: Lagrangian | {n}"]
        < min(r[f"triangle, astray: {rival} | {n}"] for rival in RIVALS)
        for n in (1,)
    ),
    fails=lambda r: r["digits, label: MeanFlow | 1"] < r["digits, label: Lagrangian | 1"] / 2,
    verdict="holds if",
    finding="In the plane, in one call: 15 % of the points astray, MeanFlow has 19 % (in four calls 14 % and "
    "12 %). On digits with labels it has 1.85 in one call where MeanFlow has 0.67. The shortcut is last in "
    "one call in both, in the mean. Three trainings each.",
)
def three_losses() -> dict:
    """Three losses with the same network, steps and batches: Fréchet distance of digits, and in the plane the
    share astray and W2: means of three trainings."""
    result, keys = {}, {"digits": ("no label", "label"), "triangle": ("astray", "W2")}
    for on, wanted in keys.items():
        plain = "meanflow-short" if on == "digits" else "meanflow"
        for name, label in (("lagrangian", "Lagrangian"), (plain, RIVALS[0]), ("shortcut", RIVALS[1])):
            rows = study(on)[name]
            result |= {f"{on}, {k}: {label} | {n}": _mean(rows, n, k) for k in wanted for n in (1, 4, 16)}
    return result


RIVALS = ("MeanFlow", "shortcut")


def two_jumps() -> dict:
    """How far two jumps end from one: title -> label -> (times between, the distances of each seed)."""
    panels = {}
    for on in ("triangle", "digits"):
        found, panels[on] = study(on), {}
        for name, label in LABELS[on].items():
            rows = [row["two jumps"] for row in found[name]]
            panels[on][label] = [float(m) for m in rows[0]], [[*row.values()] for row in rows]
    return panels


def digit_rows(n=10, seed=3):
    """Digits from one and the same noise by the MeanFlow that ships, and the velocity that it knows, in one
    call: label -> images (n, 8, 8)."""
    noise, model = initial_noise(n, (1, 8, 8), seed), trained("flow-map-meanflow")
    with torch.no_grad():
        rows = {f"{calls} call{'s' * (calls > 1)}": jump(model, noise, calls) for calls in (16, 4, 1)}
        rows["velocity, 1 call"] = noise - model.mean(noise, 1.0, 1.0)
    return {name: images[:, 0] for name, images in rows.items()}


# Distribution matching

LEVELS = np.geomspace(0.02, 5.0, 24)[:, None]
WIDTH = 0.2  # of each of two equal peaks on a line, at -gap and gap
NODES = np.linspace(-6, 6, 241)
WEIGHTS = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()


def peaks_score(x, gap, level):
    """The score of two equal peaks at -gap and gap with noise of this level (alpha = 1): arrays that
    broadcast."""
    variance = WIDTH**2 + level**2
    return (gap * np.tanh(gap * x / variance) - x) / variance


def reverse_gradient(mean, std, gap, levels=LEVELS):
    """The gradient of DMD for the generator mean + std z, by mean and by std: E[w (fake score - real score)
    dG], w = level, averaged over the levels, by quadrature; the fake score is that of N(mean, std^2) with
    noise, exactly."""
    wide = np.hypot(std, levels)
    x = mean + wide * NODES
    pull = levels * (-NODES / wide - peaks_score(x, gap, levels)) * WEIGHTS
    return pull.sum(1).mean(), (pull * std * NODES / wide).sum(1).mean()  # E[z | x] = std z / wide


def matched(mean, std, gap=1.0, steps=2000, lr=0.1, levels=LEVELS):
    """(mean, std) at which descent on `reverse_gradient` rests, from this start."""
    for _ in range(steps):
        by_mean, by_std = reverse_gradient(mean, std, gap, levels)
        mean, std = mean - lr * by_mean, max(WIDTH / 10, std - lr * by_std)
    return float(mean), float(std)


def regressed(gap=1.0):
    """The deviation of the generator std z that is nearest to the flow map in the mean square: E[z f(z)], f
    the map that keeps quantiles."""
    z = special.ndtri((np.arange(20_000) + 0.5) / 20_000)
    x = np.linspace(-gap - 1.5, gap + 1.5, 4001)
    total = (special.ndtr((x - gap) / WIDTH) + special.ndtr((x + gap) / WIDTH)) / 2
    return float((z * np.interp(special.ndtr(z), total, x)).mean())


def reverse_divergence(mean, std, gap=1.0):
    """KL(N(mean, std^2) | the two peaks), without noise, by quadrature."""
    x = mean + std * NODES
    off = np.stack([x - gap, x + gap]) / WIDTH
    data = special.logsumexp(-(off**2) / 2, axis=0) - math.log(2 * WIDTH)
    return float((WEIGHTS * (-(NODES**2) / 2 - math.log(std) - data)).sum())


def matching_on_a_line() -> dict:
    """Generators mean + std z of two equal peaks at -1 and 1: where DMD rests from a wide start and from a
    narrow one at the right, and the best fit to the flow map, which regression finds.  "even levels" are
    evenly spaced instead of evenly in the logarithm."""
    even = np.linspace(LEVELS[0], LEVELS[-1], len(LEVELS))
    ends = {
        "DMD, from N(0.2, 1)": matched(0.2, 1.0),
        "DMD, from N(0.9, 0.04)": matched(0.9, 0.2),
        "regression on the flow map": (0.0, regressed()),
        "DMD, even levels, from N(0.9, 0.04)": matched(0.9, 0.2, levels=even),
    }
    result = {}
    for name, (mean, std) in ends.items():
        hole = special.ndtr((0.5 - mean) / std) - special.ndtr((-0.5 - mean) / std)
        result[f"{name} | mean"] = round(mean, 3) + 0.0
        result[f"{name} | deviation"] = std
        result[f"{name} | within half of 0, %"] = 100 * hole
        result[f"{name} | reverse KL"] = reverse_divergence(mean, std)
    return result


@claim(
    "MF6",
    source="Yin et al. 2024, on the regression term; textbook wisdom on the reverse KL divergence",
    says="Matching distributions by the reverse KL divergence drops modes; a regression term keeps them.",
    holds=lambda r: r["DMD, levels to 5 | modes, most"] < 8 <= r["DMD and regression | modes, fewest"],
    verdict="holds",
    finding="In eight trainings DMD serves one to five of eight modes. With a regression term all have all "
    "eight, and 77 % of the points lie between them.",
)
def matching_table() -> dict:
    """One-call generators of the ring, eight seeds: modes that are the nearest of a quarter of their
    share or more, and what lies far from all of them."""
    result = {}
    for name, rows in recorded("flow_maps")["matching"].items():
        modes = [row["modes"] for row in rows]
        result |= {
            f"{name} | modes, fewest": min(modes),
            f"{name} | modes, mean": sum(modes) / len(modes),
            f"{name} | modes, most": max(modes),
            f"{name} | astray, %": 100 * sum(row["astray"] for row in rows) / len(rows),
            f"{name} | W2": sum(row["W2"] for row in rows) / len(rows),
        }
    return result


# --- learned solvers --------------------------------------------------------------------------------------

SOLVER_CALLS = (3, 5, 7, 9)
START = {"": "plain start", " *": "analytic start"}  # as the tables mark it
LEARNED_KINDS = (
    "grid, DDIM", "grid, iPNDM", "grid, DPM-Solver++ 2M", "weights", "weights and grid",
    "weights, grid and levels told", "one midpoint", "one midpoint and grid", "two midpoints and grid",
)  # fmt: skip
UNLEARNED = ("DDIM", "iPNDM", "DPM-Solver++ 2M")
PROGRAMMED = tuple(f"programmed grid, {name}" for name in UNLEARNED)
CHAPTER_6 = (
    "one share a step", "AMED-Solver", "AMED-Plugin, iPNDM", "searched grid, iPNDM",
)  # fmt: skip
MAIN_SOLVERS = (  # methods, each with a star where its first step is analytic
    "DDIM", "DPM-Solver++ 2M *", "iPNDM", "iPNDM *", "programmed grid, iPNDM *", "AMED-Solver *",
    "AMED-Plugin, iPNDM *", "grid, iPNDM", "grid, iPNDM *", "weights *", "weights and grid",
    "weights and grid *", "weights, grid and levels told *", "one midpoint and grid *",
    "two midpoints and grid *",
)  # fmt: skip
SHORT_SOLVERS = (
    "iPNDM", "iPNDM *", "one share a step *", "AMED-Solver *", "AMED-Plugin, iPNDM *", "grid, iPNDM",
    "grid, iPNDM *", "weights and grid", "weights and grid *",
)  # fmt: skip


@cache
def learned_study():
    """The record of `studies.learned_study`, read once; not to be changed."""
    return recorded("learned")


def solver_row(method, calls):
    """Recorded: the row of a method, with a star where its first step is analytic; None where its calls do
    not fit."""
    name, star = method.removesuffix(" *"), method[len(method.removesuffix(" *")) :]
    return learned_study()["calls"][str(calls)][START[star]].get(name)


def solver_values(method, key="rmse"):
    """Recorded: {calls: value} of a method, for the calls at which it was run."""
    rows = {calls: solver_row(method, calls) for calls in SOLVER_CALLS}
    return {calls: row[key] for calls, row in rows.items() if row is not None}


def all_solvers():
    """Every method of the record, with its star."""
    found = [name for kind in (UNLEARNED, PROGRAMMED, LEARNED_KINDS) for name in kind]
    both = [name + star for name in found for star in START]
    return [method for method in (*both, *(f"{name} *" for name in CHAPTER_6)) if solver_values(method)]


def solver_table(methods=MAIN_SOLVERS, places=3):
    """Recorded: how many numbers a method learns at three calls, and RMSE and Fréchet distance at 3, 5, 7 and
    9; names "row | column"."""
    result = {}
    flow = learned_study()["flow"]["frechet"]
    for calls in SOLVER_CALLS:
        result[f"the flow itself | RMSE, {calls}"] = "0"
    for calls in SOLVER_CALLS:
        result[f"the flow itself | FD, {calls}"] = f"{flow:.1f}"
    for method in methods:
        for key, label, digits in (("rmse", "RMSE", places), ("frechet", "FD", 1)):
            values = solver_values(method, key)
            result |= {
                f"{method} | {label}, {c}": f"{values[c]:.{digits}f}" if c in values else "–"
                for c in SOLVER_CALLS
            }
    return result


def solver_costs():
    """Recorded: the numbers that a method learns, and CPU seconds to fit them; names "row | column"."""
    result = {}
    for method in [m for m in all_solvers() if m.removesuffix(" *") in (*LEARNED_KINDS, *CHAPTER_6)]:
        for key, label in (("numbers", "numbers"), ("seconds", "s")):
            values = solver_values(method, key)
            told = {c: f"{v:,.0f}" if key == "numbers" else f"{v:.1f}" for c, v in values.items()}
            result |= {f"{method} | {label}, {c}": told.get(c, "–") for c in SOLVER_CALLS}
    return result


def solver_ranges():
    """Recorded: least and most RMSE and Fréchet distance of three trainings; names "row | column"."""
    result = {}
    for method in [m for m in all_solvers() if m.removesuffix(" *") in LEARNED_KINDS]:
        for key, label, digits in (("rmse range", "RMSE", 3), ("frechet range", "FD", 2)):
            values = solver_values(method, key)
            told = {c: "–".join(f"{v:.{digits}f}" for v in pair) for c, pair in values.items()}
            result |= {f"{method} | {label}, {c}": told.get(c, "–") for c in SOLVER_CALLS}
    return result


def solver_curves(methods=("iPNDM *", "programmed grid, iPNDM *", "AMED-Plugin, iPNDM *", "grid, iPNDM *",
                           "weights and grid *", "one midpoint and grid *")):  # fmt: skip
    """Recorded: method -> {calls: RMSE}."""
    return {method: solver_values(method) for method in methods}


def learned_solver(method, calls, seed=0):
    """The recorded `Solver` of one training."""
    told = solver_row(method, calls)["runs"][seed]["solver"]
    return Solver(told["name"], told["times"], told["options"], {"calls": calls, "seed": seed})


def levels_of_grids(calls=5):
    """Recorded: the levels of some grids without an analytic start: label -> list."""
    rows = learned_study()["calls"][str(calls)]["plain start"]
    unlearned = {"Karras": rows["iPNDM"], "programmed": rows["programmed grid, iPNDM"]}
    found = {label: row["solver"]["times"] for label, row in unlearned.items()}
    kinds = ("grid, DDIM", "grid, iPNDM", "grid, DPM-Solver++ 2M", "weights and grid")
    return found | {kind: learned_solver(kind, calls).times for kind in kinds}


# In the page: digits with their ends, and one solver's numbers


def digits():
    """(model, the same with an analytic start): chapter 6's setting, digits without a label from level 20."""
    model = amed_chapter.digits_model(amed_chapter.TOP)
    return model, AFS(model, *amed_chapter.moments())


def digit_pairs(n=300, seed=1200):
    """(noise, ends) of n digits, (n, 1, 8, 8) each: where the flow leads from there."""
    return amed_chapter.noise(n, seed), amed_chapter.digit_ends(n, seed)


@cache
def fine_path(nodes=60, n=100):
    """(levels (nodes + 1,), path (nodes + 1, n, 1, 8, 8)) of an accurate run, for the dynamic programme."""
    model, levels = digits()[0], grids.karras(digits()[0].schedule, nodes)
    run = sample(heun, model, amed_chapter.noise(n, 1300), levels, keep_path=True, variable="sigma")
    return levels, run.path


@cache
def grid_errors(points=13, n=100):
    """RMSE of three calls of iPNDM over the two inner levels of its grid: upper (points,), lower (points,),
    errors (points, points), nan where they are out of order."""
    model, (x, ends) = digits()[0], digit_pairs(n)
    upper, lower = np.geomspace(0.5, 8, points), np.geomspace(0.03, 2.0, points)
    errors = np.full((points, points), np.nan)
    for i, a in enumerate(upper):
        for j, b in enumerate(lower):
            if b < 0.9 * a:
                errors[i, j] = rms(Solver("ipndm", [amed_chapter.TOP, a, b, 0.002]).run(model, x).x - ends)
    return upper, lower, errors


def sums_of_weights():
    """Recorded: the mean over three trainings of the sum of each step's weights, at three calls with an
    analytic start: method -> {step: sum}; 1 is what consistency asks for."""
    found = {}
    for method in ("weights *", "weights and grid *"):
        rows = [learned_solver(method, 3, seed).options["weights"] for seed in range(3)]
        sums = np.array([[sum(row) for row in weights] for weights in rows]).mean(0)
        found[method] = {f"step {n + 1}": float(total) for n, total in enumerate(sums)}
    return found


def solver_digits(n=10):
    """Digits at three calls from the same noises: row -> (n, 1, 8, 8), the flow's ends last."""
    (model, analytic), (x, ends) = digits(), digit_pairs(100)
    rows = {"iPNDM": (Solver("ipndm", grids.karras(model.schedule, 3).tolist()), model)}
    for method in ("grid, iPNDM *", "weights and grid *"):
        rows[method] = learned_solver(method, 3), analytic
    return {row: solver.run(by, x[:n]).x for row, (solver, by) in rows.items()} | {"the flow": ends[:n]}


def two_levels(upper, lower, solver="iPNDM"):
    """What the widget draws: RMSE of three calls of one sampler on Karras' grid, on the one learned for it
    and on the reader's: label -> (upper level, lower level, RMSE)."""
    model, (x, ends) = digits()[0], digit_pairs(100)
    name = learned_solver(f"grid, {solver}", 3).name
    error = lambda levels: rms(Solver(name, levels).run(model, x).x - ends)
    found = {
        "Karras": grids.karras(model.schedule, 3).tolist(),
        f"learned for {solver}": learned_solver(f"grid, {solver}", 3).times,
        "yours": [amed_chapter.TOP, float(upper), float(lower), 0.002],
    }
    return {label: (*levels[1:-1], error(levels)) for label, levels in found.items()}


def carried_bars():
    """Recorded: RMSE at five calls over that of iPNDM on Karras' grid: problem -> {method: ratio}."""
    found = {}
    for problem, rows in learned_study()["carried"].items():
        plain = rows["iPNDM, Karras' grid"][0]
        found[problem] = {
            label: float(np.mean(rows[name])) / plain
            for label, name in (
                ("grid", "grid, iPNDM, carried over"),
                ("weights and grid", "weights and grid, carried over"),
            )
        }
    return found


def fair_curves():
    """Recorded: the factors of the unfair comparison, part -> {calls: factor}."""
    found = {}
    for name, value in fair().items():
        part, calls = name.split(" | ")
        found.setdefault(part, {})[int(calls.split()[0])] = float(value)
    return {part: row for part, row in found.items() if "plain start" not in part}


# Two rulers, how much is needed, how far it carries


def two_rulers():
    """Recorded, at every count: group -> [(RMSE, Fréchet distance)], and the flow's own distance.  Of all
    methods but midpoints and what chapter 6 searched for."""
    kinds = {
        "Karras' grid": UNLEARNED,
        "programmed grid": PROGRAMMED,
        "learned grid": [name for name in LEARNED_KINDS if name.startswith("grid")],
        "learned weights": [name for name in LEARNED_KINDS if name.startswith("weights")],
        "AMED": [name for name in CHAPTER_6 if name.startswith("AMED")],
    }
    groups = {label: [] for label in kinds}
    for method in all_solvers():
        for label, names in kinds.items():
            if method.removesuffix(" *") in names:
                rmse, frechet = solver_values(method), solver_values(method, "frechet")
                groups[label] += [(rmse[c], frechet[c]) for c in rmse]
    return groups, learned_study()["flow"]["frechet"]


FITS = {  # what was fitted -> what it is held against
    "grid, iPNDM *": "iPNDM *",
    "grid, DPM-Solver++ 2M *": "DPM-Solver++ 2M *",
    "weights *": "iPNDM *",
    "weights and grid *": "iPNDM *",
}


def squared_error():
    """Recorded: RMSE and Fréchet distance of a fitted solver over those of the solver it started from; names
    "row | column"."""
    return {
        f"{fitted} / {start} | {label}, {calls}": value / solver_values(start, key)[calls]
        for fitted, start in FITS.items()
        for key, label in (("rmse", "RMSE"), ("frechet", "FD"))
        for calls, value in solver_values(fitted, key).items()
    }


def pairs_needed():
    """Recorded: RMSE of weights and grid at three calls, from the analytic start, by the number of pairs: on
    fresh noise, least and most of three trainings, and on the pairs themselves; names "row | column"."""
    rows = learned_study()["pairs needed"] | {
        str(learned_study()["pairs"]): solver_row("weights and grid *", 3)
    }
    result = {}
    for count, row in rows.items():
        low, high = row["rmse range"]
        result[f"{int(count):,} pairs | on fresh noise"] = f"{low:.4f}–{high:.4f}"
        result[f"{int(count):,} pairs | on the pairs themselves"] = f"{row['on its own pairs']:.4f}"
    return result


def carried_over():
    """Recorded: RMSE at five calls of solvers that were fitted to digits without labels, on other problems;
    names "row | column"."""
    return {
        f"{problem} | {method}": f"{np.mean(each):.4f}"
        for problem, rows in learned_study()["carried"].items()
        for method, each in rows.items()
    }


def unfair():
    """Recorded RMSE: names "row | column"."""
    rows = {"baseline: iPNDM": "iPNDM", "ours: iPNDM, learned grid": "grid, iPNDM *"}
    return {f"{row} | {c} calls": v for row, name in rows.items() for c, v in solver_values(name).items()}


def fair():
    """Recorded: that gain in its parts, RMSE without over RMSE with; names "row | column"."""
    parts = {
        "the table above": ("iPNDM", "grid, iPNDM *"),
        "the analytic start alone": ("iPNDM", "iPNDM *"),
        "the learned grid, both from the plain start": ("iPNDM", "grid, iPNDM"),
        "the learned grid, both from the analytic start": ("iPNDM *", "grid, iPNDM *"),
        "the same, over the programmed grid": ("programmed grid, iPNDM *", "grid, iPNDM *"),
    }
    return {
        f"{part} | {c} calls": f"{value / solver_values(after)[c]:.2f}"
        for part, (before, after) in parts.items()
        for c, value in solver_values(before).items()
    }


# Claims


@claim(
    "LS1",
    source="Zhou et al. 2024, abstract: a network predicts the times",
    says="It takes a network to choose the times well.",
    holds=lambda r: all(v > 1.05 for k, v in r.items() if "shares" in k),
    fails=lambda r: all(v < 1.05 for k, v in r.items() if "shares" in k),
    verdict="fails",
    finding="One searched share a step, two to five numbers, is within 3 % of AMED-Solver's 1,739 parameters "
    "at each count.  Three to nine learned levels for iPNDM, with the same start, leave .78 of its error at "
    "three calls and .23 at nine.",
    elsewhere={"3 %": "the largest distance from 1 of the four ratios"},
)
def numbers_or_network():
    """Recorded RMSE over AMED-Solver's, which has 1,739 parameters, all with an analytic start: one searched
    share a step in its own step (2 to 5 numbers), iPNDM on a learned grid (3 to 9 numbers)."""
    amed = solver_values("AMED-Solver *")
    rivals = {"searched shares": "one share a step *", "learned grid": "grid, iPNDM *"}
    return {
        f"{label}, {calls} calls": solver_values(name)[calls] / amed[calls]
        for label, name in rivals.items()
        for calls in SOLVER_CALLS
    }


@claim(
    "LS2",
    source="Frankel et al. 2025, abstract: coefficients on top of any discretisation",
    says="Learned weights improve a multistep solver, whatever its grid.",
    holds=lambda r: all(v < 0.97 for name, v in r.items() if "9 calls" not in name),
    fails=lambda r: r["learned grids *, 9 calls"] > 0.97,
    verdict="holds if",
    finding="If the numbers are few: up to seven calls, on learned grids, and on Karras' where it was tried, "
    "at three.  At nine, with an analytic start, weights and grid tie with the grid alone: 43 numbers, our "
    "120 iterations.",
)
def weights_gain():
    """Recorded: RMSE with learned weights over that of iPNDM, whose weights they start from, on Karras' grid
    and where both grids are learned."""
    pairs = {"Karras' grid": ("weights", "iPNDM"), "learned grids": ("weights and grid", "grid, iPNDM")}
    ratio = lambda a, b, calls: solver_values(a)[calls] / solver_values(b)[calls]
    return {
        f"{label}{star}, {calls} calls": ratio(a + star, b + star, calls)
        for label, (a, b) in pairs.items()
        for star in START
        for calls in solver_values(a + star)
    }


@claim(
    "LS3",
    source="Zhu et al. 2025, abstract: parallel gradients, at no additional latency",
    says="Several midpoints at once beat one.",
    holds=lambda r: r["by rounds, three: two midpoints / one"] < 0.97,
    fails=lambda r: r["by calls, five: two midpoints / one"] > 1.03,
    verdict="holds if",
    finding="If time is counted in rounds of calls that wait for each other, and then by 7 %.  Counted in "
    "calls they are far behind: one midpoint a step with as many calls has about half the error.",
)
def midpoints_compared():
    """Recorded RMSE, all with a learned grid and an analytic start: two steps of one midpoint (3 calls) and
    of two (5 calls), both in three rounds of calls that wait for each other; and at five calls two midpoints
    beside one and beside weights."""
    two, one = solver_values("two midpoints and grid *"), solver_values("one midpoint and grid *")
    weights = solver_values("weights and grid *")
    return {
        "one midpoint *: 3 calls, 3 rounds": one[3],
        "two midpoints *: 5 calls, 3 rounds": two[5],
        "one midpoint *: 5 calls, 5 rounds": one[5],
        "weights and grid *: 3 calls, 3 rounds": weights[3],
        "weights and grid *: 5 calls, 5 rounds": weights[5],
        "by rounds, three: two midpoints / one": two[5] / one[3],
        "by calls, five: two midpoints / one": two[5] / one[5],
    }


@claim(
    "LS4",
    source="Pei et al. 2025, abstract: schedules robust across solvers",
    says="A grid that is good for one sampler is good for another.",
    holds=lambda r: all(v < 1 for v in r.values()),
    fails=lambda r: any(v > 1.05 for v in r.values()),
    verdict="fails",
    finding="Each sampler is best on its own. DDIM and iPNDM gain on each of the three learned grids over "
    "Karras'; 2M is 1.3 to 1.45 times worse on theirs than on Karras'.",
)
def grids_exchanged():
    """Recorded RMSE at five calls of each sampler on a grid that was fitted to another, over its own on
    Karras' grid."""
    plain = {name: solver_values(name)[5] for name in UNLEARNED}
    pairs = {tuple(pair.removeprefix("grid for ").split(" | ")): v for pair, v in _exchanged().items()}
    return {
        f"{name} on the grid of {owner}": value / plain[name]
        for (owner, name), value in pairs.items()
        if owner != name
    }


def _exchanged():
    return learned_study()["exchanged"]


def grids_exchanged_table():
    """Recorded RMSE at five calls of each sampler on Karras' grid and on each learned one; "row | column"."""
    plain = {f"Karras' grid | {name}": solver_values(name)[5] for name in UNLEARNED}
    return {name: f"{value:.4f}" for name, value in (plain | _exchanged()).items()}


@claim(
    "LS5",
    source="Folklore: what is nearer to the exact solution is nearer to the data",
    says="Of two solvers the one with the smaller error to the flow has the smaller distance to the data.",
    holds=lambda r: r["pairs ranked alike, of all"] > 0.95,
    verdict="fails",
    finding="They agree on 63 % of all pairs at one number of calls.  A grid learned for 2M brings its error "
    "down and its distance up, and 19 of 123 rows lie below the flow's own distance, by luck.",
)
def rulers_agree():
    """Recorded: of all pairs of solvers at one number of calls, the share that RMSE and Fréchet distance rank
    alike; how many solvers lie below the flow's own distance; and the correlation of the logarithms."""
    points, alike, below = [], [], 0
    flow = learned_study()["flow"]["frechet"]
    for calls in SOLVER_CALLS:
        rows = [solver_row(method, calls) for method in all_solvers()]
        rows = [(row["rmse"], row["frechet"]) for row in rows if row]
        alike += [(a - c) * (b - d) > 0 for i, (a, b) in enumerate(rows) for c, d in rows[:i]]
        below += sum(frechet < flow for _, frechet in rows)
        points += rows
    logs = np.log(np.array(points)).T
    return {
        "pairs ranked alike, of all": float(np.mean(alike)),
        "solvers": len(points),
        "below the flow's own distance": below,
        "correlation of the logarithms": float(np.corrcoef(logs)[0, 1]),
    }


@claim(
    "LS6",
    source="Tong et al. 2025, abstract: learned once, used with the model",
    says="A fitted solver can be lent to a similar problem.",
    holds=lambda r: all(v < 0.6 for name, v in r.items() if "80" not in name),
    fails=lambda r: r["digits from level 80"] > 0.8,
    verdict="holds if",
    finding="If it starts at the same level: with labels, guided, and even on the ring it has less than half "
    "the error of iPNDM on Karras' grid.  From level 80 instead of 20 most of that is gone.",
)
def lent():
    """Recorded RMSE at five calls of weights and grid that were fitted to digits without labels, over that of
    iPNDM on Karras' grid, on each problem."""
    return {
        problem: float(np.mean(rows["weights and grid, carried over"]) / rows["iPNDM, Karras' grid"][0])
        for problem, rows in learned_study()["carried"].items()
    }
