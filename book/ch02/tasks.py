"""The tasks of lesson 02, denoising diffusion implicit models.

Levels are this book's: alpha is DDPM's sqrt(alpha-bar), sigma = sqrt(1 - alpha^2); an array `alpha_bar` is
DDPM's own, with alpha_bar[0] = 1.  The test problem is mostly data N(0, 1/4), where every sampler is linear
and nothing is left to chance.
"""

from functools import lru_cache

import numpy as np
import torch
from matplotlib.figure import Figure

from book.lessons import (
    Mistake,
    Remark,
    Task,
    error_lines,
    named_expressions,
    named_numbers,
    normal,
    read_axes,
    right_or_number,
    uniform,
)
from toolkit import Discrete, Mixture, grids, sample
from toolkit.convergence import exact_variance
from toolkit.ddim import ddim
from toolkit.ddpm import ddpm


def _table(T):
    """alpha_bar of the linear table with T steps, (T + 1,) float64."""
    return torch.from_numpy(Discrete.linear(T).alpha_bar)


def _gaussian_eps(alpha_bar, asked=None):
    """predict(x, n): the exact noise for data N(0, 1/4); the n asked for are noted in the list `asked`."""

    def predict(x, n):
        if asked is not None:
            asked.append(int(n))
        return (1 - alpha_bar[n]) ** 0.5 * x / (1 - 0.75 * alpha_bar[n])

    return predict


def _listed(numbers):
    """'100, 75, 50': how a list of steps is printed by a check."""
    return ", ".join(f"{float(n):g}" for n in numbers)


# --- 2.1: the size of the noise -----------------------------------------------------------------------------


def noise_size(alpha_t, alpha_s, eta):
    """The fresh noise of a step (2.6), from alpha at both its ends."""
    left = (1 - alpha_s**2) / (1 - alpha_t**2)
    return eta * (left * (1 - alpha_t**2 / alpha_s**2)) ** 0.5


def _probe_noise_size(answer, seed):
    alpha_t, alpha_s = uniform(seed, 0.1, 0.5), uniform(seed, 0.6, 0.95, stream=1)
    return {
        "noise at eta = 1": answer(alpha_t, alpha_s, 1.0),
        "noise at eta = 0.5": answer(alpha_t, alpha_s, 0.5),
        "noise at eta = 0": answer(alpha_t, alpha_s, 0.0),
        "noise of a step to clean data": answer(alpha_t, 1.0, 1.0),
    }


NOISE_SIZE = Task(
    id="2.1",
    title="How much noise does η stand for?",
    kind="implement-equation",
    difficulty=1,
    minutes=8,
    points=2,
    ids=("T03", "P01", "BT2", "BP1"),
    probe=_probe_noise_size,
    reference=noise_size,
    mistakes=(
        Mistake(
            lambda a, b, eta: eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5,
            "You put alpha where the equation has DDPM's alpha-bar. The function is given alpha, the signal "
            "level: how is alpha-bar made from it?",
        ),
        Mistake(
            lambda a, b, eta: eta * (1 - b**2) / (1 - a**2) * (1 - a**2 / b**2),
            "At eta = 1 this is the posterior's variance. A step multiplies z by its standard deviation: "
            "what is missing?",
        ),
        Mistake(
            lambda a, b, eta: (eta * (1 - b**2) / (1 - a**2) * (1 - a**2 / b**2)) ** 0.5,
            "Both ends, eta = 0 and eta = 1, are right, and the middle is not. Does eta scale the standard "
            "deviation, or the variance under the root?",
        ),
        Mistake(
            lambda a, b, eta: eta * (1 - a**2 / b**2) ** 0.5,
            "At eta = 1 this is the deviation of the forward step from s to t, Ho's larger choice. The "
            "posterior knows x_0 as well, so it is narrower: which factor says so?",
        ),
        Mistake(
            lambda a, b, eta: eta * ((1 - a**2) / (1 - b**2 + 1e-300) * (1 - a**2 / b**2)) ** 0.5,
            "The noise grows without bound as the step ends closer to clean data. Of the two levels t and "
            "s, which one stands above the line in the first fraction?",
        ),
        Mistake(
            lambda a, b, eta: eta * (1 - b**2) ** 0.5,
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
)

# --- 2.2: one step, three terms -----------------------------------------------------------------------------


def ddim_terms(x, eps, alpha_t, sigma_t, alpha_s, sigma_s, noise, z):
    """The three terms of (2.5): predicted x_0, direction, fresh noise."""
    x0 = (x - sigma_t * eps) / alpha_t
    return alpha_s * x0, (sigma_s**2 - noise**2) ** 0.5 * eps, noise * z


def _probe_terms(answer, seed):
    x, eps, z = normal(seed, 1, 3), normal(seed, 1, 3, stream=1), normal(seed, 1, 3, stream=2)
    noise = uniform(seed, 0.1, 0.3)
    terms = answer(x, eps, 0.6, 0.8, 0.9, 0.19**0.5, noise, z)
    if not isinstance(terms, (tuple, list)) or len(terms) != 3:
        raise Remark("Three tensors are wanted, the three terms one by one: return data, direction, noise.")
    still = answer(x, eps, 0.6, 0.8, 0.9, 0.19**0.5, 0.0, z)
    return {
        "data term": terms[0],
        "direction term": terms[1],
        "noise term": terms[2],
        "the sum of the three, noise = 0": sum(still),
    }


def _terms(data=None, direction=None, noisy=None):
    """ddim_terms with one of its terms replaced; each is a function of all the arguments."""

    def wrong(*args):
        right = ddim_terms(*args)
        return tuple(other(*args) if other else term for other, term in zip((data, direction, noisy), right))

    return wrong


STEP = Task(
    id="2.2",
    title="One step, three terms",
    kind="implement-equation",
    difficulty=1,
    minutes=10,
    points=2,
    ids=("T03", "I04", "S16", "BI3", "BI9", "BS16"),
    probe=_probe_terms,
    reference=ddim_terms,
    mistakes=(
        Mistake(
            _terms(data=lambda x, e, at, st, as_, ss, c, z: (x - st * e) / at / as_),
            "You divide the predicted data by alpha_s. As s goes to pure noise that grows without bound: "
            "how strongly should clean data be present in x_s?",
        ),
        Mistake(
            _terms(data=lambda x, e, at, st, as_, ss, c, z: as_ / at * (x - st * e) / at),
            "The ratio alpha_s / alpha_t carries x_t to level s. But your x0 has been divided by alpha_t "
            "already: on which level does it live?",
        ),
        Mistake(
            _terms(data=lambda x, e, at, st, as_, ss, c, z: as_ * (x - st * e)),
            "x − sigma_t eps removes the noise and leaves alpha_t x_0. What is still to be done before it "
            "is x_0?",
        ),
        Mistake(
            _terms(data=lambda x, e, at, st, as_, ss, c, z: as_ * e),
            "Your data term uses the network's output as if it were x_0. A network of DDPM's kind predicts "
            "the noise: how do x_t and eps together give x_0?",
        ),
        Mistake(
            _terms(direction=lambda x, e, at, st, as_, ss, c, z: (ss**2 - c**2) ** 0.5 * e / e.norm()),
            "You made eps a unit vector. In d dimensions the norm of eps is about √d: what happens to the "
            "variance of each coordinate of x_s when you divide by it, say at d = 3072?",
        ),
        Mistake(
            _terms(direction=lambda x, e, at, st, as_, ss, c, z: ss * e),
            "At noise = 0 you are right. With noise, the old noise and the fresh one together have variance "
            "sigma_s² + noise². What must it be, if x_s is to have the right marginal?",
        ),
        Mistake(
            _terms(direction=lambda x, e, at, st, as_, ss, c, z: (ss - c) * e),
            "You subtract standard deviations. Which quantity adds up when independent noises are added?",
        ),
        Mistake(
            _terms(direction=lambda x, e, at, st, as_, ss, c, z: (ss**2 - c**2) ** 0.5 * z),
            "Your direction term is made of fresh noise z. Then nothing of x_t's own noise survives the "
            "step, even at noise = 0: which noise points back towards x_t?",
        ),
        Mistake(
            _terms(noisy=lambda x, e, at, st, as_, ss, c, z: c**2 * z),
            "`noise` is a standard deviation already. What is the variance of noise² · z?",
        ),
        Mistake(
            _terms(direction=lambda x, e, at, st, as_, ss, c, z: (ss - c) ** 0.5 * e),
            "Under your root stand standard deviations. A root turns a variance into a deviation: which two "
            "variances belong under it?",
        ),
        Mistake(
            _terms(data=lambda x, e, at, st, as_, ss, c, z: (x - st * e) / at),
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
)

# --- 2.3: a sub-sequence ------------------------------------------------------------------------------------


def subsequence(T, steps):
    """steps + 1 table indices from T down to 0, as even as rounding allows."""
    return np.round(np.linspace(T, 0, steps + 1)).astype(int).tolist()


def ddim_sample(predict, alpha_bar, x, grid):
    """DDIM at eta = 0 along grid, a falling list of table indices."""
    for now, then in zip(grid, grid[1:]):
        eps = predict(x, now)
        x0 = (x - (1 - alpha_bar[now]) ** 0.5 * eps) / alpha_bar[now] ** 0.5
        x = alpha_bar[then] ** 0.5 * x0 + (1 - alpha_bar[then]) ** 0.5 * eps
    return x


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
    x = normal(seed, 3, 1)
    x_0 = answer.ddim_sample(_gaussian_eps(alpha_bar, asked), alpha_bar, x, [100, 75, 50, 25, 0])
    return {
        "subsequence(100, 4)": even,
        "subsequence(1000, 30): start, end": uneven[[0, -1]],
        "subsequence(1000, 30): narrowest, widest gap": [gaps.min(), gaps.max()],
        f"subsequence({T}, 31): start, end": other[[0, -1]],
        f"subsequence({T}, 31): narrowest, widest gap": [other_gaps.min(), other_gaps.max()],
        "steps n at which the network is asked": _listed(asked),
        "x_0 after 4 steps": x_0,
    }


def _loop(pairs, step):
    """A sampler from its list of (now, then) and its step (x, eps, a_now, a_then) -> x."""

    def wrong(predict, alpha_bar, x, grid):
        for now, then in pairs(grid):
            x = step(x, predict(x, now), alpha_bar[now], alpha_bar[then])
        return x

    return wrong


def _neighbours(grid):
    return list(zip(grid, grid[1:]))


def _step(x, eps, a, b):
    return (b / a) ** 0.5 * (x - (1 - a) ** 0.5 * eps) + (1 - b) ** 0.5 * eps


def _frozen(predict, alpha_bar, x_T, grid):
    for now, then in _neighbours(grid):
        x = _step(x_T, predict(x_T, now), alpha_bar[now], alpha_bar[then])
    return x


def _asks_later(predict, alpha_bar, x, grid):
    for now, then in _neighbours(grid):
        x = _step(x, predict(x, then), alpha_bar[now], alpha_bar[then])
    return x


SUBSEQUENCE = Task(
    id="2.3",
    title="Fifty steps out of a thousand",
    kind="implement-sampler",
    difficulty=2,
    minutes=20,
    points=4,
    ids=("T04", "S11", "BT3", "BI6", "BI8"),
    names=("subsequence", "ddim_sample"),
    probe=_probe_subsequence,
    reference={"subsequence": subsequence, "ddim_sample": ddim_sample},
    decimals=4,
    mistakes=(
        Mistake(
            {"subsequence": lambda T, steps: subsequence(T, steps)[::-1]},
            "Your sub-sequence climbs from 0 to T: it would walk from clean data into noise. Where does "
            "sampling start?",
        ),
        Mistake(
            {"subsequence": lambda T, steps: list(range(steps, -1, -1))},
            "You took the first entries of the table, so the start is not T. How much noise does x have at "
            "n = steps, and how much have you put into it?",
        ),
        Mistake(
            {"subsequence": lambda T, steps: subsequence(T, steps)[:-1]},
            "Your sub-sequence stops one stride above 0, where there is still noise in x. What is the last "
            "step's target?",
        ),
        Mistake(
            {"subsequence": lambda T, steps: subsequence(T, steps)[1:]},
            "Your sub-sequence starts one stride below T. The sampler is fed pure noise: at which n is that "
            "what the network expects?",
        ),
        Mistake(
            {"subsequence": lambda T, steps: subsequence(T - 1, steps)},
            "You start at T − 1, as with arrays that count from 0. Here alpha_bar has T + 1 entries and "
            "entry 0 is clean data: where is the last one?",
        ),
        Mistake(
            {"subsequence": lambda T, steps: subsequence(T, steps - 1)},
            "The number of entries equals the number of steps. How many posts does a fence with 4 gaps have?",
        ),
        Mistake(
            {"subsequence": lambda T, steps: list(range(T, T - steps * (T // steps), -(T // steps))) + [0]},
            "Your stride is T divided by steps, rounded down, and what is left over falls into the last "
            "step. With 30 steps out of 1000, how wide is that one?",
        ),
        Mistake(
            {"ddim_sample": _loop(lambda grid: [(n, n - 1) for n in grid[:-1]], _step)},
            "The network is asked at the right places, but each step goes only to n − 1, the neighbour in "
            "the table. At which n is x when the network is asked next?",
        ),
        Mistake(
            {"ddim_sample": _loop(lambda grid: _neighbours(grid)[:-1], _step)},
            "The last step is missing: your loop ends at the last n above 0. Which pair of the grid is "
            "never visited?",
        ),
        Mistake(
            {"ddim_sample": _frozen},
            "Every step of yours starts from the same x_T, so the work of all steps but the last is thrown "
            "away. What should the second step start from?",
        ),
        Mistake(
            {"ddim_sample": _asks_later},
            "You ask the network at the time where the step ends. The x that you show it still has the "
            "noise of which time?",
        ),
        Mistake(
            {
                "ddim_sample": _loop(
                    _neighbours, lambda x, eps, a, b: b / a * (x - (1 - a) * eps) + (1 - b) * eps
                )
            },
            "You use alpha-bar and 1 − alpha-bar as factors. In x_t = … x_0 + … eps, are they levels or "
            "squares of levels?",
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
)

# --- 2.4: find the bug, the tutorial's listing --------------------------------------------------------------


def _walker(
    order=lambda times: times[::-1],
    data=lambda a, b: b**0.5,
    spread=lambda a, b, eta: eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5,
    pairs=_neighbours,
):
    """The walk of task 2.4 from its parts: order of the times, factor of x_0, size of the noise."""

    def walk(predict, alpha_bar, x, steps, eta=0.0, noises=None):
        times = order(torch.linspace(0, len(alpha_bar) - 1, steps + 1).round().long().tolist())
        for i, (now, then) in enumerate(pairs(times)):
            a, b = alpha_bar[now], alpha_bar[then]
            eps = predict(x, now)
            x0 = (x - (1 - a) ** 0.5 * eps) / a**0.5
            c = spread(a, b, eta)
            x = data(a, b) * x0 + (1 - b - c**2) ** 0.5 * eps
            if noises is not None:
                x = x + c * noises[i]
        return x

    return walk


def _up(times):
    return times


def _ratio(a, b):
    return (b / a) ** 0.5


def _unguarded(a, b, eta):
    return eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5


def _guarded(a, b, eta):
    return _unguarded(a, b, eta) if eta > 0 else torch.zeros(())


def _clamped(a, b, eta):
    return eta * ((1 - b) / (1 - a) * (1 - a / b)).clamp(min=0) ** 0.5


def _probe_walk(answer, seed):
    alpha_bar, x = _table(1000), normal(seed, 3, 1)
    predict = _gaussian_eps(alpha_bar)
    return {
        "gain x_0 / x_T, 50 steps, eta = 0": (answer(predict, alpha_bar, x, 50) / x)[0, 0],
        "gain x_0 / x_T, 10 steps, eta = 0": (answer(predict, alpha_bar, x, 10) / x)[0, 0],
        "x_0, 10 steps, eta = 1, given noises": answer(
            predict, alpha_bar, x, 10, eta=1.0, noises=normal(seed, 10, 3, 1, stream=1)
        ),
    }


WALK = Task(
    id="2.4",
    title="Find the bug: a walk that ends in NaN",
    kind="find-the-bug",
    difficulty=2,
    minutes=20,
    points=4,
    ids=("P02", "BP2", "BP3", "BP4"),
    probe=_probe_walk,
    reference=_walker(),
    decimals=4,
    mistakes=(
        Mistake(
            _walker(order=_up, data=_ratio),
            "It returns NaN, even at eta = 0, as the listing does that was given, and so it does if only the "
            "factor in front of x0 has been mended. Where does a root get a negative number? "
            "Look at the first step: which of its two times is the noisier one?",
            as_given=True,
        ),
        Mistake(
            _walker(data=_ratio),
            "It is finite now, and the times run the right way. But the gain is several times too large: "
            "print x0 in the last step and what comes out of that step. By what is x0 multiplied, and at "
            "which level does x0 live?",
        ),
        Mistake(
            _walker(order=_up, data=_ratio, spread=_guarded),
            "You silenced the NaN at eta = 0, and what remains is a gain of the wrong size, and NaN at eta "
            "= 1. A negative variance was a symptom: of what, about the two times of a step?",
        ),
        Mistake(
            _walker(order=_up, spread=_guarded),
            "The factor of x0 is right, and at eta = 0 the NaN is gone; but your last step arrives at n = "
            "T, where x is all noise again. In which direction should the loop walk?",
        ),
        Mistake(
            _walker(order=_up, data=_ratio, spread=_clamped),
            "Cutting the radicand off at 0 hides the sign that was trying to tell you something: the result "
            "is finite, and far too large. Which order of the times makes that variance positive by itself?",
        ),
        Mistake(
            _walker(order=_up, pairs=lambda times: [(t, s) for s, t in _neighbours(times)]),
            "Each step goes down now, but the steps come in the wrong order: the first one goes from n = 20 "
            "to 0, with x_T in hand. Which step must come first?",
        ),
        Mistake(
            _walker(data=lambda a, b: b),
            "Nearly: x0 is multiplied by alpha-bar at the new time. Is alpha-bar the signal level, or its "
            "square?",
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
)

# --- 2.5: find the bug, the introduction's listing ----------------------------------------------------------


def _posterior_mean(alpha_bar, asked=None):
    """denoise(x, n): E[x_0 | x_n] for data N(0, 1/4)."""

    def denoise(x, n):
        if asked is not None:
            asked.append(int(n))
        return 0.25 * alpha_bar[n] ** 0.5 * x / (1 - 0.75 * alpha_bar[n])

    return denoise


def _strided_pairs(T, steps):
    return _neighbours(subsequence(T, steps))


def _first_entries(T, steps):
    return [(n, n - 1) for n in range(steps, 0, -1)]


def _old_noise(x, x_T, x0, a):
    return (x - a**0.5 * x0) / (1 - a) ** 0.5


def _fresh(x, x_T, x0, a):
    return torch.randn_like(x)


def _short(pairs=_strided_pairs, noise=_old_noise, moves=True, seen=None):
    """The sampler of task 2.5 from its parts: which (now, then), whose noise, whether x moves on."""

    def short(denoise, betas, x_T, steps):
        alpha_bar = torch.cat([torch.ones(1, dtype=betas.dtype), torch.cumprod(1 - betas, 0)])
        x = x_T
        for now, then in pairs(len(betas), steps):
            at = x if moves else x_T
            x0 = denoise(at, now)
            eps = noise(at, x_T, x0, alpha_bar[now])
            x = alpha_bar[then] ** 0.5 * x0 + (1 - alpha_bar[then]) ** 0.5 * eps
        return x

    return short


def _probe_short(answer, seed):
    alpha_bar, x = _table(100), normal(seed, 3, 1)
    betas, asked = torch.from_numpy(Discrete.linear(100).betas), []
    all_steps = answer(_posterior_mean(alpha_bar), betas, x, 100)
    ten = answer(_posterior_mean(alpha_bar, asked), betas, x, 10)
    return {
        "x_0, all 100 steps": all_steps,
        "x_0, 10 of 100 steps": ten,
        "n asked for, 10 of 100 steps": _listed(asked),
    }


SHORT = Task(
    id="2.5",
    title="Find the bug: a loop that forgets",
    kind="find-the-bug",
    difficulty=2,
    minutes=25,
    points=4,
    ids=("I05", "E2", "BI6", "BI7", "BI8", "BI10"),
    probe=_probe_short,
    reference=_short(),
    decimals=4,
    mistakes=(
        Mistake(
            _short(pairs=_first_entries, noise=_fresh, moves=False),
            "What comes out is still exactly denoise(x_T, 1), as in the listing that was given: all other "
            "calls are wasted. Follow one variable through the loop: what does the second call of denoise "
            "see?",
            as_given=True,
        ),
        Mistake(
            _short(pairs=_first_entries, noise=_fresh),
            "x moves now. But the output changes from run to run, and its variance is half of what it "
            "should be: whose noise belongs into x at the next level, a new draw or the one that is in x?",
        ),
        Mistake(
            _short(noise=_fresh),
            "x moves, and the steps are spread over the table. What is random in a deterministic sampler? "
            "Find the noise that x holds already.",
        ),
        Mistake(
            _short(pairs=_first_entries),
            "With all the steps you are right. With 10 of 100 the first call asks for n = 10, where hardly "
            "any noise is left, and shows it x_T, which is nothing else: over which n should 10 steps be "
            "spread?",
        ),
        Mistake(
            _short(moves=False),
            "The noise is taken from x_T and the steps are spread, but denoise still sees x_T every time. "
            "Which name should be overwritten at the end of a step?",
        ),
        Mistake(
            _short(pairs=lambda T, steps: [(n, n - 1) for n in subsequence(T, steps)[:-1]]),
            "The network is asked at n = 100, 90, 80, …, and each step removes the noise of one n only. To "
            "which level must the step from 100 go, if 90 comes next?",
        ),
        Mistake(
            _short(noise=lambda x, x_T, x0, a: (x_T - a**0.5 * x0) / (1 - a) ** 0.5),
            "You work the noise out from x_T at every step. At the first step that is right: which x and "
            "which x0 belong together at the second?",
        ),
        Mistake(
            _short(noise=lambda x, x_T, x0, a: torch.zeros_like(x)),
            "You removed the second term altogether. Then x_s has less noise than level s should have, and "
            "the network is shown what it was never trained on: the variance of your output is far below "
            "0.25. What takes the place of the fresh draw?",
        ),
        Mistake(
            _short(noise=lambda x, x_T, x0, a: (x - x0) / (1 - a) ** 0.5),
            "Nearly: x0 is subtracted from x as it is. How strongly is x0 present in x at level n?",
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
    reference={
        "slope": "sqrt(s_s**2 - c**2)/a_s - s_t/a_t",
        "eta_max": "s_t/sqrt(s_t**2 - a_t**2*s_s**2/a_s**2)",
    },
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


@lru_cache(maxsize=256)
def _path(eta, start, seed):
    """(t, x) of 25 steps on two modes, eta = 1 by ddpm, eta = 0 by ddim; kept: a check draws it often."""
    model = Mixture([1, 1], [[-1.0], [1.0]], [0.2, 0.2]).model(Discrete.linear(1000))
    noise = torch.full((1, 1), start, dtype=torch.float64)
    times = grids.strided(model.schedule, 25)
    run = sample(ddpm if eta else ddim, model, noise, times, seed=seed, keep_path=True)
    return np.array(run.times), run.path[:, 0, 0].numpy()


def _bundles(
    etas=(("DDPM", 1.0), ("DDIM", 0.0)),
    start_of=lambda start, i: start,
    seed_of=lambda seed: seed,
    labelled=True,
    turned=False,
    axes=True,
):
    """The drawing of task 2.7 with what may go wrong in it."""

    def bundles(start, seeds):
        ax = Figure(figsize=(6, 3.6)).add_subplot()
        for i, seed in enumerate(seeds):
            for (name, eta), colour in zip(etas, ("C1", "C0")):
                t, x = _path(eta, start_of(start, i), seed_of(seed))
                label = name if labelled else None
                ax.plot(*((t[::-1], x[::-1]) if turned else (t, x)), color=colour, lw=1, label=label)
        ax.invert_xaxis()
        if axes:
            ax.set(xlabel="time t", ylabel="x")
        return ax

    return bundles


def _probe_bundles(answer, seed):
    start = uniform(seed, -0.3, 0.3)
    ax = answer(start, [3, 4, 5, 6])
    seen = read_axes(ax)
    if not hasattr(ax, "get_lines"):
        raise Remark("Return the Axes itself, the ax that you drew in, rather than its figure.")
    lines = {"DDPM": [], "DDIM": []}
    for line in ax.get_lines():
        if line.get_label() in lines:
            lines[line.get_label()].append(np.asarray(line.get_ydata(), float).ravel())
    values = {f"{name} lines": str(len(found)) for name, found in lines.items()}
    short = [name for name, found in lines.items() if any(len(y) < 10 for y in found)]
    if short:
        raise Remark(f"A {short[0]} line has fewer than 10 points: draw the whole path, state by state.")
    for name, found in lines.items():
        begins = bool(found) and all(abs(y[0] - start) < 1e-6 for y in found)
        values[f"every {name} line begins at the start"] = "yes" if begins else "no"
    ends = {name: np.array([y[-1] for y in found] or [np.nan]) for name, found in lines.items()}
    values["spread of the DDIM ends"] = np.ptp(ends["DDIM"])
    values["the DDPM ends differ"] = "yes" if np.ptp(ends["DDPM"]) > 1e-3 else "no"
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
    reference=_bundles(),
    decimals=3,
    asks={
        "DDPM lines": "How many lines carry the label 'DDPM'? One run for each seed is wanted, each "
        "line with its sampler's name as label.",
        "DDIM lines": "How many lines carry the label 'DDIM'? One run for each seed is wanted, each "
        "line with its sampler's name as label.",
    },
    mistakes=(
        Mistake(
            _bundles(start_of=lambda start, i: start + 0.1 * i),
            "Your lines begin at different places. To see what the sampler itself adds, what must be the "
            "same for all runs?",
        ),
        Mistake(
            _bundles(seed_of=lambda seed: 0),
            "All DDPM lines lie on top of each other. They share the start, as they should: do they also "
            "share the noise?",
        ),
        Mistake(
            _bundles(etas=(("DDPM", 1.0), ("DDIM", 1.0))),
            "The lines labelled DDIM end in different places although they start in one. Which of the two "
            "samplers draws noise, and did both bundles get that one?",
        ),
        Mistake(
            _bundles(etas=(("DDPM", 0.0), ("DDIM", 1.0))),
            "The bundle called DDIM spreads and the bundle called DDPM does not. Could the labels be "
            "exchanged?",
        ),
        Mistake(
            _bundles(labelled=False),
            "No line has a label, so neither the check nor a reader can tell the samplers apart. Which "
            "argument of ax.plot names a line?",
        ),
        Mistake(
            _bundles(turned=True),
            "Your lines begin at the data and end at the common start. In which order does the sampler "
            "visit its states?",
        ),
        Mistake(
            _bundles(axes=False),
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


@lru_cache(maxsize=64)
def _variance(steps, eta):
    """Exact variance of `steps` even steps on data N(0, 1/4); kept, since every check draws it often."""
    table = Discrete.linear(1000)
    return exact_variance(ddim, table, grids.strided(table, steps), eta=eta)


def _convergence(etas=(0.0, 1.0), xscale="log", yscale="log", xlabel="steps", error=lambda v: abs(v - 0.25)):
    """The drawing of task 2.8 with what may go wrong in it."""

    def convergence(counts):
        ax = Figure(figsize=(6, 3.6)).add_subplot()
        for name, eta in zip(("DDIM", "eta = 1"), etas):
            ax.plot(counts, [error(_variance(n, eta)) for n in counts], "o-", label=name)
        ax.set(xscale=xscale, yscale=yscale, xlabel=xlabel, ylabel="error of the variance")
        ax.legend()
        return ax

    return convergence


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


def _fewest_facts(answer, seed):
    try:
        fewest = int(answer.fewest)
    except (TypeError, ValueError):
        raise Remark("fewest is one whole number: the smallest count of DDIM steps within 5 %.") from None
    return {"fewest steps within 5 %": "right" if fewest == 116 else str(fewest)}


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
    reference={"draw": _convergence(), "fewest": 116},
    tolerance=0.02,
    decimals=2,
    mistakes=(
        Mistake(
            {"draw": _convergence(xscale="linear", yscale="linear")},
            "On these axes an error that halves when the steps double is a curve, like any other. On which "
            "axes is every power law straight?",
        ),
        Mistake(
            {"draw": _convergence(xscale="linear")},
            "Only the vertical axis is logarithmic, and there a power law is still bent. What about the "
            "other axis?",
        ),
        Mistake(
            {"draw": _convergence(error=lambda v: v)},
            "Your lines are almost level: they show the variance itself. What has to be subtracted before a "
            "slope says how fast it converges?",
        ),
        Mistake(
            {"draw": _convergence(error=lambda v: abs(v - 0.5))},
            "Your error does not go to 0. The data have standard deviation 0.5: what is their variance?",
        ),
        Mistake(
            {"draw": _convergence(error=lambda v: (v - 0.25) ** 2)},
            "The slopes are twice as steep as they should be. Did you square the error?",
        ),
        Mistake(
            {"draw": _convergence(etas=(0.0, 0.0))},
            "Both lines are the same, the deterministic sampler. How is eta handed on to ddim?",
        ),
        Mistake(
            {"draw": _convergence(etas=(1.0, 0.0))},
            "The line called DDIM lies above the other. Which eta does each label stand for?",
        ),
        Mistake(
            {"draw": _convergence(xlabel="")},
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


def invert(predict, alpha_bar, x, grid, iterations):
    """DDIM backwards along grid, each step with fixed-point iterations on its equation."""
    for then, now in reversed(list(zip(grid[1:], grid[:-1]))):
        a = (alpha_bar[then] / alpha_bar[now]) ** 0.5
        b = (1 - alpha_bar[then]) ** 0.5 - a * (1 - alpha_bar[now]) ** 0.5
        known = x
        for _ in range(iterations + 1):
            x = (known - b * predict(x, now)) / a
    return x


def _up_step(known, eps, low, high):
    """The exact step up, from `low` to `high`, if eps is the one that the step down has used."""
    a = (low / high) ** 0.5
    return (known - ((1 - low) ** 0.5 - a * (1 - high) ** 0.5) * eps) / a


def _climb(grid):
    return [(low, high) for high, low in _neighbours(grid)][::-1]


def _inverter(climb=_climb, guess=None, asks=None, known=None, extra=1):
    """`invert` with one thing changed: the pairs, a round's guess, the time asked at, what is known."""

    def wrong(predict, alpha_bar, x, grid, iterations):
        for low, high in climb(grid):
            fixed = x
            for _ in range(max(iterations + extra, 0)):
                eps = predict(guess(x, fixed) if guess else x, asks(low, high) if asks else high)
                x = _up_step(known(x, fixed) if known else fixed, eps, alpha_bar[low], alpha_bar[high])
        return x

    return wrong


def _two_modes(alpha_bar):
    """predict(x, n): the exact noise for two equal modes at -1 and 1, each of standard deviation 0.3."""
    squares = alpha_bar.tolist()

    def predict(x, n):
        alpha, variance = squares[n] ** 0.5, 1 - 0.91 * squares[n]
        return (1 - squares[n]) ** 0.5 * (x - alpha * torch.tanh(alpha * x / variance)) / variance

    return predict


def _decoded(predict, alpha_bar, z, grid):
    """Where Euler's method in the noise level leads from z: DDIM, for x over the root of alpha-bar."""
    level = ((1 - alpha_bar) / alpha_bar).sqrt()
    y = z / alpha_bar[grid[0]].sqrt()
    for now, then in zip(grid, grid[1:]):
        y = y + (level[then] - level[now]) * predict(alpha_bar[now].sqrt() * y, now)
    return y * alpha_bar[grid[-1]].sqrt()


def _probe_invert(answer, seed):
    alpha_bar = _table(100)
    predict = _two_modes(alpha_bar)
    modes = torch.tensor([[-1.0], [1.0], [1.0]], dtype=torch.float64)
    x, grid = modes + 0.2 * normal(seed, 3, 1).clamp(-1.5, 1.5), list(range(100, -1, -5))
    z = answer(predict, alpha_bar, x, grid, 30)
    back = _decoded(predict, alpha_bar, z, grid)
    return {
        "code, 0 iterations": answer(predict, alpha_bar, x, grid, 0),
        "code, 2 iterations": answer(predict, alpha_bar, x, grid, 2),
        "code, 30 iterations": z,
        "round trip below 1e-8, 30 iterations": "yes" if float((back - x).abs().max()) < 1e-8 else "no",
    }


INVERT = Task(
    id="2.9",
    title="Back into the noise, exactly",
    kind="implement-sampler",
    difficulty=3,
    minutes=25,
    points=5,
    ids=("T06", "T60", "T12", "BT8", "BT16"),
    probe=_probe_invert,
    reference=invert,
    decimals=5,
    mistakes=(
        Mistake(
            _inverter(asks=lambda low, high: low),
            "You ask the network at the time where the climb starts. The step down, which you undo, asked "
            "at its own start: is that the lower or the upper end of the pair?",
        ),
        Mistake(
            _inverter(known=lambda x, fixed: x),
            "Each of your iterations climbs on from the last one, so that one step is made several times "
            "over. What stays fixed in the equation while x_t is improved?",
        ),
        Mistake(
            _inverter(guess=lambda x, fixed: fixed),
            "More iterations change nothing in your answer: the network is shown x_s again each time. Which "
            "x should it see once there is a better one?",
        ),
        Mistake(
            _inverter(extra=0),
            "You make one round too few: with iterations = 0 nothing happens at all. The first evaluation, "
            "at x_s, does not count as an iteration.",
        ),
        Mistake(
            _inverter(climb=lambda grid: _climb(grid)[::-1]),
            "Your first step ends at T already: the pairs come in the order of decoding. Where does an "
            "encoder begin?",
        ),
        Mistake(
            _inverter(climb=lambda grid: _climb(grid)[:-1]),
            "The last step of the climb is missing, the one that reaches T. Which pair of the grid is never "
            "used?",
        ),
        Mistake(
            lambda predict, alpha_bar, x, grid, iterations: ddim_sample(predict, alpha_bar, x, grid),
            "This decodes: it takes x for noise and walks down. Encoding starts at the data; which way does "
            "it go through the grid?",
        ),
        Mistake(
            lambda predict, alpha_bar, x, grid, iterations: (
                alpha_bar[grid[0]] ** 0.5 * x + (1 - alpha_bar[grid[0]]) ** 0.5 * predict(x, grid[0])
            ),
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
    values = {"verdict": "right" if verdict == "fails" else verdict}
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
    reference={"verdict": "fails", **{name: right for name, (_, right) in _MEANS.items()}},
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

TASKS = (NOISE_SIZE, STEP, SUBSEQUENCE, WALK, SHORT, EULER, BUNDLES, CONVERGENCE, INVERT, CLAIM)
