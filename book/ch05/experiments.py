"""Claims of chapter 5: distillation and one-step generation.

What a loss has as its minimiser is computed, not trained: on N(0, 1/4) a student is one slope for each level,
on a mixture of two peaks a function of one variable, and the right answer, the flow map, is known pointwise.
Only what depends on a network is asked of the shipped students.  Each experiment takes no argument and
returns a dict label -> number.
"""

import copy
import math
from functools import cache, partial

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.special import ndtr, ndtri

from book.claims import claim, recorded, tried_on
from book.problems import ON_THREE_PEAKS, rms, training_calls, two_peaks
from toolkit import (
    EDM,
    VE,
    VP,
    Flow,
    Guided,
    Mixture,
    QuantileFlow,
    distilled,
    grids,
    initial_noise,
    sample,
)
from toolkit.convergence import slope
from toolkit.data import digit_labels, digits
from toolkit.ddim import ddim
from toolkit.distill import (
    ConsistencyModel,
    FlowMap,
    at_scale,
    boundary_coefficients,
    consistency,
    two_step_target,
    weight,
)
from toolkit.metrics import frechet_distance, nearest_neighbour_ratio
from toolkit.models import Model
from toolkit.ode import edm_heun, heun

SCHEDULE = EDM()
STD = 0.5
COUNTS = (5, 10, 20, 40, 80, 160, 320)
DOUBLE = {"dtype": torch.float64}
NOISE = 1000  # how many noises of the ring


def called(name):
    """A student's name in the chapter."""
    return SHORT.get(name, name)


# --- the right answer in one dimension ------------------------------------------------------------------


def marginal(mixture, x, t, schedule=SCHEDULE):
    """Density and distribution function of x_t at x (n,), both (n,) arrays."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    w, mu, s = (p.numpy() for p in (mixture.weights, mixture.means[:, 0], mixture.stds))
    sd = np.sqrt(alpha**2 * s**2 + sigma**2)
    z = (np.asarray(x)[:, None] - alpha * mu) / sd
    return (np.exp(-0.5 * z**2) / sd) @ w / math.sqrt(2 * math.pi), ndtr(z) @ w


def levels_of(probability, mixture, t, schedule=SCHEDULE):
    """The points (n,) at which the distribution function of x_t has the values `probability` (n,)."""
    spread = schedule.sigma(t) + schedule.alpha(t) * float(mixture.stds.max())
    ends = schedule.alpha(t) * mixture.means[:, 0].numpy()
    x = np.linspace(ends.min() - 7 * spread, ends.max() + 7 * spread, 100_001)
    return np.interp(probability, marginal(mixture, x, t, schedule)[1], x)


@cache
def quantiles(n=2000, mixture=None):
    """n equally probable noises: x at time `SCHEDULE.start` of the two peaks, or of another mixture, (n,) in
    rising order.
    """
    return levels_of((np.arange(n) + 0.5) / n, mixture or two_peaks(), SCHEDULE.start)


def flow_map(x, mixture=None, start=None, end=None, schedule=SCHEDULE):
    """The exact flow map of one-dimensional data at x (n,), an array."""
    start, end = schedule.start if start is None else start, schedule.end if end is None else end
    flow = QuantileFlow(schedule, mixture or two_peaks())
    return flow.map(torch.as_tensor(x, dtype=torch.float64), start, end).numpy()


LOWER = EDM(sigma_max=20.0)
ON_LOWER_LEVELS = {"levels from 20": {"SCHEDULE": LOWER, "flow_map": partial(flow_map, schedule=LOWER)}}


def run(sampler, x, steps, mixture=None, grid=grids.karras):
    """Where `sampler` with the exact model takes x (n,) in so many steps, an array."""
    model = (mixture or two_peaks()).model(SCHEDULE)
    return sample(sampler, model, torch.as_tensor(x)[:, None], grid(SCHEDULE, steps)).x[:, 0].numpy()


def maps(answers):
    """What `figures.maps` draws of the two peaks: the standardised noises of `quantiles`, (n,); answers, a
    dict label -> (n,); and the density of the data, (x, p).
    """
    x = np.linspace(-1.7, 1.8, 400)
    noise = quantiles(len(next(iter(answers.values())))) / SCHEDULE.start
    return noise, answers, (x, marginal(two_peaks(), x, SCHEDULE.end)[0])


@cache
def answers_of_the_flow(n):
    """The flow map of the two peaks at `quantiles`, (n,)."""
    return flow_map(quantiles(n))


def why_hard(n=2000):
    """The flow map of the two peaks, four steps of DDIM, and one, as `maps`."""
    x = quantiles(n)
    steps = {"DDIM, 4 steps": run(ddim, x, 4), "DDIM, 1 step": run(ddim, x, 1)}
    return maps({"the flow map": answers_of_the_flow(n)} | steps)


@claim(
    "T48",
    source="Textbook, section 8.4, outlook: theoretically optimal distillation",
    says="There is a one-step model that is as good as the whole trajectory",
    holds=lambda r: (
        r["the flow map: calls"] == 1
        and abs(r["the flow map: deviation"] - r["the data: deviation"]) < 1e-3
        and abs(r["the flow map: mean"] - r["the data: mean"]) < 1e-3
    ),
    verdict=True,
    finding="It is the flow map: one call, and the deviation .855 of the data. One step of the teacher "
    "itself has .009: it answers with the mean.",
    figure="task-figure",
)
@tried_on(ON_THREE_PEAKS | ON_LOWER_LEVELS)
def one_step_answers() -> dict:
    """Mean and deviation of what three one-step models make of the same noise, and the data's own."""
    x, mixture = quantiles(), two_peaks()
    model = mixture.model(SCHEDULE)
    perfect = sample(
        consistency,
        FlowMap(QuantileFlow(SCHEDULE, mixture)),
        torch.as_tensor(x)[:, None],
        [SCHEDULE.start, SCHEDULE.end],
    )
    jump = model.x0(torch.as_tensor(x)[:, None], SCHEDULE.start)[:, 0]
    return {
        "the data: mean": float(mixture.mean()[0]),
        "the data: deviation": float(mixture.covariance()[0, 0]) ** 0.5,
        "the flow map: mean": float(perfect.x.mean()),
        "the flow map: deviation": float(perfect.x.std()),
        "the flow map: calls": perfect.nfe,
        "one step of the teacher: mean": float(jump.mean()),
        "one step of the teacher: deviation": float(jump.std()),
        "one step of the teacher: calls": 1,
    }


def steepness(std):
    """Largest slope of the flow map against the standardised noise, for peaks at -1 and 1 of deviation `std`:
    p_T / p_0 at its largest (equation 5.2), exactly at the middle by symmetry.
    """
    mixture = Mixture([0.5, 0.5], [[-1.0], [1.0]], [std, std])
    x = np.array([0.0])
    top, bottom = (marginal(mixture, x, t)[0][0] for t in (SCHEDULE.start, SCHEDULE.end))
    return SCHEDULE.start * top / bottom


def steepness_by_deviation(stds=None):
    """(deviations, `steepness` at each), by default at forty from 0.14 to 0.8."""
    stds = np.linspace(0.14, 0.8, 40) if stds is None else stds
    return stds, [steepness(std) for std in stds]


@claim(
    "T48, folklore",
    source="Folklore: the map from noise to data is smooth, since an ODE makes it",
    says="The flow map is about as steep as the data are wide",
    holds=lambda r: max(r.values()) < 10 * r["slope, one Gaussian of the same variance as the last"],
    verdict=False,
    finding="Smooth, yes, but between two modes its slope is one over the density there. For peaks at -1 "
    "and 1 it grows from 4 at deviation .5 to 7e8 at .15.",
    figure="steep-figure",
)
@tried_on(ON_LOWER_LEVELS)
def steepness_of_peaks() -> dict:
    """The largest slope for ever narrower peaks, and that of the data as one Gaussian, for scale."""
    result = {f"slope, peaks of deviation {std:g}": steepness(std) for std in (0.5, 0.3, 0.2, 0.15)}
    return result | {"slope, one Gaussian of the same variance as the last": math.sqrt(1 + 0.15**2)}


# --- progressive distillation ---------------------------------------------------------------------------


class Halved(Model):
    """The perfect student of progressive distillation: one step of it along every second of `times` is two
    steps of `teacher`.  Two calls of the teacher each, so that nothing is gained but the proof.
    """

    def __init__(self, teacher, times):
        self.teacher, self.schedule, self._calls = teacher, teacher.schedule, [0]
        times = [float(t) for t in times]
        self.after = {t: (times[2 * i + 1], times[2 * i + 2]) for i, t in enumerate(times[:-1:2])}

    def _view(self, want, x, t):
        self._calls[0] += 1
        every = lambda u: torch.full((len(x),), float(u), dtype=torch.float64)
        middle, s = self.after[float(t)]
        x0 = two_step_target(self.teacher, x, every(t), every(middle), every(s))
        return x0 if want == "x0" else (x - self.schedule.alpha(t) * x0) / self.schedule.sigma(t)


class _ByTime(Model):
    """A model asked with one time for each sample (all alike) asks `model` with the number."""

    def __init__(self, model):
        self.model, self.schedule, self._calls = model, model.schedule, [0]

    def _view(self, want, x, t):
        return self.model._view(want, x, float(torch.as_tensor(t).reshape(-1)[0]))


def rounds(start=16, mixture=None):
    """The students of all rounds, each with its grid: a list of (steps, model, times), the teacher first."""
    times = grids.karras(SCHEDULE, start)
    model = (mixture or two_peaks()).model(SCHEDULE)
    result = [(start, model, times)]
    while len(times) > 2:
        model, times = Halved(_ByTime(model), times), times[::2]
        result.append((len(times) - 1, model, times))
    return result


@claim(
    "BT23, E8",
    source="Textbook, section 8.4.1",
    says="A student that matches the teacher's prediction at every (x_t, t) does in N/2 steps what the "
    "teacher does in N",
    holds=lambda r: abs(r["literal loss, 8 steps"] - r["literal loss, 16 steps"]) < 1e-3,
    verdict=False,
    finding="That loss has the teacher itself as its minimiser, with half the steps: deviation .350 instead "
    "of .419 on N(0, 1/4). Nothing is halved but the budget.",
    figure="halving-figure",
)
@tried_on(ON_LOWER_LEVELS | {"data of deviation 1": {"STD": 1.0}})
def halving() -> dict:
    """Deviation on N(0, 1/4) of the students of both losses after each round, and their distance from the
    teacher of 16 steps; the literal loss has the teacher itself as its minimiser.
    """
    gaussian = Mixture.gaussian(1, STD)
    x = torch.full((1, 1), math.hypot(SCHEDULE.start, STD), **DOUBLE)  # one deviation of x at the start
    result = {}
    for steps, model, times in rounds(16, gaussian):
        two = abs(float(sample(ddim, model, x, times).x))
        plain = abs(float(sample(ddim, gaussian.model(SCHEDULE), x, times).x))
        result |= {f"two-step target, {steps} steps": two, f"literal loss, {steps} steps": plain}
    return result


@claim(
    "T43, C29",
    source="Salimans & Ho 2022, algorithm 2",
    says="With the two-step target each round halves the steps exactly, and rounds do not add up errors",
    holds=lambda r: all(v < 1e-9 for k, v in r.items() if k.startswith("student")),
    verdict=True,
    finding="For a student that fits perfectly. Four rounds from 16 steps to 1 lose nothing on the two "
    "peaks; what remains is the teacher's own error. A network adds what it fails to fit, each round.",
)
@tried_on(ON_THREE_PEAKS | ON_LOWER_LEVELS)
def rounds_lose_nothing() -> dict:
    """On the two peaks: RMS distance of each round's perfect student from the teacher's 16 steps, and the
    teacher's own from the flow map.
    """
    x = torch.as_tensor(quantiles(400))[:, None]
    ends = {steps: sample(ddim, model, x, times).x[:, 0] for steps, model, times in rounds()}
    result = {f"student of {n} steps": rms(ends[n] - ends[16]) for n in (8, 4, 2, 1)}
    return result | {"teacher of 16 steps, from the flow map": rms(ends[16].numpy() - flow_map(x[:, 0]))}


# --- consistency: what the loss has as its minimiser ----------------------------------------------------


def rising(steps, grid=grids.karras):
    """The noise levels of a grid in rising order, (steps + 1,)."""
    return grid(SCHEDULE, steps).numpy()[::-1].copy()


def even_angle(schedule, steps, std=STD):
    """The grid with the least first-order bias on N(0, std^2): equal steps in arctan(sigma / std)."""
    first, last = math.atan(schedule.start / std), math.atan(schedule.end / std)
    times = std * torch.tan(torch.linspace(first, last, steps + 1, dtype=torch.float64))
    times[0], times[-1] = schedule.start, schedule.end
    return times


def linear_slopes(steps, shared=True, grid=grids.karras, std=STD):
    """The slopes a_n of f_n(x) = a_n x, the minimiser of consistency training on N(0, std^2), one for each
    level from the boundary up: equation (5.12); shared=False draws the noise twice.
    """
    s = rising(steps, grid)
    cross = std**2 + (s[1:] * s[:-1] if shared else 0.0)
    return np.concatenate([[1.0], np.cumprod(cross / (std**2 + s[1:] ** 2))])


def one_step_std(steps, std=STD, **options):
    """Deviation of the one-step samples of `linear_slopes`."""
    return float(linear_slopes(steps, std=std, **options)[-1] * math.hypot(SCHEDULE.start, std))


TRUE_STD = math.hypot(STD, SCHEDULE.end)


@claim(
    "BT24, T45",
    source="Textbook, section 8.4.2",
    says="The self-consistency property f(x_t, t) = f(x_s, s) defines the consistency function",
    holds=lambda r: r["loss of a constant, no boundary"] > 0,
    verdict=False,
    finding="Every constant has it, with a loss of exactly 0. The boundary f(x, sigma_end) = x must be "
    "said as well, and is built into the network.",
)
@claim(
    "BT25, E11",
    source="Textbook, section 8.4.2",
    says="It does not matter how x_t and x_s are drawn, as long as both are noisy versions of x_0",
    holds=lambda r: r["noise drawn twice, 160 levels"] > 0.9 * r["shared noise, 160 levels"],
    verdict=False,
    finding="With noise shared at neighbouring levels the one-step deviation is .491 (data: .500). With "
    "noise drawn twice it is 3e-267: the student answers with the mean.",
)
@tried_on(ON_LOWER_LEVELS)
def pairing() -> dict:
    """One-step deviation with 160 levels: noise shared, drawn twice; and a constant function's loss."""
    x = SCHEDULE.start * initial_noise(64, 2, 0)
    f = lambda x, t: torch.full_like(x, 0.3)
    raw = float((f(x, 80.0) - f(0.5 * x, 40.0)).square().mean())
    return {
        "data": TRUE_STD,
        "shared noise, 160 levels": one_step_std(160),
        "noise drawn twice, 160 levels": one_step_std(160, shared=False),
        "loss of a constant, no boundary": raw or 0,  # the same answer twice: 0 on any machine
    }


@claim(
    "C30, boundary",
    source="Song et al. 2023, appendix C",
    says="With c_skip and c_out the boundary holds whatever the network returns",
    holds=lambda r: all(v < 1e-12 for k, v in r.items() if "off by" in k),
    verdict=True,
    finding="Exactly, for outputs 0, 1 and 5 alike; at sigma 80 the network's output times sigma_data is "
    "all there is.",
)
@tried_on({"data of deviation 1": {"STD": 1.0}})
def boundary_forbids_constants() -> dict:
    """f of a consistency model whose network returns 0, 1 and 5, at the end and at the start
    of the trajectory.
    """
    result, x = {}, torch.full((1, 1), 0.7, **DOUBLE)
    for c in (0.0, 1.0, 5.0):
        model = ConsistencyModel(lambda x, t, c=c: torch.full_like(x, c), SCHEDULE, sigma_data=STD)
        result[f"G = {c:g}, off by at the end"] = abs(float(model.x0(x, SCHEDULE.end)) - 0.7)
        result[f"G = {c:g}, at level 80"] = float(model.x0(x * 100, SCHEDULE.start))
    return result


def bias_by_levels(counts=COUNTS):
    """Missing deviation (relative) of one-step samples on N(0, 1/4): {name: (counts, errors)}."""
    plans = {"EDM's grid": grids.karras, "even in λ": grids.uniform_lambda, "even in arctan(σ/d)": even_angle}
    return {
        name: (list(counts), [1 - one_step_std(m, grid=grid) / TRUE_STD for m in counts])
        for name, grid in plans.items()
    }


def product_of_cosines(steps, grid=grids.karras, std=STD):
    """The one-step deviation over the data's, by equation (5.12)."""
    angles = np.arctan(rising(steps, grid) / std)
    return float(np.cos(np.diff(angles)).prod())


@claim(
    "C30",
    source="Song et al. 2023, theorem 2, read as a rate",
    says="The bias of consistency training falls like one over the number of levels",
    holds=lambda r: all(abs(v - 1) < 0.05 for k, v in r.items() if k.startswith("order")),
    verdict=True,
    finding="On N(0, 1/4), on three grids, and exactly a product of cosines (5.12): 1.8 % of the "
    "deviation at 160 levels of EDM's grid. No grid does better than .76 % there.",
    figure="bias-figure",
)
@tried_on(ON_LOWER_LEVELS)
def order_of_the_bias() -> dict:
    """Bias at 160 levels on three grids, its order in the number of levels; by equation (5.12); and by its
    approximation for a full quarter circle.
    """
    result = {}
    for name, (counts, errors) in bias_by_levels().items():
        result[f"bias at 160 levels, {name}"] = errors[counts.index(160)]
        result[f"order, {name}"] = slope(counts[3:], errors[3:])
    for name, grid in (("EDM's grid", grids.karras), ("even in arctan(σ/d)", even_angle)):
        result[f"1 - product of cosines, {name}"] = 1 - product_of_cosines(160, grid)
    return result | {"π²/8M, even in arctan(σ/d)": math.pi**2 / 8 / 160}


class Table1D:
    """A function of one variable, known on a fixed grid of x / sqrt(1 + sigma^2): cubic
    between, straight outside.
    """

    def __init__(self, x, values):
        self.spline, self.low, self.high = CubicSpline(x, values), x[0], x[-1]
        self.slopes = self.spline(x[0], 1), self.spline(x[-1], 1)

    def __call__(self, x):
        inside = np.clip(x, self.low, self.high)
        over = np.maximum(x - self.high, 0) * self.slopes[1] + np.minimum(x - self.low, 0) * self.slopes[0]
        return self.spline(inside) + over


def noise_given(mixture, x, sigma):
    """The law of the noise given x_t = x, x (n,): weights, means (n, K) and deviations (K,) of a mixture."""
    w, mu, s = (p.numpy() for p in (mixture.weights, mixture.means[:, 0], mixture.stds))
    var = s**2 + sigma**2
    log = np.log(w) - 0.5 * np.log(var) - 0.5 * (x[:, None] - mu) ** 2 / var
    share = np.exp(log - log.max(1, keepdims=True))
    return share / share.sum(1, keepdims=True), sigma * (x[:, None] - mu) / var, s / np.sqrt(var)


def mean_of(f, x, gap, share, mean, std):
    """E f(x - gap z) by Gauss-Hermite quadrature in each component."""
    node, weight = np.polynomial.hermite_e.hermegauss(32)
    z = mean[:, :, None] + std[:, None] * node
    return ((share[:, :, None] * weight / weight.sum()) * f(x[:, None, None] - gap * z)).sum((1, 2))


def _huber_of(f, x, gap, share, mean, std, c):
    """argmin_v E sqrt((f - v)^2 + c^2), by bisection; 121 nodes in each component."""
    node = np.linspace(-6, 6, 121)
    weight = np.exp(-0.5 * node**2)
    y = f(x[:, None, None] - gap * (mean[:, :, None] + std[:, None] * node)).reshape(len(x), -1)
    p = (share[:, :, None] * weight / weight.sum()).reshape(len(x), -1)
    low, high = y.min(1), y.max(1)
    for _ in range(36):
        v = 0.5 * (low + high)
        error = y - v[:, None]
        up = (p * error / np.sqrt(error**2 + c**2)).sum(1) > 0
        low, high = np.where(up, v, low), np.where(up, high, v)
    return 0.5 * (low + high)


@cache
def two_modes(place, std):
    """Two equal peaks at -place and place of deviation `std`."""
    return Mixture([0.5, 0.5], [[-place], [place]], [std, std])


@cache
def minimiser(steps, c=None, points=401, mixture=None):
    """The minimiser of consistency training on the two peaks or on another one-dimensional mixture, one
    function for each level from the boundary up (equation 5.10), a list of steps + 1.  c: None for the
    squared error, or the pseudo-Huber metric's.
    """
    mixture, s = mixture or two_peaks(), rising(steps)
    u = np.linspace(-6, 6, points)
    result = [lambda x: x]
    for low, high in zip(s[:-1], s[1:]):
        scale = math.sqrt(1 + high**2)
        law = noise_given(mixture, u * scale, high)
        fit = mean_of if c is None else lambda *a: _huber_of(*a, c)
        table = Table1D(u, fit(result[-1], u * scale, high - low, *law))
        result.append(lambda x, table=table, scale=scale: table(x / scale))
    return result


def minimisers(chosen, beside=(1, 5, 20, 80), n=2000):
    """What consistency training learns on the two peaks with `chosen` levels, last, and with other numbers
    before it, as `maps`.
    """
    x, name = quantiles(n), lambda m: f"{m} levels" if m > 1 else "1 level"
    order = [*(m for m in beside if m != chosen), chosen]
    return maps({"the flow map": answers_of_the_flow(n)} | {name(m): minimiser(m)[-1](x) for m in order})


def learned(models, levels, n=2000):
    """Trained one-dimensional consistency models, dict label -> model, beside the minimiser of consistency
    training and the flow map, as `maps`.
    """
    x = quantiles(n)
    known = {
        "the flow map": answers_of_the_flow(n),
        f"minimiser of CT, {levels} levels": minimiser(levels)[-1](x),
    }
    return maps(known | {label: _answers(model, x).double().numpy() for label, model in models.items()})


def _answers(model, x):
    """What a trained one-dimensional model makes of noises x (n,) in one call, (n,) float32."""
    x = torch.as_tensor(x, dtype=torch.float32)[:, None]
    return model.x0(x, SCHEDULE.start)[:, 0].detach()


@claim(
    "C30, two peaks",
    source="Folklore: twice the levels, half the bias",
    says="On data with modes too, twice the levels halve the pointwise error of consistency training",
    holds=lambda r: r["RMS to the flow map, 320 levels"] < 0.35 * r["RMS to the flow map, 80 levels"],
    verdict=False,
    finding="Four times the levels take it from .152 to .095, a factor of 1.6. The boundary between the "
    "modes is where the error sits, and it only narrows. The mean is right at any number of levels.",
)
@tried_on(ON_THREE_PEAKS | ON_LOWER_LEVELS)
def minimisers_on_two_peaks(counts=(5, 20, 80, 320)) -> dict:
    """Mean, deviation and pointwise error of the minimiser's one-step samples, by the number of levels."""
    x = quantiles()
    want, result = flow_map(x), {}
    for m in counts:
        y = minimiser(m)[-1](x)
        result[f"mean, {m} levels"] = float(y.mean())
        result[f"deviation, {m} levels"] = float(y.std())
        result[f"RMS to the flow map, {m} levels"] = rms(y - want)
    return result | {"mean, the data": 0.26, "deviation, the data": float(want.std())}


def wide_modes(counts=(80, 320)):
    """Pointwise error of the minimiser on wide peaks, +-.7 of deviation .4, by the number of levels."""
    wide = two_modes(0.7, 0.4)
    x = quantiles(mixture=wide)
    want = flow_map(x, wide)
    return {f"RMS on wide peaks, {m} levels": rms(minimiser(m, mixture=wide)[-1](x) - want) for m in counts}


def limit_of_levels(counts=(1, 2, 5, 10, 20, 40, 80, 160, 320)):
    """Error of the minimiser relative to the data's deviation, by the number of levels, from one (a denoiser)
    on: RMS distance from the flow map on the two peaks and on wide ones, missing deviation on N(0, 1/4):
    {name: (counts, errors)}.
    """
    counts, result = list(counts), {}
    for name, mixture in (("two peaks", None), ("wide peaks", two_modes(0.7, 0.4))):
        x = quantiles(mixture=mixture)
        want = flow_map(x, mixture)
        far = [rms(minimiser(m, mixture=mixture)[-1](x) - want) / want.std() for m in counts]
        result[name] = (counts, far)
    result["one Gaussian"] = (counts, [1 - one_step_std(m) / TRUE_STD for m in counts])
    return result


def bias_between_neighbours(counts=(40, 160, 640)):
    """Share, in %, of the minimiser's one-step samples farther than three deviations from both peaks, on a
    straight cut through two neighbouring modes of the ring; by the number of levels, and with the metric of
    the shipped student.
    """
    place, std = math.sin(math.pi / 8), 0.1
    cut = two_modes(place, std)
    x = quantiles(mixture=cut)
    off = lambda y: round(float((np.abs(np.abs(y) - place) > 3 * std).mean() * 100), 1)
    result = {
        f"minimiser of {m} levels: between modes, %": off(minimiser(m, mixture=cut)[-1](x)) for m in counts
    }
    robust = minimiser(counts[0], 0.00054 * math.sqrt(2), 201, cut)[-1](x)
    result[f"pseudo-Huber, {counts[0]} levels: between modes, %"] = off(robust)
    return {"cut through two modes: between modes, %": off(flow_map(x, cut))} | result


def teachers_and_training(counts=(5, 10, 20, 40, 80, 160, 320)):
    """RMS distance from the flow map on the two peaks of consistency training's minimiser, and of
    distillation's with a teacher that makes DDIM or Heun steps: {name: (counts, errors)}.
    """
    x = quantiles()
    want = flow_map(x)
    return {
        "training": (list(counts), [rms(minimiser(m)[-1](x) - want) for m in counts]),
        "distillation, DDIM steps": (list(counts), [rms(run(ddim, x, m) - want) for m in counts]),
        "distillation, Heun steps": (
            list(counts),
            [
                rms(
                    sample(
                        heun,
                        two_peaks().model(SCHEDULE),
                        torch.as_tensor(x)[:, None],
                        grids.karras(SCHEDULE, m),
                        variable="sigma",
                    )
                    .x[:, 0]
                    .numpy()
                    - want
                )
                for m in counts
            ],
        ),
    }


def distances(model, levels, teacher=False):
    """RMS distance of a trained one-dimensional consistency model from the minimiser of its loss with so many
    levels, consistency training's or, with a teacher, the end of as many steps of Heun's; and from the flow
    map; at the noises of `quantiles`.
    """
    x = quantiles()
    answer, own = (
        _answers(model, x).numpy(),
        run(edm_heun, x, levels) if teacher else minimiser(levels)[-1](x),
    )
    return {
        "from its own minimiser": round(rms(answer - own), 2),
        "from the flow map": round(rms(answer - answers_of_the_flow(len(x))), 2),
    }


# --- the options of the loss ----------------------------------------------------------------------------


def slopes_with_gradient(steps, weighting="snr+1", std=STD):
    """The slopes that minimise the sum over levels of w E (a_{n+1} x_{n+1} - a_n x_n)^2 when the gradient
    goes through both sides, noise shared: a tridiagonal system.  weighting: "snr+1", "uniform", "1/gap".
    """
    s = rising(steps)
    var, cross = std**2 + s**2, std**2 + s[1:] * s[:-1]
    w = {"snr+1": s[1:] ** -2.0 + std**-2.0, "uniform": np.ones(steps), "1/gap": 1 / np.diff(s)}[weighting]
    matrix, right = np.diag(w * var[1:]), np.zeros(steps)
    matrix[:-1, :-1] += np.diag(w[1:] * var[1:-1])
    for n in range(1, steps):
        matrix[n, n - 1] = matrix[n - 1, n] = -w[n] * cross[n]
    right[0] = w[0] * cross[0]
    return np.concatenate([[1.0], np.linalg.solve(matrix, right)])


def gradients(counts=COUNTS):
    """One-step deviation of consistency training on N(0, 1/4) by levels: {name: (counts, deviations)}."""
    scale = math.hypot(SCHEDULE.start, STD)
    result = {"stop-gradient": (list(counts), [one_step_std(m) for m in counts])}
    for name in ("snr+1", "1/gap", "uniform"):
        ends = [float(slopes_with_gradient(m, name)[-1]) * scale for m in counts]
        result[f"gradient through, weight {name}"] = (list(counts), ends)
    return result


@claim(
    "BT25, gradient",
    source="Folklore: the stop-gradient only saves memory",
    says="Letting the gradient through the target does not change what consistency training converges to",
    holds=lambda r: abs(r["gradient through, weight snr+1, 320 levels"] - r["data"]) < 0.05,
    verdict=False,
    finding="On N(0, 1/4) the deviation ends at .352 instead of .5, however many levels, and at another "
    "number for other weights. In distillation, whose loss is 0 at the flow map, it changes nothing.",
    figure="gradients-figure",
)
@tried_on(ON_THREE_PEAKS | ON_LOWER_LEVELS)
def stop_gradient() -> dict:
    """The deviations at 20, 80 and 320 levels, and where the gradient is let through; and the loss of the
    exact flow map in consistency distillation, which no gradient can lower.
    """
    result = {}
    for name, (counts, values) in gradients().items():
        result |= {f"{name}, {m} levels": v for m, v in zip(counts, values) if m in (20, 80, 320)}
    x = quantiles(200)
    y = flow_map(x, end=20.0)
    exact = flow_map(x) - flow_map(y, start=20.0)
    return result | {"data": TRUE_STD, "distillation's loss at the flow map": float((exact**2).mean())}


def sweeps_with_average(decay, steps=20, rate=0.1, most=20_000):
    """(sweeps until the one-step deviation is within 1 % of its end, that end): expected gradient descent on
    the slopes, the targets taken from their moving average with `decay` (0 is the stop-gradient).
    """
    s = rising(steps)
    gain = (STD**2 + s[1:] * s[:-1]) / (STD**2 + s[1:] ** 2)
    goal, scale = linear_slopes(steps)[-1], math.hypot(SCHEDULE.start, STD)
    a, average = np.ones(steps + 1), np.ones(steps + 1)
    a[1:] = average[1:] = STD / np.hypot(s[1:], STD) * 0.1
    settled = 0
    for sweep in range(1, most + 1):
        average = decay * average + (1 - decay) * a
        a[1:] += rate * (gain * average[:-1] - a[1:])
        if abs(a[-1] / goal - 1) > 0.01:
            settled = sweep
        elif sweep > 10 * settled + 100:
            break
    return settled, float(a[-1] * scale)


@claim(
    "BT26",
    source="Textbook, section 8.4.2; Song et al. 2023, algorithms 2 and 3",
    says="The target network must be an exponential moving average",
    holds=lambda r: abs(r["deviation, decay 0"] - r["deviation, decay 0.95"]) > 0.01,
    verdict=False,
    finding="The fixed point is the same with an average and without; only the way there is longer, ten "
    "times at decay .99. Song & Dhariwal 2024 train without it.",
)
@tried_on(ON_LOWER_LEVELS)
def averages() -> dict:
    """Sweeps to settle and the deviation reached, for four decays of the target's average."""
    result = {"deviation, one pass of (5.10)": one_step_std(20)}
    for decay in (0.0, 0.9, 0.95, 0.99):
        sweeps, end = sweeps_with_average(decay)
        result |= {f"passes, decay {decay:g}": sweeps, f"deviation, decay {decay:g}": end}
    return result


def metrics(counts=(5, 10, 20, 40, 80)):
    """What the metric does to the minimiser on the two peaks: mean and share of the left peak (data: 0.26 and
    0.3) of one-step samples, {metric: (counts, shares)}.
    """
    x, cut = quantiles(), -0.4
    share = lambda m, c: float((minimiser(m, c, 201 if c else 401)[-1](x) < cut).mean())
    return {
        "squared error": (list(counts), [share(m, None) for m in counts]),
        "pseudo-Huber, c = 0.1": (list(counts), [share(m, 0.1) for m in counts]),
        "pseudo-Huber, c = 0.00054": (list(counts), [share(m, 0.00054) for m in counts]),
    }


@claim(
    "T45, metric",
    source="Folklore: the pseudo-Huber metric is the squared error, made robust",
    says="The metric changes the speed of consistency training, not its answer",
    holds=lambda r: abs(r["share, c = 0.00054"] - r["share of the left peak, data"]) < 0.02,
    verdict=False,
    finding="With a squared error the average of the targets is learned, with a small c their median, and "
    "targets are skewed near a boundary: 30 % in the left peak become about 15 %. With a teacher the target "
    "is one point, and the metric is free.",
    figure="metrics-figure",
)
@tried_on(ON_THREE_PEAKS | ON_LOWER_LEVELS)
def robust_metric() -> dict:
    """The shares of `metrics` at 80 levels, and the means."""
    x = quantiles()
    result = {"share of the left peak, data": 0.3, "mean, data": 0.26}
    for name, c in (("squared error", None), ("c = 0.1", 0.1), ("c = 0.00054", 0.00054)):
        y = minimiser(80, c, 201 if c else 401)[-1](x)
        result |= {f"share, {name}": float((y < -0.4).mean()), f"mean, {name}": float(y.mean())}
    return result


@claim(
    "T45, weight",
    source="Folklore: a weight in x0 that is equal at all levels treats all levels alike",
    says="A uniform weight on the error of x0 trains the network equally at all levels",
    holds=lambda r: r["uniform, sigma 0.02"] > 0.5,
    verdict=False,
    finding="The network's own error is weighed by c_out^2 on top: 600 times less at sigma .02 than at 80. "
    "The weight 1/sigma^2 + 1/d^2 undoes just that.",
)
@tried_on({"data of deviation 1": {"sigma_data": 1.0}})
def weight_on_the_network(levels=(0.002, 0.02, 0.2, 2.0, 80.0), sigma_data=STD) -> dict:
    """By how much two weightings of the error of x0 weigh the network's own error F, relative to the noisiest
    level: the weight times c_out^2.
    """
    result = {}
    at = torch.tensor(levels, **DOUBLE)
    c_out = boundary_coefficients(at, 0.0, sigma_data)[1]
    for label, name in (("uniform", "uniform"), ("1/σ²+1/d²", "snr+1")):
        on_f = weight(name, at, sigma_data) * c_out**2
        result |= {f"{label}, sigma {s:g}": float(v / on_f[-1]) for s, v in zip(levels, on_f)}
    return result


# --- more steps than one --------------------------------------------------------------------------------


def refined_std(levels, middles, std=STD):
    """Deviation on N(0, std^2) after jump, noise up to each of `middles`, jump again, with the minimiser of
    `levels` levels (equation 5.13 in the linear case); middles: indices of its grid, None for the flow map.
    """
    s, exact = rising(levels), std / np.hypot(rising(levels), std)
    a = linear_slopes(levels)
    var = (a[-1] ** 2) * (s[-1] ** 2 + std**2)
    for n in middles:
        var = a[n] ** 2 * (var + s[n] ** 2 - s[0] ** 2)
    return math.sqrt(var), float(exact[0])


def refine_on_peaks(levels=20, middles=(1.0,), n=500, copies=100, spoil=0.0):
    """W2 distance from the two peaks after jump, noise, jump, with the minimiser of `levels` levels (0: the
    flow map).  spoil: an error sin(3 x) of that size in every jump but the first.
    """
    x, s = quantiles(n), rising(levels) if levels else None
    jump = lambda t: (
        (lambda x: flow_map(x, start=t)) if not levels else minimiser(levels)[int(np.abs(s - t).argmin())]
    )
    x = jump(SCHEDULE.start)(x)
    z = ndtri((np.arange(copies) + 0.5) / copies)
    for t in middles:
        t = float(t if not levels else s[np.abs(s - t).argmin()])
        noisy = np.sort((x[:, None] + math.sqrt(t**2 - SCHEDULE.end**2) * z).ravel())
        x = noisy.reshape(-1, copies)[:, copies // 2]  # every copies-th quantile
        x = jump(t)(x)
        x = np.sort(x + spoil * np.sin(3 * x))
    want = levels_of((np.arange(len(x)) + 0.5) / len(x), two_peaks(), SCHEDULE.end)
    return float(np.sqrt(((np.sort(x) - want) ** 2).mean()))


def refinement(counts=(10, 40)):
    """Error after two steps over the error after one, against the level in the middle: on the two
    peaks (W2) for consistency training with several numbers of levels, and on N(0, 1/4) (deviation):
    {name: (levels, ratios)}.
    """
    result = {}
    for m in counts:
        one = refine_on_peaks(m, ())
        inner = [float(v) for v in rising(m)[1:-1] if 0.03 < v < 30]
        result[f"two peaks, {m} levels"] = (inner, [refine_on_peaks(m, (v,)) / one for v in inner])
    error = lambda middles: 1 - refined_std(40, middles)[0] / TRUE_STD
    inner = [n for n, v in enumerate(rising(40)[:-1]) if n and 0.03 < v < 30]
    result["one Gaussian, 40 levels"] = (rising(40)[inner].tolist(), [error([n]) / error([]) for n in inner])
    return result


@claim(
    "T46",
    source="Textbook, section 8.4.2, remark",
    says="Multistep refinement improves the samples of a consistency model",
    holds=lambda r: all(
        r[f"{name}, steps: 2"] < 0.9 * r[f"{name}, steps: 1"]
        for name in ("training, 10 levels", "training, 40 levels")
    ),
    fails=lambda r: r["exact from noise only, steps: 2"] > r["exact from noise only, steps: 1"],
    verdict="holds if",
    finding="If the long jump is the worse one: the error of the last jump takes the place of the first's. "
    "It helps the students of consistency training (.19 to .11 with 40 levels), and harms one that is better "
    "from noise than from the middle.",
    figure="steps-figure",
)
@tried_on(ON_THREE_PEAKS | ON_LOWER_LEVELS)
def one_two_four() -> dict:
    """W2 distance from the two peaks after 1, 2 and 4 steps: perfect map, consistency training of 10 and 40
    levels, and a map that is exact from pure noise but errs by 0.1 sin(3 x) everywhere else.
    """
    plans = {1: (), 2: (0.3,), 4: (4.0, 1.0, 0.3)}
    result = {}
    for steps, middles in plans.items():
        result[f"flow map, steps: {steps}"] = round(refine_on_peaks(0, middles), 3) or 0
        result[f"training, 10 levels, steps: {steps}"] = refine_on_peaks(10, middles)
        result[f"training, 40 levels, steps: {steps}"] = refine_on_peaks(40, middles)
        result[f"exact from noise only, steps: {steps}"] = (
            round(refine_on_peaks(0, middles, spoil=0.1), 3) or 0
        )
    return dict(sorted(result.items()))


@claim(
    "T46, spread",
    source="Folklore: a second step repairs whatever the first got wrong",
    says="A second step gives back the variance that consistency training loses",
    holds=lambda r: r["one Gaussian, two steps at best"] > 0.5 * (r["data"] + r["one Gaussian, one step"]),
    verdict=False,
    finding="On one Gaussian the best second step leaves .466 at .466 (data: .5). What it repairs are "
    "samples that lie between the modes: on the two peaks it leaves .57 of the error.",
)
@tried_on(ON_THREE_PEAKS | ON_LOWER_LEVELS)
def refine_a_gaussian() -> dict:
    """Deviation on N(0, 1/4) after one step of consistency training's minimiser with 40 levels, and after two
    with the best level in the middle; the lowest ratio of errors on the two peaks.
    """
    result = {"data": TRUE_STD, "one Gaussian, one step": refined_std(40, [])[0]}
    result["one Gaussian, two steps at best"] = max(refined_std(40, [n])[0] for n in range(1, 40))
    left = refinement((40,))["two peaks, 40 levels"][1]
    return result | {"error left on the two peaks, at best": min(left)}


# --- a critic, and straight paths -----------------------------------------------------------------------


@claim(
    "T47, critic alone",
    source="Textbook, section 8.4.3",
    says="A critic that the samples cannot be told from the data determines the student",
    holds=lambda r: r["RMS between the two maps"] < 0.1,
    verdict=False,
    finding="The flow map and its mirror image give the same samples, to the last digit, and differ by 1.6 "
    "for the same noise. The distillation term says which noise belongs to which sample.",
)
@tried_on(ON_THREE_PEAKS | ON_LOWER_LEVELS)
def two_right_maps() -> dict:
    """The flow map and its mirror, both from the same noise: the distance between their samples as
    distributions, and noise by noise.
    """
    x = quantiles()
    one, other = flow_map(x), flow_map(quantiles()[::-1].copy())
    return {
        "W2 between the two maps' samples": float(np.sqrt(((np.sort(one) - np.sort(other)) ** 2).mean())),
        "RMS between the two maps": rms(one - other),
    }


def lengths(path):
    """(all length over all chord, median of length over chord) of paths (steps + 1, n, 2).  The median counts
    short chords as much as long ones.
    """
    length, chord = (path[1:] - path[:-1]).norm(dim=-1).sum(0), (path[-1] - path[0]).norm(dim=-1)
    return float(length.sum() / chord.sum()), float((length / chord).median())


STRAIGHT = ("rectified flow", "VP", "VE")


def digit_lengths(labelled, n=100, steps=60):
    """All lengths over all chords of the teacher's paths on digits from level 80, for three schedules.  These
    share one flow: at equal noise levels k their states differ by the factor alpha alone.
    """
    noise, levels = initial_noise(n, (1, 8, 8), 41) * SCHEDULE.start, grids.karras(SCHEDULE, steps)
    teacher = distilled.teacher()
    model = teacher.with_label(digit_labels(n, 3)) if labelled else teacher
    path = sample(edm_heun, model, noise, levels, keep_path=True).path.flatten(2).double()
    k = levels.double()[:, None, None]
    alphas = (1 / (1 + k), (1 + k**2) ** -0.5, torch.ones_like(k))
    return {name: round(lengths(alpha * path)[0], 3) for name, alpha in zip(STRAIGHT, alphas)}


def path_lengths(n=NOISE, steps=200) -> dict:
    """Length over chord of the exact paths of the ring of eight, for three schedules."""
    ring, result = distilled.mixture("ring"), {}
    for name, schedule in zip(STRAIGHT, (Flow(), VP(), VE())):
        model, z = ring.model(schedule), initial_noise(n, 2, 11, **DOUBLE)
        x = schedule.sigma(schedule.start) * z
        run = sample(heun, model, x, grids.uniform_lambda(schedule, steps), variable="lam", keep_path=True)
        whole, median = lengths(run.path)
        result |= {f"all lengths / all chords, {name}": whole, f"median length / chord, {name}": median}
    return result


@claim(
    "BB14",
    source="Blog, closing section",
    says="Training on straight lines between noise and data makes the sampling paths straight",
    holds=lambda r: max(r["rectified flow: ring"], r["rectified flow: digits"]) < 1.05,
    verdict=False,
    finding="The lines are straight given both ends; the field averages over all lines through a point. "
    "On the ring its paths are 1.7 times as long as their chords in all, on digits 1.05. Against VP's the "
    "order reverses: 1.2 on the ring, 1.11 on digits.",
    figure="reflow-figure",
)
def straightness() -> dict:
    """Length over chord of sampling paths, all lengths over all chords, for three schedules: exact paths of
    the ring, and the teacher's of digits without a label and with one.
    """
    ring = path_lengths()
    result = {f"{name}: ring": ring[f"all lengths / all chords, {name}"] for name in STRAIGHT}
    for data, labelled in (("digits", False), ("digits with a label", True)):
        result |= {f"{name}: {data}": value for name, value in digit_lengths(labelled).items()}
    return result


def velocity_of_pairs(x, t, ends, first, last):
    """The mean velocity (n,) at x (n,) at time t over the lines of `ends`, a pair of rising arrays: points at
    time `first`, and where they end at `last`.  Rising lines never cross, so that at a point between two of
    them the mean is over their neighbourhood alone: linear interpolation.
    """
    share = (t - last) / (first - last)
    return np.interp(x, share * ends[0] + (1 - share) * ends[1], (ends[0] - ends[1]) / (first - last))


@claim(
    "BB14, reflow",
    source="Liu et al. 2023, section 2",
    says="Lines between the teacher's own pairs of noise and sample do not cross in one dimension, so one "
    "reflow makes one step exact",
    holds=lambda r: r["pairs whose lines cross"] == 0 and r["after, Euler steps: 1, error"] < 0.02,
    verdict=True,
    finding="Before, one Euler step gives the mean, with an error as large as the data; after one "
    "round one step and ten alike end at the flow map, up to the interpolation between pairs.",
)
@tried_on(ON_THREE_PEAKS | {"1,000 pairs": {"pairs": 1000}})
def straight_in_one_dimension(pairs=4000) -> dict:
    """Euler's method along rectified flow on the two peaks, before and after one reflow: how far from the
    flow map one step and ten end.  After reflow the field is estimated from pairs of the flow map, and asked
    from noises between those of the pairs.
    """
    flow, mixture, last = Flow(), two_peaks(), 0.002
    noises = lambda n: levels_of((np.arange(n) + 0.5) / n, mixture, flow.start, flow)
    end_of = lambda x: flow_map(x, mixture, flow.start, last, flow)
    known = noises(pairs)
    ends = (known, end_of(known))
    x = noises(1001)
    want = end_of(x)
    fields = {
        "before": lambda y, t: _velocity(mixture.model(flow), y, t),
        "after": lambda y, t: velocity_of_pairs(y, t, ends, flow.start, last),
    }
    result = {
        "pairs whose lines cross": int((np.diff(ends[1]) < 0).sum()),
        "deviation, flow map": float(want.std()),
    }
    for name, field in fields.items():
        for steps in (1, 10):
            y, times = x, np.linspace(flow.start, last, steps + 1)
            for t, s in zip(times, times[1:]):
                y = y + (s - t) * field(y, t)
            result[f"{name}, Euler steps: {steps}, error"] = round(rms(y - want), 5)
    return result


@claim(
    "C30, haze",
    source="Folklore: what a student of consistency training gets wrong is the bias of its loss",
    says="The haze that consistency training leaves between the modes is the bias of its loss",
    holds=lambda r: (
        r["network, 10 to 640 levels: between modes, %"] < 2 * r["minimiser of 640 levels: between modes, %"]
    ),
    verdict=False,
    finding="On a cut through two modes the minimiser with 640 levels leaves 3.4 %, with a pseudo-Huber "
    "metric under 1 %; on the ring the networks leave 26 %, and 25 % with a last 80 levels: it is what "
    "they have not fitted.",
)
def haze_of_the_ring() -> dict:
    """What lies between the modes, in %: of the minimiser of consistency training, on a cut through two modes
    of the ring, and of networks trained with few levels and with many, means of three seeds.
    """
    result = bias_between_neighbours((160, 640))
    for last, rows in recorded("student_options")["levels"].items():
        result[f"network, 10 to {last} levels: between modes, %"] = spread(rows, "between")[0]
    return result


def _velocity(model, x, t):
    """E[z - x_0 | x_t = x] of an exact model on `Flow()`, x (n,): the derivative of x_t."""
    x = torch.as_tensor(x)[:, None]
    return (model.eps(x, t) - model.x0(x, t))[:, 0].numpy()


# --- the shipped students -------------------------------------------------------------------------------

RING_STUDENTS = (
    "regression",
    "progressive",
    "consistency",
    "consistency-distilled",
    "adversarial",
    "reflow",
)
ONE_STEP = RING_STUDENTS  # of the same names on digits
SHORT = {"consistency": "CT", "consistency-distilled": "CD"}  # how the chapter calls two of them


@cache
def ring_ends(n=NOISE):
    """(noise, ends) (n, 2) each: noise at level 80 and where the exact flow takes it on the ring."""
    noise = initial_noise(n, 2, 11, **DOUBLE) * SCHEDULE.start
    times = grids.karras(SCHEDULE, 200)
    return noise, sample(edm_heun, distilled.mixture("ring").model(SCHEDULE), noise, times).x


def off_modes(points):
    """Share, in %, of points (n, 2) farther than three deviations from every mode of the ring (data: 1.1)."""
    ring = distilled.mixture("ring")
    return float(
        (torch.cdist(points.double(), ring.means).min(1).values > 3 * ring.stds[0]).double().mean() * 100
    )


def contrast(points):
    """How much denser points (n, 2) lie around the directions of the ring's eight modes than between them:
    points in the eight sectors of the circle around the modes over those in the eight half-way sectors.
    """
    angle = torch.atan2(points[:, 1], points[:, 0]).double()
    at_mode = torch.cos(8 * angle) > 0  # the circle in 16 equal sectors, the first centred on a mode
    return float(at_mode.sum()) / max(int((~at_mode).sum()), 1)


@cache
def ring_jumps(name, steps=1, n=NOISE):
    """Samples (n, 2) of a student of the ring, or of its "teacher", from the noise of `ring_ends`."""
    exact = name == "teacher"
    model = distilled.mixture("ring").model(SCHEDULE) if exact else distilled.student(name, "ring")
    noise = ring_ends(n)[0]
    return distilled.jump(model, noise if name == "teacher" else noise.float(), steps).detach().double()


def without_modes(n=NOISE):
    """Points (n, 2) of a ring without modes: radii of the ring's data, all directions alike."""
    angle = 2 * math.pi * (torch.arange(n, dtype=torch.float64) + 0.5) / n
    radius = distilled.mixture("ring").sample(n, 1).norm(dim=1, keepdim=True)
    return radius * torch.stack([angle.cos(), angle.sin()], dim=1)


def ring_students():
    """Each student of the ring in one call: RMS distance from the flow map, % of samples between modes, and
    `contrast`; at the top and at the bottom of the two scales the flow map and a ring without modes.
    """
    ends, result = ring_ends()[1], {}
    jumps = {called(name): ring_jumps(name) for name in RING_STUDENTS}
    for name, y in ({"the flow map": ends, "a ring without modes": without_modes()} | jumps).items():
        if name in jumps:
            result[f"{name}: from the flow map"] = round(rms(y - ends), 2)
        result[f"{name}: between modes, %"] = round(off_modes(y), 1)
        result[f"{name}: contrast"] = float(f"{contrast(y):.2g}")
    return result


def misfit_by_level(levels=(0.1, 0.2, 0.3, 0.5, 1.0, 80.0), n=4000):
    """Share, in %, between the modes of the ring after one jump of the two consistency students from the
    exact noisy data at each level: where on the ladder of levels the misfit enters.
    """
    data, z, result = distilled.mixture("ring").sample(n, 1), initial_noise(n, 2, 12, **DOUBLE), {}
    for name in ("consistency", "consistency-distilled"):
        model = distilled.student(name, "ring")
        for level in levels:
            y = model.x0((data + level * z).float(), level).detach()
            result[f"{called(name)}: {level:g}"] = round(off_modes(y))
    return result


def reflow_on_ring():
    """The ring before and after one reflow, by a network: length over chord in 50 steps, and RMS distance of
    one step from the teacher's pair.
    """
    ends, result = ring_ends()[1], {}
    for name, path in flow_paths(NOISE).items():
        result[f"all lengths / all chords, {name}"] = round(lengths(path)[0], 2)
    result["one step before, from the flow map"] = round(rms(distilled.mixture("ring").mean() - ends), 2)
    return result | {"one step after, from the flow map": round(rms(ring_jumps("reflow") - ends), 2)}


def reflow_table(n=100, steps=50):
    """`reflow_on_ring`, and beside it all lengths over all chords on digits, without a label and with one:
    before one reflow and after it.
    """
    ring, result = reflow_on_ring(), {}
    noise = initial_noise(n, (1, 8, 8), 41) * distilled.FLOW_START
    times = grids.uniform(Flow(), steps, distilled.FLOW_START, 0.0)
    for name, step in (("before", "before"), ("after one reflow", "after")):
        result[f"{name} | ring"] = ring[f"all lengths / all chords, {name}"]
        for head, labelled in (("digits", False), ("digits with a label", True)):
            if name == "before":
                value = digit_lengths(labelled)["rectified flow"]
            else:
                model = distilled.student("reflow").with_label(digit_labels(n, 3) if labelled else None)
                path = sample(ddim, model, noise, times, keep_path=True).path.flatten(2).double()
                value = round(lengths(path)[0], 3)
            result[f"{name} | {head}"] = value
        result[f"{name} | ring, one step from the flow map"] = ring[f"one step {step}, from the flow map"]
    return result


def flow_paths(n, steps=50):
    """Paths (steps + 1, n, 2) on `Flow()` of the exact field of the ring, and of the reflowed student, from
    the same noise.
    """
    start = distilled.FLOW_START
    z = initial_noise(n, 2, 11, **DOUBLE) * start
    models = {
        "before": distilled.mixture("ring").model(Flow()),
        "after one reflow": distilled.student("reflow", "ring"),
    }
    return {
        name: sample(
            ddim,
            model,
            z if name == "before" else z.float(),
            grids.uniform(Flow(), steps, start, 0.0),
            keep_path=True,
        ).path.double()
        for name, model in models.items()
    }


def reflow_paths(n=12):
    """What `figures.reflow_paths` draws: `flow_paths`, and points of the data, (600, 2)."""
    return flow_paths(n), distilled.mixture("ring").sample(600, 1)


def ring_clouds():
    """The flow map's ring, one without modes, and the ring of each student in one call, from the same noise:
    dict label -> (n, 2), and dict label -> share, in %, of its points that lie between modes.
    """
    clouds = {"the flow map": ring_ends()[1], "uniform ring": without_modes()}
    clouds |= {called(name): ring_jumps(name) for name in RING_STUDENTS}
    return clouds, {name: off_modes(cloud) for name, cloud in clouds.items()}


@claim(
    "BP26, BS33",
    source="PyTorch tutorial; summary",
    says="Progressive distillation yields a smaller network",
    holds=lambda r: r["weights of the student"] < r["weights of the teacher"],
    verdict=False,
    finding="Teacher and student have the same 364,576 weights. What shrinks is the number of calls.",
)
def size_of_students() -> dict:
    """Weights of the digits' teacher and of a student, and calls for one sample."""
    count = lambda model: sum(p.numel() for p in model.network.parameters())
    student = distilled.student("progressive")
    student._calls[0] = 0
    distilled.jump(student, initial_noise(2, (1, 8, 8), 0) * SCHEDULE.start)
    return {
        "weights of the teacher": count(distilled.teacher()),
        "weights of the student": count(student),
        "calls of the student": student.nfe,
    }


@cache
def guided_samples(scale, n=200, steps=18):
    """Digits (n, 1, 8, 8) of the guided teacher, of the guided student, and of the teacher without guidance,
    from the same noise in so many DDIM steps, and of the second stage's student in one; with the calls made.
    """
    noise, labels = initial_noise(n, (1, 8, 8), 21) * SCHEDULE.start, digit_labels(n, 3)
    times, teacher = grids.karras(SCHEDULE, steps), distilled.teacher()
    models = {
        "teacher": Guided(teacher, labels, scale),
        "student": at_scale(distilled.student("guided"), scale).with_label(labels),
        "plain": teacher.with_label(labels),
    }
    result = {name: sample(ddim, model, noise, times) for name, model in models.items()}
    second = at_scale(distilled.student("guided-1"), scale).with_label(labels)
    return result | {"second": sample(ddim, second, noise, grids.karras(SCHEDULE, 1))}


def guided_curves(scales=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0)):
    """RMS distance of digits from those of the guided teacher, of both stages' students and of the teacher
    without guidance: dict label -> (scales, distances), to six decimals: float32 has no more.
    """
    names = {
        "student": "guided student, 18 calls",
        "plain": "teacher without guidance, 18 calls",
        "second": "second stage, 1 call",
    }
    runs = [guided_samples(scale) for scale in scales]
    return {
        label: (list(scales), [round(rms(run[key].x - run["teacher"].x), 6) for run in runs])
        for key, label in names.items()
    }


@claim(
    "T44",
    source="Textbook, outline of section 8.4",
    says="Classifier-free guidance can be distilled into a single call, for a range of scales",
    holds=lambda r: (
        2 * r["student: calls for a sample"] == r["guided teacher: calls for a sample"]
        and r["student: from the guided teacher"] < 0.6 * r["no guidance: from the guided teacher"]
        and r["second stage: calls for a sample"] == 1
        and r["second stage: left, %"] < 5
    ),
    verdict=True,
    finding="In two stages: to one call a step, then by halving the steps to one call a sample. At scale 2 "
    "the one call leaves 2.0 % of the Fréchet distance that guidance covers, as judged by the guided "
    "teacher's own digits; outside the trained range it drifts.",
    figure="guided-figure",
)
def guided_student() -> dict:
    """At scale 2: calls; RMS distance of both stages' digits and of unguided ones from the guided teacher's;
    and `left_of_guidance` of both stages, as recorded.
    """
    runs, study = guided_samples(2.0), recorded("distillation")
    result = {"guided teacher: calls for a sample": runs["teacher"].nfe}
    named = {"student": "student", "second": "second stage", "plain": "no guidance"}
    stages = {"student": study["guided target"], "second": study["guided, few steps"]["1"]}
    for key, name in named.items():
        result[f"{name}: calls for a sample"] = runs[key].nfe
        result[f"{name}: from the guided teacher"] = round(rms(runs[key].x - runs["teacher"].x), 2)
        if key in stages:
            result[f"{name}: left, %"] = round(left_of_guidance(stages[key], "2"), 1)
    return result


def guided_table():
    """The recorded Fréchet distances to the guided teacher's digits of other noise, by the scale: of the
    guided teacher itself, the teacher without guidance, the shipped guided student, and those students of the
    second stage that are recorded; mean and half the range over three seeds.
    """
    study = recorded("distillation")
    named = {
        "teacher, 36 calls": ("floor", study["guided target"], 3),
        "unguided, 18 calls": ("unguided", study["guided target"], 2),
        "student, 18 calls": ("student", study["guided target"], 3),
    }
    for steps, rows in study.get("guided, few steps", {}).items():
        if steps.isdigit():  # beside them stand the seconds, and solvers to compare with
            named[f"second stage, {steps} call{'s' * (steps != '1')}"] = ("student", rows, 2)
    return {
        f"scale {scale} | {name}": ranged(rows, scale, who, digits=digits)
        for scale in ("1", "2", "3", "4")
        for name, (who, rows, digits) in named.items()
    }


def left_of_guidance(rows, scale, distance=None):
    """What a guided student's Fréchet distance to its goal, or another `distance`, has above the floor, in %
    of what an unguided one's has; 0 at or below the floor.
    """
    student, floor, unguided = (spread(rows, scale, who)[0] for who in ("student", "floor", "unguided"))
    distance = student if distance is None else distance
    return 100 * max(distance - floor, 0) / (unguided - floor)


def left_table():
    """`left_of_guidance` by the scale: of both stages, of the control without the guided teacher's paths, and
    of the first stage's student in fewer steps.
    """
    study = recorded("distillation")
    first, few = study["guided target"], study["guided, few steps"]
    rows = {"first stage, 18 calls": first} | {
        f"second stage, {n} call{'s' * (n != '1')}": few[n] for n in ("4", "2", "1")
    }
    rows["first stage, noisy data alone"] = study["controls"]["guided, noisy data alone"]
    result = {}
    for scale in ("2", "3", "4"):  # at 1 there is nothing to guide
        for name, found in rows.items():
            result[f"{name} | scale {scale}"] = f"{left_of_guidance(found, scale):.1f}"
        for n in (8, 4):
            distance = spread(few["solvers"][f"DDIM {n}"], scale)[0]
            result[f"first stage, {n} calls | scale {scale}"] = (
                f"{left_of_guidance(first, scale, distance):.1f}"
            )
    return result


def guided_digits(scale, n=10):
    """For the chapter's widget: digits of the same noise and labels at a guidance scale, label -> (n, 1, 8,
    8).
    """
    runs = guided_samples(scale, n)
    names = {"teacher": "guided teacher", "student": "first stage", "second": "second stage"}
    names["plain"] = "no guidance"
    calls = {key: f"{runs[key].nfe} call{'s' * (runs[key].nfe > 1)}" for key in names}
    return {f"{label}, {calls[key]}": runs[key].x for key, label in names.items()}


@cache
def digit_ends(n=10, steps=18, seed=41):
    """(noises of n digits, where the teacher's path from there ends in so many steps of Heun's), both (n, 1,
    8, 8).
    """
    noise = initial_noise(n, (1, 8, 8), seed) * SCHEDULE.start
    return noise, sample(edm_heun, distilled.teacher(), noise, grids.karras(SCHEDULE, steps)).x


ROWS = {
    "teacher, 1 call": "teacher",
    "regression": "regression",
    "progressive": "progressive",
    "CD": "consistency-distilled",
    "adversarial": "adversarial",
    "reflow": "reflow",
    "CT": "consistency",
}


def all_students(n=10):
    """Digits of the teacher and of every student in one call, from the same noises: label -> (n, 1, 8, 8)."""
    noise, ends = digit_ends(n)
    models = {
        label: distilled.teacher() if name == "teacher" else distilled.student(name)
        for label, name in ROWS.items()
    }
    return {"teacher, 36 calls": ends} | {
        label: distilled.jump(model, noise).detach() for label, model in models.items()
    }


def lost_contrast(n=2000, seed=0):
    """Contrast of digits in one call, the root mean square deviation from their mean image, their Fréchet
    distance, and the distance once each is stretched about the mean image to the contrast of the flow's,
    from the same noises: "row | column".
    """
    noise, ends = digit_ends(n, seed=seed)
    images = {"the flow, Heun 18": ends}
    images |= {called(name): distilled.jump(distilled.student(name), noise).detach() for name in ONE_STEP}
    result = {}
    for name, x in images.items():
        mean = x.mean(0)
        stretched = mean + (x - mean) * rms(ends - ends.mean(0)) / rms(x - mean)
        result[f"{name} | contrast"] = f"{rms(x - mean):.2f}"
        result[f"{name} | FD"] = f"{frechet_distance(x):.1f}"
        result[f"{name} | FD at the flow's contrast"] = f"{frechet_distance(stretched):.1f}"
    return result


def halving_recipes():
    """The Fréchet distance of one call of progressive students by rounds and first target, three trainings
    each, recorded: "row | column"."""
    study = recorded("distillation")
    controls = study["controls"]
    rows = {
        "six rounds, from DDIM": controls["progressive, six rounds, DDIM first"],
        "six rounds, from Heun": controls["progressive, six rounds"],
        "four rounds, from DDIM": controls["progressive, DDIM first"],
        "four rounds, from Heun (ships)": study["digits"]["progressive"],
    }
    keys = {"no label": "unconditional", "with label": "conditional"}
    return {f"{row} | {head}": ranged(of, "1", key) for row, of in rows.items() for head, key in keys.items()}


def ring_misses():
    """(noises of `ring_ends` over their level, (n, 2); dict label -> how far each student's jump from there
    ends from the flow map's, (n,)).
    """
    noise, ends = ring_ends()
    far = {called(name): (ring_jumps(name) - ends).norm(dim=1) for name in RING_STUDENTS}
    return noise / SCHEDULE.start, far


# --- cost, copies, precision ----------------------------------------------------------------------------


def settings():
    """All recorded settings of the teacher, name -> rows by seed; last those of 2M whose last step is of
    first order, "2M 6, lower end".
    """
    study = recorded("distillation")
    lower = study["teacher, first-order last step"]
    return study["teacher"] | {f"{way}, lower end": rows for way, rows in lower.items()}


def equals(name, key="unconditional"):
    """The teacher's cheapest recorded setting that is no worse in the mean, to two decimals, than a one-step
    student of the digits: (its name, its calls), or None; of two equally cheap the nearer to the data.
    """
    goal = round(spread(recorded("distillation")["digits"][name], "1", key)[0], 2)
    far = {way: round(spread(rows, key)[0], 2) for way, rows in settings().items()}
    good = [(teacher_calls(way), far[way], way) for way in far if far[way] <= goal]
    return (min(good)[2], min(good)[0]) if good else None


def teacher_calls(way):
    """Calls for one sample of a recorded setting of the teacher: "DDIM 18", "2M 5, lower end", "Heun 18"."""
    sampler, steps = way.split(",")[0].split()
    return int(steps) * (2 if sampler == "Heun" else 1)


def quality_per_second(counts=(10**3, 10**5, 10**6, 10**7)):
    """{n: {name: (seconds in all, Fréchet distance without labels)}} of n digits on one core: the teacher's
    settings, and each student's one call, its training included.  Seconds a call are a recorded constant.
    """
    study, result = recorded("distillation"), {}
    each = recorded("student_options")["seconds a call"]
    for n in counts:
        result[n] = {
            way: (n * teacher_calls(way) * each, spread(rows, "unconditional")[0])
            for way, rows in study["teacher"].items()
            if way != THE_FLOW
        }
        for name in ONE_STEP:
            rows = study["digits"][name]
            distance = spread(rows, "1", "unconditional")[0]
            result[n][called(name)] = (spread(rows, "seconds")[0] + n * each, distance)
    return result


def spread(rows, *keys):
    """Mean and half the range, over the seeds, of a figure of the recorded study; keys lead
    to it in each row.
    """
    values = []
    for row in rows:
        for key in keys:
            row = row[key]
        values.append(row)
    return float(np.mean(values)), float(np.ptp(values) / 2)


def ranged(rows, *keys, digits=2):
    """`spread` as text."""
    return "{:.{d}f} ± {:.{d}f}".format(*spread(rows, *keys), d=digits)


def student_table():
    """The recorded study of the digits: three seeds, mean and half the range; the teacher first."""
    study, of_teacher = recorded("distillation"), settings()
    rows = [(way, teacher_calls(way), of_teacher[way], ()) for way in TEACHER_ROWS]
    rows += [(name, 1, study["digits"][name], ("1",)) for name in ONE_STEP]
    result = {}
    for name, calls, found, at in rows:
        label = f"the flow, {THE_FLOW}" if name == THE_FLOW else called(name)
        result[f"{label} | calls"] = str(calls)
        result[f"{label} | training, s"] = f"{spread(found, 'seconds')[0]:.0f}" if at else "–"
        result[f"{label} | FD, no label"] = ranged(found, *at, "unconditional")
        result[f"{label} | FD, label"] = ranged(found, *at, "conditional")
        result[f"{label} | read right, %"] = f"{100 * spread(found, *at, 'accuracy')[0]:.1f}"
    return result


def steps_table(names=("consistency", "consistency-distilled", "regression", "reflow")):
    """After 1, 2 and 4 calls: the contrast of the shipped students of the ring, between that of a ring
    without modes and that of the flow map; and the recorded Fréchet distances of digits, without labels and
    with, mean and half the range over three seeds.
    """
    study, result = recorded("distillation")["digits"], {}
    head = "ring, contrast"
    for name in names:
        for steps in ("1", "2", "4"):
            row = f"{called(name)}, calls: {steps}"
            result[f"{row} | {head}"] = f"{contrast(ring_jumps(name, int(steps))):.2g}"
            for key, measure in (("unconditional", "FD, no label"), ("conditional", "FD, label")):
                result[f"{row} | {measure}"] = ranged(study[name], steps, key)
    for row, points in (("a ring without modes", without_modes()), ("the flow map", ring_ends()[1])):
        result[f"{row} | {head}"] = f"{contrast(points):.2g}"
    return result


THE_FLOW = "Heun 128"  # so many steps that what is left is the network's own flow
TEACHER_ROWS = (
    *("DDIM 1", "DDIM 4", "DDIM 18", "DDIM 64"),
    *("2M 4", "2M 5", "2M 6", "2M 8", "2M 5, lower end", "2M 6, lower end"),
    *("Heun 5", "Heun 6", "Heun 18", THE_FLOW),
)


@cache
def one_call_digits(name, n=500):
    """Digits (n, 1, 8, 8) of a student in one call without labels, from fixed noise."""
    noise = initial_noise(n, (1, 8, 8), 31) * SCHEDULE.start
    return distilled.jump(distilled.student(name), noise).detach()


def copies(n=500):
    """How near digits lie to their nearest training digit, in units of that one's spacing: the share, in %,
    under a half (copies), the median and the least ratio.  Training digits, exact and with noise; digits held
    out; one call of two students; and regression against 4,000 of the teacher's pairs, among them its own.
    """
    train, held = digits("train")[0], digits("test")[0]
    made = {name: one_call_digits(name, n) for name in ("regression", "consistency")}
    noise, result = initial_noise(n, (1, 8, 8), 5), {"training digits": (train[:n], train)}
    for level in (0.05, 0.1, 0.15, 0.2, 0.27):
        result[f"training digits + noise {level:g}"] = (train[:n] + level * noise, train)
    result["digits held out"] = (held, train)
    result |= {called(name): (x, train) for name, x in made.items()}
    result["regression, from its teacher's samples"] = (
        made["regression"],
        distilled.setting("digits").pairs(4000, 0)[1],
    )
    ratios = {name: nearest_neighbour_ratio(*pair) for name, pair in result.items()}
    return {
        name: (float((r < 0.5).mean() * 100), float(np.median(r)), float(r.min()))
        for name, r in ratios.items()
    }


def copies_table():
    """`copies`, rounded."""
    heads, forms = ("copies, %", "median", "least"), (".0f", ".2f", ".2f")
    return {
        f"{name} | {head}": format(value, form)
        for name, row in copies().items()
        for head, value, form in zip(heads, row, forms)
    }


def rounded_weights(network, bits):
    """A copy of a network whose matrices are rounded to so many bits, symmetric, a scale for each row."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for p in network.parameters():
            if p.ndim > 1:
                scale = p.abs().amax(1, keepdim=True).clamp(min=1e-12) / (2 ** (bits - 1) - 1)
                p.copy_((p / scale).round() * scale)
    return network


# --- what was recorded ----------------------------------------------------------------------------------


# what is recorded of a student of the ring: its head in a table, and the digits shown
OF_A_RING = {
    "rms": ("RMS from the flow map", 2),
    "between": ("between modes, %", 0),
    "contrast": ("contrast", 1),
}


def option_table(group="consistency"):
    """The recorded study of the options of the loss ("consistency", then "longer") or of the last number of
    levels ("levels"): three seeds, mean and half the range; last a ring without modes.
    """
    study = recorded("student_options")
    labels = {"longer": "{}, 2000 steps", "levels": "CT, 10 to {} levels"}
    named = [(group, name, rows) for name, rows in study[group].items()]
    if group == "consistency":
        named += [("longer", name, rows) for name, rows in study["longer"].items()]
    result = {}
    for part, name, rows in named:
        label, measured = labels.get(part, "{}").format(name), [k for k in OF_A_RING if k in rows[0]]
        result |= {f"{label} | {OF_A_RING[k][0]}": ranged(rows, k, digits=OF_A_RING[k][1]) for k in measured}
    blank = without_modes()
    zeros = {"between": f"{off_modes(blank):.0f}", "contrast": f"{contrast(blank):.1f}"}
    return result | {f"a ring without modes | {OF_A_RING[k][0]}": zeros[k] for k in measured if k in zeros}


def recorded_options():
    """RMS distance from the flow map on the ring, mean over three seeds, for each option of the loss."""
    study = recorded("student_options")["consistency"]
    return {name: spread(rows, "rms")[0] for name, rows in study.items()}


@claim(
    "T45, options",
    source="Song & Dhariwal 2024, section 3; folklore: the weighting is a detail",
    says="In consistency distillation the weight changes little",
    holds=lambda r: max(r.values()) < 1.2 * min(r.values()),
    verdict=False,
    finding="On the ring, three seeds: an error of .13 with the weight 1/sigma^2 + 1/d^2, .24 with a uniform "
    "one, .32 with a uniform one and pseudo-Huber.",
)
def options_of_the_loss() -> dict:
    """The rows of the recorded study that the claim on weights needs."""
    result = recorded_options()
    return {name: result[name] for name in result if name.startswith("CD")}


@claim(
    "T47",
    source="Textbook, section 8.4.3",
    says="An adversarial term improves a student that regresses on pairs",
    holds=lambda r: (
        r["FD, no label | adversarial"] < 0.9 * r["FD, no label | regression"]
        and r["FD, label | adversarial"] < 0.9 * r["FD, label | regression"]
    ),
    verdict=True,
    finding="On digits, by a fifth without labels and by half with; its digits are a little farther from the "
    "teacher's. A critic trades the one for the other.",
    figure="all-figure",
)
def critic_on_digits() -> dict:
    """The recorded Fréchet distances of digits in one call by regression, and with a critic's term; and how
    far both are from the teacher's digits of the same noise.
    """
    study, result = recorded("distillation")["digits"], {}
    for name in ("regression", "adversarial"):
        for head, key in (("FD, no label", "unconditional"), ("FD, label", "conditional")):
            result[f"{head} | {name}"] = round(spread(study[name], "1", key)[0], 2)
    noise = initial_noise(300, (1, 8, 8), 31) * SCHEDULE.start
    ends = sample(edm_heun, distilled.teacher(), noise, grids.karras(SCHEDULE, 18)).x
    for name in ("regression", "adversarial"):
        result[f"RMS from the teacher's digit | {name}"] = round(rms(one_call_digits(name, 300) - ends), 2)
    return result


def critic_table():
    """`critic_on_digits` as text, with half the range over three seeds where there are three."""
    study, result = recorded("distillation")["digits"], critic_on_digits()
    for name in ("regression", "adversarial"):
        for head, key in (("FD, no label", "unconditional"), ("FD, label", "conditional")):
            result[f"{head} | {name}"] = ranged(study[name], "1", key)
    return result


@claim(
    "BS39",
    source="Summary, section 5.2",
    says="A consistency model in one call is worse than fifty steps of DDIM",
    holds=lambda r: r["consistency, one call"] > 1.1 * r["teacher, DDIM 64"],
    verdict=False,
    finding="On digits without labels, one call of consistency training is as good as 64 DDIM steps of the "
    "teacher. In print CD had 3.55 on CIFAR-10 in 2023, against 4.67 of DDIM's 50 steps.",
)
def best_of_the_study() -> dict:
    """Fréchet distance without labels from the recorded study (means of three seeds): the teacher's DDIM, and
    the consistency students in one call.
    """
    study = recorded("distillation")
    result = {
        f"teacher, {name}": spread(study["teacher"][name], "unconditional")[0]
        for name in ("DDIM 1", "DDIM 8", "DDIM 18", "DDIM 64")
    }
    for name in ("consistency", "consistency-distilled"):
        result[f"{name}, one call"] = spread(study["digits"][name], "1", "unconditional")[0]
    return result


@claim(
    "B18",
    source="Blog, comparison of training costs",
    says="A distilled student is cheaper than its teacher, since it needs one call",
    holds=lambda r: max(r.values()) < 10_000_000,
    fails=lambda r: min(r.values()) > 1_000_000,
    verdict="holds if",
    finding="If millions of samples are made: it pays from 1.4 to 2.1 million digits on, training counted, "
    "against the teacher's cheapest setting that is no worse, DPM-Solver++ 2M in 4 to 6 calls.",
    figure="cost-figure",
)
def break_even() -> dict:
    """Samples after which each one-step student has cost as little as the teacher's cheapest setting of its
    quality without labels, by equation (5.14), both in calls.
    """
    result = {}
    for name in ONE_STEP:
        way, calls = equals(name)
        result[f"{called(name)}, against {way}"] = round(training_calls(name) / (calls - 1))
    return result


def cost_table():
    """The bills of `break_even`, as text, and the same by the distance with labels: the rival, its Fréchet
    distance, and the digits, in millions, from which the student has cost as little.
    """
    result = {}
    for name in ONE_STEP:
        row, cost = called(name), training_calls(name) / 1e6
        result[f"{row} | training, M calls"] = f"{cost:.1f}"
        for key, label in (("unconditional", "no label"), ("conditional", "label")):
            way, calls = equals(name, key)
            result[f"{row} | {label}: rival"] = way
            result[f"{row} | its FD, {label}"] = ranged(settings()[way], key)
            result[f"{row} | M digits, {label}"] = f"{cost / (calls - 1):.1f}"
    return result


@claim(
    "S36",
    source="Summary, section 5.2",
    says="Rounding the weights to 8 bits is felt in the samples, in one step as in many",
    holds=lambda r: max(r["one step, 8 bits"], r["teacher, 18 steps, 8 bits"]) > 0.03,
    verdict=False,
    finding="A change below .01 of pixels in [-1, 1] in both; 6 bits are three to four times worse, and at 4 "
    "bits both are another model.",
)
def bits(n=300) -> dict:
    """RMS change of a one-step student's digits, and of the teacher's in 18 steps, when weights are rounded
    to 8, 6 and 4 bits.
    """
    noise = initial_noise(n, (1, 8, 8), 31) * SCHEDULE.start
    result = {}
    for label, model, steps in (
        ("one step", distilled.student("consistency"), 1),
        ("teacher, 18 steps", distilled.teacher(), 18),
    ):
        whole = distilled.jump(model, noise, steps)
        for b in (8, 6, 4):
            other = distilled.jump(model.with_network(rounded_weights(model.network, b)), noise, steps)
            result[f"{label}, {b} bits"] = round(rms(other - whole), 3)
    return result


@claim(
    "T48, copies",
    source="Folklore: a student that sees so few targets learns them by heart",
    says="One-step students copy training images",
    holds=lambda r: (
        min(r["median ratio, regression"], r["median ratio, CT"]) < r["median ratio, digits held out"]
    ),
    verdict=False,
    finding="Their digits lie no nearer to training digits than digits held out do: the median ratio is "
    "1.2 and 1.1, against 1.04. A mere count of near copies would miss a copy with noise of .2.",
)
def nearer_than_held_out() -> dict:
    """Medians of `copies` of what is no training digit, and the weakest noise that hides a copy."""
    result = copies()
    shown = {f"median ratio, {name}": result[name][1] for name in ("digits held out", "regression", "CT")}
    return shown | {"copies with noise 0.2 found, %": result["training digits + noise 0.2"][0]}
