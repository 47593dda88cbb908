"""Claims of chapter 8: practice.  Which sampler for which budget, what a condition does to samples, larger
pictures on a small machine, and a contest that counts calls.

The exact posterior, the exact tilted density and exact flows judge wherever they exist.  What takes minutes
comes from recorded studies in `recorded/`.
"""

import inspect
import math
from functools import cache

import numpy as np
import torch

from book.claims import claim, recorded
from book.problems import rms
from toolkit import EDM, VP, Network, grids, initial_noise, sample
from toolkit.data import digits
from toolkit.ddim import ddim
from toolkit.masked import Strings, bound, even, law, some, surest, total_variation
from toolkit.metrics import class_accuracy, frechet_distance, gaussian_w2_squared
from toolkit.multistep import ipndm
from toolkit.networks import DIGITS_SIGMA_DATA, digits_model, pretrained
from toolkit.ode import edm_heun, euler
from toolkit.scales import (
    Checkpointed,
    PeakMemory,
    PrincipalLatents,
    bytes_of_weights,
    enlarge,
    noise_error_at_scale,
    restart,
    rounded,
    shrink,
    spectrum,
)

# --- choosing a sampler ---------------------------------------------------------------------------------


# --- conditions -----------------------------------------------------------------------------------------


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------

EDM_LEVELS = EDM()
LARGE, SMALL = (1, 28, 28), (1, 7, 7)
WORDS = ("east", "seat", "eats", "teas", "sate", "test", "sets", "tees", "ease", "seas", "tats", "teat")
PREVIEWS = {"network, 7": "network's, 7 x 7", "real, 7": "real, 7 x 7", "real, 14": "real, 14 x 14"}


@cache
def large_digits(labels=tuple(range(10))):
    """The network of 28 x 28 pixels, a label a row."""
    return digits_model(EDM_LEVELS, torch.tensor(labels), "large-digits")


@cache
def drawn_previews(seed=4, labels=tuple(range(10))):
    """Previews (n, 1, 7, 7) of the network of 7 x 7 pixels: 19 calls, which cost what a tenth of one call of
    the large network does."""
    times = grids.karras(EDM_LEVELS, 10)
    noise = initial_noise(len(labels), SMALL, seed) * times[0]
    model = digits_model(EDM_LEVELS, torch.tensor(labels), "preview-digits")
    return sample(edm_heun, model, noise, times).x


def refine(level, calls=4, seed=4, labels=tuple(range(10))):
    """The previews, refined by so many calls of the large network from a level."""
    noise = initial_noise(len(labels), LARGE, seed)
    x = restart(EDM_LEVELS, drawn_previews(seed, labels), 4, level, noise)
    return sample(ipndm, large_digits(labels), x, grids.karras(EDM_LEVELS, calls, start=level)).x


def from_previews() -> dict:
    """Previews, the same enlarged, and what four calls of the large network make of them from four levels."""
    small = drawn_previews()
    enlarged = enlarge(small, 4)
    rows = {"preview": small.repeat_interleave(4, 2).repeat_interleave(4, 3), "enlarged": enlarged}
    return rows | {f"from {level:g}": refine(level) for level in (0.35, 0.7, 1.4, 5.6)}


def from_level(level, calls, seed):
    """For the widget: the enlarged previews, the state from which the large network goes on, its digits, and
    how far these are from the previews when they are made small again."""
    labels, noise = (0, 2, 3, 4, 5, 8), initial_noise(6, LARGE, seed)
    small = drawn_previews(seed, labels)
    digits = refine(level, calls, seed, labels)
    state = restart(EDM_LEVELS, small, 4, level, noise) / math.sqrt(1 + level**2)
    return enlarge(small, 4), state, digits, rms(shrink(digits, 4) - small)


@cache
def spectra() -> dict:
    """The power at each frequency of real digits, and of what enlarging from 14 and from 7 pixels a side has
    not got: label -> (15,)."""
    images = digits("test", 28)[0]
    lost = {
        f"lost at {28 // f} x {28 // f}": spectrum(images - enlarge(shrink(images, f), f)) for f in (2, 4)
    }
    return {name: power.numpy() for name, power in ({"digits": spectrum(images)} | lost).items()}


def hiding_levels() -> dict:
    """The level of noise whose power is that of the lost detail at the frequency where it has most; and the
    one at which noise hides the whole of it, |lost|^2 / 2 sigma^2 = 1."""
    images, found = digits("test", 28)[0], {}
    for side, factor in ((14, 2), (7, 4)):
        lost = images - enlarge(shrink(images, factor), factor)
        found[f"{side} x {side} | at each frequency"] = round(math.sqrt(spectrum(lost).max()), 2)
        whole = math.sqrt(float(lost.square().flatten(1).sum(1).mean()) / 2)
        found[f"{side} x {side} | all together"] = round(whole, 1)
    return found


@cache
def kept_of_previews() -> dict:
    """By the level: root mean square between previews and the refined digits made small again, of twenty
    digits; between two previews of one class it is the last number."""
    labels = tuple(range(10)) * 2
    small, found = drawn_previews(4, labels), {}
    for level in (0.7, 1.4, 2.8, 5.6, 11.0):
        found[f"from {level:g}"] = round(rms(shrink(refine(level, 4, 4, labels), 4) - small), 2)
    return found | {"another of the same class": round(rms(small[:10] - small[10:]), 2)}


def _scales(name, what="distance"):
    """(mean, standard error) over the recorded seeds."""
    found = np.array(recorded("scales")["runs"][name][what])
    return float(found.mean()), float(found.std(ddof=1) / math.sqrt(len(found)))


def _levels(kind, calls):
    names = [name.split(" | ") for name in recorded("scales")["runs"] if name != "floor"]
    return [float(level) for one, level, n in names if (one, n) == (kind, str(calls))]


def refined_distances() -> tuple:
    """Distance against the level where the large network takes over with four calls, of each kind of preview:
    label -> (levels, means, standard errors); and lines to compare with."""
    curves = {}
    for kind, label in PREVIEWS.items():
        levels = _levels(kind, 4)
        pairs = [_scales(f"{kind} | {level:g} | 4") for level in levels]
        curves[label] = (levels, *map(list, zip(*pairs)))
    direct = {f"no preview, {n} calls": _scales(f"direct | 80 | {n}")[0] for n in (4, 6, 12)}
    return curves, direct | {"real digits": _scales("floor")[0]}


def direct_and_refined() -> dict:
    """Recorded: the mean distance and its standard error, eight seeds of 200 digits each."""
    found = {}
    rows = {f"no preview, {n} calls": f"direct | 80 | {n}" for n in (2, 3, 4, 6, 8, 12)}
    rows |= {"preview, enlarged alone": "network, 7 | 0 | 0"}
    rows |= {f"preview, {n} calls from 5.6": f"network, 7 | 5.6 | {n}" for n in (2, 4)}
    for name, key in (rows | {"real digits": "floor"}).items():
        mean, error = _scales(key)
        found |= {f"{name} | distance": round(mean, 2), f"{name} | ±": round(error, 2)}
        found[f"{name} | read as their label"] = round(_scales(key, "accuracy")[0], 2)
    return found


def fresh_noise() -> dict:
    """Recorded: distances at eight calls, one seed of 200 digits."""
    rows = recorded("scales")["fresh"]
    return {name: round(row["distance"], 1) for name, row in rows.items() if name != "calls"}


@claim(
    "T57",
    source="Textbook, closing project, part 3",
    says="A preview at a low resolution that is refined at a high one saves calls.",
    holds=lambda r: r["preview"] + 2 * r["preview, error"] < r["no preview"] - 2 * r["no preview, error"],
    verdict=False,
    finding="Not with a network that was not trained for it: at four large calls the best level ties with "
    "no preview, 2.1 each, and from 1.4 the distance is six times as large, with real previews too."
    " What a preview saves is the large picture that nobody wants.",
    elsewhere={"1.4": "a level"},
)
def preview_or_none() -> dict:
    """Recorded distances at four calls of the large network, means and standard errors of eight seeds."""
    found = {}
    for label, key in (("no preview", "direct | 80 | 4"), ("preview", "network, 7 | 5.6 | 4")):
        found[label], found[f"{label}, error"] = _scales(key)
    return found | {
        "from 1.4": _scales("network, 7 | 1.4 | 4")[0],
        "real, from 1.4": _scales("real, 7 | 1.4 | 4")[0],
    }


# Latents


@cache
def principal(k=16):
    """Principal latents of the digits for training."""
    return PrincipalLatents(digits("train", 28)[0], k)


def latent_digits() -> dict:
    """Ten real digits, and the same from 4, 16 and 64 principal latents."""
    images, labels = digits("test", 28)
    rows = images[[int((labels == c).nonzero()[3]) for c in range(10)]]
    found = {"real": rows}
    return found | {f"{k} numbers": principal(k).decode(principal(k).encode(rows)) for k in (4, 16, 64)}


def lost_by_latents() -> dict:
    """Mean squared error a pixel of k principal latents, on the digits that they are made from, beside the
    sum of the variances left out; and on digits for testing."""
    found, (train, test) = {}, (digits(split, 28)[0] for split in ("train", "test"))
    for k in (4, 16, 64):
        latents = principal(k)
        error = lambda x, one=latents: float((one.decode(one.encode(x)) - x).square().mean())  # noqa: E731
        found[f"{k} | variance left out"] = round(float(latents.lost.sum()) / 784, 4)
        found[f"{k} | error, training digits"] = round(error(train), 4)
        found[f"{k} | error, test digits"] = round(error(test), 4)
    return found


def latent_bars() -> dict:
    """Recorded distances of reconstructed real digits, of the diffusion's samples, and of normal latents,
    beside 1,000 real digits."""
    names = {"reconstructed": "reconstructed", "samples": "diffusion", "normal latents": "normal latents"}
    found = recorded("latents")["latents"]
    return {
        f"{k} latents": {label: row[key]["distance"] for key, label in names.items()}
        for k, row in found.items()
    }


def latent_numbers() -> dict:
    """The same distances in one table."""
    return {
        f"{name} | {label}": round(value, 1)
        for name, row in latent_bars().items()
        for label, value in row.items()
    }


def latents_floor() -> float:
    """Recorded: the distance of 1,000 real digits."""
    return recorded("latents")["floor"]["distance"]


def joint_training() -> dict:
    """Recorded: autoencoder and diffusion by one loss, the means of the trainings."""
    names = {
        "none": "one loss, no care",
        "unit": "latents kept at variance 1",
        "stop": "no gradient to the encoder",
    }
    found = {}
    for care, label in names.items():
        runs = recorded("latents")["joint"][care]
        mean = lambda key, runs=runs: float(np.mean([run[key] for run in runs]))  # noqa: E731
        found[f"{label} | deviation of latents"] = round(
            float(np.mean([r["deviation"][-1] for r in runs])), 3
        )
        found[f"{label} | error of ε"] = round(mean("eps"), 3)
        found[f"{label} | share of image lost"] = round(mean("lost"), 2)
        found |= {f"{label} | distance, {i}": round(run["samples"]) for i, run in enumerate(runs, 1)}
    return found


def errors_at_scales() -> dict:
    """The least error of eps for normal latents of a deviation, averaged over the times of VP: label ->
    (deviations, errors)."""
    scales, times = np.geomspace(0.01, 3, 60), np.linspace(0.001, 1, 400)
    vp = VP()
    errors = [np.mean(noise_error_at_scale(scale, vp.alpha(times), vp.sigma(times))) for scale in scales]
    return {"error of ε": (scales, np.array(errors))}


@claim(
    "S30",
    source="Summary, section 4.5",
    says="Latent diffusion has three defects: detail is lost, what is lost stays lost, and the two parts are "
    "trained apart; training them together would mend it.",
    holds=lambda r: r["16 latents, reconstructed"] > 2 * r["real digits"],
    fails=lambda r: r["one loss, deviation at the end"] < 0.7 * r["one loss, deviation at most"],
    verdict="holds if",
    finding="The floor is there, 13 of a distance of 14 at 16 latents; at 64 it is 0.8 of 11, and the "
    "prior's is the larger one. One loss for both lets the latents shrink, since the error of ε "
    "falls with their size, and the samples of two trainings are no better.",
    elsewhere={"0.8": "latent_numbers"},
)
def latents_measured() -> dict:
    """Recorded: the floors of 16 principal latents, and what joint training does to the latents."""
    found, runs = recorded("latents"), recorded("latents")["joint"]["none"]
    return {
        "real digits": found["floor"]["distance"],
        "16 latents, reconstructed": found["latents"]["16"]["reconstructed"]["distance"],
        "16 latents, samples": found["latents"]["16"]["samples"]["distance"],
        "one loss, deviation at most": float(np.mean([max(run["deviation"]) for run in runs])),
        "one loss, deviation at the end": float(np.mean([run["deviation"][-1] for run in runs])),
    }


# Memory


def _chunked(loop, size, keyed=True, n=12):
    """n large digits of a sampler in chunks, with the most memory that lived: (samples, bytes).  keyed: noise
    of (seed, row), else the next numbers of one generator, chunk by chunk, as listings have it."""
    model, times = large_digits(tuple(i % 10 for i in range(n))), grids.karras(EDM_LEVELS, 3)
    noise = initial_noise(n, LARGE, 0) * times[0]
    with PeakMemory() as memory:
        if keyed:
            x = sample(loop, model, noise, times, batch_size=size, draws=1, eta=1.0).x
        else:
            generator = torch.Generator().manual_seed(1)
            rows = [
                sample(
                    loop, model.rows(i, i + size), noise[i : i + size], times, generator=generator, eta=1.0
                ).x
                for i in range(0, n, size)
            ]
            x = torch.cat(rows)
    return x, memory.peak


@claim(
    "P25",
    source="PyTorch tutorial, section 8.2",
    says="Samples can be drawn in chunks: the same pictures for less memory.",
    holds=lambda r: r["chunks of 4, keyed noise"] < 1e-3 and r["memory of one batch / of chunks of 4"] > 2,
    fails=lambda r: r["chunks of 4, one generator"] > 0.1,
    verdict="holds if",
    finding="If each picture has noise of its own, by its number, they are the same to rounding; with the "
    "next numbers of one generator the chunks change the pictures. The peak falls with the chunk.",
)
def chunks() -> dict:
    """Twelve digits of 28 x 28 by a sampler with fresh noise: largest difference between one batch and
    chunks, and the ratio of peaks."""
    (whole, most), (part, less) = _chunked(ddim, 12), _chunked(ddim, 4)
    (loose, _), (cut, _) = _chunked(ddim, 12, False), _chunked(ddim, 4, False)
    return {
        "chunks of 4, keyed noise": float((whole - part).abs().max()),
        "chunks of 4, one generator": float((loose - cut).abs().max()),
        "memory of one batch / of chunks of 4": round(most / less, 1),
    }


def gradient_memory() -> dict:
    """The most memory of a gradient through a run of the 8 x 8 network, 32 digits, by the number of calls, in
    megabytes: activations kept, and computed again."""
    net, found = pretrained("digits"), {}
    for label, one in (("kept", net), ("computed again", Checkpointed(net))):
        for calls in (4, 8, 16):
            times = grids.karras(EDM_LEVELS, calls)
            noise = (initial_noise(32, (1, 8, 8)) * times[0]).requires_grad_()
            with PeakMemory() as memory:
                model = Network(one, EDM_LEVELS, "edm", sigma_data=DIGITS_SIGMA_DATA)
                x = sample(euler, model, noise, times, gradients=True).x
                torch.autograd.grad(x.square().sum(), noise)
            found[f"{label} | {calls} calls"] = round(memory.peak / 1e6, 1)
    return found


# Speed


@claim(
    "BT31",
    source="Textbook, section 8.5.4",
    says="The square roots of 1 - ᾱ can be kept in a table of single precision.",
    holds=lambda r: r["from single precision"] < 1e-6,
    verdict=False,
    finding="As a store it is fine; computed there it is not. 1 - ᾱ of a rounded ᾱ has lost digits where ᾱ "
    "is near 1: at t = 1 the root is wrong in its fifth digit. Compute in double, then store.",
)
def root_of_rest() -> dict:
    """Relative error of sqrt(1 - abar) at two of the linear schedule's thousand steps, computed in single
    precision, and computed in double and then stored in single."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    exact = (-torch.expm1(torch.log1p(-betas).cumsum(0))).sqrt()
    single = (1 - torch.cumprod(1 - betas.float(), 0)).sqrt().double()
    wrong = lambda found: ((found - exact) / exact).abs()  # noqa: E731
    return {
        "from single precision": float(wrong(single)[0]),
        "from single precision, t = 500": float(wrong(single)[499]),
        "from double, stored in single": float(wrong(exact.float().double()).max()),
    }


def listed_step(x, t, model):
    """The compiled step as it is listed: its body stands for a formula."""
    ...


@claim(
    "BT30",
    source="Textbook, section 8.5.4",
    says="A decorator compiles the sampling step, and the loop calls it with the schedule's values.",
    holds=lambda r: r["arguments taken"] == r["arguments given"],
    verdict=False,
    finding="Three arguments are declared and five are given, a TypeError whatever compiles it. And no time"
    " of arrival is among them: it knows no steps but those of the table.",
)
def compiled_step() -> dict:
    """The arguments of the listed step, and those that its loop hands over."""
    return {"arguments taken": len(inspect.signature(listed_step).parameters), "arguments given": 5}


@claim(
    "T54",
    source="Textbook, section 8.5.4",
    says="Tables of coefficients, batches and a compiled loop make sampling faster.",
    holds=lambda r: min(r.values()) > 1.05,
    verdict=True,
    finding="Measured on one core: batches most of all, 17 times; a table 1.2 times for 250 rows; compiling"
    " 1.3 times on the small network, which pays after 400 runs.",
    elsewhere={"1.2": "speed_rows", "1.3": "speed_rows"},
)
def speed_claimed() -> dict:
    """Recorded ratios of the three."""
    rows = recorded("speed")["rows"]
    keys = (
        "one batch of 32 instead of 32 runs",
        "a table of coefficients, 250 rows",
        "torch.compile, 8 x 8, 250 rows",
    )
    return {key: rows[key]["ratio"] for key in keys}


def speed_rows() -> dict:
    """Recorded: processor time before over after, the median of seven pairs and their range."""
    found = {}
    for name, row in recorded("speed")["rows"].items():
        found |= {f"{name} | ratio": round(row["ratio"], 2), f"{name} | from": round(row["range"][0], 2)}
        found[f"{name} | to"] = round(row["range"][1], 2)
    return found


# Few bits

KINDS_OF_NUMBER = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@cache
def digits_at(weights="float64", state="float64", calls=10, n=64):
    """Digits (n, 1, 8, 8) float64, by a network whose weights and a loop whose state are of these kinds."""
    dtype = KINDS_OF_NUMBER | {"float64": torch.float64}
    net = pretrained("digits").to(dtype[weights])
    times = grids.karras(EDM_LEVELS, calls)
    noise = (initial_noise(n, (1, 8, 8), 0, torch.float64) * times[0]).to(dtype[state])
    model = Network(net, EDM_LEVELS, "edm", sigma_data=DIGITS_SIGMA_DATA)
    return sample(euler, model, noise, times).x.double()


def few_bits() -> dict:
    """RMSE to the run in float64 from the same noise, by the number of steps: label -> (steps, errors)."""
    steps, found = (5, 10, 20, 40, 80), {}
    for name in ("bf16", "fp16"):
        for label, kinds in ((f"{name} network", (name, "float32")), (f"{name} state", ("float32", name))):
            errors = [rms(digits_at(*kinds, calls) - digits_at(calls=calls)) for calls in steps]
            found[label] = (list(steps), errors)
    own = [rms(digits_at(calls=calls) - digits_at(calls=320)) for calls in steps]
    return found | {"Euler's own error": (list(steps), own)}


@claim(
    "S21",
    source="Summary, section 4.3",
    says="Half precision makes it faster and changes nothing that matters.",
    holds=lambda r: max(r["fp16 network"], r["bf16 network"]) < 0.5 * r["Euler's own error"],
    fails=lambda r: r["bf16 state"] > 0.5 * r["Euler's own error"],
    verdict="holds if",
    finding="If the state stays in single precision. Kept in bf16 it is rounded at each step, and the "
    "errors of the steps add up. What it gains is a matter of the processor: fp16 took four times "
    "as long on ours.",
)
def half_precision() -> dict:
    """RMSE of 80 steps to the run in float64, and to 320 steps of it."""
    return {name: errors[4] for name, (_, errors) in few_bits().items()}


def rounded_weights() -> dict:
    """Digits of ten calls with weights of few bits: RMSE to those of float32, the share read as their label,
    and the bytes of the weights."""
    labels, found = torch.arange(10).repeat(20), {}
    times = grids.karras(EDM_LEVELS, 10)
    noise = initial_noise(len(labels), (1, 8, 8)) * times[0]

    def run(net):
        model = Network(net, EDM_LEVELS, "edm", label=labels, sigma_data=DIGITS_SIGMA_DATA)
        return sample(ipndm, model, noise, times).x

    net = pretrained("digits")
    whole = run(net)
    for bits in (32, 8, 6, 5, 4, 3):
        x = whole if bits == 32 else run(rounded(net, bits))
        found[f"{bits} bits | RMSE"] = round(rms(x - whole), 3)
        found[f"{bits} bits | read as their label"] = round(class_accuracy(x, labels), 2)
        found[f"{bits} bits | kB of weights"] = round(bytes_of_weights(net, bits) / 1000)
    return found


# Strings


@cache
def strings():
    """Twelve words of the letters a, e, s and t, the n-th with a weight of 1 / n."""
    return Strings({word: 1 / n for n, word in enumerate(WORDS, 1)})


def no_words(rules):
    """The share of a sampler's strings that are no words."""
    found, _ = law(strings(), rules)
    place = (strings().mask + 1) ** torch.arange(3, -1, -1)
    return 1 - float(found[(strings().tokens * place).sum(1)].sum())


STRATEGIES = {
    "all at once": lambda: even(1),
    "two at random, then two": lambda: [some(2)] * 2,
    "the two surest, then two": lambda: [surest(2)] * 2,
    "one, then three": lambda: [some(1), some(3)],
    "three, then one": lambda: [some(3), some(1)],
    "one, one, two": lambda: [some(1), some(1), some(2)],
    "two, one, one": lambda: [some(2), some(1), some(1)],
    "one by one": lambda: [some(1)] * 4,
    "one by one, the surest first": lambda: [surest(1)] * 4,
}


def strategies() -> dict:
    """Exact: calls, total variation from the words' law, and the share of strings that are no words."""
    found = {}
    for name, rules in STRATEGIES.items():
        end, calls = law(strings(), rules())
        found[f"{name} | calls"] = round(calls, 2)
        found[f"{name} | distance"] = round(total_variation(strings(), end), 3)
        found[f"{name} | no words"] = round(no_words(rules()), 3)
    return found


@cache
def calls_and_distance() -> dict:
    """Exact: total variation against mean calls, of the diffusion in 1 to 64 steps and of numbers of letters
    that are fixed: label -> (calls, distances)."""
    steps = (1, 2, 3, 4, 6, 8, 16, 32, 64)
    fixed = ([4], [2, 2], [1, 1, 2])
    pairs = lambda runs: [law(strings(), run) for run in runs]  # noqa: E731
    curves = {
        "diffusion, steps 1 to 64": pairs(even(n) for n in steps),
        "so many at random": pairs([some(k) for k in ks] for ks in fixed),
        "so many, the surest": pairs([surest(k) for k in ks] for ks in fixed),
    }
    distance = lambda end: total_variation(strings(), end)  # noqa: E731
    return {
        name: ([calls for _, calls in found], [distance(end) for end, _ in found])
        for name, found in curves.items()
    }


def steps_and_distance() -> dict:
    """Exact: total variation, and the bound's excess over the entropy in nats, by the diffusion's steps:
    label -> (steps, errors)."""
    steps = [1, 2, 4, 8, 16, 32, 64]
    p = strings().probabilities
    entropy = -float(p @ p.log())
    return {
        "total variation": (steps, [total_variation(strings(), law(strings(), even(n))[0]) for n in steps]),
        "bound less entropy": (steps, [bound(strings(), n) - entropy for n in steps]),
    }


@claim(
    "S37",
    source="Summary, sections 5.2 and 5.3",
    says="Diffusion carries over to text: many letters are drawn at once, so it needs fewer calls.",
    holds=lambda r: r["one by one, distance"] < 1e-9,
    fails=lambda r: r["two calls, distance"] > 0.2,
    verdict="holds if",
    finding="One letter a call is exact, in whichever order. What is drawn at once is drawn as if "
    "independent: two calls for four letters miss by 0.29 in total variation, with the two surest "
    "first by 0.23.",
)
def parallel_letters() -> dict:
    """Exact, on the twelve words."""
    miss = lambda rules: total_variation(strings(), law(strings(), rules)[0])  # noqa: E731
    return {
        "one by one, distance": miss([some(1)] * 4),
        "two calls, distance": miss([some(2)] * 2),
        "two calls, surest first, distance": miss([surest(2)] * 2),
        "all at once, distance": miss(even(1)),
    }


# Measures


def inception_score(images):
    """exp of the mean KL between a picture's classes and all pictures' (Salimans et al. 2016), read by the
    shipped classifier."""
    with torch.no_grad():
        p = torch.softmax(pretrained("classifier")(images.float()), 1).double()
    return float((p * (p.clamp(min=1e-30) / p.mean(0)).log()).sum(1).mean().exp())


def copies(n=60):
    """Ten digits for training, the one of each class of which the classifier is surest, n times each."""
    images, labels = digits("train")
    with torch.no_grad():
        sure = torch.softmax(pretrained("classifier")(images), 1)
    rows = [int(sure[:, c].masked_fill(labels != c, -1).argmax()) for c in range(10)]
    return images[rows].repeat(n, 1, 1, 1)


@claim(
    "BS41, C38",
    source="Summary, section 5.4",
    says="FID favours quality, the inception score diversity.",
    holds=lambda r: r["ten copied digits, inception score"] < r["real digits, inception score"],
    verdict=False,
    finding="The inception score sees whether classes are missing and nothing within a class: ten copied "
    "digits, sixty times each, have 10, the best there is, and pale ones lose next to nothing. The "
    "Fréchet distance sees all three.",
)
def two_measures() -> dict:
    """600 digits each: inception score, and Fréchet distance from all digits."""
    real, copied = (
        digits("train")[0][torch.randperm(1437, generator=torch.Generator().manual_seed(0))[:600]],
        copies(),
    )
    pale = 0.7 * (real + 1) - 1
    half = digits("train")[0][digits("train")[1] < 5][:600]
    found = {}
    for name, images in (
        ("real digits", real),
        ("ten copied digits", copied),
        ("pale digits", pale),
        ("digits 0 to 4", half),
    ):
        found[f"{name}, inception score"] = round(inception_score(images), 2)
        found[f"{name}, Fréchet distance"] = round(frechet_distance(images), 3)
    return found


@cache
def bias_of_distance(d=64) -> dict:
    """The Fréchet distance of n normal points in d dimensions from the law that they come from: measured,
    means of four sets, and by the formula for large n: label -> (n, distances)."""
    sizes, generator = (16, 100, 1000, 10_000), torch.Generator().manual_seed(0)

    def distance(n):
        x = torch.randn(n, d, generator=generator, dtype=torch.float64)
        return gaussian_w2_squared(x.mean(0).numpy(), torch.cov(x.T).numpy(), np.zeros(d), np.eye(d))

    measured = [float(np.mean([distance(n) for _ in range(4)])) for n in sizes]
    return {
        "measured": (sizes, measured),
        "d/n + d(d+1)/4n": (sizes, [(d + d * (d + 1) / 4) / n for n in sizes]),
    }


# Pictures that were listed


@claim(
    "BP21",
    source="PyTorch tutorial, section 5.2",
    says="The listed function draws a grid of colour pictures into the figure at hand.",
    holds=lambda r: r["channels first are drawn"] and r["figures more than asked for"] == 0,
    verdict=False,
    finding="matplotlib wants channels last, and a second figure is opened within the first: what is saved "
    "is the other one. `book.plots.image_grid` takes (n, 1, h, w).",
)
def listed_grid() -> dict:
    """Whether pictures are drawn with their channels first and last, and how many figures there are after a
    function that opens one, as the listed one does, was called within a subplot."""
    import matplotlib.pyplot as plt

    def drawn(picture):
        try:
            plt.imshow(picture)
        except TypeError:
            return False
        return True

    picture, before = np.full((3, 8, 8), 0.5), set(plt.get_fignums())
    plt.figure()
    plt.subplot(1, 2, 1)
    plt.figure(figsize=(2, 2))  # the listed function's first line
    found = {
        "channels first are drawn": drawn(picture),
        "channels last are drawn": drawn(picture.transpose(1, 2, 0)),
        "figures more than asked for": len(set(plt.get_fignums()) - before) - 1,
    }
    for number in set(plt.get_fignums()) - before:
        plt.close(number)
    return found


@claim(
    "BP32",
    source="PyTorch tutorial, section 10.2",
    says="The listed chart compares four topics of research.",
    holds=lambda r: r["different values"] > 1,
    verdict=False,
    finding="All four values are 4, so it draws a square. One of its three alignments is in no case chosen:"
    " what is below 0 is below 0.1 too.",
    elsewhere={"0.1": "the listing's bound"},
)
def listed_chart() -> dict:
    """The values of the chart that is listed, and the alignments that its branches reach."""
    reached = set()
    for angle in np.linspace(0, 2 * np.pi, 400):
        reached.add("center" if np.cos(angle) < 0.1 else "right" if np.cos(angle) < 0 else "left")
    return {"different values": len(set([4] * 4)), "alignments reached, of three": len(reached)}


@claim(
    "R4",
    source="Summary, section 4.3",
    says="With η = η_max (t / T)² noise comes late in sampling.",
    holds=lambda r: r["share of the noise in the last half of the steps"] > 0.5,
    verdict=False,
    finding="t falls from T to 0, so η falls too: from 1 to 0.0006. The last half of forty steps has 3 % of"
    " its squares; with (1 - t / T)² it has 97 %.",
    elsewhere={"3 %": "late_noise", "97 %": "late_noise"},
)
def late_noise(steps=40) -> dict:
    """η at the start of each of forty even steps, and what share of Σ η² the last twenty have."""
    t = np.linspace(1, 0, steps + 1)[:-1]
    share = lambda eta: float((eta[steps // 2 :] ** 2).sum() / (eta**2).sum())  # noqa: E731
    return {
        "η of the first step": float(t[0] ** 2),
        "η of the last step": float(t[-1] ** 2),
        "share of the noise in the last half of the steps": share(t**2),
        "the same with (1 - t / T)²": share((1 - t) ** 2),
    }


# --- the contest ----------------------------------------------------------------------------------------
