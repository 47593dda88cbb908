"""The tasks of lesson 06: the mean-value idea, AMED-Solver and AMED-Plugin, and the mean as a network.

The levels are EDM's (alpha = 1, time is the noise level), so that the probability flow is dx/ds = eps(x, s).
On Gaussian data a step is a multiplication and the mean value is algebra; nothing is trained.  A training
loss is judged by its value and by its gradient in a predictor of two parameters.
"""

import math
from types import SimpleNamespace

import numpy as np
import sympy
import torch

from book.ch06 import solution
from book.lessons import (
    Made,
    Mistake,
    Remark,
    Task,
    changes,
    error_lines,
    named_expressions,
    normal,
    read_axes,
    right_numbers,
    right_words,
    uniform,
)
from toolkit import EDM, grids
from toolkit.dpm_solver import dpm_solver_2

_wrong = changes(solution)


# --- 6.1: the mean value of a scalar ------------------------------------------------------------------------

_LEVEL = "m * d / math.sqrt(1 - m**2)"
_SHARE = f"math.log({_LEVEL} / a) / math.log(b / a)"


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
    return right_words(answer, ("geometric", "arithmetic"), large=solution.large, small=solution.small)


_SLOPE = "(math.hypot(d, a) - math.hypot(d, b)) / (a - b)"  # the mean, in the function

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
        "mean": solution.mean,
        "level": "m*d/sqrt(1 - m**2)",
        "best_share": solution.best_share,
        "large": solution.large,
        "small": solution.small,
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
            {"mean": "(a/sqrt(d**2 + a**2) + b/sqrt(d**2 + b**2))/2"}
            | _wrong("best_share", (_SLOPE, "(a / math.hypot(d, a) + b / math.hypot(d, b)) / 2")),
            "In formula and function your mean is that of the slopes at the two ends. The exact one needs no "
            "slope: where does the step begin and end?",
        ),
        Mistake(
            {"mean": "(a + b)/2/sqrt(d**2 + (a + b)**2/4)"}
            | _wrong("best_share", (_SLOPE, "(a + b) / 2 / math.hypot(d, (a + b) / 2)")),
            "In formula and function you take the slope at the middle level for the mean. The exact mean is "
            "a quotient of two differences.",
        ),
        Mistake(
            {"level": "m**2*d**2/(1 - m**2)"},
            "That is s². Which root of it is the level?",
        ),
        Mistake(
            {"level": "m*d/(1 - m**2)"},
            "You have taken the root of a part of s² only: below the line it is missing.",
        ),
        Mistake(
            {"level": "m*d/sqrt(1 + m**2)"},
            "Square both sides, and bring s² to one side: which sign does m² get there?",
        ),
        Mistake(
            _wrong("best_share", (_SHARE, f"math.log({_LEVEL} / b) / math.log(a / b)")),
            "Your share counts from the wrong end: at r = 0 the level is that of the start, a.",
        ),
        Mistake(
            _wrong("best_share", (_SHARE, f"(a - {_LEVEL}) / (a - b)")),
            "You measure the share on the axis of the levels. The statement's r is an exponent: on which "
            "axis is it a share?",
        ),
        Mistake(
            _wrong("best_share", (_SHARE, "0.5")),
            "One half is what DPM-Solver-2 takes, whatever the data. Yours should depend on d.",
        ),
        Mistake(
            _wrong("best_share", (_SHARE, _LEVEL)),
            "You return the level itself. Which exponent r makes a^(1 − r) b^r equal to it?",
        ),
        Mistake(
            {"large": solution.small, "small": solution.large},
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

_MEAN = "torch.trapezoid(v, t, dim=0) / (b - a)"
_NEAREST = "(v - average).norm(dim=1).min()"
_VERDICTS = {f"velocity_{i}": getattr(solution, f"velocity_{i}") for i in (1, 2, 3, 4)}


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
        rest = float(answer.residual(velocity, a, b))
        # a grid of times, however fine, leaves a little where the theorem holds; and who divides by the
        # circle's mean, which is 0, gets anything
        values[f"residual of {name}"] = 0.0 if 0 <= rest < 5e-3 else min(rest, 10.0)
    return values | named_expressions(answer, seed, 2, arc_residual=dict(w=(0.5, 3.0)))


def _vector_facts(answer, seed):
    values = right_numbers(answer, 1e-2, relative=True, power=solution.power)
    return values | right_words(answer, ("holds", "fails"), **_VERDICTS)


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
        "residual": solution.residual,
        "arc_residual": solution.arc_residual,
        "power": solution.power,
        **_VERDICTS,
    },
    tolerance=2e-3,
    decimals=2,
    asks={
        "residual of (1, t, t²)": "On the curves before this one yours is right. Is your grid of times fine "
        "enough here: does it change when you take ten times as many?",
    }
    | {
        name: f"Think of the curve that the tip of {name} draws (not the path): is it on one straight line? "
        "And what does your residual say on an interval or two?"
        for name in _VERDICTS
    },
    mistakes=(
        Mistake(
            _wrong("residual", (_MEAN, "(v[0] + v[-1]) / 2")),
            "Your mean is that of the two ends. The velocity between them counts as well: which integral is "
            "it?",
        ),
        Mistake(
            _wrong("residual", (" / (b - a)", "")),
            "You compare the velocity with an integral, a displacement. By what is it divided to be a mean?",
        ),
        Mistake(
            _wrong("residual", (_NEAREST, "(v[1000] - average).norm()")),
            "You look at the middle of the interval only. The theorem promises *some* time: where is the "
            "smallest distance?",
        ),
        Mistake(
            _wrong("residual", (_NEAREST, "(v.norm(dim=1) - average.norm()).abs().min()")),
            "You compare lengths. Two vectors of the same length can point anywhere: whose length is wanted?",
        ),
        Mistake(
            _wrong("residual", (_NEAREST, "(v - average).abs().amin(dim=0).norm()")),
            "You let each coordinate choose a time of its own: for one coordinate the theorem always holds. "
            "All must share one time.",
        ),
        Mistake(
            _wrong("residual", (".min()", ".max()")),
            "That is the largest distance. ρ is the one that the best time leaves.",
        ),
        Mistake(
            _wrong("residual", (".min()", ".min().square()")),
            "You return the square of the smallest distance.",
        ),
        Mistake(
            _wrong("residual", (_NEAREST, "(v - average).square().mean(dim=1).sqrt().min()")),
            "You take the mean over the coordinates. The norm ‖·‖ is the length of the vector.",
        ),
        Mistake(
            _wrong("residual", (_NEAREST, "(v - average).abs().sum(dim=1).min()")),
            "You add up the sizes of the coordinates. A vector's length is the root of a sum of squares.",
        ),
        Mistake(
            _wrong("residual", ("linspace(a, b", "linspace(0, b")),
            "Your times begin at 0. Where does the interval begin?",
        ),
        Mistake(
            _wrong("residual", (".min()", ".mean()")),
            "That is the mean distance over all times. The theorem asks for the best one.",
        ),
        Mistake(
            _wrong("residual", (_NEAREST, f"({_NEAREST} / average.norm())")),
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
            {"arc_residual": "1 - sin(w/2)/w"},
            "From −w/2 to w/2 the integral of the cosine is twice the sine of the end.",
        ),
        Mistake(
            {"arc_residual": "sqrt(1 + 4*sin(w/2)**2/w**2 - 4*sin(w/2)*cos(w/2)/w)"},
            "So far from the mean are the velocities at the two *ends* of the arc. Which one is nearest?",
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
            {"power": 4},
            "The squares of both are compared in your expansion: the residual itself is 1 less the length "
            "of the mean.",
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

# Of the statement's 32 trajectories; the solution computes them anew.
_LEFT = {"edm_left": 0.000128801051, "vp_left": 0.0247948206, "off_line": 0.270559710}
_FLOW_LEFT, _OFF_LINE_IN_VP = 0.0348079583, 0.0456559374  # in other coordinates
_OFF_CENTRED, _OFF_LENGTH, _OFF_MEANS = 0.0207013672, 0.685927729, 0.265113190  # over other lengths
_OFF_ORIGIN, _OFF_BUNDLE, _OFF_SHIFTED = 0.821185421, 12.1733476, 0.827713803  # from other lines
_UNSQUARED = 0.0117647310  # of singular values


def _probe_pca(answer, seed):
    t = torch.linspace(0, 1, 12, dtype=torch.float64).reshape(-1, 1, 1)
    a, b, c = (normal(seed, 3, 5, stream=k) for k in (1, 2, 3))
    straight, curved = answer.explained(5 + c + t * a), answer.explained(c + t * a + 3 * t**2 * b)
    return {
        "shares of three noisy paths": answer.explained(normal(seed, 12, 3, 4).cumsum(0)),
        "first two of straight paths": np.asarray(straight, dtype=float)[:, :2],
        "first two of parabolas": np.asarray(curved, dtype=float)[:, :2],
    }


def _pca_facts(answer, seed):
    return right_numbers(answer, 0.01, relative=True, **_LEFT)


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
    reference={"explained": solution.explained, **_LEFT},
    decimals=5,
    mistakes=(
        Mistake(
            _wrong("explained", (" - points.mean(dim=1, keepdim=True)", "")),
            "You have not taken the mean away, so that a path far from the origin looks like one direction. "
            "Which mean: over what?",
        ),
        Mistake(
            _wrong("explained", ("mean(dim=1", "mean(dim=0")),
            "You subtract the mean over the samples at each time. A trajectory's own mean is taken along "
            "which axis?",
        ),
        Mistake(
            _wrong("explained", (".square()", "")),
            "Singular values are lengths. Variance is what is shared out here.",
        ),
        Mistake(
            _wrong(
                "explained",
                ("svdvals(points", "svdvals((points"),
                (")).square()", ")).flatten(0, 1)).square().expand(len(points), -1)"),
            ),
            "One PCA for all samples together tells how many dimensions the *bundle* has. The question is "
            "how flat each trajectory is.",
        ),
        Mistake(
            _wrong("explained", (".cumsum(dim=1)", "")),
            "Those are the shares of the single components. What do the first k explain together?",
        ),
        Mistake(
            _wrong("explained", ("power.sum(", "power.norm(")),
            "Your last share is not 1. What is the total variance, in terms of the squares?",
        ),
        Mistake(
            _wrong("explained", (".square()", ".square().flip(1)")),
            "Your shares begin with the smallest component (eigvalsh gives them in this order). Which comes "
            "first?",
        ),
        Mistake(
            {"edm_left": 1 - _LEFT["edm_left"]},
            "That is what the first component explains. What does it leave?",
        ),
        Mistake(
            {"vp_left": 1 - _LEFT["vp_left"]},
            "That is what the first component explains, in VP's scale. What does it leave?",
        ),
        Mistake(
            {"vp_left": _LEFT["edm_left"]},
            "Those are EDM's coordinates again. By what is the state at level s multiplied on the way to VP?",
        ),
        Mistake(
            {"vp_left": _FLOW_LEFT},
            "Your scale is 1/(1 + s): that is Flow's. In VP the squares of alpha and sigma add to 1.",
        ),
        Mistake(
            {"off_line": _OFF_LINE_IN_VP},
            "You measure in VP's coordinates. The question is about the states whose share looks so good: "
            "EDM's.",
        ),
        Mistake(
            {"off_line": _LEFT["off_line"] ** 2},
            "That is a square: a distance is asked for.",
        ),
        Mistake(
            {"off_line": _OFF_CENTRED},
            "You divide by the length of the *centred* last state, its distance from the trajectory's mean, "
            "which is made by the large levels. How long is the last state itself?",
        ),
        Mistake(
            {"off_line": _OFF_ORIGIN},
            "Your line goes through the origin: its direction is that of points that are not centred. "
            "Through which point does a best line go?",
        ),
        Mistake(
            {"off_line": _OFF_BUNDLE},
            "You took one line for all trajectories. Each has its own.",
        ),
        Mistake(
            {"off_line": _OFF_SHIFTED},
            "You measure from the origin with the direction of the centred points: the line goes through the "
            "trajectory's mean.",
        ),
        Mistake(
            {"off_line": _OFF_LENGTH},
            "That is the distance alone. It is asked for as a share of the last state's length.",
        ),
        Mistake(
            {"off_line": _OFF_MEANS},
            "You divide one mean by another. Take the quotient for each trajectory first, then the mean.",
        ),
        Mistake(
            {"edm_left": _UNSQUARED},
            "Your explained is right, and this number is of singular values, which are lengths. Take it from "
            "your function.",
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

_EPS = "s * (x - mean) / (std**2 + s**2)"
_EULER = "x + (r - s) * eps"

# On the statement's 2000 states at level 20; the solution computes them anew.
_GUESS_ERRORS = {"error_itself": 19.0413033, "error_ratio": 0.0244793442, "error_closed": 0.00255767314}
_UNIT_ERROR = 0.0243912730  # of x / sqrt(1 + s^2)
_SAFE_FROM = 10


def _probe_first(answer, seed):
    mean, x0 = normal(seed, 3, stream=1), normal(seed, 4, 3)
    s = uniform(seed, 5.0, 9.0)
    x = mean + 0.7 * x0 + s * normal(seed, 4, 3, stream=2)
    return {
        "state at level 2": answer.first_step(x, s, 2.0, mean, 0.7),
        "state at level 2, data at 0 with std 3": answer.first_step(x, s, 2.0, torch.zeros(3).double(), 3.0),
    }


def _first_facts(answer, seed):
    values = right_numbers(answer, 0.02, relative=True, **_GUESS_ERRORS)
    values |= right_numbers(answer, 1e-6, relative=True, safe_from=_SAFE_FROM)
    choices = ("eps in VP", "eps in EDM", "velocity in VP")
    return values | right_words(answer, choices, true_of=solution.true_of)


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
        "first_step": solution.first_step,
        **_GUESS_ERRORS,
        "safe_from": _SAFE_FROM,
        "true_of": solution.true_of,
    },
    asks={
        "safe_from": "Print the closed form's error at each level of the list, with the mixture's own mean "
        "and std. Which is the smallest level at which it is below 0.02?",
        "error_ratio": "x/s against the exact eps at level 20, on the 2000 states given: norm of the "
        "difference over norm of eps, all entries together. Is that your number?",
        "error_closed": "The closed form at level 20, with the mixture's own mean and std (of one "
        "coordinate, over all of them): is that your number?",
    },
    mistakes=(
        Mistake(
            _wrong("first_step", (_EPS, "x")),
            "This is the listing as it was given: at level 80 x is about 80 long in each coordinate. How "
            "long is eps?",
            as_given=True,
        ),
        Mistake(
            _wrong("first_step", (_EPS, "x / s")),
            "The size is right now. But this takes all of x for noise, as if the data were a point at 0: "
            "where do mean and std come in?",
        ),
        Mistake(
            _wrong("first_step", (_EPS, "x / math.sqrt(1 + s**2)")),
            "This divides by a fixed root with a 1 under it, whatever the data are. You are given their mean "
            "and std: use them.",
        ),
        Mistake(
            _wrong("first_step", ("(x - mean)", "x")),
            "The data's mean is in x, and it is no noise. Where is it taken away?",
        ),
        Mistake(
            _wrong("first_step", ("s * (x", "(x")),
            "Above the variance of x there stands x less its mean: that is minus the score. By what is the "
            "score multiplied to become eps?",
        ),
        Mistake(
            _wrong("first_step", ("(std**2 + s**2)", "(std + s) ** 2")),
            "You have added two standard deviations. Of x_0 + s z, what adds up?",
        ),
        Mistake(
            _wrong("first_step", (_EPS, "(x - mean) / math.sqrt(std**2 + s**2)")),
            "You have normalised x: its variance is 1 now. The expected noise is smaller than that, since "
            "some of x is data. What is Cov(z, x) over Var(x)?",
        ),
        Mistake(
            _wrong("first_step", (_EULER, "eps")),
            "That is the direction. Where does the step with it lead?",
        ),
        Mistake(
            _wrong("first_step", ("x + (r", "x - (r")),
            "Your step goes up, to more noise. Which sign has r − s?",
        ),
        Mistake(
            _wrong(
                "first_step", (_EULER, "mean + (x - mean) * math.sqrt((std**2 + r**2) / (std**2 + s**2))")
            ),
            "That is the exact flow of Gaussian data, and no step of Euler: a solver wants the *direction* "
            "at the start, to do with as it does with the model's.",
        ),
        Mistake(
            {"error_itself": _GUESS_ERRORS["error_ratio"]},
            "That is the error of x/s. The listing takes x itself.",
        ),
        Mistake(
            {"error_ratio": _GUESS_ERRORS["error_itself"]},
            "That is the error of x itself. Divide it by the level first.",
        ),
        Mistake(
            {"error_closed": _GUESS_ERRORS["error_ratio"]},
            "That is the error of x/s. The closed form also knows where the data are and how wide.",
        ),
        Mistake(
            {"error_closed": _UNIT_ERROR},
            "That is x/√(1 + s²), as some code has it: data of mean 0 and std 1. This mixture's mean is "
            "elsewhere.",
        ),
        Mistake(
            {"safe_from": 40},
            "That is where x/s is good enough, or √(1 + s²) under x. The closed form is the better guess: "
            "from which level on?",
        ),
        Mistake(
            {"safe_from": 80},
            "Most solvers start there, and that is more than safe. Go down the list: where does the closed "
            "form's error rise above 2 per cent?",
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

_MIDDLE = "s ** (1 - r) * e**r"
_KEPT = ("eps(x, s)", "(first := eps(x, s))")  # the first direction, for use in the last line


def _in_both(*edits):
    """AMED's step and the plugin's with the same edits."""
    return _wrong("amed_step", *edits) | _wrong("plugin_step", *edits)


def _probe_step(answer, seed):
    asked = []

    def eps(x, level):
        level = torch.as_tensor(level, dtype=torch.float64)
        if level.ndim > 1:
            raise Remark(f"The model is told one level a sample, shape (B,): yours has {tuple(level.shape)}.")
        asked.extend(level.expand(len(x)).tolist())
        return torch.tanh(0.3 * x / level.expand(len(x))[:, None]) + 0.1 * x

    x, s, e = 3 * normal(seed, 3, 2), uniform(seed, 3.0, 5.0), 0.4
    r = torch.tensor([0.2, 0.5, uniform(seed, 0.6, 0.9)], dtype=torch.float64)
    c = torch.tensor([0.96, 1.0, 1.05], dtype=torch.float64)
    values = {"AMED step": answer.amed_step(eps, x, s, e, r, c)}
    values["calls a sample"] = len(asked) / len(x)  # for all at once, or for one after the other
    values["levels that the model is told"] = sorted(asked)
    half, one = torch.full_like(r, 0.5), torch.ones_like(c)
    model = SimpleNamespace(eps=eps, schedule=EDM())
    *_, (_, known) = dpm_solver_2(model, x, [s, e])
    mine = torch.as_tensor(answer.amed_step(eps, x, s, e, half, one), dtype=torch.float64)
    values["minus DPM-Solver-2 at r = 1/2, c = 1"] = mine - known
    asked.clear()
    values["plugin step on DDIM"] = answer.plugin_step(eps, x, s, e, r, c)
    return values | {"calls of the plugin, a sample": len(asked) / len(x)}


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
    reference={"amed_step": solution.amed_step, "plugin_step": solution.plugin_step},
    asks={
        "AMED step": "Follow one sample with r = 1/2 and c = 1 by hand: where is it after the first line of "
        "the statement, which level is the model told there, and from where does the second line start?",
        "plugin step on DDIM": "Two steps of Euler, one after the other: where does your second one start, "
        "how long is it, and which level is the model told?",
        "calls a sample": "One step asks the model twice a sample, at the start and in between: how often "
        "does yours?",
        "levels that the model is told": "Each sample has a level of its own, s^(1 − r) e^r: which levels "
        "does your step tell the model?",
    },
    mistakes=(
        Mistake(
            _wrong("amed_step", (_MIDDLE, "s**r * e ** (1 - r)")),
            "Your r counts from the end of the step: at r = 0 the level in between should be that of the "
            "start.",
        ),
        Mistake(
            _wrong("amed_step", (_MIDDLE, "s + r * (e - s)")),
            "You interpolate the levels linearly. The statement does it geometrically: at r = 1/2, which "
            "mean of s and e is it?",
        ),
        Mistake(
            _wrong("amed_step", ("m = s", "r = r.mean().expand(len(r))\n    m = s")),
            "All your samples share one level, the mean of r: each has its own.",
        ),
        Mistake(
            _wrong("amed_step", ("eps(u, m)", "eps(u, s)")),
            "The second call gets the state in between and the level of the start. Which level belongs to "
            "it?",
        ),
        Mistake(
            _wrong("amed_step", ("eps(u, m)", "eps(u, e)")),
            "The second call is told the level at which the step ends. The state that it sees lies in "
            "between: at which level?",
        ),
        Mistake(
            _in_both(("eps(u, m)", "eps(u, e)")),
            "In both steps the second call is told the level at which the step ends. At which level is the "
            "state that it sees?",
        ),
        Mistake(
            _in_both((_MIDDLE, "s**r * e ** (1 - r)")),
            "In both steps your r counts from the end: at r = 0 the level in between should be that of the "
            "start.",
        ),
        Mistake(
            _in_both((_MIDDLE, "s + r * (e - s)")),
            "In both steps you interpolate the levels linearly. The statement does it geometrically: at "
            "r = 1/2, which mean of s and e is it?",
        ),
        Mistake(
            _in_both(("m = s", "r = r.mean().expand(len(r))\n    m = s")),
            "In both steps all your samples share one level, the mean of r: each has its own.",
        ),
        Mistake(
            _in_both(("eps(u, m)", "eps(u, s)")),
            "In both steps the second call gets the state in between and the level of the start. Which level "
            "belongs to it?",
        ),
        Mistake(
            _in_both(("eps(u, m)", "eps(x, m)")),
            "In both steps the second call is shown the state of the start, told another level. Which state "
            "lies there?",
        ),
        Mistake(
            _in_both(("eps(u, m)", "eps(u, c * m)")),
            "In both steps c scales the level that the model is told. What does the statement scale with it?",
        ),
        Mistake(
            _wrong(
                "plugin_step",
                (
                    "u + (c * (e - m))[:, None] * eps(u, m)",
                    "x + c[:, None] * (u - x + (e - m)[:, None] * eps(u, m))",
                ),
            ),
            "You scale the whole way from x to the end. The statement scales the second of the two steps.",
        ),
        Mistake(
            _in_both(("(m - s)", "(c * (m - s))")),
            "In both steps c scales the way to the state in between, too. Where does the statement have it?",
        ),
        Mistake(
            _wrong("amed_step", ("c[:, None] * ", "")) | _wrong("plugin_step", ("(c * (e - m))", "(e - m)")),
            "c does nothing, in both of your steps: what is it multiplied with?",
        ),
        Mistake(
            _wrong("amed_step", ("(m - s)", "(c * (m - s))")),
            "You scale the way to the state in between, too. The statement scales the whole step only.",
        ),
        Mistake(
            _wrong("amed_step", ("c[:, None] * (e - s)", "(c * (e - m))[:, None]")),
            "Your step from x is as long as what is left from the level in between. How far is it from s?",
        ),
        Mistake(
            _wrong("amed_step", ("(e - s)", "(s - e)")),
            "Your whole step leads up, to more noise: which sign has e − s?",
        ),
        Mistake(
            _wrong("plugin_step", ("return u", "return x")),
            "Your second step begins at x again, and is as long as the way from the level in between. Where "
            "does the plugin stand by then?",
        ),
        Mistake(
            _wrong("amed_step", ("eps(u, m)", "eps(x, m)")),
            "The second call is told the level in between and shown the state of the start. Which state lies "
            "there?",
        ),
        Mistake(
            _wrong("amed_step", ("eps(u, m)", "eps(u, c * m)")),
            "c scales the step, and you have scaled the level that the model is told.",
        ),
        Mistake(
            _wrong("plugin_step", ("eps(u, m)", "eps(u, e)")),
            "The plugin's second step begins in between, and its call is told the level of the end.",
        ),
        Mistake(
            _wrong("plugin_step", ("eps(u, m)", "eps(u, s)")),
            "The plugin's second call is told the level of the start. Where is the state by then?",
        ),
        Mistake(
            _wrong("plugin_step", ("(e - m)", "(e - s)")),
            "Your plugin goes from the state in between and by the whole length of the step. How much of it "
            "is left?",
        ),
        Mistake(
            _wrong("amed_step", ("return x", "return u")),
            "You add the whole step to the state in between, and so walk too far. From where does the "
            "second line of the statement start?",
        ),
        Mistake(
            {"amed_step": solution.plugin_step},
            "From the state in between, with what is left of the step: that is two steps of Euler, which is "
            "the plugin on DDIM. AMED-Solver makes the whole step from x.",
        ),
        Mistake(
            _wrong("amed_step", ("c[:, None] * ", "")),
            "c does nothing in your step: what is it multiplied with?",
        ),
        Mistake(
            _wrong("amed_step", ("c[:, None] *", "1 / c[:, None] *")),
            "You divide by c. A c above 1 should make the step longer.",
        ),
        Mistake(
            _wrong("amed_step", _KEPT, ("* eps(u, m)", "* first"), ("return", "eps(u, m)\n    return")),
            "The step is made with the direction at the start, so that the second call is thrown away. Which "
            "direction stands for the whole step?",
        ),
        Mistake(
            _wrong("amed_step", _KEPT, ("eps(u, m)", "(first + eps(u, m)) / 2")),
            "The mean of both directions is Heun's thought. Here one direction, that in between, stands for "
            "all.",
        ),
        Mistake(
            {"plugin_step": solution.amed_step},
            "That is AMED-Solver. The plugin makes two steps of DDIM one after the other: from where does "
            "the second one start, and how long is it?",
        ),
        Mistake(
            _wrong("plugin_step", ("(m - s)", "(c * (m - s))")),
            "You scale both steps. The statement scales the second only.",
        ),
        Mistake(
            _wrong("plugin_step", _KEPT, ("eps(u, m)", "first")),
            "Your second step uses the direction of the first: without a second call nothing is gained.",
        ),
        Mistake(
            _wrong("plugin_step", ("(c * (e - m))", "(e - m)")),
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

# Each interval starts where the teacher is, and the state in between is cut: the listing has both.
_FORCED = (("s, e, y", "s, e, state, y"), ("levels[1:], wanted", "levels[1:], [x, *wanted], wanted"))
_CUT = ("eps(halfway,", "eps(halfway.detach(),")


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
    if not torch.is_tensor(loss):
        raise Remark(
            "The loss is a tensor without axes, through which a gradient can run. Yours is no tensor: is "
            "there an item(), a float() or numpy in it?"
        )
    if loss.ndim:
        raise Remark(f"The loss is one number for the batch: yours still has the shape {tuple(loss.shape)}.")
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
        "calls of the model": sum(map(len, calls)) / len(x),
    }


TRAINING = Task(
    id="6.6",
    title="Find the bug: a student that never stands on its own feet",
    kind="find-the-bug",
    difficulty=3,
    minutes=35,
    points=5,
    ids=("B12",),
    names=("training_loss",),
    probe=_probe_training,
    reference={"training_loss": solution.training_loss},
    decimals=5,
    asks={
        "gradient in the predictor": "The loss is right and its gradient is not: follow r into the state in "
        "between, into the model, and out again. Where is the thread cut, or where is it not?",
        "calls of the model": "Three intervals, two calls each: how many does yours make?",
    },
    mistakes=(
        Mistake(
            _wrong("training_loss", *_FORCED, _CUT),
            "This is the listing as it was given: it has two mistakes. From whose state does the second "
            "interval start, and by which ways does r act on the loss?",
            as_given=True,
        ),
        Mistake(
            _wrong("training_loss", _CUT),
            "The student now walks by itself. But r acts in two ways, through the level that the model is "
            "told and through the state that it is shown, and one of the two is still cut.",
        ),
        Mistake(
            _wrong("training_loss", *_FORCED),
            "The gradient is whole now. But each interval still starts where the *teacher* is: whose errors "
            "will the student never learn to mend?",
        ),
        Mistake(
            _wrong("training_loss", ("(halfway, m)", "(halfway, m.detach())")),
            "The level that the model is told hangs on r as well as the state does, and you have cut it.",
        ),
        Mistake(
            _wrong("training_loss", ("state = state.detach()\n", "\n")),
            "Value right; but now a later interval's loss reaches into an earlier one's r. The paper's "
            "training, and this task, let each interval answer for itself: where is the state cut?",
        ),
        Mistake(
            _wrong("training_loss", ("(state - y)", "(state.detach() - y)")),
            "Your loss has no gradient at all. Is the state cut before it is compared, or is the model asked "
            "under no_grad? Frozen means that its parameters do not learn, not that nothing flows through "
            "it.",
        ),
        Mistake(
            _wrong("training_loss", ("(distances).mean()", "(distances).sum()")),
            "You add the intervals up. The statement takes their mean.",
        ),
        Mistake(
            _wrong("training_loss", ("torch.stack(distances).mean()", "distances[-1]")),
            "Only the last interval counts in your loss. With the state cut between them, who teaches the "
            "others?",
        ),
        Mistake(
            _wrong("training_loss", ("(distances).mean()", "(distances).log().mean()")),
            "You take the logarithm of each interval's distance, as the chapter does so that the last "
            "intervals count as much as the first. The statement's L has the distances themselves.",
        ),
        Mistake(
            _wrong("training_loss", ("s ** (1 - r) * e**r", "s**r * e ** (1 - r)")),
            "Your r counts from the end of the interval: at r = 0 the level in between should be the "
            "start's.",
        ),
        Mistake(
            _wrong("training_loss", ("s ** (1 - r) * e**r", "s + r * (e - s)")),
            "Your level in between is a share of the levels themselves. The listing had it right: on which "
            "axis is r a share?",
        ),
        Mistake(
            _wrong("training_loss", ("state = state + (e - s)", "state = halfway + (e - m)[:, None]")),
            "That is the plugin's step, from the state in between. The student here makes the whole step "
            "from the state at the start.",
        ),
        Mistake(
            _wrong("training_loss", ("eps(halfway, m)", "eps(halfway, s)")),
            "The model is shown the state in between and told the level of the start.",
        ),
        Mistake(
            _wrong("training_loss", ("eps(halfway, m)", "eps(halfway, e)")),
            "The model is shown the state in between and told the level of the interval's end.",
        ),
        Mistake(
            _wrong("training_loss", ("(state - y).square()", "(state - y).abs()")),
            "You take the distance itself, and the statement its square.",
        ),
        Mistake(
            _wrong("training_loss", ("r = predict(state, s, e)", "r = predict(x, s, e)")),
            "The predictor is shown the noise in every interval. Which state does g see in the formula?",
        ),
        Mistake(
            _wrong("training_loss", (".square().mean()", ".square().mean().sqrt()")),
            "You take the root of the mean square: its gradient is another one.",
        ),
        Mistake(
            _wrong("training_loss", (".square().mean()", ".square().sum(dim=1).mean()")),
            "You sum over the entries of a sample; the statement's mean is over all entries.",
        ),
        Mistake(
            _wrong(
                "training_loss",
                ("state = state + (e", "before, state = state, state + (e"),
                ("- y", "- before"),
            ),
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

_STEPS = "[2**k for k in range(1, 20) if 2**k <= most]"
_ONE, _TWO = '"o-", label="one call a step"', '"s--", label="two calls a step"'  # the lines

# On the eight modes of the statement; the solution computes them anew.
_WINS = {"crossing": 20, "flattered": 6}
_WORSE, _WORSE_BY_STEPS = 7.172465, 2.079003


def _probe_sweep(answer, seed):
    crossing, most = uniform(seed, 7.0, 15.0), 64
    drawn = answer.draw(lambda n: 2.0 / n, lambda n: 0.5 * crossing / n**2, most)
    seen = read_axes(drawn)
    values = {"x scale, y scale": f"{seen.xscale}, {seen.yscale}"}
    values["axes labelled"] = "yes" if seen.xlabel and seen.ylabel else "no"
    lines, spent = [], []
    for name, (x, y) in error_lines(seen, "one call a step", "two calls a step", count=None).items():
        if len(x) < 4 or not (x > 0).all() or not x.min() < x.max():
            raise Remark(f"The line {name!r} needs at least four numbers of calls.")
        if x.max() > most:
            raise Remark(f"The line {name!r} goes on to {x.max():g} calls; {most} are allowed.")
        lines.append((x, np.polyfit(np.log(x), np.log(y), 1)))
        steps = (0.5 * crossing / y) ** 0.5 if name.startswith("two") else 2.0 / y
        spent.append(float(np.median(x / steps)))
    values["what the axis counts a step, one and two calls"] = spent
    (at_one, (slope_one, height_one)), (at_two, (slope_two, height_two)) = lines
    values["slopes"] = [slope_one, slope_two]
    if abs(slope_one - slope_two) > 1e-6:
        meet = math.exp((height_one - height_two) / (slope_two - slope_one))
        values["calls at the crossing"] = meet
        low, high = max(at_one.min(), at_two.min()), min(at_one.max(), at_two.max())  # where both lines are
        short = "not to fewer calls" if low >= meet / 1.5 else "not to more calls"
        values["both lines reach across it"] = "yes" if low < meet / 1.5 and high > 1.5 * meet else short
    return values


def _sweep_facts(answer, seed):
    values = right_numbers(answer, 1e-6, relative=True, **_WINS)
    values |= right_numbers(answer, 0.01, relative=True, worse=_WORSE)
    return values | right_words(answer, ("holds", "fails"), claim=solution.claim)


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
        "draw": solution.draw,
        **_WINS,
        "worse": _WORSE,
        "claim": solution.claim,
    },
    tolerance=1e-4,
    decimals=3,
    asks={
        "crossing": "Print both errors for each even number of calls: DPM-Solver-2 makes half as many steps. "
        "From which on is its error the smaller one?",
        "flattered": "Print both errors for each number of steps. From which on is DPM-Solver-2's the "
        "smaller one?",
        "what the axis counts a step, one and two calls": "A step of the first method is one call, a step of "
        "the second two. By how much do your two lines move to the right with each step?",
        "worse": "Four calls are 4 steps of the one and 2 of the other: is that your quotient?",
        "both lines reach across it": "The lines cross at the number of calls above. A figure that is to "
        "show it needs both on either side, by half as much again: from how few calls to how many do "
        "yours go?",
    },
    mistakes=(
        Mistake(
            _wrong("draw", ("[2 * n for n in steps]", "steps")),
            "Your second line is drawn over its steps, and so stands at half of its cost: the crossing comes "
            "too early. What is on the axis?",
        ),
        Mistake(
            _wrong("draw", ("ax.set(", 'ax.set(xscale="linear", yscale="linear", ')),
            "On these axes both errors are curves hugging the frame. On which axes is a power a straight "
            "line?",
        ),
        Mistake(
            _wrong("draw", ("ax.set(", 'ax.set(xscale="linear", ')),
            "Only the error's axis is logarithmic: there an exponential is straight, and a power is not.",
        ),
        Mistake(
            _wrong("draw", ("calls of the model", "")),
            "Calls or steps? Nothing on your horizontal axis says which: name both axes.",
        ),
        Mistake(
            _wrong("draw", (_STEPS, "range(most // 4, most + 1, most // 8)")),
            "You begin where the second order already wins, and the figure hides that it ever lost. From "
            "how few calls must the lines start?",
        ),
        Mistake(
            _wrong("draw", (_STEPS, "range(2, 9, 2)")),
            "You stop before the lines meet, so that the figure has one winner only. Up to how many calls "
            "may you go?",
        ),
        Mistake(
            _wrong("draw", ("    steps = [n // 2 for n in steps]\n", "")),
            "The second line goes to 64 *steps*. How many calls are those?",
        ),
        Mistake(
            _wrong(
                "draw",
                (_ONE, _ONE.replace("one call", "two calls")),
                (_TWO, _TWO.replace("two calls", "one call")),
            ),
            "The two labels are exchanged: which of the lines is the steep one?",
        ),
        Mistake(
            {"crossing": _WINS["flattered"]},
            "That is where it wins with the same number of *steps*, for twice the calls.",
        ),
        Mistake(
            {"crossing": _WINS["crossing"] // 2},
            "That is a number of steps. How many calls does DPM-Solver-2 make in it?",
        ),
        Mistake(
            {"crossing": 18},
            "At 18 calls it is close: print both errors with four digits.",
        ),
        Mistake(
            {"flattered": _WINS["crossing"]},
            "That is the fair number, in calls. Here the steps are to be equal.",
        ),
        Mistake(
            {"flattered": 2 * _WINS["flattered"]},
            "That is the number of its calls. Count steps.",
        ),
        Mistake(
            {"worse": 1 / _WORSE},
            "Your quotient stands on its head: DPM-Solver-2's error goes above the line.",
        ),
        Mistake(
            {"worse": _WORSE_BY_STEPS},
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

_STD, _START = 0.5, 20.0
_GRID = grids.karras(EDM(sigma_max=_START), 3).tolist()
_EXACT = math.hypot(_STD, _GRID[-1])  # the deviation at the end
_ENDS = "s ** (1 / 7), e ** (1 / 7)"  # of the axis on which the substeps are equal


def _deviation(factor):
    """The deviation at the end of the report's levels, exact at their start, for a factor(s, e)."""
    return math.prod(factor(s, e) for s, e in zip(_GRID, _GRID[1:])) * math.hypot(_STD, _START)


def _taught(substeps):
    """The deviation of the teacher with so many substeps."""
    return _deviation(lambda s, e: solution.heun_factor(_STD, s, e, substeps))


def _off(value, ruler):
    """The relative error against a ruler."""
    return abs(value / ruler - 1)


_FIXED = _deviation(lambda s, e: solution.amed_factor(_STD, s, e, 0.35))
_END_ERRORS = {
    "teacher_2": _off(_taught(2), _EXACT),
    "teacher_8": _off(_taught(8), _EXACT),
    "fixed_seen": _off(_FIXED, _taught(2)),
    "fixed_true": _off(_FIXED, _EXACT),
}


def _probe_teacher(answer, seed):
    d = uniform(seed, 0.3, 1.0)
    return {
        "Heun from 5 to 1, 1 substep": float(answer.heun_factor(d, 5.0, 1.0, 1)),
        "Heun from 5 to 1, 3 substeps": float(answer.heun_factor(d, 5.0, 1.0, 3)),
    }


def _teacher_facts(answer, seed):
    values = right_numbers(answer, 0.01, relative=True, **_END_ERRORS)
    values |= right_words(answer, ("student", "fixed"), better=solution.better)
    return values | right_words(answer, ("calls", "grid", "noise", "measure"), unfair=solution.unfair)


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
        "heun_factor": solution.heun_factor,
        **_END_ERRORS,
        "better": solution.better,
        "unfair": solution.unfair,
    },
    asks={
        "teacher_2": "Three intervals, two substeps each: the product of your factors, times the deviation "
        "at level 20, against the exact deviation at 0.002. Is that your number?",
        "fixed_true": "The same with amed_factor at r = 0.35, against the *exact* deviation: is that your "
        "number?",
    },
    mistakes=(
        Mistake(
            _wrong("heun_factor", ("(k1 + k2) / 2", "k1")),
            "That is Euler's step. Heun asks once more at the end of each substep: for what?",
        ),
        Mistake(
            _wrong("heun_factor", ("zip(levels, levels[1:])", "[(s, e)]")),
            "Your factor does not depend on the number of substeps: where are the levels in between?",
        ),
        Mistake(
            _wrong("heun_factor", (_ENDS, "s, e"), (") ** 7", ")")),
            "Your substeps are equal in s. The statement's are equal in another power of s.",
        ),
        Mistake(
            _wrong("heun_factor", (_ENDS, "math.log(s), math.log(e)"), ("[(", "[math.exp("), (") ** 7", ")")),
            "Your substeps are equal in ln s. The statement's are equal in another power of s.",
        ),
        Mistake(
            _wrong(
                "heun_factor",
                ("i / substeps", "i / (substeps + 1)"),
                ("range(substeps + 1", "range(substeps + 2"),
            ),
            "With 1 substep there is no level in between, and yours has one.",
        ),
        Mistake(
            {"teacher_2": _taught(2)},
            "That is a deviation. How far is it from the exact one, in shares of that?",
        ),
        Mistake(
            {"teacher_2": _off(_taught(1), _EXACT)},
            "That is the error with one substep an interval.",
        ),
        Mistake(
            {"teacher_8": _off(_taught(2), _EXACT)},
            "That is the error with 2 substeps.",
        ),
        Mistake(
            {"teacher_8": _off(_taught(4), _EXACT)},
            "That is the error with 4 substeps.",
        ),
        Mistake(
            {"fixed_seen": _off(_FIXED, _EXACT)},
            "That is its true error. The report measures against the teacher of two substeps.",
        ),
        Mistake(
            {"fixed_seen": _off(_taught(2), _FIXED)},
            "You divide by the fixed time's deviation. The ruler, which goes below the line, is the "
            "teacher's.",
        ),
        Mistake(
            {"fixed_true": _off(_FIXED, _taught(2))},
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

_UNKNOWN, _SHARE_READ = 0.36, 0.370  # the d of the table, and its share of the second step
_EXACT_FACTOR = "math.hypot(d, e) / math.hypot(d, s)"
_INFORMATIVE = 2


def _probe_learned(answer, seed):
    d = uniform(seed, 0.2, 1.0)
    return {
        "share of the step 3 to 0.2": float(answer.solver_share(d, 3.0, 0.2)),
        "share of the step 20 to 0.01": float(answer.solver_share(d, 20.0, 0.01)),
    }


def _learned_facts(answer, seed):
    values = right_numbers(answer, 1e-6, relative=True, informative=_INFORMATIVE)
    values |= right_numbers(answer, 0.01, relative=True, std_read=_UNKNOWN, level_asked=solution.level_asked)
    values |= right_words(answer, ("above", "below"), solver_level=solution.solver_level)
    return values | right_words(answer, ("can", "cannot"), features=solution.features)


LEARNED = Task(
    id="6.9",
    title="Read what g_phi learned",
    kind="number",
    difficulty=2,
    minutes=25,
    points=4,
    ids=("B10", "B11"),
    names=("solver_share", "informative", "std_read", "level_asked", "solver_level", "features"),
    probe=_probe_learned,
    facts=_learned_facts,
    reference={
        "solver_share": solution.solver_share,
        "informative": _INFORMATIVE,
        "std_read": _UNKNOWN,
        "level_asked": solution.level_asked,
        "solver_level": solution.solver_level,
        "features": solution.features,
    },
    tolerance=1e-5,
    asks={
        "std_read": "Put your number into solver_share for each step of the table: do all three shares come "
        "out, to three digits?",
        "level_asked": "The second step's share is an exponent, as in 6.5: which level is it?",
    },
    mistakes=(
        Mistake(
            {"solver_share": solution.best_share},
            "That is 6.1's share, on the exact path. A solver only has the state that Euler's step leads to: "
            "whose factor must be exact?",
        ),
        Mistake(
            _wrong("solver_share", ("return r", "return 1 - r")),
            "Your share counts from the wrong end: at r = 0 the level is that of the start.",
        ),
        Mistake(
            _wrong("solver_share", ("return r", "return 0.5")),
            "That is the untrained predictor. Which r makes the step exact?",
        ),
        Mistake(
            _wrong("solver_share", (_EXACT_FACTOR, "e / s")),
            "You ask x to shrink as the level does. The flow of N(0, d²) shrinks x as the deviation of x, "
            "data included.",
        ),
        Mistake(
            _wrong("solver_share", (_EXACT_FACTOR, "heun_factor(d, s, e, 2)")),
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
            {"std_read": _UNKNOWN**2},
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
            {"level_asked": 0.2 ** (1 - _SHARE_READ) * 2.8**_SHARE_READ},
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

# --- 6.10: the plugin on a solver that remembers ------------------------------------------------------------

# On the statement's 64 noises; the solution computes them anew.
_SHARES, _GAIN = {"share_1": 0.7, "share_2": 0.4}, 0.725924073
_SHARES_RIGHT, _GAIN_RIGHT = (0.7, 0.2), 0.848981628  # with the right weights in the place of the fixed ones
_ALIKE = 1.0  # the best gain of one share for both, which is that of one half


def _probe_plugin(answer, seed):
    gaps, told = dict(h=(-0.9, -0.2), g=(-0.9, -0.2)), []
    values = named_expressions(answer, seed, 2, now=gaps, before=gaps)
    values |= named_expressions(answer, seed, 2, left=dict(u=(-0.9, -0.2), v=(-0.9, -0.2)))

    def eps(x, level):
        level = torch.as_tensor(level, dtype=torch.float64).reshape(-1, 1).expand(len(x), 1)
        told.extend(level[:, 0].tolist())
        return torch.tanh(0.3 * x / level) + 0.1 * x

    def line(x, level):
        level = torch.as_tensor(level, dtype=torch.float64).reshape(-1, 1).expand(len(x), 1)
        return 1 + 2 * level + 0 * x

    def odd(h, g):
        asked.append((float(h), float(g)))
        return 1.1 - 0.2 * h / g, 0.3 * h - 0.1 * g

    def right(h, g):
        return 1 + h / (2 * g), -h / (2 * g)

    asked, x, levels = [], 3 * normal(seed, 3, 2), [4.0, uniform(seed, 0.8, 1.6), 0.3]
    shares = [0.3, uniform(seed, 0.5, 0.8, stream=1)]
    end = torch.as_tensor(answer.plugin_walk(eps, x, list(levels), list(shares), odd))
    values["calls a sample, two intervals"] = len(told) / len(x)
    values["levels that the model is told"] = sorted(told, reverse=True)
    values["gaps that the weights are asked for"] = list(dict.fromkeys(asked)) or "none"
    walked = torch.as_tensor(answer.plugin_walk(line, x, list(levels), list(shares), right)) - x
    lost = walked - (levels[-1] + levels[-1] ** 2 - 4.0 - 4.0**2)  # of a straight line, all but Euler's first
    first = 4.0**0.7 * levels[1] ** 0.3 - 4.0
    values["a straight line: error over that of Euler's first step"] = (lost / -(first**2))[0, 0]
    return values | {"state at the end": end}


def _plugin_facts(answer, seed):
    values = right_numbers(answer, 1e-6, relative=True, order=solution.order, **_SHARES)
    values |= right_numbers(answer, 0.01, relative=True, gain=_GAIN)
    return values | right_words(answer, ("uneven", "fixed"), few="fixed")


_GRID_OF = "grid += [s ** (1 - r) * e**r, e]"
_WEIGHED = "(p * direction + (q * old if gap else 0.0))"
_KEEP = "gap, old = e - s, direction"
_WEIGHTS = "weights(e - s, gap) if gap"

# wrong weights with what `left` is by them, and what is said
_LINES = (
    (
        "1 + h/g",
        "-h/g",
        "u*v - u**2 - v**2",
        "Your weights are the line's value where the step ends. A step integrates: it needs the line's mean.",
    ),
    (
        "1 - h/(2*g)",
        "h/(2*g)",
        "(u + v)**2/2",
        "For equal gaps your weights are one half and one half, an interpolation between the two points. The "
        "step goes on beyond both: where on the line is ε_−?",
    ),
    (
        "1 + h/(4*g)",
        "-h/(4*g)",
        "u*v - (u**2 + v**2)/4",
        "For equal gaps your weights are 5/4 and −1/4. How far from the new point is the middle of the step?",
    ),
)

PLUGIN = Task(
    id="6.10",
    title="A level added to a solver that remembers",
    kind="implement-sampler",
    difficulty=3,
    minutes=40,
    points=6,
    ids=("B14", "B16"),
    names=("now", "before", "plugin_walk", "left", "order", "few", "share_1", "share_2", "gain"),
    probe=_probe_plugin,
    facts=_plugin_facts,
    reference={
        "now": solution.now,
        "before": solution.before,
        "plugin_walk": solution.plugin_walk,
        "left": solution.left,
        "order": solution.order,
        "few": "fixed",
        **_SHARES,
        "gain": _GAIN,
    },
    asks={
        "calls a sample, two intervals": "Two intervals are four steps, of one call each: how many does "
        "yours make?",
        "levels that the model is told": "Write the grid down, s_0, m_1, s_1, m_2, …: at each of them but "
        "the last the model is asked once. At which does yours ask?",
        "gaps that the weights are asked for": "Every step but the first asks for weights, with its own gap "
        "and that of the step before it, both below 0. With which gaps do yours?",
        "a straight line: error over that of Euler's first step": "Two directions tell a straight line "
        "wholly: with the right weights only the first step may err. From which step on does yours remember?",
        "order": "In `left`, both steps are about as long as the grid is fine. What is left over a whole "
        "walk of them, to which power of their length?",
        "share_1": "Try all 81 pairs with the fixed weights; is your pair the one with the smallest error?",
        "share_2": "Is your pair, both numbers of it, that of the smallest of the 81 errors with the *fixed* "
        "weights?",
        "gain": "The error of the best pair, with the fixed weights, over that with both shares 1/2 and the "
        "same weights: is that your quotient?",
    },
    mistakes=(
        Mistake(
            {"now": "3/2", "before": "-1/2"},
            "Those are the weights for equal gaps. The line goes through ε at 0 and ε_− at −g: what is its "
            "integral from 0 to h?",
        ),
        Mistake(
            {"now": "1 + h/g", "before": "-h/g"},
            "You take the line's value at the end of the step. The step needs its mean.",
        ),
        Mistake(
            {"now": "1 + g/(2*h)", "before": "-g/(2*h)"},
            "Your quotient of the gaps stands on its head: the shorter the new step, the less the old "
            "direction matters.",
        ),
        Mistake(
            {"now": "1 - h/(2*g)", "before": "h/(2*g)"},
            "Your line runs the wrong way: for equal gaps it gives one half and one half, an interpolation. "
            "The step lies beyond both points.",
        ),
        Mistake(
            {"before": "h/(2*g)"},
            "With a direction that does not change, ε = ε_−, the step is h ε: what is p + q?",
        ),
        Mistake(
            {"now": "h + h**2/(2*g)", "before": "-h**2/(2*g)"},
            "These have the factor h in them, which stands before the bracket already.",
        ),
        Mistake(
            _wrong("plugin_walk", (_GRID_OF, "grid += [s**r * e ** (1 - r), e]")),
            "Your shares count from the end of the interval: at r = 0 the added level is the start's.",
        ),
        Mistake(
            _wrong("plugin_walk", (_GRID_OF, "grid += [s + r * (e - s), e]")),
            "Your added level is a share of the levels themselves. On which axis is r a share?",
        ),
        Mistake(
            _wrong("plugin_walk", (_GRID_OF, "grid += [(s * e) ** 0.5, e]")),
            "Your added level is half-way, whatever the shares say.",
        ),
        Mistake(
            _wrong("plugin_walk", ("levels[1:], shares)", "levels[1:], shares[::-1])")),
            "Your shares come in the opposite order: r_1 belongs to the first interval, from s_0 to s_1.",
        ),
        Mistake(
            _wrong("plugin_walk", (_GRID_OF, "grid += [e]")),
            "Your grid has no added levels.",
        ),
        Mistake(
            _wrong("plugin_walk", (_WEIGHTS, "weights(e - s, e - s) if gap")),
            "You ask the weights for equal gaps. How long was the step before?",
        ),
        Mistake(
            _wrong("plugin_walk", (_WEIGHTS, "weights(gap, e - s) if gap")),
            "You give the weights the two gaps in the opposite order: which is the step that is to be made?",
        ),
        Mistake(
            _wrong("plugin_walk", (_WEIGHTS, "weights(s - e, -gap) if gap")),
            "You give the weights the lengths of the gaps. The statement's are below 0. Your own weights "
            "take their quotient and do not notice; others would.",
        ),
        Mistake(
            _wrong("plugin_walk", (_WEIGHTS, "weights(e - s, gap) if gap and e in levels")),
            "You remember within an interval only: the first step of each begins like the very first. The "
            "solver does not know which levels were added.",
        ),
        Mistake(
            _wrong("plugin_walk", (_WEIGHTS, "weights(e - s, gap) if gap and s in levels")),
            "Your steps to the ends of the intervals are plain Euler. The solver does not know which levels "
            "were added: each step but the first remembers.",
        ),
        Mistake(
            _wrong("plugin_walk", (_KEEP, "gap, old = e - s, old if s not in levels else direction")),
            "You remember the directions at the levels s only, and the gap of the step before. Which "
            "direction was seen last?",
        ),
        Mistake(
            _wrong(
                "plugin_walk",
                (_WEIGHED, "(q * direction + (p * old if gap else 0.0))"),
                ("(1.0, 0.0)", "(0.0, 1.0)"),
            ),
            "p belongs to the new direction and q to the old one. You have exchanged them.",
        ),
        Mistake(
            _wrong("plugin_walk", (_WEIGHED, "direction")),
            "Every one of your steps is Euler's: what do the weights do?",
        ),
        Mistake(
            {"now": "1 + h/(4*g)", "before": "-h/(4*g)"},
            "For equal gaps yours gives 5/4 and −1/4. The line's mean over the step is its value at the "
            "middle of it: how far from the new point is that?",
        ),
        *(
            Mistake({"now": now, "before": before, "left": left}, f"{says} (left will follow.)")
            for now, before, left, says in _LINES
        ),
        Mistake(
            {"left": "v*(u - v)/2"},
            "That is the second of the two steps.",
        ),
        Mistake(
            {"left": "u**2/2 + v**2/2 - u*v/2"},
            "You have added one mixed term of two: each of the steps has one.",
        ),
        Mistake(
            {"left": "(u - v)**2/2"},
            "The size is right. Fixed less right: with ε − ε_− ≈ g ε′, which of h g/2 and h²/2 is whose?",
        ),
        Mistake(
            {"left": "-(u - v)**2"},
            "In both steps there is a half, from the integral of a straight line.",
        ),
        Mistake(
            {"left": "0"},
            "One step errs by h (g − h)/2, and the next by the same with the gaps exchanged. Write both "
            "down: do they cancel?",
        ),
        Mistake(
            {"left": "-u*(u - v)/2"},
            "That is the first of the two steps.",
        ),
        Mistake(
            {"order": 2},
            "That is the order on equal gaps. With r = 0.3 the two gaps of an interval differ, however fine "
            "the grid is.",
        ),
        Mistake(
            {"order": 0},
            "Each pair of steps leaves a square of their length. How many pairs are there?",
        ),
        Mistake(
            {"few": "uneven"},
            "Print both errors. An order is a promise for many steps; how many are there here?",
        ),
        Mistake(
            {"share_1": 0.4, "share_2": 0.7},
            "The two shares are exchanged: which interval is walked first?",
        ),
        Mistake(
            dict(zip(("share_1", "share_2"), _SHARES_RIGHT)) | {"gain": _GAIN_RIGHT},
            "That is the best pair of the right weights. The question is about the fixed ones, the plugin's.",
        ),
        Mistake(
            {"share_1": 0.5, "share_2": 0.5, "gain": _ALIKE},
            "Among pairs of *equal* shares one half is the best. Let the two differ.",
        ),
        Mistake(
            {"gain": 1 / _GAIN},
            "Your quotient stands on its head: the smaller error goes above the line.",
        ),
        Mistake(
            {"gain": 1 - _GAIN},
            "That is what is saved. What remains?",
        ),
    ),
    hints=(
        "Make the whole grid first; after that it is one loop over its steps, and nothing in it needs to "
        "know which levels were added.",
        "Between two points the line is ε + (τ/g)(ε − ε_−), with τ = 0 now; integrate to h. In the loop "
        "keep two things for the next step: this direction and this gap.",
        "The integral is h ε + h²/(2 g) times the difference; collect both directions. For `left` put g ε′ "
        "for the difference into both steps and subtract, once for u after v, once for v after u. For the "
        "shares: two loops over 0.1 to 0.9, and min.",
    ),
)

# --- 6.11: the mean itself, learned -------------------------------------------------------------------------

_A, _B = "sqrt(d**2 + a**2)", "sqrt(d**2 + b**2)"
_AVERAGE = f"x*({_A} - {_B})/((a - b)*{_A})"
_TOTAL = f"x/{_A}*(a*(a - b)/{_A} - {_A} + {_B})/(a - b)**2"  # x / A is a constant of the path
_CARRIED = f"x*a/{_A}**2*({_A} - {_B})/((a - b)*{_A})"  # epsilon times the derivative in x
_AT_X = f"x*a/{_A}**2"  # epsilon


def _probe_average(answer, seed):
    around = dict(x=(-2.0, 2.0), a=(2.0, 5.0), b=(0.1, 1.0), d=(0.3, 1.5))
    less = {name: ends for name, ends in around.items() if name != "b"}
    values = named_expressions(answer, seed, 2, average=around, total=around, forgotten=around, jump=less)
    theta = torch.tensor([0.7, 0.4], dtype=torch.float64, requires_grad=True)

    def u(x, a, b):
        a, b = (torch.as_tensor(level, dtype=torch.float64).reshape(-1, 1) for level in (a, b))
        return torch.tanh(theta[0] * x / (1 + a) + theta[1] * (a - b)) + 0.1 * x * b

    x, direction = normal(seed, 4, 2), normal(seed, 4, 2, stream=1)
    a, b = torch.tensor([[3.0, 2.0, 5.0, 1.0], [0.5, 0.1, 1.0, 1.0]], dtype=torch.float64)
    taught = answer.meanflow_target(u, direction, x, a, b)
    if not torch.is_tensor(taught):
        taught = torch.as_tensor(np.asarray(taught))
    if taught.shape != x.shape:
        raise Remark(f"The target is shaped like x, {tuple(x.shape)}; yours is {tuple(taught.shape)}.")
    return values | {
        "target where a = b": taught[3],
        "target": taught,
        "does the target learn": "yes" if taught.requires_grad else "no",
    }


def _average_facts(answer, seed):
    return right_words(answer, ("same", "another"), by_noise=solution.by_noise)


_ALONG = "(x, a), (direction, torch.ones_like(a))"

# wrong averages, and what is said to them
_AVERAGES = (
    (f"({_A} - {_B})/(a - b)", "That is 6.1's m, the mean for C = 1. Which C has the path through x?"),
    (
        f"x*({_A} - {_B})/(a - b)",
        "You have put x for C. On the path C √(d² + s²), at s = a, what is x?",
    ),
    (
        f"x*({_A} - {_B})/((a - b)*d)",
        "Your C is that of the path that goes through x at level 0. At which level is x?",
    ),
    (
        f"x*({_A} - {_B})/((a - b)*{_B})",
        "Your C belongs to a path that goes through x at level b. x is where the step *begins*.",
    ),
    (_AT_X, "That is ε at the start of the step, which Euler takes for the mean."),
    (f"x*({_A} - {_B})/{_A}", "That is how far x moves. A mean slope is a distance over what?"),
    (f"x*({_B} - {_A})/((a - b)*{_A})", "The sign: |x| grows with the level."),
    (
        f"x*log({_A}**2/{_B}**2)/(2*(a - b))",
        "You integrate ε(x, s) over s with x held. Along the path x moves with s: put the path for it.",
    ),
    (
        "x*(a + b)/2/(d**2 + (a + b)**2/4)",
        "That is ε at x with the middle level, a guess of the mean. What is the exact one, by 6.1?",
    ),
)


def _derived(average):
    """This average with all that a student then derives from it, by sympy, when it is first needed."""

    def made(derive):
        def make():
            x, a, b, d = sympy.symbols("x a b d")
            mean, slope = sympy.sympify(average), x * a / (d**2 + a**2)
            return derive(mean, slope, x, a, b)

        return Made(make)

    return {
        "average": average,
        "total": made(lambda mean, slope, x, a, b: mean.diff(a) + slope * mean.diff(x)),
        "forgotten": made(lambda mean, slope, x, a, b: mean - slope + (a - b) * mean.diff(a)),
        "jump": made(lambda mean, slope, x, a, b: x - a * mean.subs(b, 0)),
    }


AVERAGE = Task(
    id="6.11",
    title="The mean itself, as a network would learn it",
    kind="coefficient",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("B10", "B11"),
    names=("average", "total", "forgotten", "jump", "meanflow_target", "by_noise"),
    probe=_probe_average,
    facts=_average_facts,
    reference={
        "average": _AVERAGE,
        "total": _TOTAL,
        "forgotten": f"-x*a*({_A} - {_B})/{_A}**3",
        "jump": f"x*d/{_A}",
        "meanflow_target": solution.meanflow_target,
        "by_noise": solution.by_noise,
    },
    loose={"target": (3e-3, "Your derivative is a difference quotient; torch.func.jvp has it exactly.")},
    asks={
        "target where a = b": "A step of no length has the mean ε: what does your target say where a = b?",
        "target": "Compare with a difference quotient: move a by 0.001 and x by 0.001 ε, leave b, and "
        "divide the change of u by 0.001. Is that your derivative?",
        "does the target learn": "The target stands for an answer that is only believed. Does a gradient run "
        "into the network through yours?",
    },
    mistakes=(
        *(Mistake({"average": wrong}, says) for wrong, says in _AVERAGES),
        *(
            Mistake(_derived(wrong), f"{says} (What you derived from it will follow.)")
            for wrong, says in _AVERAGES
        ),
        Mistake(
            {"total": f"({_TOTAL}) - ({_CARRIED})"},
            "That is the derivative in a alone. Along the path x moves as well, with ε.",
        ),
        Mistake(
            {"total": _CARRIED},
            "That is what the motion of x contributes. a moves, too.",
        ),
        Mistake(
            {"total": f"({_TOTAL}) - 2*({_CARRIED})"},
            "The path's part has the wrong sign: with a growing level x moves by +ε.",
        ),
        Mistake(
            {"total": f"({_TOTAL}) - ({_CARRIED}) + ({_AVERAGE})*{_AVERAGE}/x"},
            "You let x move with the mean. At level a it moves with ε.",
        ),
        Mistake(
            {"total": f"-({_TOTAL})"},
            "The sign: d/da is for a level that grows.",
        ),
        Mistake(
            {"forgotten": "0"},
            "That is what is left with the whole derivative. Take ∂/∂a for it.",
        ),
        Mistake(
            {"forgotten": f"x*a*({_A} - {_B})/{_A}**3"},
            "The sign: it is the left side less the right one.",
        ),
        Mistake(
            {"forgotten": f"-x*a*({_A} - {_B})/{_A}**3/(a - b)"},
            "In the identity the derivative is multiplied by a − b, and so is what is missing from it.",
        ),
        Mistake(
            {"forgotten": f"x*a*({_A} - {_B})/{_A}**3/(a - b)"},
            "That is the term that was left out of the derivative. With which factor, and which sign, does "
            "the derivative stand in the identity?",
        ),
        Mistake(
            {"total": f"-x*b/({_A}*{_B})/(a - b) + ({_AVERAGE})/(a - b) + ({_CARRIED})"},
            "You have differentiated in b, the end of the step, which stays where it is.",
        ),
        Mistake(
            {"jump": f"x*({_A} - d)/(a*{_A})"},
            "That is the mean down to level 0. Where does a step with it lead?",
        ),
        Mistake(
            {"jump": f"x*d**2/{_A}**2"},
            "That is the denoiser, Euler's step to level 0. With the mean the step is exact: where does the "
            "path end?",
        ),
        Mistake(
            {"jump": f"x*(2*{_A} - d)/{_A}"},
            "Yours goes up. The step is 0 − a long, which is below 0.",
        ),
        Mistake(
            {"jump": f"-x*d/{_A}"},
            "The sign: a path never changes the side of 0 that it is on.",
        ),
        Mistake(
            {"jump": "d"},
            "That is the path with C = 1. Where does the one through x end?",
        ),
        Mistake(
            _wrong("meanflow_target", (_ALONG, "(x, a), (torch.zeros_like(x), torch.ones_like(a))")),
            "Your derivative holds x still. Along the path, x moves by the direction for each unit of a.",
        ),
        Mistake(
            _wrong("meanflow_target", (_ALONG, "(x, a), (direction, torch.zeros_like(a))")),
            "Your derivative moves x and holds the level still.",
        ),
        Mistake(
            _wrong(
                "meanflow_target",
                (
                    "u(x, a, b), (x, a), (direction, torch.ones_like(a))",
                    "u(x, a, b), (x, a), (-direction, -torch.ones_like(a))",
                ),
            ),
            "Your correction of ε has the opposite sign: the derivative is for an a that grows, and it is "
            "subtracted.",
        ),
        Mistake(
            _wrong(
                "meanflow_target",
                (
                    "lambda x, a: u(x, a, b), (x, a), (direction, torch.ones_like(a))",
                    "lambda x, a, b: u(x, a, b), (x, a, b), (direction, torch.ones_like(a), "
                    "torch.ones_like(a))",
                ),
            ),
            "You move both levels. The step's end, b, stays where it is.",
        ),
        Mistake(
            _wrong("meanflow_target", ("(direction - (a - b)[:, None] * change)", "direction")),
            "Your target is ε alone, which teaches u the direction at the start and no mean.",
        ),
        Mistake(
            _wrong("meanflow_target", ("lambda x, a: u(x, a, b)", "lambda x, a: u(x, b, a)")),
            "You tell the network the two levels in the opposite order.",
        ),
        Mistake(
            _wrong("meanflow_target", ("(a - b)[:, None]", "a[:, None]")),
            "You multiply by the level. How long is the step?",
        ),
        Mistake(
            _wrong("meanflow_target", ("(a - b)[:, None] * ", "")),
            "The factor a − b is missing: a short step should hardly correct ε.",
        ),
        Mistake(
            _wrong("meanflow_target", ("(direction - (a", "(u(x, a, b) - (a")),
            "u stands where ε belongs: then the target knows nothing of the data.",
        ),
        Mistake(
            _wrong("meanflow_target", ("(direction - (a - b)[:, None] * change)", "change")),
            "That is the derivative. What is the right side of the identity?",
        ),
        Mistake(
            _wrong("meanflow_target", (".detach()", "")),
            "The values are right, and the target would learn with the network: a gradient through a "
            "derivative, too. What stands before the bracket?",
        ),
        Mistake(
            {"by_noise": "another"},
            "With u held, to which power does the noise occur in the target? Compare with f(x_0 + r z, r).",
        ),
    ),
    hints=(
        "Everything follows from the path through x at a, C √(d² + s²): find C first.",
        "The derivative along the path is ∂/∂a plus ε times ∂/∂x; sympy.diff gives both, and sympy.simplify "
        "shows the identity as 0. In code the two derivatives together are one directional derivative, in "
        "the direction of the path.",
        "C is x over √(d² + a²). jvp takes a function of (x, a), the point (x, a) and the direction (ε, 1); "
        "b is held inside the function. For `forgotten` put the partial derivative in, simplify; for `jump` "
        "put b = 0.",
    ),
)

TASKS = (SCALAR, VECTOR, PCA, FIRST, STEP, TRAINING, SWEEP, TEACHER, LEARNED, PLUGIN, AVERAGE)
