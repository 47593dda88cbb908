"""Chapter 8, second part: samples that obey a condition.

Of data x_0 and something that is told of them, y, Bayes' rule gives the score at every level:

    grad log p_t(x | y) = grad log p_t(x) + grad log p_t(y | x),    p_t(y | x) = E[p(y | x_0) | x_t = x].

Everything here is a way to come by the second term.

    ClassifierGuided    a classifier that knows the noise says p_t(y | x)   (Dhariwal & Nichol 2021)
    GuidedBetween       two answers of one network, on some levels only     (Ho & Salimans 2022; Kynkaanniemi
                        et al. 2024); `models.Guided` is the same on all levels
    inpaint             known pixels are put back at every level, and steps repeated (Lugmayr et al. 2022);
                        a pixel may be known up to noise of a level of its own
    Reconstructed, dps  the known pixels are compared with the predicted x_0 (Ho et al. 2022; Chung et al.
                        2023; Song et al. 2023; Boys et al. 2023)

`conditioned` is the exact answer for Gaussian mixtures, `tilted` what guidance is said to sample.  x is
(B, ...); levels are kappa = sigma / alpha."""

import math

import numpy as np
import torch

from toolkit.ddim import ddim_coefficients
from toolkit.ddpm import transition
from toolkit.mixtures import Mixture
from toolkit.models import Guided, Wrapper, alpha_and_sigma, view_of
from toolkit.noise import noise_of
from toolkit.options import real_number, whole_number
from toolkit.sampling import sampler

# --- exact answers ----------------------------------------------------------------------------------------


def conditioned(mixture, y, level):
    """p(x_0 | y) of a `Mixture` in d dimensions, again a Mixture, for y_i = x_0i + level_i z_i, z standard
    normal.

    y (d,).  level: (d,), 0 where x_0 is known, infinite where nothing is told; or bools, True for known.
    Component k has mean mu_k + G_k (y - mu_k) and covariance (I - G_k) C_k, G_k = C_k A' (A C_k A' + N)^-1
    with A the rows that something is told of, and a weight in proportion to w_k p_k(y).
    ValueError where y is no point that the components can have."""
    y, level = torch.as_tensor(y, dtype=torch.float64), as_level(level, torch.float64)
    told = torch.isfinite(level)
    covariances = mixture.covariances
    if covariances is None:
        covariances = mixture.stds[:, None, None] ** 2 * torch.eye(mixture.d, dtype=torch.float64)
    if not told.any():
        return Mixture(mixture.weights, mixture.means, covariances=covariances, labels=mixture.labels)
    inner = covariances[:, told][:, :, told] + torch.diag(level[told] ** 2)
    gain = torch.linalg.solve(inner, covariances[:, told]).mT  # (K, d, told)
    off = y[told] - mixture.means[:, told]
    spread = torch.linalg.solve(inner, off[..., None])[..., 0]
    log_weight = mixture.weights.log() - (off * spread).sum(1) / 2 - torch.logdet(inner) / 2
    means = mixture.means + (gain @ off[..., None])[..., 0]
    left = covariances - gain @ covariances[:, told]
    weights = torch.softmax(log_weight, 0).clamp(min=1e-300)
    return Mixture(weights, means, covariances=(left + left.mT) / 2, labels=mixture.labels)


def class_log_prob(model, label):
    """log p(label | x_t), exact, of a mixture's model: a function (x, t) -> (B,), which autograd can follow.

    log p_t(x | label) + log p(label) - log p_t(x): it knows the noise.  label: one, or (B,)."""
    mixture, asked = model.mixture, torch.as_tensor(label).reshape(-1, 1)
    share = (asked == mixture.labels).double() @ mixture.weights
    given, free = model.with_label(label), model.with_label(None)
    return lambda x, t: given.log_prob(x, t) + share.log().to(x) - free.log_prob(x, t)


def tilted(mixture, label, scale, x):
    """log of p(x) p(label | x)^scale at x (n, d), up to a constant, (n,): what guidance of this scale is said
    to sample.  At scale 1 it is p(x, label)."""
    kept = mixture.labels == label
    pick = lambda shape: None if shape is None else shape[kept]
    own = pick(mixture.stds), pick(mixture.covariances)
    given = Mixture(mixture.weights[kept], mixture.means[kept], *own).log_prob(x)
    free = mixture.log_prob(x)
    return free + scale * (given + mixture.weights[kept].sum().log() - free)


# --- guidance ---------------------------------------------------------------------------------------------


def _check_alpha(alpha, t):
    if isinstance(alpha, float) and alpha == 0:
        raise ValueError(f"at t = {t:g} the state is noise alone, and says nothing of y: start a bit later")


class ClassifierGuided(Wrapper):
    """Guidance by a classifier: score + scale grad log p(y | x_t) (Dhariwal & Nichol 2021, eq. 14 and alg. 2:
    eps - scale sigma grad log p).

    log_prob: a function (x, t) -> (B,), log p(y | x_t), such as `class_log_prob`'s or that of a network
        trained on noisy x; torch differentiates it.  It is not counted in `nfe`.
    scale: as `Guided`'s, if model is unconditional: with the exact classifier the two are equal.
    No gradients flow through the added term.  ValueError where alpha is 0."""

    def __init__(self, model, log_prob, scale: float = 1.0):
        super().__init__(model)
        self.log_prob, self.scale = log_prob, real_number("scale", scale)

    def _view(self, want, x, t):
        alpha, sigma = alpha_and_sigma(self.schedule, x, t)
        _check_alpha(alpha, t)
        with torch.inference_mode(False), torch.enable_grad():
            start = x.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(self.log_prob(start, t).sum(), start)
        slope = self.scale * slope
        # a view is linear in (x0, eps), which the slope moves by sigma^2 / alpha and by -sigma
        return self.model._view(want, x, t) + view_of(
            want, sigma**2 / alpha * slope, -sigma * slope, alpha, sigma
        )


class GuidedBetween(Guided):
    """`Guided` on the levels low < kappa <= high, and the conditional model alone elsewhere, one call there
    in the place of two (Kynkaanniemi et al. 2024, eq. 4).

    low, high: levels kappa = sigma / alpha, 0 <= low <= high."""

    def __init__(self, model, label, scale: float, low=0.0, high=math.inf, null=None):
        super().__init__(model, label, scale, null)
        self.low, self.high = real_number("low", low), real_number("high", high)
        if not 0 <= self.low <= self.high:
            raise ValueError(f"levels must obey 0 <= low <= high, got low = {low}, high = {high}")

    def with_label(self, label):
        return GuidedBetween(self.model, label, self.scale, self.low, self.high, self.null)

    def eps_and_features(self, x, t):
        """As `Guided`'s; outside of the levels the features of the one call stand twice."""
        if self._inside(t):
            return super().eps_and_features(x, t)
        eps, given = self._conditional.eps_and_features(x, t)
        return eps, torch.cat([given, given], dim=1)

    def _inside(self, t):
        if isinstance(t, torch.Tensor) and t.ndim:
            raise ValueError("guidance on some levels takes one time for all samples, a number")
        alpha, sigma = self.schedule.alpha(float(t)), self.schedule.sigma(float(t))
        return self.low * alpha < sigma <= self.high * alpha

    def _view(self, want, x, t):
        return super()._view(want, x, t) if self._inside(t) else self._conditional._view(want, x, t)


# --- what is known of a picture ---------------------------------------------------------------------------


def as_level(level, like):
    """Levels of noise of what is known, as a tensor: bools stand for 0, where True, and infinity.

    level: bools, or numbers >= 0, (...).  like: a tensor or a dtype.  ValueError for negative levels."""
    level = torch.as_tensor(level)
    if level.dtype == torch.bool:
        level = torch.where(level, 0.0, math.inf)
    if not (level >= 0).all():
        raise ValueError("level must be bools, True for known, or levels of noise, none of them negative")
    return level.to(like)


def repaint_moves(steps: int, repeats: int = 1, jump: int = 1):
    """The places on a grid of `steps` steps that RePaint visits, from steps (the noise) to 0: down by one,
    or, at every jump-th place but the highest ones, up by `jump`, repeats - 1 times (Lugmayr et al. 2022,
    app. B, as their code has it)."""
    repeats, jump = whole_number("repeats", repeats), whole_number("jump", jump)
    left = {place: repeats - 1 for place in range(0, steps - jump, jump)}
    place, places = steps, [steps]
    while place > 0:
        place -= 1
        places.append(place)
        if left.get(place, 0):
            left[place] -= 1
            places += range(place + 1, place + jump + 1)
            place += jump
    return places


def _calls(steps, repeats, jump):
    places = repaint_moves(steps, repeats, jump)
    return sum(b < a for a, b in zip(places, places[1:]))


def _held(known, level, schedule, times, x):
    """For each time, how known pixels are put back: a function (x, z) -> x, where kappa >= level."""
    if known is None or level is None:
        return None
    known, level = torch.as_tensor(known).to(x), as_level(level, x)

    def at(alpha, sigma):
        # alpha = 0 is noise alone, whatever is known
        held = sigma >= level * alpha if alpha else torch.isfinite(level)
        return lambda x, z: torch.where(held, alpha * known + sigma * z, x)

    return [at(schedule.alpha(t), schedule.sigma(t)) for t in times]


@sampler(order=1, nfe=_calls, kind="sde", cite="lugmayr2022repaint")
def inpaint(model, x, times, known=None, level=None, repeats=1, jump=1, eta=1.0, rng=0):
    """Along `times`, known pixels are put back at every level (Song et al. 2021, app. I.2), and with repeats
    > 1 steps down are made again after steps up, so that the rest can agree: RePaint (Lugmayr et al. 2022,
    alg. 1).

        down   x_s = DDIM's step with noise eta (1 is DDPM's), then where kappa_s >= level
               x_s = alpha_s known + sigma_s z          as noisy as the rest: at the same s
        up     x_t = (alpha_t / alpha_s) x_s + the noise in between

    known: x_0 where it is known, broadcast against x.  level: bools, True for known, or levels of noise
    kappa: 0 is known, infinity is free, and what lies between is *region noise*: the pixel is held until the
    run comes to its level, then free, so that it keeps of `known` what that noise lets through; repeats
    below its level make it forget.  Without both, nothing is known.
    repeats, jump: see `repaint_moves`.  eta, rng: as in `ddim`.  A run yields every state it visits."""
    places = repaint_moves(last := len(times) - 1, repeats, jump)
    a, b, c = ddim_coefficients(model.schedule, times, eta)
    ratio, fresh = transition(model.schedule, np.asarray(times[1:]), np.asarray(times[:-1]))
    put_back = _held(known, level, model.schedule, times, x)
    draws = last if put_back is None and repeats == 1 else 2 * len(places)
    noises = noise_of(
        rng, x, times if draws == last else np.linspace(times[0], times[-1], draws + 1).tolist()
    )
    x = put_back[0](x, next(noises)) if put_back else x
    yield times[0], x
    for now, then in zip(places, places[1:]):
        i, j = last - now, last - then
        if j > i:
            x = a[i] * x + b[i] * model.eps(x, times[i]) + c[i] * next(noises)
            x = put_back[j](x, next(noises)) if put_back else x
        else:
            x = float(ratio[j]) * x + math.sqrt(fresh[j]) * next(noises)
        yield times[j], x


def _estimate(model, x, t):
    """(eps, x0, pull) at x (B, ...), one call: pull(v) is v times dx0/dx, shaped like x."""
    alpha, sigma = alpha_and_sigma(model.schedule, x, t)
    _check_alpha(alpha, t)
    with torch.inference_mode(False), torch.enable_grad():
        start = x.detach().clone().requires_grad_()
        eps = model.eps(start, t)
        x0 = (start - sigma * eps) / alpha
    pull = lambda v: torch.autograd.grad(x0, start, v, retain_graph=True)[0]
    return eps.detach(), x0.detach(), pull


class Reconstructed(Wrapper):
    """Known pixels by the x_0 estimate: score + scale grad log N(known; x0(x_t), r^2) over what is known.

    The answer of the model is differentiated (one call, and one pass backward).
    known, mask: x_0 where it is known, and bools, True there, broadcast against x.
    std: what r is.  None: kappa (Ho et al. 2022, sec. 3.1; their w_r is `scale`); a number, the deviation of
        the data: kappa std / sqrt(kappa^2 + std^2), the deviation of a pixel by itself given x_t
        (Song et al. 2023, app. A); "model": what the model says of the sum of the m known pixels, r^2 =
        kappa^2 alpha 1' dx0/dx 1 / m, one number a sample, exact for Gaussian data and one known pixel; it
        costs a second pass backward (Boys et al. 2023, sec. 3, who keep a number for each pixel).
    No gradients flow through the added term.  ValueError where alpha is 0."""

    def __init__(self, model, known, mask, scale=1.0, std=None):
        super().__init__(model)
        self.known, self.mask = torch.as_tensor(known), torch.as_tensor(mask, dtype=torch.bool)
        self.scale = real_number("scale", scale)
        self.std = std if std is None or std == "model" else real_number("std", std)

    def _view(self, want, x, t):
        alpha, sigma = alpha_and_sigma(self.schedule, x, t)
        eps, x0, pull = _estimate(self.model, x, t)
        mask, kappa = self.mask.to(x.device), sigma / alpha
        if self.std == "model":
            told = mask.to(x).expand_as(x)
            share = (told * pull(told)).flatten(1).sum(1) / told.flatten(1).sum(1)
            share = share.clamp(min=1e-6 * alpha).reshape(-1, *[1] * (x.ndim - 1))
            spread = sigma**2 / alpha * share
        else:
            spread = kappa**2 if self.std is None else kappa**2 / (1 + (kappa / self.std) ** 2)
        slope = self.scale * pull(torch.where(mask, (self.known.to(x) - x0) / spread, 0.0))
        return view_of(want, x0 + sigma**2 / alpha * slope, eps - sigma * slope, alpha, sigma)


@sampler(order=1, nfe=lambda steps: steps, kind="sde", cite="chung2023dps")
def dps(model, x, times, known=None, mask=None, zeta=1.0, eta=1.0, rng=0):
    """Diffusion posterior sampling (Chung et al. 2023, alg. 1): DDPM along `times`, and after each step one
    of zeta against the slope of |known - x0(x_t)|, the length over a sample's known pixels, as their code has
    it.

    known: x_0 where it is known, mask: bools, True there, both broadcast against x; without them, DDPM.
    zeta belongs to a number of steps, for each of them adds as much.  eta, rng: as in `ddim`."""
    a, b, c = ddim_coefficients(model.schedule, times, eta)
    noises, told = noise_of(rng, x, times), known is not None and mask is not None
    yield times[0], x
    for i, t in enumerate(times[:-1]):
        if told:
            eps, x0, pull = _estimate(model, x, t)
            off = torch.where(torch.as_tensor(mask).to(x.device), torch.as_tensor(known).to(x) - x0, 0.0)
            length = off.flatten(1).norm(dim=1).clamp(min=1e-12).reshape(-1, *[1] * (x.ndim - 1))
        else:
            eps = model.eps(x, t)
        x = a[i] * x + b[i] * eps + c[i] * next(noises)
        x = x + zeta * pull(off / length) if told else x
        yield times[i + 1], x
