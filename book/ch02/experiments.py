"""Claims of chapter 2: denoising diffusion implicit models.

Exact wherever the data allow it: on N(0, 1/4) a sampler's output variance is a sum of squares
(`exact_variance`), and on mixtures the probability-flow ODE is solved to twelve digits (`reference`).  Each
experiment takes no argument and returns a dict label -> number.
"""

import math
from functools import cache

import numpy as np
import torch
from scipy import stats

from book.claims import claim, recorded, tried_on
from book.problems import ON_COSINE, ON_SIX_MODES, ON_THREE_PEAKS, RING, rms, two_peaks
from toolkit import (
    VE,
    VP,
    Discrete,
    GaussianFlow,
    Mixture,
    QuantileFlow,
    VPCosine,
    exact_variance,
    grids,
    initial_noise,
    sample,
)
from toolkit.convergence import reference
from toolkit.ddim import (
    curvature,
    ddim,
    ddim_adaptive,
    ddim_coefficients,
    ddim_invert,
    ddim_sigma,
    lerp,
    slerp,
)
from toolkit.ddpm import ddpm, ddpm_coefficients, posterior, step_variances, transition, vlb_weight
from toolkit.noise import Noise

LINEAR = Discrete.linear(1000)
COUNTS = (10, 20, 50, 100, 1000)
DOUBLE = {"dtype": torch.float64}
BATCHES = tuple(range(8))
ON_COSINE_LINEAR = {"the cosine table": {"LINEAR": Discrete.cosine(1000)}}


@cache
def ring_truth(seed=0, n=200):
    """(x_T, the ring's exact flow of x_T), both (n, 2) float64, for VP."""
    x = initial_noise(n, 2, seed, **DOUBLE)
    return x, reference(RING.model(VP()), x, VP().start, VP().end, 1e-7)


def mean_and_sd(name, values) -> dict:
    """{name: mean, name + ", sd": standard deviation} of the values of independent batches."""
    return {name: float(np.mean(values)), f"{name}, sd": float(np.std(values, ddof=1))}


def gaussian_eps_square(schedule, times, std=0.5):
    """gamma(t) = E|eps(x_t, t)|^2 / d for data N(0, std^2) at times[:-1], exactly: sigma^2 /
    (alpha^2 std^2 + sigma^2).
    """
    t = np.asarray(times)[:-1]
    return schedule.sigma(t) ** 2 / (schedule.alpha(t) ** 2 * std**2 + schedule.sigma(t) ** 2)


# --- what few steps cost --------------------------------------------------------------------------------


def variances(counts=COUNTS):
    """Exact output variance on N(0, 1/4) of four samplers: dict sampler -> list, one number for each of
    `counts` steps.
    """
    result = {
        "DDPM, posterior variance": [],
        "DDPM, forward variance": [],
        "DDPM, optimal variance": [],
        "DDIM": [],
    }
    for steps in counts:
        times = grids.strided(LINEAR, steps)
        gamma = gaussian_eps_square(LINEAR, times)
        ways = ({"variance": "posterior"}, {"variance": "beta"}, {"variance": "analytic", "gamma": gamma})
        for name, options in zip(result, ways):
            result[name].append(exact_variance(ddpm, LINEAR, times, **options))
        result["DDIM"].append(exact_variance(ddim, LINEAR, times))
    return result


@claim(
    "BP6, C36",
    source="PyTorch tutorial, section 1.3; introduction to DDIM",
    says="With few steps DDIM is the better sampler, and DDPM the worse one.",
    holds=lambda r: all(closer(r, "DDIM", "posterior", n) for n in (5, 10, 20, 50)),
    fails=lambda r: all(closer(r, "forward", "DDIM", n) for n in (5, 10, 20, 50)),
    verdict="holds if",
    finding="If DDPM is the one with the posterior variance: at 5, 10, 20 and 50 steps DDIM comes closer to "
    "the true .25. It fails for the forward variance, which comes closer still. On images with a "
    "trained network the order is another.",
)
@tried_on(ON_COSINE_LINEAR)
def few_steps() -> dict:
    """Exact variances on N(0, 1/4) at 5, 10, 20 and 50 steps."""
    counts = (5, 10, 20, 50)
    result = variances(counts)
    short = {"DDPM, posterior variance": "posterior", "DDPM, forward variance": "forward", "DDIM": "DDIM"}
    return {f"{short[name]}, {n} steps": v for name in short for n, v in zip(counts, result[name])}


def closer(result, one, other, steps):
    """Whether the variance of `one` in `few_steps` is nearer to 1/4 than that of the `other`."""
    return abs(result[f"{one}, {steps} steps"] - 0.25) < abs(result[f"{other}, {steps} steps"] - 0.25)


@claim(
    "BI2, BS19",
    source="Introduction to DDIM; summary, section 4.2",
    says="It is the randomness (or the Markov property) of DDPM that makes it slow; being deterministic "
    "is what lets DDIM skip steps.",
    holds=lambda r: (
        r["calls, DDIM"] < r["calls, DDPM"]
        or all(abs(r["variance, DDIM"] - 0.25) < abs(r[f"variance, {v}"] - 0.25) for v in NOISY)
    ),
    verdict=False,
    finding="A step costs one call either way, and both can skip. Were noise the hindrance, DDIM would lose "
    "least in ten steps; it keeps .137 of the variance .25, and DDPM .111, .244 or .250, by its "
    "variance. What limits the step is the error made in it.",
)
@tried_on(ON_COSINE_LINEAR)
def steps_not_noise() -> dict:
    """Calls of the model, and exact variance on N(0, 1/4), for ten steps with and without noise."""
    times, model = grids.strided(LINEAR, 10), Mixture.gaussian(1, 0.5).model(LINEAR)
    x = initial_noise(4, 1, 0, **DOUBLE)
    result = {f"variance, {name}": row[0] for name, row in variances((10,)).items()}
    calls = {name: sample(loop, model, x, times).nfe for name, loop in (("DDIM", ddim), ("DDPM", ddpm))}
    return result | {f"calls, {name}": nfe for name, nfe in calls.items()}


NOISY = ("DDPM, posterior variance", "DDPM, forward variance", "DDPM, optimal variance")


# --- the family -----------------------------------------------------------------------------------------


def walk_family(eta, times, n=4000, seed=0, broken=False, mixture=None):
    """Walk down the family with the true x_0: x_T by the jump, then x_s from q_eta(x_s | x_t, x_0).

    broken=True adds the noise without shortening the direction to make room for it.  Returns the residuals
    (x_s - alpha_s x_0) / sigma_s, (steps, n) float64, which must all be standard normal.
    """
    mixture = mixture or two_peaks()
    schedule, x0 = VP(), mixture.sample(n, seed)[:, 0]
    z = initial_noise(n, len(times), seed + 1, **DOUBLE)
    x, result = schedule.alpha(times[0]) * x0 + schedule.sigma(times[0]) * z[:, 0], []
    for k, (t, s) in enumerate(zip(times[:-1], times[1:])):
        c = ddim_sigma(schedule, t, s, eta)
        room = schedule.sigma(s) ** 2 - (0 if broken else c**2)
        eps = (x - schedule.alpha(t) * x0) / schedule.sigma(t)
        x = schedule.alpha(s) * x0 + math.sqrt(room) * eps + c * z[:, k + 1]
        result.append((x - schedule.alpha(s) * x0) / schedule.sigma(s))
    return torch.stack(result).numpy()


def sampled_marginals(eta, times, n=4000, seed=0, broken=False):
    """The sampler itself, with the exact model: Kolmogorov-Smirnov distance times sqrt(n) of x_s from the
    true marginal, a list.

    x_T is drawn from the true marginal at times[0].  broken=True is a DDIM whose noise takes no room
    from the direction.
    """
    from scipy.special import ndtr

    mixture, schedule = two_peaks(), VP()
    model, t0 = mixture.model(schedule), float(times[0])
    x = schedule.alpha(t0) * mixture.sample(n, seed) + schedule.sigma(t0) * initial_noise(
        n, 1, seed + 1, **DOUBLE
    )
    weight, mean, std = mixture.weights.numpy(), mixture.means[:, 0].numpy(), mixture.stds.numpy()
    loop = (
        ddim_without_room(model, x, times, eta, seed + 2)
        if broken
        else ddim(model, x, times, eta=eta, rng=seed + 2)
    )
    result = []
    for t, x in loop:
        mu, sd = schedule.alpha(t) * mean, np.sqrt(schedule.alpha(t) ** 2 * std**2 + schedule.sigma(t) ** 2)
        result.append(kolmogorov(ndtr((x.numpy() - mu) / sd) @ weight))
    return result[1:]


def kolmogorov(u):
    """sqrt(n) times the Kolmogorov-Smirnov distance of u (n,) from the uniform distribution on [0, 1]."""
    return float(math.sqrt(len(u)) * stats.kstest(u, "uniform", method="asymp").statistic)


def ddim_without_room(model, x, times, eta, seed):
    """A broken DDIM, for the test to catch: the noise is added on top of the full direction sigma_s eps."""
    times = torch.as_tensor(times).tolist()
    noises = Noise(seed).normals(x, times)
    a, b, _ = ddim_coefficients(model.schedule, times)
    yield times[0], x
    for i, (t, s) in enumerate(zip(times[:-1], times[1:])):
        x = a[i] * x + b[i] * model.eps(x, t) + ddim_sigma(model.schedule, t, s, eta) * next(noises)
        yield s, x


LEVELS = 20  # of the walk down the family
# what `kolmogorov` exceeds once in a hundred times: at one level, and at the worst of all (by Bonferroni)
KS_1_PERCENT, KS_WORST = (round(float(stats.kstwobign.ppf(1 - 0.01 / n)), 3) for n in (1, LEVELS))


@claim(
    "C03, T02",
    source="Textbook, section 8.1.2",
    says="Every member of the family has the same marginals q(x_t | x_0) as DDPM.",
    holds=lambda r: all(
        (v > (KS_WORST if "family" in k else KS_1_PERCENT)) == ("broken" in k) for k, v in r.items()
    ),
    verdict=True,
    finding="The test accepts eta = 0, 0.5 and 1, and rejects a sampler that adds the noise without making "
    "room for it. The noise may not exceed sigma_s.",
    figure="family-figure",
)
@tried_on(ON_COSINE | ON_THREE_PEAKS)
def marginals_kept() -> dict:
    """Worst sqrt(n) KS distance over 20 levels for the family with the true x_0; then the sampler
    at its last state.
    """
    from scipy.special import ndtr

    times = grids.uniform_lambda(VP(), LEVELS).tolist()

    def worst(**options):
        return max(map(kolmogorov, ndtr(walk_family(times=times, **options))))

    result = {f"family, eta {eta:g}": worst(eta=eta) for eta in (0.0, 0.5, 1.0)}
    result["family, broken, eta 0.5"] = worst(eta=0.5, broken=True)
    fine = grids.uniform(VP(), 250)
    result |= {f"sampler, eta {eta:g}": sampled_marginals(eta, fine)[-1] for eta in (0.0, 0.5, 1.0)}
    return result | {"sampler, broken, eta 0.5": sampled_marginals(0.5, fine, broken=True)[-1]}


def sampler_among_more_points(n=40_000) -> dict:
    """The sampler's last test for more points, at eta = 1."""
    return {f"sampler, {n:,} points, eta 1": sampled_marginals(1.0, grids.uniform(VP(), 250), n=n)[-1]}


@claim(
    "BT7, T11",
    source="Textbook, section 8.1.4",
    says="DDIM (eta = 0) minimises a modified variational bound.",
    holds=lambda r: r["weight at eta 0.01, relative"] < 10,
    verdict=False,
    finding="Nothing is trained anew, and at eta = 0 there is no bound: its weights grow like 1/eta^2 "
    "without limit. For eta > 0 it is, up to a constant, the same objective with other weights, whose "
    "optimum a sufficiently flexible network shares.",
)
@tried_on(ON_COSINE_LINEAR)
def weights_against_eta() -> dict:
    """w(eta) / w(1), the weight of the noise-prediction error in the bound, for a step of the 1000-step
    table in the middle.
    """
    return {
        f"weight at eta {eta:g}, relative": bound_weight(LINEAR, 0.5, 0.499, eta)
        / vlb_weight(LINEAR, 0.5, 0.499)
        for eta in (1.0, 0.1, 0.01)
    }


def bound_weight(schedule, t, s, eta):
    """Weight of |eps - eps_model|^2 in J_eta for the step from t to s: b^2 / (2 c^2), b the
    coefficient of eps.
    """
    _, (b,), (c,) = ddim_coefficients(schedule, [t, s], eta)
    return b**2 / (2 * c**2)


@claim(
    "BT2, C04, P01",
    source="Textbook, section 8.1.3",
    says="eta = 1 is DDPM.",
    holds=lambda r: r["largest difference from the posterior"] < 1e-13,
    fails=lambda r: abs(r["variance, 10 steps, eta 1"] - r["variance, 10 steps, DDPM forward"]) > 0.1,
    verdict="holds if",
    finding="If DDPM is the one with the posterior variance: to machine precision. It fails for the forward "
    "variance, whose last steps add more noise and which over ten strided steps ends at twice the variance.",
    figure="terms",
)
@tried_on(ON_COSINE_LINEAR)
def is_ddpm() -> dict:
    """Largest difference of the coefficients of DDIM at eta = 1 and of DDPM's posterior, over all steps of
    the table but the last.
    """
    times = np.arange(1000, 0, -1) / 1000
    ours = ddim_coefficients(LINEAR, times, 1.0)
    theirs = (*ddpm_coefficients(LINEAR, times), np.sqrt(step_variances(LINEAR, times, "posterior")).tolist())
    ratios = {
        n: posterior(LINEAR, n / 1000, (n - 1) / 1000)[2] / LINEAR.betas[n - 1] for n in (2, 10, 100, 1000)
    }
    return {
        "largest difference from the posterior": max(
            float(np.abs(np.subtract(u, v)).max()) for u, v in zip(ours, theirs)
        ),
        **{f"posterior / forward variance, n = {n}": float(r) for n, r in ratios.items()},
        "variance, 10 steps, eta 1": exact_variance(ddim, LINEAR, grids.strided(LINEAR, 10), eta=1.0),
        "variance, 10 steps, DDPM forward": exact_variance(
            ddpm, LINEAR, grids.strided(LINEAR, 10), variance="beta"
        ),
    }


# --- listings -------------------------------------------------------------------------------------------


@claim(
    "BT3, C24, T04",
    source="Textbook, section 8.1.3",
    says="np.linspace(0, 999, 50).astype(int) is an even sub-sequence of 50 steps to sample along.",
    holds=lambda r: (
        r["gaps of 21"] == 0
        and r["n that its first entry stands for"] == 0
        and r["sigma left at its end"] == 0
    ),
    verdict=False,
    finding="It rises, so it must be reversed; its gaps are 20 and 21; and fifty points are forty-nine steps "
    "that stop one short of clean data. The step to alpha-bar = 1 has to be added.",
)
@tried_on(ON_COSINE_LINEAR)
def fifty_of_a_thousand() -> dict:
    """np.linspace(0, 999, 50).astype(int), counted, and read in falling order; and `grids.strided`."""
    index = np.linspace(0, 999, 50).astype(int)
    gaps = np.diff(index)
    falling = (index[::-1] + 1) / 1000
    return {
        "gaps of 20": int((gaps == 20).sum()),
        "gaps of 21": int((gaps == 21).sum()),
        "n that its first entry stands for": int(index[0]) + 1,
        "sigma left at its end": LINEAR.sigma(float(falling[-1])),
        "steps it makes": len(falling) - 1,
        "different gaps, grids.strided": len(set(np.rint(np.diff(grids.strided(LINEAR, 50).numpy()) * 1000))),
        "calls, grids.strided": sample(
            ddim, Mixture.gaussian().model(LINEAR), initial_noise(1, 1), grids.strided(LINEAR, 50)
        ).nfe,
    }


@claim(
    "BP2, BP3, P02",
    source="PyTorch tutorial, section 1.2",
    says="A DDIM loop may walk its time steps from 1 to 999, and scale the predicted x0 by "
    "sqrt(alpha-bar_next / alpha-bar).",
    holds=lambda r: (
        min(
            abs(r["gain, walked upwards"] - r["gain, exact flow"]),
            abs(r["gain, ratio on the predicted x0"] - r["gain, exact flow"]),
        )
        < 0.05
    ),
    verdict=False,
    finding="Walked upwards, the loop makes noise and then guesses x_0 from it in one jump, which "
    "shrinks everything to nothing; the ratio belongs to x_t, and on the predicted x0 it blows up. (As "
    "printed, the two together also take the root of a negative number, BP4.)",
    figure="clamp-figure",
)
@tried_on(ON_COSINE_LINEAR)
def ascending() -> dict:
    """Gain x_0 / x_T on N(0, 1/4), the last step going to clean data, of: the right loop, along
    `grids.strided`; the listing's grid walked upwards from x_T; the signal ratio put on the predicted x0.
    """
    index = np.linspace(1, 999, 50).round() / 1000

    def gain(order, ratio):
        x, times = 1.0, list(order)
        for t, s in zip(times[:-1], times[1:]):
            a, b = LINEAR.alpha(t), LINEAR.sigma(t)
            eps = b * x / (a * a / 4 + b * b)
            x0 = (x - b * eps) / a
            x = (LINEAR.alpha(s) / a if ratio else LINEAR.alpha(s)) * x0 + LINEAR.sigma(s) * eps
        return x

    strided = grids.strided(LINEAR, 50).tolist()
    return {
        "gain, exact flow": float(GaussianFlow(LINEAR, 0.0, 0.5).map(torch.ones(1, 1), 1.0, 0.0)),
        "gain, right loop": gain(strided, False),
        "gain, walked upwards": gain([*index, 0.0], False),
        "gain, ratio on the predicted x0": gain(strided, True),
    }


@claim(
    "BI10",
    source="Introduction to DDIM, listing",
    says="The product alpha-bar may be worked out anew from the betas in every step.",
    holds=lambda r: r["multiplications, anew in each step"] < 10 * r["multiplications, once"],
    verdict=False,
    finding="It gives the same numbers, at T (T + 1) / 2 multiplications in place of T. The same listing "
    "leaves its alpha_t unused. A single step is a fair request, and the sampler answers it.",
)
def product_in_each_step() -> dict:
    """Multiplications for alpha-bar of T = 1000 steps both ways, their largest difference, and the calls of a
    run of one step.
    """
    signal, T = 1 - LINEAR.betas, LINEAR.T
    once = np.cumprod(signal)
    anew = np.array([np.prod(signal[: n + 1]) for n in range(T)])
    one = sample(ddim, RING.model(LINEAR), initial_noise(4, 2, 0, **DOUBLE), grids.strided(LINEAR, 1))
    return {
        "multiplications, once": T,
        "multiplications, anew in each step": T * (T + 1) // 2,
        "largest difference": float(np.abs(anew - once).max()),
        "calls, one step": one.nfe,
    }


SD_TABLE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012}
SD_TABLE |= {"beta_schedule": "scaled_linear", "prediction_type": "epsilon", "clip_sample": False}


def spacing(name, steps=50):
    """The times at which diffusers' DDIMScheduler calls the network, and the end: timestep_spacing = `name`,
    for the table of Stable Diffusion.
    """
    from toolkit.interop import times_of

    return times_of({"_class_name": "DDIMScheduler", "timestep_spacing": name} | SD_TABLE, steps)


def variance_from_noise(schedule, times, std):
    """Exact variance of DDIM's result on N(0, std^2), divided by std^2, started from N(0, 1); x0 is asked of
    the model, not eps, so that alpha may be 0 at the start.
    """
    model, x = Mixture.gaussian(1, std).model(schedule), torch.ones(1, 1, **DOUBLE)
    times = torch.as_tensor(times).tolist()
    for t, s in zip(times[:-1], times[1:]):
        x0 = model.x0(x, t)
        x = schedule.alpha(s) * x0 + schedule.sigma(s) * (x - schedule.alpha(t) * x0) / schedule.sigma(t)
    return float(x / std) ** 2


def terminal_signal() -> dict:
    """Share of the variance of N(0, 10^2) data that DDIM brings back from N(0, 1) noise: all 1000 steps of
    three tables, then 50 steps of one table by diffusers' spacings.
    """
    root = np.linspace(SD_TABLE["beta_start"] ** 0.5, SD_TABLE["beta_end"] ** 0.5, 1000)
    stable = Discrete(root**2)
    tables = {"table of Ho et al.": LINEAR, "Stable Diffusion's": stable}
    tables["Stable Diffusion's, zero terminal SNR"] = Discrete.zero_terminal_snr(root**2)
    result = {}
    for name, table in tables.items():
        result[f"{name}, signal at T"] = table.alpha(1.0)
        result[f"{name}, share brought back"] = variance_from_noise(table, grids.strided(table, 1000), 10.0)
    for name in ("leading", "linspace", "trailing"):
        share = variance_from_noise(stable, spacing(name), 10.0)
        result[f"Stable Diffusion's in 50 steps: {name}, share brought back"] = share
    return result


@claim(
    "BP33",
    source="PyTorch tutorial, all sampling listings",
    says="A final clamp to [-1, 1] only tidies the samples up.",
    holds=lambda r: r["share outside, ratio misplaced"] < 2 * r["share outside, right loop"],
    verdict=False,
    finding="It also hides a sampler that diverges: with the ratio on the predicted x0 nearly all pixels lie "
    "far outside, and after the clamp they are black-and-white digits that a classifier reads. Look at the "
    "range before you clamp.",
    figure="clamp-figure",
)
@tried_on(ON_COSINE_LINEAR)
def clamp_hides() -> dict:
    """100 digits of 8 x 8 in 50 steps, by the right loop and with the ratio on the predicted x0: share of
    pixels outside [-1.1, 1.1] and largest value before the clamp, share of labels that the classifier reads
    after.
    """
    from toolkit.metrics import class_accuracy
    from toolkit.networks import digits_model

    labels, result = torch.arange(100) % 10, {}
    model, times = digits_model(LINEAR, label=labels), grids.strided(LINEAR, 50).tolist()
    for name, misplaced in (("right loop", False), ("ratio misplaced", True)):
        x = initial_noise(100, (1, 8, 8), 0)
        for t, s in zip(times[:-1], times[1:]):
            with torch.no_grad():
                eps = model.eps(x, t)
            x0 = (x - LINEAR.sigma(t) * eps) / LINEAR.alpha(t)
            ratio = LINEAR.alpha(s) / (LINEAR.alpha(t) if misplaced else 1)
            x = ratio * x0 + LINEAR.sigma(s) * eps
        result[f"share outside, {name}"] = round(float((x.abs() > 1.1).double().mean()), 2)
        result[f"largest value, {name}"] = float(f"{float(x.abs().max()):.1e}")
        result[f"read as its label after the clamp, {name}"] = round(
            class_accuracy(x.clamp(-1, 1), labels), 2
        )
    return result


@claim(
    "BI7, I05",
    source="Introduction to DDIM, listing",
    says="The direction term sqrt(1 - alpha-bar) eps may be drawn afresh as noise at each step.",
    holds=lambda r: abs(r["fresh noise, 1000 steps"] - 0.25) < 0.01,
    verdict=False,
    finding="That is the member of the family with the largest noise, and it forgets x_t but for the "
    "predicted x0. At least half of the variance is lost, whatever the number of steps: .12 of .25 is left "
    "after 1000, .11 after 50, .08 after 10.",
)
@tried_on(ON_COSINE_LINEAR)
def fresh_noise() -> dict:
    """Output variance on N(0, 1/4) when the direction term is replaced by fresh noise sigma_s z, exactly; and
    by DDIM.
    """

    def run(steps):
        times = grids.strided(LINEAR, steps).tolist()
        variance = 0.25 * LINEAR.alpha(1.0) ** 2 + LINEAR.sigma(1.0) ** 2
        for t, s in zip(times[:-1], times[1:]):
            a, b = LINEAR.alpha(t), LINEAR.sigma(t)
            gain = a / 4 / (a * a / 4 + b * b)  # the exact x0 of x_t, a multiple of it
            variance = (LINEAR.alpha(s) * gain) ** 2 * variance + LINEAR.sigma(s) ** 2
        return variance

    counts = (2, 10, 50, 1000)
    right = {f"DDIM, {n} steps": exact_variance(ddim, LINEAR, grids.strided(LINEAR, n)) for n in counts}
    return {f"fresh noise, {n} steps": run(n) for n in counts} | right


@claim(
    "BI3, I04",
    source="Introduction to DDIM, update formula",
    says="A deterministic step is x_0 / sqrt(alpha-bar) + sqrt(1 - alpha-bar) eps.",
    holds=lambda r: all(abs(v - 1) < 0.01 for k, v in r.items() if "divided" in k),
    verdict=False,
    finding="The signal is multiplied by sqrt(alpha-bar), not divided. On data of variance 1 the step must "
    "leave the variance at 1; divided, it multiplies it by thousands near the noise.",
)
@tried_on(ON_COSINE_LINEAR)
def inverted_root() -> dict:
    """Variance of x_n for data of variance 1 when x_0 is divided by alpha instead of multiplied, eps being
    right: exact.
    """
    result = {}
    for n in (1000, 500, 100):
        bar = float(LINEAR.alpha_bar[n])
        result[f"n = {n}, divided"] = 1 / bar + 1 - bar
        result[f"n = {n}, multiplied"] = bar + 1 - bar
    return result


@claim(
    "BS16, S16",
    source="Summary, section 3.6",
    says="The direction term is a unit vector, eps / |eps|, times sqrt(1 - alpha-bar).",
    holds=lambda r: abs(r["D = 3072: variance, unit vector"] - 1) < 0.05,
    verdict=False,
    finding="A noise vector has length near sqrt(d), and that length is needed: normalised, the noise "
    "all but disappears, the more so the larger d.",
)
@tried_on(ON_COSINE_LINEAR)
def normalised_direction() -> dict:
    """Variance a coordinate after one DDIM step on unit Gaussian data when eps is divided by its norm, d =
    16, 256, 3072.
    """
    t, s, result = 0.5, 0.45, {}
    a, b = LINEAR.alpha(t), LINEAR.sigma(t)
    for d in (16, 256, 3072):
        x = initial_noise(400, d, 0, **DOUBLE)
        eps, x0 = b * x, a * x
        unit = LINEAR.alpha(s) * x0 + LINEAR.sigma(s) * eps / eps.norm(dim=1, keepdim=True)
        result[f"D = {d}: norm of x over √D"] = float(x.norm(dim=1).mean() / math.sqrt(d))
        result[f"D = {d}: variance, unit vector"] = float(unit.var())
        result[f"D = {d}: variance, DDIM"] = float((LINEAR.alpha(s) * x0 + LINEAR.sigma(s) * eps).var())
    return result


# --- what is determined ---------------------------------------------------------------------------------


@claim(
    "BI1, I03, C10",
    source="Introduction to DDIM",
    says="DDIM sampling is deterministic: one x_T, one x_0.",
    holds=lambda r: r["eta 0, two seeds"] == 0,
    fails=lambda r: r["eta 0.2, two seeds"] > 0.1,
    verdict="holds if",
    finding="If eta = 0: to the last bit. It fails at eta = 0.2 and 1, unless the noise is fixed too, and "
    "then DDPM is reproducible as well.",
    figure="bundles",
)
@tried_on(ON_SIX_MODES | ON_COSINE)
def determinism() -> dict:
    """Largest difference of two runs from one x_T on the ring, 50 steps."""
    model, times = RING.model(VP()), grids.quadratic(VP(), 50)
    x = initial_noise(200, 2, 0, **DOUBLE)

    def gap(eta, *seeds):
        first, second = (sample(ddim, model, x, times, eta=eta, draws=seed).x for seed in seeds)
        return float((first - second).abs().max())

    return {
        "eta 0, two seeds": gap(0.0, 1, 2),
        "eta 1, two seeds": gap(1.0, 1, 2),
        "eta 0.2, two seeds": gap(0.2, 1, 2),
        "eta 1, same seed": gap(1.0, 1, 1),
    }


@claim(
    "BI4, I06",
    source="Introduction to DDIM",
    says="DDIM can jump straight from Gaussian noise to clean data.",
    holds=lambda r: r["variance a coordinate"] > 0.5 * r["variance of the data"],
    verdict=False,
    finding="One jump returns the posterior mean E[x_0 | x_T], which for pure noise is the mean of the "
    "data: every sample the same blur.",
)
@tried_on(ON_COSINE_LINEAR)
def one_jump() -> dict:
    """A single DDIM step from pure noise to the end, on an off-centre ring: distance from the
    data mean, and spread.
    """
    mixture = Mixture(torch.ones(8), RING.means + torch.tensor([0.7, 0.3]), torch.full((8,), 0.08))
    model = mixture.model(LINEAR)
    x = initial_noise(2000, 2, 0, **DOUBLE)
    out = sample(ddim, model, x, [1.0, 0.0]).x
    return {
        "largest distance from the data mean": float((out - mixture.mean()).norm(dim=1).max()),
        "variance a coordinate": float(out.var(0).mean()),
        "variance of the data": float(mixture.covariance().diagonal().mean()),
        "difference from E[x_0 | x_T]": float((out - model.x0(x, 1.0)).abs().max()),
    }


def mode_spreads():
    """Standard deviation of 400 samples about the ring's modes (the data: 0.080), for 5 and 20 steps and
    three eta: mean and standard deviation over `BATCHES`.
    """
    model, result = RING.model(VP()), {}
    for steps in (5, 20):
        for eta in (0.0, 0.5, 1.0):
            spreads = []
            for seed in BATCHES:
                x, times = initial_noise(400, 2, seed, **DOUBLE), grids.quadratic(VP(), steps)
                end = sample(ddim, model, x, times, eta=eta, draws=seed + 50).x
                spreads.append(rms(torch.cdist(end, RING.means).min(1).values) / math.sqrt(2))
            result |= mean_and_sd(f"{steps} steps, eta {eta:g}", spreads)
    return result


FAR_START = (-1.6, 1.9)  # an x_T far from every mode, so that DDIM's path is seen


def bundle_counts(n=400) -> dict:
    """How many of n runs from x_T = `FAR_START` end in the fullest and in the emptiest of the eight modes,
    40 steps.
    """
    start, result = torch.tensor([FAR_START], **DOUBLE).expand(n, 2).clone(), {}
    for eta in (0.0, 0.5, 1.0):
        end = sample(ddim, RING.model(VP()), start, grids.quadratic(VP(), 40), eta=eta, draws=1).x
        counts = torch.bincount(torch.cdist(end, RING.means).argmin(1), minlength=8).tolist()
        result |= {f"eta {eta:g}: fullest mode": max(counts), f"eta {eta:g}: emptiest mode": min(counts)}
    return result


# --- a solver -------------------------------------------------------------------------------------------


def euler_in_kappa(model, x, times):
    """Euler's method for dy = eps d kappa, y = x / alpha, kappa = sigma / alpha, written without DDIM: the
    final x.
    """
    schedule, times = model.schedule, torch.as_tensor(times).tolist()
    y = x / schedule.alpha(times[0])
    for t, s in zip(times[:-1], times[1:]):
        y = y + (math.exp(-schedule.lam(s)) - math.exp(-schedule.lam(t))) * model.eps(
            schedule.alpha(t) * y, t
        )
    return schedule.alpha(times[-1]) * y


def euler_in_t(model, x, times):
    """Euler's method for dx = (f x + g^2 / (2 sigma) eps) dt (Song et al. 2021, eq. 13): the final x."""
    schedule, times = model.schedule, torch.as_tensor(times).tolist()
    for t, s in zip(times[:-1], times[1:]):
        x = x + (s - t) * (schedule.f(t) * x + schedule.g2(t) / (2 * schedule.sigma(t)) * model.eps(x, t))
    return x


@claim(
    "BT11, C13, T12",
    source="Textbook, section 8.2.4",
    says="DDIM is Euler's method for the probability-flow ODE.",
    holds=lambda r: all(v < 1e-10 for k, v in r.items() if "sigma/alpha" in k),
    fails=lambda r: all(v > 0.01 for k, v in r.items() if "in t" in k),
    verdict="holds if",
    finding="If the steps are taken in sigma/alpha: to rounding, on three schedules. It fails in t: another "
    "method.",
)
@tried_on(ON_SIX_MODES)
def which_euler() -> dict:
    """DDIM against both Euler methods, 10 steps, float64; relative to the size of x."""
    mixture, result = RING, {}
    for name, schedule in (("VP", VP()), ("cosine", VPCosine()), ("VE", VE())):
        model, times = mixture.model(schedule), grids.uniform(schedule, 10)
        x = initial_noise(200, 2, 0, **DOUBLE) * schedule.sigma(schedule.start)
        out = sample(ddim, model, x, times).x
        result[f"{name}: DDIM - Euler in sigma/alpha"] = float(
            (out - euler_in_kappa(model, x, times)).abs().max()
        )
        result[f"{name}: DDIM - Euler in t"] = float((out - euler_in_t(model, x, times)).abs().max())
    return result


@claim(
    "BT11b",
    source="Textbook, section 8.2.4, and folklore",
    says="DDIM is always the better of the two Euler methods.",
    holds=lambda r: (
        r["error on the ring, 10 steps: DDIM"] < r["error on the ring, 10 steps: Euler in t"]
        and abs(r["variance on N(0, 1), 10 steps: DDIM"] - 1)
        < abs(r["variance on N(0, 1), 10 steps: Euler in t"] - 1)
    ),
    verdict=False,
    finding="On N(0, 1) data nothing moves under the flow, and Euler in t is exact at any number of "
    "steps where DDIM is not; on the ring, too, its error is smaller at 10 and at 40 equal steps in t. "
    "Which constant is smaller depends on data, grid and schedule; the order is one for both.",
)
@tried_on(ON_SIX_MODES | ON_COSINE)
def better_euler() -> dict:
    """Error against the exact flow on one grid, equal steps in t: DDIM and Euler in t, 10 and 40 steps, mean
    and standard deviation over `BATCHES`; and the exact variance on N(0, 1) data, 10 steps.
    """
    schedule, model, result = VP(), RING.model(VP()), {}
    for steps in (10, 40):
        times, errors = grids.uniform(schedule, steps), ([], [])
        for x, exact in map(ring_truth, BATCHES):
            errors[0].append(rms(sample(ddim, model, x, times).x - exact))
            errors[1].append(rms(euler_in_t(model, x, times) - exact))
        result |= mean_and_sd(f"error on the ring, {steps} steps: DDIM", errors[0])
        result |= mean_and_sd(f"error on the ring, {steps} steps: Euler in t", errors[1])
    times = grids.uniform(schedule, 10)
    unit, start = Mixture.gaussian(1, 1.0).model(schedule), torch.ones(1, 1, dtype=torch.float64)
    return result | {
        "variance on N(0, 1), 10 steps: DDIM": float(sample(ddim, unit, start, times).x) ** 2,
        "variance on N(0, 1), 10 steps: Euler in t": float(euler_in_t(unit, start, times)) ** 2,
    }


def orders(counts=(10, 20, 40, 80, 160, 320), n=300):
    """DDIM's error against the exact flow for three kinds of data and truth: dict label -> (steps, errors).

    One Gaussian (closed form), two broad peaks on a line (quantile matching), the ring (`flow`).
    """
    schedule = VP()
    gaussian = Mixture.gaussian(1, 0.5)
    peaks = Mixture([0.3, 0.7], [[-1.0], [0.8]], [0.5, 0.4])
    x1, x2 = (initial_noise(n, d, 0, **DOUBLE) for d in (1, 2))
    cases = {
        "one Gaussian": (
            gaussian,
            x1,
            GaussianFlow(schedule, 0.0, 0.5).map(x1, schedule.start, schedule.end),
        ),
        "two peaks": (peaks, x1, QuantileFlow(schedule, peaks).map(x1, schedule.start, schedule.end)),
        "ring": (RING, x2, reference(RING.model(schedule), x2, schedule.start, schedule.end)),
    }
    result = {}
    for name, (mixture, x, exact) in cases.items():
        model = mixture.model(schedule)
        runs = (sample(ddim, model, x, grids.uniform_lambda(schedule, k)).x for k in counts)
        result[name] = (list(counts), [rms(y - exact) for y in runs])
    return result


def round_trip(counts=(10, 20, 50, 100, 400), iterations=(0, 1, 2, 4)):
    """Encode ring data by `ddim_invert`, decode by `ddim`: root mean square error, dict iterations -> (calls
    of encoding, errors).
    """
    schedule = VP()
    mixture = RING
    model, x = mixture.model(schedule), mixture.sample(200, 0)
    result = {}
    for k in iterations:
        errors, calls = [], []
        for steps in counts:
            times = grids.uniform_lambda(schedule, steps)
            latent = sample(ddim_invert, model, x, times, iterations=k)
            errors.append(rms(sample(ddim, model, latent.x, times).x - x))
            calls.append(latent.nfe)
        result[k] = (calls, errors)
    return result


def equal_calls(calls=(20, 50, 100, 200, 500), batches=BATCHES) -> dict:
    """Round trip on the ring: error of the naive inversion over that of inversion with 1, 2 and 4 iterations,
    at equal calls to encode, so fewer steps with more iterations: mean and standard deviation over
    batches of 200.
    """
    data = torch.cat([RING.sample(200, seed) for seed in batches])
    return gains_by_iterating("ring", RING.model(VP()), data, len(batches), calls)


def equal_calls_on_digits(calls=(20, 50, 100), batches=4) -> dict:
    """The same for the digits network, on batches of 20 test digits of 8 x 8 with their labels."""
    from toolkit.data import digits
    from toolkit.networks import digits_model

    images, labels = (part[: 20 * batches] for part in digits("test"))
    return gains_by_iterating("digits", digits_model(VP(), label=labels), images, batches, calls)


def gains_by_iterating(name, model, data, batches, calls) -> dict:
    """What `equal_calls` returns, for `data` (n, ...) cut into batches."""
    result = {}
    for count in calls:
        errors = {}
        for k in (0, 1, 2, 4):
            times = grids.uniform_lambda(VP(), count // (k + 1))
            latent = sample(ddim_invert, model, data, times, iterations=k).x
            missed = sample(ddim, model, latent, times).x - data
            errors[k] = [rms(part) for part in missed.chunk(batches)]
        for k in (1, 2, 4):
            label = f"{name}, {count} calls: {k} iteration{'s' * (k > 1)}"
            result |= mean_and_sd(label, np.divide(errors[0], errors[k]))
    return result


@claim(
    "BT8, BT16, C11",
    source="Textbook, sections 8.1.4 and 8.2.3",
    says="With eta = 0 DDIM solves the probability-flow ODE, and is therefore invertible.",
    holds=lambda r: r["round trip, 50 steps"] < 1e-6,
    verdict=False,
    finding="It is one first-order discretisation. The usual inversion (run it backwards with eps from the "
    "wrong end of the step) comes back with an error that halves when the steps double. Solving each step by "
    "fixed-point iteration inverts it to rounding where the steps are short enough for the iteration to "
    "converge, on the ring from some 50 steps on; at 20 it does not.",
    figure="inversion-figure",
)
@tried_on(ON_SIX_MODES | ON_COSINE)
def inversion() -> dict:
    """Round-trip errors of the naive inversion, and of one with 30 fixed-point iterations a step."""
    _, naive = round_trip(iterations=(0,))[0]
    result = {f"round trip, {n} steps": e for n, e in zip((10, 20, 50, 100, 400), naive)}
    _, solved = round_trip((20, 50, 80), (30,))[30]
    return result | {f"round trip, {n} steps, 30 iterations": e for n, e in zip((20, 50, 80), solved)}


# --- latents, transport, modes --------------------------------------------------------------------------


@claim(
    "BT4",
    source="Textbook, exercise 8.1.2",
    says="To interpolate between two latents, take the straight line.",
    holds=lambda r: abs(r["norm, lerp"] - 1) < 0.1,
    verdict=False,
    finding="Half-way the straight line is shorter than noise ever is, by a factor near 1/sqrt(2); the "
    "great circle stays on the shell where the model was trained.",
    figure="interpolation",
)
def shell() -> dict:
    """Norm over sqrt(D) half-way between two noises, D = 3072, on the line and on the great circle."""
    x, y = initial_noise(200, 3072, 0, **DOUBLE), initial_noise(200, 3072, 1, **DOUBLE)
    size = math.sqrt(3072)
    return {
        "norm, lerp": float(lerp(x, y, 0.5).norm(dim=1).mean() / size),
        "norm, slerp": float(slerp(x, y, 0.5).norm(dim=1).mean() / size),
    }


def norm_of_latents(seed=0) -> dict:
    """Mean norm over sqrt(d) of the latents of ten test digits of 28 x 28, one of each class: encoded as they
    are, and with the noise added that a state at the end of the grid has.
    """
    from toolkit.data import digits
    from toolkit.networks import digits_model

    images, labels = digits("test", side=28)
    clean = images[[int((labels == k).nonzero()[0, 0]) for k in range(10)]]
    schedule, times = VP(), grids.quadratic(VP(), 50)
    noise = initial_noise(10, (1, 28, 28), seed)
    noisy = schedule.alpha(times[-1]) * clean + schedule.sigma(times[-1]) * noise
    model = digits_model(schedule, name="large-digits")
    latents = sample(ddim_invert, model, torch.cat([clean, noisy]), times, iterations=1).x
    norms = latents.flatten(1).norm(dim=1) / 28
    return {
        "norm, latents of clean digits": round(float(norms[:10].mean()), 2),
        "norm, noise of the grid's end added": round(float(norms[10:].mean()), 2),
    }


@claim(
    "BT5, T06",
    source="Textbook, exercise 8.1.2",
    says="Semantic interpolation can be seen on a two-dimensional Gaussian.",
    holds=lambda r: r["largest difference, one Gaussian"] > 1e-3,
    verdict=False,
    finding="For one Gaussian the map is affine, so mixing latents and mixing results are the same thing "
    "to rounding. The experiment needs data with several modes.",
)
@tried_on(ON_SIX_MODES | ON_COSINE)
def vacuous() -> dict:
    """decode(lerp) - lerp(decode): on one Gaussian in the plane, and on the ring."""
    schedule = VP()
    times = grids.uniform_lambda(schedule, 50)
    wide = torch.tensor([[[0.5, 0.2], [0.2, 0.3]]], dtype=torch.float64)
    one = Mixture([1.0], [[0.3, -0.2]], covariances=wide)
    x, y, result = initial_noise(100, 2, 0, **DOUBLE), initial_noise(100, 2, 1, **DOUBLE), {}
    for name, mixture in (("one Gaussian", one), ("ring of eight", RING)):
        model = mixture.model(schedule)
        ends = [sample(ddim, model, z, times).x for z in (x, y, lerp(x, y, 0.5))]
        result[f"largest difference, {name}"] = float((ends[2] - lerp(ends[0], ends[1], 0.5)).abs().max())
    return result


@claim(
    "BT6",
    source="Textbook, exercise 8.1.3",
    says="The Fréchet distance (FID) is enough to judge samples, on a toy too.",
    holds=lambda r: r["Fréchet, Gaussian"] > 10 * r["Fréchet, second sample"] + 0.01,
    verdict=False,
    finding="It compares two moments. A single Gaussian blob with the ring's mean and covariance passes "
    "as the ring; the sliced Wasserstein distance is not fooled.",
)
@tried_on(ON_SIX_MODES)
def blind_distance(n=20000) -> dict:
    """Fréchet and sliced Wasserstein distances, n points: one Gaussian with the ring's mean and covariance,
    and a second sample of the ring.
    """
    from toolkit.metrics import frechet_from_features, sliced_wasserstein

    ring = RING
    data, again = ring.sample(n, 0), ring.sample(n, 1)
    std = math.sqrt(float(ring.covariance()[0, 0]))
    gaussian = std * initial_noise(n, 2, 2, **DOUBLE)
    return {
        "Fréchet, Gaussian": frechet_from_features(gaussian, data),
        "Fréchet, second sample": frechet_from_features(again, data),
        "sliced Wasserstein, Gaussian": sliced_wasserstein(gaussian, data),
        "sliced Wasserstein, second sample": sliced_wasserstein(again, data),
    }


def three_modes():
    """Three unequal modes in the plane, long and thin, pointing in different directions."""
    axes = [_ellipse(angle, length, 0.05) for angle, length in ((0.5, 0.6), (2.2, 0.6), (1.2, 0.5))]
    return Mixture([0.5, 0.3, 0.2], [[-1.0, -0.4], [0.9, -0.6], [0.2, 1.1]], covariances=torch.stack(axes))


def _ellipse(angle, length, width):
    """Covariance of a Gaussian with standard deviations `length` along `angle` and `width` across."""
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64
    )
    return turn @ torch.diag(torch.tensor([length**2, width**2], dtype=torch.float64)) @ turn.T


@claim(
    "BT9, T13",
    source="Textbook, section 8.1.4",
    says="DDIM follows straight paths and so minimises the cost of transport.",
    holds=lambda r: r["three modes: pairs changed, %"] == 0 and r["three modes: median arc / chord"] < 1.01,
    verdict=False,
    finding="The paths are bent, the Jacobian of the map is not symmetric as a gradient's must be, and an "
    "optimal assignment changes pairs. The cost is near the optimum, though: say near-optimal cost, not "
    "optimal, not straight. For one Gaussian the cost is minimal; of four tried, the paths are straight for "
    "the isotropic ones that are centred or, under VP, have variance 1.",
    figure="transport-figure",
)
@tried_on(ON_COSINE | {"six modes": {"three_modes": lambda: Mixture.ring(6, std=0.12)}})
def transport(n=400) -> dict:
    """Is the exact flow an optimal transport?  Share of pairs that the optimal assignment would change and
    its gain in cost (mean and standard deviation over `BATCHES`), the largest asymmetry of the Jacobian
    |J12 - J21| / |J|, and arc over chord; for three modes and for one centred isotropic Gaussian.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    schedule, result = VP(), {}
    for name, mixture in (("three modes", three_modes()), ("one Gaussian", Mixture.gaussian(2, 0.5))):
        model, changed, saved = mixture.model(schedule), [], []
        for seed in BATCHES:
            x = initial_noise(n, 2, seed, **DOUBLE)
            cost = cdist(x, reference(model, x, schedule.start, schedule.end, 1e-6), "sqeuclidean")
            rows, columns = linear_sum_assignment(cost)
            changed.append(100 * (rows != columns).mean())
            saved.append(100 * (1 - cost[rows, columns].sum() / np.trace(cost)))
        x = initial_noise(n, 2, 0, **DOUBLE)
        h, axes = 1e-4, torch.eye(2, dtype=torch.float64)
        moved = torch.cat([x + sign * h * axis for axis in axes for sign in (1, -1)])
        ends = reference(model, moved, schedule.start, schedule.end).split(n)
        jacobian = torch.stack([(ends[0] - ends[1]) / (2 * h), (ends[2] - ends[3]) / (2 * h)], dim=2)
        asymmetry = (jacobian[:, 0, 1] - jacobian[:, 1, 0]).abs() / jacobian.flatten(1).norm(dim=1)
        path = sample(ddim, model, x, grids.uniform(schedule, 400), keep_path=True).path
        result |= mean_and_sd(f"{name}: pairs changed, %", changed)
        result |= mean_and_sd(f"{name}: cost saved, %", saved)
        result[f"{name}: largest Jacobian asymmetry"] = float(asymmetry.max())
        result[f"{name}: median arc / chord"] = float(curvature(path).median())
    return result


def pairs_by_number(counts=(100, 400, 1600), seed=0) -> dict:
    """For three modes: share of pairs that the optimal assignment of n starts to n ends would change, and the
    cost it saves, %, averaged over as many batches of n as 1600 starts make.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    model, schedule, result = three_modes().model(VP()), VP(), {}
    starts = initial_noise(max(counts), 2, seed, **DOUBLE)
    ends = reference(model, starts, schedule.start, schedule.end, 1e-6)
    for n in counts:
        changed, saved = [], []
        for x, y in zip(starts.split(n), ends.split(n), strict=True):
            cost = cdist(x, y, "sqeuclidean")
            rows, columns = linear_sum_assignment(cost)
            changed.append(100 * (rows != columns).mean())
            saved.append(100 * (1 - cost[rows, columns].sum() / np.trace(cost)))
        result[f"{n:,} pairs: changed, %"] = float(np.mean(changed))
        result[f"{n:,} pairs: cost saved, %"] = float(np.mean(saved))
    return result


def arcs_of_gaussians(n=400) -> dict:
    """Arc over chord of the exact paths x(t) = alpha m + sqrt(alpha^2 S + sigma^2) z on N(m, S), S diagonal,
    under VP: median and largest of n.
    """
    schedule, z, result = VP(), initial_noise(n, 2, 0, **DOUBLE), {}
    times = np.linspace(schedule.start, schedule.end, 2001)
    alpha, sigma = (torch.as_tensor(f(times))[:, None, None] for f in (schedule.alpha, schedule.sigma))
    cases = {"centred, isotropic": ((0, 0), (0.25, 0.25)), "centred, stretched": ((0, 0), (4, 0.01))}
    cases["off-centre, isotropic"] = ((2, 0), (0.25, 0.25))
    cases["off-centre, variance 1"] = ((2, 0), (1, 1))
    for name, (mean, variances) in cases.items():
        mean, variances = torch.tensor([mean, variances], **DOUBLE)
        arcs = curvature(alpha * mean + (alpha**2 * variances + sigma**2).sqrt() * z)
        result[f"{name}: median arc / chord"] = float(arcs.median())
        result[f"{name}: largest arc / chord"] = float(arcs.max())
    return result


RARE = (0.005, 0.045, 0.1, 0.1, 0.15, 0.15, 0.2, 0.25)
CHI2_5_PERCENT = float(stats.chi2.ppf(0.95, len(RARE) - 1))


@claim(
    "BS17, S22",
    source="Summary, section 4.3",
    says="A deterministic sampler loses diversity: it finds the main modes and misses rare ones.",
    holds=lambda r: r["far out: rare mode, %, 5 steps"] < 0.25,
    fails=lambda r: (
        0.25 < r["ring: rare mode, %, exact flow"] and r["ring: chi-square, exact flow"] < CHI2_5_PERCENT
    ),
    verdict="holds if",
    finding="If the steps are few and the rare mode stands apart: .10 % of the samples in five steps, where "
    ".5 belong. Being deterministic is no cause: the exact flow has all eight weights of the ring "
    "within sampling error, and there, between two neighbours, few steps draw the rare mode too "
    "often.",
)
@tried_on(ON_COSINE)
def rare_mode(n=10_000, seeds=range(4)) -> dict:
    """Share of n samples in a mode of half a per cent, %: in the ring, with two neighbours; with that mode
    moved out to radius 2.5; and one of two modes on a line. On the ring also Pearson's chi-square against all
    eight weights, 7 on average by chance. Mean and standard deviation over seeds.
    """
    schedule, far = VP(), RING.means.clone()
    far[0] *= 2.5
    found, pair = {}, torch.tensor([[-1.0], [1.0]], **DOUBLE)
    cases = {"ring": (RARE, RING.means), "far out": (RARE, far), "two on a line": ((0.005, 0.995), pair)}
    for name, (weights, means) in cases.items():
        mixture = Mixture(weights, means, torch.full((len(weights),), 0.08))
        model, starts = (
            mixture.model(schedule),
            [initial_noise(n, means.shape[1], k, **DOUBLE) for k in seeds],
        )
        x = torch.cat(starts)
        ends = {f"{k} steps": sample(ddim, model, x, grids.quadratic(schedule, k)).x for k in (5, 10, 50)}
        if name == "ring":
            ends["exact flow"] = reference(model, x, schedule.start, schedule.end, 1e-6)
            ends["data"] = torch.cat([mixture.sample(n, k + 100) for k in seeds])
        for way, points in ends.items():
            modes = torch.cdist(points, means).argmin(1).split(n)
            counts = [np.bincount(part.numpy(), minlength=len(weights)) for part in modes]
            found[f"{name}: rare mode, %, {way}"] = [100 * row[0] / n for row in counts]
            if name == "ring":
                expected = n * np.array(weights)
                chi = [float(stats.chisquare(row, expected).statistic) for row in counts]
                found[f"ring: chi-square, {way}"] = chi
    return {key: v for name, row in found.items() for key, v in mean_and_sd(name, row).items()}


# --- where to step --------------------------------------------------------------------------------------

GRIDS = {
    "uniform in t": grids.uniform,
    "quadratic": grids.quadratic,
    "uniform in lambda": grids.uniform_lambda,
    "rho = 7": grids.karras,
}
UNEVEN = tuple(GRIDS)[1:]


def grid_errors(counts=(5, 10, 20, 40, 80), n=400):
    """DDIM on the ring against the exact flow: dict grid -> (counts, errors)."""
    schedule = VP()
    model, x = RING.model(schedule), initial_noise(n, 2, 0, **DOUBLE)
    exact = reference(model, x, schedule.start, schedule.end)
    return {
        name: (list(counts), [rms(sample(ddim, model, x, grid(schedule, k)).x - exact) for k in counts])
        for name, grid in GRIDS.items()
    }


@claim(
    "C25, T09",
    source="Textbook, section 8.5.2 and exercise 8.1.4",
    says="Non-uniform time steps help DDIM.",
    holds=lambda r: max(r[f"ring: {name}"] for name in UNEVEN) < r["ring: uniform in t"],
    fails=lambda r: min(r[f"N(0, 9): {name}"] for name in UNEVEN) > r["N(0, 9): uniform in t"],
    verdict="holds if",
    finding="If the data are like the ring: at 20 steps all three beat equal steps in t, the quadratic grid "
    "by a factor of nearly three. On two peaks and on N(0, 1) only the quadratic one does; on N(0, "
    "9) none. It turns with the cosine schedule, whose equal steps are good ones: there only the quadratic "
    "grid beats them, on the ring alone.",
)
@tried_on(ON_SIX_MODES | ON_COSINE | ON_THREE_PEAKS)
def grids_at_twenty() -> dict:
    """Error of DDIM against the exact flow with 20 steps, for each grid, on four kinds of data: mean and
    standard deviation over `BATCHES` of 200.
    """
    schedule, result = VP(), {}
    flows = {"two peaks": (two_peaks(), QuantileFlow(schedule, two_peaks()))}
    for std in (1, 3):
        flows[f"N(0, {std**2})"] = Mixture.gaussian(1, float(std)), GaussianFlow(schedule, 0.0, float(std))
    cases = {"ring": (RING, [*map(ring_truth, BATCHES)])}
    for name, (mixture, flow) in flows.items():
        starts = [initial_noise(200, 1, seed, **DOUBLE) for seed in BATCHES]
        cases[name] = mixture, [(x, flow.map(x, schedule.start, schedule.end)) for x in starts]
    for data, (mixture, pairs) in cases.items():
        model = mixture.model(schedule)
        for name, grid in GRIDS.items():
            times = grid(schedule, 20)
            errors = [rms(sample(ddim, model, x, times).x - exact) for x, exact in pairs]
            result |= mean_and_sd(f"{data}: {name}", errors)
    return result


def adaptive_errors(tolerances=(0.1, 0.03, 0.01, 0.003, 0.001), extrapolate=False, n=400):
    """`ddim_adaptive` on the ring: (calls, errors against the exact flow)."""
    schedule = VP()
    model, x = RING.model(schedule), initial_noise(n, 2, 0, **DOUBLE)
    exact = reference(model, x, schedule.start, schedule.end)
    runs = [
        sample(ddim_adaptive, model, x, [schedule.start, schedule.end], tol=tol, extrapolate=extrapolate)
        for tol in tolerances
    ]
    return [run.nfe for run in runs], [rms(run.x - exact) for run in runs]


@claim(
    "T10",
    source="Textbook, exercise 8.1.4",
    says="Adaptive steps make DDIM more accurate at equal cost.",
    holds=lambda r: (
        r["tol 0.001, quadratic over adaptive"] - 2 * r["tol 0.001, quadratic over adaptive, sd"] > 1
    ),
    fails=lambda r: (
        r["tol 0.01, quadratic over adaptive"] + 2 * r["tol 0.01, quadratic over adaptive, sd"] < 1
    ),
    verdict="holds if",
    finding="If the calls are many: on the ring adaptive steps lead all four grids at 38 calls (by 7 % +- 2) "
    "and at 64 (by 19 % +- 3). At 21 they beat equal steps in t and in lambda and lose to the quadratic"
    " grid. It turns with the cosine schedule: the quadratic grid is ahead at 65 calls still, by 5 % +- 2. "
    "What they buy is that nobody has to know which grid suits.",
    figure="adaptive-figure",
)
@tried_on(ON_SIX_MODES | ON_COSINE)
def adaptive_against_fixed() -> dict:
    """Error on the ring of adaptive runs of three tolerances, and of fixed grids with as many calls, batch by
    batch: mean and standard deviation over `BATCHES`.
    """
    model, ends, result = RING.model(VP()), [VP().start, VP().end], {}
    for tol in (0.01, 0.003, 0.001):
        found = {"calls": [], "adaptive": [], **{name: [] for name in GRIDS}, "quadratic over adaptive": []}
        for x, exact in map(ring_truth, BATCHES):
            run = sample(ddim_adaptive, model, x, ends, tol=tol)
            found["calls"].append(run.nfe)
            found["adaptive"].append(rms(run.x - exact))
            for name, grid in GRIDS.items():
                found[name].append(rms(sample(ddim, model, x, grid(VP(), run.nfe)).x - exact))
            found["quadratic over adaptive"].append(found["quadratic"][-1] / found["adaptive"][-1])
        for name, row in found.items():
            result |= mean_and_sd(f"tol {tol:g}, {name}", row)
    return result


# --- digits ---------------------------------------------------------------------------------------------

SAMPLERS = {
    "DDIM": (ddim, {}),
    "DDPM, posterior variance": (ddpm, {"variance": "posterior"}),
    "DDPM, forward variance": (ddpm, {"variance": "beta"}),
}


def digits_at(steps, n=400, name="DDIM", seed=0):
    """n digits of all classes in turn, by a sampler of `SAMPLERS` with `steps` steps of the 1000-step table,
    from one seed for x_T and the noise: a Run.
    """
    from toolkit.networks import digits_model

    loop, options = SAMPLERS[name]
    model = digits_model(LINEAR, label=torch.arange(n) % 10)
    return sample(
        loop, model, initial_noise(n, (1, 8, 8), seed), grids.strided(LINEAR, steps), draws=seed, **options
    )


METRICS = ("Fréchet distance", "sliced Wasserstein")


def speed_and_quality() -> dict:
    """The recorded study `digits_speed`: dict sampler -> list of dicts, one for each of `COUNTS`: calls,
    seconds an image, and for both metrics (mean, standard error) over 16 seeds.
    """
    study = recorded("digits_speed")
    result = {}
    for name, rows in study["samplers"].items():
        result[name] = []
        for row in rows:
            values = {metric: np.array(row[metric]) for metric in METRICS}
            entry = {"calls": row["nfe"], "seconds": row["seconds"] / study["n"]}
            entry |= {m: (v.mean(), v.std(ddof=1) / math.sqrt(len(v))) for m, v in values.items()}
            result[name].append(entry)
    return result


def luck_of_a_seed() -> dict:
    """Correlation over 16 seeds between the Fréchet distances at 50 and at 1000 steps, as recorded."""
    result = {}
    for name, rows in recorded("digits_speed")["samplers"].items():
        fifty, thousand = (rows[COUNTS.index(n)]["Fréchet distance"] for n in (50, 1000))
        result[name] = float(np.corrcoef(fifty, thousand)[0, 1])
    return result


def distance_floors(per_class=40, draws=20) -> dict:
    """What as many real digits score, `per_class` of each class as the samples have: metric -> (mean and
    standard deviation over `draws` draws, against the digits that were not drawn; mean against all, those
    drawn among them, as copies would score).
    """
    from toolkit.data import digits
    from toolkit.metrics import digit_features, frechet_from_features, sliced_wasserstein

    images, labels = digits("all")
    features, every, parts = digit_features(images), np.arange(len(labels)), []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        rows = [rng.permutation(np.flatnonzero(labels == k))[:per_class] for k in range(10)]
        parts.append(np.concatenate(rows))
    measures = (
        lambda one, two: frechet_from_features(features[one], features[two]),
        lambda one, two: sliced_wasserstein(images[one], images[two]),
    )
    result = {}
    for metric, measure in zip(METRICS, measures, strict=True):
        fresh = [measure(rows, np.setdiff1d(every, rows)) for rows in parts]
        copies = [measure(rows, every) for rows in parts]
        result[metric] = float(np.mean(fresh)), float(np.std(fresh, ddof=1)), float(np.mean(copies))
    return result


def clip_predictions(steps=50, n=400) -> dict:
    """The habit of clipping the predicted x0 to [-1, 1] in each step: exact mean on N(2, 1/4) data, and
    Fréchet distance of n digits over `BATCHES`, DDIM, each beside the other.
    """
    from toolkit.metrics import frechet_distance
    from toolkit.networks import digits_model

    times = grids.strided(LINEAR, steps).tolist()

    def run(model, x, bound):
        for t, s in zip(times[:-1], times[1:]):
            x0 = model.x0(x, t).clamp(-bound, bound)
            x = LINEAR.alpha(s) * x0 + LINEAR.sigma(s) * (x - LINEAR.alpha(t) * x0) / LINEAR.sigma(t)
        return x

    off, zero = Mixture([1.0], [[2.0]], [0.5]).model(LINEAR), torch.zeros(1, 1, **DOUBLE)
    network, result, both = digits_model(LINEAR, label=torch.arange(n) % 10), {}, []
    for name, bound in (("as it is", math.inf), ("clipped", 1.0)):
        result[f"mean on N(2, 1/4), {name}"] = float(run(off, zero, bound))
        with torch.no_grad():
            starts = (initial_noise(n, (1, 8, 8), seed) for seed in BATCHES)
            both.append([frechet_distance(run(network, x, bound)) for x in starts])
        result[f"Fréchet distance, {name}"] = round(float(np.mean(both[-1])), 2)
    more = mean_and_sd("clipped minus as it is, same seed", np.subtract(both[1], both[0]))
    return result | {k: round(v, 2) for k, v in more.items()}


def knee(rows, metric, slack=0.15):
    """The fewest calls among `rows` (of `speed_and_quality`) whose metric is within `slack`
    of the last row's.
    """
    return next(row["calls"] for row in rows if row[metric][0] <= (1 + slack) * rows[-1][metric][0])


@claim(
    "BT33, T07",
    source="Textbook, section 8.1.1; exercise 8.1.3",
    says="Fewer steps spoil the samples of DDPM, and DDIM is spared.",
    holds=lambda r: r["Fréchet distance, DDIM, 10 steps"] < 1.1 * r["Fréchet distance, DDIM, 100 steps"],
    verdict=False,
    finding="All three lose with fewer steps. On digits with the trained network DDIM loses least, and in "
    "the Fréchet distance DDPM with the forward variance loses most, the reverse of what the exact "
    "Gaussian says of it.",
    figure="speed-figure",
)
def fewer_steps_on_digits() -> dict:
    """Fréchet distance of 400 digits at 10, 20 and 100 steps, for three samplers, averaged over `BATCHES`."""
    from toolkit.metrics import frechet_distance

    short = {"DDIM": "DDIM", "DDPM, posterior variance": "posterior", "DDPM, forward variance": "forward"}
    return {
        f"Fréchet distance, {short[name]}, {steps} steps": float(
            np.mean([frechet_distance(digits_at(steps, 400, name, seed).x) for seed in BATCHES])
        )
        for name in SAMPLERS
        for steps in (10, 20, 100)
    }


@claim(
    "C26, T08",
    source="Textbook, exercise 8.1.4",
    says="There is an optimal variance of the reverse step, between or beyond the two usual ones.",
    holds=lambda r: (
        max(abs(r[f"N(0, 1/4), variance after {n} steps"] - 0.25) for n in (10, 1000)) < 1e-4
        and r["N(0, 1/4), steps of 10 between"] == r["N(0, 4), steps of 10 beyond"] == 10
    ),
    verdict=True,
    finding="Analytic-DPM's variance gives a Gaussian its exact variance at 10 and at 1000 steps. It lies "
    "between the posterior's and the forward one for N(0, 1/4), and above both for N(0, 4).",
)
@tried_on(ON_COSINE_LINEAR)
def optimal_variance() -> dict:
    """Exact variances on N(0, 1/4) and N(0, 4) at 10 and 1000 steps with the optimal reverse variance; and at
    how many of ten steps it lies between, and beyond, the posterior's and the forward one.
    """
    result = {}
    for name, std in (("N(0, 1/4)", 0.5), ("N(0, 4)", 2.0)):
        for steps in (10, 1000):
            times = grids.strided(LINEAR, steps)
            options = {"variance": "analytic", "gamma": gaussian_eps_square(LINEAR, times, std)}
            result[f"{name}, variance after {steps} steps"] = exact_variance(
                ddpm, LINEAR, times, std=std, **options
            )
        times = grids.strided(LINEAR, 10)
        low, high, best = (
            step_variances(LINEAR, times, v, gaussian_eps_square(LINEAR, times, std))
            for v in ("posterior", "beta", "analytic")
        )
        result[f"{name}, steps of 10 between"] = int(((low < best) & (best < high)).sum())
        result[f"{name}, steps of 10 beyond"] = int((best > high).sum())
    return result


@claim(
    "BT1",
    source="Textbook, section 8.1.2",
    says="DDIM defines a new forward process.",
    holds=lambda r: max(r["difference of slope"], r["difference of variance"]) < 1e-12,
    fails=lambda r: abs(r["weight of x_0 beside x_s"]) > 0.1,
    verdict="holds if",
    finding="If a process that remembers x_0 is meant: what is written down is an inference process, "
    "backwards in time, and a forward kernel follows by Bayes' rule. It fails if a Markov chain such"
    " as DDPM's is: at eta = 0.4 the kernel needs x_0, with weight -0.29 beside x_s, and only at eta"
    " = 1 it does not.",
)
@tried_on(ON_COSINE | {"other times": {"eta": 0.7, "t": 0.9, "s": 0.1}})
def family_by_bayes(eta=0.4, t=0.6, s=0.4):
    """Slope, offset and variance of q_eta(x_t | x_s, x_0) by conditioning the joint Gaussian, and by the
    closed form: largest difference.
    """
    schedule = VP()
    a_t, s_t, a_s, s_s = schedule.alpha(t), schedule.sigma(t), schedule.alpha(s), schedule.sigma(s)
    c = ddim_sigma(schedule, t, s, eta)
    covariance = math.sqrt(s_s**2 - c**2) * s_t
    slope, variance = covariance / s_s**2, s_t**2 - covariance**2 / s_s**2
    mean = a_t - slope * a_s
    closed = (s_t / s_s * math.sqrt(1 - c**2 / s_s**2), (s_t * c / s_s) ** 2)
    ratio, beta = transition(schedule, s, t)
    return {
        "difference of slope": abs(slope - closed[0]),
        "difference of variance": abs(variance - closed[1]),
        "weight of x_0 beside x_s": mean,
        "weight of x_0 at eta 1": _offset(schedule, t, s, 1.0),
        "ratio at eta 1": ratio,
        "beta at eta 1": beta,
    }


def _offset(schedule, t, s, eta):
    """What multiplies x_0 in the mean of q_eta(x_t | x_s, x_0)."""
    room = 1 - (ddim_sigma(schedule, t, s, eta) / schedule.sigma(s)) ** 2
    return schedule.alpha(t) - schedule.sigma(t) / schedule.sigma(s) * math.sqrt(room) * schedule.alpha(s)
