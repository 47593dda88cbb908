"""Claims of chapter 7: the mean direction itself, learned, and solvers that are learned.

Flow maps live on `Flow`, x_t = (1 - t) x_0 + t eps, and jump from t to s by the mean velocity u(x, t, s).
Exact where the model is: on Gaussians in closed form, on mixtures by the trajectory to twelve digits.  What
takes minutes comes from the recorded studies, such as `recorded("flow_maps")`.
"""

from functools import cache

import numpy as np
import torch

from book.ch06 import experiments as amed_chapter
from book.claims import claim, recorded
from book.problems import rms
from toolkit import AFS, grids, sample
from toolkit.learned import Solver, programmed
from toolkit.ode import heun

# --- flow maps ------------------------------------------------------------------------------------------

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
    "one share a step", "AMED-Solver", "AMED-Plugin, iPNDM", "iPNDM, analytic start, searched grid",
)  # fmt: skip
MAIN_SOLVERS = (  # methods, each with a star where its first step is analytic
    "DDIM", "DPM-Solver++ 2M *", "iPNDM", "iPNDM *", "programmed grid, iPNDM *", "AMED-Solver *",
    "AMED-Plugin, iPNDM *", "grid, iPNDM", "grid, iPNDM *", "weights *", "weights and grid",
    "weights and grid *", "weights, grid and levels told *", "one midpoint and grid *",
    "two midpoints and grid *",
)  # fmt: skip
SHORT_SOLVERS = (
    "iPNDM", "iPNDM *", "AMED-Solver *", "AMED-Plugin, iPNDM *", "grid, iPNDM", "grid, iPNDM *",
    "weights and grid", "weights and grid *",
)  # fmt: skip


def solver_row(method, calls):
    """Recorded: the row of a method, with a star where its first step is analytic; None where its calls do
    not fit."""
    name, star = method.removesuffix(" *"), method[len(method.removesuffix(" *")) :]
    return recorded("learned")["calls"][str(calls)][START[star]].get(name)


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
    flow = recorded("learned")["flow"]["frechet"]
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
    rows = recorded("learned")["calls"][str(calls)]["plain start"]
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


def sums_of_weights(method="weights and grid", calls=5):
    """Recorded: the sum of a step's weights, of three trainings; 1 is what consistency asks for."""
    found = {}
    for seed in range(recorded("learned")["seeds"]):
        for n, row in enumerate(learned_solver(method, calls, seed).options["weights"]):
            found[f"step {n + 1} | training {seed + 1}"] = sum(row)
    return found


# Claims


@claim(
    "LS1",
    source="Zhou et al. 2024, abstract: intermediate times learned by a network",
    says="At three calls it takes a network to choose the times well.",
    holds=lambda r: r["AMED-Solver"] < 0.95 * r["grid of two numbers, iPNDM"],
    fails=lambda r: r["grid of two numbers, iPNDM"] < 1.05 * r["AMED-Solver"],
    verdict="fails",
    finding="Two learned levels do what its 1,739 parameters do.",
)
def two_numbers():
    """Recorded RMSE at three calls: AMED-Solver (analytic start), and iPNDM on a grid whose two inner levels
    are learned, from the plain start and, three levels then, from the analytic one."""
    return {
        "AMED-Solver": solver_row("AMED-Solver *", 3)["rmse"],
        "grid of two numbers, iPNDM": solver_row("grid, iPNDM", 3)["rmse"],
        "grid of three numbers, iPNDM *": solver_row("grid, iPNDM *", 3)["rmse"],
        "AMED-Plugin, iPNDM *": solver_row("AMED-Plugin, iPNDM *", 3)["rmse"],
        "weights and grid *": solver_row("weights and grid *", 3)["rmse"],
    }


@claim(
    "LS2",
    source="Frankel et al. 2025, abstract: learned coefficients improve on any discretisation",
    says="Learned weights improve a multistep solver, whatever its grid.",
    holds=lambda r: all(v < 0.95 for v in r.values()),
    verdict="holds",
    finding="At each count and from both starts, on Karras' grid and on a learned one.",
)
def weights_gain():
    """Recorded: RMSE with learned weights over that of iPNDM, whose weights they start from, on Karras' grid
    and where both grids are learned."""
    pairs = {"Karras' grid": ("weights", "iPNDM"), "learned grids": ("weights and grid", "grid, iPNDM")}
    return {
        f"{label}{star}, {calls} calls": solver_row(a + star, calls)["rmse"]
        / solver_row(b + star, calls)["rmse"]
        for label, (a, b) in pairs.items()
        for star in START
        for calls in SOLVER_CALLS
    }


@claim(
    "LS3",
    source="Zhu et al. 2025, abstract: parallel gradients, without additional latency",
    says="Several midpoints at once beat one.",
    holds=lambda r: r["by rounds: two midpoints / one"] < 0.95,
    fails=lambda r: r["by calls: two midpoints / the better of one and weights"] > 1.05,
    verdict="holds if",
    finding="If time is counted in rounds of calls that wait for each other.  Counted in calls, one midpoint "
    "is ahead of two, and weights and a grid are ahead of both.",
)
def midpoints_compared():
    """Recorded RMSE ratios, all with a learned grid: by rounds, two midpoints (9 calls, three steps, six
    rounds, plain start) over one midpoint with an analytic start (5 calls, three steps, five rounds); by
    calls, at nine, over the better of one midpoint and weights."""
    two = solver_row("two midpoints and grid", 9)["rmse"]
    rivals = (solver_row("one midpoint and grid *", 9), solver_row("weights and grid", 9))
    return {
        "two midpoints, 9 calls in 6 rounds": two,
        "one midpoint *, 5 calls in 5 rounds": solver_row("one midpoint and grid *", 5)["rmse"],
        "by rounds: two midpoints / one": two / solver_row("one midpoint and grid *", 5)["rmse"],
        "by calls: two midpoints / the better of one and weights": two / min(r["rmse"] for r in rivals),
    }


@claim(
    "LS4",
    source="Pei et al. 2025, abstract: schedules robust across ODE solvers",
    says="A grid that is good for one sampler is good for another.",
    holds=lambda r: all(v < 1 for k, v in r.items() if k.endswith("Karras' grid")),
    verdict="fails",
    finding="…",
)
def grids_exchanged():
    """Recorded RMSE at five calls of each sampler on the grid that was fitted to each, and over its own on
    Karras' grid."""
    found = recorded("learned")["exchanged"]
    plain = {name: solver_row(name, 5)["rmse"] for name in UNLEARNED}
    result = dict(found)
    for pair, value in found.items():
        result[f"{pair}, over Karras' grid"] = value / plain[pair.split(" | ")[1]]
    return result
