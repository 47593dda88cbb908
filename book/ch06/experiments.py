"""Claims of chapter 6: the mean-value idea, AMED-Solver and AMED-Plugin.

In EDM's coordinates (alpha = 1, time is the level kappa) the probability flow is dx/dkappa = eps(x, kappa).
Exact where the model is: on mixtures the trajectory is solved to twelve digits, so that the mean of eps over
a step, which every solver guesses, is known.  Digits start at level 20 and are judged by where Heun's method
with many steps ends.  What takes minutes comes from the recorded study, `recorded("amed")`.
"""

import math
from functools import cache

import numpy as np
import torch

from book.claims import claim, recorded
from book.problems import rms, training_calls
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
from toolkit.dpm_solver import dpm_solver_2, dpmpp_2m, dpmpp_2s, dpmpp_3m
from toolkit.multistep import ipndm, unipc
from toolkit.networks import DIGITS_SIGMA_DATA, pretrained
from toolkit.ode import edm_heun, euler, heun, midpoint, rk4

DOUBLE = {"dtype": torch.float64}
WIDE = EDM(sigma_max=10.0)
TRIANGLE = Mixture.ring(3, std=0.15)
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
    source="Blog, on AMED-Solver; its eq. 2",
    says="EDM's formula gives the whole grid of levels, from n = 0 at level 0 to n = N.",
    holds=lambda r: all(abs(v) < 1e-12 for k, v in r.items() if "n = 0" in k),
    verdict=False,
    finding="From n = 1 on. At n = 0 it gives a small number of either sign, 4e-4 for N = 18, and for a "
    "fractional rho not even a real one; the level 0 is appended by hand.",
)
def grid_formula(counts=(4, 10, 18), rho=7.0, low=0.002, high=80.0) -> dict:
    """The formula of EDM's grid, (low^(1/rho) + (n - 1) / (N - 1) (high^(1/rho) - low^(1/rho)))^rho, at n = 1
    and at n = 0, where the grid should have the level 0.
    """
    result = {}
    for count in counts:
        for n in (0, 1):
            a, b = low ** (1 / rho), high ** (1 / rho)
            result[f"level at n = {n}, N = {count}"] = (a + (n - 1) / (count - 1) * (b - a)) ** rho
    return result


@claim(
    "BB3, B04, B13",
    source="Blog, on Heun's method and on its table",
    says="Heun's method costs two calls a step; an odd number of calls comes from an analytic step.",
    holds=lambda r: r["calls of Heun"] % 2 == 0,
    verdict=False,
    finding="The last step, to level 0, must be Euler's, since the slope there is 0/0. N steps cost 2N - "
    "1 calls, odd without any analytic step. Only a count of calls is fair; here the model counts.",
)
def calls_of_heun(steps=4) -> dict:
    """Calls of EDM's Heun on a grid that ends at level 0, without an analytic step."""
    times = [*grids.karras(EDM(), steps - 1).tolist(), 0.0]
    x = 80 * initial_noise(4, 2, 0, **DOUBLE)
    run = sample(edm_heun, Mixture.gaussian(2, 0.5).model(EDM()), x, times)
    return {"steps": steps, "calls of Heun": run.nfe, "samples are finite": float(run.x.isfinite().all())}


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
)
def guess_orders() -> dict:
    """The orders that these errors show, over the last three counts."""
    return {name: slope((16, 32, 64), errors[-3:]) for name, errors in guess_errors().items()}


def one_large_step():
    """Errors of one step from level 2 to 0.2."""
    return {name: guess_errors((1,))[name][0] for name in GUESSES}


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
    "curve that the *velocity* draws, a + b phi(t). Then the trajectory is planar and may bend; planar "
    "alone is not enough, as the quarter circle shows.",
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
def residuals(ratios=SIZES, start=1.0, n=64):
    """Median relative distance from the mean direction over the size of a step from level `start` on the
    triangle: name -> list, one for each ratio of levels.
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
            result[name].append(float(row.median()))
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
    holds=lambda r: r["at a tenth of the level, best r, exact trajectory"] < 1e-3,
    verdict=False,
    finding="No single time is: what the best one leaves falls with the square of the step, as the "
    "midpoint's own residual does. The gain is in the constant, and it is large for large steps.",
)
def failure() -> dict:
    """How the residual of the best level falls with the step: its slope over the three smallest steps."""
    sizes = [1 - 1 / ratio for ratio in SIZES[:3]]
    left = residuals()
    result = {f"slope, {name}": -slope(sizes, row[:3]) for name, row in left.items()}
    return result | {f"at a tenth of the level, {name}": row[-1] for name, row in left.items()}


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


@cache
def prediction_path():
    """Of the network's prediction x_0 and of the velocity eps at the 41 states of a digit's trajectory from
    level 80: the share of the variance that one and two components explain, and the largest distance from the
    best line, over the length of the way (x_0) or over the mean speed (eps).  Medians.
    """
    path, kappas = digit_paths()
    model, result = digits_model(), {}
    states = list(zip(path.reshape(*path.shape[:2], 1, 8, 8).float(), map(float, kappas)))
    seen = {
        "prediction": [model.x0(x, t) for x, t in states],
        "velocity": [model.eps(x, t) for x, t in states],
    }
    for name, values in seen.items():
        values = torch.stack(values).double().flatten(2)
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
    """What a move of the widget needs of all starts: their exact paths (25, 40, 2); shares (101,) and errors
    (101, 40), how far the one step ends from them; and the shares learned (n,).
    """
    model, x, end, _ = one_step_truth()
    path, kappas = [x[:WIDGET_SAMPLES]], np.geomspace(*STEP, 25)
    for t, s in zip(kappas, kappas[1:]):
        path.append(reference(model, path[-1], float(t), float(s)))
    shares, first = np.linspace(0, 1, 101), model.eps(path[0], STEP[0])
    ends = torch.stack([_middle_step(model, path[0], first, share)[1] for share in shares])
    return torch.stack(path), shares, (ends - end[:WIDGET_SAMPLES]).norm(dim=2), said("features")


def _middle_step(model, x, first, share):
    """(Euler's state at the middle level, the end of the step with the direction found there)."""
    start, stop = STEP
    kappa = start ** (1 - share) * stop**share
    there = x + (kappa - start) * first
    return there, x + (stop - start) * model.eps(there, kappa)


def one_step(r, sample_number):
    """What the chapter's widget draws of the one step of a sample, its middle level at "share" r: the
    "kappas" of its ends; the exact "path" (n, 2) and its "end" (2,); Euler's "line" to the middle level and
    the step "made" with the direction found there, (2, 2) each, from the start; its "error"; "errors", a pair
    (shares, errors); the "best" share and the one "learned"; and the "mixture".
    """
    model, x, end, best = one_step_truth()
    path, shares, errors, learned = _of_all_starts()
    k = int(sample_number)
    x, end = x[k : k + 1], end[k : k + 1]
    there, made = _middle_step(model, x, model.eps(x, STEP[0]), r)
    return {
        "share": r,
        "kappas": STEP,
        "path": path[:, k].numpy(),
        "end": end[0],
        "line": torch.cat([x, there]),
        "made": torch.cat([x, made]),
        "error": float((made - end).norm()),
        "errors": (shares, errors[:, k].tolist()),
        "best": float(best[k]),
        "learned": float(learned[k]),
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
    finding="On two clusters of unequal width it comes near the exact best of each sample, and halves "
    "the error of one time for all. But only if the features arrive: a layer norm in front of two "
    "of them leaves one bit, and nothing is gained.",
)
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
    "where training starts. That is a low bar in few steps: see the controls.",
)
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
    "two long vectors, and x is nowhere near it.",
)
def first_step() -> dict:
    """The stand-ins at level 80, in VP too: x for eps, and x for the velocity, on one Gaussian
    where both are known.
    """
    result = {f"EDM: {name}": round(v, 4 if v < 1 else 1) for name, v in stand_ins(80.0).items()}
    schedule = VP()
    model, x = TRIANGLE.model(schedule), initial_noise(200, 2, 0, **DOUBLE)
    eps = model.eps(x, schedule.start)
    velocity = (
        schedule.f(schedule.start) * x
        + schedule.g2(schedule.start) / 2 / schedule.sigma(schedule.start) * eps
    )
    return result | {
        "VP: x for eps": float((x - eps).norm() / eps.norm()),
        "VP: x for the velocity": float((x - velocity).norm() / velocity.norm()),
    }


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

FEW = (4, 6, 8, 10, 14, 20, 30)
SOLVERS = {
    "DDIM": (ddim, {}, 1),
    "Heun": (heun, {"variable": "sigma"}, 2),
    "DPM-Solver-2": (dpm_solver_2, {}, 2),
    "DPM-Solver++ 2S": (dpmpp_2s, {}, 2),
    "DPM-Solver++ 2M": (dpmpp_2m, {}, 1),
    "iPNDM": (ipndm, {}, 1),
}


@cache
def digit_ends(n=200, seed=5):
    """Where the exact flow ends, from `noise(n, seed)`."""
    model = digits_model(TOP)
    return teacher_path(model, noise(n, seed), grids.karras(model.schedule, 6), 24)[-1]


@cache
def crossing(calls=FEW, n=200, seed=5):
    """RMSE on digits against calls: name -> list."""
    model, x, end = digits_model(TOP), noise(n, seed), digit_ends(n, seed)
    return {
        name: [
            rms(sample(loop, model, x, grids.karras(model.schedule, c // price), **options).x - end)
            for c in calls
        ]
        for name, (loop, options, price) in SOLVERS.items()
    }


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
    "prediction: they lead by ten calls and by fourteen. 2M and iPNDM pay one call a step and lead from "
    "six or four calls on. It is the price of a step and the constant that decide, not the order.",
)
def order_misleads() -> dict:
    """RMSE at 4 and 6 calls, and the fewest calls from which on each second-order solver beats DDIM."""
    errors = crossing()
    result = {
        f"{name}, {c} calls": round(row[i], 2) for name, row in errors.items() for i, c in enumerate((4, 6))
    }
    for name in ("Heun", "DPM-Solver-2", "DPM-Solver++ 2M", "iPNDM"):
        loses = [i for i, (a, b) in enumerate(zip(errors[name], errors["DDIM"])) if a > b]
        result[f"{name} beats DDIM from, calls"] = FEW[max(loses) + 1] if loses else FEW[0]
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
def trained_digits(calls=3, base=None, substeps=4, steps=120, seed=0):
    """A predictor without features for digits, trained on the spot: its net."""
    model, times = student_of(calls)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        predictor = Predictor(0)
    how = dict(base=base, substeps=substeps, steps=steps, seed=seed)
    return train_predictor(predictor, model, times, draw_digits, **how).net


def three_calls(n=8, seed=23):
    """Digits by three calls of four methods from the same noise, and first where the flow ends: label -> (n,
    1, 8, 8).  The plugin is trained on the spot.
    """
    model, times = student_of(3)
    bare, x = digits_model(TOP), noise(n, seed)
    finer = grids.karras(model.schedule, 4)
    plugged = {"predictor": trained_digits(3, "ipndm"), "base": "ipndm"}
    return {
        "the flow": teacher_path(bare, x, times, 24)[-1],
        "DDIM": sample(ddim, bare, x, grids.karras(model.schedule, 3)).x,
        "DPM-Solver-2": sample(amed_solver, model, x, times).x,
        "iPNDM, analytic start": sample(ipndm, AFS(bare, *moments()), x, finer).x,
        "plugin on iPNDM": sample(amed_plugin, model, x, times, **plugged).x,
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
    "the error of a student of four substeps. By its own teacher's ruler it beats untrained iPNDM, .21 "
    "against .25; by the flow it loses, .26 against .13. That is how the mistake is missed. On the "
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
        net = trained_digits(3, substeps=substeps, steps=60)
        made = sample(amed_solver, model, x, times, predictor=net).x
        name = f"{substeps} substeps"
        result[f"{name}: the teacher, from the flow"] = round(rms(own - truth), 2)
        result[f"{name}: the student, from its teacher"] = round(rms(made - own), 2)
        result[f"{name}: the student, from the flow"] = round(rms(made - truth), 2)
        result[f"{name}: iPNDM, from this teacher"] = round(rms(control - own), 2)
    official = recorded("amed")["official teacher"]
    result["iPNDM, from the flow"] = round(rms(control - truth), 2)
    for calls, intervals in ((3, 2), (5, 3)):
        name = f"2 substeps, official grid, {intervals} intervals: the teacher, from the flow"
        result[name] = round(official[str(calls)], 2)
    return result


LEARNED = ("AMED-Solver", "AMED-Plugin, DDIM", "AMED-Plugin, iPNDM", "AMED-Plugin, DPM-Solver++ 2M")
PLUGIN_TWO = "AMED-Plugin, DPM-Solver-2"  # four calls a step, so not at every count
LOWER = tuple(f"{name}, lower last" for name in ("DPM-Solver++ 2M", "DPM-Solver++ 3M", "UniPC"))
PLAIN = ("DDIM", "Heun", "DPM-Solver-2", "DPM-Solver++ 2M", "DPM-Solver++ 3M", "UniPC", "iPNDM", *LOWER)
STARTED = tuple(f"{name}, analytic start" for name in PLAIN if name not in ("Heun", "DPM-Solver-2"))
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
    """The recorded study with three calls: what each part of AMED's gain is due to, label -> RMSE."""
    table = study()
    return {
        "best plain\nsolver": best_of(PLAIN, calls)[0],
        "+ analytic\nstart": best_of(PLAIN + STARTED, calls)[0],
        "one share\nfor all": table["best fixed time"][calls],
        "one share\na step": table["one share a step"][calls],
        "AMED,\nno features": table["AMED-Solver, no features"][calls],
        "AMED,\nfeatures": table["AMED-Solver"][calls],
        "plugin,\nuntrained": table["AMED-Plugin, iPNDM, untrained"][calls],
        "plugin,\ngreedy": table["AMED-Plugin, iPNDM, greedy"][calls],
        "plugin,\niPNDM": table["AMED-Plugin, iPNDM"][calls],
    }


def flow(key="rmse"):
    """The recorded value of the flow itself: where every solver of many steps ends."""
    return recorded("amed")["flow"][key]


def starred(name):
    """A method's name as the tables say it: with a star where its first step is analytic at odd counts,
    which is so of all that make two calls a step.
    """
    paired = name in ("Heun", "DPM-Solver-2", "best fixed time", "one share a step") or "AMED" in name
    return name + " *" * paired


def study_table(key="rmse", digits=3):
    """The recorded study as text: the flow itself, then a row for each method, a column for each number of
    calls.
    """
    result = study(key)
    lines = [f"{'calls (* analytic first step at odd counts)':46s}" + "".join(f"{c:>8d}" for c in CALLS)]
    lines.append(f"{'the flow itself':46s}" + f"{flow(key):>8.{digits}f}" * len(CALLS))
    untrained = tuple(f"AMED-Plugin, {base}, untrained" for base in ("DDIM", "iPNDM", "DPM-Solver++ 2M"))
    rows = (*PLAIN, *STARTED, "best fixed time", "one share a step", *untrained, *LEARNED, PLUGIN_TWO)
    rows += ("AMED-Solver, no features", "AMED-Solver, greedy", "AMED-Plugin, iPNDM, greedy")
    for name in rows:
        values = (f"{result[name][c]:>8.{digits}f}" if c in result[name] else f"{'-':>8s}" for c in CALLS)
        lines.append(f"{starred(name):46s}" + "".join(values))
    return "\n".join(lines)


def beside_the_paper():
    """Fréchet distances on digits (recorded) and on CIFAR-10 (the paper's) as text."""
    result = study("frechet")
    lines = [f"{'':22s}{'digits, FD, at 3 5 7 9 calls':>32s}{'CIFAR-10, FID (paper)':>34s}"]
    for name, row in PAPER.items():
        ours = "".join(f"{result[name][c]:8.2f}" for c in (3, 5, 7, 9))
        lines.append(f"{name:22s}{ours}  {''.join(f'{v:8.2f}' for v in row)}")
    return "\n".join(lines)


def targets():
    """What was hoped for of three calls, as ratios of recorded RMSE: at least 1.3 against the best untrained
    solver (plain, and with the analytic start for all), at least 2 against the best fixed time; and the same
    against one share for each step, found without a network.
    """
    table, result = study(), {}
    rivals = {
        "best plain solver": best_of(PLAIN, 3)[0],
        "best with analytic start": best_of(PLAIN + STARTED, 3)[0],
        "best fixed time": table["best fixed time"][3],
        "one share a step": table["one share a step"][3],
    }
    for name in ("AMED-Solver", "AMED-Plugin, iPNDM"):
        for rival, value in rivals.items():
            result[f"{name} / {rival}"] = round(value / table[name][3], 2)
    return result


def searches(calls=3):
    """Recorded: what the eight searches for one share a step found, each on 300 noises of its own, and how
    they do on fresh ones; beside AMED-Solver's three trainings with features.
    """
    found = recorded("amed")["table"][str(calls)]
    result, each = {}, found["one share a step"]["each"]
    for i, shares in enumerate(zip(*(row["shares"] for row in each)), 1):
        result |= {f"share of step {i}, least": min(shares), f"share of step {i}, most": max(shares)}
    for name, rows in (("eight searches", each), ("AMED-Solver", found["AMED-Solver"]["each"])):
        for key in ("rmse", "frechet"):
            values = [row[key] for row in rows]
            result |= {f"{name}, {key}, least": min(values), f"{name}, {key}, most": max(values)}
    spent = [row["seconds"] for row in each]
    return result | {
        "CPU seconds of a search, least": min(spent),
        "CPU seconds of a search, most": max(spent),
    }


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

GRID_CALLS = (3, 5, 7)


def on_two_grids(key="rmse", digits=3):
    """Recorded, as text: a row for each method, and for each number of calls its value on Karras's grid and
    on the official AMED-Solver's, which is uniform in time.
    """
    karras, uniform = recorded("amed")["table"], recorded("amed")["uniform time"]
    lines = [
        f"{'calls (* analytic first step at odd counts)':46s}" + "".join(f"{c:>16d}" for c in GRID_CALLS)
    ]
    lines.append(f"{'grid':46s}" + f"{'Karras':>8s}{'uniform':>8s}" * len(GRID_CALLS))
    learned = "AMED-Solver, no features"
    for name in (*PLAIN, *STARTED, learned, f"{learned}, 8 substeps"):
        row = ""
        for c in map(str, GRID_CALLS):
            row += "".join(
                f"{g[c][name][key]:>8.{digits}f}" if name in g.get(c, {}) else f"{'-':>8s}"
                for g in (karras, uniform)
            )
        lines.append(f"{starred(name):46s}" + row)
    return "\n".join(lines)


def grid_moves(key="rmse"):
    """Recorded, of the 18 solvers that have nothing to learn: by what factor the change of the grid moves
    one, in the median and at most; how many are better on the grid uniform in time; and the best on each.
    """
    karras, uniform = recorded("amed")["table"], recorded("amed")["uniform time"]
    result = {}
    for c in map(str, GRID_CALLS):
        pairs = [(karras[c][name][key], uniform[c][name][key]) for name in (*PLAIN, *STARTED)]
        factors = [max(a / b, b / a) for a, b in pairs]
        result |= {
            f"the grid moves a solver by, median: {c} calls": float(np.median(factors)),
            f"the grid moves a solver by, at most: {c} calls": max(factors),
            f"better on uniform in time, of {len(pairs)}: {c} calls": sum(b < a for a, b in pairs),
            f"the solver in the middle / the best, Karras: {c} calls": float(
                np.median([a for a, _ in pairs]) / min(a for a, _ in pairs)
            ),
            f"the best, Karras: {c} calls": min(a for a, _ in pairs),
            f"the best, uniform in time: {c} calls": min(b for _, b in pairs),
        }
    return result


def leaders(key="frechet"):
    """The best method of the whole recorded table at each number of calls, untrained or learned, as text."""
    result = study(key)
    best = (min((row[c], name) for name, row in result.items() if c in row) for c in CALLS)
    return "\n".join(f"{c} calls  {value:6.3f}  {name}" for c, (value, name) in zip(CALLS, best))


@claim(
    "B14",
    source="Blog, on table 2 of the AMED paper",
    says="With 3 to 9 calls the learned time beats every untrained solver.",
    holds=lambda r: all(v > 1 for k, v in r.items() if "plain" in k or "analytic" in k),
    verdict=False,
    finding="The plugin on iPNDM beats every plain one, by a factor of two at three calls; AMED-Solver "
    "does so only at three and four. Give all the analytic first step, which costs no training, and 1.4 "
    "remain; iPNDM with it is better at six and nine calls, the plugin up to five and at seven.",
)
def gains() -> dict:
    """How many times below in RMSE: the best learned method than the best untrained solver, the same with an
    analytic start for all, AMED-Solver than the best fixed time and than one share for each step.
    """
    result = {}
    for calls in study()["DDIM"]:
        learned_best = best_of(LEARNED, calls)[0]
        result[f"{calls} calls: plain solvers"] = best_of(PLAIN, calls)[0] / learned_best
        result[f"{calls} calls: with analytic start"] = best_of(PLAIN + STARTED, calls)[0] / learned_best
        solver = study()["AMED-Solver"][calls]
        result[f"{calls} calls: AMED-Solver, best fixed time"] = study()["best fixed time"][calls] / solver
        result[f"{calls} calls: AMED-Solver, one share a step"] = study()["one share a step"][calls] / solver
    return result


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
def digit_times(n=100):
    """The exact best r of each step of the three-call grid on digits, along the flow and with the network's
    own first direction: its middle 80 % over samples, and the error of one r for all over that of each
    sample's own.
    """
    model, x = digits_model(TOP), noise(n, 11)
    times, result = grids.karras(model.schedule, 2).tolist(), {}
    path, shares = teacher_path(model, x, times, 24), np.linspace(0.02, 0.6, 59)
    for i, (t, s) in enumerate(zip(times, times[1:])):
        first, errors = model.eps(path[i], t), []
        for kappa in (t ** (1 - shares) * s**shares).tolist():
            made = path[i] + (s - t) * model.eps(path[i] + (kappa - t) * first, kappa)
            errors.append((made - path[i + 1]).flatten(1).double().square().sum(1))
        errors = torch.stack(errors)
        best = shares[errors.argmin(0).numpy()]
        for share in (0.1, 0.9):
            result[f"step {i + 1}: best r, {share:.0%} of samples below"] = float(np.quantile(best, share))
        gain = errors.mean(1).min() / errors.min(0).values.mean()
        result[f"step {i + 1}: one r / a sample's own, error"] = round(float(gain.sqrt()), 3)
    return result


@claim(
    "B11, sample",
    source="Blog, on AMED-Solver",
    says="It is the sample's own features that make the learned time good.",
    holds=lambda r: all(v > 1.1 for k, v in r.items() if k.endswith("gain")),
    verdict=False,
    finding="On a mixture built for it they are worth a factor of twenty; on digits six per cent at the "
    "most, guided or not. There one time for each step does it: two numbers at three calls, which a search "
    "without a network finds as well.",
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
    finding="15.4 times fewer calls than the cheapest student of chapter 5, and a few thousand "
    "parameters at most; without features it says six numbers. It buys less: three calls, not one.",
)
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
        "samples until training is paid, one call saved": own,
    }
