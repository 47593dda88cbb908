"""The tasks of lesson 03: one stochastic differential equation, one ordinary one, and their solvers.

The test problem is mostly data N(0, 1/4) under VP, where every sampler is linear: its output's variance is
then exact, a sum of squared gains, and nothing is left to chance.  Where a straight line or a centre at 0
would forgive a mistake there are two modes as well, of unequal weight and on no side of 0 alone.
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
    Variation,
    changed,
    error_lines,
    named_expressions,
    named_numbers,
    normal,
    read_axes,
    right_numbers,
    right_or_number,
    right_words,
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
    """The exact model of a third of the data at -0.5, the rest at 2, in every coordinate; deviation 0.3."""
    return Mixture([1, 2], [[-0.5] * d, [2.0] * d], [0.3, 0.3]).model(VP1)


def _even(steps, start=1.0, end=0.0):
    """steps + 1 equally spaced times from start down to end."""
    return [start + (end - start) * i / steps for i in range(steps)] + [end]


def _exact_variance(walk, steps, start_variance):
    """Variance of what walk(x, noises) makes of a start of this variance, for a walk linear in both."""
    basis = torch.eye(steps + 1, dtype=torch.float64)
    end = walk(math.sqrt(start_variance) * basis[:1], basis[1:, None])
    return (end**2).sum()


class _Counted:
    """A function that counts its calls: each stands for one of the network."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *given):
        self.calls += 1
        return self.function(*given)


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
            {"backward": "-f*x + (1 + l**2)/2*g**2*s"},
            "Every sign is turned: that is the drift for a clock that counts up while t falls. Here dt "
            "itself is negative. At l = 0, what must be left of the equation for dx/dt?",
        ),
        Mistake(
            {
                "backward": "f*x - (1 + l)/2*g**2*s",
                "forward": "f*x - (1 - l)/2*g**2*s",
                "slope": "(1 + l)/2*g**2/sigma",
            },
            "All three are right at l = 0 and at l = 1, and between these none is. Which power of the "
            "noise's size stands in the Fokker–Planck equation?",
        ),
        Mistake(
            {"backward": "f - (1 + l**2)/2*g**2*s"},
            "The score's part is right. But f alone is a rate, and a drift is a velocity: what does the "
            "diffusion multiply f by?",
        ),
        Mistake(
            {"backward": "f - (1 + l**2)/2*g**2*s", "forward": "f - (1 - l**2)/2*g**2*s"},
            "The score's part of both is right. But f alone is a rate, and a drift is a velocity: what does "
            "the diffusion multiply f by?",
        ),
        Mistake(
            {
                "backward": "f*x - (1 + l**2)/2*g*s",
                "forward": "f*x - (1 - l**2)/2*g*s",
                "slope": "(1 + l**2)/2*g/sigma",
            },
            "The shares are right; the noise comes in by its size g. Which power of it spreads a density?",
        ),
        Mistake(
            {"forward": "f*x + (1 - l**2)/2*g**2*s"},
            "At l = 0 your forward equation is not the backward one. Without noise both are the same ODE, "
            "whichever way the time runs: what sign has the score in it?",
        ),
        Mistake(
            {"forward": "f*x - (1 - l)/2*g**2*s"},
            "Right at l = 0 and at l = 1, and not between. Does noise spread a density by its size, or by "
            "the square of it?",
        ),
        Mistake(
            {"slope": "g**2/2/sigma"},
            "That is the ODE's, the coefficient without noise. Which share of g² has the score in your own "
            "`backward`?",
        ),
        Mistake(
            {"slope": "(1 + l**2)*g**2/sigma"},
            "Twice too large. At l = 0 it should be the ODE's, and there the score has half of g².",
        ),
        Mistake(
            {"slope": "-(1 + l**2)/2*g**2"},
            "You put minus eps where the score was. The score is a slope and eps a number without unit: what "
            "do you divide by, and where has the minus in front of the score gone?",
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
    values, score = {}, _Counted(_gaussian_score)
    for level in (0.0, 0.5, 1.0):
        times = _even(50)

        def walk(x, noises, times=times, level=level):
            return answer(score, VP1.f, VP1.g2, x, times, level, noises)

        values[f"variance at level {level:g}, 50 steps"] = _exact_variance(walk, 50, _width(1.0))
    x, noises = normal(seed, 2, 1), normal(seed, 10, 2, 1, stream=1)
    for level, end in ((1.0, 0.0), (round(uniform(seed, 0.2, 0.8), 3), 0.0), (1.0, 0.3)):
        values[f"x at t = {end:g} of two modes, level {level:g}, 10 steps"] = answer(
            _two_modes().score, VP1.f, VP1.g2, x, _even(10, 1.0, end), level, noises
        )
    return values | {"calls of the score a step": score.calls / 150}


def _noise_first(score, f, g2, x, times, level, noises):
    """The family with the score of the x that has its noise already."""
    for i, (t, s) in enumerate(zip(times, times[1:])):
        dt, share = s - t, (1 + level**2) / 2
        x = x + (level * math.sqrt(g2(t) * -dt) * noises[i] if s > 0 else 0)
        x = x + (f(t) * x - share * g2(t) * score(x, t)) * dt
    return x


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
    asks={
        "variance at level 0, 50 steps": "At level 0 no noise is added, and the variance at t = 0 is {value} "
        "where 0.2457 is right. Which drift has the ODE, and which way does a step of yours go?",
        "variance at level 0.5, 50 steps": "Level 0 is right. At level 1/2 the variance is {value} where "
        "0.2475 is right: how much drift pays for this noise, and how much noise is it?",
        "variance at level 1, 50 steps": "Levels 0 and 1/2 are right. At level 1 the variance is {value} "
        "where 0.2481 is right: what grows with the square of the level?",
        "x at t = 0 of two modes, level 1, 10 steps": "The variances are right for one Gaussian centred at "
        "0. For two modes with a score that bends x comes out elsewhere: what in your step holds for one "
        "only?",
        "calls of the score a step": "All is right, with {value} calls of the score a step. One is enough.",
    },
    mistakes=(
        Mistake(
            changed(solution.family, _AWAY, _WHOLE, _LAST),
            "It does what the listing as given does: variances in the hundred thousands. Which way does a "
            "step of it go, from t to s or from t to somewhere beyond 1?",
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
            "Level 0 is right. With noise the variance is too large, by 0.0025 at level 1/2 and by 0.01 at "
            "level 1, so in proportion to the level's square: look at what is done to x just before it is "
            "returned as clean data.",
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
        Mistake(
            changed(solution.family, ("level * math.sqrt(g2(t) * -dt)", "math.sqrt(level * g2(t) * -dt)")),
            "Levels 0 and 1 are right. In between the level stands under the root, so that the noise has the "
            "variance l g², and the drift pays for l² g². Of what is l a factor, of a size or of a variance?",
        ),
        Mistake(
            changed(solution.family, ("level * math.sqrt(g2(t) * -dt)", "level**2 * math.sqrt(g2(t) * -dt)")),
            "Levels 0 and 1 are right. In between your noise has the size l² g, and the drift pays for l g. "
            "Which of the two holds the level's square?",
        ),
        Mistake(
            changed(
                solution.family, ("g2(t) * score", "g2(s) * score"), ("math.sqrt(g2(t)", "math.sqrt(g2(s)")
            ),
            "You take g² at the end of each step. That converges too, but Euler–Maruyama takes everything "
            "where the step starts.",
        ),
        Mistake(
            changed(solution.family, ("g2(t) * score", "g2(s) * score")),
            "The drift takes g² at the end of the step and the noise at its start. Where does "
            "Euler–Maruyama look?",
        ),
        Mistake(
            changed(solution.family, ("score(x, t)", "score(x, s)")),
            "At which time is the x that you give to the score? Yours is asked at the end of the step, "
            "before x is there.",
        ),
        Mistake(
            _noise_first,
            "You add the noise first and ask the score of the x that has it. Euler–Maruyama makes drift and "
            "noise from one and the same x, that of the step's start.",
        ),
        Mistake(
            changed(solution.family, ("if s > 0:", "if i < len(times) - 2:")),
            "Right on grids that end at 0. Another grid may end at t = 0.3, where x should be noisy: what "
            "tells such an end from clean data, its number or its time?",
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
    score = _Counted(lambda x, sigma: -x / (sigma**2 + 0.25))

    def variance(end, low, high):
        times = _even(200, 1.0, end)
        return _exact_variance(lambda z, noises: answer(score, low, high, z, times, noises), 200, 1.0)

    values = {f"variance at t = {end:g}": variance(end, 0.01, 50.0) for end in (0.9, 0.75, 0.0)}
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    values[_VE_NOISE] = answer(score, 0.01, 50.0, 0 * one[0], [1.0, 0.98], one)[0, 0] / 50
    low, high = uniform(seed, 0.01, 0.1), uniform(seed, 2.0, 30.0, stream=1)
    values[_VE_OTHER] = variance(0.4, low, high)
    values["calls of the score a step"] = score.calls / 801
    mean, still = uniform(seed, 1.5, 3.0, stream=2), torch.zeros(100, 1, 1, dtype=torch.float64)
    values[_VE_MEAN] = mean - answer(
        lambda x, sigma: score(x - mean, sigma), 0.01, 50.0, still[0], _even(100, 1.0, 0.2), still
    )
    return values


_VE_OTHER = "variance at t = 0.4, another sigma_min and sigma_max"
_VE_MEAN = "mean of the data, less that of x"
_VE_NOISE = "noise of a step from t = 1 to 0.98, over sigma_max"
_VE_FORM = (
    "Order 1, with variances within 3 % of Euler–Maruyama's: right, and in another form than the "
    "statement's. That takes g at the start of each step; the exact increments of sigma² do as well."
)


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
    loose={
        **{f"variance at t = {end:g}": (0.03, _VE_FORM) for end in (0.9, 0.75, 0.0)},
        _VE_NOISE: (0.1, _VE_FORM),
        _VE_OTHER: (0.03, _VE_FORM),
        _VE_MEAN: (0.01, _VE_FORM),
    },
    asks={
        "variance at t = 0.9": "At t = 0.9, near the start, the variance should be near 455.4; yours is "
        "{value}. So early it is the start that counts, and what the first tenth takes away.",
        "variance at t = 0.75": "At t = 0.9 the variance is right; at t = 0.75 it should be near 35.6, and "
        "yours is {value}. How much variance does a step take away, and how much does it add?",
        "variance at t = 0": "On the way the variance is right; at the end it should be near 0.25, and yours "
        "is {value}. Which of drift and noise rules once sigma is small?",
        _VE_NOISE: "The variances are right on three grids. But a single step from t = 1 to 0.98 adds the "
        "wrong amount of noise, or none: your last step seems to be another than the rest. Is x at times[-1] "
        "free of noise?",
        "calls of the score a step": "The variances are right, with {value} calls of the score a step. One "
        "is enough.",
        _VE_MEAN: "The variances are right, and for data whose mean is not 0 the mean of x is not theirs: it "
        "is off by {value}. What in your steps knows where 0 is?",
    },
    mistakes=(
        Mistake(
            changed(solution.ve_sample, _NARROW, _UNSQUARED),
            "It does what the listing as given does: 0.135 at the end. What is the deviation of x at t = 1, "
            "and what does yours start from?",
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
            changed(solution.ve_sample, ("sigma_max * z", "sigma_min * z")),
            "You start from the deviation of the other end. How wide is x at t = 1?",
        ),
        Mistake(
            changed(solution.ve_sample, ("math.exp(log_ratio * t)", "log_ratio * t")),
            "Your sigma grows in proportion to t. It is sigma_min times the t-th power of the ratio: which "
            "function of log_ratio · t is that?",
        ),
        Mistake(
            changed(solution.ve_sample, ("+ g**2 * score", "- g**2 * score")),
            "The score's sign is turned: each step walks away from the data. Here the drift is multiplied by "
            "t − s, which is above 0, so which sign is left?",
        ),
        Mistake(
            changed(solution.ve_sample, ("math.sqrt(t - s)", "(t - s)")),
            "The noise of a step is far too small: Brownian motion moves by the root of the time that "
            "passes, not by the time.",
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
    asks={
        "heun_step from t = 0.6 to 0.4": "heun_step is not Heun's step yet. Write down both slopes with "
        "their y and their u: the one here, and the one where Euler's step leads.",
        "rk4_step from t = 0.6 to 0.4": "rk4_step is not the step of the statement yet. Write down the y and "
        "the u of each of its four slopes, and the four weights.",
        "calls of slope a step: Euler, Heun, RK4": "The points are right; the calls are not 1, 2 and 4 a "
        "step. Which slope is asked for twice?",
        "solve with Euler's step, uneven grid": "The three steps are right, and `solve` is not: which u and "
        "which h does it give to each step, from which y?",
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
            changed(solution.heun_step, ("y + h * (here", "y + h * here + h * (here")),
            "Heun's step begins again at y. Yours goes on from Euler's point, half a step too far: from "
            "where does the mean of the two slopes lead?",
        ),
        Mistake(
            changed(solution.heun_step, ("there = slope(y + h * here, u + h)", "there = here")),
            "Both of your slopes are the same one: that is Euler's step, and one call. Where is the second "
            "slope taken?",
        ),
        Mistake(
            changed(solution.rk4_step, ("again, u + h)", "again, u + h / 2)")),
            "Your fourth slope is taken at the right y and at the time of the middle. At which u is the end?",
        ),
        Mistake(
            changed(
                solution.rk4_step,
                ("y + h / 2 * start", "y + h * start"),
                ("y + h / 2 * middle", "y + h * middle"),
            ),
            "The two slopes in the middle are taken at its time, and at a y a whole step away. How far in y "
            "is the middle?",
        ),
        Mistake(
            changed(solution.solve, ("then - now", "(grid[-1] - grid[0]) / (len(grid) - 1)")),
            "Every step of yours has the same size, the mean one. The grid is uneven: what is h for each "
            "pair?",
        ),
        Mistake(
            changed(solution.solve, ("y, now, then", "y, then, then")),
            "You tell each step the u of its end. At which u does it begin?",
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
    thin = error_lines(read_axes(answer.draw([20, 40, 80], 0.1)), "RK4")["RK4"][1]
    values["log10 of RK4's error, std 0.5 and 0.1"] = np.log10([y[-1], thin[-1]])
    n, std = round(uniform(seed, 10, 40)), round(uniform(seed, 0.2, 0.9, stream=1), 3)
    other = error_lines(read_axes(answer.draw([n, 2 * n, 3 * n], std)), *_NAMES).values()
    values[f"log10 of the errors, {2 * n} steps, std {std:g}"] = np.log10([y[1] for _, y in other])
    values[f"calls at {3 * n} steps"] = [x[2] for x, _ in other]
    return values


def _slope_facts(answer, seed):
    numbers = named_numbers(answer, "euler_calls", "thin_slope")
    if not numbers["euler_calls"] > 0:
        raise Remark("euler_calls is a number of calls, above 0.")
    calls, right = math.log10(numbers["euler_calls"]), math.log10(_EULER_CALLS)
    return {
        "euler_calls (log10)": right_or_number(calls, right, 0.0235),  # a quarter more or less
        "thin_slope": right_or_number(numbers["thin_slope"], _THIN_SLOPE, 0.02),
    }


ORDERS = Task(
    id="3.5",
    title="Orders, read off your own figure",
    kind="figure",
    difficulty=2,
    minutes=30,
    points=4,
    allows=("toolkit.ode",),
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
            changed(solution.draw, ("- exact)", "- exact) / exact")),
            "You draw the error as a share of the exact end. The slopes are the same; the task asks for the "
            "distance itself.",
        ),
        Mistake(
            changed(solution.draw, ("/ (2 * width(t, std))", "/ width(t, std)")),
            "Your lines level off: the error does not go to 0, as if another equation were solved. Which "
            "share of g² has the ODE in front of the score?",
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
    allows=("toolkit.ode",),
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


class _Endless(Exception):
    """The solver called its slope too often."""


def _tries(adaptive, y, start, end, h):
    """(y at the end, the tries' (u, h) and verdicts, the calls) of a solver on the flow of two modes, or None
    for a solver that comes to no end."""
    calls = 0

    def slope(x, t):
        nonlocal calls
        calls += 1
        if calls > 600:
            raise _Endless
        return _modes_slope(x, t)

    try:
        found = adaptive(slope, y, start, end, 0.01, h)
    except _Endless:
        return None
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise Remark("adaptive returns two things: y at the end, and the list of tries.")
    if calls == 0:
        raise Remark(
            f"The slope was never called, from u = {start:g} to {end:g} with h = {h:g}: when should your "
            "loop go on?"
        )
    try:  # a step of round-off's size, made where u misses the end by one bit, is no try
        us, hs, _, accepted = zip(*(one for one in found[1] if abs(one[1]) > 1e-12))
        return found[0], us[-1] + hs[-1], [bool(fine) for fine in accepted], calls
    except (TypeError, ValueError):
        raise Remark("tries is a list of (u, h, error, accepted), one entry for every try.") from None


_FACTORS = "next_step(-0.1, error, order), error 4, 0.5, 0.5, order 1, 1, 4"


def _probe_adaptive(answer, seed):
    cases = ((4.0, 1), (0.5, 1), (0.5, 4))
    values = {
        _FACTORS: [answer.next_step(-0.1, error, order) for error, order in cases],
        "next_step(-0.1, error, 1), error 10⁶, 10⁻⁶, 0": [
            answer.next_step(-0.1, error, 1) for error in (1e6, 1e-6, 0.0)
        ],
        "next_step(0.2, error, 1), error 10⁶, 0.5, 0": [
            answer.next_step(0.2, error, 1) for error in (1e6, 0.5, 0.0)
        ],
    }
    y = 0.3 + normal(seed, 3, 1).abs()
    for start, end, h in ((1.0, 0.01, -0.5), (0.1, 0.5, 0.3)):
        way = f"u from {start:g} to {end:g}"
        found = _tries(answer.adaptive, y, start, end, h)
        if found is None:
            return values | {f"tries accepted, rejected, {way}": "no end after 600 calls of the slope"}
        y_end, at, accepted, calls = found
        values |= {
            f"tries accepted, rejected, {way}": [accepted.count(True), accepted.count(False)],
            f"calls of the slope a try, {way}": max(2.0, calls / len(accepted)),  # one less where it is kept
            f"where the last try ends, {way}": float(at),
            f"y at the end, {way}": y_end,
        }
    return values


ADAPTIVE = Task(
    id="3.7",
    title="A step that looks after itself",
    kind="implement-sampler",
    difficulty=3,
    minutes=35,
    points=5,
    ids=("T23",),
    names=("next_step", "adaptive"),
    probe=_probe_adaptive,
    reference={"next_step": solution.next_step, "adaptive": solution.adaptive},
    asks={
        _FACTORS: "next_step gives {value}. Try two errors in your head: with error 1 only the safety factor "
        "is left of the rule; with error 4 and p = 1 a step of half the size would do, before that factor.",
        "tries accepted, rejected, u from 1 to 0.01": "next_step is right. How many tries does your solver "
        "accept and reject? A step is measured, then accepted or not, then the next size is set: check each "
        "of the three.",
        "calls of the slope a try, u from 1 to 0.01": "The tries are right, and dearer than they should be, "
        "{value} calls each: Euler and Heun share a slope.",
        "tries accepted, rejected, u from 0.1 to 0.5": "All is right on the way down, u from 1 to 0.01. On a "
        "way up, with h > 0, it is not: which comparison of yours takes the direction for granted?",
    },
    mistakes=(
        Mistake(
            changed(solution.next_step, ("1 / (order + 1)", "1 / order")),
            "Your exponent is 1/p. The *local* error of a method of order p shrinks with which power of h?",
        ),
        Mistake(
            changed(solution.next_step, ("order + 1", "order + 2")),
            "Your exponent is 1/(p + 2). With which power of h does the error shrink that was measured, that "
            "of the *lower* method in one step?",
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
            changed(
                solution.next_step,
                ("safety / error ** (1 / (order + 1))", "(safety / error) ** (1 / (order + 1))"),
            ),
            "The safety factor stands under the root, where 0.9 becomes 0.95. It multiplies the step, not "
            "the error.",
        ),
        Mistake(
            changed(solution.next_step, ("min(most, max(least, wish))", "max(most, min(least, wish))")),
            "Your factor is `most` always: the two limits are exchanged. Which of min and max keeps a number "
            "below a limit?",
        ),
        Mistake(
            changed(solution.next_step, ("min(most, max(least, wish))", "min(least, max(most, wish))")),
            "Your factor is `least` always: the two limits are exchanged. Which of min and max keeps a "
            "number above a limit?",
        ),
        Mistake(
            changed(
                solution.next_step,
                ("h * min(most, max(least, wish))", "max(h * most, min(h * least, h * wish))"),
            ),
            "Your limits are for the factor, and a limit of h itself must know its sign: for h > 0 yours are "
            "exchanged.",
        ),
        Mistake(
            changed(
                solution.next_step, ("h * min(most, max(least, wish))", "min(most, max(least, h * wish))")
            ),
            "You cut h itself to the limits, and so lose its sign and size. What are `least` and `most` "
            "limits of?",
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
            changed(
                solution.adaptive,
                ("h = left if abs(h) >= abs(left) else h", "h = left if u + h >= end else h"),
            ),
            "Your first try is the whole way, and so is every other: u + h >= end is true from the start "
            "when h < 0. Which comparison knows no direction?",
        ),
        Mistake(
            changed(solution.adaptive, ("u != end", "u > end")),
            "Right on the way down, and on a way up your loop never begins: which condition knows no "
            "direction?",
        ),
        Mistake(
            changed(solution.adaptive, ("u != end", "u < end")),
            "Your solver never begins: here end < start, and your loop runs while u < end. Which condition "
            "knows no direction?",
        ),
        Mistake(
            changed(
                solution.adaptive,
                (
                    "heun_point = y + h / 2 * (here + slope(euler_point, u + h))",
                    "heun_point = y + h / 2 * (slope(y, u) + slope(euler_point, u + h))",
                ),
            ),
            "Right, and dearer than it should be: you ask for the slope at (y, u) twice a try. Euler and "
            "Heun share it.",
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


def _longest(std, kappa):
    """The largest stable step of Euler in lambda."""
    return 2 * (1 + (std / kappa) ** 2)


def _probe_implicit(answer, seed):
    y, std = normal(seed, 3, 1), 0.02

    def thin(y, lam):
        return _thin_rate(lam, std) * y

    def thin_rate(y, lam):
        return _thin_rate(lam, std) * torch.ones_like(y)

    bent = _Counted(lambda y, u: -3 * torch.tanh(2 * y) + u)
    bent_rate = _Counted(lambda y, u: -6 / torch.cosh(2 * y) ** 2)

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
    return values | {"calls of slope and of derivative a round": [bent.calls / 7, bent_rate.calls / 7]}


def _limit_facts(answer, seed):
    return right_numbers(answer, 1e-3, **_LIMITS)


def _limit_mistakes(largest):
    return (
        Mistake(
            {"largest": 2.0},
            "That is the limit for a single point. With std = 0.05 and kappa = 0.1 the rate is smaller than "
            "1 in size: how large is it?",
        ),
        Mistake(
            {"largest": largest / 2},
            "With this step y lands exactly on 0. It may overshoot: how far, before it is further away than "
            "it was?",
        ),
        Mistake(
            {"largest": largest / 2, "fewest": 10},
            "Both numbers ask that y should not change its sign: a factor of 0 taken for the limit. Stable "
            "means at most 1 in *size*: which is the factor furthest to the other side?",
        ),
        Mistake(
            {"largest": -largest},
            "The size is right. Which way does lambda go while we sample, and what sign has h then?",
        ),
        Mistake(
            {"largest": 1 / largest},
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
    )

def _other_limits(task, std, kappa):
    limits = {"largest": _longest(std, kappa), "fewest": _LIMITS["fewest"]}
    of_step = [one for one in task.mistakes if callable(one.answer) or "implicit_step" in one.answer]
    return {
        "reference": {**task.reference, **limits},
        "facts": lambda answer, seed: right_numbers(answer, 1e-3, **limits),
        "mistakes": (*of_step, *_limit_mistakes(limits["largest"])),
    }


def _limit_words(std, kappa):
    return {
        "std = 0.05": f"std = {std:g}",
        r"\kappa = 0.1$": rf"\kappa = {kappa:g}$",
        "kappa = 0.1": f"kappa = {kappa:g}",
    }


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
    varies=Variation(
        choices={"std": (0.03, 0.04, 0.06, 0.07), "kappa": (0.09, 0.11, 0.15)},
        words=_limit_words,
        fields=_other_limits,
    ),
    reference={"implicit_step": solution.implicit_step, **_LIMITS},
    tolerance=1e-3,
    decimals=4,
    asks={
        "calls of slope and of derivative a round": "The points are right. Each round asks for the slope "
        "once and for the derivative once, 7 in all here; yours makes another number of calls ({value} a "
        "round).",
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
        *_limit_mistakes(solution.largest),
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
    errors, calls = [], 0

    def drift(x, t):
        nonlocal calls
        calls += 1
        return _reverse_drift(x, t)

    for steps in (50, 100):
        times = _even(steps, 1.0, 1e-3)

        def walk(x, noises, times=times):
            return answer(drift, _g, x, times, noises)

        errors.append(float(_exact_variance(walk, steps, _width(1.0)) - _width(1e-3)))
    order = math.log2(abs(errors[0] / errors[1])) if all(errors) else math.nan
    x, noises = normal(seed, 2, 1), normal(seed, 80, 2, 1, stream=1)
    return {
        "weak order from 50 to 100 steps, rounded": float(round(order)) if math.isfinite(order) else order,
        _HEUN_ERROR: 1e4 * errors[1],
        "calls of the drift a step": calls / 150,
        _HEUN_MODES: answer(_modes_drift, _g, x, _even(80, 1.0, 1e-3), noises),
    }


_HEUN_ERROR, _HEUN_MODES = "10⁴ × error of the variance, 100 steps", "x of two modes, 80 steps"
_HEUN_FORM = (
    "Weak order 2 with two calls a step: right, and not the statement's scheme to the letter. That is an "
    "ordinary Euler–Maruyama step as a predictor and the mean of g at both ends in the corrector; the root "
    "of the mean of g², or g in the middle, does as well."
)
_MEAN = "(g(t) + g(s)) / 2"
_LEFT = (_MEAN, "g(t)")  # g at the start of the step only
_BLIND = ("here + g(t) * root * noises[i]", "here")  # a predictor without noise
_AVERAGE = ("x + h / 2 * (here + there)", "(x + ahead + h * there) / 2")  # of points


def _noise_ahead(drift, g, x, times, noises):
    """The noise of a step, then Heun's step for the drift."""
    for i, (t, s) in enumerate(zip(times, times[1:])):
        x = x + (g(t) + g(s)) / 2 * math.sqrt(t - s) * noises[i]
        here = drift(x, t)
        x = x + (s - t) / 2 * (here + drift(x + (s - t) * here, s))
    return x


def _plain(drift, g, x, times, noises):
    """Euler–Maruyama."""
    for i, (t, s) in enumerate(zip(times, times[1:])):
        x = x + (s - t) * drift(x, t) + g(t) * math.sqrt(t - s) * noises[i]
    return x


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
    loose={_HEUN_ERROR: (3.0, _HEUN_FORM), _HEUN_MODES: (0.02, _HEUN_FORM)},
    asks={
        "weak order from 50 to 100 steps, rounded": "The weak order is 1, not 2. Two things make an order "
        "here: where the second drift is taken, and at which times g is. Try each alone.",
        _HEUN_ERROR: "The order is 2, and the error with 100 steps is {value} · 10⁻⁴, more than plain "
        "Euler–Maruyama's or near it: is the variance right when the steps are small?",
        "calls of the drift a step": "The order is 2, with {value} calls of the drift a step. Heun's method "
        "makes two: which slope do you ask for twice?",
        _HEUN_MODES: "Right for one Gaussian centred at 0, and for two modes x comes out elsewhere. What in "
        "your step holds only for a drift that is a multiple of x?",
    },
    mistakes=(
        Mistake(
            changed(solution.heun_sde, _BLIND, _LEFT),
            "It does what the listing as given does: weak order 1, and seven times Euler–Maruyama's error. "
            "At which x does it take its second drift, and has x been there?",
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
            _noise_ahead,
            "All of the noise comes first, and Heun's step after it: the drift of the start is then that of "
            "an x that is not there yet. Which x does the first drift belong to?",
        ),
        Mistake(
            changed(solution.heun_sde, ("there = drift(ahead, s)", "there = drift(ahead, t)")),
            "The second drift gets the state of the end and the time of the start. What is s for?",
        ),
        Mistake(
            _plain,
            "That is Euler–Maruyama: order 1, one call a step. The listing's idea is good; what spoils it?",
        ),
        Mistake(
            changed(
                solution.heun_sde, ("here = drift(x, t)", "here = drift(x, t)\n        here = drift(x, t)")
            ),
            "Order 2, and three calls of the drift a step: one is asked for twice. In a diffusion model each "
            "is a call of the network.",
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
    score_2 = _Counted(_two_modes(2).score)
    values = {"snr_step of three samples": answer.snr_step(score, z, 0.2)}
    if tuple(np.shape(values["snr_step of three samples"])) != (3, 1):
        raise Remark(
            "snr_step should have the shape (B, 1), one step a sample; yours is "
            f"{tuple(np.shape(values['snr_step of three samples']))}."
        )
    for steps, times in ((1, [0.6, 0.4]), (8, _even(8))):
        label = "x after one step, from t = 0.6 to 0.4" if steps == 1 else "x_0 after 8 steps, down to t = 0"
        values[label] = answer.predictor_corrector(score_2, VP1.f, VP1.g2, x, times, noises[:steps], 0.2)
    return values | {"calls of the score, 1 and 8 steps together": float(score_2.calls)}


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
    asks={
        "calls of the score, 1 and 8 steps together": "All is right, and dearer or cheaper than it should "
        "be: {value} calls of the score. A step makes two, one that ends at t = 0 makes one.",
    },
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

# --- 3.11: a claim, noise and the network's errors ----------------------------------------------------------

_RATIOS = {"early": 0.3251, "late": 1.8090, "everywhere": 1.0}
_TURNING = 0.1445


def _probe_noise(answer, seed):
    known = {
        "end_variance, nothing wrong, level 1": (1.0, 0.36, 2.0, 3.0),
        "end_variance at level 0, 0.36 for all t": (0.0, 0.36, 0.0, 1.0),
        "end_variance at level 0, 0.36 for t above 0.2": (0.0, 0.36, 0.2, 1.0),
        "end_variance at level 1, 0.36 for t above 0.2": (1.0, 0.36, 0.2, 1.0),
        "end_variance at level 1, 0.36 for t below 0.1": (1.0, 0.36, 0.0, 0.1),
    }
    level, believed = round(uniform(seed, 0.3, 1.5), 2), round(uniform(seed, 0.1, 0.6, stream=1), 2)
    low = round(uniform(seed, 0.02, 0.4, stream=2), 2)
    known[f"end_variance at level {level:g}, {believed:g} for t from {low:g} to {low + 0.1:g}"] = (
        level,
        believed,
        low,
        low + 0.1,
    )
    return {label: float(answer.end_variance(*given)) for label, given in known.items()}


def _noise_facts(answer, seed):
    values = right_numbers(answer, 0.007, **_RATIOS) | right_numbers(answer, 0.003, turning=_TURNING)
    return values | right_words(answer, ("holds", "fails"), repairs=solution.repairs)


_PIECE = "believed if low < (a + b) / 2 < high else 0.25"
_GAIN = "2 * f(t) + (1 + level**2) * g2(t) / believes"

NOISE = Task(
    id="3.11",
    title="Test a claim: noise repairs what the network gets wrong",
    kind="claim",
    difficulty=3,
    minutes=35,
    points=5,
    ids=("BS15", "BT17", "P17"),
    names=("end_variance", "early", "late", "everywhere", "turning", "repairs"),
    probe=_probe_noise,
    facts=_noise_facts,
    reference={
        "end_variance": solution.end_variance,
        **_RATIOS,
        "turning": _TURNING,
        "repairs": solution.repairs,
    },
    tolerance=3e-4,
    decimals=4,
    asks={
        "end_variance, nothing wrong, level 1": "With a model that is wrong nowhere (0.36 for t between 2 "
        "and 3) the variance must come out as 0.25; yours is {value}. What multiplies a variance when x is "
        "multiplied by a number, and what does the noise add?",
        "end_variance at level 0, 0.36 for all t": "With nothing wrong you get 0.25. A flow that believes "
        "0.36 for all t is that of data of variance 0.36, and must end there; yours ends at {value}.",
        "end_variance at level 0, 0.36 for t above 0.2": "Right when the belief is wrong everywhere or "
        "nowhere, and {value} where it is wrong above 0.2 only: at which t is which variance believed?",
        "end_variance at level 1, 0.36 for t above 0.2": "Right without noise, and {value} at level 1: the "
        "drift's share of g² and the noise both depend on the level. What are they in the family, (3.10)?",
        "early": "`early` is not right yet. It is a quotient of two *errors*, distances from 0.25: the one "
        "at level 1 over the one at level 0.",
        "late": "`late` is not right yet. It is a quotient of two *errors*, distances from 0.25: the one at "
        "level 1 over the one at level 0.",
        "everywhere": "`everywhere` is not right yet. Where do the flow and the reversal end that believe "
        "0.49 all the way?",
        "turning": "`turning` is not right yet. Look for the a at which the two errors are equal, for a "
        "model that is wrong between a and a + 0.001 only.",
    },
    mistakes=(
        Mistake(
            changed(solution.end_variance, ("- level**2 * g2(t)", "+ level**2 * g2(t)")),
            "Your noise takes variance away. Time runs down, so that h is negative: which sign of the rate "
            "makes the variance grow on the way?",
        ),
        Mistake(
            changed(solution.end_variance, (" - level**2 * g2(t)", "")),
            "The noise itself is missing: your drift pays for something that is never added.",
        ),
        Mistake(
            changed(solution.end_variance, ("- level**2 * g2(t)", "- level * g2(t)")),
            "Right at levels 0 and 1, and nowhere else. How does the level enter what the noise adds to a "
            "variance?",
        ),
        Mistake(
            changed(solution.end_variance, ("(1 + level**2)", "(1 + level)")),
            "Right at levels 0 and 1, and nowhere else. How does the level enter the drift?",
        ),
        Mistake(
            changed(solution.end_variance, (_GAIN, "f(t) + (1 + level**2) / 2 * g2(t) / believes")),
            "That is the rate at which x grows or shrinks, and you use it for the variance: how fast does a "
            "square change?",
        ),
        Mistake(
            changed(solution.end_variance, ("(1 + level**2)", "1")),
            "Right at level 0. The drift has to grow with the noise, which it pays for: what is its share of "
            "g² at level 1?",
        ),
        Mistake(
            changed(solution.end_variance, ("(1 + level**2)", "2")),
            "That is the drift of Anderson's reversal at every level: right at level 1. How much of g² has "
            "the score in the ODE?",
        ),
        Mistake(
            changed(solution.end_variance, (_PIECE, "0.25")),
            "Your model is right everywhere. Between low and high it believes that the data have another "
            "variance: where does `believed` enter the score?",
        ),
        Mistake(
            changed(solution.end_variance, (_PIECE, "believed")),
            "Your model is wrong at all times. Outside of low < t < high it has the right variance, 0.25.",
        ),
        Mistake(
            changed(solution.end_variance, (_PIECE, "0.25 if low < (a + b) / 2 < high else believed")),
            "Your model is wrong where it should be right, and right between low and high.",
        ),
        Mistake(
            changed(solution.end_variance, ("alpha(t) ** 2 * data", "alpha(t) ** 2 * data**2")),
            "You squared what is a variance already: `believed` is 0.36, the deviation that it believes is "
            "0.6.",
        ),
        Mistake(
            changed(
                solution.end_variance, ("schedule.alpha(t) ** 2 * data + schedule.sigma(t) ** 2", "data")
            ),
            "The score at t belongs to noisy data. What is the variance of x_t, if that of the data is 0.25?",
        ),
        Mistake(
            {name: 1 / ratio for name, ratio in _RATIOS.items()},
            "Your quotients stand on their heads: the error at level 1 goes above the line.",
        ),
        Mistake(
            {"early": 0.8395, "late": 1.1254},
            "Those are quotients of variances. Both hold the 0.25 that is right: of what is the quotient "
            "asked?",
        ),
        Mistake(
            {"early": _RATIOS["late"], "late": _RATIOS["early"]},
            "The two are exchanged. Sampling begins at t = 1: which is the early part of the way?",
        ),
        Mistake(
            {"everywhere": 0.0},
            "0 would mean that noise repairs everything. What is the variance at t = 0 at both levels, when "
            "0.49 is believed all the way?",
        ),
        Mistake(
            {"turning": 0.2},
            "At 0.2 the noise still makes the error smaller, to two thirds. Where do the two errors meet?",
        ),
        Mistake(
            {"turning": 0.1},
            "At 0.1 the noise has made the error larger already, by a third. Where do the two errors meet?",
        ),
        Mistake(
            {"repairs": "holds"},
            "Look at your three quotients: is each of them below 1?",
        ),
    ),
    hints=(
        "Everything is linear in x and centred, so the variance says it all. By what does a short step of "
        "the family of 3.1 multiply x, and what does it add?",
        "With the score −x/w the drift is a number times x. The variance then changes at twice that number "
        "times itself, and by the square of the noise's size, whose sign is that of a clock that runs down. "
        "Solve this with any solver of yours; the belief jumps at low and at high.",
        "w is alpha² times the variance that is believed, plus sigma². The rate by t is twice f plus one "
        "plus the level's square times g² over w, all times v, less the level's square times g². Start from "
        "`width(1.0)`. For `turning` try windows from 0.1 to 0.2, and halve the interval.",
    ),
)

# --- 3.12: find the bug, a noise that is drawn twice --------------------------------------------------------


_STEPS = 20.0


def _probe_draws(answer, seed):
    draws, kinds = normal(seed, 24, 4000, 1), 0
    asked = []

    def draw():
        nonlocal kinds
        kinds += 1
        return draws[kinds - 1].clone()

    def score(x, t):
        asked.append(float(t))
        return _two_modes().score(x, t)

    start = torch.full((4000, 1), 0.7, dtype=torch.float64)
    x = answer.simulate(score, VP1.f, VP1.g2, start, 0.9, 1, draw)
    drawn, slopes = float(kinds), float(len(asked))
    if not hasattr(x, "shape") or tuple(x.shape) != (4000, 1):
        raise Remark("simulate returns x at `end`, shaped as it came.")
    moments = [float(((x - x.mean()) ** k).mean()) for k in (2, 4)]
    values = {
        "calls of the score in one step of 0.1": slopes,
        "draws in that step": drawn,
        "variance of that step, over g² h": moments[0] / (VP1.g2(1.0) * 0.1),
        "fourth moment of it, over variance²": moments[1] / moments[0] ** 2,
    }
    kinds = 0
    asked.clear()
    x = answer.simulate(score, VP1.f, VP1.g2, normal(seed, 4000, 1, stream=1), 0.2, 8, draw)
    values["draws in 8 steps"], values["times of the score, 8 steps to 0.2"] = float(kinds), list(asked)
    values["x of two modes, 8 steps to 0.2"] = x[:3]
    formula = named_expressions(answer, seed, 1, kurtosis=dict(n=(1.0, 1.0)))  # n counts steps
    return values | formula | named_expressions(answer, seed, 1, kurtosis=dict(n=(_STEPS, _STEPS)))


_STEP = "math.sqrt(g2(t) * (t - s)) * draw()"

DRAWS = Task(
    id="3.12",
    title="Find the bug: what the variance does not see",
    kind="find-the-bug",
    difficulty=2,
    minutes=20,
    points=3,
    ids=("BS26", "BP10", "BS27"),
    names=("simulate", "kurtosis"),
    probe=_probe_draws,
    reference={"simulate": solution.simulate, "kurtosis": solution.kurtosis},
    decimals=4,
    loose={"variance of that step, over g² h": (0.1, "The noise of a step has the right moments.")},
    asks={
        "calls of the score in one step of 0.1": "One step calls the score {value} times. That is another "
        "scheme: Euler–Maruyama's step knows the drift of its start only.",
        "variance of that step, over g² h": "One step adds noise of the variance {value} · g² h, and 1 "
        "is right: how long is the step, and by what is a standard normal multiplied?",
        "fourth moment of it, over variance²": "One step's noise has the right variance and the fourth "
        "moment {value}, and a normal's is 3. What have you multiplied or added up to make it?",
        "draws in that step": "One step calls draw() {value} times. How many independent normals does a step "
        "need? With recorded noises every further one would use up what is there.",
        "times of the score, 8 steps to 0.2": "The noise is right. At which times is the score asked, and "
        "where do eight equal steps from 1 to 0.2 begin?",
    },
    mistakes=(
        Mistake(
            changed(solution.simulate, (_STEP, "draw() * " + _STEP)),
            "It does what the listing as given does: the variance is right, and one step's fourth moment is "
            "near 9 times the variance squared. Print the noise of a single step: which numbers are "
            "multiplied in it?",
            as_given=True,
        ),
        Mistake(
            changed(solution.simulate, (_STEP, "math.sqrt(t - s) * draw()")),
            "One draw a step now. But the noise has lost its size: what does the diffusion multiply it by?",
        ),
        Mistake(
            changed(
                solution.simulate, (_STEP, "(draw() + draw()) / math.sqrt(2) * math.sqrt(g2(t) * (t - s))")
            ),
            "Two normals added and scaled are a normal, so that the moments are right. Two draws a step all "
            "the same, where one is enough: with recorded noises you would use up twice what is there.",
        ),
        Mistake(
            changed(
                solution.simulate,
                ("    times =", "    z = draw()\n    times ="),
                (_STEP, "math.sqrt(g2(t) * (t - s)) * z"),
            ),
            "One draw for the whole way, so that all steps have the same noise. Which must be independent?",
        ),
        Mistake(
            changed(solution.simulate, (_STEP, "math.sqrt(g2(t)) * (t - s) * draw()")),
            "A step's noise is far too small: Brownian motion moves by the root of the time that passes.",
        ),
        Mistake(
            changed(solution.simulate, (_STEP, "draw().abs() * " + _STEP)),
            "Still two draws, and a product of them. Of which quantity is a normal's fourth moment three "
            "times the square?",
        ),
        Mistake(
            changed(solution.simulate, (f" + {_STEP}", "")),
            "No noise is left. The equation has one dw: draw it once, not twice and not never.",
        ),
        Mistake(
            {"kurtosis": "9/n"},
            "At n = 1 it is 9, and right. As n grows the sum of many steps becomes a normal: where should it "
            "end?",
        ),
        Mistake(
            {"kurtosis": "9"},
            "9 is one step's. A sum of n independent ones has n times the variance and, beyond what a normal "
            "has, n times the fourth moment's excess.",
        ),
        Mistake(
            {"kurtosis": "3 + 6/n**2"},
            "The fourth moment's excess grows like n, and the squared variance like n². What is left of it?",
        ),
        Mistake(
            {"kurtosis": "6/n"},
            "That is the excess over a normal. Asked is the fourth moment over the variance squared itself.",
        ),
        Mistake(
            {"kurtosis": "3 + 9/n"},
            "Put n = 1: your formula gives 12. By how much does the fourth moment of one step exceed a "
            "normal's?",
        ),
        Mistake(
            {"kurtosis": "3 + 8/n"},
            "Put n = 1: your formula gives 11. What is E (z w)⁴, and how far is it from 3?",
        ),
        Mistake(
            {"kurtosis": "3"},
            "That is a normal's, which the sum only tends to. What is E (z w)⁴ for two independent normals?",
        ),
    ),
    hints=(
        "The cell measures three moments. Two of them are as they should be: what does the third see that "
        "the variance does not?",
        "Run one step, from one x, with many samples, and draw a histogram of what was added: is it a "
        "normal's? Then follow the noise through both lines that mention it.",
        "Both `spread` and the loop draw, and their product has the variance 1 and the fourth moment 3 · 3. "
        "Let one of them be a plain number. For a sum of n independent equal steps the fourth moment is 3 n "
        "(n − 1) pairs of variances plus n times one step's.",
    ),
)

TASKS = (DRIFT, FAMILY, VE_BUG, SOLVERS, ORDERS, BUDGET, ADAPTIVE, STIFF, HEUN_SDE, CORRECTOR, NOISE, DRAWS)
