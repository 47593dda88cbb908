"""The tasks of lesson 04: the exponential integrator, DPM-Solver and its multistep and stochastic forms.

An order is measured wherever one is claimed: on exact mixtures against the exact flow, on predictions that
are polynomials in lambda, for which the right method is exact, and on a grid whose steps alternate.  The
mixture's centre is not 0, and no pixel's range holds it: what clips or assumes a mean is wrong here.
"""

import math
from functools import lru_cache

import numpy as np
import sympy
import torch

from book.ch04 import solution
from book.lessons import (
    Mistake,
    Remark,
    Task,
    changed,
    error_lines,
    named_expressions,
    normal,
    read_axes,
    right_numbers,
    right_words,
    uniform,
)
from toolkit import VP, Flow, Mixture, grids
from toolkit.convergence import reference
from toolkit.exponential import phi as exact_phi

VP1 = VP()


def _ring_modes():
    """Eight places on a circle around (1.5, -1)."""
    turns = [2 * math.pi * k / 8 for k in range(8)]
    return [[1.5 + math.cos(turn), -1 + math.sin(turn)] for turn in turns]


@lru_cache
def _ring():
    """The exact model of eight modes there."""
    return Mixture([1] * 8, _ring_modes(), [0.3] * 8).model(VP1)


@lru_cache(maxsize=32)
def _flow_case(seed, end=0.01):
    """(x, exact): four samples at t = 1 and where the probability flow takes them, at t = end."""
    x = normal(seed, 4, 2) + VP1.alpha(1.0) * torch.tensor([1.5, -1.0], dtype=torch.float64)
    return x, reference(_ring(), x, 1.0, end)


def _pairs(times):
    """The (s, t) of each step."""
    return list(zip(times, times[1:]))


def _lambda_grid(steps, end=0.01):
    """Times from 1 to end of equal steps in lambda, a list of floats."""
    return grids.uniform_lambda(VP1, steps, 1.0, end).tolist()


def _alternating_grid(steps):
    """The same with steps in lambda that are alternately 3 h and h long; steps is even."""
    low, high = VP1.lam(1.0), VP1.lam(0.01)
    sizes = np.tile([3.0, 1.0], steps // 2)
    lams = low + (high - low) * np.cumsum(sizes)[:-1] / sizes.sum()
    return [1.0, *(float(VP1.t_of_lam(float(lam))) for lam in lams), 0.01]


def _rms(x):
    """Root mean square over all entries, a float."""
    return float((x**2).mean() ** 0.5)


def _walk(step, model, x, times):
    """One step for each pair of times."""
    for s, t in _pairs(times):
        x = step(model, x, s, t)
    return x


def _order(coarse, fine):
    """The order that two errors show, the second with twice the steps; 99 for a result that is no number."""
    ok = math.isfinite(coarse) and math.isfinite(fine) and coarse > 0 and fine > 0
    return math.log2(coarse / fine) if ok else 99.0


def _whole_order(coarse, fine, most):
    """The same as a whole number, and `most` for whatever is higher; 99 for a result that is no number."""
    order = _order(coarse, fine)
    return order if order == 99.0 else float(min(most, round(order)))


# --- 4.1: phi functions -------------------------------------------------------------------------------------


def _probe_phi(answer, seed):
    values = {}
    for k in (1, 2, 3):
        values[f"phi_{k} at z = 1e-8, -2e-3, 0, 0.7"] = [
            float(answer.phi(k, z)) for z in (1e-8, -2e-3, 0.0, 0.7)
        ]
    values["phi_1, phi_2, phi_3 at z = -30"] = [float(answer.phi(k, -30.0)) for k in (1, 2, 3)]
    s, t = round(0.6 + uniform(seed, 0, 0.1), 3), round(0.4 - uniform(seed, 0, 0.1, stream=1), 3)
    x, ds = normal(seed, 2, 2), normal(seed, 3, 2, 2, stream=2)
    for n, name in ((1, "constant"), (3, "quadratic")):
        values[f"x_t, eps {name} in lambda, from t = {s:g} to {t:g}"] = answer.exact_step(
            x, list(ds[:n]), VP1.alpha(s), VP1.sigma(s), VP1.alpha(t), VP1.sigma(t)
        )
    return values


_NEAR_ZERO = "abs(z) < 2"  # where the series is used
_AT_ZERO = (_NEAR_ZERO, "z == 0")
_WEIGHT = "phi(k + 1, h)"

PHI = Task(
    id="4.1",
    title="The exact solution, and a function that cancels",
    kind="implement-equation",
    difficulty=2,
    minutes=25,
    points=4,
    ids=("T27", "T28", "S29", "BT17"),
    names=("phi", "exact_step"),
    probe=_probe_phi,
    reference={"phi": solution.phi, "exact_step": solution.exact_step},
    tolerance=1e-9,
    decimals=9,
    asks=dict.fromkeys(
        [f"phi_{k} at z = 1e-8, -2e-3, 0, 0.7" for k in (2, 3)],
        "phi_1 is right, and of a higher phi not all nine digits are: compare series and recursion between "
        "z = 1e-8 and 1. Down to where is the recursion good, and how many terms does the series need there?",
    )
    | {
        "phi_1, phi_2, phi_3 at z = -30": "Near 0 every digit is right, and at z = −30 not: yours gives "
        "{value}. The terms of the series grow there up to 30³⁰/30! before they fall, and alternate: what is "
        "the other way to phi, and why is it harmless at −30?",
    },
    mistakes=(
        Mistake(
            {"phi": changed(solution.phi, _AT_ZERO)},
            "The formula is right and the digits are not: at z = 1e-8 your recursion subtracts two numbers "
            "that agree in nearly all their digits, and divides what is left. What is phi there without a "
            "subtraction?",
        ),
        Mistake(
            {
                "phi": changed(
                    solution.phi, _AT_ZERO, ("math.exp(z)", "math.expm1(z) / z"), ("range(k)", "range(1, k)")
                )
            },
            "expm1 has saved phi_1. But phi_2 and phi_3 subtract again, and again almost equal numbers: "
            "which sum gives them directly when z is small?",
        ),
        Mistake(
            {"phi": changed(solution.phi, (_NEAR_ZERO, "True"), ("range(30)", "range(20)"))},
            "Near 0 every digit is right. At z = −30 twenty terms of the series are nowhere near its end: "
            "where is the recursion harmless?",
        ),
        Mistake(
            {"phi": changed(solution.phi, (_NEAR_ZERO, "abs(z) < 1"), ("range(30)", "range(3)"))},
            "Three terms are too few for nine digits below |z| = 1: how large is the first term that you "
            "leave out at z = 0.7?",
        ),
        Mistake(
            {"phi": changed(solution.phi, (_NEAR_ZERO, "abs(z) < 1e-3"), ("range(30)", "range(2)"))},
            "The right idea, and the wrong place to change over: at z = −2e-3 the recursion "
            "has lost half of phi_3's digits already. With more terms you may change over much earlier.",
        ),
        Mistake(
            {
                "phi": changed(
                    solution.phi, _AT_ZERO, ("math.factorial(n + k)", "1"), ("1 / math.factorial(j)", "1")
                )
            },
            "phi_1 is right. From phi_1 to phi_2 it is not 1 that is subtracted at every stage: what is "
            "phi_k at z = 0?",
        ),
        Mistake(
            {"phi": changed(solution.phi, ("    if abs(z) < 2:", "    z = -z\n    if abs(z) < 2:"))},
            "The sign of z is turned round: which of phi_1(2) and phi_1(−2) is larger than 1?",
        ),
        Mistake(
            {"exact_step": changed(solution.exact_step, ("alpha_t / alpha_s", "sigma_t / sigma_s"))},
            "x is carried over by the quotient of the sigmas: that belongs to data prediction. With a "
            "prediction of 0 noise, what is left of x_t = alpha_t x_0?",
        ),
        Mistake(
            {
                "exact_step": changed(
                    solution.exact_step, ("* derivative\n", "* derivative / math.factorial(k)\n")
                )
            },
            "You divide by k! once more: phi's own integral has it already, u^(k−1)/(k−1)!.",
        ),
        Mistake(
            {"exact_step": changed(solution.exact_step, ("h ** (k + 1)", "h**k"))},
            "Your terms have one power of h too few: substitute lambda = lambda_s + u h in the integral. "
            "What becomes of d lambda?",
        ),
        Mistake(
            {"exact_step": changed(solution.exact_step, ("x - sigma_t", "x + sigma_t"))},
            "The integral is added. Noise is what has to be taken away on the way to the data: which sign "
            "has it?",
        ),
        Mistake(
            {"exact_step": changed(solution.exact_step, ("alpha_t / alpha_s", "alpha_s / alpha_t"))},
            "The linear part shrinks x. alpha grows on the way to the data: which alpha stands above the "
            "line?",
        ),
        Mistake(
            {"exact_step": changed(solution.exact_step, ("sigma_t * integral", "sigma_s * integral"))},
            "The integral is multiplied by the sigma of the start. With e^(lambda_t − lambda) inside it, "
            "which sigma stands outside?",
        ),
        Mistake(
            {"exact_step": changed(solution.exact_step, (_WEIGHT, "1 / math.factorial(k + 1)"))},
            "You expand the whole integral, weight included, as if e^(lambda_t − lambda) were 1. The weight "
            "is to be integrated exactly: that is what phi is for.",
        ),
        Mistake(
            {"exact_step": changed(solution.exact_step, (_WEIGHT, "phi(k + 1, -h)"))},
            "You use phi(−h), which belongs to data prediction. With noise prediction the weight "
            "e^(lambda_t − lambda) is largest at the start: which sign is that?",
        ),
        Mistake(
            {"exact_step": changed(solution.exact_step, ("(derivatives)", "(derivatives[:1])"))},
            "Right for a constant prediction: that is DDIM. The higher derivatives do not enter yet.",
        ),
        Mistake(
            {"exact_step": changed(solution.exact_step, (_WEIGHT, "phi(k, h)"))},
            "The index of phi is one too small: the k-th derivative comes with (lambda − lambda_s)^k / k!, "
            "and phi_1 already belongs to k = 0.",
        ),
    ),
    hints=(
        "Print your phi_3 at z = 1, 0.1, 0.01, … next to 1/6. From where on does it get worse?",
        "Two ways to the same function: the recursion, good when |z| is about 1 or more, and the power "
        "series of phi, whose coefficients follow from integrating e^((1−u)z) term by term. Use each "
        "where it is good, with enough terms.",
        "The series has z to the n over (n + k) factorial. In the step, the k-th derivative (k from 0) is "
        "multiplied by h to the k + 1 and by phi with index k + 1 at h; all of it times sigma at the end, "
        "subtracted from x times the quotient of the alphas.",
    ),
)

# --- 4.2: DPM-Solver-1, 2, 3 --------------------------------------------------------------------------------

# Steps between which an order is measured.  A DPM-Solver-2 of order 1 with a large second-order error shows
# itself only from 48 steps on.
_COUNTS = {1: 24, 2: 48, 3: 24}
_SECOND = "way from s to t, in lambda, at DPM-Solver-2's last call"


class _Listening:
    """A model that notes the times at which its predictions are asked for."""

    def __init__(self, model):
        self.model, self.times = model, []

    def __getattr__(self, name):
        there = getattr(self.model, name)
        if name not in ("eps", "x0", "score", "v"):
            return there

        def asked(x, t):
            self.times.append(float(torch.as_tensor(t, dtype=torch.float64).reshape(-1)[0]))
            return there(x, t)

        return asked


def _last_share(step, x, s, t):
    """How far from s to t in lambda the last call of a step lies: 0 at s, 1 at t; nan without a call."""
    told = _Listening(_ring())
    step(told, x, s, t)
    if not told.times:
        return math.nan
    return (VP1.lam(told.times[-1]) - VP1.lam(s)) / (VP1.lam(t) - VP1.lam(s))


def _probe_steps(answer, seed):
    x, exact = _flow_case(seed)
    model, steps = _ring(), [answer.dpm1_step, answer.dpm2_step, answer.dpm3_step]
    values, calls = {_SECOND: _last_share(answer.dpm2_step, x, 0.6, 0.4)}, []
    for p, step in enumerate(steps, 1):
        n = _COUNTS[p]
        errors = [_rms(_walk(step, model, x, _lambda_grid(k)) - exact) for k in (n, 2 * n)]
        values[f"order of DPM-Solver-{p}, {n} to {2 * n} steps, rounded"] = float(round(_order(*errors)))
    for p, step in enumerate(steps, 1):
        before = model.nfe
        values[f"x after one step of DPM-Solver-{p}"] = step(model, x, 0.6, 0.4)
        calls.append(float(model.nfe - before))
    return values | {"calls a step": calls}


_LAST = "x, middle, s, t"
_FIRST_USED = (_LAST, "x, e, s, t")
_MEAN_USED = (_LAST, "x, (e + middle) / 2, s, t")
_TIME_OF_START = ("eps(u, m)", "eps(u, s)")
_AT_END = ("0.5", "1.0")
_UNCORRECTED = (" - schedule.sigma(m2) * r2 / r1 * r2 * h * phi(2, r2 * h) * d1", "")


def _moved(*edits):
    """DPM-Solver-1 with another move."""
    return {"dpm1_step": changed(solution.dpm1_step, move=changed(solution.move, *edits))}


def _half_way(rest):
    """DPM-Solver-2 whose u is alpha_m / alpha_s times what is given; h is the way from s to m."""
    u = f"h = schedule.lam(m) - schedule.lam(s)\n    u = schedule.alpha(m) / schedule.alpha(s) * {rest}"
    return {"dpm2_step": changed(solution.dpm2_step, ("u = move(schedule, x, e, s, m)", u))}


STEPS = Task(
    id="4.2",
    title="DPM-Solver-1, 2 and 3",
    kind="implement-sampler",
    difficulty=3,
    minutes=40,
    points=6,
    allows=("toolkit.exponential.phi",),
    ids=("T29", "T35", "BT12", "BT13", "B06"),
    names=("dpm1_step", "dpm2_step", "dpm3_step"),
    probe=_probe_steps,
    reference={
        "dpm1_step": solution.dpm1_step,
        "dpm2_step": solution.dpm2_step,
        "dpm3_step": solution.dpm3_step,
    },
    asks={
        _SECOND: "Your DPM-Solver-2 makes its last call at another place than the middle of the step. The "
        "one prediction that is used stands for the whole step: what is the mean of lambda over it?",
        "order of DPM-Solver-1, 24 to 48 steps, rounded": "Your DPM-Solver-1 does not show order 1: halving "
        "the steps should halve its error. Is a step from s to s no change at all?",
        "order of DPM-Solver-2, 48 to 96 steps, rounded": "Your DPM-Solver-2 makes two calls a step and does "
        "not show order 2 (the value printed is what it shows). Which x and which time does each call get, "
        "and which prediction does the last line use?",
        "calls a step": "The steps are right, and the calls are not 1, 2 and 3: which prediction is asked "
        "for twice, or thrown away?",
        "order of DPM-Solver-3, 24 to 48 steps, rounded": "Your DPM-Solver-3 does not show order 3. Both "
        "corrections have a phi_2, at different arguments, and a quotient of shares in front: look at each.",
    },
    mistakes=(
        Mistake(
            _moved(("x - schedule.sigma(t) * math.expm1(h) * e", "(x - schedule.sigma(s) * h * e)")),
            "Order 1, but not DPM-Solver-1: this is Euler's step in lambda, with h where the exact integral "
            "of the weight stands. What is the integral of e^(lambda_t − lambda)?",
        ),
        Mistake(
            _moved(("math.expm1(h)", "-math.expm1(-h)")),
            "The exponent has the wrong sign: 1 − e^(−h) is what data prediction uses. Which way does "
            "e^(lambda_t − lambda) run?",
        ),
        Mistake(
            _moved(("math.expm1(h)", "math.exp(h)")),
            "With e^h alone a step of length 0 still takes away all the noise. What does e^h − 1 do there?",
        ),
        Mistake(
            {"dpm2_step": changed(solution.dpm2_step, _FIRST_USED)},
            "Secretly of order 1: this is DPM-Solver-1 with one call thrown away. The last line uses the "
            "prediction at the start; which one was the second call made for?",
        ),
        Mistake(
            {"dpm2_step": changed(solution.dpm2_step, _TIME_OF_START)},
            "Secretly of order 1: the second call gets the state of the middle and the time of the start. "
            "At which time is u?",
        ),
        Mistake(
            {"dpm2_step": changed(solution.dpm2_step, ("eps(u, m)", "eps(x, m)"))},
            "Secretly of order 1: the second call gets the time of the middle and the state of the start. "
            "What was u made for?",
        ),
        Mistake(
            {"dpm2_step": changed(solution.dpm2_step, (_LAST, "u, middle, m, t"))},
            "Secretly of order 1: you go on from u, so this is two half-steps of DPM-Solver-1. From where "
            "does the full step start?",
        ),
        Mistake(
            {"dpm2_step": changed(solution.dpm2_step, _MEAN_USED)},
            "Secretly of order 1: the mean of a prediction at the start and one in the middle belongs to a "
            "quarter of the way. Which point stands for the whole step?",
        ),
        Mistake(
            {"dpm2_step": changed(solution.dpm2_step, _AT_END, _MEAN_USED)},
            "Order 2, and not DPM-Solver-2: both ends and their mean, that is the r_1 = 1 form, like Heun's. "
            "Where does the task's method look?",
        ),
        Mistake(
            {"dpm2_step": changed(solution.dpm2_step, _AT_END)},
            "Secretly of order 1: u is a state of the end of the step, and its prediction alone stands for "
            "the whole of it, as wrong on the one side as the prediction at the start on the other. What "
            "lies between the two?",
        ),
        Mistake(
            {"dpm2_step": changed(solution.dpm2_step, ("0.5", "0.45"))},
            "Order 1 in the end, though 24 steps look better than they should: your second call lies 0.45 "
            "of the way, not in the middle. A twentieth of a step times the slope is an error in every step, "
            "and nothing takes it back: where does lambda have its mean?",
        ),
        Mistake(
            {"dpm2_step": changed(solution.dpm2_step, ("between(schedule, s, t, 0.5)", "(s + t) / 2"))},
            "Order 2 still, since half-way in t and half-way in lambda meet as the steps shrink; with long "
            "steps they are far apart. In which variable is the expansion made?",
        ),
        Mistake(
            _half_way("(x - schedule.sigma(s) * h * e)"),
            "Order 2 still: u is only needed to first order. But the statement's u is a step of "
            "DPM-Solver-1, and yours is one of Euler's.",
        ),
        Mistake(
            _half_way("x - schedule.sigma(m) * math.expm1(2 * h) * e"),
            "Secretly of order 1, and bad with few steps: u is at the middle, and you took away the noise "
            "of a whole step. How long is the way from s to m in lambda?",
        ),
        Mistake(
            _half_way("x - schedule.sigma(t) * math.expm1(h) * e"),
            "Order 2 still, since u is only needed to first order. But u is a state of the middle: which "
            "sigma belongs to it?",
        ),
        Mistake(
            {
                "dpm3_step": changed(
                    solution.dpm3_step, ("schedule.sigma(t) / r2 * h", "schedule.sigma(t) * h")
                )
            },
            "Order 1 only: D_2 is a change over a share r_2 of the step. By what must it be divided to "
            "become a slope?",
        ),
        Mistake(
            {"dpm3_step": changed(solution.dpm3_step, _UNCORRECTED)},
            "Order 2 only: u_2 is reached with a frozen prediction, which is not good enough for the third "
            "order. What does D_1 correct?",
        ),
        Mistake(
            {"dpm3_step": changed(solution.dpm3_step, ("eps(u2, m2) - e", "eps(u2, m2) - e - d1"))},
            "You measure D_2 against the prediction at m_1. Both D's are changes since the start of the "
            "step.",
        ),
        Mistake(
            {"dpm3_step": changed(solution.dpm3_step, ("2 / 3", "1 / 2"))},
            "Order 2 only, though nothing else is wrong: r_2 = 1/2. The last term must also get the second "
            "derivative right, and that fixes r_2: to what?",
        ),
        Mistake(
            {"dpm3_step": changed(solution.dpm3_step, ("phi(2, h)", "phi(1, h)"))},
            "The last correction has phi_1 where phi_2 stands: a linear change of the prediction, weighted "
            "and integrated, gives which phi?",
        ),
        Mistake(
            {"dpm3_step": changed(solution.dpm3_step, ("eps(u2, m2)", "eps(x, m2)"))},
            "The third call gets the state of the start. Each call needs the state that belongs to its time.",
        ),
    ),
    hints=(
        "Fill in `move` and `between` first, and try `move` alone as DPM-Solver-1. The other two are made "
        "of it.",
        "Make a table with a row for each call: which state, which time. For the second solver: (x, s), then "
        "(u, m), and the step itself starts from x again. Then test with twice the steps: by what is the "
        "error divided?",
        "Second: move to the middle in lambda with the first prediction, ask there, and make the whole step "
        "from x with that answer alone. Third: two visits, at 1/3 and 2/3; the second visit's state is "
        "corrected by D_1, the final step by D_2, each with minus sigma of its end time, its own step in "
        "lambda, phi_2 of that step, divided by the share at which the change was measured (in units of its "
        "own step).",
    ),
)

# --- 4.3: convergence and cost ------------------------------------------------------------------------------

_NAMES = ("DPM-Solver-1", "DPM-Solver-2", "DPM-Solver-3")
_ENOUGH = {"two_from": 18, "three_from": 12}  # calls


def _probe_convergence(answer, seed):
    x, exact = _flow_case(seed)
    before = _ring().nfe
    seen = read_axes(answer.draw(_ring(), x, exact, [8, 16, 32]))
    spent = float(_ring().nfe - before)
    values = {"x scale, y scale": f"{seen.xscale}, {seen.yscale}"}
    values["axes labelled"] = "yes" if seen.xlabel and seen.ylabel else "no"
    lines = error_lines(seen, *_NAMES)
    for name, (at, y) in lines.items():
        values[f"slope of {name}, last two points"] = np.log(y[-1] / y[-2]) / np.log(at[-1] / at[-2])
    values["calls at the last points"] = [at[-1] for at, _ in lines.values()]
    values["log10 of the last errors"] = [math.log10(y[-1]) for _, y in lines.values()]
    values["calls made for the figure"] = spent
    n = round(uniform(seed, 10, 40))
    drawn = answer.draw(_ring(), x, exact, [n, n + 5, n + 10])
    other = error_lines(read_axes(drawn), *_NAMES).values()
    values[f"calls at {n}, {n + 5}, {n + 10} steps"] = [at for at, _ in other]
    values[f"log10 of the errors at {n}, {n + 5}, {n + 10} steps"] = [np.log10(y) for _, y in other]
    return values


def _enough_facts(answer, seed):
    return right_numbers(answer, 0.01, **_ENOUGH)


CONVERGENCE = Task(
    id="4.3",
    title="Orders and costs, read off your own figure",
    kind="figure",
    difficulty=2,
    minutes=30,
    points=4,
    allows=("toolkit.dpm_solver",),
    ids=("T35", "T33", "P09", "BT15", "BB11"),
    names=("draw", "two_from", "three_from"),
    probe=_probe_convergence,
    facts=_enough_facts,
    reference={"draw": solution.draw, **_ENOUGH},
    tolerance=0.01,
    decimals=2,
    asks={
        "two_from": "two_from is not right yet. Is it a number of calls, a multiple of 6, and the first at "
        "which DPM-Solver-2 errs less than DPM-Solver-1 with as many calls?",
        "three_from": "three_from is not right yet. Is it a number of calls, a multiple of 6, and the first "
        "at which DPM-Solver-3 errs less than both others with as many calls?",
        "calls made for the figure": "The lines are right, and were dearer than they say: {value} calls of "
        "the model, where 8, 16 and 32 steps of the three solvers take 336. What asks more often than its "
        "axis tells?",
    },
    mistakes=(
        Mistake(
            {"draw": changed(solution.draw, ("ax.loglog", "ax.plot"))},
            "On these axes every falling error is a curve. On which axes does a power of the step become a "
            "straight line whose slope is the order?",
        ),
        Mistake(
            {"draw": changed(solution.draw, ("ax.loglog", "ax.semilogy"))},
            "Only the error's axis is logarithmic: there an exponential is straight, and a power is not.",
        ),
        Mistake(
            {"draw": changed(solution.draw, ('"calls of the model"', '""'))},
            "Calls or steps? Nothing on your horizontal axis says which: name both axes.",
        ),
        Mistake(
            {"draw": changed(solution.draw, ("n * calls for", "n for"))},
            "The slopes are right, but your axis counts steps, and so flatters the third solver three times. "
            "What does a step of each cost?",
        ),
        Mistake(
            {"draw": changed(solution.draw, ("n * calls for", "1 / n for"))},
            "Your axis is a step size, so that the lines rise to the right. The task asks for calls.",
        ),
        Mistake(
            {"draw": changed(solution.draw, rms=changed(solution.rms, (".sqrt()", "")))},
            "All your slopes are twice what they should be: that is the mean square. Where is the root?",
        ),
        Mistake(
            {
                "draw": changed(
                    solution.draw, rms=changed(solution.rms, (".square().mean().sqrt()", ".abs().mean()"))
                )
            },
            "You draw the mean absolute error. The slopes hardly notice, the values do: the task wants the "
            "root mean square.",
        ),
        Mistake(
            {"draw": changed(solution.draw, dpm2_step=changed(solution.dpm2_step, _TIME_OF_START))},
            "Your line 'DPM-Solver-2' has slope −1: it costs twice as much as DPM-Solver-1 and is secretly "
            "of order 1. Go back to 4.2: at which time is the second call made?",
        ),
        Mistake(
            {"draw": changed(solution.draw, dpm2_step=changed(solution.dpm2_step, _FIRST_USED))},
            "Your line 'DPM-Solver-2' is DPM-Solver-1's, moved to twice the cost: its second prediction is "
            "never used.",
        ),
        Mistake(
            {"draw": changed(solution.draw, dpm3_step=changed(solution.dpm3_step, _UNCORRECTED))},
            "Your line 'DPM-Solver-3' falls with slope −2 in the end: one of its corrections is missing "
            "or not good enough. Compare it with 4.2, where each D is used once.",
        ),
        Mistake(
            {
                "draw": changed(
                    solution.draw, lambda_grid=changed(solution.lambda_grid, ("uniform_lambda", "uniform"))
                )
            },
            "Your grid has equal steps in t, and its errors are larger by far. Which grid does the task ask "
            "for?",
        ),
        Mistake(
            {"two_from": 6},
            "At 6 calls DPM-Solver-2 makes three steps, and its error is twice that of DPM-Solver-1's six. "
            "From where on does it win?",
        ),
        Mistake(
            {"two_from": 12},
            "At 12 calls they are close, .092 against .085: who has the smaller error? Are both lines read "
            "at the same number of calls?",
        ),
        Mistake(
            {"two_from": 24},
            "At 24 calls it has been ahead for a while. Is it at the budget before?",
        ),
        Mistake(
            {"two_from": 9},
            "You count steps. What is asked for is calls, a multiple of 6.",
        ),
        Mistake(
            {"three_from": 4},
            "Four is the number of its steps. How many calls are they?",
        ),
        Mistake(
            {"three_from": 6},
            "At 6 calls DPM-Solver-3 makes two steps of more than four in lambda each. Its error is smaller "
            "than DPM-Solver-2's, but is it the smallest of the three?",
        ),
        Mistake(
            {"three_from": 18},
            "At 18 calls it leads by far. And one budget earlier?",
        ),
    ),
    hints=(
        "If twice the calls divide the error by 2 to the power p, which p do you read off a straight line on "
        "logarithmic axes?",
        "One point of the figure: a grid with n steps, a walk along it from x with one of your steps, the "
        "root mean square of the distance from `exact`. Its place on the axis is n times the calls a step.",
        "For the two numbers make a table with budgets 6, 12, 18, 24: each solver gets budget / 1, / 2, / 3 "
        "steps, so that all have spent the same. Compare the columns within a row.",
    ),
)

# --- 4.4: local error and stability -------------------------------------------------------------------------

_LOCAL = dict(sigma=(0.5, 2.0), h=(1.0, 2.0), d1=(1.0, 4.0), d2=(1.0, 4.0))


def _probe_local(answer, seed):
    growth = dict(h=(0.2, 1.0), mu=(0.3, 4.0))
    return named_expressions(answer, seed, 2, local_1=_LOCAL, local_2=_LOCAL, growth=growth)


def _limit_facts(answer, seed):
    return right_numbers(answer, 1e-3, limit_noise=solution.limit_noise, limit_data=solution.limit_data)


LOCAL = Task(
    id="4.4",
    title="What one step costs, and how long it may be",
    kind="coefficient",
    difficulty=3,
    minutes=35,
    points=5,
    ids=("T40", "T41", "S29", "T36"),
    names=("local_1", "local_2", "growth", "limit_noise", "limit_data"),
    probe=_probe_local,
    facts=_limit_facts,
    reference={
        "local_1": solution.local_1,
        "local_2": solution.local_2,
        "growth": solution.growth,
        "limit_noise": solution.limit_noise,
        "limit_data": solution.limit_data,
    },
    tolerance=1e-3,
    decimals=5,
    asks={
        "limit_noise": "limit_noise is not right yet. Put mu = 3 into your growth: where does its size pass "
        "1, beginning from h = 0, where it is 1?",
        "limit_data": "limit_data is not right yet. Put mu = 3 into the growth that the statement gives: "
        "where does its size pass 1, beginning from h = 0, where it is 1?",
    },
    mistakes=(
        Mistake(
            {"local_1": -solution.local_1},
            "The size is right. The task asks for exact minus numerical, and the integral enters x with a "
            "minus.",
        ),
        Mistake(
            {"local_1": 2 * solution.local_1},
            "Twice too much: what is the integral of (lambda − lambda_s) over the step?",
        ),
        Mistake(
            {"local_1": solution.local_1 / solution.sigma},
            "Nothing of sigma is left in your error, but the whole integral is multiplied by it.",
        ),
        Mistake(
            {"local_1": solution.local_1 / solution.sigma, "local_2": solution.local_2 / solution.sigma},
            "Both have lost sigma, by which the whole integral is multiplied.",
        ),
        Mistake(
            {"local_2": solution.local_2 / solution.sigma},
            "local_1 has its sigma, and local_2 has none: by what is the whole integral multiplied?",
        ),
        Mistake(
            {"local_1": -solution.local_1, "local_2": -solution.local_2},
            "Both signs are turned. Asked is exact minus numerical, and the integral enters x with a minus.",
        ),
        Mistake(
            {"local_1": "-sigma*(exp(h) - 1 - h)*d1"},
            "This is the whole contribution of the first derivative, and right. The *leading* term is asked "
            "for: the lowest power of h in it.",
        ),
        Mistake(
            {"local_1": "-sigma*exp(h)*h**2/2*d1"},
            "Yours has the sigma of the step's start, e^h times that of its end. To leading order that is no "
            "difference, and the task asks for a single power of h.",
        ),
        Mistake(
            {"local_1": "-sigma*h*d1"},
            "A local error like h would be no method at all: the frozen prediction is right to first order. "
            "Which power of h comes next?",
        ),
        Mistake(
            {"local_2": -solution.local_2},
            "The size is right. The task asks for exact minus numerical, and the integral enters x with a "
            "minus: that holds for both solvers.",
        ),
        Mistake(
            {"local_2": 2 * solution.local_2},
            "Twice too much. The prediction in the middle has h²/8 of the second derivative: is it an eighth "
            "in yours, and φ₁ = 1 + h/2 + …?",
        ),
        Mistake(
            {"local_2": "-sigma*h**3*d2/24"},
            "That is the midpoint rule's error for an integral without a weight. e^(lambda_t − lambda) is "
            "larger in the first half: what does that do to the term with d1?",
        ),
        Mistake(
            {"local_2": "-sigma*h**3*(d2/6 - d1/12)"},
            "The first derivative's part is right. The prediction in the middle knows a part of the second "
            "derivative already: how much of it?",
        ),
        Mistake(
            {
                "local_2": "-sigma*((exp(h) - 1 - h)*d1 + (exp(h) - 1 - h - h**2/2)*d2"
                " - (exp(h) - 1)*(h/2*d1 + h**2/8*d2))"
            },
            "This is the whole difference, and right. The *leading* term is asked for: expand it in h. "
            "Which is the lowest power that does not cancel?",
        ),
        Mistake(
            {"local_2": "-sigma*h**3*(d2/24 + d1/12)"},
            "The two parts are right in size. Which is larger, the exact coefficient of d1 or the midpoint "
            "rule's?",
        ),
        Mistake(
            {"local_2": "-sigma*h**3*(d2/24 + d1/6)"},
            "The exact coefficient of d1 has h³/6, but the numerical step has a term with h³ and d1 too: "
            "multiply (e^h − 1) by h/2.",
        ),
        Mistake(
            {"growth": "exp(h)*(1 - mu) + mu"},
            "That is DPM-Solver-1's, as given. DPM-Solver-2 takes its prediction in the middle, where x has "
            "changed already: by which factor?",
        ),
        Mistake(
            {"growth": solution.growth * sympy.exp(-solution.h)},
            "That is the chapter's growth, of x at alpha = 1. It is e^(−h) times what is asked for here, the "
            "growth of z = x/sigma: the limits of the two are not the same.",
        ),
        Mistake(
            {"growth": "exp(h) - (exp(h) - 1)*(mu + (1 - mu)*exp(h/2))"},
            "The prediction in the middle is mu times z there: the mu in front is missing.",
        ),
        Mistake(
            {"growth": "exp(h) - mu*(exp(h) - 1)*(mu + (1 - mu)*exp(h/2))*exp(h/2)"},
            "You multiply the prediction by a quotient of sigmas. In the middle eps is mu times x/sigma of "
            "the middle, and that is z already.",
        ),
        Mistake(
            {"growth": "exp(h) - mu*(exp(h) - 1)*(mu + (1 - mu)*exp(h/2))*exp(-h/2)"},
            "Your prediction in the middle is mu u / sigma_s, or else u has lost a factor e^(h/2). By which "
            "sigma is u divided there?",
        ),
        Mistake(
            {"growth": "exp(h) - mu*(exp(h) - 1)*(mu + (1 - mu)*exp(h))"},
            "Your prediction is taken at the end of the step. The middle is at h/2.",
        ),
        Mistake(
            {"growth": "(mu + (1 - mu)*exp(h/2))**2"},
            "That is two half-steps of DPM-Solver-1. DPM-Solver-2 begins again at the start once it has the "
            "prediction in the middle.",
        ),
        Mistake(
            {"growth": "exp(h) - mu*(exp(h/2) - 1)*(mu + (1 - mu)*exp(h/2))"},
            "The whole step is h long: which power of e stands in the bracket of the last line?",
        ),
        Mistake(
            {"growth": "1 + (1 - mu)*(exp(h/2) - exp(-h/2))*(mu + (1 - mu)*exp(h/2))"},
            "That is the growth with data prediction, which the statement gives. DPM-Solver-2 freezes the "
            "noise.",
        ),
        Mistake(
            {"growth": "1 + (1 - mu)*h + ((1 - mu)*h)**2/2"},
            "That is the growth of a classical second-order method in lambda. Here the linear part is "
            "carried exactly, so exponentials remain.",
        ),
        Mistake(
            {"growth": "exp((1 - mu)*h)"},
            "That is the exact growth, and so what the solver should come near. What does the solver do?",
        ),
        Mistake(
            {"limit_noise": math.log(2)},
            "That is the limit of DPM-Solver-1 (and of DDIM). Put mu = 3 into your growth of DPM-Solver-2.",
        ),
        Mistake(
            {"limit_noise": solution.limit_noise / 2},
            "You solved for h/2: with E = e^(h/2) the limit is at E = 4/3. What is h?",
        ),
        Mistake(
            {"limit_noise": solution.limit_noise / 2, "limit_data": solution.limit_data / 2},
            "Both are limits of h/2: with E = e^(h/2), h is twice the logarithm of E.",
        ),
        Mistake(
            {"limit_noise": 4 / 3, "limit_data": 3 / 2},
            "Those are the limits of E = e^(h/2) itself. What is h then?",
        ),
        Mistake(
            {"limit_noise": 4 / 3},
            "That is the limit of E = e^(h/2) itself. What is h then?",
        ),
        Mistake(
            {"limit_data": 3 / 2},
            "That is the limit of E = e^(h/2) itself, in the data form. What is h then?",
        ),
        Mistake(
            {"limit_noise": 1.0},
            "1 is the limit of Euler in lambda, 2/(mu − 1). The exponential solver has another one.",
        ),
        Mistake(
            {"limit_noise": solution.limit_data, "limit_data": solution.limit_noise},
            "Both numbers are right, and exchanged: which of the two solvers stands longer steps under "
            "guidance?",
        ),
        Mistake(
            {"limit_noise": solution.limit_data},
            "That is the other solver's limit. For noise prediction |growth| passes 1 earlier.",
        ),
        Mistake(
            {"limit_data": solution.limit_noise},
            "That is the limit with noise prediction. The growth with data prediction is given in the "
            "statement: where is it 1 again?",
        ),
        Mistake(
            {"limit_data": solution.limit_data / 2},
            "You solved for h/2 in the data form: what is h?",
        ),
        Mistake(
            {"limit_data": math.log(2)},
            "That is the limit of DPM-Solver-1, which is the same in both forms. The second-order solver has "
            "another one.",
        ),
    ),
    hints=(
        "Expand exact and numerical step side by side in powers of h, with eps, d1 and d2 as plain numbers. "
        "How far do they agree?",
        "First part: the weight's moments are h, h²/2 and h³/6 plus higher ones (h² φ₂ has h³/6 too), and "
        "the prediction in the middle is eps plus half a step of d1 plus an eighth of h² d2. Second part: "
        "z in the middle is DPM-Solver-1's growth over half a step, and it enters in place of z in the "
        "last line.",
        "For the limits write E for e^(h/2). Both growths are 1 at E = 1, where no step is made; divide that "
        "root out of growth = 1 and a linear equation for E is left. Take twice its logarithm. Draw |growth| "
        "to see that −1 is not reached before.",
    ),
)

# --- 4.5: find the bug, 2M ----------------------------------------------------------------------------------


class _Straight:
    """A model whose x0 is a straight line in lambda, the same for every x."""

    schedule, nfe = VP1, 0

    def begin(self):
        """Nothing to forget."""

    def x0(self, x, t):
        return 0 * x + 1 + 2 * VP1.lam(float(torch.as_tensor(t, dtype=torch.float64).reshape(-1)[0]))

    def eps(self, x, t):
        return (x - VP1.alpha(t) * self.x0(x, t)) / VP1.sigma(t)


def _straight_error(two_m, x):
    """Largest error of a step of 0.1 in lambda after one of 0.3, for a prediction that is a straight line."""
    s, m, t = (float(VP1.t_of_lam(lam)) for lam in (-1.0, -0.7, -0.6))
    there, end = two_m(_Straight(), x, [s, m]), two_m(_Straight(), x, [s, m, t])
    h = VP1.lam(t) - VP1.lam(m)
    integral = h * exact_phi(1, -h) * (1 + 2 * VP1.lam(m)) + h * h * exact_phi(2, -h) * 2
    exact = VP1.sigma(t) / VP1.sigma(m) * there + VP1.alpha(t) * integral
    return float((end - exact).abs().max())


def _probe_two_m(answer, seed):
    x, exact = _flow_case(seed)
    before = _ring().nfe
    errors = [_rms(answer(_ring(), x, _alternating_grid(n)) - exact) for n in (40, 80, 160)]
    calls = float(_ring().nfe - before)
    return {
        "order on alternating steps, 40 to 80": _whole_order(*errors[:2], 2),
        "order on alternating steps, 80 to 160": _whole_order(*errors[1:], 2),
        "calls of the model a step": calls / 280,
        _LINE: _straight_error(answer, x),
        _PATH: answer(_ring(), x, _alternating_grid(40)),
    }


_LINE, _PATH = "error of a step along a straight line, 0.3 then 0.1", "x after 40 alternating steps"
_TWO_M_FORM = (
    "Order 2 with one call a step, and right along a straight line. It is not the paper's update to the "
    "letter: that takes the line's value in the middle of the step in lambda. Another rule, such as "
    "integrating the line exactly, is as good."
)
_RATIO = "before / h"
_KEPT = "old, before = m, h"

TWO_M = Task(
    id="4.5",
    title="Find the bug: the step before is missing",
    kind="find-the-bug",
    difficulty=2,
    minutes=20,
    points=3,
    ids=("T32", "BT21", "E12", "BT19", "T14"),
    probe=_probe_two_m,
    reference=solution.two_m,
    tolerance=1e-5,
    decimals=4,
    loose={_LINE: (0.002, _TWO_M_FORM), _PATH: (0.02, _TWO_M_FORM)},
    asks={
        "order on alternating steps, 40 to 80": "The order on alternating steps is {value}, not 2. If it is "
        "2 on equal ones: what does your update know of the step before? If not there either: try one step "
        "alone.",
        "order on alternating steps, 80 to 160": "The order on alternating steps falls to {value}. What does "
        "your update know of the step before?",
        "calls of the model a step": "The order is 2, with {value} calls of the model a step. The method "
        "spends one, since it remembers the prediction of the step before: what do you ask for again?",
        _LINE: "Order 2 with one call a step. But a single step of 0.1 after one of 0.3, along a prediction "
        "that is a straight line in lambda, errs by {value}, and about 0.0001 is right: over which step was "
        "the difference of the two predictions measured, and over which is it used?",
    },
    mistakes=(
        Mistake(
            changed(solution.two_m, (_RATIO, "1.0")),
            "It does what the listing as given does: order 1 on steps that alternate. m − old was measured "
            "over the step before; which step is it used for?",
            as_given=True,
        ),
        Mistake(
            changed(solution.two_m, (_RATIO, "h / before")),
            "Your quotient stands on its head, and no order shows it: a step h after a step l errs by "
            "(l² − h²)/2 times the slope, and in the sum each h² is taken back by the next step. So order 2 "
            "on every such grid, with another constant (here some per cent larger), and another update: "
            "after a short step, is a change in m the sign of a steep slope or of a flat one?",
        ),
        Mistake(
            changed(solution.two_m, (_RATIO, "h / (h + before)")),
            "Your r is h / (h + l), with l the step before: the share of the new step in both. On equal "
            "steps that makes r = 1/2, where the listing, which is right there, has 1. Over which of the two "
            "steps was m − old measured?",
        ),
        Mistake(
            changed(solution.two_m, (_RATIO, "(h + before) / (2 * h)")),
            "You weigh m − old with h / (h + l), l the step before: right for equal steps, where it is 1/2, "
            "and order 1 on others. m and old are l apart, not the mean of h and l: what is the slope?",
        ),
        Mistake(
            changed(solution.two_m, (_RATIO, "(h + before) / h")),
            "You follow the line as if m and old were h + l apart, l being the step before. The new "
            "step still lies ahead: how far apart in lambda are the two predictions that you have?",
        ),
        Mistake(
            changed(solution.two_m, ("(2 * r)", "r")),
            "The two steps are compared the right way, but you follow the slope to the end of the step. "
            "Which point stands for its mean?",
        ),
        Mistake(
            changed(solution.two_m, ("m + (m - old)", "m - (m - old)")),
            "You go back along the slope instead of forward: the old prediction gets a positive weight. "
            "Extrapolation or mean?",
        ),
        Mistake(
            changed(solution.two_m, (_KEPT, "old, before = m, before or h")),
            "You compare every step with the very first one. What has to be remembered anew in each round?",
        ),
        Mistake(
            changed(solution.two_m, ("if old is None", "if True")),
            "First order everywhere, without any history: this is DDIM. The old prediction is worth having.",
        ),
        Mistake(
            changed(solution.two_m, ("        r =", "        model.x0(x, s)\n        r =")),
            "Order 2, and two calls a step. The task's first words are that it spends one and remembers: "
            "which prediction do you ask for again?",
        ),
        Mistake(
            changed(solution.two_m, ("old, before = m, h", "old, before = model.x0(x, t), h")),
            "You remember the prediction at the new state, which the next step asks for itself: then m − old "
            "is 0 and the calls are two a step. Which prediction is the old one?",
        ),
        Mistake(
            changed(solution.two_m, ("expm1(-h)", "expm1(h)")),
            "The exponent has the wrong sign: e^h − 1 is what noise prediction uses. Which way does the "
            "weight e^(lambda − lambda_t) run?",
        ),
    ),
    hints=(
        "Run the measurement on equal steps in lambda as well (`grids.uniform_lambda`): order 2. What does "
        "the listing take for granted?",
        "The update follows a straight line in lambda through two points. How far apart are they, and how "
        "far beyond the newer one is the middle of the new step? The loop has to remember one more number.",
        "Keep the last step's length in lambda, as m is kept. r is that length divided by the present one, "
        "and the difference of the two predictions is divided by twice r.",
    ),
)

# --- 4.6: find the bug, 3M ----------------------------------------------------------------------------------


def _probe_three_m(answer, seed):
    x, c = normal(seed, 2, 2), normal(seed, 4, 2, 2, stream=1)
    values = {}

    def error(m, derivatives, h):
        """Distance from the exact step for a prediction m(lambda), whose derivatives at 0 are known."""
        h1, h2 = 0.6 * h, 1.7 * h
        alpha_t, gain = 0.8, 0.5
        x_t = answer(x, m(0.0), m(-h1), m(-h1 - h2), h, h1, h2, alpha_t, gain)
        terms = (h ** (k + 1) * exact_phi(k + 1, -h) * d for k, d in enumerate(derivatives))
        return x_t - gain * x - alpha_t * sum(terms)

    for n, name in ((1, "constant"), (2, "linear"), (3, "quadratic")):
        derivatives = [c[k] * math.factorial(k) for k in range(n)]
        off = error(lambda lam, n=n: sum(c[k] * lam**k for k in range(n)), derivatives, 0.5)
        values[f"rms error of a step, x0 {name} in lambda"] = _rms(off)
    wave = [c[k % 2 + 2] * (-1) ** (k // 2) for k in range(24)]
    local = [
        _rms(error(lambda lam: c[2] * math.cos(lam) + c[3] * math.sin(lam), wave, h)) for h in (0.1, 0.05)
    ]
    values["power of h in one step's error"] = _order(*local)
    h, h1, h2 = (round(uniform(seed, 0.3, 0.9, stream=k), 3) for k in range(3))
    label = f"x after a step, h = {h:g}, h1 = {h1:g}, h2 = {h2:g}"
    return values | {label: answer(x, c[0], c[1], c[2], h, h1, h2, 0.8, 0.5)}


_DIVIDED = ("2 * (near", "(near")  # the divided difference, not the derivative
_NO_LIMIT = ("- 0.5", "+ 0.5")

THREE_M = Task(
    id="4.6",
    title="Find the bug: a third order that nobody has",
    kind="find-the-bug",
    difficulty=3,
    minutes=25,
    points=4,
    ids=("D1", "D2", "T14"),
    probe=_probe_three_m,
    reference=solution.third_update,
    decimals=5,
    asks={
        "rms error of a step, x0 constant in lambda": "Not even a constant prediction is integrated exactly: "
        "the error of a step is {value}. The first two terms of the listing were right.",
        "rms error of a step, x0 linear in lambda": "Exact for a constant, and off by {value} for a straight "
        "line. Which lines of the listing make the slope at the newest point?",
        "rms error of a step, x0 quadratic in lambda": "Exact for straight lines, and off by {value} for a "
        "parabola: what is d2 for x0 = lambda², and what is its coefficient as h goes to 0?",
    },
    mistakes=(
        Mistake(
            changed(solution.third_update, _DIVIDED, _NO_LIMIT),
            "It does what the listing as given does: exact for straight lines, and a step's error falls like "
            "h². To which power should a step of a third-order method err?",
            as_given=True,
        ),
        Mistake(
            changed(solution.third_update, _NO_LIMIT),
            "The second derivative is right now. Its coefficient should vanish with h, as (e^(−h) − 1 + "
            "h)/h² nears 1/2: does yours?",
        ),
        Mistake(
            changed(solution.third_update, _DIVIDED),
            "A step errs like h³ now: that is order 2, the order that several libraries' 3M has. For "
            "x0 = lambda², what is D2 in your listing, and what is the second derivative?",
        ),
        Mistake(
            changed(solution.third_update, ("2 * (near", "0.5 * (near")),
            "You halved D2 instead. A second divided difference is f''/2 already: which way must it be "
            "corrected?",
        ),
        Mistake(
            changed(solution.third_update, (" + r0 / (r0 + r1) * (near - far)", "")),
            "D2 is right. D1 should be the slope at the newest point: the last two predictions alone give it "
            "half a step earlier. Which line of the listing did that correct?",
        ),
        Mistake(
            changed(solution.third_update, ("h1 / h, h2 / h", "h2 / h, h1 / h")),
            "The two quotients are exchanged: over which step was m0 − m1 measured?",
        ),
        Mistake(
            changed(solution.third_update, (" + ((e + h) / h**2 - 0.5) * d2", "")),
            "You removed the last term. Then this is a second-order method, and not the listing's idea; the "
            "term is good once it is right.",
        ),
        Mistake(
            changed(solution.third_update, ("+ ((e + h)", "- ((e + h)")),
            "You turned the sign of the whole last term. Which power of h is its coefficient like, and which "
            "sign has φ₃?",
        ),
        Mistake(
            changed(solution.third_update, ("- (e / h + 1) * d1", "+ (e / h + 1) * d1")),
            "You turned the sign of the term with d1, which was right: exact for a constant, and not for a "
            "straight line.",
        ),
        Mistake(
            changed(solution.third_update, ("2 * (near - far) / (r0 + r1)", "2 * (near - far) / (r0 * r1)")),
            "The difference of the two slopes is divided by the wrong length: how far apart are the middles "
            "of the two steps that they belong to?",
        ),
    ),
    hints=(
        "Three test functions say which line is wrong: constant, linear and quadratic predictions. A method "
        "that uses three of them should be exact for all.",
        "Two mistakes, both in what belongs to D2. Print D2 for m = lambda² and compare with h² times the "
        "second derivative; then print the coefficient of D2 for h = 0.1 and h = 0.01.",
        "A divided difference of second order is half the second derivative. And the coefficient of D2 is "
        "minus alpha times something that must tend to 0 like h: the constant in it has to cancel the limit "
        "of (e^(−h) − 1 + h)/h².",
    ),
)

# --- 4.7: find the bug, time and sign -----------------------------------------------------------------------


def _probe_clock(answer, seed):
    model, calls = _ring(), 0

    def asked(total):
        def net(x, n):
            nonlocal calls
            calls += 1
            return model.eps(x, float(n) / total)

        return net

    def error(n, total, end):
        x, exact = _flow_case(seed, end)
        return _rms(answer(asked(total), VP1, x, _lambda_grid(n, end), total) - exact)

    fine = [error(n, 1000, 0.01) for n in (25, 50, 100)]
    coarse = [error(n, 100, 0.1) for n in (20, 40)]
    spent = round(calls / 235, 1)  # a step that the clock is too coarse for may be left out
    x = answer(asked(1000), VP1, _flow_case(seed)[0], [0.2126, 0.1374], 1000)
    return {
        "order from 25 to 50 steps, rounded": _whole_order(*fine[:2], 2),
        "order from 50 to 100 steps, rounded": _whole_order(*fine[1:], 2),
        "order from 20 to 40 steps, a clock of 100, rounded": _whole_order(*coarse, 2),
        "calls of the network a step": spent,
        _FINE: [math.log10(e) if e > 0 else -99.0 for e in fine],
        _CLOCK_STEP: x,
    }


_FINE, _CLOCK_STEP = "log10 of the errors, 25, 50, 100 steps", "x after one step, from 0.2126 to 0.1374"
_CLOCK_FORM = (
    "Order 2 with two calls a step, on a clock of 1000 and on one of 100: right. It is not the statement's "
    "method along the statement's times to the letter, as when the times themselves are whole numbers of the "
    "clock."
)
_CUT_START = ("s * total", "int(s * total)")
_CUT_MIDDLE = ("m * total", "int(m * total)")
_SHRINKS = ("math.exp(", "1 / math.exp(")

CLOCK = Task(
    id="4.7",
    title="Find the bug: the clock and the sign",
    kind="find-the-bug",
    difficulty=2,
    minutes=20,
    points=3,
    ids=("D5", "BS32", "R2", "BS34"),
    probe=_probe_clock,
    reference=solution.dpm2_on_steps,
    tolerance=1e-5,
    decimals=3,
    loose={_FINE: (0.12, _CLOCK_FORM), _CLOCK_STEP: (0.02, _CLOCK_FORM)},
    asks={
        "order from 25 to 50 steps, rounded": "From 25 to 50 steps the order is {value}, not 2. Begin with a "
        "prediction of 0: by what is x multiplied in a step?",
        "order from 50 to 100 steps, rounded": "From 25 to 50 steps the order is 2, from 50 to 100 it is "
        "{value}. At which times is the network asked, and at which does the solver take alpha and sigma?",
        "order from 20 to 40 steps, a clock of 100, rounded": "On a clock of 1000 the order is 2, on one of "
        "100 from 20 to 40 steps it is {value}: a coarser clock shows what is rounded. Which of the two "
        "calls gets another time than its state?",
        "calls of the network a step": "The order is 2, with {value} calls of the network a step. "
        "DPM-Solver-2 makes two.",
    },
    mistakes=(
        Mistake(
            changed(solution.dpm2_on_steps, _CUT_START, _CUT_MIDDLE, _SHRINKS),
            "It does what the listing as given does: an error that no number of steps makes smaller. Begin "
            "with a prediction of 0: what is left of a step, and should x grow or shrink on the way to the "
            "data?",
            as_given=True,
        ),
        Mistake(
            changed(solution.dpm2_on_steps, _CUT_START, _CUT_MIDDLE),
            "The sign is right, and 25 steps look fine. But with every doubling less is gained, down to a "
            "plateau: is eps asked at the time at which the solver believes it was asked?",
        ),
        Mistake(
            changed(solution.dpm2_on_steps, _SHRINKS),
            "The clock is right now. Still nothing converges: with a prediction of 0, x should be multiplied "
            "by alpha_t / alpha_s. By what does the listing multiply it?",
        ),
        Mistake(
            changed(solution.dpm2_on_steps, _CUT_MIDDLE),
            "The first call has its exact time, the second is still asked at a time that was cut off.",
        ),
        Mistake(
            changed(solution.dpm2_on_steps, _CUT_START),
            "The middle has its exact time, the start of the step is still cut off. It matters less "
            "there, and it matters.",
        ),
        Mistake(
            changed(
                solution.dpm2_on_steps, ("s * total", "round(s * total)"), ("m * total", "round(m * total)")
            ),
            "Rounding to the nearest is better than cutting off: errors of either sign average out, slowly. "
            "On a clock of 100, though, twice the steps hardly help. Does the network need a whole number at "
            "all?",
        ),
        Mistake(
            changed(
                solution.dpm2_on_steps,
                ("    for s, t", "    times = [int(t * total) / total for t in times]\n    for s, t"),
                (" / 2)\n", " / 2)\n        m = int(m * total) / total\n"),
            ),
            "Solver and network agree about the time now, but no middle is a middle any more: each is "
            "moved by up to a whole time step, and the order is lost all the same. It is the question to "
            "the network that is to be mended.",
        ),
        Mistake(
            changed(
                solution.dpm2_on_steps,
                ("    for s, t", "    times = [round(t * total) / total for t in times]\n    for s, t"),
                (" / 2)\n", " / 2)\n        m = round(m * total) / total\n"),
            ),
            "Solver and network agree about the time now. A grid of whole numbers is fine; but the middle is "
            "moved off the middle by up to half a time step, and with it the order is lost. What may stay a "
            "fraction?",
        ),
        Mistake(
            changed(solution.dpm2_on_steps, ("(u, m * total)", "(u, s * total)")),
            "The second call gets the state of the middle and the time of the start. At which time is u?",
        ),
        Mistake(
            changed(solution.dpm2_on_steps, ("s * total", "s"), ("m * total", "m")),
            "Your network is asked at step numbers below 1, as if its clock were t. Which n belongs to the "
            "time s?",
        ),
        Mistake(
            changed(solution.dpm2_on_steps, ("math.expm1(h)", "-math.expm1(-h)")),
            "The linear part and the clock are right, but you turned the exponent h too. With noise "
            "prediction the weight is e^h − 1.",
        ),
        Mistake(
            changed(solution.dpm2_on_steps, ("growth * x", "x")),
            "x is carried over unchanged. In the variance-preserving process its mean part grows by the "
            "quotient of the alphas.",
        ),
    ),
    hints=(
        "Two mistakes, of different kinds: one shows with a single step, the other only with many. Mend the "
        "first, then look at the orders from 25 to 200 steps.",
        "For the first set e = 0: the ODE is then dx/dt = f x, which multiplies x by the quotient of the "
        "alphas. For the second compare the time at which alpha, sigma and lambda are taken with the one "
        "that the network is told.",
        "Going from s down to `to`, log alpha rises, and the exponent of the linear part is that rise. "
        "And a network whose clock is continuous takes s · total as it is; if it truly knew whole numbers "
        "only, the grid would have to be made of them.",
    ),
)

# --- 4.8: the adaptive solver -------------------------------------------------------------------------------


class _Endless(Exception):
    """The solver called its model too often."""


class _Watched:
    """A model whose eps is the function given."""

    schedule = VP1

    def __init__(self, eps):
        self.eps = eps


def _probe_dpm12(answer, seed):
    x, _ = _flow_case(seed)
    a, b, c = (normal(seed, 3, 2, stream=k) for k in (5, 6, 7))
    values = {
        "estimate, two cases": [answer.estimate(a, b, c, *tol) for tol in ((0.01, 0.1), (2.0, 0.1))],
        "next_h(0.3, error, p), error 4, 0.5, 0.001, p 1, 2": [
            answer.next_h(0.3, error, p) for error in (4.0, 0.5, 1e-3) for p in (1, 2)
        ],
    }
    model, before = _ring(), _ring().nfe

    def told(x, t):
        if model.nfe - before > 1200:
            raise _Endless
        return model.eps(x, t)

    try:
        result = answer.dpm12(_Watched(told), x, 1.0, 0.01, 3.0, 0.0078, 0.05)
    except _Endless:
        return values | {"tries accepted, rejected": "no end after 1200 calls"}
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise Remark("dpm12 returns two things: x at the end, and the list of tries.")
    end, tries = result
    try:
        accepted = [bool(fine) for _, _, _, fine in tries]
    except (TypeError, ValueError):
        raise Remark("tries is a list of (t, s, error, accepted), one entry for every try.") from None
    return values | {
        "tries accepted, rejected": [accepted.count(True), accepted.count(False)],
        "calls of the model": float(model.nfe - before),
        "x at the end": end,
    }


def _power_facts(answer, seed):
    return right_numbers(answer, 1e-6, p_23=solution.p_23)


_TAKEN = "x, t, e = high, s, None"

ADAPTIVE = Task(
    id="4.8",
    title="DPM-Solver-12, which chooses its own steps",
    kind="implement-sampler",
    difficulty=3,
    minutes=35,
    points=5,
    ids=("T34", "T39", "BT22", "S23"),
    names=("estimate", "next_h", "dpm12", "p_23"),
    probe=_probe_dpm12,
    facts=_power_facts,
    reference={
        "estimate": solution.estimate,
        "next_h": solution.next_h,
        "dpm12": solution.dpm12,
        "p_23": solution.p_23,
    },
    decimals=5,
    asks={
        "estimate, two cases": "Your estimate gives {value}. Entry by entry: which distance stands above the "
        "line, which is the larger of two tolerances below it, and which mean is taken of the quotients?",
        "next_h(0.3, error, p), error 4, 0.5, 0.001, p 1, 2": "next_h is not the statement's yet, {value} "
        "for one of the six: safety times h times the error to the power −1/(p + 1), and no more than that.",
        "p_23": "p_23 is not right yet. Of which member of a pair does the distance show the error?",
        "tries accepted, rejected": "How many tries does your solver accept and reject? First the error of a "
        "try, then the verdict, then the next h: check the three in this order.",
    },
    mistakes=(
        Mistake(
            {"next_h": changed(solution.next_h, ("1 / (p + 1)", "1 / p"))},
            "Your exponent is 1/p. A method of order p errs like h^(p + 1) in one step: what is h for a "
            "wanted error?",
        ),
        Mistake(
            {"next_h": changed(solution.next_h, ("h / error", "h * error"))},
            "The fraction stands on its head: a try with four times the allowed error makes your next step "
            "longer.",
        ),
        Mistake(
            {"next_h": changed(solution.next_h, ("safety * h", "h"))},
            "Without the safety factor the next try is expected to hit the tolerance exactly, and half of "
            "them miss it. Where does safety stand?",
        ),
        Mistake(
            {"next_h": changed(solution.next_h, ("safety * h / error", "h / (safety * error)"))},
            "Your safety factor is inside the power, where it makes steps longer: which side is the safe "
            "one?",
        ),
        Mistake(
            {"estimate": changed(solution.estimate, (".square().mean().sqrt()", ".abs().max()"))},
            "You take the largest entry: a stricter solver. The task measures the root mean square.",
        ),
        Mistake(
            {"estimate": changed(solution.estimate, (".sqrt()", ""))},
            "That is the mean square. The controller's power is made for the root of it.",
        ),
        Mistake(
            {"estimate": changed(solution.estimate, ("low.abs(), before", "high.abs(), before"))},
            "Your scale looks at the second-order state. The statement's looks at the first-order one and at "
            "the state before.",
        ),
        Mistake(
            {
                "next_h": changed(
                    solution.next_h, ("    return safety", "    return 5 * h if error < 0.01 else safety")
                )
            },
            "You limit how much a step may grow, as many codes do. The statement's controller has no limit.",
        ),
        Mistake(
            {"estimate": changed(solution.estimate, (".mean()", ".sum()"))},
            "Your error grows with the number of entries, so that a larger batch gets shorter steps. What is "
            "*mean* about a root mean square?",
        ),
        Mistake(
            {"estimate": changed(solution.estimate, ("/ scale", "/ atol"))},
            "Only the absolute tolerance counts in your estimate. Where an entry is large, what does rtol "
            "allow?",
        ),
        Mistake(
            {"estimate": changed(solution.estimate, ("(rtol", "atol + (rtol"), (".clamp(min=atol)", ""))},
            "You add the two tolerances, as many codes do. Here the scale is the larger of the two.",
        ),
        Mistake(
            {"estimate": changed(solution.estimate, ("torch.maximum(low.abs(), before.abs())", "low.abs()"))},
            "Your scale looks at the new state only. It should look at the state before the step as well, so "
            "that an entry on its way through 0 is not judged too harshly.",
        ),
        Mistake(
            {"estimate": changed(solution.estimate, ("clamp(min=", "clamp(max="))},
            "Your scale is the smaller of the two tolerances: near 0 it allows no error at all. atol is "
            "there as a floor.",
        ),
        Mistake(
            {
                "dpm12": changed(
                    solution.dpm12, ("error, error <= 1)", "error, True)"), ("if error <= 1", "if True")
                )
            },
            "Every try is accepted, whatever its error. What is the estimate for?",
        ),
        Mistake(
            {"dpm12": changed(solution.dpm12, (_TAKEN, "x = high\n        t, e = s, None"))},
            "After a rejection you go on from s with the old x, and skip a piece of the way. What stays "
            "as it was when a try is rejected?",
        ),
        Mistake(
            {"dpm12": changed(solution.dpm12, (_TAKEN, "x, t, e = low, s, None"))},
            "You walk on with the first-order state. The second-order one is paid for: why not keep it?",
        ),
        Mistake(
            {
                "dpm12": changed(
                    solution.dpm12,
                    ("t != end", "t > end"),
                    ("        h = min(h, left)\n", ""),
                    ("end if h == left else ", ""),
                )
            },
            "Your last step runs beyond the end. How long may it be?",
        ),
        Mistake(
            {"dpm12": changed(solution.dpm12, (" if e is None else e", ""))},
            "All is right but the bill: after a rejection neither x nor t has changed, and yet the "
            "prediction there is asked for again. Keep it.",
        ),
        Mistake(
            {"dpm12": changed(solution.dpm12, ("        h = next", "        else:\n            h = next"))},
            "You set h only after a rejection, so that it never grows. What does the controller say after "
            "a try that was far better than needed?",
        ),
        Mistake(
            {"dpm12": changed(solution.dpm12, ("p=1", "p=2"))},
            "Your controller is told p = 2. The error that you measure is that of the *lower* member of the "
            "pair: what is its order?",
        ),
        Mistake(
            {"p_23": 3},
            "3 is the order of the better member. p is that of the member whose error the distance shows.",
        ),
        Mistake(
            {"p_23": 1},
            "1 is the p of DPM-Solver-12. Which is the lower member of DPM-Solver-23?",
        ),
        Mistake(
            {"p_23": 2.5},
            "p is the order of one of the two members, not of their mean.",
        ),
    ),
    hints=(
        "Keep three things apart: how large is the error of the try, is it accepted, how long is the next "
        "one? Only the second looks at 1, and only acceptance changes x and t.",
        "A try has two calls, at (x, t) and in the middle, and gives two states: the first-order one with "
        "the first prediction, the second-order one with the second. p is the order of the first of these.",
        "Scale, entry by entry: rtol times the larger of |low| and |before|, but at least atol. The next "
        "h is the tried one, times safety, times the (p + 1)-th root of 1/error. Before a try, if lambda "
        "plus h reaches the end's lambda, set s to end and h to what is left. After a rejection keep the "
        "first prediction, which costs nothing.",
    ),
)

# --- 4.9: claims --------------------------------------------------------------------------------------------


def _probe_claims(answer, seed):
    x0 = normal(seed, 3, 2, 4, 4)
    x0 = x0 * torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64).reshape(3, 1, 1, 1)
    return {
        "threshold at quantile 0.9, limit 1": answer.threshold(x0, 0.9, 1.0),
        "threshold at quantile 0.5, limit 0.8": answer.threshold(x0, 0.5, 0.8),
    }


_MEASURED = {
    "latent_sd": 0.8605,
    "gain_plain": 1.7609,
    "gain_guided": 6.8851,
    "gain_plain_48": 0.86912,
    "gain_guided_48": 1.31712,
    "grid_ratio": 6.12619,
}
_WORDS = {name: getattr(solution, name) for name in ("only_guidance", "always", "nodes")}


def _claim_facts(answer, seed):
    return right_numbers(answer, 0.002, **_MEASURED) | right_words(answer, ("holds", "fails"), **_WORDS)


_GAINS = {name: _MEASURED[name] for name in _MEASURED if name.startswith("gain")}
_STEPS_ARE = {"gain_plain": 1.05431, "gain_guided": 1.99744}

CLAIMS = Task(
    id="4.9",
    title="Claims: the prediction, the clip, the nodes",
    kind="claim",
    difficulty=2,
    minutes=35,
    points=5,
    ids=("T36", "T37", "T38", "T30", "T31", "BT20", "BB4", "BB7"),
    names=(
        "threshold",
        "latent_sd",
        "gain_plain",
        "gain_guided",
        "gain_plain_48",
        "gain_guided_48",
        "grid_ratio",
        "only_guidance",
        "always",
        "nodes",
    ),
    probe=_probe_claims,
    facts=_claim_facts,
    reference={"threshold": solution.threshold, **_MEASURED, **_WORDS},
    asks={
        name: f"{name} is not right yet. A gain is the error with noise prediction over that with data "
        "prediction; a step of either solver costs two calls; and each case has a fine solution of its own."
        for name in _GAINS
    }
    | {
        "latent_sd": "latent_sd is not right yet. Make a large sample of N(0, 4), clip it, and take its "
        "deviation: three digits need some hundred thousand numbers.",
        "grid_ratio": "grid_ratio is not right yet. Four errors of 2M with ten steps, each from 1.0 to 0.001 "
        "on the plain case: the largest over the smallest.",
    },
    tolerance=0.002,
    decimals=3,
    mistakes=(
        Mistake(
            {"threshold": changed(solution.threshold, ("clamp(-s, s) / s * limit", "clamp(-limit, limit)"))},
            "That is *static* thresholding, published under the name of the dynamic one. Where does the "
            "quantile enter?",
        ),
        Mistake(
            {"threshold": changed(solution.threshold, (" / s * limit", ""))},
            "You clip to s and leave it there, so that x0 still reaches beyond the limit. What brings s back "
            "to the limit?",
        ),
        Mistake(
            {"threshold": changed(solution.threshold, (".clamp(min=limit)", ""))},
            "A picture that keeps within the limit anyway is stretched until it fills it. How small may s "
            "be?",
        ),
        Mistake(
            {
                "threshold": changed(
                    solution.threshold, (".flatten(1), quantile, dim=1)", ", quantile).expand(len(x0))")
                )
            },
            "One s for the whole batch: a calm sample is dimmed because of a wild one next to it. Over what "
            "does the quantile go?",
        ),
        Mistake(
            {
                "threshold": changed(
                    solution.threshold,
                    ("x0.abs().flatten(1), quantile, dim=1)", "x0.abs(), quantile, dim=1, keepdim=True)"),
                    ("    s = s.reshape(-1, *[1] * (x0.ndim - 1))\n", ""),
                )
            },
            "You take a quantile over the channels, one for each pixel. Over which entries of a sample "
            "does the "
            "rule take it?",
        ),
        Mistake(
            {"threshold": changed(solution.threshold, ("clamp(min=limit)", "clamp(max=limit)"))},
            "Your s is the smaller of the quantile and the limit, so that a calm sample is stretched and a "
            "wild "
            "one cut. Which of the two is to win?",
        ),
        Mistake(
            {"threshold": changed(solution.threshold, ("x0.abs()", "x0"))},
            "The quantile of x0 itself overlooks the negative side. Of what should it be taken?",
        ),
        Mistake(
            {"latent_sd": 1.0},
            "1 is where the clip stands; most values lie at it, and some lie within. What is the root of the "
            "mean of min(x², 1)?",
        ),
        Mistake(
            {"latent_sd": 0.7405},
            "That is the variance of what is left. The deviation is asked for.",
        ),
        Mistake(
            {"latent_sd": 2.0},
            "2 is the deviation before the clip: what is left of it?",
        ),
        Mistake(
            {"latent_sd": 0.5678},
            "That is what a truncated normal has, from which the values beyond 1 were thrown away. Clipping "
            "puts them at ±1.",
        ),
        Mistake(
            {name: 1 / gain for name, gain in _GAINS.items()},
            "Your quotients stand on their heads: the error with noise prediction goes above the line.",
        ),
        Mistake(
            {name: gain**2 for name, gain in _GAINS.items()},
            "Those are quotients of mean squares. Where is the root?",
        ),
        Mistake(
            _STEPS_ARE | {"gain_plain_48": 0.72950, "gain_guided_48": 1.29759},
            "You made ten and forty-eight steps, twenty and ninety-six calls, with each. How many steps "
            "can a "
            "two-call solver pay for with ten?",
        ),
        Mistake(
            {
                "gain_plain": _MEASURED["gain_plain_48"],
                "gain_guided": _MEASURED["gain_guided_48"],
                "gain_plain_48": _MEASURED["gain_plain"],
                "gain_guided_48": _MEASURED["gain_guided"],
            },
            "The two budgets are exchanged: a step of either solver costs two calls.",
        ),
        Mistake(
            {"gain_plain_48": _MEASURED["gain_plain"], "gain_guided_48": _MEASURED["gain_guided"]},
            "Your gains at forty-eight calls are those at ten. Measure again: with shorter steps something "
            "changes.",
        ),
        Mistake(
            {
                "gain_plain": _MEASURED["gain_guided"],
                "gain_guided": _MEASURED["gain_plain"],
                "gain_plain_48": _MEASURED["gain_guided_48"],
                "gain_guided_48": _MEASURED["gain_plain_48"],
            },
            "Plain and guided are exchanged: where is the distance larger, with or without guidance?",
        ),
        Mistake(
            {"grid_ratio": 1 / _MEASURED["grid_ratio"]},
            "Worst over best is at least 1.",
        ),
        Mistake(
            {"grid_ratio": 5.482},
            "That is the grid uniform in t against the one uniform in lambda. Is the latter the best of the "
            "four?",
        ),
        Mistake(
            {"grid_ratio": _MEASURED["grid_ratio"] ** 2},
            "That is a quotient of mean squares. Where is the root?",
        ),
        Mistake(
            {"only_guidance": "holds"},
            "Look at your gain_plain at ten calls: is it about 1, as the claim says?",
        ),
        Mistake(
            {"always": "holds"},
            "Look at your two guided gains: is each of them above 1?",
        ),
        Mistake(
            {"only_guidance": "holds", "always": "holds"},
            "Hold both words against your four gains: is the plain one about 1 at ten calls, and are both "
            "guided ones above 1?",
        ),
        Mistake(
            {"threshold": changed(solution.threshold, ("x0.clamp(-s, s) / s * limit", "x0 / s * limit"))},
            "You scale and do not clip: what lay beyond s now lies beyond the limit.",
        ),
        Mistake(
            {"nodes": "holds"},
            "Look at your grid_ratio: the same solver, the same calls. Does the choice of the times matter?",
        ),
    ),
    hints=(
        "For thresholding, what should happen to a picture whose values all lie in [−limit, limit]? Nothing. "
        "And to one with a few large values?",
        "s is one number a sample: the quantile of |x0|, but never below the limit. For the gains: what does "
        "a step of either solver cost? For the clip: values beyond ±1 are moved to ±1, not removed.",
        "Clip to ±s, then multiply by limit over s. A gain is error of DPM-Solver-2 over error of "
        "DPM-Solver++(2S), each the root mean square distance from its fine solution, once with five steps "
        "of either and once with ten. For the grids: four errors of 2M with ten steps, the largest over the "
        "smallest. Then hold each claim against its number.",
    ),
)

# --- 4.10: the stochastic step ------------------------------------------------------------------------------

_VP_SYMBOLS = ("alpha_s", "sigma_s", "alpha_t", "sigma_t")


def _at_vp_points(formula, name, seed):
    """{label: value} of a formula at two points with alpha^2 + sigma^2 = 1.  Remark for strange symbols."""
    try:
        formula = sympy.sympify(formula)
        free = {symbol.name: symbol for symbol in formula.free_symbols}
    except (sympy.SympifyError, AttributeError, TypeError, SyntaxError):
        raise Remark(f"{name} is a formula of sympy; yours is a {type(formula).__name__}.") from None
    strange = sorted(set(free) - set(_VP_SYMBOLS))
    if strange:
        raise Remark(f"{name} uses {', '.join(strange)}; express it by {', '.join(_VP_SYMBOLS)} only.")
    values = {}
    for k in range(2):
        before, after = (round(uniform(seed, *ends, stream=k + j), 3) for ends, j in (_BEFORE, _AFTER))
        levels = (before, math.sqrt(1 - before**2), after, math.sqrt(1 - after**2))
        at = dict(zip(_VP_SYMBOLS, levels))
        number = complex(formula.evalf(17, subs={free[symbol]: at[symbol] for symbol in free}))
        label = f"{name} at alpha_s = {before:g}, alpha_t = {after:g}"
        values[label] = number.real if number.imag == 0 else float("nan")
    return values


_BEFORE, _AFTER = ((0.1, 0.5), 0), ((0.55, 0.95), 2)  # alpha_s and alpha_t: their ranges and streams


def _probe_stochastic(answer, seed):
    values = {}
    for name in ("x_part", "data_part", "noise_part", "eta"):
        if getattr(answer, name) is None:
            raise Remark(f"{name} is None: is it still to be computed?")
    for name in ("x_part", "data_part", "noise_part"):
        values |= _at_vp_points(getattr(answer, name), name, seed)
    return values | named_expressions(answer, seed, 2, eta=dict(tau=(0.2, 1.5), h=(0.2, 2.0)))


_WEAK_ORDER = 1
_FORGET = f"({solution.forget})"  # e^(-h)


def _weak_facts(answer, seed):
    return right_numbers(answer, 1e-6, weak_order=_WEAK_ORDER)


STOCHASTIC = Task(
    id="4.10",
    title="With noise: an old friend",
    kind="coefficient",
    difficulty=2,
    minutes=25,
    points=4,
    ids=("T42", "T16"),
    names=("x_part", "data_part", "noise_part", "eta", "weak_order"),
    probe=_probe_stochastic,
    facts=_weak_facts,
    reference={
        "x_part": solution.x_part,
        "data_part": solution.data_part,
        "noise_part": solution.noise_part,
        "eta": solution.eta,
        "weak_order": _WEAK_ORDER,
    },
    decimals=5,
    asks={
        "weak_order": "weak_order is not right yet. By what is `weak_error` divided from 200 to 400 steps, "
        "and which power of 2 is that, as a whole number?",
    },
    mistakes=(
        Mistake(
            {"x_part": "sigma_t/sigma_s"},
            "That is the ODE's coefficient, tau = 0. With noise x is forgotten faster: which factor is left "
            "at tau = 1?",
        ),
        Mistake(
            {"x_part": solution.x_part * solution.forget},
            "You have e^(−2h): that is how much of the variance is kept. How much of x?",
        ),
        Mistake(
            {"x_part": "alpha_t/alpha_s"},
            "That is e^(+h) times the quotient of the sigmas, as with noise prediction, where alpha "
            "carries x. Here x should be forgotten: which sign has the exponent?",
        ),
        Mistake(
            {"data_part": f"alpha_t*(1 - {_FORGET})"},
            "That is the ODE's weight of the data, 1 − e^(−h). Put tau = 1 into the integral of "
            "(1 + tau²) e^((1 + tau²)(lambda − lambda_t)).",
        ),
        Mistake(
            {"data_part": 2 * solution.data_part},
            "The factor 1 + tau² stands in front of an integral that divides by it. What is left?",
        ),
        Mistake(
            {"data_part": solution.data_part / solution.alpha_t},
            "As h grows without end, x_t should become alpha_t times the predicted data plus noise: where is "
            "alpha_t?",
        ),
        Mistake(
            {"noise_part": f"sigma_t*sqrt(1 - {_FORGET})"},
            "The noise's variance at tau = 1 is sigma_t² (1 − e^(−2h)): which power of the quotient is that?",
        ),
        Mistake(
            {"noise_part": f"sigma_t*(1 - {_FORGET}**2)"},
            "By what is z multiplied, by a deviation or by a variance?",
        ),
        Mistake(
            {"noise_part": f"sigma_t*sqrt({_FORGET}**(-2) - 1)"},
            "sqrt(e^(2h) − 1) is the noise of the form with noise prediction, which freezes eps instead "
            "of x0. Here the data are frozen.",
        ),
        Mistake(
            {"noise_part": "sqrt(1 - alpha_s**2/alpha_t**2)"},
            "That is the noise of one step *forwards*, from t to s (DDPM's larger choice). The "
            "posterior's has one factor more.",
        ),
        Mistake(
            {"data_part": f"alpha_t*(1 - {_FORGET})", "noise_part": f"sigma_t*sqrt(1 - {_FORGET})"},
            "You have 1 − e^(−h) in both places. At tau = 1 the factor in the exponent is 1 + tau² = 2 for "
            "the data, and 2 tau² for the noise: what stands there?",
        ),
        Mistake(
            {
                "x_part": "sigma_t/sigma_s",
                "data_part": f"alpha_t*(1 - {_FORGET})",
                "noise_part": "0",
            },
            "That is the whole step at tau = 0, DDIM without noise. Asked is tau = 1.",
        ),
        Mistake(
            {"eta": "sqrt(1 - exp(-2*tau**2*h))"},
            "That is the noise at this tau, as a share of sigma_t. What is it as a share of the noise at "
            "tau = 1?",
        ),
        Mistake(
            {"eta": "sqrt((1 - exp(-2*tau*h))/(1 - exp(-2*h)))"},
            "Which power of tau stands in the exponent of the noise?",
        ),
        Mistake(
            {"eta": "tau"},
            "Right at tau = 0 and at tau = 1 only. In between compare the two noise parts: they depend on "
            "h in different ways.",
        ),
        Mistake(
            {"eta": "tau**2"},
            "Right at tau = 0 and at tau = 1 only. Set the two noise parts equal and solve for eta.",
        ),
        Mistake(
            {"eta": solution.eta**2},
            "That is eta². By what does DDIM multiply z?",
        ),
        Mistake(
            {"eta": 1 / solution.eta},
            "The fraction stands on its head: at tau = 0 there should be no noise at all.",
        ),
        Mistake(
            {"eta": "sqrt((1 - exp(-tau**2*h))/(1 - exp(-h)))"},
            "You took e^(−h) for the share of the variance that is kept. It is the share of x.",
        ),
        Mistake(
            {"weak_order": 0.5},
            "One half is the strong order of Euler–Maruyama when the noise depends on x. What is measured "
            "here is the variance: by what does its error fall when the steps are doubled?",
        ),
        Mistake(
            {"weak_order": 2},
            "Two is what SDE-DPM-Solver++(2M) reaches. With the prediction frozen, by what is the error "
            "divided when the steps are doubled?",
        ),
    ),
    hints=(
        "Begin with e^(−h): h = lambda_t − lambda_s and lambda = log(alpha/sigma). Which quotient of four "
        "numbers is it?",
        "Put tau = 1 into the exact solution and freeze x0: the integral of 2 e^(2(lambda − lambda_t)) over "
        "the step is elementary. For eta, the two steps agree when their noise parts do.",
        "x is multiplied by the quotient of the sigmas times e^(−h), x0 by alpha_t times one minus "
        "e^(−2h), z by sigma_t times the root of one minus e^(−2h). For a general tau the last exponent "
        "gets tau² as a factor; DDIM's noise part is eta times the one at tau = 1. weak_order is the "
        "power of 2 by which `weak_error` falls from 200 to 400 steps, rounded.",
    ),
)

# --- 4.11: find the bug, shifted twice ----------------------------------------------------------------------


@lru_cache
def _flowing():
    """The velocity model of the same eight modes for flow matching."""
    return Mixture([1] * 8, _ring_modes(), [0.3] * 8).model(Flow())


def _probe_shift(answer, seed):
    model, times = _flowing(), []

    def v(x, t):
        times.append(float(torch.as_tensor(t, dtype=torch.float64).reshape(-1)[0]))
        return model.flow(x, t)

    x, values = normal(seed, 4, 2), {}
    answer.flow_euler(v, x, 4, 3.0)
    values["calls of v, 4 steps"], asked = float(len(times)), list(times)
    values["times at which v is asked, 4 steps, shift 3"] = asked
    shift = round(uniform(seed, 1.2, 6.0), 2)
    times.clear()
    end = answer.flow_euler(v, x, 6, 1.0)
    values["times at which v is asked, 6 steps, shift 1"] = list(times)
    values["x after 6 steps, shift 1"] = end
    values[f"x after 6 steps, shift {shift:g}"] = answer.flow_euler(v, x, 6, shift)
    return values | named_expressions(answer, seed, 2, moved=dict(s=(1.2, 6.0)))


_COUNT = ("0.0, steps + 1,", "0.0, steps,")
_AGAIN = ("(s - t) * v(x, t)", "(shifted(s) - shifted(t)) * v(x, shifted(t))")
_FORMULA = "shift * t / (1 + (shift - 1) * t)"

SHIFT = Task(
    id="4.11",
    title="Find the bug: shifted, and shifted again",
    kind="find-the-bug",
    difficulty=2,
    minutes=25,
    points=4,
    ids=("BS32", "R2", "T38"),
    names=("flow_euler", "moved"),
    probe=_probe_shift,
    reference={"flow_euler": solution.flow_euler, "moved": solution.moved},
    decimals=4,
    asks={
        "calls of v, 4 steps": "Four steps are four calls of v, and yours makes {value}. How many times does "
        "a grid of four steps have, and how often does Euler's method ask in a step?",
        "times at which v is asked, 4 steps, shift 3": "With four steps and shift 3 the shifted times are 1, "
        "0.9, 0.75, 0.5 and 0. At which times does your sampler ask v? Print them.",
        "times at which v is asked, 6 steps, shift 1": "A shift of 1 changes nothing, so that six steps ask "
        "at 1, 5/6, … 1/6. At which times does yours?",
        "x after 6 steps, shift 1": "v is asked at the right times. By how much does x move in a step from t "
        "to s, and in which direction?",
    },
    mistakes=(
        Mistake(
            changed(solution.flow_euler, _COUNT, _AGAIN),
            "It does what the listing as given does: three calls for four steps, and at shift 3 they are "
            "made at 1, 0.95 and 0.82. Print the times, and count them.",
            as_given=True,
        ),
        Mistake(
            changed(solution.flow_euler, _COUNT),
            "The shift is right now. But four steps are paid for and three are made: how many times does a "
            "grid of n steps have?",
        ),
        Mistake(
            changed(solution.flow_euler, _AGAIN),
            "The count is right now. At shift 3 the second call is made at 0.96, where 0.9 is right: what "
            "are the numbers in `times` already?",
        ),
        Mistake(
            changed(solution.flow_euler, ("(s - t) * v(x, t)", "(s - t) * v(x, shifted(t))")),
            "The steps are right, and v is asked at times that are shifted once more than its x.",
        ),
        Mistake(
            changed(solution.flow_euler, ("(s - t) * v(x, t)", "(shifted(s) - shifted(t)) * v(x, t)")),
            "v is asked at the right times, and the steps have the lengths of a grid that is shifted once "
            "more.",
        ),
        Mistake(
            changed(solution.flow_euler, ("[shifted(t) for t in times]", "times")),
            "Nothing is shifted any more. Once is right, twice was wrong.",
        ),
        Mistake(
            changed(solution.flow_euler, ("(s - t) * v(x, t)", "-1 / steps * v(x, t)")),
            "Every step of yours has the length 1/n. The shifted times are not equally spaced: how long is "
            "the step from t to s?",
        ),
        Mistake(
            changed(solution.flow_euler, ("(s - t)", "(t - s)")),
            "Your steps go the wrong way: v points from data to noise, and time runs down. Which sign has s "
            "− t?",
        ),
        Mistake(
            changed(solution.flow_euler, (_FORMULA, "t / (shift - (shift - 1) * t)")),
            "That is the shift's inverse, which moves the times towards the data. With shift 3 the middle of "
            "the grid should be 0.75.",
        ),
        Mistake(
            changed(solution.flow_euler, (_FORMULA, "t / (1 + (shift - 1) * t)")),
            "Your times no longer begin at 1. What is t' at t = 1 in the statement's formula?",
        ),
        Mistake(
            changed(solution.flow_euler, ("v(x, t)", "v(x, s)")),
            "v is asked at the end of each step, with the x of its start. Where does Euler look?",
        ),
        Mistake(
            changed(
                solution.flow_euler,
                ("linspace(1.0, 0.0, steps", "linspace(0.0, 1.0, steps"),
            ),
            "Your times rise from 0 to 1: that is the way from data to noise.",
        ),
        Mistake(
            {"moved": -sympy.log(3)},
            "That is the number at shift 3. What is it for any shift s?",
        ),
        Mistake(
            {"moved": sympy.log(solution.s)},
            "The size is right. Shifting makes t larger, so noisier: does lambda rise or fall?",
        ),
        Mistake(
            {"moved": -2 * sympy.log(solution.s)},
            "That is what the listing does, which shifts twice. Once?",
        ),
        Mistake(
            {"moved": 1 / solution.s},
            "That is the quotient of the two alpha/sigma. Lambda is its logarithm.",
        ),
        Mistake(
            {"moved": -solution.s},
            "sigma/alpha is multiplied by s. What happens to its logarithm?",
        ),
    ),
    hints=(
        "Nothing in the output tells: both mistakes leave a sampler that converges. Print every time at "
        "which v is asked, and count.",
        "One mistake is in how many times there are, the other in how often the same function is applied to "
        "them. For `moved`: what is t/(1 − t) after the shift?",
        "A grid of n steps has n + 1 times. Once the times are shifted, they are times like any other: a "
        "step is their difference, and v is asked at them. And sigma/alpha is multiplied by the shift, at "
        "every time.",
    ),
)

TASKS = (PHI, STEPS, CONVERGENCE, LOCAL, TWO_M, THREE_M, CLOCK, ADAPTIVE, CLAIMS, STOCHASTIC, SHIFT)
