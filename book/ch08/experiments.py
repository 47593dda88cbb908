"""Claims of chapter 8: practice.  Which sampler for which budget, what a condition does to samples, larger
pictures on a small machine, and a contest that counts calls.

The exact posterior, the exact tilted density and exact flows judge wherever they exist.  What takes minutes
comes from recorded studies in `recorded/`.
"""

import math
import statistics
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from book.claims import claim, recorded
from book.contest.commands import FOLDER
from book.contest.inside import loaded
from book.contest.scoring import column
from book.problems import rms
from toolkit import EDM, VP, Discrete, Guided, Mixture, Network, grids, initial_noise, sample
from toolkit.conditions import (
    ClassifierGuided,
    GuidedBetween,
    Reconstructed,
    class_log_prob,
    conditioned,
    dps,
    inpaint,
    tilted,
)
from toolkit.data import digits
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpmpp_2m
from toolkit.metrics import nearest_neighbour_ratio
from toolkit.networks import MLP, Conditioning, digits_model, pretrained
from toolkit.ode import heun
from toolkit.training import draw_times, fit, loss

# --- choosing a sampler ---------------------------------------------------------------------------------


# --- conditions -----------------------------------------------------------------------------------------

DOUBLE = {"dtype": torch.float64}
VPS = VP()
LINE = Mixture(
    [0.5, 0.5], [[-1.0], [1.0]], [0.5, 0.5]
)  # two classes on a line; the condition is the right one
LINE_MODEL = LINE.model(VPS)
SCALES = (1, 2, 4, 8)
WHERE = torch.linspace(-4, 5, 901, **DOUBLE)[:, None]  # a grid that holds all but 1e-8 of LINE


def spread_noise(n=800):
    """n points (n, 1) that stand for N(0, 1): its quantiles at (i + 1/2) / n."""
    return torch.special.ndtri((torch.arange(n, **DOUBLE) + 0.5) / n)[:, None]


def told(x):
    """Mean and deviation of x (n, 1) or (n,), floats."""
    return float(x.mean()), float(x.std(unbiased=False))


def pushed(model, n=800, steps=60):
    """Where the probability flow of `model` carries the quantiles of the noise, (n, 1): on a line no two
    trajectories cross, so that these are the quantiles of its samples, without any luck."""
    return sample(heun, model, spread_noise(n), grids.uniform_lambda(VPS, steps)).x


def tilted_moments(scale, label=1):
    """Mean and deviation of p(x) p(label | x)^scale on LINE, by quadrature."""
    weight = torch.softmax(tilted(LINE, label, scale, WHERE), 0)
    mean = float(weight @ WHERE[:, 0])
    return mean, float(weight @ (WHERE[:, 0] - mean) ** 2) ** 0.5


# Classifiers


def clean_log_prob(x, t):
    """log p(right | x) of LINE's data, asked at a state as if it were data: (B,)."""
    return torch.nn.functional.logsigmoid(8 * x[:, 0])


def guide(name, scale=1.0):
    """LINE's model, unconditional, guided to the right by one of three classifiers."""
    return ClassifierGuided(LINE_MODEL, GUIDES[name], scale)


GUIDES = {
    "knows the noise": class_log_prob(LINE_MODEL, 1),
    "clean, at the state": clean_log_prob,
    "clean, at the estimate": lambda x, t: clean_log_prob(LINE_MODEL.x0(x, t), t),
}


def classifier_curves(levels=(0.1, 0.7, 3.0), points=201):
    """The chance of the right class at x_t / alpha, by the level: what a classifier that knows the noise
    says, and what one of clean data says at the state and at the estimate: level -> label -> (x, chance)."""
    x, curves = torch.linspace(-3, 3, points, **DOUBLE)[:, None], {}
    for level in levels:
        t = float(VPS.t_of_lam(-math.log(level)))
        state = VPS.alpha(t) * x
        curves[level] = {
            name: (x[:, 0].numpy(), said(state if "state" not in name else x, t).exp().detach().numpy())
            for name, said in GUIDES.items()
        }
    return curves


@claim(
    "BS35, S32",
    source="Survey of samplers, section 4.7",
    says="A classifier of clean pictures, such as one that goes by text, can guide.",
    holds=lambda r: all(r[f"{name} | right of 0, %"] > 97 for name in GUIDES),
    fails=lambda r: all(
        abs(r[f"{name} | deviation"] - r["the class itself | deviation"]) > 0.15 for name in list(GUIDES)[1:]
    ),
    verdict="holds if",
    finding="If only the class counts: all of its samples fall into it. They are not samples of the class: a "
    "deviation of 0.22 asked at the state and of 0.30 at the estimate, where the class has 0.50, as has what "
    "a classifier that knows the noise guides.",
)
def three_classifiers() -> dict:
    """Mean, deviation and share of the wanted class of guided samples at scale 1, where the right answer is
    the class itself, N(1, 1/4), of which 2.3 % lie on the other side of 0."""
    found = {name: pushed(guide(name)) for name in GUIDES}
    found["the class itself"] = pushed(LINE_MODEL.with_label(1))
    result = {}
    for name, x in found.items():
        result[f"{name} | mean"], result[f"{name} | deviation"] = told(x)
        result[f"{name} | right of 0, %"] = 100.0 * float((x > 0).double().mean())
    return result


def study(part):
    """A part of the recorded study of conditions: name -> a row for each seed."""
    return recorded("conditions")[part]


def mean_of(rows, key):
    """The mean of a figure over seeds."""
    return sum(row[key] for row in rows) / len(rows)


GUIDE_ORDER = ("no condition", *list(GUIDES)[1:], "knows the noise", "labels in the network")
FILL_ORDER = ("replacement", "RePaint", "estimate", "DPS", "the digits")


def _place(order, name):
    """The place in `order` of the first entry that `name` begins with."""
    return next(i for i, head in enumerate(order) if name.startswith(head))


def guided_digits() -> dict:
    """Digits guided by three classifiers, and by the network's own labels: what their nearest real digit is,
    in %, and the Fréchet distance; 500 digits, means of three seeds."""
    result, found = {}, study("guides")
    for name in sorted(found, key=lambda name: (_place(GUIDE_ORDER, name), float(name.split(" | ")[1]))):
        (method, scale), rows = name.split(" | "), found[name]
        label = method if scale == "0" else f"{method}, w = {scale}"
        result[f"{label} | label, %"] = round(100 * mean_of(rows, "read"))
        result[f"{label} | FD"] = f"{mean_of(rows, 'FD'):.2g}"
    return result


# Guidance without a classifier


@claim(
    "S33, BS36",
    source="Survey of samplers, section 4.7",
    says="Guidance without a classifier needs two models, and twice the memory.",
    holds=lambda r: r["weights: two networks, guided"] == r["weights: one network, guided"],
    verdict=False,
    finding="One network does both. The word for no label is 96 of its 364,576 numbers; what doubles is the "
    "calls, 60 for 30.",
)
def one_network() -> dict:
    """Numbers that a guided run of the digits needs, with one network that knows no label too, and with a
    second one for that; and its calls."""
    net = pretrained("digits")
    size = sum(weights.numel() for weights in net.parameters())
    model, times = digits_model(EDM()), grids.karras(EDM(), 30)
    noise = float(times[0]) * initial_noise(2, (1, 8, 8), 0)
    calls = lambda one: sample(ddim, one, noise, times).nfe
    return {
        "weights: one network, guided": size,
        "weights: the word for no label": net.conditioning.classes.weight.shape[1],
        "weights: two networks, guided": 2 * size,
        "calls: with the label": calls(model.with_label(3)),
        "calls: guided": calls(Guided(model, 3, 2.0)),
    }


def dropped_labels() -> dict:
    """Root mean square error of a network's noise on a ring of four classes, by the share of labels that its
    training dropped: mean ± half the range of four trainings."""
    return {
        f"{float(share):.0%} dropped | {key}": _spread(rows, key)
        for share, rows in study("dropout").items()
        for key in ("label", "no label", "guided, w = 3")
    }


def _spread(rows, key, places=3, scale=1):
    found = [scale * row[key] for row in rows]
    return f"{sum(found) / len(found):.{places}f} ± {(max(found) - min(found)) / 2:.{places}f}"


# What guided samples are


def right_term(scale):
    """LINE's model with the term that does sample p(x) p(right | x)^scale: the slope of
    log E[p(right | x_0)^scale | x_t], the mean by quadrature."""

    def log_mean(x, t):
        alpha, sigma = VPS.alpha(float(t)), VPS.sigma(float(t))
        off = (x - alpha * WHERE[:, 0]) / sigma
        return torch.logsumexp(tilted(LINE, 1, scale, WHERE) - off**2 / 2, 1) - LINE_MODEL.log_prob(x, t)

    return ClassifierGuided(LINE_MODEL, log_mean)


@claim(
    "C34",
    source="Survey of samplers, section 4.7",
    says="Guidance sharpens: the larger the scale, the narrower the samples.",
    holds=lambda r: all(
        r[f"w = {b} | flow, deviation"] < r[f"w = {a} | flow, deviation"] - 0.02 for a, b in pairwise(SCALES)
    ),
    verdict=True,
    finding="On two Gaussians on a line the deviation of the flow's samples falls from 0.50 to 0.36, 0.29 "
    "and 0.25 at w = 2, 4 and 8, and their mean goes from 1.0 to 2.1, away from the other class.",
)
@claim(
    "BS36, density",
    source="Folklore, on what guidance samples",
    says="Guidance at scale w samples p(x) p(c | x)^w.",
    holds=lambda r: abs(r["w = 1 | flow, deviation"] - r["w = 1 | tilted, deviation"]) < 0.01,
    fails=lambda r: (
        abs(r["w = 4 | flow, mean"] - r["w = 4 | tilted, mean"]) > 0.5
        and abs(r["w = 4 | with noise, mean"] - r["w = 4 | tilted, mean"]) > 0.1
    ),
    verdict="holds if",
    finding="If w = 1. At w = 4 the flow's samples have mean 1.67 and deviation 0.29, the tilted density "
    "1.06 and 0.45; DDPM's, from the same guided score, 1.28 and 0.42.",
)
def guided_moments() -> dict:
    """Mean and deviation of guided samples on LINE by the flow, where no luck is, and by DDPM in 200 steps,
    on 4,000 noises, beside the tilted density by quadrature."""
    result = {}
    for w in SCALES:
        noisy = sample(
            ddim, Guided(LINE_MODEL, 1, w), spread_noise(4000), grids.uniform_lambda(VPS, 200), eta=1.0
        ).x
        rows = {
            "flow": told(pushed(Guided(LINE_MODEL, 1, w))),
            "with noise": told(noisy),
            "tilted": tilted_moments(w),
        }
        for name, (mean, deviation) in rows.items():
            result[f"w = {w} | {name}, mean"], result[f"w = {w} | {name}, deviation"] = mean, deviation
    return result


def right_guidance() -> dict:
    """The same flow with the right term at w = 4."""
    mean, deviation = told(pushed(right_term(4), 100, 40))
    wanted = tilted_moments(4)
    return {
        "the right term | mean": mean,
        "the right term | deviation": deviation,
        "the tilted density | mean": wanted[0],
        "the tilted density | deviation": wanted[1],
    }


def density_of(x):
    """(where, density) of a line's samples from their quantiles x (n, 1): the mass between two over their
    distance."""
    x = x[:, 0].sort().values
    return ((x[1:] + x[:-1]) / 2).numpy(), (1 / len(x) / x.diff()).numpy()


def tilted_curve(scale):
    """(where, density) of the tilted density on LINE."""
    weight = torch.softmax(tilted(LINE, 1, scale, WHERE), 0) / float(WHERE[1, 0] - WHERE[0, 0])
    return WHERE[:, 0].numpy(), weight.numpy()


def guided_densities(scales=(1, 2, 4)):
    """scale -> label -> (where, density): guided samples of the flow and of DDPM (smoothed a little), and the
    tilted density."""
    found = {}
    for w in scales:
        noisy = sample(
            ddim, Guided(LINE_MODEL, 1, w), spread_noise(8000), grids.uniform_lambda(VPS, 100), eta=1.0
        ).x
        kernel = Mixture.empirical(noisy)
        found[w] = {
            "tilted": tilted_curve(w),
            "flow, guided": density_of(pushed(Guided(LINE_MODEL, 1, w), 1000)),
            "DDPM, guided": (
                WHERE[::5, 0].numpy(),
                kernel.log_prob(WHERE[::5], sigma=0.08).exp().numpy(),
            ),
        }
    return found


# Guidance on some levels


def between_state(scale=4.0, low=0.0, high=20.0):
    """For the widget: the guided samples of LINE's flow with guidance on low < kappa <= high, beside the
    tilted density and the class itself; with means, deviations and calls.  high = 20 is no end."""
    high = max(high, low)
    end = high if high < 20 else math.inf
    run = sample(
        heun, GuidedBetween(LINE_MODEL, 1, scale, low, end), spread_noise(400), grids.uniform_lambda(VPS, 40)
    )
    return {
        "scale": scale,
        "levels": (low, high),
        "curves": {
            "the class": tilted_curve(1.0),
            "tilted": tilted_curve(scale),
            "guided": density_of(run.x),
        },
        "moments": {"guided": told(run.x), "tilted": tilted_moments(scale), "the class": (1.0, 0.5)},
        "calls": run.nfe,
    }


def scale_curves():
    """Fréchet distance of digits with labels against the scale, by the levels on which it acts: label ->
    (scales, lists of the seeds'); and that of as many real digits."""
    found = {}
    for name, rows in study("scales").items():
        if name != "floor":
            levels, scale = name.split(" | ")
            found.setdefault(levels, []).append((float(scale), [row["FD"] for row in rows]))
    plain = next(row for row in found["all levels"] if row[0] == 1)
    for levels, rows in found.items():
        found[levels] = tuple(zip(*sorted(rows if plain in rows else [plain, *rows])))
    floor = study("scales")["floor"]
    return found, sum(floor) / len(floor)


@claim(
    "G1",
    source="Kynkäänniemi et al. 2024, on where guidance is needed",
    says="Guidance belongs on levels in the middle.",
    holds=lambda r: all(r[f"w = {w} | seeds in which the middle is ahead"] == 8 for w in (2, 3, 5)),
    fails=lambda r: r["w = 1 | all levels"] < r["w = 2 | below 1"] / 2 < r["w = 2 | the middle"] / 2,
    verdict="holds if",
    finding="If the scale is given: from 0.3 to 3 it takes 37 calls for 60, and in all eight seeds the "
    "distance is smaller, 1.7 for 2.6 at w = 2. On these digits levels below 1 alone do less harm, 0.8, "
    "and no guidance is best, 0.16: their network needs none.",
    elsewhere={"0.3": "a level"},
)
def middle_levels() -> dict:
    """Fréchet distance of 1,000 digits, means of eight seeds, and calls: guidance on all levels, on 0.3 <
    kappa <= 3, and below 1."""
    found = study("scales")
    result = {"w = 1 | all levels": mean_of(found["all levels | 1"], "FD")}
    for w in (2, 3, 5):
        whole, middle = found[f"all levels | {w}"], found[f"0.3 to 3 | {w}"]
        result[f"w = {w} | all levels"] = mean_of(whole, "FD")
        result[f"w = {w} | the middle"] = mean_of(middle, "FD")
        result[f"w = {w} | below 1"] = mean_of(found[f"below 1 | {w}"], "FD")
        result[f"w = {w} | seeds in which the middle is ahead"] = sum(
            b["FD"] < a["FD"] for a, b in zip(whole, middle)
        )
        result[f"w = {w} | calls, all levels"] = whole[0]["calls"]
        result[f"w = {w} | calls, the middle"] = middle[0]["calls"]
    return result


# What is known of a picture: a pair of pixels, known exactly

PAIR = Mixture([1.0], [[0.0, 0.0]], covariances=[[[0.09, 0.081], [0.081, 0.09]]])  # correlation 0.9
PEAKS = Mixture([0.5, 0.5], [[-0.4, -1.0], [0.4, 1.0]], [0.3, 0.3])
GIVEN = {"pair": torch.tensor([0.5, 0.0]), "peaks": torch.tensor([0.15, 0.0])}
MASK = torch.tensor([True, False])
DATA = {"pair": PAIR, "peaks": PEAKS}
FILLED = 100  # steps


def fill(way, on="pair", n=2000, steps=FILLED, seed=0):
    """Samples (n, 2) float64 of two pixels of which the first is known, and the calls: by a name of WAYS."""
    solver, wrap, options = WAYS[way]
    model, known = DATA[on].model(VPS), GIVEN[on]
    told_of = {"known": known, "level": MASK} if solver is inpaint else {}
    told_of = {"known": known, "mask": MASK} if solver is dps else told_of
    model = Reconstructed(model, known, MASK, **wrap) if wrap is not None else model
    noise, times = initial_noise(n, 2, seed, **DOUBLE), grids.uniform_lambda(VPS, steps)
    run = sample(solver, model, noise, times, draws=seed + 1, **told_of, **options)
    return run.x, run.nfe


WAYS = {  # sampler, options of `Reconstructed` or None, options of the sampler
    "replacement": (inpaint, None, {}),
    "RePaint, 5 times": (inpaint, None, {"repeats": 5}),
    "RePaint, 20 times": (inpaint, None, {"repeats": 20}),
    "estimate, r = κ": (ddim, {}, {}),
    "estimate, r of one pixel": (ddim, {"std": 0.3}, {}),
    "estimate, r of the model": (ddim, {"std": "model"}, {}),
    "DPS, ζ = 0.1": (dps, None, {"zeta": 0.1}),
    "DPS, ζ = 1": (dps, None, {"zeta": 1.0}),
}
PUT_BACK, ESTIMATES = list(WAYS)[:3], list(WAYS)[3:]


def filled_moments(ways, on="pair", n=4000, steps=FILLED):
    """Mean and deviation of the unknown pixel, of the known one the root mean square miss, and the calls, by
    the way; and of the exact posterior."""
    exact = conditioned(DATA[on], GIVEN[on], MASK)
    result = {}
    for way in ways:
        x, calls = fill(way, on, n, steps)
        result[f"{way} | calls"] = calls
        result[f"{way} | known, off by"] = rms(x[:, 0] - GIVEN[on][0])
        result[f"{way} | mean"], result[f"{way} | deviation"] = told(x[:, 1])
    result["exact | mean"] = float(exact.mean()[1])
    result["exact | deviation"] = float(exact.covariance()[1, 1]) ** 0.5
    return result


@claim(
    "C35, P26",
    source="Practical guide, section 9.1",
    says="Known pixels put back at every step fill a hole.",
    holds=lambda r: abs(r["RePaint, 20 times | mean"] - r["exact | mean"]) < 0.02,
    fails=lambda r: abs(r["replacement | mean"] - r["exact | mean"]) > 0.1,
    verdict="holds if",
    finding="If steps are repeated. One pass has mean 0.30 and deviation 0.16 where 0.45 and 0.13 are right; "
    "five times as many calls bring the mean to 0.42, twenty times to 0.44.",
)
def put_back() -> dict:
    """Two pixels of deviation 0.3 and correlation 0.9, the first known to be 0.5: what the second gets by
    replacement and by RePaint, 100 steps."""
    return filled_moments(PUT_BACK)


def by_estimate() -> dict:
    """The same by the x0 estimate and by DPS, 100 steps."""
    return filled_moments(ESTIMATES)


def step_lengths() -> dict:
    """DPS with zeta = 0.1 by the number of steps: how far the known pixel is off, and the mean and deviation
    of the other."""
    result = {}
    for steps in (25, 100, 400):
        x, _ = fill("DPS, ζ = 0.1", n=2000, steps=steps)
        result[f"{steps} steps | known, off by"] = rms(x[:, 0] - 0.5)
        result[f"{steps} steps | mean"], result[f"{steps} steps | deviation"] = told(x[:, 1])
    return result


# The listing


def as_listed(steps, n=4000, T=1000, seed=0):
    """The listing's loop on the pair: every k-th of a table's T levels with the step of one level, and known
    pixels at the level that the step has just left."""
    schedule = Discrete.linear(T)
    betas = schedule.betas
    model, generator = PAIR.model(schedule), torch.Generator().manual_seed(seed)
    normal = lambda: torch.randn(n, 2, generator=generator, **DOUBLE)
    x = normal()
    for i in reversed(range(0, T, T // steps)):
        t = (i + 1) / T
        mean = (x - betas[i] / schedule.sigma(t) * model.eps(x, t)) / math.sqrt(1 - betas[i])
        x = mean + (math.sqrt(betas[i]) * normal() if i else 0)
        noisy = schedule.alpha(t) * GIVEN["pair"] + schedule.sigma(t) * normal()
        x = torch.where(MASK, noisy, x)
    return x


@claim(
    "BP29",
    source="Practical guide, section 9.1, the listing",
    says="The listing fills a hole in a hundred steps of a thousand.",
    holds=lambda r: abs(r["100 of 1000 | mean"] - r["exact | mean"]) < 0.05,
    verdict=False,
    finding="With 100 of its 1,000 levels the second pixel has mean 0.05 and deviation 0.73, where 0.45 and "
    "0.13 are right: each step removes the noise of one level and not of ten. With all 1,000 it is what one "
    "pass of replacement is, 0.32 and 0.17.",
)
def listed() -> dict:
    """The second pixel by the listing's loop, with 100 and with 1,000 of a table's 1,000 levels."""
    result = {}
    for steps in (100, 1000):
        mean, deviation = told(as_listed(steps)[:, 1])
        result[f"{steps} of 1000 | mean"], result[f"{steps} of 1000 | deviation"] = mean, deviation
    exact = conditioned(PAIR, GIVEN["pair"], MASK)
    result["exact | mean"] = float(exact.mean()[1])
    result["exact | deviation"] = float(exact.covariance()[1, 1]) ** 0.5
    return result


# Two peaks: the posterior has two sides


def filled_densities(ways=("replacement", "RePaint, 20 times", "estimate, r of one pixel"), n=2000):
    """(label -> the unknown pixel's samples (n,), the exact posterior as (where, density)) on two peaks."""
    where = torch.linspace(-2.2, 2.2, 400, **DOUBLE)
    exact = conditioned(PEAKS, GIVEN["peaks"], MASK)
    line = Mixture(exact.weights, exact.means[:, 1:], covariances=exact.covariances[:, 1:, 1:])
    samples = {way: fill(way, "peaks", n)[0][:, 1].numpy() for way in ways}
    return samples, (where.numpy(), line.log_prob(where[:, None]).exp().numpy())


def upper_share(ways=tuple(WAYS), n=4000) -> dict:
    """Share of samples on the upper peak, in %, and what is right."""
    exact = conditioned(PEAKS, GIVEN["peaks"], MASK)
    result = {way: 100 * float((fill(way, "peaks", n)[0][:, 1] > 0).double().mean()) for way in ways}
    return result | {"exact": 100 * float(exact.weights[1])}


# Digits


def half_digits(n=8, steps=20):
    """Large digits of the test split of which the upper half is known, and what fills the lower: row ->
    (n, 1, 28, 28)."""
    images = digits("test", side=28)[0][60::120][:n]
    mask = torch.zeros(1, 28, 28, dtype=torch.bool)
    mask[:, :14] = True
    model, times = digits_model(EDM(), name="large-digits"), grids.karras(EDM(), steps)
    noise = float(times[0]) * initial_noise(n, (1, 28, 28), 0)
    told_of = {"known": images, "level": mask}
    estimate = lambda **options: Reconstructed(model, images, mask, **options)
    rows = {"digit": images, "known": torch.where(mask, images, -1.0)}
    rows["replacement"] = sample(inpaint, model, noise, times, **told_of).x
    rows["RePaint, 5 times"] = sample(inpaint, model, noise, times, repeats=5, **told_of).x
    rows["estimate, r = κ"] = sample(ddim, estimate(), noise, times, eta=1.0).x
    rows["estimate, model's r"] = sample(ddim, estimate(std="model"), noise, times, eta=1.0).x
    return {name: x.clamp(-1, 1) for name, x in rows.items()}


def half_counts() -> dict:
    """Small digits whose upper half is known, 360 of the test split, 30 steps, three seeds: what the whole is
    read as, in %; how far both halves are off; calls."""
    result, found = {}, study("inpainting")
    for name in sorted(found, key=lambda name: (_place(FILL_ORDER, name), mean_of(found[name], "read"))):
        rows = found[name]
        result[f"{name} | calls"] = rows[0]["calls"]
        result[f"{name} | read right, %"] = (
            _spread(rows, "read", 0, 100) if len(rows) > 1 else f"{rows[0]['read']:.0%}"[:-1]
        )
        result[f"{name} | known, off by"] = f"{mean_of(rows, 'known off'):.2g}"
        result[f"{name} | filled, off by"] = f"{mean_of(rows, 'filled off'):.2f}"
    return result


# Noise by region


@claim(
    "S37, regions",
    source="Survey of samplers, section 5.2",
    says="Parts of a picture can be controlled by noise of another level in each.",
    holds=lambda r: all(
        abs(r[f"level {level} | held, mean"] - r[f"level {level}, exact | held, mean"]) < 0.06
        for level in (0.1, 0.3, 1)
    ),
    fails=lambda r: (
        abs(r["level 0.1 | mean"] - r["level 0.1, exact | mean"]) > 0.08
        and abs(r["level 0.3, 5 times | held, mean"] - r["level 0.3, exact | held, mean"]) > 0.15
    ),
    verdict="holds if",
    finding="If it is the held pixel that counts, and steps are not repeated. Held down to level 0.1, 0.3 or "
    "1 it keeps 0.41, 0.22 and 0.04 of its 0.5; an observation with that noise would leave 0.45, 0.25 and "
    "0.04. Its neighbour hears too little at a low level, 0.29 for 0.41 at 0.1, and steps made five times "
    "below the level forget it: 0.05 for 0.25.",
    elsewhere={"0.1": "a level", "0.3": "a level", "0.5": "what is known"},
)
def region_noise() -> dict:
    """Two pixels of deviation 0.3 and correlation 0.9, the first held to 0.5 down to a level and then free,
    in 100 steps: means and deviations of both, and the exact ones of a pixel observed as 0.5 with that noise.
    At one level also with the steps made five times.
    """
    result = {}
    model, times = PAIR.model(VPS), grids.uniform_lambda(VPS, FILLED)
    noise = initial_noise(4000, 2, 0, **DOUBLE)
    for level, repeats in ((0.0, 1), (0.1, 1), (0.3, 1), (1.0, 1), (0.3, 5)):
        limits = torch.tensor([level, math.inf])
        held = {"known": GIVEN["pair"], "level": limits, "repeats": repeats}
        run = sample(inpaint, model, noise, times, draws=1, **held)
        exact = conditioned(PAIR, GIVEN["pair"], limits)
        gain = PAIR.covariances[0, :, 0] / (PAIR.covariances[0, 0, 0] + level**2)
        wide = (
            exact.covariances[0].diagonal() + (gain * level) ** 2
        ).sqrt()  # and the observation's own noise
        name = f"level {level:g}" + (f", {repeats} times" if repeats > 1 else "")
        rows = {name: (run.x.mean(0), run.x.std(0)), f"level {level:g}, exact": (exact.means[0], wide)}
        for label, (mean, deviation) in rows.items():
            for pixel, i in (("held, ", 0), ("", 1)):
                result[f"{label} | {pixel}mean"] = float(mean[i])
                result[f"{label} | {pixel}deviation"] = round(float(deviation[i]), 4)
    return result


def region_digits(n=8, steps=40):
    """Large digits redrawn with noise of another level in each half: row -> (n, 1, 28, 28)."""
    images = digits("test", side=28)[0][50::110][:n]
    model, times = digits_model(EDM(), name="large-digits"), grids.karras(EDM(), steps)
    noise = float(times[0]) * initial_noise(n, (1, 28, 28), 3)
    rows = {"digit": images}
    for upper, lower in ((0.2, 0.2), (0.2, 1.0), (1.0, 0.2), (0.0, 3.0)):
        level = torch.full((1, 28, 28), upper)
        level[:, 14:] = lower
        run = sample(inpaint, model, noise, times, known=images, level=level)
        rows[f"levels {upper:g}, {lower:g}"] = run.x.clamp(-1, 1)
    return rows


# Words

WORDS = ["near", "far", "north", "south", "east", "west"]
HELD_OUT = "far north east"


def _places():
    """Text of all its words -> centre: two radii, eight directions."""
    found = {}
    for i, way in enumerate(
        ("east", "north east", "north", "north west", "west", "south west", "south", "south east")
    ):
        for reach, radius in (("near", 0.7), ("far", 1.6)):
            angle = math.pi / 4 * i
            found[f"{reach} {way}"] = (radius * math.cos(angle), radius * math.sin(angle))
    return found


PLACES = _places()
PLACE_STD = 0.12


class WordConditioning(Conditioning):
    """(c, words) -> (B, width): the vectors of the words (B, L) added up; 0 is no word, and its vector 0."""

    def __init__(self, width, n_words, waves=32):
        super().__init__(width, n_words, waves)
        self.classes = nn.Embedding(n_words + 1, width, padding_idx=0)

    def rows(self, c, words):
        """As `networks.Conditioning.rows`, a vector a sample."""
        vectors = self.classes(words).sum(1)
        return nn.functional.silu(self.level(self._waves(c)) + vectors), None


class TextMLP(MLP):
    """An MLP told words: net(x, c, words), words (B, L) of `tokens` in any order; None says nothing."""

    make_conditioning = WordConditioning

    def condition(self, x, c, label):
        """The conditioning's table, with no word where label is None."""
        words = torch.zeros(len(x), 1, dtype=torch.int64) if label is None else label
        return self.conditioning.rows(c, words)


def tokens(texts, words=3):
    """Texts as whole numbers (n, words): 1 + each word's place in WORDS, and 0, no word."""
    rows = [[1 + WORDS.index(word) for word in text.split()] for text in texts]
    return torch.tensor([row + [0] * (words - len(row)) for row in rows])


def captioned(n, generator, all_places=False):
    """n points (n, 2) and their whole texts as tokens (n, 3): places drawn alike often, HELD_OUT left out
    unless all_places."""
    names = [name for name in PLACES if all_places or name != HELD_OUT]
    which = torch.randint(len(names), (n,), generator=generator)
    centres = torch.tensor([PLACES[name] for name in names])
    return centres[which] + PLACE_STD * torch.randn(n, 2, generator=generator), tokens(names)[which]


@cache
def text_network(steps=1200, dropped=0.2, whole=0.1, seed=0):
    """A TextMLP trained on captioned points: each word is dropped with a chance of `dropped`, and the whole
    text with one of `whole`."""
    torch.manual_seed(seed)
    net = TextMLP(shape=(2,), n_classes=len(WORDS), width=64, blocks=3)
    model = Network(net, VPS, predicts="v")

    def loss_of(generator):
        x0, words = captioned(256, generator)
        kept = torch.rand(words.shape, generator=generator) >= dropped
        kept &= torch.rand(len(words), 1, generator=generator) >= whole
        t = draw_times("uniform", VPS, 256, generator)
        return loss(model.with_label(words * kept), x0, torch.randn(x0.shape, generator=generator), t)

    return Network(fit(net, loss_of, steps=steps, seed=seed).net, VPS, predicts="v")


def places_of(text):
    """The places whose text has all the words of `text`."""
    return [name for name in PLACES if set(text.split()) <= set(name.split())]


def said(text, scale=1.0, n=300, steps=30, seed=0, network=None):
    """Points (n, 2) for a text, guided at `scale` against no word."""
    model, noise = network or text_network(), initial_noise(n, 2, seed)
    guided = Guided(model, tokens([text]), scale) if scale != 1 else model.with_label(tokens([text]))
    return sample(dpmpp_2m, guided, noise, grids.uniform_lambda(VPS, steps)).x


TEXTS = ("far south", "east near", "far", "north", HELD_OUT, "north south")


def text_clouds(scale=2.0):
    """Text -> [all places, the points that the network makes of it]."""
    every = captioned(800, torch.Generator().manual_seed(1), True)[0]
    return {text: [every, said(text, scale)] for text in TEXTS}


def found_in(x, names):
    """Share of points (n, 2) that lie within three and a half deviations of one of these places."""
    centres = torch.tensor([PLACES[name] for name in names])
    return float((torch.cdist(x, centres).amin(1) < 3.5 * PLACE_STD).double().mean())


@claim(
    "P27, BP31",
    source="Practical guide, section 9.2",
    says="A network with an input for text is all that a condition by text needs, guidance included.",
    holds=lambda r: r["texts dropped | far south, w = 3"] > 90,
    fails=lambda r: r["texts kept | far south, w = 3"] < 50,
    verdict="holds if",
    finding="If its training dropped texts: at w = 3 far south is then obeyed by 99 % of the points. With "
    "texts always there guidance leaves 0 %, for the network never learned what it is told by no text.",
)
def words_obeyed() -> dict:
    """Share of points in a place that the text allows, in %, by the text, the scale, and whether the training
    dropped words and texts; means of three trainings."""
    return {name: round(100 * sum(shares) / len(shares)) for name, shares in study("words").items()}


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------


# --- the contest ----------------------------------------------------------------------------------------

NAMES = {
    "gaussians": "Gaussians, no network",
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "heun": "Heun",
    "dpmpp_2m": "DPM-Solver++ 2M",
    "ipndm": "iPNDM, analytic start",
    "consistency": "consistency model",
    "flow_map": "MeanFlow",
    "learned": "learned solver",
}


def contest_curves():
    """{"curves": {baseline: (calls, geometric means)}, "floor"}: the baselines' samplers with the networks
    that ship; what was refused in a column has no number there."""
    found = recorded("contest")
    curves = {}
    for name, columns in found["shipped"].items():
        means = [_mean(scores) for scores in columns.values()]
        curves[NAMES[name]] = (
            [int(calls) for calls in columns],
            [math.nan if m is None else m for m in means],
        )
    return {"curves": curves, "floor": found["floor"][0]}


def _mean(scores):
    """The geometric mean of a column's distances; None where one was refused."""
    if any("why" in one for one in scores):
        return None
    return math.exp(statistics.fmean(math.log(one["frechet"]) for one in scores))


def contest_table():
    """The same as rows; of eight noises the geometric mean."""
    curves = contest_curves()["curves"]
    return {
        f"{name} | {_calls(calls)}": "refused" if math.isnan(mean) else float(f"{mean:.2g}")
        for name, (counts, means) in curves.items()
        for calls, mean in zip(counts, means)
    }


def _calls(calls):
    return f"{calls} call{'s' if int(calls) > 1 else ''}"


def contest_boxed(part="baselines"):
    """Baselines as the contest runs them.  "baselines": 45 s on a busy machine, mean and interval of three
    trainings, or that one of them was refused; "full": one training of 90 s on an idle one."""
    found = recorded("contest")[part]
    return {
        f"{NAMES[name]} | {_calls(calls)}": _interval(scores)
        for name, its in found.items()
        for calls, scores in its["columns"].items()
    }


def _interval(scores):
    one = column(scores)
    if one is None:
        return "refused"
    return f"{one.mean:.2g}" + (f" [{one.low:.2g}, {one.high:.2g}]" if len(scores) > 1 else "")


def contest_carried():
    """What a Gaussian for each class scores, by how many of its directions it has."""
    found = recorded("contest")["gaussians"]
    shown = {"Fréchet distance": "frechet", "near a digit of the data": "near"}
    return {
        f"{one['numbers']:,} numbers | {what}": float(f"{one[key]:.2g}")
        for one in found.values()
        for what, key in shown.items()
    }


def contest_copies(stored="all of them"):
    """Shares nearer than half a spacing, and than 0.7, and the distance, of what is made from stored digits;
    and of what is honest."""
    found = recorded("contest")
    rows = found["honest"] if stored == "honest" else found["copies"][stored]
    told = {}
    for name, one in rows.items():
        told |= {f"{name} | below 0.5": f"{one['copies']:.1%}", f"{name} | below 0.7": f"{one['near']:.0%}"}
        told[f"{name} | Fréchet distance"] = f"{one['frechet']:.2g}" if "frechet" in one else ""
        told[f"{name} | gate"] = "passes" if one["copies"] <= 0.02 and one["near"] <= 0.12 else "refused"
    return told


def contest_samples(calls=1):
    """{row: images (10, 1, 8, 8)} of baselines with the shipped networks, from one noise, digits 0 to 9."""
    noise, labels = initial_noise(10, (1, 8, 8), 3), torch.arange(10)
    rows = {}
    shipped = {"ddim": "digits", "dpmpp_2m": "digits", "consistency": "student-consistency"}
    for name, network in shipped.items():
        entry = loaded((FOLDER / f"{name}.py").read_text("utf8"))
        with torch.no_grad():
            rows[NAMES[name]] = entry["sample"](pretrained(network), noise, labels, calls, None)
    entry = loaded((FOLDER / "gaussians.py").read_text("utf8"))
    _, notes = entry["train"](*digits("train"), 0.0, 0)
    return rows | {NAMES["gaussians"]: entry["sample"](None, noise, labels, calls, notes)}


def contest_forgeries():
    """{row: images (10, 1, 8, 8)}: a stored digit of each class and what is made of it, half a spacing of
    noise, the way to a near digit, a difference of two others; each row's name tells the median of r."""
    chosen, near, other = _stored()
    size = lambda x: x.flatten(1).norm(dim=1)[:, None, None, None]  # noqa: E731
    spacing, step = size(near - chosen), near - other
    made = {
        "stored": chosen,
        "noise added": chosen + 0.5 * spacing * _unit(initial_noise(10, (1, 8, 8), 5), size),
        "halfway to a near one": (chosen + near) / 2,
        "a difference added": chosen + spacing * _unit(step, size),
    }
    every = digits("all")[0]
    return {
        f"{name}, r = {np.median(nearest_neighbour_ratio(x, every)):.1f}": x.clamp(-1, 1)
        for name, x in made.items()
    }


@cache
def _stored():
    """A training digit of each class, its nearest of the class, and another: each (10, 1, 8, 8)."""
    images, labels = digits("train")
    rows = []
    for digit in range(10):
        mine = images[labels == digit]
        order = (mine - mine[0]).flatten(1).norm(dim=1).argsort()
        rows.append(mine[order[[0, 1, 5]]])
    return torch.stack(rows, 1).unbind()


def contest_forger(way=0.5, noise=0.0):
    """{"stored", "changed", "nearest digit": images (10, 1, 8, 8), "r": (10,)}: stored digits, moved by the
    share `way` towards a near one and by `noise` spacings in a random direction."""
    chosen, near, _ = _stored()
    size = lambda x: x.flatten(1).norm(dim=1)[:, None, None, None]  # noqa: E731
    aside = size(near - chosen) * _unit(initial_noise(10, (1, 8, 8), 5), size)
    changed = (chosen + way * (near - chosen) + noise * aside).clamp(-1, 1)
    every = digits("all")[0]
    nearest = every[torch.cdist(changed.flatten(1), every.flatten(1)).argmin(1)]
    ratio = nearest_neighbour_ratio(changed, every)
    return {"stored": chosen, "changed": changed, "nearest digit": nearest, "r": ratio}


def _unit(x, size):
    return x / size(x)
