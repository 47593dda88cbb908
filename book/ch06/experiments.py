"""Claims of chapter 6: the mean-value idea, AMED-Solver and AMED-Plugin.

In EDM's coordinates (alpha = 1, time is the level kappa) the probability flow is dx/dkappa = eps(x, kappa).
Exact where the model is: on mixtures the trajectory is solved to twelve digits, so that the mean of eps over
a step, which every solver guesses, is known.  Digits start at level 20 and are judged by where Heun's method
with many steps ends.  What takes minutes comes from the recorded study, `recorded("amed")`.
"""

import itertools
import math
from functools import cache

import numpy as np
import torch

from book.claims import claim, recorded, tried_on
from book.problems import ON_COSINE, rms, three_peaks, training_calls
from toolkit import AFS, EDM, VP, Mixture, Network, grids, initial_noise, sample
from toolkit.amed import (
    Predictor,
    amed_plugin,
    amed_solver,
    best_time,
    explained,
    mean_direction,
    teacher_path,
    train_predictor,
)
from toolkit.convergence import reference, slope
from toolkit.data import digits
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpm_solver_2, dpmpp_2m, dpmpp_3m
from toolkit.multistep import ipndm, unipc
from toolkit.networks import DIGITS_SIGMA_DATA, pretrained
from toolkit.ode import edm_heun, euler, heun, midpoint, rk4

DOUBLE = {"dtype": torch.float64}
WIDE = EDM(sigma_max=10.0)
TRIANGLE = Mixture.ring(3, std=0.15)
ON_FIVE_MODES = {"five narrower modes": {"TRIANGLE": Mixture.ring(5, std=0.1)}}
UNEQUAL = Mixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], [0.5, 0.05])
STEP = (2.0, 0.2)  # the one step that is looked at most: from level 2 to level 0.2
TOP = 20.0
CALLS = (3, 4, 5, 6, 7, 9)


def starts(mixture, kappa, n, seed=0):
    """n states (n, d) float64 of the mixture's samples at this level of EDM's."""
    x = mixture.sample(n, seed)
    return x + kappa * initial_noise(*x.shape, seed + 1, **DOUBLE)


# --- the grid, and what a step costs --------------------------------------------------------------------


@claim(
    "BB2, B02",
    source="Blog, its eq. 2",
    says="EDM's formula gives the whole grid of levels, from n = 0 at level 0 to n = N.",
    holds=lambda r: all(abs(v) < 1e-12 for k, v in r.items() if "n = 0" in k),
    verdict=False,
    finding="From n = 1 on. At n = 0 it gives a small number of either sign, 4e-4 for N = 18, and for rho = "
    "2.5, where the rho-th root is negative, -1.8, not even a real one; the level 0 is appended by hand.",
)
@tried_on({"rho = 3": {"rho": 3.0}, "levels from 0.01 to 10": {"low": 0.01, "high": 10.0}})
def grid_formula(counts=(4, 10, 18), rho=7.0, low=0.002, high=80.0) -> dict:
    """The formula of EDM's grid, (low^(1/rho) + (n - 1) / (N - 1) (high^(1/rho) - low^(1/rho)))^rho, at n = 1
    and at n = 0, where the grid should have the level 0; at n = 0 also for rho = 2.5, the root and its power.
    """

    def root(n, count, rho):
        a, b = low ** (1 / rho), high ** (1 / rho)
        return a + (n - 1) / (count - 1) * (b - a)

    result = {f"level at n = {n}, N = {c}": root(n, c, rho) ** rho for c in counts for n in (0, 1)}
    below = root(0, 4, 2.5)
    return result | {
        "rho-th root of the level at n = 0, N = 4, rho = 2.5": below,
        "imaginary part of the level at n = 0, N = 4, rho = 2.5": (below**2.5).imag,
    }


@claim(
    "BB3, B04, B13",
    source="Blog, on Heun's method and on its table",
    says="Heun's method costs two calls a step; an odd number of calls comes from an analytic step.",
    holds=lambda r: r["calls of Heun"] % 2 == 0,
    verdict=False,
    finding="The last step, to level 0, must be Euler's, since the slope there is 0/0. N steps cost 2N - "
    "1 calls, odd without any analytic step. Only a count of calls is fair; here the model counts.",
)
@tried_on({"seven steps": {"steps": 7}})
def calls_of_heun(steps=4) -> dict:
    """Calls of EDM's Heun on a grid that ends at level 0, without an analytic step."""
    times = [*grids.karras(EDM(), steps - 1).tolist(), 0.0]
    x = 80 * initial_noise(4, 2, 0, **DOUBLE)
    run = sample(edm_heun, Mixture.gaussian(2, 0.5).model(EDM()), x, times)
    return {"steps": steps, "calls of Heun": run.nfe}


# --- guesses of the mean direction ----------------------------------------------------------------------

GUESSES = {
    "Euler": (euler, {}),
    "Heun": (heun, {}),
    "arithmetic midpoint": (midpoint, {}),
    "geometric midpoint": (midpoint, {"mean": "geometric"}),
    "RK4": (rk4, {}),
}


@cache
def guess_errors(counts=(4, 8, 16, 32, 64), n=32):
    """Errors at level 0.2 of the classical methods in kappa, from level 2 on the triangle: name -> list, one
    for each number of steps, equal in lambda.
    """
    model, x = TRIANGLE.model(WIDE), starts(TRIANGLE, STEP[0], n)
    end = reference(model, x, *STEP)
    times = [grids.uniform_lambda(WIDE, count, *STEP) for count in counts]
    return {
        name: [rms(sample(loop, model, x, t, variable="sigma", **options).x - end) for t in times]
        for name, (loop, options) in GUESSES.items()
    }


@claim(
    "B01, B05, B07",
    source="Blog, on Euler, Heun, midpoint and higher orders",
    says="As guesses of the mean direction, Euler is of order 1, Heun and both midpoints of order 2, "
    "Runge-Kutta with four calls of order 4.",
    holds=lambda r: all(abs(r[name] - order) < 0.25 for name, order in zip(GUESSES, (1, 2, 2, 2, 4))),
    verdict=True,
    finding="So the slopes measure, on an exact model, as the steps become small. Nothing is said about "
    "one large step: there Heun is the worst of the four with two calls or fewer.",
    figure="guesses-figure",
)
@tried_on(ON_FIVE_MODES)
def guess_orders() -> dict:
    """The orders that these errors show, over the last three counts."""
    return {name: slope((16, 32, 64), errors[-3:]) for name, errors in guess_errors().items()}


def one_large_step():
    """Errors of one step from level 2 to 0.2."""
    return {name: guess_errors((1,))[name][0] for name in GUESSES}


def guess_table():
    """Of each method: the error of one step from level 2 to 0.2, and the order measured; "row | column"."""
    result, orders = {}, guess_orders()
    for name, error in one_large_step().items():
        result |= {f"{name} | error of one large step": error, f"{name} | order": orders[name]}
    return result


LINE = Mixture([0.3, 0.7], [[-1.0], [0.8]], [0.15, 0.25])


@cache
def line_step(nodes=80):
    """One step of a one-dimensional trajectory from level 2 to 0.2: its "kappas", "states" and "slopes",
    (nodes + 1,) each; the "mean" of its slope, and the "share" of the step at which it has that slope; and
    "guesses": method -> (level, what it takes for the mean).
    """
    model, kappas, (start, end) = LINE.model(WIDE), np.linspace(*STEP, nodes + 1), STEP
    x = torch.tensor([[1.9]], dtype=torch.float64)
    states = [x]
    for t, s in zip(kappas, kappas[1:]):
        states.append(reference(model, states[-1], float(t), float(s)))
    slopes = [float(model.eps(state, float(t))) for state, t in zip(states, kappas)]
    at = lambda kappa: float(model.eps(x + (kappa - start) * slopes[0], kappa))
    middle, geometric = (start + end) / 2, (start * end) ** 0.5
    return {
        "kappas": kappas,
        "states": [float(state) for state in states],
        "slopes": slopes,
        "mean": float(mean_direction(model, x, start, end)),
        "share": float(best_time(model, x, start, end)[0]),
        "guesses": {
            "Euler": (start, slopes[0]),
            "Heun": (end, (slopes[0] + at(end)) / 2),
            "arithmetic midpoint": (middle, at(middle)),
            "geometric midpoint": (geometric, at(geometric)),
        },
    }


@claim(
    "BB6",
    source="Blog, on Euler's method",
    says="Euler's method is inaccurate, so the step must not be too small.",
    holds=lambda r: r["32 steps / 64 steps"] < 1,
    verdict=False,
    finding="A slip of the pen: not too large. Halving the step halves the error.",
)
@tried_on(ON_FIVE_MODES)
def euler_halves() -> dict:
    """Error of Euler on each grid over the error with twice the steps."""
    errors = guess_errors()["Euler"]
    counts = (4, 8, 16, 32)
    return {f"{n} steps / {2 * n} steps": a / b for n, a, b in zip(counts, errors, errors[1:])}


@claim(
    "BB5, B03",
    source="Blog, on Euler's method",
    says="Euler's method on the probability flow is DDIM.",
    holds=lambda r: max(r.values()) < 1e-9,
    verdict=False,
    finding="In the variables x / alpha and sigma / alpha it is, to the last digit. In t it is another "
    "method, and on VP far from it.",
)
@tried_on(ON_FIVE_MODES | ON_COSINE | {"12 steps": {"steps": 12}})
def euler_and_ddim(steps=6) -> dict:
    """Distance between DDIM and Euler's method in t and in sigma / alpha, on VP."""
    schedule = VP()
    model, times = TRIANGLE.model(schedule), grids.uniform(schedule, steps)
    x = initial_noise(32, 2, 0, **DOUBLE)
    other = sample(ddim, model, x, times).x
    return {
        "Euler in t": rms(sample(euler, model, x, times).x - other),
        "Euler in sigma / alpha": rms(sample(euler, model, x, times, variable="sigma").x - other),
    }


@claim(
    "B06, AMED",
    source="Blog, on DPM-Solver-2",
    says="The geometric midpoint is DPM-Solver-2; so is AMED-Solver before it has learned.",
    holds=lambda r: max(r.values()) < 1e-11,
    verdict=True,
    finding="To the last digits, on EDM's schedule and on VP: r = 1/2, half-way in lambda.",
)
@tried_on(ON_FIVE_MODES | ON_COSINE | {"10 steps": {"steps": 10}})
def geometric_is_dpm2(steps=5) -> dict:
    """Distances between three ways to write one method, on EDM and on VP."""
    result = {}
    for schedule in (EDM(), VP()):
        model, times = TRIANGLE.model(schedule), grids.karras(schedule, steps)
        x = schedule.sigma(schedule.start) * initial_noise(32, 2, 0, **DOUBLE)
        want = sample(dpm_solver_2, model, x, times).x
        name = type(schedule).__name__
        middle = sample(midpoint, model, x, times, variable="sigma", mean="geometric").x
        result[f"geometric midpoint, {name}"] = rms(middle - want)
        result[f"AMED-Solver untrained, {name}"] = rms(sample(amed_solver, model, x, times).x - want)
    return result


# --- the theorem, and where it fails --------------------------------------------------------------------


@claim(
    "B08, B09",
    source="Blog, on the mean-value theorem",
    says="For a scalar, some level within the step has exactly the mean direction.",
    holds=lambda r: r["one dimension, largest residual"] < 1e-5,
    verdict=True,
    finding="The residual is that of the search. The level differs from sample to sample; in the plane "
    "a residual of some per cent stays, whatever the level.",
)
@tried_on(
    ON_FIVE_MODES | {"three peaks": {"LINE": three_peaks()}, "a step from 5 to 1": {"STEP": (5.0, 1.0)}}
)
def line_and_plane(n=32) -> dict:
    """What the best single level leaves of the mean direction, relative: in one dimension and in two."""
    r, left = best_time(LINE.model(WIDE), starts(LINE, STEP[0], n), *STEP)
    plane = best_time(TRIANGLE.model(WIDE), starts(TRIANGLE, STEP[0], n), *STEP)[1]
    return {
        "one dimension, largest residual": float(left.max()),
        "one dimension, smallest r": float(r.min()),
        "one dimension, largest r": float(r.max()),
        "two dimensions, median residual": float(plane.median()),
        "two dimensions, largest residual": float(plane.max()),
    }


@claim(
    "BB8",
    source="Blog, on the vector mean-value theorem",
    says="Where the mean-value theorem holds for vectors, the trajectory is a straight line.",
    holds=lambda r: r["parabola: nearest velocity, distance"] > 1e-6,
    verdict=False,
    finding="It holds on every interval of a parabola, which is no line. What must be straight is the "
    "curve that the *velocity* draws, p + q phi(t). Then the trajectory is planar and may bend; planar "
    "alone is not enough, as the quarter circle shows.",
    figure="theorem-figure",
)
def curves(nodes=2001) -> dict:
    """Mean velocity on [0, 1] of the quarter circle and the parabola (t, t^2), and the least distance of it
    from a velocity that is taken on.
    """
    t = np.linspace(0, 1, nodes)
    angle = np.pi / 2 * t
    result = {}
    for name, velocity, mean in (
        ("quarter circle", np.stack([np.cos(angle), np.sin(angle)], 1), np.array([2, 2]) / np.pi),
        ("parabola", np.stack([np.ones_like(t), 2 * t], 1), np.array([1.0, 1.0])),
    ):
        result[f"{name}: length of the mean"] = float(np.linalg.norm(mean))
        result[f"{name}: nearest velocity, distance"] = float(np.linalg.norm(velocity - mean, axis=1).min())
    return result | {"2 sqrt(2) / pi": 2 * math.sqrt(2) / math.pi}


@claim(
    "B10",
    source="Blog, on the assumption of AMED",
    says="The mean-value theorem holds along diffusion trajectories.",
    holds=lambda r: max(r.values()) < 1e-5,
    verdict=False,
    finding="Already one Gaussian breaks it: stretched, each axis has its own phi(t). The round one "
    "keeps it. The residual is small, which is what makes the idea useful, but it is not 0.",
)
@tried_on({"a step from 5 to 1": {"STEP": (5.0, 1.0)}, "deviations 1 and 0.5": {"stds": (1.0, 0.5)}})
def stretched_gaussian(n=32, stds=(1.0, 0.1)) -> dict:
    """The residual of the theorem on one Gaussian, round and stretched: their velocities are known."""
    result = {}
    for name, cov in (("round", (1.0, 1.0)), ("stretched", stds)):
        mixture = Mixture([1.0], [[0.0, 0.0]], covariances=torch.diag(torch.tensor(cov, **DOUBLE) ** 2)[None])
        left = best_time(mixture.model(WIDE), starts(mixture, STEP[0], n), *STEP)[1]
        result[f"{name}, largest residual"] = float(left.max())
    return result


SIZES = (1.02, 1.04, 1.08, 1.17, 1.4, 1.7, 2.2, 3.0, 5.0, 10.0)


@cache
def residuals(ratios=SIZES, start=1.0, n=64, share=0.5):
    """Median relative distance from the mean direction over the size of a step from level `start` on the
    triangle, or another quantile, `share`: name -> list, one for each ratio of levels.
    """
    model, x = TRIANGLE.model(WIDE), starts(TRIANGLE, start, n)
    first = model.eps(x, start)
    result = {
        "Euler: the direction at the start": [],
        "r = 1/2: DPM-Solver-2": [],
        "best r, Euler's line": [],
        "best r, exact trajectory": [],
    }
    for ratio in ratios:
        end = start / ratio
        mean = mean_direction(model, x, start, end)
        half = start / math.sqrt(ratio)
        middle = model.eps(x + (half - start) * first, half)
        rows = [(d - mean).norm(dim=1) / mean.norm(dim=1) for d in (first, middle)]
        rows += [best_time(model, x, start, end, along=along)[1] for along in ("euler", "exact")]
        for name, row in zip(result, rows):
            result[name].append(float(row.quantile(share)))
    return result


def best_times(steps=4, n=64):
    """The exact best share r of each step of a grid on the triangle: its levels, and for both kinds of
    candidates an array (steps, n).
    """
    model, kappas = TRIANGLE.model(WIDE), grids.karras(WIDE, steps, 10.0, 0.05).tolist()
    kinds = {"on the exact trajectory": "exact", "on Euler's line": "euler"}
    best = lambda along, t, s: best_time(model, starts(TRIANGLE, t, n), t, s, along=along)[0].numpy()
    return kappas, {
        label: np.array([best(along, t, s) for t, s in zip(kappas, kappas[1:])])
        for label, along in kinds.items()
    }


@claim(
    "B10, one time",
    source="Blog, on AMED-Solver; folklore",
    says="With the right intermediate time, a step of two calls is exact.",
    holds=lambda r: r["best r, exact trajectory | from a level to its tenth"] < 1e-3,
    verdict=False,
    finding="No single time is: what the best one leaves falls with the square of the step, as the "
    "midpoint's own residual does. The gain is in the constant, and it is large for large steps.",
    figure="failure-figure",
)
@tried_on(ON_FIVE_MODES)
def failure() -> dict:
    """How the median residual of the best level falls with the step from level 1, its slope over the three
    smallest steps, and what is left of a step to a tenth of the level; there, too, what one sample in ten
    exceeds, and the median from level 4; names "row | column".
    """
    sizes, result = [1 - 1 / ratio for ratio in SIZES[:3]], {}
    tail, higher = residuals(SIZES[-1:], share=0.9), residuals(SIZES[-1:], start=4.0)
    for name, row in residuals().items():
        result |= {
            f"{name} | slope": -slope(sizes, row[:3]),
            f"{name} | from a level to its tenth": row[-1],
            f"{name} | one in ten, more than": tail[name][0],
            f"{name} | from level 4 to its tenth": higher[name][0],
        }
    return result


@claim(
    "BB9",
    source="Blog, on the predictor",
    says="The intermediate time is a function of the features and of the time where the step starts.",
    holds=lambda r: max(r.values()) - min(r.values()) < 0.01,
    verdict=False,
    finding="Of both ends. From one and the same level r falls as the end moves away, in closed form. "
    "The authors' network is given both, and returns scales of direction and time as well.",
)
def both_ends() -> dict:
    """The exact share r of a step from level 5 on a Gaussian of deviation 1/2, for several ends."""
    result = {}
    for end in (2.0, 1.0, 0.2, 0.05):
        mean = (math.hypot(0.5, end) - math.hypot(0.5, 5.0)) / (end - 5.0)
        kappa = mean * 0.5 / math.sqrt(1 - mean**2)
        result[f"r, from 5 to {end:g}"] = math.log(kappa / 5.0) / math.log(end / 5.0)
    return result


# --- trajectories in few dimensions ---------------------------------------------------------------------


def digits_model(top=80.0):
    """The teacher of chapter 5 without a label, its levels from `top` down."""
    network = pretrained("digits-teacher")
    return Network(network, EDM(sigma_max=top), predicts="edm", sigma_data=DIGITS_SIGMA_DATA)


@cache
def moments():
    """Mean (1, 8, 8) and standard deviation of the training digits."""
    images, _ = digits("train")
    mean = images.mean(0)
    return mean, float((images - mean).std())


def noise(n, seed=0, top=TOP):
    """n starts (n, 1, 8, 8) at level `top`."""
    return initial_noise(n, (1, 8, 8), seed) * top


@cache
def digit_paths(top=80.0, steps=40, n=100):
    """(path (steps + 1, n, 64) float64, levels) of digits by Heun's method, in EDM's coordinates."""
    model = digits_model(top)
    times = grids.karras(model.schedule, steps)
    run = sample(heun, model, noise(n, 0, top), times, keep_path=True, variable="sigma")
    return run.path.double().flatten(2), np.asarray(run.times)


def in_vp(path, kappas):
    """The same states times alpha = 1 / sqrt(1 + kappa^2)."""
    return path / torch.as_tensor(np.hypot(1, kappas))[:, None, None]


def off_the_plane(path, components):
    """The largest distance of a path (N, B, d) from its first principal components, over the length of its
    last state: (B,).
    """
    points = path.transpose(0, 1)
    points = points - points.mean(1, keepdim=True)
    basis = torch.linalg.svd(points, full_matrices=False)[2][:, :components]
    rest = points - points @ basis.transpose(1, 2) @ basis
    return rest.norm(dim=2).max(1).values / path[-1].norm(dim=1)


VIEWS = {"VP coordinates": (80.0, True), "EDM, from 80": (80.0, False), "EDM, from 10": (10.0, False)}


@cache
def shapes():
    """For each way to look at the digits' paths: medians, for 1, 2 and 3 components, of the unexplained share
    of the variance and of `off_the_plane`.
    """
    result = {}
    for name, (top, scaled) in VIEWS.items():
        path, kappas = digit_paths(top)
        path = in_vp(path, kappas) if scaled else path
        share = 1 - explained(path)[:, :3].median(0).values
        result[name] = (share.tolist(), [float(off_the_plane(path, k).median()) for k in (1, 2, 3)])
    return result


@claim(
    "BB12, B19",
    source="Blog, on the PCA of trajectories",
    says="One component explains nearly all of a trajectory, so it is nearly a straight line.",
    holds=lambda r: r["EDM, from 80, 1 comp.: off by, data norms"] < 0.05,
    verdict=False,
    finding="One component explains .99996 of the variance, because the start is at level 80; the same "
    "path leaves that line by a fifth of the digit's own norm. In VP coordinates one component explains "
    ".976. Two components are near the truth in both: nearly a plane, which the theorem needs but which "
    "is not enough for it.",
    figure="pca-figure",
)
def pca() -> dict:
    """Unexplained shares in per cent, and the largest residual in data norms."""
    result = {}
    for name in ("VP coordinates", "EDM, from 80"):
        share, off = shapes()[name]
        for k in (1, 2):
            result[f"{name}, {k} comp.: unexplained, %"] = round(
                100 * share[k - 1], 4 if share[0] < 0.01 else 2
            )
            result[f"{name}, {k} comp.: off by, data norms"] = round(off[k - 1], 2)
    return result


def seen_on_the_way(name):
    """The network's prediction x_0 ("prediction") or its eps ("velocity") at the 41 states of the digits'
    paths from level 80, (41, 100, 64) float64.
    """
    path, kappas = digit_paths()
    model = digits_model()
    ask = {"prediction": model.x0, "velocity": model.eps}[name]
    states = path.reshape(*path.shape[:2], 1, 8, 8).float()
    return torch.stack([ask(x, float(t)) for x, t in zip(states, kappas)]).double().flatten(2)


def own_plane(path, which=0):
    """One path of (N, B, d) in its own first two principal components: (N, 2), in the units of its states."""
    points = path[:, which] - path[:, which].mean(0)
    return (points @ torch.linalg.svd(points, full_matrices=False)[2][:2].T).numpy()


def three_curves(which=4):
    """One digit's path in VP coordinates, its prediction and its velocity, each in its own two components
    and over its norm (the finished digit's; the way of the prediction; the mean speed): label -> (41, 2).
    And the levels.
    """
    path, kappas = digit_paths()
    path = in_vp(path, kappas)
    x0, eps = seen_on_the_way("prediction"), seen_on_the_way("velocity")
    way = x0[:, which].diff(dim=0).norm(dim=1).sum()
    return {
        "path": own_plane(path, which) / float(path[-1, which].norm()),
        "prediction": own_plane(x0, which) / float(way),
        "velocity": own_plane(eps, which) / float(eps[:, which].norm(dim=1).mean()),
    }, kappas


@cache
def prediction_path():
    """Of the network's prediction x_0 and of the velocity eps at the 41 states of a digit's trajectory from
    level 80: the share of the variance that one and two components explain, and the largest distance from the
    best line, over the length of the way (x_0) or over the mean speed (eps).  Medians.
    """
    result, seen = {}, {name: seen_on_the_way(name) for name in ("prediction", "velocity")}
    for name, values in seen.items():
        share = explained(values)[:, :2].median(0).values.tolist()
        off = off_the_plane(values, 1) * values[-1].norm(dim=1)
        way = values.diff(dim=0).norm(dim=2).sum(0) if name == "prediction" else values.norm(dim=2).mean(0)
        result |= {f"{name}, {k} comp.: explained": round(v, 2) for k, v in zip((1, 2), share)}
        unit = "its length" if name == "prediction" else "the mean speed"
        result[f"{name}, off its best line, of {unit}"] = round(float((off / way).median()), 2)
    return result


def length_over_chord(path):
    """Median over the paths (N, B, d)."""
    return float(((path.diff(dim=0)).norm(dim=2).sum(0) / (path[-1] - path[0]).norm(dim=1)).median())


@claim(
    "BB13, B20",
    source="Blog, closing section",
    says="alpha x_0 + sigma eps is linear in x_0 and eps, so these pseudo-trajectories are straight.",
    holds=lambda r: r["held fixed, VP"] < 1.001,
    verdict=False,
    finding="In EDM's coordinates they are. In VP alpha^2 + sigma^2 = 1 makes each an arc of an ellipse, "
    "for orthogonal ends of equal length a quarter circle. Straightness belongs to coordinates.",
)
def pseudo_paths() -> dict:
    """Length over chord of alpha x_0 + sigma eps with both held fixed, eps at right angles to x_0 and as
    long, and of the digits' own paths.
    """
    path, kappas = digit_paths()
    x0 = torch.zeros(1, 1, 2, **DOUBLE)
    x0[..., 0] = 1.0
    kappa = torch.logspace(4, -4, 4001, **DOUBLE)[:, None, None]
    straight = x0 + kappa * x0.flip(2)
    return {
        "held fixed, EDM": length_over_chord(straight),
        "held fixed, VP": length_over_chord(straight / (1 + kappa**2).sqrt()),
        "pi / (2 sqrt 2)": math.pi / 2 / math.sqrt(2),
        "digits, EDM": round(length_over_chord(path), 3),
        "digits, VP": round(length_over_chord(in_vp(path, kappas)), 2),
    }


# --- learning the time ----------------------------------------------------------------------------------


def draw_step(generator, n=128):
    """n states of the unequal pair at the level where the step starts, float32."""
    side = torch.randint(2, (n,), generator=generator)
    spread = torch.hypot(UNEQUAL.stds[side].float(), torch.tensor(STEP[0]))
    z = torch.randn(n, 2, generator=generator)
    return UNEQUAL.means[side].float() + spread[:, None] * z


KINDS = {
    "no features": {},
    "layer norm": {"feature_size": 2},
    "features": {"feature_size": 2, "normalise": False, "width": 64, "code": 16},
}


@cache
def learned(kind="features", seed=0, steps=None):
    """A predictor of the one step on the unequal pair, trained on the spot: its net.  No scales."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        predictor = Predictor(direction_range=0, level_range=0, **KINDS[kind])
    model = UNEQUAL.model(WIDE)
    steps = steps or (500 if kind == "features" else 80)
    how = dict(steps=steps, lr=1e-2, substeps=6, seed=seed)
    return train_predictor(predictor, model, list(STEP), draw_step, **how).net


class Exactly(Predictor):
    """A predictor that says the given shares (n,), one a sample."""

    def __init__(self, shares):
        super().__init__()
        self.shares = shares

    def forward(self, features, start, end, n):
        return self.shares, torch.ones(n), torch.ones(n)


@cache
def one_step_truth(n=400, seed=6):
    """(model, starts (n, 2), exact ends, exact best r (n,)) of the one step."""
    model, x = UNEQUAL.model(WIDE), starts(UNEQUAL, STEP[0], n, seed)
    return model, x, reference(model, x, *STEP), best_time(model, x, *STEP, along="euler")[0]


def said(kind, x=None):
    """r (n,) float64 that a learned predictor says at x, by default the fresh starts."""
    model, fresh, _, _ = one_step_truth()
    x = fresh if x is None else x
    features = model.eps_and_features(x, STEP[0])[1]
    predictor = learned(kind)
    with torch.no_grad():
        return predictor(features, *STEP, len(x))[0].double()


def best_and_learned():
    """The exact best r of each fresh start, (n,), and what three predictors say: dict title -> (n,)."""
    titles = {"no features": "no features", "layer norm": "two, layer-normed", "features": "two, as they are"}
    return one_step_truth()[3], {title: said(kind) for kind, title in titles.items()}


WIDGET_SAMPLES = 40  # starts among which the widget chooses


@cache
def _of_all_starts():
    """What a move of the widget needs of all starts: shares (101,), their exact states there (101, 40, 2),
    the shares learned (n,), and by (candidates, number of steps) the ends at each share, (101, 40, 2), or at
    every second one, (51, 40, 2), of two steps, where the others lie between two of those states.
    """
    model, x, _, _ = one_step_truth()
    shares = np.linspace(0, 1, 101)
    path, kappas = [x[:WIDGET_SAMPLES]], np.geomspace(*STEP, len(shares))
    for t, s in zip(kappas, kappas[1:]):
        path.append(reference(model, path[-1], float(t), float(s)))
    ends = {}
    for along, steps in itertools.product(("Euler's line", "exact path"), (1, 2)):
        ways = [_walk(model, path, share, steps, along)[0] for share in shares[::steps]]
        ends[along, steps] = torch.stack([states[-1] for states in ways])
    return shares, torch.stack(path), said("features"), ends


def _walk(model, path, share, steps, along):
    """(states at the ends of so many steps, the start first; where the direction of each was asked): at this
    share of the step, on Euler's line, or at the nearest of the states of the exact path (101, ..., 2).
    """
    levels, states, asked = np.geomspace(*STEP, steps + 1).tolist(), [path[0]], []
    for i, (t, s) in enumerate(itertools.pairwise(levels)):
        kappa = t ** (1 - share) * s**share
        if along == "exact path":
            asked.append(path[_index(i + share, steps)])
        else:
            asked.append(states[-1] + (kappa - t) * model.eps(states[-1], t))
        states.append(states[-1] + (s - t) * model.eps(asked[-1], kappa))
    return states, asked


def _index(way, steps):
    """The place in the widget's exact path after `way` of so many steps."""
    return round(100 * way / steps)


def one_step(r, sample_number, along="Euler's line", steps=1):
    """What the chapter's widget draws of the one step of a sample, or of two that lead as far, each with its
    middle level at "share" r on Euler's line or on the exact path: the "kappas" of the ends; the exact "path"
    (n, 2) and its "end" (2,); where the directions were "asked" (steps, 2), the "ways" to there, and the
    steps "made" with them, (steps + 1, 2), from the start; the "error"; "errors", a pair (shares, errors);
    the "best" share, the one "learned", for one step; and the "mixture".
    """
    model, _, end, best = one_step_truth()
    shares, path, learned, ends = _of_all_starts()
    k, shares = int(sample_number), shares[::steps]
    path, end = path[:, k : k + 1], end[k]
    errors = (ends[along, steps][:, k] - end).norm(dim=1)
    states, asked = _walk(model, path, r, steps, along)
    if along == "exact path":
        ways = [path[_index(i, steps) : _index(i + r, steps) + 1, 0] for i in range(steps)]
    else:
        ways = [torch.cat(way) for way in zip(states, asked)]
    exact = best[k] if (along, steps) == ("Euler's line", 1) else shares[int(errors.argmin())]
    return {
        "share": r,
        "along": along,
        "kappas": STEP,
        "path": path[:, 0].numpy(),
        "end": end,
        "asked": torch.cat(asked),
        "ways": ways,
        "made": torch.cat(states),
        "error": float((states[-1][0] - end).norm()),
        "errors": (shares, errors.tolist()),
        "best": float(exact),
        "learned": float(learned[k]) if steps == 1 else None,
        "mixture": UNEQUAL,
    }


def step_errors(**predictors):
    """Root mean square error of the one step on fresh starts: name -> predictor."""
    model, x, end, _ = one_step_truth()
    return {
        name: rms(sample(amed_solver, model, x, list(STEP), predictor=predictor).x - end)
        for name, predictor in predictors.items()
    }


@claim(
    "B11",
    source="Blog, on AMED-Solver",
    says="A small network can read the best intermediate time off the model's features.",
    holds=lambda r: r["error, features"] < 0.7 * r["error, no features"],
    verdict=True,
    finding="On two clusters of unequal width it takes two fifths off the error of one time for all; each "
    "sample's exact best would take nearly three. But only if the features arrive: a layer norm in front of "
    "two of them leaves one bit, and nothing is gained.",
    figure="learned-figure",
)
@tried_on({"two other clusters": {"UNEQUAL": Mixture([0.7, 0.3], [[-1.0, 0.0], [1.0, 0.5]], [0.3, 0.1])}})
def what_is_learned() -> dict:
    """Errors of the one step: untrained, learned in three ways, and with the exact best r of each sample; and
    the correlation of learned and exact r.
    """
    best = one_step_truth()[3]
    predictors = {"r = 1/2": None} | {kind: learned(kind) for kind in KINDS} | {"exact best r": Exactly(best)}
    result = {f"error, {name}": round(v, 2) for name, v in step_errors(**predictors).items()}
    alike = torch.corrcoef(torch.stack([best, said("features")]))[0, 1]
    return result | {"correlation of learned and exact r": round(float(alike), 1)}


@claim(
    "B12",
    source="Blog, on training with the teacher's trajectories",
    says="A teacher's trajectories teach the time in seconds, and it holds on fresh noise.",
    holds=lambda r: r["trained"] < 0.5 * r["untrained"],
    verdict=True,
    finding="On noise that it has not seen the error falls several times below DPM-Solver-2's, which is "
    "where training starts: to a ninth with three modes. With five narrower modes it only halves, which is "
    "not enough for the claim. And that is a low bar in few steps: see the controls.",
)
@tried_on(ON_FIVE_MODES)
@cache
def trained_twice(seed=0) -> dict:
    """RMSE to the flow's end after two steps on the triangle, untrained and trained, on fresh noise, for the
    solver and for the plugin on DDIM.
    """
    times = grids.karras(WIDE, 2).tolist()
    model, fresh = TRIANGLE.model(WIDE), 10.0 * initial_noise(1000, 2, 100 + seed)
    end = teacher_path(model, fresh, times, 64)[-1]
    predictor = Predictor(0)
    draw = lambda generator: 10.0 * torch.randn(128, 2, generator=generator)
    net = train_predictor(predictor, model, times, draw, steps=200, seed=seed).net
    before, after = (rms(sample(amed_solver, model, fresh, times, predictor=p).x - end) for p in (None, net))
    return {"untrained": round(before, 2), "trained": round(after, 2)}


# --- the analytic first step ----------------------------------------------------------------------------


def stand_ins(top, n=500):
    """Relative error, against the network at level `top`, of what may stand in for eps on digits."""
    model, x = digits_model(top), noise(n, 3, top)
    eps = model.eps(x, top)
    known = AFS(model, *moments())
    known.begin()
    error = lambda guess: float((guess - eps).norm() / eps.norm())
    return {
        "x": error(x),
        "x / σ": error(x / top),
        "x / √(1 + σ²)": error(x / math.hypot(1, top)),
        "with mean and deviation": error(known.eps(x, top)),
    }


def stand_ins_by_level(tops=(80, 40, 20, 10, 5, 2, 1)):
    """(levels, errors): `stand_ins` against the level where the run starts, dict label -> list."""
    rows = [stand_ins(float(top), 300) for top in tops]
    return tops, {name: [row[name] for row in rows] for name in ("x / σ", "with mean and deviation")}


@claim(
    "BB10, B17",
    source="Blog, on the analytic first step",
    says="At the start the velocity is very close to x itself, which can stand in for it.",
    holds=lambda r: r["EDM: x"] < 0.05,
    verdict=False,
    finding="In EDM's coordinates x is 80 times too long; x / sigma is meant, and the data's mean and "
    "deviation make it better still. In VP x is close to eps, but the velocity is a small difference of "
    "two long vectors, and x is nowhere near it: 5,000 times too long for data centred at 0, forty times "
    "for the same data moved.",
    figure="afs-figure",
)
@tried_on(ON_FIVE_MODES | ON_COSINE)
def first_step() -> dict:
    """The stand-ins at level 80, in VP too: x for eps, and x for the velocity, on a mixture of three centred
    at 0 and on the same moved by (0.5, -0.3), where both are known.
    """
    result = {f"EDM: {name}": round(v, 4 if v < 1 else 1) for name, v in stand_ins(80.0).items()}
    schedule = VP()
    t, x = schedule.start, initial_noise(200, 2, 0, **DOUBLE)
    moved = Mixture(TRIANGLE.weights, TRIANGLE.means + torch.tensor([0.5, -0.3], **DOUBLE), TRIANGLE.stds)
    for name, mixture in (("centred data", TRIANGLE), ("data off the centre", moved)):
        eps = mixture.model(schedule).eps(x, t)
        velocity = schedule.f(t) * x + schedule.g2(t) / 2 / schedule.sigma(t) * eps
        result[f"VP, {name}: x for eps"] = float((x - eps).norm() / eps.norm())
        result[f"VP, {name}: x for the velocity"] = float((x - velocity).norm() / velocity.norm())
    return result


@cache
def analytic_runs(tops=(80.0, 40.0, 20.0, 10.0, 5.0, 2.0), steps=6, n=300):
    """RMS change of six steps of iPNDM's digits when the first call is analytic, over their own error: name
    -> list, one for each level of the start.
    """
    result = {"plain (mean 0, deviation 1)": [], "with mean and deviation": []}
    for top in tops:
        model, x = digits_model(top), noise(n, 3, top)
        times = grids.karras(model.schedule, steps)
        want = sample(ipndm, model, x, times).x
        for name, about in zip(result, ((0.0, 1.0), moments())):
            result[name].append(rms(sample(ipndm, AFS(model, *about), x, times).x - want))
    return result


@claim(
    "B17",
    source="Folklore on the analytic first step",
    says="The first call can be had for nothing.",
    holds=lambda r: max(v for k, v in r.items() if k.startswith("with mean")) < 0.05,
    verdict=False,
    finding="Nearly, told the data's mean and deviation: from 80 to 5 the digits move by .01 to .04, "
    "without the two by three to nine times as much. From level 2, where a sample shows its digit, they "
    "move by .11. And .2 % of a direction is not little when the step is 40 units long.",
)
def afs_when() -> dict:
    """What the analytic step changes in the digits, from level 80 down to 2."""
    tops = (80, 40, 20, 10, 5, 2)
    result = analytic_runs()
    return {f"{name}, from {top}": round(v, 3) for name, row in result.items() for top, v in zip(tops, row)}


# --- few calls ------------------------------------------------------------------------------------------


@cache
def digit_ends(n=200, seed=5):
    """Where the exact flow ends, from `noise(n, seed)`."""
    model = digits_model(TOP)
    return teacher_path(model, noise(n, seed), grids.karras(model.schedule, 6), 24)[-1]


def crossing():
    """Recorded: RMSE on 2,000 digits, the mean over three noises, of solvers as they stand: name -> {calls:
    RMSE}, of those of two calls a step at even counts.
    """
    found = recorded("amed")["few calls"]
    return {name: {int(c): float(np.mean(each)) for c, each in row.items()} for name, row in found.items()}


@claim(
    "BB11, B15",
    source="Blog, on why first order wins with few calls",
    says="With few calls a second-order method is worse than a first-order one, because its error is "
    "O(h^2) with h large.",
    holds=lambda r: all(
        r[f"{name}, 6 calls"] > r["DDIM, 6 calls"]
        for name in ("Heun", "DPM-Solver-2", "DPM-Solver++ 2M", "iPNDM")
    ),
    verdict=False,
    finding="True of methods that pay two calls a step, hence walk half as many steps, with noise "
    "prediction: they lead by ten calls and by fourteen. 2M and iPNDM pay one call a step: at four calls "
    "iPNDM leads and 2M is level, by five both lead. It is the price of a step and the constant that "
    "decide, not the order.",
    figure="crossing-figure",
)
def order_misleads() -> dict:
    """RMSE at 4, 5 and 6 calls, and the fewest calls from which on each second-order solver beats DDIM."""
    errors = crossing()
    result = {f"{name}, {c} calls": row[c] for name, row in errors.items() for c in (4, 5, 6) if c in row}
    for name in ("Heun", "DPM-Solver-2", "DPM-Solver++ 2S", "DPM-Solver++ 2M", "iPNDM"):
        counts = [c for c in errors[name] if c in errors["DDIM"]]
        loses = [c for c in counts if errors[name][c] > errors["DDIM"][c]]
        result[f"{name} beats DDIM from, calls"] = min(c for c in counts if c > max(loses, default=0))
    return result


# --- digits: training, the teacher, and the recorded study ----------------------------------------------


def student_of(calls, start=TOP):
    """(model, grid) of a method with two calls a step; with an odd number of calls the first is analytic."""
    model = digits_model(start)
    times = grids.karras(model.schedule, (calls + 1) // 2)
    return AFS(model, *moments()) if calls % 2 else model, times


def draw_digits(generator, n=64):
    """Starts for training, (n, 1, 8, 8)."""
    return TOP * torch.randn(n, 1, 8, 8, generator=generator)


@cache
def trained_digits(calls=3, base=None, substeps=4, steps=250, seed=0):
    """A predictor without features for digits, trained on the spot: its net."""
    model, times = student_of(calls)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        predictor = Predictor(0)
    how = dict(base=base, substeps=substeps, steps=steps, seed=seed)
    return train_predictor(predictor, model, times, draw_digits, **how).net


def three_calls(n=8, seed=23):
    """Digits by three calls of four methods from the same noise, and first where the flow ends: label -> (n,
    1, 8, 8).  A star: an analytic first step.  The plugin is trained on the spot.
    """
    model, times = student_of(3)
    bare, x = digits_model(TOP), noise(n, seed)
    finer = grids.karras(model.schedule, 4)
    plugged = {"predictor": trained_digits(3, "ipndm", steps=120), "base": "ipndm"}
    return {
        "the flow": teacher_path(bare, x, times, 24)[-1],
        "DDIM": sample(ddim, bare, x, grids.karras(model.schedule, 3)).x,
        "DPM-Solver-2 *": sample(amed_solver, model, x, times).x,
        "iPNDM *": sample(ipndm, AFS(bare, *moments()), x, finer).x,
        "plugged iPNDM *": sample(amed_plugin, model, x, times, **plugged).x,
    }


@claim(
    "B12, teacher",
    source="Official code of AMED, recommended settings of AMED-Solver (Heun, M = 1)",
    says="Two Heun substeps an interval are teacher enough.",
    holds=lambda r: (
        r["2 substeps: the student, from the flow"] < 1.2 * r["4 substeps: the student, from the flow"]
    ),
    verdict=False,
    finding="In two intervals such a teacher is itself .26 from the flow, and its student as far: twice "
    "the error of a student of four substeps. By its own teacher's ruler it beats untrained iPNDM, .20 "
    "against .25; by the flow it loses, .27 against .13. That is how the mistake is missed. On the "
    "official grid the same recipe is no nearer to the flow.",
)
@cache
def biased(n=300) -> dict:
    """RMSE of AMED-Solver with three calls, trained by a teacher of 2 and of 4 substeps an interval: from its
    own teacher, and from the flow; that teacher's own error; and, as the control, untrained iPNDM with an
    analytic start and as many calls by the same rulers.  Last, recorded, the teacher of 2 substeps as the
    official code has it, on the grid uniform in time, with two intervals and with three.
    """
    model, times = student_of(3)
    x = noise(n, 11)
    truth, result = teacher_path(digits_model(TOP), x, times, 48)[-1], {}
    control = sample(ipndm, model, x, grids.karras(model.schedule, 4)).x
    for substeps in (2, 4):
        own = teacher_path(digits_model(TOP), x, times, substeps)[-1]
        net = trained_digits(3, None, substeps)
        made = sample(amed_solver, model, x, times, predictor=net).x
        name = f"{substeps} substeps"
        result[f"{name}: the teacher, from the flow"] = round(rms(own - truth), 2)
        result[f"{name}: the student, from its teacher"] = round(rms(made - own), 2)
        result[f"{name}: the student, from the flow"] = round(rms(made - truth), 2)
        result[f"{name}: iPNDM, from this teacher"] = round(rms(control - own), 2)
        result[f"{name}: iPNDM, from the flow"] = round(rms(control - truth), 2)
    official = recorded("amed")["official teacher"]
    for calls, intervals in ((3, 2), (5, 3)):
        name = f"2 substeps, official grid, {intervals} intervals: the teacher, from the flow"
        result[name] = round(official[str(calls)], 2)
    return result


def shares_said(calls=3):
    """The shares r that AMED-Solver without features, trained on the spot, says at the steps of its grid."""
    predictor, (_, times) = trained_digits(calls, None, 4), student_of(calls)
    with torch.no_grad():
        return [float(predictor(None, float(t), float(s), 1)[0]) for t, s in zip(times, times[1:])]


ONE_CALL = {
    "iPNDM": (ipndm, {}),
    "DPM-Solver++ 2M, lower last": (dpmpp_2m, {"lower_last": True}),
    "DDIM": (ddim, {}),
}


def searched_levels(calls=3):
    """Recorded: the grid that the first search found for iPNDM with an analytic start, (calls + 2) levels."""
    return recorded("amed")["table"][str(calls)][SEARCHED]["each"][0]["levels"]


@cache
def _grid_noise(n=100, seed=11):
    """What a move of the grid's widget needs: (starts, where the flow ends from them)."""
    x = noise(n, seed)
    return x, teacher_path(digits_model(TOP), x, grids.karras(digits_model(TOP).schedule, 6), 16)[-1]


@cache
def _on_grid(solver, levels):
    """(digits, their RMSE to the flow's end) by a solver with an analytic start on these levels."""
    loop, options = ONE_CALL[solver]
    x, end = _grid_noise()
    made = sample(loop, AFS(digits_model(TOP), *moments()), x, list(levels), **options).x
    return made, rms(made - end)


def three_levels(upper, middle, lower, solver="iPNDM"):
    """What the grid's widget draws of three calls with an analytic start: "levels", label -> the five levels
    of Karras's grid, of the searched one and of the reader's; "errors", label -> RMSE; and "digits", label ->
    (8, 1, 8, 8), of the flow and of the reader's grid.
    """
    levels = {
        "Karras": tuple(grids.karras(digits_model(TOP).schedule, 4).tolist()),
        "searched, for iPNDM": tuple(searched_levels()),
        "yours": (TOP, float(upper), float(middle), float(lower), 0.002),
    }
    return {
        "levels": levels,
        "errors": {label: _on_grid(solver, grid)[1] for label, grid in levels.items()},
        "digits": {"the flow": _grid_noise()[1][:8], "yours": _on_grid(solver, levels["yours"])[0][:8]},
        "solver": solver,
    }


LEARNED = ("AMED-Solver", "AMED-Plugin, DDIM", "AMED-Plugin, iPNDM", "AMED-Plugin, DPM-Solver++ 2M")
PLUGIN_TWO = "AMED-Plugin, DPM-Solver-2"  # four calls a step, so not at every count
LOWER = tuple(f"{name}, lower last" for name in ("DPM-Solver++ 2M", "DPM-Solver++ 3M", "UniPC"))
PLAIN = ("DDIM", "Heun", "DPM-Solver-2", "DPM-Solver++ 2M", "DPM-Solver++ 3M", "UniPC", "iPNDM", *LOWER)
STARTED = tuple(f"{name}, analytic start" for name in PLAIN if name not in ("Heun", "DPM-Solver-2"))
SEARCHED = "iPNDM, analytic start, searched grid"
ON_SEARCHED = "AMED-Plugin, iPNDM, searched levels"  # at odd counts
PAPER = {  # Zhou et al. 2024, table 2, CIFAR-10, Fréchet Inception distance at 3, 5, 7 and 9 calls
    "DDIM": (93.36, 49.66, 27.93, 18.43),
    "Heun": (306.2, 97.67, 37.28, 15.76),
    "DPM-Solver-2": (155.7, 57.30, 10.20, 4.98),
    "DPM-Solver++ 3M": (110.0, 24.97, 6.74, 3.42),
    "UniPC": (109.6, 23.98, 5.83, 3.21),
    "iPNDM": (47.98, 13.59, 5.08, 3.17),
    "AMED-Solver": (18.49, 7.59, 4.36, 3.67),
    "AMED-Plugin, iPNDM": (10.81, 6.61, 3.65, 2.63),
}


def study(key="rmse"):
    """The recorded study: name -> {calls: value}, for the calls at which the method was run."""
    table = recorded("amed")["table"]
    names = dict.fromkeys(name for row in table.values() for name in row)
    return {name: {int(c): table[c][name][key] for c in table if name in table[c]} for name in names}


def best_of(names, calls, key="rmse"):
    """(value, name) of the best of these methods."""
    result = study(key)
    return min((result[name][calls], name) for name in names if calls in result[name])


def controls(calls=3):
    """The recorded study with three calls, the worst first: label -> (RMSE, kind), the kind
    "nothing chosen", "searched" or "learned"; a star where the first step is analytic.
    """
    table = study()
    rows = {
        "DPM-Solver-2: r = 1/2 *": ("DPM-Solver-2", "nothing chosen"),
        "one share for all steps *": ("best fixed time", "searched"),
        "best plain solver: 3M, lower last": (best_of(PLAIN, calls)[1], "nothing chosen"),
        "untrained plugin on iPNDM *": ("AMED-Plugin, iPNDM, untrained", "nothing chosen"),
        "iPNDM *": ("iPNDM, analytic start", "nothing chosen"),
        "one share a step: two numbers *": ("one share a step", "searched"),
        "AMED-Solver, no features *": ("AMED-Solver, no features", "learned"),
        "AMED-Solver, features *": ("AMED-Solver", "learned"),
        "iPNDM, searched grid: three numbers *": (SEARCHED, "searched"),
        "AMED-Plugin on iPNDM *": ("AMED-Plugin, iPNDM", "learned"),
    }
    return {label: (table[name][calls], kind) for label, (name, kind) in rows.items()}


def flow(key="rmse"):
    """The recorded value of the flow itself: where every solver of many steps ends."""
    return recorded("amed")["flow"][key]


def starred(name):
    """A method's name as the tables say it: with a star where its first step is analytic at odd counts,
    which is so of all that make two calls a step.
    """
    paired = name in ("Heun", "DPM-Solver-2", "best fixed time", "one share a step") or "AMED" in name
    return name + " *" * paired


MAIN_ROWS = (
    "DDIM", "DPM-Solver-2", "DPM-Solver++ 2M", "DPM-Solver++ 3M, lower last", "iPNDM",
    "iPNDM, analytic start", SEARCHED, "best fixed time", "one share a step", "AMED-Solver",
    "AMED-Plugin, iPNDM", ON_SEARCHED,
)  # fmt: skip
ALL_ROWS = (
    *PLAIN,
    *STARTED,
    SEARCHED,
    "best fixed time",
    "one share a step",
    *(f"AMED-Plugin, {base}, untrained" for base in ("DDIM", "iPNDM", "DPM-Solver++ 2M")),
    *LEARNED,
    ON_SEARCHED,
    PLUGIN_TWO,
    "AMED-Solver, no features",
    "AMED-Solver, greedy",
    "AMED-Plugin, iPNDM, greedy",
)


def study_table(key="rmse", rows=ALL_ROWS, places=3):
    """Recorded: the flow itself and these methods at each number of calls; names "row | calls"."""
    result = {f"the flow itself | {c}": f"{flow(key):.{places}f}" for c in CALLS}
    table = study(key)
    return result | {
        f"{starred(name)} | {c}": f"{table[name][c]:.{places}f}" if c in table[name] else "–"
        for name in rows
        for c in CALLS
    }


def beside_the_paper():
    """Recorded Fréchet distances on digits, and the paper's on CIFAR-10; names "row | column"."""
    table = study("frechet")
    counts = (3, 5, 7, 9)
    return {
        f"{name} | {where}, {c} calls": f"{value:.2f}"
        for name, row in PAPER.items()
        for where, values in (("digits", [table[name][c] for c in counts]), ("CIFAR-10", row))
        for c, value in zip(counts, values)
    }


def searches(calls=3):
    """Recorded: eight searches on 300 noises each, for one share a step and for the levels of iPNDM's grid,
    judged on fresh noise, beside three trainings of the learned methods; names "row | column".
    """
    found = recorded("amed")["table"][str(calls)]
    result = {}
    for name in ("one share a step", "AMED-Solver", SEARCHED, "AMED-Plugin, iPNDM"):
        each = found[name]["each"]
        row = f"{name}, {len(each)} {'trainings' if 'AMED' in name else 'searches'}"
        for key, label, places in (("rmse", "RMSE", 4), ("frechet", "FD", 2)):
            values = [run[key] for run in each]
            result[f"{row} | {label}, least"] = f"{min(values):.{places}f}"
            result[f"{row} | {label}, most"] = f"{max(values):.{places}f}"
        chosen = [run.get("shares") or run.get("levels", [])[1:-1] for run in each]
        said = zip(*chosen) if chosen[0] else ()
        result[f"{row} | found"] = ", ".join(f"{min(v):.2g} to {max(v):.2g}" for v in said) or "–"
    return result


def from_levels():
    """Recorded: RMSE from other first levels, 80, where the paper starts, and 5; names "row | column"."""
    found = {(top, c): row for top in (80, 5) for c, row in recorded("amed")[f"from {top}"].items()}
    result = {}
    for name in ("iPNDM, analytic start", SEARCHED, "AMED-Plugin, iPNDM"):
        label = f"{name}, least of three trainings" if "Plugin" in name else name
        for (top, calls), row in found.items():
            value = row[name]
            result[f"{label} | from {top}, {calls} calls"] = min(value) if isinstance(value, list) else value
    return result


def contrasts(key):
    """Recorded: row -> number of one kind, "contrast", "frechet" or that at another contrast."""
    return {name: row[key] for name, row in recorded("amed")["contrast"].items() if key in row}


def contrast_table():
    """Recorded: the contrast of images, their Fréchet distance, and the same once each sample is stretched
    about the mean image to the contrast of the flow's samples and to the data's; names "row | column".
    """
    heads = {
        "contrast": "contrast",
        "frechet": "FD",
        "frechet at the flow's contrast": "FD at the flow's contrast",
        "frechet at the data's contrast": "FD at the data's contrast",
    }
    names = recorded("amed")["contrast"]
    return {
        f"{name} | {head}": contrasts(key)[name]
        for name in names
        for key, head in heads.items()
        if name in contrasts(key)
    }


# --- the official grid ----------------------------------------------------------------------------------

GRIDS = {"Karras": "table", "uniform in time": "uniform time"}
GRID_ROWS = (
    "DDIM", "DPM-Solver++ 2M", "iPNDM", "iPNDM, analytic start", "UniPC, lower last, analytic start",
    "one share a step", "AMED-Solver, no features",
)  # fmt: skip


def on_grid(name, grid, key="rmse"):
    """Recorded: a method's values on one of `GRIDS`, calls -> value."""
    found = recorded("amed")[GRIDS[grid]]
    return {c: found[str(c)][name][key] for c in CALLS if name in found[str(c)]}


def two_grids(key="rmse", rows=GRID_ROWS):
    """Recorded: method -> grid -> {calls: value}."""
    return {name: {grid: on_grid(name, grid, key) for grid in GRIDS} for name in rows}


def two_grids_table(key="rmse", places=3):
    """Recorded: every method that was run on both grids; names "row | column"."""
    return {
        f"{starred(name)} | {c}, {grid}": f"{values[c]:.{places}f}" if c in values else "–"
        for name, pair in two_grids(key, (*PLAIN, *STARTED, *GRID_ROWS[-2:])).items()
        for c in CALLS
        for grid, values in pair.items()
    }


def grid_moves(key="rmse"):
    """Recorded, of the 18 solvers that have nothing to learn: by what factor the change of the grid moves
    one, in the median and at most; how many are better on the grid uniform in time; the best on each; and
    AMED-Solver without features, trained on each.
    """
    result, learned = {}, "AMED-Solver, no features"
    found = two_grids(key, (*PLAIN, *STARTED, learned))
    for c in CALLS:
        rows = {name: [pair[grid][c] for grid in GRIDS] for name, pair in found.items()}
        own = rows.pop(learned)
        factors = [max(a / b, b / a) for a, b in rows.values()]
        best = [min(values) for values in zip(*rows.values())]
        result |= {
            f"the grid moves a solver by, median: {c} calls": float(np.median(factors)),
            f"the grid moves a solver by, at most: {c} calls": max(factors),
            f"better on uniform in time, of {len(rows)}: {c} calls": sum(b < a for a, b in rows.values()),
            f"the solver in the middle / the best, Karras: {c} calls": float(
                np.median([a for a, _ in rows.values()]) / best[0]
            ),
        }
        for i, grid in enumerate(GRIDS):
            result |= {
                f"the best of these, {grid}: {c} calls": best[i],
                f"AMED-Solver, {grid}: {c} calls": own[i],
            }
    return result


@claim(
    "B14",
    source="Blog, on table 2 of the AMED paper",
    says="With 3 to 9 calls the learned time beats every untrained solver.",
    holds=lambda r: all(v > 1 for k, v in r.items() if "plain" in k or "analytic" in k),
    verdict=False,
    finding="The plugin on iPNDM beats every plain one, by a factor of two at three calls; AMED-Solver "
    "does so only at three and four. Give all the analytic first step, which costs no training, and 1.4 "
    "remain; iPNDM with it is better at six and nine calls, the plugin up to five and at seven.",
    figure="table-figure",
)
def gains() -> dict:
    """How many times below in RMSE: the best learned method than the best untrained solver, than the same
    with an analytic start for all, and than iPNDM on a searched grid; AMED-Solver than the best fixed time
    and than one share for each step.
    """
    result, table = {}, study()
    for calls in table["DDIM"]:
        learned_best, solver = best_of(LEARNED, calls)[0], table["AMED-Solver"][calls]
        ratios = {
            "plain solvers": best_of(PLAIN, calls)[0] / learned_best,
            "with analytic start": best_of(PLAIN + STARTED, calls)[0] / learned_best,
            "iPNDM, searched grid": table[SEARCHED][calls] / learned_best,
            "AMED-Solver, best fixed time": table["best fixed time"][calls] / solver,
            "AMED-Solver, one share a step": table["one share a step"][calls] / solver,
        }
        result |= {f"{calls} calls: {name}": round(ratio, 2) for name, ratio in ratios.items()}
    return result


@claim(
    "B14, training",
    source="Blog, closing section",
    says="Solvers without training have no room left to be faster.",
    holds=lambda r: min(r.values()) > 1,
    verdict=False,
    finding="On digits they had. iPNDM with an analytic start, on a grid that a search found in 1 to 8 "
    "seconds without a gradient, is ahead of every method that learned on Karras's grid from four calls to "
    "nine, by factors of 1.15 to 1.9 in RMSE; at three calls AMED-Plugin is ahead by 1.07. With the "
    "searched levels as its grid it adds 5 to 6 % to what the search gained.",
)
def room_left() -> dict:
    """Recorded: RMSE of iPNDM on a searched grid over that of the best learned method, at 3 to 9 calls."""
    return {k: v for k, v in gains().items() if "searched grid" in k}


@claim(
    "B18, g_phi",
    source="Blog, on AMED-Solver",
    says="The predictor costs nothing beside a call of the model.",
    holds=lambda r: r["share of parameters, g_phi / model"] < 0.01,
    fails=lambda r: r["share of CPU time, batch 1"] > 0.1,
    verdict="holds if",
    finding="If the batch or the model is large. It has .5 % of the parameters. Timed beside our small "
    "digits network, a call of it takes .14 to .18 of the network's time at batch 1, where both are mostly "
    "overhead, .08 to .09 at 64 and .04 to .05 at 1,000.",
)
def predictor_price() -> dict:
    """g_phi with features beside the digits network: parameters, and the recorded CPU time of a call."""
    size = lambda net: sum(p.numel() for p in net.parameters())
    result = {"share of parameters, g_phi / model": size(Predictor(160)) / size(pretrained("digits-teacher"))}
    shares = recorded("amed")["price of g_phi"]
    return result | {f"share of CPU time, batch {n}": share for n, share in shares.items()}


@cache
def last_step(calls=6, n=200, seed=5):
    """RMSE on digits with the full order kept to the last step, and with a last step of first order."""
    model, x, end = digits_model(TOP), noise(n, seed), digit_ends(n, seed)
    times, result = grids.karras(model.schedule, calls), {}
    for name, loop in (("3M", dpmpp_3m), ("UniPC", unipc), ("2M", dpmpp_2m), ("iPNDM", ipndm)):
        for lower in (False, True):
            made = sample(loop, model, x, times, lower_last=lower).x
            result[f"{name}, {calls} calls, {'first order at the end' if lower else 'full order'}"] = round(
                rms(made - end), 2
            )
    return result


@claim(
    "B14, distance",
    source="Blog, on table 2 of the AMED paper",
    says="The method that is nearest to the flow has the best Fréchet distance.",
    holds=lambda r: r["AMED-Plugin, iPNDM: frechet"] < r["AMED-Plugin, DPM-Solver++ 2M: frechet"],
    verdict=False,
    finding="2M, plugged or not, ends in digits of more contrast, often not in the one the flow leads to: "
    "its distance is the better, its RMSE the worse. But the flow itself, with RMSE 0, is 2.07 from the "
    "data: a distance below that is luck, an overshoot that mends the model's own lack of contrast.",
    figure="contrast-figure",
)
def two_yardsticks() -> dict:
    """Recorded, with three calls: the best method in RMSE and the one with the best Fréchet distance."""
    result = {}
    for name in ("AMED-Plugin, iPNDM", "AMED-Plugin, DPM-Solver++ 2M", "DPM-Solver++ 2M, analytic start"):
        for key in ("rmse", "frechet"):
            result[f"{name}: {key}"] = study(key)[name][3]
    return result


@claim(
    "B16",
    source="Blog, on AMED-Plugin",
    says="A plugin is never worse than the solver it plugs into.",
    holds=lambda r: all(v < 1 for k, v in r.items() if "analytic" not in k),
    verdict=True,
    finding="In RMSE, on digits, with as many calls: never. But against the same solver with an analytic "
    "first step and one more step for the same calls it can be, by up to 1.24, at even counts and at 9.",
    figure="plugin-figure",
)
def plugged() -> dict:
    """The largest ratio, over 3 to 9 calls, of a plugin's RMSE to its base's with as many calls: plain, and
    with an analytic start.
    """
    table, result = study(), {}
    for base in ("DDIM", "iPNDM", "DPM-Solver++ 2M"):
        for other in (base, f"{base}, analytic start"):
            ratios = [v / table[other][c] for c, v in table[f"AMED-Plugin, {base}"].items()]
            result[f"at most, over {other}"] = max(ratios)
    ratios = [v / table["DPM-Solver-2"][c] for c, v in table[PLUGIN_TWO].items()]
    return result | {"at most, over DPM-Solver-2 (3, 4, 7 calls)": max(ratios)}


@claim(
    "B12, greedy",
    source="AMED paper, algorithm 2",
    says="Each interval can be trained by itself.",
    holds=lambda r: all(v < 1.1 for v in r.values()),
    verdict=False,
    finding="For AMED-Solver, which remembers nothing, it makes no difference. A multistep base hands "
    "its old directions on: with gradients cut at each time the plugin on iPNDM has one and a half times "
    "the error and more from six calls on, and falls behind iPNDM itself.",
)
def greedy() -> dict:
    """Recorded: RMSE of training each interval by itself over that of training the whole path."""
    table = study()
    return {
        f"{name}, {calls} calls": table[f"{name}, greedy"][calls] / table[name][calls]
        for name in ("AMED-Solver", "AMED-Plugin, iPNDM")
        for calls in CALLS
    }


@cache
def digit_share_errors(n=100):
    """Of each step of the three-call grid on digits, along the flow and with the network's own first
    direction: the squared error of one step at 59 shares.  (shares (59,), [(59, n), (59, n)]).
    """
    model, x = digits_model(TOP), noise(n, 11)
    times, found = grids.karras(model.schedule, 2).tolist(), []
    path, shares = teacher_path(model, x, times, 24), np.linspace(0.02, 0.6, 59)
    for i, (t, s) in enumerate(zip(times, times[1:])):
        first, errors = model.eps(path[i], t), []
        for kappa in (t ** (1 - shares) * s**shares).tolist():
            made = path[i] + (s - t) * model.eps(path[i] + (kappa - t) * first, kappa)
            errors.append((made - path[i + 1]).flatten(1).double().square().sum(1))
        found.append(torch.stack(errors))
    return shares, found


def best_shares():
    """The exact best r of each sample: of the one step on the unequal pair, of the two steps on digits."""
    shares, (first, second) = digit_share_errors()
    return {
        "two unequal clusters": one_step_truth()[3].numpy(),
        "digits, step 1": shares[first.argmin(0).numpy()],
        "digits, step 2": shares[second.argmin(0).numpy()],
    }


def digit_times():
    """The middle 80 % of the exact best r over digits, and the error of one r for all over that of each
    sample's own.
    """
    result, best = {}, best_shares()
    for i, errors in enumerate(digit_share_errors()[1], 1):
        for share in (0.1, 0.9):
            low = float(np.quantile(best[f"digits, step {i}"], share))
            result[f"step {i}: best r, {share:.0%} of samples below"] = low
        gain = errors.mean(1).min() / errors.min(0).values.mean()
        result[f"step {i}: one r / a sample's own, error"] = round(float(gain.sqrt()), 3)
    return result


def beside_the_plugin():
    """Recorded: RMSE over that of AMED-Plugin on iPNDM, label -> {calls: ratio}."""
    table = study()
    plugged = table["AMED-Plugin, iPNDM"]
    names = {
        "iPNDM": "iPNDM",
        "iPNDM, analytic start": "iPNDM, analytic start",
        "the plugin untrained": "AMED-Plugin, iPNDM, untrained",
        "the plugin trained greedily": "AMED-Plugin, iPNDM, greedy",
        "iPNDM, searched grid": SEARCHED,
    }
    return {label: {c: table[name][c] / plugged[c] for c in CALLS} for label, name in names.items()}


@claim(
    "B11, sample",
    source="Blog, on AMED-Solver",
    says="It is the sample's own features that make the learned time good.",
    holds=lambda r: all(v > 1.1 for k, v in r.items() if k.endswith("gain")),
    verdict=False,
    finding="On a mixture built for it they are worth a factor of twenty; on digits six per cent at the "
    "most, guided or not. There one time for each step does it: two numbers at three calls, which a search "
    "without a network finds as well.",
    figure="sample-figure",
)
def looking_pays() -> dict:
    """Recorded: error without features over error with them, where only the time is learned; and the shares r
    that are said on the mixture built for it.  Then the same ratio for AMED-Solver in the table.
    """
    rows = recorded("amed")["sample"]
    result = {
        f"{name}: gain": row["no features"]["rmse"] / row["features"]["rmse"] for name, row in rows.items()
    }
    built = rows["a mixture built for it"]
    for kind in ("features", "no features"):
        for side, r in zip(("wide", "narrow"), built[kind]["r by cluster"]):
            result[f"built mixture, {kind}: r, {side} cluster"] = r
    table = study()
    for calls in (3, 5, 7, 9):
        name = f"digits in the table, {calls} calls: gain"
        result[name] = table["AMED-Solver, no features"][calls] / table["AMED-Solver"][calls]
    return result


@claim(
    "B18, AMED",
    source="Blog, on the cost of training",
    says="AMED trains far faster than a one-step student.",
    holds=lambda r: 10 * r["AMED, 3 calls"] < r["student by regression"],
    verdict=True,
    finding="12.2 times fewer calls than the cheapest student of chapter 5, and a few thousand "
    "parameters at most; without features it says six numbers. It buys less: three calls, not one. It turns "
    "with nine calls, whose training takes nearly three times as many, a sixth of the student's.",
)
@tried_on({"nine calls": {"calls": 9}})
def cost(calls=3, iterations=250, batch=64, substeps=4) -> dict:
    """Calls of the network on one sample that training takes: AMED's, counted as in chapter 5 (three for each
    call that is differentiated), and those of chapter 5's students; parameters of g_phi.
    """
    steps = (calls + 1) // 2
    own = iterations * batch * (2 * substeps * steps + 3 * calls)
    size = lambda predictor: sum(p.numel() for p in predictor.parameters())
    students = ("regression", "progressive", "consistency", "consistency-distilled", "adversarial", "reflow")
    cheapest = min(training_calls(name) for name in students)
    return {
        "AMED, 3 calls": own,
        "student by regression": training_calls("regression"),
        "student by consistency training": training_calls("consistency"),
        "cheapest student of chapter 5": cheapest,
        "cheapest student / AMED": round(cheapest / own, 1),
        "parameters of g_phi": size(Predictor(160)),
        "parameters of g_phi, no features": size(Predictor(0)),
        "numbers that it says without features": 3 * steps,
    }
