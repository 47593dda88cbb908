"""The tasks of lesson 08: choosing samplers, conditions, memory, strings, and comparisons.

Nothing is trained: the models are Gaussians and short lists, and where a sampler draws its own noise, the
check looks at what the noise does.
"""

import math

import numpy as np
import torch

from book.ch08 import solution
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


# --- 8.1: the front -----------------------------------------------------------------------------------------


def _points(seed):
    """A chart with ties in one number and in both, in no order: name -> (cost, error)."""
    a = uniform(seed, 0.5, 0.9)
    return {
        "e": (20, 0.4 * a),
        "c": (5, 0.7 * a),
        "same": (5, 0.7 * a),
        "dear": (40, 0.4 * a),
        "between": (8, 0.9 * a),
        "poor": (5, 0.8 * a),
        "a": (1, a),
        "near": (9, 0.85 * a),
        "b": (2, 0.95 * a),
        "lost": (50, 0.5 * a),
    }


def _scores(seed):
    """Errors on eight seeds that share most of their spread, in units that the leaders' rule can tell."""
    shared = 1 + 0.5 * np.exp(normal(seed, 8).numpy())
    scores = {}
    aways = {"far": 2.3, "close": 1.93, "closer": 1.4, "closest": 0.6}
    for stream, (name, away) in enumerate(aways.items(), 1):
        z = normal(seed, 8, stream=stream).numpy()
        z = (z - z.mean()) / z.std(ddof=1)
        scores[name] = (shared + 0.02 * (z + away / 8**0.5)).tolist()
    noise = 0.02 * normal(seed, 8, stream=9).numpy()
    scores["bad"] = (shared + 1.5 * shared.std() + noise).tolist()
    scores["wide"] = (shared + 0.5 * shared.std() + noise).tolist()
    scores["worst"] = (shared + 10 * shared.std() + noise).tolist()
    return {"far": scores["far"], "best": shared.tolist()} | scores


def _names(found, scores):
    try:
        found = [str(name) for name in found]
    except TypeError:
        raise Remark("The answer is a list of names.") from None
    if strange := sorted({*found} - {*scores}):
        raise Remark(f"Your list has {strange[0]!r}, which is no name of the chart.")
    return found


def _dots(drawn):
    """All marks of a drawing: (n, 2)."""
    seen = read_axes(drawn)
    return np.concatenate([np.stack(curve, 1) for curve in seen.curves.values()])


def _probe_front(answer, seed):
    points, scores = _points(seed), _scores(seed)
    found = _names(answer.front(dict(points)), points)
    values = {"on the front": ", ".join(sorted(found)), "front's costs": [points[name][0] for name in found]}
    values["the leaders"] = ", ".join(sorted({*_names(answer.leaders(dict(scores)), scores)}))
    values["the leaders of two"] = ", ".join(
        sorted({*_names(answer.leaders({name: scores[name] for name in ("bad", "far")}), scores)})
    )
    training = uniform(seed, 50, 100)
    paid = [answer.pays_from(training, *seconds) for seconds in ((0.03, 0.002), (0.01, 0.01), (0.01, 0.02))]
    if any(one is None for one in paid):
        raise Remark("pays_from returns None: where the training never pays, the number is math.inf.")
    values["pays_from"], *never = map(float, paid)
    values["pays_from, where it never pays"] = "infinite" if never == [math.inf] * 2 else "a number"
    few = {name: pair for name, pair in points.items() if name != "same"}
    drawn = answer.draw(dict(few))
    seen, dots = read_axes(drawn), _dots(drawn)
    values["x scale, y scale"] = f"{seen.xscale}, {seen.yscale}"
    values["axes labelled"] = "yes" if seen.xlabel and seen.ylabel else "no"
    wanted = np.array(list(few.values()))
    there = (np.abs(dots[:, None] / wanted - 1) < 1e-6).all(2).any(0)
    values["samplers that are dots"] = float(there.sum())
    lines = {label.strip().casefold(): x for label, (x, _) in seen.lines.items()}
    ((x, y),) = error_lines(seen, "front", count=None).values()
    if "front" not in lines:
        raise Remark("The front is to be a line, and yours are dots without one.")
    values["the line's costs"], values["the line's errors"] = x, y
    rises = np.diff(lines["front"])
    values["the line goes by cost"] = "yes" if (rises > 0).all() or (rises < 0).all() else "no"
    return values


_SAMPLES = 90 / (19 * 0.0004)


def _front_facts(answer, seed):
    return right_numbers(answer, 5e-3, relative=True, samples=_SAMPLES)


def _staircase(points):
    """The front by best error so far, which keeps the first of two with the same pair."""
    best, found = math.inf, []
    for name in sorted(points, key=lambda name: points[name]):
        if points[name][1] < best:
            best = points[name][1]
            found.append(name)
    return found


def _neighbours(points):
    order = sorted(points, key=lambda name: points[name])
    return [name for i, name in enumerate(order) if i == 0 or points[name][1] < points[order[i - 1]][1]]


def _ranges(scores):
    best = min(scores, key=lambda name: np.mean(scores[name]))
    return [name for name in scores if min(scores[name]) <= max(scores[best])]


def _two_errors(scores):
    """Standard errors of the two means by themselves."""
    best = min(scores, key=lambda name: np.mean(scores[name]))
    error = {name: np.std(scores[name], ddof=1) ** 2 / len(scores[name]) for name in scores}
    apart = {name: np.mean(scores[name]) - np.mean(scores[best]) for name in scores}
    return [name for name in scores if name == best or apart[name] < 2 * math.sqrt(error[name] + error[best])]


_BETTER = "c <= cost and e <= error and (c < cost or e < error)"
_LINE = "[points[name] for name in front(points)]"
_SPREAD = "2 * apart.std() / math.sqrt(len(apart))"

FRONT = Task(
    id="8.1",
    title="The front, its ties, and the bill",
    kind="figure",
    difficulty=1,
    minutes=35,
    points=5,
    ids=("T49", "T59"),
    names=("front", "draw", "leaders", "pays_from", "samples"),
    probe=_probe_front,
    facts=_front_facts,
    reference={
        "front": solution.front,
        "draw": solution.draw,
        "leaders": solution.leaders,
        "pays_from": solution.pays_from,
        "samples": _SAMPLES,
    },
    asks={
        "on the front": "Take each name that you keep and look for one that is at least as good in both "
        "numbers and better in one; and each that you leave out. Are all cases right, ties as well?",
        "front's costs": "The names are right. In which order are they to be?",
        "the leaders": "Take the differences to the best one seed by seed: their mean, and their standard "
        "deviation over √n. Which names are within two of those?",
        "samplers that are dots": "Every sampler of the chart is to be a dot; {value} of yours are.",
        "the line's costs": "Only those on the front lie on the line, each once. Are all of them there?",
        "the line goes by cost": "Your line goes to and fro: in which order does it meet the samplers?",
        "samples": "How many seconds does a sample take before and after? A millisecond is 0.001 of one.",
    },
    mistakes=(
        Mistake(
            _wrong("front", (_BETTER, "c < cost and e < error")),
            "You leave out only those that are beaten in both numbers. What of one with an equal cost and a "
            "larger error?",
        ),
        Mistake(
            _wrong("front", (_BETTER, "c <= cost and e < error")),
            "You keep one that costs more and has the same error. Who would take it?",
        ),
        Mistake(
            _wrong("front", (_BETTER, "c < cost and e <= error")),
            "You keep one with the same cost and a larger error. Who would take it?",
        ),
        Mistake(
            {"front": _staircase},
            "Of two with the same pair of numbers you keep one. Neither is better than the other.",
        ),
        Mistake(
            {"front": _neighbours},
            "You compare each with its neighbour in cost. It has to be better than *all* cheaper ones.",
        ),
        Mistake(
            _wrong("front", (_BETTER, "c >= cost and e >= error and (c > cost or e > error)")),
            "Your front is on the wrong side: the smaller, the better.",
        ),
        Mistake(
            _wrong("front", (_BETTER, "(c, e) != (cost, error) and e <= error")),
            "You keep the smallest error only. Those that cost less are on the front as well.",
        ),
        Mistake(
            _wrong("front", ("sorted(found, key=lambda name: points[name])", "found")),
            "The names are right, in the order of the chart. By what are they to be ordered?",
        ),
        Mistake(
            _wrong("leaders", (_SPREAD, "2 * apart.std()")),
            "That is the spread of the single seeds. How far may a mean of n of them be off?",
        ),
        Mistake(
            _wrong("leaders", (_SPREAD, "apart.std() / math.sqrt(len(apart))")),
            "You allow one standard error. The rule says two.",
        ),
        Mistake(
            _wrong("leaders", ("apart.std()", "apart.std(correction=0)")),
            "Your standard deviation divides by n. With n − 1, as the rule has it, one more ties.",
        ),
        Mistake(
            {"leaders": _two_errors},
            "You take the two spreads apart, where the seeds are the same. What do the differences, seed by "
            "seed, have as their deviation?",
        ),
        Mistake(
            {"leaders": _ranges},
            "You ask whether the ranges overlap. What all samplers share on a seed is in both ranges, and in "
            "no difference.",
        ),
        Mistake(
            _wrong("leaders", ("        if name != best and", "        if False and")),
            "You name the best one alone. Who ties with it?",
        ),
        Mistake(
            _wrong("leaders", ("best = min(", "best = max(")),
            "Your best one has the largest mean.",
        ),
        Mistake(
            _wrong("pays_from", ("(slow - fast)", "slow")),
            "You forget that the samples still cost something after the training.",
        ),
        Mistake(
            _wrong("pays_from", (" if fast < slow else math.inf", " if fast != slow else math.inf")),
            "Where a sample costs no less after the training, yours is a number. When has it paid then?",
        ),
        Mistake(
            _wrong("draw", ('xscale="log", ', "")),
            "The horizontal axis is linear: one call and two are to be as far apart as ten and twenty.",
        ),
        Mistake(
            _wrong("draw", ('yscale="log", ', "")),
            "The vertical axis is linear. Which one was asked for?",
        ),
        Mistake(
            _wrong("draw", ('xlabel="calls of the network", ', "")),
            "Nothing on your horizontal axis says what is counted: name both axes.",
        ),
        Mistake(
            _wrong("draw", ('    ax.scatter(*zip(*points.values()), color="0.6", label="all")\n', "")),
            "Only the front is in your figure. Those that are beaten belong to it, too.",
        ),
        Mistake(
            _wrong("draw", (_LINE, "sorted(points.values())")),
            "Your line goes through all samplers. Which of them are on the front?",
        ),
        Mistake(
            {"samples": 90 / (19 * 0.4)},
            "0.4 are milliseconds, and the training's 90 are seconds.",
        ),
        Mistake(
            {"samples": 90 / (20 * 0.0004)},
            "That is for a sample that costs nothing after the training. It takes one call.",
        ),
    ),
    hints=(
        "For each name ask whether any other one pushes it out. There are three comparisons in that "
        "question.",
        "At least as good in both, and better in one: two `<=` and one `or`. For the leaders, subtract the "
        "best one's list from the other's before you take any mean or deviation.",
        "A double loop with `any` does for the front, sorted at the end by the pair. The standard error is "
        "the differences' deviation, with n − 1, over the root of the number of seeds.",
    ),
)

# --- 8.2: steps that follow the sample ----------------------------------------------------------------------


def _noises(seed, like, stream):
    """A function that draws standard normals like this, a new one each time."""
    count = iter(range(stream, stream + 10_000))
    return lambda: normal(seed, *like.shape, stream=next(count))


def _probe_adaptive(answer, seed):
    x, asked = 1 + 1.5 * normal(seed, 5, 2), []
    point = uniform(seed, 0.5, 2.0)

    def eps(x, t):
        asked.append(float(t))
        return torch.sin(2 * x + 3 * t) + 0.2 * x

    silent = lambda: torch.zeros_like(x)  # noqa: E731
    values = {
        "where nothing is predicted, without noise": answer.adaptive(lambda x, t: 0 * x, x, 0.7, silent)
    }
    end = answer.adaptive(eps, x, 0.3, silent)
    values |= {"calls, without noise": len(asked), "last time asked": asked[-1]}
    values["state, without noise"] = end
    values["state"] = answer.adaptive(eps, x, uniform(seed, 0.1, 0.25), _noises(seed, x, 1))
    away = lambda x, t: (x - point) / (1 + t)  # noqa: E731
    values["state of another model"] = answer.adaptive(away, x, 0.15, _noises(seed, x, 900))
    return values


_SIGNAL_ENDS = 0.9 / 19.9


def _adaptive_facts(answer, seed):
    values = right_numbers(answer, 5e-3, relative=True, signal_ends=_SIGNAL_ENDS)
    values |= right_words(answer, ("bar", "time", "noise"), unseen=solution.unseen)
    return values | right_words(answer, ("mean", "start", "calls"), sees_it=solution.sees_it)


_BAR = ("math.sqrt(1 - bar(t))", "math.sqrt(1 - (1 - beta(t)))")
_TWICE = ("        sigma = ", "        t = t - step\n        sigma = ")
_SIZE = ("math.sqrt(beta(t) * step) * noise()", "math.sqrt(beta(t)) * step * noise()")

ADAPTIVE = Task(
    id="8.2",
    title="Find the bug: steps that follow the sample",
    kind="find-the-bug",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("BP27", "P24"),
    names=("adaptive", "signal_ends", "unseen", "sees_it"),
    probe=_probe_adaptive,
    facts=_adaptive_facts,
    reference={
        "adaptive": solution.adaptive,
        "signal_ends": _SIGNAL_ENDS,
        "unseen": solution.unseen,
        "sees_it": solution.sees_it,
    },
    asks={
        "where nothing is predicted, without noise": "With ε = 0 and no noise a step only multiplies x by "
        "1 + Δβ(t)/2. Does yours, at the times at which the steps begin?",
        "calls, without noise": "One call a step: yours makes {value}. Do the steps add up to 1 − end?",
        "last time asked": "The last step begins at another time than your {value}: print the times.",
        "state": "Without noise it is right. Which variance has the noise of a step of length Δ?",
        "signal_ends": "The listing takes 1 − β(t) for ᾱ. At which t is that 0?",
    },
    mistakes=(
        Mistake(
            _wrong("adaptive", _BAR, _TWICE, _SIZE),
            "This is the listing as it was given.",
            as_given=True,
        ),
        Mistake(
            _wrong("adaptive", _TWICE, _SIZE),
            "σ is right now. Follow the clock through one round, and look at the variance of the noise.",
        ),
        Mistake(
            _wrong("adaptive", _BAR, _SIZE),
            "The clock is right now. What is 1 − β(t), and which variance has the noise?",
        ),
        Mistake(
            _wrong("adaptive", _BAR, _TWICE),
            "The noise is right now. What is 1 − β(t), and how often does t move in a round?",
        ),
        Mistake(
            _wrong("adaptive", _BAR),
            "One is left: what stands in the place of ᾱ(t)? β goes up to 20.",
        ),
        Mistake(
            _wrong("adaptive", _TWICE),
            "One is left: follow t through one round. How far does it move, and how long is the step?",
        ),
        Mistake(
            _wrong("adaptive", _SIZE),
            "One is left: a variance of β Δ is wanted. Which deviation is that?",
        ),
        Mistake(
            _wrong(
                "adaptive",
                _TWICE,
                ("t, before = t - step, guess", "before = guess"),
            ),
            "The clock moves once now, but before it is used: β and σ belong to the time at which the step "
            "begins.",
        ),
        Mistake(
            _wrong("adaptive", ("t, before = t - step, guess", "t = t - step")),
            "Your step is always the first one, 0.02: does `before` change from round to round?",
        ),
        Mistake(
            _wrong("adaptive", ("min(step_after(guess, before), t - end)", "step_after(guess, before)")),
            "Your last step goes beyond `end`.",
        ),
        Mistake(
            _wrong("adaptive", ("math.sqrt(1 - bar(t))", "math.sqrt(bar(t))")),
            "That is the signal's factor. By what is the noise in x multiplied?",
        ),
        Mistake(
            _wrong("adaptive", ("math.sqrt(1 - bar(t))", "(1 - bar(t))")),
            "That is the variance of the noise in x; σ is its deviation.",
        ),
        Mistake(
            _wrong("adaptive", ("(x / 2 - guess / sigma)", "(x / 2 - guess / sigma / 2)")),
            "Half of the score is the flow's. The SDE, which adds noise, has all of it.",
        ),
        Mistake(
            {"signal_ends": 1 / 19.9},
            "β begins at 0.1, and not at 0.",
        ),
        Mistake(
            {"signal_ends": 0.9 / 20},
            "β(t) = 0.1 + 19.9 t: solve β(t) = 1.",
        ),
        Mistake(
            {"unseen": "bar"},
            "Then σ is the root of β, up to 4.5, in the place of at most 1. What does a step multiply x by?",
        ),
        Mistake(
            {"unseen": "noise"},
            "The noise of a step is then too small by the root of its length. Does the variance stay 1?",
        ),
        Mistake(
            {"sees_it": "start"},
            "Try it: both walks forget where they began. Which data have not the same law at every time?",
        ),
        Mistake(
            {"sees_it": "calls"},
            "The listing also makes one call in each round. What is wrong is what the rounds do to t.",
        ),
    ),
    hints=(
        "Follow each quantity through one round with numbers: t = 1, Δ = 0.02. Which values do t, σ and the "
        "noise's deviation take?",
        "The helper for ᾱ stands above the listing. t is to move once, after everything that belongs to the "
        "start of the step. The words: mend two of the three, and run the two tests on a few thousand "
        "samples.",
        "A variance of β Δ has the root of the whole product as its deviation. On N(0, 1) a step with any "
        "β keeps the variance as long as factor and noise belong together: which mistake leaves that so?",
    ),
)

# --- 8.3: noise early or late -------------------------------------------------------------------------------


def _counted(eps):
    """eps, and a list of the levels that it was asked for."""
    asked = []

    def call(x, s, *more):
        asked.append(float(s))
        return eps(x, s, *more)

    return call, asked


def _bent(x, s):
    """Some smooth function of a state and a level."""
    return torch.sin(x + s) + 0.1 * x


def _probe_eta(answer, seed):
    x, levels = 2 + 3 * normal(seed, 4, 2), [5.0, 4.4, uniform(seed, 3.7, 3.9), 3.3]
    noises = [normal(seed, 4, 2, stream=k) for k in (1, 2, 3)]
    call, asked = _counted(_bent)
    values = {
        "state, eta = 0": answer.eta_walk(call, x, levels, [0.0] * 3, noises),
        "calls of 3 steps": len(asked),
        "state, eta = 1": answer.eta_walk(_bent, x, levels, [1.0] * 3, noises),
        "state, eta from 0.9 to 0.2": answer.eta_walk(_bent, x, levels, [0.9, 0.5, 0.2], noises),
    }
    zero = torch.zeros(200, 1, dtype=torch.float64)
    bell = lambda x, s: s * x / (4 + s**2)  # noqa: E731
    one = answer.eta_walk(bell, zero, [3.0, 2.6], [0.6], [torch.ones_like(zero)])
    return values | {"size of the fresh noise": one[0, 0].item()}


_STDS = {
    "std_plain": 0.0716234427,
    "std_published": 0.0716057905,
    "std_turned": 0.0662485861,
    "std_full": 0.0633323601,
}  # the solution computes them anew
_REMEMBERED = 0.0055714225


def _eta_facts(answer, seed):
    values = right_words(answer, ("early", "late"), published=solution.published)
    values |= right_numbers(answer, 5e-3, relative=True, **_STDS)
    return values | right_numbers(answer, 0.03, relative=True, remembered=_REMEMBERED)


_C = "eta * e / s * math.sqrt(s**2 - e**2)"

ETA = Task(
    id="8.3",
    title="Noise early, noise late",
    kind="implement-sampler",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("BS25", "S24"),
    names=("eta_walk", "published", "std_plain", "std_published", "std_turned", "std_full", "remembered"),
    probe=_probe_eta,
    facts=_eta_facts,
    reference={
        "eta_walk": solution.eta_walk,
        "published": solution.published,
        **_STDS,
        "remembered": _REMEMBERED,
    },
    asks={
        "state, eta = 0": "Without noise a step is Euler's, x + (e − s) ε. Is yours?",
        "calls of 3 steps": "Three steps are three calls; yours makes {value}.",
        "size of the fresh noise": "From x = 0 with z = 1, where ε(0) = 0, the state is c itself, from "
        "level 3 to 2.6 with η = 0.6. Yours is {value}.",
        "std_plain": "The start has the variance 0.08² + 20². Multiply it by the square of each step's "
        "factor: is that your number's square?",
        "std_full": "In each step the variance is multiplied by a square, and c² is added. Is yours?",
        "remembered": "Let the nine first parts (the start, eight noises) go on through the later steps, and "
        "leave out the noises after them. Divide by the whole variance.",
    },
    mistakes=(
        Mistake(
            _wrong("eta_walk", ("math.sqrt(e**2 - c**2)", "e")),
            "You add fresh noise and take no old noise away: the sample ends at a higher level than e.",
        ),
        Mistake(
            _wrong("eta_walk", (_C, "eta * math.sqrt(s**2 - e**2)")),
            "Your c lacks the factor e/s. It is the posterior's deviation, not that of the noise in between.",
        ),
        Mistake(
            _wrong("eta_walk", (_C, "eta * s / e * math.sqrt(s**2 - e**2) if e else 0.0")),
            "Your c has the quotient of the two levels upside down: can fresh noise be larger than the level "
            "at which the step ends?",
        ),
        Mistake(
            _wrong("eta_walk", (_C, "eta * e / s * (s - e)")),
            "Levels add up as variances: what stands under the root?",
        ),
        Mistake(
            _wrong("eta_walk", ("math.sqrt(e**2 - c**2)", "(e - c)")),
            "You take c off the level e. Which level is left where the variance c² is taken off e²?",
        ),
        Mistake(
            _wrong("eta_walk", (_C, "eta**2 * e / s * math.sqrt(s**2 - e**2)")),
            "You square η. In c, a deviation, it stands as it is.",
        ),
        Mistake(
            _wrong("eta_walk", (_C, "math.sqrt(eta) * e / s * math.sqrt(s**2 - e**2)")),
            "Your η multiplies the variance. In c it multiplies the deviation.",
        ),
        Mistake(
            _wrong("eta_walk", ("levels[1:], etas,", "levels[1:], etas[::-1],")),
            "You use `etas` from its end.",
        ),
        Mistake(
            _wrong("eta_walk", ("levels[1:], etas,", "levels[1:], [etas[0]] * len(etas),")),
            "You use the first η in every step.",
        ),
        Mistake(
            _wrong("eta_walk", ("[1:], etas, noises)", "[1:], etas, [noises[0]] * len(noises))")),
            "You use the first noise in every step; each has its own.",
        ),
        Mistake(
            _wrong("eta_walk", ("- s) * eps(x, s) + c * z", "- s) * eps(x, s) + eta * z")),
            "You add η z. What is the size of the fresh noise?",
        ),
        Mistake(
            _wrong("eta_walk", ("eps(x, s)", "eps(x, e)")),
            "You ask at the level where the step ends. The state is at s.",
        ),
        Mistake(
            {"published": "late", "std_published": _STDS["std_turned"], "std_turned": _STDS["std_published"]},
            "A run begins at t = T. What is (t/T)² there?",
        ),
        Mistake(
            {"std_published": _STDS["std_turned"], "std_turned": _STDS["std_published"]},
            "The two are exchanged: in the first step, k = 0, the formula's η is 1.",
        ),
        Mistake(
            {"published": "late"},
            "The formula's t is that of the process, which has its data at t = 0. Where does a run begin?",
        ),
        Mistake(
            {name: value**2 for name, value in _STDS.items()},
            "Those are the variances.",
        ),
        Mistake(
            {"remembered": math.sqrt(_REMEMBERED)},
            "That is the share of the deviation. The variance's is asked for.",
        ),
        Mistake(
            {"remembered": 1 - _REMEMBERED},
            "That is what the later noises contribute. And the earlier ones?",
        ),
        Mistake(
            {"std_plain": math.hypot(0.08, 0.02)},
            "That is what an exact flow would make. Sixteen steps are not exact: what do they make?",
        ),
    ),
    hints=(
        "A step is one line for c and one for x. For the deviations, a step multiplies the state by a number "
        "and adds c z: what does that do to the variance?",
        "ε is a multiple of x on the narrow mode: the factor is 1 + (√(e² − c²) − s) s/(0.08² + s²). In time "
        "a run begins at t = T; the list over k begins there, too.",
        "Variance after a step: factor squared times variance, plus c squared. Keep the contributions in a "
        "list, each multiplied along, and the last one added: the sum of the first nine is what is asked "
        "for last.",
    ),
)

# --- 8.4: guidance in one call ------------------------------------------------------------------------------


def _labelled(seed, classes):
    """A network of labels, and a list of the numbers of rows that it was asked for."""
    weight, asked = normal(seed, classes, 3, stream=7), []

    def net(x, s, label):
        asked.append(len(x))
        label = torch.as_tensor(label)
        if label.ndim != 1 or len(label) != len(x):
            raise Remark(f"net takes a label for each row: {len(x)} rows, labels {tuple(label.shape)}.")
        return torch.sin(x + s) + weight[label] * (1 + 0.3 * x**2)

    return net, asked


def _probe_guided(answer, seed):
    x, w = 0.5 + normal(seed, 5, 3), uniform(seed, 1.5, 4.0)
    label = torch.tensor([2, 0, 1, 2, 3])
    net, asked = _labelled(seed, 5)
    values = {"w = 1, all levels": answer.guided(net, x, 0.8, label, 1.0, 4)}
    values["w = 0, all levels"] = answer.guided(net, x, 0.8, label, 0.0, 4)
    asked.clear()
    values["inside"] = answer.guided(net, x, 0.8, label, w, 4, 0.2, 2.0)
    values["calls inside"], values["rows inside"] = len(asked), sum(asked)
    asked.clear()
    values["above"] = answer.guided(net, x, 3.0, label, w, 4, 0.2, 2.0)
    values["calls above"], values["rows above"] = len(asked), sum(asked)
    for name, level in (("below", 0.1), ("at the low end", 0.2), ("at the high end", 2.0)):
        values[name] = answer.guided(net, x, level, label, w, 4, 0.2, 2.0)
    u = torch.tensor([0.05, 0.75, 0.15, 0.5, 0.25, 0.95, 0.35, 0.1, 0.85, 0.6], dtype=torch.float64)
    labels = torch.tensor([3, 1, 0, 2, 2, 1, 0, 3, 0, 1])
    for p in (0.3, 0.0, 1.0):
        values[f"labels, p = {p:g}"] = torch.as_tensor(answer.dropped(labels, u, p, 7)).double()
    return values


def _guided_facts(answer, seed):
    return right_numbers(answer, 1e-6, rows=_ROWS, theirs=solution.theirs, networks=solution.networks)


_ROWS = 25  # the solution counts them anew

_MIX = "free + w * (given - free)"
_INSIDE = "not low < s <= high"

GUIDED = Task(
    id="8.4",
    title="Guidance in one call",
    kind="implement-equation",
    difficulty=1,
    minutes=25,
    points=4,
    ids=("C34", "BS36", "S33"),
    names=("guided", "dropped", "rows", "theirs", "networks"),
    probe=_probe_guided,
    facts=_guided_facts,
    reference={
        "guided": solution.guided,
        "dropped": solution.dropped,
        "rows": _ROWS,
        "theirs": solution.theirs,
        "networks": solution.networks,
    },
    asks={
        "w = 1, all levels": "With w = 1 guidance is the answer with the label. Is yours?",
        "w = 0, all levels": "With w = 0 it is the answer without a label. Is yours?",
        "calls inside": "One call is asked for, with all rows in one batch; yours makes {value}.",
        "rows inside": "Five samples are ten rows where guidance acts; yours are {value}.",
        "calls above": "Outside, one call with the labels; yours makes {value}.",
        "rows above": "Outside, five samples are five rows; yours are {value}: is the other half needed?",
        "rows": "Euler calls at each of the 20 levels but the last. At how many of those is 0.3 < s ≤ 3?",
        "labels, p = 0.3": "Each label is decided by its own u: are yours?",
        "networks": "Which networks does training on `dropped` labels need?",
        "theirs": "Sort both formulas by ε_label: which factor has it in ours, and which in theirs?",
    },
    mistakes=(
        Mistake(
            _wrong("guided", (_MIX, "given + w * (given - free)")),
            "That is Ho and Salimans's w. With ours, w = 1 is the answer with the label.",
        ),
        Mistake(
            _wrong("guided", (_MIX, "given + w * (free - given)")),
            "You go from the answer with the label towards the one without. Are the two terms exchanged, or "
            "the halves of your batch?",
        ),
        Mistake(
            _wrong("guided", (_MIX, "w * (given - free)")),
            "You add the difference to nothing. From which answer does guidance start?",
        ),
        Mistake(
            _wrong(
                "guided",
                (
                    "net(torch.cat([x, x]), s, torch.cat([label, torch.full_like(label, null)]))",
                    "torch.cat([net(x, s, label), net(x, s, torch.full_like(label, null))])",
                ),
            ),
            "Two calls are made where one is asked for: put the two batches into one.",
        ),
        Mistake(
            _wrong(
                "guided",
                (f"    if {_INSIDE}:\n        return net(x, s, label)\n", ""),
                (_MIX, f"given if {_INSIDE} else {_MIX}"),
            ),
            "Outside you ask for 2B rows and throw half of them away. That half is what the interval saves.",
        ),
        Mistake(
            _wrong("guided", (f"    if {_INSIDE}:\n        return net(x, s, label)\n", "")),
            "You guide on all levels. What is done outside of low < s ≤ high?",
        ),
        Mistake(
            _wrong(
                "guided",
                (
                    "        return net(x, s, label)\n",
                    "        return net(x, s, torch.full_like(label, null))\n",
                ),
            ),
            "Outside, the answer *with* the label is taken; yours is the one without.",
        ),
        Mistake(
            _wrong("guided", (_INSIDE, "not low <= s < high")),
            "At the two ends: low itself lies outside, and high inside.",
        ),
        Mistake(
            _wrong("guided", (_INSIDE, "not low < s < high")),
            "At s = high guidance still acts.",
        ),
        Mistake(
            _wrong("guided", (_INSIDE, "not low <= s <= high")),
            "At s = low guidance does not act any more.",
        ),
        Mistake(
            _wrong("guided", (_INSIDE, "low < s <= high")),
            "Inside and outside are exchanged.",
        ),
        Mistake(
            _wrong("dropped", ("u < p", "u > p")),
            "You keep a label with probability p. It is dropped with p.",
        ),
        Mistake(
            _wrong("dropped", ("torch.where(u < p, null, label)", "label[u >= p]")),
            "Your batch becomes shorter. A dropped label is replaced by null, and its picture stays.",
        ),
        Mistake(
            _wrong("dropped", ("null, label", "0, label")),
            "A dropped label becomes class 0 with you. Which label stands for none?",
        ),
        Mistake({"rows": 40}, "That is with guidance on all levels."),
        Mistake({"rows": 5}, "That is the number of guided calls. How many rows has the whole run?"),
        Mistake(
            {"rows": 26},
            "One too many: does the run call the network at its last level?",
        ),
        Mistake({"rows": 10}, "Those are the rows of the guided calls. The others cost something as well."),
        Mistake({"theirs": 4}, "With w' = 4 their factor of ε_label is 5. Which is ours?"),
        Mistake({"theirs": 5}, "The other way: their factor of ε_label is 1 + w'."),
        Mistake(
            {"networks": 2},
            "What is `dropped` for? What does a network learn that sees some pictures without their label?",
        ),
    ),
    hints=(
        "Two answers on the same x are one answer on x stacked on itself. What has to be stacked beside it?",
        "torch.cat puts the batches one above the other, .chunk(2) parts the answer. First of all ask "
        "whether s lies inside: there is a strict and a weak comparison.",
        "The second half's labels are all `null`, as many as there are samples. torch.where chooses between "
        "`null` and the label by a comparison of u with p.",
    ),
)

# --- 8.5: what guidance samples -----------------------------------------------------------------------------

_S_ALL, _S_OWN = "(-x/(D**2 + k**2))", "(-(x - m)/(d**2 + k**2))"
_SCORE = f"(1 - w)*{_S_ALL} + w*{_S_OWN}"
_PRECISION = "((1 - w)/D**2 + w/d**2)"
_TILTED_MEAN, _TILTED_STD = f"w*m/d**2/{_PRECISION}", f"{_PRECISION}**(-1/2)"


def _probe_tilt(answer, seed):
    own = dict(m=(0.5, 2.0), d=(0.3, 0.9), D=(1.0, 2.0))
    size = dict(d=(0.3, 0.9), D=(1.0, 2.0), w=(1.0, 4.0))
    return named_expressions(
        answer,
        seed,
        2,
        guided_score=own | dict(x=(-2.0, 3.0), k=(0.2, 3.0), w=(1.0, 4.0)),
        tilted_mean=own | dict(w=(1.0, 4.0)),
        tilted_std=size,
        guided_std=size,
        guided_mean=own,
    )


def _tilt_facts(answer, seed):
    return right_words(answer, ("guided", "tilted"), narrower=solution.narrower)


TILT = Task(
    id="8.5",
    title="What guidance samples",
    kind="coefficient",
    difficulty=3,
    minutes=40,
    points=6,
    ids=("BS36", "C34"),
    names=("guided_score", "tilted_mean", "tilted_std", "guided_std", "guided_mean", "narrower"),
    probe=_probe_tilt,
    facts=_tilt_facts,
    reference={
        "guided_score": _SCORE,
        "tilted_mean": _TILTED_MEAN,
        "tilted_std": _TILTED_STD,
        "guided_std": "D**(1 - w)*d**w",
        "guided_mean": "m*(D**2 + 2*d**2)/D**2",
        "narrower": solution.narrower,
    },
    mistakes=(
        Mistake(
            {"guided_score": f"{_S_ALL} + w*{_S_OWN}"},
            "Your two weights do not sum to 1: at w = 1 it is to be the label's score alone.",
        ),
        Mistake(
            {"guided_score": f"{_S_OWN} + w*({_S_OWN} - {_S_ALL})"},
            "That is Ho and Salimans's w. In this task w = 1 is the label's score.",
        ),
        Mistake(
            {"guided_score": f"w*{_S_ALL} + (1 - w)*{_S_OWN}"},
            "The weights are exchanged: at w = 1 which score is it to be?",
        ),
        Mistake(
            {"guided_score": f"-({_SCORE})"},
            "The sign: a score points towards where the density is higher.",
        ),
        Mistake(
            {"guided_score": "-(1 - w)*x/D**2 - w*(x - m)/d**2"},
            "That is at level 0. Which variances have the noisy densities?",
        ),
        Mistake(
            {"guided_score": "-(1 - w)*x/(D + k)**2 - w*(x - m)/(d + k)**2"},
            "Deviations do not add up; variances do.",
        ),
        Mistake(
            {"tilted_mean": "w*m"},
            "That would be the mean if the deviations were alike. Complete the square in the exponent.",
        ),
        Mistake(
            {"tilted_mean": "m"},
            "That is the label's own mean. Where do p(x)^(1 − w) push it?",
        ),
        Mistake(
            {"tilted_mean": f"m/d**2/{_PRECISION}"},
            "The label's precision counts w times, above the line as well.",
        ),
        Mistake(
            {"tilted_std": _PRECISION},
            "That is the precision. What is the deviation of a Gaussian with it?",
        ),
        Mistake(
            {"tilted_std": f"1/{_PRECISION}"},
            "That is the variance.",
        ),
        Mistake(
            {"tilted_std": "D**(1 - w)*d**w"},
            "You combine the deviations. In the exponent of a product of Gaussians, what is added?",
        ),
        Mistake(
            {"tilted_std": "sqrt((1 - w)*D**2 + w*d**2)"},
            "You combine the variances. In the exponent of a product of Gaussians, what is added?",
        ),
        Mistake(
            {"guided_std": _TILTED_STD},
            "That is the tilted density's, which guidance is *said* to sample. Solve the flow.",
        ),
        Mistake(
            {"guided_std": "D**(2 - 2*w)*d**(2*w)"},
            "That is the square of it.",
        ),
        Mistake(
            {"guided_std": "D**w*d**(1 - w)"},
            "The exponents are exchanged: at w = 1 the label's deviation comes out.",
        ),
        Mistake(
            {"guided_std": "(1 - w)*D + w*d"},
            "The exponents of a power have become factors: integrate k/(D² + k²) once more.",
        ),
        Mistake(
            {"guided_std": "d"},
            "That is w = 1, the label's own deviation.",
        ),
        Mistake(
            {"guided_mean": _TILTED_MEAN.replace("w", "3")},
            "That is the tilted density's mean at w = 3. Guidance's follows from the flow.",
        ),
        Mistake(
            {"guided_mean": "3*m"},
            "That is the label's mean times w. At which level would all of it be felt?",
        ),
        Mistake(
            {"guided_mean": "m"},
            "That is w = 1, the label's own mean.",
        ),
        Mistake(
            {"guided_mean": "m*(D**2 + 2*d**2)/(3*D**2)"},
            "The factor w in front of the integral is missing.",
        ),
        Mistake(
            {"guided_mean": "m*(D**2 - 2*d**2)/D**2"},
            "A sign in your integral: for d → D all is the label's, and 3 m comes out.",
        ),
        Mistake(
            {"narrower": "tilted"},
            "Put w = 2, d = 1/2, D = 1 into both deviations.",
        ),
    ),
    hints=(
        "A product of powers of Gaussians has an exponent that is quadratic: its coefficients are the "
        "precision, and the precision times the mean. The flow is linear in x, so that it is solved by one "
        "exponential and one integral.",
        "∫ k/(D² + k²) dk is half a logarithm. What a difference of two trajectories is multiplied by has "
        "its limit at K → ∞ together with the deviation K of the start.",
        "Divide x by the homogeneous solution: what is left has a derivative without x in it. For w = 3 its "
        "integral over k from 0 to ∞ is elementary in u = k², or in r² = (D² − d²)/(d² + u).",
    ),
)

# --- 8.6: inpainting ----------------------------------------------------------------------------------------


def _probe_repaint(answer, seed):
    x, levels = 4 * normal(seed, 3, 4), [4.0, 2.0, uniform(seed, 0.7, 1.3), 0.3]
    known, mask = 1 + normal(seed, 4, stream=1), torch.tensor([True, False, True, False])
    net = lambda x, s: torch.tanh(x.roll(1, dims=1) - 0.3 * s) + x / (1 + s**2)  # noqa: E731
    free = torch.zeros(4, dtype=torch.bool)
    run = lambda mask, repeats, noise: answer.repaint(net, x, known, mask, levels, repeats, noise)  # noqa: E731
    silent = lambda: torch.zeros_like(x)  # noqa: E731
    call, asked = _counted(net)
    values = {"nothing known, without noise": run(free, 1, silent)}
    values["two known, without noise"] = run(mask, 1, silent)
    values["nothing known, once"] = run(free, 1, _noises(seed, x, 10))
    values["two known, once"] = run(mask, 1, _noises(seed, x, 30))
    values["two known, three times each"] = answer.repaint(
        call, x, known, mask, levels, 3, _noises(seed, x, 50)
    )
    return values | {"calls, three times each": len(asked)}


_MEANS = {"mean_once": 1.1733309335, "mean_twenty": 1.6641246891}  # the solution computes them anew


def _repaint_facts(answer, seed):
    values = right_numbers(answer, 2e-3, relative=True, mean_exact=1.7)
    values |= right_numbers(answer, 3e-3, relative=True, **_MEANS)
    return values | right_words(answer, ("mean", "deviation", "both"), shows_in=solution.shows_in)


_PUT = "known + e * noise()"
_UP = "x + math.sqrt(s**2 - e**2) * noise()"
_PUT_EARLY, _UP_SHORT = (_PUT, "known + s * noise()"), (_UP, "x + (s - e) * noise()")

REPAINT = Task(
    id="8.6",
    title="Find the bug: the known half",
    kind="find-the-bug",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("BP29", "P26", "C35"),
    names=("repaint", "mean_exact", "mean_once", "mean_twenty", "shows_in"),
    probe=_probe_repaint,
    facts=_repaint_facts,
    reference={
        "repaint": solution.repaint,
        "mean_exact": 1.7,
        **_MEANS,
        "shows_in": solution.shows_in,
    },
    asks={
        "nothing known, without noise": "Make one step down by hand, without noise and with nothing known. "
        "Does yours come to the same?",
        "two known, without noise": "Without noise the known pixels are `known` itself after each step. Are "
        "yours?",
        "two known, once": "After a step down to e everything is at level e. At which level do you put the "
        "known pixels back?",
        "nothing known, once": "Without noise it is right. Which size has the fresh noise of a step, and is "
        "it drawn first, and anew each time?",
        "two known, three times each": "One pass is right. Before each time but the first there is a step "
        "up, and after each step down the known pixels are put back. In yours?",
        "calls, three times each": "Three steps, three times each, are nine calls; yours makes {value}.",
        "mean_exact": "The mean, plus covariance over variance times what is known above its mean.",
        "mean_once": "All noises 0, the start 0, `known` 2.5: print the second pixel at the end.",
        "mean_twenty": "As for mean_once, with repeats = 20: print the second pixel at the end.",
    },
    mistakes=(
        Mistake(
            _wrong("repaint", _PUT_EARLY, _UP_SHORT),
            "This is the listing as it was given.",
            as_given=True,
        ),
        Mistake(
            _wrong("repaint", _UP_SHORT),
            "The known pixels are right now. How much noise lies between the levels e and s?",
        ),
        Mistake(
            _wrong("repaint", _PUT_EARLY),
            "The step up is right now. At which level is the rest when the known pixels are put back?",
        ),
        Mistake(
            _wrong("repaint", (_UP, "x + s * noise()")),
            "You add the whole noise of level s to a state that has that of e already.",
        ),
        Mistake(
            _wrong("repaint", (_UP, "x + math.sqrt(s - e) * noise()")),
            "Levels are deviations. Which of their powers add up?",
        ),
        Mistake(
            _wrong("repaint", (_PUT, "known")),
            "You put the known pixels back without noise: beside the rest they are far too clean.",
        ),
        Mistake(
            _wrong("repaint", ("e**2 / s**2 * (x - clean)", "e / s * (x - clean)")),
            "Your step down keeps as much old noise as a deterministic one, and adds fresh noise to it.",
        ),
        Mistake(
            _wrong(
                "repaint",
                (" + e / s * math.sqrt(s**2 - e**2) * noise()", " + math.sqrt(s**2 - e**2) * noise()"),
            ),
            "The fresh noise of a step down has the posterior's deviation: a factor e/s is missing.",
        ),
        Mistake(
            _wrong(
                "repaint",
                ("torch.where(mask, known + e * noise(), x)", "torch.where(mask, x, known + e * noise())"),
            ),
            "You put back what is not known, and leave the rest: the mask is True where it is known.",
        ),
        Mistake(
            _wrong(
                "repaint",
                ("            if turn:\n                x = x + math.sqrt(s**2 - e**2) * noise()\n", ""),
            ),
            "Your repeats make the step from s again, with a state that is at e already. What comes before "
            "each time but the first?",
        ),
        Mistake(
            _wrong("repaint", ("            if turn:\n", "            if True:\n")),
            "You go up before the first time as well, from a state that is at s already.",
        ),
        Mistake(
            _wrong("repaint", ("range(repeats)", "range(1)")),
            "Your `repeats` do nothing.",
        ),
        Mistake(
            _wrong("repaint", ("range(repeats)", "range(repeats + 1)")),
            "You make each step once more than `repeats` says.",
        ),
        Mistake(
            {"mean_exact": 0.5 + 0.8 * 2.5},
            "The second pixel is not the first: how far is 2.5 above the first one's mean, and which share "
            "of that does the second follow?",
        ),
        Mistake(
            {"mean_exact": 0.5},
            "That is its mean where nothing is known.",
        ),
        Mistake(
            {"mean_once": _MEANS["mean_twenty"], "mean_twenty": _MEANS["mean_once"]},
            "The two are exchanged.",
        ),
        Mistake(
            {"mean_twenty": 1.7},
            "That is the exact one. Twenty repeats come near it: how near?",
        ),
        Mistake(
            {"shows_in": "mean"},
            "What do the two mistakes multiply? A run with all noises 0 does not see them.",
        ),
        Mistake(
            {"shows_in": "both"},
            "Run the listing with all noises 0 on these data: is its mean another one?",
        ),
    ),
    hints=(
        "Write beside each line of the listing the level of the state after it. Where do two parts of the "
        "picture have different ones?",
        "Noises add up by their variances: from level e to level s, which variance is missing? For the "
        "means, let noise() return zeros.",
        "After the step down everything is at e. The variance in between is s² − e², of which the listing "
        "takes something else. Both mistakes multiply a noise: what does a mean know of those?",
    ),
)

# --- 8.7: the exact posterior -------------------------------------------------------------------------------


def _gaussian(seed, d=4):
    a = normal(seed, d, d)
    mean = 1 + normal(seed, d, stream=1)
    return mean, a @ a.T / d + 0.3 * torch.eye(d, dtype=torch.float64)


def _probe_posterior(answer, seed):
    mean, covariance = _gaussian(seed)
    y = 2 * normal(seed, 4, stream=2)
    exact = torch.tensor([0.0, math.inf, 0.0, math.inf], dtype=torch.float64)
    mixed = torch.tensor([0.0, 0.7, math.inf, uniform(seed, 0.3, 1.5)], dtype=torch.float64)
    values = {}
    for name, level in (("two known", exact), ("known, noisy, untold", mixed)):
        found = answer.posterior(mean.clone(), covariance.clone(), y.clone(), level.clone())
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise Remark("posterior returns two tensors: the mean and the covariance.")
        values[f"mean, {name}"], values[f"covariance, {name}"] = found
    x, noisy = 2 * normal(seed, 3, 4, stream=3), torch.tensor([0.4, 0.7, math.inf, 1.1], dtype=torch.float64)
    for s in (0.8, 2.0):
        values[f"score at level {s:g}"] = answer.given_score(mean, covariance, y, noisy, x, s)
    around = dict(s=(0.2, 3.0), d=(0.4, 2.0))
    return values | named_expressions(answer, seed, 2, spread=around, too_weak=around)


_MIDDLE = {"middle_mean": 0.3788515894, "middle_std": 0.3751859033}  # the solution computes them anew


def _posterior_facts(answer, seed):
    return right_numbers(answer, 4e-3, relative=True, **_MIDDLE)


_INNER = "covariance[told][:, told] + torch.diag(level[told] ** 2)"

POSTERIOR = Task(
    id="8.7",
    title="The exact posterior, a judge",
    kind="number",
    difficulty=2,
    minutes=35,
    points=5,
    ids=("C35", "S37", "P26"),
    names=("posterior", "given_score", "spread", "too_weak", "middle_mean", "middle_std"),
    probe=_probe_posterior,
    facts=_posterior_facts,
    reference={
        "posterior": solution.posterior,
        "given_score": solution.given_score,
        "spread": "s**2*d**2/(s**2 + d**2)",
        "too_weak": "(s**2 + d**2)/d**2",
        **_MIDDLE,
    },
    asks={
        "mean, two known": "Where a pixel is known exactly, the mean is its value. Is yours?",
        "covariance, two known": "A pixel that is known has no variance left, and no covariance. In yours?",
        "mean, known, noisy, untold": "Where all that is told is exact it is right. What does N add?",
        "covariance, known, noisy, untold": "Where all that is told is exact it is right. What does N add?",
        "score at level 0.8": "Given y, the noisy x is the sum of two independent Gaussians: which mean, "
        "which covariance?",
        "middle_mean": "y = (2, anything, −2), levels (0, ∞, 0.5): is your number the mean's second entry?",
        "middle_std": "Is your number the root of the covariance's entry in the middle?",
    },
    mistakes=(
        Mistake(
            _wrong("posterior", ("level[told] ** 2", "level[told]")),
            "N holds variances; ℓ is a deviation.",
        ),
        Mistake(
            _wrong("posterior", (_INNER, "covariance[told][:, told]")),
            "You take all that is told for exact. What do the ℓ do?",
        ),
        Mistake(
            _wrong("posterior", ("gain @ (y - mean)[told]", "gain @ y[told]")),
            "The gain multiplies how far y is from its *mean*.",
        ),
        Mistake(
            _wrong("posterior", ("return mean + gain", "return gain")),
            "The mean is missing: if y is what was expected, nothing moves.",
        ),
        Mistake(
            _wrong("posterior", ("covariance - gain @ covariance[told]", "covariance")),
            "Your covariance is the one before anything is told.",
        ),
        Mistake(
            _wrong("posterior", ("covariance - gain", "covariance + gain")),
            "To be told something makes the rest surer, and not less sure.",
        ),
        Mistake(
            _wrong("posterior", ("told = torch.isfinite(level)", "told = level == 0")),
            "You use the pixels that are known exactly only. The noisy ones tell something, too.",
        ),
        Mistake(
            _wrong("given_score", ("spread + noise_level**2 *", "spread + noise_level *")),
            "At level s the noise's variance is s².",
        ),
        Mistake(
            _wrong("given_score", (" + noise_level**2 * torch.eye(len(mean), dtype=mean.dtype)", "")),
            "That is the score of x_0 given y. x has noise of level s as well.",
        ),
        Mistake(
            _wrong("given_score", ("return -torch", "return torch")),
            "The sign: the score points back to the mean.",
        ),
        Mistake(
            _wrong(
                "given_score",
                (
                    "posterior(mean, covariance, y, level)",
                    "posterior(mean, covariance + noise_level**2 * torch.eye(len(mean), dtype=mean.dtype), "
                    "y, level)",
                ),
                ("spread + noise_level**2 * torch.eye(len(mean), dtype=mean.dtype)", "spread"),
            ),
            "You add the noise before conditioning, as if y told the *noisy* pixels. It tells x_0.",
        ),
        Mistake(
            _wrong("given_score", ("posterior(mean, covariance, y, level)", "(mean, covariance)")),
            "That is the score without a condition.",
        ),
        Mistake(
            {"spread": "s**2"},
            "That is the common choice. At a large level nothing is known of x_0, and its variance is the "
            "data's: what is s² there?",
        ),
        Mistake(
            {"spread": "d**2"},
            "That is the variance before x is seen.",
        ),
        Mistake(
            {"spread": "s*d/sqrt(s**2 + d**2)"},
            "That is the deviation; r² is a variance.",
        ),
        Mistake(
            {"spread": "s**2 + d**2"},
            "That is the variance of x. The variance of x_0 given x is smaller than both.",
        ),
        Mistake(
            {"too_weak": "d**2/(s**2 + d**2)"},
            "Your quotient stands on its head: s² over the right one, at least 1.",
        ),
        Mistake(
            {"too_weak": "sqrt((s**2 + d**2)/d**2)"},
            "The added term has r² below its line, and not r.",
        ),
        Mistake(
            {"middle_std": _MIDDLE["middle_std"] ** 2},
            "That is the variance.",
        ),
        Mistake(
            {"middle_mean": 0.0},
            "The left pixel is 1 above its mean and the right one 1 below. Do they count alike?",
        ),
    ),
    hints=(
        "A bool mask picks the rows A: matrix[told] and matrix[told][:, told]. What is known of the others "
        "does not enter.",
        "The gain is C A' times an inverse: torch.linalg.solve of the symmetric inner matrix and C's rows, "
        "transposed. For the score: x is x_0 given y, plus s z.",
        "Given y, x has the posterior's mean, and its covariance plus s² on the diagonal. For the spread use "
        "the formula of the posterior itself: one pixel, told with ℓ = s.",
    ),
)

# --- 8.8: samples in chunks ---------------------------------------------------------------------------------

_LEVELS = [6.0, 3.0, 1.2, 0.4]


def _recorded(eps):
    """eps, and lists of the states and levels that it was asked for."""
    states, levels = [], []

    def call(x, s):
        states.append(x.detach().clone())
        levels.append(float(s))
        return eps(x, s)

    return call, states, levels


def _normal_enough(z):
    """What is wrong with numbers that should be standard normal, in a word."""
    z, n = z.flatten(), z.numel()
    if abs(z.mean()) > 5 / n**0.5:
        return f"their mean is {z.mean():.2f}"
    if abs(z.std() - 1) > 4 / n**0.5:
        return f"their deviation is {z.std():.2f}"
    return "yes"


def _noises_of_run(states, levels, eps):
    """The noises of a run of one chunk, from the states that the model was shown: (N, n, d)."""
    found = [states[0] / levels[0]]
    for x, after, s, e in zip(states, states[1:], levels, levels[1:]):
        c = e / s * math.sqrt(s**2 - e**2)
        found.append((after - x - (e**2 / s - s) * eps(x, s)) / c)
    return torch.stack(found)


def _probe_chunks(answer, seed):
    net = lambda x, s: torch.sin(x + 0.5) / (1 + s) + 0.1 * x  # noqa: E731
    number = seed % 1000
    call, states, asked = _recorded(net)
    run = lambda n, chunk, number=number: answer.in_chunks(call, n, 2, _LEVELS, chunk, number)  # noqa: E731
    whole = run(10, 10)
    values = {"rows and columns": [float(size) for size in whole.shape]}
    values["levels of a whole run"] = list(asked)
    for chunk in (1, 4, 5):
        states.clear()
        again = run(10, chunk)
        same = again.shape == whole.shape and torch.allclose(again, whole, rtol=1e-9, atol=1e-9)
        values[f"calls, chunks of {chunk}"] = len(states)
        values[f"most rows, chunks of {chunk}"] = float(max(len(x) for x in states))
        values[f"chunks of {chunk} as one chunk"] = "yes" if same else "no"
    again = torch.allclose(run(10, 10), whole, rtol=1e-9, atol=1e-9)
    values["the same once more"] = "yes" if again else "no"
    fives = run(10, 5)
    twins = len(fives) == 10 and torch.allclose(fives[:5], fives[5:])
    values["two chunks hold the same"] = "yes" if twins else "no"
    few = run(3, 2)
    same = few.shape == whole[:3].shape and torch.allclose(few, whole[:3], rtol=1e-9, atol=1e-9)
    values["the first 3 as of 10"] = "yes" if same else "no"
    other = run(10, 10, number + 1 if number < 999 else 998)
    values["another seed, other samples"] = "no" if torch.allclose(other, whole) else "yes"
    shared = len(other) == 10 and (
        torch.allclose(other[:9], whole[1:]) or torch.allclose(other[1:], whole[:9])
    )
    values["the next seed, no sample in common"] = "no" if shared else "yes"
    point = 1 + normal(seed, 2, stream=8)
    to_point = lambda x, s: (x - point) / s  # noqa: E731
    ends = answer.in_chunks(to_point, 3, 2, [5.0, uniform(seed, 0.5, 2.0), 1e-9], 2, number)
    values["all data at one point, level 1e-9"] = ends
    return values | _what_the_noises_do(answer, number, seed)


_OF_NOISES = (
    "the noises are standard normal",
    "each step and each number has its own",
    "each sample has its own",
)


def _what_the_noises_do(answer, number, seed):
    """Values of a larger run, whose noises are read off from the states."""
    point = uniform(seed, 1.0, 2.0)
    bent = lambda x, s: (x - point) / s  # noqa: E731
    call, states, levels = _recorded(bent)
    end = answer.in_chunks(call, 1500, 2, _LEVELS, 1500, number)
    if levels != _LEVELS[:-1] or any(x.shape != (1500, 2) for x in states):
        return dict.fromkeys(_OF_NOISES, "cannot be told")
    z = _noises_of_run([*states, end], _LEVELS, bent)
    flat = z.transpose(0, 1).flatten(1)  # a row for each sample
    alike = torch.corrcoef(flat.T) - torch.eye(flat.shape[1], dtype=torch.float64)
    next_to = torch.corrcoef(torch.stack([flat[:-1].flatten(), flat[1:].flatten()]))[0, 1]
    found = (
        _normal_enough(z),
        "yes" if alike.abs().max() < 0.2 else "no",
        "yes" if abs(next_to) < 0.1 else "no",
    )
    return dict(zip(_OF_NOISES, found))


_STREAMS = ("one_stream", "all_ahead", "by_chunk", "by_sample")
_WAYS = {name: getattr(solution, name) for name in _STREAMS}
_MIB = 10_000 * 784 * 21 * 4 / 2**20


def _chunk_facts(answer, seed):
    values = right_words(answer, ("same", "other"), **_WAYS)
    return values | right_numbers(answer, 3e-3, relative=True, ahead_mib=_MIB)


_DRAWN = "initial_noise(min(chunk, n - first), shape, seed, torch.float64, first=first)"


def _with_draws(make):
    """The solution with noises (rows, N + 1, dim) drawn by make(seed, first, rows, N + 1, dim)."""
    return changed(
        solution.in_chunks,
        (_DRAWN, "make(seed, first, min(chunk, n - first), *shape)"),
        ("    parts = []\n", "    parts, make = [], initial_noise\n"),
        initial_noise=make,
    )


def _generator_draw(key, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(key), dtype=torch.float64)


def _by_chunk(seed, first, rows, *shape):
    return _generator_draw(1000 * seed + first, rows, *shape)


def _same_in_chunks(seed, first, rows, *shape):
    return _generator_draw(seed, rows, *shape)


def _alike(seed, first, rows, *shape):
    return _generator_draw(seed, 1, *shape).expand(rows, *shape)


def _one_for_all_steps(seed, first, rows, steps, dim):
    each = [_generator_draw(1000 * seed + first + i, 1, dim) for i in range(rows)]
    return torch.stack(each).expand(rows, steps, dim)


def _without_seed(seed, first, rows, steps, dim):
    return torch.stack([_generator_draw(first + i, steps, dim) for i in range(rows)])


def _shared(seed, first, rows, steps, dim):
    return torch.stack([_generator_draw(seed + first + i, steps, dim) for i in range(rows)])


def _uniform(seed, first, rows, steps, dim):
    draw = lambda i: torch.rand(  # noqa: E731
        steps, dim, generator=torch.Generator().manual_seed(1000 * seed + first + i), dtype=torch.float64
    )
    return torch.stack([draw(i) for i in range(rows)])


def _global(seed, first, rows, *shape):
    return torch.randn(rows, *shape, dtype=torch.float64)


CHUNKS = Task(
    id="8.8",
    title="Samples that do not mind the chunk",
    kind="implement-sampler",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("P25", "BP28"),
    names=("in_chunks", *_STREAMS, "ahead_mib"),
    probe=_probe_chunks,
    facts=_chunk_facts,
    reference={"in_chunks": solution.in_chunks, **_WAYS, "ahead_mib": _MIB},
    asks={
        "rows and columns": "n samples of dim numbers each are asked for.",
        "levels of a whole run": "With one chunk the model is asked at each level but the last, once. At "
        "which levels do you ask?",
        "chunks of 1 as one chunk": "Compare your sample 3 in chunks of 1 with that of one chunk: which of "
        "its noises differs first?",
        "the first 3 as of 10": "The first samples change with the number of all: what do their noises "
        "depend on?",
        "another seed, other samples": "Your samples are the same with another seed.",
        "calls, chunks of 1": "Ten chunks of three steps are thirty calls; yours makes {value}.",
        "calls, chunks of 4": "Three chunks of three steps are nine calls; yours makes {value}.",
        "most rows, chunks of 4": "A call may have 4 rows here; one of yours has {value}.",
        "each step and each number has its own": "Within a sample some noises are tied to each other: each "
        "step, and each of its numbers, needs a fresh one.",
        "each sample has its own": "Samples next to each other have noises in common.",
        "the noises are standard normal": "Read off from your states with the statement's step, the noises "
        "are not standard normal: is the step right, and how are they drawn?",
        "all data at one point, level 1e-9": "All data are one point, and every sample ends there. In yours, "
        "which part of x_s − x_0 is left after a step?",
    },
    mistakes=(
        Mistake(
            {"in_chunks": _with_draws(_by_chunk)},
            "Your noises belong to the chunk: with another size sample 3 gets others.",
        ),
        Mistake(
            {"in_chunks": _with_draws(_same_in_chunks)},
            "Each chunk begins with the same seed, so that all chunks hold the same samples.",
        ),
        Mistake(
            {"in_chunks": _with_draws(_global)},
            "Your noises come from the global stream: nothing ties them to `seed` or to the sample.",
        ),
        Mistake(
            {"in_chunks": _with_draws(_alike)},
            "All samples have the same noises. Each needs its own.",
        ),
        Mistake(
            {"in_chunks": _with_draws(_one_for_all_steps)},
            "A sample uses one noise in all of its steps, and at the start. Each needs a fresh one.",
        ),
        Mistake(
            {"in_chunks": _with_draws(_without_seed)},
            "Your noises know the sample's number and not the seed.",
        ),
        Mistake(
            {"in_chunks": _with_draws(_shared)},
            "Sample 4 of your seed 7 is sample 5 of seed 6: the sum of two numbers does not tell which they "
            "were.",
        ),
        Mistake(
            {"in_chunks": _with_draws(_uniform)},
            "Your noises are uniform between 0 and 1. Standard normal ones are asked for.",
        ),
        Mistake(
            _wrong("in_chunks", ("range(0, n, chunk)", "range(0, n, n)"), ("min(chunk, n - first)", "n")),
            "You sample all at once, whatever `chunk` says.",
        ),
        Mistake(
            _wrong("in_chunks", ("range(0, n, chunk)", "range(n)"), ("min(chunk, n - first)", "1")),
            "You sample one at a time: the result is right, and the calls are many more than needed.",
        ),
        Mistake(
            _wrong("in_chunks", ("range(0, n, chunk)", "range(0, n - chunk + 1, chunk)")),
            "The last chunk is missing where it is not full: how many samples come out?",
        ),
        Mistake(
            _wrong("in_chunks", ("min(chunk, n - first)", "chunk")),
            "Your last chunk is full even where fewer samples are left: too many come out.",
        ),
        Mistake(
            _wrong("in_chunks", ("x = levels[0] * noises[0]", "x = noises[0]")),
            "The start is noise of deviation s_0, not 1.",
        ),
        Mistake(
            _wrong("in_chunks", (" + e / s * math.sqrt(s**2 - e**2) * z", "")),
            "Your steps have no fresh noise.",
        ),
        Mistake(
            _wrong("in_chunks", ("(e**2 / s - s)", "(e - s)")),
            "Your step takes Euler's way and adds noise to it. How much of the old noise is to stay?",
        ),
        Mistake(
            _wrong("in_chunks", (" + e / s * math.sqrt", " + math.sqrt")),
            "Your fresh noise lacks the factor e/s.",
        ),
        Mistake(
            {"one_stream": "same"},
            "Write down which of the stream's numbers sample 3 gets at its second step, with chunks of 5 and "
            "with chunks of 2.",
        ),
        Mistake(
            {"all_ahead": "other"},
            "The noises are drawn before anything is cut. Does a sample's row depend on the chunk?",
        ),
        Mistake(
            {"by_chunk": "same"},
            "Sample 3 is in chunk 0 of 5 and in chunk 1 of 2: which seeds are these?",
        ),
        Mistake(
            {"by_sample": "other"},
            "Sample 3's generator knows nothing of the chunk.",
        ),
        Mistake(
            {"ahead_mib": 10_000 * 784 * 4 / 2**20},
            "That is one noise for each sample. The run keeps 21.",
        ),
        Mistake(
            {"ahead_mib": 10_000 * 784 * 21 * 4 / 1e6},
            "Those are megabytes of 10⁶. A MiB has 2²⁰ bytes.",
        ),
        Mistake(
            {"ahead_mib": 10_000 * 784 * 20 * 4 / 2**20},
            "The start needs a noise, too: 21 for each sample.",
        ),
        Mistake(
            {"ahead_mib": 10_000 * 784 * 21 / 2**20},
            "A number takes 4 bytes.",
        ),
    ),
    hints=(
        "Two loops: over the chunks, and in each over the steps. What has to be the same for sample 7, "
        "whichever chunk it is in?",
        "A torch.Generator with a seed made of `seed` and the sample's number draws (N + 1, dim) for it; a "
        "chunk stacks those of its samples. The toolkit's initial_noise has `first` for that.",
        "range(0, n, chunk) gives the first sample of each chunk; the last one may be short. Different pairs "
        "of seed and number need different seeds of the generators: 1000 × number + seed is enough here.",
    ),
)

# --- 8.9: masked diffusion ----------------------------------------------------------------------------------


def _probe_unmask(answer, seed):
    draws = np.random.default_rng([seed, 5])
    x = torch.from_numpy(draws.integers(0, 4, (6, 7)))  # 3 letters and the mask, which is 3
    x[0], x[1] = 3, torch.tensor([0, 1, 2, 0, 1, 2, 0])
    guess = torch.softmax(2 * normal(seed, 6, 7, 3), 2)
    u, v = (torch.from_numpy(draws.uniform(size=(6, 7))) for _ in range(2))
    step = lambda a, b, u=u: torch.as_tensor(answer.unmask_step(x.clone(), guess, a, b, u, v)).double()  # noqa: E731
    last = step(0.75, 1.0)
    values = {"states after the last step": last, "masks after the last step": float((last == 3).sum())}
    middle = step(0.5, 0.75)
    values["what was there stays"] = "yes" if torch.equal(middle[x < 3], x[x < 3].double()) else "no"
    values["masks after a step from 0.5 to 0.75"] = float((middle == 3).sum())
    values["states after a step from 0.5 to 0.75"] = middle
    values["states after a first step"] = step(0.0, 0.4)
    around = dict(n=(1.5, 9.0), p=(0.1, 0.9))
    return values | named_expressions(
        answer, seed, 2, wrong_words=around, calls=dict(n=(1.5, 9.0), L=(2.0, 6.0))
    )


_SHARE = "(b - a) / (1 - a)"

MASKED = Task(
    id="8.9",
    title="Strings: one step, and what it cannot know",
    kind="implement-equation",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("S37",),
    names=("unmask_step", "wrong_words", "calls"),
    probe=_probe_unmask,
    reference={
        "unmask_step": solution.unmask_step,
        "wrong_words": "2*p*(1 - p)/n",
        "calls": "n*(1 - (1 - 1/n)**L)",
    },
    asks={
        "states after the last step": "A step up to level 1 reveals every mask, by the first letter at which "
        "the sum of the guess exceeds v. Take one place and do it by hand: is it your letter?",
        "masks after the last step": "After a step up to level 1 no mask is left; with you {value} are.",
        "masks after a step from 0.5 to 0.75": "With which probability is a mask revealed from level 0.5 to "
        "0.75? Yours leaves {value} masks.",
    },
    mistakes=(
        Mistake(
            _wrong("unmask_step", (_SHARE, "b - a")),
            "You reveal b − a of the masks. Of those that are *left* at level a, which share is that?",
        ),
        Mistake(
            _wrong("unmask_step", (_SHARE, "b")),
            "b is the share that is there at the end. Part of it was there before.",
        ),
        Mistake(
            _wrong("unmask_step", (_SHARE, "(b - a) / b")),
            "Divide by the masks that are left before the step.",
        ),
        Mistake(
            _wrong("unmask_step", (_SHARE, "(1 - b) / (1 - a)")),
            "That is the probability that a mask stays.",
        ),
        Mistake(
            _wrong("unmask_step", ("(x == mask) & (u", "(u")),
            "Letters that are there are drawn anew. What is there already stays.",
        ),
        Mistake(
            _wrong(
                "unmask_step",
                ("(guess.cumsum(2) <= v[..., None]).sum(2)", "guess.argmax(2)"),
            ),
            "You take the likeliest letter each time. It is to be drawn from the guess.",
        ),
        Mistake(
            _wrong(
                "unmask_step",
                ("(guess.cumsum(2) <= v[..., None]).sum(2)", "(guess <= v[..., None]).sum(2).clamp(max=2)"),
            ),
            "You compare v with the single probabilities. Which sums cut the interval from 0 to 1?",
        ),
        Mistake(
            _wrong("unmask_step", ("<= v[...", ">= v[...")),
            "You count the sums on the wrong side of v: does the first letter need a large v or a small one?",
        ),
        Mistake(
            _wrong("unmask_step", ("<= v[...", "<= u[...")),
            "The letter is drawn with v; u decides whether it is revealed. With one number for both, the "
            "letters depend on the step.",
        ),
        Mistake(
            _wrong("unmask_step", ("<= v[...", "<= u[..."), ("(u < (", "(v < (")),
            "u and v have changed places: u decides whether a mask is revealed, v which letter it is.",
        ),
        Mistake(
            _wrong("unmask_step", ("(u < (", "(u > (")),
            "You reveal the others: with probability 1 less the right one.",
        ),
        Mistake(
            _wrong(
                "unmask_step", ("torch.where(revealed, letters, x)", "torch.where(x == mask, letters, x)")
            ),
            "You reveal all masks in every step.",
        ),
        Mistake(
            _wrong("unmask_step", (".sum(2)\n", ".sum(2) - 1\n")),
            "Your letters are one too small: the first one has the number 0.",
        ),
        Mistake(
            {"wrong_words": "2*p*(1 - p)"},
            "That is where both letters appear in the same step. How often do they?",
        ),
        Mistake(
            {"wrong_words": "p*(1 - p)/n"},
            "There are two wrong words, ab and ba.",
        ),
        Mistake(
            {"wrong_words": "1/n"},
            "That is how often both appear in one step. Not all of these words are wrong.",
        ),
        Mistake(
            {"wrong_words": "2*p*(1 - p)/n**2"},
            "The first letter appears at some step. With which probability is the second one at the same?",
        ),
        Mistake(
            {"wrong_words": "0"},
            "The guess is exact for each place, and two places of one step do not know of each other.",
        ),
        Mistake(
            {"calls": "n"},
            "That is without keeping the guess. After which steps is it not the same any more?",
        ),
        Mistake(
            {"calls": "L"},
            "That is in the limit of many steps. Several letters can appear in one.",
        ),
        Mistake(
            {"calls": "1 + n*(1 - (1 - 1/n)**L)"},
            "One too many: after the last letter nothing is hidden, and nobody calls again.",
        ),
        Mistake(
            {"calls": "n*(1 - 1/n)**L"},
            "Those are the steps that reveal nothing.",
        ),
        Mistake(
            {"calls": "n*(1 - (1 - 1/n))**L"},
            "A bracket: a step reveals something unless all L letters are at other steps.",
        ),
    ),
    hints=(
        "At level a the share 1 − a is hidden; at b it is 1 − b. Each place decides by its own u, and draws "
        "by its own v.",
        "torch.cumsum along the letters, and a count of how many of the sums v has passed, give the letter's "
        "number. For the formulas: each of the L letters picks one of n steps, evenly and on its own.",
        "Two letters share a step once in n times; then they are two independent draws. A given step is "
        "empty with (1 − 1/n) for each letter: how many of the n are not?",
    ),
)

# --- 8.10: a comparison -------------------------------------------------------------------------------------


def _probe_frechet(answer, seed):
    mix = normal(seed, 3, 3, stream=5)
    one, two = 2 + normal(seed, 40, 3) @ mix, 1.5 + 0.7 * normal(seed, 25, 3, stream=1)
    moved = one + 1.5
    values = {"frechet of a set with itself": float(answer.frechet(one, one.clone()))}
    if abs(values["frechet of a set with itself"]) < 1e-5:  # roots of roundings
        values["frechet of a set with itself"] = 0.0
    values["frechet of a set with itself, moved by 1.5"] = float(answer.frechet(one, moved))
    values["frechet of a set and its double"] = float(answer.frechet(one, 2 * one))
    values["frechet of two sets"] = float(answer.frechet(one, two))
    sure = torch.eye(4, dtype=torch.float64)
    blurred = torch.softmax(2 * normal(seed, 30, 5, stream=2), 1)
    values["inception, four classes for sure"] = float(answer.inception(sure[[0, 1, 2, 3, 3, 2, 1, 0]]))
    values["inception, always the same answer"] = float(answer.inception(blurred[:1].expand(6, 5)))
    uneven = float(answer.inception(sure[[0, 0, 0, 1, 2, 0]]))
    return values | {"inception, uneven": uneven, "inception": float(answer.inception(blurred))}


_DISTANCES = {"floor_30": 0.8074458623, "fair_p": 0.0972780841, "fair_q": 0.6473387863}  # computed anew


def _frechet_facts(answer, seed):
    values = right_numbers(answer, 6e-3, relative=True, **_DISTANCES)
    values |= right_words(answer, ("P", "Q"), better="P")
    values |= right_numbers(answer, 1e-4, ten_copies=10.0)
    return values | right_words(answer, ("frechet", "inception", "both"), sees_copies=solution.sees_copies)


_ROOTS = "torch.linalg.eigvals(first @ second).real.clamp(min=0).sqrt().sum()"
_APART = "(one.mean(0) - two.mean(0)).square().sum()"
_KL = "torch.special.xlogy(answers, answers / mean.clamp(min=1e-300)).sum(1)"

UNFAIR = Task(
    id="8.10",
    title="Thirty samples against two thousand",
    kind="claim",
    difficulty=2,
    minutes=30,
    points=5,
    ids=("BS41", "C38", "S39"),
    names=(
        "frechet",
        "inception",
        "floor_30",
        "fair_p",
        "fair_q",
        "better",
        "ten_copies",
        "sees_copies",
    ),
    probe=_probe_frechet,
    facts=_frechet_facts,
    reference={
        "frechet": solution.frechet,
        "inception": solution.inception,
        **_DISTANCES,
        "better": "P",
        "ten_copies": 10.0,
        "sees_copies": solution.sees_copies,
    },
    gives_away=("toolkit.metrics.frechet_from_features", "toolkit.metrics.gaussian_w2_squared"),
    asks={
        "frechet of a set with itself": "A set has the distance 0 from itself; yours has {value}.",
        "frechet of a set with itself, moved by 1.5": "Moved by 1.5 in each of three numbers, the covariance "
        "is the same and the distance 3 × 1.5². Yours is {value}.",
        "frechet of two sets": "It is right for sets with proportional covariances. And where the two do not "
        "commute: are the roots those of the product's eigenvalues?",
        "inception, four classes for sure": "Four classes, each for sure and equally often, score 4. Yours "
        "is {value}.",
        "inception, always the same answer": "Where all answers are the same, the score is 1. Yours is "
        "{value}.",
        "floor_30": 'drawn("truth", 30, seed) against `real`, seeds 0 to 7: is your number their mean?',
        "fair_p": 'drawn("P", 500, seed) against `real`, seeds 0 to 7: is your number their mean?',
        "fair_q": 'drawn("Q", 500, seed) against `real`, seeds 0 to 7: is your number their mean?',
    },
    mistakes=(
        Mistake(
            _wrong("frechet", ("- 2 * roots", "- roots")),
            "The last term counts twice: a set is to have the distance 0 from itself.",
        ),
        Mistake(
            _wrong("frechet", ("(apart + first", "(apart.sqrt() + first")),
            "The means' distance is squared in F.",
        ),
        Mistake(
            _wrong("frechet", (".item()", ".sqrt().item()")),
            "That is the root. F is the squared distance.",
        ),
        Mistake(
            _wrong("frechet", ("apart + first.trace()", "first.trace()")),
            "The means are missing.",
        ),
        Mistake(
            _wrong("frechet", (_ROOTS, "(first.diagonal() * second.diagonal()).sqrt().sum()")),
            "You take the variances alone, as if the features were uncorrelated.",
        ),
        Mistake(
            _wrong("frechet", (_ROOTS, "(first @ second).clamp(min=0).sqrt().trace()")),
            "You take the root of each entry. The root of a matrix has the roots of its eigenvalues.",
        ),
        Mistake(
            _wrong(
                "frechet",
                (
                    "torch.cov(one.T), torch.cov(two.T)",
                    "torch.cov(one.T, correction=0), torch.cov(two.T, correction=0)",
                ),
            ),
            "Your covariances divide by n, where n − 1 was asked for.",
        ),
        Mistake(
            _wrong("frechet", (_APART, "(one.mean() - two.mean()).square()")),
            "Each feature has a mean of its own: you take one over all.",
        ),
        Mistake(
            _wrong("inception", (".exp()", "")),
            "That is the mean divergence. The score is its exponential.",
        ),
        Mistake(
            _wrong("inception", (_KL, "torch.special.xlogy(answers, answers).sum(1)")),
            "You compare with nothing: the score sets each answer against the mean answer.",
        ),
        Mistake(
            _wrong(
                "inception", (_KL, "torch.special.xlogy(answers, mean / answers.clamp(min=1e-300)).sum(1)")
            ),
            "Your quotient stands on its head: the score cannot be below 1.",
        ),
        Mistake(
            _wrong("inception", (_KL, "torch.special.xlogy(answers, answers * answers.shape[1]).sum(1)")),
            "You compare with equal shares of all classes. p(y) is the mean of the answers.",
        ),
        Mistake(
            _wrong(
                "inception",
                (".sum(1).mean().exp()", ".sum(1).exp().mean()"),
            ),
            "You take the exponential of each sample. The mean comes first.",
        ),
        Mistake(
            _wrong(
                "inception",
                (
                    "torch.special.xlogy(answers, answers / mean.clamp(min=1e-300))",
                    "(answers * (answers / mean).log())",
                ),
            ),
            "Where a probability is 0 your score is not a number: 0 ln 0 counts as 0.",
        ),
        Mistake(
            {"better": "Q"},
            "That is the report's. At 500 samples each?",
        ),
        Mistake(
            {"floor_30": 0.0},
            "Exact samples have the distance 0 in the limit. Thirty of them?",
        ),
        Mistake(
            {"fair_p": _DISTANCES["fair_q"], "fair_q": _DISTANCES["fair_p"]},
            "The two are exchanged.",
        ),
        Mistake(
            {"ten_copies": 600.0},
            "The score knows classes, and not pictures.",
        ),
        Mistake(
            {"ten_copies": 1.0},
            "1 is the score where all answers are the same. Here each is sure, and all classes come up.",
        ),
        Mistake(
            {"ten_copies": math.log(10)},
            "That is the divergence. The score is its exponential.",
        ),
        Mistake(
            {"sees_copies": "inception"},
            "Which of the two looks at the data at all?",
        ),
        Mistake(
            {"sees_copies": "both"},
            "What is the largest score that ten classes allow? Do the copies have less?",
        ),
    ),
    hints=(
        "How large is the distance of a perfect sampler with so few samples? Measure it before you compare.",
        "torch.cov takes a feature a row: transpose. torch.linalg.eigvals gives complex numbers whose "
        "imaginary parts are roundings. For the score, the mean over the rows is p(y).",
        "The trace of the root is a sum of roots of eigenvalues; tiny negative ones are 0. In the score a "
        "probability of 0 contributes nothing: torch.special.xlogy knows that.",
    ),
)

TASKS = (FRONT, ADAPTIVE, ETA, GUIDED, TILT, REPAINT, POSTERIOR, CHUNKS, MASKED, UNFAIR)
