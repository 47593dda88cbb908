"""The tasks of lesson 01: forward process, posterior, ancestral sampling, the bound and its weights."""

import math
from functools import lru_cache

import numpy as np
import torch

from book.ch01 import solution
from book.lessons import (
    Made,
    Mistake,
    Remark,
    Task,
    Variation,
    changed,
    error_lines,
    expression_probe,
    normal,
    number_facts,
    read_axes,
    uniform,
)
from toolkit import VE, VP, Discrete, Mixture, Network, exact_variance, initial_noise, sample
from toolkit.ddpm import ddpm
from toolkit.grids import strided

LINEAR = Discrete.linear()

# --- 1.1: one jump, from a table of betas -------------------------------------------------------------------


_NOISE_BY_SIGNAL = (" + (1 - row).sqrt() * noise", " + row.sqrt() * noise")


def _one_noise_for_all(x0, n, noise, betas):
    """A walk step by step, each step with the same noise."""
    x = x0.clone()
    for step, beta in enumerate(betas, 1):
        x = torch.where((step <= n)[:, None], (1 - beta).sqrt() * x + beta.sqrt() * noise, x)
    return x


def _probe_jump(answer, seed):
    """The jump at steps in between, and at both ends of the table."""
    betas = torch.tensor([uniform(seed, 0.05, 0.3, stream=k) for k in range(6)], dtype=torch.float64)
    x0, noise, n = 12 + normal(seed, 3, 3), normal(seed, 3, 3, stream=1), torch.tensor([2, 4, 5])
    ones, zeros = torch.ones(3, 1, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)
    signal, spread = (torch.as_tensor(answer(*pair, betas)) for pair in ((ones, n, zeros), (zeros, n, ones)))
    return {
        "variance of x_n, x_0 of variance 1": signal**2 + spread**2,
        "x_n for n = 2, 4, 5": answer(x0, n, noise, betas),
        "x_n for n = 0": answer(x0[:1], torch.tensor([0]), noise[:1], betas),
        "x_n for n = T": answer(x0[:1], torch.tensor([6]), noise[:1], betas),
    }


JUMP = Task(
    id="1.1",
    title="One jump, from a table",
    kind="implement-equation",
    difficulty=1,
    minutes=10,
    points=2,
    gives_away=("toolkit.schedules.Discrete",),
    ids=("S02", "S07", "I02", "C01", "BS8", "BS5"),
    probe=_probe_jump,
    reference=solution.jump,
    mistakes=(
        Mistake(
            changed(solution.jump, ("row.sqrt() * x0", "row * x0")),
            "x_0 is multiplied by the product itself. For data of variance 1, what would the variance of "
            "x_n then be, and what should it be? (Some authors write ᾱ for the root of this product: "
            "which of the two is the product of the table?)",
        ),
        Mistake(
            changed(solution.jump, ("(1 - row).sqrt()", "(1 - row)")),
            "1 - ᾱ_n is the variance of the noise. By what is a standard normal variable multiplied to "
            "have that variance?",
        ),
        Mistake(
            changed(solution.jump, ("alpha_bar[n]", "(1 - betas)[n - 1]")),
            "Only the last beta, β_n, is used here: that is the step from x_{n-1} to x_n. What has "
            "happened to the signal in the n - 1 steps before?",
        ),
        Mistake(
            changed(solution.jump, ("alpha_bar[n]", "products[n]")),
            "The products of the table number T, counted from 0, while n runs from 0 to T. At which "
            "position does the product of n factors stand, and what is the product of none?",
        ),
        Mistake(
            changed(solution.jump, ("alpha_bar[n]", "products[n - 1]")),
            "All is well except at n = 0, where position n - 1 is the last one of the table: Python "
            "counts from the end. How much noise should x_0 itself carry?",
        ),
        Mistake(
            changed(solution.jump, ("[:, None]", "")),
            "Each row has its own n, and yet your factors change from column to column. Against which "
            "axis does a tensor of shape (B,) line up when it meets one of shape (B, d)?",
        ),
        Mistake(
            changed(solution.jump, ("torch.cumprod(1 - betas, 0)", "1 - torch.cumsum(betas, 0)")),
            "You add the betas up. That is close while they are tiny: what is (1 - β_1)(1 - β_2), "
            "multiplied out?",
        ),
        Mistake(
            changed(solution.jump, ("row.sqrt() * x0", "(1 - row).sqrt() * x0"), _NOISE_BY_SIGNAL),
            "Two factors have changed places. Of x_0 and of the noise, which one is left alone when n is 0?",
        ),
        Mistake(
            changed(solution.jump, ("(1 - row).sqrt()", "betas[n - 1][:, None].sqrt()")),
            "The signal is that of n steps, and the noise is that of the last one alone, √β_n. What became "
            "of the noise of the n - 1 steps before?",
        ),
        Mistake(
            changed(solution.jump, ("[n][:, None]", "[n][:, None].sqrt()")),
            "The root is taken twice: once of ᾱ_n, and again of what came out. Is your `row` the product, "
            "or the factor of x_0 already?",
        ),
        Mistake(
            changed(solution.jump, ("(1 - row).sqrt()", "(1 - row.sqrt())")),
            "Your noise is multiplied by 1 - √ᾱ_n. It is the variances of signal and noise that add up to "
            "1: which root is it, then, and of what?",
        ),
        Mistake(
            changed(solution.jump, ("torch.cumprod(1 - betas, 0)", "1 - torch.cumprod(betas, 0)")),
            "You multiply the betas, and take that from 1. What one step leaves of the signal's variance is "
            "1 - β: of which numbers is the product then?",
        ),
        Mistake(
            changed(solution.jump, ("torch.cumprod(1 - betas, 0)", "torch.cumprod(betas, 0)")),
            "This is the product of the betas, which is nearly 0 after two steps. What does one step leave "
            "of the signal's variance: β, or 1 - β?",
        ),
        Mistake(
            _one_noise_for_all,
            "You walk the n steps one by one and give each the same noise. The jump's formula holds for "
            "independent noises, whose variances add up: what adds up in your walk?",
        ),
    ),
    hints=(
        "One step multiplies the signal by √(1 - β). What do n steps in a row multiply it by?",
        "The variances form a running product, n of whose factors go into ᾱ_n: so the list has T + 1 "
        "entries, and the first of them, for n = 0, is the product of no factors.",
        "Put a 1 in front of the running product of 1 - β, look it up at n, and give the result a second "
        "axis of length 1, so that it goes with the rows. The root of it scales the signal, the root of "
        "what is left to 1 scales the noise.",
    ),
    asks={
        "variance of x_n, x_0 of variance 1": "For x_0 and a noise of variance 1 each, your x_n has variance "
        "{value}, and should keep 1: which squares of your two factors have to add up to 1?",
        "x_n for n = 2, 4, 5": "The squares of your two factors add up to 1, as they should. Is each of them "
        "at its place, and made of the n factors 1 - β_1 … 1 - β_n?",
        "x_n for n = 0": "At n = 0 no step has been taken yet: what should come out, whatever the noise?",
        "x_n for n = T": "At n = T all T betas have acted. Which entry of your table is looked up there?",
    },
)

# --- 1.2: the posterior for any two times -------------------------------------------------------------------

_C_0 = "alpha_s * beta / sigma_t**2"
_C_T = "ratio * sigma_s**2 / sigma_t**2"
_TILDE = "beta * sigma_s**2 / sigma_t**2"


def _probe_posterior(answer, seed):
    """The three numbers under a variance-preserving and a variance-exploding schedule."""
    s, t = uniform(seed, 0.1, 0.4), uniform(seed, 0.5, 0.8, stream=1)
    values = {}
    for name, schedule in (("VP", VP()), ("VE", VE(sigma_max=5.0))):
        try:
            result = answer(schedule.alpha(t), schedule.sigma(t), schedule.alpha(s), schedule.sigma(s))
        except ZeroDivisionError:
            question = "where does 1 - α² stand for σ²?"
            raise Remark(f"Under {name} your function divides by 0: {question}") from None
        if not hasattr(result, "__len__") or len(result) != 3:
            raise Remark("The function returns three numbers: c_0, c_t and the variance.")
        c_0, c_t, variance = map(float, result)
        mean, spread = c_0 + c_t * schedule.alpha(t), (c_t * schedule.sigma(t)) ** 2 + variance
        values |= {
            f"{name}: signal in x_s, over α_s": mean / schedule.alpha(s),
            f"{name}: variance of x_s given x_0, over σ_s²": spread / schedule.sigma(s) ** 2,
            **{f"{name}: {what}": part for what, part in zip(("c_0", "c_t", "variance"), result)},
        }
    try:
        values["at sigma_s = 0: all three"] = answer(0.6, 0.8, 1.0, 0.0)
    except ZeroDivisionError:
        raise Remark(
            "At σ_s = 0 your function divides by 0: what do you get when you multiply 1/σ_s² out?"
        ) from None
    return values


POSTERIOR = Task(
    id="1.2",
    title="The posterior between any two times",
    kind="implement-equation",
    difficulty=2,
    minutes=15,
    points=3,
    ids=("S08", "C02", "BP28", "BS9"),
    probe=_probe_posterior,
    reference=solution.posterior,
    mistakes=(
        Mistake(
            changed(solution.posterior, (_TILDE, "beta")),
            "Your variance is that of the transition q(x_t | x_s). Here x_0 is known as well: can "
            "knowing more leave as much uncertainty?",
        ),
        Mistake(
            changed(solution.posterior, ("sigma_t**2 - ratio**2 * sigma_s**2", "1 - ratio**2")),
            "Under VP this is right; VE has α = 1 at all times, and there your transition has no noise "
            "at all. Which step assumed that α² + σ² = 1?",
        ),
        Mistake(
            changed(solution.posterior, ("ratio**2 * sigma_s**2", "sigma_s**2")),
            "On the way from s to t the noise that was there at s shrinks together with the signal. How "
            "much of its variance σ_s² arrives at t?",
        ),
        Mistake(
            changed(solution.posterior, ("return c_0, c_t", "return c_t, c_0")),
            "Look at s → 0, where x_s is x_0 itself: which of your two coefficients should then vanish?",
        ),
        Mistake(
            changed(solution.posterior, (_TILDE, f"({_TILDE}) ** 0.5")),
            "The means are right. You return a standard deviation where the exercise asks for the "
            "variance: which line takes the root?",
        ),
        Mistake(
            changed(
                solution.posterior,
                (_C_0, "alpha_s * beta / (beta + sigma_s**2)"),
                (_C_T, "ratio * sigma_s**2 / (beta + sigma_s**2)"),
                (_TILDE, "beta * sigma_s**2 / (beta + sigma_s**2)"),
            ),
            "You add the precisions 1/σ_s² and 1/β. But x_t is a look at ratio · x_s, not at x_s: what "
            "does that factor do to the coefficient of x_s² in the exponent?",
        ),
        Mistake(
            changed(
                solution.posterior,
                (_C_0, "alpha_s - alpha_t * sigma_s / sigma_t"),
                (_C_T, "sigma_s / sigma_t"),
            ),
            "These are the coefficients of the deterministic step, which turns all of the noise σ_s "
            "along with x_t. If you also add noise of your variance, what is the total variance of x_s?",
        ),
        Mistake(
            changed(solution.posterior, ("return c_0", "return c_0 / ratio")),
            "c_0 is too large by α_s/α_t: it carries the signal of which time, and of which time should "
            "it be?",
        ),
    ),
    hints=(
        "Bayes: q(x_s | x_t, x_0) is proportional to q(x_t | x_s) q(x_s | x_0). You know both Gaussians.",
        "The transition from s to t multiplies by the ratio of the alphas, and its variance is whatever "
        "is missing: the noise at t, less the part of the noise at s that has arrived there.",
        "Collect the terms in x_s² to get the precision, and those linear in x_s to get the mean. The "
        "precision is that of q(x_s | x_0) plus ratio² times that of the transition, and simplifies to "
        "one fraction whose numerator is σ_t².",
    ),
    asks={
        "VP: signal in x_s, over α_s": "Put x_t = α_t x_0 + σ_t ε into your mean: it then holds {value} "
        "times α_s x_0, and x_s must hold α_s x_0 exactly. Which coefficient is off?",
        "VP: variance of x_s given x_0, over σ_s²": "Draw x_t from q(x_t | x_0), then x_s from your "
        "posterior: given x_0, its variance is {value} times σ_s², and should be σ_s² itself. Does the "
        "noise in c_t x_t weigh too much, or your variance?",
        "VP: c_0": "Your x_s has the right mean and variance given x_0, as a DDIM step has, too. What must "
        "c_t be for x_s and x_t to be the neighbours of one chain, x_t = r x_s + noise?",
        "VE: signal in x_s, over α_s": "VP comes out right. Under VE your mean holds {value} times the "
        "signal α_s x_0: which step has used that α² + σ² = 1?",
        "VE: variance of x_s given x_0, over σ_s²": "VP comes out right. Under VE the variance of x_s given "
        "x_0 is {value} times σ_s²: which step has used that α² + σ² = 1?",
        "VE: c_0": "VP comes out right, and c_0 under VE does not, where α is 1 at all times: which step has "
        "used that α² + σ² = 1?",
        "VE: c_t": "VP comes out right, and c_t under VE does not: does it use the transition's β of VP?",
        "at sigma_s = 0: all three": "At σ_s = 0 the posterior is the point x_0. What should the three be?",
    },
)

# --- 1.3: the coefficient of eps ----------------------------------------------------------------------------

EPS_FORM = Task(
    id="1.3",
    title="The posterior mean, said with ε",
    kind="coefficient",
    difficulty=1,
    minutes=10,
    points=2,
    ids=("S08", "C02", "S05", "BS7"),
    probe=expression_probe("b", r=(0.5, 0.95), sigma_t=(0.6, 1.0), sigma_s=(0.1, 0.5)),
    reference=solution.noise_coefficient,
    decimals=4,
    mistakes=(
        Mistake(
            "(sigma_t**2 - r**2*sigma_s**2)/(r*sigma_t)",
            "The size is right. A step of sampling takes noise away from x_t: which sign does that ask for?",
        ),
        Mistake(
            "-(sigma_t**2 - r**2*sigma_s**2)/(r*sigma_t**2)",
            "This would be the coefficient of σ_t ε (and, up to its sign, the score's is one σ_t further "
            "on). In x_0 = (x_t - σ_t ε)/α_t, what stands before ε itself?",
        ),
        Mistake(
            "-(sigma_t**2 - r**2*sigma_s**2)/sigma_t",
            "A factor 1/r is missing: when x_0 was replaced, by which α did you divide, and which α does "
            "c_0 carry?",
        ),
        Mistake(
            "-(1 - r**2)/(r*sigma_t)",
            "This is the formula of the paper, with β = 1 - r². That β is right only where α² + σ² = 1. "
            "What is the transition's variance in terms of r, σ_t and σ_s, without that?",
        ),
        Mistake(
            "sigma_s - sigma_t/r",
            "This is DDIM's step, which keeps all of the noise σ_s in the direction of ε. The posterior "
            "mean keeps less of it: what is c_t, and what would it be in DDIM?",
        ),
        Mistake(
            "-(sigma_t**2 - sigma_s**2)/(r*sigma_t)",
            "The variance gained from s to t is not σ_t² - σ_s²: by how much has the old noise shrunk on "
            "the way?",
        ),
        Mistake(
            "-sigma_t/r",
            "With this b the mean is x_t/r with all of its noise removed, the prediction of α_s x_0. "
            "Which part of the noise does the posterior mean leave in?",
        ),
    ),
    hints=(
        "Given x_t, whoever knows ε knows x_0, and the other way round. Put one in place of the other.",
        "Write x_0 as x_t less its noise, over α_t, in the mean c_0 x_0 + c_t x_t of task 1.2; then "
        "collect what multiplies ε.",
        "Only the term with c_0 contains ε. Its factor is minus c_0 times σ_t over α_t; α_s and α_t then "
        "appear only as their ratio r.",
    ),
)

# --- 1.4: ancestral sampling --------------------------------------------------------------------------------

_EPS = "model.eps(x, t)"
_X0 = "(x - sigma * model.eps(x, t)) / alpha"
_MEAN = "c_0 * x0 + c_t * x"
_BETA = "beta = sigma**2 - (alpha / alpha_s) ** 2 * sigma_s**2"
_NO_NOISE = ("if sigma_s > 0", "if False")
_ASK_ONCE = ("    for t, s, z", "    eps = model.eps(x, times[0])\n    for t, s, z")
_AND_NOISE = ("x = x + math", "x_s = x_s + math")
_LAST = ("return x", "return x_s")
_ONE_STEP = "posterior(alpha, sigma, schedule.alpha(t - 1 / schedule.T), schedule.sigma(t - 1 / schedule.T))"
_COUNTED = "for k, (t, s, z) in enumerate(zip(times, times[1:], noises))"


def _variance_after(sampler, times, variance="posterior"):
    """The exact variance of x_0 for data N(0, .25), x_T of variance 1: one coordinate a source of noise."""
    sources = torch.eye(len(times), dtype=torch.float64)
    model = Mixture.gaussian(len(times), 0.5).model(LINEAR)
    gains = sampler(model, sources[:1], times, list(sources[1:, None, :]), variance)
    if isinstance(gains, (list, tuple)):
        raise Remark(
            "The sampler returns x at the last time, one tensor; yours returns a list of several things."
        )
    if gains is not None and tuple(gains.shape) != (1, len(times)):
        raise Remark(f"For x of shape (1, {len(times)}) the sampler returns shape {tuple(gains.shape)}.")
    return gains.square().sum()


def _probe_ancestral(answer, seed):
    """Exact variances and means of the answer on Gaussian data, on even and uneven grids."""
    steps = 8 + 3 * seed if seed < 3 else 8 + seed % 30
    times = strided(LINEAR, steps).tolist()
    uneven = [round(1000 * (n / 12) ** 2) / 1000 for n in range(12, 0, -2)] + [0.0]
    model = Mixture.gaussian(1, 0.5, mean=2.0).model(LINEAR)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    mean = answer(model, zero, times, [zero] * steps, "posterior")
    calls = model.nfe
    x, noises = normal(seed, 3, 1), normal(seed, steps, 3, 1, stream=1)
    point = Mixture.empirical(torch.full((1, 1), 12.0, dtype=torch.float64)).model(LINEAR)
    above = [0.9, 0.6, 0.35, 0.1 + uniform(seed, 0.0, 0.1)]
    return {
        "where data that are the one point 12 end": answer(point, x[:1], times, list(noises[:, :1])),
        f"variance after {steps} steps, 'posterior'": _variance_after(answer, times),
        f"variance after {steps} steps, 'beta'": _variance_after(answer, times, "beta"),
        "variance after 6 uneven steps, 'posterior'": _variance_after(answer, uneven),
        "mean, for data N(2, 0.25)": mean.sum(),
        "x_0 for given noises": answer(model, x, times, list(noises), "posterior"),
        "x at a last time above 0, 'posterior'": answer(model, x, above, list(noises[:3]), "posterior"),
        "x at a last time above 0, 'beta'": answer(model, x, above, list(noises[:3]), "beta"),
        "calls of the model": calls,
    }


ANCESTRAL = Task(
    id="1.4",
    title="Ancestral sampling along any sub-sequence",
    kind="implement-sampler",
    difficulty=2,
    minutes=20,
    points=4,
    allows=("toolkit.ddpm.posterior", "toolkit.ddpm.transition"),
    ids=("S03", "S15", "T01", "T04", "BP28", "BS15", "C36"),
    probe=_probe_ancestral,
    reference=solution.ancestral,
    mistakes=(
        Mistake(
            changed(
                solution.ancestral,
                ("noises):", "noises):\n        last, s = s == 0, t - 1 / schedule.T"),
                ("if sigma_s > 0", "if not last"),
            ),
            "From n = 1000 to n = 900 a hundred steps are skipped, and your coefficients still are those "
            "from 1000 to 999: only a hundredth of the noise goes. Which α and σ has the time where this "
            "step ends?",
        ),
        Mistake(
            changed(
                solution.ancestral,
                (f"x0 = {_X0}", "beta = schedule.betas[round(t * schedule.T) - 1]"),
                (_MEAN, f"(x - beta / sigma * {_EPS}) / math.sqrt(1 - beta)"),
                (_BETA, "tilde = beta * (sigma_s / sigma) ** 2"),
            ),
            "β_n and 1 - β_n come from one row of the table, and ᾱ from the row where the stride ends. "
            "Over a stride the signal shrinks by the ratio of the two alphas: what is β, then?",
        ),
        Mistake(
            changed(solution.ancestral, (_EPS, "model.eps(x, t * schedule.T)")),
            "The model is asked at t = 1000, 900, …, and its clock runs from 0 to 1: it believes that x is "
            "pure noise all the way. In which unit are the entries of `times`?",
        ),
        Mistake(
            changed(solution.ancestral, (_X0, f"({_X0}).clamp(-1, 1)")),
            "You clip the predicted x_0 to [-1, 1], as code for images does, whose pixels live there. What "
            "becomes of data with mean 2?",
        ),
        Mistake(
            changed(solution.ancestral, ("if sigma_s > 0", "if True")),
            "Noise is added in the last step too, where the algorithm returns the mean. With "
            "variance='posterior' nobody notices: why not? And with 'beta'?",
        ),
        Mistake(
            changed(solution.ancestral, ("math.sqrt", "")),
            "β̃ and β are variances. By what is z multiplied to have one of them?",
        ),
        Mistake(
            changed(solution.ancestral, _NO_NOISE),
            "Every step returns the mean, and no noise is ever added: all samples drift to one point. "
            "Where do the noises come in?",
        ),
        Mistake(
            changed(solution.ancestral, ('tilde if variance == "posterior" else beta', "tilde")),
            "Both settings of `variance` give the same samples. Which one does your loop ignore?",
        ),
        Mistake(
            changed(solution.ancestral, ('tilde if variance == "posterior" else beta', "beta")),
            "Both settings of `variance` add the larger noise, of variance β. Which variance has the "
            "posterior, "
            "and which of the three numbers that `posterior` returns is it?",
        ),
        Mistake(
            changed(
                solution.ancestral,
                ("posterior(alpha, sigma, alpha_s, sigma_s)", _ONE_STEP),
            ),
            "Your coefficients are those of a single step of the table, and your noise is left out where the "
            "stride ends at 0: this is the listing that the statement names. How far does one of your "
            "steps go?",
        ),
        Mistake(
            changed(solution.ancestral, (_MEAN, "c_t * x0 + c_0 * x")),
            "c_0 stands before x_t in your mean, and c_t before x̂_0. Which of the two must be 1 where a step "
            "ends at clean data?",
        ),
        Mistake(
            changed(
                solution.ancestral, ("zip(times, times[1:], noises)", "zip(times[:-1], times[1:-1], noises)")
            ),
            "Your loop stops one step early: what it returns lives at the last but one of the times. How "
            "many "
            "pairs of neighbours has a list of m times?",
        ),
        Mistake(
            changed(solution.ancestral, (_MEAN, "alpha_s * x0 + sigma_s * (x - alpha * x0) / sigma")),
            "Your mean is DDIM's: it keeps all of σ_s in the direction of ε. Then noise comes on top. "
            "What is the total variance at s given x_0, and what should it be?",
        ),
        Mistake(
            changed(solution.ancestral, (_MEAN, "alpha_s * x0 + sigma_s * z"), _NO_NOISE),
            "Each step throws x_t away and diffuses the predicted x_0 anew. That draws from q(x_s | "
            "x_0); the model is to draw from q(x_s | x_t, x_0). Which of your lines would change if x_t "
            "were another?",
        ),
        Mistake(
            changed(solution.ancestral, ("x - sigma * model", "x + sigma * model")),
            "x̂_0 is x_t with its noise taken away, over α_t. Which sign does your noise have there?",
        ),
        Mistake(
            changed(solution.ancestral, (_X0, f"x - sigma * {_EPS}")),
            "x_t less its noise is α_t x_0. What is still to be done before c_0 may multiply it?",
        ),
        Mistake(
            changed(solution.ancestral, ("math.sqrt(", "math.sqrt(math.sqrt("), ("beta) * z", "beta)) * z")),
            "Your noise is multiplied by the fourth root of v. What does `posterior` return last, a "
            "variance or a deviation, and how many roots does that ask for?",
        ),
        Mistake(
            changed(solution.ancestral, _ASK_ONCE, (_EPS, "eps")),
            "The model is asked once, at the start, and its answer kept for all steps. What does it know of "
            "the x of the later steps?",
        ),
        Mistake(
            changed(solution.ancestral, ("        x = c_0", "        x_s = c_0"), _AND_NOISE, _LAST),
            "Every step starts from the same x_T, so that all but the last one are thrown away. What should "
            "the second step start from?",
        ),
        Mistake(
            changed(solution.ancestral, (_BETA, "beta = schedule.betas[round(t * schedule.T) - 1]")),
            "With 'posterior' you are right. With 'beta' your variance is the table's β_n, that of one step "
            "of the table. How far does your step go?",
        ),
        Mistake(
            changed(solution.ancestral, ("return x", "return x0")),
            "On lists that end at 0 you are right. You return the last x̂_0, and when the last time is "
            "above 0, that is not x there: which of your variables lives at the end of the step?",
        ),
        Mistake(
            changed(
                solution.ancestral,
                ("for t, s, z in zip(times, times[1:], noises)", _COUNTED),
                ("if sigma_s > 0", "if k < len(times) - 2"),
            ),
            "On lists that end at 0 you are right. You leave the noise out of the last step, whatever it "
            "is; a step that ends above 0 still adds noise. By what do you know a step that returns the "
            "mean?",
        ),
        Mistake(
            changed(solution.ancestral, (_EPS, "model.eps(x, s)")),
            "The model is asked at s, where the step ends. At which time does the x that you give it live?",
        ),
    ),
    hints=(
        "One step has three parts: predict x_0 from x_t, take the posterior's mean at that prediction, "
        "add noise.",
        "Task 1.2 gives the mean's coefficients and β̃ for any pair t > s: nothing else depends on "
        "how far apart they are. The other variance, β, is that of the transition from s to t.",
        "Walk over neighbouring pairs of times together with the noises. Ask the model at the earlier "
        "end of the step, the noisier one; scale z by the root of the variance chosen; leave z out where "
        "σ at the end is 0.",
    ),
    asks={
        "where data that are the one point 12 end": "For data that are the one point 12 the model knows the "
        "noise exactly, and the last step has to return the point; yours returns {value}. Does your x̂_0 "
        "give 12 back, with nothing cut off, and what do c_0 and c_t become at σ_s = 0?",
        "variance after 8 steps, 'posterior'": "A point comes back right, and the variance of data N(0, "
        "0.25) does not: yours is {value} after 8 steps. Are c_0 and c_t as they should be, and z "
        "multiplied by the root of v?",
        "variance after 8 steps, 'beta'": "With variance='posterior' you are right; with 'beta' the variance "
        "is {value} after 8 steps. Which variance has the way from s to t, when it skips a hundred entries?",
        "x at a last time above 0, 'posterior'": "Lists that end at 0 come out right. One may end above 0, "
        "and then x there is wanted, with its noise.",
        "x_0 for given noises": "Variances and mean are right, and a run with given noises is another one: "
        "which noise belongs to which step?",
        "calls of the model": "How many times per step is the model called? Once is enough: keep what it "
        "returns.",
        "mean, for data N(2, 0.25)": "The variances are right, the mean is not: is there a shift that a "
        "mean of 0 hides?",
    },
)

# --- 1.5: why few steps fail --------------------------------------------------------------------------------

STEPS = (10, 20, 50, 100, 200, 500, 1000)


@lru_cache
def _exact(variance):
    """The variances after the numbers of steps that the figure shows."""
    grids = [strided(LINEAR, steps) for steps in STEPS]
    return tuple(exact_variance(ddpm, LINEAR, times, variance=variance) for times in grids)


def _convergence():
    """The Axes asked for."""
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    for variance in ("posterior", "beta"):
        axes.plot(STEPS, [abs(v - 0.25) for v in _exact(variance)], label=variance)
    axes.set(xscale="log", yscale="log", xlabel="number of steps", ylabel="error of the variance")
    axes.legend()
    return axes


def _drawn(*edits):
    """Another Axes, drawn when it is needed."""
    return Made(changed(_convergence, *edits))


def _convergence_facts(answer, seed):
    """The two lines that the answer drew, by their labels; scales, axis labels and legend."""
    seen = read_axes(answer)
    lines = error_lines(seen, "posterior", "beta", count=None)
    steps, error = lines["posterior"]
    if not np.array_equal(steps, lines["beta"][0]):
        raise Remark(
            "The two lines stand over different numbers of steps: both are asked for at each N in `steps`."
        )
    values = {
        "scales": f"{seen.xscale} / {seen.yscale}",
        "axes": "labelled" if seen.xlabel and seen.ylabel else "a label is missing",
        "legend": "there" if seen.legend else "missing",
        "numbers of steps": steps,
        "posterior: error": error,
        "beta: error": lines["beta"][1],
    }
    tail = steps >= 100
    if tail.sum() > 1:
        values["slope of 'posterior' from 100 steps"] = np.polyfit(
            np.log(steps[tail]), np.log(error[tail]), 1
        )[0]
    return values


CONVERGENCE = Task(
    id="1.5",
    title="Why few steps fail",
    kind="figure",
    difficulty=1,
    minutes=12,
    points=2,
    ids=("S06", "S18", "BS19", "C36", "T07"),
    facts=_convergence_facts,
    reference=Made(_convergence),
    tolerance=1e-4,
    decimals=4,
    mistakes=(
        Mistake(
            _drawn(("for variance in", "return axes\n    for variance in")),
            "The axes are still empty: which two lines does the exercise ask for?",
            as_given=True,
        ),
        Mistake(
            _drawn(('xscale="log", yscale="log", ', "")),
            "On linear axes everything beyond 100 steps lies flat on the floor. On which axes is a power "
            "law a straight line?",
        ),
        Mistake(
            _drawn(('xscale="log", ', "")),
            "Only the vertical axis is logarithmic; on such axes an exponential is straight. What about "
            "a power of N?",
        ),
        Mistake(
            _drawn(("abs(v - 0.25)", "v")),
            "You draw the variance itself, which settles at 0.25, and a logarithm cannot show how "
            "closely. The distance from what is asked for?",
        ),
        Mistake(
            _drawn(("abs(v - 0.25)", "v - 0.25")),
            "One of the two errors is always negative (too little variance), the other one sometimes, and a "
            "logarithmic axis drops such points without a word. Which line has disappeared from your figure?",
        ),
        Mistake(
            _drawn(("abs(v - 0.25)", "abs(math.sqrt(v) - 0.5)")),
            "This is the error of the standard deviation, a good thing to draw, and not the one asked "
            "for. What does `variance_after` return?",
        ),
        Mistake(
            _drawn(("abs(v - 0.25)", "abs(v - 0.25) / 0.25")),
            "Your errors are relative, divided by 0.25: the slope is the same, the heights are not. "
            "Which of the two does the exercise ask for?",
        ),
        Mistake(
            _drawn((', xlabel="number of steps", ylabel="error of the variance")\n    axes.legend()', ")")),
            "The lines are right. What do the axes show? A reader who has only the picture cannot tell.",
        ),
        Mistake(
            _drawn(("plot(STEPS,", "plot([1000 // n for n in STEPS],")),
            "The horizontal axis shows the stride 1000/N, so that the figure runs backwards. Which "
            "number did you pay for, in calls of the model?",
        ),
    ),
    hints=(
        "For each N there are two numbers to compute, and both are errors: how far is the variance from "
        "0.25?",
        "One plot call per setting of `variance`, with the label that the exercise names; the distance "
        "is an absolute value. With `posterior` the variance is always too small; with `beta` the error "
        "changes sign between 10 and 20 steps.",
        "An Axes is told its scales and labels by one call of set, with the keywords xscale, yscale, "
        "xlabel, ylabel.",
    ),
    asks={
        "numbers of steps": "Which numbers of steps do your lines cover? The task gives them in `steps`.",
        "axes": "Which axis has no label yet?",
        "legend": "Which of the two lines is which? The labels show once there is a legend.",
        "posterior: error": "Is the line 'posterior' drawn from variance='posterior', as the distance "
        "from 0.25?",
        "beta: error": "Is the line 'beta' drawn from variance='beta'?",
        "scales": "On which axes is a power law a straight line?",
    },
)

# --- 1.6: find the bug, a cosine that is not a cosine -------------------------------------------------------


def _cosine_as_given(T, s=0.008, largest=0.999):
    """The published listing: its betas follow a cosine, and s is a factor."""
    t = np.linspace(0, 1, T)
    return np.minimum(s * (1 - np.cos(np.pi / 2 * t)), largest)


_STEP = "1 - f[1:] / f[:-1]"
_CLIPPED = f"np.minimum({_STEP}, largest)"


def _probe_cosine(answer, seed):
    """The first and the last beta of the answer, and alpha-bar half-way and at T."""
    T = (1000, 40, 200)[seed % 3] if seed < 3 else 800 + seed % 200
    betas = np.asarray(answer(T), dtype=float)
    if betas.ndim != 1 or len(betas) != T:
        raise Remark(f"For T = {T} the table has {T} betas, one a step; yours has shape {betas.shape}.")
    with np.errstate(divide="ignore"):
        logs = np.cumsum(np.log1p(-betas))
    other = np.asarray(answer(T, 0.05, 0.6), dtype=float)
    return {
        "beta of the first step": betas[0],
        "beta of the last step": betas[-1],
        "alpha-bar half-way": math.exp(logs[T // 2 - 1]),
        "log10 of alpha-bar at T": logs[-1] / math.log(10),
        "first and last beta, s = 0.05, largest = 0.6": other[[0, -1]],
    }


COSINE = Task(
    id="1.6",
    title="Find the bug: a cosine that never reaches noise",
    kind="find-the-bug",
    difficulty=2,
    minutes=12,
    points=2,
    gives_away=("toolkit.schedules.Discrete.cosine", "toolkit.schedules.VPCosine"),
    ids=("BP19", "P16", "S28", "C32", "C33", "BS31"),
    probe=_probe_cosine,
    reference=solution.cosine_betas,
    decimals=5,
    asks={
        "beta of the first step": "Your first beta is {value}. ᾱ_1 = f(1)/f(0) is 1 less the first beta: "
        "what does that make of it?",
        "beta of the last step": "Your last beta is {value}. f(T) is 0, so one limit decides it: which?",
        "alpha-bar half-way": "From your betas ᾱ comes out as {value} half-way, and the equation gives it "
        "as f(T/2)/f(0), a little under a half. What does ᾱ_n have to be divided by to give one step's "
        "share?",
    },
    mistakes=(
        Mistake(
            _cosine_as_given,
            "This is the listing as it was given. Its ᾱ_T is 0.054 in the measurement above: what, in "
            "the equation, follows the cosine, and what follows it in the listing?",
            as_given=True,
        ),
        Mistake(
            changed(solution.cosine_betas, (_STEP, "1 - f[1:] / f[0]")),
            "1 - ᾱ_n is the noise of n steps together. The table wants one step's share: what does ᾱ_n "
            "have to be divided by?",
        ),
        Mistake(
            changed(solution.cosine_betas, (_CLIPPED, "1 - f[1:] / f[0]")),
            "These are 1 - ᾱ_n, the noise of all n steps together. What remains of ᾱ_n when the n - 1 steps "
            "before are divided out?",
        ),
        Mistake(
            changed(solution.cosine_betas, ("** 2", "")),
            "Where is the square? The cosine gives the size of the signal, and ᾱ is a power (a squared "
            "size).",
        ),
        Mistake(
            changed(solution.cosine_betas, (_CLIPPED, _STEP)),
            "The last beta is 1: it deletes the signal altogether, and the reverse step would divide by "
            "√(1 - β). What is the parameter `largest` for?",
        ),
        Mistake(
            changed(solution.cosine_betas, (_CLIPPED, f"np.clip({_STEP}, 0.0001, 0.9999)")),
            "You clip to [0.0001, 0.9999], as a snippet does that is copied a great deal. The equation has "
            "only an upper limit, the parameter `largest`: what does a lower one do to the first steps of a "
            "long table?",
        ),
        Mistake(
            changed(solution.cosine_betas, (_CLIPPED, f"np.clip({_STEP}, 0.0001, largest)")),
            "The upper limit is right. The lower one, 0.0001, is not in the equation, and it raises the "
            "first betas of a long table: how small are they without it?",
        ),
        Mistake(
            changed(solution.cosine_betas, (_CLIPPED, f"np.minimum({_STEP}, 0.999)")),
            "With the usual 0.999 you are right, and the parameter `largest` changes nothing: where should "
            "it stand?",
        ),
        Mistake(
            changed(solution.cosine_betas, ("/ T + s) / (1 + s)", "/ T + 0.008) / 1.008")),
            "With the usual s you are right, and the parameter `s` changes nothing: where should it stand?",
        ),
        Mistake(
            changed(solution.cosine_betas, ("(np.arange(T + 1) / T + s) / (1 + s)", "np.arange(T + 1) / T")),
            "s is not used, so that the first betas are almost 0. What did the authors put s there for, "
            "and where in the equation does it stand?",
        ),
        Mistake(
            changed(solution.cosine_betas, (_CLIPPED, "f[1:] / f[0]")),
            "You return ᾱ_1 … ᾱ_T. The caller makes 1 - β of them and multiplies these up: what does it "
            "expect?",
        ),
        Mistake(
            changed(
                _cosine_as_given,
                ("np.linspace(0, 1, T)", "np.arange(1, T + 1) / T"),
                ("s * (1 - np.cos(np.pi / 2 * t))", "1 - np.cos(np.pi / 2 * t)"),
            ),
            "Letting beta rise to 1 does reach noise, but the betas still follow the cosine, and ᾱ is "
            "now far too small half-way. Which quantity does the equation give?",
        ),
    ),
    hints=(
        "Compare the left-hand side of the equation with the name of what the listing fills.",
        "First make the T + 1 values of f at n = 0 … T; nothing in the listing does that. f(0) cancels "
        "in what follows.",
        "By which factor does one step take ᾱ_{n-1} to ᾱ_n, said with β_n? Solve that for β_n; at n = T the "
        "factor is 0, and `largest` comes in.",
    ),
)

# --- 1.7: the floor under the loss --------------------------------------------------------------------------


def _lowest(signal, bar):
    """Var(eps | x_n): the share of the signal, of this variance, in the variance of x_n."""
    return 1 / (1 + (1 - bar) / signal)


BAR = float(LINEAR.alpha_bar[100])
LOWEST = _lowest(0.25 * BAR, BAR)


def _echo(number):
    """Three decimals as asked for, two above 1: an answer that was rounded is still recognised."""
    return f"{number:.{3 if abs(number) < 1 else 2}f}"


def _floor_facts(lowest):
    """In words when it is right: the record holds what a right answer prints, and tells no answer."""

    def facts(answer, seed):
        ((label, number),) = number_facts("the lowest loss at n = 100")(answer, seed).items()
        if 2e-3 < abs(number - lowest) < 8e-3:
            raise Remark(
                f"Close: yours is {number:.4f}, and it is to be right to 0.002. A measurement needs some "
                "millions of draws for that; the variance of ε given x_n can be had without any."
            )
        return {label: "right" if abs(number - lowest) <= 2e-3 else _echo(number)}

    return facts


def _floor_mistakes(bar, variance):
    lowest = _lowest(variance * bar, bar)
    return (
        Mistake(
            0.0,
            "Zero would mean that x_n tells exactly which noise was drawn. Many pairs (x_0, ε) give the "
            "same x_n: what does the best network answer for all of them?",
        ),
        Mistake(
            1.0,
            "That is the loss of a network that always answers 0. Does x_n tell nothing about ε?",
        ),
        Mistake(
            1 - lowest,
            "This is the share of x_n's variance that is noise, E[ε*²], the size of the best prediction. By "
            "how much does ε, of variance 1, miss it? (What it misses by is uncorrelated with it.)",
        ),
        Mistake(
            1 - bar,
            "This is σ², the variance of the noise in x_n. The loss is about ε itself, of variance 1: how "
            "much of that can x_n not tell?",
        ),
        Mistake(
            math.sqrt(lowest), "This is the root of the mean square. The loss is the mean square itself."
        ),
        Mistake(
            lowest * (1 - bar) / bar,
            "This is the variance of x_0 given x_n, the lowest loss of a network that predicts x_0. By "
            "how much does ε move when x_0 moves by 1 and x_n stays?",
        ),
        Mistake(
            lowest / (1 - bar),
            "This is the lowest loss for the score, the listing's measure. ε is -σ times the score: "
            "which power of σ does that put between the two losses?",
        ),
        Mistake(
            _lowest(variance * bar**2, bar),
            "Here the signal's variance is ᾱ² times 0.25. x_n is √ᾱ x_0 plus noise: what is the variance "
            "of its first part?",
        ),
        Mistake(
            _lowest(variance**0.5 * bar, bar),
            "It seems that 0.5 went in as the variance of the data. The data are N(0, 0.25): is 0.25 the "
            "variance or the standard deviation?",
        ),
        Mistake(
            bar,
            "This is ᾱ_100, the floor for data of variance 1. How does the variance 0.25 change the "
            "share of x_n that is signal?",
        ),
    )


def _other_floor(task, n, variance):
    bar = float(LINEAR.alpha_bar[n])
    lowest = _lowest(variance * bar, bar)
    return {
        "reference": lowest,
        "facts": _floor_facts(lowest),
        "mistakes": _floor_mistakes(bar, variance),
    }


def _floor_words(n, variance):
    """Step and variance wherever they are named, and what the listing of P would read there."""
    bar = float(LINEAR.alpha_bar[n])
    return {
        "n = 100": f"n = {n}",
        "alpha_bar[100]": f"alpha_bar[{n}]",
        r"\alpha_{100}": rf"\alpha_{{{n}}}",
        "ᾱ_100": f"ᾱ_{n}",
        "0.25": f"{variance:g}",
        "0.5 went in": f"{variance**0.5:g} went in",
        "read 6.65 for": f"read {_lowest(variance * bar, bar) / (1 - bar):.2f} for",
    }


FLOOR = Task(
    id="1.7",
    title="How low can the loss go?",
    kind="number",
    difficulty=2,
    minutes=12,
    points=2,
    ids=("P10", "P21", "S05", "S13", "C06", "C07", "BP24", "BS7", "BS13"),
    facts=_floor_facts(LOWEST),
    reference=LOWEST,
    varies=Variation(
        choices={"n": (70, 110, 130, 150, 160), "variance": (0.16, 0.36, 0.49)},
        words=_floor_words,
        fields=_other_floor,
    ),
    mistakes=_floor_mistakes(BAR, 0.25),
    hints=(
        "The best answer to a squared loss is the conditional mean E[ε | x_n]; what remains is the "
        "conditional variance.",
        "x_n and ε are jointly Gaussian. What is their covariance, and what is the variance of x_n?",
        "Var(ε | x_n) is 1 less the squared covariance over the variance of x_n. The covariance is σ; "
        "the variance of x_n is the signal's part plus the noise's part. It simplifies to the signal's "
        "share.",
    ),
    asks={
        "the lowest loss at n = 100": "What is the variance of ε once x_n is known? It lies between 0, where "
        "x_n tells all, and 1, where it tells nothing; the exact model can measure it, too, with some "
        "millions of draws.",
    },
)

# --- 1.8: find the bug, a bound a hundred nats too high -----------------------------------------------------

_DDIM = ("c_0 * x0_hat + c_n * x", "math.sqrt(bar[n - 1]) * x0_hat + math.sqrt(1 - bar[n - 1]) * eps")
_DRAW = ("c_0 * x0 + c_n * x", "before")
_VARIANCE = " + (1 - bar[T]) - 1 - math.log(1 - bar[T])"  # what it adds to the KL at T
_L_T = f"0.5 * (bar[T] * (x0**2).mean(){_VARIANCE})"
_NORM = (f"bar[T] * (x0**2).mean(){_VARIANCE}", "(x**2).mean()")


def _probe_elbo(answer, seed):
    """The three parts on Gaussian data, and on data that consist of one known point."""
    schedule = Discrete.linear(30, 1e-4, 0.0035)  # ᾱ_T is about 0.15: an L_T worth checking
    noises = normal(seed, 30, 40, 2, stream=1)
    one = torch.full((40, 2), uniform(seed, 0.3, 0.9), dtype=torch.float64)
    data = Mixture.gaussian(2, 0.5, mean=2.0)
    prior, kls, decoder = _three(answer(data.model(schedule), data.sample(40, seed), noises))
    known = _three(answer(Mixture.empirical(one[:1]).model(schedule), one, noises))
    return {
        "L_T": prior,
        "KLs of n = 2 … T": kls,
        "L_0": decoder,
        "KLs when ε is known": known[1],
    }


def _three(result):
    """The result, if it is a tuple of three."""
    if not isinstance(result, (tuple, list)) or len(result) != 3:
        raise Remark("The function returns three things: L_T, the KLs of n = 2 … T, and L_0.")
    return result


ELBO = Task(
    id="1.8",
    title="Find the bug: a bound a hundred nats too high",
    kind="find-the-bug",
    difficulty=3,
    minutes=25,
    points=4,
    ids=("P12", "P13", "BP15", "BP16", "S04", "S09", "C05", "BS6"),
    probe=_probe_elbo,
    reference=solution.negative_elbo,
    mistakes=(
        Mistake(
            changed(solution.negative_elbo, _DDIM, _DRAW, _NORM),
            "This is the listing as it was given. When ε is known, the model's Gaussian is the posterior "
            "itself and every KL is 0: which lines make it something else?",
            as_given=True,
        ),
        Mistake(
            changed(solution.negative_elbo, _DRAW, _NORM),
            "The model's mean is right now. It is compared with x_{n-1}, one draw from the posterior: is "
            "the KL between two Gaussians a matter of a draw? (And look at L_T again.)",
        ),
        Mistake(
            changed(solution.negative_elbo, _DDIM, _NORM),
            "The thing compared with is right now. The model's own mean still keeps all of the noise "
            "σ_{n-1}, as DDIM does: when ε is known, the two means should be the same. (And look at L_T "
            "again.)",
        ),
        Mistake(
            changed(solution.negative_elbo, _DDIM, _DRAW),
            "L_T is right now. The KLs are not yet: when ε is known, what should the gap between the two "
            "means of step n be?",
        ),
        Mistake(
            changed(solution.negative_elbo, _DRAW),
            "One line to go. When ε is known your KLs are about 1/2 each, and should be 0: how far from "
            "its own mean is a draw of variance β̃, squared and on average?",
        ),
        Mistake(
            changed(solution.negative_elbo, _DDIM),
            "One line to go. The posterior's mean is on one side of the gap; which sampler's mean is on "
            "the other?",
        ),
        Mistake(
            changed(solution.negative_elbo, _NORM),
            "One line to go. ½ x_T² is about ½ whatever the schedule. L_T is the KL from q(x_T | x_0) to "
            "N(0, 1): what should it be when ᾱ_T is 0?",
        ),
        Mistake(
            changed(solution.negative_elbo, (_VARIANCE, "")),
            "Your L_T is the part of the KL that comes from the mean of q(x_T | x_0). Its variance is 1 "
            "- ᾱ_T, and the other Gaussian has variance 1: what does that add?",
        ),
        Mistake(
            changed(solution.negative_elbo, (" - math.log(1 - bar[T])", "")),
            "Your L_T lacks the logarithm of the two variances. Without it, could it fall below 0? A KL "
            "never does.",
        ),
        Mistake(
            changed(
                solution.negative_elbo,
                (_L_T, "0.5 * ((1 + bar[T] * (x0**2).mean()) / (1 - bar[T]) - 1 + math.log(1 - bar[T]))"),
            ),
            "This is the KL the other way round, from N(0, 1) to q(x_T | x_0). Which of the two Gaussians "
            "stands first in L_T, and whose variance is then in the denominator?",
        ),
        Mistake(
            changed(solution.negative_elbo, ("(x0**2).mean()", "x0.var(0, correction=0).mean()")),
            "In L_T you take the variance of x_0, where the KL has its square: what is the difference when "
            "the data have mean 2?",
        ),
        Mistake(
            changed(solution.negative_elbo, ("2 * tilde", "2 * beta")),
            "The means are right. You divide by 2β, and this model's variance is that of the posterior: "
            "which of the two variances does `posterior` return?",
        ),
        Mistake(
            changed(solution.negative_elbo, ("2 * tilde", "tilde")),
            "The means are right, and every KL is twice too large: what stands before the squared gap in "
            "the KL of two Gaussians?",
        ),
    ),
    hints=(
        "Take the measurement with ε known. Which terms must be 0 then, and which line of the listing "
        "makes them not so?",
        "A KL between two Gaussians needs two means and two variances, and no draw. q(x_{n-1} | x_n, "
        "x_0) has the mean of task 1.2 at the true x_0; the model has the same mean at the predicted "
        "x_0.",
        "Three lines change: the model's mean, the thing that it is compared with, and L_T. The last is "
        "the KL of the statement for N(√ᾱ_T x_0, 1 - ᾱ_T) against N(0, 1), averaged over x_0; no draw of "
        "x_T is in it.",
    ),
    asks={
        "L_T": "L_T is the KL of the statement with m = √ᾱ_T x_0, v = 1 - ᾱ_T, m' = 0 and v' = 1, averaged "
        "over x_0; yours is {value}. Put ᾱ_T = 0 into yours: is it 0 then, and never below 0?",
        "KLs of n = 2 … T": "L_T is right. Each KL is the squared gap of two means over 2β̃: are yours the "
        "posterior's mean at the true x_0, and the same formula at the predicted one?",
        "KLs when ε is known": "When ε is known, the two means agree. What of the KL is left then?",
    },
)

# --- 1.9: test a claim, which weight is the bound's ---------------------------------------------------------

COSINE_TABLE = Discrete.cosine()


def _correlation(weight, table=COSINE_TABLE):
    """Spearman's, between these weights and 1 - alpha-bar, n = 2 ... 1000."""
    from scipy.stats import spearmanr

    bar = table.alpha_bar
    return float(spearmanr(weight(bar[2:], bar[1:-1]), 1 - bar[2:])[0])


def _pearson():
    """Pearson's correlation in place of Spearman's."""
    bar = COSINE_TABLE.alpha_bar
    return float(np.corrcoef(solution.bound_weight(bar[2:], bar[1:-1]), 1 - bar[2:])[0, 1])


def _probe_weight(answer, seed):
    """Weights at four steps of the cosine table, and at values of ᾱ that no table has."""
    n = np.array([2, 10, 500, 1000 - seed % 400])
    bar = COSINE_TABLE.alpha_bar
    after, before = uniform(seed, 0.1, 0.5), uniform(seed, 0.6, 0.9, stream=1)
    return {
        f"weight at n = 2, 10, 500, {n[-1]}": answer.weight(bar[n], bar[n - 1]),
        f"weight from ᾱ = {before:.3f} to {after:.3f}": answer.weight(after, before),
    }


def _weight_facts(answer, seed):
    """Correlation and verdict are held against the answer's own weights, so that one slip is not three."""
    verdict = answer.verdict
    if not isinstance(verdict, str) or verdict.strip().lower() not in ("holds", "fails"):
        raise Remark("The verdict is one of two words, 'holds' or 'fails'.")
    try:
        correlation = float(answer.correlation)
    except (TypeError, ValueError):
        raise Remark("The correlation is one number between -1 and 1.") from None
    own = _correlation(answer.weight)
    fits = (verdict.strip().lower() == "holds") == (own > 0.99)
    return {
        "rank correlation with σ²": "that of your weights"
        if abs(correlation - own) < 1e-3
        else f"{correlation:.2f}",
        "verdict": "fits the numbers" if fits else "does not fit the numbers",
    }


def _consistent(*edits):
    """A wrong weight, with the correlation and the verdict that follow from it."""
    weight = changed(solution.bound_weight, *edits)
    verdict = Made(lambda: "holds" if _correlation(weight) > 0.99 else "fails")
    return {"weight": weight, "correlation": Made(lambda: _correlation(weight)), "verdict": verdict}


WEIGHT = Task(
    id="1.9",
    title="Test a claim: σ² is the bound's weight",
    kind="claim",
    difficulty=2,
    minutes=15,
    points=3,
    ids=("P11", "P14", "P15", "BP13", "BP18", "BS10", "S09"),
    names=("weight", "correlation", "verdict"),
    probe=_probe_weight,
    facts=_weight_facts,
    reference={
        "weight": solution.bound_weight,
        "correlation": Made(lambda: _correlation(solution.bound_weight)),
        "verdict": solution.verdict_9,
    },
    tolerance=2e-3,
    decimals=4,
    mistakes=(
        Mistake(
            _consistent(("0.5 * (snr_before / snr - 1)", "1 - bar")),
            "This is the claimed weight itself; the claim is to be tested against the true one. What "
            "does the KL divide the squared gap of the means by?",
        ),
        Mistake(
            _consistent(("snr_before / snr - 1", "snr_before - snr")),
            "This is the weight of |x_0 - x̂_0|². An error of ε is an error of x_0 times σ/α: what does "
            "that divide your weight by?",
        ),
        Mistake(
            _consistent(("0.5 * ", "")),
            "A factor 2 too much: what stands before the squared gap in the KL of two Gaussians?",
        ),
        Mistake(
            _consistent(("(snr_before / snr - 1)", "(bar_before / bar - 1) / (1 - bar)")),
            "This is the weight for a model with variance β, as in the paper's equation 12 with σ² = β. "
            "The exercise asks for β̃: which of the two do you divide by?",
        ),
        Mistake(
            _consistent(("snr_before / snr", "snr / snr_before")),
            "Your weights are negative. Which has the higher signal-to-noise ratio, step n or step n - 1?",
        ),
        Mistake(
            _consistent((" - 1)", ")")),
            "Half of a quotient of two signal-to-noise ratios is close. What should the weight be if the "
            "step does nothing at all, ᾱ_{n-1} = ᾱ_n?",
        ),
        Mistake(
            {"correlation": Made(_pearson)},
            "This is Pearson's correlation of the values, ruled by a few enormous weights. "
            "The exercise asks about the order: what are the values to be replaced by first?",
        ),
        Mistake(
            {"correlation": Made(lambda: _correlation(solution.bound_weight, LINEAR))},
            "This is the chapter's figure, for the linear table. Here the cosine table is asked for: from "
            "which table does your `bar` come?",
        ),
        Mistake(
            {"correlation": Made(lambda: -_correlation(solution.bound_weight))},
            "The sign has turned round: do both lists run in the same direction, from n = 2 up?",
        ),
        Mistake(
            {"verdict": "holds"},
            "Your two numbers are right. Were σ² the bound's weight, up to a constant, what would the "
            "rank correlation be? Look at n = 2, too: which step does each weight care for most?",
        ),
    ),
    hints=(
        "The KL of step n, with equal variances β̃, is the squared gap between two means over 2β̃. The "
        "gap comes from the error in ε alone.",
        "Task 1.3 says by what ε is multiplied in the mean. Square it, divide by 2β̃, and simplify: "
        "ᾱ_n and ᾱ_{n-1} come together as signal-to-noise ratios ᾱ/(1 - ᾱ).",
        "The weight is half of how much, relatively, the signal-to-noise ratio rises from n to n - 1: "
        "their quotient less 1, halved. For the correlation, scipy.stats has spearmanr; the lists run "
        "over n = 2 … 1000.",
    ),
    asks={"rank correlation with σ²": "Is it Spearman's, of your weights with 1 - ᾱ_n, over n = 2 … 1000?"},
)

# --- 1.10: find the bug, importance sampling of the step ----------------------------------------------------

_ROOT = "history.square().mean(1).sqrt()"
_WEIGHTS = "1 / (len(p) * p)"


def _probe_steps(answer, seed):
    """Probabilities and weights for a random history, and what they estimate together."""
    history = torch.exp(1.5 * normal(seed, 4, 6) - torch.arange(4)[:, None])
    result = answer(history)
    if not hasattr(result, "__len__") or len(result) != 2:
        raise Remark("The function returns two tensors of shape (T,): the probabilities and the weights.")
    p, w = (torch.as_tensor(part, dtype=torch.float64) for part in result)
    values = {"probabilities": p, "weights": w}
    if p.shape == w.shape == (4,):
        values = {"sum of the probabilities": p.sum(), **values}
        weighted = (p * w * history.mean(1)).sum()
        values["mean of the weighted loss, over the plain mean"] = weighted / history.mean()
    return values


IMPORTANCE = Task(
    id="1.10",
    title="Find the bug: which steps to train on",
    kind="find-the-bug",
    difficulty=2,
    minutes=12,
    points=3,
    ids=("S20", "BS22", "BS21", "S19"),
    probe=_probe_steps,
    reference=solution.step_distribution,
    mistakes=(
        Mistake(
            changed(solution.step_distribution, (_ROOT, "history.mean(1).sqrt()"), (_WEIGHTS, "1 / p")),
            "This is the listing as it was given. In the measurement its mean is not that of uniform "
            "sampling: which line decides that? Its variance is a second matter.",
            as_given=True,
        ),
        Mistake(
            changed(solution.step_distribution, (_ROOT, "history.mean(1).sqrt()")),
            "The mean is right now. The variance is not yet the lowest: to make Σ E[L²]/p as small as it "
            "can be, which moment of L must p follow?",
        ),
        Mistake(
            changed(solution.step_distribution, (_WEIGHTS, "1 / p")),
            "The probabilities are right now. The weighted loss is T times too large: with p uniform, p "
            "= 1/T, what should every weight be?",
        ),
        Mistake(
            changed(solution.step_distribution, (_ROOT, "history.square().mean(1)")),
            "You draw in proportion to E[L²]. Minimise Σ E[L²]/p with Σ p = 1, by a Lagrange multiplier: "
            "does p come out as E[L²], or as its root?",
        ),
        Mistake(
            changed(solution.step_distribution, (_ROOT, "history.mean(1)")),
            "You draw in proportion to the mean loss. A step whose loss is mostly small and sometimes "
            "huge gets too little: which average notices the huge ones?",
        ),
        Mistake(
            changed(solution.step_distribution, (_WEIGHTS, "len(p) * p")),
            "The weights grow with p, so that the steps drawn often also count for more. What undoes the "
            "preference?",
        ),
        Mistake(
            changed(solution.step_distribution, (_WEIGHTS, "(1 / p) / (1 / p).mean()")),
            "Weights scaled to a mean of 1 look tidy, but the mean is taken over the steps alike, and "
            "these are drawn with p. What must Σ p w L equal?",
        ),
        Mistake(
            changed(solution.step_distribution, (_ROOT, "history.std(1)")),
            "The standard deviation leaves the mean out: a step whose loss is always 5 would never be "
            "drawn. Is it E[L²], or the variance of L, that stands in the variance of the estimate?",
        ),
    ),
    hints=(
        "Two conditions: the weighted loss must have the right mean for any p, and p must make its "
        "variance small.",
        "The mean is Σ p w E[L], and should be Σ E[L] / T: that settles w. The variance then depends on "
        "p through Σ E[L²]/p only.",
        "Minimise with a Lagrange multiplier for Σ p = 1, and solve for p. Mind the order: the square of an "
        "average is not the average of the squares. For w, ask what uniform p must give.",
    ),
    asks={
        "sum of the probabilities": "Your probabilities add up to {value}: what do they have to be divided "
        "by?",
        "probabilities": "Your probabilities add up to 1. Are they in proportion to what Σ E[L²]/p asks for?",
        "weights": "The probabilities are right. The mean of w L must be the plain mean over the steps, "
        "whatever p is: which w does that ask for?",
    },
)

# --- 1.11: a step of training -------------------------------------------------------------------------------

SHORT_TABLE = Discrete.linear(100)
TWO_SPOTS = Mixture([1, 1], [[3.0, 0.0], [-1.0, 2.0]], [0.3, 0.3])


class _Net(torch.nn.Module):
    """net(x, n) for points in the plane and n of SHORT_TABLE, float64, weights from a seed; counts its "
    "calls."""

    def __init__(self, seed, width=32):
        super().__init__()
        linear, act = torch.nn.Linear, torch.nn.SiLU
        layers = linear(4, width), act(), linear(width, width), act(), linear(width, 2)
        self.layers, self.calls = torch.nn.Sequential(*layers).double(), 0
        for stream, weights in enumerate(self.parameters()):
            weights.data = normal(seed, *weights.shape, stream=stream) / math.sqrt(weights.shape[-1])

    def forward(self, x, n):
        self.calls += 1
        t = (n / SHORT_TABLE.T).to(x.dtype)[:, None]
        return self.layers(torch.cat([x, t, (8 * t).sin()], 1))


def _draws(seed, steps, rows):
    """(x_0, n, noise) of so many steps of training."""
    x0 = TWO_SPOTS.sample(steps * rows, seed).reshape(steps, rows, 2)
    n = torch.randint(1, SHORT_TABLE.T + 1, (steps, rows), generator=torch.Generator().manual_seed(seed))
    return x0, n, normal(seed, steps, rows, 2, stream=50)


def _excess(net, seed):
    """By how much a network's loss on fresh draws is above that of the exact model, per dimension."""
    bar = torch.from_numpy(SHORT_TABLE.alpha_bar)
    (x0,), _, (noise,) = _draws(seed + 1, 1, 1000)
    n = torch.arange(1, SHORT_TABLE.T + 1).repeat_interleave(10)
    x = bar[n].sqrt()[:, None] * x0 + (1 - bar[n]).sqrt()[:, None] * noise
    exact = TWO_SPOTS.model(SHORT_TABLE)
    best = torch.cat([exact.eps(part, k / SHORT_TABLE.T) for k, part in enumerate(x.split(10), 1)])
    with torch.no_grad():
        return float((net(x, n) - noise).square().mean() - (best - noise).square().mean())


def _share_near_data(net, seed):
    """The share of 300 samples of a network that lie within three standard deviations of a spot."""
    noise = initial_noise(300, 2, seed=seed, dtype=torch.float64)
    model, times = Network(net, SHORT_TABLE, clock="index"), strided(SHORT_TABLE, 25)
    with torch.no_grad():
        x = sample(ddpm, model, noise, times, draws=seed).x
    return float((torch.cdist(x, TWO_SPOTS.means).min(1).values < 0.9).double().mean())


def _as_float(loss):
    """The loss that a step returned; told to the student where it keeps the memory of its graph."""
    if isinstance(loss, torch.Tensor) and loss.requires_grad:
        raise Remark(
            "The loss that you return still carries its graph, and whoever keeps a thousand of them keeps a "
            "thousand graphs in memory. How does a tensor of one number become a float?"
        )
    return float(loss)


def _probe_training(answer, seed):
    """Three steps of plain gradient descent, number by number; 300 steps of Adam, by what they lead to."""
    bar = torch.from_numpy(SHORT_TABLE.alpha_bar)
    net = _Net(seed)
    plain = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = [_as_float(answer(net, plain, *draw, bar)) for draw in zip(*_draws(seed, 3, 8))]
    calls, net = net.calls, _Net(seed)
    adam = torch.optim.Adam(net.parameters(), lr=1e-2)
    for draw in zip(*_draws(seed, 300, 128)):
        answer(net, adam, *draw, bar)
    return {
        "loss of the first step": losses[0],
        "losses of two more steps": losses[1:],
        "calls of the network in 3 steps": calls,
        "300 steps: loss within 0.1 of the smallest": "yes" if _excess(net, seed) < 0.1 else "no",
        "300 steps: 8 of 10 samples near the data": "yes" if _share_near_data(net, seed) > 0.8 else "no",
    }


_ZERO = "optimiser.zero_grad()"
_FIT = "(net(x, n) - noise)"

TRAINING = Task(
    id="1.11",
    title="A step of training",
    kind="implement-equation",
    difficulty=2,
    minutes=20,
    points=3,
    gives_away=("toolkit.training.train", "toolkit.training.fit", "toolkit.training.loss"),
    ids=("P10", "S05", "S13"),
    probe=_probe_training,
    reference=solution.training_step,
    decimals=5,
    mistakes=(
        Mistake(
            changed(solution.training_step, (f"    {_ZERO}\n", "")),
            "The first step is right and the second is not: gradients add up from call to call until "
            "somebody sets them to 0. Who does so here?",
        ),
        Mistake(
            changed(solution.training_step, ("    optimiser.step()\n", "")),
            "The loss is right, and nothing moves the parameters. Does the optimiser make its step, and are "
            "the gradients still there when it does?",
        ),
        Mistake(
            changed(solution.training_step, (_FIT, "(net(x, n) - x0)")),
            "Your network is asked for x_0. That can be done, too, and is another loss: what does L_simple "
            "compare its output with?",
        ),
        Mistake(
            changed(solution.training_step, ("bar.sqrt() * x0", "bar * x0")),
            "x_0 is multiplied by ᾱ_n itself, and the signal level is its root. Which variance would x_n "
            "have?",
        ),
        Mistake(
            changed(solution.training_step, ("(1 - bar).sqrt() * noise", "(1 - bar) * noise")),
            "The noise is multiplied by its variance, 1 - ᾱ_n. By what must it be multiplied?",
        ),
        Mistake(
            changed(
                solution.training_step,
                ("bar.sqrt() * x0 + (1 - bar).sqrt() * noise", "bar * x0 + (1 - bar) * noise"),
            ),
            "Neither ᾱ_n nor 1 - ᾱ_n has its root in your x_n, whose variance for data of variance 1 would "
            "be "
            "below 1. Which two numbers have squares that add up to 1?",
        ),
        Mistake(
            changed(
                solution.training_step,
                ("bar.sqrt() * x0 + (1 - bar).sqrt() * noise", "(1 - bar).sqrt() * x0 + bar.sqrt() * noise"),
            ),
            "The two roots have changed places: at n = 1 your x_n is all noise. Which of them is close to 1 "
            "there?",
        ),
        Mistake(
            changed(solution.training_step, ("net(x, n)", "net(x, n / (len(alpha_bar) - 1))")),
            "The network is told n / T, and this one takes n itself, as its docstring says. In which unit is "
            "the level that you hand on?",
        ),
        Mistake(
            changed(solution.training_step, ("net(x, n)", "net(x, n - 1)")),
            "Your x is made at level n, and the network is told n - 1, as code that counts from 0 does. What "
            "does n = 1 mean here?",
        ),
        Mistake(
            changed(solution.training_step, (".mean()", ".mean() / 2")),
            "Your loss is half of the mean square. The minimiser is the same, and the number and the size "
            "of a "
            "step are not. Which factor has L_simple?",
        ),
        Mistake(
            changed(solution.training_step, (".square().mean()", ".square().mean().sqrt()")),
            "You take the root of the mean square, whose gradient depends on all the other rows of the "
            "batch. "
            "What does L_simple average?",
        ),
        Mistake(
            changed(solution.training_step, ("alpha_bar[n]", "alpha_bar[n - 1]")),
            "x is made at level n - 1, and the network is told n. alpha_bar has T + 1 entries and entry 0 is "
            "clean data: which one belongs to n?",
        ),
        Mistake(
            changed(solution.training_step, ("alpha_bar[n]", "alpha_bar[n[:1]]")),
            "All rows get the level of the first row, while the network is told each row's own n. How does "
            "one look up one level a row?",
        ),
        Mistake(
            changed(solution.training_step, (".mean()", ".sum(1).mean()")),
            "Your loss is the squared length, twice that per dimension. Over what is the mean taken in the "
            "statement?",
        ),
        Mistake(
            changed(solution.training_step, (".mean()", ".sum()")),
            "Your loss is a sum over the batch, so that its size, and that of a step, depend on the number "
            "of rows. Which average does the statement write?",
        ),
        Mistake(
            changed(solution.training_step, (".square()", ".abs()")),
            "You take the absolute error, whose best answer is a median. Of which function of the error is "
            "the conditional mean the best answer?",
        ),
        Mistake(
            changed(solution.training_step, (_FIT, "(1 - bar).sqrt() * (net(x, n) - noise)")),
            "You weight the error by σ. That is a loss for the score or for x_0 in disguise: which weight "
            "has L_simple?",
        ),
        Mistake(
            changed(solution.training_step, ("net(x, n)", "net(x0, n)")),
            "The network is shown the clean x_0. What does it see when it samples?",
        ),
    ),
    hints=(
        "Two parts: make the noisy rows that the network is to see, as in task 1.1; then one step of any "
        "training loop in PyTorch.",
        "The target is known, since the noise was drawn by us. Compare it with what the network says of x_n, "
        "and take the mean of the squares over all numbers of the batch.",
        "Levels are looked up by row and need a second axis of length 1. Then clear the gradients, go back "
        "through the loss, let the optimiser move the parameters, and return the loss as a float.",
    ),
    asks={
        "loss of the first step": "Nothing has been learnt yet, and your loss is {value}. Which x does the "
        "network see, what is its answer compared with, and over what is the mean?",
        "losses of two more steps": "The first loss is right, and the parameters have then moved, though not "
        "as `optimiser.step()` moves them by this loss's gradient alone. What else has touched the "
        "gradients, or "
        "the parameters?",
        "calls of the network in 3 steps": "The network is to be called once a step; yours was called "
        "{value} times in 3 steps.",
    },
)

TASKS = (JUMP, POSTERIOR, EPS_FORM, ANCESTRAL, CONVERGENCE, COSINE, FLOOR, ELBO, WEIGHT, IMPORTANCE, TRAINING)
