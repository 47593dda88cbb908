"""Claims of chapter 1: denoising diffusion probabilistic models.

The experiments are exact wherever the data allow it: Gaussians and one-dimensional mixtures, for which every
expectation is a closed form or a one-dimensional integral.  Each takes no argument and returns a dict label
-> number; the chapter prints those numbers.
"""

import json
import math
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from book import folders
from book.claims import claim, tried_on
from book.problems import ON_COSINE, ON_COSINE_TABLE, ON_THREE_PEAKS, density, normal_density, two_peaks
from toolkit import ddpm as d
from toolkit.convergence import exact_variance
from toolkit.data import digit_labels, digits
from toolkit.metrics import digit_features, frechet_from_features, nearest_neighbour_ratio
from toolkit.mixtures import Mixture
from toolkit.models import Model, Network
from toolkit.networks import ToyMLP, digits_model
from toolkit.noise import Replay, initial_noise
from toolkit.sampling import sample, sample_last
from toolkit.schedules import VP, Discrete

TUTORIAL, SUMMARY, TEXTBOOK = "P", "S", "T"  # the five source texts are named in chapter 0


# --- exact tools ----------------------------------------------------------------------------------------


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
    """`toolkit.ddpm.elbo` of the exact model, averaged over all data and noise without
    sampling: a `toolkit.ddpm.Elbo`.

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


# --- the forward process and the posterior --------------------------------------------------------------


@claim(
    "C01",
    source=f"{SUMMARY}, section 2.1; I",
    says="A thousand small steps can be replaced by one jump, x_t = alpha_t x_0 + sigma_t eps",
    holds=lambda r: r["difference of signal"] < 1e-14 and r["difference of noise variance"] < 1e-12,
    verdict=True,
    finding="The composed steps and the closed form agree to rounding.",
    figure="chain",
)
@tried_on(ON_COSINE_TABLE)
def chain_and_jump() -> dict:
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
    figure="two-clues",
)
@tried_on(ON_COSINE_TABLE)
def posterior_by_grid() -> dict:
    """q(x_s | x_t, x_0) from Bayes' rule on a fine grid, against the formula: largest difference of
    the two densities.
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
@tried_on(ON_COSINE_TABLE)
def two_bars() -> dict:
    """What remains of x_0 at the end of the linear table, and what a reader gets who takes the square root
    twice or not at all.
    """
    schedule = Discrete.linear(1000)
    return {
        "signal at T (the square root of the product)": schedule.alpha(1.0),
        "the product itself": float(schedule.alpha_bar[-1]),
        "signal if the root is taken twice": float(schedule.alpha_bar[-1] ** 0.25),
    }


# --- why steps must be small ----------------------------------------------------------------------------


def reverse_kernel(mixture, schedule, t, s, x_t, points=1201):
    """The exact p(x_s | x_t) of one-dimensional mixture data, and the Gaussian of the same mean and variance.

    Bayes' rule on each component: its share is proportional to w_k q(x_t | k), and given it x_s is Gaussian.
    Returns (x, exact density, Gaussian density, KL of the second from the first in nats); arrays (points,).
    """
    weight, mu = mixture.weights.numpy(), schedule.alpha(s) * mixture.means[:, 0].numpy()
    var = schedule.alpha(s) ** 2 * mixture.stds.numpy() ** 2 + schedule.sigma(s) ** 2
    ratio, beta = d.transition(schedule, s, t)
    total = ratio**2 * var + beta
    share = weight * normal_density(x_t, ratio * mu, total)
    share, mean, spread = share / share.sum(), (beta * mu + ratio * var * x_t) / total, var * beta / total
    centre = share @ mean
    width = share @ (spread + (mean - centre) ** 2)
    reach = 8 * math.sqrt(width)
    x = np.linspace(centre - reach, centre + reach, points)
    exact = (share * normal_density(x[:, None], mean, spread)).sum(1)
    gaussian = normal_density(x, centre, width)
    inside = exact > 0
    log_ratio = np.log(exact[inside] / gaussian[inside])
    return x, exact, gaussian, float(np.trapezoid(exact[inside] * log_ratio, x[inside]))


def kernels_by_step(mixture, schedule, t=0.4, steps=(0.4, 0.32, 0.24, 0.04), x_t=0.1):
    """(t, x_t, kernels): `reverse_kernel` for steps of several lengths down from time t, dict step ->
    kernel.
    """
    return t, x_t, {step: reverse_kernel(mixture, schedule, t, t - step, x_t) for step in steps}


def explored_step(mixture, schedule, t, step, x_t):
    """One step from x_t down from t as the arguments of `figures.step_explorer`: the marginal densities of
    the mixture at both its ends, its `reverse_kernel`, and the kernel's divergence for a step of this length
    from every time. A step that is longer than t ends at the data.
    """
    s = max(0.0, t - step)
    x = torch.linspace(-2.8, 2.8, 601, dtype=torch.float64)[:, None]
    before, after = (mixture.log_prob(x, schedule.alpha(u), schedule.sigma(u)).exp() for u in (t, s))
    kernel = reverse_kernel(mixture, schedule, t, s, x_t)
    starts = np.linspace(0.05, 1, 20)
    curve = [reverse_kernel(mixture, schedule, u, max(0.0, u - step), x_t, 401)[3] for u in starts]
    return dict(
        t=t, s=s, x_t=x_t, x=x[:, 0], before=before, after=after, kernel=kernel, starts=starts, curve=curve
    )


def best_gaussian_kl(t, s, schedule=None, mixture=None):
    """KL from the exact p(x_s | x_t) to the Gaussian of the same mean and variance, averaged over x_t: what
    no choice of mean and variance can win back.  Nats.
    """
    schedule, mixture = schedule or VP(), mixture or two_peaks()
    x_t, p_t = density(mixture, schedule.alpha(t), schedule.sigma(t), points=201)
    kls = [reverse_kernel(mixture, schedule, t, s, float(x))[3] for x in x_t]
    return float(torch.trapezoid(p_t * torch.tensor(kls, dtype=torch.float64), x_t[:, 0]))


@claim(
    "BS19",
    source=f"{SUMMARY}, section 4.2",
    says="DDPM needs many steps because its chain is Markov",
    holds=lambda r: r["KL, step of 0.001"] > 0.1 * r["KL, step of 0.5"],
    verdict=False,
    finding="The chain is Markov at every step size, yet the error of a Gaussian step falls from 0.76 nats "
    "to 1e-11 as the step shrinks. What needs small steps is the Gaussian shape of p(x_s | x_t).",
    figure="one-or-many",
)
@tried_on(ON_COSINE | ON_THREE_PEAKS)
def step_size_and_shape() -> dict:
    """The same KL for ever smaller steps down from t = 0.5.  The chain is Markov in every case."""
    return {f"KL, step of {h:g}": best_gaussian_kl(0.5, 0.5 - h) for h in (0.5, 0.25, 0.1, 0.01, 0.001)}


# --- the bound ------------------------------------------------------------------------------------------


@claim(
    "C05",
    source=f"{SUMMARY}, section 2.3",
    says="The three parts of the bound close to the entropy of the data when model and variances are optimal",
    holds=lambda r: abs(r["analytic"] - r["entropy"]) < 1e-6,
    verdict=True,
    finding="N(0, 0.25), 1000 steps: 0.7258 nats with the optimal variances, the entropy itself; 0.7269 "
    "with beta, 1.2957 with beta-tilde. It turns with two peaks, where p(x_s | x_t) is no Gaussian: 0.0031 "
    "are left above the entropy after as many steps, with the best variances.",
    figure="bound-steps",
)
@tried_on(ON_COSINE_TABLE | {"two peaks": {"Mixture": SimpleNamespace(gaussian=lambda *_: two_peaks())}})
def bound_and_entropy() -> dict:
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


def where_the_posterior_variance_loses() -> dict:
    """The gap of -ELBO above the entropy for N(0, 0.25), 1000 steps, v = beta-tilde, nats: its parts."""
    mixture, schedule = Mixture.gaussian(1, 0.5), Discrete.linear(1000)
    times = steps_of(schedule)
    gamma = mean_square_noise(mixture, schedule, times)
    ours, best = (exact_bound(mixture, schedule, times, v, gamma) for v in ("posterior", "analytic"))
    excess = ours.steps - best.steps
    return {
        "the whole gap": ours.total - entropy(mixture),
        "from the KL terms": float(excess.sum()),
        "from the last ten of them": float(excess[-10:].sum()),
        "from the variance borrowed for the last step": ours.decoder - best.decoder,
    }


@claim(
    "S-VAE",
    source=SUMMARY,
    says="DDPM is a variational autoencoder of many steps",
    holds=lambda r: abs(r["its bound as a VAE"] - r["-ELBO of DDPM"]) < 1e-9,
    fails=lambda r: r["what x_T tells about x_0"] < 0.01,
    verdict="holds if",
    finding="If the bound is meant: with the forward chain as encoder a VAE's bound is DDPM's, to 1e-12. It "
    "fails if x_T is to be a code: that encoder is fixed, and x_T tells 5e-6 nats about x_0.",
)
@tried_on(ON_COSINE_TABLE | {"50 steps": {"steps": 50}})
def multi_step_vae(steps=20) -> dict:
    """N(0, 0.25): a VAE's bound, E[-log p(x_0 | z)] + KL(q(z | x_0) || p(z)), whose latent z is the whole
    path x_1 ... x_T, from the two Gaussians' covariance matrices; DDPM's bound; and the mutual information of
    x_0 and x_T.  Nats.
    """
    schedule, mixture = Discrete.linear(1000), Mixture.gaussian(1, 0.5)
    times = steps_of(schedule, steps)
    gamma = mean_square_noise(mixture, schedule, times)
    v, t = d.step_variances(schedule, times, "analytic", gamma), times[:-1]
    a, b = map(np.array, d.ddpm_coefficients(schedule, times))
    gains = a + b * schedule.sigma(t) / (0.25 * schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2)
    decoder = np.eye(steps)  # row i: x at t[i], by the normals that it is made of
    for i in range(1, steps):
        decoder[i] = gains[i - 1] * decoder[i - 1] + math.sqrt(v[i - 1]) * np.eye(steps)[i]
    most, least = np.maximum.outer(t, t), np.minimum.outer(t, t)  # the noise of each pair of times
    encoder = schedule.alpha(most) / schedule.alpha(least) * schedule.sigma(least) ** 2
    model = decoder @ decoder.T
    inverse, mean = np.linalg.inv(model), schedule.alpha(t)
    divergence = 0.5 * (
        np.trace(inverse @ encoder)
        + 0.25 * mean @ inverse @ mean
        - steps
        + np.linalg.slogdet(model)[1]
        - np.linalg.slogdet(encoder)[1]
    )
    left = 0.25 * (1 - gains[-1] * mean[-1]) ** 2 + (gains[-1] * schedule.sigma(t[-1])) ** 2
    return {
        "its bound as a VAE": float(0.5 * (math.log(2 * math.pi * v[-1]) + left / v[-1]) + divergence),
        "-ELBO of DDPM": exact_bound(mixture, schedule, times, "analytic", gamma).total,
        "what x_T tells about x_0": 0.5 * math.log1p(0.25 * d.snr(schedule, 1.0)),
    }


def bound_with_a_learned_variance(steps=20, trained=300) -> dict:
    """Sum of the KL terms of the two peaks, exact mean, 20 steps, nats: fixed variances, and one learned with
    the hybrid loss, whose fraction depends on x_t and t.
    """
    mixture, schedule = two_peaks(), Discrete.linear(1000)
    times = steps_of(schedule, steps)
    exact, generator = mixture.model(schedule), torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fraction = torch.nn.Sequential(
            torch.nn.Linear(3, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1), torch.nn.Sigmoid()
        ).double()

    def answer(x, t):
        row = t[:, None].expand_as(x)
        return torch.cat([exact.eps(x, t), fraction(torch.cat([x, row, (row + 1e-3).log()], 1))], 1)

    model = Network(answer, schedule, learned_variance=True)
    optimiser = torch.optim.Adam(fraction.parameters(), lr=1e-2)
    for _ in range(trained):
        i = torch.randint(steps - 1, (256,), generator=generator)
        t, s = torch.from_numpy(times[:-1])[i], torch.from_numpy(times[1:])[i]
        noise = torch.randn(256, 1, generator=generator, dtype=torch.float64)
        x0 = mixture.sample(256, int(torch.randint(2**31, (1,), generator=generator)))
        optimiser.zero_grad()
        d.hybrid_loss(model, x0, t, s, noise, vlb_share=1.0, steps=steps).backward()
        optimiser.step()
    learned = [
        float(d.elbo(model, mixture.sample(5000, seed), times, "learned", seed=seed).steps.sum())
        for seed in range(1, 5)
    ]
    gamma = mean_square_noise(mixture, schedule, times)
    fixed = ("posterior", "beta", "analytic")
    sums = {v: float(exact_bound(mixture, schedule, times, v, gamma).steps.sum()) for v in fixed}
    return sums | {
        "learned": round(float(np.mean(learned)), 2),
        "standard error of that": round(float(np.std(learned, ddof=1) / 2), 3),
    }


@claim(
    "BP16",
    source=f"{TUTORIAL}, section 4.2",
    says="A listing of the full ELBO may compare with a sample and add constants",
    holds=lambda r: abs(r["sum of the KLs, listing"]) < 1e-6,
    verdict=False,
    finding="For an oracle that knows the noise all KLs are 0 (ours: 1e-13). A listing with three of the "
    "mistakes (a sampled target, constants of its own, |x_T|^2 / 2 as prior term) gives 39,000 nats in 16 "
    "dimensions, and 8.0 instead of 0.00008 for the prior term.",
)
@tried_on(ON_COSINE_TABLE | {"64 dimensions": {"dims": 64}})
def listing_of_the_bound(dims=16) -> dict:
    """A bound as a widespread listing has it, and ours, for an oracle that knows the noise.

    The listing compares the model's mean with a *sample* of x_s instead of the posterior's mean, adds
    -d/2 - log(v)/2 to every term as if the KL had no log-variance of its own, and takes |x_T|^2 / 2
    for the prior term.
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
        "squared term a dimension, listing": float(np.mean(squares)),
        "prior term, ours": ours.prior,
        "prior term, listing": float(0.5 * x_T.square().sum(1).mean()),
    }


def three_step_chain(T=3):
    """log p, its ELBO, and two sums that a summary calls the bound, for a linear Gaussian chain of T steps,
    averaged over N(0, 0.25).

    The summary's axiom takes KL(q(x_n | x_(n-1)) || p(x_n | x_(n+1))), which leaves open how x_(n-1) and
    x_(n+1) are drawn: apart, or on one path.  The ELBO has q(x_n | x_(n+1), x_0) and one path.
    """
    schedule = Discrete(np.linspace(0.1, 0.7, T))
    mixture, times = Mixture.gaussian(1, 0.5), np.arange(T, -1, -1) / T
    gamma = mean_square_noise(mixture, schedule, times)
    bound = exact_bound(mixture, schedule, times, "analytic", gamma)
    a, b = d.ddpm_coefficients(schedule, times)
    v = d.step_variances(schedule, times, "analytic", gamma)
    var, apart, along = 1.0, bound.prior + bound.decoder, bound.prior + bound.decoder
    for i, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
        marginal = 0.25 * schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2
        gain = a[i] + b[i] * schedule.sigma(t) / marginal  # the exact eps is sigma x / marginal
        var = gain**2 * var + v[i]  # of the model's own x, from x_T of variance 1
        if schedule.sigma(s) > 0:
            u = times[i + 2]
            ratio, beta = d.transition(schedule, u, s)
            both, jump = d.transition(schedule, u, t)
            signal, noise = schedule.alpha(u), schedule.sigma(u)
            one_path = (ratio - gain * both) ** 2 * (0.25 * signal**2 + noise**2) + gain**2 * jump
            two_paths = 0.25 * (ratio * signal - gain * schedule.alpha(t)) ** 2
            two_paths += (ratio * noise) ** 2 + (gain * schedule.sigma(t)) ** 2
            apart += 0.5 * (math.log(v[i] / beta) + (beta + two_paths) / v[i] - 1)
            along += 0.5 * (math.log(v[i] / beta) + (beta + one_path) / v[i] - 1)
    return {
        "log p": float(-0.5 * (math.log(2 * math.pi * var) + 0.25 / var)),
        "ELBO": float(-bound.total),
        "minus the sum of the summary, neighbours on one path": float(-along),
        "minus the sum of the summary, neighbours drawn apart": float(-apart),
    }


@claim(
    "BS6",
    source=f"{SUMMARY}, axiom 3",
    says="The sum of KL(q(x_n | x_n-1) || p(x_n | x_n+1)) over the steps is the variational bound",
    holds=lambda r: any(abs(value - r["ELBO"]) < 0.01 for name, value in r.items() if "sum" in name),
    verdict=False,
    finding="10 steps on N(0, 0.25): log p -0.7258, ELBO -0.7258, minus that sum -4.55 with neighbours on "
    "one path and -7.42 drawn apart. The bound has q(x_n | x_n+1, x_0).",
)
@tried_on({"20 steps": {"three_step_chain": lambda T, chain=three_step_chain: chain(2 * T)}})
def longer_chain() -> dict:
    """The same for 10 steps."""
    return three_step_chain(10)


# --- weights --------------------------------------------------------------------------------------------


def weights_of_steps(steps=1000):
    """t = 2/T … 1 and the weights of the squared noise error there: {name: array}, the linear table."""
    schedule = Discrete.linear(steps)
    t, s = np.arange(2, steps + 1) / steps, np.arange(1, steps) / steps
    return t, {
        "bound": d.vlb_weight(schedule, t, s),
        "simple": d.snr_weight(schedule, t, 0),
        "min-SNR, 5": d.min_snr_weight(schedule, t),
        "P2 = sigma squared": d.p2_weight(schedule, t),
    }


@claim(
    "BP13, P11",
    source=f"{TUTORIAL}, section 3.2",
    says="Weighting the noise error by sigma^2 gives the variational bound, by sigma an improved score "
    "matching",
    holds=lambda r: r["sigma^2 over the bound's weight"] < 0.1,
    verdict=False,
    finding="The bound's weight, (SNR_s / SNR_t - 1) / 2, is largest where sigma is smallest: sigma^2 over "
    "it spreads over 5.7 decades, sigma over 3.9, and 1 over 2.1. For VP schedules sigma^2 is P2's weight; "
    "score matching with lambda = sigma^2 in front of the score's error has weight 1 here.",
    figure="weights-figure",
)
@tried_on(ON_COSINE_TABLE)
def sigma_is_no_bound() -> dict:
    """Decades over which a weight of the noise error, divided by the bound's, spreads over the steps of the
    linear table: 0 would be proportional; and the rank correlation of the bound's weight with sigma.
    """
    from scipy.stats import spearmanr

    t, weights = weights_of_steps()
    sigma, log_bound = Discrete.linear(1000).sigma(t), np.log10(weights["bound"])
    spread = {"1 (L_simple)": 0 * t, "sigma": np.log10(sigma), "sigma^2": 2 * np.log10(sigma)}
    result = {f"{name} over the bound's weight": float(np.ptp(w - log_bound)) for name, w in spread.items()}
    return result | {"rank correlation with sigma, or sigma^2": float(spearmanr(log_bound, sigma)[0])}


@claim(
    "BP14",
    source=f"{TUTORIAL}, section 3.2",
    says="The listed loss runs with its default weight, 1.0",
    holds=lambda r: r["runs with a number"] == 1,
    verdict=False,
    finding="The listing calls weight.view(-1, 1, 1, 1), which a number does not have: AttributeError. "
    "Make it a tensor first.",
)
def a_number_has_no_view() -> dict:
    """Whether the listing's line runs with the number 1.0, and with a tensor of ones."""
    error = torch.ones(4, 1, 8, 8)

    def listed(weight=1.0):
        return (weight.view(-1, 1, 1, 1) * error).mean()

    def runs(*weight):
        try:
            return int(bool(torch.isfinite(listed(*weight))))
        except AttributeError:
            return 0

    return {"runs with a number": runs(), "runs with a tensor": runs(torch.ones(4))}


@claim(
    "BP18",
    source=f"{TUTORIAL}, section 4.3",
    says="Some power p makes SNR^p / (1 + SNR) the weight of the bound",
    holds=lambda r: r["the smallest spread"] < 0.1,
    verdict=False,
    finding="Its ratio to the bound's weight spreads over 2.9 decades at the best p, 0.67, and over more "
    "at all others.",
    figure="weights-figure",
)
@tried_on(ON_COSINE_TABLE)
def snr_powers_are_no_bound() -> dict:
    """Decades over which SNR^p / (1 + SNR), divided by the bound's weight, spreads: 0 would be proportional;
    smallest over p, by search from -3 to 5 (the spread is convex in p).
    """
    from scipy.optimize import minimize_scalar

    t, weights = weights_of_steps()
    ratio = d.snr(Discrete.linear(1000), t)
    spread = lambda p: float(np.ptp(p * np.log10(ratio) - np.log10((1 + ratio) * weights["bound"])))
    best = minimize_scalar(spread, bounds=(-3, 5), method="bounded", options={"xatol": 1e-6})
    return {
        "the smallest spread": best.fun,
        "the best p": round(float(best.x), 2),
        "spread at p = 1": spread(1),
    }


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
@tried_on(ON_COSINE_TABLE)
def kl_is_closed_form() -> dict:
    """A step's KL against weight times squared error, on random numbers; and how far the
    bound's weights range.
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
    holds=lambda r: min(r["without it, t from 0 to 1"], r["without it, t from 0 to 1000"]) >= r["KL"],
    verdict=False,
    finding="N(0, 1) against N(0, 2): KL 0.0966, and 0.0966 with the weight g^2 / 2 and the prior's term. "
    "Without the weight 0.0619 for t from 0 to 1, 61.9 for t from 0 to 1000: a number that depends on the "
    "unit of time bounds nothing.",
    figure="weights-figure",
)
@tried_on({"a slower schedule": {"VP": partial(VP, beta_max=10.0)}})
def likelihood_weight() -> dict:
    """KL of N(0, 1) from N(0, 2), and the integral over time of the squared score difference plus the prior's
    term, with and without g^2 / 2, for time measured in two units.
    """
    schedule = VP()
    t = np.linspace(0, 1, 20001)
    model = 2 * schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2  # its variance at t; that of the data is 1
    squares = (1 - 1 / model) ** 2
    prior = 0.5 * (math.log(model[-1]) + 1 / model[-1] - 1)
    result = {"KL": 0.5 * (math.log(2) + 0.5 - 1)}
    for T in (1, 1000):  # g^2 dt does not change with the unit, dt alone does
        weighted, plain = (np.trapezoid(w * squares, T * t) for w in (0.5 * schedule.g2(t) / T, 1.0))
        result[f"with the weight, t from 0 to {T}"] = float(weighted) + prior
        result[f"without it, t from 0 to {T}"] = float(plain) + prior
    return result


# --- noise and score ------------------------------------------------------------------------------------


@claim(
    "C06",
    source=f"{TUTORIAL}, section 7.1; {SUMMARY}, axiom 4",
    says="The score is the mean noise over minus sigma",
    holds=lambda r: max(r.values()) < 1e-10,
    verdict=True,
    finding="An integral over x_0 and the gradient of log p_t agree to 1e-15.",
    figure="scores",
)
@tried_on(ON_COSINE | ON_THREE_PEAKS)
def tweedie() -> dict:
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
    figure="scores",
)
@tried_on(ON_COSINE)
def one_draw_is_not_the_score() -> dict:
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
    source=f"{TUTORIAL}, section 6.2",
    says="-eps / sigma is the true score, so that a perfect network has loss 0 against it",
    holds=lambda r: max(r.values()) < 1e-6,
    verdict=False,
    finding="The exact score of N(0, 0.25) has loss 0.117 at t = 0.3 and 1282 at t = 0.003: the constant of "
    "denoising score matching, which grows without limit. Multiplied by sigma^2 it stays below 1.",
)
@tried_on(ON_COSINE)
def loss_at_the_exact_score() -> dict:
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
    figure="scores",
)
@tried_on(ON_COSINE | ON_THREE_PEAKS)
def denoising_is_score_matching() -> dict:
    """DSM - ESM for three wrong scores on the two peaks at t = 0.3, by quadrature: the same
    constant each time.
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


# --- schedules ------------------------------------------------------------------------------------------


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
    finding="0.008 is an offset of the true cosine schedule, not a beta. This table leaves a signal of 0.23 "
    "at T, and samples of N(1, 0.25) started from pure noise have mean 0.881 by the deterministic flow "
    "(0.986 by the ancestral chain, which forgets its start).",
    figure="schedules-figure",
)
def terminal_signal() -> dict:
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
    holds=lambda r: r["cosine: fall of log-SNR, last 1 %"] < r["linear: fall of log-SNR, last 1 %"],
    verdict=False,
    finding="It keeps signal in the middle: 0.49 of the power half-way against 0.08, and 6.5 % of the steps "
    "below 1 % against 32.7 %. Over the last 1 % of the steps its log-SNR falls 57 times as far, betas "
    "limited to 0.999 included.",
)
@tried_on(
    {"the quadratic table": {"Discrete": SimpleNamespace(linear=Discrete.quadratic, cosine=Discrete.cosine)}}
)
def where_cosine_helps() -> dict:
    """Share of steps at which less than 1 % of the signal's power is left, and how far lambda falls in the
    last 1 % of the steps.
    """
    linear, cosine = Discrete.linear(1000), Discrete.cosine(1000)
    return {
        "linear: share below 1 %": float((linear.alpha_bar[1:] < 0.01).mean()),
        "cosine: share below 1 %": float((cosine.alpha_bar[1:] < 0.01).mean()),
        "linear: alpha-bar half-way": float(linear.alpha_bar[500]),
        "cosine: alpha-bar half-way": float(cosine.alpha_bar[500]),
        "linear: fall of log-SNR, last 1 %": 2 * (linear.lam(0.99) - linear.lam(1.0)),
        "cosine: fall of log-SNR, last 1 %": 2 * (cosine.lam(0.99) - cosine.lam(1.0)),
    }


# --- importance sampling of t ---------------------------------------------------------------------------


@claim(
    "BS22",
    source=f"{SUMMARY}, section 4.2",
    says="Drawing t in proportion to the root of the mean loss is the best choice",
    holds=lambda r: r["root of the mean"] <= r["root of the mean square"],
    verdict=False,
    finding="The optimum is the root of the mean *squared* loss. Relative variances for N(0, 0.25): uniform "
    "104, root of the mean 5.7, root of the mean square 2.0.",
)
@tried_on(ON_COSINE_TABLE)
def relative_variances() -> dict:
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


# --- variance of a step, and the number of steps --------------------------------------------------------


def variance_by_steps(counts=(10, 20, 50, 100, 200, 500, 1000)):
    """Exact variance of DDPM's output on N(0, 0.25): {variance: (counts, values)}."""
    schedule, mixture = Discrete.linear(1000), Mixture.gaussian(1, 0.5)
    result = {v: [] for v in d.VARIANCES if v != "learned"}
    for n in counts:
        times = steps_of(schedule, n)
        gamma = mean_square_noise(mixture, schedule, times)
        for name, values in result.items():
            values.append(exact_variance(d.ddpm, schedule, times, variance=name, gamma=gamma))
    return {name: (list(counts), values) for name, values in result.items()}


def few_steps() -> dict:
    """Exact output variances on N(0, 0.25) at 10, 100 and 1000 steps, and the two whose noise in the last
    step is a matter of convention the other way.
    """
    result = variance_by_steps((10, 100, 1000))
    rows = {f"{name}, {n} steps": v for name, (ns, vs) in result.items() for n, v in zip(ns, vs, strict=True)}
    schedule, mixture = Discrete.linear(1000), Mixture.gaussian(1, 0.5)
    for name, change, sign in (
        ("beta", "with the last noise", 1),
        ("analytic", "without the last noise", -1),
    ):
        for n in (10, 100, 1000):
            times = steps_of(schedule, n)
            last = d.step_variances(schedule, times, name, mean_square_noise(mixture, schedule, times))[-1]
            rows[f"{name} {change}, {n} steps"] = rows[f"{name}, {n} steps"] + sign * float(last)
    return rows


@claim(
    "S18, few steps",
    source=f"{SUMMARY}, section 4.2; {TEXTBOOK}, section 8.1.1",
    says="With few steps DDPM must lose quality",
    holds=lambda r: r["two peaks: bound above the entropy, nats"] > 0.1,
    fails=lambda r: abs(r["N(0, 0.25): variance"] - 0.25) < 1e-6,
    verdict="holds if",
    finding="If the data have several narrow peaks, for p(x_s | x_t) is then no Gaussian: at 10 steps the "
    "bound of the two peaks stays 0.34 nats above the entropy, with the best variance. It fails for one "
    "Gaussian, which 10 steps with that variance reproduce.",
    figure="few",
)
@tried_on(ON_COSINE_TABLE | ON_THREE_PEAKS)
def few_steps_on_two_kinds_of_data() -> dict:
    """Ten steps with the optimal variance: exact output variance on N(0, 0.25); the two peaks' bound."""
    (_, variances), (_, gaps) = variance_by_steps((10,))["analytic"], bound_by_steps((10,))["analytic"]
    return {"N(0, 0.25): variance": variances[0], "two peaks: bound above the entropy, nats": gaps[0]}


@claim(
    "S18, no inverse",
    source=f"{SUMMARY}, section 4.2; {TEXTBOOK}, section 8.1.1",
    says="DDPM's sampling cannot be inverted: its start does not determine the sample",
    holds=lambda r: r["share of the start"] < 1e-3,
    verdict=True,
    finding="On N(0, 0.25) x_T decides 0.001 % of the variance of the sample; the noise of the steps decides "
    "the rest. (Who keeps all those noises as well can run the chain back.)",
)
@tried_on(ON_COSINE_TABLE | {"100 steps": {"steps": 100}})
def what_the_start_decides(steps=1000) -> dict:
    """Share of the variance of x_0 that x_T decides, N(0, 0.25): exact."""
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
    finding="A peak of standard deviation 0.0800 comes out as 0.0763 with beta-tilde and 0.0807 with beta.",
)
@tried_on(ON_COSINE_TABLE)
def thousand_steps_on_a_narrow_peak() -> dict:
    """Standard deviation of what 1000 steps make of N(0, 0.08^2), one peak of the ring: exact."""
    schedule = Discrete.linear(1000)
    return {
        f"{v}, sd of a peak of 0.08 after 1000 steps": math.sqrt(
            exact_variance(d.ddpm, schedule, steps_of(schedule), std=0.08, variance=v)
        )
        for v in ("posterior", "beta")
    }


# --- networks: what the chapter measures live -----------------------------------------------------------


def six_clusters():
    """The plane data of the chapter's live training: six Gaussians of deviation 0.12 on the unit circle."""
    return Mixture.ring(6, std=0.12)


def loss_at(model, data, times, seed=0):
    """Mean of (eps - eps_hat)^2 an element at each time, on `data` (n, ...): an array."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(data.shape, generator=generator, dtype=torch.float64)
    noise = noise.to(data)  # one noise for all models and precisions
    with torch.no_grad():
        return np.array(
            [float(d.noise_loss(model, data, torch.full((len(data),), float(t)), noise)) for t in times]
        )


def small_network(seed=0):
    """The network that the chapter trains on points in the plane, with its first weights."""
    with torch.random.fork_rng():  # they come from the global generator
        torch.manual_seed(seed)
        return ToyMLP(width=64, blocks=2)


def share_on_clusters(points, mixture):
    """Share of points (n, 2) within three standard deviations of a cluster's centre; 0.989 for
    the data themselves.
    """
    near = torch.cdist(points.double(), mixture.means).min(1).values
    return float((near < 3 * mixture.stds[0]).double().mean())


def few_steps_on_clusters(counts=(1000, 100, 20, 10), n=1000, variance="posterior", last_noise=False):
    """DDPM samples of `six_clusters` with the exact model, for several numbers of steps: {label: points (n,
    2)}.

    The last step returns the mean alone, whatever the variance; last_noise=True adds its noise.
    """
    mixture, schedule = six_clusters(), Discrete.linear(1000)
    model, data = mixture.model(schedule), mixture.sample(4000, 3)
    noise, last = (initial_noise(n, 2, seed=seed, dtype=torch.float64) for seed in (1, 99))
    result = {}
    for k in counts:
        times = steps_of(schedule, k)
        gamma = np.array(d.mean_square_eps(model, data, times)) if variance == "analytic" else None
        options = {"variance": variance, "gamma": None if gamma is None else gamma[:-1]}
        x = sample(d.ddpm, model, noise, times[:-1], draws=2, **options).x
        x = model.x0(x, float(times[-2]))  # where (1.6) has its mean when s = 0
        if last_noise:
            x = x + math.sqrt(d.step_variances(schedule, times, variance, gamma)[-1]) * last
        result[f"{k} step{'s' * (k > 1)}"] = x
    return result


def shares_by_steps(groups=8, n=1000):
    """`share_on_clusters` of those samples for three variances, as mean and standard error over groups of n;
    for the fewer steps also with the noise of the last step: {label: number}.
    """
    mixture, result = six_clusters(), {}
    for counts, last_noise, said in (((100, 20, 10), False, ""), ((20, 10), True, " and the last noise")):
        for variance in ("posterior", "beta", "analytic"):
            for label, points in few_steps_on_clusters(counts, groups * n, variance, last_noise).items():
                shares = [share_on_clusters(group, mixture) for group in points.split(n)]
                result[f"{label}{said}, {variance}"] = float(np.mean(shares))
                result[f"{label}{said}, {variance}, sd"] = float(np.std(shares, ddof=1) / groups**0.5)
    return result


# --- digits ---------------------------------------------------------------------------------------------


@cache
def digits_samples(batches=8, n=360, steps=100):
    """Samples of the digits network by DDPM, (batches n, 1, 8, 8), each batch with labels in the classes'
    proportions; the labels; and the model.
    """
    model = digits_model(Discrete.linear(1000))
    labels = torch.cat([digit_labels(n, seed) for seed in range(batches)])
    noise = initial_noise(batches * n, (1, 8, 8), seed=0)
    run = sample(d.ddpm, model.with_label(labels), noise, steps_of(model.schedule, steps), draws=1)
    return run.x, labels, model


def distances(images, n, draws=20):
    """Fréchet distances of three kinds of n digits each to a reference of real ones, {kind: (draws,)}:
    batches of `images`; real digits that are not in the reference; and copies of some that are.

    The reference are all real digits but n, drawn anew each time; every set has the classes in their
    proportions, as `images` must have in each n of its rows.
    """
    real, labels = digits("all")
    features, labels, ours = digit_features(real), labels.numpy(), digit_features(images)
    result = {"samples of the network": [], "fresh real digits": [], "copies": []}
    for seed in range(draws):
        split = partial(train_test_split, train_size=n, random_state=seed)
        fresh, rest = split(np.arange(len(labels)), stratify=labels)
        copied = split(rest, stratify=labels[rest])[0]
        first = seed * n % (len(ours) - n + 1) // n * n
        for kind, rows in zip(
            result, (ours[first : first + n], features[fresh], features[copied]), strict=True
        ):
            result[kind].append(frechet_from_features(rows, features[rest]))
    return {kind: np.array(values) for kind, values in result.items()}


def with_spread(found) -> dict:
    """Mean and standard deviation (sd), to two decimals, of several sets of numbers, {name: values}."""
    return {
        name + sd: round(float(of(values)), 2)
        for name, values in found.items()
        for sd, of in (("", np.mean), (", sd", partial(np.std, ddof=1)))
    }


def samples_beside_real_digits() -> dict:
    """`distances` of 360 digits: the network's, fresh ones and copies, mean and standard deviation."""
    return with_spread(distances(digits_samples()[0], 360))


@claim(
    "BP20",
    source=f"{TUTORIAL}, section 5.2",
    says="A Fréchet distance of 16 samples tells a better sampler from a worse one",
    holds=lambda r: (
        r["20 steps, 16 digits"] - r["100 steps, 16 digits"]
        > 2 * max(r["20 steps, 16 digits, sd"], r["100 steps, 16 digits, sd"])
    ),
    verdict=False,
    finding="It puts the worse one first: 6.6 for DDPM in 20 steps, 7.7 in 100 steps and 7.9 for fresh real "
    "digits, where one set strays by 1.2. Sets of 360 have them in their order, 0.54, 0.35 and 0.27, with a "
    "spread of 0.06. At 16 the number is mostly about n.",
)
def sixteen_digits() -> dict:
    """Fréchet distances of sets of 16 and of 360 digits: by DDPM in 20 and in 100 steps, and fresh ones."""
    result = {}
    for n, batches in ((16, 20), (360, 8)):
        for steps in (20, 100):
            found = distances(digits_samples(batches, n, steps)[0], n)
            result[f"{steps} steps, {n} digits"] = found["samples of the network"]
        result[f"fresh real digits, {n} digits"] = found["fresh real digits"]
    return with_spread(result)


def near_copies() -> dict:
    """Ratio of the distance to the nearest training digit over that digit's own distance to its nearest, of
    the network's samples and of test digits: smallest, median, and how many lie below 1/2.
    """
    training, result = digits("train")[0], {}
    for name, images in {"samples": digits_samples()[0], "test digits": digits("test")[0]}.items():
        ratio = nearest_neighbour_ratio(images, training)
        name = f"{len(images):,} {name}"
        result[f"{name}, smallest ratio"] = round(float(ratio.min()), 2)
        result[f"{name}, median"] = round(float(np.median(ratio)), 2)
        result[f"{name}, below 1/2"] = int((ratio < 0.5).sum())
    return result


def longer_training() -> dict:
    """Recorded by `studies.memorising`: Fréchet distance, with standard deviation, and number of near-copies
    among 2,880 samples, of networks trained for longer.
    """
    recorded = json.loads((folders.folder("01") / "recorded" / "memorising.json").read_text(encoding="utf-8"))
    result = {}
    for steps, samplers in recorded["networks"].items():
        for name, found in samplers.items():
            distance, spread = found["Fréchet distance"]
            result[f"{int(steps):,} steps: {name}, distance"] = f"{distance:.2f} ± {spread:.2f}"
            result[f"{int(steps):,} steps: {name}, near-copies"] = found["near-copies"]
    return result


def bits_of_digits(n=32) -> dict:
    """The bound on test digits with 17 grey levels, bits a pixel, with both fixed variances: the whole, and
    the part spent by t = 0.1; and what a code costs that knows nothing.
    """
    model, images = digits_samples()[2], digits("test")[0][:n]
    result, unit = {"all 17 grey levels alike": math.log2(17)}, 64 * math.log(2)
    for variance in ("posterior", "beta"):
        bound = d.elbo(model, images, steps_of(model.schedule), variance, bins=17)
        result[f"{variance}: all steps"] = round(bound.bits_per_dim, 2)
        result[f"{variance}: steps from t = 1 to 0.1"] = round(float(bound.steps[:900].sum()) / unit, 2)
    return result
