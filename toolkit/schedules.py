"""Noise schedules: how much signal alpha(t) and how much noise sigma(t) a noisy sample holds at time t.

Every schedule describes the same family of marginals, x_t = alpha(t) x_0 + sigma(t) eps with eps ~ N(0, I),
and gives

    alpha(t), sigma(t)     signal and noise level                lam(t) = log(alpha/sigma)    half the log-SNR
    f(t) = dlog(alpha)/dt  drift of  dx = f x dt + g dw          g2(t) = d(sigma^2)/dt - 2 f sigma^2
    beta(t) = -2 f(t)      the VP rate                           t_of_lam(lam)                inverse of lam

(Kingma et al. 2021, eq. 1; Lu et al. 2022, eq. 2.3 for f and g^2.)  All of them take a Python number, a NumPy
array or a torch tensor of any shape and return the same kind (tensors in their own dtype); the arithmetic is
float64, and float32 for tensors on devices that are not known to have float64.
`start` and `end` are the times at which grids begin and stop unless told otherwise; `span` holds all times
that there are, and a time outside is refused wherever it is given.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import numpy as np
import torch

from toolkit.options import real_number, whole_number


def wide_dtype(device):
    """The widest dtype of a device: float64 on CPU and CUDA; float32 elsewhere, since MPS, for one, has no
    other."""
    return torch.float64 if device.type in ("cpu", "cuda") else torch.float32


def _elementwise(method):
    """Let `method(self, value, xp)` take numbers, arrays and tensors; `xp` is numpy or torch."""

    @wraps(method)
    def wrapper(self, value):
        if isinstance(value, torch.Tensor):
            wide = wide_dtype(value.device)
            found = method(self, value.to(wide), torch)
            return found.to(value.dtype if value.is_floating_point() else wide)
        if isinstance(value, (int, float)):
            with np.errstate(divide="ignore", over="ignore"):
                return float(method(self, np.float64(value), np))
        with np.errstate(divide="ignore", over="ignore"):
            return method(self, np.asarray(value, dtype=np.float64), np)

    return wrapper


def _of_time(method):
    """`_elementwise` for a method of times, which must lie within the schedule's span."""
    plain = _elementwise(method)

    @wraps(method)
    def wrapper(self, t):
        return plain(self, self.within(t))

    return wrapper


def can_be_looked_at(value) -> bool:
    """Whether Python can decide something by this number or tensor at no cost: a tensor on a device would
    have to be waited for, and one that torch compiles or transforms (torch.func) has no value yet.
    """
    if not isinstance(value, torch.Tensor):
        return True
    if value.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    try:
        return value.data_ptr() is not None
    except RuntimeError:  # torch.func's tensors have no storage
        return False


def on_host(value):
    """A number, array or CPU tensor as a float64 array of the same shape."""
    return np.asarray(value.detach().double() if isinstance(value, torch.Tensor) else value, dtype=np.float64)


def holds(condition) -> bool:
    """Whether a condition, a bool or a tensor of them, holds anywhere, as far as it `can_be_looked_at`."""
    if isinstance(condition, torch.Tensor):
        return can_be_looked_at(condition) and bool(on_host(condition).any())
    return condition


class Schedule:
    """What all schedules share.  A subclass gives `_log_alpha`, `_sigma`, `_f`, `_g2` and `_t_of_lam` of
    (value, xp).

    constant: whether its values cannot change, so that they may be remembered: a schedule of this module is
    not altered once it is made.  A subclass of your own may be, and is asked anew each time.
    """

    start: float = 1.0
    end: float = 1e-3
    constant: bool = False

    def __init_subclass__(cls):
        if "constant" not in vars(cls):
            cls.constant = cls.__module__ == Schedule.__module__

    def __setattr__(self, name, value):
        taken = name in vars(self) or hasattr(type(self), name)
        if type(self).constant and taken and name not in ("start", "end"):
            raise AttributeError(
                f"{name} of a schedule cannot be changed, since runs remember its values; make another one"
            )
        super().__setattr__(name, value)

    @property
    def span(self) -> tuple[float, float]:
        """The first and the last time that the schedule knows: 0 and 1, or `start` where that is later."""
        return 0.0, max(1.0, self.start)

    def within(self, t):
        """t, a number, array or tensor of times, with what only rounding put outside `span` (by 1e-6 of it)
        moved to its end.

        ValueError where a time lies farther outside, or is NaN.  A tensor on a device is not looked at, since
        that would wait for the device; there, and while torch compiles or transforms, such times become NaN
        instead, and so does what is made of them.
        """
        low, high = self.span
        if isinstance(t, (int, float)) and low <= t <= high:
            return t
        slack = 1e-6 * (high if math.isfinite(high) else 1.0)
        if isinstance(t, torch.Tensor):
            if not can_be_looked_at(t):
                t = t if t.is_floating_point() else t.to(wide_dtype(t.device))
                return torch.where((t >= low - slack) & (t <= high + slack), t.clamp(low, high), math.nan)
        values = on_host(t)
        if ((low <= values) & (values <= high)).all():
            return t
        outside = values[~((low - slack <= values) & (values <= high + slack))]
        if outside.size:
            self._refuse(outside)
        if isinstance(t, torch.Tensor):
            return t.clamp(low, high)
        return np.clip(values, low, high) if values.ndim else min(max(float(values), low), high)

    def _refuse(self, outside):
        """Raise the ValueError for times (n,) outside of `span`."""
        low, high = self.span
        ends = f"[{low:g}, {high:g}]" if math.isfinite(high) else f"[{low:g}, inf)"
        first, hint = float(outside[0]), ""
        if high == 1 and first > 1 and first == round(first):
            hint = f": step n of {getattr(self, 'T', 'T')} is the time n / {getattr(self, 'T', 'T')}"
        raise ValueError(f"times of {type(self).__name__} lie in {ends}, got {first:g}{hint}")

    @_of_time
    def log_alpha(self, t, xp):
        """log alpha(t)."""
        return self._log_alpha(t, xp)

    @_of_time
    def alpha(self, t, xp):
        """Signal level alpha(t)."""
        return xp.exp(self._log_alpha(t, xp))

    @_of_time
    def sigma(self, t, xp):
        """Noise level sigma(t): the standard deviation of x_t given x_0."""
        return self._sigma(t, xp)

    @_of_time
    def lam(self, t, xp):
        """Half the log signal-to-noise ratio, lam(t) = log(alpha(t) / sigma(t)); infinite where sigma or
        alpha is 0.
        """
        return self._log_alpha(t, xp) - xp.log(self._sigma(t, xp))

    @_elementwise
    def t_of_lam(self, lam, xp):
        """The time t at which lam(t) equals `lam`."""
        return self._t_of_lam(lam, xp)

    @_of_time
    def f(self, t, xp):
        """Drift coefficient of the forward SDE dx = f(t) x dt + g(t) dw, f = d log(alpha) / dt."""
        return self._f(t, xp)

    @_of_time
    def g2(self, t, xp):
        """Squared diffusion coefficient of the forward SDE, g^2 = d(sigma^2)/dt - 2 f sigma^2."""
        return self._g2(t, xp)

    @_of_time
    def beta(self, t, xp):
        """The rate beta(t) = -2 f(t) at which signal power decays; VP's beta (Song et al. 2021, eq. 11)."""
        return -2 * self._f(t, xp)

    def __repr__(self):
        fields = ", ".join(f"{k}={v:g}" for k, v in vars(self).items() if isinstance(v, (int, float)))
        return f"{type(self).__name__}({fields})"


class _VarianceRate(Schedule):
    """Schedules whose signal decays at the linear rate beta_min + t (beta_max - beta_min): VP and sub-VP."""

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0):
        beta_min, beta_max = real_number("beta_min", beta_min), real_number("beta_max", beta_max)
        if not 0 < beta_min < beta_max:
            raise ValueError(
                f"beta_min and beta_max must satisfy 0 < beta_min < beta_max, got {beta_min} and {beta_max}"
            )
        self.beta_min, self.beta_max = beta_min, beta_max

    def _log_alpha(self, t, xp):
        return -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def _f(self, t, xp):
        return -0.5 * (self.beta_min + t * (self.beta_max - self.beta_min))

    def _t_of_log_alpha(self, log_alpha, xp):
        # the root of the quadratic in the form without cancellation
        spread, power = self.beta_max - self.beta_min, -2 * log_alpha
        return 2 * power / (self.beta_min + xp.sqrt(self.beta_min**2 + 2 * spread * power))


class VP(_VarianceRate):
    """Variance preserving, linear beta(t) = beta_min + t (beta_max - beta_min), t in [0, 1] (Song et al.
    2021, eq. 11, 33).
    """

    def _sigma(self, t, xp):
        return xp.sqrt(-xp.expm1(2 * self._log_alpha(t, xp)))

    def _g2(self, t, xp):
        return -2 * self._f(t, xp)

    def _t_of_lam(self, lam, xp):
        return self._t_of_log_alpha(-0.5 * _softplus(-2 * lam, xp), xp)


class SubVP(_VarianceRate):
    """Sub-VP: the signal of VP with the smaller noise sigma = 1 - alpha^2 (Song et al. 2021, eq. 12, 29)."""

    def _sigma(self, t, xp):
        return -xp.expm1(2 * self._log_alpha(t, xp))

    def _g2(self, t, xp):
        return 2 * self._f(t, xp) * xp.expm1(4 * self._log_alpha(t, xp))

    def _t_of_lam(self, lam, xp):
        # alpha / (1 - alpha^2) = e^lam, solved: 2 / (e^-lam + sqrt(e^-2lam + 4)) = exp(-asinh(e^-lam / 2))
        return self._t_of_log_alpha(-xp.arcsinh(0.5 * xp.exp(-lam)), xp)


class VPCosine(Schedule):
    """Cosine VP, alpha(t) = cos(u(t)) / cos(u(0)), u(t) = (t + s) / (1 + s) * pi / 2 (Nichol & Dhariwal 2021,
    eq. 17).

    alpha(1) = 0, so `start` stays below 1; Lu et al. 2022 (app. D) start at 0.9946 too.
    """

    start = 0.9946

    def __init__(self, s: float = 0.008):
        self.s = real_number("s", s)
        if not 0 <= self.s < math.inf:
            raise ValueError(f"s must be finite and not negative, got {s}")

    def _angle(self, t):
        return (t + self.s) / (1 + self.s) * (math.pi / 2)

    def _rest(self, t):
        return (
            (1 - t) / (1 + self.s) * (math.pi / 2)
        )  # pi/2 - u: exactly 0 at t = 1, where cos(u) is only nearly so

    def _log_alpha(self, t, xp):
        return xp.log(xp.sin(self._rest(t))) - math.log(math.cos(self._angle(0.0)))

    def _sigma(self, t, xp):
        # cos(a)^2 - cos(b)^2 = sin(b - a) sin(b + a): no cancellation at small t
        u, u0 = self._angle(t), self._angle(0.0)
        return xp.sqrt(xp.sin(u - u0) * xp.sin(u + u0)) / math.cos(u0)

    def _f(self, t, xp):
        return -0.5 * math.pi / (1 + self.s) / xp.tan(self._rest(t))

    def _g2(self, t, xp):
        return -2 * self._f(t, xp)

    def _t_of_lam(self, lam, xp):
        # sigma^2 = e^-2lam / (1 + e^-2lam) = sin(u)^2 - tan(u0)^2 cos(u)^2, solved for tan(u)
        u0 = self._angle(0.0)
        ratio2 = xp.exp(-2 * lam)
        tan_u = xp.sqrt(ratio2 + math.sin(u0) ** 2) / math.cos(u0)
        return xp.arctan(tan_u) * (1 + self.s) * (2 / math.pi) - self.s


class VE(Schedule):
    """Variance exploding: alpha = 1, sigma(t) = sigma_min (sigma_max / sigma_min)^t, t in [0, 1] (Song et al.
    2021, eq. 9).
    """

    end = 0.0

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0):
        sigma_min, sigma_max = real_number("sigma_min", sigma_min), real_number("sigma_max", sigma_max)
        if not 0 < sigma_min < sigma_max:
            raise ValueError(
                f"sigma_min, sigma_max must satisfy 0 < sigma_min < sigma_max, got {sigma_min}, {sigma_max}"
            )
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def _log_alpha(self, t, xp):
        return xp.zeros_like(t)

    def _sigma(self, t, xp):
        return self.sigma_min * xp.exp(t * math.log(self.sigma_max / self.sigma_min))

    def _f(self, t, xp):
        return xp.zeros_like(t)

    def _g2(self, t, xp):
        return 2 * math.log(self.sigma_max / self.sigma_min) * self._sigma(t, xp) ** 2

    def _t_of_lam(self, lam, xp):
        return -(lam + math.log(self.sigma_min)) / math.log(self.sigma_max / self.sigma_min)


class EDM(Schedule):
    """EDM's convention: alpha = 1 and time is the noise level itself, sigma(t) = t (Karras et al. 2022, sec.
    4): any level from 0 on, of which grids take those from sigma_max to sigma_min.
    """

    span = (0.0, math.inf)

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0):
        sigma_min, sigma_max = real_number("sigma_min", sigma_min), real_number("sigma_max", sigma_max)
        if not 0 < sigma_min < sigma_max:
            raise ValueError(
                f"sigma_min, sigma_max must satisfy 0 < sigma_min < sigma_max, got {sigma_min}, {sigma_max}"
            )
        self.start, self.end = sigma_max, sigma_min

    def _log_alpha(self, t, xp):
        return xp.zeros_like(t)

    def _sigma(self, t, xp):
        return t

    def _f(self, t, xp):
        return xp.zeros_like(t)

    def _g2(self, t, xp):
        return 2 * t

    def _t_of_lam(self, lam, xp):
        return xp.exp(-lam)


class Flow(Schedule):
    """Linear interpolation of flow matching and rectified flow: alpha = 1 - t, sigma = t (Lipman et al. 2023;
    Liu et al. 2023).

    alpha(1) = 0, so `start` stays just below 1.
    """

    start = 0.999

    def _log_alpha(self, t, xp):
        return xp.log1p(-t)

    def _sigma(self, t, xp):
        return t

    def _f(self, t, xp):
        return -1 / (1 - t)

    def _g2(self, t, xp):
        return 2 * t / (1 - t)

    def _t_of_lam(self, lam, xp):
        return 1 / (1 + xp.exp(lam))


class Discrete(Schedule):
    """A table of T betas, as DDPM has it: alpha_bar_n = prod_{k<=n} (1 - beta_k), n = 0..T (Ho et al. 2020,
    eq. 4).

    Step n is time t = n / T.  Between the steps log(alpha) is interpolated linearly (Lu et al. 2022, app.
    D.2), so that a continuous solver can use the table.  `T`, `betas` (T,) and `alpha_bar` (T + 1,),
    alpha_bar[0] = 1, are NumPy float64.

    The last beta may be 1 (zero terminal SNR: Lin et al. 2024): then alpha(1) = 0, and alpha itself is
    interpolated in the last cell.
    """

    end = 0.0

    def __init__(self, betas):
        if isinstance(betas, torch.Tensor):
            betas = betas.detach().cpu().double().numpy()
        betas = np.array(betas, dtype=np.float64)
        inside = (betas > 0) & (betas < 1)
        inside[-1:] |= betas[-1:] == 1
        if betas.ndim != 1 or not betas.size or not inside.all():
            span = f", from {betas.min():g} to {betas.max():g}" if betas.size else ""
            raise ValueError(
                "betas must be a list of numbers, each strictly between 0 and 1 but for the last, which may "
                f"be 1 (the tables scaled by 1000 / T need T > 20); got shape {betas.shape}{span}"
            )
        self.betas, self.T = betas, len(betas)
        self._knots = np.arange(self.T + 1) / self.T
        with np.errstate(divide="ignore"):
            self._logs = 0.5 * np.concatenate([[0.0], np.cumsum(np.log1p(-betas))])
        self.alpha_bar = np.exp(2 * self._logs)
        self._ends_at_0 = bool(betas[-1] == 1)
        if self._ends_at_0:
            self._logs[-1] = self._logs[-2] - 1  # any finite number: `_log_alpha` does not use it
        self._made_of = self.betas.tobytes(), self.alpha_bar.tobytes()

    def _check_tables(self):
        """ValueError if a table was written into, which would change nothing that is computed here."""
        if (self.betas.tobytes(), self.alpha_bar.tobytes()) != self._made_of:
            raise ValueError(
                "betas or alpha_bar of a Discrete schedule were changed after it was made; make another one: "
                "Discrete(betas)"
            )

    @classmethod
    def linear(cls, T: int = 1000, first: float = 1e-4, last: float = 0.02):
        """betas from `first` to `last` in equal steps, both scaled by 1000 / T (Ho et al. 2020, sec. 4)."""
        T = whole_number("T", T)
        return cls(np.linspace(first, last, T) * (1000 / T))

    @classmethod
    def quadratic(cls, T: int = 1000, first: float = 1e-4, last: float = 0.02):
        """Square roots of the betas in equal steps (the 'scaled linear' table of latent diffusion)."""
        T = whole_number("T", T)
        return cls(np.linspace(math.sqrt(first), math.sqrt(last), T) ** 2 * (1000 / T))

    @classmethod
    def sigmoid(cls, T: int = 1000, first: float = 1e-4, last: float = 0.02):
        """betas along a logistic curve from -6 to 6."""
        T = whole_number("T", T)
        rise = 1 / (1 + np.exp(-np.linspace(-6, 6, T)))
        return cls((first + rise * (last - first)) * (1000 / T))

    @classmethod
    def cosine(cls, T: int = 1000, s: float = 0.008, largest: float = 0.999):
        """alpha_bar along a squared cosine, betas clipped at `largest` (Nichol & Dhariwal 2021, eq. 17)."""
        T = whole_number("T", T)
        bar = np.cos((np.arange(T + 1) / T + s) / (1 + s) * np.pi / 2) ** 2
        return cls(np.minimum(1 - bar[1:] / bar[:-1], largest))

    @classmethod
    def zero_terminal_snr(cls, betas):
        """The table `betas` (T,), T > 1, with sqrt(alpha_bar) shifted and scaled to end at 0 and to keep its
        first value (Lin et al. 2024, alg. 1), for networks that predict x0, v or flow.
        """
        root = np.sqrt(np.cumprod(1 - np.asarray(betas, dtype=np.float64)))
        if root.ndim != 1 or not root[:1] > root[-1:]:
            raise ValueError(f"betas must be a list of at least two positive numbers, got shape {root.shape}")
        root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
        return cls(1 - (root / np.concatenate([[1.0], root[:-1]])) ** 2)

    def _log_alpha(self, t, xp):
        self._check_tables()
        inside = _interpolate(t, self._knots, self._logs, xp)
        if not self._ends_at_0:
            return inside
        last = self._logs[-2] + xp.log((1 - t) * self.T)  # alpha falls to 0 in a straight line
        return xp.where(t > self._knots[-2], last, inside)

    def _sigma(self, t, xp):
        return xp.sqrt(-xp.expm1(2 * self._log_alpha(t, xp)))

    def _f(self, t, xp):
        slopes = np.diff(self._logs) * self.T
        index = xp.ceil(t * self.T - 1e-9) - 1  # on a knot: the slope of the cell that ends there
        if xp is torch:
            slopes = torch.tensor(slopes, dtype=t.dtype, device=t.device)
            slope = slopes[index.long().clamp(0, self.T - 1)]
        else:
            slope = slopes[np.clip(index, 0, self.T - 1).astype(int)]
        return xp.where(index < self.T - 1, slope, -1 / (1 - t)) if self._ends_at_0 else slope

    def _g2(self, t, xp):
        return -2 * self._f(t, xp)

    def _t_of_lam(self, lam, xp):
        log_alpha = -0.5 * _softplus(-2 * lam, xp)
        if not self._ends_at_0:
            return _interpolate(-log_alpha, -self._logs, self._knots, xp)
        last = 1 - xp.exp(log_alpha - self._logs[-2]) / self.T
        inside = _interpolate(-xp.clip(log_alpha, self._logs[-1], None), -self._logs, self._knots, xp)
        return xp.where(log_alpha < self._logs[-2], last, inside)

    def __repr__(self):
        return f"Discrete(T={self.T}, betas {self.betas[0]:.3g} … {self.betas[-1]:.3g})"


class LinearSDE(Schedule):
    """The schedule of a general dx = f(t) x dt + g(t) dw: alpha and sigma by quadrature from f and g^2.

    f, g2: functions of t, a NumPy array or a float64 tensor, smooth on [0, start], which are the times that
    the schedule knows.  sigma0: the noise already
    present at t = 0 (VE's sigma_min).  alpha = exp(int_0^t f) and sigma^2 = alpha^2 (sigma0^2 + int_0^t
    g^2 / alpha^2) (Karras et al. 2022, app. B.1), both by Gauss-Legendre with 48 nodes: a dozen digits where
    f and g^2 are smooth.
    t_of_lam inverts lambda by bisection.  ValueError if f or g2 is not finite, or g2 not positive.
    """

    constant = False  # f and g2 may be of numbers that change

    def __init__(self, f, g2, start: float = 1.0, end: float = 1e-3, sigma0: float = 0.0):
        self.start, self.end = real_number("start", start), real_number("end", end)
        self.sigma0 = real_number("sigma0", sigma0)
        self._drift, self._rate = f, g2
        nodes, weights = np.polynomial.legendre.leggauss(48)
        self._nodes, self._weights = (nodes + 1) / 2, weights / 2
        probe = self.start * self._nodes
        values = np.stack([np.broadcast_to(h(probe), probe.shape) for h in (f, g2)])
        if not np.isfinite(values).all() or not (values[1] > 0).all():
            raise ValueError("f and g2 must be finite, and g2 positive, between 0 and start")

    @property
    def span(self):
        """0 and `start`: beyond it nothing is known of f and g2."""
        return 0.0, self.start

    def _integral(self, function, t, xp):
        """int_0^t function, for t of any shape; function takes arrays with one more axis at the end."""
        nodes, weights = self._nodes, self._weights
        if xp is torch:
            nodes, weights = (torch.tensor(v, dtype=t.dtype, device=t.device) for v in (nodes, weights))
        points = t[..., None] * nodes
        return t * (function(points) * weights + xp.zeros_like(points)).sum(-1)

    def _log_alpha(self, t, xp):
        return self._integral(self._drift, t, xp)

    def _sigma(self, t, xp):
        def added(s):
            return self._rate(s) * xp.exp(-2 * self._log_alpha(s, xp))

        return xp.exp(self._log_alpha(t, xp)) * xp.sqrt(self.sigma0**2 + self._integral(added, t, xp))

    def _f(self, t, xp):
        return self._drift(t) + xp.zeros_like(t)

    def _g2(self, t, xp):
        return self._rate(t) + xp.zeros_like(t)

    def _t_of_lam(self, lam, xp):
        low, high = xp.zeros_like(lam), xp.zeros_like(lam) + self.start
        for _ in range(60):
            middle = (low + high) / 2
            noisier = self._log_alpha(middle, xp) - xp.log(self._sigma(middle, xp)) < lam
            low, high = xp.where(noisier, low, middle), xp.where(noisier, middle, high)
        return (low + high) / 2


def check_signal(alpha, times):
    """ValueError unless alpha, float64 (n,) at these times, is positive: where it is 0 no step can be written
    in eps.
    """
    if not (np.asarray(alpha) > 0).all():
        t = np.asarray(times)[np.asarray(alpha) == 0][0]
        raise ValueError(
            f"alpha is 0 at t = {t:g} (lambda is -inf), where eps tells nothing of x0: "
            "start the grid a little later"
        )


def _softplus(x, xp):
    """log(1 + e^x) without overflow."""
    positive = xp.maximum(x, xp.zeros_like(x))
    return positive + xp.log1p(xp.exp(-abs(x)))


def _interpolate(x, knots, values, xp):
    """Piecewise linear interpolation on increasing knots; the end cells are continued beyond the ends."""
    if xp is np:
        index = np.minimum(np.maximum(np.searchsorted(knots, x) - 1, 0), len(knots) - 2)
    else:
        knots, values = (torch.tensor(v, dtype=x.dtype, device=x.device) for v in (knots, values))
        index = (torch.searchsorted(knots, x.detach().contiguous()) - 1).clamp(0, len(knots) - 2)
    left, right = knots[index], knots[index + 1]
    share = (x - left) / (right - left)
    return values[index] * (1 - share) + values[index + 1] * share


# --- one notation, and its relatives ----------------------------------------------------------------


@dataclass(frozen=True)
class Notation:
    """How one author writes (alpha, sigma).  `to(alpha, sigma)` gives the author's symbols, `back(*symbols)`
    undoes it.
    """

    name: str
    source: str
    symbols: tuple[str, ...]
    to: Callable
    back: Callable
    vp_only: bool = False


def _root1m(x):
    return (1 - x) ** 0.5


NOTATIONS = {
    n.name: n
    for n in [
        Notation("this book", "x_t = α x_0 + σ ε", ("α", "σ"), lambda a, s: (a, s), lambda a, s: (a, s)),
        Notation("DDPM", "Ho et al. 2020", ("ᾱ",), lambda a, s: (a**2,),
                 lambda b: (b**0.5, _root1m(b)), True),
        Notation("Su's blog", "Su 2022 (its ᾱ is the square root of DDPM's)", ("ᾱ", "β̄"), lambda a, s: (a, s),
                 lambda a, b: (a, b)),
        Notation("DDIM", "Song, Meng & Ermon 2021 (its α is DDPM's ᾱ)", ("α",), lambda a, s: (a**2,),
                 lambda b: (b**0.5, _root1m(b)), True),
        Notation("EDM", "Karras et al. 2022", ("s", "σ"), lambda a, s: (a, s / a), lambda s, sg: (s, s * sg)),
        Notation("flow", "Lipman et al. 2023", ("scale", "t"), lambda a, s: (a + s, s / (a + s)),
                 lambda scale, t: (scale * (1 - t), scale * t)),
        Notation("half log-SNR", "Lu et al. 2022", ("norm", "λ"),
                 lambda a, s: ((a * a + s * s) ** 0.5, np.log(a / s)),
                 lambda n, lam: (n / (1 + np.exp(-2 * lam)) ** 0.5, n / (1 + np.exp(2 * lam)) ** 0.5)),
    ]
}  # fmt: skip


def convert(values, have: str, want: str):
    """Translate the symbols of notation `have` into those of `want` (both keys of NOTATIONS).

    values: a tuple of floats or NumPy arrays, in the order of NOTATIONS[have].symbols.  Returns a tuple
    likewise.
    ValueError if a name is unknown, or if a variance-preserving notation is asked of a pair with alpha^2 +
    sigma^2 != 1.
    """
    for name in (have, want):
        if name not in NOTATIONS:
            raise ValueError(f"unknown notation {name!r}; known: {', '.join(NOTATIONS)}")
    alpha, sigma = NOTATIONS[have].back(*values)
    if NOTATIONS[want].vp_only and np.max(np.abs(np.asarray(alpha) ** 2 + np.asarray(sigma) ** 2 - 1)) > 1e-9:
        raise ValueError(f"{want} writes one symbol, so it needs alpha^2 + sigma^2 = 1; rescale x first")
    return NOTATIONS[want].to(alpha, sigma)
