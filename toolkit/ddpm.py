"""Chapter 1: denoising diffusion probabilistic models (Ho, Jain & Abbeel, NeurIPS 2020; arXiv 2006.11239).

In this book's notation (their sqrt(alpha-bar_t) is alpha_t, their sqrt(1 - alpha-bar_t) is sigma_t), and for
any two times s < t, so that the same functions serve a strided sub-sequence, with ratio = alpha_t / alpha_s
and beta = sigma_t^2 - ratio^2 sigma_s^2:

    q(x_t | x_0) = N(alpha_t x_0, sigma_t^2)                     their eq. 4       `diffuse`
    q(x_t | x_s) = N(ratio x_s, beta)                            eq. 2             `transition`
    q(x_s | x_t, x_0) = N(c_0 x_0 + c_t x_t, beta-tilde)         eq. 6, 7          `posterior`
    p(x_s | x_t) = N(posterior mean at the predicted x_0, v)     eq. 11            `ddpm`

Improved DDPM is Nichol & Dhariwal, ICML 2021 (arXiv 2102.09672); Analytic-DPM is Bao et al., ICLR 2022 (arXiv
2201.06503).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from toolkit.models import alpha_and_sigma
from toolkit.noise import noise_of
from toolkit.options import real_number
from toolkit.sampling import kept, sampler
from toolkit.schedules import check_signal

VARIANCES = ("posterior", "beta", "learned", "analytic")

# --- the forward process --------------------------------------------------------------------------------


def diffuse(schedule, x0, t, noise):
    """x_t = alpha_t x_0 + sigma_t noise (eq. 4): any time in one jump.

    x0, noise: (B, ...).  t: a number or a tensor (B,).  Returns (B, ...).
    """
    if noise.shape != x0.shape:
        raise ValueError(f"noise must have the shape of x0, {tuple(x0.shape)}; got {tuple(noise.shape)}")
    alpha, sigma = alpha_and_sigma(schedule, x0, t)
    return alpha * x0 + sigma * noise


def transition(schedule, s, t):
    """(ratio, beta) of q(x_t | x_s) = N(ratio x_s, beta), s < t (eq. 2, for any two times).

    beta = sigma_t^2 - ratio^2 sigma_s^2, written as -sigma_t^2 expm1(2 (lambda_t - lambda_s)), which does not
    cancel.
    s, t: floats or float64 arrays.
    """
    ratio = np.exp(schedule.log_alpha(t) - schedule.log_alpha(s))
    return ratio, -(schedule.sigma(t) ** 2) * np.expm1(2 * (schedule.lam(t) - schedule.lam(s)))


def posterior(schedule, t, s):
    """(c_0, c_t, beta-tilde) of q(x_s | x_t, x_0) = N(c_0 x_0 + c_t x_t, beta-tilde), s < t (eq. 6, 7, for
    any two times).

    t, s: floats or float64 arrays.  At sigma_s = 0 the posterior is the point x_0 itself: (1, 0, 0) times
    alpha_s.
    """
    ratio, beta = transition(schedule, s, t)
    var_t, var_s = schedule.sigma(t) ** 2, schedule.sigma(s) ** 2
    return schedule.alpha(s) * beta / var_t, ratio * var_s / var_t, beta * var_s / var_t


# --- sampling -------------------------------------------------------------------------------------------


def optimal_variance(schedule, t, s, gamma):
    """The variance of p(x_s | x_t) that maximises the ELBO, given gamma(t) = E|eps(x_t, t)|^2 / d
    (Analytic-DPM, eq. 8).

    beta-tilde + c_0^2 sigma_t^2 / alpha_t^2 (1 - gamma): what the posterior leaves open, plus what x_t leaves
    open about x_0.
    gamma: float or array, in [0, 1] for an exact model; clipped there.
    """
    c_0, _, tilde = posterior(schedule, t, s)
    return tilde + (c_0 * schedule.sigma(t) / schedule.alpha(t)) ** 2 * (1 - np.clip(gamma, 0, 1))


def mean_square_eps(model, data, times, seed=0):
    """gamma(t) = E|eps(x_t, t)|^2 / d at each of times[:-1], estimated on `data` (n, ...): a list of floats
    for `optimal_variance`.
    """
    generator = torch.Generator().manual_seed(seed)
    gammas = []
    with torch.no_grad():
        for t in np.asarray(times, dtype=float)[:-1]:
            noise = torch.randn(data.shape, generator=generator, dtype=data.dtype).to(data.device)
            gammas.append(
                float(model.eps(diffuse(model.schedule, data, float(t), noise), float(t)).square().mean())
            )
    return gammas


def step_variances(schedule, times, variance="posterior", gamma=None):
    """Variance of p(x_s | x_t) at each step of `times`, float64 (n,).

    "posterior": beta-tilde, right for one known x_0 and never too large.  "beta": right for unit Gaussian
    data, and an upper bound for data of at most unit variance (sec. 3.2).
    "analytic": `optimal_variance`, with gamma (n,).
    """
    t, s = np.asarray(times[:-1]), np.asarray(times[1:])
    if variance == "beta":
        return transition(schedule, s, t)[1]
    if variance == "posterior":
        return posterior(schedule, t, s)[2]
    if variance == "analytic":
        if np.ndim(gamma) != 1 or len(gamma) != len(t):
            raise ValueError(
                f"variance='analytic' needs gamma, one number for each of the {len(t)} steps: "
                "see mean_square_eps"
            )
        gamma = np.array([real_number("gamma", share) for share in gamma])
        return optimal_variance(schedule, t, s, gamma)
    raise ValueError(f"variance must be one of {', '.join(VARIANCES)}; got {variance!r}")


def ddpm_coefficients(schedule, times):
    """(a, b), lists of floats: the mean of p(x_s | x_t) is a x_t + b eps (eq. 11, for any sub-sequence).

    That is a = 1 / ratio and b = -beta / (ratio sigma_t), computed here from the posterior.
    """
    t, s = np.asarray(times[:-1]), np.asarray(times[1:])
    alpha = schedule.alpha(t)
    check_signal(alpha, t)
    c_0, c_t, _ = posterior(schedule, t, s)
    return (c_t + c_0 / alpha).tolist(), (-c_0 * schedule.sigma(t) / alpha).tolist()


@kept
def _ancestral(schedule, times, variance, gamma):
    """(a, b, c), tuples: a step is x_s = a x_t + b eps + c z, c = 0 in a last step to sigma = 0 (`ddpm`)."""
    a, b = ddpm_coefficients(schedule, times)
    c = np.sqrt(step_variances(schedule, times, variance, gamma))
    if schedule.sigma(times[-1]) == 0 and variance != "analytic":
        c[-1] = 0.0
    return tuple(a), tuple(b), tuple(c.tolist())


@sampler(order=1, nfe=lambda steps: steps, kind="sde", cite="ho2020ddpm")
def ddpm(model, x, times, variance="posterior", gamma=None, rng=0):
    """Ancestral sampling (Algorithm 2 of the paper) along `times`, all steps of a table or any sub-sequence:
    x_s = a x_t + b eps + sqrt(v) z, the posterior at the predicted x_0.  With "posterior" it is DDIM with eta
    = 1.

    x: (B, ...) at times[0].  variance: "posterior" (beta-tilde), "beta", "learned" (Improved DDPM, needs a
    Network with learned_variance) or "analytic" (needs gamma).  A step that ends at sigma = 0 returns the
    mean, as Algorithm 2 does; "analytic" adds there the noise that remains in x_0 given x_t, without which
    its variance would not be optimal.  rng: int seed, generator or Brownian.
    """
    if variance == "learned":
        yield from _ddpm_learned(model, x, times, rng)
        return
    coefficients = _ancestral if gamma is None else _ancestral.__wrapped__
    a, b, c = coefficients(model.schedule, times, variance, gamma)
    noises = noise_of(rng, x, times)
    yield times[0], x
    for i, t in enumerate(times[:-1]):
        x = a[i] * x + b[i] * model.eps(x, t) + c[i] * next(noises)
        yield times[i + 1], x


def _ddpm_learned(model, x, times, rng):
    """`ddpm` with the network's own variance, interpolated in the logarithm (Improved DDPM, eq. 15)."""
    a, b = ddpm_coefficients(model.schedule, times)
    log_beta, log_tilde = log_variance_bounds(model.schedule, times)
    noises = noise_of(rng, x, times)
    last = len(a) - 1 if model.schedule.sigma(times[-1]) == 0 else len(a)
    yield times[0], x
    for i, t in enumerate(times[:-1]):
        eps, fraction = model.eps_and_fraction(x, t)
        x = a[i] * x + b[i] * eps
        if i != last:
            x = x + learned_deviation(fraction, log_beta[i], log_tilde[i]) * next(noises)
        yield times[i + 1], x


def log_variance_bounds(schedule, times):
    """(log beta, log beta-tilde) at each step, lists of floats; where the last beta-tilde is 0 that of the
    step before stands in, as in
    Nichol & Dhariwal's code."""
    t, s = np.asarray(times[:-1]), np.asarray(times[1:])
    beta, tilde = transition(schedule, s, t)[1], posterior(schedule, t, s)[2]
    if tilde[-1] == 0:
        tilde[-1] = tilde[-2] if len(tilde) > 1 else beta[-1]
    return np.log(beta).tolist(), np.log(tilde).tolist()


def learned_deviation(fraction, log_beta: float, log_tilde: float):
    """exp of half of  fraction log beta + (1 - fraction) log beta-tilde  (Improved DDPM, eq. 15)."""
    return torch.exp(0.5 * (fraction * log_beta + (1 - fraction) * log_tilde))


# --- losses ---------------------------------------------------------------------------------------------
# All weights multiply |eps - eps_model|^2.  In x0 the same loss carries the weight times alpha^2 / sigma^2,
# in the score times sigma^2.


def snr(schedule, t):
    """Signal-to-noise ratio alpha^2 / sigma^2 = e^(2 lambda)."""
    return (schedule.alpha(t) / schedule.sigma(t)) ** 2


def vlb_weight(schedule, t, s):
    """Weight of step t -> s in the ELBO with variance beta-tilde: (SNR(s) / SNR(t) - 1) / 2  (Kingma et al.
    2021, eq. 14; cf. Ho et al. eq. 12).
    """
    return 0.5 * (snr(schedule, s) / snr(schedule, t) - 1)


def continuous_weight(schedule, t):
    """Weight of the continuous-time bound, g^2 / (2 sigma^2) = -dlambda/dt  (Song, Durkan et al. 2021,
    theorem 1; Kingma et al. 2021, eq. 17).
    """
    return 0.5 * schedule.g2(t) / schedule.sigma(t) ** 2


def snr_weight(schedule, t, gamma: float):
    """SNR^gamma: gamma = 0 is L_simple, gamma = -1 the plain error in x0; positive gamma favours low noise.
    """
    return snr(schedule, t) ** gamma


def min_snr_weight(schedule, t, gamma: float = 5.0):
    """min(SNR, gamma) / SNR  (Hang et al. 2023, sec. 3.4, for eps-prediction)."""
    ratio = snr(schedule, t)
    return (ratio.clamp(max=gamma) if isinstance(ratio, torch.Tensor) else np.minimum(ratio, gamma)) / ratio


def p2_weight(schedule, t, gamma: float = 1.0, k: float = 1.0):
    """1 / (k + SNR)^gamma  (Choi et al. 2022, eq. 8, relative to L_simple)."""
    return 1 / (k + snr(schedule, t)) ** gamma


def noise_loss(model, x0, t, noise, weight=None):
    """mean over the batch of  weight(t) |noise - eps(x_t, t)|^2 / d : L_simple when weight is None (eq. 14).

    x0, noise: (B, ...).  t: (B,).  weight: tensor (B,) or None.  Differentiable; returns a 0-d tensor.
    """
    error = (noise - model.eps(diffuse(model.schedule, x0, t, noise), t)).square().flatten(1).mean(1)
    return (error if weight is None else weight.to(error) * error).mean()


def hybrid_loss(model, x0, t, s, noise, vlb_share: float = 1e-3, steps: int | None = None):
    """L_simple + vlb_share L_vlb for a network with learned variance; L_vlb trains the variance only
    (Improved DDPM, eq. 16).

    t, s: (B,) times of one step each, drawn uniformly, sigma(s) > 0.  steps: the length of the chain, by
    default the schedule's T; L_vlb is a sum over its steps, so the batch's mean KL is multiplied by it.  In
    nats a dimension, and without L_0, whose step ends at sigma = 0.  Returns a 0-d tensor.
    """
    schedule = model.schedule
    steps = steps or getattr(schedule, "T", None)
    if steps is None:
        raise ValueError("steps must be given, the length of the chain: this schedule has no table of steps")
    x_t = diffuse(schedule, x0, t, noise)
    eps, fraction = model.eps_and_fraction(x_t, t)
    column = (-1,) + (1,) * (x0.ndim - 1)
    t64, s64 = t.cpu().double().numpy(), s.cpu().double().numpy()
    c_0, _, tilde = (torch.as_tensor(c).to(x0).reshape(column) for c in posterior(schedule, t64, s64))
    beta = torch.as_tensor(transition(schedule, s64, t64)[1]).to(x0).reshape(column)
    alpha, sigma = alpha_and_sigma(schedule, x0, t)
    log_v = fraction * beta.log() + (1 - fraction) * tilde.log()
    gap = c_0 * (x0 - (x_t - sigma * eps.detach()) / alpha)
    divergence = gaussian_kl(gap, tilde, log_v)
    return (noise - eps).square().mean() + vlb_share * steps * divergence.mean()


def gaussian_kl(gap, variance, log_v):
    """KL(N(m, variance) || N(m + gap, exp(log_v))), element by element, in nats."""
    log_v = torch.as_tensor(log_v, dtype=gap.dtype, device=gap.device)
    variance = torch.as_tensor(variance, dtype=gap.dtype, device=gap.device)
    return 0.5 * (log_v - variance.log() + (variance + gap.square()) / log_v.exp() - 1)


class LossAwareTimes:
    """Importance sampling of t: steps drawn with probability proportional to sqrt(E[L_t^2])  (Improved DDPM,
    eq. 18).

    T: number of steps, numbered 1..T.  history: losses remembered for each; until all are full, t is uniform.
    floor: share of probability kept uniform, so that no step starves.
    """

    def __init__(self, T: int, history: int = 10, floor: float = 1e-3):
        self.T, self.floor = T, floor
        self._losses, self._count = (
            torch.zeros(T, history, dtype=torch.float64),
            torch.zeros(T, dtype=torch.int64),
        )

    def probabilities(self):
        """(T,) probabilities of the steps 1..T."""
        if (self._count < self._losses.shape[1]).any():
            return torch.full((self.T,), 1 / self.T, dtype=torch.float64)
        root = self._losses.square().mean(1).sqrt()
        return (1 - self.floor) * root / root.sum() + self.floor / self.T

    def draw(self, n: int, generator):
        """(steps (n,) in 1..T, weights (n,) that keep the mean loss unbiased)."""
        p = self.probabilities()
        index = torch.multinomial(p, n, replacement=True, generator=generator)
        return index + 1, 1 / (self.T * p[index])

    def update(self, steps, losses):
        """Remember the unweighted losses (n,) seen at `steps` (n,)."""
        for n, loss in zip((steps - 1).tolist(), losses.detach().tolist()):
            self._losses[n, self._count[n] % self._losses.shape[1]] = loss
            self._count[n] += 1


# --- the bound on the likelihood ------------------------------------------------------------------------


@dataclass
class Elbo:
    """The negative ELBO of one batch, term by term, in nats a sample: prior = L_T; steps[i] = the KL of step
    i of the grid, from noise to data; decoder = L_0 (eq. 5).  `dims` is the number of elements of a sample.
    """

    prior: float
    steps: np.ndarray
    decoder: float
    dims: int

    @property
    def total(self) -> float:
        """Negative ELBO, nats a sample; an upper bound on -log p(x)."""
        return self.prior + float(self.steps.sum()) + self.decoder

    @property
    def bits_per_dim(self) -> float:
        """The same in bits a dimension."""
        return self.total / (self.dims * math.log(2))


def elbo(model, x0, times, variance="posterior", gamma=None, bins=None, seed=0) -> Elbo:
    """Negative evidence lower bound of x0 under the DDPM that steps along `times` (eq. 5), averaged over the
    batch.

    x0: (B, ...).  times: a decreasing grid that ends at sigma = 0.  variance, gamma: as in `ddpm`, "learned"
    included.
    bins: None for densities; or the number of grey levels of data in [-1, 1], for the discretised decoder
    (eq. 13).
    The last step's beta-tilde is 0, so with "posterior" the decoder borrows `log_variance_bounds`.  One model
    call a step; noise from `seed`.
    """
    schedule, times = model.schedule, np.asarray(times, dtype=float)
    if schedule.sigma(times[-1]) != 0:
        raise ValueError(
            "the grid must end where sigma = 0, so that the last step is the decoder; "
            f"it ends at t = {times[-1]:g}"
        )
    generator = torch.Generator().manual_seed(seed)
    log_beta, log_tilde = log_variance_bounds(schedule, times)
    if variance != "learned":
        with np.errstate(divide="ignore"):
            log_v = np.log(step_variances(schedule, times, variance, gamma))
        log_v[-1] = log_tilde[-1] if variance == "posterior" else log_v[-1]
    prior = _prior_kl(schedule, x0, float(times[0]))
    terms = []
    with torch.no_grad():
        for i, (t, s) in enumerate(zip(times[:-1].tolist(), times[1:].tolist())):
            x_t = diffuse(
                schedule, x0, t, torch.randn(x0.shape, generator=generator, dtype=x0.dtype).to(x0.device)
            )
            if variance == "learned":
                eps, fraction = model.eps_and_fraction(x_t, t)
                log_var = fraction * log_beta[i] + (1 - fraction) * log_tilde[i]
            else:
                eps, log_var = model.eps(x_t, t), torch.full((), log_v[i], dtype=x0.dtype, device=x0.device)
            c_0, c_t, tilde = posterior(schedule, t, s)
            x0_hat = (x_t - schedule.sigma(t) * eps) / schedule.alpha(t)
            if i == len(times) - 2:
                terms.append(_decoder_nll(x0, c_0 * x0_hat + c_t * x_t, log_var, bins))
            else:
                terms.append(gaussian_kl(c_0 * (x0 - x0_hat), tilde, log_var))
    means = np.array([float(term.flatten(1).sum(1).mean()) for term in terms])
    return Elbo(prior, means[:-1], float(means[-1]), x0[0].numel())


def _prior_kl(schedule, x0, t):
    """L_T = KL(q(x_T | x_0) || N(0, I)), nats a sample."""
    variance = schedule.sigma(t) ** 2
    squares = float((schedule.alpha(t) * x0).cpu().double().square().flatten(1).sum(1).mean())
    return 0.5 * (squares + x0[0].numel() * (variance - 1 - math.log(variance)))


def _decoder_nll(x0, mean, log_var, bins):
    """L_0 element by element: a Gaussian density, or its mass in the grey level's interval (eq. 13)."""
    scale = torch.exp(-0.5 * log_var)
    if bins is None:
        return 0.5 * (math.log(2 * math.pi) + log_var + ((x0 - mean) * scale).square())
    half = 1 / (bins - 1)
    upper = torch.where(x0 > 1 - half, math.inf, (x0 + half - mean) * scale)
    lower = torch.where(x0 < -1 + half, -math.inf, (x0 - half - mean) * scale)
    # work in the lower tail: the mass of [lower, upper] equals that of [-upper, -lower]
    flip = (lower + upper) > 0
    low, high = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    log_high = torch.special.log_ndtr(high)
    return -(log_high + torch.log1p(-torch.exp(torch.special.log_ndtr(low) - log_high)))
