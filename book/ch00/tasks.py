"""The warm-up of chapter 0: one task of two kinds, so that a reader has met a check before it matters."""

import math

from book.ch00 import solution
from book.lessons import Mistake, Task, Variation, changed, normal, number_facts

LABEL = "DDPM's alpha-bar at lambda = -1"
X_0 = "(x_t - sigma * eps) / alpha"


def _probe_recover(answer, seed):
    x_t, eps = normal(seed, 2, 3), normal(seed, 2, 3, stream=1)
    return {
        "x_0 at alpha = 0.8, sigma = 0.6": answer(x_t, eps, 0.8, 0.6),
        "x_0 at alpha = 1, sigma = 40": answer(x_t, eps, 1.0, 40.0),
    }


RECOVER = Task(
    id="0.1",
    title="From noise to data",
    kind="implement-equation",
    difficulty=1,
    minutes=5,
    points=1,
    ids=("P21",),
    probe=_probe_recover,
    reference=solution.recover_x0,
    mistakes=(
        Mistake(
            changed(solution.recover_x0, (X_0, "x_t - sigma * eps / alpha")),
            "Only the noise was divided by alpha. Which parts of x_t − σ ε does the division belong to?",
        ),
        Mistake(
            changed(solution.recover_x0, (X_0, "x_t - sigma * eps")),
            "The noise is gone, but what is left is α x_0. What turns that into x_0?",
        ),
        Mistake(
            changed(solution.recover_x0, ("sigma * eps)", "sigma**2 * eps)")),
            "You took away σ² ε. In equation (0.1) the noise enters with σ, a standard deviation: which "
            "is it here?",
        ),
        Mistake(
            changed(solution.recover_x0, (X_0, "(x_t - eps) / (alpha * sigma)")),
            "At alpha = 1 and sigma = 40, how large is the noise in x_t, and how much did you take away?",
        ),
        Mistake(
            changed(solution.recover_x0, ("sigma * eps)", "(1 - alpha**2) ** 0.5 * eps)")),
            "You worked sigma out from alpha. That holds when alpha² + sigma² = 1; what of "
            "alpha = 1 and sigma = 40?",
        ),
    ),
    hints=(
        "Write down equation (0.1) with everything that you know, and see which symbol is left.",
        "Move the noise to the other side first. What is then equal to alpha times the unknown?",
        "Take sigma times the noise away from the whole, and divide the difference, all of it, by alpha.",
    ),
)


def _bar_facts(right):
    """In words when it is right: the record holds what a right answer prints, and tells no answer."""

    def facts(answer, seed):
        value = number_facts(LABEL)(answer, seed)[LABEL]
        return {LABEL: "right" if abs(value - right) <= 5e-4 else f"{value:.4f}"}

    return facts


def _bar_mistakes(lam):
    return (
        Mistake(
            (1 + math.exp(-2 * lam)) ** -0.5,
            "That is alpha_t. DDPM's alpha-bar is not the factor in front of x_0 but …?",
        ),
        Mistake(
            1 / (1 + math.exp(-lam)),
            "λ is half the log of the signal-to-noise ratio. What is then log(α² / σ²) at λ = −1?",
        ),
        Mistake(
            1 / (1 + math.exp(2 * lam)),
            "That is more signal than noise. At λ = −1, which of the two is larger?",
        ),
        Mistake(
            math.exp(2 * lam),
            "That is the ratio α² / σ². To get α² alone, what else is known of α² + σ²?",
        ),
    )


def _other_level(task, lam):
    bar = 1 / (1 + math.exp(-2 * lam))
    return {"reference": bar, "facts": _bar_facts(bar), "mistakes": _bar_mistakes(lam)}


def _called(lam):
    """The level as the statement, the label and the sentences call it; log of the ratio as a hint does."""
    shown = f"{-lam:g}"
    return {
        r"\lambda=-1$": rf"\lambda=-{shown}$",
        "lambda = -1": f"lambda = -{shown}",
        "λ = −1": f"λ = −{shown}",
        "power −2": f"power −{-2 * lam:g}",
    }


HALF = Task(
    id="0.2",
    title="One noise level, another name",
    kind="number",
    difficulty=1,
    minutes=5,
    points=1,
    ids=("BS8",),
    facts=_bar_facts(solution.alpha_bar),
    reference=solution.alpha_bar,
    mistakes=_bar_mistakes(-1.0),
    varies=Variation(
        choices={"lam": (-1.6, -1.4, -1.3, -1.2, -0.9, -0.8, -0.7, -0.6)}, words=_called, fields=_other_level
    ),
    hints=(
        "Chapter 0 has a converter, and a table of who calls what alpha-bar.",
        "DDPM is variance preserving, so two equations hold for alpha squared and sigma squared.",
        "The signal-to-noise ratio at λ = −1 is e to the power −2. Ratio and sum of two numbers fix both.",
    ),
)

TASKS = (RECOVER, HALF)
