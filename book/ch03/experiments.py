"""Claims of chapter 3: one SDE, one ODE, and the solvers that sample.

Exact wherever the data allow it: variances on N(0, 1/4) are sums of squares (`exact_variance`),
one-dimensional flows keep quantiles (`QuantileFlow`), and the ODE of a mixture is solved to twelve digits
(`convergence.reference`).  Each experiment takes no argument and returns a dict label -> number.
"""

import math
from functools import cache, partial

import numpy as np
import torch

from book.claims import claim, recorded, tried_on
from book.problems import (
    ON_COSINE,
    ON_COSINE_MODERATE,
    ON_SIX_MODES,
    ON_SIX_WIDE,
    ON_THREE_PEAKS,
    RING,
    WIDE_RING,
    RoundedClock,
    density,
    mistake,
    moderate,
    rms,
    two_peaks,
)
from toolkit import (
    EDM,
    VE,
    VP,
    Discrete,
    Flow,
    GaussianFlow,
    LinearSDE,
    Mixture,
    QuantileFlow,
    exact_variance,
    grids,
    initial_noise,
    sample,
)
from toolkit.convergence import (
    multiplicative_errors,
    ode_errors,
    reference,
    slope,
    strong_errors,
    weak_errors,
)
from toolkit.ddim import curvature, ddim
from toolkit.ddpm import ddpm
from toolkit.noise import Replay, noise_of
from toolkit.ode import (
    STABILITY,
    edm_heun,
    euler,
    heun,
    implicit_euler,
    log_likelihood,
    midpoint,
    rk4,
    rk4_invert,
    rk45,
    stiffness,
    trapezoid,
)
from toolkit.sampling import sample_last
from toolkit.sde import (
    edm_stochastic,
    euler_maruyama,
    langevin,
    langevin_step,
    predictor_corrector,
    restart,
    reverse_coefficients,
    snr_step,
    stochastic_heun,
)

DOUBLE = {"dtype": torch.float64}
BUDGETS = (8, 16, 32, 64, 192)


def true_variance(schedule, t, std=0.5):
    """Variance of x_t for data N(0, std^2)."""
    return (schedule.alpha(t) * std) ** 2 + schedule.sigma(t) ** 2


# --- from the chain to the SDE --------------------------------------------------------------------------


def chain_gaps(counts=(100, 300, 1000, 3000, 10000)):
    """max_n |alpha-bar_n - exp(-int beta)| for chains of T steps with beta_n = beta(n / T) / T: (T, gaps)."""
    gaps = []
    for steps in counts:
        chain = Discrete(np.linspace(0.1 / steps, 20 / steps, steps))
        gaps.append(float(abs(chain.alpha_bar - VP().alpha(np.arange(steps + 1) / steps) ** 2).max()))
    return list(counts), gaps


@claim(
    "P04, C12",
    source="PyTorch tutorial, section 2.1",
    says="For many steps the DDPM chain becomes the VP SDE.",
    holds=lambda r: abs(r["order"] - 1) < 0.1,
    verdict=True,
    finding="The products alpha-bar come within 0.0008 of exp(-int beta) at T = 1000, and the gap falls "
    "as 1 / T.",
)
@tried_on(
    {
        "a slower schedule": {
            "VP": partial(VP, beta_max=10.0),
            "Discrete": lambda betas, table=Discrete: table(np.linspace(betas[0], betas[-1] / 2, len(betas))),
        }
    }
)
def chain_limit() -> dict:
    """The gap at three T, and the order at which it closes."""
    counts, gaps = chain_gaps((100, 1000, 10000))
    return {f"gap at T = {n}": g for n, g in zip(counts, gaps)} | {"order": slope(counts, gaps)}


# --- schedules as SDEs ----------------------------------------------------------------------------------


class UnsquaredVE(VE):
    """The mistake BP8: VE with g = sqrt(sigma 2 log r), sigma not squared under the root."""

    def _g2(self, t, xp):
        return 2 * math.log(self.sigma_max / self.sigma_min) * self._sigma(t, xp)


@claim(
    "BP8, E5",
    source="PyTorch tutorial, section 2.2, VE branch",
    says="VE's diffusion coefficient is the root of sigma times 2 log r.",
    holds=lambda r: abs(r["variance at the end, unsquared"] - 0.25) < 0.005,
    verdict=False,
    finding="sigma must be squared under the root: then g^2 adds up to sigma_max^2 = 2500, without it to "
    "100. The samples keep little more than half of their variance.",
)
@tried_on({"300 steps": {"steps": 300}})
def ve_square(steps=1000) -> dict:
    """Exact variances on N(0, 1/4) with VE's g and with the unsquared one, and what g^2 adds up to."""
    result = {}
    rate = 2 * math.log(5000)
    for name, schedule, power in (("right", VE(), 2), ("unsquared", UnsquaredVE(), 1)):
        level = LinearSDE(
            lambda t: 0 * t, lambda t, p=power: rate * (0.01 * 5000**t) ** p, sigma0=0.01, end=0.0
        )
        result[f"integral of g^2, {name}"] = level.sigma(1.0) ** 2 - 0.01**2
        result[f"variance at t = 0.75, {name}"] = exact_variance(
            euler_maruyama, schedule, grids.uniform(schedule, steps, end=0.75)
        )
        result[f"variance at the end, {name}"] = exact_variance(
            euler_maruyama, schedule, grids.uniform(schedule, steps)
        )
    return result


def _raises(error, call, *arguments) -> int:
    """1 if the call ends in this error, else 0."""
    try:
        call(*arguments)
    except error:
        return 1
    return 0


@claim(
    "BP9",
    source="PyTorch tutorial, section 2.2, VE branch",
    says="torch.log(sigma_max / sigma_min) gives the rate of VE.",
    holds=lambda r: r["torch.log(5000.0) ends in a TypeError"] == 0,
    verdict=False,
    finding="It ends in a TypeError: torch.log takes tensors, and the ratio of two plain numbers is one. "
    "math.log is meant.",
)
def log_of_a_number() -> dict:
    """Whether torch.log takes a float, and what math.log gives."""
    return {
        "torch.log(5000.0) ends in a TypeError": _raises(TypeError, torch.log, 5000.0),
        "math.log(5000.0)": math.log(5000.0),
    }


@claim(
    "BP5",
    source="PyTorch tutorial, listings of its samplers",
    says="`i % (n_steps // 5)`, `i % (n_steps // 10)` and `range(999, 0, -(1000 // n_steps))` serve any "
    "number of steps.",
    holds=lambda r: sum(r.values()) == 0,
    verdict=False,
    finding="With fewer than 5 or 10 steps the divisor is 0, and with more than 1000 the stride is: all "
    "three stop with an error. A grid is made of its number of steps, not of a stride.",
)
def strides_that_are_zero() -> dict:
    """How many of the counts 1 to 12, and 1001, 2000, stop each of the three with an error."""
    counts = [*range(1, 13), 1001, 2000]
    forms = {
        "n_steps // 5": lambda n: 3 % (n // 5),
        "n_steps // 10": lambda n: 3 % (n // 10),
        "range": lambda n: range(999, 0, -(1000 // n)),
    }
    return {
        f"{name}: counts that stop it, of 14": sum(
            _raises((ZeroDivisionError, ValueError), f, n) for n in counts
        )
        for name, f in forms.items()
    }


@mistake
def narrow_start(model, x, times, rng=0):
    """Euler-Maruyama from N(0, 1) where the state should be N(0, sigma_max^2)."""
    yield from euler_maruyama(model, x / model.schedule.sigma(times[0]), times, rng=rng)


@mistake
def narrow_start_ode(model, x, times):
    """The same for Euler's method on the ODE."""
    yield from euler(model, x / model.schedule.sigma(times[0]), times, variable="sigma")


@claim(
    "BP7",
    source="PyTorch tutorial, section 2.2",
    says="A VE sampler may start from a standard normal.",
    holds=lambda r: abs(r["ODE from N(0, 1)"] - 0.25) < 0.01,
    verdict=False,
    finding="x_1 has standard deviation 50. The reverse SDE forgets a narrow start on this data, its "
    "noise rebuilds the spread; the ODE carries it to the end, where the variance is 1e-4.",
)
@tried_on({"200 steps": {"steps": 200}})
def ve_prior(steps=500) -> dict:
    """Exact final variance on N(0, 1/4) when VE starts from N(0, 1), and its forward standard deviation."""
    schedule = VE()
    times = grids.uniform(schedule, steps)
    return {
        "standard deviation of x_1": math.sqrt(true_variance(schedule, 1.0)),
        "SDE from N(0, 1)": exact_variance(narrow_start, schedule, times),
        "ODE from N(0, 1)": exact_variance(narrow_start_ode, schedule, times),
        "ODE from N(0, 2500)": exact_variance(euler, schedule, times, variable="sigma"),
    }


@claim(
    "BS29",
    source="Summary, section 4.4",
    says="VE's large variance overflows floating point.",
    holds=lambda r: r["sigma_max^2 at 380"] > r["largest float32"],
    verdict=False,
    finding="Not in single precision, by 33 orders of magnitude. In half precision the square of 380 does.",
)
def ve_range() -> dict:
    """The largest numbers of VE against the largest of the number formats."""
    return {
        "sigma_max^2 at 380": 380.0**2,
        "largest float16": float(torch.finfo(torch.float16).max),
        "largest float32": float(torch.finfo(torch.float32).max),
    }


@claim(
    "BS14",
    source="Summary, section 3.4",
    says="VP keeps the variance of x_t constant.",
    holds=lambda r: abs(r["data 0.25, t = 0"] - r["data 0.25, t = 1"]) < 0.05,
    verdict=False,
    finding="Only for data of unit variance. Data of variance 1/4 go from 0.25 to 1.",
    figure="forward-figure",
)
@tried_on(ON_COSINE)
def variance_preserved() -> dict:
    """Var x_t of VP for data of variance 1/4 and 1."""
    return {
        f"data {std**2:g}, t = {t:g}": true_variance(VP(), t, std)
        for std in (0.5, 1.0)
        for t in (0.0, 0.5, 1.0)
    }


# --- the way back ---------------------------------------------------------------------------------------


@claim(
    "C09, S10",
    source="Karras et al. 2022, eq. 6; summary, section 2.4",
    says="Every member of the family between the ODE and the reverse SDE, and beyond, has the same "
    "marginals.",
    holds=lambda r: all(abs(v - r["truth"]) < 1e-3 for v in r.values()),
    verdict=True,
    finding="Exact variances at levels 0, 0.5, 1 and 2 are 0.2500 to 0.2501 at 400 steps, where 0.2501 is "
    "right; the rest is discretisation.",
    elsewhere={"0.5": "a level"},
    figure="family-figure",
)
@tried_on(ON_COSINE | {"100 steps": {"steps": 100}})
def level_variances(taus=(0.0, 0.5, 1.0, 2.0), steps=400) -> dict:
    """Exact final variance on N(0, 1/4) of the family's members, by stochastic Heun, and the truth there."""
    schedule = VP()
    times = grids.uniform(schedule, steps)
    result = {f"level {tau:g}": exact_variance(stochastic_heun, schedule, times, tau=tau) for tau in taus}
    return result | {"truth": true_variance(schedule, schedule.end)}


def few_step_variances(taus=(0.0, 0.5, 1.0, 2.0), steps=20) -> dict:
    """Exact final variance on N(0, 1/4) of the same members, by few Euler-Maruyama steps equal in lambda."""
    schedule = VP()
    times = grids.uniform_lambda(schedule, steps)
    return {
        f"{steps} steps, level {tau:g}": exact_variance(euler_maruyama, schedule, times, tau=tau)
        for tau in taus
    }


@claim(
    "BS44",
    source="Summary, section 5.1, list of what to know",
    says="The reverse SDE is understood by Girsanov's theorem.",
    holds=lambda r: abs(r["squared increments, level 2"] / r["squared increments, level 0.5"] - 1) < 0.1,
    verdict=False,
    finding="That theorem compares SDEs with the same noise. The members of the family have different noise, "
    "whose squared increments add up to 2.5, 10.0 and 38.9 at levels 0.5, 1 and 2; no density of the one's "
    "paths against the other's exists, and all end with the variance 0.250. What is needed is the "
    "Fokker-Planck equation. Girsanov's theorem says how far paths are apart when the score is wrong.",
    elsewhere={"0.5": "a level"},
    figure="family-figure",
)
@tried_on(ON_COSINE | {"100 steps": {"steps": 100}})
def levels_are_singular(steps=400) -> dict:
    """At three levels the sum of squares of the increments of one coordinate of a path, the same in the limit
    for almost all paths (mean of 200), and the exact final variance on N(0, 1/4).
    """
    schedule = VP()
    times = grids.uniform(schedule, steps)
    model, x = Mixture.gaussian(1, 0.5).model(schedule), initial_noise(200, 1, 0, **DOUBLE)
    result = {}
    for tau in (0.5, 1.0, 2.0):
        path = sample(stochastic_heun, model, x, times, tau=tau, keep_path=True).path
        squares = torch.stack(list(path)).diff(dim=0).square().sum(0)
        result[f"squared increments, level {tau:g}"] = float(squares.mean())
        result[f"variance, level {tau:g}"] = exact_variance(stochastic_heun, schedule, times, tau=tau)
    return result


@mistake
def noise_removed(model, x, times):
    """The mistake BT10: Anderson's reverse SDE with its noise left out, its drift kept."""
    p, q, _ = (v.tolist() for v in reverse_coefficients(model.schedule, times))
    yield times[0], x
    for i, (t, s) in enumerate(zip(times, times[1:])):
        x = x + (s - t) * (p[i] * x + q[i] * model.eps(x, t))
        yield s, x


@mistake
def diffusion_to_zero(model, x, times):
    """The mistake BS11: g set to 0 in the reverse SDE, which takes the score away as well."""
    f = model.schedule.f(np.asarray(times)).tolist()
    yield times[0], x
    for i, (t, s) in enumerate(zip(times, times[1:])):
        x = x + (s - t) * f[i] * x
        yield s, x


DRIFTS = {
    "drift kept, noise removed": noise_removed,
    "g set to 0 everywhere": diffusion_to_zero,
    "half of the score term: the ODE": euler,
    "reverse SDE": euler_maruyama,
}


def removed_curves(steps=500):
    """Exact variance on N(0, 1/4) along the way, from t = 1 down, for `DRIFTS`: label -> (t, variance)."""
    schedule = VP()
    ends = np.linspace(0.98, schedule.end, 40)
    curves = {
        name: (ends, [exact_variance(loop, schedule, grids.uniform(schedule, steps, end=t)) for t in ends])
        for name, loop in DRIFTS.items()
    }
    return curves | {"truth": (ends, true_variance(schedule, ends))}


@claim(
    "BT10, E3",
    source="Textbook, section 8.2.3",
    says="Removing the random term of the reverse SDE gives the deterministic ODE.",
    holds=lambda r: abs(r["drift kept, noise removed"] - r["truth"]) < 0.01,
    verdict=False,
    finding="It leaves twice the score term that the ODE has, and the variance collapses to 2e-6. "
    "The noise and half of the score term balance, and must go together.",
    figure="removed-figure",
)
@claim(
    "BS11",
    source="Summary, section 2.4",
    says="The ODE is the limit of the reverse SDE when the diffusion coefficient goes to zero.",
    holds=lambda r: abs(r["g set to 0 everywhere"] - r["truth"]) < 0.01,
    verdict=False,
    finding="With g = 0 only dx = f x dt is left, run backwards: the variance explodes to 2e4. The ODE "
    "is the limit of level to 0, where g stays in the drift.",
)
@tried_on(ON_COSINE | {"100 steps": {"steps": 100}})
def removed(steps=500) -> dict:
    """Exact final variances on N(0, 1/4) of `DRIFTS`."""
    schedule = VP()
    times = grids.uniform(schedule, steps)
    result = {
        name: exact_variance(loop, schedule, times)
        for name, loop in DRIFTS.items()
        if loop is not euler_maruyama
    }
    return result | {"truth": true_variance(schedule, schedule.end)}


class EpsAsScore:
    """The mistake BP11: a model whose eps is taken for the score."""

    def __init__(self, model):
        self.model, self.schedule = model, model.schedule

    def eps(self, x, t):
        return -self.schedule.sigma(t) * self.model.eps(x, t)


@mistake
def eps_as_score(model, x, times, rng=0):
    """Euler-Maruyama with eps where the score belongs."""
    yield from euler_maruyama(EpsAsScore(model), x, times, rng=rng)


@mistake
def wrong_sign(model, x, times):
    """The mistake BP25, BS26: Euler with dt > 0 on the way back."""
    p, q, _ = (v.tolist() for v in reverse_coefficients(model.schedule, times, 0.0))
    yield times[0], x
    for i, (t, s) in enumerate(zip(times, times[1:])):
        x = x + (t - s) * (p[i] * x + q[i] * model.eps(x, t))
        yield s, x


@mistake
def wrong_sign_heun(model, x, times):
    """The summary's own formula: x + dt / 2 (k1 + k2) on the way back, with dt > 0."""
    p, q, _ = (v.tolist() for v in reverse_coefficients(model.schedule, times, 0.0))
    yield times[0], x
    for i, (t, s) in enumerate(zip(times, times[1:])):
        first = p[i] * x + q[i] * model.eps(x, t)
        ahead = x + (t - s) * first
        x = x + (t - s) / 2 * (first + p[i + 1] * ahead + q[i + 1] * model.eps(ahead, s))
        yield s, x


@claim(
    "BP11, BP25, BS26",
    source="PyTorch tutorial, sections 5.2 and 7.2; summary, section 4.3",
    says="An eps-network can be handed to a sampler that asks for a score; the sign of dt is a convention.",
    holds=lambda r: (
        abs(r["eps taken for the score"] - r["truth"]) < 0.01
        or abs(r["dt > 0 on the way back"] - r["truth"]) < 0.01
    ),
    verdict=False,
    finding="score = -eps / sigma. Without the sign the score term pushes outwards and the samples "
    "leave any bound. On the way back dt is negative: with dt > 0 the flow runs the wrong way, to "
    "the variance 4, by Euler's step and by the summary's formula of Heun alike.",
)
@tried_on(ON_COSINE | {"200 steps": {"steps": 200}})
def sign_and_score(steps=1000) -> dict:
    """Exact final variances on N(0, 1/4) of two slips in one line."""
    schedule = VP()
    times = grids.uniform(schedule, steps)
    return {
        "eps taken for the score": exact_variance(eps_as_score, schedule, times),
        "dt > 0 on the way back": exact_variance(wrong_sign, schedule, times),
        "dt > 0, Heun as printed": exact_variance(wrong_sign_heun, schedule, times),
        "right (ODE)": exact_variance(euler, schedule, times),
        "truth": true_variance(schedule, schedule.end),
    }


def score_errors(times=(0.02, 0.05, 0.1, 0.2, 0.4, 0.9), n=4000, width=60):
    """Root mean square errors of eps and of the score, for a regression of eps on random features of x_t (one
    for each time, 1-D data): dict of three lists.
    """
    schedule, data = VP(), two_peaks()
    model = data.model(schedule)
    generator = torch.Generator().manual_seed(0)
    weights = 3 * torch.randn(1, width, generator=generator, **DOUBLE)
    biases = 3 * torch.randn(width, generator=generator, **DOUBLE)
    result = {"t": list(times), "eps": [], "score": []}
    for k, t in enumerate(times):
        clean, noise = data.sample(2 * n, k), initial_noise(2 * n, 1, k, **DOUBLE)
        x = schedule.alpha(t) * clean + schedule.sigma(t) * noise
        features = torch.cat([torch.tanh(x @ weights + biases), x, torch.ones_like(x)], dim=1)
        train, test = features[:n], features[n:]
        ridge = train.T @ train + 1e-3 * torch.eye(width + 2, **DOUBLE)
        guess = test @ torch.linalg.solve(ridge, train.T @ noise[:n])
        error = rms(guess - model.eps(x[n:], t))
        result["eps"].append(error)
        result["score"].append(error / schedule.sigma(t))
    return result


@claim(
    "BS28",
    source="Summary, section 4.4",
    says="The error of the learned score is worst where the noise is high.",
    holds=lambda r: r["error of the score, t = 0.9"] > r["error of the score, t = 0.02"],
    verdict=False,
    finding="The other way round: the error of the score is that of eps divided by sigma, and it is "
    "largest where the noise is low.",
)
@tried_on(ON_COSINE | ON_THREE_PEAKS)
def score_error_by_noise() -> dict:
    """Those errors at the least and at the most noise."""
    result = score_errors()
    return {
        f"error of the {what}, t = {result['t'][k]:g}": result[what][k]
        for what in ("eps", "score")
        for k in (0, -1)
    }


# --- folklore -------------------------------------------------------------------------------------------


def unequal():
    """Three modes on a line with weights 0.5, 29.5 and 70 per cent."""
    return Mixture([0.005, 0.295, 0.7], [[-1.5], [0.0], [1.2]], [0.1, 0.1, 0.1])


def _tail(points=1600, mass=0.04):
    """Quantile levels (points,) of the lowest `mass`, and the normal quantiles there, (points, 1)."""
    levels = (torch.arange(points, **DOUBLE) + 0.5) / points * mass
    return levels, torch.special.ndtri(levels)[:, None]


def rare_share(loop, steps, points=1600, **options):
    """The probability with which a sampler ends in the rare mode of `unequal`, without random numbers: in one
    dimension an ODE keeps the order of its states, so it is the mass below the last start that ends there.
    """
    schedule = VP()
    _, x = _tail(points)
    ends = sample(loop, unequal().model(schedule), x, grids.quadratic(schedule, steps), **options).x
    return 0.04 * float((ends < -0.75).double().mean())


SOLVERS_IN_LINE = {
    "Euler in t": (euler, {}),
    "DDIM": (euler, {"variable": "sigma"}),
    "Heun in t": (heun, {}),
}


@cache
def rare_shares(counts=(5, 10, 20, 40, 80)):
    """Probability of the rare mode in per cent: dict solver -> (steps, shares)."""
    return {
        name: (list(counts), [100 * rare_share(loop, n, **options) for n in counts])
        for name, (loop, options) in SOLVERS_IN_LINE.items()
    }


@claim(
    "BS17",
    source="Summary, section 4.3",
    says="The ODE loses modes: it cannot reach a rare one.",
    holds=lambda r: r["exact flow, from N(0, 1), %"] < 0.45,
    verdict=False,
    finding="The exact flow gives a mode of 0.5 % its 0.5 %. Few steps distort the share, in either "
    "direction: Euler in t makes the mode twice as frequent, DDIM half as frequent, with one and "
    "the same ODE.",
    figure="modes-figure",
)
@tried_on(ON_COSINE)
def rare_mode() -> dict:
    """The rare mode of half a per cent: under the exact flow, from N(0, 1) and from the p_1 that it replaces
    (the share below the start that ends at -0.75, between two modes), and by three solvers in a few steps.
    """
    schedule = VP()
    flow = QuantileFlow(schedule, unequal())
    border = flow.map(torch.tensor([[-0.75]], **DOUBLE), schedule.end, 1.0)
    below, _ = flow._log_tails(border[:, 0].numpy(), 1.0)
    result = {
        "exact flow, from p₁, %": 100 * float(np.exp(below)[0]),
        "exact flow, from N(0, 1), %": 100 * float(torch.special.ndtr(border)),
    }
    for name, (steps, shares) in rare_shares().items():
        result |= {f"{name}, {n} steps, %": s for n, s in zip(steps, shares) if n in (5, 10, 40)}
    return result


@claim(
    "BS12, S12",
    source="Summary, sections 2.4 and 3.2",
    says="The probability-flow ODE goes strictly in the direction of steepest ascent of the density.",
    holds=lambda r: abs(r["ascent: rare mode, %"] - r["exact flow: rare mode, %"]) < 0.1,
    verdict=False,
    finding="Steepest ascent ends on the three peaks, without spread, with weights that the starting "
    "noise decides; the flow keeps weights and spread. Its field changes with t and has a second "
    "part, f x.",
    figure="modes-figure",
)
@tried_on(ON_COSINE)
def steepest() -> dict:
    """Share of each mode of `unequal` and spread in the largest, by steepest ascent on log p_0 and by the
    exact flow, from the same N(0, 1).
    """
    schedule, data = VP(), unequal()
    levels = (torch.arange(1000, **DOUBLE) + 0.5) / 1000
    start = torch.special.ndtri(levels)[:, None]
    x, still = start.clone(), data.model(VE(1e-9, 1.0))
    for _ in range(1500):
        x = x + 0.004 * still.score(x, 0.0)
    result = {}
    ends = (("ascent", x), ("exact flow", QuantileFlow(schedule, data).map(start, 1.0, schedule.end)))
    for name, y in ends:
        inside = y[y > 0.6]
        result[f"{name}: largest mode, %"] = 100 * len(inside) / len(y)
        result[f"{name}: rare mode, %"] = 100 * float((y < -0.75).double().mean())
        result[f"{name}: spread in the largest"] = float(inside.std())
    return result


def _divergences(t):
    """KL(p_t | N(0, 1)) and KL(p_t | data), by quadrature, for two peaks under VP."""
    schedule, data = VP(), two_peaks()
    x, p = density(data, schedule.alpha(t), schedule.sigma(t))
    x = x[:, 0]
    log_p = data.log_prob(x[:, None], schedule.alpha(t), schedule.sigma(t))
    normal = -0.5 * x**2 - 0.5 * math.log(2 * math.pi)
    return [
        float(torch.trapezoid(torch.where(p > 0, p * (log_p - q), 0.0), x))
        for q in (normal, data.log_prob(x[:, None]))
    ]


@claim(
    "BP22, P19",
    source="PyTorch tutorial, section 6.1",
    says="The diffusion process is a gradient flow in the landscape of the data's energy.",
    holds=lambda r: r["KL to the data, t = 0.3"] < r["KL to the data, t = 0.1"],
    verdict=False,
    finding="It is the gradient flow of the divergence to N(0, I), distances between densities being "
    "those of optimal transport (Jordan, Kinderlehrer & Otto 1998): that falls at beta / 2 times the "
    "mean square of the score's difference from -x, while the divergence to the data grows. Langevin "
    "dynamics is the one for the data's energy.",
    figure="forward-figure",
)
@tried_on(ON_COSINE | ON_THREE_PEAKS)
def gradient_flow(t=0.3, h=1e-4) -> dict:
    """d/dt KL(p_t | N(0, 1)) by differences against -beta / 2 times the relative Fisher information; KL to
    the data along the way.
    """
    schedule, data = VP(), two_peaks()
    x, p = density(data, schedule.alpha(t), schedule.sigma(t))
    score = data.model(schedule).score(x, t)
    fisher = float(torch.trapezoid(p * (score + x)[:, 0] ** 2, x[:, 0]))
    slope_found = (_divergences(t + h)[0] - _divergences(t - h)[0]) / (2 * h)
    return {
        "slope of KL to N(0, 1)": slope_found,
        "-beta / 2 x Fisher information": -0.5 * schedule.beta(t) * fisher,
        "KL to the data, t = 0.1": _divergences(0.1)[1],
        "KL to the data, t = 0.3": _divergences(0.3)[1],
    }


@claim(
    "T26",
    source="Textbook, section 8.2, open question",
    says="Another schedule, such as the straight line of rectified flow, makes a better ODE.",
    holds=lambda r: r["largest relative difference of x / alpha"] > 1e-3,
    verdict=False,
    finding="In x / alpha the curves are the same for every schedule; only the clock and the scaling "
    "differ. What can be better is the variable and the grid that a solver uses, or a second "
    "training on pairs.",
)
@tried_on(ON_SIX_MODES)
def curves_and_coordinates() -> dict:
    """Median arc over chord of exact paths on the ring, in x and in x / alpha, from the same lambda to the
    same lambda, under two schedules; largest difference between the curves in x / alpha.
    """
    vp, line, result, curves = VP(), Flow(), {}, {}
    lam = np.linspace(vp.lam(1.0), vp.lam(1e-3), 201)
    start = initial_noise(200, 2, 0, **DOUBLE) * math.exp(-lam[0])  # x / alpha at the first lambda
    for name, schedule in (("VP", vp), ("linear flow", line)):
        times = schedule.t_of_lam(lam)
        path = sample(
            rk4,
            RING.model(schedule),
            schedule.alpha(times[0]) * start,
            times,
            variable="sigma",
            keep_path=True,
        ).path
        curves[name] = path / torch.from_numpy(schedule.alpha(times))[:, None, None]
        result[f"{name}: arc / chord of x"] = float(curvature(path).median())
        result[f"{name}: arc / chord of x / alpha"] = float(curvature(curves[name]).median())
    gap = (curves["VP"] - curves["linear flow"]).abs().max() / curves["VP"].abs().max()
    return result | {"largest relative difference of x / alpha": float(gap)}


# --- solvers as samplers --------------------------------------------------------------------------------


@mistake
def exponential_midpoint(model, x, times):
    """DPM-Solver-2 with r_1 = 1/2 (Lu et al. 2022, Algorithm 1), from the paper, in its own symbols."""
    schedule = model.schedule
    yield times[0], x
    for t, s in zip(times, times[1:]):
        h = schedule.lam(s) - schedule.lam(t)
        m = float(schedule.t_of_lam(schedule.lam(t) + h / 2))
        u = schedule.alpha(m) / schedule.alpha(t) * x - schedule.sigma(m) * math.expm1(h / 2) * model.eps(
            x, t
        )
        x = schedule.alpha(s) / schedule.alpha(t) * x - schedule.sigma(s) * math.expm1(h) * model.eps(u, m)
        yield s, x


@claim(
    "BT11, T12, C13",
    source="Textbook, section 8.2.4, table of solvers",
    says="DDIM is Euler's method for the probability-flow ODE.",
    holds=lambda r: r["DDIM - Euler in sigma / alpha"] < 1e-9,
    fails=lambda r: r["DDIM - Euler in t"] > 0.01,
    verdict="holds if",
    finding="If Euler's variable is sigma / alpha: then it is, to rounding. Euler in t is another sampler of "
    "the same order; after ten steps on the ring a sample is up to 0.11 from DDIM's.",
)
@claim(
    "BT12, T18",
    source="Textbook, section 8.2.4, table of solvers",
    says="DPM-Solver-2 is Heun's method.",
    holds=lambda r: r["DPM-Solver-2 - Heun"] < 1e-9,
    verdict=False,
    finding="It is the midpoint method in sigma / alpha with the geometric mean for the middle, to "
    "rounding. Heun's method is EDM's sampler.",
)
@tried_on(ON_SIX_MODES | ON_COSINE | {"5 steps": {"steps": 5}})
def equalities(steps=10) -> dict:
    """Largest differences between samplers on the ring, the same start, 10 steps uniform in lambda."""
    schedule = VP()
    model, x = RING.model(schedule), initial_noise(100, 2, 0, **DOUBLE)
    times = grids.uniform_lambda(schedule, steps)
    end = lambda loop, **options: sample(loop, model, x, times, **options).x
    geometric = end(midpoint, variable="sigma", mean="geometric")
    result = {
        "DDIM - Euler in sigma / alpha": end(ddim) - end(euler, variable="sigma"),
        "DDIM - Euler in t": end(ddim) - end(euler),
        "DPM-Solver-2 - geometric midpoint": end(exponential_midpoint) - geometric,
        "DPM-Solver-2 - arithmetic midpoint": end(exponential_midpoint) - end(midpoint, variable="sigma"),
        "DPM-Solver-2 - Heun": end(exponential_midpoint) - end(heun, variable="sigma"),
        "EDM's sampler - Heun in sigma / alpha": end(edm_heun) - end(heun, variable="sigma"),
    }
    return {name: float(gap.abs().max()) for name, gap in result.items()}


@claim(
    "BT17",
    source="Textbook, section 8.3",
    says="The ODE reads dx/dt = alpha x + sigma eps.",
    holds=lambda r: r["relative error of the velocity"] < 1e-6,
    verdict=False,
    finding="Its coefficients are f = d log alpha / dt and g^2 / (2 sigma); to call them alpha and "
    "sigma, which name the levels, makes the velocity wrong by several times its size.",
)
@tried_on(ON_COSINE | {"t = 0.1": {"t": 0.1}})
def literal_velocity(t=0.5) -> dict:
    """dx/dt = alpha x + sigma eps, read literally, against f x + g^2 / (2 sigma) eps on N(0, 1/4)."""
    schedule = VP()
    x = initial_noise(500, 1, 0, **DOUBLE)
    eps = Mixture.gaussian(1, 0.5).model(schedule).eps(x, t)
    right = schedule.f(t) * x + schedule.g2(t) / (2 * schedule.sigma(t)) * eps
    literal = schedule.alpha(t) * x + schedule.sigma(t) * eps
    return {"relative error of the velocity": float((literal - right).norm() / right.norm())}


SOLVERS = {
    "Euler, t": (euler, {}),
    "DDIM = Euler, σ/α": (euler, {"variable": "sigma"}),
    "Heun, σ/α (EDM)": (edm_heun, {}),
    "midpoint, t": (midpoint, {}),
    "DPM-Solver-2 (midpoint)": (midpoint, {"variable": "sigma", "mean": "geometric"}),
    "RK4, t": (rk4, {}),
    "RK4, λ": (rk4, {"variable": "lam"}),
}


@cache
def orders(counts=(16, 32, 64, 128, 256), n=100):
    """Errors of `SOLVERS` on eight broad modes between sigma / alpha = 5 and 0.2, against the exact flow:
    dict solver -> `ode_errors`.
    """
    schedule = VP()
    start, end = moderate()
    model, x = WIDE_RING.model(schedule), initial_noise(n, 2, 0, **DOUBLE)
    want = reference(model, x, start, end)
    return {
        name: ode_errors(loop, model, x, counts, start=start, end=end, want=want, **options)
        for name, (loop, options) in SOLVERS.items()
    }


def order_of(errors):
    """The measured order of an `ode_errors` dict, from its finer half."""
    half = len(errors["steps"]) // 2
    return slope(errors["steps"][half:], errors["rmse"][half:])


def order_constants() -> dict:
    """What an order is worth, and a variable: ratios of errors out of `orders`."""
    of = lambda name, key, n: orders()[name]["rmse"][orders()[name][key].index(n)]
    return {
        "Euler in t over RK4 in t, 64 calls": of("Euler, t", "nfe", 64) / of("RK4, t", "nfe", 64),
        "DDIM over Euler in t, 256 calls": of("DDIM = Euler, σ/α", "nfe", 256) / of("Euler, t", "nfe", 256),
    }


FAN_STEPS = 6


@cache
def fan(steps=FAN_STEPS, start=-0.9):
    """Euler's path on two peaks in few steps, and the exact curve from each of its states on to the end:
    (times, states (steps + 1,), curves, each (times, states)).  All in x / alpha, against lambda.
    """
    schedule = VP()
    first, last = moderate()
    flow, model = QuantileFlow(schedule, two_peaks()), two_peaks().model(schedule)
    times = grids.uniform_lambda(schedule, steps, first, last)
    x = torch.full((1, 1), start * schedule.sigma(first), **DOUBLE)
    path = sample(euler, model, x, times, variable="sigma", keep_path=True).path[:, 0, 0]
    times, curves = times.tolist(), []
    for t, x in zip(times, path):
        fine = grids.uniform_lambda(schedule, 16, t, last).tolist() if t > last else [t]
        curves.append((fine, [float(flow.map(x[None], t, s)) / schedule.alpha(s) for s in fine]))
    return times, [float(x) / schedule.alpha(t) for t, x in zip(times, path)], curves


def error_is_a_sum() -> dict:
    """The error of that path at the end, and the sum of its carried local errors: the gaps between
    neighbouring exact curves, there.
    """
    _, states, curves = fan()
    ends = [values[-1] for _, values in curves]
    gaps = [later - earlier for earlier, later in zip(ends, ends[1:])]
    return {
        "error at the end": states[-1] - ends[0],
        "sum of the carried local errors": sum(gaps),
        "largest carried local error": max(map(abs, gaps)),
    }


@cache
def local_and_global(counts=(32, 64, 128, 256), n=100):
    """Orders of one step, and of all of them, on eight broad modes, of Euler, Heun and RK4 in sigma / alpha.
    The one step is the first of each grid.
    """
    schedule = VP()
    start, end = moderate()
    model, x = WIDE_RING.model(schedule), initial_noise(n, 2, 0, **DOUBLE)
    want, result = reference(model, x, start, end), {}
    for name, loop in (("Euler", euler), ("Heun", heun), ("RK4", rk4)):
        local, sizes = [], []
        for steps in counts:
            t, s = grids.uniform_lambda(schedule, steps, start, end)[:2].tolist()
            local.append(rms(sample(loop, model, x, [t, s], variable="sigma").x - reference(model, x, t, s)))
            sizes.append(steps)
        whole = ode_errors(loop, model, x, counts, start=start, end=end, want=want, variable="sigma")["rmse"]
        result[f"{name}: order of one step"] = slope(sizes, local)
        result[f"{name}: order of the run"] = slope(counts, whole)
    return result


@cache
def ring_errors(n=800, budgets=(8, 16, 32, 64, 128)):
    """On the ring (narrow modes, to t = 0.001, quadratic grid): dict solver -> (calls, errors of each sample,
    (budgets, n)).
    """
    result = budget(budgets, "quadratic", n)
    return {name: result[name] for name in ("Euler in t", "DDIM", "RK4 in t")}


@cache
def error_map(calls=64, points=61):
    """log10 of RK4's error (in t, quadratic grid) on the ring, for starts on a square of side 6."""
    schedule = VP()
    axis = torch.linspace(-3, 3, points, **DOUBLE)
    x, model = torch.cartesian_prod(axis, axis), RING.model(schedule)
    ends = sample(rk4, model, x, grids.quadratic(schedule, calls // 4)).x
    errors = _each(ends - reference(model, x, schedule.start, schedule.end, 1e-9))
    return np.log10(errors).reshape(points, points).T


def tails() -> dict:
    """Root mean square and median over the 800 starts at 64 calls, what share of the sum of squares the worst
    twentieth has, and its root mean square over the median.
    """
    result = {}
    for name, (calls, errors) in ring_errors().items():
        e = errors[list(calls).index(64)]
        worst = np.sort(e)[-len(e) // 20 :]
        result[f"{name}: root mean square"] = float(np.sqrt((e**2).mean()))
        result[f"{name}: median"] = float(np.median(e))
        result[f"{name}: share of the worst 5 %, %"] = 100 * float((worst**2).sum() / (e**2).sum())
        result[f"{name}: worst 5 % over median"] = float(np.sqrt((worst**2).mean()) / np.median(e))
    return result


@claim(
    "C16, T20, T21",
    source="Textbook, exercise 8.2.2",
    says="Euler is of order 1, Heun and midpoint of order 2, RK4 of order 4.",
    holds=lambda r: all(
        abs(order - (4 if "RK4" in name else 1 if "Euler" in name else 2)) < 0.1 for name, order in r.items()
    ),
    verdict=True,
    finding="On an exact model with broad modes, away from both ends of time, in every variable tried, "
    "within 0.1.",
    elsewhere={"0.1": "the margin"},
    figure="orders-figure",
)
@tried_on(ON_COSINE_MODERATE | ON_SIX_WIDE)
def measured_orders() -> dict:
    """The measured order of each of `SOLVERS`."""
    return {name: order_of(errors) for name, errors in orders().items()}


def _heun_with(noisy_predictor: bool, both_ends: bool):
    """Stochastic Heun, or the mistake BP10: a predictor without noise, a deviation of the left end only, or
    both.
    """

    @mistake
    def loop(model, x, times, rng=0):
        p, q, c = (v.tolist() for v in reverse_coefficients(model.schedule, times))
        noises = noise_of(rng, x, times)
        yield times[0], x
        for i, (t, s) in enumerate(zip(times, times[1:])):
            noise = math.sqrt(t - s) * next(noises)
            drift = p[i] * x + q[i] * model.eps(x, t)
            ahead = x + (s - t) * drift + noisy_predictor * c[i] * noise
            drift_ahead = p[i + 1] * ahead + q[i + 1] * model.eps(ahead, s)
            size = (c[i] + c[i + 1]) / 2 if both_ends else c[i]
            x = x + (s - t) / 2 * (drift + drift_ahead) + size * noise
            yield s, x

    return loop


STOCHASTIC = {
    "Euler–Maruyama": euler_maruyama,
    "stochastic Heun": stochastic_heun,
    "predictor without noise": _heun_with(noisy_predictor=False, both_ends=True),
    "$c$ of the left end": _heun_with(noisy_predictor=True, both_ends=False),
    "both slips": _heun_with(noisy_predictor=False, both_ends=False),
}
WEAK_COUNTS, STRONG_COUNTS = (50, 100, 200, 400), (25, 50, 100, 200)


@cache
def weak_curves(counts=WEAK_COUNTS):
    """Exact errors of the variance on N(0, 1/4), from t = 1 to 0.05: dict solver -> (steps, errors)."""
    return {
        name: (list(counts), weak_errors(loop, VP(), counts, grid=grids.uniform, end=0.05))
        for name, loop in STOCHASTIC.items()
    }


@cache
def strong_curves(counts=STRONG_COUNTS, finest=3200, n=100):
    """Strong errors from t = 1 to 0.05 on eight broad modes, for Euler-Maruyama and stochastic Heun, and of
    Euler-Maruyama on geometric Brownian motion: dict label -> (steps, errors).
    """
    model, x = WIDE_RING.model(VP()), initial_noise(n, 2, 0, **DOUBLE)
    result = {
        name: (list(counts), strong_errors(STOCHASTIC[name], model, x, counts, finest, end=0.05))
        for name in ("Euler–Maruyama", "stochastic Heun")
    }
    steps = (25, 50, 100, 200)
    return result | {"Euler–Maruyama, geometric Brownian": (list(steps), multiplicative_errors(steps, 3200))}


@claim(
    "BP12",
    source="PyTorch tutorial, section 2.3, table",
    says="Euler–Maruyama is of first order.",
    holds=lambda r: abs(r["order, Euler–Maruyama"] - 1) < 0.1,
    verdict=True,
    finding="On a diffusion model, in the strong sense here and in the weak one (weak_orders). For noise "
    "that is multiplied by the state only the weak order is 1.",
    figure="stochastic-figure",
)
@claim(
    "BS27, P09",
    source="Summary, section 4.4",
    says="Euler–Maruyama converges strongly with order 1/2 on a diffusion model.",
    holds=lambda r: r["order, Euler–Maruyama"] < 0.75,
    verdict=False,
    finding="Its strong order is 1: the noise is additive, and the term that Euler–Maruyama lacks is "
    "zero. On geometric Brownian motion, where the noise is multiplied by the state, 1/2 is what "
    "comes out.",
    figure="stochastic-figure",
)
@tried_on(ON_COSINE | ON_SIX_WIDE)
def strong_orders() -> dict:
    """Measured strong orders."""
    return {f"order, {name}": slope(*curve) for name, curve in strong_curves().items()}


@claim(
    "BP10, C40, P08, E4",
    source="PyTorch tutorial, section 2.2, the 'heun' branch",
    says="A Heun step with its noise added at the end is a second-order sampler for the reverse SDE.",
    holds=lambda r: r["order, both slips"] > 1.8,
    verdict=False,
    finding="Its predictor has no noise, and its deviation is that of the left end. Either slip costs the "
    "order; with both the error on a Gaussian is three times that of Euler–Maruyama, and on two peaks 0.4 to "
    "5.5 times, by what is averaged. With the noise in the predictor and the deviation of both ends the "
    "order is 2.",
    elsewhere=dict.fromkeys(("0.4", "5.5"), "gain_on_two_peaks"),
    figure="stochastic-figure",
)
@tried_on(ON_COSINE)
def weak_orders() -> dict:
    """Measured weak orders, and the errors at 100 steps."""
    result = {}
    for name, (steps, errors) in weak_curves().items():
        label = name.replace("$", "")
        result |= {f"order, {label}": slope(steps, errors), f"error at 100 steps, {label}": errors[1]}
    (_, plain), (_, heun_s) = (weak_curves()[name] for name in ("Euler–Maruyama", "stochastic Heun"))
    return result | {
        "Euler–Maruyama / stochastic Heun, 100 steps": plain[1] / heun_s[1],
        "Euler–Maruyama / stochastic Heun, 200 calls": plain[2] / heun_s[1],
    }


def gain_on_two_peaks(steps=100, end=0.05, points=801, nodes=15) -> dict:
    """How many times smaller stochastic Heun's error is than Euler-Maruyama's on two peaks, at as many steps
    and at as many calls, and how many times larger that of the published Heun (both slips), for three means
    over the samples.  No Monte Carlo: u(x) = E[phi(end) | x] is carried back step by step, its mean over the
    normal by Gauss-Hermite, its values between the points by splines.
    """
    from scipy.interpolate import CubicSpline

    schedule, data = VP(), two_peaks()
    model, x = data.model(schedule), torch.linspace(-6, 6, points, **DOUBLE)
    z, weight = np.polynomial.hermite_e.hermegauss(nodes)
    weight = weight / weight.sum()
    start, p_start = density(data, schedule.alpha(1.0), schedule.sigma(1.0))
    stop, p_stop = density(data, schedule.alpha(end), schedule.sigma(end))
    means = {"E x²": np.square, "E tanh 3x": lambda x: np.tanh(3 * x), "E cos 2x": lambda x: np.cos(2 * x)}
    want = [np.trapezoid(phi(stop[:, 0].numpy()) * p_stop.numpy(), stop[:, 0]) for phi in means.values()]

    def errors(loop, count):
        u, times = (
            [phi(x.numpy()) for phi in means.values()],
            grids.uniform(schedule, count, end=end).tolist(),
        )
        for t, s in reversed(list(zip(times, times[1:]))):
            # every point with every node of the normal, as one batch of samples
            noises = Replay([torch.as_tensor(z).repeat(points, 1).reshape(-1, 1)])
            state = x[:, None].expand(points, nodes).reshape(-1, 1)
            moved = sample_last(loop(model, state, [t, s], rng=noises)).reshape(points, nodes).numpy()
            u = [CubicSpline(x.numpy(), row)(np.clip(moved, -6, 6)) @ weight for row in u]
        first = [CubicSpline(x.numpy(), row)(np.clip(start[:, 0], -6, 6)) for row in u]
        got = [np.trapezoid(row * p_start.numpy(), start[:, 0]) for row in first]
        return [abs(float(a - b)) for a, b in zip(got, want)]

    plain, twice = errors(euler_maruyama, steps), errors(euler_maruyama, 2 * steps)
    heun_s, slips = errors(stochastic_heun, steps), errors(STOCHASTIC["both slips"], steps)
    columns = {
        "gain, equal steps": (plain, heun_s),
        "gain, equal calls": (twice, heun_s),
        "both slips, equal steps": (plain, slips),
    }
    return {
        f"{name}: {label}": (b[k] / a[k] if "slips" in label else a[k] / b[k])
        for k, name in enumerate(means)
        for label, (a, b) in columns.items()
    }


# --- what spoils an order -------------------------------------------------------------------------------


@cache
def thin_curves(counts=(8, 16, 32, 64, 128, 256, 512), stds=(0.5, 0.05, 0.005), finer=(1024, 2048)):
    """Relative errors of RK4 on N(0, std^2), uniform in t to 0.001, and in lambda for the thinnest: dict
    label -> (steps, errors).  On the thinnest, uniform in t, the `finer` counts too.
    """
    schedule, x, result = VP(), initial_noise(40, 1, 0, **DOUBLE), {}
    for std in stds:
        cases = [("uniform in $t$", grids.uniform, "t")]
        if std == stds[-1]:
            cases.append((r"uniform in $\lambda$", grids.uniform_lambda, "lam"))
        want = GaussianFlow(schedule, std=std).map(x, schedule.start, schedule.end)
        for name, grid, variable in cases:
            steps = [*counts, *(finer if (std, variable) == (stds[-1], "t") else ())]
            errors = ode_errors(
                rk4, Mixture.gaussian(1, std).model(schedule), x, steps, grid, want=want, variable=variable
            )
            result[f"sd {std:g}, {name}"] = (steps, [e / rms(want) for e in errors["rmse"]])
    return result


@claim(
    "BT14",
    source="Textbook, section 8.2.4, table of solvers",
    says="RK4 gives high accuracy.",
    holds=lambda r: min(r["order, sd 0.5, uniform in t"], r["order, sd 0.005, uniform in lambda"]) > 3.5,
    fails=lambda r: r["order, sd 0.005, uniform in t"] < 2,
    verdict="holds if",
    finding="If the solution is smooth on the scale of a step. On data of width 0.5 its order is 4.1. On "
    "data of width 0.005 with equal steps in t it is 1.8 between 32 and 128 steps, and near 4 only beyond "
    "1000; equal steps in lambda give back the 4.",
    elsewhere={"0.5": "a width of the data", "0.005": "a width of the data"},
    figure="thin-figure",
)
@tried_on(ON_COSINE)
def thin_orders() -> dict:
    """Orders of RK4 between 32 and 128 steps on data of three widths, and on the thinnest
    between 1024 and 2048.
    """
    result = {}
    for name, (steps, errors) in thin_curves().items():
        label = name.replace("$", "").replace(chr(92), "")
        result[f"order, {label}"] = slope(steps[2:5], errors[2:5])
        if len(steps) > 7:
            result[f"order, {label}, {steps[-2]}–{steps[-1]}"] = slope(steps[-2:], errors[-2:])
    return result


def last_jump(counts=(128, 256, 512)):
    """Orders of Heun in t on N(0, 1/4) with equal steps, to t = 0.001 and with a last jump to sigma = 0."""
    schedule, x = VP(), initial_noise(40, 1, 0, **DOUBLE)
    model, result = Mixture.gaussian(1, 0.5).model(schedule), {}
    for name, end in (("to t = 0.001", 1e-3), ("with a jump to sigma = 0", 0.0)):
        want = GaussianFlow(schedule, std=0.5).map(x, schedule.start, end)
        errors = ode_errors(heun, model, x, counts, grids.uniform, end=end, want=want)
        result[f"order, Heun, {name}"] = slope(counts, errors["rmse"])
    return result


@cache
def rounded_curves(counts=(8, 16, 24, 32, 37, 50, 64, 100, 128, 200, 256), n=50):
    """Errors of Heun and RK4 in t with the model's time exact and rounded to thousandths: dict label ->
    (steps, errors).
    """
    schedule = VP()
    start, end = moderate()
    exact, x = WIDE_RING.model(schedule), initial_noise(n, 2, 0, **DOUBLE)
    want, result = reference(exact, x, start, end), {}
    for name, loop in (("Euler", euler), ("Heun", heun), ("RK4", rk4)):
        for clock, model in (("", exact), (", rounded time", RoundedClock(exact))):
            errors = ode_errors(loop, model, x, counts, start=start, end=end, want=want)
            result[name + clock] = (list(counts), errors["rmse"])
    return result


@cache
def rounded_plateau(counts=(*range(28, 41), 100, 200, 256)):
    """Errors of RK4 where the model's time is rounded to thousandths, on equal steps in lambda and in t, and
    where it is truncated: dict label -> (steps, errors).
    """
    schedule = VP()
    start, end = moderate()
    exact, x = WIDE_RING.model(schedule), initial_noise(50, 2, 0, **DOUBLE)
    want, result = reference(exact, x, start, end), {}
    cases = (
        ("rounded, equal steps in λ", grids.uniform_lambda, RoundedClock(exact)),
        ("rounded, equal steps in t", grids.uniform, RoundedClock(exact)),
        ("truncated, equal steps in t", grids.uniform, TruncatedClock(exact)),
    )
    for name, grid, model in cases:
        errors = ode_errors(rk4, model, x, counts, grid, start=start, end=end, want=want)
        result[name] = (list(counts), errors["rmse"])
    return result


class TruncatedClock(RoundedClock):
    """A model whose time is cut to whole steps, as `int` does."""

    def eps(self, x, t):
        return self.model.eps(x, max(int(t * self.whole), 1) / self.whole)


@claim(
    "BP30",
    source="PyTorch tutorial, sections 2.2 and 5.2",
    says="A network that knows whole steps only can serve a continuous solver of any order.",
    holds=lambda r: max(v for k, v in r.items() if "256" in k) < 1e-7,
    verdict=False,
    finding="Asked up to half a step too early or late, RK4 errs by anything from 4e-6 to 2e-4 between 28 "
    "and 40 steps, by where its times fall, and by 1e-5 to 7e-5 at 256; its own error there is 2e-11. Euler "
    "does not notice.",
    elsewhere={"2e-11": "in rounded_curves"},
    figure="rounded-figure",
)
@tried_on(ON_COSINE_MODERATE | ON_SIX_WIDE)
def plateau() -> dict:
    """RK4's errors with a rounded or truncated clock: the least and the largest at 28 to 40 steps, and those
    at 100, 200 and 256.
    """
    result = {}
    for name, (steps, errors) in rounded_plateau().items():
        few = [error for n, error in zip(steps, errors) if n <= 40]
        result[f"{name}: least, 28–40 steps"], result[f"{name}: largest, 28–40"] = min(few), max(few)
        result |= {f"{name}: {n}": error for n, error in zip(steps, errors) if n > 40}
    return result


# --- stiffness ------------------------------------------------------------------------------------------

LAMBDA_STEPS = (0.25, 0.5, 0.75, 0.95, 1.25, 1.5, 1.75, 1.95, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0)


def largest_stable(method, limit=100.0):
    """The largest h with |R(-h)| <= 1 for a method of `STABILITY`, inf beyond `limit`."""
    z = np.linspace(0.001, limit, 200_000)
    wild = abs(STABILITY[method](-z)) > 1 + 1e-12
    return float(z[wild.argmax()]) if wild.any() else math.inf


@cache
def thin_in_lambda(std=1e-3, sizes=LAMBDA_STEPS, steps=2):
    """Factor per step of x on N(0, std^2) under EDM's schedule, in the high noise where dx/dlambda = -x, by a
    few equal steps in lambda from sigma = 80: dict method -> (step in lambda, factor); and the truth.
    """
    schedule = EDM()
    model, x = Mixture.gaussian(1, std).model(schedule), 80 * initial_noise(20, 1, 0, **DOUBLE)
    times = {h: 80 * np.exp(-h * np.arange(steps + 1)) for h in sizes}
    factor = lambda y: (rms(y) / rms(x)) ** (1 / steps)
    result = {
        loop.__name__: (sizes, [factor(sample(loop, model, x, times[h], variable="lam").x) for h in sizes])
        for loop in (euler, heun, rk4, implicit_euler, trapezoid)
    }
    exact = GaussianFlow(schedule, std=std)
    return result | {"truth": (sizes, [factor(exact.map(x, 80.0, float(times[h][-1]))) for h in sizes])}


ONCE = {"iterations": 1}  # of Newton's method: on a line it is exact
STIFF = {  # method -> (loop, calls a step, options)
    "Euler": (euler, 1, {}),
    "midpoint": (midpoint, 2, {}),
    "Heun": (heun, 2, {}),
    "RK4": (rk4, 4, {}),
    "implicit Euler": (implicit_euler, 1, ONCE),
    "trapezoid": (trapezoid, 2, ONCE),
}
CORNERS = {  # label -> (variable, grid)
    "t, equal t": ("t", grids.uniform),
    "σ/α, equal t": ("sigma", grids.uniform),
    "t, equal λ": ("t", grids.uniform_lambda),
    "σ/α, equal λ": ("sigma", grids.uniform_lambda),
}


@cache
def variable_or_grid(std=0.005, calls=120) -> dict:
    """Relative errors on N(0, std^2) of six methods at equal calls, for two variables and two grids: dict
    method -> list in the order of `CORNERS`.
    """
    schedule, x = VP(), initial_noise(20, 1, 0, **DOUBLE)
    model = Mixture.gaussian(1, std).model(schedule)
    want = GaussianFlow(schedule, std=std).map(x, schedule.start, schedule.end)
    return {
        name: [
            rms(sample(loop, model, x, grid(schedule, calls // cost), variable=variable, **options).x - want)
            / rms(want)
            for variable, grid in CORNERS.values()
        ]
        for name, (loop, cost, options) in STIFF.items()
    }


EXPLICIT = ("Euler", "midpoint", "Heun", "RK4")


def corner_gains(stds=(0.005, 0.05, 0.5)) -> dict:
    """By how much errors are divided, on data of three widths, by the variable alone (t to sigma / alpha),
    the grid alone (equal t to equal lambda), and once the grid is changed by the variable, or by the method
    in place of Euler's.
    """
    result = {}
    for std in stds:
        for name in EXPLICIT:
            plain, variable, grid, both = variable_or_grid(std)[name]
            result[f"{name}, width {std:g}: variable alone"] = plain / variable
            result[f"{name}, width {std:g}: grid alone"] = plain / grid
            result[f"{name}, width {std:g}: then the variable"] = grid / both
            if name != "Euler":
                result[f"{name}, width {std:g}: then the method"] = variable_or_grid(std)["Euler"][2] / grid
    return result


def implicit_lag() -> dict:
    """The best implicit method's error over the best explicit one's in each of `CORNERS`, on thin data."""
    result = {}
    for k, corner in enumerate(CORNERS):
        errors = {name: row[k] for name, row in variable_or_grid().items()}
        first = min(errors[name] for name in EXPLICIT)
        best = min(error for name, error in errors.items() if name not in EXPLICIT)
        result[f"best implicit over best explicit, {corner}"] = best / first
    return result


def stable_steps(std=0.005, steps=60) -> dict:
    """The largest steps at which three methods are stable on dy/dlambda = -y; the largest |z| = step x rate
    on thin data in t, equal steps, asked at the start and at the end of each step.
    """
    result = {f"largest stable step, {name}": largest_stable(name) for name in ("euler", "heun", "rk4")}
    times = grids.uniform(VP(), steps)
    for at in ("start", "end"):
        z = -stiffness(VP(), times, std, at=at)
        result[f"largest |z| at the {at} of a step, {steps} steps in t"] = float(z.max())
    return result


def implicit_wins(result):
    """Whether the better implicit method is ahead of the better explicit one in a corner."""
    best = lambda corner, kind: min(v for k, v in result.items() if k.startswith(f"{corner}: {kind}"))
    return any(best(corner, "implicit") < best(corner, "explicit") for corner in CORNERS)


@claim(
    "T24",
    source="Textbook, exercise 8.2.4b",
    says="The ODE is stiff near the data, and needs an implicit method.",
    holds=implicit_wins,
    verdict=False,
    finding="On data of width 0.005 with equal steps in t the last step is stiff for stages that look at its "
    "end, where step times rate reaches 7: Heun and RK4 fail, with ten times the error of the implicit "
    "methods. At equal calls the better implicit method leads in none of four combinations of variable and "
    "grid: a tie with equal t, 6 and 14 times behind with equal λ. Of the explicit methods' errors the grid "
    "alone divides by 6 to 3,800, the variable alone by 5 to 9. On data ten times as wide the grid still "
    "gains, and the variable makes some methods better and others worse; at width 0.5 the grid loses too, "
    "but for Heun.",
    elsewhere=dict.fromkeys(("0.005", "0.5"), "a width of the data"),
    figure="stability-figure",
)
@tried_on(ON_COSINE | {"data of width 0.01": {"variable_or_grid": partial(variable_or_grid, std=0.01)}})
def stiff_or_not() -> dict:
    """Errors of explicit and implicit methods on N(0, 0.005^2) at 120 calls, in four combinations of
    variable and grid.
    """
    result = {}
    for name, errors in variable_or_grid().items():
        kind = "" if "implicit" in name else "implicit " if name == "trapezoid" else "explicit "
        result |= {f"{corner}: {kind}{name}": error for corner, error in zip(CORNERS, errors)}
    return result


# --- adaptive steps -------------------------------------------------------------------------------------


TOLERANCES = tuple(10 ** (-2 - k / 4) for k in range(17))


@cache
def _adaptive_runs(n=100, seed=0):
    """(calls, errors of each sample (tolerances, n)) of rk45 on the ring, for `TOLERANCES`."""
    schedule, (x, want) = VP(), ring_starts(n, seed)
    model = RING.model(schedule)
    runs = [sample(rk45, model, x, [schedule.start, schedule.end], rtol=tol, atol=tol) for tol in TOLERANCES]
    return [run.nfe for run in runs], np.stack([_each(run.x - want) for run in runs])


def adaptive_errors(measure="rmse", seed=0):
    """rk45 on the ring for 17 tolerances, 1e-2 to 1e-6: (calls, errors); measure: "rmse" or "median"."""
    calls, errors = _adaptive_runs(seed=seed)
    return calls, MEASURES[measure](errors).tolist()


@cache
def _fixed_runs(counts=(12, 24, 48, 96), n=100, seed=0):
    """RK4 in t on the ring with fixed grids: dict label -> (calls, errors of each sample (counts, n))."""
    schedule, (x, want), result = VP(), ring_starts(n, seed), {}
    model = RING.model(schedule)
    for name, grid in (("uniform", grids.uniform), ("quadratic", grids.quadratic)):
        ends = [sample(rk4, model, x, grid(schedule, steps)).x for steps in counts]
        calls = [4 * steps for steps in counts]
        result[f"RK4, {name} grid"] = (calls, np.stack([_each(y - want) for y in ends]))
    return result


def fixed_errors(measure="rmse", seed=0):
    """RK4 in t on the ring with fixed grids: dict label -> (calls, errors)."""
    runs = _fixed_runs(seed=seed)
    return {name: (calls, MEASURES[measure](e).tolist()) for name, (calls, e) in runs.items()}


def adaptive_log(tol=1e-4, n=100, seed=0):
    """Every try of rk45 on the ring: list of (t, s, error, accepted)."""
    schedule, log = VP(), []
    x = initial_noise(n, 2, seed, **DOUBLE)
    sample(rk45, RING.model(schedule), x, [schedule.start, schedule.end], rtol=tol, atol=tol, log=log)
    return log


@claim(
    "T23",
    source="Textbook, exercise 8.2.4a",
    says="Adaptive steps beat fixed ones at equal cost.",
    holds=lambda r: all(value > 1e-5 for name, value in r.items() if name.startswith("smallest tol")),
    fails=lambda r: all(value < 17 for name, value in r.items() if name.startswith("ahead at")),
    verdict="holds if",
    finding="If the tolerance is small: 1e-5 and less in all four batches. Against RK4 on a quadratic grid "
    "that suits the problem, at as many calls, the adaptive solver is behind at the larger tolerances and "
    "ahead at the smaller ones. With the cosine schedule two of the batches are still behind at 1e-5, and "
    "ahead from there on. What it gives in any case is an error that follows the tolerance without "
    "anyone knowing the grid, roughly: four batches of 100 starts err by 0.07 to 6 times the tolerance.",
    elsewhere={"1e-5": "a tolerance"},
    figure="adaptive-figure",
)
@tried_on(ON_SIX_MODES | ON_COSINE)
def adaptive_against_fixed(seeds=4) -> dict:
    """rk45 at 17 tolerances against RK4 on the quadratic grid, whose error is read at as many calls on log
    axes; and rk45's error over its tolerance; for several batches of starts.
    """
    result = {}
    for seed in range(seeds):
        refused = sum(not accepted for *_, accepted in adaptive_log(seed=seed))
        result[f"refused tries at 1e-4: seed {seed}"] = refused
        for measure in MEASURES:
            calls, errors = adaptive_errors(measure, seed)
            x, y = fixed_errors(measure, seed)["RK4, quadratic grid"]
            ahead = np.array(errors) < np.exp(np.interp(np.log(calls), np.log(x), np.log(y)))
            behind = [tol for tol, won in zip(TOLERANCES, ahead) if not won]
            result[f"ahead at so many of 17, {measure}: seed {seed}"] = int(ahead.sum())
            result[f"smallest tolerance at which it is behind, {measure}: seed {seed}"] = min(
                behind, default=0.0
            )
        ratios = np.array(adaptive_errors("rmse", seed)[1]) / TOLERANCES
        result[f"error over tolerance, least: seed {seed}"] = float(ratios.min())
        result[f"error over tolerance, largest: seed {seed}"] = float(ratios.max())
        result[f"error above the tolerance, of 17: seed {seed}"] = int((ratios > 1).sum())
    return result


# --- Langevin, correctors, churn ------------------------------------------------------------------------


def stationary(step, std):
    """The stationary variance of Langevin's chain on N(0, std^2) over std^2: 1 / (1 - step / (2 std^2)), inf
    where it diverges.
    """
    return 1 / (1 - step / (2 * std**2)) if step < 2 * std**2 else math.inf


def simulated_stationary(step, std, rounds=4000):
    """The same, by iterating the variance of the chain."""
    variance = std**2
    for _ in range(rounds):
        variance = variance * (1 - step / std**2) ** 2 + 2 * step
    return variance / std**2


def snr_stationary(d, snr=0.16):
    """The stationary variance over std^2 of Langevin's chain by the SNR rule on N(0, std^2 I_d), if the
    state is taken for Gaussian: (1 + snr^2) (d + 2) / (d - 2), inf in two dimensions.
    """
    return (1 + snr**2) * (d + 2) / (d - 2) if d > 2 else math.inf


@cache
def snr_variance(d, std, snr=0.16, rounds=200, n=300, seed=1):
    """Variance over std^2 after Langevin steps by the SNR rule on N(0, std^2 I_d)."""
    x = std * initial_noise(n, d, 0, **DOUBLE)
    for z in noise_of(seed, x, list(range(rounds, -1, -1))):
        score = -x / std**2
        x = langevin_step(x, score, snr_step(score, z, snr), z)
    return float(x.square().mean()) / std**2


@claim(
    "BS30, C31, S27",
    source="Summary, section 4.4",
    says="One step size serves the Langevin corrector at every noise level.",
    holds=lambda r: r["fixed step 0.01 over its limit, sd 0.01"] < 1,
    verdict=False,
    finding="The chain is stable only for steps below twice the variance: 0.01 is fine at sd 1, doubles "
    "the variance at 0.1 and diverges at 0.01. The SNR rule gives the same relative error at every "
    "width; it needs many dimensions, though, because in two the ratio of norms has a heavy tail.",
    elsewhere={"0.01": "a step, and a width", "0.1": "a width"},
    figure="langevin-figure",
)
def langevin_stability() -> dict:
    """Stationary variance over the true one: one fixed step and the SNR rule, at three widths; in two
    dimensions the least and the most of eight seeds.
    """
    result = {}
    for std in (1.0, 0.1):
        result[f"fixed step 0.01, sd {std:g}"] = stationary(0.01, std)
    result["fixed step 0.01 over its limit, sd 0.01"] = 0.01 / (2 * 0.01**2)
    for std in (1.0, 0.1, 0.01):
        result[f"SNR rule, d = 64, sd {std:g}"] = snr_variance(64, std, n=3000)
    plane = [snr_variance(2, 1.0, seed=seed) for seed in range(1, 9)]
    return result | {"SNR rule, d = 2, least of 8 seeds": min(plane), "SNR rule, d = 2, most": max(plane)}


def clusters(d=64):
    """Eight narrow clusters in 64 dimensions."""
    means = 0.5 * torch.randn(8, d, generator=torch.Generator().manual_seed(0), **DOUBLE)
    return Mixture(torch.full((8,), 1 / 8), means, torch.full((8,), 0.2))


def cluster_spread(x, data):
    """Root mean square distance of a coordinate from the nearest mean; 0.2 for perfect samples."""
    return float((torch.cdist(x, data.means).min(1).values ** 2).mean().div(x.shape[1]).sqrt())


@cache
def corrected(budgets=(20, 40, 80, 160), n=100):
    """Spread of samples about their cluster's mean (truth 0.2) at equal calls: dict sampler
    -> (calls, spreads).
    """
    schedule, data = VP(), clusters()
    model, x = data.model(schedule), initial_noise(n, 64, 0, **DOUBLE)
    cases = {
        "Euler–Maruyama": (euler_maruyama, 1, {}),
        "with one correction a step": (predictor_corrector, 2, {"norms": "sample"}),
        "stochastic Heun": (stochastic_heun, 2, {}),
        "annealed Langevin, 5 a level": (langevin, 5, {"corrections": 5, "norms": "sample"}),
    }
    return {
        name: (
            list(budgets),
            [
                cluster_spread(
                    sample(loop, model, x, grids.uniform_lambda(schedule, calls // cost), **o).x, data
                )
                for calls in budgets
            ],
        )
        for name, (loop, cost, o) in cases.items()
    }


@claim(
    "T25, BS30",
    source="Summary, section 4.4; textbook, exercise 8.2.4c",
    says="A corrector improves the samples at equal cost.",
    holds=lambda r: all(
        abs(r[f"with one correction a step, {n} calls"] - 0.2) < abs(r[f"Euler–Maruyama, {n} calls"] - 0.2)
        for n in (40, 160)
    ),
    verdict=False,
    finding="With an exact score under VP it does not: the calls are better spent on more steps, or on "
    "a second stage. Song et al. report their gain for trained networks and mostly for VE.",
)
@tried_on(ON_COSINE)
def corrector_gain() -> dict:
    """Those spreads at 40, 80 and 160 calls."""
    result = corrected()
    return {
        f"{name}, {calls} calls": spread
        for name, (budgets, spreads) in result.items()
        for calls, spread in zip(budgets, spreads)
        if calls in (40, 80, 160)
    }


def churn_variances(churns=(0.0, 10.0, 40.0), counts=(20, 80)):
    """Exact variance on N(0, 1/4) of EDM's stochastic sampler, for several amounts of churn."""
    schedule = EDM()
    return {
        f"churn {c:g}, {n} steps": exact_variance(
            edm_stochastic, schedule, grids.karras(schedule, n), churn=c
        )
        for c in churns
        for n in counts
    }


# --- when noise repairs -----------------------------------------------------------------------------------


class Believes:
    """An exact model of N(0, belief(t)), for data N(0, 1/4): wrong where the belief is not 1/4."""

    def __init__(self, schedule, belief):
        self.schedule, self.belief, self.nfe = schedule, belief, 0

    def begin(self):
        self.nfe = 0

    def eps(self, x, t):
        self.nfe += 1
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return sigma * x / (alpha**2 * self.belief(t) + sigma**2)


BELIEFS = {
    "right": lambda t: 0.25,
    "wrong early": lambda t: 0.36 if t > 0.2 else 0.25,
    "wrong late": lambda t: 0.36 if t < 0.1 else 0.25,
    "wrong between": lambda t: 0.36 if 0.05 < t < 0.2 else 0.25,
    "too narrow early": lambda t: 0.16 if t > 0.2 else 0.25,
}


def believed_variance(loop, times, belief, **options):
    """(exact variance of a sampler's output, calls of the model) where the data are N(0, 1/4) and the model
    believes `belief`: `exact_variance` for a wrong model.
    """
    schedule, times = VP(), torch.as_tensor(times).tolist()
    basis = torch.eye(2 * len(times) + 20, **DOUBLE)
    model = Believes(schedule, belief)
    if loop.random:
        options["rng"] = Replay(basis[1:, None, :])
    start = math.sqrt(true_variance(schedule, times[0]))
    end = sample_last(loop(model, start * basis[:1], times, **options))
    return float(end.square().sum()), model.nfe


LEVELS = (0.0, 0.5, 1.0, 2.0)


@cache
def repaired(taus=LEVELS, steps=1000) -> dict:
    """Final variance on N(0, 1/4), the discretisation error being nothing, of a model that is wrong early (t
    above 0.2), between 0.2 and 0.05, or late (t below 0.1), at several levels of noise: dict belief ->
    (levels, variances).
    """
    times = grids.uniform(VP(), steps)
    variance = lambda name, tau: believed_variance(stochastic_heun, times, BELIEFS[name], tau=tau)[0]
    names = ("wrong early", "wrong between", "wrong late")
    return {name: (list(taus), [variance(name, tau) for tau in taus]) for name in names}


class Weighs:
    """An exact model of two peaks with their weights 0.3 and 0.7, and with 0.6 and 0.4 where `when` says."""

    def __init__(self, schedule, when):
        right = two_peaks()
        wrong = Mixture([0.6, 0.4], right.means, right.stds)
        self.schedule, self.when, self.nfe = schedule, when, 0
        self.right, self.wrong = right.model(schedule), wrong.model(schedule)

    def begin(self):
        self.nfe = 0

    def eps(self, x, t):
        self.nfe += 1
        return (self.wrong if self.when(t) else self.right).eps(x, t)


WINDOWS = {
    "wrong early": lambda t: t > 0.2,
    "wrong between": lambda t: 0.05 < t < 0.2,
    "wrong late": lambda t: t < 0.1,
}


@cache
def weights_repaired(taus=(0.0, 1.0, 2.0), steps=300, n=4000) -> dict:
    """Share of samples in the left peak, in per cent (30 would be right), of a model that takes it for 60
    within a window of time: dict belief -> (levels, shares).  The starts are quantiles; at levels above 0
    the noise makes shares uncertain by 0.7.
    """
    schedule = VP()
    x = torch.special.ndtri((torch.arange(n, **DOUBLE) + 0.5) / n)[:, None]
    times = grids.quadratic(schedule, steps)
    share = lambda when, tau: (
        100
        * float(
            (sample(stochastic_heun, Weighs(schedule, when), x, times, draws=1, tau=tau).x < 0)
            .double()
            .mean()
        )
    )
    return {name: (list(taus), [share(when, tau) for tau in taus]) for name, when in WINDOWS.items()}


def when_noise_repairs() -> dict:
    """Both in one table, at levels 0, 1 and 2: names "what, belief: level"."""
    result = {}
    for what, found in (("variance", repaired()), ("left peak, %", weights_repaired())):
        for name, (taus, values) in found.items():
            result |= {
                f"{what}, {name}: level {tau:g}": v for tau, v in zip(taus, values) if tau in (0, 1, 2)
            }
    return result


@cache
def noise_in_a_band(steps=1000) -> dict:
    """Final variance on N(0, 1/4) where the model is wrong early *and* late: without noise, with level 2 all
    the way, and with level 2 for t above 0.1 only; and where it is wrong all the way.
    """
    times = grids.uniform(VP(), steps)
    both = lambda t: 0.36 if t > 0.2 or t < 0.1 else 0.25
    cases = {
        "wrong early and late, no noise": (both, 0.0),
        "wrong early and late, level 2": (both, 2.0),
        "wrong early and late, level 2 above t = 0.1": (both, lambda t: 2.0 * (t > 0.1)),
        "wrong all the way, no noise": (lambda t: 0.36, 0.0),
        "wrong all the way, level 0.5": (lambda t: 0.36, 0.5),
        "wrong all the way, level 1": (lambda t: 0.36, 1.0),
        "wrong all the way, level 2": (lambda t: 0.36, 2.0),
    }
    variance = lambda belief, tau: believed_variance(stochastic_heun, times, belief, tau=tau)[0]
    return {name: variance(*case) for name, case in cases.items()}


@cache
def restarted(rounds=(0, 1, 2, 4, 8), steps=200, low=0.1, high=0.45):
    """The same with Restart between two levels, against its rounds: dict belief -> (rounds, variances)."""
    times = grids.uniform_lambda(VP(), steps)
    return {
        name: (
            list(rounds),
            [
                believed_variance(restart, times, BELIEFS[name], low=low, high=high, rounds=k, inner=100)[0]
                for k in rounds
            ],
        )
        for name in ("wrong early", "wrong late")
    }


def contraction(low=0.1, high=0.45, std=0.5):
    """What a round of Restart leaves of an excess of the variance: the squared correlation of the states at
    its two levels, (alpha_M / alpha_m)^2 Var x_m / Var x_M.
    """
    schedule = VP()
    m, M = (float(schedule.t_of_lam(-math.log(kappa))) for kappa in (low, high))
    ratio = (schedule.alpha(M) / schedule.alpha(m)) ** 2
    return ratio * true_variance(schedule, m, std) / true_variance(schedule, M, std)


def restart_rate() -> dict:
    """That factor, by formula, and by two successive rounds of `restarted`."""
    _, v = restarted((0, 1, 2))["wrong early"]
    truth = true_variance(VP(), VP().end)
    return {
        "by formula": contraction(),
        "measured, first round": (v[1] - truth) / (v[0] - truth),
        "measured, second round": (v[2] - truth) / (v[1] - truth),
    }


REPAIRERS = {  # name -> (loop, steps for the calls, options)
    "EDM's Heun (no noise)": (edm_heun, lambda calls: calls // 2, {}),
    "stochastic Heun, level 1": (stochastic_heun, lambda calls: calls // 2, {"tau": 1.0}),
    "stochastic Heun, level 2": (stochastic_heun, lambda calls: calls // 2, {"tau": 2.0}),
    "churn 10": (edm_stochastic, lambda calls: calls // 2, {"churn": 10.0}),
    "Restart, 4 rounds": (restart, lambda calls: calls // 4, {"low": 0.1, "high": 0.45, "rounds": 4}),
}


@cache
def repaired_at_cost(cases=((64, "Karras"), (128, "Karras"), (64, "quadratic"))) -> dict:
    """Error of the final variance on N(0, 1/4) with a few calls: with the right model, and what a model adds
    that is wrong early, too wide (0.36) or too narrow (0.16), and both in all.  Restart spends half of its
    calls on the main way and an eighth on each of four rounds.
    """
    result, truth = {}, true_variance(VP(), VP().end)
    for calls, grid in cases:
        for name, (loop, steps, options) in REPAIRERS.items():
            more = {"inner": calls // 16} if loop is restart else {}
            times, found = GRIDS[grid](VP(), steps(calls)), {}
            for belief in ("right", "wrong early", "too narrow early"):
                found[belief], nfe = believed_variance(loop, times, BELIEFS[belief], **options, **more)
                assert nfe == calls, (name, nfe)
            row = f"{calls} calls, {grid}, {name}"
            result[f"{row}: model right"] = found["right"] - truth
            result[f"{row}: too wide adds"] = found["wrong early"] - found["right"]
            result[f"{row}: too narrow adds"] = found["too narrow early"] - found["right"]
            result[f"{row}: wide in all"] = found["wrong early"] - truth
            result[f"{row}: narrow in all"] = found["too narrow early"] - truth
    return result


# --- flow matching ----------------------------------------------------------------------------------------


def _velocity(model, x, t):
    """v = eps - x0 of the linear flow."""
    return model.eps(x, t) - model.x0(x, t)


@mistake
def velocity_euler(model, x, times):
    """Euler's method in t on the velocity: x + (s - t) v."""
    yield times[0], x
    for t, s in zip(times, times[1:]):
        x = x + (s - t) * _velocity(model, x, t)
        yield s, x


@mistake
def velocity_memory(model, x, times):
    """Two-step Adams-Bashforth on the velocity, for equal steps: x + h (3 v - v_before) / 2; Euler first."""
    before = None
    yield times[0], x
    for t, s in zip(times, times[1:]):
        v = _velocity(model, x, t)
        x = x + (s - t) * (v if before is None else 1.5 * v - 0.5 * before)
        before = v
        yield s, x


def shifted(times, a):
    """a t / (1 + (a - 1) t) (Esser et al. 2024, eq. 23), arrays or tensors."""
    return a * times / (1 + (a - 1) * times)


def flow_equalities(steps=10) -> dict:
    """Largest differences on the linear flow, the ring, ten equal steps in t: Euler on the velocity against
    DDIM; and what a shift of 3 does to lambda.
    """
    schedule = Flow()
    model, x = RING.model(schedule), initial_noise(100, 2, 0, **DOUBLE)
    times = grids.uniform(schedule, steps)
    moved = schedule.lam(shifted(times.numpy(), 3.0)) - schedule.lam(times.numpy())
    once = sample(velocity_euler, model, x, times).x
    return {
        "Euler on the velocity - DDIM": float((once - sample(ddim, model, x, times).x).abs().max()),
        "Euler on the velocity - Euler in t": float((once - sample(euler, model, x, times).x).abs().max()),
        "λ after a shift of 3 - λ before, least": float(moved.min()),
        "λ after a shift of 3 - λ before, largest": float(moved.max()),
    }


SHIFTS = (0.25, 0.5, 1.0, 2.0, 3.0, 6.0, 9.0)


@cache
def shift_errors(shifts=SHIFTS, calls=16, n=300, sizes=(1.0, 6.0)):
    """Median error over the ring's size under the linear flow, equal steps in t shifted by a, on the ring
    and on one six times as large: dict "sampler, ring" -> (a, errors).
    """
    schedule, x, result = Flow(), initial_noise(n, 2, 0, **DOUBLE), {}
    for size in sizes:
        model = Mixture.ring(8, radius=size, std=0.08 * size).model(schedule)
        want = reference(model, x, schedule.start, schedule.end)
        for name, loop, cost in (("Euler = DDIM", velocity_euler, 1), ("Heun", heun, 2)):
            row = []
            for a in shifts:
                times = shifted(grids.uniform(schedule, calls // cost), a)
                times[0], times[-1] = schedule.start, schedule.end
                row.append(float(np.median(_each(sample(loop, model, x, times).x - want))) / size)
            result[f"{name}, ring × {size:g}"] = (list(shifts), row)
    return result


def shift_cost() -> dict:
    """Error on the ring with a shift of 3 over that without one, at 16 and at 32 calls."""
    return {
        f"{name.split(',')[0]}: {calls} calls": row[1] / row[0]
        for calls in (16, 32)
        for name, (_, row) in shift_errors((1.0, 3.0), calls, sizes=(1.0,)).items()
    }


@cache
def flow_orders(counts=(32, 64, 128, 256), n=60) -> dict:
    """Measured orders on the linear flow, eight broad modes, equal steps in t between kappa = 5 and 0.2."""
    schedule = Flow()
    start, end = moderate(schedule)
    model, x = WIDE_RING.model(schedule), initial_noise(n, 2, 0, **DOUBLE)
    want = reference(model, x, start, end)
    loops = {"Euler": velocity_euler, "two-step": velocity_memory, "Heun": heun}
    errors = lambda loop: ode_errors(loop, model, x, counts, grids.uniform, start, end, want)["rmse"]
    return {f"order, {name} on the velocity": slope(counts, errors(loop)) for name, loop in loops.items()}


# --- likelihood -----------------------------------------------------------------------------------------


def likelihood_data():
    """Two Gaussians in the plane for the likelihood."""
    return Mixture([0.3, 0.7], [[-1.0, 0.0], [0.8, 0.5]], [0.3, 0.4])


@cache
def likelihoods(steps=20, n=100):
    """(exact log p, computed with the exact density at the start, with N(0, sigma^2) there), (n,) each."""
    schedule, data = EDM(), likelihood_data()
    model, x = data.model(schedule), data.sample(n, 1)
    times = grids.karras(schedule, steps)
    prior = lambda noise: model.log_prob(noise, schedule.start)
    exact = model.log_prob(x, schedule.end)
    return exact, log_likelihood(model, x, times, prior=prior)[0], log_likelihood(model, x, times)[0]


def likelihood_errors(counts=(5, 10, 20, 40)):
    """Mean absolute error of log p against steps, with the exact density at the start and with N(0, sigma^2):
    dict label -> (steps, errors).
    """
    result = {"exact density at the start": [], "N(0, σ²) at the start": []}
    for n in counts:
        exact, *computed = likelihoods(n)
        for errors, values in zip(result.values(), computed):
            errors.append(float((values - exact).abs().mean()))
    return {name: (list(counts), errors) for name, errors in result.items()}


@cache
def hutchinson_spread(probes=(1, 4, 16, 64), n=200):
    """Standard deviation of Hutchinson's estimate about the exact divergence's log p: (probes, spreads)."""
    schedule, data = EDM(), likelihood_data()
    model, x, times = data.model(schedule), data.sample(n, 1), grids.karras(schedule, 10)
    exact = log_likelihood(model, x, times)[0]
    spreads = [
        rms(log_likelihood(model, x, times, divergence="hutchinson", probes=k)[0] - exact) for k in probes
    ]
    return list(probes), spreads


@claim(
    "T17, C08, C11",
    source="Textbook, section 8.2.3",
    says="The probability-flow ODE is invertible, deterministic, and keeps the marginals.",
    holds=lambda r: max(r.values()) < 1e-4,
    verdict=True,
    finding="All three, to the solver's error at 100 steps of RK4; the solver is invertible only up to "
    "that error.",
)
@tried_on(ON_THREE_PEAKS | {"a slower schedule": {"VP": partial(VP, beta_max=10.0)}})
def three_properties() -> dict:
    """Invertible: the round trip of RK4; deterministic: two runs; marginals: the largest distance between the
    distribution function at four times and that of the samples.
    """
    schedule, data = VP(), two_peaks()
    model, times = data.model(schedule), grids.uniform_lambda(schedule, 100)
    x = data.sample(200, 0)
    noise = sample(rk4_invert, model, x, times, variable="sigma").x
    back = [sample(rk4, model, noise, times, variable="sigma").x for _ in range(2)]
    levels = (torch.arange(400, **DOUBLE) + 0.5) / 400
    first = QuantileFlow(schedule, data)._invert(np.log(levels.numpy()), np.zeros(400, bool), 1.0)
    run = sample(rk4, model, torch.as_tensor(first)[:, None], times, variable="sigma", keep_path=True)
    gaps = []
    for k in (25, 50, 75, 100):
        below, _ = QuantileFlow(schedule, data)._log_tails(run.path[k, :, 0].numpy(), run.times[k])
        gaps.append(float(np.abs(np.exp(below) - levels.numpy()).max()))
    return {
        "round trip": rms(back[0] - x),
        "two runs differ by": float((back[0] - back[1]).abs().max()),
        "largest gap of the distribution functions": max(gaps),
    }


# --- which solver ---------------------------------------------------------------------------------------

CONTESTANTS = {
    "Euler in t": (euler, 1, {}),
    "DDIM": (euler, 1, {"variable": "sigma"}),
    "Heun in t": (heun, 2, {}),
    "Heun in σ/α": (heun, 2, {"variable": "sigma"}),
    "DPM-Solver-2": (midpoint, 2, {"variable": "sigma", "mean": "geometric"}),
    "RK4 in t": (rk4, 4, {}),
    "RK4 in λ": (rk4, 4, {"variable": "lam"}),
}


GRIDS = {
    "quadratic": grids.quadratic,
    "uniform": grids.uniform,
    "uniform in λ": grids.uniform_lambda,
    "Karras": grids.karras,
}
WINNERS_AT = (8, 16, 32, 64)


BATCHES = 8


def _each(difference):
    """The root mean square of each sample of a difference (B, ...), an array (B,)."""
    return difference.double().square().flatten(1).mean(1).sqrt().numpy()


MEASURES = {
    "rmse": lambda errors: np.sqrt((errors**2).mean(-1)),
    "median": lambda errors: np.median(errors, -1),
}


@cache
def ring_starts(n=800, seed=0):
    """(n starts on the ring, the exact flow's ends), both (n, 2) float64."""
    schedule = VP()
    x = initial_noise(n, 2, seed, **DOUBLE)
    return x, reference(RING.model(schedule), x, schedule.start, schedule.end)


@cache
def budget(budgets=BUDGETS, grid="quadratic", n=800, seed=0):
    """Errors on the ring at equal calls, on one of `GRIDS` to t = 0.001: dict solver -> (calls, errors of
    each sample, an array (budgets, n)).
    """
    schedule, (x, want), result = VP(), ring_starts(n, seed), {}
    model = RING.model(schedule)
    for name, (loop, cost, options) in CONTESTANTS.items():
        ends = (sample(loop, model, x, GRIDS[grid](schedule, b // cost), **options).x for b in budgets)
        result[name] = (list(budgets), np.stack([_each(end - want) for end in ends]))
    return result


@cache
def digits_budget(budgets=WINNERS_AT, grid="quadratic", n=80):
    """The same on digits with the trained network, against the end of its own flow (Heun with 200 steps,
    quadratic grid), each digit in turn as label.
    """
    from toolkit.networks import digits_model

    schedule, result = VP(), {}
    model, x, want = digits_model(schedule, label=torch.arange(n) % 10), *_digits_ends(n)
    for name, (loop, cost, options) in CONTESTANTS.items():
        if name != "RK4 in λ":
            ends = (sample(loop, model, x, GRIDS[grid](schedule, b // cost), **options).x for b in budgets)
            result[name] = (list(budgets), np.stack([_each(end - want) for end in ends]))
    return result


@cache
def _digits_ends(n):
    """(n starts, the ends of the network's own flow)."""
    from toolkit.networks import digits_model

    schedule = VP()
    model, x = digits_model(schedule, label=torch.arange(n) % 10), initial_noise(n, (1, 8, 8), 0)
    return x, sample(heun, model, x, grids.quadratic(schedule, 200)).x


def measured(curves, measure):
    """dict solver -> (calls, errors), of a `budget`, in one of `MEASURES`."""
    return {name: (calls, MEASURES[measure](errors).tolist()) for name, (calls, errors) in curves.items()}


def leaders(curves, measure="rmse"):
    """For each budget (name of the best solver, its lead = the second's error over its own, in how many of
    `BATCHES` parts of the samples it is the best as well).
    """
    names, of = list(curves), MEASURES[measure]
    errors = np.stack([curves[name][1] for name in names])  # (solvers, budgets, n)
    parts = np.stack([of(part) for part in np.array_split(errors, BATCHES, axis=2)])
    result, best = [], parts.argmin(1)  # (parts, budgets)
    for k, column in enumerate(of(errors).T):
        first, second = np.argsort(column)[:2]
        result.append((names[first], float(column[second] / column[first]), int((best[:, k] == first).sum())))
    return result


TIE = 1.5  # a lead below this is called a tie


def _as_orders(measure, by):
    """The orders of the leaders, 0 for a tie, and their leads: dict "grid, calls: …" -> number."""
    result = {}
    for grid in GRIDS:
        for calls, (name, lead, _) in zip(WINNERS_AT, leaders(measure(WINNERS_AT, grid), by)):
            order = CONTESTANTS[name][0].order if lead >= TIE else 0
            result[f"{grid}, {calls} calls: order of the best"] = order
            result[f"{grid}, {calls} calls: lead"] = lead
    return result


@claim(
    "T19",
    source="Textbook, section 8.2.4, tip",
    says="Above 50 calls any solver will do, and a solver of high order is for few calls.",
    holds=lambda r: all(v < 1.5 for v in r.values()),
    verdict=False,
    finding="On an exact model at 64 calls order 1 is behind by the median on all four grids, 3.6 to 72 "
    "times; by the root mean square on three, and hardly with equal steps in t. With fewer calls who leads "
    "belongs to solver, grid and measure: by the root mean square most leads are below 1.5, ties; by the "
    "median RK4 leads on three grids from 32 calls on.",
    elsewhere={"1.5": "the margin of a tie"},
    figure="budget-figure",
)
@tried_on(ON_SIX_MODES | ON_COSINE)
def ring_winners(seeds=4) -> dict:
    """How many times larger the error of the better method of order 1 is than that of the best solver at 64
    calls, on four grids: the least and the most of four batches of 800 starts.
    """
    result = {}
    for grid in GRIDS:
        for by in MEASURES:
            ratios = []
            for seed in range(seeds):
                at_64 = {k: e[0] for k, (_, e) in measured(budget((64,), grid, seed=seed), by).items()}
                ratios.append(min(at_64["Euler in t"], at_64["DDIM"]) / min(at_64.values()))
            result[f"{grid}: {by}, least"], result[f"{grid}: {by}, most"] = min(ratios), max(ratios)
    return result


def ties() -> dict:
    """Of the 16 cells of the ring, grids times budgets: the leads below 1.5, and in how many cells of either
    kind the first changes in at least one of eight batches of 100 starts.
    """
    result = {}
    for by in MEASURES:
        cells = [cell for grid in GRIDS for cell in leaders(budget(WINNERS_AT, grid), by)]
        for kind, some in (
            ("ties", [c for c in cells if c[1] < TIE]),
            ("leads", [c for c in cells if c[1] >= TIE]),
        ):
            result[f"{kind} among 16: {by}"] = len(some)
            result[f"of the {kind}, the first changes between batches: {by}"] = sum(
                c[2] < BATCHES for c in some
            )
    return result


def grid_table(by="rmse"):
    """Rows of text: data, grid, and the best solver at each budget with its lead; a lead below 1.5 is a tie.
    The first row is the heading.
    """
    rows = [("data", "grid", *(f"{calls} calls" for calls in WINNERS_AT))]
    for data, measure in (("ring", budget), ("digits", digits_budget)):
        for grid in GRIDS:
            cells = leaders(measure(WINNERS_AT, grid), by)
            told = (f"{name} ×{lead:.1f}" if lead >= TIE else f"({name})" for name, lead, _ in cells)
            rows.append((data, grid, *told))
    return rows


@claim(
    "T22",
    source="Textbook, exercise 8.2.3",
    says="At an equal budget the solver of highest order is the best on a trained network too.",
    holds=lambda r: all(v == 4 for name, v in r.items() if "order" in name),
    verdict=False,
    finding="Measured against the network's own flow DDIM is first at 8 calls on all four grids, by a factor "
    "of 1.1 to 1.5. RK4 leads from 32 calls on three of them, by 1.5 to 4.4; with equal steps in t order 1 "
    "is first at 8 to 96 calls, by less than 1.5, and RK4 at 128.",
    figure="digits-figure",
)
def digits_winners() -> dict:
    """Order of the best solver on digits at each budget, on four grids (0: a tie), and its lead."""
    return _as_orders(digits_budget, "rmse")


def digits_equal_steps() -> dict:
    """Errors on digits with equal steps in t beyond the table's budgets: Euler, and RK4."""
    found = measured(digits_budget((64, 96, 128), "uniform"), "rmse")
    return {f"{name}: {n} calls": e for name in ("Euler in t", "RK4 in t") for n, e in zip(*found[name])}


@cache
def fewest_calls(target=0.02, budgets=(4, 8, 12, 16, 24, 32, 48, 64), grid="quadratic") -> dict:
    """The fewest calls of `budgets` from which on each solver's digits are within `target` of the network's
    flow (root mean square; pixels go from -1 to 1), and its error there; 0 where none does.
    """
    result = {}
    for name, (calls, errors) in measured(digits_budget(budgets, grid), "rmse").items():
        good = [k for k in range(len(calls)) if max(errors[k:]) <= target]
        result[name] = calls[good[0]] if good else 0
    return result


DRAWN = (  # of the recorded study; the table has all of it
    "DDPM, posterior variance",
    "DDPM, beta",
    "DDIM",
    "SDE-Euler",
    "SDE-Heun",
    "EDM's Heun",
    "EDM, stochastic",
)


def quality():
    """The recorded study of samplers on digits: dict sampler of `DRAWN` -> (calls, Frechet
    distances); and the distance of as many fresh real digits, (mean, spread).
    """
    study = recorded("digits_samplers")
    columns = lambda name: zip(*((r["nfe"], r["frechet"]) for r in study["samplers"][name]["rows"]))
    floor = study["floor"]["frechet"], study["floor"]["spread"]
    return {name: tuple(map(list, columns(name))) for name in DRAWN}, floor


def quality_table(budgets=(10, 20, 50, 100, 200, 500, 1000)):
    """Rows of text from that study: sampler, Frechet distance at about as many calls, the largest spread
    between seeds, seconds for 100 calls and all the digits.  The first row is the heading.
    """
    rows = [("sampler", *map(str, budgets), "spread", "s / 100")]
    for name, entry in recorded("digits_samplers")["samplers"].items():
        at = {row["budget"]: row for row in entry["rows"]}
        result = [f"{at[n]['frechet']:.2f}" if n in at else "–" for n in budgets]
        spread = max(row["spread"] for n, row in at.items() if n >= 50)
        rows.append((name, *result, f"{spread:.2f}", f"{100 * at[100]['seconds'] / at[100]['nfe']:.1f}"))
    return rows


NOISY = ("SDE-Euler", "SDE-Heun", "EDM, stochastic", "DDPM, posterior variance", "DDPM, beta")
STILL = ("DDIM", "Heun in t", "EDM's Heun")


def seed_spreads(calls=50):
    """The ten seeds' Fréchet distances at about as many calls: dict sampler -> list of ten, samplers without
    noise first.
    """
    samplers = recorded("digits_samplers")["samplers"]
    each = lambda name: next(row["each"] for row in samplers[name]["rows"] if row["budget"] == calls)
    return {name: each(name) for name in (*STILL, *NOISY)}


def spread_ratio() -> dict:
    """Pooled standard deviation over ten seeds of the samplers with noise over that of those without, at 20,
    50 and 100 calls, and the probability of a ratio as far from 1 if there were none (an F test, which takes
    the samplers for independent; those without noise share their starts and are not).
    """
    from scipy.stats import f

    result = {}
    for calls in (20, 50, 100):
        rows = seed_spreads(calls)
        pooled = {
            kind: math.sqrt(np.mean([np.var(rows[name], ddof=1) for name in names]))
            for kind, names in (("noisy", NOISY[:3]), ("still", STILL))
        }
        ratio = pooled["noisy"] / pooled["still"]
        result[f"{calls} calls: sd with noise"] = pooled["noisy"]
        result[f"{calls} calls: sd without"] = pooled["still"]
        result[f"{calls} calls: ratio"] = ratio
        result[f"{calls} calls: p"] = 2 * float(min(f.cdf(ratio**2, 9, 9), f.sf(ratio**2, 9, 9)))
    return result


@cache
def flow_missed(n=50):
    """Root mean square distance of DDIM's digits, 50 and 1000 calls in the recorded study's setting, from the
    end of the network's own flow (EDM's Heun with 300 steps, quadratic grid).
    """
    from toolkit.networks import digits_model

    chain = Discrete.linear()
    model, x = digits_model(chain, label=torch.arange(n) % 10), initial_noise(n, (1, 8, 8), 0)
    want = sample(edm_heun, model, x, grids.quadratic(chain, 300, end=0.0)).x
    return {
        f"DDIM, {calls} calls: off the flow by": rms(
            sample(ddim, model, x, grids.strided(chain, calls)).x - want
        )
        for calls in (50, 1000)
    }


def _nearer(distances, more, fewer):
    """Whether DDIM's digits are nearer to the data with more calls, by more than the spread with fewer."""
    at = lambda calls, what: distances[f"DDIM, {calls} calls: {what}"]
    gain = at(fewer, "Fréchet distance") - at(more, "Fréchet distance")
    return gain > at(fewer, "spread between seeds")


@claim(
    "P17",
    source="PyTorch tutorial, section 5.2; folklore",
    says="The sampler that solves its equation more accurately makes the better images.",
    holds=lambda r: _nearer(r, 50, 10),
    fails=lambda r: not _nearer(r, 1000, 50),
    verdict="holds if",
    finding="If the discretisation is what one sees, up to about 50 calls: from 10 to 50 DDIM's distance "
    "falls from 0.24 to 0.13. With 1000 it follows the network's flow ten times as closely as with 50, and "
    "its digits are as far from the data: what is left is the network's error, and the measure's.",
    figure="quality-figure",
)
def accuracy_and_quality() -> dict:
    """Those distances from the flow, and the recorded Frechet distances and their spread between seeds."""
    study, result = recorded("digits_samplers"), dict(flow_missed())
    rows = {row["budget"]: row for row in study["samplers"]["DDIM"]["rows"]}
    for calls in (10, 50, 1000):
        result[f"DDIM, {calls} calls: Fréchet distance"] = rows[calls]["frechet"]
        result[f"DDIM, {calls} calls: spread between seeds"] = rows[calls]["spread"]
    return result | {
        "fresh real digits": study["floor"]["frechet"],
        "fresh real digits: spread between draws": study["floor"]["spread"],
    }


# --- what a bound promises ------------------------------------------------------------------------------


def path_loss(steps, d=64, std=0.5, end=5.0):
    """KL divergence, in nats, of the path of ``frozen_variance``'s chain from the true reverse path.

    By Girsanov's theorem the integral of E|score now - score at the step's start|^2 (a closed form here), and
    what the start from N(0, I) adds.
    """
    noise = std**2 - 1
    t = end * np.arange(1, steps + 1) / steps
    h, var = end / steps, 1 + noise * np.exp(-2 * t)
    inverse = h + 0.5 * np.log(var / (1 + noise * np.exp(-2 * (t - h))))  # the integral of 1 / variance
    frozen = (h + 2 * np.expm1(-h)) / var
    return d * float((inverse + frozen).sum()) + _divergence(float(var[-1]), 1.0, d)


def frozen_variance(steps, std=0.5, end=5.0):
    """Final variance on N(0, std^2) of the chain whose bound is tested: dx = -x dt + 2^(1/2) dw for a time
    ``end``, reversed from N(0, 1) in equal steps with the score frozen over each (Chen et al. 2023).
    """
    h, variance = end / steps, 1.0
    for k in range(steps):
        truth = 1 + (std**2 - 1) * math.exp(-2 * (end - k * h))
        variance *= (math.exp(h) - 2 * math.expm1(h) / truth) ** 2
        variance += math.expm1(2 * h)
    return variance


def _divergence(p, q, d):
    """KL(N(0, p I) || N(0, q I)) in d dimensions."""
    return 0.5 * d * (p / q - 1 - math.log(p / q))


def end_loss(steps, d=64, std=0.5):
    """KL divergence, in nats, of the data from what that chain returns."""
    return _divergence(std**2, frozen_variance(steps, std), d)


def end_distance(steps, d=64, std=0.5):
    """Total variation between the data and what that chain returns, exactly: their densities
    cross on a sphere.
    """
    from scipy.stats import chi2

    narrow, wide = sorted((std**2, frozen_variance(steps, std)))
    radius = d * math.log(wide / narrow) / (1 / narrow - 1 / wide)
    return float(chi2.cdf(radius / narrow, d) - chi2.cdf(radius / wide, d))


ON_NARROW = {
    "data of deviation 0.2": {
        name.__name__: partial(name, std=0.2) for name in (path_loss, end_loss, end_distance)
    }
}


def _fewest(distance, most):
    """The fewest steps at which a distance that falls with their number is at most this."""
    low, high = 1, 2
    while distance(high) > most:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if distance(middle) <= most else (middle, high)
    return high


@claim(
    "BS37",
    source="Summary, section 5.1",
    says="Samplers of diffusion models have no rigorous guarantee of convergence.",
    holds=lambda r: r["distance over its bound, largest"] > 1,
    verdict=False,
    finding="They have had one since Chen et al. 2023, and better ones since (Li & Yan 2025 bound the total "
    "variation of the end by a constant times d / steps). The bound holds here at every number of steps.",
)
@tried_on(ON_NARROW)
def guarantee() -> dict:
    """Total variation of the end over its bound, the root of half of the path's divergence, for five numbers
    of steps and two dimensions.
    """
    counts = (20, 100, 400, 1600, 6400)
    ratios = [end_distance(n, d) / math.sqrt(path_loss(n, d) / 2) for n in counts for d in (2, 64)]
    return {"distance over its bound, least": min(ratios), "distance over its bound, largest": max(ratios)}


@claim(
    "BS38",
    source="Summary, section 5.2",
    says="How many data a diffusion model needs is unknown.",
    holds=lambda r: any(abs(v - 0.5) > 0.1 for name, v in r.items() if name.startswith("order")),
    verdict=False,
    finding="Oko et al. 2023 show rates that no other estimator beats, in total variation and in the "
    "Wasserstein distance. With the score that N points have, stopped at σ = 0.02, the distance to the data "
    "falls about as the root of N: with order 0.48 on a line, 0.48 on the ring in the plane.",
    elsewhere={"0.02": "a setting"},
)
@tried_on(ON_THREE_PEAKS)
def sample_complexity(counts=(100, 400, 1600, 6400), draws=100) -> dict:
    """Mean Wasserstein-1 distance, over draws, of two peaks from what a model with the exact score of N of
    their points returns if it is stopped at sigma = 0.02: one of those points, plus that noise.  By 2,000
    quantiles.  And that order on the ring in the plane (`ring_distances`).
    """
    levels = (np.arange(2000) + 0.5) / 2000
    truth = QuantileFlow(EDM(), two_peaks())._invert(np.log(levels), np.zeros(2000, bool), 1e-6)
    generator, result = np.random.default_rng(0), {}
    for n in counts:
        gaps = []
        for draw in range(draws):
            points = two_peaks().sample(n, 1000 * n + draw)[:, 0].numpy()
            points = points + 0.02 * generator.standard_normal(n)
            gaps.append(np.abs(np.quantile(points, levels) - truth).mean())
        result[f"distance, N = {n}"] = float(np.mean(gaps))
    result["order in the number of data"] = slope(counts, list(result.values()))
    on_ring = ring_distances()
    result |= {f"ring: distance, N = {n}": distance for n, distance in on_ring.items()}
    return result | {"order on the ring": slope(list(on_ring), list(on_ring.values()))}


def ring_distances(counts=(50, 100, 200, 400, 800), draws=8):
    """The same on the ring, against as many fresh points, by the cheapest matching: dict N -> mean."""
    from scipy.optimize import linear_sum_assignment

    generator, result = np.random.default_rng(0), {}
    for n in counts:
        gaps = []
        for draw in range(draws):
            points, fresh = (RING.sample(n, 1000 * n + 2 * draw + k).numpy() for k in (0, 1))
            points = points + 0.02 * generator.standard_normal((n, 2))
            costs = np.linalg.norm(points[:, None] - fresh, axis=-1)
            gaps.append(costs[linear_sum_assignment(costs)].mean())
        result[n] = float(np.mean(gaps))
    return result


@claim(
    "S35",
    source="Summary of posts, section 5.2; Chen et al. 2023",
    says="A bound on the discretisation error tells how many steps to take.",
    holds=lambda r: r["steps that the bound asks for, d = 64"] < 3 * r["steps that do, d = 64"],
    verdict=False,
    finding="It holds at every number of steps, and is far off: it bounds the divergence of whole paths, "
    "which falls as h, where that of the end falls as h^2. For a total variation of 0.1 in 64 dimensions "
    "it asks for 115,000 steps where 454 do; in 256 for four times as many, where twice as many do. That is "
    "the bound of Chen et al. at its best (exact divergence, no constants), on a product of Gaussians. Later "
    "theory bounds the end itself, and has the right power of h.",
    elsewhere={"0.1": "the distance asked for"},
)
@tried_on(ON_NARROW)
def bounds() -> dict:
    """Orders of the two divergences, and the steps that a total variation of 0.1 takes, promised and real."""
    counts = (100, 200, 400, 800)
    result = {
        "order of the path's divergence": slope(counts, [path_loss(n) for n in counts]),
        "order of the end's divergence": slope(counts, [end_loss(n) for n in counts]),
    }
    for d in (64, 256):
        result[f"steps that the bound asks for, d = {d}"] = _fewest(
            lambda n, d=d: math.sqrt(path_loss(n, d) / 2), 0.1
        )
        result[f"steps that do, d = {d}"] = _fewest(lambda n, d=d: end_distance(n, d), 0.1)
    return result


# --- the table that closes the chapter ------------------------------------------------------------------

_ROWS = (  # sampler, options, its name, the equation, the method and its variable
    (ddpm, {}, "ddpm", "reverse SDE (level 1)", "ancestral steps"),
    (ddim, {}, "ddim", "probability-flow ODE", "Euler, σ/α"),
    (euler, {}, "euler", "probability-flow ODE", "Euler, t"),
    (heun, {}, "heun", "probability-flow ODE", "Heun, t"),
    (edm_heun, {}, "edm_heun", "probability-flow ODE", "Heun, σ/α"),
    (
        midpoint,
        {"variable": "sigma", "mean": "geometric"},
        "DPM-Solver-2",
        "probability-flow ODE",
        "midpoint, σ/α, geom.",
    ),
    (rk4, {}, "rk4", "probability-flow ODE", "Runge–Kutta, t"),
    (implicit_euler, {}, "implicit_euler", "probability-flow ODE", "backward Euler, t"),
    (trapezoid, {}, "trapezoid", "probability-flow ODE", "trapezoid, t"),
    (euler_maruyama, {}, "euler_maruyama", "reverse family, any level", "Euler–Maruyama, t"),
    (stochastic_heun, {}, "stochastic_heun", "reverse family, any level", "Heun with noise, t"),
    (edm_stochastic, {"churn": 10.0}, "edm_stochastic", "ODE, noise added between steps", "Heun, σ/α"),
    (restart, {}, "restart", "ODE, part of it repeated", "Heun, σ/α"),
)


@cache
def sober_table(counts=(40, 80, 160)):
    """Rows of text: sampler, equation, method and variable, order promised, order measured (of the error on
    broad modes for an ODE, of the exact variance for an SDE), from kappa = 5 to 0.2.  Last rk45, on the ring:
    its error against the tolerance.  The first row is the heading.
    """
    schedule = VP()
    start, end = moderate()
    model, x = WIDE_RING.model(schedule), initial_noise(60, 2, 0, **DOUBLE)
    want = reference(model, x, start, end)
    rows = [("sampler", "equation", "method, variable", "promised", "measured")]
    for loop, options, name, equation, method in _ROWS:
        if loop.kind == "ode" or loop is ddim:
            errors = ode_errors(loop, model, x, counts, start=start, end=end, want=want, **options)["rmse"]
        else:
            errors = weak_errors(loop, schedule, counts, start=start, end=end, **options)
        rows.append((name, equation, method, str(loop.order), f"{slope(counts, errors):.1f}"))
    power = -slope(TOLERANCES, adaptive_errors()[1])
    rows.append(("rk45", "probability-flow ODE", "Dormand–Prince, t", "tol", f"tol^{power:.1f}"))
    return rows
