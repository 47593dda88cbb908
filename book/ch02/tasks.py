"""The tasks of lesson 02, denoising diffusion implicit models.

Levels are this book's: alpha is DDPM's sqrt(alpha-bar), sigma = sqrt(1 - alpha^2); an array `alpha_bar` is
DDPM's own, with alpha_bar[0] = 1.  The test problem is mostly data N(2, 1/4), where every sampler is affine
and nothing is left to chance: a mean of 0 would hide what clips the prediction, and make every wrong step one
and the same factor.  Beside it stand data that are one point, which every right sampler returns.
"""

import math
from functools import cache

import numpy as np
import torch

from book.ch02 import solution
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
    right_or_number,
    uniform,
)
from toolkit import Discrete, Network
from toolkit.networks import pretrained


def _table(T):
    """alpha_bar of the linear table with T steps, (T + 1,) float64."""
    return torch.from_numpy(Discrete.linear(T).alpha_bar)


def _gaussian_eps(alpha_bar, asked=None, mean=2.0, variance=0.25):
    """predict(x, n): the exact noise for data N(mean, variance); the n asked for are noted in the list
    `asked`.
    """

    def predict(x, n):
        if asked is not None:
            asked.append(int(n))
        bar = alpha_bar[n]
        return (1 - bar) ** 0.5 * (x - mean * bar**0.5) / (1 - (1 - variance) * bar)

    return predict


def _point_eps(alpha_bar):
    """predict(x, n) for data that are the one point 12."""
    return _gaussian_eps(alpha_bar, mean=12.0, variance=0.0)


_POINT = "where data that are the one point 12 end"
_POINT_ASK = (
    "For data that are the one point 12 the noise is known exactly, and any number of right steps returns "
    "the point; yours returns {value}. Does the x0 that you predict equal 12, with nothing cut off, and "
    "which factors have it and the noise in the last step, where x_s is x_0?"
)


def _listed(numbers):
    """'100, 75, 50': how a list of steps is printed by a check."""
    return ", ".join(f"{float(n):g}" for n in numbers)


# --- 2.1: the size of the noise -----------------------------------------------------------------------------


def _probe_noise_size(answer, seed):
    alpha_t, alpha_s = uniform(seed, 0.1, 0.5), uniform(seed, 0.6, 0.95, stream=1)
    return {
        "noise at eta = 1, from pure noise, over sigma_s": answer(1e-7, alpha_s, 1.0)
        / (1 - alpha_s**2) ** 0.5,
        "noise at eta = 1": answer(alpha_t, alpha_s, 1.0),
        "noise at eta = 0.5": answer(alpha_t, alpha_s, 0.5),
        "noise at eta = 0": answer(alpha_t, alpha_s, 0.0),
        "noise of a step to clean data": answer(alpha_t, 1.0, 1.0),
    }


_RATIO = "(1 - bar_s) / (1 - bar_t)"

NOISE_SIZE = Task(
    id="2.1",
    title="How much noise does η stand for?",
    kind="implement-equation",
    difficulty=1,
    minutes=8,
    points=2,
    ids=("T03", "P01", "BT2", "BP1"),
    probe=_probe_noise_size,
    reference=solution.noise_size,
    mistakes=(
        Mistake(
            changed(solution.noise_size, ("alpha_t**2, alpha_s**2", "alpha_t, alpha_s")),
            "You put alpha where the equation has DDPM's alpha-bar. The function is given alpha, the signal "
            "level: how is alpha-bar made from it?",
        ),
        Mistake(
            changed(solution.noise_size, (_RATIO, "(1 - alpha_s) / (1 - alpha_t)")),
            "In the first factor you put alpha where alpha-bar is meant; in the second it is squared. Are "
            "both factors made of the same thing?",
        ),
        Mistake(
            changed(solution.noise_size, ("1 - bar_t / bar_s", "1 - alpha_t / alpha_s")),
            "In the second factor you put alpha where alpha-bar is meant; in the first it is squared. Are "
            "both factors made of the same thing?",
        ),
        Mistake(
            changed(solution.noise_size, ("math.sqrt((", "(("), ("math.sqrt(1", "(1")),
            "At eta = 1 this is the posterior's variance. A step multiplies z by its standard deviation: "
            "what is missing?",
        ),
        Mistake(
            changed(solution.noise_size, ("return eta", "return math.sqrt(eta)")),
            "Both ends, eta = 0 and eta = 1, are right, and the middle is not. Does eta scale the standard "
            "deviation, or the variance under the root?",
        ),
        Mistake(
            changed(solution.noise_size, ("math.sqrt((1 - bar_s) / (1 - bar_t)) * ", "")),
            "At eta = 1 this is the deviation of the forward step from s to t, Ho's larger choice. The "
            "posterior knows x_0 as well, so it is narrower: which factor says so?",
        ),
        Mistake(
            changed(solution.noise_size, (_RATIO, "(1 - bar_t) / (1 - bar_s)")),
            "The noise grows without bound as the step ends closer to clean data. Of the two levels t and "
            "s, which one stands above the line in the first fraction?",
        ),
        Mistake(
            changed(solution.noise_size, (_RATIO, "1 - bar_s"), (" * math.sqrt(1 - bar_t / bar_s)", "")),
            "At eta = 1 this spends all of sigma_s on fresh noise, so that nothing is left for the "
            "direction term. That is more random than DDPM: what does DDPM keep of x_t?",
        ),
    ),
    hints=(
        "Two notations meet here. Write down what alpha-bar is in terms of the arguments, before anything "
        "else.",
        "Check your formula at a step that ends on clean data, alpha_s = 1: how much noise may a last step "
        "add?",
        "The radicand is a product of two factors: the ratio of the noise variances, the later one above "
        "the line, and one minus the ratio of the squared signal levels, the noisier one above. eta stands "
        "outside the root.",
    ),
    asks={
        "noise at eta = 1, from pure noise, over sigma_s": "A step at eta = 1 that starts from pure noise "
        "(alpha_t = 0) learns nothing from it, so all of sigma_s is fresh noise; yours is {value} times "
        "sigma_s. Which factor should be 1 there, and which one sigma_s?",
        "noise at eta = 1": "At eta = 1 the noise is the posterior's deviation, so its square is the "
        "variance of task 1.2; yours is {value}. Put your two levels into that formula: which factor "
        "differs?",
        "noise at eta = 0.5": "At eta = 1 you are right, and half of eta gives {value}: how does the "
        "deviation depend on eta?",
        "noise of a step to clean data": "A step that ends on clean data may add nothing; yours adds "
        "{value}.",
    },
)

# --- 2.2: one step, three terms -----------------------------------------------------------------------------


def _probe_terms(answer, seed):
    x, eps, z = normal(seed, 1, 3), normal(seed, 1, 3, stream=1), normal(seed, 1, 3, stream=2)
    t, s = uniform(seed, 0.8, 1.2, stream=1), uniform(seed, 0.3, 0.6, stream=2)
    levels = math.cos(t), math.sin(t), math.cos(s), math.sin(s)
    c = levels[3] * uniform(seed, 0.3, 0.7)
    one = torch.ones(1, 1, dtype=torch.float64)
    terms = _three(answer(x, eps, *levels, c, z))
    clean = _three(answer(12 * levels[0] * one + levels[1] * one, one, *levels, c, one))
    still = _three(answer(x, eps, *levels, 0.0, z))
    return {
        "data term for x_0 = 12, over alpha_s": (clean[0] / levels[2]).sum(),
        "variance of the noise in x_s, over sigma_s²": (clean[1] ** 2 + clean[2] ** 2).sum() / levels[3] ** 2,
        "data term": terms[0],
        "direction term": terms[1],
        "noise term": terms[2],
        "the sum of the three, c = 0": sum(still),
    }


def _three(terms):
    """The three terms as tensors."""
    if not isinstance(terms, torch.Tensor) and (not hasattr(terms, "__len__") or len(terms) != 3):
        raise Remark("Three tensors are wanted, the three terms one by one: return data, direction, noise.")
    if len(terms) != 3:
        raise Remark("One tensor came back: return the three terms one by one, data, direction, noise.")
    return [torch.as_tensor(term) for term in terms]


_DATA = "alpha_s * x0"
_ROOM = "math.sqrt(sigma_s**2 - c**2)"

STEP = Task(
    id="2.2",
    title="One step, three terms",
    kind="implement-equation",
    difficulty=1,
    minutes=10,
    points=2,
    ids=("T03", "I04", "S16", "BI3", "BI9", "BS16"),
    probe=_probe_terms,
    reference=solution.ddim_terms,
    mistakes=(
        Mistake(
            changed(solution.ddim_terms, (_DATA, "x0 / alpha_s")),
            "You divide the predicted data by alpha_s. As s goes to pure noise that grows without bound: "
            "how strongly should clean data be present in x_s?",
        ),
        Mistake(
            changed(solution.ddim_terms, (_DATA, "alpha_s / alpha_t * x0")),
            "The ratio alpha_s / alpha_t carries x_t to level s. But your x0 has been divided by alpha_t "
            "already: on which level does it live?",
        ),
        Mistake(
            changed(solution.ddim_terms, (" / alpha_t", "")),
            "x − sigma_t eps removes the noise and leaves alpha_t x_0. What is still to be done before it "
            "is x_0?",
        ),
        Mistake(
            changed(solution.ddim_terms, (_DATA, "alpha_s * eps")),
            "Your data term uses the network's output as if it were x_0. A network of DDPM's kind predicts "
            "the noise: how do x_t and eps together give x_0?",
        ),
        Mistake(
            changed(solution.ddim_terms, ("c**2) * eps", "c**2) * eps / eps.norm()")),
            "You made eps a unit vector. In d dimensions the norm of eps is about √d: what happens to the "
            "variance of each coordinate of x_s when you divide by it, say at d = 3072?",
        ),
        Mistake(
            changed(solution.ddim_terms, (_ROOM, "sigma_s")),
            "At c = 0 you are right. With fresh noise, the old one and the new one together have variance "
            "sigma_s² + c². What must it be, if x_s is to have the right marginal?",
        ),
        Mistake(
            changed(solution.ddim_terms, (_ROOM, "(sigma_s - c)")),
            "You subtract standard deviations. Which quantity adds up when independent noises are added?",
        ),
        Mistake(
            changed(solution.ddim_terms, ("c**2) * eps", "c**2) * z")),
            "Your direction term is made of fresh noise z. Then nothing of x_t's own noise survives the "
            "step, even at c = 0: which noise points back towards x_t?",
        ),
        Mistake(
            changed(solution.ddim_terms, ("c * z", "c**2 * z")),
            "c is a standard deviation already. What is the variance of c² · z?",
        ),
        Mistake(
            changed(solution.ddim_terms, (_ROOM, "math.sqrt(sigma_s - c)")),
            "Under your root stand standard deviations. A root turns a variance into a deviation: which two "
            "variances belong under it?",
        ),
        Mistake(
            changed(solution.ddim_terms, (_ROOM, "math.sqrt(sigma_t**2 - c**2)")),
            "Your direction term shares out sigma_t², the variance of the noise before the step. How much "
            "noise does x_s hold, at the level where the step ends?",
        ),
        Mistake(
            changed(solution.ddim_terms, ("c**2) * eps", "c**2) * z"), ("c * z", "c * eps")),
            "z and eps have changed places: your fresh noise is the network's, and your direction a new "
            "draw. Which of the two points back towards x_t?",
        ),
        Mistake(
            changed(solution.ddim_terms, (_DATA, "alpha_s * x0.clamp(-1, 1)")),
            "You clip the predicted x_0 to [-1, 1], as code for images does, whose pixels live there. What "
            "becomes of data around 2?",
        ),
        Mistake(
            changed(solution.ddim_terms, (_DATA, "x0")),
            "Your data term is the predicted x_0 itself, at full strength. How much signal does a state at "
            "level s hold?",
        ),
    ),
    hints=(
        "Imagine that eps is exactly the noise in x_t. Which x_0 is then in it?",
        "The three terms answer three questions: where is the data, how much of the old noise is kept, how "
        "much is new?",
        "Clean data enter level s with its signal level. Old and new noise are independent, so their "
        "variances share sigma_s² between them; what the new one takes, the old one lacks.",
    ),
    asks={
        "data term for x_0 = 12, over alpha_s": "x_t was made of x_0 = 12 and a noise that is eps itself. "
        "Then your data term is {value} times alpha_s, and it should be 12 times alpha_s: which x_0 do you "
        "find?",
        "variance of the noise in x_s, over sigma_s²": "The old noise and the fresh one are independent. "
        "Together they have {value} times the variance sigma_s² in your x_s, and should have all of it, no "
        "more and no less.",
        "direction term": "The data term is right, and old and new noise have the right variance together. "
        "How is sigma_s² shared out between the two?",
    },
)

# --- 2.3: a sub-sequence ------------------------------------------------------------------------------------


def _probe_subsequence(answer, seed):
    even = _listed(answer.subsequence(100, 4))
    uneven = np.array([float(n) for n in answer.subsequence(1000, 30)])
    if len(uneven) < 2:
        raise Remark(
            "subsequence(1000, 30) has fewer than two entries: 30 steps have a start, an end and 29 between."
        )
    gaps = uneven[:-1] - uneven[1:]
    T = 31 * (16 + seed // 30 % 16) + 1 + seed % 30  # no multiple of 31: no gap hangs on a rounding error
    other = np.array([float(n) for n in answer.subsequence(T, 31)])
    other_gaps = -np.diff(other)
    alpha_bar, asked = _table(100), []
    x, above = normal(seed, 3, 1), [100, 70, 40 + seed % 20, 10 + seed % 10]
    x_0 = answer.ddim_sample(_gaussian_eps(alpha_bar, asked), alpha_bar, x, [100, 75, 50, 25, 0])
    point = answer.ddim_sample(_point_eps(alpha_bar), alpha_bar, x[:1], [100, 75, 50, 25, 0])
    return {
        "subsequence(100, 4)": even,
        "subsequence(1000, 30): start, end": uneven[[0, -1]],
        "subsequence(1000, 30): narrowest, widest gap": [gaps.min(), gaps.max()],
        f"subsequence({T}, 31): start, end": other[[0, -1]],
        f"subsequence({T}, 31): narrowest, widest gap": [other_gaps.min(), other_gaps.max()],
        "steps n at which the network is asked": _listed(asked),
        _POINT: point,
        "x_0 after 4 steps": x_0,
        f"x at {above[-1]}, where another grid ends": answer.ddim_sample(
            _gaussian_eps(alpha_bar), alpha_bar, x, above
        ),
    }


_INDEX = "round(T - T * i / steps)"
_TO_NEXT = ("zip(grid, grid[1:])", "[(n, n - 1) for n in grid[:-1]]")  # each step to the table's neighbour


_CLIP = "/ alpha_bar[now].sqrt()\n        x0 = x0.clamp(-1, 1)"
_DIRECTION = " + (1 - alpha_bar[then]).sqrt() * eps"


def _entries(*edits):
    """Another sub-sequence, with the right sampler."""
    return {"subsequence": changed(solution.subsequence, *edits)}


def _loop(*edits):
    """Another sampler, with the right sub-sequence."""
    return {"ddim_sample": changed(solution.ddim_sample, *edits)}


SUBSEQUENCE = Task(
    id="2.3",
    title="Fifty steps out of a thousand",
    kind="implement-sampler",
    difficulty=2,
    minutes=20,
    points=4,
    gives_away=("toolkit.grids.strided",),
    ids=("T04", "S11", "BT3", "BI6", "BI8"),
    names=("subsequence", "ddim_sample"),
    probe=_probe_subsequence,
    reference={"subsequence": solution.subsequence, "ddim_sample": solution.ddim_sample},
    decimals=4,
    mistakes=(
        Mistake(
            _entries(("range(steps + 1)", "range(steps, -1, -1)")),
            "Your sub-sequence climbs from 0 to T: it would walk from clean data into noise. Where does "
            "sampling start?",
        ),
        Mistake(
            _entries((_INDEX, "steps - i")),
            "You took the first entries of the table, so the start is not T. How much noise does x have at "
            "n = steps, and how much have you put into it?",
        ),
        Mistake(
            _entries(("steps + 1", "steps")),
            "Your sub-sequence stops one stride above 0, where there is still noise in x. What is the last "
            "step's target?",
        ),
        Mistake(
            _entries(("range(steps + 1)", "range(1, steps + 1)")),
            "Your sub-sequence starts one stride below T. The sampler is fed pure noise: at which n is that "
            "what the network expects?",
        ),
        Mistake(
            _entries(("T - T *", "T - 1 - (T - 1) *")),
            "You start at T − 1, as with arrays that count from 0. Here alpha_bar has T + 1 entries and "
            "entry 0 is clean data: where is the last one?",
        ),
        Mistake(
            _entries(("i / steps", "i / (steps - 1)"), ("steps + 1", "steps")),
            "The number of entries equals the number of steps. How many posts does a fence with 4 gaps have?",
        ),
        Mistake(
            _entries((_INDEX, "T - T // steps * i"), ("range(steps + 1)]", "range(steps)] + [0]")),
            "Your stride is T divided by steps, rounded down, and what is left over falls into the last "
            "step. With 30 steps out of 1000, how wide is that one?",
        ),
        Mistake(
            _loop(_TO_NEXT),
            "The network is asked at the right places, but each step goes only to n − 1, the neighbour in "
            "the table. At which n is x when the network is asked next?",
        ),
        Mistake(
            _loop(("grid[1:]", "grid[1:-1]")),
            "The last step is missing: your loop ends at the last n above 0. Which pair of the grid is "
            "never visited?",
        ),
        Mistake(
            _loop(("        x = ", "        x_s = "), ("return x", "return x_s")),
            "Every step of yours starts from the same x_T, so the work of all steps but the last is thrown "
            "away. What should the second step start from?",
        ),
        Mistake(
            _loop(("predict(x, now)", "predict(x, then)")),
            "You ask the network at the time where the step ends. The x that you show it still has the "
            "noise of which time?",
        ),
        Mistake(
            _loop(
                ("now]).sqrt()", "now])"),
                ("now].sqrt()", "now]"),
                ("then]).sqrt()", "then])"),
                ("then].sqrt()", "then]"),
            ),
            "You use alpha-bar and 1 − alpha-bar as factors. In x_t = … x_0 + … eps, are they levels or "
            "squares of levels?",
        ),
        Mistake(
            _loop(("/ alpha_bar[now].sqrt()", _CLIP)),
            "You clip the predicted x_0 to [-1, 1], as code for images does, whose pixels live there. What "
            "becomes of data around 2?",
        ),
        Mistake(
            _loop(("return x", "return x0")),
            "On grids that end at 0 you are right. You return the last predicted x0, and where the grid ends "
            "above 0 that is not x there: which variable lives at grid[-1]?",
        ),
        Mistake(
            _loop((_DIRECTION, "")),
            "Your step ends without its direction term: x at the new level holds data and no noise, and the "
            "network is shown what it was never trained on. How much noise has level s?",
        ),
        Mistake(
            _loop(("(1 - alpha_bar[then]).sqrt()", "(1 - alpha_bar[now]).sqrt()")),
            "Signal comes in with the level of the new time and noise with that of the old one. How much "
            "noise does x hold where the step ends?",
        ),
        Mistake(
            _loop(
                ("(1 - alpha_bar[now]).sqrt()", "(1 - alpha_bar[now].sqrt())"),
                ("(1 - alpha_bar[then]).sqrt()", "(1 - alpha_bar[then].sqrt())"),
            ),
            "Your noise levels are 1 − √ᾱ. The squares of the signal level and of the noise level add up to "
            "1: which root is sigma, and of what?",
        ),
        Mistake(
            _loop(
                *((f"alpha_bar[{at}])", f"alpha_bar[max({at} - 1, 0)])") for at in ("now", "then")),
                *((f"alpha_bar[{at}].sqrt", f"alpha_bar[max({at} - 1, 0)].sqrt") for at in ("now", "then")),
            ),
            "You look the levels up one entry too low, as in tables that count from 0. Here alpha_bar[0] is "
            "clean data: at which entry is x_n?",
        ),
    ),
    hints=(
        "Draw four steps out of T = 100 on paper. How many numbers do you write down, and what are the "
        "first and the last?",
        "A step needs two entries of the grid: where it is and where it goes. The neighbour in the table "
        "plays no part.",
        "Evenly spaced numbers from T to 0, ends included and one more than steps, rounded to whole "
        "numbers; then a loop over pairs, with the network asked at the first of each pair, and the x of "
        "one step handed to the next.",
    ),
    asks={
        "steps n at which the network is asked": "The network is to be asked once a step, at the n where x "
        "is: at 100, 75, 50 and 25 on this grid.",
        _POINT: _POINT_ASK,
        "x_0 after 4 steps": "A single point comes back, so the signal enters with the right factor at the "
        "end. In between, does x keep the noise of the level that it has arrived at, and no other?",
    },
)

# --- 2.4: find the bug, the tutorial's listing --------------------------------------------------------------


def _probe_walk(answer, seed):
    alpha_bar, x = _table(1000), normal(seed, 3, 1)
    predict = _gaussian_eps(alpha_bar)
    gains = [_gain(answer, predict, alpha_bar, steps) for steps in (50, 10)]
    if all(math.isnan(gain) for gain in gains):
        raise Remark(
            "It returns NaN, even at eta = 0. Where does a root get a negative number? Look at the first "
            f"step: which of its two times is the noisier one?{_without_nan(answer)}"
        )
    noises = normal(seed, 10, 3, 1, stream=1)
    return {
        _POINT: answer(_point_eps(alpha_bar), alpha_bar, x[:1], 10),
        "gain, 50 steps, eta = 0": gains[0],
        "gain, 10 steps, eta = 0": gains[1],
        "x_0, 10 steps, eta = 0": answer(predict, alpha_bar, x, 10),
        "x_0, 10 steps, eta = 1, given noises": answer(predict, alpha_bar, x, 10, eta=1.0, noises=noises),
        "x_0, 10 steps, eta = 0.5, given noises": answer(predict, alpha_bar, x, 10, eta=0.5, noises=noises),
    }


def _gain(answer, predict, alpha_bar, steps):
    """By how much x_0 moves when x_T moves by 1."""
    x = torch.tensor([[0.0], [1.0]], dtype=alpha_bar.dtype)
    x_0 = answer(predict, alpha_bar, x, steps)
    return float((x_0[1] - x_0[0]).real)


def _without_nan(answer):
    """The gain of a walk whose roots may be of negative numbers, in words: so that of two mistakes the one
    that gives NaN does not hide the other; '' where that cannot be had."""
    alpha_bar = _table(1000).to(torch.complex128)
    alpha_bar[0] = alpha_bar[1]  # or the first step up divides by 0
    try:
        gain = _gain(answer, _gaussian_eps(alpha_bar), alpha_bar, 50)
    except (RuntimeError, TypeError, ValueError):
        return ""
    return f" (With imaginary roots its gain would be {gain:.3g}.)" if math.isfinite(gain) else ""


_UP = ("len(alpha_bar) - 1, 0", "0, len(alpha_bar) - 1")  # from data to noise
_RELATIVE = ("b.sqrt() * x0", "(b / a).sqrt() * x0")
_SPREAD = "(1 - a / b)).sqrt()"
_ON_X = "(b / a).sqrt() * x + (1 - b - c**2).sqrt() * eps"
_GUARDED = (_SPREAD, f"{_SPREAD} if eta > 0 else 0.0")

WALK = Task(
    id="2.4",
    title="Find the bug: a walk that ends in NaN",
    kind="find-the-bug",
    difficulty=2,
    minutes=20,
    points=4,
    ids=("P02", "BP2", "BP3", "BP4"),
    probe=_probe_walk,
    reference=solution.walk,
    decimals=4,
    mistakes=(
        Mistake(
            changed(solution.walk, _UP, _RELATIVE),
            "It returns NaN, even at eta = 0, as the listing does that was given. Where does a root get a "
            "negative number? Look at the first step: which of its two times is the noisier one?",
            as_given=True,
        ),
        Mistake(
            changed(solution.walk, _UP),
            "The factor of x0 is right now: one of the two. The other one still gives NaN. Where does a root "
            "get a negative number? Look at the first step: which of its two times is the noisier one?",
        ),
        Mistake(
            changed(solution.walk, _RELATIVE),
            "It is finite now, and the times run the right way. But the gain is several times too large: "
            "print x0 in the last step and what comes out of that step. By what is x0 multiplied, and at "
            "which level does x0 live?",
        ),
        Mistake(
            changed(solution.walk, _UP, _RELATIVE, _GUARDED),
            "You silenced the NaN at eta = 0, and what remains is a gain of the wrong size, and NaN at eta "
            "= 1. A negative variance was a symptom: of what, about the two times of a step?",
        ),
        Mistake(
            changed(solution.walk, _UP, _GUARDED),
            "The factor of x0 is right, and at eta = 0 the NaN is gone; but your last step arrives at n = "
            "T, where x is all noise again. In which direction should the loop walk?",
        ),
        Mistake(
            changed(solution.walk, _UP, _RELATIVE, (_SPREAD, "(1 - a / b)).clamp(min=0).sqrt()")),
            "Cutting the radicand off at 0 hides the sign that was trying to tell you something: the result "
            "is finite, and far too large. Which order of the times makes that variance positive by itself?",
        ),
        Mistake(
            changed(solution.walk, _UP, ("(now, then)", "(then, now)")),
            "Each step goes down now, but the steps come in the wrong order: the first one goes from n = 20 "
            "to 0, with x_T in hand. Which step must come first?",
        ),
        Mistake(
            changed(solution.walk, ("b.sqrt() * x0", "b * x0")),
            "Nearly: x0 is multiplied by alpha-bar at the new time. Is alpha-bar the signal level, or its "
            "square?",
        ),
        Mistake(
            changed(solution.walk, ("b.sqrt() * x0 + (1 - b - c**2).sqrt() * eps", _ON_X)),
            "You put the ratio √(b/a) on x, where it carries x_t to the new level, noise and all, and then "
            "add noise to noise. In the statement's equation x0 has the factor, and the old noise comes "
            "with eps.",
        ),
        Mistake(
            changed(solution.walk, ("/ a.sqrt()", "/ a.sqrt()\n        x0 = x0.clamp(-1, 1)")),
            "You clip the predicted x_0 to [-1, 1], as code for images does, whose pixels live there. What "
            "becomes of data around 2?",
        ),
        Mistake(
            changed(solution.walk, ("(1 - b - c**2)", "(1 - b)")),
            "At eta = 0 you are right. With fresh noise, the old one has to make room: what is left of 1 − "
            "alpha-bar for it?",
        ),
    ),
    hints=(
        "Run one step by hand, with steps = 2 and eta = 0, and write down the two times, the "
        "two values of alpha-bar "
        "and every radicand.",
        "There are two mistakes. One is about time, and as long as it is there NaN comes out whatever you do "
        "to the other. The other, left alone, gives a wrong gain. It is about the first term of the "
        "update: compare it with x_s = alpha_s x0 + … .",
        "Sampling starts in noise, so each pair must go from the larger n to the smaller. And the predicted "
        "x0 is clean: it enters the new level with that level's own signal rate, whatever the old one was.",
    ),
    asks={
        _POINT: _POINT_ASK,
        "gain, 50 steps, eta = 0": "For data of variance 0.25 the exact flow has a gain of 0.5, and 50 right "
        "steps come close; your x_0 moves by {value} when x_T moves by 1. Follow x0 and x through the last "
        "step: which factor does x0 get there, and should it get?",
        "gain, 10 steps, eta = 0": "With 50 steps you are right, and with 10 the gain is {value}: which "
        "number of your loop does not follow `steps`?",
        "x_0, 10 steps, eta = 1, given noises": "At eta = 0 you are right. With noise: which noise is added "
        "in step i, of what size, and how much room does it leave the old one?",
        "x_0, 10 steps, eta = 0.5, given noises": "At eta = 0 and eta = 1 you are right, and in between you "
        "are not: what does eta multiply?",
    },
)

# --- 2.5: find the bug, the introduction's listing ----------------------------------------------------------


def _posterior_mean(alpha_bar, asked=None, mean=2.0, variance=0.25):
    """denoise(x, n): E[x_0 | x_n] for data N(mean, variance)."""

    def denoise(x, n):
        if asked is not None:
            asked.append(int(n))
        alpha = alpha_bar[n] ** 0.5
        return mean + variance * alpha * (x - mean * alpha) / (1 - (1 - variance) * alpha_bar[n])

    return denoise


def _probe_short(answer, seed):
    alpha_bar, x = _table(100), normal(seed, 3, 1)
    betas, asked = torch.from_numpy(Discrete.linear(100).betas), []
    all_steps = answer(_posterior_mean(alpha_bar), betas, x, 100)
    ten = answer(_posterior_mean(alpha_bar, asked), betas, x, 10)
    pair = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    low, high = answer(_posterior_mean(alpha_bar), betas, pair, 100)
    return {
        _POINT: answer(_posterior_mean(alpha_bar, mean=12.0, variance=0.0), betas, x[:1], 10),
        "gain, all 100 steps": float(high - low),
        "x_0, all 100 steps": all_steps,
        "x_0, 10 of 100 steps": ten,
        "n asked for, 10 of 100 steps": _listed(asked),
    }


_FIRST_ENTRIES = ("[round(T - T * i / steps) for i in range(steps + 1)]", "range(steps, -1, -1)")
_OLD = "(x - levels[n].sqrt() * x0) / (1 - levels[n]).sqrt()"
_FRESH = (_OLD, "torch.randn_like(x)")
_STUCK = ("        x = levels", "        x_s = levels"), ("return x", "return x_s")  # x stays x_T

SHORT = Task(
    id="2.5",
    title="Find the bug: a loop that forgets",
    kind="find-the-bug",
    difficulty=2,
    minutes=25,
    points=4,
    ids=("I05", "E2", "BI6", "BI7", "BI8", "BI10"),
    probe=_probe_short,
    reference=solution.short,
    decimals=4,
    mistakes=(
        Mistake(
            changed(solution.short, _FIRST_ENTRIES, _FRESH, *_STUCK),
            "What comes out is still exactly denoise(x_T, 1), as in the listing that was given: all other "
            "calls are wasted. Follow one variable through the loop: what does the second call of denoise "
            "see?",
            as_given=True,
        ),
        Mistake(
            changed(solution.short, _FIRST_ENTRIES, _FRESH),
            "x moves now. But the output changes from run to run, and its variance is half of what it "
            "should be: whose noise belongs into x at the next level, a new draw or the one that is in x?",
        ),
        Mistake(
            changed(solution.short, _FRESH),
            "x moves, and the steps are spread over the table. What is random in a deterministic sampler? "
            "Find the noise that x holds already.",
        ),
        Mistake(
            changed(solution.short, _FIRST_ENTRIES),
            "With all the steps you are right. With 10 of 100 the first call asks for n = 10, where hardly "
            "any noise is left, and shows it x_T, which is nothing else: over which n should 10 steps be "
            "spread?",
        ),
        Mistake(
            changed(solution.short, *_STUCK),
            "The noise is taken from x_T and the steps are spread, but denoise still sees x_T every time. "
            "Which name should be overwritten at the end of a step?",
        ),
        Mistake(
            changed(solution.short, _TO_NEXT),
            "The network is asked at n = 100, 90, 80, …, and each step removes the noise of one n only. To "
            "which level must the step from 100 go, if 90 comes next?",
        ),
        Mistake(
            changed(solution.short, ("(x - levels", "(x_T - levels")),
            "You work the noise out from x_T at every step. At the first step that is right: which x and "
            "which x0 belong together at the second?",
        ),
        Mistake(
            changed(solution.short, (" + (1 - levels[m]).sqrt() * eps", "")),
            "You removed the second term altogether. Then x_s has less noise than level s should have, and "
            "the network is shown what it was never trained on: the variance of your output is far below "
            "0.25. What takes the place of the fresh draw?",
        ),
        Mistake(
            changed(solution.short, ("levels[n].sqrt() * x0", "x0")),
            "Nearly: x0 is subtracted from x as it is. How strongly is x0 present in x at level n?",
        ),
        Mistake(
            changed(solution.short, (_OLD, "x_T")),
            "You take x_T itself for the noise, at every level. At level T it nearly is; but at level n the "
            "network has found out more: which noise do x and the x0 of this step leave over?",
        ),
        Mistake(
            changed(solution.short, ("denoise(x, n)", "denoise(x, n).clamp(-1, 1)")),
            "You clip the predicted x_0 to [-1, 1], as code for images does, whose pixels live there. What "
            "becomes of data around 2?",
        ),
        Mistake(
            changed(solution.short, ("(1 - levels[m]).sqrt()", "(1 - levels[n]).sqrt()")),
            "The noise goes back in with the size that it had before the step. How much noise has level m?",
        ),
        Mistake(
            changed(solution.short, (" / (1 - levels[n]).sqrt()", "")),
            "What x holds besides its signal is σ ε, and you put it into the next level as if it were ε. "
            "What is still to be divided out?",
        ),
    ),
    hints=(
        "Print, in every step, n and the first entry of what denoise is given. What strikes you about the "
        "two columns?",
        "There are three mistakes: which x the network sees, where the noise comes from, and which n are "
        "visited. Repair them in this order and measure after each.",
        "The noise that x holds follows from x and the predicted x0 by solving x = alpha x0 + sigma eps. It "
        "then goes into the next level unchanged; the levels are those of an even sub-sequence from T to 0, "
        "as in 2.3.",
    ),
    asks={
        _POINT: "For data that are the one point 12 every call returns 12, and your loop {value}: is x0 "
        "used as it comes, with nothing cut off, and what are its factor and that of the noise in the last "
        "step?",
        "gain, all 100 steps": "For data of variance 0.25 the exact flow has a gain of 0.5, and 100 right "
        "steps come close; your x_0 moves by {value} when x_T moves by 1. Is the noise of each step the one "
        "that x and x0 leave over, and does it go into the level where the step ends?",
        "x_0, 10 of 100 steps": "With all the steps you are right. Over which n are 10 of 100 spread, and to "
        "which n does each step go?",
    },
)

# --- 2.6: coefficients --------------------------------------------------------------------------------------

_SYMBOLS = dict(a_t=(0.2, 0.5), s_t=(0.8, 1.0), a_s=(0.6, 0.9), s_s=(0.3, 0.5))


def _probe_coefficients(answer, seed):
    eta_max, slope = _SYMBOLS, _SYMBOLS | dict(c=(0.01, 0.2))
    return named_expressions(answer, seed, 3, slope=slope, eta_max=eta_max)


EULER = Task(
    id="2.6",
    title="Euler in disguise, and the largest η",
    kind="coefficient",
    difficulty=2,
    minutes=20,
    points=3,
    ids=("T12", "T02", "BT1", "BT8"),
    names=("slope", "eta_max"),
    probe=_probe_coefficients,
    reference={"slope": solution.slope, "eta_max": solution.eta_max},
    mistakes=(
        Mistake(
            {"slope": "s_s/a_s - s_t/a_t"},
            "This is the step of Euler's method, and right at c = 0. With noise of size c, how much of the "
            "old eps is kept?",
        ),
        Mistake(
            {"slope": "sqrt(s_s**2 - c**2) - a_s*s_t/a_t"},
            "This is the coefficient of eps in x_s itself. Which quantity is x_s divided by here?",
        ),
        Mistake(
            {"slope": "(s_s - c)/a_s - s_t/a_t"},
            "You took c from sigma_s directly. Is it standard deviations or variances that add up to that "
            "of the marginal?",
        ),
        Mistake(
            {"slope": "sqrt(s_s**2 - c**2)/a_s"},
            "This is the direction term alone. Where else does eps hide, once the predicted x_0 is written "
            "out?",
        ),
        Mistake(
            {"slope": "s_t/a_t - sqrt(s_s**2 - c**2)/a_s"},
            "The size is right and the sign is not. When sigma/alpha falls, does x/alpha gain or lose noise?",
        ),
        Mistake(
            {"slope": "sqrt(1 - a_s**2 - c**2)/a_s - sqrt(1 - a_t**2)/a_t"},
            "You put 1 − alpha² where sigma² stands. That is right for a variance-preserving schedule, and "
            "the exercise asks for all of them: which symbols did you replace?",
        ),
        Mistake(
            {"eta_max": "1/sqrt(1 - a_t**2*(1 - a_s**2)/(a_s**2*(1 - a_t**2)))"},
            "You put 1 − alpha² where sigma² stands. That is right for a variance-preserving schedule, and "
            "the exercise asks for all of them: write your answer with s_t and s_s again.",
        ),
        Mistake(
            {"eta_max": "1"},
            "At eta = 1 the step is DDPM's. Put eta = 1 into the radicand sigma_s² − c²: is it 0 there, or "
            "is there still room?",
        ),
        Mistake(
            {"eta_max": "s_s"},
            "sigma_s is the largest size c of the noise. And which eta gives a noise of this size?",
        ),
        Mistake(
            {"eta_max": "s_t**2/(s_t**2 - a_t**2*s_s**2/a_s**2)"},
            "This is the square of the limit. The condition is on c²; how does c depend on eta?",
        ),
        Mistake(
            {"eta_max": "sqrt(s_t**2 - a_t**2*s_s**2/a_s**2)/s_t"},
            "You have it upside down: this is below 1, and would forbid DDPM. Which side of the inequality "
            "is divided by which?",
        ),
    ),
    hints=(
        "Write the step with x_0 replaced by what eps says of it. Then there are only x_t, eps and z on the "
        "right.",
        "For the slope: divide the whole step by alpha_s and collect eps; two terms contribute. For the "
        "limit: where does a root stop being real?",
        "x_0 contributes −sigma_t/alpha_t to the coefficient after the division, the direction term "
        "contributes its own factor over alpha_s. For the limit set c equal to sigma_s, and solve for eta; "
        "sigma_s cancels once.",
    ),
)

# --- 2.7: two bundles ---------------------------------------------------------------------------------------


def _drawn_noise(path, steps=25, T=1000):
    """The noise (steps - 1,) of a path (steps + 1,) of DDPM's along `grids.strided`: what each state but the
    last is away from the posterior's mean, in its deviations; for the data of this task in closed form."""
    times = np.round(np.linspace(T, 0, steps + 1)).astype(int)
    bar = _table(T).numpy()[times]
    alpha, var = np.sqrt(bar[:-1]), 1 - bar[:-1]
    x, size = path[:-1], alpha**2 * 0.04 + var
    ahead = 1 / (1 + np.exp(-2 * alpha * x / size))  # of the mode at 1
    x0 = sum(w * (m + 0.04 * alpha / size * (x - alpha * m)) for m, w in ((1, ahead), (-1, 1 - ahead)))
    ratio = bar[:-1] / bar[1:]
    mean = (np.sqrt(bar[1:]) * (1 - ratio) * x0 + np.sqrt(ratio) * (1 - bar[1:]) * x) / var
    return ((path[1:] - mean)[:-1]) / np.sqrt((1 - ratio) * (1 - bar[1:]) / var)[:-1]


def _probe_bundles(answer, seed):
    start = uniform(seed, -0.3, 0.3)
    ax = answer(start, [3, 4, 5, 6])
    seen = read_axes(ax)
    ax = ax if hasattr(ax, "get_lines") else ax.axes[0]
    lines = {"DDPM": [], "DDIM": []}
    for line in ax.get_lines():
        if line.get_label() in lines:
            lines[line.get_label()].append(np.asarray(line.get_ydata(), float).ravel())
    values = {f"{name} lines": str(len(paths)) for name, paths in lines.items()}
    short = [(name, len(y)) for name, paths in lines.items() for y in paths if len(y) != 26]
    if short:
        raise Remark(
            f"A {short[0][0]} line has {short[0][1]} points, and 25 steps visit 26 states: draw all of them"
        )
    for name, paths in lines.items():
        begins = bool(paths) and all(abs(y[0] - start) < 1e-6 for y in paths)
        values[f"every {name} line begins at the start"] = "yes" if begins else "no"
    ends = {name: np.array([y[-1] for y in paths] or [np.nan]) for name, paths in lines.items()}
    values["spread of the DDIM ends"] = np.ptp(ends["DDIM"])
    values["the DDPM ends differ"] = "yes" if np.ptp(ends["DDPM"]) > 1e-3 else "no"
    size = np.mean([_drawn_noise(y) ** 2 for y in lines["DDPM"]] or [0.0])
    values["the DDPM steps draw DDPM's noise"] = "yes" if 0.3 < size < 2.2 else "no"  # 96 squares of mean 1
    values["the first DDIM line ends at"] = ends["DDIM"][0]
    values["axes labelled"] = "yes" if seen.xlabel and seen.ylabel else "no"
    return values


BUNDLES = Task(
    id="2.7",
    title="Two bundles from one start",
    kind="figure",
    difficulty=1,
    minutes=15,
    points=3,
    ids=("T05", "T01", "I01", "I03", "BI1"),
    probe=_probe_bundles,
    reference=solution.bundles,
    decimals=3,
    asks={
        "the DDPM steps draw DDPM's noise": "The DDPM lines are no paths of DDPM along these 25 steps: by "
        "how much does each state differ from the posterior's mean, and which sampler ran?",
        "DDPM lines": "How many lines carry the label 'DDPM'? One run for each seed is wanted, each "
        "line with its sampler's name as label.",
        "DDIM lines": "How many lines carry the label 'DDIM'? One run for each seed is wanted, each "
        "line with its sampler's name as label.",
    },
    mistakes=(
        Mistake(
            changed(solution.bundles, ("begin, times", "begin + 0.1 * (seed - seeds[0]), times")),
            "Your lines begin at different places. To see what the sampler itself adds, what must be the "
            "same for all runs?",
        ),
        Mistake(
            changed(solution.bundles, ("draws=seed", "draws=0")),
            "All DDPM lines lie on top of each other. They share the start, as they should: do they also "
            "share the noise?",
        ),
        Mistake(
            changed(solution.bundles, ('"DDIM", ddim', '"DDIM", ddpm')),
            "The lines labelled DDIM end in different places although they start in one. Which of the two "
            "samplers draws noise, and did both bundles get that one?",
        ),
        Mistake(
            changed(solution.bundles, ('"DDIM", ddim', '"DDIM", ddpm'), ('"DDPM", ddpm', '"DDPM", ddim')),
            "The bundle called DDIM spreads and the bundle called DDPM does not. Could the labels be "
            "exchanged?",
        ),
        Mistake(
            changed(solution.bundles, (", label=name", "")),
            "No line has a label, so neither the check nor a reader can tell the samplers apart. Which "
            "argument of ax.plot names a line?",
        ),
        Mistake(
            changed(
                solution.bundles,
                ("run.times, run.path[:, 0, 0]", "run.times[::-1], run.path[:, 0, 0].flip(0)"),
            ),
            "Your lines begin at the data and end at the common start. In which order does the sampler "
            "visit its states?",
        ),
        Mistake(
            changed(solution.bundles, ('xlabel="time t, from noise to data", ylabel="state x"', "")),
            "A fine pair of bundles, and nothing says what the axes are. What stands on each?",
        ),
    ),
    hints=(
        "What do all runs share, and what is different from run to run? Write that down for DDPM and for "
        "DDIM.",
        "sample(..., keep_path=True) gives .times and .path; the path has the shape (steps + 1, batch, 1). "
        "Which slice is one line?",
        "A double loop, over seeds and over samplers: a fresh run each time, from the same tensor filled "
        "with start, the seed passed on as seed=, and one call of ax.plot with the sampler's name.",
    ),
)

# --- 2.8: how many steps ------------------------------------------------------------------------------------


def _probe_convergence(answer, seed):
    seen = read_axes(answer.draw([20, 100, 200]))
    values = {"x scale": seen.xscale, "y scale": seen.yscale}
    values["axes labelled"] = "yes" if seen.xlabel and seen.ylabel else "no"
    lines = error_lines(seen, "DDIM", "eta = 1")
    for name, (x, y) in lines.items():
        values[f"slope of {name}, 100 to 200 steps"] = np.log(y[-1] / y[-2]) / np.log(x[-1] / x[-2])
    values["error of eta = 1 over that of DDIM, 200 steps"] = lines["eta = 1"][1][-1] / lines["DDIM"][1][-1]
    counts = [round(scale * uniform(seed, 1, 3, stream=k)) for k, scale in enumerate((8, 25, 80))]
    for name, (_, y) in error_lines(read_axes(answer.draw(counts)), "DDIM", "eta = 1").items():
        values[f"log10 of the errors of {name} at {counts[0]}, {counts[1]}, {counts[2]} steps"] = np.log10(y)
    return values


_FEWEST = 116


def _fewest_facts(answer, seed):
    try:
        fewest = int(answer.fewest)
    except (TypeError, ValueError):
        raise Remark("fewest is one whole number: the smallest count of DDIM steps within 5 %.") from None
    return {"fewest steps within 5 %": "right" if fewest == _FEWEST else str(fewest)}


def _drawn(*edits):
    """Another figure, with the right number."""
    return {"draw": changed(solution.draw, *edits)}


_ERROR = "abs(variance - 0.25)"

CONVERGENCE = Task(
    id="2.8",
    title="An order is a slope; a budget is a number",
    kind="figure",
    difficulty=2,
    minutes=20,
    points=4,
    ids=("T07", "P03", "BP6", "BI2", "BT8"),
    names=("draw", "fewest"),
    probe=_probe_convergence,
    facts=_fewest_facts,
    reference={"draw": solution.draw, "fewest": _FEWEST},
    tolerance=0.02,
    decimals=2,
    mistakes=(
        Mistake(
            _drawn(("ax.loglog", "ax.plot")),
            "On these axes an error that halves when the steps double is a curve, like any other. On which "
            "axes is every power law straight?",
        ),
        Mistake(
            _drawn(("ax.loglog", "ax.semilogy")),
            "Only the vertical axis is logarithmic, and there a power law is still bent. What about the "
            "other axis?",
        ),
        Mistake(
            _drawn((_ERROR, "variance")),
            "Your lines are almost level: they show the variance itself. What has to be subtracted before a "
            "slope says how fast it converges?",
        ),
        Mistake(
            _drawn((_ERROR, "abs(variance - 0.5)")),
            "Your error does not go to 0. The data have standard deviation 0.5: what is their variance?",
        ),
        Mistake(
            _drawn((_ERROR, "(variance - 0.25) ** 2")),
            "The slopes are twice as steep as they should be. Did you square the error?",
        ),
        Mistake(
            _drawn((_ERROR, "abs(variance - 0.25) / 0.25")),
            "Your errors are relative, divided by 0.25: the slopes are the same, the heights are not. Which "
            "of the two does the exercise ask for?",
        ),
        Mistake(
            _drawn((_ERROR, "variance - 0.25")),
            "Your error is signed, and negative, since DDIM leaves too little variance; a logarithmic axis "
            "drops such points without a word. Which bars are missing round the difference?",
        ),
        Mistake(
            _drawn((_ERROR, "abs(variance**0.5 - 0.5)")),
            "This is the error of the standard deviation, a good thing to draw, and not the one asked for. "
            "What does `exact_variance` return?",
        ),
        Mistake(
            _drawn(("eta=eta", "eta=0.0")),
            "Both lines are the same, the deterministic sampler. How is eta handed on to ddim?",
        ),
        Mistake(
            _drawn(('"DDIM", 0.0', '"DDIM", 1.0'), ('"eta = 1", 1.0', '"eta = 1", 0.0')),
            "The line called DDIM lies above the other. Which eta does each label stand for?",
        ),
        Mistake(
            _drawn(("eta=eta", "eta=eta / 2")),
            "The line called eta = 1 is that of another eta. How much noise does it stand for, and what does "
            "your call hand on?",
        ),
        Mistake(
            _drawn(("ax.loglog(counts,", "ax.loglog([1 / n for n in counts],")),
            "Your lines rise: the horizontal axis has 1 / n, the length of a step. A slope against it is the "
            "order with the other sign. What does the exercise put on that axis?",
        ),
        Mistake(
            _drawn(('"number of steps"', '""')),
            "What is on the horizontal axis? Your reader cannot tell.",
        ),
        Mistake(
            {"fewest": 290},
            "This is the count for eta = 1. Which eta is DDIM? (And keep the number: it tells what "
            "randomness costs here.)",
        ),
        Mistake(
            {"fewest": 58},
            "With this count the standard deviation is within 5 % of 0.5. What was asked about, the "
            "deviation or the variance?",
        ),
        Mistake(
            {"fewest": 27},
            "At this count the variance is 0.05 from the right one, a fifth of it. Five per cent of what?",
        ),
        Mistake(
            {"fewest": 667},
            "At this count the variance is within 1 %. How much is asked?",
        ),
        Mistake(
            {"fewest": 120},
            "This count is within 5 %, and looks like one of a list of round ones. What lies between it "
            "and the "
            "one before?",
        ),
        Mistake(
            {"fewest": 125},
            "This count divides 1000, and so need not be: `strided` takes any. Which smaller ones are "
            "within 5 %?",
        ),
        Mistake(
            {"fewest": 115},
            "Very close, and just outside: at this count the variance is still a little below 0.2375. Is "
            "your comparison the right way round?",
        ),
        Mistake(
            {"fewest": 117},
            "This count is within 5 %, but it is not the smallest one that is. Does your search start low "
            "enough, and stop at once?",
        ),
        Mistake(
            {"fewest": 200},
            "This looks like the first round number that is good enough. Between 100 and 200 there are "
            "others: which is the smallest?",
        ),
    ),
    hints=(
        "Before drawing: if doubling the steps halves the error, what is log(error) as a function of "
        "log(steps)?",
        "exact_variance(ddim, table, times, eta=...) gives a float without any sampling. The error is its "
        "distance from the variance of the data.",
        "For the figure: one list of errors for each eta, both axes logarithmic. For the number: try the "
        "counts one after the other and stop at the first whose error is at most a twentieth of the true "
        "variance.",
    ),
)

# --- 2.9: inversion -----------------------------------------------------------------------------------------


def _two_modes(alpha_bar, centre=2.0, reach=1.0, std=0.3):
    """predict(x, n): the exact noise for two equal modes at centre - reach and centre + reach."""
    squares = alpha_bar.tolist()

    def predict(x, n):
        alpha, variance = squares[n] ** 0.5, 1 - (1 - std**2) * squares[n]
        x, at = x - centre * alpha, alpha * reach
        return (1 - squares[n]) ** 0.5 * (x - at * torch.tanh(at * x / variance)) / variance

    return predict


def _decoded(predict, alpha_bar, z, grid):
    """Where Euler's method in kappa = sigma / alpha leads from z: DDIM, for x / alpha."""
    kappa = ((1 - alpha_bar) / alpha_bar).sqrt()
    y = z / alpha_bar[grid[0]].sqrt()
    for now, then in zip(grid, grid[1:]):
        y = y + (kappa[then] - kappa[now]) * predict(alpha_bar[now].sqrt() * y, now)
    return y * alpha_bar[grid[-1]].sqrt()


def _probe_invert(answer, seed):
    alpha_bar = _table(100)
    predict = _two_modes(alpha_bar)
    modes = torch.tensor([[1.0], [3.0], [3.0]], dtype=torch.float64)
    x, grid = modes + 0.2 * normal(seed, 3, 1).clamp(-1.5, 1.5), list(range(100, -1, -5))
    z = torch.as_tensor(answer(predict, alpha_bar, x, grid, 30))
    back = _decoded(predict, alpha_bar, z, grid)
    asked = []

    def counted(x, n):
        asked.append(n)
        return predict(x, n)

    twice = answer(counted, alpha_bar, x, grid, 2)
    above = list(range(90, 9, -10))
    return {
        "round trip below 1e-8, 30 iterations": "yes" if float((back - x).abs().max()) < 1e-8 else "no",
        "calls for 20 steps, 2 iterations": len(asked),
        "code, 0 iterations": answer(predict, alpha_bar, x, grid, 0),
        "code, 2 iterations": twice,
        "code, 30 iterations": z,
        "code at 90 of x at 10, 1 iteration": answer(predict, alpha_bar, x, above, 1),
    }


def _one_jump(predict, alpha_bar, x, grid, iterations):
    """The forward process, with the noise that is predicted at T."""
    a = alpha_bar[grid[0]]
    return a**0.5 * x + (1 - a) ** 0.5 * predict(x, grid[0])


_NETWORK = "predict(x, high)"
_LOOP = "for _ in range(1 + iterations):\n            x = (below - b * predict(x, high)) / a"
_FIRST_AT_S = (
    "for k in range(1 + iterations):\n            x = (below - b * predict(x, high if k else low)) / a"
)

INVERT = Task(
    id="2.9",
    title="Back into the noise, exactly",
    kind="implement-sampler",
    difficulty=3,
    minutes=25,
    points=5,
    ids=("T06", "T60", "T12", "BT8", "BT16"),
    probe=_probe_invert,
    reference=solution.invert,
    decimals=5,
    mistakes=(
        Mistake(
            changed(solution.invert, (_NETWORK, "predict(x, low)")),
            "You ask the network at the time where the climb starts. The step down, which you undo, asked "
            "at its own start: is that the lower or the upper end of the pair?",
        ),
        Mistake(
            changed(solution.invert, ("(below", "(x")),
            "Each of your iterations climbs on from the last one, so that one step is made several times "
            "over. What stays fixed in the equation while x_t is improved?",
        ),
        Mistake(
            changed(solution.invert, (_NETWORK, "predict(below, high)")),
            "More iterations change nothing in your answer: the network is shown x_s again each time. Which "
            "x should it see once there is a better one?",
        ),
        Mistake(
            changed(solution.invert, ("1 + iterations", "iterations")),
            "You make one round too few: with iterations = 0 nothing happens at all. The first evaluation, "
            "at x_s, does not count as an iteration.",
        ),
        Mistake(
            changed(solution.invert, ("1 + iterations", "2")),
            "However many iterations are asked for, you make one. Which of your lines reads `iterations`?",
        ),
        Mistake(
            changed(solution.invert, (_LOOP, _FIRST_AT_S)),
            "Your first guess asks the network at the time where the climb starts, and your iterations ask "
            "at the upper end. All of them stand for one and the same call: at which time is it in the "
            "equation?",
        ),
        Mistake(
            changed(solution.invert, ("(below - b *", "(below + b *")),
            "You add what the step down has added. Solve x_s = a x_t + b ε̂ for x_t: which sign has b then?",
        ),
        Mistake(
            changed(solution.invert, ("high)) / a", "high))")),
            "You take the noise away, and do not divide by a. What stands before x_t in the step?",
        ),
        Mistake(
            changed(solution.invert, ("[::-1]", "")),
            "Your first step ends at T already: the pairs come in the order of decoding. Where does an "
            "encoder begin?",
        ),
        Mistake(
            changed(solution.invert, ("zip(grid, grid[1:])", "zip(grid[1:], grid[2:])")),
            "The last step of the climb is missing, the one that reaches T. Which pair of the grid is never "
            "used?",
        ),
        Mistake(
            changed(solution.ddim_sample, ("x, grid):", "x, grid, iterations):")),
            "This decodes: it takes x for noise and walks down. Encoding starts at the data; which way does "
            "it go through the grid?",
        ),
        Mistake(
            _one_jump,
            "One jump to T with the noise predicted there: a forward process with the network's guess for "
            "the noise. Decoding makes many steps; how many are there to undo?",
        ),
    ),
    hints=(
        "Decoding makes the steps of the grid one by one. In which order are they undone, and from which "
        "end of each is x known?",
        "Write one step down as x_s = a x_t + b eps(x_t, t) and solve it for the x_t outside the network. "
        "What stands in the way of a closed form, and what could be put there as a first guess?",
        "Keep x_s aside. Begin with x_s in place of x_t inside the network, solve for x_t, put that into "
        "the network, solve again: once, and then as often as iterations says. Then go on to the next pair "
        "upwards.",
    ),
    asks={
        "round trip below 1e-8, 30 iterations": "Decoded by DDIM along the same grid, your code does not "
        "come back to x. Take one pair of the grid and put your x_t into the step down: do you get the x_s "
        "that you came from?",
        "code, 0 iterations": "With 30 iterations the round trip closes. With 0 there is one call a step: "
        "which x, and which time, does it see?",
        "calls for 20 steps, 2 iterations": "The round trip closes with 30 iterations. A step makes one "
        "call, and one more for each iteration, so that 20 steps with 2 of them make 60; yours make {value}.",
        "code, 2 iterations": "With 0 iterations and with 30 you are right. Which x does the second call of "
        "a step see, and which the third?",
    },
)

# --- 2.10: a claim ------------------------------------------------------------------------------------------

_MEANS = {  # answer -> (its label, the right value)
    "gaussian": ("difference on one Gaussian", 2.4e-16),
    "ring": ("difference on the ring", 0.3569),
    "shell": ("length of a mean latent / √d", 0.7092),
}


def _claim_facts(answer, seed):
    verdict = str(answer.verdict).strip().lower().rstrip(".")
    if verdict not in ("holds", "fails"):
        raise Remark(f"The verdict is the word 'holds' or 'fails', and yours is {answer.verdict!r}.")
    values = {"verdict": "right" if verdict == solution.verdict else verdict}
    for name, number in named_numbers(answer, *_MEANS).items():
        label, right = _MEANS[name]
        values[label] = right_or_number(number, right, 0.004)
    return values


CLAIM = Task(
    id="2.10",
    title="Test a claim: interpolation on one Gaussian",
    kind="claim",
    difficulty=3,
    minutes=25,
    points=4,
    ids=("T06", "BT4", "BT5"),
    names=("verdict", "gaussian", "ring", "shell"),
    facts=_claim_facts,
    reference={"verdict": solution.verdict, **{name: right for name, (_, right) in _MEANS.items()}},
    tolerance=0.005,
    decimals=3,
    mistakes=(
        Mistake(
            {"verdict": "holds"},
            "Your numbers say something else: on the Gaussian the two ways of interpolating give the same "
            "point to the last digit. What then can be seen in latent space that a plain average does not "
            "show?",
        ),
        Mistake(
            {"gaussian": 0.3569},
            "This is the difference on the ring. For one Gaussian every DDIM step multiplies x by a number: "
            "what does that do to an average?",
        ),
        Mistake(
            {"gaussian": 1.6262},
            "You went along the great circle in latent space and along the straight line in data space. The "
            "question is about one and the same kind of average on both sides: which one?",
        ),
        Mistake(
            {"ring": 2.4e-16},
            "On the ring you found no difference at all. Is the model that decodes really that of the ring?",
        ),
        Mistake(
            {"ring": 0.4871},
            "This is the value with slerp in latent space. The claim that is tested averages the latents "
            "with lerp.",
        ),
        Mistake(
            {"ring": 0.1274},
            "This is the mean square of the difference. What is still to be done to have its root mean "
            "square?",
        ),
        Mistake(
            {"ring": 0.5047},
            "This is the root mean square length of the difference, a vector in the plane. Here the mean "
            "goes over all numbers, coordinates included: by which factor do the two differ in two "
            "dimensions?",
        ),
        Mistake(
            {"shell": 1.0013},
            "This is slerp, which stays on the shell. How long is the straight average of two independent "
            "vectors of this length?",
        ),
        Mistake(
            {"shell": 39.31},
            "This is the length itself. In d = 3072 a typical noise has length √d: divide by it, and 1 "
            "means 'as long as noise should be'.",
        ),
        Mistake(
            {"shell": 0.5},
            "One half would be the length if the two vectors cancelled more than independent ones do. What "
            "is the variance of one coordinate of (x + y)/2, and what is its root?",
        ),
    ),
    hints=(
        "Before any code: for data N(0, 1/4), what kind of function of x_T is DDIM's x_0?",
        "You need two points for each pair of noises: the decoded mean, and the mean of the decoded. Their "
        "difference, squared, averaged over everything, under a root, is one number; do it for both data "
        "sets with the same noises.",
        "A map that is linear takes means to means, so one Gaussian cannot tell the two apart, whatever the "
        "claim hopes to see. For the length: the mean of two independent standard normals has variance ½ in "
        "each coordinate.",
    ),
)

# --- 2.11: editing ------------------------------------------------------------------------------------------


def _labelled(alpha_bar, asked=None):
    """predict(x, n, label): the exact noise for two kinds of data, two modes at 1 and 3 for label 4, at -2
    and 4 for label 9; the (n, label) asked for are noted in the list `asked`."""
    kinds = {4: _two_modes(alpha_bar), 9: _two_modes(alpha_bar, centre=1.0, reach=3.0, std=0.5)}

    def predict(x, n, label):
        if asked is not None:
            asked.append((int(n), int(label)))
        if int(label) not in kinds:
            raise Remark(f"The labels are 4 and 9, and predict(x, n, label) was given label = {int(label)}.")
        return kinds[int(label)](x, int(n))

    return predict


@cache
def _digits_network():
    """The shipped network for digits of 28 x 28 in float64, on the table of 1000 steps."""
    net = pretrained("large-digits").double()
    sigma_data = net.notes["settings"]["sigma_data"]
    return Network(net, Discrete.linear(1000), predicts="edm", sigma_data=sigma_data)


def _predict_digits(x, n, label):
    """predict(x, n, label) of the shipped network, which knows no n = 0: there it answers as at 1."""
    return _digits_network().with_label(int(label)).eps(x, max(int(n), 1) / 1000)


def _stroke(seed):
    """A 1 of 28 x 28 pixels, (1, 1, 28, 28): one upright stroke on blank paper, where the seed puts it."""
    image = torch.full((1, 1, 28, 28), -1.0, dtype=torch.float64)
    column, top = 10 + seed % 6, 4 + seed // 6 % 3
    image[..., top : top + 18, column : column + 3] = 1.0
    return image


def _probe_edit(answer, seed):
    def edited(*given):
        return torch.as_tensor(answer(*given))

    alpha_bar, asked = _table(100), []
    predict, counted = _labelled(alpha_bar), _labelled(alpha_bar, asked)
    modes = torch.tensor([[1.0], [3.0], [3.0]], dtype=torch.float64)
    x, grid = modes + 0.2 * normal(seed, 3, 1).clamp(-1.5, 1.5), list(range(100, -1, -5))
    same = edited(predict, alpha_bar, x, grid, 60, 4, 4, 15)
    edited(counted, alpha_bar, x, grid, 60, 4, 9, 2)
    if not asked:
        raise Remark(
            "On a grid 100, 95, …, 0 with depth 60 your edit never asks the network. depth is one of the "
            "grid's entries, not a place in it: which part of the grid do you walk?"
        )
    points = {4: _gaussian_eps(alpha_bar, mean=5.0, variance=0.0), 9: _point_eps(alpha_bar)}
    five = torch.full((1, 1), 5.0, dtype=torch.float64)
    to_point = edited(lambda x, n, label: points[int(label)](x, int(n)), alpha_bar, five, grid, 60, 4, 9, 2)
    image, steps = _stroke(seed), [900, 600, 300, 0]
    seven = edited(_predict_digits, _table(1000), image, steps, 600, 1, 7, 0)
    asked_at = _listed([asked[0][0], max(asked)[0], asked[-1][0]])
    return {
        "own label, depth 60: comes back to 1e-4": "yes" if float((same - x).abs().max()) < 1e-4 else "no",
        "n asked for, 2 iterations: first, highest, last": asked_at,
        "calls with the source's label": sum(label == 4 for _, label in asked),
        "calls with the target's label": sum(label == 9 for _, label in asked),
        "where the point 5 ends, if all 9s are the point 12": to_point,
        "4 to 9, depth 60, 15 iterations": edited(predict, alpha_bar, x, grid, 60, 4, 9, 15),
        "4 to 9, depth 60, 0 iterations": edited(predict, alpha_bar, x, grid, 60, 4, 9, 0),
        "4 to 9, depth 90, down to 10, 1 iteration": edited(
            predict, alpha_bar, x, list(range(100, 9, -10)), 90, 4, 9, 1
        ),
        "a 1 of 28 x 28 to 7, depth 600: mean": seven.mean(),
        "a 1 of 28 x 28 to 7, depth 600: rms change": (seven - image).square().mean().sqrt(),
    }


_UP_CALL, _DOWN_CALL = "predict(x, n, source)", "predict(x, n, target)"
_DOWN = f"        x = a * x + b * {_DOWN_CALL}"
_REPAIRED_DOWN = f"""        above = x
        for _ in range(1 + iterations):
            x = a * above + b * {_DOWN_CALL}"""


def _jump_and_decode(predict, alpha_bar, x, grid, depth, source, target, iterations):
    """SDEdit: up by one jump with fresh noise instead of by inversion."""
    noise = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    x = alpha_bar[depth].sqrt() * x + (1 - alpha_bar[depth]).sqrt() * noise
    return solution.ddim_sample(lambda y, n: predict(y, n, target), alpha_bar, x, grid[grid.index(depth) :])


EDIT = Task(
    id="2.11",
    title="Edit a real digit",
    kind="implement-sampler",
    difficulty=2,
    minutes=25,
    points=4,
    ids=("T06", "T12", "BS20"),
    probe=_probe_edit,
    reference=solution.edit,
    decimals=5,
    mistakes=(
        Mistake(
            changed(solution.edit, (_UP_CALL, "predict(x, n, target)")),
            "You climb with the target's label and come down with it: a round trip, after which the picture "
            "is the old one. With which label does this picture become an ordinary piece of noise?",
        ),
        Mistake(
            changed(solution.edit, (_DOWN_CALL, "predict(x, n, source)")),
            "You come down with the label with which you climbed: a round trip, after which the picture is "
            "the old one. Who is to read the latent?",
        ),
        Mistake(
            changed(solution.edit, ("source, target, iterations", "target, source, iterations")),
            "The two labels have changed places: you encode a picture of one kind as if it were of the "
            "other. Which of the two does the picture have before the edit?",
        ),
        Mistake(
            changed(solution.edit, ("grid[grid.index(depth) :]", "grid")),
            "You climb the whole grid, whatever the depth. From which entry down is the grid to be used?",
        ),
        Mistake(
            changed(solution.edit, ("grid.index(depth) :", "grid.index(depth) + 1 :")),
            "You turn back one step too early: the grid from `depth` down begins with `depth` itself. Which "
            "pair is never used?",
        ),
        Mistake(
            changed(solution.edit, ("reversed(pairs)", "pairs")),
            "Your way up goes through the pairs in the order of the way down, so that its first step claims "
            "to start below `depth` with the clean picture in hand. Which pair comes first on the way up?",
        ),
        Mistake(
            changed(solution.edit, (_UP_CALL, "predict(x, m, source)")),
            "On the way up you ask the network at the lower end of each pair. The step down, which you undo, "
            "asks at its own start: which end is that?",
        ),
        Mistake(
            changed(solution.edit, (_DOWN_CALL, "predict(x, m, target)")),
            "On the way down you ask the network at the level where the step ends, where x is not yet. "
            "At which n is x when the step begins?",
        ),
        Mistake(
            changed(solution.edit, ("(below - b *", "(x - b *")),
            "Each of your iterations climbs on from the last one, so that one step is made several times "
            "over. What stays fixed in the equation while x is improved?",
        ),
        Mistake(
            changed(solution.edit, (_UP_CALL, "predict(below, n, source)")),
            "More iterations change nothing in your answer: the network is shown the lower state each time. "
            "Which x should it see once there is a better one?",
        ),
        Mistake(
            changed(solution.edit, ("1 + iterations", "iterations")),
            "You make one round too few: with iterations = 0 the way up does nothing at all. The first "
            "evaluation, at the lower state, does not count as an iteration.",
        ),
        Mistake(
            changed(solution.edit, ("1 + iterations", "1")),
            "You leave `iterations` unused: the way up is the usual, approximate one. What does its error do "
            "to a picture that is decoded with its own label?",
        ),
        Mistake(
            changed(solution.edit, (_DOWN, _REPAIRED_DOWN)),
            "You repair the way down as well. There nothing is unknown: x at the upper level is in your hand "
            "and the network is asked there. How many calls does a step down need?",
        ),
        Mistake(
            changed(solution.edit, ("x = a * x + b *", "x = a * x - b *")),
            "On the way down you subtract what is to be added. Which sign has b in the step down?",
        ),
        Mistake(
            changed(solution.edit, ("(below - b *", "(below + b *")),
            "On the way up you add what the step down has added. Solve it for the upper state: which sign "
            "has b then?",
        ),
        Mistake(
            changed(solution.edit, ("    return x", "    return x.clamp(-1, 1)")),
            "You clip the result to [-1, 1], as code for images does, whose pixels live there. What becomes "
            "of data around 3?",
        ),
        Mistake(
            _jump_and_decode,
            "You reach `depth` by a jump with fresh noise, which is another method of editing (SDEdit). It "
            "forgets the noise that belongs to this picture: does it come back with its own label?",
        ),
    ),
    hints=(
        "Before any code: which label explains the picture as it is, and which one describes the picture "
        "that you want? Where on the way do you change from one to the other?",
        "Both ways use the same pairs, those of the grid from `depth` down, in opposite orders, and the same "
        "a and b. The way up is task 2.9 with a label.",
        "Cut the grid at `depth`. Go through its pairs from the last to the first, each time solving the "
        "step down for the upper state, repaired as often as iterations says, with the source; then through "
        "them from the first to the last, one call a step, with the target.",
    ),
    asks={
        "own label, depth 60: comes back to 1e-4": "With its own label as the target, and 15 iterations a "
        "step, the picture does not come back. Take one pair and put your upper state into the step down: "
        "do you get the lower one that you came from?",
        "n asked for, 2 iterations: first, highest, last": "On a grid 100, 95, …, 0 with depth 60 the "
        "network is to be asked first at 5, then higher and higher, up to 60, and last at 5 again. Print the "
        "n at which yours is.",
        "calls with the source's label": "Depth 60 is 12 steps away from 0. With 2 iterations the way up "
        "makes 3 calls a step, 36 in all, with the source's label; yours makes {value}.",
        "calls with the target's label": "The way down makes one call a step, 12 in all, with the target's "
        "label; yours makes {value}.",
        "where the point 5 ends, if all 9s are the point 12": "Where all data of the target's kind are the "
        "one point 12, every latent is decoded to it; yours ends at {value}. A round trip closes with any a "
        "and b: put x0 into the step, x_m = alpha_m x0 + sigma_m eps, are yours these? And is nothing cut "
        "off?",
        "4 to 9, depth 60, 15 iterations": "Labels, calls and coefficients are right. Is each x handed on to "
        "the next step as it is?",
        "4 to 9, depth 60, 0 iterations": "With 15 iterations you are right. With 0 there is one call a step "
        "on the way up: which x, and which n, does it see?",
        "4 to 9, depth 90, down to 10, 1 iteration": "Down to 0 you are right; on a grid 100, 90, …, 10, "
        "with depth 90 and one iteration, you are not. Does your way end where the grid ends?",
        "a 1 of 28 x 28 to 7, depth 600: mean": "On points you are right. Here x is an image, (1, 1, 28, "
        "28), and your result is {value} on average: does anything in your code count on two axes?",
    },
)

TASKS = (NOISE_SIZE, STEP, SUBSEQUENCE, WALK, SHORT, EULER, BUNDLES, CONVERGENCE, INVERT, CLAIM, EDIT)
