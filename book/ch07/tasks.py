"""The tasks of lesson 07: flow maps, which are the mean of the velocity, and solvers that are learned.

Nothing is trained but three numbers: the mean velocity of Gaussian data is known in closed form, and a
training loss is judged by its value and by its gradient in the parameters of a small function.
"""

import math

import numpy as np
import torch

from book.ch07 import solution
from book.lessons import (
    Mistake,
    Remark,
    Task,
    changed,
    changes,
    error_lines,
    named_expressions,
    normal,
    read_axes,
    right_numbers,
    right_words,
    uniform,
)

_wrong = changes(solution)


# --- 7.1: three laws of a flow map --------------------------------------------------------------------------

_D, _S = "sqrt((1 - t)**2*d**2 + t**2)", "sqrt((1 - s)**2*d**2 + s**2)"
_OFF = "(x - (1 - t)*m)"
_V = f"(-m + (t - (1 - t)*d**2)*{_OFF}/{_D}**2)"
_END = f"((1 - s)*m + {_S}/{_D}*{_OFF})"
_U = f"((x - {_END})/(t - s))"
_TOTAL = f"(({_V} - {_U})/(t - s))"  # by the first law
_IN_X = f"((1 - {_S}/{_D})/(t - s))"  # du/dx
_END_RATE = f"(-m + (s - (1 - s)*d**2)*{_OFF}/({_D}*{_S}))"


def _probe_laws(answer, seed):
    around = dict(x=(-2.0, 3.0), t=(0.6, 0.95), s=(0.1, 0.5), m=(0.5, 2.0), d=(0.3, 1.5))
    less = {name: around[name] for name in ("x", "m", "d")}
    return named_expressions(
        answer, seed, 2, end=around, mean=around, total=around, end_rate=around, jump=less
    )


def _laws_facts(answer, seed):
    return right_numbers(answer, 1e-6, straight=solution.straight)


LAWS = Task(
    id="7.1",
    title="Three laws of a flow map",
    kind="coefficient",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("B10", "C30"),
    names=("end", "mean", "total", "end_rate", "jump", "straight"),
    probe=_probe_laws,
    facts=_laws_facts,
    reference={
        "end": _END,
        "mean": _U,
        "total": _TOTAL,
        "end_rate": _END_RATE,
        "jump": "m + d*x",
        "straight": solution.straight,
    },
    mistakes=(
        Mistake(
            {"end": f"{_S}/{_D}*x"},
            "That is the flow of data with mean 0. What is stretched here is the distance from the mean, and "
            "the mean moves with the time.",
        ),
        Mistake(
            {"end": f"m + {_S}/{_D}*(x - m)"},
            "Your mean stays where the data's is. What is the mean of the state at time t, and at time s?",
        ),
        Mistake(
            {"end": f"(1 - t)*m + {_S}/{_D}*{_OFF}"},
            "The deviation is that of time s, and the mean still that of time t.",
        ),
        Mistake(
            {"end": f"(1 - s)*m + {_D}/{_S}*{_OFF}"},
            "Your quotient of the deviations stands on its head: at which time is the state to end?",
        ),
        Mistake(
            {"end": f"x - (t - s)*{_V}"},
            "That is Euler's step, with the velocity at the start. The trajectory is known: use its C.",
        ),
        Mistake(
            {"mean": f"x - {_END}"},
            "That is how far x moves. A mean velocity is a distance over what?",
        ),
        Mistake(
            {"mean": f"({_END} - x)/(t - s)"},
            "The sign: a step goes down from t to s, and x − (t − s) u is to be its end.",
        ),
        Mistake(
            {"mean": _V},
            "That is the velocity where the step begins. Its mean over the step follows from both ends.",
        ),
        Mistake(
            {"mean": f"({_V} + {_END_RATE})/2"},
            "The mean of the velocities at the two ends is what Heun takes for it. The exact mean needs "
            "where the trajectory is, and no velocity.",
        ),
        Mistake(
            {"total": f"{_TOTAL} - {_V}*{_IN_X}"},
            "That is the derivative in t alone. Along the trajectory x moves as well.",
        ),
        Mistake(
            {"total": f"{_TOTAL} - 2*{_V}*{_IN_X}"},
            "x moves by +v for a growing t: look at the sign of your second part.",
        ),
        Mistake(
            {"total": f"{_TOTAL} + ({_U} - {_V})*{_IN_X}"},
            "You let x move with the mean u. At time t it moves with the velocity there.",
        ),
        Mistake(
            {"total": f"{_V}*{_IN_X}"},
            "That is what the motion of x contributes. The time moves, too.",
        ),
        Mistake(
            {"total": f"({_U} - {_V})/(t - s)"},
            "The sign: solve the first law for du/dt once more.",
        ),
        Mistake(
            {"end_rate": _V},
            "That is the velocity where the step begins. As s changes, which end of the step moves?",
        ),
        Mistake(
            {"end_rate": f"-{_V}*{_S}/{_D}"},
            "You differentiate in t. Which of the two times moves here?",
        ),
        Mistake(
            {"end_rate": f"-{_END_RATE}"},
            "The sign: you differentiate in s itself, upwards.",
        ),
        Mistake(
            {"end_rate": _U},
            "u = (x − X)/(t − s), and its numerator is not all that depends on s.",
        ),
        Mistake(
            {"end_rate": f"-m + (s - (1 - s)*d**2)*(x - (1 - s)*m)/{_S}**2"},
            "You have put s for t in v and left x. Where is the trajectory at time s?",
        ),
        Mistake({"jump": "d*x"}, "Which mean have the samples that your jump makes from N(0, 1)?"),
        Mistake(
            {"jump": "m + x"},
            "Your samples have the noise's deviation, 1. Which have the data?",
        ),
        Mistake(
            {"jump": "m + d**2*x"},
            "The variance of the data is d²: which number is multiplied by a noise?",
        ),
        Mistake(
            {"jump": "-m + x"},
            "That is the velocity at t = 1, where nothing is known of x_0 but its mean. The jump goes to the "
            "trajectory's end.",
        ),
        Mistake(
            {"jump": "m"},
            "That is Euler's one step: every noise comes to the data's mean. The exact jump keeps the "
            "noise's place.",
        ),
        Mistake(
            {"straight": 1},
            "With d = 1 the deviation is √((1 − t)² + t²), 1 at both ends and 0.71 in the middle. Is that a "
            "straight line?",
        ),
        Mistake(
            {"straight": 0.5},
            "One half of what? Look at D_t as a function of t: for which d is it a straight line?",
        ),
    ),
    hints=(
        "A trajectory keeps C. Find it at time t, and use it at time s. All else follows by subtracting, "
        "dividing and differentiating.",
        "sympy.diff differentiates in t and in x apart; v joins the two. For the second law only s is "
        "differentiated. For `straight`: a velocity that does not change along the trajectory makes it a "
        "straight line.",
        "C is the distance from the mean at t over D_t. At t = 1 and s = 0 both deviations are simple. "
        "D_t is the length of a vector with the two components (1 − t) d and t: when does it grow evenly?",
    ),
)

# --- 7.2: MeanFlow's loss -----------------------------------------------------------------------------------


def _small_net(theta):
    """A function (x, t, gap) of two parameters."""

    def net(x, t, gap):
        t, gap = (torch.as_tensor(time, dtype=torch.float64).reshape(-1, 1) for time in (t, gap))
        return torch.tanh(theta[0] * x * (1 + t) + theta[1] * gap) + 0.3 * x * gap + 0.2 * t * t

    return net


def _value_and_gradient(loss, theta):
    """A loss and its gradient, with remarks for what is no loss."""
    if not torch.is_tensor(loss) or loss.numel() != 1:
        raise Remark("The loss is a tensor with one number, without axes: the mean over all entries.")
    if not loss.requires_grad:
        raise Remark("No gradient runs from your loss to the network: is all of it cut off?")
    (slope,) = torch.autograd.grad(loss.reshape(()), theta, allow_unused=True)
    return loss.detach().reshape(()), torch.zeros_like(theta) if slope is None else slope


def _probe_meanflow(answer, seed):
    theta = torch.tensor([0.7, -0.4], dtype=torch.float64, requires_grad=True)
    x, v = 0.5 + normal(seed, 5, 2), normal(seed, 5, 2, stream=1) - 1
    t = torch.tensor([0.9, 0.75, 1.0, 0.5, 0.6], dtype=torch.float64)
    s = torch.tensor([0.2, 0.7, 0.0, 0.1, 0.35], dtype=torch.float64)
    values = {}
    for name, low in (("where t = s", t), ("", s)):
        value, slope = _value_and_gradient(answer.meanflow_loss(_small_net(theta), x, v, t, low), theta)
        values[f"loss {name}".strip()] = value
        values[f"gradient {name}".strip()] = slope
    return values


def _meanflow_facts(answer, seed):
    wanted = {name: getattr(solution, name) for name in ("told_exactly", "told_pairs")}
    return right_words(answer, ("same", "another"), **wanted)


_TANGENT = "lambda x, t: net(x, t, t - s), (x, t), (v, torch.ones_like(t))"

MEANFLOW = Task(
    id="7.2",
    title="MeanFlow's loss, by one derivative",
    kind="implement-equation",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("B10", "B11"),
    names=("meanflow_loss", "told_exactly", "told_pairs"),
    probe=_probe_meanflow,
    facts=_meanflow_facts,
    reference={
        "meanflow_loss": solution.meanflow_loss,
        "told_exactly": solution.told_exactly,
        "told_pairs": solution.told_pairs,
    },
    loose={
        name: (3e-3, "Your derivative is a difference quotient; torch.func.jvp has it exactly.")
        for name in ("loss", "gradient")
    },
    asks={
        "loss where t = s": "A step of no length is flow matching: |u − v|², the mean over all entries. Is "
        "yours that, where t = s?",
        "loss": "Compare your du/dt with a difference quotient: t and x move by 0.001 and 0.001 v, s stays, "
        "so that the gap grows by 0.001. Is it your derivative?",
        "gradient": "The value is right. Through which parts of the loss may a gradient run?",
    },
    mistakes=(
        Mistake(
            _wrong(
                "meanflow_loss",
                (_TANGENT, "lambda x: net(x, t, t - s), (x,), (v,)"),
            ),
            "Your derivative moves x and forgets that the time moves, too: dt = 1.",
        ),
        Mistake(
            _wrong(
                "meanflow_loss",
                (_TANGENT, "lambda x, t: net(x, t, gap), (x, t), (v, torch.ones_like(t))"),
                ("    u, rate", "    gap = t - s\n    u, rate"),
            ),
            "You hold the gap, so that s moves with t. The step's end stays: what does the gap do?",
        ),
        Mistake(
            _wrong("meanflow_loss", ("(v, torch.ones_like(t))", "(torch.zeros_like(v), torch.ones_like(t))")),
            "Your derivative holds x still. Along the trajectory x moves by v for each unit of t.",
        ),
        Mistake(
            _wrong(
                "meanflow_loss",
                (
                    _TANGENT,
                    "lambda x, t, gap: net(x, t, gap), (x, t, t - s), "
                    "(v, torch.ones_like(t), -torch.ones_like(t))",
                ),
            ),
            "Your gap shrinks as t grows. It is t − s.",
        ),
        Mistake(
            _wrong("meanflow_loss", ("(v, torch.ones_like(t))", "(-v, -torch.ones_like(t))")),
            "Your du/dt has the opposite sign: the derivative is for a t that grows, and it is subtracted "
            "from v.",
        ),
        Mistake(
            _wrong("meanflow_loss", ("(v, torch.ones_like(t))", "(v, -torch.ones_like(t))")),
            "x moves with a growing t and your t falls: which sign has dt when dx = v dt?",
        ),
        Mistake(
            _wrong(
                "meanflow_loss",
                ("(v, torch.ones_like(t))", "(net(x, t, t - s).detach(), torch.ones_like(t))"),
            ),
            "You let x move with the mean u. At time t it moves with the velocity v.",
        ),
        Mistake(
            _wrong("meanflow_loss", (" - (t - s)[:, None] * rate", " - rate")),
            "The factor t − s is missing: a short step should hardly correct v.",
        ),
        Mistake(
            _wrong("meanflow_loss", ("(t - s)[:, None]", "t[:, None]")),
            "You multiply du/dt by the time. How long is the step?",
        ),
        Mistake(
            _wrong("meanflow_loss", (" - (t - s)[:, None] * rate", "")),
            "That is flow matching for every pair: u would learn the velocity at the start, and no mean.",
        ),
        Mistake(
            _wrong("meanflow_loss", ("target.detach()", "target")),
            "The value is right. sg stands before the bracket: your gradient runs through it, too.",
        ),
        Mistake(
            _wrong("meanflow_loss", ("(u - target.detach())", "(u.detach() - target)")),
            "You have cut the side that is to learn and left the target free. Which of the two has sg?",
        ),
        Mistake(
            _wrong("meanflow_loss", (".mean()", ".sum()")),
            "You sum over the entries; the statement's L is their mean.",
        ),
        Mistake(
            _wrong("meanflow_loss", (".square().mean()", ".square().sum(dim=1).mean()")),
            "You sum over the entries of a sample; the statement's mean is over all entries.",
        ),
        Mistake(
            _wrong("meanflow_loss", (".square().mean()", ".square().mean().sqrt()")),
            "You take the root of the mean square: its gradient is another one.",
        ),
        Mistake(
            _wrong("meanflow_loss", ("net(x, t, t - s)", "net(x, t, s)")),
            "The network's third argument is the gap; you tell it s.",
        ),
        Mistake(
            {"told_exactly": "another"},
            "With the exact velocity, how small can what is left of the law become, and for which u?",
        ),
        Mistake(
            {"told_pairs": "same"},
            "Write ε − x_0 = v + w with a w of mean 0. Which term with w² has the expected loss, and does it "
            "depend on u?",
        ),
        Mistake(
            {"told_exactly": "another", "told_pairs": "same"},
            "The two are exchanged: where is there a noise whose square could be made smaller by another u?",
        ),
    ),
    hints=(
        "One call of torch.func.jvp gives u and du/dt. What has to be inside the function that it "
        "differentiates, so that s is held?",
        "The function is one of x and t, and the network's gap is made of t inside it. The directions are "
        "those of the trajectory: v for x, and for t? For the words put v + w for v, and square.",
        "The tangent of t is 1 for each sample. The target is cut off as a whole, after it is made. In the "
        "expected square, w stands once in v and once in du/dt, times ∂u/∂x.",
    ),
)

# --- 7.3: two samplers by jumps -----------------------------------------------------------------------------


def _counted(u):
    """u, and a list of the numbers of samples that it was asked for."""
    asked = []

    def call(x, t, s=0.0):
        asked.append(len(x))
        return u(x, t, s)

    return call, asked


def _bent(x, t, s):
    """Some smooth function of a state and two times."""
    return torch.sin(x + 2 * t) + 0.5 * x * s + (t - s) ** 2


def _map_u(x, t, s):
    """The exact mean velocity of dx/dt = 2 t x^2: another flow that is known."""
    return x**2 * (t + s) / (1 + (t**2 - s**2) * x)


def _probe_walks(answer, seed):
    x, times = 1.5 + normal(seed, 4, 2).abs(), [0.97, 0.8, uniform(seed, 0.4, 0.7), 0.13]
    noises = [normal(seed, 4, 2, stream=k) for k in (1, 2, 3)]
    call, asked = _counted(_bent)
    values = {"walk, 3 jumps": answer.walk(call, x, times), "walk's calls": sum(asked) / 4}
    values["walk, 1 jump"] = answer.walk(_bent, x, times[:2])
    call, asked = _counted(_bent)
    values["renoised, 3 jumps"] = answer.renoised(call, x, times, noises)
    values["renoised's calls"] = sum(asked) / 4
    values["renoised, down to 0"] = answer.renoised(_bent, x, [0.9, 0.4, 0.0], noises[:2])
    return values


_EULER_CALLS = 29  # the solution computes it anew


def _walks_facts(answer, seed):
    values = right_numbers(answer, 1e-6, euler_calls=_EULER_CALLS)
    return right_words(answer, ("walk", "renoised", "both"), follows=solution.follows) | values


WALKS = Task(
    id="7.3",
    title="Two samplers by jumps",
    kind="implement-sampler",
    difficulty=1,
    minutes=25,
    points=4,
    ids=("C30", "T45"),
    names=("walk", "renoised", "follows", "euler_calls"),
    probe=_probe_walks,
    facts=_walks_facts,
    reference={
        "walk": solution.walk,
        "renoised": solution.renoised,
        "follows": solution.follows,
        "euler_calls": _EULER_CALLS,
    },
    asks={
        "walk, 3 jumps": "Make one jump by hand, from times[0] to times[1]. Does yours come to the same?",
        "walk's calls": "Three jumps are three calls; yours makes {value}.",
        "renoised's calls": "Three jumps are three calls; yours makes {value}.",
        "euler_calls": "Print the deviation for 10, 20, 40 and 80 steps: it grows towards 0.5. From which "
        "number of steps on is it above 0.475?",
    },
    mistakes=(
        Mistake(
            _wrong("walk", ("u(x, t, s)", "u(x, t, t)")),
            "You take the velocity where the step begins: that is Euler's method. Which mean takes a jump "
            "from t to s?",
        ),
        Mistake(
            _wrong("walk", ("x - (t - s)", "x + (t - s)")),
            "The sign: your jumps go away from the data. The step goes down, by t − s.",
        ),
        Mistake(
            _wrong("walk", ("u(x, t, s)", "u(x, s, t)")),
            "You tell u the two times in the opposite order: x is at which of them?",
        ),
        Mistake(
            _wrong("walk", ("u(x, t, s)", "u(x, s, s)")),
            "You tell u the time at the end of the step, twice. x is at t.",
        ),
        Mistake(
            _wrong("walk", ("u(x, t, s)", "u(x, t, 0.0)")),
            "Your u is the mean down to the data; the jump ends at s.",
        ),
        Mistake(
            _wrong("walk", ("x - (t - s) *", "x -")),
            "u is a velocity. By what is it multiplied to be a way?",
        ),
        Mistake(
            _wrong("walk", ("x - (t - s) *", "x - t *")),
            "You jump by t, all the way to 0. How long is the step?",
        ),
        Mistake(
            _wrong("walk", ("u(x, t, s)", "u(x, t, t - s)")),
            "This u is told both times, and no gap.",
        ),
        Mistake(
            _wrong("walk", ("zip(times, times[1:])", "zip(times, [*times[1:], 0.0])")),
            "One jump too many: the last of your times is not the last of the grid.",
        ),
        Mistake(
            _wrong("walk", ("zip(times, times[1:])", "zip(times[:-1], times[1:-1])")),
            "One jump too few: the state ends at times[-1].",
        ),
        Mistake(
            _wrong(
                "walk",
                (
                    "        x = x - (t - s) * u(x, t, s)\n",
                    "        x = x - (t - s) * u(x, t, s)\n    u(x, s, s)\n",
                ),
            ),
            "One call too many: N jumps are N calls, and nothing needs the network at the end.",
        ),
        Mistake(
            _wrong("walk", ("u(x, t, s)", "(u(x, t, t) + u(x - (t - s) * u(x, t, t), s, s)) / 2")),
            "That is Heun's method, with the velocities at both ends. The mean is there for one call.",
        ),
        Mistake(
            _wrong("renoised", ("u(x, t, 0.0)", "u(x, t, s)")),
            "Your jump to the data uses the mean down to s. A consistency function goes to which time?",
        ),
        Mistake(
            _wrong("renoised", ("x - t * u", "x - (t - s) * u")),
            "Your jump ends at s, and its state gets noise once more. How far is it to the data?",
        ),
        Mistake(
            _wrong("renoised", ("(1 - s) * data + s * z", "data + s * z")),
            "At time s the data's share is 1 − s: it shrinks as noise comes in.",
        ),
        Mistake(
            _wrong("renoised", ("(1 - s) * data + s * z", "(1 - t) * data + t * z")),
            "You put the noise of time t back on, and gain nothing. At which time does the jump end?",
        ),
        Mistake(
            _wrong("renoised", ("(1 - s) * data + s * z", "s * data + (1 - s) * z")),
            "The shares are exchanged: at s = 0 nothing but data is left.",
        ),
        Mistake(
            _wrong("renoised", ("s * z", "(1 - (1 - s) ** 2) ** 0.5 * z")),
            "Your shares are those of a process that keeps the variance. In flow matching's time the noise's "
            "share is s itself.",
        ),
        Mistake(
            _wrong("renoised", ("times[1:], noises)", "times[1:], [noises[0]] * len(noises))")),
            "You use the first noise in each jump; each has its own.",
        ),
        Mistake(
            _wrong("renoised", ("    return x", "    return data")),
            "You return the last prediction of the data. The grid need not end at 0: what is asked for?",
        ),
        Mistake(
            {"follows": "both"},
            "Whoever throws a noise away and draws a fresh one ends with a right sample, but with that "
            "trajectory's?",
        ),
        Mistake(
            {"follows": "renoised"},
            "Which of the two puts a noise on that has nothing to do with x_0?",
        ),
        Mistake(
            {"euler_calls": _EULER_CALLS - 1},
            "With 28 steps the deviation is off by a little more than 5 per cent: print it with four digits.",
        ),
        Mistake(
            {"euler_calls": 148},
            "That is for one per cent. How near is near enough here?",
        ),
        Mistake(
            {"euler_calls": 15},
            "That is for ten per cent. How near is near enough here?",
        ),
    ),
    hints=(
        "Both are one loop over pairs of neighbouring times, with one call of u in it.",
        "zip(times, times[1:]) gives the pairs. For euler_calls, let `walk` carry x = 0 and x = 1 with a u "
        "that ignores its third argument; the distance of the two ends is the deviation.",
        "`renoised` makes two lines of each jump: the prediction, then data and noise with the shares of the "
        "later time. Try 1, 2, 3, … steps until the deviation is above 0.475.",
    ),
)

# --- 7.4: the semigroup as a test ---------------------------------------------------------------------------


def _probe_defects(answer, seed):
    x, r = 0.5 + normal(seed, 6, 2).abs(), uniform(seed, 0.45, 0.75)
    tiny = float(answer.defect(_map_u, x, 0.9, r, 0.2))
    at_once = float(answer.velocity_defect(_map_u, lambda x, t: 2 * t * x**2, x, 0.6))
    return {
        "defect of an exact map": 0.0 if 0 <= tiny < 1e-9 else tiny,
        "defect of another function": float(answer.defect(_bent, x, 0.9, r, 0.2)),
        "the same, two equal parts": float(answer.defect(_bent, x, 0.9, 0.5, 0.1)),
        "velocity_defect of an exact map": 0.0 if 0 <= at_once < 1e-9 else at_once,
        "velocity_defect of another function": float(
            answer.velocity_defect(_bent, lambda x, t: x - 3 * t, x, 0.6)
        ),
    }


_PASSES = {f"semigroup_{i}": getattr(solution, f"semigroup_{i}") for i in (1, 2, 3, 4, 5)}


def _defects_facts(answer, seed):
    values = right_words(answer, ("passes", "fails"), **_PASSES)
    return values | right_numbers(answer, 1e-6, flow_map=solution.flow_map)


_TWO = "halfway - (r - s) * u(halfway, r, s)"
_APART = "(two - one).square().mean().sqrt()"

DEFECTS = Task(
    id="7.4",
    title="Two jumps are one: a test without a truth",
    kind="implement-equation",
    difficulty=2,
    minutes=25,
    points=5,
    ids=("C30", "B10"),
    names=(
        "defect",
        "velocity_defect",
        "semigroup_1",
        "semigroup_2",
        "semigroup_3",
        "semigroup_4",
        "semigroup_5",
        "flow_map",
    ),
    probe=_probe_defects,
    facts=_defects_facts,
    reference={
        "defect": solution.defect,
        "velocity_defect": solution.velocity_defect,
        **_PASSES,
        "flow_map": solution.flow_map,
    },
    asks={
        "defect of an exact map": "An exact map has no defect, wherever the step is parted. Yours says "
        "{value}: write down the three jumps with their states and times.",
    }
    | {
        name: f"Print your defect of candidate {name[-1]} at two or three choices of t > r > s: is it 0?"
        for name in _PASSES
    },
    mistakes=(
        Mistake(
            _wrong("defect", ("u(halfway, r, s)", "u(x, r, s)")),
            "Your second jump asks u at the state where the first one began. Where does it start?",
        ),
        Mistake(
            _wrong("defect", (_TWO, "x - (r - s) * u(halfway, r, s)")),
            "Your second jump leaves from x, so that the first one is lost.",
        ),
        Mistake(
            _wrong("defect", ("u(halfway, r, s)", "u(halfway, t, s)")),
            "Your second jump is told that it begins at t. At which time is the state half-way?",
        ),
        Mistake(
            _wrong("defect", ("u(x, t, r)", "u(x, t, s)")),
            "Your first jump takes the mean over the whole way. Where does it end?",
        ),
        Mistake(
            _wrong("defect", (_TWO, "x - (t - s) * (u(x, t, r) + u(halfway, r, s)) / 2")),
            "The two means count alike only for two equal parts. How long is each?",
        ),
        Mistake(
            _wrong("defect", (_TWO, "x - (r - s) * u(x, t, r) - (t - r) * u(halfway, r, s)")),
            "The lengths of the two parts are exchanged.",
        ),
        Mistake(
            _wrong("defect", (_APART, "(two - one).mean().abs()")),
            "Deviations to both sides cancel in your mean. What does the root mean square do with the signs?",
        ),
        Mistake(
            _wrong("defect", (".mean().sqrt()", ".mean()")),
            "That is the mean square; its root is asked for.",
        ),
        Mistake(
            _wrong("defect", (".square().mean().sqrt()", ".abs().mean()")),
            "That is the mean distance, and not the root mean square.",
        ),
        Mistake(
            _wrong("defect", (".square().mean().sqrt()", ".abs().max()")),
            "That is the largest distance; the root mean square is asked for.",
        ),
        Mistake(
            _wrong("defect", (".square().mean().sqrt()", ".norm()")),
            "That is the length of all differences together, which grows with the batch. Where is the mean?",
        ),
        Mistake(
            _wrong("defect", (_APART, f"({_APART} / (t - s))")),
            "You compare mean velocities: the statement compares the states where the jumps end.",
        ),
        Mistake(
            _wrong("defect", (".square().mean().sqrt()", ".square().sum(1).mean().sqrt()")),
            "You sum over the entries of a sample; the statement's mean is over all entries.",
        ),
        Mistake(
            _wrong("defect", (".square().mean().sqrt()", ".norm(dim=1).mean()")),
            "That is the mean length of a sample's difference. Square, mean over all entries, root: which "
            "comes last?",
        ),
        Mistake(
            _wrong("velocity_defect", ("u(x, t, t)", "u(x, t, 0.0)")),
            "You compare the velocity with the mean down to 0. For which s is u the velocity?",
        ),
        Mistake(
            _wrong("velocity_defect", (".square().mean().sqrt()", ".abs().max()")),
            "That is the largest deviation; the root mean square is asked for.",
        ),
        Mistake(
            {"semigroup_2": "fails", "semigroup_5": "fails"},
            "You judge whether they are *our* flow map. The test compares two jumps with one, and knows "
            "nothing of the data.",
        ),
        Mistake(
            {"semigroup_2": "fails"},
            "Candidate 2 stays where it is, in one jump and in two. It is useless; is it inconsistent?",
        ),
        Mistake(
            {"semigroup_5": "fails"},
            "Candidate 5 is a flow map, of other data. Which of your two tests can see that?",
        ),
        Mistake(
            {"semigroup_1": "passes"},
            "Candidate 1 is the velocity at the start: two steps of Euler and one. Do they end alike?",
        ),
        Mistake(
            {"semigroup_4": "passes"},
            "Print more digits for candidate 4. Its addition is small for short steps, but not 0.",
        ),
        Mistake(
            {"flow_map": 5},
            "Candidate 5 passes the semigroup's test only: does it move with our velocity?",
        ),
        Mistake(
            {"flow_map": 4},
            "Candidate 4 has the right velocity where a step has no length. And on long steps?",
        ),
        Mistake(
            {"flow_map": 1},
            "Candidate 1 is the velocity itself. Are two of its steps one?",
        ),
        Mistake(
            {"flow_map": 2},
            "Candidate 2 never moves. Which test sees it?",
        ),
    ),
    hints=(
        "Three jumps: t to r, r to s, and t to s. Each has its state, its two times and its length.",
        "Keep the state half-way under a name of its own. In the cell below your functions are called on "
        "each candidate: vary the times, and look at both columns.",
        "Subtract the ends, square, mean, root. A candidate that passes need not be right: it has to agree "
        "with itself only. The one wanted has two zeros.",
    ),
)

# --- 7.5: the shortcut model --------------------------------------------------------------------------------


def _probe_shortcut(answer, seed):
    theta = torch.tensor([0.7, -0.4], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([0.9, 0.75, 1.0, 0.5], dtype=torch.float64)
    s = torch.tensor([0.2, 0.7, 0.0, 0.1], dtype=torch.float64)
    x = 0.5 + normal(seed, 4, 2).abs()
    column = lambda time: torch.as_tensor(time, dtype=torch.float64).reshape(-1, 1)  # noqa: E731

    def exact(x, t, s):
        return theta[0] / theta[0].detach() * _map_u(x, column(t), column(s))

    def u(x, t, s):
        t, s = column(t), column(s)
        return torch.tanh(theta[0] * x * (1 + t) + theta[1] * s) + 0.3 * x * (t - s)

    tiny, _ = _value_and_gradient(answer.shortcut_loss(exact, x, t, s), theta)
    value, slope = _value_and_gradient(answer.shortcut_loss(u, x, t, s), theta)
    return {
        "loss of an exact map": 0.0 if 0 <= tiny.item() < 1e-12 else tiny,
        "loss": value,
        "gradient": slope,
    }


_JUMP = {"jump_mean": 2.0, "jump_std": 0.41478455}  # the solution computes them anew
_STD_OF_FOUR = 0.34054054  # of four steps


def _shortcut_facts(answer, seed):
    return right_numbers(answer, 2e-3, relative=True, **_JUMP, flow_map_std=solution.flow_map_std)


_HALFWAY = "x - (t - middle)[:, None] * first"
_TARGET = "(first + u(halfway, middle, s)) / 2"

SHORTCUT = Task(
    id="7.5",
    title="Find the bug: a step of two halves",
    kind="find-the-bug",
    difficulty=2,
    minutes=25,
    points=5,
    ids=("C30", "B12"),
    names=("shortcut_loss", "jump_mean", "jump_std", "flow_map_std"),
    probe=_probe_shortcut,
    facts=_shortcut_facts,
    reference={"shortcut_loss": solution.shortcut_loss, **_JUMP, "flow_map_std": solution.flow_map_std},
    asks={
        "loss of an exact map": "For an exact mean two halves are the whole, and the loss is 0. Yours is "
        "{value}: where does the second half begin?",
        "gradient": "The value is right. Which side of the difference is to learn?",
        "jump_std": "At loss 0 the one jump is how many steps of Euler? Carry x = 0 and x = 1 through them, "
        "with `velocity`, and take the distance of the ends.",
    },
    mistakes=(
        Mistake(
            _wrong(
                "shortcut_loss",
                (_HALFWAY, "x - (t - s)[:, None] * first"),
                ("target.detach()", "target"),
            ),
            "This is the listing as it was given.",
            as_given=True,
        ),
        Mistake(
            _wrong("shortcut_loss", ("target.detach()", "target")),
            "The value is right now. The target is to be believed, and not to be moved: what is before the "
            "bracket?",
        ),
        Mistake(
            _wrong("shortcut_loss", (_HALFWAY, "x - (t - s)[:, None] * first")),
            "The gradient is cut now. Is the state half-way really half-way?",
        ),
        Mistake(
            _wrong("shortcut_loss", ("u(halfway, middle, s)", "u(x, middle, s)")),
            "Your second half is asked at the state where the first one began.",
        ),
        Mistake(
            _wrong("shortcut_loss", ("u(halfway, middle, s)", "u(halfway, t, middle)")),
            "Your second half is told the times of the first.",
        ),
        Mistake(
            _wrong("shortcut_loss", (_HALFWAY, "x + (t - middle)[:, None] * first")),
            "The sign: a step goes down from t.",
        ),
        Mistake(
            _wrong("shortcut_loss", (_TARGET, "first + u(halfway, middle, s)")),
            "The mean of two equal halves is half of their sum.",
        ),
        Mistake(
            _wrong("shortcut_loss", ("(u(x, t, s) - target.detach())", "(u(x, t, s).detach() - target)")),
            "You have cut the long step and let the two halves learn. Which of them knows more?",
        ),
        Mistake(
            {"jump_std": _STD_OF_FOUR},
            "Your jump is made of four velocities. The shortest steps have length 1/8: how many are there?",
        ),
        Mistake(
            _wrong(
                "shortcut_loss",
                ("first = u(x, t, middle)", "first = u(x, t, middle).detach()"),
                ("target.detach()", "target"),
            ),
            "You have cut the first half only: the second is part of the target, too.",
        ),
        Mistake(
            _wrong(
                "shortcut_loss",
                ("u(halfway, middle, s)", "u(halfway.detach(), middle, s)"),
                ("target.detach()", "target"),
            ),
            "You have cut the state half-way. A gradient still runs through both calls of u in the target.",
        ),
        Mistake(
            _wrong(
                "shortcut_loss",
                ("(u(x, t, s) - target.detach())", "((t - s)[:, None] * (u(x, t, s) - target.detach()))"),
            ),
            "You compare where the steps end, which weighs the long ones more. The statement compares means.",
        ),
        Mistake(
            _wrong("shortcut_loss", (".square().mean()", ".square().sum()")),
            "You sum over the entries; the statement's L is their mean.",
        ),
        Mistake(
            {"jump_std": 0.5},
            "That is the data's. The network was never told what happens within a step of length 1/8: how "
            "far does Euler get in eight?",
        ),
        Mistake(
            {"jump_std": _JUMP["jump_std"] / 0.5},
            "That is the share of the data's deviation. What is the deviation itself?",
        ),
        Mistake(
            {"jump_std": _JUMP["jump_std"] ** 2},
            "That is the variance.",
        ),
        Mistake(
            {"jump_std": 0.0},
            "In one step of Euler all samples meet in the mean. Here the one jump is worth several.",
        ),
        Mistake(
            {"jump_mean": 0.0},
            "The noise has mean 0, and the velocity carries it to the data. Carry x = 0 through the steps.",
        ),
        Mistake(
            {"flow_map_std": _JUMP["jump_std"]},
            "An exact flow map makes the data from the noise: which deviation have they?",
        ),
    ),
    hints=(
        "For an exact mean velocity the loss must be 0: which line of the listing keeps it from that? And "
        "which side of the difference learns?",
        "The state half-way is at the middle time. For the numbers write a function that calls itself with "
        "half the length, until the length is 1/8.",
        "The first half is only as long as it is: look at the factor in the listing's third line. Two halves "
        "at loss 0 are two steps after each other, so the one jump is a walk; mean and distance of two "
        "states tell all of it.",
    ),
)

# --- 7.6: the sweep -----------------------------------------------------------------------------------------

_METHODS = ("Euler", "flow map", "consistency")
_CALLS = (1, 2, 4, 8, 16)


def _spots(drawn):
    """All corners of the lines, bands, bars and dots of a drawing: (n, 2)."""
    if not hasattr(drawn, "get_lines"):
        drawn = getattr(drawn, "fig", drawn)
        drawn = drawn[0] if isinstance(drawn, (list, tuple)) else drawn.axes[0]
    parts = [np.asarray(line.get_xydata(), float) for line in drawn.get_lines()]
    for artist in drawn.collections:
        parts.append(np.ma.filled(np.ma.asarray(artist.get_offsets(), float), np.nan).reshape(-1, 2))
        parts += [np.asarray(path.vertices, float) for path in artist.get_paths()]
    return np.concatenate(parts)


def _probe_sweep(answer, seed):
    seeds = [3, 5, 6, 8, 9]
    spread = dict(zip(seeds, np.exp(normal(seed, 5).numpy())))

    def distance(method, calls, seed):
        power = dict(zip(_METHODS, (1.0, 0.2, -0.3)))[method]
        return float(spread[seed] * (1 + _METHODS.index(method)) * calls**-power)

    drawn = answer.draw(distance, seeds)
    seen = read_axes(drawn)
    values = {"x scale, y scale": f"{seen.xscale}, {seen.yscale}"}
    values["axes labelled"] = "yes" if seen.xlabel and seen.ylabel else "no"
    for name, (x, y) in error_lines(seen, *_METHODS, count=len(_CALLS)).items():
        values[f"{name}, calls"], values[f"{name}, distances"] = x, y
    spots, shown, more = _spots(drawn), 0, 0
    for method in _METHODS:
        for calls in _CALLS:
            found = [distance(method, calls, one) for one in seeds]
            near = spots[np.abs(np.log(np.maximum(spots[:, 0], 1e-9) / calls)) < 0.2, 1]
            shown += all((np.abs(near / end - 1) < 1e-3).any() for end in (min(found), max(found)))
            more += len(np.unique(near.round(6))) > len(_METHODS)
    values["smallest and largest of the seeds are shown"] = (
        "yes" if shown == 15 else "in part" if shown else "others" if more else "no"
    )
    around = dict(t=(0.5, 1.0), s=(0.1, 0.4), delta=(0.1, 1.0))
    return values | named_expressions(answer, seed, 2, error_of=around)


_TRENDS = {name: getattr(solution, name) for name in ("euler", "flow", "consistency")}


def _sweep_facts(answer, seed):
    return right_words(answer, ("better", "tie", "worse"), **_TRENDS)


_MEDIAN = "table.quantile(0.5, dim=0)"
_BAND = "        ax.fill_between(calls, table.amin(0), table.amax(0), color=line.get_color(), alpha=0.15)\n"

SWEEP = Task(
    id="7.6",
    title="More calls: a sweep with its spread",
    kind="figure",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("T45", "C30"),
    names=("draw", "euler", "flow", "consistency", "error_of"),
    probe=_probe_sweep,
    facts=_sweep_facts,
    reference={"draw": solution.draw, **_TRENDS, "error_of": "t*delta"},
    tolerance=1e-4,
    decimals=3,
    asks={
        "smallest and largest of the seeds are shown": "At each number of calls and for each method, the "
        "smallest and the largest value of the seeds have to be in the figure. Are both ends there?",
    }
    | {
        name: "Count the seeds, each compared with itself: in how many is the distance at 16 calls smaller "
        "than at 2? Seven or eight is better, none or one is worse."
        for name in _TRENDS
    },
    mistakes=(
        Mistake(
            _wrong("draw", (_MEDIAN, "table.mean(0)")),
            "Your lines are means. One seed that goes astray moves a mean and hardly a median.",
        ),
        Mistake(
            _wrong("draw", (_MEDIAN, "table.log().mean(0).exp()")),
            "Your lines are geometric means. The one in the middle is another.",
        ),
        Mistake(
            _wrong("draw", (_MEDIAN, "table[0]")),
            "Your lines are those of the first seed. Which of several is the one in the middle?",
        ),
        Mistake(
            _wrong("draw", (_MEDIAN, "table.amin(0)")),
            "Your lines show the best seed. Nobody knows beforehand which one that is.",
        ),
        Mistake(
            _wrong("draw", (_BAND, "")),
            "Your figure shows a median and not how far the seeds differ: where are the smallest and the "
            "largest?",
        ),
        Mistake(
            _wrong(
                "draw",
                (
                    "table.amin(0), table.amax(0)",
                    "table.mean(0) - table.std(0), table.mean(0) + table.std(0)",
                ),
            ),
            "Your figure shows a spread such as a deviation or quartiles. Which seeds are its ends to be?",
        ),
        Mistake(
            _wrong("draw", ("ax.set(", 'ax.set(xscale="linear", yscale="linear", ')),
            "On these axes half of the numbers of calls crowd at the left. Which axes were asked for?",
        ),
        Mistake(
            _wrong("draw", ("ax.set(", 'ax.set(xscale="linear", ')),
            "The calls are doubled each time: on which axis are they equally far apart?",
        ),
        Mistake(
            _wrong("draw", ("ax.set(", 'ax.set(yscale="linear", ')),
            "The axis of the distance is linear: a factor should look alike everywhere.",
        ),
        Mistake(
            _wrong("draw", ("calls of the network", "")),
            "Nothing on your horizontal axis says what is counted: name both axes.",
        ),
        Mistake(
            _wrong("draw", ("distance(method, n, seed)", "distance(method, n - 1 or 1, seed)")),
            "Your values do not belong to their number of calls: with which one do you ask for a distance?",
        ),
        Mistake(
            _wrong(
                "draw",
                ('("flow map", "s--")', '("consistency", "s--")'),
                ('("consistency", "^:")', '("flow map", "^:")'),
                (
                    "label=method",
                    'label={"flow map": "consistency", "consistency": "flow map"}.get(method, method)',
                ),
            ),
            "Two labels are exchanged: which method does each of your lines ask for?",
        ),
        Mistake(
            {"flow": "better"},
            "Count the seeds: not enough of them agree for that word.",
        ),
        Mistake(
            {"flow": "worse"},
            "Print the eight pairs. In how many is the flow map's distance larger at 16 calls than at 2?",
        ),
        Mistake(
            {"consistency": "better"},
            "You may have compared with one call, or the methods are exchanged. What do the seeds say from 2 "
            "calls to 16?",
        ),
        Mistake(
            {"consistency": "tie"},
            "From 1 call to 16 some seeds gain. From 2 calls to 16?",
        ),
        Mistake(
            {"euler": "tie"},
            "The ranges overlap, but each seed is to be compared with itself: how many fall?",
        ),
        Mistake(
            {"error_of": "(t - s)*delta"},
            "That is the flow map's jump. The prediction of the data jumps to which time?",
        ),
        Mistake(
            {"error_of": "s*delta"},
            "The jump begins at t and goes to 0. How long is it?",
        ),
        Mistake(
            {"error_of": "delta"},
            "u is a velocity: by what is it multiplied in the jump?",
        ),
        Mistake(
            {"error_of": "-t*delta"},
            "By how much does it miss, as with (t − s) δ: a distance, without the sign.",
        ),
        Mistake(
            {"error_of": "t*(1 - s)*delta"},
            "That is what is left of it after the next noising. The prediction itself?",
        ),
    ),
    hints=(
        "Make a table first: a row for each seed, a column for each number of calls. Median, smallest and "
        "largest are then taken over the rows.",
        "fill_between(calls, smallest, largest) draws a band, errorbar with two lists of lengths draws bars. "
        "For the words compare column 16 with column 2, row by row.",
        "torch's and numpy's median of an even number of values are not alike: with eight seeds take "
        "numpy.median or the quantile one half. The prediction of the data is one jump from t to 0, whose "
        "length multiplies the velocity.",
    ),
)

# --- 7.7: two mistakes of published code --------------------------------------------------------------------


def _probe_published(answer, seed):
    shift, c = uniform(seed, 1.5, 5.0), uniform(seed, -1.0, 1.0, stream=1)
    x = 1 + normal(seed, 4, 2)
    call, asked = _counted(lambda x, t, s: torch.cos(2 * x + t) - 0.5 * t * x)
    bent = answer.flow_walk(call, x, 5)
    return {
        "times without a shift": [float(t) for t in answer.shifted_times(4, 1.0, 50)],
        "shifted times": [float(t) for t in answer.shifted_times(6, shift)],
        "shifted times, 50 known": [float(t) for t in answer.shifted_times(3, shift, 50)],
        "flow_walk, constant velocity": answer.flow_walk(lambda x, t: torch.full_like(x, c), x, 4),
        "flow_walk, data at one point": answer.flow_walk(lambda x, t: (x - c) / max(t, 0.05), x, 3),
        "flow_walk, 5 steps": bent,
        "calls of 5 steps": sum(asked) / 4,
    } | named_expressions(answer, seed, 2, twice=dict(k=(1.5, 5.0)))


_LAST_TWICE = 0.009 / 1.008


def _published_facts(answer, seed):
    values = right_numbers(answer, 3e-3, relative=True, last_twice=_LAST_TWICE)
    return values | right_words(answer, ("constant", "order", "point"), exposes=solution.exposes)


_TIME, _FINAL = "1 - i / steps", "[shift * t / (1 + (shift - 1) * t) for t in times]"
_FIRST_LAST = "first, last = 1.0, 1 / count"
_SHIFTED_ENDS = (_FIRST_LAST, "first, last = 1.0, shift / count / (1 + (shift - 1) / count)")
_AS_GIVEN = (("- velocity", "+ velocity"), (_TIME, "1 - i / (steps - 1)"))

PUBLISHED = Task(
    id="7.7",
    title="Find the bug: a shift too many, a step that does not fit",
    kind="find-the-bug",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("B11", "B13"),
    names=("shifted_times", "twice", "last_twice", "flow_walk", "exposes"),
    probe=_probe_published,
    facts=_published_facts,
    reference={
        "shifted_times": solution.shifted_times,
        "twice": solution.twice,
        "last_twice": _LAST_TWICE,
        "flow_walk": solution.flow_walk,
        "exposes": solution.exposes,
    },
    asks={
        "shifted times": "By hand, for the last time above 0: which time is it before the shift, and what "
        "does one shift make of it?",
        "flow_walk, data at one point": "All the data are one point c, and every trajectory is a straight "
        "line. Where do your samples end?",
        "calls of 5 steps": "Five steps are five calls; yours makes {value}.",
    },
    mistakes=(
        Mistake(
            _wrong("shifted_times", _SHIFTED_ENDS) | _wrong("flow_walk", *_AS_GIVEN),
            "These are the listings as they were given.",
            as_given=True,
        ),
        Mistake(
            _wrong("flow_walk", *_AS_GIVEN),
            "The times are right now. The walk still goes away from the data: which way does v = ε − x_0 "
            "point?",
        ),
        Mistake(
            _wrong("shifted_times", _SHIFTED_ENDS),
            "The walk is right now. The ends of the listing's times have gone through the shift already, and "
            "meet it again in the last line.",
        ),
        Mistake(
            _wrong("shifted_times", _SHIFTED_ENDS) | _wrong("flow_walk", _AS_GIVEN[0]),
            "The walk's times fit its steps now. Its direction, and the times of the first listing?",
        ),
        Mistake(
            _wrong("shifted_times", _SHIFTED_ENDS) | _wrong("flow_walk", _AS_GIVEN[1]),
            "The walk goes the right way now. Do its times fit its steps? And the first listing?",
        ),
        Mistake(
            _wrong("shifted_times", (_FINAL, "times")),
            "Your times are not shifted at all.",
        ),
        Mistake(
            _wrong("shifted_times", _SHIFTED_ENDS, (_FINAL, "times")),
            "Only the ends of your times are shifted, and those between are equally spaced. Each is shifted, "
            "once.",
        ),
        Mistake(
            _wrong("shifted_times", ("shift * t / (1 + (shift - 1) * t)", "t / (shift - (shift - 1) * t)")),
            "Your shift goes towards the data: it is the inverse of the statement's.",
        ),
        Mistake(
            _wrong("shifted_times", (" + [0.0]", "")),
            "The 0 at the end is missing: steps + 1 times are asked for.",
        ),
        Mistake(
            _wrong("shifted_times", (_FIRST_LAST, "first, last = 1.0, 0.0")),
            "Your times go down to 0 before the 0 is put there: 0 stands twice, and a step has no length. "
            "What is the smallest time that the network knows?",
        ),
        Mistake(
            _wrong("shifted_times", ("(last - first) * i / (steps - 1)", "(last - first) * i / steps")),
            "The last of your times is not the smallest that the network knows: how many gaps have `steps` "
            "times?",
        ),
        Mistake(
            _wrong("flow_walk", _AS_GIVEN[0]),
            "The sign: v points from the data to the noise, and the walk goes to the data.",
        ),
        Mistake(
            _wrong("flow_walk", _AS_GIVEN[1]),
            "The direction is right. Your times are 1/(steps − 1) apart, and your steps 1/steps long: at the "
            "last of them, t = 0, where is the state?",
        ),
        Mistake(
            _wrong("flow_walk", _AS_GIVEN[1], (") / steps", ") / (steps - 1)")),
            "Times and steps fit now, but there is one step too many: together they are longer than 1.",
        ),
        Mistake(
            _wrong(
                "flow_walk",
                ("range(steps)", "range(steps - 1)"),
                _AS_GIVEN[1],
                (") / steps", ") / (steps - 1)"),
            ),
            "That is a right walk with one step fewer. `steps` calls are asked for.",
        ),
        Mistake(
            _wrong("flow_walk", (_TIME, "i / steps")),
            "Your times rise from 0. At the start the state is noise: which time is that?",
        ),
        Mistake(
            _wrong("flow_walk", (_TIME, "1 - (i + 1) / steps")),
            "You ask for the velocity at the end of each step, with the state of its start.",
        ),
        Mistake(
            _wrong("flow_walk", (_TIME, "1 - (i + 0.5) / steps")),
            "You ask in the middle of each step, with the state of its start. Where is the state?",
        ),
        Mistake(
            {"twice": "2*k"},
            "Put the shifted time into the shift, and simplify; or look at t/(1 − t).",
        ),
        Mistake(
            {"twice": "k"},
            "That is one shift.",
        ),
        Mistake(
            {"twice": "2*k - 1"},
            "Put the shifted time into the shift, and simplify the whole fraction.",
        ),
        Mistake(
            {"twice": "k**2*t/(1 + (k**2 - 1)*t)"},
            "That is what two shifts make of a time t. By which factor are they one shift?",
        ),
        Mistake(
            {"last_twice": 0.003 / 1.002},
            "That is the right one, after one shift. What does the listing make?",
        ),
        Mistake(
            {"last_twice": 0.001},
            "That is the time before any shift.",
        ),
        Mistake(
            {"exposes": "constant"},
            "With a constant velocity only the sum of the steps counts. What is steps times 1/steps?",
        ),
        Mistake(
            {"exposes": "order"},
            "Measure it: the error at 20, 40 and 80 steps. By what does it fall each time?",
        ),
    ),
    hints=(
        "In the first listing write down what `first` and `last` are, for k = 3. In the second, write down "
        "the times and the states' times for two steps.",
        "The ends of the times are wanted before the shift. A walk of N steps has N + 1 times, and no call "
        "at the last. For `twice`, put one shift into the other, or look at t/(1 − t).",
        "The smallest known time is one over count. With steps of 1/steps the i-th call is i of them below "
        "1, and the velocity, which points to the noise, is taken away. For `exposes` run the listing with "
        "its sign mended on all three.",
    ),
)

# --- 7.8: the dynamic programme -----------------------------------------------------------------------------


def _table(seed, n, stream):
    """Costs that grow faster than the length of a step, and differ from place to place; below the diagonal
    there is what means nothing: (n, n)."""
    place = np.exp(normal(seed, n, stream=stream).numpy())
    length = np.arange(n)[None] - np.arange(n)[:, None]
    noise = 1 + 0.5 * np.abs(normal(seed, n, n, stream=stream + 1).numpy())
    costs = place[:, None] * noise * np.abs(length) ** 1.5
    return np.where(length > 0, costs, np.where(length < 0, 0.1 * costs[::-1], 0.0))


def _read_path(path, costs):
    """The indices as ints and the sum of their costs."""
    try:
        path = [int(i) for i in path]
    except (TypeError, ValueError):
        raise Remark("cheapest returns a list of ints, the indices of the grid.") from None
    if not all(0 <= i < len(costs) for i in path):
        raise Remark(f"Your grid has the indices {path}, and the table has {len(costs)} levels.")
    return path, sum(costs[i, j] for i, j in zip(path, path[1:]))


def _probe_cheapest(answer, seed):
    values = {}
    for n, steps, stream in ((6, 2, 0), (30, 7, 2), (8, 1, 4), (7, 6, 6)):
        costs = _table(seed, n, stream)
        path, total = _read_path(answer.cheapest(costs.copy(), steps), costs)
        label = f"{n} levels, {steps} step" + "s" * (steps > 1)
        values[f"{label}: number of indices"] = len(path)
        values[f"{label}: indices"], values[f"{label}: sum"] = path, total
    return values


_GAIN, _GREEDY = 0.83842183, 0.71680196  # the solution computes them anew
_SUM = 0.45851318  # of the cheapest grid


def _cheapest_facts(answer, seed):
    values = right_numbers(answer, 3e-3, relative=True, gain=_GAIN, greedy_cost=_GREEDY)
    return values | right_words(answer, ("yes", "no"), least="no")


def _greedy(costs, steps):
    path = [0]
    for left in range(steps - 1, 0, -1):
        path.append(min(range(path[-1] + 1, len(costs) - left), key=lambda j: costs[path[-1], j]))
    return [*path, len(costs) - 1]


def _free(costs, steps):
    """The cheapest path of any number of steps."""
    best = {0: (0.0, [0])}
    for j in range(1, len(costs)):
        best[j] = min((best[i][0] + costs[i, j], [*best[i][1], j]) for i in range(j))
    return best[len(costs) - 1][1]


def _even(costs, steps):
    return [round(k * (len(costs) - 1) / steps) for k in range(steps + 1)]


CHEAPEST = Task(
    id="7.8",
    title="The cheapest grid, by dynamic programming",
    kind="implement-equation",
    difficulty=2,
    minutes=35,
    points=5,
    ids=("B11", "C19"),
    names=("cheapest", "gain", "greedy_cost", "least"),
    probe=_probe_cheapest,
    facts=_cheapest_facts,
    reference={"cheapest": solution.cheapest, "gain": _GAIN, "greedy_cost": _GREEDY, "least": "no"},
    asks={
        "6 levels, 2 steps: sum": "With two steps of six levels there are four grids: try them all by hand. "
        "Is yours the cheapest?",
        "gain": "Your grid's levels, through end_error, over that of karras_3. Is that your number?",
        "greedy_cost": "The first step to the cheapest of the levels 1 to 14, the second to the cheapest of "
        "what is left up to 15, the third to 16: is that your sum?",
    },
    mistakes=(
        Mistake(
            {"cheapest": _greedy},
            "Your grid makes each step to where it is cheapest, and pays for it later. The sum counts: which "
            "sums have to be kept?",
        ),
        Mistake(
            {"cheapest": _even},
            "Your indices are equally spaced, whatever the costs are.",
        ),
        Mistake(
            {"cheapest": _free},
            "Your grid has as many steps as are cheapest. Exactly N were asked for: what is kept apart?",
        ),
        Mistake(
            _wrong("cheapest", ("range(steps)", "range(steps - 1)")),
            "Your grid has one step too few: N steps are N + 1 indices.",
        ),
        Mistake(
            _wrong("cheapest", ("range(steps)", "range(min(steps + 1, len(costs) - 1))")),
            "Your grid has one step too many: N steps are N + 1 indices.",
        ),
        Mistake(
            _wrong("cheapest", ("if i < j]", "if i <= j]")),
            "Your path may stay where it is, for nothing: at most N steps, with an index twice. Exactly N "
            "were asked for.",
        ),
        Mistake(
            _wrong("cheapest", ("total + costs[i, j]", "costs[i, j]")),
            "You keep the cost of the last step only. What did the way to i cost?",
        ),
        Mistake(
            _wrong("cheapest", ("reversed(came)", "came")),
            "You go back from the end with the *first* round's table. Which round chose the last step?",
        ),
        Mistake(
            _wrong("cheapest", ("before[path[-1]]", "before[max(before)]")),
            "Going back, you ask in each round how the *last* level was best reached. How was the level "
            "reached at which you stand?",
        ),
        Mistake(
            _wrong("cheapest", ("best[j] = min(ways)", "best[j] = max(ways)")),
            "That is the dearest path.",
        ),
        Mistake(
            _wrong("cheapest", ("costs[i, j]", "costs[j, i]")),
            "You read the table at [j, i], where nothing means anything: i is where a step begins.",
        ),
        Mistake(
            _wrong("cheapest", ("return path[::-1]", "return path")),
            "Your indices are those of the cheapest grid, from its end. The first is to be 0.",
        ),
        Mistake(
            _wrong("cheapest", ("return path[::-1]", "return path[-2:0:-1]")),
            "The two ends belong to the grid: N + 1 indices.",
        ),
        Mistake(
            _wrong("cheapest", ("(total + costs[i, j], i)", "(max(total, costs[i, j]), i)")),
            "You make the dearest single step small. The statement's is the sum.",
        ),
        Mistake(
            {"gain": 1 / _GAIN},
            "Your quotient stands on its head: your grid's error goes above the line.",
        ),
        Mistake(
            {"gain": 1 - _GAIN},
            "That is what is saved. What remains?",
        ),
        Mistake(
            {"greedy_cost": _SUM},
            "That is the sum of the cheapest grid. The greedy one pays more.",
        ),
        Mistake(
            {"least": "yes"},
            "Try all 455 grids with end_error. A sum of local errors knows nothing of what the later steps "
            "make of an earlier error.",
        ),
    ),
    hints=(
        "How would you know the cheapest way to level j in two steps, if you knew the cheapest in one step "
        "to every i before it?",
        "Keep two tables for each number of steps: the cheapest sum to each level, and from which level it "
        "came. At the end go back from the last level, the last round's table first.",
        "Start with 0 for level 0 and nothing for the others. N rounds; in each, for each j, the smallest of "
        "the sum at i plus the table's entry, over i below j; a level that nobody has reached yet is left "
        "out. Reverse the path at the end.",
    ),
)

# --- 7.9: a grid by gradient --------------------------------------------------------------------------------


def _probe_learned(answer, seed):
    theta = normal(seed, 4).requires_grad_()
    levels = answer.levels_of(theta, 15.0, 0.3)
    if not torch.is_tensor(levels):
        raise Remark("levels_of returns a tensor, through which a gradient can run.")
    values = {
        "number of levels": len(levels),
        "first and last": [float(levels[0]), float(levels[-1])],
        "levels": levels,
        "levels of large numbers": answer.levels_of(1000 + 40 * theta.detach(), 15.0, 0.3),
    }
    if not levels.requires_grad:
        raise Remark("No gradient runs from your levels to theta: where is it cut?")
    if len(levels) > 2:
        values["gradient of the level after the first"] = torch.autograd.grad(levels[1].sum(), theta)[0]
    d = uniform(seed, 0.4, 1.0)
    for steps in (2, 3):
        found = torch.tensor(
            [float(s) for s in answer.learned_levels(d, 10.0, 0.1, steps)], dtype=torch.float64
        )
        if len(found) != steps + 1 or not (found > 0).all():
            raise Remark(f"{steps} steps have {steps + 1} levels, all above 0; yours are {found.tolist()}.")
        values[f"learned, {steps} steps, in order"] = "yes" if (found.diff() < 0).all() else "no"
        values[f"learned, {steps} steps, logarithms"] = found.log()
    return values


_MIDDLE = 0.5075486594


def _learned_facts(answer, seed):
    values = right_numbers(answer, 0.011, relative=True, middle=_MIDDLE)
    return values | right_words(answer, ("above", "below"), karras_middle="above")


_NEAR = "Your levels are near enough to the best ones."
_FALL = "torch.softmax(theta, 0).cumsum(0)[:-1]"
_GEOMETRIC = "top * (bottom / top) ** shares"

LEARNED = Task(
    id="7.9",
    title="A grid that learns",
    kind="implement-equation",
    difficulty=3,
    minutes=35,
    points=6,
    ids=("C19", "B11"),
    names=("levels_of", "learned_levels", "middle", "karras_middle"),
    probe=_probe_learned,
    facts=_learned_facts,
    reference={
        "levels_of": solution.levels_of,
        "learned_levels": solution.learned_levels,
        "middle": _MIDDLE,
        "karras_middle": "above",
    },
    loose={f"learned, {steps} steps, logarithms": (2e-2, _NEAR) for steps in (2, 3)},
    asks={
        "levels": "For theta of zeros the levels are a geometric series from top to bottom. Are yours?",
        "levels of large numbers": "A softmax does not mind a number that is added to all of theta. Does "
        "yours overflow?",
        "learned, 2 steps, in order": "Your levels are not in order, or two are alike: has theta run away? "
        "Print E now and then.",
        "learned, 2 steps, logarithms": "With two steps there is one level to choose: go through a few "
        "hundred values of it. Where is E smallest?",
        "middle": "Go through a few hundred levels between 0.02 and 20. At which one is E smallest?",
    },
    mistakes=(
        Mistake(
            _wrong("levels_of", (_FALL, "torch.softmax(theta, 0)[:-1]")),
            "Each level takes its own share of the way, and not the shares before it: your levels need not "
            "be in order.",
        ),
        Mistake(
            _wrong("levels_of", (_FALL, "torch.sigmoid(theta).cumsum(0)[:-1]")),
            "Your shares do not sum to 1: a level can fall below the bottom.",
        ),
        Mistake(
            _wrong("levels_of", (_FALL, "torch.sigmoid(theta)[:-1]")),
            "Each of your levels is free between the ends; nothing keeps them in order.",
        ),
        Mistake(
            _wrong("levels_of", (_GEOMETRIC, "top + (bottom - top) * shares")),
            "Your shares are of the levels themselves. On which axis is the way shared out?",
        ),
        Mistake(
            _wrong("levels_of", (_GEOMETRIC, "bottom * (top / bottom) ** shares")),
            "Your levels rise between the ends: at share 0 the level is the top.",
        ),
        Mistake(
            _wrong("levels_of", ("(theta, 0).cumsum", "(-theta, 0).cumsum")),
            "A large number in theta makes a small share with you.",
        ),
        Mistake(
            _wrong("levels_of", ("(theta, 0).cumsum(0)", "(theta, 0).flip(0).cumsum(0)")),
            "Your shares are added up from the end: the first belongs to the first step.",
        ),
        Mistake(
            _wrong("levels_of", ("torch.cat([ends[:1], ", "torch.cat([")),
            "The top is missing: N shares make N + 1 levels.",
        ),
        Mistake(
            _wrong("levels_of", (", ends[1:]])", "])")),
            "The bottom is missing: N shares make N + 1 levels.",
        ),
        Mistake(
            _wrong("learned_levels", ("range(300)", "range(0)")),
            "Your levels are those of theta = 0, a geometric series: nothing has been learned. Does your "
            "optimiser know theta, and make its steps?",
        ),
        Mistake(
            _wrong("learned_levels", ("range(300)", "range(6)")),
            "You stop after a few steps. Print E now and then: does it still fall?",
        ),
        Mistake(
            _wrong("learned_levels", ("        optimiser.zero_grad()\n", "")),
            "Your gradients add up from step to step: what sets them back to 0?",
        ),
        Mistake(
            _wrong(
                "learned_levels",
                (
                    "error_of_levels(levels_of(theta, top, bottom), d)",
                    "(-error_of_levels(levels_of(theta, top, bottom), d))",
                ),
            ),
            "Your E grows: the optimiser goes down the gradient of what?",
        ),
        Mistake(
            _wrong(
                "learned_levels",
                (
                    "(levels_of(theta, top, bottom), d).backward",
                    "(levels_of(theta, top, bottom), 1.0).backward",
                ),
            ),
            "Your levels are the same whatever d is.",
        ),
        Mistake(
            {
                "learned_levels": changed(
                    solution.learned_levels,
                    error_of_levels=changed(solution.error_of_levels, ("d**2 + s**2", "d**2 + e**2")),
                )
            },
            "A step's factor is taken at its end with you, in one place or more: Euler asks where the step "
            "begins.",
        ),
        Mistake(
            {
                "learned_levels": changed(
                    solution.learned_levels,
                    error_of_levels=changed(
                        solution.error_of_levels, ("return (made - exact) ** 2", "return made")
                    ),
                )
            },
            "You make the product of the factors small, and Euler's is too small already. Which difference "
            "is to vanish?",
        ),
        Mistake(
            {"middle": math.sqrt(20 * 0.02)},
            "That is half-way in ln s, where theta = 0 begins. Which way does the gradient lead from there?",
        ),
        Mistake(
            {"middle": ((20 ** (1 / 7) + 0.02 ** (1 / 7)) / 2) ** 7},
            "That is Karras's, with its seventh roots. The best one is another.",
        ),
        Mistake(
            {"middle": 0.5},
            "Near the data's deviation, indeed. To one per cent?",
        ),
        Mistake(
            {"middle": 10.01},
            "That is half-way between the levels themselves.",
        ),
        Mistake(
            {"karras_middle": "below"},
            "Compute Karras's level once more: it is a seventh power.",
        ),
    ),
    hints=(
        "The softmax of theta are the shares of the steps; a level knows the sum of those before it. What "
        "keeps the two ends exact?",
        "torch.softmax and cumsum make the shares of the way; top and bottom are joined on, and the last "
        "sum, which is 1, is left out. For the learning any optimiser of torch will do: a theta with "
        "requires_grad, E, backward, step.",
        "The level at a share of the way is top times the quotient of the ends to the power of the share. "
        "Adam with a rate of 0.1 needs some 300 steps. To see whether it worked, draw E over the one level "
        "in between: it has one minimum.",
    ),
)

# --- 7.10: an unfair comparison -----------------------------------------------------------------------------


def _probe_fair(answer, seed):
    x, levels = 2 + 3 * normal(seed, 4, 2), [5.0, 2.0, uniform(seed, 0.5, 1.5), 0.2]
    mine, calls = _counted(lambda x, s, _: torch.sin(x + s))
    free, frees = _counted(lambda x, s, _: 0.3 * x - s / 4)
    eps, first = lambda x, s: mine(x, s), lambda x, s: free(x, s)  # noqa: E731
    values = {"three steps": answer.walk_from(eps, x, levels), "calls": sum(calls) / 4}
    calls.clear()
    values["three steps, first given"] = answer.walk_from(eps, x, levels, first)
    return values | {"calls of eps, first given": sum(calls) / 4, "calls of first": sum(frees) / 4}


_ERRORS = {
    "plain_karras": 0.36117170,
    "first_karras": 0.29707480,
    "plain_learned": 0.28614765,
    "first_learned": 0.28317550,
}
_SHARES = {
    "reported": 1 - 0.283 / 0.361,
    "fair_plain": 1 - _ERRORS["plain_learned"] / _ERRORS["plain_karras"],
    "fair_first": 1 - _ERRORS["first_learned"] / _ERRORS["first_karras"],
    "start_alone": 1 - _ERRORS["first_karras"] / _ERRORS["plain_karras"],
}


_THREE_AND_START, _FOUR_CALLS = 0.36715471, 0.29540162  # three levels, two calls; four calls


def _fair_facts(answer, seed):
    values = right_numbers(answer, 4e-3, relative=True, **_ERRORS) | right_numbers(answer, 5e-3, **_SHARES)
    return values | right_words(answer, ("calls", "start", "noise", "measure"), unfair=solution.unfair)


_CHOICE = "first if first and k == 0 else eps"

FAIR = Task(
    id="7.10",
    title="An unfair comparison",
    kind="claim",
    difficulty=2,
    minutes=25,
    points=5,
    ids=("B14", "C19"),
    names=(
        "walk_from",
        "plain_karras",
        "first_karras",
        "plain_learned",
        "first_learned",
        "reported",
        "fair_plain",
        "fair_first",
        "start_alone",
        "unfair",
    ),
    probe=_probe_fair,
    facts=_fair_facts,
    reference={"walk_from": solution.walk_from, **_ERRORS, **_SHARES, "unfair": solution.unfair},
    asks={
        "three steps": "One step by hand, from levels[0] to levels[1]: does yours come to the same?",
        "calls of eps, first given": "With `first` given, three steps are two calls of eps; yours makes "
        "{value}.",
        "plain_karras": "Three calls without a start are three steps: the levels of (False, False). Is your "
        "number the root mean square distance from fresh_end?",
        "first_karras": "The start costs no call: four steps, the levels of (False, True), with `analytic` "
        "as the first. Is that your number?",
        "reported": "One less the quotient of the report's two errors, a share of 1: is that your number?",
        "fair_plain": "Both without the analytic start: one less the quotient of which two errors?",
        "fair_first": "Both with the analytic start: one less the quotient of which two errors?",
        "start_alone": "Both on Karras's levels: one less the quotient of which two errors?",
    },
    mistakes=(
        Mistake(
            _wrong("walk_from", (_CHOICE, "eps")),
            "Your walk never uses `first`.",
        ),
        Mistake(
            _wrong("walk_from", (_CHOICE, "first or eps")),
            "You take the analytic direction in every step. It is a good guess at the first level only.",
        ),
        Mistake(
            _wrong(
                "walk_from",
                ("    for k", "    if first:\n        eps(x, levels[0])\n    for k"),
            ),
            "You ask the model at the first level, too, and throw the answer away: that call is not free.",
        ),
        Mistake(
            _wrong("walk_from", ("k == 0", "k == len(levels) - 2")),
            "Your analytic direction comes in the last step. Where is the state nearly all noise?",
        ),
        Mistake(
            _wrong("walk_from", ("x + (e - s)", "x + (s - e)")),
            "The sign: the levels fall.",
        ),
        Mistake(
            _wrong("walk_from", ("said(x, s)", "said(x, e)")),
            "You ask at the level where the step ends. Euler asks where it begins.",
        ),
        Mistake(
            _wrong(
                "walk_from",
                ("zip(levels, levels[1:])", "zip(levels[1 if first else 0 :], levels[2 if first else 1 :])"),
            ),
            "Your walk leaves the first step out when `first` is given. The analytic direction makes a step.",
        ),
        Mistake(
            {"first_karras": _THREE_AND_START, "start_alone": 1 - _THREE_AND_START / _ERRORS["plain_karras"]},
            "That is with three steps, and two calls. A start that is free leaves a call for one more step.",
        ),
        Mistake(
            {"plain_karras": _FOUR_CALLS},
            "That is with four steps, and four calls. Three are to be made.",
        ),
        Mistake(
            {"fair_first": _SHARES["fair_plain"], "fair_plain": _SHARES["fair_first"]},
            "The two are exchanged: which of the quotients has the analytic start above and below the line?",
        ),
        Mistake(
            {"fair_first": 1 - _ERRORS["first_learned"] / _ERRORS["plain_karras"]},
            "That is the report's comparison once more: only one of the two has the start.",
        ),
        Mistake(
            {"fair_plain": 1 - _ERRORS["first_learned"] / _ERRORS["plain_karras"]},
            "That is the report's comparison once more. Neither is to have the start.",
        ),
        Mistake(
            {"fair_first": 1 - _ERRORS["first_learned"] / _ERRORS["plain_learned"]},
            "That is what the start adds to learned levels. What do learned levels add to the start?",
        ),
        Mistake(
            {"first_karras": _ERRORS["plain_karras"]},
            "That is without the start.",
        ),
        Mistake(
            {name: 100 * share for name, share in _SHARES.items()},
            "Those are per cent. Shares of 1 are asked for, as in the statement's formula.",
        ),
        Mistake(
            {name: 1 - share for name, share in _SHARES.items()},
            "Those are what remains. Which share is taken away?",
        ),
        Mistake(
            {"unfair": "calls"},
            "Both make three calls. Which of them gets a step that costs none?",
        ),
        Mistake(
            {"unfair": "noise"},
            "Both runs begin with the same noises, which nothing was fitted to.",
        ),
        Mistake(
            {"unfair": "measure"},
            "Both are measured against the end of the exact trajectory. What has one of the two that the "
            "other has not?",
        ),
    ),
    hints=(
        "Two things differ between the two runs of the report. A fair table has a row for each combination.",
        "The walk is Euler's loop with one exception, its first direction. The four sets of levels are in "
        "levels_for: with the start there is a step more, and not a call more.",
        "Count with enumerate, or take the first step before the loop. Then four errors; each share is one "
        "less a quotient in which only one thing differs.",
    ),
)

TASKS = (LAWS, MEANFLOW, WALKS, DEFECTS, SHORTCUT, SWEEP, PUBLISHED, CHEAPEST, LEARNED, FAIR)
