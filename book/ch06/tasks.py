"""The tasks of lesson 06: the mean-value idea, AMED-Solver and AMED-Plugin.

The levels are EDM's (alpha = 1, time is the noise level), so that the probability flow is dx/ds = eps(x, s).
On Gaussian data a step is a multiplication and the mean value is algebra; nothing is trained.  A training
loss is judged by its value and by its gradient in a predictor of two parameters.
"""

import math
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.figure import Figure

from book.lessons import (
    Mistake,
    Remark,
    Task,
    named_expressions,
    normal,
    read_axes,
    right_numbers,
    right_words,
    uniform,
)
from toolkit import EDM, Mixture, grids, initial_noise, sample
from toolkit.amed import explained
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpm_solver_2

TANGLE = Mixture([0.25] * 4, initial_noise(4, 8, seed=6, dtype=torch.float64), [0.2] * 4)
LEVELS = (1, 2, 5, 10, 20, 40, 80)


def _column(values):
    """(B,) -> (B, 1); a number stays."""
    return values.reshape(-1, 1) if torch.is_tensor(values) else values


# --- 6.1: the mean value of a scalar ------------------------------------------------------------------------


def _level(d, a, b):
    """Where the slope of x = C sqrt(d^2 + s^2) is its mean between the levels a and b."""
    m = (math.hypot(d, a) - math.hypot(d, b)) / (a - b)
    return m * d / math.sqrt(1 - m**2)


def best_share(d, a, b):
    """That level as a share of the step on the logarithmic axis."""
    return math.log(_level(d, a, b) / a) / math.log(b / a)


def _probe_scalar(answer, seed):
    values = named_expressions(
        answer,
        seed,
        2,
        mean=dict(d=(0.3, 1.5), a=(2.0, 5.0), b=(0.1, 1.0)),
        level=dict(d=(0.3, 1.5), m=(0.2, 0.9)),
    )
    d = uniform(seed, 0.3, 1.5)
    values["share of the step 3 to 0.2"] = float(answer.best_share(d, 3.0, 0.2))
    values["share of the step 20 to 0.01"] = float(answer.best_share(d, 20.0, 0.01))
    return values


def _scalar_facts(answer, seed):
    return right_words(answer, ("geometric", "arithmetic"), large="geometric", small="arithmetic")


SCALAR = Task(
    id="6.1",
    title="Where a scalar takes its mean",
    kind="coefficient",
    difficulty=1,
    minutes=20,
    points=4,
    ids=("B10", "B11", "BB8"),
    names=("mean", "level", "best_share", "large", "small"),
    probe=_probe_scalar,
    facts=_scalar_facts,
    reference={
        "mean": "(sqrt(d**2 + a**2) - sqrt(d**2 + b**2))/(a - b)",
        "level": "m*d/sqrt(1 - m**2)",
        "best_share": best_share,
        "large": "geometric",
        "small": "arithmetic",
    },
    mistakes=(
        Mistake(
            {"mean": "sqrt(d**2 + a**2) - sqrt(d**2 + b**2)"},
            "That is how far x moves, for C = 1. A mean slope is a distance divided by what?",
        ),
        Mistake(
            {"mean": "(a/sqrt(d**2 + a**2) + b/sqrt(d**2 + b**2))/2"},
            "The mean of the slopes at the two ends is what Heun takes for it. The exact mean needs no slope "
            "at all: where does the step begin and end?",
        ),
        Mistake(
            {"mean": "(a + b)/2/sqrt(d**2 + (a + b)**2/4)"},
            "That is the slope at the middle level, a guess of the mean. The exact mean is a quotient of two "
            "differences.",
        ),
        Mistake(
            {"mean": "(sqrt(d**2 + b**2) - sqrt(d**2 + a**2))/(a - b)"},
            "The sign: |x| grows with the level. In which order did you subtract above and below the line?",
        ),
        Mistake(
            {"level": "-m*d/sqrt(1 - m**2)"},
            "A level is positive. Of two roots (sympy may name the other one first), which is it?",
        ),
        Mistake(
            {"level": "m/sqrt(1 - m**2)"},
            "That is the level measured in units of d. Which d did you cancel?",
        ),
        Mistake(
            {"level": "d*sqrt(1 - m**2)/m"},
            "Yours falls when the mean slope grows. Is the slope s/√(d² + s²) larger at large levels or at "
            "small ones?",
        ),
        Mistake(
            {"level": "m*d/(1 - m**2)"},
            "After squaring, s² is alone on its side. Have you taken its root?",
        ),
        Mistake(
            {"level": "m*d/sqrt(1 + m**2)"},
            "Square both sides, and bring s² to one side: which sign does m² get there?",
        ),
        Mistake(
            {"best_share": lambda d, a, b: 1 - best_share(d, a, b)},
            "Your share counts from the wrong end: at r = 0 the level is that of the start, a.",
        ),
        Mistake(
            {"best_share": lambda d, a, b: (a - _level(d, a, b)) / (a - b)},
            "You measure the share on the axis of the levels. The statement's r is an exponent: on which "
            "axis is it a share?",
        ),
        Mistake(
            {"best_share": lambda d, a, b: 0.5},
            "One half is what DPM-Solver-2 takes, whatever the data. Yours should depend on d.",
        ),
        Mistake(
            {"best_share": lambda d, a, b: _level(d, a, b)},
            "You return the level itself. Which exponent r makes a^(1 − r) b^r equal to it?",
        ),
        Mistake(
            {"large": "arithmetic", "small": "geometric"},
            "The two are exchanged: print your share for d = 0.5 from 80 to 20, and compare it with 1/2.",
        ),
        Mistake(
            {"large": "arithmetic"},
            "Far above d the slope is nearly 1 − d²/(2 s²). The mean of 1/s² between b and a is 1/(a b): at "
            "which s is 1/s² equal to that?",
        ),
        Mistake(
            {"small": "geometric"},
            "Far below d the slope is nearly s/d, a straight line in s. Where does a straight line take its "
            "mean?",
        ),
    ),
    hints=(
        "A mean of a derivative needs the function at both ends only: by how much does it change, and over "
        "what distance?",
        "The slope of √(d² + s²) in s is s/√(d² + s²). Set it equal to m, square, and solve for s². For r "
        "take logarithms of both sides of s = a^(1 − r) b^r.",
        "The mean is the difference of the two roots over the difference of the two levels. For the level, "
        "m² times the sum d² + s² equals s². The share is one logarithm of a quotient over another, both "
        "quotients with a below the line. For the two words put numbers in: 80 to 20, and 0.1 to 0.002, with "
        "d = 0.5.",
    ),
)

# --- 6.2: the vector counterexample -------------------------------------------------------------------------


def _residual(average=None, distance=None):
    """`residual` with another mean, or another distance from it."""

    def residual(velocity, a, b):
        t = torch.linspace(a, b, 2001, dtype=torch.float64)
        v = velocity(t)
        mean = torch.trapezoid(v, t, dim=0) / (b - a) if average is None else average(v, t)
        if distance is not None:
            return float(distance(v, mean))
        return float((v - mean).norm(dim=1).min())

    return residual


def _arc(t):
    """The velocity on a circle of radius 1, (N, 2)."""
    return torch.stack([-t.sin(), t.cos()], 1)


def _probe_vector(answer, seed):
    w = uniform(seed, 1.0, 3.0)
    cases = {
        "an arc": (_arc, 0.2, 0.2 + w),
        "the whole circle": (_arc, 0.0, 2 * math.pi),
        "a parabola": (lambda t: torch.stack([1 + 0 * t, 2 * t], 1), -0.5, w),
        "(1, t, t²)": (lambda t: torch.stack([1 + 0 * t, t, t**2], 1), 0.0, w),
        "a + b exp(t)": (lambda t: torch.stack([1 + t.exp(), 2 - 3 * t.exp()], 1), 0.0, w / 3),
    }
    values = {}
    for name, (velocity, a, b) in cases.items():
        found = float(answer.residual(velocity, a, b))
        # a grid of times, however fine, leaves a little where the theorem holds; and who divides by the
        # circle's mean, which is 0, gets anything
        values[f"residual of {name}"] = 0.0 if 0 <= found < 5e-3 else min(found, 10.0)
    return values | named_expressions(answer, seed, 2, arc_residual=dict(w=(0.5, 3.0)))


def _vector_facts(answer, seed):
    values = right_numbers(answer, 1e-2, relative=True, power=2)
    right = dict(velocity_1="holds", velocity_2="fails", velocity_3="fails", velocity_4="holds")
    return values | right_words(answer, ("holds", "fails"), **right)


VECTOR = Task(
    id="6.2",
    title="A vector that is nowhere its own mean",
    kind="claim",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("B10", "BB8"),
    names=("residual", "arc_residual", "power", "velocity_1", "velocity_2", "velocity_3", "velocity_4"),
    probe=_probe_vector,
    facts=_vector_facts,
    reference={
        "residual": _residual(),
        "arc_residual": "1 - 2*sin(w/2)/w",
        "power": 2,
        "velocity_1": "holds",
        "velocity_2": "fails",
        "velocity_3": "fails",
        "velocity_4": "holds",
    },
    tolerance=2e-3,
    decimals=2,
    asks={
        f"velocity_{i}": f"Think of the curve that the tip of velocity_{i} draws (not the path): is it on "
        "one straight line? And what does your residual say on an interval or two?"
        for i in (1, 2, 3, 4)
    },
    mistakes=(
        Mistake(
            {"residual": _residual(average=lambda v, t: (v[0] + v[-1]) / 2)},
            "Your mean is that of the two ends. The velocity between them counts as well: which integral is "
            "it?",
        ),
        Mistake(
            {"residual": _residual(average=lambda v, t: torch.trapezoid(v, t, dim=0))},
            "You compare the velocity with an integral, a displacement. By what is it divided to be a mean?",
        ),
        Mistake(
            {"residual": _residual(distance=lambda v, mean: (v[1000] - mean).norm())},
            "You look at the middle of the interval only. The theorem promises *some* time: where is the "
            "smallest distance?",
        ),
        Mistake(
            {"residual": _residual(distance=lambda v, mean: (v.norm(dim=1) - mean.norm()).abs().min())},
            "You compare lengths. Two vectors of the same length can point anywhere: whose length is wanted?",
        ),
        Mistake(
            {"residual": _residual(distance=lambda v, mean: (v - mean).abs().min(0).values.norm())},
            "You let each coordinate choose a time of its own: for one coordinate the theorem always holds. "
            "All must share one time.",
        ),
        Mistake(
            {"residual": _residual(distance=lambda v, mean: (v - mean).norm(dim=1).mean())},
            "That is the mean distance over all times. The theorem asks for the best one.",
        ),
        Mistake(
            {"residual": _residual(distance=lambda v, mean: (v - mean).norm(dim=1).min() / mean.norm())},
            "You divide by the mean's length, which the statement does not; on the whole circle it is 0.",
        ),
        Mistake(
            {"arc_residual": "2*sin(w/2)/w"},
            "That is the length of the mean. How far is it from the velocity nearest to it, which has "
            "length 1?",
        ),
        Mistake(
            {"arc_residual": "1 - sin(w)/w"},
            "Put the middle of the arc at angle 0: from where to where does the angle then run?",
        ),
        Mistake(
            {"arc_residual": "w**2/24"},
            "That is the first term for short arcs. What is it the first term of?",
        ),
        Mistake(
            {"power": 1},
            "Half the arc: by what does the residual change? Expand the sine to its cubic term.",
        ),
        Mistake(
            {"power": 3},
            "The sine's cubic term is divided by w once more.",
        ),
        Mistake(
            {"velocity_1": "fails", "velocity_4": "fails"},
            "You ask for a straight path. A path may bend, if its *velocity* stays on one line: compute the "
            "residual of the two that you reject.",
        ),
        Mistake(
            {"velocity_3": "holds"},
            "This path lies in a plane, and that is not enough: so does the circle's. Which curve does its "
            "velocity draw?",
        ),
        Mistake(
            {"velocity_2": "holds"},
            "Each coordinate takes its mean somewhere, but at the same time? The mean of t on [0, 1] is 1/2, "
            "that of t² is 1/3.",
        ),
        Mistake(
            {"velocity_4": "fails"},
            "However many dimensions: all coordinates follow one function of s. Write it as a + b φ(s).",
        ),
        Mistake(
            {"velocity_1": "fails"},
            "Both coordinates are made of the same sine. Write it as a + b φ(t).",
        ),
    ),
    hints=(
        "The mean is one vector. The question is how near the curve that the velocity draws, not the path, "
        "comes to it.",
        "Take 2000 times, the trapezoidal rule over them divided by the length of the interval, and the "
        "smallest of the norms. On a circle the mean points where the velocity in the middle of the arc "
        "points.",
        "For the arc, turn the middle to angle 0: only the cosine's mean from −w/2 to w/2 is left. For the "
        "verdicts ask whether the tip of the velocity runs on one straight line; if so its mean lies "
        "between two of its values, on that line.",
    ),
)

# --- 6.3: PCA of a path -------------------------------------------------------------------------------------


@lru_cache
def _paths():
    """(states, levels): 32 trajectories of TANGLE, (61, 32, 8), and their levels (61,)."""
    noise = 80 * initial_noise(32, 8, seed=1, dtype=torch.float64)
    run = sample(ddim, TANGLE.model(EDM()), noise, grids.karras(EDM(), 60), keep_path=True)
    return run.path, torch.tensor(run.times, dtype=torch.float64)


def _vp(path, levels):
    """The same states in VP's scale."""
    return path / (1 + levels**2).sqrt().reshape(-1, 1, 1)


def _off_line(path):
    """The mean relative distance of the last state from the line that fits its trajectory best."""
    points = path.transpose(0, 1)
    centred = points - points.mean(1, keepdim=True)
    first = torch.linalg.svd(centred, full_matrices=False).Vh[:, 0]
    last = centred[:, -1]
    off = last - (last * first).sum(1, keepdim=True) * first
    return float((off.norm(dim=1) / points[:, -1].norm(dim=1)).mean())


def _shares(centre=1, square=True, pooled=False, running=True, root=False, ascending=False):
    """`explained` with one thing changed."""

    def explained(path):
        points = path.transpose(0, 1)
        if centre is not None:
            points = points - points.mean(centre, keepdim=True)
        if pooled:
            flat = points.reshape(-1, points.shape[-1])
            power = torch.linalg.svdvals(flat).square().expand(len(points), -1)
        else:
            power = torch.linalg.svdvals(points)
            power = power.square() if square else power
            power = power.flip(1) if ascending else power
        total = power.square().sum(1, keepdim=True).sqrt() if root else power.sum(1, keepdim=True)
        return (power.cumsum(1) if running else power) / total

    return explained


EDM_LEFT = float(1 - explained(_paths()[0])[:, 0].mean())
VP_LEFT = float(1 - explained(_vp(*_paths()))[:, 0].mean())
OFF_LINE = _off_line(_paths()[0])


def _probe_pca(answer, seed):
    t = torch.linspace(0, 1, 12, dtype=torch.float64).reshape(-1, 1, 1)
    a, b, c = (normal(seed, 3, 5, stream=k) for k in (1, 2, 3))
    return {
        "shares of three noisy paths": answer.explained(normal(seed, 12, 3, 4).cumsum(0)),
        "first two of straight paths": answer.explained(5 + c + t * a)[:, :2],
        "first two of parabolas": answer.explained(c + t * a + 3 * t**2 * b)[:, :2],
    }


def _pca_facts(answer, seed):
    return right_numbers(answer, 0.01, relative=True, edm_left=EDM_LEFT, vp_left=VP_LEFT, off_line=OFF_LINE)


PCA = Task(
    id="6.3",
    title="How flat is a trajectory, and in which coordinates?",
    kind="implement-equation",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("B19", "BB12", "BB13"),
    names=("explained", "edm_left", "vp_left", "off_line"),
    probe=_probe_pca,
    facts=_pca_facts,
    reference={"explained": explained, "edm_left": EDM_LEFT, "vp_left": VP_LEFT, "off_line": OFF_LINE},
    decimals=5,
    mistakes=(
        Mistake(
            {"explained": _shares(centre=None)},
            "You have not taken the mean away, so that a path far from the origin looks like one direction. "
            "Which mean: over what?",
        ),
        Mistake(
            {"explained": _shares(centre=0)},
            "You subtract the mean over the samples at each time. A trajectory's own mean is taken along "
            "which axis?",
        ),
        Mistake(
            {"explained": _shares(square=False)},
            "Singular values are lengths. Variance is what is shared out here.",
        ),
        Mistake(
            {"explained": _shares(pooled=True)},
            "One PCA for all samples together tells how many dimensions the *bundle* has. The question is "
            "how flat each trajectory is.",
        ),
        Mistake(
            {"explained": _shares(running=False)},
            "Those are the shares of the single components. What do the first k explain together?",
        ),
        Mistake(
            {"explained": _shares(root=True)},
            "Your last share is not 1. What is the total variance, in terms of the squares?",
        ),
        Mistake(
            {"explained": _shares(ascending=True)},
            "Your shares begin with the smallest component (eigvalsh gives them in this order). Which comes "
            "first?",
        ),
        Mistake(
            {"edm_left": 1 - EDM_LEFT},
            "That is what the first component explains. What does it leave?",
        ),
        Mistake(
            {"vp_left": 1 - VP_LEFT},
            "That is what the first component explains, in VP's scale. What does it leave?",
        ),
        Mistake(
            {"vp_left": EDM_LEFT},
            "Those are EDM's coordinates again. By what is the state at level s multiplied on the way to VP?",
        ),
        Mistake(
            {"vp_left": float(1 - explained(_paths()[0] / (1 + _paths()[1]).reshape(-1, 1, 1))[:, 0].mean())},
            "Your scale is 1/(1 + s): that is Flow's. In VP the squares of alpha and sigma add to 1.",
        ),
        Mistake(
            {"off_line": _off_line(_vp(*_paths()))},
            "You measure in VP's coordinates. The question is about the states whose share looks so good: "
            "EDM's.",
        ),
        Mistake(
            {"off_line": OFF_LINE**2},
            "That is a square: a distance is asked for.",
        ),
    ),
    hints=(
        "PCA is the singular value decomposition of the centred points. How many decompositions, for B "
        "trajectories?",
        "Move the samples' axis first, subtract the mean along time, take the singular values, square, add "
        "up from the first, divide by the total. In VP's scale divide each state by √(1 + s²) of its level.",
        "torch.linalg.svdvals works on a stack of matrices. For off_line take the first right singular "
        "vector, remove from the centred last state its part along it, and compare what is left with the "
        "length of the last state itself (not centred); then the mean over the samples.",
    ),
)

# --- 6.4: the analytic first step ---------------------------------------------------------------------------


def _first(direction):
    """`first_step` with this direction(x, s, mean, std)."""

    def first_step(x, s, r, mean, std):
        return x + (r - s) * direction(x, s, mean, std)

    return first_step


def _closed(x, s, mean, std):
    """eps for Gaussian data."""
    return s * (x - mean) / (std**2 + s**2)


@lru_cache
def _noisy(level):
    """2000 samples of TANGLE at this level, and the exact eps."""
    x = TANGLE.sample(2000, seed=3) + level * initial_noise(2000, 8, seed=4, dtype=torch.float64)
    return x, TANGLE.model(EDM()).eps(x, float(level))


def _relative(direction, level):
    """The relative error of a direction(x, s, mean, std) on TANGLE."""
    x, eps = _noisy(level)
    std = float(torch.diagonal(TANGLE.covariance()).mean().sqrt())
    return float((direction(x, level, TANGLE.mean(), std) - eps).norm() / eps.norm())


RATIO_20 = _relative(lambda x, s, mean, std: x / s, 20)
CLOSED_20 = _relative(_closed, 20)
ITSELF_20 = _relative(lambda x, s, mean, std: x, 20)
SAFE = next(level for level in LEVELS if _relative(_closed, level) < 0.02)


def _probe_first(answer, seed):
    mean, x0 = normal(seed, 3, stream=1), normal(seed, 4, 3)
    s = uniform(seed, 5.0, 9.0)
    x = mean + 0.7 * x0 + s * normal(seed, 4, 3, stream=2)
    return {
        "state at level 2": answer.first_step(x, s, 2.0, mean, 0.7),
        "state at level 2, data at 0 with std 3": answer.first_step(x, s, 2.0, torch.zeros(3).double(), 3.0),
    }


def _first_facts(answer, seed):
    values = right_numbers(
        answer, 0.02, relative=True, error_itself=ITSELF_20, error_ratio=RATIO_20, error_closed=CLOSED_20
    )
    values |= right_numbers(answer, 1e-6, relative=True, safe_from=SAFE)
    choices = ("eps in VP", "eps in EDM", "velocity in VP")
    return values | right_words(answer, choices, true_of="eps in VP")


FIRST = Task(
    id="6.4",
    title="Find the bug: a first step for nothing",
    kind="find-the-bug",
    difficulty=2,
    minutes=25,
    points=5,
    ids=("B17", "BB10"),
    names=("first_step", "error_itself", "error_ratio", "error_closed", "safe_from", "true_of"),
    probe=_probe_first,
    facts=_first_facts,
    reference={
        "first_step": _first(_closed),
        "error_itself": ITSELF_20,
        "error_ratio": RATIO_20,
        "error_closed": CLOSED_20,
        "safe_from": SAFE,
        "true_of": "eps in VP",
    },
    asks={
        "error_ratio": "x/s against the exact eps at level 20, on the 2000 states given: norm of the "
        "difference over norm of eps, all entries together. Is that your number?",
        "error_closed": "The closed form at level 20, with the mixture's own mean and std (of one "
        "coordinate, over all of them): is that your number?",
    },
    mistakes=(
        Mistake(
            {"first_step": _first(lambda x, s, mean, std: x)},
            "This is the listing as it was given: at level 80 x is about 80 long in each coordinate. How "
            "long is eps?",
            as_given=True,
        ),
        Mistake(
            {"first_step": _first(lambda x, s, mean, std: x / s)},
            "The size is right now. But this takes all of x for noise, as if the data were a point at 0: "
            "where do mean and std come in?",
        ),
        Mistake(
            {"first_step": _first(lambda x, s, mean, std: x / math.sqrt(1 + s**2))},
            "This divides by a fixed root with a 1 under it, whatever the data are. You are given their mean "
            "and std: use them.",
        ),
        Mistake(
            {"first_step": _first(lambda x, s, mean, std: s * x / (std**2 + s**2))},
            "The data's mean is in x, and it is no noise. Where is it taken away?",
        ),
        Mistake(
            {"first_step": _first(lambda x, s, mean, std: (x - mean) / (std**2 + s**2))},
            "Above the variance of x there stands x less its mean: that is minus the score. By what is the "
            "score multiplied to become eps?",
        ),
        Mistake(
            {"first_step": _first(lambda x, s, mean, std: s * (x - mean) / (std + s) ** 2)},
            "You have added two standard deviations. Of x_0 + s z, what adds up?",
        ),
        Mistake(
            {"first_step": _first(lambda x, s, mean, std: (x - mean) / math.sqrt(std**2 + s**2))},
            "You have normalised x: its variance is 1 now. The expected noise is smaller than that, since "
            "some of x is data. What is Cov(z, x) over Var(x)?",
        ),
        Mistake(
            {"first_step": lambda x, s, r, mean, std: _closed(x, s, mean, std)},
            "That is the direction. Where does the step with it lead?",
        ),
        Mistake(
            {"first_step": lambda x, s, r, mean, std: x - (r - s) * _closed(x, s, mean, std)},
            "Your step goes up, to more noise. Which sign has r − s?",
        ),
        Mistake(
            {
                "first_step": lambda x, s, r, mean, std: (
                    mean + (x - mean) * math.sqrt((std**2 + r**2) / (std**2 + s**2))
                )
            },
            "That is the exact flow of Gaussian data, and no step of Euler: a solver wants the *direction* "
            "at the start, to do with as it does with the model's.",
        ),
        Mistake(
            {"error_itself": RATIO_20},
            "That is the error of x/s. The listing takes x itself.",
        ),
        Mistake(
            {"error_ratio": ITSELF_20},
            "That is the error of x itself. Divide it by the level first.",
        ),
        Mistake(
            {"error_closed": RATIO_20},
            "That is the error of x/s. The closed form also knows where the data are and how wide.",
        ),
        Mistake(
            {"error_closed": _relative(lambda x, s, mean, std: x / math.sqrt(1 + s**2), 20)},
            "That is x/√(1 + s²), as some code has it: data of mean 0 and std 1. This mixture's mean is "
            "elsewhere.",
        ),
        Mistake(
            {"safe_from": 20},
            "At 20 it is safe. So it is at a smaller level of the list already.",
        ),
        Mistake(
            {"safe_from": 5},
            "At 5 the modes can be told apart too well: the error is above 2 per cent.",
        ),
        Mistake(
            {"true_of": "eps in EDM"},
            "You have measured that error: it is the first number. In which scale is x at the start of the "
            "same size as eps?",
        ),
        Mistake(
            {"true_of": "velocity in VP"},
            "Near t = 1 VP's state is almost at rest: it is all noise and stays so. Its velocity is far "
            "smaller than x. What else has size 1 there?",
        ),
    ),
    hints=(
        "Three candidates for a direction, and only one has the size of noise *and* knows the data. Look at "
        "their sizes at level 80 first.",
        "For Gaussian data E[z | x] is a straight line in x. Its slope is Cov(z, x)/Var(x), with x = x_0 + s "
        "z.",
        "The covariance of z and x is s, the variance of x is std² + s², and the line goes through 0 where x "
        "is the mean. Then one step of Euler with it, r − s long. For safe_from go through the list and "
        "take the first level below 2 per cent.",
    ),
)

# --- 6.5: one step of AMED ----------------------------------------------------------------------------------


def _mid(s, e, r):
    """The level in between, a number or (B,)."""
    return s ** (1 - r) * e**r


def _amed(
    mid=_mid, told=lambda m, s, e: m, scale=lambda c, d: _column(c) * d, base="x", mixed=False, wasted=False
):
    """`amed_step` with one thing changed: the level, what the model is told, c, where the step starts, which
    direction it takes."""

    def amed_step(eps, x, s, e, r, c):
        first = eps(x, s)
        m = mid(s, e, r)
        halfway = x + _column(m - s) * first
        second = eps(halfway, told(m, s, e))
        if mixed:
            second = (first + second) / 2
        if wasted:
            second = first
        start, length = (x, e - s) if base == "x" else (halfway, _column(e - m) if base == "rest" else e - s)
        return start + length * scale(c, second)

    return amed_step


def _plugin(rest=True, both=False, again=True, scaled=True):
    """`plugin_step` with one thing changed."""

    def plugin_step(eps, x, s, e, r, c):
        m, first = _mid(s, e, r), eps(x, s)
        halfway = x + _column(m - s) * (_column(c) if both else 1) * first
        second = eps(halfway, m) if again else first
        start, length = (halfway, _column(e - m)) if rest else (x, e - s)
        return start + length * (_column(c) if scaled else 1) * second

    return plugin_step


def _probe_step(answer, seed):
    asked = []

    def eps(x, level):
        level = torch.as_tensor(level, dtype=torch.float64)
        if level.ndim > 1:
            raise Remark(f"The model is told one level a sample, shape (B,): yours has {tuple(level.shape)}.")
        asked.append(level.expand(len(x)))
        return torch.tanh(0.3 * x / _column(asked[-1])) + 0.1 * x

    x, s, e = 3 * normal(seed, 3, 2), uniform(seed, 3.0, 5.0), 0.4
    r = torch.tensor([0.2, 0.5, uniform(seed, 0.6, 0.9)], dtype=torch.float64)
    c = torch.tensor([0.96, 1.0, 1.05], dtype=torch.float64)
    values = {"AMED step": answer.amed_step(eps, x, s, e, r, c)}
    values["levels of its second call"] = asked[1] if len(asked) > 1 else "there is none"
    values["its calls"] = float(len(asked))
    half, one = torch.full_like(r, 0.5), torch.ones_like(c)
    model = SimpleNamespace(eps=eps, schedule=EDM())
    *_, (_, known) = dpm_solver_2(model, x, [s, e])
    values["minus DPM-Solver-2 at r = 1/2, c = 1"] = answer.amed_step(eps, x, s, e, half, one) - known
    asked.clear()
    values["plugin step on DDIM"] = answer.plugin_step(eps, x, s, e, r, c)
    return values | {"calls of the plugin": float(len(asked))}


STEP = Task(
    id="6.5",
    title="One step of AMED, each sample at its own level",
    kind="implement-sampler",
    difficulty=2,
    minutes=25,
    points=5,
    ids=("B11", "B13", "B16", "BB9"),
    names=("amed_step", "plugin_step"),
    probe=_probe_step,
    reference={"amed_step": _amed(), "plugin_step": _plugin()},
    asks={
        "its calls": "One step asks the model twice, at the start and in between: how often does yours?",
        "levels of its second call": "Each sample has a level of its own, a^(1 − r) b^r with a the start's: "
        "what does your second call tell the model?",
    },
    mistakes=(
        Mistake(
            {"amed_step": _amed(mid=lambda s, e, r: _mid(s, e, 1 - r))},
            "Your r counts from the end of the step: at r = 0 the level in between should be that of the "
            "start.",
        ),
        Mistake(
            {"amed_step": _amed(mid=lambda s, e, r: s + r * (e - s))},
            "You interpolate the levels linearly. The statement does it geometrically: at r = 1/2, which "
            "mean of s and e is it?",
        ),
        Mistake(
            {"amed_step": _amed(mid=lambda s, e, r: _mid(s, e, r.mean() if torch.is_tensor(r) else r))},
            "All your samples share one level, the mean of r: each has its own.",
        ),
        Mistake(
            {"amed_step": _amed(told=lambda m, s, e: s)},
            "The second call gets the state in between and the level of the start. Which level belongs to "
            "it?",
        ),
        Mistake(
            {"amed_step": _amed(base="halfway")},
            "You add the whole step to the state in between, and so walk too far. From where does the "
            "second line of the statement start?",
        ),
        Mistake(
            {"amed_step": _amed(base="rest")},
            "From the state in between, with what is left of the step: that is two steps of Euler, which is "
            "the plugin on DDIM. AMED-Solver makes the whole step from x.",
        ),
        Mistake(
            {"amed_step": _amed(scale=lambda c, d: d)},
            "c does nothing in your step: what is it multiplied with?",
        ),
        Mistake(
            {"amed_step": _amed(scale=lambda c, d: d / _column(c))},
            "You divide by c. A c above 1 should make the step longer.",
        ),
        Mistake(
            {"amed_step": _amed(wasted=True)},
            "The step is made with the direction at the start, so that the second call is thrown away. Which "
            "direction stands for the whole step?",
        ),
        Mistake(
            {"amed_step": _amed(mixed=True)},
            "The mean of both directions is Heun's thought. Here one direction, that in between, stands for "
            "all.",
        ),
        Mistake(
            {"plugin_step": _plugin(rest=False)},
            "That is AMED-Solver. The plugin makes two steps of DDIM one after the other: from where does "
            "the second one start, and how long is it?",
        ),
        Mistake(
            {"plugin_step": _plugin(both=True)},
            "You scale both steps. The statement scales the second only.",
        ),
        Mistake(
            {"plugin_step": _plugin(again=False)},
            "Your second step uses the direction of the first: without a second call nothing is gained.",
        ),
        Mistake(
            {"plugin_step": _plugin(scaled=False)},
            "c does nothing in your plugin. Which of the two steps has it?",
        ),
    ),
    hints=(
        "Two calls each, and the same first half. Where do the two methods part?",
        "The level in between is (B,), so that it needs a second axis wherever it meets a state, and none "
        "where the model is told it. AMED-Solver then starts again from x, the plugin goes on.",
        "Euler with the first direction, m − s long, leads to the state in between; ask there, telling the "
        "model m. AMED-Solver: from x, e − s long, that answer times c. The plugin: from the state in "
        "between, e − m long, that answer times c.",
    ),
)

# --- 6.6: one training step ---------------------------------------------------------------------------------


def _loss(
    forced=False,
    cut_halfway=False,
    cut_level=False,
    between=True,
    before=False,
    join=lambda distances: torch.stack(distances).mean(),
    distance=lambda gap: gap.square().mean(),
    shift=False,
):
    """`training_loss` with something broken in it: whose state an interval starts from, where the gradient is
    cut, and how the distances are joined."""

    def training_loss(eps, predict, x, levels, wanted):
        distances, state = [], x
        for i, (s, e) in enumerate(zip(levels, levels[1:])):
            if forced and i:
                state = wanted[i - 1]
            state = state.detach() if between else state
            m = s ** (1 - (r := predict(state, s, e))) * e**r
            halfway = state + _column(m - s) * eps(state, s)
            told = m.detach() if cut_level else m
            begin, state = state, state + (e - s) * eps(halfway.detach() if cut_halfway else halfway, told)
            found = state.detach() if before else state
            goal = begin if shift else wanted[i]
            distances.append(distance(found - goal))
        return join(distances)

    return training_loss


def _probe_training(answer, seed):
    calls = []
    theta = (0.5 * normal(seed, 2, stream=3)).requires_grad_()

    def eps(x, level):
        calls.append(x.detach())
        level = torch.as_tensor(level, dtype=x.dtype).reshape(-1, 1)
        return torch.tanh(x / (0.5 + level)) + 0.1 * x

    def predict(x, s, e):
        return torch.sigmoid(theta[0] + theta[1] * math.log(s) + 0.3 * x.mean(1))

    x, levels = 4 * normal(seed, 4, 2), [4.0, 1.0, 0.2, 0.05]
    wanted = [0.4 * x, 0.15 * x + 0.1, 0.1 * x + 0.1]
    loss = answer.training_loss(eps, predict, x, levels, wanted)
    if not torch.is_tensor(loss) or loss.ndim:
        raise Remark("The loss is one number for the batch: a tensor without axes.")
    if not loss.requires_grad:
        raise Remark(
            "Your loss has no gradient at all: the state at the end of a step must still hang on r when it "
            "is compared."
        )
    (slope,) = torch.autograd.grad(loss, [theta])
    return {
        "loss": loss.detach(),
        "gradient in the predictor": slope,
        "state at the start of the second interval": calls[2] if len(calls) > 2 else "there is none",
        "calls of the model": float(len(calls)),
    }


TRAINING = Task(
    id="6.6",
    title="Find the bug: a student that never stands on its own feet",
    kind="find-the-bug",
    difficulty=3,
    minutes=35,
    points=5,
    ids=("B12", "B18"),
    names=("training_loss",),
    probe=_probe_training,
    reference={"training_loss": _loss()},
    decimals=5,
    asks={
        "gradient in the predictor": "The loss is right and its gradient is not: follow r into the state in "
        "between, into the model, and out again. Where is the thread cut, or where is it not?",
        "calls of the model": "Three intervals, two calls each: how many does yours make?",
    },
    mistakes=(
        Mistake(
            {"training_loss": _loss(forced=True, cut_halfway=True)},
            "This is the listing as it was given: it has two mistakes. From whose state does the second "
            "interval start, and by which ways does r act on the loss?",
            as_given=True,
        ),
        Mistake(
            {"training_loss": _loss(cut_halfway=True)},
            "The student now walks by itself. But r acts in two ways, through the level that the model is "
            "told and through the state that it is shown, and one of the two is still cut.",
        ),
        Mistake(
            {"training_loss": _loss(forced=True)},
            "The gradient is whole now. But each interval still starts where the *teacher* is: whose errors "
            "will the student never learn to mend?",
        ),
        Mistake(
            {"training_loss": _loss(cut_level=True)},
            "The level that the model is told hangs on r as well as the state does, and you have cut it.",
        ),
        Mistake(
            {"training_loss": _loss(between=False)},
            "Value right; but now a later interval's loss reaches into an earlier one's r. The paper's "
            "training, and this task, let each interval answer for itself: where is the state cut?",
        ),
        Mistake(
            {"training_loss": _loss(before=True)},
            "Your loss has no gradient at all. Is the state cut before it is compared, or is the model asked "
            "under no_grad? Frozen means that its parameters do not learn, not that nothing flows through "
            "it.",
        ),
        Mistake(
            {"training_loss": _loss(join=lambda distances: torch.stack(distances).sum())},
            "You add the intervals up. The statement takes their mean.",
        ),
        Mistake(
            {"training_loss": _loss(join=lambda distances: distances[-1])},
            "Only the last interval counts in your loss. With the state cut between them, who teaches the "
            "others?",
        ),
        Mistake(
            {"training_loss": _loss(distance=lambda gap: gap.square().mean().sqrt())},
            "You take the root of the mean square: its gradient is another one.",
        ),
        Mistake(
            {"training_loss": _loss(distance=lambda gap: gap.square().sum(1).mean())},
            "You sum over the entries of a sample; the statement's mean is over all entries.",
        ),
        Mistake(
            {"training_loss": _loss(shift=True)},
            "You compare the end of the interval with the state at its start: which of the teacher's states "
            "belongs to level e?",
        ),
    ),
    hints=(
        "There are two mistakes: one in what the second interval starts from, one in where the gradient can "
        "go. The first shows in the value, the second in the gradient only.",
        "At sampling time there is no teacher. And a frozen network is not a constant: its *output* still "
        "changes with its input.",
        "Carry one state through the loop, the student's. Cut it once, at the start of each interval, so "
        "that an interval cannot see the one before. Between r and the distance nothing is cut: not the "
        "state in between, not the level.",
    ),
)

# --- 6.7: where the second order begins to pay --------------------------------------------------------------


def _sweep(
    first=(2, 64), second=(1, 32), cost=2, xscale="log", yscale="log", xlabel="calls", labels=("one", "two")
):
    """The drawing of task 6.7 with what may go wrong in it: the steps shown, what a step of the second costs,
    the axes, which line has which name."""

    def draw(one_call, two_calls, most):
        ax = Figure(figsize=(6, 3.6)).add_subplot()
        for name, error, per, (low, high) in zip(labels, (one_call, two_calls), (1, cost), (first, second)):
            steps = sorted({round(low * (high / low) ** (i / 6)) for i in range(7)})
            calls = [per * n for n in steps]
            ax.plot(
                calls, [error(n) for n in steps], "o-", label=f"{name} call{'s' * (name == 'two')} a step"
            )
        ax.set(xscale=xscale, yscale=yscale, xlabel=xlabel, ylabel="error")
        return ax

    return draw


# On the eight modes of the statement; the solution computes them anew.
CROSSING, FLATTERED, WORSE, WORSE_BY_STEPS = 20, 6, 7.172465, 2.079003


def _probe_sweep(answer, seed):
    crossing, most = uniform(seed, 7.0, 15.0), 64
    drawn = answer.draw(lambda n: 2.0 / n, lambda n: 0.5 * crossing / n**2, most)
    seen = read_axes(drawn)
    values = {"x scale, y scale": f"{seen.xscale}, {seen.yscale}"}
    values["axes labelled"] = "yes" if seen.xlabel and seen.ylabel else "no"
    lines = []
    for name in ("one call a step", "two calls a step"):
        if name not in seen.lines:
            there = ", ".join(repr(label) for label in seen.lines) or "none"
            raise Remark(f"The figure has no line labelled {name!r}; its lines are {there}.")
        x, y = seen.lines[name]
        if len(x) < 4 or not (y > 0).all() or not (x > 0).all() or not x.min() < x.max():
            raise Remark(f"The line {name!r} needs at least four numbers of calls, and errors above 0.")
        if x.max() > most:
            raise Remark(f"The line {name!r} goes on to {x.max():g} calls; {most} are allowed.")
        lines.append((x, np.polyfit(np.log(x), np.log(y), 1)))
    (at_one, (slope_one, height_one)), (at_two, (slope_two, height_two)) = lines
    values["slopes"] = [slope_one, slope_two]
    if abs(slope_one - slope_two) > 1e-6:
        meet = math.exp((height_one - height_two) / (slope_two - slope_one))
        inside = [x.min() < meet / 1.5 and x.max() > 1.5 * meet for x in (at_one, at_two)]
        values["calls at the crossing"] = meet
        values["both lines reach across it"] = "yes" if all(inside) else "no"
    return values


def _sweep_facts(answer, seed):
    values = right_numbers(answer, 1e-6, relative=True, crossing=CROSSING, flattered=FLATTERED)
    values |= right_numbers(answer, 0.01, relative=True, worse=WORSE)
    return values | right_words(answer, ("holds", "fails"), claim="fails")


SWEEP = Task(
    id="6.7",
    title="A sweep whose figure must show the crossing",
    kind="figure",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("B13", "B15", "BB11"),
    names=("draw", "crossing", "flattered", "worse", "claim"),
    probe=_probe_sweep,
    facts=_sweep_facts,
    reference={
        "draw": _sweep(),
        "crossing": CROSSING,
        "flattered": FLATTERED,
        "worse": WORSE,
        "claim": "fails",
    },
    tolerance=1e-4,
    decimals=3,
    asks={
        "crossing": "Print both errors for each even number of calls: DPM-Solver-2 makes half as many steps. "
        "From which on is its error the smaller one?",
        "flattered": "Print both errors for each number of steps. From which on is DPM-Solver-2's the "
        "smaller one?",
        "worse": "Four calls are 4 steps of the one and 2 of the other: is that your quotient?",
        "both lines reach across it": "The lines cross at the number of calls above. A figure that is to "
        "show it needs both on either side, by half as much again: from how few calls to how many do "
        "yours go?",
    },
    mistakes=(
        Mistake(
            {"draw": _sweep(cost=1)},
            "Your second line is drawn over its steps, and so stands at half of its cost: the crossing comes "
            "too early. What is on the axis?",
        ),
        Mistake(
            {"draw": _sweep(xscale="linear", yscale="linear")},
            "On these axes both errors are curves hugging the frame. On which axes is a power a straight "
            "line?",
        ),
        Mistake(
            {"draw": _sweep(xscale="linear")},
            "Only the error's axis is logarithmic: there an exponential is straight, and a power is not.",
        ),
        Mistake(
            {"draw": _sweep(xlabel="")},
            "Calls or steps? Nothing on your horizontal axis says which: name both axes.",
        ),
        Mistake(
            {"draw": _sweep(first=(20, 64), second=(10, 32))},
            "You begin where the second order already wins, and the figure hides that it ever lost. From "
            "how few calls must the lines start?",
        ),
        Mistake(
            {"draw": _sweep(first=(1, 6), second=(1, 3))},
            "You stop before the lines meet, so that the figure has one winner only. Up to how many calls "
            "may you go?",
        ),
        Mistake(
            {"draw": _sweep(second=(2, 64))},
            "The second line goes to 64 *steps*. How many calls are those?",
        ),
        Mistake(
            {"draw": _sweep(labels=("two", "one"), cost=2)},
            "The two labels are exchanged: which of the lines is the steep one?",
        ),
        Mistake(
            {"crossing": FLATTERED},
            "That is where it wins with the same number of *steps*, for twice the calls.",
        ),
        Mistake(
            {"crossing": CROSSING // 2},
            "That is a number of steps. How many calls does DPM-Solver-2 make in it?",
        ),
        Mistake(
            {"crossing": 18},
            "At 18 calls it is close: print both errors with four digits.",
        ),
        Mistake(
            {"flattered": CROSSING},
            "That is the fair number, in calls. Here the steps are to be equal.",
        ),
        Mistake(
            {"flattered": 2 * FLATTERED},
            "That is the number of its calls. Count steps.",
        ),
        Mistake(
            {"worse": 1 / WORSE},
            "Your quotient stands on its head: DPM-Solver-2's error goes above the line.",
        ),
        Mistake(
            {"worse": WORSE_BY_STEPS},
            "At 4 *steps* each, DPM-Solver-2 makes 8 calls. Give both 4 calls.",
        ),
        Mistake(
            {"claim": "holds"},
            "Look at your number for 4 calls. What does an order promise, and for which steps?",
        ),
    ),
    hints=(
        "Before drawing, print both errors for the same number of calls, few and many. Between which two "
        "does the winner change?",
        "Make two lists of steps. One method's calls are its steps, the other's twice as many: the second "
        "list ends at half of `most`. Start both near one or two steps.",
        "Powers of two as numbers of steps do well: from 1 or 2 up to most, and up to half of most. For "
        "`crossing` go through the even numbers of calls from 40 downwards, until DPM-Solver-2 loses; the "
        "one before is the answer. For `flattered` give both the same number of steps.",
    ),
)

# --- 6.8: the biased teacher --------------------------------------------------------------------------------

STD, START = 0.5, 20.0
GRID = grids.karras(EDM(sigma_max=START), 3).tolist()


def _heun(d, s, e, substeps, rho=7.0, order=2):
    """What `substeps` steps of Heun multiply x by from level s to e; with order 1, of Euler."""
    ends = s ** (1 / rho), e ** (1 / rho)
    levels = [(ends[0] + (ends[1] - ends[0]) * i / substeps) ** rho for i in range(substeps + 1)]
    factor = 1.0
    for a, b in zip(levels, levels[1:]):
        first = a / (d**2 + a**2)
        second = (1 + (b - a) * first) * b / (d**2 + b**2)
        factor *= 1 + (b - a) * ((first + second) / 2 if order == 2 else first)
    return factor


def amed_factor(d, s, e, r):
    """What a step of AMED-Solver (c = 1) multiplies x by."""
    m = _mid(s, e, r)
    halfway = 1 + (m - s) * s / (d**2 + s**2)
    return 1 + (e - s) * halfway * m / (d**2 + m**2)


def _deviation(factor):
    """The deviation at the end of GRID, from the exact one at its start, of a factor(s, e)."""
    return math.prod(factor(s, e) for s, e in zip(GRID, GRID[1:])) * math.hypot(STD, START)


EXACT = math.hypot(STD, GRID[-1])
TEACHER_2, TEACHER_8 = (_deviation(lambda s, e, n=n: _heun(STD, s, e, n)) for n in (2, 8))
FIXED = _deviation(lambda s, e: amed_factor(STD, s, e, 0.35))


def _off(value, ruler):
    """The relative error against a ruler."""
    return abs(value / ruler - 1)


def _probe_teacher(answer, seed):
    d = uniform(seed, 0.3, 1.0)
    return {
        "Heun from 5 to 1, 1 substep": float(answer.heun_factor(d, 5.0, 1.0, 1)),
        "Heun from 5 to 1, 3 substeps": float(answer.heun_factor(d, 5.0, 1.0, 3)),
    }


def _teacher_facts(answer, seed):
    values = right_numbers(
        answer,
        0.01,
        relative=True,
        teacher_2=_off(TEACHER_2, EXACT),
        teacher_8=_off(TEACHER_8, EXACT),
        fixed_seen=_off(FIXED, TEACHER_2),
        fixed_true=_off(FIXED, EXACT),
    )
    values |= right_words(answer, ("student", "fixed"), better="fixed")
    return values | right_words(answer, ("calls", "grid", "noise", "measure"), unfair="measure")


TEACHER = Task(
    id="6.8",
    title="The biased teacher",
    kind="claim",
    difficulty=2,
    minutes=25,
    points=5,
    ids=("B12", "B14", "B18"),
    names=("heun_factor", "teacher_2", "teacher_8", "fixed_seen", "fixed_true", "better", "unfair"),
    probe=_probe_teacher,
    facts=_teacher_facts,
    reference={
        "heun_factor": _heun,
        "teacher_2": _off(TEACHER_2, EXACT),
        "teacher_8": _off(TEACHER_8, EXACT),
        "fixed_seen": _off(FIXED, TEACHER_2),
        "fixed_true": _off(FIXED, EXACT),
        "better": "fixed",
        "unfair": "measure",
    },
    asks={
        "teacher_2": "Three intervals, two substeps each: the product of your factors, times the deviation "
        "at level 20, against the exact deviation at 0.002. Is that your number?",
        "fixed_true": "The same with amed_factor at r = 0.35, against the *exact* deviation: is that your "
        "number?",
    },
    mistakes=(
        Mistake(
            {"heun_factor": lambda d, s, e, substeps: _heun(d, s, e, substeps, order=1)},
            "That is Euler's step. Heun asks once more at the end of each substep: for what?",
        ),
        Mistake(
            {"heun_factor": lambda d, s, e, substeps: _heun(d, s, e, 1)},
            "Your factor does not depend on the number of substeps: where are the levels in between?",
        ),
        Mistake(
            {"heun_factor": lambda d, s, e, substeps: _heun(d, s, e, substeps, rho=1.0)},
            "Your substeps are equal in s. The statement's are equal in another power of s.",
        ),
        Mistake(
            {"heun_factor": lambda d, s, e, substeps: _heun(d, s, e, substeps, rho=1e6)},
            "Your substeps are equal in ln s. The statement's are equal in another power of s.",
        ),
        Mistake(
            {"heun_factor": lambda d, s, e, substeps: _heun(d, s, e, substeps + 1)},
            "With 1 substep there is no level in between, and yours has one.",
        ),
        Mistake(
            {"teacher_2": TEACHER_2},
            "That is a deviation. How far is it from the exact one, in shares of that?",
        ),
        Mistake(
            {"teacher_2": _off(_deviation(lambda s, e: _heun(STD, s, e, 1)), EXACT)},
            "That is the error with one substep an interval.",
        ),
        Mistake(
            {"teacher_8": _off(TEACHER_2, EXACT)},
            "That is the error with 2 substeps.",
        ),
        Mistake(
            {"teacher_8": _off(_deviation(lambda s, e: _heun(STD, s, e, 4)), EXACT)},
            "That is the error with 4 substeps.",
        ),
        Mistake(
            {"fixed_seen": _off(FIXED, EXACT)},
            "That is its true error. The report measures against the teacher of two substeps.",
        ),
        Mistake(
            {"fixed_seen": _off(TEACHER_2, FIXED)},
            "You divide by the fixed time's deviation. The ruler, which goes below the line, is the "
            "teacher's.",
        ),
        Mistake(
            {"fixed_true": _off(FIXED, TEACHER_2)},
            "That is what the report sees, with the teacher for a ruler. Measure against the exact "
            "deviation.",
        ),
        Mistake(
            {"better": "student"},
            "The student is where its teacher is. How far is that from the truth, and how far is the fixed "
            "time?",
        ),
        Mistake(
            {"unfair": "calls"},
            "Both make two calls in each of three steps. What else do the two rows not share?",
        ),
        Mistake(
            {"unfair": "grid"},
            "Both stand at the same four levels. Against what are they compared there?",
        ),
        Mistake(
            {"unfair": "noise"},
            "On this data a step is a multiplication: no noise is better than another, and no share was "
            "chosen on noise. Against what are the results compared?",
        ),
    ),
    hints=(
        "Who wins a spelling contest in which the jury is the teacher of one of the two, and cannot spell?",
        "One substep of Heun multiplies x by 1 + (e − s)(k_1 + k_2)/2, with x = 1 at its start. Several "
        "substeps multiply.",
        "All deviations are the product of three factors times √(d² + 20²). Compare each with the ruler "
        "that the question names: quotient less 1, without its sign. The student's deviation is its "
        "teacher's.",
    ),
)

# --- 6.9: what g_phi learned --------------------------------------------------------------------------------

TABLE = (20.0, 2.8, 0.2, 0.002)
UNKNOWN = 0.36


def _bisect(function, low, high):
    """The root in [low, high] of an increasing function."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2


def solver_share(d, s, e):
    """The r at which a step of AMED-Solver with c = 1 is exact on N(0, d^2)."""
    exact = math.hypot(d, e) / math.hypot(d, s)
    return _bisect(lambda r: amed_factor(d, s, e, r) - exact, 0.0, 1.0)


def _probe_learned(answer, seed):
    d = uniform(seed, 0.2, 1.0)
    return {
        "share of the step 3 to 0.2": float(answer.solver_share(d, 3.0, 0.2)),
        "share of the step 20 to 0.01": float(answer.solver_share(d, 20.0, 0.01)),
    }


def _learned_facts(answer, seed):
    values = right_numbers(answer, 1e-6, relative=True, informative=2)
    values |= right_numbers(
        answer,
        0.01,
        relative=True,
        std_read=UNKNOWN,
        level_asked=_mid(2.8, 0.2, solver_share(UNKNOWN, 2.8, 0.2)),
    )
    values |= right_words(answer, ("above", "below"), solver_level="above")
    return values | right_words(answer, ("can", "cannot"), features="cannot")


LEARNED = Task(
    id="6.9",
    title="Read what g_phi learned",
    kind="number",
    difficulty=2,
    minutes=25,
    points=4,
    ids=("B10", "B11", "B18"),
    names=("solver_share", "informative", "std_read", "level_asked", "solver_level", "features"),
    probe=_probe_learned,
    facts=_learned_facts,
    reference={
        "solver_share": solver_share,
        "informative": 2,
        "std_read": UNKNOWN,
        "level_asked": _mid(2.8, 0.2, solver_share(UNKNOWN, 2.8, 0.2)),
        "solver_level": "above",
        "features": "cannot",
    },
    tolerance=1e-5,
    asks={
        "std_read": "Put your number into solver_share for each step of the table: do all three shares come "
        "out, to three digits?",
        "level_asked": "The second step's share is an exponent, as in 6.5: which level is it?",
    },
    mistakes=(
        Mistake(
            {"solver_share": best_share},
            "That is 6.1's share, on the exact path. A solver only has the state that Euler's step leads to: "
            "whose factor must be exact?",
        ),
        Mistake(
            {"solver_share": lambda d, s, e: 1 - solver_share(d, s, e)},
            "Your share counts from the wrong end: at r = 0 the level is that of the start.",
        ),
        Mistake(
            {"solver_share": lambda d, s, e: 0.5},
            "That is the untrained predictor. Which r makes the step exact?",
        ),
        Mistake(
            {
                "solver_share": lambda d, s, e: _bisect(
                    lambda r: amed_factor(d, s, e, r) - e / s,
                    0.0,
                    1.0,
                )
            },
            "You ask x to shrink as the level does. The flow of N(0, d²) shrinks x as the deviation of x, "
            "data included.",
        ),
        Mistake(
            {
                "solver_share": lambda d, s, e: _bisect(
                    lambda r: amed_factor(d, s, e, r) - _heun(d, s, e, 2), 0.0, 1.0
                )
            },
            "That is what a student of a teacher with two substeps learns. The exact factor is known here.",
        ),
        Mistake(
            {"informative": 1},
            "Try d = 0.2 and d = 0.5 for the first step: in which digit do the shares differ?",
        ),
        Mistake(
            {"informative": 3},
            "Far below d the slope is a straight line, whatever d is: the last step knows nothing of it.",
        ),
        Mistake(
            {"std_read": UNKNOWN**2},
            "That is a variance.",
        ),
        Mistake(
            {"std_read": 0.5},
            "That was 6.8's data. What does solver_share give for it at the second step?",
        ),
        Mistake(
            {"level_asked": (2.8 + 0.2) / 2},
            "That is half-way between the levels. What is the share a share of?",
        ),
        Mistake(
            {"level_asked": math.sqrt(2.8 * 0.2)},
            "That is the untrained predictor's level, at r = 1/2.",
        ),
        Mistake(
            {"level_asked": _mid(0.2, 2.8, solver_share(UNKNOWN, 2.8, 0.2))},
            "You counted the share from the end of the step.",
        ),
        Mistake(
            {"solver_level": "below"},
            "Compare the two shares for one step. A smaller share leaves the level nearer to the start: is "
            "that higher or lower?",
        ),
        Mistake(
            {"features": "can"},
            "On this data a step multiplies every x by the same factor. Which sample would want another r?",
        ),
    ),
    hints=(
        "On Gaussian data a step is one multiplication, and so is the exact flow: a share is best when the "
        "two factors agree.",
        "The factor of a step grows with r, so that the interval from 0 to 1 can be halved again and again. "
        "For the table find the step whose share changes when d does.",
        "Halve the interval 60 times: if the factor is too small, r is larger than the middle. For std_read "
        "do the same in d with the second step's share, which falls when d grows (or try d on a fine grid). "
        "Level: the start to the power 1 − r times the end to the power r.",
    ),
)

TASKS = (SCALAR, VECTOR, PCA, FIRST, STEP, TRAINING, SWEEP, TEACHER, LEARNED)
