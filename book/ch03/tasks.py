"""The tasks of lesson 03: one stochastic differential equation, one ordinary one, and their solvers.

The test problem is mostly data N(0, 1/4) under VP, where every sampler is linear: its output's variance is
then exact, a sum of squared gains, and nothing is left to chance.  Where a straight line would forgive a
mistake there are two modes as well.
"""

import math
from functools import lru_cache

import numpy as np
import torch

from book.ch03 import solution
from book.lessons import (
    Mistake,
    Remark,
    Task,
    changed,
    error_lines,
    named_expressions,
    named_numbers,
    normal,
    read_axes,
    right_numbers,
    right_or_number,
    uniform,
)
from toolkit import VP, Mixture, Network, grids, initial_noise, sample
from toolkit.networks import DIGITS_SIGMA_DATA, pretrained
from toolkit.ode import rk4

VP1 = VP()


def _width(t, std=0.5):
    """Variance of x_t for data N(0, std^2) under VP."""
    return VP1.alpha(t) ** 2 * std**2 + VP1.sigma(t) ** 2


def _gaussian_score(x, t):
    """The exact score for data N(0, 1/4)."""
    return -x / _width(t)


@lru_cache
def _two_modes(d=1):
    """The exact model of two equal modes at -1 and 1 (in every coordinate), standard deviation 0.3."""
    return Mixture([1, 1], [[-1.0] * d, [1.0] * d], [0.3, 0.3]).model(VP1)


def _even(steps, start=1.0, end=0.0):
    """steps + 1 equally spaced times from start down to end."""
    return [start + (end - start) * i / steps for i in range(steps)] + [end]


def _exact_variance(walk, steps, start_variance):
    """Variance of what walk(x, noises) makes of a start of this variance, for a walk linear in both."""
    basis = torch.eye(steps + 1, dtype=torch.float64)
    end = walk(math.sqrt(start_variance) * basis[:1], basis[1:, None])
    return (end**2).sum()


# --- 3.1: the family's drift --------------------------------------------------------------------------------

_FAMILY = dict(x=(-2.0, 2.0), s=(-2.0, 2.0), f=(-3.0, -0.5), g=(0.5, 2.0), l=(0.2, 0.9))


def _probe_drift(answer, seed):
    slope = dict(g=(0.5, 2.0), l=(0.2, 0.9), sigma=(0.2, 0.8))
    return named_expressions(answer, seed, 2, backward=_FAMILY, forward=_FAMILY, slope=slope)


DRIFT = Task(
    id="3.1",
    title="One family of equations, one set of marginals",
    kind="coefficient",
    difficulty=2,
    minutes=20,
    points=3,
    ids=("T15", "T16", "T17", "BT10", "BS11", "BT17"),
    names=("backward", "forward", "slope"),
    probe=_probe_drift,
    reference={"backward": solution.backward, "forward": solution.forward, "slope": solution.slope},
    mistakes=(
        Mistake(
            {"backward": "f*x - g**2*s"},
            "This is Anderson's drift, right at l = 1. With less noise there is less to make up for: what "
            "should your formula become at l = 0?",
        ),
        Mistake(
            {"backward": "f*x - g**2*s/2"},
            "This is the drift of the ODE, right at l = 0. Noise of level l spreads the density further: "
            "which extra drift along the score pulls it together again?",
        ),
        Mistake(
            {"backward": "f*x - (1 + l)/2*g**2*s"},
            "Both ends, l = 0 and l = 1, are right, and the middle is not. Does the Fokker–Planck equation "
            "see the deviation l g, or its square?",
        ),
        Mistake(
            {"backward": "f*x + (1 + l**2)/2*g**2*s"},
            "The sign of the score term is turned round. With dt < 0, which sign makes x climb towards high "
            "density?",
        ),
        Mistake(
            {"backward": "f*x - (1 - l**2)/2*g**2*s"},
            "That is the drift for time that runs forwards: noise spreads the density as t grows. Backwards "
            "it spreads as t falls: which sign does its term get?",
        ),
        Mistake(
            {"backward": "f*x - l**2*g**2*s"},
            "At l = 0 only f x is left. That flow knows nothing of the data: which part of the score's term "
            "has nothing to do with l?",
        ),
        Mistake(
            {"backward": "f*x - l**2/2*g**2*s"},
            "You have the part of the drift that pays for the noise, and that alone: at l = 0 the score is "
            "gone. Which flow moves p_t when there is no noise at all?",
        ),
        Mistake(
            {"forward": "f*x"},
            "That is the diffusion itself, right at l = 1 only. With less noise than that, what must do the "
            "rest of the spreading?",
        ),
        Mistake(
            {"forward": "f*x - (1 + l**2)/2*g**2*s"},
            "At l = 1 this should be the diffusion that we began with, dx = f x dt + g dw: what is left of "
            "your score's term there?",
        ),
        Mistake(
            {"forward": "f*x - g**2*s/2"},
            "This transports the marginals without any noise. If noise of level l is added on top, is the "
            "density still the right one?",
        ),
        Mistake(
            {"slope": "-(1 + l**2)/2*g**2/sigma"},
            "Look at the sign. The noise points away from the data and the score towards them: what is the "
            "score in terms of eps?",
        ),
        Mistake(
            {"slope": "(1 + l**2)/2*g**2"},
            "You put eps where the score was. They differ by more than a sign: what do you divide by?",
        ),
        Mistake(
            {"slope": "(1 + l**2)/2*g**2/sigma**2"},
            "The score of one Gaussian is −(x − alpha x_0)/sigma². How much of that is eps itself?",
        ),
    ),
    hints=(
        "Begin with the case without noise: which velocity field moves p_t as the Fokker–Planck equation "
        "does? Use p' = p · (log p)'.",
        "A diffusion term (l g)²/2 · p'' is the divergence of p times something with the score: noise can "
        "be traded for drift. For backward time, read the equation with −t in place of t, and only the "
        "noise term changes its sign.",
        "The ODE has half of g² in front of the score. Noise of level l needs a further l²/2 of g²: on the "
        "same side as the ODE's term when time runs backwards, on the other side when it runs forwards. For "
        "the last part the score is minus eps over sigma.",
    ),
)

# --- 3.2: find the bug, the family --------------------------------------------------------------------------

_AWAY = ("* dt\n", "* -dt\n")  # towards more noise
_WHOLE = ("(1 + level**2) / 2", "1.0")  # of g^2, whatever the level
_LAST = ("if s > 0:", "if True:")  # noise in the last step, too


def _share(share, *edits):
    """The family with another share of g^2 in its drift."""
    return changed(solution.family, ("(1 + level**2) / 2", share), *edits)


def _probe_family(answer, seed):
    values = {}
    for level in (0.0, 0.5, 1.0):
        times = _even(50)

        def walk(x, noises, times=times, level=level):
            return answer(_gaussian_score, VP1.f, VP1.g2, x, times, level, noises)

        values[f"variance at level {level:g}, 50 steps"] = _exact_variance(walk, 50, _width(1.0))
    x, noises = normal(seed, 2, 1), normal(seed, 10, 2, 1, stream=1)
    values["x_0 of two modes, level 1, 10 steps"] = answer(
        _two_modes().score, VP1.f, VP1.g2, x, _even(10), 1.0, noises
    )
    level = uniform(seed, 0.2, 0.8)
    values[f"x_0 of two modes, level {level:.3f}, 10 steps"] = answer(
        _two_modes().score, VP1.f, VP1.g2, x, _even(10), level, noises
    )
    return values


FAMILY = Task(
    id="3.2",
    title="Find the bug: just remove the noise",
    kind="find-the-bug",
    difficulty=2,
    minutes=25,
    points=4,
    ids=("P05", "P06", "P22", "BT10", "BP25", "BS26", "E3", "R1"),
    probe=_probe_family,
    reference=solution.family,
    decimals=4,
    mistakes=(
        Mistake(
            changed(solution.family, _AWAY, _WHOLE, _LAST),
            "The numbers are those of the listing as it was given: variances in the hundred thousands. "
            "Which way does a step of it go, from t to s or from t to somewhere beyond 1?",
            as_given=True,
        ),
        Mistake(
            changed(solution.family, _AWAY, _WHOLE),
            "The last step adds no noise any more, but at every level the variance still runs away. What is "
            "the sign of dt when s < t?",
        ),
        Mistake(
            changed(solution.family, _AWAY, _LAST),
            "The drift knows its level now. But 3.9 for a variance of 0.25 at level 0, and far more with "
            "noise, says that x walks away from the data: what is the sign of dt when s < t?",
        ),
        Mistake(
            changed(solution.family, _AWAY),
            "Two are mended. At level 0 the variance is 3.9, as if the ODE ran from noise to more noise: "
            "which sign does dt have on the way back?",
        ),
        Mistake(
            changed(solution.family, _WHOLE, _LAST),
            "The direction is right now. At level 1 the variance is near 0.25, and at level 0 there is none "
            "left: all samples end in one point. What in the drift should depend on the level?",
        ),
        Mistake(
            changed(solution.family, _WHOLE),
            "Direction and last step are right, and so is level 1. At level 0 you have removed the noise "
            "and kept the drift that was there to fight it: how much of it does the ODE need?",
        ),
        Mistake(
            changed(solution.family, _LAST),
            "Level 0 is right. With noise the variance is about 0.01 too large, whatever the level's drift: "
            "look at what is done to x just before it is returned as clean data.",
        ),
        Mistake(
            _share("0.5"),
            "You took the ODE's drift for all levels: level 0 is right, and with noise the variance is far "
            "too large. What keeps the noise of level 1 in check?",
        ),
        Mistake(
            _share("(1 + level) / 2"),
            "Levels 0 and 1 are right, 0.5 is not. Is it the noise's deviation or its variance that the "
            "drift makes up for?",
        ),
        Mistake(
            _share("level**2"),
            "Level 1 is right, and at level 0 no score is left: you let the whole of g go to 0 with the "
            "level, in the drift as well. Which part of the drift is there without any noise?",
        ),
        Mistake(
            _share("level**2", _LAST),
            "At level 0 no score is left, since you let g go to 0 with the level in the drift too. Which "
            "part of the drift is there without any noise? (One thing more is wrong, at the end of the way.)",
        ),
        Mistake(
            _share("level**2 / 2"),
            "Your share pays for the noise of this level, and for nothing else: at level 0 the score is gone "
            "and x only grows. What brings x back to the data when there is no noise?",
        ),
        Mistake(
            _share("level**2 / 2", _LAST),
            "Without noise your drift has no score, so that x only grows: your share pays for the noise "
            "alone. What else is in 3.1's drift? (And look once more at the end of the way.)",
        ),
        Mistake(
            changed(solution.family, ("if s > 0:", "if False:")),
            "No noise is left at any level, so that levels 0.5 and 1 end in far too small a variance. Only "
            "one step of the grid is to go without.",
        ),
        Mistake(
            changed(solution.family, ("f(t) * x", "-f(t) * x")),
            "You turned the sign of the score's term and not that of f x. The whole drift is multiplied by "
            "dt: mend the sign where dt is made.",
        ),
        Mistake(
            changed(solution.family, ("math.sqrt(g2(t) * -dt)", "math.sqrt(g2(t)) * -dt")),
            "The noise of a step is far too small: Brownian motion moves by the root of the time that "
            "passes, not by the time.",
        ),
    ),
    hints=(
        "Measure at level 0 first: no noise, so only two lines matter. Then at level 1.",
        "Mend one thing, measure, and only then look for the next. On the way from noise to data, should "
        "the variance at level 0 rise or fall? Once it is right at level 1, is it so at level 0? And if all "
        "three are nearly right, what do the levels have in common that are still a little too wide?",
        "Time runs down, so dt is negative (and the noise's root needs its size). The score's share of g² "
        "is the one of 3.1, which depends on the level. A step that ends on clean data adds nothing.",
    ),
)

# --- 3.3: find the bug, VE ----------------------------------------------------------------------------------

_G = "sigma_t * math.sqrt(2 * log_ratio)"
_UNSQUARED = (_G, "math.sqrt(sigma_t * 2 * log_ratio)")
_NARROW = ("sigma_max * z", "z")


def _probe_ve(answer, seed):
    values = {}
    for end in (0.9, 0.75, 0.0):
        times = _even(100, 1.0, end)

        def walk(z, noises, times=times):
            return answer(lambda x, sigma: -x / (sigma**2 + 0.25), 0.01, 50.0, z, times, noises)

        values[f"variance at t = {end:g}, 100 steps"] = _exact_variance(walk, 100, 1.0)
    z, noises = normal(seed, 3, 1), normal(seed, 10, 3, 1, stream=1)
    values["x at t = 0.5, 10 steps"] = answer(
        lambda x, sigma: -x / (sigma**2 + 0.25), 0.02, 10.0, z, _even(10, 1.0, 0.5), noises
    )
    low, high = uniform(seed, 0.01, 0.1), uniform(seed, 2.0, 30.0, stream=1)
    values[f"x at t = 0.2, 10 steps, sigma from {low:.3f} to {high:.1f}"] = answer(
        lambda x, sigma: -x / (sigma**2 + 0.25), low, high, z, _even(10, 1.0, 0.2), noises
    )
    return values


VE_BUG = Task(
    id="3.3",
    title="Find the bug: an explosion without its square",
    kind="find-the-bug",
    difficulty=1,
    minutes=15,
    points=3,
    ids=("P07", "BP7", "BP8", "E5"),
    probe=_probe_ve,
    reference=solution.ve_sample,
    decimals=4,
    mistakes=(
        Mistake(
            changed(solution.ve_sample, _NARROW, _UNSQUARED),
            "This is the listing as it was given: 0.134 at the end. What is the deviation of x at t = 1, "
            "and what does the listing start from?",
            as_given=True,
        ),
        Mistake(
            changed(solution.ve_sample, _UNSQUARED),
            "The start is right: it has variance 2500. But almost none of it is taken away on the way, and "
            "at t = 0.75 about 1470 is left where 35.6 is right. How fast does sigma² grow with t, and is "
            "that your g²?",
        ),
        Mistake(
            changed(solution.ve_sample, _NARROW),
            "The end is right, and that proves little: this equation forgets where it began. At t = 0.9 a "
            "sixth of the variance is missing: how wide is the prior of VE?",
        ),
        Mistake(
            changed(solution.ve_sample, (_G, "sigma_t * math.sqrt(log_ratio)")),
            "Nearly: your g² grows half as fast as sigma² does. What does the derivative of a square bring "
            "down?",
        ),
        Mistake(
            changed(solution.ve_sample, (_G, "2 * log_ratio * sigma_t**2")),
            "That is g², and it is used as g: it is squared once more in the drift. Where is the root?",
        ),
        Mistake(
            changed(solution.ve_sample, (_G, "sigma_t * 2 * log_ratio")),
            "You took sigma out of the root, and 2 log r with it. Which of the two was squared inside?",
        ),
        Mistake(
            changed(solution.ve_sample, ("sigma_max * z", "sigma_max**2 * z")),
            "z is multiplied by the variance at t = 1. A standard normal becomes N(0, v) when it is "
            "multiplied by what?",
        ),
        Mistake(
            changed(solution.ve_sample, ("x + g**2", "x + g**2 / 2")),
            "Both places that were wrong are right now, but the drift got a half that was not there. In "
            "which equation does the half belong: with noise, or without?",
        ),
    ),
    hints=(
        "The variance of the start needs no loop: print it.",
        "Two mistakes. For the second, work out how much variance the forward equation adds from t = 0 to "
        "t = 1: the integral of g², once with the listing's g and once by subtracting sigma² at the ends.",
        "For VE g² is the derivative of sigma² by t, and sigma is an exponential in t: so g is proportional "
        "to sigma itself. And pure noise here is sigma at t = 1 times a standard normal.",
    ),
)

# --- 3.4: three solvers, one interface ----------------------------------------------------------------------


def _modes_slope(x, t):
    """dx/dt of the probability flow of two modes."""
    return VP1.f(t) * x - VP1.g2(t) / 2 * _two_modes().score(x, t)


def _probe_solvers(answer, seed):
    y, values, calls = normal(seed, 3, 1), {}, []

    def slope(x, t):
        calls.append(t)
        return _modes_slope(x, t)

    counts = []
    for name in ("euler", "heun", "rk4"):
        calls.clear()
        step = getattr(answer, f"{name}_step")
        values[f"{name}_step from t = 0.6 to 0.4"] = step(slope, y, 0.6, -0.2)
        counts.append(float(len(calls)))
    values["calls of slope a step: Euler, Heun, RK4"] = counts

    def known_step(slope, y, u, h):
        return y + h * slope(y, u)

    uneven = [0.9, 0.5, 0.3, 0.05]
    values["solve with Euler's step, uneven grid"] = answer.solve(known_step, slope, y, uneven)
    return values


_SECOND = ("(here + there) / 2", "there")  # Heun's second slope alone

SOLVERS = Task(
    id="3.4",
    title="Three solvers, one interface",
    kind="implement-sampler",
    difficulty=2,
    minutes=25,
    points=4,
    ids=("T18", "T20", "BT11", "BT12", "BS26"),
    names=("euler_step", "heun_step", "rk4_step", "solve"),
    probe=_probe_solvers,
    reference={
        "euler_step": solution.euler_step,
        "heun_step": solution.heun_step,
        "rk4_step": solution.rk4_step,
        "solve": solution.solve,
    },
    mistakes=(
        Mistake(
            changed(solution.euler_step, ("slope(y, u)", "slope(y, u + h)")),
            "Euler asks for the slope where it stands. You ask at the time where the step ends, with the y "
            "of its start: whose slope is that?",
        ),
        Mistake(
            changed(solution.euler_step, ("y + h", "y - h")),
            "h is the change of u, and it is negative on the way from noise to data. What does a second "
            "minus do to it?",
        ),
        Mistake(
            changed(solution.heun_step, ("y + h * here", "y")),
            "The second slope is taken at the end's time but at the start's y. Where does Euler's step lead?",
        ),
        Mistake(
            changed(solution.heun_step, ("u + h)", "u)")),
            "Your second slope is taken at the predicted y, but at the old time. In our equations the slope "
            "depends on u as well: where is the predicted point?",
        ),
        Mistake(
            changed(solution.heun_step, (" / 2", "")),
            "You go along the sum of two slopes, twice too far. What is a mean?",
        ),
        Mistake(
            changed(solution.heun_step, _SECOND),
            "Only the second slope is used in the end. What about the one at the start?",
        ),
        Mistake(
            changed(solution.heun_step, ("y + h * here, u + h", "y + h / 2 * here, u + h / 2"), _SECOND),
            "That is the midpoint method: second order too, but not Heun's. Heun looks at both ends of the "
            "step.",
        ),
        Mistake(
            changed(solution.rk4_step, ("2 * middle + 2 * again", "middle + again"), ("/ 6", "/ 4")),
            "Four slopes with equal weights. Simpson's rule counts the middle more: what are its weights?",
        ),
        Mistake(
            changed(solution.rk4_step, ("/ 6", "/ 8")),
            "Your weights do not add up to 1, so even a constant slope is followed at the wrong speed. What "
            "is 1 + 2 + 2 + 1?",
        ),
        Mistake(
            changed(solution.rk4_step, ("y + h * again", "y + h / 2 * again")),
            "The fourth slope belongs to the end of the step, and you go half-way along the third to reach "
            "it. How far is the end?",
        ),
        Mistake(
            changed(solution.rk4_step, ("h / 2 * middle", "h / 2 * start")),
            "Your second and third slope are the same. From which slope does the third one start?",
        ),
        Mistake(
            changed(solution.rk4_step, ("start, u + h / 2", "start, u"), ("middle, u + h / 2", "middle, u")),
            "The two slopes in the middle are taken at the right y and at the time of the start. At which "
            "u is the middle?",
        ),
        Mistake(
            changed(solution.solve, ("grid[1:]", "grid[1:-1]")),
            "The last step is missing. Which pair of neighbours in the grid is never visited?",
        ),
        Mistake(
            changed(solution.solve, ("then - now", "grid[1] - grid[0]")),
            "Every step of yours has the size of the first one. The grid is uneven: what is h for each pair?",
        ),
        Mistake(
            changed(solution.solve, ("then - now", "now - then")),
            "Your h is positive, so x walks away from the data, as in two published listings. The change of "
            "u is the new one minus the old one.",
        ),
        Mistake(
            changed(
                solution.solve,
                ("    for", "    start = y\n    for"),
                ("slope, y, now", "slope, start, now"),
            ),
            "Each step starts from the first y again. What should the second step start from?",
        ),
    ),
    hints=(
        "Write the three formulas down side by side, with both arguments of every slope: which y, which u?",
        "Test each with a slope that depends on u only: Heun must then be the trapezoidal rule, and RK4 "
        "Simpson's rule.",
        "Heun: one slope here, one where Euler's step with it leads, and h times their mean. RK4: start, "
        "middle reached with the first slope, middle again with the second, end reached with the third; "
        "weights 1, 2, 2, 1 in sixths.",
    ),
)

# --- 3.5: reading orders off a figure -----------------------------------------------------------------------

_NAMES = ("Euler", "Heun", "RK4")
_EULER_CALLS, _THIN_SLOPE = 23500, -1.36


def _probe_orders(answer, seed):
    seen = read_axes(answer.draw([20, 40, 80], 0.5))
    values = {"x scale": seen.xscale, "y scale": seen.yscale}
    values["axes labelled"] = "yes" if seen.xlabel and seen.ylabel else "no"
    lines = error_lines(seen, *_NAMES)
    for name, (x, y) in lines.items():
        values[f"slope of {name}, last two points"] = np.log(y[-1] / y[-2]) / np.log(x[-1] / x[-2])
    values["calls at the last points"] = [x[-1] for x, _ in lines.values()]
    _, thin = read_axes(answer.draw([20, 40, 80], 0.1)).lines["RK4"]
    values["log10 of RK4's error, std 0.5 and 0.1"] = np.log10([y[-1], thin[-1]])
    n, std = round(uniform(seed, 10, 40)), uniform(seed, 0.2, 0.9, stream=1)
    other = error_lines(read_axes(answer.draw([n, 2 * n, 3 * n], std)), *_NAMES).values()
    values[f"log10 of the errors, {2 * n} steps, std {std:.3f}"] = np.log10([y[1] for _, y in other])
    values[f"calls at {3 * n} steps"] = [x[2] for x, _ in other]
    return values


def _slope_facts(answer, seed):
    numbers = named_numbers(answer, "euler_calls", "thin_slope")
    if not numbers["euler_calls"] > 0:
        raise Remark("euler_calls is a number of calls, above 0.")
    calls, right = math.log10(numbers["euler_calls"]), math.log10(_EULER_CALLS)
    return {
        "euler_calls (log10)": right_or_number(calls, right, 0.02),
        "thin_slope": right_or_number(numbers["thin_slope"], _THIN_SLOPE, 0.02),
    }


ORDERS = Task(
    id="3.5",
    title="Orders, read off your own figure",
    kind="figure",
    difficulty=2,
    minutes=30,
    points=4,
    ids=("T21", "BT14", "P09"),
    names=("draw", "euler_calls", "thin_slope"),
    probe=_probe_orders,
    facts=_slope_facts,
    reference={"draw": solution.draw, "euler_calls": _EULER_CALLS, "thin_slope": _THIN_SLOPE},
    tolerance=0.02,
    decimals=2,
    asks={
        "euler_calls (log10)": "euler_calls is not right yet. On your figure for std = 0.5, how far above "
        "RK4's point at 80 calls is Euler's, and how far to the right does Euler's line come down to it?",
        "thin_slope": "thin_slope is not right yet. Is it measured for std = 0.02, on RK4's line, from 20 to "
        "40 steps, as a difference of logarithms over one of logarithms?",
    },
    mistakes=(
        Mistake(
            changed(solution.draw, ("ax.loglog", "ax.plot")),
            "On these axes an error that falls like a power of the step is a curve, like any other. On "
            "which axes is every power law straight?",
        ),
        Mistake(
            changed(solution.draw, ("ax.loglog", "ax.semilogy")),
            "Only the vertical axis is logarithmic, and there a power law is still bent. What about the "
            "other axis?",
        ),
        Mistake(
            changed(solution.draw, ('"calls of the slope"', '""')),
            "What is on the horizontal axis, steps or calls? Your reader cannot tell.",
        ),
        Mistake(
            changed(solution.draw, ("n * calls for", "n for")),
            "Your horizontal axis counts steps. The slopes are the same, but what a solver costs is calls "
            "of the model: how many does each make in a step?",
        ),
        Mistake(
            changed(solution.draw, ("n * calls for", "1 / n for")),
            "Your horizontal axis is the step size, so the lines rise. What was asked for is the number of "
            "calls.",
        ),
        Mistake(
            changed(solution.draw, ("- exact)", "- exact) ** 2")),
            "All slopes are twice as steep as they should be. Did you square the error?",
        ),
        Mistake(
            changed(solution.draw, heun_step=solution.euler_step),
            "Your line 'Heun' falls like Euler's and stays above it. Which solver does it really use?",
        ),
        Mistake(
            changed(solution.draw, rk4_step=solution.heun_step),
            "Your line 'RK4' has the slope of a second-order method. Which solver does it really use?",
        ),
        Mistake(
            changed(solution.draw, ("    def flow", "    std = 0.5\n\n    def flow")),
            "For std = 0.1 your drawing shows the errors of std = 0.5. Where does std enter: in the slope, "
            "in the exact solution, or nowhere?",
        ),
        Mistake(
            {"euler_calls": 80},
            "That is what RK4 needs. At 80 calls, how far above RK4's error is Euler's?",
        ),
        Mistake(
            {"euler_calls": 7100000},
            "That is Euler's cost for the error that RK4 has after 80 *steps*. Which point of RK4's line has "
            "80 calls?",
        ),
        Mistake(
            {"euler_calls": 1370},
            "You extended Euler's line with slope −2. What is the slope of the line called Euler?",
        ),
        Mistake(
            {"thin_slope": -4.0},
            "Four is what RK4 has once its steps are small enough. Here they are not: measure it.",
        ),
        Mistake(
            {"thin_slope": -4.17},
            "That is the slope for std = 0.5. For std = 0.02, between 20 and 40 steps, the line is much "
            "flatter.",
        ),
        Mistake(
            {"thin_slope": 1.36},
            "The size is right. Does the error rise or fall along the axis?",
        ),
        Mistake(
            {"thin_slope": -2.35},
            "That is the slope between 40 and 80 steps, where the order begins to show. What is it between "
            "20 and 40?",
        ),
        Mistake(
            {"thin_slope": -0.75},
            "That is Heun's line. Between 20 and 40 steps RK4's is a little steeper.",
        ),
    ),
    hints=(
        "If halving the step divides the error by 2 to the power p, what is log(error) as a function of "
        "log(calls)?",
        "The flow of one Gaussian multiplies x by a number: the ratio of the deviations of x_t at the two "
        "ends. A point of the figure is one run from x = 1, and its distance from that number.",
        "Cost is steps times calls a step: 1, 2 and 4. For euler_calls: a line of slope −1 needs k times "
        "the calls for an error k times smaller. For thin_slope: difference of the logarithms of the two "
        "errors over that of the two costs.",
    ),
)

# --- 3.6: a fixed budget on the digits ----------------------------------------------------------------------

_FROM = {"heun_from": 10, "rk4_from": 24}


@lru_cache
def _digits():
    """The shipped digits network in float64."""
    return Network(pretrained("digits").double(), VP1, predicts="edm", sigma_data=DIGITS_SIGMA_DATA)


@lru_cache(maxsize=8)
def _digits_case(seed):
    """(noise, a finer solution) of four digits."""
    noise = initial_noise(4, (1, 8, 8), seed=seed, dtype=torch.float64)
    return noise, sample(rk4, _digits(), noise, grids.quadratic(VP1, 24)).x


def _probe_budget(answer, seed):
    noise, fine = _digits_case(seed)
    values = {}
    for budget in (6, 14):
        before = _digits().nfe
        found = answer.errors(_digits(), noise, fine, budget)
        spent = _digits().nfe - before
        if not isinstance(found, dict) or set(found) != set(_NAMES):
            raise Remark("errors returns a dictionary with the keys 'Euler', 'Heun' and 'RK4'.")
        values[f"calls made in all, budget {budget}"] = float(spent)
        values[f"Euler, Heun, RK4, budget {budget}"] = [float(found[name]) for name in _NAMES]
    return values


def _budget_facts(answer, seed):
    return right_numbers(answer, 1e-4, **_FROM)


def _steps(count):
    """`errors` with another number of steps for a budget."""
    return changed(solution.errors, ("budget // calls", count))


BUDGET = Task(
    id="3.6",
    title="The same budget for everyone",
    kind="number",
    difficulty=2,
    minutes=25,
    points=4,
    ids=("T19", "T22", "BT11", "BT14"),
    names=("errors", "heun_from", "rk4_from"),
    probe=_probe_budget,
    facts=_budget_facts,
    reference={"errors": solution.errors, **_FROM},
    tolerance=1e-4,
    decimals=4,
    asks={
        "heun_from": "heun_from is not right yet. Is it the first of the even budgets 4, 6, 8, … at which "
        "your `errors`, on the eight digits of the cell above, is smaller for Heun than for Euler?",
        "rk4_from": "rk4_from is not right yet. Is it the first of the even budgets 4, 6, 8, … at which "
        "your `errors`, on the eight digits of the cell above, is smaller for RK4 than for both others?",
    },
    mistakes=(
        Mistake(
            {"errors": _steps("budget"), "heun_from": 4, "rk4_from": 4},
            "All three make the same number of steps, so RK4 spends four times what Euler spends. What is "
            "to be equal?",
        ),
        Mistake(
            {"errors": _steps("-(-budget // calls)"), "rk4_from": 10},
            "RK4 goes over the budget: half a step cannot be made. Which way must the number of steps be "
            "rounded?",
        ),
        Mistake(
            {"errors": _steps("budget // calls + 1"), "heun_from": 8, "rk4_from": 8},
            "Each solver makes one step more than its budget allows. Does grids.quadratic want the number "
            "of steps or of times?",
        ),
        Mistake(
            changed(solution.errors, (".sqrt()", "")),
            "That is the mean square. What is still missing of the root mean square?",
        ),
        Mistake(
            {
                "errors": changed(solution.errors, (".square().mean().sqrt()", ".abs().mean()")),
                "rk4_from": 20,
            },
            "That is the mean absolute difference, which forgives a few bad pixels. Which mean was asked "
            "for?",
        ),
        Mistake(
            changed(solution.errors, (".mean()", ".flatten(1).sum(1).mean()")),
            "Your number is eight times too large: it belongs to a whole picture of 64 pixels. Over what "
            "does the mean go?",
        ),
        Mistake(
            changed(solution.errors, ("quadratic", "uniform")),
            "Your grid has equal steps in t. The task says which grid all three walk along.",
        ),
        Mistake(
            {
                "errors": changed(solution.errors, ("// calls)", '// calls), variable="sigma"')),
                "heun_from": 20,
                "rk4_from": 28,
            },
            "You solve in sigma / alpha, where Euler is DDIM. That is another comparison, and a good one; "
            "here the variable is t.",
        ),
        Mistake(
            {"heun_from": 12},
            "At 10 calls Heun is ahead already. Did you try every even budget?",
        ),
        Mistake(
            {"heun_from": 8},
            "At 8 calls Euler still wins, 0.08 to 0.11. Are you comparing the right two, with the right "
            "steps?",
        ),
        Mistake(
            {"heun_from": 4},
            "At 4 calls Heun makes two steps and Euler four: with equal steps Heun would win from the "
            "start. What is equal here?",
        ),
        Mistake(
            {"rk4_from": 20},
            "At 20 calls RK4 has beaten Euler long ago, and is not yet better than Heun. It has to be the "
            "best of all three.",
        ),
        Mistake(
            {"rk4_from": 22},
            "At 22 calls RK4 can make five steps only, the same as at 20, and Heun makes eleven. Who is "
            "ahead?",
        ),
        Mistake(
            {"rk4_from": 12},
            "At 12 calls RK4 has just overtaken Euler. Is it better than Heun too?",
        ),
        Mistake(
            {"rk4_from": 28},
            "From 28 on RK4 stays ahead for a while. But the question is where it is ahead for the first "
            "time (at 26 Heun is in front again: what can RK4 buy with the two calls?).",
        ),
    ),
    hints=(
        "Make a small table first: budget, and for each solver the number of steps that it can pay for.",
        "A step costs 1, 2 and 4 calls. Whole steps only; what is left over stays unspent. Then one grid "
        "and one run for each solver.",
        "The difference to `fine`, squared, averaged over every number in it, under a root. For the two "
        "budgets: a loop over even budgets from 4 up, that stops where the one is smaller than the other "
        "(for RK4: smaller than both).",
    ),
)

# --- 3.7: a step that looks after itself --------------------------------------------------------------------


def _probe_adaptive(answer, seed):
    steps = [answer.next_step(-0.1, error, order) for error, order in ((4.0, 1), (0.5, 1), (0.5, 4))]
    limits = [answer.next_step(-0.1, error, 1) for error in (1e6, 1e-6, 0.0)]
    calls = 0

    def slope(x, t):
        nonlocal calls
        calls += 1
        if calls > 4000:
            raise Remark(
                "The slope was called 4000 times and the end is not reached: what changes after a try that "
                "was rejected?"
            )
        return _modes_slope(x, t)

    found = answer.adaptive(slope, 0.3 + normal(seed, 3, 1).abs(), 1.0, 0.01, 0.01, -0.5)
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise Remark("adaptive returns two things: y at the end, and the list of tries.")
    y, tries = found
    if calls == 0:
        raise Remark(
            "The slope was never called: here end < start and h < 0, so when should your loop go on?"
        )
    try:  # a step of round-off's size, made where u misses the end by one bit, is no try
        us, hs, _, accepted = zip(*(one for one in tries if abs(one[1]) > 1e-12))
        at, accepted = us[-1] + hs[-1], [bool(fine) for fine in accepted]
    except (TypeError, ValueError):
        raise Remark("tries is a list of (u, h, error, accepted), one entry for every try.") from None
    return {
        "next_step(-0.1, error, order), three cases": steps,
        "next_step(-0.1, 10⁶, 10⁻⁶ and 0, order 1)": limits,
        "tries accepted, rejected": [accepted.count(True), accepted.count(False)],
        "where the last try ends": float(at),
        "y at the end": y,
    }


ADAPTIVE = Task(
    id="3.7",
    title="A step that looks after itself",
    kind="implement-sampler",
    difficulty=3,
    minutes=35,
    points=5,
    ids=("T23", "S15"),
    names=("next_step", "adaptive"),
    probe=_probe_adaptive,
    reference={"next_step": solution.next_step, "adaptive": solution.adaptive},
    asks={
        "tries accepted, rejected": "How many tries does your solver accept and reject? A step is measured, "
        "then accepted or not, then the next size is set: check each of the three.",
    },
    mistakes=(
        Mistake(
            changed(solution.next_step, ("1 / (order + 1)", "1 / order")),
            "Your exponent is 1/p. The *local* error of a method of order p shrinks with which power of h?",
        ),
        Mistake(
            changed(solution.next_step, ("1 / (order + 1)", "order + 1")),
            "You raise the error to the power p + 1. It is the error that goes like h to that power: what "
            "is h as a function of the error?",
        ),
        Mistake(
            {  # with a solver that calls it, the end is never reached, as with many another mistake
                "next_step": changed(solution.next_step, ("safety / error", "safety * error")),
                "adaptive": solution.adaptive,
            },
            "A large error makes your step larger. Which one stands above the line, the error or the "
            "tolerance?",
        ),
        Mistake(
            changed(solution.next_step, ("safety / error", "1 / error")),
            "Without the safety factor the next error is expected to be exactly the tolerance, and every "
            "second try will fail. Where does 0.9 go?",
        ),
        Mistake(
            changed(solution.next_step, ("max(least, wish)", "wish")),
            "One terrible error estimate shrinks your step a thousandfold. What is `least` for?",
        ),
        Mistake(
            changed(solution.next_step, ("min(most, max(least, wish))", "max(least, wish)")),
            "An error of nearly nothing makes your step a thousand times longer. What is `most` for?",
        ),
        Mistake(
            changed(solution.adaptive, ("error, error <= 1", "error, True"), ("if error <= 1", "if True")),
            "Every try is accepted. The first one, half of the whole way, has an error of many times the "
            "tolerance: what happens to it?",
        ),
        Mistake(
            changed(solution.adaptive, ("            u = end", "        u = end")),
            "After a rejection y stays and u moves on, so that a piece of the way is skipped. What does it "
            "mean to reject a step?",
        ),
        Mistake(
            changed(
                solution.adaptive,
                ("h = left if abs(h) >= abs(left) else h", "pass"),
                ("u != end", "u > end"),
            ),
            "Your last step runs past the end. How long may it be?",
        ),
        Mistake(
            changed(solution.adaptive, ("y = heun_point", "y = euler_point")),
            "The steps are chosen well, but you walk on with Euler's point. Which of the two is nearer to "
            "the truth, and has been paid for already?",
        ),
        Mistake(
            changed(solution.adaptive, ("        h = next_step", "        else:\n            h = next_step")),
            "Your step only ever shrinks: it is set anew after a rejection, never after success. What about "
            "regions where the solution is smooth?",
        ),
        Mistake(
            changed(solution.adaptive, (".square().mean().sqrt()", ".abs().max()")),
            "You measure the largest entry. Stricter, and possible; the task measures the root mean square.",
        ),
        Mistake(
            changed(solution.adaptive, (".mean()", ".sum()")),
            "Your error grows with the number of entries in y, so a large batch would get small steps. What "
            "is *mean* about a root mean square?",
        ),
        Mistake(
            changed(solution.adaptive, (" / tolerance", "")),
            "Hardly anything is ever rejected: the error is compared with 1 as it is. Where does the "
            "tolerance come in?",
        ),
        Mistake(
            changed(solution.adaptive, ("order=1", "order=2")),
            "The controller is told that the order is 2, Heun's. But what was measured is the error of "
            "Euler's point: what is its order?",
        ),
    ),
    hints=(
        "Separate three questions: how wrong was the step, is it taken, and how long is the next try? Only "
        "the second depends on the comparison with 1.",
        "Two points are computed in each try, Euler's and Heun's, from two slopes. Their distance says how "
        "wrong Euler's was; y and u change only if it is small enough; h changes always.",
        "The local error of order p goes like h to the power p + 1, so the wished factor is the (p + 1)-th "
        "root of one over the error, times the safety factor, then cut to the limits. Before each try: if h "
        "reaches beyond the end, shorten it to what is left.",
    ),
)

# --- 3.8: the stiff end -------------------------------------------------------------------------------------


def _thin_rate(lam, std):
    """(dy/dlam) / y of the probability flow in y = x / alpha, for data N(0, std^2)."""
    return -1 / (1 + std**2 * math.exp(2 * lam))


_LIMITS = {"largest": solution.largest, "fewest": 5}


def _probe_implicit(answer, seed):
    y, std = normal(seed, 3, 1), 0.02

    def thin(y, lam):
        return _thin_rate(lam, std) * y

    def thin_rate(y, lam):
        return _thin_rate(lam, std) * torch.ones_like(y)

    def bent(y, u):
        return -3 * torch.tanh(2 * y) + u

    def bent_rate(y, u):
        return -6 / torch.cosh(2 * y) ** 2

    coarse = y
    for i in range(3):
        coarse = answer.implicit_step(thin, thin_rate, coarse, -5 + 3.0 * i, 3.0, 1)
    values = {
        "thin Gaussian, one step of 6 in lambda, 1 round": answer.implicit_step(
            thin, thin_rate, y, -2.0, 6.0, 1
        ),
        "thin Gaussian, three steps of 3, y / start": (coarse / y)[0, 0],
        "bent slope, 1 round": answer.implicit_step(bent, bent_rate, y, 0.2, 0.3, 1),
        "bent slope, 6 rounds": answer.implicit_step(bent, bent_rate, y, 0.2, 0.3, 6),
    }
    return values


def _limit_facts(answer, seed):
    return right_numbers(answer, 1e-3, **_LIMITS)


_SLOPE = "slope(new, u + h)"
_OLD_TIME = (_SLOPE, "slope(new, u)")
_TRAPEZOID = (_SLOPE, "(slope(y, u) + slope(new, u + h)) / 2")


def _fixed_point(slope, derivative, y, u, h, rounds):
    """Implicit Euler by fixed-point iteration, which diverges where it is needed."""
    new = y
    for _ in range(rounds):
        new = y + h * slope(new, u + h)
    return new


STIFF = Task(
    id="3.8",
    title="How long may a step be?",
    kind="implement-equation",
    difficulty=3,
    minutes=30,
    points=4,
    ids=("T24", "S34", "BT14"),
    names=("implicit_step", "largest", "fewest"),
    probe=_probe_implicit,
    facts=_limit_facts,
    reference={"implicit_step": solution.implicit_step, **_LIMITS},
    tolerance=1e-3,
    decimals=4,
    asks={
        "largest": "largest is not right yet. What is the rate at kappa = 0.1 for std = 0.05, and between "
        "which two values may 1 + h · rate lie?",
        "fewest": "fewest is not right yet. How long is the whole way in lambda, how long may one step be "
        "when the rate is −1, and which whole number of steps does that ask for?",
    },
    mistakes=(
        Mistake(
            {"implicit_step": lambda slope, derivative, y, u, h, rounds: y + h * slope(y, u)},
            "That is the explicit method: on the thin Gaussian a step of 6 multiplies y by about −5. At "
            "which end does implicit Euler take its slope?",
        ),
        Mistake(
            changed(solution.implicit_step, _OLD_TIME, ("e(new, u + h)", "e(new, u)")),
            "The slope is taken at the new y and the old time. Implicit Euler wants both from the end of the "
            "step.",
        ),
        Mistake(
            changed(solution.implicit_step, _OLD_TIME),
            "Your derivative is taken at u + h and your slope still at the old u. What is solved is set by "
            "the slope: where does the step end?",
        ),
        Mistake(
            changed(solution.implicit_step, (_SLOPE, "slope(y, u)")),
            "This is the explicit method in disguise: the slope in your residual is the one at the old y and "
            "the old u, and never changes while y' does. Round by round it comes to Euler's explicit step.",
        ),
        Mistake(
            changed(solution.implicit_step, (_SLOPE, "slope(y, u + h)")),
            "The slope in your residual stays the one at the old y, so the equation that you solve is an "
            "explicit one; a single round does not show it. At which y should each round ask?",
        ),
        Mistake(
            {"implicit_step": lambda slope, derivative, y, u, h, rounds: y + h * slope(y, u + h)},
            "Only the time is taken from the end of the step; y is still the old one, so there is nothing "
            "to solve and the step is explicit. What makes the method implicit?",
        ),
        Mistake(
            {"implicit_step": _fixed_point},
            "You put the new y into the slope again and again. For h times the derivative beyond 1 that "
            "moves away from the solution, and this is the very case an implicit method is for. What does "
            "Newton divide by?",
        ),
        Mistake(
            changed(solution.implicit_step, ("1 - h", "1 + h")),
            "The sign in Newton's denominator is wrong. Differentiate y' − y − h slope(y') by y'.",
        ),
        Mistake(
            changed(solution.implicit_step, ("1 - h * d", "1 - d")),
            "Newton divides by the derivative of the whole residual. By what is the slope multiplied there?",
        ),
        Mistake(
            changed(solution.implicit_step, ("new - y", "new - new")),
            "Your residual has the new y where the old one belongs, so every round makes another step. "
            "What stays fixed while y' is improved?",
        ),
        Mistake(
            changed(solution.implicit_step, _TRAPEZOID),
            "You solve with the mean of both slopes: that is the trapezoidal rule's equation, with implicit "
            "Euler's denominator. Which slope does implicit Euler use?",
        ),
        Mistake(
            changed(solution.implicit_step, _TRAPEZOID, ("1 - h", "1 - h / 2")),
            "A perfect step of the trapezoidal rule: second order, but with long steps it turns the sign of "
            "a thin direction again and again. Implicit Euler takes one slope only: which?",
        ),
        Mistake(
            changed(solution.implicit_step, ("range(rounds)", "range(rounds + 1)")),
            "You make one round more than asked. On a straight slope nobody sees it; on a bent one the "
            "check does.",
        ),
        Mistake(
            changed(solution.implicit_step, ("new = y", "new = y + h * slope(y, u)")),
            "You begin with Euler's explicit step. Often a good guess, but for stiff problems a wild one; "
            "the task begins with y.",
        ),
        Mistake(
            changed(solution.implicit_step, ("derivative(new", "derivative(y")),
            "You keep the derivative of the first round. That often works, and slowly; Newton's method, as "
            "the task has it, asks for it anew in each round.",
        ),
        Mistake(
            {"largest": 2.0},
            "That is the limit for a single point. With std = 0.05 and kappa = 0.1 the rate is smaller than "
            "1 in size: how large is it?",
        ),
        Mistake(
            {"largest": 1.25},
            "With this step y lands exactly on 0. It may overshoot: how far, before it is further away than "
            "it was?",
        ),
        Mistake(
            {"largest": 1.25, "fewest": 10},
            "Both numbers ask that y should not change its sign: a factor of 0 taken for the limit. Stable "
            "means at most 1 in *size*: which is the factor furthest to the other side?",
        ),
        Mistake(
            {"largest": -2.5},
            "The size is right. Which way does lambda go while we sample, and what sign has h then?",
        ),
        Mistake(
            {"largest": 0.4},
            "You divided by kappa too much, or multiplied by the rate: the slower the decay, the longer the "
            "step may be. Solve |1 + h rate| = 1 for h.",
        ),
        Mistake(
            {"fewest": 10},
            "That many steps are needed if y may not change its sign. Stable means that it does not grow.",
        ),
        Mistake(
            {"fewest": (VP1.lam(1e-3) - VP1.lam(1.0)) / 2},
            "That is the whole way divided by the longest step. Can a sampler make a part of a step?",
        ),
        Mistake(
            {"fewest": 4},
            "With 4 steps each is 2.40 long, and y is multiplied by −1.4 in every one. Which way must the "
            "number be rounded?",
        ),
    ),
    hints=(
        "One step of Euler multiplies y by 1 + h · rate. Draw this as a function of h for rate = −1 and "
        "mark where its size passes 1.",
        "For implicit Euler write the equation as 'residual of y′ = 0'. Newton's method needs the "
        "residual's derivative with respect to y′, and each entry of y has an equation of its own.",
        "Residual: y′ minus the old y minus h times the slope at y′ and u + h; its derivative is one minus "
        "h times `derivative` there. For the numbers: h times the size of the rate may be 2 at most, and the "
        "whole way in lambda is lam(0.001) − lam(1).",
    ),
)

# --- 3.9: find the bug, the stochastic Heun -----------------------------------------------------------------


def _reverse_drift(x, t):
    """The drift of Anderson's reversal for data N(0, 1/4)."""
    return VP1.f(t) * x - VP1.g2(t) * _gaussian_score(x, t)


def _modes_drift(x, t):
    """The drift of Anderson's reversal for two modes."""
    return VP1.f(t) * x - VP1.g2(t) * _two_modes().score(x, t)


def _g(t):
    """VP's diffusion coefficient."""
    return VP1.g2(t) ** 0.5


def _probe_heun_sde(answer, seed):
    errors = []
    for steps in (50, 100):
        times = _even(steps, 1.0, 1e-3)

        def walk(x, noises, times=times):
            return answer(_reverse_drift, _g, x, times, noises)

        errors.append(_exact_variance(walk, steps, _width(1.0)) - _width(1e-3))
    x, noises = normal(seed, 2, 1), normal(seed, 10, 2, 1, stream=1)
    return {
        "10⁴ × error of the variance, 50 and 100 steps": [1e4 * error for error in errors],
        "weak order between the two": torch.log2((errors[0] / errors[1]).abs()),
        "x of two modes, 10 steps": answer(_modes_drift, _g, x, _even(10, 1.0, 1e-3), noises),
    }


_MEAN = "(g(t) + g(s)) / 2"
_LEFT = (_MEAN, "g(t)")  # g at the start of the step only
_BLIND = ("here + g(t) * root * noises[i]", "here")  # a predictor without noise
_AVERAGE = ("x + h / 2 * (here + there)", "(x + ahead + h * there) / 2")  # of points

HEUN_SDE = Task(
    id="3.9",
    title="Find the bug: a second order that is not there",
    kind="find-the-bug",
    difficulty=3,
    minutes=25,
    points=4,
    ids=("P08", "BP10", "BP12", "BS27", "E4"),
    probe=_probe_heun_sde,
    reference=solution.heun_sde,
    decimals=3,
    mistakes=(
        Mistake(
            changed(solution.heun_sde, _BLIND, _LEFT),
            "Weak order 1, and seven times Euler–Maruyama's error: this is the listing as it was given. At "
            "which x does it take its second drift, and has x been there?",
            as_given=True,
        ),
        Mistake(
            changed(solution.heun_sde, _LEFT),
            "The predictor is right now, and the error is halved; the order is still 1. g changes during the "
            "step: at which end do you take it?",
        ),
        Mistake(
            changed(solution.heun_sde, _BLIND),
            "The corrector's noise is right now, and the error is halved; the order is still 1. The second "
            "drift should be taken where the step leads: does it lead there without noise?",
        ),
        Mistake(
            changed(solution.heun_sde, (_MEAN, "g(s)")),
            "You take g at the end of the step instead of at its start. Either is first order: what about "
            "both?",
        ),
        Mistake(
            changed(solution.heun_sde, ("x + h / 2 * (here + there)", "ahead + h / 2 * (there - here)")),
            "The variance is about four times what it should be: each step adds its noise twice, once in "
            "the predictor, which you go on from, and once in the corrector. From where does the corrector "
            "start?",
        ),
        Mistake(
            changed(solution.heun_sde, _AVERAGE),
            "The mean of x and of what follows from the predictor holds half of the predictor's noise, and "
            "the corrector adds all of it again: of what should the mean be taken, of points or of drifts?",
        ),
        Mistake(
            changed(solution.heun_sde, _AVERAGE, _LEFT),
            "Two things at once: g is still taken at the start only, and the mean of two points brings in "
            "half of the predictor's noise, on top of the corrector's. Of what should the mean be taken?",
        ),
        Mistake(
            changed(solution.heun_sde, ("/ 2 * root * noises[i]", "/ 2 * root * noises[i - 1]")),
            "Predictor and corrector draw two different noises, so the second drift belongs to another path: "
            "the order falls to 1. Which z must the corrector use?",
        ),
        Mistake(
            changed(solution.heun_sde, (_MEAN, "(g(t) + g(s))")),
            "You add the deviations of both ends, twice the noise that belongs into a step. What is their "
            "mean?",
        ),
        Mistake(
            changed(solution.heun_sde, ("h / 2 * (here + there)", "h * there")),
            "Only the second drift is used in the end, so that the drift is first order again. What does "
            "Heun do with two slopes?",
        ),
        Mistake(
            changed(solution.heun_sde, ("here + g(t)", f"here + {_MEAN}")),
            "Order 2, well done, but it is not the scheme in the statement: its predictor is an ordinary "
            "Euler–Maruyama step, with g at the start.",
        ),
        Mistake(
            changed(solution.heun_sde, (_MEAN, "math.sqrt((g(t) ** 2 + g(s) ** 2) / 2)")),
            "Order 2, well done: the root of the mean of g² is as good as the mean of g. The statement's "
            "scheme, which the check compares with, takes the mean of g.",
        ),
    ),
    hints=(
        "Set g = 0 in the listing: which method is left, and of what order? So the mistakes are in the "
        "noise.",
        "There are two. One is about the point at which the second drift is taken, one about the time at "
        "which g is taken. Mended alone, each halves the error and leaves the order at 1.",
        "The predictor is a complete Euler–Maruyama step, noise included. The corrector begins again at the "
        "old x, with the mean of the two drifts and the mean of g at both ends, times the very z that the "
        "predictor has used.",
    ),
)

# --- 3.10: predictor and corrector --------------------------------------------------------------------------


def _probe_corrector(answer, seed):
    score, z = normal(seed, 3, 4), normal(seed, 3, 4, stream=1)
    x, noises = normal(seed, 3, 2, stream=2), normal(seed, 8, 2, 3, 2, stream=3)
    model = _two_modes(2)
    values = {"snr_step of three samples": answer.snr_step(score, z, 0.2)}
    if tuple(np.shape(values["snr_step of three samples"])) != (3, 1):
        raise Remark(
            "snr_step should have the shape (B, 1), one step a sample; yours is "
            f"{tuple(np.shape(values['snr_step of three samples']))}."
        )
    for steps, times in ((1, [0.6, 0.4]), (8, _even(8))):
        label = "x after one step, from t = 0.6 to 0.4" if steps == 1 else "x_0 after 8 steps, down to t = 0"
        values[label] = answer.predictor_corrector(model.score, VP1.f, VP1.g2, x, times, noises[:steps], 0.2)
    return values


_EACH = "z.norm(dim=1, keepdim=True) / score.norm(dim=1, keepdim=True)"
_NOISE = "            x = x + math.sqrt(g2(t) * (t - s)) * first\n"
_PULL = "            pull = score(x, s)\n"
_CORRECT = f"""{_PULL}\
            e = snr_step(pull, second, snr)
            x = x + e * pull + (2 * e).sqrt() * second
"""
_CORRECT_FIRST = """\
        pull = score(x, t)
        e = snr_step(pull, second, snr)
        x = x + e * pull + (2 * e).sqrt() * second
        x = x + (f"""

CORRECTOR = Task(
    id="3.10",
    title="Predict, then correct",
    kind="implement-sampler",
    difficulty=3,
    minutes=30,
    points=5,
    ids=("T25", "BS15", "BS30", "P19"),
    names=("snr_step", "predictor_corrector"),
    probe=_probe_corrector,
    reference={"snr_step": solution.snr_step, "predictor_corrector": solution.predictor_corrector},
    mistakes=(
        Mistake(
            changed(solution.snr_step, ("snr * width_of_p", "snr / width_of_p")),
            "Your step grows with the score. Near the data the score is huge, and there the step must be "
            "tiny: which norm stands above the line?",
        ),
        Mistake(
            changed(solution.snr_step, (" ** 2", "")),
            "The ratio of the norms is a width, like sigma. A Langevin step has the dimension of a "
            "variance: what is missing?",
        ),
        Mistake(
            changed(solution.snr_step, ("2 * (", "(")),
            "Your step is half of the rule's. The factor in front is there because the noise is multiplied "
            "by the root of *twice* the step.",
        ),
        Mistake(
            changed(solution.snr_step, ("(snr * width_of_p) ** 2", "snr * width_of_p**2")),
            "r is not squared in your rule. Does it stand inside the bracket or outside?",
        ),
        Mistake(
            changed(solution.snr_step, (_EACH, "(z.norm() / score.norm()).expand(len(z), 1)")),
            "All samples share one step, made from the norms of the whole batch: then a sample's result "
            "depends on its neighbours. Which axis does the norm go over?",
        ),
        Mistake(
            changed(solution.predictor_corrector, ("(2 * e)", "e")),
            "The corrector's noise is too small: with √e instead of √(2e) Langevin dynamics settles on a "
            "density that is too narrow. Which pair of drift and noise leaves p as it is?",
        ),
        Mistake(
            changed(solution.predictor_corrector, ("score(x, s)", "score(x, t)")),
            "After the predictor, x is at time s. At which time do you ask for the score that corrects it?",
        ),
        Mistake(
            changed(
                solution.predictor_corrector,
                (_PULL, ""),
                ("        x = x + (f", "        pull = score(x, t)\n        x = x + (f"),
            ),
            "The corrector uses the score that the predictor has used, of the old x at the old time. It has "
            "to ask again: that is what its second call a step is for.",
        ),
        Mistake(
            changed(
                solution.predictor_corrector,
                (_CORRECT, ""),
                ("        x = x + (f", _CORRECT_FIRST),
            ),
            "You correct before you predict. Then what comes out has never been corrected: which of the two "
            "comes first?",
        ),
        Mistake(
            changed(
                solution.predictor_corrector,
                ("pull, second", "pull, first"),
                ("sqrt() * second", "sqrt() * first"),
            ),
            "Predictor and corrector use the same noise. The corrector's must be independent of everything "
            "before it: what is noises[i, 1] for?",
        ),
        Mistake(
            changed(
                solution.predictor_corrector,
                (_NOISE, ""),
                ("        if s > 0:\n", _NOISE[4:] + "        if s > 0:\n"),
            ),
            "All is right until the last step, which adds noise to clean data. How much noise has x at "
            "t = 0?",
        ),
        Mistake(
            changed(solution.predictor_corrector, ("if s > 0:", "if True:")),
            "The step that ends at t = 0 is like the others in your loop: it adds noise and is corrected. "
            "With a network there is no score at sigma = 0; and what should clean data be free of?",
        ),
        Mistake(
            changed(solution.predictor_corrector, (_NOISE, ""), ("g2(t) * score", "g2(t) / 2 * score")),
            "Your predictor is a step of the ODE, without noise. That is a sampler too; the task predicts "
            "with Anderson's reversal.",
        ),
        Mistake(
            changed(solution.predictor_corrector, (_CORRECT, "")),
            "Predictions only: this is Euler–Maruyama. Where is the corrector?",
        ),
        Mistake(
            changed(
                solution.predictor_corrector,
                (_PULL, "            if s == times[-1]:\n                break\n" + _PULL),
            ),
            "The step that ends on clean data is not corrected, and rightly: there is no score there. But "
            "is every grid's last step of that kind? Look at where it ends, not at its number.",
        ),
        Mistake(
            changed(solution.predictor_corrector, ("if s > 0:", "if s != times[-1]:")),
            "Your last step is always the bare drift, without noise or correction, because it is the last. "
            "A grid may end at t = 0.4, where x should be noisy: what tells such an end from t = 0?",
        ),
    ),
    hints=(
        "A step of this sampler is two moves with a score each: one changes the time, the other does not. "
        "Write down for each which x and which t it uses.",
        "The rule's norms go over the coordinates of one sample, and keepdim makes them multiply x. A step "
        "that ends at t = 0 is special twice: no noise there, and no score either.",
        "Predictor: the drift of level 1 times the negative time step, plus g times the root of its size "
        "times the first noise. Corrector, at the new time, with a new score of the new x: step times "
        "score plus the root of twice the step times the second noise. Both extras only if the new time is "
        "above 0.",
    ),
)

TASKS = (DRIFT, FAMILY, VE_BUG, SOLVERS, ORDERS, BUDGET, ADAPTIVE, STIFF, HEUN_SDE, CORRECTOR)
