"""Exact models: data whose every noisy marginal is known in closed form.

If x_0 follows a Gaussian mixture, so does x_t = alpha x_0 + sigma eps, with means alpha mu_k and covariances
alpha^2 C_k + sigma^2 I; hence eps, x0, score and v need no network.  For a single Gaussian, and for any data
in one dimension, the whole probability-flow ODE is solved in closed form as well: `GaussianFlow`,
`QuantileFlow`.
These are the yardsticks of this book.
"""

import math

import numpy as np
import torch

from toolkit.models import Calls, Labelled, alpha_and_sigma, clock_dtype, view_of, without_autocast


class Mixture:
    """A Gaussian mixture in d dimensions, sum_k w_k N(mu_k, C_k).

    weights: (K,), positive, scaled to sum 1.  means: (K, d).  stds: (K,), for C_k = stds_k^2 I (0 gives a
    point mass, so that Mixture on data points is the empirical distribution).  Or covariances: (K, d, d).
    labels: (K,) ints, the class of each component, for conditional models (default: its index).  Stored in
    float64.  ValueError for shapes that disagree.
    """

    def __init__(self, weights, means, stds=None, covariances=None, labels=None):
        self.weights, self.means = _f64(weights), _f64(means)
        if self.means.ndim != 2 or self.weights.shape != self.means.shape[:1] or len(self.weights) == 0:
            raise ValueError(
                "weights (K,) and means (K, d) disagree: "
                f"{tuple(self.weights.shape)}, {tuple(self.means.shape)}"
            )
        if not ((self.weights > 0) & self.weights.isfinite()).all() or not self.means.isfinite().all():
            raise ValueError("weights must be positive, and weights and means finite")
        if (stds is None) == (covariances is None):
            raise ValueError("give either stds (K,) or covariances (K, d, d)")
        self.weights = self.weights / self.weights.sum()
        K, d = self.means.shape
        self.stds = _f64(stds) if stds is not None else None
        self.covariances = _f64(covariances) if covariances is not None else None
        if self.stds is not None and (self.stds.shape != (K,) or not (self.stds >= 0).all()):
            raise ValueError(f"stds must be ({K},) and not negative, got shape {tuple(self.stds.shape)}")
        if self.covariances is not None and self.covariances.shape != (K, d, d):
            raise ValueError(f"covariances must be ({K}, {d}, {d}), got {tuple(self.covariances.shape)}")
        self.labels = torch.as_tensor(labels) if labels is not None else torch.arange(K)
        if self.covariances is not None:
            if not torch.allclose(self.covariances, self.covariances.mT, atol=1e-10):
                raise ValueError("covariances must be symmetric, and finite")
            self._spectrum, self._basis = torch.linalg.eigh(self.covariances)  # (K, d), (K, d, d)
            if (self._spectrum < -1e-12).any():
                raise ValueError("covariances must be positive semi-definite")
            self._spectrum = self._spectrum.clamp(min=0)
        self._copies = {}

    def _on(self, x):
        """The parameters in x's dtype and on its device, copied once: (weights, means, stds), or (…,
        spectrum, basis).
        """
        shape = (self.stds,) if self.stds is not None else (self._spectrum, self._basis)
        own = (self.weights, self.means, *shape)
        return self._copied((x.dtype, x.device), own, lambda p: p.to(x))

    def _classes_on(self, device):
        return self._copied(device, (self.labels,), lambda p: p.to(device))[0]

    def _copied(self, key, own, convert):
        """The tensors `own`, converted: kept until one of them is another or was written into.  What is made
        in inference mode does not serve outside of it.
        """
        key = key, torch.is_inference_mode_enabled()
        versions = [(id(p), 0 if p.is_inference() else p._version) for p in own]
        if key not in self._copies or self._copies[key][0] != versions:
            self._copies[key] = versions, own, [convert(p) for p in own]
        return self._copies[key][2]

    @classmethod
    def ring(cls, modes: int = 8, radius: float = 1.0, std: float = 0.08):
        """`modes` equal Gaussians on a circle in the plane."""
        angle = torch.arange(modes, dtype=torch.float64) * (2 * math.pi / modes)
        means = radius * torch.stack([angle.cos(), angle.sin()], dim=1)
        return cls([1.0] * modes, means, [std] * modes)

    @classmethod
    def gaussian(cls, d: int = 1, std: float = 0.5, mean: float = 0.0):
        """One isotropic Gaussian N(mean, std^2 I) in d dimensions."""
        return cls([1.0], [[mean] * d], [std])

    @classmethod
    def empirical(cls, data, labels=None):
        """Point masses on `data` (n, ...): its exact model is the ideal denoiser of a finite data set."""
        data = _f64(data).flatten(1)
        return cls(torch.ones(len(data)), data, torch.zeros(len(data)), labels=labels)

    @property
    def d(self) -> int:
        """Dimension of a sample."""
        return self.means.shape[1]

    def mean(self):
        """Mean of the mixture, (d,)."""
        return self.weights @ self.means

    def covariance(self):
        """Covariance of the mixture, (d, d)."""
        within = (
            self.covariances
            if self.stds is None
            else self.stds[:, None, None] ** 2 * torch.eye(self.d).double()
        )
        centred = self.means - self.mean()
        return torch.einsum("k,kij->ij", self.weights, within + centred[:, :, None] * centred[:, None, :])

    def sample(self, n: int, seed: int = 0):
        """n draws, (n, d) float64, a function of the seed."""
        generator = torch.Generator().manual_seed(seed)
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.d, dtype=torch.float64, generator=generator)
        if self.stds is not None:
            return self.means[component] + self.stds[component, None] * z
        scaled = self._spectrum[component].sqrt() * z
        return self.means[component] + torch.einsum("nij,nj->ni", self._basis[component], scaled)

    def log_prob(self, x, alpha=1.0, sigma=0.0):
        """log density (B,) of alpha x_0 + sigma eps at x (B, d); alpha and sigma numbers or (B, 1) tensors.
        """
        log_joint, _, _ = self._posterior(x, alpha, sigma)
        return torch.logsumexp(log_joint, dim=1)

    def model(self, schedule):
        """The exact model of this data under `schedule`."""
        return MixtureModel(self, schedule)

    def _posterior(self, x, alpha, sigma):
        """log w_k p_k(x) (B, K), and the functions that give score and x0 from the responsibilities (B, K).
        """
        pick = self._isotropic if self.stds is not None else self._full
        return pick(x, alpha, sigma)

    def _isotropic(self, x, alpha, sigma):
        w, mu, s = self._on(x)
        var = alpha**2 * s**2 + sigma**2  # (K,) or (B, K)
        if isinstance(alpha, torch.Tensor):
            squares = (x[:, None, :] - alpha[..., None] * mu).square().sum(-1)
        else:
            squares = torch.cdist(x, alpha * mu, compute_mode="donot_use_mm_for_euclid_dist") ** 2
        log_joint = w.log() - 0.5 * self.d * (2 * math.pi * var).log() - 0.5 * squares / var

        def score(resp):
            scaled = resp / var
            return alpha * (scaled @ mu) - x * scaled.sum(1, keepdim=True)

        def x0(resp):
            scaled = resp / var
            return sigma**2 * (scaled @ mu) + alpha * x * (scaled * s**2).sum(1, keepdim=True)

        return log_joint, score, x0

    def _full(self, x, alpha, sigma):
        w, mu, e, basis = self._on(x)
        wide = alpha[..., None] if isinstance(alpha, torch.Tensor) else alpha
        noise = sigma[..., None] if isinstance(sigma, torch.Tensor) else sigma
        var = wide**2 * e + noise**2  # (K, d) or (B, K, d)
        y = torch.einsum("kij,bki->bkj", basis, x[:, None, :] - wide * mu)  # in each component's own axes
        log_joint = w.log() - 0.5 * ((2 * math.pi * var).log() + y.square() / var).sum(-1)

        def score(resp):
            return -torch.einsum("bk,kij,bkj->bi", resp, basis, y / var)

        def x0(resp):
            return resp @ mu + torch.einsum("bk,kij,bkj->bi", resp, basis, wide * e / var * y)

        return log_joint, score, x0


class MixtureModel(Labelled):
    """Exact eps, x0, score and v of a Mixture under a schedule; x is (B, d) or (B, ...) with d elements a
    sample.
    """

    def __init__(self, mixture, schedule, label=None):
        self.mixture, self.schedule, self._calls = mixture, schedule, Calls()
        self.label = self.with_label(label).label

    def with_label(self, label):
        known = self.mixture.labels
        if isinstance(label, dict):
            raise ValueError("label must be among the mixture's labels, ints; got a dict")
        if label is not None and not torch.isin(torch.as_tensor(label).cpu(), known).all():
            raise ValueError(
                f"label must be among the mixture's labels {known.unique().tolist()}, got {label}"
            )
        return super().with_label(label)

    def log_prob(self, x, t):
        """log p_t(x), shape (B,).  Not counted as a call."""
        flat = self._rows_of(x)
        with without_autocast(x):
            log_joint, _, _ = self.mixture._posterior(flat, *alpha_and_sigma(self.schedule, flat, t))
            return torch.logsumexp(self._given_label(flat, log_joint), dim=1)

    def _rows_of(self, x):
        """x as (B, d), in single precision at least: half precision has too little range for log densities.
        """
        if x.ndim < 2 or math.prod(x.shape[1:]) != self.mixture.d:
            raise ValueError(
                f"x must be (B, ...) with {self.mixture.d} elements a sample, got shape {tuple(x.shape)}"
            )
        return x.flatten(1).to(clock_dtype(x))

    def _given_label(self, x, log_joint):
        if self.label is None:
            return log_joint
        weights, classes = self.mixture._on(x)[0], self.mixture._classes_on(x.device)
        wanted = self._labels(x)[:, None] == classes
        share = torch.where(wanted, weights, 0.0).sum(1, keepdim=True)
        return log_joint.masked_fill(~wanted, -math.inf) - share.log()

    def eps_and_features(self, x, t):
        """eps, and as features (B, d) the predicted x0, which is where the samples are bound for."""
        eps = self.eps(x, t)
        alpha, sigma = alpha_and_sigma(self.schedule, x, t)
        return eps, ((x - sigma * eps) / alpha).flatten(1)

    def _view(self, want, x, t):
        self._calls.add()
        with without_autocast(x):
            return self._answer(want, x, t)

    def _answer(self, want, x, t):
        flat = self._rows_of(x)
        alpha, sigma = alpha_and_sigma(self.schedule, flat, t)
        log_joint, score, x0 = self.mixture._posterior(flat, alpha, sigma)
        resp = torch.softmax(self._given_label(flat, log_joint), dim=1)
        if want == "score":
            out = score(resp)
        elif want == "x0":
            out = x0(resp)
        elif want == "eps":
            out = -sigma * score(resp)
        else:
            out = view_of(want, x0(resp), -sigma * score(resp), alpha, sigma)
        return out.reshape(x.shape).to(x.dtype)


class GaussianFlow:
    """The probability-flow ODE of one Gaussian N(mean, C), solved: along each principal axis (x - alpha m) /
    sqrt(alpha^2 c + sigma^2) is constant (Song et al. 2021, eq. 13, integrated for linear drift and score).

    mean: number or (d,).  std: number, for C = std^2 I; or covariance: (d, d).
    """

    def __init__(self, schedule, mean=0.0, std=None, covariance=None):
        if (std is None) == (covariance is None):
            raise ValueError("give either std or covariance")
        self.schedule, self.mean, self.std = schedule, torch.as_tensor(mean, dtype=torch.float64), std
        self.spectrum, self.basis = (
            (None, None) if covariance is None else torch.linalg.eigh(_f64(covariance))
        )

    def map(self, x, t: float, s: float):
        """Carry x (B, d) from time t to time s along the exact flow."""
        alpha_t, sigma_t = self.schedule.alpha(t), self.schedule.sigma(t)
        alpha_s, sigma_s = self.schedule.alpha(s), self.schedule.sigma(s)
        mean = self.mean.to(x)
        if self.basis is None:
            gain = math.sqrt(
                (alpha_s**2 * self.std**2 + sigma_s**2) / (alpha_t**2 * self.std**2 + sigma_t**2)
            )
            return alpha_s * mean + gain * (x - alpha_t * mean)
        c, basis = self.spectrum.to(x), self.basis.to(x)
        gain = ((alpha_s**2 * c + sigma_s**2) / (alpha_t**2 * c + sigma_t**2)).sqrt()
        return alpha_s * mean + ((x - alpha_t * mean) @ basis * gain) @ basis.T


class QuantileFlow:
    """The probability-flow ODE of any one-dimensional Mixture, solved: in one dimension trajectories cannot
    cross, so the flow keeps quantiles, F_s(x_s) = F_t(x_t).  Point masses are allowed wherever sigma > 0.
    """

    def __init__(self, schedule, mixture):
        if mixture.d != 1:
            raise ValueError(f"quantile matching needs one dimension, got a mixture in {mixture.d}")
        self.schedule, self.mixture = schedule, mixture
        self._log_w = np.log(mixture.weights.numpy())
        self._mu = mixture.means[:, 0].numpy()
        std = mixture.stds if mixture.stds is not None else mixture.covariances[:, 0, 0].sqrt()
        self._std = std.numpy()

    def map(self, x, t: float, s: float):
        """Carry x (B,) or (B, 1) from time t to time s; float64 inside, x's shape and dtype outside."""
        start = x.detach().cpu().double().reshape(-1).numpy()
        low, high = self._log_tails(start, t)
        upper = low > high  # work in the tail that holds less mass: no cancellation
        target = np.where(upper, high, low)
        y = self._invert(target, upper, s)
        return torch.as_tensor(y, dtype=x.dtype, device=x.device).reshape(x.shape)

    def _components(self, t):
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return alpha * self._mu, np.sqrt(alpha**2 * self._std**2 + sigma**2)

    def _log_tails(self, x, t):
        """log F_t(x) and log(1 - F_t(x))."""
        from scipy.special import log_ndtr, logsumexp

        mu, sd = self._components(t)
        z = (x[:, None] - mu) / sd
        return logsumexp(self._log_w + log_ndtr(z), axis=1), logsumexp(self._log_w + log_ndtr(-z), axis=1)

    def _invert(self, target, upper, s):
        """Solve log-tail(y) = target by bisection; monotone, so 200 halvings reach the last bit."""
        mu, sd = self._components(s)
        lo = np.full(target.shape, (mu - 40 * sd).min())
        hi = np.full(target.shape, (mu + 40 * sd).max())
        for _ in range(200):
            mid = 0.5 * (lo + hi)
            below, above = self._log_tails(mid, s)
            go_up = np.where(upper, above > target, below < target)
            lo, hi = np.where(go_up, mid, lo), np.where(go_up, hi, mid)
            if (hi - lo).max() <= 4e-16 * max(1.0, np.abs(hi).max()):
                break
        return 0.5 * (lo + hi)


def _f64(values):
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().double()
    return torch.as_tensor(values, dtype=torch.float64)
