"""Claims of chapter 1: denoising diffusion probabilistic models.

The experiments are exact wherever the data allow it: Gaussians and one-dimensional mixtures, for which every
expectation is a closed form or a one-dimensional integral.  Each takes no argument and returns a dict label
-> number; the chapter prints those numbers.
"""

import math

import numpy as np
import torch

from book.ch01 import figures
from book.claims import claim, show  # noqa: F401 - the chapter prints with show
from book.problems import density, two_peaks
from toolkit import ddpm as d
from toolkit.convergence import exact_variance
from toolkit.mixtures import Mixture
from toolkit.models import Model, Network
from toolkit.noise import Replay, initial_noise
from toolkit.sampling import sample, sample_last
from toolkit.schedules import VP, Discrete

TUTORIAL, SUMMARY, TEXTBOOK = "PyTorch tutorial", "Summary of 24 posts", "Textbook"


# ---- exact tools -------------------------------------------------------------------------------------------


def steps_of(schedule, steps=None):
    """All steps of a Discrete schedule, or an even sub-sequence, as a float64 array of times from 1 to 0."""
    return np.linspace(schedule.T, 0, (steps or schedule.T) + 1).round() / schedule.T


def mean_square_noise(mixture, schedule, times):
    """gamma(t) = E[eps(x_t, t)^2] of the exact model at times[:-1], by quadrature: for `optimal_variance`.
    1-D mixtures only.
    """
    model, gammas = mixture.model(schedule), []
    for t in np.asarray(times, dtype=float)[:-1].tolist():
        x, p = density(mixture, schedule.alpha(t), schedule.sigma(t))
        gammas.append(float(torch.trapezoid(p * model.eps(x, t)[:, 0] ** 2, x[:, 0])))
    return gammas


def entropy(mixture):
    """Differential entropy of a one-dimensional mixture, nats: what -log p(x_0) is on average when the model
    is perfect.
    """
    x, p = density(mixture, 1.0, 0.0)
    return float(-torch.trapezoid(p * mixture.log_prob(x), x[:, 0]))


def exact_bound(mixture, schedule, times, variance="posterior", gamma=None):
    """`toolkit.ddpm.elbo` of the exact model, averaged over all data and noise without sampling: a
    `toolkit.ddpm.Elbo`.

    Given E[(x_0 - x0_hat)^2] = (sigma / alpha)^2 (1 - gamma), every term of the bound is a closed form.  1-D
    mixtures only.
    """
    times = np.asarray(times, dtype=float)
    gamma = np.asarray(mean_square_noise(mixture, schedule, times) if gamma is None else gamma)
    t, s = times[:-1], times[1:]
    with np.errstate(divide="ignore"):
        log_v = np.log(d.step_variances(schedule, times, variance, gamma))
    if variance == "posterior":
        log_v[-1] = d.log_variance_bounds(schedule, times)[1][-1]
    c_0, _, tilde = d.posterior(schedule, t, s)
    missed = (schedule.sigma(t) / schedule.alpha(t)) ** 2 * (1 - gamma)
    v = np.exp(log_v)
    kl = 0.5 * (log_v[:-1] - np.log(tilde[:-1]) + (tilde + c_0**2 * missed)[:-1] / v[:-1] - 1)
    decoder = 0.5 * (math.log(2 * math.pi) + log_v[-1] + missed[-1] / v[-1])
    second_moment = float(mixture.mean()[0] ** 2 + mixture.covariance()[0, 0])
    a2, v_T = schedule.alpha(t[0]) ** 2, schedule.sigma(t[0]) ** 2
    prior = 0.5 * (a2 * second_moment + v_T - 1 - math.log(v_T))
    return d.Elbo(prior, kl, float(decoder), 1)


class Oracle(Model):
    """A model that is told x_0, so that its noise is the true one: every KL of the bound must vanish."""

    def __init__(self, x0, schedule):
        self.x0_true, self.schedule, self._calls = x0, schedule, [0]

    def _view(self, want, x, t):
        return (x - self.schedule.alpha(t) * self.x0_true) / self.schedule.sigma(t)


# ---- the forward process and the posterior -----------------------------------------------------------------


@claim(
    "C01",
    source=f"{SUMMARY}, section 2.1; introduction to DDIM",
    says="A thousand small steps can be replaced by one jump, x_t = alpha_t x_0 + sigma_t eps",
    holds=lambda r: r["difference of signal"] < 1e-14 and r["difference of noise variance"] < 1e-12,
    verdict=True,
    finding="The composed steps and the closed form agree to rounding.",
)
def chain_and_jump():
    """1000 single steps composed, against the closed form, for the linear table."""
    schedule = Discrete.linear(1000)
    signal, noise = 1.0, 0.0
    for beta in schedule.betas:
        signal, noise = math.sqrt(1 - beta) * signal, (1 - beta) * noise + beta
    return {
        "signal after 1000 steps": signal,
        "difference of signal": abs(signal - schedule.alpha(1.0)),
        "difference of noise variance": float(abs(noise - schedule.sigma(1.0) ** 2)),
    }


@claim(
    "C02",
    source=f"{SUMMARY}, section 2.2",
    says="The posterior q(x_s | x_t, x_0) is the Gaussian obtained by completing the square",
    holds=lambda r: r["largest difference of the densities"] < 1e-10,
    verdict=True,
    finding="Bayes' rule on a grid gives the same density to 1e-12; the proof is checked symbolically "
    "besides.",
)
def posterior_by_grid():
    """q(x_s | x_t, x_0) from Bayes' rule on a fine grid, against the formula: largest difference of the two
    densities.
    """
    schedule, t, s, x0, xt = Discrete.linear(1000), 0.5, 0.4, 0.8, -0.3
    ratio, beta = d.transition(schedule, s, t)
    c_0, c_t, tilde = d.posterior(schedule, t, s)
    x = np.linspace(-6, 6, 20001)
    log_p = -((x - schedule.alpha(s) * x0) ** 2) / (2 * schedule.sigma(s) ** 2) - (xt - ratio * x) ** 2 / (
        2 * beta
    )
    p = np.exp(log_p - log_p.max())
    p /= p.sum() * (x[1] - x[0])
    formula = np.exp(-((x - c_0 * x0 - c_t * xt) ** 2) / (2 * tilde)) / math.sqrt(2 * math.pi * tilde)
    return {
        "largest difference of the densities": float(np.abs(p - formula).max()),
        "posterior variance": tilde,
    }


@claim(
    "BS8",
    source=f"{SUMMARY}, sections 2.1 and 2.5",
    says="The symbol alpha-bar may be read the same way in all sections",
    holds=lambda r: math.isclose(
        r["the product itself"], r["signal at T (the square root of the product)"], rel_tol=0.1
    ),
    verdict=False,
    finding="Two authors use one symbol for the product and for its root. At T that is 4.0e-5 against "
    "0.0064: a factor of 157.",
)
def two_bars():
    """What remains of x_0 at the end of the linear table, and what a reader gets who takes the square root
    twice or not at all.
    """
    schedule = Discrete.linear(1000)
    return {
        "signal at T (the square root of the product)": schedule.alpha(1.0),
        "the product itself": float(schedule.alpha_bar[-1]),
        "signal if the root is taken twice": float(schedule.alpha_bar[-1] ** 0.25),
    }


# ---- why steps must be small -------------------------------------------------------------------------------


def best_gaussian_kl(t, s, schedule=None, mixture=None):
    """KL from the exact p(x_s | x_t) to the Gaussian of the same mean and variance, averaged over x_t: what
    no choice of mean and variance can win back.  Nats.
    """
    schedule, mixture = schedule or VP(), mixture or two_peaks()
    x_t, p_t = density(mixture, schedule.alpha(t), schedule.sigma(t), points=201)
    kls = [figures.reverse_kernel(mixture, schedule, t, s, float(x))[3] for x in x_t]
    return float(torch.trapezoid(p_t * torch.tensor(kls, dtype=torch.float64), x_t[:, 0]))


@claim(
    "BS19, S18",
    source=f"{SUMMARY}, section 4.2",
    says="DDPM needs many steps because its chain is Markov",
    holds=lambda r: r["KL, step of 0.001"] > 0.1 * r["KL, step of 0.5"],
    verdict=False,
    finding="The chain is Markov at every step size, yet the error of a Gaussian step falls from 0.76 "
    "nats to 1e-11 as the step shrinks. "
    "What needs small steps is the Gaussian shape of p(x_s | x_t).",
)
def step_size_and_shape():
    """The same KL for ever smaller steps down from t = 0.5.  The chain is Markov in every case."""
    return {f"KL, step of {h:g}": best_gaussian_kl(0.5, 0.5 - h) for h in (0.5, 0.25, 0.1, 0.01, 0.001)}


# ---- the bound ---------------------------------------------------------------------------------------------


@claim(
    "C05",
    source=f"{SUMMARY}, section 2.3",
    says="The three parts of the bound close to the entropy of the data when model and variances are "
    "optimal",
    holds=lambda r: 0 <= r["analytic"] - r["entropy"] < 1e-6,
    verdict=True,
    finding="N(0, 0.25), 1000 steps: 0.7258 nats with the optimal variances, the entropy itself; 0.7269 "
    "with beta, 1.2957 with beta-tilde.",
)
def bound_and_entropy():
    """-ELBO of N(0, 0.25) over 1000 steps with three variances, against the entropy, nats."""
    mixture, schedule = Mixture.gaussian(1, 0.5), Discrete.linear(1000)
    times = steps_of(schedule)
    gamma = mean_square_noise(mixture, schedule, times)
    result = {
        v: exact_bound(mixture, schedule, times, v, gamma).total for v in ("posterior", "beta", "analytic")
    }
    return result | {"entropy": entropy(mixture)}


def bound_by_steps(counts=(5, 10, 20, 50, 100, 200, 500, 1000)):
    """-ELBO minus entropy of the two peaks for several numbers of steps: {name: (counts, gaps)}.  Not below 0
    by theory.
    """
    mixture, schedule = two_peaks(), Discrete.linear(1000)
    floor, gaps = entropy(mixture), {"posterior": [], "beta": [], "analytic": []}
    for n in counts:
        times = steps_of(schedule, n)
        gamma = mean_square_noise(mixture, schedule, times)
        for variance, values in gaps.items():
            values.append(exact_bound(mixture, schedule, times, variance, gamma).total - floor)
    return {variance: (list(counts), values) for variance, values in gaps.items()}


@claim(
    "BP16",
    source=f"{TUTORIAL}, section 4.2",
    says="The listed computation of the full ELBO gives the bound's terms",
    holds=lambda r: abs(r["sum of the KLs, listing"]) < 1e-6,
    verdict=False,
    finding="For an oracle that knows the noise all KLs are 0 (ours: 1e-13); with a sampled target and "
    "constants of its own a listing "
    "of this kind gives 39,000 nats, and 8.0 instead of 0.00008 for the prior term.",
)
def listing_of_the_bound(dims=16):
    """A bound as a widespread listing has it, and ours, for an oracle that knows the noise.

    The listing compares the model's mean with a *sample* of x_s instead of the posterior's mean, adds -d/2 -
    log(v)/2 to every term as if the KL had no log-variance of its own, and takes |x_T|^2 / 2 for the prior
    term.
    """
    schedule = Discrete.linear(1000)
    generator = torch.Generator().manual_seed(0)
    x0 = 0.5 * torch.randn(64, dims, generator=generator, dtype=torch.float64)
    total, squares = 0.0, []
    for n in range(1000, 1, -1):
        t, s = n / 1000, (n - 1) / 1000
        c_0, c_t, tilde = d.posterior(schedule, t, s)
        x_t = d.diffuse(schedule, x0, t, torch.randn(x0.shape, generator=generator, dtype=torch.float64))
        mean = c_0 * x0 + c_t * x_t
        x_s = mean + math.sqrt(tilde) * torch.randn(x0.shape, generator=generator, dtype=torch.float64)
        square = float((x_s - mean).square().sum(1).mean()) / (2 * tilde)
        squares.append(square / dims)
        total += square - 0.5 * dims - 0.5 * dims * math.log(tilde)
    x_T = d.diffuse(schedule, x0, 1.0, torch.randn(x0.shape, generator=generator, dtype=torch.float64))
    ours = d.elbo(Oracle(x0, schedule), x0, steps_of(schedule))
    return {
        "sum of the KLs, ours": float(ours.steps.sum()),
        "sum of the KLs, listing": total,
        "squared term of the listing, a dimension": float(np.mean(squares)),
        "prior term, ours": ours.prior,
        "prior term, listing": float(0.5 * x_T.square().sum(1).mean()),
    }


def three_step_chain(T=3):
    """log p, its ELBO, and the sum that a summary calls the bound, for a linear Gaussian chain of T steps,
    averaged over N(0, 0.25).

    The summary's sum takes KL(q(x_t | x_0) || p(x_t | x_{t+1})) with x_t and x_{t+1} drawn apart; the ELBO's
    posterior q(x_t | x_{t+1}, x_0) draws them together.
    """
    schedule = Discrete(np.linspace(0.1, 0.7, T))
    mixture, times = Mixture.gaussian(1, 0.5), np.arange(T, -1, -1) / T
    gamma = mean_square_noise(mixture, schedule, times)
    bound = exact_bound(mixture, schedule, times, "analytic", gamma)
    a, b = d.ddpm_coefficients(schedule, times)
    v = d.step_variances(schedule, times, "analytic", gamma)
    var, total = 1.0, bound.prior + bound.decoder  # var: of the model's own x_0, from x_T ~ N(0, 1)
    for i, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
        marginal = 0.25 * schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2
        gain = (
            a[i] + b[i] * schedule.sigma(t) / marginal
        )  # the exact eps is sigma x / marginal: one step is linear
        var = gain**2 * var + v[i]
        if schedule.sigma(s) > 0:
            # E over independent x_t and x_s given x_0 of KL(N(alpha_s x_0, sigma_s^2) || N(gain x_t, v))
            square = (
                0.25 * (schedule.alpha(s) - gain * schedule.alpha(t)) ** 2 + (gain * schedule.sigma(t)) ** 2
            )
            q = schedule.sigma(s) ** 2
            total += 0.5 * (math.log(v[i] / q) + (q + square) / v[i] - 1)
    log_p = -0.5 * (math.log(2 * math.pi * var) + 0.25 / var)
    return {"log p": float(log_p), "ELBO": float(-bound.total), "minus the sum of the summary": float(-total)}


@claim(
    "BS6",
    source=f"{SUMMARY}, axiom 3",
    says="The sum of KL(q(x_t | x_0) || p(x_t | x_t+1)) over the steps is the variational bound",
    holds=lambda r: abs(r["minus the sum of the summary"] - r["ELBO"]) < 0.01,
    verdict=False,
    finding="10 steps on N(0, 0.25): log p -0.7258, ELBO -0.7258, minus that sum -5.08. Neighbouring "
    "states must be drawn together: "
    "the bound has q(x_t | x_t+1, x_0).",
)
def longer_chain():
    """The same for 10 steps."""
    return three_step_chain(10)


# ---- weights -----------------------------------------------------------------------------------------------


def weights_of_steps(steps=1000):
    """t = 2/T … 1 and the weights of the squared noise error there: {name: array}, the linear table."""
    schedule = Discrete.linear(steps)
    t, s = np.arange(2, steps + 1) / steps, np.arange(1, steps) / steps
    return t, {
        "bound": d.vlb_weight(schedule, t, s),
        "simple": d.snr_weight(schedule, t, 0),
        "min-SNR, 5": d.min_snr_weight(schedule, t),
        "P2 = sigma squared": d.p2_weight(schedule, t),
        "SNR / (1 + SNR)": d.snr(schedule, t) * d.p2_weight(schedule, t),
    }


@claim(
    "BP13",
    source=f"{TUTORIAL}, section 3.2",
    says="Weighting the noise error by sigma_t^2 gives the variational bound",
    holds=lambda r: r["rank correlation"] > 0.99,
    verdict=False,
    finding="The bound's weight, (SNR_s / SNR_t - 1) / 2, is largest where sigma_t^2 is smallest: rank "
    "correlation 0.20. "
    "For VP schedules sigma_t^2 is P2's weight.",
)
def sigma_squared_is_no_bound():
    """Rank correlation of sigma_t^2 with the bound's weight, and both at a few steps."""
    from scipy.stats import spearmanr

    t, weights = weights_of_steps()
    bound, other = weights["bound"], Discrete.linear(1000).sigma(t) ** 2
    result = {"rank correlation": float(spearmanr(bound, other)[0])}
    for n in (2, 10, 100, 1000):
        result |= {f"bound, n = {n}": float(bound[n - 2]), f"sigma squared, n = {n}": float(other[n - 2])}
    return result


@claim(
    "BP18",
    source=f"{TUTORIAL}, section 4.3",
    says="Some power gamma makes SNR^gamma / (1 + SNR) the weight of the bound",
    holds=lambda r: min(r.values()) < 0.1,
    verdict=False,
    finding="Its ratio to the bound's weight spreads over 5.7, 4.4 and 10.7 decades for gamma = 0, 1 "
    "and 2.",
)
def snr_powers_are_no_bound():
    """Decades over which SNR^gamma / (1 + SNR), divided by the bound's weight, spreads: 0 would be
    proportional.
    """
    t, weights = weights_of_steps()
    ratio = d.snr(Discrete.linear(1000), t)
    spread = {g: np.log10(ratio**g / (1 + ratio) / weights["bound"]) for g in (0, 1, 2)}
    return {f"decades, gamma = {g}": float(s.max() - s.min()) for g, s in spread.items()}


@claim(
    "BS10",
    source=f"{SUMMARY}, section 2.3",
    says="At a given step a KL term is a noisier target than the squared error of L_simple",
    holds=lambda r: r["largest |KL - weight x squared error|"] > 1e-6,
    verdict=False,
    finding="A step's KL is the same squared error times a known weight, so it adds no randomness at a "
    "given t and x_t. What L_simple changes is the weight, which in the bound differs by a factor of 120 "
    "between steps: over a random t that does make a noisy estimate (see BS22).",
)
def kl_is_closed_form():
    """A step's KL against weight times squared error, on random numbers; and how far the bound's weights
    range.
    """
    schedule, t, s = Discrete.linear(1000), 0.3, 0.299
    eps, eps_hat = np.random.default_rng(0).standard_normal((2, 1000))
    c_0, _, tilde = d.posterior(schedule, t, s)
    gap = c_0 * schedule.sigma(t) / schedule.alpha(t) * (eps - eps_hat)
    kl = d.gaussian_kl(torch.as_tensor(gap), tilde, math.log(tilde)).numpy()
    weights = weights_of_steps()[1]["bound"]
    return {
        "largest |KL - weight x squared error|": float(
            np.abs(kl - d.vlb_weight(schedule, t, s) * (eps - eps_hat) ** 2).max()
        ),
        "largest weight over smallest": float(weights.max() / weights.min()),
    }


@claim(
    "BP23",
    source=f"{TUTORIAL}, section 6.2",
    says="The unweighted integral of the squared score error bounds the KL from data to model",
    holds=lambda r: r["without it"] >= r["KL"],
    verdict=False,
    finding="N(0, 1) against N(0, 2): KL 0.0966; with the weight g^2 / 2 and the prior's term 0.0966; "
    "without the weight 0.0619, below the KL.",
)
def likelihood_weight():
    """KL of N(0, 1) from N(0, 2), and the integral over time of the squared score difference, with and
    without g^2 / 2.
    """
    schedule = VP()
    t = np.linspace(0, 1, 20001)
    p = np.ones_like(t)
    q = 2 * schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2
    squares = (1 / p - 1 / q) ** 2 * p
    q_T = q[-1]
    tail = 0.5 * (math.log(q_T) + 1 / q_T - 1)
    return {
        "KL": 0.5 * (math.log(2) + 0.5 - 1),
        "with the weight": float(np.trapezoid(0.5 * schedule.g2(t) * squares, t)) + tail,
        "without it": float(np.trapezoid(squares, t)) + tail,
    }


# ---- noise and score ---------------------------------------------------------------------------------------


@claim(
    "C06",
    source=f"{TUTORIAL}, section 7.1; {SUMMARY}, axiom 4",
    says="The score is the mean noise over minus sigma",
    holds=lambda r: max(r.values()) < 1e-10,
    verdict=True,
    finding="An integral over x_0 and the gradient of log p_t agree to 1e-15.",
)
def tweedie():
    """-E[eps | x_t] / sigma by brute force (an integral over x_0) against the gradient of log p_t (autograd),
    on the two peaks.
    """
    mixture, schedule, t = two_peaks(), VP(), 0.3
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None].requires_grad_()
    gradient = torch.autograd.grad(mixture.log_prob(x, alpha, sigma).sum(), x)[0][:, 0]
    x0, p0 = density(mixture, 1.0, 0.0, points=8001)
    eps = (x.detach() - alpha * x0[:, 0]) / sigma
    joint = p0 * torch.exp(-0.5 * eps**2)
    mean_eps = torch.trapezoid(joint * eps, x0[:, 0]) / torch.trapezoid(joint, x0[:, 0])
    model = mixture.model(schedule)
    return {
        "integral against gradient": float((-mean_eps / sigma - gradient).abs().max()),
        "model against gradient": float((model.score(x.detach(), t)[:, 0] - gradient).abs().max()),
    }


@claim(
    "BS7, BS13",
    source=f"{SUMMARY}, axiom 4 and section 3.3",
    says="-eps / sigma for the noise that was drawn is the score",
    holds=lambda r: abs(r["score"] - r["-eps / sigma if x_0 = 0.8"]) < 0.1,
    verdict=False,
    finding="At one x_t the score is 0.20; single draws give values such as -1.21 and 0.67. Only their "
    "mean is the score.",
)
def one_draw_is_not_the_score():
    """The score of the two peaks at x_t = 0.1, t = 0.3, and the values of -eps / sigma that single draws of
    x_0 would give there.
    """
    mixture, schedule, t, x_t = two_peaks(), VP(), 0.3, 0.1
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    score = float(mixture.model(schedule).score(torch.tensor([[x_t]], dtype=torch.float64), t))
    left, right = (-(x_t - alpha * mu) / sigma**2 for mu in (-1.0, 0.8))
    return {"score": score, "-eps / sigma if x_0 = -1": left, "-eps / sigma if x_0 = 0.8": right}


@claim(
    "BP24",
    source=f"{TUTORIAL}, section 7.1",
    says="-eps / sigma is the true score, so that a perfect network has loss 0 against it",
    holds=lambda r: max(r.values()) < 1e-6,
    verdict=False,
    finding="The exact score of N(0, 0.25) has loss 0.117 at t = 0.3 and 1282 at t = 0.003: the "
    "constant of denoising score matching, "
    "which grows without limit. Multiplied by sigma^2 it stays below 1.",
)
def loss_at_the_exact_score():
    """Half the mean squared difference of the exact score of N(0, 0.25) and the target -eps / sigma:
    (1/sigma^2 - 1/P) / 2.
    """
    schedule = VP()
    result = {}
    for t in (0.3, 0.1, 0.03, 0.003):
        var = schedule.sigma(t) ** 2
        result[f"loss at t = {t:g}"] = 0.5 * (1 / var - 1 / (0.25 * schedule.alpha(t) ** 2 + var))
    return result


@claim(
    "C07",
    source=f"{TUTORIAL}, section 3.1",
    says="Denoising score matching differs from explicit score matching by a constant",
    holds=lambda r: max(r.values()) - min(r.values()) < 1e-9,
    verdict=True,
    finding="0.517835 for three very different guesses.",
)
def denoising_is_score_matching():
    """DSM - ESM for three wrong scores on the two peaks at t = 0.3, by quadrature: the same constant each
    time.
    """
    mixture, schedule, t = two_peaks(), VP(), 0.3
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    x, p = density(mixture, alpha, sigma)
    score, x = mixture.model(schedule).score(x, t)[:, 0], x[:, 0]
    x0, p0 = density(mixture, 1.0, 0.0, points=801)
    target = -(x[None, :] - alpha * x0) / sigma**2
    joint = p0[:, None] * torch.exp(-0.5 * sigma**2 * target**2) / math.sqrt(2 * math.pi * sigma**2)
    result = {}
    for name, guess in {"zero": 0 * x, "-x": -x, "1.3 times the score": 1.3 * score}.items():
        dsm = torch.trapezoid(torch.trapezoid(joint * (guess - target) ** 2, x), x0[:, 0])
        esm = torch.trapezoid(p * (guess - score) ** 2, x)
        result[f"DSM - ESM, guess {name}"] = float(dsm - esm)
    return result


# ---- schedules ---------------------------------------------------------------------------------------------


def almost_cosine(T=1000):
    """A table that is sometimes called the cosine schedule: beta = 0.008 (1 - cos(pi t / 2)), with 0.008 as
    the largest beta.
    """
    return Discrete(0.008 * (1 - np.cos(0.5 * np.pi * np.arange(1, T + 1) / T)))


TABLES = {
    "linear": Discrete.linear,
    "quadratic": Discrete.quadratic,
    "sigmoid": Discrete.sigmoid,
    "cosine": Discrete.cosine,
    "almost cosine": almost_cosine,
}


def mean_when_started_from_noise(schedule, mean=1.0, std=0.5):
    """Mean of what the samplers make of N(mean, std^2) when they start from N(0, 1) rather than from the true
    x_T: (ancestral, flow).

    ancestral: all T steps of `ddpm`, exactly; flow: the deterministic probability-flow ODE of chapters 2 and
    3, exactly.
    """
    model = Mixture.gaussian(1, std, mean).model(schedule)
    times, zero = steps_of(schedule), torch.zeros(1, 1, dtype=torch.float64)
    still = Replay([zero] * (len(times) - 1))
    ancestral = float(
        sample_last(d.ddpm(model, zero, times, rng=still))
    )  # the chain is linear: noises of mean 0 change nothing
    a, var = schedule.alpha(1.0), schedule.sigma(1.0) ** 2
    return ancestral, mean - a * mean * std / math.sqrt(a**2 * std**2 + var)


@claim(
    "BP19, C33",
    source=f"{TUTORIAL}, section 5.1",
    says="beta = 0.008 (1 - cos(pi t / 2)) is the cosine schedule",
    holds=lambda r: r["almost cosine: signal at T"] < 0.01,
    verdict=False,
    finding="0.008 is an offset of the true cosine schedule, not a beta. This table leaves a signal of "
    "0.23 at T, and samples of N(1, 0.25) "
    "started from pure noise have mean 0.881 by the deterministic flow (0.986 by the ancestral chain, "
    "which forgets its start).",
)
def terminal_signal():
    """What is left at T by each table, and the mean of the samples of N(1, 0.25), whose true value is 1."""
    result = {}
    for name, table in TABLES.items():
        schedule = table(1000)
        ancestral, flow = mean_when_started_from_noise(schedule)
        result |= {
            f"{name}: signal at T": schedule.alpha(1.0),
            f"{name}: mean, ancestral": ancestral,
            f"{name}: mean, flow": flow,
        }
    return result


@claim(
    "BS31, C32",
    source=f"{SUMMARY}, section 4.4",
    says="The cosine schedule helps because it keeps the signal from falling too fast near t = 1",
    holds=lambda r: r["cosine: fall of log-SNR at the end"] < r["linear: fall of log-SNR at the end"],
    verdict=False,
    finding="It keeps signal in the middle: 0.49 of the power half-way against 0.08, and 6.5 % of the "
    "steps below 1 % against 32.7 %. "
    "At the very end its log-SNR falls 57 times faster.",
)
def where_cosine_helps():
    """Share of steps at which less than 1 % of the signal's power is left, and how far lambda falls in the
    last 1 % of the steps.
    """
    linear, cosine = Discrete.linear(1000), Discrete.cosine(1000)
    return {
        "linear: share below 1 %": float((linear.alpha_bar[1:] < 0.01).mean()),
        "cosine: share below 1 %": float((cosine.alpha_bar[1:] < 0.01).mean()),
        "linear: alpha-bar half-way": float(linear.alpha_bar[500]),
        "cosine: alpha-bar half-way": float(cosine.alpha_bar[500]),
        "linear: fall of log-SNR at the end": 2 * (linear.lam(0.99) - linear.lam(1.0)),
        "cosine: fall of log-SNR at the end": 2 * (cosine.lam(0.99) - cosine.lam(1.0)),
    }


# ---- importance sampling of t ------------------------------------------------------------------------------


@claim(
    "BS22",
    source=f"{SUMMARY}, section 4.2",
    says="Drawing t in proportion to the root of the mean loss is the best choice",
    holds=lambda r: r["root of the mean"] <= r["root of the mean square"],
    verdict=False,
    finding="The optimum is the root of the mean *squared* loss. Relative variances for N(0, 0.25): "
    "uniform 104, root of the mean 5.7, "
    "root of the mean square 2.0.",
)
def relative_variances():
    """Relative variance of the estimate w_t |eps - eps_hat|^2 / (T p_t) of the bound, t drawn from p_t, for
    the exact model of N(0, 0.25): exact, since eps - eps_hat is Gaussian there and its fourth moment three
    times its squared second.
    """
    schedule = Discrete.linear(1000)
    t, weights = weights_of_steps()
    var = schedule.sigma(t) ** 2
    mean = weights["bound"] * (1 - var / (0.25 * schedule.alpha(t) ** 2 + var))
    square = 3 * mean**2
    result = {}
    for name, p in {
        "uniform": np.ones_like(t),
        "root of the mean": mean**0.5,
        "root of the mean square": square**0.5,
    }.items():
        p = p / p.sum()
        result[name] = float((square / p).sum() / mean.sum() ** 2 - 1)
    return result


# ---- variance of a step, and the number of steps -----------------------------------------------------------


def variance_by_steps(counts=(10, 20, 50, 100, 200, 500, 1000)):
    """Exact variance of DDPM's output on N(0, 0.25): {variance: (counts, values)}."""
    schedule, mixture = Discrete.linear(1000), Mixture.gaussian(1, 0.5)
    found = {v: [] for v in d.VARIANCES if v != "learned"}
    for n in counts:
        times = steps_of(schedule, n)
        gamma = mean_square_noise(mixture, schedule, times)
        for name, values in found.items():
            values.append(exact_variance(d.ddpm, schedule, times, variance=name, gamma=gamma))
    return {name: (list(counts), values) for name, values in found.items()}


@claim(
    "S18, BT33",
    source=f"{SUMMARY}, section 4.2; {TEXTBOOK}, section 8.1.1",
    says="With few steps DDPM must lose quality",
    holds=lambda r: all(abs(r[f"{v}, 10 steps"] - 0.25) > 0.01 for v in ("posterior", "analytic")),
    verdict=False,
    finding="Fails as stated (Gaussian data); holds for narrow peaks. On N(0, 0.25), 10 steps: "
    "0.111 with beta-tilde, 0.244 with beta, 0.25000 with the optimal one. "
    "Data of several narrow peaks do lose: p(x_s | x_t) is then no Gaussian.",
)
def few_steps():
    """Exact output variances on N(0, 0.25) at 10 and at 1000 steps."""
    found = variance_by_steps((10, 1000))
    return {f"{name}, {n} steps": v for name, (ns, vs) in found.items() for n, v in zip(ns, vs, strict=True)}


@claim(
    "S18",
    source=f"{SUMMARY}, section 4.2; {TEXTBOOK}, section 8.1.1",
    says="DDPM's sampling cannot be inverted: the start does not determine the sample",
    holds=lambda r: r["share of the start"] < 1e-3,
    verdict=True,
    finding="On N(0, 0.25) the start decides 0.001 % of the variance of the sample; the noise of the "
    "steps decides the rest.",
)
def what_the_start_decides(steps=1000):
    """Share of the variance of x_0 that x_T decides, N(0, 0.25): exact.  DDPM forgets where it started, so it
    has no inverse.
    """
    schedule = Discrete.linear(1000)
    times = steps_of(schedule, steps)
    basis = torch.eye(2 * steps + 1, dtype=torch.float64)
    model = Mixture.gaussian(2 * steps + 1, 0.5).model(schedule)
    gains = sample_last(d.ddpm(model, basis[:1], times, rng=Replay(basis[1:, None, :])))[0].square()
    return {"share of the start": float(gains[0] / gains.sum())}


@claim(
    "C39",
    source="Folklore: 1000 steps are as good as exact",
    says="A thousand DDPM steps reproduce a narrow peak exactly",
    holds=lambda r: all(abs(v - 0.08) < 1e-4 for v in r.values()),
    verdict=False,
    finding="A peak of standard deviation 0.0800 comes out as 0.0763 with beta-tilde and 0.0807 with "
    "beta.",
)
def thousand_steps_on_a_narrow_peak():
    """Standard deviation of what 1000 steps make of N(0, 0.08^2), one peak of the ring: exact."""
    schedule = Discrete.linear(1000)
    return {
        v: math.sqrt(exact_variance(d.ddpm, schedule, steps_of(schedule), std=0.08, variance=v))
        for v in ("posterior", "beta")
    }


# ---- networks: what the chapter measures live --------------------------------------------------------------


def six_clusters():
    """The plane data of the chapter's live training: six Gaussians of deviation 0.12 on the unit circle."""
    return Mixture.ring(6, std=0.12)


def train_on_clusters(steps=1000, seed=0):
    """A small network trained with L_simple on 4000 points of `six_clusters`: (Network on the linear table,
    losses (steps,)).
    """
    from toolkit.networks import ToyMLP
    from toolkit.training import train

    schedule = Discrete.linear(1000)
    with torch.random.fork_rng():  # the first weights come from the global generator
        torch.manual_seed(seed)
        net = ToyMLP(width=64, blocks=2)
    run = train(
        net,
        six_clusters().sample(4000, seed).float(),
        schedule,
        steps=steps,
        lr=4e-3,
        ema=0.995,
        clock="lam",
        seed=seed,
    )
    return Network(run.net, schedule, clock="lam"), run.losses


def share_on_clusters(points, mixture):
    """Share of points (n, 2) within three standard deviations of a cluster's centre; 0.989 for the data
    themselves.
    """
    near = torch.cdist(points.double(), mixture.means).min(1).values
    return float((near < 3 * mixture.stds[0]).double().mean())


def few_steps_on_clusters(counts=(1000, 100, 20, 10), n=1000, variance="posterior"):
    """DDPM samples of `six_clusters` with the exact model, for several numbers of steps: {label: points (n,
    2)}.
    """
    mixture, schedule = six_clusters(), Discrete.linear(1000)
    model, noise, data = (
        mixture.model(schedule),
        initial_noise(n, 2, seed=1, dtype=torch.float64),
        mixture.sample(4000, 3),
    )
    found = {}
    for k in counts:
        times = steps_of(schedule, k)
        gamma = d.mean_square_eps(model, data, times) if variance == "analytic" else None
        found[f"{k} steps"] = sample(d.ddpm, model, noise, times, seed=2, variance=variance, gamma=gamma).x
    return found


def shares_by_steps():
    """`share_on_clusters` and root mean square radius of those samples for three variances: {label:
    number}.
    """
    mixture, result = six_clusters(), {}
    for variance in ("posterior", "beta", "analytic"):
        for label, points in few_steps_on_clusters((100, 20, 10), variance=variance).items():
            result[f"{variance}, {label}: on a cluster"] = share_on_clusters(points, mixture)
            result[f"{variance}, {label}: radius"] = float(points.square().sum(1).mean().sqrt())
    return result


def digits_check(model, n=2000, steps=100):
    """Samples of the digits network by DDPM, and three numbers that must be read together: (images, dict).

    Labels in the classes' proportions.  The Fréchet distance depends on n.
    """
    from toolkit.data import digit_labels, digits
    from toolkit.metrics import class_accuracy, frechet_distance, frechet_floor, nearest_neighbour_ratio

    labels, training = digit_labels(n, 0), digits("train")[0]
    noise = initial_noise(n, (1, 8, 8), seed=0)
    images = sample(d.ddpm, model.with_label(labels), noise, steps_of(model.schedule, steps), seed=1).x
    return images, {
        "Fréchet distance": frechet_distance(images),
        "Fréchet distance, training against test": frechet_floor(),
        "class accuracy": class_accuracy(images, labels),
        "share of samples with ratio below 0.5": float(
            (nearest_neighbour_ratio(images, training) < 0.5).mean()
        ),
        "the same share for test images": float(
            (nearest_neighbour_ratio(digits("test")[0], training) < 0.5).mean()
        ),
        "median ratio of samples": float(np.median(nearest_neighbour_ratio(images, training))),
        "median ratio of test images": float(np.median(nearest_neighbour_ratio(digits("test")[0], training))),
    }


def bits_of_digits(model, n=32):
    """The bound on test digits with 17 grey levels, term by term, with both fixed variances: {name:
    `toolkit.ddpm.Elbo`}.
    """
    from toolkit.data import digits

    images = digits("test")[0][:n]
    return {v: d.elbo(model, images, steps_of(model.schedule), v, bins=17) for v in ("posterior", "beta")}
