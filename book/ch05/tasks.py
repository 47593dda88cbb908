"""The tasks of lesson 05: distillation and one-step generation.

The levels are EDM's (alpha = 1, time is the noise level) but for the second task.  On Gaussian data the best
student of every loss is a multiple of x, so that what a loss has as its minimiser is computed, not trained.
Two tasks train something in seconds: a network in one dimension, judged by where it leads, and a student of
one number against a critic, whose place of rest is known.
Losses are judged by what they do: their value, and their gradient in the parameters of a tiny model.
"""

import math
from functools import lru_cache

import numpy as np
import torch

from book.ch05 import solution
from book.lessons import (
    Made,
    Mistake,
    Remark,
    Task,
    Variation,
    changed,
    changes,
    error_lines,
    named_expressions,
    named_numbers,
    normal,
    read_axes,
    right_numbers,
    right_words,
    uniform,
)
from toolkit import EDM, VP, Flow, Mixture
from toolkit.distill import FlowMap, boundary_coefficients
from toolkit.mixtures import GaussianFlow, QuantileFlow

END, STD = 0.002, 0.5

_LEARN_BOTH = ("torch.no_grad()", "torch.enable_grad()")  # the target is learned, too


_wrong = changes(solution)


_FOLLOWS = "What you made of it will follow."  # said of a mistake that has been carried on


def _one_step_std(factor):
    """The deviation of one-step samples of a linear student with this factor(d, r, s) in 20 intervals."""
    levels = solution.karras_levels(20).tolist()
    gain = math.prod(factor(STD, r, s) for r, s in zip(levels, levels[1:]))
    return gain * math.hypot(STD, levels[-1])


# --- 5.1: the coefficients of the skip connection -----------------------------------------------------------


def _probe_skip(answer, seed):
    edm, moved = dict(s=(0.1, 3.0), d=(0.2, 2.0)), dict(s=(1.0, 3.0), e=(0.1, 0.8), d=(0.2, 2.0))
    values = named_expressions(answer, seed, 1, edm_skip=edm, edm_out=edm, c_skip=moved, c_out=moved)
    x = normal(seed, 2, 1, 2, 2)
    s = torch.tensor([0.3, uniform(seed, 1.0, 2.0)], dtype=torch.float64)
    turn = normal(seed, 4, 4, stream=1)

    def network(x, c):
        return torch.tanh(x.flatten(1) @ turn + 1 + c.reshape(-1, 1)).reshape(x.shape)

    f = answer.consistency_function(network, x, s, 0.3, 0.5)
    moved = torch.as_tensor(f[0], dtype=torch.float64) - x[0]
    return values | {"f(x, s) - x of a sample at the end": moved, "f(x, s) of another": f[1]}


SKIP = Task(
    id="5.1",
    title="A boundary that no network can miss",
    kind="coefficient",
    difficulty=2,
    minutes=25,
    points=4,
    ids=("T45", "BT24"),
    names=("edm_skip", "edm_out", "c_skip", "c_out", "consistency_function"),
    probe=_probe_skip,
    reference={
        "edm_skip": "d**2/(s**2 + d**2)",
        "edm_out": "s*d/sqrt(s**2 + d**2)",
        "c_skip": solution.c_skip,
        "c_out": solution.c_out,
        "consistency_function": solution.consistency_function,
    },
    asks={
        "f(x, s) - x of a sample at the end": "At the end f must give x back to the last digit, whatever the "
        "network says: what are your two coefficients at s = e?",
    },
    mistakes=(
        Mistake(
            {"edm_skip": "1"},
            "c_skip = 1 leaves the network all the noise to predict, s z, which grows with s. Which c makes "
            "the variance of x_0 − c x smallest?",
        ),
        Mistake(
            {"edm_skip": "s**2/(s**2 + d**2)"},
            "At s = 0 there is nothing to remove, and you give x no weight at all. Which of the two "
            "variances stands above the line?",
        ),
        Mistake(
            {"edm_skip": "d/sqrt(s**2 + d**2)"},
            "This keeps the *size* of the data: it is the flow map of Gaussian data at e = 0. The smallest "
            "variance of what is left needs less of x: set the derivative in c to zero.",
        ),
        Mistake(
            {"edm_out": "s**2*d**2/(s**2 + d**2)"},
            "That is the variance of what is left. The network's output is to have variance 1: by what is it "
            "multiplied?",
        ),
        Mistake(
            {"edm_out": "s**2*d**2/(s**2 + d**2)", "c_out": "(s - e)**2*d**2/(s**2 + d**2)"},
            "Both of your output coefficients are variances. The network's output has variance 1: by what is "
            "it multiplied?",
        ),
        Mistake(
            {"edm_out": "s/sqrt(s**2 + d**2)"},
            "Yours has no unit of length, and what is left of x_0 has one: put c_skip back into the variance "
            "and multiply out.",
        ),
        Mistake(
            {"c_skip": "d**2/(s**2 + d**2)"},
            "This is EDM's, which is 1 at s = 0 and not at s = e. Where must it be 1?",
        ),
        Mistake(
            {"c_skip": "d**2/(s**2 - e**2 + d**2)"},
            "It is 1 at the end, but with the variance that lies between the two levels. With shared noise "
            "the move from e to s is (s − e) z: which square is that?",
        ),
        Mistake(
            {"c_out": "s*d/sqrt(s**2 + d**2)"},
            "This is EDM's: at s = e the network still has a say, if only a small one. By which factor does "
            "it lose it?",
        ),
        Mistake(
            {"c_out": "(s - e)*d/sqrt((s - e)**2 + d**2)"},
            "It vanishes at the end, as it should, but you have moved s under the root as well. The root is "
            "the size of the input x, which still has all its noise.",
        ),
        Mistake(
            {"c_out": "(s - e)*d**2/(s**2 + d**2)"},
            "Check the case e = 0 against your edm_out: is there a root?",
        ),
        Mistake(
            _wrong("consistency_function", ("network(x / size", "network(x")),
            "The network gets x as it is, up to 80 in size. What does c_in do to it?",
        ),
        Mistake(
            _wrong("consistency_function", ("v.reshape(-1, *[1] * (x.ndim - 1))", "v")),
            "Your coefficients run along the last axis of x, not along the batch: entry i of s belongs to "
            "sample i. What shape must they have to multiply (B, 1, 2, 2)?",
        ),
        Mistake(
            _wrong("consistency_function", ("skip * x + ", "")),
            "There is no x outside the network any more, so at the end f is 0. Which term gives x back?",
        ),
        Mistake(
            _wrong("consistency_function", ("out * network", "network")),
            "The network is added with weight 1 at every level: what should its weight be at the end?",
        ),
        Mistake(
            _wrong("consistency_function", ("in (skip, out, size)", "in (out, skip, size)")),
            "The two are exchanged: at the end the network has weight 1 and x has none.",
        ),
        Mistake(
            _wrong("consistency_function", ("(s - end) **", "s **"), ("(s - end) *", "s *")),
            "These are the coefficients for e = 0, whatever end is given. Does your function use it?",
        ),
    ),
    hints=(
        "First EDM's pair, where there is no e: write the variance of x_0 − c x with x = x_0 + s z, a "
        "quadratic in c.",
        "The minimum gives edm_skip, the root of the variance that is left there gives edm_out. At s = e two "
        "things must happen to the moved pair: one becomes 1, the other 0.",
        "The derivative of (1 − c)² d² + c² s² in c vanishes at EDM's c_skip. For the other pair, put s − e "
        "for every s in the first coefficient, and in the second for the s that stands above the line only. "
        "In the function, give each coefficient one entry a sample and as many axes as x has.",
    ),
)

# --- 5.2: progressive distillation's target -----------------------------------------------------------------


def _wide(values, x):
    """(B,) -> (B, 1, ...) to broadcast against x."""
    return values.reshape(-1, *[1] * (x.ndim - 1))


_TWO = "y = step(step(x, t, middle), middle, s)"  # the teacher's steps
_SOLVED = "(y - sigma_s / sigma * x) / (alpha_s - sigma_s / sigma * alpha)"


def _gaussian_x0(schedule):
    """predict(x, t): the exact x0 for data N(0, STD^2), t (B,)."""

    def predict(x, t):
        alpha, sigma = _wide(schedule.alpha(t), x), _wide(schedule.sigma(t), x)
        return alpha * STD**2 * x / (alpha**2 * STD**2 + sigma**2)

    return predict


def _ddim(schedule, x, x0, t, s):
    """DDIM's step from t to s with this prediction of x0; t, s floats."""
    return schedule.alpha(s) * x0 + schedule.sigma(s) / schedule.sigma(t) * (x - schedule.alpha(t) * x0)


def _probe_target(answer, seed):
    around = dict(
        x=(-1.0, 1.0), y=(-1.0, 1.0), a_t=(0.1, 0.5), s_t=(0.8, 0.95), a_s=(0.6, 0.9), s_s=(0.2, 0.6)
    )
    less = {name: ends for name, ends in around.items() if name not in "xy"}
    values = named_expressions(answer, seed, 1, target=around, amplify=less)
    schedule, x, asked = VP(), normal(seed, 2, 1, 2, 2), []

    def predict(x, t):
        asked.append(len(x))
        return torch.tanh(x + _wide(t, x)) + 0.3 * x

    times = torch.tensor([[0.9, 0.6, 0.4], [0.5, 0.3, 0.1]], dtype=torch.float64)
    values["two_step_target of two samples"] = answer.two_step_target(predict, schedule, x, *times.T)
    values["predictions asked for, a sample"] = sum(asked) / len(x)  # in one call for all, or one by one
    grid, exact = torch.linspace(1.0, 0.01, 9, dtype=torch.float64), _gaussian_x0(schedule)
    many = few = torch.ones(1, 1, dtype=torch.float64)
    for t, s in zip(grid, grid[1:]):
        many = _ddim(schedule, many, exact(many, t.reshape(1)), t, s)
    for t, m, s in zip(grid[:-1:2], grid[1::2], grid[2::2]):
        taught = answer.two_step_target(exact, schedule, few, t.reshape(1), m.reshape(1), s.reshape(1))
        few = _ddim(schedule, few, torch.as_tensor(taught, dtype=torch.float64), t, s)
    values["4 steps of the student minus 8 of the teacher"] = few - many
    return values


# wrong targets: the formula, its slope in y, the same in the function, and what is said to it
_TARGETS = (
    (
        "(y - s_t/s_s*x)/(a_s - s_t/s_s*a_t)",
        "1/(a_s - s_t/s_s*a_t)",
        (("(y - sigma_s / sigma", "(y - sigma / sigma_s"), ("s - sigma_s / sigma", "s - sigma / sigma_s")),
        "Your ratio of the sigmas stands on its head: at s_s = 0 the step should forget x.",
    ),
    (
        "(y - s_s/s_t*x)/a_s",
        "1/a_s",
        ((" - sigma_s / sigma * alpha)", ")"),),
        "x_0 occurs twice in DDIM's step, once in the direction term. Have you collected both?",
    ),
    (
        "(y - s_s/s_t*x)/(a_s + s_s/s_t*a_t)",
        "1/(a_s + s_s/s_t*a_t)",
        ((" - sigma_s / sigma * alpha)", " + sigma_s / sigma * alpha)"),),
        "The direction term is x − a_t x_0: which sign has its x_0?",
    ),
    (
        "(y - s_s/s_t*x)/(a_s - s_s/s_t)",
        "1/(a_s - s_s/s_t)",
        (("sigma_s / sigma * alpha)", "sigma_s / sigma)"),),
        "In the direction term x_0 has a factor of its own, besides the ratio of the sigmas.",
    ),
    (
        "(y - s_s/s_t*x)/(s_s/s_t*a_t - a_s)",
        "1/(s_s/s_t*a_t - a_s)",
        (("(alpha_s - sigma_s / sigma * alpha)", "(sigma_s / sigma * alpha - alpha_s)"),),
        "Put the terms with x_0 on one side and all others on the other: one of the two sides has changed "
        "its sign.",
    ),
)

TARGET = Task(
    id="5.2",
    title="Two steps in one: the target of progressive distillation",
    kind="implement-equation",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("T43", "BT23", "BP26", "BS33", "C29"),
    names=("target", "amplify", "two_step_target"),
    probe=_probe_target,
    reference={
        "target": "(y - s_s/s_t*x)/(a_s - s_s/s_t*a_t)",
        "amplify": "1/(a_s - s_s/s_t*a_t)",
        "two_step_target": solution.two_step_target,
    },
    asks={
        "predictions asked for, a sample": "A target takes two predictions of the teacher, one at t and one "
        "at the middle: how many does yours ask for?",
        "4 steps of the student minus 8 of the teacher": "A student that meets your target does not follow "
        "the teacher: from where should its one step reach where?",
    },
    mistakes=(
        Mistake(
            {"target": "y/a_s"},
            "You take y for clean data, scaled. At s > 0 there is noise in y: which part of x does DDIM keep "
            "as noise?",
        ),
        *(Mistake({"target": wrong}, says) for wrong, _, _, says in _TARGETS),
        *(
            Mistake({"target": wrong, "amplify": slope}, f"{says} ({_FOLLOWS})")
            for wrong, slope, _, says in _TARGETS
        ),
        *(
            Mistake(
                {"target": wrong, "amplify": slope} | _wrong("two_step_target", *edits),
                f"Formula and function have the same mistake. {says}",
            )
            for wrong, slope, edits, says in _TARGETS
        ),
        Mistake(
            {"target": "(y + s_s/s_t*x)/(a_s - s_s/s_t*a_t)"},
            "Which sign does x get when it goes to the other side, to y?",
        ),
        Mistake(
            {"target": "(y + s_s/s_t*x)/(a_s - s_s/s_t*a_t)"}
            | _wrong("two_step_target", ("(y - sigma_s", "(y + sigma_s")),
            "In formula and function: which sign does x get when it goes to the other side, to y?",
        ),
        Mistake(
            {"target": "a_s*x + s_s*y"},
            "This is a step forwards with x as data. Begin with DDIM's step, put y on its left side and "
            "solve for x_0.",
        ),
        Mistake(
            {"target": "(y - a_s/a_t*x)/(s_s - a_s/a_t*s_t)"},
            "That is the *noise* that leads from x to y in one step. Asked for is the data: which of DDIM's "
            "two unknowns have you put away?",
        ),
        Mistake(
            {"target": "y"},
            "y is where the student is to arrive, a noisy state at s. Which prediction takes it there?",
        ),
        Mistake(
            {"amplify": "a_s - s_s/s_t*a_t"},
            "That is what an error of x_0 is multiplied by on its way into y. Asked for is the way back.",
        ),
        Mistake(
            {"amplify": "1/a_s"},
            "Right at s_s = 0 only. Take the derivative of your target in y.",
        ),
        Mistake(
            {"amplify": "s_s/s_t"},
            "That is how much of x stays in y. By what is y multiplied in your target?",
        ),
        Mistake(
            _wrong("two_step_target", (_TWO, "return predict(x, t)")),
            "This is the teacher's own prediction at (x, t), that of *one* step. A student that learns it is "
            "the teacher: its eight steps are the teacher's eight, and nothing has been halved.",
        ),
        Mistake(
            _wrong("two_step_target", (_TWO, "return predict(step(x, t, middle), middle)")),
            "You return the teacher's prediction half-way. One step with that does not end at y: which x_0 "
            "leads from x, at t, to y?",
        ),
        Mistake(
            _wrong(
                "two_step_target", (_TWO, "return (predict(x, t) + predict(step(x, t, middle), middle)) / 2")
            ),
            "The mean of two predictions is not the prediction of two steps: work with where the steps "
            "*end*.",
        ),
        Mistake(
            _wrong("two_step_target", (_TWO, "y = step(x, t, middle)")),
            "Your y is where the first of the two steps ends, at the middle, and you treat it as if it were "
            "at s. Where is the second step?",
        ),
        Mistake(
            _wrong("two_step_target", ("level(t), level(s)", "level(t), level(middle)")),
            "y is right, two steps on. But the student's step ends at s, and you solve for one that ends at "
            "the middle.",
        ),
        Mistake(
            _wrong("two_step_target", ("level(t), level(s)", "level(middle), level(s)")),
            "The coefficients of your last line are those of a step from the middle to s, and x is at t. "
            "From where to where does the student go?",
        ),
        Mistake(
            _wrong("two_step_target", (_SOLVED, "y")),
            "You return y itself, the place where the student is to arrive, with the noise of level s in it. "
            "The target is a prediction of the data: which one leads there?",
        ),
        Mistake(
            _wrong("two_step_target", (_SOLVED, "predict(y, s)")),
            "You ask the teacher a third time, where its two steps end. Its answer there does not take the "
            "student to y: solve the step for the prediction.",
        ),
        Mistake(
            _wrong("two_step_target", (_SOLVED, "y / alpha_s")),
            "You take y for clean data, scaled. At s > 0 there is noise in it: which part of x does one step "
            "of DDIM keep?",
        ),
        Mistake(
            _wrong(
                "two_step_target",
                (_SOLVED, "(y - alpha_s / alpha * x) / (sigma_s - alpha_s / alpha * sigma)"),
            ),
            "Your function returns the noise that leads from x to y. The student is to predict data.",
        ),
        Mistake(
            _wrong(
                "two_step_target",
                ("(y - sigma_s / sigma", "(y - sigma / sigma_s"),
                ("s - sigma_s / sigma", "s - sigma / sigma_s"),
            ),
            "The ratio of the sigmas stands on its head in your function: which one is smaller than the "
            "other?",
        ),
        Mistake(
            _wrong("two_step_target", (" - sigma_s / sigma * alpha)", ")")),
            "Your function divides by alpha_s alone. The formula has a second term below the line.",
        ),
        Mistake(
            _wrong("two_step_target", ("predict(x, u)", "predict(x, t)")),
            "The second prediction is made from the middle's state and still at time t. What time is it "
            "there?",
        ),
        Mistake(
            _wrong("two_step_target", ("(-1, *[1] * (x.ndim - 1))", "-1")),
            "Each sample has its own times, and your levels run along the last axis of x instead of along "
            "the batch.",
        ),
    ),
    hints=(
        "Write DDIM's step from x to y once, and look for every x_0 in it. The equation is linear in x_0.",
        "Collect: y is (something) times x_0 plus (something) times x. The first something also answers what "
        "happens to an error. For the function, write the step as a small function of its own and use it "
        "twice.",
        "With r the later sigma over the earlier one, x_0 is multiplied by the later alpha less r times the "
        "earlier one, and x by r. In the function all r and alphas of the last line belong to t and s; the "
        "middle occurs only inside the teacher's two steps.",
    ),
)


# --- 5.3: the losses ----------------------------------------------------------------------------------------

_TEACHER_ONLY = ("        wanted", "    wanted")  # no_grad ends before f
_ROWS = "answers of f, a sample"
_CLEANER = "f(x0 + r[:, None] * z, r)"  # the targets
_STEPPED = "f(x + (r - s)[:, None] * noise, r)"
_OTHER_SIDE = ("f(x, s) -", "f(x, s).detach() -")  # the noisier answer is held


def _both(*edits):
    """Both losses with the same edits."""
    return _wrong("training_loss", *edits) | _wrong("distillation_loss", *edits)


def _tiny(theta, calls):
    """f(x, s): a consistency function with three parameters, which notes how many states it is asked for."""

    def f(x, s):
        calls.append(len(x))
        s = torch.as_tensor(s, dtype=x.dtype).reshape(-1, 1)
        c_skip, c_out = boundary_coefficients(s, END, STD)
        inner = torch.tanh(theta[0] * x / (s**2 + 0.25).sqrt() + theta[1] * s.log() + theta[2])
        return c_skip * x + c_out * inner

    return f


def _gradients(loss, *parameters):
    """The loss and its gradients, zero where it does not depend; Remark where it has none at all."""
    if not torch.is_tensor(loss):
        raise Remark(
            "The loss is a tensor without axes, through which a gradient can run. Yours is no tensor: is "
            "there an item(), a float() or numpy in it?"
        )
    if loss.ndim:
        raise Remark(f"The loss is one number for the batch: yours still has the shape {tuple(loss.shape)}.")
    if not loss.requires_grad:
        raise Remark(
            "Your loss has no gradient at all: what is to learn in it must not lie under no_grad or be "
            "detached."
        )
    slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
    return loss.detach(), *(torch.zeros_like(p) if g is None else g for p, g in zip(parameters, slopes))


def _probe_losses(answer, seed):
    x0, z = STD * normal(seed, 6, 3), normal(seed, 6, 3, stream=1)
    r = torch.tensor([END, 0.05, 0.2, 0.5, 2.0, 9.0], dtype=torch.float64)
    s = r * 1.3 + 0.02
    theta, calls = (0.5 * normal(seed, 3, stream=2)).requires_grad_(), []
    phi = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    f = _tiny(theta, calls)

    def teacher(x, s):
        s = torch.as_tensor(s, dtype=x.dtype).reshape(-1, 1)
        return STD**2 * x / (STD**2 + s**2) + phi * torch.sin(x)

    value, slope = _gradients(answer.training_loss(f, x0, z, s, r), theta)
    values = {"training: loss": value, "training: gradient": slope}
    value, slope, in_teacher = _gradients(answer.distillation_loss(f, teacher, x0, z, s, r), theta, phi)
    values |= {"distillation: loss": value, "distillation: gradient": slope}
    return values | {"gradient in the teacher": in_teacher, _ROWS: sum(calls) / len(x0)}


LOSSES = Task(
    id="5.3",
    title="The consistency loss, with and without a teacher",
    kind="implement-equation",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("T45", "BT25", "BT26"),
    names=("training_loss", "distillation_loss"),
    probe=_probe_losses,
    reference={
        "training_loss": solution.training_loss,
        "distillation_loss": solution.distillation_loss,
    },
    asks={
        "training: gradient": "The loss is right and its gradient is not: which of the two predictions is "
        "the one that learns?",
        "distillation: gradient": "The loss with a teacher is right and its gradient is not: which of the "
        "two predictions is the one that learns?",
        "gradient in the teacher": "Your loss would train the teacher too: what is it there for?",
        _ROWS: "Each loss needs f twice a sample, at the two levels (in two calls, or in one of twice the "
        "rows): how often do yours ask?",
    },
    mistakes=(
        Mistake(
            _both(_LEARN_BOTH),
            "The values are right, and the gradients run through both predictions. Which one is the target, "
            "to be taken as it is?",
        ),
        Mistake(
            _wrong("training_loss", _LEARN_BOTH),
            "Your training loss has the right value, and a gradient that runs through its target as well. "
            "Compare with your other loss.",
        ),
        Mistake(
            _wrong("distillation_loss", _LEARN_BOTH),
            "With a teacher, too, the target is the student's own answer further down, and yours is learned "
            "from both sides; even the teacher would be trained through it. What must not flow back?",
        ),
        Mistake(
            _wrong("distillation_loss", _TEACHER_ONLY),
            "The teacher is kept still, and that is only half of it: the target is f at the teacher's step. "
            "What else must not flow back?",
        ),
        Mistake(
            _wrong("training_loss", _LEARN_BOTH, _OTHER_SIDE)
            | _wrong("distillation_loss", _TEACHER_ONLY, _OTHER_SIDE),
            "You stopped the gradient on the noisier side, so that the cleaner level learns from the "
            "noisier one. From which end does knowledge come? At the end the answer is known.",
        ),
        Mistake(
            _wrong("training_loss", ("r[:, None] * z", "r[:, None] * torch.randn_like(z)")),
            "The second level gets noise of its own, drawn anew. Then the two states do not lie on one path: "
            "which noise was given to both?",
        ),
        Mistake(
            _wrong("training_loss", (_CLEANER, "f(x, r)")),
            "Both predictions are made from the same state x + s z, told two levels. What does the state at "
            "level r look like?",
        ),
        Mistake(
            _wrong("training_loss", ("* z, r)", "* z, s)")),
            "The cleaner state is given to f with the noisier level. Which level belongs to x_0 + r z?",
        ),
        Mistake(
            _wrong("training_loss", ("* z, r)", "* z, s)"), ("f(x, s) -", "f(x, r) -")),
            "The two levels are exchanged: each state must be told its own.",
        ),
        Mistake(
            _both((" / (s - r)", "")),
            "The weight is missing: as it stands, long intervals at large noise outweigh all the others.",
        ),
        Mistake(
            _both(("/ (s - r)", "* (s - r)")),
            "You multiply by the gap of the levels. Short intervals are to count more, not less.",
        ),
        Mistake(
            _both((".mean(dim=1)", ".sum(dim=1)")),
            "You sum over the entries of a sample. The statement's norm is a mean, so that the loss does not "
            "grow with the number of pixels.",
        ),
        Mistake(
            _both((".mean(dim=1)", ".mean(dim=1).sqrt()")),
            "You take the root of the mean, a length. The statement has its square.",
        ),
        Mistake(
            _both((".mean(dim=1)", ".mean(dim=1, keepdim=True)")),
            "A sample's number is divided by every sample's gap: (B, 1) over (B,) is a table (B, B). Which "
            "shapes have the two sides of your division?",
        ),
        Mistake(
            _both((" / (s - r)).mean()", ").mean() / (s - r).mean()")),
            "You divide by the mean gap, after the mean over the batch. Each sample has a weight of its own.",
        ),
        Mistake(
            _wrong("training_loss", ("* z, r)", "* z, s)"))
            | _wrong("distillation_loss", ("* noise, r)", "* noise, s)")),
            "In both losses f gets the cleaner state with the noisier level. Which level belongs to y?",
        ),
        Mistake(
            _wrong("distillation_loss", ("/ s[:, None]", "/ r[:, None]")),
            "The teacher's noise is (x − D)/s, with the level at which x lies. By which do you divide?",
        ),
        Mistake(
            _both((".square()", ".abs()")),
            "You take the absolute error, and the statement has its square.",
        ),
        Mistake(
            _wrong("distillation_loss", ("(r - s)", "(s - r)")),
            "Your teacher walks up, to more noise. r is below s: which sign has r − s?",
        ),
        Mistake(
            _wrong("distillation_loss", ("teacher(x, s))", "teacher(x, r))")),
            "The teacher is asked at the level where its step ends. Where does it stand when it is asked?",
        ),
        Mistake(
            _wrong("distillation_loss", ("(x - teacher(x, s)) / s[:, None]", "z")),
            "Your loss never asks the teacher: with the data's own noise it is the training loss once more.",
        ),
        Mistake(
            _wrong("distillation_loss", (_STEPPED, "teacher(x, s)")),
            "You teach f the teacher's prediction, and so a mean over all that x could be. What should f(x, "
            "s) be equal to?",
        ),
        Mistake(
            _wrong("distillation_loss", (_STEPPED, "teacher(x + (r - s)[:, None] * noise, r)")),
            "Your target is the *teacher's* prediction at y, a mean of data, so that f becomes a denoiser. "
            "The target is the student's own answer at y: whose function stands in the formula?",
        ),
        Mistake(
            _wrong("training_loss", (_CLEANER, "x0")),
            "Your target is the data itself: what is least then is a denoiser, the mean of all data that x "
            "may come from. The formula's target is f's own answer at the cleaner level.",
        ),
        Mistake(
            _wrong("distillation_loss", (_STEPPED, "x0")),
            "With the data as the target your teacher is not needed, and f becomes a denoiser. Where does "
            "the teacher's step lead, and what does f say there?",
        ),
        Mistake(
            _wrong("distillation_loss", (_STEPPED, "x + (r - s)[:, None] * noise")),
            "Your target is y itself, which is still noisy. What does f make of it?",
        ),
        Mistake(
            _wrong("distillation_loss", ("* noise, r)", "* noise, s)")),
            "y lies at level r, and f is told s there.",
        ),
        Mistake(
            _both(("/ (s - r)", "/ s")),
            "You divide by the level. The weight is one over the *gap* of the two levels.",
        ),
        Mistake(
            _both(("/ (s - r)", "/ (s - r) ** 2")),
            "You divide by the square of the gap. The statement's weight has its first power.",
        ),
    ),
    hints=(
        "One side of the difference learns, the other is only believed. At the lowest level the boundary "
        "makes the answer right without learning: which side, then, is believed?",
        "Make x at level s and y at level r, ask f at both, each with its own level, and cut the graph at "
        "one of the answers (detach, or no_grad). Levels are (B,), states (B, d).",
        "With a teacher only y is different: from x it moves by r − s, times the teacher's noise, which is x "
        "less its prediction, over s. Take the mean over the entries first, divide each sample's number by "
        "its gap, then take the mean over the batch.",
    ),
)

# --- 5.4: the boundary and the noise ------------------------------------------------------------------------

_ANEW = (("z = torch.randn", "z = lambda: torch.randn"), ("* z\n", "* z()\n"))  # noise at each level
_BARE = ("c_skip * state + c_out * network(state, u)", "network(state, u)")  # no boundary

LOG10_STD = math.log10(_one_step_std(lambda d, r, s: d**2 / (d**2 + s**2)))


def _probe_boundary(answer, seed):
    x0 = STD * normal(seed, 5, 2)
    s = torch.tensor([END, 0.05, 0.3, 1.0, 4.0], dtype=torch.float64)

    def loss(network, t, s):
        return answer.loss_of_batch(network, x0, t, s, torch.Generator().manual_seed(seed))

    values = {
        "loss, network constant": loss(lambda x, u: torch.full_like(x, 0.7), 1.5 * s, s),
        "loss, t and s at the end": loss(
            lambda x, u: x.square(), torch.full_like(s, END), torch.full_like(s, END)
        ),
    }
    theta = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    value, slope = _gradients(loss(lambda x, u: torch.tanh(theta * x + u[:, None]), 1.5 * s, s), theta)
    values |= {"loss, network tanh": value, "its gradient in a parameter": slope}
    around = dict(d=(0.3, 1.0), r=(0.1, 1.0), s=(1.0, 3.0))
    return values | named_expressions(answer, seed, 2, factor_shared=around, factor_independent=around)


def _boundary_facts(answer, seed):
    return right_numbers(answer, 1e-3, log10_std=LOG10_STD)


# wrong factors of independent noise, as functions of d, r and s too, and what is said where log10_std follows
_INDEPENDENT = (
    (
        "(d**2 + r**2)/(d**2 + s**2)",
        lambda d, r, s: (d**2 + r**2) / (d**2 + s**2),
        "Independent noise has no covariance: what is it that the two states still share? (The logarithm is "
        "that of your factor, and will follow.)",
    ),
    (
        "d**2/(d**2 + r**2)",
        lambda d, r, s: d**2 / (d**2 + r**2),
        "Your factor has the variance at r below the line, and the best multiple of x_s has that of x_s. "
        "(The logarithm will follow.)",
    ),
    (
        "d**2/(d**2 + r*s)",
        lambda d, r, s: d**2 / (d**2 + r * s),
        "Below the line of your factor stands a covariance, and it should be a variance: that of which "
        "state? (The logarithm will follow.)",
    ),
)

BOUNDARY = Task(
    id="5.4",
    title="Find the bug: a loss that a constant minimises",
    kind="find-the-bug",
    difficulty=3,
    minutes=35,
    points=5,
    ids=("T45", "BT24", "BT25"),
    names=("loss_of_batch", "factor_shared", "factor_independent", "log10_std"),
    probe=_probe_boundary,
    facts=_boundary_facts,
    reference={
        "loss_of_batch": solution.loss_of_batch,
        "factor_shared": solution.factor_shared,
        "factor_independent": solution.factor_independent,
        "log10_std": LOG10_STD,
    },
    asks={
        "log10_std": "The logarithms of the 20 factors add up, and that of the start's deviation comes on "
        "top: does your number have all of them, at the levels s_1 to s_20?",
        "loss, t and s at the end": "With both levels at the end and the same noise, both answers are the "
        "same x, and the loss is 0: what is yours made of?",
    },
    mistakes=(
        Mistake(
            _wrong("loss_of_batch", *_ANEW, _BARE),
            "This is the listing as it was given. Put a network that always returns 0.7 into it: what is its "
            "loss, and what would it generate?",
            as_given=True,
        ),
        Mistake(
            _wrong("loss_of_batch", _BARE),
            "The noise is shared now. But look at the first value: a constant still has no loss. What ties f "
            "to the data?",
        ),
        Mistake(
            _wrong("loss_of_batch", *_ANEW),
            "The boundary holds now. But with both levels at the end the loss should be 0: how many times "
            "is noise drawn for one sample?",
        ),
        Mistake(
            _wrong("loss_of_batch", ("f(t)", "network(x0 + t[:, None] * z, t)")),
            "Only the target has the boundary built in, and the student is another function: it could never "
            "become its own target. To what does f belong?",
        ),
        Mistake(
            _wrong("loss_of_batch", ("f(s)", "network(x0 + s[:, None] * z, s)")),
            "Only the student has the boundary built in. It is in the target that it does its work, where s "
            "is the end.",
        ),
        Mistake(
            _wrong(
                "loss_of_batch",
                (_BARE[0], "torch.where(u[:, None] <= 0.002, state, network(state, u))"),
            ),
            "Your f gives x back at the end itself and is free just above it, so that it may jump there, as "
            "no smooth path does. The coefficients of 5.1 let the network's share grow from 0: use them at "
            "every level.",
        ),
        Mistake(
            _wrong(
                "loss_of_batch",
                (_BARE[0], "state + network(state, u) - network(state, torch.full_like(u, 0.002))"),
            ),
            "That is a boundary, too: f(x, e) = x whatever the network says. But it is not the task's, it "
            "takes two calls, and at large levels x stays in it with weight 1. Which pair does 5.1 give?",
        ),
        Mistake(
            _wrong(
                "loss_of_batch",
                *_ANEW,
                (_BARE[0], "torch.where(u[:, None] <= 0.002, state, network(state, u))"),
            ),
            "Noise is still drawn anew at each level, and your f gives x back at the end only, free just "
            "above it. Which coefficients let the network's share grow from 0?",
        ),
        Mistake(
            _wrong("loss_of_batch", ("target = f(s)", "target = x0")),
            "You compare with the data, and make a denoiser of f. The listing's target was its own answer "
            "at the cleaner level.",
        ),
        Mistake(
            _wrong("loss_of_batch", ("c_skip, c_out =", "c_out, c_skip =")),
            "The two coefficients are exchanged: at the end yours gives the network's answer and drops x.",
        ),
        Mistake(
            _wrong("loss_of_batch", ("c_skip * state + ", "state + ")),
            "The network's share is right, and x stays whole at every level: at level 80 f would have to "
            "take back 80 times the noise. What weight has x?",
        ),
        Mistake(
            _wrong("loss_of_batch", ("0.002", "0.0")),
            "Your boundary lies at 0, and the levels end at 0.002: there the network still has a say.",
        ),
        Mistake(
            _wrong("loss_of_batch", _LEARN_BOTH),
            "Both mistakes are mended, and a new one is made: the listing kept the gradient out of its "
            "target.",
        ),
        Mistake(
            _wrong("loss_of_batch", ("x0.shape", "(len(x0), 1)")),
            "You draw one number a sample and use it for all its entries. What shape has the noise?",
        ),
        Mistake(
            _wrong("loss_of_batch", (", generator=generator", "")),
            "The noise comes from the global state: which generator was the function given?",
        ),
        Mistake(
            {"factor_shared": solution.factor_independent, "factor_independent": solution.factor_shared},
            "The two are exchanged: in which case does the noise contribute to the covariance?",
        ),
        Mistake(
            {"factor_shared": "(d**2 + r**2)/(d**2 + s**2)"},
            "Your covariance is the variance at r. x_r and x_s contain the same z, once times r and once "
            "times s.",
        ),
        Mistake(
            {"factor_shared": "sqrt((d**2 + r**2)/(d**2 + s**2))"},
            "That is the exact flow's factor, the quotient of the deviations. The least-squares slope has a "
            "covariance above the line.",
        ),
        Mistake(
            {"factor_shared": "(d**2 + r*s)/(d**2 + r**2)"},
            "You divide by the variance at r. The state from which is predicted is the one at s.",
        ),
        Mistake(
            {"factor_independent": "(d**2 + r**2)/(d**2 + s**2)"},
            "Independent noise has no covariance: what do the two states still share?",
        ),
        Mistake(
            {"factor_independent": "d**2/(d**2 + r**2)"},
            "You divide by the variance at r. From which of the two states is the other one predicted?",
        ),
        Mistake(
            {"factor_independent": "d**2/(d**2 + r*s)"},
            "Above the line it is right. Below it stands the variance of the one state from which is "
            "predicted.",
        ),
        *(
            Mistake({"factor_independent": wrong, "log10_std": math.log10(_one_step_std(factor))}, says)
            for wrong, factor, says in _INDEPENDENT
        ),
        Mistake(
            {"log10_std": 10**LOG10_STD},
            "The deviation is too small to be compared: give its decimal logarithm.",
        ),
        Mistake(
            {"log10_std": LOG10_STD * math.log(10)},
            "That is the natural logarithm.",
        ),
        Mistake(
            {"log10_std": LOG10_STD - math.log10(math.hypot(STD, 80.0))},
            "That is the product of the factors. By which deviation of the start is it still to be "
            "multiplied?",
        ),
        Mistake(
            {"log10_std": math.log10(_one_step_std(solution.train_factor))},
            "That is the deviation with shared noise. Asked for is what independent noise leaves.",
        ),
        Mistake(
            {"log10_std": 2 * LOG10_STD},
            "That is the logarithm of the variance.",
        ),
    ),
    hints=(
        "Two questions to the listing. If F is a constant, what are f(t), the target and the loss? And if F "
        "is perfect, is the loss 0?",
        "f needs the coefficients of 5.1, at both levels; the noise must be drawn before f is called. For "
        "the factors: the best multiple of X for predicting Y is E[XY]/E[X²], when both have mean 0.",
        "Let f take the state and the level, and return c_skip times the state plus c_out times the network. "
        "Below, X is x_s = x_0 + s z; Y is x_r, with the same z or with another. The 20 factors of the grid "
        "multiply, and the start has the variance of x at the level 80.",
    ),
)

# --- 5.5: the gradient through the target -------------------------------------------------------------------

_LISTED = (".detach()", "")  # the listing as it was given
_NO_SQUARE = (" + low**2 * (std**2 + r**2)", "")  # of the target

STOPPED = _one_step_std(solution.train_factor)
THROUGH, UNWEIGHTED = 0.314853239544, 0.150742373733  # the listing's, with its weight and without


def _probe_stop(answer, seed):
    levels = torch.tensor([END, 0.1, 0.4, 1.5, 6.0], dtype=torch.float64)
    a = (0.5 + 0.3 * normal(seed, 4)).requires_grad_()
    value, slope = _gradients(answer.linear_loss(a, levels, STD), a)
    return {"loss": value, "gradient": slope}


def _stop_facts(answer, seed):
    values = right_numbers(answer, 1e-3, stopped=STOPPED, through=THROUGH)
    values |= right_words(answer, ("shrinks", "stays"), finer=solution.finer)
    return values | right_words(answer, ("moves", "stays"), with_teacher=solution.with_teacher)


STOP = Task(
    id="5.5",
    title="Find the bug: the target that moves to meet you",
    kind="find-the-bug",
    difficulty=2,
    minutes=25,
    points=5,
    ids=("T45", "BT26"),
    names=("linear_loss", "stopped", "through", "finer", "with_teacher"),
    probe=_probe_stop,
    facts=_stop_facts,
    reference={
        "linear_loss": solution.linear_loss,
        "stopped": STOPPED,
        "through": THROUGH,
        "finer": solution.finer,
        "with_teacher": solution.with_teacher,
    },
    decimals=5,
    asks={
        "gradient": "The loss is right and its gradient is not: which of the two numbers of an interval is "
        "to move, and which is only believed?",
        "loss": "The value of the listing was right, and yours has another one: what did you change besides "
        "the gradient?",
        "stopped": "Run resting_std on the mended function, with karras_levels(20) and 0.5: it is also what "
        "the recursion of 5.4 gives with shared noise.",
        "through": "Run resting_std on the listing as it was given, with karras_levels(20) and 0.5.",
    },
    mistakes=(
        Mistake(
            _wrong("linear_loss", _LISTED),
            "This is the listing as it was given: the loss has the right value. Follow its gradient: which "
            "of the two answers of an interval does it move?",
            as_given=True,
        ),
        Mistake(
            _wrong(
                "linear_loss", ("student[1:], student[:-1].detach()", "student[1:].detach(), student[:-1]")
            ),
            "You hold the noisier answer still and move the cleaner one to it. But at the end the answer is "
            "known, and nowhere else: in which direction must it spread?",
        ),
        Mistake(
            _wrong("linear_loss", _LISTED, _NO_SQUARE),
            "You dropped the square of the target, and the mixed term still pulls at both.",
        ),
        Mistake(
            _wrong("linear_loss", _NO_SQUARE),
            "The gradient is right. But the value is no squared distance any more, and can be negative: the "
            "square of the target belongs to it, though it has no gradient.",
        ),
        Mistake(
            _wrong("linear_loss", _LISTED, ("high * low", "high * low.detach()")),
            "You stopped the target in the mixed term only. It occurs a second time.",
        ),
        Mistake(
            _wrong(
                "linear_loss",
                (
                    "student = torch.cat([torch.ones(1, dtype=a.dtype), a])",
                    "student = torch.cat([torch.ones(1, dtype=a.dtype), a]).detach().requires_grad_()",
                ),
            ),
            "You cut the whole list of answers from `a`, so that nothing at all learns. Which half of the "
            "pairs is only believed?",
        ),
        Mistake(
            _wrong("linear_loss", ("student[1:], student[:-1].detach()", "student[1:], student[0].detach()")),
            "You hold the first answer only, and use it as the target of every interval. Each interval's "
            "target is the answer one level below.",
        ),
        Mistake(
            _wrong("linear_loss", _LISTED, ("+ low**2", "+ low.detach()**2")),
            "You stopped the target in its square only, and the mixed term still pulls at it: the target "
            "occurs twice.",
        ),
        Mistake(
            _wrong("linear_loss", ("square / (s - r)", "square")),
            "The weight was right in the listing, and it is gone.",
        ),
        Mistake(
            {"stopped": THROUGH, "through": STOPPED},
            "The two are exchanged: which of them is what the recursion of 5.4 gives?",
        ),
        Mistake(
            {"stopped": math.hypot(STD, END)},
            "That is the exact flow's deviation. The grid has 20 intervals, and leaves something to be "
            "desired even with the right loss.",
        ),
        Mistake(
            {"stopped": THROUGH},
            "Both your numbers belong to the listing. Run resting_std on the mended function.",
        ),
        Mistake(
            {"through": STOPPED},
            "Both your numbers belong to the mended loss. Keep the listing under another name.",
        ),
        Mistake(
            {"through": UNWEIGHTED},
            "That is the resting point without the weight 1/(s − r): with a gradient on both sides the "
            "weight moves it. The listing has the weight.",
        ),
        Mistake(
            {"finer": "shrinks"},
            "Run the listing with 20, 80 and 160 intervals and compare the distances from 0.5.",
        ),
        Mistake(
            {"with_teacher": "moves"},
            "With the exact teacher, the two states of an interval lie on one path, and one a makes every "
            "term of the loss 0. Where does a loss rest that can be 0?",
        ),
    ),
    hints=(
        "Write one interval's loss as E(p X − q Y)². In training, which of p and q may be changed?",
        "One call of detach is enough, if it comes before the target is used at all. For the numbers, run "
        "resting_std with both versions.",
        "The vector with the answers at the lower levels is to be detached, the one at the higher levels "
        "not. For `finer` compare 20, 80 and 160 intervals. For `with_teacher` replace both moments by "
        "those of states on one path: Y is X times the quotient of the deviations, and the loss can be zero.",
    ),
)

# --- 5.6: the schedule --------------------------------------------------------------------------------------

_DOUBLED = "min(first * 2 ** (step * stages // steps), last)"
_MASS = "torch.special.ndtr((torch.log(levels) - mean) / std).diff()"
_OF_ALL = "mass / mass.sum()"

_LEVELS = solution.karras_levels(160).tolist()
_SHARES = solution.shares(solution.karras_levels(160), -1.1, 2.0)
MIDDLE, BELOW = _LEVELS[80], float(_SHARES[:80].sum())


def _probe_schedule(answer, seed):
    odd = [float(answer.levels_at(k, 1000, 10, 160)) for k in (0, 199, 200, 555, 999)]
    values = {"levels at 0, 199, 200, 555, 999 of 1000, 10 to 160": odd}
    values["levels at 0, 6, 7, 8, 9 of 10, 3 to 20"] = [
        float(answer.levels_at(k, 10, 3, 20)) for k in (0, 6, 7, 8, 9)
    ]
    values["levels at 5 of 10, 8 to 8"] = float(answer.levels_at(5, 10, 8, 8))
    few = 5 + seed % 30
    values[f"levels at 999 of 1000, {few} to 40 times as many"] = float(
        answer.levels_at(999, 1000, few, 40 * few)
    )
    levels = torch.tensor([END, 0.05, 0.3, 1.1, 5.0, 20.0 + uniform(seed, 0, 50)], dtype=torch.float64)
    values["shares of five intervals"] = answer.shares(levels, -1.1, 2.0)
    return values


def _schedule_facts(answer, seed):
    return right_numbers(answer, 1e-3, middle=MIDDLE, below=BELOW)


def _below_mistakes(shares):
    return (
        Mistake(
            {"middle": math.sqrt(END * 80)},
            "That is the middle of the logarithmic axis. Karras's grid is uniform in another power.",
        ),
        Mistake(
            {"middle": (END + 80) / 2},
            "That is the middle of the axis itself. Of 161 levels, which is the 81st?",
        ),
        Mistake(
            {"middle": _LEVELS[79]},
            "One too low: 79 of the 160 intervals lie below it.",
        ),
        Mistake(
            {"middle": _LEVELS[81]},
            "One too high: 81 of the 160 intervals lie below it.",
        ),
        Mistake(
            {"middle": _LEVELS[79], "below": float(shares[:79].sum())},
            "Both numbers stop one interval too early: which of 161 levels, counted from 0, has 80 intervals "
            "below it?",
        ),
        Mistake(
            {"middle": _LEVELS[81], "below": float(shares[:81].sum())},
            "Both numbers go one interval too far: which of 161 levels, counted from 0, has 80 intervals "
            "below it?",
        ),
        Mistake(
            {"below": float(shares[:79].sum())},
            "You have added 79 shares, one too few: a slice [:n] takes n of them.",
        ),
        Mistake(
            {"below": float(shares[:81].sum())},
            "You have added 81 shares, one too many: a slice [:n] takes n of them.",
        ),
        Mistake(
            {"below": 0.5},
            "Half of the *intervals* lie below. How often are they drawn?",
        ),
        Mistake(
            {"below": 1 - float(shares[:80].sum())},
            "That is what lies above the middle.",
        ),
    )


def _other_shares(task, mean, std):
    shares = solution.shares(solution.karras_levels(160), mean, std)
    below = float(shares[:80].sum())
    of_functions = [one for one in task.mistakes if any(map(callable, one.answer.values()))]
    return {
        "reference": {**task.reference, "below": below},
        "facts": lambda answer, seed: right_numbers(answer, 1e-3, middle=MIDDLE, below=below),
        "mistakes": (*of_functions, *_below_mistakes(shares)),
    }


def _shares_words(mean, std):
    """Only where the task's number is meant: the check of the function has constants of its own."""
    return {
        "$m = -1.1$ and $w = 2$": f"$m = {mean:g}$ and $w = {std:g}$",
        "mean −1.1 and std 2:": f"mean −{-mean:g} and std {std:g}:",
    }


SCHEDULE = Task(
    id="5.6",
    title="How many levels, and which of them?",
    kind="implement-equation",
    difficulty=1,
    minutes=20,
    points=4,
    ids=("T45",),
    names=("levels_at", "shares", "middle", "below"),
    probe=_probe_schedule,
    facts=_schedule_facts,
    varies=Variation(
        choices={"mean": (-1.6, -1.2, -1.0, -0.6), "std": (1.6, 1.8, 2.2)},
        words=_shares_words,
        fields=_other_shares,
    ),
    reference={
        "levels_at": solution.levels_at,
        "shares": solution.shares,
        "middle": MIDDLE,
        "below": BELOW,
    },
    decimals=5,
    asks={
        "middle": "Of 161 increasing levels, counted from 0, which one has 80 intervals below it?",
        "below": "The 80 shares of the intervals below `middle`, added up, with mean −1.1 and std 2: is that "
        "your number?",
    },
    mistakes=(
        Mistake(
            _wrong("levels_at", (" + 1", "")),
            "Your last stage is never reached: from 10 to 160 there are four doublings. How many stages lie "
            "before, between and after four doublings?",
        ),
        Mistake(
            _wrong("levels_at", (_DOUBLED, "first * 2 ** (step * stages // steps)")),
            "From 3 to 20 the last doubling reaches 24, which is more than was asked for. What holds it "
            "back?",
        ),
        Mistake(
            _wrong("levels_at", (_DOUBLED, "first + (last - first) * step // max(1, steps - 1)")),
            "Yours grows by equal amounts, and the statement's doubles at equal times.",
        ),
        Mistake(
            _wrong("levels_at", ("step * stages", "(step + 1) * stages")),
            "Your doublings come one step early: steps are counted from 0. Look at step 199 of 1000.",
        ),
        Mistake(
            _wrong("levels_at", (_DOUBLED, "max(last // 2 ** (step * stages // steps), first)")),
            "Yours halves: coarse grids come at the end. Which comes first, a small bias or a small "
            "variance?",
        ),
        Mistake(
            _wrong("levels_at", ("stages // steps", "stages / steps")),
            "Your number of levels is no whole number: between two doublings it should not change.",
        ),
        Mistake(
            _wrong("shares", (_OF_ALL, "torch.full_like(mass, 1 / len(mass))")),
            "All your intervals are equally likely. On Karras's grid half of them lie at large noise, where "
            "there is little to learn.",
        ),
        Mistake(
            _wrong("shares", (_MASS, "torch.exp(-0.5 * ((torch.log(levels[1:]) - mean) / std) ** 2)")),
            "You take the density at one level of each interval. An interval's share also grows with its "
            "length: what is the normal's mass between two points?",
        ),
        Mistake(
            _wrong("shares", ("torch.log(levels)", "levels")),
            "It is the logarithm of the level that is normal.",
        ),
        Mistake(
            _wrong("shares", (_OF_ALL, "mass")),
            "Your shares do not sum to 1: the normal also has mass beyond both ends of the grid.",
        ),
        Mistake(
            _wrong("shares", ("- mean", "+ mean")),
            "The mean has the wrong sign: the favoured level is e to the −1.1, which is 0.33, not 3.",
        ),
        Mistake(
            _wrong("shares", ("/ std", "/ (2**0.5 * std)")),
            "Your normal is too wide by a factor. The square root of 2 belongs to erf; with a cumulative "
            "normal there is none.",
        ),
        Mistake(
            _wrong("shares", ("torch.log(levels)", "torch.log10(levels)")),
            "You take the decimal logarithm. Mean and width belong to the natural one: e to the −1.1 is "
            "0.33, 10 to the −1.1 is 0.08.",
        ),
        Mistake(
            _wrong("shares", ("torch.log(levels)", "torch.log2(levels)")),
            "You take the binary logarithm, which was for counting the doublings. Here ln is the natural "
            "one.",
        ),
        Mistake(
            _wrong("shares", (_OF_ALL, "mass / mass.max()")),
            "Your largest share is 1. It is their sum that should be 1.",
        ),
        Mistake(
            _wrong("shares", ("/ std)", "/ std**2)")),
            "You divide by the square of w. By what is a normal variable divided to have width 1?",
        ),
        Mistake(
            _wrong("shares", (_OF_ALL, "-mass")),
            "Your shares are negative: the levels increase, so which of two neighbours has the larger mass "
            "below it?",
        ),
        Mistake(
            _wrong("shares", (_OF_ALL, "mass.cumsum(0) / mass.sum()")),
            "You give the mass up to each level. A share belongs to one interval.",
        ),
        *_below_mistakes(_SHARES),
    ),
    hints=(
        "A doubling from 10 to 160: list the numbers of levels that occur. How many are there, and how many "
        "steps does each get?",
        "The number of doublings so far is a whole number: step times the number of stages, divided by steps "
        "and rounded down. A share is a difference of two values of the cumulative normal.",
        "S is one more than the rounded-up binary logarithm of last over first. For the shares take the "
        "logarithms of the levels, less the mean, over std; the cumulative normal is torch.special.ndtr; "
        "differences of neighbours, divided by their sum. `below` is the sum of the first 80.",
    ),
)

# --- 5.7: the bias of the levels ----------------------------------------------------------------------------


_HYPOT = "math.hypot(d, 0.002)"
_SECOND = "(1 + (r - s) * k1) * r / (d**2 + r**2)"  # Heun's second slope
_EXACTLY = f"- {_HYPOT}"  # the distance from what is exact


def _drawn(helper, *edits):
    """The drawing with these edits in one of the functions that it uses."""
    return _wrong("draw", **{helper: changed(getattr(solution, helper), *edits)})


def _probe_figure(answer, seed):
    seen = read_axes(answer.draw([40, 80, 160], uniform(seed, 0.4, 0.7)))
    values = {"x scale, y scale": f"{seen.xscale}, {seen.yscale}"}
    values["axes labelled"] = "yes" if seen.xlabel and seen.ylabel else "no"
    for name, (at, y) in error_lines(seen, "training", "distillation, Heun").items():
        values[f"slope of {name}, last two points"] = np.log(y[-1] / y[-2]) / np.log(at[-1] / at[-2])
        values[f"last point of {name}, log10"] = [math.log10(at[-1]), math.log10(y[-1])]
    n, std = round(uniform(seed, 15, 60)), uniform(seed, 0.3, 0.9, stream=1)
    seen = read_axes(answer.draw([n, 2 * n, 3 * n], std))
    for name, (_, y) in error_lines(seen, "training", "distillation, Heun").items():
        values[f"log10 of the errors of {name}, {n}, {2 * n}, {3 * n}"] = np.log10(y)
    return values


def _figure_facts(answer, seed):
    values = right_numbers(answer, 1e-3, enough_training=320, enough_heun=40)
    return values | right_words(answer, ("ddpm", "ddim", "heun"), twin=solution.twin)


BIAS = Task(
    id="5.7",
    title="Bias against levels, read off your own figure",
    kind="figure",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("T45", "BT25", "C30"),
    names=("draw", "enough_training", "enough_heun", "twin"),
    probe=_probe_figure,
    facts=_figure_facts,
    reference={"draw": solution.draw, "enough_training": 320, "enough_heun": 40, "twin": solution.twin},
    tolerance=1e-3,
    decimals=2,
    mistakes=(
        Mistake(
            _wrong("draw", ("loglog", "plot")),
            "On these axes every falling error is a curve. On which axes is a power of the number of "
            "intervals a straight line?",
        ),
        Mistake(
            _wrong("draw", ("loglog", "semilogy")),
            "Only the error's axis is logarithmic: there an exponential is straight, and a power is not.",
        ),
        Mistake(
            _wrong("draw", ('xlabel="intervals M", ', "")),
            "Intervals, levels or seconds? Nothing on your horizontal axis says which: name both axes.",
        ),
        Mistake(
            _wrong("draw", ("(counts, [", "([1 / count for count in counts], [")),
            "Your axis is a step size, so that the lines rise to the right. The task asks for the number of "
            "intervals.",
        ),
        Mistake(
            _drawn(
                "one_step_error",
                ("gain * math.hypot(d, 80)", "(gain * math.hypot(d, 80)) ** 2"),
                ("0.002)", "0.002) ** 2"),
            ),
            "You compare variances. The slopes hardly notice, the values do: the standard deviation is asked "
            "for.",
        ),
        Mistake(
            _drawn("one_step_error", (_EXACTLY, f"/ {_HYPOT} - 1")),
            "Yours is the relative error. The figure wants the plain distance of the two deviations.",
        ),
        Mistake(
            _drawn("one_step_error", ("return abs(", "return 100 * abs("), (_EXACTLY, f"/ {_HYPOT} - 1")),
            "Yours is the error in per cent of the exact deviation. The figure wants the plain distance of "
            "the two deviations; per cents are asked for in `enough_…` only.",
        ),
        Mistake(
            _drawn("one_step_error", ("math.hypot(d, 0.002)", "d")),
            "You compare with the deviation of the data. The paths end at level 0.002, where a little noise "
            "is left.",
        ),
        Mistake(
            _drawn("one_step_error", (" - math.hypot(d, 0.002)", "")),
            "That is the deviation itself: it rises to a limit. What is its distance from the exact one?",
        ),
        Mistake(
            _drawn("train_factor", (" + r * s", "")),
            "Your line for training does not fall: these are the factors of independent noise, which leave "
            "nothing of the data's width.",
        ),
        Mistake(
            _drawn(
                "train_factor",
                ("(d**2 + r * s) / (d**2 + s**2)", "(1 - 1e-9) * math.sqrt((d**2 + r**2) / (d**2 + s**2))"),
            ),
            "Your line for training lies at round-off: these are the exact flow's factors, which no loss "
            "here has as its minimiser. What is the least-squares slope?",
        ),
        Mistake(
            _wrong("draw", heun_factor=solution.train_factor),
            "Your two lines are one: an Euler step with the exact teacher has the very factor of training. "
            "Heun's step has a second slope.",
        ),
        Mistake(
            _drawn("heun_factor", ("(1 + (r - s) * k1) * r", "r")),
            "Your second slope is that of the *starting* x at level r. At which state does Heun ask again?",
        ),
        Mistake(
            _drawn("heun_factor", ("* r / (d**2 + r**2)", "* s / (d**2 + s**2)")),
            "Your second slope is asked at the right state and told the level of the start. At which level "
            "does u lie?",
        ),
        Mistake(
            _drawn("heun_factor", (_SECOND, "(1 + (r - s) * k1 - d**2 / (d**2 + r**2)) / r")),
            "u stands in your second slope once, and D is still asked at the starting x. Of which state is "
            "D the denoised one there?",
        ),
        Mistake(
            _drawn("heun_factor", (_SECOND, "(1 - (1 + (r - s) * k1) * d**2 / (d**2 + r**2)) / r")),
            "D is asked at u, and subtracted from the starting x. From which state does the statement "
            "subtract it?",
        ),
        Mistake(
            _drawn("heun_factor", ("(k1 + k2) / 2", "(k1 + k2)")),
            "You add the two slopes. Their mean makes the step.",
        ),
        Mistake(
            _drawn("heun_factor", ("(k1 + k2) / 2", "k2")),
            "Your last step uses the second slope alone. Heun takes the mean of the two.",
        ),
        Mistake(
            _drawn(
                "one_step_error",
                ("karras_levels(count)", "torch.linspace(0.002, 80, count + 1, dtype=torch.float64)"),
            ),
            "Your levels are equally spaced, and nearly all of them lie far above the data. Which grid does "
            "the setup give you?",
        ),
        Mistake(
            _drawn("one_step_error", ("math.hypot(d, 80)", "d")),
            "What spread do states have at level 80? The student multiplies those, not data.",
        ),
        Mistake(
            {"enough_training": 160},
            "At 160 intervals the deviation is off by 0.0088: how much is one per cent of it?",
        ),
        Mistake(
            {"enough_training": 40},
            "You exchanged the two, or read the wrong line: training is the slower one.",
        ),
        Mistake(
            {"enough_heun": 20},
            "At 20 intervals Heun is off by 0.02, four per cent.",
        ),
        Mistake(
            {"enough_heun": 80},
            "At 80 it is well within the mark. Is it at the count before?",
        ),
        Mistake(
            {"twin": "heun"},
            "Heun's factor has two slopes. Training's factor (d² + rs)/(d² + s²) is one step of which "
            "sampler, with the exact D?",
        ),
        Mistake(
            {"twin": "ddpm"},
            "DDPM adds noise, and the student of training is a plain multiple of x.",
        ),
    ),
    hints=(
        "An error like 1/M becomes which slope on logarithmic axes? And one like 1/M²?",
        "One point: the levels of M intervals, a product of M factors, times the deviation of x at level 80, "
        "minus the exact deviation. For training you have the factor from 5.4.",
        "Heun's factor: put x = 1 at level s. The slope there is s over (d² + s²); go to r with it; the "
        "slope at the place you reach is that place times r over (d² + r²); go again from 1 with their mean. "
        "For `twin` go to r with the first slope alone and simplify.",
    ),
)

# --- 5.8: several jumps -------------------------------------------------------------------------------------

_NOISE = "math.sqrt(s**2 - end**2)"


def _refined_std(refine, f, levels, end, std):
    """The deviation after these jumps of a linear f on N(0, std^2): with unit vectors in place of the start
    and the noises, the squares add up to the variance."""
    start, *noises = torch.eye(len(levels), dtype=torch.float64)[:, None]
    made = refine(f, math.hypot(std, levels[0]) * start, levels, end, noises)
    return float(torch.as_tensor(made, dtype=torch.float64).norm())


def _std_of_rounds(rounds):
    """After the first jump and so many more at level 0.2, for a student five per cent off everywhere."""
    exact = FlowMap(GaussianFlow(EDM(), 0.0, STD), end=END)
    levels = [80.0, *[0.2] * rounds]
    return _refined_std(solution.refine, lambda x, s: 0.95 * exact.x0(x, s), levels, END, STD)


FOUR = _std_of_rounds(4)
MEANS = STD**2 / math.hypot(STD, 80.0)


def _probe_refine(answer, seed):
    end, levels = 0.3, [8.0, 2.0, 0.6]
    flow = FlowMap(GaussianFlow(EDM(), 0.0, STD), end=end)
    x = 8.0 * normal(seed, 4, 2)
    noises = [normal(seed, 4, 2, stream=k) for k in (1, 2)]
    asked = []

    def bent(x, s):
        asked.append(float(s))
        return torch.tanh(x / (1 + s)) + 0.1 * x

    values = {"x after three jumps": answer.refine(bent, x, levels, end, noises), "levels asked": asked[:3]}
    one, three = (_refined_std(answer.refine, flow.x0, levels[:jumps], end, STD) for jumps in (1, 3))
    values["std, exact flow map, one jump, three, exact"] = [one, three, math.hypot(STD, end)]
    return values


def _refine_facts(answer, seed):
    values = right_numbers(answer, 1e-5, means_std=MEANS)
    values |= right_numbers(answer, 1e-3, best_level=1.0, four_rounds=FOUR)
    return values | right_words(answer, ("sometimes", "never"), trained_gains="never")


REFINE = Task(
    id="5.8",
    title="Refine a one-step sample, and when not to",
    kind="implement-sampler",
    difficulty=2,
    minutes=35,
    points=5,
    ids=("T46", "T48", "BS39"),
    names=("refine", "means_std", "best_level", "four_rounds", "trained_gains"),
    probe=_probe_refine,
    facts=_refine_facts,
    reference={
        "refine": solution.refine,
        "means_std": MEANS,
        "best_level": 1.0,
        "four_rounds": FOUR,
        "trained_gains": "never",
    },
    decimals=5,
    asks={
        "means_std": "One jump: the factor of D at level 80, times the deviation of x there. Is that your "
        "number?",
        "four_rounds": "Follow v by hand once: after the jump from 80 its root is 0.475. What does one round "
        "at level 0.2 make of that?",
        "std, exact flow map, one jump, three, exact": "With the exact flow map the deviation must stay "
        "exact after every jump: how much noise does a sample at the end lack to be one at level s?",
    },
    mistakes=(
        Mistake(
            _wrong("refine", (_NOISE, "s")),
            "A sample that f returns is one of level `end`: some noise is in it already. Variances add up: "
            "how much is still missing to s²?",
        ),
        Mistake(
            _wrong("refine", (_NOISE, "(s - end)")),
            "You add the difference of the deviations. Of independent noises, what adds up?",
        ),
        Mistake(
            _wrong("refine", (_NOISE, "(s**2 - end**2)")),
            "That is the variance of the noise to be added. By what is z multiplied?",
        ),
        Mistake(
            _wrong("refine", (f" + {_NOISE} * z", "")),
            "You ask again at level s without having added any noise: the state is still one of the end.",
        ),
        Mistake(
            _wrong("refine", ("f(sample +", "f(x +")),
            "You add the noise to the x that you started from. Which sample is to be refined?",
        ),
        Mistake(
            _wrong("refine", ("f(x, levels[0])", "x")),
            "Your first jump is missing: x at the first level is noise, and you add more to it.",
        ),
        Mistake(
            _wrong(
                "refine",
                ("s, z in zip(levels", "before, s, z in zip(levels, levels"),
                ("z, s)", "z, before)"),
            ),
            "f is told the level before. At which level is the state now?",
        ),
        Mistake(
            _wrong("refine", ("1:], noises)", "1:], noises[:1] * len(noises))")),
            "The second refinement uses the noise of the first one again. There is one for each.",
        ),
        Mistake(
            _wrong("refine", ("f(sample", "f(x := sample"), ("return sample", "return x")),
            "You return the state with its new noise. What is the last thing to be done?",
        ),
        Mistake(
            _wrong("refine", ("f(sample +", "f((1 - s / levels[0]) * sample +")),
            "You shrink the sample before adding noise, as if alpha were falling. What is alpha here?",
        ),
        Mistake(
            {"means_std": 0.5},
            "0.5 is the data's. The denoiser answers with the mean of all data that x may come from: how "
            "different can these means be, when x is nearly all noise?",
        ),
        Mistake(
            {"means_std": STD**2 / (STD**2 + 6400)},
            "That is the factor by which x is multiplied. What is the deviation of x?",
        ),
        Mistake(
            {"means_std": MEANS**2},
            "That is a variance.",
        ),
        Mistake(
            {"best_level": 20.0},
            "At level 20 the noise swamps the sample, and the student jumps anew with nearly the old error.",
        ),
        Mistake(
            {"best_level": 0.05},
            "At level 0.05 the student errs least, and x keeps the error that it has: too little is redone.",
        ),
        Mistake(
            {"best_level": 0.2},
            "At level 0.2 the sample is no better than after the plain jump, to three digits. Is the student "
            "so bad at larger levels that nothing is gained there?",
        ),
        Mistake(
            {"best_level": 0.5},
            "Better than no refinement. Is one of the neighbours in the list better still?",
        ),
        Mistake(
            {"best_level": 2.0},
            "Close to the best of the list: compare with its neighbours.",
        ),
        Mistake(
            {"four_rounds": FOUR**2},
            "Your recursion is right, and v is a variance: the deviation is asked for.",
        ),
        Mistake(
            {"four_rounds": _std_of_rounds(3)},
            "You counted the first jump among the four. The refinements come after it.",
        ),
        Mistake(
            {"four_rounds": 0.95 * math.hypot(STD, END)},
            "That is one jump's. What does a refinement at level 0.2 keep of its error, and what does it "
            "add?",
        ),
        Mistake(
            {"four_rounds": 0.95**5 * math.hypot(STD, END)},
            "Five times the whole error: that would be refinement at level 0. At 0.2 a part of x is "
            "made new, and with it a part of the error forgotten.",
        ),
        Mistake(
            {"trained_gains": "sometimes"},
            "Print the deviation after one refinement for every level of the grid, and compare with that of "
            "the plain jump. Is any of them nearer to 0.5?",
        ),
    ),
    hints=(
        "If f is exact, f(x, s) is distributed as the data with noise of level `end`. What must be added to "
        "make it a sample at level s?",
        "Jump, then for each further level: add noise, jump. For the numbers iterate the variance: one line "
        "of the statement, started with the jump's own variance.",
        "Noise adds in variances: s² less end² is missing. For best_level compute all eight deviations and "
        "take the one nearest to the exact one. For four_rounds iterate four times after the first jump; "
        "for trained_gains the a of every level are the partial products of 5.4's factors.",
    ),
)

# --- 5.9: an honest comparison ------------------------------------------------------------------------------

PER_CALL = 40e-6  # seconds, as in the task's table
TEACHER = solution.seconds(10_000, 36, PER_CALL)


def _from(fixed, gap):
    """The first whole number of samples at which `gap` saved calls have paid for `fixed` seconds."""
    return math.floor(fixed / (gap * PER_CALL)) + 1


def _cost_numbers(training=40.0, pairs=20_000):
    """The right numbers, for a student with such a training."""
    spent = {"training": training, "pairs": pairs, "pair_calls": 36}
    fixed = solution.seconds(0, 1, PER_CALL, **spent)
    return {
        "ratio": TEACHER / solution.seconds(10_000, 1, PER_CALL, **spent),
        "pays_from": _from(fixed, 35),
        "pays_from_equal": _from(fixed, 9),
    }


def _probe_cost(answer, seed):
    per_call = uniform(seed, 1e-5, 1e-4)
    return {
        "seconds of a teacher, 500 samples of 18 calls": float(answer.seconds(500, 18, per_call)),
        "of a student trained for 7 s": float(answer.seconds(500, 2, per_call, training=7.0)),
        "of one with 3000 pairs of 12 calls": float(
            answer.seconds(500, 1, per_call, training=7.0, pairs=3000, pair_calls=12)
        ),
    }


def _cost_facts(ratio, **whole):
    def facts(answer, seed):
        values = right_numbers(answer, 1e-6, **whole)
        values |= {k: "no whole number" for k, n in values.items() if n != "right" and n % 1 != 0}
        values |= right_numbers(answer, 1e-3, ratio=ratio)
        return values | right_words(answer, ("holds", "fails"), claim=solution.claim)

    return facts


def _cost_mistakes(training=40.0, pairs=20_000):
    fixed = solution.seconds(0, 1, PER_CALL, training=training, pairs=pairs, pair_calls=36)
    ratio, pays, equal = _cost_numbers(training, pairs).values()
    return (
        Mistake(
            {"ratio": 36},
            "36 is the quotient of the calls. Ten thousand samples must carry the training as well.",
        ),
        Mistake(
            {"ratio": 1 / ratio},
            "Your quotient stands on its head: the teacher's seconds go above the line.",
        ),
        Mistake(
            {"ratio": TEACHER / solution.seconds(10_000, 1, PER_CALL, training=training)},
            "The 40 seconds are the optimiser's. The teacher also ran to make the pairs.",
        ),
        Mistake(
            {"ratio": TEACHER / fixed},
            "The student's own calls are missing in your quotient.",
        ),
        Mistake(
            {"pays_from": 1},
            "From the first sample on? At one sample the teacher takes 36 calls and the student's training "
            "has to be paid.",
        ),
        Mistake(
            {"pays_from": _from(training, 35)},
            "You count the optimiser's seconds only: the pairs were made by the teacher, and cost its calls.",
        ),
        Mistake(
            {"pays_from": _from(fixed, 36)},
            "You divide by 36 calls a sample. How many does the student save?",
        ),
        Mistake(
            {"pays_from": pays - 1},
            "One too few: at that number the student still takes a little longer.",
        ),
        Mistake(
            {"pays_from": pays - 0.5, "pays_from_equal": equal - 0.5},
            "Nobody makes a part of a sample: both numbers are whole ones. Which is the first whole number "
            "at which the student takes fewer seconds?",
        ),
        Mistake(
            {"pays_from": pays - 0.5},
            "pays_from is a number of samples, and so a whole one: which is the first at which the student "
            "takes fewer seconds?",
        ),
        Mistake(
            {"pays_from_equal": equal - 0.5},
            "pays_from_equal is a number of samples, and so a whole one: which is the first at which the "
            "student takes fewer seconds?",
        ),
        Mistake(
            {"pays_from": pays - 1, "pays_from_equal": equal - 1},
            "Both are one too few: at these numbers the student still takes a little longer. In which "
            "direction do you round?",
        ),
        Mistake(
            {"pays_from": pays + 1},
            "One too many: put the number before it into `seconds` for both.",
        ),
        Mistake(
            {"pays_from_equal": equal - 1},
            "One too few against the cheaper teacher: at that number the student still takes a little "
            "longer.",
        ),
        Mistake(
            {"pays_from_equal": _from(training, 9)},
            "Against the cheaper teacher, too, the pairs have to be paid: the optimiser's seconds are not "
            "all.",
        ),
        Mistake(
            {"pays_from_equal": pays},
            "That is against 36 calls, which buy better samples than the student's. How many calls does the "
            "teacher need to be no worse than the student?",
        ),
        Mistake(
            {"pays_from_equal": _from(fixed, 7)},
            "With 8 calls the teacher is still worse than the student: 4.8 against 4.1.",
        ),
        Mistake(
            {"pays_from_equal": _from(fixed, 17)},
            "18 calls are better than the student by far. Is there a cheaper setting that is no worse?",
        ),
        Mistake(
            {"pays_from_equal": _from(fixed, 10)},
            "You divide by the teacher's 10 calls. How many does the student save?",
        ),
        Mistake(
            {"claim": "holds"},
            "Look at your ratio for ten thousand samples: who is cheaper, and by how much?",
        ),
    )

def _other_costs(task, training, pairs):
    numbers = _cost_numbers(training, pairs)
    of_function = [one for one in task.mistakes if "seconds" in one.answer]
    return {
        "reference": {**task.reference, **numbers},
        "facts": _cost_facts(**numbers),
        "mistakes": (*of_function, *_cost_mistakes(training, pairs)),
    }


def _cost_words(training, pairs):
    shown = f"{pairs:_}"
    return {
        "trained for 40 s": f"trained for {training:g} s",
        "in the 40 s": f"in the {training:g} s",
        "20 000 pairs": f"{shown.replace('_', ' ')} pairs",
        "training=40.0, pairs=20_000": f"training={training!r}, pairs={shown}",
        "The 40 seconds": f"The {training:g} seconds",
    }


COST = Task(
    id="5.9",
    title="Thirty-six times cheaper?",
    kind="claim",
    difficulty=1,
    minutes=20,
    points=4,
    ids=("B18", "T48", "P23", "BS39"),
    names=("seconds", "ratio", "pays_from", "pays_from_equal", "claim"),
    probe=_probe_cost,
    facts=_cost_facts(**_cost_numbers()),
    reference={"seconds": solution.seconds, **_cost_numbers(), "claim": solution.claim},
    varies=Variation(
        choices={"training": (15.0, 25.0, 30.0), "pairs": (10_000, 12_000, 15_000, 17_000)},
        words=_cost_words,
        fields=_other_costs,
    ),
    decimals=4,
    asks={
        "ratio": "Write down the student's seconds for 10,000 samples: training, pairs, calls. Which of them "
        "is the largest?",
        "pays_from": "What is paid once, and what does each sample save? Put your number, and the one before "
        "it, into `seconds` for both.",
        "pays_from_equal": "Which row of the teacher is no worse than 4.1, with the fewest calls? Put your "
        "number, and the one before it, into `seconds` for both.",
    },
    mistakes=(
        Mistake(
            _wrong("seconds", ("training + (pairs * pair_calls + n * calls)", "n * calls")),
            "You count calls at sampling time, and the training is free. That is the claim's own mistake.",
        ),
        Mistake(
            _wrong("seconds", ("pairs * pair_calls + ", "")),
            "The student learned from pairs. Who made them, and with how many calls each?",
        ),
        Mistake(
            _wrong("seconds", ("pairs * pair_calls", "pairs")),
            "A pair costs as many calls as the teacher takes to make it.",
        ),
        Mistake(
            _wrong("seconds", ("training +", "n * training +")),
            "Training is paid once, not for every sample.",
        ),
        *_cost_mistakes(),
    ),
    hints=(
        "Two kinds of cost: what is paid once, and what is paid for each sample. Which of them does NFE "
        "count?",
        "Paid once: the optimiser's seconds, and the calls that made the pairs. A sample saves as many calls "
        "as the difference of the two methods. For the second number find the row of the teacher that the "
        "student does not beat, with the fewest calls.",
        "Break-even is where the seconds paid once equal n times the calls saved times the seconds a call; "
        "the answer is the next whole number. In either comparison the saved calls are one fewer than "
        "those of the teacher's row. The ratio has both sides at n = 10,000.",
    ),
)

# --- 5.10: reflow in one dimension --------------------------------------------------------------------------

_PEAKS = Mixture([0.7, 0.3], [[-0.6], [0.8]], [0.25, 0.25])  # the task's data
_NEAR_IN = {1: 0.2, 8: 0.1}  # how near a student has to come; of 24 seeds none was above 0.072 and 0.045


def _ends(z):
    """Where the exact first flow leads from the noises z, (B, 1)."""
    return QuantileFlow(Flow(), _PEAKS).map(z, 1.0, 0.0)


def _where(velocity, z, ends, steps):
    """In words, where a walk of so many steps from the noises z comes to; ends: where the flow leads."""
    x = _walked(velocity, z, steps)
    off, moved = (float((x - there).square().mean().sqrt()) for there in (ends, z))
    if not math.isfinite(off):
        return "at no numbers"
    if off < _NEAR_IN[steps]:
        return "near"
    if float(x.std()) < 0.2:
        return "all at one place"
    return "not quite there" if off < 0.3 else "still at the noise" if moved < 0.2 else "elsewhere"


def _walked(velocity, z, steps):
    """Equal steps of Euler from t = 1 to 0; Remark for a velocity of another shape."""
    x = z
    with torch.no_grad():
        for i in range(steps):
            v = torch.as_tensor(velocity(x, torch.full((len(z),), 1 - i / steps, dtype=torch.float64)))
            if v.numel() != x.numel():
                raise Remark(f"student(x, t) gives one number for each x; for {len(x)} it gives {v.numel()}.")
            x = x - v.double().reshape(x.shape) / steps
    return x


def _probe_reflow(answer, seed):
    z, steps, asked = normal(seed, 5, 2), 4 + seed % 5, []

    def bent(x, t):
        t = torch.as_tensor(t, dtype=x.dtype).reshape(-1, 1).expand(len(x), 1)
        asked.extend(t[:, 0].tolist())
        return torch.tanh(x + 2 * t) - 0.3 * x

    end = answer.walk(bent, z, steps)
    values = {"answers of v a sample and step": len(asked) / len(z) / steps}
    values |= {"times at which v is asked": sorted(asked, reverse=True), f"x after {steps} steps": end}
    values["x after 1 step"] = answer.walk(bent, z, 1)
    theta = (0.5 * normal(seed, 2, stream=2)).requires_grad_()
    x0, t = normal(seed, 5, 2, stream=3) + 1, torch.linspace(0.05, 0.9, 5, dtype=torch.float64)

    def learns(x, t):
        return torch.tanh(theta[0] * x + theta[1] * torch.as_tensor(t, dtype=x.dtype).reshape(-1, 1))

    values["loss"], values["its gradient"] = _gradients(answer.flow_loss(learns, x0, z, t), theta)
    noise = normal(seed, 400, 1, stream=4)
    words = [f"in {n} {_where(answer.student, noise, _ends(noise), n)}" for n in _NEAR_IN]
    return values | {"student": ", ".join(words)}


def _reflow_facts(answer, seed):
    values = right_numbers(answer, 1e-3, first_step=-0.18)
    values |= right_words(answer, ("cross", "never"), chords=solution.chords)
    return values | right_words(answer, ("yes", "no"), again=solution.again)


@lru_cache
def _lines():
    """(noises, where the first flow leads from them) on a fine grid, both increasing (N,) arrays."""
    z = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    return z.numpy(), _ends(z[:, None])[:, 0].numpy()


def _straight(x, t):
    """The velocity of a perfect student: z - x_0 of the one line through x at time t; t alike for all."""
    z, ends = _lines()
    level = float(t.reshape(-1)[0])
    there = np.interp(x.detach().numpy(), (1 - level) * ends + level * z, z)
    return torch.from_numpy(there - np.interp(there, z, ends))


def _first(x, t):
    """The first flow's velocity: what training on independent pairs has as its minimiser."""
    return _PEAKS.model(Flow()).flow(x, t)


def _from_noise_only(x, t):
    """The velocity of a student that was trained at t = 1 only, and answers so everywhere."""
    return _straight(x, torch.ones(1))


_TURNED = ("1 - i / steps", "i / steps")
_LAST = ("x = x - velocity", "x = x + velocity")
_GRID = ("for i in range(steps)", "for u in torch.linspace(0, 1, steps).tolist()")  # a gap less than steps
_LINE = "(1 - t[:, None]) * x0 + t[:, None] * z"

REFLOW = Task(
    id="5.10",
    title="Find the bug, then reflow: one step in one dimension",
    kind="find-the-bug",
    difficulty=2,
    minutes=35,
    points=5,
    ids=("BB14",),
    names=("walk", "flow_loss", "student", "first_step", "chords", "again"),
    probe=_probe_reflow,
    facts=_reflow_facts,
    reference={
        "walk": solution.walk,
        "flow_loss": solution.flow_loss,
        "student": Made(lambda: _straight),
        "first_step": -0.18,
        "chords": solution.chords,
        "again": solution.again,
    },
    asks={
        "answers of v a sample and step": "Euler asks the velocity once a step, at its start, and n steps "
        "lead from 1 to 0: how often does your walk ask?",
        "times at which v is asked": "Write down the times at which n = 4 steps begin. At which does your "
        "walk ask?",
        "x after 1 step": "One step goes from t = 1 to t = 0 with the velocity at the noise: does yours?",
        "loss": "Put x_0 = 0 and z = 1 by hand: where is x_t at t = 0.9, and which velocity leads from data "
        "to noise?",
        "its gradient": "The loss is right and its gradient is not: which function is to learn?",
        "student": "From noise, your student should come near the first flow's ends in one step and in "
        "eight, and it does not: print where it ends. Which pairs was it shown, at which times, and for how "
        "long?",
        "first_step": "Walk one step of first_flow from some noises and print where they end.",
    },
    mistakes=(
        Mistake(
            _wrong("walk", _GRID, ("1 - i / steps", "u")),
            "This is the listing as it was given. Print the times at which it asks the velocity in two "
            "steps: with which does a walk from noise begin, and how far apart are they?",
            as_given=True,
        ),
        Mistake(
            _wrong("walk", _GRID, ("1 - i / steps", "1 - u")),
            "Your walk begins at noise now. But its times run from 1 to 0 with both ends among them, one gap "
            "fewer than there are steps of 1/n: at which time does the last step begin?",
        ),
        Mistake(
            _wrong("walk", _TURNED),
            "Your times lie as far apart as they should now. But the first asks the velocity at t = 0, where "
            "data are, and x is noise: at which end of the time axis does a walk from noise begin?",
        ),
        Mistake(
            _wrong("walk", _GRID, ("1 - i / steps", "1 - u"), ("/ steps\n", "/ max(1, steps - 1)\n")),
            "Times and gaps fit each other, and you make one step too many: the last one begins at t = 0, "
            "where the walk should be over.",
        ),
        Mistake(
            _wrong("walk", _LAST),
            "You go along the velocity. It points from data to noise, as dx/dt for a t that grows, and t "
            "falls here.",
        ),
        Mistake(
            _wrong("walk", _TURNED, _LAST),
            "That is a walk upwards, from data at t = 0 to noise. Yours starts from noise.",
        ),
        Mistake(
            _wrong("walk", ("velocity(x, t) / steps", "velocity(x, t)")),
            "Each of your steps is as long as the whole walk. How long is one of n?",
        ),
        Mistake(
            _wrong("walk", ("1 - i / steps", "1 - (i + 1) / steps")),
            "Each of your steps asks the velocity at the time where it *ends*, and shows it the state where "
            "it begins.",
        ),
        Mistake(
            _wrong("walk", ("1 - i / steps", "1 - (i + 0.5) / steps")),
            "You ask at the middle of each step with the state at its start. Euler asks where it stands.",
        ),
        Mistake(
            _wrong("walk", ("velocity(x, t)", "velocity(z, t)")),
            "Every one of your steps asks the velocity at the noise. Where is the walk by then?",
        ),
        Mistake(
            _wrong("flow_loss", ("z - x0", "x0 - z")),
            "Your velocity points from noise to data. The statement's is dx/dt, and t is 1 at noise.",
        ),
        Mistake(
            _wrong("flow_loss", (_LINE, "t[:, None] * x0 + (1 - t[:, None]) * z")),
            "Your line has the data at t = 1. Which end is noise?",
        ),
        Mistake(
            _wrong("flow_loss", ("velocity(x, t)", "velocity(x, 1 - t)")),
            "The state lies at t, and the network is told 1 − t.",
        ),
        Mistake(
            _wrong("flow_loss", ("(z - x0)", "(x - x0)")),
            "x_t − x_0 is the part of the line that lies behind. The velocity is the same all along it.",
        ),
        Mistake(
            _wrong("flow_loss", ("velocity(x, t)", "velocity(z, t)")),
            "The network is shown the noise whatever t is. Where on the line does it stand?",
        ),
        Mistake(
            _wrong("flow_loss", ("(z - x0)", "x0")),
            "You teach the data. What is the derivative of (1 − t) x_0 + t z in t?",
        ),
        Mistake(
            _wrong("flow_loss", ("(z - x0)", "z")),
            "You teach the noise. The line's direction has the data in it, too.",
        ),
        Mistake(
            _wrong("flow_loss", (".mean()", ".sum()")),
            "You add up over the whole batch. The statement's is a mean.",
        ),
        Mistake(
            _wrong("flow_loss", (".mean()", ".sum(1).mean()")),
            "You sum over the entries of a sample. The statement's mean is over all entries.",
        ),
        Mistake(
            _wrong("flow_loss", (".square()", ".abs()")),
            "You take the absolute difference, and what is least then is no mean.",
        ),
        Mistake(
            {"student": Made(lambda: _first)},
            "One step of your student ends at one place from every noise, and eight nearly arrive: that is "
            "what the *first* flow does. Is each noise in your batch still beside its own sample, the one "
            "that was walked to from it?",
        ),
        Mistake(
            {"student": Made(lambda: _from_noise_only)},
            "Your student arrives in one step and not in eight, which are to come nearer. With how many "
            "steps of the first flow were its pairs made, which times were in its batches, and did it learn "
            "long enough?",
        ),
        Mistake(
            {"student": Made(lambda: lambda x, t: _straight(x, t) + 0.25)},
            "Your student comes into the neighbourhood of the first flow's ends in one step and in eight, "
            "and not near enough. Did it see enough pairs, for long enough, and times from 0 to 1?",
        ),
        Mistake(
            {"student": Made(lambda: lambda x, t: (x + 0.18) / t[:, None])},
            "Your student brings every noise to one place, in one step and in eight. With how many steps of "
            "the first flow were its pairs made?",
        ),
        Mistake(
            {"student": Made(lambda: lambda x, t: 0 * x)},
            "Your student leaves the noise where it is: has it been trained, and was it the trained one that "
            "you handed in?",
        ),
        Mistake(
            {"student": Made(lambda: lambda x, t: -_straight(x, t))},
            "Your student walks away from the data: which sign has the velocity that it was taught?",
        ),
        Mistake(
            {"first_step": -0.6},
            "-0.6 is the larger peak. From pure noise at t = 1 nothing tells to which peak it belongs: what "
            "is the mean of z − x_0 there?",
        ),
        Mistake(
            {"first_step": 0.1},
            "That is half-way between the peaks. They have not the same weight.",
        ),
        Mistake(
            {"first_step": 0.0},
            "0 is the mean of the noise. One step subtracts z less the mean of which data?",
        ),
        Mistake(
            {"chords": "cross"},
            "Take two noises, one above the other. Paths of a flow in one dimension cannot pass each other: "
            "which of the two ends is the higher one, and what about the straight lines then?",
        ),
        Mistake(
            {"again": "yes"},
            "If the student is perfect, which pairs would it make, and which are the pairs that it was "
            "trained on?",
        ),
    ),
    hints=(
        "Print the times at which the listing asks the velocity, for n = 2. In the statement they are 1 and "
        "1/2. For the student: which two things must stay side by side when a batch is drawn?",
        "Count the steps, and let t fall with the count. The loss needs the point on the line and the line's "
        "direction, which is the same everywhere on it. A batch of the second network takes the same rows of "
        "the noises and of the walk's ends, and times of its own, from 0 to 1.",
        "Step number i of n, counted from 0, begins at 1 less i/n. Draw noises once, walk them with 50 "
        "steps, keep both tensors; in each step of the training draw row numbers and use them for both. For "
        "the words: order the noises, and ask whether the order of the ends, and of the points between, is "
        "another.",
    ),
)

# --- 5.11: a critic -----------------------------------------------------------------------------------------

_LIGHT, _HEAVY = 0.356766518336, 0.431387559052  # where student and critic rest, by quadrature: see the tests
_SATURATED_LIGHT, _SATURATED_HEAVY = 0.370841869220, 0.440334158750
_NEAR = 0.01  # a share; over seeds the trained number has a spread of a tenth of that


def _called(value, **places):
    """ "right" or in words which of these numbers a measured one is, else the number itself."""
    for name, place in places.items():
        if abs(value - place) <= _NEAR * place:
            return name.replace("_", " ")
    return value


def _probe_critic(answer, seed):
    theta, phi = (0.4 * normal(seed, 2)).requires_grad_(), torch.tensor(0.4, dtype=torch.float64)
    phi, shown, z = phi.requires_grad_(), [], normal(seed, 6, 1, stream=1)

    def critic(x):
        shown.append(len(x))
        return theta[0] + theta[1] * x.square() + 0.2 * x

    real, wanted = 0.5 * normal(seed, 6, 1, stream=2) + 0.1, 0.3 * z + 0.05
    loss, in_critic, in_student = _gradients(answer.critic_loss(critic, real, phi * z), theta, phi)
    values = {"critic's loss": loss, "its gradient in the critic": in_critic}
    values |= {"its gradient in the student": in_student, "rows shown for it": float(sum(shown))}
    shown.clear()
    loss, in_student = _gradients(answer.student_loss(critic, phi * z, wanted, 0.7), phi)
    values |= {"student's loss": loss, "its gradient in the student's b": in_student}
    values["rows shown for it, by the student"] = float(sum(shown))
    values["student's loss, weight 0"] = answer.student_loss(critic, phi * z, wanted, 0.0)
    around = dict(x=(0.1, 1.0), d=(0.3, 0.6), q=(0.7, 1.2))
    return values | named_expressions(answer, seed, 2, best_logit=around)


def _critic_facts(answer, seed):
    found = named_numbers(answer, "light", "heavy")
    places = dict(the_pairs_alone=0.3, the_data_alone=0.5)
    values = {
        "light": _called(found["light"], right=_LIGHT, saturated=_SATURATED_LIGHT, other=_HEAVY, **places),
        "heavy": _called(found["heavy"], right=_HEAVY, saturated=_SATURATED_HEAVY, other=_LIGHT, **places),
    }
    return values | right_words(answer, ("can", "cannot"), mirror=solution.mirror)


_REAL, _FAKE = "softplus(-critic(real))", "softplus(critic(fake.detach()))"
_SEEN = "softplus(-critic(fake))"

CRITIC = Task(
    id="5.11",
    title="A student between its pairs and a critic",
    kind="implement-equation",
    difficulty=2,
    minutes=35,
    points=5,
    ids=("T47",),
    names=("critic_loss", "student_loss", "best_logit", "light", "heavy", "mirror"),
    probe=_probe_critic,
    facts=_critic_facts,
    reference={
        "critic_loss": solution.critic_loss,
        "student_loss": solution.student_loss,
        "best_logit": "log(q/d) + x**2/2*(1/q**2 - 1/d**2)",
        "light": _LIGHT,
        "heavy": _HEAVY,
        "mirror": solution.mirror,
    },
    asks={
        "critic's loss": "A critic that says 0 to everything has the loss 2 ln 2. One that is right by a "
        "large margin has nearly none: try both in your function.",
        "its gradient in the critic": "The critic's loss is right and its gradient is not: which parts of it "
        "hang on the critic?",
        "its gradient in the student": "The critic's loss would move the student as well, and in the wrong "
        "direction. What must not flow back?",
        "rows shown for it": "The critic judges each real sample once and each fake once: how many rows does "
        "yours see?",
        "student's loss": "With a critic that says 0 to everything, the student's loss is that of the pairs "
        "plus the weight times ln 2: is yours?",
        "its gradient in the student's b": "The student's loss is right and its gradient is not: through "
        "which of its two terms does b act?",
        "light": "Run duel with your two losses and the weight 0.2: is your number what it returns?",
        "heavy": "Run duel with your two losses and the weight 1: is your number what it returns?",
    },
    mistakes=(
        Mistake(
            _wrong("critic_loss", (".detach()", "")),
            "The value is right, and a gradient reaches the student, who would learn to be *recognised*. "
            "Which of the two samples has a student behind it?",
        ),
        Mistake(
            _wrong(
                "critic_loss", (_REAL, "softplus(critic(real))"), (_FAKE, "softplus(-critic(fake.detach()))")
            ),
            "Your critic learns to call fakes real and real data fake. Which sign has C where it says "
            "“real”?",
        ),
        Mistake(
            _wrong("critic_loss", (f"{_REAL}.mean() + ", "")),
            "Your critic never sees real data: it will call everything a fake.",
        ),
        Mistake(
            _wrong("critic_loss", (f" + {_FAKE}.mean()", "")),
            "Your critic never sees a fake: it will call everything real.",
        ),
        Mistake(
            _wrong("critic_loss", (_FAKE, "softplus(-critic(fake.detach()))")),
            "Both samples are taught as real. Which one has the other sign?",
        ),
        Mistake(
            _wrong(
                "critic_loss",
                (_REAL, "softplus(-torch.sigmoid(critic(real)))"),
                (_FAKE, "softplus(torch.sigmoid(critic(fake.detach())))"),
            ),
            "C is a logit, any number, and softplus makes the probability's logarithm of it. You squeeze it "
            "into (0, 1) first.",
        ),
        Mistake(
            _wrong("critic_loss", ("return ", "return 0.5 * ("), (f"{_FAKE}.mean()", f"{_FAKE}.mean())")),
            "You take half the sum, the mean over both halves. The statement adds two means.",
        ),
        Mistake(
            _wrong(
                "critic_loss",
                (_REAL, "(1 - critic(real)).relu()"),
                (_FAKE, "(1 + critic(fake.detach())).relu()"),
            ),
            "That is the hinge loss, which other papers use. The statement's is the logistic one.",
        ),
        Mistake(
            _wrong(
                "critic_loss",
                (_REAL, "(critic(real) - 1).square()"),
                (_FAKE, "critic(fake.detach()).square()"),
            ),
            "That is the least-squares loss, which other papers use. The statement's is the logistic one.",
        ),
        Mistake(
            _wrong("critic_loss", (_REAL, "(-critic(real))"), (_FAKE, "critic(fake.detach())")),
            "You take the logits themselves (a Wasserstein critic, which needs a bound on its slope). Where "
            "is the softplus?",
        ),
        Mistake(
            _wrong(
                "critic_loss", (f"{_REAL}.mean()", f"{_REAL}.sum()"), (f"{_FAKE}.mean()", f"{_FAKE}.sum()")
            ),
            "You add up over the batch. The statement's are means.",
        ),
        Mistake(
            _wrong(
                "critic_loss",
                ("real)).mean()", "real.detach())).mean()"),
                (_FAKE, "softplus(critic(fake)).detach()"),
            ),
            "You have cut the critic's answer from the critic, so that it cannot learn from fakes. Only the "
            "sample that it is shown is to be cut.",
        ),
        Mistake(
            _wrong("student_loss", (_SEEN, "softplus(critic(fake))")),
            "Your student is rewarded for being called a fake: which sign does C have where it says “real”?",
        ),
        Mistake(
            _wrong("student_loss", (_SEEN, "(-softplus(critic(fake)))")),
            "That is the critic's term with the sign turned: the same minimum, but hardly a gradient while "
            "the critic is sure of itself. The statement's term is another one.",
        ),
        Mistake(
            _wrong("student_loss", (_SEEN, "softplus(-critic(fake.detach()))")),
            "The critic's term is cut from the student. In this loss it has to learn through the critic.",
        ),
        Mistake(
            _wrong("student_loss", ("weight * ", "")),
            "The weight does nothing in your student's loss: what is it multiplied with?",
        ),
        Mistake(
            _wrong(
                "student_loss",
                ("(fake - wanted).square().mean()", "weight * (fake - wanted).square().mean()"),
                ("+ weight * ", "+ "),
            ),
            "You weigh the pairs. λ stands before the critic's term.",
        ),
        Mistake(
            _wrong("student_loss", ("(fake - wanted).square().mean() + ", "")),
            "The pairs are gone: what keeps a noise with its own sample?",
        ),
        Mistake(
            _wrong("student_loss", (_SEEN, "softplus(-critic(wanted))")),
            "The critic judges the pairs' samples, which do not change. Whose are to be judged?",
        ),
        Mistake(
            _wrong("student_loss", (_SEEN, "(-critic(fake))")),
            "You take the logit itself, without bound. The statement has its softplus.",
        ),
        Mistake(
            _wrong("student_loss", (".square()", ".abs()")),
            "The pairs' term is a square.",
        ),
        Mistake(
            _wrong("student_loss", ("return (fake", "return 0.5 * (fake")),
            "You take half the square of the pairs' error. The statement has all of it.",
        ),
        Mistake(
            _wrong("student_loss", (".square().mean()", ".square().sum()")),
            "You add up over the pairs and average over the critic: then the weight means something else for "
            "each size of a batch.",
        ),
        Mistake(
            _wrong("student_loss", ("(fake - wanted)", "(fake.detach() - wanted)")),
            "The value is right, and the pairs do not teach: their term is cut from the student.",
        ),
        Mistake(
            _wrong("student_loss", ("return (fake", "return (1 - weight) * (fake")),
            "You mix the two terms with weights that add up to 1. In the statement the pairs' term is whole.",
        ),
        Mistake(
            _wrong(
                "student_loss", (".square().mean()", ".square().sum()"), (f"{_SEEN}.mean()", f"{_SEEN}.sum()")
            ),
            "You add up over the batch in the student's loss. The statement's are means.",
        ),
        Mistake(
            {"best_logit": "-log(q/d) - x**2/2*(1/q**2 - 1/d**2)"},
            "The sign: C is above 0 where data are likelier than fakes. Which density stands above the line?",
        ),
        Mistake(
            {"best_logit": "x**2/2*(1/q**2 - 1/d**2)"},
            "At x = 0 yours is 0, as if both densities had the same height there. Which factor stands before "
            "each exponential?",
        ),
        Mistake(
            {"best_logit": "log(q/d) + x**2*(1/q**2 - 1/d**2)"},
            "The exponent of a normal density has a 2 in it.",
        ),
        Mistake(
            {"best_logit": "log(q/d)/2 + x**2/2*(1/q**2 - 1/d**2)"},
            "Before the exponential stands one over the deviation, not over its root.",
        ),
        Mistake(
            {"best_logit": "2*log(q/d) + x**2/2*(1/q**2 - 1/d**2)"},
            "Before the exponential stands one over the deviation, not over the variance.",
        ),
        Mistake(
            {"best_logit": "q/d*exp(x**2/2*(1/q**2 - 1/d**2))"},
            "That is the quotient of the densities. C is its logarithm.",
        ),
        Mistake(
            {"best_logit": "1/(1 + d/q*exp(-x**2/2*(1/q**2 - 1/d**2)))"},
            "That is the probability of “real”. In logits it is what goes into the sigmoid.",
        ),
        Mistake(
            {"light": _HEAVY, "heavy": _LIGHT},
            "The two are exchanged: with which weight does the critic pull harder?",
        ),
        Mistake(
            {"light": 0.3, "heavy": 0.3},
            "0.3 is where the pairs alone lead. Does the critic's term reach b?",
        ),
        Mistake(
            {"light": STD, "heavy": STD},
            "0.5 is the data's, where the critic alone leads. Are the pairs still in your loss?",
        ),
        Mistake(
            {"light": _SATURATED_LIGHT, "heavy": _SATURATED_HEAVY},
            "Your losses are right now, and these numbers belong to another student's loss, the critic's "
            "term with its sign turned: run duel again.",
        ),
        Mistake(
            {"mirror": "can"},
            "A critic sees samples, never noises. How are b z and −b z distributed?",
        ),
    ),
    hints=(
        "Each loss has one learner. Go through both and mark, for each sample, whether its maker is to "
        "learn.",
        "softplus(−C) is small where C is large. For real data and for the student that wants to be taken "
        "for real the sign is the same; for fakes in the critic's loss it is the other one, and the sample "
        "is cut from its maker.",
        "Cut the fakes with detach in the critic's loss and nowhere else. For the formula write both normal "
        "densities with their factors, divide, take the logarithm: one term without x and one with its "
        "square. For the two numbers pass your two functions and the weight to duel.",
    ),
)

# --- 5.12: guidance -----------------------------------------------------------------------------------------

_NARROW = 0.4**1.5


def _probe_guided(answer, seed):
    x, z = normal(seed, 5, 2), normal(seed, 5, 2, stream=1)
    s = torch.tensor([0.1, 0.4, 1.0, 3.0, 20.0], dtype=torch.float64)
    w = torch.tensor([0.0, 1.0, 2.0, 3.5, 1.5 + uniform(seed, 0.0, 2.0)], dtype=torch.float64)
    label, rows = torch.tensor([1, 2, 3, 1, 2]), [0, 0]
    phi = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    theta = (0.5 * normal(seed, 3, stream=2)).requires_grad_()

    def columns(x, *values):
        return [torch.as_tensor(v, dtype=x.dtype).reshape(-1, 1).expand(len(x), 1) for v in values]

    def predict(x, s, label):
        (s, label), rows[0] = columns(x, s, label), rows[0] + len(x)
        return torch.tanh(x / (1 + s) + label.sin()) + phi * x / (1 + s**2)

    def student(x, s, label, w):
        (s, label, w), rows[1] = columns(x, s, label, w), rows[1] + len(x)
        return torch.tanh(theta[0] * x / (1 + s) + theta[1] * label.sin() + theta[2] * w)

    taught = torch.as_tensor(answer.guided_target(predict, x, s, label, w), dtype=torch.float64)
    values = {"target at w = 1 less D with the label": taught[1] - predict(x[1:2], s[1:2], label[1:2])[0]}
    rows[0] -= 1
    values |= {"target": taught, "rows of the teacher, a sample": rows[0] / len(x)}
    rows[0] = 0
    loss = answer.guided_loss(student, predict, x, z, s, label, w)
    value, slope, in_teacher = _gradients(loss, theta, phi)
    values |= {"loss": value, "its gradient": slope, "its gradient in the teacher": in_teacher}
    values["rows of teacher and student for it, a sample"] = [n / len(x) for n in rows]
    around = dict(w=(1.2, 4.0), d=(0.3, 0.6), k=(0.9, 1.3), s=(0.1, 1.0))
    less = {name: ends for name, ends in around.items() if name != "s"}
    return values | named_expressions(answer, seed, 2, tilted=around, sampled=less)


def _guided_facts(answer, seed):
    values = right_numbers(answer, 1e-3, narrow=_NARROW)
    return values | right_words(answer, ("data", "guided"), states=solution.states)


_MIXED = "without + w[:, None] * (predict(x, s, label) - without)"

# wrong ends of the guided flow, with the number that the same mistake gives on the way, and what is said
_SAMPLED = (
    (
        "1/sqrt(w/d**2 - (w - 1)/k**2)",
        (4 / 0.5 - 3 / 1.25) ** -0.5 / 0.5**0.5,
        "That is `tilted`, at level 0 and on the way: the density to which these scores belong. A flow that "
        "follows them ends elsewhere: integrate the equation of the difference of two paths.",
    ),
    (
        "d**(2*w)/k**(2*w - 2)",
        0.4**3.5 * 1.25**0.5,
        "s/(d² + s²) is the derivative of *half* a logarithm: which power of d² + s² is that?",
    ),
    (
        "d*(d/k)**w",
        0.4**2,
        "Those are the powers of Ho & Salimans' w. At w = 1 yours is narrower than the data with the label.",
    ),
    (
        "k*(k/d)**(w - 1)",
        2.5**2,
        "The two variances have changed places: with w goes the one that belongs to the label.",
    ),
    (
        "d**w*k**(w - 1)",
        (0.5 * 1.25) ** 1.5,
        "The prediction without label stands with the weight 1 − w, which is below 0 here: so is its power.",
    ),
    (
        "d*(k/d)**(w - 1)",
        2.5**1.5,
        "Yours grows with w, and guidance narrows: which sign has the exponent of k² + s²?",
    ),
)

GUIDED = Task(
    id="5.12",
    title="Guidance in one call, and what it makes",
    kind="coefficient",
    difficulty=3,
    minutes=40,
    points=6,
    ids=("T44",),
    names=("guided_target", "guided_loss", "tilted", "sampled", "narrow", "states"),
    probe=_probe_guided,
    facts=_guided_facts,
    reference={
        "guided_target": solution.guided_target,
        "guided_loss": solution.guided_loss,
        "tilted": "1/sqrt(w/(d**2 + s**2) - (w - 1)/(k**2 + s**2))",
        "sampled": "d*(d/k)**(w - 1)",
        "narrow": _NARROW,
        "states": solution.states,
    },
    asks={
        "target at w = 1 less D with the label": "At w = 1 guidance changes nothing, so that the target is "
        "the denoiser with the label. Is yours?",
        "rows of the teacher, a sample": "The teacher is asked twice a sample, with the label and without "
        "(in two calls or in one of twice the rows): how often does yours ask?",
        "loss": "Follow one sample: which x do teacher and student see, and what is told to each of them?",
        "its gradient": "The loss is right and its gradient is not: which of the two is to learn?",
        "its gradient in the teacher": "Your loss would train the teacher too. What must not flow back?",
        "narrow": "The deviation at level s = 0.5 on the guided flow is a product of two powers, as in "
        "`sampled`; then divide. Is that your number?",
    },
    mistakes=(
        Mistake(
            _wrong("guided_target", ("w[:, None]", "(1 + w[:, None])")),
            "That is Ho & Salimans' w, whose 0 is the plain denoiser with the label. Here 1 is.",
        ),
        Mistake(
            _wrong("guided_target", ("(predict(x, s, label) - without)", "(without - predict(x, s, label))")),
            "Your guidance pushes away from the label: which difference is it?",
        ),
        Mistake(
            _wrong("guided_target", ("without + w", "predict(x, s, label) + w")),
            "You begin from the denoiser with the label. At w = 1 yours is past it already: from which of "
            "the two do w steps of the difference start?",
        ),
        Mistake(
            _wrong("guided_target", ("w[:, None]", "w.mean()")),
            "All your samples share one scale. Each has its own.",
        ),
        Mistake(
            _wrong("guided_target", ("torch.zeros_like(label)", "label")),
            "Both of your predictions have the label, so that w does nothing. Which label stands for none?",
        ),
        Mistake(
            _wrong("guided_target", ("torch.zeros_like(label)", "-torch.ones_like(label)")),
            "You stand −1 for “no label”. Which label does the statement take for it?",
        ),
        Mistake(
            _wrong("guided_target", ("return without", "return 0 * without")),
            "You return w times the difference. What is it added to?",
        ),
        Mistake(
            _wrong("guided_target", (_MIXED, "w[:, None] * predict(x, s, label)")),
            "The prediction without label is missing: at large w yours grows without end.",
        ),
        Mistake(
            _wrong("guided_loss", ("x = x0 + s[:, None] * z", "x = x0")),
            "Teacher and student see clean data, told a level of noise. Which x lies at level s?",
        ),
        Mistake(
            _wrong("guided_loss", ("s[:, None] * z", "z")),
            "Your noise has the same size at all levels. What is x at level s?",
        ),
        Mistake(
            _wrong(
                "guided_loss",
                ("x = x0 + s[:, None] * z", "x = x0 + s[:, None] * z\n    seen = x0"),
                ("student(x,", "student(seen,"),
            ),
            "Your teacher sees the noised data and your student the clean ones. They are to agree at one x.",
        ),
        Mistake(
            _wrong("guided_loss", ("torch.no_grad()", "torch.enable_grad()")),
            "The value is right, and the teacher would learn as well.",
        ),
        Mistake(
            _wrong(
                "guided_loss",
                ("student(x, s, label, w)", "student(x, s, label, w).detach()"),
                ("torch.no_grad()", "torch.enable_grad()"),
            ),
            "You hold the student and let the teacher learn. Which of the two is known already?",
        ),
        Mistake(
            _wrong("guided_loss", ("student(x, s, label, w)", "student(x, s, label, torch.ones_like(w))")),
            "The student is not told its sample's w, and so can only learn a mean over all scales.",
        ),
        Mistake(
            _wrong("guided_loss", ("student(x, s, label, w)", "student(x, s, torch.zeros_like(label), w)")),
            "The student is not told the label. What is it a function of?",
        ),
        Mistake(
            _wrong("guided_loss", ("guided_target(predict, x, s, label, w)", "predict(x, s, label)")),
            "Your student learns the plain denoiser with the label, whatever w it is told.",
        ),
        Mistake(
            _wrong("guided_loss", ("- wanted", "- x0")),
            "Your student learns from the data, which are not guided: what is least then is the plain "
            "denoiser.",
        ),
        Mistake(
            _wrong("guided_loss", (".mean()", ".mean().sqrt()")),
            "You take the root of the mean square.",
        ),
        Mistake(
            _wrong("guided_loss", (".square().mean()", ".square().div(s[:, None] ** 2).mean()")),
            "You weigh the levels, as one does in practice. The statement's L has no weight.",
        ),
        Mistake(
            _wrong("guided_loss", (".mean()", ".sum(1).mean()")),
            "You sum over the entries of a sample. The statement's mean is over all entries.",
        ),
        Mistake(
            {"tilted": "sqrt(w/(d**2 + s**2) - (w - 1)/(k**2 + s**2))"},
            "That is the root of the curvature. A narrow density is strongly curved: which power of it is "
            "the deviation?",
        ),
        Mistake(
            {"tilted": "1/(w/(d**2 + s**2) - (w - 1)/(k**2 + s**2))"},
            "That is the variance, one over the curvature: the deviation is asked for.",
        ),
        Mistake(
            {"tilted": "sqrt(w*(d**2 + s**2) - (w - 1)*(k**2 + s**2))"},
            "You mix the variances. It is the logarithms of the densities that are mixed: what stands "
            "before x² in each?",
        ),
        Mistake(
            {"tilted": "1/sqrt(w/(d**2 + s**2) + (w - 1)/(k**2 + s**2))"},
            "p stands with the power 1 − w, which is negative: which sign has its part?",
        ),
        Mistake(
            {"tilted": "1/sqrt((w + 1)/(d**2 + s**2) - w/(k**2 + s**2))"},
            "Those are the powers of Ho & Salimans' w. At w = 1 yours is narrower than the data already.",
        ),
        Mistake(
            {"tilted": "sqrt(1/(w/d**2 - (w - 1)/k**2) + s**2)"},
            "You tilt at level 0 and add the noise afterwards. Guidance mixes the densities *at* level s.",
        ),
        Mistake(
            {"sampled": "1/sqrt(w/d**2 - (w - 1)/k**2)"},
            "That is `tilted` at level 0. Does a flow that follows these scores end there? Take two paths "
            "and integrate the equation of their difference.",
        ),
        Mistake(
            {"tilted": "1/sqrt(w/d**2 - (w - 1)/k**2)"},
            "That is right at level 0. Which variances have the two densities at level s?",
        ),
        Mistake(
            {"sampled": "w*d + (1 - w)*k"},
            "You mix the deviations, and at large w yours is below 0. The equation of two paths' difference "
            "gives powers: integrate it.",
        ),
        Mistake(
            {"sampled": "k*(k/d)**(w - 1)"},
            "Put w = 1 into yours: the plain flow makes the data with the label, and yours makes all data. "
            "Which variance belongs to which power?",
        ),
        *(
            Mistake({"sampled": wrong, "narrow": narrow}, f"{says} (narrow, a product like it, will follow.)")
            for wrong, narrow, says in _SAMPLED
        ),
        Mistake(
            {"sampled": "d/sqrt(w)"},
            "That is the density with the label to the power w alone. The one without it has its part, and "
            "a flow does not end at either density.",
        ),
        Mistake(
            {"sampled": "d"},
            "That is the plain denoiser's. At which w is it right?",
        ),
        Mistake(
            {"sampled": "d**w/k**w"},
            "Put w = 1 into yours: the plain flow makes the data. The powers of d and of k are not the same.",
        ),
        Mistake(
            {"sampled": "d*(k/d)**(w - 1)"},
            "Yours grows with w, and guidance narrows: which of d and k belongs above?",
        ),
        Mistake(
            {"sampled": "d**(2*w)/k**(2*w - 2)"},
            "That is the variance of the flow's samples: the deviation is asked for.",
        ),
        Mistake(
            {"narrow": _NARROW**2},
            "That is the quotient of the variances.",
        ),
        Mistake(
            {"narrow": 0.4**2},
            "Your power is that of w = 5 (or of w = 4 as Ho & Salimans count).",
        ),
        Mistake(
            {"narrow": 0.4**1.5 * 0.5**0.5},
            "That is the deviation itself. By which is it to be divided?",
        ),
        Mistake(
            {"narrow": (4 / 0.5 - 3 / 1.25) ** -0.5 / 0.5**0.5},
            "That is `tilted`, over the deviation of noised data. The flow's states are narrower.",
        ),
        Mistake(
            {"narrow": 0.125},
            "That is (d/k)³, the quotient at level 0.",
        ),
        Mistake(
            {"states": "data"},
            "Compare with your number: how much of what noised data show would the student ever meet?",
        ),
    ),
    hints=(
        "Nothing here is integrated at sampling: the target is two answers of the teacher and one line. For "
        "the formulas write ln p of a Gaussian, with its variance at level s, and mix.",
        "The zeros that stand for “no label” are shaped like the labels; w needs a second axis. For "
        "`tilted` only the factor before x² matters. For `sampled` subtract the equations of two paths: the "
        "centre drops out, and (ln of the difference) is an integral over s.",
        "s/(d² + s²) is the derivative of half the logarithm of d² + s². So the difference of two paths is "
        "a product of two powers, one of d² + s² and one of k² + s², with exponents from w; far up it must "
        "be s. For narrow, take that product at the level asked.",
    ),
)

TASKS = (SKIP, TARGET, LOSSES, BOUNDARY, STOP, SCHEDULE, BIAS, REFINE, COST, REFLOW, CRITIC, GUIDED)
